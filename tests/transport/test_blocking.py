"""The blocking channel against peers that do everything wrong.

Laws under test: a result only ever comes from its own whole reply; a call that did not end
with one closes the channel; `sent` is False only when no byte left; one deadline.
"""

from __future__ import annotations

import errno
import gc
import itertools
import json
import os
import random
import resource
import signal
import socket
import struct
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ostiary._io import blocking
from ostiary._io.sockets import peer_uid, seconds_left
from ostiary._wire.rpc import Method, UnexpectedShape
from ostiary.config import Limits, TcpAddress, UnixAddress
from ostiary.errors import (
    APIError,
    ClientStateError,
    ConnectError,
    ConnectionLostError,
    DeadlineError,
    InvalidArgumentError,
    OstiaryError,
    ProtocolError,
    SizeLimitError,
    TransportError,
)
from tests.transport.calls import (
    ANY,
    ECHO,
    FOREVER,
    NO_ANSWERS,
    ONCE,
    RAW,
    Ask,
    dial,
    good,
    is_answer,
    soon,
)
from tests.transport.peer import Connection, Gone, Peer, answer, echo, framed, spawned

Peers = Callable[..., Peer]


def reply_to(request: dict[str, Any]) -> bytes:
    return framed(json.dumps({"id": request["id"], "result": answer(request["params"])}))


class TestCalls:
    def test_each_kind_of_connection(self, peers: Peers, any_kind: str) -> None:
        channel = dial(peers(kind=any_kind))
        for n, size in enumerate([0, 1, 900, 1100, 16_000, 70_000, 300_000]):
            good(channel, n, size=size, pad="y" * size)
        results = channel.call_many(ECHO, [Ask(n, size=n) for n in range(300)], soon())
        for n, told in enumerate(results):
            assert not isinstance(told, OstiaryError)
            assert is_answer(told, Ask(n, size=n))
        assert not channel.closed
        channel.close()
        channel.close()
        assert channel.closed

    def test_large_both_ways(self, peers: Peers, kind: str) -> None:
        good(dial(peers(kind=kind)), 1, size=3_000_000, pad="z" * 3_500_000)

    def test_no_deadline(self, peers: Peers) -> None:
        channel = dial(peers(), deadline=FOREVER)
        assert is_answer(channel.call(ECHO, Ask(1), FOREVER), Ask(1))

    def test_a_refusal_is_a_whole_reply(self, peers: Peers) -> None:
        def refuse(link: Connection) -> None:
            link.refuse(link.read_request(), {"message": "no", "code": "X"})
            echo(link)

        channel = dial(peers(refuse))
        with pytest.raises(APIError, match="no") as caught:
            channel.call(ECHO, Ask(1), soon())
        assert caught.value.code == "X"
        good(channel)

    def test_a_result_of_another_type_leaves_the_channel_open(self, peers: Peers) -> None:
        def odd(link: Connection) -> None:
            link.reply(link.read_request(), "text")
            link.frame(json.dumps({"id": link.read_request()["id"]}))
            echo(link)

        channel = dial(peers(odd))
        for _ in range(2):
            with pytest.raises(UnexpectedShape) as caught:
                channel.call(ECHO, Ask(1), soon())
            assert caught.value.sent
        good(channel)

    def test_one_call_at_a_time(self, peers: Peers) -> None:
        entered = threading.Event()
        go = threading.Event()

        def wait(link: Connection) -> None:
            request = link.read_request()
            entered.set()
            assert go.wait(20)
            link.echo(request)
            echo(link)

        channel = dial(peers(wait))
        first = threading.Thread(target=good, args=(channel, 1))
        first.start()
        assert entered.wait(20)
        with pytest.raises(ClientStateError, match="one call at a time"):
            channel.call(ECHO, Ask(2), soon())
        go.set()
        first.join(20)
        good(channel, 3)

    def test_channels_are_made_by_connect(self) -> None:
        with pytest.raises(TypeError):
            blocking.Channel()


