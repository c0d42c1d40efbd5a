"""Each refusal's class and fields, each broken connection's, and what errors keep to themselves."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest

import ostiary.errors as shared
import ostiary.workflow as httpx
from ostiary.config import Limits
from ostiary.workflow import errors
from tests.frames import recorded
from tests.http.peer import answer, lost, stall

from .conftest import SPEC, Client, says

Connect = Callable[..., Client]

STATUSES = [
    (302, errors.HTTPStatusError, shared.APIError),
    (400, errors.BadRequestError, shared.BadRequestError),
    (401, errors.AuthenticationError, shared.AuthenticationError),
    (402, errors.HTTPStatusError, shared.APIError),
    (403, errors.PermissionDeniedError, shared.PermissionDeniedError),
    (404, errors.NotFoundError, shared.NotFoundError),
    (405, errors.MethodNotAllowedError, shared.MethodNotAllowedError),
    (409, errors.ConflictError, shared.ConflictError),
    (410, errors.GoneError, shared.GoneError),
    (413, errors.PayloadTooLargeError, shared.PayloadTooLargeError),
    (418, errors.HTTPStatusError, shared.APIError),
    (422, errors.UnprocessableError, shared.UnprocessableError),
    (423, errors.LockedError, shared.LockedError),
    (429, errors.RateLimitError, shared.RateLimitError),
    (500, errors.ServerError, shared.ServerError),
    (502, errors.BadGatewayError, shared.BadGatewayError),
    (503, errors.UnavailableError, shared.UnavailableError),
    (504, errors.GatewayTimeoutError, shared.GatewayTimeoutError),
    (599, errors.ServerError, shared.ServerError),
]


@pytest.mark.parametrize(("status", "kind", "base"), STATUSES)
@pytest.mark.parametrize("streaming", [False, True], ids=["call", "stream"])
def test_every_status_has_its_class(
    connect: Connect, peers: Any, status: int, kind: Any, base: Any, streaming: bool
) -> None:
    client = connect(peers(answer(status, b"<html>not JSON</html>")), max_retries=0)
    with pytest.raises(httpx.HTTPStatusError) as caught:
        if streaming:
            next(client.read("stream_workflow", "w"))
        else:
            client.call("get_workflow_status", "w")
    error = caught.value
    assert type(error) is kind
    assert isinstance(error, base)
    assert error.status == error.response.status_code == status
    assert error.response.text == "<html>not JSON</html>"
    assert error.message
    with pytest.raises(ValueError, match="not JSON"):
        error.response.json()


REFUSED = {
    "error": "workflow has problems",
    "code": "VALIDATION_ERROR",
    "details": {"limit": 5},
    "errors": [{"path": "tasks[0].id", "message": "is empty"}, "older servers say it as text"],
    "remediation": "fix the ids",
    "request_id": "req-1",
}


def refusal(connect: Connect, peers: Any, body: Any = REFUSED, *headers: Any) -> Any:
    with pytest.raises(httpx.HTTPStatusError) as caught:
        connect(peers(says(body, 422, *headers))).call("execute_workflow", SPEC)
    return caught.value


def test_what_a_refusal_says(connect: Connect, peers: Any) -> None:
    error = refusal(connect, peers)
    assert str(error).endswith("was answered 422: workflow has problems")
    assert (error.code, error.details) == ("VALIDATION_ERROR", {"limit": 5})
    assert error.errors == (
        {"path": "tasks[0].id", "message": "is empty"},
        {"path": "", "message": "older servers say it as text"},
    )
    assert error.remediation == "fix the ids"
    assert error.request_id == "req-1"
    assert error.response.json() == REFUSED
    assert error.response.reason_phrase
    assert not error.response.is_success
    assert "422" in repr(error.response)


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        ({"error": "no"}, None, "no"),
        ({"error": {"code": "C", "message": "nested"}}, "C", "nested"),
        ({"message": "only this"}, None, "only this"),
        ({"error": 5, "code": [], "errors": {}}, None, "see errors"),
        ([1], None, "see errors"),
    ],
    ids=str,
)
def test_other_forms_of_a_refusal(
    connect: Connect, peers: Any, body: Any, code: str | None, said: str
) -> None:
    error = refusal(connect, peers, body)
    assert error.code == code
    assert said in str(error)


def test_errors_travel(connect: Connect, peers: Any) -> None:
    error = refusal(connect, peers)
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(other) is type(error)
        assert str(other) == str(error)
        assert other.response.json() == REFUSED
        assert (other.code, other.errors) == (error.code, error.errors)


def test_headers_that_hold_credentials_are_not_kept(connect: Connect, peers: Any) -> None:
    error = refusal(connect, peers, REFUSED, ("Set-Cookie", "sid=1"), ("X-Kept", "yes"))
    assert error.response.headers["x-kept"] == "yes"
    assert "set-cookie" not in error.response.headers


def test_a_long_reason_is_cut(connect: Connect, peers: Any) -> None:
    error = refusal(connect, peers, {"error": "x" * 10_000})
    assert len(str(error)) < 2200
    assert "(cut)" in str(error)


def test_connections(connect: Connect, peers: Any) -> None:
    with pytest.raises(errors.ConnectError) as caught:
        connect("unix:///nowhere/there").call("health")
    assert isinstance(caught.value, ConnectionError)
    assert not caught.value.sent
    with pytest.raises(errors.ConnectionLostError) as lost_one:
        connect(peers(lost), max_retries=0).call("execute_workflow", SPEC)
    assert lost_one.value.sent
    with pytest.raises(httpx.TimeoutException) as late:
        connect(peers(stall)).call("health", timeout=0.05)
    assert isinstance(late.value, TimeoutError)
    with pytest.raises(errors.SizeLimitError):
        connect(peers({"x": "y" * 5000}), limits=Limits(body=100)).call("health")


def test_every_class_belongs_to_the_tree_and_travels() -> None:
    for name in errors.__all__:
        kind = getattr(errors, name)
        if not (isinstance(kind, type) and issubclass(kind, BaseException)):
            continue
        assert issubclass(kind, errors.AureusError)
        assert issubclass(kind, shared.OstiaryError)
        assert kind.__doc__
        made = kind("what happened")
        made.code = "C"
        again = pickle.loads(pickle.dumps(made))
        assert (type(again), str(again), again.code) == (kind, "what happened", "C")


def test_errors_with_more_to_tell_travel_whole() -> None:
    wait = errors.WaitTimeoutError("late", last={"status": "running"})
    assert pickle.loads(pickle.dumps(wait)).last == {"status": "running"}
    denied = errors.ApprovalDeniedError("no", approval=("a",))
    assert pickle.loads(pickle.dumps(denied)).approval == ("a",)
    graph = errors.GraphError("circle", problems=[("dependencies", "x")], cycle=["a", "a"])
    again = pickle.loads(pickle.dumps(graph))
    assert (again.cycle, again.problems) == (("a", "a"), (("dependencies", "x"),))


def test_no_frame_shows_a_key(connect: Connect, peers: Any) -> None:
    client = connect(peers(says({"error": "no"}, 401)), "k-NEVER-SHOWN")
    with pytest.raises(errors.AuthenticationError) as caught:
        client.call("list_workflows")
    assert "k-NEVER-SHOWN" not in recorded(caught.value)
