"""Which models a run may use, asked before a byte is sent. Fails closed; sends nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from .errors import ConfigurationError, GatewayArgumentError, ModelNotAuthorizedError
from .llm.model_ref import ModelCategory, ModelRef
from .llm.model_selector import ModelSelector

if TYPE_CHECKING:
    from .auth.trat import TransactionToken
    from .options import Model

__all__ = ["CHAT", "EMBEDDINGS", "Permits"]

CHAT: Final = (ModelCategory.ANALYSIS, ModelCategory.TRIAGE, ModelCategory.REASONING)
"""The categories whose models may be talked to; the first is meant when none is named."""

EMBEDDINGS: Final = (ModelCategory.EMBEDDINGS,)


@final
class Permits:
    """What one Transaction Token allows. Made anew when the token is another."""

    __slots__ = ("_chosen", "_fine", "_selector", "trat")

    def __init__(self, trat: TransactionToken | None, chosen: ModelSelector | None) -> None:
        """`chosen` is the caller's own selector; without a token nothing is refused."""
        self.trat = trat
        self._chosen = chosen
        self._selector = None if trat is None else ModelSelector.from_trat(trat)
        self._fine: set[tuple[ModelRef, tuple[ModelCategory, ...]]] = set()

    def models(
        self, wanted: Model | None, categories: tuple[ModelCategory, ...], *, every: bool
    ) -> list[ModelRef]:
        """Return the model that is meant, and with `every` those that may stand in for it.

        Raises `ModelNotAuthorizedError` for one that this run may not use, and
        `ModelNotAvailableError` for a category that has none.
        """
        if isinstance(wanted, ModelRef):
            found = [wanted]
        elif wanted is None or isinstance(wanted, ModelCategory):
            category = categories[0] if wanted is None else wanted
            if category not in categories:
                raise GatewayArgumentError(
                    f"a model for {category} is not what this call needs; it takes "
                    f"{' or '.join(categories)}"
                )
            selector = self._chosen or self._selector
            if selector is None:
                raise ConfigurationError(
                    "there is no model to use by default: give model, or give the client models"
                )
            preferred = selector.select(category)
            found = selector.select_all(category) if every else [preferred]
        elif isinstance(wanted, str):
            found = [ModelRef.parse(wanted)]
        else:
            raise GatewayArgumentError(
                f"model is a reference or a category, not {type(wanted).__name__}"
            )
        if self.trat is not None:
            for ref in found:
                if (ref, categories) not in self._fine:
                    self._check(ref, categories)
        return found

    def _check(self, ref: ModelRef, categories: tuple[ModelCategory, ...]) -> None:
        assert self.trat is not None
        assert self._selector is not None
        # Of an empty list nothing is known but that it allows nobody.
        allowed = self.trat.tctx.allowed_providers
        if ref.provider not in allowed:
            raise ModelNotAuthorizedError(
                f"provider {ref.provider} is not allowed to this run; its Transaction Token "
                f"allows {', '.join(allowed) or 'none'}"
            )
        if not any(self._selector.is_allowed(ref, each) for each in categories):
            raise ModelNotAuthorizedError(
                f"model {ref} is not allowed to this run for {', '.join(categories)}; ask for "
                "it where the run is created, in the Transaction Token's allowed_models"
            )
        self._fine.add((ref, categories))
