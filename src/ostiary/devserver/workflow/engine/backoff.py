"""How long is waited before a task is tried again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ....workflow.models import RetryConfig

__all__ = ["LONGEST", "attempts", "delay"]

LONGEST: Final = 60.0
"""Seconds; no wait is longer, whatever a task says."""

_BACKOFF_MS: Final = 1000
_MULTIPLIER: Final = 2.0


def attempts(retry: RetryConfig | None) -> int:
    """Return how often a task is tried, the first try included."""
    return 1 if retry is None else retry.max_attempts


def delay(retry: RetryConfig | None, attempt: int, random: Callable[[], float]) -> float:
    """Return the seconds to wait after a failed attempt, the first being 1.

    The base is `backoff_ms` times the multiplier to the power of attempt - 1; a multiplier of
    0 keeps it constant. With jitter it becomes half of that to one and a half. `random` gives
    numbers from 0 up to 1.
    """
    base = float(_BACKOFF_MS if retry is None else retry.backoff_ms)
    multiplier = _MULTIPLIER if retry is None else retry.backoff_multiplier
    if multiplier is None:
        multiplier = _MULTIPLIER
    most = LONGEST
    if retry is not None and retry.max_backoff_ms is not None:
        most = min(most, retry.max_backoff_ms / 1000)
    if multiplier:
        try:
            base *= multiplier ** (attempt - 1)
        except OverflowError:
            base = float("inf")
    seconds = base / 1000
    if retry is None or retry.jitter is not False:
        seconds *= 0.5 + random()
    return min(seconds, most)
