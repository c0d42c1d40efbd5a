"""MCP servers that the runtime starts, their tools and their resources."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, ClassVar

from ..enums import McpConnectionStatus
from .model import Model, Request

__all__ = [
    "McpConnectionInfo",
    "McpResourceContents",
    "McpResourceInfo",
    "McpServerConfig",
    "McpToolInfo",
    "McpToolResult",
]


class McpServerConfig(Request):
    """An MCP server: the command that starts it, not through a shell.

    The values of `env` are not shown: they are where such servers get their keys.
    """

    name: str
    command: list[str]
    env: dict[str, str] = {}
    cwd: str | None = None
    timeout_seconds: int = 30

    _hidden: ClassVar[frozenset[str]] = frozenset({"env"})
    _filled: ClassVar[tuple[str, ...]] = ("name", "command")
    _bounds: ClassVar[Mapping[str, tuple[float, float]]] = {"timeout_seconds": (1, 86400)}

    def _rules(self) -> Iterator[tuple[str, str]]:
        if self.command and not self.command[0]:
            yield "command[0]", "is not empty"
        if any("\0" in part for part in self.command):
            yield "command", "holds no NUL"


class McpConnectionInfo(Model):
    """How an MCP server's connection is."""

    server_name: str
    status: McpConnectionStatus
    pid: int | None = None
    connected_at: datetime | None = None
    last_error: str | None = None
    tools_count: int = 0
    resources_count: int = 0


class McpToolInfo(Model):
    """A tool of an MCP server. `schema` and `tool_schema` are two names of one field."""

    name: str
    description: str = ""
    server_name: str
    schema: dict[str, Any]
    verified: bool = False
    verification_hash: str | None = None

    _aliases: ClassVar[Mapping[str, str]] = {"tool_schema": "schema"}

    @property
    def tool_schema(self) -> dict[str, Any]:
        """The same as `schema`."""
        return self.schema

    @tool_schema.setter
    def tool_schema(self, value: dict[str, Any]) -> None:
        self.schema = value


class McpResourceInfo(Model):
    """A resource of an MCP server."""

    uri: str
    name: str | None = None
    description: str | None = None
    mime_type: str | None = None
    server_name: str


class McpToolResult(Model):
    """What a tool answered: pieces of content, as MCP has them."""

    content: list[dict[str, Any]] = []
    is_error: bool = False
    structured_content: dict[str, Any] | None = None

    @property
    def text(self) -> str:
        """The pieces that are text, a line each."""
        return "\n".join(str(one["text"]) for one in self.content if "text" in one)


class McpResourceContents(Model):
    """What a resource holds: parts with `text`, or with `blob` in base64."""

    contents: list[dict[str, Any]]

    @property
    def text(self) -> str:
        """The parts that are text, a line each."""
        return "\n".join(str(one["text"]) for one in self.contents if "text" in one)
