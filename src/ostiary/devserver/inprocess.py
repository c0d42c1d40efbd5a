"""A vault for the length of a `with` block, in a thread of its own.

Neighbour: `ostiary.testing.plugin` makes fixtures of it.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Coroutine, Generator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, final

from ..secret import Secret
from ..vault import keys
from .faults import DevserverError, Refusal
from .options import GatewayOptions, GovernanceOptions, Options, RuntimeOptions, WorkflowOptions
from .server import VaultServer

if TYPE_CHECKING:
    from .admin import AdminClient
    from .gateway.running import RunningGateway
    from .governance.server import GovernanceServer
    from .http.staged import HttpFaults
    from .runtime.server import RuntimeServer
    from .workflow.server import WorkflowServer

__all__ = ["RunningVault", "running"]

T = TypeVar("T")


@final
class RunningVault:
    """A vault that runs beside the caller; its methods may be called from any thread."""

    def __init__(self, server: VaultServer, loop: asyncio.AbstractEventLoop) -> None:
        self._server = server
        self._loop = loop
        self._starting = threading.Lock()
        self._running_gateway: RunningGateway | None = None
        self.home: Path = server.home
        self.socket_path: Path = server.socket_path
        self.tcp: tuple[str, int] | None = server.tcp[0] if server.tcp else None

    def add_agent(
        self,
        name: str,
        *,
        allow: Sequence[str] = ("*",),
        passphrase: Secret | str | None = None,
    ) -> Path:
        """Register an agent with a new key; return its key file, under `home/keys`.

        `allow` are the paths it may retrieve, list and use; empty makes no policy.
        """
        key = keys.generate()
        suffix = ".key" if passphrase is None else ".key.enc"
        path = self.home / "keys" / f"{name}{suffix}"
        # First the registration, which refuses names that are no file names either.
        self._do(lambda: self._server.owner.agent_add(name, key.public_key, allow=list(allow)))
        try:
            keys.save(key, path, passphrase=passphrase)
        except BaseException:
            self._do(lambda: self._server.owner.agent_remove(name))
            raise
        return path

    def put(self, path: str, value: str | bytes, type: str = "api_key", **about: Any) -> None:
        """Store a credential; `about` may hold description, tags, metadata and overwrite."""
        raw = value.encode() if isinstance(value, str) else value
        self._do(lambda: self._server.owner.put(path, raw, type=type, **about))

    @cached_property
    def admin(self) -> AdminClient:
        """The owner's client, connected to this vault's socket."""
        from .admin import AdminClient

        return AdminClient(self.socket_path)

    # -- governance ---------------------------------------------------------

    @property
    def governance_url(self) -> str:
        """The base URL of the governance service on loopback.

        The service starts with the first use of this or of one of its neighbours below.
        """
        url = self._governance.http.url
        if url is None:
            raise DevserverError(
                "the governance service has no TCP port; use governance_unix_url, or run with tcp"
            )
        return url

    @property
    def governance_unix_url(self) -> str:
        """The base URL of the governance service on its Unix socket."""
        return self._governance.http.unix_url

    @property
    def governance_socket(self) -> Path:
        """The path of that socket."""
        return self._governance.http.socket_path

    @property
    def governance_token(self) -> Secret | None:
        """The bearer token it asks for; None when it asks for none, as with `demo`."""
        return self._governance.http.token

    @property
    def governance_faults(self) -> HttpFaults:
        """What is to go wrong with its answers; see `ostiary.devserver.HttpFault`."""
        return self._governance.http.faults

    # -- gateway ------------------------------------------------------------

    @property
    def gateway(self) -> RunningGateway:
        """The gateway and its sidecar; they start with the first use of this."""
        with self._starting:
            if self._running_gateway is None:
                from .gateway.running import RunningGateway

                server = self._server.gateway
                if server is None:
                    server = _wait(self._server.open_gateway(GatewayOptions()), self._loop)
                self._running_gateway = RunningGateway(server, self._do)
            return self._running_gateway

    # -- runtime ------------------------------------------------------------

    @property
    def runtime_url(self) -> str:
        """The base URL of the agent runtime's API on loopback, `/api/v1` included.

        The runtime starts with the first use of this or of one of its neighbours below.
        """
        url = self._runtime.url
        if url is None:
            raise DevserverError(
                "the runtime has no TCP port; use runtime_unix_url, or run with tcp"
            )
        return url

    @property
    def runtime_unix_url(self) -> str:
        """The same on its Unix socket."""
        return self._runtime.unix_url

    @property
    def runtime_socket(self) -> Path:
        """The path of that socket."""
        return self._runtime.http.socket_path

    @property
    def runtime_token(self) -> Secret | None:
        """The bearer token it asks for; None when it asks for none, as with `demo`."""
        return self._runtime.http.token

    @property
    def runtime_faults(self) -> HttpFaults:
        """What is to go wrong with its answers; see `ostiary.devserver.HttpFault`."""
        return self._runtime.http.faults

    @property
    def _runtime(self) -> RuntimeServer:
        with self._starting:
            if self._server.runtime is not None:
                return self._server.runtime
            port = 0 if self.tcp is not None else None
            return _wait(self._server.open_runtime(RuntimeOptions(port=port)), self._loop)

    # -- workflow -----------------------------------------------------------

    @property
    def workflow_url(self) -> str:
        """The base URL of the workflow server on loopback.

        The server starts with the first use of this or of one of its neighbours below.
        """
        url = self._workflow.http.url
        if url is None:
            raise DevserverError(
                "the workflow server has no TCP port; use workflow_unix_url, or run with tcp"
            )
        return url

    @property
    def workflow_unix_url(self) -> str:
        """The same on its Unix socket."""
        return self._workflow.http.unix_url

    @property
    def workflow_socket(self) -> Path:
        """The path of that socket."""
        return self._workflow.http.socket_path

    @property
    def workflow_token(self) -> Secret | None:
        """The key with every role; None when none is asked for, as with `demo`."""
        return self._workflow.http.token

    @property
    def workflow_approver_token(self) -> Secret:
        """The key of somebody else, who may read and answer questions to people."""
        return self._workflow.keys.tokens["approver"]

    @property
    def workflow_files(self) -> Path:
        """The directory that tools read and write in."""
        return self._workflow.files

    @property
    def workflow_faults(self) -> HttpFaults:
        """What is to go wrong with its answers; see `ostiary.devserver.HttpFault`."""
        return self._workflow.http.faults

    @property
    def _workflow(self) -> WorkflowServer:
        with self._starting:
            if self._server.workflow is not None:
                return self._server.workflow
            port = 0 if self.tcp is not None else None
            return _wait(self._server.open_workflow(WorkflowOptions(port=port)), self._loop)

    @property
    def _governance(self) -> GovernanceServer:
        with self._starting:  # two threads may ask for the first time at once
            if self._server.governance is not None:
                return self._server.governance
            port = 0 if self.tcp is not None else None
            return _wait(self._server.open_governance(GovernanceOptions(port=port)), self._loop)

    def _do(self, change: Callable[[], T]) -> T:
        """Run a change on the vault's thread, and return once it is committed."""
        done: Future[T] = Future()

        def run() -> None:
            try:
                result = change()
                self._server.vault.flush()
            except BaseException as error:  # noqa: BLE001 - it is the caller's, not the loop's
                done.set_exception(error)
            else:
                done.set_result(result)

        self._loop.call_soon_threadsafe(run)
        try:
            return done.result()
        except Refusal as refusal:
            problem = f"{refusal.message}; {refusal.suggestion}"
        raise DevserverError(problem)

    def _close(self) -> None:
        admin = self.__dict__.get("admin")
        if admin is not None:
            admin.close()


