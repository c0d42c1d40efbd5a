"""The guide's names of the other colour: blocking ones on the async client's namespaces,
awaitable ones on the blocking client's.

Each calls the client of the colour that its name promises. Not generated: these are what the
two colours do not share.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import UNSET, UnsetType

from .errors import HestiaStateError
from .models import (
    AgentResult,
    ChatResponse,
    HealthResponse,
    SystemMetrics,
    SystemStatus,
    TraceResponse,
)
from .settings import GovernanceSettings

if TYPE_CHECKING:
    from ..http import AsyncPool, Pool
    from ._async import AsyncGovernanceClient
    from ._sync import GovernanceClient

Timeout = float | UnsetType | None
"""Seconds; None is no limit; left out, the client's own."""


class AsyncTwin:
    """The blocking client beside an async one, made when it is first needed."""

    __slots__ = ("_made", "_pool", "_settings")

    def __init__(self, settings: GovernanceSettings, pool: AsyncPool) -> None:
        self._settings = settings
        self._pool = pool
        self._made: dict[str, GovernanceClient] = {}

    @property
    def client(self) -> GovernanceClient:
        """The same client at every call."""
        made = self._made.get("client")
        if made is None:
            _require_open(self._pool)
            from ._sync import GovernanceClient

            # Two threads that meet here agree on one.
            made = self._made.setdefault(
                "client", GovernanceClient.made_from(self._settings.for_threads())
            )
        return made

    def close(self) -> None:
        """Close it, if there is one."""
        while self._made:
            self._made.popitem()[1].close()


class Twin:
    """Async clients beside a blocking one: a new one for each call, which closes it.

    A connection belongs to an event loop, and nobody tells a blocking client when one ends.
    """

    __slots__ = ("_pool", "_settings")

    def __init__(self, settings: GovernanceSettings, pool: Pool) -> None:
        self._settings = settings.alone()
        self._pool = pool

    @property
    def client(self) -> AsyncGovernanceClient:
        """A new client, to be entered."""
        _require_open(self._pool)
        from ._async import AsyncGovernanceClient

        return AsyncGovernanceClient.made_from(self._settings)

    def close(self) -> None:
        """Nothing stays open."""


def _require_open(pool: AsyncPool | Pool) -> None:
    if pool.closed:
        raise HestiaStateError("the client is closed; make another one")


class _AsyncNames:
    def __init__(self, pool: AsyncPool, twin: AsyncTwin) -> None:
        self._pool = pool
        self._twin = twin


class _Names:
    def __init__(self, pool: Pool, twin: Twin) -> None:
        self._pool = pool
        self._twin = twin


# --- chat


class _Chats(Protocol):
    def run(
        self,
        message: str,
        session_id: str | None = None,
        *,
        timeout: Timeout = UNSET,
        idempotency_key: str | bool | None = None,
    ) -> ChatResponse: ...


class _ChatNames:
    def send(
        self: _Chats, message: str, session_id: str | None = None, *, timeout: Timeout = UNSET
    ) -> ChatResponse:
        """Send a message and wait for the answer: `run` under another name."""
        return self.run(message, session_id, timeout=timeout)

    def __call__(
        self: _Chats, message: str, session_id: str | None = None, *, timeout: Timeout = UNSET
    ) -> ChatResponse:
        """Send a message and wait for the answer: `run` under another name."""
        return self.run(message, session_id, timeout=timeout)


class AsyncChatNames(_AsyncNames, _ChatNames):
    """What blocks on the async client."""

    def run(
        self,
        message: str,
        session_id: str | None = None,
        *,
        timeout: Timeout = UNSET,
        idempotency_key: str | bool | None = None,
    ) -> ChatResponse:
        """Send a message and wait for the answer; blocks the event loop, if one runs here."""
        return self._twin.client.chat.run(
            message, session_id, timeout=timeout, idempotency_key=idempotency_key
        )


class ChatNames(_Names, _ChatNames):
    """What is awaited on the blocking client."""

    async def run_async(
        self,
        message: str,
        session_id: str | None = None,
        *,
        timeout: Timeout = UNSET,
        idempotency_key: str | bool | None = None,
    ) -> ChatResponse:
        """Do what `run` does, without blocking; on a connection of its own."""
        async with self._twin.client as client:
            return await client.chat.run_async(
                message, session_id, timeout=timeout, idempotency_key=idempotency_key
            )


