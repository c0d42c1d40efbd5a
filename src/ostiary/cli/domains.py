"""The domains the command line knows: one row each.

A row is a package beside `vault`, with a group of commands and with what `ostiary doctor` asks of
it. Adding a domain is such a package and a row here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from .finding import Finding

__all__ = ["DOMAINS", "Domain"]


@dataclass(frozen=True)
class Domain:
    """One row: the name of its package and of its group of commands."""

    name: str

    @property
    def checks(self) -> Callable[[Path, Path], Iterable[Finding]]:
        """Its checks, to be called with the home directory and the socket path."""
        package = import_module(f".{self.name}", __package__)
        found: Callable[[Path, Path], Iterable[Finding]] = package.checks
        return found


DOMAINS = tuple(
    map(Domain, ("vault", "governance", "gateway", "runtime", "workflow", "agent", "config"))
)
