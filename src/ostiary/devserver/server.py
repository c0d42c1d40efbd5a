"""One running vault: home, record, listeners; started and stopped on an event loop.

It installs no signal handlers and prints nothing. Neighbours: `inprocess` runs it in a
thread, `program` as a process.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, final

from . import demo
from .administration import Administration
from .faults import DevserverError
from .home import Home
from .listener import Listener
from .options import (
    GatewayOptions,
    GovernanceOptions,
    Options,
    RuntimeOptions,
    WorkflowOptions,
    default_home,
)
from .sockets import BACKLOG, LocalSocket, bind_tcp, stop_accepting
from .vault import Vault

if TYPE_CHECKING:
    from .gateway.server import GatewayServer
    from .governance.server import GovernanceServer
    from .runtime.server import RuntimeServer
    from .workflow.server import WorkflowServer

__all__ = ["VaultServer"]

_WORKERS = 32
_SWEEP = 1.0


@final
class VaultServer:
    """An embedded vault, started and stopped once, on one running event loop."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.home = options.home.expanduser().absolute() if options.home else default_home()
        self.socket_path = self.home / "vault.sock"
        self.tcp: tuple[tuple[str, int], ...] = ()
        self._files: Home | None = None
        self._vault: Vault | None = None
        self._listener: Listener | None = None
        self._workers = ThreadPoolExecutor(_WORKERS, thread_name_prefix="ostiary-vault")
        self._servers: list[asyncio.Server] = []
        self._local: LocalSocket | None = None
        self.governance: GovernanceServer | None = None
        self.gateway: GatewayServer | None = None
        self.runtime: RuntimeServer | None = None
        self.workflow: WorkflowServer | None = None
        self._sweeper: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Open the vault and listen; on failure nothing is left open."""
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        loop = asyncio.get_running_loop()
        self._files = Home(self.home)
        # On this thread, which the database then belongs to; argon2 may take a moment, and
        # nobody is connected yet.
        vault = self._vault = Vault(self._files, self.options)
        if self.options.demo and not vault.locked:
            demo.load(vault, self._files.keys)
        vault.flush()
        listener = self._listener = Listener(vault, loop, self._workers, os.geteuid())
        with ExitStack() as failing:
            sockets = [
                failing.enter_context(bind_tcp(self.options.host, port, option="--port"))
                for port in self.options.listen_ports
            ]
            local = self._local = LocalSocket(self.socket_path)
            failing.callback(local.close)
            self.tcp = tuple((self.options.host, sock.getsockname()[1]) for sock in sockets)
            self._servers.append(
                await loop.create_unix_server(listener.unix, sock=local.socket, backlog=BACKLOG)
            )
            for sock in sockets:
                self._servers.append(
                    await loop.create_server(listener.tcp, sock=sock, backlog=BACKLOG)
                )
            failing.pop_all()  # the servers close them now
        shown = f"[{self.options.host}]" if ":" in self.options.host else self.options.host
        vault.addresses = [
            f"unix://{self.socket_path}",
            *(f"tcp://{shown}:{port}" for _, port in self.tcp),
        ]
        self._sweep()
        if self.options.governance is not None:
            await self.open_governance(self.options.governance)
        if self.options.gateway is not None:
            await self.open_gateway(self.options.gateway)
        if self.options.runtime is not None:
            await self.open_runtime(self.options.runtime)
        if self.options.workflow is not None:
            await self.open_workflow(self.options.workflow)

    async def open_governance(self, governance: GovernanceOptions) -> GovernanceServer:
        """Serve governance beside the vault; once."""
        _require("governance service", "uvicorn", "starlette")
        from .governance.server import GovernanceServer

        server = GovernanceServer(self.vault, self.home, self.options, governance)
        try:
            await server.start()
        except BaseException:
            await server.stop(0.0)
            raise
        self.governance = server
        return server

    async def open_gateway(self, gateway: GatewayOptions) -> GatewayServer:
        """Serve the gateway and its sidecar beside the vault; once."""
        _require("gateway", "uvicorn", "starlette", "cryptography")
        from .gateway.server import GatewayServer

        server = GatewayServer(self.vault, self.home, self.options, gateway)
        try:
            await server.start()
        except BaseException:
            await server.stop(0.0)
            raise
        self.gateway = server
        return server

    async def open_runtime(self, runtime: RuntimeOptions) -> RuntimeServer:
        """Serve the agent runtime beside the vault; once."""
        _require("runtime", "uvicorn", "starlette", "cryptography")
        from .runtime.server import RuntimeServer

        server = RuntimeServer(self.vault, self.home, self.options, runtime)
        try:
            await server.start()
        except BaseException:
            await server.stop(0.0)
            raise
        self.runtime = server
        if self.workflow is not None:
            server.workflows.share(self.workflow.handlers)
            server.workflows.resume()
        return server

    async def open_workflow(self, workflow: WorkflowOptions) -> WorkflowServer:
        """Serve workflows beside the vault; once."""
        _require("workflow server", "uvicorn", "starlette", "jsonschema", "jmespath")
        from .workflow.server import WorkflowServer

        server = WorkflowServer(self.vault, self.home, self.options, workflow)
        try:
            if self.runtime is not None:
                # Before it goes on with what ran: some of that may be the runtime's.
                self.runtime.workflows.share(server.handlers)
            await server.start()
        except BaseException:
            await server.stop(0.0)
            raise
        self.workflow = server
        if self.runtime is not None:
            self.runtime.workflows.resume()
        return server

    def _sweep(self) -> None:
        assert self._listener is not None
        self._listener.sweep()
        every = min(_SWEEP, self.options.handshake_timeout / 2)
        self._sweeper = self._listener.loop.call_later(every, self._sweep)

    @property
    def vault(self) -> Vault:
        """The running vault; only for its own thread."""
        if self._vault is None:
            raise DevserverError("the embedded vault is not running")
        return self._vault

    @property
    def owner(self) -> Administration:
        """Administration without a socket; only for the vault's own thread."""
        return Administration(self.vault)

    async def stop(self) -> None:
        """Accept no more, answer what is in hand, end the leases, close the files."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        await stop_accepting(self._servers)
        self._servers.clear()
        if self._local is not None:
            self._local.remove()
            self._local = None
        if self.workflow is not None:
            await self.workflow.stop(self.options.stop_grace)
            self.workflow = None
        if self.runtime is not None:
            await self.runtime.stop(self.options.stop_grace)
            self.runtime = None
        if self.gateway is not None:
            await self.gateway.stop(self.options.stop_grace)
            self.gateway = None
        if self.governance is not None:
            await self.governance.stop(self.options.stop_grace)
            self.governance = None
        if self._listener is not None:
            await self._listener.stop(self.options.stop_grace)
            self._listener = None
        if self._vault is not None:
            # A host that is still being waited for is not waited for any longer.
            self._vault.http.calls.abort()
        self._workers.shutdown(wait=False, cancel_futures=True)
        try:
            if self._vault is not None:
                self._vault.close()
        finally:
            self._vault = None
            if self._files is not None:
                self._files.close()
                self._files = None


def _require(what: str, *packages: str) -> None:
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise DevserverError(
            f"the {what} needs {' and '.join(missing)}: `pip install 'ostiary[dev]'`, or leave "
            "it out"
        )
