"""Challenges, sessions, and the limits on trying."""

from __future__ import annotations

import pytest
from nacl.signing import SigningKey

from ostiary.devserver import RunningVault, running
from tests.devserver.conftest import Connect, key_of
from tests.devserver.wire import Hands, Refused, Wire, read_key, wire


def sign(vault: RunningVault, agent: str, challenge: str) -> str:
    return read_key(key_of(vault, agent)).sign(bytes.fromhex(challenge)).signature.hex()


def refused(one: Wire, method: str, **params: object) -> str:
    with pytest.raises(Refused) as caught:
        one.call(method, **params)
    return caught.value.code


def test_challenges_differ(connect: Connect) -> None:
    one = connect()
    seen = {one.call("authenticate", agent_name="demo")["challenge"] for _ in range(20)}
    assert len(seen) == 20
    assert {len(text) for text in seen} == {64}


def test_a_challenge_is_used_once(vault: RunningVault, connect: Connect) -> None:
    one = connect()
    step = one.call("authenticate", agent_name="demo")
    answer = {
        "session_id": step["session_id"],
        "signature": sign(vault, "demo", step["challenge"]),
    }
    assert one.call("challenge_response", answer)["authenticated"] is True
    assert refused(one, "challenge_response", **answer) == "AUTH_FAILED"
    assert one.call("list"), "the session it opened is untouched"


def test_a_wrong_answer_uses_it_up(vault: RunningVault, connect: Connect) -> None:
    one = connect()
    step = one.call("authenticate", agent_name="demo")
    wrong = SigningKey.generate().sign(bytes.fromhex(step["challenge"])).signature.hex()
    id = step["session_id"]
    assert refused(one, "challenge_response", session_id=id, signature=wrong) == "AUTH_FAILED"
    right = sign(vault, "demo", step["challenge"])
    assert refused(one, "challenge_response", session_id=id, signature=right) == "AUTH_FAILED"


def test_a_challenge_is_for_its_connection(vault: RunningVault, connect: Connect) -> None:
    one, other = connect(), connect()
    step = one.call("authenticate", agent_name="demo")
    answer = {
        "session_id": step["session_id"],
        "signature": sign(vault, "demo", step["challenge"]),
    }
    assert refused(other, "challenge_response", **answer) == "AUTH_FAILED"
    assert one.call("challenge_response", answer)["authenticated"] is True


def test_a_challenge_is_for_its_agent(vault: RunningVault, connect: Connect) -> None:
    one = connect()
    challenge = one.call("auth.challenge", agent="demo")["challenge"]
    signature = sign(vault, "guest", challenge)
    assert refused(one, "auth.verify", agent="guest", signature=signature) == "AUTH_FAILED"
    assert refused(one, "auth.verify", agent="demo", signature=signature) == "AUTH_FAILED"


@pytest.mark.parametrize(("wait", "in_time"), [(29.9, True), (30.0, False)])
def test_a_challenge_expires(
    vault: RunningVault, connect: Connect, hands: Hands, wait: float, in_time: bool
) -> None:
    one = connect()
    step = one.call("authenticate", agent_name="demo")
    hands.forward(wait)
    answer = {
        "session_id": step["session_id"],
        "signature": sign(vault, "demo", step["challenge"]),
    }
    if in_time:
        assert one.call("challenge_response", answer)["authenticated"] is True
    else:
        assert refused(one, "challenge_response", **answer) == "AUTH_FAILED"


def test_open_challenges_are_bounded(vault: RunningVault, connect: Connect) -> None:
    one = connect()
    steps = [one.call("authenticate", agent_name="demo") for _ in range(9)]
    answers = [
        {"session_id": s["session_id"], "signature": sign(vault, "demo", s["challenge"])}
        for s in steps
    ]
    assert refused(one, "challenge_response", **answers[0]) == "AUTH_FAILED"
    assert one.call("challenge_response", answers[8])["authenticated"] is True


@pytest.mark.parametrize("signature", ["", "zz", "00" * 63, "00" * 65, "0x" * 64, "é" * 128])
def test_signatures_that_are_none(connect: Connect, signature: str) -> None:
    one = connect()
    id = one.call("authenticate", agent_name="demo")["session_id"]
    assert refused(one, "challenge_response", session_id=id, signature=signature) == "AUTH_FAILED"


def test_sessions_expire(connect: Connect, vault: RunningVault, hands: Hands) -> None:
    one = connect("demo")
    hands.forward(3599)
    assert one.list()
    hands.forward(1)
    for method, params in (
        ("list", {}),
        ("retrieve", {"path": "maps/token"}),
        ("use", {"path": "maps/token", "operation": "http_header"}),
        ("release_lease", {"lease_id": "L-1"}),
    ):
        assert refused(one, method, **params) == "SESSION_EXPIRED"
    one.login("demo", key_of(vault, "demo"))
    assert one.list()


def test_another_agent_takes_over_a_connection(vault: RunningVault, connect: Connect) -> None:
    one = connect("demo")
    one.retrieve("maps/token")
    first = one.session
    one.login("guest", key_of(vault, "guest"))
    assert vault.admin.lease_list() == []
    assert refused(one, "list", session_id=first) == "SESSION_EXPIRED"
    assert [entry["path"] for entry in one.list()] == ["guest/one"]


def test_too_many_failures(vault: RunningVault, connect: Connect, hands: Hands) -> None:
    def fail(agent: str) -> str:
        one = connect()
        try:
            step = one.call("authenticate", agent_name=agent)
            one.call("challenge_response", session_id=step["session_id"], signature="00" * 64)
        except Refused as refusal:
            return refusal.code
        finally:
            one.close()
        return ""

    for agent in ("guest", "nobody"):
        codes = [fail(agent) for _ in range(31)]
        assert codes == ["AUTH_FAILED"] * 30 + ["RATE_LIMITED"], agent
    with pytest.raises(Refused) as caught:
        connect("guest")
    assert caught.value.code == "RATE_LIMITED"
    assert caught.value["context"] == {"retry_after": 60.0}
    assert connect("demo").list(), "others are not held up"
    hands.forward(60)
    assert connect("guest").list()


def test_calls_per_second(hands: Hands) -> None:
    with running(calls_per_second=5, clock=hands.clock()) as vault:
        key = vault.add_agent("demo")
        with wire(vault.socket_path) as one:
            one.login("demo", key)
            for _ in range(10):
                one.list()
            with pytest.raises(Refused) as caught:
                one.list()
            assert caught.value.code == "RATE_LIMITED"
            assert caught.value["context"] == {"retry_after": 0.2}
            hands.forward(0.201)
            one.list()
            with pytest.raises(Refused):
                one.list()


def test_locked(vault: RunningVault, connect: Connect) -> None:
    one = connect("demo")
    one.retrieve("maps/token")
    vault.admin.lock()
    for method, params in (
        ("retrieve", {"path": "maps/token"}),
        ("use", {"path": "maps/token", "operation": "http_header"}),
        ("list", {}),
    ):
        assert refused(one, method, **params) == "VAULT_LOCKED"
    assert refused(connect(), "authenticate", agent_name="demo") == "VAULT_LOCKED"
    status = vault.admin.status()
    assert status.locked
    assert status.leases == 0
    vault.admin.unlock()
    assert one.retrieve("maps/token")["value"] == "6869"
    assert vault.admin.audit_verify().valid
