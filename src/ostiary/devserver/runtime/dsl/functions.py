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


def _ok(value: object = None) -> dict[str, object]:
    return {"ok": True, "value": value}


def _failed(value: object = None) -> dict[str, object]:
    return {"ok": False, "error": value}


def _absolute(value: object) -> int | float:
    number: int | float = _wanted((int, float), value, "a number")
    return abs(number)


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


FUNCTIONS: Final[dict[str, Callable[..., object]]] = {
    "Ok": _ok,
    "Err": _failed,
    "Error": _failed,
    "error": _failed,
    "reject": _failed,
    "len": _length,
    "parse_json": _parse_json,
    "json_encode": _json,
    "to_text": _text,
    "to_number": _number,
    "round": _round,
    "abs": _absolute,
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


def _starts(text: str, part: object) -> bool:
    return text.startswith(_wanted(str, part, "a text"))


def _ends(text: str, part: object) -> bool:
    return text.endswith(_wanted(str, part, "a text"))


def _first(items: list[Any]) -> Any:
    return items[0] if items else None


def _last(items: list[Any]) -> Any:
    return items[-1] if items else None


def _keys(found: dict[str, Any]) -> list[str]:
    return list(found)


def _values(found: dict[str, Any]) -> list[Any]:
    return list(found.values())


def _get(found: dict[str, Any], key: str, default: Any = None) -> Any:
    return found.get(key, default)


METHODS: Final[dict[type, dict[str, Callable[..., object]]]] = {
    str: {
        "length": _length,
        "contains": _has,
        "starts_with": _starts,
        "ends_with": _ends,
        "lower": str.lower,
        "upper": str.upper,
        "trim": str.strip,
        "split": _split,
    },
    list: {
        "length": _length,
        "contains": _has,
        "first": _first,
        "last": _last,
        "join": _join,
    },
    dict: {
        "length": _length,
        "contains": _has,
        "keys": _keys,
        "values": _values,
        "get": _get,
    },
}
"""Methods of values; `append`, `filter`, `map`, `any` and `all` of lists stand in `evaluation`."""
