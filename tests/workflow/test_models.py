"""How models are made, checked, shown, sent and read; what holds for every one of them."""

from __future__ import annotations

import copy
import json
import math
import pickle
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ostiary.workflow
from ostiary.errors import InvalidArgumentError as SharedInvalidArgumentError
from ostiary.workflow import models as m
from ostiary.workflow.enums import GoalGuardState, Intent, PolicyRiskTier, RiskTier, TaskType
from ostiary.workflow.errors import AureusError, InvalidArgumentError
from ostiary.workflow.models import accept, reader, wire

from .conftest import NOW, RESULT, SPEC, STATUS
from .modelling import MODELS, anything, of_model

# The models of the guide's package: what must be given, then what may be.
SEED: dict[str, tuple[str, str]] = {
    "RetryConfig": ("max_attempts backoff_ms", "backoff_multiplier jitter"),
    "CompensationAction": ("tool", "args"),
    "CompensationHook": ("", "on_failure on_timeout"),
    "SandboxConfig": ("enabled", "type simulation_mode permissions"),
    "Permission": ("action resource", "intent data_zone conditions"),
    "TaskSpec": (
        "id name type",
        "inputs retry idempotency_key timeout_ms risk_tier compensation compensation_action "
        "tool_name required_permissions allowed_tools intent data_zone sandbox_config",
    ),
    "SafetyRule": ("type", "description"),
    "SafetyPolicy": ("name rules", "description fail_fast"),
    # Where nothing waits for anything, `dependencies` need not say so.
    "WorkflowSpec": (
        "id name tasks", "goal constraints success_criteria dependencies safety_policy",
    ),
    "WorkflowExecutionRequest": ("workflow", "context correlation_id"),
    "TaskExecutionResult": ("task_id status", "result error duration_ms"),
    "WorkflowExecutionResult": (
        "workflow_id status", "task_results error duration_ms correlation_id",
    ),
    "Commit": ("id data", "previous_state metadata"),
    "ValidationResult": ("valid", "reason remediation confidence metadata failure_code"),
    "GateConfig": (
        "name validators block_on_failure", "required_confidence recovery_strategy",
    ),
    "GateResult": (
        "passed gate_name validation_results blocked_commit timestamp crv_status",
        "recovery_strategy failure_code remediation",
    ),
    "RetryAltToolStrategy": ("tool_name max_retries", "type"),
    "AskUserStrategy": ("prompt", "type"),
    "EscalateStrategy": ("reason", "type"),
    "IgnoreStrategy": ("justification", "type"),
    "RecoveryResult": ("success strategy message", "recovered_data"),
    "Principal": ("id type permissions", ""),
    "Action": (
        "id name risk_tier required_permissions", "intent data_zone allowed_tools metadata",
    ),
    "GuardDecision": ("allowed reason requires_human_approval", "approval_token metadata"),
    "StateTransition": ("from_state to_state", ""),
    "AuditEntry": ("timestamp principal action decision", "state_transition approval_token"),
    "PolicyContext": ("principal action current_state audit_log", ""),
    "ApprovalToken": ("token action_id principal expires_at", "used"),
    "TelemetryEvent": (
        "type timestamp data", "workflow_id task_id task_type correlation_id tags",
    ),
    "Metric": ("name value timestamp", "tags"),
    "LogEntry": ("timestamp level message", "context"),
    "Span": ("id trace_id name start_time", "parent_id end_time duration tags logs"),
}  # fmt: skip


def refused(model: Any, /, **given: Any) -> InvalidArgumentError:
    with pytest.raises(InvalidArgumentError) as caught:
        model(**given)
    assert isinstance(caught.value, AureusError)
    assert isinstance(caught.value, SharedInvalidArgumentError)
    assert isinstance(caught.value, ValueError)
    return caught.value


def read(model: Any, document: Any) -> Any:
    return reader(model)(json.dumps(document).encode())


# --- what there is


@pytest.mark.parametrize("name", sorted(SEED))
def test_a_model_of_the_guide_has_its_members(name: str) -> None:
    required, optional = (set(part.split()) for part in SEED[name])
    fields = {one.name: one for one in msgspec.structs.fields(getattr(m, name))}
    assert {one.name for one in fields.values() if one.required} == required
    assert optional <= fields.keys()


