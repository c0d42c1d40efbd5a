"""The gateway exceptions: the guide's names and exit codes, hung into the shared tree.

SageSanctumError                              1: root; `exit_code`
├── AuthError                                 10: no proof of identity that can be sent
│   ├── SpiffeAuthError                       11: the SVID is missing, malformed or past its time
│   ├── TraTAcquisitionError                  12: no Transaction Token could be had
│   └── TraTExpiredError                      13: the Transaction Token is past its time
├── ForbiddenError                            20: not allowed to this run
│   ├── ModelNotAuthorizedError               21: the model or provider is in no allow-list
│   └── ScopeNotAuthorizedError               22: the run's scope does not cover it
├── GatewayError                              30: a call failed; `status`, `code`, `request_id`, ...
│   ├── GatewayAPIError                       the gateway said no
│   │   ├── GatewayBadRequestError            400
│   │   ├── GatewayAuthError                  401, exit 10; also an AuthError
│   │   │   ├── GatewaySpiffeError            exit 11; also a SpiffeAuthError
│   │   │   ├── GatewayTraTError              exit 12; also a TraTAcquisitionError
│   │   │   └── GatewayTraTExpiredError       exit 13; also a TraTExpiredError
│   │   ├── GatewayForbiddenError             403, exit 20; also a ForbiddenError
│   │   │   ├── GatewayModelError             exit 21; also a ModelNotAuthorizedError
│   │   │   └── GatewayScopeError             exit 22; also a ScopeNotAuthorizedError
│   │   ├── GatewayNotFoundError              404
│   │   ├── GatewayMethodNotAllowedError      405
│   │   ├── GatewayConflictError              409
│   │   ├── GatewayGoneError                  410
│   │   ├── GatewayPayloadTooLargeError       413
│   │   ├── GatewayUnprocessableError         422
│   │   ├── GatewayLockedError                423
│   │   ├── RateLimitError                    429, exit 31; `retry_after`
│   │   └── GatewayServerError                500 and every other 5xx
│   ├── GatewayUnavailableError               32: it, or what is behind it, cannot serve now
│   │   ├── GatewayConnectError               it cannot be reached; also a builtin ConnectionError
│   │   ├── GatewayBadGatewayError            502
│   │   ├── GatewayOverloadedError            503
│   │   └── GatewayUpstreamTimeoutError       504
│   ├── GatewayTransportError                 no whole reply; `sent` says whether it may have run
│   │   ├── GatewayConnectionLostError        also a builtin ConnectionError
│   │   ├── GatewayDeadlineError              also a builtin TimeoutError
│   │   └── GatewayProtocolError              also a ValueError
│   │       └── GatewaySizeLimitError
│   ├── StructuredOutputError                 the answer is of another shape; `reason`
│   ├── TokenBudgetError                      the client's own budget is used up
│   └── GatewayStateError                     the client is closed; also a RuntimeError
├── ValidationError                           40: what was given cannot be meant; also a ValueError
│   ├── InputValidationError                  41: the input is missing or of another kind
│   ├── PathTraversalError                    42: a path leads out of where it belongs
│   ├── ConfigurationError                    43: the environment or a setting is wrong
│   └── GatewayArgumentError                  an argument is wrong; nothing was sent
├── OutputError                               50: the output could not be made
│   ├── OutputWriteError                      51: it could not be written
│   └── SarifValidationError                  52: it is not valid SARIF
├── ModelError                                60: no model can be named
│   ├── ModelNotAvailableError                61: the category has no model
│   └── ModelRefParseError                    62: the reference cannot be read; also a ValueError
└── ExternalToolError                         70: a tool the agent runs failed
    ├── SubprocessError                       71: it ended badly; `returncode`, `stderr`
    ├── SubprocessTimeoutError                72: it did not end in time
    └── OutputParseError                      73: what it said cannot be read

Exit codes are those of the process that ends by the error. Neighbour: `refusals`, which reads
replies that say no.
"""

# pyright: reportIncompatibleVariableOverride=false
# `status` is `int | None` on GatewayError, since a call may fail without a reply, and an int on
# the shared classes of a status.

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

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
    ServerError,
    SizeLimitError,
    TransportError,
    UnavailableError,
    UnprocessableError,
)
from ..errors import RateLimitError as SharedRateLimitError

