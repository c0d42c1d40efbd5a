"""`ostiary workflow`: what is printed, what is asked, and with which code it ends.

Commands run in this process, against one embedded server; what needs a terminal runs as its
users have it.
"""

from __future__ import annotations

import io
import json
import os
import re
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from ostiary.cli import main
from ostiary.cli.workflow.states import chosen
from ostiary.cli.workflow.waterfall import bars, drawn
from ostiary.devserver import WorkflowOptions, running
from ostiary.devserver.workflow.tools import ToolCall
from ostiary.workflow import Span, TaskProgress, WorkflowClient
from tests.http.peer import HttpPeer, answer, script

from .conftest import Done

Run = Callable[..., Done]


def slow(call: ToolCall) -> str:
    time.sleep(call.inputs.get("seconds", 0.1))
    return "done"


def broken(call: ToolCall) -> str:
    raise RuntimeError("the disk is full")


@pytest.fixture(scope="module")
def server() -> Generator[Any, None, None]:
    options = WorkflowOptions(port=None, tools={"slow": slow, "broken": broken})
    with running(demo=True, workflow=options) as one:
        yield one


@pytest.fixture(scope="module")
def client(server: Any) -> Generator[WorkflowClient, None, None]:
    with WorkflowClient(server.workflow_unix_url) as one:
        yield one


