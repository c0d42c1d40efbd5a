"""Headers: a mapping that forgets no value and shows none."""

from __future__ import annotations

import copy
import pickle

import pytest

from ostiary._wire.headers import Headers
from ostiary._wire.parser import ResponseParser


@pytest.fixture
def headers() -> Headers:
    """As a reader makes them."""
    parser = ResponseParser()
    parser.expect()
    found = parser.feed(
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nSet-Cookie: a=1, b\r\nX-Empty:\r\n"
        b"SET-cookie:\t c=2 \t\r\nX-Latin: \xe9\r\n\r\n"
    )
    assert found is not None
    return found.headers


def test_any_case(headers: Headers) -> None:
    for name in ("content-length", "Content-Length", "CONTENT-LENGTH"):
        assert headers[name] == "0"
        assert name in headers
        assert headers.get(name) == "0"


def test_many_values(headers: Headers) -> None:
    assert headers["set-cookie"] == "a=1, b, c=2"
    assert headers.get_all("Set-Cookie") == ["a=1, b", "c=2"]
    assert headers.get_all("nothing") == []


def test_a_mapping(headers: Headers) -> None:
    names = ["content-length", "set-cookie", "x-empty", "x-latin"]
    assert list(headers) == headers.keys() == names
    assert len(headers) == 4
    assert headers.values() == ["0", "a=1, b, c=2", "", "\xe9"]
    assert dict(headers.items()) == dict(zip(names, headers.values(), strict=True))
    assert dict(headers) == dict(headers.items())
    assert headers.multi_items()[3] == ("set-cookie", "c=2")
    assert headers.raw[-1] == (b"x-latin", b"\xe9")


@pytest.mark.parametrize(
    "name", ["", "content", "content-lengthx", "set\0cookie", "s\xe9t", "ſet-cookie"]
)
def test_absent(headers: Headers, name: str) -> None:
    assert name not in headers
    assert headers.get(name) is None
    assert headers.get(name, 7) == 7
    with pytest.raises(KeyError):
        headers[name]


def test_what_is_no_name(headers: Headers) -> None:
    assert 5 not in headers
    with pytest.raises(TypeError):
        headers[b"content-length"]  # type: ignore[index]


def test_made_by_hand(headers: Headers) -> None:
    made = Headers([("A", "1"), (b"b", b"\xff"), ("a", "2")])
    assert made["a"] == "1, 2"
    assert made["B"] == "\xff"
    assert len(Headers()) == 0
    assert Headers(headers.raw) == headers != made
    assert headers != headers.raw


def test_copies_and_pickles(headers: Headers) -> None:
    assert copy.deepcopy(headers) == headers == pickle.loads(pickle.dumps(headers))


def test_shows_names_alone(headers: Headers) -> None:
    assert repr(headers) == "Headers(['content-length', 'set-cookie', 'x-empty', 'x-latin'])"
