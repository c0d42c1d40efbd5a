"""The wire contract: a row per endpoint, sent and read in every colour."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ostiary.runtime import _routes as routes
from ostiary.runtime._schedules._sync import Channels, Schedules
from ostiary.runtime._sync import RuntimeClient
from ostiary.runtime.models import Model
from tests.http.peer import answer, lost

from .conftest import Client, says, shown
from .contract_rows import GONE, ROWS, Row

Connect = Callable[..., Client]


def plain(value: Any) -> Any:
    """Return what a result says, as JSON says it."""
    if isinstance(value, Model):
        return value.to_dict()
    if isinstance(value, list):
        return [plain(one) for one in value]
    return value


def types_of(value: Any) -> set[type]:
    return {type(one) for one in value} if isinstance(value, list) else {type(value)}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.call}-{row.sent.partition('?')[0]}")
def test_a_row(row: Row, connect: Connect, peers: Any) -> None:
    peer = peers(*([answer(404)] * row.before), says(row.answered))
    result = connect(peer).call(row.call, *row.arguments)
    asked = peer.asked[-1]
    assert shown(asked) == row.sent
    assert len(peer.asked) == row.before + 1
    if row.body is None:
        assert asked.body == b""
        assert asked.header("content-type") is None
    else:
        # Compact, and what is not given is not there.
        assert json.loads(asked.body) == row.body
        assert b": " not in asked.body
        assert asked.header("content-type") == "application/json"
    if row.returned == GONE:
        assert result is None
    elif isinstance(row.returned, type):
        assert types_of(result) <= {row.returned}
        expected = row.answered
        if isinstance(result, list) and isinstance(expected, dict):
            (expected,) = (one for one in expected.values() if isinstance(one, list))
        assert plain(result) == expected
    else:
        assert result == (row.answered if row.returned is None else row.returned)


def test_the_figures_as_text(connect: Connect, peers: Any) -> None:
    text = "# TYPE agents_total gauge\nagents_total 2\n"
    peer = peers(answer(200, text, [("Content-Type", "text/plain; version=0.0.4")]))
    assert connect(peer).call("prometheus_metrics") == text
    assert shown(peer.asked[0]) == "GET /metrics/prometheus"


def test_every_endpoint_has_a_row() -> None:
    table = {
        f"{route.method} {route.template}"
        for route in vars(routes).values()
        if type(route).__name__ == "Route"
    }
    shapes = [
        (one.partition(" ")[0], re.compile(re.sub(r"\{\w+\}", "[^/]+", one) + r"(\?.*)?"))
        for one in sorted(table)
    ]
    sent = {row.sent for row in ROWS} | {"GET /metrics/prometheus", "GET /events"}
    for verb, shape in shapes:
        # The most specific template of a path is the one that sends it.
        assert any(shape.fullmatch(one) for one in sent), (verb, shape.pattern)
    assert len(table) == len({one for one in sent if True} - duplicates(sent))


def duplicates(sent: set[str]) -> set[str]:
    """Return what was sent to an endpoint that another row has too."""
    seen: set[str] = set()
    again: set[str] = set()
    for one in sorted(sent):
        bare = one.partition("?")[0]
        if bare in seen:
            again.add(one)
        seen.add(bare)
    return again


def test_the_page_about_the_wire_names_every_endpoint_and_no_other() -> None:
    page = (Path(__file__).parents[2] / "docs" / "runtime-wire.md").read_text("utf-8")
    rows = re.findall(r"^\| `([\w.]+)` \| `(\w+ /[^?`]*)(?:\?[^`]*)?` \|", page, re.MULTILINE)
    table = [
        f"{route.method} {route.template}"
        for route in vars(routes).values()
        if type(route).__name__ == "Route"
    ]
    assert sorted(wire for _, wire in rows) == sorted(table)
    for method, _ in rows:
        owner, _, name = method.rpartition(".")
        owners = {"": RuntimeClient, "schedules": Schedules, "channels": Channels}
        assert callable(getattr(owners[owner], name)), method


def test_every_method_has_a_row() -> None:
    named = {row.call for row in ROWS}
    others = {
        *("prometheus_metrics", "events", "supports", "close", "made_from", "ingest_file"),
        "submit_tools_for_review",
    }
    for owner, prefix in ((RuntimeClient, ""), (Schedules, "schedules."), (Channels, "channels.")):
        for name, _ in inspect.getmembers(owner, inspect.isfunction):
            if not name.startswith(("_", "iter_", "wait_for_")):
                assert prefix + name in named | others, prefix + name


# Sent as often as one likes: they read, or say the same again.
UNKEYED = {"search_knowledge", "get_context", "send_heartbeat"}
KEYED = {row.call: row for row in ROWS if row.sent.startswith("POST ") and not row.before}


@pytest.mark.parametrize("name", sorted(KEYED.keys() - UNKEYED))
def test_every_post_that_does_something_takes_a_key(
    connect: Connect, peers: Any, name: str
) -> None:
    row = KEYED[name]
    peer = peers(lost, says(row.answered))
    connect(peer).call(name, *row.arguments, idempotency_key="key-of-mine")
    # A lost answer is asked for again, under the same key.
    assert [shown(one) for one in peer.asked] == [row.sent] * 2
    assert [one.header("idempotency-key") for one in peer.asked] == ["key-of-mine"] * 2


def test_all_45_methods_of_the_guide_s_release_are_there() -> None:
    guide = [
        "health_check",
        "get_metrics",
        "get_agent_metrics",
        "list_agents",
        "get_agent_status",
        "create_agent",
        "execute_workflow",
        "submit_tool_for_review",
        "get_review_session",
        "list_review_sessions",
        "get_analysis_results",
        "submit_human_review_decision",
        "sign_approved_tool",
        "get_signed_tool",
        "wait_for_review_completion",
        "configure_secret_backend",
        "store_secret",
        "get_secret",
        "list_secrets",
        "delete_secret",
        "add_mcp_server",
        "list_mcp_servers",
        "get_mcp_server",
        "connect_mcp_server",
        "disconnect_mcp_server",
        "list_mcp_tools",
        "list_mcp_resources",
        "add_knowledge_item",
        "search_knowledge",
        "get_context",
        "delete_knowledge_item",
        "compile_dsl",
        "deploy_agent",
        "get_agent_deployment",
        "list_agent_deployments",
        "stop_agent_deployment",
        "create_http_input_server",
        "list_http_input_servers",
        "get_http_input_server",
        "update_http_input_server",
        "start_http_input_server",
        "stop_http_input_server",
        "delete_http_input_server",
        "trigger_webhook",
        "get_http_input_metrics",
    ]
    assert len(set(guide)) == 45
    for name in guide:
        assert callable(getattr(RuntimeClient, name))


def test_what_every_request_says_of_itself(connect: Connect, peers: Any) -> None:
    from ostiary import __version__

    peer = peers(["agent-7"])
    connect(peer).call("list_agents")
    connect(peer, "k-77").call("list_agents")
    without, with_key = peer.asked
    assert without.header("authorization") is None
    assert with_key.header("authorization") == "Bearer k-77"
    assert __version__ in (with_key.header("user-agent") or "")
