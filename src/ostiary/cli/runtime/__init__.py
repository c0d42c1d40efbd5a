"""`ostiary runtime ...`: agents, reviews, secrets, tools and knowledge of a runtime server.

Neighbours: `session` for the options that all commands share, one module per noun, `checks`
for the domain's part of `ostiary doctor`.
"""

from __future__ import annotations

import typer

from . import (
    agents,
    dsl,
    events,
    figures,
    inputs,
    knowledge,
    mcp,
    reviews,
    schedules,
    secrets,
    workflows,
)
from .checks import checks
from .session import take_options

__all__ = ["checks", "commands"]

commands = typer.Typer(
    help="Look after a runtime: agents, workflows, tool reviews, secrets, MCP, knowledge.",
    epilog="Options may stand before and behind the command. Exit codes: 0 done; 1 refused or "
    "failed; 2 wrong usage; 3 no server reachable; 130 interrupted.",
    no_args_is_help=True,
)
take_options(commands, version=True)
_PARTS = (
    *(figures, agents, workflows, events, reviews, secrets, mcp, knowledge, dsl),
    *(schedules, inputs),
)
for _part in _PARTS:
    _part.register(commands)
