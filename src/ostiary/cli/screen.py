"""What the command line prints: documents and tables on stdout, messages on stderr.

Nothing that a peer or a file chose reaches a terminal unescaped. No secret passes through
here; `vault get` writes its one itself. Neighbour: `session`, which opens one per command.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from itertools import compress
from typing import TYPE_CHECKING, Final, cast

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..errors import (
    ConnectError,
    ConnectionLostError,
    DeadlineError,
    LockedError,
    OstiaryError,
)

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = [
    "EXIT_FAILED",
    "EXIT_UNREACHABLE",
    "Screen",
    "ago",
    "counted",
    "plain",
]

EXIT_FAILED: Final = 1
EXIT_UNREACHABLE: Final = 3

# A pipe has no width: rich would assume 80 columns and fold what the next program reads.
_PIPE_WIDTH: Final = 4096

# The administrator can do what the server, which speaks to agents, can only advise.
_NEXT: Final[tuple[tuple[type[OstiaryError], str], ...]] = (
    (
        ConnectError,
        "start a vault with `ostiary dev`, or say which one with --home or --socket",
    ),
    (
        ConnectionLostError,
        "check with `ostiary doctor` that the server still runs, then repeat the command",
    ),
    (DeadlineError, "check with `ostiary doctor` that the server still runs"),
    (LockedError, "run `ostiary vault unlock`"),
)

# What the administrator runs instead of what the server advises an agent.
_NEXT_BY_CODE: Final[Mapping[str, str]] = {
    "CREDENTIAL_NOT_FOUND": "`ostiary vault ls` shows what there is",
    "LEASE_EXPIRED": "`ostiary vault lease ls` shows what is lent out now",
}

_UNITS: Final = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"))
_NOTHING: Final = "-"
_LEAST: Final = 10  # what a column needs for a word and the gap behind it


def plain(value: object) -> str:
    """Return text with every character a terminal would act on replaced by its escape."""
    text = str(value)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def counted(count: int, thing: str) -> str:
    """Return `1 agent` or `2 agents`."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def ago(moment: datetime | None, *, now: float | None = None) -> str:
    """Return a moment as people say it: `3 min ago`, `in 2 h`, or the date."""
    if moment is None:
        return _NOTHING
    seconds = moment.timestamp() - (time.time() if now is None else now)
    size = abs(seconds)
    if size < 1.0:
        return "now"
    if size >= 30 * 86400.0:
        return moment.astimezone().strftime("%Y-%m-%d")
    unit, name = next(((u, n) for u, n in _UNITS if size >= u), (1.0, "s"))
    # Down, so that what is still allowed is never overstated.
    count = int(size // unit)
    spoken = f"{count} {name}"
    return f"in {spoken}" if seconds > 0 else f"{spoken} ago"


class Screen:
    """Where one command writes; `json` turns its tables into one document."""

    def __init__(self, *, json: bool = False) -> None:
        self.json = json
        self.out = _console(stderr=False)
        self.err = _console(stderr=True)

    def document(self, content: object) -> None:
        """Write one JSON document to stdout; times come out as ISO-8601."""
        encoded = msgspec.json.format(msgspec.json.encode(content), indent=2)
        sys.stdout.write(encoded.decode() + "\n")
        sys.stdout.flush()

    def table(
        self,
        columns: Sequence[str],
        rows: Iterable[Sequence[object]],
        *,
        empty: str,
        firm: Collection[str] = (),
        right: Collection[str] = (),
        spare: Sequence[str] = (),
    ) -> None:
        """Print rows under a heading, or `empty` on stderr when there are none.

        `firm` columns are not folded while that leaves the others room. On a terminal a column
        with nothing in it is left out, and one after another of `spare` for as long as the table
        is too wide; a pipe always gets them all, for the next program.
        """
        listed = [[_cell(value) for value in row] for row in rows]
        if not listed:
            self.note(empty)
        else:
            self._put(self._grid(columns, listed, firm, right, spare))

    def picture(
        self,
        columns: Sequence[str],
        rows: Iterable[Sequence[object]],
        *,
        empty: str,
        firm: Collection[str] = (),
        right: Collection[str] = (),
        spare: Sequence[str] = (),
    ) -> RenderableType:
        """Return what `table` would print, to be printed or drawn over by the caller."""
        listed = [[_cell(value) for value in row] for row in rows]
        return self._grid(columns, listed, firm, right, spare) if listed else Text(empty, "dim")

    def facts(self, pairs: Mapping[str, object], *, err: bool = False) -> None:
        """Print names and values in two columns."""
        self._put(self.card(pairs, err=err), err=err)

    def card(self, pairs: Mapping[str, object], *, err: bool = False) -> RenderableType:
        """Return what `facts` would print."""
        cells = [(Text(name, "bold"), _cell(value)) for name, value in pairs.items()]
        console = self.err if err else self.out
        width = max(name.cell_len for name, _ in cells)
        if not console.is_terminal:
            return Text("\n".join(f"{n.plain:<{width}}  {v.plain}" for n, v in cells))
        if console.width < width + 2 * _LEAST:
            return Text("\n").join(Text.assemble(n, "\n  ", v) for n, v in cells)
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(no_wrap=True)
        grid.add_column(overflow="fold")
        for name, value in cells:
            grid.add_row(name, value)
        return grid

    def show(self, picture: RenderableType) -> None:
        """Print what `picture` or `card` returned."""
        self._put(picture)

    def _put(self, picture: RenderableType, *, err: bool = False) -> None:
        console = self.err if err else self.out
        if isinstance(picture, Text) and not console.is_terminal:
            print(picture.plain, file=sys.stderr if err else sys.stdout)
        else:
            console.print(picture)

    def _grid(
        self,
        columns: Sequence[str],
        listed: list[list[Text]],
        firm: Collection[str],
        right: Collection[str],
        spare: Sequence[str],
    ) -> RenderableType:
        if not self.out.is_terminal:
            return Text(_columns([[Text(name) for name in columns], *listed]))
        grid = Table(
            box=box.SIMPLE_HEAD,
            header_style="bold",
            pad_edge=False,
            padding=(0, 1, 0, 0),
        )
        shown = [any(row[at].plain != _NOTHING for row in listed) for at in range(len(columns))]
        widths = [
            2 + max(len(name), *(row[at].cell_len for row in listed))
            for at, name in enumerate(columns)
        ]
        for at in map(columns.index, spare):
            if sum(compress(widths, shown)) > self.out.width:
                shown[at] = False
        # A firm column that is too wide would be cut, and push the others off the screen.
        least = sum(
            width if name in firm else min(width, _LEAST)
            for name, width in compress(zip(columns, widths, strict=True), shown)
        )
        if least > self.out.width:
            firm = ()
        for name in compress(columns, shown):
            grid.add_column(
                Text(name),
                # Folded and never cut: what is printed here is copied into other commands.
                overflow="fold",
                no_wrap=name in firm,
                justify="right" if name in right else "left",
            )
        for row in listed:
            grid.add_row(*compress(row, shown))
        return grid

    def note(self, text: str) -> None:
        """Print one message on stderr."""
        self.err.print(Text(plain(text)), soft_wrap=not self.err.is_terminal)

    def refuse(self, error: OstiaryError, *, advice: str | None = None) -> int:
        """Say what happened and what to do next; return the exit code.

        `advice` is the caller's, which knows more of the case than a class of errors tells.
        """
        advice = advice or _advice(error)
        message = error.message or type(error).__name__
        if advice:
            # The message of an error that is raised to a program carries its advice along.
            ours = isinstance(error, tuple(kind for kind, _ in _NEXT))
            message = message.partition("; ")[0] if ours else message.removesuffix(f"; {advice}")
        self._labelled("error", "bold red", message)
        if advice:
            self._labelled("next", "bold", advice)
        if self.json:
            code = getattr(error, "code", None)
            self.document(
                {
                    "error": {
                        "type": type(error).__name__,
                        "code": code if isinstance(code, str) else None,
                        "message": message,
                        "next": advice,
                    }
                }
            )
        unreachable = isinstance(error, (ConnectError, ConnectionLostError, DeadlineError))
        return EXIT_UNREACHABLE if unreachable else EXIT_FAILED

    def _labelled(self, label: str, style: str, text: str) -> None:
        line = Text.assemble((f"{label}: ", style), plain(text))
        self.err.print(line, soft_wrap=not self.err.is_terminal)


def _columns(rows: list[list[Text]]) -> str:
    """Return aligned columns, as wide as they are: what reads a pipe has no width."""
    widths = [max(cell.cell_len for cell in column) for column in zip(*rows, strict=True)]
    lines: list[str] = []
    for row in rows:
        cells = (c.plain + " " * (w - c.cell_len) for c, w in zip(row, widths, strict=True))
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _console(*, stderr: bool) -> Console:
    console = Console(stderr=stderr, highlight=False, emoji=False, markup=False)
    if not console.is_terminal:
        console.width = _PIPE_WIDTH
    return console


def _cell(value: object) -> Text:
    if isinstance(value, Text):
        return value
    if value is None or value == "":
        return Text(_NOTHING, style="dim")
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    if isinstance(value, datetime):
        return Text(ago(value))
    if isinstance(value, list):
        return _cell(", ".join(str(one) for one in cast("list[object]", value)))
    return Text(plain(value))


def _advice(error: OstiaryError) -> str | None:
    for kind, text in _NEXT:
        if isinstance(error, kind):
            return text
    code = getattr(error, "code", None)
    if isinstance(code, str) and code in _NEXT_BY_CODE:
        return _NEXT_BY_CODE[code]
    advice = getattr(error, "suggestion", None)
    return advice if isinstance(advice, str) else None
