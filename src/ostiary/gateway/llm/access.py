"""How a LangChain object reaches its model: out of what it was made with, or the environment."""

from __future__ import annotations

import os
from typing import Any

from pydantic import SecretStr

from ...secret import Secret
from ..auth.credentials import GatewayCredentials
from ..auth.trat import TransactionToken
from ..client import (
    DirectProviderClient,
    GatewayAccess,
    access_from_environment,
    safe_endpoint,
)
from ..errors import ConfigurationError
from ..http import GatewayHttpClient
from ..settings import MODELS
from .clients import Clients

__all__ = ["access_for", "check_shared", "default_model", "placed"]


def access_for(
    gateway_client: Any, provider: str, api_key: SecretStr | None, base_url: str | None
) -> Any:
    """Return the access object; raise `ConfigurationError` when what is given contradicts."""
    # Not by its class: an object of the guide's shape, such as a test's own, will do.
    if gateway_client is not None and not hasattr(gateway_client, "get_credentials"):
        raise ConfigurationError(
            f"gateway_client is a GatewayAccess, not {type(gateway_client).__name__}; see "
            "ostiary.gateway.access_from_environment"
        )
    if api_key is None and base_url is None:
        return access_from_environment() if gateway_client is None else gateway_client
    if gateway_client is not None:
        raise ConfigurationError(
            "api_key and base_url are for direct mode; with a gateway_client leave them out, "
            "as the gateway has the keys"
        )
    return DirectProviderClient(
        allow=True,  # the caller says so, for this object alone
        api_keys=None if api_key is None else {provider: Secret(api_key.get_secret_value())},
        base_urls=None if base_url is None else {provider: base_url},
    )


def check_shared(clients: object, **own: object) -> None:
    """Refuse what shared clients decide already; raise `ConfigurationError`."""
    if clients is None:
        return
    if not isinstance(clients, Clients):
        raise ConfigurationError(f"clients is a Clients, not {type(clients).__name__}")
    for name, value in own.items():
        # LangChain makes a configured model out of all that another was made with.
        if value is not None and value != clients.settled.get(name):
            raise ConfigurationError(
                f"{name} is settled by the clients that are shared; give it to Clients(...), or "
                "leave clients out"
            )


def placed(access: GatewayAccess, http_client: GatewayHttpClient) -> GatewayAccess:
    """Return `access` with the endpoint of `http_client`."""
    return _Placed(access, http_client.endpoint)


class _Placed(GatewayAccess):
    """The proofs of one access object for a gateway at another place."""

    def __init__(self, access: GatewayAccess, endpoint: str) -> None:
        self._access = access
        self._endpoint = endpoint

    @property
    def is_gateway_mode(self) -> bool:
        return True

    def get_endpoint(self, provider: str) -> str:
        return safe_endpoint("the http_client's endpoint", self._endpoint)

    def get_credentials(self) -> GatewayCredentials:
        return self._access.get_credentials()

    async def get_credentials_async(self) -> GatewayCredentials:
        return await self._access.get_credentials_async()

    def get_trat(self) -> TransactionToken | None:
        return self._access.get_trat()

    async def get_trat_async(self) -> TransactionToken | None:
        return await self._access.get_trat_async()

    def invalidate(self, credentials: GatewayCredentials | None = None) -> None:
        self._access.invalidate(credentials)


def default_model() -> str:
    """Return the model the environment names; raise `ConfigurationError` when it names none."""
    for name in MODELS:
        if found := os.environ.get(name):
            return found
    raise ConfigurationError("no model is named; give model='provider:model', or set SAGE_MODEL")
