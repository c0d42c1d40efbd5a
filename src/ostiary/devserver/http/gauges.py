"""What a service measures of itself: time, memory, sessions, requests, latency.

Every figure is counted or read from the system when it is asked for. Neighbour: `front`
tells it of each request.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from collections import deque
from pathlib import Path
from typing import Final, final

__all__ = ["Gauges"]

_SESSION_SECONDS: Final = 300.0
_SESSIONS: Final = 10_000
_LATENCIES: Final = 1_000
_CPU_WINDOW: Final = 0.25


@final
class Gauges:
    """Counters of one service; `ended` and `began` are the front's."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.requests = 0
        self._latencies: deque[float] = deque(maxlen=_LATENCIES)
        self._sum = 0.0
        self._sessions: dict[str, float] = {}
        self._cpu = (self.started, time.process_time())
        self._cpu_percent = 0.0

    @property
    def uptime(self) -> float:
        return round(time.monotonic() - self.started, 3)

    def began(self) -> None:
        self.requests += 1

    def ended(self, seconds: float) -> None:
        if len(self._latencies) == _LATENCIES:
            self._sum -= self._latencies[0]
        self._latencies.append(seconds)
        self._sum += seconds

    def average_latency_ms(self) -> float:
        """The mean of the last thousand requests, streams from first to last byte."""
        count = len(self._latencies)
        return round(max(self._sum, 0.0) / count * 1000, 3) if count else 0.0

    def session(self, name: str) -> None:
        """Note that a session said something."""
        self._sessions.pop(name, None)  # so that the oldest stands first
        self._sessions[name] = time.monotonic()
        if len(self._sessions) > _SESSIONS:
            del self._sessions[next(iter(self._sessions))]

    def active_sessions(self) -> int:
        """Count the sessions heard of in the last five minutes."""
        late = time.monotonic() - _SESSION_SECONDS
        while self._sessions:
            first = next(iter(self._sessions))
            if self._sessions[first] >= late:
                break
            del self._sessions[first]
        return len(self._sessions)

    def cpu_percent(self) -> float:
        """This process's share of one processor since the last look."""
        then, used = self._cpu
        now = time.monotonic()
        if now - then >= _CPU_WINDOW:
            spent = time.process_time()
            self._cpu_percent = round((spent - used) / (now - then) * 100, 2)
            self._cpu = (now, spent)
        return self._cpu_percent

    def memory_percent(self) -> float:
        """This process's resident share of the machine's memory."""
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return round(resident_bytes() / total * 100, 3) if total > 0 else 0.0


def resident_bytes() -> int:
    """Return the memory in use; where the system does not say, the most there ever was."""
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
