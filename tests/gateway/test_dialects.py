"""Direct mode: how each kind of provider is written to and read, over real sockets."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary._wire.sse import Event, EventDecoder
from ostiary.gateway import (
    ChatChunk,
    ConfigurationError,
    DirectProviderClient,
    GatewayError,
    Message,
    RateLimitError,
    ToolCall,
    Usage,
    image,
)
from ostiary.gateway.dialects import END, Reader
from ostiary.gateway.dialects.anthropic import ANTHROPIC
from ostiary.gateway.dialects.google import GOOGLE
from ostiary.gateway.errors import (
    GatewayArgumentError,
    GatewayAuthError,
    GatewayConnectionLostError,
    GatewayProtocolError,
    GatewayUnavailableError,
)
from ostiary.gateway.stream import Gathered
from tests.http.peer import HttpPeer

from .clients import DONE, USAGE, Client, Connect, Peers, bodies, chunk, fails, reply, streams

pytestmark = pytest.mark.usefixtures("at_once")

Direct = Callable[..., Client]
CLAUDE, GEMINI, GPT = "anthropic:claude-test", "google:gemini-test", "openai:gpt-test"


def grep(pattern: str) -> str:
    """Search."""
    return pattern


class City(msgspec.Struct):
    name: str
    twins: list[City] = []


TALK = [
    Message.system("Be brief."),
    {"role": "developer", "content": "In English."},
    Message.user("What is this?", image(b"\xff\xd8\xff.."), image("https://img.example/a.png")),
    Message.user("And this?"),
    Message.assistant("Let me look.", [ToolCall("c1", "grep", '{"pattern": "x"}')]),
    ToolCall("c1", "grep").result('{"lines": [1]}'),
    Message.assistant(None, [ToolCall("c2", "grep", "")]),
    ToolCall("c2", "grep").result("nothing"),
]


# --- as OpenAI writes


def test_openai(direct: Direct, peers: Peers) -> None:
    peer = peers(reply(), streams(chunk("a"), USAGE, DONE))
    client = direct(peer)
    assert client.chat("x", model=GPT).text == "Only net.py:12."
    assert client.stream_chat("x", model="gpt-test").collect().text == "a"
    asked = peer.asked[0]
    assert asked.target == "/v1/chat/completions"
    assert asked.header("authorization") == "Bearer key-of-openai"
    assert asked.header("x-provider") is None
    assert asked.header("txn-token") is None


def test_openai_vectors(direct: Direct, peers: Peers) -> None:
    peer = peers({"data": [{"index": 0, "embedding": [1.0]}]})
    assert direct(peer).embed("x", model="openai:embed").vectors == [[1.0]]
    assert peer.asked[0].target == "/v1/embeddings"


# --- as Anthropic writes

ANSWER = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-test-1",
    "content": [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "text", "text": "Rome"},
        {"type": "tool_use", "id": "toolu_1", "name": "grep", "input": {"pattern": "x"}},
    ],
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "usage": {"input_tokens": 10, "output_tokens": 5, "cache_read_input_tokens": 3},
}


def test_what_anthropic_is_sent(direct: Direct, peers: Peers) -> None:
    peer = peers(ANSWER)
    direct(peer).chat(
        TALK,
        model=CLAUDE,
        tools=[grep],
        tool_choice="required",
        parallel_tool_calls=False,
        temperature=0.5,
        top_p=0.9,
        stop="END",
        user="u-1",
        max_completion_tokens=50,
        extra={"thinking": {"type": "disabled"}},
    )
    (asked,) = peer.asked
    assert asked.target == "/v1/messages"
    assert asked.header("x-api-key") == "key-of-anthropic"
    assert asked.header("anthropic-version") == "2023-06-01"
    assert asked.header("authorization") is None
    body = bodies(peer)[0]
    turns = body.pop("messages")
    assert body == {
        "model": "claude-test",
        "max_tokens": 50,
        "system": "Be brief.\n\nIn English.",
        "tools": [
            {
                "name": "grep",
                "description": "Search.",
                "input_schema": {
                    "type": "object",
                    "properties": {"pattern": {"type": "string"}},
                    "required": ["pattern"],
                },
            }
        ],
        "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
        "temperature": 0.5,
        "top_p": 0.9,
        "stop_sequences": ["END"],
        "metadata": {"user_id": "u-1"},
        "thinking": {"type": "disabled"},
    }
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user", "assistant", "user"]
    assert [part["type"] for part in turns[0]["content"]] == ["text", "image", "image", "text"]
    assert turns[0]["content"][1]["source"]["media_type"] == "image/jpeg"
    assert turns[0]["content"][2]["source"] == {"type": "url", "url": "https://img.example/a.png"}
    assert turns[1]["content"] == [
        {"type": "text", "text": "Let me look."},
        {"type": "tool_use", "id": "c1", "name": "grep", "input": {"pattern": "x"}},
    ]
    assert turns[2]["content"][0]["tool_use_id"] == "c1"
    assert turns[3]["content"][0]["input"] == {}
    assert turns[4]["content"][0]["content"] == [{"type": "text", "text": "nothing"}]


def test_what_anthropic_answers(direct: Direct, peers: Peers) -> None:
    client = direct(peers(ANSWER))
    found = client.chat("x", model=CLAUDE)
    assert (found.text, found.reasoning, found.finish_reason) == ("Rome", "hm", "tool_calls")
    assert found.tool_calls == (ToolCall("toolu_1", "grep", '{"pattern":"x"}'),)
    assert found.usage.prompt_tokens == 13
    assert (found.usage.completion_tokens, found.usage.cached_tokens) == (5, 3)
    assert (found.model, found.id) == ("claude-test-1", "msg_1")
    assert client.usage.total_tokens == 18


def told(kind: str, **members: Any) -> str:
    body = json.dumps({"type": kind, **members}, ensure_ascii=False)
    return f"event: {kind}\ndata: {body}\n\n"


BEGUN = {"id": "msg_1", "model": "claude-test-1", "content": [], "usage": {"input_tokens": 10}}
CLAUDES = (
    told("message_start", message={**BEGUN, "stop_reason": None}),
    told("ping"),
    told("content_block_start", index=0, content_block={"type": "thinking", "thinking": ""}),
    told("content_block_delta", index=0, delta={"type": "thinking_delta", "thinking": "hm"}),
    told("content_block_delta", index=0, delta={"type": "signature_delta", "signature": "s"}),
    told("content_block_stop", index=0),
    told("content_block_start", index=1, content_block={"type": "text", "text": ""}),
    told("content_block_delta", index=1, delta={"type": "text_delta", "text": "Grüße "}),
    told("content_block_delta", index=1, delta={"type": "text_delta", "text": "😀"}),
    told("content_block_stop", index=1),
    told(
        "content_block_start",
        index=2,
        content_block={"type": "tool_use", "id": "toolu_1", "name": "grep", "input": {}},
    ),
    told("content_block_delta", index=2, delta={"type": "input_json_delta", "partial_json": ""}),
    told("content_block_delta", index=2, delta={"type": "input_json_delta", "partial_json": '{"p'}),
    told(
        "content_block_delta", index=2, delta={"type": "input_json_delta", "partial_json": '": 1}'}
    ),
    told("of_a_later_version", index=9, delta={"type": "new"}),
    told("message_delta", delta={"stop_reason": "tool_use"}, usage={"output_tokens": 7}),
    told("message_stop"),
)


def test_a_stream_of_anthropic(direct: Direct, peers: Peers) -> None:
    peer = peers(streams(*CLAUDES))
    found = direct(peer).stream_chat("x", model=CLAUDE).collect()
    assert bodies(peer)[0]["stream"] is True
    assert "stream_options" not in bodies(peer)[0]
    assert (found.text, found.reasoning) == ("Grüße 😀", "hm")
    assert found.tool_calls == (ToolCall("toolu_1", "grep", '{"p": 1}'),)
    assert (found.finish_reason, found.usage) == ("tool_calls", Usage(10, 7, 17))
    assert (found.model, found.id) == ("claude-test-1", "msg_1")


@pytest.mark.parametrize("cut", [1, 8, -1])
def test_a_stream_of_anthropic_that_is_cut(direct: Direct, peers: Peers, cut: int) -> None:
    with pytest.raises(GatewayConnectionLostError):
        direct(peers(streams(*CLAUDES[:cut]))).stream_chat("x", model=CLAUDE).collect()


def test_errors_of_anthropic(direct: Direct, peers: Peers) -> None:
    error = {"type": "overloaded_error", "message": "PROSE"}
    late = streams(CLAUDES[7], told("error", error=error))
    with pytest.raises(GatewayUnavailableError) as caught:
        direct(peers(late)).stream_chat("x", model=CLAUDE).collect()
    assert "PROSE" not in str(caught.value)
    peer = peers(fails(401))
    with pytest.raises(GatewayAuthError):
        direct(peer).chat("x", model=CLAUDE)
    assert len(peer.asked) == 1, "there is no token to renew"


def test_a_shape_from_anthropic(direct: Direct, peers: Peers) -> None:
    answer = {"type": "tool_use", "id": "t", "name": "City", "input": {"name": "Rome"}}
    peer = peers({**ANSWER, "content": [answer]})
    assert direct(peer).chat("x", model=CLAUDE, response_format=City).parsed == City("Rome")
    body = bodies(peer)[0]
    assert body["tool_choice"] == {"type": "tool", "name": "City"}
    assert body["tools"][0]["input_schema"]["$defs"]["City"]


@pytest.mark.parametrize(
    "options",
    [
        {"seed": 1},
        {"reasoning_effort": "low"},
        {"response_format": {"type": "json_object"}},
        {"extra": {"logprobs": True}},
    ],
    ids=["seed", "effort", "format", "logprobs"],
)
def test_what_anthropic_has_not_is_refused_by_name(
    direct: Direct, peers: Peers, options: Any
) -> None:
    peer = peers(ANSWER)
    with pytest.raises(GatewayArgumentError, match="Anthropic has no"):
        direct(peer).chat("x", model=CLAUDE, **options)
    with pytest.raises(GatewayArgumentError, match="no embeddings"):
        direct(peer).embed("x", model=CLAUDE)
    assert peer.asked == []


# --- as Google writes

CANDIDATE = {
    "content": {
        "role": "model",
        "parts": [
            {"text": "hm", "thought": True},
            {"text": "Rome"},
            {"functionCall": {"name": "grep", "args": {"pattern": "x"}}},
        ],
    },
    "finishReason": "STOP",
}
SPENT = {
    "promptTokenCount": 10,
    "candidatesTokenCount": 5,
    "thoughtsTokenCount": 2,
    "totalTokenCount": 17,
    "cachedContentTokenCount": 3,
}
GEMINIS = {"candidates": [CANDIDATE], "usageMetadata": SPENT, "modelVersion": "gemini-test-1"}
GEMINIS |= {"responseId": "r-1"}


def test_what_google_is_sent(direct: Direct, peers: Peers) -> None:
    peer = peers(GEMINIS)
    direct(peer).chat(
        TALK,
        model=GEMINI,
        tools=[grep],
        tool_choice="grep",
        temperature=0.5,
        top_p=0.9,
        seed=7,
        stop=["END"],
        max_tokens=50,
        extra={"safetySettings": [], "generationConfig": {"topK": 3}},
    )
    (asked,) = peer.asked
    assert asked.target == "/v1beta/models/gemini-test:generateContent"
    assert asked.header("x-goog-api-key") == "key-of-google"
    body = bodies(peer)[0]
    turns = body.pop("contents")
    parameters = {"type": "object", "properties": {"pattern": {"type": "string"}}}
    parameters["required"] = ["pattern"]
    assert body == {
        "systemInstruction": {"parts": [{"text": "Be brief.\n\nIn English."}]},
        "tools": [
            {
                "functionDeclarations": [
                    {
                        "name": "grep",
                        "description": "Search.",
                        "parametersJsonSchema": parameters,
                    }
                ]
            }
        ],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["grep"]}},
        "generationConfig": {
            "temperature": 0.5,
            "topP": 0.9,
            "seed": 7,
            "maxOutputTokens": 50,
            "stopSequences": ["END"],
            "topK": 3,
        },
        "safetySettings": [],
    }
    assert [turn["role"] for turn in turns] == ["user", "model", "user", "model", "user"]
    assert turns[0]["parts"][1]["inlineData"]["mimeType"] == "image/jpeg"
    assert turns[0]["parts"][2] == {"fileData": {"fileUri": "https://img.example/a.png"}}
    assert turns[1]["parts"][1] == {"functionCall": {"name": "grep", "args": {"pattern": "x"}}}
    assert turns[2]["parts"] == [{"functionResponse": {"name": "grep", "response": {"lines": [1]}}}]
    assert turns[4]["parts"][0]["functionResponse"]["response"] == {"result": "nothing"}


def test_what_google_answers(direct: Direct, peers: Peers) -> None:
    found = direct(peers(GEMINIS)).chat("x", model=GEMINI)
    assert (found.text, found.reasoning, found.finish_reason) == ("Rome", "hm", "tool_calls")
    (call,) = found.tool_calls
    assert (call.name, call.json()) == ("grep", {"pattern": "x"})
    assert call.id
    assert found.usage == Usage(10, 7, 17, {"cached_tokens": 3}, {"reasoning_tokens": 2})
    assert (found.model, found.id) == ("gemini-test-1", "r-1")


def test_what_google_does_not_answer(direct: Direct, peers: Peers) -> None:
    blocked = direct(peers({"promptFeedback": {"blockReason": "SAFETY"}})).chat("x", model=GEMINI)
    assert blocked.finish_reason == "content_filter"
    assert "SAFETY" in blocked.refusal
    ended = {"candidates": [{"finishReason": "MAX_TOKENS", "content": {"role": "model"}}]}
    assert direct(peers(ended)).chat("x", model=GEMINI).finish_reason == "length"
    with pytest.raises(GatewayProtocolError):
        direct(peers({})).chat("x", model=GEMINI)


def piece(*parts: Any, reason: str | None = None) -> str:
    candidate: dict[str, Any] = {"content": {"parts": list(parts)}}
    if reason is not None:
        candidate["finishReason"] = reason
    body = {"candidates": [candidate], "usageMetadata": SPENT, "modelVersion": "gemini-test-1"}
    return f"data: {json.dumps(body, ensure_ascii=False)}\r\n\r\n"


PIECES = (
    piece({"text": "hm", "thought": True}),
    piece({"text": "Grüße "}),
    piece({"functionCall": {"id": "f1", "name": "grep", "args": {"p": 1}}}),
    piece({"functionCall": {"id": "f2", "name": "grep"}}),
    piece({"text": "😀"}, reason="STOP"),
)


def test_a_stream_of_google(direct: Direct, peers: Peers) -> None:
    peer = peers(streams(*PIECES))
    stream = direct(peer).stream_chat("x", model=GEMINI)
    found = stream.collect()
    assert peer.asked[0].target == "/v1beta/models/gemini-test:streamGenerateContent?alt=sse"
    assert (found.text, found.reasoning) == ("Grüße 😀", "hm")
    assert [(each.id, each.json()) for each in found.tool_calls] == [("f1", {"p": 1}), ("f2", {})]
    assert found.finish_reason == "tool_calls"
    assert found.usage.total_tokens == 17


def test_a_stream_of_google_that_is_cut(direct: Direct, peers: Peers) -> None:
    """It has no end mark: what says why it ended is one."""
    for pieces in (PIECES[:-1], (*PIECES[:-1], PIECES[-1][:40])):
        with pytest.raises(GatewayConnectionLostError):
            direct(peers(streams(*pieces))).stream_chat("x", model=GEMINI).collect()


def test_errors_of_google(direct: Direct, peers: Peers) -> None:
    error = {"error": {"code": 429, "message": "PROSE", "status": "RESOURCE_EXHAUSTED"}}
    late = streams(PIECES[1], f"data: {json.dumps(error)}\n\n")
    with pytest.raises(RateLimitError) as caught:
        direct(peers(late)).stream_chat("x", model=GEMINI).collect()
    assert "PROSE" not in str(caught.value)


def test_vectors_of_google(direct: Direct, peers: Peers) -> None:
    def answers(exchange: Any) -> None:
        asked = json.loads(exchange.asked.body)["requests"]
        values = [[float(one["content"]["parts"][0]["text"])] for one in asked]
        exchange.json({"embeddings": [{"values": each} for each in values]})

    peer = peers(answers)
    texts = [str(n) for n in range(250)]
    found = direct(peer).embed(texts, model="google:embed", dimensions=1)
    assert found.vectors == [[float(n)] for n in range(250)]
    first = bodies(peer)[0]["requests"]
    assert first[0]["model"] == "models/embed"
    assert first[0]["outputDimensionality"] == 1
    assert max(len(body["requests"]) for body in bodies(peer)) == 100
    assert peer.asked[0].target == "/v1beta/models/embed:batchEmbedContents"


def test_a_model_whose_name_is_a_path_stays_below_its_own(direct: Direct, peers: Peers) -> None:
    peer = peers(GEMINIS)
    direct(peer).chat("x", model="google:../../v1/files?x=")
    target = "/v1beta/models/..%2F..%2Fv1%2Ffiles%3Fx%3D:generateContent"
    assert peer.asked[0].target == target


def test_a_shape_from_google(direct: Direct, peers: Peers) -> None:
    part = {"functionCall": {"name": "City", "args": {"name": "Rome"}}}
    peer = peers({"candidates": [{"content": {"parts": [part]}, "finishReason": "STOP"}]})
    found = direct(peer).chat("x", model=GEMINI, response_format=City)
    assert (found.parsed, found.finish_reason) == (City("Rome"), "stop")
    schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
    direct(peer).chat("x", model=GEMINI, response_format=schema)
    config = bodies(peer)[1]["generationConfig"]
    assert config["responseJsonSchema"] == {"type": "object"}


# --- all of them


@pytest.mark.parametrize(
    "talk",
    [
        [Message("user", [{"type": "input_audio_of_the_future"}])],
        [Message("user", [{"type": "image_url", "image_url": {"url": "data:nothing"}}])],
        [Message("system", [{"type": "image_url", "image_url": {"url": "https://x"}}])],
        [{"role": "user", "content": 5}],
    ],
    ids=range(4),
)
@pytest.mark.parametrize("model", [CLAUDE, GEMINI])
def test_what_cannot_be_said_is_not_sent(
    direct: Direct, peers: Peers, model: str, talk: Any
) -> None:
    peer = peers(ANSWER)
    with pytest.raises(GatewayArgumentError):
        direct(peer).chat(talk, model=model)
    assert peer.asked == []


def test_an_answer_to_no_call(direct: Direct, peers: Peers) -> None:
    with pytest.raises(GatewayArgumentError, match="answers a call"):
        direct(peers(GEMINIS)).chat([Message.tool("nobody", "x")], model=GEMINI)


def test_a_key_goes_to_its_own_provider(connect: Connect, peers: Peers) -> None:
    one, other = peers(reply()), peers(ANSWER)
    reached = DirectProviderClient(
        allow=True,
        api_keys={"openai": "key-1", "anthropic": "key-2"},
        base_urls={"openai": one.url(), "anthropic": other.url()},
    )
    client = connect(reached)
    client.chat("x", model=GPT)
    client.chat("x", model=CLAUDE)
    with pytest.raises(ConfigurationError):
        client.chat("x", model="nobody:model")
    with pytest.raises(ConfigurationError):
        client.chat("x")
    assert sent(one) == {"authorization": "Bearer key-1"}
    assert sent(other) == {"x-api-key": "key-2"}
    assert client.health() is False


def sent(peer: HttpPeer) -> dict[str, str]:
    (asked,) = peer.asked
    names = {"authorization", "x-api-key", "x-goog-api-key", "txn-token"}
    return {name: value for name, value in asked.headers if name in names}


def read(pieces: list[bytes], reader: Reader) -> list[Any]:
    decoder = EventDecoder(decode=reader.decode)
    steps: list[Any] = []
    for data in pieces:
        for event in decoder.feed(data):
            if isinstance(event.data, ChatChunk) and event.event != "error":
                steps.append(event.data)
            else:
                steps += reader.take(event)
    return steps


@pytest.mark.parametrize(
    ("dialect", "events"), [(ANTHROPIC, CLAUDES), (GOOGLE, PIECES)], ids=["anthropic", "google"]
)
@given(data=st.data())
def test_cuts_change_nothing(dialect: Any, events: tuple[str, ...], data: st.DataObject) -> None:
    encoded = "".join(events).encode()
    cuts = sorted(data.draw(st.sets(st.integers(0, len(encoded)), max_size=12)))
    edges = [0, *cuts, len(encoded)]
    steps = read([encoded[a:b] for a, b in pairwise(edges)], dialect.reader())
    assert steps == read([encoded], dialect.reader())
    gathered = Gathered()
    for step in steps:
        if step is not END:
            gathered.add(step)
    assert gathered.reply().text == "Grüße 😀"


@pytest.mark.parametrize("dialect", [ANTHROPIC, GOOGLE], ids=["anthropic", "google"])
@given(data=st.binary(max_size=100) | st.sampled_from([b"{}", b"[]", b'{"type": 5}', b"null"]))
def test_whatever_comes_is_a_step(dialect: Any, data: bytes) -> None:
    reader = dialect.reader()
    found = reader.decode(data)
    if not isinstance(found, ChatChunk):
        for step in reader.take(Event("message", found)):
            assert step is END or isinstance(step, (ChatChunk, GatewayError))
