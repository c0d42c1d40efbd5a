"""Both transports over real sockets: what is repeated, renewed, translated, bounded and closed.

Laws under test: a call that may have run is repeated only if that does no harm; one deadline
bounds everything a call does; a refusal for an ended session is answered by one login and one
repeat; every error is of the family; whatever fails, no socket stays behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import dis
import inspect
import json
import os
import socket
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import msgspec
import pytest

from ostiary._io.aio_pool import AsyncChannelPool
from ostiary._io.blocking_pool import ChannelPool
from ostiary._retry import RetryPolicy
from ostiary._transport import _sync
from ostiary._transport._async import AsyncFramedTransport
from ostiary._transport._sync import FramedTransport
from ostiary._wire.rpc import Method, UnexpectedShape
from ostiary.config import Limits, TcpAddress, UnixAddress
from ostiary.errors import (
    APIError,
    AuthenticationError,
    BadRequestError,
    ClientStateError,
    ConnectError,
    ConnectionLostError,
    DeadlineError,
    InvalidArgumentError,
    OstiaryError,
    ProtocolError,
    RateLimitError,
    SizeLimitError,
    TransportError,
    UnavailableError,
)
from tests.conftest import Run
from tests.transport.calls import FOREVER, Ask, Told, is_answer, soon, until
from tests.transport.peer import Connection, Gone, Peer, answer, framed

Peers = Callable[..., Peer]


# --- a domain: its errors, its methods, its peer


class HouseError(OstiaryError):
    pass


class HouseTransport(HouseError, TransportError):
    pass


class HouseConnect(HouseTransport, ConnectError):
    pass


class HouseLost(HouseTransport, ConnectionLostError):
    pass


class HouseLate(HouseTransport, DeadlineError):
    pass


class HouseProtocol(HouseTransport, ProtocolError):
    pass


class HouseSize(HouseProtocol, SizeLimitError):
    pass


class HouseArgument(HouseError, InvalidArgumentError):
    pass


class HouseState(HouseError, ClientStateError):
    pass


class HouseRate(HouseError, RateLimitError):
    pass


class HouseRefusal(HouseError, APIError):
    pass


class Expired(HouseRefusal, AuthenticationError):
    pass


class Denied(HouseRefusal, AuthenticationError):
    pass


class Down(HouseRefusal, UnavailableError):
    pass


FAMILY: dict[type[OstiaryError], type[OstiaryError]] = {
    TransportError: HouseTransport,
    ConnectError: HouseConnect,
    ConnectionLostError: HouseLost,
    DeadlineError: HouseLate,
    ProtocolError: HouseProtocol,
    SizeLimitError: HouseSize,
    InvalidArgumentError: HouseArgument,
    ClientStateError: HouseState,
    RateLimitError: HouseRate,
}

# `busy` is a shared class on purpose: the family has to adopt it.
REFUSALS: dict[str, type[APIError]] = {
    "expired": Expired,
    "denied": Denied,
    "down": Down,
    "busy": RateLimitError,
    "bad": BadRequestError,
}


def fail(body: Any) -> APIError:
    return REFUSALS[body["code"]](
        body.get("message", "refused"),
        code=body["code"],
        request_id=body.get("request_id"),
        retry_after=body.get("retry_after"),
    )


class Keep(msgspec.Struct):
    n: int
    session_id: str = ""
    pad: str = ""


LOGIN: Method[Any] = Method("login", dict[str, str], fail=fail)
ECHO: Method[Told] = Method("echo", Told, repeatable=True, fail=fail)
ONCE: Method[Told] = Method("once", Told, fail=fail)
KEPT: Method[Told] = Method("kept", Told, session=True, fail=fail)
GRANT: Method[Told] = Method("grant", Told, session=True, grants=True, fail=fail)
REFUSE: Method[Told] = Method("refuse", Told, repeatable=True, fail=fail)
REFUSE_ONCE: Method[Told] = Method("refuse", Told, fail=fail)


class House:
    """A peer that asks for a login and checks sessions; tests take its parts apart."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.logins = 0
        self.sessions: set[str] = set()
        self.on_login: Callable[[Connection, dict[str, Any]], object] | None = None
        self.on_call: Callable[[Connection, dict[str, Any]], object] | None = None

    def __call__(self, link: Connection) -> None:
        while True:
            request = link.read_request()
            if request["method"] == "login":
                self.log_in(link, request)
            else:
                self.answer(link, request)

    def log_in(self, link: Connection, request: dict[str, Any]) -> None:
        with self.lock:
            self.logins += 1
            token = f"session {self.logins}"
        if self.on_login is not None and self.on_login(link, request):
            return
        self.sessions.add(token)
        link.reply(request, {"session": token})

    def answer(self, link: Connection, request: dict[str, Any]) -> None:
        if self.on_call is not None and self.on_call(link, request):
            return
        params = request["params"]
        if request["method"] == "refuse":
            link.refuse(request, params)
        elif "session_id" in params and params["session_id"] not in self.sessions:
            link.refuse(request, {"code": "expired", "message": "log in"})
        else:
            link.echo(request)

    def expire(self) -> None:
        self.sessions.clear()


def calls_of(peer: Peer) -> list[tuple[str, int]]:
    """Everything the peer was asked for but logins."""
    return [(r["method"], r["params"].get("n")) for r in peer.requests if r["method"] != "login"]


class Colour:
    """One colour behind one face: called with what a transport returned, it gives the result."""

    def __init__(self, runner: asyncio.Runner | None) -> None:
        self.runner = runner
        if runner is not None:
            runner.get_loop()  # made now: it has descriptors of its own
        self.transports: list[Any] = []
        self.deadlines: list[float] = []
        self.prepared = 0
        self.fault: list[BaseException] = []

    def __call__(self, result: Any) -> Any:
        if inspect.iscoroutine(result):
            assert self.runner is not None
            return self.runner.run(result)
        assert self.runner is None
        return result

    def settle(self, condition: Callable[[], object]) -> None:
        """Let everything go on until it holds; a loop stands still between two calls."""

        def holds() -> object:
            if self.runner is not None:
                self.runner.run(asyncio.sleep(0))
            return condition()

        assert_soon(holds)

    def prepare(self) -> Any:
        self.prepared += 1
        if self.fault:
            raise self.fault.pop(0)

    async def aprepare(self) -> None:
        self.prepare()

    def log_in(self, channel: Any, deadline: float) -> None:
        self.deadlines.append(deadline)
        channel.session = channel.call(LOGIN, {}, deadline)["session"]

    async def alog_in(self, channel: Any, deadline: float) -> None:
        self.deadlines.append(deadline)
        channel.session = (await channel.call(LOGIN, {}, deadline))["session"]

    def make(self, peer: Peer, address: Any = None, **options: Any) -> Any:
        blocking = self.runner is None
        settings: dict[str, Any] = {
            "limits": Limits(),
            "ssl_context": peer.client_context,
            "expected_uid": None,
            "max_connections": 4,
            "timeout": 20.0,
            "retry": RetryPolicy(first_ceiling=0.001, last_ceiling=0.002),
            "login": self.log_in if blocking else self.alog_in,
            "prepare": self.prepare if blocking else self.aprepare,
            "expired": Expired,
            "family": FAMILY,
        }
        settings.update(options)
        transport = (FramedTransport if blocking else AsyncFramedTransport)(**settings)
        transport.open(address or peer.address)
        self.transports.append(transport)
        return transport

    def close(self) -> None:
        for transport in self.transports:
            transport.close()
        if self.runner is not None:
            self.runner.close()


