"""From text to a tree, and to the list of what is wrong with it; never an exception.

The tree is built while the parser reads, not by walking what it read, and every repetition is
flat: how long a source is has no bearing on how deep anything recurses. Neighbours: `grammar`,
`layout` and `tree`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from functools import cache
from typing import Any, Final, cast, final

from lark import Lark, Token, Transformer
from lark.exceptions import UnexpectedToken
from lark.lexer import Lexer, LexerState

from . import tree
from .diagnostics import MOST_ERRORS, Diagnostic, did_you_mean, expectation, shown
from .durations import UNITS
from .grammar import SENTENCES, WORDS
from .layout import Layout
from .tree import At
from .values import is_list

__all__ = ["KINDS", "LONGEST_SOURCE", "parse"]

LONGEST_SOURCE: Final = 256 * 1024
"""Characters of one source."""

KINDS: Final = (
    "agent", "channel", "function", "memory", "metadata", "policy", "schedule", "webhook",
)  # fmt: skip
"""The kinds of blocks that stand at the top of a source, with `type`."""

_QUANTITY: Final = re.compile(r"([0-9.]+)(.*)", re.DOTALL)
_ESCAPE: Final = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\", "\n": ""}


def parse(source: str) -> tuple[list[tree.Statement], list[Diagnostic]]:
    """Return the statements at the top of a source, and what is wrong with it, in order.

    Statements that could not be read are left out; where there is an error the rest is for
    further diagnostics only. The errors are at most fifty.
    """
    if len(source) > LONGEST_SOURCE:
        message = f"this source has {len(source):,} characters; {LONGEST_SOURCE:,} are allowed"
        return [], [Diagnostic(line=1, column=1, message=message, hint="split it")]
    words, found, whole = _words(source)
    layout = Layout(words, whole=whole)
    found += layout.diagnostics
    statements: list[tree.Statement] = []
    for item in layout.items:
        if len(found) >= MOST_ERRORS:
            break
        try:
            statements.append(_read(item))
        except _WrongError as error:
            found.append(error.diagnostic)
    found.sort(key=lambda each: (each.line, each.column))
    return statements, found[:MOST_ERRORS]


class _WrongError(Exception):
    """Something that only building the tree brings to light."""

    def __init__(self, token: Token, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.diagnostic = Diagnostic(
            line=token.line or 1, column=token.column or 1, message=message, hint=hint
        )


# -- words ------------------------------------------------------------------


@cache
def _lexer() -> Any:
    return Lark(WORDS, start="words", parser="lalr", lexer="basic")


def _words(source: str) -> tuple[list[Token], list[Diagnostic], bool]:
    """Return the words, what no word begins with, and whether the text was read to its end."""
    words: list[Token] = []
    found: list[Diagnostic] = []
    for word in _lexer().lex(source):
        if word.type in {"OPEN_COMMENT", "OPEN_STRING"}:
            found.append(_never_ends(word, words))
            return words, found, False
        if word.type == "STRANGE":
            found.append(_strange(word))
            if len(found) >= MOST_ERRORS:
                return words, found, False
        else:
            words.append(word)
    return words, found, True


def _never_ends(word: Token, words: list[Token]) -> Diagnostic:
    if word.type == "OPEN_COMMENT":
        message, hint = "this comment is never closed", "close it with '*/'"
    else:
        message, hint = "this string is never closed", "close it with '\"'"
        for earlier in words:
            if earlier.type == "STRING" and "\n" in earlier and earlier[:3] != '"""':
                hint = _over_lines(earlier)
                break
    return Diagnostic(line=word.line or 1, column=word.column or 1, message=message, hint=hint)


def _over_lines(word: Token) -> str:
    return f"the string of line {word.line} goes on over lines: is its '\"' missing?"


def _strange(word: Token) -> Diagnostic:
    hint = None
    if word in "'`\u2018\u2019\u201c\u201d\u00ab\u00bb":
        hint = "strings stand between double quotes"
    elif word in "&|":
        hint = f"did you mean '{word * 2}'?"
    return Diagnostic(
        line=word.line or 1,
        column=word.column or 1,
        message=f"{shown(str(word))} cannot stand here",
        hint=hint,
    )


# -- sentences --------------------------------------------------------------


