"""Event streams: the grammar of WHATWG HTML 9.2.6, cut anywhere, under limits."""

from __future__ import annotations

import base64
import copy
import gc
import itertools
import json
import operator
import os
import pickle
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ostiary._wire import sse
from ostiary._wire.sse import Event, EventDecoder
from ostiary.config import Limits
from ostiary.errors import (
    ClientStateError,
    InvalidArgumentError,
    OstiaryError,
    ProtocolError,
    SizeLimitError,
)

BOM = b"\xef\xbb\xbf"


class Outcome(NamedTuple):
    """All that a stream gave, however it was cut."""

    events: list[Event[Any]]
    last_event_id: str = ""
    retry: int | None = None
    comments: int = 0
    done: bool = False


def feed_all(decoder: EventDecoder[Any], pieces: Iterable[bytes], into: list[Event[Any]]) -> None:
    for piece in pieces:
        decoder.feed(piece, into)


def outcome(pieces: Iterable[bytes], **options: Any) -> Outcome:
    decoder: EventDecoder[Any] = EventDecoder(**options)
    events = [event for piece in pieces for event in decoder.feed(piece)]
    return Outcome(events, decoder.last_event_id, decoder.retry, decoder.comments, decoder.done)


def single_bytes(stream: bytes) -> list[bytes]:
    return [stream[at : at + 1] for at in range(len(stream))]


def cuts(stream: bytes, pairs_up_to: int = 90) -> Iterable[list[bytes]]:
    """Whole, byte by byte, with each single cut, and with each two while the stream is short."""
    yield [stream]
    yield single_bytes(stream)
    for one in range(len(stream) + 1):
        yield [stream[:one], stream[one:]]
    if len(stream) <= pairs_up_to:
        for one, two in itertools.combinations(range(len(stream) + 1), 2):
            yield [stream[:one], stream[one:two], stream[two:]]


def oracle(stream: bytes) -> Outcome:
    """Read the standard's text aloud: decode it all, split it into lines, interpret each."""
    text = stream.decode("utf-8", "replace").removeprefix("\ufeff")
    lines = re.split("\r\n|\r|\n", text)
    lines.pop()  # what follows the last line end is no line: the stream ended in it
    data = name = id_buffer = last_event_id = ""
    retry = event_retry = None
    comments = 0
    events: list[Event[str]] = []
    for line in lines:
        if line == "":
            last_event_id = id_buffer
            if data != "":
                events.append(
                    Event(name or "message", data.removesuffix("\n"), id_buffer, event_retry)
                )
            data = name = ""
            event_retry = None
            continue
        if line.startswith(":"):
            comments += 1
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            name = value
        elif field == "data":
            data += value + "\n"
        elif field == "id":
            if "\0" not in value:
                id_buffer = value
        elif field == "retry" and re.fullmatch("[0-9]+", value):
            retry = event_retry = min(int(value), 2**53 - 1)
    return Outcome(events, last_event_id, retry, comments)


def message(data: str, id: str = "", retry: int | None = None) -> Event[str]:
    return Event("message", data, id, retry)


