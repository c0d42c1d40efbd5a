"""Texts as words: cut, weighed and brought to their stems.

English suffixes and function words are known; other languages are cut into words all the
same. Neighbours: `hashing` makes vectors of this, `chunking` counts tokens.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Final

__all__ = ["cut", "stem", "tokens", "weight"]

_WORD: Final = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_TOKEN: Final = re.compile(r"[^\W_]{1,8}|_+|[^\w\s]|\n\s*\n")
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
# Scripts that are written without blanks: two letters at a time are the usual stand-in.
_UNSPACED: Final = re.compile(
    "[\u0e00-\u0eff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff]+"
)


def _listed(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Words that hold a sentence together and name nothing.
_FUNCTION: Final = _listed(
    """
    a an and any are as at be been being but by can could did do does doing done each either
    else for from had has have having he her here hers him his how i if in into is it its itself
    just may me might mine must my neither no nor not of off on onto or our ours out own shall
    she should so some such than that the their theirs them themselves then there these they
    this those to too upon us very was we were what when where whether which while who whom whose
    why will with would yes you your yours yourself i'm it's don't doesn't isn't can't won't
    """
)
# Words that could stand in a text about anything.
_LIGHT: Final = _listed(
    """
    about above after again all also always another around back bad because before below best
    better between big both common different easy every example few find first following general
    get gets getting give given gives go goes going good great help helpful important know large
    last let like little lot made main make makes making many more most much need needs never
    new next now often old one only other over part please possible put right same say see
    several simple small something still take takes tell thing things through two under until
    up use used useful user uses using various want wants way ways well within without work works
    """
)
_LIGHT_WEIGHT: Final = 0.4
_FUNCTION_WEIGHT: Final = 0.05

# The longest first; what is left has at least as many letters as stand beside it.
_SUFFIXES: Final = (
    ("ization", 4), ("isation", 4), ("ational", 4), ("ations", 4), ("ation", 4), ("ating", 4),
    ("ingly", 4), ("iness", 3), ("ments", 4), ("ment", 4), ("ities", 4), ("ators", 4),
    ("ator", 4), ("ings", 3), ("ions", 4), ("izes", 4), ("ized", 4), ("ize", 4), ("ises", 4),
    ("ised", 4), ("ates", 4), ("ated", 4), ("able", 4), ("ible", 4), ("ness", 4), ("edly", 4),
    ("ing", 3), ("ion", 4), ("ity", 4), ("ors", 4), ("ers", 4), ("ies", 3), ("ied", 3),
    ("ate", 4), ("als", 4), ("ed", 3), ("er", 4), ("or", 4), ("al", 4), ("ly", 4), ("es", 3),
    ("e", 3), ("y", 3), ("s", 3),
)  # fmt: skip


def cut(text: str) -> Iterator[str]:
    """Yield the words of a text: one case, accents gone, names taken apart."""
    for found in _WORD.findall(_CAMEL.sub(" ", unicodedata.normalize("NFKC", text))):
        word = found.casefold().replace("’", "'")
        if not word.isascii():
            word = _bare(word)
            yield from _pairs(word)
            continue
        yield word


def weight(word: str) -> float:
    """Return how much a word says about what a text is about: 1, or less."""
    if word in _FUNCTION:
        return _FUNCTION_WEIGHT
    return _LIGHT_WEIGHT if word in _LIGHT else 1.0


def stem(word: str) -> str:
    """Return a word without what only inflects it: `configured` as `configur`."""
    word = word.partition("'")[0]
    if not word.isascii() or not word.isalpha():
        return word
    for _ in range(3):
        shorter = _shortened(word)
        if shorter == word:
            break
        word = shorter
    return word


def _shortened(word: str) -> str:
    if word.endswith("ss"):
        return word
    for suffix, least in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= least:
            word = word[: -len(suffix)]
            break
    # running, run; setting, set
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "lsz":
        word = word[:-1]
    return word


def tokens(text: str) -> int:
    """Return about how many tokens a model counts in a text.

    A word counts one for each eight letters begun, a sign one; letters of scripts without
    blanks count one each.
    """
    spaced = _UNSPACED.sub("", text)
    return sum(1 for _ in _TOKEN.finditer(spaced)) + len(text) - len(spaced)


def _bare(word: str) -> str:
    parts = unicodedata.normalize("NFD", word)
    return unicodedata.normalize(
        "NFC", "".join(one for one in parts if unicodedata.category(one) != "Mn")
    )


def _pairs(word: str) -> Iterator[str]:
    if not _UNSPACED.fullmatch(word) or len(word) < 3:
        yield word
        return
    for at in range(len(word) - 1):
        yield word[at : at + 2]
