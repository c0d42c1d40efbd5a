"""Chat platforms that agents are reached through: Slack, Teams, Mattermost."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from .model import Model, Request

__all__ = [
    "AddIdentityMappingRequest",
    "ChannelActionResponse",
    "ChannelAuditEntry",
    "ChannelDetail",
    "ChannelHealth",
    "ChannelSummary",
    "DeleteChannelResponse",
    "IdentityMapping",
    "RegisterChannelRequest",
    "RegisterChannelResponse",
    "UpdateChannelRequest",
]


class RegisterChannelRequest(Request):
    """A channel to be made. The values of `config` are not shown: tokens are among them."""

    name: str
    platform: str
    config: dict[str, Any] = {}

    _hidden: ClassVar[frozenset[str]] = frozenset({"config"})
    _filled: ClassVar[tuple[str, ...]] = ("name", "platform")


class UpdateChannelRequest(Request):
    """What of a channel is to be changed."""

    config: dict[str, Any] | None = None

    _hidden: ClassVar[frozenset[str]] = frozenset({"config"})


class RegisterChannelResponse(Model):
    """A channel that was made."""

    id: str
    name: str
    platform: str
    status: str


class ChannelSummary(Model):
    """A channel in a list."""

    id: str
    name: str
    platform: str
    status: str


class ChannelDetail(Model):
    """A channel."""

    id: str
    name: str
    platform: str
    status: str
    config: dict[str, Any] = {}
    created_at: datetime | None = None
    updated_at: datetime | None = None

    _hidden: ClassVar[frozenset[str]] = frozenset({"config"})


class ChannelActionResponse(Model):
    """What was done to a channel, and how it is now."""

    id: str
    action: str
    status: str


class DeleteChannelResponse(Model):
    """A channel that was deleted."""

    id: str
    deleted: bool


class ChannelHealth(Model):
    """How a channel is."""

    id: str
    connected: bool
    platform: str | None = None
    workspace_name: str | None = None
    channels_active: int = 0
    last_message_at: datetime | None = None
    uptime_secs: float = 0


class IdentityMapping(Model):
    """Which user of a platform is which user of the runtime."""

    platform_user_id: str
    platform: str
    symbiont_user_id: str
    email: str | None = None
    display_name: str | None = None
    roles: list[str] = []
    verified: bool = False
    created_at: datetime | None = None


class AddIdentityMappingRequest(Request):
    """A user to be mapped."""

    platform_user_id: str
    symbiont_user_id: str
    display_name: str | None = None
    email: str | None = None
    roles: list[str] = []

    _filled: ClassVar[tuple[str, ...]] = ("platform_user_id", "symbiont_user_id")


class ChannelAuditEntry(Model):
    """Something that happened on a channel."""

    timestamp: datetime
    event_type: str
    user_id: str | None = None
    channel_id: str | None = None
    agent: str | None = None
    details: Any = None
