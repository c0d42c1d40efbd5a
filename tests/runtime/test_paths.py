"""Two generations of paths, and groups of operations that a server may not have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ostiary.runtime._features import FEATURES
from ostiary.runtime.errors import (
    AuthenticationError,
    FeatureNotAvailableError,
    MethodNotAllowedError,
    NotFoundError,
    RequestTimeoutError,
    SymbiontError,
)
from tests.http.peer import answer, stall

from .conftest import STATUS, Client, refuses, routed, says, shown

Connect = Callable[..., Client]
RUN = {"execution_id": "ex-1", "status": "completed"}
REQUEST = {"workflow_id": "wf", "parameters": {}}
PLAIN_404 = answer(404, "Not Found", [("Content-Type", "text/plain")])


# --- which of two paths


@pytest.mark.parametrize("none", [404, 405])
def test_the_guide_s_path_is_tried_once_and_remembered(
    connect: Connect, peers: Any, none: int
) -> None:
    peer = peers(serve=routed({"GET /agents/a": STATUS, "POST /workflows": RUN}, answer(none)))
    client = connect(peer)
    for _ in range(3):
        assert client.call("get_agent_status", "a").agent_id == "agent-7"
        assert client.call("execute_workflow", REQUEST) == RUN
    assert [shown(one) for one in peer.asked] == [
        "GET /agents/a/status",
        "GET /agents/a",
        "POST /workflows/execute",
        "POST /workflows",
        *["GET /agents/a", "POST /workflows"] * 2,
    ]


def test_the_newer_path_is_remembered_too(connect: Connect, peers: Any) -> None:
    unknown = refuses(404, "AGENT_NOT_FOUND")
    peer = peers(STATUS, unknown)
    client = connect(peer)
    client.call("get_agent_status", "a")
    with pytest.raises(NotFoundError):
        client.call("get_agent_status", "b")
    assert [shown(one) for one in peer.asked] == ["GET /agents/a/status", "GET /agents/b/status"]


def test_an_unknown_agent_settles_nothing(connect: Connect, peers: Any) -> None:
    peer = peers(
        serve=routed(
            {
                "GET /agents/b/status": refuses(404, "AGENT_NOT_FOUND"),
                "GET /agents/b": answer(405),
                "GET /agents/a/status": STATUS,
            }
        )
    )
    client = connect(peer)
    with pytest.raises(NotFoundError) as caught:
        client.call("get_agent_status", "b")
    assert caught.value.code == "AGENT_NOT_FOUND", "the refusal that gives a reason"
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    assert client.call("get_agent_status", "a").agent_id == "agent-7"


def test_of_two_refusals_the_one_with_a_reason_is_raised(connect: Connect, peers: Any) -> None:
    client = connect(peers(answer(404), refuses(404, "WORKFLOW_NOT_FOUND")))
    with pytest.raises(NotFoundError) as caught:
        client.call("execute_workflow", REQUEST)
    assert caught.value.code == "WORKFLOW_NOT_FOUND"
    with pytest.raises(MethodNotAllowedError):
        connect(peers(answer(405), answer(404))).call("execute_workflow", REQUEST)


@pytest.mark.parametrize("status", [400, 401, 409, 422, 500])
def test_no_other_refusal_leads_to_the_other_path(
    connect: Connect, peers: Any, status: int
) -> None:
    peer = peers(refuses(status, "X"))
    with pytest.raises(SymbiontError):
        connect(peer).call("execute_workflow", REQUEST)
    assert [shown(one) for one in peer.asked] == ["POST /workflows/execute"]


def test_a_workflow_that_was_lost_is_not_run_by_the_other_path(
    connect: Connect, peers: Any
) -> None:
    peer = peers(stall)
    with pytest.raises(RequestTimeoutError):
        connect(peer, timeout=0.05).call("execute_workflow", REQUEST)
    assert len(peer.asked) == 1


def test_both_tries_share_one_deadline(connect: Connect, peers: Any) -> None:
    deadlines: list[float] = []
    peer = peers(serve=routed({"GET /agents/a": STATUS}))
    client = connect(peer)
    pool = client.raw.pool
    whole = type(pool).call

    class Watched:
        settings = pool.settings

        def call(self, *arguments: Any, **options: Any) -> Any:
            deadlines.append(options["timeout"])
            return whole(pool, *arguments, **options)

    client.raw._pool = Watched()
    client.call("get_agent_status", "a", timeout=9.0)
    client.raw._pool = pool
    first, second = deadlines
    assert first == 9.0
    assert second < 9.0


# --- groups that a server has not

GROUPS = [
    ("get_review_session", ("r",)),
    ("list_review_sessions", ()),
    ("store_secret", ({"agent_id": "a", "secret_name": "n", "secret_value": "v"},)),
    ("get_secret", ("a", "n")),
    ("list_mcp_servers", ()),
    ("connect_mcp_server", ("fs",)),
    ("search_knowledge", ({"query": "q"},)),
    ("compile_dsl", ({"dsl_content": "agent x {}", "agent_name": "x"},)),
    ("deploy_agent", ({"agent_id": "a"},)),
    ("list_http_input_servers", ()),
    ("get_status", ()),
    ("get_agent_metrics", ("a",)),
    ("prometheus_metrics", ()),
    ("schedules.list", ()),
    ("channels.start", ("c",)),
    ("list_approvals", ()),
    ("send_message", ("a", "b", "hi")),
]


@pytest.mark.parametrize(
    "reply", [answer(404), PLAIN_404, answer(405), answer(501)], ids=["404", "text", "405", "501"]
)
@pytest.mark.parametrize(("name", "arguments"), GROUPS, ids=[one[0] for one in GROUPS])
def test_a_group_that_is_not_there(
    connect: Connect, peers: Any, name: str, arguments: tuple[Any, ...], reply: bytes
) -> None:
    with pytest.raises(FeatureNotAvailableError, match="this server has no") as caught:
        connect(peers(reply)).call(name, *arguments)
    assert isinstance(caught.value, NotFoundError)
    assert caught.value.feature
    assert caught.value.status_code in {404, 405, 501}


@pytest.mark.parametrize(
    ("body", "ids", "missing"),
    [
        ({"error": "review rv-9 not found", "code": "REVIEW_NOT_FOUND"}, True, False),
        ({"error": "review rv-9 not found", "code": "NOT_FOUND"}, True, False),
        ({"error": {"code": "REVIEW_NOT_FOUND", "message": "no"}}, True, False),
        ({"error": "review rv-9 not found"}, True, False),
        ({"detail": "Not Found"}, True, True),
        ({"error": "not found", "code": "NOT_FOUND"}, False, True),
        ({"error": "no such path", "code": "ROUTE_NOT_FOUND"}, False, True),
        ({"error": "agent a not found", "code": "AGENT_NOT_FOUND"}, False, False),
        (["odd"], True, True),
    ],
    ids=str,
)
def test_a_thing_that_is_not_there_is_no_group_that_is_not_there(
    connect: Connect, peers: Any, body: Any, ids: bool, missing: bool
) -> None:
    client = connect(peers(says(body, 404)))
    with pytest.raises(NotFoundError) as caught:
        if ids:
            client.call("get_review_session", "rv-9")
        else:
            client.call("list_mcp_servers")
    assert isinstance(caught.value, FeatureNotAvailableError) is missing


def test_what_every_server_has_is_never_a_missing_group(connect: Connect, peers: Any) -> None:
    client = connect(peers(answer(404)))
    for name in ("health_check", "list_agents", "get_metrics"):
        with pytest.raises(NotFoundError) as caught:
            client.call(name)
        assert not isinstance(caught.value, FeatureNotAvailableError)


# --- asking


def test_a_server_is_asked_once_what_it_supports(connect: Connect, peers: Any) -> None:
    page = {"sessions": [], "pagination": {"page": 1, "limit": 1, "total": 0, "has_next": False}}
    peer = peers(
        serve=routed(
            {
                "GET /tool-review/sessions": page,
                "GET /secrets/config": answer(405),
                "GET /dsl/compile": answer(405),
                "GET /agents/deployments": answer(405),
                "GET /mcp/servers": answer(501),
                "GET /schedules": refuses(401),
            }
        )
    )
    client = connect(peer)
    for _ in range(2):
        assert client.call("supports", "reviews")
        assert client.call("supports", "secrets")
        assert client.call("supports", "dsl")
        assert not client.call("supports", "deployments"), "read as an agent's id"
        assert not client.call("supports", "mcp")
        assert not client.call("supports", "knowledge")
    assert len(peer.asked) == 6
    with pytest.raises(AuthenticationError):
        client.call("supports", "schedules")


def test_every_group_can_be_asked_for(connect: Connect, peers: Any) -> None:
    client = connect(peers({}))
    for feature in FEATURES:
        assert client.call("supports", feature)
        assert feature in type(client.raw).supports.__doc__
