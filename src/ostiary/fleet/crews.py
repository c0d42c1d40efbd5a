"""Who does the work: a worker in this process, or the processes behind an executor.

A crew is opened, given items in batches, told when a worker died, and closed. Neighbours:
`dask` and `ray`, which bring executors; `port`, which waits for what comes back.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol, TypeAlias, cast

from ..errors import InvalidArgumentError
from .errors import ExecutorError, FleetError, RemoteError, told
from .item import Item, Outcome
from .work import Sealed, Work, seal, seal_item, unseal_outcome
from .worker import Worker, run_sealed, run_shared

__all__ = ["Crew", "Given", "crew_for"]

Given: TypeAlias = str | Executor | Callable[[], Executor]
_Answer: TypeAlias = "Future[Any]"


class Crew(Protocol):
    """What `port` knows of who does the work."""

    here: bool
    """Whether that is this process, and an event loop."""

    @property
    def window(self) -> int:
        """How many items may be in hand at once."""
        ...

    @property
    def batch(self) -> int:
        """How many items go together."""
        ...

    def open(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Be ready; blocks unless `loop`, the caller's own, is where the work is done."""
        ...

    def prepare(self, item: Item) -> FleetError | None:
        """Make an item ready to go; return why it cannot."""
        ...

    def submit(self, items: Sequence[Item]) -> _Answer:
        """Send items; raise `ExecutorError` when nobody takes them."""
        ...

    def read(self, items: Sequence[Item], answer: _Answer) -> list[Outcome] | str:
        """Return what became of them; what the executor says when their worker died."""
        ...

    async def aclose(self, early: bool) -> None:
        """End it on the loop that it was opened with; `early` drops what still runs."""
        ...

    def close(self, early: bool) -> None:
        """End it, from a thread."""
        ...


class Local:
    """The worker of this process, on the caller's loop or on a thread of its own."""

    here = True
    batch = 1

    def __init__(self, work: Work) -> None:
        self._work = work
        self.window = work.concurrency
        self._worker: Worker | None = None

    def open(self, loop: asyncio.AbstractEventLoop | None) -> None:
        self._worker = Worker(loop)

    def prepare(self, item: Item) -> None:
        return None

    def submit(self, items: Sequence[Item]) -> _Answer:
        assert self._worker is not None
        return self._worker.submit(self._work, items)

    def read(self, items: Sequence[Item], answer: _Answer) -> list[Outcome]:
        return cast("list[Outcome]", answer.result())

    async def aclose(self, early: bool) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            await worker.aclose()

    def close(self, early: bool) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.close()


@dataclass(frozen=True)
class Source:
    """Where an executor comes from. `lasting` is the caller's, and neither made nor ended here."""

    make: Callable[[], Executor]
    name: str
    lasting: bool = False


