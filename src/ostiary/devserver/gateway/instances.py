"""An instance of a JSON schema, filled from a text; the same text gives the same instance.

Numbers are taken from the text in their order, strings from what stands in quotes, then the
text itself. It aims at what models are asked for, and not at every keyword there is: a
`pattern` is not looked at. Neighbour: `echo` uses it for tool calls and structured output.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any, Final, TypeGuard, final

__all__ = ["LONGEST", "Filler", "is_list", "is_object", "quoted", "words"]

_NUMBER: Final = re.compile(r"(?<![\w.])-?[0-9]{1,15}(?:\.[0-9]{1,15})?(?![\w])")
_QUOTED: Final = re.compile(
    r"\"([^\"\n]{1,2000})\"|(?<!\w)'([^'\n]{1,2000})'(?!\w)|“([^”\n]{1,2000})”"
    r"|‘([^’\n]{1,2000})’|「([^」\n]{1,2000})」|`([^`\n]{1,2000})`"
)
_WORD: Final = re.compile(r"[^\W_]+")
_DEEPEST: Final = 24
_MOST: Final = 1000  # items or characters that a schema may ask for at the least
_LARGEST: Final = 10_000  # values in one instance
_LOOKS: Final = 200_000  # parts of a schema that are looked at, each time that they are
LONGEST: Final = 20_000
"""Characters of a text that are looked through."""

_FORMATS: Final = {
    "date-time": "2026-01-02T03:04:05Z",
    "date": "2026-01-02",
    "time": "03:04:05Z",
    "duration": "P1D",
    "email": "someone@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "url": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def quoted(text: str) -> list[str]:
    """Return what stands in quotes, in order."""
    return [next(filter(None, match)) for match in _QUOTED.findall(text[:LONGEST])]


def words(text: str) -> list[str]:
    """Return the words of a text in lower case."""
    return [word.lower() for word in _WORD.findall(text)]


@final
class Filler:
    """One instance of `schema`, its root; references are looked up there."""

    def __init__(self, schema: dict[str, Any], text: str) -> None:
        text = text[:LONGEST]
        self._root = schema
        self._text = " ".join(text.split()) or "nothing was said"
        self._words = set(words(text))
        self._numbers: Iterator[float] = iter([float(n) for n in _NUMBER.findall(text)])
        self._strings = iter(quoted(text))
        self._open: list[str] = []
        self._left = _LARGEST
        self._looks = _LOOKS

    def fill(self) -> Any:
        """Return the instance; `ValueError` when the schema is none, or asks for too much."""
        try:
            return self._value(self._root, 0)
        except (TypeError, AttributeError, ValueError, RecursionError, OverflowError):
            pass
        raise ValueError("the schema cannot be read")

    def _look(self, parts: int) -> None:
        self._looks -= parts
        if self._looks < 0:
            raise ValueError("the schema is too large")

    def _value(self, schema: Any, depth: int) -> Any:
        self._left -= 1
        if self._left < 0:
            raise ValueError("the instance is too large")
        if not is_object(schema):
            return self._text  # `true` allows everything
        reference = schema.get("$ref")
        if isinstance(reference, str):
            self._open.append(reference)
            try:
                return self._value(self._at(reference), depth + 1)
            finally:
                self._open.pop()
        if "const" in schema:
            return schema["const"]
        values = schema.get("enum")
        if is_list(values) and values:
            return self._one_of(values)
        for branches in (schema.get("anyOf"), schema.get("oneOf")):
            if is_list(branches) and branches:
                return self._value(self._branch(branches, depth), depth + 1)
        parts = schema.get("allOf")
        if is_list(parts):
            merged = {name: value for name, value in schema.items() if name != "allOf"}
            for part in parts:
                self._look(
                    sum(
                        len(one) if is_object(one) or is_list(one) else 1 for one in merged.values()
                    )
                )
                merged = _merge(merged, self._resolved(part))
            return self._value(merged, depth + 1)
        return self._typed(schema, depth)

    def _typed(self, schema: dict[str, Any], depth: int) -> Any:
        kind: Any = schema.get("type")
        if is_list(kind):
            kinds = [one for one in kind if one != "null"]
            kind = kinds[0] if kinds else "null"
        if kind is None:
            kind = "object" if "properties" in schema else "array" if "items" in schema else None
        if kind == "object":
            return self._object(schema, depth)
        if kind == "array":
            return self._array(schema, depth)
        if kind in {"integer", "number"}:
            return self._number(schema, whole=kind == "integer")
        if kind == "boolean":
            return "false" not in self._words
        if kind == "null":
            return None
        return self._string(schema)

    def _object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        properties = schema.get("properties")
        found: dict[str, Any] = {}
        if is_object(properties):
            listed: Any = schema.get("required") or ()
            self._look(len(properties) + len(listed))
            required = frozenset(listed)
            for name, each in properties.items():
                # Where it is deep, what may be left out is: schemas may contain themselves.
                if name in required or (depth < _DEEPEST and not self._repeats(each)):
                    found[name] = self._value(each, depth + 1)
        extra = schema.get("additionalProperties")
        if not found and is_object(extra):
            for name in [*quoted(self._text), "key"][: max(1, schema.get("minProperties") or 1)]:
                found[name] = self._value(extra, depth + 1)
        return found

    def _array(self, schema: dict[str, Any], depth: int) -> list[Any]:
        first = schema.get("prefixItems")
        found = [self._value(each, depth + 1) for each in first] if is_list(first) else []
        least = min(schema.get("minItems") or 0, _MOST)
        items = schema.get("items", {} if not found else None)
        if items is None or items is False:
            return found
        wanted = max(least, 0 if self._repeats(items) or depth >= _DEEPEST else 1)
        most = schema.get("maxItems")
        if isinstance(most, int):
            wanted = min(wanted, most)
        while len(found) < wanted:
            found.append(self._value(items, depth + 1))
        return found

    def _number(self, schema: dict[str, Any], *, whole: bool) -> float:
        for number in self._numbers:
            if (not whole or number.is_integer()) and _fits(number, schema):
                return int(number) if whole or number.is_integer() else number
        if isinstance(schema.get("default"), int | float):
            return float(schema["default"]) if not whole else int(schema["default"])
        step = schema.get("multipleOf") or 1
        low = schema.get("minimum", schema.get("exclusiveMinimum", -math.inf))
        high = schema.get("maximum", schema.get("exclusiveMaximum", math.inf))
        # One, or what is next to the bound that forbids it.
        start = max(min(1, high), low)
        value = math.ceil(start / step) * step
        for candidate in (value, value + step, value - step, start):
            if _fits(candidate, schema):
                return int(candidate) if whole else candidate
        return int(start) if whole else start

    def _string(self, schema: dict[str, Any]) -> str:
        fixed = _FORMATS.get(schema.get("format", ""))
        if fixed is not None:
            return fixed
        text = next(self._strings, self._text)
        most = schema.get("maxLength")
        if isinstance(most, int):
            text = text[:most]
        return text.ljust(min(schema.get("minLength") or 0, _MOST), ".")

    def _one_of(self, values: list[Any]) -> Any:
        self._look(len(values))
        for value in values:
            if isinstance(value, str) and value and set(words(value)) <= self._words:
                return value
        return values[0]

    def _branch(self, branches: list[Any], depth: int) -> Any:
        """Choose the first that says something, or null where the schema would repeat."""
        self._look(len(branches))
        nulls: list[Any] = []
        others: list[Any] = []
        for one in branches:
            (nulls if is_object(one) and one.get("type") == "null" else others).append(one)
        for one in others:
            if depth < _DEEPEST and not self._repeats(one):
                return one
        return nulls[0] if nulls else others[0]

    def _repeats(self, schema: Any) -> bool:
        """Whether a schema leads back into one that is being filled."""
        self._look(1)
        if not is_object(schema):
            return False
        if schema.get("$ref") in self._open or schema.get("$ref") == "#":
            return True
        inner: list[Any] = [*(schema.get("anyOf") or ()), *(schema.get("oneOf") or ())]
        if "items" in schema:
            inner.append(schema["items"])
        return any(self._repeats(one) for one in inner)

    def _resolved(self, schema: Any) -> Any:
        if not is_object(schema):
            return {}
        reference = schema.get("$ref")
        return self._at(reference) if isinstance(reference, str) else schema

    def _at(self, reference: str) -> Any:
        """Return what a JSON pointer into the root means; an unknown one allows everything."""
        if len(self._open) > _DEEPEST * 4 or not reference.startswith("#"):
            return {}
        found: Any = self._root
        for part in reference[1:].split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            found = found.get(key) if is_object(found) else None
        return found if found is not None else {}


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def is_list(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def _merge(one: dict[str, Any], other: Any) -> dict[str, Any]:
    if not is_object(other):
        return one
    merged: dict[str, Any] = {**one, **other}
    for keyword in ("properties", "$defs"):
        if keyword in one and keyword in other:
            merged[keyword] = {**one[keyword], **other[keyword]}
    if "required" in one and "required" in other:
        merged["required"] = [*one["required"], *other["required"]]
    return merged


def _fits(number: float, schema: dict[str, Any]) -> bool:
    return (
        number >= schema.get("minimum", -math.inf)
        and number <= schema.get("maximum", math.inf)
        and number > schema.get("exclusiveMinimum", -math.inf)
        and number < schema.get("exclusiveMaximum", math.inf)
        and (not schema.get("multipleOf") or math.isclose(number % schema["multipleOf"], 0.0))
    )
