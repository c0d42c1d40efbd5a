"""The group `secrets`: store, read, list and remove; and where all of it lies.

A new place is checked before it replaces the old one, and what is in the old one stays there.
Values go in and out, and nowhere else. Neighbours: `settings`, the backends.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, final

import msgspec
from starlette.requests import Request
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from ...._decoders import decoder_of
from ....errors import InvalidArgumentError
from ....secret import Secret
from ...audit import Event
from ...clock import iso
from ...http.front import Json
from ...http.reading import Body, invalid
from ...http.refusals import HttpRefusal
from ...http.routing import route
from ...maps import Map, Maps
from ..context import Context
from .backend import VALUE_LIMIT, Backend, Stored, Unusable, broken, check_agent, check_name
from .sealed import Sealed, committed, read_sealed, write_sealed
from .settings import BackendConfig

if TYPE_CHECKING:
    from ...hashicorp.server import HashicorpServer

__all__ = ["Secrets"]

# The guide's vault and the guide's token: with --demo both are there.
_DEMO_VAULT: Final = "vault.example.com"
_DEMO_TOKEN: Final = "hvs.abc123..."
_KEPT: Final = "secret-backend"


class _Store(msgspec.Struct):
    agent_id: str
    secret_name: str
    secret_value: str | None = None
    description: str | None = None

    def __repr__(self) -> str:
        return "_Store()"


_STORE: Final = Body(_Store)
_CONFIG: Final = Body(BackendConfig)
_KEEP: Final = decoder_of(BackendConfig)


@final
class _Place:
    """A backend in use; closed by the last user after it was replaced."""

    def __init__(self, backend: Backend, config: BackendConfig) -> None:
        self.backend = backend
        self.config = config
        self._users = 0
        self._replaced = False

    @asynccontextmanager
    async def used(self) -> AsyncGenerator[Backend]:
        self._users += 1
        try:
            yield self.backend
        finally:
            self._users -= 1
            await self._close_if_done()

    async def replaced(self) -> None:
        self._replaced = True
        await self._close_if_done()

    async def _close_if_done(self) -> None:
        if self._replaced and not self._users:
            await self.backend.close()


@final
class Secrets:
    """The agents' secrets, wherever they lie."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._maps = Maps(context.runtime.maps)
        self._configuring = asyncio.Lock()
        self._place: _Place | None = None
        self._vault_server: HashicorpServer | None = None
        self._counting: asyncio.Task[None] | None = None
        # Whoever may ask without a key is not to have this server call other machines.
        self._keyless = context.options.demo and context.runtime.token is None

    def routes(self) -> list[BaseRoute]:
        return [
            route("POST", "/secrets", self._store),
            route("GET", "/secrets/config", self._configuration),
            route("POST", "/secrets/config", self._configure),
            route("GET", "/secrets/{agent_id}", self._list),
            route("GET", "/secrets/{agent_id}/{name}", self._read),
            route("DELETE", "/secrets/{agent_id}/{name}", self._delete),
        ]

    def gauges(self) -> dict[str, int | float]:
        place = self._place
        return {"secrets_count": 0 if place is None else place.backend.count}

    async def start(self) -> None:
        if not self._context.vault.locked:
            self._counting = asyncio.create_task(self._count())

    async def _count(self) -> None:
        """Have the backend count; it may be somebody else's, and down for now."""
        try:
            async with (await self._current()).used() as backend:
                await backend.check()
        except HttpRefusal:
            pass

    async def stop(self, grace: float) -> None:
        if self._counting is not None:
            self._counting.cancel()
            await asyncio.wait([self._counting])
            self._counting = None
        if self._place is not None:
            await self._place.replaced()
            self._place = None
        if self._vault_server is not None:
            await self._vault_server.stop(grace)
            self._vault_server = None

    def load_demo(self) -> None:
        pass

    # -- endpoints ------------------------------------------------------------

    async def reveal(self, agent_id: str, name: str) -> Secret | None:
        """Return a secret for its agent's program to use, or None; it goes on record as read."""
        try:
            return await self._found(check_agent(agent_id), check_name(name))
        except HttpRefusal as refusal:
            if refusal.code != "SECRET_NOT_FOUND":
                raise
        return None

    async def _found(self, agent_id: str, name: str) -> Secret:
        async with self._open("retrieve", agent_id, name) as backend:
            value = await backend.get(agent_id, name)
            if value is None:
                raise _unknown()  # within: what was not there was not retrieved
        return value

    async def _store(self, request: Request) -> ASGIApp:
        body = await _STORE.read(request)
        agent_id, name = check_agent(body.agent_id), check_name(body.secret_name)
        if body.secret_value is None:
            raise invalid("secret_value", "secret_value is missing; give the secret's text")
        if not body.secret_value:
            raise invalid("secret_value", "secret_value is empty; delete the secret instead")
        value = Secret(body.secret_value)
        if len(value.reveal_bytes()) > VALUE_LIMIT:
            raise invalid("secret_value", f"secret_value is longer than {VALUE_LIMIT} bytes")
        async with self._open("store", agent_id, name) as backend:
            stored = await backend.put(agent_id, name, value, body.description)
        self._context.events.publish("secret.stored", agent_id, secret_name=name)
        return Json(
            {"secret_name": name, "agent_id": agent_id, **_times(stored)},
            status=201 if stored.updated_at is None else 200,
        )

    async def _read(self, request: Request) -> ASGIApp:
        agent_id, name = _named(request)
        if not self._context.vault.options.raw_retrieval:
            raise HttpRefusal(
                403, "ACCESS_DENIED", "this server's secrets can be used and not read"
            )
        text = _text(await self._found(agent_id, name))
        if text is None:
            raise HttpRefusal(409, "NOT_TEXT", "the secret is not text; read it from the vault")
        return Json({"value": text})

    async def _list(self, request: Request) -> ASGIApp:
        agent_id = check_agent(request.path_params["agent_id"])
        async with self._open() as backend:
            names = await backend.names(agent_id)
        return Json({"secrets": names, "agent_id": agent_id})

    async def _delete(self, request: Request) -> ASGIApp:
        agent_id, name = _named(request)
        async with self._open("delete", agent_id, name) as backend:
            if not await backend.delete(agent_id, name):
                raise _unknown()
        self._context.events.publish("secret.deleted", agent_id, secret_name=name)
        return Json({"status": "deleted", "secret_name": name, "agent_id": agent_id})

    async def _configuration(self, request: Request) -> ASGIApp:
        found: dict[str, object] = {}
        problem: HttpRefusal | None = None
        try:
            async with (await self._current()).used() as backend:
                await backend.check()
        except HttpRefusal as refusal:
            problem = refusal
        place = self._place
        if place is not None:
            found = place.config.shown() | place.backend.about()
        elif problem is not None:
            raise problem
        found["status"] = "ready" if problem is None else "failing"
        if problem is not None:
            found["error"] = {"code": problem.code, "message": problem.message}
        return Json(found)

    async def _configure(self, request: Request) -> ASGIApp:
        config = await _CONFIG.read(request)
        config.check()
        config.configured_at = self._context.now()
        async with self._configuring:
            with committed(self._context.vault):
                pass  # closed, it could not keep what is about to be checked
            backend = await self._backend(config)
            try:
                await _checked(backend)
                write_sealed(
                    self._context.vault,
                    _KEPT,
                    msgspec.json.encode(config),
                    Event("runtime.secrets", "configure", resource=config.backend_type),
                )
            except BaseException:
                await backend.close()
                raise
            old, self._place = self._place, _Place(backend, config)
            if old is not None:
                await old.replaced()
        self._context.events.publish("secrets.configured", backend_type=config.backend_type)
        return Json({"status": "configured", "backend_type": config.backend_type})

    # -- the backend ----------------------------------------------------------

    @asynccontextmanager
    async def _open(
        self, action: str | None = None, agent_id: str = "", name: str = ""
    ) -> AsyncGenerator[Backend]:
        """Lend the backend; `action` on a secret goes on the vault's record, once it is done."""
        problem: HttpRefusal | None = None
        kind = ""
        try:
            async with (await self._current()).used() as backend:
                kind = backend.kind
                yield backend
        except Unusable as refusal:
            problem = refusal
        if problem is not None:
            # It passed its check once: what is wrong now is not this request's fault.
            raise broken(problem.message)
        # The sealed store's own changes are on record already, with the vault's words.
        if action is not None and not (kind == "sealed" and action != "retrieve"):
            event = Event(
                f"credential.{action}",
                action,
                agent=agent_id,
                resource=f"runtime/secrets/{agent_id}/{name}",
                reason=f"by the runtime, {kind}",
            )
            with committed(self._context.vault, event):
                pass

    async def _current(self) -> _Place:
        """Return the place in use; the first time that which was configured last."""
        with committed(self._context.vault):
            pass  # a locked vault locks every place: it keeps the keys to them
        if self._place is None:
            async with self._configuring:
                if self._place is None:
                    self._place = await self._kept()
        return self._place

    async def _kept(self) -> _Place:
        kept = read_sealed(self._context.vault, _KEPT)
        config = BackendConfig(backend_type="sealed") if kept is None else _KEEP.decode(kept)
        return _Place(await self._backend(config), config)

    async def _backend(self, config: BackendConfig) -> Backend:
        context = self._context
        if config.backend_type == "vault" and config.vault_config is not None:
            from .hashicorp import Hashicorp

            if context.options.demo and config.vault_config.host == _DEMO_VAULT:
                await self._open_demo_vault()
            return Hashicorp(
                config.vault_config,
                self._maps,
                context.clock,
                service_account=context.runtime.service_account,
                only_mapped=self._keyless,
            )
        if config.backend_type == "encrypted_file":
            from .encrypted_file import EncryptedFile, secret_file

            return EncryptedFile(
                secret_file(context.home, config.file_path),
                Secret(config.encryption_key or ""),
                context.clock,
                context.workers,
            )
        if config.backend_type == "os_keychain":
            from .keychain import Keychain

            service = config.service or f"ostiary runtime {context.home}"
            return Keychain(service, context.clock, context.workers)
        return Sealed(context.vault)

    # -- the guide's vault ----------------------------------------------------

    async def _open_demo_vault(self) -> None:
        """Have a vault answer to the guide's name, unless that name was given to another."""
        if self._maps.find(_DEMO_VAULT) is not None:
            return
        from ...hashicorp.server import HashicorpServer

        server = HashicorpServer(names=[_DEMO_VAULT], clock=self._context.clock.wall)
        await server.start()
        self._vault_server = server
        server.add_token(_DEMO_TOKEN)
        if server.address is not None:
            self._maps.add(Map(_DEMO_VAULT, *server.address, server.authority))


async def _checked(backend: Backend) -> None:
    problem: HttpRefusal
    try:
        await backend.check()
        return
    except HttpRefusal as refusal:
        problem = refusal
    if problem.code == "VAULT_LOCKED":
        raise problem
    raise HttpRefusal(
        422,
        problem.code,
        f"{problem.message}; the backend is as it was before",
        details=problem.details,
    )


def _named(request: Request) -> tuple[str, str]:
    return check_agent(request.path_params["agent_id"]), check_name(request.path_params["name"])


def _times(stored: Stored) -> dict[str, str | None]:
    return {
        "created_at": iso(stored.created_at),
        "updated_at": None if stored.updated_at is None else iso(stored.updated_at),
    }


def _text(value: Secret) -> str | None:
    try:
        return value.reveal()
    except InvalidArgumentError:
        return None


def _unknown() -> HttpRefusal:
    # Neither id nor name is repeated: they are the caller's own text.
    return HttpRefusal(404, "SECRET_NOT_FOUND", "this agent has no secret of this name")