@pytest.fixture
def house() -> House:
    return House()


@pytest.fixture
def peer(peers: Peers, house: House) -> Peer:
    return peers(house)


@pytest.fixture(params=["blocking", "asyncio", "uvloop"])
def colour(request: pytest.FixtureRequest, peers: Peers) -> Iterator[Colour]:
    """Each colour; asks for `peers` so that its clients end first."""
    runner = None
    if request.param == "asyncio":
        runner = asyncio.Runner()
    elif request.param == "uvloop":
        uvloop = pytest.importorskip("uvloop")
        runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    one = Colour(runner)
    yield one
    one.close()


@pytest.fixture
def blocking() -> Iterator[Colour]:
    one = Colour(None)
    yield one
    one.close()


@pytest.fixture
def asynchronous() -> Iterator[Colour]:
    """Makes asynchronous transports; the test runs its own loop."""
    one = Colour(asyncio.Runner())
    yield one
    one.close()


def asked(result: Any, n: int) -> bool:
    return bool(is_answer(result, Ask(n)))


def assert_soon(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.002)


def open_descriptors() -> int:
    return len(os.listdir("/dev/fd"))


def together(count: int, work: Callable[[int], object]) -> list[object]:
    """Run it on so many threads; return results and errors in their order."""
    found: list[object] = [None] * count

    def one(n: int) -> None:
        try:
            found[n] = work(n)
        except BaseException as error:  # noqa: BLE001 - looked at by the test
            found[n] = error

    threads = [threading.Thread(target=one, args=(n,), daemon=True) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive(), "it never ended"
    return found


def drop(times: int, when: str = "") -> Callable[[Connection, dict[str, Any]], bool]:
    """Close instead of answering, so many times."""
    left = [times]

    def act(link: Connection, request: dict[str, Any]) -> bool:
        if left[0] <= 0 or (when and request["method"] != when):
            return False
        left[0] -= 1
        raise Gone

    return act


class TestRetry:
    def test_a_lost_reply(self, colour: Colour, peer: Peer, house: House) -> None:
        """The call may have run: only one that does no harm twice is sent again."""
        transport = colour.make(peer)
        house.on_call = drop(2)
        assert asked(colour(transport.call(ECHO, Ask(1))), 1)
        assert calls_of(peer) == [("echo", 1)] * 3
        house.on_call = drop(1)
        with pytest.raises(HouseLost) as caught:
            colour(transport.call(ONCE, Ask(2)))
        assert caught.value.sent
        assert calls_of(peer)[3:] == [("once", 2)]
        assert asked(colour(transport.call(ONCE, Ask(3))), 3)

    def test_so_many_times(self, colour: Colour, peer: Peer, house: House) -> None:
        for most in (0, 1, 4):
            before = len(calls_of(peer))
            house.on_call = drop(100)
            transport = colour.make(
                peer, retry=RetryPolicy(max_retries=most, first_ceiling=0.001, last_ceiling=0.002)
            )
            with pytest.raises(HouseLost):
                colour(transport.call(ECHO, Ask(1)))
            assert len(calls_of(peer)) - before == 1 + most

    def test_a_connection_that_ended_between_two_calls(
        self, colour: Colour, peer: Peer, house: House
    ) -> None:
        """Nothing of the second left, or went nowhere: it runs, and once."""
        transport = colour.make(peer)
        for n in range(10):
            assert asked(colour(transport.call(ONCE, Ask(2 * n))), 2 * n)
            link = peer.links[-1]
            socket.socket.shutdown(link.sock, socket.SHUT_RDWR)
            colour.settle(lambda link=link: link.sock.fileno() < 0)
            assert asked(colour(transport.call(ONCE, Ask(2 * n + 1))), 2 * n + 1)
        assert calls_of(peer) == [("once", n) for n in range(20)]

    def test_a_peer_that_is_not_there_yet(self, colour: Colour, peer: Peer) -> None:
        transport = colour.make(peer)
        colour.fault = [ConnectError("not yet"), ConnectError("not yet")]
        assert asked(colour(transport.call(ONCE, Ask(1))), 1)
        assert colour.prepared == 3
        assert calls_of(peer) == [("once", 1)]

    def test_a_connection_lost_while_logging_in(
        self, colour: Colour, peer: Peer, house: House
    ) -> None:
        """No byte of the call has left then, so any call may be tried again."""
        house.on_login = drop(2)
        transport = colour.make(peer)
        assert asked(colour(transport.call(ONCE, Ask(1))), 1)
        assert calls_of(peer) == [("once", 1)]
        assert house.logins == 3

    def test_an_error_of_the_login_says_that_the_call_was_not_sent(
        self, colour: Colour, peer: Peer, house: House
    ) -> None:
        house.on_login = drop(100)
        transport = colour.make(peer, retry=RetryPolicy(max_retries=0))
        with pytest.raises(HouseLost) as caught:
            colour(transport.call(ONCE, Ask(1)))
        assert not caught.value.sent
        assert calls_of(peer) == []

    def test_not_after_the_deadline(self, colour: Colour, peer: Peer, house: House) -> None:
        house.on_call = lambda link, request: link.stall()
        transport = colour.make(peer)
        colour(transport.warm())
        began = time.monotonic()
        with pytest.raises(HouseLate) as caught:
            colour(transport.call(ECHO, Ask(1), 0.2))
        assert 0.15 <= time.monotonic() - began < 10
        assert caught.value.sent
        assert calls_of(peer) == [("echo", 1)]

    @pytest.mark.parametrize(
        "reply",
        [b'{"id":999,"result":1}', b"<html>", b'{"id":2,"result":"text"}', b'{"id":2}'],
        ids=["wrong id", "no JSON", "wrong type", "neither"],
    )
    def test_not_after_a_broken_protocol(
        self, colour: Colour, peer: Peer, house: House, reply: bytes
    ) -> None:
        house.on_call = lambda link, request: link.frame(reply) or True
        transport = colour.make(peer)
        with pytest.raises(HouseProtocol) as caught:
            colour(transport.call(ECHO, Ask(1)))
        assert caught.value.sent
        house.on_call = None
        assert asked(colour(transport.call(ECHO, Ask(2))), 2)
        assert calls_of(peer) == [("echo", 1), ("echo", 2)]

    @pytest.mark.parametrize(
        ("code", "alone", "repeatable"),
        [("busy", 4, 4), ("down", 1, 4), ("denied", 1, 1), ("bad", 1, 1)],
    )
    def test_refusals(
        self, colour: Colour, peer: Peer, code: str, alone: int, repeatable: int
    ) -> None:
        transport = colour.make(peer)
        for method, count in ((REFUSE_ONCE, alone), (REFUSE, repeatable)):
            before = len(calls_of(peer))
            with pytest.raises(APIError) as caught:
                colour(transport.call(method, {"code": code, "n": 1}))
            assert caught.value.code == code
            assert len(calls_of(peer)) - before == count
        assert len(peer.links) == 1, "a refusal is a whole reply: the connection is good"

    def test_a_time_to_wait_that_is_too_long(self, colour: Colour, peer: Peer) -> None:
        transport = colour.make(peer)
        for asked_for in (30, 61, 1e9):
            began = time.monotonic()
            with pytest.raises(HouseRate):
                colour(transport.call(REFUSE, {"code": "busy", "retry_after": asked_for, "n": 1}))
            assert time.monotonic() - began < 10
        assert len(calls_of(peer)) == 3

    def test_the_budget_ends_it(self, colour: Colour, peer: Peer) -> None:
        transport = colour.make(peer, retry=RetryPolicy(first_ceiling=1e-6, last_ceiling=1e-6))
        for _ in range(60):
            with pytest.raises(HouseRate):
                colour(transport.call(REFUSE, {"code": "busy", "n": 1}))
        assert len(calls_of(peer)) == 60 + 50
        for n in range(10):
            colour(transport.call(ECHO, Ask(n)))
        before = len(calls_of(peer))
        with pytest.raises(HouseRate):
            colour(transport.call(REFUSE, {"code": "busy", "n": 1}))
        assert len(calls_of(peer)) - before == 2

    def test_no_connection_is_held_while_it_waits(
        self, blocking: Colour, peer: Peer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """With one connection in all, another call gets through before the retry."""
        sleeping, go = threading.Event(), threading.Event()

        def sleep(seconds: float) -> None:
            sleeping.set()
            assert go.wait(20)

        monkeypatch.setattr(_sync, "sleep", sleep)
        transport = blocking.make(peer, max_connections=1, retry=RetryPolicy(max_retries=1))
        found: list[object] = []

        def refused() -> None:
            found.extend(together(1, lambda _: transport.call(REFUSE, {"code": "busy", "n": 1})))

        thread = threading.Thread(target=refused, daemon=True)
        thread.start()
        assert sleeping.wait(20)
        assert asked(transport.call(ECHO, Ask(2), 5.0), 2)
        go.set()
        thread.join(20)
        assert [type(one) for one in found] == [HouseRate]
        assert calls_of(peer) == [("refuse", 1), ("echo", 2), ("refuse", 1)]

    def test_warm_tries_again(self, colour: Colour, peer: Peer, house: House) -> None:
        house.on_login = drop(2)
        transport = colour.make(peer)
        colour(transport.warm())
        assert house.logins == 3
        colour(transport.warm())
        assert house.logins == 3
        assert asked(colour(transport.call(ONCE, Ask(1))), 1)
        assert house.logins == 3


class TestErrors:
    def test_a_refusal_keeps_its_fields(self, colour: Colour, peer: Peer) -> None:
        transport = colour.make(peer, retry=RetryPolicy(max_retries=0))
        body = {"code": "busy", "message": "later", "request_id": "r1", "retry_after": 7, "n": 1}
        with pytest.raises(HouseRate, match="later") as caught:
            colour(transport.call(REFUSE, body))
        error = caught.value
        assert (error.status, error.code, error.request_id) == (429, "busy", "r1")
        assert error.retry_after == 7
        assert error.retryable

    def test_an_error_of_the_family_comes_as_it_is(self, colour: Colour, peer: Peer) -> None:
        transport = colour.make(peer)
        with pytest.raises(Denied, match="never") as caught:
            colour(transport.call(REFUSE, {"code": "denied", "message": "never", "n": 1}))
        assert type(caught.value) is Denied
        assert caught.value.code == "denied"

    def test_one_without_a_row_comes_as_it_is(self, colour: Colour, peer: Peer) -> None:
        transport = colour.make(peer)
        with pytest.raises(BadRequestError) as caught:
            colour(transport.call(REFUSE, {"code": "bad", "n": 1}))
        assert type(caught.value) is BadRequestError

    @pytest.mark.parametrize("many", [False, True], ids=["call", "call_many"])
    def test_every_way_to_fail(
        self, colour: Colour, peers: Peers, peer: Peer, house: House, many: bool
    ) -> None:
        def attempt(transport: Any, ask: Any, timeout: float | None = None) -> OstiaryError:
            with pytest.raises(HouseError) as caught:
                if many:
                    colour(transport.call_many(ONCE, [ask], timeout))
                else:
                    colour(transport.call(ONCE, ask, timeout))
            assert type(caught.value.__cause__) is type(None)
            assert caught.value.__suppress_context__
            return caught.value

        none = RetryPolicy(max_retries=0)
        nobody = UnixAddress(str(peer.where) + ".none")
        error = attempt(colour.make(peer, nobody, retry=none), Ask(1))
        assert type(error) is HouseConnect
        assert "start the server" in str(error)

        transport = colour.make(peer, retry=none, limits=Limits(frame_sent=500, frame_accepted=500))
        error = attempt(transport, Ask(1, "x" * 500))
        assert type(error) is HouseArgument
        assert calls_of(peer) == []

        house.on_call = lambda link, request: link.raw(b"\0\0\2\0") or True
        error = attempt(transport, Ask(1))
        assert type(error) is HouseSize
        assert error.sent

        house.on_call = lambda link, request: link.frame("no") or True
        error = attempt(transport, Ask(1))
        assert type(error) is HouseProtocol

        house.on_call = drop(1)
        error = attempt(transport, Ask(1))
        assert type(error) is HouseLost
        assert error.sent

        house.on_call = lambda link, request: link.stall()
        error = attempt(transport, Ask(1), 0.1)
        assert type(error) is HouseLate
        assert error.sent

        transport.close()
        error = attempt(transport, Ask(1))
        assert type(error) is HouseState
        assert "connect()" in str(error)

    def test_what_login_or_prepare_raise_goes_through(self, colour: Colour, peer: Peer) -> None:
        transport = colour.make(peer)
        colour.fault = [KeyError("mine"), InvalidArgumentError("mine"), Denied("mine")]
        with pytest.raises(KeyError):
            colour(transport.call(ECHO, Ask(1)))
        with pytest.raises(HouseArgument, match="mine"):
            colour(transport.call(ECHO, Ask(1)))
        with pytest.raises(Denied, match="mine"):
            colour(transport.warm())
        assert peer.links == [], "nothing is opened before it is prepared"
        assert asked(colour(transport.call(ECHO, Ask(1))), 1)


class TestRenewal:
    def test_on_the_same_connection(self, colour: Colour, peer: Peer, house: House) -> None:
        transport = colour.make(peer)
        for n in range(5):
            assert asked(colour(transport.call(KEPT, Keep(n))), n)
            house.expire()
        assert asked(colour(transport.call(GRANT, Keep(9))), 9)
        assert len(peer.links) == 1
        assert house.logins == 6
        sessions = [r["params"]["session_id"] for r in peer.requests if r["method"] != "login"]
        assert sessions[:3] == ["session 1", "session 1", "session 2"]

    def test_once_only(self, colour: Colour, peer: Peer, house: House) -> None:
        transport = colour.make(peer)
        house.on_call = lambda link, request: link.refuse(request, {"code": "expired"}) or True
        with pytest.raises(Expired):
            colour(transport.call(KEPT, Keep(1)))
        assert house.logins == 2
        assert calls_of(peer) == [("kept", 1)] * 2
        house.on_call = None
        assert asked(colour(transport.call(KEPT, Keep(2))), 2)
        assert house.logins == 2

    def test_once_only_over_all_attempts(self, colour: Colour, peer: Peer, house: House) -> None:
        """Refused, renewed, lost, tried again, refused again: that is the end of it."""
        script = iter(["expired", "gone", "expired", "expired"])

        def act(link: Connection, request: dict[str, Any]) -> bool:
            if next(script) == "gone":
                raise Gone
            link.refuse(request, {"code": "expired"})
            return True

        house.on_call = act
        transport = colour.make(peer)
        with pytest.raises(Expired):
            colour(transport.call(ECHO, Ask(1)))
        assert calls_of(peer) == [("echo", 1)] * 3
        assert house.logins == 3, "one at each connection, and one renewal"

    def test_only_for_that_class(self, colour: Colour, peer: Peer, house: House) -> None:
        transport = colour.make(peer)
        with pytest.raises(Denied):
            colour(transport.call(REFUSE, {"code": "denied", "n": 1}))
        assert house.logins == 1

    def test_a_login_that_is_refused(self, colour: Colour, peer: Peer, house: House) -> None:
        transport = colour.make(peer)
        colour(transport.warm())
        house.expire()
        house.on_login = lambda link, request: link.refuse(request, {"code": "denied"}) or True
        with pytest.raises(Denied):
            colour(transport.call(KEPT, Keep(1)))
        house.on_login = None
        assert asked(colour(transport.call(KEPT, Keep(2))), 2)
        assert calls_of(peer) == [("kept", 1), ("kept", 2), ("kept", 2)]

    def test_the_callers_deadline_bounds_it(self, colour: Colour, peer: Peer, house: House) -> None:
        transport = colour.make(peer)
        colour(transport.warm())
        house.expire()
        house.on_login = lambda link, request: link.stall()
        began = time.monotonic()
        with pytest.raises(HouseLate):
            colour(transport.call(KEPT, Keep(1), 0.2))
        assert 0.15 <= time.monotonic() - began < 10
        assert len(set(colour.deadlines)) == 2

    def test_the_deadline_of_one_who_waits_for_anothers_login(
        self, blocking: Colour, peer: Peer, house: House
    ) -> None:
        go = threading.Event()
        entered = threading.Event()

        def slow(link: Connection, request: dict[str, Any]) -> None:
            entered.set()
            assert go.wait(20)

        transport = blocking.make(peer)
        together(2, lambda n: transport.call(KEPT, Keep(n)))
        house.expire()
        house.on_login = slow
        first: list[Any] = []
        thread = threading.Thread(
            target=lambda: first.append(transport.call(KEPT, Keep(5))), daemon=True
        )
        thread.start()
        assert entered.wait(20)
        # A connection of its own is there, or is made; the first one's login holds up either.
        with pytest.raises(HouseLate):
            transport.call(KEPT, Keep(6), 0.2)
        go.set()
        thread.join(20)
        assert asked(first[0], 5)
        assert asked(transport.call(KEPT, Keep(7)), 7)

    def test_one_login_for_all_tasks(
        self, run: Run, asynchronous: Colour, peer: Peer, house: House
    ) -> None:
        async def main() -> None:
            transport = asynchronous.make(peer)
            for round_number in range(1, 4):
                found = await asyncio.gather(*(transport.call(KEPT, Keep(n)) for n in range(100)))
                assert all(asked(told, n) for n, told in enumerate(found))
                assert house.logins == round_number
                house.expire()
            assert len(peer.links) == 1
            transport.close()

        run(main())

    def test_a_task_whose_time_ends_while_another_logs_in(
        self, run: Run, asynchronous: Colour, peer: Peer, house: House
    ) -> None:
        go = threading.Event()

        async def main() -> None:
            transport = asynchronous.make(peer)
            await transport.warm()
            house.expire()
            house.on_login = lambda link, request: bool(not go.wait(20))
            first = asyncio.create_task(transport.call(KEPT, Keep(1)))
            await until(lambda: house.logins == 2)
            others = [asyncio.create_task(transport.call(ECHO, Ask(n))) for n in range(3)]
            cancelled = asyncio.create_task(transport.call(KEPT, Keep(3)))
            await asyncio.sleep(0.01)
            cancelled.cancel()
            with pytest.raises(HouseLate):
                await transport.call(KEPT, Keep(2), 0.1)
            go.set()
            assert asked(await first, 1)
            assert all(asked(told, n) for n, told in enumerate(await asyncio.gather(*others)))
            with pytest.raises(asyncio.CancelledError):
                await cancelled
            assert house.logins == 2
            transport.close()

        run(main())

    def test_a_cancelled_login_leaves_it_to_the_next(
        self, run: Run, asynchronous: Colour, peer: Peer, house: House
    ) -> None:
        go = threading.Event()

        async def main() -> None:
            transport = asynchronous.make(peer)
            await transport.warm()
            house.expire()
            house.on_login = lambda link, request: bool(not go.wait(20))
            first = asyncio.create_task(transport.call(KEPT, Keep(1)))
            await until(lambda: house.logins == 2)
            second = asyncio.create_task(transport.call(KEPT, Keep(2)))
            await asyncio.sleep(0.01)
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            go.set()
            assert asked(await second, 2)
            assert len(peer.links) == 1
            transport.close()

        run(main())

    def test_on_one_loop_after_another(
        self, run: Run, asynchronous: Colour, peer: Peer, house: House
    ) -> None:
        """Many renew at once on a loop; that binds nothing to it."""
        transport = asynchronous.make(peer)

        async def main() -> None:
            await transport.warm()
            house.expire()
            found = await asyncio.gather(
                *(transport.call(KEPT, Keep(n)) for n in range(10)), return_exceptions=True
            )
            assert [type(one) for one in found] == [Told] * 10

        for _ in range(3):
            run(main())
        assert house.logins == 6

    def test_threads_log_in_one_after_the_other(
        self, blocking: Colour, peer: Peer, house: House
    ) -> None:
        """Each connection has a session, so each logs in once, and never two at a time."""
        inside = 0
        most = 0

        def count(link: Connection, request: dict[str, Any]) -> None:
            nonlocal inside, most
            with house.lock:
                inside += 1
                most = max(most, inside)
            time.sleep(0.01)
            with house.lock:
                inside -= 1

        transport = blocking.make(peer, max_connections=4)
        barrier = threading.Barrier(4)

        def meet(link: Connection, request: dict[str, Any]) -> None:
            barrier.wait(20)

        house.on_call = meet
        together(4, lambda n: transport.call(ECHO, Ask(n)))
        assert house.logins == len(peer.links) == 4
        house.on_call = None
        house.expire()
        house.on_login = count
        found = together(16, lambda n: [transport.call(KEPT, Keep(n)) for _ in range(10)])
        for n, results in enumerate(found):
            assert isinstance(results, list), results
            assert all(asked(told, n) for told in results)
        assert most == 1
        assert 5 <= house.logins <= 8
        assert len(peer.links) == 4


class TestClosing:
    @pytest.mark.parametrize("way", ["refused", "lost", "late", "broken", "other", "base"])
    def test_a_failed_login_leaves_no_socket(
        self, colour: Colour, peer: Peer, house: House, way: str
    ) -> None:
        class Stopped(BaseException):
            pass

        timeout = 20.0
        expected: type[BaseException] = HouseError
        options: dict[str, Any] = {"retry": RetryPolicy(max_retries=0)}
        if way == "refused":
            house.on_login = lambda link, request: link.refuse(request, {"code": "denied"}) or True
        elif way == "lost":
            house.on_login = drop(10_000)
        elif way == "late":
            house.on_login = lambda link, request: link.wait_gone() or True
            timeout = 0.002
        elif way == "broken":
            house.on_login = lambda link, request: link.frame("?") or True
        else:
            expected = KeyError if way == "other" or colour.runner is not None else Stopped

            def log_in(channel: Any, deadline: float) -> None:
                raise expected("mine")

            async def alog_in(channel: Any, deadline: float) -> None:
                raise expected("mine")

            options["login"] = log_in if colour.runner is None else alog_in
        transport = colour.make(peer, max_connections=2, **options)
        with pytest.raises(expected):
            colour(transport.call(ECHO, Ask(1), timeout))
        colour.settle(lambda: all(link.sock.fileno() < 0 for link in peer.links))
        before = open_descriptors()
        for n in range(200):
            with pytest.raises(expected):
                if n % 2:
                    colour(transport.warm(timeout))
                else:
                    colour(transport.call(ONCE, Ask(1), timeout))
        assert transport._pool.channels() == []
        colour.settle(lambda: open_descriptors() <= before)

    def test_nothing_is_left_of_200_clients(self, colour: Colour, peer: Peer, house: House) -> None:
        def once(n: int) -> None:
            transport = colour.make(peer)
            assert transport.is_open
            assert asked(colour(transport.call(ECHO, Ask(n))), n)
            transport.close()
            transport.close()
            assert not transport.is_open

        once(0)
        colour.settle(lambda: all(link.sock.fileno() < 0 for link in peer.links))
        before = open_descriptors()
        for n in range(200):
            once(n)
        colour.settle(lambda: open_descriptors() <= before)
        assert house.logins == 201

    def test_opened_again(self, colour: Colour, peer: Peer) -> None:
        transport = colour.make(peer)
        for n in range(3):
            assert asked(colour(transport.call(ECHO, Ask(n))), n)
            transport.close()
            with pytest.raises(HouseState, match="not connected"):
                colour(transport.call(ECHO, Ask(n)))
            with pytest.raises(HouseState):
                colour(transport.warm())
            with pytest.raises(HouseState):
                colour(transport.call_many(ECHO, [Ask(n)]))
            with pytest.raises(HouseState):
                colour(transport.call_open(ECHO, [Ask(n)], 1.0))
            assert not transport.send_only(ECHO, [Ask(n)])
            transport.open(peer.address)

    def test_while_threads_call(self, blocking: Colour, peer: Peer, house: House) -> None:
        """Those under way and those that wait all end, with an error of the family."""
        entered = threading.Semaphore(0)

        def hang(link: Connection, request: dict[str, Any]) -> None:
            entered.release()
            link.wait_gone()
            raise Gone

        house.on_call = hang
        transport = blocking.make(peer, max_connections=3)

        def close() -> None:
            for _ in range(3):
                assert entered.acquire(timeout=20)
            transport.close()

        closer = threading.Thread(target=close, daemon=True)
        closer.start()
        found = together(8, lambda n: transport.call(ECHO, Ask(n)))
        closer.join(20)
        assert all(isinstance(one, (HouseLost, HouseState)) for one in found), found

    def test_while_tasks_call(
        self, run: Run, asynchronous: Colour, peer: Peer, house: House
    ) -> None:
        house.on_call = lambda link, request: link.wait_gone() or True

        async def main() -> None:
            transport = asynchronous.make(peer)
            tasks = [asyncio.create_task(transport.call(ECHO, Ask(n))) for n in range(8)]
            await until(lambda: calls_of(peer))
            transport.close()
            found = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(one, (HouseLost, HouseState)) for one in found), found

        run(main())

    def test_only_an_open_channel_is_used(self, colour: Colour, peer: Peer, house: House) -> None:
        transport = colour.make(peer)
        assert colour(transport.call_open(ECHO, [Ask(1)], 5.0)) is None
        assert not transport.send_only(ECHO, [Ask(1)])
        assert peer.links == []
        colour(transport.warm())
        found = colour(transport.call_open(ECHO, [Ask(1), Ask(2)], 5.0))
        assert [asked(told, n) for n, told in enumerate(found, 1)] == [True, True]
        assert transport.send_only(ECHO, [Ask(n) for n in range(3, 6)])
        colour.settle(lambda: len(calls_of(peer)) == 5)
        assert house.logins == 1


class TestDeadline:
    def test_covers_the_connection(self, colour: Colour, peer: Peer) -> None:
        """A listener whose queue is full never answers."""
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))
            silent.listen(0)
            held = []
            for _ in range(4):
                sock = socket.socket()
                sock.setblocking(False)
                sock.connect_ex(silent.getsockname())
                held.append(sock)
            transport = colour.make(peer, TcpAddress("127.0.0.1", silent.getsockname()[1]))
            for act in (transport.warm, lambda t: transport.call(ONCE, Ask(1), t)):
                began = time.monotonic()
                with pytest.raises(HouseLate) as caught:
                    colour(act(0.2))
                assert 0.15 <= time.monotonic() - began < 10
                assert not caught.value.sent
            for sock in held:
                sock.close()

    def test_covers_the_login(self, colour: Colour, peer: Peer, house: House) -> None:
        house.on_login = lambda link, request: link.stall()
        transport = colour.make(peer)
        for method, timeout in ((ONCE, 0.2), (ECHO, 0.1)):
            began = time.monotonic()
            with pytest.raises(HouseLate):
                colour(transport.call(method, Ask(1), timeout))
            assert timeout - 0.05 <= time.monotonic() - began < 10
        assert calls_of(peer) == []

    def test_is_one_for_all_attempts(self, colour: Colour, peer: Peer, house: House) -> None:
        house.on_call = drop(3)
        transport = colour.make(peer)
        before = time.monotonic()
        assert asked(colour(transport.call(ECHO, Ask(1), 20.0)), 1)
        after = time.monotonic()
        assert len(colour.deadlines) == 4
        (deadline,) = set(colour.deadlines)
        assert before + 20.0 <= deadline <= after + 20.0

    def test_is_one_for_call_and_renewal(self, colour: Colour, peer: Peer, house: House) -> None:
        transport = colour.make(peer)
        colour(transport.call(KEPT, Keep(1)))
        house.expire()
        house.on_call = drop(1, "other")
        colour(transport.call_many(KEPT, [Keep(2)], 1000.0))
        house.expire()
        colour(transport.call(KEPT, Keep(2), 2000.0))
        first, many, one = colour.deadlines
        assert 900 < many - first < 1000
        assert 900 < one - many < 1100

    def test_a_retry_that_would_come_too_late_is_not_waited_for(
        self, colour: Colour, peer: Peer
    ) -> None:
        transport = colour.make(peer)
        began = time.monotonic()
        with pytest.raises(HouseRate):
            colour(transport.call(REFUSE, {"code": "busy", "retry_after": 50, "n": 1}, 40.0))
        assert time.monotonic() - began < 10

    def test_none_is_the_clients_own(self, colour: Colour, peer: Peer, house: House) -> None:
        house.on_call = lambda link, request: link.stall()
        transport = colour.make(peer, timeout=0.15)
        for act in (
            lambda: transport.call(ECHO, Ask(1)),
            lambda: transport.call(ECHO, Ask(1), None),
            lambda: transport.call_many(ECHO, [Ask(1)]),
        ):
            began = time.monotonic()
            with pytest.raises(HouseLate):
                colour(act())
            assert 0.15 <= time.monotonic() - began < 10

    def test_zero_is_no_time(self, colour: Colour, peer: Peer) -> None:
        transport = colour.make(peer)
        for timeout in (0.0, -1.0):
            with pytest.raises(HouseLate):
                colour(transport.call(ECHO, Ask(1), timeout))
        assert asked(colour(transport.call(ECHO, Ask(2), FOREVER)), 2)
        assert calls_of(peer) == [("echo", 2)]

    def test_covers_the_wait_for_a_connection(
        self, blocking: Colour, peer: Peer, house: House
    ) -> None:
        go, entered = threading.Event(), threading.Event()

        def slow(link: Connection, request: dict[str, Any]) -> None:
            entered.set()
            assert go.wait(20)

        house.on_call = slow
        transport = blocking.make(peer, max_connections=1)
        thread = threading.Thread(target=transport.call, args=(ECHO, Ask(1)), daemon=True)
        thread.start()
        assert entered.wait(20)
        with pytest.raises(HouseLate, match="all 1 connections were busy") as caught:
            transport.call(ECHO, Ask(2), 0.1)
        assert not caught.value.sent
        go.set()
        thread.join(20)
        assert asked(transport.call(ECHO, Ask(3)), 3)
        assert len(peer.links) == 1


