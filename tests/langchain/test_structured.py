"""Structured output for every provider and kind of schema."""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
import pytest

pytest.importorskip("langchain_core", reason="the extra langchain is not installed")

import pydantic
import pydantic.v1
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.exceptions import OutputParserException
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage
from typing_extensions import TypedDict

from ostiary.errors import InvalidArgumentError
from ostiary.gateway import GatewayError, StructuredOutputError
from ostiary.gateway.llm.gateway_chat import GatewayChatModel
from ostiary.gateway.llm.structured import StructuredOutputParser, shape_of, untitled
from tests.langchain.peers import body_of, call, delta, says, streams

if TYPE_CHECKING:
    from collections.abc import Iterator


class Place(pydantic.BaseModel):
    """Where."""

    file: str
    line: int = pydantic.Field(ge=1)


class Leak(pydantic.BaseModel):
    """A hard-coded secret."""

    title: str = pydantic.Field(description="in a few words")
    severity: Literal["low", "high"]
    places: list[Place]
    found: date | None = None
    confidence: int = 3


class Tree(pydantic.BaseModel):
    """A tree."""

    value: int
    children: list[Tree] = []


class PlaceDict(TypedDict):
    """Where."""

    file: Annotated[str, ..., "relative to the root"]
    line: int


class LeakDict(TypedDict):
    """A hard-coded secret."""

    title: str
    places: list[PlaceDict]


class TreeDict(TypedDict):
    """A tree."""

    value: int
    children: list[TreeDict]


class LeakStruct(msgspec.Struct):
    """A hard-coded secret."""

    title: str
    places: list[LeakStruct] = []


@dataclass
class LeakData:
    """A hard-coded secret."""

    title: str
    line: int


class OldLeak(pydantic.v1.BaseModel):
    """A hard-coded secret."""

    title: str
    line: int


TOOL = {
    "name": "leak",
    "description": "A hard-coded secret.",
    "parameters": {"type": "object", "properties": {"title": {"type": "string"}}},
}
SCHEMAS: dict[str, Any] = {
    "pydantic": Leak,
    "recursive": Tree,
    "typed-dict": LeakDict,
    "recursive-typed-dict": TreeDict,
    "struct": LeakStruct,
    "dataclass": LeakData,
    "old-pydantic": OldLeak,
    "json-schema": Leak.model_json_schema(),
    "function": TOOL,
    "tool": {"type": "function", "function": TOOL},
}
MODELS = [
    "ostiary:echo",
    "openai:gpt-4o",
    "anthropic:claude-sonnet-4-5",
    "google:gemini-2.5-flash",
]


@pytest.fixture(scope="module")
def models(shared_gateway: Any) -> Iterator[dict[str, GatewayChatModel]]:
    from ostiary.gateway import access_from_environment

    access = access_from_environment(shared_gateway.environment)
    made = {name: GatewayChatModel(name, gateway_client=access) for name in MODELS}
    yield made
    for model in made.values():
        model.close()


@pytest.mark.parametrize("schema", SCHEMAS)
@pytest.mark.parametrize(
    ("model", "method"),
    [
        *((model, None) for model in MODELS),
        ("openai:gpt-4o", "function_calling"),
        ("anthropic:claude-sonnet-4-5", "json_schema"),
    ],
)
async def test_every_provider_answers_in_every_shape(
    models: dict[str, GatewayChatModel], model: str, method: Any, schema: str
) -> None:
    """The built-in model makes what satisfies the schema that it was sent, and nothing else."""
    wanted = SCHEMAS[schema]
    chain = models[model].with_structured_output(wanted, method=method)
    question = "Find 'a password' in line 3"
    raw = models[model].with_structured_output(wanted, method=method, include_raw=True)
    told = raw.invoke(question)
    assert told["parsing_error"] is None
    assert isinstance(told["raw"], AIMessage)
    for answer in (
        told["parsed"],
        chain.invoke(question),
        await chain.ainvoke(question),
        list(chain.stream(question))[-1],
    ):
        if isinstance(wanted, type) and not hasattr(wanted, "__total__"):
            assert isinstance(answer, wanted)
        else:
            assert isinstance(answer, dict)
            assert answer


# --- what is asked for


def asked_for(ask: Any, model: str, schema: Any, **options: Any) -> dict[str, Any]:
    asking = ask(says('{"title": "x", "line": 1}'), model=model)
    asking.model.with_structured_output(schema, include_raw=True, **options).invoke("?")
    return body_of(asking.peer)


