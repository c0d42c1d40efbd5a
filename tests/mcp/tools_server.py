"""An MCP server on stdio for the tests, made with the library: `python tools_server.py`.

It can do what a server should not: die, hang, and break its word.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

import mcp_types as types
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server

TEXT = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
NOTHING = {"type": "object", "properties": {}}
NUMBERS = {
    "type": "object",
    "properties": {"a": {"type": "number"}, "b": {"type": "number"}},
    "required": ["a", "b"],
}
SUM = {"type": "object", "properties": {"sum": {"type": "number"}}, "required": ["sum"]}

calls = 0
ended_early = 0


def said(text: str, **more: Any) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(type="text", text=text)], **more)


async def list_tools(context: Any, params: Any) -> types.ListToolsResult:
    return types.ListToolsResult(
        tools=[
            types.Tool(name="echo", description="Say it again.", input_schema=TEXT),
            types.Tool(name="add", input_schema=NUMBERS, output_schema=SUM),
            types.Tool(name="break_schema", input_schema=NOTHING, output_schema=SUM),
            types.Tool(name="count", input_schema=NOTHING),
            types.Tool(name="die", input_schema=NOTHING),
            types.Tool(name="fail", input_schema=NOTHING),
            types.Tool(name="hang", input_schema=NOTHING),
            types.Tool(name="linger", input_schema=NOTHING),
            types.Tool(name="lingered", input_schema=NOTHING),
            types.Tool(name="refuse", input_schema=NOTHING),
            types.Tool(name="steps", input_schema=NOTHING),
            types.Tool(name="variables", input_schema=NOTHING),
        ]
    )


async def call_tool(context: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
    global calls, ended_early
    calls += 1
    given = params.arguments or {}
    match params.name:
        case "echo":
            return said(given["text"])
        case "add":
            total = given["a"] + given["b"]
            return said(f"{total}", structured_content={"sum": total})
        case "break_schema":
            return said("no number", structured_content={"sum": "three"})
        case "count":
            return said(f"{os.getpid()} {calls}")
        case "die":
            print("the tools server gives up", file=sys.stderr, flush=True)
            os._exit(3)
        case "fail":
            return said("it did not work", is_error=True)
        case "hang":
            await asyncio.Event().wait()
        case "linger":
            await context.session.report_progress(1, None, "begun")
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                ended_early += 1
                raise
        case "lingered":
            return said(f"{ended_early}")
        case "steps":
            for step in range(1, 4):
                await context.session.report_progress(step, 3, f"step {step}")
            return said("done")
        case "variables":
            return said(" ".join(sorted(os.environ)))
    raise ValueError(f"there is no tool {params.name}")


async def main() -> None:
    server: Server[Any] = Server(
        "tools", version="1", on_list_tools=list_tools, on_call_tool=call_tool
    )
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


if __name__ == "__main__":
    if "--never-start" in sys.argv:
        print("this server refuses to start", file=sys.stderr)
        sys.exit(2)
    if "--never-answer" in sys.argv:
        sys.stdin.read()
        sys.exit()
    asyncio.run(main())
