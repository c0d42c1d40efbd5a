"""The shapes of the OpenAI wire: requests as Structs, refusals as its error object.

What is not named here is passed over, as new members appear every month. Neighbours:
`endpoints` reads and answers, `echo` works on what was read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, TypeVar

import msgspec
from starlette.requests import Request
from starlette.types import Message as AsgiMessage

from ..._decoders import convert, decoder_of
from ..http.refusals import HttpRefusal

__all__ = [
    "ChatBody",
    "EmbeddingsBody",
    "Message",
    "Part",
    "ResponseFormat",
    "ToolCall",
    "bounded",
    "decode",
    "document",
    "error_object",
    "gateway_error",
    "invalid",
]

T = TypeVar("T")

_TYPES: Final[Mapping[int, str]] = {
    400: "invalid_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    408: "timeout",
    413: "too_large",
    429: "rate_limited",
    502: "upstream_error",
    503: "unavailable",
    504: "timeout",
}
# What the front refuses for every domain, in this one's words.
_CODES: Final[Mapping[str, str]] = {
    "PAYLOAD_TOO_LARGE": "too_large",
    "BAD_REQUEST": "invalid_request",
    "UNSUPPORTED_MEDIA_TYPE": "invalid_request",
}

_DOCUMENT: Final = decoder_of(dict[str, Any])

_encode = msgspec.json.Encoder().encode


class _Function(msgspec.Struct):
    name: str
    arguments: str = "{}"


class ToolCall(msgspec.Struct):
    """A call in an assistant's message."""

    id: str
    function: _Function


class _ToolFunction(msgspec.Struct):
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None


class Tool(msgspec.Struct):
    """A tool that the model may call."""

    function: _ToolFunction
    type: Literal["function"] = "function"


class Part(msgspec.Struct):
    """One part of a message that is more than text."""

    type: Literal["text", "image_url", "input_audio", "file", "refusal"]
    text: str | None = None
    refusal: str | None = None


class Message(msgspec.Struct):
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[Part] | None = None
    name: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    refusal: str | None = None

    @property
    def text(self) -> str:
        """The message's words; what is no text has none."""
        if self.content is None or isinstance(self.content, str):
            return self.content or ""
        return "\n".join(part.text or "" for part in self.content if part.type == "text")

    def count(self, kind: str) -> int:
        """Count the parts of one type."""
        if not isinstance(self.content, list):
            return 0
        return sum(part.type == kind for part in self.content)


class _JsonSchema(msgspec.Struct):
    name: str
    schema: dict[str, Any] | None = None
    strict: bool | None = None


class ResponseFormat(msgspec.Struct):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: _JsonSchema | None = None


class _Named(msgspec.Struct):
    name: str


class _Choice(msgspec.Struct):
    function: _Named
    type: Literal["function"] = "function"


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class ChatBody(msgspec.Struct):
    """What a chat completion is asked with."""

    model: str
    messages: list[Message]
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    tools: list[Tool] | None = None
    tool_choice: Literal["none", "auto", "required"] | _Choice | None = None
    response_format: ResponseFormat | None = None
    stop: str | list[str] | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    n: int | None = None
    reasoning_effort: str | None = None


class EmbeddingsBody(msgspec.Struct):
    """What vectors are asked with; tokens are numbers of a vocabulary of the caller's."""

    model: str
    input: str | list[str | int | list[int]]
    dimensions: int | None = None
    encoding_format: Literal["float", "base64"] | None = None


def bounded(request: Request, limit: int) -> Request:
    """Return the request with a body that raises the 413 once it is longer than `limit`.

    One that announces more is refused here.
    """
    announced = request.headers.get("content-length", "0")
    if len(announced) > 18 or int(announced) > limit:
        raise _too_large(limit)
    total = 0

    async def receive() -> AsgiMessage:
        nonlocal total
        message = await request.receive()
        total += len(message.get("body", b""))
        if total > limit:
            raise _too_large(limit)
        return message

    return Request(request.scope, receive)


def document(body: bytes) -> dict[str, Any]:
    """Return the body as a JSON object, whose `model` is text."""
    problem: str | None = None
    found: dict[str, Any] = {}
    try:
        found = _DOCUMENT.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        problem = "the body is not a JSON object"
    except RecursionError:
        problem = "the body is nested too deeply"
    if problem is not None:
        raise invalid(None, f"{problem}; send one")
    if not isinstance(found.get("model"), str) or not found["model"]:
        raise invalid("model", "model is missing or no text; name the model without its provider")
    return found


def decode(found: dict[str, Any], kind: type[T]) -> T:
    """Return the document as `kind`; 400 says which member does not fit."""
    try:
        return convert(found, kind)
    except msgspec.ValidationError as error:
        problem = str(error)  # names the member and the types, never a value
    what, _, where = problem.partition(" - at `$")
    field = where.rstrip("`").lstrip(".") or None
    if field is None and "required field" in what:
        field = what.rpartition("field `")[2].rstrip("`")
    raise invalid(field, problem)


def invalid(param: str | None, message: str) -> HttpRefusal:
    return HttpRefusal(400, "invalid_request", message, details={"param": param})


def _too_large(limit: int) -> HttpRefusal:
    return HttpRefusal(413, "too_large", f"the body is longer than {limit} bytes; send less")


def error_object(status: int, code: str, message: str, param: object = None) -> dict[str, Any]:
    """Return the error object that unary answers and streams share."""
    kind = _TYPES.get(status, "invalid_request" if status < 500 else "internal_error")
    return {"error": {"message": message, "type": kind, "code": code, "param": param}}


def gateway_error(refusal: HttpRefusal) -> bytes:
    """Write a refusal as the wire's error object."""
    code = _CODES.get(refusal.code, refusal.code.lower())
    param = (refusal.details or {}).get("param")
    return _encode(error_object(refusal.status, code, refusal.message, param))
