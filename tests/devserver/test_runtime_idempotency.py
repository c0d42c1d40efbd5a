"""The same POST twice: one effect, one answer; and another body is another request."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ostiary.devserver import HttpFault, RunningVault, RuntimeOptions, running
from tests.devserver.web import Reply, Web
from tests.devserver.wire import Hands

CALLS: list[Any] = []


def count(parameters: dict[str, Any]) -> int:
    CALLS.append(parameters)
    if "seconds" in parameters:
        time.sleep(parameters["seconds"])
    return len(CALLS)


@pytest.fixture
def server(hands: Hands, tmp_path: Path) -> Iterator[RunningVault]:
    CALLS.clear()
    runtime = RuntimeOptions(port=None, workflows={"count": count}, idempotency_ttl=100)
    home = tmp_path / "home"
    with running(home, demo=True, tcp=False, clock=hands.clock(), runtime=runtime) as one:
        yield one


def post(server: RunningVault, key: str, path: str = "workflows/execute", **more: Any) -> Reply:
    body: Any = {"workflow_id": "count", "parameters": more} if "execute" in path else more
    with Web(server.runtime_socket) as web:
        return web.post(f"/api/v1/{path}", body, headers={"Idempotency-Key": key})


def test_the_same_once_more(server: RunningVault) -> None:
    first, second = post(server, "k"), post(server, "k")
    assert first.body == second.body
    assert (first.status, second.status, len(CALLS)) == (200, 200, 1)
    assert "idempotent-replayed" not in first
    assert second["idempotent-replayed"] == "true"
    assert second["content-type"] == "application/json"
    assert second["x-request-id"] != first["x-request-id"]
    assert post(server, "other").document != first.document
    assert len(CALLS) == 2


def test_another_body_is_refused(server: RunningVault) -> None:
    post(server, "k")
    refused = post(server, "k", n=1)
    assert (refused.status, refused.document["code"]) == (409, "IDEMPOTENCY_CONFLICT")
    assert len(CALLS) == 1


def test_a_key_belongs_to_its_path(server: RunningVault) -> None:
    post(server, "k")
    assert post(server, "k", "agents", name="n").status == 201


def test_a_refusal_is_not_kept(server: RunningVault) -> None:
    body = {"sender": "me", "payload": 1}
    assert post(server, "k", "agents/late/messages", **body).status == 404
    assert post(server, "a", "agents", id="late", name="n").status == 201
    assert post(server, "k", "agents/late/messages", **body).status == 201
    assert post(server, "k", "agents/late/messages", **body)["idempotent-replayed"] == "true"
    with Web(server.runtime_socket) as web:
        assert len(web.get("/api/v1/agents/late/messages").document["messages"]) == 1


def test_answers_grow_old(server: RunningVault, hands: Hands) -> None:
    post(server, "k")
    hands.forward(100)
    post(server, "k")
    assert len(CALLS) == 1
    hands.forward(1)
    post(server, "k")
    assert len(CALLS) == 2


def test_only_posts_and_only_keys_that_can_be_written(server: RunningVault) -> None:
    with Web(server.runtime_socket) as web:
        for _ in range(2):
            reply = web.get("/api/v1/agents", headers={"Idempotency-Key": "k"})
            assert "idempotent-replayed" not in reply
    for key in ("with blank", "x" * 256):
        refused = post(server, key)
        assert (refused.status, refused.document["details"]["field"]) == (422, "Idempotency-Key")
    assert CALLS == []


def test_two_at_once_are_one(server: RunningVault) -> None:
    answers: list[Reply] = []
    threads = [
        threading.Thread(target=lambda: answers.append(post(server, "k", seconds=0.1)))
        for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(CALLS) == 1
    assert len({answer.body for answer in answers}) == 1
    assert sorted("idempotent-replayed" in answer for answer in answers) == [False] + [True] * 4


def test_who_lost_patience_finds_the_answer(server: RunningVault) -> None:
    body = {"workflow_id": "count", "parameters": {"seconds": 0.2}}
    with Web(server.runtime_socket) as web:
        web.send("POST", "/api/v1/workflows/execute", body, headers={"Idempotency-Key": "k"})
        while not CALLS:
            time.sleep(0.001)
    answer = post(server, "k", seconds=0.2)
    assert (answer.document["status"], answer.document["result"]) == ("completed", {"value": 1})
    assert len(CALLS) == 1


def test_an_answer_that_was_lost_on_its_way(server: RunningVault) -> None:
    server.runtime_faults.add(HttpFault(path="*/execute", cut_after=5))
    with pytest.raises(EOFError):
        post(server, "k")
    assert post(server, "k")["idempotent-replayed"] == "true"
    assert len(CALLS) == 1


def test_a_new_process_knows_the_keys(hands: Hands, tmp_path: Path) -> None:
    CALLS.clear()
    runtime = RuntimeOptions(port=None, workflows={"count": count})
    settings: Any = {"demo": True, "tcp": False, "clock": hands.clock(), "runtime": runtime}
    with running(tmp_path / "home", **settings) as server:
        first = post(server, "k")
    with running(tmp_path / "home", **settings) as server:
        assert post(server, "k").body == first.body
        assert post(server, "k", n=1).status == 409
        assert len(CALLS) == 1
    hands.forward(86_401)
    with running(tmp_path / "home", **settings):
        assert kept(tmp_path / "home") == 0


def test_bodies_with_secrets_leave_nothing_on_file(server: RunningVault) -> None:
    secret = {"agent_id": "agent-123", "secret_name": "n", "secret_value": "hunter2-hunter2"}
    first, second = (post(server, "k", "secrets", **secret) for _ in range(2))
    assert (first.status, first.body) == (second.status, second.body)
    assert second["idempotent-replayed"] == "true"
    assert post(server, "k", "secrets", **(secret | {"secret_value": "x"})).status == 409
    assert kept(server.home) == 0
    for path in server.home.glob("runtime.db*"):
        assert b"hunter2" not in path.read_bytes()


def kept(home: Path) -> int:
    with closing(sqlite3.connect(home / "runtime.db")) as db:
        rows = db.execute("SELECT key FROM documents WHERE kind = 'idempotency'").fetchall()
    return len(rows)
