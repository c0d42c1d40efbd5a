"""Answers of a given shape: what a model is asked for, and what its answer becomes.

A schema is a pydantic model (of either version), a TypedDict, a msgspec Struct, a dataclass, a
JSON Schema or a tool as a dict. References stay references, so that nested and recursive types
arrive whole. Neighbour: `gateway_chat`, which binds what is made here.
"""

from __future__ import annotations

from . import _langchain as _langchain  # says what to install when it is not there

# isort: split
import dataclasses
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any, Final, cast

import msgspec
import pydantic
import pydantic.v1
from langchain_core.exceptions import OutputParserException
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, SystemMessage
from langchain_core.output_parsers import BaseTransformOutputParser
from langchain_core.outputs import ChatGeneration, Generation
from langchain_core.runnables import AddableDict
from langchain_core.utils.function_calling import convert_to_openai_function
from langchain_core.utils.json import parse_partial_json
from typing_extensions import is_typeddict

from ..._decoders import decoder_of
from ..errors import GatewayArgumentError, StructuredOutputError
from ..schema import json_schema, strict_schema

__all__ = [
    "ChatOutputError",
    "Shape",
    "StructuredOutputParser",
    "instructed",
    "response_format_of",
    "shape_of",
    "tool_of",
    "untitled",
]

_NO_NAME: Final = re.compile(r"[^A-Za-z0-9_-]+")
_FENCED: Final = re.compile(r"```[a-z]*[^\S\n]*\n(.*?)(?:\n[^\S\n]*```|\Z)", re.DOTALL)
_LONGEST_NAME: Final = 64
_NAMED: Final = frozenset({"properties", "patternProperties", "$defs", "definitions"})
_LITERAL: Final = frozenset({"default", "const", "enum", "examples", "required"})
# Text that has grown by less than this share is not read again: a reply of 16 KiB that came in
# 4,000 pieces would otherwise be read from its start 4,000 times.
_GROWN: Final = 16


class ChatOutputError(StructuredOutputError, OutputParserException):
    """The model's answer has another shape than it was asked for; LangChain's error as well.

    The message names the place and holds nothing of the answer; ask with `include_raw=True` to
    look at it.
    """

    def __init__(self, message: str = "", *, reason: str = "unreadable") -> None:
        # LangChain's own adds a link to its documentation, which does not know this error.
        BaseException.__init__(self, message)
        self.reason = reason
        self.observation: str | None = None
        self.llm_output: str | None = None
        self.send_to_llm = False


class Shape(msgspec.Struct, frozen=True):
    """What an answer looks like. `build` makes the caller's object of its JSON."""

    name: str
    description: str
    schema: dict[str, Any]
    build: Callable[[str], Any]


def shape_of(schema: Any) -> Shape:
    """Return the shape that a type or a dict describes.

    Raises `GatewayArgumentError` for what describes none, or something else than an object.
    """
    if isinstance(schema, Mapping):
        return _of_dict(cast("Mapping[str, Any]", schema))
    if isinstance(schema, type):
        kind: Any = schema
        if issubclass(kind, pydantic.BaseModel):
            return _shape(kind.__name__, json_schema(kind), kind.model_validate_json)
        if issubclass(kind, pydantic.v1.BaseModel):
            old: Any = kind
            return _shape(kind.__name__, old.schema(), old.parse_raw)
        if is_typeddict(kind):
            # LangChain's reading: its users annotate members with defaults and descriptions.
            return _of_typed_dict(kind)
        if issubclass(kind, msgspec.Struct) or dataclasses.is_dataclass(kind):
            return _shape(schema.__name__, json_schema(schema), decoder_of(schema).decode)
    raise GatewayArgumentError(
        "with_structured_output takes a pydantic model, a TypedDict, a Struct, a dataclass, or a "
        f"JSON Schema as a dict, and not {schema if isinstance(schema, type) else type(schema)!r}"
    )


