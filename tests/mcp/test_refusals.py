"""Who may call what: checked by the client before a byte is sent, and by the gateway again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("mcp", reason="the extra mcp is not installed")

from ostiary.devserver import HttpFault
from ostiary.gateway import access_from_environment
from ostiary.gateway.errors import (
    AuthError,
    ForbiddenError,
    GatewayAuthError,
    GatewayError,
    ScopeNotAuthorizedError,
    TraTAcquisitionError,
)
from ostiary.gateway.mcp import MCPGatewayClient
from ostiary.http import Pool
from ostiary.testing.mocks import MockGatewayClient
from tests.http.peer import Exchange, HttpPeer

from .conftest import Ask, asked

MODERN = {"MCP-Protocol-Version": "2026-07-28"}
LEGACY = {"MCP-Protocol-Version": "2025-11-25"}
ERAS = pytest.mark.parametrize("era", [MODERN, LEGACY], ids=["modern", "legacy"])


@pytest.fixture
def pool(gateway: Any) -> Iterator[Pool]:
    with Pool(gateway.unix_url) as one:
        yield one


def proof(environment: dict[str, str]) -> dict[str, str]:
    return access_from_environment(environment).get_credentials().auth_headers()


def request(method: str, **params: Any) -> dict[str, Any]:
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": meta}}


def post(pool: Pool, server: str, body: Any, headers: dict[str, str]) -> Any:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    known: dict[str, str] = {"Accept": "application/json, text/event-stream"}
    if isinstance(body, dict):
        known["Mcp-Method"] = body["method"]
        if "name" in body["params"]:
            known["Mcp-Name"] = body["params"]["name"]
    return pool.request(
        "POST",
        f"/mcp/{server}",
        body=raw,
        headers={**known, "Content-Type": "application/json", **headers},
        check=False,
    )


def code(reply: Any) -> str:
    found: str = json.loads(bytes(reply.body))["error"]["code"]
    return found


# --- the client, before a byte is sent


@pytest.mark.parametrize(
    ("server", "tool"), [("tools", "refuse"), ("tools", "Echo"), ("closed", "echo"), ("", "")]
)
def test_what_the_token_does_not_list_is_not_sent(gateway: Any, server: str, tool: str) -> None:
    connected: list[Exchange] = []

    async def work(client: MCPGatewayClient) -> None:
        with pytest.raises(ScopeNotAuthorizedError, match="nothing was sent") as caught:
            await client.call_tool(server, tool, {"text": "private"})
        assert isinstance(caught.value, ForbiddenError)
        assert caught.value.exit_code == 22
        assert "private" not in str(caught.value)
        if server != "tools":
            with pytest.raises(ScopeNotAuthorizedError):
                await client.list_tools(server)

    with HttpPeer(connected.append) as peer:
        asked(gateway.environment, work, socket_path=peer.where)
    assert connected == []


def test_without_a_token_nothing_is_allowed(gateway: Any, tmp_path: Any) -> None:
    async def work(client: MCPGatewayClient) -> None:
        with pytest.raises(TraTAcquisitionError) as caught:
            await client.call_tool("tools", "echo", {"text": "x"})
        assert isinstance(caught.value, AuthError)
        with pytest.raises(TraTAcquisitionError):
            await client.allowed_tools()

    environment = {**gateway.environment, "TRAT_FILE": str(tmp_path / "none")}
    del environment["AUTH_SIDECAR_SOCKET"]
    asked(environment, work)


def test_a_run_without_tools_has_none(gateway: Any) -> None:
    run = gateway.issue(run_id="run_none", allowed_tools={})

    async def work(client: MCPGatewayClient) -> None:
        assert await client.allowed_tools() == {}
        with pytest.raises(ScopeNotAuthorizedError):
            await client.list_tools("tools")

    asked(run.environment, work)


# --- the gateway, whoever asks


@ERAS
def test_no_proof_no_answer(pool: Pool, era: dict[str, str]) -> None:
    reply = post(pool, "tools", request("tools/list"), era)
    assert (reply.status, code(reply)) == (401, "svid_missing")


@ERAS
@pytest.mark.parametrize("tool", ["refuse", "", "echo\n", "die2"])
def test_a_tool_that_is_not_listed_is_refused_there_too(
    gateway: Any, pool: Pool, era: dict[str, str], tool: str
) -> None:
    body = request("tools/call", name=tool, arguments={})
    headers = {**era, **proof(gateway.environment), "Mcp-Name": tool.strip()}
    reply = post(pool, "tools", body, headers)
    assert (reply.status, code(reply)) == (403, "tool_not_allowed")


@ERAS
def test_a_name_given_twice_does_not_slip_through(
    gateway: Any, pool: Pool, era: dict[str, str]
) -> None:
    """Whichever of two names a parser takes, the one that is called was checked."""
    for names in ('"name": "refuse", "name": "echo"', '"name": "echo", "name": "refuse"'):
        body = json.dumps(request("tools/call", arguments={"text": "x"})).replace(
            '"arguments"', f'{names}, "arguments"'
        )
        headers = {**era, **proof(gateway.environment), "Mcp-Method": "tools/call"}
        reply = post(pool, "tools", body.encode(), {**headers, "Mcp-Name": "echo"})
        assert b"there is no tool refuse" not in bytes(reply.body)
        assert reply.status != 200 or b'"text":"x"' in bytes(reply.body)


@ERAS
def test_what_the_library_read_is_checked_as_well(
    gateway: Any, pool: Pool, era: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Should the two parsers differ one day, it is the called name that counts."""
    from ostiary.devserver.gateway import mcp

    monkeypatch.setattr(mcp, "_asked", lambda body: mcp._Asked())
    headers = {**era, **proof(gateway.environment)}
    reply = post(pool, "tools", request("tools/call", name="refuse", arguments={}), headers)
    assert b"tool_not_allowed" in bytes(reply.body)
    assert b"there is no tool" not in bytes(reply.body)


