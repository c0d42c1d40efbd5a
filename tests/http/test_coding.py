"""Content codings: what goes in comes out, and what is too much stops while it grows."""

from __future__ import annotations

import gzip
import importlib.util
import random
import tracemalloc
import zlib
from collections.abc import Callable

import pytest

from ostiary._wire.coding import MAX_MEMBERS, ContentDecoder, accepted, decode
from ostiary.errors import ProtocolError, SizeLimitError

LIMIT = 1 << 20
TEXT = random.Random(5).randbytes(3000) + b"some text, often " * 2000


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


def brotli(data: bytes) -> bytes:
    module = pytest.importorskip("brotli")
    packed = module.compress(data)
    assert isinstance(packed, bytes)
    return packed


def zstd(data: bytes) -> bytes:
    name = "compression.zstd" if importlib.util.find_spec("compression") else "backports.zstd"
    packed = pytest.importorskip(name).compress(data)
    assert isinstance(packed, bytes)
    return packed


Pack = Callable[[bytes], bytes]
CODINGS: list[tuple[str, Pack]] = [
    ("gzip", gzip.compress),
    ("x-gzip", gzip.compress),
    ("deflate", zlib.compress),
    ("deflate", raw_deflate),
    ("br", brotli),
    ("zstd", zstd),
]
IDS = ["gzip", "x-gzip", "zlib", "raw", "br", "zstd"]
each_coding = pytest.mark.parametrize(("coding", "pack"), CODINGS, ids=IDS)


def rule_of(codings: str, body: bytes, limit: int = LIMIT) -> str | None:
    try:
        decode(codings, body, limit=limit)
    except ProtocolError as error:
        return error.rule
    return None


@each_coding
class TestEachCoding:
    def test_there_and_back(self, coding: str, pack: Pack) -> None:
        for data in (b"", b"a", TEXT, b"\0" * 300_000):
            packed = pack(data)
            assert decode(coding, packed, limit=LIMIT) == data
            assert decode(coding.upper(), memoryview(packed), limit=len(data) or 1) == data

    def test_every_cut(self, coding: str, pack: Pack) -> None:
        packed = pack(TEXT)
        for size in (1, 2, 3, 7, 1000, 17_000):
            decoder = ContentDecoder(coding, limit=LIMIT)
            found = b""
            for at in range(0, len(packed), size):
                found += b"".join(decoder.feed(packed[at : at + size]))
            decoder.finish()
            assert found == TEXT

    def test_what_breaks_off_is_an_error(self, coding: str, pack: Pack) -> None:
        packed = pack(TEXT)
        for size in [*range(1, 40), len(packed) // 2, *range(len(packed) - 12, len(packed))]:
            assert rule_of(coding, packed[:size]) in {"coding-truncated", "coding-damaged"}, size

    def test_damage_is_an_error(self, coding: str, pack: Pack) -> None:
        assert rule_of(coding, b"S3CRET, and not packed at all") == "coding-damaged"
        with pytest.raises(ProtocolError) as caught:
            decode(coding, b"S3CRET, and not packed at all", limit=LIMIT)
        assert "S3CRET" not in str(caught.value)
        assert caught.value.__context__ is None  # zlib's own may quote what it failed on
        assert rule_of(coding, pack(TEXT) + b"x") in {"coding-damaged", "coding-truncated"}
        assert rule_of(coding, pack(TEXT) + b"surplus bytes") is not None

    def test_the_limit_is_exact(self, coding: str, pack: Pack) -> None:
        packed = pack(TEXT)
        assert rule_of(coding, packed, limit=len(TEXT)) is None
        assert rule_of(coding, packed, limit=len(TEXT) - 1) == "decompressed-size"
        with pytest.raises(SizeLimitError):
            decode(coding, packed, limit=1)

    def test_a_bomb_is_stopped_while_it_grows(self, coding: str, pack: Pack) -> None:
        bomb = pack(b"\0" * (100 << 20))
        tracemalloc.start()
        try:
            assert rule_of(coding, bomb) == "decompressed-size"
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 3 * LIMIT

    def test_a_bomb_within_a_coding(self, coding: str, pack: Pack) -> None:
        """The stage between may not grow without bound either."""
        bomb = gzip.compress(pack(b"\0" * (20 << 20)))
        assert rule_of(f"{coding}, gzip", bomb) == "decompressed-size"
        empty = pack(b"")
        inner = empty * (2 * LIMIT // len(empty))
        assert rule_of(f"{coding}, gzip", gzip.compress(inner)) is not None

    def test_the_pieces_of_a_stream_are_bounded(self, coding: str, pack: Pack) -> None:
        decoder = ContentDecoder(coding, limit=LIMIT)
        assert max(map(len, decoder.feed(pack(b"\0" * 900_000)))) <= 128 * 1024


def test_what_stands_between_two_codings_is_bounded() -> None:
    """It grows by the peer's will as well, though nothing comes out at the end."""
    padding = b"\xff\xff" + bytes(0xFFFF)
    member = b"\x1f\x8b\x08\x04" + bytes(6) + padding + b"\x03\x00" + bytes(8)
    members = LIMIT // len(member)
    assert decode("gzip, gzip", gzip.compress(member * members), limit=LIMIT) == b""
    bomb = gzip.compress(member * (members + 1))
    assert rule_of("gzip, gzip", bomb) == "decompressed-size"


def test_chains() -> None:
    body = gzip.compress(zlib.compress(TEXT))
    assert decode("deflate, gzip", body, limit=LIMIT) == TEXT
    assert decode(" Deflate ,\tGZIP,identity,", body, limit=LIMIT) == TEXT
    assert rule_of("gzip, deflate", body) == "coding-damaged"
    assert rule_of("gzip, gzip, gzip", gzip.compress(body)) == "coding-chain"
    assert rule_of(", ".join(["gzip"] * 5000), b"") == "coding-chain"


@pytest.mark.parametrize("codings", ["", "identity", "Identity, identity", " , "])
def test_nothing_to_undo(codings: str) -> None:
    assert ContentDecoder(codings, limit=1).plain
    assert decode(codings, TEXT, limit=1) == TEXT
    assert decode(codings, b"", limit=1) == b""


@pytest.mark.parametrize("codings", ["compress", "gzipp", "gzip;q=1", "*", "gzip deflate", "\xe9"])
def test_unknown_codings(codings: str) -> None:
    assert rule_of(codings, b"x") == "content-coding"


def test_an_empty_body_is_empty() -> None:
    """What answers HEAD names a coding and has no body."""
    for codings in ("gzip", "deflate", "gzip, deflate"):
        assert decode(codings, b"", limit=1) == b""


def test_members() -> None:
    parts = [b"one", b"", b"two" * 100, TEXT]
    assert decode("gzip", b"".join(map(gzip.compress, parts)), limit=LIMIT) == b"".join(parts)
    # deflate has none
    assert rule_of("deflate", zlib.compress(b"a") + zlib.compress(b"b")) == "coding-damaged"


def test_the_number_of_members_is_bounded() -> None:
    empty = gzip.compress(b"")
    assert rule_of("gzip", empty * MAX_MEMBERS) is None
    assert rule_of("gzip", empty * (MAX_MEMBERS + 1)) == "coding-members"


def test_what_is_accepted_can_be_undone() -> None:
    names = accepted().split(", ")
    assert names[:2] == ["gzip", "deflate"]
    for name in names:
        assert not ContentDecoder(name, limit=1).plain
    if importlib.util.find_spec("brotli") is None:
        assert "br" not in names
        assert rule_of("br", b"x") == "content-coding"
