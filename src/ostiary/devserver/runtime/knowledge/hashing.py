"""The built-in embedding: signed feature hashing of words and of their letters.

The same in every process and without a model. Texts are near one another when they share
words, word stems or parts of words; meaning beyond that it does not know. How its similarity
is calibrated stands in docs/runtime-knowledge.md. Neighbour: `embedding` for other ways.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from .words import cut, stem, weight

__all__ = ["DIMENSIONS", "NAME", "vector"]

NAME: Final = "hashing-1"
DIMENSIONS: Final = 384
_FEATURES: Final = DIMENSIONS - 1
_GRAM: Final = 3
# What each word's direction is made of: itself, its stem, its letters three at a time.
_WORD_SHARE: Final = 0.25
_STEM_SHARE: Final = 0.5
_GRAM_SHARE: Final = 0.25
# What every text has in common. It makes cosine 0 of two texts' features a similarity of 0.5,
# 0.4 one of 0.7, and 1 one of 1.
_COMMON: Final = 1.0


def vector(text: str) -> list[float]:
    """Return the unit vector of a text, `DIMENSIONS` long."""
    found = [0.0] * DIMENSIONS
    for word, times in Counter(cut(text)).items():
        share = weight(word) * (1.0 + math.log(times))
        for place, value in _direction(word):
            found[place] += share * value
    length = math.hypot(*found)
    if not length:
        # Signs alone, say: a direction of its own, so that it is as far from the rest as
        # texts are that share nothing.
        found[_place(f"t {text}")[0]] = length = 1.0
    scale = 1.0 / (length * math.sqrt(1.0 + _COMMON * _COMMON))
    found = [value * scale for value in found]
    found[0] = _COMMON * scale * length
    return found


@lru_cache(maxsize=20_000)
def _direction(word: str) -> tuple[tuple[int, float], ...]:
    """Return a word's own unit vector, sparse; the first dimension is not a feature's."""
    found: dict[int, float] = {}
    for feature, share in _features(word):
        place, sign = _place(feature)
        found[place] = found.get(place, 0.0) + sign * share
    length = math.hypot(*found.values())
    if not length:  # its features cancelled one another
        return ()
    return tuple((place, value / length) for place, value in found.items())


def _place(feature: str) -> tuple[int, float]:
    digest = hashlib.blake2b(feature.encode("utf-8", "surrogatepass"), digest_size=9).digest()
    place = 1 + int.from_bytes(digest[:8], "big") % _FEATURES
    return place, 1.0 if digest[8] & 1 else -1.0


def _features(word: str) -> Iterator[tuple[str, float]]:
    yield f"w {word}", math.sqrt(_WORD_SHARE)
    yield f"s {stem(word)}", math.sqrt(_STEM_SHARE)
    padded = f"^{word[:64]}$"
    grams = [padded[at : at + _GRAM] for at in range(max(1, len(padded) - _GRAM + 1))]
    for gram in grams:
        yield f"g {gram}", math.sqrt(_GRAM_SHARE / len(grams))
