"""Progress as events: each once, in order, over as many connections as it takes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from ostiary.errors import OstiaryError
from ostiary.workflow import ConnectionLostError, NotFoundError, ProtocolError
from ostiary.workflow._events import _async, _sync
from tests.http.peer import Exchange, lost, stall

from .conftest import Client, happened, refuses, shown

Connect = Callable[..., Client]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (_async, _sync):
        monkeypatch.setattr(module, "_FIRST_PAUSE", 0.0)
        monkeypatch.setattr(module, "_LAST_PAUSE", 0.0)


def framed(event: dict[str, Any]) -> str:
    return f"id: {event['sequence']}\nevent: {event['type']}\ndata: {json.dumps(event)}\n\n"


def tells(*events: dict[str, Any] | str, end: bool = True) -> Callable[[Exchange], object]:
    """Stream events; then end the response in order, or lose the connection."""

    def step(exchange: Exchange) -> None:
        exchange.start_events()
        for one in events:
            exchange.chunk(one if isinstance(one, str) else framed(one))
        if end:
            exchange.end_chunks()
        else:
            lost(exchange)

    return step


LAST = happened(3, "WORKFLOW_COMPLETED", task_id=None)


def sequences(connect: Connect, peer: Any, *arguments: Any) -> list[int]:
    reading = connect(peer).read("stream_workflow", "ledger-7", *arguments)
    found = [one.sequence for one in reading]
    assert reading.raw.closed
    return found


def test_it_ends_with_the_run(connect: Connect, peers: Any) -> None:
    # What a server would send behind the last event is not waited for.
    peer = peers(tells(happened(1, "WORKFLOW_STARTED"), ": beat\n\n", happened(2), LAST, end=True))
    assert sequences(connect, peer) == [1, 2, 3]
    (asked,) = peer.asked
    assert shown(asked) == "GET /workflows/ledger-7/events"
    assert asked.header("accept") == "text/event-stream"
    assert asked.header("last-event-id") is None


def test_a_lost_connection_is_made_anew_behind_the_last_event(connect: Connect, peers: Any) -> None:
    peer = peers(
        tells(happened(1), end=False),
        tells(happened(2), end=False),
        refuses(503),
        tells(LAST),
    )
    assert sequences(connect, peer) == [1, 2, 3]
    assert [one.header("last-event-id") for one in peer.asked] == [None, "1", "2", "2"]


def test_a_server_that_goes_away_in_order_is_asked_again(connect: Connect, peers: Any) -> None:
    peer = peers(tells(happened(1)), tells(happened(2)), tells(LAST))
    assert sequences(connect, peer) == [1, 2, 3]
    assert [one.header("last-event-id") for one in peer.asked] == [None, "1", "2"]


def test_what_is_told_again_comes_once(connect: Connect, peers: Any) -> None:
    peer = peers(tells(happened(1), happened(2), end=False), tells(happened(1), happened(2), LAST))
    assert sequences(connect, peer) == [1, 2, 3]


def test_it_goes_on_where_the_caller_was(connect: Connect, peers: Any) -> None:
    for given in (2, "2"):
        peer = peers(tells(happened(2), LAST))
        assert sequences(connect, peer, given) == [3]
        assert peer.asked[0].header("last-event-id") == "2"


def test_a_run_that_has_ended_before_ends_the_stream(connect: Connect, peers: Any) -> None:
    peer = peers(tells())
    assert sequences(connect, peer, 3) == []
    assert len(peer.asked) == 2, "the second asks whether the server only went away"


def test_a_server_that_ends_before_the_run_is_told_of(connect: Connect, peers: Any) -> None:
    """A proxy that ends long streams in good order is not taken for the end of the run."""
    peer = peers(tells(happened(1)), tells(), tells())
    reading = connect(peer).read("stream_workflow", "ledger-7")
    assert next(reading).sequence == 1
    with pytest.raises(ConnectionLostError, match="before the run has ended"):
        next(reading)
    assert list(reading) == []
    assert [one.header("last-event-id") for one in peer.asked] == [None, "1"]


def test_how_often_the_connection_was_lost_is_told(connect: Connect, peers: Any) -> None:
    reading = connect(peers(tells(happened(1), end=False), tells(LAST))).read(
        "stream_workflow", "ledger-7"
    )
    assert [one.type for one in reading] == ["TASK_COMPLETED", "WORKFLOW_COMPLETED"]
    assert reading.raw.reconnects == 1
    assert reading.raw.last_event_id == "3"


def test_a_server_that_only_loses_connections_is_given_up(
    connect: Connect, peers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (_async, _sync):
        monkeypatch.setattr(module, "_FRUITLESS", 3)
    peer = peers(tells(happened(1), end=False), tells(end=False))
    reading = connect(peer, max_retries=0).read("stream_workflow", "ledger-7")
    assert next(reading).sequence == 1
    with pytest.raises(ConnectionLostError):
        next(reading)
    assert len(peer.asked) == 4
    assert list(reading) == []


def test_a_refusal_comes_through(connect: Connect, peers: Any) -> None:
    peer = peers(refuses(404, "WORKFLOW_NOT_FOUND"))
    reading = connect(peer).read("stream_workflow", "nobody")
    assert peer.asked == [], "nothing is sent before the first event is asked for"
    with pytest.raises(NotFoundError):
        next(reading)


def test_a_workflow_that_is_gone_meanwhile(connect: Connect, peers: Any) -> None:
    peer = peers(tells(happened(1), end=False), refuses(404, "WORKFLOW_NOT_FOUND"))
    reading = connect(peer).read("stream_workflow", "ledger-7")
    next(reading)
    with pytest.raises(NotFoundError):
        next(reading)


def test_an_event_that_cannot_be_read(connect: Connect, peers: Any) -> None:
    reading = connect(peers(tells("id: 1\ndata: {nonsense\n\n"))).read("stream_workflow", "w")
    with pytest.raises(ProtocolError) as caught:
        next(reading)
    assert isinstance(caught.value, OstiaryError)
    assert reading.raw.closed


def test_leaving_early_closes_it(connect: Connect, peers: Any) -> None:
    def one_and_no_more(exchange: Exchange) -> None:
        exchange.start_events()
        exchange.chunk(framed(happened(1)))
        stall(exchange)

    client = connect(peers(one_and_no_more))
    reading = client.read("stream_workflow", "ledger-7")
    next(reading)
    reading.close()
    assert list(reading) == []
    assert "closed" in repr(reading.raw)
    client.turn()
    assert client.raw.pool.open_connections == 0
