"""`workflows ...`: run one, and see what came of those that ran."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from ..screen import EXIT_FAILED
from .session import Session, add, read_object, shown, take_options

__all__ = ["register"]


_FACTS: Final = (
    ("execution", "execution_id"),
    ("status", "status"),
    ("agent", "agent_id"),
    ("error", "error"),
)


def register(commands: typer.Typer) -> None:
    """Add this group to the domain's."""
    group = typer.Typer(help="Workflows and their executions.", no_args_is_help=True)
    take_options(group)
    add(group, "run", run)
    add(group, "show", show)
    add(group, "ls", ls)
    commands.add_typer(group, name="workflows")


def run(
    on: Session,
    workflow: Annotated[
        str, typer.Argument(metavar="WORKFLOW", help="The workflow's id.", show_default=False)
    ],
    parameters: Annotated[
        str | None,
        typer.Argument(
            metavar="JSON", help="Its parameters: a JSON object, @FILE or -.", show_default=False
        ),
    ] = None,
    agent: Annotated[
        str | None,
        typer.Option("--agent", metavar="ID", help="The agent it is for.", show_default=False),
    ] = None,
) -> None:
    """Run a workflow and print its result. Exits 1 when it failed."""
    body = {"workflow_id": workflow, "parameters": read_object(parameters, "the parameters")}
    if agent is not None:
        body["agent_id"] = agent
    _answer(on, on.client.execute_workflow(body))


def show(
    on: Session,
    execution: Annotated[
        str, typer.Argument(metavar="EXECUTION", help="The execution's id.", show_default=False)
    ],
) -> None:
    """Show an execution."""
    found = on.client.get_workflow_execution(execution)
    on.result(
        found,
        {
            "execution": found.execution_id,
            "status": found.status,
            "started": found.started_at,
        },
        found.result,
    )


def ls(on: Session) -> None:
    """List executions, the newest first."""
    found = on.client.list_workflow_executions()
    on.table(
        found,
        ("execution", "status", "started", "result"),
        (
            (one.execution_id, one.status, one.started_at, shown(one.result))
            for one in found.executions
        ),
        firm=("execution", "status", "started"),
        empty="no workflow has run; `ostiary runtime workflows run WORKFLOW` runs one",
    )


def _answer(on: Session, found: dict[str, Any]) -> None:
    facts = {name: found[key] for name, key in _FACTS if found.get(key)}
    on.result(found, facts, found.get("result"))
    if str(found.get("status", "")).lower() in {"failed", "error", "timed_out", "cancelled"}:
        raise typer.Exit(EXIT_FAILED)
