"""Waiting: when it asks, what it waits out, when it gives up."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import count, pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary._calls.waiting import pace as pace_module
from ostiary._calls.waiting.pace import Pace
from ostiary.errors import InvalidArgumentError as AnyInvalidArgumentError
from ostiary.runtime import _bodies as bodies
from ostiary.runtime.enums import AgentState
from ostiary.runtime.errors import (
    AuthenticationError,
    InvalidArgumentError,
    NotFoundError,
    ReviewTimeoutError,
    ServerError,
    SymbiontError,
    WaitTimeoutError,
)
from tests.http.peer import lost

from .conftest import STATUS, Client, refuses, review, routed, says, shown

Connect = Callable[..., Client]
QUICK = {"poll_interval": 0.002}


# --- the pace, without a clock


def asked_at(pace: Pace, now: float = 0.0, took: float = 0.0, limit: int = 1000) -> list[float]:
    """Return when the questions of a wait are asked, each of which takes `took`."""
    times: list[float] = []
    for _ in range(limit):
        pace.patience(now)
        times.append(now)
        now += took
        gap = pace.gap(now)
        if gap is None:
            return times
        now += gap
    return times


@pytest.fixture
def even(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace_module.random, "random", lambda: 1.0)


@pytest.mark.usefixtures("even")
def test_gaps_double_up_to_the_longest_and_the_last_question_is_at_the_deadline() -> None:
    times = asked_at(Pace(20.0, 5.0, 30.0, 0.0))
    assert times == [0.0, 0.5, 1.5, 3.5, 7.5, 12.5, 17.5, 20.0]


@pytest.mark.usefixtures("even")
def test_a_change_begins_anew() -> None:
    pace = Pace(None, 8.0, 30.0, 0.0)
    assert [pace.gap(0.0) for _ in range(6)] == [0.8, 1.6, 3.2, 6.4, 8.0, 8.0]
    pace.changed()
    assert pace.gap(0.0) == 0.8


def test_one_question_is_asked_whatever_the_time() -> None:
    for timeout in (0, -1.0):
        assert asked_at(Pace(timeout, 5.0, 30.0, 7.0), now=7.0) == [7.0]


@pytest.mark.usefixtures("even")
def test_a_question_may_not_hold_up_the_end() -> None:
    pace = Pace(10.0, 5.0, 30.0, 100.0)
    assert pace.patience(100.0) == 10.0
    assert pace.patience(109.9) == 1.0
    assert Pace(10.0, 5.0, 2.0, 0.0).patience(0.0) == 2.0
    assert Pace(None, 5.0, math.inf, 0.0).patience(0.0) == math.inf


@pytest.mark.usefixtures("even")
def test_a_server_that_wants_to_be_left_alone_is() -> None:
    pace = Pace(100.0, 5.0, 30.0, 0.0)
    assert pace.gap(0.0, 20.0) == 20.0
    assert pace.gap(20.0, 0.0) == 1.0
    assert pace.gap(21.0, math.nan) == 2.0
    assert pace.gap(23.0, 500.0) == 77.0, "but not beyond the deadline"
    assert pace.gap(100.0) is None


@given(
    st.floats(0, 1000),
    st.floats(0.001, 60),
    st.floats(0, 50),
    st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=20),
)
def test_it_ends_soon_after_the_deadline(
    timeout: float, interval: float, took: float, chances: list[float]
) -> None:
    drawn = iter(chances * 100_000)
    old = pace_module.random.random
    pace_module.random.random = lambda: next(drawn)  # type: ignore[method-assign, assignment]
    try:
        times = asked_at(Pace(timeout, interval, math.inf, 0.0), took=took, limit=5000)
    finally:
        pace_module.random.random = old  # type: ignore[method-assign]
    assert times[0] == 0.0
    assert times[-1] <= timeout + 1e-6
    gaps = [b - a - took for a, b in pairwise(times)]
    assert all(-1e-6 <= gap <= interval + 1e-6 for gap in gaps)
    if len(times) < 5000 and took == 0:
        assert times[-1] == pytest.approx(timeout, abs=1e-6), "the last one at the deadline"


@pytest.mark.parametrize(
    ("timeout", "interval"),
    [("5", 1.0), (math.nan, 1.0), (True, 1.0), (5, 0), (5, -1), (5, math.inf), (5, None)],
    ids=str,
)
def test_times_that_cannot_be_meant(timeout: Any, interval: Any) -> None:
    with pytest.raises(AnyInvalidArgumentError):
        Pace(timeout, interval, 30.0, 0.0)


def test_such_times_are_refused_as_an_error_of_the_domain(connect: Connect, peers: Any) -> None:
    peer = peers(review("submitted"))
    with pytest.raises(InvalidArgumentError, match="poll_interval"):
        connect(peer).call("wait_for_review_completion", "rv-1", poll_interval=0)
    assert peer.asked == []


# --- reviews


@pytest.mark.parametrize("status", ["approved", "rejected", "signed"])
def test_a_review_is_waited_for(connect: Connect, peers: Any, status: str) -> None:
    steps = [review(one) for one in ("submitted", "analyzing", "analyzing", "pending_review")]
    peer = peers(*steps, review(status))
    seen: list[str] = []
    session = connect(peer).call(
        "wait_for_review_completion",
        "rv-1",
        30,
        on_update=lambda one: seen.append(str(one.status)),
        **QUICK,
    )
    assert session.status == status
    assert seen == ["submitted", "analyzing", "pending_review", status], "once for each change"
    assert [shown(one) for one in peer.asked] == ["GET /tool-review/sessions/rv-1"] * 5


def test_what_passes_is_waited_out(connect: Connect, peers: Any) -> None:
    peer = peers(
        refuses(429, "", ("Retry-After", "0")),
        refuses(502),
        lost,
        refuses(503, "BUSY"),
        says(review("under_review")),
        refuses(504),
        says(review("approved")),
    )
    client = connect(peer, max_retries=0)
    session = client.call("wait_for_review_completion", "rv-1", timeout=30, **QUICK)
    assert session.status == "approved"
    assert len(peer.asked) == 7


def test_a_clock_that_is_set_neither_ends_nor_prolongs_a_wait(
    connect: Connect, peers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments = count(4e9, 3600)
    monkeypatch.setattr("time.time", lambda: next(moments))
    peer = peers(review("submitted"), review("analyzing"), review("approved"))
    session = connect(peer).call("wait_for_review_completion", "rv-1", timeout=30, **QUICK)
    assert session.status == "approved"

    monkeypatch.setattr("time.time", lambda: 0.0)
    with pytest.raises(ReviewTimeoutError):
        connect(peers(review("submitted"))).call(
            "wait_for_review_completion", "rv-1", timeout=0.02, **QUICK
        )


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, AuthenticationError), (404, NotFoundError), (500, ServerError)],
)
def test_what_does_not_pass_ends_it(
    connect: Connect, peers: Any, status: int, kind: type[SymbiontError]
) -> None:
    peer = peers(refuses(status, "NO"))
    with pytest.raises(kind):
        connect(peer).call("wait_for_review_completion", "rv-1", **QUICK)
    assert len(peer.asked) == 1


def test_a_review_that_takes_too_long(connect: Connect, peers: Any) -> None:
    client = connect(peers(says(review("under_review"))))
    with pytest.raises(ReviewTimeoutError, match="rv-1 is still under_review") as caught:
        client.call("wait_for_review_completion", "rv-1", timeout=0.02, **QUICK)
    assert isinstance(caught.value, TimeoutError)
    assert isinstance(caught.value, SymbiontError)
    assert caught.value.last.status == "under_review"


def test_no_time_at_all_is_one_question(connect: Connect, peers: Any) -> None:
    assert (
        connect(peers(review("signed"))).call("wait_for_review_completion", "rv-1", 0).status
        == "signed"
    )
    peer = peers(review("submitted"))
    with pytest.raises(ReviewTimeoutError):
        connect(peer).call("wait_for_review_completion", "rv-1", 0)
    assert len(peer.asked) == 1


def test_a_server_that_never_answers_well(connect: Connect, peers: Any) -> None:
    client = connect(peers(refuses(503)), max_retries=0)
    with pytest.raises(ReviewTimeoutError, match=r"nothing was heard.*UnavailableError"):
        client.call("wait_for_review_completion", "rv-1", timeout=0.02, **QUICK)


def test_what_on_update_raises_comes_through(connect: Connect, peers: Any) -> None:
    def stop(session: Any) -> None:
        raise LookupError(session.review_id)

    with pytest.raises(LookupError, match="rv-1"):
        connect(peers(review("submitted"))).call(
            "wait_for_review_completion", "rv-1", on_update=stop
        )


# --- agents, executions, workflows, deployments


def test_an_agent_is_waited_for(connect: Connect, peers: Any) -> None:
    states = ["busy", "Running", "Ready"]
    peer = peers(*({**STATUS, "state": one} for one in states))
    status = connect(peer).call("wait_for_agent", "agent-7", **QUICK)
    assert status.state is AgentState.IDLE or status.state == "idle"
    assert len(peer.asked) == 3


def test_an_agent_may_be_waited_for_in_one_of_several_states(connect: Connect, peers: Any) -> None:
    peer = peers({**STATUS, "state": "busy"}, {**STATUS, "state": "Failed"})
    wanted = (AgentState.ERROR, "stopped")
    assert connect(peer).call("wait_for_agent", "agent-7", wanted, **QUICK).state == "error"
    with pytest.raises(WaitTimeoutError, match="agent-7 is error and not idle"):
        connect(peer).call("wait_for_agent", "agent-7", timeout=0)
    with pytest.raises(InvalidArgumentError):
        connect(peer).call("wait_for_agent", "agent-7", 5)


def test_an_execution_is_waited_for(connect: Connect, peers: Any) -> None:
    run = {"execution_id": "ex-2", "agent_id": "a"}
    peer = peers(
        {**run, "status": "execution_started"},
        {**run, "status": "mulling_it_over"},
        {**run, "status": "completed", "result": 4},
    )
    found = connect(peer).call("wait_for_execution", "a", "ex-2", **QUICK)
    assert (found.status, found.result) == ("completed", 4)


def test_an_execution_is_found_in_the_history_of_a_server_that_tells_no_more(
    connect: Connect, peers: Any
) -> None:
    history = {
        "history": [
            {"execution_id": "ex-1", "status": "completed", "timestamp": "2031-02-03T04:05:06Z"}
        ]
    }
    client = connect(peers(serve=routed({"GET /agents/a/history": history})))
    assert client.call("wait_for_execution", "a", "ex-1", **QUICK).status == "completed"
    with pytest.raises(NotFoundError, match="no execution ex-9"):
        client.call("wait_for_execution", "a", "ex-9", **QUICK)


def test_workflows_and_deployments_are_waited_for(connect: Connect, peers: Any) -> None:
    run = {"execution_id": "ex-1", "started_at": "2031-02-03T04:05:06Z"}
    peer = peers({**run, "status": "running"}, {**run, "status": "failed", "error": "no file"})
    assert connect(peer).call("wait_for_workflow", "ex-1", **QUICK).error == "no file"

    deployed = {"deployment_id": "dp", "agent_id": "a", "deployed_at": "2031-02-03T04:05:06Z"}
    peer = peers({**deployed, "status": "deploying"}, {**deployed, "status": "running"})
    assert connect(peer).call("wait_for_deployment", "dp", **QUICK).status == "running"
    peer = peers({**deployed, "status": "deploying"})
    with pytest.raises(WaitTimeoutError, match="deployment dp is still deploying"):
        connect(peer).call("wait_for_deployment", "dp", timeout=0)


@pytest.mark.parametrize(
    ("word", "ended", "settled"),
    [
        ("running", False, True),
        ("Completed", True, True),
        ("timed-out", True, False),
        ("queued", False, False),
        ("deploying", False, False),
        ("whatever", False, False),
        ("FAILED", True, True),
    ],
)
def test_words_that_end_something(word: str, ended: bool, settled: bool) -> None:
    assert bodies.has_ended(word) is ended
    assert bodies.has_settled(word) is settled
