"""Policy's own log: every judgement, whoever asked, with what came of it.

The log that a caller sends along is his, and is not read. Neighbour: `judging` shows this one.
"""

from __future__ import annotations

from typing import Any, Final, final

import msgspec

from ...workflow.models import Action, GuardDecision, Principal, wire
from ..clock import Clock, iso
from ..documents import Documents, Store

__all__ = ["Audit", "Entry"]

_KEPT: Final = 10_000
_PRUNE_EVERY: Final = 500


class Entry(msgspec.Struct, kw_only=True):
    """One judgement as `ostiary.workflow.AuditEntry` has it; `number` counts from 1."""

    number: int
    timestamp: str
    principal: dict[str, Any]
    action: dict[str, Any]
    decision: dict[str, Any]
    state_transition: dict[str, str]

    def shown(self) -> dict[str, Any]:
        """Return it as clients read it."""
        return msgspec.structs.asdict(self)


@final
class Audit:
    """The newest 10,000 judgements."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._entries = Documents(store, "judgement", Entry)
        self._clock = clock
        latest = self._entries.page(0, 1)
        self._last = latest[0].number if latest else 0

    def note(self, principal: Principal, action: Action, decision: GuardDecision) -> None:
        """Write a judgement down."""
        self._last += 1
        state = str((decision.metadata or {}).get("state", "rejected"))
        said = wire(decision)
        # It would name the question to whoever may read; the list of questions is for that.
        said.pop("approval_token", None)
        self._entries.put(
            str(self._last),
            Entry(
                number=self._last,
                timestamp=iso(self._clock.wall()),
                principal=wire(principal),
                action=wire(action),
                decision=said,
                state_transition={"from": "evaluating", "to": state},
            ),
        )
        if self._last % _PRUNE_EVERY == 0:
            self._entries.keep(_KEPT)

    def before(self, number: int | None, limit: int) -> list[Entry]:
        """Return judgements from below a number, newest first."""
        offset = 0 if number is None else max(0, self._last - number + 1)
        return self._entries.page(offset, limit)
