"""What the client does beside one request and one reply."""

from __future__ import annotations

import copy
import json
import math
import pickle
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

import ostiary.workflow as httpx  # as the guide's error example has it
from ostiary.errors import OstiaryError
from ostiary.secret import Secret
from ostiary.workflow import (
    ApprovalDeniedError,
    AureusClient,
    AureusSyncClient,
    ClientStateError,
    Commit,
    ConflictError,
    ConnectError,
    GraphError,
    InvalidArgumentError,
    Metric,
    NotFoundError,
    ServerError,
    TelemetryEvent,
    UnavailableError,
    WaitTimeoutError,
    WorkflowClient,
    WorkflowSpec,
)
from tests.http.peer import Exchange, Script, lost, stall

from .conftest import (
    ACTION,
    APPROVAL,
    EVENT,
    METRIC,
    PRINCIPAL,
    RESULT,
    SPAN,
    SPEC,
    STATUS,
    Client,
    happened,
    refuses,
    says,
    shown,
)

Connect = Callable[..., Client]
GATE = {"name": "g", "validators": [], "block_on_failure": True}
QUICK = {"poll_interval": 0.002}


# --- how it is made


def test_the_guide_s_ways_to_make_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert AureusSyncClient().base_url == "http://localhost:3000"
    client = AureusSyncClient(base_url="http://localhost:3000/", api_key="your-api-key", timeout=60)
    assert (client.base_url, client.timeout) == ("http://localhost:3000", 60)
    assert AureusClient(base_url="http://h:1/base/").base_url == "http://h:1/base"
    monkeypatch.setenv("OSTIARY_WORKFLOW_URL", "http://h:9")
    assert WorkflowClient().base_url == "http://h:9"


def test_a_prefix_stands_before_the_paths(connect: Connect, peers: Any) -> None:
    peer = peers(STATUS)
    connect(f"{peer.url()}/base").call("get_workflow_status", "w")
    assert peer.asked[0].target == "/base/api/v1/workflows/w/status"


def test_a_key_is_never_shown(peers: Any) -> None:
    client = WorkflowClient("https://h:1", "k-4711")
    for text in (repr(client), repr(client.settings), repr(vars(client))):
        assert "k-4711" not in text
    assert "k-4711" not in repr(pickle.dumps(client))
    with pytest.raises(InvalidArgumentError) as caught:
        WorkflowClient("https://h:1", "k-4711\n")
    assert "k-4711" not in str(caught.value)
    assert WorkflowClient("https://h:1", Secret("k")).settings.api_key is not None
    assert WorkflowClient("https://h:1", "").settings.api_key is None


def test_it_travels_as_its_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSTIARY_WORKFLOW_API_KEY", "k-there")
    client = WorkflowClient("https://h:1", "k-here", 7.5, validate=False)
    for other in (pickle.loads(pickle.dumps(client)), copy.copy(client)):
        assert (other.base_url, other.timeout, other.settings.validate) == (
            "https://h:1",
            7.5,
            False,
        )
        assert other.settings.api_key.reveal() == "k-there"


def test_a_url_that_cannot_be_meant() -> None:
    with pytest.raises(InvalidArgumentError):
        WorkflowClient("ftp://h")


def test_a_closed_client_says_so(connect: Connect, peers: Any) -> None:
    client = connect(peers(STATUS))
    client.close()
    with pytest.raises(ClientStateError) as caught:
        client.call("get_workflow_status", "w")
    assert isinstance(caught.value, RuntimeError)


async def _used_as_the_guide_does(url: str) -> None:
    async with AureusClient(base_url=url) as client:
        assert (await client.get_workflow_status("w"))["status"] == "running"
    client = AureusClient(base_url=url)
    await client.get_workflow_status("w")
    await client.close()


def test_the_async_one_has_close_too(peers: Any) -> None:
    import asyncio

    asyncio.run(_used_as_the_guide_does(peers(STATUS).url()))


# --- what is sent


@pytest.mark.parametrize("name", ["a/b c?d#e", "%2e%2e", "ü", "..x", "100%"])
def test_ids_are_escaped(connect: Connect, peers: Any, name: str) -> None:
    peer = peers(STATUS)
    connect(peer).call("get_workflow_status", name)
    path = peer.asked[0].target
    assert path.count("/") == 5
    assert not {"?", "#", " "} & set(path)


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_ids_that_name_another_path_are_refused(connect: Connect, peers: Any, name: str) -> None:
    peer = peers(STATUS)
    with pytest.raises(InvalidArgumentError):
        connect(peer).call("get_workflow_status", name)
    assert peer.asked == []


