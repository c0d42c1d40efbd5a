"""The built-in model: what it answers, by which rules, and how it is said."""

from __future__ import annotations

import base64
import contextlib
import json
import math
import struct
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("cryptography", reason="the extra dev is not installed")

from ostiary.devserver import RunningGateway, running
from ostiary.devserver.gateway import echo, vectors
from ostiary.devserver.gateway.instances import Filler
from tests.devserver.gateway import CHAT, EMBED, asking, proof, refusal, stream
from tests.devserver.web import Web


@pytest.fixture(scope="module")
def gateway() -> Iterator[RunningGateway]:
    with running(tcp=False, demo=True) as server:
        yield server.gateway


@pytest.fixture
def web(gateway: RunningGateway) -> Iterator[Web]:
    with Web(gateway.socket_path) as one:
        yield one


class Model:
    """The model over the wire."""

    def __init__(self, gateway: RunningGateway, web: Web) -> None:
        self.headers = proof(gateway)
        self.web = web

    def ask(self, text: Any, **more: Any) -> Any:
        reply = self.web.post(CHAT, asking(text, **more), headers=self.headers)
        assert reply.status == 200, reply
        return reply.document

    def choice(self, text: Any, **more: Any) -> Any:
        (choice,) = self.ask(text, **more)["choices"]
        return choice

    def text(self, text: Any, **more: Any) -> Any:
        return self.choice(text, **more)["message"]["content"]

    def refused(self, text: Any, **more: Any) -> tuple[int, str, Any]:
        reply = self.web.post(CHAT, asking(text, **more), headers=self.headers)
        status, code = refusal(reply)
        return status, code, reply.document["error"]["param"]

    def stream(self, text: Any, **more: Any) -> list[Any]:
        return stream(self.web, asking(text, **more), self.headers)


@pytest.fixture
def model(gateway: RunningGateway, web: Web) -> Model:
    return Model(gateway, web)


def tool(name: str, /, **properties: Any) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return {"type": "function", "function": {"name": name, "parameters": schema}}


WEATHER = tool("get_weather", location={"type": "string"})
MAGIC = tool("magic_function", input={"type": "integer"})


# -- words ------------------------------------------------------------------------


def test_it_says_what_it_was_told(model: Model) -> None:
    found = model.ask("Hello, world")
    assert found["object"] == "chat.completion"
    assert found["model"] == "echo"
    assert found["choices"][0]["message"] == {
        "role": "assistant",
        "content": "Hello, world",
        "refusal": None,
    }
    assert found["choices"][0]["finish_reason"] == "stop"
    assert found["usage"]["completion_tokens"] == 3
    assert found["usage"]["total_tokens"] == found["usage"]["prompt_tokens"] + 3


def test_it_is_the_last_user_message_that_counts(model: Model) -> None:
    messages = [
        {"role": "system", "content": "/say no"},
        {"role": "developer", "content": "Be kind."},
        {"role": "user", "content": "first", "name": "bob"},
        {"role": "assistant", "content": None, "tool_calls": []},
        {"role": "user", "content": [{"type": "text", "text": "second"}]},
        {"role": "assistant", "content": "and so"},
    ]
    reply = model.web.post(CHAT, {"model": "echo", "messages": messages}, headers=model.headers)
    assert reply.document["choices"][0]["message"]["content"] == "second"


def test_parts_that_are_no_text_are_counted(model: Model) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    audio = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
    file = {"type": "file", "file": {"file_id": "f"}}
    found = model.ask([image, audio, file])
    assert found["choices"][0]["message"]["content"] == "I was sent 3 attachments and no words."
    assert found["usage"]["prompt_tokens_details"]["audio_tokens"] > 0
    assert found["usage"]["prompt_tokens"] > 100
    assert model.refused([{"type": "hologram"}])[:2] == (400, "invalid_request")


@settings(max_examples=50, deadline=None)
@given(st.text())
def test_tokens_are_the_text(text: str) -> None:
    assert "".join(echo.tokens(text)) == text


