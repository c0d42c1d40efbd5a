"""What a stream's bytes mean: the standard's reading, and the original's, however they are cut.

The original's reader is written out below from the guide's contract: every line with `data:` in
it holds one JSON object behind that word.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ostiary._wire.sse import EventDecoder
from ostiary.governance import Client, HestiaProtocolError, RunStream, StreamEvent
from ostiary.governance.stream import END, read_payload, unfold
from tests.http.peer import Exchange, HttpPeer


def original(body: bytes) -> list[StreamEvent]:
    """Read as the guide's contract says."""
    found: list[StreamEvent] = []
    for line in re.split("\r\n|\n|\r", body.decode("utf-8")):
        if not line or "data:" not in line:
            continue
        payload = line.split("data:", 1)[1].strip()
        if not payload:
            continue
        raw = json.loads(payload)
        found.append(
            StreamEvent(
                raw["type"], raw.get("data", {}), raw.get("trace_id", ""), raw.get("timestamp", "")
            )
        )
    return found


class Server:
    """Sends the body it was given last, in the pieces it was given, and ends."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.peer = HttpPeer(self._serve)

    def _serve(self, exchange: Exchange) -> None:
        while True:
            exchange.request()
            exchange.start_events()
            for piece in self.pieces:
                if piece:
                    exchange.chunk(piece)
            exchange.end_chunks()


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Server, Client]]:
    server = Server()
    with server.peer, Client(server.peer.url()) as client:
        yield server, client


def read(stream: RunStream) -> list[StreamEvent]:
    """Return the events up to `done` or the mark; what ends without either raises."""
    return list(stream)


DATA = st.dictionaries(
    st.text(max_size=4),
    st.none() | st.integers(-(2**53), 2**53) | st.text(max_size=12) | st.lists(st.booleans()),
    max_size=3,
)
EVENTS = st.builds(
    dict,
    type=st.sampled_from(["start", "token", "delta", "tool_call", "final", "error", "later"]),
    data=DATA,
    trace_id=st.sampled_from(["", "t-1"]),
    timestamp=st.just("2031-02-03T04:05:06Z"),
)


def lines_of(event: dict[str, Any], leave_out: set[str], blank: str) -> str:
    shown = {k: v for k, v in event.items() if k == "type" or k not in leave_out}
    return f"data:{blank}{json.dumps(shown)}{blank}"


BETWEEN = st.lists(
    st.sampled_from(["", ": ping", ":", "event: token", "id: 7", "retry: 10", "other: x", "data:"]),
    max_size=4,
)


@st.composite
def streams_the_original_reads(draw: st.DrawFn) -> bytes:
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    written: list[str] = list(draw(BETWEEN))
    for event in [*draw(st.lists(EVENTS, max_size=6)), {"type": "done"}]:
        left_out = draw(st.sets(st.sampled_from(["data", "trace_id", "timestamp"])))
        written.append(lines_of(event, left_out, draw(st.sampled_from(["", " ", "\t"]))))
        written += draw(BETWEEN)
    tail = draw(st.sampled_from(["", end, end + end]))
    return (end.join(written) + tail).encode()


@given(streams_the_original_reads(), st.lists(st.integers(0, 2000), max_size=6))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_the_original_can_read_is_read_the_same(
    served: tuple[Server, Client], body: bytes, cuts: list[int]
) -> None:
    server, client = served
    at = [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
    server.pieces = [body[a:b] for a, b in pairwise(at)]
    assert read(client.run_stream("x")) == original(body)


START = '{"type": "start", "trace_id": "t"}'
TOKEN = '{"type": "token", "data": {"text": "a"}}'
DONE = '{"type": "done"}'


@pytest.mark.parametrize(
    ("body", "kinds"),
    [
        # One object over several lines, as the standard joins them.
        ('data: {"type":\ndata:  "start"}\n\ndata: {"type": "done"}\n\n', ["start", "done"]),
        (
            'data: {\ndata: "type": "start"\ndata: }\n\ndata: {"type": "done"}\n\n',
            ["start", "done"],
        ),
        # Several objects with no empty line between.
        (f"data: {START}\ndata: {TOKEN}\ndata: {DONE}\n\n", ["start", "token", "done"]),
        (f"data: {START}\ndata:\ndata: {DONE}\n\n", ["start", "done"]),
        # And none behind the last.
        (f"data: {START}\n\ndata: {DONE}\n", ["start", "done"]),
        (f"data: {START}\n\ndata: {DONE}", ["start", "done"]),
        (f"data: {START}\ndata: {DONE}", ["start", "done"]),
        # A mark instead of `done`, and behind it.
        (f"data: {START}\n\ndata: [DONE]\n\n", ["start"]),
        (f"data: {START}\ndata: [DONE]\ndata: nonsense\n\n", ["start"]),
        (f"data: {START}\n\ndata: [DONE]", ["start"]),
        ("data: [DONE]\n\n", []),
        (f"data: {DONE}\n\ndata: [DONE]\n\n", ["done"]),
        # The name of the event, where the object has none; its own name wins.
        ('event: start\ndata: {"data": {}}\n\nevent: done\ndata: {}\n\n', ["start", "done"]),
        (f"event: final\ndata: {START}\n\ndata: {DONE}\n\n", ["start", "done"]),
        ('event: token\ndata: {"type": null}\n\nevent: done\ndata: {}\n\n', ["token", "done"]),
        ("event: token\ndata: {}\ndata: {}\n\nevent: done\ndata: {}\n\n", ["token"] * 2 + ["done"]),
        # Comments, whatever they say; a byte-order mark; ends of lines.
        (f": data: not this\n: data: {TOKEN}\ndata: {DONE}\n\n", ["done"]),
        (f"\ufeffdata: {START}\n\ndata: {DONE}\n\n", ["start", "done"]),
        (f"data: {START}\r\rdata: {DONE}\r\n\r\n", ["start", "done"]),
        (f"data:{START}\n\ndata:\t {DONE} \n\n", ["start", "done"]),
        ("data\n\ndata:\n\ndata:   \n\n" + f"data: {DONE}\n\n", ["done"]),
    ],
)
def test_readings(served: tuple[Server, Client], body: str, kinds: list[str]) -> None:
    server, client = served
    data = body.encode()
    for pieces in ([data], [data[i : i + 1] for i in range(len(data))]):
        server.pieces = pieces
        assert [one.type for one in read(client.run_stream("x"))] == kinds


def test_numbers_where_text_is_expected(served: tuple[Server, Client]) -> None:
    server, client = served
    server.pieces = [b'data: {"type": "done", "trace_id": 7, "timestamp": 1.5}\n\n']
    (one,) = read(client.run_stream("x"))
    assert (one.trace_id, one.timestamp) == ("7", "1.5")


@pytest.mark.parametrize("name", ["", "event: message\n"])
def test_an_event_without_a_name(served: tuple[Server, Client], name: str) -> None:
    server, client = served
    server.pieces = [f"{name}data: {{}}\n\n".encode()]
    with pytest.raises(HestiaProtocolError, match="type"):
        read(client.run_stream("x"))


@given(st.binary(max_size=200))
def test_no_bytes_are_worse_than_unreadable(data: bytes) -> None:
    decoder = EventDecoder(decode=read_payload)
    for event in decoder.feed(b"data: " + data + b"\n\n"):
        *events, last = unfold(event) or [END]
        assert all(isinstance(one, StreamEvent) for one in events)
        assert last is END or isinstance(last, (StreamEvent, HestiaProtocolError))


def test_a_flood_of_lines_is_read_in_a_line(served: tuple[Server, Client]) -> None:
    """100,000 objects in one event of the standard: each is looked at a fixed number of times."""
    server, client = served
    count = 100_000
    server.pieces = [b'data: {"type": "token"}\n' * count + b'data: {"type": "done"}\n\n']
    assert sum(1 for _ in client.run_stream("x")) == count + 1
    assert threading.active_count() < 50
