"""The runtime's front: who is let in, what errors look like, paths, bodies, limits, its memory."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.routing import Route

from ostiary.devserver import HttpFault, RunningVault, RuntimeOptions, running
from ostiary.devserver.documents import Documents, Store
from ostiary.devserver.http.refusals import HttpRefusal
from ostiary.devserver.http.routing import Paths, route
from ostiary.errors import InvalidArgumentError, OstiaryError
from ostiary.secret import Secret
from tests.devserver.api import Api
from tests.devserver.web import Web
from tests.devserver.wire import Hands

OTHER = "another-token-of-the-owner"
DEEP = b'{"metadata":{"a":' + b"[" * 9000


@pytest.fixture(scope="module")
def server() -> Iterator[RunningVault]:
    runtime = RuntimeOptions(port=0, token=Secret(OTHER), request_limit=64 * 1024)
    with running(runtime=runtime) as one:
        yield one


@pytest.fixture
def web(server: RunningVault) -> Iterator[Web]:
    assert server.runtime_token is not None
    headers = {"Authorization": f"Bearer {server.runtime_token.reveal()}"}
    with Web(server.runtime_socket, headers=headers) as one:
        yield one


def test_health_and_the_probes_are_open_and_nothing_else(server: RunningVault) -> None:
    with Web(server.runtime_socket) as web:
        health = web.get("/api/v1/health")
        assert health.status == 200
        found = health.document
        assert found.keys() == {"status", "uptime_seconds", "timestamp", "version"}
        assert found["status"] == "healthy"
        assert isinstance(found["uptime_seconds"], int)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,6}Z", found["timestamp"])
        assert web.get("/api/v1/health/live").status == 200
        assert web.get("/api/v1/health/ready").status == 200
        for path in ("status", "metrics", "health/scheduler", "agents", "nothing", "health/"):
            reply = web.get(f"/api/v1/{path}")
            assert (reply.status, reply["www-authenticate"]) == (401, "Bearer")
            assert reply.document.keys() == {"error", "code", "details"}
        assert web.get("/metrics").status == 401


@pytest.mark.parametrize("which", ["kept", "other", "neither"])
def test_either_token_is_taken(server: RunningVault, which: str) -> None:
    assert server.runtime_token is not None
    token = {"kept": server.runtime_token.reveal(), "other": OTHER, "neither": OTHER[:-1]}[which]
    with Web(server.runtime_socket, headers={"Authorization": f"bearer {token}"}) as web:
        assert web.get("/api/v1/agents").status == (401 if which == "neither" else 200)


def test_a_token_in_the_address_opens_nothing(server: RunningVault) -> None:
    # Addresses are written to logs.
    with Web(server.runtime_socket) as web:
        for path in ("agents", "events", "ws/chat"):
            for name in ("token", "access_token", "api_key"):
                reply = web.get(f"/api/v1/{path}?{name}={OTHER}")
                assert (reply.status, OTHER in repr(reply)) == (401, False)


def test_the_token_and_the_memory_are_for_the_owner_alone(server: RunningVault) -> None:
    for name in ("runtime.token", "runtime.sock", "runtime.db"):
        assert stat.S_IMODE((server.home / name).stat().st_mode) == 0o600
    assert stat.S_IMODE((server.home / "runtime").stat().st_mode) == 0o700


def test_the_demo_asks_for_no_token_and_takes_any() -> None:
    with running(demo=True, tcp=False) as server, Web(server.runtime_socket) as web:
        assert server.runtime_token is None
        assert web.get("/api/v1/agents").document == ["agent-123"]
        given = web.get("/api/v1/agents", headers={"Authorization": "Bearer your_api_key"})
        assert given.status == 200


def test_a_token_that_was_set_is_asked_for_with_the_demo_too() -> None:
    runtime = RuntimeOptions(port=None, token=Secret(OTHER))
    with running(demo=True, tcp=False, runtime=runtime) as server:
        assert server.runtime_token == Secret(OTHER)
        with Web(server.runtime_socket) as web:
            assert web.get("/api/v1/agents").status == 401
            known = {"Authorization": f"Bearer {OTHER}"}
            assert web.get("/api/v1/agents", headers=known).status == 200


def test_it_answers_on_loopback_too(server: RunningVault) -> None:
    host, port = server.runtime_url.removeprefix("http://").removesuffix("/api/v1").split(":")
    with Web((host, int(port))) as web:
        assert web.get("/api/v1/health").status == 200
        foreign = web.get("/api/v1/health", headers={"Host": "evil.example"})
        assert foreign.status == 421
        page = web.get("/api/v1/health", headers={"Origin": "https://evil.example"})
        assert page.status == 403


def test_errors_have_one_shape(web: Web, server: RunningVault) -> None:
    known = {"X-Request-Id": "mine-1"}
    for reply, status, code in (
        (web.get("/api/v1/agents/who", headers=known), 404, "AGENT_NOT_FOUND"),
        (web.get("/api/v1/nothing", headers=known), 404, "NOT_FOUND"),
        (web.get("/", headers=known), 404, "NOT_FOUND"),
        (web.post("/api/v1/agents", {}, headers=known), 422, "VALIDATION_FAILED"),
        (web.post("/api/v1/agents", body=b"{", headers=JSON | known), 422, "INVALID_INPUT"),
        (web.post("/api/v1/agents", body=DEEP, headers=JSON | known), 422, "INVALID_INPUT"),
        (web.post("/api/v1/agents", body=b"\xff", headers=JSON | known), 422, "INVALID_INPUT"),
        (web.post("/api/v1/agents", body=b"a=1", headers=known), 415, "UNSUPPORTED_MEDIA_TYPE"),
    ):
        assert (reply.status, reply.document["code"]) == (status, code)
        assert reply.document.keys() == {"error", "code", "details"}
        assert reply["x-request-id"] == "mine-1"
    server.runtime_faults.add(HttpFault(status=503, code="STAGED"))
    staged = web.get("/api/v1/agents").document
    assert staged.keys() == {"error", "code", "details"}


JSON = {"Content-Type": "application/json"}


def test_a_wrong_method_is_told_the_right_ones(web: Web) -> None:
    for path, allowed in (
        ("agents", "GET, HEAD, POST"),
        ("agents/x", "DELETE, GET, HEAD, PUT"),
        ("agents/x/heartbeat", "POST"),
        ("workflows/execute", "POST"),
    ):
        reply = web.call("PATCH", f"/api/v1/{path}", {})
        assert (reply.status, reply["allow"]) == (405, allowed)


def test_a_body_that_is_too_long(web: Web) -> None:
    reply = web.post("/api/v1/agents", {"name": "x" * 64 * 1024})
    assert (reply.status, reply.document["code"]) == (413, "PAYLOAD_TOO_LARGE")
    assert reply.document["details"] == {"limit_bytes": 64 * 1024}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": 3}, "name"),
        ({"name": "n", "tools": ["a", 5]}, "tools[1]"),
        ({"name": "n", "temperature": "hot"}, "temperature"),
        ({"name": "n", "temperature": 2.5}, "temperature"),
        ({"name": "n", "top_p": -0.1}, "top_p"),
        ({"name": "n", "max_tokens": 0}, "max_tokens"),
        ({"name": None}, "name"),
        ({"id": "a/b", "name": "n"}, "id"),
        ({"id": "deployments", "name": "n"}, "id"),
        ({"id": "..", "name": "n"}, "id"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_refused_body_names_the_member(web: Web, body: Any, field: str) -> None:
    reply = web.post("/api/v1/agents", body)
    assert (reply.status, reply.document["details"]["fields"]) == (422, [field])


def test_null_is_as_good_as_absent(web: Web) -> None:
    reply = web.post(
        "/api/v1/agents",
        {
            "id": None,
            "name": "nulls",
            "tools": None,
            "temperature": None,
            "execution_mode": None,
            "metadata": {"kept": None},
            "unknown": 1,
        },
    )
    assert reply.status == 201, reply
    known = web.get(f"/api/v1/agents/{reply.document['id']}").document
    assert known["execution_mode"] == "Ephemeral"


def test_an_honest_missing_member(web: Web) -> None:
    reply = web.post("/api/v1/workflows/execute", {"parameters": {}})
    assert reply.document["details"]["field"] == "workflow_id"


# -- limits -------------------------------------------------------------------


def test_the_rate_limit_says_when_to_come_back(hands: Hands) -> None:
    runtime = RuntimeOptions(port=None, requests_per_minute=3)
    with running(demo=True, tcp=False, clock=hands.clock(), runtime=runtime) as server:
        api = Web(server.runtime_socket)
        with api as web:
            assert [web.get("/api/v1/agents").status for _ in range(4)] == [200, 200, 200, 429]
            refused = web.get("/api/v1/agents")
            assert refused["retry-after"] == "20"
            assert refused.document["code"] == "RATE_LIMITED"
            assert web.get("/api/v1/health").status == 200
            hands.forward(20)
            assert web.get("/api/v1/agents").status == 200
            assert web.get("/api/v1/agents").status == 429


@pytest.mark.parametrize(
    "settings",
    [
        {"port": 70_000},
        {"request_limit": 0},
        {"requests_per_minute": 0},
        {"heartbeat": 20},
        {"workflow_timeout": 0},
        {"idempotency_ttl": float("inf")},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_settings_that_make_no_sense(settings: Any) -> None:
    with pytest.raises(InvalidArgumentError):
        RuntimeOptions(**settings)


# -- routing ------------------------------------------------------------------


async def _named(request: Request) -> Any:
    raise AssertionError


@pytest.mark.parametrize("backwards", [False, True])
def test_fixed_words_are_found_before_parameters(backwards: bool) -> None:
    paths = [
        "/a/{id}",
        "/a/deploy",
        "/a/{id}/b",
        "/a/deploy/{x}",
        "/{rest:path}",
        "/a/{id}/{x}",
    ]
    found: list[str] = []

    def endpoint(path: str) -> Any:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            found.append(path)

        one = route("GET", path, _named, prefix="")
        assert isinstance(one, Route)
        one.app = app
        return one

    app = Paths([endpoint(path) for path in (reversed(paths) if backwards else paths)])
    for given, wanted in (
        ("/a/deploy", "/a/deploy"),
        ("/a/deployed", "/a/{id}"),
        ("/a/deploy/b", "/a/deploy/{x}"),
        ("/a/x/b", "/a/{id}/b"),
        ("/a/x/c", "/a/{id}/{x}"),
        ("/a/x/c/d", "/{rest:path}"),
    ):
        drive(app, "GET", given)
        assert found.pop() == wanted
    with pytest.raises(HttpRefusal) as refused:
        drive(app, "POST", "/a/deploy")
    assert refused.value.status == 405


def drive(app: Any, method: str, path: str) -> None:
    work = app({"type": "http", "method": method, "path": path}, None, None)
    with pytest.raises(StopIteration):
        work.send(None)


# -- memory -------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    one = Store(tmp_path / "runtime.db")
    yield one
    one.close()
    one.close()


def test_documents(store: Store) -> None:
    kept = Documents(store, "kind", dict[str, int])
    other = Documents(store, "other", dict[str, int])
    other.put("a", {"n": 9})
    assert kept.get("a") is None
    assert not kept.delete("a")
    assert kept.add("a", {"n": 1}, owner="x")
    assert not kept.add("a", {"n": 2})
    kept.put("b", {"n": 2}, owner="y")
    kept.put("c", {"n": 3}, owner="x")
    kept.put("a", {"n": 4})
    assert [key for key, _ in kept.items()] == ["a", "b", "c"]
    assert kept.all() == [{"n": 4}, {"n": 2}, {"n": 3}]
    assert kept.page(0, 2) == [{"n": 3}, {"n": 2}]
    assert kept.page(1, 5, newest_first=False) == [{"n": 2}, {"n": 3}]
    assert kept.owned("x") == [{"n": 3}, {"n": 4}]
    assert kept.owned("x", 1, newest_first=False) == [{"n": 4}]
    assert (kept.count(), kept.count(owner="x"), other.count()) == (3, 2, 1)
    kept.keep(2)
    assert kept.all() == [{"n": 2}, {"n": 3}]
    kept.keep(5)
    assert kept.count() == 2
    assert kept.delete("b")
    assert other.get("a") == {"n": 9}


def test_a_transaction_is_all_or_nothing(store: Store) -> None:
    kept = Documents(store, "kind", int)
    with pytest.raises(RuntimeError), store.transaction():
        kept.put("a", 1)
        with store.transaction():
            kept.put("b", 2)
        raise RuntimeError
    assert kept.all() == []
    with store.transaction():
        kept.put("a", 1)
    assert kept.all() == [1]


def test_a_memory_that_others_could_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "runtime.db"
    path.touch(mode=0o644)
    with pytest.raises(OstiaryError, match="chmod 600"):
        Store(path)


def test_a_file_that_is_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "runtime.db"
    path.touch(mode=0o600)
    path.write_bytes(b"not a database, and longer than one page header would be" * 40)
    with pytest.raises(OstiaryError, match="move it away"):
        Store(path)


def test_a_memory_of_a_newer_version(tmp_path: Path) -> None:
    store = Store(tmp_path / "runtime.db")
    store.db.execute("PRAGMA user_version=99")
    store.close()
    with pytest.raises(OstiaryError, match="newer version"):
        Store(tmp_path / "runtime.db")


def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with running(home, tcp=False) as server:
        api = Api(server)
        token = server.runtime_token
        assert api.post("agents", {"id": "a-1", "name": "n"})[0] == 201
        assert api.post("agents/a-1/messages", {"sender": "s", "payload": {"n": 1}})[0] == 201
        job = api.post(
            "schedules", {"name": "s", "cron_expression": "0 0 1 1 *", "agent_name": "a-1"}
        )[1]
    with running(home, tcp=False) as server:
        api = Api(server)
        assert server.runtime_token == token
        assert api.get("agents")[1] == ["a-1"]
        assert api.get("agents/a-1/messages")[1]["messages"][0]["payload"] == {"n": 1}
        assert api.get(f"schedules/{job['job_id']}")[1]["next_run"] == job["next_run"]


def test_a_second_runtime_on_the_port_is_a_sentence(server: RunningVault) -> None:
    port = int(server.runtime_url.split(":")[2].split("/")[0])
    with (
        pytest.raises(OstiaryError, match="--runtime-port"),
        running(runtime=RuntimeOptions(port=port)),
    ):
        pass


def test_no_secret_shows_in_its_settings() -> None:
    shown = repr(RuntimeOptions(token=Secret("a-token-that-is-not-shown")))
    assert "not-shown" not in shown
    assert json.dumps(shown)
