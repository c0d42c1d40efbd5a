"""Validation gates: what is judged, by what, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import msgspec

from ..enums import CrvStatus, FailureTaxonomy
from .model import Model, Request

__all__ = [
    "AskUserStrategy",
    "Commit",
    "EscalateStrategy",
    "GateConfig",
    "GateResult",
    "IgnoreStrategy",
    "RecoveryResult",
    "RecoveryStrategy",
    "RetryAltToolStrategy",
    "ValidationResult",
    "ValidatorInfo",
]

_SHARE: tuple[float, float] = (0, 1)


class Commit(Request):
    """A change to be judged before it is made. `data` may be anything JSON can say, null too."""

    id: str
    data: Any
    previous_state: Any = None
    metadata: dict[str, Any] | None = None

    _filled: ClassVar[tuple[str, ...]] = ("id",)


class RetryAltToolStrategy(Request):
    """Try another tool, `max_retries` times at most."""

    type: Literal["retry_alt_tool"] = "retry_alt_tool"
    tool_name: str
    max_retries: int

    _filled: ClassVar[tuple[str, ...]] = ("tool_name",)
    _bounds: ClassVar[Mapping[str, tuple[float, float]]] = {"max_retries": (1, float("inf"))}


class AskUserStrategy(Request):
    """Ask a person."""

    type: Literal["ask_user"] = "ask_user"
    prompt: str

    _filled: ClassVar[tuple[str, ...]] = ("prompt",)


class EscalateStrategy(Request):
    """Hand it to somebody who may decide."""

    type: Literal["escalate"] = "escalate"
    reason: str

    _filled: ClassVar[tuple[str, ...]] = ("reason",)


class IgnoreStrategy(Request):
    """Go on with what was refused."""

    type: Literal["ignore"] = "ignore"
    justification: str

    _filled: ClassVar[tuple[str, ...]] = ("justification",)


RecoveryStrategy = RetryAltToolStrategy | AskUserStrategy | EscalateStrategy | IgnoreStrategy

_STRATEGIES: dict[str, type[Any]] = {
    "retry_alt_tool": RetryAltToolStrategy,
    "ask_user": AskUserStrategy,
    "escalate": EscalateStrategy,
    "ignore": IgnoreStrategy,
}


class GateConfig(Request):
    """A gate: validators by name, and what to do when one says no.

    `required_confidence` is from 0 to 1. `recovery_strategy` is one of the four strategies, or
    a mapping of its members; it is held as the mapping.
    """

    name: str
    validators: list[str]
    block_on_failure: bool
    required_confidence: float | None = None
    recovery_strategy: dict[str, Any] | None = None

    _filled: ClassVar[tuple[str, ...]] = ("name",)
    _bounds: ClassVar[Mapping[str, tuple[float, float]]] = {"required_confidence": _SHARE}

    @property
    def recovery(self) -> RecoveryStrategy | None:
        """The recovery strategy as a model; None for none, or for one of a type unknown here."""
        return recovery_of(self.recovery_strategy)


class ValidationResult(Model):
    """What one validator found. `confidence` is from 0 to 1."""

    valid: bool
    reason: str | None = None
    remediation: str | None = None
    confidence: float | None = None
    metadata: dict[str, Any] | None = None
    failure_code: FailureTaxonomy | None = None


class GateResult(Model):
    """What a gate decided, with its validators' findings in their order."""

    passed: bool
    gate_name: str
    validation_results: list[ValidationResult]
    blocked_commit: bool
    timestamp: str
    recovery_strategy: dict[str, Any] | None = None
    crv_status: CrvStatus
    failure_code: FailureTaxonomy | None = None
    remediation: str | None = None

    @property
    def recovery(self) -> RecoveryStrategy | None:
        """The recovery strategy as a model; None for none, or for one of a type unknown here."""
        return recovery_of(self.recovery_strategy)


class RecoveryResult(Model):
    """What a recovery came to."""

    success: bool
    strategy: dict[str, Any]
    message: str
    recovered_data: Any = None


class ValidatorInfo(Model):
    """A validator that gates can name. With `resolved` false, it refuses whatever it is shown."""

    validator_id: str
    type: str | None = None
    resolved: bool = True
    built_in: bool = False
    config: dict[str, Any] | None = None


def recovery_of(raw: Mapping[str, Any] | None) -> RecoveryStrategy | None:
    """Return the strategy that a mapping says; None for none, or for one unknown here."""
    if raw is None:
        return None
    model = _STRATEGIES.get(str(raw.get("type")))
    try:
        return None if model is None else model.from_dict(raw)
    except (ValueError, msgspec.ValidationError):
        return None
