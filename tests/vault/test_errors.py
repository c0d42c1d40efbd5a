"""The vault's exceptions, and what `fault` makes of everything a vault might send."""

from __future__ import annotations

import copy
import pickle
from typing import Any, cast

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ostiary import errors as shared
from ostiary.vault.errors import (
    CODE_TO_EXCEPTION,
    FAMILY,
    AccessDenied,
    AuthError,
    CredentialNotFound,
    KeyFileError,
    LeaseExpired,
    RateLimited,
    SessionExpired,
    VaultAPIError,
    VaultArgumentError,
    VaultConnectError,
    VaultError,
    VaultLocked,
    VaultSizeLimitError,
    VaultStateError,
    fault,
)

GUIDE = [
    ("AUTH_FAILED", AuthError, shared.AuthenticationError),
    ("ACCESS_DENIED", AccessDenied, shared.PermissionDeniedError),
    ("CREDENTIAL_NOT_FOUND", CredentialNotFound, shared.NotFoundError),
    ("VAULT_LOCKED", VaultLocked, shared.LockedError),
    ("LEASE_EXPIRED", LeaseExpired, shared.GoneError),
    ("RATE_LIMITED", RateLimited, shared.RateLimitError),
    ("SESSION_EXPIRED", SessionExpired, shared.AuthenticationError),
]

ALIASES: list[tuple[str | int, type[VaultError]]] = [
    ("NOT_FOUND", CredentialNotFound),
    ("POLICY_DENIED", AccessDenied),
    ("LEASE_EXHAUSTED", LeaseExpired),
    ("SSRF_BLOCKED", AccessDenied),
    (-33001, VaultAPIError),
    (-33003, AccessDenied),
    (-33004, LeaseExpired),
    (-33005, LeaseExpired),
    (-33008, RateLimited),
    (-33020, AccessDenied),
    (-33021, AccessDenied),
]

VERBATIM = [
    "INTERNAL_ERROR",
    "UNKNOWN",
    "INVALID_REQUEST",
    "METHOD_NOT_FOUND",
    "UNSUPPORTED_OPERATION",
    "CRYPTO_ERROR",
    "access_denied",
    " ACCESS_DENIED",
    "-32601",
]


class TestTheRoot:
    def test_defaults(self) -> None:
        error = VaultError("text")
        assert str(error) == error.message == "text"
        assert error.args == ("text",)
        assert error.code == "UNKNOWN"
        assert (error.detail, error.suggestion, error.docs_url) == (None, None, None)
        assert error.context == {}
        assert repr(error) == "VaultError(code='UNKNOWN', message='text')"

    def test_keeps_what_it_is_given(self) -> None:
        context = {"a": 1}
        error = VaultError(
            "text", code="C", detail="d", suggestion="s", docs_url="u", context=context
        )
        context["a"] = 2
        assert (error.code, error.detail, error.suggestion, error.docs_url) == tuple("Cdsu")
        assert error.context == {"a": 1}

    def test_two_errors_share_no_context(self) -> None:
        one, two = VaultError("x"), VaultError("x")
        one.context["a"] = 1
        assert two.context == {}

    def test_takes_one_positional_argument(self) -> None:
        with pytest.raises(TypeError):
            VaultError("text", "CODE")  # type: ignore[call-arg]


@pytest.mark.parametrize(("code", "cls", "parent"), GUIDE)
def test_the_guides_classes(code: str, cls: type[VaultError], parent: type[Exception]) -> None:
    error = cls("text")
    assert error.code == cls.default_code == code
    assert isinstance(error, VaultError)
    assert isinstance(error, parent)
    assert CODE_TO_EXCEPTION[code] is cls
    assert cls("text", code="OTHER").code == "OTHER"
    assert repr(error) == f"{cls.__name__}(code={code!r}, message='text')"