def test_it_stops_where_it_is_told(model: Model) -> None:
    assert model.choice("one two three", max_tokens=2)["finish_reason"] == "length"
    assert model.text("one two three", max_tokens=2) == "one two"
    assert model.text("one two three", max_tokens=2, max_completion_tokens=1) == "one"
    assert model.choice("one two three", max_tokens=3)["finish_reason"] == "stop"
    assert model.text("one two three", stop="two") == "one "
    assert model.text("one two three", stop=["three", "two"]) == "one "


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0]"),
        ({"messages": [{"role": "king", "content": "x"}]}, "messages[0].role"),
        ({"messages": "x"}, "messages"),
        ({"temperature": 3}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_p": 2}, "top_p"),
        ({"n": 2}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"stop": ["x"] * 17}, "stop"),
        ({"stream": "yes"}, "stream"),
        ({"reasoning_effort": "heroic"}, "reasoning_effort"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": {"type": "function", "function": {"name": "x"}}}, "tool_choice"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": [tool("x", y={"minimum": "low", "type": "integer"})],
          "tool_choice": "required"}, "tools"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        ({"response_format": {"type": "poem"}}, "response_format.type"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(model: Model, more: Any, param: str) -> None:
    status, code, named = model.refused("x", **more)
    assert (status, code) == (400, "invalid_request")
    assert named is not None
    assert named.startswith(param.partition("[")[0])


# -- commands ---------------------------------------------------------------------


def test_commands(model: Model) -> None:
    assert model.text("/say This,\nand that.") == "This,\nand that."
    assert model.text("hello\n/pace 0\nworld") == "hello\nworld"
    assert model.text("/words 4") == "the quick model reads"
    assert model.text("/null") is None
    assert model.choice("/finish content_filter\nx")["finish_reason"] == "content_filter"
    refused = model.choice("/refuse I cannot.")["message"]
    assert (refused["content"], refused["refusal"]) == (None, "I cannot.")
    assert (
        model.ask("/cached 4\none two three")["usage"]["prompt_tokens_details"]["cached_tokens"]
        == 4
    )
    assert model.text("/unknown stays") == "/unknown stays"
    assert model.text("a/say b") == "a/say b"


def test_a_failure_on_demand(model: Model) -> None:
    assert model.refused("/fail 503")[:2] == (503, "unavailable")
    reply = model.web.post(CHAT, asking("/fail 429 7"), headers=model.headers)
    assert (reply.status, reply["retry-after"]) == (429, "7")


@pytest.mark.parametrize(
    "text",
    ["/fail", "/fail 200", "/fail 600", "/fail 429 -1", "/pace", "/pace -1", "/pace nan",
     "/words x", "/words 99999999", "/error", "/cut -1", "/cached x", "/call", "/call f {",
     "/call f []"],
)  # fmt: skip
def test_a_command_that_is_none(model: Model, text: str) -> None:
    assert model.refused(text) == (400, "invalid_request", "messages")


def test_reasoning_costs(model: Model) -> None:
    plain = model.ask("x")["usage"]
    deep = model.ask("x", reasoning_effort="high")["usage"]
    assert plain["completion_tokens_details"]["reasoning_tokens"] == 0
    assert deep["completion_tokens_details"]["reasoning_tokens"] == 32
    assert deep["completion_tokens"] == plain["completion_tokens"] + 32


# -- tools ------------------------------------------------------------------------


def calls(choice: Any) -> list[tuple[str, Any]]:
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    return [
        (c["function"]["name"], json.loads(c["function"]["arguments"]))
        for c in choice["message"]["tool_calls"]
    ]


@pytest.mark.parametrize(
    ("prompt", "tools", "more", "wanted"),
    [
        ("What is magic_function(3)?", [MAGIC, WEATHER], {}, ("magic_function", {"input": 3})),
        ("What is the weather in 'San Francisco, CA'?", [MAGIC, WEATHER], {},
         ("get_weather", {"location": "San Francisco, CA"})),
        ("Anything", [WEATHER, MAGIC], {"tool_choice": "required"},
         ("get_weather", {"location": "Anything"})),
        ("The weather, -7", [WEATHER, MAGIC],
         {"tool_choice": {"type": "function", "function": {"name": "magic_function"}}},
         ("magic_function", {"input": -7})),
        ("Create a customer named '你好啊集团'", [tool("createCustomer", name={"type": "string"})],
         {}, ("createCustomer", {"name": "你好啊集团"})),
        ("use nothing_at_all", [tool("nothing_at_all")], {}, ("nothing_at_all", {})),
    ],
)  # fmt: skip
def test_it_calls_the_tool_that_is_meant(
    model: Model, prompt: str, tools: Any, more: Any, wanted: Any
) -> None:
    assert calls(model.choice(prompt, tools=tools, **more)) == [wanted]


def test_it_calls_none_when_none_is_meant(model: Model) -> None:
    assert model.text("Hello", tools=[WEATHER, MAGIC]) == "Hello"
    assert model.text("the weather", tools=[WEATHER], tool_choice="none") == "the weather"


def test_calls_by_command(model: Model) -> None:
    choice = model.choice('/call a {"x": 1}\n/call b\n')
    assert calls(choice) == [("a", {"x": 1}), ("b", {})]
    one, two = choice["message"]["tool_calls"]
    assert one["id"] != two["id"]
    assert model.choice('/call a {"x": 1}\n/call b\n') == choice
    (bad,) = model.choice("/badcall grep {half")["message"]["tool_calls"]
    assert bad["function"] == {"name": "grep", "arguments": "{half"}


def test_after_a_tools_result_it_speaks(model: Model) -> None:
    messages = [
        {"role": "user", "content": "the weather"},
        {"role": "assistant", "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "get_weather",
                                                          "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
    ]  # fmt: skip
    body = {"model": "echo", "messages": messages, "tools": [WEATHER]}
    reply = model.web.post(CHAT, body, headers=model.headers)
    assert reply.document["choices"][0]["message"]["content"] == "The tool says: sunny"


# -- schemas ----------------------------------------------------------------------


def schema(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


NODE: Any = {
    "$defs": {
        "Node": schema(
            name={"type": "string"},
            next={"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]},
            children={"type": "array", "items": {"$ref": "#/$defs/Node"}},
        )
    },
    "$ref": "#/$defs/Node",
}


def structured(model: Model, text: str, wanted: Any) -> Any:
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": wanted, "strict": True}}
    return json.loads(model.text(text, response_format=form))


def test_structured_output(model: Model) -> None:
    wanted = schema(
        title={"type": "string"},
        level={"enum": ["low", "high"]},
        score={"type": "number", "maximum": 10},
        tags={"type": "array", "items": {"type": "string"}, "minItems": 2},
        kind={"const": "finding"},
        more={"anyOf": [{"type": "null"}, {"type": "integer"}]},
        sure={"type": "boolean"},
    )
    found = structured(model, "A high risk of 7.5: 'no timeout', 'net', 'tls', 12", wanted)
    assert found == {
        "title": "no timeout",
        "level": "high",
        "score": 7.5,
        "tags": ["net", "tls"],
        "kind": "finding",
        "more": 12,
        "sure": True,
    }
    assert structured(model, "x", NODE) == {"name": "x", "next": None, "children": []}
    assert structured(model, '{"a": 1}', wanted) == {"a": 1}  # a test's own instance


def test_json_without_a_schema(model: Model) -> None:
    form = {"type": "json_object"}
    found = json.loads(model.text("with 'setup' and 'punchline' keys", response_format=form))
    assert set(found) == {"setup", "punchline"}
    assert json.loads(model.text("hello", response_format=form)) == {"answer": "hello"}
    assert model.text("hello", response_format={"type": "text"}) == "hello"


@pytest.mark.parametrize(
    ("wanted", "instance"),
    [
        (True, "say 'hi' 5"),
        ({"allOf": [{"$ref": "#/$defs/A"}, schema(b={"type": "integer"})],
          "$defs": {"A": schema(a={"type": "string"})}}, {"a": "hi", "b": 5}),
        ({"oneOf": [{"type": "null"}, {"type": "boolean"}]}, True),
        ({"type": ["null", "integer"]}, 5),
        ({"type": ["null"]}, None),
        ({"properties": {"a": {"type": "null"}}}, {"a": None}),
        ({"items": {"type": "string"}}, ["hi"]),
        ({"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}]}, [5, "hi"]),
        ({"type": "array", "prefixItems": [{"type": "integer"}], "items": False}, [5]),
        ({"type": "array", "items": {"type": "string"}, "maxItems": 0}, []),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, {"hi": 5}),
        ({"type": "object", "additionalProperties": False}, {}),
        ({"type": "string", "format": "date"}, "2026-01-02"),
        ({"type": "string", "maxLength": 1}, "h"),
        ({"type": "integer", "minimum": 6, "default": 9}, 9),
        ({"type": "number", "minimum": 6, "default": 9.5}, 9.5),
        ({"type": "integer", "exclusiveMaximum": 0}, -1),
        ({"type": "integer", "multipleOf": 4}, 4),
        ({"enum": ["loud", "say"]}, "say"),
        ({"enum": [7, 8]}, 7),
        ({"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"const": 1}}}, 1),
        ({"$ref": "elsewhere.json"}, "hi"),
        (schema(a={"$ref": "#/properties/b"}, b={"type": "integer"}, c={"type": "integer"}),
         {"a": 5, "b": 1, "c": 1}),
    ],
    ids=range(23),
)  # fmt: skip
def test_what_a_schema_is_filled_with(wanted: Any, instance: Any) -> None:
    assert Filler(wanted, "say 'hi' 5").fill() == instance


_leaves = st.one_of(
    st.just({"type": "string"}),
    st.builds(lambda n: {"type": "string", "minLength": n}, st.integers(0, 20)),
    st.builds(lambda n: {"type": "string", "maxLength": n}, st.integers(0, 20)),
    st.just({"type": "boolean"}),
    st.just({"type": "null"}),
    st.builds(
        lambda low, width: {"type": "integer", "minimum": low, "maximum": low + width},
        st.integers(-100, 100),
        st.integers(0, 50),
    ),
    st.builds(lambda low: {"type": "number", "exclusiveMinimum": low}, st.integers(-1000, 1000)),
    st.builds(lambda n: {"type": "integer", "multipleOf": n}, st.integers(1, 9)),
    st.builds(lambda values: {"enum": values}, st.lists(st.integers(), min_size=1, max_size=3)),
)


@pytest.mark.parametrize(
    "wanted",
    [
        {"anyOf": [{"type": "null", "a": n} for n in range(60_000)]},
        {"allOf": [{f"a{n}": 1} for n in range(30_000)]},
        {"allOf": [{"required": [f"a{n}"]} for n in range(30_000)]},
        {
            "properties": {f"a{n}": {"$ref": "#/$defs/A"} for n in range(9_000)},
            "$defs": {"A": {"anyOf": [{"type": "null"}] * 60_000}},
        },
        schema(**{f"a{n}": {} for n in range(9_000)}) | {"required": ["b"] * 100_000},
    ],
    ids=["branches", "parts", "required parts", "references", "required"],
)
def test_a_schema_as_large_as_a_request_is_looked_at_or_refused(wanted: Any) -> None:
    """Everybody waits for it meanwhile."""
    with contextlib.suppress(ValueError):
        Filler(wanted, "x").fill()


def test_a_tool_is_chosen_from_many_by_much_text(model: Model) -> None:
    tools = [tool(f"t{n}_abc") for n in range(3_000)]
    (call,) = model.choice("t7_abc, " + "words " * 100_000, tools=tools)["message"]["tool_calls"]
    assert call["function"]["name"] == "t7_abc"


_schemas = st.recursive(
    _leaves,
    lambda inner: st.one_of(
        st.builds(lambda p: schema(**p), st.dictionaries(st.sampled_from("abcd"), inner)),
        st.builds(
            lambda items, least: {"type": "array", "items": items, "minItems": least},
            inner,
            st.integers(0, 3),
        ),
        st.builds(lambda one, two: {"anyOf": [one, two]}, inner, inner),
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(wanted=_schemas, text=st.text(max_size=60))
def test_an_instance_satisfies_its_schema(wanted: Any, text: str) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    jsonschema.Draft202012Validator(wanted).validate(Filler(wanted, text).fill())


@pytest.mark.parametrize(
    "wanted", [{"$ref": "#"}, {"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/A"}}}]
)
def test_a_schema_that_is_only_itself_ends(wanted: Any) -> None:
    assert Filler(wanted, "x").fill() is not None


# -- streams ----------------------------------------------------------------------


def test_a_stream_says_the_same(model: Model) -> None:
    found = model.stream("one two three", stream_options={"include_usage": True})
    assert found[-1] == "[DONE]"
    assert found[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert len({one["id"] for one in found[:-1]}) == 1
    assert [one["usage"] for one in found[:-2]] == [None] * len(found[:-2])
    assert found[-2]["choices"] == []
    assert found[-2]["usage"] == model.ask("one two three")["usage"]
    deltas = [one["choices"][0] for one in found[:-2]]
    assert [d["delta"].get("content") for d in deltas[1:-1]] == ["one", " two", " three"]
    assert deltas[-1]["finish_reason"] == "stop"
    assert "usage" not in model.stream("x")[0]


def test_streamed_calls_come_in_fragments(model: Model) -> None:
    found = model.stream('/call grep {"pattern": "a long pattern"}\n/call ls')
    deltas = [
        call for one in found[:-1] for call in one["choices"][0]["delta"].get("tool_calls") or ()
    ]
    texts = {0: "", 1: ""}
    for delta in deltas:
        texts[delta["index"]] += delta["function"]["arguments"]
    assert texts == {0: '{"pattern": "a long pattern"}', 1: "{}"}
    assert [d["function"].get("name") for d in deltas if "id" in d] == ["grep", "ls"]
    assert len(deltas) > 4
    assert found[-2]["choices"][0]["finish_reason"] == "tool_calls"


def test_a_stream_that_fails(model: Model, gateway: RunningGateway) -> None:
    found = model.stream("/error 2\none two")
    assert len(found) == 3
    assert found[-1]["error"]["code"] == "upstream_error"
    assert "[DONE]" not in found
    assert (gateway.calls()[-1].status, gateway.calls()[-1].code) == (502, "upstream_error")
    model.web.send("POST", CHAT, asking("/cut 1\none") | {"stream": True}, headers=model.headers)
    assert model.web.head()[0] == 200
    with pytest.raises(EOFError):
        list(model.web.chunks())


# -- vectors ----------------------------------------------------------------------


def embed(model: Model, given: Any, **more: Any) -> Any:
    reply = model.web.post(EMBED, {"model": "hash", "input": given} | more, headers=model.headers)
    assert reply.status == 200, reply
    return reply.document


def test_vectors(model: Model) -> None:
    found = embed(model, ["a red car", "the red cars", "quantum theory"])
    assert [one["index"] for one in found["data"]] == [0, 1, 2]
    one, near, far = (each["embedding"] for each in found["data"])
    assert len(one) == vectors.DIMENSIONS
    assert math.isclose(math.hypot(*one), 1.0)

    def cosine(a: list[float], b: list[float]) -> float:
        return sum(x * y for x, y in zip(a, b, strict=True))

    assert cosine(one, near) > cosine(one, far) + 0.1
    assert found["usage"]["prompt_tokens"] == found["usage"]["total_tokens"] > 0


def test_vectors_as_bytes(model: Model) -> None:
    plain = embed(model, "alpha", dimensions=5)["data"][0]["embedding"]
    coded = embed(model, "alpha", dimensions=5, encoding_format="base64")["data"][0]["embedding"]
    assert struct.unpack("<5f", base64.b64decode(coded)) == pytest.approx(plain, abs=1e-6)


def test_vectors_of_tokens(model: Model) -> None:
    one = embed(model, [1, 2, 3])["data"]
    assert one == embed(model, [[1, 2, 3]])["data"]
    assert len(embed(model, [[1], [2]])["data"]) == 2


@pytest.mark.parametrize(
    ("given", "more"),
    [([], {}), ("", {}), (["a", ""], {}), ([1, "a"], {}), ([[]], {}), (["x"] * 2049, {}),
     ("x " * 9000, {}),
     ("x", {"dimensions": 0}), ("x", {"dimensions": 5000}), ("x", {"encoding_format": "hex"}),
     (None, {}), ({"a": 1}, {})],
    ids=range(12),
)  # fmt: skip
def test_vectors_of_nothing(model: Model, given: Any, more: Any) -> None:
    reply = model.web.post(EMBED, {"model": "hash", "input": given} | more, headers=model.headers)
    assert refusal(reply) == (400, "invalid_request")


def test_vectors_are_the_same_in_every_process() -> None:
    """Python's own hash is not."""
    code = "from ostiary.devserver.gateway.vectors import vector; print(vector('alpha beta', 7))"
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            check=True,
            env={"PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }
    assert said == {f"{vectors.vector('alpha beta', 7)}\n".encode()}
