"""Chat: what is sent, what is read, what is refused before and after, and what is tried again."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from typing import Any

import pytest

from ostiary.errors import InvalidArgumentError
from ostiary.gateway import (
    AsyncGatewayClient,
    GatewayError,
    Message,
    ModelCategory,
    ModelNotAuthorizedError,
    ModelNotAvailableError,
    ModelRef,
    RateLimitError,
    StaticModelSelector,
    TokenBudgetError,
    Tool,
    ToolCall,
    Usage,
    image,
)
from ostiary.gateway.errors import (
    GatewayArgumentError,
    GatewayAuthError,
    GatewayConnectionLostError,
    GatewayDeadlineError,
    GatewayProtocolError,
    GatewayServerError,
    GatewayStateError,
    GatewayUnavailableError,
)
from ostiary.http import RetryInfo
from tests.http.peer import Exchange, lost, stall

from .clients import Access, Connect, Peers, bodies, call, fails, reply, says

pytestmark = pytest.mark.usefixtures("at_once")

ASKED = "Which lines open sockets?"


# --- what is sent


def test_the_least_request(connect: Connect, peers: Peers) -> None:
    peer = peers(reply())
    connect(peer).chat(ASKED)
    (asked,) = peer.asked
    assert (asked.method, asked.target) == ("POST", "/v1/chat/completions")
    assert asked.header("x-provider") == "openai"
    assert (asked.header("authorization") or "").startswith("Bearer eyJ")
    assert (asked.header("txn-token") or "").startswith("eyJ")
    assert asked.header("content-type") == "application/json"
    # What is not given is not sent, temperature least of all.
    assert json.loads(asked.body) == {
        "model": "gpt-test-1",
        "messages": [{"role": "user", "content": ASKED}],
    }


def test_every_option_is_sent_by_its_name(connect: Connect, peers: Peers) -> None:
    peer = peers(reply())
    given = {
        "temperature": 0.0,
        "max_tokens": 400,
        "max_completion_tokens": 500,
        "top_p": 0.5,
        "seed": -3,
        "stop": ["\n", "END"],
        "reasoning_effort": "low",
        "user": "u-1",
        "parallel_tool_calls": False,
        "tool_choice": "required",
    }
    connect(peer).chat(ASKED, **given, extra={"logprobs": True, "top_logprobs": 2, "user": None})
    (body,) = bodies(peer)
    assert body.pop("messages") == [{"role": "user", "content": ASKED}]
    assert body.pop("model") == "gpt-test-1"
    del given["user"]
    assert body == {**given, "logprobs": True, "top_logprobs": 2}


def test_a_conversation_as_it_is_written(connect: Connect, peers: Peers) -> None:
    peer = peers(reply())
    grep = ToolCall("call_7", "grep", '{"pattern": "socket"}')
    connect(peer).chat(
        [
            Message.system("Be brief."),
            Message.user("What is this?", image(b"\x89PNG\r\n\x1a\n.."), name="ann"),
            Message.assistant(None, [grep]),
            grep.result("net.py:12"),
            {"role": "user", "content": "go on", "of_its_own": 1},
        ]
    )
    assert bodies(peer)[0]["messages"] == [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "name": "ann",
            "content": [
                {"type": "text", "text": "What is this?"},
                {
                    "type": "image_url",
                    "image_url": {"url": "data:image/png;base64,iVBORw0KGgouLg=="},
                },
            ],
        },
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [call("grep", '{"pattern": "socket"}')],
        },
        {"role": "tool", "content": "net.py:12", "tool_call_id": "call_7"},
        {"role": "user", "content": "go on", "of_its_own": 1},
    ]


def test_tools_of_every_kind(connect: Connect, peers: Peers) -> None:
    def grep(pattern: str) -> str:
        """Search.

        More about it.
        """
        return pattern

    ready = {"type": "function", "function": {"name": "ls", "parameters": {}}}
    peer = peers(reply())
    tools = [grep, ready, Tool(name="now"), {"name": "cat", "input_schema": {"type": "object"}}]
    connect(peer).chat(ASKED, tools=tools, tool_choice="grep")
    (body,) = bodies(peer)
    assert body["tool_choice"] == {"type": "function", "function": {"name": "grep"}}
    functions = [tool["function"] for tool in body["tools"]]
    assert functions[0]["name"] == "grep"
    assert functions[0]["description"] == "Search."
    assert functions[0]["parameters"]["properties"] == {"pattern": {"type": "string"}}
    assert functions[1] == ready["function"]
    assert [each["name"] for each in functions] == ["grep", "ls", "now", "cat"]


@pytest.mark.parametrize(
    ("messages", "options"),
    [
        ([], {}),
        (None, {}),
        (b"bytes", {}),
        (Message.user("x"), {}),
        ([5], {}),
        ([{"content": "no role"}], {}),
        ([Message("user")], {}),
        ([Message("tool", "x")], {}),
        ([Message("user", "x", (ToolCall("i", "n"),))], {}),
        ([Message("judge", "x")], {}),  # type: ignore[arg-type]
        ("x", {"temprature": 1}),
        ("x", {"temperature": float("nan")}),
        ("x", {"temperature": "0"}),
        ("x", {"max_tokens": 0}),
        ("x", {"max_tokens": True}),
        ("x", {"seed": 1.5}),
        ("x", {"stop": 5}),
        ("x", {"tools": {"name": "x"}}),
        ("x", {"tools": ["grep"]}),
        ("x", {"tool_choice": ""}),
        ("x", {"parallel_tool_calls": 1}),
        ("x", {"user": 1}),
        ("x", {"extra": []}),
        ("x", {"extra": {"model": "gpt-huge"}}),
        ("x", {"extra": {"n": 2}}),
        ("x", {"repairs": -1}),
        ("x", {"fallback": "yes"}),
        ("x", {"idempotency_key": ""}),
        ("x", {"timeout": 0}),
        ("x", {"model": 5}),
        ("x", {"model": ModelCategory.EMBEDDINGS}),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else None,
)
def test_what_cannot_be_meant_is_not_sent(
    connect: Connect, peers: Peers, messages: Any, options: dict[str, Any]
) -> None:
    peer = peers(reply())
    client = connect(peer)
    with pytest.raises(GatewayArgumentError) as caught:
        client.chat(messages, **options)
    assert isinstance(caught.value, InvalidArgumentError)
    with pytest.raises(GatewayArgumentError):
        next(client.stream_chat(messages, **options))
    assert peer.asked == []


def test_what_is_no_json_is_not_sent(connect: Connect, peers: Peers) -> None:
    peer = peers(reply())
    with pytest.raises(GatewayArgumentError, match="JSON"):
        connect(peer).chat([{"role": "user", "content": "lone \ud800"}])
    with pytest.raises(GatewayArgumentError, match="JSON"):
        connect(peer).chat("x", extra={"thing": object()})
    assert peer.asked == []


def test_a_body_of_ones_own(connect: Connect, peers: Peers) -> None:
    peer = peers(reply())
    body = {"messages": [{"role": "user", "content": "x"}], "model": "ignored", "other": [1]}
    found = connect(peer).chat_raw(body, ModelRef("openai", "gpt-test-mini"))
    assert found.text == "Only net.py:12."
    assert bodies(peer) == [{"model": "gpt-test-mini", "messages": body["messages"], "other": [1]}]
    with pytest.raises(GatewayArgumentError):
        connect(peer).chat_raw({"model": "x"})


# --- what is read


def test_a_whole_reply(connect: Connect, peers: Peers) -> None:
    found = connect(peers(reply())).chat(ASKED)
    assert found.text == "Only net.py:12."
    assert (found.model, found.id) == ("gpt-test-1-2026-05", "chatcmpl-0a1")
    assert found.finish_reason == "stop"
    assert found.usage == Usage(61, 7, 68)
    assert found.raw()["created"] == 1790000000
    assert found.message == Message.assistant("Only net.py:12.")
    assert "body" not in repr(found)
    assert (found.tool_calls, found.invalid_tool_calls, found.refusal) == ((), (), None)


@pytest.mark.parametrize("content", [None, ""])
def test_null_content_beside_tool_calls(connect: Connect, peers: Peers, content: Any) -> None:
    """What every provider sends with tool calls."""
    calls = [call("grep", '{"pattern": "x"}'), call("now", "", "call_8")]
    found = connect(peers(reply(content, tool_calls=calls, finish_reason="tool_calls"))).chat(ASKED)
    assert found.text == ""
    assert [each.json() for each in found.tool_calls] == [{"pattern": "x"}, {}]
    assert found.finish_reason == "tool_calls"
    sent = found.message
    assert sent.content is None
    assert len(sent.tool_calls) == 2


@pytest.mark.parametrize("arguments", ['{"pattern": "x', "[1]", '"text"', "null", "nan"])
def test_a_call_that_cannot_be_made_is_kept_apart(
    connect: Connect, peers: Peers, arguments: str
) -> None:
    calls = [call("good", "{}", "call_1"), call("bad", arguments, "call_2"), call("", "{}")]
    found = connect(peers(reply(None, tool_calls=calls))).chat(ASKED)
    assert [each.id for each in found.tool_calls] == ["call_1"]
    bad, nameless = found.invalid_tool_calls
    assert (bad.id, bad.name) == ("call_2", "bad")
    assert bad.error
    assert nameless.error
    # The conversation goes on: the call stands in it, and the model is told.
    assert [each.id for each in found.message.tool_calls] == ["call_1", "call_2", "call_7"]
    assert bad.result().tool_call_id == "call_2"


def test_arguments_that_come_as_an_object(connect: Connect, peers: Peers) -> None:
    found = connect(peers(reply(None, tool_calls=[call("grep", {"n": 1})]))).chat(ASKED)
    assert found.tool_calls[0].json() == {"n": 1}


def test_a_refusal(connect: Connect, peers: Peers) -> None:
    found = connect(peers(reply(None, refusal="No."))).chat(ASKED)
    assert (found.text, found.refusal) == ("", "No.")


@pytest.mark.parametrize("member", ["reasoning_content", "reasoning"])
def test_what_is_shown_of_the_thinking(connect: Connect, peers: Peers, member: str) -> None:
    assert connect(peers(reply("x", **{member: "hm"}))).chat(ASKED).reasoning == "hm"


def test_content_in_parts(connect: Connect, peers: Peers) -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "other"}, {"type": "text", "text": "b"}]
    assert connect(peers(reply(parts))).chat(ASKED).text == "ab"


def test_null_is_what_is_not_there(connect: Connect, peers: Peers) -> None:
    body = reply("x", tool_calls=None, function_call=None)
    body |= {"id": None, "system_fingerprint": None, "error": None}
    body["usage"] = {"prompt_tokens": 5, "completion_tokens": None, "total_tokens": None}
    found = connect(peers(body)).chat(ASKED)
    assert (found.id, found.usage) == ("", Usage(5))


def test_no_usage_and_details_of_usage(connect: Connect, peers: Peers) -> None:
    details = {"prompt_tokens_details": {"cached_tokens": 3, "audio_tokens": 1}} | {
        "completion_tokens_details": {"reasoning_tokens": 2, "audio_tokens": 4, "x": None}
    }
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3, **details}
    peer = peers(reply(usage=None), reply(usage=usage))
    client = connect(peer)
    assert client.chat(ASKED).usage is None
    found = client.chat(ASKED).usage
    assert (found.cached_tokens, found.reasoning_tokens) == (3, 2)
    assert found.details == {
        "cached_tokens": 3,
        "prompt_audio_tokens": 1,
        "reasoning_tokens": 2,
        "completion_audio_tokens": 4,
    }


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b"<html>",
        b"\xff",
        b'{"choices": []}',
        b'{"choices": null}',
        b'{"choices": [{"index": 1, "message": {"content": "the second"}}]}',
        b'{"choices": [{"index": 0}]}',
        b'{"choices": [{"message": {"content": 5}}]}',
        b'{"choices": "x"}',
        b"[" * 20_000,
    ],
    ids=range(13),
)
def test_what_is_no_reply_is_an_error_of_ours(connect: Connect, peers: Peers, body: bytes) -> None:
    """Nothing but our own errors, and nothing of the body in them."""
    peer = peers(lambda exchange: exchange.answer(200, body))
    with pytest.raises(GatewayProtocolError) as caught:
        connect(peer).chat(ASKED)
    assert "html" not in str(caught.value)
    assert len(peer.asked) == 1, "it ran, and is not sent again"


def test_an_error_inside_a_200(connect: Connect, peers: Peers) -> None:
    error = {"message": "PROSE", "type": "rate_limit_error", "code": None}
    with pytest.raises(RateLimitError) as caught:
        connect(peers({"error": error, "choices": None})).chat(ASKED)
    assert "PROSE" not in str(caught.value)
    assert b"PROSE" in caught.value.body


# --- which model


def test_the_transaction_token_chooses(connect: Connect, peers: Peers) -> None:
    peer = peers(reply())
    client = connect(peer)
    client.chat("x")
    client.chat("x", model=ModelCategory.TRIAGE)
    client.chat("x", model="openai:gpt-test-2")
    client.chat("x", model="claude-test")
    client.chat("x", model=ModelRef("openai", "gpt-test-mini"))
    sent = [(a.header("x-provider"), json.loads(a.body)["model"]) for a in peer.asked]
    assert sent == [
        ("openai", "gpt-test-1"),
        ("openai", "gpt-test-mini"),
        ("openai", "gpt-test-2"),
        ("anthropic", "claude-test"),
        ("openai", "gpt-test-mini"),
    ]


@pytest.mark.parametrize(
    "model",
    ["openai:gpt-huge", "google:gemini-test", "openai:embed-test-small", "anthropic:gpt-test-1"],
)
def test_what_is_not_allowed_is_not_sent(connect: Connect, peers: Peers, model: str) -> None:
    """Refused before a byte leaves, for a stream too."""
    peer = peers(reply())
    client = connect(peer)
    with pytest.raises(ModelNotAuthorizedError) as caught:
        client.chat("x", model=model)
    assert caught.value.exit_code == 21
    with pytest.raises(ModelNotAuthorizedError):
        next(client.stream_chat("x", model=model))
    assert peer.asked == []


@pytest.mark.parametrize("providers", [[], ["anthropic"]])
def test_no_provider_is_allowed_unless_named(
    connect: Connect, peers: Peers, access: Access, providers: list[str]
) -> None:
    """Fail closed."""
    peer = peers(reply())
    models = {"analysis": ["openai:gpt-test-1"]}
    tctx = {"allowed_models": models, "allowed_providers": providers}
    with pytest.raises(ModelNotAuthorizedError):
        connect(access(peer, tctx=tctx)).chat("x")
    assert peer.asked == []


def test_a_category_without_models(connect: Connect, peers: Peers) -> None:
    peer = peers(reply())
    with pytest.raises(ModelNotAvailableError):
        connect(peer).chat("x", model=ModelCategory.REASONING)
    assert peer.asked == []


def test_a_selector_of_ones_own_widens_nothing(connect: Connect, peers: Peers) -> None:
    peer = peers(reply())
    connect(peer, models=StaticModelSelector("openai:gpt-test-2")).chat("x")
    assert bodies(peer)[0]["model"] == "gpt-test-2"
    with pytest.raises(ModelNotAuthorizedError):
        connect(peer, models=StaticModelSelector("openai:gpt-huge")).chat("x")


def test_the_choice_follows_a_new_token(connect: Connect, peers: Peers, access: Access) -> None:
    peer = peers(reply())
    reached = access(peer, tctx=_only("openai:gpt-test-1"))
    client = connect(reached)
    client.chat("x")
    access(peer, tctx=_only("openai:gpt-test-9"))  # the same files, written anew
    reached.invalidate()
    client.chat("x")
    assert [each["model"] for each in bodies(peer)] == ["gpt-test-1", "gpt-test-9"]


def _only(model: str) -> dict[str, Any]:
    return {"allowed_models": {"analysis": [model]}, "allowed_providers": ["openai"]}


# --- what is tried again


def test_a_401_renews_the_tokens_once(connect: Connect, peers: Peers, access: Access) -> None:
    peer = peers(fails(401, "txn_token_expired"), reply())
    reached = access(peer, tctx=_only("openai:gpt-test-1"))
    client = connect(reached)
    assert client.chat("x", idempotency_key="k-1").text
    first, second = peer.asked
    assert first.body == second.body
    assert first.header("idempotency-key") == second.header("idempotency-key") == "k-1"


def test_a_401_that_stays(connect: Connect, peers: Peers) -> None:
    peer = peers(fails(401, "svid_invalid"))
    with pytest.raises(GatewayAuthError) as caught:
        connect(peer).chat("x")
    assert caught.value.exit_code == 11
    assert len(peer.asked) == 2
    with pytest.raises(GatewayAuthError):
        next(connect(peer).stream_chat("x"))
    assert len(peer.asked) == 4


def test_a_storm_of_401_renews_the_tokens_once(
    access: Access, peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them are made again, and what the first renewed is not thrown away by the others."""
    many = 40
    seen: set[bytes] = set()
    lock = threading.Lock()
    met = threading.Barrier(many, timeout=20)

    def serve(exchange: Exchange) -> None:
        while True:
            body = exchange.request().body
            with lock:
                first = body not in seen
                seen.add(body)
            if first:
                met.wait()
                fails(401, "txn_token_invalid")(exchange)
            else:
                exchange.json(reply(json.loads(body)["messages"][0]["content"]))

    renewed: list[int] = []
    reached = access(peers(serve=serve), tctx=_only("openai:gpt-test-1"))
    forget = reached.invalidate

    def counted(*arguments: Any) -> None:
        renewed.append(1)
        forget(*arguments)

    monkeypatch.setattr(reached, "invalidate", counted)

    async def main() -> None:
        async with AsyncGatewayClient(reached) as client:
            found = await asyncio.gather(*(client.chat(f"call {n}") for n in range(many)))
            assert [each.text for each in found] == [f"call {n}" for n in range(many)]

    asyncio.run(main())
    assert renewed == [1]


