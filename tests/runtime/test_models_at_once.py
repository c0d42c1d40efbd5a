"""A flat request is made in one step: what comes of it is what looking at each field gives."""

from __future__ import annotations

from typing import Any, get_origin
from unittest.mock import patch

import pytest
from hypothesis import example, given, settings
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
numbers = st.sampled_from([-2, 0, 5, 5.0, 0.5, 2000, 2**70, float("nan"), float("inf"), True, "7"])
texts = st.sampled_from(["", "text", "\ud800", 5, b"text"])
lists = st.lists(words, max_size=3) | st.lists(words, max_size=2).map(tuple) | words
dicts = st.sampled_from([{}, {"a": 1}, {"a": {"b": None}}, {1: 2}, []])
# By the type of a field: what fits, and what may not.
KINDS: dict[Any, tuple[Any, st.SearchStrategy[Any]]] = {
    str: ("text", texts),
    int: (7, numbers),
    float: (0.5, numbers),
    bool: (True, numbers),
    list: (["code"], lists),
    dict: ({"a": 1}, dicts),
}


@st.composite
def asked(draw: st.DrawFn) -> tuple[type[Any], dict[str, Any]]:
    """Draw a model and members for it that fit, but for one or two."""
    model = draw(st.sampled_from(FLAT))
    members: dict[str, Any] = {}
    fields = models._plan(model).fields  # pyright: ignore[reportPrivateUsage]
    odd = draw(st.sets(st.sampled_from([*fields, "extra", "_extra", "beyond"]), max_size=2))
    for field in fields:
        kind = models._alternatives(field.type)[0]  # pyright: ignore[reportPrivateUsage]
        fitting, edges = KINDS[get_origin(kind) or kind]
        if field in odd:
            members[field.name] = draw(st.none() | edges)
        elif field.required or draw(st.booleans()):
            members[field.name] = fitting
    for name in odd - set(fields):
        members[name] = draw(st.none() | dicts)
    return model, members


def outcome(model: type[Any], members: dict[str, Any], *, call: bool) -> object:
    try:
        made = model(**members) if call else models.accept(model, members)
    except InvalidArgumentError as error:
        return str(error), error.problems
    # By what it shows, too: a number that is none equals nothing.
    return repr(made), repr(models.wire(made)), repr(dict(made.extra))


@example(one=(VectorSearchRequest, {"query": "q", "source_types": ["rumour"]}), call=True)
@example(one=(VectorSearchRequest, {"query": "q", "limit": 0}), call=False)
@example(one=(VectorSearchRequest, {"query": ""}), call=True)
@settings(max_examples=400)
@given(one=asked(), call=st.booleans())
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
