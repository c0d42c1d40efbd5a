"""One command's surroundings: its common options, the server it talks to, its exit code.

Administration goes over the server's Unix socket alone. Neighbours: `screen` prints, each
domain's package holds the commands.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..config import UnixAddress, parse_address
from ..errors import InvalidArgumentError, OstiaryError
from .screen import Screen

if TYPE_CHECKING:
    from ..devserver.admin import AdminClient

__all__ = ["Home", "Json", "Session", "Socket", "home_directory", "reporting", "session"]

Home = Annotated[
    Path | None,
    typer.Option(
        "--home",
        metavar="DIR",
        help="The vault's directory. Default: $SANCTUM_VAULT_PATH, else ~/.sanctum.",
        show_default=False,
    ),
]
Socket = Annotated[
    str | None,
    typer.Option(
        "--socket",
        metavar="PATH",
        help="The server's Unix socket. Default: $OSTIARY_VAULT_ADDRESS, else vault.sock in "
        "the vault's directory.",
        show_default=False,
    ),
]
Json = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON document on stdout; messages go to stderr."),
]


class Session:
    """An open line to the server's administration, and the screen to answer on."""

    def __init__(self, admin: AdminClient, screen: Screen) -> None:
        self.admin = admin
        self.screen = screen
        self.json = screen.json


@contextmanager
def reporting(json: bool) -> Generator[Screen, None, None]:
    """Yield a screen; an `OstiaryError` inside is shown there and becomes the exit code."""
    screen = Screen(json=json)
    try:
        yield screen
    except OstiaryError as error:
        raise typer.Exit(screen.refuse(error)) from None


@contextmanager
def session(home: Path | None, socket: str | None, json: bool) -> Generator[Session, None, None]:
    """Open the administration of the server that the options name."""
    with reporting(json) as screen:
        # Here, because --help and completion need none of it.
        from ..devserver.admin import AdminClient

        with closing(AdminClient(socket_path(home, socket))) as admin:
            yield Session(admin, screen)


def home_directory(home: Path | None) -> Path:
    """Return the vault's directory: the option, SANCTUM_VAULT_PATH, then ~/.sanctum."""
    chosen = home or Path(os.environ.get("SANCTUM_VAULT_PATH") or "~/.sanctum")
    try:
        return chosen.expanduser().absolute()
    except RuntimeError:
        pass
    raise InvalidArgumentError(f"{chosen} names no directory; set HOME or give --home")


def socket_path(home: Path | None, socket: str | None) -> Path:
    """Return the server's socket: --socket, --home, the environment, then the default."""
    if socket is not None:
        return _unix(socket, "--socket")
    if home is None and (address := os.environ.get("OSTIARY_VAULT_ADDRESS")):
        return _unix(address, "OSTIARY_VAULT_ADDRESS")
    return home_directory(home) / "vault.sock"


def _unix(text: str, source: str) -> Path:
    # A bare name is a path for --socket, and a host for the client's variable.
    bare = source == "--socket" and "://" not in text
    address = parse_address(Path(text) if bare else text, default_port=1)
    if isinstance(address, UnixAddress):
        return Path(address.path)
    raise InvalidArgumentError(
        f"{source} is {address}, and administration goes over the Unix socket alone; "
        "give --home or --socket"
    )
