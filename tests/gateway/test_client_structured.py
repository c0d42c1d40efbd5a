"""Answers of a given shape, over the wire: asked for, read, and asked for again."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from ostiary.gateway import StructuredOutputError
from ostiary.gateway.errors import GatewayArgumentError

from .clients import DONE, Connect, Peers, bodies, call, chunk, reply, streams

CITY = '{"name": "Rome", "people": 3}'


class City(msgspec.Struct):
    """A city."""

    name: str
    people: int = 0


def test_a_shape_that_the_model_is_held_to(connect: Connect, peers: Peers) -> None:
    peer = peers(reply(CITY))
    found = connect(peer).chat("x", response_format=City)
    assert found.parsed == City("Rome", 3)
    sent = bodies(peer)[0]["response_format"]
    assert sent["type"] == "json_schema"
    assert sent["json_schema"]["name"] == "City"
    assert sent["json_schema"]["strict"] is True
    assert sent["json_schema"]["schema"]["additionalProperties"] is False


@pytest.mark.parametrize(
    "said",
    [
        f"```json\n{CITY}\n```",
        f" ```\r\n\n{CITY}```\n",
        "```json" + "\n" * 200_000 + CITY + " \n" * 100_000 + "```",
    ],
    ids=["plain", "odd", "long"],
)
def test_a_shape_in_a_fence(connect: Connect, peers: Peers, said: str) -> None:
    assert connect(peers(reply(said))).chat("x", response_format=City).parsed == City("Rome", 3)


def test_blanks_without_end_are_no_shape(connect: Connect, peers: Peers) -> None:
    """What a model in JSON mode does that has lost its way, within its token limit."""
    with pytest.raises(StructuredOutputError):
        connect(peers(reply("```json" + "\n " * 200_000 + "{"))).chat("x", response_format=City)


def test_a_shape_by_a_tool(connect: Connect, peers: Peers) -> None:
    """For providers that hold a model to nothing else."""
    peer = peers(reply(None, tool_calls=[call("City", CITY)], finish_reason="tool_calls"))
    found = connect(peer).chat("x", response_format=City, model="anthropic:claude-test")
    assert found.parsed == City("Rome", 3)
    assert found.tool_calls == ()
    assert bodies(peer)[0]["tool_choice"]["function"]["name"] == "City"


@pytest.mark.parametrize(
    "ready", [{"type": "json_object"}, {"type": "json_schema", "json_schema": {"name": "x"}}]
)
def test_a_format_as_openai_has_it(connect: Connect, peers: Peers, ready: Any) -> None:
    peer = peers(reply(CITY))
    found = connect(peer).chat("x", response_format=ready)
    assert found.parsed is None
    assert bodies(peer)[0]["response_format"] == ready


def test_a_schema_gives_a_dict(connect: Connect, peers: Peers) -> None:
    schema = {"title": "City", "type": "object", "properties": {"name": {"type": "string"}}}
    assert connect(peers(reply(CITY))).chat("x", response_format=schema).parsed["name"] == "Rome"


def test_a_shape_that_nobody_can_be_held_to_is_not_sent(connect: Connect, peers: Peers) -> None:
    peer = peers(reply("{}"))
    client = connect(peer)
    with pytest.raises(GatewayArgumentError):
        client.chat("x", response_format=dict[str, int])
    assert peer.asked == []
    assert client.chat("x", response_format=dict[str, int], strict=False).parsed == {}


def test_an_answer_of_another_shape(connect: Connect, peers: Peers) -> None:
    peer = peers(reply("Rome, of course"))
    client = connect(peer)
    with pytest.raises(StructuredOutputError) as caught:
        client.chat("x", response_format=City)
    assert "Rome" not in str(caught.value)
    assert len(peer.asked) == 1
    assert client.usage.total_tokens == 68, "it was paid for"


def test_an_answer_is_asked_for_again(connect: Connect, peers: Peers) -> None:
    """The model is told what was wrong with its answer."""
    peer = peers(reply("Rome"), reply('{"name": 5}'), reply(CITY))
    found = connect(peer).chat("x", response_format=City, repairs=2, idempotency_key="k")
    assert found.parsed == City("Rome", 3)
    first, second, third = bodies(peer)
    assert [each["role"] for each in second["messages"]] == ["user", "assistant", "user"]
    assert second["messages"][1]["content"] == "Rome"
    assert "JSON" in second["messages"][2]["content"]
    assert len(third["messages"]) == 5
    assert "name" in third["messages"][4]["content"]
    assert first["response_format"] == third["response_format"]
    assert [asked.header("idempotency-key") for asked in peer.asked] == ["k", "k-2", "k-3"]


def test_an_answer_by_a_tool_is_asked_for_again(connect: Connect, peers: Peers) -> None:
    bad = reply(None, tool_calls=[call("City", '{"name": ')])
    peer = peers(bad, reply(None, tool_calls=[call("City", CITY)]))
    found = connect(peer).chat("x", response_format=City, repairs=1, model="claude-test")
    assert found.parsed == City("Rome", 3)
    said = bodies(peer)[1]["messages"][-2:]
    assert said[0]["tool_calls"][0]["id"] == said[1]["tool_call_id"] == "call_7"
    assert json.dumps(said[1]["content"])


def test_a_refusal_is_not_asked_for_again(connect: Connect, peers: Peers) -> None:
    peer = peers(reply(None, refusal="No."))
    with pytest.raises(StructuredOutputError) as caught:
        connect(peer).chat("x", response_format=City, repairs=3)
    assert caught.value.reason == "refused"
    assert len(peer.asked) == 1


def test_repairs_have_an_end(connect: Connect, peers: Peers) -> None:
    peer = peers(reply("Rome"))
    with pytest.raises(StructuredOutputError):
        connect(peer).chat("x", response_format=City, repairs=2)
    assert len(peer.asked) == 3


def test_a_shape_at_the_end_of_a_stream(connect: Connect, peers: Peers) -> None:
    peer = peers(streams(chunk(CITY[:9]), chunk(CITY[9:]), chunk(finish_reason="stop"), DONE))
    found = connect(peer).stream_chat("x", response_format=City).collect()
    assert found.parsed == City("Rome", 3)


def test_another_shape_at_the_end_of_a_stream(connect: Connect, peers: Peers) -> None:
    stream = connect(peers(streams(chunk("Rome"), DONE))).stream_chat("x", response_format=City)
    assert next(stream).text == "Rome"
    with pytest.raises(StructuredOutputError):
        next(stream)
