"""What a runtime keeps: secrets and knowledge."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from msgspec import UNSET

from ..._calls.colours import Key, Timeout
from ..._calls.pages._async import AsyncPages
from ..._io import aio
from .. import _bodies as bodies
from .. import _routes as routes
from ..enums import KnowledgeSourceType
from ..models import (
    ContextQuery,
    ContextResponse,
    IngestResult,
    KnowledgeItem,
    KnowledgePage,
    SecretBackendConfig,
    SecretBackendInfo,
    SecretListResponse,
    SecretRequest,
    SecretResponse,
    VectorSearchRequest,
    VectorSearchResponse,
)

if TYPE_CHECKING:
    from ...http._async import AsyncPool

__all__ = ["AsyncStoreCalls"]


class AsyncStoreCalls:
    """The methods of a client about secrets and knowledge."""

    _pool: AsyncPool

    # --- secrets

    async def configure_secret_backend(
        self,
        config: SecretBackendConfig | Mapping[str, Any],
        *,
        timeout: Timeout = UNSET,
        idempotency_key: Key = None,
    ) -> dict[str, Any]:
        """Have the server keep secrets elsewhere; it tries the new place before it moves."""
        try:
            return await self._pool.call(
                routes.SECRETS_CONFIGURE,
                body=bodies.given(SecretBackendConfig, "config", config),
                timeout=timeout,
                idempotency_key=idempotency_key,
            )
        finally:
            del config  # a traceback records the locals of every frame that raises

    async def get_secret_backend(self, *, timeout: Timeout = UNSET) -> SecretBackendInfo:
        """Return where the server keeps secrets, without what it needs to get there."""
        return await self._pool.call(routes.SECRETS_BACKEND, timeout=timeout)

    async def store_secret(
        self,
        secret_request: SecretRequest | Mapping[str, Any],
        *,
        timeout: Timeout = UNSET,
        idempotency_key: Key = None,
    ) -> SecretResponse:
        """Store a secret of an agent, in the place of one that has this name."""
        try:
            return await self._pool.call(
                routes.SECRET_STORE,
                body=bodies.given(SecretRequest, "secret_request", secret_request),
                timeout=timeout,
                idempotency_key=idempotency_key,
            )
        finally:
            del secret_request

    async def get_secret(self, agent_id: str, secret_name: str, *, timeout: Timeout = UNSET) -> str:
        """Return a secret as plain text; `NotFoundError` when the agent has none of that name."""
        found = await self._pool.call(routes.SECRET_GET, agent_id, secret_name, timeout=timeout)
        return found.value

    async def list_secrets(self, agent_id: str, *, timeout: Timeout = UNSET) -> SecretListResponse:
        """Return the names of an agent's secrets, not their values."""
        return await self._pool.call(
            routes.SECRETS_LIST, bodies.secret_agent(agent_id), timeout=timeout
        )

    async def delete_secret(
        self, agent_id: str, secret_name: str, *, timeout: Timeout = UNSET
    ) -> dict[str, Any]:
        """Delete a secret of an agent."""
        return await self._pool.call(routes.SECRET_DELETE, agent_id, secret_name, timeout=timeout)

    # --- knowledge

    async def add_knowledge_item(
        self,
        item: KnowledgeItem | Mapping[str, Any],
        *,
        timeout: Timeout = UNSET,
        idempotency_key: Key = None,
    ) -> dict[str, Any]:
        """Store an item, in the place of one with this id; the server embeds it if need be."""
        return await self._pool.call(
            routes.KNOWLEDGE_ADD,
            body=bodies.given(KnowledgeItem, "item", item),
            timeout=timeout,
            idempotency_key=idempotency_key,
        )

    async def get_knowledge_item(self, item_id: str, *, timeout: Timeout = UNSET) -> KnowledgeItem:
        """Return an item; its embedding is None where the server does not tell it."""
        return await self._pool.call(routes.KNOWLEDGE_GET, item_id, timeout=timeout)

    async def list_knowledge(
        self,
        page: int = 1,
        limit: int = 20,
        agent_id: str | None = None,
        source_type: KnowledgeSourceType | str | None = None,
        *,
        timeout: Timeout = UNSET,
    ) -> KnowledgePage:
        """Return a page of items; pages count from 1."""
        return await self._pool.call(
            routes.KNOWLEDGE_LIST,
            query=bodies.page_query(page, limit, agent_id=agent_id, source_type=source_type),
            timeout=timeout,
        )

    def iter_knowledge(
        self,
        agent_id: str | None = None,
        source_type: KnowledgeSourceType | str | None = None,
        limit: int = 100,
    ) -> AsyncPages[KnowledgeItem]:
        """Iterate over all items, `limit` of them a page."""
        return AsyncPages(
            lambda page: self.list_knowledge(page, limit, agent_id, source_type),
            lambda page: page.items,
            lambda item: item.id,
        )

    async def delete_knowledge_item(
        self, item_id: str, *, timeout: Timeout = UNSET
    ) -> dict[str, Any]:
        """Delete an item."""
        return await self._pool.call(routes.KNOWLEDGE_DELETE, item_id, timeout=timeout)

    async def ingest_text(
        self,
        content: str,
        source: str,
        source_type: KnowledgeSourceType | str = KnowledgeSourceType.DOCUMENT,
        agent_id: str | None = None,
        *,
        id_prefix: str | None = None,
        chunk_size: int | None = None,
        chunk_overlap: int | None = None,
        timeout: Timeout = UNSET,
        idempotency_key: Key = None,
    ) -> IngestResult:
        """Have the server cut a text into chunks, and store each as an item.

        `source` is what the items name as their source. `chunk_size` and `chunk_overlap` are
        letters; None leaves them to the server. `id_prefix` begins the items' ids.
        """
        return await self._pool.call(
            routes.KNOWLEDGE_INGEST,
            body=bodies.members(
                content=bodies.text("content", content),
                source=bodies.text("source", source),
                source_type=bodies.text("source_type", source_type),
                agent_id=bodies.optional_text("agent_id", agent_id),
                id_prefix=bodies.optional_text("id_prefix", id_prefix),
                chunk_size=chunk_size,
                chunk_overlap=chunk_overlap,
            ),
            timeout=timeout,
            idempotency_key=idempotency_key,
        )

    async def ingest_file(
        self,
        path: str | os.PathLike[str],
        source: str | None = None,
        source_type: KnowledgeSourceType | str = KnowledgeSourceType.DOCUMENT,
        agent_id: str | None = None,
        *,
        id_prefix: str | None = None,
        chunk_size: int | None = None,
        chunk_overlap: int | None = None,
        timeout: Timeout = UNSET,
        idempotency_key: Key = None,
    ) -> IngestResult:
        """Read a UTF-8 file of this machine and ingest its text; `source` is its name if None."""
        return await self.ingest_text(
            await aio.run_slow(bodies.text_of_file, path),
            os.path.basename(os.fspath(path)) if source is None else source,
            source_type,
            agent_id,
            id_prefix=id_prefix,
            chunk_size=chunk_size,
            chunk_overlap=chunk_overlap,
            timeout=timeout,
            idempotency_key=idempotency_key,
        )

    async def search_knowledge(
        self,
        search_request: VectorSearchRequest | Mapping[str, Any],
        *,
        timeout: Timeout = UNSET,
    ) -> VectorSearchResponse:
        """Return the items most like a query, best first, with their similarity."""
        return await self._pool.call(
            routes.KNOWLEDGE_SEARCH,
            body=bodies.given(VectorSearchRequest, "search_request", search_request),
            timeout=timeout,
        )

    async def get_context(
        self, context_query: ContextQuery | Mapping[str, Any], *, timeout: Timeout = UNSET
    ) -> ContextResponse:
        """Return what a model should read before it answers a query, with its sources."""
        return await self._pool.call(
            routes.RAG_CONTEXT,
            body=bodies.given(ContextQuery, "context_query", context_query),
            timeout=timeout,
        )
