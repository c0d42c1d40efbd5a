"""`run`, `status`, `result`, `cancel`, `watch`, `ls`, `record`: workflows and how they go."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from ...errors import OstiaryError
from ..answers import shown, worded
from ..given import read_object
from ..screen import EXIT_FAILED, plain
from .reading import File, WorkflowId, moment, read_workflow
from .session import Session, add
from .states import picture, put_result, state

if TYPE_CHECKING:
    from rich.console import RenderableType

    from ...workflow import WorkflowEvent, WorkflowStatus

__all__ = ["register"]

_PER_SECOND = 8
_AROUND = 8  # lines of the picture that are no task's


def register(commands: typer.Typer) -> None:
    """Add these commands to the domain's group."""
    add(commands, "run", run)
    add(commands, "status", status)
    add(commands, "result", result)
    add(commands, "watch", watch)
    add(commands, "cancel", cancel)
    add(commands, "ls", ls)
    add(commands, "record", record)


def run(
    on: Session,
    file: File,
    context: Annotated[
        str | None,
        typer.Option(
            "--context",
            metavar="JSON",
            help="Data for its tools: a JSON object, @FILE or -.",
            show_default=False,
        ),
    ] = None,
    concurrency: Annotated[
        int | None,
        typer.Option(
            "--concurrency",
            metavar="COUNT",
            min=1,
            help="How many tasks may run at once. Default: one after the other.",
            show_default=False,
        ),
    ] = None,
    correlation_id: Annotated[
        str | None,
        typer.Option(
            "--correlation-id", metavar="ID", help="The trace it belongs to.", show_default=False
        ),
    ] = None,
    approval: Annotated[
        str | None,
        typer.Option(
            "--approval",
            metavar="TOKEN",
            help="An approval that was given for it.",
            show_default=False,
        ),
    ] = None,
    rerun: Annotated[
        bool, typer.Option("--rerun", help="Run it anew, also if it ended well before.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Show its tasks as they go, as `watch` does.")
    ] = False,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Only have it begin; `watch` shows how it goes.")
    ] = False,
) -> None:
    """Run a workflow, and print how it ended. Exits 1 unless all of it succeeded.

    Its graph is checked before anything is sent. Ctrl-C stops the waiting and not the workflow.
    """
    spec = read_workflow(file)
    data = read_object(context, "the context")
    if concurrency is not None:
        data["concurrency"] = concurrency
    handle = on.client.submit_workflow(
        spec, data or None, correlation_id, approval_token=approval, rerun=rerun
    )
    if no_wait:
        submitted = handle.submitted
        on.done(
            submitted if submitted is not None else {"workflow_id": spec.id},
            f"{spec.id} has begun; `ostiary workflow watch {spec.id}` shows how it goes",
        )
        return
    if watch:
        _follow(on, spec.id, None)
        return
    try:
        found = handle.result(None, poll_interval=1.0)
    except KeyboardInterrupt:
        on.screen.note(f"{spec.id} goes on; `ostiary workflow cancel {spec.id}` would end it")
        raise
    put_result(on, found)
    if not found.succeeded:
        raise typer.Exit(EXIT_FAILED)


def status(on: Session, workflow: WorkflowId) -> None:
    """Show where a workflow and each of its tasks stand."""
    found = on.client.get_workflow_status(workflow)
    if on.json:
        on.document(found)
    else:
        on.screen.show(picture(on, found))


def result(on: Session, workflow: WorkflowId) -> None:
    """Print how a workflow ended. Exits 1 unless all of it succeeded."""
    found = on.client.get_workflow_result(workflow)
    put_result(on, found)
    if not found.succeeded:
        raise typer.Exit(EXIT_FAILED)


def cancel(on: Session, workflow: WorkflowId) -> None:
    """Have a workflow end now; what was done is undone where it can be."""
    found = on.client.cancel_workflow(workflow)
    on.done(found, f"{workflow} is {found.get('status', 'cancelling')}")