def _of_typed_dict(kind: Any) -> Shape:
    try:
        found = convert_to_openai_function(kind)
    except RecursionError:
        # It resolves references, which has no end in a type that contains itself.
        return _shape(kind.__name__, json_schema(kind), json.loads)
    about = {"description": found.get("description", "")}
    return _shape(found["name"], {**about, **found.get("parameters", {})}, json.loads)


def _of_dict(schema: Mapping[str, Any]) -> Shape:
    function = schema.get("function") if schema.get("type") == "function" else schema
    given = cast("Mapping[str, Any]", function) if isinstance(function, Mapping) else schema
    for member in ("parameters", "input_schema", "schema"):
        if isinstance(given.get(member), Mapping) and given.get("name"):
            inner = {"description": given.get("description", ""), **given[member]}
            return _shape(str(given["name"]), inner, json.loads)
    return _shape(str(schema.get("title") or "answer"), dict(schema), json.loads)


def _shape(name: str, schema: Mapping[str, Any], build: Callable[[str], Any]) -> Shape:
    # A recursive type is a reference to itself at its root, which json_schema resolves.
    whole = untitled(json_schema(schema))
    if whole.get("type") != "object" and "properties" not in whole:
        raise GatewayArgumentError(
            f"the shape {name[:80]!r} is no object; put what it is into a member of one"
        )
    description = str(whole.pop("description", None) or "")
    safe = _NO_NAME.sub("_", name)[:_LONGEST_NAME]
    return Shape(safe or "answer", description, {"type": "object", **whole}, build)


def untitled(schema: Any) -> Any:
    """Return a JSON Schema without the titles that pydantic gives to everything in it."""
    if isinstance(schema, list):
        return [untitled(one) for one in cast("list[object]", schema)]
    if not isinstance(schema, dict):
        return schema
    members = cast("dict[str, object]", schema)
    found: dict[str, Any] = {}
    for name, inner in members.items():
        if name == "title" and isinstance(inner, str):
            continue
        if name in _NAMED and isinstance(inner, dict):
            # Its keys are the user's names, among which may be a title.
            named = cast("dict[str, object]", inner)
            found[name] = {key: untitled(one) for key, one in named.items()}
        elif name in _LITERAL:
            found[name] = inner
        else:
            found[name] = untitled(inner)
    return found


def _built(shape: Shape, data: dict[str, object]) -> Any:
    try:
        return shape.build(json.dumps(data))
    except ValueError:
        bare = _without_nulls(data)
        if bare == data:
            raise
    # Where every member is required, those that were optional come as null.
    return shape.build(json.dumps(bare))


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        members = cast("dict[str, object]", value)
        return {name: _without_nulls(one) for name, one in members.items() if one is not None}
    if isinstance(value, list):
        return [_without_nulls(one) for one in cast("list[object]", value)]
    return value


def response_format_of(shape: Shape, *, strict: bool) -> dict[str, Any]:
    """Return what has a provider keep to the shape itself.

    Strict, every object is closed and has all its members; raises `GatewayArgumentError` for a
    schema that cannot be so, such as one with an open map.
    """
    inner: dict[str, Any] = {
        "name": shape.name,
        "schema": strict_schema(shape.schema) if strict else shape.schema,
        "strict": strict,
    }
    if shape.description:
        inner["description"] = shape.description
    return {"type": "json_schema", "json_schema": inner}


def tool_of(shape: Shape, *, strict: bool | None = None) -> dict[str, Any]:
    """Return a tool whose arguments have the shape."""
    function: dict[str, Any] = {
        "name": shape.name,
        "parameters": strict_schema(shape.schema) if strict else shape.schema,
    }
    if shape.description:
        function["description"] = shape.description
    if strict is not None:
        function["strict"] = strict
    return {"type": "function", "function": function}