class _Handed(Lexer):
    """A lexer for words that are there already."""

    def __init__(self, lexer_conf: object) -> None:
        pass

    def lex(self, lexer_state: LexerState, parser_state: Any) -> Iterator[Token]:
        return iter(lexer_state)  # type: ignore[call-overload, no-any-return]


@cache
def _parser() -> Any:
    return Lark(SENTENCES, start="start", parser="lalr", lexer=_Handed, transformer=_Build())


def _read(item: list[Token]) -> tree.Statement:
    reader = _parser().parse_interactive(start="start")
    try:
        for word in item:
            reader.feed_token(word)
        done: Any = reader.feed_eof(item[-1])
    except UnexpectedToken as error:
        accepted: set[str] = reader.accepts()
        token = cast("Token", error.token)
    else:
        return done  # type: ignore[no-any-return]
    raise _unexpected(token, accepted, item)


def _unexpected(token: Token, accepted: Collection[str], item: list[Token]) -> _WrongError:
    expected = expectation(accepted)
    if token.type in {"END", "$END"}:
        message = f"the statement ends too early; expected {expected}"
    else:
        message = f"unexpected {shown(str(token))}; expected {expected}"
    return _WrongError(token, message, _hint(token, item, accepted))


def _hint(token: Token, item: list[Token], accepted: Collection[str]) -> str | None:
    at = next((n for n, word in enumerate(item) if word is token), len(item))
    before = item[at - 1] if at else None
    for word in item[max(at - 2, 0) : at + 1]:
        if word.type in {"STRING", "KEY"} and "\n" in word and word[:3] != '"""':
            return _over_lines(word)
    if token.type == "EQUAL" and any(word.type in {"IF", "WHILE"} for word in item[:at]):
        return "values are compared with '=='"
    if token.type == "MINUS" and before is not None and item[0].type == "WORD":
        return "a name holds letters, digits and '_'"
    if token in {"else", "catch"}:
        return f"'{token}' follows the '}}' of its block"
    if before is not None and before.type in {"NAME", "WORD"} and token.type in {"LBRACE", "LMAP"}:
        return did_you_mean(str(before), KINDS)
    if "COMMA" in accepted and "RSQB" in accepted:
        return "items of a list are separated by ','"
    if "COMMA" in accepted and "RPAR" in accepted:
        return "arguments are separated by ','"
    if "COLON" in accepted:
        return "write 'name: value'"
    return None


# -- the tree ---------------------------------------------------------------


def _at(parts: list[Any]) -> At:
    first, last = parts[0], parts[-1]
    if isinstance(first, Token):
        line, column, start = first.line or 1, first.column or 1, first.start_pos or 0
    else:
        line, column, start = first.at.line, first.at.column, first.at.start
    end = (last.end_pos or 0) if isinstance(last, Token) else last.at.end
    return At(line, column, start, end)


def _nodes(parts: list[Any]) -> list[Any]:
    return [part for part in parts if not isinstance(part, Token)]


def _text(token: Token) -> str:
    """Return what a string says, or a bare word as it is."""
    raw = str(token)
    if raw.startswith("b"):
        raw = raw[1:] if raw[1:2] == '"' else raw
    if raw.startswith('"""'):
        return raw[3:-3]
    if raw.startswith('"'):
        return _ESCAPE.sub(_unescaped, raw[1:-1])
    return raw


def _unescaped(match: re.Match[str]) -> str:
    escape = match[1]
    if escape[0] == "u" and len(escape) == 5:
        character = chr(int(escape[1:], 16))
        return "\ufffd" if "\ud800" <= character <= "\udfff" else character
    # Windows paths and patterns are full of backslashes that escape nothing.
    return _ESCAPES.get(escape, match[0])


