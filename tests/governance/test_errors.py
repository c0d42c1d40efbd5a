"""Each refusal's class and fields, each broken connection's, and what errors keep to themselves."""

from __future__ import annotations

import copy
import json
import pickle
import re
from collections.abc import Callable
from typing import Any

import pytest

import ostiary.errors as shared
import ostiary.governance.errors as errors
from ostiary.governance import (
    GovernanceBlock,
    GovernanceClient,
    HestiaError,
    InvalidInput,
    NotFound,
)
from tests.frames import recorded
from tests.http.peer import answer, lost

from .conftest import RUN, Client, says, streams

Connect = Callable[..., Client]

BLOCKED = {
    "error": "blocked",
    "code": "GOVERNANCE_BLOCK",
    "message": "rule R-9",
    "trace_id": "77d1a3c0-6f0e-4b7e-8f57-3a1d5e2b9c44",
    "details": {"rule": "R-9"},
}

STATUSES = [
    (400, errors.HestiaBadRequestError, shared.BadRequestError, "HTTP_400"),
    (401, errors.HestiaAuthenticationError, shared.AuthenticationError, "HTTP_401"),
    (402, errors.HestiaAPIError, shared.APIError, "HTTP_402"),
    (403, GovernanceBlock, shared.PermissionDeniedError, "GOVERNANCE_BLOCK"),
    (404, NotFound, shared.NotFoundError, "NOT_FOUND"),
    (405, errors.HestiaMethodNotAllowedError, shared.MethodNotAllowedError, "HTTP_405"),
    (409, errors.HestiaConflictError, shared.ConflictError, "HTTP_409"),
    (410, errors.HestiaGoneError, shared.GoneError, "HTTP_410"),
    (413, errors.HestiaPayloadTooLargeError, shared.PayloadTooLargeError, "HTTP_413"),
    (418, errors.HestiaAPIError, shared.APIError, "HTTP_418"),
    (422, InvalidInput, shared.UnprocessableError, "INVALID_INPUT"),
    (423, errors.HestiaLockedError, shared.LockedError, "HTTP_423"),
    (429, errors.HestiaRateLimitError, shared.RateLimitError, "HTTP_429"),
    (500, errors.HestiaServerError, shared.ServerError, "HTTP_500"),
    (502, errors.HestiaBadGatewayError, shared.BadGatewayError, "HTTP_502"),
    (503, errors.HestiaUnavailableError, shared.UnavailableError, "HTTP_503"),
    (504, errors.HestiaGatewayTimeoutError, shared.GatewayTimeoutError, "HTTP_504"),
    (599, errors.HestiaServerError, shared.ServerError, "HTTP_599"),
]


@pytest.mark.parametrize(("status", "kind", "base", "code"), STATUSES)
@pytest.mark.parametrize("streaming", [False, True], ids=["run", "stream"])
def test_every_status_has_its_class(
    connect: Connect,
    peers: Any,
    status: int,
    kind: type[errors.HestiaAPIError],
    base: type[shared.APIError],
    code: str,
    streaming: bool,
) -> None:
    peer = peers(answer(status, b"<html>not JSON</html>"))
    client = connect(peer, retries=0)
    with pytest.raises(HestiaError) as caught:
        next(client.stream("x")) if streaming else client.run("x")
    error = caught.value
    assert type(error) is kind
    assert isinstance(error, base)
    assert (error.status, error.code) == (status, code)
    assert error.body == b"<html>not JSON</html>"
    assert error.message, "there is something to read"
    assert str(error) == f"[{code}] {error.message}"
    assert error.trace_id == ("" if status == 403 else None)
    assert error.details is None


@pytest.mark.parametrize("call", ["run", "chat.run", "agents.run", "secrets.get", "system.config"])
def test_what_the_body_says(connect: Connect, peers: Any, call: str) -> None:
    arguments = {"agents.run": ("a", "t"), "system.config": ()}.get(call, ("x",))
    client = connect(peers(says(BLOCKED, 403, ("X-Request-Id", "r-5"))))
    with pytest.raises(GovernanceBlock) as caught:
        client.call(call, *arguments)
    error = caught.value
    assert error.trace_id == BLOCKED["trace_id"]
    assert error.message == "rule R-9"
    assert error.details == {"rule": "R-9"}
    assert str(error) == "[GOVERNANCE_BLOCK] rule R-9"
    assert error.request_id == "r-5"


