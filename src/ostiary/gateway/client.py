"""How the models are reached: through the gateway with two tokens, or directly with a key.

An access object knows endpoints and proofs and sends nothing. Which one a process has is
decided by its environment, strictly: what is missing or contradicts itself is an error.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping

from ..secret import Secret
from .auth.credentials import GatewayCredentials
from .auth.spiffe import JWTSource, SvidSource
from .auth.trat import TransactionToken, TransactionTokenClient
from .errors import ConfigurationError

__all__ = [
    "DirectProviderClient",
    "GatewayAccess",
    "SpiffeGatewayClient",
    "access_from_environment",
]


class GatewayAccess(ABC):
    """Endpoints and proofs, for whoever sends (docs/gateway.md, Access)."""

    @abstractmethod
    def get_credentials(self) -> GatewayCredentials:
        """Return both tokens, valid now; an `AuthError` when one cannot be had."""

    async def get_credentials_async(self) -> GatewayCredentials:
        """Return both tokens without blocking the loop."""
        return self.get_credentials()

    @abstractmethod
    def get_endpoint(self, provider: str) -> str:
        """Return the base URL for a provider; `unix:///path` in gateway mode."""

    @property
    @abstractmethod
    def is_gateway_mode(self) -> bool:
        """Whether requests go through a gateway."""

    def get_trat(self) -> TransactionToken | None:
        """Return what this run may do; None when nothing limits it, as in direct mode.

        Raises an `AuthError` when there should be a token and none can be had.
        """
        return None

    async def get_trat_async(self) -> TransactionToken | None:
        """Return what this run may do without blocking the loop."""
        return self.get_trat()

    def invalidate(self, credentials: GatewayCredentials | None = None) -> None:  # noqa: B027
        """Forget both tokens, as after a 401, or only those that were sent.

        Give the credentials that were refused: when others were fetched meanwhile, these stay.
        """

    def request_headers(self, provider: str) -> dict[str, str | Secret]:
        """Return every header that shows who is asking and whom for; values are hidden."""
        return {**self.get_credentials().hidden_headers(), "X-Provider": provider}

    async def request_headers_async(self, provider: str) -> dict[str, str | Secret]:
        """Return `request_headers` without blocking the loop."""
        found = await self.get_credentials_async()
        return {**found.hidden_headers(), "X-Provider": provider}


class SpiffeGatewayClient(GatewayAccess):
    """Gateway mode: a JWT-SVID and a Transaction Token over a Unix socket."""

    def __init__(
        self,
        jwt_source: SvidSource,
        trat_client: TransactionTokenClient,
        gateway_socket: str | os.PathLike[str] | None = None,
    ) -> None:
        self._svid = jwt_source
        self._trat = trat_client
        self._endpoint = f"unix://{os.fspath(gateway_socket or '')}"

    @property
    def is_gateway_mode(self) -> bool:
        return True

    def get_endpoint(self, provider: str) -> str:
        return self._endpoint

    def get_credentials(self) -> GatewayCredentials:
        return GatewayCredentials(self._svid.get_token(), self._trat.get_token().token)

    async def get_credentials_async(self) -> GatewayCredentials:
        trat = await self._trat.get_token_async()
        return GatewayCredentials(self._svid.get_token(), trat.token)

    def get_trat(self) -> TransactionToken:
        return self._trat.get_token()

    async def get_trat_async(self) -> TransactionToken:
        return await self._trat.get_token_async()


class DirectProviderClient(GatewayAccess):
    """Direct mode: a provider's own endpoint and an API key, for a laptop."""

    def __init__(
        self,
        *,
        allow: bool | None = None,
        api_keys: Mapping[str, str | Secret] | None = None,
        base_urls: Mapping[str, str] | None = None,
    ) -> None:
        self._keys = dict(api_keys or {})
        self._urls = dict(base_urls or {})

    @property
    def is_gateway_mode(self) -> bool:
        return False

    def get_endpoint(self, provider: str) -> str:
        return self._urls[provider]

    def get_credentials(self) -> GatewayCredentials:
        return GatewayCredentials("", "")

    def get_api_key(self, provider: str) -> str:
        """Return a provider's key; `ConfigurationError` when there is none."""
        return str(self._keys[provider])


def access_from_environment(environ: Mapping[str, str] | None = None) -> GatewayAccess:
    """Return what the environment asks for; `ConfigurationError` when that is not clear."""
    source = os.environ if environ is None else environ
    if not source.get("SPIFFE_JWT_PATH"):
        raise ConfigurationError("set SPIFFE_JWT_PATH")
    return SpiffeGatewayClient(
        JWTSource(source["SPIFFE_JWT_PATH"]),
        TransactionTokenClient(source.get("TRAT_FILE"), source.get("AUTH_SIDECAR_SOCKET")),
        source.get("LLM_GATEWAY_SOCKET"),
    )