class TestEverySplit:
    """Two replies, cut into pieces that arrive apart."""

    REPLIES: ClassVar = [json.dumps({"id": n, "result": n}).encode() for n in (1, 2)]

    def play(self, peers: Peers, streams: list[list[bytes]]) -> None:
        """One connection per cutting: one pipelined pair, each piece in its own segment."""
        iterator = iter(streams)
        step = threading.Semaphore(0)

        def cut(link: Connection) -> None:
            pieces = next(iterator)
            link.read_request()
            link.read_request()
            for piece in pieces:
                # Sent apart; whether it also arrives apart is the kernel's choice, so the
                # drip below makes sure for some.
                link.raw(piece)
            step.release()
            link.wait_gone()

        peer = peers(cut)
        for _ in streams:
            channel = dial(peer)
            assert channel.call_many(ANY, [{}, {}], soon()) == [1, 2]
            channel.close()

    def test_single_cuts(self, peers: Peers) -> None:
        stream = framed(self.REPLIES[0]) + framed(self.REPLIES[1])
        self.play(peers, [[stream[:at], stream[at:]] for at in range(1, len(stream))])

    def test_double_cuts(self, peers: Peers) -> None:
        stream = framed(self.REPLIES[0]) + framed(self.REPLIES[1])
        cuts = itertools.combinations(range(1, len(stream)), 2)
        self.play(peers, [[stream[:a], stream[a:b], stream[b:]] for a, b in cuts])

    def test_byte_by_byte(self, peers: Peers, kind: str) -> None:
        def drip(link: Connection) -> None:
            while True:
                link.drip(reply_to(link.read_request()), 0.0005)

        channel = dial(peers(drip, kind))
        for n in range(3):
            good(channel, n, size=10)

    def test_a_large_frame_in_tiny_pieces(self, peers: Peers) -> None:
        def crumbs(link: Connection) -> None:
            data = reply_to(link.read_request())
            for at in range(0, len(data), 37):
                link.raw(data[at : at + 37])
            echo(link)

        channel = dial(peers(crumbs))
        good(channel, 1, size=200_000)
        good(channel, 2)

    @settings(max_examples=25)
    @given(
        sizes=st.lists(st.integers(0, 3000), min_size=1, max_size=8),
        seed=st.integers(0, 10**6),
    )
    def test_any_chunks(self, sizes: list[int], seed: int) -> None:
        draw = random.Random(seed)

        def chunks(link: Connection) -> None:
            data = b"".join(reply_to(link.read_request()) for _ in sizes)
            while data:
                size = draw.randint(1, draw.choice([3, 50, 5000]))
                link.raw(data[:size])
                data = data[size:]
            echo(link)

        with Peer(chunks) as peer:
            channel = dial(peer)
            asks = [Ask(n, size=size) for n, size in enumerate(sizes)]
            for told, ask in zip(channel.call_many(ECHO, asks, soon()), asks, strict=True):
                assert not isinstance(told, OstiaryError)
                assert is_answer(told, ask)
            good(channel, 99)


