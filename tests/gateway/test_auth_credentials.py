"""The two tokens of a request: sent, and otherwise shown to nobody."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.errors import SecretExposureError
from ostiary.gateway.auth.credentials import GatewayCredentials
from ostiary.gateway.errors import AuthError, SpiffeAuthError, TraTAcquisitionError
from ostiary.secret import Secret
from tests.gateway import tokens
from tests.gateway.hiding import assert_hides

SVID, TRAT = tokens.svid(), tokens.trat()


@pytest.fixture
def credentials() -> GatewayCredentials:
    return GatewayCredentials(SVID, Secret(TRAT))


def test_they_are_sent(credentials: GatewayCredentials) -> None:
    assert credentials.auth_headers() == {"Authorization": f"Bearer {SVID}", "Txn-Token": TRAT}
    assert (credentials.spiffe_jwt, credentials.trat) == (SVID, TRAT)
    hidden = credentials.hidden_headers()
    assert {name: value.reveal() for name, value in hidden.items()} == credentials.auth_headers()
    assert SVID not in repr(hidden)


def test_nothing_is_sent_of_what_there_is_not() -> None:
    """Direct mode has no tokens, and no bare `Bearer ` goes out."""
    assert GatewayCredentials("", "").auth_headers() == {}
    assert GatewayCredentials("mock-spiffe-jwt", "").auth_headers() == {
        "Authorization": "Bearer mock-spiffe-jwt"
    }


@pytest.mark.parametrize("token", [SVID, "short", "12345678", "x"])
def test_nothing_shows_them(token: str) -> None:
    """Not the first eight characters either, which is all of a short one."""
    one = GatewayCredentials(token, token)
    for text in (repr(one), str(one), f"{one}", f"{one!r:>200}", repr([one])):
        assert text.strip(" []") == "GatewayCredentials(spiffe_jwt=<hidden>, trat=<hidden>)"
    assert not hasattr(one, "__dict__")
    assert not dataclasses.is_dataclass(one)
    with pytest.raises(TypeError):
        dataclasses.asdict(one)  # type: ignore[call-overload]
    with pytest.raises(TypeError):
        vars(one)
    with pytest.raises(TypeError):
        json.dumps(one)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_they_stay_in_the_process(credentials: GatewayCredentials, protocol: int) -> None:
    with pytest.raises(SecretExposureError):
        pickle.dumps(credentials, protocol)


def test_a_copy_is_the_same(credentials: GatewayCredentials) -> None:
    assert copy.copy(credentials) is credentials
    assert copy.deepcopy({"x": credentials})["x"] is credentials


def test_they_do_not_change(credentials: GatewayCredentials) -> None:
    for name in ("trat", "_trat", "other"):
        with pytest.raises(AttributeError):
            setattr(credentials, name, "x")
    with pytest.raises(AttributeError):
        del credentials._trat


def test_they_are_compared_by_content(credentials: GatewayCredentials) -> None:
    assert credentials == GatewayCredentials(Secret(SVID), TRAT)
    assert credentials != GatewayCredentials(SVID, SVID)
    assert credentials != (SVID, TRAT)
    with pytest.raises(TypeError):
        hash(credentials)


BAD = [
    f"{SVID}\r\nX-Evil: 1",
    f"{SVID}\n",
    f" {SVID}",
    "a b",
    "a\x00b",
    "a\tb",
    "caf\u00e9",
    "a,b",
    "a;b",
    'a"b',
    "=",
    "a=b",
    "\udc80",
    "x" * (64 * 1024 + 1),
]


@pytest.mark.parametrize("bad", BAD, ids=range(len(BAD)))
def test_what_is_no_token_is_refused(bad: str) -> None:
    """A line break would begin a header of its own."""
    for kind, given_ in ((SpiffeAuthError, (bad, TRAT)), (TraTAcquisitionError, (SVID, bad))):
        with pytest.raises(kind) as caught:
            GatewayCredentials(*given_)
        assert_hides(caught.value, bad, SVID, TRAT)


@pytest.mark.parametrize("wrong", [None, 5, b"bytes", ["x"]])
def test_a_token_is_text(wrong: Any) -> None:
    with pytest.raises(AuthError, match="text or a Secret"):
        GatewayCredentials(wrong, TRAT)


@given(st.text(max_size=40), st.text(max_size=40))
def test_any_text_is_sent_as_it_is_or_refused(one: str, two: str) -> None:
    try:
        found = GatewayCredentials(one, two)
    except AuthError:
        return
    for value in found.auth_headers().values():
        assert value.isascii()
        assert value.isprintable()
    assert (found.spiffe_jwt, found.trat) == (one, two)