def test_a_workflow_is_checked_before_it_is_sent(connect: Connect, peers: Any) -> None:
    peer = peers(RESULT)
    circle = SPEC | {"dependencies": {"pull": ["post"], "post": ["pull"]}}
    client = connect(peer)
    with pytest.raises(GraphError, match="pull -> post -> pull") as caught:
        client.call("execute_workflow", circle)
    assert caught.value.cycle == ("pull", "post", "pull")
    assert peer.asked == []
    client.call("execute_workflow", circle, validate=False)
    assert json.loads(peer.asked[0].body)["workflow"]["dependencies"] == circle["dependencies"]
    connect(peer, validate=False).call("submit_workflow", circle)
    with pytest.raises(GraphError):
        connect(peer, validate=False).call("submit_workflow", circle, validate=True)


def test_what_tasks_depend_on_is_merged(connect: Connect, peers: Any) -> None:
    tasks = [
        {"id": "a", "name": "A", "type": "action"},
        {"id": "b", "name": "B", "type": "action", "depends_on": ["a"]},
        {"id": "c", "name": "C", "type": "action", "depends_on": ["b", "a"]},
    ]
    spec = {"id": "w", "name": "W", "tasks": tasks, "dependencies": {"c": ["a"]}}
    peer = peers(RESULT)
    for one in (spec, WorkflowSpec.from_dict(spec)):
        connect(peer).call("execute_workflow", one)
        sent = json.loads(peer.asked[-1].body)["workflow"]
        assert {k: v for k, v in sent["dependencies"].items() if v} == {"b": ["a"], "c": ["a", "b"]}
        assert all("depends_on" not in task for task in sent["tasks"])


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    ("call", "arguments"),
    [
        ("execute_workflow", lambda x: (SPEC, {"a": [{"b": x}]})),
        (
            "validate_commit",
            lambda x: (
                {"id": "c", "data": x},
                {"name": "g", "validators": [], "block_on_failure": True},
            ),
        ),
        ("report_event", lambda x: (EVENT | {"data": {"x": (1, x)}},)),
        ("report_metric", lambda x: (METRIC | {"value": x},)),
        ("report_batch", lambda x: ([EVENT | {"data": {"x": x}}],)),
    ],
    ids=["context", "commit", "event", "metric", "batch"],
)
def test_what_json_cannot_say_is_not_sent(
    connect: Connect, peers: Any, call: str, arguments: Any, value: float
) -> None:
    peer = peers(RESULT)
    with pytest.raises(InvalidArgumentError, match="finite"):
        connect(peer).call(call, *arguments(value))
    assert peer.asked == []


def test_nulls_of_the_caller_s_own_are_sent(connect: Connect, peers: Any) -> None:
    peer = peers(RESULT)
    connect(peer).call("execute_workflow", SPEC, {"a": None, "b": [1.5, None]})
    assert json.loads(peer.asked[0].body)["context"] == {"a": None, "b": [1.5, None]}


def test_reports_get_an_id_and_are_sent_again(connect: Connect, peers: Any) -> None:
    bare = {name: value for name, value in EVENT.items() if name != "id"}
    peer = peers(lost, refuses(503), says({}, 202))
    connect(peer).call("report_event", TelemetryEvent.from_dict(bare))
    sent = [json.loads(one.body) for one in peer.asked]
    assert len({one["id"] for one in sent}) == 1
    assert len(sent) == 3
    assert len(sent[0]["id"]) == 32


def test_reports_fail_aloud_unless_told_otherwise(connect: Connect, peers: Any) -> None:
    client = connect(peers(refuses(500, "BROKEN")))
    for name, one in (("event", EVENT), ("metric", METRIC), ("span", SPAN)):
        with pytest.raises(ServerError):
            client.call(f"report_{name}", one)
        client.call(f"report_{name}", one, best_effort=True)
        with pytest.raises(InvalidArgumentError):
            client.call(f"report_{name}", {"no": "such"}, best_effort=True)


def test_a_batch_is_bounded(connect: Connect, peers: Any) -> None:
    peer = peers({})
    with pytest.raises(InvalidArgumentError, match="at most 1000"):
        connect(peer).call("report_batch", metrics=[METRIC] * 1001)
    with pytest.raises(InvalidArgumentError, match="is a list"):
        connect(peer).call("report_batch", METRIC)
    with pytest.raises(InvalidArgumentError, match=r"spans\[1\]"):
        connect(peer).call("report_batch", spans=[SPAN, {}])
    assert peer.asked == []


