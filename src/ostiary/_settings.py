"""What the client of an HTTP domain is made from; `_api_key` is its neighbour for the key.

Opens no connection.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final

import msgspec

from ._api_key import KeySource, Reference, Unusable
from .config import (
    IDLE_TIMEOUT,
    MAX_CONNECTIONS,
    MAX_RETRIES,
    TIMEOUT,
    BaseUrl,
    Limits,
)
from .errors import InvalidArgumentError
from .http._heads import HeaderLines
from .http.connections import AsyncConnections, Connections
from .secret import Secret

if TYPE_CHECKING:
    import ssl
    from typing import Self

    from .http.hooks import RequestInfo, ResponseInfo, RetryInfo
    from .http.settings import Parser

__all__ = ["GivenHeaders", "HttpSettings", "hidden_headers", "warn_of_clear_text"]

_PACKAGE: Final = __name__.partition(".")[0] + "."

GivenHeaders = HeaderLines | Unusable | None


class HttpSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings that all of them have. Times are seconds, None is no limit."""

    base_url: str
    api_key: Secret | Reference | None
    timeout: float | None = TIMEOUT
    max_retries: int = MAX_RETRIES
    idle_timeout: float | None = IDLE_TIMEOUT
    max_connections: int = MAX_CONNECTIONS
    limits: Limits | None = None
    parser: Parser | None = None
    expected_uid: int | None = None
    ssl_context: ssl.SSLContext | None = None
    on_request: Callable[[RequestInfo], object] | None = None
    on_response: Callable[[ResponseInfo], object] | None = None
    on_retry: Callable[[RetryInfo], object] | None = None
    headers: GivenHeaders = None
    keys: KeySource | None = None
    connections: AsyncConnections | Connections | None = None
    adaptive: bool = False

    family: ClassVar[Mapping[Any, Any]] = {}
    """The domain's class for each shared error."""

    @staticmethod
    def key_of_environment() -> Secret | Reference | None:
        """Return the API key that the environment has; None when it has none."""
        return None

    @staticmethod
    def user_agent() -> str:
        """Return what the client calls itself; asked for with the first request."""
        import ostiary

        return f"ostiary/{ostiary.__version__}"

    def pool_arguments(self) -> dict[str, Any]:
        """Return what a pool is made with, beside the base URL; the key is hidden in it.

        Raises `InvalidArgumentError` for headers that are none, and for a reference that nobody
        was given for to look up.
        """
        if isinstance(self.headers, Unusable):
            raise InvalidArgumentError(self.headers.problem)
        headers = HeaderLines() if self.headers is None else self.headers.copied()
        credentials = None
        if isinstance(self.api_key, Reference):
            if self.keys is None:
                raise InvalidArgumentError(
                    f"the API key is a reference, {self.api_key}, and a client alone knows no "
                    "vault; use ostiary.Ostiary, or give keys=VaultKeys(...)"
                )
            if not hasattr(self.keys, "header"):
                raise InvalidArgumentError("keys is a VaultKeys or an AsyncVaultKeys")
            credentials = self.keys.header(self.api_key, "Authorization", "Bearer ")
        elif self.api_key is not None:
            headers.add({"Authorization": Secret(b"Bearer " + self.api_key.reveal_bytes())})
        return {
            "headers": headers,
            "credentials": credentials,
            "connections": self.connections,
            "adaptive": self.adaptive,
            "user_agent": self.user_agent,
            "timeout": self.timeout,
            "idle_timeout": self.idle_timeout,
            "max_retries": self.max_retries,
            "max_connections": self.max_connections,
            # A fleet's calls come and go together: what is closed now is opened again at once.
            "max_idle": self.max_connections,
            "limits": self.limits,
            "parser": self.parser,
            "ssl_context": self.ssl_context,
            "expected_uid": self.expected_uid,
            "on_request": self.on_request,
            "on_response": self.on_response,
            "on_retry": self.on_retry,
            "family": self.family,
        }

    def alone(self) -> Self:
        """Return a copy for a client that can share neither keys nor connections."""
        return msgspec.structs.replace(self, keys=None, connections=None)

    def for_threads(self) -> Self:
        """Return a copy for a blocking client beside one of either colour."""
        keys = self.keys
        if isinstance(self.api_key, Reference):
            keys = getattr(keys, "for_threads", lambda: keys)()
        shared = self.connections if isinstance(self.connections, Connections) else None
        return msgspec.structs.replace(self, keys=keys, connections=shared)

    def portable(self) -> Self:
        """Return a copy that may be pickled: without key, TLS context and hooks.

        A reference goes along: it is no secret.
        """
        return msgspec.structs.replace(
            self.alone(),
            api_key=self.api_key if isinstance(self.api_key, Reference) else None,
            headers=None,
            ssl_context=None,
            on_request=None,
            on_response=None,
            on_retry=None,
        )

    def arrived(self) -> Self:
        """Return a copy for where it was unpickled: with the API key of the environment there."""
        if self.api_key is not None:
            return self
        return msgspec.structs.replace(self, api_key=self.key_of_environment())


def hidden_headers(given: object) -> GivenHeaders:
    """Return headers for each request so that they do not show. Never raises."""
    if given is None or isinstance(given, (HeaderLines, Unusable)):
        return given
    lines = HeaderLines()
    try:
        lines.add(given)  # type: ignore[arg-type]  # checked there
    except InvalidArgumentError as error:
        return Unusable(error.message)
    return lines


def warn_of_clear_text(base: BaseUrl) -> None:
    """Warn that a key would be sent in clear, at the line that asked for a client."""
    if not base.in_clear:
        return
    import inspect

    level, frame = 0, inspect.currentframe()
    while frame is not None and frame.f_globals["__name__"].startswith(_PACKAGE):
        level, frame = level + 1, frame.f_back
    warnings.warn(
        f"the API key is sent to {base.origin} unencrypted, and anyone on the way can read it; "
        "use https://",
        RuntimeWarning,
        stacklevel=level + 1,
    )
