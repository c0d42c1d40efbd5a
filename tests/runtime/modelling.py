"""Any value of any model, for tests that hold for all of them."""

from __future__ import annotations

import math
import types
from datetime import UTC, datetime
from typing import Any, Union, get_args, get_origin

import msgspec
from hypothesis import strategies as st

from ostiary.runtime import enums, models
from ostiary.runtime.models import Model

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

words = st.text(max_size=12)
numbers = st.floats(allow_nan=False, allow_infinity=False)
# Beyond 64 bits JSON decoders differ.
whole = st.integers(-(2**63), 2**63 - 1)
moments = st.datetimes(
    min_value=datetime(1970, 1, 2), max_value=datetime(2200, 1, 1), timezones=st.just(UTC)
)
anything = st.recursive(
    st.none() | st.booleans() | whole | numbers | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
members = st.dictionaries(words, anything, max_size=3)
# Names that no model has.
strangers = st.dictionaries(words.map("x-{}".format), anything, max_size=2)

# What the rules ask beyond a type, a bound, and that something is there.
_FITTING: dict[tuple[str, str], st.SearchStrategy[Any]] = {
    ("ReviewSessionCreate", "priority"): st.sampled_from(["low", "normal", "high", "urgent"]),
    ("HumanReviewDecision", "decision"): st.sampled_from(["approve", "reject"]),
    ("VaultConfig", "url"): words.map(lambda text: f"https://vault.test/{text}"),
    **{
        ("VaultConfig", name): st.text(min_size=1, max_size=8)
        for name in ("token", "role_id", "secret_id", "kubernetes_role", "aws_role")
    },
    ("SecretBackendConfig", "backend_type"): st.sampled_from(
        [enums.SecretBackendType.ENCRYPTED_FILE, enums.SecretBackendType.OS_KEYCHAIN]
    ),
    ("McpServerConfig", "command"): st.lists(
        st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1),
        min_size=1,
        max_size=3,
    ),
    ("AgentRoutingRule", "condition_target"): st.text(min_size=1, max_size=8),
    ("WebhookVerifyConfig", "provider"): st.sampled_from(["github", "stripe", "slack", "generic"]),
    ("HttpInputConfig", "path"): words.map("/{}".format),
    ("CreateScheduleRequest", "cron_expression"): st.just("0 */5 * * *"),
    ("UpdateScheduleRequest", "cron_expression"): st.just("0 0 3 * * MON"),
    ("HeldAction", "id"): st.text(min_size=1, max_size=8),
    ("AgentMessage", "timestamp_secs"): st.floats(0, 4e9),
}


def of_type(kind: Any) -> st.SearchStrategy[Any]:
    """Return a strategy for values of an annotation that models use."""
    origin = get_origin(kind)
    if origin in {Union, types.UnionType}:
        return st.one_of(*(of_type(one) for one in get_args(kind)))
    if origin is list:
        return st.lists(of_type(get_args(kind)[0]), max_size=3)
    if origin is dict:
        return st.dictionaries(words, of_type(get_args(kind)[1]), max_size=3)
    if isinstance(kind, type) and issubclass(kind, Model):
        return of_model(kind)
    if isinstance(kind, type) and issubclass(kind, enums.OpenEnum):
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
        if field.name == "_extra":
            continue
        strategy = _FITTING.get((model.__name__, field.name))
        if strategy is None:
            strategy = _bounded(model, field)
        (required if field.required else optional)[field.name] = strategy
    if model.__name__ == "VaultConfig":
        for name in ("token", "role_id", "secret_id", "kubernetes_role", "aws_role"):
            required[name] = optional.pop(name)
    if model.__name__ == "AgentRoutingRule":
        required["condition_target"] = optional.pop("condition_target")
    optional["extra"] = strangers
    return st.fixed_dictionaries(required, optional=optional).map(lambda given: model(**given))


def _bounded(model: type[Any], field: Any) -> st.SearchStrategy[Any]:
    kinds = get_args(field.type) or (field.type,)
    if field.name in model._bounds:
        least, most = model._bounds[field.name]
        if int in kinds:
            return st.integers(math.ceil(least), 2**53 if most == math.inf else math.floor(most))
        return st.floats(least, 1e300 if most == math.inf else most)
    strategy = of_type(field.type)
    return strategy.filter(bool) if field.name in model._filled else strategy
