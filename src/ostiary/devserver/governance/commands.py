"""The governance service: each command is judged, carried out, measured and remembered.

What it carries out is small and the same every time, so that it can be tested against; the
decision, the time limit, the throttle and the record are real. No wire shapes. Neighbours:
`rules` judges, `traces` remembers, `endpoints` puts it on the wire.
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
import time
import uuid
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final, final

import msgspec

from ..clock import iso
from ..faults import DevserverError
from ..http.gauges import Gauges
from ..http.refusals import HttpRefusal
from ..options import GovernanceOptions
from ..vault import Vault
from .cabinet import Cabinet
from .rules import ALLOW, BLOCK, THROTTLE, Judgement, judge, judge_command
from .traces import Trace, Traces

__all__ = ["MODEL", "Command", "Done", "Governance"]

MODEL: Final = "ostiary-local"
DEMO_TRACE: Final = "abc-123-def"

# How much thinking a command may cost, by the caller's hint.
_BUDGETS: Final = {"fast": 0.4, "balanced": 0.8, "deep": 1.0}
_PIECES: Final = 256
_WORD: Final = re.compile(r"\s*\S+|\s+")
_PRINCIPALS: Final = 10_000
_RECENT: Final = 200


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """Something to be judged and carried out; `kind` is run, stream, chat or agent."""

    kind: str
    text: str
    session_id: str | None = None
    agent_id: str | None = None
    mode_hint: str | None = None
    timeout_ms: int = 30_000
    arguments: dict[str, Any] | None = None


class Done(msgspec.Struct, frozen=True):
    """A command that was carried out."""

    output: str
    trace: Trace


@final
class Governance:
    """State and rules of one running governance service; one thread, on an event loop."""

    def __init__(self, vault: Vault, traces: Traces, options: GovernanceOptions) -> None:
        self.options = options
        self.vault = vault
        self.traces = traces
        self.gauges = Gauges()
        self.secrets = Cabinet(vault)
        self._next_slot: dict[str, float] = {}
        self._risks: deque[float] = deque(maxlen=_RECENT)
        self._endings: deque[bool] = deque(maxlen=_RECENT)
        self._risk_sum = 0.0
        self._decisions = {ALLOW: 0, THROTTLE: 0, BLOCK: 0}

    @property
    def mode(self) -> str:
        """The system's mode: NORMAL, or DEGRADED while a part of it does not work."""
        return "NORMAL" if self.storage and not self.vault.locked else "DEGRADED"

    @property
    def storage(self) -> bool:
        return not self.vault.failed and not self.traces.failed

    # -- commands -----------------------------------------------------------

    async def admit(self, command: Command) -> Trace:
        """Judge a command; return its trace, or raise the block, which is on record then."""
        began = time.perf_counter()
        if command.arguments is None:
            judgement = judge(command.text)
        else:
            judgement = judge_command(command.kind, command.arguments)
        for name in (command.session_id, command.agent_id):
            if name is not None:
                self.gauges.session(name)
                break
        self._note(judgement)
        budget = _BUDGETS.get(command.mode_hint or "balanced", _BUDGETS["balanced"])
        blocked = judgement.decision == BLOCK
        trace = Trace(
            trace_id=str(uuid.uuid4()),
            decision=judgement.decision,
            reason=judgement.reason,
            policy=judgement.policy,
            mode=self.mode,
            risk_score=judgement.risk_score,
            budget=0.0 if blocked else round(budget * (1 - judgement.risk_score), 4),
            violations=judgement.violations,
            latency_ms=0.0,
            timestamp=iso(self.vault.clock.wall()),
            command=command.kind,
            outcome="blocked" if blocked else "running",
        )
        if blocked:
            trace.latency_ms = _ms_since(began)
            self.traces.finish(trace)
            await self._on_record()
            raise HttpRefusal(
                403,
                "GOVERNANCE_BLOCK",
                f"rule {trace.policy}: {trace.reason}",
                trace_id=trace.trace_id,
                details={
                    "rule": trace.policy,
                    "reason": trace.reason,
                    "risk_score": trace.risk_score,
                    "violations": trace.violations,
                },
            )
        return trace

    async def perform(
        self,
        command: Command,
        trace: Trace,
        sink: Callable[[str], Awaitable[None]] | None = None,
    ) -> Done:
        """Carry out an admitted command; `sink` gets its text piece by piece.

        Returns, or raises the refusal of a command that took too long, once the trace is
        on file.
        """
        began = time.perf_counter()
        output = ""
        outcome = "failed"
        self.traces.begin(trace)
        try:
            async with asyncio.timeout(command.timeout_ms / 1000):
                if trace.decision == THROTTLE:
                    await self._wait_for_slot(command)
                output = await self._work(command.text, sink)
            outcome = "completed"
        except TimeoutError:
            outcome = "timeout"
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        finally:
            trace.outcome = outcome
            trace.latency_ms = _ms_since(began)
            self._endings.append(outcome == "completed")
            self.traces.finish(trace)
        await self._on_record()
        if outcome == "timeout":
            raise HttpRefusal(
                504,
                "TIMEOUT",
                f"the command did not end within its {command.timeout_ms} ms; allow it more "
                "with timeout_ms",
                trace_id=trace.trace_id,
                details={"timeout_ms": command.timeout_ms},
            )
        return Done(output, trace)

    async def _work(self, text: str, sink: Callable[[str], Awaitable[None]] | None) -> str:
        pace = self.options.pace
        for piece in pieces(text) if sink is not None or pace else ():
            if pace:
                await asyncio.sleep(pace)
            if sink is not None:
                await sink(piece)
        return f"processed: {text}"

    async def _wait_for_slot(self, command: Command) -> None:
        """Hold a throttled command back until its agent's last one is long enough ago."""
        who = command.agent_id or command.session_id or ""
        now = asyncio.get_running_loop().time()
        slot = max(self._next_slot.pop(who, 0.0), now)
        self._next_slot[who] = slot + self.options.throttled_every
        if len(self._next_slot) > _PRINCIPALS:
            del self._next_slot[next(iter(self._next_slot))]
        if slot > now:
            await asyncio.sleep(slot - now)

    async def _on_record(self) -> None:
        try:
            await self.traces.commit()
            return
        except DevserverError:
            pass
        raise HttpRefusal(
            503, "STORAGE_FAILED", "the trace could not be written; see to the disk of the server"
        )

    def _note(self, judgement: Judgement) -> None:
        self._decisions[judgement.decision] += 1
        self._risks.append(judgement.risk_score)
        self._risk_sum += judgement.risk_score

    # -- questions ----------------------------------------------------------

    def explain(self, kind: str, arguments: dict[str, Any]) -> dict[str, object]:
        """Say what would be decided about a command, and do nothing."""
        judgement = judge_command(kind, arguments)
        blocked = judgement.decision == BLOCK
        return {
            "decision": judgement.decision,
            "reason": judgement.reason,
            "risk_score": judgement.risk_score,
            "policy": judgement.policy,
            "violations": judgement.violations,
            "mode": self.mode,
            "budget": 0.0
            if blocked
            else round(_BUDGETS["balanced"] * (1 - judgement.risk_score), 4),
        }

    def stability(self) -> dict[str, object]:
        """Say how steady things are.

        Drift is how far the mean risk of the last decisions is from that of all; stability
        is the share of the last commands that ended well.
        """
        total = sum(self._decisions.values())
        drift = 0.0
        if total:
            recent = sum(self._risks) / len(self._risks)
            drift = abs(recent - self._risk_sum / total)
        good = sum(self._endings) / len(self._endings) if self._endings else 1.0
        return {
            "drift": round(drift, 4),
            "stability": round(good, 4),
            "mode": self.mode,
            "decisions": dict(self._decisions),
        }

    def trace(self, trace_id: str) -> Trace:
        """Return a trace; 404 for an id that nothing has."""
        try:
            found = self.traces.find(trace_id)
        except sqlite3.Error:
            self.traces.failed = True
            found = None
        if found is None:
            raise HttpRefusal(404, "NOT_FOUND", "there is no trace with this id")
        return found

    def load_demo(self) -> None:
        """Make the trace of the documentation known; repeating it changes nothing."""
        if self.traces.find(DEMO_TRACE) is None:
            self.traces.finish(
                Trace(
                    trace_id=DEMO_TRACE,
                    decision=ALLOW,
                    reason="no rule objects",
                    policy="R-0",
                    mode="NORMAL",
                    risk_score=0.05,
                    budget=0.76,
                    violations=[],
                    latency_ms=1.0,
                    timestamp=iso(self.vault.clock.wall()),
                    outcome="completed",
                )
            )
            self.traces.flush()


def _ms_since(began: float) -> float:
    return round((time.perf_counter() - began) * 1000, 3)


def pieces(text: str) -> list[str]:
    """Cut what is answered to `text` into words, or into longer pieces of a long one."""
    words = ["processed:", *_WORD.findall(f" {text}")]
    if len(words) <= _PIECES:
        return words
    size = -(-len(words) // _PIECES)
    return ["".join(words[at : at + size]) for at in range(0, len(words), size)]
