"""The governance exceptions: the guide's names, hung into the shared tree.

HestiaError                          root; `code`, `message`, `trace_id`; reads `[code] message`
├── HestiaAPIError                   the server said no; itself for any status without a class
│   ├── HestiaBadRequestError        400
│   ├── HestiaAuthenticationError    401: the API key is missing or wrong
│   ├── GovernanceBlock              403: governance decided against it
│   ├── NotFound                     404
│   ├── HestiaMethodNotAllowedError  405
│   ├── HestiaConflictError          409
│   ├── HestiaGoneError              410
│   ├── HestiaPayloadTooLargeError   413
│   ├── InvalidInput                 422
│   ├── HestiaLockedError            423
│   ├── HestiaRateLimitError         429; `retry_after`
│   └── HestiaServerError            5xx
│       ├── HestiaBadGatewayError      502
│       ├── HestiaUnavailableError     503
│       └── HestiaGatewayTimeoutError  504: the server's own time for the work ran out
├── HestiaTransportError             no whole reply; `sent` says whether it may have run
│   ├── HestiaConnectError           also a builtin ConnectionError
│   ├── HestiaConnectionLostError    also a builtin ConnectionError
│   ├── HestiaDeadlineError          also a builtin TimeoutError
│   └── HestiaProtocolError          also a ValueError
│       └── HestiaSizeLimitError
├── HestiaArgumentError              the caller's mistake; nothing was sent; also a ValueError
└── HestiaStateError                 the client is closed; also a RuntimeError

Each is also the class of `ostiary.errors` whose name it bears, or that its status has there.
`refusal` reads a reply that says no. It sends nothing and decides no retry.
"""

# pyright: reportIncompatibleVariableOverride=false
# `code` is `str | None` on the shared APIError, since other protocols have replies without
# one, and always a str here, which every handler of a HestiaError may rely on.

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Final, cast

import msgspec

from .._decoders import decoder_of
from .._refusal import ADVICE, reason_of
from .._route import FailedReply
from ..errors import (
    APIError,
    AuthenticationError,
    BadGatewayError,
    BadRequestError,
    ClientStateError,
    ConflictError,
    ConnectError,
    ConnectionLostError,
    DeadlineError,
    GatewayTimeoutError,
    GoneError,
    InvalidArgumentError,
    LockedError,
    MethodNotAllowedError,
    NotFoundError,
    OstiaryError,
    PayloadTooLargeError,
    PermissionDeniedError,
    ProtocolError,
    RateLimitError,
    ServerError,
    SizeLimitError,
    TransportError,
    UnavailableError,
    UnprocessableError,
)

__all__ = [
    "FAMILY",
    "GovernanceBlock",
    "HestiaAPIError",
    "HestiaArgumentError",
    "HestiaAuthenticationError",
    "HestiaBadGatewayError",
    "HestiaBadRequestError",
    "HestiaConflictError",
    "HestiaConnectError",
    "HestiaConnectionLostError",
    "HestiaDeadlineError",
    "HestiaError",
    "HestiaGatewayTimeoutError",
    "HestiaGoneError",
    "HestiaLockedError",
    "HestiaMethodNotAllowedError",
    "HestiaPayloadTooLargeError",
    "HestiaProtocolError",
    "HestiaRateLimitError",
    "HestiaServerError",
    "HestiaSizeLimitError",
    "HestiaStateError",
    "HestiaTransportError",
    "HestiaUnavailableError",
    "InvalidInput",
    "NotFound",
    "error_event",
    "refusal",
    "refusal_without_echo",
]


