"""A run as plain data, and the file that keeps it. Measures nothing, judges nothing.

Whatever is shown of a run is made of this: what printed it, and the report of an earlier one.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from .gates import Verdict, Waiver
from .machine import Machine
from .rounds import Result


class BadRecord(Exception):
    """The file is not a run that this version wrote."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run: the machine, every sample, every verdict."""

    machine: Machine
    made: datetime.datetime
    """When it began, in UTC."""
    rounds: int
    smoke: bool
    works: dict[str, str]
    """What each work is, in the order of the table."""
    results: dict[str, Result]
    commit: str = ""
    """The commit of the library that was measured; with a + when the tree had changes."""
    session: str = ""
    """Two runs with the same one shared their rounds: a sample of one stands beside the other's."""
    verdicts: list[Verdict] = field(default_factory=list[Verdict])
    waivers: list[Waiver] = field(default_factory=list[Waiver])


def write(run: Run, path: Path) -> None:
    """Write a run to its file."""
    # The line of each sample would be most of the file.
    text = msgspec.json.format(msgspec.json.encode(run), indent=0)
    path.write_bytes(text.replace(b'},"', b'},\n"') + b"\n")


def read(path: Path) -> Run:
    """Read a run from its file."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Run)
    except OSError as error:
        raise BadRecord(f"cannot read {path}: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRecord(f"{path} is no run of these benchmarks: {error}") from None
