"""Date-times as servers write them: RFC 3339 first, and the other forms that are in use.

Also epoch numbers in seconds or milliseconds, bare dates, and any number of fraction digits,
of which six are kept. What has no offset stays without one when it is read.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

__all__ = ["sent", "understood"]

_TEXT: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)"
    r"(?:[Tt _](\d\d:\d\d(?::\d\d)?)(?:[.,](\d+))?\s*([Zz]|[+-]\d\d(?::?\d\d)?)?)?"
)
_NUMBER: Final = re.compile(r"[+-]?\d{1,17}(?:\.\d+)?")
# Seconds beyond this are milliseconds: it is the year 2603.
_MOST_SECONDS: Final = 2e10


def understood(value: object) -> datetime | None:
    """Return the date-time that `value` says, or None when it says none."""
    if isinstance(value, datetime):
        return value
    try:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            seconds = value / 1000 if abs(value) > _MOST_SECONDS else value
            return datetime.fromtimestamp(seconds, UTC)
        if not isinstance(value, str):
            return None
        text = value.strip()
        if _NUMBER.fullmatch(text):
            return understood(float(text))
        found = _TEXT.fullmatch(text)
        if found is None:
            return None
        day, clock, fraction, offset = found.groups()
        written = f"{day}T{clock or '00:00'}"
        if fraction and clock.count(":") == 2:
            written += f".{fraction[:6]:0<6}"
        return datetime.fromisoformat(written + (offset or "").upper())
    except (ValueError, OverflowError, OSError):
        return None


def sent(value: datetime) -> datetime:
    """Return what is sent for `value`: local time where it names no offset."""
    return value.astimezone() if value.tzinfo is None else value
