"""JSON Schema for structured replies and tools: out of a type, closed, with its references kept.

A strict schema is one a model can be held to: every object closed and all its members
required, optional ones nullable. What cannot be closed, an open map, is refused with its
place. Nothing here sends; pydantic is used where it is there already, and never loaded.
"""

from __future__ import annotations

import inspect
import re
import sys
import typing
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, Literal, TypeAlias, cast, final

import msgspec

from ._messages import wire_message
from .errors import GatewayArgumentError, StructuredOutputError
from .models import ChatReply, Message, ToolCall, arguments_of

__all__ = [
    "Structured",
    "Tool",
    "ToolLike",
    "json_schema",
    "strict_schema",
    "structured_of",
    "wire_tool",
]

How: TypeAlias = Literal["json_schema", "tool", "json_object"]
"""How a provider is made to answer in a given shape; see `providers.Provider.structured`."""

_NO_PARAMETERS: Final[Mapping[str, Any]] = {"type": "object", "properties": {}}
_ANSWER: Final = "value"  # the one member of the object around what is no object itself
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NOT_IN_NAME: Final = re.compile(r"[^A-Za-z0-9_-]+")
_REF: Final = re.compile(r"#/(\$defs|definitions)/([^/]+)")
_FENCED: Final = re.compile(r"\s*```[A-Za-z]*\s*\n(.*?)\n?\s*```\s*", re.S)
_decode_any: Final = msgspec.json.Decoder().decode

# Notes that strict mode refuses, and that say nothing a model is to be held to.
_NOTES: Final = frozenset(
    {"title", "default", "examples", "example", "discriminator", "$schema", "$id", "$comment"}
)


# --- schemas


def json_schema(of: Any) -> dict[str, Any]:
    """Return the JSON Schema of a type, or a copy of one that is given as a mapping.

    Structs, dataclasses, TypedDicts, NamedTuples, pydantic models and what is built of them.
    Its root is not a reference. Raises `GatewayArgumentError` for a type that has none.
    """
    if isinstance(of, Mapping):
        found = dict(cast("Mapping[str, Any]", of))
    elif _is_pydantic(of):
        found = of.model_json_schema()
    else:
        problem = None
        try:
            found = msgspec.json.schema(of)
        except (TypeError, NameError) as error:
            found = {}
            problem = str(error).partition("\n")[0]
        if problem is not None:
            adapter = _adapter(of)
            if adapter is None:
                raise GatewayArgumentError(f"{_shown(of)} has no JSON Schema: {problem}")
            found = adapter.json_schema()
    return _unreferenced_root(found)


