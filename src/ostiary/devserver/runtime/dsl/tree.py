"""The syntax tree: what a source says, before it is asked whether that makes sense.

Neighbours: `parser` builds it, `compiler` reads the declarations, `evaluation` runs the rest.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

__all__ = [
    "Argument",
    "Arm",
    "Assignment",
    "At",
    "Binary",
    "Block",
    "Break",
    "Call",
    "Catch",
    "Continue",
    "Definition",
    "Entry",
    "Evaluate",
    "Expression",
    "For",
    "Generic",
    "If",
    "Index",
    "Lambda",
    "Let",
    "ListValue",
    "Literal",
    "MapValue",
    "Match",
    "Member",
    "Name",
    "Node",
    "Pair",
    "Parameter",
    "Phrase",
    "Postfix",
    "Propagate",
    "Quantity",
    "Return",
    "Statement",
    "Tail",
    "Trailer",
    "Try",
    "TypeDefinition",
    "TypeRef",
    "Unary",
    "Value",
    "While",
    "With",
]


class At(NamedTuple):
    """Where a piece stands: line and column from 1, and its span in the text."""

    line: int
    column: int
    start: int
    end: int


class Node(msgspec.Struct):
    at: At


class Literal(Node):
    value: str | int | float | bool | None


class Quantity(Node):
    """A number with a unit: `30s`, `512MB`."""

    number: float
    unit: str


class Name(Node):
    name: str


class Lambda(Node):
    parameter: str
    body: Expression


class Argument(Node):
    """One of a call's arguments or a list's items; `name` is None where none is given."""

    name: str | None
    value: Expression


class ListValue(Node):
    items: list[Argument]


class Entry(Node):
    """One entry of a map; `key` is None in what is rather a set."""

    key: str | None
    value: Value


class MapValue(Node):
    entries: list[Entry]


class Member(Node):
    name: str


class Call(Node):
    arguments: list[Argument]


class Index(Node):
    arguments: list[Argument]


class Generic(Node):
    arguments: list[TypeRef]


class Propagate(Node):
    """The `?` behind a value."""


class Postfix(Node):
    base: Expression
    trailers: list[Trailer]


class Unary(Node):
    operators: list[str]
    operand: Expression


class Binary(Node):
    """Operators of one precedence: `first`, then each operator with what is right of it."""

    first: Expression
    rest: list[tuple[str, Expression]]


class Tail(Node):
    """What follows a value: `if`, `with`, `for` or, where `word` is None, bare words."""

    word: str | None
    value: Expression


class Value(Node):
    expression: Expression
    tails: list[Tail]


class TypeRef(Node):
    name: str
    arguments: list[TypeRef]
    optional: bool


class Parameter(Node):
    name: str
    type: TypeRef | None
    default: Expression | None


class Block(Node):
    statements: list[Statement]


class Definition(Node):
    """A block with a kind: `agent x(...) -> T { ... }`, `metadata { ... }`."""

    kind: str
    names: list[str]
    parameters: list[Parameter]
    returns: TypeRef | None
    body: Block


class TypeDefinition(Node):
    name: str
    spec: TypeRef | MapValue


class Pair(Node):
    """`key: value`; what is typed may have a default: `pattern: string = "*"`."""

    key: str
    value: Value
    default: Value | None = None


class Assignment(Node):
    target: Expression
    operator: str
    value: Value


class Let(Node):
    name: str
    type: TypeRef | None
    value: Value | None


class Return(Node):
    value: Value | None


class If(Node):
    """`branches` are tried in order; a condition of None is the `else`."""

    branches: list[tuple[Expression | None, Block]]


class For(Node):
    name: str
    items: Expression
    body: Block


class While(Node):
    condition: Expression
    body: Block


class Arm(Node):
    pattern: Expression
    body: Block


class Match(Node):
    subject: Expression
    arms: list[Arm]


class Catch(Node):
    """`kind` and `name` are None where they are not written."""

    kind: str | None
    name: str | None
    body: Block


class Try(Node):
    body: Block
    catches: list[Catch]


class With(Node):
    attributes: list[Entry]
    body: Block


class Phrase(Node):
    """A word and bare values: `retention 90d`, `require capability FileSystem.Read`."""

    word: str
    operands: list[Expression]


class Evaluate(Node):
    value: Value


class Break(Node):
    pass


class Continue(Node):
    pass


Expression = Binary | Lambda | ListValue | Literal | MapValue | Name | Postfix | Quantity | Unary
Trailer = Call | Generic | Index | MapValue | Member | Propagate
Statement = (
    Assignment
    | Break
    | Continue
    | Definition
    | Evaluate
    | For
    | If
    | Let
    | Match
    | Pair
    | Phrase
    | Return
    | Try
    | TypeDefinition
    | While
    | With
)