def test_openai_is_held_to_the_schema(ask: Any) -> None:
    format_ = asked_for(ask, "openai:gpt-4o", Leak)["response_format"]
    assert format_["type"] == "json_schema"
    inner = format_["json_schema"]
    assert (inner["name"], inner["strict"]) == ("Leak", True)
    assert inner["description"] == "A hard-coded secret."
    schema = inner["schema"]
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["title", "severity", "places", "found", "confidence"]
    # A member named title is no title, and references are kept with what they refer to.
    assert schema["properties"]["title"]["description"] == "in a few words"
    assert schema["properties"]["places"]["items"] == {"$ref": "#/$defs/Place"}
    assert schema["$defs"]["Place"]["additionalProperties"] is False


@pytest.mark.parametrize("model", ["anthropic:claude-sonnet-4-5", "somebody:else"])
def test_others_are_given_a_tool(ask: Any, model: str) -> None:
    """The model was never shown the schema."""
    if model.startswith("somebody"):
        asking = ask(says(), model="openai:gpt-4o")
        bound = GatewayChatModel(model, gateway_client=asking.model.gateway_client)
        steps = bound.with_structured_output(Leak).first.kwargs
    else:
        steps = asked_for(ask, model, Leak)
    (tool,) = steps["tools"]
    assert tool["function"]["name"] == "Leak"
    assert tool["function"]["parameters"]["$defs"]["Place"]["properties"]["line"]["minimum"] == 1
    assert steps["tool_choice"] == {"type": "function", "function": {"name": "Leak"}}


def test_json_mode_shows_the_schema_in_the_prompt(ask: Any) -> None:
    """That is for those who know nothing but JSON."""
    body = asked_for(ask, "openai:gpt-4o", Leak, method="json_mode")
    assert body["response_format"] == {"type": "json_object"}
    system, user = body["messages"]
    assert (system["role"], user) == ("system", {"role": "user", "content": "?"})
    told = json.loads(system["content"].partition("\n")[2])
    assert set(told["properties"]) == {"title", "severity", "places", "found", "confidence"}


def test_instructions_join_what_the_model_is_told_already(ask: Any) -> None:
    asking = ask(says('{"title": "x", "line": 1}'))
    chain = asking.model.with_structured_output(LeakData, method="json_mode")
    assert chain.invoke([SystemMessage("Be brief."), HumanMessage("?")]) == LeakData("x", 1)
    system, _ = body_of(asking.peer)["messages"]
    assert system["content"].startswith("Be brief.\n\n")
    chain.invoke([SystemMessage([{"type": "text", "text": "Be brief."}]), HumanMessage("?")])
    system, _ = body_of(asking.peer)["messages"]
    assert [part["type"] for part in system["content"]] == ["text", "text"]


def test_tracers_learn_what_is_asked_for(ask: Any) -> None:
    bound = ask(says()).model.with_structured_output(LeakStruct).first
    told = bound.kwargs["ls_structured_output_format"]
    assert told["kwargs"] == {"method": "json_schema", "strict": None}
    assert told["schema"]["title"] == "LeakStruct"


class OpenMap(pydantic.BaseModel):
    """Anything by name."""

    tags: dict[str, int]


def test_an_open_map_is_refused_clearly(ask: Any) -> None:
    """It became an object that could hold nothing."""
    asking = ask(says('{"tags": {"a": 1}}'))
    with pytest.raises(InvalidArgumentError, match=r"tags.*strict=False"):
        asking.model.with_structured_output(OpenMap)
    found = asking.model.with_structured_output(OpenMap, strict=False).invoke("?")
    assert found == OpenMap(tags={"a": 1})
    format_ = body_of(asking.peer)["response_format"]["json_schema"]
    assert format_["strict"] is False
    assert format_["schema"]["properties"]["tags"]["additionalProperties"] == {"type": "integer"}


@pytest.mark.parametrize(
    "schema",
    [None, 3, list[int], {"type": "array", "items": {}}, pydantic.RootModel[list[int]]],
    ids=["none", "number", "generic", "array", "root"],
)
def test_what_is_no_object_is_refused(ask: Any, schema: Any) -> None:
    with pytest.raises(InvalidArgumentError):
        ask(says()).model.with_structured_output(schema)


def test_a_method_nobody_knows_is_refused(ask: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="json_schema, function_calling, json_mode"):
        ask(says()).model.with_structured_output(Leak, method="telepathy")


