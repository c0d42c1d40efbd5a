"""What may be told of a tool's arguments: everything but what a name says is secret."""

from __future__ import annotations

import re
from typing import Any, Final, cast

__all__ = ["redacted"]

_SECRET: Final = re.compile(
    r"pass(word|wd|phrase)?$|^pass|secret|token|auth|credential|api[_-]?key|private|cookie|signature",
    re.IGNORECASE,
)
_HIDDEN: Final = "**********"
_DEEPEST: Final = 32
_LONGEST: Final = 1024


def redacted(value: Any, depth: int = 0) -> Any:
    """Return a copy without what is secret by its name, at any depth, in lists too."""
    if depth > _DEEPEST:
        return "..."
    if isinstance(value, dict):
        return {
            name: _HIDDEN if _SECRET.search(str(name)) else redacted(one, depth + 1)
            for name, one in cast("dict[str, Any]", value).items()
        }
    if isinstance(value, list):
        return [redacted(one, depth + 1) for one in cast("list[object]", value)]
    if isinstance(value, str) and len(value) > _LONGEST:
        return value[:_LONGEST] + "..."
    return value
