"""A dotted-dialect client, written from the protocol alone, on the same tour.

It does what the clients of that dialect do: one request in flight, no session id, every
param always present, `value` and `output` taken as they are.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from nacl.signing import SigningKey

from ostiary.devserver import RunningVault, running

SIGNED = "PaMP2/QSSDnZQW7RGt8aj2dghy2saZjbp8x5HE8QuZU="


class Fault(Exception):
    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class DottedClient:
    def __init__(self, address: str) -> None:
        # A path, or host:port: told apart by how it begins.
        if address.startswith(("/", ".")):
            self._sock = socket.socket(socket.AF_UNIX)
            self._sock.connect(address)
        else:
            host, _, port = address.rpartition(":")
            self._sock = socket.create_connection((host, int(port)))
        self._sock.settimeout(30)
        self._id = 0

    def close(self) -> None:
        self._sock.close()

    def _call(self, method: str, params: Any) -> Any:
        self._id += 1
        body = json.dumps({"id": self._id, "method": method, "params": params}).encode()
        self._sock.sendall(struct.pack(">I", len(body)) + body)
        (size,) = struct.unpack(">I", self._read(4))
        assert size <= 16 * 1024 * 1024
        answer = json.loads(self._read(size))
        assert answer["id"] == self._id
        if answer.get("error") is not None:
            # Both members are mandatory in this dialect.
            raise Fault(answer["error"]["code"], answer["error"]["message"])
        assert answer["result"] is not None
        return answer["result"]

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = self._sock.recv(size - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data

    def authenticate(self, agent: str, key: SigningKey) -> bool:
        challenge = bytes.fromhex(self._call("auth.challenge", {"agent": agent})["challenge"])
        signature = key.sign(challenge).signature.hex()
        verified = self._call("auth.verify", {"agent": agent, "signature": signature})
        return verified["authenticated"] is True

    def retrieve(self, path: str, ttl: int) -> tuple[str, Any, str, int]:
        got = self._call("credential.retrieve", {"path": path, "ttl": ttl})
        return got["path"], got["value"], got["lease_id"], got["ttl"]

    def list(self) -> list[dict[str, Any]]:
        listed = self._call("credential.list", {})
        assert isinstance(listed, list)
        return listed

    def release_lease(self, lease_id: str) -> None:
        self._call("lease.release", {"lease_id": lease_id})

    def use(self, path: str, operation: str, params: dict[str, Any] | None) -> Any:
        used = self._call(
            "credential.use", {"path": path, "operation": operation, "params": params}
        )
        assert used["success"] is True
        return used["output"]


@pytest.fixture
def vault() -> Iterator[RunningVault]:
    with running() as server:
        server.put("openai/api_key", "sk-démo")
        server.put("hook/key", "k1")
        server.put("bin/blob", b"\x00\xff")
        server.put("other/secret", "not yours")
        server.add_agent("my-agent", allow=["openai/*", "hook/*", "bin/*", "none/*"])
        yield server


@pytest.fixture
def key(vault: RunningVault) -> SigningKey:
    return SigningKey(bytes.fromhex((vault.home / "keys/my-agent.key").read_text()))


@pytest.fixture(params=["unix", "tcp"])
def client(request: pytest.FixtureRequest, vault: RunningVault) -> Iterator[DottedClient]:
    assert vault.tcp is not None
    address = str(vault.socket_path) if request.param == "unix" else ":".join(map(str, vault.tcp))
    one = DottedClient(address)
    yield one
    one.close()


def test_the_tour(client: DottedClient, key: SigningKey, vault: RunningVault) -> None:
    assert client.authenticate("my-agent", key)
    path, value, lease, ttl = client.retrieve("openai/api_key", 120)
    assert (path, value, ttl) == ("openai/api_key", "sk-démo", 120)
    _, blob, second, _ = client.retrieve("bin/blob", 60)
    assert bytes.fromhex(blob) == b"\x00\xff"
    assert len(vault.admin.lease_list()) == 2
    client.release_lease(lease)
    client.release_lease(lease)
    client.release_lease(second)
    assert vault.admin.lease_list() == []

    assert [entry["path"] for entry in client.list()] == [
        "bin/blob",
        "hook/key",
        "openai/api_key",
    ]

    assert client.use("hook/key", "http_header", None)["header"] == "Authorization: Bearer k1"
    signed = client.use("hook/key", "sign", {"algorithm": "hmac-sha256", "data": "ping"})
    assert signed == {"signature": SIGNED}
    sealed = client.use("hook/key", "encrypt", {"data": "secret text"})["ciphertext"]
    assert client.use("hook/key", "decrypt", {"data": sealed})["plaintext"] == "secret text"


def test_errors(client: DottedClient, key: SigningKey, vault: RunningVault) -> None:
    def code(call: Any, *args: Any) -> str:
        with pytest.raises(Fault) as caught:
            call(*args)
        return caught.value.code

    assert code(client.list) == "AUTH_FAILED"
    assert code(client.authenticate, "my-agent", SigningKey.generate()) == "AUTH_FAILED"
    assert code(client.authenticate, "nobody", key) == "AUTH_FAILED"
    assert client.authenticate("my-agent", key)
    assert code(client.retrieve, "other/secret", 60) == "ACCESS_DENIED"
    assert code(client.retrieve, "none/there", 60) == "CREDENTIAL_NOT_FOUND"
    assert code(client.use, "hook/key", "dance", {}) == "UNSUPPORTED_OPERATION"
    assert (
        code(client.use, "hook/key", "http_request", {"url": "http://127.0.0.1/"}) == "SSRF_BLOCKED"
    )
    vault.admin.lock()
    assert code(client.retrieve, "hook/key", 60) == "VAULT_LOCKED"
    vault.admin.unlock()
    vault.admin.agent_remove("my-agent")
    assert code(client.list) == "SESSION_EXPIRED"
    assert code(client.authenticate, "my-agent", key) == "AUTH_FAILED"


def test_a_challenge_for_each_agent(
    client: DottedClient, key: SigningKey, vault: RunningVault
) -> None:
    """Step two names the agent, so two agents' challenges may be open on one connection."""
    other = SigningKey(bytes.fromhex(vault.add_agent("other").read_text()))
    first = bytes.fromhex(client._call("auth.challenge", {"agent": "my-agent"})["challenge"])
    second = bytes.fromhex(client._call("auth.challenge", {"agent": "other"})["challenge"])
    for agent, signer, challenge in (("my-agent", key, first), ("other", other, second)):
        signature = signer.sign(challenge).signature.hex()
        verified = client._call("auth.verify", {"agent": agent, "signature": signature})
        assert verified["authenticated"] is True