@pytest.mark.parametrize(
    ("call", "arguments", "options"),
    [
        ("execute_workflow", (5,), {}),
        ("execute_workflow", ({"id": "w"},), {}),
        ("execute_workflow", (SPEC, [1]), {}),
        ("execute_workflow", (SPEC, None, ""), {}),
        ("get_metrics", (), {"start_time": "not a time"}),
        ("get_metrics", (), {"start_time": 5}),
        ("get_metrics", (), {"tags": {"a": 1}}),
        ("get_metrics", (), {"tags": "a"}),
        ("list_workflows", (), {"limit": 0}),
        ("list_workflow_events", ("w", -1), {}),
        ("request_approval", (ACTION, PRINCIPAL, ""), {}),
        ("register_validator", ("v", "config"), {}),
        ("approve", ("t", 5), {}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_meant_is_not_sent(
    connect: Connect, peers: Any, call: str, arguments: Any, options: Any
) -> None:
    peer = peers({})
    with pytest.raises(InvalidArgumentError):
        connect(peer).call(call, *arguments, **options)
    assert peer.asked == []


def test_times_are_sent_with_their_offset(connect: Connect, peers: Any) -> None:
    peer = peers([])
    connect(peer).call("get_metrics", start_time=datetime(2031, 4, 2, tzinfo=UTC))
    query = parse_qs(urlsplit(peer.asked[0].target).query)
    assert query == {"start_time": ["2031-04-02T00:00:00+00:00"]}


def test_models_and_mappings_are_the_same(connect: Connect, peers: Any) -> None:
    peer = peers({})
    client = connect(peer)
    client.call("report_metric", METRIC)
    client.call("report_metric", Metric.from_dict(METRIC))
    assert peer.asked[0].body == peer.asked[1].body
    commit = Commit(id="c", data=None)
    assert commit.to_dict() == {"id": "c", "data": None}


# --- repeats


def test_what_may_have_run_is_not_sent_again(connect: Connect, peers: Any) -> None:
    peer = peers(lost, says(RESULT))
    with pytest.raises(OstiaryError):
        connect(peer).call("execute_workflow", SPEC)
    assert len(peer.asked) == 1


def test_with_a_key_it_is(connect: Connect, peers: Any) -> None:
    peer = peers(lost, says(RESULT))
    assert connect(peer).call("execute_workflow", SPEC, idempotency_key="once").succeeded
    assert [one.header("idempotency-key") for one in peer.asked] == ["once", "once"]


# --- refusals


def test_the_guide_s_error_example(connect: Connect, peers: Any, capsys: Any) -> None:
    client = connect(peers(refuses(409, "WORKFLOW_RUNNING")))
    try:
        client.call("execute_workflow", SPEC)
    except httpx.HTTPStatusError as e:
        print(f"HTTP error: {e.response.status_code}")
        print(f"Error details: {e.response.json()}")
        print(type(e) is ConflictError, e.code, e.request_id)
    told = capsys.readouterr().out
    assert told.endswith("True WORKFLOW_RUNNING req-9\n")
    assert told.startswith("HTTP error: 409\nError details: {'error'")

    with pytest.raises(httpx.TimeoutException):
        connect(peers(stall), timeout=0.05).call("get_workflow_status", "w")


def test_nobody_there(connect: Connect, tmp_path: Any) -> None:
    with pytest.raises(ConnectError):
        connect(f"unix://{tmp_path}/none.sock").call("health")


def test_a_server_that_is_not_ready(connect: Connect, peers: Any) -> None:
    with pytest.raises(UnavailableError):
        connect(peers(refuses(503, "NOT_READY")), max_retries=0).call("ready")


def test_a_reply_of_another_shape(connect: Connect, peers: Any) -> None:
    with pytest.raises(httpx.ProtocolError):
        connect(peers([1])).call("get_workflow_status", "w")


# --- waiting


def test_a_workflow_is_waited_for(connect: Connect, peers: Any) -> None:
    done = STATUS | {"status": "failed", "outcome": "partial"}
    peer = peers(refuses(502), STATUS, STATUS, done, RESULT | {"status": "partial"})
    seen: list[str] = []
    result = connect(peer, max_retries=0).call(
        "wait_for_workflow", "ledger-7", 30, on_update=lambda one: seen.append(one.status), **QUICK
    )
    assert result.status == "partial"
    assert not result.succeeded
    assert seen == ["running", "failed"]
    assert shown(peer.asked[-1]) == "GET /workflows/ledger-7/result"


def test_a_workflow_that_takes_too_long(connect: Connect, peers: Any) -> None:
    with pytest.raises(WaitTimeoutError, match="ledger-7 is still running") as caught:
        connect(peers(STATUS)).call("wait_for_workflow", "ledger-7", 0)
    assert isinstance(caught.value, TimeoutError)
    assert caught.value.last.progress == 0.5


def test_a_handle(connect: Connect, peers: Any) -> None:
    client = connect(
        peers(
            says(STATUS, 202), STATUS, STATUS | {"status": "completed"}, RESULT, {"cancelled": True}
        )
    )
    handle = client.call("submit_workflow", SPEC)
    assert client.wait(handle.status()).progress == 0.5
    assert client.wait(handle.result(30, **QUICK)).succeeded
    assert client.wait(handle.cancel()) == {"cancelled": True}
    assert client.raw.get_workflow("x").workflow_id == "x"
    assert client.raw.get_workflow("x").submitted is None
    with pytest.raises(InvalidArgumentError):
        client.raw.get_workflow("")


def test_an_approval_is_waited_for(connect: Connect, peers: Any) -> None:
    given = APPROVAL | {"status": "approved", "approver": "ann"}
    found = connect(peers(APPROVAL, given)).call("wait_for_approval", "approval-1", 30, **QUICK)
    assert found.approver == "ann"
    with pytest.raises(WaitTimeoutError, match="still pending"):
        connect(peers(APPROVAL)).call("wait_for_approval", "approval-1", 0)


@pytest.mark.parametrize(
    ("status", "said"), [("denied", "was denied by ann: too risky"), ("expired", "has expired")]
)
def test_an_approval_that_is_not_given(
    connect: Connect, peers: Any, status: str, said: str
) -> None:
    about = APPROVAL | {"status": status, "approver": "ann", "comment": "too risky"}
    with pytest.raises(ApprovalDeniedError, match=said) as caught:
        connect(peers(about)).call("wait_for_approval", "approval-1", **QUICK)
    assert caught.value.approval.status == status


# --- pages


def paged(member: str, items: list[Any]) -> Script:
    """Serve a listing two at a time; the cursor is where the next page begins."""

    def serve(exchange: Exchange) -> None:
        while True:
            query = parse_qs(urlsplit(exchange.request().target).query, keep_blank_values=True)
            at = int(query.get("cursor", query.get("after", ["0"]))[0] or 0)
            page: dict[str, Any] = {member: items[at : at + 2]}
            if at + 2 < len(items):
                page["next_cursor"] = str(at + 2)
            exchange.json(page)

    return serve


@pytest.mark.parametrize(
    ("name", "arguments", "member", "make"),
    [
        ("iter_workflows", (), "workflows", lambda n: {"workflow_id": f"w{n}", "status": "failed"}),
        ("iter_approvals", (), "approvals", lambda n: APPROVAL | {"token": f"t{n}"}),
        ("iter_events", (), "events", lambda n: EVENT | {"id": f"e{n}"}),
        ("iter_metrics", (), "metrics", lambda n: METRIC | {"id": f"m{n}"}),
        ("iter_workflow_events", ("w",), "events", lambda n: happened(n + 1)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("total", [0, 1, 2, 5])
def test_listings(
    connect: Connect, peers: Any, name: str, arguments: Any, member: str, make: Any, total: int
) -> None:
    items = [make(number) for number in range(total)]
    peer = peers(serve=paged(member, items))
    found = list(connect(peer).read(name, *arguments, limit=2))
    assert len(found) == total
    assert [one.to_dict() for one in found] == [
        type(found[0]).from_dict(x).to_dict() for x in items
    ]
    assert len(peer.asked) == max((total + 1) // 2, 1)


def test_the_first_page_of_metrics_asks_for_pages(connect: Connect, peers: Any) -> None:
    peer = peers({"metrics": []})
    assert list(connect(peer).read("iter_metrics", "task.duration")) == []
    assert shown(peer.asked[0]) == "GET /observability/metrics?name=task.duration&limit=500&cursor="


def test_an_empty_page_with_a_cursor_goes_on(connect: Connect, peers: Any) -> None:
    peer = peers({"events": [], "next_cursor": "b"}, {"events": [EVENT]})
    assert len(list(connect(peer).read("iter_events"))) == 1


# --- status, as a model and as the mapping that the guide prints


def test_a_status_is_a_mapping_too(connect: Connect, peers: Any) -> None:
    status = connect(peers(STATUS | {"news": 1})).call("get_workflow_status", "ledger-7")
    assert status["workflow_id"] == status.workflow_id == "ledger-7"
    assert status["news"] == status.get("news") == 1
    assert dict(status)["progress"] == 0.5
    assert status.tasks[0].status == "completed"
    assert "running" in f"Status: {status}"
    with pytest.raises(KeyError):
        status["nothing"]


def test_threads_share_one(peers: Any) -> None:
    peer = peers(STATUS)
    with WorkflowClient(peer.url()) as client:
        threads = [
            threading.Thread(target=lambda: client.get_workflow_status("w")) for _ in range(8)
        ]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
    assert len(peer.asked) == 8


def test_unknown_is_not_found(connect: Connect, peers: Any) -> None:
    with pytest.raises(NotFoundError) as caught:
        connect(peers(refuses(404, "WORKFLOW_NOT_FOUND"))).call("get_workflow_status", "w")
    assert caught.value.code == "WORKFLOW_NOT_FOUND"
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.code, again.response.status_code) == ("WORKFLOW_NOT_FOUND", 404)
