"""The embedded server's checklist (docs/protocol.md), a test or more for each row."""

from __future__ import annotations

import json
import os
import stat

import pytest

from ostiary.devserver import RunningVault, running
from tests.devserver.conftest import Connect, key_of
from tests.devserver.wire import Hands, Refused, Wire, read_key, wire

SIGNED = "PaMP2/QSSDnZQW7RGt8aj2dghy2saZjbp8x5HE8QuZU="
SIGN = {"algorithm": "hmac-sha256", "data": "ping"}


def dotted_login(one: Wire, vault: RunningVault, agent: str) -> None:
    challenge = one.call("auth.challenge", agent=agent)["challenge"]
    signature = read_key(key_of(vault, agent)).sign(bytes.fromhex(challenge)).signature.hex()
    assert one.call("auth.verify", agent=agent, signature=signature)["authenticated"] is True


def note_login(one: Wire, vault: RunningVault, agent: str) -> str:
    challenge = one.call("authenticate", agent_name=agent)["challenge"]
    signature = read_key(key_of(vault, agent)).sign(bytes.fromhex(challenge)).signature.hex()
    done = one.call("authenticate", agent_name=agent, challenge_response=signature)
    assert done["authenticated"] is True
    token: str = done["session_token"]
    return token


# -- 1: all three dialects on one port, by method name ------------------------


@pytest.mark.parametrize("tcp", [False, True])
def test_three_dialects_on_one_port(vault: RunningVault, connect: Connect, tcp: bool) -> None:
    flat = connect("demo", tcp=tcp)
    assert bytes.fromhex(flat.retrieve("maps/token")["value"]) == b"hi"
    dotted = connect(tcp=tcp)
    dotted_login(dotted, vault, "demo")
    assert dotted.call("credential.retrieve", path="maps/token", ttl=60)["value"] == "hi"
    note = connect(tcp=tcp)
    note_login(note, vault, "demo")
    assert bytes.fromhex(note.call("retrieve", path="maps/token", ttl=60)["value"]) == b"hi"
    # The method decides, not the login: one connection may mix them.
    assert flat.call("credential.retrieve", path="maps/token", ttl=60)["value"] == "hi"


# -- 2: the note dialect's second step, and its name for a session ------------


def test_session_token_is_an_alias(vault: RunningVault, connect: Connect) -> None:
    one = connect()
    token = note_login(one, vault, "demo")
    assert one.call("retrieve", session_token=token, path="maps/token")["lease_id"]
    with pytest.raises(Refused) as caught:
        one.call("retrieve", session_token="s-other", path="maps/token")
    assert caught.value.code == "SESSION_EXPIRED"


def test_flat_second_step_takes_the_token(vault: RunningVault, connect: Connect) -> None:
    one = connect()
    step = one.call("authenticate", agent_name="demo")
    signature = read_key(key_of(vault, "demo")).sign(bytes.fromhex(step["challenge"])).signature
    done = one.call(
        "challenge_response", session_token=step["session_id"], signature=signature.hex()
    )
    assert done["session_id"] == done["session_token"] == step["session_id"]


# -- 3: session = connection --------------------------------------------------


def test_a_session_belongs_to_its_connection(connect: Connect) -> None:
    mine, other = connect("demo"), connect("demo")
    with pytest.raises(Refused) as caught:
        other.call("retrieve", session_id=mine.session, path="maps/token")
    assert caught.value.code == "SESSION_EXPIRED"
    # Absent, the connection's own is meant; release_lease never sends one.
    lease = other.call("retrieve", path="maps/token")["lease_id"]
    assert other.release(lease) == {}


# -- 4: only authentication before authentication -----------------------------


@pytest.mark.parametrize(
    "method",
    [
        "retrieve",
        "list",
        "release_lease",
        "use",
        "lease_status",
        "credential.retrieve",
        "credential.list",
        "credential.use",
        "lease.release",
        "no.such.method",
    ],
)
def test_nothing_before_authentication(connect: Connect, method: str) -> None:
    one = connect()
    params = {"path": "maps/token", "operation": "http_header", "lease_id": "L-1", "ttl": 1}
    for _ in range(2):
        with pytest.raises(Refused) as caught:
            one.call(method, params)
        assert caught.value.code == "AUTH_FAILED"
    # A first step alone opens nothing.
    one.call("authenticate", agent_name="demo")
    with pytest.raises(Refused) as caught:
        one.call(method, params)
    assert caught.value.code == "AUTH_FAILED"


# -- 5: the shapes of each dialect --------------------------------------------


