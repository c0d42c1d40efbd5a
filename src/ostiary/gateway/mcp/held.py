"""An async context manager that is kept open by a task of its own.

What the MCP library opens must be left by the task that entered it, and a session outlives
the call that needed it first. Needs asyncio; `session` and the embedded gateway use it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Generic, TypeVar, cast, final

__all__ = ["Held"]

T = TypeVar("T")


@final
class Held(Generic[T]):
    """Enter what `make` returns, once, and leave it on `close` or when `gone` is set.

    `open` may be awaited by any number of tasks; all get what was entered, or the error.
    """

    def __init__(self, make: Callable[[asyncio.Event], AbstractAsyncContextManager[T]]) -> None:
        """`make` gets the event that it may set when what it holds ended by itself."""
        self._make = make
        self._end = asyncio.Event()
        self._entered: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._hold())

    @property
    def ended(self) -> bool:
        """Whether it is being left, or was left, or could not be entered."""
        return self._end.is_set() or self._task.done()

    async def open(self) -> T:
        """Return what was entered; raises what entering it raised."""
        # Shielded: one waiter that gives up must not take it from the others.
        return await asyncio.shield(self._entered)

    async def close(self) -> None:
        """Leave it, and return when that is done; errors of leaving are dropped."""
        self._end.set()
        if not self._entered.done():
            self._task.cancel()
        await asyncio.wait([self._task])

    async def _hold(self) -> None:
        try:
            async with self._make(self._end) as entered:
                if not self._entered.done():
                    self._entered.set_result(entered)
                await self._end.wait()
        except asyncio.CancelledError:
            self._fail(asyncio.CancelledError())
            raise
        except BaseExceptionGroup as group:
            self._fail(_first(group))
        except Exception as error:  # noqa: BLE001 - whoever waits for it gets it
            self._fail(error)
        finally:
            self._end.set()

    def _fail(self, error: BaseException) -> None:
        if self._entered.done():
            return
        if isinstance(error, asyncio.CancelledError):
            self._entered.cancel()
            return
        self._entered.set_exception(error)
        self._entered.exception()  # nobody may be waiting


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first error of a group of groups: what went wrong before the rest did."""
    first = group.exceptions[0]
    if isinstance(first, BaseExceptionGroup):
        return _first(cast("BaseExceptionGroup[BaseException]", first))
    return first