__all__ = [
    "FAMILY",
    "AuthError",
    "ConfigurationError",
    "ExternalToolError",
    "ForbiddenError",
    "GatewayAPIError",
    "GatewayArgumentError",
    "GatewayAuthError",
    "GatewayBadGatewayError",
    "GatewayBadRequestError",
    "GatewayConflictError",
    "GatewayConnectError",
    "GatewayConnectionLostError",
    "GatewayDeadlineError",
    "GatewayError",
    "GatewayForbiddenError",
    "GatewayGoneError",
    "GatewayLockedError",
    "GatewayMethodNotAllowedError",
    "GatewayModelError",
    "GatewayNotFoundError",
    "GatewayOverloadedError",
    "GatewayPayloadTooLargeError",
    "GatewayProtocolError",
    "GatewayScopeError",
    "GatewayServerError",
    "GatewaySizeLimitError",
    "GatewaySpiffeError",
    "GatewayStateError",
    "GatewayTraTError",
    "GatewayTraTExpiredError",
    "GatewayTransportError",
    "GatewayUnavailableError",
    "GatewayUnprocessableError",
    "GatewayUpstreamTimeoutError",
    "InputValidationError",
    "ModelError",
    "ModelNotAuthorizedError",
    "ModelNotAvailableError",
    "ModelRefParseError",
    "OutputError",
    "OutputParseError",
    "OutputWriteError",
    "PathTraversalError",
    "RateLimitError",
    "SageSanctumError",
    "SarifValidationError",
    "ScopeNotAuthorizedError",
    "SpiffeAuthError",
    "StructuredOutputError",
    "SubprocessError",
    "SubprocessTimeoutError",
    "TokenBudgetError",
    "TraTAcquisitionError",
    "TraTExpiredError",
    "ValidationError",
]


class SageSanctumError(OstiaryError):
    """Root of everything `ostiary.gateway` raises (docs/identity.md, Errors).

    `exit_code` is what a process that ends by this error ends with. The class has one, and an
    error may be given its own.
    """

    exit_code: int = 1

    def __init__(self, message: str = "", *, exit_code: int | None = None) -> None:
        super().__init__(message)
        if exit_code is not None:
            self.exit_code = exit_code


# --- identity and authorisation


class AuthError(SageSanctumError):
    """There is no proof of identity that could be sent, or the gateway does not take it."""

    exit_code = 10


class SpiffeAuthError(AuthError):
    """The JWT-SVID is missing, unreadable, malformed or past its time."""

    exit_code = 11


class TraTAcquisitionError(AuthError):
    """No Transaction Token could be had from the file or the sidecar."""

    exit_code = 12


class TraTExpiredError(AuthError):
    """The Transaction Token is past its time and there is no newer one."""

    exit_code = 13


class ForbiddenError(SageSanctumError):
    """This run may not do that."""

    exit_code = 20


class ModelNotAuthorizedError(ForbiddenError):
    """The Transaction Token allows this run neither that model nor that provider."""

    exit_code = 21


class ScopeNotAuthorizedError(ForbiddenError):
    """The Transaction Token's scope, or its list of tools, does not cover that."""

    exit_code = 22


# --- calls


class GatewayError(SageSanctumError):
    """A call to the gateway, or in direct mode to a provider, failed.

    `status` is the HTTP status and `code` the peer's word, None where there was none.
    `retry_after` is in seconds. `attempts` is how often the request was tried.
    """

    exit_code = 30
    status: int | None = None
    code: str | None = None
    request_id: str | None = None
    retry_after: float | None = None
    attempts: int = 1

    def __init__(
        self,
        message: str = "",
        *,
        exit_code: int | None = None,
        status: int | None = None,
        code: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        attempts: int | None = None,
    ) -> None:
        super().__init__(message, exit_code=exit_code)
        if status is not None:
            self.status = status
        if code is not None:
            self.code = code
        if attempts is not None:
            self.attempts = attempts
        self.request_id = request_id
        self.retry_after = retry_after


