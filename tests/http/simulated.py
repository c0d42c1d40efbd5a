"""A server of fixed capacity and the clients that keep it busy, in simulated time."""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable

from ostiary._limit import AdaptiveLimit

__all__ = ["ROUTE", "Simulation", "always", "exponential"]

ROUTE = "GET /"
Work = Callable[[], tuple[str, float]]


class Simulation:
    """`clients` that send as soon as they may, to `workers` that serve one request each.

    `work` draws a request: its route, and the seconds it takes a worker. The server refuses,
    at once and with 503, what finds `backlog` others waiting. All of these may be changed
    between two runs.
    """

    def __init__(
        self,
        most: int,
        *,
        work: Work,
        workers: int,
        clients: int = 1000,
        backlog: int | None = None,
    ) -> None:
        self.limit = AdaptiveLimit(most)
        self.work = work
        self.workers = workers
        self.clients = clients
        self.backlog = backlog
        # The lowest limit of the last run. Of its last half: the limits after each answer, the
        # seconds each answer took, how many were refusals, and good answers a second.
        self.lowest = most
        self.limits: list[int] = []
        self.took: list[float] = []
        self.refused = 0
        self.rate = 0.0
        self._now = 0.0
        self._under_way = 0
        self._busy = 0
        self._queue: deque[tuple[float, int, str, float]] = deque()
        self._events: list[tuple[float, int, float, int, str, int]] = []
        self._count = 0

    def run(self, answers: int) -> None:
        """Go on until so many more came."""
        self.lowest = self.limit.now
        for number in range(answers):
            if number in {0, answers // 2}:
                self.limits, self.took, self.refused, since = [], [], 0, self._now
            self._send()
            self._now, _, sent, round_, route, status = heapq.heappop(self._events)
            self._under_way -= 1
            if status == 200:
                self._busy -= 1
            else:
                self.refused += 1
            self.limit.answered(round_, route, self._now - sent, status)
            self.limits.append(self.limit.now)
            self.lowest = min(self.lowest, self.limit.now)
            self.took.append(self._now - sent)
        self.rate = (len(self.took) - self.refused) / (self._now - since)

    @property
    def settled(self) -> float:
        """The mean of the limits."""
        return sum(self.limits) / len(self.limits)

    def _send(self) -> None:
        self._serve()
        while self._under_way < min(self.clients, self.limit.now):
            self._under_way += 1
            round_ = self.limit.sent(self._under_way)
            route, seconds = self.work()
            idle = self.workers - self._busy
            if self.backlog is not None and len(self._queue) >= self.backlog + max(idle, 0):
                self._answer(seconds / 100, self._now, round_, route, 503)
            else:
                self._queue.append((self._now, round_, route, seconds))
                self._serve()

    def _serve(self) -> None:
        while self._queue and self._busy < self.workers:
            sent, round_, route, seconds = self._queue.popleft()
            self._busy += 1
            self._answer(seconds, sent, round_, route, 200)

    def _answer(self, after: float, sent: float, round_: int, route: str, status: int) -> None:
        self._count += 1
        heapq.heappush(self._events, (self._now + after, self._count, sent, round_, route, status))


def always(seconds: float) -> Work:
    """Every request takes the same."""
    return lambda: (ROUTE, seconds)


def exponential(seconds: float, seed: int) -> Work:
    """The spread of what requests take is as large as its mean, `seconds`."""
    chance = random.Random(seed)
    return lambda: (ROUTE, chance.expovariate(1.0 / seconds))
