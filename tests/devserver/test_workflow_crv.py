"""Gates and their validators: each kind at its edges, and the decision that comes of them."""

from __future__ import annotations

import http.server
import math
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.devserver.clock import Clock
from ostiary.devserver.http.refusals import HttpRefusal
from ostiary.devserver.workflow.crv.expressions import compiled
from ostiary.devserver.workflow.crv.gate import REMEDIES, Gate
from ostiary.devserver.workflow.crv.registry import Registration, Registry
from ostiary.devserver.workflow.crv.validators import KINDS, set_up
from ostiary.workflow.enums import FailureTaxonomy
from ostiary.workflow.models import Commit, GateConfig, GateResult, ValidationResult

TAUGHT = {"name": "Ann", "age": 3, "tags": []}


class Kept:
    def __init__(self) -> None:
        self.rows: dict[str, Registration] = {}

    def get(self, key: str) -> Registration | None:
        return self.rows.get(key)

    def put(self, key: str, value: Registration) -> None:
        self.rows[key] = value

    def delete(self, key: str) -> bool:
        return self.rows.pop(key, None) is not None

    def all(self) -> list[Registration]:
        return list(self.rows.values())


def commit(data: Any, before: Any = None) -> Commit:
    return Commit(id="c", data=data, previous_state=before)


def look(kind: str, parameters: dict[str, Any], data: Any, before: Any = None) -> ValidationResult:
    return set_up(kind, parameters)(commit(data, before))


BOUNDS = {"field": "n", "min": 0, "max": 10}
BAND = {"field": "n", "mean": 10, "stddev": 2}
HISTORY = {"field": "n", "history": [9, 10, 11]}
EQUAL = {"rules": [{"name": "sum", "fields": ["a", "b"], "predicate": "a == b", "message": "no"}]}
SINCE = {"timestamp_field": "at", "version_field": "v", "max_time_drift": 1000}

