"""`ostiary gateway ...`: the models of a gateway from the shell, as an agent would reach them.

Neighbours: `session` for the options that all commands share, one module per kind of command,
`checks` for the domain's part of `ostiary doctor`.
"""

from __future__ import annotations

import typer

from . import models, state, tools
from .checks import checks

__all__ = ["checks", "commands"]

commands = typer.Typer(
    help="Ask models through a gateway, as the environment's identity.",
    epilog='The environment says which gateway and who is asking: `eval "$(ostiary env)"` takes '
    "it from a running `ostiary dev`. Exit codes: 0 done; 1 refused or failed; 2 wrong usage; "
    "3 no gateway reachable; 130 interrupted. With `--exit-codes` a failure ends with the code "
    "an agent would end with: 10 to 19 identity; 20 to 29 not allowed; 30 to 39 the gateway; "
    "40 to 49 a setting; 60 to 69 the model.",
    no_args_is_help=True,
)
models.register(commands)
state.register(commands)
tools.register(commands)
