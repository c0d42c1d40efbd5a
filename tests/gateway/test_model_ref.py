"""References to models: what is read, what is refused, whose a bare name is."""

from __future__ import annotations

import pickle
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.gateway import providers
from ostiary.gateway.errors import ModelRefParseError
from ostiary.gateway.llm.model_ref import ModelCategory, ModelRef


@pytest.mark.parametrize(
    ("text", "provider", "model"),
    [
        ("openai:gpt-4o", "openai", "gpt-4o"),
        (" OpenAI : GPT-4o ", "openai", "GPT-4o"),
        ("anthropic:claude-x", "anthropic", "claude-x"),
        ("llama3:8b", "llama3", "8b"),
        ("ft:base:org::id", "ft", "base:org::id"),
        ("claude-3-5", "anthropic", "claude-3-5"),
        ("Claude-3-5", "anthropic", "Claude-3-5"),
        ("anthropic/claude", "anthropic", "anthropic/claude"),
        ("gemini-2.5", "google", "gemini-2.5"),
        ("google/gemma", "google", "google/gemma"),
        ("gpt-4o", "openai", "gpt-4o"),
        ("my-claude", "openai", "my-claude"),
        ("\t gpt-4o \n", "openai", "gpt-4o"),
        ("vertex_ai:a/b@c", "vertex_ai", "a/b@c"),
    ],
)
def test_references_are_read(text: str, provider: str, model: str) -> None:
    ref = ModelRef.parse(text)
    assert (ref.provider, ref.model) == (provider, model)
    assert str(ref) == f"{provider}:{model}"
    assert ModelRef.parse(str(ref)) == ref
    assert ref == ModelRef(provider, model)
    assert hash(ref) == hash(ModelRef(provider, model))


@pytest.mark.parametrize("text", ["", "  ", ":", "openai:", ":gpt", " : ", "openai: ", None, 5])
def test_what_is_no_reference(text: Any) -> None:
    with pytest.raises(ModelRefParseError, match="write provider:model") as caught:
        ModelRef.parse(text)
    assert caught.value.exit_code == 62
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    "provider",
    [
        "open ai",
        "openai\r\nX-Evil: 1",
        "openai\n",
        "\x00",
        "op\u00e9nai",
        "a,b",
        "a;b",
        "x" * 513,
        "\udc80",
        "",
    ],
    ids=range(10),
)
def test_a_provider_cannot_inject_a_header(provider: str) -> None:
    """It travels as the value of X-Provider."""
    with pytest.raises(ModelRefParseError):
        ModelRef(provider, "gpt-4o")
    if provider.strip():
        with pytest.raises(ModelRefParseError):
            ModelRef.parse(f"{provider}x:gpt-4o")


@pytest.mark.parametrize(
    "model", ["", "a\r\nb", "a\x00", "\u2028", "\udcff", "m" * 513], ids=range(6)
)
def test_a_model_is_one_line_of_text(model: str) -> None:
    with pytest.raises(ModelRefParseError):
        ModelRef("openai", model)


names = st.text(st.sampled_from("abcxyz019-_.~"), min_size=1, max_size=20)
models = st.text(
    st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=40
)


@given(names, models)
def test_text_and_reference_are_one(provider: str, model: str) -> None:
    ref = ModelRef(provider, model)
    assert ModelRef.parse(str(ref)) == ref
    assert pickle.loads(pickle.dumps(ref)) == ref


@given(st.text(max_size=60))
def test_any_text_is_a_reference_or_our_error(text: str) -> None:
    try:
        ref = ModelRef.parse(text)
    except ModelRefParseError:
        return
    assert ModelRef.parse(str(ref)) == ref
    assert str(ref).isprintable()


def test_references_do_not_change() -> None:
    ref = ModelRef("openai", "x")
    with pytest.raises(AttributeError):
        ref.model = "y"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "litellm"),
    [
        ("openai:gpt-4o", "gpt-4o"),
        ("anthropic:claude-x", "anthropic/claude-x"),
        ("anthropic:anthropic/claude-x", "anthropic/claude-x"),
        ("google:gemini-2.5", "gemini/gemini-2.5"),
        ("google:gemini/gemini-2.5", "gemini/gemini-2.5"),
        ("google:google/x", "gemini/google/x"),
        ("llama3:8b", "8b"),
    ],
)
def test_litellm_has_its_own_spelling(text: str, litellm: str) -> None:
    assert ModelRef.parse(text).for_litellm == litellm


def test_the_guides_names_lead_to_the_one_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider that is added once is detected, spelt and listed everywhere."""
    monkeypatch.setattr(providers, "_table", dict(providers._table))
    assert ModelRef._PROVIDER_PREFIXES is providers.PREFIXES
    assert dict(ModelRef._PROVIDER_PREFIXES) == {
        "anthropic": ("claude", "anthropic/"),
        "google": ("gemini", "google/"),
    }
    assert ModelRef._detect_provider("mistral-large") == "openai"
    providers.register(
        providers.Provider(name="mistral", prefixes=("mistral",), litellm_prefix="mistral/")
    )
    assert ModelRef._detect_provider("Mistral-large") == "mistral"
    assert ModelRef.parse("mistral-large") == ModelRef("mistral", "mistral-large")
    assert ModelRef.parse("mistral-large").for_litellm == "mistral/mistral-large"
    assert ModelRef._PROVIDER_PREFIXES["mistral"] == ("mistral",)
    assert len(ModelRef._PROVIDER_PREFIXES) == 3


def test_categories_are_words() -> None:
    assert [str(each) for each in ModelCategory] == [
        "triage",
        "analysis",
        "reasoning",
        "embeddings",
    ]
    assert ModelCategory("triage") is ModelCategory.TRIAGE
    assert f"{ModelCategory.ANALYSIS}" == "analysis"
    assert msgspec.json.encode(ModelCategory.ANALYSIS) == b'"analysis"'
