"""A model is made in one step where nothing is wrong: it is what looking at each field gives."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import pytest

from ostiary._model import model as models
from ostiary.workflow import (
    InvalidArgumentError,
    Metric,
    Permission,
    RetryConfig,
    RiskTier,
    TaskSpec,
    TaskType,
    TelemetryEvent,
    WorkflowSpec,
)

RETRY = RetryConfig(max_attempts=3, backoff_ms=200)
NOW = "2031-05-06T10:00:00Z"


class Odd(RetryConfig):
    """A caller's own kind of it."""


def task(**more: Any) -> dict[str, Any]:
    return {"id": "a", "name": "A", "type": TaskType.ACTION, **more}


def flow(**more: Any) -> dict[str, Any]:
    return {"id": "w", "name": "W", "tasks": [TaskSpec(**task())], **more}


CASES: dict[str, tuple[type[Any], dict[str, Any], bool]] = {
    "whole": (TaskSpec, task(retry=RETRY, risk_tier="LOW", timeout_ms=5), True),
    "an empty optional text": (TaskSpec, task(tool_name=""), False),
    "a bound": (TaskSpec, task(timeout_ms=0), False),
    "an unknown word": (TaskSpec, task(risk_tier="rumour"), False),
    "a word by another spelling": (TaskSpec, task(risk_tier=RiskTier("low")), True),
    "a part as a mapping": (TaskSpec, task(retry={"max_attempts": 3, "backoff_ms": 1}), True),
    "a bad part as a mapping": (TaskSpec, task(retry={"max_attempts": 0, "backoff_ms": 1}), False),
    "a part of another kind": (TaskSpec, task(retry=Permission(action="a", resource="b")), False),
    "a part of a caller's kind": (
        TaskSpec,
        task(retry=Odd(max_attempts=1, backoff_ms=1)),
        True,
    ),
    "an unknown field": (TaskSpec, task(timeout=5), False),
    "something beyond": (TaskSpec, task(extra={"colour": "red"}), True),
    "a list of parts": (WorkflowSpec, flow(), True),
    "a tuple of parts": (WorkflowSpec, flow(tasks=(TaskSpec(**task()),)), True),
    "one of them a mapping": (WorkflowSpec, flow(tasks=[TaskSpec(**task()), task()]), True),
    "one of them bad": (WorkflowSpec, flow(tasks=[TaskSpec(**task()), {"id": ""}]), False),
    "no list": (WorkflowSpec, flow(tasks="a"), False),
    "a rule": (Metric, {"name": "m", "value": float("nan"), "timestamp": NOW}, False),
    "a kept rule": (Metric, {"name": "m", "value": 1, "timestamp": NOW}, True),
    "no time": (TelemetryEvent, {"type": "custom", "timestamp": "noon", "data": {}}, False),
    "a kind of one's own": (TelemetryEvent, {"type": "mine", "timestamp": NOW, "data": {}}, True),
}


def outcome(model: type[Any], members: dict[str, Any], call: bool) -> object:
    try:
        made = model(**members) if call else models.accept(model, members)
    except InvalidArgumentError as error:
        return str(error), error.problems
    return repr(made), repr(models.wire(made)), repr(dict(made.extra))


@pytest.mark.parametrize("call", [True, False], ids=["call", "mapping"])
@pytest.mark.parametrize("name", CASES)
def test_both_roads_give_the_same(name: str, call: bool) -> None:
    model, members, _ = CASES[name]
    shorter = outcome(model, members, call)
    with patch.object(models, "_made_at_once", lambda *_: None):
        assert outcome(model, members, call) == shorter


@pytest.mark.parametrize("name", CASES)
def test_what_is_wrong_is_refused_by_either(name: str) -> None:
    model, members, fits = CASES[name]
    assert (len(outcome(model, members, True)) == 3) is fits  # type: ignore[arg-type]


@pytest.mark.parametrize("model", [TaskSpec, WorkflowSpec, TelemetryEvent, Metric])
def test_these_take_the_shorter_road(model: type[Any]) -> None:
    assert models._plan(model).at_once  # pyright: ignore[reportPrivateUsage]
