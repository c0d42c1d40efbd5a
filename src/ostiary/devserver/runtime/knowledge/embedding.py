"""Where vectors come from: the built-in embedding, or a model behind the gateway.

Neighbours: `hashing` is the built-in one, `library` asks.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, final

from ...http.refusals import HttpRefusal
from . import hashing

if TYPE_CHECKING:
    from ostiary.gateway import AsyncGatewayClient

__all__ = ["Embedding", "GatewayEmbedding", "HashingEmbedding"]

_TIMEOUT: Final = 30.0


class Embedding(Protocol):
    """A way from texts to vectors. `name` tells vectors of different ways apart."""

    @property
    def name(self) -> str: ...

    @property
    def local(self) -> bool:
        """Whether `vectors` only computes, and is called on the library's thread."""
        ...

    async def ask(self, texts: Sequence[str]) -> list[list[float]]:
        """Return a vector for each text; only where not `local`."""
        ...

    def compute(self, texts: Sequence[str]) -> list[list[float]]:
        """Return a vector for each text; only where `local`."""
        ...

    async def close(self) -> None: ...


@final
class HashingEmbedding:
    """The built-in embedding."""

    name = hashing.NAME
    local = True

    async def ask(self, texts: Sequence[str]) -> list[list[float]]:
        return self.compute(texts)

    def compute(self, texts: Sequence[str]) -> list[list[float]]:
        return [hashing.vector(text) for text in texts]

    async def close(self) -> None:
        """There is nothing to close."""


@final
class GatewayEmbedding:
    """A model behind the gateway: the one in this home if it runs, else the environment's."""

    local = False

    def __init__(self, model: str, home: Path) -> None:
        self.name = f"gateway:{model}"
        self._model = model
        self._home = home
        self._client: AsyncGatewayClient | None = None

    async def ask(self, texts: Sequence[str]) -> list[list[float]]:
        from ostiary.errors import OstiaryError

        problem: OstiaryError
        try:
            if self._client is None:
                self._client = self._connected()
            reply = await self._client.embed(texts, model=self._model, timeout=_TIMEOUT)
            found = [list(vector) for vector in reply.vectors]
        except OstiaryError as error:
            problem = error
        else:
            if all(any(vector) and all(map(math.isfinite, vector)) for vector in found):
                return found
            raise _failed("the model's vectors have no direction")
        raise _failed(str(problem))

    def compute(self, texts: Sequence[str]) -> list[list[float]]:
        raise TypeError("a model behind the gateway is asked, not computed")

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    def _connected(self) -> AsyncGatewayClient:
        from ostiary.gateway import AsyncGatewayClient
        from ostiary.gateway.client import access_from_environment

        files = self._home / "gateway"
        environment = os.environ
        own = {
            "SPIFFE_JWT_PATH": files / "svid.jwt",
            "TRAT_FILE": files / "trat.jwt",
            "LLM_GATEWAY_SOCKET": self._home / "gateway.sock",
        }
        if all(path.exists() for path in own.values()):
            access = access_from_environment({name: str(path) for name, path in own.items()})
        else:
            access = access_from_environment(environment)
        return AsyncGatewayClient(access)


def _failed(why: str) -> HttpRefusal:
    return HttpRefusal(502, "EMBEDDING_FAILED", f"no vectors came from the gateway: {why}")
