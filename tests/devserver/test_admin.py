"""The owner's client against a running vault, one method after another."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

import ostiary
from ostiary.devserver import DevserverError, RunningVault
from ostiary.devserver.admin import AdminClient
from ostiary.secret import Secret
from ostiary.vault import (
    CredentialNotFound,
    VaultConnectError,
    VaultError,
    keys,
)
from tests.devserver.conftest import Connect


def test_status(vault: RunningVault, connect: Connect) -> None:
    connect("demo").retrieve("maps/token")
    status = vault.admin.status()
    assert status.version == ostiary.__version__
    assert (status.locked, status.agents, status.credentials) == (False, 2, 4)
    assert (status.leases, status.sessions) == (1, 1)
    assert status.home == str(vault.home)
    assert vault.tcp is not None
    assert status.addresses == [
        f"unix://{vault.socket_path}",
        f"tcp://127.0.0.1:{vault.tcp[1]}",
    ]
    assert status.started_at == "2030-03-17T17:46:40.000Z"


@pytest.mark.parametrize("value", ["text", b"\xff\x00", Secret("hidden"), "grün €"])
def test_put_and_get(vault: RunningVault, value: str | bytes | Secret) -> None:
    admin = vault.admin
    made = admin.put(
        "x/y", value, type="token", description="what", tags=["a", "b"], metadata={"owner": "me"}
    )
    found = admin.get("x/y")
    assert found.value == (value if not isinstance(value, Secret) else "hidden")
    assert "hidden" not in repr(found)
    for entry in (made, found.entry):
        assert entry.path == "x/y"
        assert entry.type == "token"
        assert entry.description == "what"
        assert entry.tags == ["a", "b"]
        assert entry.metadata == {"owner": "me"}


def test_put_replaces_or_keeps(vault: RunningVault) -> None:
    admin = vault.admin
    first = admin.put("x/y", "one")
    assert admin.put("x/y", "two").created_at == first.created_at
    with pytest.raises(VaultError) as caught:
        admin.put("x/y", "three", overwrite=False)
    assert caught.value.code == "ALREADY_EXISTS"
    assert admin.get("x/y").value == "two"


@pytest.mark.parametrize(
    ("path", "value"),
    [("", "x"), (" x", "x"), ("x\n", "x"), ("x" * 513, "x"), ("x", ""), ("x", "v" * 1_048_577)],
)
def test_put_refuses(vault: RunningVault, path: str, value: str) -> None:
    with pytest.raises(VaultError) as caught:
        vault.admin.put(path, value)
    assert caught.value.code == "INVALID_REQUEST"
    assert len(vault.admin.list()) == 4


def test_the_longest_value_comes_back(vault: RunningVault, connect: Connect) -> None:
    vault.admin.put("x/long", b"v" * 1_048_576)
    assert connect("demo").retrieve("x/long")["value"] == "76" * 1_048_576


def test_list(vault: RunningVault) -> None:
    admin = vault.admin
    assert [entry.path for entry in admin.list()] == [
        "bin/blob",
        "guest/one",
        "hook/key",
        "maps/token",
    ]
    assert [entry.path for entry in admin.list(type="token")] == ["maps/token"]
    assert [entry.path for entry in admin.list(prefix="h")] == ["hook/key"]


def test_remove_and_rotate(vault: RunningVault) -> None:
    admin = vault.admin
    rotated = admin.rotate("maps/token", "new")
    assert rotated.rotated_at is not None
    assert admin.get("maps/token").value == "new"
    admin.remove("maps/token")
    for call in (
        lambda: admin.get("maps/token"),
        lambda: admin.remove("maps/token"),
        lambda: admin.rotate("maps/token", "x"),
    ):
        with pytest.raises(CredentialNotFound):
            call()


def test_agents(vault: RunningVault) -> None:
    admin = vault.admin
    key = keys.generate()
    made = admin.agent_add("bob", key.public_key_hex, description="Bob", allow=["b/*"])
    assert (made.name, made.public_key, made.description) == ("bob", key.public_key_hex, "Bob")
    assert [agent.name for agent in admin.agent_list()] == ["bob", "demo", "guest"]
    (policy,) = [policy for policy in admin.policy_list() if policy.name == "agent-bob"]
    assert policy.principal == "agent:bob"
    assert policy.resources == ["b/*"]
    assert policy.actions == ["retrieve", "list", "use"]
    # The same again is fine; another key under that name is not.
    assert admin.agent_add("bob", key.public_key_hex).created_at == made.created_at
    with pytest.raises(VaultError) as caught:
        admin.agent_add("bob", keys.generate().public_key_hex)
    assert caught.value.code == "ALREADY_EXISTS"
    admin.agent_remove("bob")
    assert [agent.name for agent in admin.agent_list()] == ["demo", "guest"]
    assert "agent-bob" not in [policy.name for policy in admin.policy_list()]
    with pytest.raises(VaultError) as caught:
        admin.agent_remove("bob")
    assert caught.value.code == "NOT_FOUND"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a b", "a*", "é", "x" * 201])
def test_agent_names(vault: RunningVault, name: str) -> None:
    with pytest.raises(VaultError) as caught:
        vault.admin.agent_add(name, keys.generate().public_key_hex)
    assert caught.value.code == "INVALID_REQUEST"


@pytest.mark.parametrize("key", ["", "zz", "00" * 31, "00" * 33])
def test_public_keys(vault: RunningVault, key: str) -> None:
    with pytest.raises(VaultError) as caught:
        vault.admin.agent_add("bob", key)
    assert caught.value.code == "INVALID_REQUEST"
    assert len(vault.admin.agent_list()) == 2


def test_policies(vault: RunningVault) -> None:
    admin = vault.admin
    made = admin.policy_add(
        "night",
        principal="agent:*",
        resources=["a/*"],
        actions=["use"],
        max_ttl=60,
        enabled=False,
        conditions={"time_window": {"start": "22:00", "end": "06:00"}, "max_uses_per_hour": 5},
    )
    assert made in admin.policy_list()
    assert made.conditions["max_uses_per_hour"] == 5
    assert made.conditions["time_window"]["start"] == "22:00"
    again = admin.policy_add("night", principal="*", resources=["b"], actions=["list"])
    assert (again.max_ttl, again.enabled, again.conditions) == (300, True, {})
    admin.policy_remove("night")
    with pytest.raises(VaultError) as caught:
        admin.policy_remove("night")
    assert caught.value.code == "NOT_FOUND"


def test_policies_survive(tmp_path: Path) -> None:
    from ostiary.devserver import running

    with running(tmp_path / "h") as vault:
        made = vault.admin.policy_add(
            "p",
            principal="agent:*",
            resources=["a/*"],
            actions=["use"],
            conditions={"time_window": "09:00-17:00", "allowed_domains": ["x.test"]},
        )
    with running(tmp_path / "h") as vault:
        assert vault.admin.policy_list() == [made]


def test_nobody_listens(tmp_path: Path) -> None:
    with AdminClient(tmp_path / "none.sock") as admin, pytest.raises(VaultConnectError):
        admin.status()


def test_it_reconnects(vault: RunningVault) -> None:
    admin = AdminClient(vault.socket_path)
    assert not admin.status().locked
    admin.close()
    assert not admin.status().locked
    admin.close()


def test_it_may_be_shared_by_threads(vault: RunningVault) -> None:
    admin = vault.admin
    seen: list[str] = []

    def work(number: int) -> None:
        for _ in range(20):
            admin.put(f"t/{number}", str(number))
            seen.append(admin.get(f"t/{number}").value.reveal() + f"={number}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(set(seen)) == [f"{number}={number}" for number in range(5)]
    assert len(seen) == 100


def test_a_forked_child_opens_its_own(vault: RunningVault) -> None:
    admin = vault.admin
    assert not admin.status().locked
    child = os.fork()
    if child == 0:
        os._exit(0 if admin.status().credentials == 4 else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert admin.status().credentials == 4


def test_in_process_refusals_are_ours(vault: RunningVault) -> None:
    with pytest.raises(DevserverError, match="printable"):
        vault.put("", "x")
    with pytest.raises(DevserverError, match="exists already"):
        vault.add_agent("demo")
    with pytest.raises(DevserverError, match="letters"):
        vault.add_agent("../demo")
    assert sorted(path.name for path in (vault.home / "keys").iterdir()) == [
        "demo.key",
        "guest.key",
    ]
