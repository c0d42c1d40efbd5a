"""Telemetry over HTTP: reported one by one or in batches, found again by filters and pages.

Neighbours: `telemetry` keeps it, `summary` makes figures of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, final

import msgspec
from starlette.requests import Request
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from ...workflow.models import Metric, Span, TelemetryEvent
from ..http.front import Json
from ..http.refusals import HttpRefusal
from .context import Context, guarded
from .reading import (
    bad_query,
    check,
    cursor,
    instant,
    known,
    limit,
    model,
    next_cursor,
    read_object,
    refused,
    tags,
)
from .summary import summary
from .telemetry import Kept, Tracked

__all__ = ["Observability"]

_BATCH: Final = 1_000
_PAGE: Final = 500
_MOST: Final = 1_000
# Of the guide's own query, which has no pages.
_MOST_METRICS: Final = 10_000
_MOST_TOLD: Final = 100

_MODELS: Final[Mapping[str, type[Tracked]]] = {
    "events": TelemetryEvent,
    "metrics": Metric,
    "spans": Span,
}


@final
class Observability:
    """The paths below `observability`."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._telemetry = context.telemetry

    def routes(self) -> list[BaseRoute]:
        return [
            guarded("POST", "/observability/events", self._event, "telemetry"),
            guarded("POST", "/observability/metrics", self._metric, "telemetry"),
            guarded("POST", "/observability/spans", self._span, "telemetry"),
            guarded("POST", "/observability/batch", self._batch, "telemetry"),
            guarded("GET", "/observability/events", self._events, "read"),
            guarded("GET", "/observability/metrics", self._metrics, "read"),
            guarded("GET", "/observability/traces/{id:path}", self._trace, "read"),
            guarded("GET", "/observability/summary", self._summary, "read"),
        ]

    # -- reporting ----------------------------------------------------------

    async def _event(self, request: Request) -> ASGIApp:
        return await self._one(model(TelemetryEvent, await read_object(request)))

    async def _metric(self, request: Request) -> ASGIApp:
        return await self._one(model(Metric, await read_object(request)))

    async def _span(self, request: Request) -> ASGIApp:
        return await self._one(model(Span, await read_object(request)))

    async def _one(self, item: Tracked) -> ASGIApp:
        kept = await self._telemetry.add([item])
        return Json({"accepted": kept.accepted, "duplicates": kept.duplicates}, status=202)

    async def _batch(self, request: Request) -> ASGIApp:
        body = await read_object(request)
        lists: dict[str, list[Any]] = {}
        for name in _MODELS:
            given = body.get(name)
            if given is not None and not isinstance(given, list):
                raise refused([(name, "is a list")])
            lists[name] = given or []
        if sum(map(len, lists.values())) > _BATCH:
            raise HttpRefusal(
                413,
                "BATCH_TOO_LARGE",
                f"a batch has at most {_BATCH} items; send several",
                details={"limit": _BATCH},
            )
        good: list[Tracked] = []
        rejected = 0
        problems: list[tuple[str, str]] = []
        for name, raws in lists.items():
            for number, raw in enumerate(raws):
                found = check(_MODELS[name], raw)
                if isinstance(found, list):
                    # One bad item is no reason to lose the others.
                    rejected += 1
                    at = f"{name}/{number}"
                    problems += [(f"{at}/{path}".rstrip("/"), what) for path, what in found]
                else:
                    good.append(found)
        kept = await self._telemetry.add(good) if good else Kept()
        answer: dict[str, Any] = {
            "accepted": kept.accepted,
            "duplicates": kept.duplicates,
            "rejected": rejected,
        }
        if problems:
            answer["errors"] = [
                {"path": path, "message": what} for path, what in problems[:_MOST_TOLD]
            ]
        return Json(answer)

    # -- finding ------------------------------------------------------------

    async def _events(self, request: Request) -> ASGIApp:
        size = limit(request, _PAGE, _MOST)
        after = cursor(request, 2)
        found = self._telemetry.find(
            "events",
            {
                name: known(request, name)
                for name in ("type", "workflow_id", "task_id", "correlation_id")
            },
            since=instant(request, "start_time"),
            until=instant(request, "end_time"),
            tags=tags(request),
            after=None if after is None else (after[0], after[1]),
            limit=size + 1,
        )
        return Json(_page("events", found, size))

    async def _metrics(self, request: Request) -> ASGIApp:
        paged = "cursor" in request.query_params
        size = (
            limit(request, _PAGE, _MOST) if paged else limit(request, _MOST_METRICS, _MOST_METRICS)
        )
        after = cursor(request, 2)
        found = self._telemetry.find(
            "metrics",
            {"name": known(request, "name")},
            since=instant(request, "start_time"),
            until=instant(request, "end_time"),
            tags=tags(request),
            after=None if after is None else (after[0], after[1]),
            limit=size + paged,
        )
        if not paged:
            return Json([item for _, _, item in found])
        return Json(_page("metrics", found, size))

    async def _trace(self, request: Request) -> ASGIApp:
        return Json(self._telemetry.trace(request.path_params["id"]))

    async def _summary(self, request: Request) -> ASGIApp:
        span = known(request, "time_range_ms")
        if span is not None and not (span.isascii() and span.isdigit() and len(span) < 16):
            raise bad_query("time_range_ms", "is a number of milliseconds")
        now = self._context.clock.wall()
        since = None if span is None else now - int(span) / 1000
        return Json(summary(self._telemetry, since))


def _page(name: str, found: list[tuple[float, int, msgspec.Raw]], size: int) -> dict[str, Any]:
    """Return a page of what was found; one more than fits says that there is another."""
    answer: dict[str, Any] = {name: [item for _, _, item in found[:size]]}
    if len(found) > size:
        at, number, _ = found[size - 1]
        answer["next_cursor"] = next_cursor(at, number)
    return answer
