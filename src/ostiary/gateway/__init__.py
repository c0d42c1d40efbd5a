"""The gateway: models for agents, reached over a Unix socket with proof of identity.

Speaks to Sage-Sanctum-compatible gateways (docs/gateway.md); the names of their guide work
here. A name is loaded when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .._later import later

if TYPE_CHECKING:
    from ._async import AsyncGatewayClient
    from ._streams._async import AsyncChatStream
    from ._streams._sync import ChatStream
    from ._sync import GatewayClient
    from .agent import AgentResult, SageSanctumAgent
    from .auth.credentials import GatewayCredentials
    from .auth.spiffe import JWTSource, WorkloadJWTSource
    from .auth.trat import (
        AllowedModels,
        RequesterContext,
        TransactionContext,
        TransactionToken,
        TransactionTokenClient,
    )
    from .client import (
        DirectProviderClient,
        GatewayAccess,
        SpiffeGatewayClient,
        access_from_environment,
    )
    from .context import AgentContext
    from .errors import (
        AuthError,
        ConfigurationError,
        ExternalToolError,
        ForbiddenError,
        GatewayError,
        GatewayUnavailableError,
        InputValidationError,
        ModelError,
        ModelNotAuthorizedError,
        ModelNotAvailableError,
        ModelRefParseError,
        OutputError,
        OutputParseError,
        OutputWriteError,
        PathTraversalError,
        RateLimitError,
        SageSanctumError,
        SarifValidationError,
        ScopeNotAuthorizedError,
        SpiffeAuthError,
        StructuredOutputError,
        SubprocessError,
        SubprocessTimeoutError,
        TokenBudgetError,
        TraTAcquisitionError,
        TraTExpiredError,
        ValidationError,
    )
    from .io.findings import Edit, Finding, Fix, Location, Step, TokenUsage
    from .io.inputs import AgentInput, RepositoryInput
    from .io.outputs import AgentOutput, SarifOutput
    from .io.record import RunRecord
    from .llm.model_ref import ModelCategory, ModelRef
    from .llm.model_selector import ModelSelector, StaticModelSelector
    from .logging import configure_logging, get_logger
    from .models import (
        ChatChunk,
        ChatReply,
        Embeddings,
        InvalidToolCall,
        Message,
        ToolCall,
        ToolCallDelta,
        Usage,
        image,
    )
    from .options import ChatOptions, StreamOptions
    from .runner import AgentRunner
    from .schema import json_schema, strict_schema
    from .tool import Tool
    from .usage import UsageTotals

    __version__: str

__all__ = [
    "AgentContext",
    "AgentInput",
    "AgentOutput",
    "AgentResult",
    "AgentRunner",
    "AllowedModels",
    "AsyncChatStream",
    "AsyncGatewayClient",
    "AuthError",
    "ChatChunk",
    "ChatOptions",
    "ChatReply",
    "ChatStream",
    "ConfigurationError",
    "DirectProviderClient",
    "Edit",
    "Embeddings",
    "ExternalToolError",
    "Finding",
    "Fix",
    "ForbiddenError",
    "GatewayAccess",
    "GatewayClient",
    "GatewayCredentials",
    "GatewayError",
    "GatewayUnavailableError",
    "InputValidationError",
    "InvalidToolCall",
    "JWTSource",
    "Location",
    "Message",
    "ModelCategory",
    "ModelError",
    "ModelNotAuthorizedError",
    "ModelNotAvailableError",
    "ModelRef",
    "ModelRefParseError",
    "ModelSelector",
    "OutputError",
    "OutputParseError",
    "OutputWriteError",
    "PathTraversalError",
    "RateLimitError",
    "RepositoryInput",
    "RequesterContext",
    "RunRecord",
    "SageSanctumAgent",
    "SageSanctumError",
    "SarifOutput",
    "SarifValidationError",
    "ScopeNotAuthorizedError",
    "SpiffeAuthError",
    "SpiffeGatewayClient",
    "StaticModelSelector",
    "Step",
    "StreamOptions",
    "StructuredOutputError",
    "SubprocessError",
    "SubprocessTimeoutError",
    "TokenBudgetError",
    "TokenUsage",
    "Tool",
    "ToolCall",
    "ToolCallDelta",
    "TraTAcquisitionError",
    "TraTExpiredError",
    "TransactionContext",
    "TransactionToken",
    "TransactionTokenClient",
    "Usage",
    "UsageTotals",
    "ValidationError",
    "WorkloadJWTSource",
    "__version__",
    "access_from_environment",
    "configure_logging",
    "get_logger",
    "image",
    "json_schema",
    "strict_schema",
]

# Where each name stands; those that are not here are errors.
_MODULES: Final = {
    "_async": ["AsyncGatewayClient"],
    "_streams._async": ["AsyncChatStream"],
    "_streams._sync": ["ChatStream"],
    "_sync": ["GatewayClient"],
    "auth.credentials": ["GatewayCredentials"],
    "auth.spiffe": ["JWTSource", "WorkloadJWTSource"],
    "auth.trat": [
        "AllowedModels",
        "RequesterContext",
        "TransactionContext",
        "TransactionToken",
        "TransactionTokenClient",
    ],
    "client": [
        "DirectProviderClient",
        "GatewayAccess",
        "SpiffeGatewayClient",
        "access_from_environment",
    ],
    "llm.model_ref": ["ModelCategory", "ModelRef"],
    "llm.model_selector": ["ModelSelector", "StaticModelSelector"],
    "models": [
        "ChatChunk",
        "ChatReply",
        "Embeddings",
        "InvalidToolCall",
        "Message",
        "ToolCall",
        "ToolCallDelta",
        "Usage",
        "image",
    ],
    "options": ["ChatOptions", "StreamOptions"],
    "schema": ["json_schema", "strict_schema"],
    "tool": ["Tool"],
    "usage": ["UsageTotals"],
    "agent": ["AgentResult", "SageSanctumAgent"],
    "context": ["AgentContext"],
    "runner": ["AgentRunner"],
    "io.inputs": ["AgentInput", "RepositoryInput"],
    "io.findings": ["Edit", "Finding", "Fix", "Location", "Step", "TokenUsage"],
    "io.outputs": ["AgentOutput", "SarifOutput"],
    "io.record": ["RunRecord"],
    "logging": ["configure_logging", "get_logger"],
}
_PLACE: Final = {name: module for module, names in _MODULES.items() for name in names}


__getattr__ = later(
    __name__,
    {name: (_PLACE.get(name, "errors"), name) for name in __all__ if name != "__version__"},
)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
