"""Gates on results, and what is done about a result that a gate blocks.

    ignore              the result is taken all the same
    retry_alt_tool      another tool runs; its result is judged by the same gate
    ask_user, escalate  a person is asked about the result; it is taken when he accepts it

Without a strategy, or when it comes to nothing, the task fails. Neighbour: `attempt`.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ....workflow.enums import ApprovalStatus, FailureTaxonomy, PolicyRiskTier
from ....workflow.models import (
    Action,
    Commit,
    GateConfig,
    GateResult,
    IgnoreStrategy,
    RetryAltToolStrategy,
)
from .calling import told
from .faults import Blocked, Interrupted, TimedOut

if TYPE_CHECKING:
    from .attempt import Attempt

__all__ = ["held_result", "judged"]

_MOST_RETRIES: Final = 10

_decode = msgspec.json.Decoder().decode


async def judged(attempt: Attempt, result: bytes) -> bytes:
    """Return the result that a gate lets pass, as it is or recovered; raise `Blocked` if none."""
    config = attempt.round.gate_of(attempt.task.id)
    if config is None:
        return result
    found = _judge(attempt, config, result)
    if not found.blocked_commit:
        return result
    strategy = config.recovery
    if strategy is None:
        raise _blocked(found)
    notes = attempt.notes
    notes.update(crvRecovery=str(strategy.type), recoveryAttempted=True, recoverySuccess=False)
    try:
        if isinstance(strategy, IgnoreStrategy):
            recovered = result
        elif isinstance(strategy, RetryAltToolStrategy):
            recovered = await _other_tool(attempt, config, strategy, found)
        else:
            recovered = await _asked(attempt, config, result, found)
    except Blocked:
        _measure(attempt, 0.0)
        raise
    _measure(attempt, 1.0)
    notes["recoverySuccess"] = True
    return recovered


async def held_result(attempt: Attempt) -> bytes | None:
    """Return a result that waited for a person and was accepted; None when the task has to run.

    Raises `Blocked` while nobody has answered.
    """
    record, round = attempt.record, attempt.round
    result = round.results.get(attempt.task.id)
    if not record.held or result is None:
        return None
    config = round.gate_of(attempt.task.id)
    if config is not None:
        action = _acceptance(attempt, config, result)
        status = attempt.consent.standing(action)
        if status in {ApprovalStatus.APPROVED, ApprovalStatus.PENDING, ApprovalStatus.USED}:
            await attempt.consent.obtain_for_data(action, _reason(config, None))
            return result
    # Denied, or too late: what was held is nobody's result.
    record.held = False
    record.approval_token = None
    round.results.pop(attempt.task.id, None)
    return None


def _judge(attempt: Attempt, config: GateConfig, result: bytes) -> GateResult:
    gate, round, task = attempt.equipment.gate, attempt.round, attempt.task
    if gate is None:
        raise Blocked("this server has no gates; start it with them", flag="crvBlocked")
    workflow_id = round.record.workflow_id
    previous = round.previous.get(task.id)
    commit = Commit(
        id=f"{workflow_id}-{task.id}-{attempt.record.attempt}",
        data=_decode(result),
        previous_state=None if previous is None else _decode(previous),
        metadata={"workflowId": workflow_id, "taskId": task.id},
    )
    found = gate.validate(commit, config, owner=round.record.owner)
    said: dict[str, Any] = {
        "status": str(found.crv_status),
        "gateName": found.gate_name,
        "lastCheck": found.timestamp,
    }
    if found.failure_code is not None:
        said["failureCode"] = str(found.failure_code)
    attempt.record.gate = said
    attempt.notes["crvGateResult"] = said
    return found


async def _other_tool(
    attempt: Attempt, config: GateConfig, strategy: RetryAltToolStrategy, found: GateResult
) -> bytes:
    tool = attempt.equipment.tools.find(strategy.tool_name)
    if tool is None:
        raise _blocked(found, f"there is no tool {strategy.tool_name!r} to take instead")
    attempt.check_risk(tool)
    attempt.consent.obtain_other(tool.name)
    problem = ""
    for _ in range(min(strategy.max_retries, _MOST_RETRIES)):
        try:
            result = await attempt.call(tool)
        except (Blocked, Interrupted):
            raise
        except Exception as error:  # noqa: BLE001 - a tool may raise what it likes
            problem = told(error) if not isinstance(error, TimedOut) else "it timed out"
            continue
        found = _judge(attempt, config, result)
        if not found.blocked_commit:
            return result
        problem = ""
    raise _blocked(found, f"{tool.name} did not help{': ' + problem if problem else ''}")


async def _asked(attempt: Attempt, config: GateConfig, result: bytes, found: GateResult) -> bytes:
    record, round = attempt.record, attempt.round
    # Kept until a person has answered: running it again might give another result.
    round.results[attempt.task.id] = result
    record.held = True
    try:
        await attempt.consent.obtain_for_data(
            _acceptance(attempt, config, result), _reason(config, found)
        )
    except Blocked as blocked:
        if blocked.token is None:
            record.held = False
            round.results.pop(attempt.task.id, None)
        raise
    return result


def _acceptance(attempt: Attempt, config: GateConfig, result: bytes) -> Action:
    """Return the taking of a result as an action that a person is asked about."""
    task = attempt.task
    return Action(
        id=task.id,
        name=f"take the result of {task.name}",
        risk_tier=PolicyRiskTier.HIGH,
        required_permissions=[],
        metadata={
            "workflow_id": attempt.round.record.workflow_id,
            "task_id": task.id,
            "gate": config.name,
            "data_sha256": hashlib.sha256(result).hexdigest(),
        },
    )


def _reason(config: GateConfig, found: GateResult | None) -> str:
    strategy = config.recovery_strategy or {}
    asked = strategy.get("prompt") or strategy.get("reason") or "may the result be taken?"
    why = "" if found is None else f" ({_why(found)})"
    return f"gate {config.name} blocked the result{why}: {asked}"


def _why(found: GateResult) -> str:
    reasons = [one.reason for one in found.validation_results if not one.valid and one.reason]
    return "; ".join(reasons) or str(found.failure_code or found.crv_status)


def _blocked(found: GateResult, more: str = "") -> Blocked:
    code = FailureTaxonomy.POLICY_VIOLATION if found.failure_code is None else found.failure_code
    tail = f"; {more}" if more else ""
    return Blocked(
        f"gate {found.gate_name} blocked the result: {_why(found)}{tail}",
        code=str(code),
        flag="crvBlocked",
    )


def _measure(attempt: Attempt, value: float) -> None:
    if attempt.equipment.observer is not None:
        attempt.equipment.observer.metric(
            "crv_recovery_attempt", value, {"workflow_id": attempt.round.record.workflow_id}
        )
