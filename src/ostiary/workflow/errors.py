"""The workflow domain's exceptions, under names that handlers written for httpx know.

AureusError                       root; `code`, `details`, `errors`, `remediation`, `request_id`
├── HTTPStatusError               the server said no; `response` as httpx has it
│   ├── BadRequestError           400
│   ├── AuthenticationError       401: the API key is missing or wrong
│   ├── PermissionDeniedError     403: the key lacks a role
│   ├── NotFoundError             404
│   ├── MethodNotAllowedError     405
│   ├── ConflictError             409: another run, or another spec, has that id
│   ├── GoneError                 410
│   ├── PayloadTooLargeError      413
│   ├── UnprocessableError        422; `errors` names the members
│   ├── LockedError               423
│   ├── RateLimitError            429; `retry_after`
│   └── ServerError               5xx
│       ├── BadGatewayError         502
│       ├── UnavailableError        503
│       └── GatewayTimeoutError     504
├── RequestError                  no whole reply; `sent` says whether it may have run
│   ├── ConnectError              also a builtin ConnectionError
│   ├── ConnectionLostError       also a builtin ConnectionError
│   ├── TimeoutException          also a builtin TimeoutError
│   └── ProtocolError             a reply that cannot be read; also a ValueError
│       └── SizeLimitError
├── WaitTimeoutError              what was waited for did not come; also a TimeoutError
├── ApprovalDeniedError           a person said no, or nobody said anything in time
├── InvalidArgumentError          the caller's mistake, nothing was sent; also a ValueError
│   └── GraphError                tasks that cannot be put in order; `cycle`, `problems`
├── TelemetryError                telemetry that could not be taken
└── ClientStateError              the client is closed; also a RuntimeError

Each is also the class of `ostiary.errors` for its condition. `refusal` reads a reply that says
no; it sends nothing and decides no retry.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Final, cast, final

import msgspec

from .. import errors as shared
from .._decoders import convert, decoder_of
from .._refusal import ADVICE, kept_headers, reason_of
from .._route import FailedReply

__all__ = [
    "FAMILY",
    "ApprovalDeniedError",
    "AureusError",
    "AuthenticationError",
    "BadGatewayError",
    "BadRequestError",
    "ClientStateError",
    "ConflictError",
    "ConnectError",
    "ConnectionLostError",
    "GatewayTimeoutError",
    "GoneError",
    "GraphError",
    "HTTPStatusError",
    "InvalidArgumentError",
    "LockedError",
    "MethodNotAllowedError",
    "NotFoundError",
    "PayloadTooLargeError",
    "PermissionDeniedError",
    "ProtocolError",
    "RateLimitError",
    "RefusedResponse",
    "RequestError",
    "ServerError",
    "SizeLimitError",
    "TelemetryError",
    "TimeoutException",
    "UnavailableError",
    "UnprocessableError",
    "WaitTimeoutError",
    "refusal",
]


class AureusError(shared.OstiaryError):
    """Root of everything `ostiary.workflow` raises.

    `code` is the server's word for what went wrong, `details` what else it said about it,
    `remediation` what it advises. `errors` are the members it found wrong, each with `path`
    and `message`.
    """

    code: str | None = None
    details: Any = None
    errors: Sequence[Mapping[str, Any]] = ()
    remediation: str | None = None
    request_id: str | None = None


@final
class RefusedResponse:
    """A reply that says no, with the members of an httpx response that handlers read.

    `content` is at most the first 64 KiB of the body.
    """

    __slots__ = ("content", "headers", "status_code")

    def __init__(self, status_code: int, content: bytes, headers: Mapping[str, str]) -> None:
        self.status_code = status_code
        self.content = content
        self.headers = headers

    @property
    def text(self) -> str:
        """The body as text."""
        return self.content.decode("utf-8", "replace")

    @property
    def reason_phrase(self) -> str:
        """What the status is called; empty for one without a name."""
        try:
            return HTTPStatus(self.status_code).phrase
        except ValueError:
            return ""

    @property
    def is_success(self) -> bool:
        """Always false here."""
        return False

    def json(self) -> Any:
        """Return the body decoded; raises `ProtocolError`, also a ValueError, when it is none."""
        try:
            return msgspec.json.decode(self.content)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            problem = type(error).__name__
        raise ProtocolError(
            f"the body of this {self.status_code} reply is not JSON ({problem}); read `text`",
            sent=True,
        )

    def __repr__(self) -> str:
        return f"<RefusedResponse [{self.status_code} {self.reason_phrase}]>"


class HTTPStatusError(AureusError, shared.APIError):
    """The server refused; raised itself for a status that has no class of its own."""

    def __init__(self, message: str = "", *, status: int | None = None) -> None:
        AureusError.__init__(self, message)
        if status is not None:
            self.status = status

    @property
    def response(self) -> RefusedResponse:
        """The reply: `status_code`, `text`, `json()`, `headers`."""
        return RefusedResponse(self.status or 0, self.body, self.headers)

    @property
    def headers(self) -> Mapping[str, str]:
        """The reply's headers, names in lower case, without those that hold credentials."""
        return self.__dict__.get("headers") or _NO_HEADERS

    @headers.setter
    def headers(self, value: Mapping[str, str]) -> None:
        self.__dict__["headers"] = dict(value)


