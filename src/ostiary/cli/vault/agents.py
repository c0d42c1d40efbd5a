"""`agent add|ls|rm`: who may log in.

A key made here is written once, 0600, and never over another. Neighbour: `ostiary.vault.keys`.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from ...errors import InvalidArgumentError
from ...vault.models import read_time
from ..completion import agent_names
from ..entry import read_passphrase
from ..screen import plain
from ..session import Home, Json, Socket, session

__all__ = ["commands"]

commands = typer.Typer(help="Register, list and remove agents.", no_args_is_help=True)

# What the client accepts as a file name, too.
_NAME = re.compile(r"[A-Za-z0-9._-]{1,128}")


@commands.command("add")
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Letters, digits, '.', '_', '-'.")],
    public_key: Annotated[
        str | None,
        typer.Option(
            "--public-key",
            metavar="HEX",
            help="The Ed25519 public key of a key pair the agent has; 64 hex digits.",
            show_default=False,
        ),
    ] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option(
            "--allow",
            metavar="GLOB",
            help="Let it list, retrieve and use these paths, such as 'openai/*'. May be repeated.",
            show_default=False,
        ),
    ] = None,
    description: Annotated[
        str | None,
        typer.Option("--description", metavar="TEXT", help="What it is for.", show_default=False),
    ] = None,
    encrypt: Annotated[
        bool,
        typer.Option(
            "--encrypt",
            help="Protect the new key file with a passphrase, from a hidden prompt or stdin.",
        ),
    ] = False,
    home: Home = None,
    socket: Socket = None,
    json: Json = False,
) -> None:
    """Register an agent; without --public-key, make its key pair and write the private half.

    The key goes to keys/NAME.key in the vault's directory (NAME.key.enc with --encrypt),
    where the client looks for it. A file that exists is never overwritten.
    """
    with session(home, socket, json) as on:
        if not _NAME.fullmatch(name) or name in {".", ".."}:
            raise InvalidArgumentError(
                f"{plain(name)!r} is no agent name: 1 to 128 letters, digits, '.', '_' or '-'"
            )
        written: Path | None = None
        if public_key is None:
            from ...vault import keys

            file = Path(on.admin.status().home) / "keys" / f"{name}.key{'.enc' if encrypt else ''}"
            if os.path.lexists(file):
                raise InvalidArgumentError(
                    f"{file} exists already, and no key is overwritten; move it away, or "
                    "give the agent another name"
                )
            passphrase = read_passphrase(f"Passphrase for {name}", new=True) if encrypt else None
            key = keys.generate()
            written = keys.save(key, file, passphrase=passphrase)
            public_key = key.public_key_hex
        elif encrypt:
            raise InvalidArgumentError(
                "--encrypt protects a key that is made here; with --public-key the agent "
                "keeps its own"
            )
        try:
            agent = on.admin.agent_add(
                name, public_key.lower(), description=description, allow=allow
            )
        except BaseException:
            # A key nobody registered would be in the way of the next attempt.
            if written is not None:
                written.unlink(missing_ok=True)
            raise
        if json:
            on.screen.document(
                {"agent": agent, "key_path": None if written is None else str(written)}
            )
            return
        on.screen.note(f"registered {name}")
        facts: dict[str, object] = {"  public key": public_key.lower()}
        if written is not None:
            facts["  key file"] = f"{written} (0600)"
        facts["  may use"] = ", ".join(allow or ()) or (
            "nothing yet; add a policy with `ostiary vault policy add`"
        )
        on.screen.facts(facts, err=True)


@commands.command("ls")
def ls(home: Home = None, socket: Socket = None, json: Json = False) -> None:
    """List the agents that may log in."""
    with session(home, socket, json) as on:
        found = on.admin.agent_list()
        if json:
            on.screen.document({"agents": found})
            return
        on.screen.table(
            ("agent", "public key", "description", "registered"),
            (
                (
                    agent.name,
                    f"{agent.public_key[:16]}…",
                    agent.description,
                    read_time(agent.created_at),
                )
                for agent in found
            ),
            firm=("public key", "registered"),
            empty="no agent is registered; add one with `ostiary vault agent add NAME`",
        )


@commands.command("rm")
def rm(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="The agent.", autocompletion=agent_names, show_default=False
        ),
    ],
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Do not ask, even on a terminal.")
    ] = False,
    home: Home = None,
    socket: Socket = None,
    json: Json = False,
) -> None:
    """Remove an agent and end its sessions and leases; its key file stays where it is."""
    with session(home, socket, json) as on:
        if not yes and sys.stdin.isatty():
            typer.confirm(f"Remove the agent {plain(name)}?", abort=True, err=True)
        on.admin.agent_remove(name)
        if json:
            on.screen.document({"removed": name})
        else:
            on.screen.note(f"removed {name}; its sessions and leases have ended")
