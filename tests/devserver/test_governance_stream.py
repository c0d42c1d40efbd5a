"""Governed streams: their grammar, flushes, signs of life, time limits and ends."""

from __future__ import annotations

import re
import select
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ostiary.devserver import GovernanceOptions, RunningVault, running
from tests.devserver.web import Web

STREAM = "/api/v1/run/stream"
BODY = {"token", "delta", "tool_call"}


@pytest.fixture(scope="module")
def server() -> Iterator[RunningVault]:
    with running(demo=True, tcp=False) as one:
        yield one


@pytest.fixture
def web(server: RunningVault) -> Iterator[Web]:
    with Web(server.governance_socket) as one:
        yield one


def streamed(web: Web, text: str, **more: Any) -> list[Any]:
    web.send("POST", STREAM, {"input": text, **more})
    status, headers = web.head()
    assert status == 200, headers
    found = dict(headers)
    assert found["content-type"] == "text/event-stream"
    assert found["transfer-encoding"] == "chunked"
    assert found["cache-control"] == "no-store"
    assert "content-encoding" not in found
    return list(web.events())


def follows_the_grammar(events: list[Any]) -> None:
    """start body* ending done, of one trace."""
    kinds = [event["type"] for event in events]
    assert kinds[0] == "start"
    assert kinds[-1] == "done"
    assert kinds[-2] in {"final", "error"}
    assert set(kinds[1:-2]) <= BODY
    assert len({event["trace_id"] for event in events}) == 1
    for event in events:
        assert list(event) == ["type", "data", "trace_id", "timestamp"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event["timestamp"])
        assert isinstance(event["data"], dict)


def test_the_guides_stream(web: Web) -> None:
    events = streamed(web, "create a report")
    follows_the_grammar(events)
    texts = [event["data"]["text"] for event in events if event["type"] == "token"]
    assert texts == ["processed:", " create", " a", " report"]
    assert events[0]["data"] == events[-1]["data"] == {}
    final = events[-2]["data"]
    assert list(final) == ["result", "output", "mode", "budget", "latency_ms"]
    assert final["result"] == final["output"] == "processed: create a report"
    assert final["mode"] == "ALLOW"
    trace = web.get(f"/api/v1/trace/{events[0]['trace_id']}").document
    assert (trace["command"], trace["outcome"]) == ("stream", "completed")
    assert trace["latency_ms"] == final["latency_ms"]


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=200))
def test_any_text_comes_through_in_events_of_one_line(web: Web, text: str) -> None:
    events = streamed(web, text)
    follows_the_grammar(events)
    pieces = [event["data"]["text"] for event in events if event["type"] == "token"]
    assert "".join(pieces) == events[-2]["data"]["output"] == f"processed: {text}"


def test_the_accept_header_chooses_nothing(web: Web) -> None:
    for accept in ("*/*", "application/json", "text/html", None):
        web.send("POST", STREAM, {"input": "x"}, headers={"Accept": accept})
        assert dict(web.head()[1])["content-type"] == "text/event-stream"
        follows_the_grammar(list(web.events()))
        reply = web.post("/api/v1/run", {"input": "x"}, headers={"Accept": "text/event-stream"})
        assert reply.document["mode"] == "ALLOW"


def test_codings_that_are_offered_are_not_used(web: Web) -> None:
    web.send("POST", STREAM, {"input": "a " * 1000}, headers={"Accept-Encoding": "gzip, br, zstd"})
    _, headers = web.head()
    assert "content-encoding" not in dict(headers)
    follows_the_grammar(list(web.events()))


def test_each_event_is_sent_when_it_is_made() -> None:
    """At a minute a word only `start` can have come, and it has, in a chunk of its own."""
    with (
        running(demo=True, tcp=False, governance=GovernanceOptions(port=None, pace=60.0)) as server,
        Web(server.governance_socket) as web,
    ):
        web.send("POST", STREAM, {"input": "x"})
        web.head()
        events = web.events()
        assert next(events)["type"] == "start"
        assert select.select([web.sock], [], [], 0.05)[0] == []


def test_silence_is_broken_by_comments() -> None:
    with (
        running(
            demo=True,
            tcp=False,
            governance=GovernanceOptions(port=None, pace=60.0, heartbeat=0.02),
        ) as server,
        Web(server.governance_socket) as web,
    ):
        web.send("POST", STREAM, {"input": "x"})
        web.head()
        events = web.events()
        assert next(events)["type"] == "start"
        assert [next(events) for _ in range(5)] == [": ping"] * 5


def test_comments_do_not_disturb_the_events() -> None:
    with (
        running(
            demo=True,
            tcp=False,
            governance=GovernanceOptions(port=None, pace=0.03, heartbeat=0.005),
        ) as server,
        Web(server.governance_socket) as web,
    ):
        for _ in range(2):
            seen = streamed(web, "one two three")
            events = [event for event in seen if event != ": ping"]
            assert len(events) < len(seen)
            follows_the_grammar(events)
            assert events[-2]["data"]["output"] == "processed: one two three"
            # The connection is as good as new.
            assert web.get("/api/v1/health").status == 200


def test_the_heartbeat_is_at_most_fifteen_seconds() -> None:
    assert GovernanceOptions().heartbeat <= 15


def test_a_stream_that_takes_too_long_says_so() -> None:
    with (
        running(demo=True, tcp=False, governance=GovernanceOptions(port=None, pace=60.0)) as server,
        Web(server.governance_socket) as web,
    ):
        events = streamed(web, "x", options={"timeout_ms": 20, "stream": True})
        follows_the_grammar(events)
        assert [event["type"] for event in events] == ["start", "error", "done"]
        assert events[1]["data"]["code"] == "TIMEOUT"
        assert "20 ms" in events[1]["data"]["message"]
        trace = web.get(f"/api/v1/trace/{events[0]['trace_id']}").document
        assert trace["outcome"] == "timeout"
        # The connection goes on.
        follows_the_grammar(streamed(web, "y", options={"timeout_ms": 1}))


def test_a_throttled_stream() -> None:
    hourly = GovernanceOptions(port=None, throttled_every=3600.0)
    with (
        running(demo=True, tcp=False, governance=hourly) as server,
        Web(server.governance_socket) as web,
    ):
        events = streamed(web, "email every customer")
        follows_the_grammar(events)
        assert events[-2]["data"]["mode"] == "THROTTLE"
        late = streamed(web, "email every customer", options={"timeout_ms": 20})
        assert [event["type"] for event in late] == ["start", "error", "done"]


def test_a_megabyte_comes_through(web: Web) -> None:
    text = "word " * 200_000
    events = streamed(web, text)
    follows_the_grammar(events)
    assert len(events) < 300
    assert "".join(e["data"]["text"] for e in events[1:-2]) == f"processed: {text}"
