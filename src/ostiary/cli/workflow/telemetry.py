"""`trace`, `metrics`, `events` and `health`: what was measured and told."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from ..._model import instants
from ...errors import NotFoundError
from ..answers import shown, worded
from ..screen import EXIT_FAILED, plain
from .reading import moment, tags_of
from .session import Session, add
from .waterfall import bars, drawn

if TYPE_CHECKING:
    from ...workflow import Metric, Span, TelemetryEvent

__all__ = ["register"]

_PIPE_WIDTH = 100

Since = Annotated[
    str | None,
    typer.Option(
        "--since",
        metavar="TIME",
        help="Only since then: a time as ISO 8601, or 15min, 2h, 3d ago.",
        show_default=False,
    ),
]
Until = Annotated[
    str | None,
    typer.Option("--until", metavar="TIME", help="Only until then.", show_default=False),
]
Tags = Annotated[
    list[str] | None,
    typer.Option(
        "--tag",
        metavar="NAME=VALUE",
        help="Only with this tag. May be repeated.",
        show_default=False,
    ),
]


def register(commands: typer.Typer) -> None:
    """Add these commands to the domain's group."""
    add(commands, "trace", trace)
    add(commands, "metrics", metrics)
    add(commands, "events", events)
    add(commands, "health", health)


def trace(
    on: Session,
    trace_id: Annotated[
        str,
        typer.Argument(
            metavar="TRACE", help="The trace's id, or that of a workflow.", show_default=False
        ),
    ],
    logs: Annotated[bool, typer.Option("--logs", help="Print what its spans logged too.")] = False,
) -> None:
    """Draw a trace as a waterfall: what took how long, and what within what."""
    spans = on.client.get_trace(trace_id)
    if not spans:
        trace_id, spans = _of_workflow(on, trace_id)
    if on.json:
        on.document(spans)
        return
    found = bars(spans)
    width = on.screen.out.width if on.screen.out.is_terminal else _PIPE_WIDTH
    facts: dict[str, object] = {"trace": trace_id, "spans": f"{len(spans):,}"}
    if failed := sum(one.failed for one in found):
        facts["failed"] = f"{failed:,}"
    on.screen.facts(facts)
    on.screen.show(drawn(found, width))
    if logs:
        rows = [
            (one.span.name, entry.timestamp, str(entry.level), entry.message, shown(entry.context))
            for one in found
            for entry in one.span.logs or ()
        ]
        on.screen.table(
            ("span", "time", "level", "message", "context"),
            rows,
            firm=("level",),
            empty="nothing was logged",
        )


def _of_workflow(on: Session, workflow_id: str) -> tuple[str, list[Span]]:
    """Return the trace that a workflow belongs to."""
    try:
        trace_id = on.client.get_workflow_status(workflow_id).correlation_id
    except NotFoundError:
        trace_id = None
    spans = on.client.get_trace(trace_id) if trace_id and trace_id != workflow_id else []
    if not spans:
        raise NotFoundError(f"there are no spans of {workflow_id}; check the id")
    return trace_id or workflow_id, spans


def metrics(
    on: Session,
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="Of this metric alone.", show_default=False),
    ] = None,
    since: Since = None,
    until: Until = None,
    tag: Tags = None,
    each: Annotated[
        bool, typer.Option("--each", help="Print every value, and not what they come to.")
    ] = False,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            metavar="COUNT",
            min=1,
            help="At most so many values, the oldest first.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Show what was measured: how often, from where to where, and the last value."""
    values: Iterable[Metric] = on.client.iter_metrics(
        name, moment(since, "--since"), moment(until, "--until"), tags_of(tag)
    )
    found = list(islice(values, limit))
    if each:
        on.table(
            found,
            ("metric", "value", "time", "tags"),
            ((one.name, f"{one.value:g}", one.timestamp, _tags(one.tags)) for one in found),
            firm=("metric", "value"),
            right=("value",),
            empty="nothing was measured",
        )
        return
    by_name: dict[str, list[Metric]] = {}
    for one in found:
        by_name.setdefault(one.name, []).append(one)
    summary = {metric: _summary([one.value for one in ones]) for metric, ones in by_name.items()}
    on.table(
        summary,
        ("metric", "count", "least", "middle", "p95", "most", "last", "when"),
        (
            (
                metric,
                f"{one['count']:,}",
                *(f"{one[key]:g}" for key in ("min", "p50", "p95", "max", "last")),
                instants.understood(by_name[metric][-1].timestamp),
            )
            for metric, one in sorted(summary.items())
        ),
        firm=("metric",),
        right=("count", "least", "middle", "p95", "most", "last"),
        spare=("when", "middle"),
        empty="nothing was measured",
    )


def _summary(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)

    def at(share: float) -> float:
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))]

    return {
        "count": len(values),
        "min": ordered[0],
        "p50": at(0.5),
        "p95": at(0.95),
        "max": ordered[-1],
        "last": values[-1],
    }


def events(
    on: Session,
    kind: Annotated[
        str | None,
        typer.Option(
            "--type", metavar="TYPE", help="Only these, such as step_end.", show_default=False
        ),
    ] = None,
    workflow: Annotated[
        str | None,
        typer.Option("--workflow", metavar="ID", help="Of this workflow.", show_default=False),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option("--task", metavar="ID", help="Of this task.", show_default=False),
    ] = None,
    trace_id: Annotated[
        str | None,
        typer.Option("--trace", metavar="ID", help="Of this trace.", show_default=False),
    ] = None,
    since: Since = None,
    until: Until = None,
    tag: Tags = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit", metavar="COUNT", min=1, help="At most so many.", show_default=False
        ),
    ] = None,
) -> None:
    """Print the events that were reported, the oldest first, a line each; with --json an object.

    The engine reports its own; `record` prints what a workflow's own record says.
    """
    found: Iterable[TelemetryEvent] = on.client.iter_events(
        kind,
        workflow,
        task,
        trace_id,
        moment(since, "--since"),
        moment(until, "--until"),
        tags_of(tag),
    )
    empty = True
    for event in islice(found, limit):
        empty = False
        line = msgspec.json.encode(worded(event)).decode() if on.json else _line(event)
        sys.stdout.write(line + "\n")
    sys.stdout.flush()
    if empty:
        on.screen.note("no event matches")


def health(on: Session) -> None:
    """Ask the server how it is; needs no key. Exits 1 when it is not well."""
    found = on.client.health()
    on.facts(found, {"status": found.status, "version": found.version})
    if found.status.lower() not in {"healthy", "ok"}:
        raise typer.Exit(EXIT_FAILED)


def _line(event: TelemetryEvent) -> str:
    when = instants.understood(event.timestamp)
    place = "/".join(part for part in (event.workflow_id, event.task_id) if part)
    parts = (
        event.timestamp if when is None else f"{when.astimezone():%H:%M:%S.%f}"[:-3],
        f"{event.type!s:<15}",
        place,
        shown(event.data) if event.data else "",
        _tags(event.tags) or "",
    )
    return "  ".join(plain(part) for part in parts if part).rstrip()


def _tags(tags: dict[str, str] | None) -> str | None:
    return None if not tags else " ".join(f"{name}={value}" for name, value in tags.items())
