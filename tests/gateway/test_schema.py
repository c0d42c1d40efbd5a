"""Schemas: of every kind of type, closed, with references; and tools, made and run."""

from __future__ import annotations

import dataclasses
import enum
import json
import typing
from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple, TypedDict

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.gateway import ChatReply, Tool, ToolCall, json_schema, strict_schema
from ostiary.gateway.errors import GatewayArgumentError, StructuredOutputError
from ostiary.gateway.models import InvalidToolCall
from ostiary.gateway.schema import reader_of
from ostiary.gateway.structured import Structured, structured_of
from ostiary.gateway.tool import wire_tool


class Level(enum.Enum):
    LOW = "low"
    HIGH = "high"


class Place(msgspec.Struct):
    """Where it is."""

    file: str
    line: int = 1


class Issue(msgspec.Struct):
    """A finding."""

    title: str
    level: Level
    places: list[Place]
    first: Place | None = None
    note: Annotated[str, msgspec.Meta(description="in a word", max_length=80)] = ""


class Tree(msgspec.Struct):
    name: str
    children: list[Tree] = []


@dataclasses.dataclass
class Point:
    x: float
    y: float = 0.0


class Pair(TypedDict):
    key: str
    value: typing.NotRequired[int]


class Span(NamedTuple):
    start: int
    end: int


class Cat(msgspec.Struct, tag="cat"):
    lives: int


class Dog(msgspec.Struct, tag="dog"):
    tricks: list[str]


class Owner(msgspec.Struct):
    pet: Cat | Dog


def nodes(schema: Any) -> list[dict[str, Any]]:
    """Return every schema within a schema, properties' names being none."""
    found: list[dict[str, Any]] = []
    if isinstance(schema, dict):
        found.append(schema)
        for name, inner in schema.items():
            if name in {"properties", "$defs", "definitions"}:
                found += [each for value in inner.values() for each in nodes(value)]
            elif name not in {"enum", "const", "required", "discriminator"}:
                found += nodes(inner)
    elif isinstance(schema, list):
        found += [each for value in schema for each in nodes(value)]
    return found


def is_strict(schema: dict[str, Any]) -> None:
    """Check what a provider checks before it holds a model to a schema."""
    assert schema["type"] == "object"
    for node in nodes(schema):
        assert not {"title", "default", "oneOf", "allOf", "discriminator"} & set(node)
        if "properties" in node or node.get("type") == "object":
            assert node["additionalProperties"] is False
            assert node["required"] == list(node.get("properties", {}))
        if "$ref" in node:
            assert list(node) == ["$ref"]
            _, group, name = node["$ref"].split("/")
            assert name in schema[group]


@pytest.mark.parametrize("of", [Place, Issue, Tree, Point, Pair, Owner], ids=lambda t: t.__name__)
def test_types_become_strict_schemas(of: Any) -> None:
    is_strict(strict_schema(json_schema(of)))


def test_members_that_may_be_left_out_may_be_null() -> None:
    schema = strict_schema(json_schema(Place))
    assert schema["properties"]["line"] == {"anyOf": [{"type": "integer"}, {"type": "null"}]}
    assert schema["properties"]["file"] == {"type": "string"}
    issue = strict_schema(json_schema(Issue))
    assert issue["properties"]["note"]["description"] == "in a word"
    first = issue["properties"]["first"]["anyOf"]
    assert first.count({"type": "null"}) == 1


def test_references_are_kept() -> None:
    """Nested and recursive, and none leads nowhere."""
    schema = strict_schema(json_schema(Tree))
    assert "$ref" not in schema
    assert schema["$defs"]["Tree"]["properties"]["name"] == {"type": "string"}
    assert "$defs" not in strict_schema(json_schema(Place))
    both = {
        "type": "object",
        "properties": {"a": {"$ref": "#/definitions/A", "description": "why"}},
        "required": ["a"],
        "definitions": {"A": {"type": "object", "properties": {"b": {"$ref": "#/definitions/B"}}},
                        "B": {"type": "string"}, "unused": {}},
    }  # fmt: skip
    found = strict_schema(both)
    assert found["properties"]["a"] == {
        "anyOf": [{"$ref": "#/definitions/A"}],
        "description": "why",
    }
    assert set(found["definitions"]) == {"A", "B"}
    assert "unused" in both["definitions"], "what was given is not changed"