def strict_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema that a model can be held to, made of any other.

    Objects are closed and all their members required; a member that was not becomes nullable.
    `$defs` and references stay, recursive ones too. Raises `GatewayArgumentError`, with its
    place, for an open map, for what may be anything, and for a reference that leads nowhere.
    """
    defs = {
        name: cast("Mapping[str, Any]", schema[name])
        for name in ("$defs", "definitions")
        if isinstance(schema.get(name), Mapping)
    }
    root = _closed(_unreferenced_root(schema), "$", schema)
    for name, group in defs.items():
        root[name] = {each: _closed(inner, each, schema) for each, inner in group.items()}
    return _pruned(root)


def _closed(node: object, place: str, root: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(node, Mapping) or not node:
        raise _refused(place, "may be anything; give it a type")
    given = cast("Mapping[str, Any]", node)
    own = {
        name: value
        for name, value in given.items()
        if name not in _NOTES and name not in ("$defs", "definitions")
    }
    if (ref := own.get("$ref")) is not None:
        _resolve(ref, place, root)
        if len(own) == 1:
            return own
        # A reference stands alone in strict mode: what stood beside it goes around it.
        del own["$ref"]
        return {"anyOf": [{"$ref": ref}], **own}
    if isinstance(choices := own.get("allOf"), list) and len(cast("list[object]", choices)) == 1:
        del own["allOf"]
        inner = cast("list[object]", choices)[0]
        merged = {**inner, **own} if isinstance(inner, Mapping) else own
        return _closed(merged, place, root)
    if "oneOf" in own and "anyOf" not in own:
        own["anyOf"] = own.pop("oneOf")
    for name in ("anyOf", "allOf", "oneOf", "prefixItems"):
        if isinstance(own.get(name), list):
            own[name] = [_closed(each, f"{place}", root) for each in own[name]]
    if "anyOf" in own or "allOf" in own or "enum" in own or "const" in own:
        return own
    kind = own.get("type")
    kinds = cast("list[object]", kind) if isinstance(kind, list) else [kind]
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
    choices: list[Any] = schema.get("anyOf") or []
    if kind == "null" or (isinstance(kind, list) and "null" in kind):
        return schema
    if any(isinstance(each, Mapping) and each.get("type") == "null" for each in choices):
        return schema
    if "anyOf" in schema:
        return {**schema, "anyOf": [*choices, {"type": "null"}]}
    about = {"description": schema.pop("description")} if "description" in schema else {}
    return {"anyOf": [schema, {"type": "null"}], **about}


def _resolve(ref: object, place: str, root: Mapping[str, Any]) -> Mapping[str, Any]:
    if ref == "#":
        return root
    found = _REF.fullmatch(ref) if isinstance(ref, str) else None
    if found is not None:
        group = root.get(found[1])
        name = found[2].replace("~1", "/").replace("~0", "~")
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
    todo: list[object] = [{k: v for k, v in schema.items() if k not in ("$defs", "definitions")}]
    while todo:
        node = todo.pop()
        if isinstance(node, Mapping):
            members = cast("Mapping[str, Any]", node)
            ref = members.get("$ref")
            if isinstance(ref, str) and ref not in used:
                used.add(ref)
                if (found := _REF.fullmatch(ref)) is not None:
                    todo.append((schema.get(found[1]) or {}).get(found[2]))
            todo.extend(members.values())
        elif isinstance(node, (list, tuple)):
            todo.extend(cast("Sequence[object]", node))
    for name in ("$defs", "definitions"):
        if isinstance(group := schema.get(name), Mapping):
            inner = cast("Mapping[str, Any]", group)
            kept = {each: inner[each] for each in inner if f"#/{name}/{each}" in used}
            schema = {k: v for k, v in schema.items() if k != name}
            if kept:
                schema[name] = kept
    return schema


def _refused(place: str, what: str) -> GatewayArgumentError:
    return GatewayArgumentError(
        f"the schema cannot be held to strictly: {place} {what}, or give strict=False"
    )


# --- structured replies


@final
class Structured:
    """A shape that a reply is to have: how it is asked for, and how it is read."""

    __slots__ = ("_read", "_wrapped", "name", "schema", "strict")

    def __init__(self, wanted: Any, strict: bool) -> None:
        schema = json_schema(wanted)
        self.name = _name_of(wanted, schema)
        # Only objects can be asked for; anything else is put into one.
        self._wrapped = schema.get("type") != "object"
        if self._wrapped:
            outer: dict[str, Any] = {
                "type": "object",
                "properties": {
                    _ANSWER: {k: v for k, v in schema.items() if k not in ("$defs", "definitions")}
                },
                "required": [_ANSWER],
            }
            outer |= {k: schema[k] for k in ("$defs", "definitions") if k in schema}
            schema = outer
        self.strict = strict
        self.schema = strict_schema(schema) if strict else schema
        self._read = _reader(wanted)

    def apply(self, body: Mapping[str, Any], how: How) -> dict[str, Any]:
        """Return the body that asks for it."""
        if how == "json_schema":
            shape = {"name": self.name, "schema": self.schema, "strict": self.strict}
            return {**body, "response_format": {"type": "json_schema", "json_schema": shape}}
        if how == "tool":
            tool = {
                "type": "function",
                "function": {
                    "name": self.name,
                    "description": "Give the answer by calling this, once.",
                    "parameters": self.schema,
                },
            }
            others = list(body.get("tools") or ())
            choice: object = {"type": "function", "function": {"name": self.name}}
            # Beside other tools it is one of them, and the model decides when it answers.
            return {
                **body,
                "tools": [*others, tool],
                "tool_choice": "required" if others else choice,
            }
        told = (
            "Answer with one JSON object and nothing else. It has this JSON Schema:\n"
            + msgspec.json.encode(self.schema).decode()
        )
        return {
            **body,
            "messages": [Message.system(told), *body["messages"]],
            "response_format": {"type": "json_object"},
        }

    def read(self, reply: ChatReply[Any]) -> ChatReply[Any]:
        """Return the reply with its `parsed`; `StructuredOutputError` when it has not the shape.

        A reply that calls other tools first has none yet and is returned as it is.
        """
        mine = self._mine(reply)
        others = tuple(each for each in reply.tool_calls if each.name != self.name)
        if mine:
            text = mine[0].arguments
            reply = msgspec.structs.replace(
                reply,
                text=reply.text or text,
                tool_calls=others,
                invalid_tool_calls=tuple(
                    each for each in reply.invalid_tool_calls if each.name != self.name
                ),
                finish_reason="stop"
                if reply.finish_reason == "tool_calls"
                else reply.finish_reason,
            )
        elif others:
            return reply
        else:
            text = reply.text
        problem: tuple[str, str] | None = None
        if reply.refusal is not None or reply.finish_reason == "content_filter":
            problem = "refused", "the model refused to answer"
        elif reply.finish_reason == "length":
            problem = "cut", "the reply was cut at the token limit; allow it more max_tokens"
        else:
            if (fenced := _FENCED.fullmatch(text)) is not None:
                text = fenced[1]
            try:
                return msgspec.structs.replace(reply, parsed=self._parsed(text))
            except Exception as error:
                if (said := _said(error)) is None:
                    raise
                problem = "unreadable", f"the reply is no {self.name}: {said}"
        # Outside the handler: its exception holds what the model said.
        del reply, text, mine, others
        raise StructuredOutputError(problem[1], reason=problem[0])

    def _mine(self, reply: ChatReply[Any]) -> list[ToolCall]:
        """Return the calls that are the answer, those that cannot be read included."""
        bad = [ToolCall(x.id, x.name, x.arguments) for x in reply.invalid_tool_calls]
        return [each for each in (*reply.tool_calls, *bad) if each.name == self.name]

    def _parsed(self, text: str) -> Any:
        if self._wrapped:
            found = _decode_any(text)
            if isinstance(found, dict) and len(cast("dict[str, Any]", found)) == 1:
                found = cast("dict[str, Any]", found).get(_ANSWER)
            text = msgspec.json.encode(found).decode()
        return self._read(text)

    def repaired(
        self, body: Mapping[str, Any], reply: ChatReply[Any], problem: str
    ) -> dict[str, Any]:
        """Return the body that asks once more, told what was wrong with the answer."""
        said = self._mine(reply)
        told = f"That does not fit: {problem}. Give the whole answer again, corrected."
        if said:
            messages: list[Any] = [wire_message(Message.assistant(None, said))]
            messages += [Message.tool(each.id, told) for each in said]
        else:
            messages = [Message.assistant(reply.text), Message.user(told)]
        return {**body, "messages": [*body["messages"], *messages]}


def structured_of(wanted: Any, strict: bool) -> Structured:
    """Return what asks for a type or a schema and reads it; made once for each type."""
    if isinstance(wanted, Mapping):
        return Structured(wanted, strict)
    try:
        hash(wanted)
    except TypeError:
        return Structured(wanted, strict)
    return _structured(wanted, strict)


@lru_cache(maxsize=256)
def _structured(wanted: Any, strict: bool) -> Structured:
    return Structured(wanted, strict)


def _reader(wanted: Any) -> Callable[[str], Any]:
    if isinstance(wanted, Mapping):
        return _decode_any
    if _is_pydantic(wanted):
        return _lenient(wanted.model_validate_json, wanted.model_validate)
    if not _has_schema(wanted):
        adapter = _adapter(wanted)
        return _lenient(adapter.validate_json, adapter.validate_python)
    decoder = msgspec.json.Decoder(wanted)
    return _lenient(decoder.decode, lambda raw: msgspec.convert(raw, wanted))


def _lenient(read: Callable[[str], Any], convert: Callable[[Any], Any]) -> Callable[[str], Any]:
    """Return a reader to which null is, where it may not stand, what was left out.

    A strict schema requires optional members too and lets them be null.
    """

    def reads(text: str) -> Any:
        try:
            return read(text)
        except ValueError:  # both msgspec's and pydantic's are
            bare = _without_nulls(_decode_any(text))
        return convert(bare)

    return reads


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        members = cast("dict[str, Any]", value)
        return {k: _without_nulls(v) for k, v in members.items() if v is not None}
    if isinstance(value, list):
        return [_without_nulls(v) for v in cast("list[object]", value)]
    return value


def _said(error: Exception) -> str | None:
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


# --- tools


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """Something a model may call: `Tool.of(function)`, or its parts by hand.

    `parameters` is the JSON Schema of an object. `strict` asks the provider to hold the model
    to it. `function` is what `run` calls, None for a tool that is run elsewhere.
    """

    name: str
    description: str = ""
    parameters: dict[str, Any] = msgspec.field(default_factory=lambda: dict(_NO_PARAMETERS))
    strict: bool | None = None
    function: Callable[..., Any] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise GatewayArgumentError(
                f"{str(self.name)[:80]!r} is no name of a tool: up to 64 letters, digits, _ and -"
            )

    @classmethod
    def of(
        cls,
        source: Callable[..., Any] | type | Mapping[str, Any],
        *,
        name: str | None = None,
        description: str | None = None,
        strict: bool | None = None,
    ) -> Tool:
        """Make a tool of a function's signature, of a type, or of a JSON Schema with a title.

        Parameters need annotations; `Annotated[int, "what it is"]` describes one. The
        description is the first paragraph of the docstring, unless given.
        """
        if isinstance(source, Mapping):
            schema = json_schema(source)
            found = name or _name_of(source, schema)
            about = schema.get("description", "")
            function: Callable[..., Any] | None = None
        elif inspect.isclass(source):
            schema = json_schema(source)
            found = name or _name_of(source, schema)
            about = _first_paragraph(source.__doc__) if _own_doc(source) else ""
            function = source
        elif callable(source):
            schema = json_schema(_arguments_type(source))
            schema.pop("title", None)
            found = name or _name_of(source, schema)
            about = _first_paragraph(inspect.getdoc(source))
            function = source
        else:
            raise GatewayArgumentError(
                f"a tool is made of a function, a type or a schema, not {type(source).__name__}"
            )
        if schema.get("type") != "object":
            raise GatewayArgumentError(f"the parameters of tool {found} are no object")
        return cls(
            name=found,
            description=about if description is None else description,
            parameters=strict_schema(schema) if strict else schema,
            strict=strict,
            function=function,
        )

    def wire(self) -> dict[str, Any]:
        """Return the tool as it is sent."""
        function: dict[str, Any] = {"name": self.name}
        if self.description:
            function["description"] = self.description
        function["parameters"] = self.parameters
        if self.strict is not None:
            function["strict"] = self.strict
        return {"type": "function", "function": function}

    def run(self, call: ToolCall) -> Any:
        """Call the function with a call's arguments, read as its annotations say.

        Returns what the function does; of a tool made of a type, the object. Raises
        `GatewayArgumentError` for arguments that do not fit, which a tool message can tell
        the model. What the function raises passes through.
        """
        if self.function is None:
            raise GatewayArgumentError(f"tool {self.name} has no function to run here")
        if (given := arguments_of(call.arguments)) is None:
            raise GatewayArgumentError(f"the arguments of {self.name} are no JSON object")
        wanted: Any = self.function
        is_type = inspect.isclass(wanted)
        try:
            found = _converted(given, wanted if is_type else _arguments_type(wanted))
        except Exception as error:
            if (problem := _said(error)) is None:
                raise
        else:
            return found if is_type else _call(wanted, found)
        del given, call  # a traceback records the locals of the frame that raises
        raise GatewayArgumentError(f"the arguments of {self.name} do not fit: {problem}")


ToolLike: TypeAlias = Tool | Callable[..., Any] | type | Mapping[str, Any]
"""What `tools` takes."""


def wire_tool(tool: object) -> object:
    """Return a tool as it is sent; OpenAI's own objects are sent as they were given."""
    if isinstance(tool, Tool):
        return tool.wire()
    if isinstance(tool, Mapping):
        members = cast("Mapping[str, Any]", tool)
        if members.get("type") not in (None, "object"):
            return members
        if isinstance(members.get("name"), str) and "properties" not in members:
            given = members.get("parameters") or members.get("input_schema")
            return Tool(
                name=members["name"],
                description=members.get("description") or "",
                parameters=given or {"type": "object", "properties": {}},
                strict=members.get("strict"),
            ).wire()
        return Tool.of(members).wire()
    return _made(tool).wire()


