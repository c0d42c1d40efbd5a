"""The governance client: run through governance, stream, ask for reasons, keep secrets."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self, final

from msgspec import UNSET

from .._api_key import hidden
from .._calls.client._async import AsyncDomainClient
from .._settings import hidden_headers
from .._wire.sse import EventDecoder
from ..config import Limits
from ..errors import OstiaryError, adopt
from ..http._async import AsyncPool
from ..secret import Secret
from . import _bodies as bodies
from . import _routes as routes
from ._twins import (
    AsyncAgentsNames,
    AsyncChatNames,
    AsyncGovernanceNames,
    AsyncSecretsNames,
    AsyncSystemNames,
    AsyncTwin,
    Timeout,
)
from .errors import FAMILY, HestiaError, HestiaProtocolError
from .models import (
    AgentResult,
    ChatResponse,
    HealthResponse,
    RunResponse,
    SystemMetrics,
    SystemStatus,
    TraceResponse,
)
from .settings import (
    IDLE_TIMEOUT,
    MAX_CONNECTIONS,
    MAX_RETRIES,
    TIMEOUT,
    GovernanceSettings,
)
from .stream import END, Collected, Grammar, Payload, StreamEvent, cut_short, read_payload, unfold

if TYPE_CHECKING:
    import ssl

    from .._api_key import KeySource
    from .._io.aio_http import AsyncEventStream
    from ..http.connections import AsyncConnections
    from ..http.hooks import RequestInfo, ResponseInfo, RetryInfo
    from ..http.settings import Parser

__all__ = [
    "AsyncAgents",
    "AsyncChat",
    "AsyncGovernance",
    "AsyncGovernanceClient",
    "AsyncRunStream",
    "AsyncSecrets",
    "AsyncSystem",
]


class AsyncGovernanceClient(AsyncDomainClient[GovernanceSettings]):
    """A governance server, for whatever an agent wants to do (docs/governance.md).

    Use it as a context manager, or call `aclose`. Nothing is opened before the first call.
    `chat`, `agents`, `system`, `secrets` and `governance` hold the other operations. All
    methods take `timeout`, in seconds, for the whole call, retries included; None is no limit.
    Every error is a `HestiaError`.
    """

    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | Secret | None = None,
        timeout: float | None = TIMEOUT,
        retries: int = MAX_RETRIES,
        *,
        strict: bool = False,
        idle_timeout: float | None = IDLE_TIMEOUT,
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

        `base_url` is `http://host[:port][/prefix]`, `https://...` or, for a Unix socket,
        `unix:///path` or `http+unix://<percent-encoded path>[/prefix]`; left out,
        `OSTIARY_GOVERNANCE_URL`, then `http://localhost:8000`. `api_key`, left out, is
        `OSTIARY_GOVERNANCE_API_KEY`, then the content of the file that
        `OSTIARY_GOVERNANCE_API_KEY_FILE` names; an empty one stands for none.

        `retries` is how often a call that failed is sent again, if it may be: see
        docs/deadlines.md. `strict` has streams refuse events that are out of order.
        `idle_timeout` is the longest gap between two events of a stream. The rest is as for
        `ostiary.http.AsyncPool`.

        `keys` fetches the key for an `api_key` that is a reference, `vault:path`
        (docs/credentials.md).
        """
        # Hidden first: a traceback records the locals of every frame that raises.
        key, lines = hidden(api_key), hidden_headers(headers)
        del api_key, headers
        self._configure(
            GovernanceSettings.resolve(
                base_url,
                key,
                strict=strict,
                timeout=timeout,
                max_retries=retries,
                idle_timeout=idle_timeout,
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

    def _configure(self, settings: GovernanceSettings) -> None:
        super()._configure(settings)
        self._twin = AsyncTwin(settings, self._pool)

    # Made when they are asked for: a process may hold thousands of clients.

    @cached_property
    def chat(self) -> AsyncChat:
        """Talk to a model."""
        return AsyncChat(self._pool, self._twin)

    @cached_property
    def agents(self) -> AsyncAgents:
        """Have agents do something."""
        return AsyncAgents(self._pool, self._twin)

    @cached_property
    def system(self) -> AsyncSystem:
        """How the server is."""
        return AsyncSystem(self._pool, self._twin)

    @cached_property
    def secrets(self) -> AsyncSecrets:
        """Values the server keeps."""
        return AsyncSecrets(self._pool, self._twin)

    @cached_property
    def governance(self) -> AsyncGovernance:
        """Decisions and their reasons."""
        return AsyncGovernance(self._pool, self._twin)

    async def aclose(self) -> None:
        """Close every connection; calls and streams under way end with an error. Final."""
        try:
            await super().aclose()
        finally:
            # A closed pool is what keeps the twin from being made anew.
            self._twin.close()

    # --- running

    async def run_async(
        self,
        input: str,
        session_id: str | None = None,
        agent_id: str | None = None,
        mode_hint: str | None = None,
        timeout_ms: int = bodies.TIMEOUT_MS,
        stream: bool = False,
        *,
        timeout: Timeout = UNSET,
        idempotency_key: str | bool | None = None,
    ) -> RunResponse:
        """Run `input` through governance and return the result.

        `session_id` and `agent_id` tell governance who asks; `mode_hint` is `fast`, `balanced`
        or `deep`. `timeout_ms` is how long the server may work, in milliseconds: `timeout`
        bounds the call on this side and should be longer. `stream` is sent along and changes
        nothing here: `run_stream` streams. With `idempotency_key` (True makes one) the call
        is sent again also when it may have run.

        Raises `GovernanceBlock` when governance decides against it, `InvalidInput` when the
        server refuses the input, `HestiaGatewayTimeoutError` when the work took too long.
        """
        return await self._pool.call(
            routes.RUN,
            body=bodies.run_body(input, session_id, agent_id, mode_hint, timeout_ms, stream),
            timeout=timeout,
            idempotency_key=idempotency_key,
        )

    def run_stream(
        self,
        input: str,
        session_id: str | None = None,
        agent_id: str | None = None,
        mode_hint: str | None = None,
        timeout_ms: int = bodies.TIMEOUT_MS,
        timeout: float | None = None,
        *,
        idle_timeout: Timeout = UNSET,
        strict: bool | None = None,
    ) -> AsyncRunStream:
        """Run `input` through governance and return its events as they come.

        The request is sent when the first event is asked for. Leaving the loop early closes
        the connection at once; so do `close` and the end of a `with` block around it.
        `timeout` bounds the whole stream, in seconds, `idle_timeout` the gap between events;
        `strict`, unless left out, takes the place of the client's.

        Iterating raises `GovernanceBlock` when governance decides against it before the first
        event (a later block is an `error` event), `HestiaConnectionLostError` when the stream
        ends without `done`, `HestiaDeadlineError` when it takes too long, and
        `HestiaProtocolError` for what is no event.
        """
        return AsyncRunStream(
            self._pool,
            bodies.run_body(input, session_id, agent_id, mode_hint, timeout_ms, True),
            timeout,
            idle_timeout,
            self._settings.strict if strict is None else strict,
        )

    # unasync: skip
    def run(
        self,
        input: str,
        session_id: str | None = None,
        agent_id: str | None = None,
        mode_hint: str | None = None,
        timeout_ms: int = bodies.TIMEOUT_MS,
        stream: bool = False,
        *,
        timeout: Timeout = UNSET,
        idempotency_key: str | bool | None = None,
    ) -> RunResponse:
        """Do what `run_async` does and wait; blocks the event loop, if one runs here."""
        return self._twin.client.run(
            input,
            session_id,
            agent_id,
            mode_hint,
            timeout_ms,
            stream,
            timeout=timeout,
            idempotency_key=idempotency_key,
        )

    # unasync: end


class AsyncChat(AsyncChatNames):
    """`client.chat`: talk to a model."""

    async def run_async(
        self,
        message: str,
        session_id: str | None = None,
        *,
        timeout: Timeout = UNSET,
        idempotency_key: str | bool | None = None,
    ) -> ChatResponse:
        """Send a message and return the answer; `session_id` continues a conversation."""
        return await self._pool.call(
            routes.CHAT,
            body=bodies.chat_body(message, session_id),
            timeout=timeout,
            idempotency_key=idempotency_key,
        )


class AsyncAgents(AsyncAgentsNames):
    """`client.agents`: have an agent do something."""

    async def run_async(
        self,
        agent_id: str,
        task: str,
        config: Mapping[str, Any] | None = None,
        *,
        timeout: Timeout = UNSET,
        idempotency_key: str | bool | None = None,
    ) -> AgentResult:
        """Have an agent do `task` and return what came of it; see its `status`."""
        return await self._pool.call(
            routes.AGENTS_RUN,
            body=bodies.agent_body(agent_id, task, config),
            timeout=timeout,
            idempotency_key=idempotency_key,
        )


class AsyncSystem(AsyncSystemNames):
    """`client.system`: how the server is."""

    async def status_async(self, *, timeout: Timeout = UNSET) -> SystemStatus:
        """Return how the server is; from its health endpoint when it has no other."""
        status: SystemStatus | None = await self._pool.call(routes.SYSTEM_STATUS, timeout=timeout)
        if status is not None:
            return status
        health = await self.health_async(timeout=timeout)
        return SystemStatus(
            status=health.status, version=health.version, uptime_seconds=health.uptime_seconds
        )

    async def health_async(self, *, timeout: Timeout = UNSET) -> HealthResponse:
        """Return what the server's health endpoint says."""
        return await self._pool.call(routes.HEALTH, timeout=timeout)

    async def config_async(self, *, timeout: Timeout = UNSET) -> dict[str, Any]:
        """Return the server's configuration, as it tells it."""
        return await self._pool.call(routes.SYSTEM_CONFIG, timeout=timeout)

    async def metrics_async(self, *, timeout: Timeout = UNSET) -> SystemMetrics:
        """Return the server's figures."""
        return await self._pool.call(routes.SYSTEM_METRICS, timeout=timeout)


class AsyncSecrets(AsyncSecretsNames):
    """`client.secrets`: values the server keeps. A key is one name: a slash in it is no path."""

    async def get_async(self, key: str, *, timeout: Timeout = UNSET) -> str:
        """Return a secret's value as plain text; `NotFound` when there is none."""
        found = await self._pool.call(
            routes.SECRET_GET, bodies.path_id("key", key), timeout=timeout
        )
        return found.value

    async def set_async(
        self,
        key: str,
        value: str | Secret,
        provider: str = "custom",
        *,
        timeout: Timeout = UNSET,
    ) -> None:
        """Store a secret, in the place of one that has this key; every tool may use it."""
        try:
            await self._pool.call(
                routes.SECRET_SET, body=bodies.secret_body(key, value, provider), timeout=timeout
            )
        finally:
            del value  # a traceback records the locals of every frame that raises

    async def delete_async(self, key: str, *, timeout: Timeout = UNSET) -> None:
        """Delete a secret."""
        await self._pool.call(routes.SECRET_DELETE, bodies.path_id("key", key), timeout=timeout)


class AsyncGovernance(AsyncGovernanceNames):
    """`client.governance`: decisions and their reasons."""

    async def explain_async(
        self,
        command_type: str,
        command_input: Mapping[str, Any] | None = None,
        *,
        timeout: Timeout = UNSET,
    ) -> dict[str, Any]:
        """Return what governance would decide on a command such as `WRITE`, and why."""
        return await self._pool.call(
            routes.EXPLAIN, body=bodies.command_body(command_type, command_input), timeout=timeout
        )

    async def status_async(self, *, timeout: Timeout = UNSET) -> dict[str, Any]:
        """Return the server's drift and stability scores."""
        return await self._pool.call(routes.STABILITY, timeout=timeout)

    async def trace_async(
        self, command_id: str, *, timeout: Timeout = UNSET
    ) -> dict[str, Any] | None:
        """Return a decision with its reasons, as the server tells it; None when it has none.

        `command_id` is the `trace_id` of a run, chat or agent call. Only 404 is None: every
        other failure raises.
        """
        name = bodies.path_id("command_id", command_id)
        trace = await self._pool.call(routes.TRACE, name, timeout=timeout)
        if trace is not None:
            return trace
        return await self._pool.call(routes.TRACE_V1, name, timeout=timeout)

    async def get_trace_async(
        self, command_id: str, *, timeout: Timeout = UNSET
    ) -> TraceResponse | None:
        """Return a decision with its reasons; None when the server has none of that id."""
        trace = await self.trace_async(command_id, timeout=timeout)
        if trace is None:
            return None
        return TraceResponse.from_raw({"trace_id": command_id, **trace})


@final
class AsyncRunStream:
    """The events of one run, as they come. An iterator, and a context manager that closes.

    `client.run_stream` makes it. It can be iterated over once.
    """

    __slots__ = (
        "__weakref__",
        "_body",
        "_decoder",
        "_grammar",
        "_idle_timeout",
        "_over",
        "_pool",
        "_ready",
        "_source",
        "_timeout",
    )

    def __init__(
        self,
        pool: AsyncPool,
        body: object,
        timeout: float | None,
        idle_timeout: Timeout,
        strict: bool,
    ) -> None:
        """`timeout` is for all of it."""
        self._pool = pool
        self._body = body
        self._timeout = timeout
        self._idle_timeout = idle_timeout
        self._grammar = Grammar() if strict else None
        self._ready: deque[StreamEvent | object] = deque()
        self._source: AsyncEventStream[Payload] | None = None
        self._decoder: EventDecoder[Payload] | None = None
        self._over = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> StreamEvent:
        """Return the next event."""
        event: StreamEvent | object
        if self._over:
            self._finish()
            raise StopAsyncIteration
        try:
            # In one piece: a coroutine more would cost a third of what an event costs.
            while True:
                if self._ready:
                    event = self._ready.popleft()
                    break
                source = self._source or await self._open()
                try:
                    found = await source.__anext__()
                except StopAsyncIteration:
                    self._flush()
                    continue
                event = found.data
                if isinstance(event, StreamEvent):
                    break
                self._ready.extend(unfold(found))
            if isinstance(event, HestiaError):
                raise event
            if self._grammar is not None:
                self._grammar.check(event)
        except BaseException as error:
            # Cancelled and interrupted ones too: a stream that was half read is never resumed.
            self.close()
            if isinstance(error, OstiaryError):
                raise adopt(error, FAMILY) from error.__cause__
            raise
        if not isinstance(event, StreamEvent):  # END
            self.close()
            raise StopAsyncIteration
        if event.type == "done":
            self._over = True
        return event

    async def _open(self) -> AsyncEventStream[Payload]:
        limits = self._pool.settings.limits
        self._decoder = EventDecoder(limits.sse_line, limits.sse_event, decode=read_payload)
        self._source = source = await self._pool.call_events(
            routes.RUN_STREAM,
            body=self._body,
            decoder=self._decoder,
            total_timeout=self._timeout,
            idle_timeout=self._idle_timeout,
        )
        return source

    def _flush(self) -> None:
        """Take what stands before the response's end without an empty line behind it."""
        assert self._decoder is not None
        for found in self._decoder.feed(b"\n\n"):
            self._ready.extend(unfold(found))
        if self._ready and isinstance(self._ready[-1], HestiaProtocolError):
            # Half an event: the response was cut, whatever its end looked like.
            self._ready[-1] = cut_short()
        if not self._ready:
            if self._grammar is not None:
                self._grammar.check(END)
            raise cut_short()

    async def collect(self) -> RunResponse:
        """Read to the end and return the result, as `run` would have; see `collect_stream`."""
        gathered = Collected()
        async for event in self:
            gathered.add(event)
        return gathered.result()

    @property
    def closed(self) -> bool:
        """Whether it has ended or was closed."""
        return self._over and self._source is None

    def close(self) -> None:
        """Close the stream, and at once its connection unless the response has ended."""
        self._over = True
        self._ready.clear()
        source, self._source = self._source, None
        if source is not None:
            source.close()

    def _finish(self) -> None:
        # What follows `done` is nobody's; once it is read, the connection can be used again.
        source, self._source = self._source, None
        if source is not None:
            source.finish()

    # unasync: skip
    async def aclose(self) -> None:
        """Do what `close` does, under the name that an async generator has for it."""
        self.close()

    # unasync: end

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self.closed else "not begun" if self._source is None else "open"
        return f"<{type(self).__name__}, {state}>"
