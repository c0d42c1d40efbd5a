"""Replies and their pieces as LangChain's messages: nothing is lost on the way."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytest.importorskip("langchain_core", reason="the extra langchain is not installed")

from hypothesis import given
from hypothesis import strategies as st
from langchain_core.outputs import ChatGenerationChunk

from ostiary.gateway.dialects.openai import parse_chunk, parse_reply
from ostiary.gateway.llm.conversion import Fragments, chunk_of, result_of

texts = st.text(max_size=30)
words = st.text("abcdefgh_", min_size=1, max_size=8)
counts = st.integers(0, 2**40)
arguments = st.dictionaries(texts, st.none() | st.integers(-(2**53), 2**53) | texts, max_size=3)
calls = st.lists(st.tuples(words, words, arguments), max_size=3, unique_by=lambda one: one[0])
usages = st.builds(
    lambda prompt, completion, cached: {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached},
    },
    counts,
    counts,
    counts,
)


def wire(call_id: str, name: str, given: Any) -> dict[str, Any]:
    function = {"name": name, "arguments": json.dumps(given)}
    return {"id": call_id, "type": "function", "function": function}


@given(texts, calls, usages, st.sampled_from(["stop", "length", "tool_calls"]))
def test_a_reply_is_whole(text: str, made: Any, usage: dict[str, Any], reason: str) -> None:
    message = {"content": text, "tool_calls": [wire(*one) for one in made]}
    body = {
        "model": "m",
        "usage": usage,
        "choices": [{"message": message, "finish_reason": reason}],
    }
    (generation,) = result_of(parse_reply(json.dumps(body)), "asked-for").generations
    found: Any = generation.message
    assert found.content == text
    assert [(one["id"], one["name"], one["args"]) for one in found.tool_calls] == made
    assert found.usage_metadata == {
        "input_tokens": usage["prompt_tokens"],
        "output_tokens": usage["completion_tokens"],
        "total_tokens": usage["total_tokens"],
        "input_token_details": {"cache_read": usage["prompt_tokens_details"]["cached_tokens"]},
    }
    assert generation.generation_info == {"model": "m", "finish_reason": reason, "usage": usage}


@given(texts, calls, usages, st.integers(1, 5), st.booleans())
def test_pieces_add_up_to_the_reply(
    text: str, made: Any, usage: dict[str, Any], size: int, one_index: bool
) -> None:
    deltas: list[dict[str, Any]] = [
        {"content": text[i : i + size]} for i in range(0, len(text), size)
    ]
    for number, one in enumerate(made):
        whole = wire(*one)
        index = 0 if one_index else number
        told = whole["function"]["arguments"]
        first = {**whole, "index": index, "function": {"name": one[1], "arguments": ""}}
        deltas.append({"tool_calls": [first]})
        deltas += [
            {"tool_calls": [{"index": index, "function": {"arguments": told[i : i + size]}}]}
            for i in range(0, len(told), size)
        ]
    events: list[Any] = [{"model": "m", "choices": [{"delta": one}]} for one in deltas]
    events.append({"model": "m", "choices": [{"delta": {}, "finish_reason": "stop"}]})
    events.append({"model": "m", "choices": [], "usage": usage})
    total: ChatGenerationChunk | None = None
    fragments = Fragments()
    for event in events:
        chunk = parse_chunk(json.dumps(event))
        assert chunk is not None
        piece = chunk_of(chunk, fragments, "m" if total is None else None)
        if piece is not None:
            total = piece if total is None else total + piece
    assert total is not None
    found: Any = total.message
    assert found.content == text
    assert [(one["id"], one["name"], one["args"]) for one in found.tool_calls] == made
    assert found.invalid_tool_calls == []
    assert found.response_metadata == {"model_name": "m"}
    assert total.generation_info == {"finish_reason": "stop"}
    assert found.usage_metadata["total_tokens"] == usage["total_tokens"]


@pytest.mark.parametrize("details", [None, {}, {"cached_tokens": None}, {"cached_tokens": "7"}])
def test_details_that_are_no_counts_are_left_out(details: Any) -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "prompt_tokens_details": details}
    body = {"usage": usage, "choices": [{"message": {"content": ""}}]}
    (generation,) = result_of(parse_reply(json.dumps(body)), "asked-for").generations
    found: Any = generation.message
    assert found.usage_metadata == {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}
    assert found.response_metadata["model_name"] == "asked-for"
