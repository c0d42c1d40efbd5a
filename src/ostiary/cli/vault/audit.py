"""`audit`: what was asked of the vault, and proof that the record is whole."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from ...errors import InvalidArgumentError
from ...vault.models import read_time
from ..completion import agent_names, credential_paths
from ..screen import EXIT_FAILED, plain
from ..session import Home, Json, Session, Socket, session

if TYPE_CHECKING:
    from ...devserver.admin import Entry

__all__ = ["audit"]


def audit(
    verify: Annotated[
        bool,
        typer.Option(
            "--verify", help="Check the hash chain from end to end instead; exits 1 when broken."
        ),
    ] = False,
    last: Annotated[
        int,
        typer.Option("--last", "-n", metavar="N", min=1, max=2000, help="How many entries."),
    ] = 20,
    agent: Annotated[
        str | None,
        typer.Option(
            "--agent",
            metavar="NAME",
            help="Only this agent's.",
            autocompletion=agent_names,
            show_default=False,
        ),
    ] = None,
    resource: Annotated[
        str | None,
        typer.Option(
            "--resource",
            metavar="PATH",
            help="Only about this path.",
            autocompletion=credential_paths,
            show_default=False,
        ),
    ] = None,
    action: Annotated[
        str | None,
        typer.Option("--action", metavar="ACTION", help="Only this action.", show_default=False),
    ] = None,
    denied: Annotated[bool, typer.Option("--denied", help="Only what was denied.")] = False,
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            metavar="TIME",
            help="Only from this moment on; ISO-8601, UTC unless it says otherwise.",
            show_default=False,
        ),
    ] = None,
    home: Home = None,
    socket: Socket = None,
    json: Json = False,
) -> None:
    """Show the newest entries of the audit log, oldest of them first."""
    with session(home, socket, json) as on:
        if verify:
            _verify(on)
            return
        found = on.admin.audit(
            limit=last,
            agent=agent,
            resource=resource,
            action=action,
            denied=True if denied else None,
            since=_moment(since),
        )
        if json:
            on.screen.document({"entries": found})
            return
        on.screen.table(
            ("#", "when", "who", "event", "about", "outcome"),
            (
                (
                    entry.id,
                    _when(read_time(entry.timestamp)),
                    entry.agent_name or "the owner",
                    entry.event_type,
                    entry.resource or entry.policy_name,
                    _outcome(entry),
                )
                for entry in found
            ),
            firm=("#", "when", "event"),
            empty="no entry matches",
            right=("#",),
        )


def _verify(on: Session) -> None:
    verdict = on.admin.audit_verify()
    if on.json:
        on.screen.document(verdict)
    elif verdict.valid:
        on.screen.note(f"the audit log is whole: {verdict.entries} entries, each in its place")
    if verdict.valid:
        return
    if not on.json:
        where = "" if verdict.break_at_entry is None else f" at entry {verdict.break_at_entry}"
        on.screen.note(f"error: the audit log is broken{where}")
        on.screen.note(
            "next: keep this home as it is, find out who wrote to it, and restore a copy"
        )
    raise typer.Exit(EXIT_FAILED)


def _moment(text: str | None) -> float | None:
    if text is None:
        return None
    moment = read_time(text)
    if moment is None:
        raise InvalidArgumentError(
            f"--since {text!r} is no ISO-8601 time; write it like 2031-05-06T07:08:09"
        )
    return moment.timestamp()


def _when(moment: datetime | None) -> str | None:
    if moment is None:
        return None
    here = moment.astimezone()
    today = here.date() == datetime.now().astimezone().date()
    return here.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M")


def _outcome(entry: Entry) -> Text:
    word = Text("allowed") if entry.allowed else Text("denied", "red")
    # Nobody but the owner is left out of the column "who".
    if not entry.reason or (entry.reason == "by the owner" and not entry.agent_name):
        return word
    return word.append(f", {plain(entry.reason)}", "not red")
