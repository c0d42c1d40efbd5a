"""How the models are reached: through the gateway with two tokens, or directly with a key.

An access object knows endpoints and proofs and sends nothing. Which one a process has is
decided by its environment (`settings`), strictly: what is missing or contradicts itself is
an error, and nothing falls back to TCP or to a key.
"""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, cast, final

from .._api_key import Hidden, Reference, Unusable, hidden, key_problem
from .._io.sockets import forget_after_fork
from ..secret import Secret
from . import providers, settings
from .auth.credentials import GatewayCredentials, hidden_token
from .auth.spiffe import JWTSource, SvidSource, WorkloadJWTSource
from .auth.trat import TransactionToken, TransactionTokenClient
from .endpoints import safe_endpoint, socket_url, unsafe
from .errors import ConfigurationError, ForbiddenError

__all__ = [
    "DirectProviderClient",
    "GatewayAccess",
    "SpiffeGatewayClient",
    "access_from_environment",
    "safe_endpoint",
]


class GatewayAccess(ABC):
    """Endpoints and proofs, for whoever sends (docs/identity.md)."""

    @abstractmethod
    def get_credentials(self) -> GatewayCredentials:
        """Return both tokens, valid now; raise an `AuthError` when one cannot be had."""

    async def get_credentials_async(self) -> GatewayCredentials:
        """Return both tokens; to be overridden where `get_credentials` may wait."""
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
        """Return what this run may do; to be overridden where `get_trat` may wait."""
        return self.get_trat()

    def invalidate(self, credentials: GatewayCredentials | None = None) -> None:  # noqa: B027
        """Forget the tokens, as after a 401, so that the next call looks for others.

        Give the credentials that were refused: what was fetched in their place meanwhile stays.
        """

    def request_headers(self, provider: str) -> dict[str, str | Secret]:
        """Return every header that shows who is asking and for which provider; tokens hidden."""
        return {**self.get_credentials().hidden_headers(), "X-Provider": provider}

    async def request_headers_async(self, provider: str) -> dict[str, str | Secret]:
        """Return `request_headers` without blocking the loop."""
        found = await self.get_credentials_async()
        return {**found.hidden_headers(), "X-Provider": provider}


