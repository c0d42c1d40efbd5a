"""The response reader against h11 at every split, and against each hazard by name."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import h11
import pytest

from ostiary._wire import rules
from ostiary._wire.http1 import Response
from ostiary._wire.parser import ResponseParser
from ostiary.config import Limits as ConfigLimits
from ostiary.errors import (
    ConnectionLostError,
    InvalidArgumentError,
    ProtocolError,
    SizeLimitError,
)
from tests.http.fuzz_http1 import run
from tests.http.normal import Normal, Refused, by_h11, by_us, complaint, parser_for

OK = b"HTTP/1.1 200 OK\r\n"
FIVE = OK + b"Content-Length: 5\r\n\r\nhello"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
PARSERS: list[Literal["strict", "h11"]] = ["strict", "h11"]
STATM = Path("/proc/self/statm")  # pages of address space come first


@pytest.fixture(params=PARSERS)
def parser(request: pytest.FixtureRequest) -> ResponseParser:
    """A reader on each setting of the switch."""
    return ResponseParser(parser=request.param)


def read(data: bytes, method: str = "GET", **settings: Any) -> Response:
    one = ResponseParser(**settings)
    one.expect(method)
    found = one.feed(data)
    assert found is not None
    return found


def rule_of(data: bytes, method: str = "GET", **settings: Any) -> str | None:
    """Return the rule by which the whole stream is refused, or None."""
    one = ResponseParser(**settings)
    one.expect(method)
    try:
        if one.feed(data) is None:
            one.feed_eof()
    except ProtocolError as error:
        return error.rule if error.sent else f"{error.rule}, and nothing was sent"
    return None


# --- against h11, at every split ----------------------------------------------------------------

CORPUS: list[tuple[str, bytes]] = [
    ("GET", FIVE),
    ("GET", OK + b"content-length:0\r\nServer:  x \t\r\nSet-Cookie: a\r\nset-cookie: b\r\n\r\n"),
    ("POST", OK + b"Content-Length: 3\r\nConnection: x, Close\r\n\r\nabc"),
    ("GET", CHUNKED + b"5\r\nhello\r\n6;a=b\r\n world\r\n0\r\n\r\n"),
    ("GET", CHUNKED + b"0005\r\nhello\r\n000;last\r\nX-Sum: 1\r\nx-sum:2\r\n\r\n"),
    ("GET", CHUNKED + b"1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\n\r\n"),
    ("GET", b"HTTP/1.1 204 No Content\r\nServer: x\r\n\r\n"),
    ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n"),
    ("HEAD", OK + b"Content-Length: 99999999999999999999\r\n\r\n"),
    ("HEAD", OK + b"Transfer-Encoding: chunked\r\n\r\n"),
    ("GET", b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nab"),
    ("GET", b"HTTP/1.0 200 OK\r\n\r\nuntil the end"),
    ("GET", OK + b"Server: x\r\n\r\nuntil the end"),
    ("GET", OK + b"\r\n"),
    ("GET", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: a\r\n\r\n" + FIVE),
    ("GET", b"HTTP/1.1 102 P\r\n\r\n" + CHUNKED + b"3;x\r\nabc\r\n0\r\nT: v\r\n\r\n"),
    ("GET", b"HTTP/1.1 100\r\n\r\nHTTP/1.1 204\r\n\r\n"),
    (
        "GET",
        b"HTTP/1.1 999 \xe9\x01\r\nX: \x7f\xff\r\nContent-Length: 00000000000000000001\r\n\r\nz",
    ),
    ("GET", FIVE + b"x"),
    ("GET", CHUNKED + b"0\r\n\r\n\r\n"),
    ("GET", b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n"),
    ("GET", OK + b"Content-Length: 5\r\n folded\r\n\r\nhello"),
    ("GET", b"HTTP/1.1 200 OK\nContent-Length: 0\n\n"),
    ("GET", CHUNKED + b"5 \r\nhello\r\n0\r\n\r\n"),
    ("GET", CHUNKED + b"5\r\nhello\r\n0\r\nContent-Length: 5\r\n\r\n"),
]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("name", PARSERS)
@pytest.mark.parametrize(("method", "data"), CORPUS)
def test_every_split_reads_as_h11_does(method: str, data: bytes, name: str, stream: bool) -> None:
    oracle = by_h11(data, method)
    seen: set[str] = set()
    splits: list[list[bytes]] = [[data[:at], data[at:]] for at in range(1, len(data))]
    splits += [[data], [data[at : at + 1] for at in range(len(data))]]
    splits += [
        [data[:one], data[one:two], data[two:]]
        for one in range(1, len(data), 7)
        for two in range(one + 1, len(data), 5)
    ]
    for pieces in splits:
        ours = by_us(pieces, method, parser_for(parser=name), stream=stream)
        assert complaint(ours, data, oracle) is None, pieces
        seen.add(ours.rule if isinstance(ours, Refused) else "read")
    # One answer for all cuts; what comes after the end is surplus or unasked, by the cut.
    assert len(seen) == 1 or seen <= {"surplus-bytes", "unasked-bytes"}


def test_the_corpus_holds_both_kinds() -> None:
    answers = [by_us([data], method, parser_for()) for method, data in CORPUS]
    assert sum(isinstance(one, Normal) for one in answers) == 18


@pytest.mark.parametrize("seed", [11, 12])
def test_a_short_fuzz_finds_nothing(seed: int) -> None:
    tally, found = run(1500, seed)
    assert found == []
    # It reaches what it is for.
    assert tally["equal, reusable"] > 200
    assert tally["equal, not reusable"] > 100
    assert sum(kind.startswith("we refuse") for kind in tally) > 6
    assert sum(kind.startswith("both refuse") for kind in tally) > 10


def test_the_fuzz_would_see_a_difference() -> None:
    good = by_h11(FIVE, "GET")
    ours = by_us([FIVE], "GET", parser_for())
    assert isinstance(ours, Normal)
    assert complaint(ours, FIVE, good) is None
    assert complaint(ours._replace(body=b"hellO"), FIVE, good)
    assert complaint(ours._replace(reusable=False), FIVE, good)
    assert complaint(ours, FIVE, by_h11(FIVE[:-1], "GET"))
    for rule in [*rules.RULES, "truncated"]:
        assert complaint(Refused(rule), FIVE, good), rule


# --- what is refused, by name -------------------------------------------------------------------

STRICTER: list[tuple[str, bytes]] = [
    ("length-and-coding", OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("length-and-coding", OK + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"),
    ("length-and-coding", CHUNKED + b"0\r\nContent-Length: 0\r\n\r\n"),
    ("repeated-length", OK + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello"),
    ("repeated-length", OK + b"Content-Length: 5, 5\r\n\r\nhello"),
    ("folded-line", OK + b"X: a\r\n b\r\nContent-Length: 5\r\n\r\nhello"),
    ("folded-line", OK + b"X: a\r\nContent-Length:\r\n\t5\r\n\r\nhello"),
    ("folded-line", CHUNKED + b"0\r\nX: a\r\n b\r\n\r\n"),
    ("coding-on-1.0", b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("version", b"HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ("version", b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ("version", b"HTTP/0.9 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ("informational-flood", b"HTTP/1.1 103 x\r\n\r\n" * 11 + FIVE),
    ("bare-lf", FIVE.replace(b"\r\n", b"\n")),
    ("bare-lf", FIVE.replace(b"OK\r\n", b"OK\n")),
    ("bare-lf", CHUNKED + b"0\r\nX: a\n\r\n"),
    ("bare-lf", CHUNKED + b"0\r\n\n"),
    ("chunk-size-space", CHUNKED + b"5 \r\nhello\r\n0\r\n\r\n"),
    ("chunk-size-space", CHUNKED + b"0\t\r\n\r\n"),
    ("empty-chunk-extension", CHUNKED + b"5;\r\nhello\r\n0\r\n\r\n"),
    ("empty-chunk-extension", CHUNKED + b"0; \t\r\n\r\n"),
    ("surplus-bytes", FIVE + b"\r\n"),
    ("surplus-bytes", FIVE + FIVE),
    ("surplus-bytes", b"HTTP/1.1 204 x\r\n\r\nbody"),
    ("surplus-bytes", b"HTTP/1.1 304 x\r\nContent-Length: 4\r\n\r\nbody"),
    ("surplus-bytes", CHUNKED + b"0\r\n\r\n0\r\n\r\n"),
    ("transfer-encoding", CHUNKED + b"0\r\nTransfer-Encoding: chunked\r\n\r\n"),
]


@pytest.mark.parametrize("name", PARSERS)
@pytest.mark.parametrize(("rule", "data"), STRICTER)
def test_what_h11_takes_is_refused_by_name(rule: str, data: bytes, name: str) -> None:
    oracle = by_h11(data, "GET")
    assert oracle.normal is not None, "h11 refuses this, too"
    assert rule_of(data, parser=name) == rule


def test_a_body_on_head_is_surplus(parser: ResponseParser) -> None:
    parser.expect("HEAD")
    with pytest.raises(ProtocolError) as caught:
        parser.feed(FIVE)
    assert caught.value.rule == "surplus-bytes"


def test_bytes_before_a_request_are_refused(parser: ResponseParser) -> None:
    with pytest.raises(ProtocolError) as caught:
        parser.feed(FIVE)
    assert caught.value.rule == "unasked-bytes"
    assert not caught.value.sent


def test_bytes_on_an_idle_connection_are_refused(parser: ResponseParser) -> None:
    parser.expect()
    assert parser.feed(FIVE) is not None
    assert parser.reusable
    with pytest.raises(ProtocolError) as caught:
        parser.feed(b"\r\n")
    assert caught.value.rule == "unasked-bytes"


def test_the_rules_that_go_beyond_h11_are_these() -> None:
    """Those of STRICTER, the sizes, and one case of transfer-encoding."""
    assert set(rules.STRICTER) == {rule for rule, _ in STRICTER} - {"transfer-encoding"} | {
        "unasked-bytes"
    }
    kinds = [rules.STRICTER, rules.SIZES, rules.MALFORMED]
    assert sum(map(len, kinds)) == len(rules.RULES)
    for rule, text in rules.RULES.items():
        error = rules.refusal(rule)
        assert (error.rule, error.sent) == (rule, True)
        assert rule in str(error)
        assert text in str(error)
        assert isinstance(error, SizeLimitError) == (rule in rules.SIZES)


BOTH: list[tuple[str, bytes]] = [
    *[("content-length", OK + b"Content-Length:%s\r\n\r\nhello" % value) for value in [
        b"", b" +5", b" -5", b" 0x5", b" 5 5", b" 5;", b" \xb2", b" 1e1", b" 5.0", b" five",
        b" 100000000000000000000",
    ]],
    *[("transfer-encoding", OK + b"Transfer-Encoding: %s\r\n\r\n0\r\n\r\n" % value) for value in [
        b"", b"gzip", b"gzip, chunked", b"chunked, gzip", b"chunked, chunked", b"xchunked",
        b"chunked;a", b"identity", b'"chunked"', b"chunke", b"chunkedd", b",chunked",
    ]],
    ("transfer-encoding", CHUNKED[:-2] + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("transfer-encoding", CHUNKED[:-2] + b"transfer-encoding: gzip\r\n\r\n0\r\n\r\n"),
    *[("chunk-size", CHUNKED + line + b"hello\r\n0\r\n\r\n") for line in [
        b"+5\r\n", b"-5\r\n", b"0x5\r\n", b" 5\r\n", b"\r\n", b"g\r\n", b"5g\r\n", b"5,\r\n",
        b";a\r\n", b"000000000000000000005\r\n", b"5\r\r\n", b"5\rx\n",
    ]],
    ("bare-lf", CHUNKED + b"5\nhello\r\n0\r\n\r\n"),
    ("bare-lf", CHUNKED + b"5;a\nb\r\nhello\r\n0\r\n\r\n"),
    *[("chunk-end", CHUNKED + b"5\r\nhello%s0\r\n\r\n" % end) for end in [
        b"\n", b"\r", b"\n\r", b"xx", b"\r\r\n", b"", b" \r\n",
    ]],
    *[("header-value", OK + b"X: a%sb\r\nContent-Length: 0\r\n\r\n" % byte) for byte in [
        b"\0", b"\r", b"\x0b", b"\x0c",
    ]],
    *[("header-name", OK + name + b"\r\nContent-Length: 0\r\n\r\n") for name in [
        b": v", b"a b: v", b"a : v", b"a\t: v", b"a", b"\xe9: v", b"a\0b: v", b"(a): v", b"@: v",
    ]],
    *[("status-line", line + b"\r\nContent-Length: 0\r\n\r\n") for line in [
        b"", b"HTTP/1.1 20 OK", b"HTTP/1.1 2000 OK", b"HTTP/1.1 2x0 OK", b"HTTP/1.1  200 OK",
        b"HTTP/1.1\t200 OK", b"http/1.1 200 OK", b"HTTP/11 200 OK", b"HTTP/1.1 099 OK",
        b"HTTP/1.1 200\tOK", b"HTTP/1.1 200OK", b"HTTP/1.1 -20 OK", b"XTTP/1.1 200 OK",
        b"HTTP/1.1 200 a\0b", b"HTTP/a.b 200 OK", b" HTTP/1.1 200 OK", b"ICY 200 OK",
    ]],
    ("unasked-upgrade", b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
]  # fmt: skip


@pytest.mark.parametrize("name", PARSERS)
@pytest.mark.parametrize(("rule", "data"), BOTH)
def test_what_h11_refuses_is_refused_by_name(rule: str, data: bytes, name: str) -> None:
    assert by_h11(data, "GET").normal is None
    assert rule_of(data, parser=name) == rule


@pytest.mark.parametrize(("rule", "data"), [*STRICTER, *BOTH])
def test_nothing_that_was_received_reaches_a_message(rule: str, data: bytes) -> None:
    secret = data.replace(b"\r\n", b"\r\nS3CRET: S3CRET\r\n", 1).replace(b"X: a", b"X: S3CRET")
    one = ResponseParser()
    one.expect()
    with pytest.raises((ProtocolError, ConnectionLostError)) as caught:
        one.feed(secret)  # some are refused here, the others break off
        one.feed_eof()
    assert "S3CRET" not in str(caught.value)
    assert caught.value.__context__ is None


# --- limits -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PARSERS)
class TestLimits:
    def test_head(self, name: Literal["strict", "h11"]) -> None:
        data = OK + b"X: %s\r\nContent-Length: 0\r\n\r\n" % (b"a" * 200)
        assert rule_of(data, head=len(data), parser=name) is None
        assert rule_of(data, head=len(data) - 1, parser=name) == "head-size"
        # An endless head is refused while it grows, in one line or in many.
        for endless in (OK + b"X: " + b"a" * 300, OK + b"X: a\r\n" * 60):
            assert rule_of(endless, head=256, parser=name) == "head-size"

    def test_header_count(self, name: Literal["strict", "h11"]) -> None:
        data = OK + b"Content-Length: 0\r\n" + b"X: a\r\n" * 9 + b"\r\n"
        assert rule_of(data, header_count=10, parser=name) is None
        assert rule_of(data, header_count=9, parser=name) == "header-count"
        assert len(read(data, header_count=10, parser=name).headers.raw) == 10

    def test_body(self, name: Literal["strict", "h11"]) -> None:
        for data in (
            FIVE,
            OK + b"Content-Length: 99999999999999999999\r\n\r\n",
            OK + b"Content-Length: 18446744073709551619\r\n\r\n",  # 3 if it wrapped
            OK + b"Content-Length: 4294967299\r\n\r\n",
            CHUNKED + b"4\r\nhell\r\n1\r\no\r\n0\r\n\r\n",
            CHUNKED + b"fffffffffffffffffff5\r\n",
            CHUNKED + b"10000000000000003\r\nabc\r\n0\r\n\r\n",  # 3 if it wrapped
            OK + b"\r\nhello",
        ):
            assert rule_of(data, body=4, parser=name) == "body-size"
        assert read(FIVE, body=5, parser=name).body == b"hello"
        assert read(CHUNKED + b"5\r\nhello\r\n0\r\n\r\n", body=5, parser=name).body == b"hello"

    def test_trailers(self, name: Literal["strict", "h11"]) -> None:
        data = CHUNKED + b"0\r\n" + b"X: a\r\n" * 20 + b"\r\n"
        assert rule_of(data, parser=name) is None
        assert rule_of(data, header_count=19, parser=name) == "header-count"
        assert rule_of(data, head=121, parser=name) == "trailer-size"
        assert rule_of(CHUNKED + b"0\r\nX: " + b"a" * 300, head=256, parser=name) == "trailer-size"

    def test_chunk_line(self, name: Literal["strict", "h11"]) -> None:
        data = CHUNKED + b"5;" + b"a" * 300
        assert rule_of(data, head=256, parser=name) == "chunk-line-size"
        assert rule_of(data + b"\r\nhello\r\n0\r\n\r\n", head=256, parser=name) == "chunk-line-size"
        assert rule_of(data + b"\r\nhello\r\n0\r\n\r\n", head=400, parser=name) is None

    def test_informational(self, name: Literal["strict", "h11"]) -> None:
        data = b"HTTP/1.1 103 x\r\n\r\n" * 3 + FIVE
        found = read(data, informational=3, parser=name)
        assert [one.status for one in found.informational] == [103] * 3
        assert rule_of(data, informational=2, parser=name) == "informational-flood"

    def test_a_stream_has_no_body_limit(self, name: Literal["strict", "h11"]) -> None:
        one = ResponseParser(body=10, parser=name)
        one.expect(stream=True)
        one.feed(CHUNKED)
        for _ in range(20):
            one.feed(b"5\r\nhello\r\n")
            assert b"".join(memoryview(piece) for piece in one.read()) == b"hello"

    @pytest.mark.skipif(not STATM.exists(), reason="needs /proc to see what was allocated")
    @pytest.mark.parametrize(
        "announcement",
        [
            b"Content-Length: 60000000\r\n\r\n",
            b"Content-Length: 99999999999999999999\r\n\r\n",
            b"Transfer-Encoding: chunked\r\n\r\n3938700\r\n",
        ],
    )
    def test_an_announcement_allocates_nothing(
        self, name: Literal["strict", "h11"], announcement: bytes
    ) -> None:
        one = ResponseParser(parser=name)
        one.expect(stream=b"999" in announcement)
        before = int(STATM.read_text("ascii").split()[0])
        one.feed(OK + announcement)
        pages = int(STATM.read_text("ascii").split()[0]) - before
        assert pages * resource.getpagesize() < 30_000_000


def test_the_defaults_are_those_of_config() -> None:
    limits = ConfigLimits()
    head = OK + b"Content-Length: 0\r\n"
    assert rule_of(head + b"X: a\r\n" * (limits.header_count - 1) + b"\r\n") is None
    assert rule_of(head + b"X: a\r\n" * limits.header_count + b"\r\n") == "header-count"
    assert rule_of(head + b"X: " + b"a" * limits.head) == "head-size"
    assert rule_of(OK + b"Content-Length: %d\r\n\r\n" % (limits.body + 1)) == "body-size"


@pytest.mark.parametrize(
    "settings",
    [{"head": 0}, {"header_count": 0}, {"body": -1}, {"informational": -1}, {"parser": "x"}],
)
def test_settings_that_make_no_sense(settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError):
        ResponseParser(**settings)


# --- h11 ------------------------------------------------------------------------------------------


def test_h11_is_imported_by_the_first_hand_over() -> None:
    program = """
