"""JSON Schema out of a type, closed, with its references kept; and reading what answers it.

A strict schema is one a model can be held to: every object closed and all its members
required, optional ones nullable. What cannot be closed, an open map, is refused with its
place. pydantic is used where it is there already, and never loaded. Neighbours: `structured`
for replies, `tool` for what a model may call.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

import msgspec

from .._decoders import convert, decoder_of, without_nulls
from .errors import GatewayArgumentError

__all__ = [
    "is_pydantic",
    "json_schema",
    "name_of",
    "objection",
    "reader_of",
    "shown",
    "strict_schema",
]

_NOT_IN_NAME: Final = re.compile(r"[^A-Za-z0-9_-]+")
_REF: Final = re.compile(r"#/(\$defs|definitions)/([^/]+)")
_DEFS: Final = ("$defs", "definitions")
_decode_any: Final = msgspec.json.Decoder().decode

# Notes that strict mode refuses, and that say nothing a model is to be held to.
_NOTES: Final = frozenset(
    {"title", "default", "examples", "example", "discriminator", "$schema", "$id", "$comment"}
)


def json_schema(of: Any) -> dict[str, Any]:
    """Return the JSON Schema of a type, or a copy of one that is given as a mapping.

    Structs, dataclasses, TypedDicts, NamedTuples, pydantic models and what is built of them.
    Its root is not a reference. Raises `GatewayArgumentError` for a type that has none.
    """
    if isinstance(of, Mapping):
        found = dict(cast("Mapping[str, Any]", of))
    elif is_pydantic(of):
        found = of.model_json_schema()
    else:
        problem = None
        try:
            found = msgspec.json.schema(of)
        except (TypeError, NameError) as error:
            found = {}
            problem = str(error).partition("\n")[0]
        if problem is not None:
            described = _described(of)
            if described is None:
                raise GatewayArgumentError(f"{shown(of)} has no JSON Schema: {problem}")
            found = described
    return _unreferenced_root(found)


def strict_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema that a model can be held to, made of any other.

    Objects are closed and all their members required; a member that was not becomes nullable.
    `$defs` and references stay, recursive ones too. Raises `GatewayArgumentError`, with its
    place, for an open map, for what may be anything, and for a reference that leads nowhere.
    """
    pruned = _unreferenced_root(schema)
    root = _closed(pruned, "$", pruned)
    for name in _DEFS:
        if isinstance(group := pruned.get(name), Mapping):
            inner = cast("Mapping[str, Any]", group)
            root[name] = {each: _closed(inner[each], each, pruned) for each in inner}
    return root


