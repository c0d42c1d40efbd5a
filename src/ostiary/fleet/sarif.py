"""The findings of many inputs as one SARIF document.

One run for each tool and each repository, since a path means something in one repository only;
what several inputs have found is in it once. Neighbour: `ostiary.gateway.io.report`, which
writes a run.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Final, TypeAlias, cast

from ..gateway.agent import AgentResult
from ..gateway.io.files import replace_file
from ..gateway.io.findings import Finding, TokenUsage
from ..gateway.io.fingerprints import finding_hash
from ..gateway.io.outputs import SarifOutput, checked
from ..gateway.io.report import SCHEMA

__all__ = ["Merged", "findings_in"]

_Tool: TypeAlias = tuple[str, str, str, tuple[str, str, str]]

TOOL: Final = "ostiary-fleet"


class Merged:
    """What was found so far."""

    def __init__(self) -> None:
        self._outputs: dict[_Tool, SarifOutput] = {}
        self._seen: set[tuple[_Tool, str]] = set()

    def __len__(self) -> int:
        return len(self._seen)

    def add(self, output: SarifOutput) -> None:
        """Take in what one input has found; what was found before is passed over."""
        repository = output.repository
        where = ("", "", "")
        if repository is not None:
            where = (str(repository.path), repository.ref, repository.url)
        tool = (output.tool_name, output.tool_version, output.information_uri, where)
        merged = self._outputs.get(tool)
        if merged is None:
            merged = self._outputs[tool] = SarifOutput(
                output.tool_name,
                output.tool_version,
                information_uri=output.information_uri,
                repository=repository,
            )
        for finding in output.findings:
            mark = (tool, _mark(finding))
            if mark not in self._seen:
                self._seen.add(mark)
                merged.findings.append(finding)

    def document(self, run_id: str, usage: Sequence[TokenUsage] = ()) -> dict[str, Any]:
        """Return the document; `usage` is told once, in the first run."""
        outputs = list(self._outputs.values()) or [SarifOutput(TOOL, "")]
        runs: list[dict[str, Any]] = []
        for number, output in enumerate(outputs, 1):
            output.token_usage = list(usage) if number == 1 else []
            (run,) = output.to_dict()["runs"]
            # Whoever takes several runs of one tool tells them apart by this.
            run["automationDetails"] = {"id": f"{output.tool_name}/{run_id}/{number}"}
            runs.append(run)
        return {"$schema": SCHEMA, "version": "2.1.0", "runs": runs}

    def write(
        self, path: str | os.PathLike[str], run_id: str, usage: Sequence[TokenUsage] = ()
    ) -> None:
        """Write the document, whole or not at all; raise as `SarifOutput.write` does."""
        directory, name = os.path.split(os.path.abspath(path))
        replace_file(directory, name, checked(self.document(run_id, usage)))


def _mark(finding: Finding) -> str:
    place = finding.location
    numbers = (place.start_line, place.start_column, place.end_line, place.end_column)
    return finding_hash(
        [finding.id, place.file, finding.title, finding.description, *map(str, numbers)]
    )


def findings_in(value: object) -> SarifOutput | None:
    """Return what a value of the work has of findings: an agent's output, or findings alone."""
    if isinstance(value, AgentResult):
        value = value.output
    if isinstance(value, SarifOutput):
        return value
    if isinstance(value, Finding):
        value = [value]
    if isinstance(value, (list, tuple)) and value:
        listed = cast("Sequence[object]", value)
        if all(isinstance(one, Finding) for one in listed):
            return SarifOutput(TOOL, "", list(cast("Sequence[Finding]", listed)))
    return None
