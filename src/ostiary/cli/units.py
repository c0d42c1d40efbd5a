"""Sizes, shares and times as people read them."""

from __future__ import annotations

from typing import Final

__all__ = ["milliseconds", "percent", "size", "span"]

_STEPS: Final = (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10))


def size(count: int | None) -> str | None:
    """Return bytes as `1.5 MiB`; None, which is what nobody measured, stays None."""
    if count is None:
        return None
    for unit, step in _STEPS:
        if count >= step:
            return f"{count / step:,.1f} {unit}"
    return f"{count} B"


def percent(share: float | None) -> str | None:
    """Return a percentage with one digit behind the point."""
    return None if share is None else f"{share:.1f} %"


def span(seconds: float | None) -> str | None:
    """Return a length of time as its two greatest units: `3 d 4 h`, `91 s`."""
    if seconds is None:
        return None
    if seconds < 120:
        return f"{seconds:.0f} s"
    left, parts = int(seconds), list[str]()
    for unit, step in (("d", 86400), ("h", 3600), ("min", 60)):
        count, left = divmod(left, step)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])


def milliseconds(count: float | None) -> str | None:
    """Return milliseconds as `0.42 ms`, `812 ms`, `3.2 s`, or as `span` does."""
    if count is None:
        return None
    if count < 10:
        return f"{count:.2g} ms" if count >= 0.01 else "0 ms"
    if count < 1000:
        return f"{count:.0f} ms"
    return f"{count / 1000:.1f} s" if count < 60_000 else span(count / 1000)
