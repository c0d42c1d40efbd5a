"""Events, metrics and spans on file: each once by its id, the newest kept, found by filters.

What arrived in one turn of the loop is one transaction; `add` returns when it is on file.
Neighbours: `observability` has the paths, `observer` writes what the engine does.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, final

import msgspec

from ...workflow.models import Metric, Span, TelemetryEvent, wire
from ..clock import Clock
from ..database import open_database
from ..http.refusals import HttpRefusal
from .reading import seconds, zulu

__all__ = ["Kept", "Line", "Telemetry", "Tracked"]

_log = logging.getLogger(__name__)

Kind = Literal["events", "metrics", "spans"]
Tracked = TelemetryEvent | Metric | Span

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS events (
    number INTEGER PRIMARY KEY, id TEXT UNIQUE, at REAL NOT NULL, received REAL NOT NULL,
    type TEXT NOT NULL, workflow_id TEXT, task_id TEXT, correlation_id TEXT, tags TEXT,
    item BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS events_by_time ON events (at, number);
CREATE INDEX IF NOT EXISTS events_by_workflow ON events (workflow_id, at, number);
CREATE TABLE IF NOT EXISTS metrics (
    number INTEGER PRIMARY KEY, id TEXT UNIQUE, at REAL NOT NULL, received REAL NOT NULL,
    name TEXT NOT NULL, tags TEXT, item BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS metrics_by_time ON metrics (at, number);
CREATE INDEX IF NOT EXISTS metrics_by_name ON metrics (name, at, number);
CREATE TABLE IF NOT EXISTS spans (
    number INTEGER PRIMARY KEY, trace_id TEXT NOT NULL, id TEXT NOT NULL, at REAL NOT NULL,
    received REAL NOT NULL, parent TEXT, item BLOB NOT NULL, UNIQUE (trace_id, id)
);
CREATE INDEX IF NOT EXISTS spans_by_trace ON spans (trace_id, at, number);
"""
_KINDS: Final[tuple[Kind, ...]] = ("events", "metrics", "spans")
_PRUNE_EVERY: Final = 1_000

_INSERT: Final[Mapping[str, str]] = {
    "events": "INSERT OR IGNORE INTO events (id, at, received, type, workflow_id, task_id, "
    "correlation_id, tags, item) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    "metrics": "INSERT OR IGNORE INTO metrics (id, at, received, name, tags, item) "
    "VALUES (?, ?, ?, ?, ?, ?)",
    # A span is told of when it begins and again when it has ended.
    "spans": "INSERT INTO spans (trace_id, id, at, received, parent, item) "
    "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (trace_id, id) DO UPDATE SET "
    "at = excluded.at, parent = excluded.parent, item = excluded.item "
    "WHERE item <> excluded.item",
}

_encode = msgspec.json.Encoder().encode


class Line(NamedTuple):
    """An item of our own, as it stands in its table; nobody has to check it again."""

    kind: Kind
    name: str
    row: tuple[object, ...]


class Kept(msgspec.Struct):
    """What became of items: new ones, and those that were on file already."""

    accepted: int = 0
    duplicates: int = 0


