"""Responses by chance: lawful ones, and every kind of trespass the rules know, often combined."""

from __future__ import annotations

import random

METHODS = ["GET", "POST", "HEAD", "PUT", "DELETE"]
BAD_VERSIONS = [b"1.2", b"2.0", b"0.9", b"3.1", b"1", b"x.y", b"1.1.1", b"1.1 ", b" 1.1"]
STATUSES = b"201 202 204 304 206 404 500 503 999 600 299".split()
BAD_STATUSES = b"0200 20 2x0 099 000 -20 +20 2000".split()
REASONS = [b"", b" ", b" Not Found", b" \xe9t\xe9", b" a\tb", b"  ", b" \x01\x7f"]
BAD_REASONS = [b" a\x00b", b" a\rb", b" a\x0bb", b"\tOK", b"OK", b" a\nb"]
NAMES = [b"X-A", b"server", b"DATE", b"Content-Type", b"x", b"!#$%&'*+-.^_`|~0Zz", b"Set-Cookie"]
BAD_NAMES = [b"", b"a b", b"a\x00", b"\xe9", b"a:", b"(x)", b"a ", b"a\t", b" a", b"\ta", b"@"]
VALUES = [
    b"v",
    b"",
    b"a b",
    b"a\tb",
    b"\xe9\xff",
    b"\x01\x7f\x1f",
    b"x" * 40,
    b'"q;,="',
    b":",
    b"a,b",
]
BAD_VALUES = [b"a\x00b", b"a\rb", b"a\nb", b"a\x0bb", b"a\x0cb", b"\r", b"v\r\n w", b"v\r\n\tw"]
SPACES = [b" "] * 8 + [b"", b"  ", b"\t", b" \t "]
LENGTHS = [
    b"+5",
    b"-1",
    b"5,5",
    b"5, 5",
    b"5,6",
    b"",
    b"0x5",
    b"5 5",
    b"1e1",
    b"99999999999999999999",
]
LENGTHS += [
    b"100000000000000000000",
    b"\xb2",
    b"18446744073709551621",
    b"5;a",
    b"00000000000000000005",
    b",",
]
CODINGS = [b"Chunked", b"CHUNKED"] * 3 + [b"gzip, chunked", b"chunked, chunked", b"chunked;a=b"]
CODINGS += [
    b"identity",
    b"chunke",
    b"xchunked",
    b"",
    b"chunked,",
    b'"chunked"',
    b"gzip",
    b"\x0bchunked",
]
CONNECTIONS = [
    b"keep-alive",
    b"close",
    b"Close",
    b"close, x",
    b"x,close",
    b"x, CLOSE ,y",
    b"closed",
]
CONNECTIONS += [
    b"",
    b",",
    b",close",
    b"keep-alive, close",
    b"clo se",
    b"upgrade",
    b'"close"',
    b"close;q=1",
]
ENDS = [b"\r\n"] * 60 + [b"\n", b"\r", b"\r\r\n", b"\n\r", b"\r\n\r\n"]
SIZES_AFTER = [b""] * 30 + [
    b" ",
    b"\t ",
    b";",
    b"; ",
    b";a",
    b";a=b",
    b';a="b"',
    b" ;a",
    b";\t",
    b";a\nb",
]
SIZES_AFTER += [
    b";a\rb",
    b";\r",
    b"; a",
    b";;",
    b"\x00",
    b"g",
    b",",
    b"\r",
    b"\n",
    b";a\x00",
    b"  x",
    b"; \r",
]
SIZES_BEFORE = [b""] * 40 + [
    b" ",
    b"0",
    b"000",
    b"0x",
    b"+",
    b"-",
    b"\r\n",
    b"00000000000000000000",
]
INFORMATIONAL = [b"100", b"102", b"103", b"199", b"150"] * 3 + [b"101"]