# kind, parameters, data, previous state; then the failure code (None: valid) and confidence
CASES: list[tuple[str, dict[str, Any], Any, Any, str | None, float]] = [
    ("not_null", {}, 0, None, None, 1),
    ("not_null", {}, "", None, None, 1),
    ("not_null", {}, {}, None, None, 1),
    ("not_null", {}, None, None, "MISSING_DATA", 1),
    ("schema", {"name": "string", "age": "number"}, TAUGHT, None, None, 1),
    ("schema", {"name": "string"}, {}, None, "MISSING_DATA", 1),
    ("schema", {"age": "string"}, TAUGHT, None, "CONFLICT", 1),
    ("schema", {"age": "boolean"}, {"age": 1}, None, "CONFLICT", 1),
    ("schema", {"age": "number"}, {"age": True}, None, "CONFLICT", 1),
    # The original takes arrays and null for objects.
    ("schema", {"tags": "object"}, TAUGHT, None, "CONFLICT", 1),
    ("schema", {"name": "object"}, {"name": None}, None, "CONFLICT", 1),
    ("schema", {"name": "string"}, [1], None, "CONFLICT", 1),
    ("schema", {"name": "string"}, 5, None, "CONFLICT", 1),
    ("json_schema", {"required": ["name"]}, {}, None, "MISSING_DATA", 1),
    ("json_schema", {"properties": {"age": {"minimum": 5}}}, TAUGHT, None, "CONFLICT", 1),
    ("json_schema", {"properties": {"age": {"minimum": 3}}}, TAUGHT, None, None, 1),
    ("monotonic", {}, {"version": 1}, None, None, 1),
    ("monotonic", {}, {"version": 1}, {"version": 1}, None, 0.9),
    ("monotonic", {}, {"version": 1}, {"version": 2}, "CONFLICT", 0.9),
    ("monotonic", {}, {"version": "b"}, {"version": "a"}, None, 0.9),
    ("monotonic", {}, {"version": "a"}, {"version": "b"}, "CONFLICT", 0.9),
    ("monotonic", {}, {"version": "1"}, {"version": 1}, "CONFLICT", 0.9),
    ("monotonic", {}, 5, {"version": 1}, None, 1),
    ("max_size", {"max_bytes": 4}, "ab", None, None, 1),
    ("max_size", {"max_bytes": 3}, "ab", None, "OUT_OF_SCOPE", 1),
    # Bytes, not characters.
    ("max_size", {"max_bytes": 4}, "\u00e9\u00e9", None, "OUT_OF_SCOPE", 1),
    ("statistical_bounds", BOUNDS, {"n": 0}, None, None, 1),
    ("statistical_bounds", BOUNDS, {"n": 10}, None, None, 1),
    ("statistical_bounds", BOUNDS, {"n": -0.1}, None, "OUT_OF_SCOPE", 1),
    ("statistical_bounds", BOUNDS, {"n": 10.1}, None, "OUT_OF_SCOPE", 1),
    ("statistical_bounds", BOUNDS, {}, None, "MISSING_DATA", 1),
    ("statistical_bounds", BOUNDS, {"n": "5"}, None, "CONFLICT", 1),
    ("statistical_bounds", BOUNDS, {"n": True}, None, "CONFLICT", 1),
    ("statistical_bounds", BOUNDS, [5], None, "MISSING_DATA", 1),
    ("statistical_bounds", {"field": "a.n", "min": 0}, {"a": {"n": 1}}, None, None, 1),
    ("statistical_bounds", BAND, {"n": 16}, None, None, 1),
    ("statistical_bounds", BAND, {"n": 17}, None, "OUT_OF_SCOPE", 0.83),
    ("statistical_bounds", BAND, {"n": 99}, None, "OUT_OF_SCOPE", 0),
    ("statistical_bounds", {**BAND, "stddev": 0}, {"n": 10}, None, None, 1),
    ("statistical_bounds", {**BAND, "stddev": 0}, {"n": 10.5}, None, "OUT_OF_SCOPE", 1),
    ("anomaly_detection", {"field": "n", "history": [1]}, {"n": 99}, None, None, 0.5),
    ("anomaly_detection", HISTORY, {"n": 10}, None, None, 1),
    ("anomaly_detection", HISTORY, {"n": 13}, None, None, 0.7),
    ("anomaly_detection", HISTORY, {"n": 14.5}, None, "OUT_OF_SCOPE", 0.5),
    ("anomaly_detection", HISTORY, {"n": 100}, None, "OUT_OF_SCOPE", 0),
    ("anomaly_detection", {"field": "n", "history": [5, 5]}, {"n": 5}, None, None, 1),
    ("anomaly_detection", {"field": "n", "history": [5, 5]}, {"n": 6}, None, "OUT_OF_SCOPE", 1),
    ("cross_field_consistency", EQUAL, {"a": 1, "b": 1}, None, None, 1),
    ("cross_field_consistency", EQUAL, {"a": 1, "b": 2}, None, "CONFLICT", 1),
    ("cross_field_consistency", EQUAL, {"a": 1}, None, "MISSING_DATA", 1),
    ("cross_field_consistency", EQUAL, "text", None, "MISSING_DATA", 1),
    (
        "cross_field_consistency",
        {"rules": [{"name": "odd", "predicate": "abs(a) > `0`"}]},
        {"a": "text"},
        None,
        "TOOL_ERROR",
        0.5,
    ),
    ("temporal_monotonic", SINCE, {"v": 2}, {"v": 1}, None, 0.95),
    ("temporal_monotonic", SINCE, {"v": 1}, {"v": 1}, "CONFLICT", 0.95),
    ("temporal_monotonic", {**SINCE, "allow_equal": True}, {"v": 1}, {"v": 1}, None, 0.95),
    ("temporal_monotonic", SINCE, {"v": 1}, {"v": 2}, "CONFLICT", 0.95),
    (
        "temporal_monotonic",
        SINCE,
        {"at": "2026-03-01T10:00:00.5Z"},
        {"at": "2026-03-01T10:00:00Z"},
        None,
        0.95,
    ),
    (
        "temporal_monotonic",
        SINCE,
        {"at": "2026-03-01T10:00:02Z"},
        {"at": "2026-03-01T10:00:00Z"},
        "NON_DETERMINISM",
        0.8,
    ),
    ("temporal_monotonic", SINCE, {"at": 1000}, {"at": 2000}, "CONFLICT", 0.95),
    ("temporal_monotonic", SINCE, {}, {"at": 1, "v": 1}, None, 0.95),
]


