"""`trace`, `health`, `explain`, `status`, `metrics` and `config`: nothing is done, only told."""

from __future__ import annotations

from typing import Annotated

import typer

from ...errors import NotFoundError
from .running import json_object
from .session import Session, add

__all__ = ["register"]


def register(commands: typer.Typer) -> None:
    """Add these commands to the domain's group."""
    for name, work in (
        ("health", health),
        ("status", status),
        ("metrics", metrics),
        ("config", config),
    ):
        add(commands, name, work)
    add(commands, "trace", trace)
    add(commands, "explain", explain)


def trace(
    on: Session,
    trace_id: Annotated[
        str, typer.Argument(metavar="ID", help="The trace id of a run.", show_default=False)
    ],
) -> None:
    """Print a decision with its reasons."""
    found = on.client.governance.trace(trace_id)
    if found is None:
        raise NotFoundError(f"Trace '{trace_id}' not found", code="NOT_FOUND")
    on.answer(found)


def health(on: Session) -> None:
    """Print how the server is."""
    found = on.client.system.status()
    on.answer(
        {
            "status": found.status,
            "version": found.version,
            "uptime_seconds": found.uptime_seconds,
        }
    )


def explain(
    on: Session,
    command_type: Annotated[
        str,
        typer.Argument(
            metavar="TYPE", help="The kind of command, such as WRITE.", show_default=False
        ),
    ],
    command_input: Annotated[
        str | None,
        typer.Argument(
            metavar="JSON", help="What it would be given, a JSON object.", show_default=False
        ),
    ] = None,
) -> None:
    """Print what governance would decide on a command, and why."""
    on.answer(
        on.client.governance.explain(
            command_type, json_object(command_input, "the command's input")
        )
    )


def status(on: Session) -> None:
    """Print the server's drift and stability."""
    on.answer(on.client.governance.status())


def metrics(on: Session) -> None:
    """Print the server's figures."""
    on.answer(on.client.system.metrics().metrics)


def config(on: Session) -> None:
    """Print the server's configuration."""
    on.answer(on.client.system.config())
