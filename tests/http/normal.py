"""One exchange in normal form, as h11 reads it and as we do, and what may explain a difference.

h11 is the oracle. The explanations read the bytes by means of their own, so that a refusal
counts only where what it names is really there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

import h11

from ostiary._wire.http1 import Response
from ostiary._wire.parser import ResponseParser
from ostiary.errors import ConnectionLostError, ProtocolError

Pairs = list[tuple[bytes, bytes]]


class Normal(NamedTuple):
    informational: list[tuple[int, Pairs]]
    status: int
    headers: Pairs
    body: bytes
    trailers: Pairs
    reusable: bool


class Refused(NamedTuple):
    rule: str


class Limits(NamedTuple):
    head: int = 64 * 1024
    header_count: int = 256
    body: int = 64 * 1024 * 1024
    informational: int = 10


DEFAULT = Limits()


class Oracle(NamedTuple):
    """What h11 says: a normal form or None for a refusal; and what it left unread."""

    normal: Normal | None
    surplus: bytes = b""


def by_h11(data: bytes, method: str) -> Oracle:
    """Give h11 the whole stream, then its end."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 30)
    connection.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
    connection.send(h11.EndOfMessage())
    informational: list[tuple[int, Pairs]] = []
    body = b""
    head: h11.Response | None = None
    try:
        for part in (data, b""):
            if part or part is not data:
                connection.receive_data(part)
            while True:
                event = connection.next_event()
                if isinstance(event, h11.InformationalResponse):
                    informational.append((event.status_code, list(event.headers)))
                elif isinstance(event, h11.Response):
                    head = event
                elif isinstance(event, h11.Data):
                    body += bytes(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    assert head is not None
                    surplus, _ = connection.trailing_data
                    states = (connection.our_state, connection.their_state)
                    reusable = states == (h11.DONE, h11.DONE)
                    reusable = reusable and connection.trailing_data == (b"", False)
                    return Oracle(
                        Normal(
                            informational,
                            head.status_code,
                            list(head.headers),
                            body,
                            list(event.headers),
                            reusable,
                        ),
                        surplus,
                    )
                elif event is h11.NEED_DATA:
                    break
                else:
                    raise AssertionError(f"h11 said {event!r}")
    except h11.RemoteProtocolError:
        return Oracle(None)
    return Oracle(None)


def parser_for(limits: Limits = DEFAULT, parser: str = "strict") -> ResponseParser:
    return ResponseParser(
        head=limits.head,
        header_count=limits.header_count,
        body=limits.body,
        informational=limits.informational,
        parser="h11" if parser == "h11" else "strict",
    )


def by_us(
    pieces: Iterable[bytes], method: str, parser: ResponseParser, *, stream: bool = False
) -> Normal | Refused:
    """Give us the stream in pieces, then its end."""
    head: Response | None = None
    body: list[bytes | memoryview] = []
    parts: list[object] = []
    reusable = ended = False
    try:
        parser.expect(method, stream=stream)
        for piece in pieces:
            found = parser.feed(piece)
            head = found or head
            if stream:
                parts += parser.read()
            if parser.done and not ended:
                ended, reusable = True, parser.reusable
        if not ended:
            head = parser.feed_eof() or head
            if stream:
                parts += parser.read()
            assert parser.done
            reusable = parser.reusable
    except ConnectionLostError:
        return Refused("truncated")
    except ProtocolError as error:
        return Refused(error.rule or "a refusal without a rule")
    assert head is not None
    if stream:
        assert head.body == b""
        body = [memoryview(part) for part in parts]  # type: ignore[arg-type]
    else:
        body = [memoryview(head.body)]
    return Normal(
        [(one.status, one.headers.raw) for one in head.informational],
        head.status,
        head.headers.raw,
        b"".join(body),
        head.trailers.raw,
        reusable,
    )


def _names(data: bytes, name: bytes) -> int:
    return len(re.findall(rb"(?i)\n" + name + rb":", data))


def _blocks(data: bytes) -> list[bytes]:
    return data.split(b"\r\n\r\n")


def explained(rule: str, data: bytes, oracle: Oracle, limits: Limits) -> bool:
    """Whether `rule`, which h11 does not have, is broken in `data`."""
    lengths = _names(data, b"content-length")
    codings = _names(data, b"transfer-encoding")
    normal = oracle.normal
    assert normal is not None
    match rule:
        case "length-and-coding":
            return lengths > 0 and codings > 0
        case "repeated-length":
            return lengths > 1 or bool(re.search(rb"(?i)\ncontent-length:[^\n]*,", data))
        case "folded-line":
            return bool(re.search(rb"\n[ \t]", data))
        case "coding-on-1.0":
            return codings > 0 and b"HTTP/1.0" in data
        case "version":
            return bool(re.search(rb"HTTP/(?!1\.[01] )\d\.\d ", data))
        case "surplus-bytes" | "unasked-bytes":
            return oracle.surplus != b""
        case "informational-flood":
            return len(normal.informational) > limits.informational
        case "bare-lf":
            return bool(re.search(rb"(?<!\r)\n", data))
        case "chunk-size-space":
            return codings > 0 and bool(re.search(rb"\n[0-9A-Fa-f]+[ \t]+\r\n", data))
        case "empty-chunk-extension":
            return codings > 0 and bool(re.search(rb"\n[0-9A-Fa-f]+;[ \t\r]*\r\n", data))
        case "transfer-encoding":  # in a trailer
            return any(name == b"transfer-encoding" for name, _ in normal.trailers)
        case "head-size" | "trailer-size":
            return max(map(len, _blocks(data))) + 4 > limits.head
        case "header-count":
            return max(block.count(b"\n") for block in _blocks(data)) > limits.header_count
        case "chunk-line-size":
            return bool(re.search(rb"\n[0-9A-Fa-f]+;[^\n]{%d}" % (limits.head - 24), data))
        case "body-size":
            return len(normal.body) > limits.body
    return False


def complaint(
    ours: Normal | Refused, data: bytes, oracle: Oracle, limits: Limits = DEFAULT
) -> str | None:
    """Say what nothing explains, or None."""
    if isinstance(ours, Normal):
        if oracle.normal is None:
            return f"accepted as {ours}, refused by h11"
        if ours != oracle.normal or oracle.surplus:
            return f"read as {ours}, by h11 as {oracle.normal} + {oracle.surplus!r}"
        return None
    if oracle.normal is None or explained(ours.rule, data, oracle, limits):
        return None
    return f"refused by rule {ours.rule}, read by h11 as {oracle.normal} + {oracle.surplus!r}"
