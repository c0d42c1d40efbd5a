"""Agents compiled, deployed and asked, over the wire: what answers, and what is on record."""

from __future__ import annotations

import hashlib
import hmac
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec
import pytest

from ostiary.devserver import RunningVault, RuntimeOptions, running
from ostiary.devserver.runtime.dsl import ActionCall
from tests.devserver.api import Api
from tests.devserver.web import Web

pytest.importorskip("lark", reason="the language needs lark, of the extra dev")

SOURCE = """
agent hooks {
    name: "Hooks"
    description: "Answers webhooks"
    system_prompt: "You answer."
    temperature: 0.25
    tools: [calc]
    capabilities: [read]
    trigger pushed { on_push: main }
    action answer {
        found = look(payload.n)
        return {seen: found, branch: "one"}
    }
}
"""


class Held:
    """A tool whose calls wait until they are let go."""

    def __init__(self) -> None:
        self.began = threading.Semaphore(0)
        self.go = threading.Event()

    def __call__(self) -> str:
        self.began.release()
        assert self.go.wait(30)
        return "done"


def look(n: int, call: ActionCall) -> dict[str, Any]:
    return {"n": n, "agent": call.agent_id, "authorization": call.headers.get("authorization")}


def explode() -> None:
    raise ValueError("hunter2")


@pytest.fixture
def held() -> Held:
    return Held()


def tools(held: Held) -> RuntimeOptions:
    return RuntimeOptions(
        port=0,
        tools={"look": look, "wait": held, "explode": explode},
        workflows={"report": lambda given, agent_id: {**given, "for": agent_id}},
    )


@pytest.fixture
def server(held: Held) -> Iterator[RunningVault]:
    with running(tcp=False, runtime=tools(held)) as one:
        yield one
        held.go.set()


@pytest.fixture
def api(server: RunningVault) -> Api:
    return Api(server)


class Answer(NamedTuple):
    status: int
    document: Any
    headers: Any


def compile_(api: Api, source: str = SOURCE, name: str = "hooks", **more: Any) -> Any:
    status, answer = api.post("dsl/compile", {"dsl_content": source, "agent_name": name, **more})
    assert status == 200
    return answer


def deploy(api: Api, agent_id: str = "hooks", **more: Any) -> Any:
    status, answer = api.post("agents/deploy", {"agent_id": agent_id, **more})
    assert status == 201, answer
    return answer


def ask(
    server: RunningVault,
    url: str,
    document: Any = None,
    *,
    body: bytes | None = None,
    key: bool = True,
    **headers: str,
) -> Answer:
    """POST to an endpoint as a platform would, over TCP at the address that was given."""
    token = server.runtime_token
    known = {name.replace("_", "-"): value for name, value in headers.items()}
    if key and token is not None:
        known["Authorization"] = f"Bearer {token.reveal()}"
    if body is not None:
        known["Content-Type"] = "application/json"
    parts = urlsplit(url)
    assert parts.port is not None
    with Web((parts.hostname or "", parts.port), headers=known) as web:
        reply = web.call("POST", parts.path, document, body=body)
        return Answer(reply.status, reply.document, reply.headers)


# -- compiling ----------------------------------------------------------------


def test_compiling_makes_an_agent(api: Api) -> None:
    answer = compile_(api)
    assert (answer["success"], answer["agent_id"]) == (True, "hooks")
    assert (answer["errors"], answer["warnings"], answer["diagnostics"]) == ([], [], [])
    assert answer["compiled_at"].endswith("Z")
    assert api.get("agents")[1] == ["hooks"]
    (known,) = api.get("agents?detail=true")[1]
    assert (known["id"], known["name"]) == ("hooks", "Hooks")
    # The same once more, and a new version of it, are no conflict.
    assert compile_(api)["success"]
    assert compile_(api, SOURCE.replace('"Hooks"', '"Better"'))["success"]
    assert api.get("agents?detail=true")[1][0]["name"] == "Better"


def test_validating_makes_none(api: Api) -> None:
    answer = compile_(api, validate_only=True)
    assert (answer["success"], answer["agent_id"]) == (True, None)
    assert api.get("agents")[1] == []


BAD = {
    "open": "agent hooks {",
    "nul": "\0",
    "empty": "",
    "no agent": "policy p { deny: x }",
    "deep": "{" * 1000,
    "long": "x" * 300_000,
}


