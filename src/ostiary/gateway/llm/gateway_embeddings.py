"""`GatewayEmbeddings`: LangChain embeddings whose calls go through the gateway.

Sync and native async, in batches (docs/langchain.md). Neighbour:
`clients` for who sends.
"""

from __future__ import annotations

from . import _langchain as _langchain  # says what to install when it is not there

# isort: split
from collections.abc import Mapping
from typing import Any, Self

from langchain_core.embeddings import Embeddings
from msgspec import UNSET, UnsetType
from pydantic import SecretStr

from ...errors import OstiaryError
from ..http import GatewayHttpClient
from ..options import MAX_RETRIES, TIMEOUT
from .access import access_for, check_shared, placed
from .clients import Clients
from .faults import lifted
from .foreign import ForeignHttp, is_foreign
from .model_ref import ModelRef

__all__ = ["GatewayEmbeddings", "create_embeddings_for_gateway"]


class GatewayEmbeddings(Embeddings):
    """Vectors of texts from a model behind the gateway, or in direct mode a provider's.

    `GatewayEmbeddings("openai:text-embedding-3-small")` reaches it as the environment says.
    Thread-safe, and good on any number of event loops. Every error of a call is a
    `SageSanctumError`, and LangChain's own error for the same condition where it has one.
    """

    def __init__(
        self,
        model: str | ModelRef,
        gateway_client: Any = None,
        http_client: Any = None,
        provider: str | None = None,
        *,
        dimensions: int | None = None,
        encoding_format: str | None = None,
        user: str | None = None,
        batch_size: int = 512,
        concurrency: int = 4,
        extra_body: Mapping[str, Any] | None = None,
        timeout: float | UnsetType | None = UNSET,
        max_retries: int | None = None,
        api_key: str | SecretStr | None = None,
        base_url: str | None = None,
        clients: Clients | None = None,
    ) -> None:
        """Describe a model; nothing is opened or read but the environment.

        `model` is `provider:model`, or with `provider` the bare name. `gateway_client` says how
        it is reached, left out what the environment asks for; `clients` shares the connections
        of other models; `http_client` replaces the transport; `api_key` and `base_url` are for
        direct mode alone.

        Texts are sent in batches of `batch_size`, `concurrency` of them at a time.
        `dimensions` is how long the vectors are to be, for models that can choose.
        `timeout` is in seconds, for a whole call, None for no limit.
        """
        ref = _ref_of(model, provider)
        key = SecretStr(api_key) if isinstance(api_key, str) else api_key
        del api_key  # a traceback records the locals of the frames that raise
        check_shared(
            clients,
            max_retries=max_retries,
            api_key=key,
            base_url=base_url,
            http_client=http_client,
        )
        self.model_ref = ref
        self.gateway_client: Any = (
            access_for(gateway_client, ref.provider, key, base_url)
            if clients is None
            else clients.access
        )
        self._http_client: Any = http_client
        self._extra = dict(extra_body or {})
        self._dimensions = dimensions
        self._encoding_format = encoding_format
        self._user = user
        self._batch_size = batch_size
        self._concurrency = concurrency
        self._owns = clients is None and not is_foreign(http_client)
        self._clients = clients
        # Where the clients are others' too, this one's timeout goes with each call.
        self._timeout: float | UnsetType | None = UNSET if self._owns else timeout
        if self._owns:
            access = self.gateway_client
            options: dict[str, Any] = {"timeout": TIMEOUT, "max_retries": MAX_RETRIES}
            if http_client is not None:
                access = placed(access, http_client)
                options = {"timeout": http_client.timeout, "max_retries": http_client.max_retries}
            if timeout is not UNSET:
                options["timeout"] = timeout
            if max_retries is not None:
                options["max_retries"] = max_retries
            self._clients = Clients(access, **options)

    @property
    def model(self) -> str:
        """The model as `provider:model`."""
        return str(self.model_ref)

    @property
    def endpoint(self) -> str:
        """Where calls go; `unix:///path` in gateway mode."""
        return str(self.gateway_client.get_endpoint(self.model_ref.provider))

    @property
    def _model(self) -> str:
        return self.model_ref.model

    @property
    def _provider(self) -> str:
        return self.model_ref.provider

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.model_ref}>"

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return a vector for each text, in their order; for none, nothing is sent."""
        return self._embed(texts)

    def embed_query(self, text: str) -> list[float]:
        """Return the vector of one text."""
        return self._embed([text])[0]

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return a vector for each text, in their order; for none, nothing is sent."""
        return await self._aembed(texts)

    async def aembed_query(self, text: str) -> list[float]:
        """Return the vector of one text."""
        return (await self._aembed([text]))[0]

    def _embed(self, texts: list[str]) -> list[list[float]]:
        try:
            if self._clients is not None:
                found = self._clients.sync_client().embed(texts, **self._options())
                return found.vectors
            return self._foreign(texts)
        except OstiaryError as error:
            raise lifted(error) from error.__cause__

    async def _aembed(self, texts: list[str]) -> list[list[float]]:
        if self._clients is None:
            # LangChain's own: what a caller brought has no async of its own.
            return await super().aembed_documents(texts)
        try:
            found = await self._clients.async_client().embed(texts, **self._options())
            return found.vectors
        except OstiaryError as error:
            raise lifted(error) from error.__cause__

    def _foreign(self, texts: list[str]) -> list[list[float]]:
        given = [str(text) for text in texts]
        sender = ForeignHttp(self.gateway_client, self._http_client)
        options = {
            "dimensions": self._dimensions,
            "encoding_format": self._encoding_format,
            "user": self._user,
        }
        body = {name: value for name, value in options.items() if value is not None} | self._extra
        vectors: list[list[float]] = []
        for start in range(0, len(given), self._batch_size):
            batch = given[start : start + self._batch_size]
            vectors += sender.embed(batch, self.model_ref, body).vectors
        return vectors

    def _options(self) -> dict[str, Any]:
        return {
            "model": self.model_ref,
            "dimensions": self._dimensions,
            "encoding_format": self._encoding_format,
            "user": self._user,
            "batch_size": self._batch_size,
            "concurrency": self._concurrency,
            "extra": self._extra or None,
            "timeout": self._timeout,
        }

    def close(self) -> None:
        """Close the connections; those of `clients` that were given are their owner's."""
        if self._owns and self._clients is not None:
            self._clients.close()

    async def aclose(self) -> None:
        """Close the connections."""
        if self._owns and self._clients is not None:
            await self._clients.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()


def _ref_of(model: str | ModelRef, provider: str | None) -> ModelRef:
    if provider is None:
        return model if isinstance(model, ModelRef) else ModelRef.parse(model)
    name = provider.strip().lower()
    # A bare name may hold a colon, and so only the same provider in front of one is no part of it.
    return ModelRef(name, str(model).removeprefix(f"{name}:"))


def create_embeddings_for_gateway(
    model: str | ModelRef,
    gateway_client: Any,
    provider: str | None = None,
    **options: Any,
) -> GatewayEmbeddings:
    """Return embeddings for an access object, in gateway mode and in direct mode.

    The rest is as for `GatewayEmbeddings`.
    """
    if gateway_client.is_gateway_mode and "http_client" not in options:
        endpoint = gateway_client.get_endpoint(_ref_of(model, provider).provider)
        options["http_client"] = GatewayHttpClient.from_endpoint(endpoint)
    return GatewayEmbeddings(model, gateway_client, provider=provider, **options)