class HestiaError(OstiaryError):
    """Root of everything `ostiary.governance` raises.

    `code` is a word for programs: the server's own, or `default_code`. `message` is for
    people. `trace_id` names the governance decision, when the server told it.
    """

    default_code: ClassVar[str] = "UNKNOWN"

    trace_id: str | None

    def __init__(
        self, code: str = "", message: str | None = None, trace_id: str | None = None
    ) -> None:
        """Take code and message, in this order; a single argument is the message."""
        if message is None:
            code, message = "", code
        super().__init__(message)
        if code:
            self.code = code
        self.trace_id = trace_id

    # A property, so that what has no code of its own can work one out; the value stands in
    # __dict__, where pickling and `adopt` look.
    @property
    def code(self) -> str:
        """The server's word for what went wrong, or the class's."""
        return self.__dict__.get("code") or self.default_code

    @code.setter
    def code(self, value: str | None) -> None:
        self.__dict__["code"] = value

    def __str__(self) -> str:
        return f"[{self.code}] {self.message}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}(code={self.code!r}, message={self.message!r})"


class HestiaAPIError(HestiaError, APIError):
    """The server refused; raised itself for a status that has no class of its own.

    `details` is whatever object the server added. `retry_after` is in seconds.
    """

    details: dict[str, Any] | None = None

    def __init__(
        self,
        message: str = "",
        *,
        status: int | None = None,
        code: str | None = None,
        trace_id: str | None = None,
        details: Mapping[str, Any] | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        body: bytes = b"",
    ) -> None:
        super().__init__(code or "", message, trace_id)
        if status is not None:
            self.status = status
        if body:
            self.body = body
        self.details = None if details is None else dict(details)
        self.request_id = request_id
        self.retry_after = retry_after

    @property
    def code(self) -> str:
        """The server's word for what went wrong; `HTTP_<status>` when it gave none."""
        given = self.__dict__.get("code")
        return given or (self.default_code if self.status is None else f"HTTP_{self.status}")

    @code.setter
    def code(self, value: str | None) -> None:
        self.__dict__["code"] = value


class _FixedCode(HestiaAPIError):
    """A refusal whose code the guide fixes, whatever word the server used."""

    @property
    def code(self) -> str:
        """Always the class's `default_code`."""
        return self.default_code

    @code.setter
    def code(self, value: str | None) -> None:
        pass


class HestiaBadRequestError(HestiaAPIError, BadRequestError):
    """400: the server could not read the request."""


class HestiaAuthenticationError(HestiaAPIError, AuthenticationError):
    """401: the API key is missing, or not the one the server has."""


class GovernanceBlock(_FixedCode, PermissionDeniedError):
    """403: governance decided against it; `trace_id` leads to the decision's reasons.

    `trace_id` is empty, and never None, when the server named none.
    """

    default_code = "GOVERNANCE_BLOCK"

    trace_id: str

    def __init__(
        self,
        trace_id: str | None = "",
        *,
        message: str | None = None,
        details: Mapping[str, Any] | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        body: bytes = b"",
    ) -> None:
        super().__init__(
            message or "Request blocked by governance",
            trace_id=trace_id or "",
            details=details,
            request_id=request_id,
            retry_after=retry_after,
            body=body,
        )


class NotFound(_FixedCode, NotFoundError):
    """404: nothing has that name."""

    default_code = "NOT_FOUND"

    def __init__(
        self,
        message: str = "Resource not found",
        trace_id: str | None = None,
        details: Mapping[str, Any] | None = None,
        *,
        request_id: str | None = None,
        retry_after: float | None = None,
        body: bytes = b"",
    ) -> None:
        super().__init__(
            message,
            trace_id=trace_id,
            details=details,
            request_id=request_id,
            retry_after=retry_after,
            body=body,
        )


class HestiaMethodNotAllowedError(HestiaAPIError, MethodNotAllowedError):
    """405: this server has no such operation."""


class HestiaConflictError(HestiaAPIError, ConflictError):
    """409: what it concerns exists already, or has changed."""


class HestiaGoneError(HestiaAPIError, GoneError):
    """410: what it concerned has ended."""


class HestiaPayloadTooLargeError(HestiaAPIError, PayloadTooLargeError):
    """413: the request was larger than the server accepts."""


