"""Policy, people and gates within a run."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from ostiary.devserver.http.refusals import HttpRefusal
from ostiary.devserver.workflow.tools import ToolCall
from ostiary.workflow.models import Permission, Principal
from tests.devserver.workflow_stage import BOT, Stage, Time, fails, statuses, task, until, workflow


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


@pytest.fixture
def slow(tmp_path: Path) -> Stage:
    return Stage(tmp_path, Time(by_hand=True))


NEEDED = {"action": "purge", "resource": "archive", "intent": "delete"}

# -- policy ----------------------------------------------------------------------


def test_a_lacking_permission_blocks_and_is_not_tried_again(run, stage) -> None:
    async def main() -> None:
        async with stage.open():
            spec = workflow(
                task("a", required_permissions=[NEEDED], retry={"max_attempts": 3, "backoff_ms": 1})
            )
            result = await stage.execute(spec)
            assert "lacks a permission" in result["task_results"]["a"]["error"]
            assert (stage.calls, stage.time.slept) == ([], [])
            assert await stage.log("w") == [
                "WORKFLOW_STARTED",
                "TASK_STARTED a",
                "STATE_UPDATED a",
                "TASK_FAILED a",
                "WORKFLOW_FAILED",
            ]
            assert "step_end" not in [kind for kind, _ in stage.told]
            granted = Principal(id="bot", type="agent", permissions=[Permission(**NEEDED)])
            again = await stage.execute(spec, principal=granted)
            assert again["status"] == "success"

    run(main())


def test_a_tool_outside_the_task_s_list_is_refused(run, stage) -> None:
    async def main() -> None:
        async with stage.open():
            result = await stage.execute(workflow(task("a", allowed_tools=["read_file"])))
            assert "not among those allowed" in result["task_results"]["a"]["error"]
            assert stage.calls == []

    run(main())


@pytest.mark.parametrize("tier", ["HIGH", "CRITICAL"])
def test_what_is_risky_runs_once_a_person_has_approved(run, stage, tier: str) -> None:
    async def main() -> None:
        async with stage.open() as engine:
            spec = workflow("a", task("b", risk_tier=tier, inputs={"rows": 3}), "c")
            first = await stage.execute(spec)
            entry = first["task_results"]["b"]
            token = entry["approval_token"]
            assert token in entry["error"]
            assert stage.ran == ["a"]
            status = engine.status("w")
            assert status["policy_status"]["status"] == "pending"
            assert status["policy_status"]["approval_token"] == token
            # Asking again asks nobody a second time.
            assert (await stage.execute(spec))["task_results"]["b"]["approval_token"] == token
            with pytest.raises(HttpRefusal) as caught:
                stage.approvals.decide(token, approve=True, approver="bot")
            assert caught.value.code == "SELF_APPROVAL"
            stage.approvals.decide(token, approve=True, approver="mira")
            result = await stage.execute(spec)
            assert result["status"] == "success"
            assert "approval_token" not in result["task_results"]["b"]
            assert stage.ran == ["a", "b", "c"]
            assert stage.approvals.get(token).status == "used"

    run(main())


def test_an_approval_is_for_the_inputs_that_were_shown(run, stage) -> None:
    async def main() -> None:
        async with stage.open():
            first = await stage.execute(workflow(task("a", risk_tier="HIGH", inputs={"n": 1})))
            token = first["task_results"]["a"]["approval_token"]
            stage.approvals.decide(token, approve=True, approver="mira")
            other = workflow(task("a", risk_tier="HIGH", inputs={"n": 2}))
            result = await stage.execute(other, rerun=True, approval_token=token)
            assert result["status"] == "failed"
            assert result["task_results"]["a"]["approval_token"] != token
            assert stage.approvals.get(token).status == "approved"
            stranger = Principal(id="other-bot", type="agent", permissions=[])
            result = await stage.execute(
                workflow(task("a", risk_tier="HIGH", inputs={"n": 1})),
                rerun=True,
                approval_token=token,
                principal=stranger,
            )
            assert (result["status"], stage.calls) == ("failed", [])

    run(main())


def test_an_approval_is_for_what_undoes_the_task_and_what_takes_its_place(run, stage) -> None:
    async def main() -> None:
        stage.tool("undo")
        stage.tool("other")
        async with stage.open():
            plain = workflow(task("a", risk_tier="HIGH"))
            first = await stage.execute(plain)
            token = first["task_results"]["a"]["approval_token"]
            stage.approvals.decide(token, approve=True, approver="mira")
            asked = {"rerun": True, "approval_token": token}
            undone = task("a", risk_tier="HIGH", compensation_action={"tool": "undo"})
            assert (await stage.execute(workflow(undone), **asked))["status"] == "failed"
            strategy = {"type": "retry_alt_tool", "tool_name": "other", "max_retries": 1}
            context = gates("not_null", strategy=strategy)
            assert (await stage.execute(plain, context=context, **asked))["status"] == "failed"
            assert stage.calls == []
            assert (await stage.execute(plain, **asked))["status"] == "success"

    run(main())


def test_an_approval_holds_for_all_tries_of_one_round_and_no_longer(run, stage) -> None:
    async def main() -> None:
        stage.tool("shaky", [fails(), fails(), "done"])
        async with stage.open():
            spec = workflow(
                task("a", "shaky", risk_tier="HIGH", retry={"max_attempts": 2, "backoff_ms": 1})
            )
            first = await stage.execute(spec)
            token = first["task_results"]["a"]["approval_token"]
            stage.approvals.decide(token, approve=True, approver="mira")
            second = await stage.execute(spec)
            assert second["task_results"]["a"]["attempts"] == 2
            third = await stage.execute(spec)
            assert third["task_results"]["a"]["approval_token"] != token
            assert len(stage.calls) == 2

    run(main())


def test_a_token_that_the_caller_shows_is_used(run, stage) -> None:
    async def main() -> None:
        async with stage.open():
            spec = workflow(task("a", risk_tier="HIGH"))
            first = await stage.execute(spec)
            token = first["task_results"]["a"]["approval_token"]
            stage.approvals.decide(token, approve=True, approver="mira")
            result = await stage.execute(spec, rerun=True, approval_token=token)
            assert result["status"] == "success"

    run(main())


def waiting(ms: int = 60_000) -> dict[str, Any]:
    return {"approval_wait_ms": ms}


def test_a_task_may_wait_for_a_person(run, slow) -> None:
    async def main() -> None:
        async with slow.open() as engine:
            spec = workflow(task("a", risk_tier="HIGH"), "b")
            running = asyncio.ensure_future(slow.execute(spec, context=waiting()))
            await slow.time.sleeper()
            (shown, _) = engine.status("w")["tasks"]
            assert (shown["status"], shown["requires_approval"]) == ("awaiting_approval", True)
            slow.approvals.decide(shown["approval_token"], approve=True, approver="mira")
            result = await running
            assert result["status"] == "success"
            assert slow.ran == ["a", "b"]

    run(main())


def test_a_no_is_told_with_its_reason(run, slow) -> None:
    async def main() -> None:
        async with slow.open() as engine:
            running = asyncio.ensure_future(
                slow.execute(workflow(task("a", risk_tier="HIGH")), context=waiting())
            )
            await slow.time.sleeper()
            token = engine.status("w")["tasks"][0]["approval_token"]
            slow.approvals.decide(token, approve=False, approver="mira", comment="not today")
            result = await running
            assert result["task_results"]["a"]["error"].endswith("mira denied it: not today")
            assert slow.calls == []

    run(main())


def test_nobody_is_waited_for_longer_than_was_said(run, slow) -> None:
    async def main() -> None:
        async with slow.open():
            running = asyncio.ensure_future(
                slow.execute(workflow(task("a", risk_tier="HIGH")), context=waiting(5000))
            )
            assert await slow.time.sleeper() == pytest.approx(5.0)
            slow.time.go_by(5.0)
            result = await running
            assert "nobody answered in time" in result["task_results"]["a"]["error"]
            assert result["task_results"]["a"]["approval_token"]

    run(main())


def test_a_question_that_expires_ends_the_wait(run, slow) -> None:
    async def main() -> None:
        async with slow.open():
            running = asyncio.ensure_future(
                slow.execute(workflow(task("a", risk_tier="HIGH")), context=waiting(99_999_999))
            )
            assert await slow.time.sleeper() == pytest.approx(3600.0)
            slow.time.go_by(3600.0)
            assert (await running)["task_results"]["a"]["error"].endswith("approval is expired")

    run(main())


def test_a_wait_ends_with_a_cancellation_and_with_another_failure(run, slow) -> None:
    async def main() -> None:
        gate = asyncio.Event()

        async def bad(_: ToolCall) -> None:
            await gate.wait()
            raise fails()

        slow.tool("bad", bad)
        async with slow.open() as engine:
            risky = task("a", risk_tier="HIGH")
            running = asyncio.ensure_future(
                slow.execute(workflow(risky, id="one"), context=waiting())
            )
            await slow.time.sleeper()
            await engine.cancel("one")
            result = await running
            assert "cancelled" in result["error"]
            assert engine.status("one")["tasks"][0]["status"] == "skipped"
            await engine.submit(
                workflow(risky, task("b", "bad"), id="two"),
                principal=BOT,
                context={**waiting(), "concurrency": 2},
            )
            await until(lambda: engine.status("two")["tasks"][0]["status"] == "awaiting_approval")
            gate.set()
            result = await engine.result("two")
            assert statuses(result) == {"a": "skipped", "b": "failed"}

    run(main())


# -- gates -----------------------------------------------------------------------


def gates(*validators: str, strategy: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    gate = {"name": "money", "validators": list(validators), "block_on_failure": True, **more}
    if strategy is not None:
        gate["recovery_strategy"] = strategy
    return {"gates": {"*": gate}}


@pytest.fixture
def judged(stage: Stage) -> Stage:
    """A stage with a validator of amounts, and tools that return some."""
    bounds = {"type": "statistical_bounds", "parameters": {"field": "amount", "min": 0}}
    stage.validators.register("amount", bounds, "")
    stage.tool("good", lambda _: {"amount": 5})
    stage.tool("low", lambda _: {"amount": -4})
    return stage


def test_a_result_passes_a_gate(run, judged) -> None:
    async def main() -> None:
        async with judged.open() as engine:
            result = await judged.execute(
                workflow(task("a", "good")), context=gates("not_null", "amount")
            )
            assert result["status"] == "success"
            assert engine.status("w")["crv_status"]["status"] == "passed"

    run(main())


def test_a_blocked_result_is_a_failure_that_is_not_tried_again(run, judged) -> None:
    async def main() -> None:
        async with judged.open() as engine:
            spec = workflow(task("a", "low", retry={"max_attempts": 3, "backoff_ms": 1}), "b")
            result = await judged.execute(spec, context=gates("amount"))
            entry = result["task_results"]["a"]
            assert entry["error"].startswith("gate money blocked the result: ")
            assert entry["failure_code"] == "OUT_OF_SCOPE"
            assert "result" not in entry
            assert judged.ran == ["a"]
            assert engine.status("w")["crv_status"]["status"] == "blocked"

    run(main())


def test_a_gate_that_does_not_block_warns(run, judged) -> None:
    async def main() -> None:
        async with judged.open() as engine:
            context = gates("amount", block_on_failure=False)
            result = await judged.execute(workflow(task("a", "low")), context=context)
            assert result["task_results"]["a"]["result"] == {"amount": -4}
            assert engine.status("w")["crv_status"]["status"] == "warning"

    run(main())


def test_an_unknown_validator_fails_closed(run, judged) -> None:
    async def main() -> None:
        async with judged.open():
            result = await judged.execute(workflow(task("a", "good")), context=gates("amout"))
            assert result["task_results"]["a"]["failure_code"] == "TOOL_ERROR"

    run(main())


def test_a_gate_without_judges_fails_closed(run, tmp_path: Path) -> None:
    async def main() -> None:
        stage = Stage(tmp_path, gate=None)
        async with stage.open():
            result = await stage.execute(workflow("a"), context=gates("not_null"))
            assert result["status"] == "failed"

    run(main())


def test_a_gate_is_for_its_task(run, judged) -> None:
    async def main() -> None:
        async with judged.open():
            strict = gates("amount")["gates"]["*"]
            result = await judged.execute(
                workflow(task("a", "low"), task("b", "low")), context={"gates": {"b": strict}}
            )
            assert statuses(result) == {"a": "success", "b": "failed"}

    run(main())


def test_a_gate_sees_what_the_task_came_to_before_it_was_undone(run, judged) -> None:
    async def main() -> None:
        judged.tool("count", [{"version": 2}, {"version": 1}])
        judged.tool("bad", [fails()])
        judged.tool("undo")
        async with judged.open():
            spec = workflow(
                task("a", "count", compensation_action={"tool": "undo"}), task("b", "bad")
            )
            context = {"gates": {"a": gates("monotonic")["gates"]["*"]}}
            assert (await judged.execute(spec, context=context))["status"] == "partial"
            result = await judged.execute(spec, context=context)
            assert result["task_results"]["a"]["failure_code"] == "CONFLICT"

    run(main())


def test_ignoring_takes_the_result_all_the_same(run, judged) -> None:
    async def main() -> None:
        async with judged.open():
            context = gates("amount", strategy={"type": "ignore", "justification": "a test"})
            result = await judged.execute(workflow(task("a", "low")), context=context)
            assert result["task_results"]["a"]["result"] == {"amount": -4}
            assert ("crv_recovery_attempt", 1.0) in judged.metrics

    run(main())


def other_tool(name: str, tries: int = 1) -> dict[str, Any]:
    strategy = {"type": "retry_alt_tool", "tool_name": name, "max_retries": tries}
    return gates("amount", strategy=strategy)


@pytest.mark.parametrize(
    ("name", "tries", "ran", "status"),
    [
        ("good", 1, 2, "success"),
        ("lower", 3, 4, "failed"),
        ("nobody", 1, 1, "failed"),
        ("shaky", 3, 3, "success"),
        ("shaky", 1, 2, "failed"),
    ],
    ids=["helps", "blocked-too", "unknown", "helps-at-last", "gives-up"],
)
def test_another_tool_is_taken(run, judged, name, tries, ran, status) -> None:
    async def main() -> None:
        judged.tool("shaky", [fails(), {"amount": 1}])
        judged.tool("lower", lambda _: {"amount": -5})
        async with judged.open():
            result = await judged.execute(
                workflow(task("a", "low")), context=other_tool(name, tries)
            )
            assert result["task_results"]["a"]["status"] == status
            assert len(judged.calls) == ran
            # Another tool is another effect; each try of it is the same one.
            assert len({call.idempotency_key for call in judged.calls}) == min(ran, 2)

    run(main())


def test_another_tool_must_be_allowed(run, judged) -> None:
    async def main() -> None:
        async with judged.open():
            spec = workflow(task("a", "low", allowed_tools=["low"]))
            result = await judged.execute(spec, context=other_tool("good"))
            assert "not among those allowed" in result["task_results"]["a"]["error"]
            assert len(judged.calls) == 1

    run(main())


STRATEGIES = [
    {"type": "ask_user", "prompt": "is it a refund?"},
    {"type": "escalate", "reason": "finance desk"},
]


@pytest.mark.parametrize("strategy", STRATEGIES, ids=["ask-user", "escalate"])
def test_a_person_may_accept_a_blocked_result(run, judged, strategy) -> None:
    async def main() -> None:
        async with judged.open():
            spec, context = workflow(task("a", "low"), "b"), gates("amount", strategy=strategy)
            first = await judged.execute(spec, context=context)
            entry = first["task_results"]["a"]
            assert entry["status"] == "failed"
            assert "result" not in entry
            token = entry["approval_token"]
            again = await judged.execute(spec, context=context)
            assert again["task_results"]["a"]["approval_token"] == token
            assert len(judged.calls) == 1
            judged.approvals.decide(token, approve=True, approver="mira")
            result = await judged.execute(spec)
            # The gate is part of the question: without it nobody asked.
            assert len(judged.calls) == 3
            assert result["status"] == "success"

    run(main())


@pytest.mark.parametrize("strategy", STRATEGIES, ids=["ask-user", "escalate"])
def test_an_accepted_result_is_taken_as_it_was(run, judged, strategy) -> None:
    async def main() -> None:
        async with judged.open():
            spec, context = workflow(task("a", "low")), gates("amount", strategy=strategy)
            first = await judged.execute(spec, context=context)
            token = first["task_results"]["a"]["approval_token"]
            judged.approvals.decide(token, approve=True, approver="mira")
            result = await judged.execute(spec, context=context)
            assert result["task_results"]["a"]["result"] == {"amount": -4}
            assert len(judged.calls) == 1
            assert judged.approvals.get(token).status == "used"

    run(main())


def test_a_denied_result_is_forgotten_and_the_task_runs_again(run, judged) -> None:
    async def main() -> None:
        async with judged.open():
            spec, context = workflow(task("a", "low")), gates("amount", strategy=STRATEGIES[0])
            first = await judged.execute(spec, context=context)
            token = first["task_results"]["a"]["approval_token"]
            judged.approvals.decide(token, approve=False, approver="mira")
            again = await judged.execute(spec, context=context)
            assert again["task_results"]["a"]["approval_token"] != token
            assert len(judged.calls) == 2

    run(main())


def test_a_run_may_wait_for_a_result_to_be_accepted(run, tmp_path: Path) -> None:
    async def main() -> None:
        stage = Stage(tmp_path, Time(by_hand=True))
        stage.tool("nothing", lambda _: None)
        async with stage.open() as engine:
            context = {**gates("not_null", strategy=STRATEGIES[1]), **waiting()}
            running = asyncio.ensure_future(
                stage.execute(workflow(task("a", "nothing")), context=context)
            )
            await stage.time.sleeper()
            token = engine.status("w")["tasks"][0]["approval_token"]
            stage.approvals.decide(token, approve=True, approver="mira")
            result = await running
            assert result["status"] == "success"
            assert len(stage.calls) == 1

    run(main())
