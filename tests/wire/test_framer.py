"""Frames out of a stream: cut anywhere, announced at any length, held in any buffer."""

from __future__ import annotations

import itertools
import struct
import subprocess
import sys
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary._wire.framer import HEADER_SIZE, Framer
from ostiary.errors import InvalidArgumentError, SizeLimitError

FRAMES = [b"", b"a", b"\0\0\0\1", b"bcd", b"", b'{"id":1}', b"\xff" * 9, b""]


def framed(*payloads: bytes) -> bytes:
    return b"".join(struct.pack(">I", len(one)) + one for one in payloads)


def feed_all(framer: Framer, *pieces: bytes) -> list[bytes]:
    return [bytes(frame) for piece in pieces for frame in framer.feed(piece)]


STREAM = framed(*FRAMES)


class TestSplits:
    def test_whole(self) -> None:
        framer = Framer()
        assert feed_all(framer, STREAM) == FRAMES
        assert framer.pending == 0

    def test_every_single_cut(self) -> None:
        for cut in range(len(STREAM) + 1):
            framer = Framer()
            assert feed_all(framer, STREAM[:cut], STREAM[cut:]) == FRAMES, cut
            assert framer.pending == 0

    def test_every_double_cut(self) -> None:
        for one, two in itertools.combinations_with_replacement(range(len(STREAM) + 1), 2):
            framer = Framer()
            got = feed_all(framer, STREAM[:one], STREAM[one:two], STREAM[two:])
            assert got == FRAMES, (one, two)
            assert framer.pending == 0

    def test_byte_at_a_time(self) -> None:
        framer = Framer()
        got = feed_all(framer, *(STREAM[at : at + 1] for at in range(len(STREAM))))
        assert got == FRAMES

    def test_large_frame_byte_at_a_time(self) -> None:
        payload = bytes(range(256)) * 1024
        stream = framed(payload, b"next")
        framer = Framer()
        got: list[bytes] = []
        for at in range(len(stream)):
            got += feed_all(framer, stream[at : at + 1])
            if at + 1 < HEADER_SIZE + len(payload):
                assert framer.pending == at + 1
        assert got == [payload, b"next"]

    def test_pending_counts_what_is_held(self) -> None:
        framer = Framer()
        for size in range(HEADER_SIZE + 3):
            assert framer.pending == size
            assert framer.feed(framed(b"abc")[size : size + 1]) == (
                [b"abc"] if size == HEADER_SIZE + 2 else []
            )
        assert framer.pending == 0

    @given(
        payloads=st.lists(st.binary(max_size=64) | st.binary(min_size=4090, max_size=4100)),
        data=st.data(),
        kind=st.sampled_from([bytes, bytearray, lambda b: memoryview(bytearray(b)), memoryview]),
    )
    def test_any_chunks(self, payloads: list[bytes], data: st.DataObject, kind: type) -> None:
        stream = framed(*payloads)
        cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
        framer = Framer()
        got: list[bytes] = []
        for start, stop in itertools.pairwise([0, *cuts, len(stream)]):
            got += [bytes(frame) for frame in framer.feed(kind(stream[start:stop]))]
        assert got == payloads
        assert framer.pending == 0

    @given(payload=st.binary(max_size=9000))
    def test_wrap_is_the_inverse(self, payload: bytes) -> None:
        assert Framer.wrap(payload) == framed(payload)
        assert feed_all(Framer(), Framer.wrap(payload)) == [payload]


