"""What the client sends, repeats, shows and accepts; where it must not do as others did."""

from __future__ import annotations

import asyncio
import json
import pickle
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary import Secret
from ostiary.runtime import _routes as routes
from ostiary.runtime._async import AsyncRuntimeClient
from ostiary.runtime._sync import RuntimeClient
from ostiary.runtime.enums import AgentState, ReviewStatus
from ostiary.runtime.errors import (
    APIError,
    AuthenticationError,
    ClientStateError,
    ConflictError,
    ConnectionFailedError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ReconciledInvocationError,
    RequestTimeoutError,
    ResponseFormatError,
    ServerError,
    SymbiontError,
    ValidationFailedError,
)
from ostiary.runtime.models import KnowledgeItem, SecretRequest, Tool, VectorMetadata
from tests.frames import recorded
from tests.http.peer import Exchange, HttpPeer, answer, lost, stall

from .conftest import PREFIX, STATUS, TOOL, Client, refuses, review, routed, says, shown

Connect = Callable[..., Client]
SECRET = "hvs.not-for-any-eye"


# --- addresses and paths


def test_a_prefix_is_not_doubled(connect: Connect, peers: Any) -> None:
    peer = peers(STATUS, kind="tcp")
    for base in (peer.url(), peer.url("/api/v1"), peer.url("/api/v1///")):
        connect(base).call("get_agent_status", "agent-7")
    connect(peer.url("/gate")).call("get_agent_status", "agent-7")
    assert [one.target for one in peer.asked] == [
        *["/api/v1/agents/agent-7/status"] * 3,
        "/gate/agents/agent-7/status",
    ]


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("../../agents", "..%2F..%2Fagents"),
        ("a?admin=1", "a%3Fadmin%3D1"),
        ("a#b", "a%23b"),
        ("a b/\u00fc", "a%20b%2F%C3%BC"),
        ("%2e%2e", "%252e%252e"),
    ],
)
def test_a_name_cannot_lead_to_another_path(
    connect: Connect, peers: Any, name: str, sent: str
) -> None:
    peer = peers({"value": "s"})
    assert connect(peer).call("get_secret", "a", name) == "s"
    assert shown(peer.asked[0]) == f"GET /secrets/a/{sent}"


@pytest.mark.parametrize("name", ["", ".", "..", "\ud800", None, 1.5])
def test_what_names_nothing_is_refused_and_nothing_is_sent(
    connect: Connect, peers: Any, name: Any
) -> None:
    peer = peers({"value": "s"})
    with pytest.raises(InvalidArgumentError):
        connect(peer).call("get_secret", "a", name)
    with pytest.raises(InvalidArgumentError):
        connect(peer).call("get_agent_status", name)
    assert peer.asked == []