# Written from the grammar, one question each.
VECTORS: dict[str, tuple[bytes, Outcome]] = {
    "nothing": (b"", Outcome([])),
    "blank lines": (b"\n\r\r\n\n\r", Outcome([])),
    "one event": (b"data: a\n\n", Outcome([message("a")])),
    "cr": (b"data: a\r\rdata: b\r\r", Outcome([message("a"), message("b")])),
    "crlf": (b"data: a\r\n\r\ndata: b\r\n\r\n", Outcome([message("a"), message("b")])),
    "mixed ends": (
        b"data:a\r\n\rdata:b\n\r\ndata:c\r\rdata:d\r\n\ndata:e\n\r",
        Outcome([message(letter) for letter in "abcde"]),
    ),
    "cr then crlf is one line end and a blank line": (
        b"data:a\r\r\ndata:b\n\n",
        Outcome([message("a"), message("b")]),
    ),
    "several blank lines": (b"data: a\n\n\n\ndata: b\n\n", Outcome([message("a"), message("b")])),
    "several data lines": (
        b"data: a\ndata\ndata:\ndata:  b\n\n",
        Outcome([message("a\n\n\n b")]),
    ),
    "two data lines in crlf": (b"data: a\r\ndata: b\r\n\r\n", Outcome([message("a\nb")])),
    "empty data is data": (
        b"data\n\ndata:\n\ndata: \n\ndata\ndata\n\n",
        Outcome([message(""), message(""), message(""), message("\n")]),
    ),
    "one space, and no other space, is taken off": (
        b"data:  a \ndata:\tb\ndata :c\n data:d\n\n",
        Outcome([message(" a \n\tb")]),
    ),
    "colons in the value": (
        b'data: {"a":1}\n\ndata::\n\n',
        Outcome([message('{"a":1}'), message(":")]),
    ),
    "no data, no event": (
        b"event: a\n\nid: 1\n\nretry: 5\n\n: x\n\ndata: b\n\n",
        Outcome([message("b", "1")], "1", 5, 1),
    ),
    "the name does not survive a blank line": (
        b"event: a\n\ndata: b\n\nevent: c\ndata: d\n\ndata: e\n\n",
        Outcome([message("b"), Event("c", "d"), message("e")]),
    ),
    "the last name counts, and an empty one is none": (
        b"event: a\nevent: b\ndata: 1\n\n"
        b"event: a\nevent\ndata: 2\n\nevent: a\nevent: \ndata: 3\n\n",
        Outcome([Event("b", "1"), message("2"), message("3")]),
    ),
    "fields after the data": (
        b"data: a\nid: 1\nevent: b\nretry: 7\n\n",
        Outcome([Event("b", "a", "1", 7)], "1", 7),
    ),
    "names that change, repeat, and only begin alike": (
        b"event:aa\ndata\n\nevent:aa\ndata\n\nevent:ab\ndata\n\nevent:a\ndata\n\nevent:aa\ndata\n\n",
        Outcome([Event(name, "") for name in ("aa", "aa", "ab", "a", "aa")]),
    ),
    "an id stays": (
        b"id: 1\ndata: a\n\ndata: b\n\nid: 2\ndata: c\n\n",
        Outcome([message("a", "1"), message("b", "1"), message("c", "2")], "2"),
    ),
    "an empty id takes it back": (
        b"id: 1\ndata: a\n\nid\ndata: b\n\nid: 3\ndata: c\n\nid:\ndata: d\n\n",
        Outcome([message("a", "1"), message("b"), message("c", "3"), message("d")]),
    ),
    "an id with NUL is ignored": (
        b"id: 1\nid: \x00\ndata: a\n\nid: 2\x00\ndata: b\n\nid:\x002\ndata: c\n\n",
        Outcome([message("a", "1"), message("b", "1"), message("c", "1")], "1"),
    ),
    "NUL elsewhere is a letter": (
        b"event: a\x00\ndata: \x00\n\ndata\x00: b\n\n",
        Outcome([Event("a\0", "\0")]),
    ),
    "an id counts from the blank line on": (b"id: 1\n\nid: 2\ndata: a\n", Outcome([], "1")),
    "retry counts at once, and for its own event": (
        b"retry: 10\ndata: a\n\ndata: b\n\nretry: 020\n",
        Outcome([message("a", retry=10), message("b")], retry=20),
    ),
    "retry of anything but digits is ignored": (
        b"retry: 1\nretry\nretry:\nretry: 2x\nretry: -2\nretry: +2\nretry:  2\nretry: 2 \n"
        b"retry: 2.0\nretry: \xd9\xa2\nretry: 1_0\nretry: 2:\nretry: 2/\ndata\n\n",
        Outcome([message("", retry=1)], retry=1),
    ),
    "a retry without end": (
        b"retry: 9007199254740990\n\nretry: " + b"9" * 40 + b"\n\n",
        Outcome([], retry=2**53 - 1),
    ),
    "comments": (
        b":\n: heartbeat\ndata: a\n:data: b\r\n::\rdata: c\n\n",
        Outcome([message("a\nc")], comments=4),
    ),
    "unknown fields": (
        b"d: 1\nda: 1\ndat: 1\ndata1: 1\nDATA: 1\nevents: 1\nid2: 1\nretries: 1\neven: 1\n"
        b"\xff: 1\nx\ni\ndatadata: 1\ndata: 2\n\n",
        Outcome([message("2")]),
    ),
    "a byte-order mark at the start": (BOM + b"data: a\n\n", Outcome([message("a")])),
    "and only one": (BOM + BOM + b"data: a\n\ndata: b\n\n", Outcome([message("b")])),
    "and not later": (
        b"data: a\n\n" + BOM + b"data: b\n\ndata: " + BOM + b"\n\n",
        Outcome([message("a"), message("\ufeff")]),
    ),
    "nor after a blank line": (b"\n" + BOM + b"data: b\n\n", Outcome([])),
    "a mark and a blank line": (BOM + b"\ndata: a\n\n", Outcome([message("a")])),
    "a mark before a comment": (BOM + b": x\n\n", Outcome([], comments=1)),
    "a piece of a mark is none": (b"\xef\xbbdata: a\n\ndata: b\n\n", Outcome([message("b")])),
    "utf-8": (
        "event: ä\nid: …\ndata: é€\U0001f600\n\n".encode(),
        Outcome([Event("ä", "é€\U0001f600", "…")], "…"),
    ),
    "what is no utf-8 is replaced": (
        b"data: \xff\xc3\ndata: \xe2\x82\ndata: \xed\xa0\x80\xf0\x9f\x98\nid: \xc0\x80\n\n",
        Outcome(
            [message("\ufffd\ufffd\n\ufffd\n\ufffd\ufffd\ufffd\ufffd", "\ufffd\ufffd")],
            "\ufffd\ufffd",
        ),
    ),
    "other line ends of Unicode are letters": (
        "data: a\u2028b\u0085c\x0b\x0c\n\n".encode(),
        Outcome([message("a\u2028b\u0085c\x0b\x0c")]),
    ),
    "the end drops what has no blank line": (b"data: a\n\ndata: b\n", Outcome([message("a")])),
    "and what has no line end": (b"data: a\n\ndata: b\n: x", Outcome([message("a")])),
}


