"""The gateway as a service: its files, its runs, what it records, how it ends."""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("cryptography", reason="the extra dev is not installed")

from ostiary.devserver import (
    DevserverError,
    ForwardOptions,
    GatewayOptions,
    HttpFault,
    RunningGateway,
    running,
)
from ostiary.errors import InvalidArgumentError
from ostiary.secret import Secret
from tests.devserver.gateway import CHAT, MODERN, asking, proof, refusal, stream
from tests.devserver.web import Web
from tests.devserver.wire import Hands


@pytest.fixture
def gateway() -> Iterator[RunningGateway]:
    with running(tcp=False, demo=True) as server:
        yield server.gateway


@pytest.fixture
def web(gateway: RunningGateway) -> Iterator[Web]:
    with Web(gateway.socket_path) as one:
        yield one


def until(true: Callable[[], Any]) -> Any:
    """Ask until the answer is yes; the server works beside us."""
    for _ in range(1000):
        if found := true():
            return found
        time.sleep(0.01)
    return pytest.fail("it did not happen")


def expiry(token: str) -> float:
    claims = token.split(".")[1]
    return float(json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["exp"])


# -- files ------------------------------------------------------------------------


def test_everything_is_for_its_owner_alone(tmp_path: Path) -> None:
    home = tmp_path / "home"
    old = os.umask(0)
    try:
        with running(home, tcp=False) as server:
            gateway = server.gateway
            gateway.issue("run_2")
            for path in [home, *home.rglob("*")]:
                found = path.lstat()
                wanted = 0o700 if stat.S_ISDIR(found.st_mode) else 0o600
                assert stat.S_IMODE(found.st_mode) == wanted, path
            assert gateway.socket_path == home / "gateway.sock"
            assert gateway.sidecar_path == home / "sidecar.sock"
            assert gateway.svid_file.parent == home / "gateway"
            bundle = json.loads((home / "gateway" / "bundle.json").read_text())
            assert all("d" not in key for key in bundle["keys"])
    finally:
        os.umask(old)
    assert not (home / "gateway.sock").exists()
    assert not (home / "sidecar.sock").exists()


def test_a_restart_takes_the_tokens_of_before(tmp_path: Path) -> None:
    with running(tmp_path / "home", tcp=False) as server:
        headers = proof(server.gateway)
    with (
        running(tmp_path / "home", tcp=False) as server,
        Web(server.gateway.socket_path) as web,
    ):
        assert web.post(CHAT, asking(), headers=headers).status == 200


def test_the_environment(gateway: RunningGateway) -> None:
    found = gateway.environment
    assert set(found) == {
        "RUN_ID", "ORG_ID", "SPIFFE_JWT_PATH", "TRAT_FILE", "AUTH_SIDECAR_SOCKET",
        "LLM_GATEWAY_SOCKET", "WORK_DIR", "OUTPUT_PATH",
    }  # fmt: skip
    for name in ("SPIFFE_JWT_PATH", "TRAT_FILE", "AUTH_SIDECAR_SOCKET", "WORK_DIR", "OUTPUT_PATH"):
        assert Path(found[name]).exists()
    other = gateway.issue("run_2", "77")
    assert other.environment["RUN_ID"] == "run_2"
    assert "AUTH_SIDECAR_SOCKET" not in other.environment
    assert other.svid_file != gateway.svid_file
    assert "eyJ" not in repr(other) + repr(gateway) + repr(other.svid)


@pytest.mark.parametrize("name", ["", "../up", "a/b", "a b", "ü", ".hidden", "x" * 129])
def test_a_run_with_a_name_that_is_none(gateway: RunningGateway, name: str) -> None:
    with pytest.raises(InvalidArgumentError):
        gateway.issue(name)
    with pytest.raises(InvalidArgumentError):
        gateway.issue("run_2", name)


# -- rotation ---------------------------------------------------------------------


