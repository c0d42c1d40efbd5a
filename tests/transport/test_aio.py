"""The asyncio channel against peers that do everything wrong, on both event loops.

Laws under test: a reply settles the call whose id it carries or nothing; a call that was
cancelled or timed out leaves the channel good and its late reply reaches nobody; an answer
to no call closes the channel; nothing waits for ever.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import random
import resource
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from ostiary._io import aio
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
from tests.conftest import Run
from tests.transport.calls import (
    ANY,
    ECHO,
    FOREVER,
    NO_ANSWERS,
    ONCE,
    Ask,
    Told,
    adial,
    agood,
    is_answer,
    soon,
    until,
)
from tests.transport.peer import Connection, Peer, answer, echo, framed, spawned
from tests.transport.test_blocking import fill

Peers = Callable[..., Peer]
GRANT: Method[Told] = Method("grant", Told, grants=True, repeatable=True)
SWALLOW: Method[object] = Method("swallow", object)


def reply_to(request: dict[str, Any]) -> bytes:
    return framed(json.dumps({"id": request["id"], "result": answer(request["params"])}))


class TestCalls:
    def test_each_kind_of_connection(self, run: Run, peers: Peers, any_kind: str) -> None:
        peer = peers(kind=any_kind)

        async def main() -> None:
            channel = await adial(peer)
            for n, size in enumerate([0, 1, 900, 1100, 16_000, 70_000, 300_000]):
                await agood(channel, n, size=size, pad="y" * size)
            await asyncio.gather(*(agood(channel, n, size=n * 10) for n in range(300)))
            results = await channel.call_many(ECHO, [Ask(n, size=n) for n in range(300)], soon())
            for n, told in enumerate(results):
                assert not isinstance(told, OstiaryError)
                assert is_answer(told, Ask(n, size=n))
            assert channel.pending == 0
            channel.close()
            channel.close()
            assert channel.closed
            with pytest.raises(ConnectionLostError):
                channel.call(ECHO, Ask(1), soon())

        run(main())

    def test_in_debug_mode(self, run: Run, peers: Peers) -> None:
        peer = peers()

        async def main() -> None:
            channel = await adial(peer)
            await asyncio.gather(*(agood(channel, n) for n in range(50)))
            channel.close()

        run(main(), debug=True)

    def test_large_both_ways(self, run: Run, peers: Peers, kind: str) -> None:
        def late(link: Connection) -> None:
            link.stall(0.1)
            echo(link)

        peer = peers(late, kind, receive_buffer=4096)

        async def main() -> None:
            channel = await adial(peer)
            await asyncio.gather(
                *(agood(channel, n, size=700_000, pad="z" * 3_500_000) for n in range(4))
            )
            channel.close()

        run(main())

    def test_answers_in_any_order(self, run: Run, peers: Peers) -> None:
        def shuffled(link: Connection) -> None:
            draw = random.Random(3)
            while True:
                requests = [link.read_request() for _ in range(50)]
                draw.shuffle(requests)
                for request in requests:
                    n = request["params"]["n"]
                    if n % 7 == 0:
                        link.refuse(request, f"unlucky {n}")
                    elif n % 11 == 0:
                        link.reply(request, "odd")
                    else:
                        link.echo(request)

        peer = peers(shuffled)

        async def one(channel: aio.AsyncChannel, n: int) -> None:
            if n % 7 == 0:
                with pytest.raises(APIError, match=f"unlucky {n}$"):
                    await channel.call(ECHO, Ask(n), soon())
            elif n % 11 == 0:
                with pytest.raises(UnexpectedShape):
                    await channel.call(ECHO, Ask(n), soon())
            else:
                await agood(channel, n)

        async def main() -> None:
            channel = await adial(peer)
            await asyncio.gather(*(one(channel, n) for n in range(200)))
            assert channel.pending == 0
            channel.close()

        run(main())

    def test_calls_of_one_turn_leave_in_one_piece(self, run: Run, peers: Peers) -> None:
        sizes: list[int] = []

        def measure(link: Connection) -> None:
            sizes.append(len(link.sock.recv(65536, socket.MSG_PEEK)))
            echo(link)

        peer = peers(measure)

        async def main() -> None:
            channel = await adial(peer)
            await asyncio.gather(*(agood(channel, n) for n in range(64)))
            channel.close()

        run(main())
        assert sum(len(json.dumps(r)) for r in peer.requests) > sizes[0] > 64 * 40

    def test_channels_are_made_by_connect(self) -> None:
        with pytest.raises(TypeError):
            aio.AsyncChannel()

    def test_byte_by_byte(self, run: Run, peers: Peers, kind: str) -> None:
        def drip(link: Connection) -> None:
            requests = [link.read_request() for _ in range(3)]
            link.drip(b"".join(reply_to(request) for request in requests), 0.0005)
            echo(link)

        peer = peers(drip, kind)

        async def main() -> None:
            channel = await adial(peer)
            await asyncio.gather(*(agood(channel, n) for n in range(3)))
            await agood(channel, 4)
            channel.close()

        run(main())

    def test_every_cut_of_two_replies(self, run: Run, peers: Peers) -> None:
        def cut(link: Connection) -> None:
            while True:
                one, two = link.read_request(), link.read_request()
                stream = reply_to(two) + reply_to(one)
                at = one["params"]["n"] % len(stream)
                link.raw(stream[:at])
                link.raw(stream[at:])

        peer = peers(cut)

        async def main() -> None:
            channel = await adial(peer)
            for n in range(100, 220):
                await asyncio.gather(agood(channel, n), agood(channel, n))
            channel.close()

        run(main())

    def test_random_chunks(self, run: Run, peers: Peers) -> None:
        draw = random.Random(11)

        def chunks(link: Connection) -> None:
            while True:
                data = b"".join(reply_to(link.read_request()) for _ in range(8))
                while data:
                    size = draw.randint(1, draw.choice([3, 50, 5000]))
                    link.raw(data[:size])
                    data = data[size:]

        peer = peers(chunks)

        async def main() -> None:
            channel = await adial(peer)
            for _ in range(30):
                await asyncio.gather(
                    *(agood(channel, n, size=draw.randint(0, 3000)) for n in range(8))
                )
            channel.close()

        run(main())


class TestWrongAnswers:
    @pytest.mark.parametrize(("name", "frames"), NO_ANSWERS, ids=[n for n, _ in NO_ANSWERS])
    def test_close_the_channel(
        self, run: Run, peers: Peers, name: str, frames: list[bytes]
    ) -> None:
        """Every waiting call ends, each with an error of its own that says it was sent."""
        if name in ("wrong id", "two ids"):
            frames = [frame.replace(b'"id":2', b'"id":77') for frame in frames]

        def lie(link: Connection) -> None:
            for _ in range(3):
                link.read_request()
            for payload in frames:
                link.frame(payload)
            link.wait_gone()

        peer = peers(lie)

        async def main() -> None:
            channel = await adial(peer)
            calls = [channel.call(ANY, {}, soon()) for _ in range(3)]
            results = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 5)
            assert [type(one) for one in results] == [ProtocolError] * 3
            assert all(one.sent for one in results)
            assert len({id(one) for one in results}) == 3
            assert channel.closed
            assert channel.pending == 0
            with pytest.raises(ConnectionLostError) as again:
                channel.call(ANY, {}, soon())
            assert not again.value.sent

        run(main())

    def test_an_answer_to_no_call(self, run: Run, peers: Peers) -> None:
        """Before any call; for an id that was answered; for one not yet given."""

        def speak(link: Connection) -> None:
            if link.number == 0:
                link.frame(b'{"id":1,"result":"gift"}')
            elif link.number == 1:
                link.raw(reply_to(link.read_request()) * 2)
            elif link.number == 2:
                link.read_request()
                link.frame(b'{"id":2,"result":"gift"}')
            elif link.number == 3:
                link.raw(framed(b""))
            link.wait_gone()

        peer = peers(speak)

        async def main() -> None:
            silent = await adial(peer)
            await until(lambda: silent.closed)
            twice = await adial(peer)
            await agood(twice)
            await until(lambda: twice.closed)
            ahead = await adial(peer)
            with pytest.raises(ProtocolError, match="no such call"):
                await ahead.call(ANY, {}, soon())
            empty = await adial(peer)
            await until(lambda: empty.closed)

        run(main())

    @pytest.mark.parametrize("announced", [1025, 2**31, 2**32 - 1])
    def test_a_longer_announcement(self, run: Run, peers: Peers, announced: int) -> None:
        def announce(link: Connection) -> None:
            link.read_request()
            link.raw(struct.pack(">I", announced) + b"abc")
            link.wait_gone()

        peer = peers(announce)

        async def main() -> None:
            channel = await adial(peer, limits=Limits(frame_accepted=1024))
            with pytest.raises(SizeLimitError, match=str(announced)) as caught:
                await channel.call(ANY, {}, soon())
            assert caught.value.sent
            assert channel.closed

        run(main())

    def test_a_fail_that_is_wrong_strands_nobody(self, run: Run, peers: Peers) -> None:
        """What is raised in a callback of the loop reaches no caller by itself."""

        def fail(body: object) -> Exception:
            raise LookupError("a bug of its own")

        broken: Method[object] = Method("broken", object, fail=fail)

        def refuse(link: Connection) -> None:
            requests = [link.read_request() for _ in range(2)]
            link.refuse(requests[0], "no")
            link.echo(requests[1])
            link.wait_gone()

        peer = peers(refuse)

        async def main() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda *_: None)
            channel = await adial(peer)
            one = channel.call(broken, {"n": 1}, soon())
            two = channel.call(ANY, {"n": 2}, soon())
            await asyncio.wait_for(asyncio.wait([one, two]), 5)
            assert isinstance(one.exception(), Exception)
            two.exception()
            channel.close()

        run(main())


class TestCancelling:
    def test_a_late_answer_reaches_nobody(self, run: Run, peers: Peers) -> None:
        def hold(link: Connection) -> None:
            held = [link.read_request() for _ in range(10)]
            while True:
                request = link.read_request()
                link.echo(request)
                if held:
                    link.echo(held.pop())

        peer = peers(hold)

        async def main() -> None:
            channel = await adial(peer)
            calls = [channel.call(ECHO, Ask(n), soon()) for n in range(10)]
            await asyncio.sleep(0)
            for call in calls:
                call.cancel()
            assert channel.pending == 10
            for n in range(100, 110):
                await agood(channel, n)
            await until(lambda: channel.pending == 0)
            assert not channel.closed
            await agood(channel, 200)
            channel.close()

        run(main())

    def test_a_late_answer_may_be_a_refusal_or_odd(self, run: Run, peers: Peers) -> None:
        def hold(link: Connection) -> None:
            one, two = link.read_request(), link.read_request()
            link.refuse(one, "no")
            link.reply(two, "odd")
            echo(link)

        peer = peers(hold)

        async def main() -> None:
            channel = await adial(peer)
            calls = [channel.call(GRANT, Ask(n), soon()) for n in range(2)]
            await asyncio.sleep(0)
            for call in calls:
                call.cancel()
            await agood(channel)
            assert channel.pending == 0
            channel.close()

        run(main())

    def test_before_it_was_sent(self, run: Run, peers: Peers) -> None:
        peer = peers()

        async def main() -> None:
            channel = await adial(peer)
            call = channel.call(ECHO, Ask(1), soon())
            call.cancel()
            await agood(channel, 2)
            assert channel.pending == 0
            channel.close()

        run(main())

    @pytest.mark.parametrize("many", [False, True])
    def test_at_every_step(self, run: Run, peers: Peers, many: bool) -> None:
        """Stepped n turns of the loop, then cancelled; the next call on the channel is good."""
        peer = peers()

        async def work(channel: aio.AsyncChannel) -> None:
            if many:
                await channel.call_many(ECHO, [Ask(n) for n in range(3)], soon())
            else:
                await channel.call(ECHO, Ask(1), soon())

        async def main() -> None:
            channel = await adial(peer)
            await at_every_step(lambda: work(channel), lambda n: agood(channel, n))
            await until(lambda: channel.pending == 0)
            assert not channel.closed
            channel.close()

        run(main())

    def test_connecting_at_every_step(
        self, run: Run, kind: str, request: pytest.FixtureRequest
    ) -> None:
        make: Peers = request.getfixturevalue("peers")
        peer = make(kind=kind)

        async def main() -> None:
            async def work() -> None:
                (await adial(peer)).close()

            async def after(n: int) -> None:
                channel = await adial(peer)
                await agood(channel, n)
                channel.close()

            await at_every_step(work, after)
            before = len(os.listdir("/dev/fd"))
            for _ in range(20):
                task = asyncio.ensure_future(work())
                await asyncio.sleep(0)
                task.cancel()
                await asyncio.wait([task])
            gc.collect()
            # The peer's own descriptors close when its threads notice.
            await until(lambda: len(os.listdir("/dev/fd")) <= before)

        run(main())

    def test_a_grant_reaches_its_caller_or_is_handed_back(self, run: Run, peers: Peers) -> None:
        peer = peers()

        async def main() -> None:
            channel = await adial(peer)
            back: list[int] = []
            channel.on_orphan = lambda one, told: back.append(told.n)
            taken: list[int] = []
            count = 0

            async def work(n: int) -> None:
                taken.append((await channel.obtain(GRANT, Ask(n), soon())).n)

            for steps in range(12):
                for spin in range(8):
                    task = asyncio.ensure_future(work(count))
                    count += 1
                    for _ in range(steps):
                        await asyncio.sleep(0)
                    # Let the answer arrive, or half of it, without letting the task run on.
                    time.sleep(0.0002 * spin)
                    task.cancel()
                    await asyncio.wait([task])
            await until(lambda: channel.pending == 0)
            await asyncio.sleep(0.01)
            granted = sorted(request["params"]["n"] for request in peer.requests)
            assert sorted(taken + back) == granted
            assert back
            channel.close()

        run(main())

    def test_grants_of_a_cancelled_pipeline_are_handed_back(self, run: Run, peers: Peers) -> None:
        def two_of_three(link: Connection) -> None:
            requests = [link.read_request() for _ in range(3)]
            link.echo(requests[0])
            link.echo(requests[1])
            link.echo(link.read_request())
            link.echo(requests[2])
            echo(link)

        peer = peers(two_of_three)

        async def main() -> None:
            channel = await adial(peer)
            back: list[int] = []
            channel.on_orphan = lambda one, told: back.append(told.n)
            task = asyncio.ensure_future(
                channel.call_many(GRANT, [Ask(n) for n in range(3)], soon())
            )
            await until(lambda: channel.pending == 1)
            task.cancel()
            await asyncio.wait([task])
            await agood(channel, 9)
            await until(lambda: len(back) == 3)
            assert sorted(back) == [0, 1, 2]
            channel.close()

        run(main())

    def test_an_on_orphan_that_raises_hurts_nobody(self, run: Run, peers: Peers) -> None:
        def both(link: Connection) -> None:
            link.raw(b"".join([reply_to(link.read_request()), reply_to(link.read_request())]))
            echo(link)

        peer = peers(both)

        async def main() -> None:
            seen: list[Any] = []
            asyncio.get_running_loop().set_exception_handler(lambda _, what: seen.append(what))
            channel = await adial(peer)

            def orphan(*_: object) -> None:
                raise LookupError("mine")

            channel.on_orphan = orphan
            lost = channel.call(GRANT, Ask(1), soon())
            kept = channel.call(ECHO, Ask(2), soon())
            await asyncio.sleep(0)
            lost.cancel()
            assert is_answer(await asyncio.wait_for(kept, 5), Ask(2))
            await agood(channel, 3)
            assert seen
            channel.close()

        run(main())


async def at_every_step(
    work: Callable[[], Any], after: Callable[[int], Any], limit: int = 500
) -> None:
    for steps in range(limit):
        task = asyncio.ensure_future(work())
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        await after(steps)
        if not task.cancelled():
            task.result()
            assert steps >= 1
            return
    raise AssertionError("it never came to its end")


class TestDeadlines:
    def test_silence(self, run: Run, peers: Peers, kind: str) -> None:
        def silent(link: Connection) -> None:
            link.read_request()
            echo(link)

        peer = peers(silent, kind)

        async def main() -> None:
            channel = await adial(peer)
            began = time.monotonic()
            with pytest.raises(DeadlineError) as caught:
                await channel.call(ECHO, Ask(1), soon(0.1))
            assert 0.1 <= time.monotonic() - began < 10
            assert caught.value.sent
            # The channel lives on; the id stays reserved for the late answer.
            await agood(channel, 2)
            assert channel.pending == 1
            channel.close()

        run(main())

    @pytest.mark.parametrize(("kind", "timeout"), [("unix", 1.0), ("tcp", 0.3), ("tls", 0.3)])
    def test_dripping_does_not_extend_it(
        self, run: Run, peers: Peers, kind: str, timeout: float
    ) -> None:
        def drip(link: Connection) -> None:
            link.read_request()
            link.drip(struct.pack(">I", 1_000_000) + b" " * 1_000_000, 0.0005)

        peer = peers(drip, kind)

        async def main() -> None:
            channel = await adial(peer)
            began = time.monotonic()
            with pytest.raises(DeadlineError) as caught:
                await channel.call(ECHO, Ask(1), soon(timeout))
            assert timeout <= time.monotonic() - began < 10
            assert caught.value.sent
            channel.close()

        run(main())

    def test_flooding_does_not_extend_it(self, run: Run) -> None:
        async def main() -> None:
            with spawned("flood") as (path, _):
                channel = await aio.connect(UnixAddress(path), deadline=soon(), limits=Limits())
                began = time.monotonic()
                with pytest.raises(DeadlineError):
                    await channel.call(ECHO, Ask(1), soon(0.3))
                assert time.monotonic() - began < 10
                channel.close()

        run(main())

    def test_a_peer_that_never_reads(self, run: Run, peers: Peers, kind: str) -> None:
        """Each call that has not begun to leave says so."""
        peer = peers(Connection.stall, kind, receive_buffer=4096)

        async def main() -> None:
            channel = await adial(peer)
            calls = [channel.call(ECHO, Ask(n, "x" * 4_000_000), soon(1.5)) for n in range(8)]
            results = await asyncio.gather(*calls, return_exceptions=True)
            assert [type(one) for one in results] == [DeadlineError] * 8
            assert results[0].sent
            if kind != "tls":  # there, what was encrypted counts as sent
                assert not results[-1].sent
            sent = [one.sent for one in results]
            assert sent == sorted(sent, reverse=True)
            channel.close()

        run(main())

    def test_many_at_their_own_times(self, run: Run, peers: Peers) -> None:
        peer = peers(Connection.stall)

        async def main() -> None:
            channel = await adial(peer)
            began = time.monotonic()
            waits = [0.3, 0.05, 0.15, 0.05, 0.2, 0.001]
            ended: list[float] = []

            async def one(seconds: float) -> None:
                with pytest.raises(DeadlineError):
                    await channel.call(ECHO, Ask(1), soon(seconds))
                assert time.monotonic() - began >= seconds
                ended.append(seconds)

            forever = channel.call(ECHO, Ask(1), FOREVER)
            await asyncio.gather(*(one(seconds) for seconds in waits))
            # In which order, a loop that was held up past two of them is free to choose.
            assert sorted(ended) == sorted(waits)
            assert not forever.done()
            forever.cancel()
            channel.close()

        run(main())

    @pytest.mark.parametrize("kind", ["unix", "tls"])
    def test_what_piles_up_is_bounded(self, run: Run, peers: Peers, kind: str) -> None:
        peer = peers(Connection.stall, kind)

        async def main() -> None:
            channel = await adial(peer)
            calls = []
            with pytest.raises(TransportError, match="not keeping up"):
                for n in range(40):
                    calls.append(channel.call(ECHO, Ask(n, "x" * 4_000_000), soon()))
                    await asyncio.sleep(0)
            assert len(calls) <= 20
            for call in calls:
                call.cancel()
            channel.close()

        run(main())

    def test_calls_that_nobody_answers_close_the_channel_in_the_end(
        self, run: Run, peers: Peers
    ) -> None:
        """Abandoned ids are bounded, and a full table does not refuse calls for ever."""

        def forgetful(link: Connection) -> None:
            while True:
                request = link.read_request()
                link.requests.clear()
                if request["method"] != "swallow":
                    link.echo(request)

        peer = peers(forgetful)

        async def main() -> None:
            channel = await adial(peer)
            with pytest.raises(TransportError) as caught:
                for n in range(70_000):
                    channel.call(SWALLOW, {}, soon()).cancel()
                    if n % 1000 == 0:
                        await asyncio.sleep(0)
            assert not caught.value.sent
            assert channel.closed
            with pytest.raises(ConnectionLostError):
                await channel.call_many(ECHO, [Ask(1), Ask(2)], soon())
            other = await adial(peer)
            await agood(other)
            for _ in range(65_535):
                other.call(SWALLOW, {}, soon()).cancel()
            with pytest.raises(TransportError):
                await other.call_many(ECHO, [Ask(1), Ask(2)], soon())

        run(main())


class TestEndings:
    @pytest.mark.parametrize("end", ["close", "reset", "half_close"])
    @pytest.mark.parametrize("kept", [0, 1, 4, 20])
    def test_within_the_reply(self, run: Run, peers: Peers, kind: str, end: str, kept: int) -> None:
        def leave(link: Connection) -> None:
            requests = [link.read_request() for _ in range(3)]
            link.echo(requests[0])
            link.raw(reply_to(requests[1])[:kept])
            # So that the first reply is read before a reset throws it away.
            link.stall(0.02)
            getattr(link, end)()

        peer = peers(leave, kind)

        async def main() -> None:
            channel = await adial(peer)
            calls = [channel.call(ECHO, Ask(n), soon()) for n in range(3)]
            assert is_answer(await calls[0], Ask(0))
            for call in calls[1:]:
                with pytest.raises(ConnectionLostError) as caught:
                    await call
                assert caught.value.sent
            assert channel.closed
            assert not channel.usable()

        run(main())

    def test_close_before_the_request(self, run: Run, peers: Peers, kind: str) -> None:
        gone = threading.Event()

        def leave(link: Connection) -> None:
            link.close()
            gone.set()

        peer = peers(leave, kind)

        async def main() -> None:
            channel = await adial(peer)
            gone.wait(20)  # the loop does not run: nothing was noticed yet
            call = channel.call(ONCE, Ask(1), soon())
            with pytest.raises(ConnectionLostError) as caught:
                await call
            if kind == "unix":
                assert not caught.value.sent
            assert channel.closed

        run(main())

    def test_within_large_requests(self, run: Run, peers: Peers, kind: str) -> None:
        def leave(link: Connection) -> None:
            link.read_exactly(100)
            link.reset()

        peer = peers(leave, kind)

        async def main() -> None:
            for _ in range(5):
                channel = await adial(peer)
                calls = [channel.call(ONCE, Ask(n, "x" * 4_000_000), soon()) for n in range(3)]
                results = await asyncio.gather(*calls, return_exceptions=True)
                assert [type(one) for one in results] == [ConnectionLostError] * 3
                assert results[0].sent
                assert channel.closed

        run(main())

    def test_sent_is_never_denied(self, run: Run) -> None:
        """A peer in another process reads a little and closes, while we are still sending."""

        async def main() -> None:
            with spawned("gulp") as (path, _):
                for n in range(30):
                    channel = await aio.connect(UnixAddress(path), deadline=soon(), limits=Limits())
                    with pytest.raises(ConnectionLostError) as caught:
                        await channel.call(ONCE, Ask(n, "x" * 1_000_000), soon())
                    assert caught.value.sent

        run(main())

    def test_the_server_is_killed_in_mid_call(self, run: Run) -> None:
        held: Method[object] = Method("hold", object)

        async def main() -> None:
            with spawned("hold") as (path, process):
                channel = await aio.connect(UnixAddress(path), deadline=soon(), limits=Limits())
                await agood(channel)
                calls = [channel.call(held, Ask(n), soon()) for n in range(5)]
                await asyncio.sleep(0)
                assert process.stdout is not None
                assert await asyncio.to_thread(process.stdout.readline) == b"held\n"
                process.send_signal(signal.SIGKILL)
                results = await asyncio.gather(*calls, return_exceptions=True)
                assert [type(one) for one in results] == [ConnectionLostError] * 5
                assert all(one.sent for one in results)
                await asyncio.to_thread(process.wait)
                with pytest.raises(ConnectError, match="start the server"):
                    await aio.connect(UnixAddress(path), deadline=soon(), limits=Limits())

        run(main())

    def test_closing_ends_every_call(self, run: Run, peers: Peers, kind: str) -> None:
        peer = peers(Connection.stall, kind)

        async def main() -> None:
            channel = await adial(peer)
            calls = [channel.call(ECHO, Ask(n), soon()) for n in range(3)]
            await asyncio.sleep(0.02)
            late = channel.call(ECHO, Ask(9), soon())
            channel.close()
            results = await asyncio.gather(*calls, late, return_exceptions=True)
            assert [type(one) for one in results] == [ConnectionLostError] * 4
            # What was queued in this turn leaves first: it may be a lease that goes back.
            assert [one.sent for one in results] == [True, True, True, True]

        run(main())


class TestPipelines:
    def test_all_or_nothing(self, run: Run, peers: Peers) -> None:
        """One request that cannot be sent: none is, and the channel stays good."""
        peer = peers()

        async def main() -> None:
            channel = await adial(peer, limits=Limits(frame_sent=1000))
            for wrong in (Ask(3, "x" * 1000), Ask(3, "\ud800")):
                other = asyncio.ensure_future(agood(channel, 50))
                await asyncio.sleep(0)
                before = channel.pending
                with pytest.raises(InvalidArgumentError):
                    await channel.call_many(GRANT, [Ask(1), Ask(2), wrong], soon())
                assert channel.pending == before
                await other
                await agood(channel, 60)
            assert channel.pending == 0
            assert {request["params"]["n"] for request in peer.requests} == {50, 60}
            channel.close()

        run(main())

    def test_nothing_to_call(self, run: Run, peers: Peers) -> None:
        peer = peers()

        async def main() -> None:
            channel = await adial(peer)
            assert await channel.call_many(ECHO, [], soon()) == []
            await agood(channel)
            channel.close()

        run(main())

    def test_a_deadline_within(self, run: Run, peers: Peers) -> None:
        def half(link: Connection) -> None:
            link.echo(link.read_request())
            link.read_request()
            echo(link)

        peer = peers(half)

        async def main() -> None:
            channel = await adial(peer)
            with pytest.raises(DeadlineError) as caught:
                await channel.call_many(ECHO, [Ask(1), Ask(2)], soon(0.1))
            assert caught.value.sent
            await agood(channel, 3)
            channel.close()

        run(main())


class TestLoops:
    def test_a_second_running_loop_is_refused(self, run: Run, peers: Peers) -> None:
        peer = peers()

        async def main() -> None:
            channel = await adial(peer)
            found: list[BaseException] = []

            async def other() -> None:
                channel.usable()

            def thread() -> None:
                try:
                    asyncio.run(other())
                except BaseException as error:  # noqa: BLE001 - looked at below
                    found.append(error)

            await asyncio.to_thread(thread)
            assert len(found) == 1
            assert isinstance(found[0], ClientStateError)
            await agood(channel)
            channel.close()

        run(main())

    def test_a_loop_that_ended_with_calls_under_way(self, run: Run, peers: Peers) -> None:
        peer = peers(Connection.stall)
        kept: list[aio.AsyncChannel] = []

        async def first() -> None:
            channel = await adial(peer)
            kept.append(channel)
            channel.call(ECHO, Ask(1), soon()).add_done_callback(lambda _: None)
            await asyncio.sleep(0.01)

        run(first())
        channel = kept[0]
        before = len(os.listdir("/dev/fd"))

        async def second() -> None:
            assert not channel.usable()
            assert channel.closed
            with pytest.raises(ConnectionLostError):
                channel.call(ECHO, Ask(1), soon())

        run(second())
        assert len(os.listdir("/dev/fd")) < before
        channel.close()

    def test_closing_after_its_loop(self, run: Run, peers: Peers, kind: str) -> None:
        peer = peers(kind=kind)
        kept: list[aio.AsyncChannel] = []

        async def first() -> None:
            channel = await adial(peer)
            kept.append(channel)
            await agood(channel)

        run(first())
        kept[0].close()
        assert kept[0].closed


class TestConnecting:
    def test_each_failure_says_what_to_do(self, run: Run, tmp_path: Any) -> None:
        async def text(address: UnixAddress | TcpAddress) -> str:
            with pytest.raises(ConnectError) as caught:
                await aio.connect(address, deadline=soon(), limits=Limits())
            assert not caught.value.sent
            return str(caught.value)

        (tmp_path / "file").write_text("")

        async def main() -> None:
            assert "start the server" in await text(UnixAddress(str(tmp_path / "none")))
            assert "start the server" in await text(UnixAddress(str(tmp_path / "file")))
            assert "too long" in await text(UnixAddress("/tmp/" + "x" * 200))
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                where = TcpAddress("127.0.0.1", free.getsockname()[1])
                assert "start the server" in await text(where)

        run(main())

    @pytest.mark.parametrize("tls", [False, True])
    @pytest.mark.parametrize(
        "host", ["a..b", "x" * 64 + ".example", ".localhost", "no-such-host.invalid", "-", "a.b."]
    )
    def test_names_that_are_none(self, run: Run, host: str, tls: bool) -> None:
        async def main() -> None:
            with pytest.raises((ConnectError, InvalidArgumentError, DeadlineError)):
                await aio.connect(TcpAddress(host, 9, tls), deadline=soon(5), limits=Limits())

        run(main())

    def test_the_second_address_is_tried(
        self, peers: Peers, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As for the blocking channel; uvloop resolves names by itself."""
        peer = peers(kind="tcp")
        with socket.socket() as refusing, socket.socket() as silent:
            refusing.bind(("127.0.0.1", 0))
            silent.bind(("127.0.0.1", 0))
            silent.listen(0)
            held = []
            for _ in range(4):
                sock = socket.socket()
                sock.setblocking(False)
                sock.connect_ex(silent.getsockname())
                held.append(sock)

            async def main() -> None:
                for first in (refusing, silent):

                    def two(*_: Any, first: socket.socket = first, **__: Any) -> list[Any]:
                        return [
                            (socket.AF_INET, socket.SOCK_STREAM, 0, "", where)
                            for where in (first.getsockname(), peer.where)
                        ]

                    with monkeypatch.context() as patch:
                        patch.setattr(socket, "getaddrinfo", two)
                        channel = await adial(peer, deadline=soon(2))
                    await agood(channel)
                    channel.close()

            asyncio.run(main())
            for sock in held:
                sock.close()

    def test_a_full_queue_is_waited_for(self, run: Run) -> None:
        async def main() -> None:
            with Peer(accepting=False, backlog=0) as peer:
                held = fill(peer)
                with pytest.raises(DeadlineError) as caught:
                    await adial(peer, deadline=soon(0.2))
                assert not caught.value.sent
                threading.Timer(0.1, peer._start, (peer._accept,)).start()
                channel = await adial(peer)
                await agood(channel)
                channel.close()
                for sock in held:
                    sock.close()

        run(main())

    def test_no_descriptor_left(self, run: Run, peers: Peers) -> None:
        peer = peers()
        address = peer.address

        async def main() -> None:
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
                    await aio.connect(address, deadline=soon(), limits=Limits())
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
                for one in spare:
                    os.close(one)
            channel = await adial(peer)
            await agood(channel)
            channel.close()

        run(main())

    def test_no_descriptor_leaks(self, run: Run, peers: Peers, no_leaked_descriptors: None) -> None:
        peer = peers()

        async def main() -> None:
            for n in range(300):
                channel = await adial(peer)
                if n % 10 == 0:
                    await agood(channel, n)
                channel.close()
            missing = UnixAddress(peer.where + "-none")
            for _ in range(300):
                with pytest.raises(ConnectError):
                    await aio.connect(missing, deadline=soon(), limits=Limits())
            for _ in range(100):
                with pytest.raises(ConnectError, match="uid"):
                    await adial(peer, expected_uid=os.getuid() + 1)

        run(main())
        peer.clients.clear()
        peer.stop()

    def test_peer_uid(self, run: Run, peers: Peers) -> None:
        peer, other = peers(), peers(kind="tcp")

        async def main() -> None:
            channel = await adial(peer, expected_uid=os.getuid())
            await agood(channel)
            channel.close()
            with pytest.raises(ConnectError, match="was expected"):
                await adial(peer, expected_uid=os.getuid() + 1)
            with pytest.raises(InvalidArgumentError, match="needs a Unix socket"):
                await adial(other, expected_uid=os.getuid())
            assert len(peer.requests) == 1

        run(main())

    def test_one_that_never_answers(self, run: Run) -> None:
        async def main() -> None:
            with socket.socket() as silent:
                silent.bind(("127.0.0.1", 0))
                silent.listen(0)
                held = []
                for _ in range(4):
                    sock = socket.socket()
                    sock.setblocking(False)
                    sock.connect_ex(silent.getsockname())
                    held.append(sock)
                address = TcpAddress("127.0.0.1", silent.getsockname()[1])
                with pytest.raises(DeadlineError) as caught:
                    await aio.connect(address, deadline=soon(0.2), limits=Limits())
                assert not caught.value.sent
                for sock in held:
                    sock.close()

        run(main())


def test_send_only_needs_no_running_loop(run: Run, peers: Peers, kind: str) -> None:
    peer = peers(kind=kind)
    kept: list[aio.AsyncChannel] = []

    async def first() -> None:
        channel = await adial(peer)
        kept.append(channel)
        await agood(channel)

    run(first())
    kept[0].send_only(ECHO, [Ask(n) for n in range(20)])
    end = time.monotonic() + 20
    while len(peer.requests) < 21:
        assert time.monotonic() < end
        time.sleep(0.002)
    kept[0].close()
