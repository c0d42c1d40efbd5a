"""One piece of work at a time, whoever needs it: threads, and tasks of any event loop.

Whoever comes first does the work, the others wait for its outcome. It knows nothing of what
the work is. A leader that is cancelled, or whose loop has ended, hands over to the next.
"""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Final, Generic, TypeVar, final

from ..errors import DeadlineError, OstiaryError
from .sockets import forget_after_fork

if TYPE_CHECKING:
    import asyncio

__all__ = ["SingleFlight"]

T = TypeVar("T")

# How long after its own deadline a leader is still waited for: its loop may be busy.
_GRACE: Final = 1.0


class _Flight(Generic[T]):
    """One run of the work; its waiters are told when it ends."""

    __slots__ = ("deadline", "error", "loop_thread", "result", "waiters")

    def __init__(self, deadline: float, loop_thread: int | None) -> None:
        self.deadline = deadline
        # The thread of the loop whose task does the work; None when a thread does it itself.
        self.loop_thread = loop_thread
        self.result: list[T] = []
        self.error: OstiaryError | None = None
        self.waiters: list[Callable[[], object]] = []

    def outcome(self) -> list[T]:
        """Return the result as a list of one; an empty list when the leader gave up."""
        if self.error is not None:
            # Not the leader's own: two threads would write one traceback.
            raise copy.copy(self.error)
        return self.result


@final
class SingleFlight(Generic[T]):
    """Let one of many callers do the work and give all of them its outcome.

    Deadlines are monotonic times; a caller whose own passes while another works gets a
    `DeadlineError`.
    """

    __slots__ = ("__weakref__", "_flight", "_lock")

    def __init__(self) -> None:
        self.abandon()
        forget_after_fork(self)

    @property
    def busy(self) -> bool:
        """Whether somebody is at work."""
        return self._flight is not None

    def abandon(self) -> None:
        """Forget, in a forked child, what a thread of the parent was doing."""
        self._lock = threading.Lock()
        self._flight: _Flight[T] | None = None

    def run(self, work: Callable[[], T], deadline: float) -> T:
        """Do the work, or wait on this thread for whoever does."""
        while True:
            bell = threading.Lock()
            bell.acquire()
            flight, leads = self._join(deadline, None, bell.release)
            if leads:
                try:
                    result = work()
                except BaseException as error:
                    self._land(flight, error)
                    raise
                self._land(flight, None, result)
                return result
            if flight.loop_thread == threading.get_ident():
                # Its task cannot go on while we wait on its thread.
                return work()
            left = min(deadline, flight.deadline + _GRACE) - time.monotonic()
            if not bell.acquire(timeout=min(max(left, 0.0), threading.TIMEOUT_MAX)):
                self._overdue(flight, deadline)
            elif found := flight.outcome():
                return found[0]

    async def run_async(self, work: Callable[[], Awaitable[T]], deadline: float) -> T:
        """Do the work on this loop, or wait for whoever does."""
        import asyncio

        from .aio import within

        loop = asyncio.get_running_loop()
        while True:
            future: asyncio.Future[None] = loop.create_future()
            ring = partial(_wake, loop, future)
            flight, leads = self._join(deadline, threading.get_ident(), ring)
            if leads:
                try:
                    result = await work()
                except BaseException as error:
                    self._land(flight, error)
                    raise
                self._land(flight, None, result)
                return result
            try:
                await within(future, min(deadline, flight.deadline + _GRACE))
            except DeadlineError:
                self._overdue(flight, deadline)
            finally:
                self._leave(flight, ring)
            if found := flight.outcome():
                return found[0]

    def _join(
        self, deadline: float, loop_thread: int | None, ring: Callable[[], object]
    ) -> tuple[_Flight[T], bool]:
        """Return the flight to wait for, or a new one that the caller leads."""
        with self._lock:
            if self._flight is not None:
                self._flight.waiters.append(ring)
                return self._flight, False
            self._flight = flight = _Flight[T](deadline, loop_thread)
            return flight, True

    def _leave(self, flight: _Flight[T], ring: Callable[[], object]) -> None:
        with self._lock:
            if ring in flight.waiters:
                flight.waiters.remove(ring)

    def _overdue(self, flight: _Flight[T], deadline: float) -> None:
        """Give up waiting, or make room in place of a leader that is past its own deadline."""
        # Which of the two it was is not asked of the clock: timers may ring a little early, and
        # who took the leader's place then would do its work beside it.
        if deadline <= flight.deadline + _GRACE:
            raise DeadlineError("the call's time ran out while another call did what it needs")
        with self._lock:
            if self._flight is flight:
                self._flight = None

    def _land(self, flight: _Flight[T], error: BaseException | None, *result: T) -> None:
        # What is no error of ours (a cancellation, a defect) is the leader's alone: the
        # others try for themselves.
        if isinstance(error, OstiaryError):
            flight.error = copy.copy(error)
        flight.result = list(result)
        with self._lock:
            waiters, flight.waiters = flight.waiters, []
            if self._flight is flight:
                self._flight = None
        for ring in waiters:
            ring()


def _wake(loop: asyncio.AbstractEventLoop, future: asyncio.Future[None]) -> None:
    try:
        loop.call_soon_threadsafe(_settle, future)
    except RuntimeError:
        pass  # the loop has ended, and with it whoever waited


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
