"""A gate: every validator looks at the change, in order, then one decision is made.

    nothing failed                          passed
    something failed, block_on_failure      blocked
    something failed, otherwise             warning

A validator fails a change when it finds it invalid, or is less sure than the gate demands. One
that raises, or that nobody knows, has found it invalid. Neighbour: `registry` knows the names.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, final

from ....workflow.enums import CrvStatus, FailureTaxonomy
from ....workflow.models import Commit, GateConfig, GateResult, ValidationResult
from ...clock import Clock, iso
from .registry import Registry

__all__ = ["REMEDIES", "Gate"]

_log = logging.getLogger(__name__)

REMEDIES: Final[Mapping[FailureTaxonomy, str]] = MappingProxyType(
    {
        FailureTaxonomy.MISSING_DATA: "fill in the members that are missing",
        FailureTaxonomy.CONFLICT: "bring the change and what it builds on into agreement",
        FailureTaxonomy.OUT_OF_SCOPE: "bring the value back inside its limits, or widen them",
        FailureTaxonomy.LOW_CONFIDENCE: "add what would make it surer, or have a person decide",
        FailureTaxonomy.POLICY_VIOLATION: "read the rule it breaks, and keep it",
        FailureTaxonomy.TOOL_ERROR: "look at the validator: it is unknown, or it failed",
        FailureTaxonomy.NON_DETERMINISM: "find what differs from one run to the next",
    }
)
"""What to do about each kind of failure."""


@final
class Gate:
    """Judges changes by the validators of a registry; `record` is told of every judgement."""

    def __init__(
        self,
        registry: Registry,
        clock: Clock,
        record: Callable[[Commit, GateResult], object] | None = None,
    ) -> None:
        self._registry = registry
        self._clock = clock
        self._record = record

    def validate(self, commit: Commit, config: GateConfig, *, owner: str = "") -> GateResult:
        """Judge a change; `owner` is whose registrations go before the built-in validators."""
        found = [self._look(name, commit, owner) for name in config.validators]
        least = config.required_confidence
        judged = [_sure_enough(one, least) for one in found]
        failed = next((one for one in judged if not one.valid), None)
        blocked = failed is not None and config.block_on_failure
        if failed is None:
            status = CrvStatus.PASSED
        else:
            status = CrvStatus.BLOCKED if blocked else CrvStatus.WARNING
        result = GateResult(
            passed=failed is None,
            gate_name=config.name,
            validation_results=judged,
            blocked_commit=blocked,
            timestamp=iso(self._clock.wall()),
            crv_status=status,
            recovery_strategy=None if failed is None else config.recovery_strategy,
            failure_code=None if failed is None else failed.failure_code,
            remediation=None if failed is None else failed.remediation,
        )
        if self._record is not None:
            self._record(commit, result)
        return result

    def _look(self, name: str, commit: Commit, owner: str) -> ValidationResult:
        validate = self._registry.find(name, owner)
        if validate is None:
            return ValidationResult(
                valid=False,
                reason=f"there is no validator {name!r} that can be run; register it",
                confidence=1.0,
                failure_code=FailureTaxonomy.TOOL_ERROR,
            )
        try:
            return validate(commit)
        except Exception as error:  # noqa: BLE001 - a validator is anybody's code
            # Its kind alone: the message may quote the change.
            _log.warning("validator %s failed: %s", name, type(error).__name__)
            return ValidationResult(
                valid=False,
                reason=f"validator {name!r} failed: {type(error).__name__}",
                confidence=1.0,
                failure_code=FailureTaxonomy.TOOL_ERROR,
            )


def _sure_enough(found: ValidationResult, least: float | None) -> ValidationResult:
    """Return what a validator found, with the gate's demand on its confidence applied."""
    code = found.failure_code
    valid, reason = found.valid, found.reason
    # A validator that says nothing about it is sure.
    confidence = 1.0 if found.confidence is None else found.confidence
    if valid and least is not None and not confidence >= least:
        valid, code = False, FailureTaxonomy.LOW_CONFIDENCE
        reason = f"confidence {confidence:g} is below the {least:g} that the gate demands"
    if valid:
        return found
    code = code or FailureTaxonomy.POLICY_VIOLATION
    return ValidationResult(
        valid=False,
        reason=reason,
        remediation=found.remediation or REMEDIES.get(code),
        confidence=found.confidence,
        metadata=found.metadata,
        failure_code=code,
    )
