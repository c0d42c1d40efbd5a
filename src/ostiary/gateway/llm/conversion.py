"""LangChain messages to OpenAI's, and replies and chunks to LangChain's.

Every gateway takes OpenAI's chat format, whatever the provider behind it. Blocks of LangChain's
own formats and of Anthropic's become OpenAI's; a model's thinking has no place there and is left
out. Nothing here sends. Neighbours: `gateway_chat`, `structured`.
"""

from __future__ import annotations

from . import _langchain as _langchain  # says what to install when it is not there

# isort: split
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, cast

from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.messages.ai import InputTokenDetails, OutputTokenDetails, UsageMetadata
from langchain_core.messages.tool import (
    ToolCallChunk,
    invalid_tool_call,
    tool_call,
    tool_call_chunk,
)
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from ..errors import GatewayArgumentError
from ..models import ChatChunk, ChatReply, InvalidToolCall, ToolCall, ToolCallDelta, Usage

__all__ = [
    "Fragments",
    "chunk_of",
    "messages_to_dicts",
    "result_of",
    "usage_metadata_of",
]

Wire = dict[str, Any]

_ROLES: Final[Mapping[str, str]] = {
    "system": "system",
    "developer": "developer",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "ai": "assistant",
    "tool": "tool",
    "function": "function",
}

# What the assistant's own blocks say in other members, or may not be told again.
_THOUGHTS: Final = frozenset({"thinking", "redacted_thinking", "reasoning", "reasoning_content"})
_CALLS: Final = frozenset(
    {"tool_use", "tool_call", "tool_call_chunk", "invalid_tool_call", "function_call"}
)


def messages_to_dicts(messages: Sequence[BaseMessage]) -> list[Wire]:
    """Return messages as OpenAI's chat format has them, in their order.

    A message of text alone becomes exactly `role` and `content`, with `name` when it has one.
    Raises `GatewayArgumentError` for a kind of message that has no role there.
    """
    return [wire for message in messages for wire in _wires(message)]


def _wires(message: BaseMessage) -> Iterator[Wire]:
    if isinstance(message, ToolMessage):
        yield _tool_result(message.tool_call_id, message.content)
    elif isinstance(message, AIMessage):
        yield _assistant(message)
    elif isinstance(message, HumanMessage):
        yield from _user(message)
    elif isinstance(message, SystemMessage):
        # LangChain's own convention for the role that took system's place.
        role = message.additional_kwargs.get("__openai_role__", "system")
        yield _plain(str(role), message)
    elif isinstance(message, FunctionMessage):
        yield {"role": "function", "name": message.name, "content": _parts(message.content)}
    elif isinstance(message, ChatMessage):
        role = _ROLES.get(message.role.lower(), "")
        if not role:
            raise GatewayArgumentError(
                f"a message has the role {message.role[:40]!r}; a model knows system, developer, "
                "user, assistant and tool"
            )
        yield _plain(role, message)
    else:
        raise GatewayArgumentError(
            f"{type(message).__name__} is no message a model can be sent; make it a "
            "HumanMessage, AIMessage, SystemMessage, ToolMessage or ChatMessage"
        )


def _plain(role: str, message: BaseMessage) -> Wire:
    wire: Wire = {"role": role, "content": _parts(message.content)}
    if message.name:
        wire["name"] = message.name
    return wire


def _tool_result(call_id: str, content: Any) -> Wire:
    return {"role": "tool", "tool_call_id": call_id, "content": _parts(content)}


def _user(message: HumanMessage) -> Iterator[Wire]:
    content = message.content
    if isinstance(content, list):
        results = [
            block
            for block in content
            if isinstance(block, dict) and block.get("type") == "tool_result"
        ]
        # What tools answered is a user's block at Anthropic's, and a message at OpenAI's.
        for block in results:
            yield _tool_result(str(block.get("tool_use_id", "")), block.get("content") or "")
        rest = [block for block in content if block not in results]
        if results and not rest:
            return
        message = message.model_copy(update={"content": rest})
    yield _plain("user", message)


