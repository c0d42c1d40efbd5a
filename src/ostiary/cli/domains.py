"""The domains the command line knows: one row each.

A row is a command group and what `ostiary doctor` asks of it. Adding a domain is a package
beside `vault` and a row here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import typer

from . import agent, config, gateway, governance, runtime, vault, workflow
from .finding import Finding

__all__ = ["DOMAINS", "Domain"]


@dataclass(frozen=True)
class Domain:
    """One row: its name as a command, its commands, its checks."""

    name: str
    commands: typer.Typer
    checks: Callable[[Path, Path], Iterable[Finding]]
    """Called with the home directory and the socket path."""


DOMAINS = (
    Domain("vault", vault.commands, vault.checks),
    Domain("governance", governance.commands, governance.checks),
    Domain("gateway", gateway.commands, gateway.checks),
    Domain("runtime", runtime.commands, runtime.checks),
    Domain("workflow", workflow.commands, workflow.checks),
    Domain("agent", agent.commands, agent.checks),
    Domain("config", config.commands, config.checks),
)
