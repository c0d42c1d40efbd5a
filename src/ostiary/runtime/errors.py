"""The runtime's exceptions: the guide's names, hung into the shared tree.

SymbiontError                          root; `status_code`, `response_text`, `code`, `details`
├── APIError                           the server said no; itself for a status without a class
│   ├── BadRequestError                400
│   ├── PermissionDeniedError          403
│   ├── MethodNotAllowedError          405
│   ├── ConflictError                  409
│   │   └── ReconciledInvocationError  an operator has settled what became of the first call
│   ├── GoneError                      410
│   ├── PayloadTooLargeError           413
│   ├── ValidationFailedError          422; `details` names the fields
│   ├── LockedError                    423
│   └── ServerError                    5xx
│       ├── BadGatewayError              502
│       ├── UnavailableError             503
│       └── GatewayTimeoutError          504
├── AuthenticationError                401: the API key is missing or wrong
├── NotFoundError                      404
│   └── FeatureNotAvailableError       this server has no such group of endpoints
├── RateLimitError                     429; `retry_after`
├── ConnectionFailedError              no whole reply; also a builtin ConnectionError
│   ├── ConnectError                   nothing was sent
│   └── ConnectionLostError
├── RequestTimeoutError                the call's time ran out; also a builtin TimeoutError
├── ResponseFormatError                a reply that cannot be read; also a ValueError
│   └── ResponseTooLargeError
├── WaitTimeoutError                   what was waited for did not come; also a TimeoutError
│   └── ReviewTimeoutError
├── InvalidArgumentError               the caller's mistake, nothing was sent; also a ValueError
│   └── ConfigurationError             a setting; `config_key` names it
├── WebhookVerificationError           a webhook's signature does not hold; also a ValueError
├── SignatureVerificationError         a signed tool's signature does not hold
└── ClientStateError                   the client is closed; also a RuntimeError

As in the guide, `APIError`, `AuthenticationError`, `NotFoundError` and `RateLimitError` are
siblings. Each class is also the one of `ostiary.errors` for its condition. `refusal` reads a
reply that says no; it sends nothing and decides no retry.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Final, cast

import msgspec

from .. import errors as shared
from .._decoders import decoder_of
from .._refusal import ADVICE, kept_headers, reason_of
from .._route import FailedReply

__all__ = [
    "FAMILY",
    "APIError",
    "AuthenticationError",
    "BadGatewayError",
    "BadRequestError",
    "ClientStateError",
    "ConfigurationError",
    "ConflictError",
    "ConnectError",
    "ConnectionFailedError",
    "ConnectionLostError",
    "FeatureNotAvailableError",
    "GatewayTimeoutError",
    "GoneError",
    "InvalidArgumentError",
    "LockedError",
    "MethodNotAllowedError",
    "NotFoundError",
    "PayloadTooLargeError",
    "PermissionDeniedError",
    "RateLimitError",
    "ReconciledInvocationError",
    "RequestTimeoutError",
    "ResponseFormatError",
    "ResponseTooLargeError",
    "ReviewTimeoutError",
    "ServerError",
    "SignatureVerificationError",
    "SymbiontError",
    "UnavailableError",
    "ValidationFailedError",
    "WaitTimeoutError",
    "WebhookVerificationError",
    "refusal",
    "refusal_without_echo",
]


class SymbiontError(shared.OstiaryError):
    """Root of everything `ostiary.runtime` raises.

    `status_code` is the HTTP status and `response_text` what the server said, at most its
    first 64 KiB; both are None where no reply arrived. `code` is the server's word for what
    went wrong, `details` what else it said about it. `request_id` and `headers` are of the
    reply, without those that hold credentials. `retry_after` is in seconds.
    """

    code: str | None = None
    details: Any = None
    request_id: str | None = None
    retry_after: float | None = None

    def __init__(self, message: str = "", status_code: int | None = None) -> None:
        super().__init__(message)
        if status_code is not None:
            self.status_code = status_code

    # Held under the names of the shared tree, where pickling and `adopt` look.
    @property
    def status_code(self) -> int | None:
        """The HTTP status, or None."""
        return cast("int | None", getattr(self, "status", None))

    @status_code.setter
    def status_code(self, value: int | None) -> None:
        self.__dict__["status"] = value

    @property
    def response_text(self) -> str | None:
        """What the server said, as text; None when nothing is known of it."""
        if "response_text" in self.__dict__:
            return cast("str | None", self.__dict__["response_text"])
        body = self.__dict__.get("body")
        return None if body is None else bytes(body).decode("utf-8", "replace")

    @response_text.setter
    def response_text(self, value: str | None) -> None:
        self.__dict__["response_text"] = value

    @property
    def headers(self) -> Mapping[str, str]:
        """The reply's headers, names in lower case."""
        return cast("Mapping[str, str]", self.__dict__.get("headers") or _NO_HEADERS)

    @headers.setter
    def headers(self, value: Mapping[str, str]) -> None:
        self.__dict__["headers"] = dict(value)