# --- agents


class _Agents(Protocol):
    def run(
        self,
        agent_id: str,
        task: str,
        config: Mapping[str, Any] | None = None,
        *,
        timeout: Timeout = UNSET,
        idempotency_key: str | bool | None = None,
    ) -> AgentResult: ...


class _AgentsNames:
    def __call__(
        self: _Agents,
        agent_id: str,
        task: str,
        config: Mapping[str, Any] | None = None,
        *,
        timeout: Timeout = UNSET,
    ) -> AgentResult:
        """Have an agent do a task and wait: `run` under another name."""
        return self.run(agent_id, task, config, timeout=timeout)


class AsyncAgentsNames(_AsyncNames, _AgentsNames):
    """What blocks on the async client."""

    def run(
        self,
        agent_id: str,
        task: str,
        config: Mapping[str, Any] | None = None,
        *,
        timeout: Timeout = UNSET,
        idempotency_key: str | bool | None = None,
    ) -> AgentResult:
        """Have an agent do a task and wait; blocks the event loop, if one runs here."""
        return self._twin.client.agents.run(
            agent_id, task, config, timeout=timeout, idempotency_key=idempotency_key
        )


class AgentsNames(_Names, _AgentsNames):
    """What is awaited on the blocking client."""

    async def run_async(
        self,
        agent_id: str,
        task: str,
        config: Mapping[str, Any] | None = None,
        *,
        timeout: Timeout = UNSET,
        idempotency_key: str | bool | None = None,
    ) -> AgentResult:
        """Do what `run` does, without blocking; on a connection of its own."""
        async with self._twin.client as client:
            return await client.agents.run_async(
                agent_id, task, config, timeout=timeout, idempotency_key=idempotency_key
            )


# --- system


class AsyncSystemNames(_AsyncNames):
    """What blocks on the async client."""

    def status(self, *, timeout: Timeout = UNSET) -> SystemStatus:
        """Return how the server is; blocks the event loop, if one runs here."""
        return self._twin.client.system.status(timeout=timeout)

    def config(self, *, timeout: Timeout = UNSET) -> dict[str, Any]:
        """Return the server's configuration; blocks the event loop, if one runs here."""
        return self._twin.client.system.config(timeout=timeout)

    def metrics(self, *, timeout: Timeout = UNSET) -> SystemMetrics:
        """Return the server's figures; blocks the event loop, if one runs here."""
        return self._twin.client.system.metrics(timeout=timeout)

    def health(self, *, timeout: Timeout = UNSET) -> HealthResponse:
        """Return whether the server is well; blocks the event loop, if one runs here."""
        return self._twin.client.system.health(timeout=timeout)


class SystemNames(_Names):
    """What is awaited on the blocking client; each on a connection of its own."""

    async def status_async(self, *, timeout: Timeout = UNSET) -> SystemStatus:
        """Do what `status` does, without blocking."""
        async with self._twin.client as client:
            return await client.system.status_async(timeout=timeout)

    async def config_async(self, *, timeout: Timeout = UNSET) -> dict[str, Any]:
        """Do what `config` does, without blocking."""
        async with self._twin.client as client:
            return await client.system.config_async(timeout=timeout)

    async def metrics_async(self, *, timeout: Timeout = UNSET) -> SystemMetrics:
        """Do what `metrics` does, without blocking."""
        async with self._twin.client as client:
            return await client.system.metrics_async(timeout=timeout)

    async def health_async(self, *, timeout: Timeout = UNSET) -> HealthResponse:
        """Do what `health` does, without blocking."""
        async with self._twin.client as client:
            return await client.system.health_async(timeout=timeout)


# --- secrets


class _Secrets(Protocol):
    def get(self, key: str, *, timeout: Timeout = UNSET) -> str: ...


class _SecretsNames:
    def __call__(self: _Secrets, key: str, *, timeout: Timeout = UNSET) -> str:
        """Return a secret's value: `get` under another name."""
        return self.get(key, timeout=timeout)


