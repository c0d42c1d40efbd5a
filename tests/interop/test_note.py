"""A client of the note dialect, written from the protocol alone.

One method name for both steps of authentication, a token where the others have a session
id, and `use` results wrapped once more.
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
    def __init__(self, body: dict[str, Any]) -> None:
        super().__init__(body["message"])
        self.code: str = body["code"]


class NoteClient:
    def __init__(self, address: tuple[str, int]) -> None:
        self._sock = socket.create_connection(address)
        self._sock.settimeout(30)
        self._id = 0

    def close(self) -> None:
        self._sock.close()

    def call(self, method: str, **params: Any) -> Any:
        self._id += 1
        body = json.dumps({"id": self._id, "method": method, "params": params}).encode()
        self._sock.sendall(struct.pack(">I", len(body)) + body)
        (size,) = struct.unpack(">I", self._sock.recv(4, socket.MSG_WAITALL))
        answer = json.loads(self._sock.recv(size, socket.MSG_WAITALL))
        if "error" in answer:
            raise Fault(answer["error"])
        return answer["result"]

    def authenticate(self, agent: str, key: SigningKey) -> str:
        challenge = bytes.fromhex(self.call("authenticate", agent_name=agent)["challenge"])
        done = self.call(
            "authenticate",
            agent_name=agent,
            challenge_response=key.sign(challenge).signature.hex(),
        )
        assert done["authenticated"] is True
        token: str = done["session_token"]
        return token


@pytest.fixture
def vault() -> Iterator[RunningVault]:
    with running() as server:
        server.put("hook/key", "k1", type="token")
        server.put("other/secret", "not yours")
        server.add_agent("my-agent", allow=["hook/*"])
        yield server


@pytest.fixture
def client(vault: RunningVault) -> Iterator[NoteClient]:
    assert vault.tcp is not None
    one = NoteClient(vault.tcp)
    yield one
    one.close()


@pytest.fixture
def key(vault: RunningVault) -> SigningKey:
    return SigningKey(bytes.fromhex((vault.home / "keys/my-agent.key").read_text()))


def test_the_tour(client: NoteClient, key: SigningKey) -> None:
    assert client.authenticate("my-agent", key)
    got = client.call("retrieve", path="hook/key", ttl=60)
    assert bytes.fromhex(got["value"]) == b"k1"
    assert got["expires_at"].endswith("Z")
    (entry,) = client.call("list")["credentials"]
    assert (entry["path"], entry["type"]) == ("hook/key", "token")
    assert entry["created_at"]
    used = client.call(
        "use",
        path="hook/key",
        operation="sign",
        params={"algorithm": "hmac-sha256", "data": "ping"},
    )
    assert used["result"] == {"signature": SIGNED}
    (lease,) = client.call("lease_status")["leases"]
    assert (lease["lease_id"], lease["path"]) == (got["lease_id"], "hook/key")
    assert client.call("release_lease", lease_id=got["lease_id"]) == {}
    assert client.call("lease_status")["leases"] == []


def test_errors(client: NoteClient, key: SigningKey) -> None:
    def code(method: str, **params: Any) -> str:
        with pytest.raises(Fault) as caught:
            client.call(method, **params)
        return caught.value.code

    assert code("list") == "AUTH_FAILED"
    wrong = "00" * 64
    assert code("authenticate", agent_name="my-agent", challenge_response=wrong) == "AUTH_FAILED"
    client.call("authenticate", agent_name="my-agent")
    assert code("authenticate", agent_name="my-agent", challenge_response=wrong) == "AUTH_FAILED"
    client.authenticate("my-agent", key)
    assert code("retrieve", path="other/secret", ttl=60) == "ACCESS_DENIED"
    assert code("retrieve", path="hook/none", ttl=60) == "CREDENTIAL_NOT_FOUND"
    blocked = {"url": "http://169.254.169.254/latest/meta-data/"}
    assert code("use", path="hook/key", operation="http_request", params=blocked) == "SSRF_BLOCKED"
