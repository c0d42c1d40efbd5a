"""The process of one MCP server: its pipes as the library's streams, its group ended with it.

The library's own transport tells neither process id nor exit status, says nothing when the
process ends by itself, and reads lines of any length. Neighbour: `child` decides when to start.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from asyncio.subprocess import PIPE, Process, SubprocessStreamProtocol
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final, final

import anyio
import mcp_types as types
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.client._transport import TransportStreams
from mcp.shared.message import SessionMessage

__all__ = ["ServerProcess"]

_log = logging.getLogger(__name__)

# A tool may answer with an image; more than this in one line is no answer.
_LINE_BYTES: Final = 16 * 1024 * 1024
_TAIL_BYTES: Final = 4096
_PIECE_BYTES: Final = 65536
# How long a server may take to end when its input has ended, and again when it is told to.
_PATIENCE: Final = 2.0
# How long pipes may stay open behind a process that has ended, and messages unsent before it.
_AFTERMATH: Final = 0.5
# What a server may see of our environment: enough to find its programs and its user's files.
_INHERITED: Final = ("HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER")

Incoming = SessionMessage | Exception


@final
class _Pipes(SubprocessStreamProtocol):
    """asyncio's own pipes, with word of the process's end."""

    def __init__(self, ended: Callable[[], None]) -> None:
        super().__init__(limit=_LINE_BYTES, loop=asyncio.get_running_loop())
        self._ended = ended

    def process_exited(self) -> None:
        super().process_exited()
        self._ended()


@final
class ServerProcess:
    """One process, started by entering `streams` and ended by leaving it; once.

    `gone` is set when it ends, or stops to answer, by itself.
    """

    def __init__(
        self,
        command: Sequence[str],
        gone: asyncio.Event,
        *,
        environment: Mapping[str, str],
        directory: str | None = None,
    ) -> None:
        self._command = command
        self._gone = gone
        self._environment = environment
        self._directory = directory
        self._exited = asyncio.Event()
        self._read_all = asyncio.Event()
        self._sent_all = asyncio.Event()
        self._heard_all = asyncio.Event()
        self._kept = bytearray()
        self._process: Process | None = None
        self._transport: asyncio.SubprocessTransport

    @property
    def pid(self) -> int | None:
        """Its process id; None before it runs and after it has ended."""
        return None if self._process is None or self._exited.is_set() else self._process.pid

    @property
    def status(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs."""
        return None if self._process is None else self._process.returncode

    @property
    def tail(self) -> str:
        """The end of what it wrote to stderr."""
        return self._kept.decode("utf-8", "replace").strip()

    @asynccontextmanager
    async def streams(self) -> AsyncGenerator[TransportStreams]:
        """Start the process, and give the streams that the library's client wants.

        Raises OSError when there is no such program or directory, ValueError for NUL bytes.
        """
        process = self._process = await self._started()
        arriving, incoming = anyio.create_memory_object_stream[Incoming](0)
        outgoing, leaving = anyio.create_memory_object_stream[SessionMessage](0)
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._listen, process)
                group.start_soon(self._read, process, arriving)
                group.start_soon(self._write, process, leaving, arriving)
                group.start_soon(self._watch, arriving)
                try:
                    yield incoming, outgoing
                finally:
                    with anyio.CancelScope(shield=True):
                        incoming.close()
                        outgoing.close()
                        await _within(_AFTERMATH, self._sent_all)
                        await self._end(process)
                        await _within(_AFTERMATH, self._heard_all)
                    group.cancel_scope.cancel()
        finally:
            # Nothing is awaited here: whatever was cut short above, the process goes.
            if not self._exited.is_set():
                _signal(process.pid, signal.SIGKILL)
            self._transport.close()
            for stream in (arriving, incoming, outgoing, leaving):
                stream.close()

    async def _started(self) -> Process:
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        loop = asyncio.get_running_loop()
        self._transport, pipes = await loop.subprocess_exec(
            lambda: _Pipes(self._on_exit),
            *self._command,
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            env={**inherited, **self._environment},
            cwd=self._directory,
            start_new_session=True,
        )
        return Process(self._transport, pipes, loop)

    def _on_exit(self) -> None:
        self._exited.set()
        # What it started, and left behind, would hold its pipes open and work on unseen.
        _signal(self._transport.get_pid(), signal.SIGKILL)

    async def _read(self, process: Process, arriving: MemoryObjectSendStream[Incoming]) -> None:
        stdout = process.stdout
        assert stdout is not None
        try:
            try:
                while line := await stdout.readline():
                    message = _message(line)
                    if message is not None:
                        await arriving.send(message)
            finally:
                # In this order: who is told that a call failed finds the process gone.
                self._gone.set()
                arriving.close()
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            # Nobody listens any more; a server that is stuck writing could not end.
            while await stdout.read(_PIECE_BYTES):
                pass
        except ValueError:
            _log.warning("an MCP server wrote a line of more than %d bytes", _LINE_BYTES)
        finally:
            self._read_all.set()

    async def _write(
        self,
        process: Process,
        leaving: MemoryObjectReceiveStream[SessionMessage],
        arriving: MemoryObjectSendStream[Incoming],
    ) -> None:
        stdin = process.stdin
        assert stdin is not None
        try:
            async with leaving:
                async for each in leaving:
                    text = each.message.model_dump_json(by_alias=True, exclude_unset=True)
                    stdin.write(text.encode("utf-8", "replace") + b"\n")
                    await stdin.drain()
        except (OSError, anyio.ClosedResourceError):
            self._gone.set()
            arriving.close()  # so that those who wait for an answer are told
        finally:
            self._sent_all.set()

    async def _listen(self, process: Process) -> None:
        stderr = process.stderr
        assert stderr is not None
        try:
            while piece := await stderr.read(_PIECE_BYTES):
                self._kept += piece
                del self._kept[:-_TAIL_BYTES]
        finally:
            self._heard_all.set()

    async def _watch(self, arriving: MemoryObjectSendStream[Incoming]) -> None:
        await self._exited.wait()
        await _within(_AFTERMATH, self._read_all)
        # Somebody who left the group may hold the pipe; it is no server of ours any more.
        self._gone.set()
        arriving.close()

    async def _end(self, process: Process) -> None:
        """Close its input, as the protocol has it; then less and less kindly."""
        assert process.stdin is not None
        process.stdin.close()
        for kind in (signal.SIGTERM, signal.SIGKILL):
            if await _within(_PATIENCE, self._exited):
                return
            _signal(process.pid, kind)
        if not await _within(_PATIENCE, self._exited):
            _log.warning("the process %d of an MCP server cannot be ended", process.pid)


async def _within(seconds: float, event: asyncio.Event) -> bool:
    with anyio.move_on_after(seconds):
        await event.wait()
    return event.is_set()


def _signal(group: int, kind: signal.Signals) -> None:
    # EPERM is what macOS says of a group of zombies.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, kind)


def _message(line: bytes) -> Incoming | None:
    """Read a line; None when it is not of the protocol, as where a server prints a greeting."""
    try:
        return SessionMessage(types.jsonrpc_message_adapter.validate_json(line, by_name=False))
    except ValueError:
        return None