class TestWrongAnswers:
    @pytest.mark.parametrize(("name", "frames"), NO_ANSWERS, ids=[n for n, _ in NO_ANSWERS])
    def test_close_the_channel(self, peers: Peers, name: str, frames: list[bytes]) -> None:
        def lie(link: Connection) -> None:
            link.read_request()
            for payload in frames:
                link.frame(payload)
            link.wait_gone()

        channel = dial(peers(lie))
        with pytest.raises(ProtocolError) as caught:
            channel.call(ANY, {}, soon())
        assert caught.value.sent
        assert channel.closed
        with pytest.raises(ConnectionLostError) as again:
            channel.call(ANY, {}, soon())
        assert not again.value.sent

    @pytest.mark.parametrize(("name", "frames"), NO_ANSWERS, ids=[n for n, _ in NO_ANSWERS])
    def test_close_a_pipeline(self, peers: Peers, name: str, frames: list[bytes]) -> None:
        if name in ("wrong id", "two ids"):
            frames = [frame.replace(b"2", b"77") for frame in frames]

        def lie(link: Connection) -> None:
            for _ in range(3):
                link.read_request()
            for payload in frames:
                link.frame(payload)
            link.wait_gone()

        channel = dial(peers(lie))
        with pytest.raises(ProtocolError) as caught:
            channel.call_many(ANY, [{}, {}, {}], soon())
        assert caught.value.sent
        assert channel.closed

    def test_a_duplicate_answer_never_reaches_the_next_call(self, peers: Peers) -> None:
        """Sent with the first, or later, alone: the second call gets its own or an error."""

        def twice(link: Connection) -> None:
            first = link.read_request()
            late = link.number % 2
            link.raw(reply_to(first) * (1 if late else 2))
            request = link.read_request()
            link.raw(reply_to(first) * late + reply_to(request))
            echo(link)

        peer = peers(twice)
        failed = 0
        for _ in range(40):
            channel = dial(peer)
            good(channel, 1)
            try:
                good(channel, 2)
            except TransportError:
                failed += 1
                assert channel.closed
        assert failed == 40

    def test_duplicates_in_a_pipeline(self, peers: Peers) -> None:
        def twice(link: Connection) -> None:
            first = link.read_request()
            link.read_request()
            link.raw(reply_to(first) * 2)
            link.wait_gone()

        channel = dial(peers(twice))
        with pytest.raises(ProtocolError, match="no such call"):
            channel.call_many(ECHO, [Ask(1), Ask(2)], soon())
        assert channel.closed

    def test_a_pipeline_may_be_answered_in_any_order(self, peers: Peers) -> None:
        def shuffled(link: Connection) -> None:
            requests = [link.read_request() for _ in range(50)]
            random.Random(3).shuffle(requests)
            for request in requests:
                if request["params"]["n"] % 7 == 0:
                    link.refuse(request, "unlucky")
                elif request["params"]["n"] % 11 == 0:
                    link.reply(request, "odd")
                else:
                    link.echo(request)
            echo(link)

        channel = dial(peers(shuffled))
        results = channel.call_many(ECHO, [Ask(n) for n in range(50)], soon())
        for n, told in enumerate(results):
            if n % 7 == 0:
                assert isinstance(told, APIError)
            elif n % 11 == 0:
                assert isinstance(told, UnexpectedShape)
            else:
                assert not isinstance(told, OstiaryError)
                assert is_answer(told, Ask(n))
        good(channel)

    def test_surplus_bytes_close_the_channel_and_the_result_stands(self, peers: Peers) -> None:
        for surplus in (b"\0", b"\0\0\0\0", framed(b'{"id":2,"result":1}'), b"x" * 70_000):

            def more(link: Connection, surplus: bytes = surplus) -> None:
                link.raw(reply_to(link.read_request()) + surplus)
                link.wait_gone()

            channel = dial(peers(more))
            good(channel)
            if not channel.closed:  # the surplus came in a later segment
                with pytest.raises(TransportError):
                    channel.call(ECHO, Ask(2), soon())
            assert channel.closed

    def test_an_idle_channel_that_was_spoken_to_is_stale(self, peers: Peers) -> None:
        go = threading.Event()

        def speak(link: Connection) -> None:
            link.echo(link.read_request())
            assert go.wait(20)
            link.frame(b'{"id":2,"result":"gift"}')
            link.wait_gone()

        channel = dial(peers(speak))
        good(channel)
        time.sleep(0.15)
        assert not channel.stale()
        go.set()
        assert_soon(channel.stale)

    def test_an_idle_channel_whose_peer_left_is_stale(self, peers: Peers, kind: str) -> None:
        def leave(link: Connection) -> None:
            link.echo(link.read_request())

        channel = dial(peers(leave, kind))
        good(channel)
        assert_soon(channel.stale)


def assert_soon(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


class TestSizes:
    @pytest.mark.parametrize("announced", [1025, 2**31, 2**32 - 1])
    def test_a_longer_announcement_closes_the_channel(self, peers: Peers, announced: int) -> None:
        def announce(link: Connection) -> None:
            link.read_request()
            link.raw(struct.pack(">I", announced) + b"abc")
            link.wait_gone()

        channel = dial(peers(announce), limits=Limits(frame_accepted=1024))
        with pytest.raises(SizeLimitError, match=str(announced)) as caught:
            channel.call(ANY, {}, soon())
        assert caught.value.sent
        assert channel.closed

    def test_the_limit_itself_is_accepted(self, peers: Peers) -> None:
        payload = b'{"id":1,"result":"' + b"x" * 1000 + b'"}'

        def exact(link: Connection) -> None:
            link.read_request()
            link.frame(payload)
            link.wait_gone()

        channel = dial(peers(exact), limits=Limits(frame_accepted=len(payload)))
        assert channel.call(ANY, {}, soon()) == "x" * 1000

    def test_an_oversize_request_is_refused_before_anything_is_sent(self, peers: Peers) -> None:
        peer = peers()
        channel = dial(peer, limits=Limits(frame_sent=1000))
        for _ in range(3):
            with pytest.raises(InvalidArgumentError, match="limit is 1000"):
                channel.call(ECHO, Ask(1, "x" * 1000), soon())
            with pytest.raises(InvalidArgumentError, match="limit is 1000"):
                channel.call_many(ECHO, [Ask(1), Ask(2), Ask(3, "x" * 1000)], soon())
            with pytest.raises(InvalidArgumentError, match="nothing was sent"):
                channel.call(ANY, {"a": object()}, soon())
        good(channel, 5)
        assert [request["params"]["n"] for request in peer.requests] == [5]

    def test_announcing_costs_no_memory(self) -> None:
        if not sys.platform.startswith("linux"):
            pytest.skip("peak memory is read from /proc")
        if os.environ.get("OSTIARY_SANITIZE"):
            pytest.skip("a sanitizer's own memory would count")
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(MEMORY)],
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).resolve().parents[2],
        )
        assert int(done.stdout) < 4 * 1024 * 1024