class InvalidInput(_FixedCode, UnprocessableError):
    """422: the request was well formed and the server refused its content; see `details`."""

    default_code = "INVALID_INPUT"

    def __init__(
        self,
        message: str = "Invalid input",
        trace_id: str | None = None,
        details: Mapping[str, Any] | None = None,
        *,
        request_id: str | None = None,
        retry_after: float | None = None,
        body: bytes = b"",
    ) -> None:
        super().__init__(
            message,
            trace_id=trace_id,
            details=details,
            request_id=request_id,
            retry_after=retry_after,
            body=body,
        )


class HestiaLockedError(HestiaAPIError, LockedError):
    """423: what it concerns is locked."""


class HestiaRateLimitError(HestiaAPIError, RateLimitError):
    """429: too many requests; `retry_after` is in seconds when the server named a time."""


class HestiaServerError(HestiaAPIError, ServerError):
    """5xx: the server failed."""


class HestiaBadGatewayError(HestiaServerError, BadGatewayError):
    """502: something behind the server answered badly."""


class HestiaUnavailableError(HestiaServerError, UnavailableError):
    """503: the server cannot serve now."""


class HestiaGatewayTimeoutError(HestiaServerError, GatewayTimeoutError):
    """504: the work took longer than `timeout_ms`, or something behind the server was late."""


class HestiaTransportError(HestiaError, TransportError):
    """No whole reply arrived; `sent` is False when the request cannot have run."""

    default_code = "TRANSPORT_ERROR"

    def __init__(
        self,
        message: str = "",
        *,
        sent: bool = False,
        code: str | None = None,
        trace_id: str | None = None,
    ) -> None:
        super().__init__(code or "", message, trace_id)
        self.sent = sent


class HestiaConnectError(HestiaTransportError, ConnectError):
    """The server could not be reached; nothing was sent."""

    default_code = "CONNECT_FAILED"


class HestiaConnectionLostError(HestiaTransportError, ConnectionLostError):
    """The connection, or a stream, ended before all of it had come."""

    default_code = "CONNECTION_LOST"


class HestiaDeadlineError(HestiaTransportError, DeadlineError):
    """The time allowed for the call, the stream, or its next event ran out."""

    default_code = "TIMEOUT"


class HestiaProtocolError(HestiaTransportError, ProtocolError):
    """The server sent what the protocol does not allow."""

    default_code = "PROTOCOL_ERROR"


class HestiaSizeLimitError(HestiaProtocolError, SizeLimitError):
    """The server sent more than `limits` allows."""

    default_code = "SIZE_LIMIT"


class HestiaArgumentError(HestiaError, InvalidArgumentError):
    """An argument or setting is wrong; nothing was sent."""

    default_code = "INVALID_ARGUMENT"


class HestiaStateError(HestiaError, ClientStateError):
    """The client cannot be used now: it was closed, or belongs to another event loop."""

    default_code = "CLIENT_STATE"


FAMILY: Final[Mapping[type[OstiaryError], type[HestiaError]]] = MappingProxyType(
    {
        TransportError: HestiaTransportError,
        ConnectError: HestiaConnectError,
        ConnectionLostError: HestiaConnectionLostError,
        DeadlineError: HestiaDeadlineError,
        ProtocolError: HestiaProtocolError,
        SizeLimitError: HestiaSizeLimitError,
        APIError: HestiaAPIError,  # a redirect, which is nobody's refusal
        InvalidArgumentError: HestiaArgumentError,
        ClientStateError: HestiaStateError,
    }
)
"""The domain's class for each shared condition that can arise below it; for `errors.adopt`."""


_BY_STATUS: Final[Mapping[int, type[HestiaAPIError]]] = MappingProxyType(
    {
        400: HestiaBadRequestError,
        401: HestiaAuthenticationError,
        405: HestiaMethodNotAllowedError,
        409: HestiaConflictError,
        410: HestiaGoneError,
        413: HestiaPayloadTooLargeError,
        423: HestiaLockedError,
        429: HestiaRateLimitError,
        502: HestiaBadGatewayError,
        503: HestiaUnavailableError,
        504: HestiaGatewayTimeoutError,
    }
)
_FIXED: Final[Mapping[int, type[InvalidInput | NotFound]]] = MappingProxyType(
    {404: NotFound, 422: InvalidInput}
)

