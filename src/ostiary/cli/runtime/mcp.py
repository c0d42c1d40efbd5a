"""`mcp ...`: the MCP servers that the runtime starts, their tools and their resources."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

import typer

from ...errors import InvalidArgumentError
from ..screen import EXIT_FAILED, plain
from ..signature import arguments as arguments_of
from .session import Session, add, read_object, shown, take_options, write

__all__ = ["register"]

_CONNECT_SECONDS: Final = 120.0
_SENTENCE: Final = re.compile(r"(?<=[.!?])\s|\n")

Name = Annotated[
    str, typer.Argument(metavar="SERVER", help="The server's name.", show_default=False)
]
Optional = Annotated[
    str | None,
    typer.Argument(metavar="SERVER", help="Only of this server.", show_default=False),
]


def register(commands: typer.Typer) -> None:
    """Add this group to the domain's."""
    group = typer.Typer(help="MCP servers of the runtime.", no_args_is_help=True)
    take_options(group)
    add(group, "ls", ls)
    add(group, "show", show)
    add(group, "add", add_one)
    add(group, "connect", connect)
    add(group, "disconnect", disconnect)
    add(group, "rm", rm)
    add(group, "tools", tools)
    add(group, "call", call)
    add(group, "resources", resources)
    add(group, "read", read)
    commands.add_typer(group, name="mcp")


def ls(on: Session) -> None:
    """List the servers and how they are connected."""
    found = on.client.list_mcp_servers()
    on.table(
        found,
        ("server", "status", "pid", "tools", "resources", "connected", "last error"),
        (
            (
                one.server_name,
                one.status,
                one.pid,
                one.tools_count,
                one.resources_count,
                one.connected_at,
                one.last_error,
            )
            for one in found
        ),
        firm=("server", "status", "connected"),
        spare=("pid", "connected"),
        right=("pid", "tools", "resources"),
        empty="there is no MCP server; add one with `ostiary runtime mcp add NAME -- COMMAND`",
    )


def show(on: Session, server: Name) -> None:
    """Show a server's connection."""
    _connection(on, on.client.get_mcp_server(server))


def add_one(
    on: Session,
    server: Name,
    command: Annotated[
        list[str],
        typer.Argument(
            metavar="COMMAND",
            help="What starts it, behind `--`: no shell reads it.",
            show_default=False,
        ),
    ],
    env: Annotated[
        list[str] | None,
        typer.Option(
            "--env",
            metavar="NAME=VALUE",
            help="A variable for it, no secret: every user of this machine can see it while "
            "the command runs. May be repeated.",
            show_default=False,
        ),
    ] = None,
    cwd: Annotated[
        str | None,
        typer.Option("--cwd", metavar="DIR", help="Where it starts.", show_default=False),
    ] = None,
    wait: Annotated[
        int,
        typer.Option("--wait", metavar="SECONDS", min=1, help="How long it may take to answer."),
    ] = 30,
) -> None:
    """Make a server known; `connect` starts it."""
    body: dict[str, Any] = {
        "name": server,
        "command": command,
        "env": dict(map(_assigned, env or ())),
        "timeout_seconds": wait,
    }
    if cwd is not None:
        body["cwd"] = cwd
    on.done(
        on.client.add_mcp_server(body),
        f"added {server}; `ostiary runtime mcp connect {server}` starts it",
    )


def connect(on: Session, server: Name) -> None:
    """Start a server and ask what it has. Exits 1 when it could not be reached."""
    # A server that npm has to fetch first takes its time.
    on.client.connect_mcp_server(server, timeout=on.patience or _CONNECT_SECONDS)
    found = on.client.get_mcp_server(server)
    _connection(on, found)
    if str(found.status) == "error":
        raise typer.Exit(EXIT_FAILED)


def disconnect(on: Session, server: Name) -> None:
    """Stop a server; it stays known."""
    on.done(on.client.disconnect_mcp_server(server), f"disconnected {server}")


def rm(on: Session, server: Name) -> None:
    """Stop a server and forget it."""
    on.done(on.client.remove_mcp_server(server), f"removed {server}")


def tools(on: Session, server: Optional = None) -> None:
    """List the tools of the servers that are connected."""
    found = on.client.list_mcp_tools(server)
    on.table(
        found,
        ("server", "tool", "arguments", "verified", "description"),
        (
            (
                one.server_name,
                one.name,
                arguments_of(one.tool_schema),
                one.verified or None,
                _summary(one.description),
            )
            for one in found
        ),
        firm=("server", "tool"),
        empty="no connected server has a tool; `ostiary runtime mcp ls` shows the servers",
    )


def call(
    on: Session,
    server: Name,
    tool: Annotated[str, typer.Argument(metavar="TOOL", help="Its tool.", show_default=False)],
    arguments: Annotated[
        str, typer.Argument(metavar="JSON", help="Its arguments: a JSON object, @FILE or -.")
    ] = "{}",
) -> None:
    """Call a tool and print what it answers. Exits 1 when the tool says that it failed."""
    result = on.client.call_mcp_tool(server, tool, read_object(arguments, "the arguments"))
    if on.json:
        on.document(result)
    else:
        for block in result.content:
            if block.get("type") == "text":
                write(_whole(str(block.get("text", ""))))
        others = sorted({str(b.get("type")) for b in result.content} - {"text"})
        if others:
            on.screen.note(f"and content of type {', '.join(others)}; --json shows it")
        if result.is_error:
            on.screen.note("the tool says that it failed")
    if result.is_error:
        raise typer.Exit(EXIT_FAILED)


def resources(on: Session, server: Optional = None) -> None:
    """List the resources of the servers that are connected."""
    found = on.client.list_mcp_resources(server)
    on.table(
        found,
        ("server", "resource", "name", "type", "description"),
        (
            (one.server_name, one.uri, one.name, one.mime_type, _summary(one.description))
            for one in found
        ),
        firm=("server",),
        empty="no connected server has a resource; `ostiary runtime mcp ls` shows the servers",
    )


def read(
    on: Session,
    server: Name,
    uri: Annotated[str, typer.Argument(metavar="URI", help="Its resource.", show_default=False)],
) -> None:
    """Print a resource: text as it is, anything else with --json."""
    found = on.client.read_mcp_resource(server, uri)
    if on.json:
        on.document(found)
        return
    for part in found.contents:
        if "text" in part:
            write(_whole(str(part["text"])))
        else:
            on.screen.note(f"{part.get('uri', uri)} is no text; --json has it in base64")


def _connection(on: Session, one: Any) -> None:
    on.facts(
        one,
        {
            "server": one.server_name,
            "status": one.status,
            "pid": one.pid,
            "connected": one.connected_at,
            "tools": one.tools_count,
            "resources": one.resources_count,
            "last error": one.last_error,
        },
    )


def _assigned(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise InvalidArgumentError(f"--env {plain(text)} is no NAME=VALUE")
    return name, value


def _summary(text: str | None) -> str | None:
    """Return the first sentence of a description: servers write whole pages."""
    return None if text is None else shown(_SENTENCE.split(text.strip(), maxsplit=1)[0])


def _whole(text: str) -> str:
    return text if text.endswith("\n") else text + "\n"