@pytest.mark.parametrize("source", BAD.values(), ids=BAD.keys())
def test_a_bad_source_is_answered_and_not_refused(api: Api, source: str) -> None:
    answer = compile_(api, source)
    assert (answer["success"], answer["agent_id"]) == (False, None)
    first, told = answer["errors"][0], answer["diagnostics"][0]
    assert first.startswith(f"line {told['line']}, column {told['column']}: {told['message']}")
    assert api.get("agents")[1] == []


def test_what_cannot_be_read_at_all_is_refused(api: Api) -> None:
    status, answer = api.post("dsl/compile", {"dsl_content": 1, "agent_name": "x"})
    assert (status, answer["details"]["field"]) == (422, "dsl_content")


# -- deploying ----------------------------------------------------------------


def test_a_deployed_agent_answers_and_is_on_record(api: Api, server: RunningVault) -> None:
    compile_(api)
    deployment = deploy(
        api, environment="production", config_overrides={"max_concurrent_tasks": 10, "x": 1}
    )
    assert (deployment["status"], deployment["agent_id"]) == ("running", "hooks")
    url = deployment["endpoint_url"]
    assert urlsplit(url).path == "/webhook/production/hooks"
    answer = ask(server, url, {"ref": "refs/heads/main", "n": 3}, X_GitHub_Event="push")
    assert answer.status == 200
    document = answer.document
    assert document["output"] == {
        "seen": {"n": 3, "agent": "hooks", "authorization": None},
        "branch": "one",
    }
    assert (document["status"], document["trigger"], document["action"]) == (
        "completed",
        "pushed",
        "answer",
    )
    assert [step["action"] for step in document["steps"]] == ["look"]
    skipped = ask(server, url, {"ref": "refs/heads/other"}, X_GitHub_Event="push")
    assert (skipped.status, skipped.document["status"]) == (200, "skipped")
    history = api.get("agents/hooks/history")[1]["history"]
    assert [each["result"]["status"] for each in history] == ["skipped", "completed"]
    assert history[1]["execution_id"] == document["execution_id"]
    assert {each["kind"] for each in history} == {"webhook"}
    assert api.get("agents/hooks/metrics")[1]["tasks_completed"] == 2
    shown = api.get(f"agents/deployments/{deployment['deployment_id']}")[1]
    assert shown == {**deployment, "requests": 2}
    assert api.get("metrics")[1]["deployments_running"] == 1


def test_an_endpoint_asks_for_the_key(api: Api, server: RunningVault) -> None:
    compile_(api)
    url = deploy(api)["endpoint_url"]
    assert ask(server, url, {}, key=False).status == 401
    assert api.get("agents/hooks/history")[1]["history"] == []


def test_a_signed_webhook(api: Api, server: RunningVault) -> None:
    compile_(api, "agent hooks { action x { validate_signature(); parse_payload() } }")
    url = deploy(api)["endpoint_url"]
    assert ask(server, url, {"a": 1}).document["output"]["validate_signature"]["by"] == "token"
    stored = {"agent_id": "hooks", "secret_name": "webhook_secret", "secret_value": "between us"}
    assert api.post("secrets", stored)[0] == 201
    body = b'{"a": 1}'
    signature = "sha256=" + hmac.new(b"between us", body, hashlib.sha256).hexdigest()
    good = ask(server, url, body=body, X_Hub_Signature_256=signature)
    assert good.document["output"]["validate_signature"] == {"verified": True, "by": "github"}
    bad = ask(server, url, body=body + b" ", X_Hub_Signature_256=signature)
    assert (bad.status, bad.document["code"]) == (403, "AGENT_DENIED")
    assert "line 1, column " in bad.document["error"]
    latest = api.get("agents/hooks/history")[1]["history"][0]
    assert (latest["status"], latest["execution_id"]) == (
        "failed",
        bad.document["details"]["execution_id"],
    )
    assert api.get("agents/hooks/metrics")[1]["tasks_failed"] == 1


