"""Streams: lazily opened, closed at once, never ended in silence, held to order on request."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from ostiary.config import Limits
from ostiary.governance import (
    AsyncClient,
    Client,
    GovernanceBlock,
    HestiaAPIError,
    HestiaConnectionLostError,
    HestiaDeadlineError,
    HestiaProtocolError,
    HestiaSizeLimitError,
    HestiaUnavailableError,
    RunResponse,
    StreamEvent,
    collect_stream,
    is_delta_event,
    is_done_event,
    is_error_event,
    is_final_event,
    is_start_event,
    is_token_event,
    is_tool_call_event,
)
from tests.http.peer import Exchange, answer

from .conftest import RUN, event, streams

Connect = Callable[..., Any]

FINAL = {"result": "four chairs", "output": "four chairs", "mode": "ALLOW", "budget": 0.8}
WHOLE = (
    event("start"),
    event("token", {"text": "four "}),
    event("token", {"text": "chairs"}),
    event("final", FINAL),
    event("done"),
)


def kinds(stream: Any) -> list[str]:
    return [one.type for one in stream]


# --- events


def test_the_events_of_a_run(connect: Connect, peers: Any) -> None:
    found = list(connect(peers(streams(": ping\n\n", *WHOLE))).stream("x"))
    assert [one.type for one in found] == ["start", "token", "token", "final", "done"]
    assert found[1] == StreamEvent("token", {"text": "four "}, "t-1", "2031-02-03T04:05:06Z")
    assert {one.trace_id for one in found} == {"t-1"}


def test_an_event_from_its_object() -> None:
    raw = {"type": "token", "data": {"text": "x"}, "trace_id": "t", "timestamp": "now"}
    assert StreamEvent.from_raw(raw) == StreamEvent("token", {"text": "x"}, "t", "now")
    bare = StreamEvent.from_raw({"type": "done"})
    assert (bare.data, bare.trace_id, bare.timestamp) == ({}, "", "")
    nulls = StreamEvent.from_raw({"type": "done", "data": None, "trace_id": None, "new": 1})
    assert nulls == bare == StreamEvent(type="done")
    assert StreamEvent.from_raw({"type": "of later servers"}).type == "of later servers"
    for wrong in ({}, {"type": None}, {"type": 5}, {"type": "done", "data": [1]}):
        with pytest.raises(HestiaProtocolError):
            StreamEvent.from_raw(wrong)


def test_the_seven_guards() -> None:
    guards: dict[Any, Callable[[StreamEvent], bool]] = {
        "start": is_start_event,
        "token": is_token_event,
        "delta": is_delta_event,
        "tool_call": is_tool_call_event,
        "final": is_final_event,
        "error": is_error_event,
        "done": is_done_event,
    }
    for kind in guards:
        for other, guard in guards.items():
            assert guard(StreamEvent(kind)) is (kind == other)


# --- opening and closing


def test_nothing_is_sent_before_the_first_event_is_asked_for(connect: Connect, peers: Any) -> None:
    peer = peers(streams(*WHOLE))
    stream = connect(peer).stream("x")
    assert peer.asked == []
    assert "not begun" in repr(stream.raw)
    assert next(stream).type == "start"
    assert len(peer.asked) == 1
    assert "open" in repr(stream.raw)
    stream.close()
    assert "closed" in repr(stream.raw)


def test_a_stream_that_was_never_begun_closes(connect: Connect, peers: Any) -> None:
    peer = peers(streams(*WHOLE))
    stream = connect(peer).stream("x")
    stream.close()
    assert stream.raw.closed
    assert list(stream) == []
    assert peer.asked == []


class Hung:
    """A server whose stream never ends, and who knows when its client has gone."""

    def __init__(self, *pieces: str) -> None:
        self.pieces = pieces
        self.gone = threading.Event()

    def __call__(self, exchange: Exchange) -> None:
        try:
            exchange.start_events()
            for piece in self.pieces:
                exchange.chunk(piece)
            exchange.link.read_exactly(1)
        finally:
            self.gone.set()


def test_leaving_the_loop_closes_the_connection_at_once(connect: Connect, peers: Any) -> None:
    hung = Hung(event("start"), event("token", {"text": "a"}))
    client = connect(peers(hung))
    for one in client.stream("x"):
        assert one.type == "start"
        break
    assert hung.gone.wait(20), "the connection is still open"
    assert client.raw.pool.open_connections == 0


def test_an_async_loop_that_is_left_closes_the_connection_at_once(run: Any, peers: Any) -> None:
    hung = Hung(event("start"))

    async def main() -> None:
        async with AsyncClient(hung_peer.url()) as client:
            async for one in client.run_stream("x"):
                assert one.type == "start"
                break
            # Without a turn of the loop, and with the collector off.
            assert client.pool.open_connections == 0

    hung_peer = peers(hung)
    gc.disable()
    try:
        run(main())
    finally:
        gc.enable()
    assert hung.gone.wait(20)


def test_a_with_block_and_close_do_so_too(connect: Connect, peers: Any) -> None:
    for by_block in (True, False):
        hung = Hung(event("start"))
        client = connect(peers(hung))
        stream = client.stream("x")
        if by_block:
            with stream:
                next(stream)
        else:
            next(stream)
            stream.close()
        assert hung.gone.wait(20)
        assert list(stream) == []
        stream.close()


def test_the_names_an_async_generator_has(peers: Any) -> None:
    async def main() -> None:
        async with AsyncClient(peer.url()) as client:
            stream = client.run_stream("x")
            assert aiter(stream) is stream
            assert (await anext(stream)).type == "start"
            await stream.aclose()
            assert [one async for one in stream] == []
            async with client.run_stream("x") as another:
                assert (await anext(another)).type == "start"

    peer = peers(streams(*WHOLE))
    asyncio.run(main())


def test_cancelling_a_task_closes_the_stream(run: Any, peers: Any) -> None:
    hung = Hung(event("start"))
    peer = peers(hung)

    async def main() -> None:
        async with AsyncClient(peer.url()) as client:
            begun = asyncio.Event()

            async def read() -> None:
                async for _ in client.run_stream("x"):
                    begun.set()

            task = asyncio.create_task(read())
            await begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert client.pool.open_connections == 0

    run(main())
    assert hung.gone.wait(20)


def test_one_stream_that_closes_leaves_the_others_alone(connect: Connect, peers: Any) -> None:
    hung = Hung(event("start"))
    peer = peers(hung, streams(*WHOLE))
    client = connect(peer)
    first, second = client.stream("1"), client.stream("2")
    next(first)
    assert next(second).type == "start"
    first.close()
    assert kinds(second) == ["token", "token", "final", "done"]


def test_another_thread_may_close_a_stream(peers: Any) -> None:
    hung = Hung(event("start"))
    with Client(peers(hung).url()) as client:
        stream = client.run_stream("x")
        next(stream)
        timer = threading.Timer(0.05, stream.close)
        timer.start()
        with pytest.raises((StopIteration, HestiaConnectionLostError, Exception)) as caught:
            next(stream)
        timer.join()
        assert caught.type is StopIteration or caught.type.__module__.startswith("ostiary")


def test_a_finished_stream_gives_its_connection_back(connect: Connect, peers: Any) -> None:
    peer = peers(streams(*WHOLE))
    client = connect(peer)
    for _ in range(3):
        assert kinds(client.stream("x"))[-1] == "done"
        client.turn()
    assert len({asked.connection for asked in peer.asked}) == 1


def test_what_follows_done_is_nobody_s(connect: Connect, peers: Any) -> None:
    peer = peers(streams(*WHOLE, "data: not JSON\n\n", event("token")), RUN)
    client = connect(peer)
    assert kinds(client.stream("x")) == ["start", "token", "token", "final", "done"]
    assert client.run("x").decision == "ALLOW"


def test_a_server_that_holds_the_line_after_done(connect: Connect, peers: Any) -> None:
    hung = Hung(*WHOLE)
    client = connect(peers(hung))
    assert kinds(client.stream("x"))[-1] == "done"
    # A moment for the end of the response; then the connection goes.
    until = time.monotonic() + 20
    while not hung.gone.wait(0.01):
        assert time.monotonic() < until
        client.turn()


# --- ends


@pytest.mark.parametrize("pieces", [(), WHOLE[:1], WHOLE[:-1], (": only\n\n", ": comments\n\n")])
def test_an_end_without_done_is_an_error(connect: Connect, peers: Any, pieces: Any) -> None:
    stream = connect(peers(streams(*pieces))).stream("x")
    seen: list[StreamEvent] = []
    with pytest.raises(HestiaConnectionLostError, match="done") as caught:
        seen.extend(stream)
    assert caught.value.sent is True
    assert isinstance(caught.value, ConnectionError)
    assert kinds(seen) == [json.loads(p[6:])["type"] for p in pieces if p.startswith("data")]
    assert list(stream) == [], "an error ends a stream for good"


def test_a_connection_cut_in_the_middle(connect: Connect, peers: Any) -> None:
    def cut(exchange: Exchange) -> None:
        exchange.start_events()
        exchange.chunk(WHOLE[0])
        exchange.raw(b"50\r\ndata: {")
        exchange.link.close()

    stream = connect(peers(cut)).stream("x")
    assert next(stream).type == "start"
    with pytest.raises(HestiaConnectionLostError):
        next(stream)


def test_the_whole_stream_has_a_timeout(connect: Connect, peers: Any) -> None:
    def drip(exchange: Exchange) -> None:
        exchange.start_events()
        exchange.chunk(event("start"))
        while True:
            exchange.chunk(event("token", {"text": "."}))
            time.sleep(0.01)

    seen: list[StreamEvent] = []
    with pytest.raises(HestiaDeadlineError) as caught:
        seen.extend(connect(peers(drip)).stream("x", timeout=0.3))
    assert isinstance(caught.value, TimeoutError)
    assert seen[0].type == "start"


def test_comments_do_not_feed_the_idle_timeout(connect: Connect, peers: Any) -> None:
    def beat(exchange: Exchange) -> None:
        exchange.start_events()
        exchange.chunk(event("start"))
        while True:
            exchange.chunk(": ping\n\n")
            time.sleep(0.01)

    for by_client in (True, False):
        client = connect(peers(beat), **({"idle_timeout": 0.2} if by_client else {}))
        stream = client.stream("x", **({} if by_client else {"idle_timeout": 0.2}))
        assert next(stream).type == "start"
        with pytest.raises(HestiaDeadlineError):
            next(stream)


def test_the_client_s_timeout_ends_with_the_head(connect: Connect, peers: Any) -> None:
    def slow(exchange: Exchange) -> None:
        exchange.start_events()
        for piece in WHOLE:
            time.sleep(0.06)
            exchange.chunk(piece)
        exchange.end_chunks()

    assert len(list(connect(peers(slow), timeout=0.25).stream("x"))) == len(WHOLE)


def test_a_stream_is_opened_again_only_before_its_head(connect: Connect, peers: Any) -> None:
    peer = peers(answer(429, b"{}"), streams(*WHOLE))
    assert kinds(connect(peer).stream("x"))[-1] == "done"
    assert len(peer.asked) == 2
    peer = peers(answer(503, b"{}"))
    with pytest.raises(HestiaUnavailableError):
        next(connect(peer).stream("x"))
    assert len(peer.asked) == 1
    peer = peers(streams(WHOLE[0]))
    with pytest.raises(HestiaConnectionLostError):
        list(connect(peer).stream("x"))
    assert len(peer.asked) == 1


def test_a_plain_answer_is_no_stream(connect: Connect, peers: Any) -> None:
    with pytest.raises(HestiaConnectionLostError):
        list(connect(peers(RUN)).stream("x"))


# --- what is no event


@pytest.mark.parametrize(
    "line",
    [
        "data: not JSON",
        "data: {",
        "data: 5",
        "data: [1]",
        'data: "text"',
        "data: null",
        "data: {}",
        'data: {"data": {}}',
        'data: {"type": 5}',
        'data: {"type": "token", "data": "text"}',
        "data: " + "[" * 5000,
    ],
    ids=lambda line: line[:40],
)
def test_what_is_no_event_raises(connect: Connect, peers: Any, line: str) -> None:
    peer = peers(streams(event("start"), f"{line}\n\n", event("done")))
    stream = connect(peer).stream("x")
    assert next(stream).type == "start"
    with pytest.raises(HestiaProtocolError) as caught:
        next(stream)
    assert caught.value.sent is True
    assert list(stream) == []


def test_bytes_that_are_no_text(connect: Connect, peers: Any) -> None:
    peer = peers(streams(event("start"), b'data: {"type": "tok\xff"}\n\n'))
    stream = connect(peer).stream("x")
    next(stream)
    with pytest.raises(HestiaProtocolError):
        next(stream)


def test_events_before_a_bad_one_are_not_lost(connect: Connect, peers: Any) -> None:
    together = event("start") + event("token") + "data: nonsense\n\n"
    for text in (together, together.replace("}\n\n", "}\n")):
        stream = connect(peers(streams(text))).stream("x")
        assert [next(stream).type, next(stream).type] == ["start", "token"]
        with pytest.raises(HestiaProtocolError):
            next(stream)
        assert list(stream) == []


@pytest.mark.parametrize("tail", ["data: {", 'data: {"type": "token"}\ndata: {"type"', "data: x"])
def test_half_an_event_at_the_end_is_a_stream_cut_short(
    connect: Connect, peers: Any, tail: str
) -> None:
    stream = connect(peers(streams(event("start"), tail))).stream("x")
    assert next(stream).type == "start"
    with pytest.raises(HestiaConnectionLostError, match="done"):
        list(stream)


def test_the_message_does_not_show_what_came(connect: Connect, peers: Any) -> None:
    with pytest.raises(HestiaProtocolError) as caught:
        list(connect(peers(streams("data: s3cret\n\n"))).stream("x"))
    assert "s3cret" not in str(caught.value)


def test_an_event_over_the_limit(connect: Connect, peers: Any) -> None:
    client = connect(
        peers(streams(event("token", {"text": "x" * 5000}))), limits=Limits(sse_event=4096)
    )
    with pytest.raises(HestiaSizeLimitError):
        list(client.stream("x"))


# --- the grammar


ORDERS = {
    "start final done": True,
    "start token delta tool_call final done": True,
    "start error done": True,
    "start token error done": True,
    "final done": False,
    "token final done": False,
    "done": False,
    "start done": False,
    "start start final done": False,
    "start final final done": False,
    "start final error done": False,
    "start final token done": False,
    "start error start done": False,
    "start later final done": False,
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("by_client", [True, False])
def test_strict_refuses_what_is_out_of_order(
    connect: Connect, peers: Any, order: str, by_client: bool
) -> None:
    peer = peers(streams(*(event(kind) for kind in order.split())))
    assert kinds(connect(peer).stream("x")) == order.split(), "not strict: passed through"
    if by_client:
        stream = connect(peer, strict=True).stream("x")
    else:
        stream = connect(peer).stream("x", strict=True)
    if ORDERS[order]:
        assert kinds(stream) == order.split()
        return
    with pytest.raises(HestiaProtocolError, match="strict"):
        list(stream)
    assert list(stream) == []
    # And a stream may be less strict than its client.
    assert kinds(connect(peer, strict=True).stream("x", strict=False)) == order.split()


def test_strict_wants_one_trace_id(connect: Connect, peers: Any) -> None:
    peer = peers(streams(event("start"), event("final", trace_id="t-2"), event("done")))
    assert len(list(connect(peer).stream("x"))) == 3
    with pytest.raises(HestiaProtocolError, match="trace_id"):
        list(connect(peer).stream("x", strict=True))


@pytest.mark.parametrize("end", ["data: [DONE]\n\n", ""])
@pytest.mark.parametrize("order", ["start token", "start final"])
def test_strict_wants_done_too(connect: Connect, peers: Any, order: str, end: str) -> None:
    peer = peers(streams(*(event(kind) for kind in order.split()), end or ": x\n"))
    with pytest.raises(HestiaProtocolError, match="may not end"):
        list(connect(peer).stream("x", strict=True))


def test_strict_with_a_mark_behind_done(connect: Connect, peers: Any) -> None:
    peer = peers(streams(*WHOLE, "data: [DONE]\n\n"))
    assert kinds(connect(peer, strict=True).stream("x"))[-1] == "done"


# --- the whole of it


def collected(connect: Connect, peers: Any, *events_: str) -> RunResponse:
    return connect(peers(streams(*events_))).stream("x").collect()  # type: ignore[no-any-return]


def test_collecting(connect: Connect, peers: Any) -> None:
    run = collected(connect, peers, *WHOLE)
    assert run == RunResponse(
        result="four chairs", output="four chairs", mode="ALLOW", budget=0.8, trace_id="t-1"
    )


def test_text_that_final_leaves_out_is_joined(connect: Connect, peers: Any) -> None:
    for kind in ("token", "delta"):
        run = collected(
            connect,
            peers,
            event("start"),
            event(kind, {"text": "four "}),
            event("tool_call", {"name": "count"}),
            event(kind, {"text": "chairs"}),
            event(kind, {"other": 1}),
            event("final", {"mode": "ALLOW", "result": None}),
            event("done"),
        )
        assert (run.output, run.text, run.decision) == ("four chairs", "four chairs", "ALLOW")
    both = collected(
        connect,
        peers,
        event("token", {"text": "a"}),
        event("delta", {"text": "a"}),
        event("final"),
        event("done"),
    )
    assert both.output == "a", "a server that sends both says the same twice"


def test_collecting_what_has_no_result(connect: Connect, peers: Any) -> None:
    with pytest.raises(HestiaProtocolError, match="result"):
        collected(connect, peers, event("start"), event("done"))
    with pytest.raises(HestiaConnectionLostError):
        collected(connect, peers, *WHOLE[:-1])
    with pytest.raises(HestiaProtocolError, match="budget"):
        collected(connect, peers, event("final", {"budget": "much"}), event("done"))


def test_collecting_an_error(connect: Connect, peers: Any) -> None:
    late = {"code": "GOVERNANCE_BLOCK", "message": "rule R-1"}
    with pytest.raises(GovernanceBlock, match="rule R-1") as caught:
        collected(connect, peers, event("start"), event("error", late), event("done"))
    assert caught.value.trace_id == "t-1"
    with pytest.raises(HestiaAPIError) as other:
        collected(connect, peers, event("error", {"code": 5}), event("done"))
    assert other.value.code == "UNKNOWN"


def test_the_function_takes_any_events(peers: Any) -> None:
    peer = peers(streams(*WHOLE))
    with Client(peer.url()) as client:
        events = list(client.run_stream("x"))
        expected = client.run_stream("x").collect()
        assert collect_stream(client.run_stream("x")) == expected
    assert collect_stream(events) == collect_stream(iter(events)) == expected

    async def main() -> None:
        async with AsyncClient(peer.url()) as client:
            assert await collect_stream(client.run_stream("x")) == expected
            assert await client.run_stream("x").collect() == expected

    asyncio.run(main())