@pytest.mark.parametrize(
    ("kind", "parameters", "data", "before", "code", "confidence"),
    CASES,
    ids=[f"{number}-{case[0]}" for number, case in enumerate(CASES)],
)
def test_validators(
    kind: str, parameters: dict[str, Any], data: Any, before: Any, code: str, confidence: float
) -> None:
    found = look(kind, parameters, data, before)
    assert found.valid is (code is None), found
    assert found.failure_code == code
    assert found.confidence == pytest.approx(confidence, abs=1e-9)
    assert (found.reason is None) is found.valid


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["n", "v", "at", "a", "b", "version"]), inner, max_size=4)
    ),
    max_leaves=10,
)

PARAMETERS: dict[str, dict[str, Any]] = {
    "not_null": {},
    "schema": {"n": "number"},
    "json_schema": {"type": "object"},
    "monotonic": {},
    "max_size": {"max_bytes": 20},
    "statistical_bounds": {**BOUNDS, "mean": 5, "stddev": 1},
    "anomaly_detection": HISTORY,
    "cross_field_consistency": EQUAL,
    "temporal_monotonic": SINCE,
}


@given(st.sampled_from(sorted(KINDS)), json_values, json_values)
def test_no_shape_of_data_breaks_a_validator(kind: str, data: Any, before: Any) -> None:
    found = look(kind, PARAMETERS[kind], data, before)
    assert found.valid is (found.failure_code is None)
    assert found.confidence is not None
    assert 0 <= found.confidence <= 1


# -- gates ----------------------------------------------------------------------------------


def gate(**functions: Any) -> Gate:
    return Gate(Registry(Kept(), functions), Clock(wall=lambda: 1_900_000_000.0))


def judge(one: Gate, *names: str, block: bool = True, **more: Any) -> GateResult:
    config = GateConfig(name="g", validators=list(names), block_on_failure=block, **more)
    return one.validate(commit(None), config)


def says(valid: bool, confidence: float | None = 1.0, **more: Any) -> Any:
    return lambda *_: ValidationResult(valid=valid, confidence=confidence, **more)


@pytest.mark.parametrize(
    ("failed", "block", "passed", "blocked", "status", "echoed"),
    [
        (False, True, True, False, "passed", False),
        (False, False, True, False, "passed", False),
        (True, True, False, True, "blocked", True),
        (True, False, False, False, "warning", True),
    ],
)
def test_every_row_of_the_decision(
    failed: bool, block: bool, passed: bool, blocked: bool, status: str, echoed: bool
) -> None:
    strategy = {"type": "escalate", "reason": "desk"}
    result = judge(gate(a=says(not failed)), "a", block=block, recovery_strategy=strategy)
    assert result.passed is passed
    assert result.blocked_commit is blocked
    assert result.crv_status == status
    assert result.recovery_strategy == (strategy if echoed else None)
    assert result.timestamp == "2030-03-17T17:46:40.000Z"


@pytest.mark.parametrize(
    ("confidence", "least", "passed"),
    [(0.8, 0.8, True), (0.79, 0.8, False), (0.0, 0.5, False), (None, 0.9, True), (0.0, 0.0, True)],
)
def test_a_gate_may_demand_confidence(confidence: float | None, least: float, passed: bool) -> None:
    result = judge(gate(a=says(True, confidence)), "a", required_confidence=least)
    assert result.passed is passed
    if not passed:
        assert result.failure_code == "LOW_CONFIDENCE"
        assert result.remediation == REMEDIES[FailureTaxonomy.LOW_CONFIDENCE]


def test_all_validators_look_and_the_first_failure_names_the_result() -> None:
    one = gate(
        a=says(True),
        b=says(False, failure_code="CONFLICT", reason="b"),
        c=says(False, failure_code="OUT_OF_SCOPE", reason="c", remediation="widen"),
    )
    result = judge(one, "a", "b", "c")
    assert [found.valid for found in result.validation_results] == [True, False, False]
    assert result.failure_code == "CONFLICT"
    assert result.remediation == REMEDIES[FailureTaxonomy.CONFLICT]
    assert result.validation_results[2].remediation == "widen"


