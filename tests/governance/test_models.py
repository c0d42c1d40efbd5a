"""What replies become: of either kind of server, with anything missing, null or unknown."""

from __future__ import annotations

import json
import pickle
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.errors import OstiaryError
from ostiary.governance import (
    AgentResult,
    ChatResponse,
    ErrorResponse,
    HealthResponse,
    HestiaProtocolError,
    RunResponse,
    StreamEvent,
    SystemMetrics,
    SystemStatus,
    TraceResponse,
)
from ostiary.governance import _routes as routes

from .conftest import RUN

SEED: dict[Any, tuple[str, ...]] = {
    RunResponse: ("result", "trace_id", "output", "mode", "budget", "latency_ms"),
    TraceResponse: ("trace_id", "decision", "violations", "latency_ms"),
    HealthResponse: ("status", "version", "uptime_seconds"),
    ErrorResponse: ("error", "code", "message", "trace_id"),
    ChatResponse: ("result", "session_id", "trace_id"),
    AgentResult: ("result", "agent_id", "trace_id"),
    SystemStatus: ("status", "version", "uptime_seconds"),
    SystemMetrics: ("metrics",),
}
FROZEN = {RunResponse, TraceResponse, HealthResponse, ErrorResponse, StreamEvent}
# What each cannot do without, and a value for everything else that has another type than text.
KEYS: dict[Any, dict[str, Any]] = {
    RunResponse: {"trace_id": "t"},
    TraceResponse: {"trace_id": "t"},
    HealthResponse: {"status": "ok"},
    ErrorResponse: {},
    ChatResponse: {},
    AgentResult: {"agent_id": "a"},
    SystemStatus: {"status": "OK"},
    SystemMetrics: {},
}
VALUES: dict[str, Any] = {
    "violations": [{"rule": "R"}],
    "latency_ms": 1.5,
    "uptime_seconds": 2.5,
    "metrics": {"cpu_percent": 3.0},
    "budget": 0.5,
}


@pytest.mark.parametrize("model", SEED, ids=lambda m: m.__name__)
def test_the_fields_of_the_guide(model: Any) -> None:
    given_ = {name: VALUES.get(name, name) for name in SEED[model]}
    one = model(**given_)
    for name, value in given_.items():
        assert getattr(one, name) == value
    # In the guide's order, before those it does not name.
    assert model.__struct_fields__[: len(SEED[model])] == SEED[model]
    assert pickle.loads(pickle.dumps(one)) == one
    with pytest.raises(TypeError):
        model("by position")


@pytest.mark.parametrize("model", [*SEED, StreamEvent], ids=lambda m: m.__name__)
def test_which_may_be_changed(model: Any) -> None:
    one = model("start") if model is StreamEvent else model(**KEYS[model])
    name = one.__struct_fields__[0]
    if model in FROZEN:
        with pytest.raises(AttributeError):
            setattr(one, name, "x")
    else:
        setattr(one, name, "x")
        assert getattr(one, name) == "x"


ROUTES = {
    RunResponse: routes.RUN,
    HealthResponse: routes.HEALTH,
    ChatResponse: routes.CHAT,
    AgentResult: routes.AGENTS_RUN,
    SystemStatus: routes.SYSTEM_STATUS,
    SystemMetrics: routes.SYSTEM_METRICS,
}


def decoded(model: Any, body: Any) -> Any:
    decode = ROUTES[model].decode
    assert decode is not None
    return decode(json.dumps(body).encode())


@pytest.mark.parametrize("model", ROUTES, ids=lambda m: m.__name__)
def test_absent_null_and_unknown_members(model: Any) -> None:
    keys = KEYS[model]
    bare = decoded(model, keys)
    nulls = dict.fromkeys(model.__struct_fields__) | keys
    if model is SystemMetrics:
        assert bare == SystemMetrics(metrics={})
        # The body is the metrics, nulls and all, where it holds none of that name.
        del nulls["metrics"]
        assert decoded(model, nulls) == SystemMetrics(metrics=nulls)
        return
    assert bare == decoded(model, nulls) == decoded(model, keys | {"brand_new": {"x": [1]}})
    assert bare == model(**keys)
    for key in keys:
        with pytest.raises(msgspec.ValidationError):
            decoded(model, {k: v for k, v in keys.items() if k != key})
        with pytest.raises(msgspec.ValidationError):
            decoded(model, keys | {key: None})
    for wrong in ([], "text", None, 1):
        with pytest.raises(msgspec.ValidationError):
            decoded(model, wrong)