@ERAS
def test_the_gateway_lists_what_is_allowed(gateway: Any, pool: Pool, era: dict[str, str]) -> None:
    headers = {**era, **proof(gateway.environment)}
    body = bytes(post(pool, "tools", request("tools/list"), headers).body)
    assert b'"name":"echo"' in body
    assert b"refuse" not in body


@ERAS
def test_prompts_and_resources_are_not_there(gateway: Any, pool: Pool, era: dict[str, str]) -> None:
    headers = {**era, **proof(gateway.environment)}
    reply = post(pool, "tools", request("prompts/list"), headers)
    assert b"-32601" in bytes(reply.body)


@pytest.mark.parametrize(
    ("server", "status", "word"),
    [
        ("nowhere", 404, "server_not_found"),
        ("closed", 403, "tool_not_allowed"),
        ("missing", 502, "server_failed"),
    ],
)
def test_servers_are_told_apart(
    gateway: Any, pool: Pool, server: str, status: int, word: str
) -> None:
    headers = {**MODERN, **proof(gateway.environment)}
    reply = post(pool, server, request("tools/list"), headers)
    assert (reply.status, code(reply)) == (status, word)


def test_a_server_that_fails_is_left_alone_for_a_while(gateway: Any, pool: Pool) -> None:
    headers = {**MODERN, **proof(gateway.environment)}
    replies = [post(pool, "broken", request("tools/list"), headers) for _ in range(4)]
    last = replies[-1]
    assert (last.status, code(last)) == (503, "server_unavailable")
    assert int(last.headers["retry-after"]) >= 1


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_there_are_no_sessions(gateway: Any, pool: Pool, method: str) -> None:
    reply = pool.request(method, "/mcp/tools", headers=proof(gateway.environment), check=False)
    assert reply.status == 405
    assert reply.headers["allow"] == "POST"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"[[[[", b'"tools/call"', b"\xff"])
def test_what_is_no_request_is_answered(gateway: Any, pool: Pool, body: bytes) -> None:
    reply = post(pool, "tools", body, {**MODERN, **proof(gateway.environment)})
    assert 400 <= reply.status < 500


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from(["echo", "refuse", "text", ""]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "arguments", "text", "_meta"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)
MESSAGES = st.fixed_dictionaries(
    {},
    optional={
        "jsonrpc": st.sampled_from(["2.0", "1.0"]),
        "id": JSON,
        "method": st.sampled_from(["tools/call", "tools/list", "initialize", "x"]) | JSON,
        "params": JSON,
        "result": JSON,
    },
)


@given(message=MESSAGES | JSON, era=st.sampled_from([MODERN, LEGACY, {}]))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_message_is_too_strange(
    gateway: Any, pool: Pool, message: Any, era: dict[str, str]
) -> None:
    """Whatever is sent, it is answered, by the rules, and as the caller's mistake."""
    reply = post(pool, "tools", json.dumps(message).encode(), {**era, **proof(gateway.environment)})
    assert reply.status < 500
    assert b"there is no tool" not in bytes(reply.body)


def test_a_run_may_not_use_anothers_tokens(gateway: Any, pool: Pool) -> None:
    other = gateway.issue(run_id="run_other", allowed_tools={"tools": ["echo"]})
    mixed = proof(gateway.environment) | {"Txn-Token": proof(other.environment)["Txn-Token"]}
    reply = post(pool, "tools", request("tools/list"), {**MODERN, **mixed})
    assert (reply.status, code(reply)) == (403, "identity_mismatch")


