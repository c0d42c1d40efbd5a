"""What an agent hands back: `AgentOutput`, and findings as SARIF.

Neighbours: `findings` (the values), `report` (the document), `sarif_rules` (the check).
"""

from __future__ import annotations

import itertools
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ..errors import SarifValidationError
from .files import replace_file
from .findings import Edit, Finding, Fix, Location, Step, TokenUsage
from .inputs import RepositoryInput
from .record import RunRecord
from .report import document
from .sarif_rules import problems

__all__ = [
    "AgentOutput",
    "Edit",
    "Finding",
    "Fix",
    "Location",
    "SarifOutput",
    "Step",
    "TokenUsage",
]

FILE: Final = "results.sarif"


class AgentOutput(ABC):
    """What an agent hands back; subclass it for other outputs than SARIF."""

    @property
    @abstractmethod
    def io_type(self) -> str:
        """The kind of output, in one word."""

    @abstractmethod
    def write(self, output_dir: str | os.PathLike[str]) -> list[str]:
        """Write the output into a directory, which may not exist yet; return the file names.

        Raises `OutputWriteError` when that is not possible.
        """

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Return the output as JSON has it."""

    def complete(self, record: RunRecord) -> None:  # noqa: B027
        """Take in how the run went; the runner calls this before it has the output written."""


@dataclass
class SarifOutput(AgentOutput):
    """Findings, to be written as SARIF 2.1.0 (docs/agents.md).

    `repository` gives each finding a fingerprint that survives moved lines, and `record` tells
    when and how the run went; the runner fills in both, and the token usage, where they are
    not given. `properties` are added to the run's.
    """

    tool_name: str
    tool_version: str
    findings: list[Finding] = field(default_factory=list[Finding])
    token_usage: list[TokenUsage] = field(default_factory=list[TokenUsage])
    information_uri: str = ""
    repository: RepositoryInput | None = None
    record: RunRecord | None = None
    properties: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def io_type(self) -> str:
        """Always `sarif`."""
        return "sarif"

    def complete(self, record: RunRecord) -> None:
        """Take in the run's beginning, end and cost."""
        if self.record is None:
            self.record = record
        if not self.token_usage:
            self.token_usage = list(record.usage)

    def to_dict(self) -> dict[str, Any]:
        """Return the SARIF document.

        Raises `SarifValidationError` for metadata that is nested without end.
        """
        try:
            return document(
                self.tool_name,
                self.tool_version,
                self.findings,
                self.token_usage,
                information_uri=self.information_uri,
                repository=self.repository,
                record=self.record,
                properties=self.properties,
            )
        except RecursionError:
            pass
        raise SarifValidationError("the output is nested too deeply; flatten its metadata")

    def validate(self) -> None:
        """Raise `SarifValidationError`, with the places, when the document is not SARIF."""
        checked(self.to_dict())

    def write(self, output_dir: str | os.PathLike[str]) -> list[str]:
        """Write `results.sarif` into a directory, whole or not at all; return its name.

        The directory is made when it is missing. Raises `SarifValidationError` for what is not
        valid SARIF, such as metadata that JSON has no form for; `OutputWriteError` when the
        file cannot be written.
        """
        replace_file(output_dir, FILE, checked(self.to_dict()))
        return [FILE]


def checked(content: dict[str, Any]) -> bytes:
    """Return a SARIF document's bytes; raise `SarifValidationError` unless it is valid."""
    try:
        found = list(itertools.islice(problems(content), 5))
        if not found:
            return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()
    except (RecursionError, UnicodeEncodeError):
        found = ["/: is nested too deeply, or holds text that UTF-8 cannot"]
    raise SarifValidationError(
        f"the output is not valid SARIF and was not written: {'; '.join(found)}"
    )