class TestGrammar:
    @pytest.mark.parametrize("name", VECTORS)
    def test_every_cut(self, name: str) -> None:
        stream, expected = VECTORS[name]
        for pieces in cuts(stream):
            assert outcome(pieces) == expected, pieces

    @pytest.mark.parametrize("name", VECTORS)
    def test_the_oracle_reads_the_same(self, name: str) -> None:
        stream, expected = VECTORS[name]
        assert oracle(stream) == expected

    def test_an_event_comes_with_the_first_byte_that_ends_it(self) -> None:
        """Not with the LF that may follow a CR: a stream may pause between the two."""
        decoder = EventDecoder()
        assert decoder.feed(b"data: a\r\n\r") == [message("a")]
        assert decoder.feed(b"\n") == []
        assert decoder.feed(b"data: b\r\r") == [message("b")]
        assert decoder.feed(b"\rdata: c\n") == []
        assert decoder.feed(b"\n") == [message("c")]

    def test_an_id_of_an_unfinished_block_is_not_resumed_from(self) -> None:
        decoder = EventDecoder()
        decoder.feed(b"id: 1\ndata: a\n\nid: 2\ndata: b\n")
        assert decoder.last_event_id == "1"
        decoder.feed(b"\n")
        assert decoder.last_event_id == "2"

    def test_pending_counts_what_is_held(self) -> None:
        decoder = EventDecoder()
        for size, piece in enumerate(single_bytes(b"data: abc")):
            assert decoder.pending == size
            decoder.feed(piece)
        decoder.feed(b"\n")
        assert decoder.pending == 3
        decoder.feed(b"data: d\n: x")
        assert decoder.pending == 5 + 3
        assert decoder.feed(b"\n\n") == [message("abc\nd")]
        assert decoder.pending == 0

    def test_empty_feeds_change_nothing(self) -> None:
        decoder = EventDecoder()
        pieces = [b"", b"data: a\r", b"", b"\n", b"", b"\r", b"", b"\n", b""]
        assert [event for piece in pieces for event in decoder.feed(piece)] == [message("a")]


FRAGMENTS = st.sampled_from(
    [
        *(b"data", b"data:", b"data: ", b"event", b"event: ", b"id: ", b"id", b"retry: ", b"retry"),
        *(b":", b" ", b"\n", b"\r", b"\r\n", b"\n\n", b"\r\r", b"\r\n\r\n", b"\0", b"12", b"x"),
        *(
            BOM,
            "é".encode(),
            "\U0001f600".encode(),
            b"\xc3",
            b"\x9f\x98",
            b"\xff",
            b"dat",
            b"a" * 40,
        ),
    ]
)
STREAMS = st.lists(FRAGMENTS | st.binary(max_size=3), max_size=60).map(b"".join)


def cut_at(stream: bytes, places: Iterable[int]) -> list[bytes]:
    ends = sorted(place % (len(stream) + 1) for place in places)
    return [stream[a:b] for a, b in itertools.pairwise([0, *ends, len(stream)])]


class TestDifferential:
    @settings(max_examples=500)
    @given(stream=STREAMS, places=st.lists(st.integers(0, 10_000), max_size=12))
    def test_any_stream_in_any_chunks(self, stream: bytes, places: list[int]) -> None:
        expected = oracle(stream)
        assert outcome([stream]) == expected
        assert outcome(cut_at(stream, places)) == expected
        assert outcome(single_bytes(stream)) == expected

    @settings(max_examples=500)
    @given(
        stream=STREAMS,
        places=st.lists(st.integers(0, 10_000), max_size=6),
        max_line=st.integers(1, 60),
        max_event=st.integers(1, 60),
    )
    def test_limits_do_not_depend_on_the_chunks(
        self, stream: bytes, places: list[int], max_line: int, max_event: int
    ) -> None:
        def limited(pieces: Iterable[bytes]) -> tuple[list[Event[str]], str]:
            decoder = EventDecoder(max_line, max_event)
            events: list[Event[str]] = []
            try:
                for piece in pieces:
                    decoder.feed(piece, events)
                    assert decoder.pending <= max_line + max_event
            except SizeLimitError as error:
                return events, str(error)
            return events, ""

        events, error = limited([stream])
        assert limited(single_bytes(stream)) == (events, error)
        assert limited(cut_at(stream, places)) == (events, error)
        expected = oracle(stream).events
        assert events == (expected[: len(events)] if error else expected)
        assert bool(error) == over_a_limit(stream, max_line, max_event)


