"""Receive buffers: what a view shows never changes, and no buffer has two owners.

The buffers belong to the channels, so these tests go through real connections.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import json
from typing import Any

import msgspec
import pytest

from ostiary._io import aio, blocking
from ostiary._wire.slab import View, free_slabs
from tests.conftest import Run
from tests.transport.calls import RAW, Ask, adial, agood, dial, good, soon
from tests.transport.peer import Connection, Peer, answer, padding

# Below 1 KiB a payload is a copy; from there it is a view of the receive buffer; 64 KiB is
# the buffer itself, and beyond it the buffer has grown.
SIZES = [0, 10, 900, 1100, 5000, 60_000, 70_000, 300_000]


def expected(n: int, size: int) -> dict[str, Any]:
    return answer({"n": n, "size": size})


class Buffer(ctypes.Structure):
    """Py_buffer, as far as it is needed here."""

    _fields_ = (
        ("buf", ctypes.c_void_p),
        ("obj", ctypes.py_object),
        ("len", ctypes.c_ssize_t),
        ("rest", ctypes.c_char * 128),
    )


def where(exporter: object) -> tuple[int, int]:
    """The address and length of what an object exports; the object has to be kept."""
    buffer = Buffer()
    got = ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(exporter), ctypes.byref(buffer), 0)
    assert got == 0
    found = buffer.buf, buffer.len
    ctypes.pythonapi.PyBuffer_Release(ctypes.byref(buffer))
    return found


class TestViews:
    def test_are_made_by_channels_only(self) -> None:
        with pytest.raises(TypeError):
            View()

    def test_one_made_by_force_is_empty(self) -> None:
        view = View.__new__(View)
        assert len(view) == 0
        assert bytes(view) == b""  # type: ignore[call-overload]


class TestKeptResults:
    """A result that is kept shows its own bytes, whatever the connection does later."""

    def test_raw_across_a_thousand_blocking_calls(self) -> None:
        with Peer() as peer:
            channel = dial(peer)
            kept: list[tuple[int, int, msgspec.Raw]] = []
            for n in range(1000):
                size = SIZES[n % 5]
                raw = channel.call(RAW, Ask(n, size=size), soon())
                if n % 7 == 0 or n < 10:
                    kept.append((n, size, raw))
            for n, size, raw in kept:
                assert json.loads(bytes(raw)) == expected(n, size)
            views = [memoryview(raw) for _, _, raw in kept]
            for n in range(1000, 2000):
                good(channel, n, size=SIZES[n % 5])
            for (n, size, _), view in zip(kept, views, strict=True):
                assert json.loads(bytes(view)) == expected(n, size)
            channel.close()
            del channel
            gc.collect()
            for n, size, raw in kept:
                assert json.loads(bytes(raw)) == expected(n, size)

    @pytest.mark.parametrize("size", SIZES)
    def test_raw_across_a_thousand_async_calls(self, run: Run, size: int) -> None:
        async def main() -> None:
            with Peer() as peer:
                channel = await adial(peer)
                kept: list[tuple[int, msgspec.Raw]] = []
                for start in range(0, 48, 16):
                    futures = [
                        channel.call(RAW, Ask(start + n, size=size), soon()) for n in range(16)
                    ]
                    raws = await asyncio.gather(*futures)
                    kept += [(start + n, raw) for n, raw in enumerate(raws)]
                views = [memoryview(raw) for _, raw in kept]
                for start in range(1000, 2000, 100):
                    await asyncio.gather(*(agood(channel, start + n) for n in range(100)))
                for (n, _), view in zip(kept, views, strict=True):
                    assert json.loads(bytes(view)) == expected(n, size)
                channel.close()
                del channel
                gc.collect()
                for n, raw in kept:
                    assert json.loads(bytes(raw)) == expected(n, size)

        run(main())

    def test_raw_inside_a_struct_and_a_list(self) -> None:
        class Holder(msgspec.Struct):
            pad: msgspec.Raw

        from ostiary._wire.rpc import Method

        method: Method[Holder] = Method("raw", Holder)
        with Peer() as peer:
            channel = dial(peer)
            kept = [channel.call(method, Ask(n, size=2000), soon()) for n in range(50)]
            many = channel.call_many(method, [Ask(n, size=3000) for n in range(50)], soon())
            for n in range(200):
                good(channel, n, size=2500)
            channel.close()
        for n, one in enumerate(kept):
            assert json.loads(bytes(one.pad)) == padding(n, 2000)
        for n, two in enumerate(many):
            assert isinstance(two, Holder)
            assert json.loads(bytes(two.pad)) == padding(n, 3000)

    def test_pipelined_raws_share_a_buffer_and_keep_it(self) -> None:
        """Many views into one buffer, dropped in any order."""
        with Peer() as peer:
            channel = dial(peer)
            many = channel.call_many(RAW, [Ask(n, size=1500) for n in range(100)], soon())
            kept = {n: raw for n, raw in enumerate(many) if n % 3}
            del many
            gc.collect()
            for n in range(300):
                good(channel, n, size=1500)
            for n, raw in kept.items():
                assert isinstance(raw, msgspec.Raw)
                assert json.loads(bytes(raw)) == expected(n, 1500)
            channel.close()


class TestFreeList:
    def test_every_buffer_comes_back(self) -> None:
        with Peer() as peer:
            channel = dial(peer)
            good(channel)
            gc.collect()
            before = free_slabs()
            assert before >= 1
            for size in SIZES[:6]:
                good(channel, size=size)
                assert free_slabs() == before
            good(channel, size=SIZES[-1])  # it grew, and is not kept
            assert free_slabs() == before - 1
            good(channel)
            before = free_slabs()
            raw = channel.call(RAW, Ask(1, size=2000), soon())
            assert free_slabs() == before - 1
            del raw
            channels = [dial(peer) for _ in range(3)]
            for one in channels:
                good(one)
            assert 1 <= free_slabs() <= 16

    def test_an_idle_channel_holds_none(self, run: Run) -> None:
        async def main() -> None:
            with Peer() as peer:
                channels = [await adial(peer) for _ in range(8)]
                before = free_slabs()
                for channel in channels:
                    await agood(channel)
                assert free_slabs() >= max(before, 1)
                for channel in channels:
                    channel.close()

        run(main())

    def test_a_close_from_on_orphan_frees_the_buffer_once(self, run: Run) -> None:
        """on_orphan may close the channel whose frame is being delivered."""
        from ostiary._wire.rpc import Method
        from tests.transport.calls import Told, until

        grant: Method[Told] = Method("grant", Told, grants=True)

        def halves(link: Connection) -> None:
            # Half a reply, so that the channel keeps its buffer; the rest when told to.
            while True:
                request = link.read_request()
                body = json.dumps({"id": request["id"], "result": answer(request["params"])})
                data = len(body).to_bytes(4, "big") + body.encode()
                if request["method"] == "grant":
                    link.raw(data)
                    continue
                link.raw(data[:40])
                link.stall(0.1)
                link.raw(data[40:])

        async def main() -> None:
            with Peer(halves) as peer:
                for _ in range(8):
                    channel = await adial(peer)
                    channel.on_orphan = lambda one, _: one.close()
                    call = channel.call(grant, Ask(1), soon())
                    await asyncio.sleep(0)
                    call.cancel()
                    await until(lambda c=channel: c.closed)
                # A buffer that was freed twice now goes to two channels at once.
                channels = [await adial(peer) for _ in range(8)]
                await asyncio.gather(
                    *(agood(channel, n, size=500) for n, channel in enumerate(channels))
                )
                for channel in channels:
                    channel.close()

        run(main())

    def test_bytes_of_a_call_are_wiped_before_the_next_borrower(self) -> None:
        """What one connection received does not lie in the buffer another one borrows."""
        with Peer() as peer:
            first, second = dial(peer), dial(peer)
            good(first, 424242, size=3000)
            raw = second.call(RAW, Ask(2, size=1100), soon())
            address, size = where(raw)
            assert size > 1100
            assert b"<2>" in ctypes.string_at(address, size)
            beyond = ctypes.string_at(address + size, 2000)
            assert b"424242" not in beyond
            assert b"<4242" not in beyond
            first.close()
            second.close()


class TestCollection:
    def test_a_collection_during_decoding_moves_nothing(self, run: Run) -> None:
        threshold = gc.get_threshold()
        gc.set_threshold(1)
        try:
            with Peer() as peer:
                channel = dial(peer)
                kept = [channel.call(RAW, Ask(n, size=1500), soon()) for n in range(60)]
                channel.close()

            async def main() -> None:
                with Peer() as peer:
                    one = await adial(peer)
                    raws = await asyncio.gather(
                        *(one.call(RAW, Ask(n, size=1500), soon()) for n in range(60))
                    )
                    kept.extend(raws)
                    one.close()

            run(main())
        finally:
            gc.set_threshold(*threshold)
        for n, raw in enumerate(kept):
            assert json.loads(bytes(raw)) == expected(n % 60, 1500)

    def test_dropping_a_channel_frees_its_socket(self, no_leaked_descriptors: None) -> None:
        with Peer() as peer:
            channel: blocking.Channel | aio.AsyncChannel = dial(peer)
            channel.close()
            del channel
            gc.collect()
