"""The agents: who there is, what each is doing, what each did.

A group that works for an agent does so under `task`, which counts it, measures it and keeps
its outcome. Neighbours: `records` are what is kept, `agent_endpoints` the paths.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, cast, final

import msgspec

from ..documents import Documents
from ..faults import Refusal
from ..http.reading import invalid
from ..http.refusals import HttpRefusal
from .context import Context
from .records import AgentRecord, Execution, mode_name, seed_state

__all__ = ["Agents", "is_external"]

_log = logging.getLogger(__name__)

_ID: Final = re.compile(r"[^/\x00-\x1f\x7f]{1,256}")
# Words that stand where an id may.
_RESERVED: Final = frozenset({"deploy", "deployments", "config", ".", ".."})
_BUSY: Final = 4  # tasks at once, from which on an agent counts as busy
_KEPT: Final = 10_000  # executions, of all agents together
_PRUNE_EVERY: Final = 500
_HISTORY: Final = 100
_DEFINITION: Final = (
    "name",
    "description",
    "system_prompt",
    "tools",
    "model",
    "temperature",
    "top_p",
    "max_tokens",
    "dsl",
    "execution_mode",
    "capabilities",
    "metadata",
)


@final
class Agents:
    """All agents; one thread."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._records = Documents(context.store, "agent", AgentRecord)
        self._executions = Documents(context.store, "execution", Execution)
        self._known: dict[str, AgentRecord] = dict(self._records.items())
        self._running: dict[str, dict[str, Execution]] = {}
        self._since_pruned = 0
        self.forgetting: list[Callable[[str], None]] = []
        """Called with the id of each agent that is deleted."""
        self._started = context.clock.wall()
        self._end_interrupted()

    def _end_interrupted(self) -> None:
        """End what the last process left running: nobody works on it any more."""
        for execution in self._executions.all():
            if execution.status in {"running", "queued"}:
                execution.status = "failed"
                execution.error = "the runtime stopped before this task ended"
                execution.completed_at = self._context.now()
                self._executions.put(execution.execution_id, execution)

    # -- who there is -------------------------------------------------------

    def get(self, agent_id: str) -> AgentRecord | None:
        """Return an agent, or None; change it only through the methods here."""
        return self._known.get(agent_id)

    def require(self, agent_id: str) -> AgentRecord:
        """Return an agent, or refuse with 404."""
        found = self._known.get(agent_id)
        if found is None:
            raise HttpRefusal(404, "AGENT_NOT_FOUND", "there is no agent of this id")
        return found

    def all(self) -> list[AgentRecord]:
        """Return the agents in the order in which they were created."""
        return list(self._known.values())

    def named(self, name: str) -> AgentRecord | None:
        """Return the agent of an id or, failing that, the first of a name."""
        found = self._known.get(name)
        if found is None:
            found = next((one for one in self._known.values() if one.name == name), None)
        return found

    def create(self, agent_id: str | None, name: str, **definition: Any) -> AgentRecord:
        """Create an agent. The same once more is accepted; another of that id is a 409.

        Without an id it gets a UUID. `definition` may hold the members of `AgentRecord` up to
        `metadata`.
        """
        given = agent_id is not None
        if agent_id is None:
            agent_id = self._context.new_id()
        check_agent_id(agent_id)
        now = self._context.now()
        record = AgentRecord(
            id=agent_id,
            name=name,
            created_at=now,
            updated_at=now,
            last_activity=now,
            **definition,
        )
        if given and agent_id in self._known:
            known = self._known[agent_id]
            if all(getattr(known, part) == getattr(record, part) for part in _DEFINITION):
                return known
            raise HttpRefusal(
                409,
                "AGENT_EXISTS",
                "there is another agent of this id; update it, or choose another id",
            )
        self._known[agent_id] = record
        self._records.put(agent_id, record)
        self._context.events.publish("agent.created", agent_id)
        return record

    def update(self, agent_id: str, **changes: Any) -> AgentRecord:
        """Change an agent's definition."""
        record = self.require(agent_id)
        for member, value in changes.items():
            setattr(record, member, value)
        record.updated_at = self._context.now()
        self._records.put(agent_id, record)
        self._context.events.publish("agent.updated", agent_id)
        return record

    def delete(self, agent_id: str) -> None:
        """Forget an agent; what it did stays in the record of executions until it is old."""
        self.require(agent_id)
        if self._running.get(agent_id):
            raise HttpRefusal(
                409, "AGENT_BUSY", "the agent has tasks in hand; wait for them to end"
            )
        del self._known[agent_id]
        with self._context.store.transaction():
            self._records.delete(agent_id)
            for forget in self.forgetting:
                forget(agent_id)
        self._context.events.publish("agent.deleted", agent_id)

    # -- what it does -------------------------------------------------------

    @asynccontextmanager
    async def task(
        self, agent_id: str, kind: str, *, execution_id: str | None = None
    ) -> AsyncGenerator[Execution]:
        """Count what happens in the block as a task of the agent; `kind` is a word for it.

        What the block raises goes on to the caller and is the task's `error`: the message of
        a refusal, the kind alone of anything else.
        """
        record = self.require(agent_id)
        now = self._context.now()
        execution = Execution(
            execution_id=execution_id or self._context.new_id(),
            agent_id=agent_id,
            kind=kind,
            status="running",
            started_at=now,
        )
        running = self._running.setdefault(agent_id, {})
        running[execution.execution_id] = execution
        record.last_activity = now
        self._executions.put(execution.execution_id, execution, owner=agent_id)
        self._context.events.publish(
            "task.started", agent_id, execution_id=execution.execution_id, kind=kind
        )
        began, cpu = time.perf_counter(), time.process_time()
        try:
            yield execution
            execution.status = "completed"
        except BaseException as error:
            execution.status = _end(error)
            execution.error = _why(error)
            raise
        finally:
            seconds = time.perf_counter() - began
            # Tasks share one process: each is held to have used its part of it.
            used = (time.process_time() - cpu) / len(running)
            del running[execution.execution_id]
            if not running:
                self._running.pop(agent_id, None)
            self._ended(record, execution, seconds, used)

    def _ended(
        self, record: AgentRecord, execution: Execution, seconds: float, used: float
    ) -> None:
        execution.duration_ms = round(seconds * 1000, 3)
        execution.completed_at = record.last_activity = self._context.now()
        failed = execution.status != "completed"
        record.last_failed = failed
        record.tasks_failed += failed
        record.tasks_completed += not failed
        record.seconds += seconds
        record.cpu_seconds += used
        with self._context.store.transaction():
            self._executions.put(execution.execution_id, execution)
            if record.id in self._known:
                self._records.put(record.id, record)
            self._since_pruned += 1
            if self._since_pruned >= _PRUNE_EVERY:
                self._since_pruned = 0
                self._executions.keep(_KEPT)
        self._context.events.publish(
            f"task.{execution.status}",
            record.id,
            execution_id=execution.execution_id,
            kind=execution.kind,
        )

    def queue(self, agent_id: str, kind: str) -> Execution:
        """Note an execution that begins later, under `task` with its id; it is on file."""
        self.require(agent_id)
        execution = Execution(
            execution_id=self._context.new_id(),
            agent_id=agent_id,
            kind=kind,
            status="queued",
            started_at=self._context.now(),
        )
        self._executions.put(execution.execution_id, execution, owner=agent_id)
        return execution

    def end_queued(self, execution_id: str, status: str, error: str) -> None:
        """End an execution that never began."""
        execution = self._executions.get(execution_id)
        if execution is not None and execution.status == "queued":
            execution.status, execution.error = status, error
            execution.completed_at = self._context.now()
            self._executions.put(execution_id, execution)

    def execution(self, execution_id: str) -> Execution | None:
        """Return an execution, running or ended."""
        return self._executions.get(execution_id)

    def history(self, agent_id: str, limit: int = _HISTORY) -> list[Execution]:
        """Return an agent's latest executions, newest first."""
        return self._executions.owned(agent_id, limit)

    # -- what it is like ----------------------------------------------------

    def active_tasks(self, agent_id: str) -> int:
        return len(self._running.get(agent_id, ()))

    def state(self, record: AgentRecord) -> str:
        """Return one of the guide's five words."""
        if record.stopped:
            return "stopped"
        tasks = self.active_tasks(record.id)
        if tasks:
            return "busy" if tasks >= _BUSY else "active"
        if record.reported_state is not None:
            if self._silent(record):
                return "error"
            return seed_state(record.reported_state) or "idle"
        return "error" if record.last_failed else "idle"

    def _silent(self, record: AgentRecord) -> bool:
        """Whether an external agent has missed three of its heartbeats."""
        interval = heartbeat_interval(record.execution_mode)
        if record.last_heartbeat is None or interval is None:
            return False
        return self._context.clock.wall() - record.last_heartbeat > 3 * interval

    def status(self, record: AgentRecord) -> dict[str, Any]:
        """Return the answer to `GET agents/{id}`."""
        shown: dict[str, Any] = {
            "agent_id": record.id,
            "state": self.state(record),
            "last_activity": record.last_activity,
            "resource_usage": {
                "memory_bytes": self.held_bytes(record),
                "cpu_percent": self.cpu_percent(record),
                "active_tasks": self.active_tasks(record.id),
            },
            "execution_mode": mode_name(record.execution_mode),
        }
        if is_external(record):
            shown["metadata"] = record.metadata
            shown["last_result"] = record.last_result
            shown["recent_events"] = record.recent_events
            shown["reported_state"] = record.reported_state
        return shown

    def held_bytes(self, record: AgentRecord) -> int:
        """Return what the runtime holds in memory for an agent: its record and its tasks."""
        running = self._running.get(record.id, {})
        return len(msgspec.msgpack.encode(record)) + sum(
            len(msgspec.msgpack.encode(one)) for one in running.values()
        )

    def uptime(self, record: AgentRecord) -> int:
        """Return whole seconds since the agent was created, or the runtime started."""
        created = self._context.moment().fromisoformat(record.created_at).timestamp()
        return max(0, int(self._context.clock.wall() - max(created, self._started)))

    def cpu_percent(self, record: AgentRecord) -> float:
        """Return the share of one processor that the agent's tasks took while they ran."""
        return round(100 * record.cpu_seconds / record.seconds, 2) if record.seconds else 0.0

    def metrics(self, record: AgentRecord) -> dict[str, Any]:
        """Return the answer to `GET agents/{id}/metrics`."""
        tasks = record.tasks_completed + record.tasks_failed
        return {
            "agent_id": record.id,
            "tasks_completed": record.tasks_completed,
            "tasks_failed": record.tasks_failed,
            "average_response_time_ms": round(1000 * record.seconds / tasks, 3) if tasks else 0.0,
            "memory_usage_bytes": self.held_bytes(record),
            "cpu_usage_percent": self.cpu_percent(record),
            "last_activity": record.last_activity,
            "uptime_seconds": self.uptime(record),
            "active_tasks": self.active_tasks(record.id),
        }

    def heard(self, record: AgentRecord) -> None:
        """Write down what an external agent told of itself."""
        record.last_activity = self._context.now()
        self._records.put(record.id, record)


