"""Numbers with units, and durations as they are written in either dialect."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["UNITS", "seconds"]

UNITS: Final[dict[str, float]] = {
    "ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0,
    "w": 604800.0, "y": 31536000.0,
    "B": 1.0, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
    "KiB": 1024.0, "MiB": 1024.0**2, "GiB": 1024.0**3, "TiB": 1024.0**4,
}  # fmt: skip
"""Units of a number, in seconds and in bytes."""

_DURATIONS: Final = {"ns", "us", "ms", "s", "m", "h", "d", "w", "y"}
_LONG_UNITS: Final = {
    "": "s", "second": "s", "seconds": "s", "minute": "m", "minutes": "m", "hour": "h",
    "hours": "h", "day": "d", "days": "d", "week": "w", "weeks": "w", "year": "y", "years": "y",
    "milliseconds": "ms",
}  # fmt: skip


def seconds(value: object) -> float | None:
    """Return a duration in seconds, or None: `30s`, `30.seconds`, `"60"` and 60."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value)
    if not isinstance(value, str):
        return None
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\.?([A-Za-z]*)", value.strip())
    if match is None:
        return None
    unit = _LONG_UNITS.get(match[2], match[2])
    factor = UNITS.get(unit) if unit in _DURATIONS else None
    return None if factor is None else float(match[1]) * factor
