"""The clients against the embedded server: what the two say to one another, in every colour."""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest

from ostiary.devserver.inprocess import RunningVault, running
from ostiary.devserver.options import WorkflowOptions
from ostiary.workflow import (
    ApprovalDeniedError,
    AuthenticationError,
    ConflictError,
    HTTPStatusError,
    NotFoundError,
    ResultStatus,
    TelemetryPipeline,
    UnprocessableError,
    WorkflowClient,
)

from .conftest import ACTION, PRINCIPAL, Client

Connect = Callable[..., Client]
ALLOWED = PRINCIPAL | {"permissions": ACTION["required_permissions"]}


@pytest.fixture
def client(connect: Connect, embedded: RunningVault) -> Client:
    return connect(embedded.workflow_unix_url, timeout=60)


@pytest.fixture
def approver(embedded: RunningVault) -> Any:
    key = embedded.workflow_approver_token
    with WorkflowClient(embedded.workflow_unix_url, key) as made:
        yield made


def unique(stem: str) -> str:
    return f"{stem}-{uuid.uuid4().hex[:8]}"


def chain(*tools: str, **more: Any) -> dict[str, Any]:
    tasks = [
        {"id": f"t{at}", "name": f"Step {at}", "type": "action", "tool_name": tool}
        for at, tool in enumerate(tools)
    ]
    before = {f"t{at}": [f"t{at - 1}"] if at else [] for at in range(len(tools))}
    return {"id": unique("chain"), "name": "Chain", "tasks": tasks, "dependencies": before} | more


GOOD = ("read_file", "validate_schema", "transform_data", "write_file")


def test_it_is_well(client: Client) -> None:
    health = client.call("health")
    assert health.status == "ok"
    assert health.version
    assert client.call("ready").status


def test_a_workflow_runs(client: Client, embedded: RunningVault) -> None:
    spec = chain(*GOOD)
    result = client.call("execute_workflow", spec, {"user_id": "1"}, "trace-001")
    assert result.succeeded, result.error
    assert (result.workflow_id, result.correlation_id) == (spec["id"], "trace-001")
    assert list(result.task_results) == ["t0", "t1", "t2", "t3"]
    assert (embedded.workflow_files / "output.json").exists()
    assert client.call("get_workflow_spec", spec["id"]).to_dict() == spec
    status = client.call("get_workflow_status", spec["id"])
    assert (status.status, status.progress, status.outcome) == ("completed", 1, "success")
    assert [task.status for task in status.tasks] == ["completed"] * 4
    assert client.call("get_workflow_result", spec["id"]).task_results.keys() == {
        *result.task_results
    }
    with pytest.raises(ConflictError):
        client.call("cancel_workflow", spec["id"])


def test_a_workflow_that_fails_is_a_result(client: Client) -> None:
    result = client.call("execute_workflow", chain("read_file", "no_such_tool", "write_file"))
    assert result.status == ResultStatus.PARTIAL
    assert result.error
    assert [one.status for one in result.task_results.values()] == ["success", "failed", "skipped"]


def test_ids_that_look_like_paths(client: Client) -> None:
    for name in ("a/b c?d#e%", "..x", "ü/%2e"):
        spec = chain("read_file", id=unique(name))
        assert client.call("execute_workflow", spec).succeeded
        assert client.call("get_workflow_status", spec["id"]).workflow_id == spec["id"]


