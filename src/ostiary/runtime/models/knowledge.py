"""Knowledge: what is stored, what is searched for, context for a prompt."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, ClassVar

from ..enums import KnowledgeSourceType
from .agents import PaginationInfo
from .model import Model, Request

__all__ = [
    "ContextQuery",
    "ContextResponse",
    "IngestResult",
    "KnowledgeItem",
    "KnowledgePage",
    "VectorMetadata",
    "VectorSearchRequest",
    "VectorSearchResponse",
    "VectorSearchResult",
]


class VectorMetadata(Request):
    """Where a piece of knowledge comes from. A time without an offset is local time."""

    source: str
    source_type: KnowledgeSourceType
    chunk_index: int | None = None
    timestamp: datetime
    agent_id: str | None = None

    _bounds: ClassVar[Mapping[str, tuple[float, float]]] = {"chunk_index": (0, math.inf)}


class KnowledgeItem(Request):
    """A piece of knowledge. Without an `embedding` the server makes one."""

    id: str
    content: str
    embedding: list[float] | None = None
    metadata: VectorMetadata

    _filled: ClassVar[tuple[str, ...]] = ("id",)

    def _rules(self) -> Iterator[tuple[str, str]]:
        if self.embedding is not None and not all(map(math.isfinite, self.embedding)):
            yield "embedding", "is made of finite numbers"

    def _shown(self) -> Iterator[tuple[str, object]]:
        for name, value in super()._shown():
            if name == "embedding" and self.embedding is not None:
                yield name, f"<{len(self.embedding)} numbers>"
            else:
                yield name, value


class KnowledgePage(Model):
    """A page of knowledge."""

    items: list[KnowledgeItem]
    pagination: PaginationInfo


class IngestResult(Model):
    """What became of a text that was cut into pieces."""

    source: str
    item_ids: list[str] = []
    chunks: int = 0


class VectorSearchRequest(Request):
    """A question to the knowledge.

    `similarity_threshold` is a cosine similarity; no `source_types` means all of them.
    `filters` are members of the metadata: a value, a list of values, or `{"from", "to"}`.
    """

    query: str
    agent_id: str | None = None
    source_types: list[KnowledgeSourceType] = []
    limit: int = 10
    similarity_threshold: float = 0.7
    filters: dict[str, Any] | None = None

    _filled: ClassVar[tuple[str, ...]] = ("query",)
    _bounds: ClassVar[Mapping[str, tuple[float, float]]] = {
        "limit": (1, 1000),
        "similarity_threshold": (-1, 1),
    }


class VectorSearchResult(Model):
    """A piece of knowledge, and how near it is to the question."""

    item: KnowledgeItem
    similarity_score: float


class VectorSearchResponse(Model):
    """The nearest first. `total_results` counts what was near enough before the limit."""

    results: list[VectorSearchResult]
    query: str
    total_results: int


class ContextQuery(Request):
    """A question whose answer is to stand in a prompt.

    `max_tokens` bounds the whole; `filters` and `source_types` are those of a search.
    """

    query: str
    agent_id: str | None = None
    max_context_items: int = 5
    include_conversation_history: bool = True
    max_tokens: int | None = None
    source_types: list[KnowledgeSourceType] | None = None
    filters: dict[str, Any] | None = None

    _filled: ClassVar[tuple[str, ...]] = ("query",)
    _bounds: ClassVar[Mapping[str, tuple[float, float]]] = {
        "max_context_items": (1, 1000),
        "max_tokens": (1, math.inf),
    }


class ContextResponse(Model):
    """Context for a prompt: lists of one length, the nearest first."""

    context_items: list[str]
    sources: list[str]
    query: str
    relevance_scores: list[float]
    total_tokens: int | None = None
