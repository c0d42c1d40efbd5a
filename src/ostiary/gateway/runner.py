"""The life of an agent's process: made, run, stopped, its output written, its exit code.

The one place of the library that handles signals. A first SIGTERM or SIGINT asks the agent to
finish; when its grace is over it is cancelled; a second signal ends the process at once.
Whatever ends a run, what there is by then is written. Neighbours: `agent`, `context`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Any, Final, TypeVar, cast

from ..config import setting
from ..errors import InvalidArgumentError, OstiaryError
from .agent import AgentResult, SageSanctumAgent
from .context import AgentContext
from .errors import (
    ConfigurationError,
    OutputError,
    SageSanctumError,
    TraTAcquisitionError,
)
from .io.inputs import AgentInput
from .io.record import RunRecord
from .logging import bound, configure_logging, get_logger, redact
from .settings import Environment
from .workers import Workers

__all__ = ["AgentRunner"]

T = TypeVar("T")

GRACE: Final = "OSTIARY_AGENT_GRACE_SECONDS"
GRACE_SECONDS: Final = 10.0
# How long a cancelled agent may take to notice, and what is written last to be written.
CANCEL_SECONDS: Final = 2.0
FLUSH_SECONDS: Final = 5.0
SLACK_SECONDS: Final = 1.0
# To fetch the Transaction Token.
STARTUP_SECONDS: Final = 30.0

INTERRUPTED: Final = 130
FAILED: Final = 1

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


@dataclass
class _State:
    """What is known of a run while it goes on; also read by the watchdog's thread."""

    began: float = field(default_factory=time.monotonic)
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    context: AgentContext | None = None
    agent: SageSanctumAgent[Any] | None = None
    input: AgentInput | None = None
    signal: str = ""
    written: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(frozen=True)
class _Outcome:
    """How a run ended: with a result, an error, or neither when it was stopped."""

    result: AgentResult | None = None
    error: str = ""
    exit_code: int = 0


