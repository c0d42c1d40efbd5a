"""What goes into one case and what comes out of it: plain data that crosses a process as JSON."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


class Unavailable(Exception):
    """The case cannot run here, and why: a peer that is not installed, for one."""


@dataclass(frozen=True, slots=True)
class Work:
    """One run of one case."""

    count: int
    """How many operations to time; a tenth of that many warm up first."""
    socket: str = ""
    """Where the case's own server listens, if it has one."""
    port: int = 0
    """And on which loopback port, if on any."""
    tools: Mapping[str, str] = field(default_factory=dict[str, str])
    """The compiled floors, by name."""
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def warm_up(self) -> int:
        return self.count // 10 + 1


@dataclass(frozen=True, slots=True)
class Sample:
    """One figure of one run, in the case's unit: CPU time unless the case says otherwise."""

    value: float
    wall: float | None = None


class Stopwatch:
    """CPU and wall time between `start` and `sample`."""

    def __init__(self) -> None:
        self._cpu = 0
        self._wall = 0

    def start(self) -> None:
        self._wall = time.perf_counter_ns()
        self._cpu = time.process_time_ns()

    def sample(self, count: int, unit: str = "us") -> Sample:
        """Return the time per operation."""
        cpu = time.process_time_ns() - self._cpu
        wall = time.perf_counter_ns() - self._wall
        scale = count * {"ns": 1, "us": 1_000, "ms": 1_000_000}[unit]
        return Sample(cpu / scale, wall / scale)
