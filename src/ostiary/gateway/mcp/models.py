"""What an MCP server lists and answers, as Structs."""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = ["MCPTool", "MCPToolResult"]


class MCPTool(msgspec.Struct, frozen=True, kw_only=True):
    """A tool that this run may call; schemas are JSON Schema."""

    name: str
    title: str | None = None
    description: str | None = None
    input_schema: dict[str, Any] = {}
    output_schema: dict[str, Any] | None = None


class MCPToolResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a tool answered. `is_error` is the tool's own word: the call itself went through.

    `content` are MCP's content blocks as they came, `structured` the answer by the tool's
    output schema, None when it has none.
    """

    content: tuple[dict[str, Any], ...] = ()
    structured: Any = None
    is_error: bool = False

    @property
    def text(self) -> str:
        """The text of the answer, its blocks joined by line ends."""
        return "\n".join(block["text"] for block in self.content if block.get("type") == "text")
