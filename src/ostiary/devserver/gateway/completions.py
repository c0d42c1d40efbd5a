"""How an answer of the built-in model is said: one document, or chunks of a stream.

Neighbours: `echo` made the answer, `endpoints` sends what is made here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from .echo import Answer, Call, tokens

__all__ = ["chunks", "completion", "usage"]

_FRAGMENT: Final = 8  # characters of a tool's arguments in one chunk


def usage(said: Answer) -> dict[str, Any]:
    """Return the usage object."""
    return {
        "prompt_tokens": said.prompt_tokens,
        "completion_tokens": said.completion_tokens,
        "total_tokens": said.prompt_tokens + said.completion_tokens,
        "prompt_tokens_details": {
            "cached_tokens": said.cached_tokens,
            "audio_tokens": said.audio_tokens,
        },
        "completion_tokens_details": {
            "reasoning_tokens": said.reasoning_tokens,
            "audio_tokens": 0,
        },
    }


def completion(said: Answer, *, id: str, model: str, created: int, original: bool) -> Any:
    """Return the whole answer; `original` puts an empty text where null is usual (C5)."""
    message: dict[str, Any] = {"role": "assistant", "content": said.content}
    if original and said.content is None:
        message["content"] = ""
    if said.calls:
        message["tool_calls"] = [_call(call, original=original) for call in said.calls]
    message["refusal"] = said.refusal
    return {
        "id": id,
        "object": "chat.completion",
        "created": created,
        "model": model,
        "choices": [
            {"index": 0, "message": message, "logprobs": None, "finish_reason": said.finish}
        ],
        "usage": usage(said),
        "system_fingerprint": "ostiary-echo-1",
    }


def _call(call: Call, *, original: bool) -> dict[str, Any]:
    arguments = call.arguments
    if original and not arguments.strip():
        arguments = "{}"
    return {
        "id": call.id,
        "type": "function",
        "function": {"name": call.name, "arguments": arguments},
    }


def chunks(
    said: Answer, *, id: str, model: str, created: int, with_usage: bool
) -> Iterator[dict[str, Any]]:
    """Yield the chunks of a stream, the usage last where it was asked for."""

    def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        found: dict[str, Any] = {
            "id": id,
            "object": "chat.completion.chunk",
            "created": created,
            "model": model,
            "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}],
        }
        if with_usage:
            found["usage"] = None
        return found

    yield chunk({"role": "assistant", "content": ""})
    for name, text in (("refusal", said.refusal), ("content", said.content)):
        for piece in tokens(text or ""):
            yield chunk({name: piece})
    for index, call in enumerate(said.calls):
        begun = {
            "index": index,
            "id": call.id,
            "type": "function",
            "function": {"name": call.name, "arguments": ""},
        }
        yield chunk({"tool_calls": [begun]})
        for at in range(0, len(call.arguments), _FRAGMENT):
            part = {"arguments": call.arguments[at : at + _FRAGMENT]}
            yield chunk({"tool_calls": [{"index": index, "function": part}]})
    yield chunk({}, said.finish)
    if with_usage:
        last = chunk({})
        last["choices"] = []
        last["usage"] = usage(said)
        yield last