def test_a_long_name_is_one_that_providers_take(ask: Any) -> None:
    schema = {"title": "Leck in Öl " * 9, "type": "object", "properties": {"x": {"type": "null"}}}
    name = asked_for(ask, "openai:gpt-4o", schema)["response_format"]["json_schema"]["name"]
    assert len(name) <= 64
    assert set(name) <= set("Leck_in_l")


# --- what becomes of answers


@pytest.mark.parametrize("model", ["openai:gpt-4o", "anthropic:claude-sonnet-4-5"])
@pytest.mark.parametrize(
    "fence",
    [
        *("{}", "```json\n{}\n```", "So:\n```\n{}\n```\nDone."),
        pytest.param("```json\n{}" + "\n" * 300_000 + "```", id="blanks"),
    ],
)
def test_json_in_words_is_taken_whatever_was_asked(ask: Any, model: str, fence: str) -> None:
    """Models that should call a tool write JSON now and then, some of them in a fence."""
    asking = ask(says(fence.replace("{}", '{"title": "x", "line": 1}')), model=model)
    found = asking.model.with_structured_output(LeakData).invoke("?")
    assert found == LeakData("x", 1)


def test_null_is_what_was_left_out(ask: Any) -> None:
    """Where every member is required, models say null for the optional ones."""
    answer = {"title": "x", "severity": "low", "places": [], "found": None, "confidence": None}
    found = ask(says(json.dumps(answer))).model.with_structured_output(Leak).invoke("?")
    assert (found.found, found.confidence) == (None, 3)


def test_types_that_json_lacks_are_read(ask: Any) -> None:
    answer = {"title": "x", "severity": "low", "places": [], "found": "2031-02-03"}
    found = ask(says(json.dumps(answer))).model.with_structured_output(Leak).invoke("?")
    assert found.found == date(2031, 2, 3)


WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "words": ({"content": "I cannot say sk-123."}, "unreadable", "no JSON"),
    "list": ({"content": "[1]"}, "unreadable", "no object"),
    "type": (
        {"content": '{"title": "x", "severity": "sk-123", "places": []}'},
        "unreadable",
        "severity",
    ),
    "missing": ({"content": "{}"}, "unreadable", "title: Field required"),
    "cut": ({"content": '{"title": "sk-123', "finish_reason": "length"}, "cut", "max_tokens"),
    "refused": ({"content": None, "refusal": "No sk-123."}, "refused", "refused"),
    "nothing": ({"content": None}, "unreadable", "no JSON"),
}


@pytest.mark.parametrize("case", WRONG)
async def test_an_answer_of_another_shape_raises(ask: Any, case: str) -> None:
    message, reason, says_what = WRONG[case]
    parts = dict(message)
    pieces = [delta(**{k: v for k, v in parts.items() if k != "finish_reason"})]
    finish = delta(finish=parts.get("finish_reason", "stop"))
    unary, stream = says(parts.pop("content"), **parts), streams(*pieces, finish)
    model = ask(unary, unary, stream, stream, unary).model
    chain = model.with_structured_output(Leak)

    async def streamed() -> None:
        async for _ in chain.astream("?"):
            pass

    for run in (
        lambda: chain.invoke("?"),
        lambda: chain.ainvoke("?"),
        lambda: list(chain.stream("?")),
        streamed,
    ):
        with pytest.raises(StructuredOutputError, match=says_what) as caught:
            if (waiting := run()) is not None and hasattr(waiting, "__await__"):
                await waiting
        error = caught.value
        assert isinstance(error, OutputParserException)
        assert isinstance(error, GatewayError)
        assert error.reason == reason
        assert "sk-123" not in str(error)
        assert str(pickle.loads(pickle.dumps(error))) == str(error)
    raw = model.with_structured_output(Leak, include_raw=True).invoke("?")
    assert raw["parsed"] is None
    assert isinstance(raw["parsing_error"], StructuredOutputError)
    assert isinstance(raw["raw"], AIMessage)
    await model.aclose()


def test_arguments_that_are_no_json_raise(ask: Any) -> None:
    bad = {"id": "c1", "function": {"name": "LeakData", "arguments": '{"title'}}
    asking = ask(says(None, tool_calls=[bad]), model="anthropic:claude-sonnet-4-5")
    with pytest.raises(StructuredOutputError, match="arguments of its call"):
        asking.model.with_structured_output(LeakData).invoke("?")