def _assistant(message: AIMessage) -> Wire:
    texts: list[str] = []
    refusal = message.additional_kwargs.get("refusal")
    others: list[Wire] = []
    for block in [message.content] if isinstance(message.content, str) else message.content:
        if isinstance(block, str):
            texts.append(block)
            continue
        kind = block.get("type")
        if kind == "text":
            texts.append(str(block.get("text", "")))
        elif kind == "refusal":
            refusal = block.get("refusal")
        elif kind == "non_standard" and "refusal" in (value := _mapping(block.get("value"))):
            refusal = value["refusal"]
        elif kind not in _THOUGHTS and kind not in _CALLS:
            others.append(_part(block))
    text = "".join(texts)
    wire: Wire = {"role": "assistant", "content": text}
    if others:
        before = [{"type": "text", "text": text}] if text else []
        wire["content"] = [*before, *others]
    if calls := _calls_of(message):
        wire["tool_calls"] = calls
    if refusal:
        wire["refusal"] = refusal
    if message.name:
        wire["name"] = message.name
    return wire


def _calls_of(message: AIMessage) -> list[Wire]:
    """Return the calls an assistant made, those included that could not be read."""
    calls = [_call(one["id"], one["name"], _json(one["args"])) for one in message.tool_calls]
    # Each call has its answer by its id; without the call the answer would be refused.
    calls += [
        _call(one["id"], one["name"] or "", one["args"] or "{}")
        for one in message.invalid_tool_calls
    ]
    if not calls and not isinstance(message.content, str):
        blocks = [_mapping(block) for block in message.content]
        calls = [
            _call(one.get("id"), str(one.get("name", "")), _json(one.get("input") or {}))
            for one in blocks
            if one.get("type") == "tool_use"
        ]
    if not calls:
        # Messages that other integrations made, or that were read from a store.
        kept = message.additional_kwargs.get("tool_calls")
        found = cast("list[object]", kept) if isinstance(kept, list) else []
        return [dict(_mapping(each)) for each in found]
    return calls


def _call(call_id: str | None, name: str, arguments: str) -> Wire:
    return {
        "id": call_id or "",
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }


def _json(value: object) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as error:
        problem = type(error).__name__
    raise GatewayArgumentError(f"a tool call's arguments are no JSON ({problem}); mend the message")


