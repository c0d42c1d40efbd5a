"""What one run of a fleet is: its crew, its items, its report.

Neighbours: `fleet`, which makes one for each stream; `_stream`, which carries it through.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import deque
from collections.abc import Callable
from typing import Any

from .crews import Crew
from .dispatch import Dispatch
from .errors import FleetError, WorkerLostError
from .item import Item, Outcome
from .port import Back
from .report import FleetReport, FleetResult
from .work import Work

__all__ = ["Run"]


class Run:
    """The state of one run; `told` is called with the report after each result."""

    def __init__(
        self,
        work: Work,
        crew: Crew,
        report: FleetReport,
        identify: Callable[[Any], object] | None,
        told: Callable[[FleetReport], object] | None,
        ended: Callable[[], object] | None,
    ) -> None:
        self.crew = crew
        self.report = report
        self._work = work
        self._identify = identify
        self._told = told
        self._ended = ended
        self._indexes = itertools.count()
        self.ready: deque[FleetResult] = deque()
        """Results that are there and have not been given out."""

    def dispatch(self) -> Dispatch:
        """Return the decisions for a crew that is ready."""
        return Dispatch(window=self.crew.window, batch=self.crew.batch, retries=self._work.retries)

    def item(self, given: Any) -> Item:
        """Return the next input as an item."""
        index = next(self._indexes)
        name = str(index if self._identify is None else self._identify(given))
        mark = f"{self._work.run_id}\0{name}".encode("utf-8", "surrogatepass")
        return Item(index, name, hashlib.sha256(mark).hexdigest()[:32], given)

    def refuse(self, item: Item, problem: FleetError) -> None:
        """Give the result of an item that cannot be sent."""
        self._tell(item, Outcome(item.index, None, problem, 1, 0.0))

    def settle(self, dispatch: Dispatch, event: Back) -> None:
        """Give the results of a batch that came back, or of what it has lost for good."""
        if not isinstance(event.outcomes, str):
            dispatch.done(event.items)
            for item, outcome in zip(event.items, event.outcomes, strict=True):
                self._tell(item, outcome)
            return
        self.report.lost += len(event.items)
        for item in dispatch.lost(event.items):
            problem = WorkerLostError(
                f"the worker ended each of the {item.lost} times that it had input {item.id}, the "
                f"last time with no other input beside it ({event.outcomes}); look for a crash or "
                "for too little memory there"
            )
            self._tell(item, Outcome(item.index, None, problem, item.lost, 0.0))

    def _tell(self, item: Item, outcome: Outcome) -> None:
        self.ready.append(self.report.add(item, outcome))
        if self._told is not None:
            self._told(self.report)

    def end(self) -> None:
        """Note that nothing more will come."""
        self.report.end()
        if self._ended is not None:
            self._ended()
