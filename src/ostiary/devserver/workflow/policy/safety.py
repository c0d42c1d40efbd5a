"""Whether a workflow may be run as it is written: rules about its tasks, before any of them begins.

    no_action_after_critical_without_approval   what directly follows a CRITICAL task is its hook,
                                                is named in approved_followers, or can be undone
    require_permissions_for_high_risk           HIGH and CRITICAL tasks say what it takes to run
                                                them; minimum_risk_tier makes it CRITICAL alone
    require_compensation_for_critical           CRITICAL tasks can be undone, or have a hook
    no_cycles                                   the tasks can be put in order

A workflow brings its own policy, names a preset (`default`, `strict`, `permissive`) by one
without rules, or gets the default. A rule is an error unless it says otherwise. One that nobody
here can judge is broken: a policy must not be kept by not being understood.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import msgspec

from ....workflow.enums import RiskTier
from ....workflow.errors import GraphError
from ....workflow.graph import Graph
from ....workflow.models import SafetyRule, TaskSpec, WorkflowSpec
from ...http.refusals import HttpRefusal

__all__ = ["PRESETS", "SafetyReport", "Violation", "check_safety", "refuse_unsafe"]


class Violation(msgspec.Struct, frozen=True, kw_only=True):
    """One rule that is broken, by which tasks."""

    rule: str
    severity: str
    message: str
    task_ids: tuple[str, ...] = ()


class SafetyReport(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a policy; `valid` says that no rule was broken that is an error."""

    policy: str
    violations: tuple[Violation, ...] = ()

    @property
    def valid(self) -> bool:
        return not any(one.severity == "error" for one in self.violations)


def _rules(*rules: tuple[str, str]) -> tuple[SafetyRule, ...]:
    return tuple(SafetyRule(type=kind, severity=severity) for kind, severity in rules)


PRESETS: Final[Mapping[str, tuple[SafetyRule, ...]]] = {
    "default": _rules(
        ("no_action_after_critical_without_approval", "error"),
        ("require_permissions_for_high_risk", "error"),
        ("require_compensation_for_critical", "warning"),
        ("no_cycles", "error"),
    ),
    "strict": _rules(
        ("no_action_after_critical_without_approval", "error"),
        ("require_permissions_for_high_risk", "error"),
        ("require_compensation_for_critical", "error"),
        ("no_cycles", "error"),
    ),
    "permissive": _rules(("no_cycles", "error")),
}


def check_safety(workflow: WorkflowSpec) -> SafetyReport:
    """Return which rules of its policy a workflow breaks."""
    given = workflow.safety_policy
    if given is None:
        name, rules, fail_fast = "default", list(PRESETS["default"]), False
    else:
        name, rules, fail_fast = given.name, list(given.rules), bool(given.fail_fast)
        if not rules:
            rules = list(PRESETS.get(name, ()))
    found: list[Violation] = []
    for rule in rules:
        if rule.enabled is False:
            continue
        broken = list(_broken(workflow, rule))
        found.extend(broken)
        if fail_fast and any(one.severity == "error" for one in broken):
            break
    return SafetyReport(policy=name, violations=tuple(found))


def refuse_unsafe(workflow: WorkflowSpec) -> SafetyReport:
    """Return the report of a workflow that may be run; refuse (422) one that may not."""
    report = check_safety(workflow)
    if report.valid:
        return report
    errors = [one for one in report.violations if one.severity == "error"]
    raise HttpRefusal(
        422,
        "SAFETY_POLICY_VIOLATION",
        f"the safety policy {report.policy!r} is broken: "
        + "; ".join(one.message for one in errors[:10]),
        details={
            "errors": [
                {"path": f"safety_policy.{one.rule}", "message": one.message} for one in errors
            ],
            "violations": msgspec.to_builtins(report.violations),
        },
    )


_Found = Iterator[tuple[str, tuple[str, ...]]]


def _broken(workflow: WorkflowSpec, rule: SafetyRule) -> Iterator[Violation]:
    judge = _JUDGES.get(rule.type, _unknown)
    for message, tasks in judge(workflow, rule):
        yield Violation(
            rule=rule.type,
            severity=rule.severity or "error",
            message=f"{rule.message}: {message}" if rule.message else message,
            task_ids=tasks,
        )


def _followers(workflow: WorkflowSpec, rule: SafetyRule) -> _Found:
    tasks = {task.id: task for task in workflow.tasks}
    approved = set(rule.approved_followers or ())
    for task in workflow.tasks:
        before = [*workflow.dependencies.get(task.id, ()), *(task.depends_on or ())]
        if task.id in approved or task.compensation_action is not None:
            continue
        for name in dict.fromkeys(before):
            critical = tasks.get(name)
            if critical is None or critical.risk_tier != RiskTier.CRITICAL:
                continue
            hook = critical.compensation
            if hook is not None and task.id in {hook.on_failure, hook.on_timeout}:
                continue
            yield (
                f"task {task.id!r} follows the critical task {name!r}; name it in "
                "approved_followers, or say how it is undone",
                (name, task.id),
            )


def _permissions(workflow: WorkflowSpec, rule: SafetyRule) -> _Found:
    tiers = {RiskTier.HIGH, RiskTier.CRITICAL}
    if rule.minimum_risk_tier == RiskTier.CRITICAL:
        tiers = {RiskTier.CRITICAL}
    for task in workflow.tasks:
        if task.risk_tier in tiers and not task.required_permissions:
            yield (
                f"task {task.id!r} is of {task.risk_tier} risk and takes no permission; give it "
                "required_permissions",
                (task.id,),
            )


def _compensation(workflow: WorkflowSpec, _: SafetyRule) -> _Found:
    for task in workflow.tasks:
        if task.risk_tier == RiskTier.CRITICAL and not _can_be_undone(task):
            yield (
                f"task {task.id!r} is of CRITICAL risk and cannot be undone; give it a "
                "compensation_action or a compensation hook",
                (task.id,),
            )


def _can_be_undone(task: TaskSpec) -> bool:
    hook = task.compensation
    return task.compensation_action is not None or (
        hook is not None and (hook.on_failure or hook.on_timeout) is not None
    )


def _cycles(workflow: WorkflowSpec, _: SafetyRule) -> _Found:
    try:
        Graph(workflow)
    except GraphError as error:
        if error.cycle:
            yield f"the tasks wait for one another: {' -> '.join(error.cycle)}", tuple(error.cycle)


def _unknown(_: WorkflowSpec, rule: SafetyRule) -> _Found:
    yield f"the rule {rule.type!r} is none that this server can judge", ()


_JUDGES: Final[Mapping[str, Callable[[WorkflowSpec, SafetyRule], Any]]] = {
    "no_action_after_critical_without_approval": _followers,
    "require_permissions_for_high_risk": _permissions,
    "require_compensation_for_critical": _compensation,
    "no_cycles": _cycles,
}
