"""Which model is used for what: the first that the category allows, and no other."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.gateway.auth.trat import AllowedModels, TransactionToken
from ostiary.gateway.errors import (
    ModelNotAuthorizedError,
    ModelNotAvailableError,
    ModelRefParseError,
)
from ostiary.gateway.llm.model_ref import ModelCategory, ModelRef
from ostiary.gateway.llm.model_selector import ModelSelector, StaticModelSelector
from tests.gateway import tokens

MINI, CLAUDE = ModelRef("openai", "gpt-test-mini"), ModelRef("anthropic", "claude-test")
ALLOWED = {"triage": ["openai:gpt-test-mini"], "analysis": ["claude-test", MINI], "reasoning": []}


def test_the_first_is_preferred() -> None:
    selector = ModelSelector(ALLOWED)
    assert selector.select(ModelCategory.TRIAGE) == MINI
    assert selector.select(ModelCategory.ANALYSIS) == CLAUDE
    assert selector.select_all(ModelCategory.ANALYSIS) == [CLAUDE, MINI]
    assert selector.select_all(ModelCategory.REASONING) == []


@pytest.mark.parametrize("category", [ModelCategory.REASONING, ModelCategory.EMBEDDINGS])
def test_a_category_without_models(category: ModelCategory) -> None:
    with pytest.raises(ModelNotAvailableError, match=f"no model for {category}") as caught:
        ModelSelector(ALLOWED).select(category)
    assert caught.value.exit_code == 61


def test_a_list_that_was_given_is_the_callers_own() -> None:
    selector = ModelSelector(ALLOWED)
    selector.select_all(ModelCategory.TRIAGE).clear()
    assert selector.select(ModelCategory.TRIAGE) == MINI


def test_exactly_what_is_allowed_is() -> None:
    selector = ModelSelector(ALLOWED)
    assert selector.is_allowed(MINI, ModelCategory.TRIAGE)
    assert not selector.is_allowed(CLAUDE, ModelCategory.TRIAGE)
    assert not selector.is_allowed(ModelRef("openai", "GPT-test-mini"), ModelCategory.TRIAGE)
    selector.validate_model(MINI, ModelCategory.TRIAGE)
    with pytest.raises(ModelNotAuthorizedError, match="anthropic:claude-test") as caught:
        selector.validate_model(CLAUDE, ModelCategory.TRIAGE)
    assert caught.value.exit_code == 21
    with pytest.raises(ModelNotAuthorizedError, match="may use none"):
        selector.validate_model(CLAUDE, ModelCategory.EMBEDDINGS)


@pytest.mark.parametrize(
    "wrong",
    [
        {"triage": ["openai:"]},
        {"triage": [None]},
        {"triage": None},
        {"triage": "openai:gpt-4o"},
        {"thinking": ["openai:gpt-4o"]},
    ],
)
def test_what_cannot_be_meant(wrong: Any) -> None:
    with pytest.raises(ModelRefParseError):
        ModelSelector(wrong)


def test_one_model_for_everything() -> None:
    for given_model in ("openai:gpt-test-mini", MINI):
        selector = StaticModelSelector(given_model)
        for category in ModelCategory:
            assert selector.select(category) == MINI
            assert selector.select_all(category) == [MINI]
            assert selector.is_allowed(MINI, category)
            assert not selector.is_allowed(CLAUDE, category)
    with pytest.raises(ModelRefParseError):
        StaticModelSelector("")


def test_a_token_says_what_is_allowed() -> None:
    selector = ModelSelector.from_trat(TransactionToken.from_jwt(tokens.trat()))
    assert selector.select(ModelCategory.ANALYSIS) == CLAUDE
    assert selector.select(ModelCategory.EMBEDDINGS) == ModelRef("openai", "embed-test-small")
    with pytest.raises(ModelNotAvailableError):
        selector.select(ModelCategory.REASONING)


def test_a_token_without_models_allows_none() -> None:
    """Nothing falls back to a model of somebody's choice."""
    for tctx in ({}, None, {"allowed_models": None}, {"allowed_models": {}}):
        selector = ModelSelector.from_trat(TransactionToken.from_jwt(tokens.trat(tctx=tctx)))
        for category in ModelCategory:
            with pytest.raises(ModelNotAvailableError):
                selector.select(category)


refs = st.lists(
    st.builds(
        "{}:{}".format, st.sampled_from(["openai", "ft"]), st.text("abc019-:", min_size=1)
    ).filter(lambda text: bool(text.partition(":")[2].strip())),
    max_size=4,
)


@given(st.fixed_dictionaries({each.value: refs for each in ModelCategory}))
def test_a_selector_is_its_lists(allowed: dict[str, list[str]]) -> None:
    models = AllowedModels.from_dict(allowed)
    assert models.to_dict() == allowed
    assert AllowedModels.from_dict(models.to_dict()) == models
    assert models.has_any() == any(allowed.values())
    selector = ModelSelector(models.to_dict())
    for category in ModelCategory:
        found = selector.select_all(category)
        assert [str(ref) for ref in found] == allowed[category]
        assert all(selector.is_allowed(ref, category) for ref in found)
        if found:
            assert selector.select(category) == found[0]


def test_a_selector_shows_what_it_holds() -> None:
    assert "openai:gpt-test-mini" in repr(ModelSelector(ALLOWED))
    assert repr(StaticModelSelector("gpt-4o")) == "StaticModelSelector('openai:gpt-4o')"
