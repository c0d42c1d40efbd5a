"""What a command answers: documents and tables, and text, in the words of a domain's wire.

No secret passes through here. Neighbours: `screen`, which prints; the `session` of each domain
that has models.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from json import dumps
from typing import Any, Final, cast

from .screen import Screen, plain

__all__ = ["Answers", "shown", "worded", "write"]

_LONGEST_CELL: Final = 160


class Answers:
    """Where one command answers: in tables, or with --json in documents."""

    def __init__(self, screen: Screen) -> None:
        self.screen = screen
        self.json = screen.json

    def document(self, content: object) -> None:
        """Write one JSON document, in the words of the wire."""
        self.screen.document(worded(content))

    def table(
        self,
        content: object,
        columns: Sequence[str],
        rows: Iterable[Sequence[object]],
        *,
        empty: str,
        firm: Collection[str] = (),
        right: Collection[str] = (),
        spare: Sequence[str] = (),
    ) -> None:
        """Print rows, or with --json the content they were made of."""
        if self.json:
            self.document(content)
        else:
            self.screen.table(columns, rows, empty=empty, firm=firm, right=right, spare=spare)

    def facts(self, content: object, pairs: Mapping[str, object]) -> None:
        """Print names and values, or with --json the content they were taken from."""
        if self.json:
            self.document(content)
        else:
            self.screen.facts(pairs)

    def result(self, content: object, pairs: Mapping[str, object], result: object) -> None:
        """Print names and values, and below them what came of it: text, or indented JSON."""
        self.facts(content, pairs)
        if self.json or result is None:
            return
        text = result if isinstance(result, str) else dumps(result, ensure_ascii=False, indent=2)
        write(text if text.endswith("\n") else text + "\n")

    def done(self, content: object, text: str) -> None:
        """Say on stderr what was done, or with --json what the server answered."""
        if self.json:
            self.document(content)
        else:
            self.screen.note(text)


def worded(content: object) -> Any:
    """Return a reply, or a dict or list of replies, in the words of the wire."""
    from .._model.model import wire

    if isinstance(content, dict):
        members = cast("dict[str, object]", content)
        return {name: worded(value) for name, value in members.items()}
    return wire(content)


def write(text: str) -> None:
    """Write text to stdout; on a terminal, without what a terminal would act on."""
    if sys.stdout.isatty() and not text.isprintable():
        text = "".join(c if c in "\n\t" else plain(c) for c in text)
    sys.stdout.write(text)
    sys.stdout.flush()


def shown(value: object) -> str | None:
    """Return a JSON value in one line that fits into a table; text as it is."""
    if value is None:
        return None
    line = value if isinstance(value, str) else dumps(value, ensure_ascii=False, default=str)
    line = " ".join(line.split())
    return line if len(line) <= _LONGEST_CELL else line[: _LONGEST_CELL - 3] + "..."
