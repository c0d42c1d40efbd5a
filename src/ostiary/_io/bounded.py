"""Do one thing to many items, a few at a time: tasks for an event loop, threads without one.

The results stand in the order of the items. The first failure ends it: no further item is
begun, tasks under way are cancelled, threads are waited for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar, cast

__all__ = ["async_map_bounded", "map_bounded"]

T = TypeVar("T")
R = TypeVar("R")


async def async_map_bounded(
    run: Callable[[T], Awaitable[R]], items: Sequence[T], limit: int
) -> list[R]:
    """Await `run` of each item, at most `limit` at a time."""
    import asyncio

    results: list[Any] = [None] * len(items)
    left = iter(enumerate(items))

    async def work() -> None:
        for at, item in left:
            results[at] = await run(item)

    tasks = [asyncio.ensure_future(work()) for _ in range(min(limit, len(items)))]
    try:
        await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
    return cast("list[R]", results)


def map_bounded(run: Callable[[T], R], items: Sequence[T], limit: int) -> list[R]:
    """Call `run` with each item, on this thread and at most `limit` - 1 others."""
    import contextvars
    import threading

    results: list[Any] = [None] * len(items)
    left = iter(enumerate(items))
    taking = threading.Lock()
    failures: list[BaseException] = []

    def work() -> None:
        while True:
            with taking:
                taken = None if failures else next(left, None)
            if taken is None:
                return
            at, item = taken
            try:
                results[at] = run(item)
            except BaseException as error:  # noqa: BLE001 (raised where the caller is)
                with taking:
                    failures.append(error)
                return

    threads = [
        threading.Thread(target=contextvars.copy_context().run, args=(work,), daemon=True)
        for _ in range(min(limit, len(items)) - 1)
    ]
    for thread in threads:
        thread.start()
    try:
        work()
    finally:
        for thread in threads:
            thread.join()
    if failures:
        try:
            raise failures[0]
        finally:
            failures.clear()  # a frame that refers to what it raised is a circle
    return cast("list[R]", results)
