"""Where work is done: an event loop, threads for plain functions, and a client, in one process.

Every executor comes to this: "local" has a worker of its own, which may live on the caller's
loop; any other has one for each of its processes, made by the first batch that arrives there and
kept for those that follow, of this fleet and others, so that connections are made once.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import os
import socket
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from multiprocessing.util import Finalize
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from .. import telemetry
from .._retry import RetryBudget, RetryPolicy
from ..errors import APIError, ConnectionLostError
from ..gateway.workers import Workers
from .errors import RemoteError, WorkEndedError, WorkTimeoutError, told
from .item import Current, Item, Outcome, here
from .work import Sealed, Work, seal_outcome

if TYPE_CHECKING:
    from ..client import AsyncOstiary, Ostiary, OstiaryConfig
    from .agents import Agents

__all__ = ["Worker", "run_sealed", "run_shared"]

T = TypeVar("T")

# Between two attempts at one input; the work's own client has waited before, and for less.
_PACE: Final = RetryPolicy(max_retries=2**31, first_ceiling=0.2, last_ceiling=10.0)
# What a worker that is closed waits for: cancelled work to take its cancellation in.
_CLOSING_SECONDS: Final = 5.0
# Of how many fleets of agents the surroundings are kept in one process.
_AGENTS_KEPT: Final = 8


class Worker:
    """Does the work of batches; `loop` is the caller's own, None makes one on a thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self.pid = os.getpid()
        self._thread: threading.Thread | None = None
        self._loop = asyncio.new_event_loop() if loop is None else loop
        if loop is None:
            self._thread = threading.Thread(
                target=self._loop.run_forever, name="ostiary-fleet", daemon=True
            )
            self._thread.start()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._threads: Workers | None = None
        self._async_clients: list[tuple[OstiaryConfig | None, AsyncOstiary]] = []
        self._clients: list[tuple[OstiaryConfig | None, Ostiary]] = []
        self._making = threading.Lock()
        self._agents: dict[tuple[Any, str], Agents] = {}

    def submit(self, work: Work, items: Sequence[Item]) -> Future[list[Outcome]]:
        """Begin a batch; from any thread."""
        return asyncio.run_coroutine_threadsafe(self._batch(work, items), self._loop)

    async def _batch(self, work: Work, items: Sequence[Item]) -> list[Outcome]:
        # A task for each, also for a single one: what it sets in its context is its own.
        tasks = [self._loop.create_task(self._item(work, item)) for item in items]
        self._tasks.update(tasks)
        try:
            return list(await asyncio.gather(*tasks))
        finally:
            self._tasks.difference_update(tasks)

    # --- one input

    async def _item(self, work: Work, item: Item) -> Outcome:
        if work.trace is None:
            return await self._tried(work, item)
        with telemetry.trace(work.trace):
            return await self._tried(work, item)

    async def _tried(self, work: Work, item: Item) -> Outcome:
        began = time.monotonic()
        attempt = item.lost + 1
        while True:
            here.set(Current(item.index, item.id, item.key, attempt))
            value, error, usage = await self._attempt(work, item)
            if error is not None and attempt <= work.retries and _transient(error, work):
                delay = _PACE.delay(
                    error if isinstance(error, APIError) else ConnectionLostError(),
                    attempt - 1,
                    float("inf"),
                    RetryBudget(),  # `retries` is how many there are
                    repeatable=True,
                )
                if delay is not None:
                    await asyncio.sleep(delay)
                    attempt += 1
                    continue
            return Outcome(
                item.index, value, error, attempt, time.monotonic() - began, tuple(usage)
            )

    async def _attempt(self, work: Work, item: Item) -> tuple[Any, Exception | None, Sequence[Any]]:
        limit = asyncio.timeout(work.timeout)
        on_thread: Future[Any] | None = None
        try:
            async with limit:
                if work.kind == "agent":
                    return await self._agents_of(work).run(item)
                if work.kind == "coroutine":
                    return await self._called(work, item, self._async_client), None, ()
                on_thread = self._on_thread(work, item)
                return await asyncio.wrap_future(on_thread), None, ()
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return None, WorkEndedError("the work cancelled itself"), ()
        except TimeoutError as error:
            if not limit.expired():
                return None, error, ()
        except Exception as error:  # noqa: BLE001 - whatever the work raises is its input's
            return None, error, ()
        except BaseException as end:
            # A Ctrl-C comes on the main thread; on any other it is the work's own.
            if isinstance(end, GeneratorExit) or (
                isinstance(end, KeyboardInterrupt)
                and threading.current_thread() is threading.main_thread()
            ):
                raise
            return None, WorkEndedError(f"the work ended with {end!r}"), ()
        began = on_thread is None or not on_thread.cancelled()
        problem = f"input {item.id} took longer than {work.timeout:g} seconds"
        if not began:
            problem = (
                f"input {item.id} was not begun within {work.timeout:g} seconds: each thread has "
                "a call that outlives its time; give the calls inside the work a deadline"
            )
        return None, WorkTimeoutError(problem, began=began), ()

    def _on_thread(self, work: Work, item: Item) -> Future[Any]:
        # Twice: one that outlives its timeout keeps its thread.
        most = 2 * work.concurrency
        if self._threads is None:
            self._threads = Workers(most)
        self._threads.allow(most)
        context = contextvars.copy_context()
        call = partial(_contained, self._called, work, item, self._client)
        return self._threads.submit(context.run, call)

    def _called(self, work: Work, item: Item, client: Callable[[Work], Any]) -> Any:
        if work.client == "named":
            return work.call(item.input, client=client(work))
        if work.client == "second":
            return work.call(item.input, client(work))
        return work.call(item.input)

    # --- what is kept

    def _async_client(self, work: Work) -> AsyncOstiary:
        from ..client import AsyncOstiary

        if isinstance(work.given, AsyncOstiary):
            return work.given
        return _kept(self._async_clients, work.config, lambda: _made(AsyncOstiary, work.config))

    def _client(self, work: Work) -> Ostiary:
        from ..client import Ostiary

        if isinstance(work.given, Ostiary):
            return work.given
        with self._making:
            return _kept(self._clients, work.config, lambda: _made(Ostiary, work.config))

    def _agents_of(self, work: Work) -> Agents:
        mark = (work.call, work.run_id)
        found = self._agents.pop(mark, None)
        if found is None:
            from .agents import Agents

            found = Agents(cast("type[Any]", work.call), work.run_id)
        self._agents[mark] = found  # the last used at the end
        if len(self._agents) > _AGENTS_KEPT:
            # A process of a cluster sees many fleets come and go.
            oldest = self._agents.pop(next(iter(self._agents)))
            closing = self._loop.create_task(oldest.aclose())
            self._tasks.add(closing)
            closing.add_done_callback(self._tasks.discard)
        return found

    # --- the end

    async def aclose(self) -> None:
        """Cancel what runs, close what was kept; on the worker's own loop."""
        left = [task for task in self._tasks if not task.done()]
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=_CLOSING_SECONDS)
        # One that does not close keeps none of the others open.
        async with contextlib.AsyncExitStack() as closing:
            if self._threads is not None:
                closing.callback(self._threads.shutdown, wait=False, cancel_futures=True)
            for _, client in self._clients:
                if self._thread is None:
                    closing.push_async_callback(asyncio.to_thread, client.close)
                else:
                    closing.callback(client.close)
            for _, aclient in self._async_clients:
                closing.push_async_callback(aclient.aclose)
            for agents in self._agents.values():
                closing.push_async_callback(agents.aclose)
            self._clients.clear()
            self._async_clients.clear()
            self._agents.clear()

    def close(self) -> None:
        """Close from another thread a worker that made its own loop; wait for it."""
        assert self._thread is not None
        try:
            asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    async def _end(self) -> None:
        # All of it on the loop's own thread: that of the caller may have a loop that runs.
        try:
            await self.aclose()
        finally:
            await self._loop.shutdown_asyncgens()
            try:
                await self._loop.shutdown_default_executor()
            except RuntimeError:
                pass  # the interpreter is ending, and starts no thread to wait on