def test_a_submission_is_followed(client: Client) -> None:
    handle = client.call("submit_workflow", chain(*GOOD))
    events = list(client.read("stream_workflow", handle.workflow_id))
    types = [one.type for one in events]
    assert types[0] == "WORKFLOW_STARTED"
    assert types[-1] == "WORKFLOW_COMPLETED"
    assert types.count("TASK_STARTED") == types.count("TASK_COMPLETED") == 4
    assert [one.sequence for one in events] == sorted({one.sequence for one in events})
    assert client.wait(handle.result(30, poll_interval=0.01)).succeeded

    middle = events[len(events) // 2]
    later = [
        one.sequence for one in client.read("stream_workflow", handle.workflow_id, middle.sequence)
    ]
    assert later == [one.sequence for one in events if one.sequence > middle.sequence]
    assert list(client.read("stream_workflow", handle.workflow_id, events[-1].sequence)) == []
    listed = list(client.read("iter_workflow_events", handle.workflow_id, limit=3))
    assert [one.sequence for one in listed] == [one.sequence for one in events]


def test_nobody_by_that_name(client: Client) -> None:
    for call in ("get_workflow_status", "get_workflow_result", "cancel_workflow", "get_approval"):
        with pytest.raises(NotFoundError) as caught:
            client.call(call, "nobody/here")
        assert caught.value.code
        assert caught.value.request_id
    with pytest.raises(NotFoundError):
        next(client.read("stream_workflow", "nobody/here"))
    assert client.call("get_trace", "nobody/here") == []


def test_the_server_checks_graphs_as_well(client: Client) -> None:
    spec = chain("read_file", "write_file", dependencies={"t0": ["t1"], "t1": ["t0"]})
    with pytest.raises(UnprocessableError, match="t0") as caught:
        client.call("execute_workflow", spec, validate=False)
    assert caught.value.errors


def test_listings_have_pages(client: Client) -> None:
    name = unique("listed")
    ids = []
    for _ in range(5):
        spec = chain("read_file", name=name)
        client.call("execute_workflow", spec)
        ids.append(spec["id"])
    page = client.call("list_workflows", name=name, limit=2)
    assert [one.workflow_id for one in page.workflows] == ids[:2:-1]
    assert page.next_cursor
    found = [one.workflow_id for one in client.read("iter_workflows", name=name, limit=2)]
    assert found == ids[::-1]
    assert list(client.read("iter_workflows", "failed", name)) == []


def test_gates(client: Client) -> None:
    gate = {
        "name": "Balance Validation Gate",
        "validators": ["not_null", "schema_check", "balance_positive"],
        "block_on_failure": True,
        "required_confidence": 0.8,
    }
    commit = {"id": "commit-001", "data": {"balance": 1000}, "previous_state": {"balance": 500}}
    assert client.call("validate_commit", commit, gate).passed
    refused = client.call("validate_commit", commit | {"data": {"balance": -1}}, gate)
    assert (refused.passed, refused.crv_status) == (False, "blocked")
    unknown = client.call("validate_commit", commit, gate | {"validators": ["nobody"]})
    assert not unknown.passed


def test_validators(client: Client) -> None:
    name = unique("range")
    config = {"type": "statistical_bounds", "parameters": {"field": "amount", "max": 5}}
    assert client.call("register_validator", name, config)["registered"]
    assert client.call("get_validator", name).type == "statistical_bounds"
    listed = {one.validator_id: one for one in client.call("list_validators")}
    assert listed["not_null"].built_in
    assert not listed[name].built_in
    client.call("delete_validator", name)
    with pytest.raises(NotFoundError):
        client.call("get_validator", name)
    with pytest.raises(HTTPStatusError):
        client.call("delete_validator", "not_null")


def test_the_approval_loop(client: Client, approver: WorkflowClient) -> None:
    action = ACTION | {"id": unique("purge")}
    context = {
        "principal": ALLOWED,
        "action": action,
        "current_state": "idle",
        "audit_log": [],
    }
    decision = client.call("evaluate_policy", context)
    assert (decision.allowed, decision.requires_human_approval) == (False, True)
    token = decision.approval_token
    assert client.call("get_approval", token).is_pending
    assert token in [one.token for one in client.read("iter_approvals", "pending", limit=2)]
    answering = threading.Timer(0.05, approver.approve, (token, "go on"))
    answering.start()
    given = client.call("wait_for_approval", token, 30, poll_interval=0.02)
    answering.join()
    assert (given.status, given.comment) == ("approved", "go on")
    assert client.call("evaluate_policy", context, approval_token=token).allowed
    told = [one for one in client.read("iter_audit", limit=1) if one.action.id == action["id"]]
    assert [one.decision.allowed for one in told] == [True, False], "newest first"
    again = client.call("evaluate_policy", context, approval_token=token)
    assert not again.allowed, "an approval lets one action pass once"


def test_an_approval_that_is_denied(client: Client, approver: WorkflowClient) -> None:
    action = ACTION | {"id": unique("purge")}
    token = client.call("request_approval", action, ALLOWED, "Emergency cleanup")
    approver.deny(token, "not today")
    with pytest.raises(ApprovalDeniedError, match="not today"):
        client.call("wait_for_approval", token, 30)
    with pytest.raises(ConflictError):
        approver.approve(token)


def test_permissions(client: Client) -> None:
    assert client.call("check_permission", ALLOWED, ACTION) is True
    assert client.call("check_permission", PRINCIPAL | {"permissions": []}, ACTION) is False


def test_telemetry(client: Client, embedded: RunningVault) -> None:
    workflow, trace = unique("w"), unique("trace")
    begin = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime())}Z"
    with TelemetryPipeline(client.raw, flush_interval=0.01) as pipeline:
        with pipeline.span("outer", trace_id=trace), pipeline.span("inner"):
            for at in range(7):
                pipeline.event("step_end", {"at": at}, workflow_id=workflow, tags={"env": "t"})
                pipeline.metric("m", at, tags={"w": workflow})
        assert pipeline.flush(30)
    assert (pipeline.counters.sent, pipeline.counters.rejected) == (16, 0)
    events = list(client.read("iter_events", workflow_id=workflow, tags={"env": "t"}, limit=3))
    assert [one.data["at"] for one in events] == list(range(7))
    assert {one.correlation_id for one in events} == {trace}
    assert [one.value for one in client.call("get_metrics", "m", begin, tags={"w": workflow})] == [
        *range(7)
    ]
    paged = client.read("iter_metrics", "m", tags={"w": workflow}, limit=2)
    assert [one.value for one in paged] == [*range(7)]
    outer, inner = client.call("get_trace", trace)
    assert (outer.name, inner.name, inner.parent_id) == ("outer", "inner", outer.id)


