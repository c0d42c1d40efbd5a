"""Streams: read at every cut, gathered whole, ended by their mark and by nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import threading
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ostiary._wire.sse import EventDecoder
from ostiary.config import Limits
from ostiary.gateway import (
    AsyncGatewayClient,
    ChatChunk,
    ChatReply,
    GatewayError,
    InvalidToolCall,
    RateLimitError,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from ostiary.gateway.dialects import END, Reader
from ostiary.gateway.dialects.openai import OpenAIReader, parse_chunk, parse_embeddings, parse_reply
from ostiary.gateway.errors import (
    GatewayAPIError,
    GatewayAuthError,
    GatewayConnectionLostError,
    GatewayDeadlineError,
    GatewayProtocolError,
    GatewayServerError,
    GatewaySizeLimitError,
    GatewayStateError,
    GatewayUnavailableError,
)
from ostiary.gateway.stream import Gathered, said_no
from tests.http.peer import Exchange, answer

from .clients import DONE, USAGE, Access, Connect, Peers, bodies, chunk, fails, reply, streams

pytestmark = pytest.mark.usefixtures("at_once")

WHOLE = (
    chunk("", role="assistant"),
    chunk("Only "),
    chunk("net.py"),
    chunk(finish_reason="stop"),
    USAGE,
    DONE,
)


def call_delta(index: int, arguments: str | None = None, **more: Any) -> str:
    """Return an event with a fragment of a tool call."""
    function = {k: v for k, v in (("name", more.pop("name", None)),) if v is not None}
    if arguments is not None:
        function["arguments"] = arguments
    return chunk(tool_calls=[{"index": index, "function": function, **more}])


# --- reading one


def test_the_pieces_and_the_whole(connect: Connect, peers: Peers) -> None:
    peer = peers(streams(": ping\n\n", *WHOLE))
    client = connect(peer)
    stream = client.stream_chat("x")
    found = list(stream)
    assert [each.text for each in found] == ["", "Only ", "net.py", "", ""]
    assert found[1] == ChatChunk("Only ", model="gpt-test-1", id="c9")
    assert found[3].finish_reason == "stop"
    assert found[4].usage == Usage(61, 15, 76)
    assert stream.reply == ChatReply(
        "Only net.py",
        finish_reason="stop",
        usage=Usage(61, 15, 76),
        model="gpt-test-1",
        id="c9",
    )
    assert client.usage.total_tokens == 76
    (body,) = bodies(peer)
    assert body["stream"] is True
    assert body["stream_options"] == {"include_usage": True}
    assert peer.asked[0].header("accept") == "text/event-stream"


def test_options_of_a_stream_can_be_left_out(connect: Connect, peers: Peers) -> None:
    peer = peers(streams(*WHOLE))
    client = connect(peer)
    client.stream_chat("x", extra={"stream_options": None}).collect()
    client.stream_chat("x", extra={"stream_options": {"include_usage": False}}).collect()
    client.stream_raw({"messages": [{"role": "user", "content": "x"}]}).collect()
    assert [each.get("stream_options") for each in bodies(peer)] == [
        None,
        {"include_usage": False},
        {"include_usage": True},
    ]


def test_collect(connect: Connect, peers: Peers) -> None:
    assert connect(peers(streams(*WHOLE))).stream_chat("x").collect().text == "Only net.py"


def test_nothing_is_sent_before_it_is_asked_for(connect: Connect, peers: Peers) -> None:
    peer = peers(streams(*WHOLE))
    stream = connect(peer).stream_chat("x")
    assert peer.asked == []
    assert "not begun" in repr(stream.raw)
    stream.open()
    assert len(peer.asked) == 1
    stream.open()
    assert len(peer.asked) == 1
    assert "open" in repr(stream.raw)
    assert next(stream).text == ""
    with pytest.raises(GatewayStateError):
        _ = stream.reply
    stream.close()
    assert stream.raw.closed
    assert list(stream) == []


def test_a_stream_is_awaited_to_send_it(access: Access, peers: Peers) -> None:
    peer = peers(streams(*WHOLE), fails(404))

    async def main() -> None:
        reached = access(peer, tctx=TCTX)
        async with AsyncGatewayClient(reached) as client:
            async with await client.stream_chat("x") as stream:
                assert len(peer.asked) == 1
                assert [each.text async for each in stream][1] == "Only "
            with pytest.raises(GatewayAPIError):
                await client.stream_chat("x")

    asyncio.run(main())


TCTX = {
    "allowed_models": {"analysis": ["openai:gpt-test-1"]},
    "allowed_providers": ["openai"],
}


def test_the_connection_is_used_again(connect: Connect, peers: Peers) -> None:
    peer = peers(streams(*WHOLE))
    client = connect(peer)
    for _ in range(4):
        client.stream_chat("x").collect()
        client.turn()
    assert len({asked.connection for asked in peer.asked}) == 1


def test_an_end_mark_is_enough(connect: Connect, peers: Peers) -> None:
    """A stream that stays open behind its mark, or has no empty line behind it, ended."""
    for last in (DONE, "data: [DONE]\n", "data:[DONE]\r\n\r\n", "data: [DONE] \n\n"):
        ends = last.endswith("\n\n") or "\r" in last
        peer = peers(streams(*WHOLE[:-1], last, ends=not ends))
        assert connect(peer, idle_timeout=5).stream_chat("x").collect().text == "Only net.py"


@pytest.mark.parametrize("last", ["", chunk("hal")[:30], "data: [DON", 'data: {"choices"'])
def test_an_end_without_its_mark_is_an_error(connect: Connect, peers: Peers, last: str) -> None:
    """A stream cut short is no success, whatever it said before."""
    peer = peers(streams(*WHOLE[:-1], *filter(None, [last])))
    stream = connect(peer).stream_chat("x")
    found = [next(stream).text for _ in range(5)]
    assert found[1] == "Only "
    with pytest.raises(GatewayConnectionLostError):
        next(stream)
    assert list(stream) == []
    with pytest.raises(GatewayStateError):
        _ = stream.reply


def test_a_connection_that_breaks(connect: Connect, peers: Peers) -> None:
    def breaks(exchange: Exchange) -> None:
        exchange.start_events()
        exchange.chunk(WHOLE[1])
        exchange.link.close()

    stream = connect(peers(breaks)).stream_chat("x")
    assert next(stream).text == "Only "
    with pytest.raises(GatewayConnectionLostError):
        next(stream)


ERROR = '{"error": {"message": "PROSE", "type": "%s", "code": %s}}'


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        ("data: " + ERROR % ("rate_limit_error", "null"), RateLimitError),
        ("data: " + ERROR % ("overloaded_error", "null"), GatewayUnavailableError),
        ("data: " + ERROR % ("x", '"upstream_error"'), GatewayUnavailableError),
        ("data: " + ERROR % ("x", "429"), RateLimitError),
        ("data: " + ERROR % ("authentication_error", "null"), GatewayAuthError),
        ("data: " + ERROR % ("x", '"of_its_own"'), GatewayServerError),
        ("event: error\ndata: " + ERROR % ("rate_limit_error", "null"), RateLimitError),
        ('event: error\ndata: {"message": "PROSE", "type": "rate_limit_error"}', RateLimitError),
        ("event: error\ndata: PROSE", GatewayServerError),
        ("event: error\ndata: {}", GatewayServerError),
        ("event: error\n" + chunk("x").rstrip(), GatewayServerError),
        ('data: {"error": "PROSE of it"}', GatewayServerError),
        ('data: {"error": {"message": "PROSE"}, "choices": null}', GatewayServerError),
    ],
    ids=range(13),
)
def test_an_error_that_the_stream_tells(
    connect: Connect, peers: Peers, event: str, kind: type[GatewayError]
) -> None:
    """Raised where it stands, and at once."""
    peer = peers(streams(WHOLE[1], f"{event}\n\n", WHOLE[2], ends=False))
    stream = connect(peer).stream_chat("x")
    assert next(stream).text == "Only "
    with pytest.raises(kind) as caught:
        next(stream)
    assert "PROSE" not in str(caught.value)
    assert stream.raw.closed


@pytest.mark.parametrize(
    "data", ["PROSE", "{", "[]", "null", '{"choices": 5}', '{"choices":[{"delta":{"content":5}}]}']
)
def test_what_is_no_chunk_is_an_error(connect: Connect, peers: Peers, data: str) -> None:
    """Text is never left out in silence."""
    stream = connect(peers(streams(WHOLE[1], f"data: {data}\n\n", *WHOLE[2:]))).stream_chat("x")
    assert next(stream).text == "Only "
    with pytest.raises(GatewayProtocolError) as caught:
        next(stream)
    assert "PROSE" not in str(caught.value)


def test_what_the_standard_allows(connect: Connect, peers: Peers) -> None:
    """No space behind the colon, CR LF, comments, names, ids, empty data."""
    pieces = (
        "\ufeff: hello\r\n\r\n",
        "event: message\r\nid: 7\r\n" + chunk("a").replace("data: ", "data:").strip() + "\r\n\r\n",
        "event: chat.completion.chunk\r" + chunk("b").strip() + "\r\r",
        "data\n\ndata: \n\n",
        "retry: 5\n\n",
        # JSON may stand on several lines, and be cut where a blank may stand.
        'data: {"choices": [{"delta":\ndata: {"content": "c"}}]}\n\n',
        # Two objects without an empty line between them.
        chunk("d")[:-1] + chunk("e"),
        DONE,
    )
    found = connect(peers(streams(*pieces))).stream_chat("x").collect()
    assert found.text == "abcde"


def test_other_choices_are_nobodys(connect: Connect, peers: Peers) -> None:
    other = 'data: {"choices": [{"index": 1, "delta": {"content": "other"}}]}\n\n'
    both = (
        'data: {"choices": [{"index": 1, "delta": {"content": "other"}}, '
        '{"index": 0, "delta": {"content": "mine"}}]}\n\n'
    )
    assert connect(peers(streams(other, both, DONE))).stream_chat("x").collect().text == "mine"


def test_null_is_what_is_not_there(connect: Connect, peers: Peers) -> None:
    event = (
        'data: {"id": null, "choices": [{"index": null, "delta": {"content": "a", "role": null, '
        '"tool_calls": null}, "finish_reason": null, "logprobs": null}], "usage": null}\n\n'
    )
    assert connect(peers(streams(event, DONE))).stream_chat("x").collect().text == "a"


def test_more_than_text(connect: Connect, peers: Peers) -> None:
    pieces = (
        chunk(reasoning_content="h"),
        chunk(reasoning="m"),
        chunk(refusal="I "),
        chunk(refusal="will not."),
        'data: {"choices": [{"delta": {}, "logprobs": {"content": [1], "refusal": null}}]}\n\n',
        'data: {"choices": [{"delta": {}, "logprobs": {"content": [2], "refusal": null}}]}\n\n',
        DONE,
    )
    found = connect(peers(streams(*pieces))).stream_chat("x").collect()
    assert (found.reasoning, found.refusal) == ("hm", "I will not.")
    assert found.logprobs == {"content": [1, 2], "refusal": None}


# --- tool calls in fragments


def test_tool_calls_of_a_stream(connect: Connect, peers: Peers) -> None:
    pieces = (
        call_delta(0, "", id="call_8", name="grep", type="function"),
        call_delta(1, "", id="call_9", name="ls"),
        call_delta(0, '{"pat'),
        call_delta(1, "{bad"),
        call_delta(0, 'tern": "x"}'),
        chunk(finish_reason="tool_calls"),
        DONE,
    )
    stream = connect(peers(streams(*pieces))).stream_chat("x")
    found = list(stream)
    assert found[0].tool_calls == (ToolCallDelta(0, "call_8", "grep", ""),)
    assert found[2].tool_calls == (ToolCallDelta(0, None, None, '{"pat'),)
    assert stream.reply.tool_calls == (ToolCall("call_8", "grep", '{"pattern": "x"}'),)
    (bad,) = stream.reply.invalid_tool_calls
    assert (bad.id, bad.arguments) == ("call_9", "{bad")
    assert stream.reply.finish_reason == "tool_calls"


def test_calls_that_share_an_index_are_told_apart_by_id(connect: Connect, peers: Peers) -> None:
    """As some servers write parallel calls."""
    pieces = (
        call_delta(0, '{"n": 1}', id="a", name="f"),
        call_delta(0, '{"n": 2}', id="b", name="f"),
        DONE,
    )
    found = connect(peers(streams(*pieces))).stream_chat("x").collect()
    assert [(each.id, each.json()) for each in found.tool_calls] == [
        ("a", {"n": 1}),
        ("b", {"n": 2}),
    ]


CALLS = st.lists(
    st.tuples(
        st.from_regex(r"[a-z_]{1,8}", fullmatch=True),
        st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=8), max_size=3),
    ),
    min_size=1,
    max_size=4,
)


@given(calls=CALLS, data=st.data())
def test_fragments_in_any_order_of_calls_make_the_calls(calls: Any, data: st.DataObject) -> None:
    """Fragments of one call keep their order; those of several are mixed at will."""
    waiting: list[list[ToolCallDelta]] = []
    for index, (name, arguments) in enumerate(calls):
        text = json.dumps(arguments)
        cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=5)))
        edges = [0, *cuts, len(text)]
        parts = [text[a:b] for a, b in pairwise(edges)]
        waiting.append(
            [ToolCallDelta(index, f"call_{index}", name)]
            + [ToolCallDelta(index, arguments=part) for part in parts]
        )
    gathered = Gathered()
    begun: list[int] = []
    while left := [one for one in waiting if one]:
        fragments = data.draw(st.sampled_from(left))
        if fragments[0].name is not None:
            begun.append(fragments[0].index)
        gathered.add(ChatChunk(tool_calls=(fragments.pop(0),)))
    found = gathered.reply()
    assert not found.invalid_tool_calls
    assert [int(each.id[5:]) for each in found.tool_calls] == begun
    for each in found.tool_calls:
        name, arguments = calls[int(each.id[5:])]
        assert (each.name, each.json()) == (name, arguments)


# --- every cut


STREAM = "".join(
    (
        ": comment\r\n\r\n",
        chunk("Grüße "),
        call_delta(0, '{"p', id="call_8", name="grep"),
        call_delta(0, '": "ß"}'),
        chunk("😀\u2028"),
        chunk(finish_reason="tool_calls").replace("\n", "\r\n"),
        USAGE,
        DONE,
    )
)


def read(pieces: list[bytes], reader: Reader | None = None) -> tuple[list[Any], Gathered]:
    """Read a stream from pieces of its bytes, as the client does."""
    reader = reader or OpenAIReader()
    decoder = EventDecoder(decode=reader.decode)
    gathered = Gathered()
    steps: list[Any] = []
    for piece in [*pieces, b"\n\n"]:
        for event in decoder.feed(piece):
            if isinstance(event.data, ChatChunk) and event.event != "error":
                steps.append(event.data)
            else:
                steps += reader.take(event)
    for step in steps:
        if isinstance(step, ChatChunk):
            gathered.add(step)
    return steps, gathered


@settings(max_examples=300)
@given(data=st.data())
def test_cuts_change_nothing(data: st.DataObject) -> None:
    """Between the bytes of a letter, of a line's end, of a mark."""
    encoded = STREAM.encode()
    cuts = sorted(data.draw(st.sets(st.integers(0, len(encoded)), max_size=12)))
    edges = [0, *cuts, len(encoded)]
    pieces = [encoded[a:b] for a, b in pairwise(edges)]
    steps, gathered = read(pieces)
    whole, _ = read([encoded])
    assert steps == whole
    assert steps[-1] is END
    found = gathered.reply()
    assert found.text == "Grüße 😀\u2028"
    assert found.tool_calls == (ToolCall("call_8", "grep", '{"p": "ß"}'),)
    assert found.usage == Usage(61, 15, 76)