def _mapping(value: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


# --- parts of a message


def _parts(content: Any) -> Any:
    if not isinstance(content, list):
        return content
    parts = cast("list[object]", content)
    return [
        {"type": "text", "text": one} if isinstance(one, str) else _part(_mapping(one))
        for one in parts
        if isinstance(one, str) or _mapping(one).get("type") not in _THOUGHTS
    ]


def _part(block: Mapping[str, Any]) -> Wire:
    convert = _CONVERTED.get(str(block.get("type", "")))
    return dict(block) if convert is None else convert(block)


def _text(block: Mapping[str, Any]) -> Wire:
    wire = {"type": "text", "text": block.get("text", "")}
    if "cache_control" in block:
        wire["cache_control"] = block["cache_control"]
    return wire


def _image(block: Mapping[str, Any]) -> Wire:
    url: Wire = {"url": _url(block, "image/png")}
    extras = _mapping(block.get("extras"))
    if (detail := block.get("detail") or extras.get("detail")) is not None:
        url["detail"] = detail
    return {"type": "image_url", "image_url": url}


def _audio(block: Mapping[str, Any]) -> Wire:
    media_type, data = _data(block)
    if data is None:
        raise GatewayArgumentError(
            "a message has audio without its data; give base64 and mime_type, as a model fetches "
            "no audio"
        )
    subtype = (media_type or "audio/wav").partition("/")[2]
    word = {"mpeg": "mp3", "x-wav": "wav", "wave": "wav"}.get(subtype, subtype)
    return {"type": "input_audio", "input_audio": {"data": data, "format": word}}


def _file(block: Mapping[str, Any]) -> Wire:
    if isinstance(block.get("file"), Mapping):
        return {"type": "file", "file": dict(_mapping(block["file"]))}
    identifier = block.get("file_id") or (
        block.get("id") if block.get("source_type") == "id" else None
    )
    if identifier:
        return {"type": "file", "file": {"file_id": identifier}}
    extras = _mapping(block.get("extras")) or _mapping(block.get("metadata"))
    name = block.get("filename") or extras.get("filename") or extras.get("name")
    media_type, data = _data(block)
    if data is None:
        raise GatewayArgumentError(
            "a message has a file without its data; give base64 and mime_type, or file_id, as a "
            "model fetches no files"
        )
    # Providers refuse a file that has no name.
    suffix = (media_type or "application/pdf").partition("/")[2]
    return {
        "type": "file",
        "file": {
            "filename": name or f"file.{suffix if suffix.isalnum() else 'bin'}",
            "file_data": f"data:{media_type or 'application/pdf'};base64,{data}",
        },
    }


def _document(block: Mapping[str, Any]) -> Wire:
    source = _mapping(block.get("source"))
    if source.get("type") == "text":
        return {"type": "text", "text": source.get("data", "")}
    return _file({**block, "filename": block.get("title")})


def _plain_text(block: Mapping[str, Any]) -> Wire:
    return {"type": "text", "text": block.get("text") or block.get("data") or ""}


def _non_standard(block: Mapping[str, Any]) -> Wire:
    return dict(_mapping(block.get("value")))


def _data(block: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Return media type and base64 text of a block of LangChain's two formats or Anthropic's."""
    source = _mapping(block.get("source"))
    if source.get("type") == "base64":
        return source.get("media_type"), source.get("data")
    media_type = block.get("mime_type")
    if isinstance(found := block.get("base64"), str):
        return media_type, found
    if block.get("source_type") == "base64":
        return media_type, block.get("data")
    return media_type, None


def _url(block: Mapping[str, Any], media_type: str) -> str:
    given, data = _data(block)
    if data is not None:
        return f"data:{given or media_type};base64,{data}"
    url = block.get("url") or _mapping(block.get("source")).get("url")
    if not isinstance(url, str):
        raise GatewayArgumentError(
            "a message has an image without url or base64; give one of the two"
        )
    return url


_CONVERTED: Final[Mapping[str, Callable[[Mapping[str, Any]], Wire]]] = {
    "text": _text,
    "image": _image,
    "audio": _audio,
    "file": _file,
    "document": _document,
    "text-plain": _plain_text,
    "non_standard": _non_standard,
}


# --- replies


def result_of(reply: ChatReply[Any], model: str) -> ChatResult:
    """Return a reply as LangChain's result; `model` stands in for a name the reply lacks."""
    name = reply.model or model
    extra: dict[str, Any] = {}
    if reply.refusal is not None:
        extra["refusal"] = reply.refusal
    if reply.reasoning:
        extra["reasoning_content"] = reply.reasoning
    metadata = _metadata(name, reply.id) | _said_besides(reply.raw())
    if reply.logprobs is not None:
        metadata["logprobs"] = reply.logprobs
    message = AIMessage(
        content=reply.text,
        additional_kwargs=extra,
        tool_calls=[_good(call) for call in reply.tool_calls],
        invalid_tool_calls=[_bad(call) for call in reply.invalid_tool_calls],
        usage_metadata=usage_metadata_of(reply.usage),
        response_metadata=metadata,
    )
    info: dict[str, Any] = {"model": name, "finish_reason": reply.finish_reason}
    output: dict[str, Any] = {"model_name": name}
    if reply.usage is not None:
        info["usage"] = output["token_usage"] = _counts(reply.usage)
    return ChatResult(
        generations=[ChatGeneration(message=message, generation_info=info)], llm_output=output
    )


def chunk_of(
    chunk: ChatChunk, fragments: Fragments, model: str | None
) -> ChatGenerationChunk | None:
    """Return a piece of a stream as LangChain's, or None for one that says nothing.

    `model` is the name to tell, in one chunk of a stream alone: when chunks are added up, text
    that stands in two of them is joined.
    """
    more = (
        chunk.tool_calls or chunk.finish_reason or chunk.usage or chunk.refusal or chunk.reasoning
    )
    if not more:
        if not chunk.text:
            return None
        if model is None and chunk.logprobs is None:
            return _text_chunk(chunk.text)
    extra: dict[str, Any] = {}
    if chunk.refusal:
        extra["refusal"] = chunk.refusal
    if chunk.reasoning:
        extra["reasoning_content"] = chunk.reasoning
    info: dict[str, Any] = {}
    if chunk.finish_reason:
        info["finish_reason"] = chunk.finish_reason
    if chunk.logprobs is not None:
        info["logprobs"] = chunk.logprobs
    message = AIMessageChunk(
        content=chunk.text,
        additional_kwargs=extra,
        tool_call_chunks=fragments.taken(chunk.tool_calls),
        usage_metadata=usage_metadata_of(chunk.usage),
        response_metadata={} if model is None else _metadata(model, chunk.id),
    )
    return ChatGenerationChunk(message=message, generation_info=info or None)


_NOTHING: Final = AIMessageChunk(content="")
_NOTHING_SAID: Final = ChatGenerationChunk(message=_NOTHING)


def _text_chunk(text: str) -> ChatGenerationChunk:
    """Return a piece that is text alone, as most are.

    A copy with its own empty fields: having them validated for every token costs half as much
    again as the rest of the piece.
    """
    message = _NOTHING.model_copy(
        update={
            "content": text,
            "additional_kwargs": {},
            "response_metadata": {},
            "tool_calls": [],
            "invalid_tool_calls": [],
            "tool_call_chunks": [],
        }
    )
    return _NOTHING_SAID.model_copy(update={"text": text, "message": message})


class Fragments:
    """Puts the fragments of a stream's tool calls so that LangChain joins the right ones.

    It joins by index, and names like any other text; some servers give all calls one index, or
    repeat the name in every fragment.
    """

    def __init__(self) -> None:
        self._at: dict[int, tuple[int, str, str]] = {}
        self._count = 0

    def taken(self, deltas: Sequence[ToolCallDelta]) -> list[ToolCallChunk]:
        """Return fragments as LangChain's."""
        return [self._one(delta) for delta in deltas]

    def _one(self, delta: ToolCallDelta) -> ToolCallChunk:
        index, call_id, name = self._at.get(delta.index, (-1, "", ""))
        if index < 0 or (delta.id and call_id and delta.id != call_id):
            index, call_id, name = self._count, "", ""
            self._count += 1
        fragment = tool_call_chunk(
            index=index,
            id=None if call_id else delta.id,
            name=None if name else delta.name,
            args=delta.arguments,
        )
        self._at[delta.index] = index, call_id or delta.id or "", name or delta.name or ""
        return fragment


def usage_metadata_of(usage: Usage | None) -> UsageMetadata | None:
    """Return counts as LangChain names them, with the details that the provider gave."""
    if usage is None:
        return None
    prompt = usage.prompt_tokens_details or {}
    completion = usage.completion_tokens_details or {}
    found = UsageMetadata(
        input_tokens=usage.prompt_tokens,
        output_tokens=usage.completion_tokens,
        total_tokens=usage.total_tokens or usage.prompt_tokens + usage.completion_tokens,
    )
    given = _whole(
        audio=prompt.get("audio_tokens"),
        cache_read=prompt.get("cached_tokens"),
        cache_creation=prompt.get("cache_creation_tokens", prompt.get("cache_write_tokens")),
    )
    if given:
        found["input_token_details"] = InputTokenDetails(**given)  # type: ignore[typeddict-item]
    made = _whole(
        audio=completion.get("audio_tokens"), reasoning=completion.get("reasoning_tokens")
    )
    if made:
        found["output_token_details"] = OutputTokenDetails(**made)  # type: ignore[typeddict-item]
    return found


def _whole(**counts: Any) -> dict[str, int]:
    return {name: count for name, count in counts.items() if isinstance(count, int)}


def _counts(usage: Usage) -> dict[str, Any]:
    counts: dict[str, Any] = {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }
    if usage.prompt_tokens_details is not None:
        counts["prompt_tokens_details"] = usage.prompt_tokens_details
    if usage.completion_tokens_details is not None:
        counts["completion_tokens_details"] = usage.completion_tokens_details
    return counts


def _metadata(model: str, reply_id: str) -> dict[str, Any]:
    # Not the message's own id: a provider may repeat one, and LangGraph then drops a message.
    return {"model_name": model, "id": reply_id} if reply_id else {"model_name": model}


def _said_besides(body: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: body[name]
        for name in ("system_fingerprint", "service_tier")
        if body.get(name) is not None
    }


def _good(call: ToolCall) -> Any:
    return tool_call(id=call.id, name=call.name, args=call.json())


def _bad(call: InvalidToolCall) -> Any:
    return invalid_tool_call(id=call.id, name=call.name, args=call.arguments, error=call.error)
