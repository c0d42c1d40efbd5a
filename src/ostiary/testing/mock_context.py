"""An agent's context whose models are stand-ins; everything else of it is the real thing.

Neighbour: `mocks`, which imports this when the name is asked for.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from ..gateway.context import AgentContext
from ..gateway.llm.model_ref import ModelCategory

if TYPE_CHECKING:
    from .mock_models import MockEmbeddings, MockLLM

__all__ = ["MockContext"]


class MockContext(AgentContext):
    """An `AgentContext` that gives out one `MockLLM` and one `MockEmbeddings`.

    Say what they answer before the agent runs, and look at what they were asked afterwards:
    `context.llm.responses = ["..."]`, `context.llm.calls`. Which category has a model is still
    decided by `model_selector`. The typed client of `create_client` is not replaced: an agent
    that uses it is tested against the embedded gateway.
    """

    @cached_property
    def llm(self) -> MockLLM:
        """The model that every category gets; needs `ostiary[langchain]`."""
        from .mock_models import MockLLM

        return MockLLM()

    @cached_property
    def embeddings(self) -> MockEmbeddings:
        """What every model for embeddings is; needs `ostiary[langchain]`."""
        from .mock_models import MockEmbeddings

        return MockEmbeddings()

    def create_llm_client(  # type: ignore[override]  # stands in for what it is not
        self, category: ModelCategory | str = ModelCategory.ANALYSIS, **settings: Any
    ) -> MockLLM:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return `llm`; raises as the real one does where there is no model."""
        self._access("create_llm_client()")
        self._current_selector("create_llm_client()").select(ModelCategory(category))
        return self.llm

    def create_embeddings_client(  # type: ignore[override]
        self, model: str | None = None, provider: str | None = None, **options: Any
    ) -> MockEmbeddings:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return `embeddings`; raises as the real one does where there is no model."""
        self._access("create_embeddings_client()")
        if model is None:
            self._current_selector("create_embeddings_client()").select(ModelCategory.EMBEDDINGS)
        return self.embeddings