def test_every_single_cut_over_a_socket(connect: Connect, peers: Peers) -> None:
    """Two chunks of HTTP for each place, so that their framing is cut there too."""
    encoded = STREAM.encode()
    places = [*range(1, len(encoded), 7), encoded.index("ü".encode()) + 1]
    steps = [streams(encoded[:at], encoded[at:]) for at in places]
    client = connect(peers(*steps))
    for _ in places:
        assert client.stream_chat("x").collect().text == "Grüße 😀\u2028"


@given(st.lists(st.text(max_size=20), max_size=20))
def test_all_text_arrives(texts: list[str]) -> None:
    """Eight tokens sent are eight tokens read."""
    texts = [text.encode("utf-8", "replace").decode() for text in texts]
    events = "".join(chunk(text) for text in texts) + DONE
    steps, gathered = read([events.encode()])
    assert [step.text for step in steps[:-1]] == texts
    assert gathered.reply().text == "".join(texts)


@given(st.binary(max_size=300))
def test_whatever_comes_is_a_step(data: bytes) -> None:
    """No data of an event raises anything of its own."""
    reader = OpenAIReader()
    from ostiary._wire.sse import Event

    found = reader.decode(data)
    if not isinstance(found, ChatChunk):
        for step in reader.take(Event("message", found)):
            assert step is END or isinstance(step, (ChatChunk, GatewayError))


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False)
        | st.text(max_size=9),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(["error", "code", "type", "choices", "delta", "content", "usage"]),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_any_json_is_a_chunk_or_an_error(value: Any) -> None:
    """The pure readers raise nothing but our own errors, whatever is JSON."""
    data = json.dumps(value)
    for parse in (parse_chunk, parse_reply, parse_embeddings):
        with contextlib.suppress(GatewayError):
            parse(data)
    assert isinstance(said_no(value), GatewayAPIError)