def test_the_package_offers_every_model() -> None:
    for model in MODELS:
        assert getattr(ostiary.workflow, model.__name__) is model
        assert model.__name__ in ostiary.workflow.__all__
        assert model.__doc__


def test_the_package_has_what_it_offers() -> None:
    for name in ostiary.workflow.__all__:
        assert getattr(ostiary.workflow, name) is not None
    with pytest.raises(AttributeError):
        _ = ostiary.workflow.nonsense  # type: ignore[attr-defined]
    assert ostiary.workflow.AureusClient is ostiary.workflow.AsyncWorkflowClient
    assert ostiary.workflow.AureusSyncClient is ostiary.workflow.WorkflowClient


# --- what holds for all of them

lots = settings(max_examples=4, suppress_health_check=list(HealthCheck), deadline=None)


@pytest.mark.parametrize("model", MODELS, ids=lambda one: one.__name__)
@lots
@given(data=st.data())
def test_what_is_sent_is_read_again(model: Any, data: st.DataObject) -> None:
    made = data.draw(of_model(model))
    body = msgspec.json.encode(wire(made))
    assert reader(model)(body) == made
    assert reader(list[model])(b"[" + body + b"]") == [made]
    assert accept(model, json.loads(body)) == made
    assert pickle.loads(pickle.dumps(made)) == made
    assert copy.deepcopy(made) == made
    assert model.from_dict(made.to_dict()) == made
    assert repr(made).startswith(f"{model.__name__}(")
    # As the guide's client sends them: with a null for what is not set.
    bare = model(**fields_of(made))
    assert reader(model)(msgspec.json.encode(bare)) == bare


@pytest.mark.parametrize("model", MODELS, ids=lambda one: one.__name__)
@lots
@given(data=st.data())
def test_camel_case_is_read_too(model: Any, data: st.DataObject) -> None:
    made = data.draw(of_model(model))
    plain = model(**fields_of(made))
    assert reader(model)(msgspec.json.encode(cameled(model, plain.to_dict()))) == plain


def fields_of(made: Any) -> dict[str, Any]:
    return {name: getattr(made, name) for name in type(made).__struct_fields__ if name != "_extra"}


def cameled(model: Any, document: dict[str, Any]) -> dict[str, Any]:
    """Return an object as the original's servers write it; free data stays as it is."""
    names = {one.encode_name for one in msgspec.structs.fields(model)}
    return {camel(name) if name in names else name: value for name, value in document.items()}


def camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(one.capitalize() for one in rest)


@pytest.mark.parametrize("model", MODELS, ids=lambda one: one.__name__)
def test_a_reply_of_another_shape_is_an_error_and_no_crash(model: Any) -> None:
    for document in (None, [], [None], "text", 5, True):
        with pytest.raises(msgspec.ValidationError):
            read(model, document)


@pytest.mark.parametrize("model", MODELS, ids=lambda one: one.__name__)
@lots
@given(document=st.dictionaries(st.text(max_size=4), anything))
def test_any_object_is_read_or_refused(model: Any, document: dict[str, Any]) -> None:
    names = [one.encode_name for one in msgspec.structs.fields(model)]
    mixed = {names[len(key) % len(names)]: value for key, value in document.items()}
    for one in (document, mixed):
        with suppress(msgspec.ValidationError):
            assert isinstance(read(model, one), model)


# --- making one


def test_the_guide_s_workflow() -> None:
    task = m.TaskSpec(
        id="read-data",
        name="Read Input Data",
        type=TaskType.ACTION,
        tool_name="read_file",
        risk_tier=RiskTier.LOW,
        intent=Intent.READ,
        retry=m.RetryConfig(max_attempts=3, backoff_ms=1000, backoff_multiplier=2.0, jitter=True),
    )
    spec = m.WorkflowSpec(id="w", name="W", tasks=[task], dependencies={"read-data": []})
    assert spec.to_dict() == {
        "id": "w",
        "name": "W",
        "tasks": [
            {
                "id": "read-data",
                "name": "Read Input Data",
                "type": "action",
                "tool_name": "read_file",
                "risk_tier": "LOW",
                "intent": "read",
                "retry": {
                    "max_attempts": 3,
                    "backoff_ms": 1000,
                    "backoff_multiplier": 2.0,
                    "jitter": True,
                },
            }
        ],
        "dependencies": {"read-data": []},
    }


