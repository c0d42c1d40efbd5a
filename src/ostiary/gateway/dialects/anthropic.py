"""Anthropic's Messages API, for direct mode (platform.claude.com, Messages)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final, cast

import msgspec

from ..._decoders import decoder_of
from ..._route import Route, unreadable
from ..._wire.sse import Event
from ...errors import adopt
from ..errors import FAMILY, GatewayArgumentError
from ..models import (
    ChatChunk,
    ChatReply,
    ToolCall,
    ToolCallDelta,
    Usage,
    arguments_of,
    sorted_calls,
)
from ..refusals import refusal
from ..stream import said_no
from . import END, Call, Dialect, Reader, Step, taken

__all__ = ["ANTHROPIC"]

VERSION: Final = "2023-06-01"
MAX_TOKENS: Final = 4096  # the API has no default and refuses a request without

# What OpenAI has and this has not; anything else that is not known is sent as it is.
_NOT_HERE: Final = (
    *("seed", "response_format", "reasoning_effort", "logprobs", "top_logprobs"),
    *("frequency_penalty", "presence_penalty", "logit_bias"),
)
_OURS: Final = frozenset(
    {"messages", "tools", "tool_choice", "parallel_tool_calls", "stream_options"}
    | {"max_tokens", "max_completion_tokens", "stop", "user"}
)
_FINISH: Final[Mapping[str, str]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


# --- what comes


class Block(msgspec.Struct, frozen=True, gc=False):
    type: str
    text: str = ""
    id: str = ""
    name: str = ""
    input: dict[str, Any] | None = None
    thinking: str = ""


class Spent(msgspec.Struct, frozen=True, gc=False):
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None


class Answer(msgspec.Struct, frozen=True, gc=False):
    content: list[Block] = []
    stop_reason: str | None = None
    id: str = ""
    model: str = ""
    usage: Spent = Spent()
    error: Any = None


class Delta(msgspec.Struct, frozen=True, gc=False):
    type: str = ""
    text: str = ""
    partial_json: str = ""
    thinking: str = ""
    stop_reason: str | None = None


class Told(msgspec.Struct, frozen=True, gc=False):
    """An event of a stream, of any type."""

    type: str
    index: int = 0
    delta: Delta | None = None
    content_block: Block | None = None
    message: Answer | None = None
    usage: Spent | None = None
    error: Any = None


_answer: Final = decoder_of(Answer).decode
_told: Final = decoder_of(Told).decode


def read_reply(body: Any) -> ChatReply[Any]:
    """Read a whole reply; raises as msgspec does, and `GatewayError` for one that says no."""
    found = _answer(body)
    if found.error:
        raise said_no(found.error)
    good, bad = sorted_calls(
        [
            ToolCall(block.id, block.name, msgspec.json.encode(block.input or {}).decode())
            for block in found.content
            if block.type == "tool_use"
        ]
    )
    return ChatReply(
        text="".join(block.text for block in found.content if block.type == "text"),
        tool_calls=good,
        invalid_tool_calls=bad,
        finish_reason=_finish(found.stop_reason),
        usage=_usage(found.usage),
        model=found.model,
        id=found.id,
        reasoning="".join(x.thinking for x in found.content if x.type == "thinking") or None,
        body=bytes(body),
    )


def _finish(reason: str | None) -> str | None:
    return None if reason is None else _FINISH.get(reason, reason)


def _usage(spent: Spent) -> Usage:
    read, written = spent.cache_read_input_tokens or 0, spent.cache_creation_input_tokens or 0
    # Here the three are apart; everywhere else a prompt's tokens are all of them.
    prompt = (spent.input_tokens or 0) + read + written
    completion = spent.output_tokens or 0
    details = {"cached_tokens": read, "cache_creation_tokens": written}
    return Usage(prompt, completion, prompt + completion, details if read or written else None)


class AnthropicReader(Reader):
    """Reads a stream that ends with `message_stop`."""

    __slots__ = ("_calls", "_spent")

    def __init__(self) -> None:
        super().__init__()
        self._calls: dict[int, int] = {}
        self._spent = Spent()

    def decode(self, data: bytes) -> object:
        try:
            told = _told(data)
        except _UNREADABLE:
            return data
        delta = told.delta
        if delta is not None and delta.text and told.type == "content_block_delta":
            return ChatChunk(delta.text)
        return told

    def take(self, event: Event[Any]) -> list[Step]:
        told = event.data
        if isinstance(told, Told):
            return self._step(told)
        if event.event == "error":
            return [said_no(None)]
        if isinstance(told, ChatChunk):
            return [told]
        if not cast("bytes", told).strip():
            return []
        try:
            return self._step(_told(told))
        except _UNREADABLE as error:
            problem = error.with_traceback(None)
        failure = adopt(unreadable("an event of the stream", problem), FAMILY)
        return [failure.with_traceback(None)]

    def _step(self, told: Told) -> list[Step]:
        kind, delta, block = told.type, told.delta, told.content_block
        if kind == "error":
            return [said_no(told.error)]
        if kind == "message_stop":
            self.ended = True
            return [END]
        if kind == "message_start" and told.message is not None:
            self._spent = told.message.usage
            return [ChatChunk(model=told.message.model, id=told.message.id)]
        if kind == "content_block_start" and block is not None:
            if block.type == "tool_use":
                at = self._calls[told.index] = len(self._calls)
                # Sent whole by some servers, and behind an empty object in pieces by most.
                whole = msgspec.json.encode(block.input).decode() if block.input else ""
                return [ChatChunk(tool_calls=(ToolCallDelta(at, block.id, block.name, whole),))]
            return [ChatChunk(block.text)] if block.text else []
        if kind == "content_block_delta" and delta is not None:
            if delta.partial_json and told.index in self._calls:
                at = self._calls[told.index]
                return [ChatChunk(tool_calls=(ToolCallDelta(at, arguments=delta.partial_json),))]
            return [ChatChunk(reasoning=delta.thinking)] if delta.thinking else []
        if kind == "message_delta":
            reason = None if delta is None else delta.stop_reason
            return [ChatChunk(finish_reason=_finish(reason), usage=self._sum(told.usage))]
        return []  # ping, content_block_stop, and what a later version adds

    def _sum(self, last: Spent | None) -> Usage:
        """Return what the stream used: the last event may repeat what the first said."""
        values: dict[str, int | None] = {}
        for name in Spent.__struct_fields__:
            later = None if last is None else getattr(last, name)
            values[name] = getattr(self._spent, name) if later is None else later
        return _usage(Spent(**values))


# --- what is sent

CHAT: Final[Route[ChatReply[Any]]] = Route(
    "POST", "/v1/messages", ChatReply, decode=read_reply, fail=refusal
)


class Anthropic(Dialect):
    """The dialect; it has no embeddings."""

    headers: ClassVar[Mapping[str, str]] = {"anthropic-version": VERSION}

    def chat(self, body: Mapping[str, Any], *, stream: bool) -> Call:
        taken.refuse(body, _NOT_HERE, "Anthropic")
        sent = {name: value for name, value in body.items() if name not in _OURS}
        sent["max_tokens"] = (
            body.get("max_completion_tokens") or body.get("max_tokens") or MAX_TOKENS
        )
        system, messages = _messages(body)
        if system:
            sent.setdefault("system", system)
        sent["messages"] = messages
        functions, others = taken.functions_in(body)
        if functions or others:
            sent["tools"] = [*map(_tool, functions), *others]
        if (choice := _choice(body)) is not None:
            sent["tool_choice"] = choice
        if (stop := body.get("stop")) is not None:
            sent["stop_sequences"] = [stop] if isinstance(stop, str) else stop
        if (user := body.get("user")) is not None:
            sent["metadata"] = {"user_id": user}
        if stream:
            sent["stream"] = True
        return Call(CHAT, sent)

    def embed(self, body: Mapping[str, Any]) -> Call:
        raise GatewayArgumentError("Anthropic has no embeddings; name another provider's model")

    def reader(self) -> Reader:
        return AnthropicReader()


ANTHROPIC: Final = Anthropic()


def _messages(body: Mapping[str, Any]) -> tuple[str, list[dict[str, Any]]]:
    """Return what the model is told to be, and the turns of the conversation."""
    system: list[str] = []
    turns: list[dict[str, Any]] = []
    for said in taken.messages_in(body):
        if said.role in {"system", "developer"}:
            system.append(taken.text_in(said.parts, "a system message"))
            continue
        blocks = [_block(part) for part in said.parts]
        if said.role == "tool":
            result: dict[str, Any] = {"type": "tool_result", "tool_use_id": said.answers}
            if blocks:
                result["content"] = blocks
            blocks = [result]
        blocks += [
            {
                "type": "tool_use",
                "id": call.id,
                "name": call.name,
                "input": arguments_of(call.arguments) or {},
            }
            for call in said.calls
        ]
        if not blocks:
            continue
        role = "assistant" if said.role == "assistant" else "user"
        # Turns alternate: what the same side says twice is one turn.
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        else:
            turns.append({"role": role, "content": blocks})
    return "\n\n".join(system), turns


def _block(part: Mapping[str, Any]) -> dict[str, Any]:
    if part.get("type") == "text":
        return {"type": "text", "text": part["text"]}
    found = taken.inline(part)
    if isinstance(found, str):
        return {"type": "image", "source": {"type": "url", "url": found}}
    kind = "image" if found.media_type.startswith("image/") else "document"
    if kind == "document" and found.media_type != "application/pdf":
        raise GatewayArgumentError(f"Anthropic takes images and PDF, not {found.media_type[:60]}")
    source = {"type": "base64", "media_type": found.media_type, "data": found.data}
    return {"type": kind, "source": source}


def _tool(function: taken.Function) -> dict[str, Any]:
    sent: dict[str, Any] = {"name": function.name, "input_schema": function.parameters}
    if function.description:
        sent["description"] = function.description
    return sent


_CHOICES: Final[Mapping[str, str]] = {
    "auto": "auto",
    "none": "none",
    "required": "any",
    "named": "tool",
}


def _choice(body: Mapping[str, Any]) -> dict[str, Any] | None:
    one_by_one = body.get("parallel_tool_calls") is False
    chosen = taken.choice_of(body)
    if chosen is None:
        if not one_by_one:
            return None
        chosen = "auto", None
    sent: dict[str, Any] = {"type": _CHOICES[chosen[0]]}
    if chosen[1] is not None:
        sent["name"] = chosen[1]
    if one_by_one and chosen[0] != "none":
        sent["disable_parallel_tool_use"] = True
    return sent
