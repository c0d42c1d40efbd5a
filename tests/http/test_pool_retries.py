"""What a pool sends again, with which credentials and keys, within which time, and who is told."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any

import pytest

from ostiary._retry import RetryBudget
from ostiary._route import Route
from ostiary.errors import (
    APIError,
    BadRequestError,
    ConnectError,
    ConnectionLostError,
    DeadlineError,
    InvalidArgumentError,
    OstiaryError,
    ProtocolError,
    RateLimitError,
    UnavailableError,
)
from ostiary.http import RequestInfo, ResponseInfo, RetryInfo
from ostiary.secret import Secret
from tests.frames import recorded
from tests.http.conftest import Driver
from tests.http.peer import Exchange, HttpPeer, answer, echo, lost, script, stall

Pools = Callable[..., Driver]
Peers = Callable[..., HttpPeer]

GOOD = answer(200, b"{}")
REPEATED = ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"]
ONCE = ["POST", "PATCH"]

ONE: Route[dict[str, Any]] = Route("POST", "/one/{id}", dict[str, Any])
ONE_SAFE: Route[dict[str, Any]] = Route("POST", "/one/{id}", dict[str, Any], idempotent=True)
GET_ONCE: Route[dict[str, Any]] = Route("GET", "/one/{id}", dict[str, Any], idempotent=False)


def good(method: str) -> bytes:
    return answer(200) if method == "HEAD" else GOOD


# --- what is sent again


@pytest.mark.parametrize("method", REPEATED)
@pytest.mark.parametrize("failure", [lost, answer(429), answer(502), answer(503), answer(504)])
def test_what_does_the_same_twice_is_sent_again(
    pools: Pools, peers: Peers, method: str, failure: Any
) -> None:
    peer = peers(script(failure, failure, failure, good(method)))
    assert pools(peer).request(method, "/").status == 200
    assert len(peer.asked) == 4


@pytest.mark.parametrize("method", ONCE)
@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (lost, ConnectionLostError),
        (answer(502), APIError),
        (answer(503), UnavailableError),
        (answer(504), APIError),
    ],
)
def test_what_may_have_run_is_not(
    pools: Pools, peers: Peers, method: str, failure: Any, kind: type[OstiaryError]
) -> None:
    peer = peers(script(failure, GOOD))
    with pytest.raises(kind) as caught:
        pools(peer).request(method, "/")
    assert len(peer.asked) == 1
    assert getattr(caught.value, "sent", True)


@pytest.mark.parametrize("method", ONCE)
def test_what_was_refused_for_its_rate_did_not_run(pools: Pools, peers: Peers, method: str) -> None:
    peer = peers(script(answer(429), GOOD))
    assert pools(peer).request(method, "/").status == 200
    assert len(peer.asked) == 2


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_nothing_was_sent(pools: Pools, method: str) -> None:
    told: list[RetryInfo] = []
    pool = pools("unix:///nowhere/at/all", max_retries=2, on_retry=told.append)
    with pytest.raises(ConnectError) as caught:
        pool.request(method, "/")
    assert not caught.value.sent
    assert [(one.attempt, one.error, one.status) for one in told] == [
        *((1, "ConnectError", None), (2, "ConnectError", None))
    ]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 409, 425, 500, 501, 505, 302])
def test_other_statuses_are_final(pools: Pools, peers: Peers, status: int) -> None:
    peer = peers(script(answer(status), GOOD))
    with pytest.raises(APIError):
        pools(peer).request("GET", "/")
    assert len(peer.asked) == 1


def test_a_peer_that_breaks_the_rules_is_not_asked_again(pools: Pools, peers: Peers) -> None:
    peer = peers(script(b"HTTP/1.1 2000 OK\r\n\r\n", GOOD))
    with pytest.raises(ProtocolError):
        pools(peer).request("GET", "/")
    assert len(peer.asked) == 1


@pytest.mark.parametrize("most", [0, 1, 5])
def test_attempts_are_counted(pools: Pools, peers: Peers, most: int) -> None:
    peer = peers(script(answer(503)))
    pool = pools(peer, max_retries=most)
    with pytest.raises(UnavailableError) as caught:
        pool.request("GET", "/")
    assert len(peer.asked) == caught.value.attempts == 1 + most
    with pytest.raises(UnavailableError) as caught:
        pool.call(GET_ONCE, "x")
    assert len(peer.asked) == 2 + most
    assert caught.value.attempts == 1


def test_the_first_wait_is_the_callers_choice(pools: Pools, peers: Peers, monkeypatch: Any) -> None:
    monkeypatch.setattr("ostiary._retry.random.random", lambda: 1.0)
    peer = peers(script(answer(503), answer(503), answer(503), GOOD))
    hooks: dict[str, list[Any]] = {"on_retry": []}
    pool = pools(peer, backoff=0.001, on_retry=hooks["on_retry"].append)
    pool.request("GET", "/")
    assert [each.delay for each in hooks["on_retry"]] == [0.001, 0.002, 0.004]
    assert pool.raw.settings.backoff == 0.001


@pytest.mark.parametrize("wrong", [-1, 3601, float("nan"), True, "0.5"])
def test_what_is_no_backoff(pools: Pools, wrong: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="backoff"):
        pools("http://127.0.0.1:1", backoff=wrong)


def test_a_route_says_what_may_be_repeated(pools: Pools, peers: Peers) -> None:
    peer = peers(script(lost, GOOD, lost, lost, GOOD))
    pool = pools(peer)
    assert pool.call(ONE_SAFE, "x") == {}
    for route in (ONE, GET_ONCE):
        with pytest.raises(ConnectionLostError):
            pool.call(route, "x")
    assert len(peer.asked) == 4


@pytest.mark.parametrize("cut", [1, 20, 45])
def test_half_a_response_is_lost(pools: Pools, peers: Peers, cut: int) -> None:
    def half(exchange: Exchange) -> None:
        exchange.raw(answer(200, b"0123456789")[:cut])
        lost(exchange)

    peer = peers(script(half, answer(200, b"0123456789")))
    assert pools(peer).request("GET", "/").read() == b"0123456789"
    assert [one.connection for one in peer.asked] == [0, 1]


def test_a_connection_that_was_closed_while_idle_costs_nothing(pools: Pools, peers: Peers) -> None:
    def last(exchange: Exchange) -> None:
        exchange.raw(GOOD)
        lost(exchange)

    told: list[RetryInfo] = []
    peer = peers(script(last))
    pool = pools(peer, on_retry=told.append)
    for _ in range(3):
        assert pool.request("POST", "/").status == 200
        for link in peer.links:  # until it is closed, and the pool could know
            while link.sock.fileno() >= 0:
                time.sleep(0.001)
    assert told == []
    assert [one.connection for one in peer.asked] == [0, 1, 2]


def test_unchecked_the_last_response_returns(pools: Pools, peers: Peers) -> None:
    peer = peers(script(answer(503, b"a"), answer(502, b"b"), answer(429, b"c"), answer(503, b"d")))
    reply = pools(peer).request("GET", "/", check=False)
    assert (reply.status, reply.read()) == (503, b"d")
    assert len(peer.asked) == 4
    assert pools(peer).request("POST", "/", check=False).status == 503
    assert len(peer.asked) == 5


def test_unchecked_a_retry_that_helps(pools: Pools, peers: Peers) -> None:
    peer = peers(script(answer(503), answer(404)))
    assert pools(peer).request("GET", "/", check=False).status == 404
    assert len(peer.asked) == 2


# --- keys


@pytest.mark.parametrize("failure", [lost, answer(503)])
def test_a_key_makes_a_repeat_harmless(pools: Pools, peers: Peers, failure: Any) -> None:
    peer = peers(script(failure, failure, GOOD))
    pool = pools(peer)
    assert pool.request("POST", "/", idempotency_key=True).status == 200
    assert pool.request("POST", "/", idempotency_key=True).status == 200
    assert pool.call(ONE, "x", idempotency_key="mine-1") == {}
    assert pool.request("POST", "/", idempotency_key=False).status == 200
    keys = [one.header("idempotency-key") for one in peer.asked]
    assert len(keys) == 6
    assert keys[0] == keys[1] == keys[2]
    assert keys[3] != keys[0]
    assert keys[4:] == ["mine-1", None]
    assert all(len(key or "") == 36 for key in keys[:4])


def test_a_key_of_the_callers_own_header_counts(pools: Pools, peers: Peers) -> None:
    peer = peers(script(lost, GOOD))
    pool = pools(peer)
    assert pool.request("POST", "/", headers={"idempotency-KEY": "k"}).status == 200
    assert [one.header("idempotency-key") for one in peer.asked] == ["k", "k"]


# --- time


def test_the_peer_may_say_when(pools: Pools, peers: Peers) -> None:
    told: list[RetryInfo] = []
    dates = [
        ("Date", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("Retry-After", "Sun, 06 Nov 1994 08:49:37 GMT"),
    ]
    peer = peers(
        script(
            answer(429, b"", [("Retry-After", "0.02")]),
            answer(503, b"", dates),
            answer(503, b"", [("Retry-After", "nonsense")]),
            GOOD,
        )
    )
    began = time.monotonic()
    assert pools(peer, on_retry=told.append).request("GET", "/").status == 200
    assert time.monotonic() - began >= 0.02
    assert [one.delay for one in told] == [0.02, 0.0, 0.0]


@pytest.mark.parametrize("wait", ["61", "3600", "999999999999", "Fri, 31 Dec 9999 23:59:59 GMT"])
@pytest.mark.parametrize("timeout", [20, None])
def test_too_long_a_wait_is_the_callers(
    pools: Pools, peers: Peers, wait: str, timeout: float | None
) -> None:
    peer = peers(script(answer(429, b"", [("Retry-After", wait)]), GOOD))
    with pytest.raises(RateLimitError) as caught:
        pools(peer, timeout=timeout).request("GET", "/")
    assert (caught.value.retry_after or 0) > 60
    assert "asks to wait" in str(caught.value)
    assert len(peer.asked) == 1


def test_a_wait_past_the_deadline_is_not_begun(pools: Pools, peers: Peers) -> None:
    peer = peers(script(answer(503, b"", [("Retry-After", "30")]), GOOD))
    began = time.monotonic()
    with pytest.raises(UnavailableError):
        pools(peer).request("GET", "/", timeout=25)
    assert time.monotonic() - began < 20
    assert len(peer.asked) == 1


def test_one_deadline_for_all_attempts(pools: Pools, peers: Peers) -> None:
    peer = peers(script(answer(503, b"", [("Retry-After", "0.03")])))
    pool = pools(peer, max_retries=1_000_000)
    began = time.monotonic()
    with pytest.raises(OstiaryError) as caught:
        pool.request("GET", "/", timeout=0.15)
    assert isinstance(caught.value, (UnavailableError, DeadlineError))
    assert time.monotonic() - began < 10
    assert 1 < len(peer.asked) < 12


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_silent_peer(pools: Pools, peers: Peers, method: str) -> None:
    peer = peers(script(stall))
    pool = pools(peer)
    with pytest.raises(DeadlineError) as caught:
        pool.request(method, "/", timeout=0.06)
    assert caught.value.sent
    assert isinstance(caught.value, TimeoutError)
    assert len(peer.asked) == 1
    assert pool.raw.open_connections == 0


def test_a_dripping_peer_gains_no_time(pools: Pools, peers: Peers) -> None:
    def drip(exchange: Exchange) -> None:
        exchange.link.drip(answer(200, b"x" * 10_000), 0.01)

    pool = pools(peers(script(drip)))
    began = time.monotonic()
    with pytest.raises(DeadlineError):
        pool.request("GET", "/", timeout=0.1)
    assert time.monotonic() - began < 10


def test_waiting_for_a_connection_has_its_own_limit(
    pools: Pools, peers: Peers, colour: str
) -> None:
    def hold(exchange: Exchange) -> None:
        exchange.start_events()
        exchange.link.wait_gone()

    pool = pools(peers(script(hold)), max_connections=1, pool_timeout=0.05)
    with pool.stream("GET", "/"):
        with pytest.raises(DeadlineError) as caught:
            pool.request("GET", "/")
        assert not caught.value.sent


# --- the budget


def test_the_budget_ends(pools: Pools, peers: Peers) -> None:
    peer = peers(script(answer(503)))
    pool = pools(peer, max_retries=10)
    most = int(RetryBudget.CAPACITY / RetryBudget.COST)
    calls = most // 10 + 20
    for _ in range(calls):
        with pytest.raises(UnavailableError):
            pool.request("GET", "/")
    assert len(peer.asked) == calls + most


def test_good_calls_fill_it_again(pools: Pools, peers: Peers) -> None:
    bad = [True]

    def serve(exchange: Exchange) -> None:
        while True:
            exchange.request()
            exchange.answer(503 if bad[0] else 200)

    peer = peers(serve)
    pool = pools(peer, max_retries=1)
    while True:
        before = len(peer.asked)
        with pytest.raises(UnavailableError):
            pool.request("GET", "/")
        if len(peer.asked) == before + 1:
            break
    bad[0] = False
    for _ in range(int(RetryBudget.COST)):
        pool.request("GET", "/")
    bad[0] = True
    before = len(peer.asked)
    for _ in range(3):
        with pytest.raises(UnavailableError):
            pool.request("GET", "/")
    assert len(peer.asked) == before + 4


# --- credentials


class Tokens:
    """Credentials that are new each time."""

    def __init__(self, *, coroutine: bool) -> None:
        self.given = 0
        self.coroutine = coroutine

    def __call__(self) -> Any:
        self.given += 1
        found = {"Authorization": Secret(f"Bearer {self.given}")}
        if not self.coroutine:
            return found

        async def main() -> dict[str, Secret]:
            return found

        return main()


@pytest.mark.parametrize("coroutine", [False, True])
def test_each_attempt_has_its_own(pools: Pools, peers: Peers, colour: str, coroutine: bool) -> None:
    if coroutine and colour == "sync":
        pytest.skip("a sync pool awaits nothing")
    peer = peers(script(answer(503), lost, GOOD))
    tokens = Tokens(coroutine=coroutine)
    pool = pools(peer, credentials=tokens, headers={"authorization": "Basic x"})
    assert pool.request("GET", "/").status == 200
    assert pool.call(ONE, "x", body={}) == {}
    with pool.stream("GET", "/"), pool.stream("GET", "/", headers={"AUTHORIZATION": "mine"}):
        pass
    assert [one.header("authorization") for one in peer.asked] == [
        f"Bearer {n}" for n in range(1, 7)
    ]
    assert tokens.given == 6


@pytest.mark.parametrize("given", [None, 5, "hunter2", [("Authorization", "hunter2")]])
def test_what_are_no_credentials(pools: Pools, peers: Peers, given: Any) -> None:
    peer = peers()
    with pytest.raises(InvalidArgumentError) as caught:
        pools(peer, credentials=lambda: given).request("GET", "/")
    assert "hunter2" not in recorded(caught.value)
    assert peer.asked == []


@pytest.mark.parametrize(
    "given",
    [
        {"Authorization": "hunter2\r\nX: y"},
        {"Authorization": Secret("hunter2\n")},
        {"Authorization": b"hunter2"},
        {"X-Other": "hunter2\n"},
        {"Host": "hunter2"},
    ],
    ids=str,
)
def test_credentials_that_cannot_be_sent(pools: Pools, peers: Peers, given: Any) -> None:
    peer = peers()
    pool = pools(peer, credentials=lambda: given)
    with pytest.raises(InvalidArgumentError) as caught:
        pool.request("GET", "/")
    assert "hunter2" not in recorded(caught.value)
    assert peer.asked == []


def test_credentials_that_cannot_be_had(pools: Pools, peers: Peers, colour: str) -> None:
    peer = peers()

    def broken() -> Any:
        raise ZeroDivisionError

    class Locked(BadRequestError):
        pass

    def locked() -> Any:
        raise Locked("the vault is locked")

    with pytest.raises(ZeroDivisionError):
        pools(peer, credentials=broken).request("GET", "/")
    with pytest.raises(Locked):
        pools(peer, credentials=locked).request("GET", "/")
    assert peer.asked == []


def test_credentials_that_never_come(pools: Pools, peers: Peers, colour: str) -> None:
    if colour == "sync":
        pytest.skip("nothing else runs while a function does")

    async def never() -> dict[str, str]:
        await asyncio.sleep(60)
        raise AssertionError

    peer = peers()
    pool = pools(peer, credentials=never)
    with pytest.raises(DeadlineError) as caught:
        pool.request("POST", "/", timeout=0.05)
    assert not caught.value.sent
    assert peer.asked == []


# --- hooks


class Hooks:
    """Hooks that write down what they are told, and raise when they are asked to."""

    def __init__(self, raises: str = "") -> None:
        self.told: list[Any] = []
        self.raises = raises

    def options(self) -> dict[str, Any]:
        return {name: self._hook(name) for name in ("on_request", "on_response", "on_retry")}

    def _hook(self, name: str) -> Callable[[Any], None]:
        def hook(info: Any) -> None:
            self.told.append(info)
            if name == self.raises:
                raise ZeroDivisionError(name)

        return hook


def test_hooks_are_told_in_order(pools: Pools, peers: Peers) -> None:
    peer = peers(script(lost, answer(503, b"sorry", [("Retry-After", "0")]), answer(200, b"{}")))
    hooks = Hooks()
    pool = pools(peer, "/prefix", **hooks.options())
    pool.request("GET", "/a/b?token=hunter2", query={"q": "hunter2"})
    first, lost_one, second, refused, again, third, answered = hooks.told
    assert first == RequestInfo("GET", "/a/b", 1)
    assert lost_one == RetryInfo("GET", "/a/b", 1, "ConnectionLostError", None, 0.0)
    assert second == RequestInfo("GET", "/a/b", 2)
    assert isinstance(refused, ResponseInfo)
    assert (refused.attempt, refused.status, refused.bytes) == (2, 503, 5)
    assert again == RetryInfo("GET", "/a/b", 2, "UnavailableError", 503, 0.0)
    assert third == RequestInfo("GET", "/a/b", 3)
    assert (answered.method, answered.path, answered.attempt) == ("GET", "/a/b", 3)
    assert (answered.status, answered.bytes) == (200, 2)
    assert 0 <= answered.seconds < 60
    assert "hunter2" not in repr(hooks.told)


def test_hooks_of_a_call_see_the_template(pools: Pools, peers: Peers) -> None:
    hooks = Hooks()
    pool = pools(
        peers(script(GOOD)), headers={"A": "hunter2"}, credentials=lambda: {"B": "hunter2"},
        **hooks.options(),
    )  # fmt: skip
    pool.call(
        ONE, "hunter2", query={"a": "hunter2"}, body={"a": "hunter2"}, idempotency_key="hunter2"
    )
    assert [one.path for one in hooks.told] == ["/one/{id}", "/one/{id}"]
    assert "hunter2" not in repr(hooks.told)


def test_hooks_are_frozen() -> None:
    info = RequestInfo("GET", "/", 1)
    with pytest.raises(AttributeError):
        info.attempt = 2  # type: ignore[misc]


@pytest.mark.parametrize("which", ["on_request", "on_response", "on_retry"])
def test_a_hook_that_raises(pools: Pools, peers: Peers, which: str) -> None:
    peer = peers(script(answer(503), *[GOOD] * 5))
    hooks = Hooks(which)
    pool = pools(peer, max_connections=1, **hooks.options())
    with pytest.raises(ZeroDivisionError):
        pool.request("GET", "/")
    hooks.raises = ""
    for _ in range(2):
        assert pool.request("GET", "/").status == 200
    assert {one.connection for one in peer.asked} == {0}, "its connection was lost"
    assert (pool.raw.open_connections, pool.raw.idle_connections) == (1, 1)


@pytest.mark.parametrize("which", ["on_request", "on_response", "on_retry"])
@pytest.mark.parametrize("status", [200, 503])
def test_a_hook_that_raises_over_a_stream(
    pools: Pools, peers: Peers, which: str, status: int
) -> None:
    def hold(exchange: Exchange) -> None:
        exchange.start_events(status=status)
        with contextlib.suppress(Exception):
            exchange.chunk(b"data: x\n\n" if status == 200 else b"x" * 100_000)
        exchange.link.wait_gone()

    peer = peers(script(hold))
    hooks = Hooks(which)
    pool = pools(peer, max_connections=1, max_retries=1, timeout=3, **hooks.options())
    expected = ZeroDivisionError
    with pytest.raises(expected), pool.events("GET", "/") as events:
        assert next(events).data == "x"
        assert which == "on_retry", "it was never called"
        raise expected
    assert pool.raw.open_connections == 0


def test_echo_is_what_the_tests_believe(pools: Pools, peers: Peers) -> None:
    assert pools(peers(echo)).request("PUT", "/x", body=b"y").json() == {
        "method": "PUT",
        "target": "/x",
        "body": "y",
    }
