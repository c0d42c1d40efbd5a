"""G1 and G2: a chat through the gateway's socket, a question in and an answer out, proof and all.

All clients talk to the same server, ask the same and get the same bytes. G1 asks one question
after the other; in G2, 64 asyncio tasks do.
"""

from __future__ import annotations

from ..sample import Sample, Stopwatch, Work
from . import loops, native
from .gateway import ASYNC, SAYS, SYNC, model_of, request


def c_floor(work: Work) -> Sample:
    """The same bytes sent and received from C."""
    poll = ["poll"] if work.options.get("poll") else []
    return native.run(work, "roundtrip", work.socket, work.count, request(model_of(work)), *poll)


def calls(work: Work) -> Sample:
    """G1: one of the clients."""
    with SYNC[work.options["client"]](work) as client:
        for _ in range(work.warm_up):
            client.ask()
        watch = Stopwatch()
        watch.start()
        for _ in range(work.count):
            client.ask()
        sample = watch.sample(work.count)
        assert client.ask().startswith(SAYS)
    return sample


def c_fanout(work: Work) -> Sample:
    """The same from C: an epoll loop, one request under way on each connection."""
    tasks = work.options["tasks"]
    return native.run(work, "fanout", work.socket, work.count, tasks, request(model_of(work)))


def async_calls(work: Work) -> Sample:
    """G2: one of the clients."""
    return loops.run(work, _async_calls)


async def _async_calls(work: Work) -> Sample:
    async with ASYNC[work.options["client"]](work) as client:

        async def task(count: int) -> None:
            for _ in range(count):
                await client.ask()

        sample = await loops.timed(int(work.options["tasks"]), work, task)
        assert (await client.ask()).startswith(SAYS)
    return sample
