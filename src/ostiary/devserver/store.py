"""The record: one SQLite file in WAL mode, one connection, one thread.

Reads happen once, at start; after that memory is the index and this is where it is kept.
Nothing is answered before `commit`. Secrets arrive here sealed. Neighbours: `seal`, `audit`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from .._decoders import decode_as, decoder_of
from .audit import Head, Row, read_head
from .database import open_database
from .faults import DevserverError
from .policy import Policy
from .seal import Wrapping

__all__ = ["Agent", "Credential", "Store"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS credentials (
    path TEXT PRIMARY KEY, sealed BLOB NOT NULL, about BLOB NOT NULL,
    access_count INTEGER NOT NULL DEFAULT 0, last_accessed_by TEXT, last_accessed_at REAL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS agents (name TEXT PRIMARY KEY, about BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS policies (name TEXT PRIMARY KEY, about BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS audit (
    id INTEGER PRIMARY KEY, time REAL NOT NULL, event TEXT NOT NULL, agent TEXT NOT NULL,
    action TEXT NOT NULL, resource TEXT NOT NULL, policy TEXT NOT NULL, allowed INTEGER NOT NULL,
    reason TEXT NOT NULL, metadata TEXT NOT NULL, prev BLOB NOT NULL, mac BLOB NOT NULL
);
"""
_encode = msgspec.json.Encoder().encode


class About(msgspec.Struct, kw_only=True):
    """What is known of a credential besides its value; kept as JSON beside it."""

    type: str = "api_key"
    description: str | None = None
    tags: list[str] = []
    metadata: dict[str, Any] = {}
    created_at: float = 0.0
    updated_at: float = 0.0
    rotated_at: float | None = None


class Credential(msgspec.Struct):
    """One credential in memory: its value only as ciphertext."""

    path: str
    sealed: bytes
    about: About
    access_count: int = 0
    last_accessed_by: str | None = None
    last_accessed_at: float | None = None


class Agent(msgspec.Struct, frozen=True, kw_only=True):
    """One registered agent."""

    name: str
    public_key: bytes
    description: str | None = None
    created_at: float = 0.0


_about = decoder_of(About).decode
_agent = decoder_of(Agent).decode
_policy = decoder_of(Policy).decode


class Store:
    """Open, read everything, then write in batches.

    Writes collect in a transaction that begins with the first one; `commit` ends it. With
    `durable` it also waits for the disk: credentials and agents survive a power cut, the
    last audit entries and counters survive the death of this process.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._db = open_database(
            path,
            "a vault",
            _SCHEMA,
            # What is removed is overwritten, not just unlinked.
            pragmas=("foreign_keys=ON", "secure_delete=ON"),
        )
        self._open = False
        self._dirty = False

    # -- reading, once ------------------------------------------------------

    def wrapping(self) -> Wrapping | None:
        row: Any = self._db.execute("SELECT value FROM meta WHERE name = 'wrapping'").fetchone()
        if row is None:
            return None
        try:
            return decode_as(row[0], Wrapping)
        except msgspec.DecodeError:
            raise DevserverError(f"{self.path} is damaged; restore it from a backup") from None

    def head(self) -> Head | None:
        row: Any = self._db.execute("SELECT value FROM meta WHERE name = 'audit_head'").fetchone()
        return read_head(row[0]) if row else None

    def credentials(self) -> list[Credential]:
        rows: list[Any] = self._db.execute(
            "SELECT path, sealed, about, access_count, last_accessed_by, last_accessed_at "
            "FROM credentials ORDER BY path"
        ).fetchall()
        return [Credential(row[0], row[1], _about(row[2]), *row[3:]) for row in rows]

    def agents(self) -> list[Agent]:
        rows: list[Any] = self._db.execute("SELECT about FROM agents ORDER BY name").fetchall()
        return [_agent(row[0]) for row in rows]

    def policies(self) -> list[Policy]:
        rows: list[Any] = self._db.execute("SELECT about FROM policies ORDER BY name").fetchall()
        return [_policy(row[0]) for row in rows]

    @property
    def connection(self) -> sqlite3.Connection:
        return self._db

    # -- writing ------------------------------------------------------------

    def _write(self, statement: str, values: Sequence[object] = ()) -> None:
        self._begin()
        self._db.execute(statement, tuple(values))

    def _begin(self) -> None:
        if not self._open:
            self._db.execute("BEGIN IMMEDIATE")
            self._open = True

    def set_wrapping(self, wrapping: Wrapping) -> None:
        self._meta("wrapping", _encode(wrapping))

    def _meta(self, name: str, value: bytes) -> None:
        self._write("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))

    def put_credential(self, credential: Credential) -> None:
        self._write(
            "INSERT OR REPLACE INTO credentials VALUES (?, ?, ?, ?, ?, ?)",
            (
                credential.path,
                credential.sealed,
                _encode(credential.about),
                credential.access_count,
                credential.last_accessed_by,
                credential.last_accessed_at,
            ),
        )
        self._dirty = True

    def remove_credential(self, path: str) -> None:
        self._write("DELETE FROM credentials WHERE path = ?", (path,))
        self._dirty = True

    def put_agent(self, agent: Agent) -> None:
        self._write("INSERT OR REPLACE INTO agents VALUES (?, ?)", (agent.name, _encode(agent)))
        self._dirty = True

    def remove_agent(self, name: str) -> None:
        self._write("DELETE FROM agents WHERE name = ?", (name,))
        self._dirty = True

    def put_policy(self, policy: Policy) -> None:
        self._write("INSERT OR REPLACE INTO policies VALUES (?, ?)", (policy.name, _encode(policy)))
        self._dirty = True

    def remove_policy(self, name: str) -> None:
        self._write("DELETE FROM policies WHERE name = ?", (name,))
        self._dirty = True

    def touch(self, credentials: Sequence[Credential]) -> None:
        """Record access counts."""
        self._begin()
        self._db.executemany(
            "UPDATE credentials SET access_count = ?, last_accessed_by = ?, last_accessed_at = ? "
            "WHERE path = ?",
            [(c.access_count, c.last_accessed_by, c.last_accessed_at, c.path) for c in credentials],
        )

    def log(self, rows: list[Row], head: Head) -> None:
        """Record audit entries and the end they lead to."""
        self._begin()
        self._db.executemany("INSERT INTO audit VALUES (?,?,?,?,?,?,?,?,?,?,?,?)", rows)
        self._meta("audit_head", _encode(head))

    def commit(self) -> None:
        if not self._open:
            return
        durable = self._dirty
        self._db.execute("COMMIT")
        self._open = self._dirty = False
        if durable:
            # In WAL mode at NORMAL a commit reaches the system, not the disk. A passive
            # checkpoint syncs the log first; rare enough to pay on every administration.
            self._db.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def close(self) -> None:
        """Commit, fold the log into the database, and close."""
        try:
            self.commit()
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            self._db.close()

    def abandon(self) -> None:
        """Close without committing, after a failure."""
        self._db.close()