MEMORY = """
    import asyncio, struct
    from ostiary.errors import SizeLimitError, DeadlineError
    from ostiary.config import Limits
    from tests.transport.calls import ANY, adial, dial, soon
    from tests.transport.peer import Peer, Gone
    def peak():
        for line in open("/proc/self/status"):
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
    size = 2**32 - 1
    def announce(link):
        link.read_request()
        link.raw(struct.pack(">I", size) + b"abc")
        link.stall()
    limits = Limits(frame_accepted=2**24)
    wide = Limits(frame_accepted=2**32 - 1)
    def one(peer, limits, error, wait):
        try:
            dial(peer, limits=limits).call(ANY, {}, soon(wait))
        except error:
            return
        raise AssertionError
    async def two(peer, limits, error, wait):
        channel = await adial(peer, limits=limits)
        try:
            await channel.call(ANY, {}, soon(wait))
        except error:
            channel.close()
            return
        raise AssertionError
    async def many(peer, limits, error, wait):
        await asyncio.gather(*(two(peer, limits, error, wait) for _ in range(20)))
    with Peer(announce) as peer:
        one(peer, limits, SizeLimitError, 20)
        asyncio.run(two(peer, limits, SizeLimitError, 20))
        before = peak()
        for _ in range(10):
            one(peer, limits, SizeLimitError, 20)
            one(peer, wide, DeadlineError, 0.02)
        asyncio.run(many(peer, limits, SizeLimitError, 20))
        asyncio.run(many(peer, wide, DeadlineError, 0.05))
        print(peak() - before)
"""


class TestDeadlines:
    def test_silence(self, peers: Peers, kind: str) -> None:
        def silent(link: Connection) -> None:
            link.read_request()
            link.stall()

        channel = dial(peers(silent, kind))
        began = time.monotonic()
        with pytest.raises(DeadlineError) as caught:
            channel.call(ECHO, Ask(1), soon(0.2))
        assert 0.2 <= time.monotonic() - began < 10
        assert caught.value.sent
        assert channel.closed

    def test_silence_in_a_pipeline(self, peers: Peers) -> None:
        def half(link: Connection) -> None:
            link.echo(link.read_request())
            link.stall()

        channel = dial(peers(half))
        with pytest.raises(DeadlineError) as caught:
            channel.call_many(ECHO, [Ask(1), Ask(2)], soon(0.2))
        assert caught.value.sent
        assert channel.closed

    @pytest.mark.parametrize(
        ("kind", "timeout", "pause"),
        [("unix", 1.0, 0.0005), ("unix", 1.0, 0.05), ("tcp", 0.3, 0.0005), ("tls", 0.3, 0.0005)],
    )
    def test_dripping_does_not_extend_it(
        self, peers: Peers, kind: str, timeout: float, pause: float
    ) -> None:
        def drip(link: Connection) -> None:
            link.read_request()
            link.drip(struct.pack(">I", 1_000_000) + b" " * 1_000_000, pause)

        channel = dial(peers(drip, kind))
        began = time.monotonic()
        with pytest.raises(DeadlineError) as caught:
            channel.call(ECHO, Ask(1), soon(timeout))
        assert timeout <= time.monotonic() - began < 10
        assert caught.value.sent
        assert channel.closed

    def test_flooding_does_not_extend_it(self) -> None:
        """A peer that always has one more byte, in a process that needs no GIL of ours."""
        with spawned("flood") as (path, _):
            channel = blocking.connect(UnixAddress(path), deadline=soon(), limits=Limits())
            began = time.monotonic()
            with pytest.raises(DeadlineError):
                channel.call(ECHO, Ask(1), soon(0.5))
            assert time.monotonic() - began < 10
            assert channel.closed

    @pytest.mark.parametrize("many", [False, True])
    def test_a_peer_that_never_reads(self, peers: Peers, kind: str, many: bool) -> None:
        channel = dial(peers(Connection.stall, kind, receive_buffer=4096))
        # Loopback may swallow megabytes before it says that it is full.
        asks = [Ask(n, "x" * 4_000_000) for n in range(6)]
        began = time.monotonic()
        with pytest.raises(DeadlineError) as caught:
            if many:
                channel.call_many(ECHO, asks, soon(0.5))
            for ask in asks:
                channel.call(ECHO, ask, soon(0.5))
        assert time.monotonic() - began < 10
        assert caught.value.sent
        assert channel.closed

    def test_one_that_has_passed(self, peers: Peers) -> None:
        """It may send or not; it ends at once, with the truth about `sent`."""

        def silent(link: Connection) -> None:
            link.read_request()
            link.stall()

        channel = dial(peers(silent))
        with pytest.raises(DeadlineError) as caught:
            channel.call(ECHO, Ask(1), soon(-1))
        assert caught.value.sent or not channel.closed

    def test_connecting_in_the_past(self, peers: Peers, kind: str) -> None:
        peer = peers(kind=kind)
        failure: DeadlineError | None = None
        try:
            dial(peer, deadline=soon(-1))  # a Unix socket connects at once
        except DeadlineError as error:
            failure = error
        assert failure is None or not failure.sent

    def test_seconds_left(self) -> None:
        assert seconds_left(FOREVER) == FOREVER
        assert 0 < seconds_left(soon(5)) <= 5
        with pytest.raises(DeadlineError):
            seconds_left(soon(-1))


