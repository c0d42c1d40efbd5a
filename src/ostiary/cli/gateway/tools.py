"""`tools` and `call`: the MCP servers behind the gateway."""

from __future__ import annotations

import json as json_module
from collections.abc import Coroutine
from typing import Annotated, Any, TypeVar, cast

import typer

from ...errors import InvalidArgumentError
from ..screen import EXIT_FAILED
from ..signature import arguments as arguments_of
from .session import ExitCodes, Json, Timeout, read_input, session, write

__all__ = ["register"]

T = TypeVar("T")


def register(commands: typer.Typer) -> None:
    """Add these commands to the domain's group."""
    commands.command("tools")(tools)
    commands.command("call")(call)


def tools(
    server: Annotated[
        str | None,
        typer.Argument(
            metavar="SERVER",
            help="One MCP server, whose tools are described; without it, what the token lists.",
            show_default=False,
        ),
    ] = None,
    timeout: Timeout = 120.0,
    json: Json = False,
    exit_codes: ExitCodes = False,
) -> None:
    """List the tools of MCP servers that this run may call."""
    with session(json, exit_codes) as on:
        from ...gateway.mcp import MCPGatewayClient

        async def ask() -> tuple[dict[str, tuple[str, ...]], list[Any]]:
            async with MCPGatewayClient(access=on.access, timeout=timeout) as client:
                if server is None:
                    return await client.allowed_tools(), []
                return {}, await client.list_tools(server)

        allowed, described = _run(ask())
        if json:
            on.screen.document(allowed if server is None else described)
        elif server is None:
            on.screen.table(
                ["server", "tools"],
                [[name, list(listed)] for name, listed in allowed.items()],
                empty="this run's token lists no tools",
                firm={"server"},
            )
        else:
            on.screen.table(
                ["tool", "arguments", "description"],
                [[one.name, arguments_of(one.input_schema), one.description] for one in described],
                empty=f"{server} lists none of the tools that this run may call",
                firm={"tool"},
            )


def call(
    server: Annotated[
        str, typer.Argument(metavar="SERVER", help="The MCP server.", show_default=False)
    ],
    tool: Annotated[str, typer.Argument(metavar="TOOL", help="Its tool.", show_default=False)],
    arguments: Annotated[
        str, typer.Argument(metavar="JSON", help="The tool's arguments, a JSON object; - is stdin.")
    ] = "{}",
    timeout: Timeout = 120.0,
    json: Json = False,
    exit_codes: ExitCodes = False,
) -> None:
    """Call a tool and print what it answers. Exits 1 when the tool says that it failed."""
    with session(json, exit_codes) as on:
        given = _object(read_input("arguments") if arguments == "-" else arguments)
        from ...gateway.mcp import MCPGatewayClient

        async def ask() -> Any:
            async with MCPGatewayClient(access=on.access, timeout=timeout) as client:
                return await client.call_tool(server, tool, given)

        result = _run(ask())
        if json:
            on.screen.document(result)
        else:
            if result.text:
                write(result.text, end="" if result.text.endswith("\n") else "\n")
            others = [str(block.get("type")) for block in result.content]
            others = sorted({kind for kind in others if kind != "text"})
            if others:
                on.screen.note(f"and content of type {', '.join(others)}; --json shows it")
            if result.is_error:
                on.screen.note("the tool says that it failed")
    if result.is_error:
        raise typer.Exit(EXIT_FAILED)


def _run(work: Coroutine[Any, Any, T]) -> T:
    import asyncio

    return asyncio.run(work)


def _object(text: str) -> dict[str, Any]:
    found: object = None
    try:
        found = json_module.loads(text)
    except (ValueError, RecursionError):
        pass
    if not isinstance(found, dict):
        raise InvalidArgumentError(
            """the arguments are a JSON object, such as '{"path": "README.md"}'"""
        )
    return cast("dict[str, Any]", found)
