"""Every path of the workflow server, asked nonsense: it refuses in its own words, and goes on."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.routing import Route

from ostiary.devserver import RunningVault, WorkflowOptions, running
from tests.devserver.test_runtime_hostile import BODIES
from tests.devserver.web import Web

JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def server() -> Iterator[RunningVault]:
    with running(demo=True, tcp=False, workflow=WorkflowOptions(port=None)) as one:
        yield one


def paths(server: RunningVault) -> list[tuple[str, str]]:
    """Return every method and path there is."""
    workflow = server._server.workflow  # pyright: ignore[reportPrivateUsage]
    assert workflow is not None
    found: list[tuple[str, str]] = []
    for group in workflow.groups:
        for one in group.routes():
            assert isinstance(one, Route)
            found += [(method, one.path) for method in sorted(one.methods or ())]
    return found


def checked(reply: Any, where: str) -> None:
    assert reply.status < 500, (where, reply)
    if reply.status >= 400:
        found = reply.document
        assert {"error", "code", "request_id"} <= found.keys(), where
        assert found.keys() <= {"error", "code", "details", "errors", "request_id"}, where
        assert found["request_id"] == reply["x-request-id"], where
        assert re.fullmatch(r"[A-Z][A-Z0-9_]*", found["code"]), (where, reply)
        for one in found.get("errors", ()):
            assert one.keys() == {"path", "message"}, where


def test_there_are_paths(server: RunningVault) -> None:
    assert len(paths(server)) > 30


@pytest.mark.parametrize("body", BODIES, ids=[str(n) for n in range(len(BODIES))])
def test_nonsense_in_bodies(server: RunningVault, body: bytes) -> None:
    for method, path in paths(server):
        if method not in {"POST", "DELETE"}:
            continue
        target = re.sub(r"\{[^}]*\}", "no-such-thing", path)
        with Web(server.workflow_socket) as web:
            reply = web.call(method, target, body=body, headers=JSON)
            checked(reply, f"{method} {target}")
            # No workflow, commit, judgement or metric is made of nothing.
            assert reply.status >= 400 or path.endswith("/batch"), (target, reply)


@pytest.mark.parametrize(
    "name", ["%00", "%ff", "%F0%9F%92%A5", "a%20b", "%22%27%3B--", "x" * 3_000, "%2e%2e%2fa", "*"]
)
def test_nonsense_in_paths_and_queries(server: RunningVault, name: str) -> None:
    words = "limit cursor status name tags start_time end_time started_after wait after type"
    for method, path in paths(server):
        target = re.sub(r"\{[^}]*\}", name, path)
        for word in words.split():
            with Web(server.workflow_socket) as web:
                where = f"{target}?{word}={name}"
                reply = web.call(method, where, headers=JSON if method == "POST" else None)
                if method != "HEAD":
                    checked(reply, f"{method} {where}")


DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("workflow", "id", "name", "tasks", "type", "dependencies", "context"),
                    *("commit", "gate_config", "data", "validators", "validator_id", "config"),
                    *("principal", "action", "risk_tier", "permissions", "reason", "tool_name"),
                    *("events", "metrics", "spans", "timestamp", "value", "trace_id", "tags"),
                ]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=20,
)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(document=DOCUMENTS)
def test_any_document_anywhere(server: RunningVault, document: Any) -> None:
    body = json.dumps(document).encode()
    with Web(server.workflow_socket) as web:
        for method, path in paths(server):
            if method != "POST":
                continue
            target = re.sub(r"\{[^}]*\}", "no-such-thing", path)
            checked(web.call(method, target, body=body, headers=JSON), f"{method} {target}")
