"""Policy's own log: every judgement, whoever asked, with what came of it.

The log that a caller sends along is his, and is not read. Neighbour: `judging` shows this one.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from typing import Any, Final, final

import msgspec

from ...workflow.models import Action, GuardDecision, Principal, wire
from ..clock import Clock, iso
from ..documents import Documents, Store

__all__ = ["Audit", "Entry"]

_log = logging.getLogger(__name__)

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
    """The newest 10,000 judgements; those of one turn of the loop are one transaction."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._entries = Documents(store, "judgement", Entry)
        self._clock = clock
        self._waiting: list[Entry] = []
        latest = self._entries.page(0, 1)
        self._last = latest[0].number if latest else 0

    def note(self, principal: Principal, action: Action, decision: GuardDecision) -> None:
        """Have a judgement written down; only on the loop's thread."""
        self._last += 1
        state = str((decision.metadata or {}).get("state", "rejected"))
        said = wire(decision)
        # It would name the question to whoever may read; the list of questions is for that.
        said.pop("approval_token", None)
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self.flush)
        self._waiting.append(
            Entry(
                number=self._last,
                timestamp=iso(self._clock.wall()),
                principal=wire(principal),
                action=wire(action),
                decision=said,
                state_transition={"from": "evaluating", "to": state},
            )
        )

    def flush(self) -> None:
        """Write what waits."""
        waiting, self._waiting = self._waiting, []
        if not waiting or self._store.closed:
            return
        try:
            with self._store.transaction():
                for entry in waiting:
                    self._entries.put(str(entry.number), entry)
                if waiting[-1].number // _PRUNE_EVERY != (waiting[0].number - 1) // _PRUNE_EVERY:
                    self._entries.keep(_KEPT)
        except sqlite3.Error as error:
            _log.error("judgements could not be written to %s: %s", self._store.path, error)

    def before(self, number: int | None, limit: int) -> list[Entry]:
        """Return judgements from below a number, newest first."""
        self.flush()
        offset = 0 if number is None else max(0, self._last - number + 1)
        return self._entries.page(offset, limit)