def test_a_block_before_the_stream(connect: Connect, peers: Any) -> None:
    client = connect(peers(says(BLOCKED, 403)))
    with pytest.raises(GovernanceBlock, match="rule R-9") as caught:
        next(client.stream("x"))
    assert caught.value.trace_id == BLOCKED["trace_id"]


def test_codes_and_details_of_other_statuses(connect: Connect, peers: Any) -> None:
    body = {"code": "QUOTA", "message": "slow down", "trace_id": "t", "details": {"left": 0}}
    client = connect(peers(says(body, 429, ("Retry-After", "7"))), retries=0)
    with pytest.raises(errors.HestiaRateLimitError) as caught:
        client.run("x")
    error = caught.value
    assert (error.code, error.message, error.trace_id) == ("QUOTA", "slow down", "t")
    assert (error.details, error.retry_after) == ({"left": 0}, 7.0)


@pytest.mark.parametrize(
    ("body", "message", "details"),
    [
        ({"detail": "Not that"}, "Not that", None),
        ({"detail": [{"loc": ["input"]}]}, None, {"detail": [{"loc": ["input"]}]}),
        ({"error": "invalid"}, "invalid", None),
        ({"message": 5, "code": ["x"], "details": "y", "trace_id": 7}, None, None),
        ([1, 2], None, None),
        ("text", None, None),
    ],
)
def test_bodies_of_other_frameworks(
    connect: Connect, peers: Any, body: Any, message: str | None, details: Any
) -> None:
    with pytest.raises(InvalidInput) as caught:
        connect(peers(says(body, 422))).run("x")
    error = caught.value
    assert (error.code, error.details) == ("INVALID_INPUT", details)
    assert error.trace_id is None
    assert error.message == message if message else error.message


