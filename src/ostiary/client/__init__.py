"""One client for all domains, from one configuration (docs/client.md).

Loads a domain when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..telemetry import Trace, trace
from ._sync import Ostiary
from .config import ConfigError, OstiaryConfig
from .health import Health
from .sections import (
    GatewaySection,
    GovernanceSection,
    RuntimeSection,
    VaultSection,
    WorkflowSection,
)

if TYPE_CHECKING:
    from ._async import AsyncOstiary

__all__ = [
    "AsyncOstiary",
    "ConfigError",
    "GatewaySection",
    "GovernanceSection",
    "Health",
    "Ostiary",
    "OstiaryConfig",
    "RuntimeSection",
    "Trace",
    "VaultSection",
    "WorkflowSection",
    "trace",
]


def __getattr__(name: str) -> Any:
    if name == "AsyncOstiary":
        # The async half is loaded by those who ask for it.
        from ._async import AsyncOstiary

        globals()[name] = AsyncOstiary
        return AsyncOstiary
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