def over_a_limit(stream: bytes, max_line: int, max_event: int) -> bool:
    lines = re.split(rb"\r\n|\r|\n", stream)
    if max(map(len, lines)) > max_line:
        return True
    lines[0] = lines[0].removeprefix(BOM)
    size = -1  # the first data line has no LF before it
    for line in lines[:-1]:
        if line == b"":
            size = -1
        elif line == b"data" or line.startswith(b"data:"):
            size += 1 + len(line[5:].removeprefix(b" "))
            if size > max_event:
                return True
    return False


WPT = Path(__file__).resolve().parents[3] / "shared" / "vectors" / "event-stream-wpt.json"


@pytest.fixture(scope="module")
def wpt() -> list[dict[str, Any]]:
    if not WPT.exists():
        pytest.skip("the web-platform-tests vectors are not beside this checkout")
    return json.loads(WPT.read_bytes())["vectors"]  # type: ignore[no-any-return]


def test_web_platform_vectors(wpt: list[dict[str, Any]]) -> None:
    """All 27: whole, byte by byte, at each cut, and at each two cuts of the shorter ones."""
    for vector in wpt:
        stream = base64.b64decode(vector["input_b64"])
        expected = [(one["type"], one["data"], one["id"]) for one in vector["events"]]
        for pieces in cuts(stream, pairs_up_to=120):
            got = outcome(pieces)
            found = [(event.event, event.data, event.id) for event in got.events]
            assert found == expected, (vector["name"], pieces)
            if "retry" in vector:
                assert got.retry == vector["retry"], (vector["name"], pieces)
    assert len(wpt) == 27


class Token(msgspec.Struct, gc=False):
    text: str
    at: int = 0


class Held(msgspec.Struct):
    raw: msgspec.Raw


TOKEN: Callable[[bytes], Token] = msgspec.json.Decoder(Token).decode
TYPED = (
    b'data: {"text":"a"}\n\nevent: token\nid: 7\r\ndata: {"text":"b",\r\ndata: "at":2}\r\n\r\n'
    b": heartbeat\n\ndata:[DONE]\n\ndata: this is not read\n\n"
)


