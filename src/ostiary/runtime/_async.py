"""The runtime client: agents, workflows, tool review, secrets, MCP, knowledge, deployments."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from msgspec import UNSET

from .._api_key import hidden
from .._calls.client._async import AsyncDomainClient
from .._calls.colours import Timeout
from .._settings import hidden_headers
from ..secret import Secret
from . import _bodies as bodies
from . import _routes as routes
from ._agents._async import AsyncAgentCalls
from ._events._async import AsyncEvents
from ._features import FEATURES
from ._reviews._async import AsyncReviewCalls
from ._schedules._async import AsyncChannels, AsyncSchedules
from ._stores._async import AsyncStoreCalls
from ._tools._async import AsyncToolCalls
from .errors import APIError, InvalidArgumentError, NotFoundError
from .models import AgentMetrics, HealthResponse, SystemMetrics, SystemStatus
from .settings import MAX_CONNECTIONS, RuntimeSettings

if TYPE_CHECKING:
    import ssl

    from msgspec import UnsetType

    from .._api_key import KeySource
    from ..config import Limits
    from ..http.connections import AsyncConnections
    from ..http.hooks import RequestInfo, ResponseInfo, RetryInfo
    from ..http.settings import Parser

__all__ = ["AsyncRuntimeClient"]


class AsyncRuntimeClient(
    AsyncAgentCalls,
    AsyncReviewCalls,
    AsyncStoreCalls,
    AsyncToolCalls,
    AsyncDomainClient[RuntimeSettings],
):
    """An agent runtime (docs/runtime.md).

    Use it as a context manager, or call `aclose`. Nothing is opened before the first call.
    All methods take `timeout`, in seconds, for the whole call, retries included; None is no
    limit. Those that create or change something take `idempotency_key`: text of your own, or
    True for a new one; with it the call is sent again also when it may have run. Requests are
    models or mappings of their fields. Every error is a `SymbiontError`;
    `FeatureNotAvailableError` when the server has no such group of operations.
    """

    def __init__(
        self,
        api_key: str | Secret | None = None,
        base_url: str | None = None,
        *,
        timeout: float | UnsetType | None = UNSET,
        max_retries: int | UnsetType = UNSET,
        max_connections: int = MAX_CONNECTIONS,
        limits: Limits | None = None,
        parser: Parser | None = None,
        ssl_context: ssl.SSLContext | None = None,
        expected_uid: int | None = None,
        on_request: Callable[[RequestInfo], object] | None = None,
        on_response: Callable[[ResponseInfo], object] | None = None,
        on_retry: Callable[[RetryInfo], object] | None = None,
        headers: Mapping[str, str | Secret] | None = None,
        keys: KeySource | None = None,
        connections: AsyncConnections | None = None,
        adaptive: bool = False,
    ) -> None:
        """Describe a client; nothing is opened.

        What is left out, or empty, is taken from the environment (`SYMBIONT_API_KEY`,
        `SYMBIONT_BASE_URL`, `SYMBIONT_TIMEOUT`, `SYMBIONT_MAX_RETRIES`), then from a `.env` of
        the working directory or above it, then from the defaults: no key,
        `http://localhost:8080/api/v1`, 30 seconds, 3 retries. `base_url` may also be
        `https://...` or, for a Unix socket, `unix:///path` or
        `http+unix://<percent-encoded path>/api/v1`. The rest is as for `ostiary.http.AsyncPool`.

        `keys` fetches the key for an `api_key` that is a reference, `vault:path`
        (docs/credentials.md).
        """
        # Hidden first: a traceback records the locals of every frame that raises.
        key, lines = hidden(api_key), hidden_headers(headers)
        del api_key, headers
        self._configure(
            RuntimeSettings.resolve(
                key,
                base_url,
                timeout=timeout,
                max_retries=max_retries,
                max_connections=max_connections,
                limits=limits,
                parser=parser,
                ssl_context=ssl_context,
                expected_uid=expected_uid,
                on_request=on_request,
                on_response=on_response,
                on_retry=on_retry,
                headers=lines,
                keys=keys,
                connections=connections,
                adaptive=adaptive,
            )
        )

    def _configure(self, settings: RuntimeSettings) -> None:
        super()._configure(settings)
        self._features: dict[str, bool] = {}

    @cached_property
    def schedules(self) -> AsyncSchedules:
        """Agents that run by the clock."""
        return AsyncSchedules(self._pool)

    @cached_property
    def channels(self) -> AsyncChannels:
        """Agents in chat platforms."""
        return AsyncChannels(self._pool)

    @property
    def api_key(self) -> Secret | None:
        """The key that is sent, hidden; None when there is none, or a reference in its place."""
        key = self._settings.api_key
        return key if isinstance(key, Secret) else None

    # --- how the runtime is

    async def health_check(self, *, timeout: Timeout = UNSET) -> HealthResponse:
        """Return what the server's health endpoint says; needs no key."""
        return await self._pool.call(routes.HEALTH, timeout=timeout)

    async def get_status(self, *, timeout: Timeout = UNSET) -> SystemStatus:
        """Return the server's version and how many agents, schedules and channels it has."""
        return await self._pool.call(routes.STATUS, timeout=timeout)

    async def get_metrics(self, *, timeout: Timeout = UNSET) -> SystemMetrics:
        """Return the server's figures; None for those that it does not tell."""
        return await self._pool.call(routes.METRICS, timeout=timeout)

    async def get_agent_metrics(self, agent_id: str, *, timeout: Timeout = UNSET) -> AgentMetrics:
        """Return an agent's figures."""
        return await self._pool.call(routes.AGENT_METRICS, agent_id, timeout=timeout)

    async def prometheus_metrics(self, *, timeout: Timeout = UNSET) -> str:
        """Return the server's figures in the text format of Prometheus."""
        return await self._pool.call(routes.METRICS_PROMETHEUS, timeout=timeout)

    def events(
        self,
        agent_id: str | None = None,
        types: str | Iterable[str] | None = None,
        last_event_id: str | None = None,
        *,
        timeout: Timeout = UNSET,
        idle_timeout: float | None = None,
    ) -> AsyncEvents:
        """Return the runtime's events as they happen, of one agent or of these types alone.

        The request is sent when the first event is asked for. With `last_event_id` the events
        behind that one come first, as far as the server still has them. `idle_timeout` is the
        longest gap between two events, in seconds; None is no limit. In a `with` block,
        leaving the loop early closes the connection at once.
        """
        return AsyncEvents(
            self._pool,
            bodies.event_query(agent_id, types),
            bodies.optional_text("last_event_id", last_event_id),
            idle_timeout,
            timeout,
        )

    async def supports(self, feature: str, *, timeout: Timeout = UNSET) -> bool:
        """Whether the server has a group of operations; it is asked once and remembered.

        `feature` is one of `approvals`, `channels`, `deployments`, `dsl`, `executions`,
        `http_input`, `knowledge`, `mcp`, `prometheus`, `reviews`, `schedules`, `secrets`.
        """
        known = self._features.get(feature)
        if known is not None:
            return known
        wanted = FEATURES.get(feature)
        if wanted is None:
            raise InvalidArgumentError(f"feature is one of {', '.join(sorted(FEATURES))}")
        try:
            await self._pool.call(wanted.probe, query=wanted.query, timeout=timeout)
        except (NotFoundError, APIError) as error:
            if not isinstance(error, NotFoundError) and error.status_code not in {405, 501}:
                raise
            found = error.status_code == 405 and wanted.served_if_405
        else:
            found = True
        self._features[feature] = found
        return found
