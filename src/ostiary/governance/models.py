"""What a governance server's answers look like to the caller, and what is sent to it.

Replies are read leniently: unknown members are dropped, absent or null ones take the default
shown here. Two kinds of server are understood, the guide's and the published package's: where
they use different names, both names work here and mean the same. Neighbours: `_routes.py` for
who sends what, `stream.py` for events, `errors.py` for refusals.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, TypeVar, cast

import msgspec

from .._decoders import convert
from .errors import HestiaProtocolError

__all__ = [
    "AgentResult",
    "ChatResponse",
    "Decision",
    "ErrorResponse",
    "HealthResponse",
    "RunResponse",
    "SystemMetrics",
    "SystemStatus",
    "TraceResponse",
]

M = TypeVar("M", bound=msgspec.Struct)

Decision = Literal["ALLOW", "THROTTLE", "BLOCK"]

_DECISIONS: Final[Mapping[str, Decision]] = {
    "ALLOW": "ALLOW",
    "THROTTLE": "THROTTLE",
    "BLOCK": "BLOCK",
}


class RunResponse(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The result of a run; immutable.

    What `result` and `mode` mean depends on the server: the text and the decision, or the
    decision and the mode of the system. They stand as sent; `text` and `decision` are the
    same for both. `budget` is what may still be spent on reasoning, `latency_ms` milliseconds.
    """

    result: str = ""
    trace_id: str
    output: str | None = None
    mode: str = ""
    budget: float = 0.0
    latency_ms: float = 0.0

    @property
    def decision(self) -> Decision | None:
        """What governance decided, whichever member says it; None when neither does."""
        # `mode` first: where it is a decision, `result` is text, whatever that text says.
        return _DECISIONS.get(self.mode.upper()) or _DECISIONS.get(self.result.upper())

    @property
    def text(self) -> str | None:
        """What was produced: `output`, else `result` unless that is a decision; else None."""
        if self.output is not None:
            return self.output
        return self.result if self.result and self.result.upper() not in _DECISIONS else None


class TraceResponse(msgspec.Struct, frozen=True, kw_only=True):
    """A decision with its reasons; immutable. `governance.trace` returns it as a dict."""

    trace_id: str
    decision: str = ""
    violations: list[dict[str, Any]] = []
    latency_ms: float = 0.0
    reason: str | None = None
    risk_score: float | None = None  # 0 to 1
    policy: str | None = None
    mode: str | None = None
    budget: float | None = None
    timestamp: str | None = None  # ISO-8601

    @classmethod
    def from_raw(cls, raw: Mapping[str, Any]) -> TraceResponse:
        """Read what `governance.trace` returned; `HestiaProtocolError` when it is no trace."""
        return read(raw, cls, "the trace")


class HealthResponse(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How the server is; immutable. `status` is `ok`, `degraded` or `error`."""

    status: str
    version: str = ""
    uptime_seconds: float = 0.0
    api_version: str | None = None


class ErrorResponse(msgspec.Struct, frozen=True, kw_only=True):
    """The body of a reply that says no; immutable. Errors carry these members themselves."""

    error: str | None = None
    code: str = ""
    message: str = ""
    trace_id: str | None = None
    details: dict[str, Any] | None = None

    @classmethod
    def from_raw(cls, raw: Mapping[str, Any]) -> ErrorResponse:
        """Read such a body, decoded; `HestiaProtocolError` when it is none."""
        return read(raw, cls, "the error")


class ChatResponse(msgspec.Struct, kw_only=True, gc=False):
    """The answer to a message. `result` and `response` are two names of it."""

    result: str | None = None
    session_id: str | None = None
    trace_id: str | None = None
    response: str | None = None
    processing_time: float | None = None  # seconds
    model: str | None = None

    def __post_init__(self) -> None:
        if self.result is None:
            super().__setattr__("result", self.response)
        elif self.response is None:
            super().__setattr__("response", self.result)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in {"result", "response"}:
            super().__setattr__("result", value)
            name = "response"
        super().__setattr__(name, value)


class AgentResult(msgspec.Struct, kw_only=True, gc=False):
    """What an agent did. `result` and `output` are two names of it.

    `status` is `RUNNING`, `COMPLETED`, `FAILED` or `BLOCKED`.
    """

    result: str | None = None
    agent_id: str
    trace_id: str | None = None
    output: str | None = None
    status: str | None = None
    error: str | None = None

    def __post_init__(self) -> None:
        if self.result is None:
            super().__setattr__("result", self.output)
        elif self.output is None:
            super().__setattr__("output", self.result)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in {"result", "output"}:
            super().__setattr__("result", value)
            name = "output"
        super().__setattr__(name, value)


class SystemStatus(msgspec.Struct, kw_only=True, gc=False):
    """How the server is and what it has. `status` is `OK`, `DEGRADED` or `ERROR`.

    Servers differ in the case of `status`: compare without it.
    """

    status: str
    version: str = ""
    uptime_seconds: float = 0.0
    ollama: bool | None = None
    vllm: bool | None = None
    dsgk: bool | None = None
    storage: bool | None = None


class SystemMetrics(msgspec.Struct, kw_only=True):
    """The server's figures. `metrics` holds all that it sent, the others what is known by name."""

    metrics: dict[str, Any] = {}
    cpu_percent: float | None = None
    memory_percent: float | None = None
    active_sessions: int | None = None
    requests_total: int | None = None
    avg_latency_ms: float | None = None
    gpu_percent: float | None = None
    vram_percent: float | None = None
    vram_used_bytes: int | None = None
    vram_total_bytes: int | None = None

    @classmethod
    def from_raw(cls, raw: Mapping[str, Any]) -> SystemMetrics:
        """Read a body of figures, or one that holds them below `metrics`."""
        inner = raw.get("metrics")
        figures = cast("dict[str, Any]", inner) if isinstance(inner, dict) else dict(raw)
        return read({**figures, **raw, "metrics": figures}, cls, "the answer of system.metrics")


def read(raw: Mapping[str, Any], model: type[M], what: str) -> M:
    """Make `model` of decoded JSON, null meaning absent; `what` names it in the error."""
    present = {name: value for name, value in raw.items() if value is not None}
    try:
        return convert(present, model)
    except msgspec.ValidationError as error:
        # Names of members and types, never a value.
        problem = str(error)
    del raw, present
    raise HestiaProtocolError(f"{what} is not what the protocol promises: {problem}", sent=True)
