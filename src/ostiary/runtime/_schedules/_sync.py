# Generated from _async.py by tools/unasync.py. Edit that file, not this one.

"""`client.schedules`: when agents run. `client.channels`: where people talk to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, final

from msgspec import UNSET

from ..._calls.colours import Key, Timeout
from .. import _bodies as bodies
from .. import _routes as routes
from ..models import (
    AddIdentityMappingRequest,
    ChannelActionResponse,
    ChannelAuditEntry,
    ChannelDetail,
    ChannelHealth,
    ChannelSummary,
    CreateScheduleRequest,
    CreateScheduleResponse,
    DeleteChannelResponse,
    DeleteScheduleResponse,
    IdentityMapping,
    NextRunsResponse,
    RegisterChannelRequest,
    RegisterChannelResponse,
    ScheduleActionResponse,
    ScheduleDetail,
    SchedulerHealth,
    ScheduleRunEntry,
    ScheduleSummary,
    UpdateChannelRequest,
    UpdateScheduleRequest,
)

if TYPE_CHECKING:
    from ...http._sync import Pool

T = TypeVar("T")

# Both classes have a method of the name `list`.
Rows: TypeAlias = list[T]

__all__ = ["Channels", "Schedules"]


@final
class Schedules:
    """Agents that run by the clock. Cron expressions have five fields, or six with seconds."""

    __slots__ = ("_pool",)

    def __init__(self, pool: Pool) -> None:
        """A client makes it."""
        self._pool = pool

    def list(self, *, timeout: Timeout = UNSET) -> Rows[ScheduleSummary]:
        """Return all schedules."""
        return self._pool.call(routes.SCHEDULES_LIST, timeout=timeout)

    def create(
        self,
        request: CreateScheduleRequest | Mapping[str, Any],
        *,
        timeout: Timeout = UNSET,
        idempotency_key: Key = None,
    ) -> CreateScheduleResponse:
        """Create a schedule; `next_run` is when its agent runs first."""
        return self._pool.call(
            routes.SCHEDULE_CREATE,
            body=bodies.given(CreateScheduleRequest, "request", request),
            timeout=timeout,
            idempotency_key=idempotency_key,
        )

    def get(self, job_id: str, *, timeout: Timeout = UNSET) -> ScheduleDetail:
        """Return a schedule and how its runs went."""
        return self._pool.call(routes.SCHEDULE_GET, job_id, timeout=timeout)

    def update(
        self,
        job_id: str,
        request: UpdateScheduleRequest | Mapping[str, Any],
        *,
        timeout: Timeout = UNSET,
    ) -> ScheduleDetail:
        """Change what is given of a schedule, and return it."""
        return self._pool.call(
            routes.SCHEDULE_UPDATE,
            job_id,
            body=bodies.given(UpdateScheduleRequest, "request", request),
            timeout=timeout,
        )

    def delete(self, job_id: str, *, timeout: Timeout = UNSET) -> DeleteScheduleResponse:
        """Delete a schedule."""
        return self._pool.call(routes.SCHEDULE_DELETE, job_id, timeout=timeout)

    def pause(
        self, job_id: str, *, timeout: Timeout = UNSET, idempotency_key: Key = None
    ) -> ScheduleActionResponse:
        """Have a schedule begin no runs."""
        return self._pool.call(
            routes.SCHEDULE_PAUSE, job_id, timeout=timeout, idempotency_key=idempotency_key
        )

    def resume(
        self, job_id: str, *, timeout: Timeout = UNSET, idempotency_key: Key = None
    ) -> ScheduleActionResponse:
        """Have a paused schedule go on."""
        return self._pool.call(
            routes.SCHEDULE_RESUME, job_id, timeout=timeout, idempotency_key=idempotency_key
        )

    def trigger(
        self, job_id: str, *, timeout: Timeout = UNSET, idempotency_key: Key = None
    ) -> ScheduleActionResponse:
        """Run a schedule's agent now, whatever the clock says."""
        return self._pool.call(
            routes.SCHEDULE_TRIGGER, job_id, timeout=timeout, idempotency_key=idempotency_key
        )

    def history(
        self, job_id: str, limit: int = 50, *, timeout: Timeout = UNSET
    ) -> Rows[ScheduleRunEntry]:
        """Return a schedule's latest runs."""
        return self._pool.call(
            routes.SCHEDULE_HISTORY,
            job_id,
            query={"limit": bodies.count("limit", limit)},
            timeout=timeout,
        )

    def next_runs(
        self, job_id: str, count: int = 10, *, timeout: Timeout = UNSET
    ) -> NextRunsResponse:
        """Return when a schedule runs next."""
        return self._pool.call(
            routes.SCHEDULE_NEXT_RUNS,
            job_id,
            query={"count": bodies.count("count", count)},
            timeout=timeout,
        )

    def health(self, *, timeout: Timeout = UNSET) -> SchedulerHealth:
        """Return how the scheduler is."""
        return self._pool.call(routes.SCHEDULER_HEALTH, timeout=timeout)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._pool.base_url}>"


