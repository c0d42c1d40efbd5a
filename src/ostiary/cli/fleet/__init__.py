"""`ostiary fleet`: one agent or function over many inputs, here or on a cluster."""

from __future__ import annotations

import typer

from .running import run

__all__ = ["commands"]

commands = typer.Typer(help="Run agents over many inputs.", no_args_is_help=True)
# A group also when it has one command: `ostiary fleet run`.
commands.callback()(lambda: None)
commands.command("run")(run)
