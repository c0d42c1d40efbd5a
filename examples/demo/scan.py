"""The agent of examples/secret_scan on this repository, under the runner, in a process of its own.

Neighbour: `accounts`, where what it wrote stands beside what the gateway counted.
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from ostiary.devserver.admin import AdminClient

from .services import DemoError, Services, Used, clean_environment

ROOT = Path(__file__).resolve().parents[2]
AGENT = "examples.secret_scan:SecretScan"
LONGEST = 300.0


class _Result(msgspec.Struct, rename="camel"):
    rule_id: str = ""
    level: str = "warning"


class _Sarif(msgspec.Struct):
    class Run(msgspec.Struct):
        results: list[_Result] = []

    runs: list[Run] = []


class _Tokens(msgspec.Struct):
    prompt_tokens: int
    completion_tokens: int


class _Metadata(msgspec.Struct):
    """What the agent itself counted."""

    files: int
    findings: int
    triaged: int = 0
    stored: int = 0


class _Record(msgspec.Struct):
    """What of `run.json` is shown."""

    duration_seconds: float
    token_usage: list[_Tokens]
    metadata: _Metadata


@dataclass
class Scan:
    """What came of it; `problem` says why nothing did."""

    problem: str | None = None
    files: int = 0
    findings: int = 0
    triaged: int = 0
    stored: tuple[int, int] = (0, 0)
    levels: Counter[str] = field(default_factory=Counter[str])
    seconds: float = 0.0
    tokens: tuple[int, int] = (0, 0)
    used: Used = field(default_factory=Used)

    def counts(self) -> dict[str, tuple[int, int]]:
        """Return what its record says, beside what its report, the vault and the gateway say."""
        return {
            "findings": (self.findings, self.levels.total()),
            "put into the vault": self.stored,
            "tokens it said": (self.tokens[0], self.used.prompt_tokens),
            "tokens it was told": (self.tokens[1], self.used.completion_tokens),
        }

    def facts(self) -> list[tuple[str, str]]:
        """Return the rest, as it is shown."""
        return [
            *((f"of level {level}", f"{count}") for level, count in sorted(self.levels.items())),
            ("judged by a model", f"{self.triaged}"),
            ("files read", f"{self.files}"),
            ("seconds", f"{self.seconds:.1f}"),
        ]


def scan_repository(
    repository: Path, services: Services, admin: AdminClient, before: Used, output: Path
) -> Scan:
    """Run the agent as `ostiary agent run` does and read what it wrote.

    It puts what it finds into the demonstration's vault, which is removed in the end.
    """
    environment = clean_environment() | services.ready.gateway.environment
    environment |= {"SECRET_SCAN_VAULT": "yes", "SANCTUM_VAULT_PATH": str(services.socket.parent)}
    command = ("ostiary", "agent", "run", AGENT, "--repo", repository, "--output", output)
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,  # where examples/ are
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=environment,
        # Ctrl-C is for this process, which then ends that one.
        start_new_session=True,
        check=False,
        timeout=LONGEST,
    )
    if done.returncode != 0:
        last = done.stderr.strip().rpartition("\n")[2]
        return Scan(problem=f"the secret scan ended with {done.returncode}: {last}")
    try:
        sarif = msgspec.json.decode((output / "results.sarif").read_bytes(), type=_Sarif)
        record = msgspec.json.decode((output / "run.json").read_bytes(), type=_Record)
    except (OSError, msgspec.DecodeError) as error:
        raise DemoError(f"the secret scan wrote no report that can be read: {error}") from error
    after = services.used()
    return Scan(
        files=record.metadata.files,
        findings=record.metadata.findings,
        triaged=record.metadata.triaged,
        stored=(record.metadata.stored, len(admin.list(prefix="secret-scan/"))),
        levels=Counter(result.level for run in sarif.runs for result in run.results),
        seconds=record.duration_seconds,
        tokens=(
            sum(one.prompt_tokens for one in record.token_usage),
            sum(one.completion_tokens for one in record.token_usage),
        ),
        used=Used(
            calls=after.calls - before.calls,
            refused=after.refused - before.refused,
            prompt_tokens=after.prompt_tokens - before.prompt_tokens,
            completion_tokens=after.completion_tokens - before.completion_tokens,
        ),
    )