class TestOwnership:
    @pytest.mark.parametrize("size", [1, 100, 4095, 4096, 4097, 70_000])
    @pytest.mark.parametrize("cut", [0, 3, 4, 50])
    def test_mutable_input_may_be_reused_at_once(self, size: int, cut: int) -> None:
        payload = b"\xaa" * size
        stream = bytearray(framed(payload))
        framer = Framer()
        first = bytearray(stream[:cut])
        frames = framer.feed(first)
        first[:] = b"\0" * len(first)
        rest = bytearray(stream[cut:])
        frames += framer.feed(rest)
        rest[:] = b"\0" * len(rest)
        rest.clear()  # BufferError here would mean that an export is still held
        assert [bytes(frame) for frame in frames] == [payload]

    @pytest.mark.parametrize("wrap", [memoryview, lambda data: memoryview(data).toreadonly()])
    def test_a_view_of_a_mutable_buffer_is_copied_too(self, wrap: type) -> None:
        buffer = bytearray(framed(b"\xaa" * 8192))
        view = wrap(buffer)
        (frame,) = Framer().feed(view)
        view.release()
        buffer[:] = b"\0" * len(buffer)
        assert bytes(frame) == b"\xaa" * 8192

    def test_views_survive_the_input_and_the_framer(self) -> None:
        payloads = [bytes([n]) * 5000 for n in range(20)]
        framer = Framer()
        frames = framer.feed(framed(*payloads))
        for _ in range(50):
            framer.feed(framed(b"\xff" * 200_000))
        del framer
        assert [bytes(frame) for frame in frames] == payloads

    def test_views_are_read_only(self) -> None:
        (frame,) = Framer().feed(framed(b"x" * 8192))
        assert memoryview(frame).readonly

    def test_refuses_what_is_no_buffer(self) -> None:
        framer = Framer()
        for wrong in ("text", None, 5, [b"x"]):
            with pytest.raises(TypeError):
                framer.feed(wrong)  # type: ignore[arg-type]
        assert feed_all(framer, STREAM) == FRAMES


class TestLimits:
    def test_the_limit_itself_is_accepted(self) -> None:
        assert feed_all(Framer(max_frame=5), framed(b"12345")) == [b"12345"]

    @pytest.mark.parametrize("announced", [6, 2**31 - 1, 2**31, 2**32 - 1])
    @pytest.mark.parametrize("cut", [0, 1, 2, 3, 4])
    def test_a_longer_announcement_is_refused(self, announced: int, cut: int) -> None:
        stream = struct.pack(">I", announced) + b"abcdefgh"
        framer = Framer(max_frame=5)
        with pytest.raises(SizeLimitError, match=f"{announced} bytes.*limit is 5"):
            feed_all(framer, stream[:cut], stream[cut:])

    @pytest.mark.parametrize("cut", [0, 2, 4])
    def test_and_nothing_is_believed_after_it(self, cut: int) -> None:
        """What follows a refused header is not a frame, whatever it looks like."""
        framer = Framer(max_frame=5)
        stream = struct.pack(">I", 100)
        with pytest.raises(SizeLimitError):
            feed_all(framer, stream[:cut], stream[cut:] + b"x")
        with pytest.raises(SizeLimitError):
            framer.feed(framed(b"fake"))

    @pytest.mark.parametrize("wrong", [0])
    def test_a_limit_of_nothing_is_refused(self, wrong: int) -> None:
        with pytest.raises(InvalidArgumentError):
            Framer(max_frame=wrong)

    def test_announcing_costs_no_memory(self) -> None:
        """0xFFFFFFFF, and the largest accepted length, with only a few bytes behind them."""
        script = """
            import struct, sys
            from ostiary._wire.framer import Framer
            from ostiary.errors import SizeLimitError
            def peak():
                for line in open("/proc/self/status"):
                    if line.startswith("VmHWM"):
                        return int(line.split()[1]) * 1024
            def feed(limit, size):
                framer = Framer(max_frame=limit)
                try:
                    framer.feed(struct.pack(">I", size) + b"abc")
                    framer.feed(b"defg")
                except SizeLimitError:
                    assert size > limit
                else:
                    assert size <= limit
                return framer
            feed(1024, 100), feed(1024, 2000)
            before = peak()
            kept = [feed(2**24, 2**32 - 1) for _ in range(50)]
            kept += [feed(2**32 - 1, 2**32 - 1) for _ in range(50)]
            kept += [feed(2**24, 2**24) for _ in range(50)]
            print(peak() - before)
        """
        if not sys.platform.startswith("linux"):
            pytest.skip("peak memory is read from /proc")
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script)],
            capture_output=True,
            text=True,
            check=True,
        )
        assert int(done.stdout) < 4 * 1024 * 1024

    def test_a_large_frame_takes_no_more_than_twice_what_came(self) -> None:
        """The hold grows with what arrives, and is given back when the frame is whole."""
        framer = Framer(max_frame=2**32 - 1)
        framer.feed(struct.pack(">I", 3_000_000))
        for at in range(0, 3_000_000, 65_536):
            got = framer.feed(b"x" * min(65_536, 3_000_000 - at))
        assert [len(frame) for frame in got] == [3_000_000]
        assert framer.pending == 0
