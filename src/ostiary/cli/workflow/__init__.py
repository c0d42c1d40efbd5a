"""`ostiary workflow ...`: runs, approvals, gates, policy and telemetry of a workflow server.

Neighbours: `session` for the options that all commands share, one module per kind of command,
`states` and `waterfall` for what is drawn, `checks` for the domain's part of `ostiary doctor`.
"""

from __future__ import annotations

import typer

from . import drawing, judging, runs, telemetry
from .checks import checks
from .session import take_options

__all__ = ["checks", "commands"]

commands = typer.Typer(
    help="Run workflows, approve what waits, and see what happened.",
    epilog="Options may stand before and behind the command. Exit codes: 0 done; 1 refused or "
    "failed; 2 wrong usage; 3 no server reachable; 130 interrupted.",
    no_args_is_help=True,
)
take_options(commands, version=True)
for _part in (runs, drawing, judging, telemetry):
    _part.register(commands)
