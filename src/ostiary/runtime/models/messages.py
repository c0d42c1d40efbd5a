"""What agents tell one another and the runtime: messages, heartbeats, events."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

from ..enums import AgentState, EventType, MessageStatus, MessageType
from .model import Model, Request

__all__ = [
    "AgentEventRequest",
    "AgentMessage",
    "HeartbeatRequest",
    "MessageReceipt",
    "RuntimeEvent",
    "SendMessageRequest",
]


class SendMessageRequest(Request):
    """A message to an agent."""

    sender: str
    payload: str
    ttl_seconds: int | None = None
    topic: str | None = None
    agentpin_jwt: str | None = None

    _hidden: ClassVar[frozenset[str]] = frozenset({"agentpin_jwt"})
    _filled: ClassVar[tuple[str, ...]] = ("sender",)
    _bounds: ClassVar[Mapping[str, tuple[float, float]]] = {"ttl_seconds": (1, 86400)}


class MessageReceipt(Model):
    """A message that was sent, and what has become of it."""

    message_id: str
    status: MessageStatus


class AgentMessage(Model):
    """A message that an agent received."""

    message_id: str
    sender: str
    recipient: str | None = None
    topic: str | None = None
    payload: str
    message_type: MessageType = MessageType.DIRECT
    timestamp_secs: float | None = None
    ttl_seconds: int | None = None

    @property
    def sent_at(self) -> datetime | None:
        """When it was sent, if the server said so."""
        if self.timestamp_secs is None:
            return None
        return datetime.fromtimestamp(self.timestamp_secs, UTC)


class HeartbeatRequest(Request):
    """A sign of life of an agent that runs elsewhere."""

    state: AgentState
    metadata: dict[str, str] | None = None
    last_result: str | None = None
    agentpin_jwt: str | None = None

    _hidden: ClassVar[frozenset[str]] = frozenset({"agentpin_jwt"})


class AgentEventRequest(Request):
    """Something that happened to an agent that runs elsewhere."""

    event_type: EventType
    payload: Any
    agentpin_jwt: str | None = None

    _hidden: ClassVar[frozenset[str]] = frozenset({"agentpin_jwt"})


class RuntimeEvent(Model):
    """Something that happened in the runtime."""

    type: str
    timestamp: datetime | None = None
    agent_id: str | None = None
    payload: Any = None
