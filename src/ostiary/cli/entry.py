"""Secrets on their way in: from a hidden prompt, a pipe or a file, never from an argument.

Neighbour: the commands, which pass what comes back straight to the server.
"""

from __future__ import annotations

import getpass
import sys
import warnings
from pathlib import Path
from typing import Final

from ..errors import InvalidArgumentError
from ..secret import Secret

__all__ = ["read_passphrase", "read_value"]

LIMIT: Final = 1024 * 1024  # what a vault stores; it leaves again in hex, in one frame
_PASSPHRASE_LIMIT: Final = 4096


def read_value(what: str, file: Path | None) -> Secret:
    """Read a credential's value.

    Without `file`: from a hidden prompt when stdin is a terminal, else from stdin, where
    one line of text loses its line end and anything else is kept to the byte. With `file`
    (`-` is stdin): every byte as it stands.
    """
    if file is None and sys.stdin.isatty():
        return _prompt_twice(what)
    if file is None:
        return _checked(_without_line_end(_read_stdin(LIMIT)))
    if str(file) == "-":
        if sys.stdin.isatty():
            raise InvalidArgumentError(
                "stdin is a terminal and would show the secret; pipe it in, or leave out "
                "--file for a hidden prompt"
            )
        return _checked(_read_stdin(LIMIT))
    try:
        with file.open("rb") as source:
            return _checked(Secret(source.read(LIMIT + 1)))
    except OSError as error:
        reason = error.strerror or type(error).__name__
    raise InvalidArgumentError(f"cannot read {file}: {reason}; check the path and its mode")


def read_passphrase(what: str, *, new: bool = False) -> Secret:
    """Read a passphrase: a hidden prompt, or the one line on stdin when that is no terminal.

    `new` asks twice at the prompt.
    """
    if sys.stdin.isatty():
        return _prompt_twice(what) if new else _prompt(f"{what}: ")
    return read_passphrase_line()


def read_passphrase_line() -> Secret:
    """Read the first and only line of stdin as a passphrase."""
    secret = _without_line_end(_read_stdin(_PASSPHRASE_LIMIT))
    if not secret:
        raise InvalidArgumentError("no passphrase on stdin; pipe in one line")
    if b"\n" in secret.reveal_bytes():
        raise InvalidArgumentError("stdin holds more than one line; a passphrase is one line")
    return secret


def _prompt_twice(what: str) -> Secret:
    first = _prompt(f"{what}: ")
    if first != _prompt(f"{what} again: "):
        raise InvalidArgumentError("the two entries differ; run the command again")
    return first


def _prompt(label: str) -> Secret:
    with warnings.catch_warnings():
        # What getpass only warns of is that it will show the secret.
        warnings.simplefilter("error", getpass.GetPassWarning)
        try:
            secret = Secret(getpass.getpass(label))
        except getpass.GetPassWarning:
            secret = None
        except (EOFError, KeyboardInterrupt) as end:
            # Ctrl-D and Ctrl-C leave the cursor behind the prompt.
            print(file=sys.stderr)
            if isinstance(end, KeyboardInterrupt):
                raise
            secret = Secret("")
    if secret is None:
        raise InvalidArgumentError("this terminal cannot hide its input; pipe the secret in")
    return _checked(secret)


def _read_stdin(limit: int) -> Secret:
    return Secret(sys.stdin.buffer.read(limit + 1))


def _without_line_end(secret: Secret) -> Secret:
    """Drop the line end of a single line of text; `echo` adds one that nobody means."""
    content = secret.reveal_bytes()
    line = content.removesuffix(b"\n").removesuffix(b"\r")
    if b"\n" in line or line == content:
        return secret
    try:
        line.decode()
    except UnicodeDecodeError:
        return secret
    return Secret(line)


def _checked(secret: Secret) -> Secret:
    if not secret:
        raise InvalidArgumentError("the secret is empty; nothing was changed")
    if len(secret.reveal_bytes()) > LIMIT:
        raise InvalidArgumentError(
            f"the secret has more than {LIMIT} bytes; store a key to it instead"
        )
    return secret