def test_a_program_that_fails(api: Api, server: RunningVault) -> None:
    compile_(api, "agent hooks { action x { explode() } }")
    failed = ask(server, deploy(api)["endpoint_url"], {})
    assert (failed.status, failed.document["code"]) == (500, "AGENT_FAILED")
    assert failed.document["error"] == "line 1, column 26: explode failed with ValueError"
    unreadable = ask(server, deploy(api)["endpoint_url"], body=b"{")
    assert (unreadable.status, unreadable.document["error"]) == (500, "the body is not JSON")
    assert "hunter2" not in str(api.get("agents/hooks/history"))


def test_a_program_runs_workflows(api: Api, server: RunningVault) -> None:
    compile_(
        api,
        "agent hooks { of: report; action x { "
        "return trigger_workflow(config.of, {n: payload.n}) } }",
    )
    url = deploy(api)["endpoint_url"]
    done = ask(server, url, {"n": 2}).document["output"]
    assert (done["status"], done["result"]) == ("completed", {"n": 2, "for": "hooks"})
    execution = api.get(f"workflows/executions/{done['execution_id']}")[1]
    assert execution["result"] == {"n": 2, "for": "hooks"}
    compile_(api, 'agent hooks { action x { trigger_workflow("none") } }')
    missing = ask(server, deploy(api)["endpoint_url"], {})
    assert (missing.status, "there is no workflow" in missing.document["error"]) == (500, True)
    compile_(api, "agent hooks { action x { return trigger_workflow() } }")
    asked = ask(server, deploy(api)["endpoint_url"], {})
    assert asked.document["output"] == {"status": "requested", "workflow_id": None}
    meant = deploy(api, config_overrides={"workflow": "none"})
    assert ask(server, meant["endpoint_url"], {}).status == 500


def test_an_agent_without_a_program_is_deployed_too(api: Api, server: RunningVault) -> None:
    plain = {
        "id": "plain", "name": "Plain", "description": "d", "system_prompt": "p", "tools": [],
        "model": "m", "temperature": 0.5, "top_p": 1.0, "max_tokens": 10,
    }  # fmt: skip
    assert api.post("agents", plain)[0] == 201
    answer = ask(server, deploy(api, "plain")["endpoint_url"], {"prompt": "hello"})
    assert (answer.status, answer.document["status"]) == (200, "completed")
    assert answer.document["response"]
    assert api.get("agents/plain/history")[1]["history"][0]["kind"] == "webhook"


def test_a_source_may_stand_for_a_workflow(api: Api) -> None:
    source = "agent counter(n: Int) { with memory = m { return {n: n + 1} } }"
    status, answer = api.post("workflows/execute", {"workflow_id": source, "parameters": {"n": 1}})
    assert (status, answer["result"]["output"]) == (200, {"n": 2})
    assert "counter" in api.get("agents")[1]
    bad = {"workflow_id": "agent counter {", "parameters": {}}
    status, answer = api.post("workflows/execute", bad)
    assert (status, answer["code"]) == (422, "DSL_INVALID")
    assert "never closed" in answer["details"]["errors"][0]


def test_executing_an_agent_runs_its_program(api: Api) -> None:
    compile_(api, "agent hooks { action x { return {n: payload.n + 1} } }")
    started = api.post("agents/hooks/execute", {"input": {"n": 1}})[1]["execution_id"]
    path = f"agents/hooks/executions/{started}"
    while (found := api.get(path)[1])["status"] in {"queued", "running"}:
        pass
    assert (found["status"], found["result"]["output"]) == ("completed", {"n": 2})


# -- the life of a deployment ---------------------------------------------------


def test_the_next_deployment_replaces_the_one_that_runs(api: Api, server: RunningVault) -> None:
    compile_(api)
    first = deploy(api, environment="production")
    elsewhere = deploy(api, environment="staging")
    changed = SOURCE.replace('"one"', '"two"')
    compile_(api, changed)
    push = {"n": 1}
    # Compiling changes nothing that runs.
    assert ask(server, first["endpoint_url"], push).document["output"]["branch"] == "one"
    second = deploy(api, environment="production")
    assert second["replaces"] == first["deployment_id"]
    assert second["endpoint_url"] == first["endpoint_url"]
    assert ask(server, second["endpoint_url"], push).document["output"]["branch"] == "two"
    assert ask(server, elsewhere["endpoint_url"], push).document["output"]["branch"] == "one"
    states = {each["deployment_id"]: each for each in api.get("agents/deployments")[1]}
    assert states[first["deployment_id"]]["status"] == "stopped"
    assert states[first["deployment_id"]]["endpoint_url"] is None
    back = api.post(f"agents/deployments/{second['deployment_id']}/rollback")[1]
    assert (back["deployment_id"], back["status"]) == (first["deployment_id"], "running")
    assert ask(server, back["endpoint_url"], push).document["output"]["branch"] == "one"
    again = api.post(f"agents/deployments/{back['deployment_id']}/rollback")
    assert (again[0], again[1]["code"]) == (409, "NOTHING_TO_ROLL_BACK")
    stale = api.post(f"agents/deployments/{second['deployment_id']}/rollback")
    assert (stale[0], stale[1]["code"]) == (409, "DEPLOYMENT_NOT_RUNNING")


