"""`ostiary vault ...`: administration of a running vault, by its owner.

Neighbours: one module per noun here; `checks` is the vault's part of `ostiary doctor`.
"""

from __future__ import annotations

import typer

from . import agents, audit, credentials, leases, policies, state
from .checks import checks

__all__ = ["checks", "commands"]

commands = typer.Typer(
    help="Look after a running vault: credentials, agents, policies, leases, audit.",
    no_args_is_help=True,
)
credentials.register(commands)
state.register(commands)
commands.add_typer(agents.commands, name="agent")
commands.add_typer(policies.commands, name="policy")
commands.add_typer(leases.commands, name="lease")
commands.command("audit")(audit.audit)
