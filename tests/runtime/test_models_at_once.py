"""A flat request is made in one step: what comes of it is what looking at each field gives."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary._model import model as models
from ostiary.runtime import (
    Agent,
    AgentDeployRequest,
    ContextQuery,
    DslCompileRequest,
    InvalidArgumentError,
    KnowledgeSourceType,
    SigningRequest,
    VectorSearchRequest,
    WorkflowExecutionRequest,
)

FLAT: tuple[type[Any], ...] = (
    Agent,
    AgentDeployRequest,
    ContextQuery,
    DslCompileRequest,
    SigningRequest,
    VectorSearchRequest,
    WorkflowExecutionRequest,
)

words = st.sampled_from(["document", "code", "Document", "rumour", "", KnowledgeSourceType.CODE])
values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 2000),
    st.floats(),
    st.sampled_from(["", "x", "12", "\ud800"]),
    words,
    st.lists(words, max_size=3),
    st.lists(words, max_size=2).map(tuple),
    st.dictionaries(st.sampled_from(["a", "b"]), st.integers(), max_size=2),
)


@st.composite
def asked(draw: st.DrawFn) -> tuple[type[Any], dict[str, Any]]:
    """Draw a model and members for it: fitting ones, mostly, and some that are not."""
    model = draw(st.sampled_from(FLAT))
    fields = models._plan(model).fields  # pyright: ignore[reportPrivateUsage]
    fitting = {str: "text", int: 7, float: 0.5, bool: True, dict: {"a": 1}, list: ["code"]}
    members: dict[str, Any] = {}
    for field in fields:
        found = models._alternatives(field.type)[0]  # pyright: ignore[reportPrivateUsage]
        kind = getattr(found, "__origin__", found)
        if field.required or draw(st.booleans()):
            members[field.name] = fitting.get(kind, "text")
    names = [*(field.name for field in fields), "extra", "_extra", "beyond"]
    members |= draw(st.dictionaries(st.sampled_from(names), values, max_size=2))
    return model, members


def outcome(model: type[Any], members: dict[str, Any], *, call: bool) -> object:
    try:
        made = model(**members) if call else models.accept(model, members)
    except InvalidArgumentError as error:
        return str(error), error.problems
    # By what it shows, too: a number that is none equals nothing.
    return repr(made), repr(models.wire(made)), repr(dict(made.extra))


@given(asked(), st.booleans())
def test_both_roads_give_the_same(one: tuple[type[Any], dict[str, Any]], call: bool) -> None:
    model, members = one
    before = repr(members)
    shorter = outcome(model, members, call=call)
    assert repr(members) == before
    with patch.object(models, "_made_at_once", lambda *_: None):
        assert outcome(model, members, call=call) == shorter


@pytest.mark.parametrize("model", FLAT)
def test_these_take_it(model: type[Any]) -> None:
    assert models._plan(model).at_once  # pyright: ignore[reportPrivateUsage]