def test_tokens_are_renewed_before_they_run_out() -> None:
    options = GatewayOptions(svid_ttl=2.0, trat_ttl=1.0, leeway=0.0)
    with running(tcp=False, gateway=options) as server:
        gateway = server.gateway
        first = {path: path.read_text() for path in (gateway.svid_file, gateway.trat_file)}
        inode = gateway.trat_file.stat().st_ino
        until(lambda: all(path.read_text() != text for path, text in first.items()))
        # In one step: a reader has the one or the other, never half of one.
        assert gateway.trat_file.stat().st_ino != inode
        assert gateway.trat_file.stat().st_mode & 0o777 == 0o600
        assert expiry(gateway.trat_file.read_text()) > expiry(first[gateway.trat_file])
        with Web(gateway.socket_path) as web:
            assert web.post(CHAT, asking(), headers=proof(gateway)).status == 200


def test_no_call_fails_while_tokens_change() -> None:
    """Readers of the files, beside a server that replaces them all the time."""
    with running(tcp=False) as server:
        gateway = server.gateway
        stop = threading.Event()

        def churn() -> None:
            while not stop.is_set():
                gateway.rotate()

        thread = threading.Thread(target=churn)
        thread.start()
        try:
            with Web(gateway.socket_path) as web:
                for _ in range(100):
                    headers = {
                        "User-Agent": "test/1",
                        "X-Provider": "ostiary",
                        "Authorization": f"Bearer {gateway.svid_file.read_text().strip()}",
                        "Txn-Token": gateway.trat_file.read_text().strip(),
                    }
                    assert web.post(CHAT, asking(), headers=headers).status == 200
        finally:
            stop.set()
            thread.join()


def test_revoked_tokens_are_refused(gateway: RunningGateway, web: Web) -> None:
    run = gateway.issue("run_2")
    before = [proof(gateway), proof(run)]
    gateway.rotate()
    assert [web.post(CHAT, asking(), headers=h).status for h in before] == [200, 200]
    gateway.revoke()
    for headers in before:
        assert refusal(web.post(CHAT, asking(), headers=headers)) == (401, "svid_invalid")
    for one in (gateway, run):
        assert web.post(CHAT, asking(), headers=proof(one)).status == 200


def test_the_sidecar_hands_out_what_is_current() -> None:
    hands = Hands()
    with running(tcp=False, demo=True, clock=hands.clock()) as server:
        gateway = server.gateway

        def asked() -> str:
            with Web(gateway.sidecar_path) as web:
                reply = web.get("/trat")
                assert reply["content-type"].startswith("text/plain")
                assert web.at_end()
                return reply.body.decode()

        first = asked()
        assert first == gateway.default.trat.reveal()
        hands.forward(149)
        assert asked() == first
        hands.forward(1)  # half of its life
        second = asked()
        assert second != first
        assert second == gateway.trat_file.read_text().strip()
        assert expiry(second) == expiry(first) + 150
        gateway.revoke()
        assert asked() != second


def test_a_disk_that_takes_no_tokens(caplog: pytest.LogCaptureFixture) -> None:
    """The sidecar goes on; the files follow as soon as they can."""
    hands = Hands()
    with running(tcp=False, demo=True, clock=hands.clock()) as server:
        gateway = server.gateway
        away = gateway.svid_file.parent.with_name("away")
        gateway.svid_file.parent.rename(away)
        hands.forward(200)
        with Web(gateway.sidecar_path) as web:
            fresh = web.get("/trat").body.decode()
        assert expiry(fresh) == hands.wall + 300
        assert "cannot write" in caplog.text
        assert fresh not in caplog.text
        with pytest.raises(DevserverError, match="cannot write"):
            gateway.rotate()
        away.rename(gateway.svid_file.parent)
        with Web(gateway.sidecar_path) as web:
            again = web.get("/trat").body.decode()
        assert gateway.trat_file.read_text().strip() == again


def test_the_sidecar_gives_nothing_else(gateway: RunningGateway) -> None:
    for method, path, status in (
        ("GET", "/health", 200),
        ("POST", "/trat", 405),
        ("GET", "/svid", 404),
        ("GET", "/gateway/svid.key.pem", 404),
    ):
        with Web(gateway.sidecar_path) as web:
            assert web.call(method, path).status == status
    with Web(gateway.sidecar_path) as web:
        assert web.get("/environment").document == gateway.environment
    gateway.sidecar_faults.add(HttpFault(status=503))
    with Web(gateway.sidecar_path) as web:
        assert refusal(web.get("/trat")) == (503, "staged_fault")


