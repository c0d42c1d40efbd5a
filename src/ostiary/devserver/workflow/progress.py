"""What a workflow did and does: its events as a list, or as a stream that can be taken up again.

The stream is read from the record, so that nothing is told that is not on the disk, nothing is
left out and nothing told twice. It ends when the workflow has. Neighbour: `engine` writes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final, final

import msgspec
from starlette.requests import Request
from starlette.types import ASGIApp

from ..http.front import Json
from ..http.refusals import HttpRefusal
from ..http.streams import EventStream
from .context import Context
from .reading import bad_query, known, limit

__all__ = ["Progress"]

_PAGE: Final = 500
_MOST: Final = 1_000

_encode = msgspec.json.Encoder().encode


@final
class Progress:
    """The endpoint of one server."""

    def __init__(self, context: Context) -> None:
        self._engine = context.engine
        self._heartbeat = context.workflow.heartbeat

    async def events(self, request: Request) -> ASGIApp:
        """Answer with a page of events, or with a stream if that is what the caller accepts."""
        name = request.path_params["id"]
        after = _after(request)
        wants = request.headers.get("accept", "")
        if "text/event-stream" not in wants or request.method == "HEAD":
            return Json(await self._page(name, after or 0, limit(request, _PAGE, _MOST)))
        # A workflow that is unknown is refused before the stream begins.
        async with self._told(name, after, follow=False) as found:
            await anext(found, None)

        async def work(stream: EventStream) -> None:
            try:
                async with self._told(name, after) as following:
                    async for event in following:
                        await stream.event(
                            _encode(event), id=str(event["sequence"]), name=event["type"]
                        )
            except asyncio.CancelledError:
                # The server stops: the stream breaks off, and the client comes back.
                if not stream.interrupted:
                    raise
                raise HttpRefusal(503, "STOPPING", "the server is stopping") from None

        return EventStream(work, heartbeat=self._heartbeat)

    def _told(
        self, name: str, after: int | None, *, follow: bool = True
    ) -> aclosing[AsyncGenerator[dict[str, Any]]]:
        return aclosing(self._engine.events(name, after, follow=follow))

    async def _page(self, name: str, after: int, size: int) -> dict[str, Any]:
        events: list[dict[str, Any]] = []
        more = False
        async with self._told(name, after, follow=False) as found:
            async for event in found:
                if len(events) == size:
                    more = True
                    break
                events.append(event)
        answer: dict[str, Any] = {"events": events}
        if more:
            answer["next_cursor"] = str(events[-1]["sequence"])
        return answer


def _after(request: Request) -> int | None:
    """Return the number of the event that the caller has; None for a caller that has none."""
    given = request.headers.get("last-event-id")
    name = "Last-Event-ID"
    if not given:
        name = "after" if known(request, "after") is not None else "cursor"
        given = known(request, name)
    if given is None:
        return None
    if not (given.isascii() and given.isdigit() and len(given) < 16):
        raise bad_query(name, "is the number of an event")
    return int(given)