def test_stopping_twice_is_stopping(api: Api, server: RunningVault) -> None:
    compile_(api)
    deployment = deploy(api)
    path = f"agents/deployments/{deployment['deployment_id']}"
    for _ in range(2):
        assert api.post(f"{path}/stop") == (
            200,
            {"deployment_id": deployment["deployment_id"], "status": "stopped"},
        )
    shown = api.get(path)[1]
    assert (shown["status"], shown["endpoint_url"]) == ("stopped", None)
    gone = ask(server, deployment["endpoint_url"], {})
    assert (gone.status, gone.document["code"]) == (404, "DEPLOYMENT_NOT_RUNNING")
    assert api.get("metrics")[1]["deployments_running"] == 0


def test_a_source_that_does_not_compile_fails_and_leaves_what_runs(
    api: Api, server: RunningVault
) -> None:
    compile_(api)
    good = deploy(api)
    # The agent's own path takes any text for its source.
    assert api.put("agents/hooks", {"dsl": "agent hooks {"})[0] == 200
    status, answer = api.post("agents/deploy", {"agent_id": "hooks"})
    assert (status, answer["status"], answer["endpoint_url"]) == (201, "failed", None)
    assert "never closed" in answer["error"]
    # What failed has failed; there is nothing to stop.
    stopped = api.post(f"agents/deployments/{answer['deployment_id']}/stop")[1]
    assert stopped["status"] == "failed"
    assert ask(server, good["endpoint_url"], {"n": 1}).status == 200


def test_a_deleted_agents_deployment_ends(api: Api, server: RunningVault) -> None:
    compile_(api)
    deployment = deploy(api)
    assert api.delete("agents/hooks")[0] == 200
    assert ask(server, deployment["endpoint_url"], {}).status == 404
    shown = api.get(f"agents/deployments/{deployment['deployment_id']}")[1]
    assert (shown["status"], shown["error"]) == ("stopped", "the agent was deleted")


def test_deployments_by_agent(api: Api) -> None:
    compile_(api)
    compile_(api, "agent other { }", "other")
    mine, theirs = deploy(api), deploy(api, "other")
    found = api.get("agents/deployments?agent_id=other")[1]
    assert [each["deployment_id"] for each in found] == [theirs["deployment_id"]]
    found = api.get("agents/deployments")[1]
    assert [each["deployment_id"] for each in found] == [
        theirs["deployment_id"],
        mine["deployment_id"],
    ]


def test_refusals(api: Api) -> None:
    assert api.post("agents/deploy", {"agent_id": "nobody"})[1]["code"] == "AGENT_NOT_FOUND"
    assert api.get("agents/deployments/none")[1]["code"] == "DEPLOYMENT_NOT_FOUND"
    assert api.post("agents/deployments/none/stop")[0] == 404
    compile_(api)
    for field, wrong in (
        ("environment", {"environment": "a b"}),
        (
            "config_overrides.max_concurrent_tasks",
            {"config_overrides": {"max_concurrent_tasks": 0}},
        ),
        ("config_overrides.timeout_seconds", {"config_overrides": {"timeout_seconds": "x"}}),
        ("config_overrides.workflow", {"config_overrides": {"workflow": 1}}),
    ):
        status, answer = api.post("agents/deploy", {"agent_id": "hooks", **wrong})
        assert (status, answer["details"]["field"]) == (422, field)
    assert api.get("agents/deployments")[1] == []