def test_a_transport_error_is_no_parsing_error(ask: Any) -> None:
    asking = ask(b"junk\r\n\r\n", max_retries=0)
    with pytest.raises(GatewayError):
        asking.model.with_structured_output(Leak, include_raw=True).invoke("?")


def test_a_stream_grows_and_ends_whole(ask: Any) -> None:
    text = '{"title": "a long one", "line": 7}'
    pieces = [delta(content=text[i : i + 4]) for i in range(0, len(text), 4)]
    schema = {"title": "leak", **_properties(title="string", line="integer")}
    found = list(
        ask(streams(*pieces, delta(finish="stop"))).model.with_structured_output(schema).stream("?")
    )
    assert found[-1] == {"title": "a long one", "line": 7}
    assert len(found) > 3
    for one, other in pairwise(found):
        assert len(json.dumps(one)) <= len(json.dumps(other))


def test_arguments_stream_as_text_does(ask: Any) -> None:
    text = '{"title": "a long one", "line": 7}'
    first = delta(tool_calls=[call(0, "LeakData", "", "c1")])
    pieces = [delta(tool_calls=[call(0, None, text[i : i + 4])]) for i in range(0, len(text), 4)]
    answer = streams(first, *pieces, delta(finish="tool_calls"))
    asking = ask(answer, model="anthropic:claude-sonnet-4-5")
    found = list(asking.model.with_structured_output(LeakData).stream("?"))
    assert found[-1] == LeakData("a long one", 7)


def test_a_long_stream_is_not_read_from_its_start_each_time() -> None:
    reads = 0

    def build(text: str) -> Any:
        nonlocal reads
        reads += 1
        return json.loads(text)

    shape = shape_of({"title": "x", **_properties(x="string")})
    parser = StructuredOutputParser(shape=msgspec.structs.replace(shape, build=build))
    pieces = ['{"x": "', *["word "] * 4000, '"}']
    found = list(parser.transform(AIMessageChunk(content=one) for one in pieces))
    assert found[-1] == {"x": "word " * 4000}
    assert reads < 200


# --- schemas


def _properties(**kinds: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {name: {"type": kind} for name, kind in kinds.items()},
        "required": list(kinds),
    }


names = st.sampled_from(["title", "default", "enum", "x", "$ref"])
schemas = st.recursive(
    st.fixed_dictionaries({"type": st.just("string")}, optional={"title": names, "default": names}),
    lambda inner: st.one_of(
        st.fixed_dictionaries(
            {"type": st.just("object"), "properties": st.dictionaries(names, inner, max_size=3)},
            optional={"title": names},
        ),
        st.fixed_dictionaries({"type": st.just("array"), "items": inner}),
        st.fixed_dictionaries({"anyOf": st.lists(inner, min_size=1, max_size=2)}),
    ),
    max_leaves=10,
)


@given(schemas)
def test_titles_go_and_members_stay(schema: dict[str, Any]) -> None:
    once = untitled(schema)
    assert untitled(once) == once
    assert _members(once) == _members(schema)
    assert not isinstance(once.get("title"), str)


def _members(schema: Any, place: str = "") -> set[str]:
    found = set()
    for name, inner in schema.get("properties", {}).items():
        found |= {f"{place}.{name}"} | _members(inner, f"{place}.{name}")
    if "items" in schema:
        found |= _members(schema["items"], f"{place}[]")
    for inner in schema.get("anyOf", []):
        found |= _members(inner, place)
    return found


async def test_raw_streams_as_langchains_does(ask: Any) -> None:
    text = '{"title": "a long one", "line": 7}'
    pieces = [delta(content=text[i : i + 8]) for i in range(0, len(text), 8)]
    good, bad = streams(*pieces, delta(finish="stop")), streams(delta(content="No.", finish="stop"))
    model = ask(good, good, bad).model
    chain = model.with_structured_output(LeakData, include_raw=True)
    for found in (list(chain.stream("?")), [one async for one in chain.astream("?")]):
        whole = found[0]
        for one in found[1:]:
            whole = whole + one
        assert whole["raw"].content == text
        assert whole["parsed"] == LeakData("a long one", 7)
        assert whole["parsing_error"] is None
    *_, last = chain.stream("?")
    assert last["parsed"] is None
    assert isinstance(last["parsing_error"], StructuredOutputError)
    await model.aclose()
