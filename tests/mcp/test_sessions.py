"""Sessions of older servers, which give out an id and may forget it; answers that break off."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("mcp", reason="the extra mcp is not installed")

from ostiary.gateway.errors import (
    GatewayConnectionLostError,
    GatewayError,
    GatewayProtocolError,
    GatewaySizeLimitError,
)
from ostiary.gateway.mcp import MCPGatewayClient
from tests.frames import recorded
from tests.http.peer import Exchange, HttpPeer

from .conftest import asked

pytestmark = pytest.mark.usefixtures("no_leaked_descriptors")

Answer = Callable[[Exchange, dict[str, Any]], None]


def result(exchange: Exchange, asked: dict[str, Any], value: dict[str, Any]) -> None:
    exchange.json({"jsonrpc": "2.0", "id": asked["id"], "result": value})


def text(exchange: Exchange, asked: dict[str, Any], said: str) -> None:
    result(exchange, asked, {"content": [{"type": "text", "text": said}]})


class OldServer:
    """A server of 2025 with sessions, as far as one tool needs it; `call` answers that tool."""

    def __init__(self, call: Answer) -> None:
        self._call = call
        self.sessions = 0
        self.alive: set[str] = set()
        self.ended: list[str] = []

    def __call__(self, exchange: Exchange) -> None:
        while True:
            request = exchange.request()
            session = request.header("mcp-session-id")
            if request.method != "POST":
                if request.method == "DELETE":
                    self.ended.append(session or "")
                exchange.json({}, 200 if request.method == "DELETE" else 405)
                continue
            asked = json.loads(request.body)
            method = asked["method"]
            if method == "server/discover":
                error = {"code": -32601, "message": "no such method"}
                exchange.json({"jsonrpc": "2.0", "id": asked["id"], "error": error}, 404)
            elif method == "initialize":
                self.sessions += 1
                self.alive.add(f"s{self.sessions}")
                self._initialized(exchange, asked)
            elif session not in self.alive:
                exchange.json({}, 404)
            elif "id" not in asked:
                exchange.answer(202)
            elif method == "tools/list":
                tool = {"name": "echo", "inputSchema": {"type": "object"}}
                result(exchange, asked, {"tools": [tool]})
            else:
                self._call(exchange, asked)

    def _initialized(self, exchange: Exchange, asked: dict[str, Any]) -> None:
        about = {
            "protocolVersion": asked["params"]["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "old", "version": "1"},
        }
        reply = {"jsonrpc": "2.0", "id": asked["id"], "result": about}
        exchange.json(reply, 200, ("Mcp-Session-Id", f"s{self.sessions}"))


def call(gateway: Any, server: OldServer, **settings: Any) -> Any:
    async def work(client: MCPGatewayClient) -> Any:
        return await client.call_tool("tools", "echo", {"text": "x"})

    with HttpPeer(server) as peer:
        return asked(gateway.environment, work, socket_path=peer.where, **settings)


def test_a_session_is_opened_kept_and_ended(gateway: Any) -> None:
    server = OldServer(lambda exchange, asked: text(exchange, asked, "said"))

    async def work(client: MCPGatewayClient) -> list[str]:
        return [(await client.call_tool("tools", "echo", {})).text for _ in range(3)]

    with HttpPeer(server) as peer:
        assert asked(gateway.environment, work, socket_path=peer.where) == ["said"] * 3
    assert server.sessions == 1
    assert server.ended == ["s1"]


def test_a_session_that_was_forgotten_is_opened_again(gateway: Any) -> None:
    calls: list[str] = []

    def answer(exchange: Exchange, asked: dict[str, Any]) -> None:
        calls.append(exchange.asked.header("mcp-session-id") or "")
        text(exchange, asked, f"call {len(calls)}")

    server = OldServer(answer)

    async def work(client: MCPGatewayClient) -> list[str]:
        first = await client.call_tool("tools", "echo", {})
        server.alive.clear()  # it was restarted
        second = await client.call_tool("tools", "echo", {})
        return [first.text, second.text]

    with HttpPeer(server) as peer:
        assert asked(gateway.environment, work, socket_path=peer.where) == ["call 1", "call 2"]
    assert calls == ["s1", "s2"]


def test_a_server_that_forgets_every_session_is_an_error(gateway: Any) -> None:
    server = OldServer(lambda exchange, asked: exchange.json({}, 404))
    with pytest.raises(GatewayError):
        call(gateway, server)
    assert server.sessions == 2


def test_an_answer_that_breaks_off_is_no_answer(gateway: Any) -> None:
    def cut(exchange: Exchange, asked: dict[str, Any]) -> None:
        exchange.start_events()
        exchange.chunk('event: message\ndata: {"jsonrpc": "2.0", ')
        exchange.link.close()

    with pytest.raises(GatewayConnectionLostError) as caught:
        call(gateway, OldServer(cut))
    assert caught.value.sent


def test_a_lost_connection_is_not_a_second_call(gateway: Any) -> None:
    calls: list[int] = []

    def drop(exchange: Exchange, asked: dict[str, Any]) -> None:
        calls.append(1)
        exchange.link.close()

    with pytest.raises(GatewayConnectionLostError):
        call(gateway, OldServer(drop))
    assert calls == [1]


def test_what_is_no_result_is_a_protocol_error(gateway: Any) -> None:
    server = OldServer(lambda exchange, asked: result(exchange, asked, {"content": "private"}))
    with pytest.raises(GatewayProtocolError) as caught:
        call(gateway, server)
    assert "private" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_long_answer_meets_the_limit(gateway: Any) -> None:
    from ostiary.config import Limits

    server = OldServer(lambda exchange, asked: text(exchange, asked, "x" * 100_000))
    with pytest.raises(GatewaySizeLimitError):
        call(gateway, server, limits=Limits(body=50_000, decompressed_body=50_000))


def drop(exchange: Exchange, asked: dict[str, Any]) -> None:
    exchange.link.close()


def refuse(exchange: Exchange, asked: dict[str, Any]) -> None:
    exchange.json({"error": {"code": "busy"}}, 500)


def nonsense(exchange: Exchange, asked: dict[str, Any]) -> None:
    result(exchange, asked, {"content": 1})


def hang(exchange: Exchange, asked: dict[str, Any]) -> None:
    exchange.link.wait_gone()


@pytest.mark.parametrize("answer", [drop, refuse, nonsense, hang])
def test_no_traceback_holds_arguments_or_tokens(gateway: Any, answer: Answer) -> None:
    """Not in the texts, and not in the locals that an error reporter would collect."""
    private = "private-argument"

    async def work(client: MCPGatewayClient) -> None:
        with pytest.raises(GatewayError) as caught:
            await client.invoke_tool("tools", "echo", {"text": private})
        found = recorded(caught.value)
        assert private not in found
        for path in (gateway.svid_file, gateway.trat_file):
            assert path.read_text().strip() not in found

    with HttpPeer(OldServer(answer)) as peer:
        settings = {"timeout": 1.5 if answer is hang else 20}
        asked(gateway.environment, work, socket_path=peer.where, max_retries=0, **settings)


def test_the_servers_prose_stays_in_the_body(gateway: Any) -> None:
    def refuse(exchange: Exchange, asked: dict[str, Any]) -> None:
        error = {"code": -32602, "message": "x is private"}
        exchange.json({"jsonrpc": "2.0", "id": asked["id"], "error": error})

    with pytest.raises(GatewayError) as caught:
        call(gateway, OldServer(refuse))
    assert "private" not in str(caught.value)
    assert b"x is private" in caught.value.body  # type: ignore[attr-defined]
    assert caught.value.code == "-32602"