def test_flat_shapes(connect: Connect) -> None:
    one = connect("demo")
    granted = one.retrieve("bin/blob", ttl=120)
    assert granted["value"] == "ff00fe"
    assert granted["ttl"] == 120
    assert granted["path"] == "bin/blob"
    assert granted["expires_at"] == "2030-03-17T17:48:40.000Z"
    listed = one.call("list")
    assert [entry["path"] for entry in listed["credentials"]] == [
        "bin/blob",
        "guest/one",
        "hook/key",
        "maps/token",
    ]
    assert one.use("hook/key", "sign", **SIGN) == {"signature": SIGNED}


def test_dotted_shapes(vault: RunningVault, connect: Connect) -> None:
    one = connect()
    dotted_login(one, vault, "demo")
    granted = one.call("credential.retrieve", path="bin/blob", ttl=0)
    assert granted["value"] == "ff00fe"
    assert granted["encoding"] == "hex"
    assert granted["ttl"] == 300
    listed = one.call("credential.list")
    assert isinstance(listed, list)
    assert listed[-1]["path"] == "maps/token"
    assert listed[-1]["type"] == "token"
    used = one.call("credential.use", path="hook/key", operation="sign", params=SIGN)
    assert used == {"success": True, "output": {"signature": SIGNED}}
    header = one.call("credential.use", path="hook/key", operation="http_header", params=None)
    assert header["output"]["header_value"] == "Bearer k1"
    released = one.call("lease.release", lease_id=granted["lease_id"])
    assert released is not None


def test_note_shapes(vault: RunningVault, connect: Connect) -> None:
    one = connect()
    note_login(one, vault, "demo")
    used = one.call("use", path="hook/key", operation="sign", params=SIGN)
    assert used["result"] == {"signature": SIGNED}
    assert used["signature"] == SIGNED
    granted = one.call("retrieve", path="maps/token", ttl=30)
    (lease,) = one.call("lease_status")["leases"]
    assert lease["lease_id"] == granted["lease_id"]
    assert lease["path"] == "maps/token"
    assert one.release(granted["lease_id"]) == {}
    assert one.call("lease_status") == {"leases": []}


# -- 6: every request once, in order, with its id -----------------------------


def test_every_request_is_answered_once_and_in_order(connect: Connect) -> None:
    one = connect("demo")
    sent = []
    for number in range(50):
        path = "maps/token" if number % 3 else "not/there"
        sent.append(one.send("use", {"path": path, "operation": "http_header"}))
    answers = [one.receive() for _ in sent]
    assert [answer["id"] for answer in answers] == sent
    for number, answer in enumerate(answers):
        if number % 3:
            assert answer["result"]["header_value"] == "Bearer hi"
        else:
            assert answer["error"]["code"] == "CREDENTIAL_NOT_FOUND"


def test_errors_say_what_to_do(connect: Connect) -> None:
    one = connect("guest")
    for method, params in (
        ("retrieve", {"path": "maps/token"}),
        ("retrieve", {"path": "guest/none"}),
        ("retrieve", {}),
        ("retrieve", {"path": 7}),
        ("retrieve", {"path": "guest/one", "ttl": -1}),
        ("retrieve", {"session_id": "s-x", "path": "guest/one"}),
        ("use", {"path": "guest/one", "operation": "dance"}),
        ("use", {"path": "guest/one", "operation": "sign", "params": {"data": 1}}),
        ("no.such.method", {}),
        ("admin.nothing", {}),
    ):
        with pytest.raises(Refused) as caught:
            one.call(method, params)
        for field in ("code", "message", "suggestion"):
            assert isinstance(caught.value[field], str)
            assert caught.value[field]


def test_legacy_string_errors(hands: Hands) -> None:
    with running(legacy_errors=True, clock=hands.clock()) as vault, wire(vault.socket_path) as one:
        with pytest.raises(Refused) as caught:
            one.call("list")
        assert isinstance(caught.value.body, str)
        one.send_raw(b"no json")
        assert isinstance(one.receive()["error"], str)


@pytest.mark.parametrize(
    ("payload", "id"),
    [
        (b'{"id":7}', 7),
        (b'{"id":7,"method":null}', 7),
        (b'{"id":"seven","method":"list"}', 0),
        (b'{"method":5}', 0),
        (b"[]", 0),
        (b"7", 0),
    ],
)
def test_json_that_is_no_request(connect: Connect, payload: bytes, id: int) -> None:
    one = connect("demo")
    one.send_raw(payload)
    answer = one.receive()
    assert answer["id"] == id
    assert answer["error"]["code"] == "INVALID_REQUEST"
    assert one.list()  # the stream is still in step


