"""What goes to a model and what comes back: messages, tool calls, replies, chunks, vectors.

The shapes are flat and one for all providers; `dialects` knows what each writes on the wire.
Nothing here sends. Neighbours: `schema.py` for tools and structured output, `stream.py`.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any, Final, Generic, Literal, TypeVar, cast

import msgspec

from .._decoders import decoder_of
from .errors import GatewayArgumentError

__all__ = [
    "ChatChunk",
    "ChatReply",
    "Embeddings",
    "FinishReason",
    "InvalidToolCall",
    "Message",
    "Part",
    "Role",
    "ToolCall",
    "ToolCallDelta",
    "Usage",
    "image",
]

T = TypeVar("T")

Role = Literal["system", "developer", "user", "assistant", "tool"]
FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]
Part = Mapping[str, Any]
"""One part of a message's content, as OpenAI writes it: text, image_url, input_audio, file."""

ROLES: Final = frozenset({"system", "developer", "user", "assistant", "tool"})

_object: Final = decoder_of(dict[str, Any]).decode


class ToolCall(msgspec.Struct, frozen=True, gc=False):
    """A call the model wants made. `arguments` is the JSON text of an object, as sent."""

    id: str
    name: str
    arguments: str = "{}"

    def json(self) -> dict[str, Any]:
        """Return the arguments, decoded; those of a tool that has none may be empty text.

        Raises `GatewayArgumentError` when they are no JSON object. The calls of a reply are.
        """
        if (found := arguments_of(self.arguments)) is None:
            raise GatewayArgumentError(
                f"the arguments of the call of {self.name!r} are no JSON object; tell the model "
                "so in a tool message"
            )
        return found

    def result(self, content: str | Sequence[Part]) -> Message:
        """Return the message that tells the model what came of this call."""
        return Message.tool(self.id, content)


class InvalidToolCall(msgspec.Struct, frozen=True, gc=False):
    """A call that cannot be made, kept as it came; `error` says what is wrong with it."""

    id: str
    name: str
    arguments: str
    error: str

    def result(self, content: str | None = None) -> Message:
        """Return the message that tells the model of its mistake, so that it can try again."""
        return Message.tool(self.id, self.error if content is None else content)


class ToolCallDelta(msgspec.Struct, frozen=True, gc=False, repr_omit_defaults=True):
    """A fragment of a call in a stream. Those of one `index` make one call.

    `id` and `name` come with the first fragment and are None in the others; the pieces of
    `arguments` are joined.
    """

    index: int = 0
    id: str | None = None
    name: str | None = None
    arguments: str = ""


class Usage(msgspec.Struct, frozen=True, gc=False, repr_omit_defaults=True):
    """The tokens one call used, as the provider counts them."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    prompt_tokens_details: dict[str, Any] | None = None
    completion_tokens_details: dict[str, Any] | None = None

    @property
    def details(self) -> dict[str, int]:
        """Every count below the two detail members that is a whole number, by its name.

        Such as `cached_tokens` and `reasoning_tokens`. A name that stands in both is told of
        both, with `prompt_` and `completion_` before it.
        """
        found: dict[str, int] = {}
        twice = set(self.prompt_tokens_details or ()) & set(self.completion_tokens_details or ())
        for prefix, details in (
            ("prompt_", self.prompt_tokens_details),
            ("completion_", self.completion_tokens_details),
        ):
            for name, value in (details or {}).items():
                if isinstance(value, int) and not isinstance(value, bool):
                    found[prefix + name if name in twice else name] = value
        return found

    @property
    def cached_tokens(self) -> int:
        """How many of the prompt's tokens came from the provider's cache."""
        return _count(self.prompt_tokens_details, "cached_tokens")

    @property
    def reasoning_tokens(self) -> int:
        """How many of the completion's tokens were thought and not said."""
        return _count(self.completion_tokens_details, "reasoning_tokens")

    def __add__(self, other: Usage) -> Usage:
        if not isinstance(other, Usage):
            return NotImplemented
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.total_tokens + other.total_tokens,
            _sums(self.prompt_tokens_details, other.prompt_tokens_details),
            _sums(self.completion_tokens_details, other.completion_tokens_details),
        )


class Message(msgspec.Struct, frozen=True, omit_defaults=True, repr_omit_defaults=True):
    """One message of a conversation.

    `content` is text, or parts: `Message.user("what is this?", image(data))`. None is for an
    assistant that only called tools. Made by the class methods or directly.
    """

    role: Role
    content: str | Sequence[Part] | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    name: str | None = None

    @classmethod
    def system(cls, content: str) -> Message:
        """Return what the model is told to be."""
        return cls("system", content)

    @classmethod
    def user(cls, *content: str | Part, name: str | None = None) -> Message:
        """Return what somebody says: one text, or several texts and parts."""
        if len(content) == 1 and isinstance(content[0], str):
            return cls("user", content[0], name=name)
        parts = tuple({"type": "text", "text": x} if isinstance(x, str) else x for x in content)
        return cls("user", parts, name=name)

    @classmethod
    def assistant(cls, content: str | None = None, tool_calls: Sequence[ToolCall] = ()) -> Message:
        """Return what the model said before."""
        return cls("assistant", content, tuple(tool_calls))

    @classmethod
    def tool(cls, tool_call_id: str, content: str | Sequence[Part]) -> Message:
        """Return what came of a tool call."""
        return cls("tool", content, tool_call_id=tool_call_id)


