"""The audit log: hash-chained, authenticated by a key the database does not hold.

Each entry's HMAC covers its fields and the HMAC before it; a head record, authenticated
too, says how many entries there are, so that a shortened log is noticed. What it cannot
notice by itself is a whole older copy of the database. Nothing recorded here is secret.
Neighbour: `store` writes what this prepares, in one transaction with what it describes.
"""

from __future__ import annotations

import contextlib
import hmac
import sqlite3
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from .._decoders import decode_as
from .clock import iso
from .faults import invalid

__all__ = ["Audit", "Entry", "Event", "Head", "Query", "Verdict", "read", "resume", "verify"]

_GENESIS = bytes(32)
_encode = msgspec.json.Encoder().encode

Row = tuple[int, float, str, str, str, str, str, int, str, str, bytes, bytes]
"""id, time, event, agent, action, resource, policy, allowed, reason, metadata, prev, mac."""


class Head(msgspec.Struct, frozen=True, array_like=True):
    """The authenticated end of the chain."""

    count: int
    last: bytes
    mac: bytes


class Event(msgspec.Struct, frozen=True, gc=False):
    """One thing that happened, before it has a place in the chain."""

    kind: str
    action: str
    agent: str = ""
    resource: str = ""
    policy: str = ""
    allowed: bool = True
    reason: str = ""
    metadata: dict[str, object] | None = None


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One entry as it is shown: both documented spellings of the outcome."""

    id: int
    timestamp: str
    event_type: str
    agent_name: str
    action: str
    resource: str
    policy_name: str
    allowed: bool
    result: str
    reason: str
    metadata: dict[str, Any]
    hmac: str
    entry_hash: str
    prev_hash: str


class Verdict(msgspec.Struct, frozen=True, omit_defaults=True):
    """What `verify` found; `break_at_entry` is the first entry that does not fit."""

    valid: bool
    entries: int
    break_at_entry: int | None = None
    reason: str | None = None


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries to show; the newest `limit` of those that match, oldest first."""

    limit: int = 100
    agent: str | None = None
    resource: str | None = None
    action: str | None = None
    denied: bool | None = None
    since: float | None = None


class Audit:
    """The end of the chain, in memory: turns events into rows."""

    def __init__(self, key: bytes, head: Head | None) -> None:
        self._key = key
        self.count = head.count if head else 0
        self._last = head.last if head else _GENESIS
        self._pending: list[Row] = []

    def add(self, event: Event, wall: float) -> None:
        """Append an event; it is on record once `take` has been committed."""
        number = self.count + 1
        metadata = "" if event.metadata is None else _encode(event.metadata).decode()
        fields = (
            number,
            wall,
            event.kind,
            event.agent,
            event.action,
            event.resource,
            event.policy,
            1 if event.allowed else 0,
            event.reason,
            metadata,
        )
        mac = hmac.digest(self._key, self._last + _encode(fields), "sha256")
        self._pending.append((*fields, self._last, mac))
        self.count = number
        self._last = mac

    @property
    def waiting(self) -> bool:
        return bool(self._pending)

    def take(self) -> list[Row]:
        """Hand over the rows not yet stored."""
        rows = self._pending
        self._pending = []
        return rows

    def head(self) -> Head:
        return Head(self.count, self._last, _head_mac(self._key, self.count, self._last))


def resume(connection: sqlite3.Connection, key: bytes, head: Head | None) -> Audit:
    """Continue the chain where its head says it ended, so that a gap stays a gap."""
    if head is not None and hmac.compare_digest(head.mac, _head_mac(key, head.count, head.last)):
        audit = Audit(key, head)
    else:
        audit = Audit(key, None)
    row: Any = connection.execute("SELECT MAX(id) FROM audit").fetchone()
    last: int = row[0] or 0
    if last > audit.count:
        # Rows beyond an authenticated end, or without one: leave a number out, so that no
        # later check can find the chain whole.
        audit.count = last + 1
    return audit


def _head_mac(key: bytes, count: int, last: bytes) -> bytes:
    return hmac.digest(key, b"head" + count.to_bytes(8, "big") + last, "sha256")


def _reader(database: Path) -> sqlite3.Connection:
    # A connection of its own: reading a long log must not hold up the writer's thread.
    return sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)


def verify(database: Path, key: bytes, expected: Head) -> Verdict:
    """Check every entry, and that the log ends where `expected`, from memory, says.

    Opens the database itself: call it from a thread of its own.
    """
    with contextlib.closing(_reader(database)) as reader:
        # Later rows may be on their way in while this reads; they are the next check's.
        rows = reader.execute(
            "SELECT id, time, event, agent, action, resource, policy, allowed, reason, "
            "metadata, prev, mac FROM audit WHERE id <= ? ORDER BY id",
            (expected.count,),
        )
        verdict = _check(rows, key, expected)
        if verdict.valid:
            stored = reader.execute("SELECT value FROM meta WHERE name = 'audit_head'").fetchone()
            verdict = _check_stored(stored, key, verdict)
        return verdict


