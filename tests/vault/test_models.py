"""What a vault answers, read leniently where that is safe and refused where it is not."""

from __future__ import annotations

import base64
import copy
import json
import pickle
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.errors import SecretExposureError
from ostiary.secret import Secret
from ostiary.vault.errors import VaultProtocolError
from ostiary.vault.models import (
    Ciphertext,
    Credential,
    HttpHeader,
    HttpResponse,
    LeaseInfo,
    Plaintext,
    Signature,
    read_time,
)

FULL: dict[str, Any] = {
    "path": "maps/token",
    "type": "token",
    "description": "of the map service",
    "tags": ["geo", "read"],
    "created_at": "2031-05-06T07:08:09Z",
    "updated_at": 1936163289.5,
    "access_count": 3,
    "last_accessed_by": "demo",
    "last_accessed_at": 1936163289,
    "rotated_at": "2031-05-06T07:08:09+02:00",
    "metadata": {"owner": {"team": 1}},
}


def credential(body: object) -> Credential:
    return msgspec.json.decode(json.dumps(body).encode(), type=Credential)


class TestCredential:
    def test_is_a_mapping_with_attributes(self) -> None:
        entry = credential(FULL)
        assert dict(entry) == FULL == {**entry}
        assert list(entry) == list(entry.keys()) == list(FULL)
        assert list(entry.values()) == list(FULL.values())
        assert list(entry.items()) == list(FULL.items())
        assert len(entry) == len(FULL)
        assert issubclass(Credential, Mapping)
        for name, value in FULL.items():
            assert getattr(entry, name) == entry[name] == entry.get(name) == value
            assert name in entry

    def test_what_was_not_sent_is_none_as_attribute_and_absent_as_key(self) -> None:
        entry = credential({"path": "a"})
        assert dict(entry) == {"path": "a"}
        assert entry.type is None
        assert entry.tags is None
        assert entry.get("type") is None
        assert entry.get("type", "unknown") == "unknown"
        assert "type" not in entry
        with pytest.raises(KeyError, match="type"):
            entry["type"]

    def test_null_counts_as_not_sent(self) -> None:
        entry = credential(dict.fromkeys(FULL) | {"path": "a"})
        assert entry == credential({"path": "a"})

    def test_empty_values_were_sent(self) -> None:
        entry = credential({"path": "a", "tags": [], "access_count": 0, "description": ""})
        assert dict(entry) == {"path": "a", "description": "", "tags": [], "access_count": 0}

    def test_unknown_members_are_dropped(self) -> None:
        entry = credential({"path": "a", "colour": "red", "value": "never shown"})
        assert dict(entry) == {"path": "a"}
        assert "colour" not in entry
        assert "never shown" not in repr(entry)

    @pytest.mark.parametrize("name", ["keys", "get", "colour", "__len__", "", 5, None, ["x"]])
    def test_only_members_are_keys(self, name: Any) -> None:
        entry = credential(FULL)
        assert name not in entry
        with pytest.raises(KeyError):
            entry[name]

    def test_a_pattern_matches_it(self) -> None:
        match credential(FULL):
            case {"path": path, "type": "token"}:
                assert path == "maps/token"
            case _:
                pytest.fail("a mapping pattern must match")

    @pytest.mark.parametrize("body", [{}, {"path": None}, {"path": 5}, [], "a", {"type": "x"}])
    def test_the_path_is_needed(self, body: object) -> None:
        with pytest.raises(msgspec.ValidationError):
            credential(body)

    def test_it_is_frozen_and_survives_a_trip(self) -> None:
        entry = credential(FULL)
        with pytest.raises(AttributeError):
            entry.path = "b"  # type: ignore[misc]
        assert pickle.loads(pickle.dumps(entry)) == copy.deepcopy(entry) == entry


class TestLeaseInfo:
    def test_fields(self) -> None:
        lease = msgspec.convert(
            {"lease_id": "L-1", "path": "a", "ttl": 30, "expires_at": 60.5, "x": 1}, LeaseInfo
        )
        assert (lease.lease_id, lease.path, lease.ttl) == ("L-1", "a", 30.0)
        assert lease.expires == datetime(1970, 1, 1, 0, 1, 0, 500_000, tzinfo=UTC)

    def test_only_the_id_is_needed(self) -> None:
        lease = msgspec.convert({"lease_id": "L-1", "ttl": None}, LeaseInfo)
        assert (lease.ttl, lease.expires, lease.path) == (None, None, None)
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({"path": "a"}, LeaseInfo)