def test_a_gate_without_validators_passes() -> None:
    assert judge(gate()).passed


def test_an_unknown_validator_and_one_that_fails_refuse() -> None:
    def broken(*_: Any) -> bool:
        raise OSError("secret path")

    result = judge(gate(broken=broken), "nobody", "broken")
    assert [found.failure_code for found in result.validation_results] == ["TOOL_ERROR"] * 2
    assert "'nobody'" in (result.validation_results[0].reason or "")
    assert "OSError" in (result.validation_results[1].reason or "")
    assert "secret path" not in str(result)


def test_a_function_may_say_yes_or_no() -> None:
    assert judge(gate(a=lambda *_: True), "a").passed
    assert judge(gate(a=lambda *_: False), "a").failure_code == "POLICY_VIOLATION"


# -- registrations --------------------------------------------------------------------------


def test_a_registration_is_found_by_its_owners_gates_alone() -> None:
    registry = Registry(Kept())
    config = {"type": "statistical_bounds", "parameters": {"field": "n", "min": 1}}
    assert registry.register("positive", config, "ann") == {
        "validator_id": "positive",
        "registered": True,
        "replaced": False,
        "type": "statistical_bounds",
        "resolved": True,
    }
    assert registry.register("positive", config, "ann")["replaced"] is True
    found = registry.find("positive", "ann")
    assert found is not None
    assert not found(commit({"n": 0})).valid
    assert registry.find("positive", "bob") is None
    assert "positive" in [one["validator_id"] for one in registry.listed("ann")]
    assert "positive" not in [one["validator_id"] for one in registry.listed("bob")]


def test_registrations_outlive_a_restart_and_can_be_removed() -> None:
    kept = Kept()
    Registry(kept).register("n", {"type": "max_size", "parameters": {"max_bytes": 1}}, "ann")
    registry = Registry(kept)
    assert registry.find("n", "ann") is not None
    registry.remove("n", "ann")
    assert registry.find("n", "ann") is None
    with pytest.raises(HttpRefusal) as caught:
        registry.remove("n", "ann")
    assert caught.value.status == 404


def test_a_function_that_is_not_there_refuses_until_it_is() -> None:
    kept = Kept()
    config = {"type": "custom", "validation_logic": "rules", "parameters": {"min_amount": 100}}
    registry = Registry(kept)
    assert registry.register("business", config, "")["resolved"] is False
    unresolved = Gate(registry, Clock())
    assert judge(unresolved, "business").failure_code == "TOOL_ERROR"

    def rules(change: Commit, parameters: Any) -> bool:
        return bool(parameters["min_amount"] == 100)

    assert judge(Gate(Registry(kept, {"rules": rules}), Clock()), "business").passed


def test_a_schema_that_was_never_registered_passes_and_a_registered_one_judges() -> None:
    registry = Registry(Kept())
    one = Gate(registry, Clock())
    assert judge(one, "schema_check").passed
    registry.register("schema_check", {"type": "schema", "parameters": {"n": "number"}}, "")
    assert not judge(one, "schema_check").passed


def test_what_a_schema_points_to_is_not_fetched(caplog: pytest.LogCaptureFixture) -> None:
    asked: list[str] = []

    class Host(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"true")

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Host) as host:
        serving = threading.Thread(target=host.serve_forever)
        serving.start()
        try:
            for url in (f"http://127.0.0.1:{host.server_port}/inside", "file:///etc/passwd"):
                registry = Registry(Kept())
                registry.register("s", {"type": "json_schema", "parameters": {"$ref": url}}, "")
                gate = GateConfig(name="g", validators=["s"], block_on_failure=True)
                result = Gate(registry, Clock()).validate(commit({"n": "hunter2"}), gate)
                assert not result.passed
                assert result.failure_code == FailureTaxonomy.TOOL_ERROR
        finally:
            host.shutdown()
            serving.join()
    assert asked == []
    assert "hunter2" not in caplog.text


