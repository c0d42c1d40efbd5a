"""A server on a real socket that takes telemetry, counts an id once, and can be away."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ostiary.workflow import TelemetryCounters, TelemetryPipeline
from tests.http.peer import Exchange, HttpPeer, lost, stall

BATCH = "/api/v1/observability/batch"


class Collector:
    """What was told, in order. `how` answers a batch: see the constants below."""

    def __init__(self) -> None:
        self.how: Callable[[Collector, Exchange, dict[str, Any]], object] = takes
        self.batches: list[dict[str, list[Any]]] = []
        """Every batch that came, those that were refused too."""
        self.kept: dict[str, Any] = {}
        self.repeated = 0
        self.url = ""
        self._lock = threading.Lock()

    def serve(self, exchange: Exchange) -> None:
        while True:
            asked = exchange.request()
            assert asked.target == BATCH, asked.target
            body = json.loads(asked.body)
            with self._lock:
                self.batches.append(body)
                how = self.how
            how(self, exchange, body)

    def keep(self, body: dict[str, Any]) -> tuple[int, int]:
        """Keep what is new; return how much that was, and how much was known."""
        new = 0
        items = [one for items in body.values() for one in items]
        with self._lock:
            for one in items:
                if one["id"] in self.kept:
                    self.repeated += 1
                else:
                    self.kept[one["id"]] = one
                    new += 1
        return new, len(items) - new

    def numbers(self) -> list[int]:
        """Return the `number` of each event, in the order in which they were new."""
        with self._lock:
            return [one["data"]["number"] for one in self.kept.values() if "data" in one]

    def wait_for(self, count: int) -> None:
        """Wait until that many are kept."""
        deadline = time.monotonic() + 30
        while len(self.kept) < count:
            assert time.monotonic() < deadline, f"{len(self.kept)} of {count} came"
            time.sleep(0.002)


def takes(collector: Collector, exchange: Exchange, body: dict[str, Any]) -> None:
    new, known = collector.keep(body)
    exchange.json({"accepted": new, "duplicates": known, "rejected": 0})


def takes_and_is_lost(collector: Collector, exchange: Exchange, body: dict[str, Any]) -> None:
    """Keep it, and die before the answer."""
    collector.keep(body)
    lost(exchange)


def away(collector: Collector, exchange: Exchange, body: dict[str, Any]) -> None:
    exchange.answer(503)


def gone(collector: Collector, exchange: Exchange, body: dict[str, Any]) -> None:
    lost(exchange)


def hangs(collector: Collector, exchange: Exchange, body: dict[str, Any]) -> None:
    stall(exchange)


def answers(status: int) -> Callable[[Collector, Exchange, dict[str, Any]], object]:
    """Refuse every batch."""

    def how(collector: Collector, exchange: Exchange, body: dict[str, Any]) -> None:
        exchange.json({"error": "no", "code": "NO"}, status)

    return how


@contextmanager
def collecting(**options: Any) -> Iterator[Collector]:
    """Run one for the length of a block."""
    collector = Collector()
    with HttpPeer(collector.serve, "unix", **options) as peer:
        collector.url = peer.url()
        yield collector


# --- pipelines that tell it


def tell(pipeline: TelemetryPipeline, numbers: Any) -> None:
    for number in numbers:
        pipeline.event("step_end", {"number": number})


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def balanced(counters: TelemetryCounters) -> bool:
    parts = counters.sent + counters.spooled + counters.dropped + counters.queued
    return counters.reported == parts
