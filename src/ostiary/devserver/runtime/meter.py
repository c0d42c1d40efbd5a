"""Requests, as the front counts them, and what the process takes of the machine.

Neighbour: `metrics` shows it.
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Final, final

from ..http.gauges import Gauges, resident_bytes

__all__ = ["Meter"]

_DISK_SECONDS: Final = 5.0


@final
class Meter:
    """Counts requests; `began` and `ended` are the front's."""

    def __init__(self) -> None:
        self._gauges = Gauges()
        self.in_hand = 0
        self.seconds = 0.0
        self._disk: tuple[float, int, float] = (0.0, 0, 0.0)

    @property
    def requests(self) -> int:
        return self._gauges.requests

    def began(self) -> None:
        self.in_hand += 1
        self._gauges.began()

    def ended(self, seconds: float) -> None:
        self.in_hand -= 1
        self.seconds += seconds
        self._gauges.ended(seconds)

    def average_latency_ms(self) -> float:
        return self._gauges.average_latency_ms()

    def memory(self) -> tuple[int, float]:
        """Return resident bytes, and their part of the machine's memory in percent."""
        return resident_bytes(), self._gauges.memory_percent()

    def cpu_percent(self) -> float:
        return self._gauges.cpu_percent()

    def disk(self, directory: Path) -> tuple[int, float]:
        """Return the bytes below a directory, and how full its file system is, in percent.

        What was found is good for five seconds.
        """
        now = time.monotonic()
        looked, size, full = self._disk
        if not looked or now - looked > _DISK_SECONDS:
            size = _size(directory)
            usage = shutil.disk_usage(directory)
            full = round(100 * usage.used / usage.total, 2) if usage.total else 0.0
            self._disk = (now, size, full)
        return size, full


def _size(directory: Path) -> int:
    total = 0
    for folder, _, names in os.walk(directory):
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_size
            except OSError:
                continue  # it has gone in the meantime
    return total
