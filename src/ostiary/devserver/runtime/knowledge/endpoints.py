"""The paths of knowledge: items, search, context, whole texts.

Everything here is a shape; what is done stands in `library`.
"""

from __future__ import annotations

from typing import Any, Final, cast, final

import msgspec
from starlette.requests import Request
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from ...http.front import Json
from ...http.reading import Body, Page, flag, invalid
from ...http.refusals import HttpRefusal
from ...http.routing import route
from ..context import Context
from .embedding import Embedding, GatewayEmbedding, HashingEmbedding
from .filters import Filter, check_kind, timestamp
from .library import Library, checked_vector
from .vectors import Item, Vectors, missing

__all__ = ["Knowledge"]

_ID: Final = 512
_RESERVED: Final = frozenset({"search", "ingest"})
_MOST: Final = 1_000
_CONTEXT_TOKENS: Final = 4_000
_DEPTH: Final = 32


class _Item(msgspec.Struct, kw_only=True):
    id: str
    content: str
    metadata: dict[str, Any]
    embedding: list[float] | None = None


class _Search(msgspec.Struct, kw_only=True):
    query: str
    agent_id: str | None = None
    source_types: list[str] = []
    limit: int = 10
    similarity_threshold: float = 0.7
    filters: dict[str, Any] = {}


class _Asked(msgspec.Struct, kw_only=True):
    query: str
    agent_id: str | None = None
    max_context_items: int = 5
    include_conversation_history: bool = True
    max_tokens: int | None = None
    source_types: list[str] = []
    filters: dict[str, Any] = {}


class _Text(msgspec.Struct, kw_only=True):
    content: str
    source: str
    source_type: str = "document"
    agent_id: str | None = None
    id_prefix: str | None = None
    chunk_size: int = 200
    chunk_overlap: int = 40
    metadata: dict[str, Any] = {}


_ITEM: Final = Body(_Item)
_SEARCH: Final = Body(_Search)
_ASKED: Final = Body(_Asked)
_TEXT: Final = Body(_Text)