@pytest.mark.parametrize(
    ("body", "decision", "text"),
    [
        # The package's meaning, and the guide's.
        ({"result": "ALLOW", "output": "four", "mode": "NORMAL"}, "ALLOW", "four"),
        ({"result": "four", "output": "four", "mode": "ALLOW"}, "ALLOW", "four"),
        ({"result": "four", "output": None, "mode": "THROTTLE"}, "THROTTLE", "four"),
        ({"result": "BLOCK", "output": None, "mode": "NORMAL"}, "BLOCK", None),
        ({"result": "throttle", "mode": "normal"}, "THROTTLE", None),
        # Text that reads like a decision, beside a decision.
        ({"result": "BLOCK", "output": "BLOCK", "mode": "ALLOW"}, "ALLOW", "BLOCK"),
        ({"result": "four", "mode": "NORMAL"}, None, "four"),
        ({"result": "", "output": "", "mode": ""}, None, ""),
        ({}, None, None),
    ],
)
def test_decision_and_text_are_the_same_for_both_servers(
    body: dict[str, Any], decision: str | None, text: str | None
) -> None:
    run = decoded(RunResponse, {"trace_id": "t", **body})
    assert (run.decision, run.text) == (decision, text)
    assert run.result == body.get("result", "")  # as it was sent


@pytest.mark.parametrize(
    ("model", "one", "other"),
    [(ChatResponse, "result", "response"), (AgentResult, "result", "output")],
)
def test_two_names_of_one_thing(model: Any, one: str, other: str) -> None:
    keys = KEYS[model]
    for name in (one, other):
        for made in (model(**keys, **{name: "hello"}), decoded(model, keys | {name: "hello"})):
            assert getattr(made, one) == getattr(made, other) == "hello"
            setattr(made, name, "changed")
            assert getattr(made, one) == getattr(made, other) == "changed"
    assert model(**keys, **{one: "x"}) == model(**keys, **{other: "x"})
    assert getattr(model(**keys), one) is None


def test_metrics_of_either_shape() -> None:
    figures = {"cpu_percent": 3.0, "requests_total": 9, "own": {"x": 1}}
    for body in (figures, {"metrics": figures}, {"metrics": figures, "cpu_percent": 3.0}):
        found = decoded(SystemMetrics, body)
        assert found.metrics == figures
        assert (found.cpu_percent, found.requests_total, found.gpu_percent) == (3.0, 9, None)


def test_typed_readings_of_raw_answers() -> None:
    trace = TraceResponse.from_raw({"trace_id": "t", "violations": None, "new": 1})
    assert trace == TraceResponse(trace_id="t")
    error = ErrorResponse.from_raw({"code": "X", "message": "m", "details": {"a": 1}})
    assert (error.code, error.details, error.trace_id) == ("X", {"a": 1}, None)
    with pytest.raises(HestiaProtocolError, match="trace_id"):
        TraceResponse.from_raw({"decision": "ALLOW"})
    with pytest.raises(HestiaProtocolError) as caught:
        TraceResponse.from_raw({"trace_id": "t", "risk_score": "s3cret"})
    assert "s3cret" not in str(caught.value)


def test_no_reason_on_a_run() -> None:
    assert not hasattr(RunResponse(**RUN), "reason")  # type: ignore[arg-type]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["trace_id", "metrics", "status", "result", "output", "x"])
            | st.text(max_size=4),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_no_body_is_more_than_unreadable(value: Any) -> None:
    body = json.dumps(value).encode()
    for model, route in ROUTES.items():
        assert route.decode is not None
        try:
            assert isinstance(route.decode(body), model)
        except (msgspec.DecodeError, OstiaryError):
            pass