class TestEndings:
    def test_close_before_the_request(self, peers: Peers, kind: str) -> None:
        gone = threading.Event()

        def leave(link: Connection) -> None:
            link.close()
            gone.set()

        channel = dial(peers(leave, kind))
        assert gone.wait(20)
        with pytest.raises(ConnectionLostError):
            channel.call(ECHO, Ask(1), soon())
        assert channel.closed

    def test_a_peer_known_to_be_gone_was_sent_nothing(self, peers: Peers) -> None:
        """On a Unix socket the kernel refuses the first byte: `sent` may not claim it."""
        gone = threading.Event()

        def leave(link: Connection) -> None:
            link.close()
            gone.set()

        channel = dial(peers(leave))
        assert gone.wait(20)
        with pytest.raises(ConnectionLostError) as caught:
            channel.call(ONCE, Ask(1), soon())
        assert not caught.value.sent

    @pytest.mark.parametrize("end", ["close", "reset", "half_close"])
    def test_after_the_request(self, peers: Peers, kind: str, end: str) -> None:
        def leave(link: Connection) -> None:
            link.read_request()
            getattr(link, end)()

        channel = dial(peers(leave, kind))
        with pytest.raises(ConnectionLostError) as caught:
            channel.call(ECHO, Ask(1), soon())
        assert caught.value.sent
        assert channel.closed

    @pytest.mark.parametrize("end", ["close", "reset", "half_close"])
    @pytest.mark.parametrize("kept", [1, 3, 4, 5, 20])
    def test_within_the_reply(self, peers: Peers, kind: str, end: str, kept: int) -> None:
        def leave(link: Connection) -> None:
            link.raw(reply_to(link.read_request())[:kept])
            getattr(link, end)()

        channel = dial(peers(leave, kind))
        with pytest.raises(ConnectionLostError) as caught:
            channel.call(ECHO, Ask(1), soon())
        assert caught.value.sent
        assert channel.closed

    def test_within_a_large_request(self, peers: Peers, kind: str) -> None:
        def leave(link: Connection) -> None:
            link.read_exactly(100)
            link.reset()

        peer = peers(leave, kind)
        for _ in range(5):
            channel = dial(peer)
            with pytest.raises(ConnectionLostError) as caught:
                channel.call(ONCE, Ask(1, "x" * 4_000_000), soon())
            assert caught.value.sent
            assert channel.closed

    def test_right_after_the_reply(self, peers: Peers, kind: str) -> None:
        """The reply counts; the next call finds the connection gone."""

        def leave(link: Connection) -> None:
            link.echo(link.read_request())
            link.close()

        peer = peers(leave, kind)
        for _ in range(10):
            channel = dial(peer)
            good(channel)
            with pytest.raises(ConnectionLostError):
                channel.call(ECHO, Ask(2), soon())
            assert channel.closed

    def test_within_a_pipeline(self, peers: Peers, kind: str) -> None:
        def leave(link: Connection) -> None:
            for _ in range(3):
                link.echo(link.read_request())
            link.reset()

        channel = dial(peers(leave, kind))
        with pytest.raises(ConnectionLostError) as caught:
            channel.call_many(ECHO, [Ask(n) for n in range(6)], soon())
        assert caught.value.sent
        assert channel.closed

    def test_the_server_is_killed_in_mid_call(self) -> None:
        with spawned("hold") as (path, process):
            channel = blocking.connect(UnixAddress(path), deadline=soon(), limits=Limits())
            good(channel)
            held: Method[object] = Method("hold", object)

            def kill() -> None:
                assert process.stdout is not None
                assert process.stdout.readline() == b"held\n"
                process.send_signal(signal.SIGKILL)

            killer = threading.Thread(target=kill)
            killer.start()
            with pytest.raises(ConnectionLostError) as caught:
                channel.call(held, Ask(1), soon())
            killer.join(20)
            assert caught.value.sent
            assert channel.closed
            process.wait()
            with pytest.raises(ConnectError, match="nothing listens on it; start the server"):
                blocking.connect(UnixAddress(path), deadline=soon(), limits=Limits())

    def test_closed_by_another_thread(self, peers: Peers, kind: str) -> None:
        asked = threading.Event()

        def silent(link: Connection) -> None:
            link.read_request()
            asked.set()
            link.wait_gone()

        channel = dial(peers(silent, kind))

        def close() -> None:
            assert asked.wait(20)
            channel.close()

        closer = threading.Thread(target=close)
        closer.start()
        with pytest.raises(ConnectionLostError) as caught:
            channel.call(ECHO, Ask(1), soon())
        closer.join(20)
        assert caught.value.sent
        assert channel.closed

    def test_a_pipeline_larger_than_every_buffer(self, peers: Peers, kind: str) -> None:
        """Requests and replies of megabytes, to a peer that begins to read late."""

        def late(link: Connection) -> None:
            link.stall(0.2)
            echo(link)

        channel = dial(peers(late, kind, receive_buffer=4096))
        asks = [Ask(n, "x" * 3_900_000, 700_000) for n in range(4)]
        for told, ask in zip(channel.call_many(ECHO, asks, soon(15)), asks, strict=True):
            assert not isinstance(told, OstiaryError)
            assert is_answer(told, ask)
        good(channel)