def instructed(messages: list[BaseMessage], shape: Shape) -> list[BaseMessage]:
    """Return messages in which the model is shown the shape.

    For providers that answer in JSON and read no schema. What is said stands in the first
    system message, as several of them read no second one.
    """
    about = f" ({shape.description})" if shape.description else ""
    told = (
        f"Answer with one JSON object{about} and nothing else. It must be valid under this JSON "
        f"Schema:\n{json.dumps(shape.schema, ensure_ascii=False)}"
    )
    first = messages[0] if messages else None
    if isinstance(first, SystemMessage):
        parts = [first.content] if isinstance(first.content, str) else list(first.content)
        content: Any = f"{parts[0]}\n\n{told}" if parts == [first.content] else [*parts, told]
        return [first.model_copy(update={"content": content}), *messages[1:]]
    return [SystemMessage(content=told), *messages]


class _Gathered:
    """What has come of an answer: its text, and the arguments of the call that is waited for."""

    def __init__(self, tool: str | None) -> None:
        self._tool = tool
        self._texts: list[str] = []
        self._index: int | None = None
        self._arguments: list[str] = []
        self._made: Any = None
        self._called = False
        self._cut = False
        self.size = 0
        self.refusal = ""

    def add(self, message: BaseMessage | str) -> None:
        if isinstance(message, str):
            self._say(message)
            return
        self._say(str(message.text))
        self.refusal += str(message.additional_kwargs.get("refusal") or "")
        self._cut |= message.response_metadata.get("finish_reason") == "length"
        if isinstance(message, AIMessageChunk) and message.tool_call_chunks:
            for chunk in message.tool_call_chunks:
                if chunk["name"] == self._tool and self._index is None:
                    self._index, self._called = chunk["index"], True
                if self._called and chunk["index"] == self._index:
                    self._arguments.append(chunk["args"] or "")
                    self.size += len(chunk["args"] or "")
        elif isinstance(message, AIMessage):
            for call in message.tool_calls:
                if call["name"] == self._tool and self._made is None:
                    self._made, self._called = call["args"], True
            for bad in message.invalid_tool_calls:
                if bad["name"] == self._tool and not self._called:
                    self._called = True
                    self._arguments.append(bad["args"] or "")

    def _say(self, text: str) -> None:
        if text:
            self._texts.append(text)
            self.size += len(text)

    def data(self, *, partial: bool) -> Any:
        """Return the JSON that was answered; None when there is none, or not yet."""
        if self._made is not None:
            return self._made
        text = "".join(self._arguments if self._called else self._texts).strip()
        if self._called and not text:
            return None if partial else {}
        if fenced := _FENCED.search(text):
            text = fenced[1]
        try:
            return parse_partial_json(text) if partial else json.loads(text)
        except (ValueError, RecursionError):
            return None

    def missing(self, name: str) -> ChatOutputError:
        """Return what is wrong with an answer that has no data."""
        if self.refusal:
            return ChatOutputError(
                f"the model refused to answer as {name}; its words are in the message's "
                "additional_kwargs['refusal'] (include_raw=True)",
                reason="refused",
            )
        if self._cut:
            return ChatOutputError(
                f"the model's answer as {name} was cut short by max_tokens; allow it more",
                reason="cut",
            )
        what = "the arguments of its call are" if self._called else "what it said is"
        return ChatOutputError(
            f"the model did not answer as {name}: {what} no JSON; include_raw=True shows it"
        )


