"""`inputs ...`: the listeners through which requests from outside reach agents."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from ..screen import plain
from ..units import span
from .session import Session, add, read_object, take_options

__all__ = ["register"]

InputId = Annotated[
    str, typer.Argument(metavar="INPUT", help="The listener's id.", show_default=False)
]


def register(commands: typer.Typer) -> None:
    """Add this group to the domain's."""
    group = typer.Typer(help="Listeners that lead requests to agents.", no_args_is_help=True)
    take_options(group)
    add(group, "ls", ls)
    add(group, "show", show)
    add(group, "create", create)
    add(group, "start", start)
    add(group, "stop", stop)
    add(group, "trigger", trigger)
    add(group, "rm", rm)
    commands.add_typer(group, name="inputs")


def ls(on: Session) -> None:
    """List the listeners."""
    found = on.client.list_http_input_servers()
    on.table(
        found,
        ("input", "agent", "address", "status", "requests", "up for", "last error"),
        (
            (
                one.server_id,
                one.config.agent_id,
                _address(one),
                one.status,
                one.requests_processed,
                span(one.uptime_seconds),
                one.last_error,
            )
            for one in found
        ),
        firm=("address", "status", "up for"),
        spare=("up for", "requests"),
        right=("requests",),
        empty="nothing listens; `ostiary runtime inputs create AGENT` makes a listener",
    )


def show(on: Session, listener: InputId) -> None:
    """Show a listener."""
    _shown(on, on.client.get_http_input_server(listener))


def create(
    on: Session,
    agent: Annotated[
        str, typer.Argument(metavar="AGENT", help="The agent it leads to.", show_default=False)
    ],
    port: Annotated[
        int, typer.Option("--port", metavar="PORT", min=0, max=65535, help="0 is any.")
    ] = 8081,
    path: Annotated[str, typer.Option("--path", metavar="PATH", help="What it answers at.")] = (
        "/webhook"
    ),
    config: Annotated[
        str | None,
        typer.Option(
            "--config",
            metavar="JSON",
            help="Further settings: a JSON object, @FILE or -.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Make a listener; `start` has it listen."""
    settings = {"agent_id": agent, "port": port, "path": path, "bind_address": "127.0.0.1"}
    settings |= read_object(config, "--config")
    _shown(on, on.client.create_http_input_server({"config": settings}))


def start(on: Session, listener: InputId) -> None:
    """Have it listen."""
    on.done(on.client.start_http_input_server(listener), f"started {listener}")


def stop(on: Session, listener: InputId) -> None:
    """Have it listen no more; it stays known."""
    on.done(on.client.stop_http_input_server(listener), f"stopped {listener}")


def trigger(
    on: Session,
    listener: InputId,
    payload: Annotated[
        str, typer.Argument(metavar="JSON", help="The body: a JSON object, @FILE or -.")
    ] = "{}",
) -> None:
    """Do what a request to it would do, and print the answer."""
    made = on.client.trigger_webhook(
        {"server_id": listener, "payload": read_object(payload, "the payload")}
    )
    on.result(
        made,
        {
            "status": f"{made.status} ({made.response_code})",
            "agent": made.agent_id,
            "took": f"{made.processing_time_ms:,.1f} ms",
        },
        made.response_body,
    )


def rm(
    on: Session,
    listener: InputId,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Do not ask, even on a terminal.")
    ] = False,
) -> None:
    """Forget a listener; asks first on a terminal."""
    if not yes and sys.stdin.isatty():
        typer.confirm(f"Delete {plain(listener)}?", abort=True, err=True)
    on.done(on.client.delete_http_input_server(listener), f"deleted {listener}")


def _address(one: Any) -> str:
    return f"http://{one.config.bind_address}:{one.config.port}{one.config.path}"


def _shown(on: Session, one: Any) -> None:
    on.facts(
        one,
        {
            "input": one.server_id,
            "agent": one.config.agent_id,
            "address": _address(one),
            "status": one.status,
            "requests": one.requests_processed,
            "up for": span(one.uptime_seconds),
            "last error": one.last_error,
        },
    )