# -- the record -------------------------------------------------------------------


def test_every_call_is_on_record(tmp_path: Path) -> None:
    with running(tmp_path / "home", tcp=False, demo=True) as server:
        gateway = server.gateway
        run = gateway.issue("run_2", "77")
        secret = "the words of a prompt"
        with Web(gateway.socket_path) as web:
            ids = [
                web.post(CHAT, asking(secret), headers=proof(run))["x-request-id"],
                web.post(CHAT, asking(), headers=proof(run) | {"Txn-Token": "x"})["x-request-id"],
                web.post(CHAT, asking("/fail 500"), headers=proof(run))["x-request-id"],
                web.get("/v1/models", headers=proof(run))["x-request-id"],
            ]
            assert stream(web, asking("one two"), proof(run))[-1] == "[DONE]"
        kept = gateway.calls()
        assert [call.request_id for call in kept[:4]] == ids
        assert [(call.kind, call.status, call.code) for call in kept] == [
            ("chat", 200, ""),
            ("chat", 401, "txn_token_invalid"),
            ("chat", 500, "upstream_error"),
            ("models", 200, ""),
            ("chat", 200, ""),
        ]
        first, refused, *_, streamed = kept
        assert (first.run_id, first.org_id, first.txn) == ("run_2", "77", "run_2")
        assert first.subject == "spiffe://ostiary.local/agent/run_2"
        assert refused.subject == ""  # it was not proved whole
        assert first.completion_tokens > 0
        assert streamed.stream
        assert streamed.completion_tokens == 2
        entries = [e for e in server.admin.audit(limit=20) if e.event_type.startswith("gateway.")]
        assert [e.event_type for e in entries] == [f"gateway.{call.kind}" for call in kept]
        assert [e.allowed for e in entries] == [True, False, False, True, True]
        assert entries[0].resource == "ostiary:echo"
        assert entries[0].metadata["request_id"] == ids[0]
        assert server.admin.audit_verify().valid
        tokens = [run.svid.reveal(), run.trat.reveal()]
    # Neither what was said nor what proved it is anywhere on the disk but in the tokens' files.
    for path in (tmp_path / "home").rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert secret.encode() not in content
            if path.suffix != ".jwt":
                assert not any(token.encode() in content for token in tokens)


def test_nothing_is_done_that_cannot_be_recorded(tmp_path: Path) -> None:
    home, passphrase = tmp_path / "home", Secret("open sesame")
    with running(home, tcp=False, passphrase=passphrase) as server:
        assert server.gateway.calls() == []
    with running(home, tcp=False) as server:  # locked: its record cannot be written
        gateway = server.gateway
        with Web(gateway.socket_path) as web:
            assert web.get("/health", headers=MODERN).status == 200
            assert refusal(web.post(CHAT, asking(), headers=proof(gateway))) == (
                503,
                "record_failed",
            )
            server.admin.unlock(passphrase)
            assert web.post(CHAT, asking(), headers=proof(gateway)).status == 200
            server.admin.lock()
            assert web.post(CHAT, asking(), headers=proof(gateway)).status == 200
        assert len(gateway.calls()) == 2


def test_a_client_that_leaves_is_on_record(gateway: RunningGateway) -> None:
    with Web(gateway.socket_path) as web:
        web.send("POST", CHAT, asking("/pace 3600\nx") | {"stream": True}, headers=proof(gateway))
        assert web.head()[0] == 200
        assert gateway.calls() == []
    call = until(gateway.calls)[0]
    assert (call.status, call.code, call.stream) == (499, "cancelled", True)


def test_a_stream_in_hand_is_told_of_the_end() -> None:
    with running(tcp=False, demo=True) as server:
        gateway = server.gateway
        web = Web(gateway.socket_path)
        web.send("POST", CHAT, asking("/pace 3600\nx") | {"stream": True}, headers=proof(gateway))
        assert web.head()[0] == 200
    with web:
        (said,) = [chunk for chunk in web.chunks() if not chunk.startswith(b":")]
        assert json.loads(said.removeprefix(b"data: "))["error"]["code"] == "server_stopping"


