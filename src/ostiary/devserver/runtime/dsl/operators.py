"""What operators do with values, and how large a value may become.

Neighbour: `evaluation` asks at every step.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

from .tree import At
from .values import is_list, is_map, shape

__all__ = ["MOST_BUILT", "RunError", "as_text", "is_ok", "operate", "same", "weighed"]

MOST_BUILT: Final = 8 * 1024 * 1024
"""Bytes that one run may build, and that one value may have."""

_LARGEST_INTEGER: Final = 2**63
_DEEPEST: Final = 100


class RunError(Exception):
    """A run that cannot go on; `line` and `column` say where in the source, 0 nowhere.

    `kind` is failed, denied or exhausted. Programs may catch what failed.
    """

    def __init__(self, message: str, at: At | None = None, *, kind: str = "failed") -> None:
        super().__init__(message)
        self.message = message
        self.line = 0 if at is None else at.line
        self.column = 0 if at is None else at.column
        self.kind = kind


def operate(operator: str, left: Any, right: Any, at: At, builds: Callable[[int, At], None]) -> Any:
    """Return what a binary operator makes of two values; `builds` is told how much is new."""
    if operator == "==":
        return same(left, right)
    if operator == "!=":
        return not same(left, right)
    if operator == "in":
        if isinstance(right, str) and isinstance(left, str):
            return left in right
        if is_map(right):
            return isinstance(left, str) and left in right
        if is_list(right):
            return any(same(left, each) for each in right)
        raise RunError(f"'in' looks into a list, a map or a text, not {shape(right)}", at)
    if operator == "+":
        if isinstance(left, str) and isinstance(right, str | int | float):
            return _joined(left, right, at, builds)
        if isinstance(left, int | float) and isinstance(right, str):
            return _joined(left, right, at, builds)
        if is_list(left) and is_list(right):
            both = [*left, *right]
            builds(8 * len(both), at)
            return both
    numbers = _are_numbers(left, right)
    if operator in {"<", "<=", ">", ">="}:
        if not numbers and not (isinstance(left, str) and isinstance(right, str)):
            raise RunError(f"{shape(left)} and {shape(right)} have no order", at)
        return _ORDER[operator](left, right)
    if not numbers:
        raise RunError(f"'{operator}' is not for {shape(left)} and {shape(right)}", at)
    return _arithmetic(operator, left, right, at)


def _joined(left: Any, right: Any, at: At, builds: Callable[[int, At], None]) -> str:
    text = f"{as_text(left)}{as_text(right)}"
    builds(len(text), at)
    return text


_ORDER: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
}


def is_ok(value: Any) -> bool:
    """Tell whether a value is what `Ok` makes."""
    return is_map(value) and value.get("ok") is True and "value" in value


def _are_numbers(left: Any, right: Any) -> bool:
    return all(
        isinstance(each, int | float) and not isinstance(each, bool) for each in (left, right)
    )


def same(left: Any, right: Any) -> bool:
    """Tell whether two values are equal; true is not 1."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    return bool(left == right)


def as_text(value: Any) -> str:
    """Return a text, number or boolean as a text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _arithmetic(operator: str, left: Any, right: Any, at: At) -> Any:
    try:
        if operator == "+":
            value = left + right
        elif operator == "-":
            value = left - right
        elif operator == "*":
            value = left * right
        elif operator == "/":
            value = left / right
        else:
            value = left % right
    except ZeroDivisionError:
        raise RunError("division by zero", at) from None
    except OverflowError:
        raise RunError("this number is too large", at) from None
    if isinstance(value, float):
        if not math.isfinite(value):
            raise RunError("this number is too large", at)
    elif abs(value) >= _LARGEST_INTEGER:
        raise RunError("this number is too large", at)
    return value


def weighed(value: object, at: At | None = None) -> int:
    """Return roughly how many bytes a value has, each occurrence counted; refuse what is huge.

    Values that hold themselves, and those that only a recursive reader would come to the end
    of, are refused as well.
    """
    total = 0
    waiting: list[tuple[object, int]] = [(value, 0)]
    while waiting:
        each, depth = waiting.pop()
        total += 16
        if isinstance(each, str):
            total += len(each)
        elif is_list(each):
            waiting.extend((item, depth + 1) for item in each)
        elif is_map(each):
            for key, item in each.items():
                total += len(key)
                waiting.append((item, depth + 1))
        if total > MOST_BUILT or depth > _DEEPEST or len(waiting) > MOST_BUILT // 16:
            raise RunError("this value is too large", at, kind="exhausted")
    return total
