"""What a client has used so far: tokens and calls, by model, with a budget if there is one."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, final

from .errors import GatewayArgumentError, TokenBudgetError
from .models import Usage

if TYPE_CHECKING:
    from .llm.model_ref import ModelRef

__all__ = ["UsageTotals"]


@final
class UsageTotals:
    """Running totals of one client. Safe to read and to add to from any thread.

    Calls of which the provider told no usage count as calls and as no tokens; so do streams
    that were left before their end.
    """

    __slots__ = ("_by_model", "_calls", "_lock", "budget")

    def __init__(self, budget: int | None = None) -> None:
        """`budget` is how many tokens may be used in all; None is any number."""
        if budget is not None and (
            isinstance(budget, bool) or not isinstance(budget, int) or budget < 1
        ):
            raise GatewayArgumentError("token_budget is a number of tokens, at least 1, or None")
        self.budget = budget
        self._calls = 0
        self._by_model: dict[ModelRef, Usage] = {}
        self._lock = threading.Lock()

    def add(self, ref: ModelRef, usage: Usage | None) -> None:
        """Count one call."""
        with self._lock:
            self._calls += 1
            if usage is not None:
                if not usage.total_tokens:  # servers may leave the sum to the reader
                    whole = usage.prompt_tokens + usage.completion_tokens
                    usage = Usage(total_tokens=whole) + usage
                before = self._by_model.get(ref)
                self._by_model[ref] = usage if before is None else before + usage

    def check(self) -> None:
        """Raise `TokenBudgetError` when the budget is used up."""
        if self.budget is not None and (used := self.total_tokens) >= self.budget:
            raise TokenBudgetError(
                f"this client has used {used} tokens and may use {self.budget}; nothing was "
                "sent. Make a client with a larger token_budget to go on"
            )

    @property
    def calls(self) -> int:
        """How many calls were answered; those that failed are not among them."""
        return self._calls

    @property
    def by_model(self) -> dict[str, Usage]:
        """The sums by model, as `provider:model`."""
        with self._lock:
            return {str(ref): usage for ref, usage in self._by_model.items()}

    @property
    def total(self) -> Usage:
        """The sum over all models, details included."""
        with self._lock:
            return sum(self._by_model.values(), Usage())

    @property
    def prompt_tokens(self) -> int:
        """Tokens sent."""
        return self.total.prompt_tokens

    @property
    def completion_tokens(self) -> int:
        """Tokens received, those of reasoning included."""
        return self.total.completion_tokens

    @property
    def total_tokens(self) -> int:
        """Tokens as providers sum them up."""
        return self.total.total_tokens

    def __repr__(self) -> str:
        return f"<UsageTotals {self.total_tokens} tokens in {self.calls} calls>"

    # Counters belong to the process that counts.
    def __reduce__(self) -> tuple[type[UsageTotals], tuple[int | None]]:
        return UsageTotals, (self.budget,)
