"""The small HashiCorp Vault, held to the documented API of the real one, byte by byte."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("starlette", reason="the extra dev is not installed")
pytest.importorskip("cryptography", reason="the extra dev is not installed")

from ostiary.devserver.hashicorp.running import running_hashicorp
from ostiary.devserver.hashicorp.server import HashicorpServer
from ostiary.devserver.hashicorp.tokens import Policy
from ostiary.errors import InvalidArgumentError
from tests.devserver.web import Reply, Web

STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z")
ENVELOPE = {
    "request_id",
    "lease_id",
    "renewable",
    "lease_duration",
    "data",
    "wrap_info",
    "warnings",
    "auth",
}


class Kv:
    """A server, a connection, and a root token."""

    def __init__(self, server: HashicorpServer, web: Web) -> None:
        self.server = server
        self.web = web

    def reply(self, method: str, path: str, document: Any = None, **headers: str) -> Reply:
        return self.web.call(
            method,
            f"/v1/{path}",
            document,
            headers={name.replace("_", "-"): value for name, value in headers.items()},
        )

    def __call__(self, method: str, path: str, document: Any = None, status: int = 200) -> Any:
        reply = self.reply(method, path, document)
        assert reply.status == status, reply
        if status == 204:
            assert reply.body == b""
            return None
        return reply.document

    def data(self, method: str, path: str, document: Any = None, status: int = 200) -> Any:
        answer = self(method, path, document, status)
        assert set(answer) == ENVELOPE
        return answer["data"]


@pytest.fixture
def server() -> Iterator[HashicorpServer]:
    with running_hashicorp() as one:
        one.add_token("hvs.root")
        yield one


@pytest.fixture
def kv(server: HashicorpServer) -> Iterator[Kv]:
    assert server.address is not None
    with Web(server.address, headers={"X-Vault-Token": "hvs.root"}) as web:
        yield Kv(server, web)


def test_versions(kv: Kv) -> None:
    first = kv.data("POST", "secret/data/a/b", {"data": {"k": 1}})
    assert set(first) == {
        "created_time",
        "custom_metadata",
        "deletion_time",
        "destroyed",
        "version",
    }
    assert (first["version"], first["deletion_time"], first["destroyed"]) == (1, "", False)
    assert STAMP.fullmatch(first["created_time"])
    assert kv.data("PUT", "secret/data/a/b", {"data": {"k": 2}})["version"] == 2
    now = kv.data("GET", "secret/data/a/b")
    assert now["data"] == {"k": 2}
    assert now["metadata"]["version"] == 2
    old = kv.data("GET", "secret/data/a/b?version=1")
    assert old["data"] == {"k": 1}
    about = kv.data("GET", "secret/metadata/a/b")
    assert (about["current_version"], about["oldest_version"]) == (2, 0)
    assert set(about["versions"]) == {"1", "2"}


def test_a_deleted_version_says_so_with_404(kv: Kv) -> None:
    kv.data("POST", "secret/data/a", {"data": {"k": 1}})
    kv("DELETE", "secret/data/a", status=204)
    gone = kv.data("GET", "secret/data/a", status=404)
    assert gone["data"] is None
    assert STAMP.fullmatch(gone["metadata"]["deletion_time"])
    kv("POST", "secret/undelete/a", {"versions": [1]}, 204)
    assert kv.data("GET", "secret/data/a")["data"] == {"k": 1}
    kv("POST", "secret/delete/a", {"versions": [1]}, 204)
    kv("POST", "secret/destroy/a", {"versions": [1]}, 204)
    kv("POST", "secret/undelete/a", {"versions": [1]}, 204)
    assert kv.data("GET", "secret/data/a", status=404)["metadata"]["destroyed"] is True
    kv("DELETE", "secret/metadata/a", status=204)
    assert kv("GET", "secret/data/a", status=404) == {"errors": []}
    # What is not there can be deleted, as often as one likes.
    kv("DELETE", "secret/metadata/a", status=204)
    kv("DELETE", "secret/data/a", status=204)


def test_check_and_set(kv: Kv) -> None:
    kv.data("POST", "secret/data/a", {"data": {}, "options": {"cas": 0}})
    for cas in (0, 2):
        answer = kv("POST", "secret/data/a", {"data": {}, "options": {"cas": cas}}, 400)
        assert answer == {"errors": ["check-and-set parameter did not match the current version"]}
    kv.data("POST", "secret/data/a", {"data": {}, "options": {"cas": 1}})
    kv("POST", "secret/metadata/a", {"cas_required": True}, 204)
    answer = kv("POST", "secret/data/a", {"data": {}}, 400)
    assert answer == {"errors": ["check-and-set parameter required for this call"]}


def test_old_versions_make_room(kv: Kv) -> None:
    kv("POST", "secret/metadata/a", {"max_versions": 2, "custom_metadata": {"of": "us"}}, 204)
    assert kv("GET", "secret/data/a", status=404) == {"errors": []}
    for number in range(1, 5):
        kv.data("POST", "secret/data/a", {"data": {"n": number}})
    about = kv.data("GET", "secret/metadata/a")
    assert (set(about["versions"]), about["oldest_version"]) == ({"3", "4"}, 3)
    assert about["custom_metadata"] == {"of": "us"}
    assert kv("GET", "secret/data/a?version=1", status=404) == {"errors": []}


def test_a_patch_is_a_merge(kv: Kv) -> None:
    kv.data("POST", "secret/data/a", {"data": {"a": 1, "b": {"c": 2, "d": 3}}})
    changes = {"data": {"a": None, "b": {"c": 4}, "e": {"f": None, "g": 5}}}
    assert kv.data("PATCH", "secret/data/a", changes)["version"] == 2
    assert kv.data("GET", "secret/data/a")["data"] == {"b": {"c": 4, "d": 3}, "e": {"g": 5}}
    assert kv("PATCH", "secret/data/none", changes, 404) == {"errors": []}


def test_listing(kv: Kv) -> None:
    for path in ("a", "a/b", "a/c/d", "e"):
        kv.data("POST", f"secret/data/{path}", {"data": {}})
    assert kv.data("LIST", "secret/metadata")["keys"] == ["a", "a/", "e"]
    assert kv.data("GET", "secret/metadata/?list=true")["keys"] == ["a", "a/", "e"]
    assert kv.data("LIST", "secret/metadata/a/")["keys"] == ["b", "c/"]
    assert kv("LIST", "secret/metadata/none", status=404) == {"errors": []}


@pytest.mark.parametrize(
    ("method", "path", "document", "status"),
    [
        ("GET", "nothing/data/a", None, 404),
        ("GET", "secret/other/a", None, 404),
        ("GET", "secret/data", None, 404),
        ("POST", "secret/data/a", {"no": "data"}, 400),
        ("POST", "secret/data/a", {"data": 5}, 400),
        ("GET", "secret/data/a?version=x", None, 400),
        ("LIST", "secret/data/a", None, 405),
        ("POST", "secret/destroy/a", {}, 400),
        ("GET", "secret/destroy/a", None, 405),
        ("DELETE", "sys/health", None, 404),
    ],
)
def test_what_is_refused(kv: Kv, method: str, path: str, document: Any, status: int) -> None:
    answer = kv(method, path, document, status)
    assert set(answer) == {"errors"}


def test_health_and_seal(kv: Kv) -> None:
    health = kv("GET", "sys/health")
    assert (health["initialized"], health["sealed"], health["standby"]) == (True, False, False)
    kv.server.vaults.sealed = True
    assert kv("GET", "sys/health", status=503)["sealed"] is True
    assert kv("GET", "sys/health?sealedcode=200")["sealed"] is True
    assert kv("GET", "sys/seal-status")["sealed"] is True
    assert kv("GET", "secret/data/a", status=503) == {"errors": ["Vault is sealed"]}
    assert kv("POST", "auth/approle/login", {}, 503) == {"errors": ["Vault is sealed"]}


def test_who_is_asked_for(kv: Kv) -> None:
    denied = {"errors": ["permission denied"]}
    for token in ("", "hvs.unknown"):
        reply = kv.reply("GET", "secret/data/a", X_Vault_Token=token)
        assert (reply.status, reply.document) == (403, denied)
    reply = kv.reply("GET", "auth/token/lookup-self", Authorization="Bearer hvs.root")
    assert reply.status == 200
    # A page in a browser is nobody.
    assert kv.reply("GET", "sys/health", Origin="https://evil.example").status == 403
    assert kv.reply("GET", "sys/health", Host="evil.example").status == 421


def test_policies(kv: Kv) -> None:
    kv.server.add_policy(
        "team",
        {
            "secret/data/team/*": ["create", "read"],
            "secret/data/team/+/locked": ["deny"],
            "secret/metadata/team/*": ["list"],
        },
    )
    kv.server.add_token("hvs.team", policies=["team"])
    kv.web.headers["X-Vault-Token"] = "hvs.team"
    kv.data("POST", "secret/data/team/a", {"data": {}})
    kv("POST", "secret/data/team/a", {"data": {}}, 403)  # that would be an update
    kv.data("GET", "secret/data/team/a")
    kv("GET", "secret/data/other", status=403)
    kv("GET", "secret/data/team/x/locked", status=403)
    kv("DELETE", "secret/data/team/a", status=403)
    assert kv.data("LIST", "secret/metadata/team")["keys"] == ["a"]
    kv("LIST", "secret/metadata", status=403)
    found = kv.data(
        "POST", "sys/capabilities-self", {"paths": ["secret/data/team/a", "secret/data/x"]}
    )
    assert found == {"secret/data/team/a": ["create", "read"], "secret/data/x": ["deny"]}
    assert kv.data("GET", "sys/internal/ui/mounts/secret")["options"] == {"version": "2"}
    kv("GET", "sys/internal/ui/mounts/kv", status=403)
    with pytest.raises(InvalidArgumentError):
        kv.server.add_policy("typo", {"secret/*": ["raed"]})


@pytest.mark.parametrize(
    ("rule", "path", "fits"),
    [
        ("a/b", "a/b", True),
        ("a/b", "a/b/c", False),
        ("a/*", "a/b/c", True),
        ("a/*", "a/", True),
        ("a/*", "a", False),
        ("a/b*", "a/bc/d", True),
        ("+/b", "x/b", True),
        ("+/b", "x/y/b", False),
        ("a/+", "a/x", True),
        ("a/+/c*", "a/x/cd", True),
        ("*", "a/b", True),
    ],
)
def test_a_policy_s_path(rule: str, path: str, fits: bool) -> None:
    policy = Policy("p", {rule: frozenset({"read"})})
    assert policy.capabilities(path) == (frozenset({"read"}) if fits else frozenset())


def test_the_most_specific_rule_counts() -> None:
    policy = Policy(
        "p",
        {"a/*": frozenset({"read"}), "a/b/*": frozenset({"list"}), "a/b/c": frozenset({"deny"})},
    )
    assert policy.capabilities("a/x") == {"read"}
    assert policy.capabilities("a/b/x") == {"list"}
    assert policy.capabilities("a/b/c") == {"deny"}


def test_logins(kv: Kv) -> None:
    kv.server.add_approle("r", "s", policies=["team"], ttl=60)
    answer = kv("POST", "auth/approle/login", {"role_id": "r", "secret_id": "s"})
    auth = answer["auth"]
    assert auth["client_token"].startswith("hvs.")
    assert (auth["policies"], auth["renewable"], auth["lease_duration"]) == (["team"], True, 60)
    kv.web.headers["X-Vault-Token"] = auth["client_token"]
    about = kv.data("GET", "auth/token/lookup-self")
    assert about["display_name"] == "approle"
    assert kv("POST", "auth/token/renew-self", {})["auth"]["lease_duration"] == 60
    kv("POST", "auth/token/revoke-self", {}, 204)
    kv("GET", "auth/token/lookup-self", status=403)
    for wrong in ({"role_id": "r", "secret_id": "x"}, {"role_id": "x", "secret_id": "s"}):
        answer = kv("POST", "auth/approle/login", wrong, 400)
        assert answer == {"errors": ["invalid role or secret ID"]}


def test_its_certificate_is_for_its_names_alone() -> None:
    with running_hashicorp(names=["vault.example.com", "127.0.0.1"]) as server:
        assert server.address is not None
        trusting = ssl.create_default_context(cadata=server.authority)
        for name in ("vault.example.com", "127.0.0.1"):
            with (
                socket.create_connection(server.address) as raw,
                trusting.wrap_socket(raw, server_hostname=name) as secured,
            ):
                assert secured.version() in {"TLSv1.2", "TLSv1.3"}
        with (
            socket.create_connection(server.address) as raw,
            pytest.raises(ssl.SSLCertVerificationError),
            trusting.wrap_socket(raw, server_hostname="other.example.com"),
        ):
            pass
