"""Channels between chats and agents, as far as they can be had on one machine.

A channel knows its users and its agent, and what is posted to it is answered by the agent and
audited. Nothing is sent to a chat platform. Neighbour: `executions` answers.
"""

from __future__ import annotations

from typing import Any, Final, final

import msgspec
from starlette.requests import Request
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from ..clock import iso
from ..documents import Documents
from ..http.front import Json
from ..http.reading import Body, invalid, number
from ..http.refusals import HttpRefusal
from ..http.routing import route
from .context import Context
from .executions import Executions

__all__ = ["Channels"]

_PLATFORMS: Final = ("slack", "teams", "mattermost")
_KEPT: Final = 10_000
_BODY_BYTES: Final = 256 * 1024


class _Channel(msgspec.Struct, kw_only=True):
    id: str
    name: str
    platform: str
    config: dict[str, Any]
    created_at: str
    updated_at: str
    status: str = "stopped"
    started_at: float | None = None
    last_message_at: str | None = None


class _Mapping(msgspec.Struct, kw_only=True):
    """Who a user of the platform is here."""

    platform_user_id: str
    platform: str
    symbiont_user_id: str
    display_name: str
    created_at: str
    email: str | None = None
    roles: list[str] = []
    verified: bool = False


class _Entry(msgspec.Struct, kw_only=True):
    """What happened on a channel; what was said is not kept."""

    timestamp: str
    event_type: str
    channel_id: str
    user_id: str | None = None
    agent: str | None = None
    details: dict[str, Any] = {}


class _Register(msgspec.Struct):
    name: str
    platform: str
    config: dict[str, Any] = {}


class _Update(msgspec.Struct):
    name: str | None = None
    config: dict[str, Any] | None = None


class _Map(msgspec.Struct):
    platform_user_id: str
    symbiont_user_id: str
    display_name: str = ""
    email: str | None = None
    roles: list[str] = []


class _Post(msgspec.Struct):
    user_id: str
    text: str


_REGISTER: Final = Body(_Register)
_UPDATE: Final = Body(_Update)
_MAP: Final = Body(_Map)
_POST: Final = Body(_Post, limit=_BODY_BYTES)