import sys
from ostiary._wire.parser import ResponseParser
one = ResponseParser()
one.expect(); assert one.feed(b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n")
chunked = b"HTTP/1.1 200 OK\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n"
one.expect(); assert one.feed(chunked + b"0\\r\\n\\r\\n")
assert "h11" not in sys.modules
one.expect(); assert one.feed(b"HTTP/1.1 204 OK\\r\\n\\r\\n")
assert "h11" in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)


HANDED = [
    (b"HTTP/1.1 204 x\r\n\r\n", "GET"),
    (b"HTTP/1.1 304 x\r\n\r\n", "GET"),
    (OK + b"Content-Length: 5\r\n\r\n", "HEAD"),
    (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nab", "GET"),
    (OK + b"X-Case: y\r\n\r\nab", "GET"),
    (b"HTTP/1.1 100 x\r\n\r\n" + CHUNKED + b"2\r\nab\r\n0\r\n\r\n", "GET"),
]


@pytest.mark.parametrize(("data", "method"), HANDED)
def test_h11_gets_every_byte_from_the_first(
    data: bytes, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[bytes] = []
    requests: list[bytes] = []

    class Spy(h11.Connection):
        def receive_data(self, data: bytes) -> None:
            given.append(data)
            super().receive_data(data)

        def send(self, event: Any) -> Any:
            if isinstance(event, h11.Request):
                requests.append(event.method)
            return super().send(event)

    monkeypatch.setattr(h11, "Connection", Spy)
    one = ResponseParser()
    one.expect(method)
    for byte in data:
        one.feed(b"%c" % byte)
    if not one.done:
        one.feed_eof()
    assert b"".join(given) == data
    assert requests == [method.encode()]
    one = ResponseParser()
    one.expect(method)
    given.clear()
    one.feed(FIVE if method == "GET" else data)
    assert (given == []) == (method == "GET")


def test_the_switch_sends_everything_to_h11(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []

    class Spy(h11.Connection):
        def __init__(self, *arguments: Any, **settings: Any) -> None:
            calls.append(self)
            super().__init__(*arguments, **settings)

    monkeypatch.setattr(h11, "Connection", Spy)
    assert read(FIVE, parser="h11").body == b"hello"
    assert len(calls) == 1
    assert read(FIVE).body == b"hello"
    assert len(calls) == 1


def test_what_h11_refuses_after_all_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: object) -> None:
        raise h11.RemoteProtocolError("S3CRET")

    monkeypatch.setattr(h11.Connection, "next_event", refuse)
    one = ResponseParser(parser="h11")
    one.expect()
    with pytest.raises(ProtocolError) as caught:
        one.feed(FIVE)
    assert caught.value.rule == "h11"
    assert caught.value.__context__ is None
