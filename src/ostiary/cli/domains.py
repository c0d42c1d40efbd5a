"""The domains the command line knows: one row each.

A row is a package beside `vault`, loaded by those who ask for what is in it: its command group,
and what `ostiary doctor` asks of it. Adding a domain is such a package and a row here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import typer

from .finding import Finding

__all__ = ["DOMAINS", "Domain"]


@dataclass(frozen=True)
class Domain:
    """One row: the name of the package, which is the name of its group of commands."""

    name: str

    @property
    def commands(self) -> typer.Typer:
        """Its commands."""
        group: typer.Typer = self._package.commands
        return group

    @property
    def checks(self) -> Callable[[Path, Path], Iterable[Finding]]:
        """Its checks, to be called with the home directory and the socket path."""
        found: Callable[[Path, Path], Iterable[Finding]] = self._package.checks
        return found

    @property
    def _package(self) -> Any:
        return import_module(f".{self.name}", __package__)


DOMAINS = tuple(
    map(Domain, ("vault", "governance", "gateway", "runtime", "workflow", "agent", "config"))
)
