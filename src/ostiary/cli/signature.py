"""What a tool takes, in one line: the arguments of its JSON Schema."""

from __future__ import annotations

from typing import Any, cast

__all__ = ["arguments"]


def arguments(schema: object) -> str:
    """Return the names of a tool's arguments; those that may be left out in brackets."""
    if not isinstance(schema, dict):
        return ""
    found = cast("dict[str, Any]", schema)
    members: object = found.get("properties")
    needed: object = found.get("required")
    if not isinstance(members, dict):
        return ""
    required: list[object] = [*cast("list[object]", needed)] if isinstance(needed, list) else []
    names = [str(name) for name in cast("dict[object, object]", members)]
    return " ".join(name if name in required else f"[{name}]" for name in names)
