"""The agent of examples/secret_scan on a repository, in parts, by a fleet of two processes.

Neighbour: `accounts`, where what it wrote stands beside what the gateway counted.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from ostiary.devserver.admin import AdminClient
from ostiary.fleet import Fleet
from ostiary.gateway import RepositoryInput

from ..secret_scan import SecretScan
from .accounts import Counts
from .services import Services, Used

ROOT = Path(__file__).resolve().parents[2]
PROCESSES = 2
PARTS = 8
SHOWN = 3


@dataclass
class Part(RepositoryInput):
    """Every so many-th file of a repository, and never more than `at_most` of them."""

    part: int = 0
    at_most: int = 0

    def list_files(
        self,
        extensions: Collection[str] | None = None,
        *,
        exclude: Collection[str] = (),
        gitignore: bool = False,
        max_bytes: int | None = None,
        text_only: bool = False,
    ) -> list[Path]:
        """List the files of this part."""
        files = super().list_files(
            extensions,
            exclude=exclude,
            gitignore=gitignore,
            max_bytes=max_bytes,
            text_only=text_only,
        )
        return files[self.part : self.at_most : PARTS]


class PartScan(SecretScan):
    """The same agent; what it is given is a part."""

    input_type = Part


class _Region(msgspec.Struct, rename="camel"):
    start_line: int = 0


class _Artifact(msgspec.Struct):
    uri: str = ""


class _Physical(msgspec.Struct, rename="camel"):
    artifact_location: _Artifact = msgspec.field(default_factory=_Artifact)
    region: _Region = msgspec.field(default_factory=_Region)


class _Location(msgspec.Struct, rename="camel"):
    physical_location: _Physical = msgspec.field(default_factory=_Physical)


class _Message(msgspec.Struct):
    text: str = ""


class _Result(msgspec.Struct, rename="camel"):
    message: _Message
    level: str = "warning"
    locations: list[_Location] = []

    def __str__(self) -> str:
        place = self.locations[0].physical_location if self.locations else _Physical()
        return f"{place.artifact_location.uri}:{place.region.start_line}: {self.message.text}"


class _Sarif(msgspec.Struct):
    class Run(msgspec.Struct):
        results: list[_Result] = []

    runs: list[Run] = []


@dataclass
class Scan:
    """What came of it; `problem` says why nothing did."""

    report: Path
    seconds: float = 0.0
    problem: str | None = None
    files: int = 0
    triaged: int = 0
    levels: Counter[str] = field(default_factory=Counter[str])
    worst: list[str] = field(default_factory=list[str])
    counts: Counts = field(default_factory=dict[str, tuple[int, int]])


def scan_repository(
    repository: Path,
    services: Services,
    admin: AdminClient,
    before: Used,
    report: Path,
    files: int,
    show: Callable[[int], None],
) -> Scan:
    """Run the agent on at most so many files; write what it finds as SARIF.

    It puts what it finds into the demonstration's vault, which is removed in the end. `show` is
    told how many parts are done.
    """
    began = time.monotonic()
    scan = Scan(report)
    # For the processes of the fleet; the agent says what they mean.
    os.environ["SECRET_SCAN_VAULT"] = "yes"
    os.environ["SANCTUM_VAULT_PATH"] = str(services.socket.parent)
    fleet = Fleet(
        PartScan, executor="processes", workers=PROCESSES, concurrency=PROCESSES, retries=0
    )
    stream = fleet.stream(
        {"path": repository, "part": part, "at_most": files} for part in range(PARTS)
    )
    said: Counter[str] = Counter()
    for result in stream:
        if result.error is not None:
            scan.problem = f"the secret scan failed: {result.error}"
            continue
        said.update({name: int(count) for name, count in result.value.metadata.items()})
        show(stream.report.done)
    if scan.problem is not None:
        return scan
    stream.report.write_sarif(report)
    found = [
        result
        for run in msgspec.json.decode(report.read_bytes(), type=_Sarif).runs
        for result in run.results
    ]
    usage = stream.report.usage
    used = services.used()
    scan.files, scan.triaged = said["files"], said["triaged"]
    scan.levels = Counter(result.level for result in found)
    scan.worst = sorted(str(result) for result in found if result.level == "error")[:SHOWN]
    scan.counts = {
        "findings, and in the SARIF": (said["findings"], len(found)),
        "put into the vault": (said["stored"], len(admin.list(prefix="secret-scan/"))),
        "tokens it said": (
            sum(one.prompt_tokens for one in usage),
            used.prompt_tokens - before.prompt_tokens,
        ),
        "tokens it was told": (
            sum(one.completion_tokens for one in usage),
            used.completion_tokens - before.completion_tokens,
        ),
    }
    scan.seconds = time.monotonic() - began
    return scan
