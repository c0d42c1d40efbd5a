"""What the workflow commands share: options, the client, how an error looks.

Options stand before or behind the command; behind wins. Neighbours: `cli.answers`,
`cli.options`, `cli.screen`.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import typer

from ...errors import (
    AuthenticationError,
    ConnectError,
    NotFoundError,
    OstiaryError,
    PermissionDeniedError,
)
from ..answers import Answers, shown
from ..clients import client_of
from ..given import read_key
from ..options import SharedOptions, server_options
from ..screen import Screen

if TYPE_CHECKING:
    from ...workflow import WorkflowClient

__all__ = ["Session", "add", "take_options"]


_SHARED: Final = server_options(
    server="The server: http://host:port, or unix:///path of its socket. Default: "
    "$OSTIARY_WORKFLOW_URL, else http://localhost:3000.",
    key="$OSTIARY_WORKFLOW_API_KEY, else the file $OSTIARY_WORKFLOW_API_KEY_FILE",
    timeout="How long each call may take, retries included. Default: 30.",
    json="Print one JSON document on stdout; messages go to stderr.",
)

_START: Final = (
    "start a server with `ostiary dev`, or say which one with --base-url or OSTIARY_WORKFLOW_URL"
)
_KEY: Final = (
    "say which file holds the key by --api-key-file (that of `ostiary dev` is "
    "~/.sanctum/workflow.token)"
)
_ROLE: Final = (
    "use a key that has the role, by --api-key-file; whoever asked for an approval cannot give it "
    "(the second key of `ostiary dev` is ~/.sanctum/workflow-approver.token)"
)
# What lists the things of which the server has none of this name.
_LISTS: Final = (
    ("APPROVAL", "approvals --all"),
    ("VALIDATOR", "crv ls"),
    ("WORKFLOW", "ls"),
)
_MOST_MEMBERS: Final = 20


class Session(Answers):
    """One command's client, and where it answers."""

    def __init__(self, client: WorkflowClient, screen: Screen) -> None:
        super().__init__(screen)
        self.client = client


@contextmanager
def _session(options: Mapping[str, Any]) -> Generator[Session, None, None]:
    screen = Screen(json=bool(options.get("json")))
    try:
        # Here, because --help and completion need none of it.
        from ...workflow import WorkflowClient

        more = {"timeout": options["timeout"]} if "timeout" in options else {}
        given = options.get("base_url"), read_key(options)
        with client_of(WorkflowClient, screen.note, *given, **more) as client:
            yield Session(client, screen)
    except OstiaryError as error:
        code = screen.refuse(error, advice=_advice(error))
        for line in _wrong(error):
            screen.note(line)
        raise typer.Exit(code) from None


def _wrong(error: OstiaryError) -> list[str]:
    """Return a line for each member that the server found wrong, unless the message has it."""
    told: list[str] = []
    for one in getattr(error, "errors", ())[:_MOST_MEMBERS]:
        message = str(one.get("message", ""))
        if message and message not in error.message:
            told.append(f"  {one.get('path') or 'body'}: {shown(message)}")
    return told


def _advice(error: OstiaryError) -> str | None:
    if isinstance(error, ConnectError):
        return _START
    if isinstance(error, AuthenticationError):
        return _KEY
    remedy = getattr(error, "remediation", None)
    if isinstance(remedy, str) and remedy:
        return remedy
    if isinstance(error, PermissionDeniedError):
        return _ROLE
    if isinstance(error, NotFoundError):
        code = str(getattr(error, "code", None) or "")
        for word, command in _LISTS:
            if code.startswith(word):
                return f"`ostiary workflow {command}` shows what there is"
    return None


_OPTIONS: Final = SharedOptions(_SHARED, _session, flags=frozenset({"json"}), hidden=frozenset())
add: Final = _OPTIONS.add
take_options: Final = _OPTIONS.take
