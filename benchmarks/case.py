"""What one row of the table is. The rows themselves are in `catalogue`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["floor", "peer", "ours"]


@dataclass(frozen=True, slots=True)
class Case:
    """One row: who does the work, and how much of it makes one sample."""

    name: str
    label: str
    role: Role
    function: str
    count: int
    smoke: int
    unit: str = "us"
    server: str = ""
    """The program that serves it, if any does: it is started anew for each run."""
    environment: str = ""
    """Where it runs, if not in our environment: one within it, of that name."""
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def group(self) -> str:
        return self.name.partition(".")[0]
