"""Leases: granted, counted, ended; by their agent, the clock, the connection or the owner."""

from __future__ import annotations

import time

import pytest

from ostiary.devserver import RunningVault, running
from ostiary.devserver.clock import Clock
from ostiary.vault import VaultError
from tests.devserver.conftest import Connect
from tests.devserver.wire import Hands, Refused, wire


def live(vault: RunningVault) -> list[str]:
    return [lease.path for lease in vault.admin.lease_list()]


def until(vault: RunningVault, paths: list[str]) -> None:
    """Wait for the server to have noticed; it is another thread."""
    for _ in range(500):
        if live(vault) == paths:
            return
        time.sleep(0.01)
    assert live(vault) == paths


@pytest.mark.parametrize(
    ("asked", "granted"), [({}, 300), ({"ttl": 0}, 300), ({"ttl": 20}, 20), ({"ttl": 99999}, 3600)]
)
def test_the_granted_time(connect: Connect, asked: dict[str, int], granted: int) -> None:
    assert connect("demo").retrieve("maps/token", **asked)["ttl"] == granted


def test_expiry(vault: RunningVault, connect: Connect, hands: Hands) -> None:
    one = connect("demo")
    short = one.retrieve("maps/token", ttl=10)["lease_id"]
    one.retrieve("hook/key", ttl=20)
    hands.forward(9.999)
    assert live(vault) == ["maps/token", "hook/key"]
    assert one.call("retrieve", lease_id=short)["value"] == "6869"
    hands.forward(0.001)
    assert live(vault) == ["hook/key"]
    with pytest.raises(Refused) as caught:
        one.call("retrieve", lease_id=short)
    assert caught.value.code == "LEASE_EXPIRED"
    assert one.release(short) == {}
    expired = vault.admin.audit(action="expire")
    assert [entry.resource for entry in expired] == ["maps/token"]


def test_the_wall_clock_does_not_decide(
    vault: RunningVault, connect: Connect, hands: Hands
) -> None:
    connect("demo").retrieve("maps/token", ttl=10)
    hands.wall += 10 * 365 * 86400
    assert live(vault) == ["maps/token"]


def test_the_real_clock_counts_suspended_time() -> None:
    expected = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    steady = Clock().steady
    before = time.clock_gettime(expected)
    assert before <= steady() <= time.clock_gettime(expected)


def test_release_is_idempotent(vault: RunningVault, connect: Connect) -> None:
    one = connect("demo")
    lease = one.retrieve("maps/token")["lease_id"]
    assert live(vault) == ["maps/token"]
    for _ in range(3):
        assert one.release(lease) == {}
        assert live(vault) == []
    assert one.release("L-never-was") == {}
    assert len(vault.admin.audit(action="release")) == 1


def test_nobody_releases_anothers_lease(vault: RunningVault, connect: Connect) -> None:
    mine, guest = connect("demo"), connect("guest")
    lease = mine.retrieve("guest/one")["lease_id"]
    with pytest.raises(Refused) as caught:
        guest.release(lease)
    assert caught.value.code == "ACCESS_DENIED"
    assert lease not in str(caught.value.body)
    assert live(vault) == ["guest/one"]
    with pytest.raises(Refused) as caught:
        guest.call("retrieve", lease_id=lease)
    assert caught.value.code == "LEASE_EXPIRED"
    assert guest.call("lease_status") == {"leases": []}
    assert len(mine.call("lease_status")["leases"]) == 1


def test_another_connection_of_the_agent_may_release(vault: RunningVault, connect: Connect) -> None:
    lease = connect("demo").retrieve("maps/token")["lease_id"]
    connect("demo").release(lease)
    assert live(vault) == []


def test_a_connections_end_ends_its_leases(vault: RunningVault, connect: Connect) -> None:
    first, second = connect("demo"), connect("demo")
    first.retrieve("maps/token")
    first.retrieve("hook/key")
    second.retrieve("bin/blob")
    first.close()
    until(vault, ["bin/blob"])
    reasons = {entry.reason for entry in vault.admin.audit(action="end")}
    assert reasons == {"the connection ended"}


def test_leases_may_outlive_their_connection(hands: Hands) -> None:
    with running(leases_outlive_connection=True, clock=hands.clock()) as vault:
        vault.put("a/b", "x")
        key = vault.add_agent("demo")
        with wire(vault.socket_path) as one:
            lease = one.login("demo", key).retrieve("a/b")["lease_id"]
        for _ in range(500):
            if vault.admin.status().sessions == 0:
                break
            time.sleep(0.01)
        assert live(vault) == ["a/b"]
        with wire(vault.socket_path) as one:
            one.login("demo", key).release(lease)
        assert live(vault) == []


