"""The workflow server's front: keys and roles, errors, ids, runs, approvals, what it remembers."""

from __future__ import annotations

import json
import re
import socket
import stat
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from ostiary.devserver import HttpFault, RunningVault, WorkflowKey, WorkflowOptions, running
from ostiary.devserver.workflow import audit
from ostiary.errors import InvalidArgumentError, OstiaryError
from ostiary.secret import Secret
from tests.devserver.web import Web
from tests.devserver.workflow_api import WorkflowApi, task, workflow

ROLES = ("execute", "read", "approve", "telemetry", "admin")
TOKENS = {role: Secret(f"the-key-that-may-{role}-only") for role in ROLES}
PERMISSIVE = {"name": "permissive", "rules": []}
PERMISSION = {"action": "post", "resource": "ledger"}


def echo(call: Any) -> Any:
    return call.inputs


class Gate:
    """A tool that waits until the test lets it go on."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.open = threading.Event()

    def __call__(self, call: Any) -> str:
        self.entered.set()
        while not self.open.wait(0.01):
            if call.cancelled.is_set():
                raise RuntimeError("cancelled")
        return "through"


GATE = Gate()


@pytest.fixture(scope="module")
def server() -> Iterator[RunningVault]:
    options = WorkflowOptions(
        port=0,
        keys=tuple(
            WorkflowKey(
                name=role,
                roles=frozenset({role}),
                token=TOKENS[role],
                permissions=(PERMISSION,) if role == "execute" else (),
            )
            for role in ROLES
        ),
        tools={"echo": echo, "gate": GATE},
        request_limit=64 * 1024,
    )
    with running(workflow=options) as one:
        yield one


@pytest.fixture
def api(server: RunningVault) -> WorkflowApi:
    return WorkflowApi(server)


def name_of(test: pytest.FixtureRequest) -> str:
    return re.sub(r"\W+", "-", test.node.name)


@pytest.fixture
def flow(request: pytest.FixtureRequest) -> dict[str, Any]:
    """A workflow of one task whose id is the test's."""
    return workflow(name_of(request), task("echo", inputs={"n": 1}))


@pytest.fixture
def held(request: pytest.FixtureRequest, api: WorkflowApi) -> Iterator[str]:
    """The id of a workflow that runs until `GATE.open` is set."""
    GATE.entered.clear()
    GATE.open.clear()
    name = name_of(request)
    status, found = api.post("workflows/execute?wait=0", {"workflow": workflow(name, task("gate"))})
    assert (status, found["status"]) == (202, "running")
    assert GATE.entered.wait(30)
    yield name
    GATE.open.set()


# -- who may ask ------------------------------------------------------------


def test_health_is_open_and_nothing_else(server: RunningVault) -> None:
    with Web(server.workflow_socket) as web:
        for path, word in (("/health", "ok"), ("/ready", "ready"), ("/api/v1/health", "ok")):
            reply = web.get(path)
            assert (reply.status, reply.document["status"]) == (200, word)
            assert reply.document.keys() == {"status", "timestamp", "version"}
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:]{8}\.\d{3}Z", reply.document["timestamp"])
        for path in ("/metrics", "/api/v1/workflows", "/api/v1/nothing", "/", "/health/"):
            reply = web.get(path)
            assert (reply.status, reply["www-authenticate"]) == (401, "Bearer")
            assert reply.document["code"] == "UNAUTHORIZED"


def test_keys_and_files_are_for_the_owner_alone(server: RunningVault) -> None:
    for name in ("workflow.token", "workflow-approver.token", "workflow.sock", "workflow.db"):
        assert stat.S_IMODE((server.home / name).stat().st_mode) == 0o600
    for name in ("workflow", "workflow/files"):
        assert stat.S_IMODE((server.home / name).stat().st_mode) == 0o700
    for name in ("state.db", "telemetry.db"):
        assert stat.S_IMODE((server.home / "workflow" / name).stat().st_mode) == 0o600


ASKED = {
    ("GET", "workflows"): {"read", "execute"},
    ("POST", "workflows/execute"): {"execute"},
    ("GET", "workflows/x/status"): {"read", "execute"},
    ("GET", "workflows/x/events"): {"read", "execute"},
    ("POST", "workflows/x/cancel"): {"execute"},
    ("POST", "crv/validate"): {"execute", "read"},
    ("POST", "crv/validators"): {"execute"},
    ("GET", "crv/validators"): {"read", "execute"},
    ("DELETE", "crv/validators/x"): {"execute"},
    ("POST", "policy/evaluate"): {"execute"},
    ("POST", "policy/check"): {"execute", "read"},
    ("POST", "policy/approval"): {"execute"},
    ("GET", "policy/approvals"): {"read", "approve", "execute"},
    ("GET", "policy/audit"): {"read"},
    ("POST", "policy/approvals/x/approve"): {"approve"},
    ("POST", "policy/approvals/x/deny"): {"approve"},
    ("POST", "observability/events"): {"telemetry"},
    ("POST", "observability/batch"): {"telemetry"},
    ("GET", "observability/events"): {"read"},
    ("GET", "observability/traces/x"): {"read"},
}


@pytest.mark.parametrize("role", ROLES)
def test_a_key_does_what_its_roles_say(server: RunningVault, role: str) -> None:
    api = WorkflowApi(server, TOKENS[role])
    for (method, path), roles in ASKED.items():
        reply = api.call(method, path, {} if method == "POST" else None)
        refused = reply.status == 403 and reply.document["code"] == "ROLE_MISSING"
        assert refused == (role not in roles | {"admin"}), (method, path, reply)