def test_the_readers_without_a_client() -> None:
    assert parse_reply(json.dumps(reply())).text == "Only net.py:12."
    assert parse_chunk(chunk("a").removeprefix("data: ")) == ChatChunk(
        "a", model="gpt-test-1", id="c9"
    )
    assert parse_chunk("[DONE]") is None
    assert parse_chunk(b"  ") is None
    with pytest.raises(RateLimitError):
        parse_chunk(ERROR % ("rate_limit_error", "null"))
    with pytest.raises(GatewayProtocolError):
        parse_reply("")
    body = {"data": [{"index": 0, "embedding": [1]}]}
    assert parse_embeddings(json.dumps(body)).vectors == [[1.0]]


# --- refused, late, left


def test_a_refusal_before_the_first_piece(connect: Connect, peers: Peers) -> None:
    peer = peers(fails(429, "rate_limited", ("Retry-After", "0")), fails(404, "model_not_found"))
    stream = connect(peer).stream_chat("x")
    with pytest.raises(GatewayAPIError) as caught:
        next(stream)
    assert (caught.value.status, caught.value.code) == (404, "model_not_found")
    assert len(peer.asked) == 2
    assert list(stream) == []


def test_a_401_renews_the_tokens_once(connect: Connect, peers: Peers) -> None:
    peer = peers(fails(401, "txn_token_expired"), streams(*WHOLE))
    assert connect(peer).stream_chat("x").collect().text == "Only net.py"
    assert len(peer.asked) == 2


