"""One client for all domains, from one configuration (docs/client.md).

Loads a domain when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._later import later
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
    from ._keys import AsyncVaultKeys, VaultKeys

__all__ = [
    "AsyncOstiary",
    "AsyncVaultKeys",
    "ConfigError",
    "GatewaySection",
    "GovernanceSection",
    "Health",
    "Ostiary",
    "OstiaryConfig",
    "RuntimeSection",
    "Trace",
    "VaultKeys",
    "VaultSection",
    "WorkflowSection",
    "trace",
]

__getattr__ = later(
    __name__,
    {
        "AsyncOstiary": ("_async", "AsyncOstiary"),
        "AsyncVaultKeys": ("_keys", "AsyncVaultKeys"),
        "VaultKeys": ("_keys", "VaultKeys"),
    },
)
