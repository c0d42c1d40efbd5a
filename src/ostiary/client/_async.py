"""The one client: the five domains' own, from one configuration, made when they are asked for.

Sends nothing itself. Neighbours: `config`, which says what it is made from; `_keys`, which
fetches keys that lie in the vault.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Self, TypeVar, final

from msgspec import UNSET, UnsetType

from .._io.bounded import async_map_bounded
from .._io.sockets import forget_after_fork
from ..config import Limits
from ..errors import ClientStateError, InvalidArgumentError, OstiaryError, UnavailableError
from ..http.connections import AsyncConnections
from ..telemetry import Trace
from ._keys._async import AsyncVaultKeys
from ._layers import arguments_of, loading, not_configured, settings_of
from .config import OstiaryConfig
from .health import Health
from .sections import (
    DOMAINS,
    GatewaySection,
    GovernanceSection,
    RuntimeSection,
    VaultSection,
    WorkflowSection,
)

if TYPE_CHECKING:
    from ..gateway._async import AsyncGatewayClient
    from ..governance._async import AsyncGovernanceClient
    from ..runtime._async import AsyncRuntimeClient
    from ..vault._async import AsyncVaultClient
    from ..workflow._async import AsyncWorkflowClient

__all__ = ["AsyncOstiary"]

T = TypeVar("T")

_CHECK_SECONDS = 5.0


@final
class AsyncOstiary:
    """The vault, the gateway, the runtime, workflows and governance (docs/client.md).

    Use it as a context manager, or call `aclose`. Each domain's client is made when it is
    first asked for, connects with its first call, and is closed with this object. They share
    connections where they have one endpoint, and keys that lie in the vault.
    """

    def __init__(
        self,
        *,
        profile: str | None = None,
        config_file: str | os.PathLike[str] | None = None,
        vault: VaultSection | Mapping[str, Any] | None = None,
        gateway: GatewaySection | Mapping[str, Any] | None = None,
        runtime: RuntimeSection | Mapping[str, Any] | None = None,
        workflow: WorkflowSection | Mapping[str, Any] | None = None,
        governance: GovernanceSection | Mapping[str, Any] | None = None,
        timeout: float | UnsetType | None = UNSET,
        max_retries: int | UnsetType = UNSET,
        max_connections: int | UnsetType = UNSET,
        limits: Limits | UnsetType | None = UNSET,
        adaptive: bool | UnsetType = UNSET,
        trace_id: str | UnsetType | None = UNSET,
    ) -> None:
        """Read the configuration; no client is made.

        `vault` and the others are the arguments of the domain's own constructor, by name. What
        is left out is the environment's to say, then the profile's, then the default.
        `profile` is one of the configuration file; `OstiaryConfig.load` says which and where.
        `timeout` and its neighbours hold for every domain that does not say otherwise. Each
        call carries `trace_id`; see `ostiary.telemetry.Trace`.

        Raises `ConfigError` for a configuration that cannot be used.
        """
        try:
            config = OstiaryConfig.load(
                profile,
                config_file,
                vault=vault,
                gateway=gateway,
                runtime=runtime,
                workflow=workflow,
                governance=governance,
                timeout=timeout,
                max_retries=max_retries,
                max_connections=max_connections,
                limits=limits,
                adaptive=adaptive,
                trace=trace_id,
            )
        finally:
            # They may hold keys, and a traceback records the locals.
            del vault, gateway, runtime, workflow, governance
        self._configure(config)

    @classmethod
    def from_config(cls, config: OstiaryConfig) -> Self:
        """Make one of a configuration; no file is read."""
        if not isinstance(config, OstiaryConfig):
            raise InvalidArgumentError(f"config is an OstiaryConfig, not {type(config).__name__}")
        made = cls.__new__(cls)
        made._configure(config)
        return made

    def _configure(self, config: OstiaryConfig) -> None:
        said = config.trace
        if said in (UNSET, None) and config.below is not None:
            said = config.below.trace
        self._trace = None
        if said not in (UNSET, None, False):
            self._trace = Trace(said if isinstance(said, str) else None)
        self._config = config
        self._clients: dict[str, Any] = {}
        self._exits = AsyncExitStack()
        self._closed = False
        self._connections = AsyncConnections()
        self._keys = AsyncVaultKeys(lambda: self.vault)
        self.abandon()
        forget_after_fork(self)

    def abandon(self) -> None:
        """Take a new lock in a forked child: a thread of the parent may hold the other."""
        self._lock = threading.Lock()

    @property
    def config(self) -> OstiaryConfig:
        """What this was made from."""
        return self._config

    @property
    def trace_id(self) -> str | None:
        """The id that each call carries; None when there is none."""
        return None if self._trace is None else self._trace.trace_id

    @property
    def closed(self) -> bool:
        """Whether `aclose` was called."""
        return self._closed

    def __repr__(self) -> str:
        if not hasattr(self, "_lock"):  # its constructor refused
            return f"<{type(self).__name__}, not configured>"
        profile = self._config.below.profile if self._config.below is not None else None
        named = f" profile {profile!r}," if profile is not None else ""
        open_ = ", ".join(self._clients) or "nothing"
        return f"<{type(self).__name__}{named} {'closed' if self._closed else f'{open_} open'}>"

    # It travels as its configuration, without secrets, and makes clients of its own where it
    # arrives; with the same trace.
    def __reduce__(self) -> tuple[Callable[..., AsyncOstiary], tuple[object, ...]]:
        traceparent = None if self._trace is None else self._trace.traceparent
        return _restore, (type(self), self._config, traceparent)

    # --- the domains

    @property
    def vault(self) -> AsyncVaultClient:
        """The vault's client; `ConfigError` when nothing says which agent this is."""
        return self._clients.get("vault") or self._made("vault", self._vault)

    @property
    def gateway(self) -> AsyncGatewayClient:
        """The gateway's client; `ConfigError` when nothing says how models are reached."""
        return self._clients.get("gateway") or self._made("gateway", self._gateway)

    @property
    def runtime(self) -> AsyncRuntimeClient:
        """The runtime's client; `ConfigError` when nothing says where it is."""
        return self._clients.get("runtime") or self._made("runtime", self._runtime)

    @property
    def workflow(self) -> AsyncWorkflowClient:
        """The workflow server's client; `ConfigError` when nothing says where it is."""
        return self._clients.get("workflow") or self._made("workflow", self._workflow)

    @property
    def governance(self) -> AsyncGovernanceClient:
        """The governance server's client; `ConfigError` when nothing says where it is."""
        return self._clients.get("governance") or self._made("governance", self._governance)

    def _made(self, domain: str, make: Callable[[dict[str, Any]], T]) -> T:
        with loading, self._lock:
            self._check_open()
            found: Any = self._clients.get(domain)
            if found is None:
                said = settings_of(self._config, domain)
                if said is None:
                    raise not_configured(self._config, domain)
                found = make(arguments_of(domain, said))
                self._exits.push_async_callback(getattr(found, "aclose", None) or found.close)
                self._clients[domain] = found
            made: T = found
            return made

    def _vault(self, arguments: dict[str, Any]) -> AsyncVaultClient:
        from ..vault._async import AsyncVaultClient

        return AsyncVaultClient(**arguments).open()

    def _gateway(self, arguments: dict[str, Any]) -> AsyncGatewayClient:
        from ..gateway._async import AsyncGatewayClient

        return AsyncGatewayClient(**arguments, **self._given())

    def _runtime(self, arguments: dict[str, Any]) -> AsyncRuntimeClient:
        from ..runtime._async import AsyncRuntimeClient

        return AsyncRuntimeClient(**arguments, **self._given())

    def _workflow(self, arguments: dict[str, Any]) -> AsyncWorkflowClient:
        from ..workflow._async import AsyncWorkflowClient

        return AsyncWorkflowClient(**arguments, **self._given())

    def _governance(self, arguments: dict[str, Any]) -> AsyncGovernanceClient:
        from ..governance._async import AsyncGovernanceClient

        return AsyncGovernanceClient(**arguments, **self._given())

    def _given(self) -> dict[str, Any]:
        """Return what every HTTP domain is given beside its own arguments."""
        return {
            "headers": None if self._trace is None else self._trace.headers,
            "keys": self._keys,
            "connections": self._connections,
        }

    # --- how they are

    async def check(self, *, timeout: float = _CHECK_SECONDS) -> dict[str, Health]:
        """Ask every configured domain how it is, all at once, and return what each says.

        `timeout`, in seconds, is for each of them. No error of a domain is raised: it stands
        in its answer.
        """
        self._check_open()
        wanted = [domain for domain in DOMAINS if self._says_something(domain)]

        async def one(domain: str) -> Health:
            began = time.monotonic()
            error = said = None
            try:
                said = await self._ask(domain, timeout)
            except OstiaryError as refused:
                error = refused
            return Health(
                domain=domain, seconds=time.monotonic() - began, said=said or "", error=error
            )

        answers = await async_map_bounded(one, wanted, len(wanted) or 1)
        return {one.domain: one for one in answers}

    def _says_something(self, domain: str) -> bool:
        with loading:
            try:
                return domain in self._clients or settings_of(self._config, domain) is not None
            except OstiaryError:
                return True  # what is wrong is for its answer to say

    async def _ask(self, domain: str, timeout: float) -> str:
        if domain == "vault":
            leases = await self.vault.lease_status(timeout=timeout)
            return f"agent {self.vault.agent_name}, leases held: {len(leases)}"
        if domain == "gateway":
            gateway = self.gateway
            if not gateway.access.is_gateway_mode:
                return "direct mode, which has no gateway to ask"
            await gateway.access.get_credentials_async()
            if not await gateway.health(timeout=timeout):
                raise UnavailableError("the gateway does not answer, or says that it cannot serve")
            return "serving"
        if domain == "runtime":
            return (await self.runtime.health_check(timeout=timeout)).status
        if domain == "workflow":
            return (await self.workflow.health(timeout=timeout)).status
        return (await self.governance.system.health_async(timeout=timeout)).status

    # --- the end

    async def aclose(self) -> None:
        """Close every client that was made, the last one first. Final; may be called twice.

        One that cannot be closed keeps none of the others open.
        """
        with self._lock:
            self._closed = True
            exits, self._exits = self._exits, AsyncExitStack()
        async with exits:
            await self._keys.aclose()

    async def __aenter__(self) -> Self:
        self._check_open()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    def _check_open(self) -> None:
        if self._closed:
            raise ClientStateError("the client is closed; make another one")


def _restore(
    cls: type[AsyncOstiary], config: OstiaryConfig, traceparent: str | None
) -> AsyncOstiary:
    made = cls.from_config(config)
    if traceparent is not None:
        made._trace = Trace(traceparent)  # pyright: ignore[reportPrivateUsage]
    return made