@lru_cache(maxsize=256)
def _made(source: Any) -> Tool:
    return Tool.of(source)


@lru_cache(maxsize=256)
def _arguments_type(function: Callable[..., Any]) -> type[msgspec.Struct]:
    """Return a Struct whose members are the parameters of a function."""
    try:
        parameters = inspect.signature(function).parameters.values()
        hints = typing.get_type_hints(function, include_extras=True)
    except (TypeError, ValueError, NameError) as error:
        problem = str(error).partition("\n")[0]
    else:
        name = getattr(function, "__name__", type(function).__name__)
        return msgspec.defstruct(
            name, [_field(each, hints, name) for each in parameters], kw_only=True
        )
    raise GatewayArgumentError(f"the signature of {_shown(function)} cannot be read: {problem}")


def _field(parameter: inspect.Parameter, hints: Mapping[str, Any], of: str) -> Any:
    if parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}:
        raise GatewayArgumentError(
            f"{of} takes *{parameter.name}, for which a model cannot be told what to give"
        )
    hint = hints.get(parameter.name, Any)
    if typing.get_origin(hint) is typing.Annotated:
        kind, *notes = typing.get_args(hint)
        told = [msgspec.Meta(description=x) if isinstance(x, str) else x for x in notes]
        hint = typing.Annotated[(kind, *told)]
    if parameter.default is parameter.empty:
        return parameter.name, hint
    default = parameter.default
    if isinstance(default, (list, dict, set, bytearray)):
        return parameter.name, hint, msgspec.field(default_factory=lambda: default.copy())
    return parameter.name, hint, default