def test_a_deployment_takes_so_many_tasks_at_once(
    api: Api, server: RunningVault, held: Held
) -> None:
    compile_(api, "agent hooks { action x { return wait() } }")
    url = deploy(api, config_overrides={"max_concurrent_tasks": 1})["endpoint_url"]
    answers: list[Answer] = []
    first = threading.Thread(target=lambda: answers.append(ask(server, url, {})))
    first.start()
    assert held.began.acquire(timeout=30)
    try:
        busy = ask(server, url, {})
        assert (busy.status, busy.document["code"]) == (429, "DEPLOYMENT_BUSY")
        assert api.get("agents/hooks")[1]["state"] == "active"
    finally:
        held.go.set()
        first.join(30)
    assert [answer.document["output"] for answer in answers] == [{"result": "done"}]
    assert ask(server, url, {}).status == 200


def waiting(api: Api) -> list[str]:
    return [one["id"] for one in api.get("approvals")[1] if one["status"] == "Pending"]


def test_a_task_that_needs_an_approval_waits_for_it(api: Api, server: RunningVault) -> None:
    source = 'metadata { approval: required }\nagent hooks { action x { return "done" } }'
    compile_(api, source)
    url = deploy(api)["endpoint_url"]
    answers: list[Answer] = []
    for verb, status in (("approve", 200), ("deny", 403)):
        asking = threading.Thread(target=lambda: answers.append(ask(server, url, {})))
        asking.start()
        while not (held := waiting(api)):
            assert asking.is_alive()
        assert api.post(f"approvals/{held[0]}/{verb}")[0] == 200
        asking.join(30)
        assert answers[-1].status == status
    (done,) = api.get("agents/hooks/history")[1]["history"]
    assert done["result"]["output"] == {"result": "done"}


def test_deployments_run_on_after_a_restart(tmp_path: Path, held: Held) -> None:
    with running(home=tmp_path / "h", tcp=False, runtime=tools(held)) as server:
        api = Api(server)
        compile_(api)
        kept = deploy(api, environment="production")
        assert ask(server, kept["endpoint_url"], {"n": 1}).status == 200
        stopped = deploy(api, environment="staging")
        api.post(f"agents/deployments/{stopped['deployment_id']}/stop")
    with running(home=tmp_path / "h", tcp=False, runtime=tools(held)) as server:
        api = Api(server)
        shown = api.get(f"agents/deployments/{kept['deployment_id']}")[1]
        assert (shown["status"], shown["requests"]) == ("running", 1)
        assert ask(server, shown["endpoint_url"], {"n": 2}).document["output"]["seen"]["n"] == 2
        assert api.get(f"agents/deployments/{stopped['deployment_id']}")[1]["status"] == "stopped"


def test_the_guides_agent_twice_on_one_home_with_demo() -> None:
    from tests.devserver.test_runtime_dsl import GUIDE

    with running(demo=True, tcp=False, runtime=RuntimeOptions(port=0)) as server:
        api = Api(server)
        for _ in range(2):
            assert compile_(api, GUIDE, "webhook_handler")["success"]
            deployment = deploy(
                api,
                "webhook_handler",
                environment="production",
                config_overrides={"max_concurrent_tasks": 10},
            )
            answer = ask(server, deployment["endpoint_url"], {"ref": "refs/heads/main"})
            assert answer.status == 200
            # Nobody is asked for a key here: that is said, not passed over.
            assert answer.document["output"]["validate_signature"]["verified"] is False
        assert len(api.get("agents/deployments?agent_id=webhook_handler")[1]) == 2


def test_events_tell_of_deployments(api: Api, server: RunningVault) -> None:
    compile_(api)
    deployment = deploy(api)
    api.post(f"agents/deployments/{deployment['deployment_id']}/stop")
    token = server.runtime_token
    assert token is not None
    with Web(server.runtime_socket, headers={"Authorization": f"Bearer {token.reveal()}"}) as web:
        web.send("GET", "/api/v1/events", headers={"Last-Event-ID": "0"})
        assert web.head()[0] == 200
        text = b""
        for chunk in web.chunks():
            text += chunk
            if b"deployment.stopped" in text:
                break
    types = [
        msgspec.json.decode(line[6:])["type"]
        for line in text.splitlines()
        if line.startswith(b"data: ")
    ]
    assert [word for word in types if word.startswith("deployment.")] == [
        "deployment.running",
        "deployment.stopped",
    ]
