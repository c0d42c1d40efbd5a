"""What is wrong with a source, where, and what to do about it.

Neighbours: every stage of the compiler makes these; docs/dsl.md shows them.
"""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches
from typing import Final, Literal

import msgspec

__all__ = ["MOST_ERRORS", "Diagnostic", "did_you_mean", "expectation", "shown"]

MOST_ERRORS: Final = 50
_LONGEST_QUOTE: Final = 40


class Diagnostic(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One finding. `line` and `column` count from 1, columns in characters."""

    severity: Literal["error", "warning"] = "error"
    line: int
    column: int
    message: str
    hint: str | None = None

    def __str__(self) -> str:
        text = f"line {self.line}, column {self.column}: {self.message}"
        return text if self.hint is None else f"{text} ({self.hint})"


def shown(text: str) -> str:
    """Return a piece of the source, short enough to stand in a message."""
    line, _, more = text.partition("\n")
    if len(line) > _LONGEST_QUOTE or more:
        line = line[:_LONGEST_QUOTE] + "..."
    return repr(line)


def did_you_mean(word: str, known: Collection[str]) -> str | None:
    """Return the hint that names what `word` may have been meant to be, or None."""
    near = get_close_matches(word, known, n=1, cutoff=0.75)
    return f"did you mean '{near[0]}'?" if near and near[0] != word else None


_VALUES: Final = {"FALSE", "LMAP", "LPAR", "LSQB", "NAME", "NULL", "NUMBER", "STRING", "TRUE"}
_OPERATORS: Final = {"AND", "EQ", "GE", "GT", "IN", "LE", "LT", "MINUS", "NE", "OR", "PERCENT",
                     "PLUS", "SLASH", "STAR"}  # fmt: skip
_FRIENDLY: Final = {
    "ARROW": "'->'",
    "BANG": "'!'",
    "CATCH": "'catch'",
    "COLON": "':'",
    "COMMA": "','",
    "DOT": "'.'",
    "ELSE": "'else'",
    "END": "the end of the statement",
    "$END": "the end of the statement",
    "EQUAL": "'='",
    "FATARROW": "'=>'",
    "IN": "'in'",
    "KEY": "a key",
    "LBRACE": "'{'",
    "LPAR": "'('",
    "NAME": "a name",
    "RANGLE": "'>'",
    "RBRACE": "'}'",
    "RMAP": "'}'",
    "RPAR": "')'",
    "RSQB": "']'",
}


def expectation(accepted: Collection[str]) -> str:
    """Return what may stand at a place, in the reader's words, from the terminals accepted."""
    left = set(accepted)
    words: list[str] = []
    if len(left & _VALUES) >= 5:
        words.append("a value")
        left -= _VALUES | {"BANG", "DOT", "MINUS", "QUANTITY", "PARAM"}
    if len(left & _OPERATORS) >= 5:
        left -= _OPERATORS | {"DOT", "PATH", "LPAR", "LSQB", "LMAP", "LANGLE", "QUESTION"}
        if "END" in left or "$END" in left:
            left -= _VALUES | {"IF", "WITH", "FOR", "QUANTITY"}
        words.append("an operator")
    words += sorted({_FRIENDLY[each] for each in left if each in _FRIENDLY})
    if not words:
        return "nothing more"
    words = words[:4]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
