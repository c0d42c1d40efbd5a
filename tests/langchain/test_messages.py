"""LangChain messages as OpenAI has them."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytest.importorskip("langchain_core", reason="the extra langchain is not installed")

from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)

from ostiary.errors import InvalidArgumentError
from ostiary.gateway.llm.conversion import messages_to_dicts

texts = st.text(max_size=40)
plain = st.one_of(
    st.builds(SystemMessage, texts),
    st.builds(HumanMessage, texts),
    st.builds(AIMessage, texts),
    st.builds(ToolMessage, texts, tool_call_id=st.text(min_size=1, max_size=8)),
)
ROLES = {"system": "system", "human": "user", "ai": "assistant", "tool": "tool"}


@given(st.lists(plain, max_size=8))
def test_order_length_and_content_are_kept(messages: list[BaseMessage]) -> None:
    found = messages_to_dicts(messages)
    assert [one["role"] for one in found] == [ROLES[one.type] for one in messages]
    assert [one["content"] for one in found] == [one.content for one in messages]
    for one in found:
        assert set(one) - {"tool_call_id"} == {"role", "content"}
    json.dumps(found)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@given(texts, st.lists(st.tuples(texts, texts, st.dictionaries(texts, json_values, max_size=3))))
def test_calls_go_back_as_they_came(text: str, calls: list[tuple[str, str, Any]]) -> None:
    message = AIMessage(text, tool_calls=[{"id": i, "name": n, "args": a} for i, n, a in calls])
    (found,) = messages_to_dicts([message])
    assert found["content"] == text
    back = [
        (one["id"], one["function"]["name"], json.loads(one["function"]["arguments"]))
        for one in found.get("tool_calls", [])
    ]
    assert back == calls


@pytest.mark.parametrize(
    ("message", "wire"),
    [
        (HumanMessage("x", name="ann"), {"role": "user", "content": "x", "name": "ann"}),
        (ChatMessage("x", role="Developer"), {"role": "developer", "content": "x"}),
        (ChatMessage("x", role="human"), {"role": "user", "content": "x"}),
        (FunctionMessage("x", name="f"), {"role": "function", "name": "f", "content": "x"}),
        (
            SystemMessage("x", additional_kwargs={"__openai_role__": "developer"}),
            {"role": "developer", "content": "x"},
        ),
        (
            ToolMessage("x", tool_call_id="c1", name="f", status="error", artifact=[1]),
            {"role": "tool", "tool_call_id": "c1", "content": "x"},
        ),
        (
            AIMessage("", additional_kwargs={"refusal": "No."}),
            {"role": "assistant", "content": "", "refusal": "No."},
        ),
        (
            AIMessage(
                [
                    {"type": "thinking", "thinking": "Hm", "signature": "s"},
                    {"type": "text", "text": "It "},
                    {"type": "reasoning", "reasoning": "Hm"},
                    "is.",
                ]
            ),
            {"role": "assistant", "content": "It is."},
        ),
        (
            AIMessage([{"type": "tool_use", "id": "c1", "name": "f", "input": {"a": 1}}]),
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [
                    {
                        "id": "c1",
                        "type": "function",
                        "function": {"name": "f", "arguments": '{"a": 1}'},
                    }
                ],
            },
        ),
        (
            AIMessage("", additional_kwargs={"tool_calls": [{"id": "c1", "function": {}}]}),
            {"role": "assistant", "content": "", "tool_calls": [{"id": "c1", "function": {}}]},
        ),
    ],
    ids=lambda one: one.type if isinstance(one, BaseMessage) else "",
)
def test_each_kind_has_its_form(message: BaseMessage, wire: dict[str, Any]) -> None:
    assert messages_to_dicts([message]) == [wire]


def test_what_tools_answered_is_a_message_of_its_own() -> None:
    """Anthropic puts it into a user's message."""
    said = [{"type": "text", "text": "x"}]
    message = HumanMessage(
        [
            {"type": "tool_result", "tool_use_id": "c1", "content": "12:00"},
            {
                "type": "tool_result",
                "tool_use_id": "c2",
                "content": [{"type": "text", "text": "x"}],
            },
            {"type": "text", "text": "And now?"},
        ]
    )
    assert messages_to_dicts([message]) == [
        {"role": "tool", "tool_call_id": "c1", "content": "12:00"},
        {"role": "tool", "tool_call_id": "c2", "content": said},
        {"role": "user", "content": [{"type": "text", "text": "And now?"}]},
    ]
    (only,) = messages_to_dicts([HumanMessage(message.content[:1])])
    assert only["role"] == "tool"


