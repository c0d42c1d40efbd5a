"""Threads that the end of a process does not wait for.

The executor of the standard library has every one of its threads joined when the interpreter
ends: a call that hangs in one would keep an agent alive after it was told to stop. Neighbour:
the runner, whose loop runs blocking calls here.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Empty, SimpleQueue
from typing import Any, ParamSpec, TypeVar

__all__ = ["Workers"]

P = ParamSpec("P")
T = TypeVar("T")

_Task = tuple["Future[Any]", Callable[[], Any]]


class Workers(ThreadPoolExecutor):
    """A `ThreadPoolExecutor` (asyncio takes no other) whose threads are daemons."""

    def __init__(self, most: int = 32) -> None:
        # Its threads are made by a submit() that is replaced here: it never has any.
        super().__init__(max_workers=most)
        self._most = most
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._lock = threading.Lock()
        self._made: list[threading.Thread] = []
        self._closed = False

    def allow(self, most: int) -> None:
        """Let there be up to `most` threads, or as many as before if that is more."""
        self._most = max(self._most, most)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run a call on a thread."""
        future: Future[T] = Future()
        with self._lock:
            if self._closed:
                raise RuntimeError("cannot schedule new futures after shutdown")
            self._tasks.put((future, lambda: fn(*args, **kwargs)))
            if not self._idle.acquire(blocking=False) and len(self._made) < self._most:
                thread = threading.Thread(
                    target=self._work, name=f"ostiary-worker-{len(self._made)}", daemon=True
                )
                self._made.append(thread)
                thread.start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; with `wait`, return when those that run have ended."""
        with self._lock:
            self._closed = True
            if cancel_futures:
                self._drop()
            for _ in self._made:
                self._tasks.put(None)
        if wait:
            self.join(None)

    def join(self, timeout: float | None) -> bool:
        """Wait at most `timeout` seconds, None for no limit; return whether all have ended."""
        until = None if timeout is None else time.monotonic() + timeout
        for thread in self._made:
            thread.join(None if until is None else max(0.0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in self._made)

    def _drop(self) -> None:
        while True:
            try:
                task = self._tasks.get_nowait()
            except Empty:
                return
            if task is not None:
                task[0].cancel()

    def _work(self) -> None:
        while (task := self._next()) is not None:
            future, call = task
            if future.set_running_or_notify_cancel():
                try:
                    result = call()
                except BaseException as error:  # noqa: BLE001 - it is the caller's, not the thread's
                    future.set_exception(error)
                else:
                    future.set_result(result)
                    del result
            del task, future, call  # what they hold is not to live until the next call

    def _next(self) -> _Task | None:
        try:
            return self._tasks.get_nowait()
        except Empty:
            # Idle is who finds nothing: a task that had to wait took no idle thread away.
            self._idle.release()
            return self._tasks.get()