def test_names_are_no_notes() -> None:
    """A property may be called title, or default, or properties."""
    names = ("title", "default", "properties", "$defs", "examples")
    made = msgspec.defstruct("Odd", [(name, str) for name in names if name.isidentifier()])
    schema = strict_schema(json_schema(made))
    assert set(schema["properties"]) == {"title", "default", "properties", "examples"}


def test_one_of_becomes_any_of() -> None:
    pet = strict_schema(json_schema(Owner))["properties"]["pet"]
    assert [list(each) for each in pet["anyOf"]] == [["$ref"], ["$ref"]]
    schema = {"type": "object", "properties": {"x": {"oneOf": [{"type": "string"}]}}}
    assert "anyOf" in strict_schema(schema)["properties"]["x"]
    one = {"type": "object", "properties": {"x": {"allOf": [{"type": "string"}]}}, "required": "x"}
    assert strict_schema(one)["properties"]["x"] == {"type": "string"}


@pytest.mark.parametrize(
    ("schema", "place"),
    [
        ({"labels": {"type": "object", "additionalProperties": {"type": "string"}}}, "$.labels"),
        ({"labels": {"type": "object"}}, "$.labels"),
        ({"a": {"type": "array", "items": {"type": "object"}}}, r"$.a[]"),
        ({"a": {"type": "array"}}, "$.a"),
        ({"a": {}}, "$.a"),
        ({"a": True}, "$.a"),
        ({"a": {"description": "anything"}}, "$.a"),
        ({"a": {"$ref": "#/$defs/Nobody"}}, "$.a"),
        ({"a": {"$ref": "https://example.com/x"}}, "$.a"),
        ({"a": {"allOf": [{"type": "object"}, {"type": "object"}]}}, "$.a"),
        ({"a": {"type": "object", "patternProperties": {"^x": {"type": "string"}}}}, "$.a"),
    ],
    ids=range(11),
)
def test_what_cannot_be_closed_is_refused_by_its_place(schema: Any, place: str) -> None:
    """An open map is no object that holds nothing."""
    with pytest.raises(GatewayArgumentError) as caught:
        strict_schema({"type": "object", "properties": schema})
    assert f": {place} " in str(caught.value)
    assert "strict=False" in str(caught.value)


def test_maps_are_for_schemas_that_are_not_strict() -> None:
    class Labelled(msgspec.Struct):
        labels: dict[str, int]

    with pytest.raises(GatewayArgumentError, match=r"\$\.labels"):
        Structured(Labelled, True)
    shape = Structured(Labelled, False)
    reply = shape.read(ChatReply('{"labels": {"a": 1}}'))
    assert reply.parsed == Labelled({"a": 1})
    sent = shape.apply({"messages": []}, "json_schema")["response_format"]["json_schema"]
    assert sent["strict"] is False
    assert sent["schema"]["properties"]["labels"]["additionalProperties"] == {"type": "integer"}


SCHEMAS = st.deferred(
    lambda: st.one_of(
        st.sampled_from([{"type": "string"}, {"type": "integer"}, {"enum": ["a", 1]}]),
        st.sampled_from([{"$ref": "#/$defs/D"}, {"$ref": "#/$defs/D", "description": "d"}]),
        st.builds(lambda items: {"type": "array", "items": items}, SCHEMAS),
        st.builds(lambda each: {"anyOf": each}, st.lists(SCHEMAS, min_size=1, max_size=3)),
        st.builds(lambda each: {"title": "t", "default": None, **each}, SCHEMAS),
        OBJECTS,
    )
)
OBJECTS = st.builds(
    lambda members, chosen: {
        "type": "object",
        "properties": members,
        "required": [name for name in members if name in chosen],
    },
    st.dictionaries(st.sampled_from(["title", "a", "b", "default"]), SCHEMAS, min_size=1),
    st.sets(st.sampled_from(["title", "a", "b"])),
)


@given(OBJECTS)
def test_closing_is_done_once_and_for_all(schema: dict[str, Any]) -> None:
    schema = {**schema, "$defs": {"D": {"type": "object", "properties": {"d": {"type": "null"}}}}}
    before = json.dumps(schema)
    closed = strict_schema(schema)
    assert json.dumps(schema) == before
    is_strict(closed)
    assert strict_schema(closed) == closed


# --- structured replies


def read(of: Any, text: str, *, strict: bool = True, **more: Any) -> Any:
    return structured_of(of, strict).read(ChatReply(text, **more)).parsed


