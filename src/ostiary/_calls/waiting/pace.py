"""When to ask again whether something has happened. No clock and no sleep: `now` is given.

Gaps begin at a tenth of the longest and double; a change begins anew, since changes come in
runs. Each is drawn from its upper half, so that many who wait do not ask together. The last
gap is cut so that one question is asked at the deadline itself.
"""

from __future__ import annotations

import math
import random
from typing import Final

from ...errors import InvalidArgumentError

__all__ = ["POLL_INTERVAL", "WAIT", "Pace"]

WAIT: Final = 300.0
"""How long a wait lasts unless told otherwise, in seconds."""

POLL_INTERVAL: Final = 5.0
"""The longest gap between two questions unless told otherwise, in seconds."""

_FIRST: Final = 0.1  # of the longest gap
_LAST_QUESTION: Final = 1.0  # what the question asked at the deadline may take, in seconds


class Pace:
    """The questions of one wait."""

    __slots__ = ("_asked_last", "_deadline", "_gap", "_longest", "_usual")

    def __init__(
        self, timeout: float | None, poll_interval: float, usual: float, now: float
    ) -> None:
        """`usual` is how long a question may take, as far as the deadline allows it."""
        self._deadline = now + (math.inf if timeout is None else _seconds("timeout", timeout))
        self._longest = _seconds("poll_interval", poll_interval)
        if not 0.0 < self._longest < math.inf:
            raise InvalidArgumentError("poll_interval is a number of seconds above 0")
        self._gap = self._longest * _FIRST
        self._usual = usual
        self._asked_last = False

    def patience(self, now: float) -> float:
        """Return how many seconds the next question may take."""
        left = self._deadline - now
        if left <= 0.0:
            self._asked_last = True
        return min(self._usual, max(left, _LAST_QUESTION))

    def changed(self) -> None:
        """Note that something has moved."""
        self._gap = self._longest * _FIRST

    def gap(self, now: float, asked: float | None = None) -> float | None:
        """Return the seconds until the next question, or None when there is none left.

        `asked` is how long the server wants to be left alone.
        """
        left = self._deadline - now
        if self._asked_last or left < 0.0:
            return None
        gap = self._gap * (0.5 + 0.5 * random.random())
        self._gap = min(self._gap * 2.0, self._longest)
        if asked is not None and gap < asked < math.inf:
            gap = asked
        if gap >= left:
            self._asked_last = True
            return left
        return gap


def _seconds(name: str, value: object) -> float:
    if not isinstance(value, bool) and isinstance(value, (int, float)):
        seconds = float(value)
        if not math.isnan(seconds):
            return seconds
    raise InvalidArgumentError(f"{name} is a number of seconds")
