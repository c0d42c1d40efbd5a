"""What the HTTP domains remember: documents by kind and key, in a SQLite file of a domain's own.

A change is on file when the call returns. One thread. Neighbours: the groups of the runtime and
of the workflow server keep their `Documents` here.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Generic, TypeVar, final

import msgspec

from .._decoders import decoder_of
from .database import open_database

__all__ = ["Documents", "Store"]

T = TypeVar("T")

_log = logging.getLogger(__name__)

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS documents (
    number INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, key TEXT NOT NULL,
    owner TEXT, document BLOB NOT NULL, UNIQUE (kind, key)
);
CREATE INDEX IF NOT EXISTS by_age ON documents (kind, number);
CREATE INDEX IF NOT EXISTS by_owner ON documents (kind, owner, number);
"""

_encode = msgspec.json.Encoder().encode


@final
class Store:
    """One open file; `transaction` makes several changes one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._open = 0
        self._closed = False
        self.db = open_database(path, "a memory of this server", _SCHEMA)

    @contextmanager
    def transaction(self) -> Generator[None]:
        """Commit all that happens in the block, or nothing of it; blocks may be nested.

        Nothing may be awaited in it: what others did meanwhile would be undone with it.
        """
        if self._open:
            yield
            return
        self.db.execute("BEGIN IMMEDIATE")
        self._open = 1
        try:
            yield
        except BaseException:
            self.db.execute("ROLLBACK")
            raise
        else:
            self.db.execute("COMMIT")
        finally:
            self._open = 0

    @property
    def closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        """Close the file; safe to repeat."""
        if self._closed:
            return
        self._closed = True
        try:
            self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            _log.error("%s could not be written to the end: %s", self.path, error)
        finally:
            self.db.close()


@final
class Documents(Generic[T]):
    """The documents of one kind, by key; `kind` is theirs alone, `type` a msgspec type.

    Order is the order in which the keys were added. A document may have an `owner`, which is
    said when it is added and by which it is found again quickly.
    """

    def __init__(self, store: Store, kind: str, type: type[T]) -> None:
        self._db = store.db
        self._kind = kind
        self._decode = decoder_of(type).decode

    def get(self, key: str) -> T | None:
        """Return a document, or None."""
        row = self._one("SELECT document FROM documents WHERE kind = ? AND key = ?", key)
        return None if row is None else self._decode(row[0])

    def put(self, key: str, value: T, *, owner: str | None = None) -> None:
        """Write a document, in place of the one of that key if there is one."""
        self._db.execute(
            "INSERT INTO documents (kind, key, owner, document) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (kind, key) DO UPDATE SET document = excluded.document",
            (self._kind, key, owner, _encode(value)),
        )

    def add(self, key: str, value: T, *, owner: str | None = None) -> bool:
        """Write a new document; False, and nothing written, when the key is taken."""
        done = self._db.execute(
            "INSERT OR IGNORE INTO documents (kind, key, owner, document) VALUES (?, ?, ?, ?)",
            (self._kind, key, owner, _encode(value)),
        )
        return done.rowcount == 1

    def delete(self, key: str) -> bool:
        """Remove a document; False when there is none."""
        done = self._db.execute(
            "DELETE FROM documents WHERE kind = ? AND key = ?", (self._kind, key)
        )
        return done.rowcount == 1

    def all(self) -> list[T]:
        """Return every document, oldest first."""
        return [value for _, value in self.items()]

    def items(self) -> Iterator[tuple[str, T]]:
        """Yield keys and documents, oldest first; as they were when the first is asked for."""
        rows = self._db.execute(
            "SELECT key, document FROM documents WHERE kind = ? ORDER BY number", (self._kind,)
        ).fetchall()
        for key, document in rows:
            yield key, self._decode(document)

    def count(self, *, owner: str | None = None) -> int:
        """Return how many there are, or how many of an owner's."""
        row: Any = self._db.execute(
            "SELECT COUNT(*) FROM documents WHERE kind = :kind "
            "AND (:owner IS NULL OR owner = :owner)",
            {"kind": self._kind, "owner": owner},
        ).fetchone()
        return int(row[0])

    def owned(self, owner: str, limit: int = -1, *, newest_first: bool = True) -> list[T]:
        """Return an owner's documents; a negative limit is none."""
        order = "DESC" if newest_first else "ASC"
        return self._some(f"AND owner = ? ORDER BY number {order} LIMIT ?", owner, limit)

    def page(self, offset: int, limit: int, *, newest_first: bool = True) -> list[T]:
        """Return some of the documents."""
        order = "DESC" if newest_first else "ASC"
        return self._some(f"ORDER BY number {order} LIMIT ? OFFSET ?", limit, offset)

    def keep(self, newest: int) -> None:
        """Remove all but the newest."""
        self._db.execute(
            "DELETE FROM documents WHERE kind = ? AND number <= COALESCE((SELECT number FROM "
            "documents WHERE kind = ? ORDER BY number DESC LIMIT 1 OFFSET ?), -1)",
            (self._kind, self._kind, newest),
        )

    def _some(self, rest: str, *values: object) -> list[T]:
        rows = self._db.execute(
            f"SELECT document FROM documents WHERE kind = ? {rest}",  # nosec B608 # written above
            (self._kind, *values),
        ).fetchall()
        return [self._decode(document) for (document,) in rows]

    def _one(self, statement: str, key: str) -> Any:
        return self._db.execute(statement, (self._kind, key)).fetchone()
