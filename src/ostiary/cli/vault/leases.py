"""`lease ls|revoke`: what is lent out now."""

from __future__ import annotations

from typing import Annotated

import typer

from ...vault.models import read_time
from ..completion import lease_ids
from ..session import Home, Json, Socket, session

__all__ = ["commands"]

commands = typer.Typer(help="See and end what is lent out.", no_args_is_help=True)


@commands.command("ls")
def ls(home: Home = None, socket: Socket = None, json: Json = False) -> None:
    """List the leases in force."""
    with session(home, socket, json) as on:
        found = on.admin.lease_list()
        if json:
            on.screen.document({"leases": found})
            return
        on.screen.table(
            ("lease", "agent", "path", "granted", "ends"),
            (
                (
                    lease.lease_id,
                    lease.agent_name,
                    lease.path,
                    read_time(lease.created_at),
                    read_time(lease.expires_at),
                )
                for lease in found
            ),
            firm=("lease", "granted", "ends"),
            empty="nothing is lent out",
        )


@commands.command("revoke")
def revoke(
    lease_id: Annotated[
        str,
        typer.Argument(
            metavar="LEASE",
            help="The lease's id, as `ostiary vault lease ls` shows it.",
            autocompletion=lease_ids,
            show_default=False,
        ),
    ],
    home: Home = None,
    socket: Socket = None,
    json: Json = False,
) -> None:
    """End a lease now; the agent has to ask again."""
    with session(home, socket, json) as on:
        on.admin.lease_revoke(lease_id)
        if json:
            on.screen.document({"revoked": lease_id})
        else:
            on.screen.note("the lease has ended")
