"""The audit log: what it holds, and that it cannot be changed unnoticed."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from ostiary.devserver import RunningVault, running
from ostiary.devserver.audit import Verdict
from ostiary.vault import VaultError
from tests.devserver.conftest import Connect
from tests.devserver.wire import Refused

Edit = Callable[[sqlite3.Connection], object]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home whose vault ran, recorded some twenty things, and stopped."""
    home = tmp_path / "home"
    with running(home) as vault:
        for number in range(15):
            vault.put(f"a/{number}", "x")
        assert vault.admin.audit_verify().valid
    return home


def edited(home: Path, edit: Edit) -> None:
    with closing(sqlite3.connect(home / "vault.db")) as database, database:
        edit(database)


def verdict(home: Path) -> Verdict:
    with running(home) as vault:
        return vault.admin.audit_verify()


def test_whole(home: Path) -> None:
    for _ in range(3):
        found = verdict(home)
        assert found.valid
        assert found.break_at_entry is None
    assert found.entries >= 15


EDITS: dict[str, tuple[Edit, int | None]] = {
    "a field": (lambda db: db.execute("UPDATE audit SET resource='b' WHERE id=7"), 7),
    "the verdict": (lambda db: db.execute("UPDATE audit SET allowed=0 WHERE id=7"), 7),
    "the time": (lambda db: db.execute("UPDATE audit SET time=time+1 WHERE id=7"), 7),
    "the hash": (lambda db: db.execute("UPDATE audit SET mac=zeroblob(32) WHERE id=7"), 7),
    "the hash's type": (lambda db: db.execute("UPDATE audit SET mac='x' WHERE id=7"), 7),
    "the link": (lambda db: db.execute("UPDATE audit SET prev=zeroblob(32) WHERE id=7"), 7),
    "another type": (lambda db: db.execute("UPDATE audit SET agent=x'ff' WHERE id=7"), 7),
    "the metadata": (lambda db: db.execute("UPDATE audit SET metadata='{}' WHERE id=7"), 7),
    "first removed": (lambda db: db.execute("DELETE FROM audit WHERE id=1"), 1),
    "one removed": (lambda db: db.execute("DELETE FROM audit WHERE id=7"), 7),
    "one removed, renumbered": (
        lambda db: db.executescript(
            "DELETE FROM audit WHERE id=7; UPDATE audit SET id=id-1 WHERE id>7;"
        ),
        7,
    ),
    "two exchanged": (
        lambda db: db.executescript(
            "UPDATE audit SET id=-1 WHERE id=7; UPDATE audit SET id=7 WHERE id=8;"
            "UPDATE audit SET id=8 WHERE id=-1;"
        ),
        7,
    ),
    "last removed": (
        lambda db: db.execute("DELETE FROM audit WHERE id=(SELECT max(id) FROM audit)"),
        None,
    ),
    "tail removed": (lambda db: db.execute("DELETE FROM audit WHERE id>10"), 11),
    "all removed": (lambda db: db.execute("DELETE FROM audit"), 1),
    "one inserted": (
        lambda db: db.execute(
            "INSERT INTO audit SELECT id+1,time,event,agent,action,resource,policy,allowed,"
            "reason,metadata,mac,mac FROM audit ORDER BY id DESC LIMIT 1"
        ),
        None,
    ),
    "the head removed": (lambda db: db.execute("DELETE FROM meta WHERE name='audit_head'"), None),
    "the head replaced": (
        lambda db: db.execute("UPDATE meta SET value=x'00' WHERE name='audit_head'"),
        None,
    ),
}


@pytest.mark.parametrize("what", EDITS)
def test_tampering_between_runs(home: Path, what: str) -> None:
    edit, place = EDITS[what]
    edited(home, edit)
    found = verdict(home)
    assert not found.valid
    if place is not None:
        assert found.break_at_entry == place
    # Nor does the next run, which writes a new end, cover it up.
    assert not verdict(home).valid


