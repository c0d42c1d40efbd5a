"""Messages as they are sent: the bodies of OpenAI's chat, made of ours or taken as given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from .errors import GatewayArgumentError
from .models import ROLES, Message, ToolCall

__all__ = ["as_mapping", "wire_call", "wire_message", "wire_messages"]


def wire_messages(messages: object) -> list[Any]:
    """Return messages as they are sent. OpenAI's own objects are sent as they were given."""
    if isinstance(messages, str):
        return [Message("user", messages)]
    if isinstance(messages, (Message, Mapping)) or not isinstance(messages, Sequence):
        raise GatewayArgumentError(
            "messages are text, or a list of Message and of objects as OpenAI has them"
        )
    found = [wire_message(each) for each in cast("Sequence[object]", messages)]
    if not found:
        raise GatewayArgumentError("messages is empty; there is nothing to answer")
    return found


def wire_message(message: object) -> object:
    """Return one message as it is sent."""
    if isinstance(message, Message):
        if message.tool_calls:
            return _with_calls(message)
        if message.content is None:
            raise GatewayArgumentError(
                f"a message of role {str(message.role)[:40]!r} has no content"
            )
        if message.role not in ROLES:
            raise GatewayArgumentError(f"{str(message.role)[:40]!r} is no role of a message")
        if message.role == "tool" and not message.tool_call_id:
            raise GatewayArgumentError("a tool message needs the id of the call it answers")
        return message
    if isinstance(message, Mapping):
        if "role" not in message:
            raise GatewayArgumentError("a message has a role")
        return cast("Mapping[str, Any]", message)
    raise GatewayArgumentError(f"a message is a Message or a mapping, not {type(message).__name__}")


def _with_calls(message: Message) -> dict[str, Any]:
    if message.role != "assistant":
        raise GatewayArgumentError("only a message of the assistant has tool calls")
    sent: dict[str, Any] = {"role": "assistant", "content": message.content}
    sent["tool_calls"] = [wire_call(call) for call in message.tool_calls]
    if message.name is not None:
        sent["name"] = message.name
    return sent


def wire_call(call: ToolCall) -> dict[str, Any]:
    """Return a tool call as it is sent."""
    return {
        "id": call.id,
        "type": "function",
        # No provider takes empty text, which is what some send for no arguments.
        "function": {"name": call.name, "arguments": call.arguments.strip() or "{}"},
    }


def as_mapping(message: object) -> Mapping[str, Any]:
    """Return a message as an object, whichever way `wire_messages` left it."""
    if isinstance(message, Message):
        shown = {"role": message.role, "content": message.content}
        if message.tool_call_id is not None:
            shown["tool_call_id"] = message.tool_call_id
        if message.name is not None:
            shown["name"] = message.name
        return shown
    return cast("Mapping[str, Any]", message)
