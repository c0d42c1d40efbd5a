"""What an agent found: the values a report is made of.

They hold what they are given; `report` decides how it is written. Neighbour: `outputs`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Edit", "Finding", "Fix", "Location", "Step", "TokenUsage"]


@dataclass(frozen=True)
class Location:
    """A place in a file; lines and columns count from 1, and 0 is unset.

    `file` is a path relative to the repository's root. Columns count characters; `end_column`
    is the one behind the last.
    """

    file: str
    start_line: int = 0
    end_line: int = 0
    start_column: int = 0
    end_column: int = 0


@dataclass(frozen=True)
class TokenUsage:
    """The tokens that calls to one model took."""

    model: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0


@dataclass(frozen=True)
class Step:
    """One place on the way to a finding, or beside it, and what is to be seen there."""

    location: Location
    message: str = ""


@dataclass(frozen=True)
class Edit:
    """Text to put in place of what stands at `location`.

    The location's lines count whole where it has no columns.
    """

    location: Location
    text: str


@dataclass(frozen=True)
class Fix:
    """A change that a program could make: all edits together."""

    description: str
    edits: Sequence[Edit]


@dataclass
class Finding:
    """One thing found (docs/agents.md).

    `id` names the rule, and findings with the same id are of one rule. `severity` is critical,
    high, medium, low or note; `confidence` high, medium or low. `cwe` is a number or `CWE-89`.
    `remediation` is prose; a change that a program can make goes into `fixes`. `snippet` is
    the code to show, and nothing is shown unless it is given: the code may hold a secret.
    `flow` leads to the finding step by step, `related` are places beside it. `metadata` is
    whatever JSON can hold.
    """

    id: str
    title: str
    description: str
    severity: str
    location: Location
    cwe: str = ""
    remediation: str = ""
    confidence: str = "medium"
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])
    snippet: str = ""
    help_uri: str = ""
    flow: Sequence[Step] = ()
    related: Sequence[Step] = ()
    fixes: Sequence[Fix] = ()
