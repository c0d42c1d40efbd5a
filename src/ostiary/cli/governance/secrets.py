"""`secrets get`, `set` and `delete`: a value comes in by a prompt, a pipe or a file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ..entry import read_value
from ..screen import plain
from .session import Session, add, print_json, take_options

__all__ = ["register"]

Key = Annotated[str, typer.Argument(metavar="KEY", help="The secret's name.", show_default=False)]


def register(commands: typer.Typer) -> None:
    """Add this group to the domain's."""
    group = typer.Typer(help="Values that the server keeps.", no_args_is_help=True)
    take_options(group)
    add(group, "get", get)
    add(group, "set", set_)
    add(group, "delete", delete)
    commands.add_typer(group, name="secrets")


def get(on: Session, key: Key) -> None:
    """Print a secret, bare: no line end is added unless stdout is a terminal."""
    value = on.client.secrets.get(key)
    if on.json:
        print_json({"key": key, "value": value})
        return
    if sys.stdout.isatty():
        # A stored value may hold sequences that drive the terminal it is shown on.
        print("".join(c if c in "\n\t" else plain(c) for c in value))
        return
    sys.stdout.buffer.write(value.encode("utf-8", "surrogatepass"))
    sys.stdout.buffer.flush()


def set_(
    on: Session,
    key: Key,
    file: Annotated[
        Path | None,
        typer.Option(
            "--file",
            metavar="FILE",
            help="Read the secret from a file, every byte of it; - is stdin.",
            show_default=False,
        ),
    ] = None,
    provider: Annotated[
        str, typer.Option("--provider", metavar="NAME", help="Who the secret is for.")
    ] = "custom",
) -> None:
    """Store a secret, read from a hidden prompt, from stdin or from --file.

    From a pipe, one line of text loses its line end.
    """
    on.client.secrets.set(key, read_value(f"Secret for {plain(key)}", file), provider)
    if on.json:
        print_json({"key": key, "stored": True})
    else:
        on.note(f"stored {key}")


def delete(on: Session, key: Key) -> None:
    """Delete a secret."""
    on.client.secrets.delete(key)
    if on.json:
        print_json({"key": key, "deleted": True})
    else:
        on.note(f"deleted {key}")