def test_errors_made_on_this_side_have_codes() -> None:
    assert KeyFileError("x").code == "AUTH_FAILED"
    assert VaultArgumentError("x").code == "INVALID_REQUEST"
    assert VaultStateError("x").code == "INTERNAL_ERROR"
    assert VaultConnectError("x").code == "INTERNAL_ERROR"
    assert VaultSizeLimitError("x").code == "INTERNAL_ERROR"


def test_transport_errors_say_whether_the_request_left() -> None:
    assert VaultConnectError("x").sent is False
    error = VaultSizeLimitError("x", sent=True, detail="d")
    assert error.sent is True
    assert (copy.copy(error).sent, pickle.loads(pickle.dumps(error)).detail) == (True, "d")


def test_the_tables_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        CODE_TO_EXCEPTION["X"] = AuthError  # type: ignore[index]
    with pytest.raises(TypeError):
        FAMILY[shared.OstiaryError] = AuthError  # type: ignore[index]


class TestFault:
    @pytest.mark.parametrize(("code", "cls"), [*((row[0], row[1]) for row in GUIDE), *ALIASES])
    def test_known_codes(self, code: str | int, cls: type[VaultError]) -> None:
        error = fault({"code": code, "message": "no"})
        assert type(error) is cls
        assert error.code == str(code)  # the peer's own word, also where the class has another
        assert str(error) == "no"

    @pytest.mark.parametrize("code", VERBATIM)
    def test_other_codes_are_kept_verbatim(self, code: str) -> None:
        error = fault({"code": code, "message": "no"})
        assert type(error) is VaultAPIError
        assert error.code == code

    def test_integer_codes_of_other_spellings(self) -> None:
        assert type(fault({"code": -33003.0})) is AccessDenied
        assert type(fault({"code": "-33003"})) is AccessDenied
        assert fault({"code": -32601}).code == "-32601"

    def test_every_field(self) -> None:
        # protocol reference 9.4, in our own words
        error = fault(
            {
                "code": "ACCESS_DENIED",
                "message": "nothing allows it",
                "detail": "demo may not read a/b",
                "suggestion": "ask the owner",
                "docs_url": "https://docs.example/x",
                "context": {"path": "a/b"},
            }
        )
        assert isinstance(error, AccessDenied)
        assert error.status == 403
        assert error.detail == "demo may not read a/b"
        assert error.suggestion == "ask the owner"
        assert error.docs_url == "https://docs.example/x"
        assert error.context == {"path": "a/b"}

    def test_a_string(self) -> None:
        error = fault("old style text")
        assert type(error) is VaultAPIError
        assert (error.code, str(error), error.context) == ("UNKNOWN", "old style text", {})

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"code": None, "message": None, "detail": None, "context": None},
            {"code": True, "message": 5, "detail": [], "suggestion": {}, "context": "x"},
            {"code": "", "message": "", "docs_url": ""},
            {"code": [], "message": {}, "context": []},
            {"code": 10**5000},
            {"code": float("nan")},
            {"code": 1.5},
        ],
    )
    def test_members_of_a_wrong_type_count_as_not_sent(self, body: dict[str, object]) -> None:
        error = fault(body)
        assert type(error) is VaultAPIError
        assert error.code == "INTERNAL_ERROR"
        assert str(error) == "Unknown error"
        assert (error.detail, error.suggestion, error.docs_url) == (None, None, None)
        assert error.context == {}

    @pytest.mark.parametrize("body", [None, 0, 17, True, 2.5, [], ["x"], "", b"bytes", object()])
    def test_what_is_no_error_shape_at_all(self, body: object) -> None:
        error = fault(body)
        assert type(error) is VaultAPIError
        assert str(error)

    def test_data_stands_in_for_context(self) -> None:
        assert fault({"code": 5, "data": {"a": 1}}).context == {"a": 1}
        assert fault({"code": 5, "data": {"a": 1}, "context": {"b": 2}}).context == {"b": 2}
        assert fault({"code": 5, "data": "text"}).context == {}

    @pytest.mark.parametrize("key", ["context", "data"])
    @pytest.mark.parametrize(
        ("member", "seconds"),
        [
            ({"retry_after": 3}, 3.0),
            ({"retry_after": 0}, 0.0),
            ({"retryAfter": 1.5}, 1.5),
            ({"retry_after_ms": 250}, 0.25),
            ({"retryAfterMs": 250}, 0.25),
            ({"retry_after": "4"}, 4.0),
            ({"retry_after": 3, "retry_after_ms": 9999}, 3.0),
            ({"retry_after": None, "retryAfter": 2}, 2.0),
            ({"retry_after": -1}, None),
            ({"retry_after": True}, None),
            ({"retry_after": "soon"}, None),
            ({"retry_after": "nan"}, None),
            ({"retry_after": float("inf")}, None),
            ({"retry_after": 10**400}, None),
            ({"retry_after": [3]}, None),
            ({}, None),
        ],
    )
    def test_the_time_to_wait(
        self, key: str, member: dict[str, object], seconds: float | None
    ) -> None:
        error = fault({"code": "RATE_LIMITED", "message": "slow", key: member})
        assert isinstance(error, RateLimited)
        assert error.retry_after == seconds
        assert error.retryable is True

    def test_the_time_to_wait_beside_the_code(self) -> None:
        assert fault({"code": "RATE_LIMITED", "retry_after": 6}).retry_after == 6.0
        both = {"code": "RATE_LIMITED", "context": {"x": 1}, "data": {"retryAfter": 7}}
        assert fault(both).retry_after == 7.0

    def test_the_reply_cannot_be_changed_through_the_error(self) -> None:
        body: dict[str, Any] = {"code": "X", "context": {"a": 1}}
        fault(body).context["a"] = 2
        assert body["context"] == {"a": 1}


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=True, allow_infinity=True)
    | st.text(st.characters())
    | st.sampled_from([code for code, *_ in GUIDE] + [code for code, _ in ALIASES])
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
MEMBERS = st.sampled_from(
    [
        *("code", "message", "detail", "suggestion", "docs_url", "context", "data"),
        *("retry_after", "retryAfter", "retry_after_ms", "retryAfterMs", "x"),
    ]
)
BODIES = JSON | st.dictionaries(
    MEMBERS, JSON | st.dictionaries(MEMBERS, JSON, max_size=4), max_size=8
)


