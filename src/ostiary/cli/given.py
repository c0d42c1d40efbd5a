"""JSON, text and keys as they are given to a command: as an argument, from a file, from stdin."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from json import loads
from pathlib import Path
from typing import Any, Final, cast

from .._api_key import read_key_file
from ..errors import InvalidArgumentError
from ..secret import Secret

__all__ = ["read_key", "read_object", "read_text"]

_LONGEST_INPUT: Final = 16 * 1024 * 1024
_LONGEST_KEY: Final = 16 * 1024


def read_key(options: Mapping[str, Any]) -> Secret | None:
    """Return the API key of `--api-key-file`, whose `-` is stdin; None where it was not given."""
    file = options.get("api_key_file")
    if file is None:
        return None
    if file != "-":
        return read_key_file(Path(file), InvalidArgumentError)
    key = Secret(sys.stdin.buffer.readline(_LONGEST_KEY).strip())
    if not key:
        raise InvalidArgumentError("no API key on stdin; pipe in one line")
    return key


def read_object(text: str | None, what: str) -> dict[str, Any]:
    """Read a JSON object given as an argument: as it stands, `@FILE`, or `-` for stdin."""
    if text is None:
        return {}
    if text == "-":
        text = read_text(Path("-"), what)
    elif text.startswith("@"):
        text = read_text(Path(text[1:]), what)
    found: object = None
    try:
        found = loads(text)
    except (ValueError, RecursionError):
        pass
    if not isinstance(found, dict):
        raise InvalidArgumentError(
            f"""{what} is no JSON object; give one such as '{{"depth": 2}}', @FILE or -"""
        )
    return cast("dict[str, Any]", found)


def read_text(file: Path, what: str) -> str:
    """Read a file, or stdin for `-`, which is UTF-8 and not endless."""
    if str(file) == "-":
        if sys.stdin.isatty():
            print(f"{what}: end with Ctrl-D", file=sys.stderr)
        raw = sys.stdin.buffer.read(_LONGEST_INPUT + 1)
    else:
        try:
            with file.open("rb") as source:
                raw = source.read(_LONGEST_INPUT + 1)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise InvalidArgumentError(f"cannot read {file}: {reason}; check the path") from None
    if len(raw) > _LONGEST_INPUT:
        raise InvalidArgumentError(f"{what} is longer than {_LONGEST_INPUT} bytes; send less")
    text = None
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        pass
    if text is None:
        raise InvalidArgumentError(f"{what} is not UTF-8 text")
    return text
