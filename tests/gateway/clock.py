"""The wall clock, stopped: it shows what a test sets, on a machine of any speed."""

from __future__ import annotations

import time

import pytest


class Clock:
    """Seconds since the epoch as they were when it was stopped, and `ahead` of that."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead = 0.0
        begin = time.time()
        monkeypatch.setattr(time, "time", lambda: begin + self.ahead)
