"""Messages, calls, usage and totals: what they hold, add up to, and show."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.gateway import (
    ChatReply,
    Embeddings,
    InvalidToolCall,
    Message,
    ModelRef,
    ToolCall,
    Usage,
    UsageTotals,
    image,
)
from ostiary.gateway.errors import GatewayArgumentError, TokenBudgetError
from ostiary.gateway.models import arguments_of, sorted_calls


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"GIF89a", "image/gif"),
        (b"RIFF....WEBPVP8 ", "image/webp"),
    ],
    ids=["png", "jpeg", "gif", "webp"],
)
def test_images_are_told_by_their_first_bytes(data: bytes, kind: str) -> None:
    assert image(data)["image_url"]["url"].startswith(f"data:{kind};base64,")


def test_images_of_every_kind() -> None:
    assert image("https://x/a.png", detail="low")["image_url"] == {
        "url": "https://x/a.png",
        "detail": "low",
    }
    assert "image/bmp" in image(b"BM", "image/bmp")["image_url"]["url"]
    for wrong in (b"BM", "file:///etc/passwd", "", 5):
        with pytest.raises(GatewayArgumentError):
            image(wrong)  # type: ignore[arg-type]


def test_messages() -> None:
    assert Message.user("x") == Message("user", "x")
    assert Message.user("x", image("https://x")).content == (
        {"type": "text", "text": "x"},
        image("https://x"),
    )
    assert repr(Message.system("x")) == "Message(role='system', content='x')"
    assert ToolCall("i", "n").result("r") == Message("tool", "r", tool_call_id="i")


@pytest.mark.parametrize("text", ["", "  \n", "{}", ' {"a": [1]} '])
def test_arguments(text: str) -> None:
    assert arguments_of(text) == ({"a": [1]} if "a" in text else {})


@given(st.lists(st.sampled_from(["{}", "", "[]", '{"a":1}', "{", "null"]), max_size=6))
def test_every_call_is_one_or_the_other(texts: list[str]) -> None:
    calls = [ToolCall(str(at), "f", text) for at, text in enumerate(texts)]
    good, bad = sorted_calls(calls)
    assert sorted(int(each.id) for each in (*good, *bad)) == list(range(len(texts)))
    assert all(arguments_of(each.arguments) is not None for each in good)
    assert all(isinstance(each, InvalidToolCall) and each.error for each in bad)
    assert [int(each.id) for each in good] == sorted(int(each.id) for each in good)


USAGES = st.builds(
    Usage,
    st.integers(0, 99),
    st.integers(0, 99),
    st.integers(0, 99),
    st.none() | st.dictionaries(st.sampled_from(["cached_tokens", "x"]), st.integers(0, 9)),
    st.none() | st.dictionaries(st.sampled_from(["reasoning_tokens", "x"]), st.integers(0, 9)),
)


@given(st.lists(USAGES, max_size=6))
def test_usage_adds_up(usages: list[Usage]) -> None:
    whole = sum(usages, Usage())
    assert whole.prompt_tokens == sum(each.prompt_tokens for each in usages)
    assert whole.cached_tokens == sum(each.cached_tokens for each in usages)
    assert whole.reasoning_tokens == sum(each.reasoning_tokens for each in usages)
    totals = UsageTotals()
    for each in usages:
        totals.add(ModelRef("openai", "x"), each)
    assert totals.prompt_tokens == whole.prompt_tokens
    assert totals.completion_tokens == whole.completion_tokens


def test_usage_of_odd_details() -> None:
    odd = Usage(1, 1, 2, {"a": "text", "cached_tokens": None, "b": True}, {"a": [1]})
    assert (odd.details, odd.cached_tokens) == ({}, 0)
    assert (odd + odd).prompt_tokens_details is not None
    assert repr(Usage(1)) == "Usage(prompt_tokens=1)"
    with pytest.raises(TypeError):
        odd + 5  # type: ignore[operator]


def test_a_sum_that_is_left_to_the_reader() -> None:
    totals = UsageTotals()
    totals.add(ModelRef("a", "b"), Usage(3, 4))
    assert totals.total_tokens == 7
    assert "7 tokens in 1 calls" in repr(totals)


def test_totals_from_many_threads() -> None:
    totals = UsageTotals()
    with ThreadPoolExecutor(8) as threads:
        list(
            threads.map(lambda n: totals.add(ModelRef("a", str(n % 3)), Usage(1, 1, 2)), range(300))
        )
    assert (totals.calls, totals.total_tokens) == (300, 600)
    assert sorted(totals.by_model) == ["a:0", "a:1", "a:2"]


def test_a_budget() -> None:
    totals = UsageTotals(5)
    totals.check()
    totals.add(ModelRef("a", "b"), Usage(1, 4, 5))
    with pytest.raises(TokenBudgetError, match="5 tokens"):
        totals.check()
    arrived = pickle.loads(pickle.dumps(totals))
    assert (arrived.budget, arrived.calls) == (5, 0)
    for wrong in (0, -1, True, "5"):
        with pytest.raises(GatewayArgumentError):
            UsageTotals(wrong)  # type: ignore[arg-type]


def test_what_a_reply_shows() -> None:
    reply: ChatReply[Any] = ChatReply("x", model="m", body=b'{"a": 1}')
    assert repr(reply) == "ChatReply(text='x', model='m')"
    assert reply.raw() == {"a": 1}
    assert ChatReply("x").raw() == {}
    assert repr(Embeddings([])) == "<Embeddings of a model, 0 vectors of 0>"
