"""What an agent tells the workflow server, and what it must be told: its leave, its workflow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ostiary.workflow import (
    Action,
    GoalGuardState,
    GuardDecision,
    PolicyContext,
    PolicyRiskTier,
    Principal,
    PrincipalType,
    RiskTier,
    TaskSpec,
    TaskType,
    TelemetryEventType,
    TelemetryPipeline,
    WorkflowExecutionResult,
    WorkflowSpec,
)

from .services import DemoError

if TYPE_CHECKING:
    from .agents import Agent

REASON = "It is what the demonstration is about"
TASKS = 3


def written(agent: Agent, task: str) -> WorkflowSpec:
    """Return a workflow that writes, reads and picks out what the agent is to do."""
    path = f"{agent.name}.json"
    return WorkflowSpec(
        id=f"{agent.name}/{agent.flows}",
        name=task,
        tasks=[
            TaskSpec(
                id="note",
                name="Note it",
                type=TaskType.ACTION,
                tool_name="write_file",
                risk_tier=RiskTier.MEDIUM,
                inputs={"path": path, "content": {"task": task}},
            ),
            TaskSpec(
                id="look",
                name="Look it up",
                type=TaskType.ACTION,
                tool_name="read_file",
                risk_tier=RiskTier.LOW,
                inputs={"path": path},
            ),
            TaskSpec(
                id="tell",
                name="Tell it",
                type=TaskType.ACTION,
                tool_name="transform_data",
                inputs={"expression": "task"},
            ),
        ],
        dependencies={"look": ["note"], "tell": ["look"]},
    )


def risky(agent: Agent) -> tuple[Action, Principal]:
    action = Action(
        id=f"purge-{agent.name}",
        name="Purge the archive",
        risk_tier=PolicyRiskTier.CRITICAL,
        required_permissions=[],
    )
    return action, Principal(id=agent.name, type=PrincipalType.AGENT, permissions=[])


def judged(action: Action, principal: Principal) -> PolicyContext:
    return PolicyContext(
        principal=principal, action=action, current_state=GoalGuardState.IDLE, audit_log=[]
    )


# --- what comes back


def passed(agent: Agent, decision: GuardDecision) -> None:
    """Take a decision on what was approved."""
    if not decision.allowed:
        raise DemoError(f"what was approved may not be done: {decision.reason}")
    agent.approved += 1


def ran(
    agent: Agent, task: str, result: WorkflowExecutionResult, pipeline: TelemetryPipeline
) -> None:
    """Take the end of a workflow: of this round, and with what its first task was given."""
    told = result.task_results.get("tell")
    if not result.succeeded or told is None or told.result != task:
        raise DemoError(f"a workflow ended as {result.status}: {result.error}")
    if len(result.task_results) != TASKS:
        raise DemoError("a workflow has tasks that it had not")
    pipeline.event(TelemetryEventType.CUSTOM, {"task": task}, workflow_id=result.workflow_id)
    agent.flows += 1
