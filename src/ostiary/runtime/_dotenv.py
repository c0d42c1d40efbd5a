"""A `.env` file: which one is meant, and what it says. Nothing of it enters the environment.

The nearest file named `.env` counts, from the working directory upwards. One that belongs to
another user is passed over, so that nobody can leave one in a shared directory for us.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ..secret import Secret

__all__ = ["find", "read"]

NAME: Final = ".env"
_LARGEST: Final = 64 * 1024

# Nothing in it is tried twice, so that no file takes long: it may be a hostile repository's.
_LINE: Final = re.compile(
    r"""
    ^[ \t]*+(?:export[ \t]++)?(?P<name>[A-Za-z_][A-Za-z0-9_]*+)[ \t]*+=[ \t]*+
    (?:
        '(?P<plain>[^']*+)'[ \t]*+
      | "(?P<escaped>[^"\\]*+(?:\\.[^"\\]*+)*)"[ \t]*+
      | (?P<bare>[^\r\n\#]*+(?:(?<![ \t"'])\#[^\r\n\#]*+)*)
    )
    (?:(?<=[ \t"'])\#[^\r\n]*+)?$
    """,
    re.VERBOSE | re.MULTILINE | re.DOTALL,
)
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES: Final[Mapping[str, str]] = {"n": "\n", "r": "\r", "t": "\t"}


def find(start: str | os.PathLike[str] | None = None) -> Path | None:
    """Return the nearest `.env`, from `start` or the working directory upwards, or None."""
    try:
        directory = Path(start or os.getcwd()).absolute()
    except OSError:  # the working directory is gone
        return None
    for place in (directory, *directory.parents):
        path = place / NAME
        if _is_ours(path):
            return path
    return None


def _is_ours(path: Path) -> bool:
    try:
        found = path.stat()
    except (OSError, ValueError):
        return False
    # In a container root works on files of the host's user.
    return stat.S_ISREG(found.st_mode) and os.geteuid() in {0, found.st_uid}


def read(path: Path, names: frozenset[str]) -> dict[str, Secret]:
    """Return those variables of `names` that the file sets and does not leave empty.

    Other lines are nobody's business here: they are neither kept nor judged. A file that
    cannot be read says nothing.
    """
    try:
        with path.open("rb") as file:
            text = file.read(_LARGEST).decode("utf-8-sig", "replace")
    except OSError:
        return {}
    found: dict[str, Secret] = {}
    for line in _LINE.finditer(text.replace("\r\n", "\n")):
        if line["name"] in names:
            value = _value(line)
            found.pop(line["name"], None)
            if value:
                found[line["name"]] = Secret(value)
    return found


def _value(line: re.Match[str]) -> str:
    if line["plain"] is not None:
        return line["plain"]
    if line["escaped"] is not None:
        return _ESCAPE.sub(lambda one: _ESCAPES.get(one[1], one[1]), line["escaped"])
    return line["bare"].strip()
