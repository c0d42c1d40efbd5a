"""What the tasks of a workflow do: Python functions by name, and the few that come along."""

from .call import Tool, ToolCall, ToolError, tool
from .registry import Registry
from .shipped import shipped

__all__ = ["Registry", "Tool", "ToolCall", "ToolError", "shipped", "tool"]
