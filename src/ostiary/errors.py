"""Every exception this library raises.

OstiaryError
├── TransportError                 no whole reply; `sent` says the request may have run
│   ├── ConnectError               nothing was sent; also a builtin ConnectionError
│   ├── ConnectionLostError        the peer went away mid-call; also a ConnectionError
│   ├── DeadlineError              the call's time ran out; also a TimeoutError
│   └── ProtocolError              the peer broke the wire format; also a ValueError
│       └── SizeLimitError         the peer announced or sent more than a limit allows
├── APIError                       a whole reply that says no: `status`, `code`, ...
│   ├── BadRequestError            400
│   ├── AuthenticationError        401
│   ├── PermissionDeniedError      403
│   ├── NotFoundError              404
│   ├── MethodNotAllowedError      405
│   ├── ConflictError              409
│   ├── GoneError                  410
│   ├── PayloadTooLargeError       413
│   ├── UnprocessableError         422
│   ├── LockedError                423
│   ├── RateLimitError             429, retryable
│   └── ServerError                500 and every other 5xx
│       ├── BadGatewayError        502, retryable
│       ├── UnavailableError       503, retryable
│       └── GatewayTimeoutError    504, retryable
├── InvalidArgumentError           the caller's mistake, found before anything was sent;
│                                  also a ValueError
├── ClientStateError               used before `connect`, after `close`, or from a second
│                                  running event loop; also a RuntimeError
└── SecretExposureError            a `Secret` was about to be pickled, copied or indexed;
                                   also a TypeError

Each domain has a root of its own below `OstiaryError` (`VaultError`, ...), and every error a
domain raises is an instance of that root and of the shared class above. Cancellation and
KeyboardInterrupt are never caught and never wrapped.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

__all__ = [
    "APIError",
    "AuthenticationError",
    "BadGatewayError",
    "BadRequestError",
    "ClientStateError",
    "ConflictError",
    "ConnectError",
    "ConnectionLostError",
    "DeadlineError",
    "GatewayTimeoutError",
    "GoneError",
    "InvalidArgumentError",
    "LockedError",
    "MethodNotAllowedError",
    "NotFoundError",
    "OstiaryError",
    "PayloadTooLargeError",
    "PermissionDeniedError",
    "ProtocolError",
    "RateLimitError",
    "SecretExposureError",
    "ServerError",
    "SizeLimitError",
    "TransportError",
    "UnavailableError",
    "UnprocessableError",
    "adopt",
    "error_for_status",
]

E = TypeVar("E", bound="OstiaryError")


class OstiaryError(Exception):
    """Root of everything this library raises on purpose.

    One positional argument, the message, reaches `Exception`; everything else is an
    attribute. That is what lets every subclass pickle and copy whole.
    """

    retryable: bool = False
    """True when repeating the same call later may succeed."""

    attempts: int = 1
    """How often it was tried, when a client of ours tried it again."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message)

    @property
    def message(self) -> str:
        """The text given when the error was raised."""
        return str(self.args[0]) if self.args else ""

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.args, self.__dict__.copy())


class TransportError(OstiaryError):
    """No whole reply arrived.

    `sent` is False only when no byte of the request left this process, so that a repeat
    cannot run it twice.
    """

    sent: bool = False

    def __init__(self, message: str = "", *, sent: bool = False) -> None:
        super().__init__(message)
        self.sent = sent


class ConnectError(TransportError, ConnectionError):
    """The peer could not be reached; nothing was sent."""

    retryable = True


class ConnectionLostError(TransportError, ConnectionError):
    """The connection ended before the whole reply arrived."""

    retryable = True


class DeadlineError(TransportError, TimeoutError):
    """The time allowed for the call ran out."""


class ProtocolError(TransportError, ValueError):
    """The peer broke the wire format; its connection is closed.

    `rule` names what an HTTP response broke; None for other protocols.
    """

    rule: str | None = None


class SizeLimitError(ProtocolError):
    """The peer announced or sent more than a limit allows; see `config.Limits`."""