class Piped(io.TextIOWrapper):
    """A stdin that is no terminal."""


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes], tmp_path: Path
) -> Run:
    """Run `ostiary ...` in this process."""
    for name in [n for n in os.environ if n.startswith(("OSTIARY_", "SANCTUM_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path, stdin: bytes = b"", env: dict[str, str] | None = None) -> Done:
        with monkeypatch.context() as here:
            for name, value in (env or {}).items():
                here.setenv(name, value)
            here.setattr(sys, "argv", ["ostiary", *map(str, arguments)])
            here.setattr(sys, "stdin", Piped(io.BytesIO(stdin)))
            code = main()
        out, err = capsysbinary.readouterr()
        return Done(code, out, err.decode())

    return run


@pytest.fixture
def workflow(command: Run, server: Any) -> Run:
    """Run `ostiary workflow ...` where the environment names the server."""
    env = {"OSTIARY_WORKFLOW_URL": server.workflow_unix_url}

    def run(*arguments: str | Path, stdin: bytes = b"", **more: str) -> Done:
        return command("workflow", *arguments, stdin=stdin, env=env | more)

    return run


def good(done: Done) -> Done:
    assert done.code == 0, done.err + done.text
    return done


def facts(done: Done) -> dict[str, str]:
    """Return what a card says."""
    pairs = (re.split(r"\s{2,}", line, maxsplit=1) for line in done.text.splitlines())
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}


def rows(done: Done) -> list[list[str]]:
    """Return the rows of a table, its head first."""
    return [re.split(r"\s{2,}", line.strip()) for line in good(done).text.splitlines()]


def spec(name: str, *tasks: dict[str, Any]) -> dict[str, Any]:
    """Return a workflow of tasks that wait for each other in a row."""
    made: list[dict[str, Any]] = []
    for number, task in enumerate(tasks):
        before = [made[-1]["id"]] if made else []
        one = {"id": f"t{number}", "name": f"T{number}", "type": "action", "depends_on": before}
        made.append(one | task)
    policy = {"name": "permissive", "rules": list[Any]()}
    return {"id": name, "name": name.title(), "tasks": made, "safety_policy": policy}


def file_of(directory: Path, document: object) -> Path:
    file = directory / "workflow.json"
    file.write_text(json.dumps(document))
    return file


READ = {"tool_name": "read_file"}
PICK = {"tool_name": "transform_data", "inputs": {"expression": "batch"}}


# --- runs


def test_a_run_from_its_check_to_its_drawing(workflow: Run, tmp_path: Path) -> None:
    file = file_of(tmp_path, spec("cli-run", READ, PICK))
    checked = good(workflow("check", file))
    assert facts(checked)["holds"] == "2 tasks in 2 layers"
    assert good(workflow("check", file, "--json")).document["order"] == ["t0", "t1"]

    ran = good(workflow("run", file, "--correlation-id", "cli-trace", "--concurrency", "2"))
    said = facts(ran)
    assert (said["workflow"], said["ended"], said["trace"]) == ("cli-run", "success", "cli-trace")
    last = re.split(r"\s{2,}", ran.text.splitlines()[-1])
    assert (last[0], last[1], last[3:]) == ("t1", "success", ["1", "batch-001"])
    again = good(workflow("run", "-", "--json", stdin=file.read_bytes())).document
    assert again["task_results"]["t1"]["result"] == "batch-001"
    assert good(workflow("result", "cli-run", "--json")).document == again

    status = good(workflow("status", "cli-run")).text.splitlines()
    assert re.match(r"cli-run  completed  100%  [\d.]+ m?s$", status[0])
    assert [line.split()[:2] for line in status[1:]] == [
        ["task", "state"],
        *(["t0", "completed"], ["t1", "completed"]),
    ]
    assert good(workflow("status", "cli-run", "--json")).document["outcome"] == "success"
    listed = rows(workflow("ls", "--status", "completed", "--since", "1h"))
    assert "cli-run" in {row[0] for row in listed[1:]}
    assert "--since 'monday' is no time; " in workflow("ls", "--since", "monday").err
    none = good(workflow("ls", "--name", "none such")).err
    assert none == "no workflow matches; `ostiary workflow run FILE` runs one\n"

    assert good(workflow("draw", file)).text.startswith("flowchart LR\n")
    ended = good(workflow("draw", file, "--result", "-o", "run.svg"))
    assert ended.err == "drew run.svg\n"
    assert "success in" in (tmp_path / "run.svg").read_text("utf-8")


def test_what_cannot_be_run_is_told_before_it_is_sent(workflow: Run, tmp_path: Path) -> None:
    circle = spec("circle", READ, READ)
    circle["tasks"][0]["depends_on"] = ["t1"]
    for verb in ("check", "run", "draw"):
        done = workflow(verb, file_of(tmp_path, circle))
        assert done.code == 1
        assert "t0 -> t1 -> t0" in done.err
    (tmp_path / "text").write_text("{]")
    for name, said in (("text", "is no JSON"), ("none", "No such file")):
        done = workflow("run", name)
        assert (done.code, done.text) == (1, "")
        assert said in done.err
    done = workflow("run", file_of(tmp_path, {"id": "x", "tasks": [{"id": "a"}]}))
    assert done.code == 1
    for missing in ("name", "tasks[0].type"):
        assert missing in done.err
    unread = workflow("run", file_of(tmp_path, spec("x", READ)), "--context", "[1]")
    assert "the context is no JSON object" in unread.err


def test_a_file_s_sandbox_is_kept(workflow: Run, tmp_path: Path) -> None:
    played = {"tool_name": "broken", "sandbox_config": {"enabled": True, "type": "simulation"}}
    file = file_of(tmp_path, spec("cli-played", played))
    ran = good(workflow("run", file, "--json")).document
    # The tool itself would have failed.
    assert ran["task_results"]["t0"]["result"]["simulated"] is True


def test_a_run_that_fails(workflow: Run, tmp_path: Path) -> None:
    file = file_of(tmp_path, spec("cli-fails", READ, {"tool_name": "broken"}, READ))
    ran = workflow("run", file)
    assert ran.code == 1
    assert facts(ran)["ended"] == "partial"
    assert "disk is full" in ran.text
    assert [line.split()[1] for line in ran.text.splitlines()[-3:]] == [
        *("success", "failed", "skipped")
    ]
    assert workflow("result", "cli-fails", "--json").code == 1
    record = workflow("record", "cli-fails").text.splitlines()
    assert [line.split()[2] for line in (record[0], record[-1])] == [
        *("WORKFLOW_STARTED", "WORKFLOW_FAILED")
    ]
    ended = workflow("cancel", "cli-fails")
    assert ended.code == 1
    assert "409" in ended.err


def test_following_and_cancelling(workflow: Run, tmp_path: Path) -> None:
    steps = [{"tool_name": "slow", "inputs": {"seconds": seconds}} for seconds in (0.2, 30)]
    file = file_of(tmp_path, spec("cli-long", *steps))
    begun = good(workflow("run", file, "--no-wait"))
    assert "`ostiary workflow watch cli-long`" in begun.err
    running_now = workflow("result", "cli-long")
    assert running_now.code == 1
    assert good(workflow("cancel", "cli-long")).err.startswith("cli-long is cancel")
    watched = workflow("watch", "cli-long", "--json")
    assert watched.code == 1
    events = [json.loads(line) for line in watched.text.splitlines()]
    assert events[0]["type"] == "WORKFLOW_STARTED"
    assert events[-1]["type"] == "WORKFLOW_CANCELLED"
    behind = workflow("watch", "cli-long", "--after", str(events[-2]["sequence"]))
    assert [line.split()[2] for line in behind.text.splitlines()] == ["WORKFLOW_CANCELLED"]
    file = file_of(tmp_path, spec("cli-quick", READ))
    assert good(workflow("run", file, "--watch")).text.count("WORKFLOW_COMPLETED") == 1


def test_on_a_terminal_the_tasks_are_drawn_over(terminal: Any, server: Any, tmp_path: Path) -> None:
    steps = [{"tool_name": "slow", "inputs": {"seconds": 0.4}}] * 2
    file = file_of(tmp_path, spec("cli-watched", *steps))
    code, screen = terminal(
        *(tmp_path, "workflow", "-u", server.workflow_unix_url, "run", file, "--watch")
    )
    assert code == 0, screen
    pictures = screen.split("cli-watched")
    assert len(pictures) > 2
    assert "running" in screen
    assert "pending" in screen
    assert pictures[-1].count("completed") == 3


def test_of_many_tasks_those_are_drawn_that_matter() -> None:
    words = ["completed"] * 50 + ["failed", "running", "running"] + ["pending"] * 40
    tasks = [TaskProgress(task_id=f"t{at}", status=word) for at, word in enumerate(words)]
    shown, left = chosen(tasks, 6)
    assert [one.task_id for one in shown] == [f"t{at}" for at in range(48, 54)]
    assert sum(left.values()) == len(tasks) - 6
    assert set(left) == {"completed", "pending"}
    assert chosen(tasks, None) == (tasks, {})


# --- approvals, policy, gates


def test_a_task_that_needs_leave(workflow: Run, tmp_path: Path) -> None:
    write = {"tool_name": "write_file", "risk_tier": "HIGH", "inputs": {"path": "cli.json"}}
    file = file_of(tmp_path, spec("cli-risky", READ, write))
    held = workflow("run", file)
    assert held.code == 1
    (request,) = good(workflow("approvals", "--workflow", "cli-risky", "--json")).document[
        "approvals"
    ]
    token = request["token"]
    assert (
        f"`ostiary workflow approve {token}`, then run it again"
        in workflow("status", "cli-risky").text
    )
    shown = facts(workflow("approvals", token))
    assert (shown["risk"], shown["workflow"], shown["task"]) == ("high", "cli-risky", "t1")
    assert good(workflow("approve", token, "-m", "fine")).err == f"approved {token}\n"
    assert facts(good(workflow("run", file)))["ended"] == "success"
    assert facts(workflow("approvals", token))["comment"] == "fine"
    listed = rows(workflow("approvals", "--all"))
    assert [row[1] for row in listed if row[0] == token] == ["used"]
    unknown = workflow("deny", "approval-none")
    assert unknown.code == 1
    assert "`ostiary workflow approvals --all` shows what there is" in unknown.err


def test_policy(workflow: Run, tmp_path: Path) -> None:
    assert facts(good(workflow("policy", "check", "look")))["allowed"] == "yes"
    asked = ("policy", "check", "purge", "--risk", "critical", "--principal", "bot", "--as")
    refused = workflow(*asked, "agent")
    assert (refused.code, facts(refused)["allowed"]) == (1, "no")
    token = facts(refused)["approval"]
    assert f"`ostiary workflow approve {token}`" in refused.err
    good(workflow("approve", token))
    assert good(workflow(*asked, "agent", "--approval", token, "--json")).document["allowed"]
    assert workflow(*asked, "agent", "--approval", token).code == 1, "it serves once"
    needs = ("policy", "check", "view", "--needs", "read:reports:read:internal")
    assert workflow(*needs).code == 1
    assert workflow(*needs, "--has", "read:reports:read:public").code == 1
    good(workflow(*needs, "--has", "read:reports:read:restricted"))
    good(workflow("policy", "check", "x", "--allows", "read_file", "--tool", "read_file"))
    assert workflow("policy", "check", "x", "--allows", "read_file", "--tool", "rm").code == 1
    document = {
        "principal": {"id": "p", "type": "agent", "permissions": []},
        "action": {"id": "a", "name": "A", "risk_tier": "low", "required_permissions": []},
    }
    good(workflow("policy", "check", "--from", "-", stdin=json.dumps(document).encode()))
    assert "is not that" in workflow("policy", "check", "x", "--has", "abc").err
    assert workflow("policy", "check").code == 2


def test_gates_and_validators(workflow: Run) -> None:
    gate = ("crv", "validate", '{"balance": -4}', "--by", "not_null", "--by", "balance_positive")
    blocked = workflow(*gate)
    assert (blocked.code, facts(blocked)["state"]) == (1, "blocked")
    assert blocked.text.splitlines()[-1].startswith("balance_positive  no")
    assert facts(good(workflow(*gate, "--warn")))["state"] == "warning"
    good(workflow("crv", "validate", "3", "--by", "not_null", "--confidence", "0.9"))
    config = '{"type": "max_size", "parameters": {"max_bytes": 10}}'
    assert good(workflow("crv", "register", "tiny", config)).err == "registered tiny\n"
    assert good(workflow("crv", "register", "tiny", config)).err == "replaced tiny\n"
    assert workflow("crv", "validate", "-", "--by", "tiny", stdin=b'"0123456789"').code == 1
    odd = good(workflow("crv", "register", "odd", '{"type": "custom", "validation_logic": "x"}'))
    assert "refuses whatever it is shown" in odd.err
    assert {"tiny", "odd", "not_null"} <= {row[0] for row in rows(workflow("crv", "ls"))}
    for name in ("tiny", "odd"):
        assert good(workflow("crv", "rm", name)).err == f"removed {name}\n"
    gone = workflow("crv", "rm", "tiny")
    assert gone.code == 1
    assert "crv ls" in gone.err
    assert workflow("crv", "validate", "3").code == 2
    assert "the data is no JSON" in workflow("crv", "validate", "{", "--by", "not_null").err


# --- telemetry


def test_a_trace_metrics_and_events(workflow: Run, client: WorkflowClient, tmp_path: Path) -> None:
    good(workflow("run", file_of(tmp_path, spec("cli-traced", READ, PICK))))
    trace = good(workflow("trace", "cli-traced")).text.splitlines()
    assert trace[1] == "spans  3"
    assert [line.split()[0] for line in trace[2:5]] == ["Cli-Traced", "t0", "t1"]
    assert "█" in trace[2]
    assert len(good(workflow("trace", "cli-traced", "--json")).document) == 3
    unknown = workflow("trace", "nobody")
    assert (unknown.code, "no spans of nobody" in unknown.err) == (1, True)

    for number in range(1, 5):
        now = f"2026-03-01T10:00:0{number}Z"
        client.report_metric(
            {"name": "rows", "value": number, "timestamp": now, "tags": {"n": str(number % 2)}}
        )
    table = rows(workflow("metrics", "rows"))
    assert table[0] == ["metric", "count", "least", "middle", "p95", "most", "last", "when"]
    assert table[1][:7] == ["rows", "4", "1", "3", "4", "4", "4"]
    odd = good(workflow("metrics", "rows", "--tag", "n=1", "--json")).document
    assert (odd["rows"]["count"], odd["rows"]["max"]) == (2, 3)
    assert len(rows(workflow("metrics", "rows", "--each", "--limit", "2"))) == 3
    assert workflow("metrics", "none", "--since", "3d").err == "nothing was measured\n"
    assert "NAME=VALUE" in workflow("metrics", "--tag", "x").err

    told = good(workflow("events", "--workflow", "cli-traced", "--type", "step_end"))
    assert [line.split()[2] for line in told.text.splitlines()] == [
        *("cli-traced/t0", "cli-traced/t1")
    ]
    first = good(workflow("events", "--workflow", "cli-traced", "--limit", "1", "--json"))
    assert json.loads(first.text)["type"] == "step_start"
    assert facts(good(workflow("health")))["status"] == "ok"


def span(name: str, start: int, ms: float | None, parent: str | None = None, **more: Any) -> Span:
    made = {"id": name, "trace_id": "t", "parent_id": parent, "name": name, "duration": ms}
    return Span.from_dict(made | {"start_time": f"2026-03-01T10:00:0{start}Z"} | more)


def test_a_waterfall_is_a_tree_in_time() -> None:
    found = bars(
        [
            span("late", 3, 1000.0, "root"),
            span("root", 0, 4000.0),
            span("inner", 2, 500.0, "early", tags={"status": "failed"}),
            span("early", 1, 2000.0, "root"),
            span("orphan", 1, None, "nowhere"),
            span("self", 2, 0.0, "self"),
        ]
    )
    assert [(one.span.name, one.depth) for one in found] == [
        *(("root", 0), ("early", 1), ("inner", 2), ("late", 1), ("orphan", 0), ("self", 0))
    ]
    assert [one.span.name for one in found if one.failed] == ["inner"]
    lines = drawn(found, 60).plain.splitlines()
    root, early, inner, late, orphan, instant, scale = lines
    room = root.count("█")
    assert root.endswith("4.0 s")
    start = root.index("█")
    assert early.index("█") == start + room // 4
    assert early.count("█") == pytest.approx(room / 2, abs=1)
    assert late.index("█") == start + 3 * room // 4
    assert inner.index("█") == start + room // 2
    assert orphan.endswith("open")
    assert "┄" in orphan
    assert instant.strip("self 0m").strip()
    assert scale.split() == ["0", "4.0", "s"]


def test_spans_that_go_round_in_a_circle_are_shown() -> None:
    found = bars([span("a", 1, 1.0, "b"), span("b", 2, 1.0, "a")])
    assert sorted(one.span.name for one in found) == ["a", "b"]
    assert drawn(bars([]), 80).plain.strip().startswith("0")


# --- keys, doctor, env


def test_keys_and_who_may_approve(command: Run, tmp_path: Path) -> None:
    with running(tcp=False, workflow=WorkflowOptions(port=None)) as one:
        env = {"OSTIARY_WORKFLOW_URL": one.workflow_unix_url}
        without = command("workflow", "ls", env=env)
        assert without.code == 1
        assert "--api-key-file" in without.err
        owner = ("--api-key-file", one.home / "workflow.token")
        asked = command(
            *("workflow", *owner, "policy", "check", "purge", "--risk", "high", "--json"), env=env
        )
        token = asked.document["approval_token"]
        own = command("workflow", "approve", token, *owner, env=env)
        assert own.code == 1
        assert "workflow-approver.token" in own.err
        other = ("--api-key-file", one.home / "workflow-approver.token")
        good(command("workflow", "approve", token, *other, env=env))
        piped = command(
            *("workflow", "ls", "--api-key-file", "-"),
            stdin=(one.home / "workflow.token").read_bytes(),
            env=env,
        )
        assert good(piped).err.startswith("no workflow matches")

        home = {"SANCTUM_VAULT_PATH": str(one.home)}
        found = {
            finding["found"]
            for finding in command("doctor", "--json", env=home).document["findings"]
        }
        assert f"{one.home / 'workflow.sock'} (0600)" in found
        assert any(re.match(r"ok, version \S+$", text) for text in found)
        assert one.gateway.environment, "its sidecar is what `ostiary env` asks"
        printed = command("env", env=home)
        assert f"OSTIARY_WORKFLOW_URL=unix://{one.home / 'workflow.sock'}" in printed.text


def test_no_server(workflow: Run) -> None:
    done = workflow("ls", OSTIARY_WORKFLOW_URL="unix:///none/such.sock")
    assert done.code == 3
    assert "start a server with `ostiary dev`" in done.err


def test_what_a_server_found_wrong_is_told_line_by_line(command: Run, tmp_path: Path) -> None:
    body = {
        "error": "the workflow cannot be run",
        "code": "VALIDATION_ERROR",
        "errors": [{"path": "tasks[0].inputs", "message": "is too long"}],
        "remediation": "make it shorter",
    }
    kind = [("Content-Type", "application/json")]
    with HttpPeer(script(answer(422, json.dumps(body), kind))) as peer:
        file = file_of(tmp_path, spec("x", READ))
        done = command("workflow", "-u", peer.url(), "run", file)
    assert done.code == 1
    assert "next: make it shorter\n" in done.err
    assert "  tasks[0].inputs: is too long\n" in done.err
