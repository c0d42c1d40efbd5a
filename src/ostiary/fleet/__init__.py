"""Many inputs, one function or agent, on any executor; a worker that dies loses none of them.

Needs nothing but the core for this process and others of this machine; extras `dask` and `ray`.
"""

from __future__ import annotations

from .errors import (
    AgentFailedError,
    ExecutorError,
    FleetError,
    NotPortableError,
    RemoteError,
    WorkEndedError,
    WorkerLostError,
    WorkTimeoutError,
)
from .fleet import Fleet, FleetStream
from .item import Current, current
from .report import FleetReport, FleetResult

__all__ = [
    "AgentFailedError",
    "Current",
    "ExecutorError",
    "Fleet",
    "FleetError",
    "FleetReport",
    "FleetResult",
    "FleetStream",
    "NotPortableError",
    "RemoteError",
    "WorkEndedError",
    "WorkTimeoutError",
    "WorkerLostError",
    "current",
]
