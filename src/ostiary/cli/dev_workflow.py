"""The workflow server's part of `ostiary dev`: its options read into settings, its lines of the
banner.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Final

import typer

from ..errors import InvalidArgumentError

if TYPE_CHECKING:
    from ..devserver import WorkflowKey, WorkflowOptions
    from ..devserver.workflow.server import WorkflowServer

__all__ = [
    "NoWorkflow",
    "ToolHost",
    "Tools",
    "WorkflowKeys",
    "WorkflowPort",
    "announced",
    "rows",
    "workflow_options",
]

_PORT: Final = 3000

WorkflowPort = Annotated[
    int,
    typer.Option(
        "--workflow-port",
        metavar="PORT",
        min=0,
        max=65535,
        help=f"TCP port of the workflow server on 127.0.0.1; 0 is any. Default: {_PORT}.",
        show_default=False,
    ),
]
NoWorkflow = Annotated[bool, typer.Option("--no-workflow", help="Run without workflows.")]
Tools = Annotated[
    list[str] | None,
    typer.Option(
        "--tools",
        metavar="MODULE",
        help="Let workflows call the tools of this Python module, looked for in the current "
        "directory first. May be repeated.",
        show_default=False,
    ),
]
ToolHost = Annotated[
    list[str] | None,
    typer.Option(
        "--tool-host",
        metavar="HOST[:PORT]",
        help="Let the tool http_get ask this host. May be repeated.",
        show_default=False,
    ),
]
WorkflowKeys = Annotated[
    list[str] | None,
    typer.Option(
        "--workflow-key",
        metavar="NAME=ROLE[,ROLE]",
        help="Another key of the workflow server, kept in workflow-NAME.token: roles are "
        "execute, read, approve, telemetry, admin. May be repeated.",
        show_default=False,
    ),
]


def workflow_options(
    *,
    port: int | None,
    tools: Iterable[str],
    tool_hosts: Iterable[str],
    keys: Iterable[str],
) -> WorkflowOptions:
    """Return the workflow server's settings."""
    from ..devserver import WorkflowOptions

    return WorkflowOptions(
        port=port,
        tool_modules=tuple(tools),
        allow_hosts=frozenset(tool_hosts),
        keys=tuple(_key(one) for one in keys),
    )


def _key(text: str) -> WorkflowKey:
    from ..devserver import WorkflowKey

    name, equals, roles = text.partition("=")
    if not equals:
        raise InvalidArgumentError(
            f"--workflow-key takes NAME=ROLE[,ROLE], and {text!r} names no roles"
        )
    return WorkflowKey(name=name, roles=frozenset(one.strip() for one in roles.split(",")))


def rows(workflow: WorkflowServer) -> list[tuple[str, str, str]]:
    """Return the addresses for the banner."""
    found = [("workflow", str(workflow.http.socket_path), "you alone")]
    if workflow.http.url is not None:
        found.append(("workflow", workflow.http.url, "this machine, unencrypted"))
    return found


def announced(workflow: WorkflowServer | None) -> dict[str, object] | None:
    """Return what the line of JSON says about the workflow server."""
    if workflow is None:
        return None
    http = workflow.http
    return {
        "url": http.url,
        "unix_url": http.unix_url,
        "socket": str(http.socket_path),
        "token_file": None if http.token is None else str(http.token_path),
        "files": str(workflow.files),
    }
