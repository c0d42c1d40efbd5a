"""What was decided, kept in a SQLite file of its own; the text that was judged is not kept.

Commands in hand are in memory; a finished one is on file before it is answered. All that one
turn of the loop finished is one transaction. Neighbour: `commands` makes the traces.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from pathlib import Path
from typing import Any, Final, final

import msgspec

from ..._decoders import decode_as
from ..database import open_database
from ..faults import DevserverError

__all__ = ["Trace", "Traces"]

_log = logging.getLogger(__name__)

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS traces (
    number INTEGER PRIMARY KEY, trace_id TEXT NOT NULL UNIQUE, trace BLOB NOT NULL
);
"""
_KEPT: Final = 100_000
_PRUNE_EVERY: Final = 1_000

_encode = msgspec.json.Encoder().encode


class Trace(msgspec.Struct, kw_only=True):
    """One decision and what became of it; the first ten are TraceResponse's fields.

    `command` is run, stream, chat or agent; `outcome` is running, completed, blocked,
    timeout, cancelled or failed.
    """

    trace_id: str
    decision: str
    reason: str
    policy: str
    mode: str
    risk_score: float
    budget: float
    violations: list[dict[str, str]]
    latency_ms: float
    timestamp: str
    command: str = "run"
    outcome: str = "running"


@final
class Traces:
    """Add, finish, find. One thread; `commit` is awaited on its event loop."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.failed = False
        """Whether the last attempt to write did not succeed."""
        self._running: dict[str, Trace] = {}
        self._waiting: list[Trace] = []
        self._committed: asyncio.Future[None] | None = None
        self._since_pruned = 0
        self._db = open_database(path, "a record of traces", _SCHEMA)

    def begin(self, trace: Trace) -> None:
        """Make a trace known while its command runs."""
        self._running[trace.trace_id] = trace

    def finish(self, trace: Trace) -> None:
        """Have a trace written with the next commit."""
        self._waiting.append(trace)
        if self._committed is None:
            loop = asyncio.get_running_loop()
            self._committed = loop.create_future()
            loop.call_soon(self.flush)

    async def commit(self) -> None:
        """Return once everything finished so far is on file."""
        if self._committed is not None:
            # Shielded: others wait for the same transaction.
            await asyncio.shield(self._committed)

    def flush(self) -> None:
        """Write what is waiting."""
        rows, self._waiting = self._waiting, []
        committed, self._committed = self._committed, None
        try:
            if rows:
                self._write(rows)
                self.failed = False
        except sqlite3.Error as error:
            self.failed = True
            if committed is not None and not committed.done():
                committed.set_exception(
                    DevserverError(f"cannot write {self.path}: {error}; see to the disk")
                )
                committed.exception()  # a command that was cancelled does not ask
            return
        finally:
            for trace in rows:
                self._running.pop(trace.trace_id, None)
        if committed is not None and not committed.done():
            committed.set_result(None)

    def _write(self, rows: list[Trace]) -> None:
        db = self._db
        db.execute("BEGIN IMMEDIATE")
        try:
            db.executemany(
                "INSERT OR IGNORE INTO traces (trace_id, trace) VALUES (?, ?)",
                [(trace.trace_id, _encode(trace)) for trace in rows],
            )
            self._since_pruned += len(rows)
            if self._since_pruned >= _PRUNE_EVERY:
                self._since_pruned = 0
                db.execute(
                    "DELETE FROM traces WHERE number <= (SELECT MAX(number) FROM traces) - ?",
                    (_KEPT,),
                )
        except BaseException:
            db.execute("ROLLBACK")
            raise
        db.execute("COMMIT")

    def find(self, trace_id: str) -> Trace | None:
        """Return a trace by its id, of a running command too."""
        running = self._running.get(trace_id)
        if running is not None:
            return running
        row: Any = self._db.execute(
            "SELECT trace FROM traces WHERE trace_id = ?", (trace_id,)
        ).fetchone()
        return None if row is None else decode_as(row[0], Trace)

    def close(self) -> None:
        """Write what is waiting, and close the file."""
        self.flush()
        try:
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            _log.error("the traces could not be written to %s: %s", self.path, error)
        finally:
            self._db.close()