@given(st.text(min_size=1).filter(lambda text: text not in {".", ".."}))
def test_every_id_stays_in_its_segment(name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        return
    target = routes.SECRET_GET.target.build("a", name).decode()
    assert target.startswith("/secrets/a/")
    assert not set(target.removeprefix("/secrets/a/")) & set("/?#\\ ")


def test_the_list_of_secrets_is_never_the_configuration(connect: Connect, peers: Any) -> None:
    peer = peers({})
    with pytest.raises(InvalidArgumentError, match="reserved"):
        connect(peer).call("list_secrets", "config")
    assert peer.asked == []


def test_netrc_does_not_replace_the_key(
    connect: Connect, peers: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / ".netrc"
    file.write_text("machine 127.0.0.1 login mallory password other\n")
    file.chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(file))
    peer = peers(["agent-7"], kind="tcp")
    connect(peer, "k-77").call("list_agents")
    assert peer.asked[0].header("authorization") == "Bearer k-77"


def test_proxies_of_the_environment_are_not_used(
    connect: Connect, peers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    peer = peers(["agent-7"], kind="tcp")
    assert connect(peer).call("list_agents") == ["agent-7"]


# --- bodies


def test_a_date_without_an_offset_gets_the_local_one(connect: Connect, peers: Any) -> None:
    peer = peers({"id": "k-1", "status": "stored"})
    item = KnowledgeItem(
        id="k-1",
        content="c",
        metadata=VectorMetadata(source="a", source_type="document", timestamp=datetime.now()),
    )
    connect(peer).call("add_knowledge_item", item)
    sent = json.loads(peer.asked[0].body)["metadata"]
    assert datetime.fromisoformat(sent["timestamp"]).tzinfo is not None
    assert None not in sent.values()


def test_a_tool_s_schema_is_sent_under_its_name(connect: Connect, peers: Any) -> None:
    peer = peers({"review_id": "r", "status": "submitted", "submitted_at": "2031-02-03T04:05:06Z"})
    client = connect(peer)
    keywords = {**TOOL["schema"], "additionalProperties": False}  # type: ignore[dict-item]
    for tool in ({**TOOL, "schema": keywords}, Tool(**{**TOOL, "schema": keywords})):
        client.call("submit_tool_for_review", {"tool": tool, "submitted_by": "a@b"})
    for asked in peer.asked:
        sent = json.loads(asked.body)["tool"]
        assert sent["schema"] == keywords
        assert "tool_schema" not in sent


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("create_agent", ({"id": "a"},)),
        ("create_agent", ("agent-7",)),
        ("submit_human_review_decision", ("rv-1", {"decision": "maybe", "reviewer_id": "r"})),
        ("list_review_sessions", (0,)),
        ("list_review_sessions", (1, 0)),
        ("list_review_sessions", (1, 10, 5)),
        ("search_knowledge", ({"query": "q", "limit": 0},)),
        ("update_agent", ("a", {})),
        ("update_http_input_server", ({"config": {"agent_id": "a"}},)),
        ("schedules.history", ("job-1", True)),
        ("events", (5,)),
        ("supports", ("teleport",)),
        ("submit_tools_for_review", ("text",)),
        ("submit_tools_for_review", ([], 0)),
        ("ingest_file", ("/no/such/file",)),
    ],
    ids=lambda value: value if isinstance(value, str) else "with",
)
def test_what_cannot_be_meant_is_refused_and_nothing_is_sent(
    connect: Connect, peers: Any, name: str, arguments: tuple[Any, ...]
) -> None:
    peer = peers({})
    with pytest.raises(InvalidArgumentError):
        connect(peer).call(name, *arguments)
    assert peer.asked == []


def test_a_heartbeat_speaks_the_runtime_s_words(connect: Connect, peers: Any) -> None:
    peer = peers(answer(200))
    client = connect(peer)
    for state in (AgentState.IDLE, AgentState("Waiting"), "Suspended", "active"):
        assert client.call("send_heartbeat", "a", state) is None
    assert [json.loads(one.body)["state"] for one in peer.asked] == [
        "Ready",
        "Waiting",
        "Suspended",
        "active",
    ]


def test_a_file_is_ingested_under_its_name(connect: Connect, peers: Any, tmp_path: Path) -> None:
    file = tmp_path / "notes.md"
    file.write_text("# Notes\n\u00fcber alles\n", "utf-8")
    peer = peers({"source": "notes.md", "item_ids": [], "chunks": 0})
    connect(peer).call("ingest_file", file, chunk_size=200)
    assert json.loads(peer.asked[0].body) == {
        "content": "# Notes\n\u00fcber alles\n",
        "source": "notes.md",
        "source_type": "document",
        "chunk_size": 200,
    }
    (tmp_path / "raw").write_bytes(b"\xff\xfe")
    for wrong in (tmp_path, tmp_path / "raw", "\0"):
        with pytest.raises(InvalidArgumentError):
            connect(peer).call("ingest_file", wrong)


# --- replies


def test_a_reply_without_a_body_is_enough_where_nothing_is_promised(
    connect: Connect, peers: Any
) -> None:
    client = connect(peers(answer(204)))
    assert client.call("delete_secret", "a", "b") == {}
    assert client.call("connect_mcp_server", "fs") == {}
    assert client.call("push_agent_event", "a", "RunStarted", {}) is None