def heartbeat_interval(mode: str | dict[str, Any]) -> float | None:
    """Return how often an external agent promised to report, in seconds."""
    settings: Any = mode.get("External") if isinstance(mode, dict) else None
    if not isinstance(settings, dict):
        return None
    interval = cast("dict[str, Any]", settings).get("heartbeat_interval_secs")
    return float(interval) if isinstance(interval, int | float) and interval > 0 else None


def is_external(record: AgentRecord) -> bool:
    """Return whether an agent runs elsewhere and reports here."""
    return mode_name(record.execution_mode) == "External"


def check_agent_id(agent_id: str) -> None:
    """Refuse what cannot stand in a path, or stands there already."""
    if not _ID.fullmatch(agent_id) or agent_id in _RESERVED or agent_id != agent_id.strip():
        raise invalid(
            "id",
            "an agent's id has 1 to 256 characters without slashes and control characters, and "
            "is none of " + ", ".join(sorted(_RESERVED - {".", ".."})),
        )


def _end(error: BaseException) -> str:
    if isinstance(error, asyncio.CancelledError):
        return "cancelled"
    return "timed_out" if isinstance(error, TimeoutError) else "failed"


def _why(error: BaseException) -> str:
    # Anything but our own words may quote what it failed on.
    if isinstance(error, HttpRefusal | Refusal):
        return error.message
    return type(error).__name__