class TestTyped:
    def test_every_cut(self) -> None:
        expected = Outcome(
            [Event("message", Token("a")), Event("token", Token("b", 2), "7")], "7", None, 1, True
        )
        for pieces in cuts(TYPED, 0):
            assert outcome(pieces, decode=TOKEN, terminator=b"[DONE]") == expected, pieces

    def test_decode_sees_the_bytes_of_the_data_alone(self) -> None:
        """Not text, and nothing replaced: what is no UTF-8 is for the decoder to judge."""
        seen: list[object] = []
        stream = b"data: \xff\ndata:  b\n\ndata\n\ndata: c\n\n"
        for pieces in cuts(stream):
            del seen[:]
            got = outcome(pieces, decode=lambda data: seen.append(data) or len(seen))
            assert seen == [b"\xff\n b", b"", b"c"]
            assert [type(one) for one in seen] == [bytes] * 3
            assert [event.data for event in got.events] == [1, 2, 3]

    def test_a_terminator_ends_text_too(self) -> None:
        for pieces in cuts(b"data: a\n\ndata: [DONE]\n\ndata: b\n\nid: 9\n\n"):
            assert outcome(pieces, terminator=b"[DONE]") == Outcome([message("a")], done=True)

    @pytest.mark.parametrize(
        "data",
        [
            b"[DONE",
            b"[DONE] ",
            b" [DONE]",
            b"[DONE]]",
            b"[DONE]\0",
            b"[done]",
            b"",
            b"[DONE]\ndata:",
        ],
    )
    def test_only_the_terminator_itself_ends(self, data: bytes) -> None:
        got = outcome([b"data: " + data + b"\n\ndata: a\n\n"], terminator=b"[DONE]")
        assert not got.done
        assert len(got.events) == 2

    def test_an_unfinished_terminator_does_not_end(self) -> None:
        decoder = EventDecoder(terminator=b"[DONE]")
        decoder.feed(b"data: [DONE]\n")
        assert not decoder.done
        decoder.feed(b"\n")
        assert decoder.done

    def test_what_follows_the_terminator_is_no_error_and_not_kept(self) -> None:
        decoder = EventDecoder(max_line=20, terminator=b"[DONE]")
        assert decoder.feed(b"data: [DONE]\n\n" + b"x" * 100) == []
        assert decoder.feed(b"x" * 100) == []
        assert decoder.done
        assert decoder.pending == 0

    def test_without_a_terminator_it_is_data(self) -> None:
        assert outcome([b"data: [DONE]\n\n"]) == Outcome([message("[DONE]")])

    @pytest.mark.parametrize(
        ("data", "said"),
        [
            (b"{", "DecodeError"),
            (b"", "DecodeError"),
            (b'{"text":"secret","at":"secret"}', r"Expected `int`, got `str` - at `\$.at`"),
            (b'{"text":"\xff"}', "(Unicode)?DecodeError"),
            (b'{"x":' + b"[" * 100_000, "RecursionError"),
        ],
    )
    def test_data_that_cannot_be_read(self, data: bytes, said: str) -> None:
        stream = b'data: {"text":"a"}\n\nid: 5\ndata: ' + data + b'\n\ndata: {"text":"c"}\n\n'
        for pieces in cuts(stream, 0) if len(stream) < 200 else [[stream]]:
            decoder = EventDecoder(decode=TOKEN)
            events: list[Event[Token]] = []
            with pytest.raises(ProtocolError, match=f"cannot be read \\({said}\\)") as caught:
                feed_all(decoder, pieces, events)
            assert events == [Event("message", Token("a"))]
            assert caught.value.sent
            assert "secret" not in str(caught.value)
            # The handlers' own errors hold what they failed on.
            assert caught.value.__context__ is None
            assert caught.value.__cause__ is None

    def test_other_errors_of_decode_pass_through_and_end_it_too(self) -> None:
        class NotOurs(Exception):
            pass

        def decode(data: bytes) -> object:
            raise NotOurs

        decoder = EventDecoder(decode=decode)
        with pytest.raises(NotOurs):
            decoder.feed(b"data: a\n\n")
        with pytest.raises(ClientStateError, match="open a new one"):
            decoder.feed(b"data: a\n\n")

    def test_decode_cannot_feed_the_decoder_it_works_for(self) -> None:
        caught: list[Exception] = []

        def decode(data: bytes) -> bytes:
            try:
                decoder.feed(b"data: deeper\n\n")
            except ClientStateError as error:
                caught.append(error)
            return data

        decoder = EventDecoder(decode=decode)
        got = decoder.feed(b"data: a\ndata: b\n\ndata: c\n\n")
        assert [event.data for event in got] == [b"a\nb", b"c"]
        assert len(caught) == 2

    @pytest.mark.parametrize("size", [10, 1000, 5000, 100_000])
    def test_what_a_decoder_keeps_is_not_overwritten(self, size: int) -> None:
        """A Raw refers to the bytes it came from; each call's must be its own."""
        decoder = EventDecoder(decode=msgspec.json.Decoder(Held).decode)
        kept: list[Event[Held]] = []
        buffer = bytearray()
        for number in range(30):
            text = (b"%d" % number) * (size // 2)
            buffer[:] = b'data: {"raw":\ndata: "%s"}\n\ndata: {"raw":"%s"}\n\n' % (text, text)
            decoder.feed(buffer, kept)
            buffer[:] = b"\0" * len(buffer)
        for number, event in enumerate(kept):
            assert bytes(event.data.raw) == b'"%s"' % ((b"%d" % (number // 2)) * (size // 2))

    def test_decode_must_be_callable(self) -> None:
        with pytest.raises(InvalidArgumentError, match="decode"):
            EventDecoder(decode=b"[DONE]")  # type: ignore[arg-type]


class TestFeed:
    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    def test_any_buffer_that_may_be_reused_at_once(self, kind: Callable[[bytes], Any]) -> None:
        decoder = EventDecoder()
        events: list[Event[str]] = []
        for piece in (b"data: a\n", b"data: b\n\ndata: ", b"c\n\n"):
            buffer = bytearray(piece)
            decoder.feed(kind(buffer) if kind is not bytearray else buffer, events)
            if kind is not memoryview:
                buffer.clear()  # BufferError here would mean that an export is still held
            else:
                buffer[:] = b"\0" * len(buffer)
        assert events == [message("a\nb"), message("c")]

    @pytest.mark.parametrize("wrong", ["text", None, 5, [b"x"], memoryview(b"abcd")[::2]])
    def test_refuses_what_is_no_buffer(self, wrong: Any) -> None:
        decoder = EventDecoder()
        with pytest.raises((TypeError, BufferError)):
            decoder.feed(wrong)
        assert decoder.feed(b"data: a\n\n") == [message("a")]

    def test_into_is_appended_to_and_returned(self) -> None:
        events = [message("before")]
        assert EventDecoder().feed(b"data: a\n\n", events) is events
        assert events == [message("before"), message("a")]

    def test_a_decoder_does_not_pickle(self) -> None:
        """It is the middle of a stream, which another process does not read."""
        with pytest.raises(TypeError):
            pickle.dumps(EventDecoder())

    def test_decoders_share_nothing(self) -> None:
        one, two = EventDecoder(), EventDecoder()
        one.feed(b"id: 1\nevent: a\ndata: a\n")
        assert two.feed(b"data: b\n\n") == [message("b")]
        assert one.feed(b"\n") == [Event("a", "a", "1")]


def refusal(decoder: EventDecoder[Any], stream: bytes) -> SizeLimitError:
    with pytest.raises(SizeLimitError) as caught:
        decoder.feed(stream)
    return caught.value


class TestLimits:
    def test_defaults_are_the_table(self) -> None:
        decoder = EventDecoder()
        assert (decoder.max_line, decoder.max_event) == (Limits().sse_line, Limits().sse_event)

    @pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
    @pytest.mark.parametrize("start", [b"data: ", b": ", b"event: ", b"id: ", b"retry: ", b"what"])
    def test_a_line_of_the_limit_and_one_longer(self, start: bytes, end: bytes) -> None:
        line = start.ljust(20, b"7")
        for pieces in cuts(line + end + b"\n"):
            outcome(pieces, max_line=20)
            with pytest.raises(SizeLimitError, match=r"longer than 19 bytes.*Limits\.sse_line"):
                outcome(pieces, max_line=19)

    def test_a_line_is_refused_before_its_end(self) -> None:
        decoder = EventDecoder(max_line=20)
        decoder.feed(b"x" * 20)
        assert decoder.pending == 20
        assert refusal(decoder, b"x").sent
        assert decoder.pending == 20

    @pytest.mark.parametrize(
        "stream",
        [
            b"data: 1234567890\n\n",
            b"data: 1234\ndata: 56789\n\n",
            b"data\n" * 11 + b"\n",
            b"data: 123456789\ndata\n\n",
            b"data: \xff234567890\r\n\r\n",
        ],
    )
    def test_an_event_of_the_limit_and_one_longer(self, stream: bytes) -> None:
        for pieces in cuts(stream):
            assert len(outcome(pieces, max_event=10).events) == 1
            with pytest.raises(SizeLimitError, match=r"longer than 9 bytes.*Limits\.sse_event"):
                outcome(pieces, max_event=9)

    def test_an_event_is_refused_before_its_end(self) -> None:
        decoder = EventDecoder(max_event=10)
        decoder.feed(b"data: 12345\ndata: 6789\n")
        assert decoder.pending == 10
        refusal(decoder, b"data\n")
        assert decoder.pending == 10

    def test_the_limit_is_of_one_event(self) -> None:
        stream = b"data: 12345\ndata: 6789\n\n" * 50
        assert len(outcome([stream], max_event=10).events) == 50
        assert len(outcome(single_bytes(stream), max_event=10).events) == 50

    def test_what_is_no_data_is_not_counted_as_data(self) -> None:
        stream = b": 1234567890\nevent: 1234567890\nid: 1234567890\nwhat: 1234567890\ndata: 1\n\n"
        assert len(outcome([stream], max_event=1).events) == 1

    def test_events_before_the_fault_are_kept_by_into(self) -> None:
        stream = b"data: a\n\ndata: b\n\n" + b"x" * 21
        for pieces in cuts(stream):
            decoder = EventDecoder(max_line=20)
            events: list[Event[str]] = []
            with pytest.raises(SizeLimitError):
                feed_all(decoder, pieces, events)
            assert events == [message("a"), message("b")]

    @pytest.mark.parametrize(
        ("stream", "said"), [(b"x" * 21, "line"), (b"data: 12\ndata: 3456789\n", "event")]
    )
    def test_no_feed_after_that(self, stream: bytes, said: str) -> None:
        decoder = EventDecoder(max_line=20, max_event=9)
        first = refusal(decoder, stream)
        for more in (b"\n\ndata: fake\n\n", b"data: fake\n\n", b""):
            again = refusal(decoder, more)
            assert (str(again), again.sent) == (str(first), True)
            assert again is not first
        assert said in str(first)
        assert decoder.last_event_id == ""

    @pytest.mark.parametrize("wrong", [0, -1, 2**32])
    def test_limits_must_be_sizes(self, wrong: int) -> None:
        with pytest.raises(InvalidArgumentError):
            EventDecoder(max_line=wrong)
        with pytest.raises(InvalidArgumentError):
            EventDecoder(max_event=wrong)
        assert EventDecoder(2**32 - 1, 1).max_line == 2**32 - 1

    def test_every_error_pickles(self) -> None:
        for options, stream in (
            ({"max_line": 5}, b"x" * 6),
            ({"max_event": 5}, b"data: 123456\n"),
            ({"decode": TOKEN}, b"data: {\n\n"),
        ):
            with pytest.raises(OstiaryError) as caught:
                outcome([stream + b"\n"], **options)
            copied = pickle.loads(pickle.dumps(caught.value))
            assert (type(copied), str(copied)) == (type(caught.value), str(caught.value))


measured = pytest.mark.skipif(
    not sys.platform.startswith("linux") or bool(os.environ.get("OSTIARY_SANITIZE")),
    reason="memory is read from /proc, and a sanitizer's own would count",
)


def in_a_child(script: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (done.returncode, done.stderr)
    return done.stdout


class TestAmplification:
    @measured
    @pytest.mark.parametrize(
        ("start", "unit", "limit"),
        [
            # in MiB: what is held has a limit, and growing may take as much again
            ("data: ", "x", 3),
            (": ", "x", 3),
            ("", "x", 3),
            ("retry: ", "7", 3),
            ("", "data: xxxxxxxxxxxxxxxxxxxxxxx\\n", 12),
            ("", ": heartbeat\\n", 1),
            ("event: a\\n", "id: 12345\\nevent: b\\n", 1),
        ],
    )
    def test_peak_memory_of_300_megabytes_without_an_end(
        self, start: str, unit: str, limit: int
    ) -> None:
        grown = in_a_child(
            f"""
            from ostiary._wire.sse import EventDecoder
            from ostiary.errors import SizeLimitError
            def peak():
                # resident, and set aside without being touched
                return [
                    int(line.split()[1]) * 1024
                    for line in open("/proc/self/status")
                    if line.startswith(("VmHWM", "VmPeak"))
                ]
            unit = b"{unit}"
            chunk = unit * (65536 // len(unit))
            decoder, refused = EventDecoder(), 0
            decoder.feed(b"data: warm\\n\\n")
            before = peak()
            decoder.feed(b"{start}")
            for _ in range(300_000_000 // len(chunk)):
                try:
                    assert decoder.feed(chunk) == []
                except SizeLimitError:
                    refused += 1
            assert decoder.pending <= decoder.max_line + decoder.max_event
            print(*(after - start for after, start in zip(peak(), before)))
            """
        )
        assert max(map(int, grown.split())) < limit << 20, grown

    @measured
    def test_a_large_event_does_not_stay(self) -> None:
        """The holds are given back; an idle stream costs what an idle stream costs."""
        grown = in_a_child(
            """
            from ostiary._wire.sse import EventDecoder
            def held():
                for line in open("/proc/self/status"):
                    if line.startswith("VmRSS"):
                        return int(line.split()[1]) * 1024
            before = held()
            decoders = [EventDecoder() for _ in range(40)]
            for decoder in decoders:
                for _ in range(4):
                    decoder.feed(b"data: " + b"x" * 500_000)
                    decoder.feed(b"x" * 500_000 + b"\\n")
                assert len(decoder.feed(b"\\n")[0].data) == 4_000_003
            print(held() - before)
            """
        )
        assert int(grown) < 24 << 20

    @measured
    def test_a_dropped_decoder_leaves_nothing(self) -> None:
        grown = in_a_child(
            """
            from ostiary._wire.sse import EventDecoder
            def held():
                for line in open("/proc/self/status"):
                    if line.startswith("VmRSS"):
                        return int(line.split()[1]) * 1024
            def once():
                decoder = EventDecoder()
                decoder.feed(b"data: " + b"x" * 50_000 + b"\\ndata: " + b"x" * 50_000)
                assert decoder.pending > 100_000
            for _ in range(10):
                once()
            before = held()
            for _ in range(1000):
                once()
            print(held() - before)
            """
        )
        assert int(grown) < 8 << 20

    def test_work_is_linear_whatever_the_chunks(self) -> None:
        """Each takes well under a second of CPU when linear, and many minutes when not."""
        in_a_child(
            """
            import resource
            resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
            from ostiary._wire.sse import EventDecoder
            M = 1 << 20
            def single(stream, **options):
                decoder = EventDecoder(**options)
                found = 0
                for at in range(len(stream)):
                    found += len(decoder.feed(stream[at:at + 1]))
                return found
            # lines that one mark ends, with the other far away or nowhere
            for stream in (b"\\r" * 8 * M, b"\\n" * 8 * M, b"\\r" * 8 * M + b"\\n"):
                assert EventDecoder().feed(stream) == []
            assert len(EventDecoder().feed(b"data\\r\\r" * M + b"\\n")) == M
            assert len(EventDecoder().feed(b"data\\n\\n" * M + b"\\r")) == M
            # one byte at a time: a long line, many lines, many events
            assert single(b"data: " + b"x" * (M - 6) + b"\\n\\n") == 1
            assert single(b"data\\n" * (M // 5) + b"\\n") == 1
            assert single(b"data\\r\\n\\r\\n" * (M // 8)) == M // 8
            # and whole: many lines in one event, colons, digits, names and ids
            assert len(EventDecoder().feed(b"data: x\\n" * (2 * M) + b"\\n")[0].data) == 4 * M - 1
            assert EventDecoder().feed(b":" * M + b"\\nretry: " + b"9" * (M - 7) + b"\\n") == []
            assert EventDecoder().feed(b"id: 1\\nevent: abc\\n" * M) == []
            """
        )


class TestEvent:
    def test_repr_reads_back(self) -> None:
        event = Event("a", "b\n", "c", 5)
        assert repr(event) == "Event(event='a', data='b\\n', id='c', retry=5)"
        assert eval(repr(event)) == event

    def test_defaults(self) -> None:
        event: Event[str] = Event()
        assert (event.event, event.data, event.id, event.retry) == ("message", "", "", None)

    def test_compares_and_hashes_by_value(self) -> None:
        fields: list[Any] = ["a", "b", "c", 5]
        event: Event[Any] = Event(*fields)
        assert event == Event(*fields)
        assert hash(event) == hash(Event(*fields))
        for at, other in enumerate(["x", "x", "x", 6]):
            changed = [*fields[:at], other, *fields[at + 1 :]]
            assert event != Event(*changed)
            assert hash(event) != hash(Event(*changed))
        assert event != ("a", "b", "c", 5)
        assert not event == None  # noqa: E711, SIM201

    def test_pickles_and_copies(self) -> None:
        plain = EventDecoder().feed(b"event: a\nid: 1\nretry: 5\ndata: b\n\n")[0]
        typed = EventDecoder(decode=TOKEN).feed(b'data: {"text":"a"}\n\n')[0]
        for event in (plain, typed):
            for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
                assert pickle.loads(pickle.dumps(event, protocol)) == event
            assert copy.copy(event) == event
            assert copy.deepcopy(event) == event
        assert copy.deepcopy(typed).data is not typed.data

    @pytest.mark.parametrize("name", ["event", "data", "id", "retry", "other"])
    def test_cannot_be_changed(self, name: str) -> None:
        with pytest.raises(AttributeError):
            setattr(Event("a", "b"), name, "x")

    def test_names_that_repeat_are_one_object(self) -> None:
        stream = b"event: token\ndata: 1\n\n" * 3
        first, *others = outcome(single_bytes(stream)).events
        assert all(event.event is first.event for event in others)

    def test_kept_text_events_are_nothing_to_collect(self) -> None:
        text = EventDecoder().feed(b"data: a\n\n")[0]
        lists: list[Event[list[object]]] = EventDecoder(decode=lambda _: []).feed(b"data: a\n\n")
        assert not gc.is_tracked(text)
        assert gc.is_tracked(lists[0])

    def test_a_cycle_through_its_data_is_collected(self) -> None:
        class Seen(list[object]):
            alive = 0

            def __init__(self) -> None:
                Seen.alive += 1

            def __del__(self) -> None:
                Seen.alive -= 1

        decoder = EventDecoder(decode=lambda _: Seen())
        for _ in range(100):
            (event,) = decoder.feed(b"data: a\n\n")
            event.data.append(event)
        del event
        gc.collect()
        assert Seen.alive == 0

    def test_generic_at_runtime(self) -> None:
        assert Event[str] is Event
        assert EventDecoder[str] is EventDecoder

    def test_one_class_is_the_decoder(self) -> None:
        named = [name for name in vars(sse) if "EventDecoder" in name]
        assert named == ["EventDecoder"]


def test_nothing_leaks() -> None:
    """References balance: whole streams, broken ones, and decoders dropped in mid-event."""
    if not hasattr(sys, "getrefcount"):
        pytest.skip("this interpreter does not count references")

    def once() -> None:
        outcome([TYPED], decode=TOKEN, terminator=b"[DONE]")
        outcome(single_bytes(TYPED))
        for options in ({"max_line": 5}, {"max_event": 5}, {"decode": TOKEN}):
            with pytest.raises(OstiaryError):
                outcome([TYPED.replace(b"{", b"")], **options)
        EventDecoder().feed(b"event: a\nid: 1\ndata: a\ndata: b")

    for _ in range(10):
        once()
    gc.collect()
    counted = [None, sse.Event, sse.EventDecoder, TOKEN, SizeLimitError, "message"]
    before = [sys.getrefcount(one) for one in counted], sys.getallocatedblocks()
    for _ in range(200):
        once()
    gc.collect()
    after = [sys.getrefcount(one) for one in counted], sys.getallocatedblocks()
    assert all(map(operator.lt, after[0], [count + 50 for count in before[0]])), (before, after)
    assert after[1] - before[1] < 200