@final
class Channels:
    """Agents in Slack, Teams and Mattermost, on servers that have adapters for them."""

    __slots__ = ("_pool",)

    def __init__(self, pool: Pool) -> None:
        """A client makes it."""
        self._pool = pool

    def list(self, *, timeout: Timeout = UNSET) -> Rows[ChannelSummary]:
        """Return all channels."""
        return self._pool.call(routes.CHANNELS_LIST, timeout=timeout)

    def register(
        self,
        request: RegisterChannelRequest | Mapping[str, Any],
        *,
        timeout: Timeout = UNSET,
        idempotency_key: Key = None,
    ) -> RegisterChannelResponse:
        """Make a channel known; it is opened by `start`."""
        try:
            return self._pool.call(
                routes.CHANNEL_REGISTER,
                body=bodies.given(RegisterChannelRequest, "request", request),
                timeout=timeout,
                idempotency_key=idempotency_key,
            )
        finally:
            del request  # its config holds the platform's tokens

    def get(self, channel_id: str, *, timeout: Timeout = UNSET) -> ChannelDetail:
        """Return a channel."""
        return self._pool.call(routes.CHANNEL_GET, channel_id, timeout=timeout)

    def update(
        self,
        channel_id: str,
        request: UpdateChannelRequest | Mapping[str, Any],
        *,
        timeout: Timeout = UNSET,
    ) -> ChannelDetail:
        """Change what is given of a channel, and return it."""
        try:
            return self._pool.call(
                routes.CHANNEL_UPDATE,
                channel_id,
                body=bodies.given(UpdateChannelRequest, "request", request),
                timeout=timeout,
            )
        finally:
            del request

    def delete(self, channel_id: str, *, timeout: Timeout = UNSET) -> DeleteChannelResponse:
        """Delete a channel."""
        return self._pool.call(routes.CHANNEL_DELETE, channel_id, timeout=timeout)

    def start(
        self, channel_id: str, *, timeout: Timeout = UNSET, idempotency_key: Key = None
    ) -> ChannelActionResponse:
        """Open a channel."""
        return self._pool.call(
            routes.CHANNEL_START, channel_id, timeout=timeout, idempotency_key=idempotency_key
        )

    def stop(
        self, channel_id: str, *, timeout: Timeout = UNSET, idempotency_key: Key = None
    ) -> ChannelActionResponse:
        """Close a channel; it stays known."""
        return self._pool.call(
            routes.CHANNEL_STOP, channel_id, timeout=timeout, idempotency_key=idempotency_key
        )

    def health(self, channel_id: str, *, timeout: Timeout = UNSET) -> ChannelHealth:
        """Return how a channel's connection is."""
        return self._pool.call(routes.CHANNEL_HEALTH, channel_id, timeout=timeout)

    def list_mappings(self, channel_id: str, *, timeout: Timeout = UNSET) -> Rows[IdentityMapping]:
        """Return who of a platform is who here."""
        return self._pool.call(routes.CHANNEL_MAPPINGS, channel_id, timeout=timeout)

    def add_mapping(
        self,
        channel_id: str,
        request: AddIdentityMappingRequest | Mapping[str, Any],
        *,
        timeout: Timeout = UNSET,
        idempotency_key: Key = None,
    ) -> IdentityMapping:
        """Say who somebody on a platform is here."""
        return self._pool.call(
            routes.CHANNEL_MAPPING_ADD,
            channel_id,
            body=bodies.given(AddIdentityMappingRequest, "request", request),
            timeout=timeout,
            idempotency_key=idempotency_key,
        )

    def remove_mapping(
        self, channel_id: str, user_id: str, *, timeout: Timeout = UNSET
    ) -> dict[str, Any]:
        """Forget who somebody on a platform is."""
        return self._pool.call(routes.CHANNEL_MAPPING_REMOVE, channel_id, user_id, timeout=timeout)

    def send(
        self,
        channel_id: str,
        user_id: str,
        text: str,
        *,
        timeout: Timeout = UNSET,
        idempotency_key: Key = None,
    ) -> dict[str, Any]:
        """Say something as a user of the platform, where the server stands in for it."""
        return self._pool.call(
            routes.CHANNEL_SEND,
            channel_id,
            body={"user_id": bodies.text("user_id", user_id), "text": bodies.text("text", text)},
            timeout=timeout,
            idempotency_key=idempotency_key,
        )

    def query_audit(
        self, channel_id: str, limit: int = 50, *, timeout: Timeout = UNSET
    ) -> Rows[ChannelAuditEntry]:
        """Return what was done through a channel lately."""
        return self._pool.call(
            routes.CHANNEL_AUDIT,
            channel_id,
            query={"limit": bodies.count("limit", limit)},
            timeout=timeout,
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._pool.base_url}>"
