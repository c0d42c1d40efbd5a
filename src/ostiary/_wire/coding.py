"""Content codings undone with every size bounded while it grows, not afterwards.

gzip and deflate are always known; zstd and br when a package that can stop at a size is
installed (`compression.zstd` or `backports.zstd`; `brotli` or `brotlicffi` from 1.2 on).
Refuses by the rules of `rules`; a body that breaks off is an error, never a shorter body.
"""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol

from .rules import refusal

# What zlib and its like hold back is copied once per call, so the input goes in by windows.
_WINDOW: Final = 16 * 1024
_PIECE: Final = 64 * 1024
# Nobody encodes three times; every further stage multiplies what a byte can cost.
MAX_CHAIN: Final = 2
# A gzip or zstd body may have many members, and each costs the making of a decompressor.
MAX_MEMBERS: Final = 4096
# RFC 9659: what a zstd window may take of a reader's memory.
_ZSTD_WINDOW_LOG: Final = 23


class _Stage(Protocol):
    def push(self, data: bytes | memoryview) -> Iterator[bytes]: ...
    def finish(self) -> None: ...


class _Members:
    """A stage whose format has members, by an object in the manner of `zlib.decompressobj`."""

    def __init__(self, open_member: Callable[[bytes], Any], *, many: bool, sniff: int = 0) -> None:
        self._open_member = open_member
        self._many = many
        self._sniff = sniff
        self._held = b""
        self._member: Any = None
        self._count = 0

    def push(self, data: bytes | memoryview) -> Iterator[bytes]:
        if self._held:
            data = self._held + bytes(data)
            self._held = b""
        while len(data):
            if self._member is None:
                if self._count and not self._many:
                    raise refusal("coding-damaged")  # something follows the end
                if len(data) < self._sniff:
                    self._held = bytes(data)
                    return
                self._count += 1
                if self._count > MAX_MEMBERS:
                    raise refusal("coding-members")
                self._member = self._open_member(bytes(data[: self._sniff]))
            yield from self._member.push(data)
            if not self._member.ended:
                return
            data = self._member.rest
            self._member = None

    def finish(self) -> None:
        if self._held or self._member is not None:
            raise refusal("coding-truncated")


class _Zlib:
    """One zlib, gzip or raw deflate member."""

    def __init__(self, wbits: int) -> None:
        self._inner = zlib.decompressobj(wbits)
        self.ended = False
        self.rest = b""

    def push(self, data: bytes | memoryview) -> Iterator[bytes]:
        inner = self._inner
        while True:
            damaged = False
            piece = b""
            try:
                piece = inner.decompress(data, _PIECE)
            except zlib.error:
                damaged = True
            if damaged:
                raise refusal("coding-damaged")
            if piece:
                yield piece
            data = inner.unconsumed_tail
            if inner.eof:
                self.ended, self.rest = True, inner.unused_data
                return
            if not data:
                return


class _Zstd:
    """One zstd frame, by an object in the manner of `bz2.BZ2Decompressor`."""

    def __init__(self, module: Any) -> None:
        options = {module.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG}
        self._inner = module.ZstdDecompressor(options=options)
        self._error = module.ZstdError
        self.ended = False
        self.rest = b""

    def push(self, data: bytes | memoryview) -> Iterator[bytes]:
        inner = self._inner
        while True:
            damaged = False
            piece = b""
            try:
                piece = inner.decompress(data, _PIECE)
            except self._error:
                damaged = True
            if damaged:
                raise refusal("coding-damaged")
            if piece:
                yield piece
            if inner.eof:
                self.ended, self.rest = True, inner.unused_data
                return
            if inner.needs_input:
                return
            data = b""


class _Brotli:
    """One brotli stream; the format has no members and no mark before its end."""

    def __init__(self, module: Any) -> None:
        self._inner = module.Decompressor()
        self._error = module.error
        self._begun = False

    def push(self, data: bytes | memoryview) -> Iterator[bytes]:
        inner = self._inner
        if self._begun and inner.is_finished() and len(data):
            raise refusal("coding-damaged")
        self._begun = self._begun or len(data) > 0
        given = bytes(data)
        while True:
            damaged = False
            piece = b""
            try:
                piece = inner.process(given, output_buffer_limit=_PIECE)
            except self._error:
                damaged = True
            if damaged:
                raise refusal("coding-damaged")
            if piece:
                yield piece
            # It says that it can accept more even while it holds more than it gave.
            if inner.is_finished() or (len(piece) < _PIECE and inner.can_accept_more_data()):
                return
            given = b""

    def finish(self) -> None:
        if self._begun and not self._inner.is_finished():
            raise refusal("coding-truncated")