@pytest.mark.parametrize(
    "reply",
    [
        answer(204),
        answer(200, "<html><body>Welcome</body></html>", [("Content-Type", "text/html")]),
        answer(200, '{"agent_id": "a"'),
        answer(200, "[]"),
        answer(200, "null"),
        answer(200, b"\xff\xfe{}"),
        answer(200, '{"agent_id": 5}'),
        answer(200, "[" * 100_000),
    ],
    ids=["empty", "html", "cut", "array", "null", "bytes", "shape", "deep"],
)
def test_a_reply_that_cannot_be_read_is_our_error(
    connect: Connect, peers: Any, reply: bytes
) -> None:
    client = connect(peers(reply))
    with pytest.raises(ResponseFormatError) as caught:
        client.call("get_agent_status", "agent-7")
    assert isinstance(caught.value, SymbiontError)
    assert "Welcome" not in str(caught.value)
    with pytest.raises(SymbiontError):
        client.call("list_mcp_servers") if reply != answer(200, "[]") else client.call(
            "get_secret", "a", "b"
        )


def test_a_secret_that_is_not_there_is_no_key_error(connect: Connect, peers: Any) -> None:
    with pytest.raises(ResponseFormatError):
        connect(peers({"secret": "x"})).call("get_secret", "a", "b")


def test_a_truncated_reply_and_a_refused_connection_are_ours(
    connect: Connect, peers: Any, tmp_path: Path
) -> None:
    cut = answer(200, b'{"agent', announced=100)

    def cut_off(exchange: Exchange) -> None:
        exchange.raw(cut)
        lost(exchange)

    with pytest.raises(ConnectionFailedError):
        connect(peers(cut_off), max_retries=0).call("get_agent_status", "a")
    client = connect(f"unix://{tmp_path}/nobody.sock", max_retries=0)
    with pytest.raises(ConnectionFailedError) as caught:
        client.call("create_agent", AGENT)
    assert not caught.value.sent
    assert isinstance(caught.value, ConnectionError)


def test_what_a_newer_server_adds_does_no_harm(connect: Connect, peers: Any) -> None:
    newer = {**STATUS, "state": "hibernating", "zone": "b"}
    newer["resource_usage"] = {"memory_bytes": None, "cpu_percent": None, "active_tasks": 1}
    status = connect(peers(newer)).call("get_agent_status", "agent-7")
    assert str(status.state) == "hibernating"
    assert status.resource_usage.memory_bytes is None
    assert status.extra["zone"] == "b"
    listed = {"sessions": [review("escalated", origin="x")], "pagination": {}}
    listed["pagination"] = {"page": 1, "limit": 1, "total": 1, "has_next": False, "took_ms": 3}
    found = connect(peers(listed)).call("list_review_sessions")
    assert found.sessions[0].status == "escalated"
    assert found.sessions[0].tool.schema.properties == {"a": {"type": "number"}}


def test_the_runtime_s_own_shapes_are_read(connect: Connect, peers: Any) -> None:
    serve = routed(
        {
            "GET /agents": [{"id": "3f0c", "name": "greeter", "state": "Running"}],
            "GET /metrics": {
                "agents": {"total": 2, "running": 1, "idle": 1, "error": 0},
                "system": {"uptime_seconds": 91, "memory_usage": 5, "cpu_usage": 0.5},
            },
            "GET /schedules/j/history": [
                {"run_id": "r", "started_at": "2031-02-03T04:05:06Z", "status": "Succeeded"}
            ],
        }
    )
    client = connect(peers(serve=serve))
    assert client.call("list_agents") == ["3f0c"]
    (agent,) = client.call("list_agent_details")
    assert (agent.name, agent.state) == ("greeter", AgentState.ACTIVE)
    metrics = client.call("get_metrics")
    assert (metrics.total_agents, metrics.active_agents, metrics.cpu_usage_percent) == (2, 1, 0.5)
    assert metrics.secrets_count is None
    assert client.call("schedules.history", "j")[0].status == "succeeded"


def test_ids_alone_are_details_too(connect: Connect, peers: Any) -> None:
    (agent,) = connect(peers(["agent-7"])).call("list_agent_details")
    assert (agent.id, agent.name, agent.state) == ("agent-7", None, None)
    with pytest.raises(ResponseFormatError):
        connect(peers([5])).call("list_agents")


