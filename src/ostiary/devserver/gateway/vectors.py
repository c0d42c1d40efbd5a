"""Embeddings by hashing: texts that share words and letters lie near one another.

Signed feature hashing of words and of three letters at a time, scaled to length one; the
same in every process. Neighbour: `endpoints`.
"""

from __future__ import annotations

import base64
import hashlib
import math
import struct
from collections.abc import Iterator, Sequence
from typing import Final

from .instances import words

__all__ = ["DIMENSIONS", "as_base64", "vector"]

DIMENSIONS: Final = 64


def vector(text: str | Sequence[int], dimensions: int) -> list[float]:
    """Return the unit vector of a text, or of its token numbers."""
    found = [0.0] * dimensions
    for feature, weight in _features(text):
        digest = hashlib.blake2b(feature.encode("utf-8", "surrogatepass"), digest_size=9).digest()
        place = int.from_bytes(digest[:8], "big") % dimensions
        found[place] += weight if digest[8] & 1 else -weight
    length = math.hypot(*found)
    if length == 0.0:  # two features may cancel each other
        found[0], length = 1.0, 1.0
    return [value / length for value in found]


def as_base64(vector: Sequence[float]) -> str:
    """Return little-endian floats of 32 bits, in base64."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode("ascii")


def _features(text: str | Sequence[int]) -> Iterator[tuple[str, float]]:
    if not isinstance(text, str):
        for number in text:
            yield f"#{number}", 1.0
        return
    yield "", 0.01  # so that no text is without a direction
    for word in words(text):
        yield word, 1.0
        padded = f" {word} "
        for at in range(len(padded) - 2):
            yield padded[at : at + 3], 0.25