class Behind:
    """The processes, or threads, behind an executor."""

    here = False

    def __init__(self, work: Work, source: Source, workers: int | None, batch: int | None) -> None:
        # A client is of the caller's event loop, and an executor's threads have another.
        self._work = replace(work, given=None)
        self._source = source
        self._workers = workers
        self._batch = batch
        self._pickler: str | None = None
        """None where nothing leaves the process."""
        self._sealed = b""
        self._executor: Executor | None = None
        self._closed = False
        self._making = threading.Lock()
        self._unanswered: set[_Answer] = set()
        self.window = self.batch = 1

    def open(self, loop: asyncio.AbstractEventLoop | None) -> None:
        executor = self._made()
        self._pickler = _pickler_for(executor)
        if self._pickler is not None:
            self._sealed = seal("the work", self._work, self._pickler)
        self._greet(executor)
        places = slots_of(executor)
        most = self._work.concurrency
        slots = min(self._workers or places, most)
        self.batch = min(self._batch or most // slots, most)
        slots = min(slots, most // self.batch)
        self.window = slots * self.batch
        if slots >= places:
            # As much again waits at the workers' doors, so that none stands idle meanwhile. Where
            # there are more places than that, it would not wait.
            self.window *= 2

    def _made(self) -> Executor:
        """Have an executor made; `close` waits for it, since a task can be cancelled meanwhile."""
        reason = "the fleet was closed"
        with self._making:
            if not self._closed:
                try:
                    executor: object = self._source.make()
                except FleetError:
                    raise
                except Exception as error:  # noqa: BLE001 - anybody's function
                    reason = told(error)
                else:
                    if isinstance(executor, Executor):
                        self._executor = executor
                        return executor
                    reason = f"its function returned a {type(executor).__name__}"
        raise ExecutorError(f"{self._source.name} cannot be had: {reason}")

    def _greet(self, executor: Executor) -> None:
        """Wait for a first answer, so that what can never work does not fail input by input."""
        try:
            self._awaited(executor.submit(greeting)).result()
            return
        except Exception as error:  # noqa: BLE001 - any executor's
            reason = told(error)
        advice = "see that ostiary is installed where the workers run"
        if self._source.name == "processes":
            advice = (
                'a script that starts processes does so below `if __name__ == "__main__":`, since '
                "each of them imports it"
            )
        raise ExecutorError(
            f"the workers of {self._source.name} do not answer ({reason}); {advice}"
        )

    def prepare(self, item: Item) -> FleetError | None:
        if self._pickler is None:
            return None
        try:
            item.sealed = seal_item(item, self._pickler)
        except FleetError as error:
            return error.with_traceback(None)
        return None

    def submit(self, items: Sequence[Item]) -> _Answer:
        assert self._executor is not None
        reason, answer = "", None
        try:
            answer = self._sent(self._executor, items)
        except Exception as error:  # noqa: BLE001 - any executor's: broken, or shut down
            reason = told(error)
        if answer is None:
            answer = self._sent_anew(items, reason)
        return self._awaited(answer)

    def _awaited(self, answer: _Answer) -> _Answer:
        self._unanswered.add(answer)
        answer.add_done_callback(self._unanswered.discard)
        if self._closed:  # by whoever was cancelled while this was sent
            answer.cancel()
        return answer

    def _sent(self, executor: Executor, items: Sequence[Item]) -> _Answer:
        if self._pickler is None:
            return executor.submit(run_shared, self._work, items)
        packed = tuple((item.sealed, item.lost) for item in items)
        return executor.submit(run_sealed, Sealed(self._sealed, packed, self._pickler))

    def _sent_anew(self, items: Sequence[Item], reason: str) -> _Answer:
        """Have a new executor made in place of one that takes nothing any more."""
        if self._source.lasting:
            raise ExecutorError(
                f"{self._source.name} takes no more work ({reason}); give the fleet a function "
                "that makes the executor, and it makes a new one"
            )
        assert self._executor is not None
        try:
            self._executor.shutdown(wait=False, cancel_futures=True)
            return self._sent(self._made(), items)
        except ExecutorError:
            raise
        except Exception as error:  # noqa: BLE001 - as above
            reason = told(error)
        raise ExecutorError(f"{self._source.name} takes no more work ({reason})")

    def read(self, items: Sequence[Item], answer: _Answer) -> list[Outcome] | str:
        try:
            found = answer.result()
        except (RemoteError, ImportError) as error:
            reason = str(error)
        except BaseException as error:
            # The work's own errors are outcomes: what comes here is the executor's.
            if isinstance(error, (KeyboardInterrupt, SystemExit, GeneratorExit)):
                raise
            return told(error).partition("\n")[0]
        else:
            if self._pickler is None:
                return cast("list[Outcome]", found)
            return [unseal_outcome(*one) for one in zip(found, items, strict=True)]
        raise ExecutorError(
            f"{reason}; the module that the work is defined in has to be there as well"
        )

    async def aclose(self, early: bool) -> None:
        await asyncio.to_thread(self.close, early)

    def close(self, early: bool) -> None:
        self._closed = True
        with self._making:
            executor, self._executor = self._executor, None
        ours = executor is not None and not self._source.lasting
        if ours and isinstance(executor, ProcessPoolExecutor):
            # Nothing is cancelled: before 3.12 a pool that breaks trips over what is.
            if early:
                _end_processes(executor)
        else:
            for answer in list(self._unanswered):
                answer.cancel()
        if ours and executor is not None:
            executor.shutdown(wait=True, cancel_futures=True)


def greeting() -> int:
    """Answer, from a worker that has loaded this package."""
    return os.getpid()


def slots_of(executor: Executor) -> int:
    """Return how many calls an executor runs at once, as far as it says."""
    asked = getattr(executor, "slots", None) or getattr(executor, "_max_workers", None)
    if isinstance(asked, int) and asked > 0:
        return asked
    if _is_dask(executor):
        from .dask import slots

        return slots(executor)
    return os.cpu_count() or 1


def _is_dask(executor: object) -> bool:
    return type(executor).__module__.partition(".")[0] == "distributed"


# --- which crew


def crew_for(given: Given, work: Work, workers: int | None, batch: int | None) -> Crew:
    """Return the crew for what a fleet was told; nothing is started.

    Raises `InvalidArgumentError` for what is no executor.
    """
    if given == "local":
        return Local(work)
    return Behind(work, _source(given, work, workers), workers, batch)


def _source(given: Given, work: Work, workers: int | None) -> Source:
    if isinstance(given, str):
        return _named(given, work, workers)
    if isinstance(given, Executor):
        return Source(lambda: given, type(given).__name__, lasting=True)
    if callable(given) and not hasattr(given, "get_executor"):
        return Source(given, "the executor")
    hint = ""
    if hasattr(given, "get_executor"):
        hint = "; of a Dask client that is client.get_executor()"
    raise InvalidArgumentError(
        'a fleet\'s executor is "local", "processes", dask://HOST:PORT, "ray", ray://HOST:PORT, a '
        f"concurrent.futures.Executor, or a function that makes one, not a "
        f"{type(given).__name__}{hint}"
    )


def _named(name: str, work: Work, workers: int | None) -> Source:
    if name == "processes":
        count = workers or min(os.cpu_count() or 1, work.concurrency)
        return Source(lambda: _processes(count), name)
    kind, separator, place = name.partition("://")
    if kind == "dask" and place:
        from .dask import connect

        return Source(lambda: connect(place), name)
    if kind == "ray" and bool(separator) == bool(place):
        from .ray import RayExecutor

        return Source(lambda: RayExecutor(name if place else None), name)
    raise InvalidArgumentError(
        f"{name!r} is no executor; say local, processes, dask://HOST:PORT, ray or ray://HOST:PORT"
    )


def _pickler_for(executor: Executor) -> str | None:
    if isinstance(executor, ThreadPoolExecutor):
        return None
    if _is_dask(executor):
        return "cloudpickle"
    return str(getattr(executor, "pickler", "pickle"))


# --- processes

# A process that takes its work from a terminal's group gets its Ctrl-C as well.
_IGNORED: Final = signal.SIGINT


class _Processes(ProcessPoolExecutor):
    """A pool whose processes hear no Ctrl-C, from the first on."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        # Here they are started, and inherit what is held back; `_begin` lets go of it.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {_IGNORED})
        try:
            return super().submit(fn, *args, **kwargs)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _processes(count: int) -> Executor:
    # Spawned, not forked: a fork has the locks of threads that it does not have.
    context = multiprocessing.get_context("spawn")
    return _Processes(count, mp_context=context, initializer=_begin)


def _begin() -> None:
    """Leave Ctrl-C to the parent, and end when it does, however it ends."""
    signal.signal(_IGNORED, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {_IGNORED})
    threading.Thread(target=_follow_parent, name="ostiary-parent", daemon=True).start()


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _end_processes(pool: ProcessPoolExecutor) -> None:
    """End a pool's processes with what they do; Python has a method for it from 3.14 on."""
    running: dict[int, Any] | None = getattr(pool, "_processes", None)
    for process in list((running or {}).values()):
        process.terminate()
