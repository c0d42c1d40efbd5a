"""Tools as LangChain's users have them, and as they are sent.

Neighbours: `structured` for the schemas of types, `gateway_chat`, which binds tools.
"""

from __future__ import annotations

from . import _langchain as _langchain  # says what to install when it is not there

# isort: split
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

import msgspec
import pydantic
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_tool

from ..errors import GatewayArgumentError
from ..schema import strict_schema
from ..tool import Tool, wire_tool
from .structured import Shape, shape_of, tool_of

__all__ = ["shown_to_tracers", "tool_choice_of", "wire_tool_of"]

_NO_PARAMETERS: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {},
    "additionalProperties": False,
}


def wire_tool_of(tool: Any, *, strict: bool | None = None) -> dict[str, Any]:
    """Return a tool as it is sent: references kept, closed when `strict`.

    Raises `GatewayArgumentError` for what is no tool, and for one that cannot be closed.
    """
    made = _wire_tool(tool)
    function = made.get("function")
    if strict is None or not isinstance(function, Mapping):
        return made
    held = dict(cast("Mapping[str, Any]", function))
    if strict:
        held["parameters"] = strict_schema(held.get("parameters") or _NO_PARAMETERS)
    return {**made, "function": {**held, "strict": strict}}


def _wire_tool(tool: Any) -> dict[str, Any]:
    if _is_ours(tool) or isinstance(tool, Tool):
        return dict(cast("Mapping[str, Any]", wire_tool(tool)))
    kind: object = tool
    if _is_pydantic(kind):
        return tool_of(shape_of(kind))
    try:
        made = dict(convert_to_openai_tool(tool))
    except (ValueError, TypeError, RecursionError) as error:
        problem = type(error).__name__
    else:
        if isinstance(tool, BaseTool) and "function" in made:
            given: object = tool.tool_call_schema
            if tool.args_schema and _is_pydantic(given):
                # LangChain resolves references, and cuts a type that contains itself short.
                made["function"] = {**made["function"], "parameters": shape_of(given).schema}
        return made
    raise GatewayArgumentError(
        f"{getattr(kind, '__name__', type(kind).__name__)} cannot be made a tool ({problem}): "
        "give a function with annotations and a docstring, a BaseTool, a type, or a tool as "
        "OpenAI has it"
    )


def tool_choice_of(choice: Any, names: Sequence[str]) -> Any:
    """Return what LangChain calls a tool choice as OpenAI has it, or None for nothing at all.

    `choice` is a tool's name, `"any"`, `"auto"`, `"none"`, `"required"`, True for any, or a
    dict of OpenAI's or Anthropic's. Raises `GatewayArgumentError` for the name of a tool that
    is not among `names`.
    """
    if choice is None or choice is False:
        return None
    if choice is True:
        return "required"
    if isinstance(choice, Mapping):
        given = cast("Mapping[str, Any]", choice)
        if given.get("type") in {"any", "auto", "none"}:
            return tool_choice_of(given["type"], names)
        if given.get("type") == "tool":
            return tool_choice_of(str(given.get("name", "")), names)
        return dict(given)
    if choice in names:
        return {"type": "function", "function": {"name": choice}}
    if choice in {"auto", "none", "required"}:
        return choice
    if choice == "any":
        return "required"
    raise GatewayArgumentError(
        f"tool_choice {str(choice)[:80]!r} names no tool; there are {', '.join(names) or 'none'}, "
        "and the words any, auto, none and required"
    )


def shown_to_tracers(schema: Any, shape: Shape) -> Any:
    """Return a schema that LangChain can show to tracers."""
    if not _is_ours(schema):
        try:
            convert_to_json_schema(schema)
        except (ValueError, TypeError, RecursionError):
            pass
        else:
            return schema
    return {"title": shape.name, "description": shape.description, **shape.schema}


def _is_ours(schema: Any) -> bool:
    return isinstance(schema, type) and (
        issubclass(schema, msgspec.Struct) or dataclasses.is_dataclass(cast("object", schema))
    )


def _is_pydantic(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, pydantic.BaseModel)
