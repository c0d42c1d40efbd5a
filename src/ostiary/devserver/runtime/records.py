"""An agent and an execution as the runtime remembers them, and the words for their states.

Neighbour: `agents` changes them.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ...runtime.enums import RUNTIME_STATES

__all__ = ["EXECUTION_ENDS", "AgentRecord", "Execution", "mode_name", "seed_state"]

_SEED_STATES: Final = frozenset({"idle", "active", "busy", "error", "stopped"})

EXECUTION_ENDS: Final = frozenset({"completed", "failed", "cancelled", "timed_out"})


def seed_state(word: str) -> str | None:
    """Return the guide's word for a state in either vocabulary; None for an unknown one."""
    word = word.lower()
    return word if word in _SEED_STATES else RUNTIME_STATES.get(word)


class AgentRecord(msgspec.Struct, kw_only=True):
    """One agent: what it was created as, and what it did so far.

    `reported_state` and what follows are an external agent's, as it told them. `program` is
    True once a compiled DSL program belongs to the agent.
    """

    id: str
    name: str
    description: str = ""
    system_prompt: str = ""
    tools: list[str] = []
    model: str = ""
    temperature: float = 0.7
    top_p: float = 1.0
    max_tokens: int = 1024
    dsl: str | None = None
    execution_mode: str | dict[str, Any] = "Ephemeral"
    capabilities: list[str] = []
    metadata: dict[str, Any] = {}
    created_at: str = ""
    updated_at: str = ""
    last_activity: str = ""
    stopped: bool = False
    tasks_completed: int = 0
    tasks_failed: int = 0
    last_failed: bool = False
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    reported_state: str | None = None
    last_result: str | None = None
    last_heartbeat: float | None = None
    recent_events: list[dict[str, Any]] = []


class Execution(msgspec.Struct, kw_only=True):
    """One task of an agent. `status` begins as queued or running and ends once.

    The block that runs under `Agents.task` may set `result`; what it raises becomes `error`.
    """

    execution_id: str
    agent_id: str
    kind: str
    status: str
    started_at: str
    completed_at: str | None = None
    result: Any = None
    error: str | None = None
    duration_ms: float | None = None

    def view(self) -> dict[str, Any]:
        """Return it as the API shows it; `timestamp` is when it last changed."""
        shown: dict[str, Any] = {
            "execution_id": self.execution_id,
            "agent_id": self.agent_id,
            "kind": self.kind,
            "status": self.status,
            "timestamp": self.completed_at or self.started_at,
            "started_at": self.started_at,
        }
        for name in ("completed_at", "result", "error", "duration_ms"):
            value = getattr(self, name)
            if value is not None:
                shown[name] = value
        return shown


def mode_name(mode: str | dict[str, Any]) -> str:
    """Return the label of an execution mode, which may come as `{"External": {...}}`."""
    if isinstance(mode, str):
        return mode
    return next(iter(mode), "Ephemeral")
