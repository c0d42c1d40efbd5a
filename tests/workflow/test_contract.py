"""The wire contract: a row per endpoint, sent and read in every colour."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from typing import Any

import pytest

from ostiary.workflow import _routes as routes
from ostiary.workflow._sync import WorkflowClient
from ostiary.workflow.models import Model

from .conftest import PREFIX, SPEC, STATUS, Client, says, shown
from .contract_rows import GONE, ROWS, Row

Connect = Callable[..., Client]


def plain(value: Any) -> Any:
    """Return what a result says, as JSON says it."""
    if isinstance(value, Model):
        return value.to_dict()
    if isinstance(value, list):
        return [plain(one) for one in value]
    return value


def contained(found: Any, expected: Any) -> bool:
    """Whether everything that is expected was found; defaults may stand beside it."""
    if isinstance(expected, dict):
        return all(name in found and contained(found[name], expected[name]) for name in expected)
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(contained, found, expected))
    if isinstance(found, str) and isinstance(expected, str):
        return found.replace(".000Z", "Z") == expected.replace(".000Z", "Z")
    return bool(found == expected)


def identifier(row: Row) -> str:
    return f"{row.call}-{ROWS.index(row)}"


@pytest.mark.parametrize("row", ROWS, ids=identifier)
def test_a_row(row: Row, connect: Connect, peers: Any) -> None:
    peer = peers(says(row.answered))
    result = connect(peer).call(row.call, *row.arguments, **row.options)
    (asked,) = peer.asked
    assert shown(asked) == row.sent
    if row.body is None:
        assert asked.body == b""
        assert asked.header("content-type") is None
    else:
        # Compact, and what is not given is not there.
        assert json.loads(asked.body) == row.body
        assert b": " not in asked.body
        assert asked.header("content-type") == "application/json"
    if row.returned == GONE:
        assert result is None
    elif isinstance(row.returned, type):
        models = result if isinstance(result, list) else [result]
        assert {type(one) for one in models} == {row.returned}
        assert contained(plain(result), row.answered)
    else:
        assert result == (row.answered if row.returned is None else row.returned)


def test_a_submission(connect: Connect, peers: Any) -> None:
    peer = peers(says(STATUS, 202))
    handle = connect(peer).call("submit_workflow", SPEC)
    (asked,) = peer.asked
    assert shown(asked) == "POST /workflows/execute?wait=0"
    assert json.loads(asked.body) == {"workflow": SPEC}
    assert asked.header("idempotency-key")
    assert handle.workflow_id == "ledger-7"
    assert handle.submitted.status == "running"
    assert "ledger-7" in repr(handle)


def test_every_endpoint_has_a_row() -> None:
    table = {
        (route.method, route.template.removeprefix(PREFIX))
        for route in vars(routes).values()
        if type(route).__name__ == "Route"
    }
    sent = {row.sent.partition("?")[0] for row in ROWS}
    for method, template in table:
        filled = (
            template.replace("{workflow_id}", "ledger-7")
            .replace("{validator_id}", "amount_range")
            .replace("{token}", "approval-1")
            .replace("{trace_id}", "trace-9f")
        )
        assert f"{method} {filled}" in sent, template


def test_every_method_has_a_row() -> None:
    named = {row.call for row in ROWS}
    others = {"close", "made_from", "submit_workflow", "stream_workflow", "get_workflow"}
    for name, _ in inspect.getmembers(WorkflowClient, inspect.isfunction):
        if not name.startswith(("_", "iter_", "wait_for_")):
            assert name in named | others, name


def test_the_methods_of_the_guide_s_release_take_what_they_took() -> None:
    guide = {
        "execute_workflow": ["workflow", "context", "correlation_id"],
        "get_workflow_status": ["workflow_id"],
        "cancel_workflow": ["workflow_id"],
        "validate_commit": ["commit", "gate_config"],
        "register_validator": ["validator_id", "validator_config"],
        "evaluate_policy": ["context"],
        "check_permission": ["principal", "action"],
        "request_approval": ["action", "principal", "reason"],
        "report_event": ["event"],
        "report_metric": ["metric"],
        "report_span": ["span"],
        "get_metrics": ["metric_name", "start_time", "end_time", "tags"],
        "get_trace": ["trace_id"],
        "close": [],
    }
    for name, expected in guide.items():
        parameters = inspect.signature(getattr(WorkflowClient, name)).parameters.values()
        positional = [one.name for one in parameters if one.kind is one.POSITIONAL_OR_KEYWORD]
        assert positional[1:] == expected, name


def test_what_every_request_says_of_itself(connect: Connect, peers: Any) -> None:
    from ostiary import __version__

    peer = peers(STATUS)
    connect(peer).call("get_workflow_status", "w")
    connect(peer, "k-77").call("get_workflow_status", "w")
    without, with_key = peer.asked
    assert without.header("authorization") is None
    assert with_key.header("authorization") == "Bearer k-77"
    assert __version__ in (with_key.header("user-agent") or "")
