"""The rules of HTTP inputs without a socket: configurations, routing, credentials."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from ostiary.devserver.http.refusals import HttpRefusal
from ostiary.devserver.runtime.http_input.configuration import (
    InputConfig,
    completed,
    hidden,
    revealed,
    view,
)
from ostiary.devserver.runtime.http_input.selection import selected

WORDS = st.sampled_from(["front", "/hook", "a.b", "X-Team"]) | st.text(max_size=12)
RULES = st.fixed_dictionaries(
    {},
    optional={
        "condition_type": st.sampled_from(["path_prefix", "header_equals", "json_field_equals"]),
        "condition_value": WORDS,
        "condition_target": st.none() | WORDS,
        "agent_id": WORDS,
        "agent": st.none() | WORDS,
        "condition": st.none()
        | st.dictionaries(
            st.sampled_from(["PathPrefix", "HeaderEquals", "JsonFieldEquals", "Other"]),
            WORDS | st.lists(WORDS, max_size=3) | st.integers(),
            max_size=2,
        ),
    },
)
CONFIGS = st.fixed_dictionaries(
    {},
    optional={
        "agent_id": WORDS,
        "agent": st.none() | WORDS,
        "bind_address": WORDS,
        "port": st.sampled_from([0, 8081, -1, 70_000]),
        "path": st.sampled_from(["/", "/hook/", "/a/b"]) | WORDS,
        "auth_header": st.none() | WORDS,
        "max_body_bytes": st.sampled_from([1, 65_536, 0, 2**30]),
        "concurrency": st.sampled_from([1, 10, 0, 2000]),
        "routing_rules": st.lists(RULES, max_size=3),
        "forward_headers": st.lists(WORDS, max_size=2),
        "cors_origins": st.lists(WORDS, max_size=2),
        "response_control": st.fixed_dictionaries(
            {
                "default_status": st.sampled_from([200, 202, 204]),
                "error_status": st.sampled_from([500, 503, 200]),
            }
        ),
    },
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)


def outcome(document: dict[str, Any]) -> InputConfig | HttpRefusal:
    try:
        return completed(msgspec.convert(document, InputConfig), host="127.0.0.1")
    except HttpRefusal as refusal:
        return refusal


@given(document=CONFIGS)
def test_any_configuration_is_completed_or_refused_by_name(document: dict[str, Any]) -> None:
    config = outcome(document)
    if isinstance(config, HttpRefusal):
        assert config.status == 422
        assert config.details is not None
        assert str(config.details["field"]).startswith("config.")
        return
    event("completed")
    assert config.bind_address == "127.0.0.1"
    # Once more is the same: what was shown may be sent back.
    assert view(outcome(view(config))) == view(config)  # type: ignore[arg-type]
    shown = hidden(config)
    assert view(shown)["auth_header"] in {None, "[redacted]"}
    assert revealed(shown, config) == config


@given(rules=st.lists(RULES, max_size=3), payload=JSON, path=WORDS, headers=JSON)
def test_every_request_has_an_agent(
    rules: list[dict[str, Any]], payload: Any, path: str, headers: Any
) -> None:
    document = {"agent_id": "own", "path": "/hook", "routing_rules": rules}
    config = outcome(document)
    if isinstance(config, HttpRefusal):
        return
    event("completed")
    names = (
        {str(name).lower(): str(headers[name]) for name in headers}
        if (isinstance(headers, dict))
        else {}
    )
    found = selected(config, "/hook/" + path, names, payload)
    assert found in {"own", *(rule.agent_id for rule in config.routing_rules)}


def test_what_was_never_known_cannot_be_sent_back() -> None:
    for change in (
        {"auth_header": "[redacted]"},
        {"webhook_verify": {"provider": "github", "secret": "[redacted]"}},
    ):
        config = msgspec.convert({"agent_id": "a", **change}, InputConfig)
        with pytest.raises(HttpRefusal):
            revealed(config, None)
        with pytest.raises(HttpRefusal):
            revealed(config, msgspec.convert({"agent_id": "a"}, InputConfig))
        assert "redacted" not in repr(config)
