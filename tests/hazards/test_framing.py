"""Responses that could be read two ways, and requests that could: what becomes of the connection.

Each hostile response is refused by its rule, its connection is closed at once and never used
again, and the next call is good. That the reader refuses it wherever it is cut is shown in
tests/http.
"""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from ostiary._wire import rules
from ostiary.config import Limits
from ostiary.errors import (
    ConnectionLostError,
    InvalidArgumentError,
    OstiaryError,
    ProtocolError,
    SizeLimitError,
)
from tests.hazards.scripted import (
    OK,
    chunked,
    good,
    piece,
    read_head,
    read_request,
    reply,
    response,
    say,
)
from tests.peers.driver import COLOURS
from tests.transport.peer import Connection

CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"
FIVE = response(b"hello")


def lines(*more: bytes, body: bytes = b"hello") -> bytes:
    return OK + b"".join(line + b"\r\n" for line in more) + b"\r\n" + body


HOSTILE: list[tuple[str, str, bytes]] = [
    # two lengths, or none that can be trusted
    (
        "length-and-coding",
        "length first",
        lines(b"Content-Length: 5", b"Transfer-Encoding: chunked", body=END),
    ),
    (
        "length-and-coding",
        "coding first",
        lines(b"Transfer-Encoding: chunked", b"Content-Length: 5", body=END),
    ),
    ("repeated-length", "twice the same", lines(b"Content-Length: 5", b"Content-Length: 5")),
    ("repeated-length", "two lengths", lines(b"Content-Length: 5", b"Content-Length: 0")),
    ("repeated-length", "a list", lines(b"Content-Length: 5, 5")),
    ("content-length", "signed", lines(b"Content-Length: +5")),
    ("content-length", "negative", lines(b"Content-Length: -1")),
    ("content-length", "hexadecimal", lines(b"Content-Length: 0x5")),
    ("content-length", "empty", lines(b"Content-Length:")),
    ("content-length", "with a space", lines(b"Content-Length: 1 5")),
    ("content-length", "10^20", lines(b"Content-Length: 1" + b"0" * 20)),
    ("body-size", "2^64", lines(b"Content-Length: 18446744073709551616")),
    ("body-size", "2^63 - 1", lines(b"Content-Length: 9223372036854775807")),
    ("transfer-encoding", "not chunked last", lines(b"Transfer-Encoding: chunked, gzip", body=END)),
    ("transfer-encoding", "gzip, chunked", lines(b"Transfer-Encoding: gzip, chunked", body=END)),
    ("transfer-encoding", "chunked twice", lines(b"Transfer-Encoding: chunked, chunked", body=END)),
    (
        "transfer-encoding",
        "two lines",
        lines(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=END),
    ),
    ("transfer-encoding", "identity", lines(b"Transfer-Encoding: identity")),
    ("transfer-encoding", "xchunked", lines(b"Transfer-Encoding: xchunked", body=END)),
    (
        "header-value",
        "a vertical tab before chunked",
        lines(b"Transfer-Encoding: \x0bchunked", body=END),
    ),
    (
        "coding-on-1.0",
        "HTTP/1.0 in chunks",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + END,
    ),
    # chunks
    ("chunk-size-space", "space behind", CHUNKED + b"5 \r\nhello\r\n" + END),
    ("chunk-size", "space before", CHUNKED + b" 5\r\nhello\r\n" + END),
    ("chunk-size", "plus", CHUNKED + b"+5\r\nhello\r\n" + END),
    ("chunk-size", "minus", CHUNKED + b"-5\r\nhello\r\n" + END),
    ("chunk-size", "0x", CHUNKED + b"0x5\r\nhello\r\n" + END),
    ("chunk-size", "none", CHUNKED + b"\r\nhello\r\n" + END),
    ("chunk-size", "no number", CHUNKED + b"five\r\nhello\r\n" + END),
    ("chunk-size", "21 digits", CHUNKED + b"f" * 21 + b"\r\nhello\r\n" + END),
    ("body-size", "2^64 + 5", CHUNKED + b"10000000000000005\r\nhello\r\n" + END),
    ("body-size", "2^80 - 1", CHUNKED + b"f" * 20 + b"\r\nhello\r\n" + END),
    ("bare-lf", "LF behind the size", CHUNKED + b"5\nhello\r\n" + END),
    ("bare-lf", "LF in an extension", CHUNKED + b"5;a\nb\r\nhello\r\n" + END),
    ("empty-chunk-extension", "nothing in an extension", CHUNKED + b"5;\r\nhello\r\n" + END),
    ("chunk-end", "junk behind a chunk", CHUNKED + b"5\r\nhelloxx" + END),
    ("chunk-end", "LF behind a chunk", CHUNKED + b"5\r\nhello\n" + END),
    ("bare-lf", "LF at the very end", CHUNKED + b"0\r\n\n"),
    ("length-and-coding", "a length in the trailers", CHUNKED + b"0\r\nContent-Length: 5\r\n\r\n"),
    (
        "transfer-encoding",
        "a coding in the trailers",
        CHUNKED + b"0\r\nTransfer-Encoding: chunked\r\n\r\n",
    ),
    # lines
    ("folded-line", "a folded header", lines(b"X: a", b" b", b"Content-Length: 5")),
    ("folded-line", "a folded length", lines(b"Content-Length:", b"\t5")),
    ("header-value", "NUL", lines(b"X: a\0b", b"Content-Length: 5")),
    ("header-value", "CR", lines(b"X: a\rb", b"Content-Length: 5")),
    ("header-name", "NUL in a name", lines(b"X\0: a", b"Content-Length: 5")),
    ("header-name", "a space before the colon", lines(b"X : a", b"Content-Length: 5")),
    ("header-name", "no colon", lines(b"no colon", b"Content-Length: 5")),
    ("header-name", "no name", lines(b": a", b"Content-Length: 5")),
    ("bare-lf", "LF everywhere", FIVE.replace(b"\r\n", b"\n")),
    ("status-line", "no HTTP", b"hello, I am an SMTP server\r\n\r\n"),
    ("status-line", "a TLS alert", b"\x15\x03\x01\x00\x02\x02\x46\r\n\r\n"),
    ("status-line", "a status of four digits", FIVE.replace(b"200", b"2000")),
    ("status-line", "a negative status", FIVE.replace(b"200", b"-20")),
    ("version", "HTTP/2.0", FIVE.replace(b"HTTP/1.1", b"HTTP/2.0")),
    ("version", "HTTP/1.2", FIVE.replace(b"HTTP/1.1", b"HTTP/1.2")),
    # sizes
    ("head-size", "a head of 70 KB", lines(b"X: " + b"x" * 70_000, b"Content-Length: 5")),
    ("header-count", "300 headers", lines(*[b"X: a"] * 300, b"Content-Length: 5")),
    ("chunk-line-size", "a line of 70 KB before a chunk", CHUNKED + b"5;" + b"x" * 70_000),
    ("trailer-size", "70 KB of trailers", CHUNKED + b"0\r\nX: " + b"x" * 70_000),
    # what was not asked for
    ("informational-flood", "1,000 early hints", b"HTTP/1.1 103 x\r\n\r\n" * 1000 + FIVE),
    ("unasked-upgrade", "101", b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n"),
    ("surplus-bytes", "a line end behind the body", FIVE + b"\r\n"),
    ("surplus-bytes", "a second response", FIVE + response(b"poisoned")),
    ("surplus-bytes", "a second response behind chunks", chunked(b"abc") + FIVE),
    ("surplus-bytes", "a body on 204", b"HTTP/1.1 204 No Content\r\n\r\nhello"),
    ("surplus-bytes", "a body on 304", b"HTTP/1.1 304 x\r\nContent-Length: 5\r\n\r\nhello"),
]
# What is wrong in a body that is framed well: a connection may go on behind it.
DAMAGED: list[tuple[str, str, bytes]] = [
    ("content-coding", "a coding nobody knows", response(b"hello", "Content-Encoding: rot13")),
    ("coding-chain", "nine codings", response(b"hello", "Content-Encoding: " + "gzip, " * 9)),
    ("coding-damaged", "no gzip", response(b"hello", "Content-Encoding: gzip")),
    (
        "coding-truncated",
        "half a gzip",
        response(gzip.compress(b"hello")[:-9], "Content-Encoding: gzip"),
    ),
    (
        "coding-damaged",
        "surplus behind deflate",
        response(b"\x03\x00xyz", "Content-Encoding: deflate"),
    ),
]

WAYS = [(colour, parser) for colour in COLOURS for parser in ("strict", "h11")]


@pytest.fixture(params=WAYS, ids="-".join)
def way(request: pytest.FixtureRequest) -> tuple[str, str]:
    return request.param  # type: ignore[no-any-return]


def refused(
    stage: Any, way: tuple[str, str], data: bytes, method: str, *, streams: bool = True
) -> list[OstiaryError]:
    """Say `data` to a whole request and to a stream; return the two errors."""
    peer, script = stage.script(say(data), say(data))
    session = stage.session(peer, way[0], parser=way[1], timeout=10, idle_timeout=10)
    errors: list[OstiaryError] = []
    for number in (0, 1):
        with pytest.raises(OstiaryError) as caught:
            if number and streams:
                with session.stream(method, "/hostile") as stream:
                    stream.body()
            else:
                session.request(method, "/hostile")
        errors.append(caught.value)
        assert script.left[number].wait(20), "the connection is still open"
        assert session.pool.open_connections == 0
    good(session, 1)
    good(session, 2)
    assert [link.number for link in peer.links if link.requests] == [0, 1, 2]
    session.close()
    return errors


class TestHostileResponses:
    """One descriptor count for all of them: counting costs more than a response."""

    @pytest.mark.parametrize("part", range(4))
    def test_close_the_connection(self, stage: Any, way: tuple[str, str], part: int) -> None:
        for rule, name, data in HOSTILE[part::4]:
            # Somebody who reads it piece by piece may read a body of any size.
            for error in refused(stage, way, data, "GET", streams=rule != "body-size"):
                assert isinstance(error, ProtocolError), (name, error)
                assert error.rule == rule, (name, error)
                assert error.sent, name
                assert isinstance(error, SizeLimitError) == (rule in rules.SIZES), name
                # Nothing that came is repeated to whoever reads the log.
                assert "hello" not in str(error), name
                assert "poison" not in str(error), name

    def test_of_a_damaged_body_nothing_is_left_for_the_next(
        self, stage: Any, way: tuple[str, str]
    ) -> None:
        def serve(link: Connection) -> None:
            while True:
                request = read_request(link)
                if request.target.startswith("/damaged/"):
                    link.raw(DAMAGED[int(request.target[9:])][2])
                else:
                    reply(link, request)

        session = stage.session(stage.peer(serve), way[0], parser=way[1])
        for number, (rule, name, _) in enumerate(DAMAGED):
            with pytest.raises(ProtocolError) as caught:
                session.request("GET", f"/damaged/{number}")
            assert caught.value.rule == rule, name
            good(session, number)
            with (
                pytest.raises(ProtocolError) as caught,
                session.stream("GET", f"/damaged/{number}") as stream,
            ):
                stream.body()
            assert caught.value.rule == rule, name
            assert "hello" not in str(caught.value), name
            good(session, number)

    def test_a_body_on_head(self, stage: Any, way: tuple[str, str]) -> None:
        for data in (FIVE, CHUNKED + piece("x") + END):
            for error in refused(stage, way, data, "HEAD"):
                assert getattr(error, "rule", None) == "surplus-bytes"

    def test_bodies_that_break_off(self, stage: Any, way: tuple[str, str]) -> None:
        def cut(data: bytes) -> Any:
            def handler(link: Connection) -> None:
                read_request(link)
                link.raw(data)
                link.half_close()

            return handler

        colour, parser = way
        for data in (
            b"",
            b"HTT",
            OK,
            b"HTTP/1.1 103 Early Hints\r\n\r\n",
            response(b"hello")[:-1],
            CHUNKED,
            CHUNKED + b"5",
            CHUNKED + b"5\r\nhel",
            CHUNKED + b"5\r\nhello",
            CHUNKED + b"5\r\nhello\r\n",
            CHUNKED + b"5\r\nhello\r\n0\r\n",
            CHUNKED + b"5\r\nhello\r\n0\r\nX: a\r\n",
        ):
            peer, script = stage.script(cut(data), cut(data))
            session = stage.session(peer, colour, parser=parser)
            with pytest.raises(ConnectionLostError) as caught:
                session.request("GET", "/cut")
            assert caught.value.sent
            with (
                pytest.raises(ConnectionLostError) as caught,
                session.stream("GET", "/cut") as stream,
            ):
                stream.body()
            assert caught.value.sent
            assert all(one.wait(20) for one in script.left)
            good(session, 1)
            session.close()

    def test_a_limit_of_ones_own(self, stage: Any, way: tuple[str, str]) -> None:
        limits = Limits(body=4, head=200, header_count=2, decompressed_body=4)
        for rule, data in (
            ("body-size", response(b"hello")),
            ("body-size", chunked(b"hel", b"lo")),
            ("head-size", response(b"", "X: " + "x" * 200)),
            ("header-count", response(b"", "A: a", "B: b", "C: c")),
        ):
            peer, script = stage.script(say(data))
            session = stage.session(peer, way[0], parser=way[1], limits=limits)
            with pytest.raises(SizeLimitError) as caught:
                session.request("GET", "/large")
            assert caught.value.rule == rule
            assert script.left[0].wait(20)
            session.close()


class TestDesync:
    """Attempts to have a response taken for the answer to another request."""

    def test_bytes_on_an_idle_connection(self, stage: Any, way: tuple[str, str]) -> None:
        said = threading.Event()

        def gift(link: Connection) -> None:
            request = read_request(link)
            link.raw(response(b"first"))
            assert request.target == "/first"
            link.raw(response(b"poisoned"))
            said.set()

        for _ in range(10):
            said.clear()
            peer, script = stage.script(gift)
            session = stage.session(peer, way[0], parser=way[1])
            try:
                assert session.request("GET", "/first").read() == b"first"
            except ProtocolError as error:  # both came at once
                assert error.rule == "surplus-bytes"  # noqa: PT017 - either is right
            assert said.wait(20)
            good(session, 1)
            assert script.left[0].wait(20)
            session.close()

    def test_one_byte_on_an_idle_connection(self, stage: Any, way: tuple[str, str]) -> None:
        for byte in (b"\0", b"\n", b"H", b"0"):
            go, said = threading.Event(), threading.Event()

            def late(link: Connection, byte: bytes = byte, go: Any = go, said: Any = said) -> None:
                read_request(link)
                link.raw(response(b"first"))
                assert go.wait(20)
                link.raw(byte)
                said.set()

            peer, script = stage.script(late)
            session = stage.session(peer, way[0], parser=way[1])
            assert session.request("GET", "/first").read() == b"first"
            assert session.pool.idle_connections == 1
            go.set()
            assert said.wait(20)
            # Neither request may have met the byte: a POST without a key is sent once.
            session.request("POST", "/second", body=b"x")
            assert script.left[0].wait(20)
            assert [len(link.requests) for link in peer.links] == [1, 1]
            session.close()

    def test_a_response_that_comes_before_its_request_has_left(
        self, stage: Any, way: tuple[str, str]
    ) -> None:
        """It is the answer, an early one; but the connection has half a request on it."""

        def early(link: Connection) -> None:
            read_head(link)
            link.raw(response(b'{"code":"too_large"}', status="413 Content Too Large"))

        peer, script = stage.script(early)
        session = stage.session(peer, way[0], parser=way[1])
        response_ = session.request("POST", "/upload", body=b"x" * 5_000_000, check=False)
        assert response_.status == 413
        assert script.left[0].wait(20)
        good(session, 1)

    def test_a_pipeline_of_answers_to_one_request(self, stage: Any, way: tuple[str, str]) -> None:
        """A hundred answers at once, of which one was asked for."""
        peer, script = stage.script(say(response(b"one") * 100), say(chunked(b"one") * 100))
        session = stage.session(peer, way[0], parser=way[1])
        for _ in range(2):
            with pytest.raises(ProtocolError):
                session.request("GET", "/one")
        good(session, 1)
        assert all(one.wait(20) for one in script.left)

    def test_a_cancelled_answer_is_never_the_next_ones(
        self, stage: Any, way: tuple[str, str]
    ) -> None:
        """The answer to a request that timed out comes while the next one waits."""
        slow = threading.Event()

        def late(link: Connection) -> None:
            read_request(link)
            assert slow.wait(20)
            link.raw(response(b"late"))

        peer, script = stage.script(late)
        session = stage.session(peer, way[0], parser=way[1])
        with pytest.raises(OstiaryError):
            session.request("GET", "/late", timeout=0.02)
        slow.set()
        for n in range(5):
            good(session, n)
        assert script.left[0].wait(20)


OURS: list[tuple[str, dict[str, Any]]] = [
    ("a line end in the method", {"method": "GET / HTTP/1.1\r\nX: a\r\n\r\nGET"}),
    ("a space in the method", {"method": "GET /admin"}),
    ("NUL in the method", {"method": "GE\0T"}),
    ("no method", {"method": ""}),
    ("a tunnel", {"method": "CONNECT"}),
    ("a line end in the path", {"path": "/a HTTP/1.1\r\nX: a\r\n\r\nGET /b"}),
    ("CR in the path", {"path": "/a\rb"}),
    ("LF in the path", {"path": "/a\nb"}),
    ("NUL in the path", {"path": "/a\0b"}),
    ("a space in the path", {"path": "/a b"}),
    ("a line end in a path of bytes", {"path": b"/a\r\nX: a"}),
    ("a path beyond ASCII", {"path": "/\u017f"}),
    ("another origin", {"path": "http://elsewhere.invalid/"}),
    ("no slash", {"path": "elsewhere"}),
    ("a fragment", {"path": "/a#b"}),
    ("a line end in a value", {"headers": {"X": "a\r\nY: b"}}),
    ("LF in a value", {"headers": {"X": "a\nY: b"}}),
    ("CR in a value", {"headers": {"X": "a\rb"}}),
    ("NUL in a value", {"headers": {"X": "a\0b"}}),
    ("a value beyond ASCII", {"headers": {"X": "\u560d\u560a"}}),
    ("a line end in a name", {"headers": {"X\r\nY": "a"}}),
    ("a colon in a name", {"headers": {"X: a\r\nY": "a"}}),
    ("a space in a name", {"headers": {"X ": "a"}}),
    ("no name", {"headers": {"": "a"}}),
    ("a transfer coding", {"headers": {"Transfer-Encoding": "chunked"}}),
    ("a length", {"headers": {"content-length": "0"}}),
    ("another host", {"headers": {"Host": "elsewhere.invalid"}}),
    ("an upgrade", {"headers": {"Upgrade": "h2c"}}),
    ("an expectation", {"headers": {"Expect": "100-continue"}}),
    ("a connection header", {"headers": {"Connection": "X-Secret"}}),
    ("a key of two lines", {"idempotency_key": "a\r\nX: b", "method": "POST"}),
    ("a body that is text", {"body": "text", "method": "POST"}),
    ("json and a body", {"body": b"a", "json": 1, "method": "POST"}),
    ("json that is none", {"json": object(), "method": "POST"}),
]


class TestOurOwnRequests:
    @pytest.mark.parametrize("colour", ["sync", "asyncio"])
    @pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
    def test_nothing_of_a_bad_request_is_sent(
        self, stage: Any, colour: str, streamed: bool
    ) -> None:
        peer = stage.peer()
        session = stage.session(peer, colour)
        good(session, 0)
        for name, options in OURS:
            given = {"method": "GET", "path": "/", **options}
            send = session.stream if streamed else session.request
            with pytest.raises(InvalidArgumentError) as caught:
                send(given.pop("method"), given.pop("path"), **given)
            assert "Y: b" not in str(caught.value), name
        good(session, 1)
        # On one connection: a refused request left nothing on it.
        assert [[one["target"] for one in link.requests] for link in peer.links] == [
            ["/good/0", "/good/1"]
        ]

    @pytest.mark.parametrize("colour", ["sync", "asyncio"])
    def test_nor_of_a_bad_credential(self, stage: Any, colour: str) -> None:
        """A token file that ends with a newline is the common case."""
        bad = {"Authorization": "Bearer s3cret\r\nX-Admin: 1"}
        peer = stage.peer()
        session = stage.session(peer, colour, credentials=lambda: bad)
        with pytest.raises(InvalidArgumentError) as caught:
            session.request("GET", "/")
        assert "s3cret" not in str(caught.value)
        with pytest.raises(InvalidArgumentError) as caught:
            stage.session(peer, colour, headers={"Authorization": "Bearer s3cret\n"}).request(
                "GET", "/"
            )
        assert "s3cret" not in str(caught.value)
        assert peer.requests == []

    @pytest.mark.parametrize("colour", ["sync", "asyncio"])
    def test_a_query_cannot_leave_its_place(self, stage: Any, colour: str) -> None:
        peer = stage.peer()
        session = stage.session(peer, colour)
        session.request("GET", "/q", query={"a b": "c&d=e#f\r\nX: y", "u": "\u00e9"})
        (request,) = peer.requests
        assert request["target"] == "/q?a%20b=c%26d%3De%23f%0D%0AX%3A%20y&u=%C3%A9"


def test_every_hostile_response_has_its_test() -> None:
    """The table is split over four tests; none is lost, and no name stands twice."""
    parts: Iterator[Any] = (one for part in range(4) for one in HOSTILE[part::4])
    assert sorted(parts) == sorted(HOSTILE)
    assert len({name for _, name, _ in HOSTILE}) == len(HOSTILE)
