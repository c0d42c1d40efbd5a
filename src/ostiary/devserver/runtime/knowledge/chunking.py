"""Long texts in pieces that can be found on their own: whole sentences where possible.

Nothing is lost and nothing is changed: a piece is a span of the text. Neighbour: `words`
counts the tokens.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import msgspec

from .words import tokens

__all__ = ["Chunk", "chunks", "shorten"]

_ENDS: Final = re.compile(r"(?<=[.!?])[\"')\]]*\s+|(?<=[。！？])|\n\s*\n|\n(?=\s*(?:[-*#>]|\d+\.))")
_PIECE: Final = re.compile(r"\s*\S+\s*")


class Chunk(msgspec.Struct, frozen=True):
    """A span of a text; `size` are its tokens."""

    start: int
    stop: int
    size: int


def chunks(text: str, size: int, overlap: int = 0) -> list[Chunk]:
    """Cut a text into chunks of at most `size` tokens, in order.

    Each begins with up to `overlap` tokens of the one before, in whole sentences. Between
    them they hold everything but blanks.
    """
    pieces = list(_pieces(text, size))
    found: list[Chunk] = []
    first = 0
    while first < len(pieces):
        total, last = 0, first
        while last < len(pieces) and total + pieces[last].size <= size:
            total += pieces[last].size
            last += 1
        found.append(_trimmed(text, pieces[first].start, pieces[last - 1].stop))
        if last == len(pieces):
            break
        again, carried = last, 0
        while again - 1 > first:
            more = carried + pieces[again - 1].size
            if more > overlap or more + pieces[last].size > size:
                break
            again, carried = again - 1, more
        first = again
    return found


def shorten(text: str, size: int) -> str:
    """Return the beginning of a text, at most `size` tokens: sentences, else words."""
    if tokens(text) <= size:
        return text
    found = chunks(text, size)
    return text[found[0].start : found[0].stop] if found else ""


def _pieces(text: str, size: int) -> Iterator[Chunk]:
    """Yield sentences, and what is too long for one chunk in words or letters."""
    at = 0
    ends = [found.end() for found in _ENDS.finditer(text)]
    for end in (*ends, len(text)):
        if end <= at or not text[at:end].strip():
            continue
        count = tokens(text[at:end])
        if count <= size:
            yield Chunk(at, end, count)
        else:
            yield from _words(text, at, end, size)
        at = end


def _words(text: str, start: int, stop: int, size: int) -> Iterator[Chunk]:
    for found in _PIECE.finditer(text, start, stop):
        at, end = found.span()
        count = tokens(text[at:end])
        if count <= size:
            yield Chunk(at, end, count)
            continue
        for cut in range(at, end, size):  # a letter is a token at most
            last = min(cut + size, end)
            yield Chunk(cut, last, tokens(text[cut:last]))


def _trimmed(text: str, start: int, stop: int) -> Chunk:
    while start < stop and text[start].isspace():
        start += 1
    while stop > start and text[stop - 1].isspace():
        stop -= 1
    return Chunk(start, stop, tokens(text[start:stop]))