def watch(
    on: Session,
    workflow: WorkflowId,
    after: Annotated[
        int | None,
        typer.Option(
            "--after",
            metavar="NUMBER",
            min=0,
            help="Only what came behind this event of its record.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Show a workflow's tasks as they go, until it has ended. Exits 1 unless it ended well.

    On a terminal one picture is drawn over. A pipe gets a line for each event, with --json an
    object. Ctrl-C stops the watching and not the workflow.
    """
    _follow(on, workflow, after)


def ls(
    on: Session,
    only: Annotated[
        str | None,
        typer.Option(
            "--status",
            metavar="STATE",
            help="Only these: pending, running, completed, failed or cancelled.",
            show_default=False,
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="TEXT", help="Only of this name.", show_default=False),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            metavar="TIME",
            help="Only those begun since then: a time as ISO 8601, or 15min, 2h, 3d ago.",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", metavar="COUNT", min=1, max=500, help="At most so many.")
    ] = 50,
) -> None:
    """List workflows, the newest first."""
    found = on.client.list_workflows(
        only, name, started_after=moment(since, "--since"), limit=limit
    )
    on.table(
        found,
        ("workflow", "name", "state", "outcome", "done", "started", "trace"),
        (
            (
                one.workflow_id,
                one.name,
                state(one.status),
                None if one.outcome is None else state(one.outcome),
                None if one.progress is None else f"{one.progress:.0%}",
                one.started_at,
                one.correlation_id,
            )
            for one in found.workflows
        ),
        firm=("workflow", "state", "started"),
        right=("done",),
        spare=("trace", "outcome", "name"),
        empty="no workflow matches; `ostiary workflow run FILE` runs one",
    )


def record(
    on: Session,
    workflow: WorkflowId,
    after: Annotated[
        int, typer.Option("--after", metavar="NUMBER", min=0, help="Only what came behind it.")
    ] = 0,
) -> None:
    """Print a workflow's record as it stands, a line for each event, its earlier runs included."""
    _print(on, on.client.iter_workflow_events(workflow, after))


# --- following


def _follow(on: Session, workflow: str, after: int | None) -> None:
    if on.screen.out.is_terminal and not on.json:
        ended = _drawn_over(on, workflow)
    else:
        with on.client.stream_workflow(workflow, after) as events:
            _print(on, events)
        ended = on.client.get_workflow_status(workflow)
    if str(ended.outcome or ended.status) not in {"success", "completed"}:
        raise typer.Exit(EXIT_FAILED)


def _drawn_over(on: Session, workflow: str) -> WorkflowStatus:
    """Draw the status again when an event says that it changed; times go on in between."""
    from rich.live import Live

    status = on.client.get_workflow_status(workflow)
    last: WorkflowEvent | None = None
    seen: WorkflowEvent | None = None

    def draw() -> RenderableType:
        # Called by the drawing thread; a burst of events is one question.
        nonlocal status, seen
        if last is not seen:
            seen = last
            try:
                status = on.client.get_workflow_status(workflow)
            except OstiaryError:
                pass  # the stream tells what is wrong, or goes on
        # A drawing that is higher than the screen cannot be drawn over.
        return picture(on, status, on.screen.out.height - _AROUND)

    with Live(console=on.screen.out, get_renderable=draw, refresh_per_second=_PER_SECOND) as live:
        if not status.is_terminal:
            with on.client.stream_workflow(workflow) as events:
                for event in events:
                    last = event
        for _ in range(2):
            # The record's last event and the status of the end are one commit, or nearly.
            status = on.client.get_workflow_status(workflow)
            if status.is_terminal:
                break
            time.sleep(0.2)
        live.refresh()
    return status


def _print(on: Session, events: Iterable[WorkflowEvent]) -> None:
    for event in events:
        line = msgspec.json.encode(worded(event)).decode() if on.json else _line(event)
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def _line(event: WorkflowEvent) -> str:
    said: dict[str, Any] = {**event.data, **event.metadata}
    about = "" if not said else shown(said) or ""
    parts = (
        f"{event.sequence:>4}",
        f"{event.timestamp.astimezone():%H:%M:%S.%f}"[:-3],
        f"{event.type:<22}",
        event.task_id or "",
        about,
    )
    return "  ".join(plain(part) for part in parts if part).rstrip()