_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})


class BadRequestError(HTTPStatusError, shared.BadRequestError):
    """400: the server could not read the request."""


class AuthenticationError(HTTPStatusError, shared.AuthenticationError):
    """401: the API key is missing, or not one the server knows."""


class PermissionDeniedError(HTTPStatusError, shared.PermissionDeniedError):
    """403: this key has not the role that is needed."""


class NotFoundError(HTTPStatusError, shared.NotFoundError):
    """404: nothing has that name."""


class MethodNotAllowedError(HTTPStatusError, shared.MethodNotAllowedError):
    """405: this server has no such operation."""


class ConflictError(HTTPStatusError, shared.ConflictError):
    """409: the workflow is running, has ended, or was another one under the same id."""


class GoneError(HTTPStatusError, shared.GoneError):
    """410: what it concerned has ended."""


class PayloadTooLargeError(HTTPStatusError, shared.PayloadTooLargeError):
    """413: the request was larger than the server accepts."""


class UnprocessableError(HTTPStatusError, shared.UnprocessableError):
    """422: the request was well formed and its content refused; `errors` says where."""


class LockedError(HTTPStatusError, shared.LockedError):
    """423: what it concerns is locked."""


class RateLimitError(HTTPStatusError, shared.RateLimitError):
    """429: too many requests; `retry_after` is in seconds when the server named a time."""


class ServerError(HTTPStatusError, shared.ServerError):
    """5xx: the server failed."""


class BadGatewayError(ServerError, shared.BadGatewayError):
    """502: something behind the server answered badly."""


class UnavailableError(ServerError, shared.UnavailableError):
    """503: the server cannot serve now."""


class GatewayTimeoutError(ServerError, shared.GatewayTimeoutError):
    """504: something behind the server was late."""


class RequestError(AureusError, shared.TransportError):
    """No whole reply arrived; `sent` is False when the request cannot have run."""

    def __init__(self, message: str = "", *, sent: bool = False) -> None:
        AureusError.__init__(self, message)
        self.sent = sent


class ConnectError(RequestError, shared.ConnectError):
    """The server could not be reached; nothing was sent."""


class ConnectionLostError(RequestError, shared.ConnectionLostError):
    """The connection, or a stream, ended before all of it had come."""


class TimeoutException(RequestError, shared.DeadlineError):
    """The time allowed for the call ran out."""


class ProtocolError(RequestError, shared.ProtocolError):
    """The server sent what the protocol does not allow."""


class SizeLimitError(ProtocolError, shared.SizeLimitError):
    """The server sent more than `limits` allows."""


class WaitTimeoutError(AureusError, TimeoutError):
    """What was waited for did not come in time; `last` is what was seen last, or None."""

    last: Any = None

    def __init__(self, message: str = "", *, last: Any = None) -> None:
        super().__init__(message)
        if last is not None:
            self.last = last


class ApprovalDeniedError(AureusError):
    """The approval was denied or expired; `approval` is it, as it stands."""

    approval: Any = None

    def __init__(self, message: str = "", *, approval: Any = None) -> None:
        super().__init__(message)
        if approval is not None:
            self.approval = approval


