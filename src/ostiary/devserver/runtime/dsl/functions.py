"""What every program may call besides actions: functions of values, and the methods of values.

None reaches outside: no file, no network, no attribute of a Python object. Neighbour:
`evaluation` calls them, and bounds what they make.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any, Final

import msgspec

from .values import shape

__all__ = ["CALLABLE", "FUNCTIONS", "METHODS", "NAMESPACES", "WrongUse"]


class WrongUse(Exception):
    """A function was given what it does not take; the message says so."""


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode()


def _wanted(kind: type | tuple[type, ...], value: object, what: str) -> Any:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise WrongUse(f"{what} was expected, not {shape(value)}")
    return value


def _length(value: object) -> int:
    return len(_wanted((str, list, dict), value, "a text, a list or a map"))


def _parse_json(text: object) -> object:
    raw: str = _wanted(str, text, "a text")
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        pass
    raise WrongUse("this text is no JSON")


def _number(value: object) -> int | float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    text: str = _wanted(str, value, "a number or a text")
    try:
        found: object = json.loads(text[:400])
    except ValueError:
        found = None
    if isinstance(found, int | float) and not isinstance(found, bool) and math.isfinite(found):
        return found
    raise WrongUse("this text is no number")


def _round(value: object, digits: object = 0) -> int | float:
    number = _wanted((int, float), value, "a number")
    places = _wanted(int, digits, "a whole number")
    if abs(places) > 15:
        raise WrongUse("at most 15 digits can be asked for")
    rounded: int | float = round(number, places) if places else round(number)
    return rounded


FUNCTIONS: Final[dict[str, Callable[..., object]]] = {
    "Ok": lambda value=None: {"ok": True, "value": value},
    "Err": lambda value=None: {"ok": False, "error": value},
    "Error": lambda value=None: {"ok": False, "error": value},
    "error": lambda value=None: {"ok": False, "error": value},
    "reject": lambda value=None: {"ok": False, "error": value},
    "len": _length,
    "parse_json": _parse_json,
    "json_encode": lambda value: _text(value) if not isinstance(value, str) else json.dumps(value),
    "to_text": _text,
    "to_number": _number,
    "round": _round,
    "abs": lambda value: abs(_wanted((int, float), value, "a number")),
}
"""Functions of their arguments alone."""

NAMESPACES: Final = {"log"}
CALLABLE: Final = frozenset(FUNCTIONS) | {"now", "generate_id", "audit_log", "publish"}
"""What may be called in every program, the actions aside."""


def _split(text: str, by: object = " ") -> list[str]:
    separator: str = _wanted(str, by, "a text")
    if not separator:
        raise WrongUse("a text cannot be split by an empty one")
    return text.split(separator)


def _has(container: Any, value: object) -> bool:
    if isinstance(container, str):
        return _wanted(str, value, "a text") in container
    return value in container


def _join(items: list[Any], by: object = "") -> str:
    separator: str = _wanted(str, by, "a text")
    return separator.join(_text(item) for item in items)


METHODS: Final[dict[type, dict[str, Callable[..., object]]]] = {
    str: {
        "length": _length,
        "contains": _has,
        "starts_with": lambda text, part: text.startswith(_wanted(str, part, "a text")),
        "ends_with": lambda text, part: text.endswith(_wanted(str, part, "a text")),
        "lower": str.lower,
        "upper": str.upper,
        "trim": str.strip,
        "split": _split,
    },
    list: {
        "length": _length,
        "contains": _has,
        "first": lambda items: items[0] if items else None,
        "last": lambda items: items[-1] if items else None,
        "join": _join,
    },
    dict: {
        "length": _length,
        "contains": _has,
        "keys": list,
        "values": lambda found: list(found.values()),
        "get": lambda found, key, default=None: found.get(key, default),
    },
}
"""Methods of values; `append`, `filter`, `map`, `any` and `all` of lists stand in `evaluation`."""
