"""What happens in the runtime, as it happens: the latest events, and streams of them.

Neighbour: groups `publish`; nothing here decides anything.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Final, final

import msgspec
from starlette.requests import Request
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from ..http.reading import invalid
from ..http.routing import route
from ..http.streams import EventStream
from .context import Context

__all__ = ["Event", "Events"]

_HELD: Final = 1_000
_BEHIND: Final = 1_000

_encode = msgspec.json.Encoder().encode


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """One event; `sequence` grows by one and begins anew with the process."""

    sequence: int
    type: str
    timestamp: str
    payload: dict[str, Any]
    agent_id: str | None = None


@final
class Events:
    """The latest events, and whoever listens."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._held: deque[Event] = deque(maxlen=_HELD)
        self._sequence = 0
        self._listening: set[asyncio.Queue[Event]] = set()

    def publish(self, kind: str, agent_id: str | None = None, /, **payload: Any) -> None:
        """Tell everybody; `payload` holds no secret and nothing of what was said."""
        self._sequence += 1
        event = Event(self._sequence, kind, self._context.now(), payload, agent_id)
        self._held.append(event)
        for queue in self._listening:
            # Who does not read for so long finds a gap in the sequence.
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(event)

    def routes(self) -> list[BaseRoute]:
        return [route("GET", "/events", self._stream)]

    def gauges(self) -> dict[str, int | float]:
        return {"event_listeners": len(self._listening), "events_total": self._sequence}

    async def start(self) -> None:
        pass

    async def stop(self, grace: float) -> None:
        pass

    def load_demo(self) -> None:
        pass

    async def _stream(self, request: Request) -> ASGIApp:
        agent_id = request.query_params.get("agent_id") or None
        kinds = {
            kind for given in request.query_params.getlist("type") for kind in given.split(",")
        } - {""}
        after = request.headers.get("last-event-id") or request.query_params.get("after")
        if after is not None and not (after.isascii() and after.isdigit() and len(after) < 16):
            raise invalid("Last-Event-ID", "Last-Event-ID is the number of an event")

        def wanted(event: Event) -> bool:
            return (agent_id is None or event.agent_id == agent_id) and (
                not kinds or event.type in kinds
            )

        async def work(stream: EventStream) -> None:
            queue: asyncio.Queue[Event] = asyncio.Queue(_BEHIND)
            missed = (
                [] if after is None else [one for one in self._held if one.sequence > int(after)]
            )
            self._listening.add(queue)
            try:
                for event in missed:
                    if wanted(event):
                        await stream.event(_encode(event), id=str(event.sequence))
                while True:
                    event = await queue.get()
                    if wanted(event):
                        await stream.event(_encode(event), id=str(event.sequence))
            except asyncio.CancelledError:
                if not stream.interrupted:
                    raise
            finally:
                self._listening.discard(queue)

        return EventStream(work, heartbeat=self._context.runtime.heartbeat)
