"""`ostiary agent`: run an agent as it runs in production, and see what it would find."""

from __future__ import annotations

import typer

from .checks import checks
from .running import run
from .settings import settings

__all__ = ["checks", "commands"]

commands = typer.Typer(help="Run agents.", no_args_is_help=True)
commands.command("run")(run)
commands.command("settings")(settings)
