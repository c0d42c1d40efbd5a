"""Many tools submitted at once: in order, a few at a time, each with its own outcome."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

from ostiary.runtime.errors import (
    AuthenticationError,
    FeatureNotAvailableError,
    InvalidArgumentError,
    ValidationFailedError,
)
from tests.http.peer import Exchange, answer

from .conftest import TOOL, Client, refuses

Connect = Callable[..., Client]


def request(name: str) -> dict[str, Any]:
    return {"tool": {**TOOL, "name": name}, "submitted_by": "dev@acme.test"}


class Desk:
    """A server of reviews that notes how many requests it has at a time."""

    def __init__(self, meet: int = 1) -> None:
        self.most = 0
        self._now = 0
        self._lock = threading.Lock()
        self._gate = threading.Barrier(meet)

    def __call__(self, exchange: Exchange) -> None:
        while True:
            asked = exchange.request()
            with self._lock:
                self._now += 1
                self.most = max(self.most, self._now)
            self._gate.wait(10)
            name = json.loads(asked.body)["tool"]["name"]
            with self._lock:
                self._now -= 1
            if name.startswith("bad"):
                exchange.json({"error": "no", "code": "INVALID_INPUT", "details": None}, 422)
                continue
            exchange.json(
                {
                    "review_id": f"rv-{name}",
                    "status": "submitted",
                    "submitted_at": "2031-02-03T04:05:06Z",
                }
            )


def test_outcomes_stand_in_the_order_of_the_requests(connect: Connect, peers: Any) -> None:
    peer = peers(serve=Desk())
    names = ["a", "bad-1", "b", "c", "bad-2", "d"]
    told: list[tuple[int, int, bool]] = []
    outcomes = connect(peer).call(
        "submit_tools_for_review",
        map(request, names),
        3,
        lambda done, total, outcome: told.append((done, total, outcome.ok)),
    )
    assert [one.index for one in outcomes] == list(range(6))
    assert [one.ok for one in outcomes] == [True, False, True, True, False, True]
    for name, one in zip(names, outcomes, strict=True):
        if one.ok:
            assert one.response.review_id == f"rv-{name}"
            assert one.error is None
        else:
            assert isinstance(one.error, ValidationFailedError)
            assert one.error.code == "INVALID_INPUT"
            assert one.error.__traceback__ is None
    assert [one[0] for one in told] == [1, 2, 3, 4, 5, 6]
    assert {one[1] for one in told} == {6}
    assert sum(one[2] for one in told) == 4


def test_no_more_than_asked_for_at_a_time_and_no_fewer(connect: Connect, peers: Any) -> None:
    desk = Desk(meet=4)  # none is answered before four are there
    peer = peers(serve=desk)
    outcomes = connect(peer).call(
        "submit_tools_for_review", [request(str(at)) for at in range(12)], 4
    )
    assert all(one.ok for one in outcomes)
    assert desk.most == 4


def test_a_request_that_cannot_be_meant_is_an_outcome_too(connect: Connect, peers: Any) -> None:
    peer = peers(serve=Desk())
    outcomes = connect(peer).call("submit_tools_for_review", [request("a"), {"tool": 5}])
    assert [one.ok for one in outcomes] == [True, False]
    assert isinstance(outcomes[1].error, InvalidArgumentError)
    assert len(peer.asked) == 1


@pytest.mark.parametrize(
    ("reply", "kind"),
    [(refuses(401), AuthenticationError), (answer(404), FeatureNotAvailableError)],
    ids=["key", "group"],
)
def test_what_concerns_all_of_them_is_raised(
    connect: Connect, peers: Any, reply: Any, kind: type[Exception]
) -> None:
    peer = peers(reply)
    with pytest.raises(kind):
        connect(peer).call("submit_tools_for_review", [request(str(at)) for at in range(50)], 2)
    assert len(peer.asked) < 10


def test_keys_of_their_own(connect: Connect, peers: Any) -> None:
    peer = peers(serve=Desk())
    connect(peer).call(
        "submit_tools_for_review", [request("a"), request("b")], idempotency_keys=True
    )
    keys = [one.header("idempotency-key") for one in peer.asked]
    assert None not in keys
    assert len(set(keys)) == 2


def test_no_requests_are_no_outcomes(connect: Connect, peers: Any) -> None:
    peer = peers(serve=Desk())
    assert connect(peer).call("submit_tools_for_review", []) == []
    with pytest.raises(InvalidArgumentError, match="on_progress"):
        connect(peer).call("submit_tools_for_review", [], on_progress=5)
    assert peer.asked == []