def test_the_server_s_figures(client: Client) -> None:
    client.call("execute_workflow", chain("read_file"))
    assert client.call("get_summary")["total_events"] > 0
    assert client.call("get_summary", 0)["total_events"] == 0


def test_reports_count_once(client: Client) -> None:
    metric = {
        "id": unique("m"),
        "name": unique("n"),
        "value": 1,
        "timestamp": "2031-04-02T01:00:00",
    }
    client.call("report_metric", metric)
    client.call("report_metric", metric)
    accepted = client.call("report_batch", metrics=[metric, metric | {"id": unique("m")}])
    assert (accepted.accepted, accepted.duplicates) == (1, 1)
    assert len(client.call("get_metrics", metric["name"])) == 2


def test_keys_are_asked_for_without_the_samples(connect: Connect, tmp_path: Any) -> None:
    with running(tmp_path / "home", tcp=False) as vault:
        url = vault.workflow_unix_url
        with pytest.raises(AuthenticationError):
            connect(url).call("list_workflows")
        assert connect(url, vault.workflow_token).call("list_workflows").workflows == []


def test_a_stream_outlives_the_server(connect: Connect, tmp_path: Any) -> None:
    """The server ends in the middle of a run and comes back; the run and its stream go on."""
    ran: list[str] = []
    stuck = threading.Event()

    async def work(call: Any) -> str:
        ran.append(call.task.id)
        if call.task.id == "t2" and not stuck.is_set():
            stuck.set()
            await asyncio.sleep(60)
        return "done"

    settings = WorkflowOptions(port=None, tools={"work": work})
    spec = chain(*["work"] * 5)

    def server() -> Any:
        return running(tmp_path / "home", tcp=False, demo=True, workflow=settings)

    with ExitStack() as first:
        url = first.enter_context(server()).workflow_unix_url
        client = connect(url, timeout=30)
        handle = client.call("submit_workflow", spec)
        reading = client.read("stream_workflow", handle.workflow_id)
        events = [next(reading)]
        while events[-1].task_id != "t2":
            events.append(next(reading))
        assert stuck.wait(30)
        # What was interrupted runs again when the server is back.
        first.close()
        with server():
            events += list(reading)
            assert client.call("wait_for_workflow", handle.workflow_id, 30).succeeded
    assert events[-1].type == "WORKFLOW_COMPLETED"
    numbers = [one.sequence for one in events]
    assert numbers == sorted(set(numbers))
    completed = [one.task_id for one in events if one.type == "TASK_COMPLETED"]
    assert completed == ["t0", "t1", "t2", "t3", "t4"]
    assert reading.raw.reconnects >= 1
    assert ran == ["t0", "t1", "t2", "t2", "t3", "t4"]
