"""`put`, `get`, `ls`, `rm` and `rotate`: what the vault keeps.

A value comes in by a hidden prompt, a pipe or a file and goes out by `get` alone.
"""

from __future__ import annotations

import base64
import sys
from pathlib import Path
from typing import Annotated

import typer

from ...errors import InvalidArgumentError
from ...secret import Secret
from ...vault.models import Credential, read_time
from ..completion import credential_paths
from ..entry import read_value
from ..screen import counted, plain
from ..session import Home, Json, Socket, session

__all__ = ["register"]

PathArgument = Annotated[
    str,
    typer.Argument(
        metavar="PATH",
        help="The credential's path, such as openai/api_key.",
        autocompletion=credential_paths,
        show_default=False,
    ),
]
NewPath = Annotated[
    str,
    typer.Argument(
        metavar="PATH", help="The credential's path, such as openai/api_key.", show_default=False
    ),
]
File = Annotated[
    Path | None,
    typer.Option(
        "--file",
        metavar="FILE",
        help="Read the secret from a file, every byte of it; - is stdin.",
        show_default=False,
    ),
]


def register(commands: typer.Typer) -> None:
    """Add these commands to the domain's group."""
    for name, command in (
        ("put", put),
        ("get", get),
        ("ls", ls),
        ("rm", rm),
        ("rotate", rotate),
    ):
        commands.command(name)(command)


def put(
    path: NewPath,
    file: File = None,
    type_: Annotated[
        str,
        typer.Option(
            "--type",
            metavar="TYPE",
            help="api_key, token, password, certificate, ssh_key or oauth_token.",
        ),
    ] = "api_key",
    description: Annotated[
        str | None,
        typer.Option("--description", metavar="TEXT", help="What it is for.", show_default=False),
    ] = None,
    tag: Annotated[
        list[str] | None,
        typer.Option("--tag", metavar="TAG", help="May be repeated.", show_default=False),
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Fail when the path is taken, instead of replacing it.")
    ] = False,
    home: Home = None,
    socket: Socket = None,
    json: Json = False,
) -> None:
    """Store a secret, read from a hidden prompt, from stdin or from --file.

    From a pipe, one line of text loses its line end; several lines or binary are kept to
    the byte, as everything is with `--file -`.
    """
    with session(home, socket, json) as on:
        on.admin.status()  # nobody is asked for a secret that has nowhere to go
        value = read_value(f"Secret for {plain(path)}", file)
        entry = on.admin.put(
            path,
            value,
            type=type_,
            description=description,
            tags=tag,
            overwrite=not keep,
        )
        if json:
            on.screen.document(entry)
        else:
            on.screen.note(f"stored {entry.path} ({entry.type}, {_size(value)})")


def get(path: PathArgument, home: Home = None, socket: Socket = None, json: Json = False) -> None:
    """Print a secret, bare: no line end is added unless stdout is a terminal."""
    with session(home, socket, json) as on:
        found = on.admin.get(path)
        if json:
            on.screen.document(_revealed(found.entry, found.value))
        elif sys.stdout.isatty():
            print(_for_terminal(found.value))
        else:
            sys.stdout.buffer.write(found.value.reveal_bytes())
            sys.stdout.flush()


def ls(
    prefix: Annotated[
        str | None,
        typer.Argument(
            metavar="PREFIX",
            help="Only paths that begin with this.",
            autocompletion=credential_paths,
            show_default=False,
        ),
    ] = None,
    type_: Annotated[
        str | None,
        typer.Option("--type", metavar="TYPE", help="Only this type.", show_default=False),
    ] = None,
    home: Home = None,
    socket: Socket = None,
    json: Json = False,
) -> None:
    """List what the vault keeps; values are never shown."""
    with session(home, socket, json) as on:
        found = on.admin.list(type=type_, prefix=prefix)
        if json:
            on.screen.document({"credentials": found})
            return
        narrowed = prefix or type_
        on.screen.table(
            ("path", "type", "description", "changed", "used"),
            (
                (
                    entry.path,
                    entry.type,
                    _about(entry),
                    read_time(entry.updated_at),
                    _used(entry),
                )
                for entry in found
            ),
            firm=("type", "changed"),
            empty="no credential matches"
            if narrowed
            else "the vault is empty; store a secret with `ostiary vault put PATH`",
        )


def rm(
    path: PathArgument,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Do not ask, even on a terminal.")
    ] = False,
    home: Home = None,
    socket: Socket = None,
    json: Json = False,
) -> None:
    """Remove a credential and end its leases; asks first on a terminal."""
    with session(home, socket, json) as on:
        if not yes and sys.stdin.isatty():
            typer.confirm(f"Remove {plain(path)} for good?", abort=True, err=True)
        on.admin.remove(path)
        if json:
            on.screen.document({"removed": path})
        else:
            on.screen.note(f"removed {path}")


def rotate(
    path: PathArgument,
    file: File = None,
    home: Home = None,
    socket: Socket = None,
    json: Json = False,
) -> None:
    """Replace a secret and end every lease on the old one; the secret is read as by put."""
    with session(home, socket, json) as on:
        on.admin.status()  # as above
        value = read_value(f"New secret for {plain(path)}", file)
        entry = on.admin.rotate(path, value)
        if json:
            on.screen.document(entry)
        else:
            on.screen.note(f"rotated {entry.path} ({_size(value)}); its leases have ended")


def _size(value: Secret) -> str:
    return counted(len(value.reveal_bytes()), "byte")


def _about(entry: Credential) -> str:
    words = [entry.description or "", *(f"#{tag}" for tag in entry.tags or ())]
    return " ".join(word for word in words if word)


def _used(entry: Credential) -> str:
    if not entry.access_count:
        return "never"
    times = "once" if entry.access_count == 1 else f"{entry.access_count} times"
    return f"{times}, last by {entry.last_accessed_by}" if entry.last_accessed_by else times


def _revealed(entry: Credential, value: Secret) -> dict[str, object]:
    # `encoding` says how to read `value`, so that binary survives JSON.
    document: dict[str, object] = dict(entry)
    try:
        document |= {"encoding": "utf-8", "value": value.reveal()}
    except InvalidArgumentError:
        encoded = base64.b64encode(value.reveal_bytes()).decode()
        document |= {"encoding": "base64", "value": encoded}
    return document


def _for_terminal(value: Secret) -> str:
    # A stored value may hold sequences that drive the terminal it is shown on.
    try:
        text = value.reveal()
    except InvalidArgumentError:
        text = None
    if text is None or not text.replace("\n", "").replace("\t", "").replace("\r", "").isprintable():
        raise InvalidArgumentError(
            "the secret is binary or holds control characters, which a terminal would act "
            "on; redirect stdout to a file or a program, or ask for --json"
        )
    return text.removesuffix("\n")
