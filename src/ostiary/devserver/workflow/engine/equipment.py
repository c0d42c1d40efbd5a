"""What every run of one engine uses: its ledger, tools, judges, clocks.

Neighbours: `engine` makes it once, `round` and those it works with are handed it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, Protocol, final

from ....workflow.models import Commit, GateConfig, GateResult
from ...clock import Clock
from ..policy.approvals import Approvals
from ..policy.guard import Guard
from ..tools import Registry, ToolCall
from .ledger import Ledger
from .records import Records

__all__ = ["Equipment", "Faults", "Judge", "Observer"]

Faults = Callable[[ToolCall], Awaitable[object]]
"""Called before each tool; a test's way to have it fail or wait."""


class Observer(Protocol):
    """Is told what runs do; it must not raise, and nothing waits for it."""

    def event(
        self,
        kind: str,
        data: Mapping[str, Any],
        *,
        workflow_id: str,
        task_id: str | None = None,
        task_type: str | None = None,
        correlation_id: str | None = None,
    ) -> None: ...

    def span(self, span: dict[str, Any]) -> None: ...

    def metric(self, name: str, value: float, tags: Mapping[str, str]) -> None: ...


class Judge(Protocol):
    """Decides on results; `ostiary.devserver.workflow.crv.gate.Gate` is one."""

    def validate(self, commit: Commit, config: GateConfig, *, owner: str = "") -> GateResult: ...


@final
class Equipment:
    """The parts; times are seconds. `grace` is what a cancelled tool gets to end."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        records: Records,
        tools: Registry,
        workers: Executor,
        clock: Clock,
        sleep: Callable[[float], Awaitable[object]],
        random: Callable[[], float],
        guard: Guard | None = None,
        approvals: Approvals | None = None,
        gate: Judge | None = None,
        observer: Observer | None = None,
        faults: Faults | None = None,
        sandbox: Path | None = None,
        grace: float = 1.0,
        effect_ttl: float = 86400.0,
    ) -> None:
        self.ledger = ledger
        self.records = records
        self.tools = tools
        self.workers = workers
        self.clock = clock
        self.sleep = sleep
        self.random = random
        self.guard = guard
        self.approvals = approvals
        self.gate = gate
        self.observer = observer
        self.faults = faults
        self.sandbox = sandbox
        self.grace = grace
        self.effect_ttl = effect_ttl
        # One at a time under a caller's key: (tool, key) -> lock and who holds or wants it.
        self.locks: dict[tuple[str, str], tuple[asyncio.Lock, list[int]]] = {}
        # Who waits for a person, by the token of the question.
        self.waiting: dict[str, list[asyncio.Event]] = {}
