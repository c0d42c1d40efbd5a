"""Which agent gets a request: the first rule that fits, else the input's own agent.

Decisions only. Neighbour: `listener` asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import msgspec

from .configuration import InputConfig, Rule

__all__ = ["selected"]


def selected(config: InputConfig, path: str, headers: Mapping[str, str], payload: Any) -> str:
    """Return an agent's id; the names in `headers` are in lower case.

    A path prefix is compared with the whole path and with what stands below the input's own.
    A header's value is compared as it is. A member is found by its name, or by names with
    dots between; text is compared as it is, anything else as JSON is written: `5`, `true`.
    """
    below = path.removeprefix(config.path.rstrip("/")) or "/"
    for rule in config.routing_rules:
        if _fits(rule, path, below, headers, payload):
            return rule.agent_id
    return config.agent_id


def _fits(rule: Rule, path: str, below: str, headers: Mapping[str, str], payload: Any) -> bool:
    value, target = rule.condition_value, rule.condition_target or ""
    match rule.condition_type:
        case "path_prefix":
            return path.startswith(value) or below.startswith(value)
        case "header_equals":
            return headers.get(target.lower()) == value
        case "json_field_equals":
            found, there = _member(payload, target)
            return there and _as_text(found) == value
        case None:
            return False


def _member(payload: Any, name: str) -> tuple[Any, bool]:
    if isinstance(payload, dict):
        members = cast("dict[str, Any]", payload)
        if name in members:
            return members[name], True
        first, dot, rest = name.partition(".")
        if dot and first in members:
            return _member(members[first], rest)
    return None, False


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode("utf-8")