def image(source: str | bytes, media_type: str | None = None, *, detail: str | None = None) -> Part:
    """Return an image as a part of a message: a URL, or the bytes of a PNG, JPEG, GIF or WebP.

    `media_type` is needed for bytes of another kind. `detail` is `low`, `high` or `auto`.
    """
    if isinstance(source, bytes):
        kind = media_type or _media_type(source)
        if kind is None:
            raise GatewayArgumentError("the image's kind cannot be told; give media_type")
        source = f"data:{kind};base64,{base64.b64encode(source).decode('ascii')}"
    elif not isinstance(source, str) or not source.startswith(("https://", "http://", "data:")):
        raise GatewayArgumentError("an image is bytes, or a URL with https:, http: or data:")
    url: dict[str, str] = {"url": source}
    if detail is not None:
        url["detail"] = detail
    return {"type": "image_url", "image_url": url}


class ChatReply(msgspec.Struct, Generic[T], frozen=True):
    """A model's whole reply.

    `finish_reason` is one of `FinishReason`, or a provider's own word. `parsed` is the object
    that `response_format` asked for. `refusal` is what the model said in place of an answer,
    `reasoning` what it shows of its thinking, `logprobs` what was asked for by
    `extra={"logprobs": True}`. `body` is the reply as received, empty for one that was
    gathered from a stream; `raw` decodes it.
    """

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    invalid_tool_calls: tuple[InvalidToolCall, ...] = ()
    finish_reason: str | None = None
    usage: Usage | None = None
    model: str = ""
    id: str = ""
    refusal: str | None = None
    reasoning: str | None = None
    logprobs: dict[str, Any] | None = None
    parsed: T | None = None
    body: bytes = b""

    @property
    def message(self) -> Message:
        """This reply as a message, to go on from."""
        # A call that cannot be made was made nonetheless: the model is told of it by its id.
        bad = tuple(ToolCall(x.id, x.name, x.arguments) for x in self.invalid_tool_calls)
        return Message("assistant", self.text or None, self.tool_calls + bad)

    def raw(self) -> dict[str, Any]:
        """Return the body, decoded, with all that has no member here; empty for a stream's."""
        return _object(self.body) if self.body else {}

    def __repr__(self) -> str:
        inner = ", ".join(f"{name}={value!r}" for name, value in self._shown())
        return f"ChatReply({inner})"

    def _shown(self) -> list[tuple[str, Any]]:
        # Without the body, which says all of it again, and what is not there.
        return [
            (name, value)
            for name in self.__struct_fields__
            if name != "body" and (value := getattr(self, name)) not in (None, "", ())
        ]


class ChatChunk(msgspec.Struct, frozen=True, gc=False, repr_omit_defaults=True):
    """A piece of a reply, as it came. `usage` is in the last, or nearly last, one alone."""

    text: str = ""
    tool_calls: tuple[ToolCallDelta, ...] = ()
    finish_reason: str | None = None
    usage: Usage | None = None
    model: str = ""
    id: str = ""
    refusal: str | None = None
    reasoning: str | None = None
    logprobs: dict[str, Any] | None = None


class Embeddings(msgspec.Struct, frozen=True, gc=False):
    """Vectors, in the order of the texts; `usage` is of all the requests it took."""

    vectors: list[list[float]]
    usage: Usage = Usage()
    model: str = ""

    def __repr__(self) -> str:
        width = len(self.vectors[0]) if self.vectors else 0
        return f"<Embeddings of {self.model or 'a model'}, {len(self.vectors)} vectors of {width}>"


def arguments_of(text: str) -> dict[str, Any] | None:
    """Return a call's arguments, or None when they are no JSON object."""
    # A tool without parameters is called with nothing at all by several models.
    if not text or text.isspace():
        return {}
    try:
        return _object(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


def sorted_calls(
    calls: Sequence[ToolCall],
) -> tuple[tuple[ToolCall, ...], tuple[InvalidToolCall, ...]]:
    """Part the calls that can be made from those that cannot; both in their order."""
    good: list[ToolCall] = []
    bad: list[InvalidToolCall] = []
    for call in calls:
        if not call.name:
            problem = "the call names no tool"
        elif arguments_of(call.arguments) is None:
            problem = "the arguments are no JSON object"
        else:
            good.append(call)
            continue
        bad.append(InvalidToolCall(call.id, call.name, call.arguments, problem))
    return tuple(good), tuple(bad)


_MAGIC: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
)


def _media_type(data: bytes) -> str | None:
    for magic, kind in _MAGIC:
        if data.startswith(magic):
            return kind
    return "image/webp" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else None


def _count(details: dict[str, Any] | None, name: str) -> int:
    value = (details or {}).get(name)
    return value if isinstance(value, int) else 0


def _sums(one: dict[str, Any] | None, other: dict[str, Any] | None) -> dict[str, Any] | None:
    if not one or not other:
        return one or other
    both = dict(one)
    for name, value in other.items():
        before = both.get(name)
        both[name] = cast("int", before) + value if _number(before) and _number(value) else value
    return both


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
