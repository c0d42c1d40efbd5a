"""The rules a workflow has to keep before it is run, each kept and broken."""

from __future__ import annotations

from typing import Any

import pytest

from ostiary.devserver.http.refusals import HttpRefusal
from ostiary.devserver.workflow.policy.safety import check_safety, refuse_unsafe
from ostiary.workflow.models import WorkflowSpec

PERMISSION = {"action": "purge", "resource": "archive"}
UNDO = {"tool": "undo"}


def spec(
    *tasks: dict[str, Any], policy: dict[str, Any] | None = None, **after: list[str]
) -> WorkflowSpec:
    return WorkflowSpec(
        id="w",
        name="w",
        tasks=[{"name": one["id"], "type": "action", **one} for one in tasks],
        dependencies=after,
        safety_policy=policy,
    )


def critical(id: str = "a", **more: Any) -> dict[str, Any]:
    return {
        "id": id,
        "risk_tier": "CRITICAL",
        "required_permissions": [PERMISSION],
        "compensation_action": UNDO,
        **more,
    }


def only(kind: str, **more: Any) -> dict[str, Any]:
    return {"name": "mine", "rules": [{"type": kind, **more}]}


FOLLOW = "no_action_after_critical_without_approval"
PERMIT = "require_permissions_for_high_risk"
UNDONE = "require_compensation_for_critical"

# rule, its members, tasks, dependencies, the tasks of each violation
CASES: list[tuple[str, dict[str, Any], list[dict[str, Any]], dict[str, list[str]], list[Any]]] = [
    (FOLLOW, {}, [critical(), {"id": "b"}], {"b": ["a"]}, [("a", "b")]),
    (FOLLOW, {}, [critical(), {"id": "b", "depends_on": ["a"]}], {}, [("a", "b")]),
    (FOLLOW, {}, [critical(), {"id": "b"}], {}, []),
    # Only what follows directly.
    (FOLLOW, {}, [critical(), critical("b", risk_tier="LOW"), {"id": "c"}],
     {"b": ["a"], "c": ["b"]}, []),
    (FOLLOW, {"approved_followers": ["b"]}, [critical(), {"id": "b"}], {"b": ["a"]}, []),
    (FOLLOW, {}, [critical(), {"id": "b", "compensation_action": UNDO}], {"b": ["a"]}, []),
    (FOLLOW, {}, [critical(compensation={"on_failure": "b"}), {"id": "b"}], {"b": ["a"]}, []),
    (PERMIT, {}, [{"id": "a", "risk_tier": "HIGH"}], {}, [("a",)]),
    (PERMIT, {}, [{"id": "a", "risk_tier": "CRITICAL"}], {}, [("a",)]),
    (PERMIT, {}, [{"id": "a", "risk_tier": "MEDIUM"}, {"id": "b"}], {}, []),
    (PERMIT, {}, [critical()], {}, []),
    (PERMIT, {"minimum_risk_tier": "CRITICAL"}, [{"id": "a", "risk_tier": "HIGH"}], {}, []),
    (UNDONE, {}, [critical(compensation_action=None)], {}, [("a",)]),
    (UNDONE, {}, [critical(compensation_action=None, compensation={"on_timeout": "b"}),
                  {"id": "b"}], {}, []),
    (UNDONE, {}, [critical()], {}, []),
    ("no_cycles", {}, [{"id": "a"}, {"id": "b"}], {"a": ["b"], "b": ["a"]}, [("a", "b", "a")]),
    ("no_cycles", {}, [{"id": "a"}, {"id": "b"}], {"b": ["a"]}, []),
    ("custom", {}, [{"id": "a"}], {}, [()]),
    ("be_nice", {}, [{"id": "a"}], {}, [()]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "members", "tasks", "after", "found"), CASES, ids=[str(n) for n in range(len(CASES))]
)
def test_each_rule(kind, members, tasks, after, found) -> None:
    report = check_safety(spec(*tasks, policy=only(kind, **members), **after))
    assert [one.task_ids for one in report.violations] == found
    assert report.valid is not bool(found)
    warned = check_safety(spec(*tasks, policy=only(kind, severity="warning", **members), **after))
    assert warned.valid
    assert len(warned.violations) == len(found)
    off = check_safety(spec(*tasks, policy=only(kind, enabled=False, **members), **after))
    assert off.violations == ()


def test_the_presets_differ_in_what_they_take_for_an_error() -> None:
    careless = critical(compensation_action=None)
    assert check_safety(spec(careless)).valid
    assert [one.severity for one in check_safety(spec(careless)).violations] == ["warning"]
    for name, valid in (("default", True), ("strict", False), ("permissive", True)):
        assert check_safety(spec(careless, policy={"name": name, "rules": []})).valid is valid
    risky = {"id": "a", "risk_tier": "HIGH"}
    assert not check_safety(spec(risky)).valid
    assert check_safety(spec(risky, policy={"name": "permissive", "rules": []})).violations == ()
    assert check_safety(spec(risky, policy={"name": "of my own", "rules": []})).violations == ()


def test_fail_fast_stops_after_the_first_rule_that_is_an_error() -> None:
    policy = {
        "name": "mine",
        "fail_fast": True,
        "rules": [{"type": UNDONE, "severity": "warning"}, {"type": PERMIT}, {"type": FOLLOW}],
    }
    tasks = [{"id": "a", "risk_tier": "CRITICAL"}, {"id": "b"}]
    report = check_safety(spec(*tasks, policy=policy, b=["a"]))
    assert [one.rule for one in report.violations] == [UNDONE, PERMIT]
    whole = check_safety(spec(*tasks, policy={**policy, "fail_fast": False}, b=["a"]))
    assert [one.rule for one in whole.violations] == [UNDONE, PERMIT, FOLLOW]


def test_a_message_of_one_s_own_goes_first() -> None:
    report = check_safety(
        spec({"id": "a", "risk_tier": "HIGH"}, policy=only(PERMIT, message="ask legal"))
    )
    assert report.violations[0].message.startswith("ask legal: task 'a' is of HIGH risk")


def test_an_unsafe_workflow_is_refused_with_every_reason() -> None:
    with pytest.raises(HttpRefusal) as caught:
        refuse_unsafe(spec({"id": "a", "risk_tier": "HIGH"}, {"id": "b", "risk_tier": "HIGH"}))
    assert (caught.value.status, caught.value.code) == (422, "SAFETY_POLICY_VIOLATION")
    assert caught.value.details is not None
    assert len(caught.value.details["errors"]) == 2  # type: ignore[arg-type]
    assert refuse_unsafe(spec({"id": "a"})).violations == ()
