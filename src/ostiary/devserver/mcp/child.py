"""One MCP server as a child process: started when it is needed, started again when it died.

The MCP library speaks to it. Neighbours: `process` is what runs; the gateway and the runtime
each decide who may use it.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Final, final

from mcp import Client
from mcp.shared.exceptions import MCPError
from mcp_types import Implementation

from ...gateway.mcp.held import Held
from ..http.refusals import HttpRefusal
from .process import ServerProcess

__all__ = ["Child"]

_log = logging.getLogger(__name__)

# npx asks whether it may install, and a child has nobody to answer.
_ENVIRONMENT: Final = {"npm_config_yes": "true", "NO_COLOR": "1"}
_LONGEST_DELAY: Final = 30.0
# What it said before such an end does not explain it.
_TOLD_TO_END: Final = frozenset({-signal.SIGKILL, -signal.SIGTERM})


@final
class Child:
    """The process of one MCP server, for one run or one whole domain.

    `start_timeout` is how long it may take to answer its first request, an installation by
    npx included. A child that could not be started is left alone for `restart_delay` seconds,
    twice as long each time. `environment` is added to what a child sees; `directory` is where
    it runs, None where we do. `client_name` is what it is told of us.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        start_timeout: float,
        restart_delay: float,
        environment: Mapping[str, str] | None = None,
        directory: str | None = None,
        client_name: str = "ostiary-gateway",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._command = list(command)
        self._start_timeout = start_timeout
        self._restart_delay = restart_delay
        self._environment = {**_ENVIRONMENT, **(environment or {})}
        self._directory = directory
        self._about = Implementation(name=client_name, version=_version())
        self._clock = clock
        self._held: Held[Client] | None = None
        self._process: ServerProcess | None = None
        self._stopped = False
        self._failures = 0
        self._not_before = 0.0
        self.starts = 0
        self.busy = 0
        self.last_used = clock()
        self.problem: str | None = None
        """How it ended or failed to start, unasked; it may quote what the server wrote. None
        while all is well."""

    @property
    def running(self) -> bool:
        """Whether there is a process that nobody is ending."""
        return self._held is not None and not self._held.ended

    @property
    def pid(self) -> int | None:
        """The process id; None when there is no process."""
        return None if self._process is None else self._process.pid

    async def client(self) -> Client:
        """Return an open client of a child that runs; raises the refusal to send instead."""
        with self.in_use():
            return await self._client()

    @contextmanager
    def in_use(self) -> Generator[None]:
        """Count as busy in a block, so that nobody takes the child for unused."""
        self.busy += 1
        try:
            yield
        finally:
            self.busy -= 1
            self.last_used = self._clock()

    async def _client(self) -> Client:
        if self._held is None or self._held.ended:
            self._begin()
        held = self._held
        assert held is not None
        problem: BaseException
        try:
            async with asyncio.timeout(self._start_timeout):
                client = await held.open()
        except TimeoutError as error:
            problem = error
        except (MCPError, OSError, ValueError, RuntimeError) as error:
            problem = error
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not self._stopped or (task is not None and task.cancelling()):
                raise
            # Not this call was cancelled, but what it waits for.
            problem = _Stopped()
        else:
            self._failures = 0
            return client
        await held.close()
        if held is self._held:
            self._held = None
            if not isinstance(problem, _Stopped):
                self._failures += 1
                delay = min(self._restart_delay * 2 ** (self._failures - 1), _LONGEST_DELAY)
                self._not_before = self._clock() + delay
        raise self._unstarted(problem)

    def forgive(self) -> None:
        """Let the next start be now, however often it has failed."""
        self._failures = 0
        self._not_before = 0.0

    async def settled(self, seconds: float) -> None:
        """Return when a process that ends has ended, so that `problem` says how; or in time."""
        held = self._held
        if held is not None and held.ended:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await held.close()

    async def stop(self) -> None:
        """End the process, if there is one; whoever calls it returns when it has ended."""
        self._stopped = True
        if self._held is not None:
            await self._held.close()

    def _begin(self) -> None:
        left = self._not_before - self._clock()
        if left > 0:
            raise HttpRefusal(
                503,
                "server_unavailable",
                f"the MCP server {self._name} could not be started, and is not tried again yet; "
                "read the log of this control plane",
                headers=((b"retry-after", str(int(left) + 1).encode()),),
            )
        self.starts += 1
        self.problem = None
        self._stopped = False
        self._held = Held(self._connected)

    @asynccontextmanager
    async def _connected(self, gone: asyncio.Event) -> AsyncGenerator[Client]:
        process = self._process = ServerProcess(
            self._command, gone, environment=self._environment, directory=self._directory
        )
        try:
            async with Client(process.streams(), client_info=self._about, cache=None) as client:
                yield client
        finally:
            if gone.is_set() and not self._stopped:
                self._ended(process)

    def _ended(self, process: ServerProcess) -> None:
        """Remember an end that nobody asked for."""
        self.problem = f"it {_how(process.status)}"
        if process.tail:
            if process.status not in _TOLD_TO_END:
                self.problem += f"; its last words: {process.tail.splitlines()[-1][:300]}"
            _log.warning("the MCP server %s ended; its last words:\n%s", self._name, process.tail)

    def _unstarted(self, problem: BaseException) -> HttpRefusal:
        if isinstance(problem, _Stopped):
            return HttpRefusal(
                503, "server_unavailable", f"the MCP server {self._name} was stopped as it started"
            )
        if isinstance(problem, TimeoutError):
            self.problem = f"it did not answer within {self._start_timeout:g} seconds of its start"
            return HttpRefusal(
                504, "server_timeout", f"the MCP server {self._name}: {self.problem}"
            )
        _log.warning("the MCP server %s did not start: %s", self._name, type(problem).__name__)
        if isinstance(problem, OSError):
            self.problem = f"its command cannot be run: {problem.strerror}"
        elif self.problem is None:
            self.problem = "it ended, or broke the protocol, before it had answered"
        return HttpRefusal(
            502,
            "server_failed",
            f"the MCP server {self._name} did not start; run its command by hand to see why",
        )


class _Stopped(Exception):
    """Somebody stopped the child before it had answered."""


def _how(status: int | None) -> str:
    if status is None:
        return "stopped to answer"
    if status >= 0:
        return f"ended by itself with status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = str(-status)
    return f"was ended by signal {name}"


def _version() -> str:
    import ostiary

    return ostiary.__version__
