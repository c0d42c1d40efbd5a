"""Event loops for the asyncio cases, and many tasks that share the work of one sample."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from ..sample import Sample, Stopwatch, Unavailable, Work

Task = Callable[[int], Coroutine[Any, Any, object]]
"""Makes that many calls, one after the other."""


def run(work: Work, main: Callable[[Work], Coroutine[Any, Any, Sample]]) -> Sample:
    """Run a case on the loop it names: the standard one, or uvloop."""
    factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    if work.options.get("loop") == "uvloop":
        try:
            import uvloop
        except ImportError as error:
            raise Unavailable(str(error)) from None
        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main(work))


async def together(tasks: int, count: int, task: Task) -> int:
    """Have `tasks` of them make about `count` calls; return how many were made."""
    each = count // tasks + 1
    await asyncio.gather(*(task(each) for _ in range(tasks)))
    return each * tasks


async def timed(tasks: int, work: Work, task: Task) -> Sample:
    """Warm up, then time the work."""
    await together(tasks, work.warm_up, task)
    watch = Stopwatch()
    watch.start()
    made = await together(tasks, work.count, task)
    return watch.sample(made)