def test_pages_of_other_sites_are_kept_out(server: RunningVault, api: WorkflowApi) -> None:
    page = "https://elsewhere.example"
    for headers, status in (
        ({"Origin": page}, 403),
        ({"Origin": page, "Access-Control-Request-Method": "POST"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Host": "elsewhere.example"}, 421),
    ):
        with Web(server.workflow_socket, headers=api.headers) as web:
            method = "OPTIONS" if "Access-Control-Request-Method" in headers else "GET"
            reply = web.call(method, "/api/v1/workflows", headers=headers)
        assert reply.status == status, headers
        assert "access-control-allow-origin" not in reply


def test_a_key_is_in_no_other_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    options = WorkflowOptions(port=None, tools={"echo": echo})
    with running(tmp_path, tcp=False, workflow=options) as one:
        api = WorkflowApi(one)
        assert one.workflow_token is not None
        token = one.workflow_token.reveal()
        assert api.execute(workflow("quiet", task("echo", risk_tier="LOW")))[0] == 200
        api.post("workflows/execute", {"workflow": token[:4]})
        assert api.get("policy/audit")[1]["entries"]
    told = [
        path.name
        for path in tmp_path.rglob("*")
        if path.is_file() and token.encode() in path.read_bytes()
    ]
    assert told == ["workflow.token"]
    assert token not in caplog.text


def test_a_key_that_is_none(server: RunningVault) -> None:
    assert WorkflowApi(server, Secret("nobody-s-key-at-all")).get("workflows")[0] == 401


def test_the_approvers_key_is_made_beside_the_owners(server: RunningVault) -> None:
    api = WorkflowApi(server, server.workflow_approver_token)
    assert api.get("policy/approvals")[0] == 200
    assert api.post("workflows/execute", {})[0] == 403


def test_settings_that_cannot_be_meant() -> None:
    with pytest.raises(InvalidArgumentError, match="roles are execute"):
        WorkflowKey(name="a", roles=frozenset({"everything"}))
    with pytest.raises(InvalidArgumentError, match="no roles"):
        WorkflowKey(name="a", roles=frozenset())
    with pytest.raises(InvalidArgumentError, match="named"):
        WorkflowKey(name="../a", roles=frozenset({"read"}))
    one = WorkflowKey(name="a", roles=frozenset({"read"}))
    with pytest.raises(InvalidArgumentError, match="name of its own"):
        WorkflowOptions(keys=(one, one))
    with pytest.raises(InvalidArgumentError, match="'owner' and 'anonymous'"):
        WorkflowOptions(keys=(WorkflowKey(name="owner", roles=frozenset({"read"})),))
    assert "sixteen" not in repr(
        WorkflowKey(name="a", roles=frozenset({"read"}), token=Secret("sixteen-characters"))
    )


def test_two_keys_with_one_token_are_refused() -> None:
    keys = tuple(
        WorkflowKey(name=name, roles=frozenset({"read"}), token=Secret("the-same-for-both-of-us"))
        for name in "ab"
    )
    with (
        pytest.raises(OstiaryError, match="another key's token"),
        running(tcp=False, workflow=WorkflowOptions(port=None, keys=keys)) as one,
    ):
        assert one.workflow_socket.exists()


def test_a_second_server_on_the_port_is_a_sentence(server: RunningVault) -> None:
    port = int(server.workflow_url.rpartition(":")[2])
    with (
        pytest.raises(OstiaryError, match="--workflow-port"),
        running(workflow=WorkflowOptions(port=port)),
    ):
        pass


# -- what errors look like --------------------------------------------------


def test_errors_are_one_envelope(api: WorkflowApi) -> None:
    reply = api.call("GET", "nothing", X_Request_ID="mine-7")
    assert reply.status == 404
    assert reply.document == {
        "error": "there is nothing at this path",
        "code": "NOT_FOUND",
        "request_id": "mine-7",
    }
    reply = api.call("PUT", "workflows")
    assert (reply.status, reply["allow"], reply.document["code"]) == (
        *(405, "GET, HEAD"),
        "METHOD_NOT_ALLOWED",
    )


@pytest.mark.parametrize("path", ["workflows/execute", "policy/evaluate", "observability/batch"])
def test_what_is_no_json_is_a_400(server: RunningVault, api: WorkflowApi, path: str) -> None:
    with Web(server.workflow_socket, headers=api.headers) as web:
        reply = web.call(
            "POST",
            f"/api/v1/{path}",
            body=b'{"a":',
            headers={"Content-Type": "application/json"},
        )
        assert (reply.status, reply.document["code"]) == (400, "MALFORMED_JSON")
        reply = web.post(f"/api/v1/{path}", [1])
        assert (reply.status, reply.document["code"]) == (422, "VALIDATION_ERROR")


def test_too_much_is_a_413(api: WorkflowApi, flow: dict[str, Any]) -> None:
    flow["goal"] = "x" * 70_000
    status, found = api.execute(flow)
    assert (status, found["code"]) == (413, "PAYLOAD_TOO_LARGE")


@pytest.mark.parametrize(
    ("change", "paths"),
    [
        ({"id": ""}, ["workflow.id"]),
        ({"name": None}, ["workflow.name"]),
        ({"tasks": [{"id": "a"}]}, ["workflow.tasks[0].name", "workflow.tasks[0].type"]),
        ({"tasks": [task("a", timeout_ms=0)]}, ["workflow.tasks[0].timeout_ms"]),
        ({"tasks": [task("a"), task("a")], "dependencies": {}}, ["tasks[1].id"]),
        ({"tasks": [task("a")], "dependencies": {"a": ["a"]}}, ["dependencies.a"]),
        ({"tasks": [task("a")], "dependencies": {"a": ["b"]}}, ["dependencies.a"]),
        ({"tasks": [task("a")], "dependencies": {"c": []}}, ["dependencies.c"]),
        (
            {"tasks": [task("a", compensation={"on_failure": "z"})], "dependencies": {}},
            ["tasks[0].compensation.on_failure"],
        ),
        ({"id": "a/../b"}, ["workflow.id"]),
        ({"id": ".."}, ["workflow.id"]),
    ],
    ids=[
        *("id", "name", "task", "timeout", "twice", "itself", "unknown", "nobody", "hook"),
        *("climbs", "dots"),
    ],
)
def test_a_workflow_that_is_none_is_refused_by_its_paths(
    api: WorkflowApi, flow: dict[str, Any], change: dict[str, Any], paths: list[str]
) -> None:
    status, found = api.execute(flow | change)
    assert (status, found["code"]) == (422, "VALIDATION_ERROR")
    assert [one["path"] for one in found["errors"]] == paths


def test_a_cycle_is_told_with_its_path(api: WorkflowApi, flow: dict[str, Any]) -> None:
    flow["tasks"] = [task("a"), task("b"), task("c")]
    flow["dependencies"] = {"a": ["c"], "b": ["a"], "c": ["b"]}
    status, found = api.execute(flow)
    assert status == 422
    assert "a -> b -> c -> a" in found["error"]
    assert found["details"]["cycle"] == ["a", "b", "c", "a"]


def test_a_workflow_keeps_a_safety_policy(api: WorkflowApi, flow: dict[str, Any]) -> None:
    flow["tasks"] = [task("echo", risk_tier="CRITICAL"), task("after", "echo")]
    flow["dependencies"] = {"after": ["echo"]}
    status, found = api.execute(flow)
    assert (status, found["code"]) == (422, "SAFETY_POLICY_VIOLATION")
    assert [one["path"].rpartition(".")[2] for one in found["errors"]] == [
        "no_action_after_critical_without_approval",
        "require_permissions_for_high_risk",
    ]
    assert api.get(f"workflows/{flow['id']}/status")[0] == 404
    rules = [{"type": "no_cycles"}]
    assert api.execute(flow | {"safety_policy": {"name": "own", "rules": rules}})[0] == 200


@pytest.mark.parametrize(
    ("more", "path"),
    [
        ({"context": []}, "context"),
        ({"context": {"concurrency": 0}}, "context.concurrency"),
        ({"correlation_id": 7}, "correlation_id"),
        ({"rerun": "yes"}, "rerun"),
        ({"approval_token": ""}, "approval_token"),
    ],
    ids=["context", "concurrency", "correlation", "rerun", "token"],
)
def test_what_comes_with_a_workflow_is_looked_at_too(
    api: WorkflowApi, flow: dict[str, Any], more: dict[str, Any], path: str
) -> None:
    status, found = api.execute(flow, **more)
    assert (status, found["errors"][0]["path"]) == (422, path)


def test_a_staged_fault_has_the_envelope(server: RunningVault, api: WorkflowApi) -> None:
    server.workflow_faults.add(HttpFault(path="*/workflows", status=503))
    status, found = api.get("workflows")
    assert (status, found["code"]) == (503, "STAGED_FAULT")
    assert found["request_id"]


# -- runs -------------------------------------------------------------------


def test_the_guides_nulls_and_camel_case_are_read(api: WorkflowApi, flow: dict[str, Any]) -> None:
    flow["tasks"] = [
        {
            "id": "echo",
            "name": "Echo",
            "type": "action",
            "toolName": "echo",
            "riskTier": "LOW",
            "timeoutMs": 5000,
            "retry": None,
            "inputs": None,
            "idempotency_key": None,
            "compensation": None,
            "sandbox_config": None,
        }
    ]
    flow |= {"goal": None, "constraints": None, "safety_policy": None}
    status, found = api.execute(flow, context=None, correlationId="camel")
    assert (status, found["status"], found["correlation_id"]) == (200, "success", "camel")


def test_a_failure_is_a_result(api: WorkflowApi, flow: dict[str, Any]) -> None:
    flow["tasks"].append(task("there-is-no-such-tool"))
    status, found = api.execute(flow)
    assert (status, found["status"]) == (200, "partial")
    assert found["task_results"]["there-is-no-such-tool"]["status"] == "failed"
    assert found["error"]


@pytest.mark.parametrize(
    "name", ["a/b", "a?b#c", "a b", "%2F", "50%", "é/ü 漢", "a/status", "execute", "...", "\"'\\"]
)
def test_any_id_is_one_workflow(api: WorkflowApi, name: str) -> None:
    status, found = api.execute(workflow(name, task("echo", inputs={"id": name})))
    assert (status, found["workflow_id"], found["status"]) == (200, name, "success")
    path = f"workflows/{quote(name, safe='')}"
    for what in ("status", "result", "events", "spec"):
        assert api.get(f"{path}/{what}")[0] == 200, what
    assert api.get(f"{path}/status")[1]["workflow_id"] == name
    assert api.get(f"{path}/spec")[1]["id"] == name
    assert api.post(f"{path}/cancel")[1]["code"] == "WORKFLOW_FINISHED"


def test_a_workflow_that_nobody_knows(api: WorkflowApi) -> None:
    for what in ("status", "result", "events", "spec"):
        status, found = api.get(f"workflows/unknown/{what}")
        assert (status, found["code"]) == (404, "WORKFLOW_NOT_FOUND"), what
    assert api.post("workflows/unknown/cancel")[0] == 404
    reply = api.call("GET", "workflows/unknown/events", Accept="text/event-stream")
    assert (reply.status, reply.document["code"]) == (404, "WORKFLOW_NOT_FOUND")


def test_the_same_again_is_the_same_result(api: WorkflowApi, flow: dict[str, Any]) -> None:
    first = api.execute(flow)
    events = api.get(f"workflows/{flow['id']}/events")[1]
    assert api.execute(flow) == first
    assert api.get(f"workflows/{flow['id']}/events")[1] == events
    assert api.post("workflows/execute?wait=0", {"workflow": flow})[0] == 200
    status, found = api.execute(flow | {"name": "Another"})
    assert (status, found["code"]) == (409, "WORKFLOW_CONFLICT")
    status, found = api.execute(flow | {"name": "Another"}, rerun=True)
    assert (status, found["status"]) == (200, "success")
    assert api.get(f"workflows/{flow['id']}/status")[1]["name"] == "Another"


def test_one_that_runs_is_told_where_it_stands(api: WorkflowApi, held: str) -> None:
    found = api.get(f"workflows/{held}/status")[1]
    assert (found["status"], found["progress"], found["current_step"]) == ("running", 0.0, "gate")
    assert api.get(f"workflows/{held}/result")[1]["code"] == "WORKFLOW_RUNNING"
    status, found = api.execute(workflow(held, task("gate")))
    assert (status, found["code"]) == (409, "WORKFLOW_RUNNING")
    listed = api.get("workflows?status=running")[1]["workflows"]
    assert [one["workflow_id"] for one in listed] == [held]
    GATE.open.set()


def test_one_that_runs_can_be_broken_off(api: WorkflowApi, held: str) -> None:
    status, found = api.post(f"workflows/{held}/cancel")
    assert status == 200
    assert found == {
        "workflow_id": held,
        "status": "cancelling",
        "cancelled": True,
        "previous_status": "running",
    }
    reply = api.call("GET", f"workflows/{held}/events", Accept="text/event-stream")
    assert b"WORKFLOW_CANCELLED" in reply.body  # the stream ends with it
    assert api.get(f"workflows/{held}/status")[1]["status"] == "cancelled"
    result = api.get(f"workflows/{held}/result")[1]
    assert result["status"] == "failed"
    assert "cancel" in result["error"]
    assert api.post(f"workflows/{held}/cancel")[0] == 409


def test_whoever_goes_away_ends_nothing(server: RunningVault, api: WorkflowApi) -> None:
    GATE.entered.clear()
    GATE.open.clear()
    with closing(Web(server.workflow_socket, headers=api.headers)) as web:
        body = {"workflow": workflow("left-alone", task("gate"))}
        web.send("POST", "/api/v1/workflows/execute", body)
        assert GATE.entered.wait(30)
    GATE.open.set()
    reply = api.call("GET", "workflows/left-alone/events", Accept="text/event-stream")
    assert b"WORKFLOW_COMPLETED" in reply.body
    assert api.get("workflows/left-alone/result")[1]["status"] == "success"


@pytest.mark.parametrize("how", ["wait=0", "wait=false", "prefer"])
def test_one_can_be_set_off_and_not_waited_for(
    api: WorkflowApi, flow: dict[str, Any], how: str
) -> None:
    if how == "prefer":
        reply = api.call("POST", "workflows/execute", {"workflow": flow}, Prefer="respond-async")
    else:
        reply = api.call("POST", f"workflows/execute?{how}", {"workflow": flow})
    assert reply.status == 202
    assert reply.document["workflow_id"] == flow["id"]
    reply = api.call("GET", f"workflows/{flow['id']}/events", Accept="text/event-stream")
    assert b"WORKFLOW_COMPLETED" in reply.body


def test_wait_is_a_flag(api: WorkflowApi, flow: dict[str, Any]) -> None:
    assert api.post("workflows/execute?wait=maybe", {"workflow": flow})[0] == 400


def test_an_idempotency_key_has_one_answer_for_each_caller(
    server: RunningVault, api: WorkflowApi, flow: dict[str, Any]
) -> None:
    first = api.call("POST", "workflows/execute", {"workflow": flow}, Idempotency_Key="k-1")
    again = api.call("POST", "workflows/execute", {"workflow": flow}, Idempotency_Key="k-1")
    assert first.document == again.document
    assert again["idempotent-replayed"] == "true"
    other = api.call("POST", "workflows/execute", {"workflow": {}}, Idempotency_Key="k-1")
    assert (other.status, other.document["code"]) == (409, "IDEMPOTENCY_CONFLICT")
    stranger = WorkflowApi(server, TOKENS["execute"])
    reply = stranger.call("POST", "workflows/execute", {"workflow": {}}, Idempotency_Key="k-1")
    assert reply.status == 422  # his own, and refused on its own


def test_lists_are_newest_first_filtered_and_paged() -> None:
    with running(demo=True, tcp=False) as fresh:
        api = WorkflowApi(fresh)
        for number in range(7):
            tool = "read_file" if number % 2 else "no-such-tool"
            api.execute(workflow(f"w-{number}", task("t", tool)) | {"name": f"Kind {number % 2}"})
        found = api.get("workflows")[1]
        assert [one["workflow_id"] for one in found["workflows"]] == [
            f"w-{n}" for n in range(6, -1, -1)
        ]
        assert "next_cursor" not in found
        summary = found["workflows"][1]
        assert (summary["name"], summary["status"], summary["outcome"]) == (
            *("Kind 1", "completed"),
            "success",
        )
        ids: list[str] = []
        cursor = ""
        while True:
            page = api.get(f"workflows?limit=2&cursor={cursor}")[1]
            ids += [one["workflow_id"] for one in page["workflows"]]
            if "next_cursor" not in page:
                break
            cursor = page["next_cursor"]
        assert ids == [f"w-{n}" for n in range(6, -1, -1)]
        for query, count in (
            *(("status=failed", 4), ("status=completed", 3), ("status=running", 0)),
            *(("name=Kind%201", 3), ("name=Kind", 0), ("started_after=2001-01-01", 7)),
            *(("started_before=2001-01-01", 0), ("status=failed&name=Kind%201", 0)),
        ):
            assert len(api.get(f"workflows?{query}")[1]["workflows"]) == count, query
        for query in ("status=odd", "limit=x", "cursor=x", "started_after=x"):
            assert api.get(f"workflows?{query}")[1]["code"] == "BAD_QUERY", query


# -- principals and approvals -----------------------------------------------


def test_a_run_has_the_permissions_of_its_key(
    server: RunningVault, api: WorkflowApi, flow: dict[str, Any]
) -> None:
    flow["tasks"][0]["required_permissions"] = [PERMISSION]
    status, found = api.execute(flow)
    assert (status, found["status"]) == (200, "failed")
    assert "owner lacks a permission" in found["task_results"]["echo"]["error"]
    # The owner may say for whom; a key that is no administrator's may not.
    principal = {"id": "clerk", "type": "agent", "permissions": [PERMISSION]}
    assert api.execute(flow, context={"principal": principal})[1]["status"] == "success"
    clerk = WorkflowApi(server, TOKENS["execute"])
    status, found = clerk.execute(flow, rerun=True, context={"principal": principal})
    assert (status, found["code"]) == (403, "ROLE_MISSING")
    assert clerk.execute(flow, rerun=True)[1]["status"] == "success"
    status, found = api.execute(flow, rerun=True, context={"principal": {"id": "x"}})
    assert (status, found["errors"][0]["path"]) == (422, "context.principal.type")


def test_a_person_is_asked_and_then_it_runs(
    server: RunningVault, api: WorkflowApi, flow: dict[str, Any]
) -> None:
    flow["tasks"][0]["risk_tier"] = "HIGH"
    flow["safety_policy"] = PERMISSIVE
    assert api.execute(flow)[1]["status"] == "failed"
    listed = api.get(f"policy/approvals?status=pending&workflow_id={flow['id']}")[1]
    (asked,) = listed["approvals"]
    assert (asked["requester"], asked["task_id"]) == ("owner", "echo")
    path = f"policy/approvals/{asked['token']}"
    status, found = api.post(f"{path}/approve")
    assert (status, found["code"]) == (403, "SELF_APPROVAL")
    # A name in the body is nobody's while keys say who it is.
    assert api.post(f"{path}/approve", {"approver": "somebody"})[0] == 403
    other = WorkflowApi(server, server.workflow_approver_token)
    status, found = other.post(f"{path}/approve", {"comment": "go on"})
    assert (status, found["status"], found["approver"]) == (200, "approved", "approver")
    assert other.post(f"{path}/deny")[1]["code"] == "APPROVAL_DECIDED"
    assert api.execute(flow)[1]["status"] == "success"
    assert api.get(path)[1]["status"] == "used"
    assert api.get("policy/approvals/approval-unknown")[0] == 404


def test_a_task_that_waits_goes_on_when_it_is_approved(
    server: RunningVault, api: WorkflowApi, flow: dict[str, Any]
) -> None:
    flow["tasks"][0]["risk_tier"] = "CRITICAL"
    flow["safety_policy"] = PERMISSIVE
    api.post(
        "workflows/execute?wait=0", {"workflow": flow, "context": {"approval_wait_ms": 60_000}}
    )
    with closing(Web(server.workflow_socket, headers=api.headers)) as web:
        target = f"/api/v1/workflows/{flow['id']}/events"
        web.send("GET", target, headers={"Accept": "text/event-stream"})
        assert web.head()[0] == 200
        text = b""
        token = None
        for chunk in web.chunks():
            text += chunk
            # The record says that somebody is asked; by which token, the list does.
            if token is None and b"STATE_UPDATED" in text:
                found = api.get(f"policy/approvals?workflow_id={flow['id']}")[1]["approvals"]
                token = found[0]["token"]
                other = WorkflowApi(server, server.workflow_approver_token)
                assert other.post(f"policy/approvals/{token}/approve")[0] == 200
    assert b"WORKFLOW_COMPLETED" in text


def test_an_approval_can_be_asked_for_and_used_by_hand(
    server: RunningVault, api: WorkflowApi
) -> None:
    principal = {"id": "agent-1", "type": "agent", "permissions": [PERMISSION]}
    action = {
        "id": "purge",
        "name": "Purge",
        "risk_tier": "critical",
        "required_permissions": [PERMISSION],
    }
    asked = {"principal": principal, "action": action, "reason": "spring cleaning"}
    status, found = api.post("policy/approval", asked)
    assert status == 200
    assert found["token"] == found["approval_token"]
    assert (found["status"], found["reason"]) == ("pending", "spring cleaning")
    judged = {
        "principal": principal,
        "action": action,
        "current_state": "idle",
        "audit_log": [],
        "approval_token": found["token"],
    }
    status, decision = api.post("policy/evaluate", judged)
    assert (status, decision["allowed"]) == (200, False)
    assert "nobody has answered" in decision["reason"]
    other = WorkflowApi(server, server.workflow_approver_token)
    other.post(f"policy/approvals/{found['token']}/approve")
    assert api.post("policy/evaluate", judged)[1]["allowed"] is True
    assert api.post("policy/evaluate", judged)[1]["allowed"] is False  # once
    assert api.post("policy/check", asked)[1] == {"allowed": True}
    status, decision = api.post(
        "policy/check", asked | {"principal": principal | {"permissions": []}}
    )
    assert (decision["allowed"], decision["missing"][0]["permission"]) == (False, PERMISSION)
    assert api.post("policy/evaluate", judged | {"audit_log": [{}] * 1_001})[0] == 422
    assert api.get("policy/approvals?status=odd")[0] == 400


def test_who_asks_for_another_may_not_answer(server: RunningVault, api: WorkflowApi) -> None:
    asked = {
        "principal": {"id": "agent-2", "type": "agent", "permissions": []},
        "action": {"id": "a", "name": "A", "risk_tier": "high", "required_permissions": []},
        "current_state": "idle",
        "audit_log": [],
    }
    token = api.post("policy/evaluate", asked)[1]["approval_token"]
    # The key counts, whomever the body names.
    for body in (None, {"approver": "somebody"}):
        status, found = api.post(f"policy/approvals/{token}/approve", body)
        assert (status, found["code"]) == (403, "SELF_APPROVAL")
    other = WorkflowApi(server, server.workflow_approver_token)
    assert other.post(f"policy/approvals/{token}/approve")[0] == 200


@pytest.mark.parametrize("metadata", [{}, {"mcpActionName": "write"}], ids=["plain", "mcp"])
def test_a_risk_that_nobody_knows_is_refused(
    server: RunningVault, api: WorkflowApi, flow: dict[str, Any], metadata: dict[str, Any]
) -> None:
    asked = {
        "principal": {"id": "agent-3", "type": "agent", "permissions": []},
        "action": {"id": "a", "name": "A", "risk_tier": "severe", "required_permissions": []},
        "current_state": "idle",
        "audit_log": [],
        "reason": "because",
    }
    asked["action"]["metadata"] = metadata
    for path in ("evaluate", "approval"):
        status, found = api.post(f"policy/{path}", asked)
        assert (status, found["errors"][0]["path"]) == (422, "action.risk_tier")
    flow["tasks"][0]["risk_tier"] = "SEVERE"
    status, found = api.execute(flow)
    assert (status, found["errors"][0]["path"]) == (422, "workflow.tasks[0].risk_tier")


def test_an_approval_is_for_one_task_of_one_workflow(
    server: RunningVault, api: WorkflowApi, flow: dict[str, Any]
) -> None:
    flow |= {"safety_policy": PERMISSIVE, "tasks": [task("echo", risk_tier="HIGH")]}
    api.execute(flow)
    (asked,) = api.get(f"policy/approvals?workflow_id={flow['id']}")[1]["approvals"]
    approver = WorkflowApi(server, server.workflow_approver_token)
    assert approver.post(f"policy/approvals/{asked['token']}/approve")[0] == 200
    other = flow | {"id": flow["id"] + "-other"}
    found = api.execute(other, approval_token=asked["token"])[1]
    assert found["status"] == "failed"
    assert api.get(f"policy/approvals/{asked['token']}")[1]["status"] == "approved"
    # An answer to a question that nobody asked is none.
    for answer in ("approve", "deny"):
        status, refused = approver.post(f"policy/approvals/approval-{'0' * 32}/{answer}")
        assert (status, refused["code"]) == (404, "APPROVAL_NOT_FOUND")


def test_a_gates_word_is_counted_once(api: WorkflowApi, flow: dict[str, Any]) -> None:
    gate = {"name": "g", "validators": ["not_null"], "block_on_failure": True}
    assert api.execute(flow, context={"gates": {"*": gate}})[1]["status"] == "success"
    path = f"observability/events?type=crv_result&workflow_id={flow['id']}"
    (found,) = api.get(path)[1]["events"]
    assert (found["task_id"], found["data"]["passed"]) == ("echo", True)


def test_the_allow_list_counts_where_a_tool_is_named(api: WorkflowApi) -> None:
    asked: dict[str, Any] = {
        "principal": {"id": "a", "type": "agent", "permissions": []},
        "current_state": "idle",
        "audit_log": [],
    }
    action = {
        "id": "a",
        "name": "A",
        "risk_tier": "low",
        "required_permissions": [],
        "allowed_tools": ["read_file"],
    }
    assert api.post("policy/evaluate", asked | {"action": action})[1]["allowed"] is True
    for named in (
        {"action": action, "tool_name": "write_file"},
        {"action": action | {"metadata": {"tool_name": "write_file"}}},
    ):
        assert api.post("policy/evaluate", asked | named)[1]["allowed"] is False


def test_every_judgement_is_on_the_servers_own_log() -> None:
    with running(demo=True, tcp=False) as fresh:
        api = WorkflowApi(fresh)
        judged: dict[str, Any] = {
            "principal": {"id": "a", "type": "agent", "permissions": []},
            "current_state": "approved",
            # A log that says otherwise changes nothing.
            "audit_log": [],
        }
        for number in range(7):
            action = {"id": f"a-{number}", "name": "A", "required_permissions": []}
            tier = "high" if number % 2 else "low"
            api.post("policy/evaluate", judged | {"action": action | {"risk_tier": tier}})
        api.execute(workflow("judged", task("read_file")))
        found: list[dict[str, Any]] = []
        cursor = ""
        while True:
            page = api.get(f"policy/audit?limit=3&cursor={cursor}")[1]
            found += page["entries"]
            if "next_cursor" not in page:
                break
            cursor = page["next_cursor"]
        assert [one["number"] for one in found] == list(range(8, 0, -1))
        assert found[0]["action"]["metadata"]["workflow_id"] == "judged"
        assert found[0]["principal"]["id"] == "anonymous"
        assert [one["state_transition"]["to"] for one in found[1:3]] == [
            "approved",
            "pending_human",
        ]
        assert "approval-" not in json.dumps(found)


def test_the_log_keeps_the_newest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "_KEPT", 4)
    monkeypatch.setattr(audit, "_PRUNE_EVERY", 5)
    with running(tmp_path, tcp=False, workflow=WorkflowOptions(port=None)) as one:
        api = WorkflowApi(one)
        asked = {
            "principal": {"id": "a", "type": "agent", "permissions": []},
            "action": {"id": "a", "name": "A", "required_permissions": [], "risk_tier": "low"},
            "current_state": "idle",
            "audit_log": [],
        }
        for _ in range(20):
            assert api.post("policy/evaluate", asked)[0] == 200
        found = api.get("policy/audit?limit=50")[1]["entries"]
    assert [one["number"] for one in found] == [20, 19, 18, 17]


# -- validators -------------------------------------------------------------


def test_validators_are_a_keys_own(server: RunningVault, api: WorkflowApi) -> None:
    config = {"type": "statistical_bounds", "parameters": {"field": "amount", "max": 5}}
    body = {"validator_id": "amount/range", "config": config}
    status, found = api.post("crv/validators", body)
    assert status == 200
    assert found == {
        "validator_id": "amount/range",
        "registered": True,
        "replaced": False,
        "type": "statistical_bounds",
        "resolved": True,
    }
    assert api.post("crv/validators", body)[1]["replaced"] is True
    gate = {"name": "g", "validators": ["amount/range"], "block_on_failure": True}
    asked = {"commit": {"id": "c", "data": {"amount": 9}}, "gate_config": gate}
    status, result = api.post("crv/validate", asked)
    assert (status, result["crv_status"], result["failure_code"]) == (
        *(200, "blocked"),
        "OUT_OF_SCOPE",
    )
    assert api.get("crv/validators/amount%2Frange")[1]["config"] == config
    stranger = WorkflowApi(server, TOKENS["execute"])
    assert stranger.get("crv/validators/amount%2Frange")[0] == 404
    assert stranger.post("crv/validate", asked)[1]["failure_code"] == "TOOL_ERROR"
    assert stranger.delete("crv/validators/amount%2Frange") == 404
    assert api.delete("crv/validators/amount%2Frange") == 204
    assert api.delete("crv/validators/amount%2Frange") == 404
    assert api.delete("crv/validators/not_null") == 409
    assert "not_null" in [one["validator_id"] for one in api.get("crv/validators")[1]]
    assert api.post("crv/validators", {"validator_id": "x", "config": {"type": "odd"}})[0] == 422


def test_data_that_is_null_is_data_and_none_is_not(api: WorkflowApi) -> None:
    gate = {"name": "g", "validators": ["not_null"], "block_on_failure": False}
    asked: dict[str, Any] = {"commit": {"id": "c", "data": None}, "gateConfig": gate}
    assert api.post("crv/validate", asked)[1]["crv_status"] == "warning"
    del asked["commit"]["data"]
    status, found = api.post("crv/validate", asked)
    assert (status, found["errors"][0]["path"]) == (422, "commit.data")


# -- samples, tools, memory --------------------------------------------------


def test_the_demo_asks_nobody_and_has_the_guides_samples() -> None:
    with running(demo=True, tcp=False) as demo:
        assert demo.workflow_token is None
        api = WorkflowApi(demo)
        names = {one.name for one in demo.workflow_files.iterdir()}
        assert names == {"input.json", "schema.json", "transform.jmespath"}
        tools = ("read_file", "validate_schema", "transform_data", "write_file")
        status, found = api.execute(workflow("guide", *(task(name) for name in tools)))
        assert (status, found["status"]) == (200, "success")
        made = json.loads((demo.workflow_files / "output.json").read_bytes())
        assert made == found["task_results"]["transform_data"]["result"]
        for balance, passed in ((1000, True), (-1, False)):
            gate = {"name": "g", "validators": ["balance_positive"], "block_on_failure": True}
            commit = {"id": "c", "data": {"balance": balance}}
            result = api.post("crv/validate", {"commit": commit, "gate_config": gate})[1]
            assert result["passed"] is passed
        # Who answers may say who he is, and must not be who asked.
        flow = workflow("risky", task("read_file", risk_tier="HIGH"))
        flow["safety_policy"] = PERMISSIVE
        assert api.execute(flow)[1]["status"] == "failed"
        (asked,) = api.get("policy/approvals")[1]["approvals"]
        path = f"policy/approvals/{asked['token']}/approve"
        assert api.post(path, {"approver": "anonymous"})[1]["code"] == "SELF_APPROVAL"
        assert api.post(path, {"approver": "ada"})[1]["approver"] == "ada"
        assert api.execute(flow)[1]["status"] == "success"
        # A key that is shown counts.
        shown = WorkflowApi(demo, demo.workflow_approver_token)
        assert shown.execute(flow)[1]["code"] == "ROLE_MISSING"


def test_tools_come_from_modules_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tools_of_a_test.py").write_text(
        "def double(call):\n    return 2 * call.inputs['n']\n\nTOOLS = {'double': double}\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    options = WorkflowOptions(port=None, tool_modules=("tools_of_a_test",))
    with running(tcp=False, workflow=options) as one:
        flow = workflow("doubled", task("double", inputs={"n": 21}))
        assert WorkflowApi(one).execute(flow)[1]["task_results"]["double"]["result"] == 42
    options = WorkflowOptions(port=None, tool_modules=("no_such_module_anywhere",))
    with (
        pytest.raises(OstiaryError, match="no_such_module_anywhere"),
        running(tcp=False, workflow=options),
    ):
        pass


def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    options = WorkflowOptions(port=None, tools={"echo": echo})
    flow = workflow("kept", task("echo", risk_tier="HIGH"), safety_policy=PERMISSIVE)
    with running(tmp_path, tcp=False, workflow=options) as one:
        api = WorkflowApi(one)
        token = one.workflow_token
        api.execute(flow)
        api.post(
            "crv/validators",
            {
                "validator_id": "small",
                "config": {"type": "max_size", "parameters": {"max_bytes": 2}},
            },
        )
        approver = WorkflowApi(one, one.workflow_approver_token)
        (asked,) = api.get("policy/approvals")[1]["approvals"]
        approver.post(f"policy/approvals/{asked['token']}/approve")
    with running(tmp_path, tcp=False, workflow=options) as one:
        assert one.workflow_token is not None
        assert token is not None
        assert one.workflow_token.reveal() == token.reveal()
        api = WorkflowApi(one)
        assert api.get("workflows/kept/status")[1]["status"] == "failed"
        assert api.get("crv/validators/small")[1]["resolved"] is True
        assert api.execute(flow)[1]["status"] == "success"


def test_a_workflow_that_was_cut_off_goes_on(tmp_path: Path) -> None:
    gate = Gate()
    count: list[str] = []

    def counted(call: Any) -> str:
        count.append(call.idempotency_key)
        return "done"

    flow = workflow("cut", task("counted"), task("gate"), task("after", "counted"))
    options = WorkflowOptions(port=None, tools={"counted": counted, "gate": gate})
    with running(tmp_path, tcp=False, workflow=options, stop_grace=0.1) as one:
        WorkflowApi(one).post("workflows/execute?wait=0", {"workflow": flow})
        assert gate.entered.wait(30)
    assert len(count) == 1
    gate.open.set()
    with running(tmp_path, tcp=False, workflow=options) as one:
        api = WorkflowApi(one)
        reply = api.call("GET", "workflows/cut/events", Accept="text/event-stream")
        assert b"WORKFLOW_COMPLETED" in reply.body
        assert api.get("workflows/cut/result")[1]["status"] == "success"
    assert len(count) == len(set(count)) == 2


@pytest.mark.parametrize("outcome", ["success", "failed"])
def test_a_request_that_was_cut_off_is_answered_by_its_key(tmp_path: Path, outcome: str) -> None:
    gate = Gate()
    ends: list[str] = []

    def end(call: Any) -> str:
        ends.append(outcome)
        if outcome == "failed":
            raise ValueError("no")
        return outcome

    flow = workflow("keyed", task("gate"), task("end"))
    options = WorkflowOptions(port=None, tools={"gate": gate, "end": end})
    with running(tmp_path, tcp=False, workflow=options, stop_grace=0.1) as one:
        api = WorkflowApi(one)
        web = Web(api.socket, headers=api.headers | {"Idempotency-Key": "mine"})
        web.send("POST", "/api/v1/workflows/execute", {"workflow": flow})
        assert gate.entered.wait(30)
    web.close()
    gate.open.set()
    with running(tmp_path, tcp=False, workflow=options) as one:
        api = WorkflowApi(one)
        answers = [
            api.call("POST", "workflows/execute", {"workflow": flow}, Idempotency_Key="mine")
            for _ in range(2)
        ]
        assert [one.status for one in answers] == [200, 200]
        assert answers[0].document["task_results"]["end"]["status"] == outcome
        assert answers[0].document == answers[1].document
        # One answer is not for ever: who asks anew with another key has it tried again.
        api.call("POST", "workflows/execute", {"workflow": flow}, Idempotency_Key="other")
    assert ends == ([outcome] if outcome == "success" else [outcome] * 2)


def test_how_often_can_be_limited() -> None:
    options = WorkflowOptions(port=None, requests_per_minute=2)
    with running(tcp=False, workflow=options) as one:
        api = WorkflowApi(one)
        assert [api.get("workflows")[0] for _ in range(3)] == [200, 200, 429]
        assert api.get("health")[0] == 200
        # Each key has its own.
        other = WorkflowApi(one, one.workflow_approver_token)
        assert [other.get("workflows")[0] for _ in range(3)] == [200, 200, 429]


def test_it_listens_on_loopback_as_well(server: RunningVault) -> None:
    host, port = server.workflow_url.removeprefix("http://").split(":")
    assert host == "127.0.0.1"
    with socket.create_connection((host, int(port))) as sock:
        sock.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert sock.recv(4096).startswith(b"HTTP/1.1 200")