def test_the_next_model_of_the_category(connect: Connect, peers: Peers) -> None:
    peer = peers(fails(503), streams(*WHOLE))
    assert connect(peer).stream_chat("x", fallback=True).collect().text == "Only net.py"
    assert [each["model"] for each in bodies(peer)] == ["gpt-test-1", "claude-test"]


def test_an_answer_that_is_no_stream(connect: Connect, peers: Peers) -> None:
    body = json.dumps(reply())
    peer = peers(answer(200, body, [("Content-Type", "application/json")]))
    with pytest.raises(GatewayProtocolError, match="no event stream"):
        next(connect(peer).stream_chat("x"))


def test_too_quiet(connect: Connect, peers: Peers) -> None:
    """Comments are no events: a peer that only breathes is not waited for."""

    def breathes(exchange: Exchange) -> None:
        exchange.start_events()
        exchange.chunk(WHOLE[1])
        for _ in range(4):
            exchange.chunk(": ping\n\n")
        exchange.link.stall()

    stream = connect(peers(breathes)).stream_chat("x", idle_timeout=0.3)
    assert next(stream).text == "Only "
    with pytest.raises(GatewayDeadlineError):
        next(stream)


def test_too_long(connect: Connect, peers: Peers) -> None:
    """A bound on all of it holds under a peer that drips."""
    over = threading.Event()

    def drips(exchange: Exchange) -> None:
        exchange.start_events()
        while not over.wait(0.02):
            exchange.chunk(WHOLE[1])

    stream = connect(peers(drips)).stream_chat("x", total_timeout=0.4)
    try:
        with pytest.raises(GatewayDeadlineError):
            for _ in stream:
                pass
    finally:
        over.set()


