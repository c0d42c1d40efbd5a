"""P3 and P4: many asyncio tasks that make the small HTTP exchange without pause."""

from __future__ import annotations

import statistics

from ..sample import Sample, Stopwatch, Work
from . import loops, native
from .clients import ASYNC
from .exchange import REPLY, REQUEST

WAITING = (1, 4, 16, 64, 256, 1024)
"""How many tasks wait for a connection in `flat`, one after the other."""


def c_floor(work: Work) -> Sample:
    """The same from C: an epoll loop, one request under way on each connection."""
    return native.run(work, "fanout", work.socket, work.count, work.options["connections"], REQUEST)


def calls(work: Work) -> Sample:
    """`tasks` of them on `connections`, with one of the clients."""
    return loops.run(work, _calls)


async def _calls(work: Work) -> Sample:
    connections, tasks = int(work.options["connections"]), int(work.options["tasks"])
    async with ASYNC[work.options["client"]](work, connections) as task:
        sample = await loops.timed(tasks, work, task)
        assert bytes(memoryview(await task(1))).startswith(REPLY)
    return sample


def flat(work: Work) -> Sample:
    """The dearest by the cheapest of the costs per call, over all of WAITING.

    Measured in one process, each length of the queue three times in turn; medians.
    """
    return loops.run(work, _flat)


async def _flat(work: Work) -> Sample:
    connections = int(work.options["connections"])
    costs: dict[int, list[float]] = {waiting: [] for waiting in WAITING}
    async with ASYNC[work.options["client"]](work, connections) as task:
        await loops.together(connections + max(WAITING), work.warm_up, task)
        for _ in range(3):
            for waiting in WAITING:
                watch = Stopwatch()
                watch.start()
                made = await loops.together(connections + waiting, work.count, task)
                costs[waiting].append(watch.sample(made).value)
    medians = [statistics.median(found) for found in costs.values()]
    return Sample(max(medians) / min(medians))
