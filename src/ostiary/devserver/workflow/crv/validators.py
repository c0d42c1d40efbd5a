"""The built-in validators: each a kind, with parameters that are checked when it is set up.

A validator looks at a change and says whether it is valid, why not, and how sure it is. None
raises for a change of any shape.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Annotated, Any, Final, TypeVar, cast

import msgspec

from ...._decoders import convert
from ...._model import instants
from ....workflow.enums import FailureTaxonomy
from ....workflow.models import Commit, ValidationResult
from . import schemas
from .expressions import Expression, compiled
from .schemas import Schema

__all__ = ["KINDS", "Kind", "Validate", "set_up"]

P = TypeVar("P")

Validate = Callable[[Commit], ValidationResult]

_MISSING: Final = FailureTaxonomy.MISSING_DATA
_CONFLICT: Final = FailureTaxonomy.CONFLICT
_OUT: Final = FailureTaxonomy.OUT_OF_SCOPE

# The words of JSON Schema and of JavaScript, which the original speaks.
_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
    "null": (type(None),),
}


class Nothing(msgspec.Struct, frozen=True):
    """A validator without parameters."""


class MaxSize(msgspec.Struct, frozen=True):
    """`max_bytes` of the change as JSON in UTF-8."""

    max_bytes: Annotated[int, msgspec.Meta(ge=0)]


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of one number, ends included; `tolerance` counts standard deviations."""

    field: str
    min: float | None = None
    max: float | None = None
    mean: float | None = None
    stddev: Annotated[float, msgspec.Meta(ge=0)] | None = None
    tolerance: Annotated[float, msgspec.Meta(gt=0)] = 3.0


class Anomaly(msgspec.Struct, frozen=True, kw_only=True):
    """What one number was before; `threshold` counts standard deviations."""

    field: str
    history: list[float] = []
    threshold: Annotated[float, msgspec.Meta(gt=0)] = 3.0


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """A JMESPath expression about some members that has to be true."""

    name: str
    fields: list[str] = []
    predicate: str
    message: str | None = None


class Consistency(msgspec.Struct, frozen=True, kw_only=True):
    """Rules, looked at in order up to the first that does not hold."""

    rules: list[Rule]


class Temporal(msgspec.Struct, frozen=True, kw_only=True):
    """Where a change has its time and version; `max_time_drift` is milliseconds ahead."""

    timestamp_field: str | None = None
    version_field: str | None = None
    allow_equal: bool = False
    max_time_drift: Annotated[float, msgspec.Meta(ge=0)] | None = None


def _not_null(_: Nothing, commit: Commit) -> ValidationResult:
    if commit.data is None:
        return _bad("there is no data", _MISSING)
    return _good()


def _schema(fields: dict[str, str], commit: Commit) -> ValidationResult:
    data = _object(commit.data)
    if data is None:
        return _bad(f"the data is {_named(commit.data)}, not an object", _CONFLICT)
    for name, kind in fields.items():
        if name not in data:
            return _bad(f"member {name!r} is missing", _MISSING)
        if not _is(kind, data[name]):
            return _bad(f"member {name!r} is {_named(data[name])}, not {kind}", _CONFLICT)
    return _good()


def _json_schema(schema: Schema, commit: Commit) -> ValidationResult:
    for error in schema.iter_errors(commit.data):
        code = _MISSING if error.validator == "required" else _CONFLICT
        # The message of the library repeats the data; the path and the rule do not.
        return _bad(f"{error.json_path} does not keep the rule {error.validator!r}", code)
    return _good()


def _monotonic(_: Nothing, commit: Commit) -> ValidationResult:
    before, now = _version(commit.previous_state), _version(commit.data)
    if before is None or now is None:
        return _good()
    if type(before) is not type(now) and not (_number(before) and _number(now)):
        return _bad("the version is of another type than before", _CONFLICT, 0.9)
    if now < before:
        return _bad("the version is lower than before", _CONFLICT, 0.9)
    return _good(0.9)


def _version(state: Any) -> Any:
    found = (_object(state) or {}).get("version")
    return found if isinstance(found, str) or _number(found) else None


def _max_size(limit: MaxSize, commit: Commit) -> ValidationResult:
    size = len(msgspec.json.encode(commit.data))
    if size > limit.max_bytes:
        return _bad(f"the data is {size} bytes of JSON, more than {limit.max_bytes}", _OUT)
    return _good()


def _statistical_bounds(bounds: Bounds, commit: Commit) -> ValidationResult:
    value = _number_at(commit, bounds.field)
    if isinstance(value, ValidationResult):
        return value
    if bounds.min is not None and value < bounds.min:
        return _bad(f"{bounds.field} is below {bounds.min:g}", _OUT)
    if bounds.max is not None and value > bounds.max:
        return _bad(f"{bounds.field} is above {bounds.max:g}", _OUT)
    if bounds.mean is None or bounds.stddev is None:
        return _good()
    if bounds.stddev == 0:
        return _good() if value == bounds.mean else _bad(f"{bounds.field} is not the mean", _OUT)
    z, limit = abs(value - bounds.mean) / bounds.stddev, bounds.tolerance
    if z <= limit:
        return _good()
    sure = round(max(0.0, 1 - (z - limit) / limit), 2)
    return _bad(f"{bounds.field} is {z:.3g} standard deviations from the mean", _OUT, sure)


