"""From words to what they are: keys, kinds of blocks, ends of statements.

A newline ends a statement where one can end; what begins a statement is told apart by what
follows it, so that no word is reserved. Brackets are matched here, and their depth is bounded:
nothing behind this stage can be nested deeper. Neighbours: `grammar`, `parser`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, final

from lark import Token

from .diagnostics import Diagnostic, shown

__all__ = ["DEEPEST", "Layout"]

DEEPEST: Final = 64
_DEEPEST_TYPE: Final = 16
_LONGEST_TYPE: Final = 64

_CONTROL: Final = {
    "let": "LET",
    "return": "RETURN",
    "if": "IF",
    "for": "FOR",
    "while": "WHILE",
    "match": "MATCH",
    "try": "TRY",
    "with": "WITH",
    "break": "BREAK",
    "continue": "CONTINUE",
}
_WITHIN: Final = {
    "if": "IF",
    "with": "WITH",
    "for": "FOR",
    "in": "IN",
    "true": "TRUE",
    "false": "FALSE",
    "null": "NULL",
    "None": "NULL",
}
_WITHIN_VALUES: Final = {"if", "with", "for", "in"}
_BARE: Final = {"NAME", "STRING", "NUMBER", "QUANTITY"}
# What a statement can end with, and what cannot begin one.
_ENDERS: Final = _BARE | {
    "TRUE", "FALSE", "NULL", "RPAR", "RSQB", "RBRACE", "RMAP", "RANGLE", "QUESTION", "RETURN",
    "BREAK", "CONTINUE",
}  # fmt: skip
_CONTINUES: Final = {
    "LBRACE", "RPAR", "RSQB", "ARROW", "FATARROW", "EQ", "NE", "LE", "GE", "LT", "GT", "AND",
    "OR", "PLUS_EQUAL", "MINUS_EQUAL", "STAR_EQUAL", "SLASH_EQUAL", "EQUAL", "PLUS", "MINUS",
    "STAR", "SLASH", "PERCENT", "PATH", "COLON", "DOT", "COMMA", "SEMICOLON", "QUESTION",
}  # fmt: skip
_CLOSES: Final = {"RPAR": "LPAR", "RSQB": "LSQB", "RBRACE": "LBRACE"}
_SIGNS: Final = {"LPAR": "(", "LSQB": "[", "LBRACE": "{"}
# At the left margin of a source these begin something new, whatever is still open.
_MARGIN: Final = {
    "agent", "channel", "function", "memory", "metadata", "policy", "schedule", "type", "webhook",
}  # fmt: skip


class _Open:
    """A bracket that is open: its token, what it holds, and the statement around it."""

    __slots__ = ("around", "holds", "token")

    def __init__(self, token: Token, holds: str, around: str | None) -> None:
        self.token = token
        self.holds = holds  # block, match, map, (, [
        self.around = around


@final
class Layout:
    """One pass over the words of a source.

    Afterwards `items` has the top-level statements, each as its tokens, and `diagnostics` what
    is wrong with the brackets. `whole` says whether the words are all there are: if not, what
    is still open may well be closed behind them.
    """

    def __init__(self, words: Sequence[Token], *, whole: bool = True) -> None:
        self.diagnostics: list[Diagnostic] = []
        self.items: list[list[Token]] = []
        self._words = words
        self._out: list[Token] = []
        self._open: list[_Open] = []
        self._head: str | None = None  # the control word whose block is still to come
        self._start = True
        self._body_at = -1  # the word that opens the block of the header being read
        self._params_at = -1
        self._angles: dict[int, str] = {}
        self._margin: Token | None = None
        for at, word in enumerate(words):
            if not self._take(at, word):
                break
        else:
            if whole:
                self._finish()

    @property
    def _holds(self) -> str:
        return self._open[-1].holds if self._open else "block"

    def _next(self, at: int) -> int:
        """Return the index of the next word that is no newline; the length when there is none."""
        words = self._words
        at += 1
        while at < len(words) and words[at].type == "NL":
            at += 1
        return at

    def _type(self, at: int) -> str:
        return self._words[at].type if at < len(self._words) else ""

    def _take(self, at: int, word: Token) -> bool:
        kind = word.type
        if kind in {"NAME", "STRING"} and self._next_pair(at):
            self._end(word)
        if kind == "NL":
            self._newline(at, word)
        elif kind in _SIGNS:
            return self._opening(at, word)
        elif kind in _CLOSES:
            return self._closing(at, word)
        elif kind in {"COMMA", "SEMICOLON"}:
            self._separator(at, word)
        elif kind == "NAME":
            self._name(at, word)
        elif kind == "STRING" and self._is_key(at):
            self._emit(word, "KEY")
        else:
            if kind == "LT":
                self._type_arguments(at)
            self._emit(word, self._angles.get(at, kind))
        return True

    def _emit(self, word: Token, kind: str) -> None:
        if kind != word.type:
            word = word.update(type=kind)
        self._out.append(word)
        # The body of a match's arm begins as a statement does.
        self._start = kind in {"FATARROW", "ARROW"} and self._holds == "match"

    def _end(self, word: Token) -> None:
        """End the statement, unless nothing has begun."""
        self._start = True
        self._head = None
        if self._out and self._out[-1].type not in {"END", "LBRACE", "LMAP"}:
            self._out.append(word.update(type="END"))
        if not self._open and self._out:
            self._out.pop()
            self._cut()

    def _cut(self) -> None:
        if self._out:
            self.items.append(self._out)
            self._out = []

    def _newline(self, at: int, word: Token) -> None:
        if self._holds in {"(", "["} or not self._out or self._out[-1].type not in _ENDERS:
            return
        following = self._next(at)
        if self._type(following) in _CONTINUES or self._goes_on(following):
            return
        self._end(word)

    def _goes_on(self, at: int) -> bool:
        """Tell whether the word at `at` is the `else` or `catch` of the block just closed."""
        if self._type(at) != "NAME" or not self._out or self._out[-1].type != "RBRACE":
            return False
        return self._words[at] in {"else", "catch"} and self._type(self._next(at)) not in {
            "COLON", "EQUAL",
        }  # fmt: skip

    def _separator(self, at: int, word: Token) -> None:
        if word.type == "COMMA" and (
            self._holds in {"(", "["} or self._head == "with" or at in self._angles
        ):
            self._emit(word, "COMMA")
        elif self._holds in {"(", "["}:
            self._emit(word, word.type)  # a semicolon: the parser says what it expected
        else:
            self._end(word)

    def _is_key(self, at: int) -> bool:
        """Tell whether the word stands before ':' or '=' where a key may stand."""
        if self._type(self._next(at)) not in {"COLON", "EQUAL"}:
            return False
        before = self._out[-1].type if self._out else ""
        holds = self._holds
        if holds in {"(", "["}:
            return before in {"LPAR", "LSQB", "PARAMS", "COMMA"}
        if self._head == "with":
            return before in {"WITH", "COMMA"}
        return self._start and (holds != "match" or before in {"FATARROW", "ARROW"})

    def _next_pair(self, at: int) -> bool:
        """Tell whether a key follows a whole statement on the same line: `a: 1 b: 2`."""
        return (
            not self._start
            and self._head is None
            and self._holds in {"block", "map"}
            and self._out[-1].type in _ENDERS
            and self._type(self._next(at)) in {"COLON", "EQUAL"}
        )

    def _name(self, at: int, word: Token) -> None:
        before = self._out[-1].type if self._out else ""
        if before in {"DOT", "PATH", "KIND", "TYPE", "LET"}:
            self._emit(word, "NAME")
        elif self._goes_on(at):
            self._emit(word, "ELSE" if word == "else" else "CATCH")
            self._head = str(word)
        elif self._is_key(at):
            self._note_margin(word)
            self._emit(word, "KEY")
        elif before == "ELSE" and word == "if":
            self._emit(word, "IF")
            self._head = "if"
        elif self._holds in {"(", "["} and self._type(self._next(at)) in {"FATARROW", "ARROW"}:
            self._emit(word, "PARAM")
        elif self._start and self._holds != "map" and self._begins_here(before):
            self._statement(at, word)
        else:
            self._emit(word, _WITHIN.get(word, "NAME"))

    def _begins_here(self, before: str) -> bool:
        return self._holds != "match" or before in {"FATARROW", "ARROW"}

    def _note_margin(self, word: Token) -> None:
        if self._open and self._margin is None and word.column == 1 and word in _MARGIN:
            self._margin = word

    def _statement(self, at: int, word: Token) -> None:
        """Decide what the first word of a statement is."""
        self._note_margin(word)
        control = _CONTROL.get(word)
        following = self._type(at + 1)
        if control is not None:
            self._emit(word, control)
            if control in {"IF", "FOR", "WHILE", "MATCH", "TRY", "WITH"}:
                self._head = str(word)
            return
        if word == "type" and following == "NAME" and self._type(self._next(at + 1)) == "EQUAL":
            self._emit(word, "TYPE")
        elif self._header(at):
            self._emit(word, "KIND")
        elif following in _BARE and self._words[at + 1] not in _WITHIN_VALUES:
            self._emit(word, "WORD")
        else:
            self._emit(word, _WITHIN.get(word, "NAME"))

    def _header(self, at: int) -> bool:
        """Tell whether a block's header begins here: names, parameters, a type, then '{'."""
        self._params_at = self._body_at = -1
        words = self._words
        at += 1
        while self._type(at) in {"NAME", "STRING"}:
            at += 1
        if self._type(at) == "LPAR":
            opened, depth = at, 0
            while at < len(words):
                kind = words[at].type
                if kind in _SIGNS:
                    depth += 1
                elif kind in _CLOSES:
                    depth -= 1
                    if depth == 0:
                        break
                at += 1
            at += 1
            if self._type(self._skipped(at)) not in {"LBRACE", "ARROW"}:
                return False
            self._params_at = opened
        at = self._skipped(at)
        if self._type(at) == "ARROW":
            at += 1
            while self._type(at) in {
                "NAME", "LT", "GT", "COMMA", "DOT", "PATH", "QUESTION", "NL",
            }:  # fmt: skip
                at += 1
        if self._type(at) != "LBRACE":
            return False
        self._body_at = at
        return True

    def _type_arguments(self, at: int) -> None:
        """Mark '<' as a type's bracket where a list of types and a '>' follow, and nothing else.

        `a < b` is looked at too, so this gives up at the first word that no type can hold.
        """
        if at in self._angles or not self._out or self._out[-1].type != "NAME":
            return
        marks = {at: "LANGLE"}
        depth, named = 1, False
        for each in range(at + 1, min(at + _LONGEST_TYPE, len(self._words))):
            kind = self._words[each].type
            if kind == "NAME":
                if named:
                    return
                named = True
            elif kind == "QUESTION" and named:
                continue
            elif kind == "GT" and named:
                marks[each] = "RANGLE"
                depth -= 1
                if depth == 0:
                    if self._type(each + 1) not in _BARE:
                        self._angles.update(marks)
                    return
            elif kind in {"LT", "COMMA", "DOT", "PATH"} and named:
                named = False
                if kind == "LT":
                    marks[each] = "LANGLE"
                    depth += 1
                    if depth > _DEEPEST_TYPE:
                        return
                elif kind == "COMMA":
                    marks[each] = "COMMA"
            else:
                return

    def _skipped(self, at: int) -> int:
        return at if self._type(at) != "NL" else self._next(at)

    def _opening(self, at: int, word: Token) -> bool:
        if len(self._open) >= DEEPEST:
            self._wrong(word, f"this is nested deeper than {DEEPEST} brackets", "flatten it")
            return False
        kind = word.type
        if kind == "LPAR":
            around, holds, kind = self._head, "(", "PARAMS" if at == self._params_at else "LPAR"
        elif kind == "LSQB":
            around, holds = self._head, "["
        elif self._opens_block(at):
            # The statement ends with its block: an `else` is a statement's word of its own.
            holds = "match" if self._head == "match" else "block"
            around = None
            self._head = None
        else:
            around, holds, kind = self._head, "map", "LMAP"
            self._head = None
        self._emit(word, kind)
        self._open.append(_Open(word, holds, around))
        self._start = holds not in {"(", "["}
        return True

    def _opens_block(self, at: int) -> bool:
        if at == self._body_at:
            return True
        before = self._out[-1].type if self._out else ""
        if self._holds == "match" and before in {"FATARROW", "ARROW"}:
            return True
        return self._head is not None and (
            before in _ENDERS or before in {"WITH", "TRY", "ELSE", "CATCH"}
        )

    def _closing(self, at: int, word: Token) -> bool:
        kind = word.type
        if not self._open:
            self._wrong(word, f"this '{word}' closes nothing", "remove it, or open what it closes")
            return False
        opened = self._open[-1]
        if opened.token.type != _CLOSES[kind]:
            self._wrong(
                word,
                f"'{word}' stands where '{_SIGNS[opened.token.type]}' of line "
                f"{opened.token.line} is still open",
                self._suspect() or "close them in the order in which they were opened",
            )
            return False
        if self._out[-1].type == "END":
            self._out.pop()
        self._open.pop()
        is_block = opened.holds in {"block", "match"}
        if opened.holds == "map":
            kind = "RMAP"
        self._emit(word, kind)
        self._start = False
        self._head = opened.around
        if not is_block:
            return True
        following = self._next(at)
        if not self._goes_on(following):
            self._end(word)
        return True

    def _suspect(self) -> str | None:
        if self._margin is None:
            return None
        word = shown(str(self._margin))
        return f"line {self._margin.line} begins {word}: a '}}' may be missing before it"

    def _wrong(self, word: Token, message: str, hint: str | None) -> None:
        line, column = word.line or 1, word.column or 1
        self.diagnostics.append(Diagnostic(line=line, column=column, message=message, hint=hint))

    def _finish(self) -> None:
        if not self._open:
            self._cut()
            return
        opened = self._open[-1].token
        closing = {"LPAR": ")", "LSQB": "]", "LBRACE": "}"}[opened.type]
        self._wrong(
            opened,
            f"this '{opened}' is never closed",
            self._suspect() or f"add the missing '{closing}'",
        )