def _kept(
    kept: list[tuple[OstiaryConfig | None, T]],
    config: OstiaryConfig | None,
    make: Callable[[], T],
) -> T:
    """Return what is kept for a configuration; a configuration may have no hash."""
    for each, found in kept:
        if each == config:
            return found
    made = make()
    kept.append((config, made))
    return made


def _made(kind: type[Any], config: OstiaryConfig | None) -> Any:
    return kind() if config is None else kind.from_config(config)


def _contained(call: Callable[..., T], *given: Any) -> T:
    """Call a function so that whatever it raises ends its input alone."""
    try:
        found = call(*given)
    except StopIteration as error:
        # No future can hold one.
        raise RuntimeError("the work raised StopIteration") from error
    except Exception:
        raise
    except BaseException as end:
        raise WorkEndedError(f"the work ended with {end!r}") from end
    if inspect.iscoroutine(found):
        found.close()
        raise WorkEndedError(
            "the work returned a coroutine, which nobody awaits: whatever wraps it has to be a "
            "coroutine function too"
        )
    return found


def _transient(error: Exception, work: Work) -> bool:
    """Say whether another attempt may go better."""
    if isinstance(error, WorkTimeoutError) and work.kind == "function":
        return not error.began  # what began still runs, on its thread
    if isinstance(error, (ConnectionError, TimeoutError)):
        return True
    # Ours say so; a caller's own may.
    return bool(getattr(error, "retryable", False))


# --- in the processes of an executor

_shared: Worker | None = None
_making: Final = threading.Lock()


def _of_this_process() -> Worker:
    """Return this process's worker; a child that was forked does not use its parent's."""
    global _shared
    with _making:
        if _shared is None or _shared.pid != os.getpid():
            _shared = Worker()
            # Not atexit: a process of multiprocessing may end without it.
            Finalize(_shared, _shared.close, exitpriority=100)
        return _shared


def run_shared(work: Work, items: Sequence[Item]) -> list[Outcome]:
    """Do a batch on the worker that this process keeps."""
    return _of_this_process().submit(work, items).result()


def run_sealed(sealed: Sealed) -> list[bytes]:
    """Do a batch that came from another process; return its outcomes, sealed."""
    try:
        work, items = sealed.open()
    except Exception as error:  # noqa: BLE001 - anybody's modules
        reason = told(error)
    else:
        outcomes = run_shared(work, items)
        for outcome in outcomes:
            _note_where(outcome.error)
        return [seal_outcome(outcome, sealed.pickler) for outcome in outcomes]
    raise RemoteError(f"the worker on {_place()} cannot load the work: {reason}")


def _note_where(error: Exception | None) -> None:
    """Have an error tell where it was raised, which a traceback that stays behind cannot."""
    if error is not None and error.__traceback__ is not None:
        told = "".join(traceback.format_tb(error.__traceback__))
        error.add_note(f"raised in {_place()}:\n{told}".rstrip())


def _place() -> str:
    return f"process {os.getpid()} of {socket.gethostname()}"