_ADVICE: Final = {
    **ADVICE,
    401: "the server does not accept the API key; give api_key, or set OSTIARY_GOVERNANCE_API_KEY",
    504: "the work was not done in time; allow it more by timeout_ms",
}


class _Problem(msgspec.Struct):
    code: Any = None
    message: Any = None
    trace_id: Any = None
    details: Any = None
    error: Any = None
    detail: Any = None  # where frameworks put what they found by themselves


_problem: Final = decoder_of(_Problem).decode


def refusal(reply: FailedReply) -> HestiaAPIError:
    """Return the exception for a reply that says no (docs/governance.md, Errors).

    The reason, trace id and details come from the body, whatever of them can be read there.
    """
    try:
        found = _problem(reply.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        found = _Problem()
    details = _members(found.details)
    if details is None and found.detail is not None and not isinstance(found.detail, str):
        details = {"detail": found.detail}
    return _made(
        reply.status,
        code=reason_of(found.code),
        message=reason_of(found.message) or reason_of(found.detail) or reason_of(found.error),
        trace_id=reason_of(found.trace_id),
        details=details,
        request_id=reply.request_id,
        retry_after=reply.retry_after,
        body=reply.body,
    )


def refusal_without_echo(reply: FailedReply) -> HestiaAPIError:
    """Return the exception for a reply to a request that carried a secret.

    Servers quote what they refuse, so that nothing of the body is kept but code and trace id.
    """
    error = refusal(reply)
    word = error.code if error.code.replace("_", "").isalnum() and len(error.code) <= 40 else None
    return _made(
        reply.status,
        code=word,
        message=None,
        trace_id=error.trace_id if _is_id(error.trace_id) else None,
        details=None,
        request_id=reply.request_id,
        retry_after=reply.retry_after,
        body=b"",
    )


def error_event(data: Mapping[str, Any], trace_id: str) -> HestiaAPIError:
    """Return the exception for the data of a stream's `error` event."""
    code, message = reason_of(data.get("code")), reason_of(data.get("message"))
    details = _members(data.get("details"))
    for fixed in (InvalidInput, NotFound):
        if code == fixed.default_code:
            return fixed(message or f"the stream ended with {code}", trace_id or None, details)
    if code == GovernanceBlock.default_code:
        return GovernanceBlock(trace_id, message=message, details=details)
    cls = HestiaGatewayTimeoutError if code in {"TIMEOUT", "HTTP_504"} else HestiaAPIError
    return cls(
        message or "the stream ended with an error and no reason",
        code=code,
        trace_id=trace_id or None,
        details=details,
    )


def _made(
    status: int,
    *,
    code: str | None,
    message: str | None,
    trace_id: str | None,
    details: dict[str, Any] | None,
    request_id: str | None,
    retry_after: float | None,
    body: bytes,
) -> HestiaAPIError:
    if status == 403:
        return GovernanceBlock(
            trace_id,
            message=message,
            details=details,
            request_id=request_id,
            retry_after=retry_after,
            body=body,
        )
    if message is None:
        message = _ADVICE.get(status) or (
            f"the server failed with status {status}; try again later"
            if status >= 500
            else f"the server refused with status {status}"
        )
    if fixed := _FIXED.get(status):
        return fixed(
            message,
            trace_id,
            details,
            request_id=request_id,
            retry_after=retry_after,
            body=body,
        )
    cls = _BY_STATUS.get(status) or (HestiaServerError if status >= 500 else HestiaAPIError)
    return cls(
        message,
        status=status,
        code=code,
        trace_id=trace_id,
        details=details,
        request_id=request_id,
        retry_after=retry_after,
        body=body,
    )


def _is_id(value: str | None) -> bool:
    return value is not None and len(value) <= 64 and value.replace("-", "").isalnum()


def _members(value: object) -> dict[str, Any] | None:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None