class TestMany:
    def test_order_and_refusals_in_place(self, colour: Colour, peer: Peer, house: House) -> None:
        def act(link: Connection, request: dict[str, Any]) -> bool:
            n = request["params"]["n"]
            if n % 5 == 1:
                link.refuse(request, {"code": "busy", "retry_after": n, "request_id": str(n)})
            elif n % 5 == 2:
                link.refuse(request, {"code": "denied"})
            elif n % 5 == 3:
                link.reply(request, "odd")
            return n % 5 in (1, 2, 3)

        house.on_call = act
        transport = colour.make(peer)
        found = colour(transport.call_many(ONCE, [Ask(n) for n in range(100)]))
        assert len(found) == 100
        for n, one in enumerate(found):
            if n % 5 == 1:
                assert type(one) is HouseRate
                assert (one.retry_after, one.request_id) == (n, str(n))
            elif n % 5 == 2:
                assert type(one) is Denied
            elif n % 5 == 3:
                assert type(one) is HouseProtocol
            else:
                assert asked(one, n)
        assert calls_of(peer) == [("once", n) for n in range(100)], "none is sent twice"
        assert colour(transport.call_many(ONCE, [])) == []

    def test_only_the_refused_ones_are_renewed(
        self, colour: Colour, peer: Peer, house: House
    ) -> None:
        seen: set[int] = set()

        def act(link: Connection, request: dict[str, Any]) -> bool:
            n = request["params"]["n"]
            if n % 3 or n in seen:
                return False
            seen.add(n)
            link.refuse(request, {"code": "expired"})
            return True

        house.on_call = act
        transport = colour.make(peer)
        found = colour(transport.call_many(KEPT, [Keep(n) for n in range(20)]))
        assert all(asked(told, n) for n, told in enumerate(found))
        assert house.logins == 2
        expected = [*range(20), *range(0, 20, 3)]
        assert calls_of(peer) == [("kept", n) for n in expected]
        assert len(peer.links) == 1

    def test_renewed_once_only(self, colour: Colour, peer: Peer, house: House) -> None:
        house.on_call = lambda link, request: (
            link.refuse(request, {"code": "expired"}) or True
            if request["params"]["n"] == 2
            else False
        )
        transport = colour.make(peer)
        found = colour(transport.call_many(KEPT, [Keep(n) for n in range(4)]))
        assert type(found[2]) is Expired
        assert [asked(found[n], n) for n in (0, 1, 3)] == [True] * 3
        assert house.logins == 2

    def test_all_were_refused(self, colour: Colour, peer: Peer, house: House) -> None:
        transport = colour.make(peer)
        colour(transport.warm())
        house.expire()
        found = colour(transport.call_many(KEPT, [Keep(n) for n in range(30)]))
        assert all(asked(told, n) for n, told in enumerate(found))
        assert house.logins == 2

    def test_a_lost_connection_is_raised_and_never_repeated(
        self, colour: Colour, peer: Peer, house: House
    ) -> None:
        transport = colour.make(peer)
        house.on_call = drop(1)
        with pytest.raises(HouseLost) as caught:
            colour(transport.call_many(ECHO, [Ask(n) for n in range(5)]))
        assert caught.value.sent
        assert calls_of(peer) == [("echo", 0)]
        found = colour(transport.call_many(ECHO, [Ask(n) for n in range(5)]))
        assert all(asked(told, n) for n, told in enumerate(found))

    def test_what_was_granted_survives_a_failed_renewal(
        self, colour: Colour, peer: Peer, house: House
    ) -> None:
        """What was granted is the caller's; only those refused are without a result."""

        def act(link: Connection, request: dict[str, Any]) -> bool:
            if request["params"]["n"] != 1:
                return False
            link.refuse(request, {"code": "expired"})
            return True

        transport = colour.make(peer)
        colour(transport.warm())
        house.on_call = act
        house.on_login = lambda link, request: link.refuse(request, {"code": "denied"}) or True
        found = colour(transport.call_many(GRANT, [Keep(n) for n in range(3)]))
        assert asked(found[0], 0)
        assert isinstance(found[1], (Denied, Expired))
        assert asked(found[2], 2)


