"""The two clocks of the vault, replaceable as one.

Neighbour: everything here that expires asks a `Clock`, never the `time` module.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

__all__ = ["Clock", "iso"]

# Leases must run out while a laptop sleeps. Linux's CLOCK_MONOTONIC stops in suspend and
# CLOCK_BOOTTIME does not; on macOS it is the clock *called* CLOCK_MONOTONIC that goes on
# (and `time.monotonic` that stops).
_STEADY: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def _steady() -> float:
    return time.clock_gettime(_STEADY)


class Clock(msgspec.Struct, frozen=True):
    """`steady` never jumps and counts suspended time; `wall` is the date."""

    steady: Callable[[], float] = _steady
    wall: Callable[[], float] = time.time


def iso(moment: float) -> str:
    """Return Unix seconds as ISO-8601 text in UTC, to the millisecond."""
    text = datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")
    return text[:-6] + "Z"