_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})


class APIError(SymbiontError, shared.APIError):
    """The server refused; raised itself for a status that has no class of its own."""

    def __init__(
        self,
        message: str = "",
        status_code: int | None = None,
        response_text: str | None = None,
    ) -> None:
        SymbiontError.__init__(self, message, status_code)
        if response_text is not None:
            self.response_text = response_text


class BadRequestError(APIError, shared.BadRequestError):
    """400: the server could not read the request."""


class PermissionDeniedError(APIError, shared.PermissionDeniedError):
    """403: this key may not do that."""


class MethodNotAllowedError(APIError, shared.MethodNotAllowedError):
    """405: this server has no such operation."""


class ConflictError(APIError, shared.ConflictError):
    """409: what it concerns exists already, or is in a state that does not allow it."""


class ReconciledInvocationError(ConflictError):
    """409: an operator settled what became of a call with this idempotency key.

    `resolution` is what the server says about it, signed by the operator; do not send the call
    again.
    """

    resolution: Any = None

    def __init__(
        self,
        message: str = "",
        resolution: Any = None,
        response_text: str | None = None,
    ) -> None:
        ConflictError.__init__(self, message, response_text=response_text)
        if resolution is not None:
            self.resolution = resolution


class GoneError(APIError, shared.GoneError):
    """410: what it concerned has ended."""


class PayloadTooLargeError(APIError, shared.PayloadTooLargeError):
    """413: the request was larger than the server accepts."""


class ValidationFailedError(APIError, shared.UnprocessableError):
    """422: the request was well formed and the server refused its content; see `details`."""


class LockedError(APIError, shared.LockedError):
    """423: what it concerns is locked."""


class ServerError(APIError, shared.ServerError):
    """5xx: the server failed."""


class BadGatewayError(ServerError, shared.BadGatewayError):
    """502: something behind the server answered badly."""


class UnavailableError(ServerError, shared.UnavailableError):
    """503: the server cannot serve now."""


class GatewayTimeoutError(ServerError, shared.GatewayTimeoutError):
    """504: something behind the server was late."""


class _Sibling(SymbiontError):
    """A refusal whose status the guide fixes; `(message, response_text)`."""

    default_message: ClassVar[str] = ""

    def __init__(self, message: str | None = None, response_text: str | None = None) -> None:
        SymbiontError.__init__(self, self.default_message if message is None else message)
        if response_text is not None:
            self.response_text = response_text


class AuthenticationError(_Sibling, shared.AuthenticationError):
    """401: the API key is missing, or not the one the server has."""

    default_status = 401
    default_message = "Authentication failed; check the API key"


class NotFoundError(_Sibling, shared.NotFoundError):
    """404: nothing has that name."""

    default_status = 404
    default_message = "Resource not found"


class FeatureNotAvailableError(NotFoundError):
    """This server has no such group of endpoints; `feature` names it."""

    default_message = "this server does not have that feature"

    feature: str | None = None


class RateLimitError(_Sibling, shared.RateLimitError):
    """429: too many requests; `retry_after` is in seconds when the server named a time."""

    default_status = 429
    default_message = "Rate limit exceeded"