class AsyncSecretsNames(_AsyncNames, _SecretsNames):
    """What blocks on the async client."""

    def get(self, key: str, *, timeout: Timeout = UNSET) -> str:
        """Return a secret's value; blocks the event loop, if one runs here."""
        return self._twin.client.secrets.get(key, timeout=timeout)

    def set(
        self, key: str, value: str, provider: str = "custom", *, timeout: Timeout = UNSET
    ) -> None:
        """Store a secret; blocks the event loop, if one runs here."""
        try:
            self._twin.client.secrets.set(key, value, provider, timeout=timeout)
        finally:
            del value  # a traceback records the locals of every frame that raises

    def delete(self, key: str, *, timeout: Timeout = UNSET) -> None:
        """Delete a secret; blocks the event loop, if one runs here."""
        self._twin.client.secrets.delete(key, timeout=timeout)


class SecretsNames(_Names, _SecretsNames):
    """What is awaited on the blocking client; each on a connection of its own."""

    async def get_async(self, key: str, *, timeout: Timeout = UNSET) -> str:
        """Do what `get` does, without blocking."""
        async with self._twin.client as client:
            return await client.secrets.get_async(key, timeout=timeout)

    async def set_async(
        self, key: str, value: str, provider: str = "custom", *, timeout: Timeout = UNSET
    ) -> None:
        """Do what `set` does, without blocking."""
        try:
            async with self._twin.client as client:
                await client.secrets.set_async(key, value, provider, timeout=timeout)
        finally:
            del value

    async def delete_async(self, key: str, *, timeout: Timeout = UNSET) -> None:
        """Do what `delete` does, without blocking."""
        async with self._twin.client as client:
            await client.secrets.delete_async(key, timeout=timeout)


# --- governance


class AsyncGovernanceNames(_AsyncNames):
    """What blocks on the async client."""

    def explain(
        self,
        command_type: str,
        command_input: Mapping[str, Any] | None = None,
        *,
        timeout: Timeout = UNSET,
    ) -> dict[str, Any]:
        """Return what governance would decide; blocks the event loop, if one runs here."""
        return self._twin.client.governance.explain(command_type, command_input, timeout=timeout)

    def status(self, *, timeout: Timeout = UNSET) -> dict[str, Any]:
        """Return drift and stability; blocks the event loop, if one runs here."""
        return self._twin.client.governance.status(timeout=timeout)

    def trace(self, command_id: str, *, timeout: Timeout = UNSET) -> dict[str, Any] | None:
        """Return a decision with its reasons; blocks the event loop, if one runs here."""
        return self._twin.client.governance.trace(command_id, timeout=timeout)

    def get_trace(self, command_id: str, *, timeout: Timeout = UNSET) -> TraceResponse | None:
        """Return a decision, typed; blocks the event loop, if one runs here."""
        return self._twin.client.governance.get_trace(command_id, timeout=timeout)


class GovernanceNames(_Names):
    """What is awaited on the blocking client; each on a connection of its own."""

    async def explain_async(
        self,
        command_type: str,
        command_input: Mapping[str, Any] | None = None,
        *,
        timeout: Timeout = UNSET,
    ) -> dict[str, Any]:
        """Do what `explain` does, without blocking."""
        async with self._twin.client as client:
            return await client.governance.explain_async(
                command_type, command_input, timeout=timeout
            )

    async def status_async(self, *, timeout: Timeout = UNSET) -> dict[str, Any]:
        """Do what `status` does, without blocking."""
        async with self._twin.client as client:
            return await client.governance.status_async(timeout=timeout)

    async def trace_async(
        self, command_id: str, *, timeout: Timeout = UNSET
    ) -> dict[str, Any] | None:
        """Do what `trace` does, without blocking."""
        async with self._twin.client as client:
            return await client.governance.trace_async(command_id, timeout=timeout)

    async def get_trace_async(
        self, command_id: str, *, timeout: Timeout = UNSET
    ) -> TraceResponse | None:
        """Do what `get_trace` does, without blocking."""
        async with self._twin.client as client:
            return await client.governance.get_trace_async(command_id, timeout=timeout)
