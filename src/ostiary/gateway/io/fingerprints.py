"""What tells a finding apart from others when lines move: the hashes SARIF consumers compare.

`line_hashes` computes GitHub's `primaryLocationLineHash`, so that results uploaded by us and by
others match. `finding_hash` needs no source. Neighbour: `report`, which puts them in.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable

__all__ = ["finding_hash", "line_hashes"]

# A rolling polynomial hash, modulo 2**64, over this many characters from a line's first on,
# blanks and tabs left out.
_WINDOW = 100
_BASE = 37
_MASK = (1 << 64) - 1
_LEAVING = pow(_BASE, _WINDOW, 1 << 64)
_END = 0xFFFF


def line_hashes(text: str, lines: Collection[int] | None = None) -> dict[int, str]:
    """Return the hash of each line, counted from 1: sixteen digits at most, then `:` and a number.

    The number tells lines apart whose hashes are equal, counted from the top. `lines` are the
    ones wanted; None means all.
    """
    codes = _code_units(text)
    # Where each line begins among what is hashed; a line feed ends one, and belongs to it.
    begins = [0]
    begins += [at + 1 for at, code in enumerate(codes) if code == 10]
    hashed = [*codes, _END]
    # A file that ends with a line feed has no line behind it, but for the end mark, which
    # stands there by itself and counts as one.
    prefix = [0]
    value = 0
    for code in hashed:
        value = (value * _BASE + code) & _MASK
        prefix.append(value)
    size = len(hashed)
    seen: Counter[str] = Counter()
    found: dict[int, str] = {}
    for number, begin in enumerate(begins, 1):
        end = begin + _WINDOW
        if end <= size:
            raw = prefix[end] - prefix[begin] * _LEAVING
        else:
            # Zeros follow the end.
            raw = prefix[size] * pow(_BASE, end - size, 1 << 64) - prefix[begin] * _LEAVING
        digest = f"{raw & _MASK:x}"
        seen[digest] += 1
        if lines is None or number in lines:
            found[number] = f"{digest}:{seen[digest]}"
    return found


def _code_units(text: str) -> list[int]:
    """Return UTF-16 code units without blanks and tabs, each line end as one line feed."""
    plain = text.replace("\r\n", "\n").replace("\r", "\n").replace(" ", "").replace("\t", "")
    raw = plain.encode("utf-16-le", "surrogatepass")
    return [raw[at] | raw[at + 1] << 8 for at in range(0, len(raw), 2)]


def finding_hash(parts: Iterable[str]) -> str:
    """Return a digest of what a finding is about, in 32 hex digits."""
    digest = hashlib.sha256()
    for part in parts:
        encoded = part.encode("utf-8", "surrogatepass")
        # Lengths, so that no two lists of parts run together into the same bytes.
        digest.update(len(encoded).to_bytes(8, "big") + encoded)
    return digest.hexdigest()[:32]