class TestOrphans:
    """What was granted to a caller that has gone is handed to whoever can give it back."""

    def orphanage(self, asynchronous: Colour, peer: Peer) -> tuple[Any, list[int]]:
        transport = asynchronous.make(peer)
        kept: list[int] = []
        transport.on_orphan = lambda channel, told: kept.append(told.n)
        return transport, kept

    @pytest.mark.parametrize("many", [False, True], ids=["call", "call_many"])
    def test_settled_in_the_turn_of_a_cancel(
        self, run: Run, asynchronous: Colour, peer: Peer, house: House, many: bool
    ) -> None:
        """The reply to a call of ours, read just before, cancels the one that was granted."""
        waiting: list[dict[str, Any]] = []

        def act(link: Connection, request: dict[str, Any]) -> bool:
            waiting.append(request)
            if len(waiting) < 3:
                return True
            link.raw(
                b"".join(
                    framed(json.dumps({"id": r["id"], "result": answer(r["params"])}))
                    for r in waiting
                )
            )
            waiting.clear()
            return True

        async def main() -> None:
            transport, kept = self.orphanage(asynchronous, peer)
            await transport.warm()
            house.on_call = act
            (channel,) = transport._pool.channels()
            trigger = channel.call(ECHO, Ask(1), FOREVER)
            if many:
                tasks = [asyncio.create_task(transport.call_many(GRANT, [Keep(2), Keep(3)]))]
            else:
                tasks = [asyncio.create_task(transport.call(GRANT, Keep(n))) for n in (2, 3)]
            trigger.add_done_callback(lambda _: [task.cancel() for task in tasks])
            found = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(one, asyncio.CancelledError) for one in found), found
            await until(lambda: len(kept) == 2)
            assert sorted(kept) == [2, 3]
            assert asked(await asyncio.wait_for(self.again(house, transport), 20), 4)
            assert sorted(kept) == [2, 3]
            transport.close()

        run(main())

    @staticmethod
    async def again(house: House, transport: Any) -> Any:
        house.on_call = None
        return await transport.call(GRANT, Keep(4))

    @pytest.mark.parametrize("way", ["cancelled", "late"])
    def test_granted_after_the_caller_left(
        self, run: Run, asynchronous: Colour, peer: Peer, house: House, way: str
    ) -> None:
        go = threading.Event()

        async def main() -> None:
            transport, kept = self.orphanage(asynchronous, peer)
            await transport.warm()
            house.on_call = lambda link, request: not go.wait(20)
            if way == "late":
                with pytest.raises(HouseLate):
                    await transport.call(GRANT, Keep(1), 0.1)
            else:
                task = asyncio.create_task(transport.call(GRANT, Keep(1)))
                await until(lambda: calls_of(peer))
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            go.set()
            await until(lambda: kept)
            assert asked(await transport.call(GRANT, Keep(2)), 2)
            assert kept == [1]
            assert len(peer.links) == 1
            transport.close()

        run(main())

    def test_granted_before_a_renewal_that_was_cancelled(
        self, run: Run, asynchronous: Colour, peer: Peer, house: House
    ) -> None:
        go = threading.Event()

        def act(link: Connection, request: dict[str, Any]) -> bool:
            if request["params"]["n"] != 1:
                return False
            link.refuse(request, {"code": "expired"})
            return True

        async def main() -> None:
            transport, kept = self.orphanage(asynchronous, peer)
            await transport.warm()
            house.on_call = act
            house.on_login = lambda link, request: not go.wait(20)
            task = asyncio.create_task(transport.call_many(GRANT, [Keep(n) for n in range(3)]))
            await until(lambda: house.logins == 2)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            go.set()
            assert asked(await transport.call(ECHO, Ask(5)), 5)
            await asyncio.sleep(0)
            assert sorted(kept) == [0, 2]
            transport.close()

        run(main())

    def test_what_reached_its_caller_is_not_offered(
        self, run: Run, asynchronous: Colour, peer: Peer
    ) -> None:
        async def main() -> None:
            transport, kept = self.orphanage(asynchronous, peer)
            assert asked(await transport.call(GRANT, Keep(1)), 1)
            found = await transport.call_many(GRANT, [Keep(n) for n in range(5)])
            assert all(asked(told, n) for n, told in enumerate(found))
            await transport.call(ECHO, Ask(1))
            assert kept == []
            transport.close()

        run(main())


