"""`Fleet`: one function or agent, many inputs, any executor.

What it promises: each input has one result, whatever becomes of the workers; never more than a
window of inputs is in hand; each attempt at an input has the same idempotency key.
Neighbours: `run` (one run of it), `crews` (who does the work), `report` (what came of it).
"""

from __future__ import annotations

import math
import operator
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Generator,
    Iterable,
    Iterator,
    Sized,
)
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeAlias
from uuid import uuid4

from .. import telemetry
from ..errors import ClientStateError, InvalidArgumentError
from .crews import Given, crew_for
from .port import AsyncPort, Port
from .report import FleetReport, FleetResult
from .run import Run
from .work import Work, describe

if TYPE_CHECKING:
    from ..client import AsyncOstiary, Ostiary, OstiaryConfig

__all__ = ["Fleet", "FleetStream"]

Progress: TypeAlias = bool | Callable[[FleetReport], object]


class Fleet:
    """Runs `work` over many inputs (docs/fleet.md).

    `work` is a function, which runs on threads, a coroutine function, or an agent class. It is
    called with an input and, if it has a parameter `client` or a second one without a default,
    with an `Ostiary`, or an `AsyncOstiary` if it is a coroutine function. `client` says what
    configuration that has: an `OstiaryConfig`, an open client whose configuration is taken, or
    None for what the environment of the worker says. With "local", an open client of the right
    kind is itself what the work gets, and stays open.

    `executor` is "local" (this process), "processes", "dask://HOST:PORT", "ray",
    "ray://HOST:PORT", a `concurrent.futures.Executor`, or a function that makes one, which is
    called again when its processes died. `concurrency` is how many inputs are worked on at
    once, in all; `workers` how many processes that is shared among, None for as many as there
    are; `batch` how many inputs go to one together, None for what `concurrency` comes to, and
    never more than that.

    `retries` is how often an input is tried again after a passing failure, or after its worker
    died; `timeout` bounds one attempt, in seconds. `identify` gives an input its id, which has
    to be its own; None takes its place, from 0. Idempotency keys follow from the id and
    `run_id`, which is random unless given. `progress` draws a line on stderr if True, or is
    called with the report after each result.
    """

    def __init__(
        self,
        work: Callable[..., Any],
        *,
        client: OstiaryConfig | Ostiary | AsyncOstiary | None = None,
        executor: Given = "local",
        concurrency: int = 64,
        retries: int = 2,
        timeout: float | None = None,
        workers: int | None = None,
        batch: int | None = None,
        identify: Callable[[Any], object] | None = None,
        run_id: str | None = None,
        progress: Progress = False,
    ) -> None:
        """Describe a fleet; nothing is started before its results are asked for.

        Raises `InvalidArgumentError`.
        """
        kind, given_client, name = describe(work)
        if timeout is not None and not 0 < timeout < math.inf:
            raise InvalidArgumentError("timeout is a number of seconds above 0, or None for none")
        self.run_id = run_id or uuid4().hex
        self._workers = None if workers is None else _count("workers", workers)
        self._batch = None if batch is None else _count("batch", batch)
        self._identify = identify
        self._progress = progress
        config, given = _configuration(client)
        self._work = Work(
            call=work,
            kind=kind,
            client=given_client,
            name=name,
            config=config,
            retries=_count("retries", retries, least=0),
            timeout=timeout,
            concurrency=_count("concurrency", concurrency),
            run_id=self.run_id,
            given=given,
        )
        self._executor = executor
        crew_for(executor, self._work, self._workers, self._batch)

    def __repr__(self) -> str:
        return f"Fleet({self._work.name}, run_id={self.run_id!r})"

    def stream(self, inputs: Iterable[Any] | AsyncIterable[Any]) -> FleetStream:
        """Return the results as they come, in any order, for `for` or for `async for`.

        Nothing is begun before the first is asked for. Inputs are taken as there is room for
        them, so that there may be any number. Work that fails is a result with an `error`;
        what is raised is `ExecutorError` when there is nobody to do it, `NotPortableError`
        when the work cannot go where it is to be done, and whatever the inputs raise.
        """
        if not any(hasattr(inputs, name) for name in ("__iter__", "__aiter__", "__getitem__")):
            raise InvalidArgumentError(
                f"a fleet's inputs are what `for` or `async for` takes, not a "
                f"{type(inputs).__name__}"
            )
        total = len(inputs) if isinstance(inputs, Sized) else None
        return FleetStream(self._run(total), inputs)

    def run(self, inputs: Iterable[Any], *, keep: bool = True) -> FleetReport:
        """Return the report when every input has its result; raise as `stream` does.

        `keep` puts the results into it.
        """
        with self.stream(inputs) as stream:
            for result in stream:
                if keep:
                    stream.report.results.append(result)
        stream.report.results.sort(key=operator.attrgetter("index"))
        return stream.report

    async def run_async(
        self, inputs: Iterable[Any] | AsyncIterable[Any], *, keep: bool = True
    ) -> FleetReport:
        """Do the same on this event loop."""
        async with self.stream(inputs) as stream:
            async for result in stream:
                if keep:
                    stream.report.results.append(result)
        stream.report.results.sort(key=operator.attrgetter("index"))
        return stream.report

    def _run(self, total: int | None) -> Run:
        work = self._work
        if telemetry.trace_headers is not None:
            work = replace(work, trace=telemetry.trace_headers().get("traceparent"))
        crew = crew_for(self._executor, work, self._workers, self._batch)
        report = FleetReport(self.run_id, total)
        told: Callable[[FleetReport], object] | None = None
        ended: Callable[[], object] | None = None
        if self._progress is True:
            from .progress import Bar

            bar = Bar(self._work.name, total)
            told, ended = bar.show, bar.stop
        elif self._progress is not False:
            told = self._progress
        return Run(self._work, crew, report, self._identify, told, ended)


