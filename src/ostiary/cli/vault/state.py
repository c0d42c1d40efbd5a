"""`status`, `lock` and `unlock`: the vault as a whole."""

from __future__ import annotations

from pathlib import Path

import typer

from ...vault.models import read_time
from ..entry import read_passphrase
from ..session import Home, Json, Socket, session

__all__ = ["register"]


def register(commands: typer.Typer) -> None:
    """Add these commands to the domain's group."""
    for name, command in (("status", status), ("lock", lock), ("unlock", unlock)):
        commands.command(name)(command)


def status(home: Home = None, socket: Socket = None, json: Json = False) -> None:
    """Show where the vault listens, whether it is locked, and what it holds."""
    with session(home, socket, json) as on:
        now = on.admin.status()
        if json:
            on.screen.document(now)
            return
        on.screen.facts(
            {
                "vault": "locked" if now.locked else "open",
                "home": now.home,
                "listens on": ", ".join(now.addresses),
                "started": read_time(now.started_at),
                "credentials": now.credentials,
                "agents": now.agents,
                "sessions": now.sessions,
                "leases": now.leases,
                "version": now.version,
            }
        )
        if now.locked:
            on.screen.note("run `ostiary vault unlock` before any secret can be read")


def lock(home: Home = None, socket: Socket = None, json: Json = False) -> None:
    """Lock the vault: no secret can be read until it is unlocked."""
    with session(home, socket, json) as on:
        on.admin.lock()
        if json:
            on.screen.document({"locked": True})
        else:
            on.screen.note("locked; `ostiary vault unlock` opens it again")


def unlock(home: Home = None, socket: Socket = None, json: Json = False) -> None:
    """Unlock the vault, with its passphrase from a hidden prompt or from stdin.

    A vault sealed by its master.key file needs none.
    """
    with session(home, socket, json) as on:
        now = on.admin.status()
        by_file = (Path(now.home) / "master.key").exists()
        if now.locked:
            on.admin.unlock(None if by_file else read_passphrase("Passphrase of the vault"))
        if json:
            on.screen.document({"locked": False})
        else:
            on.screen.note("unlocked" if now.locked else "the vault is open already")
