"""The guide's errors: their codes, their families, and what a refusal becomes."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ostiary.errors as shared
from ostiary._route import FailedReply
from ostiary._wire.headers import Headers
from ostiary.errors import OstiaryError, adopt
from ostiary.gateway import errors
from ostiary.gateway.errors import (
    FAMILY,
    AuthError,
    ConfigurationError,
    ForbiddenError,
    GatewayAPIError,
    GatewayError,
    GatewayTransportError,
    GatewayUnavailableError,
    RateLimitError,
    SageSanctumError,
    SubprocessError,
)
from ostiary.gateway.refusals import error_object, refusal

# The guide's table: name, code, parent.
TABLE = [
    ("SageSanctumError", 1, OstiaryError),
    ("AuthError", 10, "SageSanctumError"),
    ("SpiffeAuthError", 11, "AuthError"),
    ("TraTAcquisitionError", 12, "AuthError"),
    ("TraTExpiredError", 13, "AuthError"),
    ("ForbiddenError", 20, "SageSanctumError"),
    ("ModelNotAuthorizedError", 21, "ForbiddenError"),
    ("ScopeNotAuthorizedError", 22, "ForbiddenError"),
    ("GatewayError", 30, "SageSanctumError"),
    ("RateLimitError", 31, "GatewayError"),
    ("GatewayUnavailableError", 32, "GatewayError"),
    ("ValidationError", 40, "SageSanctumError"),
    ("InputValidationError", 41, "ValidationError"),
    ("PathTraversalError", 42, "ValidationError"),
    ("ConfigurationError", 43, "ValidationError"),
    ("OutputError", 50, "SageSanctumError"),
    ("OutputWriteError", 51, "OutputError"),
    ("SarifValidationError", 52, "OutputError"),
    ("ModelError", 60, "SageSanctumError"),
    ("ModelNotAvailableError", 61, "ModelError"),
    ("ModelRefParseError", 62, "ModelError"),
    ("ExternalToolError", 70, "SageSanctumError"),
    ("SubprocessError", 71, "ExternalToolError"),
    ("SubprocessTimeoutError", 72, "ExternalToolError"),
    ("OutputParseError", 73, "ExternalToolError"),
]


@pytest.mark.parametrize(("name", "code", "parent"), TABLE, ids=[row[0] for row in TABLE])
def test_each_has_its_code_and_parent(name: str, code: int, parent: Any) -> None:
    cls = getattr(errors, name)
    assert cls.exit_code == code == cls("x").exit_code
    assert issubclass(cls, parent if isinstance(parent, type) else getattr(errors, parent))
    assert cls("x", exit_code=99).exit_code == 99
    assert cls.exit_code == code
    assert str(cls("what happened")) == "what happened"


def test_the_guides_codes_are_all_different() -> None:
    assert len({code for _, code, _ in TABLE}) == len(TABLE)


def test_no_class_leaves_the_range_of_its_family() -> None:
    """Also those of ours that have no code in the guide."""
    for name in errors.__all__:
        cls = getattr(errors, name)
        if not isinstance(cls, type):
            continue
        for family in (10, 20, 40, 50, 60, 70):
            root = next(getattr(errors, row[0]) for row in TABLE if row[1] == family)
            if issubclass(cls, root):
                assert family <= cls.exit_code < family + 10, name


def test_a_given_code_travels() -> None:
    error = pickle.loads(pickle.dumps(ConfigurationError("x", exit_code=5)))
    assert (error.exit_code, error.args) == (5, ("x",))


def test_what_a_process_left_behind() -> None:
    error = SubprocessError("semgrep failed", returncode=2, stderr="no rules")
    assert (error.returncode, error.stderr, error.exit_code) == (2, "no rules", 71)
    assert (SubprocessError("x").returncode, SubprocessError("x").stderr) == (1, "")


def test_a_call_says_how_it_went() -> None:
    error = GatewayError("x", status=418, code="teapot", request_id="r", retry_after=2, attempts=3)
    assert (error.status, error.code, error.request_id) == (418, "teapot", "r")
    assert (error.retry_after, error.attempts) == (2, 3)
    plain = GatewayError("x")
    assert (plain.status, plain.code, plain.request_id, plain.retry_after) == (None,) * 4
    assert plain.attempts == 1


@pytest.mark.parametrize("cls", list(FAMILY), ids=lambda cls: cls.__name__)
def test_every_shared_condition_becomes_ours(cls: type[OstiaryError]) -> None:
    error = cls("what happened")
    error.attempts = 4
    adopted = adopt(error, FAMILY)
    assert isinstance(adopted, SageSanctumError)
    assert isinstance(adopted, cls)
    assert adopted.message == "what happened"
    assert adopted.attempts == 4


def test_what_is_ours_is_left_alone() -> None:
    """A configuration error is an argument error too, and must not lose its code."""
    for name, code, _ in TABLE:
        error = getattr(errors, name)("x")
        assert adopt(error, FAMILY) is error
        assert error.exit_code == code


def test_a_gateway_that_is_not_there_has_code_32() -> None:
    adopted = adopt(shared.ConnectError("nobody"), FAMILY)
    assert isinstance(adopted, GatewayUnavailableError)
    assert isinstance(adopted, GatewayTransportError)
    assert isinstance(adopted, ConnectionError)
    assert adopted.exit_code == 32
    assert adopted.retryable
    assert not adopted.sent


def reply(status: int, body: bytes | object = b"", **more: Any) -> FailedReply:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return FailedReply(
        status,
        Headers(),
        data,
        more.get("retry_after"),
        more.get("request_id"),
        "POST /v1/chat/completions",
    )


def said(code: object, message: object = "no", **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, "type": "t", "code": code, **more}}


@pytest.mark.parametrize(
    ("status", "kind", "exit_code"),
    [
        (400, shared.BadRequestError, 30),
        (401, shared.AuthenticationError, 10),
        (403, shared.PermissionDeniedError, 20),
        (404, shared.NotFoundError, 30),
        (405, shared.MethodNotAllowedError, 30),
        (409, shared.ConflictError, 30),
        (410, shared.GoneError, 30),
        (413, shared.PayloadTooLargeError, 30),
        (422, shared.UnprocessableError, 30),
        (423, shared.LockedError, 30),
        (429, shared.RateLimitError, 31),
        (500, shared.ServerError, 30),
        (502, shared.BadGatewayError, 32),
        (503, shared.UnavailableError, 32),
        (504, shared.GatewayTimeoutError, 32),
        (529, shared.ServerError, 30),
        (418, shared.APIError, 30),
    ],
)
def test_a_refusal_is_of_both_families(
    status: int, kind: type[shared.APIError], exit_code: int
) -> None:
    error = refusal(reply(status, said("word"), retry_after=3.0, request_id="req-1"))
    assert isinstance(error, GatewayAPIError)
    assert isinstance(error, kind)
    assert error.status == status
    assert error.exit_code == exit_code
    assert error.retryable == (status in {429, 502, 503, 504})
    assert (error.code, error.request_id, error.retry_after) == ("word", "req-1", 3.0)
    assert f"status {status} (word)" in error.message
    assert "wait 3 seconds" in error.message
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert again.__dict__ == error.__dict__


@pytest.mark.parametrize(
    ("status", "code", "kind", "exit_code"),
    [
        (401, "svid_missing", errors.SpiffeAuthError, 11),
        (401, "svid_malformed", errors.SpiffeAuthError, 11),
        (401, "svid_invalid", errors.SpiffeAuthError, 11),
        (401, "svid_expired", errors.SpiffeAuthError, 11),
        (401, "txn_token_missing", errors.TraTAcquisitionError, 12),
        (401, "txn_token_multiple", errors.TraTAcquisitionError, 12),
        (401, "txn_token_invalid", errors.TraTAcquisitionError, 12),
        (401, "txn_token_expired", errors.TraTExpiredError, 13),
        (401, "anything", AuthError, 10),
        (403, "model_not_allowed", errors.ModelNotAuthorizedError, 21),
        (403, "provider_not_allowed", errors.ModelNotAuthorizedError, 21),
        (403, "scope_not_authorized", errors.ScopeNotAuthorizedError, 22),
        (403, "tool_not_allowed", errors.ScopeNotAuthorizedError, 22),
        (403, "identity_mismatch", ForbiddenError, 20),
    ],
)
def test_the_gateways_word_refines_the_class(
    status: int, code: str, kind: type[SageSanctumError], exit_code: int
) -> None:
    """401 and 403 are errors of the gateway and of identity: handlers of either get them."""
    error = refusal(reply(status, said(code, param="model")))
    assert isinstance(error, kind)
    assert isinstance(error, GatewayError)
    assert error.exit_code == exit_code
    assert error.param == "model"
    assert "about model" in error.message


def test_a_word_counts_with_its_status_alone() -> None:
    assert type(refusal(reply(500, said("svid_missing")))) is errors.GatewayServerError


def test_rate_limits_are_the_guides_and_the_shared_ones() -> None:
    error = refusal(reply(429, b"", retry_after=7.5))
    assert type(error) is RateLimitError
    assert error.retry_after == 7.5


SECRET = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJz.c2VjcmV0"


@pytest.mark.parametrize(
    "body",
    [
        said("model_not_allowed", message=f"your token was {SECRET}"),
        said(SECRET),
        said(SECRET * 3),
        said(f"a {SECRET}"),
        {"error": f"{SECRET} is wrong"},
        {"code": [SECRET], "error": None},
        {"error": {"code": {"x": SECRET}, "type": [SECRET], "param": f"{SECRET} "}},
        SECRET.encode(),
        b"\xff\xfe" + SECRET.encode(),
        b"[" * 100_000,
    ],
    ids=range(10),
)
def test_what_the_gateway_writes_is_in_no_message(body: Any) -> None:
    """It may quote a prompt or a token; it stays in `body`, which nothing prints."""
    error = refusal(reply(401, body))
    assert SECRET not in str(error)
    assert SECRET not in repr(error)
    assert error.code is None or SECRET not in error.code
    assert error.body


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (said(None), "t"),
        (said(1305), "1305"),
        ({"error": "overloaded"}, "overloaded"),
        ({"code": "quota", "error": {}}, "quota"),
        ({"type": "limit"}, "limit"),
        (b"", None),
        (b"null", None),
        (b"<html>", None),
    ],
)
def test_words_are_found_where_peers_put_them(body: Any, code: str | None) -> None:
    assert refusal(reply(400, body)).code == code


@given(st.binary(max_size=200), st.integers(300, 599))
def test_any_body_makes_an_error(body: bytes, status: int) -> None:
    error = refusal(reply(status, body))
    assert error.status == status
    assert error.message.isprintable()


def test_an_error_without_a_reply() -> None:
    error = error_object(503, code="overloaded", endpoint="the stream")
    assert isinstance(error, GatewayUnavailableError)
    assert error.message.startswith("the stream was refused with status 503 (overloaded)")