class TestTls:
    def test_end_to_end(self, colour: Colour, peers: Peers, house: House) -> None:
        peer = peers(house, "tls")
        transport = colour.make(peer)
        ask = Ask(1, "y" * 200_000, 300_000)
        assert is_answer(colour(transport.call(ECHO, ask)), ask)
        house.expire()
        found = colour(transport.call_many(KEPT, [Keep(n) for n in range(50)]))
        assert all(asked(told, n) for n, told in enumerate(found))
        house.on_call = drop(1)
        assert asked(colour(transport.call(ECHO, Ask(2))), 2)
        house.on_call = None
        with pytest.raises(HouseRate):
            colour(transport.call(REFUSE, {"code": "busy", "retry_after": 70, "n": 1}))
        assert asked(colour(transport.call(KEPT, Keep(3))), 3)
        assert len(peer.links) == 2
        transport.close()
        colour.settle(lambda: all(link.sock.fileno() < 0 for link in peer.links))

    def test_a_certificate_of_nobody_we_know(self, colour: Colour, peers: Peers) -> None:
        house = House()
        peer = peers(house, "tls")
        # The process's own context does not know the tests' authority.
        transport = colour.make(peer, ssl_context=None, retry=RetryPolicy(max_retries=1))
        before = open_descriptors()
        for _ in range(5):
            with pytest.raises(HouseConnect, match="certificate") as caught:
                colour(transport.call(ONCE, Ask(1)))
            assert not caught.value.sent
        assert house.logins == 0
        colour.settle(lambda: open_descriptors() <= before)