class TestHttpHeader:
    @pytest.mark.parametrize(
        "result",
        [
            {"header_name": "Authorization", "header_value": "Bearer hi"},
            {"header": "Authorization: Bearer hi"},
            {"header_name": "Authorization", "header_value": "Bearer hi", "header": "ignored"},
        ],
    )
    def test_both_spellings(self, result: object) -> None:
        header = HttpHeader.from_result(result)
        assert header.name == "Authorization"
        assert isinstance(header.value, Secret)
        assert header.reveal() == ("Authorization", "Bearer hi")

    def test_the_value_is_hidden(self) -> None:
        header = HttpHeader.from_result({"header_name": "X-Key", "header_value": "hunter2"})
        assert "hunter2" not in f"{header!r} {header}"
        with pytest.raises(SecretExposureError):
            pickle.dumps(header)
        with pytest.raises(TypeError):
            msgspec.json.encode(header)

    @pytest.mark.parametrize(
        "result",
        [
            None,
            [],
            "Authorization: x",
            {},
            {"header": "no colon"},
            {"header": 5},
            {"header": ": hunter2"},
            {"header_name": "X"},
            {"header_value": "hunter2"},
            {"header_name": "", "header_value": "hunter2"},
            {"header_name": "X Y", "header_value": "hunter2"},
            {"header_name": "X:", "header_value": "hunter2"},
            {"header_name": "X\r\nY", "header_value": "hunter2"},
            {"header_name": "X\n", "header_value": "hunter2"},
            {"header_name": "\u00e9", "header_value": "hunter2"},
            {"header_name": "X", "header_value": "hunter2\r\nY: z"},
            {"header_name": "X", "header_value": "hunter2\n"},
            {"header_name": "X", "header_value": "hunter2\x00"},
            {"header_name": "X", "header_value": "hunter2\x7f"},
            {"header_name": "X", "header_value": "hunter2\ud800"},
            {"header_name": "X", "header_value": ["hunter2"]},
        ],
    )
    def test_what_is_no_header_is_refused_without_showing_it(self, result: object) -> None:
        with pytest.raises(VaultProtocolError, match="http_header") as caught:
            HttpHeader.from_result(result)
        error = caught.value
        assert error.sent is True
        assert "hunter2" not in f"{error!r} {error.__dict__!r} {error.__context__!r}"

    def test_a_tab_and_other_scripts_are_allowed(self) -> None:
        value = "a\tb \u00e9"
        header = HttpHeader.from_result({"header_name": "X", "header_value": value})
        assert header.value == value


class TestHttpResponse:
    def test_a_text_body(self) -> None:
        response = HttpResponse.from_result(
            {"status": 200, "headers": {"A": "b"}, "body": '{"x":"\u00e9"}', "extra": 1}
        )
        assert response.status == 200
        assert response.headers == {"A": "b"}
        assert response.body == '{"x":"\u00e9"}'.encode()
        assert response.text == '{"x":"\u00e9"}'
        assert response.json() == {"x": "\u00e9"}

    def test_a_binary_body(self) -> None:
        body = bytes(range(256))
        response = HttpResponse.from_result(
            {"status": 200, "body": base64.b64encode(body).decode(), "body_encoding": "base64"}
        )
        assert response.body == body
        assert "\ufffd" in response.text

    @pytest.mark.parametrize("result", [{"status": 204}, {"status": 204, "body": None}])
    def test_no_body(self, result: object) -> None:
        response = HttpResponse.from_result(result)
        assert (response.body, response.text, response.headers) == (b"", "", {})

    @pytest.mark.parametrize(
        ("content_type", "text"),
        [
            ("text/plain; charset=latin-1", "\u00c3\u00a9"),
            ('text/plain;Charset="iso-8859-1"', "\u00c3\u00a9"),
            ("text/plain; charset=utf-8", "\u00e9"),
            ("text/plain; charset=no-such-thing", "\u00e9"),
            ("text/plain; charset=rot13", "\u00e9"),
            ("text/plain; charset=base64", "\u00e9"),
            ("text/plain", "\u00e9"),
        ],
    )
    def test_the_charset(self, content_type: str, text: str) -> None:
        response = HttpResponse(200, {"content-TYPE": content_type}, "\u00e9".encode())
        assert response.text == text

    def test_a_repeated_header(self) -> None:
        response = HttpResponse.from_result({"status": 200, "headers": {"A": ["b", "c"]}})
        assert response.headers == {"A": "b, c"}

    @pytest.mark.parametrize(
        "result",
        [
            None,
            [],
            {},
            {"status": None},
            {"status": "200"},
            {"status": True},
            {"status": 200.5},
            {"status": 200, "headers": []},
            {"status": 200, "headers": {"A": 5}},
            {"status": 200, "headers": {"A": ["b", None]}},
            {"status": 200, "headers": {"A": 10**5000}},
            {"status": 200, "body": 5},
            {"status": 200, "body": "\ud800"},
            {"status": 200, "body": "a", "body_encoding": "base64"},
            {"status": 200, "body": "####", "body_encoding": "base64"},
            {"status": 200, "body": "YQ==", "body_encoding": "gzip"},
            {"status": 200, "body": "\u00e9", "body_encoding": "base64"},
        ],
        ids=range(17),
    )
    def test_what_is_no_response_is_refused(self, result: object) -> None:
        with pytest.raises(VaultProtocolError, match="http_request"):
            HttpResponse.from_result(result)

    @pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"nope", b"[" * 100_000])
    def test_a_body_that_is_no_json(self, body: bytes) -> None:
        with pytest.raises(VaultProtocolError, match="not JSON") as caught:
            HttpResponse(200, {}, body).json()
        assert caught.value.__context__ is None

    def test_the_repr_shows_no_content(self) -> None:
        response = HttpResponse(200, {"Set-Cookie": "hunter2"}, b"hunter2")
        assert "hunter2" not in repr(response)
        assert "200" in repr(response)