def _closed(node: object, place: str, root: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(node, Mapping) or not node:
        raise _refused(place, "may be anything; give it a type")
    given = cast("Mapping[str, Any]", node)
    own = {name: value for name, value in given.items() if name not in _NOTES and name not in _DEFS}
    if (ref := own.get("$ref")) is not None:
        _resolve(ref, place, root)
        if len(own) == 1:
            return own
        # A reference stands alone in strict mode: what stood beside it goes around it.
        del own["$ref"]
        return {"anyOf": [{"$ref": ref}], **own}
    if (whole := _list(own.pop("allOf", None))) is not None:
        if len(whole) != 1 or not isinstance(whole[0], Mapping):
            raise _refused(place, "is several things at once (allOf); write it as one object")
        return _closed({**cast("Mapping[str, Any]", whole[0]), **own}, place, root)
    if "oneOf" in own and "anyOf" not in own:
        own["anyOf"] = own.pop("oneOf")
    for name in ("anyOf", "oneOf", "prefixItems"):
        if (choices := _list(own.get(name))) is not None:
            own[name] = [_closed(each, place, root) for each in choices]
    if "anyOf" in own or "enum" in own or "const" in own:
        return own
    kind = own.get("type")
    kinds = _list(kind) or [kind]
    if "object" in kinds or "properties" in own:
        _close_object(own, place, root)
    if "array" in kinds:
        items = own.get("items")
        if items is None and "prefixItems" not in own:
            raise _refused(place, "is a list of anything; give its items a type")
        if items is not None and items is not False:
            own["items"] = _closed(items, f"{place}[]", root)
    if kind is None and "properties" not in own:
        raise _refused(place, "may be anything; give it a type")
    return own


def _close_object(own: dict[str, Any], place: str, root: Mapping[str, Any]) -> None:
    more = own.get("additionalProperties")
    members = own.get("properties")
    if (
        isinstance(more, Mapping)
        or own.get("patternProperties")
        or (not members and more is not False)
    ):
        raise _refused(
            place, "is a map with any names; use a list of objects with a name and a value"
        )
    given = cast("Mapping[str, Any]", members or {})
    required = set(cast("Sequence[str]", own.get("required") or ()))
    closed: dict[str, Any] = {}
    for name, inner in given.items():
        value = _closed(inner, f"{place}.{name}", root)
        closed[name] = value if name in required else _nullable(value)
    own["properties"] = closed
    own["required"] = list(closed)
    own["additionalProperties"] = False


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    kind = schema.get("type")
    choices = _list(schema.get("anyOf")) or []
    if "null" in (_list(kind) or [kind]) or {"type": "null"} in choices:
        return schema
    if "anyOf" in schema:
        return {**schema, "anyOf": [*choices, {"type": "null"}]}
    about = {"description": schema.pop("description")} if "description" in schema else {}
    return {"anyOf": [schema, {"type": "null"}], **about}


def _list(value: object) -> list[object] | None:
    return cast("list[object]", value) if isinstance(value, list) else None


def _resolve(ref: object, place: str, root: Mapping[str, Any]) -> Mapping[str, Any]:
    if ref == "#":
        return root
    found = _REF.fullmatch(ref) if isinstance(ref, str) else None
    if found is not None:
        group = root.get(found[1])
        name = _unescaped(found[2])
        if isinstance(group, Mapping) and isinstance(
            inner := cast("Mapping[str, Any]", group).get(name), Mapping
        ):
            return cast("Mapping[str, Any]", inner)
    raise _refused(place, f"refers to {str(ref)[:80]!r}, which is not in the schema")


def _unreferenced_root(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Put what the root refers to in its place; the definition stays for those who recur."""
    own = dict(schema)
    seen: set[str] = set()
    while isinstance(ref := own.get("$ref"), str) and ref != "#" and ref not in seen:
        seen.add(ref)
        inner = _resolve(ref, "$", schema)
        del own["$ref"]
        own = {**inner, **own}
    return _pruned(own)


def _pruned(schema: dict[str, Any]) -> dict[str, Any]:
    """Leave out definitions that nothing refers to."""
    used: set[str] = set()
    todo: list[object] = [{k: v for k, v in schema.items() if k not in _DEFS}]
    while todo:
        node = todo.pop()
        if isinstance(node, Mapping):
            members = cast("Mapping[str, Any]", node)
            ref = members.get("$ref")
            if isinstance(ref, str) and ref not in used:
                used.add(ref)
                if (found := _REF.fullmatch(ref)) is not None:
                    defined = cast("Mapping[str, object]", schema.get(found[1]) or {})
                    todo.append(defined.get(_unescaped(found[2])))
            todo.extend(members.values())
        elif isinstance(node, (list, tuple)):
            todo.extend(cast("Sequence[object]", node))
    for name in _DEFS:
        if isinstance(group := schema.get(name), Mapping):
            inner = cast("Mapping[str, Any]", group)
            named = {_unescaped(ref.rpartition("/")[2]) for ref in used if f"/{name}/" in ref}
            kept = {each: inner[each] for each in inner if each in named}
            schema = {k: v for k, v in schema.items() if k != name}
            if kept:
                schema[name] = kept
    return schema


def _unescaped(name: str) -> str:
    return name.replace("~1", "/").replace("~0", "~")  # RFC 6901


def _refused(place: str, what: str) -> GatewayArgumentError:
    return GatewayArgumentError(
        f"the schema cannot be held to strictly: {place} {what}, or give strict=False"
    )


# --- reading


def reader_of(wanted: Any) -> Callable[[str], Any]:
    """Return what reads JSON text as a type; of a schema, as it is."""
    if isinstance(wanted, Mapping):
        return _decode_any
    if is_pydantic(wanted):
        return _lenient(wanted.model_validate_json, wanted.model_validate)
    if not _has_schema(wanted):
        adapter = _adapter(wanted)
        return _lenient(adapter.validate_json, adapter.validate_python)
    decoder = decoder_of(wanted)
    return _lenient(decoder.decode, lambda raw: convert(raw, wanted))


def _lenient(read: Callable[[str], Any], convert: Callable[[Any], Any]) -> Callable[[str], Any]:
    """Return a reader to which null is, where it may not stand, what was left out.

    A strict schema requires optional members too and lets them be null.
    """

    def reads(text: str) -> Any:
        try:
            return read(text)
        except ValueError:  # both msgspec's and pydantic's are
            bare = without_nulls(_decode_any(text))
        return convert(bare)

    return reads


def objection(error: Exception) -> str | None:
    """Say what a decoder objects to, without what it read; None for what is no such error."""
    if isinstance(error, msgspec.ValidationError):
        text, mark, place = str(error).rpartition(" - at ")
        if not mark:
            text, place = str(error), "$"
        fits = text.startswith(("Expected `", "Object missing required field", "Expected "))
        return f"{text} at {place}" if fits else f"unexpected value at {place}"
    if isinstance(error, (msgspec.DecodeError, UnicodeError, RecursionError)):
        return f"it is not JSON ({type(error).__name__})"
    told = getattr(error, "errors", None)
    if type(error).__module__.startswith("pydantic") and callable(told):
        first = cast("Any", told)(include_input=False, include_url=False, include_context=False)
        return f"{first[0]['type']} at {'.'.join(map(str, first[0]['loc'])) or '$'}"
    return None


# --- types


def is_pydantic(of: Any) -> bool:
    """Whether this is a pydantic model, which reads and describes itself."""
    return isinstance(of, type) and hasattr(of, "model_json_schema")


def _has_schema(of: Any) -> bool:
    try:
        msgspec.json.schema(of)
    except (TypeError, NameError):
        return False
    return True


def _adapter(of: Any) -> Any:
    """Return pydantic's reader for what holds its models; None where it has none."""
    pydantic: Any = sys.modules.get("pydantic")
    return None if pydantic is None else _unless_refused(lambda: pydantic.TypeAdapter(of))


def _described(of: Any) -> dict[str, Any] | None:
    adapter = _adapter(of)
    return None if adapter is None else _unless_refused(adapter.json_schema)


def _unless_refused(make: Callable[[], Any]) -> Any:
    try:
        return make()
    except Exception as error:
        # pydantic's errors have no root that could be named without importing it.
        if not type(error).__module__.startswith("pydantic"):
            raise
        return None


def name_of(of: Any, schema: Mapping[str, Any]) -> str:
    """Return a name for a type or schema, as tools and formats may have it."""
    given = getattr(of, "__name__", None) or schema.get("title") or "answer"
    return _NOT_IN_NAME.sub("_", str(given)).strip("_")[:64] or "answer"


def shown(of: Any) -> str:
    """Return what a type or function is called in a message."""
    return str(getattr(of, "__qualname__", None) or of)[:120]
