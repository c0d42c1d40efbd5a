# Generated from _async.py by tools/unasync.py. Edit that file, not this one.

"""Tell what happened, one by one or in batches, and read it again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from msgspec import UNSET

from ..._calls.colours import Timeout
from ..._calls.pages._sync import Pages
from .. import _bodies as bodies
from .. import _routes as routes
from ..enums import TelemetryEventType
from ..errors import AureusError, InvalidArgumentError
from ..models import Metric, Span, TelemetryAccepted, TelemetryEvent, TelemetryPage

if TYPE_CHECKING:
    from ..._route import Route
    from ...http._sync import Pool

__all__ = ["ReportCalls"]


class ReportCalls:
    """The methods of a client about telemetry.

    What is reported gets an id unless it has one. A server counts an id once, so that reports
    are sent again when a connection was lost. For many of them, use a `TelemetryPipeline`.
    """

    _pool: Pool

    def report_event(
        self,
        event: TelemetryEvent | Mapping[str, Any],
        *,
        best_effort: bool = False,
        timeout: Timeout = UNSET,
    ) -> None:
        """Report an event. With `best_effort`, failures other than of the event pass silently."""
        self._report(
            routes.EVENT_REPORT,
            bodies.sealed("the event", bodies.report(TelemetryEvent, "event", event)),
            best_effort,
            timeout,
        )

    def report_metric(
        self,
        metric: Metric | Mapping[str, Any],
        *,
        best_effort: bool = False,
        timeout: Timeout = UNSET,
    ) -> None:
        """Report a metric; see `report_event`."""
        self._report(
            routes.METRIC_REPORT, bodies.report(Metric, "metric", metric), best_effort, timeout
        )

    def report_span(
        self,
        span: Span | Mapping[str, Any],
        *,
        best_effort: bool = False,
        timeout: Timeout = UNSET,
    ) -> None:
        """Report a span; one that was reported before is replaced. See `report_event`."""
        self._report(
            routes.SPAN_REPORT,
            bodies.sealed("the span", bodies.report(Span, "span", span)),
            best_effort,
            timeout,
        )

    def _report(
        self, route: Route[None], body: object, best_effort: bool, timeout: Timeout
    ) -> None:
        try:
            self._pool.call(route, body=body, timeout=timeout)
        except InvalidArgumentError:
            raise
        except AureusError:
            if not best_effort:
                raise

    def report_batch(
        self,
        events: Iterable[TelemetryEvent | Mapping[str, Any]] | None = None,
        metrics: Iterable[Metric | Mapping[str, Any]] | None = None,
        spans: Iterable[Span | Mapping[str, Any]] | None = None,
        *,
        timeout: Timeout = UNSET,
    ) -> TelemetryAccepted:
        """Report many things at once, at most 1,000; return how many were new to the server.

        Those that it refuses do not keep it from taking the others; the reply names them.
        """
        body = {
            "events": bodies.batch("events", TelemetryEvent, events),
            "metrics": bodies.batch("metrics", Metric, metrics),
            "spans": bodies.batch("spans", Span, spans),
        }
        return self._pool.call(
            routes.BATCH_REPORT,
            body=bodies.sealed("the batch", {name: one for name, one in body.items() if one}),
            timeout=timeout,
        )

    def get_metrics(
        self,
        metric_name: str | None = None,
        start_time: datetime | str | None = None,
        end_time: datetime | str | None = None,
        tags: Mapping[str, str] | None = None,
        *,
        timeout: Timeout = UNSET,
    ) -> list[Metric]:
        """Return metrics by name, time (both ends included) and tags, oldest first.

        A server returns so many at most; `iter_metrics` has no such limit.
        """
        return self._pool.call(
            routes.METRICS,
            query=_metrics(None, None, metric_name, start_time, end_time, tags),
            timeout=timeout,
        )

    def iter_metrics(
        self,
        metric_name: str | None = None,
        start_time: datetime | str | None = None,
        end_time: datetime | str | None = None,
        tags: Mapping[str, str] | None = None,
        *,
        limit: int = 500,
    ) -> Pages[Metric]:
        """Iterate over metrics as `get_metrics` selects them, `limit` of them a page."""
        return Pages(
            lambda cursor: self._pool.call(
                routes.METRIC_PAGE,
                query=_metrics(limit, cursor, metric_name, start_time, end_time, tags),
            ),
            lambda page: page.metrics,
            None,
            lambda page, _: page.next_cursor,
            "",  # the first page of a listing that has pages
        )

    def list_events(
        self,
        type: TelemetryEventType | str | None = None,
        workflow_id: str | None = None,
        task_id: str | None = None,
        correlation_id: str | None = None,
        start_time: datetime | str | None = None,
        end_time: datetime | str | None = None,
        tags: Mapping[str, str] | None = None,
        *,
        limit: int | None = None,
        cursor: str | None = None,
        timeout: Timeout = UNSET,
    ) -> TelemetryPage:
        """Return a page of reported events, oldest first; `cursor` is the page before's."""
        return self._pool.call(
            routes.TELEMETRY,
            query=bodies.page(
                limit,
                cursor,
                type=None if type is None else str(type),
                workflow_id=workflow_id,
                task_id=task_id,
                correlation_id=correlation_id,
                start_time=bodies.moment("start_time", start_time),
                end_time=bodies.moment("end_time", end_time),
                tags=bodies.tags(tags),
            ),
            timeout=timeout,
        )

    def iter_events(
        self,
        type: TelemetryEventType | str | None = None,
        workflow_id: str | None = None,
        task_id: str | None = None,
        correlation_id: str | None = None,
        start_time: datetime | str | None = None,
        end_time: datetime | str | None = None,
        tags: Mapping[str, str] | None = None,
        *,
        limit: int = 500,
    ) -> Pages[TelemetryEvent]:
        """Iterate over reported events as `list_events` selects them, `limit` a page."""
        return Pages(
            lambda cursor: self.list_events(
                type,
                workflow_id,
                task_id,
                correlation_id,
                start_time,
                end_time,
                tags,
                limit=limit,
                cursor=cursor,
            ),
            lambda page: page.events,
            None,
            lambda page, _: page.next_cursor,
            None,
        )

    def get_trace(self, trace_id: str, *, timeout: Timeout = UNSET) -> list[Span]:
        """Return a trace's spans by their start; an unknown one has none."""
        return self._pool.call(routes.TRACE, trace_id, timeout=timeout)

    def get_summary(
        self, time_range_ms: int | None = None, *, timeout: Timeout = UNSET
    ) -> dict[str, Any]:
        """Return the server's figures of the last so many milliseconds; None is all it has.

        How often steps succeed, how soon they recover, how often a person is asked.
        """
        query: dict[str, Any] = {}
        if time_range_ms is not None:
            query["time_range_ms"] = bodies.whole("time_range_ms", time_range_ms, 0, 1 << 50)
        return self._pool.call(routes.SUMMARY, query=query, timeout=timeout)


def _metrics(
    limit: int | None,
    cursor: str | None,
    name: str | None,
    start_time: datetime | str | None,
    end_time: datetime | str | None,
    tags: Mapping[str, str] | None,
) -> dict[str, Any]:
    return bodies.page(
        limit,
        cursor,
        name=name,
        start_time=bodies.moment("start_time", start_time),
        end_time=bodies.moment("end_time", end_time),
        tags=bodies.tags(tags),
    )