# --- refusals


@pytest.mark.parametrize(
    ("status", "kind", "says_"),
    [
        (400, APIError, "status 400"),
        (401, AuthenticationError, "Authentication failed"),
        (403, PermissionDeniedError, "status 403"),
        (404, NotFoundError, "Resource not found"),
        (409, ConflictError, "status 409"),
        (418, APIError, "status 418"),
        (422, ValidationFailedError, "status 422"),
        (429, RateLimitError, "Rate limit exceeded"),
        (500, ServerError, "status 500"),
        (503, ServerError, "status 503"),
    ],
)
def test_refusals(
    connect: Connect, peers: Any, status: int, kind: type[SymbiontError], says_: str
) -> None:
    client = connect(peers(refuses(status, "SOME_CODE", ("X-Request-Id", "r-1"))), max_retries=0)
    with pytest.raises(kind, match=says_) as caught:
        client.call("get_review_session", "rv-1")
    error = caught.value
    assert error.status_code == status
    assert error.code == "SOME_CODE"
    assert error.request_id == "r-1"
    assert "the reason" in (error.response_text or "")
    siblings = (AuthenticationError, NotFoundError, RateLimitError)
    assert isinstance(error, APIError) is not issubclass(kind, siblings)
    assert pickle.loads(pickle.dumps(error)).response_text == error.response_text


def test_a_conflict_is_a_reconciled_call_only_where_the_server_says_so(
    connect: Connect, peers: Any
) -> None:
    peer = peers(refuses(409, "EXISTS"))
    with pytest.raises(ConflictError) as caught:
        connect(peer).call("create_agent", AGENT)
    assert type(caught.value) is ConflictError
    assert len(peer.asked) == 1

    settled = {"outcome": "ran", "signature": "MEUC"}
    said = {"error": "settled", "code": "RECONCILED", "details": None, "resolution": settled}
    with pytest.raises(ReconciledInvocationError) as told:
        connect(peers(says(said, 409))).call("execute_agent", "a", idempotency_key="k")
    assert told.value.resolution == settled


def test_a_redirect_is_refused_and_the_key_stays(connect: Connect, peers: Any) -> None:
    elsewhere = peers(["stolen"], kind="tcp")
    peer = peers(answer(307, b"", [("Location", elsewhere.url("/api/v1/agents"))]), kind="tcp")
    with pytest.raises(APIError, match="redirect"):
        connect(peer, "k-77").call("list_agents")
    assert elsewhere.asked == []


# --- what is sent again

AGENT = {
    "id": "a",
    "name": "n",
    "description": "",
    "system_prompt": "",
    "tools": [],
    "model": "m",
    "temperature": 0.5,
    "top_p": 1.0,
    "max_tokens": 5,
}
CREATED = {"id": "a", "status": "created"}


def test_a_silent_server_does_not_hold_the_caller(connect: Connect, peers: Any) -> None:
    client = connect(peers(stall), timeout=0.05)
    with pytest.raises(RequestTimeoutError) as caught:
        client.call("get_metrics")
    assert isinstance(caught.value, TimeoutError)