class StructuredOutputParser(BaseTransformOutputParser[Any]):
    """Make the caller's object of a model's answer, whether it called the tool or wrote JSON.

    In a stream it gives each larger object as soon as there is one, and at the end it insists
    on a whole one. With `include_raw` it gives LangChain's dict of message, object and error.
    """

    shape: Any
    tool: str | None = None
    include_raw: bool = False

    @property
    def OutputType(self) -> Any:
        return Any

    @property
    def _type(self) -> str:
        return "ostiary_structured"

    def parse(self, text: str) -> Any:
        return self.parse_result([Generation(text=text)])

    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        """Return the object of a whole answer; None for a part that makes none yet.

        Raises `ChatOutputError` when a whole answer makes none, unless `include_raw`.
        """
        first = result[0]
        message = first.message if isinstance(first, ChatGeneration) else first.text
        gathered = _Gathered(self.tool)
        gathered.add(message)
        if partial or not self.include_raw:
            return self.object_of(gathered, partial=partial)
        return {"raw": message, **self.outcome_of(gathered)}

    # LangChain's own would take a thread for what takes no time.
    async def aparse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        return self.parse_result(result, partial=partial)

    def outcome_of(self, gathered: _Gathered) -> dict[str, Any]:
        """Return what `include_raw` tells beside the message."""
        try:
            return {"parsed": self.object_of(gathered, partial=False), "parsing_error": None}
        except ChatOutputError as error:
            return {"parsed": None, "parsing_error": error}

    def object_of(self, gathered: _Gathered, *, partial: bool) -> Any:
        """Return the object of what has come; see `parse_result`."""
        shape: Shape = self.shape
        if partial and gathered.refusal:
            return None
        data = gathered.data(partial=partial)
        if data is None:
            if partial:
                return None
            raise gathered.missing(shape.name)
        if not isinstance(data, dict):
            if partial:
                return None
            raise ChatOutputError(
                f"the model did not answer as {shape.name}: it wrote JSON that is no object"
            )
        try:
            return _built(shape, cast("dict[str, object]", data))
        except (ValueError, TypeError, RecursionError) as error:
            if partial:
                return None
            problem = _told(error)
        # Outside the handler: its exception may hold the answer.
        raise ChatOutputError(f"the model's answer is no {shape.name}: {problem}")

    def _transform(self, input: Iterator[str | BaseMessage]) -> Iterator[Any]:
        growing = _Growing(self)
        for message in input:
            yield from growing.take(message)
        yield from growing.end()

    async def _atransform(self, input: AsyncIterator[str | BaseMessage]) -> AsyncIterator[Any]:
        growing = _Growing(self)
        async for message in input:
            for found in growing.take(message):
                yield found
        for found in growing.end():
            yield found


class _Growing:
    """The objects that a stream gives one after another."""

    def __init__(self, parser: StructuredOutputParser) -> None:
        self._parser = parser
        self._gathered = _Gathered(parser.tool)
        self._last: Any = None
        self._due = 0

    def take(self, message: str | BaseMessage) -> Iterator[Any]:
        gathered, parser = self._gathered, self._parser
        gathered.add(message)
        if parser.include_raw:
            # The object comes once, at the end: LangChain adds up what it is given.
            yield AddableDict(raw=message)
            return
        if gathered.size < self._due:
            return
        self._due = gathered.size + gathered.size // _GROWN
        found = parser.object_of(gathered, partial=True)
        if found is not None and found != self._last:
            self._last = found
            yield found

    def end(self) -> Iterator[Any]:
        if self._parser.include_raw:
            yield AddableDict(self._parser.outcome_of(self._gathered))
            return
        whole = self._parser.object_of(self._gathered, partial=False)
        if whole != self._last:
            yield whole


def _told(error: Exception) -> str:
    """Say where an answer is wrong, without what stands there."""
    if isinstance(error, pydantic.ValidationError):
        found = [
            (one["loc"], one["msg"] if one["type"] != "value_error" else "is refused")
            for one in error.errors(include_url=False, include_context=False, include_input=False)
        ]
    elif isinstance(error, pydantic.v1.ValidationError):
        found = [(one["loc"], one["msg"]) for one in error.errors()]
    elif isinstance(error, msgspec.ValidationError):
        return str(error)
    else:
        return f"it cannot be built ({type(error).__name__})"
    shown = [f"{'.'.join(map(str, place)) or 'it'}: {what}" for place, what in found[:5]]
    more = f" and {len(found) - 5} more" if len(found) > 5 else ""
    return "; ".join(shown) + more