@pytest.mark.parametrize(
    ("block", "wire"),
    [
        ("said", {"type": "text", "text": "said"}),
        ({"type": "text", "text": "x", "id": "b1"}, {"type": "text", "text": "x"}),
        (
            {"type": "image_url", "image_url": {"url": "https://e.example/a.png"}},
            {"type": "image_url", "image_url": {"url": "https://e.example/a.png"}},
        ),
        (
            {"type": "image", "url": "https://e.example/a.png", "extras": {"detail": "low"}},
            {"type": "image_url", "image_url": {"url": "https://e.example/a.png", "detail": "low"}},
        ),
        (
            {"type": "image", "base64": "QQ==", "mime_type": "image/jpeg"},
            {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,QQ=="}},
        ),
        (
            {"type": "image", "source_type": "base64", "data": "QQ==", "mime_type": "image/gif"},
            {"type": "image_url", "image_url": {"url": "data:image/gif;base64,QQ=="}},
        ),
        (
            {
                "type": "image",
                "source": {"type": "base64", "media_type": "image/png", "data": "QQ=="},
            },
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,QQ=="}},
        ),
        (
            {"type": "image", "source": {"type": "url", "url": "https://e.example/a"}},
            {"type": "image_url", "image_url": {"url": "https://e.example/a"}},
        ),
        (
            {"type": "audio", "base64": "QQ==", "mime_type": "audio/mpeg"},
            {"type": "input_audio", "input_audio": {"data": "QQ==", "format": "mp3"}},
        ),
        (
            {"type": "file", "base64": "QQ==", "mime_type": "application/pdf"},
            {
                "type": "file",
                "file": {
                    "filename": "file.pdf",
                    "file_data": "data:application/pdf;base64,QQ==",
                },
            },
        ),
        (
            {"type": "file", "file_id": "f-1"},
            {"type": "file", "file": {"file_id": "f-1"}},
        ),
        (
            {
                "type": "document",
                "title": "a.pdf",
                "source": {"type": "base64", "media_type": "application/pdf", "data": "QQ=="},
            },
            {
                "type": "file",
                "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,QQ=="},
            },
        ),
        (
            {"type": "document", "source": {"type": "text", "data": "plain"}},
            {"type": "text", "text": "plain"},
        ),
        ({"type": "text-plain", "text": "plain"}, {"type": "text", "text": "plain"}),
        (
            {"type": "non_standard", "value": {"type": "guard", "guard": 1}},
            {"type": "guard", "guard": 1},
        ),
        ({"type": "input_video", "x": 1}, {"type": "input_video", "x": 1}),
    ],
    ids=lambda one: None,
)
@pytest.mark.parametrize("kind", ["human", "tool"])
def test_each_part_has_its_form(block: Any, wire: dict[str, Any], kind: str) -> None:
    message: BaseMessage = (
        HumanMessage([block]) if kind == "human" else ToolMessage([block], tool_call_id="c1")
    )
    (found,) = messages_to_dicts([message])
    assert found["content"] == [wire]


@pytest.mark.parametrize(
    "message",
    [
        ChatMessage("x", role="narrator"),
        RemoveMessage(id="m1"),
        HumanMessage([{"type": "image"}]),
        HumanMessage([{"type": "audio", "url": "https://e.example/a.mp3"}]),
        HumanMessage([{"type": "file", "url": "https://e.example/a.pdf"}]),
        AIMessage("", tool_calls=[{"id": "c1", "name": "f", "args": {"x": object()}}]),
    ],
    ids=["role", "kind", "image", "audio", "file", "arguments"],
)
def test_what_cannot_be_sent_is_refused(message: BaseMessage) -> None:
    """A message with a role of its own is not silently somebody else's words."""
    with pytest.raises(InvalidArgumentError):
        messages_to_dicts([message])