def test_a_message_is_no_page(connect: Connect, peers: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        connect(peers(says({"message": "x" * 50_000}, 422))).run("x")
    assert len(caught.value.message) < 2100


def test_a_redirect_names_its_origin_alone(connect: Connect, peers: Any) -> None:
    where = ("Location", "https://elsewhere.example/api?token=s3cret")
    with pytest.raises(errors.HestiaAPIError) as caught:
        connect(peers(answer(302, b"", [where]))).run("x")
    error = caught.value
    assert (error.status, error.code) == (302, "HTTP_302")
    assert "https://elsewhere.example" in error.message
    assert "s3cret" not in recorded(error)


# --- no whole reply


def test_nobody_listens(connect: Connect, tmp_path: Any) -> None:
    client = connect(f"unix://{tmp_path}/none.sock", retries=0)
    for call in (lambda: client.run("x"), lambda: next(client.stream("x"))):
        with pytest.raises(errors.HestiaConnectError) as caught:
            call()
        assert isinstance(caught.value, (shared.ConnectError, ConnectionError))
        assert caught.value.code == "CONNECT_FAILED"
        assert caught.value.sent is False


def test_the_server_hangs_up(connect: Connect, peers: Any) -> None:
    client = connect(peers(serve=lost), retries=0)
    with pytest.raises(errors.HestiaConnectionLostError) as caught:
        client.run("x")
    assert isinstance(caught.value, ConnectionError)


def test_the_time_is_over(connect: Connect, peers: Any) -> None:
    from tests.http.peer import stall

    client = connect(peers(serve=stall), timeout=0.05)
    for call in (
        lambda: client.run("x"),
        lambda: client.call("system.config", timeout=0.01),
        lambda: next(client.stream("x")),
    ):
        with pytest.raises(errors.HestiaDeadlineError) as caught:
            call()
        assert isinstance(caught.value, TimeoutError)
        assert caught.value.code == "TIMEOUT"


@pytest.mark.parametrize(
    "body", [b"not JSON", b"", b"null", b'{"result": "x"}', b'{"trace_id": 5}']
)
def test_a_reply_that_is_none(connect: Connect, peers: Any, body: bytes) -> None:
    with pytest.raises(errors.HestiaProtocolError) as caught:
        connect(peers(answer(200, body))).run("x")
    assert isinstance(caught.value, ValueError)
    assert caught.value.sent is True


def test_broken_http(connect: Connect, peers: Any) -> None:
    with pytest.raises(errors.HestiaProtocolError):
        connect(peers(b"SSH-2.0-OpenSSH_9.9\r\n\r\n"), retries=0).run("x")


def test_a_reply_over_the_limit(connect: Connect, peers: Any) -> None:
    from ostiary.config import Limits

    client = connect(peers(answer(200, b"x" * 5000)), limits=Limits(body=4096))
    with pytest.raises(errors.HestiaSizeLimitError):
        client.run("x")


def test_a_closed_client(connect: Connect, peers: Any) -> None:
    client = connect(peers(RUN))
    client.run("x")
    client.close()
    client.close()
    for call in (lambda: client.run("x"), lambda: next(client.stream("x"))):
        with pytest.raises(errors.HestiaStateError) as caught:
            call()
        assert isinstance(caught.value, RuntimeError)


# --- the classes themselves


def test_the_constructors_of_the_published_package() -> None:
    error = HestiaError("X_CODE", "what happened", "t-1")
    assert (error.code, error.message, error.trace_id) == ("X_CODE", "what happened", "t-1")
    assert str(error) == "[X_CODE] what happened"
    assert HestiaError(code="A", message="b").trace_id is None
    block = GovernanceBlock("t-2")
    assert (block.code, block.trace_id, block.status) == ("GOVERNANCE_BLOCK", "t-2", 403)
    assert GovernanceBlock(trace_id="t").trace_id == "t"
    assert str(block) == f"[GOVERNANCE_BLOCK] {block.message}"
    invalid = InvalidInput("bad", "t-3", {"field": "input"})
    assert (invalid.code, invalid.details) == ("INVALID_INPUT", {"field": "input"})
    assert str(InvalidInput()) == "[INVALID_INPUT] Invalid input"
    assert str(NotFound()) == "[NOT_FOUND] Resource not found"
    assert NotFound("gone", "t").trace_id == "t"
    for one in (block, invalid, NotFound()):
        assert isinstance(one, HestiaError)


def tree() -> list[type[HestiaError]]:
    found: list[type[HestiaError]] = []
    waiting: list[type[HestiaError]] = [HestiaError]
    while waiting:
        one = waiting.pop()
        if one.__module__.startswith("ostiary."):
            found.append(one)
        waiting += one.__subclasses__()
    return found


@pytest.mark.parametrize("cls", tree(), ids=lambda cls: cls.__name__)
def test_errors_travel_whole(cls: type[HestiaError]) -> None:
    error = cls("what happened")
    error.trace_id = "t-1"
    error.add_note("seen")
    pickles = [pickle.dumps(error, protocol) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]
    for other in (copy.copy(error), copy.deepcopy(error), *map(pickle.loads, pickles)):
        assert type(other) is cls
        assert other.args == error.args
        assert (str(other), repr(other), other.__dict__) == (
            str(error),
            repr(error),
            error.__dict__,
        )
        assert other.code == error.code


@pytest.mark.parametrize("cls", tree(), ids=lambda cls: cls.__name__)
def test_errors_say_something(cls: type[HestiaError]) -> None:
    assert cls.__doc__
    assert str(cls()).startswith(f"[{cls().code}] ")
    assert cls().code
    with pytest.raises(cls, match=r"^\["):
        raise cls("what happened")


def test_the_tree_is_drawn_as_it_is() -> None:
    path: list[str] = []
    drawn: dict[str, str | None] = {}
    for line in (errors.__doc__ or "").splitlines():
        if found := re.match(r"([│├└─ ]*)((?:Hestia|Governance|Invalid|Not)\w+)(?:  |$)", line):
            path = [*path[: len(found[1]) // 4], found[2]]
            drawn[found[2]] = path[-2] if len(path) > 1 else None
    classes = {cls.__name__: cls for cls in tree() if cls is not errors._FixedCode}
    assert set(drawn) == set(classes)
    for name, parent in drawn.items():
        if parent is not None:
            assert issubclass(classes[name], classes[parent])
            assert classes[parent] in (
                *classes[name].__bases__,
                *classes[name].__bases__[0].__bases__,
            )


def test_every_class_can_be_raised() -> None:
    """By a status, by the family of what happens below, or by this package itself."""
    reachable = {kind for _, kind, _, _ in STATUSES} | set(errors.FAMILY.values()) | {HestiaError}
    assert set(tree()) - reachable == {errors._FixedCode}  # the three with a fixed code


def test_public_names_are_all_exported() -> None:
    import ostiary.governance as package

    for cls in tree():
        if not cls.__name__.startswith("_"):
            assert getattr(package, cls.__name__) is cls
            assert cls.__name__ in package.__all__


# --- secrets


KEY = "k-s3cret-key-77"
VALUE = "v-s3cret-value-99"


def echoed(exchange: Any) -> None:
    """Say no, and repeat all that was asked, as servers do."""
    asked = exchange.asked
    exchange.json(
        {
            "code": "INVALID_INPUT",
            "message": asked.body.decode(),
            "details": {"headers": str(asked.headers), "input": asked.body.decode()},
        },
        422,
    )


def test_a_refused_secret_is_not_in_the_error(connect: Connect, peers: Any) -> None:
    client = connect(peers(echoed), KEY)
    with pytest.raises(InvalidInput) as caught:
        client.call("secrets.set", "k", VALUE)
    assert caught.value.body == b""
    for hidden in (KEY, VALUE):
        assert hidden not in recorded(caught.value)
        assert hidden not in str(caught.value.__dict__)


@pytest.mark.parametrize("fault", [lost, echoed, answer(200, b"nonsense"), answer(500)])
@pytest.mark.parametrize("call", ["run", "secrets.set", "secrets.get", "stream"])
def test_no_traceback_shows_the_key(connect: Connect, peers: Any, fault: Any, call: str) -> None:
    client = connect(peers(fault), KEY, retries=0)
    try:
        if call == "run":
            client.run("x")
        elif call == "stream":
            list(client.stream("x"))
        else:
            client.call(call, "k", *([VALUE] if call == "secrets.set" else []))
    except HestiaError as error:
        shown = recorded(error)
        assert KEY not in shown
        if fault is not echoed:
            assert VALUE not in shown
    else:
        assert call == "secrets.set", "its reply is not read"


@pytest.mark.parametrize(
    "arguments",
    [{"api_key": f"{KEY}\n"}, {"api_key": f"{KEY}\ud800"}, {"api_key": KEY, "base_url": "nope"}],
)
def test_a_refused_setting_does_not_show_the_key(arguments: dict[str, Any]) -> None:
    with pytest.raises(errors.HestiaArgumentError) as caught:
        GovernanceClient(**arguments)
    assert KEY not in recorded(caught.value)


def test_error_events_become_errors(connect: Connect, peers: Any) -> None:
    for data, kind in [
        ({"code": "GOVERNANCE_BLOCK", "message": "late"}, GovernanceBlock),
        ({"code": "TIMEOUT", "message": "slow"}, errors.HestiaGatewayTimeoutError),
        ({"code": "NOT_FOUND"}, NotFound),
        ({"code": "INVALID_INPUT", "details": {"a": 1}}, InvalidInput),
        ({"code": "OTHER"}, errors.HestiaAPIError),
        ({}, errors.HestiaAPIError),
    ]:
        body = "".join(
            f"data: {json.dumps({'type': t, 'data': d, 'trace_id': 't-4'})}\n\n"
            for t, d in (("start", {}), ("error", data), ("done", {}))
        )
        with pytest.raises(HestiaError) as caught:
            connect(peers(streams(body))).stream("x").collect()
        assert type(caught.value) is kind
        assert caught.value.trace_id == "t-4"
        assert caught.value.message == data.get("message", caught.value.message)