@final
class Channels:
    """The channels; `config.agent` names the agent that answers."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._executions = context.group(Executions)
        self._channels = Documents(context.store, "channel", _Channel)
        self._mappings = Documents(context.store, "channel-mapping", _Mapping)
        self._audit = Documents(context.store, "channel-audit", _Entry)
        for channel in self._channels.all():
            if channel.status == "running":
                channel.started_at = context.clock.wall()
                self._channels.put(channel.id, channel)

    def routes(self) -> list[BaseRoute]:
        return [
            route("GET", "/channels", self._list),
            route("POST", "/channels", self._register),
            route("GET", "/channels/{id}", self._get),
            route("PUT", "/channels/{id}", self._update),
            route("DELETE", "/channels/{id}", self._delete),
            route("POST", "/channels/{id}/start", self._start),
            route("POST", "/channels/{id}/stop", self._stop),
            route("GET", "/channels/{id}/health", self._health),
            route("GET", "/channels/{id}/mappings", self._list_mappings),
            route("POST", "/channels/{id}/mappings", self._add_mapping),
            route("DELETE", "/channels/{id}/mappings/{user}", self._remove_mapping),
            route("GET", "/channels/{id}/audit", self._entries),
            route("POST", "/channels/{id}/messages", self._post),
        ]

    def gauges(self) -> dict[str, int | float]:
        return {"channels": self._channels.count()}

    async def start(self) -> None:
        pass

    async def stop(self, grace: float) -> None:
        pass

    def load_demo(self) -> None:
        pass

    async def _list(self, request: Request) -> ASGIApp:
        return Json([_summary(channel) for channel in self._channels.all()])

    async def _register(self, request: Request) -> ASGIApp:
        body = await _REGISTER.read(request)
        if not body.name:
            raise invalid("name", "name is empty; name the channel")
        if body.platform not in _PLATFORMS:
            raise invalid("platform", "platform is one of " + ", ".join(_PLATFORMS))
        self._check(body.config)
        if any(channel.name == body.name for channel in self._channels.all()):
            raise HttpRefusal(409, "CHANNEL_EXISTS", "there is another channel of this name")
        now = self._context.now()
        channel = _Channel(
            id=self._context.new_id(),
            name=body.name,
            platform=body.platform,
            config=body.config,
            created_at=now,
            updated_at=now,
        )
        self._channels.put(channel.id, channel)
        self._note(channel, "registered")
        return Json(_detail(channel), status=201)

    async def _get(self, request: Request) -> ASGIApp:
        return Json(_detail(self._found(request)))

    async def _update(self, request: Request) -> ASGIApp:
        body = await _UPDATE.read(request)
        channel = self._found(request)
        if body.config is not None:
            self._check(body.config)
            channel.config = body.config
        if body.name:
            channel.name = body.name
        channel.updated_at = self._context.now()
        self._channels.put(channel.id, channel)
        self._note(channel, "updated")
        return Json(_detail(channel))

    async def _delete(self, request: Request) -> ASGIApp:
        channel = self._found(request)
        with self._context.store.transaction():
            for mapping in self._mappings.owned(channel.id):
                self._mappings.delete(_mapping_key(channel.id, mapping.platform_user_id))
            self._channels.delete(channel.id)
        return Json({"id": channel.id, "deleted": True})

    async def _start(self, request: Request) -> ASGIApp:
        channel = self._found(request)
        self._agent(channel)
        if channel.status != "running":
            channel.status, channel.started_at = "running", self._context.clock.wall()
            self._channels.put(channel.id, channel)
            self._note(channel, "started")
        return Json({"id": channel.id, "action": "start", "status": channel.status})

    async def _stop(self, request: Request) -> ASGIApp:
        channel = self._found(request)
        if channel.status == "running":
            channel.status, channel.started_at = "stopped", None
            self._channels.put(channel.id, channel)
            self._note(channel, "stopped")
        return Json({"id": channel.id, "action": "stop", "status": channel.status})

    async def _health(self, request: Request) -> ASGIApp:
        channel = self._found(request)
        running = channel.status == "running"
        since = channel.started_at
        return Json(
            {
                "id": channel.id,
                "connected": running,
                "platform": channel.platform,
                "workspace_name": channel.config.get("workspace_name"),
                "channels_active": int(running),
                "last_message_at": channel.last_message_at,
                "uptime_secs": int(self._context.clock.wall() - since) if since else 0,
            }
        )

    async def _list_mappings(self, request: Request) -> ASGIApp:
        return Json(self._mappings.owned(self._found(request).id, newest_first=False))

    async def _add_mapping(self, request: Request) -> ASGIApp:
        body = await _MAP.read(request)
        channel = self._found(request)
        if not body.platform_user_id or "/" in body.platform_user_id:
            raise invalid("platform_user_id", "platform_user_id is empty or has a slash in it")
        mapping = _Mapping(
            platform_user_id=body.platform_user_id,
            platform=channel.platform,
            symbiont_user_id=body.symbiont_user_id,
            display_name=body.display_name or body.symbiont_user_id,
            email=body.email,
            roles=body.roles,
            created_at=self._context.now(),
        )
        key = _mapping_key(channel.id, body.platform_user_id)
        self._mappings.put(key, mapping, owner=channel.id)
        self._note(channel, "mapping.added", user_id=body.platform_user_id)
        return Json(mapping, status=201)

    async def _remove_mapping(self, request: Request) -> ASGIApp:
        channel = self._found(request)
        user: str = request.path_params["user"]
        if not self._mappings.delete(_mapping_key(channel.id, user)):
            raise HttpRefusal(404, "MAPPING_NOT_FOUND", "the channel has no such user")
        self._note(channel, "mapping.removed", user_id=user)
        return Json({"platform_user_id": user, "deleted": True})

    async def _entries(self, request: Request) -> ASGIApp:
        channel = self._found(request)
        limit = number(request, "limit", 50, least=1, most=1_000)
        return Json({"channel_id": channel.id, "entries": self._audit.owned(channel.id, limit)})

    async def _post(self, request: Request) -> ASGIApp:
        """Take what a user of the platform says, and answer as the agent does."""
        body = await _POST.read(request)
        channel = self._found(request)
        if channel.status != "running":
            raise HttpRefusal(409, "CHANNEL_STOPPED", "the channel is stopped; start it")
        agent_id = self._agent(channel)
        known = self._mappings.get(_mapping_key(channel.id, body.user_id))
        if known is None:
            self._note(channel, "message.refused", user_id=body.user_id)
            raise HttpRefusal(403, "USER_UNKNOWN", "the channel does not know this user; map it")
        channel.last_message_at = self._context.now()
        self._channels.put(channel.id, channel)
        self._note(channel, "message.received", user_id=body.user_id, agent=agent_id)
        execution = await self._executions.perform(agent_id, body.text, "channel")
        output: dict[str, Any] = execution.result
        return Json(
            {
                "channel_id": channel.id,
                "agent_id": agent_id,
                "execution_id": execution.execution_id,
                "response": output.get("response", output),
            }
        )

    def _found(self, request: Request) -> _Channel:
        channel = self._channels.get(request.path_params["id"])
        if channel is None:
            raise HttpRefusal(404, "CHANNEL_NOT_FOUND", "there is no channel of this id")
        return channel

    def _agent(self, channel: _Channel) -> str:
        name = channel.config.get("agent")
        agent = self._context.agents.named(name) if isinstance(name, str) else None
        if agent is None:
            raise HttpRefusal(
                409,
                "CHANNEL_WITHOUT_AGENT",
                "config.agent names no agent of this runtime; set it to a name or an id",
            )
        return agent.id

    def _check(self, config: dict[str, Any]) -> None:
        """Refuse secrets, which have no place where everybody with a token reads them."""
        for name in config:
            if any(word in name.lower() for word in ("token", "secret", "password")):
                raise invalid(
                    f"config.{name}", "a channel's config is shown; keep secrets under /secrets"
                )

    def _note(
        self,
        channel: _Channel,
        what: str,
        *,
        user_id: str | None = None,
        agent: str | None = None,
    ) -> None:
        entry = _Entry(
            timestamp=iso(self._context.clock.wall()),
            event_type=what,
            channel_id=channel.id,
            user_id=user_id,
            agent=agent,
        )
        self._audit.put(self._context.new_id(), entry, owner=channel.id)
        self._audit.keep(_KEPT)
        self._context.events.publish(f"channel.{what}", agent, channel_id=channel.id)


def _summary(channel: _Channel) -> dict[str, Any]:
    return {
        "id": channel.id,
        "name": channel.name,
        "platform": channel.platform,
        "status": channel.status,
    }


def _detail(channel: _Channel) -> dict[str, Any]:
    return {
        **_summary(channel),
        "config": channel.config,
        "created_at": channel.created_at,
        "updated_at": channel.updated_at,
    }


def _mapping_key(channel_id: str, user: str) -> str:
    return f"{channel_id}/{user}"