class GatewayAPIError(GatewayError, APIError):
    """The gateway refused; raised itself for a status that has no class of its own.

    `param` is the member of the request that it objects to, when it named one.
    """

    param: str | None = None

    def __init__(
        self,
        message: str = "",
        *,
        exit_code: int | None = None,
        status: int | None = None,
        code: str | None = None,
        param: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        attempts: int | None = None,
        body: bytes = b"",
    ) -> None:
        super().__init__(
            message,
            exit_code=exit_code,
            status=status,
            code=code,
            request_id=request_id,
            retry_after=retry_after,
            attempts=attempts,
        )
        if param is not None:
            self.param = param
        if body:
            self.body = body


class GatewayBadRequestError(GatewayAPIError, BadRequestError):
    """400: the gateway could not read the request, or a parameter has a value it refuses."""

    status = 400


class GatewayAuthError(GatewayAPIError, AuthError, AuthenticationError):
    """401: the gateway does not accept the tokens, or a provider the API key."""

    exit_code = 10
    status = 401


class GatewaySpiffeError(GatewayAuthError, SpiffeAuthError):
    """401: the gateway does not accept the JWT-SVID."""

    exit_code = 11


class GatewayTraTError(GatewayAuthError, TraTAcquisitionError):
    """401: the gateway does not accept the Transaction Token."""

    exit_code = 12


class GatewayTraTExpiredError(GatewayAuthError, TraTExpiredError):
    """401: by the gateway's clock the Transaction Token is past its time."""

    exit_code = 13


class GatewayForbiddenError(GatewayAPIError, ForbiddenError, PermissionDeniedError):
    """403: the gateway knows who is asking and refuses."""

    exit_code = 20
    status = 403


class GatewayModelError(GatewayForbiddenError, ModelNotAuthorizedError):
    """403: the gateway allows this run neither that model nor that provider."""

    exit_code = 21


class GatewayScopeError(GatewayForbiddenError, ScopeNotAuthorizedError):
    """403: the run's scope does not cover that."""

    exit_code = 22


class GatewayNotFoundError(GatewayAPIError, NotFoundError):
    """404: nothing has that name; often a model that the provider does not have."""

    status = 404


class GatewayMethodNotAllowedError(GatewayAPIError, MethodNotAllowedError):
    """405: the peer has no such operation."""

    status = 405


class GatewayConflictError(GatewayAPIError, ConflictError):
    """409: what it concerns exists already, or has changed."""

    status = 409


class GatewayGoneError(GatewayAPIError, GoneError):
    """410: what it concerned has ended."""

    status = 410


class GatewayPayloadTooLargeError(GatewayAPIError, PayloadTooLargeError):
    """413: the request was larger than the gateway accepts."""

    status = 413


class GatewayUnprocessableError(GatewayAPIError, UnprocessableError):
    """422: the request was well formed and its content was refused."""

    status = 422


class GatewayLockedError(GatewayAPIError, LockedError):
    """423: what it concerns is locked."""

    status = 423


class RateLimitError(GatewayAPIError, SharedRateLimitError):
    """429: too many requests, or a quota is used up; `retry_after` is in seconds."""

    exit_code = 31
    status = 429


class GatewayServerError(GatewayAPIError, ServerError):
    """5xx: the gateway failed."""

    status = 500


class GatewayUnavailableError(GatewayError):
    """The gateway cannot be reached, or it or the provider behind it cannot serve now."""

    exit_code = 32
    retryable = True


class GatewayBadGatewayError(GatewayUnavailableError, GatewayServerError, BadGatewayError):
    """502: the provider behind the gateway answered badly."""

    status = 502


class GatewayOverloadedError(GatewayUnavailableError, GatewayServerError, UnavailableError):
    """503: the gateway or the provider cannot serve now."""

    status = 503


class GatewayUpstreamTimeoutError(GatewayUnavailableError, GatewayServerError, GatewayTimeoutError):
    """504: the provider behind the gateway did not answer in time."""

    status = 504


class GatewayTransportError(GatewayError, TransportError):
    """No whole reply arrived; `sent` is False when the request cannot have run."""

    def __init__(
        self,
        message: str = "",
        *,
        exit_code: int | None = None,
        sent: bool = False,
        code: str | None = None,
        request_id: str | None = None,
        attempts: int | None = None,
    ) -> None:
        super().__init__(
            message, exit_code=exit_code, code=code, request_id=request_id, attempts=attempts
        )
        self.sent = sent


