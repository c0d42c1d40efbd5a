"""The file that keeps reports while the server is away: SQLite, so that a crash loses nothing.

Several processes may write to one file; one at a time reads from it, by a lock that ends with
its process. Each method may be called by any thread.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, final

from ..errors import TelemetryError
from .items import Item

if TYPE_CHECKING:
    import sqlite3

__all__ = ["Spool"]

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS reports (place INTEGER PRIMARY KEY, kind TEXT NOT NULL,
    data BLOB NOT NULL)
"""


@final
class Spool:
    """Reports in a file, in their order. Opened when it is used, and again after `rest`."""

    def __init__(self, path: str | os.PathLike[str], most: int | None) -> None:
        """`most` is how many it takes; None is no limit."""
        self.path: str = os.path.abspath(os.path.expanduser(os.fspath(path)))
        self.most = most
        self.lock = threading.Lock()
        self._open: sqlite3.Connection | None = None
        self._count = 0
        self._claim: int | None = None

    @contextmanager
    def _connection(self) -> Generator[sqlite3.Connection]:
        """Hold the connection, in a transaction."""
        import sqlite3

        with self.lock:
            problem: Exception
            try:
                found = self._open
                if found is None:
                    found = self._open = self._opened()
                # Before anything is read, so that what is read is still so when it is written.
                found.execute("BEGIN IMMEDIATE")
                try:
                    yield found
                except BaseException:
                    found.rollback()
                    raise
                found.commit()
                return
            except (sqlite3.Error, OSError) as error:
                problem = error
            raise TelemetryError(
                f"the spool {self.path} cannot be used ({problem}); check the disk and who may "
                "write there, or name another file"
            )

    def _opened(self) -> sqlite3.Connection:
        import sqlite3

        # What is reported may be nobody else's business.
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        made = sqlite3.connect(
            self.path, timeout=10.0, isolation_level=None, check_same_thread=False
        )
        try:
            made.execute("PRAGMA journal_mode=WAL")
            made.execute("PRAGMA synchronous=FULL")
            made.execute(_SCHEMA)
            (self._count,) = made.execute("SELECT count(*) FROM reports").fetchone()
        except BaseException:
            made.close()
            raise
        return made

    def add(self, items: Sequence[Item], *, first: bool = False) -> int:
        """Write reports behind the others, or before them; return how many there was room for.

        Those that are next to the others are taken then. They are on disk when it returns.
        """
        if not items:
            return 0
        with self._connection() as db:
            least, last = db.execute("SELECT min(place), max(place) FROM reports").fetchone()
            taken = items
            if self.most is not None:
                (self._count,) = db.execute("SELECT count(*) FROM reports").fetchone()
                room = min(max(self.most - self._count, 0), len(items))
                taken = items[len(items) - room :] if first else items[:room]
            start = (least or 0) - len(taken) if first else (last or 0) + 1
            db.executemany(
                "INSERT INTO reports VALUES (?, ?, ?)",
                ((start + at, one.kind, one.data) for at, one in enumerate(taken)),
            )
        self._count += len(taken)
        return len(taken)

    def head(self, most: int, most_bytes: int) -> tuple[list[Item], list[int]]:
        """Return the first reports, as many as go into one batch, and their places.

        They stay until they are removed.
        """
        with self._connection() as db:
            rows: list[tuple[int, Any, bytes]] = db.execute(
                "SELECT place, kind, data FROM reports ORDER BY place LIMIT ?", (most,)
            ).fetchall()
            if not rows:
                self._count = 0
                return [], []
        size = 0
        taken: list[tuple[int, Any, bytes]] = []
        for row in rows:
            size += len(row[2])
            if taken and size > most_bytes:
                break
            taken.append(row)
        return [Item(kind, data) for _, kind, data in taken], [place for place, _, _ in taken]

    def remove(self, first: int, last: int) -> None:
        """Remove those from one place to another, both of which `head` returned."""
        with self._connection() as db:
            done = db.execute("DELETE FROM reports WHERE place BETWEEN ? AND ?", (first, last))
            removed = done.rowcount
        self._count = max(self._count - removed, 0)

    def count(self) -> int:
        """Return how many there are; those of other processes too."""
        with self._connection() as db:
            (self._count,) = db.execute("SELECT count(*) FROM reports").fetchone()
        return self._count

    @property
    def counted(self) -> int:
        """How many there were when this process looked last."""
        return self._count

    def claim(self) -> bool:
        """Become the one process that reads; False while another is."""
        import fcntl

        if self._claim is not None:
            return True
        # Not the database itself: closing a file ends every lock of the process on it.
        handle = os.open(self.path + ".reader", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            return False
        self._claim = handle
        return True

    def release(self) -> None:
        """Let another process read."""
        handle, self._claim = self._claim, None
        if handle is not None:
            os.close(handle)

    def rest(self) -> None:
        """Close the file until it is used again. The caller holds `lock`, or is alone."""
        found, self._open = self._open, None
        if found is not None:
            found.close()

    def close(self) -> None:
        """Close the file, and let another process read."""
        with self.lock:
            self.rest()
        self.release()

    def forked(self) -> None:
        """Begin anew in a child; the parent's lock stays the parent's."""
        self.lock = threading.Lock()
        self.release()