def test_limits(connect: Connect, peers: Peers) -> None:
    peer = peers(streams(WHOLE[1], "data: " + "x" * 5000, ends=False))
    stream = connect(peer, limits=Limits(sse_line=4096)).stream_chat("x")
    assert next(stream).text == "Only "
    with pytest.raises(GatewaySizeLimitError):
        next(stream)


@pytest.mark.parametrize("how", ["close", "with", "garbage"])
def test_leaving_early_closes_the_connection(connect: Connect, peers: Peers, how: str) -> None:
    gone = threading.Event()

    def watches(exchange: Exchange) -> None:
        exchange.start_events()
        exchange.chunk(WHOLE[1])
        try:
            exchange.request()
        finally:
            gone.set()

    client = connect(peers(watches))
    stream = client.stream_chat("x")
    assert next(stream).text == "Only "
    if how == "close":
        stream.close()
    elif how == "with":
        with stream:
            pass
    else:
        del stream
        gc.collect()
    client.turn()
    assert gone.wait(10)


def test_a_cancelled_reader_closes_the_connection(access: Access, peers: Peers) -> None:
    """And the client serves the next call."""
    gone = threading.Event()
    begun = threading.Event()

    def watches(exchange: Exchange) -> None:
        exchange.request()
        exchange.start_events()
        exchange.chunk(WHOLE[1])
        begun.set()
        try:
            exchange.request()
        finally:
            gone.set()

    peer = peers(serve=watches)

    async def main() -> None:
        async with AsyncGatewayClient(access(peer, tctx=TCTX)) as client:

            async def reads() -> None:
                async for _ in client.stream_chat("x"):
                    pass

            task = asyncio.ensure_future(reads())
            while not begun.is_set():
                await asyncio.sleep(0.005)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await asyncio.to_thread(gone.wait, 10)

    asyncio.run(main())


def test_what_was_left_early_counts_as_no_call(connect: Connect, peers: Peers) -> None:
    client = connect(peers(streams(*WHOLE)))
    with client.stream_chat("x") as stream:
        next(stream)
    assert client.usage.calls == 0


def test_an_invalid_call_prints_without_its_arguments_lost() -> None:
    bad = InvalidToolCall("i", "n", "{", "why")
    assert bad.result().content == "why"
    assert bad.result("other").content == "other"
