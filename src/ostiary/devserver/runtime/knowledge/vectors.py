"""The vector store: items, their passages and vectors, in a SQLite file of its own.

The file is opened through apsw, which can load sqlite-vec, and through nothing else. Every
search compares with every vector that fits the filter: exact, and about 10 ms for 10,000.
Calls block; `library` makes them on a thread of their own.
"""

from __future__ import annotations

import importlib.util
import math
import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final, final

import msgspec

from ...database import PRAGMAS
from ...faults import DevserverError
from ...home import create_private
from .filters import Filter

__all__ = ["Hit", "Item", "Passage", "Vectors", "missing"]

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS items (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, content TEXT NOT NULL,
    embedding BLOB, metadata TEXT NOT NULL, source TEXT NOT NULL, source_type TEXT NOT NULL,
    agent_id TEXT, timestamp TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS items_by_source ON items (source);
CREATE TABLE IF NOT EXISTS passages (
    number INTEGER PRIMARY KEY, item INTEGER NOT NULL, start INTEGER NOT NULL,
    stop INTEGER NOT NULL, embedding TEXT NOT NULL, vector BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS passages_by_item ON passages (item);
CREATE INDEX IF NOT EXISTS passages_by_embedding ON passages (embedding);
"""
_VERSION: Final = 1
# Distances are 32-bit floats: what is equal to the threshold may come out a hair below it.
_HAIR: Final = 1e-6
_DIGITS: Final = 6


class Item(msgspec.Struct, kw_only=True):
    """One item; `embedding` only if somebody supplied it, `metadata` with its unknown members."""

    id: str
    content: str
    metadata: dict[str, Any]
    embedding: list[float] | None = None


class Passage(msgspec.Struct, frozen=True):
    """A part of an item's content, and its vector."""

    start: int
    stop: int
    vector: Sequence[float]


class Hit(msgspec.Struct, frozen=True):
    """An item that was found, by its best passage; `similarity` is the cosine."""

    item: Item
    similarity: float
    start: int
    stop: int


def missing() -> list[str]:
    """Return the packages that a store needs and that are not installed."""
    return [name for name in ("apsw", "sqlite_vec") if importlib.util.find_spec(name) is None]


@final
class Vectors:
    """One open store; used by one thread at a time."""

    def __init__(self, path: Path) -> None:
        import apsw

        self.path = path
        create_private(path, b"")
        if os.stat(path).st_mode & 0o077:
            raise DevserverError(f"{path} is readable by others; run `chmod 600 {path}`")
        try:
            # Its bindings are typed by a class that numpy would bring.
            self._db: Any = apsw.Connection(str(path))
            try:
                self._prepare()
            except BaseException:
                self._db.close()
                raise
        except apsw.Error as error:
            raise DevserverError(
                f"cannot open {path} as a store of knowledge: {error}; move it away"
            ) from None
        self.count = 0
        self._counted()

    def _prepare(self) -> None:
        db = self._db
        db.enable_load_extension(True)
        db.load_extension(import_module("sqlite_vec").loadable_path())
        db.enable_load_extension(False)
        for pragma in PRAGMAS:
            db.execute(f"PRAGMA {pragma}")
        (version,) = self._row("PRAGMA user_version")
        if version > _VERSION:
            raise DevserverError(f"{self.path} was made by a newer version; upgrade to open it")
        db.execute(_SCHEMA)
        db.execute(f"PRAGMA user_version={_VERSION}")

    def close(self) -> None:
        """Fold the log into the file and close it; safe to repeat."""
        import apsw

        try:
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except apsw.Error:
            pass
        self._db.close()

    # -- changes --------------------------------------------------------------

    def put(
        self,
        items: Iterable[tuple[Item, Sequence[Passage]]],
        embedding: str,
        instead_of: Filter | None = None,
    ) -> None:
        """Write items with their passages, in place of those with the same ids: all or none.

        What fits `instead_of` is removed before.
        """
        with self._db:
            if instead_of is not None:
                self._remove(instead_of.sql, instead_of.values)
            for item, passages in items:
                self._remove("id = ?", (item.id,))
                metadata = item.metadata
                self._db.execute(
                    "INSERT INTO items (id, content, embedding, metadata, source, source_type, "
                    "agent_id, timestamp) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        item.id,
                        item.content,
                        None if item.embedding is None else msgspec.json.encode(item.embedding),
                        msgspec.json.encode(metadata).decode(),
                        metadata["source"],
                        metadata["source_type"],
                        metadata.get("agent_id"),
                        metadata["timestamp"],
                    ),
                )
                self._put_passages(self._db.last_insert_rowid(), passages, embedding)
        self._counted()

    def remove(self, item_id: str) -> bool:
        """Remove an item; False when there is none."""
        with self._db:
            gone = self._remove("id = ?", (item_id,))
        self._counted()
        return gone > 0

    def remove_all(self, only: Filter) -> int:
        """Remove what fits a filter; return how many."""
        with self._db:
            gone = self._remove(only.sql, only.values)
        self._counted()
        return gone

    def _remove(self, which: str, values: Sequence[Any]) -> int:
        rest = f"{which} RETURNING number"
        gone: list[tuple[int]] = self._db.execute(
            f"DELETE FROM items WHERE {rest}",  # nosec B608 # ours, or a Filter's
            tuple(values),
        ).fetchall()
        self._db.executemany("DELETE FROM passages WHERE item = ?", gone)
        return len(gone)

    def _put_passages(self, number: int, passages: Sequence[Passage], embedding: str) -> None:
        self._db.executemany(
            "INSERT INTO passages (item, start, stop, embedding, vector) VALUES (?, ?, ?, ?, ?)",
            [(number, one.start, one.stop, embedding, _packed(one.vector)) for one in passages],
        )

    def _counted(self) -> None:
        (self.count,) = self._row("SELECT COUNT(*) FROM items")

    # -- looking --------------------------------------------------------------

    def get(self, item_id: str) -> Item | None:
        """Return an item, or None."""
        return next(self._select("id = ?", (item_id,)), None)

    def page(self, only: Filter, offset: int, limit: int) -> tuple[list[Item], int]:
        """Return some of what fits, by id, and how many there are."""
        (total,) = self._row(
            f"SELECT COUNT(*) FROM items WHERE {only.sql}",  # nosec B608 # a Filter binds values
            only.values,
        )
        rest = f"{only.sql} ORDER BY id LIMIT ? OFFSET ?"
        return list(self._select(rest, (*only.values, limit, offset))), total

    def search(
        self, vector: Sequence[float], only: Filter, *, threshold: float, limit: int
    ) -> tuple[list[Hit], int]:
        """Return the nearest items and how many reach the threshold in all.

        The most similar first, those equally similar by id.
        """
        # From the items to their passages, so that vectors which do not fit are not compared.
        source = (
            "items AS i CROSS JOIN passages AS p ON p.item = i.number "
            f"WHERE distance <= ? AND {only.sql}"
            if only
            else "passages WHERE distance <= ?"
        )
        best: dict[int, tuple[float, int, int]] = {}
        rows = self._db.execute(
            f"SELECT item, start, stop, vec_distance_cosine(vector, ?) AS distance FROM {source}",  # nosec B608 # one of the two above
            (_packed(vector), 1.0 - threshold + _HAIR, *only.values),
        )
        for number, start, stop, distance in rows:
            known = best.get(number)
            if known is None or distance < known[0]:
                best[number] = (distance, start, stop)
        if len(best) > limit:
            # One more than wanted decides; ties with the last are told apart by their ids.
            cut = sorted(round(one[0], _DIGITS) for one in best.values())[limit - 1]
            nearest = {number: one for number, one in best.items() if round(one[0], _DIGITS) <= cut}
        else:
            nearest = best
        found = [
            Hit(item, round(1.0 - nearest[number][0], _DIGITS), *nearest[number][1:])
            for number in nearest
            for item in self._select("number = ?", (number,))
        ]
        found.sort(key=lambda hit: (-hit.similarity, hit.item.id))
        return found[:limit], len(best)

    def dimensions(self, embedding: str) -> int | None:
        """Return how long the vectors of an embedding are; None while there are none."""
        row = self._row(
            "SELECT length(vector) / 4 FROM passages WHERE embedding = ? LIMIT 1", (embedding,)
        )
        return None if row is None else row[0]

    def stale(self, embedding: str, limit: int) -> list[Item]:
        """Return items with vectors of another embedding."""
        other = "number IN (SELECT item FROM passages WHERE embedding <> ? LIMIT ?)"
        return list(self._select(other, (embedding, limit)))

    def _select(self, which: str, values: Sequence[Any]) -> Iterator[Item]:
        rows = self._db.execute(
            f"SELECT id, content, metadata, embedding FROM items WHERE {which}",  # nosec B608 # as above
            tuple(values),
        )
        return map(_item, rows)

    def _row(self, statement: str, values: Sequence[Any] = ()) -> Any:
        return self._db.execute(statement, tuple(values)).fetchone()


def _item(row: Any) -> Item:
    item_id, content, metadata, embedding = row
    return Item(
        id=item_id,
        content=content,
        metadata=msgspec.json.decode(metadata),
        embedding=None if embedding is None else msgspec.json.decode(embedding),
    )


def _packed(vector: Sequence[float]) -> bytes:
    # To length one: what fits into 64 bits may be too long for the 32 that are compared.
    length = math.hypot(*vector)
    return struct.pack(f"<{len(vector)}f", *(value / length for value in vector))