def _anomaly_detection(anomaly: Anomaly, commit: Commit) -> ValidationResult:
    value = _number_at(commit, anomaly.field)
    if isinstance(value, ValidationResult):
        return value
    if len(anomaly.history) < 2:
        return _good(0.5)
    mean, spread = statistics.fmean(anomaly.history), statistics.stdev(anomaly.history)
    if spread == 0:
        if value == mean:
            return _good()
        return _bad(f"{anomaly.field} differs from what it always was", _OUT)
    z, limit = abs(value - mean) / spread, anomaly.threshold
    if z <= limit:
        return _good(max(0.7, 1 - z / limit))
    sure = max(0.0, 1 - (z - limit) / limit)
    return _bad(f"{anomaly.field} is {z:.3g} standard deviations from what it was", _OUT, sure)


def _cross_field_consistency(
    rules: list[tuple[Rule, Expression]], commit: Commit
) -> ValidationResult:
    data = _object(commit.data) or {}
    for rule, expression in rules:
        for name in rule.fields:
            if data.get(name) is None:
                return _bad(f"member {name!r} of rule {rule.name!r} is missing", _MISSING)
        try:
            holds = expression(commit.data)
        except Exception as error:  # noqa: BLE001 - whatever a predicate does to odd data
            problem = type(error).__name__
            return _bad(f"rule {rule.name!r} failed: {problem}", FailureTaxonomy.TOOL_ERROR, 0.5)
        if not holds:
            return _bad(rule.message or f"rule {rule.name!r} does not hold", _CONFLICT)
    return _good()


def _temporal_monotonic(where: Temporal, commit: Commit) -> ValidationResult:
    for name, read in (
        (where.version_field, _number_or_none),
        (where.timestamp_field, _instant),
    ):
        if name is None:
            continue
        before, now = read(_member(commit.previous_state, name)), read(_member(commit.data, name))
        if before is None or now is None:
            continue
        if now < before or (now == before and not where.allow_equal):
            return _bad(f"{name} does not go on from what it was", _CONFLICT, 0.95)
        drift = where.max_time_drift
        if name == where.timestamp_field and drift is not None and (now - before) * 1000 > drift:
            return _bad(
                f"{name} jumps ahead by more than {drift:g} ms",
                FailureTaxonomy.NON_DETERMINISM,
                0.8,
            )
    return _good(0.95)


class Kind(msgspec.Struct, frozen=True):
    """A kind of validator: what its parameters are made into, and what it does with them."""

    parameters: Any
    validate: Callable[[Any, Commit], ValidationResult]
    prepare: Callable[[Any], Any] | None = None


def _types_of(fields: dict[str, str]) -> dict[str, str]:
    for name, kind in fields.items():
        if kind not in _TYPES:
            raise ValueError(f"{name}: {kind!r} is none of {', '.join(_TYPES)}")
    return fields


def _rules_of(consistency: Consistency) -> list[tuple[Rule, Expression]]:
    return [(rule, compiled(rule.predicate)) for rule in consistency.rules]


KINDS: Final[Mapping[str, Kind]] = {
    "not_null": Kind(Nothing, _not_null),
    "schema": Kind(dict[str, str], _schema, _types_of),
    "json_schema": Kind(dict[str, Any], _json_schema, schemas.compiled),
    "monotonic": Kind(Nothing, _monotonic),
    "max_size": Kind(MaxSize, _max_size),
    "statistical_bounds": Kind(Bounds, _statistical_bounds),
    "anomaly_detection": Kind(Anomaly, _anomaly_detection),
    "cross_field_consistency": Kind(Consistency, _cross_field_consistency, _rules_of),
    "temporal_monotonic": Kind(Temporal, _temporal_monotonic),
}
"""Every kind that comes with the server, by the name that registrations give as `type`."""


def set_up(kind: str, parameters: Mapping[str, Any]) -> Validate:
    """Make a validator of a kind; raises ValueError, which says what is wrong with them."""
    found = KINDS[kind]
    try:
        settings = convert(dict(parameters), found.parameters)
    except msgspec.ValidationError as error:
        problem = str(error)
    else:
        if found.prepare is not None:
            settings = found.prepare(settings)
        return partial(found.validate, settings)
    raise ValueError(problem)


def _good(confidence: float = 1.0) -> ValidationResult:
    return ValidationResult(valid=True, confidence=confidence)


def _bad(reason: str, code: FailureTaxonomy, confidence: float = 1.0) -> ValidationResult:
    return ValidationResult(valid=False, reason=reason, confidence=confidence, failure_code=code)


def _number_at(commit: Commit, field: str) -> float | ValidationResult:
    value = _member(commit.data, field)
    if value is None:
        return _bad(f"member {field!r} is missing", _MISSING)
    if not _number(value):
        return _bad(f"member {field!r} is {_named(value)}, not a number", _CONFLICT)
    return float(value)


def _member(state: Any, path: str) -> Any:
    """Return a member of an object; `a.b` looks into objects within."""
    for name in path.split("."):
        state = (_object(state) or {}).get(name)
    return state


def _object(value: Any) -> dict[str, Any] | None:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _number_or_none(value: Any) -> float | None:
    return float(value) if _number(value) else None


def _instant(value: Any) -> float | None:
    """Return a time as Unix seconds: ISO 8601 text, or an epoch in milliseconds."""
    if _number(value):
        return float(value) / 1000
    found = instants.understood(value) if isinstance(value, str) else None
    if found is None:
        return None
    return (found if found.tzinfo is not None else _utc(found)).timestamp()


def _utc(moment: datetime) -> datetime:
    from datetime import UTC

    return moment.replace(tzinfo=UTC)


def _is(kind: str, value: object) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _TYPES[kind])


def _named(value: object) -> str:
    return next((kind for kind in _TYPES if _is(kind, value)), type(value).__name__)