def test_a_run_without_the_scope_is_refused(gateway: Any) -> None:
    run = gateway.issue(run_id="run_scope", scope="other", allowed_tools={"tools": ["echo"]})

    async def work(client: MCPGatewayClient) -> None:
        with pytest.raises(ScopeNotAuthorizedError) as caught:
            await client.call_tool("tools", "echo", {"text": "x"})
        assert isinstance(caught.value, GatewayError)
        assert caught.value.code == "scope_not_authorized"

    asked(run.environment, work)


# --- tokens that change


def test_a_refused_token_is_fetched_anew_once(ask: Ask[Any], gateway: Any) -> None:
    async def work(client: MCPGatewayClient) -> str:
        await client.call_tool("tools", "echo", {"text": "opens the session"})
        gateway.faults.add(HttpFault(path="/mcp/*", status=401, times=1))
        return (await client.call_tool("tools", "echo", {"text": "again"})).text

    assert ask(work) == "again"


def test_the_tokens_that_were_refused_are_given_up(sample_trat: Any) -> None:
    """Once for each request, and the second answer counts whatever it is."""

    def refuse(exchange: Exchange) -> None:
        while True:
            exchange.request()
            exchange.json({"error": {"message": "no", "code": "svid_expired"}}, 401)

    async def main(where: Any) -> MockGatewayClient:
        context = msgspec.structs.replace(sample_trat.tctx, allowed_tools={"tools": ("echo",)})
        trat = msgspec.structs.replace(sample_trat, tctx=context)
        access = MockGatewayClient(True, {"openai": f"unix://{where}"}, trat)
        async with MCPGatewayClient(access=access) as client:
            with pytest.raises(GatewayAuthError) as caught:
                await client.call_tool("tools", "echo", {"text": "x"})
            assert caught.value.code == "svid_expired"
            assert caught.value.exit_code == 11
        return access

    with HttpPeer(refuse) as peer:
        access = asyncio.run(main(peer.where))
        assert len(peer.asked) == 2
    assert access.invalidated == 1


def test_tokens_may_be_renewed_under_a_session(gateway: Any) -> None:
    async def work(client: MCPGatewayClient) -> str:
        await client.call_tool("tools", "echo", {"text": "opens the session"})
        gateway.revoke()
        return (await client.call_tool("tools", "echo", {"text": "with new tokens"})).text

    assert asked(gateway.environment, work) == "with new tokens"


def test_a_gateway_that_keeps_refusing_is_an_error(ask: Ask[Any], gateway: Any) -> None:
    async def work(client: MCPGatewayClient) -> None:
        for opened in (False, True):
            gateway.faults.add(HttpFault(path="/mcp/*", status=401, times=2))
            with pytest.raises(GatewayAuthError) as caught:
                await client.call_tool("tools", "echo", {"text": "private"})
            assert caught.value.status == 401
            assert "private" not in str(caught.value)
            if not opened:
                await client.call_tool("tools", "echo", {"text": "opens the session"})

    ask(work)


def test_what_is_sent_is_recorded_with_the_run(gateway: Any, ask: Ask[Any]) -> None:
    ask(lambda c: c.call_tool("tools", "echo", {"text": "x"}))
    last = [call for call in gateway.calls() if call.path == "/mcp/tools"][-1]
    assert last.status == 200
    assert last.run_id == gateway.environment["RUN_ID"]


def test_both_tokens_go_with_every_request(gateway: Any) -> None:
    """Seen by a peer that answers nothing right: the headers are what counts."""

    def answer(exchange: Exchange) -> None:
        while True:
            exchange.request()
            exchange.json({"error": {"message": "no", "type": "x", "code": "later"}}, 500)

    async def work(client: MCPGatewayClient) -> None:
        with pytest.raises(GatewayError):
            await client.call_tool("tools", "echo", {"text": "x"})

    with HttpPeer(answer) as peer:
        asked(gateway.environment, work, socket_path=peer.where)
        assert peer.asked
        expected = proof(gateway.environment)
        for one in peer.asked:
            assert one.header("authorization") == expected["Authorization"]
            assert one.header("txn-token") == expected["Txn-Token"]
            assert one.target == "/mcp/tools"
            assert (one.header("user-agent") or "").startswith("ostiary/")


def test_many_errors_at_once_find_their_calls(gateway: Any, ask: Ask[Any]) -> None:
    async def one(client: MCPGatewayClient, n: int) -> str:
        if n % 2:
            with pytest.raises(GatewayError) as caught:
                await client.call_tool("tools", "not_there")
            return type(caught.value).__name__
        return (await client.call_tool("tools", "echo", {"text": str(n)})).text

    async def work(client: MCPGatewayClient) -> list[str]:
        return list(await asyncio.gather(*(one(client, n) for n in range(20))))

    found = ask(work)
    assert [found[n] for n in range(0, 20, 2)] == [str(n) for n in range(0, 20, 2)]
    assert len({found[n] for n in range(1, 20, 2)}) == 1