@pytest.mark.parametrize(
    ("of", "text", "value"),
    [
        (Place, '{"file": "a.py", "line": 3}', Place("a.py", 3)),
        (Place, '{"file": "a.py", "line": null}', Place("a.py")),
        (Point, '{"x": 1, "y": null}', Point(1.0)),
        (Pair, '{"key": "k", "value": null}', {"key": "k"}),
        (Tree, '{"name": "r", "children": [{"name": "c", "children": []}]}',
         Tree("r", [Tree("c")])),
        (Owner, '{"pet": {"type": "dog", "tricks": ["sit"]}}', Owner(Dog(["sit"]))),
        (list[int], '{"value": [1, 2]}', [1, 2]),
        (int, '{"value": 5}', 5),
        (Literal["a", "b"], '{"value": "b"}', "b"),
        (Cat | Dog, '{"value": {"type": "cat", "lives": 9}}', Cat(9)),
        (Span, '{"value": [1, 2]}', Span(1, 2)),
        ({"title": "Thing", "type": "object", "properties": {"a": {"type": "string"}}},
         '{"a": "x"}', {"a": "x"}),
        (Place, '```json\n{"file": "a.py"}\n```', Place("a.py")),
    ],
    ids=range(13),
)  # fmt: skip
def test_answers_are_read_as_their_type(of: Any, text: str, value: Any) -> None:
    assert read(of, text, strict=of is not Span) == value


def test_what_a_null_may_be_stays() -> None:
    class Maybe(msgspec.Struct):
        a: int | None
        b: int = 3

    assert read(Maybe, '{"a": null, "b": 4}') == Maybe(None, 4)


@pytest.mark.parametrize(
    ("text", "more", "reason"),
    [
        ("no JSON: secret words", {}, "unreadable"),
        ('{"file": 5}', {}, "unreadable"),
        ("{}", {}, "unreadable"),
        ("[]", {}, "unreadable"),
        ("", {}, "unreadable"),
        ('{"file": "secret words', {"finish_reason": "length"}, "cut"),
        ("secret words", {"finish_reason": "content_filter"}, "refused"),
        ("", {"refusal": "secret words"}, "refused"),
    ],
    ids=range(8),
)
def test_answers_of_another_shape(text: str, more: Any, reason: str) -> None:
    with pytest.raises(StructuredOutputError) as caught:
        read(Place, text, **more)
    assert caught.value.reason == reason
    assert "secret" not in str(caught.value)
    assert caught.value.__context__ is None, "a traceback shows no answer either"


def test_an_answer_by_a_tool() -> None:
    shape = structured_of(Place, True)
    sent = shape.apply({"messages": [], "temperature": 1}, "tool")
    assert sent["tool_choice"] == {"type": "function", "function": {"name": "Place"}}
    assert sent["tools"][0]["function"]["parameters"] == shape.schema
    call = ToolCall("c", "Place", '{"file": "a.py"}')
    found = shape.read(ChatReply(tool_calls=(call,), finish_reason="tool_calls"))
    assert found.parsed == Place("a.py")
    assert (found.tool_calls, found.finish_reason) == ((), "stop")
    assert found.text == '{"file": "a.py"}'
    # A model that answers in words all the same is read, too.
    assert shape.read(ChatReply('{"file": "b"}')).parsed == Place("b")
    bad = InvalidToolCall("c", "Place", "{", "no JSON")
    with pytest.raises(StructuredOutputError):
        shape.read(ChatReply(invalid_tool_calls=(bad,)))


def test_an_answer_beside_other_tools() -> None:
    shape = structured_of(Place, True)
    sent = shape.apply({"messages": [], "tools": [{"type": "function"}]}, "tool")
    assert sent["tool_choice"] == "required"
    assert len(sent["tools"]) == 2
    other = ChatReply(tool_calls=(ToolCall("c", "grep"),), finish_reason="tool_calls")
    assert shape.read(other) is other


def test_an_answer_that_is_only_told_of() -> None:
    """A model that is held to nothing is at least shown the schema."""
    shape = structured_of(Place, True)
    sent = shape.apply({"messages": [{"role": "user", "content": "x"}]}, "json_object")
    assert sent["response_format"] == {"type": "json_object"}
    assert '"file"' in sent["messages"][0].content


def test_names_are_what_providers_take() -> None:
    assert structured_of(list[Place], True).name == "list"
    odd = {"title": "an odd name, " + "x" * 80, "type": "object", "properties": {}}
    name = Structured({**odd, "additionalProperties": False}, True).name
    assert len(name) <= 64
    assert name.startswith("an_odd_name_x")