def test_a_timeout_of_the_environment_holds(
    connect: Connect, peers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYMBIONT_TIMEOUT", "0.05")
    monkeypatch.setenv("SYMBIONT_MAX_RETRIES", "1")
    with pytest.raises(RequestTimeoutError):
        connect(peers(stall)).call("get_metrics")
    peer = peers(refuses(503))
    with pytest.raises(ServerError):
        connect(peer, timeout=5).call("get_metrics")
    assert len(peer.asked) == 2


def test_a_post_is_not_sent_again_after_a_timeout(connect: Connect, peers: Any) -> None:
    peer = peers(stall)
    client = connect(peer, timeout=0.05, max_retries=3)
    with pytest.raises(RequestTimeoutError):
        client.call("create_agent", AGENT)
    assert len(peer.asked) == 1


def test_a_post_whose_connection_was_lost_is_sent_again_only_with_a_key(
    connect: Connect, peers: Any
) -> None:
    peer = peers(lost, says(CREATED))
    with pytest.raises(ConnectionFailedError):
        connect(peer).call("create_agent", AGENT)
    assert len(peer.asked) == 1

    peer = peers(lost, refuses(503), says(CREATED))
    assert connect(peer).call("create_agent", AGENT, idempotency_key=True) == CREATED
    keys = {one.header("idempotency-key") for one in peer.asked}
    assert len(peer.asked) == 3
    assert len(keys) == 1
    assert keys != {None}


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("execute_workflow", ({"workflow_id": "w", "parameters": {}},)),
        ("deploy_agent", ({"agent_id": "a"},)),
        ("execute_agent", ("a",)),
        ("sign_approved_tool", ({"review_id": "r", "signing_key_id": "k"},)),
        ("schedules.trigger", ("j",)),
    ],
    ids=["workflow", "deploy", "execute", "sign", "schedule"],
)
def test_every_post_takes_a_key(
    connect: Connect, peers: Any, name: str, arguments: tuple[Any, ...]
) -> None:
    peer = peers(refuses(418))
    with pytest.raises(APIError):
        connect(peer).call(name, *arguments, idempotency_key="key-of-mine")
    with pytest.raises(APIError):
        connect(peer).call(name, *arguments)
    assert [one.header("idempotency-key") for one in peer.asked] == ["key-of-mine", None]


def test_what_only_reads_is_sent_again(connect: Connect, peers: Any) -> None:
    found = {"results": [], "query": "q", "total_results": 0}
    for first in (lost, refuses(503), refuses(429, "", ("Retry-After", "0"))):
        peer = peers(first, says(found))
        assert connect(peer).call("search_knowledge", {"query": "q"}).total_results == 0
        assert len(peer.asked) == 2


def test_messages_that_were_handed_out_are_not_asked_for_again(
    connect: Connect, peers: Any
) -> None:
    peer = peers(lost, says({"messages": []}))
    with pytest.raises(ConnectionFailedError):
        connect(peer).call("receive_messages", "a")
    assert len(peer.asked) == 1


def test_a_rate_limit_is_waited_for(connect: Connect, peers: Any) -> None:
    peer = peers(refuses(429, "", ("Retry-After", "0")), refuses(502), says(CREATED))
    # Refused before it ran: even a POST may be sent again. Behind a gateway it may have run.
    with pytest.raises(ServerError):
        connect(peer).call("create_agent", AGENT)
    assert len(peer.asked) == 2


# --- connections


def test_four_hundred_calls_use_one_connection(connect: Connect, peers: Any) -> None:
    peer = peers(STATUS)
    client = connect(peer)
    for _ in range(400):
        client.call("get_agent_status", "agent-7")
    assert {one.connection for one in peer.asked} == {peer.asked[0].connection}
    assert client.raw.pool.open_connections == 1


def test_a_burst_keeps_its_connections(peers: Any) -> None:
    peer = peers(STATUS)
    gate = threading.Barrier(30)

    def together(exchange: Exchange) -> None:
        exchange.request()
        gate.wait(10)
        exchange.json(STATUS)
        while True:
            exchange.request()
            exchange.json(STATUS)

    peer = peers(serve=together)

    async def main() -> None:
        async with AsyncRuntimeClient(base_url=peer.url(PREFIX)) as client:
            client._status_route = routes.AGENT_STATUS
            await asyncio.gather(*(client.get_agent_status("a") for _ in range(30)))
            assert client.pool.idle_connections == 30

    asyncio.run(main())


