"""The workflow client: runs, gates, policy, approvals, telemetry."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Self

from msgspec import UNSET

from .._calls.colours import Timeout
from ..errors import InvalidArgumentError as AnyInvalidArgumentError
from ..http._async import AsyncPool
from ..secret import Secret
from . import _routes as routes
from ._judgement._async import AsyncJudgementCalls
from ._reports._async import AsyncReportCalls
from ._runs._async import AsyncRunCalls
from .errors import InvalidArgumentError
from .models import ServerHealth
from .settings import (
    IDLE_TIMEOUT,
    MAX_CONNECTIONS,
    MAX_RETRIES,
    TIMEOUT,
    WorkflowSettings,
    hidden,
)

if TYPE_CHECKING:
    import ssl

    from ..config import Limits
    from ..http.hooks import RequestInfo, ResponseInfo, RetryInfo
    from ..http.settings import Parser

__all__ = ["AsyncWorkflowClient"]


class AsyncWorkflowClient(AsyncRunCalls, AsyncJudgementCalls, AsyncReportCalls):
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
    ) -> None:
        """Describe a client; nothing is opened.

        `base_url` is `http://host[:port][/prefix]`, `https://...` or, for a Unix socket,
        `unix:///path` or `http+unix://<percent-encoded path>[/prefix]`; left out,
        `OSTIARY_WORKFLOW_URL`, then `http://localhost:3000`. `api_key`, left out, is
        `OSTIARY_WORKFLOW_API_KEY`, then the content of the file that
        `OSTIARY_WORKFLOW_API_KEY_FILE` names; an empty one stands for none.

        With `validate`, a workflow's graph is checked before it is sent. The rest is as for
        `ostiary.http.AsyncPool`.
        """
        # Hidden first: a traceback records the locals of every frame that raises.
        api_key = hidden(api_key)
        self._configure(
            WorkflowSettings.resolve(
                base_url,
                api_key,
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
            )
        )

    def _configure(self, settings: WorkflowSettings) -> None:
        self._settings = settings
        self._pool = _pool_of(settings)

    @classmethod
    def made_from(cls, settings: WorkflowSettings) -> Self:
        """Make a client of settings that were resolved before."""
        client = cls.__new__(cls)
        client._configure(settings)
        return client

    @property
    def base_url(self) -> str:
        """Where the server is; without slashes at its end."""
        return self._pool.base_url

    @property
    def timeout(self) -> float | None:
        """How long a call may take, in seconds; None is no limit."""
        return self._settings.timeout

    @property
    def settings(self) -> WorkflowSettings:
        """What the client was made from; the key in it is hidden."""
        return self._settings

    @property
    def pool(self) -> AsyncPool:
        """The pool beneath, for requests that have no method here and for raw replies."""
        return self._pool

    def __repr__(self) -> str:
        if not hasattr(self, "_pool"):  # its constructor refused
            return f"<{type(self).__name__}, not configured>"
        return f"{type(self).__name__}(base_url={self.base_url!r})"

    # A client travels as its settings, without API key, TLS context and hooks. If it had a key,
    # it takes the one of the environment where it arrives.
    def __reduce__(self) -> tuple[Callable[..., AsyncWorkflowClient], tuple[object, ...]]:
        settings = self._settings
        return _restore, (type(self), settings.portable(), settings.api_key is not None)

    async def aclose(self) -> None:
        """Close every connection; calls and streams under way end with an error. Final."""
        await self._pool.close()

    # unasync: skip
    async def close(self) -> None:
        """Do what `aclose` does, under the name that the guide has for it."""
        await self.aclose()

    # unasync: end

    async def __aenter__(self) -> Self:
        await self._pool.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    async def health(self, *, timeout: Timeout = UNSET) -> ServerHealth:
        """Return what the server's health endpoint says; needs no key."""
        return await self._pool.call(routes.HEALTH, timeout=timeout)

    async def ready(self, *, timeout: Timeout = UNSET) -> ServerHealth:
        """Return what the server says when it can work; `UnavailableError` when it cannot."""
        return await self._pool.call(routes.READY, timeout=timeout)


def _pool_of(settings: WorkflowSettings) -> AsyncPool:
    try:
        return AsyncPool(settings.base_url, **settings.pool_arguments())
    except AnyInvalidArgumentError as error:
        problem = error.message
    raise InvalidArgumentError(problem)


def _restore(
    cls: type[AsyncWorkflowClient], settings: WorkflowSettings, had_key: bool
) -> AsyncWorkflowClient:
    return cls.made_from(settings.arrived() if had_key else settings)