class GatewayConnectError(GatewayUnavailableError, GatewayTransportError, ConnectError):
    """The gateway could not be reached; nothing was sent."""


class GatewayConnectionLostError(GatewayTransportError, ConnectionLostError):
    """The connection, or a stream, ended before all of it had come."""


class GatewayDeadlineError(GatewayTransportError, DeadlineError):
    """The time allowed for the call, the stream, or its next event ran out."""


class GatewayProtocolError(GatewayTransportError, ProtocolError):
    """The gateway sent what the protocol does not allow."""


class GatewaySizeLimitError(GatewayProtocolError, SizeLimitError):
    """The gateway sent more than `limits` allows."""


class StructuredOutputError(GatewayError):
    """The model's answer has not the shape that was asked for.

    `reason` is `unreadable`, `cut` at the token limit, or `refused` by the model. What it
    said is no part of the error.
    """

    reason: str = "unreadable"

    def __init__(
        self,
        message: str = "",
        *,
        reason: str | None = None,
        exit_code: int | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message, exit_code=exit_code, request_id=request_id)
        if reason is not None:
            self.reason = reason


class TokenBudgetError(GatewayError):
    """The tokens this client may use are used up; nothing was sent."""


class GatewayStateError(GatewayError, ClientStateError):
    """The client cannot be used now: it was closed, or belongs to another event loop."""


# --- what is given


class ValidationError(SageSanctumError, InvalidArgumentError):
    """What was given cannot be meant; nothing was sent."""

    exit_code = 40


class InputValidationError(ValidationError):
    """The agent's input is missing, or is not what it should be."""

    exit_code = 41


class PathTraversalError(ValidationError):
    """A path leads out of the directory it belongs to."""

    exit_code = 42


class ConfigurationError(ValidationError):
    """The environment, or a setting, is incomplete or contradicts itself."""

    exit_code = 43


class GatewayArgumentError(ValidationError):
    """An argument is wrong; nothing was sent."""


# --- what is made


class OutputError(SageSanctumError):
    """The output could not be made."""

    exit_code = 50


class OutputWriteError(OutputError):
    """The output could not be written."""

    exit_code = 51


class SarifValidationError(OutputError):
    """What was to be written is not valid SARIF."""

    exit_code = 52


# --- models


class ModelError(SageSanctumError):
    """No model can be named."""

    exit_code = 60


class ModelNotAvailableError(ModelError):
    """This run is allowed no model of that category."""

    exit_code = 61


class ModelRefParseError(ModelError, InvalidArgumentError):
    """A model reference cannot be read; write `provider:model`."""

    exit_code = 62


# --- tools that an agent runs


class ExternalToolError(SageSanctumError):
    """A tool that the agent runs failed."""

    exit_code = 70


class SubprocessError(ExternalToolError):
    """A tool's process ended badly: `returncode`, and what it wrote to `stderr`."""

    exit_code = 71

    def __init__(
        self,
        message: str = "",
        *,
        returncode: int = 1,
        stderr: str = "",
        exit_code: int | None = None,
    ) -> None:
        super().__init__(message, exit_code=exit_code)
        self.returncode = returncode
        self.stderr = stderr


class SubprocessTimeoutError(ExternalToolError):
    """A tool's process did not end in time."""

    exit_code = 72


class OutputParseError(ExternalToolError):
    """What a tool wrote cannot be read."""

    exit_code = 73


FAMILY: Final[Mapping[type[OstiaryError], type[SageSanctumError]]] = MappingProxyType(
    {
        SageSanctumError: SageSanctumError,  # what is ours already stays as it is
        TransportError: GatewayTransportError,
        ConnectError: GatewayConnectError,
        ConnectionLostError: GatewayConnectionLostError,
        DeadlineError: GatewayDeadlineError,
        ProtocolError: GatewayProtocolError,
        SizeLimitError: GatewaySizeLimitError,
        APIError: GatewayAPIError,  # a redirect, which is nobody's refusal
        InvalidArgumentError: GatewayArgumentError,
        ClientStateError: GatewayStateError,
    }
)
"""The domain's class for each shared condition that can arise below it; for `errors.adopt`."""