# -- 7: sizes, and bytes that are no frames -----------------------------------


def test_too_long_a_frame(connect: Connect) -> None:
    one = connect("demo")
    one.sock.sendall((4 * 1024 * 1024 + 1).to_bytes(4, "big") + b"x" * 1000)
    answer = one.receive()
    assert answer["id"] == 0
    assert answer["error"]["code"] == "INVALID_REQUEST"
    assert one.at_end()


@pytest.mark.parametrize("tcp", [False, True])
def test_the_error_arrives_though_the_frame_was_on_its_way(connect: Connect, tcp: bool) -> None:
    # A peer that writes its whole frame before it reads: closing at once would reset the
    # connection and take the answer with it.
    for _ in range(10):
        one = connect("demo", tcp=tcp)
        one.sock.sendall((5 * 1024 * 1024).to_bytes(4, "big") + b"x" * (5 * 1024 * 1024))
        assert one.receive()["error"]["code"] == "INVALID_REQUEST"
        assert one.at_end()


def test_longest_frame_is_taken(connect: Connect) -> None:
    one = connect("demo")
    request = b'{"id":9,"method":"list","params":{}}'
    one.send_raw(request + b" " * (4 * 1024 * 1024 - len(request)))
    assert one.receive()["id"] == 9


@pytest.mark.parametrize(
    "payload", [b"", b"no json", b'{"id":1,', b"\xff\xfe", b'{"a":' * 20_000, b"[" * 60_000]
)
def test_bad_json(connect: Connect, payload: bytes) -> None:
    one = connect()
    one.send_raw(payload)
    answer = one.receive()
    assert answer["id"] == 0
    assert answer["error"]["code"] == "INVALID_REQUEST"
    assert one.at_end()


def test_http_is_not_a_frame(connect: Connect) -> None:
    one = connect(tcp=True)
    one.sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert one.receive()["error"]["code"] == "INVALID_REQUEST"
    assert one.at_end()


def test_too_long_an_answer(vault: RunningVault, connect: Connect) -> None:
    # 24 descriptions of 200 kB: a list that no frame can carry.
    for number in range(24):
        vault.put(f"long/{number}", "x", description="d" * 200_000)
    one = connect("demo")
    with pytest.raises(Refused) as caught:
        one.list()
    assert caught.value.code == "INVALID_REQUEST"
    assert one.retrieve("long/1")["value"] == "78"


# -- 8: unknown agents look like bad signatures -------------------------------


def test_unknown_agents_look_like_bad_signatures(connect: Connect) -> None:
    def refusal(agent: str) -> object:
        one = connect()
        step = one.call("authenticate", agent_name=agent)
        assert len(bytes.fromhex(step["challenge"])) == 32
        with pytest.raises(Refused) as caught:
            one.call("challenge_response", session_id=step["session_id"], signature="ab" * 64)
        return caught.value.body

    known, unknown = refusal("demo"), refusal("nobody")
    assert known == unknown
    assert isinstance(known, dict)
    assert known["code"] == "AUTH_FAILED"


# -- 9: files and addresses ---------------------------------------------------


def test_modes_and_addresses(vault: RunningVault) -> None:
    def mode(name: str) -> int:
        return stat.S_IMODE(os.stat(vault.home / name).st_mode)

    assert mode("") == mode("keys") == 0o700
    for name in ("vault.sock", "vault.db", "vault.db-wal", "master.key", "daemon.lock"):
        assert mode(name) == 0o600, name
    assert mode("keys/demo.key") == 0o600
    assert vault.tcp is not None
    assert vault.tcp[0] == "127.0.0.1"


# -- 10: what is never logged -------------------------------------------------


def test_nothing_secret_is_recorded(
    vault: RunningVault, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    vault.put("deep/secret", "correct-horse-battery")
    one = connect("demo")
    lease = one.retrieve("deep/secret")["lease_id"]
    one.use("deep/secret", "http_header")
    one.use("deep/secret", "sign", data="x")
    with pytest.raises(Refused):
        one.use("deep/secret", "decrypt", data="nonsense")
    one.release(lease)
    session = one.session
    one.close()
    entries = json.dumps([str(entry) for entry in vault.admin.audit(limit=1000)])
    assert "deep/secret" in entries
    recorded = entries.encode() + caplog.text.encode()
    for name in ("vault.db", "vault.db-wal"):
        recorded += (vault.home / name).read_bytes()
    secret = b"correct-horse-battery"
    for word in (secret, secret.hex().encode(), lease.encode(), session.encode()):
        assert word not in recorded