class APIError(OstiaryError):
    """The peer understood the request and refused it.

    `status` is the HTTP status, or the closest one where the protocol has none. `code` is
    the peer's own word, kept verbatim. `retry_after` is in seconds. `body` is what an HTTP
    peer said, at most its first 64 KiB, and no part of the message: it may repeat the request.
    """

    status: int | None = None
    code: str | None = None
    request_id: str | None = None
    retry_after: float | None = None
    body: bytes = b""

    def __init__(
        self,
        message: str = "",
        *,
        status: int | None = None,
        code: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        body: bytes = b"",
    ) -> None:
        super().__init__(message)
        if status is not None:
            self.status = status
        if code is not None:
            self.code = code
        if body:
            self.body = body
        self.request_id = request_id
        self.retry_after = retry_after


class BadRequestError(APIError):
    """400: the request was malformed."""

    status = 400


class AuthenticationError(APIError):
    """401: the peer does not know who is asking, or no longer does."""

    status = 401


class PermissionDeniedError(APIError):
    """403: the peer knows who is asking and refuses."""

    status = 403


class NotFoundError(APIError):
    """404: nothing has that name."""

    status = 404


class MethodNotAllowedError(APIError):
    """405: the peer has no such operation."""

    status = 405


class ConflictError(APIError):
    """409: the thing exists already, or changed since it was read."""

    status = 409


class GoneError(APIError):
    """410: the thing existed and has ended."""

    status = 410


class PayloadTooLargeError(APIError):
    """413: the request was larger than the peer accepts."""

    status = 413


class UnprocessableError(APIError):
    """422: the request was well formed and its content was refused."""

    status = 422


class LockedError(APIError):
    """423: the peer is sealed or the thing is locked."""

    status = 423


class RateLimitError(APIError):
    """429: too many requests; `retry_after` says how long to wait, when the peer did."""

    status = 429
    retryable = True


class ServerError(APIError):
    """5xx: the peer failed."""

    status = 500


class BadGatewayError(ServerError):
    """502: the peer's own upstream answered badly."""

    status = 502
    retryable = True


class UnavailableError(ServerError):
    """503: the peer cannot serve now."""

    status = 503
    retryable = True


class GatewayTimeoutError(ServerError):
    """504: the peer's own upstream did not answer in time."""

    status = 504
    retryable = True


class InvalidArgumentError(OstiaryError, ValueError):
    """An argument or setting is wrong; nothing was sent.

    `problems` are pairs of a field's path and what is wrong with it, when a model was refused.
    """

    problems: tuple[tuple[str, str], ...] = ()


class ClientStateError(OstiaryError, RuntimeError):
    """The client cannot be used now: not connected, closed, or bound to another loop."""


class SecretExposureError(OstiaryError, TypeError):
    """A secret was about to leave the process, or its wrapper, by accident."""


_BY_STATUS: dict[int, type[APIError]] = {
    cls.__dict__["status"]: cls
    for cls in (
        BadRequestError,
        AuthenticationError,
        PermissionDeniedError,
        NotFoundError,
        MethodNotAllowedError,
        ConflictError,
        GoneError,
        PayloadTooLargeError,
        UnprocessableError,
        LockedError,
        RateLimitError,
        ServerError,
        BadGatewayError,
        UnavailableError,
        GatewayTimeoutError,
    )
}


def error_for_status(status: int) -> type[APIError]:
    """Return the class for an HTTP status; `ServerError` or `APIError` for the rest."""
    return _BY_STATUS.get(status) or (ServerError if 500 <= status < 600 else APIError)


def adopt(error: OstiaryError, family: Mapping[type[OstiaryError], type[E]]) -> OstiaryError:
    """Return `error` as the family's own class for its condition, fields and message kept.

    `family` maps shared classes to a domain's; the nearest base that has a row wins. An
    error that already belongs to the family, or has no row, comes back as it is.
    """
    for base in type(error).__mro__:
        native = family.get(base)
        if native is not None:
            if isinstance(error, native):
                return error
            adopted = native(error.message)
            adopted.__dict__.update(error.__dict__)
            return adopted
    return error


def _rebuild(
    cls: type[OstiaryError], args: tuple[object, ...], state: dict[str, object]
) -> OstiaryError:
    # Not cls(*args): a subclass may ask for keyword arguments that are in `state` anyway.
    # BaseException.__init__ because OSError.__new__ leaves `args` to __init__.
    error = cls.__new__(cls, *args)
    BaseException.__init__(error, *args)
    error.__dict__.update(state)
    return error