class TestSmallResults:
    def test_signature(self) -> None:
        assert Signature.from_result({"signature": "YWI=", "algorithm": "x"}).raw == b"ab"

    @pytest.mark.parametrize(
        "result", [None, {}, {"signature": None}, {"signature": "a"}, {"signature": "\u00e9"}]
    )
    def test_no_signature(self, result: object) -> None:
        with pytest.raises(VaultProtocolError, match="sign"):
            Signature.from_result(result)

    def test_a_signature_made_by_hand_may_be_none(self) -> None:
        with pytest.raises(VaultProtocolError, match="base64"):
            _ = Signature("####").raw

    def test_ciphertext(self) -> None:
        assert Ciphertext.from_result({"ciphertext": "opaque"}).ciphertext == "opaque"
        for result in (None, {}, {"ciphertext": 5}):
            with pytest.raises(VaultProtocolError, match="encrypt"):
                Ciphertext.from_result(result)

    def test_plaintext(self) -> None:
        plain = Plaintext.from_result({"plaintext": "hunter2"})
        assert plain.reveal() == "hunter2"
        assert "hunter2" not in repr(plain)
        for result in (None, {}, {"plaintext": 5}, {"plaintext": "\ud800"}):
            with pytest.raises(VaultProtocolError, match="decrypt"):
                Plaintext.from_result(result)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
RESULTS = JSON | st.dictionaries(
    st.sampled_from(
        [
            *("header", "header_name", "header_value", "status", "headers", "body"),
            *("body_encoding", "signature", "ciphertext", "plaintext"),
        ]
    ),
    JSON | st.sampled_from(["base64", "utf-8", "YWI=", 200]),
)


@pytest.mark.parametrize("cls", [HttpHeader, HttpResponse, Signature, Ciphertext, Plaintext])
@given(result=RESULTS)
def test_every_result_is_read_or_refused(cls: Any, result: object) -> None:
    try:
        read = cls.from_result(result)
    except VaultProtocolError:
        return
    assert type(read) is cls
    if isinstance(read, HttpResponse):
        assert isinstance(read.text, str)
    elif isinstance(read, (HttpHeader, Plaintext)):
        assert read.reveal() is not None


class TestTimes:
    @pytest.mark.parametrize(
        ("value", "moment"),
        [
            ("2031-05-06T07:08:09Z", datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)),
            ("2031-05-06T07:08:09.5Z", datetime(2031, 5, 6, 7, 8, 9, 500_000, tzinfo=UTC)),
            ("2031-05-06 07:08:09", datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)),
            ("2031-05-06T09:08:09+02:00", datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)),
            ("2031-05-06", datetime(2031, 5, 6, tzinfo=UTC)),
            (0, datetime(1970, 1, 1, tzinfo=UTC)),
            (1.5, datetime(1970, 1, 1, 0, 0, 1, 500_000, tzinfo=UTC)),
        ],
    )
    def test_both_spellings(self, value: object, moment: datetime) -> None:
        assert read_time(value) == moment

    @pytest.mark.parametrize(
        "value",
        [
            None,
            "",
            "soon",
            True,
            [],
            {},
            b"2031",
            10**400,
            1e300,
            float("nan"),
            float("inf"),
            "x\ud800",
        ],
    )
    def test_what_names_no_moment(self, value: object) -> None:
        assert read_time(value) is None

    @given(st.datetimes(), st.integers(-23 * 60, 23 * 60))
    def test_iso_text_comes_back(self, naive: datetime, minutes: int) -> None:
        moment = naive.replace(tzinfo=timezone(timedelta(minutes=minutes)))
        assert read_time(moment.isoformat()) == moment

    @given(JSON)
    def test_it_never_raises(self, value: object) -> None:
        moment = read_time(value)
        assert moment is None or moment.tzinfo is not None