class AgentRunner:
    """Run an agent to its end: `sys.exit(AgentRunner(MyAgent).run())` (docs/agents.md)."""

    def __init__(
        self,
        agent_class: type[SageSanctumAgent[Any]],
        *,
        context: AgentContext | None = None,
        input: AgentInput | None = None,
        grace_period: float | None = None,
        cancel_period: float = CANCEL_SECONDS,
        log_format: str | None = None,
        verbose: bool | None = None,
        environ: Mapping[str, str] | None = None,
        loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
    ) -> None:
        """Describe a run; nothing is read before `run`.

        Without `context` and `input` they are what the environment describes. `grace_period`
        is how many seconds the agent has after a first signal; None takes
        OSTIARY_AGENT_GRACE_SECONDS, else 10. `cancel_period` is how long it then has to take
        its cancellation in.
        """
        self._class = agent_class
        self._context = context
        self._input = input
        self._grace_given = grace_period
        self._grace = GRACE_SECONDS
        self._cancel = cancel_period
        self._log_format = log_format
        self._verbose = verbose
        self._environ = Environment(environ)
        self._loop_factory = loop_factory or asyncio.new_event_loop
        self._loop: asyncio.AbstractEventLoop | None = None
        self._requested: asyncio.Event | None = None
        self._state = _State()
        # Safe to use in a signal handler, which locks are not.
        self._watch: SimpleQueue[str] = SimpleQueue()
        self._signalled = False
        self._ran = False
        self._log = get_logger("ostiary.agent")

    # --- from outside

    def run(self) -> int:
        """Run the agent; return the exit code for the process.

        0 or the result's own code; the code of the `SageSanctumError` that ended the run; 130
        after a signal, unless the agent ended with a code of its own; 1 for any other error.
        May be called outside the main thread, where signals are not handled: use `shutdown`.
        """
        if self._ran:
            self._state, self._watch, self._signalled = _State(), SimpleQueue(), False
        self._ran = True
        try:
            configure_logging(self._log_format, self._verbose, environ=self._environ)
            self._grace = grace_period(self._grace_given, self._environ)
        except SageSanctumError as error:
            configure_logging("text")
            return self._refused(error)
        loop = self._loop_factory()
        workers = Workers()
        self._loop, self._requested = loop, asyncio.Event()
        loop.set_default_executor(workers)
        watchdog = threading.Thread(target=self._guard, name="ostiary-watchdog", daemon=True)
        watchdog.start()
        before = self._take_signals()
        if self._state.signal:
            self._requested.set()  # by `shutdown`, before there was a loop
        try:
            code = loop.run_until_complete(self._live())
            self._close(loop, workers)
        finally:
            _give_back(before)
            self._watch.put("ended")
            loop.close()
            self._loop = None
        return code

    def shutdown(self, reason: str = "shutdown") -> None:
        """Ask the agent to finish, as a first signal does; from any thread.

        It is cancelled when its grace is over. The process, which may be another's, is never
        ended for it.
        """
        self._stop(reason)

    # --- signals

    def _take_signals(self) -> dict[signal.Signals, Any]:
        if threading.current_thread() is not threading.main_thread():
            self._log.debug("signals_not_handled", reason="not the main thread")
            return {}
        return {one: signal.signal(one, self._on_signal) for one in _SIGNALS}

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        # Between any two instructions of the main thread: nothing here takes a lock.
        if self._signalled:
            self._watch.put("force")
        else:
            self._signalled = True
            self._stop(signal.Signals(number).name)
            self._watch.put("stop")

    def _stop(self, reason: str) -> None:
        if not self._state.signal:
            self._state.signal = reason
        loop, requested = self._loop, self._requested
        if loop is not None and requested is not None:
            try:
                loop.call_soon_threadsafe(requested.set)
            except RuntimeError:
                pass  # the loop has ended, and with it the run

    def _guard(self) -> None:
        """End the process when the agent does not: at once if told so, else when it is overdue.

        An agent that blocks the loop can neither be asked nor cancelled.
        """
        word = self._watch.get()
        if word == "stop":
            try:
                word = self._watch.get(timeout=self._grace + 4 * self._cancel + SLACK_SECONDS)
            except Empty:
                word = "overdue"
        if word == "ended":
            return
        # In a thread of its own, so that an output which hangs does not hold up the end.
        flush = threading.Thread(target=self._flush, args=(word,), daemon=True)
        flush.start()
        flush.join(FLUSH_SECONDS)
        os._exit(INTERRUPTED)

    def _flush(self, why: str) -> None:
        """Write what the agent has remembered, and how it came to an end."""
        reason = "a second signal" if why == "force" else "the agent did not stop in time"
        self._finish(_Outcome(None, f"the process was ended: {reason}", INTERRUPTED))
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError):
                pass  # nobody is there to read it

    # --- the run

    async def _live(self) -> int:
        with bound(agent=self._class.__name__):
            try:
                outcome = await self._work()
            except Exception as error:  # noqa: BLE001 - whatever an agent raises ends in a code
                outcome = self._unsuccessful(error)
            return self._finish(outcome)

    async def _work(self) -> _Outcome:
        self._log.info("initializing_context")
        context = self._context or await self._unless_stopped(self._make_context())
        if context is None:
            return self._interrupted()
        self._state.context = context
        with bound(run_id=context.run_id, org_id=context.org_id):
            try:
                agent = self._class(context)
                agent._shutdown = self._requested  # pyright: ignore[reportPrivateUsage]
                self._state.agent = agent
                with bound(agent=agent.name):
                    self._log.info("agent_starting", version=agent.version)
                    given = self._input or context.load_input(self._class.input_type)
                    self._state.input = given
                    return await self._run_agent(agent, given)
            finally:
                await self._close_context(context)

    async def _make_context(self) -> AgentContext:
        if not self._class.requires_gateway:
            return AgentContext.for_external_llm(self._environ)
        try:
            async with asyncio.timeout(STARTUP_SECONDS):
                return await AgentContext.from_environment_async(self._environ)
        except TimeoutError:
            pass
        raise TraTAcquisitionError(
            f"the Transaction Token did not come within {STARTUP_SECONDS:g} seconds; look after "
            "the auth sidecar"
        )

    async def _unless_stopped(self, work: Coroutine[Any, Any, T]) -> T | None:
        """Return what work returns; None when a shutdown is requested first."""
        task = asyncio.ensure_future(work)
        if not await self._first(task):
            task.cancel()
            await asyncio.wait({task}, timeout=self._cancel)
            return None
        return task.result()

    async def _first(self, task: asyncio.Future[Any]) -> bool:
        """Wait for a task or a shutdown; return whether it was the task, also if it was both."""
        assert self._requested is not None
        requested = asyncio.ensure_future(self._requested.wait())
        try:
            await asyncio.wait({task, requested}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            requested.cancel()
        return task.done()

    async def _run_agent(self, agent: SageSanctumAgent[Any], given: AgentInput) -> _Outcome:
        task = asyncio.ensure_future(_contained(agent, given))
        cancelled = False
        if not await self._first(task):
            self._log.warning(
                "shutdown_signal_received", signal=self._state.signal, grace_period=self._grace
            )
            await asyncio.wait({task}, timeout=self._grace)
            if not task.done():
                cancelled = True
                self._log.warning("agent_cancelled", grace_period=self._grace)
                task.cancel()
                await asyncio.wait({task}, timeout=self._cancel)
        if not task.done():
            self._log.error("agent_abandoned", reason="it does not let itself be cancelled")
            return self._interrupted()
        if task.cancelled():
            if cancelled:
                return self._interrupted()
            return _Outcome(None, "the agent cancelled itself", FAILED)
        return self._judged(task.result())

    def _judged(self, result: object) -> _Outcome:
        if isinstance(result, _Outcome):  # it raised SystemExit
            return result
        if not isinstance(result, AgentResult):
            kind = type(result).__name__
            return self._refused_result(f"run() returned {kind}; it has to return an AgentResult")
        code: object = result.exit_code
        if isinstance(code, bool) or not isinstance(code, int) or not 0 <= code <= 255:
            return self._refused_result("the result's exit_code is not between 0 and 255")
        if self._state.signal and code == 0:
            code = INTERRUPTED
        return _Outcome(result, result.error, code)

    def _refused_result(self, problem: str) -> _Outcome:
        self._log.error("agent_error", error=problem, exit_code=FAILED)
        return _Outcome(None, problem, FAILED)

    def _interrupted(self) -> _Outcome:
        self._log.warning("agent_interrupted", signal=self._state.signal)
        return _Outcome(None, f"stopped by {self._state.signal}", INTERRUPTED)

    def _unsuccessful(self, error: Exception) -> _Outcome:
        leaves = list(_leaves(error))
        # A task group that failed for reasons of ours failed for the first of them.
        if not all(isinstance(one, OstiaryError) for one in leaves):
            return self._unexpected(error)
        first = next((one for one in leaves if isinstance(one, SageSanctumError)), leaves[0])
        code = first.exit_code if isinstance(first, SageSanctumError) else FAILED
        if not 0 < code < 256:
            code = FAILED  # an error is no success, whatever code it was given
        self._log.error("agent_error", error=str(first), kind=type(first).__name__, exit_code=code)
        return _Outcome(None, redact(str(first)), code)

    def _unexpected(self, error: Exception) -> _Outcome:
        self._log.error("unexpected_error", exc_info=error, exit_code=FAILED)
        return _Outcome(None, redact(f"{type(error).__name__}: {error}"), FAILED)

    def _refused(self, error: SageSanctumError) -> int:
        self._log.error("agent_error", error=str(error), exit_code=error.exit_code)
        return error.exit_code

    # --- the end

    def _finish(self, outcome: _Outcome) -> int:
        """Write the output and the record, once, and return the exit code."""
        state = self._state
        with state.lock:
            if state.written:
                return outcome.exit_code
            state.written = True
            return self._write(outcome)

    def _write(self, outcome: _Outcome) -> int:
        state, code, error = self._state, outcome.exit_code, outcome.error
        duration = time.monotonic() - state.began
        result = outcome.result
        if result is None and state.agent is not None:
            # It ended early: what it had by then is better than nothing.
            result = state.agent._checkpoint  # pyright: ignore[reportPrivateUsage]
        if result is not None:
            result.duration_seconds = duration
        record = self._record(result, code, error, duration)
        with bound(agent=record.agent, run_id=record.run_id, org_id=record.org_id):
            return self._put_out(result, record)

    def _put_out(self, result: AgentResult | None, record: RunRecord) -> int:
        state, code, error = self._state, record.exit_code, record.error
        files: list[str] = []
        if result is not None and result.output is not None and state.context is not None:
            try:
                result.output.complete(record)
                files = list(state.context.write_output(result.output))
                self._log.info("output_written", files=files)
            except OutputError as problem:
                code, error = code or problem.exit_code, error or str(problem)
                self._log.error("output_failed", error=str(problem), exit_code=code)
            except Exception as problem:  # noqa: BLE001 - anybody's output
                code = code or FAILED
                error = error or redact(f"{type(problem).__name__}: {problem}")
                self._log.error("output_failed", exc_info=problem, exit_code=code)
        code = self._write_record(replace(record, exit_code=code, error=error, files=files))
        self._log.info(
            "agent_completed",
            duration=round(record.duration_seconds, 3),
            exit_code=code,
        )
        return code

    def _record(
        self, result: AgentResult | None, code: int, error: str, duration: float
    ) -> RunRecord:
        state, context = self._state, self._state.context
        name, version = self._class.__name__, ""
        if state.agent is not None:
            try:
                name, version = str(state.agent.name), str(state.agent.version)
            except Exception as problem:  # noqa: BLE001 - anybody's property
                self._log.warning("agent_unnamed", error=type(problem).__name__)
        return RunRecord(
            agent=name,
            version=version,
            run_id=self._environ.get("RUN_ID", "") if context is None else context.run_id,
            org_id=self._environ.get("ORG_ID", "") if context is None else context.org_id,
            started_at=state.started_at,
            ended_at=datetime.now(UTC),
            duration_seconds=duration,
            exit_code=code,
            error=redact(error),
            signal=state.signal,
            metadata={} if result is None else result.metadata,
            usage=() if context is None else context.usage(),
            input=state.input,
        )

    def _write_record(self, record: RunRecord) -> int:
        """Write `run.json`; a run whose context could not be made has it where it was told."""
        where = self._environ.get("OUTPUT_PATH", "")
        if self._state.context is not None:
            where = str(self._state.context.output_dir)
        if not where:
            return record.exit_code
        try:
            record.write(where)
        except OutputError as problem:
            self._log.error("record_failed", error=str(problem))
            return record.exit_code or problem.exit_code
        return record.exit_code

    async def _close_context(self, context: AgentContext) -> None:
        # Its connections belong to this loop. A context that was given is its owner's.
        if context is self._context:
            return
        try:
            async with asyncio.timeout(self._cancel):
                await context.aclose()
        except Exception as error:  # noqa: BLE001 - the run is over, and this changes nothing
            self._log.debug("context_not_closed", error=type(error).__name__)

    def _close(self, loop: asyncio.AbstractEventLoop, workers: Workers) -> None:
        """End what the agent has left behind, within bounds."""
        left = [task for task in asyncio.all_tasks(loop) if not task.done()]
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left, timeout=self._cancel))
        # Whoever does not end is dropped with the loop, which then need not tell of it.
        loop.set_exception_handler(lambda loop, about: None)
        ending = loop.create_task(loop.shutdown_asyncgens())
        loop.run_until_complete(asyncio.wait({ending}, timeout=self._cancel))
        workers.shutdown(wait=False, cancel_futures=True)
        while not self._state.signal and not workers.join(0.1):
            pass  # calls that were begun and not awaited run to their end, until a signal


