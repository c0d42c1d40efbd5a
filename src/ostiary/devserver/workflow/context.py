"""What the endpoints of the workflow server share.

Neighbour: `server` makes it; each group of endpoints is made with it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol, final

from starlette.requests import Request
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from ..clock import Clock, iso
from ..documents import Store
from ..http.routing import API, Endpoint, route
from ..options import Options, WorkflowOptions
from .audit import Audit
from .crv.gate import Gate
from .crv.registry import Registry
from .engine.engine import Engine
from .keys import caller_of
from .policy.approvals import Approvals
from .policy.guard import Guard
from .telemetry import Telemetry

__all__ = ["Context", "Group", "guarded"]


class Group(Protocol):
    """One group of endpoints."""

    def __init__(self, context: Context) -> None: ...

    def routes(self) -> list[BaseRoute]: ...


@final
class Context:
    """The parts of one server. Everything runs on the thread of one event loop."""

    def __init__(
        self,
        *,
        options: Options,
        workflow: WorkflowOptions,
        files: Path,
        store: Store,
        telemetry: Telemetry,
        registry: Registry,
        gate: Gate,
        approvals: Approvals,
        guard: Guard,
        audit: Audit,
        engine: Engine,
    ) -> None:
        self.options = options
        self.workflow = workflow
        self.files = files
        self.store = store
        self.telemetry = telemetry
        self.registry = registry
        self.gate = gate
        self.approvals = approvals
        self.guard = guard
        self.audit = audit
        self.engine = engine
        self.clock: Clock = options.clock

    def now(self) -> str:
        """Return the time as it is written on the wire: UTC, `Z`, milliseconds."""
        return iso(self.clock.wall())


def guarded(
    methods: str,
    path: str,
    endpoint: Callable[[Request], Awaitable[ASGIApp]],
    *roles: str,
    prefix: str = API,
) -> BaseRoute:
    """Return a route for callers that have one of the roles."""

    async def checked(request: Request) -> ASGIApp:
        caller_of(request).require(*roles)
        return await endpoint(request)

    allowed: Endpoint = checked
    return route(methods, path, allowed, prefix=prefix)