@final
class Knowledge:
    """The knowledge over HTTP; without apsw and sqlite-vec every path says what is missing."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._open: Library | None = None
        self._missing = missing()

    def routes(self) -> list[BaseRoute]:
        return [
            route("POST", "/knowledge", self._add),
            route("GET", "/knowledge", self._list),
            route("DELETE", "/knowledge", self._remove_source),
            route("POST", "/knowledge/search", self._search),
            route("POST", "/knowledge/ingest", self._ingest),
            # An id may have slashes in it, as paths of files do.
            route("GET", "/knowledge/{id:path}", self._item),
            route("DELETE", "/knowledge/{id:path}", self._remove),
            route("POST", "/rag/context", self._gather),
        ]

    def gauges(self) -> dict[str, int | float]:
        return {"vector_db_items": 0 if self._open is None else self._open.count}

    async def start(self) -> None:
        if self._missing:
            return
        embedding: Embedding = HashingEmbedding()
        if self._context.runtime.knowledge_model is not None:
            embedding = GatewayEmbedding(self._context.runtime.knowledge_model, self._context.home)
        self._open = Library(Vectors(self._context.home / "knowledge.db"), embedding)

    async def stop(self, grace: float) -> None:
        if self._open is not None:
            await self._open.close()
            self._open = None

    def load_demo(self) -> None:
        """The guide brings its own document."""

    @property
    def library(self) -> Library:
        """The open library; 503 without the packages it needs."""
        if self._open is None:
            named = " and ".join(name.replace("_", "-") for name in self._missing)
            raise HttpRefusal(
                503,
                "KNOWLEDGE_UNAVAILABLE",
                f"knowledge needs {named or 'a running server'}: `pip install 'ostiary[dev]'`, "
                "and start the server again",
            )
        return self._open

    # -- items ----------------------------------------------------------------

    async def _add(self, request: Request) -> ASGIApp:
        body = await _ITEM.read(request)
        _check_id(body.id)
        if body.embedding is not None:
            checked_vector(body.embedding)
        _check_text("content", body.content)
        item = Item(
            id=body.id,
            content=body.content,
            metadata=self._metadata(body.metadata),
            embedding=body.embedding,
        )
        await self.library.add([item])
        return Json({"id": body.id, "status": "stored"})

    async def _list(self, request: Request) -> ASGIApp:
        page = Page(request)
        query = request.query_params
        only = Filter()
        only.agent(query.get("agent_id") or None)
        only.same("source", query.get("source") or None)
        only.kinds([one for one in query.getlist("source_type") if one])
        items, total = await self.library.page(only, page.offset, page.limit)
        return Json({"items": [_shown(one) for one in items], "pagination": page.pagination(total)})

    async def _item(self, request: Request) -> ASGIApp:
        item = await self.library.get(request.path_params["id"])
        return Json(item if item.embedding is None or flag(request, "embedding") else _shown(item))

    async def _remove(self, request: Request) -> ASGIApp:
        item_id: str = request.path_params["id"]
        await self.library.remove(item_id)
        return Json({"id": item_id, "status": "deleted"})

    async def _remove_source(self, request: Request) -> ASGIApp:
        source = request.query_params.get("source")
        if not source:
            raise invalid("source", "name the source whose items are to go: ?source=...")
        only = Filter()
        only.same("source", source)
        only.same("agent_id", request.query_params.get("agent_id") or None)
        return Json({"source": source, "deleted": await self.library.remove_all(only)})

    async def _ingest(self, request: Request) -> ASGIApp:
        body = await _TEXT.read(request)
        _check_text("content", body.content)
        if not 16 <= body.chunk_size <= 2_000:
            raise invalid("chunk_size", "chunk_size is from 16 to 2000 tokens")
        if not 0 <= body.chunk_overlap <= body.chunk_size // 2:
            raise invalid("chunk_overlap", "chunk_overlap is at most half of chunk_size")
        metadata = self._metadata(
            {
                "timestamp": self._context.now(),
                **body.metadata,
                "source": body.source,
                "source_type": body.source_type,
                "agent_id": body.agent_id,
            }
        )
        prefix = body.id_prefix or body.source
        _check_id(f"{prefix}#0")
        ids = await self.library.ingest(
            body.content,
            prefix=prefix,
            metadata=metadata,
            size=body.chunk_size,
            overlap=body.chunk_overlap,
        )
        return Json({"source": body.source, "item_ids": ids, "chunks": len(ids)}, status=201)

    def _metadata(self, given: dict[str, Any]) -> dict[str, Any]:
        """Return metadata as it is kept: known members checked, others as they are."""
        if _deeper(given, _DEPTH):
            raise invalid("metadata", f"metadata is nested deeper than {_DEPTH} levels")
        found = {name: value for name, value in given.items() if value is not None}
        source = found.get("source")
        if not isinstance(source, str) or not source.strip():
            raise invalid("metadata.source", "metadata.source says where the text is from")
        kind = found.get("source_type")
        if not isinstance(kind, str):
            raise invalid("metadata.source_type", "metadata.source_type says what the text is")
        check_kind(kind)
        agent_id = found.get("agent_id")
        if agent_id is not None and (not isinstance(agent_id, str) or not agent_id):
            raise invalid("metadata.agent_id", "metadata.agent_id is an agent's id")
        index = found.get("chunk_index")
        if index is not None and (not isinstance(index, int) or isinstance(index, bool)):
            raise invalid("metadata.chunk_index", "metadata.chunk_index is a whole number")
        found["timestamp"] = timestamp(
            found.get("timestamp", self._context.now()), "metadata.timestamp"
        )
        return {"chunk_index": None, "agent_id": None, **found}

    # -- searching ------------------------------------------------------------

    async def _search(self, request: Request) -> ASGIApp:
        body = await _SEARCH.read(request)
        _check_text("query", body.query)
        if not 1 <= body.limit <= _MOST:
            raise invalid("limit", f"limit is from 1 to {_MOST}")
        if not -1 <= body.similarity_threshold <= 1:
            raise invalid("similarity_threshold", "similarity_threshold is from -1 to 1")
        only = _only(body.agent_id, body.source_types, body.filters)
        hits, total = await self.library.search(
            body.query, only, threshold=body.similarity_threshold, limit=body.limit
        )
        return Json(
            {
                "results": [
                    {"item": _shown(hit.item), "similarity_score": hit.similarity} for hit in hits
                ],
                "query": body.query,
                "total_results": total,
            }
        )

    async def _gather(self, request: Request) -> ASGIApp:
        body = await _ASKED.read(request)
        _check_text("query", body.query)
        if not 1 <= body.max_context_items <= 100:
            raise invalid("max_context_items", "max_context_items is from 1 to 100")
        if body.max_tokens is not None and not 1 <= body.max_tokens <= 1_000_000:
            raise invalid("max_tokens", "max_tokens is from 1 to 1000000")
        only = _only(body.agent_id, body.source_types, body.filters)
        if not body.include_conversation_history:
            only.without("conversation")
        found = await self.library.context(
            body.query,
            only,
            limit=body.max_context_items,
            max_tokens=body.max_tokens or _CONTEXT_TOKENS,
        )
        answer: dict[str, Any] = {
            "context_items": found.texts,
            "sources": found.sources,
            "query": body.query,
            "relevance_scores": found.relevance,
        }
        if body.max_tokens is not None:
            answer["total_tokens"] = found.total_tokens
        return Json(answer)


def _only(agent_id: str | None, source_types: list[str], filters: dict[str, Any]) -> Filter:
    only = Filter()
    only.agent(agent_id)
    only.kinds(source_types)
    only.metadata(filters)
    return only


def _deeper(value: object, levels: int) -> bool:
    """Whether a value has more levels; what is kept has to fit into any answer."""
    if isinstance(value, dict):
        inner = list(cast("dict[str, object]", value).values())
    elif isinstance(value, list):
        inner = cast("list[object]", value)
    else:
        return False
    return levels == 0 or any(_deeper(one, levels - 1) for one in inner)


def _shown(item: Item) -> Item:
    """An item without its vector: hundreds of numbers that nobody asked for."""
    return msgspec.structs.replace(item, embedding=None)


def _check_id(item_id: str) -> None:
    if (
        not 1 <= len(item_id) <= _ID
        or not item_id.isprintable()
        or item_id != item_id.strip()
        or item_id in _RESERVED
        or any(part in {"", ".", ".."} for part in item_id.split("/"))
    ):
        raise invalid(
            "id",
            f"an id has 1 to {_ID} printable characters, no part between slashes is empty, '.' "
            "or '..', and it is neither 'search' nor 'ingest'",
        )


def _check_text(name: str, text: str) -> None:
    if not text.strip():
        raise invalid(name, f"{name} is empty")
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            raise invalid(
                name, f"{name} has half of a surrogate pair; send whole letters"
            ) from None
