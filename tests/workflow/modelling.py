"""Any value of any model of workflows, for tests that hold for all of them."""

from __future__ import annotations

import math
import types
from datetime import datetime
from typing import Any, Literal, Union, get_args, get_origin

import msgspec
from hypothesis import strategies as st

from ostiary._model.words import OpenEnum
from ostiary.workflow import models
from ostiary.workflow.models import Model
from tests.runtime.modelling import anything, moments, numbers, strangers, whole, words

__all__ = ["MODELS", "anything", "of_model"]

MODELS: list[type[Any]] = sorted(
    (
        one
        for one in (getattr(models, name) for name in models.__all__)
        if isinstance(one, type)
        and issubclass(one, Model)
        and one.__name__ not in {"Model", "Request"}
    ),
    key=lambda one: one.__name__,
)

_TIMES = moments.map(lambda one: one.isoformat())
_SEVERITY = st.none() | st.sampled_from(["error", "warning"])


def of_type(kind: Any) -> st.SearchStrategy[Any]:
    """Return a strategy for values of an annotation that models use."""
    origin = get_origin(kind)
    if origin in {Union, types.UnionType}:
        return st.one_of(*(of_type(one) for one in get_args(kind)))
    if origin is Literal:
        return st.sampled_from(get_args(kind))
    if origin is list:
        return st.lists(of_type(get_args(kind)[0]), max_size=2)
    if origin is dict:
        return st.dictionaries(words, of_type(get_args(kind)[1]), max_size=2)
    if isinstance(kind, type) and issubclass(kind, Model):
        return of_model(kind)
    if isinstance(kind, type) and issubclass(kind, OpenEnum):
        return st.sampled_from(list(kind))
    return {
        str: words,
        int: whole,
        float: numbers,
        bool: st.booleans(),
        datetime: moments,
        Any: anything,
        type(None): st.none(),
    }[kind]


def of_model(model: type[Any]) -> st.SearchStrategy[Any]:
    """Return a strategy for instances of a model, made as callers make them."""
    required: dict[str, st.SearchStrategy[Any]] = {}
    optional: dict[str, st.SearchStrategy[Any]] = {}
    for field in msgspec.structs.fields(model):
        if field.name != "_extra":
            (required if field.required else optional)[field.name] = _field(model, field)
    optional["extra"] = strangers
    return st.fixed_dictionaries(required, optional=optional).map(lambda given: model(**given))


def _field(model: type[Any], field: Any) -> st.SearchStrategy[Any]:
    if field.name in getattr(model, "_times", ()):
        return _TIMES if field.required else st.none() | _TIMES
    if field.name == "severity":
        return _SEVERITY
    kinds = get_args(field.type) or (field.type,)
    if field.name in model._bounds:
        least, most = model._bounds[field.name]
        if int in kinds:
            return st.integers(math.ceil(least), 2**53 if most == math.inf else math.floor(most))
        return st.floats(least, 1e300 if most == math.inf else most)
    strategy = of_type(field.type)
    return strategy.filter(bool) if field.name in model._filled else strategy