@given(BODIES)
@example({"code": 10**400, "data": {"retryAfter": 10**400}})
@example({"code": "\ud800", "message": "\udfff"})
def test_whatever_arrives_becomes_a_whole_vault_error(body: object) -> None:
    error = fault(body)
    assert isinstance(error, VaultError)
    assert isinstance(error, shared.APIError)
    assert isinstance(error.code, str)
    assert error.code
    assert isinstance(str(error), str)
    assert str(error)
    assert repr(error)
    assert isinstance(error.context, dict)
    for text in (error.detail, error.suggestion, error.docs_url):
        assert text is None or isinstance(text, str)
    assert error.retry_after is None or 0 <= error.retry_after < float("inf")
    sent = cast("dict[str, object]", body).get("code") if isinstance(body, dict) else None
    if isinstance(sent, str) and sent:
        assert error.code == sent
        assert type(error) is CODE_TO_EXCEPTION.get(error.code, VaultAPIError)
    # repr, because a NaN inside the context is unlike itself
    assert repr(pickle.loads(pickle.dumps(error)).__dict__) == repr(error.__dict__)
    assert repr(copy.deepcopy(error).__dict__) == repr(error.__dict__)


@given(st.binary(max_size=200))
def test_whatever_json_decodes_becomes_a_vault_error(data: bytes) -> None:
    try:
        body = msgspec.json.decode(b'{"code":' + data + b"}")
    except msgspec.DecodeError:
        return
    assert isinstance(fault(body), VaultError)


@given(st.dictionaries(st.integers() | st.binary() | st.none() | st.text(), st.text()))
def test_keys_that_are_no_text_are_dropped(body: dict[object, str]) -> None:
    error = fault({"code": "X", "context": body})
    assert set(error.context) == {key for key in body if isinstance(key, str)}