def test_threads_share_a_client(peers: Any) -> None:
    peer = peers(serve=routed({"GET /agents/a": STATUS}))
    found: list[str] = []
    with RuntimeClient(base_url=peer.url(PREFIX)) as client:
        threads = [
            threading.Thread(
                target=lambda: found.extend(
                    client.get_agent_status("a").agent_id for _ in range(20)
                )
            )
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == ["agent-7"] * 160
    tried = [shown(one) for one in peer.asked].count("GET /agents/a/status")
    assert 1 <= tried <= 8, "each thread finds out once at most"


def test_a_wait_that_is_cancelled_leaves_the_client_as_it_was(peers: Any) -> None:
    peer = peers(says(review("submitted")))

    async def main() -> None:
        async with AsyncRuntimeClient(base_url=peer.url(PREFIX)) as client:
            waiting = asyncio.create_task(
                client.wait_for_review_completion("rv-1", poll_interval=0.001)
            )
            while len(peer.asked) < 3:
                await asyncio.sleep(0.001)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert (await client.get_review_session("rv-1")).status == "submitted"
            assert client.pool.open_connections == client.pool.idle_connections == 1

    asyncio.run(main())


def test_a_batch_that_is_cancelled_begins_nothing_more(peers: Any) -> None:
    peer = peers(stall)
    request = {"tool": TOOL, "submitted_by": "dev@acme.test"}

    async def main() -> None:
        async with AsyncRuntimeClient(base_url=peer.url(PREFIX)) as client:
            batch = asyncio.create_task(client.submit_tools_for_review([request] * 50, 3))
            while len(peer.asked) < 3:
                await asyncio.sleep(0.001)
            batch.cancel()
            with pytest.raises(asyncio.CancelledError):
                await batch
            assert len(asyncio.all_tasks()) == 1
            assert client.pool.open_connections == 0

    asyncio.run(main())
    assert len(peer.asked) == 3


def test_a_client_is_closed_for_good(connect: Connect, peers: Any) -> None:
    client = connect(peers(STATUS))
    client.call("get_agent_status", "a")
    client.close()
    with pytest.raises(ClientStateError):
        client.call("get_agent_status", "a")


def test_context_managers(peers: Any) -> None:
    peer = peers(STATUS)
    with RuntimeClient(base_url=peer.url(PREFIX)) as client:
        client.get_agent_status("a")
        pool = client.pool
    assert pool.closed

    async def main() -> None:
        async with AsyncRuntimeClient(base_url=peer.url(PREFIX)) as client:
            await client.get_agent_status("a")
        assert client.pool.closed

    asyncio.run(main())


def test_a_client_pickles_without_its_key(peers: Any) -> None:
    peer = peers(STATUS)
    with RuntimeClient(SECRET, peer.url(PREFIX), timeout=5) as client:
        data = pickle.dumps(client)
        assert SECRET.encode() not in data
        with pickle.loads(data) as copy:
            assert copy.get_agent_status("a").agent_id == "agent-7"
            assert copy.pool.settings.timeout == 5


def test_sub_clients_are_made_once() -> None:
    client = RuntimeClient()
    assert client.schedules is client.schedules
    assert client.channels is client.channels
    assert "schedules" not in vars(RuntimeClient())
    client.close()


# --- secrets


def test_a_key_is_hidden_and_readable(connect: Connect, peers: Any) -> None:
    client = connect(peers(STATUS), SECRET)
    assert SECRET not in repr(client.raw) + repr(vars(client.raw)) + str(client.raw.api_key)
    assert client.raw.api_key.reveal() == SECRET


def secret_calls() -> list[tuple[str, tuple[Any, ...]]]:
    """Return calls that carry a secret, as models and as mappings."""
    vault = {"url": "https://v", "auth_method": "token", "token": SECRET}
    config = {"backend_type": "vault", "vault_config": vault}
    listener = {"agent_id": "a", "auth_header": SECRET}
    return [
        ("store_secret", ({"agent_id": "a", "secret_name": "n", "secret_value": SECRET},)),
        (
            "store_secret",
            ({"agent_id": "a", "secret_name": "n", "secret_value": Secret(SECRET)},),
        ),
        (
            "store_secret",
            (SecretRequest(agent_id="a", secret_name="n", secret_value=SECRET),),
        ),
        ("configure_secret_backend", (config,)),
        ("add_mcp_server", ({"name": "fs", "command": ["x"], "env": {"KEY": SECRET}},)),
        ("create_http_input_server", ({"config": listener},)),
        ("update_http_input_server", ({"server_id": "s", "config": listener},)),
        (
            "channels.register",
            ({"name": "ops", "platform": "slack", "config": {"token": SECRET}},),
        ),
    ]


@pytest.mark.parametrize("at", range(len(secret_calls())))
def test_no_error_shows_what_was_sent(connect: Connect, peers: Any, at: int) -> None:
    name, arguments = secret_calls()[at]

    def repeats(exchange: Exchange) -> None:
        body = json.dumps({"error": exchange.asked.body.decode(), "code": "BAD"})
        exchange.answer(422, body)

    peer = peers(repeats)
    with pytest.raises(APIError) as caught:
        connect(peer).call(name, *arguments)
    assert SECRET in peer.asked[0].body.decode()
    assert caught.value.code == "BAD"
    assert SECRET not in (caught.value.response_text or "")
    assert SECRET not in recorded(caught.value)
    assert SECRET.encode() not in pickle.dumps(caught.value)


@pytest.mark.parametrize("at", range(len(secret_calls())))
def test_no_lost_connection_shows_what_was_sent(connect: Connect, peers: Any, at: int) -> None:
    name, arguments = secret_calls()[at]
    with pytest.raises(SymbiontError) as caught:
        connect(peers(lost), max_retries=0).call(name, *arguments)
    assert SECRET not in recorded(caught.value)


def test_a_wrong_request_shows_no_secret_it_holds(connect: Connect, peers: Any) -> None:
    peer = peers({})
    wrong = {"agent_id": "a", "secret_name": 5, "secret_value": SECRET}
    with pytest.raises(InvalidArgumentError, match="secret_name") as caught:
        connect(peer).call("store_secret", wrong)
    assert SECRET not in recorded(caught.value)


# --- events


def events_peer(peers: Any, *pieces: str, ends: bool = False) -> HttpPeer:
    def serve(exchange: Exchange) -> None:
        exchange.request()
        exchange.start_events()
        for piece in pieces:
            exchange.chunk(piece)
        if ends:
            exchange.end_chunks()
        else:
            exchange.link.stall()

    peer: HttpPeer = peers(serve=serve)
    return peer


def test_events_come_as_they_happen(connect: Connect, peers: Any) -> None:
    peer = events_peer(
        peers,
        ": hello\n\n",
        'id: 4\ndata: {"type": "agent.created", "agent_id": "a", "payload": {"n": 1}}\n\n',
        'id: 5\ndata: {"type": "brand.new", "sequence": 5}\n\n',
    )
    client = connect(peer)
    with client.read("events", "a", ["agent.created", "brand.new"], "3") as stream:
        first, second = next(stream), next(stream)
        assert (first.type, first.agent_id, first.payload) == ("agent.created", "a", {"n": 1})
        assert second.type == "brand.new"
        assert stream.raw.last_event_id == "5"
    (asked,) = peer.asked
    assert shown(asked) == "GET /events?agent_id=a&type=agent.created&type=brand.new"
    assert asked.header("last-event-id") == "3"
    assert asked.header("accept") == "text/event-stream"
    assert stream.raw.closed
    assert list(stream) == []


def test_a_stream_that_the_server_ends_says_so(connect: Connect, peers: Any) -> None:
    peer = events_peer(peers, 'id: 1\ndata: {"type": "x"}\n\n', ends=True)
    stream = connect(peer).read("events")
    assert next(stream).type == "x"
    with pytest.raises(ConnectionFailedError, match="last_event_id"):
        next(stream)
    assert stream.raw.closed


def test_an_event_that_is_none_is_our_error(connect: Connect, peers: Any) -> None:
    stream = connect(events_peer(peers, "data: not json\n\n")).read("events")
    with pytest.raises(ResponseFormatError):
        next(stream)
    assert stream.raw.closed


def test_a_quiet_stream_may_be_given_a_limit(connect: Connect, peers: Any) -> None:
    stream = connect(events_peer(peers)).read("events", idle_timeout=0.05)
    with pytest.raises(RequestTimeoutError):
        next(stream)


def test_statuses_stand_in_queries_as_words(connect: Connect, peers: Any) -> None:
    page = {"page": 1, "limit": 20, "total": 0, "has_next": False}
    peer = peers({"sessions": [], "pagination": page})
    connect(peer).call("list_review_sessions", status=ReviewStatus.UNDER_REVIEW, author="")
    assert shown(peer.asked[0]).endswith("?page=1&limit=20&status=under_review")
