"""What the engine writes: queued by the event loop, committed by one thread, many at a time.

Whoever needs to know that his line is on the disk waits for `commit`; all who wait at the same
time share one transaction. What nobody waits for is written within `LINGER` seconds. A write
that fails ends it: what is in memory and what is on file would differ from then on.
Neighbour: `records` says what is written.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final, final

from ...database import open_database
from ...faults import DevserverError

__all__ = ["LINGER", "Ledger", "LedgerError"]

_log = logging.getLogger(__name__)

LINGER: Final = 0.02

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS workflows (
    number INTEGER PRIMARY KEY, workflow_id TEXT NOT NULL UNIQUE, name TEXT NOT NULL,
    state TEXT NOT NULL, started REAL NOT NULL, record BLOB NOT NULL, spec BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS workflows_by_state ON workflows (state, number);
CREATE TABLE IF NOT EXISTS tasks (
    number INTEGER NOT NULL, task_id TEXT NOT NULL, hook INTEGER NOT NULL,
    record BLOB NOT NULL, result BLOB, PRIMARY KEY (number, task_id, hook)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS events (
    number INTEGER NOT NULL, sequence INTEGER NOT NULL, event BLOB NOT NULL,
    PRIMARY KEY (number, sequence)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS effects (
    tool TEXT NOT NULL, key TEXT NOT NULL, inputs TEXT NOT NULL, result BLOB NOT NULL,
    expires REAL NOT NULL, PRIMARY KEY (tool, key)
) WITHOUT ROWID;
"""

_Write = tuple[str, Sequence[Any]]


class LedgerError(Exception):
    """The file cannot be written any more; the engine has to be started again."""


@final
class Ledger:
    """One open file: `reader` for the event loop's thread, a thread of its own that writes.

    `told` is called in the event loop with the topics of what has just been committed.
    """

    def __init__(
        self,
        path: Path,
        *,
        synchronous: str = "FULL",
        told: Callable[[Iterable[Any]], object] | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._told = told
        self._lock = threading.Condition(threading.Lock())
        self._writes: list[_Write] = []
        self._waiting: list[asyncio.Future[None]] = []
        self._topics: set[Any] = set()
        self._over = False
        self._failed: str | None = None
        self.commits = 0
        self.reader = _opened(path, synchronous)
        self._writer = threading.Thread(
            target=self._work, args=(path, synchronous), name="ostiary-ledger", daemon=True
        )
        self._writer.start()

    def write(self, statement: str, parameters: Sequence[Any], topic: Any = None) -> None:
        """Queue one statement; those of one thread are carried out in their order."""
        with self._lock:
            self._writes.append((statement, parameters))
            if topic is not None:
                self._topics.add(topic)
            if len(self._writes) == 1:
                self._lock.notify()

    def commit(self) -> asyncio.Future[None]:
        """Return a future that is done when all that was queued is on the disk.

        It raises `LedgerError` when that cannot be.
        """
        done: asyncio.Future[None] = self._loop.create_future()
        with self._lock:
            if self._failed is not None or self._over:
                done.set_exception(LedgerError(self._failed or "the engine is stopping"))
            else:
                self._waiting.append(done)
                self._lock.notify()
        return done

    def close(self) -> None:
        """Write what is queued and close the file; safe to repeat."""
        with self._lock:
            if self._over:
                return
            self._over = True
            self._lock.notify()
        self._writer.join()
        self.reader.close()

    # -- the thread that writes ---------------------------------------------

    def _work(self, path: Path, synchronous: str) -> None:
        try:
            db = _opened(path, synchronous)
        except DevserverError as error:
            self._fail(str(error), [])
            return
        try:
            while True:
                writes, waiting, topics = self._batch()
                if not writes and not waiting:
                    return
                try:
                    if writes:
                        _commit(db, writes)
                        self.commits += 1
                except sqlite3.Error as error:
                    _log.error("the engine's ledger cannot be written: %s", error)
                    self._fail(str(error), waiting)
                    return
                self._report(waiting, topics)
        finally:
            db.close()

    def _batch(self) -> tuple[list[_Write], list[asyncio.Future[None]], set[Any]]:
        with self._lock:
            while not self._writes and not self._waiting and not self._over:
                self._lock.wait()
            if not self._waiting and not self._over:
                self._lock.wait_for(lambda: self._waiting or self._over, LINGER)
            batch = self._writes, self._waiting, self._topics
            self._writes, self._waiting, self._topics = [], [], set()
        return batch

    def _report(self, waiting: list[asyncio.Future[None]], topics: set[Any]) -> None:
        if waiting or (topics and self._told is not None):
            self._call(self._settle, waiting, topics)

    def _settle(self, waiting: list[asyncio.Future[None]], topics: set[Any]) -> None:
        for done in waiting:
            if not done.done():
                done.set_result(None)
        if topics and self._told is not None:
            self._told(topics)

    def _fail(self, problem: str, waiting: list[asyncio.Future[None]]) -> None:
        with self._lock:
            self._failed = problem
            waiting = [*waiting, *self._waiting]
            self._waiting = []
        self._call(self._refuse, waiting, problem)

    def _refuse(self, waiting: list[asyncio.Future[None]], problem: str) -> None:
        for done in waiting:
            if not done.done():
                done.set_exception(LedgerError(problem))

    def _call(self, function: Callable[..., None], *args: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *args)
        except RuntimeError:
            pass  # the loop is closed, and nobody waits


def _opened(path: Path, synchronous: str) -> sqlite3.Connection:
    pragmas = (f"synchronous={synchronous}", "busy_timeout=10000")
    return open_database(path, "the engine's ledger", _SCHEMA, pragmas=pragmas)


def _commit(db: sqlite3.Connection, writes: list[_Write]) -> None:
    db.execute("BEGIN IMMEDIATE")
    try:
        for statement, parameters in writes:
            db.execute(statement, parameters)
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")
