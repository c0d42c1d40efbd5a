"""The workflow client: runs, gates, policy, approvals, telemetry."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from msgspec import UNSET

from .._api_key import hidden
from .._calls.client._async import AsyncDomainClient
from .._calls.colours import Timeout
from .._settings import hidden_headers
from ..secret import Secret
from . import _routes as routes
from ._judgement._async import AsyncJudgementCalls
from ._reports._async import AsyncReportCalls
from ._runs._async import AsyncRunCalls
from .models import ServerHealth
from .settings import (
    IDLE_TIMEOUT,
    MAX_CONNECTIONS,
    MAX_RETRIES,
    TIMEOUT,
    WorkflowSettings,
)

if TYPE_CHECKING:
    import ssl

    from .._api_key import KeySource
    from ..config import Limits
    from ..http.connections import AsyncConnections
    from ..http.hooks import RequestInfo, ResponseInfo, RetryInfo
    from ..http.settings import Parser

__all__ = ["AsyncWorkflowClient"]


class AsyncWorkflowClient(
    AsyncRunCalls, AsyncJudgementCalls, AsyncReportCalls, AsyncDomainClient[WorkflowSettings]
):
    """A workflow server (docs/workflow.md).

    Use it as a context manager, or call `aclose`. Nothing is opened before the first call.
    All methods take `timeout`, in seconds, for the whole call, retries included; None is no
    limit. Those that do something once take `idempotency_key`: text of your own, or True for a
    new one; with it the call is sent again also when it may have run. Requests are models or
    mappings of their members. Every error is an `AureusError`.
    """

    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | Secret | None = None,
        timeout: float | None = TIMEOUT,
        *,
        validate: bool = True,
        max_retries: int = MAX_RETRIES,
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
        `OSTIARY_WORKFLOW_URL`, then `http://localhost:3000`. `api_key`, left out, is
        `OSTIARY_WORKFLOW_API_KEY`, then the content of the file that
        `OSTIARY_WORKFLOW_API_KEY_FILE` names; an empty one stands for none.

        With `validate`, a workflow's graph is checked before it is sent. The rest is as for
        `ostiary.http.AsyncPool`.

        `keys` fetches the key for an `api_key` that is a reference, `vault:path`
        (docs/credentials.md).
        """
        # Hidden first: a traceback records the locals of every frame that raises.
        key, lines = hidden(api_key), hidden_headers(headers)
        del api_key, headers
        self._configure(
            WorkflowSettings.resolve(
                base_url,
                key,
                timeout=timeout,
                validate=validate,
                max_retries=max_retries,
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

    @property
    def timeout(self) -> float | None:
        """How long a call may take, in seconds; None is no limit."""
        return self._settings.timeout

    @property
    def settings(self) -> WorkflowSettings:
        """What the client was made from; the key in it is hidden."""
        return self._settings

    async def health(self, *, timeout: Timeout = UNSET) -> ServerHealth:
        """Return what the server's health endpoint says; needs no key."""
        return await self._pool.call(routes.HEALTH, timeout=timeout)

    async def ready(self, *, timeout: Timeout = UNSET) -> ServerHealth:
        """Return what the server says when it can work; `UnavailableError` when it cannot."""
        return await self._pool.call(routes.READY, timeout=timeout)