def test_what_a_validator_says_about_a_change_is_not_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def breaks(change: Commit, _: Any) -> bool:
        raise ValueError(f"no {change.data}")

    gate = Gate(Registry(Kept(), {"breaks": breaks}), Clock())
    found = gate.validate(
        commit("hunter2"), GateConfig(name="g", validators=["breaks"], block_on_failure=True)
    )
    assert not found.passed
    assert "breaks failed: ValueError" in caplog.text
    assert "hunter2" not in caplog.text


DOUBLED = " | ".join(["[@,@][]"] * 60)


@pytest.mark.parametrize(
    ("expression", "data"),
    [
        (DOUBLED, 1),
        # Small in memory, and endless once it is written.
        (" | ".join(["[@,@]"] * 60), 1),
        (" | ".join(["{a:@,b:@}"] * 60), 1),
        (" | ".join(["[@,@]"] * 60 + ["to_string(@)"]), 1),
        ("join(long, many)", {"long": "x" * 100_000, "many": [""] * 100_000}),
        (" | ".join(["join('', [" + ",".join(["@"] * 300) + "])"] * 9), "xx"),
        ("map(&[*].a, @)", [[{"a": 1}] * 1_000] * 3_000),
    ],
    ids=["flat", "lists", "maps", "text", "separators", "texts", "steps"],
)
def test_an_expression_that_makes_too_much(expression: str, data: Any) -> None:
    with pytest.raises(ValueError, match="makes too much of the data"):
        compiled(expression)(data)


def test_an_expression_over_much_data() -> None:
    rows = [{"a": n, "b": [n, {"c": str(n)}]} for n in range(20_000)]
    assert compiled("[?a > `19997`].{n: a, t: b[1].c}")(rows) == [
        {"n": 19_998, "t": "19998"},
        {"n": 19_999, "t": "19999"},
    ]
    assert compiled("join('-', [].b[1].c)")(rows).count("-") == 19_999


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"type": "nonsense"}, "'nonsense' is not known"),
        ({"type": 5}, "config.type is a name"),
        ({"type": "max_size"}, "max_bytes"),
        ({"type": "max_size", "parameters": {"max_bytes": -1}}, "max_bytes"),
        ({"type": "max_size", "parameters": [1]}, "config.parameters is an object"),
        ({"type": "schema", "parameters": {"a": "text"}}, "'text' is none of"),
        ({"type": "json_schema", "parameters": {"type": 5}}, "at $"),
        ({"type": "json_schema", "parameters": {"$schema": ["x"]}}, "config.parameters"),
        ({"type": "custom"}, "validation_logic names a function"),
        ({}, "validation_logic names a function"),
        (
            {
                "type": "cross_field_consistency",
                "parameters": {"rules": [{"name": "r", "predicate": "a =="}]},
            },
            "jmespath.org",
        ),
        (
            {
                "type": "cross_field_consistency",
                "parameters": {"rules": [{"name": "r", "predicate": "[" * 20_000}]},
            },
            "at most 10000",
        ),
    ],
    ids=[
        "unknown",
        "type",
        "missing",
        "range",
        "list",
        "schema",
        "json schema",
        "draft",
        "custom",
        "empty",
        "expression",
        "long expression",
    ],
)
def test_what_cannot_be_meant_is_refused(config: dict[str, Any], said: str) -> None:
    registry = Registry(Kept())
    with pytest.raises(HttpRefusal) as caught:
        registry.register("x", config, "")
    assert caught.value.status == 422
    assert said in caught.value.message
    assert registry.listed("") == Registry(Kept()).listed("")


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 129])
def test_names_of_validators_are_bounded(name: str) -> None:
    with pytest.raises(HttpRefusal, match="validator_id"):
        Registry(Kept()).register(name, {"type": "not_null"}, "")


def test_numbers_that_json_has_not_are_no_numbers() -> None:
    for value in (math.nan, math.inf):
        assert look("statistical_bounds", BOUNDS, {"n": value}).failure_code == "CONFLICT"