class _NoReply(SymbiontError, shared.TransportError):
    """No whole reply arrived; `sent` is False when the request cannot have run."""

    def __init__(self, message: str = "", *, sent: bool = False) -> None:
        SymbiontError.__init__(self, message)
        self.sent = sent


class ConnectionFailedError(_NoReply, ConnectionError):
    """The server could not be reached, or went away before its reply was whole."""

    retryable = True


class ConnectError(ConnectionFailedError, shared.ConnectError):
    """The server could not be reached; nothing was sent."""


class ConnectionLostError(ConnectionFailedError, shared.ConnectionLostError):
    """The connection, or a stream, ended before all of it had come."""


class RequestTimeoutError(_NoReply, shared.DeadlineError):
    """The time allowed for the call ran out."""


class ResponseFormatError(_NoReply, shared.ProtocolError):
    """The server sent what the protocol does not allow."""


class ResponseTooLargeError(ResponseFormatError, shared.SizeLimitError):
    """The server sent more than `limits` allows."""


class WaitTimeoutError(SymbiontError, TimeoutError):
    """What was waited for did not come in time; `last` is what was seen last, or None."""

    last: Any = None

    def __init__(self, message: str = "", *, last: Any = None) -> None:
        SymbiontError.__init__(self, message)
        if last is not None:
            self.last = last


class ReviewTimeoutError(WaitTimeoutError):
    """The review was not decided in time; `last` is its session as seen last."""


class InvalidArgumentError(SymbiontError, shared.InvalidArgumentError):
    """An argument is wrong; nothing was sent.

    `problems` are pairs of a field's path and what is wrong with it, when a model was refused.
    """


class ConfigurationError(InvalidArgumentError):
    """A setting is wrong; `config_key` names the argument or variable."""

    config_key: str | None = None

    def __init__(self, message: str = "", config_key: str | None = None) -> None:
        SymbiontError.__init__(self, message)
        if config_key is not None:
            self.config_key = config_key


class WebhookVerificationError(SymbiontError, ValueError):
    """A webhook is not signed as it must be; `header_name` is where the signature belongs."""

    header_name: str | None = None

    def __init__(self, message: str = "", header_name: str | None = None) -> None:
        SymbiontError.__init__(self, message)
        if header_name is not None:
            self.header_name = header_name


class SignatureVerificationError(SymbiontError, ValueError):
    """A signed tool is not what was signed, or not signed by that key."""


class ClientStateError(SymbiontError, shared.ClientStateError):
    """The client cannot be used now: it was closed, or belongs to another event loop."""


FAMILY: Final[Mapping[type[shared.OstiaryError], type[SymbiontError]]] = MappingProxyType(
    {
        # First of all in the order of bases: what is ours stays what it is. A sibling of
        # APIError is one of the shared APIErrors too.
        SymbiontError: SymbiontError,
        shared.TransportError: ConnectionFailedError,
        shared.ConnectError: ConnectError,
        shared.ConnectionLostError: ConnectionLostError,
        shared.DeadlineError: RequestTimeoutError,
        shared.ProtocolError: ResponseFormatError,
        shared.SizeLimitError: ResponseTooLargeError,
        shared.APIError: APIError,  # a redirect, which is nobody's refusal
        shared.InvalidArgumentError: InvalidArgumentError,
        shared.ClientStateError: ClientStateError,
    }
)
"""The domain's class for each shared condition that can arise below it; for `errors.adopt`."""


_BY_STATUS: Final[Mapping[int, type[APIError]]] = MappingProxyType(
    {
        400: BadRequestError,
        403: PermissionDeniedError,
        405: MethodNotAllowedError,
        409: ConflictError,
        410: GoneError,
        413: PayloadTooLargeError,
        422: ValidationFailedError,
        423: LockedError,
        500: ServerError,
        502: BadGatewayError,
        503: UnavailableError,
        504: GatewayTimeoutError,
    }
)
_SIBLINGS: Final[Mapping[int, type[AuthenticationError | NotFoundError | RateLimitError]]] = (
    MappingProxyType({401: AuthenticationError, 404: NotFoundError, 429: RateLimitError})
)

