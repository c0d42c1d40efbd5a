"""A tool taken apart: what it says, which parameters it has, and the shape of its schema.

One bounded walk, so that no schema costs more than its share; nothing is judged here.
Neighbour: `rules` judges what was read.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, cast, final

import msgspec

__all__ = ["Parameter", "Reading", "Said", "plain", "read"]

# What is larger is a finding of its own, and is read this far.
STEPS: Final = 20_000
DEPTH: Final = 64
TEXT: Final = 20_000
LETTERS: Final = 200_000
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_WORD: Final = re.compile(r"[^\W_]+")
_COMBINED: Final = ("allOf", "anyOf", "oneOf", "prefixItems")
_SINGLE: Final = (
    *("items", "additionalProperties", "contains", "propertyNames", "not", "if", "then", "else"),
    *("unevaluatedItems", "unevaluatedProperties"),
)
_NAMED: Final = ("patternProperties", "$defs", "definitions", "dependentSchemas")


class Said(msgspec.Struct, frozen=True):
    """A text and where it stands; a `value` is sent to the tool, a `name` is a name."""

    where: str
    text: str
    kind: Literal["prose", "value", "name"]

    @property
    def plain(self) -> str:
        return plain(self.text)


class Parameter(msgspec.Struct, frozen=True):
    """One property of an object; `schema` is what its reference leads to, if it has one."""

    where: str
    name: str
    words: tuple[str, ...]
    schema: Mapping[str, Any]

    @property
    def types(self) -> frozenset[str]:
        """The JSON types it may have; empty when the schema does not say."""
        return types_of(self.schema)

    @property
    def is_text(self) -> bool:
        return "string" in self.types or (not self.types and not self.described)

    @property
    def described(self) -> bool:
        """Whether anything says what its values are."""
        told = {"$ref", "const", "enum", "type", *_COMBINED}
        return not told.isdisjoint(self.schema)

    @property
    def chosen(self) -> bool:
        """Whether its values are listed, or held to a pattern."""
        return not {"const", "enum", "pattern"}.isdisjoint(self.schema)


@final
class Reading:
    """Everything that was read of one tool."""

    def __init__(self, tool: Mapping[str, Any]) -> None:
        self.tool = tool
        self.schema: Mapping[str, Any] = tool["schema"]
        self.provider: Mapping[str, Any] = tool["provider"]
        self.said: list[Said] = []
        self.parameters: list[Parameter] = []
        self.objects: list[tuple[str, Mapping[str, Any]]] = []
        self.lists: list[tuple[str, Mapping[str, Any]]] = []
        self.patterns: list[tuple[str, str]] = []
        self.references: list[tuple[str, str]] = []
        self.dangling: list[str] = []
        self.recursive: list[str] = []
        self.nodes = 0
        self.steps = 0
        self.depth = 0
        self.letters = 0
        self.cut = False

    @property
    def prose(self) -> Iterator[Said]:
        """What is meant to be read."""
        return (one for one in self.said if one.kind == "prose")

    @property
    def values(self) -> Iterator[Said]:
        """What is meant to be sent."""
        return (one for one in self.said if one.kind == "value")


def read(tool: Mapping[str, Any]) -> Reading:
    """Take a tool apart; it has `name`, `description`, `schema` and `provider`."""
    reading = Reading(tool)
    _say(reading, "name", tool["name"], "name")
    _say(reading, "description", tool["description"], "prose")
    _say(reading, "provider.name", tool["provider"].get("name"), "name")
    _say(reading, "provider.public_key_url", tool["provider"].get("public_key_url"), "value")
    for name, value in tool.items():
        if name not in {"name", "description", "schema", "provider"}:
            _values(reading, name, value, "prose")
    _node(reading, "schema", tool["schema"], 0)
    return reading


def plain(text: str) -> str:
    """Return text as a model would understand it: one width, one case, nothing invisible."""
    known = unicodedata.normalize("NFKC", text[:TEXT])
    shown = "".join(one for one in known if unicodedata.category(one) != "Cf")
    return " ".join(shown.casefold().split())


def words_of(name: str) -> tuple[str, ...]:
    """Return the words of a name, however it joins them."""
    return tuple(_WORD.findall(_CAMEL.sub("_", plain_name(name)).casefold()))


def plain_name(name: str) -> str:
    return unicodedata.normalize("NFKC", name[:256])


def types_of(schema: Mapping[str, Any]) -> frozenset[str]:
    found = schema.get("type")
    if isinstance(found, str):
        return frozenset([found])
    if isinstance(found, list):
        return frozenset(one for one in cast("list[object]", found) if isinstance(one, str))
    return frozenset()


def _say(
    reading: Reading, where: str, text: object, kind: Literal["prose", "value", "name"]
) -> None:
    if not isinstance(text, str) or not text:
        return
    reading.letters += min(len(text), TEXT)
    if len(text) > TEXT or reading.letters > LETTERS:
        reading.cut = True
    if reading.letters <= LETTERS:
        reading.said.append(Said(where, text, kind))


def _values(
    reading: Reading,
    where: str,
    value: object,
    kind: Literal["prose", "value"] = "value",
    depth: int = 0,
) -> None:
    """Note every text inside a value."""
    reading.steps += 1
    if reading.steps > STEPS or depth > DEPTH:
        reading.cut = True
        return
    if isinstance(value, str):
        _say(reading, where, value, kind)
    elif isinstance(value, dict):
        for name, one in cast("dict[str, object]", value).items():
            _say(reading, where, name, kind)
            _values(reading, f"{where}.{name}", one, kind, depth + 1)
    elif isinstance(value, list):
        for one in cast("list[object]", value):
            _values(reading, where, one, kind, depth + 1)


def _node(reading: Reading, where: str, schema: object, depth: int) -> None:
    if not isinstance(schema, dict):
        return  # true and false are schemas too, and say nothing
    node = cast("dict[str, Any]", schema)
    reading.nodes += 1
    reading.steps += 1
    reading.depth = max(reading.depth, depth)
    if reading.steps > STEPS or depth > DEPTH:
        reading.cut = True
        return
    if node.get("type") == "object" or "properties" in node:
        reading.objects.append((where, node))
    if "array" in types_of(node) or "items" in node:
        reading.lists.append((where, node))
    if isinstance(node.get("pattern"), str):
        reading.patterns.append((where, node["pattern"]))
    _reference(reading, where, node)
    seen: set[str] = {
        "pattern",
        "type",
        "$ref",
        "$dynamicRef",
        "$id",
        "$schema",
        "$anchor",
        "format",
    }
    for name in _NAMED:
        seen.add(name)
        for key, one in _members(node.get(name)):
            if name == "patternProperties":
                reading.patterns.append((f"{where}.{name}", key))
            _node(reading, f"{where}.{name}.{key}", one, depth + 1)
    seen.add("properties")
    for key, one in _members(node.get("properties")):
        inner = f"{where}.properties.{key}"
        _say(reading, inner, key, "name")
        reading.parameters.append(
            Parameter(inner, key, words_of(key), _resolved(reading.schema, one))
        )
        _node(reading, inner, one, depth + 1)
    for name in _SINGLE:
        seen.add(name)
        _node(reading, f"{where}.{name}", node.get(name), depth + 1)
    for name in _COMBINED:
        seen.add(name)
        branches = node.get(name)
        if isinstance(branches, list):
            for number, one in enumerate(cast("list[object]", branches)):
                _node(reading, f"{where}.{name}[{number}]", one, depth + 1)
    for name, value in node.items():
        if name in seen:
            continue
        sent = name in {"const", "default", "enum", "examples", "example"}
        _values(reading, f"{where}.{name}", value, "value" if sent else "prose")


def _members(found: object) -> Iterator[tuple[str, Any]]:
    if isinstance(found, dict):
        yield from cast("dict[str, Any]", found).items()


def _reference(reading: Reading, where: str, node: Mapping[str, Any]) -> None:
    for name in ("$ref", "$dynamicRef", "$id"):
        target = node.get(name)
        if not isinstance(target, str):
            continue
        reading.references.append((f"{where}.{name}", target))
        if name == "$ref" and target.startswith("#"):
            if _pointed(reading.schema, target) is None:
                reading.dangling.append(where)
            elif _leads_back(where, target):
                reading.recursive.append(where)


def _leads_back(where: str, target: str) -> bool:
    pointed = "schema" + target.removeprefix("#").replace("/", ".")
    return where == pointed or where.startswith(pointed + ".")


def _resolved(root: Mapping[str, Any], schema: object) -> Mapping[str, Any]:
    """Follow local references a few steps; what is beside one counts too."""
    found: dict[str, Any] = {}
    for _ in range(8):
        if not isinstance(schema, dict):
            break
        node = cast("dict[str, Any]", schema)
        found = {**node, **found}
        target = node.get("$ref")
        if not isinstance(target, str):
            break
        schema = _pointed(root, target)
    return found


def _pointed(root: Mapping[str, Any], target: str) -> object:
    """Return what a local JSON pointer points to, or None."""
    if target == "#":
        return root
    if not target.startswith("#/"):
        return None
    at: Any = root
    for step in target[2:].split("/"):
        key = step.replace("~1", "/").replace("~0", "~")
        if isinstance(at, list):
            items = cast("list[object]", at)
            if not (key.isascii() and key.isdigit()) or int(key) >= len(items):
                return None
            at = items[int(key)]
        elif isinstance(at, Mapping) and key in at:
            at = cast("Mapping[str, Any]", at)[key]
        else:
            return None
    return at