def test_maximum_accesses(connect: Connect) -> None:
    one = connect("demo")
    lease = one.retrieve("maps/token", max_accesses=2)["lease_id"]
    assert one.call("retrieve", lease_id=lease, path="maps/token")["value"] == "6869"
    with pytest.raises(Refused) as caught:
        one.call("retrieve", lease_id=lease)
    assert caught.value.code == "LEASE_EXHAUSTED"
    with pytest.raises(Refused):
        one.retrieve("maps/token", max_accesses=0)


def test_a_lease_is_for_its_own_path(connect: Connect) -> None:
    one = connect("demo")
    lease = one.retrieve("maps/token")["lease_id"]
    with pytest.raises(Refused) as caught:
        one.call("retrieve", lease_id=lease, path="hook/key")
    assert caught.value.code == "LEASE_EXPIRED"


def test_the_number_of_leases_is_bounded(hands: Hands) -> None:
    with running(max_leases=2, clock=hands.clock()) as vault:
        vault.put("a/b", "x")
        key = vault.add_agent("demo")
        with wire(vault.socket_path) as one:
            one.login("demo", key)
            one.retrieve("a/b", ttl=50)
            last = one.retrieve("a/b", ttl=60)["lease_id"]
            with pytest.raises(Refused) as caught:
                one.retrieve("a/b")
            assert caught.value.code == "RATE_LIMITED"
            assert caught.value["context"] == {"retry_after": 50.0}
            one.release(last)
            assert one.retrieve("a/b")


def test_removing_an_agent_ends_everything_of_its(vault: RunningVault, connect: Connect) -> None:
    one, other = connect("guest"), connect("demo")
    one.retrieve("guest/one")
    other.retrieve("maps/token")
    vault.admin.agent_remove("guest")
    assert live(vault) == ["maps/token"]
    with pytest.raises(Refused) as caught:
        one.list()
    assert caught.value.code == "SESSION_EXPIRED"
    assert other.list()


def test_removal_and_rotation_end_leases(vault: RunningVault, connect: Connect) -> None:
    one = connect("demo")
    for path in ("maps/token", "hook/key", "bin/blob"):
        one.retrieve(path)
    vault.admin.remove("maps/token")
    vault.admin.rotate("hook/key", "k2")
    assert live(vault) == ["bin/blob"]
    assert one.retrieve("hook/key")["value"] == b"k2".hex()


def test_revocation(vault: RunningVault, connect: Connect) -> None:
    one = connect("demo")
    lease = one.retrieve("maps/token")["lease_id"]
    vault.admin.lease_revoke(lease)
    with pytest.raises(Refused) as caught:
        one.call("retrieve", lease_id=lease)
    assert caught.value.code == "LEASE_EXPIRED"
    with pytest.raises(VaultError) as again:
        vault.admin.lease_revoke(lease)
    assert again.value.code == "LEASE_EXPIRED"


def test_a_grant_is_recorded_before_it_is_answered(vault: RunningVault, connect: Connect) -> None:
    # Read from the file, by another connection to it: what is there is committed.
    import sqlite3

    one = connect("demo")
    reader = sqlite3.connect(f"{(vault.home / 'vault.db').as_uri()}?mode=ro", uri=True)
    try:
        for number in range(1, 21):
            one.retrieve("maps/token")
            (found,) = reader.execute(
                "SELECT count(*) FROM audit WHERE event = 'credential.retrieve'"
            ).fetchone()
            assert found == number
    finally:
        reader.close()


def test_granted_equals_ended(vault: RunningVault, connect: Connect) -> None:
    clients = [connect("demo") for _ in range(5)]
    for one in clients:
        for _ in range(4):
            one.retrieve("maps/token")
    for one in clients[:3]:
        for lease in one.call("lease_status")["leases"][:2]:
            one.release(lease["lease_id"])
    for one in clients:
        one.close()
    until(vault, [])
    events = [entry.event_type for entry in vault.admin.audit(limit=1000)]
    assert events.count("credential.retrieve") == 20
    assert events.count("lease.release") + events.count("lease.end") == 20
    assert vault.admin.status().leases_granted == 20