def _check(rows: Iterable[Any], key: bytes, expected: Head) -> Verdict:
    last = _GENESIS
    seen = 0
    for row in rows:
        fields, prev, mac = row[:10], row[10], row[11]
        if row[0] != seen + 1:
            return Verdict(False, seen, seen + 1, "an entry is missing")
        if prev != last:
            return Verdict(False, seen, seen + 1, "the entry does not follow the one before it")
        if not isinstance(mac, bytes) or not hmac.compare_digest(
            mac, hmac.digest(key, last + _encode_row(fields), "sha256")
        ):
            return Verdict(False, seen, seen + 1, "the entry was altered")
        last = mac
        seen += 1
    if seen != expected.count:
        return Verdict(False, seen, seen + 1, "the log was cut short")
    if last != expected.last:
        return Verdict(False, seen, seen, "the log does not end as this server left it")
    return Verdict(True, seen)


def _check_stored(stored: Any, key: bytes, verdict: Verdict) -> Verdict:
    head = read_head(stored[0] if stored else None)
    if head is None or not hmac.compare_digest(head.mac, _head_mac(key, head.count, head.last)):
        return Verdict(False, verdict.entries, verdict.entries, "the head record was altered")
    if head.count < verdict.entries:
        return Verdict(False, verdict.entries, head.count + 1, "the head record is an older one")
    return verdict


def check_start(connection: sqlite3.Connection, key: bytes, head: Head | None) -> str | None:
    """Return what is wrong with the log's end as found at start, or None.

    The whole chain is left to `verify`; this only decides whether to build on it.
    """
    row: Any = connection.execute("SELECT id, mac FROM audit ORDER BY id DESC LIMIT 1").fetchone()
    if head is None:
        return None if row is None else "its head record is missing"
    if not hmac.compare_digest(head.mac, _head_mac(key, head.count, head.last)):
        return "its head record was altered"
    if (row is None and head.count) or (row is not None and row != (head.count, head.last)):
        return "it does not end where its head record says"
    return None


def _encode_row(fields: Any) -> bytes:
    try:
        return _encode(fields)
    except (TypeError, ValueError):
        return b""  # a column of another type than we ever write


def read_head(value: Any) -> Head | None:
    """Decode a stored head; None when there is none or it is not one."""
    if not isinstance(value, bytes):
        return None
    try:
        return decode_as(value, Head)
    except msgspec.DecodeError:
        return None


def read_since(value: str | float | None) -> float | None:
    """Read a moment given as Unix seconds or ISO-8601 text, UTC unless it says otherwise."""
    if value is None or isinstance(value, (int, float)):
        return value
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise invalid("since is not a time like 2031-05-06T07:08:09Z") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def read(database: Path, query: Query) -> list[Entry]:
    """Return matching entries; opens the database itself, like `verify`."""
    clauses = ["1"]
    values: list[object] = []
    for column, value in (
        ("agent = ?", query.agent),
        ("resource = ?", query.resource),
        ("action = ?", query.action),
        ("allowed = ?", None if query.denied is None else int(not query.denied)),
        ("time >= ?", query.since),
    ):
        if value is not None:
            clauses.append(column)
            values.append(value)
    which = f"{' AND '.join(clauses)} ORDER BY id DESC LIMIT ?"
    with contextlib.closing(_reader(database)) as reader:
        rows = reader.execute(
            "SELECT id, time, event, agent, action, resource, policy, allowed, reason, metadata, "
            f"prev, mac FROM audit WHERE {which}",  # nosec B608 # the clauses above
            (*values, max(0, min(query.limit, 10_000))),
        ).fetchall()
    return [_shown(row) for row in reversed(rows)]


def _shown(row: Row) -> Entry:
    number, wall, event, agent, action, resource, policy, allowed, reason, metadata, prev, mac = row
    return Entry(
        id=number,
        timestamp=iso(wall),
        event_type=str(event),
        agent_name=str(agent),
        action=str(action),
        resource=str(resource),
        policy_name=str(policy),
        allowed=bool(allowed),
        result="allowed" if allowed else "denied",
        reason=str(reason),
        metadata=_metadata(metadata),
        hmac=_hex(mac),
        entry_hash=_hex(mac),
        prev_hash=_hex(prev),
    )


# An entry that was tampered with is still shown; `verify` is what says that it was.


def _metadata(text: object) -> dict[str, Any]:
    try:
        return decode_as(str(text or "{}"), dict[str, Any])
    except msgspec.DecodeError:
        return {}


def _hex(mac: object) -> str:
    return mac.hex() if isinstance(mac, bytes) else ""