@final
class Telemetry:
    """One open file; one thread. `limit` is of each kind, `ttl` seconds since it arrived."""

    def __init__(self, path: Path, clock: Clock, *, limit: int, ttl: float) -> None:
        self.path = path
        self.counts: dict[str, int] = {}
        """New items since the start, by kind, and events by type: `events:step_end`."""
        self._clock = clock
        self._limit = limit
        self._ttl = ttl
        self._waiting: list[tuple[Sequence[Tracked], asyncio.Future[Kept]]] = []
        self._lines: list[Line] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._planned = False
        self._closed = False
        self._since_pruned = _PRUNE_EVERY
        self._db = open_database(path, "a record of telemetry", _SCHEMA)

    # -- writing ------------------------------------------------------------

    async def add(self, items: Sequence[Tracked]) -> Kept:
        """Keep items, and return once they are on file; 503 when they cannot be."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Kept] = loop.create_future()
        self._waiting.append((items, done))
        self._plan(loop)
        # A caller who goes away does not take others' items along.
        return await asyncio.shield(done)

    def tell(self, line: Line) -> None:
        """Have an item of our own kept with the next transaction; only on the loop's thread."""
        self._lines.append(line)
        self._plan(self._loop or asyncio.get_running_loop())

    def _plan(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        if not self._planned:
            self._planned = True
            loop.call_soon(self.flush)

    def flush(self) -> None:
        """Write what waits."""
        self._planned = False
        waiting, self._waiting = self._waiting, []
        lines, self._lines = self._lines, []
        if not (waiting or lines) or self._closed:
            return
        kept: list[Kept] = []
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                for items, _ in waiting:
                    kept.append(self._write(items))
                for line in lines:
                    self._db.execute(_INSERT[line.kind], line.row)
                self._prune(len(lines) + sum(len(items) for items, _ in waiting))
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            _log.error("telemetry could not be written to %s: %s", self.path, error)
            for _, done in waiting:
                if not done.done():
                    done.set_exception(
                        HttpRefusal(
                            503, "STORE_UNAVAILABLE", "telemetry cannot be written; send it again"
                        )
                    )
                    done.exception()  # who went away does not ask
            return
        for line in lines:
            self._count(line.kind, line.name)
        for (items, done), one in zip(waiting, kept, strict=True):
            for item in items:
                if isinstance(item, TelemetryEvent):
                    self._count("events", str(item.type) if item.type.is_known else "other")
                else:
                    self._count("metrics" if isinstance(item, Metric) else "spans")
            if not done.done():
                done.set_result(one)

    def _count(self, kind: Kind, name: str = "") -> None:
        self.counts[kind] = self.counts.get(kind, 0) + 1
        if kind == "events":
            key = f"events:{name}"
            self.counts[key] = self.counts.get(key, 0) + 1

    def _write(self, items: Sequence[Tracked]) -> Kept:
        kept = Kept()
        now = self._clock.wall()
        for item in items:
            if isinstance(item, TelemetryEvent):
                new = self._event(item, now)
            elif isinstance(item, Metric):
                new = self._metric(item, now)
            else:
                new = self._span(item, now)
            if new:
                kept.accepted += 1
            else:
                kept.duplicates += 1
        return kept

    def _event(self, event: TelemetryEvent, now: float) -> bool:
        said = {**wire(event), "timestamp": zulu(event.timestamp)}
        done = self._db.execute(
            _INSERT["events"],
            (
                event.id,
                seconds(event.timestamp) or 0.0,
                now,
                str(event.type),
                event.workflow_id,
                event.task_id,
                event.correlation_id,
                _text(event.tags),
                _encode(said),
            ),
        )
        return done.rowcount == 1

    def _metric(self, metric: Metric, now: float) -> bool:
        said = {**wire(metric), "timestamp": zulu(metric.timestamp)}
        done = self._db.execute(
            _INSERT["metrics"],
            (
                metric.id,
                seconds(metric.timestamp) or 0.0,
                now,
                metric.name,
                _text(metric.tags),
                _encode(said),
            ),
        )
        return done.rowcount == 1

    def _span(self, span: Span, now: float) -> bool:
        said = {**wire(span), "start_time": zulu(span.start_time)}
        if span.end_time is not None:
            said["end_time"] = zulu(span.end_time)
        item = _encode(said)
        done = self._db.execute(
            _INSERT["spans"],
            (span.trace_id, span.id, seconds(span.start_time) or 0.0, now, span.parent_id, item),
        )
        return done.rowcount == 1

    def _prune(self, count: int) -> None:
        """Remove what is too much or too old, now and then."""
        self._since_pruned += count
        if self._since_pruned < _PRUNE_EVERY:
            return
        self._since_pruned = 0
        late = self._clock.wall() - self._ttl
        for kind in _KINDS:
            self._db.execute(
                f"DELETE FROM {kind} WHERE number <= "  # nosec # one of _KINDS
                f"(SELECT MAX(number) FROM {kind}) - ?",
                (self._limit,),
            )
            while True:
                # Those that came first, up to the first that is young enough.
                done = self._db.execute(
                    f"DELETE FROM {kind} WHERE number IN "  # nosec # one of _KINDS
                    f"(SELECT number FROM {kind} "
                    "ORDER BY number LIMIT 1000) AND received < ?",
                    (late,),
                )
                if done.rowcount < 1000:
                    break

    # -- reading ------------------------------------------------------------

    def find(
        self,
        kind: Literal["events", "metrics"],
        equal: Mapping[str, str | None],
        *,
        since: float | None = None,
        until: float | None = None,
        tags: Mapping[str, str] | None = None,
        after: tuple[float, float] | None = None,
        limit: int,
    ) -> list[tuple[float, int, msgspec.Raw]]:
        """Return items that fit every filter, as (time, number, JSON), by time and arrival.

        `equal` are columns; `since` and `until` are Unix seconds and take their ends in; `after`
        is the time and number to continue behind.
        """
        wheres: list[str] = []
        values: list[Any] = []
        for name, value in equal.items():
            if value is not None:
                wheres.append(f"{name} = ?")
                values.append(value)
        for sign, moment in ((">=", since), ("<=", until)):
            if moment is not None:
                wheres.append(f"at {sign} ?")
                values.append(moment)
        for name, value in (tags or {}).items():
            wheres.append("EXISTS (SELECT 1 FROM json_each(tags) WHERE key = ? AND value = ?)")
            values += [name, value]
        if after is not None:
            wheres.append("(at, number) > (?, ?)")
            values += after
        where = f"WHERE {' AND '.join(wheres)} " if wheres else ""
        source = f"{kind} {where}ORDER BY at, number LIMIT ?"
        rows = self._db.execute(
            f"SELECT at, number, item FROM {source}",  # nosec B608 # our columns, values bound
            (*values, limit),
        ).fetchall()
        return [(at, number, msgspec.Raw(item)) for at, number, item in rows]

    def trace(self, trace_id: str) -> list[msgspec.Raw]:
        """Return the spans of a trace by when they began, parents first; empty for none."""
        rows = self._db.execute(
            "SELECT id, parent, at, item FROM spans WHERE trace_id = ? ORDER BY at, number",
            (trace_id,),
        ).fetchall()
        return [msgspec.Raw(item) for _, item in _parents_first(rows)]

    def of_type(self, kind: str, since: float | None) -> Iterator[dict[str, Any]]:
        """Yield the events of a type, oldest first."""
        rows = self._db.execute(
            "SELECT item FROM events WHERE type = ? AND at >= ? ORDER BY at, number",
            (kind, float("-inf") if since is None else since),
        )
        for (item,) in rows:
            yield msgspec.json.decode(item)

    def range(self, since: float | None) -> tuple[int, float | None, float | None]:
        """Return how many events there are, and when the first and last happened."""
        count, first, last = self._db.execute(
            "SELECT COUNT(*), MIN(at), MAX(at) FROM events WHERE at >= ?",
            (float("-inf") if since is None else since,),
        ).fetchone()
        return count, first, last

    def check(self) -> None:
        """Raise `sqlite3.Error` when the file cannot be used."""
        self._db.execute("SELECT 1 FROM events LIMIT 1").fetchone()

    def close(self) -> None:
        """Write what waits, and close the file; safe to repeat."""
        if self._closed:
            return
        self.flush()
        self._closed = True
        try:
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            _log.error("%s could not be written to the end: %s", self.path, error)
        finally:
            self._db.close()


def _text(tags: Mapping[str, str] | None) -> str | None:
    return _encode(tags).decode() if tags else None


def _parents_first(rows: list[tuple[str, str | None, float, bytes]]) -> Iterator[tuple[str, bytes]]:
    """Yield spans that began at the same time with parents before what they hold."""
    place = 0
    while place < len(rows):
        end = place
        while end < len(rows) and rows[end][2] == rows[place][2]:
            end += 1
        left = {id: (parent, item) for id, parent, _, item in rows[place:end]}
        for start in list(left):
            chain: list[str] = []
            one: str | None = start
            while one is not None and one in left and one not in chain:
                chain.append(one)
                one = left[one][0]
            for id in reversed(chain):
                yield id, left.pop(id)[1]
        place = end
