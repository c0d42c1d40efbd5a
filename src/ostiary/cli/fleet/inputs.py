"""Inputs from a file: a line of JSON each, read as they are needed.

Neighbour: `running`, which hands them to a fleet.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO, Any, cast

import msgspec

from ...errors import InvalidArgumentError

__all__ = ["Inputs"]


class Inputs:
    """The lines of a file, `-` for stdin, without those whose id is in `done`.

    An input's id is its member `id` if it has one, else the number of its line. `id` is that of
    the last one that was taken. Raises `InvalidArgumentError`, with the line, for what is no
    JSON and for an id that was there before.
    """

    def __init__(self, path: Path, done: Collection[str]) -> None:
        self._path = path
        self._done = done
        self._seen: set[str] = set()
        self.id = ""

    def __iter__(self) -> Iterator[Any]:
        with self._opened() as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                try:
                    given = msgspec.json.decode(line)
                except (msgspec.DecodeError, UnicodeDecodeError) as error:
                    problem = str(error)
                else:
                    self.id = self._identified(given, number)
                    if self.id not in self._done:
                        yield given
                    continue
                raise InvalidArgumentError(f"{self._path}, line {number}, is no JSON: {problem}")

    def count(self) -> int | None:
        """Return how many there are; None for a pipe, which is read once."""
        if not self._path.is_file():
            return None
        with self._opened() as lines:
            return max(0, sum(1 for line in lines if line.strip()) - len(self._done))

    def _identified(self, given: Any, number: int) -> str:
        found = str(number)
        if isinstance(given, dict):
            named = cast("dict[str, object]", given).get("id")
            if isinstance(named, (str, int)):
                found = str(named)
        if found in self._seen:
            raise InvalidArgumentError(
                f"{self._path}, line {number}: the id {found} was there before; each input has "
                "its own, since what has been done is told apart by it"
            )
        self._seen.add(found)
        return found

    def _opened(self) -> IO[bytes]:
        if str(self._path) == "-":
            return sys.stdin.buffer
        try:
            return self._path.open("rb")
        except OSError as error:
            reason = error.strerror or type(error).__name__
        raise InvalidArgumentError(f"{self._path} cannot be read: {reason}; check --inputs")
