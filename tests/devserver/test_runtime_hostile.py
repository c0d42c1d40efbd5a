"""Every path of the runtime, asked nonsense: it refuses in its own words, and goes on."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.routing import Route

from ostiary.devserver import RunningVault, RuntimeOptions, running
from tests.devserver.web import Web

DEEP = b'{"a":' + b"[" * 5_000 + b"]" * 5_000 + b"}"
BODIES: list[bytes] = [
    b"",
    b"null",
    b"[]",
    b"{}",
    b'"text"',
    b"1e999",
    b"NaN",
    b'{"a":1,"a":2}',
    b'{"":null}',
    b'{"name":"\\ud800"}',
    b'{"name":"\\u0000","id":"\\u0000"}',
    b"\xef\xbb\xbf{}",
    DEEP,
    b'{"limit":' + b"9" * 400 + b"}",
]
# Starting processes and listeners is left to tests of their own.
NOT_ASKED = re.compile(r"/(connect|start)$")
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def server() -> Iterator[RunningVault]:
    with running(demo=True, tcp=False, runtime=RuntimeOptions(port=None, heartbeat=1.0)) as one:
        yield one


def paths(server: RunningVault) -> list[tuple[str, str]]:
    """Return every method and path there is."""
    runtime = server._server.runtime  # pyright: ignore[reportPrivateUsage]
    assert runtime is not None
    found: list[tuple[str, str]] = []
    for group in runtime.groups:
        for one in group.routes():
            assert isinstance(one, Route)
            found += [(method, one.path) for method in sorted(one.methods or ())]
    return found


def checked(reply: Any, where: str) -> None:
    assert reply.status < 500, (where, reply)
    assert "x-request-id" in reply
    if reply.status >= 400:
        assert reply.document.keys() == {"error", "code", "details"}, where
        assert reply.document["error"], where
        assert re.fullmatch(r"[A-Z][A-Z0-9_]*", reply.document["code"]), (where, reply)


def test_there_are_paths(server: RunningVault) -> None:
    assert len(paths(server)) > 100


@pytest.mark.parametrize("body", BODIES, ids=[str(n) for n in range(len(BODIES))])
def test_nonsense_in_bodies(server: RunningVault, body: bytes) -> None:
    for method, path in paths(server):
        if method not in {"POST", "PUT", "DELETE"} or NOT_ASKED.search(path):
            continue
        for name in ("agent-123", "no-such-thing"):
            target = re.sub(r"\{[^}]*\}", name, path)
            if method == "DELETE" and name == "agent-123":
                continue
            with Web(server.runtime_socket) as web:
                checked(web.call(method, target, body=body, headers=JSON), f"{method} {target}")
    with Web(server.runtime_socket) as web:
        assert web.get("/api/v1/agents/agent-123").status == 200


@pytest.mark.parametrize(
    "name", ["%00", "%ff", "%F0%9F%92%A5", "a%20b", "%22%27%3B--", "x" * 3_000, "%2e%2e%2fa", "*"]
)
def test_nonsense_in_paths_and_queries(server: RunningVault, name: str) -> None:
    query = f"page={name}&limit={name}&count=-1&status={name}&agent_id={name}&detail={name}"
    for method, path in paths(server):
        if path.endswith("/events") and method == "GET":
            continue  # a stream has no end
        if NOT_ASKED.search(path):
            continue
        target = re.sub(r"\{[^}]*\}", name, path) + "?" + query
        with Web(server.runtime_socket) as web:
            reply = web.call(method, target, headers=JSON if method == "POST" else None)
            if method != "HEAD":
                if reply.status < 400:
                    continue
                checked(reply, f"{method} {target}")


DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("id", "name", "tool", "schema", "agent_id", "payload", "metadata", "config"),
                    *("parameters", "sender", "content", "query", "dsl_content", "state", "limit"),
                    *("cron_expression", "timezone", "agent_name", "platform", "input", "dsl"),
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
    with Web(server.runtime_socket) as web:
        for method, path in paths(server):
            if method not in {"POST", "PUT"} or NOT_ASKED.search(path):
                continue
            target = re.sub(r"\{[^}]*\}", "agent-123", path)
            checked(web.call(method, target, body=body, headers=JSON), f"{method} {target}")
