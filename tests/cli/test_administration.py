"""Agents, policies, leases, audit, lock: `ostiary vault ...` against a running vault."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from ostiary.errors import OstiaryError
from ostiary.vault import AuthError, VaultClient, keys


@contextmanager
def client(served: Any, name: str, **settings: Any) -> Iterator[VaultClient]:
    settings.setdefault("key_path", served.home / "keys" / f"{name}.key")
    with VaultClient(name, socket_path=served.dev.socket, **settings) as open_client:
        yield open_client


@pytest.fixture(scope="module")
def maker(served: Any) -> Any:
    """What was said when the agent `maker` was made, who may retrieve what is below lent/."""
    served.run("vault", "put", "lent/one", stdin=b"v1")
    return served.run("vault", "agent", "add", "maker", "--allow", "lent/*")


# -- agents


def test_agent_add_makes_a_key_the_agent_can_log_in_with(served: Any, maker: Any) -> None:
    assert (maker.code, maker.out) == (0, b"")
    added, file = maker, served.home / "keys" / "maker.key"
    assert str(file) in added.err
    assert keys.load(file).public_key_hex in added.err
    assert file.read_text().strip() not in added.err
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with client(served, "maker") as vault:
        assert vault.retrieve("lent/one") == "v1"


def test_agent_add_json_names_the_agent_and_its_key_file(served: Any) -> None:
    added = served.run("vault", "agent", "add", "documented", "--description", "One", "--json")
    file = served.home / "keys" / "documented.key"
    assert added.document["key_path"] == str(file)
    assert added.document["agent"]["name"] == "documented"
    assert added.document["agent"]["public_key"] == keys.load(file).public_key_hex
    assert file.read_text().strip() not in added.text


def test_an_encrypted_key_needs_its_passphrase(served: Any, terminal: Any) -> None:
    code, screen = terminal(
        served.user_home,
        *("vault", "agent", "add", "sealed", "--allow", "lent/*", "--encrypt"),
        answers=[("Passphrase for sealed: ", "correct horse\n"), ("again: ", "correct horse\n")],
    )
    assert code == 0, screen
    assert "correct horse" not in screen
    file = served.home / "keys" / "sealed.key.enc"
    with client(served, "sealed", key_path=file, passphrase="correct horse") as vault:
        vault.list()
    with (
        pytest.raises(AuthError),
        client(served, "sealed", key_path=file, passphrase="wrong"),
    ):
        pass


def test_a_passphrase_can_come_from_a_pipe(served: Any) -> None:
    added = served.run(
        "vault", "agent", "add", "piped", "--encrypt", "--json", stdin=b"from a pipe\n"
    )
    assert added.code == 0, added.err
    assert keys.load(added.document["key_path"], passphrase="from a pipe").public_key
    for bad in (b"", b"\n", b"two\nlines\n"):
        refused = served.run("vault", "agent", "add", "piped2", "--encrypt", stdin=bad)
        assert refused.code == 1, bad
        assert not (served.home / "keys" / "piped2.key.enc").exists()


def test_agent_add_with_a_public_key_writes_nothing(served: Any) -> None:
    key = keys.generate()
    added = served.run(
        *("vault", "agent", "add", "remote", "--public-key", key.public_key_hex.upper(), "--json")
    )
    assert added.document["key_path"] is None
    assert added.document["agent"]["public_key"] == key.public_key_hex
    assert not list((served.home / "keys").glob("remote*"))
    both = served.run(
        "vault", "agent", "add", "remote2", "--public-key", key.public_key_hex, "--encrypt"
    )
    assert both.code == 1


@pytest.mark.parametrize("bad", ["zz", "00", "ab" * 33])
def test_a_public_key_that_is_none_is_refused(served: Any, bad: str) -> None:
    refused = served.run("vault", "agent", "add", "broken", "--public-key", bad)
    assert refused.code == 1
    assert refused.err.startswith("error: ")


@pytest.mark.parametrize("name", ["../up", "a/b", "..", ".", "a b", "", "ä", "x" * 129])
def test_a_name_that_is_no_file_name_is_refused_before_anything_is_written(
    served: Any, name: str
) -> None:
    before = sorted(served.home.rglob("*"))
    assert served.run("vault", "agent", "add", "--", name).code in {1, 2}
    assert sorted(served.home.rglob("*")) == before


def test_a_key_file_is_never_overwritten(served: Any) -> None:
    file = served.home / "keys" / "precious.key"
    file.write_text("11" * 32)
    refused = served.run("vault", "agent", "add", "precious")
    assert refused.code == 1
    assert "give the agent another name" in refused.err
    assert file.read_text() == "11" * 32
    file.unlink()


def test_a_refused_registration_leaves_no_key_behind(served: Any) -> None:
    key = keys.generate()
    added = served.run("vault", "agent", "add", "taken", "--public-key", key.public_key_hex)
    assert added.code == 0, added.err
    refused = served.run("vault", "agent", "add", "taken")
    assert refused.code == 1
    assert "exists already" in refused.err
    assert not (served.home / "keys" / "taken.key").exists()


def test_agents_are_listed_and_removed(served: Any, maker: Any) -> None:
    served.run("vault", "agent", "add", "brief", "--allow", "lent/*")
    with client(served, "brief") as vault:
        removed = served.run("vault", "agent", "rm", "brief", "--json")
        assert removed.document == {"removed": "brief"}
        with pytest.raises(OstiaryError):
            vault.retrieve("lent/one")
    names = [one["name"] for one in served.run("vault", "agent", "ls", "--json").document["agents"]]
    assert "brief" not in names
    assert "maker" in names
    assert "maker" in served.run("vault", "agent", "ls").text
    again = served.run("vault", "agent", "rm", "brief")
    assert again.code == 1
    assert "there is no agent brief" in again.err


# -- policies


def test_a_policy_allows_what_it_says_until_it_is_removed(served: Any) -> None:
    served.run("vault", "agent", "add", "ruled")
    added = served.run(
        *("vault", "policy", "add", "rule", "--principal", "agent:rul*"),
        *("--resource", "lent/*,other/*", "--action", "use", "--action", "list"),
        *("--max-ttl", "60", "--condition", "max_uses_per_hour=9"),
        *("--condition", "allowed_operations=sign,encrypt", "--json"),
    )
    assert added.code == 0, added.err
    assert added.document["resources"] == ["lent/*", "other/*"]
    assert added.document["actions"] == ["use", "list"]
    assert added.document["conditions"]["max_uses_per_hour"] == 9
    assert added.document["conditions"]["allowed_operations"] == ["sign", "encrypt"]

    def simulate(action: str) -> Any:
        return served.run(
            *("vault", "policy", "simulate", "--agent", "ruled", "--resource", "lent/one"),
            *("--action", action, "--json"),
        ).document

    assert simulate("use") == {
        "allowed": True,
        "policy_name": "rule",
        "lease_ttl": 60,
        "reason": None,
    }
    assert simulate("retrieve")["allowed"] is False
    shown = served.run("vault", "policy", "ls").text
    assert "allowed_operations=sign,encrypt" in shown
    assert served.run("vault", "policy", "rm", "rule").code == 0
    assert simulate("use")["allowed"] is False
    assert served.run("vault", "policy", "rm", "rule").code == 1


def test_a_simulation_answers_in_words_and_exits_0_either_way(served: Any) -> None:
    arguments = ("vault", "policy", "simulate", "--agent", "nobody", "--resource", "lent/one")
    denied = served.run(*arguments)
    assert denied.code == 0
    assert "denied" in denied.text
    served.run(
        *("vault", "policy", "add", "open", "--principal", "agent:nobody"),
        *("--resource", "lent/*", "--action", "retrieve"),
    )
    allowed = served.run(*arguments).text
    assert "allowed" in allowed
    assert "up to 300 s" in allowed
    served.run("vault", "policy", "rm", "open")


def test_a_disabled_policy_is_kept_without_effect(served: Any) -> None:
    added = served.run(
        *("vault", "policy", "add", "asleep", "--principal", "agent:*", "--resource", "*"),
        *("--action", "retrieve", "--disabled", "--json"),
    )
    assert added.document["enabled"] is False
    assert "asleep (disabled)" in served.run("vault", "policy", "ls").text
    served.run("vault", "policy", "rm", "asleep")


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (("--action", "fly"), "actions may hold"),
        (("--action", "use", "--condition", "max_uses_per_hour"), "NAME=VALUE"),
        (("--action", "use", "--condition", "time_window=noonish"), "time_window"),
        (("--action", "use", "--condition", "no_such=1"), "no_such"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(
    served: Any, wrong: tuple[str, ...], says: str
) -> None:
    refused = served.run(
        "vault", "policy", "add", "wrong", "--principal", "agent:*", "--resource", "*", *wrong
    )
    assert refused.code == 1
    assert says in refused.err


# -- leases


def test_leases_are_listed_and_revoked(served: Any, maker: Any) -> None:
    with client(served, "maker") as vault, vault.lease("lent/one", ttl=60) as lease:
        document = served.run("vault", "lease", "ls", "--json").document
        found = [one for one in document["leases"] if one["lease_id"] == lease.lease_id]
        assert [(one["agent_name"], one["path"]) for one in found] == [("maker", "lent/one")]
        assert lease.lease_id in served.run("vault", "lease", "ls").text
        revoked = served.run("vault", "lease", "revoke", lease.lease_id, "--json")
        assert revoked.document == {"revoked": lease.lease_id}
        assert lease.lease_id not in served.run("vault", "lease", "ls", "--json").text
    again = served.run("vault", "lease", "revoke", "L-no-such")
    assert again.code == 1
    assert "`ostiary vault lease ls`" in again.err


# -- audit


def test_audit_filters_by_agent_resource_and_outcome(served: Any, maker: Any) -> None:
    with client(served, "maker") as vault:
        vault.retrieve("lent/one")
        with pytest.raises(OstiaryError):
            vault.retrieve("pay/live")

    def entries(*options: str) -> list[Any]:
        found: list[Any] = served.run("vault", "audit", *options, "--json").document["entries"]
        return found

    denied = entries("--denied", "--agent", "maker")
    assert {one["resource"] for one in denied} == {"pay/live"}
    assert all(one["allowed"] is False for one in denied)
    about = entries("--resource", "lent/one", "--action", "retrieve")
    assert {one["action"] for one in about} == {"retrieve"}
    assert len(entries("--last", "3")) == 3
    assert entries("--since", "2999-01-01") == []
    assert served.run("vault", "audit", "--since", "yesterday").code == 1
    table = served.run("vault", "audit", "--denied", "--agent", "maker").text
    assert "denied, no policy allows retrieve on pay/live" in table


def test_audit_verify_says_that_the_log_is_whole(served: Any, maker: Any) -> None:
    with client(served, "maker") as vault:
        for _ in range(10):
            vault.retrieve("lent/one")
    verified = served.run("vault", "audit", "--verify", "--json")
    assert verified.code == 0
    assert verified.document["valid"] is True
    assert verified.document["entries"] > 10
    assert "whole" in served.run("vault", "audit", "--verify").err


def test_audit_verify_fails_on_an_altered_log(ostiary: Any, start_dev: Any) -> None:
    dev = start_dev("--no-tcp")
    ostiary("vault", "put", "a/b", stdin=b"x")
    assert ostiary("vault", "get", "a/b").code == 0
    with closing(sqlite3.connect(dev.home / "vault.db")) as database, database:
        database.execute(
            "UPDATE audit SET resource = 'c/d' WHERE id = "
            "(SELECT MIN(id) FROM audit WHERE resource = 'a/b')"
        )
    database.close()
    broken = ostiary("vault", "audit", "--verify")
    assert broken.code == 1
    assert "the audit log is broken at entry" in broken.err
    document = ostiary("vault", "audit", "--verify", "--json")
    assert document.code == 1
    assert document.document["valid"] is False
    doctor = ostiary("doctor", "--json")
    assert doctor.code == 1
    failed = [one for one in doctor.document["findings"] if one["status"] == "fail"]
    assert [one["check"] for one in failed] == ["audit log"]


# -- the vault as a whole


def test_status_counts_and_names_the_endpoints(served: Any) -> None:
    document = served.run("vault", "status", "--json").document
    assert document["locked"] is False
    assert document["home"] == str(served.home)
    assert document["addresses"] == [f"unix://{served.dev.socket}"]
    text = served.run("vault", "status").text
    assert "open" in text
    assert str(served.home) in text


def test_a_locked_vault_gives_nothing_until_it_is_unlocked(ostiary: Any, start_dev: Any) -> None:
    start_dev("--no-tcp")
    ostiary("vault", "put", "a/b", stdin=b"x")
    assert ostiary("vault", "lock").code == 0
    refused = ostiary("vault", "get", "a/b")
    assert (refused.code, refused.out) == (1, b"")
    assert "`ostiary vault unlock`" in refused.err
    assert ostiary("vault", "status", "--json").document["locked"] is True
    # Sealed by a key file: there is nothing to ask for.
    assert ostiary("vault", "unlock").code == 0
    assert ostiary("vault", "get", "a/b").out == b"x"
    assert "open already" in ostiary("vault", "unlock").err


def test_a_passphrase_seals_the_vault_across_restarts(
    ostiary: Any, start_dev: Any, terminal: Any, user_home: Path
) -> None:
    dev = start_dev("--no-tcp", "--passphrase-stdin", stdin=b"open sesame\n")
    assert dev.ready["locked"] is False
    assert not (dev.home / "master.key").exists()
    ostiary("vault", "put", "a/b", stdin=b"x")
    assert dev.stop()[0] == 0

    dev = start_dev("--no-tcp")
    assert dev.ready["locked"] is True
    assert ostiary("vault", "get", "a/b").code == 1
    wrong = ostiary("vault", "unlock", stdin=b"open barley\n")
    assert wrong.code == 1
    assert "barley" not in wrong.err
    code, screen = terminal(user_home, "vault", "unlock", answers=[("Passphrase", "open sesame\n")])
    assert code == 0, screen
    assert "sesame" not in screen
    assert ostiary("vault", "get", "a/b").out == b"x"


# -- which server


def test_without_a_server_the_code_is_3_and_the_next_step_is_named(ostiary: Any) -> None:
    for command in (("vault", "ls"), ("vault", "put", "a/b"), ("vault", "agent", "add", "x")):
        refused = ostiary(*command, stdin=b"x")
        assert refused.code == 3, command
        assert "start a vault with `ostiary dev`" in refused.err
    document = ostiary("vault", "ls", "--json")
    assert document.code == 3
    assert document.document["error"]["next"].startswith("start a vault")


def test_home_socket_and_environment_choose_the_server(served: Any, ostiary: Any) -> None:
    # `ostiary` runs with another HOME, where no vault is.
    assert ostiary("vault", "ls").code == 3
    socket = str(served.dev.socket)
    for options, env in (
        (("--home", str(served.home)), {}),
        (("--socket", socket), {}),
        (("--socket", f"unix://{socket}"), {}),
        ((), {"SANCTUM_VAULT_PATH": str(served.home)}),
        ((), {"OSTIARY_VAULT_ADDRESS": f"unix://{socket}"}),
        (("--home", str(served.home)), {"OSTIARY_VAULT_ADDRESS": "unix:///nowhere"}),
    ):
        assert ostiary("vault", "status", *options, env=env).code == 0, (options, env)
    relative = os.path.relpath(socket)
    assert ostiary("vault", "status", "--socket", relative).code == 0
    tcp = ostiary("vault", "status", env={"OSTIARY_VAULT_ADDRESS": "127.0.0.1:7600"})
    assert tcp.code == 1
    assert "Unix socket alone" in tcp.err


@pytest.mark.parametrize(
    "wrong",
    [
        ("vault", "frob"),
        ("vault", "put"),
        ("vault", "get", "a", "b"),
        ("vault", "audit", "--last", "0"),
        ("vault", "policy", "add", "x"),
        ("dev", "--port", "70000"),
        ("--no-such-option",),
    ],
)
def test_wrong_usage_is_2(ostiary: Any, wrong: tuple[str, ...]) -> None:
    done = ostiary(*wrong)
    assert done.code == 2
    assert "Usage" in done.err
    assert done.out == b""