class Generator:
    """A stream of cases out of one seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.pick = self.random.choice
        self.hostile = 0.0

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def line_end(self) -> bytes:
        return self.pick(ENDS) if self.chance(self.hostile) else b"\r\n"

    def header(self) -> bytes:
        name, value = self.pick(NAMES), self.pick(VALUES)
        if self.chance(self.hostile):
            name = self.pick(BAD_NAMES)
        if self.chance(self.hostile):
            value = self.pick(BAD_VALUES)
        return name + b":" + self.pick(SPACES) + value + self.pick(SPACES[8:] + [b""] * 8)

    def case_of(self, name: bytes) -> bytes:
        return self.pick([name, name.title(), name.upper()])

    def block(self, lines: list[bytes]) -> bytes:
        return b"".join(line + self.line_end() for line in lines) + self.line_end()

    def status_line(self, status: bytes, version: bytes) -> bytes:
        reason = self.pick(REASONS) if self.chance(0.2) else b" OK"
        if self.chance(self.hostile / 2):
            reason = self.pick(BAD_REASONS)
        if self.chance(self.hostile / 2):
            version = self.pick(BAD_VERSIONS)
        if self.chance(self.hostile / 2):
            status = self.pick(BAD_STATUSES)
        return b"HTTP/" + version + b" " + status + reason

    def content(self) -> bytes:
        size = self.pick([0, 1, 2, 5, 16, 17, 100])
        if self.chance(0.03):
            size = self.pick([1023, 1024, 1500, 4096, 9000])
        elif self.chance(0.3):
            return (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc0\r\n\r\n" * 3)[:size]
        return self.random.randbytes(size)

    def chunked(self, body: bytes) -> bytes:
        out: list[bytes] = []
        at = 0
        while at < len(body):
            size = self.random.randint(1, len(body) - at)
            if size > 64 and self.chance(0.5):
                size = self.random.randint(1, 64)
            out += [self.chunk_line(size), body[at : at + size]]
            end = b"\r\n"
            if self.chance(self.hostile / 2):
                end = self.pick([b"", b"\n", b"\r", b"x\r\n", b"\r\n\r\n", b"\rx", b"\n\r"])
            out.append(end)
            at += size
        if not self.chance(self.hostile / 2):
            out.append(self.chunk_line(0))
        trailers: list[bytes] = []
        if self.chance(0.25):
            trailers = [self.header() for _ in range(self.random.randint(1, 3))]
            if self.chance(self.hostile):
                name = self.pick([b"content-length", b"transfer-encoding", b"connection"])
                value = self.pick([b"5", b"chunked", b"close", b"gzip", b"Chunked"])
                trailers.append(self.case_of(name) + b": " + value)
        out.append(self.block(trailers))
        return b"".join(out)

    def chunk_line(self, size: int) -> bytes:
        digits = self.pick([b"%x", b"%X", b"0%x"]) % size
        after = b""
        if self.chance(0.1):
            after = self.pick([b";a", b";a=b", b';a="b c"', b"; name=v"])
        if self.chance(self.hostile):
            after = self.pick(SIZES_AFTER)
        if self.chance(self.hostile / 2):
            digits = self.pick(SIZES_BEFORE) + digits
        return digits + after + (self.line_end() if self.chance(0.5) else b"\r\n")

    def head(self, status: bytes, framing: list[bytes]) -> bytes:
        version = b"1.0" if self.chance(0.07) else b"1.1"
        lines = [self.header() for _ in range(self.random.randint(0, 4))] + framing
        if self.chance(0.3):
            value = self.pick(CONNECTIONS)
            lines.append(self.case_of(b"connection") + b":" + self.pick(SPACES) + value)
        self.random.shuffle(lines)
        return self.block([self.status_line(status, version), *lines])

    def response(self) -> bytes:
        out: list[bytes] = []
        while self.chance(0.12):
            out.append(self.head(self.pick(INFORMATIONAL), []))
        if self.chance(0.01):
            out += [b"HTTP/1.1 103 x\r\n\r\n"] * self.random.randint(5, 15)
        status = self.pick(STATUSES) if self.chance(0.4) else b"200"
        body = self.content()
        framing: list[bytes] = []
        kind = self.pick(["length", "length", "chunked", "chunked", "chunked", "rest", "both"])
        if kind == "both" and not self.chance(self.hostile):
            kind = "length"
        space = self.pick(SPACES)
        if kind in {"length", "both"}:
            length = b"%d" % len(body)
            if self.chance(self.hostile):
                length = self.pick(
                    [*LENGTHS, b"%d" % (len(body) + 1), b"%d" % max(0, len(body) - 1)]
                )
            framing.append(self.case_of(b"content-length") + b":" + space + length)
            if self.chance(self.hostile):
                framing.append(b"content-length: " + self.pick([length, b"7", b"5,5"]))
        if kind in {"chunked", "both"}:
            coding = self.pick([b"chunked", b"chunked", b"Chunked"])
            if self.chance(self.hostile):
                coding = self.pick(CODINGS)
            framing.append(self.case_of(b"transfer-encoding") + b":" + space + coding)
            if self.chance(self.hostile / 2):
                framing.append(b"transfer-encoding: chunked")
            body = self.chunked(body)
        out += [self.head(status, framing), body]
        if self.chance(0.05):
            out.append(
                self.pick([b"\r\n", b"x", b"HTTP/1.1 200 OK\r\n\r\n", b"\x00", b"0\r\n\r\n"])
            )
        return b"".join(out)

    def mutated(self, data: bytes) -> bytes:
        """Change a few bytes, biased towards those that carry meaning."""
        changed = bytearray(data)
        for _ in range(self.random.randint(1, 3)):
            if not changed:
                break
            at = self.random.randrange(min(len(changed), self.pick([40, 400, 20000])))
            what = self.random.randrange(4)
            byte = self.pick(b"\r\n\r\n :;,\t0159afAF\x00\x0b\xffHT/.x")
            if what == 0:
                changed[at] = byte
            elif what == 1:
                changed.insert(at, byte)
            elif what == 2:
                del changed[at : at + self.random.randint(1, 3)]
            else:
                other = self.random.randrange(len(changed))
                changed[at:at] = changed[other : other + self.random.randint(1, 12)]
        return bytes(changed)

    def case(self) -> tuple[bytes, str]:
        """Return what a peer sends, and the method of the request it answers."""
        self.hostile = self.pick([0.0, 0.0, 0.02, 0.02, 0.05, 0.15])
        method = "GET" if self.chance(0.7) else self.pick(METHODS)
        if method == "HEAD" and self.chance(0.7):
            data = self.head(b"200", [b"Content-Length: 5"])
        else:
            data = self.response()
        if self.chance(0.15):
            data = self.mutated(data)
        if self.chance(0.06):
            data = data[: self.random.randint(0, len(data))]
        return data, method

    def cuts(self, data: bytes) -> list[bytes]:
        """Cut a stream at random places, now and then at every byte."""
        if len(data) < 400 and self.chance(0.1):
            return [data[at : at + 1] for at in range(len(data))]
        many = min(len(data), self.pick([1, 2, 3, 8]))
        places = sorted(self.random.randint(0, len(data)) for _ in range(many))
        return [
            data[start:stop]
            for start, stop in zip([0, *places], [*places, len(data)], strict=True)
            if stop > start
        ]
