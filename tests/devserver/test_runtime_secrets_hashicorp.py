"""Secrets in a HashiCorp Vault: logging in, what is checked first, and what may go wrong."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette", reason="the extra dev is not installed")
pytest.importorskip("cryptography", reason="the extra dev is not installed")

from ostiary.devserver import HttpFault, RuntimeOptions, running
from ostiary.devserver.hashicorp.running import running_hashicorp
from ostiary.devserver.hashicorp.server import HashicorpServer
from ostiary.devserver.runtime.secrets import hashicorp as module
from tests.devserver.secrets import VALUE, Asking, asking, everything_below
from tests.devserver.web import Reply, Web

NAME = "vault.corp.example"
TOKEN = "hvs.token-of-the-test"
POLICY = {
    "secret/data/ostiary/*": ["create", "read", "update"],
    "secret/metadata/ostiary/*": ["read", "list", "delete"],
}


class Hands:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture
def hashicorp(hands: Hands) -> Iterator[HashicorpServer]:
    with running_hashicorp(clock=hands) as server:
        server.add_policy("app", POLICY)
        server.add_token(TOKEN, policies=["app"])
        yield server


@pytest.fixture
def ask(hands: Hands, tmp_path: Path) -> Iterator[Asking]:
    from ostiary.devserver.clock import Clock

    jwt = tmp_path / "jwt"
    jwt.write_text("a.b.c\n")
    runtime = RuntimeOptions(port=None, service_account=jwt)
    with asking(tmp_path / "home", runtime=runtime, clock=Clock(steady=hands, wall=hands)) as one:
        yield one


def vault(server: HashicorpServer, **changes: Any) -> dict[str, Any]:
    assert server.address is not None
    host, port = server.address
    config = {"url": f"http://{host}:{port}", "auth_method": "token", "token": TOKEN}
    return {"backend_type": "vault", "vault_config": config | changes, "file_path": None}


APPROLE = {"auth_method": "approle", "token": None, "role_id": "r-1", "secret_id": "s-1-secret"}


def test_the_life_of_a_secret(ask: Asking, hashicorp: HashicorpServer, hands: Hands) -> None:
    assert ask.configure(vault(hashicorp)) == {"status": "configured", "backend_type": "vault"}
    made = ask.store("db", "first", description="of the tests")
    assert made.status == 201
    assert made.document["updated_at"] is None
    hands.now += 10
    again = ask.store("db", "second")
    assert again.status == 200
    assert again.document["created_at"] == made.document["created_at"]
    assert again.document["updated_at"] > made.document["created_at"]
    assert ask("GET", "/secrets/agent-1/db") == {"value": "second"}
    ask.store("another")
    assert ask("GET", "/secrets/agent-1")["secrets"] == ["another", "db"]
    assert ask("GET", "/secrets/nobody")["secrets"] == []
    assert ask("GET", "/metrics")["secrets_count"] == 2
    ask("DELETE", "/secrets/agent-1/db")
    assert ask("GET", "/secrets/agent-1/db", status=404)["code"] == "SECRET_NOT_FOUND"
    assert ask("DELETE", "/secrets/agent-1/db", status=404)["code"] == "SECRET_NOT_FOUND"
    assert ask("GET", "/secrets/agent-1")["secrets"] == ["another"]
    # Not a version of it is left behind.
    assert hashicorp.vaults.mount("secret").key("ostiary/agent-1/db") is None


def test_where_it_lies(ask: Asking, hashicorp: HashicorpServer) -> None:
    hashicorp.vaults.mount("kv/team")
    hashicorp.add_token("hvs.of-everything")
    ask.configure(
        vault(hashicorp, token="hvs.of-everything", mount_path="/kv/team/", path_prefix="a/b")
    )
    ask.store("db", "v", description="d")
    key = hashicorp.vaults.mount("kv/team").key("a/b/agent-1/db")
    assert key is not None
    assert key.versions[1].data == {"value": "v", "description": "d"}


def test_what_is_read_back_has_no_credentials(ask: Asking, hashicorp: HashicorpServer) -> None:
    hashicorp.add_approle("r-1", "s-1-secret", policies=["app"])
    for changes in ({}, APPROLE):
        ask.configure(vault(hashicorp, **changes))
        found = ask("GET", "/secrets/config")
        assert found["status"] == "ready"
        text = json.dumps(found)
        for secret in (TOKEN, "s-1-secret", "r-1"):
            assert secret not in text
        assert found["vault_config"]["mount_path"] == "secret"


def test_what_was_configured_outlives_the_server(
    hashicorp: HashicorpServer, tmp_path: Path
) -> None:
    home = tmp_path / "h"
    with asking(home) as ask:
        ask.configure(vault(hashicorp))
        ask.store("db")
    assert TOKEN.encode() not in everything_below(home)
    with asking(home) as ask:
        assert ask("GET", "/secrets/agent-1/db") == {"value": VALUE}


def test_what_is_in_the_old_place_stays_there(ask: Asking, hashicorp: HashicorpServer) -> None:
    ask.store("old", "in the vault itself")
    ask.configure(vault(hashicorp))
    assert ask("GET", "/secrets/agent-1")["secrets"] == []
    ask.configure({"backend_type": "sealed"})
    assert ask("GET", "/secrets/agent-1/old") == {"value": "in the vault itself"}


# --- logging in


def test_an_approle_logs_in_again_before_its_end(
    ask: Asking, hashicorp: HashicorpServer, hands: Hands
) -> None:
    hashicorp.add_approle("r-1", "s-1-secret", policies=["app"], ttl=600)
    ask.configure(vault(hashicorp, **APPROLE))
    ask.store("db")
    for _ in range(5):
        hands.now += 500
        assert ask("GET", "/secrets/agent-1/db") == {"value": VALUE}


def test_an_approle_whose_token_was_revoked(ask: Asking, hashicorp: HashicorpServer) -> None:
    hashicorp.add_approle("r-1", "s-1-secret", policies=["app"])
    ask.configure(vault(hashicorp, **APPROLE))
    ask.store("db")
    hashicorp.tokens.revoke_all()
    assert ask("GET", "/secrets/agent-1/db") == {"value": VALUE}


def test_a_token_is_renewed_while_it_can_be(
    ask: Asking, hashicorp: HashicorpServer, hands: Hands
) -> None:
    hashicorp.add_token("hvs.short", policies=["app"], ttl=600, renewable=True)
    ask.configure(vault(hashicorp, token="hvs.short"))
    ask.store("db")
    for _ in range(5):
        hands.now += 500
        assert ask("GET", "/secrets/agent-1/db") == {"value": VALUE}
    hands.now += 601
    answer = ask("GET", "/secrets/agent-1/db", status=502)
    assert answer["code"] == "SECRET_BACKEND_FAILED"
    assert "login" in answer["error"]


def test_a_token_that_cannot_be_renewed_ends(
    ask: Asking, hashicorp: HashicorpServer, hands: Hands
) -> None:
    hashicorp.add_token("hvs.short", policies=["app"], ttl=600)
    ask.configure(vault(hashicorp, token="hvs.short"))
    ask.store("db")
    hands.now += 500
    assert ask("GET", "/secrets/agent-1/db") == {"value": VALUE}
    hands.now += 101
    assert ask.reply("GET", "/secrets/agent-1/db").status == 502


def test_a_pod_logs_in_by_its_service_account(ask: Asking, hashicorp: HashicorpServer) -> None:
    hashicorp.add_kubernetes_role("web", "a.b.c", policies=["app"])
    kubernetes = {"auth_method": "kubernetes", "token": None, "kubernetes_role": "web"}
    ask.configure(vault(hashicorp, **kubernetes))
    assert ask.store("db").status == 201
    answer = ask.refused(vault(hashicorp, **kubernetes | {"kubernetes_role": "other"}))
    assert "kubernetes" in answer["error"]


def test_a_namespace(ask: Asking, hashicorp: HashicorpServer) -> None:
    mount = hashicorp.vaults.mount("secret", namespace="team/blue")
    hashicorp.add_token("hvs.of-blue", namespace="team/blue")
    ask.configure(vault(hashicorp, token="hvs.of-blue", namespace="team/blue/"))
    ask.store("db")
    assert mount.key("ostiary/agent-1/db") is not None
    assert hashicorp.vaults.mount("secret").key("ostiary/agent-1/db") is None
    ask.refused(vault(hashicorp, token="hvs.of-blue"))


# --- what is refused, with the old place untouched


REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "a wrong token": ({"token": "hvs.wrong-token"}, "vault_config.token", "token login"),
    "no token": ({"token": None}, "vault_config.token", "missing"),
    "a token with a line": ({"token": "a\nb-token"}, "vault_config.token", "character"),
    "no secret id": (
        {"auth_method": "approle", "role_id": "r"},
        "vault_config.secret_id",
        "missing",
    ),
    "a wrong secret id": (
        {**APPROLE, "secret_id": "wrong-secret-id"},
        "vault_config.auth_method",
        "approle login",
    ),
    "no role": ({"auth_method": "kubernetes"}, "vault_config.kubernetes_role", "missing"),
    "aws": ({"auth_method": "aws_iam", "aws_role": "r"}, "vault_config.auth_method", "aws_iam"),
    "another method": ({"auth_method": "ldap"}, "vault_config.auth_method", "one of"),
    "no such mount": ({"mount_path": "kv"}, "vault_config.mount_path", "version 2"),
    "a mount that climbs": ({"mount_path": "a/../sys"}, "vault_config.mount_path", "no path"),
    "a prefix that climbs": ({"path_prefix": "../x"}, "vault_config.path_prefix", "no path"),
    "a prefix with a query": ({"path_prefix": "a?b"}, "vault_config.path_prefix", "no path"),
    "a namespace with a line": ({"namespace": "a\nb"}, "vault_config.namespace", "no path"),
    "no url": ({"url": "vault.corp.example"}, "vault_config.url", "begins with"),
    "a socket": ({"url": "unix:///run/s"}, "vault_config.url", "https"),
    "a password": ({"url": "https://u:p@h"}, "vault_config.url", "password"),
    "unverified": ({"skip_verify": True}, "vault_config.skip_verify", "verified"),
    "no certificate": ({"ca_cert": "x"}, "vault_config.ca_cert", "https"),
    "in clear": ({"url": "http://vault.corp.example"}, "vault_config.url", "unencrypted"),
}


# Clients keep nothing of an answer to what held a secret but its code.
CODES = {
    "a wrong token": "SECRET_LOGIN_REFUSED",
    "a wrong secret id": "SECRET_LOGIN_REFUSED",
    "aws": "SECRET_METHOD_UNSUPPORTED",
    "no such mount": "SECRET_MOUNT_NOT_FOUND",
    "in clear": "SECRET_ADDRESS_UNENCRYPTED",
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(ask: Asking, hashicorp: HashicorpServer, case: str) -> None:
    changes, field, why = REFUSED[case]
    hashicorp.add_approle("r-1", "s-1-secret", policies=["app"])
    ask.store("kept")
    answer = ask.refused(vault(hashicorp, **changes))
    assert answer["details"]["field"] == field
    assert why in answer["error"]
    assert answer["code"] == CODES.get(case, "VALIDATION_FAILED")
    assert ask("GET", "/secrets/agent-1/kept") == {"value": VALUE}


def test_a_policy_that_is_too_narrow(ask: Asking, hashicorp: HashicorpServer) -> None:
    hashicorp.add_policy("narrow", {"secret/data/ostiary/*": ["read"]})
    hashicorp.add_token("hvs.narrow-token", policies=["narrow"])
    answer = ask.refused(vault(hashicorp, token="hvs.narrow-token"))
    assert "create and update" in answer["error"]


def test_a_policy_that_cannot_list(ask: Asking, hashicorp: HashicorpServer) -> None:
    hashicorp.add_policy("blind", {"secret/data/ostiary/*": ["create", "read", "update"]})
    hashicorp.add_token("hvs.blind", policies=["blind"])
    ask.configure(vault(hashicorp, token="hvs.blind"))
    assert ask.store("db").status == 201
    assert ask.store("db").status == 200
    assert ask("GET", "/secrets/agent-1", status=502)["code"] == "SECRET_BACKEND_FAILED"


def test_a_sealed_vault(ask: Asking, hashicorp: HashicorpServer) -> None:
    hashicorp.vaults.sealed = True
    answer = ask.refused(vault(hashicorp))
    assert answer["code"] == "SECRET_BACKEND_UNAVAILABLE"
    assert "sealed" in answer["error"]
    hashicorp.vaults.sealed = False
    ask.configure(vault(hashicorp))
    hashicorp.vaults.sealed = True
    assert ask.store("db").status == 503
    found = ask("GET", "/secrets/config")
    assert found["status"] == "failing"
    assert "sealed" in found["error"]["message"]


def test_a_server_that_is_no_vault(ask: Asking) -> None:
    # Governance's own front stands for any other server: it answers, and not as a vault.
    with running(tcp=True) as other:
        config = {"url": other.governance_url, "auth_method": "token", "token": TOKEN}
        answer = ask.refused({"backend_type": "vault", "vault_config": config})
    assert answer["code"] == "SECRET_BACKEND_FAILED"


def test_a_vault_that_is_gone(ask: Asking, hands: Hands) -> None:
    with running_hashicorp() as gone:
        gone.add_token(TOKEN)
        config = vault(gone)
        ask.configure(config)
    assert ask("GET", "/secrets/agent-1/db", status=503)["code"] == "SECRET_BACKEND_UNAVAILABLE"
    answer = ask.configure(config, 422)
    assert answer["code"] == "SECRET_BACKEND_UNAVAILABLE"
    assert TOKEN not in json.dumps(answer)
    # The way out of it needs no vault.
    ask.configure({"backend_type": "sealed"})
    assert ask.store("db").status == 201


@pytest.mark.parametrize("body", [b"{}", b"<html>", b'{"data":[]}', b""])
def test_answers_that_no_vault_gives(ask: Asking, hashicorp: HashicorpServer, body: bytes) -> None:
    ask.configure(vault(hashicorp))
    ask.store("db")
    hashicorp.faults.add(
        HttpFault(method="GET", path="/v1/secret/data/ostiary/agent-1/db", status=200, body=body)
    )
    answer = ask("GET", "/secrets/agent-1/db", status=502)
    assert answer["code"] == "SECRET_BACKEND_FAILED"
    assert ask("GET", "/secrets/agent-1/db") == {"value": VALUE}


def test_what_the_vault_says_is_not_repeated(ask: Asking, hashicorp: HashicorpServer) -> None:
    ask.configure(vault(hashicorp))
    hashicorp.faults.add(
        HttpFault(
            method="POST",
            path="/v1/secret/data/ostiary/agent-1/db",
            status=400,
            body=json.dumps({"errors": [f"bad value {VALUE}"]}).encode(),
        )
    )
    reply = ask.store("db")
    assert reply.status == 502
    assert VALUE.encode() not in reply.body
    assert TOKEN.encode() not in reply.body


def test_a_vault_that_redirects(ask: Asking, hashicorp: HashicorpServer) -> None:
    """A token stays with the server that it was given for."""
    ask.configure(vault(hashicorp))
    hashicorp.faults.add(
        HttpFault(
            method="GET",
            path="/v1/secret/*",
            status=307,
            headers={"Location": "http://127.0.0.1:1/v1/secret/data/x"},
        )
    )
    answer = ask("GET", "/secrets/agent-1/db", status=502)
    assert "redirects" in answer["error"]


def test_a_vault_that_does_not_answer(
    ask: Asking, hashicorp: HashicorpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SECONDS", 0.05)
    hashicorp.faults.add(HttpFault(path="/v1/sys/health", delay=60))
    answer = ask.configure(vault(hashicorp), 422)
    assert answer["code"] == "SECRET_BACKEND_TIMEOUT"


def test_looking_after_it_makes_no_new_logins(ask: Asking, hashicorp: HashicorpServer) -> None:
    hashicorp.add_approle("r-1", "s-1-secret", policies=["app"])
    ask.configure(vault(hashicorp, **APPROLE))
    hashicorp.faults.add(HttpFault(path="/v1/auth/approle/login", status=500))
    for _ in range(3):
        assert ask("GET", "/secrets/config")["status"] == "ready"


def test_something_else_at_the_name(ask: Asking, hashicorp: HashicorpServer) -> None:
    ask.configure(vault(hashicorp))
    mount = hashicorp.vaults.mount("secret")
    mount.put("ostiary/agent-1/number", {"value": 5})
    assert ask.reply("GET", "/secrets/agent-1/number").status == 502
    mount.put("ostiary/agent-1/other", {"key": "x"})
    assert ask.reply("GET", "/secrets/agent-1/other").status == 404
    mount.put("ostiary/agent-1/gone", {"value": "x"})
    mount.delete("ostiary/agent-1/gone")
    assert ask.reply("GET", "/secrets/agent-1/gone").status == 404


def test_a_call_under_way_ends_in_the_place_where_it_began(
    ask: Asking, hashicorp: HashicorpServer
) -> None:
    ask.configure(vault(hashicorp))
    ask.store("db")
    begun = threading.Event()
    # Held up for a moment once it has arrived, while the place is replaced.
    hashicorp.faults.add(HttpFault(method="GET", path="/v1/secret/data/*", delay=0.3))
    replies: list[Reply] = []

    def read() -> None:
        with Web(ask.vault.runtime_socket, headers=dict(ask.web.headers)) as web:
            web.send("GET", "/api/v1/secrets/agent-1/db")
            begun.set()
            replies.append(web.read())

    reader = threading.Thread(target=read)
    reader.start()
    begun.wait()
    while hashicorp.faults._waiting:
        time.sleep(0.001)
    ask.configure({"backend_type": "sealed"})
    reader.join()
    (reply,) = replies
    assert reply.document == {"value": VALUE}


# --- TLS, and names that are dialled elsewhere


def test_over_tls_by_a_mapped_name(tmp_path: Path) -> None:
    with running_hashicorp(names=[NAME]) as server:
        server.add_token(TOKEN)
        assert server.address is not None
        runtime = RuntimeOptions(port=None, maps=(f"{NAME}=127.0.0.1:{server.address[1]}",))
        with asking(tmp_path / "h", runtime=runtime) as ask:
            trusted = {"url": f"https://{NAME}", "ca_cert": server.authority}
            ask.configure(vault(server, **trusted))
            assert ask.store("db").status == 201
            assert ask("GET", "/secrets/agent-1/db") == {"value": VALUE}
            # Not without the authority, and not under another name.
            answer = ask.refused(vault(server, url=f"https://{NAME}"))
            assert "certificate" in answer["error"]
            other = f"https://127.0.0.1:{server.address[1]}"
            answer = ask.refused(vault(server, url=other, ca_cert=server.authority))
            assert "certificate" in answer["error"]


def test_with_demo_the_guide_s_vault_is_there(tmp_path: Path) -> None:
    runtime = RuntimeOptions(port=None)
    config = {
        "backend_type": "vault",
        "vault_config": {
            "url": "https://vault.example.com",
            "auth_method": "token",
            "token": "hvs.abc123...",
        },
    }
    with (
        running(tmp_path / "h", tcp=False, demo=True, runtime=runtime) as server,
        Web(server.runtime_socket) as web,
    ):
        for _ in range(2):
            assert web.post("/api/v1/secrets/config", config).status == 200
            body = {"agent_id": "agent-123", "secret_name": "k", "secret_value": VALUE}
            assert web.post("/api/v1/secrets", body).status in {200, 201}
            assert web.get("/api/v1/secrets/agent-123/k").document == {"value": VALUE}
        # Whoever may ask without a key cannot have other machines called.
        config["vault_config"]["url"] = "https://vault.corp.example"
        reply = web.post("/api/v1/secrets/config", config)
        assert reply.status == 422
        assert "--map" in reply.document["error"]
        assert reply.document["code"] == "SECRET_ADDRESS_REFUSED"


def test_with_demo_it_is_there_again_after_a_restart_and_empty(tmp_path: Path) -> None:
    runtime = RuntimeOptions(port=None)
    config = {"url": "https://vault.example.com", "auth_method": "token", "token": "hvs.abc123..."}
    body = {"agent_id": "agent-123", "secret_name": "k", "secret_value": VALUE}
    for turn in range(2):
        with (
            running(tmp_path / "h", tcp=False, demo=True, runtime=runtime) as server,
            Web(server.runtime_socket) as web,
        ):
            if turn == 0:
                document = {"backend_type": "vault", "vault_config": config}
                assert web.post("/api/v1/secrets/config", document).status == 200
            assert web.get("/api/v1/secrets/agent-123").document["secrets"] == []
            assert web.post("/api/v1/secrets", body).status == 201


def test_a_name_that_was_mapped_is_not_taken_by_demo(tmp_path: Path) -> None:
    with running_hashicorp(names=["vault.example.com"]) as server:
        server.add_token(TOKEN)
        assert server.address is not None
        runtime = RuntimeOptions(
            port=None, maps=(f"vault.example.com=127.0.0.1:{server.address[1]}",)
        )
        with (
            running(tmp_path / "h", tcp=False, demo=True, runtime=runtime) as ours,
            Web(ours.runtime_socket) as web,
        ):
            config = vault(server, url="https://vault.example.com", ca_cert=server.authority)
            assert web.post("/api/v1/secrets/config", config).status == 200
            body = {"agent_id": "agent-123", "secret_name": "k", "secret_value": VALUE}
            assert web.post("/api/v1/secrets", body).status == 201
        assert server.vaults.mount("secret").key("ostiary/agent-123/k") is not None