async def _contained(agent: SageSanctumAgent[Any], given: AgentInput) -> object:
    """Run an agent; a SystemExit it raises ends the run, and not the loop it runs on."""
    try:
        return await agent.run(given)
    except KeyboardInterrupt:
        return _Outcome(None, "the agent interrupted itself", INTERRUPTED)
    except SystemExit as end:
        code = end.code
    if code is None or isinstance(code, int):
        return _Outcome(None, "", (code or 0) & 0xFF)
    return _Outcome(None, redact(str(code)), FAILED)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """Yield what an exception group holds, or the exception itself."""
    if isinstance(error, BaseExceptionGroup):
        for one in cast("BaseExceptionGroup[BaseException]", error).exceptions:
            yield from _leaves(one)
    else:
        yield error


def _give_back(before: Mapping[signal.Signals, Any]) -> None:
    for one, handler in before.items():
        # None is a handler that was not set by Python, and cannot be set again.
        signal.signal(one, signal.SIG_DFL if handler is None else handler)


def grace_period(given: float | None = None, environ: Mapping[str, str] | None = None) -> float:
    """Return the seconds an agent has after a first signal; `ConfigurationError` for nonsense."""
    try:
        found = setting(given, [GRACE], GRACE_SECONDS, read=float, environ=environ)
    except InvalidArgumentError as error:
        problem = str(error)
    else:
        if isinstance(found, (int, float)) and 0 <= found < float("inf"):
            return float(found)
        problem = f"the grace period is a number of seconds, 0 or more; correct {GRACE}"
    raise ConfigurationError(problem)
