"""How many calls a run may make in a while, counted in windows that begin with a call.

Neighbour: `endpoints` asks before a provider is.
"""

from __future__ import annotations

import math
from typing import Final, final

from ..clock import Clock
from ..http.refusals import HttpRefusal

__all__ = ["Quota"]

_RUNS: Final = 10_000


@final
class Quota:
    """`limit` calls of each run in `window` seconds; None is no limit."""

    def __init__(self, limit: int | None, window: float, clock: Clock) -> None:
        self._limit = limit
        self._window = window
        self._clock = clock
        self._used: dict[str, tuple[float, int]] = {}

    def take(self, subject: str) -> None:
        """Count one call, or raise the 429 that says when the next is allowed."""
        if self._limit is None:
            return
        now = self._clock.steady()
        began, used = self._used.pop(subject, (now, 0))
        if now - began >= self._window:
            began, used = now, 0
        self._used[subject] = (began, min(used + 1, self._limit))
        if len(self._used) > _RUNS:
            del self._used[next(iter(self._used))]
        if used >= self._limit:
            # A whole number, rounded up: a client that waits that long finds a new window.
            wait = max(1, math.ceil(began + self._window - now))
            raise HttpRefusal(
                429,
                "rate_limited",
                f"this run has made its {self._limit} calls; wait {wait} s",
                headers=((b"retry-after", str(wait).encode()),),
            )
