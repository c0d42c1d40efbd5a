"""Whether a failed call is tried again, and after how long. No clock, no sleep, no lock.

Also what the two sides of a repeat tell one another over HTTP: `Retry-After`, and the key
by which a peer knows that it has seen a request before.

What may be repeated: a call that the peer refused before running it; a call of which no byte
left; and, after that, only a call that does the same done twice. A deadline that has passed
and a peer that broke the protocol are never tried again.
"""

from __future__ import annotations

import math
import random
import re
from datetime import UTC, datetime
from typing import Final
from uuid import uuid4

import msgspec

from .errors import APIError, DeadlineError, OstiaryError, ProtocolError, TransportError

__all__ = [
    "FIRST_CEILING",
    "LAST_CEILING",
    "RetryBudget",
    "RetryPolicy",
    "new_idempotency_key",
    "retry_after_seconds",
]


FIRST_CEILING: Final = 0.05
LAST_CEILING: Final = 2.0


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
    first_ceiling: float = FIRST_CEILING
    last_ceiling: float = LAST_CEILING
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


_SECONDS: Final = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,9})?")
# RFC 9110, 5.6.7: the form to send, and the two old ones that are still to be read.
_MONTHS: Final = (
    *("jan", "feb", "mar", "apr", "may", "jun"),
    *("jul", "aug", "sep", "oct", "nov", "dec"),
)
_DAY: Final = r"(?P<day>[0-9 ][0-9])"
_MONTH: Final = r"(?P<month>[a-z]{3})"
_CLOCK: Final = r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
_DATES: Final = tuple(
    re.compile(form, re.IGNORECASE)
    for form in (
        rf"[a-z]{{3}}, {_DAY} {_MONTH} (?P<year>[0-9]{{4}}) {_CLOCK} GMT",
        rf"[a-z]{{6,9}}, {_DAY}-{_MONTH}-(?P<year>[0-9]{{2}}) {_CLOCK} GMT",
        rf"[a-z]{{3}} {_MONTH} {_DAY} {_CLOCK} (?P<year>[0-9]{{4}})",
    )
)


def retry_after_seconds(value: str, date: str | None, now: float) -> float | None:
    """Read a `Retry-After`, in either of its forms, as seconds from now; None if it is neither.

    A point in time is compared with `date`, what the peer's own clock showed, so that a clock
    which is wrong here does no harm; without one, with `now`, in seconds since the epoch.
    """
    value = value.strip()
    if _SECONDS.fullmatch(value):
        return float(value)
    moment = _moment(value, now)
    if moment is None:
        return None
    said = _moment(date.strip(), now) if date is not None else None
    return max(0.0, moment - (now if said is None else said))


def _moment(text: str, now: float) -> float | None:
    for form in _DATES:
        found = form.fullmatch(text)
        if found is None:
            continue
        month, year = found["month"].lower(), int(found["year"])
        if month not in _MONTHS:
            return None
        if len(found["year"]) == 2:
            # Of the years that end so, the last that is at most 50 years ahead.
            this = datetime.fromtimestamp(now, UTC).year
            year += (this + 50 - year) // 100 * 100
        # A leap second is the next minute's first; datetime has no 60.
        second = int(found["second"])
        try:
            moment = datetime(
                year,
                _MONTHS.index(month) + 1,
                int(found["day"]),
                int(found["hour"]),
                int(found["minute"]),
                min(second, 59),
                tzinfo=UTC,
            )
        except ValueError:
            return None
        return moment.timestamp() + (second == 60) if second <= 60 else None
    return None


def new_idempotency_key() -> str:
    """Return a key that no other call has had: a random UUID."""
    return str(uuid4())
