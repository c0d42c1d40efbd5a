"""One MCP server as a child process: started when it is needed, started again when it died.

The MCP library starts it, speaks to it and ends it with its process group. Neighbour: `mcp`
serves what it offers.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final, final

from mcp import Client, StdioServerParameters, stdio_client
from mcp.client._transport import ReadStream, TransportStreams
from mcp.shared.exceptions import MCPError
from mcp_types import Implementation

from ...gateway.mcp.held import Held
from ..http.refusals import HttpRefusal

__all__ = ["Child"]

_log = logging.getLogger(__name__)

# npx asks whether it may install, and a child has nobody to answer.
_ENVIRONMENT: Final = {"npm_config_yes": "true", "NO_COLOR": "1"}
_LONGEST_DELAY: Final = 30.0
_TAIL_BYTES: Final = 4096


@final
class Child:
    """The process of one MCP server for one run.

    `start_timeout` is how long it may take to answer its first request, an installation by
    npx included. A child that could not be started is left alone for `restart_delay` seconds,
    twice as long each time.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        start_timeout: float,
        restart_delay: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._command = list(command)
        self._start_timeout = start_timeout
        self._restart_delay = restart_delay
        self._clock = clock
        self._held: Held[Client] | None = None
        self._stopped = False
        self._failures = 0
        self._not_before = 0.0
        self.starts = 0
        self.busy = 0
        self.last_used = clock()

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
        else:
            self._failures = 0
            return client
        await held.close()
        if held is self._held:
            self._held = None
            self._failures += 1
            delay = min(self._restart_delay * 2 ** (self._failures - 1), _LONGEST_DELAY)
            self._not_before = self._clock() + delay
        raise self._unstarted(problem)

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
                "read the log of the gateway",
                headers=((b"retry-after", str(int(left) + 1).encode()),),
            )
        self.starts += 1
        self._stopped = False
        self._held = Held(self._connected)

    @asynccontextmanager
    async def _connected(self, gone: asyncio.Event) -> AsyncGenerator[Client]:
        command, *arguments = self._command
        about = StdioServerParameters(command=command, args=arguments, env=dict(_ENVIRONMENT))
        with _Stderr() as stderr:
            try:
                async with Client(
                    _watched(about, stderr, gone),
                    client_info=Implementation(name="ostiary-gateway", version=_version()),
                    cache=None,
                ) as client:
                    yield client
            finally:
                if gone.is_set() and not self._stopped and stderr.tail:
                    _log.warning(
                        "the MCP server %s ended; its last words:\n%s", self._name, stderr.tail
                    )

    def _unstarted(self, problem: BaseException) -> HttpRefusal:
        if isinstance(problem, TimeoutError):
            return HttpRefusal(
                504,
                "server_timeout",
                f"the MCP server {self._name} did not answer within {self._start_timeout:g} "
                "seconds of its start",
            )
        _log.warning("the MCP server %s did not start: %s", self._name, type(problem).__name__)
        return HttpRefusal(
            502,
            "server_failed",
            f"the MCP server {self._name} did not start; run its command by hand to see why",
        )


def _version() -> str:
    import ostiary

    return ostiary.__version__


@asynccontextmanager
async def _watched(
    about: StdioServerParameters, stderr: _Stderr, gone: asyncio.Event
) -> AsyncGenerator[TransportStreams]:
    """The library's transport, with word of its end: it tells those who wait, and no one else."""
    async with stdio_client(about, errlog=stderr.file) as (read, write):
        # Any: of the stream's methods only those that a session uses are here.
        noticing: Any = _Noticing(read, gone)
        yield noticing, write


@final
class _Noticing:
    """A stream of messages that sets an event where it ends."""

    def __init__(self, stream: ReadStream[Any], gone: asyncio.Event) -> None:
        self._stream = stream
        self._gone = gone

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    async def receive(self) -> Any:
        try:
            return await self._stream.receive()
        except Exception:
            self._gone.set()
            raise

    async def aclose(self) -> None:
        await self._stream.aclose()

    def __aiter__(self) -> _Noticing:
        return self

    async def __anext__(self) -> Any:
        try:
            return await anext(self._stream)
        except BaseException:
            self._gone.set()
            raise

    async def __aenter__(self) -> _Noticing:
        await self._stream.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> bool | None:
        leave: Any = self._stream.__aexit__
        found: bool | None = await leave(*exc_info)
        return found


@final
class _Stderr:
    """What a child writes to stderr: taken away, so that it never waits, and its end kept."""

    def __init__(self) -> None:
        self._kept = bytearray()

    @property
    def tail(self) -> str:
        return self._kept.decode("utf-8", "replace").strip()

    def __enter__(self) -> _Stderr:
        self._reading, writing = os.pipe()
        os.set_blocking(self._reading, False)
        self.file = os.fdopen(writing, "w")
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._reading, self._read)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._loop.remove_reader(self._reading)
        self._read()
        os.close(self._reading)
        self.file.close()

    def _read(self) -> None:
        try:
            more = os.read(self._reading, 65536)
        except BlockingIOError:
            return
        if not more:
            self._loop.remove_reader(self._reading)
        self._kept += more
        del self._kept[:-_TAIL_BYTES]
