"""What a client was granted and has not given back. No I/O; its clock counts suspend.

Ids are kept in the order they were granted, and dropped when they have surely expired, so
that a client which never releases stays bounded by what the vault still holds for it.
"""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime, timedelta
from typing import Final

from .._io.sockets import forget_after_fork
from .models import Time, read_time

__all__ = ["LeaseLedger", "clock", "expiry", "lifetime"]

_FIRST_SWEEP: Final = 256


def clock() -> float:
    """Return seconds on a clock that no one sets and that runs on while the machine sleeps."""
    return _read_clock()


if hasattr(time, "CLOCK_BOOTTIME"):

    def _read_clock() -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

else:  # macOS: monotonic stops in sleep, and an expired lease is then released for nothing
    _read_clock = time.monotonic


def lifetime(ttl: float | None, expires_at: Time | None) -> float:
    """Return how many seconds a grant lasts from now; infinity when the vault did not say."""
    if ttl is not None:
        return float(ttl)
    moment = read_time(expires_at)
    if moment is None:
        return math.inf
    return (moment - datetime.now(UTC)).total_seconds()


def expiry(ttl: float | None, expires_at: Time | None) -> datetime | None:
    """Return when a grant ends by wall clock; None when the vault did not say."""
    moment = read_time(expires_at)
    if moment is None and ttl is not None:
        try:
            return datetime.now(UTC) + timedelta(seconds=ttl)
        except (OverflowError, ValueError):
            return None
    return moment


class LeaseLedger:
    """The leases of one client. Every method is one step for the GIL or tolerates races."""

    __slots__ = ("__weakref__", "_ends", "_sweep_at")

    def __init__(self) -> None:
        self._ends: dict[str, float] = {}
        self._sweep_at = _FIRST_SWEEP
        forget_after_fork(self)

    def __len__(self) -> int:
        return len(self._ends)

    def add(self, lease_id: str, seconds: float) -> None:
        """Remember a lease that ends in so many seconds."""
        self._ends[lease_id] = clock() + seconds
        if len(self._ends) >= self._sweep_at:
            now = clock()
            for known, end in list(self._ends.items()):
                if end <= now:
                    self._ends.pop(known, None)
            self._sweep_at = max(_FIRST_SWEEP, 2 * len(self._ends))

    def forget(self, lease_id: str) -> None:
        """Drop a lease that was given back; an unknown one is ignored."""
        self._ends.pop(lease_id, None)

    def take(self) -> list[str]:
        """Return the ids that have not expired, oldest first, and forget them all."""
        ends, self._ends = self._ends, {}
        now = clock()
        return [lease_id for lease_id, end in ends.items() if end > now]

    def abandon(self) -> None:
        """In a forked child: these are the parent's to give back."""
        self._ends = {}
