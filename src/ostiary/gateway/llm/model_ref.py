"""A model by name: `provider:model`, and what a model is wanted for.

Which provider a bare name belongs to is decided by the table in `providers`, nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import ClassVar, Final, Self

import msgspec

from .. import providers
from ..errors import ModelRefParseError

__all__ = ["ModelCategory", "ModelRef"]

_LONGEST: Final = 512
_TOKEN: Final = frozenset(
    "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
)


class ModelCategory(StrEnum):
    """What a model is wanted for: each run is allowed models by category."""

    TRIAGE = "triage"
    """Fast classification."""

    ANALYSIS = "analysis"
    """Detailed review."""

    REASONING = "reasoning"
    """Work of several steps."""

    EMBEDDINGS = "embeddings"
    """Vectors of texts."""


class ModelRef(msgspec.Struct, frozen=True):
    """A model of a provider; its text is `provider:model`.

    Made directly, nothing is normalised: `parse` reads what people write. Raises
    `ModelRefParseError` for what could not be sent.
    """

    provider: str
    model: str

    # The guide's name for the table of prefixes. A view: add providers by
    # `ostiary.gateway.providers.register`.
    _PROVIDER_PREFIXES: ClassVar[Mapping[str, tuple[str, ...]]] = providers.PREFIXES

    def __post_init__(self) -> None:
        # The provider travels as a header's value, the model as JSON.
        if (
            not self.provider
            or len(self.provider) > _LONGEST
            or not _TOKEN.issuperset(self.provider)
        ):
            raise ModelRefParseError(
                f"a model's provider is a word of letters, digits and -_. and not "
                f"{self.provider[:80]!r}; write provider:model"
            )
        if not self.model or len(self.model) > _LONGEST or not self.model.isprintable():
            raise ModelRefParseError(
                f"a model's name is printable and not empty, unlike {self.model[:80]!r}; "
                "write provider:model"
            )

    @classmethod
    def parse(cls, ref: str) -> Self:
        """Read `provider:model`, or a bare name, whose provider is detected by its beginning.

        Raises `ModelRefParseError` when it is empty, or either half is.
        """
        if not isinstance(ref, str) or not (text := ref.strip()):
            raise ModelRefParseError("a model reference is empty; write provider:model")
        head, mark, tail = text.partition(":")
        if not mark:
            return cls(cls._detect_provider(text), text)
        head, tail = head.strip().lower(), tail.strip()
        if not head or not tail:
            raise ModelRefParseError(
                f"model reference {text[:80]!r} lacks its provider or its model; write "
                "provider:model"
            )
        return cls(head, tail)

    @staticmethod
    def _detect_provider(model: str) -> str:
        return providers.detect(model)

    @property
    def for_litellm(self) -> str:
        """The name as LiteLLM has it."""
        known = providers.known(self.provider)
        prefix = known.litellm_prefix if known is not None else ""
        return self.model if self.model.startswith(prefix) else prefix + self.model

    def __str__(self) -> str:
        return f"{self.provider}:{self.model}"