class FleetStream:
    """Results as they come: an iterator of either kind, once.

    `report` is what they add up to so far. Leaving it early drops what still runs; use it as a
    context manager, or call `close` or `aclose`, so that this is waited for.
    """

    def __init__(self, run: Run, inputs: Iterable[Any] | AsyncIterable[Any]) -> None:
        self._run = run
        self._inputs = inputs
        self._plain: Generator[FleetResult, None, None] | None = None
        self._async: AsyncGenerator[FleetResult, None] | None = None
        self._used = False

    @property
    def report(self) -> FleetReport:
        """What the results add up to so far."""
        return self._run.report

    def _begin(self) -> None:
        if self._used:
            raise ClientStateError(
                "these results were closed, or asked for in another way; take a new stream()"
            )
        self._used = True

    def __iter__(self) -> Iterator[FleetResult]:
        return self

    def __next__(self) -> FleetResult:
        if self._plain is None:
            if isinstance(self._inputs, AsyncIterable):
                raise InvalidArgumentError("inputs that come by `async for` need it for results")
            self._begin()
            from ._stream._sync import results

            self._plain = results(self._run, Port(self._run.crew, self._inputs))
        return next(self._plain)

    def __aiter__(self) -> AsyncIterator[FleetResult]:
        return self

    async def __anext__(self) -> FleetResult:
        if self._async is None:
            self._begin()
            from ._stream._async import results

            self._async = results(self._run, AsyncPort(self._run.crew, self._inputs))
        return await anext(self._async)

    def close(self) -> None:
        """End what still runs; the same as leaving the with block."""
        self._used = True
        if self._plain is not None:
            self._plain.close()

    async def aclose(self) -> None:
        """End what still runs, for `async for`."""
        self._used = True
        if self._async is not None:
            await self._async.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()


def _count(name: str, value: object, *, least: int = 1) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InvalidArgumentError(f"{name} is a whole number, {least} or more")
    return value


def _configuration(client: Any) -> tuple[OstiaryConfig | None, Any]:
    """Return the configuration, and the client that it is of, if one was given."""
    if client is None:
        return None, None
    from ..client import AsyncOstiary, Ostiary, OstiaryConfig

    if isinstance(client, OstiaryConfig):
        return client, None
    if isinstance(client, (AsyncOstiary, Ostiary)):
        return client.config, client
    raise InvalidArgumentError(
        f"a fleet's client is an OstiaryConfig, an Ostiary or an AsyncOstiary, not a "
        f"{type(client).__name__}"
    )