class TestUid:
    def test_a_server_of_somebody_else_is_sent_nothing(self, colour: Colour, peer: Peer) -> None:
        transport = colour.make(peer, expected_uid=os.getuid() + 1)
        with pytest.raises(HouseConnect, match="uid"):
            colour(transport.call(ECHO, Ask(1)))
        assert peer.requests == []
        mine = colour.make(peer, expected_uid=os.getuid())
        assert asked(colour(mine.call(ECHO, Ask(1))), 1)


class TestThreads:
    def test_sixteen_threads_on_four_connections(
        self, blocking: Colour, peer: Peer, house: House
    ) -> None:
        transport = blocking.make(peer, max_connections=4)

        def work(which: int) -> bool:
            numbers = range(which * 1000, which * 1000 + 50)
            assert all(asked(transport.call(KEPT, Keep(n)), n) for n in numbers)
            found = transport.call_many(KEPT, [Keep(n) for n in numbers])
            return all(asked(told, n) for told, n in zip(found, numbers, strict=True))

        assert together(16, work) == [True] * 16
        assert house.logins == len(peer.links) <= 4


class Interrupted(BaseException):
    """Stands for KeyboardInterrupt, which pytest would take for the user's."""


# Where the interpreter looks for signals; a handler that raises does so right behind them.
LOOKS = ("CALL", "RESUME", "JUMP_BACKWARD")


