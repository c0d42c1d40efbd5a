"""The gateway: models for agents, reached over a Unix socket with proof of identity.

Speaks to Sage-Sanctum-compatible gateways (docs/gateway.md); the names of their guide work
here. A name is loaded when it is first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
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
        SubprocessError,
        SubprocessTimeoutError,
        TraTAcquisitionError,
        TraTExpiredError,
        ValidationError,
    )
    from .llm.model_ref import ModelCategory, ModelRef
    from .llm.model_selector import ModelSelector, StaticModelSelector

    __version__: str

__all__ = [
    "AllowedModels",
    "AuthError",
    "ConfigurationError",
    "DirectProviderClient",
    "ExternalToolError",
    "ForbiddenError",
    "GatewayAccess",
    "GatewayCredentials",
    "GatewayError",
    "GatewayUnavailableError",
    "InputValidationError",
    "JWTSource",
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
    "RequesterContext",
    "SageSanctumError",
    "SarifValidationError",
    "ScopeNotAuthorizedError",
    "SpiffeAuthError",
    "SpiffeGatewayClient",
    "StaticModelSelector",
    "SubprocessError",
    "SubprocessTimeoutError",
    "TraTAcquisitionError",
    "TraTExpiredError",
    "TransactionContext",
    "TransactionToken",
    "TransactionTokenClient",
    "ValidationError",
    "WorkloadJWTSource",
    "__version__",
    "access_from_environment",
]

# Where each name stands; those that are not here are errors.
_MODULES: Final = {
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
}
_PLACE: Final = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        import ostiary

        found: Any = ostiary.__version__
    elif name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    else:
        module = importlib.import_module(f".{_PLACE.get(name, 'errors')}", __name__)
        found = getattr(module, name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