@final
class SpiffeGatewayClient(GatewayAccess):
    """Gateway mode: a JWT-SVID and a Transaction Token over a Unix socket.

    Both tokens are asked for anew by every call; the sources decide when that means to read
    or to renew. Safe to use from many threads and tasks. Pickled, it is where the tokens are.
    """

    def __init__(
        self,
        jwt_source: SvidSource,
        trat_client: TransactionTokenClient,
        gateway_socket: str | os.PathLike[str] | None = None,
        *,
        gateway_url: str | None = None,
        run_id: str | None = None,
        org_id: str | None = None,
    ) -> None:
        """Take the two sources, and where the gateway is.

        `gateway_socket` is the path of its Unix socket. Only who names a `gateway_url` instead
        has TCP: `https://...`, or `http://` on this machine. Without either, the environment's
        `LLM_GATEWAY_SOCKET` is used; without that, `ConfigurationError`.

        With `run_id` and `org_id` a Transaction Token that names others is a `ForbiddenError`:
        what it allows is not for this process.
        """
        if gateway_socket and gateway_url:
            raise ConfigurationError("give gateway_socket or gateway_url, not both")
        if gateway_url:
            if problem := unsafe("gateway_url", gateway_url):
                del gateway_url  # it may hold a password, and a traceback records the locals
                raise ConfigurationError(problem)
            self._endpoint = gateway_url.rstrip("/")
        else:
            named = gateway_socket or settings.gateway_socket(settings.Environment())
            if not named:
                raise ConfigurationError(
                    "gateway mode needs the gateway's Unix socket; give gateway_socket, or set "
                    "LLM_GATEWAY_SOCKET"
                )
            self._endpoint = socket_url(named)
        self._jwt_source = jwt_source
        self._trat_client = trat_client
        self._run = {"run_id": run_id, "org_id": org_id}
        self._fine: TransactionToken | None = None
        self._last: tuple[Secret, TransactionToken, GatewayCredentials] | None = None
        self.abandon()
        forget_after_fork(self)

    def abandon(self) -> None:
        """Take a new lock in a forked child: a thread of the parent may hold the other."""
        self._lock = threading.Lock()

    @property
    def jwt_source(self) -> SvidSource:
        """Where the JWT-SVID comes from."""
        return self._jwt_source

    @property
    def trat_client(self) -> TransactionTokenClient:
        """Where the Transaction Token comes from."""
        return self._trat_client

    @property
    def is_gateway_mode(self) -> bool:
        """True."""
        return True

    def get_endpoint(self, provider: str) -> str:
        """Return where the gateway is, which is the same for every provider."""
        return self._endpoint

    def get_credentials(self) -> GatewayCredentials:
        """Return both tokens, valid now; raise an `AuthError` when one cannot be had."""
        source = self._jwt_source
        if isinstance(source, (JWTSource, WorkloadJWTSource)):
            svid = source.get_secret()
        else:
            svid = hidden_token(source.get_token())
        return self._credentials(svid, self.get_trat())

    async def get_credentials_async(self) -> GatewayCredentials:
        """Return both tokens without blocking the loop."""
        trat = await self.get_trat_async()
        source = self._jwt_source
        if isinstance(source, JWTSource):
            svid = source.get_secret()
        elif isinstance(source, WorkloadJWTSource):
            svid = await source.get_secret_async()
        else:
            renew = getattr(source, "get_token_async", None)
            svid = hidden_token(source.get_token() if renew is None else await renew())
        return self._credentials(svid, trat)

    def _credentials(self, svid: Secret, trat: TransactionToken) -> GatewayCredentials:
        last = self._last
        # By identity: this is asked before every attempt, and tokens change once in minutes.
        if last is not None and last[0] is svid and last[1] is trat:
            return last[2]
        found = GatewayCredentials(svid, trat.token)
        self._last = svid, trat, found
        return found

    def get_trat(self) -> TransactionToken:
        """Return what this run may do; raise an `AuthError` when that cannot be had."""
        return self._of_this_run(self._trat_client.get_token())

    async def get_trat_async(self) -> TransactionToken:
        """Return what this run may do without blocking the loop."""
        return self._of_this_run(await self._trat_client.get_token_async())

    def _of_this_run(self, trat: TransactionToken) -> TransactionToken:
        if trat is not self._fine:
            for name, expected in self._run.items():
                found = getattr(trat.tctx, name)
                if expected and found and found != expected:
                    raise ForbiddenError(
                        f"the Transaction Token has the {name} {found!r} and this process "
                        f"{expected!r}; it was given the token of another run"
                    )
            self._fine = trat
        return trat

    def invalidate(self, credentials: GatewayCredentials | None = None) -> None:
        """Forget the tokens, as after a 401, so that the next call looks for others.

        Give the credentials that were refused: what was fetched in their place meanwhile stays.
        """
        with self._lock:
            last = self._last
            if credentials is None or last is None:
                self._jwt_source.invalidate()
                self._trat_client.invalidate()
                return
            _, trat, newest = last
            if newest.same_svid(credentials):
                self._jwt_source.invalidate()
            if newest.same_trat(credentials):
                self._trat_client.invalidate(trat)

    def __repr__(self) -> str:
        if not hasattr(self, "_lock"):  # its constructor refused
            return "<SpiffeGatewayClient, not configured>"
        return (
            f"SpiffeGatewayClient({self._jwt_source!r}, {self._trat_client!r}, {self._endpoint!r})"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return _gateway, (self._jwt_source, self._trat_client, self._endpoint, self._run)


def _gateway(
    jwt_source: SvidSource,
    trat_client: TransactionTokenClient,
    endpoint: str,
    run: dict[str, str | None],
) -> SpiffeGatewayClient:
    return SpiffeGatewayClient(jwt_source, trat_client, gateway_url=endpoint, **run)


@final
class DirectProviderClient(GatewayAccess):
    """Direct mode: a provider's own endpoint and an API key, for work on a laptop.

    Keys and base URLs come from the arguments, then from the provider's variables
    (`OPENAI_API_KEY`, `OPENAI_BASE_URL`, ...). A key is sent to its own provider and to no
    other. Pickled, it has the keys of the environment it arrives in.
    """

    def __init__(
        self,
        *,
        allow: bool | None = None,
        api_keys: Mapping[str, str | Secret] | None = None,
        base_urls: Mapping[str, str] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """Take keys and base URLs by provider; `environ` stands in for the environment.

        With `allow=True` the caller says that no gateway is wanted. Otherwise
        `SAGE_SANCTUM_ALLOW_DIRECT=1` has to say so, and nothing in the environment may speak
        of a gateway: `ConfigurationError`.
        """
        # Hidden first: a traceback records the locals of every frame that raises.
        keys = _hidden(api_keys)
        del api_keys
        urls = dict(base_urls or {})
        problems = [unsafe(f"the base URL of {name}", url) for name, url in urls.items()]
        problems += [_key_problem(name, key) for name, key in keys.items()]
        if problem := next(filter(None, problems), None):
            del base_urls, urls
            raise ConfigurationError(problem)
        self._environ = settings.Environment(environ)
        del environ
        if allow is False:
            raise ConfigurationError("direct mode is not allowed here; pass by the gateway")
        if allow is None:
            settings.check_direct(self._environ)
        self._keys = {
            providers.provider(name).name: key
            for name, key in keys.items()
            if isinstance(key, (Secret, Reference))
        }
        self._urls = {providers.provider(name).name: url.rstrip("/") for name, url in urls.items()}

    @property
    def is_gateway_mode(self) -> bool:
        """False."""
        return False

    def get_endpoint(self, provider: str) -> str:
        """Return a provider's base URL; raise `ConfigurationError` when it has none.

        Plain http is for this machine alone: a key would be read on its way.
        """
        known = providers.provider(provider)
        given = self._urls.get(known.name)
        if given:
            return given
        if known.base_url_env and self._environ.get(known.base_url_env):
            # Not by way of a local: a traceback records those, and it may hold a password.
            return safe_endpoint(
                f"environment variable {known.base_url_env}", self._environ[known.base_url_env]
            )
        if not known.base_url:
            raise ConfigurationError(
                f"provider {known.name} is reached through a gateway alone; give base_urls="
                f"{{{known.name!r}: ...}} if it has an endpoint"
            )
        return known.base_url

    def get_credentials(self) -> GatewayCredentials:
        """Return none: in direct mode there are no tokens."""
        return GatewayCredentials("", "")

    def get_api_key(self, provider: str) -> str:
        """Return a provider's key as plain text; raise `ConfigurationError` when there is none."""
        return self.get_api_secret(provider).reveal()

    def get_api_secret(self, provider: str) -> Secret:
        """Return a provider's key, hidden; raise `ConfigurationError` when there is none.

        One that is a reference is fetched by a `GatewayClient` with `keys`, and not here.
        """
        found = self._key(provider)
        if isinstance(found, Secret):
            return found
        raise ConfigurationError(
            f"the API key of {provider} is a reference, {found}, and this object knows no vault; "
            "use ostiary.Ostiary, or give GatewayClient keys=VaultKeys(...)"
        )

    def reference(self, provider: str) -> Reference | None:
        """Return what a provider's key refers to; None when it is a key.

        Raises `ConfigurationError` when there is none.
        """
        found = self._key(provider)
        return found if isinstance(found, Reference) else None

    def _key(self, provider: str) -> Secret | Reference:
        known = providers.provider(provider)
        given = self._keys.get(known.name)
        if given is not None:
            return given
        if known.key_env and self._environ.get(known.key_env):
            key = hidden(self._environ[known.key_env].strip())
            if problem := _key_problem(known.key_env, key):
                raise ConfigurationError(problem)
            assert isinstance(key, (Secret, Reference))
            return key
        where = f", or set {known.key_env}" if known.key_env else ""
        raise ConfigurationError(
            f"there is no API key for {known.name}; give api_keys={{{known.name!r}: ...}}{where}"
        )

    def request_headers(self, provider: str) -> dict[str, str | Secret]:
        """Return the header that carries the provider's key, which stays hidden."""
        known = providers.provider(provider)
        key = self.get_api_secret(provider).reveal_bytes()
        try:
            return {known.key_header: Secret(known.key_prefix.encode() + key)}
        finally:
            del key

    async def request_headers_async(self, provider: str) -> dict[str, str | Secret]:
        """Return `request_headers`, for which nothing has to be waited for."""
        return self.request_headers(provider)

    def __repr__(self) -> str:
        if not hasattr(self, "_urls"):  # its constructor refused
            return "<DirectProviderClient, not configured>"
        keys = ", ".join(sorted(self._keys)) or "none given"
        return f"DirectProviderClient(keys: {keys}; base_urls={self._urls!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        references = {name: str(key) for name, key in self._keys.items() if type(key) is Reference}
        return _direct, (dict(self._urls), references)


def _direct(base_urls: dict[str, str], references: dict[str, str]) -> DirectProviderClient:
    return DirectProviderClient(allow=True, base_urls=base_urls, api_keys=references)


def access_from_environment(environ: Mapping[str, str] | None = None) -> GatewayAccess:
    """Return what the environment asks for (docs/identity.md).

    Direct mode, if `SAGE_SANCTUM_ALLOW_DIRECT=1` and nothing speaks of a gateway; else gateway
    mode, which needs a JWT-SVID, a Transaction Token and a socket. Raises `ConfigurationError`
    that names what is missing or contradicts itself. No token is read yet.
    """
    source = settings.Environment(environ)
    del environ
    return settings.GatewaySettings.from_environment(source).access(source)


def _hidden(keys: object) -> dict[str, Hidden]:
    """Return keys so that they do not show, without the white space around them."""
    if keys is None:
        return {}
    if not isinstance(keys, Mapping):
        return {"every provider": Unusable("stands by the provider's name: api_keys is a mapping")}
    given = cast("Mapping[str, object]", keys)
    return {
        name: Unusable("is neither a str nor a Secret")
        if key is None
        else hidden(key.strip() if isinstance(key, str) else key)
        for name, key in given.items()
    }


def _key_problem(name: str, key: Hidden) -> str | None:
    problem = None if key is None else key_problem(key)
    return None if problem is None else f"the API key of {name} {problem}"