@pytest.mark.parametrize("status", [400, 403, 404, 422, 500, 502, 503, 504])
def test_what_may_have_run_is_not_sent_again(connect: Connect, peers: Peers, status: int) -> None:
    """One call, one generation."""
    peer = peers(fails(status))
    with pytest.raises(GatewayError) as caught:
        connect(peer).chat("x")
    assert caught.value.status == status
    assert "PROSE" not in str(caught.value)
    assert len(peer.asked) == 1


@pytest.mark.parametrize("ends", [lost, stall], ids=["lost", "silent"])
def test_a_reply_that_does_not_come(connect: Connect, peers: Peers, ends: Any) -> None:
    peer = peers(ends)
    with pytest.raises((GatewayConnectionLostError, GatewayDeadlineError)) as caught:
        connect(peer, timeout=0.3 if ends is stall else 30).chat("x")
    assert caught.value.sent
    assert len(peer.asked) == 1


def test_a_peer_that_drips_has_no_more_time(connect: Connect, peers: Peers) -> None:
    """One byte at a time, each soon behind the other: the whole call still has one end."""
    over = threading.Event()
    body = json.dumps(reply("x" * 4000)).encode()

    def drips(exchange: Exchange) -> None:
        exchange.raw(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
        for at in range(len(body)):
            if over.wait(0.02):
                return
            exchange.raw(body[at : at + 1])

    try:
        with pytest.raises(GatewayDeadlineError):
            connect(peers(drips), timeout=0.4).chat("x")
    finally:
        over.set()


def test_429_is_sent_again(connect: Connect, peers: Peers) -> None:
    peer = peers(fails(429), fails(429, "rate_limited", ("Retry-After", "0")), reply())
    told: list[RetryInfo] = []
    assert connect(peer, on_retry=told.append).chat("x").text
    assert len(peer.asked) == 3
    assert [each.status for each in told] == [429, 429]


def test_429_in_the_end(connect: Connect, peers: Peers) -> None:
    peer = peers(fails(429, "rate_limited", ("Retry-After", "0")))
    with pytest.raises(RateLimitError) as caught:
        connect(peer, max_retries=1).chat("x")
    assert (caught.value.exit_code, caught.value.retry_after) == (31, 0.0)
    assert len(peer.asked) == 2


def test_a_wait_that_is_too_long_is_not_waited(connect: Connect, peers: Peers) -> None:
    """Retry-After is bounded."""
    peer = peers(fails(429, "rate_limited", ("Retry-After", "86400")))
    with pytest.raises(RateLimitError) as caught:
        connect(peer).chat("x")
    assert caught.value.retry_after == 86400
    assert len(peer.asked) == 1


def test_an_idempotency_key_buys_a_repeat(connect: Connect, peers: Peers) -> None:
    """The same key for every attempt."""
    peer = peers(lost, fails(503), reply())
    assert connect(peer).chat("x", idempotency_key=True).text
    keys = [asked.header("idempotency-key") for asked in peer.asked]
    assert len(keys) == 3
    assert len(set(keys)) == 1
    assert keys[0]


def test_no_gateway(connect: Connect, access: Access, tmp_path: Any) -> None:
    reached = access(str(tmp_path / "nobody.sock"), tctx=_only("openai:gpt-test-1"))
    with pytest.raises(GatewayUnavailableError) as caught:
        connect(reached, max_retries=0).chat("x")
    assert caught.value.exit_code == 32


# --- another model in its place


@pytest.mark.parametrize("status", [429, 500, 503])
def test_the_next_model_of_the_category(connect: Connect, peers: Peers, status: int) -> None:
    peer = peers(fails(status), fails(status), reply())
    assert connect(peer).chat("x", fallback=True, idempotency_key="k").text
    models = [json.loads(asked.body)["model"] for asked in peer.asked]
    assert models == ["gpt-test-1", "claude-test", "gpt-test-2"]
    keys = [asked.header("idempotency-key") for asked in peer.asked]
    assert len(set(keys)) == 3, "they are not the same request"


def test_no_model_stands_in_unless_asked(connect: Connect, peers: Peers) -> None:
    peer = peers(fails(500))
    with pytest.raises(GatewayServerError):
        connect(peer).chat("x")
    assert len(peer.asked) == 1


@pytest.mark.parametrize("steps", [(lost,), (fails(400),)], ids=["lost", "400"])
def test_nothing_stands_in_for_what_is_no_refusal(
    connect: Connect, peers: Peers, steps: Any
) -> None:
    peer = peers(*steps)
    with pytest.raises(GatewayError):
        connect(peer).chat("x", fallback=True)
    assert len(peer.asked) == 1


def test_a_model_by_name_has_no_stand_in(connect: Connect, peers: Peers) -> None:
    peer = peers(fails(503))
    with pytest.raises(GatewayUnavailableError):
        connect(peer).chat("x", fallback=True, model="openai:gpt-test-1")
    assert len(peer.asked) == 1


# --- what it adds up to


def test_totals(connect: Connect, peers: Peers) -> None:
    peer = peers(reply(), fails(400), reply(usage=None), reply(usage={"prompt_tokens": 1}))
    client = connect(peer)
    client.chat("x")
    with pytest.raises(GatewayError):
        client.chat("x")
    client.chat("x", model="claude-test")
    client.chat("x", model="claude-test")
    assert client.usage.calls == 3
    assert client.usage.by_model == {
        "openai:gpt-test-1": Usage(61, 7, 68),
        "anthropic:claude-test": Usage(1, 0, 1),
    }
    assert (client.usage.prompt_tokens, client.usage.total_tokens) == (62, 69)


def test_a_budget(connect: Connect, peers: Peers) -> None:
    peer = peers(reply())
    client = connect(peer, token_budget=100)
    client.chat("x")
    client.chat("x")
    for send in (
        lambda: client.chat("x"),
        lambda: next(client.stream_chat("x")),
        lambda: client.embed("x"),
    ):
        with pytest.raises(TokenBudgetError):
            send()
    assert len(peer.asked) == 2


# --- connections


def test_one_connection_for_many_calls(connect: Connect, peers: Peers) -> None:
    peer = peers(reply())
    client = connect(peer)
    for _ in range(20):
        client.chat("x")
    assert {asked.connection for asked in peer.asked} == {peer.asked[0].connection}


def test_closed(connect: Connect, peers: Peers) -> None:
    client = connect(peers(reply()))
    client.chat("x")
    client.close()
    for use in (
        lambda: client.chat("x"),
        lambda: next(client.stream_chat("x")),
        lambda: client.embed("x"),
        lambda: client.health(),
    ):
        with pytest.raises(GatewayStateError):
            use()
    assert "closed" in repr(client.raw)


def test_a_socket_of_somebody_else(connect: Connect, peers: Peers) -> None:
    """The kernel says who bound it; no token leaves before that is known to be right."""
    peer = peers(reply())
    assert connect(peer, expected_uid=os.geteuid()).chat("x").text
    other = connect(peer, expected_uid=os.geteuid() + 1)
    with pytest.raises(GatewayUnavailableError):
        other.chat("x")
    assert other.health() is False
    assert len(peer.asked) == 1


def test_health(connect: Connect, peers: Peers, access: Access, tmp_path: Any) -> None:
    """One attempt, without credentials."""
    peer = peers(says({}), says({}, 503))
    client = connect(peer)
    assert client.health() is True
    assert client.health() is False
    assert [asked.target for asked in peer.asked] == ["/health", "/health"]
    assert peer.asked[0].header("authorization") is None
    assert connect(access(str(tmp_path / "none"))).health() is False