def _open_deflate(start: bytes) -> _Zlib:
    """Tell zlib's format from raw deflate, which servers send under the same name.

    A raw stream cannot begin like a zlib header: that would be a stored block with a padding
    bit set, which no encoder writes.
    """
    zlib_header = start[0] & 0x0F == 8 and start[0] >> 4 <= 7
    zlib_header = zlib_header and (start[0] << 8 | start[1]) % 31 == 0
    return _Zlib(zlib.MAX_WBITS if zlib_header else -zlib.MAX_WBITS)


# What was looked for, found or not: a search that finds nothing is slow.
_modules: dict[str, Any] = {}


def _optional(coding: str, *names: str) -> Any:
    if coding not in _modules:
        _modules[coding] = None
        for name in names:
            try:
                _modules[coding] = importlib.import_module(name)
                break
            except ModuleNotFoundError:
                continue
    return _modules[coding]


def _zstd() -> Any:
    return _optional("zstd", "compression.zstd", "backports.zstd")


def _brotli() -> Any:
    module = _optional("br", "brotli", "brotlicffi")
    # Before 1.2 it gives whatever a bomb holds in one piece.
    return (
        module if hasattr(getattr(module, "Decompressor", None), "can_accept_more_data") else None
    )


def _stage(coding: str) -> _Stage:
    if coding in {"gzip", "x-gzip"}:
        return _Members(lambda _: _Zlib(zlib.MAX_WBITS | 16), many=True)
    if coding == "deflate":
        return _Members(_open_deflate, many=False, sniff=2)
    if coding == "zstd" and (module := _zstd()) is not None:
        return _Members(lambda _: _Zstd(module), many=True)
    if coding == "br" and (module := _brotli()) is not None:
        return _Brotli(module)
    raise refusal("content-coding")


def accepted() -> str:
    """Return the value of Accept-Encoding: the codings that can be undone here."""
    found = ["gzip", "deflate"]
    if _brotli() is not None:
        found.append("br")
    if _zstd() is not None:
        found.append("zstd")
    return ", ".join(found)


class ContentDecoder:
    """Undo the codings of one body, piece by piece.

    `codings` is the value of Content-Encoding, `limit` the most bytes that any stage may give.
    """

    def __init__(self, codings: str, *, limit: int) -> None:
        names = [name for part in codings.split(",") if (name := part.strip(" \t").lower())]
        names = [name for name in names if name != "identity"]
        if len(names) > MAX_CHAIN:
            raise refusal("coding-chain")
        self._stages = [_stage(name) for name in reversed(names)]
        self._left = [limit] * len(names)

    @property
    def plain(self) -> bool:
        """Whether there is nothing to undo."""
        return not self._stages

    def feed(self, data: bytes | memoryview) -> Iterator[bytes]:
        """Yield what can be decoded so far, in pieces of about 64 KiB at most.

        Nothing is decoded before it is asked for; all has to be, before the next feed.
        """
        if self._stages:
            whole = memoryview(data)
            for at in range(0, len(whole), _WINDOW):
                yield from self._through(0, whole[at : at + _WINDOW])
        elif len(data):
            yield bytes(data)

    def finish(self) -> None:
        """Say that the body is whole; raises when a coding is not at its end."""
        for stage in self._stages:
            stage.finish()

    def _through(self, number: int, data: bytes | memoryview) -> Iterator[bytes]:
        last = number == len(self._stages) - 1
        for piece in self._stages[number].push(data):
            self._left[number] -= len(piece)
            if self._left[number] < 0:
                raise refusal("decompressed-size")
            if last:
                yield piece
            else:
                for at in range(0, len(piece), _WINDOW):
                    yield from self._through(number + 1, piece[at : at + _WINDOW])


def decode(codings: str, body: bytes | memoryview, *, limit: int) -> bytes:
    """Undo the codings of a whole body. An empty body is empty whatever it says it is."""
    decoder = ContentDecoder(codings, limit=limit)
    pieces = list(decoder.feed(body))
    decoder.finish()
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
