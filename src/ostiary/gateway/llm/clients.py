"""The typed clients that LangChain's objects call through: one for threads, one per event loop.

LangChain keeps a model for as long as a program runs and calls it from threads and from
whichever loop is running. Neighbours: `gateway_chat`, `gateway_embeddings`; several of them may
share one `Clients`, and so their connections.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, Self

from ..client import GatewayAccess, access_from_environment
from ..errors import GatewayStateError
from ..options import MAX_RETRIES, TIMEOUT

if TYPE_CHECKING:
    from .._async import AsyncGatewayClient
    from .._sync import GatewayClient
    from ..models import Usage
    from ..usage import UsageTotals

__all__ = ["Clients"]


class Clients:
    """Clients of one access object, made when they are first needed.

    `access` None is what the environment asks for. `options` are those of `GatewayClient`.
    Thread-safe. Use it as a context manager, or call `close` or `aclose`.
    """

    def __init__(self, access: GatewayAccess | None = None, **options: Any) -> None:
        self.access = access_from_environment() if access is None else access
        options.setdefault("timeout", TIMEOUT)
        options.setdefault("max_retries", MAX_RETRIES)
        self._options = options
        self.settled: dict[str, Any] = {"max_retries": options["max_retries"]}
        """What a model that shares these may say only as it is."""
        self._lock = threading.Lock()
        self._sync: GatewayClient | None = None
        self._async: dict[asyncio.AbstractEventLoop, AsyncGatewayClient] = {}
        # Every client's, those included that are closed: what was used stays used.
        self._totals: list[UsageTotals] = []
        self._closed = False

    @property
    def usage(self) -> dict[str, Usage]:
        """What all calls used so far, by model, as `provider:model`."""
        with self._lock:
            totals = list(self._totals)
        found: dict[str, Usage] = {}
        for each in totals:
            for model, usage in each.by_model.items():
                found[model] = found[model] + usage if model in found else usage
        return found

    @property
    def options(self) -> dict[str, Any]:
        """What the clients are made with."""
        return dict(self._options)

    def sync_client(self) -> GatewayClient:
        """Return the client for threads."""
        if (client := self._sync) is not None:
            return client
        from .._sync import GatewayClient

        with self._lock:
            self._open()
            if self._sync is None:
                self._sync = GatewayClient(self.access, **self._options)
                self._totals.append(self._sync.usage)
            return self._sync

    def async_client(self) -> AsyncGatewayClient:
        """Return the client for the running loop."""
        loop = asyncio.get_running_loop()
        if (client := self._async.get(loop)) is not None:
            return client
        from .._async import AsyncGatewayClient

        with self._lock:
            self._open()
            # A program that runs one loop after another needs one client all along.
            for other in self._async:
                if other.is_closed():
                    client = self._async.pop(other)
                    break
            else:
                client = AsyncGatewayClient(self.access, **self._options)
                self._totals.append(client.usage)
            self._async[loop] = client
            return client

    def _open(self) -> None:
        if self._closed:
            raise GatewayStateError("the clients are closed; make a new model")

    def close(self) -> None:
        """Close every client; one whose loop still runs is closed there, soon."""
        for client, loop in self._taken():
            if loop.is_running():
                asyncio.run_coroutine_threadsafe(client.aclose(), loop)

    async def aclose(self) -> None:
        """Close every client, and wait for that of the running loop."""
        here = asyncio.get_running_loop()
        for client, loop in self._taken():
            if loop is here:
                await client.aclose()
            elif loop.is_running():
                asyncio.run_coroutine_threadsafe(client.aclose(), loop)

    def _taken(self) -> list[tuple[AsyncGatewayClient, asyncio.AbstractEventLoop]]:
        """Close the client for threads, and return the others, with their loops.

        The connections of a loop that has ended are closed when nothing refers to them.
        """
        with self._lock:
            self._closed = True
            sync, self._sync = self._sync, None
            others = [(client, loop) for loop, client in self._async.items()]
            self._async.clear()
        if sync is not None:
            sync.close()
        return others

    # What is copied or sent to another process is how clients are made; each place makes its own.
    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self.access, self._options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()


def _restored(access: GatewayAccess, options: dict[str, Any]) -> Clients:
    return Clients(access, **options)
