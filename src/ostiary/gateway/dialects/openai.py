"""The OpenAI way: what a gateway speaks for every provider, and most servers by themselves.

Bodies are sent as `_bodies` makes them. Replies are read by one typed decoder each; one that
it refuses is read once more with its nulls left out, since servers write them where the
protocol has no value.
"""

from __future__ import annotations

import base64
import binascii
import sys
from array import array
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar, cast

import msgspec

from ..._decoders import convert, decoder_of, without_nulls
from ..._route import Route, unreadable
from ..._wire.sse import Event
from ...errors import OstiaryError, adopt
from ..errors import FAMILY, GatewayProtocolError
from ..models import (
    ChatChunk,
    ChatReply,
    Embeddings,
    ToolCall,
    ToolCallDelta,
    Usage,
    sorted_calls,
)
from ..stream import said_no
from . import END, Call, Dialect, Reader, Step

__all__ = [
    "OpenAI",
    "parse_chunk",
    "parse_embeddings",
    "parse_reply",
    "read_chunk",
    "read_embeddings",
    "read_reply",
]

T = TypeVar("T")

_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_decode_any: Final = msgspec.json.Decoder().decode


# --- what comes, as it is written


class Function(msgspec.Struct, frozen=True, gc=False):
    name: str | None = None
    arguments: str | dict[str, Any] | None = None


class Called(msgspec.Struct, frozen=True, gc=False):
    id: str | None = None
    function: Function = Function()


class Said(msgspec.Struct, frozen=True, gc=False):
    content: str | list[dict[str, Any]] | None = None
    tool_calls: list[Called] | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None


class Choice(msgspec.Struct, frozen=True, gc=False):
    message: Said
    index: int = 0
    finish_reason: str | None = None
    logprobs: dict[str, Any] | None = None


class Reply(msgspec.Struct, frozen=True, gc=False):
    choices: list[Choice] = []
    id: str = ""
    model: str = ""
    usage: Usage | None = None
    error: Any = None


class CalledDelta(msgspec.Struct, frozen=True, gc=False):
    index: int = 0
    id: str | None = None
    function: Function | None = None


class Delta(msgspec.Struct, frozen=True, gc=False):
    content: str | None = None
    tool_calls: list[CalledDelta] | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None


class ChoiceDelta(msgspec.Struct, frozen=True, gc=False):
    delta: Delta = Delta()
    index: int = 0
    finish_reason: str | None = None
    logprobs: dict[str, Any] | None = None


class Chunk(msgspec.Struct, frozen=True, gc=False):
    choices: list[ChoiceDelta] = []
    id: str = ""
    model: str = ""
    usage: Usage | None = None
    error: Any = None


class Vector(msgspec.Struct, frozen=True, gc=False):
    embedding: list[float] | str
    index: int


class Vectors(msgspec.Struct, frozen=True, gc=False):
    data: list[Vector]
    model: str = ""
    usage: Usage = Usage()
    error: Any = None


_reply: Final = decoder_of(Reply).decode
_chunk: Final = decoder_of(Chunk).decode
_vectors: Final = decoder_of(Vectors).decode


def _again(data: Any, model: type[T]) -> T:
    """Read once more, with nulls left out; raises as the decoders do."""
    found = _decode_any(data)
    # What says that it failed says little else, whatever shape was promised.
    if isinstance(found, dict) and (error := cast("dict[str, Any]", found).get("error")):
        raise said_no(error)
    return convert(without_nulls(found), model)


# --- replies


