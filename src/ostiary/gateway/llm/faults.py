"""The gateway's errors, each of them LangChain's error for the same condition as well.

LangChain's retries, fallbacks and middleware look for its own classes. Those that a chat model
or an embeddings object raises are both; their fields and messages are the gateway's.
"""

from __future__ import annotations

from . import _langchain as _langchain  # says what to install when it is not there

# isort: split
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from langchain_core.exceptions import (
    ContextOverflowError,
    ModelAPIError,
    ModelAuthenticationError,
    ModelConnectionError,
    ModelInvalidRequestError,
    ModelNotFoundError,
    ModelPermissionDeniedError,
    ModelRateLimitError,
    ModelTimeoutError,
)

from ...errors import OstiaryError, adopt
from ..errors import (
    FAMILY,
    AuthError,
    GatewayAuthError,
    GatewayBadGatewayError,
    GatewayBadRequestError,
    GatewayConnectError,
    GatewayConnectionLostError,
    GatewayDeadlineError,
    GatewayForbiddenError,
    GatewayModelError,
    GatewayNotFoundError,
    GatewayOverloadedError,
    GatewayPayloadTooLargeError,
    GatewayScopeError,
    GatewayServerError,
    GatewaySpiffeError,
    GatewayTraTError,
    GatewayTraTExpiredError,
    GatewayUnprocessableError,
    GatewayUpstreamTimeoutError,
    ModelNotAuthorizedError,
    RateLimitError,
    SageSanctumError,
    SpiffeAuthError,
    TraTAcquisitionError,
    TraTExpiredError,
)

__all__ = ["FAULTS", "lifted"]

# What an OpenAI-style server calls a prompt that is longer than the model reads.
_TOO_LONG: Final = "context_length_exceeded"


class ChatContextOverflowError(GatewayBadRequestError, ContextOverflowError):
    """400: the messages are longer than the model reads; send less."""


class ChatBadRequestError(GatewayBadRequestError, ModelInvalidRequestError):
    """400."""


class ChatPayloadTooLargeError(GatewayPayloadTooLargeError, ModelInvalidRequestError):
    """413."""


class ChatUnprocessableError(GatewayUnprocessableError, ModelInvalidRequestError):
    """422."""


class ChatAuthError(GatewayAuthError, ModelAuthenticationError):
    """401."""


class ChatSpiffeError(GatewaySpiffeError, ModelAuthenticationError):
    """401, because of the JWT-SVID."""


class ChatTraTError(GatewayTraTError, ModelAuthenticationError):
    """401, because of the Transaction Token."""


class ChatTraTExpiredError(GatewayTraTExpiredError, ModelAuthenticationError):
    """401, because the Transaction Token is past its time."""


class ChatIdentityError(AuthError, ModelAuthenticationError):
    """There is no proof of identity that could be sent."""


class ChatSvidError(SpiffeAuthError, ModelAuthenticationError):
    """There is no JWT-SVID that could be sent."""


class ChatTokenError(TraTAcquisitionError, ModelAuthenticationError):
    """There is no Transaction Token that could be sent."""


class ChatTokenExpiredError(TraTExpiredError, ModelAuthenticationError):
    """The Transaction Token is past its time."""


class ChatForbiddenError(GatewayForbiddenError, ModelPermissionDeniedError):
    """403."""


class ChatModelForbiddenError(GatewayModelError, ModelPermissionDeniedError):
    """403, because of the model or its provider."""


class ChatScopeError(GatewayScopeError, ModelPermissionDeniedError):
    """403, because of the run's scope."""


class ChatModelNotAuthorizedError(ModelNotAuthorizedError, ModelPermissionDeniedError):
    """The run's Transaction Token does not allow the model; nothing was sent."""


class ChatNotFoundError(GatewayNotFoundError, ModelNotFoundError):
    """404."""


class ChatRateLimitError(RateLimitError, ModelRateLimitError):
    """429."""


class ChatServerError(GatewayServerError, ModelAPIError):
    """500, and every other 5xx."""


class ChatBadGatewayError(GatewayBadGatewayError, ModelAPIError):
    """502."""


class ChatOverloadedError(GatewayOverloadedError, ModelAPIError):
    """503."""


class ChatUpstreamTimeoutError(GatewayUpstreamTimeoutError, ModelAPIError):
    """504."""


class ChatConnectError(GatewayConnectError, ModelConnectionError):
    """The gateway could not be reached."""


class ChatConnectionLostError(GatewayConnectionLostError, ModelConnectionError):
    """The connection, or a stream, ended early."""


class ChatDeadlineError(GatewayDeadlineError, ModelTimeoutError):
    """The time allowed ran out."""


FAULTS: Final[Mapping[type[OstiaryError], type[SageSanctumError]]] = MappingProxyType(
    {
        GatewayBadRequestError: ChatBadRequestError,
        GatewayPayloadTooLargeError: ChatPayloadTooLargeError,
        GatewayUnprocessableError: ChatUnprocessableError,
        GatewayAuthError: ChatAuthError,
        GatewaySpiffeError: ChatSpiffeError,
        GatewayTraTError: ChatTraTError,
        GatewayTraTExpiredError: ChatTraTExpiredError,
        AuthError: ChatIdentityError,
        SpiffeAuthError: ChatSvidError,
        TraTAcquisitionError: ChatTokenError,
        TraTExpiredError: ChatTokenExpiredError,
        GatewayForbiddenError: ChatForbiddenError,
        GatewayModelError: ChatModelForbiddenError,
        GatewayScopeError: ChatScopeError,
        ModelNotAuthorizedError: ChatModelNotAuthorizedError,
        GatewayNotFoundError: ChatNotFoundError,
        RateLimitError: ChatRateLimitError,
        GatewayServerError: ChatServerError,
        GatewayBadGatewayError: ChatBadGatewayError,
        GatewayOverloadedError: ChatOverloadedError,
        GatewayUpstreamTimeoutError: ChatUpstreamTimeoutError,
        GatewayConnectError: ChatConnectError,
        GatewayConnectionLostError: ChatConnectionLostError,
        GatewayDeadlineError: ChatDeadlineError,
    }
)
"""The class of both families for each that LangChain has a class for."""


def lifted(error: OstiaryError) -> OstiaryError:
    """Return an error as LangChain's too; one that LangChain has no class for as it is."""
    ours = adopt(error, FAMILY)
    if isinstance(ours, GatewayBadRequestError) and ours.code == _TOO_LONG:
        return adopt(ours, {GatewayBadRequestError: ChatContextOverflowError})
    return adopt(ours, FAULTS)
