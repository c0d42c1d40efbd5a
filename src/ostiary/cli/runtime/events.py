"""`events` and `approvals ...`: what happens, and what waits to be allowed."""

from __future__ import annotations

import sys
from typing import Annotated

import msgspec
import typer

from ..screen import plain
from .session import Session, add, shown, take_options, worded

__all__ = ["register"]

ApprovalId = Annotated[
    str, typer.Argument(metavar="ACTION", help="The action's id.", show_default=False)
]
Reason = Annotated[
    str | None, typer.Option("--reason", "-m", metavar="TEXT", help="Why.", show_default=False)
]


def register(commands: typer.Typer) -> None:
    """Add these commands to the domain's group."""
    add(commands, "events", events)
    group = typer.Typer(help="Actions that wait to be allowed.", no_args_is_help=True)
    take_options(group)
    add(group, "ls", ls)
    add(group, "approve", approve)
    add(group, "deny", deny)
    commands.add_typer(group, name="approvals")


def events(
    on: Session,
    agent: Annotated[
        str | None,
        typer.Option("--agent", metavar="ID", help="Of this agent alone.", show_default=False),
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            "--type",
            metavar="TYPE",
            help="Only these, such as review.approved. May be repeated.",
            show_default=False,
        ),
    ] = None,
    after: Annotated[
        str | None,
        typer.Option(
            "--after",
            metavar="ID",
            help="First what came behind this event, as far as the server has it.",
            show_default=False,
        ),
    ] = None,
    count: Annotated[
        int | None,
        typer.Option(
            "--count", metavar="COUNT", min=1, help="End after so many.", show_default=False
        ),
    ] = None,
) -> None:
    """Print what happens as it happens, a line each, until Ctrl-C; with --json an object each."""
    left = count
    with on.client.events(agent, kind, after, idle_timeout=None) as stream:
        for event in stream:
            if on.json:
                line = msgspec.json.encode(worded(event)).decode()
            else:
                when = "" if event.timestamp is None else f"{event.timestamp.astimezone():%H:%M:%S}"
                parts = (when, event.type, event.agent_id or "", shown(event.payload) or "")
                line = "  ".join(plain(part) for part in parts if part)
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
            if left is not None:
                left -= 1
                if left == 0:
                    return


def ls(
    on: Session,
    every: Annotated[
        bool, typer.Option("--all", help="Those too that were decided or have expired.")
    ] = False,
) -> None:
    """List the actions that agents want to do and may not yet."""
    found = on.client.list_approvals()
    if not every:
        found = [one for one in found if one.status == "pending"]
    on.table(
        found,
        ("action", "agent", "kind", "what", "why", "until", "status"),
        (
            (
                one.id,
                one.agent_id,
                one.kind,
                one.summary,
                one.reason,
                one.expires_at,
                one.status,
            )
            for one in found
        ),
        firm=("action", "kind", "until", "status"),
        spare=("why", "status", "kind"),
        empty="nothing waits to be allowed",
    )


def approve(on: Session, action: ApprovalId, reason: Reason = None) -> None:
    """Let it happen."""
    on.done(on.client.approve(action, reason), f"approved {action}")


def deny(on: Session, action: ApprovalId, reason: Reason = None) -> None:
    """Do not let it happen."""
    on.done(on.client.deny(action, reason), f"denied {action}")