def _call(function: Callable[..., Any], found: Any) -> Any:
    positional: list[Any] = []
    named: dict[str, Any] = {}
    for each in inspect.signature(function).parameters.values():
        value = getattr(found, each.name)
        if each.kind is each.POSITIONAL_ONLY:
            positional.append(value)
        else:
            named[each.name] = value
    return function(*positional, **named)


def _converted(given: dict[str, Any], wanted: Any) -> Any:
    if _is_pydantic(wanted):
        return wanted.model_validate(given)
    return msgspec.convert(given, wanted)


# --- types


def _is_pydantic(of: Any) -> bool:
    return inspect.isclass(of) and hasattr(of, "model_json_schema")


def _has_schema(of: Any) -> bool:
    try:
        msgspec.json.schema(of)
    except (TypeError, NameError):
        return False
    return True


def _adapter(of: Any) -> Any:
    """Return pydantic's reader for what holds its models; None where it has none."""
    pydantic: Any = sys.modules.get("pydantic")
    if pydantic is None:
        return None
    try:
        return pydantic.TypeAdapter(of)
    except Exception as error:
        # Its own errors derive from nothing that could be named without importing it.
        if not type(error).__module__.startswith("pydantic"):
            raise
        return None


def _name_of(of: Any, schema: Mapping[str, Any]) -> str:
    given = getattr(of, "__name__", None) or schema.get("title") or "answer"
    return _NOT_IN_NAME.sub("_", str(given)).strip("_")[:64] or "answer"


def _shown(of: Any) -> str:
    return str(getattr(of, "__qualname__", None) or of)[:120]


def _own_doc(of: type) -> bool:
    # A dataclass without one gets its signature for a docstring, which tells a model nothing.
    return not (of.__doc__ or "").startswith(f"{of.__name__}(")


def _first_paragraph(doc: str | None) -> str:
    return " ".join(inspect.cleandoc(doc or "").partition("\n\n")[0].split())