@contextlib.contextmanager
def interrupted_at(turn: int, *functions: Any) -> Iterator[None]:
    """Raise `Interrupted` where a signal's handler would, the `turn`-th time it could."""
    codes = {function.__code__ for function in functions}
    left = turn

    def local(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal left
        if event == "opcode":
            code, at = frame.f_code, before.get(frame, -1)
            before[frame] = frame.f_lasti
            if at >= 0 and dis.opname[code.co_code[at]].startswith(LOOKS):
                left -= 1
                if left == 0:
                    raise Interrupted
        return local

    def entered(frame: FrameType, event: str, argument: Any) -> Any:
        if frame.f_code not in codes:
            return None
        frame.f_trace_opcodes = True
        return local

    before: dict[FrameType, int] = {}
    previous = sys.gettrace()
    sys.settrace(entered)
    try:
        yield
    finally:
        sys.settrace(previous)
        before.clear()


@pytest.mark.skipif(
    sys.version_info >= (3, 12),
    reason="the points at which a signal handler may run are counted as CPython 3.11 has them",
)
class TestInterrupts:
    """Ctrl-C may come behind any call that a transport makes: no connection or lock is lost."""

    @pytest.mark.parametrize("open_before", [True, False], ids=["idle", "unopened"])
    @pytest.mark.parametrize("name", ["warm", "call", "call_many"])
    def test_no_connection_is_lost(
        self, blocking: Colour, peer: Peer, name: str, open_before: bool
    ) -> None:
        acts: dict[str, Callable[[Any], Any]] = {
            "warm": lambda t: t.warm(),
            "call": lambda t: t.call(ECHO, Ask(1)),
            "call_many": lambda t: t.call_many(ECHO, [Ask(1), Ask(2)]),
        }
        turn = 0
        ended = False
        while not ended:
            turn += 1
            transport = blocking.make(peer, max_connections=1)
            if open_before:
                transport.warm()
            try:
                with interrupted_at(turn, getattr(FramedTransport, name)):
                    acts[name](transport)
                ended = True
            except Interrupted:
                pass
            assert transport._pool.ready() or transport._pool.open(soon(5))
        assert turn > 3

    def test_no_lock_is_lost(self, blocking: Colour, peer: Peer, house: House) -> None:
        turn = 0
        ended = False
        while not ended:
            turn += 1
            transport = blocking.make(peer)
            transport.warm()
            house.expire()
            try:
                with interrupted_at(turn, FramedTransport._renew):
                    assert asked(transport.call(KEPT, Keep(1)), 1)
                ended = True
            except Interrupted:
                pass
            assert not transport._renewing.locked(), f"after turn {turn}"
        assert turn > 2


class TestFork:
    def test_four_children(self, blocking: Colour, peer: Peer, house: House) -> None:
        """Each opens connections of its own; the parent's is used by nobody else."""
        transport = blocking.make(peer, max_connections=2)
        assert asked(transport.call(KEPT, Keep(0)), 0)
        children = []
        for which in range(1, 5):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                child = os.fork()
            if child == 0:
                code = 1
                try:
                    for n in range(which * 1000, which * 1000 + 50):
                        assert asked(transport.call(KEPT, Keep(n)), n)
                    code = 0
                except BaseException:  # noqa: BLE001 - told by the exit code
                    traceback.print_exc()
                os._exit(code)
            children.append(child)
        for n in range(1, 51):
            assert asked(transport.call(KEPT, Keep(n)), n)
        assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
        assert len(peer.links) == 5
        mine = [r["params"].get("n") for r in peer.links[0].requests if r["method"] != "login"]
        assert mine == list(range(51))
        for link in peer.links[1:]:
            theirs = {r["params"]["n"] // 1000 for r in link.requests if r["method"] != "login"}
            assert len(theirs) == 1
        assert asked(transport.call(KEPT, Keep(7)), 7)
        assert len(peer.links) == 5

    def test_while_another_thread_logs_in_again(
        self, blocking: Colour, peer: Peer, house: House
    ) -> None:
        """The child has the lock's state and not the thread that would release it."""
        go = threading.Event()
        transport = blocking.make(peer)
        blocking(transport.warm())
        house.expire()
        house.on_login = lambda link, request: not go.wait(20)
        thread = threading.Thread(target=transport.call, args=(KEPT, Keep(1)), daemon=True)
        thread.start()
        assert_soon(lambda: house.logins == 2)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            code = 1
            try:
                assert transport._renewing.acquire(blocking=False)
                transport._renewing.release()
                assert transport._pool.channels() == []
                code = 0
            except BaseException:  # noqa: BLE001 - told by the exit code
                traceback.print_exc()
            os._exit(code)
        status = os.waitpid(child, 0)[1]
        go.set()
        thread.join(20)
        assert status == 0
        assert asked(transport.call(KEPT, Keep(2)), 2)


def test_what_a_transport_opens(blocking: Colour, asynchronous: Colour, peer: Peer) -> None:
    """The colours differ in their pool and in nothing a caller sees."""
    assert isinstance(blocking.make(peer)._pool, ChannelPool)
    assert isinstance(asynchronous.make(peer)._pool, AsyncChannelPool)
    assert issubclass(UnexpectedShape, ProtocolError)
