"""Google's Gemini API, for direct mode (ai.google.dev, generateContent)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final, cast
from uuid import uuid4

import msgspec

from ..._decoders import decoder_of
from ..._route import Route, unreadable
from ..._wire.sse import Event
from ...errors import adopt
from ..errors import FAMILY, GatewayArgumentError, GatewayProtocolError
from ..models import (
    ChatChunk,
    ChatReply,
    Embeddings,
    ToolCall,
    ToolCallDelta,
    Usage,
    arguments_of,
    sorted_calls,
)
from ..refusals import refusal
from ..stream import said_no
from . import Call, Dialect, Reader, Step, taken

__all__ = ["GOOGLE"]

_NOT_HERE: Final = (
    *("reasoning_effort", "logprobs", "top_logprobs", "logit_bias", "user", "service_tier"),
)
_OURS: Final = frozenset(
    {"model", "messages", "tools", "tool_choice", "parallel_tool_calls", "stream_options"}
    | {"max_tokens", "max_completion_tokens", "stop", "response_format", "generationConfig"}
)
# Ours to theirs; those that are not there are sent as they are.
_CONFIG: Final[Mapping[str, str]] = {
    "temperature": "temperature",
    "top_p": "topP",
    "seed": "seed",
    "frequency_penalty": "frequencyPenalty",
    "presence_penalty": "presencePenalty",
}
_FINISH: Final[Mapping[str, str]] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "IMAGE_SAFETY": "content_filter",
}
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


# --- what comes


class Called(msgspec.Struct, frozen=True, gc=False):
    name: str = ""
    args: dict[str, Any] | None = None
    id: str | None = None


class Part(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    text: str = ""
    thought: bool = False
    function_call: Called | None = None


class Content(msgspec.Struct, frozen=True, gc=False):
    parts: list[Part] = []


class Candidate(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    content: Content = Content()
    finish_reason: str | None = None
    index: int = 0


class Spent(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    prompt_token_count: int = 0
    candidates_token_count: int = 0
    total_token_count: int = 0
    thoughts_token_count: int = 0
    cached_content_token_count: int = 0
    tool_use_prompt_token_count: int = 0


class Feedback(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    block_reason: str | None = None


class Answer(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    candidates: list[Candidate] = []
    usage_metadata: Spent | None = None
    prompt_feedback: Feedback | None = None
    model_version: str = ""
    response_id: str = ""
    error: Any = None


class Vector(msgspec.Struct, frozen=True, gc=False):
    values: list[float]


class Vectors(msgspec.Struct, frozen=True, gc=False):
    embeddings: list[Vector]


_answer: Final = decoder_of(Answer).decode
_vectors: Final = decoder_of(Vectors).decode


class _Taken:
    """What one answer, or one piece of one, says."""

    __slots__ = ("calls", "finish_reason", "reasoning", "refusal", "text")

    def __init__(self, found: Answer) -> None:
        self.text = self.reasoning = ""
        self.calls: list[ToolCall] = []
        self.finish_reason: str | None = None
        self.refusal: str | None = None
        candidate = next((each for each in found.candidates if each.index == 0), None)
        if candidate is None:
            blocked = found.prompt_feedback
            if blocked is not None and blocked.block_reason is not None:
                self.finish_reason = "content_filter"
                self.refusal = f"The prompt was blocked ({blocked.block_reason})."
            return
        for part in candidate.content.parts:
            if part.function_call is not None:
                call = part.function_call
                # An id is what the tool message refers to; older models give none.
                self.calls.append(
                    ToolCall(
                        call.id or f"call_{uuid4().hex[:24]}",
                        call.name,
                        msgspec.json.encode(call.args or {}).decode(),
                    )
                )
            elif part.thought:
                self.reasoning += part.text
            else:
                self.text += part.text
        reason = candidate.finish_reason
        if reason is not None:
            self.finish_reason = _FINISH.get(reason, reason.lower())


def _usage(spent: Spent | None) -> Usage | None:
    if spent is None:
        return None
    prompt = spent.prompt_token_count + spent.tool_use_prompt_token_count
    # What is thought is paid for as what is said, and is part of it everywhere else.
    completion = spent.candidates_token_count + spent.thoughts_token_count
    cached, thought = spent.cached_content_token_count, spent.thoughts_token_count
    return Usage(
        prompt,
        completion,
        spent.total_token_count or prompt + completion,
        {"cached_tokens": cached} if cached else None,
        {"reasoning_tokens": thought} if thought else None,
    )


def read_reply(body: Any) -> ChatReply[Any]:
    """Read a whole reply; raises as msgspec does, and `GatewayError` for one that says no."""
    found = _answer(body)
    if found.error:
        raise said_no(found.error)
    said = _Taken(found)
    if said.finish_reason is None and not found.candidates:
        raise GatewayProtocolError(
            "the reply has no candidates, so that there is no answer in it", sent=True
        )
    good, bad = sorted_calls(said.calls)
    return ChatReply(
        text=said.text,
        tool_calls=good,
        invalid_tool_calls=bad,
        # Here a call is an ordinary end; everywhere else it is an end of its own.
        finish_reason="tool_calls" if good and said.finish_reason == "stop" else said.finish_reason,
        usage=_usage(found.usage_metadata),
        model=found.model_version,
        id=found.response_id,
        refusal=said.refusal,
        reasoning=said.reasoning or None,
        body=bytes(body),
    )


def read_embeddings(body: Any) -> Embeddings:
    """Read vectors, which come in the order of their texts and without usage."""
    return Embeddings([each.values for each in _vectors(body).embeddings])


class GoogleReader(Reader):
    """Reads a stream that has no end mark: it may end behind a reason to finish."""

    __slots__ = ("_calls",)

    def __init__(self) -> None:
        super().__init__()
        self._calls = 0

    def decode(self, data: bytes) -> object:
        try:
            return _answer(data)
        except _UNREADABLE:
            return data

    def take(self, event: Event[Any]) -> list[Step]:
        found = event.data
        if not isinstance(found, Answer):
            if not cast("bytes", found).strip():
                return []
            try:
                found = _answer(found)
            except _UNREADABLE as error:
                problem = error.with_traceback(None)
                failure = adopt(unreadable("an event of the stream", problem), FAMILY)
                return [failure.with_traceback(None)]
        if found.error or event.event == "error":
            return [said_no(found.error)]
        said = _Taken(found)
        deltas = tuple(
            ToolCallDelta(at, call.id, call.name, call.arguments)
            for at, call in enumerate(said.calls, self._calls)
        )
        self._calls += len(deltas)
        last = said.finish_reason
        if last is not None:
            self.ended = True
            if last == "stop" and self._calls:
                last = "tool_calls"
        return [
            ChatChunk(
                said.text,
                deltas,
                last,
                # In every event, the sum so far: of use in the last alone.
                _usage(found.usage_metadata) if last is not None else None,
                found.model_version,
                found.response_id,
                said.refusal,
                said.reasoning or None,
            )
        ]


# --- what is sent

# fmt: off
CHAT: Final[Route[ChatReply[Any]]] = Route(
    "POST", "/v1beta/models/{model}:generateContent",
    ChatReply, decode=read_reply, fail=refusal,
)
CHAT_STREAM: Final[Route[Any]] = Route(
    "POST", "/v1beta/models/{model}:streamGenerateContent",
    Any, decode=_answer, fail=refusal,
)
EMBEDDINGS: Final[Route[Embeddings]] = Route(
    "POST", "/v1beta/models/{model}:batchEmbedContents",
    Embeddings, decode=read_embeddings, fail=refusal,
)
# fmt: on


class Google(Dialect):
    """The dialect."""

    most_texts: ClassVar[int] = 100

    def chat(self, body: Mapping[str, Any], *, stream: bool) -> Call:
        taken.refuse(body, _NOT_HERE, "Google")
        if body.get("parallel_tool_calls") is False:
            raise GatewayArgumentError("Google cannot be kept from parallel tool calls")
        sent = {
            name: value for name, value in body.items() if name not in _OURS and name not in _CONFIG
        }
        system, sent["contents"] = _contents(body)
        if system:
            sent.setdefault("systemInstruction", {"parts": [{"text": system}]})
        functions, others = taken.functions_in(body)
        tools: list[Mapping[str, Any]] = list(others)
        if functions:
            tools.append({"functionDeclarations": [_tool(each) for each in functions]})
        if tools:
            sent["tools"] = tools
        if (choice := taken.choice_of(body)) is not None:
            sent["toolConfig"] = {"functionCallingConfig": _choice(*choice)}
        if config := _config(body):
            sent["generationConfig"] = config
        if stream:
            return Call(CHAT_STREAM, sent, (_model(body),), {"alt": "sse"})
        return Call(CHAT, sent, (_model(body),))

    def embed(self, body: Mapping[str, Any]) -> Call:
        taken.refuse(body, ("encoding_format", "user"), "Google")
        model = _model(body)
        more = {k: v for k, v in body.items() if k not in {"model", "input", "dimensions"}}
        if (size := body.get("dimensions")) is not None:
            more["outputDimensionality"] = size
        requests = [
            {"model": f"models/{model}", "content": {"parts": [{"text": text}]}, **more}
            for text in body["input"]
        ]
        return Call(EMBEDDINGS, {"requests": requests}, (model,))

    def reader(self) -> Reader:
        return GoogleReader()


GOOGLE: Final = Google()


def _model(body: Mapping[str, Any]) -> str:
    return str(body["model"]).removeprefix("google/").removeprefix("models/")


def _contents(body: Mapping[str, Any]) -> tuple[str, list[dict[str, Any]]]:
    """Return what the model is told to be, and the turns of the conversation."""
    system: list[str] = []
    turns: list[dict[str, Any]] = []
    names: dict[str, str] = {}
    for said in taken.messages_in(body):
        if said.role in {"system", "developer"}:
            system.append(taken.text_in(said.parts, "a system message"))
            continue
        if said.role == "tool":
            parts = [_result(said, names)]
        else:
            parts = [_part(part) for part in said.parts]
        for call in said.calls:
            names[call.id] = call.name
            arguments = arguments_of(call.arguments) or {}
            parts.append({"functionCall": {"name": call.name, "args": arguments}})
        if not parts:
            continue
        role = "model" if said.role == "assistant" else "user"
        if turns and turns[-1]["role"] == role:
            turns[-1]["parts"] += parts
        else:
            turns.append({"role": role, "parts": parts})
    return "\n\n".join(system), turns


def _result(said: taken.Said, names: Mapping[str, str]) -> dict[str, Any]:
    name = names.get(said.answers)
    if name is None:
        raise GatewayArgumentError(
            "a tool message answers a call that is not in the conversation before it"
        )
    text = taken.text_in(said.parts, "a tool message")
    found = arguments_of(text) if text.lstrip().startswith("{") else None
    response = {"result": text} if found is None else found
    return {"functionResponse": {"name": name, "response": response}}


def _part(part: Mapping[str, Any]) -> dict[str, Any]:
    if part.get("type") == "text":
        return {"text": part["text"]}
    found = taken.inline(part)
    if isinstance(found, str):
        return {"fileData": {"fileUri": found}}
    return {"inlineData": {"mimeType": found.media_type, "data": found.data}}


def _tool(function: taken.Function) -> dict[str, Any]:
    sent: dict[str, Any] = {"name": function.name, "parametersJsonSchema": function.parameters}
    if function.description:
        sent["description"] = function.description
    return sent


_CHOICES: Final[Mapping[str, str]] = {
    "auto": "AUTO",
    "none": "NONE",
    "required": "ANY",
    "named": "ANY",
}


def _choice(kind: str, name: str | None) -> dict[str, Any]:
    sent: dict[str, Any] = {"mode": _CHOICES[kind]}
    if name is not None:
        sent["allowedFunctionNames"] = [name]
    return sent


def _config(body: Mapping[str, Any]) -> dict[str, Any]:
    config: dict[str, Any] = {
        theirs: body[ours] for ours, theirs in _CONFIG.items() if body.get(ours) is not None
    }
    if (most := body.get("max_completion_tokens") or body.get("max_tokens")) is not None:
        config["maxOutputTokens"] = most
    if (stop := body.get("stop")) is not None:
        config["stopSequences"] = [stop] if isinstance(stop, str) else stop
    wanted = cast("Mapping[str, Any]", body.get("response_format") or {})
    if wanted.get("type") in {"json_object", "json_schema"}:
        config["responseMimeType"] = "application/json"
        shape = cast("Mapping[str, Any]", wanted.get("json_schema") or {})
        if (schema := shape.get("schema")) is not None:
            config["responseJsonSchema"] = schema
    # Their own members have the last word: `extra={"generationConfig": {...}}`.
    return {**config, **cast("Mapping[str, Any]", body.get("generationConfig") or {})}