@contextmanager
def running(
    home: Path | str | None = None, *, tcp: bool = True, demo: bool = False, **settings: Any
) -> Generator[RunningVault]:
    """Run a vault until the block ends.

    Without `home` it lives in a temporary directory that is removed afterwards. `tcp` also
    listens on a free loopback port. `demo` loads the documentation's agent and credentials,
    and asks no HTTP client for a token. Other settings are those of `Options`; give
    `governance`, `gateway`, `runtime` or `workflow` to set up those services, which otherwise
    start when they are asked for.
    """
    ours = os.getpid()
    temporary = Path(tempfile.mkdtemp(prefix="ostiary-")) if home is None else None
    settings.setdefault("ports", (0,) if tcp else ())
    try:
        options = Options(home=temporary or Path(home or "."), demo=demo, **settings)
        with _thread(VaultServer(options)) as vault:
            yield vault
    finally:
        if temporary is not None and os.getpid() == ours:
            shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def _thread(server: VaultServer) -> Generator[RunningVault]:
    loop = asyncio.SelectorEventLoop()  # as in `program`
    ours = os.getpid()
    thread = threading.Thread(target=_run, args=(loop,), name="ostiary-vault", daemon=True)
    thread.start()
    try:
        _wait(server.start(), loop)
        vault = RunningVault(server, loop)
        try:
            yield vault
        finally:
            # A forked child that leaves the block has no such thread to wait for.
            if os.getpid() == ours:
                vault._close()  # pyright: ignore[reportPrivateUsage]
                _wait(server.stop(), loop)
    finally:
        if os.getpid() == ours:
            # What libraries leave running would be destroyed with the loop, and say so.
            _wait(_cancel_the_rest(), loop)
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    loop.run_forever()


async def _cancel_the_rest() -> None:
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)


def _wait(work: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop) -> T:
    return asyncio.run_coroutine_threadsafe(work, loop).result()