def read_reply(body: Any) -> ChatReply[Any]:
    """Read a whole reply; raises as msgspec does, and `GatewayError` for one that says no."""
    try:
        found = _reply(body)
    except msgspec.ValidationError:
        found = _again(body, Reply)
    if found.error:
        raise said_no(found.error)
    # The first by its number: servers may list them in any order.
    choice = next((each for each in found.choices if each.index == 0), None)
    if choice is None:
        raise GatewayProtocolError(
            "the reply has no choices, so that there is no answer in it", sent=True
        )
    said = choice.message
    content = said.content
    calls: tuple[ToolCall, ...] = ()
    bad: tuple[Any, ...] = ()
    if said.tool_calls:
        calls, bad = sorted_calls(
            [
                ToolCall(each.id or "", each.function.name or "", _text(each.function.arguments))
                for each in said.tool_calls
            ]
        )
    return ChatReply(
        content if isinstance(content, str) else _joined(content),
        calls,
        bad,
        choice.finish_reason,
        found.usage,
        found.model,
        found.id,
        said.refusal,
        said.reasoning_content or said.reasoning,
        choice.logprobs,
        None,
        bytes(body) if not isinstance(body, str) else body.encode(),
    )


def _text(arguments: str | dict[str, Any] | None) -> str:
    if isinstance(arguments, str):
        return arguments
    if arguments is None:
        return ""
    return msgspec.json.encode(arguments).decode()


def _joined(content: str | list[dict[str, Any]] | None) -> str:
    """Return content that came in parts as one text."""
    if not content:
        return ""
    if isinstance(content, str):
        return content
    texts = (part.get("text") for part in content if part.get("type") == "text")
    return "".join(text for text in texts if isinstance(text, str))


# --- streams


def read_chunk(data: bytes) -> object:
    """Return a piece of a stream, or the bytes as they came when they take a second look."""
    try:
        found = _chunk(data)
    except _UNREADABLE:
        return data
    choices = found.choices
    if len(choices) == 1 and found.error is None:
        choice = choices[0]
        delta = choice.delta
        if choice.index == 0:
            # In the common order, and by position: this runs once for each token.
            return ChatChunk(
                delta.content or "",
                () if delta.tool_calls is None else _deltas(delta.tool_calls),
                choice.finish_reason,
                found.usage,
                found.model,
                found.id,
                delta.refusal,
                delta.reasoning_content or delta.reasoning,
                choice.logprobs,
            )
    return data


def _deltas(calls: list[CalledDelta]) -> tuple[ToolCallDelta, ...]:
    return tuple(
        ToolCallDelta(call.index, call.id or None)
        if (function := call.function) is None
        else ToolCallDelta(
            call.index, call.id or None, function.name or None, _text(function.arguments)
        )
        for call in calls
    )


def _uncommon(data: bytes) -> ChatChunk:
    """Read a piece that `read_chunk` left; raises as msgspec does, and what it says itself."""
    try:
        found = _chunk(data)
    except msgspec.ValidationError:
        found = _again(data, Chunk)
    if found.error:
        raise said_no(found.error)
    choice = next((each for each in found.choices if each.index == 0), None)
    if choice is None:  # usage alone, or a choice that was not asked for
        return ChatChunk(usage=found.usage, model=found.model, id=found.id)
    delta = choice.delta
    return ChatChunk(
        delta.content or "",
        _deltas(delta.tool_calls or []),
        choice.finish_reason,
        found.usage,
        found.model,
        found.id,
        delta.refusal,
        delta.reasoning_content or delta.reasoning,
        choice.logprobs,
    )


class OpenAIReader(Reader):
    """Reads a stream that ends with `[DONE]`, and with nothing else."""

    __slots__ = ()

    def decode(self, data: bytes) -> object:
        return read_chunk(data)

    def take(self, event: Event[Any]) -> list[Step]:
        if isinstance(event.data, ChatChunk):
            if event.event != "error":
                return [event.data]
            return [said_no(None)]
        data: bytes = event.data.strip()
        if event.event == "error":
            return [_error_event(data)]
        if not data:
            return []
        try:
            return [_uncommon(data)]
        except OstiaryError as error:
            return [error.with_traceback(None)]
        except _UNREADABLE as error:
            problem = type(error)
            failure = _unreadable(error)
        if data == b"[DONE]":
            return [END]
        if not issubclass(problem, msgspec.ValidationError) and b"\n" in data:
            # Objects on lines of their own with no blank line between them are one each.
            found: list[Step] = []
            for line in filter(None, map(bytes.strip, data.split(b"\n"))):
                found += self.take(Event("message", line))
                if not isinstance(found[-1], ChatChunk):
                    break
            return found
        return [failure]


