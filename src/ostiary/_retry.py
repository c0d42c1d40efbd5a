"""Whether a failed call is tried again, and after how long. No clock, no sleep, no lock.

What may be repeated: a call that the peer refused before running it; a call of which no byte
left; and, after that, only a call that does the same done twice. A deadline that has passed
and a peer that broke the protocol are never tried again.
"""

from __future__ import annotations

import math
import random

import msgspec

from .errors import APIError, DeadlineError, OstiaryError, ProtocolError, TransportError

__all__ = ["RetryBudget", "RetryPolicy"]


class RetryBudget:
    """How many retries a client still has: each costs `COST`, each good call earns 1 back.

    When a service is down, every call fails; without this, each would also be repeated.
    """

    __slots__ = ("_tokens",)

    CAPACITY = 500.0
    COST = 10.0

    def __init__(self) -> None:
        self._tokens = self.CAPACITY

    def spend(self) -> bool:
        """Take one retry; False when there is none left."""
        if self._tokens < self.COST:
            return False
        self._tokens -= self.COST
        return True

    def earn(self) -> None:
        """Note a call that went well."""
        if self._tokens < self.CAPACITY:
            self._tokens += 1.0


class RetryPolicy(msgspec.Struct, frozen=True):
    """How often, and after how long. Delays are seconds, drawn evenly from 0 to the ceiling."""

    max_retries: int = 3
    first_ceiling: float = 0.05
    last_ceiling: float = 2.0
    longest_wait: float = 60.0
    """The most a peer's own `retry_after` can ask for."""

    def delay(
        self,
        error: OstiaryError,
        attempt: int,
        left: float,
        budget: RetryBudget,
        *,
        repeatable: bool,
    ) -> float | None:
        """Return how long to wait before the next attempt, or None to give up.

        `attempt` counts from 0, `left` is the seconds until the call's deadline.
        """
        if attempt >= self.max_retries or not _may_repeat(error, repeatable):
            return None
        asked = error.retry_after if isinstance(error, APIError) else None
        if asked is not None and 0 <= asked < math.inf:
            if asked > self.longest_wait:
                return None
            # Everyone who was refused together was told the same time.
            delay = asked + random.random() * min(asked, 1.0) * 0.25
        else:
            ceiling = min(self.first_ceiling * 2.0 ** min(attempt, 30), self.last_ceiling)
            delay = random.random() * ceiling
        if delay >= left or not budget.spend():
            return None
        return delay


def _may_repeat(error: OstiaryError, repeatable: bool) -> bool:
    if isinstance(error, (DeadlineError, ProtocolError)) or not error.retryable:
        return False
    if isinstance(error, TransportError):
        return repeatable or not error.sent
    # 429 says that it did not run; 502, 503 and 504 do not.
    return repeatable or getattr(error, "status", None) == 429
