"""Declarations as plain data, and the calls that a block makes.

Neighbours: `compiler` asks; `evaluation` gives values to what runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, TypeGuard, cast

import msgspec

from . import tree

__all__ = ["dotted", "encoded", "is_list", "is_map", "kind_of", "plain", "shape", "words"]

_SHAPES: Final[dict[type, str]] = {
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "a text",
    list: "a list",
    dict: "a map",
    type(None): "null",
}


def is_map(value: object) -> TypeGuard[dict[str, Any]]:
    """Tell whether a JSON value is a map."""
    return isinstance(value, dict)


def is_list(value: object) -> TypeGuard[list[Any]]:
    """Tell whether a JSON value is a list."""
    return isinstance(value, list)


def plain(node: tree.Expression | tree.Value, source: str) -> object:
    """Return a declared value as JSON data.

    Names and dotted names are texts, and so are quantities such as `30s`; whatever has to be
    evaluated first is the text of it.
    """
    if isinstance(node, tree.Value):
        if node.tails:
            return source[node.at.start : node.at.end]
        node = node.expression
    if isinstance(node, tree.Literal):
        return node.value
    if isinstance(node, tree.Name):
        return node.name
    if isinstance(node, tree.ListValue):
        return [
            plain(item.value, source) if item.name is None else source[item.at.start : item.at.end]
            for item in node.items
        ]
    if isinstance(node, tree.MapValue):
        if any(entry.key is None for entry in node.entries):
            return [plain(entry.value, source) for entry in node.entries]
        return {str(entry.key): plain(entry.value, source) for entry in node.entries}
    if isinstance(node, tree.Unary) and node.operators == ["-"]:
        operand = plain(node.operand, source)
        if isinstance(operand, int | float) and not isinstance(operand, bool):
            return -operand
    return source[node.at.start : node.at.end]


def dotted(node: tree.Expression) -> tuple[str, list[tree.Trailer]]:
    """Return the dotted name that an expression begins with, '' if none, and what is behind."""
    if isinstance(node, tree.Name):
        return node.name, []
    if not isinstance(node, tree.Postfix) or not isinstance(node.base, tree.Name):
        return "", []
    parts = [node.base.name]
    for number, trailer in enumerate(node.trailers):
        if not isinstance(trailer, tree.Member):
            return ".".join(parts), node.trailers[number:]
        parts.append(trailer.name)
    return ".".join(parts), []


def words(node: object) -> Iterator[tuple[str, tree.Node]]:
    """Yield each call of a bare name below a node, `name` and `namespace.name`, with its place.

    Calls of a value's own methods are not among them.
    """
    waiting: list[object] = [node]
    while waiting:
        each = waiting.pop()
        if isinstance(each, list | tuple) and not isinstance(each, tree.At):
            waiting.extend(reversed(cast("list[object]", each)))
            continue
        if not isinstance(each, tree.Node):
            continue
        if isinstance(each, tree.Postfix):
            name, behind = dotted(each)
            if name and behind and isinstance(behind[0], tree.Call):
                head = name.split(".")
                if len(head) <= 2:
                    yield name, each
        fields = [getattr(each, field) for field in each.__struct_fields__ if field != "at"]
        waiting.extend(reversed(fields))


def shape(value: object) -> str:
    """Return what kind of value this is, in the language's words."""
    return _SHAPES.get(kind_of(value), "a value")


def kind_of(value: object) -> type:
    """Return the Python type of a JSON value."""
    return type(value)


def encoded(value: object) -> str:
    """Return a value as JSON text."""
    return msgspec.json.encode(value).decode()