class InvalidArgumentError(AureusError, shared.InvalidArgumentError):
    """An argument is wrong; nothing was sent.

    `problems` are pairs of a member's path and what is wrong with it, when a model was refused.
    """


class GraphError(InvalidArgumentError):
    """A workflow's tasks cannot be put in order.

    `cycle` is the path of one cycle, its first task again at its end; empty where there is
    none.
    """

    cycle: tuple[str, ...] = ()

    def __init__(
        self,
        message: str = "",
        *,
        problems: Sequence[tuple[str, str]] = (),
        cycle: Sequence[str] = (),
    ) -> None:
        super().__init__(message)
        if problems:
            self.problems = tuple(problems)
        if cycle:
            self.cycle = tuple(cycle)


class TelemetryError(AureusError):
    """Telemetry could not be taken; the message says what became of it."""


class ClientStateError(AureusError, shared.ClientStateError):
    """The client cannot be used now: it was closed, or belongs to another event loop."""


FAMILY: Final[Mapping[type[shared.OstiaryError], type[AureusError]]] = MappingProxyType(
    {
        shared.TransportError: RequestError,
        shared.ConnectError: ConnectError,
        shared.ConnectionLostError: ConnectionLostError,
        shared.DeadlineError: TimeoutException,
        shared.ProtocolError: ProtocolError,
        shared.SizeLimitError: SizeLimitError,
        shared.APIError: HTTPStatusError,  # a redirect, which is nobody's refusal
        shared.InvalidArgumentError: InvalidArgumentError,
        shared.ClientStateError: ClientStateError,
    }
)
"""The domain's class for each shared condition that can arise below it; for `errors.adopt`."""

_BY_STATUS: Final[Mapping[int, type[HTTPStatusError]]] = MappingProxyType(
    {
        400: BadRequestError,
        401: AuthenticationError,
        403: PermissionDeniedError,
        404: NotFoundError,
        405: MethodNotAllowedError,
        409: ConflictError,
        410: GoneError,
        413: PayloadTooLargeError,
        422: UnprocessableError,
        423: LockedError,
        429: RateLimitError,
        500: ServerError,
        502: BadGatewayError,
        503: UnavailableError,
        504: GatewayTimeoutError,
    }
)

_ADVICE: Final = {
    **ADVICE,
    401: "give api_key, or set OSTIARY_WORKFLOW_API_KEY",
    409: "another run has that id, or it has ended; read its status",
    422: "the server does not accept the request's content; see errors",
}


class _Problem(msgspec.Struct):
    error: Any = None
    code: Any = None
    details: Any = None
    errors: Any = None
    remediation: Any = None
    message: Any = None
    request_id: Any = None


_problem: Final = decoder_of(_Problem).decode


def refusal(reply: FailedReply) -> HTTPStatusError:
    """Return the exception for a reply that says no (docs/workflow.md, Errors)."""
    try:
        found = _problem(reply.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        found = _Problem()
    nested: Any = found.error
    if isinstance(nested, dict):
        found = convert(cast("object", nested), _Problem)
    status = reply.status
    cls = _BY_STATUS.get(status) or (ServerError if status >= 500 else HTTPStatusError)
    reason = (
        reason_of(found.error) or reason_of(found.message) or _ADVICE.get(status) or "see response"
    )
    error = cls(f"{reply.endpoint} was answered {status}: {reason}", status=status)
    error.body = reply.body
    error.code = reason_of(found.code)
    error.details = found.details
    error.errors = _members(found.errors)
    error.remediation = reason_of(found.remediation)
    error.request_id = reply.request_id or reason_of(found.request_id)
    error.retry_after = reply.retry_after
    error.headers = kept_headers(reply)
    return error


def _members(found: Any) -> tuple[Mapping[str, Any], ...]:
    """Return what the server found wrong; older servers send texts."""
    if not isinstance(found, list):
        return ()
    return tuple(_member(one) for one in cast("Iterable[Any]", found))


def _member(one: Any) -> Mapping[str, Any]:
    if isinstance(one, dict):
        return cast("dict[str, Any]", one)
    return {"path": "", "message": str(one)}
