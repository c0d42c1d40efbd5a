"""Knowledge as callers know it: items in, the nearest of them out, and context within a budget.

What blocks runs on one thread of its own, in the order in which it was asked for. Neighbours:
`vectors` keeps, `embedding` makes vectors, `chunking` cuts, `endpoints` are the paths.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, TypeVar, final

import msgspec

from ...http.reading import invalid
from ...http.refusals import HttpRefusal
from .chunking import Chunk, chunks, shorten
from .embedding import Embedding
from .filters import Filter
from .vectors import Hit, Item, Passage, Vectors
from .words import tokens

__all__ = ["Context", "Library"]

T = TypeVar("T")

# Small enough that a passage is about one thing, and a question can be near it.
_PASSAGE: Final = 96
_OVERLAP: Final = 24
_BATCH: Final = 256


class Context(msgspec.Struct, kw_only=True):
    """Texts for a prompt, their sources and how relevant they are: lists of one length."""

    texts: list[str]
    sources: list[str]
    relevance: list[float]
    total_tokens: int


@final
class Library:
    """The store with its embedding."""

    def __init__(self, vectors: Vectors, embedding: Embedding) -> None:
        self._vectors = vectors
        self._embedding = embedding
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ostiary-knowledge")
        self._renewed = False
        self._renewing = asyncio.Lock()

    @property
    def count(self) -> int:
        """How many items there are."""
        return self._vectors.count

    @property
    def embedding(self) -> str:
        return self._embedding.name

    async def close(self) -> None:
        """Wait for what is in hand, and close the store."""
        await self._embedding.close()
        loop = asyncio.get_running_loop()
        # Last in line: what was asked for before still has its store.
        await loop.run_in_executor(self._thread, self._vectors.close)
        self._thread.shutdown(wait=False)

    # -- items ----------------------------------------------------------------

    async def add(self, items: Sequence[Item]) -> None:
        """Write items, in place of those with the same ids."""
        await self._renew()
        prepared = await self._prepared(items)
        await self._run(lambda: self._vectors.put(prepared, self._embedding.name))

    async def ingest(
        self,
        text: str,
        *,
        prefix: str,
        metadata: dict[str, Any],
        size: int,
        overlap: int,
    ) -> list[str]:
        """Cut a text into items `PREFIX#0`, ... and drop what an earlier version had besides."""
        await self._renew()
        spans = await self._run(lambda: chunks(text, size, overlap))
        items = [
            Item(
                id=f"{prefix}#{number}",
                content=text[one.start : one.stop],
                metadata={**metadata, "chunk_index": number},
            )
            for number, one in enumerate(spans)
        ]
        prepared = await self._prepared(items)
        older = Filter()
        older.same("source", metadata["source"])
        older.prefix(f"{prefix}#")
        await self._run(lambda: self._vectors.put(prepared, self._embedding.name, older))
        return [item.id for item in items]

    async def get(self, item_id: str) -> Item:
        """Return an item; 404 when there is none."""
        found = await self._run(lambda: self._vectors.get(item_id))
        if found is None:
            raise _unknown()
        return found

    async def remove(self, item_id: str) -> None:
        """Remove an item; 404 when there is none."""
        if not await self._run(lambda: self._vectors.remove(item_id)):
            raise _unknown()

    async def remove_all(self, only: Filter) -> int:
        """Remove what fits a filter; return how many."""
        return await self._run(lambda: self._vectors.remove_all(only))

    async def page(self, only: Filter, offset: int, limit: int) -> tuple[list[Item], int]:
        """Return some of what fits, by id, and how many there are."""
        return await self._run(lambda: self._vectors.page(only, offset, limit))

    # -- searching ------------------------------------------------------------

    async def search(
        self, query: str, only: Filter, *, threshold: float, limit: int
    ) -> tuple[list[Hit], int]:
        """Return the items nearest to a query, and how many reach the threshold in all."""
        await self._renew()
        if self._embedding.local:
            # In one go: half the time of a small search is the way to the thread and back.
            return await self._run(
                lambda: self._vectors.search(
                    self._embedding.compute([query])[0], only, threshold=threshold, limit=limit
                )
            )
        (vector,) = await self._embedding.ask([query])
        await self._check_dimensions(vector)
        return await self._run(
            lambda: self._vectors.search(vector, only, threshold=threshold, limit=limit)
        )

    async def context(self, query: str, only: Filter, *, limit: int, max_tokens: int) -> Context:
        """Return the most relevant texts that fit into a budget of tokens.

        An item comes whole if there is room, else with its best passage; what does not fit is
        left out for what is less relevant and does. The first text is cut if it must be.
        """
        # Twice as many, for those that are the same or too long.
        hits, _ = await self.search(query, only, threshold=-1.0, limit=2 * limit)
        return await self._run(lambda: _gathered(hits, limit, max_tokens))

    # -- vectors --------------------------------------------------------------

    async def _prepared(self, items: Sequence[Item]) -> list[tuple[Item, list[Passage]]]:
        spans = await self._run(lambda: [_spans(item) for item in items])
        texts = [
            item.content[one.start : one.stop]
            for item, cut in zip(items, spans, strict=True)
            if item.embedding is None
            for one in cut
        ]
        found = iter(await self._embed(texts))
        prepared: list[tuple[Item, list[Passage]]] = []
        for item, cut in zip(items, spans, strict=True):
            if item.embedding is None:
                passages = [Passage(one.start, one.stop, next(found)) for one in cut]
            else:
                await self._check_dimensions(item.embedding)
                passages = [Passage(0, len(item.content), item.embedding)]
            prepared.append((item, passages))
        return prepared

    async def _embed(self, texts: Sequence[str]) -> list[list[float]]:
        if not texts:
            return []
        if self._embedding.local:
            return await self._run(lambda: self._embedding.compute(texts))
        found = await self._embedding.ask(texts)
        await self._check_dimensions(found[0])
        return found

    async def _check_dimensions(self, vector: Sequence[float]) -> None:
        expected = await self._run(lambda: self._vectors.dimensions(self._embedding.name))
        if expected is None and self._embedding.local:
            expected = len(self._embedding.compute([""])[0])
        if expected is not None and len(vector) != expected:
            raise HttpRefusal(
                422,
                "EMBEDDING_DIMENSIONS",
                f"the vectors of this store ({self._embedding.name}) have {expected} numbers, and "
                f"this one has {len(vector)}; leave the embedding out to have it made",
                details={"field": "embedding", "fields": ["embedding"], "dimensions": expected},
            )

    async def _renew(self) -> None:
        """Make the vectors anew that another embedding made: once, before the first use."""
        if self._renewed:
            return
        async with self._renewing:
            while not self._renewed:
                stale = await self._run(lambda: self._vectors.stale(self._embedding.name, _BATCH))
                if not stale:
                    self._renewed = True
                    return
                # A supplied vector was one of the other embedding's.
                fresh = [msgspec.structs.replace(item, embedding=None) for item in stale]
                prepared = await self._prepared(fresh)
                await self._run(partial(self._vectors.put, prepared, self._embedding.name))

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


def _spans(item: Item) -> list[Chunk]:
    return chunks(item.content, _PASSAGE, _OVERLAP)


def _gathered(hits: Sequence[Hit], limit: int, max_tokens: int) -> Context:
    found = Context(texts=[], sources=[], relevance=[], total_tokens=0)
    for hit in hits:
        left = max_tokens - found.total_tokens
        if len(found.texts) == limit or left <= 0:
            break
        text = hit.item.content
        if tokens(text) > left:
            text = text[hit.start : hit.stop]
            if tokens(text) > left:
                text = "" if found.texts else shorten(text, left)
        if not text or text in found.texts:
            continue
        found.texts.append(text)
        found.sources.append(hit.item.metadata["source"])
        found.relevance.append(hit.similarity)
        found.total_tokens += tokens(text)
    return found


def checked_vector(vector: Sequence[float]) -> None:
    """Raise when a supplied vector has no direction."""
    if not vector or not all(map(math.isfinite, vector)) or not any(vector):
        raise invalid("embedding", "an embedding has finite numbers, and not all of them are 0")


def _unknown() -> HttpRefusal:
    return HttpRefusal(
        404, "KNOWLEDGE_NOT_FOUND", "there is no knowledge item with this id; list the items"
    )
