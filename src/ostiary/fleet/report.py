"""What came of a fleet: each input's result, and what they add up to.

Counts, times and errors take the same memory for ten inputs and for ten million; results and
findings take what they take. Neighbour: `sarif`, which merges findings.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from ..gateway.io.findings import TokenUsage
    from ..gateway.io.outputs import SarifOutput
    from .item import Item, Outcome
    from .sarif import Merged

__all__ = ["FleetReport", "FleetResult"]

_FAILURES_KEPT: Final = 20
# Two times that differ by less than this share are one: 1,200 counters from 1 µs to 2 days.
_GRAIN: Final = math.log(1.02)
_LEAST: Final = 1e-6


@dataclass(frozen=True, slots=True)
class FleetResult:
    """What became of one input.

    `index` is its place among all, from 0, `key` its idempotency key. `error` is None when it
    went well. `attempts` counts workers that died as well; `seconds` are those of the worker
    that ended it, waits between attempts included.
    """

    index: int
    id: str
    key: str
    input: Any
    value: Any
    error: Exception | None
    attempts: int
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether it went well."""
        return self.error is None


@dataclass
class FleetReport:
    """What a fleet has come to so far, or in the end.

    `total` is what there will be, None while that is not known. `retried` counts inputs that
    took more than one attempt, `lost` how often a worker died with an input. `failures` are
    the first 20 that failed. `results` are in the order of the inputs, and empty unless they
    were to be kept.
    """

    run_id: str
    total: int | None = None
    done: int = 0
    failed: int = 0
    retried: int = 0
    lost: int = 0
    seconds: float = 0.0
    errors: dict[str, int] = field(default_factory=dict[str, int])
    failures: list[FleetResult] = field(default_factory=list[FleetResult])
    results: list[FleetResult] = field(default_factory=list[FleetResult], repr=False)

    def __post_init__(self) -> None:
        self._began = time.monotonic()
        self._times: Counter[int] = Counter()
        self._used: dict[str, TokenUsage] = {}
        self._merged: Merged | None = None

    @property
    def ok(self) -> bool:
        """Whether nothing has failed."""
        return self.failed == 0

    @property
    def p50(self) -> float:
        """The seconds that half of the inputs took at most, to 2 %."""
        return self.quantile(0.5)

    @property
    def p99(self) -> float:
        """The seconds that 99 of 100 inputs took at most, to 2 %."""
        return self.quantile(0.99)

    def quantile(self, share: float) -> float:
        """Return the seconds that this share of the inputs took at most, to 2 %."""
        left = share * self._times.total()
        for grain in sorted(self._times):
            left -= self._times[grain]
            if left <= 0:
                return _LEAST * math.exp(grain * _GRAIN)
        return 0.0

    @property
    def usage(self) -> list[TokenUsage]:
        """The tokens that agents took, by model."""
        return [self._used[model] for model in sorted(self._used)]

    @property
    def findings(self) -> int:
        """How many different findings there are."""
        return 0 if self._merged is None else len(self._merged)

    def sarif(self) -> dict[str, Any]:
        """Return the findings of all inputs as one SARIF document, a run for each tool."""
        return self._findings().document(self.run_id, self.usage)

    def write_sarif(self, path: str | os.PathLike[str]) -> None:
        """Write that document, whole or not at all.

        Raises `SarifValidationError` and `OutputWriteError`.
        """
        self._findings().write(path, self.run_id, self.usage)

    def summary(self) -> Mapping[str, object]:
        """Return the report as JSON has it, without results."""
        return {
            "run_id": self.run_id,
            "total": self.total,
            "done": self.done,
            "failed": self.failed,
            "retried": self.retried,
            "lost": self.lost,
            "seconds": round(self.seconds, 3),
            "p50_seconds": round(self.p50, 6),
            "p99_seconds": round(self.p99, 6),
            "errors": dict(sorted(self.errors.items())),
            "findings": self.findings,
            "usage": [
                {
                    "model": one.model,
                    "prompt_tokens": one.prompt_tokens,
                    "completion_tokens": one.completion_tokens,
                    "total_tokens": one.total_tokens,
                }
                for one in self.usage
            ],
        }

    # --- while it goes on

    def add(self, item: Item, outcome: Outcome) -> FleetResult:
        """Take in what became of an item; return it as callers see it."""
        result = FleetResult(
            item.index,
            item.id,
            item.key,
            item.input,
            outcome.value,
            outcome.error,
            outcome.attempts,
            outcome.seconds,
        )
        self.done += 1
        self.retried += outcome.attempts > 1
        self._times[round(math.log(max(outcome.seconds, _LEAST) / _LEAST) / _GRAIN)] += 1
        if outcome.error is not None:
            self.failed += 1
            name = type(outcome.error).__name__
            self.errors[name] = self.errors.get(name, 0) + 1
            if len(self.failures) < _FAILURES_KEPT:
                self.failures.append(result)
        for one in outcome.usage:
            self._use(one)
        # A value with findings has brought their module along.
        if "ostiary.gateway.io.findings" in sys.modules:
            from .sarif import findings_in

            if (found := findings_in(outcome.value)) is not None:
                self.found(found)
        self.seconds = time.monotonic() - self._began
        return result

    def found(self, output: SarifOutput) -> None:
        """Take in findings, as of an input whose result is from an earlier run."""
        self._findings().add(output)

    def end(self) -> None:
        """Note that nothing more will come."""
        self.seconds = time.monotonic() - self._began
        self.results.sort(key=lambda one: one.index)

    def _findings(self) -> Merged:
        if self._merged is None:
            from .sarif import Merged

            self._merged = Merged()
        return self._merged

    def _use(self, more: TokenUsage) -> None:
        before = self._used.get(more.model)
        if before is None:
            self._used[more.model] = more
        else:
            self._used[more.model] = type(more)(
                more.model,
                before.prompt_tokens + more.prompt_tokens,
                before.completion_tokens + more.completion_tokens,
                before.total_tokens + more.total_tokens,
            )
