"""The published Python client of the original service, unmodified, on a tour of our vault."""

from __future__ import annotations

import base64
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from nacl.signing import SigningKey

from ostiary.devserver import RunningVault, running
from ostiary.devserver.clock import Clock
from ostiary.secret import Secret
from ostiary.vault import keys

sanctum_ai = pytest.importorskip("sanctum_ai", reason="the original client is not installed")

if sanctum_ai.__version__ != "0.4.0":
    pytest.skip("another release of the original client", allow_module_level=True)

SIGNED = "PaMP2/QSSDnZQW7RGt8aj2dghy2saZjbp8x5HE8QuZU="


class Hand:
    """Moves the vault's clock."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def clock(self) -> Clock:
        return Clock(steady=lambda: self.now, wall=lambda: self.now)


@pytest.fixture
def hand() -> Hand:
    return Hand()


@pytest.fixture
def host() -> Iterator[tuple[int, list[bytes]]]:
    """A host for `http_request`: its port, and what it was sent."""
    seen: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    one, _ = listener.accept()
                except OSError:
                    return
                with one:
                    seen.append(one.recv(65536))
                    one.sendall(b"HTTP/1.1 201 Made\r\nContent-Length: 2\r\nX-A: b\r\n\r\nok")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1], seen
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


@pytest.fixture
def vault(hand: Hand, host: tuple[int, list[bytes]]) -> Iterator[RunningVault]:
    with running(clock=hand.clock(), http_allow=frozenset({f"127.0.0.1:{host[0]}"})) as server:
        server.put("openai/api_key", "sk-demo")
        server.put("hook/key", "k1")
        server.put("bin/blob", b"\x00\xff")
        server.put("other/secret", "not yours")
        server.add_agent("my-agent", allow=["openai/*", "hook/*", "bin/*", "none/*"])
        yield server


@pytest.fixture(params=["unix, plain", "tcp, plain", "unix, encrypted", "tcp, encrypted"])
def client(
    request: pytest.FixtureRequest, vault: RunningVault, monkeypatch: pytest.MonkeyPatch
) -> Any:
    """The client as its guide makes it; keys where it looks for them, under HOME."""
    network, form = request.param.split(", ")
    home = vault.home / "user"
    keyring = home / ".sanctum" / "keys"
    keyring.mkdir(parents=True, mode=0o700)
    settings: dict[str, Any] = {}
    key = keys.load(vault.home / "keys" / "my-agent.key")
    if form == "plain":
        keys.save(key, keyring / "my-agent.key")
    else:
        keys.save(key, keyring / "my-agent.key.enc", passphrase=Secret("open sesame"))
        settings["passphrase"] = "open sesame"
    monkeypatch.setenv("HOME", str(home))
    if network == "tcp":
        assert vault.tcp is not None
        settings["host"], settings["port"] = vault.tcp
    else:
        settings["socket_path"] = str(vault.socket_path)
    return sanctum_ai.SanctumClient("my-agent", **settings)


def leases(vault: RunningVault) -> list[str]:
    return sorted(lease.path for lease in vault.admin.lease_list())


def test_the_tour(client: Any, vault: RunningVault, host: tuple[int, list[bytes]]) -> None:
    with client as c:
        assert c.retrieve("openai/api_key") == "sk-demo"
        raw = c.retrieve_raw("bin/blob", ttl=120)
        assert bytes.fromhex(raw["value"]) == b"\x00\xff"
        assert raw["ttl"] == 120
        assert raw["path"] == "bin/blob"
        assert leases(vault) == ["bin/blob", "openai/api_key"]
        c.release_lease(raw["lease_id"])
        assert leases(vault) == ["openai/api_key"]

        listed = c.list()
        assert [entry["path"] for entry in listed] == ["bin/blob", "hook/key", "openai/api_key"]
        assert {entry["type"] for entry in listed} == {"api_key"}

        header = c.use("openai/api_key", "http_header")
        assert header["header_name"] == "Authorization"
        assert header["header_value"] == "Bearer sk-demo"
        assert header["header"] == "Authorization: Bearer sk-demo"
        signed = c.use_credential("hook/key", "sign", {"algorithm": "hmac-sha256", "data": "ping"})
        assert signed == {"signature": SIGNED}
        sealed = c.use("hook/key", "encrypt", {"data": "grüße"})["ciphertext"]
        assert c.use("hook/key", "decrypt", {"data": sealed}) == {"plaintext": "grüße"}
        port, seen = host
        answer = c.use(
            "openai/api_key",
            "http_request",
            {
                "method": "POST",
                "url": f"http://127.0.0.1:{port}/v1",
                "header_type": "api_key",
                "body": "{}",
            },
        )
        assert (answer["status"], answer["body"]) == (201, "ok")
        assert answer["headers"]["x-a"] == "b"
        assert b"\r\nX-API-Key: sk-demo\r\n" in seen[0]
    assert leases(vault) == [], "close releases what it remembers"
    client.connect()
    assert client.retrieve("hook/key") == "k1", "the same object connects again"
    client.close()


def test_every_mapped_error(client: Any, vault: RunningVault, hand: Hand) -> None:
    def refusal(kind: str, code: str, call: Any, *args: Any, **named: Any) -> Any:
        with pytest.raises(getattr(sanctum_ai, kind)) as caught:
            call(*args, **named)
        assert caught.value.code == code
        assert str(caught.value)
        assert caught.value.suggestion
        return caught.value

    client.connect()
    denied = refusal("AccessDenied", "ACCESS_DENIED", client.retrieve, "other/secret")
    assert denied.context["path"] == "other/secret"
    refusal("CredentialNotFound", "CREDENTIAL_NOT_FOUND", client.retrieve, "none/there")

    lease = client.retrieve_raw("hook/key", ttl=5)["lease_id"]
    hand.now += 5
    again = {"session_id": client._session_id, "lease_id": lease}
    refusal("LeaseExpired", "LEASE_EXPIRED", client._call, "retrieve", again)
    client.release_lease(lease)

    vault.admin.policy_remove("agent-my-agent")
    vault.admin.policy_add(
        "tight",
        principal="agent:my-agent",
        resources=["hook/*"],
        actions=["retrieve"],
        conditions={"max_retrievals_per_hour": 1},
    )
    client.retrieve("hook/key")
    limited = refusal("RateLimited", "RATE_LIMITED", client.retrieve, "hook/key")
    assert limited.context["retry_after"] == 3600.0

    vault.admin.lock()
    refusal("VaultLocked", "VAULT_LOCKED", client.retrieve, "hook/key")
    vault.admin.unlock()

    hand.now += 3600
    refusal("SessionExpired", "SESSION_EXPIRED", client.retrieve, "hook/key")
    client.close()

    vault.admin.agent_remove("my-agent")
    refusal("AuthError", "AUTH_FAILED", client.connect)
    client._sock.close()  # the original leaves it open


def test_a_wrong_key(vault: RunningVault, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.key"
    wrong.write_text(bytes(SigningKey.generate()).hex())
    client = sanctum_ai.SanctumClient(
        "my-agent", socket_path=str(vault.socket_path), key_path=str(wrong)
    )
    with pytest.raises(sanctum_ai.AuthError) as caught:
        client.connect()
    assert caught.value.code == "AUTH_FAILED"
    client._sock.close()


def test_legacy_string_errors(tmp_path: Path) -> None:
    with running(legacy_errors=True) as vault:
        key = vault.add_agent("my-agent")
        with sanctum_ai.SanctumClient(
            "my-agent", socket_path=str(vault.socket_path), key_path=str(key)
        ) as client:
            with pytest.raises(sanctum_ai.VaultError) as caught:
                client.retrieve("none/there")
            assert str(caught.value) == "there is no credential at none/there"
            assert caught.value.code == "UNKNOWN"


def test_the_guides_examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The quick start and the three ways to connect, against the demonstration vault."""
    monkeypatch.setenv("HOME", str(tmp_path))
    with running(tmp_path / ".sanctum", demo=True) as vault:
        with sanctum_ai.SanctumClient("my-agent") as client:
            assert client.retrieve("openai/api_key")
            assert client.list()
            assert client.use("openai/api_key", "http_header")["header_value"]
        assert vault.tcp is not None
        host, port = vault.tcp
        for made in (
            sanctum_ai.SanctumClient("my-agent"),
            sanctum_ai.SanctumClient("my-agent", socket_path=str(vault.socket_path)),
            sanctum_ai.SanctumClient("my-agent", host=host, port=port),
        ):
            made.connect()
            assert base64.b64decode(
                made.use("hook/key", "sign", {"algorithm": "hmac-sha256", "data": "ping"})[
                    "signature"
                ]
            )
            made.close()
        for target in (str(vault.socket_path), (host, port), {"host": host, "port": port}):
            made = sanctum_ai.SanctumClient("my-agent")
            made.connect(target)
            assert made.retrieve("github/token")
            made.close()