def _error_event(data: bytes) -> OstiaryError:
    try:
        found = _decode_any(data)
    except _UNREADABLE:
        found = None
    if isinstance(found, dict):
        members = cast("dict[str, Any]", found)
        return said_no(members.get("error") or members)
    return said_no(cast("object", found))


def _unreadable(problem: Exception) -> OstiaryError:
    error = adopt(unreadable("an event of the stream", problem), FAMILY)
    return error.with_traceback(None)


# --- vectors


def read_embeddings(body: Any) -> Embeddings:
    """Read vectors and put them in the order of their texts; raises as `read_reply` does."""
    try:
        found = _vectors(body)
    except msgspec.ValidationError:
        found = _again(body, Vectors)
    if found.error:
        raise said_no(found.error)
    vectors: list[list[float] | None] = [None] * len(found.data)
    for each in found.data:
        if not 0 <= each.index < len(vectors) or vectors[each.index] is not None:
            raise GatewayProtocolError(
                f"the reply's {len(vectors)} embeddings do not have the numbers 0 to "
                f"{len(vectors) - 1} once each (index {each.index})",
                sent=True,
            )
        vector = each.embedding
        vectors[each.index] = _floats(vector) if isinstance(vector, str) else vector
    return Embeddings(cast("list[list[float]]", vectors), found.usage, found.model)


def _floats(text: str) -> list[float]:
    """Decode a vector that came as base64: 32-bit floats, the least significant byte first."""
    found = array("f")
    try:
        found.frombytes(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        found = array("f")
    if not found:
        raise GatewayProtocolError(
            "an embedding is text, but not the base64 of 32-bit floats", sent=True
        )
    if sys.byteorder == "big":
        found.byteswap()
    return found.tolist()


# --- without a client


def parse_reply(data: bytes | str) -> ChatReply[Any]:
    """Read the body of a 200 to a chat; `GatewayError` when it is none, or says no."""
    return _parsed(data, read_reply, "the reply")


def parse_embeddings(data: bytes | str) -> Embeddings:
    """Read the body of a 200 to a request for embeddings; `GatewayError` when it is none."""
    return _parsed(data, read_embeddings, "the reply")


def parse_chunk(data: bytes | str) -> ChatChunk | None:
    """Read the data of one event of a stream; None for `[DONE]` and for none.

    Raises `GatewayError` for what is no chunk, and for an error the stream tells.
    """
    data = data.encode() if isinstance(data, str) else data
    steps = OpenAIReader().take(Event("message", data))
    if not steps or steps[0] is END:
        return None
    if isinstance(step := steps[0], ChatChunk):
        return step
    raise cast("OstiaryError", step)


def _parsed(data: bytes | str, read: Callable[[Any], T], what: str) -> T:
    try:
        return read(data)
    except _UNREADABLE as error:
        failure = unreadable(what, error, empty=not data)
    del data  # a traceback records the locals of the frame that raises
    raise adopt(failure, FAMILY)


class OpenAI(Dialect):
    """The dialect, with the routes it is spoken on."""

    def __init__(self, chat: Route[Any], chat_stream: Route[Any], embeddings: Route[Any]) -> None:
        self._chat = chat
        self._chat_stream = chat_stream
        self._embeddings = embeddings

    def chat(self, body: Mapping[str, Any], *, stream: bool) -> Call:
        if not stream:
            return Call(self._chat, body)
        # Without it a stream tells no usage. A body that has it, even as None, decides itself.
        sent = {"stream_options": {"include_usage": True}, **body, "stream": True}
        if sent["stream_options"] is None:
            del sent["stream_options"]
        return Call(self._chat_stream, sent)

    def embed(self, body: Mapping[str, Any]) -> Call:
        return Call(self._embeddings, body)

    def reader(self) -> Reader:
        return OpenAIReader()
