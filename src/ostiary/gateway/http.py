"""HTTP to the gateway with nothing above it: a request, a stream's lines, a health probe.

For what the typed client does not cover, and for code written against the guide's client. It
attaches no tokens. Connections are kept and used again; a reply that is cut off is an error.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, Self, cast, final

import msgspec
from msgspec import UNSET, UnsetType

from .._route import FailedReply
from ..config import BaseUrl, TcpAddress, is_this_machine, parse_address, parse_base_url
from ..errors import InvalidArgumentError, OstiaryError, adopt
from ..http._replies import MAX_BODY, retry_after
from ..http._sync import Pool
from ..secret import Secret
from .endpoints import socket_url, unsafe
from .errors import (
    FAMILY,
    ConfigurationError,
    GatewayArgumentError,
    GatewayError,
    GatewaySizeLimitError,
)
from .refusals import refusal

if TYPE_CHECKING:
    import ssl

    from .._wire.headers import Headers
    from ..http._sync import ResponseStream

__all__ = ["GatewayHttpClient", "HttpResponse"]

HEALTH_TIMEOUT: Final = 2.0
"""How long a health probe may take, all in all."""


class HttpResponse(msgspec.Struct, frozen=True):
    """A whole response: names of headers in lower case, the last value of each; body as text."""

    status: int
    headers: dict[str, str]
    data: str


@final
class GatewayHttpClient:
    """One place that speaks HTTP: the gateway's Unix socket, or TCP by explicit wish.

    Thread-safe; use it as a context manager, or call `close`. Times are seconds: `timeout`
    bounds a whole call, retries included.
    """

    __slots__ = (
        "_backoff",
        "_endpoint",
        "_host",
        "_max_retries",
        "_pool",
        "_port",
        "_probe_with",
        "_socket_path",
        "_timeout",
        "_unsafe",
    )

    def __init__(
        self,
        socket_path: str | os.PathLike[str] | None = None,
        host: str | None = None,
        port: int | None = None,
        timeout: float | None = 120,
        max_retries: int = 3,
        retry_backoff: float = 0.5,
        *,
        tls: bool | None = None,
        ssl_context: ssl.SSLContext | None = None,
        expected_uid: int | None = None,
    ) -> None:
        """Describe a client; nothing is opened.

        Give `socket_path`, or `host` and perhaps `port`, and not both. TCP has TLS, with
        verification, to every host but this machine; `tls=False` for another is refused with
        the first request, since tokens would be read on their way. `retry_backoff` is the
        longest wait before the first retry, which each next one doubles. `expected_uid`
        refuses a socket whose server runs as another user.
        """
        if socket_path and host:
            raise GatewayArgumentError("give socket_path or host, not both")
        self._socket_path = None
        self._host = host
        self._port = port
        if socket_path:
            self._endpoint = socket_url(socket_path)
            self._socket_path = os.fspath(socket_path)
        elif host:
            self._endpoint = _url(host, port, tls)
        else:
            raise GatewayError("there is nowhere to send to; give socket_path, or host and port")
        self._configure(timeout, max_retries, retry_backoff, ssl_context, expected_uid)

    @classmethod
    def from_endpoint(
        cls,
        endpoint: str,
        timeout: float | None = 120,
        max_retries: int = 3,
        retry_backoff: float = 0.5,
        *,
        ssl_context: ssl.SSLContext | None = None,
        expected_uid: int | None = None,
    ) -> GatewayHttpClient:
        """Return a client for what `get_endpoint` returns: `unix:///path`, or a URL.

        Scheme, port and path of a URL count. A `/v1` at its end is left out: the gateway's
        paths begin with it.
        """
        try:
            base = parse_base_url(endpoint)
        except InvalidArgumentError as error:
            problem = str(error)
        else:
            made = cls.__new__(cls)
            address, tcp = base.address, isinstance(base.address, TcpAddress)
            made._socket_path = None if isinstance(address, TcpAddress) else address.path
            made._host = address.host if isinstance(address, TcpAddress) else None
            made._port = address.port if isinstance(address, TcpAddress) else None
            made._endpoint = str(base).removesuffix("/v1") if tcp else socket_url(endpoint)
            made._configure(timeout, max_retries, retry_backoff, ssl_context, expected_uid)
            return made
        raise GatewayArgumentError(problem)

    def _configure(
        self,
        timeout: float | None,
        max_retries: int,
        retry_backoff: float,
        ssl_context: ssl.SSLContext | None,
        expected_uid: int | None,
    ) -> None:
        self._timeout = timeout
        self._max_retries = max_retries
        self._backoff = retry_backoff
        self._unsafe = unsafe("this client", self._endpoint)
        # Kept for the health probe, which has a connection and a patience of its own.
        self._probe_with: dict[str, Any] = {
            "ssl_context": ssl_context,
            "expected_uid": expected_uid,
            "family": FAMILY,
        }
        try:
            self._pool = Pool(
                self._endpoint,
                timeout=timeout,
                idle_timeout=timeout,
                max_retries=max_retries,
                backoff=retry_backoff,
                **self._probe_with,
            )
        except OstiaryError as error:
            raise adopt(error, FAMILY) from None

    @property
    def endpoint(self) -> str:
        """Where requests go, as a base URL."""
        return self._endpoint

    @property
    def is_unix_socket(self) -> bool:
        """Whether requests go over a Unix socket."""
        return self._socket_path is not None

    @property
    def socket_path(self) -> str | None:
        """The socket's path; None for TCP."""
        return self._socket_path

    @property
    def host(self) -> str | None:
        """The host of a TCP endpoint."""
        return self._host

    @property
    def port(self) -> int | None:
        """The port that was given for a TCP endpoint, or that its URL has."""
        return self._port

    @property
    def timeout(self) -> float | None:
        """How long a call may take."""
        return self._timeout

    @property
    def max_retries(self) -> int:
        """How many attempts may follow the first."""
        return self._max_retries

    @property
    def retry_backoff(self) -> float:
        """The longest wait before the first retry."""
        return self._backoff

    @property
    def open_connections(self) -> int:
        """How many connections are open, idle ones included."""
        return self._pool.open_connections

    def request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str | Secret] | None = None,
        body: str | Mapping[str, Any] | None = None,
        *,
        timeout: float | UnsetType | None = UNSET,
        idempotency_key: str | bool | None = None,
    ) -> HttpResponse:
        """Send a request and return its response, whatever its status but 429.

        `body` is an object, sent as JSON, or text. `timeout` takes the place of the client's;
        None is no limit. What may have run is sent again only when the method allows it or
        `idempotency_key` is given; see docs/http.md.

        Raises `RateLimitError` for 429, `GatewayUnavailableError` when the gateway cannot be
        reached and another `GatewayError` when no whole response came.
        """
        self._check_safe()
        try:
            found = self._pool.request(
                method,
                path,
                headers=headers,
                idempotency_key=idempotency_key,
                timeout=timeout,
                check=False,
                **_body(body),
            )
        finally:
            del headers, body  # a traceback records the locals of the frames that raise
        if found.status == 429:
            raise _refused(found.status, found.headers, found.read(), f"{method} {path}")
        return HttpResponse(found.status, dict(found.headers.items()), found.text())

    def request_stream(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str | Secret] | None = None,
        body: str | Mapping[str, Any] | None = None,
    ) -> Iterator[bytes]:
        """Send a request when the first line is asked for, and yield the response's lines.

        Lines keep their end; the last may have none. Raises a `GatewayError` for any status
        but 200, and when the response ends before its end. Closing the iterator closes the
        connection.
        """
        self._check_safe()
        return self._lines(method, path, headers, _body(body))

    def _lines(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str | Secret] | None,
        body: dict[str, Any],
    ) -> Iterator[bytes]:
        try:
            stream = self._pool.stream(method, path, headers=headers, check=False, **body)
        finally:
            del headers, body
        with stream:
            if stream.status != 200:
                said = _beginning(stream)
                raise _refused(stream.status, stream.headers, said, f"{method} {path}")
            longest = self._pool.settings.limits.sse_event
            rest = bytearray()
            for piece in stream:
                begin = len(rest)
                rest += memoryview(piece)
                # Only what is new is searched: a line may come in any number of pieces.
                while (end := rest.find(b"\n", begin)) >= 0:
                    yield bytes(rest[: end + 1])
                    del rest[: end + 1]
                    begin = 0
                if len(rest) > longest:
                    raise GatewaySizeLimitError(
                        f"{method} {path} was answered with a line of more than {longest} bytes",
                        sent=True,
                    )
            if rest:
                yield bytes(rest)

    def health_check(
        self,
        headers: Mapping[str, str | Secret] | None = None,
        *,
        timeout: float = HEALTH_TIMEOUT,
    ) -> bool:
        """Return whether `GET /health` is answered with 200, by one attempt.

        `headers` are for a gateway that asks who wants to know.
        """
        self._check_safe()
        with Pool(self._endpoint, timeout=timeout, max_retries=0, **self._probe_with) as pool:
            try:
                return pool.request("GET", "/health", headers=headers, check=False).status == 200
            except OstiaryError:
                return False

    def _check_safe(self) -> None:
        if self._unsafe is not None:
            raise ConfigurationError(self._unsafe)

    def close(self) -> None:
        """Close every connection. Final."""
        self._pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __repr__(self) -> str:
        if not hasattr(self, "_pool"):  # its constructor refused
            return "<GatewayHttpClient, not configured>"
        return f"GatewayHttpClient({self._endpoint!r})"


