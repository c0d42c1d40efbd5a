"""The embedded control plane for development and tests: every domain's server in one process.

`serve` is the program behind `ostiary dev`; `running` is the same for the length of a `with`
block. It listens on Unix sockets and on loopback, nowhere else.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .faults import DevserverError
    from .gateway.calls import CallRecord
    from .gateway.running import RunningGateway, RunningRun
    from .http.staged import HttpFault, HttpFaults
    from .inprocess import RunningVault, running
    from .options import (
        ForwardOptions,
        GatewayOptions,
        GovernanceOptions,
        Options,
        RuntimeOptions,
        WorkflowKey,
        WorkflowOptions,
        default_home,
    )
    from .program import serve
    from .server import VaultServer

__all__ = [
    "CallRecord",
    "DevserverError",
    "ForwardOptions",
    "GatewayOptions",
    "GovernanceOptions",
    "HttpFault",
    "HttpFaults",
    "Options",
    "RunningGateway",
    "RunningRun",
    "RunningVault",
    "RuntimeOptions",
    "VaultServer",
    "WorkflowKey",
    "WorkflowOptions",
    "default_home",
    "running",
    "serve",
]

_WHERE = {
    "CallRecord": "gateway.calls",
    "DevserverError": "faults",
    "ForwardOptions": "options",
    "GatewayOptions": "options",
    "GovernanceOptions": "options",
    "HttpFault": "http.staged",
    "HttpFaults": "http.staged",
    "Options": "options",
    "RunningGateway": "gateway.running",
    "RunningRun": "gateway.running",
    "RunningVault": "inprocess",
    "RuntimeOptions": "options",
    "VaultServer": "server",
    "WorkflowKey": "options",
    "WorkflowOptions": "options",
    "default_home": "options",
    "running": "inprocess",
    "serve": "program",
}


def __getattr__(name: str) -> Any:
    # Every `ostiary` command comes through here for one name or two, and the server with its
    # loop and database would cost each of them 100 ms.
    if name in _WHERE:
        return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
