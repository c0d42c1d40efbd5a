"""Governance: ask before an agent acts, run what is allowed, stream it, read the reasons.

Speaks to HestiaOS-compatible servers (docs/governance.md); the names of their guide work here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._sync import Agents, Chat, Governance, GovernanceClient, RunStream, Secrets, System
from .errors import (
    GovernanceBlock,
    HestiaAPIError,
    HestiaArgumentError,
    HestiaAuthenticationError,
    HestiaBadGatewayError,
    HestiaBadRequestError,
    HestiaConflictError,
    HestiaConnectError,
    HestiaConnectionLostError,
    HestiaDeadlineError,
    HestiaError,
    HestiaGatewayTimeoutError,
    HestiaGoneError,
    HestiaLockedError,
    HestiaMethodNotAllowedError,
    HestiaPayloadTooLargeError,
    HestiaProtocolError,
    HestiaRateLimitError,
    HestiaServerError,
    HestiaSizeLimitError,
    HestiaStateError,
    HestiaTransportError,
    HestiaUnavailableError,
    InvalidInput,
    NotFound,
)
from .models import (
    AgentResult,
    ChatResponse,
    Decision,
    ErrorResponse,
    HealthResponse,
    RunResponse,
    SystemMetrics,
    SystemStatus,
    TraceResponse,
)
from .stream import (
    StreamEvent,
    StreamEventType,
    collect_stream,
    is_delta_event,
    is_done_event,
    is_error_event,
    is_final_event,
    is_start_event,
    is_token_event,
    is_tool_call_event,
)

if TYPE_CHECKING:
    from ._async import (
        AsyncAgents,
        AsyncChat,
        AsyncGovernance,
        AsyncGovernanceClient,
        AsyncRunStream,
        AsyncSecrets,
        AsyncSystem,
    )

    AsyncClient = AsyncGovernanceClient
    __version__: str

Client = GovernanceClient

__all__ = [
    "AgentResult",
    "Agents",
    "AsyncAgents",
    "AsyncChat",
    "AsyncClient",
    "AsyncGovernance",
    "AsyncGovernanceClient",
    "AsyncRunStream",
    "AsyncSecrets",
    "AsyncSystem",
    "Chat",
    "ChatResponse",
    "Client",
    "Decision",
    "ErrorResponse",
    "Governance",
    "GovernanceBlock",
    "GovernanceClient",
    "HealthResponse",
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
    "RunResponse",
    "RunStream",
    "Secrets",
    "StreamEvent",
    "StreamEventType",
    "System",
    "SystemMetrics",
    "SystemStatus",
    "TraceResponse",
    "__version__",
    "collect_stream",
    "is_delta_event",
    "is_done_event",
    "is_error_event",
    "is_final_event",
    "is_start_event",
    "is_token_event",
    "is_tool_call_event",
]

_ASYNC = {name for name in __all__ if name.startswith("Async")}


def __getattr__(name: str) -> Any:
    # The async half, and the version, are loaded by those who ask for them.
    if name in _ASYNC:
        from . import _async

        found = getattr(_async, "AsyncGovernanceClient" if name == "AsyncClient" else name)
    elif name == "__version__":
        import ostiary

        found = ostiary.__version__
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found
    return found