@final
class _Build(Transformer[Token, Any]):
    """What each rule of the grammar becomes. Each method gets the rule's parts in order."""

    def start(self, parts: list[Any]) -> Any:
        return parts[0]

    # statements

    def definition(self, parts: list[Any]) -> Any:
        names = [_text(part) for part in parts[1:] if isinstance(part, Token)]
        parameters: list[Any] = []
        returns = None
        for part in parts[1:-1]:
            if is_list(part):
                parameters = part
            elif isinstance(part, tree.TypeRef):
                returns = part
        return tree.Definition(
            at=_at([parts[0], parts[-1]]),
            kind=str(parts[0]),
            names=names,
            parameters=parameters,
            returns=returns,
            body=parts[-1],
        )

    def params(self, parts: list[Any]) -> Any:
        return _nodes(parts)

    def param(self, parts: list[Any]) -> Any:
        values = parts[2:]
        kind = next((part for part in values if isinstance(part, tree.TypeRef)), None)
        default = next((p for p in values if not isinstance(p, Token | tree.TypeRef)), None)
        return tree.Parameter(at=_at(parts), name=_text(parts[0]), type=kind, default=default)

    def returns(self, parts: list[Any]) -> Any:
        return parts[1]

    def type_(self, parts: list[Any]) -> Any:
        name = ""
        arguments: list[Any] = []
        optional = False
        for part in parts:
            if not isinstance(part, Token):
                arguments.append(part)
            elif part.type in {"NAME", "DOT", "PATH"}:
                name += part
            elif part.type == "QUESTION":
                optional = True
        return tree.TypeRef(at=_at(parts), name=name, arguments=arguments, optional=optional)

    def type_definition(self, parts: list[Any]) -> Any:
        return tree.TypeDefinition(at=_at(parts), name=str(parts[1]), spec=parts[3])

    def block(self, parts: list[Any]) -> Any:
        return tree.Block(at=_at(parts), statements=_nodes(parts))

    def pair(self, parts: list[Any]) -> Any:
        return tree.Pair(
            at=_at(parts),
            key=_text(parts[0]),
            value=parts[2],
            default=parts[4] if len(parts) > 3 else None,
        )

    def assignment(self, parts: list[Any]) -> Any:
        return tree.Assignment(
            at=_at(parts), target=parts[0], operator=str(parts[1]), value=parts[2]
        )

    def let(self, parts: list[Any]) -> Any:
        nodes = _nodes(parts)
        kind = next((part for part in nodes if isinstance(part, tree.TypeRef)), None)
        value = next((part for part in nodes if isinstance(part, tree.Value)), None)
        return tree.Let(at=_at(parts), name=str(parts[1]), type=kind, value=value)

    def return_(self, parts: list[Any]) -> Any:
        return tree.Return(at=_at(parts), value=parts[1] if len(parts) > 1 else None)

    def if_(self, parts: list[Any]) -> Any:
        branches: list[Any] = []
        condition: Any = None
        for part in _nodes(parts):
            if isinstance(part, tree.Block):
                branches.append((condition, part))
                condition = None
            else:
                condition = part
        return tree.If(at=_at(parts), branches=branches)

    def for_(self, parts: list[Any]) -> Any:
        return tree.For(at=_at(parts), name=str(parts[1]), items=parts[3], body=parts[4])

    def while_(self, parts: list[Any]) -> Any:
        return tree.While(at=_at(parts), condition=parts[1], body=parts[2])

    def match_(self, parts: list[Any]) -> Any:
        nodes = _nodes(parts)
        return tree.Match(at=_at(parts), subject=nodes[0], arms=nodes[1:])

    def arm(self, parts: list[Any]) -> Any:
        body = parts[2]
        if not isinstance(body, tree.Block):
            body = tree.Block(at=body.at, statements=[body])
        return tree.Arm(at=_at(parts), pattern=parts[0], body=body)

    def try_(self, parts: list[Any]) -> Any:
        return tree.Try(at=_at(parts), body=parts[1], catches=parts[2:])

    def catch(self, parts: list[Any]) -> Any:
        names = [str(part) for part in parts[1:] if isinstance(part, Token) and part.type == "NAME"]
        return tree.Catch(
            at=_at(parts),
            kind=names[0] if len(names) == 2 else None,
            name=names[-1] if names else None,
            body=parts[-1],
        )

    def with_(self, parts: list[Any]) -> Any:
        nodes = _nodes(parts)
        return tree.With(at=_at(parts), attributes=nodes[:-1], body=nodes[-1])

    def attribute(self, parts: list[Any]) -> Any:
        value = tree.Value(at=parts[2].at, expression=parts[2], tails=[])
        return tree.Entry(at=_at(parts), key=_text(parts[0]), value=value)

    def phrase(self, parts: list[Any]) -> Any:
        return tree.Phrase(at=_at(parts), word=str(parts[0]), operands=parts[1:])

    def evaluate(self, parts: list[Any]) -> Any:
        return tree.Evaluate(at=_at(parts), value=parts[0])

    def break_(self, parts: list[Any]) -> Any:
        return tree.Break(at=_at(parts))

    def continue_(self, parts: list[Any]) -> Any:
        return tree.Continue(at=_at(parts))

    # values

    def value(self, parts: list[Any]) -> Any:
        return tree.Value(at=_at(parts), expression=parts[0], tails=parts[1:])

    def tail(self, parts: list[Any]) -> Any:
        word = str(parts[0]) if isinstance(parts[0], Token) else None
        return tree.Tail(at=_at(parts), word=word, value=parts[-1])

    def named(self, parts: list[Any]) -> Any:
        base = tree.Name(at=_at(parts[:1]), name=str(parts[0]))
        if len(parts) == 1:
            return base
        return tree.Postfix(at=_at(parts), base=base, trailers=parts[1:])

    def binary(self, parts: list[Any]) -> Any:
        rest = [(str(parts[n]), parts[n + 1]) for n in range(1, len(parts), 2)]
        return tree.Binary(at=_at(parts), first=parts[0], rest=rest)

    expr = conjunction = comparison = sum = product = binary

    def unary(self, parts: list[Any]) -> Any:
        return tree.Unary(
            at=_at(parts), operators=[str(part) for part in parts[:-1]], operand=parts[-1]
        )

    def postfix(self, parts: list[Any]) -> Any:
        return tree.Postfix(at=_at(parts), base=parts[0], trailers=parts[1:])

    def member(self, parts: list[Any]) -> Any:
        return tree.Member(at=_at(parts), name=str(parts[1]))

    def call(self, parts: list[Any]) -> Any:
        return tree.Call(at=_at(parts), arguments=_nodes(parts))

    def index(self, parts: list[Any]) -> Any:
        return tree.Index(at=_at(parts), arguments=_nodes(parts))

    def generic(self, parts: list[Any]) -> Any:
        return tree.Generic(at=_at(parts), arguments=_nodes(parts))

    def propagate(self, parts: list[Any]) -> Any:
        return tree.Propagate(at=_at(parts))

    def name(self, parts: list[Any]) -> Any:
        return tree.Name(at=_at(parts), name=str(parts[0]))

    def group(self, parts: list[Any]) -> Any:
        return parts[1]

    def items(self, parts: list[Any]) -> Any:
        return tree.ListValue(at=_at(parts), items=_nodes(parts))

    def argument(self, parts: list[Any]) -> Any:
        if len(parts) == 1:
            return tree.Argument(at=_at(parts), name=None, value=parts[0])
        if parts[0].type == "PARAM":
            body = tree.Lambda(at=_at(parts), parameter=str(parts[0]), body=parts[2])
            return tree.Argument(at=_at(parts), name=None, value=body)
        return tree.Argument(at=_at(parts), name=_text(parts[0]), value=parts[2])

    def map(self, parts: list[Any]) -> Any:
        return tree.MapValue(at=_at(parts), entries=_nodes(parts))

    def entry(self, parts: list[Any]) -> Any:
        key = _text(parts[0]) if isinstance(parts[0], Token) else None
        return tree.Entry(at=_at(parts), key=key, value=parts[-1])

    def literal(self, parts: list[Any]) -> Any:
        token: Token = parts[0]
        at = _at(parts)
        kind = token.type
        if kind == "STRING":
            return tree.Literal(at=at, value=_text(token))
        if kind == "NUMBER":
            return tree.Literal(at=at, value=_number(token))
        if kind == "QUANTITY":
            return _quantity(token, at)
        return tree.Literal(at=at, value={"TRUE": True, "FALSE": False}.get(kind))


def _number(token: Token) -> int | float:
    if not set(token) - set("0123456789"):
        if len(token) > 18:
            raise _WrongError(token, "this number is too large", "at most 18 digits")
        return int(token)
    number = float(token)
    if number in (float("inf"), float("-inf")):
        raise _WrongError(token, "this number is too large")
    return number


def _quantity(token: Token, at: At) -> tree.Quantity:
    match = _QUANTITY.fullmatch(token)
    assert match is not None  # the lexer's own form
    unit = match[2]
    if unit not in UNITS:
        known = "units are s, ms, m, h, d, w, y and B, KB, MB, GB"
        raise _WrongError(token, f"{shown(unit)} is no unit", did_you_mean(unit, UNITS) or known)
    if len(match[1]) > 18:
        raise _WrongError(token, "this number is too large", "at most 18 digits")
    return tree.Quantity(at=at, number=float(match[1]), unit=unit)
