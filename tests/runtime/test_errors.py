"""Each refusal's class and fields, the guide's constructors, and what errors keep to themselves."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest

import ostiary.errors as shared
from ostiary._route import FailedReply
from ostiary._wire.headers import Headers
from ostiary.errors import adopt
from ostiary.runtime import errors

ERRORS: list[type[errors.SymbiontError]] = [
    one
    for one in (getattr(errors, name) for name in errors.__all__)
    if isinstance(one, type) and issubclass(one, errors.SymbiontError)
]
STATUSES = [
    (400, errors.BadRequestError, shared.BadRequestError),
    (401, errors.AuthenticationError, shared.AuthenticationError),
    (402, errors.APIError, shared.APIError),
    (403, errors.PermissionDeniedError, shared.PermissionDeniedError),
    (404, errors.NotFoundError, shared.NotFoundError),
    (405, errors.MethodNotAllowedError, shared.MethodNotAllowedError),
    (409, errors.ConflictError, shared.ConflictError),
    (410, errors.GoneError, shared.GoneError),
    (413, errors.PayloadTooLargeError, shared.PayloadTooLargeError),
    (415, errors.APIError, shared.APIError),
    (422, errors.ValidationFailedError, shared.UnprocessableError),
    (423, errors.LockedError, shared.LockedError),
    (429, errors.RateLimitError, shared.RateLimitError),
    (500, errors.ServerError, shared.ServerError),
    (501, errors.ServerError, shared.ServerError),
    (502, errors.BadGatewayError, shared.BadGatewayError),
    (503, errors.UnavailableError, shared.UnavailableError),
    (504, errors.GatewayTimeoutError, shared.GatewayTimeoutError),
    (599, errors.ServerError, shared.ServerError),
]
SIBLINGS = [errors.AuthenticationError, errors.NotFoundError, errors.RateLimitError]
# What programs written for the guide look for.
TEXTS = {401: "Authentication failed", 404: "Resource not found", 429: "Rate limit exceeded"}


def failed(
    status: int,
    body: Any = b"",
    *,
    request_id: str | None = None,
    retry_after: float | None = None,
    headers: tuple[tuple[str, str], ...] = (),
) -> FailedReply:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return FailedReply(status, Headers(headers), raw, retry_after, request_id, "GET /x")


@pytest.mark.parametrize(("status", "kind", "base"), STATUSES)
def test_a_status_has_its_class(status: int, kind: Any, base: Any) -> None:
    body = {"error": "the reason", "code": "SOME_CODE", "details": {"field": "name"}}
    error = errors.refusal(failed(status, body, request_id="r-1", retry_after=2.5))
    assert type(error) is kind
    assert isinstance(error, (errors.SymbiontError, base))
    assert error.status_code == error.status == status  # type: ignore[attr-defined]
    assert error.response_text == json.dumps(body)
    assert "the reason" in str(error)
    assert (error.code, error.details) == ("SOME_CODE", {"field": "name"})
    assert (error.request_id, error.retry_after) == ("r-1", 2.5)
    assert error.attempts == 1
    if status in TEXTS:
        assert str(error).startswith(TEXTS[status])
        assert not isinstance(error, errors.APIError)
    else:
        assert isinstance(error, errors.APIError)
        assert f"status {status}" in str(error)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.args, again.__dict__) == (kind, error.args, error.__dict__)
    assert again.response_text == error.response_text


@pytest.mark.parametrize("status", [row[0] for row in STATUSES])
def test_without_a_reason_it_says_what_to_do(status: int) -> None:
    error = errors.refusal(failed(status))
    assert len(str(error)) > 25
    assert error.response_text == ""
    assert (error.code, error.details) == (None, None)


NO_REASON = "nothing has that name; check it, and the base URL"
FORMS: list[tuple[Any, str, Any, Any]] = [
    ({"error": "why", "code": "C", "details": None}, "why", "C", None),
    (
        {"error": {"code": "C", "message": "why", "details": {"a": 1}, "request_id": "r-9"}},
        "why",
        "C",
        {"a": 1},
    ),
    (b"Invalid URL: Cannot parse `agent_id`", "Invalid URL: Cannot parse `agent_id`", None, None),
    (b"", NO_REASON, None, None),
    # Beyond the four: what frameworks send by themselves, and what is no answer at all.
    ({"detail": "why"}, "why", None, None),
    ({"detail": [{"loc": ["body"]}]}, NO_REASON, None, [{"loc": ["body"]}]),
    ({"error": "failed", "timestamp": "2026-03-01T10:00:00Z"}, "failed", None, None),
    (b"<html><body>gone</body></html>", NO_REASON, None, None),
    (b'{"error": ', NO_REASON, None, None),
    (b"\xff\xfe", NO_REASON, None, None),
    (b'"text"', '"text"', None, None),
    ({"error": 5, "code": ["C"], "details": "d"}, NO_REASON, None, "d"),
    ([1, 2], NO_REASON, None, None),
    (b"[" * 5000, NO_REASON, None, None),
]


@pytest.mark.parametrize(("body", "reason", "code", "details"), FORMS, ids=range(len(FORMS)))
def test_the_forms_of_a_body(body: Any, reason: str, code: Any, details: Any) -> None:
    error = errors.refusal(failed(404, body))
    assert str(error) == f"Resource not found: {reason}"
    assert (error.code, error.details) == (code, details)


def test_the_nested_form_names_its_request() -> None:
    body = {"error": {"code": "C", "message": "why", "request_id": "r-9"}}
    assert errors.refusal(failed(404, body)).request_id == "r-9"
    assert errors.refusal(failed(404, body, request_id="of the header")).request_id == (
        "of the header"
    )


def test_headers_come_without_credentials() -> None:
    error = errors.refusal(
        failed(429, headers=(("X-RateLimit-Reset", "60"), ("Set-Cookie", "session=hidden")))
    )
    assert error.headers == {"x-ratelimit-reset": "60"}
    assert errors.NotFoundError().headers == {}


def test_a_long_reason_is_cut() -> None:
    error = errors.refusal(failed(400, {"error": "x" * 5000}))
    assert len(str(error)) < 2100
    assert len(error.response_text or "") > 5000


@pytest.mark.parametrize("status", [row[0] for row in STATUSES])
def test_a_refusal_of_a_secret_repeats_nothing(status: int) -> None:
    secret = "hvs.NEVER-SHOWN"
    bodies = [
        {"error": f"bad {secret}", "code": "INVALID_INPUT", "details": {"value": secret}},
        {"error": {"message": secret, "code": secret, "request_id": secret}},
        secret.encode(),
    ]
    for body in bodies:
        error = errors.refusal_without_echo(failed(status, body, request_id="r-1"))
        assert secret not in f"{error!r} {error} {error.__dict__} {error.response_text}"
        assert error.status_code == status
        assert error.request_id == "r-1"
    told = errors.refusal_without_echo(failed(status, bodies[0]))
    assert told.code == "INVALID_INPUT"
    assert "INVALID_INPUT; what else the server said is not kept" in str(told)


def test_a_conflict_is_settled_only_where_the_server_says_so() -> None:
    resolution = {"outcome": "not_executed", "signature": "MEUC"}
    for body in (
        {"error": "settled", "code": "RECONCILED", "resolution": resolution},
        {"error": "settled", "code": "RECONCILED", "details": {"resolution": resolution}},
        {"error": {"message": "settled", "code": "RECONCILED", "resolution": resolution}},
    ):
        error = errors.refusal(failed(409, body, request_id="r-1"))
        assert type(error) is errors.ReconciledInvocationError
        assert (error.resolution, error.code) == (resolution, "RECONCILED")
        assert (error.status_code, error.request_id) == (409, "r-1")
        assert error.response_text == json.dumps(body)
        assert pickle.loads(pickle.dumps(error)).resolution == resolution
    for status, body in (
        (409, {"error": "taken", "code": "AGENT_EXISTS", "details": {"resolution": None}}),
        (409, {"error": "taken"}),
        (409, b""),
        (422, {"error": "no", "resolution": resolution}),
    ):
        assert type(errors.refusal(failed(status, body))) in {
            errors.ConflictError,
            errors.ValidationFailedError,
        }
    made = errors.ReconciledInvocationError("m", resolution, "body")
    assert (made.status_code, made.resolution, made.response_text) == (409, resolution, "body")


# The guide's tree and constructors.


def test_the_four_of_the_guide_are_siblings() -> None:
    for one in (errors.APIError, *SIBLINGS):
        assert one.__mro__.count(errors.SymbiontError) == 1
        others = {errors.APIError, *SIBLINGS} - {one}
        assert not any(issubclass(one, other) for other in others)


def test_the_constructors_of_the_guide() -> None:
    assert errors.SymbiontError("m").status_code is None
    assert errors.SymbiontError("m", 418).status_code == 418
    error = errors.APIError("m", 400, "body")
    assert (str(error), error.status_code, error.response_text) == ("m", 400, "body")
    assert errors.APIError("m", status_code=500).response_text is None
    for sibling, status in zip(SIBLINGS, (401, 404, 429), strict=True):
        one = sibling("m", "body")
        assert (str(one), one.status_code, one.response_text) == ("m", status, "body")
        assert str(sibling()).startswith(TEXTS[status])
        assert sibling(message="m", response_text=None).response_text is None


@pytest.mark.parametrize("kind", ERRORS, ids=lambda one: one.__name__)
def test_every_error_is_ours_and_travels(kind: Any) -> None:
    error = kind("what happened")
    error.code = "C"
    error.response_text = "text"
    error.attempts = 3
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(again) is kind
        assert str(again) == "what happened"
        assert (again.code, again.response_text, again.attempts) == ("C", "text", 3)
    assert isinstance(error, shared.OstiaryError)
    assert kind.__doc__
    namesake = getattr(shared, kind.__name__, None)
    assert namesake is None or issubclass(kind, namesake)


def test_builtin_classes_catch_them_too() -> None:
    assert issubclass(errors.RequestTimeoutError, TimeoutError)
    assert issubclass(errors.ReviewTimeoutError, TimeoutError)
    assert issubclass(errors.WaitTimeoutError, TimeoutError)
    assert issubclass(errors.ConnectionFailedError, ConnectionError)
    assert issubclass(errors.InvalidArgumentError, ValueError)
    assert issubclass(errors.ResponseFormatError, ValueError)
    assert issubclass(errors.ClientStateError, RuntimeError)


@pytest.mark.parametrize("name", shared.__all__)
def test_what_arises_below_becomes_ours(name: str) -> None:
    kind: Any = getattr(shared, name)
    if not isinstance(kind, type) or kind is shared.SecretExposureError:
        return
    if kind is shared.OstiaryError or (
        issubclass(kind, shared.APIError) and kind is not shared.APIError
    ):
        return  # statuses are read by `refusal`
    error = kind("what happened")
    error.attempts = 2
    ours = adopt(error, errors.FAMILY)
    assert isinstance(ours, (errors.SymbiontError, kind))
    assert (str(ours), ours.attempts) == ("what happened", 2)
    assert getattr(ours, "sent", None) == getattr(error, "sent", None)
    assert adopt(ours, errors.FAMILY) is ours


@pytest.mark.parametrize("kind", ERRORS, ids=lambda one: one.__name__)
def test_what_is_ours_stays_what_it_is(kind: Any) -> None:
    error = kind("what happened")
    assert adopt(error, errors.FAMILY) is error


def test_what_may_be_tried_again() -> None:
    again = {kind.__name__ for kind in ERRORS if kind.retryable}
    assert again == {
        "RateLimitError",
        "ConnectionFailedError",
        "ConnectError",
        "ConnectionLostError",
        "BadGatewayError",
        "UnavailableError",
        "GatewayTimeoutError",
    }


def test_a_feature_that_is_missing_is_not_found() -> None:
    error = errors.FeatureNotAvailableError("no schedules here")
    assert isinstance(error, errors.NotFoundError)
    assert error.status_code == 404


def test_a_wait_tells_what_was_seen_last() -> None:
    error = errors.ReviewTimeoutError("too late", last={"status": "analyzing"})
    assert pickle.loads(pickle.dumps(error)).last == {"status": "analyzing"}


def test_a_setting_is_named() -> None:
    error = errors.ConfigurationError("bad", "SYMBIONT_TIMEOUT")
    assert pickle.loads(pickle.dumps(error)).config_key == "SYMBIONT_TIMEOUT"
    assert isinstance(error, errors.InvalidArgumentError)
