"""The embedded runtime on its sockets; started beside a vault, on the vault's event loop.

Neighbour: `ostiary.devserver.server` owns one of these.
"""

from __future__ import annotations

from collections.abc import Awaitable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, final

import msgspec
from starlette.types import ASGIApp

from ..documents import Store
from ..http.domain import HttpDomain
from ..http.idempotency import Idempotency
from ..http.limits import RateLimit
from ..http.refusals import HttpRefusal
from ..http.routing import API, Paths
from ..options import Options, RuntimeOptions
from ..vault import Vault
from .agent_endpoints import AgentEndpoints
from .agents import Agents
from .approvals import Approvals
from .channels import Channels
from .context import Context, Group
from .deployments import Deployments
from .events import Events
from .executions import Executions
from .external import External
from .health import OPEN_PATHS, Health
from .http_input.endpoints import HttpInputs
from .knowledge.endpoints import Knowledge
from .mcp.endpoints import Mcp
from .messages import Messages
from .meter import Meter
from .metrics import Metrics
from .review.endpoints import Reviews
from .schedule_endpoints import ScheduleEndpoints
from .secrets.endpoints import Secrets
from .workflows import Workflows

__all__ = ["GROUPS", "RuntimeServer"]

_WORKERS: Final = 16
_SECRET_BODIES: Final = (f"{API}/secrets", f"{API}/mcp/servers", f"{API}/http-input/servers")

# Started in this order, stopped in the other.
GROUPS: Final[tuple[type[Group], ...]] = (
    Health,
    Events,
    Metrics,
    AgentEndpoints,
    Approvals,
    Executions,
    External,
    Messages,
    Workflows,
    Channels,
    ScheduleEndpoints,
    Mcp,
    HttpInputs,
    Reviews,
    Knowledge,
    Secrets,
    Deployments,
)


@final
class RuntimeServer:
    """A runtime in `home`; start and stop once."""

    def __init__(self, vault: Vault, home: Path, options: Options, runtime: RuntimeOptions) -> None:
        self._started: list[Group] = []
        self._workers = ThreadPoolExecutor(_WORKERS, thread_name_prefix="ostiary-runtime")
        self._store = Store(home / "runtime.db")
        self._demo = options.demo
        self._port = runtime.port
        try:
            context = self.context = Context(
                options=options,
                runtime=runtime,
                home=home,
                vault=vault,
                store=self._store,
                workers=self._workers,
            )
            self.meter = Meter()
            self.groups: list[Group] = []
            for kind in GROUPS:
                group = kind(context)
                context.add(group)
                self.groups.append(group)
                if isinstance(group, Events):
                    context.events = group
                    context.agents = Agents(context)
            metrics = context.group(Metrics)
            metrics.meter, metrics.groups = self.meter, self.groups
            self.http = HttpDomain(
                "runtime",
                home,
                self._application(runtime),
                self.meter,
                options,
                port=runtime.port,
                error=error_body,
                other_token=runtime.token,
                open_paths=OPEN_PATHS,
                body_limit=runtime.request_limit,
            )
            context.token = self.http.token
        except BaseException:
            self._close()
            raise

    def _application(self, runtime: RuntimeOptions) -> ASGIApp:
        app: ASGIApp = Paths(path for group in self.groups for path in group.routes())
        clock = self.context.clock
        app = self._idempotency = Idempotency(
            app, self._store, clock, runtime.idempotency_ttl, secret=_SECRET_BODIES
        )
        if runtime.requests_per_minute is not None:
            exempt = [path.decode() for path in OPEN_PATHS]
            app = RateLimit(app, runtime.requests_per_minute, clock, exempt=exempt)
        return app

    async def start(self) -> None:
        """Start the groups, load the samples, and listen; nobody is served before."""
        self.http.bind()
        self.context.base_url = (self.http.url or self.http.unix_url) + API
        for group in self.groups:
            self._started.append(group)
            await group.start()
        if self._demo:
            for group in self.groups:
                loading = group.load_demo()
                if isinstance(loading, Awaitable):
                    await loading
        await self.http.start()

    async def stop(self, grace: float) -> None:
        """Stop listening, end what is in hand, close the files; safe to repeat."""
        try:
            await self.http.stop(grace)
            await self._idempotency.stop()
            while self._started:
                await self._started.pop().stop(grace)
        finally:
            self._close()

    @property
    def workflows(self) -> Workflows:
        """The named workflows, which a workflow server may run."""
        return self.context.group(Workflows)

    @property
    def url(self) -> str | None:
        """The API's base URL on loopback; None when there is none."""
        return None if self.http.url is None else self.http.url + API

    @property
    def unix_url(self) -> str:
        """The API's base URL on the Unix socket."""
        return self.http.unix_url + API

    def _close(self) -> None:
        self._workers.shutdown(wait=False, cancel_futures=True)
        self._store.close()


def error_body(refusal: HttpRefusal) -> bytes:
    """Return an error as the runtime's clients read it."""
    return msgspec.json.encode(
        {"error": refusal.message, "code": refusal.code, "details": refusal.details}
    )