@contextmanager
def alarms(handler: Any, interval: float) -> Iterator[None]:
    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, interval, interval)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Rung(Exception):
    pass


# The suite's own timeout uses SIGALRM too, unless told otherwise.
@pytest.mark.timeout(60, method="thread")
class TestSignals:
    def test_interruptions_change_nothing(self, peers: Peers, kind: str) -> None:
        def slow(link: Connection) -> None:
            while True:
                request = link.read_request()
                link.stall(0.002)
                link.drip(reply_to(request), 0.0001) if request["params"]["n"] % 9 == 0 else (
                    link.echo(request)
                )

        rung: list[int] = []
        channel = dial(peers(slow, kind))
        with alarms(lambda *_: rung.append(1), 0.0005):
            for n in range(60):
                good(channel, n)
            good(channel, 100, size=500_000, pad="y" * 2_000_000)
        assert len(rung) > 20

    def test_interruptions_while_connecting(self, peers: Peers, kind: str) -> None:
        peer = peers(kind=kind)
        with alarms(lambda *_: None, 0.0005):
            for n in range(30):
                channel = dial(peer)
                good(channel, n)
                channel.close()

    def test_a_deadline_is_met_under_interruptions(self, peers: Peers) -> None:
        def silent(link: Connection) -> None:
            link.read_request()
            link.stall()

        channel = dial(peers(silent))
        began = time.monotonic()
        with alarms(lambda *_: None, 0.001), pytest.raises(DeadlineError):
            channel.call(ECHO, Ask(1), soon(0.3))
        assert 0.3 <= time.monotonic() - began < 10

    @pytest.mark.parametrize("where", ["silent", "partial", "unread", "many"])
    def test_a_handler_that_raises_ends_the_call(self, peers: Peers, where: str) -> None:
        def handler(link: Connection) -> None:
            if where == "unread":
                link.stall()
            request = link.read_request()
            if where == "partial":
                link.raw(reply_to(request)[:20])
            link.stall()

        def ring(*_: object) -> None:
            raise Rung

        channel = dial(peers(handler))
        with pytest.raises(Rung), alarms(ring, 0.1):
            if where == "many":
                channel.call_many(ECHO, [Ask(1), Ask(2)], soon())
            channel.call(ECHO, Ask(1, "x" * (4_000_000 if where == "unread" else 1)), soon())
        assert channel.closed
        with pytest.raises(ConnectionLostError):
            channel.call(ECHO, Ask(2), soon())

    def test_a_handler_that_raises_while_connecting_leaks_nothing(
        self, no_leaked_descriptors: None
    ) -> None:
        def ring(*_: object) -> None:
            raise Rung

        with Peer(accepting=False, backlog=0) as peer:
            held = fill(peer)
            with pytest.raises(Rung), alarms(ring, 0.1):
                dial(peer)
            for sock in held:
                sock.close()