_ADVICE: Final = {**ADVICE, 401: "give api_key, or set SYMBIONT_API_KEY"}

_WORD: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")


class _Problem(msgspec.Struct):
    error: Any = None
    code: Any = None
    details: Any = None
    message: Any = None
    request_id: Any = None
    resolution: Any = None
    detail: Any = None  # where frameworks put what they found by themselves


_problem: Final = decoder_of(_Problem).decode


def refusal(reply: FailedReply) -> SymbiontError:
    """Return the exception for a reply that says no (docs/runtime.md, Errors).

    Four forms of body are read: the three members `error`, `code` and `details`; the same
    below `error`; plain text; none at all.
    """
    found = _read(reply.body)
    reason = reason_of(found.message) or reason_of(found.error) or reason_of(found.detail)
    details = found.details
    if details is None and found.detail is not None and not isinstance(found.detail, str):
        details = found.detail
    error = _made(
        reply,
        reason=reason,
        code=reason_of(found.code),
        details=details,
        request_id=reason_of(found.request_id),
        body=reply.body,
    )
    resolution = found.resolution
    if resolution is None and isinstance(details, dict):
        resolution = cast("dict[str, Any]", details).get("resolution")
    if resolution is not None and type(error) is ConflictError:
        # Other conflicts have none: a name that is taken, a review that was decided.
        settled = ReconciledInvocationError(str(error), resolution)
        settled.__dict__.update(error.__dict__)
        return settled
    return error


def refusal_without_echo(reply: FailedReply) -> SymbiontError:
    """Return the exception for a reply to a request that carried a secret.

    Servers quote what they refuse, so that nothing of the body is kept but the code.
    """
    word = reason_of(_read(reply.body).code)
    if word is not None and (not _WORD.fullmatch(word) or not word.replace("_", "").isupper()):
        word = None
    reason = (
        f"{word or 'it gave no reason that can be shown'}; what else the server said is not kept, "
        "since it may repeat the secret"
    )
    return _made(reply, reason=reason, code=word, details=None, request_id=None, body=None)


def _read(body: bytes) -> _Problem:
    try:
        found = _problem(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _Problem(message=_plain(body))
    error: object = found.error
    if isinstance(error, dict):
        inner = cast("dict[str, Any]", error)
        return _Problem(
            error=inner.get("error"),
            code=inner.get("code"),
            details=inner.get("details"),
            message=inner.get("message"),
            request_id=inner.get("request_id"),
            resolution=inner.get("resolution"),
        )
    return found


def _plain(body: bytes) -> str | None:
    """Return a body of plain text as a reason, unless it is a page or a piece of JSON."""
    try:
        text = body.decode("utf-8").strip()
    except UnicodeDecodeError:
        return None
    if not text or text.startswith(("<", "{", "[")) or not text.isprintable():
        return None
    return text


def _made(
    reply: FailedReply,
    *,
    reason: str | None,
    code: str | None,
    details: Any,
    request_id: str | None,
    body: bytes | None,
) -> SymbiontError:
    status = reply.status
    advice = reason or _ADVICE.get(status) or "see response_text"
    error: SymbiontError
    if status in _SIBLINGS:
        sibling = _SIBLINGS[status]
        error = sibling(f"{_OPENING[status]}: {advice}")
    else:
        cls = _BY_STATUS.get(status) or (ServerError if status >= 500 else APIError)
        error = cls(f"API request failed with status {status}: {advice}", status)
    if body is not None:
        error.__dict__["body"] = body
    error.code = code
    error.details = details
    error.request_id = reply.request_id or request_id
    error.retry_after = reply.retry_after
    error.headers = kept_headers(reply)
    return error


# The words that programs written for the guide look for.
_OPENING: Final[Mapping[int, str]] = MappingProxyType(
    {
        401: "Authentication failed, check the API key",
        404: "Resource not found",
        429: "Rate limit exceeded",
    }
)