def test_an_older_head_with_its_older_tail(home: Path) -> None:
    # The end of the log and its head, both put back: nothing in the file can tell. The
    # running server can.
    with running(home) as vault:
        with closing(sqlite3.connect(home / "vault.db")) as database:
            (head,) = database.execute("SELECT value FROM meta WHERE name='audit_head'").fetchone()
            (last,) = database.execute("SELECT max(id) FROM audit").fetchone()
            vault.put("b/1", "x")
            with database:
                database.execute("DELETE FROM audit WHERE id>?", (last,))
                database.execute("UPDATE meta SET value=? WHERE name='audit_head'", (head,))
        assert vault.admin.audit_verify().break_at_entry == last + 1


@pytest.fixture
def busy(vault: RunningVault, connect: Connect) -> RunningVault:
    one, guest = connect("demo"), connect("guest")
    one.release(one.retrieve("maps/token")["lease_id"])
    one.use("hook/key", "sign", data="x")
    one.list()
    with pytest.raises(Refused):
        guest.retrieve("maps/token")
    with pytest.raises(Refused):
        connect().call("auth.verify", agent="demo", signature="00" * 64)
    return vault


def test_what_is_recorded(busy: RunningVault) -> None:
    entries = busy.admin.audit(limit=1000)
    assert [entry.id for entry in entries] == list(range(1, len(entries) + 1))
    seen = [(e.event_type, e.agent_name, e.resource, e.result) for e in entries]
    for expected in (
        ("vault.init", "", "", "allowed"),
        ("vault.start", "", "", "allowed"),
        ("credential.store", "", "maps/token", "allowed"),
        ("agent.register", "demo", "", "allowed"),
        ("policy.create", "", "", "allowed"),
        ("agent.authenticate", "demo", "", "allowed"),
        ("credential.retrieve", "demo", "maps/token", "allowed"),
        ("lease.release", "demo", "maps/token", "allowed"),
        ("credential.use", "demo", "hook/key", "allowed"),
        ("credential.list", "demo", "", "allowed"),
        ("policy.deny", "guest", "maps/token", "denied"),
    ):
        assert expected in seen, expected
    for before, after in itertools.pairwise(entries):
        assert after.prev_hash == before.entry_hash
    (used,) = (entry for entry in entries if entry.event_type == "credential.use")
    assert used.metadata == {"operation": "sign"}
    assert used.policy_name == "agent-demo"
    assert busy.admin.audit_verify().entries == len(entries)


def test_queries(busy: RunningVault) -> None:
    admin = busy.admin
    assert {entry.agent_name for entry in admin.audit(agent="guest")} == {"guest"}
    assert {entry.action for entry in admin.audit(action="store")} == {"store"}
    assert {entry.result for entry in admin.audit(denied=True)} == {"denied"}
    assert len(admin.audit(limit=3)) == 3
    assert admin.audit(limit=3)[-1].id == admin.audit(limit=1)[0].id
    both = admin.audit(agent="demo", resource="maps/token")
    assert [entry.event_type for entry in both] == ["credential.retrieve", "lease.release"]
    assert admin.audit(since="2030-03-17T17:46:41Z") == []
    assert admin.audit(since=1_900_000_000.0) == admin.audit(since="2030-03-17T17:46:40")
    with pytest.raises(VaultError) as caught:
        admin.audit(since="yesterday")
    assert caught.value.code == "INVALID_REQUEST"


def test_a_failed_login_is_recorded(vault: RunningVault, connect: Connect) -> None:
    one = connect()
    step = one.call("authenticate", agent_name="demo")
    with pytest.raises(Refused):
        one.call("challenge_response", session_id=step["session_id"], signature="00" * 64)
    (entry,) = vault.admin.audit(action="authenticate", denied=True)
    assert (entry.agent_name, entry.allowed) == ("demo", False)


def test_reading_a_log_that_was_tampered_with(home: Path) -> None:
    edited(home, lambda db: db.execute("UPDATE audit SET metadata='{', mac='text' WHERE id=5"))
    with running(home) as vault:
        shown = vault.admin.audit(limit=1000)
        assert [entry.id for entry in shown] == list(range(1, len(shown) + 1))
        assert not vault.admin.audit_verify().valid
