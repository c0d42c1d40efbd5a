"""Secrets over the wire: the rules for all places, and the vault as the first of them."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette", reason="the extra dev is not installed")

from ostiary.devserver.maps import Map, Maps, parse_map
from ostiary.errors import InvalidArgumentError
from tests.devserver.secrets import VALUE, Asking, asking, everything_below


@pytest.fixture(scope="module")
def ask() -> Iterator[Asking]:
    with asking() as one:
        yield one


def test_the_life_of_a_secret(ask: Asking) -> None:
    made = ask.store("db", "first", agent="life", description="of the tests")
    assert made.status == 201
    assert set(made.document) == {"secret_name", "agent_id", "created_at", "updated_at"}
    assert made.document["updated_at"] is None
    again = ask.store("db", "second", agent="life")
    assert again.status == 200
    assert again.document["created_at"] == made.document["created_at"]
    assert again.document["updated_at"] >= made.document["created_at"]
    assert ask("GET", "/secrets/life/db") == {"value": "second"}
    ask.store("another", agent="life")
    ask.store("db", agent="other")
    assert ask("GET", "/secrets/life") == {"secrets": ["another", "db"], "agent_id": "life"}
    assert ask("DELETE", "/secrets/life/db") == {
        "status": "deleted",
        "secret_name": "db",
        "agent_id": "life",
    }
    assert ask("GET", "/secrets/life/db", status=404)["code"] == "SECRET_NOT_FOUND"
    assert ask("DELETE", "/secrets/life/db", status=404)["code"] == "SECRET_NOT_FOUND"
    assert ask("GET", "/secrets/life")["secrets"] == ["another"]
    assert ask("GET", "/secrets/other/db") == {"value": VALUE}


def test_an_agent_without_secrets(ask: Asking) -> None:
    assert ask("GET", "/secrets/nobody") == {"secrets": [], "agent_id": "nobody"}


def test_values_are_text_of_any_kind(ask: Asking) -> None:
    for value in ("ü\u2028\U0001f511", '"}{', "a" * 200_000, " ", "\n"):
        assert ask.store("odd", value).status in {200, 201}
        assert ask("GET", "/secrets/agent-1/odd") == {"value": value}


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no value": ({"secret_value": None}, "secret_value"),
    "an empty value": ({"secret_value": ""}, "secret_value"),
    "too long a value": ({"secret_value": "x" * 262_145}, "secret_value"),
    "no name": ({"secret_name": ""}, "secret_name"),
    "a path for a name": ({"secret_name": "a/b"}, "secret_name"),
    "a name that climbs": ({"secret_name": ".."}, "secret_name"),
    "too long a name": ({"secret_name": "x" * 129}, "secret_name"),
    "a name with a line": ({"secret_name": "a\nb"}, "secret_name"),
    "an agent called config": ({"agent_id": "config"}, "agent_id"),
    "an agent with a blank": ({"agent_id": "a b"}, "agent_id"),
    "a number": ({"secret_value": 5}, "secret_value"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_refused(ask: Asking, case: str) -> None:
    change, field = BAD[case]
    body = {"agent_id": "agent-1", "secret_name": "n", "secret_value": VALUE} | change
    answer = ask("POST", "/secrets", body, 422)
    assert answer["details"]["field"] == field
    assert VALUE not in json.dumps(answer)


@pytest.mark.parametrize("path", ["/secrets/config/x", "/secrets/a%0Ab/x", "/secrets/a/b%20c"])
def test_ids_in_paths_are_held_to_the_same(ask: Asking, path: str) -> None:
    assert ask.reply("GET", path).status == 422
    assert ask.reply("DELETE", path).status == 422


def test_the_longest_names(ask: Asking) -> None:
    agent, name = "a" * 128, "n" * 128
    assert ask.store(name, agent=agent).status == 201
    assert ask("GET", f"/secrets/{agent}/{name}") == {"value": VALUE}


def test_the_first_configuration_is_the_vault(ask: Asking) -> None:
    assert ask("GET", "/secrets/config") == {"backend_type": "sealed", "status": "ready"}


def test_unknown_members_are_passed_over(ask: Asking) -> None:
    assert ask.store("more", tags=["x"], expires=None).status == 201


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({"backend_type": "redis"}, "backend_type"),
        ({}, "backend_type"),
        ({"backend_type": "vault"}, "vault_config"),
        ({"backend_type": "encrypted_file", "file_path": "x.enc"}, "encryption_key"),
        ({"backend_type": "os_keychain", "service": ""}, "service"),
    ],
    ids=["unknown", "none", "no vault", "no key", "no service"],
)
def test_configurations_that_are_incomplete(ask: Asking, document: Any, field: str) -> None:
    assert ask.refused(document)["details"]["field"] == field


def test_secrets_are_counted(ask: Asking) -> None:
    before = ask("GET", "/metrics")["secrets_count"]
    ask.store("counted")
    assert ask("GET", "/metrics")["secrets_count"] == before + 1
    ask("DELETE", "/secrets/agent-1/counted")
    assert ask("GET", "/metrics")["secrets_count"] == before


def test_they_outlive_the_server_and_are_sealed(tmp_path: Path) -> None:
    home = tmp_path / "h"
    with asking(home) as ask:
        ask.store("kept")
    assert VALUE.encode() not in everything_below(home)
    with asking(home) as ask:
        assert ask("GET", "/secrets/agent-1/kept") == {"value": VALUE}


def test_a_locked_vault_keeps_them_all(tmp_path: Path) -> None:
    with asking(tmp_path / "h", passphrase=None) as ask:
        ask.store("kept")
        ask.vault.admin.lock()
        assert ask("GET", "/secrets/agent-1/kept", status=503)["code"] == "VAULT_LOCKED"
        assert ask.store("other").status == 503
        found = ask("GET", "/secrets/config")
        assert found["status"] == "failing"
        assert found["error"]["code"] == "VAULT_LOCKED"
        assert ask.configure({"backend_type": "sealed"}, 503)["code"] == "VAULT_LOCKED"


def test_a_server_that_shows_no_secret(tmp_path: Path) -> None:
    with asking(tmp_path / "h", raw_retrieval=False) as ask:
        assert ask.store("used").status == 201
        assert ask("GET", "/secrets/agent-1/used", status=403)["code"] == "ACCESS_DENIED"
        assert ask("GET", "/secrets/agent-1")["secrets"] == ["used"]


def test_what_was_done_is_on_record(ask: Asking) -> None:
    ask.store("recorded", agent="audited")
    ask("GET", "/secrets/audited/recorded")
    ask("DELETE", "/secrets/audited/recorded")
    ask("GET", "/secrets/audited/recorded", status=404)
    found = [
        entry.action
        for entry in ask.vault.admin.audit(limit=100)
        if entry.resource == "runtime/secrets/audited/recorded"
    ]
    assert sorted(found) == ["delete", "retrieve", "store"]


def test_nothing_of_it_is_logged(ask: Asking, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        ask.store("quiet", "hunter2-quiet")
        ask("GET", "/secrets/agent-1/quiet")
        ask.reply("POST", "/secrets", {"agent_id": "a", "secret_value": "hunter2-quiet"})
    assert "hunter2-quiet" not in caplog.text


# --- names that are dialled elsewhere


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("vault.example.com=127.0.0.1", Map("vault.example.com", "127.0.0.1")),
        ("vault.example.com=127.0.0.1:8200", Map("vault.example.com", "127.0.0.1", 8200)),
        ("Vault.Example.com.=host:1", Map("vault.example.com", "host", 1)),
        ("v=[::1]:8200", Map("v", "::1", 8200)),
        ("v=::1", Map("v", "::1")),
        ("v=[::1]", Map("v", "::1")),
    ],
)
def test_a_map(text: str, meant: Map) -> None:
    found = parse_map(text)
    assert found == meant
    assert parse_map(str(found).replace("=::1", "=[::1]")) == found
    maps = Maps([text])
    assert maps.find(meant.name.upper()) == meant
    assert maps.find("another") is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "v",
        "=h",
        "v=",
        "v=h:0",
        "v=h:99999",
        "v=/run/s",
        "v=tls://h:1",
        "v h=a",
        "a/b=h",
        "v=u@h",
    ],
)
def test_what_is_no_map(text: str) -> None:
    with pytest.raises(InvalidArgumentError):
        parse_map(text)


def test_of_two_maps_the_first_counts() -> None:
    maps = Maps(["v=one", "v=two"])
    found = maps.find("v")
    assert found is not None
    assert found.host == "one"
    maps.discard(found)
    assert maps.find("v") is None
