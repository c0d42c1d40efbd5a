"""Which model is used for what: by what a run is allowed, or one for everything."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final, Self

from ..errors import ModelNotAuthorizedError, ModelNotAvailableError, ModelRefParseError
from .model_ref import ModelCategory, ModelRef

if TYPE_CHECKING:
    from ..auth.trat import TransactionToken

__all__ = ["ModelSelector", "StaticModelSelector"]

_NAMES: Final = frozenset(each.value for each in ModelCategory)


class ModelSelector:
    """Choose among the models that each category allows; the first is preferred."""

    __slots__ = ("_allowed",)

    def __init__(self, allowed_models: Mapping[str, Iterable[str | ModelRef]]) -> None:
        """Read every reference now; raise `ModelRefParseError` for one that cannot be read.

        Keys are categories, by name or as `ModelCategory`.
        """
        allowed: dict[ModelCategory, tuple[ModelRef, ...]] = {}
        for category, refs in allowed_models.items():
            if category not in _NAMES:
                raise ModelRefParseError(
                    f"there is no model category {str(category)[:80]!r}; there are "
                    f"{', '.join(sorted(_NAMES))}"
                )
            if isinstance(refs, str) or not isinstance(refs, Iterable):
                raise ModelRefParseError(f"the models of category {category} are not a list")
            allowed[ModelCategory(category)] = tuple(_parsed(each) for each in refs)
        self._allowed = allowed

    @classmethod
    def from_trat(cls, trat: TransactionToken) -> Self:
        """Return a selector of what a Transaction Token allows."""
        return cls(trat.tctx.allowed_models.to_dict())

    def select(self, category: ModelCategory) -> ModelRef:
        """Return the category's preferred model; `ModelNotAvailableError` when it has none."""
        found = self._of(category)
        if not found:
            raise ModelNotAvailableError(
                f"this run is allowed no model for {category}; ask for one where it is created, "
                "in the Transaction Token's allowed_models"
            )
        return found[0]

    def select_all(self, category: ModelCategory) -> list[ModelRef]:
        """Return the category's models in order of preference; may be empty."""
        return list(self._of(category))

    def is_allowed(self, model: ModelRef, category: ModelCategory) -> bool:
        """Whether the category has exactly this model."""
        return model in self._of(category)

    def validate_model(self, model: ModelRef, category: ModelCategory) -> None:
        """Raise `ModelNotAuthorizedError` unless the category has exactly this model."""
        if not self.is_allowed(model, category):
            raise ModelNotAuthorizedError(
                f"model {model} is not allowed to this run for {category}; it may use "
                f"{', '.join(map(str, self._of(category))) or 'none'}"
            )

    def _of(self, category: ModelCategory) -> tuple[ModelRef, ...]:
        return self._allowed.get(ModelCategory(category), ())

    def __repr__(self) -> str:
        shown = {each.value: [str(ref) for ref in refs] for each, refs in self._allowed.items()}
        return f"{type(self).__name__}({shown!r})"


class StaticModelSelector(ModelSelector):
    """One model for every category, allowed in each: for work without a gateway."""

    __slots__ = ("_model",)

    def __init__(self, model: str | ModelRef) -> None:
        """Read the reference; raise `ModelRefParseError` when it cannot be."""
        self._model = _parsed(model)
        super().__init__({each.value: (self._model,) for each in ModelCategory})

    def __repr__(self) -> str:
        return f"StaticModelSelector({str(self._model)!r})"


def _parsed(ref: object) -> ModelRef:
    if isinstance(ref, ModelRef):
        return ref
    if isinstance(ref, str):
        return ModelRef.parse(ref)
    raise ModelRefParseError(f"a model reference is text, not {type(ref).__name__}")
