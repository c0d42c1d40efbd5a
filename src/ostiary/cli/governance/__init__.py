"""`ostiary governance ...`: what the guide's `hestiaos` command does, and the rest of the client.

Neighbours: `session` for the options that all commands share, one module per kind of command,
`checks` for the domain's part of `ostiary doctor`.
"""

from __future__ import annotations

import typer

from . import reading, running, secrets
from .checks import checks
from .session import take_options

__all__ = ["checks", "commands"]

commands = typer.Typer(
    help="Run commands through a governance server, and read its decisions.",
    epilog="Options may stand before and behind the command. Exit codes: 0 done; 1 blocked or "
    "failed; 2 wrong usage; 130 interrupted. With `--exit-codes` a failure is told by its code: "
    "3 no server reachable; 4 blocked; 5 not found; 6 input refused; 7 API key refused; 8 out of "
    "time; 9 too many requests; 10 the server failed.",
    no_args_is_help=True,
)
take_options(commands, version=True)
running.register(commands)
reading.register(commands)
secrets.register(commands)
