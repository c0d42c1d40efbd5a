"""Messages to agents: queued, drained once, expired when nobody came for them.

Neighbour: `external` agents are told of work this way.
"""

from __future__ import annotations

from typing import Any, Final, final

import msgspec
from starlette.requests import Request
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from ..documents import Documents
from ..http.front import Json
from ..http.reading import Body, invalid
from ..http.refusals import HttpRefusal
from ..http.routing import route
from .context import Context
from .external import refuse_agentpin

__all__ = ["Message", "Messages"]

_BODY_BYTES: Final = 256 * 1024
_TTL: Final = 300
_LONGEST_TTL: Final = 24 * 3600
_QUEUE: Final = 1_000
_KEPT: Final = 20_000
_PRUNE_EVERY: Final = 500


class Message(msgspec.Struct, kw_only=True):
    """One message; `status` is pending, delivered or expired. Times are Unix seconds."""

    message_id: str
    sender: str
    recipient: str
    payload: Any
    topic: str | None
    message_type: str
    timestamp_secs: int
    ttl_seconds: int
    expires_at: float
    status: str = "pending"


class _Send(msgspec.Struct):
    sender: str
    payload: Any
    ttl_seconds: int = _TTL
    topic: str | None = None
    agentpin_jwt: str | None = None


_SEND: Final = Body(_Send, limit=_BODY_BYTES)


@final
class Messages:
    """The queues of all agents."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._messages = Documents(context.store, "message", Message)
        self._since_pruned = 0
        # Ids of what nobody has fetched yet, by recipient, oldest first.
        self._queues: dict[str, list[str]] = {}
        for message in self._messages.all():
            if message.status == "pending":
                self._queues.setdefault(message.recipient, []).append(message.message_id)
        context.agents.forgetting.append(self._forget)

    def send(
        self,
        recipient: str,
        sender: str,
        payload: Any,
        *,
        ttl_seconds: int = _TTL,
        topic: str | None = None,
    ) -> Message:
        """Queue a message; 404 for an agent that is not there, 409 for a queue that is full."""
        self._context.agents.require(recipient)
        queue = self._queues.setdefault(recipient, [])
        if len(queue) >= _QUEUE:
            self._expire(recipient)
        if len(queue) >= _QUEUE:
            raise HttpRefusal(
                409, "QUEUE_FULL", f"{_QUEUE} messages wait for this agent; have it fetch them"
            )
        now = self._context.clock.wall()
        message = Message(
            message_id=self._context.new_id(),
            sender=sender,
            recipient=recipient,
            payload=payload,
            topic=topic,
            message_type="direct" if topic is None else "publish",
            timestamp_secs=int(now),
            ttl_seconds=ttl_seconds,
            expires_at=now + ttl_seconds,
        )
        self._messages.put(message.message_id, message)
        queue.append(message.message_id)
        self._since_pruned += 1
        if self._since_pruned >= _PRUNE_EVERY:
            self._since_pruned = 0
            self._messages.keep(_KEPT)
        self._context.events.publish("message.queued", recipient, message_id=message.message_id)
        return message

    def drain(self, recipient: str) -> list[Message]:
        """Return what waits for an agent, oldest first, and count it as delivered."""
        self._context.agents.require(recipient)
        found: list[Message] = []
        with self._context.store.transaction():
            for message_id in self._queues.pop(recipient, []):
                message = self._messages.get(message_id)
                if message is None:
                    continue
                message.status = "expired" if self._late(message) else "delivered"
                self._messages.put(message_id, message)
                if message.status == "delivered":
                    found.append(message)
        return found

    def _expire(self, recipient: str) -> None:
        queue = self._queues[recipient]
        with self._context.store.transaction():
            for message_id in queue[:]:
                message = self._messages.get(message_id)
                if message is None or self._late(message):
                    queue.remove(message_id)
                if message is not None and self._late(message):
                    message.status = "expired"
                    self._messages.put(message_id, message)

    def _forget(self, agent_id: str) -> None:
        """Let what waits for an agent expire: another of that id is somebody else."""
        for message_id in self._queues.pop(agent_id, []):
            message = self._messages.get(message_id)
            if message is not None:
                message.status = "expired"
                self._messages.put(message_id, message)

    def _late(self, message: Message) -> bool:
        return self._context.clock.wall() >= message.expires_at

    def routes(self) -> list[BaseRoute]:
        return [
            route("POST", "/agents/{id}/messages", self._post),
            route("GET", "/agents/{id}/messages", self._get),
            route("GET", "/messages/{id}/status", self._status),
        ]

    def gauges(self) -> dict[str, int | float]:
        return {"messages_waiting": sum(map(len, self._queues.values()))}

    async def start(self) -> None:
        pass

    async def stop(self, grace: float) -> None:
        pass

    def load_demo(self) -> None:
        pass

    async def _post(self, request: Request) -> ASGIApp:
        body = await _SEND.read(request)
        refuse_agentpin(body.agentpin_jwt)
        if not body.sender:
            raise invalid("sender", "sender is empty; say who sends")
        if body.ttl_seconds < 1:
            raise invalid("ttl_seconds", "ttl_seconds is at least 1")
        message = self.send(
            request.path_params["id"],
            body.sender,
            body.payload,
            ttl_seconds=min(body.ttl_seconds, _LONGEST_TTL),
            topic=body.topic,
        )
        return Json({"message_id": message.message_id, "status": message.status}, status=201)

    async def _get(self, request: Request) -> ASGIApp:
        return Json({"messages": [_shown(one) for one in self.drain(request.path_params["id"])]})

    async def _status(self, request: Request) -> ASGIApp:
        message = self._messages.get(request.path_params["id"])
        if message is None:
            raise HttpRefusal(404, "MESSAGE_NOT_FOUND", "there is no message of this id")
        late = message.status == "pending" and self._late(message)
        return Json(
            {
                "message_id": message.message_id,
                "status": "expired" if late else message.status,
            }
        )


def _shown(message: Message) -> dict[str, Any]:
    shown = msgspec.structs.asdict(message)
    del shown["expires_at"], shown["status"]
    return shown
