"""Who is let through the gateway: each refusal of docs/protocol.md, in its order."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("cryptography", reason="the extra dev is not installed")

from ostiary.devserver import GatewayOptions, RunningGateway, RunningVault, running
from tests.devserver.gateway import CHAT, EMBED, MODERN, asking, proof, refusal
from tests.devserver.web import Web
from tests.devserver.wire import Hands

LIMIT = 4096


@pytest.fixture(scope="module")
def hands() -> Hands:
    return Hands()


@pytest.fixture(scope="module")
def server(hands: Hands) -> Iterator[RunningVault]:
    options = GatewayOptions(quota=1, quota_window=60, request_limit=LIMIT, rotate=False)
    with running(tcp=False, demo=True, gateway=options, clock=hands.clock()) as one:
        yield one


@pytest.fixture(scope="module")
def gateway(server: RunningVault) -> RunningGateway:
    return server.gateway


@pytest.fixture
def web(gateway: RunningGateway) -> Iterator[Web]:
    with Web(gateway.socket_path) as one:
        yield one


class Attempt:
    """A request whose faults are put right one after the other."""

    def __init__(self, gateway: RunningGateway, **claims: Any) -> None:
        Attempt.made = getattr(Attempt, "made", 0) + 1
        self.gateway = gateway
        self.run = gateway.issue(f"run_gate_{Attempt.made}", **claims)
        self.headers: dict[str, str | None] = dict(MODERN)
        self.lines: list[tuple[str, str]] = []
        self.body = b"{}"
        self.path = CHAT

    def send(self, web: Web) -> tuple[int, str]:
        """Send it; header lines that stand twice are sent twice."""
        lines = [f"POST {self.path} HTTP/1.1", "Host: localhost", "Content-Type: application/json"]
        lines += [f"{name}: {value}" for name, value in self.headers.items() if value is not None]
        lines += [f"{name}: {value}" for name, value in self.lines]
        lines += [f"Content-Length: {len(self.body)}", "", ""]
        web.sock.sendall("\r\n".join(lines).encode() + self.body)
        reply = web.read()
        if reply.status == 200:
            return 200, ""
        return refusal(reply)


def test_each_fault_is_told_before_the_next(gateway: RunningGateway, hands: Hands) -> None:
    """A request in which everything is wrong, put right step by step: the order of the checks."""
    attempt = Attempt(
        gateway,
        allowed_models={"analysis": ["ostiary:echo"], "embeddings": ["ostiary:hash"]},
        allowed_providers=["ostiary"],
        scope="another.purpose",
        svid_ttl=50.0,
        trat_ttl=40.0,
    )
    other = gateway.issue("run_gate_other")
    old_svid, old_trat = attempt.run.svid.reveal(), attempt.run.trat.reveal()
    hands.forward(60)  # both are over
    gateway.rotate()
    attempt.body = b"x" * (LIMIT + 1)
    told: list[tuple[int, str]] = []

    def step(change: Callable[[], object] = lambda: None) -> None:
        change()
        with Web(gateway.socket_path) as web:
            told.append(attempt.send(web))

    step()
    step(lambda: attempt.headers.update({"Authorization": "Basic abc"}))
    step(lambda: attempt.headers.update({"Authorization": "Bearer abc"}))
    step(lambda: attempt.headers.update({"Authorization": "Bearer e30.e30.AAAA"}))
    step(lambda: attempt.headers.update({"Authorization": f"Bearer {old_svid}"}))
    fresh = attempt.run.svid.reveal()
    step(lambda: attempt.headers.update({"Authorization": f"Bearer {fresh}"}))
    step(lambda: attempt.lines.extend([("Txn-Token", "a.b.c"), ("Txn-Token", "a.b.c")]))
    step(lambda: attempt.lines.pop())
    step(lambda: attempt.lines.__setitem__(0, ("Txn-Token", old_trat)))
    step(lambda: attempt.lines.__setitem__(0, ("Txn-Token", other.trat.reveal())))
    step(lambda: attempt.lines.__setitem__(0, ("Txn-Token", attempt.run.trat.reveal())))
    step(lambda: attempt.headers.update({"X-Provider": "openai"}))
    step(lambda: attempt.headers.update({"X-Provider": "Ostiary"}))
    step(lambda: setattr(attempt, "body", b"no JSON"))
    step(lambda: setattr(attempt, "body", json.dumps(asking(7, model="hash")).encode()))
    step(lambda: setattr(attempt, "body", json.dumps(asking(7)).encode()))
    attempt.run = gateway.issue(
        attempt.run.run_id,
        allowed_models={"analysis": ["ostiary:echo"]},
        allowed_providers=["ostiary"],
    )
    step(lambda: attempt.lines.__setitem__(0, ("Txn-Token", attempt.run.trat.reveal())))
    step(lambda: setattr(attempt, "body", json.dumps(asking()).encode()))
    step()
    assert told == [
        (401, "svid_missing"),
        (401, "svid_malformed"),
        (401, "svid_malformed"),
        (401, "svid_invalid"),
        (401, "svid_expired"),
        (401, "txn_token_missing"),
        (401, "txn_token_multiple"),
        (401, "txn_token_invalid"),
        (401, "txn_token_expired"),
        (403, "identity_mismatch"),
        (403, "provider_not_allowed"),  # none is named
        (403, "provider_not_allowed"),
        (413, "too_large"),
        (400, "invalid_request"),
        (403, "model_not_allowed"),  # it is allowed for embeddings
        (403, "scope_not_authorized"),
        (400, "invalid_request"),  # a message that is a number
        (200, ""),
        (429, "rate_limited"),
    ]


def test_the_quota_says_when_to_come_again(gateway: RunningGateway, web: Web, hands: Hands) -> None:
    run = gateway.issue("run_quota")
    assert web.post(CHAT, asking(), headers=proof(run)).status == 200
    hands.forward(12.5)
    reply = web.post(CHAT, asking(), headers=proof(run))
    assert refusal(reply) == (429, "rate_limited")
    assert reply["retry-after"] == "48"
    # Another run has a quota of its own; a refused call uses none.
    assert web.post(CHAT, asking(), headers=proof(gateway.issue("run_quota_2"))).status == 200
    hands.forward(48)
    assert web.post(CHAT, asking(), headers=proof(run)).status == 200
    assert refusal(web.post(EMBED, {"model": "hash", "input": "x"}, headers=proof(run))) == (
        429,
        "rate_limited",
    )


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"run_id": "run_else"}, "identity_mismatch"),
        ({"org_id": "99"}, "identity_mismatch"),
    ],
)
def test_a_token_for_another_run(
    server: RunningVault, gateway: RunningGateway, web: Web, change: dict[str, str], code: str
) -> None:
    """The right workload with a token whose transaction is not the one it runs in."""
    run = gateway.issue("run_cross", "77")
    trust = server._server.gateway.trust  # type: ignore[union-attr]
    grant = trust.grants["spiffe://ostiary.local/agent/run_cross"]
    claims = {
        "txn": "t",
        "sub": "s",
        "scope": "scan.execute",
        "req_wl": trust.subject(grant),
        "iat": trust._clock.wall(),
        "exp": trust._clock.wall() + 60,
        "aud": trust.name,
        "tctx": {"run_id": "run_cross", "org_id": "77"} | change,
    }
    headers = proof(run) | {"Txn-Token": trust._trat_key.sign(claims, typ="txntoken+jwt")}
    assert refusal(web.post(CHAT, asking(), headers=headers)) == (403, code)


def test_a_workload_of_no_run(server: RunningVault, web: Web) -> None:
    """Both tokens are good and belong together, and nobody started that run."""
    trust = server._server.gateway.trust  # type: ignore[union-attr]
    from ostiary.devserver.gateway.trust import Grant

    ghost = Grant(run_id="ghost", org_id="77")
    headers = MODERN | {
        "Authorization": f"Bearer {trust.issue_svid(ghost)[0]}",
        "Txn-Token": trust.issue_trat(ghost)[0],
        "X-Provider": "ostiary",
    }
    assert refusal(web.post(CHAT, asking(), headers=headers)) == (403, "identity_mismatch")


def test_an_empty_list_allows_nothing(gateway: RunningGateway, web: Web) -> None:
    run = gateway.issue("run_none", allowed_providers=[])
    assert refusal(web.post(CHAT, asking(), headers=proof(run))) == (403, "provider_not_allowed")
    run = gateway.issue("run_none", allowed_models={})
    assert refusal(web.post(CHAT, asking(), headers=proof(run))) == (403, "model_not_allowed")


def test_embeddings_have_a_list_of_their_own(gateway: RunningGateway, web: Web) -> None:
    run = gateway.issue("run_lists", allowed_models={"reasoning": ["ostiary:echo"]})
    refused = web.post(EMBED, {"model": "echo", "input": "x"}, headers=proof(run))
    assert refusal(refused) == (403, "model_not_allowed")
    assert refused.document["error"]["param"] == "model"
    assert "ostiary:echo" in refused.document["error"]["message"]
    hostile = web.post(CHAT, asking(model="<b>\u0007" + "x" * 500), headers=proof(run))
    assert refusal(hostile) == (403, "model_not_allowed")
    assert "<b>" not in hostile.body.decode()


def test_several_tokens_in_one_line(gateway: RunningGateway, web: Web) -> None:
    headers = proof(gateway) | {"Txn-Token": f"{gateway.default.trat.reveal()}, a.b.c"}
    assert refusal(web.post(CHAT, asking(), headers=headers)) == (401, "txn_token_multiple")


def test_no_refusal_repeats_a_token(gateway: RunningGateway, web: Web) -> None:
    marked = "bWFya2Vk"
    headers = proof(gateway)
    for name in ("Authorization", "Txn-Token"):
        bent = headers | {name: headers[name][:-8] + marked}
        reply = web.post(CHAT, asking(), headers=bent)
        assert reply.status == 401
        assert marked not in reply.body.decode()
        assert reply.headers


def test_health_needs_no_proof(web: Web) -> None:
    assert web.get("/health", headers=MODERN).document == {"status": "ok"}


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/chat/completions", 405, "method_not_allowed"),
        ("POST", "/health", 405, "method_not_allowed"),
        ("GET", "/", 404, "not_found"),
        ("GET", "/v1/chat/completions/", 404, "not_found"),
        ("GET", "/v1/../health", 404, "not_found"),
        ("GET", "/trat", 404, "not_found"),
        ("GET", "/v1/models", 401, "svid_missing"),
        ("POST", "/mcp/files", 401, "svid_missing"),
    ],
)
def test_other_paths(web: Web, method: str, path: str, status: int, code: str) -> None:
    assert refusal(web.call(method, path, headers=MODERN)) == (status, code)


def test_the_models_of_a_run(gateway: RunningGateway, web: Web) -> None:
    found = web.get("/v1/models", headers=proof(gateway)).document["data"]
    assert [one["id"] for one in found] == ["echo", "echo-mini", "hash"]
    assert {one["owned_by"] for one in found} == {"ostiary"}
    everyone = web.get("/v1/models", headers=proof(gateway, None)).document["data"]
    assert {one["owned_by"] for one in everyone} == {"ostiary", "openai", "anthropic", "google"}


def test_a_browser_is_kept_out(gateway: RunningGateway, web: Web) -> None:
    headers = proof(gateway)
    assert web.post(CHAT, asking(), headers=headers | {"Host": "evil.example"}).status == 421
    assert web.post(CHAT, asking(), headers=headers | {"Origin": "http://a.example"}).status == 403
    plain = web.post(CHAT, body=b"{}", headers=headers | {"Content-Type": "text/plain"})
    assert refusal(plain)[0] == 415


def test_a_body_longer_than_it_says(gateway: RunningGateway) -> None:
    """Counted as it comes: chunks announce nothing."""
    run = gateway.issue("run_chunks")
    with Web(gateway.socket_path) as web:
        headers = proof(run) | {"Transfer-Encoding": "chunked", "Content-Type": "application/json"}
        web.send("POST", CHAT, headers=headers)
        for _ in range(3):
            web.sock.sendall(b"800\r\n" + b" " * 0x800 + b"\r\n")
        assert refusal(web.read()) == (413, "too_large")
    with Web(gateway.socket_path) as web:
        huge = {"Content-Length": "9" * 18, "Content-Type": "application/json"}
        web.send("POST", CHAT, headers=proof(run) | huge)
        assert refusal(web.read()) == (413, "too_large")


def test_what_is_no_http_is_told_in_the_same_shape(web: Web) -> None:
    web.sock.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n")
    assert refusal(web.read()) == (400, "invalid_request")
