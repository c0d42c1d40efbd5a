"""An answer of a given shape: how it is asked for, how it is read, how it is asked for again.

A provider is held to a schema, or made to call a tool that has it, or told of it: which of
them is for the table in `providers` to say. Nothing here sends.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, Literal, TypeAlias, cast, final

import msgspec

from ._messages import wire_message
from .errors import StructuredOutputError
from .models import ChatReply, Message, ToolCall
from .schema import json_schema, name_of, objection, reader_of, strict_schema

__all__ = ["How", "Structured", "structured_of"]

How: TypeAlias = Literal["json_schema", "tool", "json_object"]
"""How a provider is made to answer in a given shape; see `providers.Provider.structured`."""

_ANSWER: Final = "value"  # the one member of the object around what is no object itself
_DEFS: Final = ("$defs", "definitions")
# One blank can be read in one way only: models in JSON mode now and then write thousands.
_FENCED: Final = re.compile(r"\s*```[A-Za-z]*[^\S\n]*\n(.*)```\s*", re.S)
_decode_any: Final = msgspec.json.Decoder().decode


@final
class Structured:
    """A shape that a reply is to have: how it is asked for, and how it is read."""

    __slots__ = ("_read", "_wrapped", "name", "schema", "strict")

    def __init__(self, wanted: Any, strict: bool) -> None:
        schema = json_schema(wanted)
        self.name = name_of(wanted, schema)
        # Only objects can be asked for; anything else is put into one.
        self._wrapped = schema.get("type") != "object"
        if self._wrapped:
            outer: dict[str, Any] = {
                "type": "object",
                "properties": {_ANSWER: {k: v for k, v in schema.items() if k not in _DEFS}},
                "required": [_ANSWER],
            }
            outer |= {k: schema[k] for k in _DEFS if k in schema}
            schema = outer
        self.strict = strict
        self.schema = strict_schema(schema) if strict else schema
        self._read = reader_of(wanted)

    def apply(self, body: Mapping[str, Any], how: How) -> dict[str, Any]:
        """Return the body that asks for it."""
        if how == "json_schema":
            shape = {"name": self.name, "schema": self.schema, "strict": self.strict}
            return {**body, "response_format": {"type": "json_schema", "json_schema": shape}}
        if how == "tool":
            tool = {
                "type": "function",
                "function": {
                    "name": self.name,
                    "description": "Give the answer by calling this, once.",
                    "parameters": self.schema,
                },
            }
            others = list(body.get("tools") or ())
            choice: object = {"type": "function", "function": {"name": self.name}}
            # Beside other tools it is one of them, and the model decides when it answers.
            return {
                **body,
                "tools": [*others, tool],
                "tool_choice": "required" if others else choice,
            }
        told = (
            "Answer with one JSON object and nothing else. It has this JSON Schema:\n"
            + msgspec.json.encode(self.schema).decode()
        )
        return {
            **body,
            "messages": [Message.system(told), *body["messages"]],
            "response_format": {"type": "json_object"},
        }

    def read(self, reply: ChatReply[Any]) -> ChatReply[Any]:
        """Return the reply with its `parsed`; `StructuredOutputError` when it has not the shape.

        A reply that calls other tools first has none yet and is returned as it is.
        """
        mine = self._mine(reply)
        others = tuple(each for each in reply.tool_calls if each.name != self.name)
        if mine:
            text = mine[0].arguments
            reply = msgspec.structs.replace(
                reply,
                text=reply.text or text,
                tool_calls=others,
                invalid_tool_calls=tuple(
                    each for each in reply.invalid_tool_calls if each.name != self.name
                ),
                finish_reason="stop"
                if reply.finish_reason == "tool_calls"
                else reply.finish_reason,
            )
        elif others:
            return reply
        else:
            text = reply.text
        problem: tuple[str, str] | None = None
        if reply.refusal is not None or reply.finish_reason == "content_filter":
            problem = "refused", "the model refused to answer"
        elif reply.finish_reason == "length":
            problem = "cut", "the reply was cut at the token limit; allow it more max_tokens"
        else:
            if (fenced := _FENCED.fullmatch(text)) is not None:
                text = fenced[1]
            try:
                return msgspec.structs.replace(reply, parsed=self._parsed(text))
            except Exception as error:
                if (said := objection(error)) is None:
                    raise
                problem = "unreadable", f"the reply is no {self.name}: {said}"
        # Outside the handler: its exception holds what the model said.
        del reply, text, mine, others
        raise StructuredOutputError(problem[1], reason=problem[0])

    def _mine(self, reply: ChatReply[Any]) -> list[ToolCall]:
        """Return the calls that are the answer, those that cannot be read included."""
        bad = [ToolCall(x.id, x.name, x.arguments) for x in reply.invalid_tool_calls]
        return [each for each in (*reply.tool_calls, *bad) if each.name == self.name]

    def _parsed(self, text: str) -> Any:
        if self._wrapped:
            found = _decode_any(text)
            if isinstance(found, dict) and len(cast("dict[str, Any]", found)) == 1:
                found = cast("dict[str, Any]", found).get(_ANSWER)
            text = msgspec.json.encode(found).decode()
        return self._read(text)

    def repaired(
        self, body: Mapping[str, Any], reply: ChatReply[Any], problem: str
    ) -> dict[str, Any]:
        """Return the body that asks once more, told what was wrong with the answer."""
        said = self._mine(reply)
        told = f"That does not fit: {problem}. Give the whole answer again, corrected."
        if said:
            messages: list[Any] = [wire_message(Message.assistant(None, said))]
            messages += [Message.tool(each.id, told) for each in said]
        else:
            messages = [Message.assistant(reply.text), Message.user(told)]
        return {**body, "messages": [*body["messages"], *messages]}


def structured_of(wanted: Any, strict: bool) -> Structured:
    """Return what asks for a type or a schema and reads it; made once for each type."""
    if isinstance(wanted, Mapping):
        return Structured(wanted, strict)
    try:
        hash(wanted)
    except TypeError:
        return Structured(wanted, strict)
    return _structured(wanted, strict)


@lru_cache(maxsize=256)
def _structured(wanted: Any, strict: bool) -> Structured:
    return Structured(wanted, strict)
