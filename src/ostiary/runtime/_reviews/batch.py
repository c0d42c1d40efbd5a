"""What came of each tool that was submitted in a batch."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, final

import msgspec

from ..errors import InvalidArgumentError, SymbiontError
from ..models import ReviewSessionResponse

__all__ = ["Progress", "SubmissionOutcome"]


class SubmissionOutcome(msgspec.Struct, frozen=True):
    """One of a batch: its place in it, and the session that was opened or why none was."""

    index: int
    response: ReviewSessionResponse | None = None
    error: SymbiontError | None = None

    @property
    def ok(self) -> bool:
        """Whether a session was opened."""
        return self.error is None


@final
class Progress:
    """Calls back after each item, one call at a time: items end on several threads."""

    __slots__ = ("_done", "_lock", "_on_progress", "_total")

    def __init__(
        self, on_progress: Callable[[int, int, SubmissionOutcome], object] | None, total: int
    ) -> None:
        if on_progress is not None and not callable(on_progress):
            raise InvalidArgumentError("on_progress is a function of (done, total, outcome)")
        self._on_progress: Any = on_progress
        self._total = total
        self._done = 0
        self._lock = threading.Lock()

    def note(self, outcome: SubmissionOutcome) -> None:
        """Count an item."""
        if self._on_progress is None:
            return
        with self._lock:
            self._done += 1
            self._on_progress(self._done, self._total, outcome)