def test_types_without_a_schema() -> None:
    for of in (object, Callable[[], int], type(iter(()))):
        with pytest.raises(GatewayArgumentError):
            structured_of(of, True)


def test_pydantic() -> None:
    pydantic = pytest.importorskip("pydantic")
    Inner = pydantic.create_model("Inner", word=(str, ...))
    Outer = pydantic.create_model("Outer", inner=(Inner, ...), tags=(list[str], []))
    is_strict(strict_schema(json_schema(Outer)))
    found = read(Outer, '{"inner": {"word": "x"}, "tags": null}')
    assert found == Outer(inner=Inner(word="x"))
    with pytest.raises(StructuredOutputError) as caught:
        read(Outer, '{"inner": {"word": 5}}')
    assert "inner.word" in str(caught.value)
    assert read(list[Inner], '{"value": [{"word": "x"}]}') == [Inner(word="x")]
    tool = Tool.of(Inner)
    assert tool.run(ToolCall("c", "Inner", '{"word": "x"}')) == Inner(word="x")


def test_readers_are_made_once() -> None:
    assert structured_of(Place, True) is structured_of(Place, True)
    assert reader_of(Place)('{"file": "x"}') == Place("x")


# --- tools


def grep(pattern: str, limit: Annotated[int, "how many lines at most"] = 10) -> list[str]:
    """Search the files.

    Reads all of them.
    """
    return [pattern] * limit


def test_a_tool_of_a_function() -> None:
    tool = Tool.of(grep)
    assert (tool.name, tool.description) == ("grep", "Search the files.")
    assert tool.parameters["required"] == ["pattern"]
    limit = tool.parameters["properties"]["limit"]
    assert limit["description"] == "how many lines at most"
    assert tool.run(ToolCall("c", "grep", '{"pattern": "x", "limit": 2}')) == ["x", "x"]
    assert len(tool.run(ToolCall("c", "grep", '{"pattern": "x"}'))) == 10


@pytest.mark.parametrize("arguments", ['{"pattern": 5}', "{}", "[]", "{", '{"limit": "secret"}'])
def test_arguments_that_do_not_fit(arguments: str) -> None:
    with pytest.raises(GatewayArgumentError) as caught:
        Tool.of(grep).run(ToolCall("c", "grep", arguments))
    assert "secret" not in str(caught.value)


def test_a_strict_tool() -> None:
    sent = Tool.of(grep, strict=True, name="find", description="Find.").wire()["function"]
    assert (sent["name"], sent["description"], sent["strict"]) == ("find", "Find.", True)
    assert sent["parameters"]["required"] == ["pattern", "limit"]
    is_strict(sent["parameters"])


def test_tools_of_types_and_schemas() -> None:
    place = Tool.of(Place)
    assert place.description == "Where it is."
    assert place.run(ToolCall("c", "Place", '{"file": "x"}')) == Place("x")
    assert Tool.of(Point).description == ""
    schema = {"title": "look", "description": "Look.", "type": "object", "properties": {}}
    assert Tool.of(schema).name == "look"
    assert wire_tool(schema) == wire_tool({"name": "look", "description": "Look.",
                                           "parameters": schema})  # fmt: skip
    with pytest.raises(GatewayArgumentError, match="no function"):
        Tool.of(schema).run(ToolCall("c", "look"))


def test_functions_of_every_kind() -> None:
    class Box:
        def open(self, wide: bool = True) -> bool:
            return wide

        def __call__(self, key: str) -> str:
            return key

    def mixed(a: int, /, b: int, *, c: list[int] = [5]) -> tuple[int, int, list[int]]:  # noqa: B006
        c.append(a)
        return a, b, c

    assert Tool.of(Box().open).run(ToolCall("c", "open")) is True
    assert Tool.of(Box(), name="box").run(ToolCall("c", "box", '{"key": "k"}')) == "k"
    tool = Tool.of(mixed)
    assert tool.run(ToolCall("c", "mixed", '{"a": 1, "b": 2}')) == (1, 2, [5, 1])
    assert tool.run(ToolCall("c", "mixed", '{"a": 1, "b": 2}')) == (1, 2, [5, 1])


def test_what_is_no_tool() -> None:
    def anything(*args: int) -> None: ...

    def lost(x: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    for source in (anything, lost, 5, int):
        with pytest.raises(GatewayArgumentError):
            Tool.of(source)  # type: ignore[arg-type]
    for name in ("", "a b", "x" * 65, None):
        with pytest.raises(GatewayArgumentError):
            Tool(name=name)  # type: ignore[arg-type]