def fill(peer: Peer) -> list[socket.socket]:
    """Fill the queue of a listener that accepts nothing."""
    held = []
    while True:
        sock = socket.socket(socket.AF_UNIX)
        sock.setblocking(False)
        held.append(sock)
        if sock.connect_ex(peer.where) == errno.EAGAIN:
            return held


class TestConnecting:
    def test_each_failure_says_what_to_do(self, tmp_path: Path) -> None:
        def text(path: Path | str) -> str:
            with pytest.raises(ConnectError) as caught:
                blocking.connect(UnixAddress(str(path)), deadline=soon(), limits=Limits())
            assert not caught.value.sent
            assert str(path) in str(caught.value)
            return str(caught.value)

        with socket.socket(socket.AF_UNIX) as dead:
            where = "/tmp/" + f"ostiary-dead-{os.getpid()}"
            dead.bind(where)
            try:
                assert "nothing listens on it; start the server" in text(where)
            finally:
                os.unlink(where)
        assert "no such socket; start the server" in text(tmp_path / "none")
        (tmp_path / "file").write_text("")
        assert "start the server" in text(tmp_path / "file")
        assert "Not a directory" in text(tmp_path / "file" / "s")
        assert "too long" in text("/tmp/" + "x" * 200)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = TcpAddress("127.0.0.1", free.getsockname()[1])
            with pytest.raises(ConnectError, match="nothing listens there; start the server"):
                blocking.connect(address, deadline=soon(), limits=Limits())

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may open everything")
    def test_a_socket_of_another_mode(self, peers: Peers) -> None:
        peer = peers()
        os.chmod(peer.where, 0)
        with pytest.raises(ConnectError, match="look at the owner and mode"):
            dial(peer)

    @pytest.mark.parametrize("tls", [False, True])
    @pytest.mark.parametrize(
        "host", ["a..b", "x" * 64 + ".example", ".localhost", "no-such-host.invalid", "-", "a.b."]
    )
    def test_names_that_are_none(self, host: str, tls: bool) -> None:
        with pytest.raises((ConnectError, InvalidArgumentError, DeadlineError)):
            blocking.connect(TcpAddress(host, 9, tls), deadline=soon(5), limits=Limits())

    def test_the_second_address_is_tried(
        self, peers: Peers, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The first refuses; or it never answers, and may take only its share of the time."""
        peer = peers(kind="tcp")
        with socket.socket() as refusing, socket.socket() as silent:
            refusing.bind(("127.0.0.1", 0))
            silent.bind(("127.0.0.1", 0))
            silent.listen(0)
            for first in (refusing, silent):
                held = []
                if first is silent:
                    for _ in range(4):
                        sock = socket.socket()
                        sock.setblocking(False)
                        sock.connect_ex(silent.getsockname())
                        held.append(sock)

                def two(*_: Any, first: socket.socket = first, **__: Any) -> list[Any]:
                    return [
                        (socket.AF_INET, socket.SOCK_STREAM, 0, "", where)
                        for where in (first.getsockname(), peer.where)
                    ]

                with monkeypatch.context() as patch:
                    patch.setattr(socket, "getaddrinfo", two)
                    good(dial(peer, deadline=soon(2)))
                for sock in held:
                    sock.close()

    def test_a_full_queue_is_waited_for(self) -> None:
        with Peer(accepting=False, backlog=0) as peer:
            held = fill(peer)
            began = time.monotonic()
            with pytest.raises(DeadlineError) as caught:
                dial(peer, deadline=soon(0.3))
            assert 0.3 <= time.monotonic() - began < 10
            assert not caught.value.sent
            threading.Timer(0.1, peer._start, (peer._accept,)).start()
            good(dial(peer))
            for sock in held:
                sock.close()

    def test_no_descriptor_left(self, peers: Peers) -> None:
        peer = peers()
        address = peer.address
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        spare = [os.open("/dev/null", os.O_RDONLY)]
        resource.setrlimit(resource.RLIMIT_NOFILE, (spare[0] + 1, hard))
        try:
            while True:
                try:
                    spare.append(os.open("/dev/null", os.O_RDONLY))
                except OSError:
                    break
            with pytest.raises(ConnectError, match="Too many open files"):
                blocking.connect(address, deadline=soon(), limits=Limits())
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for one in spare:
                os.close(one)
        good(dial(peer))

    def test_no_descriptor_leaks(self, peers: Peers, no_leaked_descriptors: None) -> None:
        peer = peers()
        for n in range(300):
            channel = dial(peer)
            if n % 10 == 0:
                good(channel, n)
            channel.close()
        missing = UnixAddress(peer.where + "-none")
        for _ in range(300):
            with pytest.raises(ConnectError):
                blocking.connect(missing, deadline=soon(), limits=Limits())
        for _ in range(100):
            with pytest.raises(ConnectError, match="uid"):
                dial(peer, expected_uid=os.getuid() + 1)
        peer.clients.clear()
        gc.collect()
        peer.stop()

    def test_no_child_program_inherits_it(self, peers: Peers) -> None:
        peer = peers()
        before = set(os.listdir("/dev/fd"))
        dial(peer)
        for name in set(os.listdir("/dev/fd")) - before:
            try:
                assert not os.get_inheritable(int(name))
            except OSError:
                continue


class TestPeerUid:
    def test_the_right_one_is_let_in(self, peers: Peers) -> None:
        good(dial(peers(), expected_uid=os.getuid()))

    def test_another_is_refused_before_anything_is_sent(self, peers: Peers) -> None:
        peer = peers()
        wrong = os.getuid() + 1
        with pytest.raises(ConnectError, match=f"uid {os.getuid()} and uid {wrong}") as caught:
            dial(peer, expected_uid=wrong)
        assert not caught.value.sent
        assert_soon(lambda: len(peer.links) == 1)
        assert peer.requests == []

    def test_it_needs_a_unix_socket(self, peers: Peers) -> None:
        with pytest.raises(InvalidArgumentError, match="needs a Unix socket"):
            dial(peers(kind="tcp"), expected_uid=os.getuid())

    def test_peer_uid_is_the_kernels_word(self) -> None:
        one, two = socket.socketpair()
        with one, two:
            assert peer_uid(one) == os.getuid()


class TestSendOnly:
    def test_is_received_and_closes(self, peers: Peers, kind: str) -> None:
        peer = peers(kind=kind)
        channel = dial(peer)
        good(channel)
        channel.send_only(ECHO, [Ask(n) for n in range(20)])
        assert channel.closed
        assert_soon(lambda: len(peer.requests) == 21)

    def test_never_waits_long(self, peers: Peers) -> None:
        channel = dial(peers(Connection.stall))
        began = time.monotonic()
        with pytest.raises(TransportError):
            channel.send_only(ECHO, [Ask(1, "x" * 4_000_000)])
        assert time.monotonic() - began < 10
        assert channel.closed


def test_a_raw_result_is_the_text_of_the_peer(peers: Peers) -> None:
    raw = dial(peers()).call(RAW, Ask(3), soon())
    assert json.loads(bytes(raw)) == answer({"n": 3})


def test_a_peer_gone_in_its_handler_is_no_failure() -> None:
    """The peer of these tests tells a client that left from a handler that is wrong."""
    with Peer(lambda link: link.read_request()) as peer:
        dial(peer).close()

    def wrong(link: Connection) -> None:
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"), Peer(wrong) as peer:
        channel = dial(peer)
        with pytest.raises(TransportError):
            channel.call(ECHO, Ask(1), soon())
    assert issubclass(Gone, Exception)
