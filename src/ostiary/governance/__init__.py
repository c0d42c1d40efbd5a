"""Governance: ask before an agent acts, run what is allowed, stream it, read the reasons.

Speaks to HestiaOS-compatible servers (docs/governance.md); the names of their guide work here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._later import later
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

# The async half is loaded by those who ask for it.
_LATER = {
    name: ("_async", "AsyncGovernanceClient" if name == "AsyncClient" else name)
    for name in __all__
    if name.startswith("Async")
}

__getattr__ = later(__name__, _LATER)