def _url(host: str, port: int | None, tls: bool | None) -> str:
    try:
        address = parse_address((host, port), default_port=80 if tls is False else 443)
    except InvalidArgumentError as error:
        problem = str(error)
    else:
        assert isinstance(address, TcpAddress)
        encrypted = not is_this_machine(host) if tls is None else tls
        if port is None and not encrypted:
            address = TcpAddress(host, 80)
        return BaseUrl(TcpAddress(address.host, address.port, encrypted), "").origin
    raise GatewayArgumentError(problem)


def _body(body: object) -> dict[str, Any]:
    """Return what a pool sends as the body: text as it stands, an object as JSON."""
    if body is None:
        return {}
    if isinstance(body, str):
        return {"body": body.encode("utf-8", "replace")}
    if isinstance(body, Mapping):
        return {"json": dict(cast("Mapping[str, Any]", body))}
    kind = type(body).__name__
    del body
    raise GatewayArgumentError(f"a body is text or an object, not {kind}")


def _beginning(stream: ResponseStream) -> bytes:
    """Return as much of a refusal's body as is kept of one."""
    kept = bytearray()
    try:
        for piece in stream:
            kept += memoryview(piece)
            if len(kept) >= MAX_BODY:
                break
    except OstiaryError:
        pass  # the status is what counts
    return bytes(kept[:MAX_BODY])


def _refused(status: int, headers: Headers, body: bytes, endpoint: str) -> GatewayError:
    return refusal(
        FailedReply(
            status,
            headers,
            body[:MAX_BODY],
            retry_after(headers),
            headers.get("x-request-id"),
            endpoint,
        )
    )
