"""An OpenAI-style body taken apart, for dialects that write it otherwise.

What a provider has no word for is refused here by name: left out in silence, it would change
what the call means.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, cast

import msgspec

from .._messages import as_mapping
from ..errors import GatewayArgumentError
from ..models import ToolCall, arguments_of

__all__ = [
    "Function",
    "Inline",
    "Said",
    "calls_in",
    "choice_of",
    "functions_in",
    "inline",
    "messages_in",
    "parts_in",
    "refuse",
    "text_in",
]


class Said(NamedTuple):
    """One message: who says it, in which parts, with which calls, in answer to which."""

    role: str
    parts: list[Mapping[str, Any]]
    calls: list[ToolCall]
    answers: str


class Inline(NamedTuple):
    """Data that stands in a message: its media type and base64."""

    media_type: str
    data: str


class Function(NamedTuple):
    """A tool, as all providers have it."""

    name: str
    description: str
    parameters: Mapping[str, Any]


def refuse(body: Mapping[str, Any], names: Iterable[str], provider: str) -> None:
    """Raise `GatewayArgumentError` when the body has one of these members."""
    for name in names:
        if body.get(name) is not None:
            raise GatewayArgumentError(
                f"{provider} has no {name}; leave it out, or say what it has by extra={{...}}"
            )


def messages_in(body: Mapping[str, Any]) -> list[Said]:
    """Return the messages of a body."""
    found: list[Said] = []
    for each in cast("Sequence[object]", body["messages"]):
        message = as_mapping(each)
        found.append(
            Said(
                str(message.get("role")),
                parts_in(message.get("content")),
                calls_in(message.get("tool_calls")),
                str(message.get("tool_call_id") or ""),
            )
        )
    return found


def parts_in(content: object) -> list[Mapping[str, Any]]:
    """Return content as parts; text that is empty is none."""
    if content is None:
        return []
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    if isinstance(content, Sequence):
        parts = cast("Sequence[object]", content)
        if all(isinstance(part, Mapping) for part in parts):
            found = cast("Sequence[Mapping[str, Any]]", parts)
            return [part for part in found if part.get("type") != "text" or part.get("text")]
    raise GatewayArgumentError("a message's content is text or a list of parts")


def text_in(parts: Sequence[Mapping[str, Any]], where: str) -> str:
    """Return parts that are all text as one; `where` names them otherwise."""
    for part in parts:
        if part.get("type") != "text":
            raise GatewayArgumentError(f"{where} is text alone for this provider")
    return "".join(str(part["text"]) for part in parts)


def calls_in(calls: object) -> list[ToolCall]:
    """Return the tool calls of a message; arguments that are no object become none."""
    found: list[ToolCall] = []
    for each in cast("Sequence[Mapping[str, Any]]", calls or ()):
        function = cast("Mapping[str, Any]", each.get("function") or {})
        arguments = function.get("arguments") or ""
        if not isinstance(arguments, str):
            arguments = msgspec.json.encode(arguments).decode()
        # These providers take objects alone; the tool message behind it tells what was wrong.
        if arguments_of(arguments) is None:
            arguments = "{}"
        found.append(ToolCall(str(each.get("id") or ""), str(function.get("name")), arguments))
    return found


def inline(part: Mapping[str, Any]) -> Inline | str:
    """Return an image or file of a message: its data, or the URL where it is."""
    kind = part.get("type")
    source: object = None
    if kind == "image_url":
        given = part.get("image_url")
        source = (
            cast("Mapping[str, Any]", given).get("url") if isinstance(given, Mapping) else given
        )
    elif kind == "file":
        source = cast("Mapping[str, Any]", part.get("file") or {}).get("file_data")
    elif kind == "input_audio":
        audio = cast("Mapping[str, Any]", part.get("input_audio") or {})
        return Inline(f"audio/{audio.get('format')}", str(audio.get("data")))
    if not isinstance(source, str) or not source:
        raise GatewayArgumentError(
            f"a part of type {str(kind)[:40]!r} cannot be said to this provider"
        )
    if not source.startswith("data:"):
        return source
    head, _, data = source[5:].partition(",")
    media_type, mark, _ = head.partition(";base64")
    if not mark or not media_type:
        raise GatewayArgumentError("a data: URL in a message has a media type and base64")
    return Inline(media_type, data)


def functions_in(body: Mapping[str, Any]) -> tuple[list[Function], list[Mapping[str, Any]]]:
    """Return the tools of a body that are functions, and those a provider runs itself."""
    functions: list[Function] = []
    others: list[Mapping[str, Any]] = []
    for tool in cast("Sequence[Mapping[str, Any]]", body.get("tools") or ()):
        function = tool.get("function")
        if tool.get("type") == "function" and isinstance(function, Mapping):
            about = cast("Mapping[str, Any]", function)
            functions.append(
                Function(
                    str(about.get("name")),
                    str(about.get("description") or ""),
                    about.get("parameters") or {"type": "object", "properties": {}},
                )
            )
        else:
            others.append(tool)
    return functions, others


def choice_of(body: Mapping[str, Any]) -> tuple[str, str | None] | None:
    """Return whether tools are called: `auto`, `none` or `required`, or a tool by its name."""
    choice = body.get("tool_choice")
    if choice is None:
        return None
    if isinstance(choice, str):
        return choice, None
    function = cast("Mapping[str, Any]", choice).get("function")
    if isinstance(function, Mapping):
        return "named", str(cast("Mapping[str, Any]", function).get("name"))
    raise GatewayArgumentError("tool_choice is auto, none, required or names a function")
