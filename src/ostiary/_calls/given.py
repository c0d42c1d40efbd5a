"""What callers give, checked before it is sent; each domain refuses with an error of its own.

Absent optional values are left out, never sent as null. Neighbour: `_model`, which checks fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, final

from .._model.model import Model, accept, wire
from ..errors import InvalidArgumentError

__all__ = ["Checks", "given", "members", "still"]

M = TypeVar("M", bound=Model)


@final
class Checks:
    """Checks of single values, which raise `refused`."""

    __slots__ = ("_refused",)

    def __init__(self, refused: type[InvalidArgumentError]) -> None:
        self._refused = refused

    def text(self, name: str, value: object) -> str:
        """Return text that is not empty."""
        if isinstance(value, str) and value:
            return value
        kind = "empty" if isinstance(value, str) else type(value).__name__
        raise self._refused(f"{name} is text, not {kind}; nothing was sent")

    def optional_text(self, name: str, value: object) -> str | None:
        """Return text, or None."""
        return None if value is None else self.text(name, value)

    def whole(self, name: str, value: object, least: int, most: int) -> int:
        """Return a whole number in its bounds."""
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise self._refused(
                f"{name} is a whole number from {least} to {most}; nothing was sent"
            )
        return value


def given(model: type[M], name: str, value: M | Mapping[str, Any]) -> Any:
    """Return what is sent for a request: a `model`, or what a mapping of its fields says.

    Either is checked; an enum's word stands for its member and ISO text for a time.
    """
    try:
        return wire(accept(model, value, name=name))
    finally:
        del value  # a secret, perhaps: a traceback records the locals


def members(**values: object) -> dict[str, object]:
    """Return an object of the values that are given."""
    return {name: value for name, value in values.items() if value is not None}


def still(kind: str, name: str, seen: Any) -> str:
    """Say where something stood when the time for it was over."""
    if seen is None:
        return f"nothing was heard of {kind} {name}"
    return f"{kind} {name} is still {seen.status}"