TASK = {"id": "t", "name": "T", "type": "action"}
RETRY = {"max_attempts": 1, "backoff_ms": 1}
GATE = {"name": "g", "validators": [], "block_on_failure": True}


@pytest.mark.parametrize(
    ("model", "given", "field"),
    [
        (m.TaskSpec, TASK | {"id": ""}, "id"),
        (m.TaskSpec, TASK | {"name": ""}, "name"),
        (m.TaskSpec, TASK | {"timeout_ms": 0}, "timeout_ms"),
        (m.TaskSpec, TASK | {"timeout_ms": -5}, "timeout_ms"),
        (m.TaskSpec, TASK | {"type": "loop"}, "type"),
        (m.TaskSpec, TASK | {"risk_tier": "HUGE"}, "risk_tier"),
        (m.TaskSpec, TASK | {"toolName": "x"}, "toolName"),
        (m.TaskSpec, TASK | {"retry": RETRY | {"max_attempts": 0}}, "retry.max_attempts"),
        (m.RetryConfig, RETRY | {"backoff_ms": 0}, "backoff_ms"),
        (m.RetryConfig, RETRY | {"backoff_multiplier": -1}, "backoff_multiplier"),
        (m.RetryConfig, RETRY | {"backoff_multiplier": math.nan}, "backoff_multiplier"),
        (m.RetryConfig, RETRY | {"max_attempts": "2"}, "max_attempts"),
        (m.WorkflowSpec, {"id": "w", "name": "W", "tasks": [5]}, "tasks[0]"),
        (m.WorkflowSpec, {"id": "w", "name": "W", "tasks": [TASK | {"id": 3}]}, "tasks[0].id"),
        (m.GateConfig, GATE | {"required_confidence": 1.1}, "required_confidence"),
        (m.RetryAltToolStrategy, {"tool_name": "t", "max_retries": 0}, "max_retries"),
        (m.SafetyRule, {"type": "no_cycles", "severity": "fatal"}, "severity"),
        (m.Metric, {"name": "m", "value": math.nan, "timestamp": NOW}, "value"),
        (m.Metric, {"name": "m", "value": math.inf, "timestamp": NOW}, "value"),
        (m.Metric, {"name": "m", "value": 1, "timestamp": "not a time"}, "timestamp"),
        (m.Metric, {"name": "m", "value": 1, "timestamp": NOW, "tags": {"a": 1}}, "tags"),
        (m.Span, {"id": "s", "trace_id": "t", "name": "n", "start_time": NOW, "duration": -1},
         "duration"),
        (m.Span, {"id": "s", "trace_id": "t", "name": "n", "start_time": "x"}, "start_time"),
        (m.TelemetryEvent, {"type": "step_end", "timestamp": "", "data": {}}, "timestamp"),
        (m.Principal, {"id": "", "type": "agent", "permissions": []}, "id"),
        (m.Commit, {"id": "", "data": None}, "id"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(model: Any, given: dict[str, Any], field: str) -> None:
    error = refused(model, **given)
    assert [place.partition("...")[0] for place, _ in error.problems] == [field] or (
        error.problems[0][0].startswith(field)
    )


def test_all_that_is_wrong_is_told_at_once() -> None:
    error = refused(m.WorkflowSpec, name="", tasks=[{"id": "a"}, TASK | {"timeout_ms": 0}])
    assert {place for place, _ in error.problems} == {
        "id",
        "name",
        "tasks[0].name",
        "tasks[0].type",
        "tasks[1].timeout_ms",
    }


def test_a_slip_of_the_pen_is_noticed() -> None:
    error = refused(m.TaskSpec, **TASK, tool="read_file")
    assert "is no field of TaskSpec" in str(error)
    error = refused(m.TaskSpec, **TASK, tool_nam="read_file")
    assert "did you mean tool_name?" in str(error)


# --- words of both casings


def test_either_vocabulary_of_risk_is_read_anywhere() -> None:
    assert m.TaskSpec(**TASK, risk_tier="high").risk_tier == RiskTier.HIGH  # type: ignore[arg-type]
    action = m.Action(
        id="a",
        name="A",
        risk_tier="HIGH",  # type: ignore[arg-type]
        required_permissions=[],
    )
    assert action.risk_tier == PolicyRiskTier.HIGH
    assert action.to_dict()["risk_tier"] == "high"
    task = m.TaskSpec(**TASK, risk_tier=PolicyRiskTier.LOW)  # type: ignore[arg-type]
    assert task.to_dict()["risk_tier"] == "LOW"


def test_the_states_of_a_transition_have_their_names_on_the_wire() -> None:
    made = m.StateTransition(from_state=GoalGuardState.IDLE, to_state=GoalGuardState.APPROVED)
    assert made.to_dict() == {"from": "idle", "to": "approved"}
    for document in (
        {"from": "idle", "to": "approved"},
        {"from_state": "idle", "to_state": "approved"},
        {"fromState": "idle", "toState": "approved"},
    ):
        assert m.StateTransition.from_dict(document) == made
        assert read(m.StateTransition, document) == made


def test_kinds_of_events_that_nobody_has_heard_of() -> None:
    document = {"type": "llm_prompt", "timestamp": NOW, "data": {}}
    for event in (m.TelemetryEvent(**document), read(m.TelemetryEvent, document)):  # type: ignore[arg-type]
        assert event.type == event.type.raw == "llm_prompt"
        assert not event.type.is_known
        assert event.to_dict()["type"] == "llm_prompt"


# --- times


@pytest.mark.parametrize(
    "when",
    ["2031-04-02T01:00:00", "2031-04-02T01:00:00Z", "2031-04-02T01:00:00.123456+02:00"],
)
def test_times_are_text_and_stay_as_they_were_given(when: str) -> None:
    metric = m.Metric(name="m", value=1, timestamp=when)
    assert metric.to_dict()["timestamp"] == when


# --- strategies of recovery


@pytest.mark.parametrize(
    "strategy",
    [
        m.RetryAltToolStrategy(tool_name="other", max_retries=2),
        m.AskUserStrategy(prompt="?"),
        m.EscalateStrategy(reason="desk"),
        m.IgnoreStrategy(justification="known"),
    ],
    ids=lambda one: one.type,
)
def test_a_strategy_is_a_model_or_its_mapping(strategy: Any) -> None:
    config = m.GateConfig(**GATE, recovery_strategy=strategy.to_dict())  # type: ignore[arg-type]
    assert config.recovery == strategy
    mapped = cameled(type(strategy), strategy.to_dict())
    assert read(m.GateConfig, GATE | {"recoveryStrategy": mapped}).recovery == strategy


def test_a_strategy_that_nobody_has_heard_of() -> None:
    config = read(m.GateConfig, GATE | {"recovery_strategy": {"type": "pray"}})
    assert config.recovery is None
    assert config.recovery_strategy == {"type": "pray"}


# --- a status


def test_a_status_is_a_model_and_a_mapping() -> None:
    status = read(m.WorkflowStatus, STATUS | {"news": [1]})
    assert isinstance(status, Mapping)
    assert status["progress"] == status.progress == 0.5
    assert status["news"] == [1]
    assert "news" in status
    assert "nothing" not in status
    assert status.get("nothing", 7) == 7
    assert len(status) == len(list(status)) == len(status.values())
    assert dict(status.items())["workflow_id"] == "ledger-7"
    assert not status.is_terminal
    assert read(m.WorkflowStatus, STATUS | {"status": "cancelled"}).is_terminal


def test_a_result_knows_whether_all_is_well() -> None:
    assert read(m.WorkflowExecutionResult, RESULT).succeeded
    assert not read(m.WorkflowExecutionResult, RESULT | {"status": "partial"}).succeeded


def test_a_model_checks_its_graph() -> None:
    spec = m.WorkflowSpec.from_dict(SPEC)
    spec.check()
    assert spec.layers() == [["pull"], ["post"]]
    assert "Pull rows" in spec.to_mermaid()
    assert spec.to_svg().startswith("<svg")
    result = m.WorkflowExecutionResult.from_dict(RESULT)
    assert "Post totals" in result.to_mermaid(spec)
    assert result.to_svg(spec).startswith("<svg")
