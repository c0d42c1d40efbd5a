"""What became of a run, beside its output: who ran, when, how it ended, what it cost.

Written as `run.json`, also when there is no output. Neighbours: the runner makes one, `report`
takes from it what SARIF has a place for.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from ..errors import OutputError
from .files import replace_file
from .findings import TokenUsage
from .inputs import AgentInput

__all__ = ["RunRecord"]

FILE: Final = "run.json"


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """One run of an agent.

    `error` is empty for a run that ended well, `signal` the name of the signal that ended it
    early. `usage` is what calls made through the context took, by model.
    """

    agent: str
    version: str
    run_id: str
    org_id: str
    started_at: datetime = field(default_factory=_now)
    ended_at: datetime = field(default_factory=_now)
    duration_seconds: float = 0.0
    exit_code: int = 0
    error: str = ""
    signal: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    usage: Sequence[TokenUsage] = ()
    files: Sequence[str] = ()
    input: AgentInput | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the members of `run.json`, in their order."""
        return {
            "agent": self.agent,
            "version": self.version,
            "run_id": self.run_id,
            "org_id": self.org_id,
            "started_at": self.started_at.isoformat(timespec="milliseconds"),
            "ended_at": self.ended_at.isoformat(timespec="milliseconds"),
            "duration_seconds": round(self.duration_seconds, 3),
            "exit_code": self.exit_code,
            "error": self.error,
            "signal": self.signal,
            "metadata": dict(self.metadata),
            "token_usage": [
                {
                    "model": one.model,
                    "prompt_tokens": one.prompt_tokens,
                    "completion_tokens": one.completion_tokens,
                    "total_tokens": one.total_tokens,
                }
                for one in self.usage
            ],
            "files": list(self.files),
        }

    def write(self, directory: str | os.PathLike[str]) -> str:
        """Write `run.json` into a directory, whole or not at all; return its name.

        Metadata that JSON has no form for is written as its type's name. Raises
        `OutputWriteError` when the file cannot be written.
        """
        try:
            # `str` of something unknown might tell what nobody meant to write.
            encoded = msgspec.json.encode(self.to_dict(), enc_hook=lambda v: type(v).__name__)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            reason = type(error).__name__
        else:
            replace_file(directory, FILE, msgspec.json.format(encoded, indent=2) + b"\n")
            return FILE
        raise OutputError(f"the run's metadata cannot be written as JSON: {reason}; simplify it")