def test_staged_faults(gateway: RunningGateway, web: Web) -> None:
    headers = proof(gateway)
    gateway.faults.add(HttpFault(path="/v1/chat/*", status=401, code="SVID_EXPIRED"))
    assert refusal(web.post(CHAT, asking(), headers=headers)) == (401, "svid_expired")
    assert web.post(CHAT, asking(), headers=headers).status == 200
    gateway.faults.add(HttpFault(cut_after_events=2))
    web.send("POST", CHAT, asking("one two three") | {"stream": True}, headers=headers)
    assert web.head()[0] == 200
    with pytest.raises(EOFError):
        list(web.chunks())
    gateway.faults.add(HttpFault(drop=True))
    with Web(gateway.socket_path) as other:
        other.send("POST", CHAT, asking(), headers=headers)
        assert other.at_end()


# -- settings ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"port": 70000},
        {"trust_domain": "Upper.example"},
        {"trust_domain": "a/b"},
        {"run_id": ""},
        {"org_id": "a b"},
        {"agent": "../x"},
        {"allowed_models": {"poetry": ("a:b",)}},
        {"mcp": {"files": ()}},
        {"mcp": {"a/b": ("cat",)}},
        {"stand_ins": ("a b",)},
        {"svid_ttl": 0.5},
        {"trat_ttl": float("inf")},
        {"leeway": -1.0},
        {"pace": float("nan")},
        {"quota": 0},
        {"quota_window": 0.0},
        {"request_limit": 0},
        {"compatibility": "sometimes"},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_settings_that_make_no_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError):
        GatewayOptions(**wrong)


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("http://localhost:4000/v1", True),
        ("http://127.0.0.1:4000/v1", True),
        ("http://[::1]:4000/v1", True),
        ("http+unix://%2Frun%2Fllm.sock/v1", True),
        ("https://models.example/v1", True),
        ("http://models.example/v1", False),
        ("http://10.0.0.1/v1", False),
        ("http://localhost.example/v1", False),
        ("ftp://localhost", False),
        ("https://user:key@models.example", False),
    ],
)
def test_a_key_does_not_travel_in_clear(url: str, allowed: bool) -> None:
    if allowed:
        assert ForwardOptions(base_url=url)
        return
    with pytest.raises(InvalidArgumentError) as refused:
        ForwardOptions(base_url=url)
    assert "key@" not in str(refused.value)


def test_the_built_in_provider_is_not_forwarded() -> None:
    options = GatewayOptions(forward={"ostiary": ForwardOptions(base_url="http://localhost:1")})
    with pytest.raises(DevserverError, match="built-in"), running(tcp=False, gateway=options):
        pass


def test_without_its_packages_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *a: None if name == "cryptography" else found(name),
    )
    with running(tcp=False) as server:
        with pytest.raises(DevserverError, match="cryptography.*ostiary\\[dev\\]"):
            _ = server.gateway
        assert server.admin.status().locked is False


def test_a_provider_nobody_plays(gateway: RunningGateway, web: Web) -> None:
    run = gateway.issue(
        "run_2", allowed_models={"analysis": ["acme:big"]}, allowed_providers=["acme"]
    )
    reply = web.post(CHAT, asking(model="big"), headers=proof(run, "acme"))
    assert refusal(reply) == (503, "provider_unavailable")
    run = gateway.issue("run_3", allowed_models={"analysis": ["ostiary:gpt-4o"]})
    assert refusal(web.post(CHAT, asking(model="gpt-4o"), headers=proof(run))) == (
        404,
        "model_not_found",
    )


def test_on_loopback_when_asked() -> None:
    with running(tcp=False, gateway=GatewayOptions(port=0)) as server:
        url = server.gateway.url
        assert url is not None
        assert url.startswith("http://127.0.0.1:")
        address = ("127.0.0.1", int(url.rpartition(":")[2]))
        with Web(address) as web:
            assert web.post(CHAT, asking(), headers=proof(server.gateway)).status == 200
            assert web.post(CHAT, asking(), headers={"User-Agent": "x"}).status == 401
            hosted = proof(server.gateway) | {"Host": "gateway.local"}
            assert web.post(CHAT, asking(), headers=hosted).status == 200
    with running(tcp=False) as server:
        assert server.gateway.url is None
