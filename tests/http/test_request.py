"""Request heads: nothing that a caller gives can end a line or change the framing."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary._wire.request import OURS, RequestHead
from ostiary.errors import InvalidArgumentError

BREAKS = [
    "\r",
    "\n",
    "\r\n",
    "\0",
    "\r\nX: y",
    "\n\nGET / HTTP/1.1",
    "\x0b",
    "\x0c",
    "\x7f",
    "\x1b",
]


def served(data: bytes) -> tuple[h11.Request, bytes]:
    """Read a request as h11's server does; there must be one, and nothing behind it."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    request = connection.next_event()
    assert isinstance(request, h11.Request)
    body = b""
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Data):
            body += bytes(event.data)
        else:
            assert isinstance(event, h11.EndOfMessage)
            assert connection.trailing_data == (b"", False)
            return request, body


def test_a_whole_request() -> None:
    head = RequestHead("POST", "localhost:8000", {"Accept": "application/json"})
    data = head.render(b"/v1/x?y=1", b'{"a":1}', [("Authorization", "Bearer t")])
    assert data == (
        b"POST /v1/x?y=1 HTTP/1.1\r\nHost: localhost:8000\r\nAccept: application/json\r\n"
        b'Authorization: Bearer t\r\nContent-Length: 7\r\n\r\n{"a":1}'
    )
    request, body = served(data)
    assert (request.method, request.target, body) == (b"POST", b"/v1/x?y=1", b'{"a":1}')


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "OPTIONS", "POST", "PUT", "PATCH"])
def test_content_length_is_computed(method: str) -> None:
    head = RequestHead(method, "h")
    announced = b"Content-Length: 0\r\n" in head.render(b"/")
    assert announced == (method in {"POST", "PUT", "PATCH"})
    for size in (0, 1, 9, 10, 99, 100, 65535, 100_000):
        data = head.render(b"/", b"x" * size)
        assert b"\r\nContent-Length: %d\r\n\r\n" % size in data
        assert served(data)[1] == b"x" * size


@pytest.mark.parametrize("bad", BREAKS)
class TestInjection:
    """In every place a caller can reach, at the start, in the middle and at the end."""

    def test_method(self, bad: str) -> None:
        for method in (bad, bad + "GET", "G" + bad + "ET", "GET" + bad):
            with pytest.raises(InvalidArgumentError):
                RequestHead(method, "h")

    def test_host(self, bad: str) -> None:
        for host in (bad, bad + "h", "h" + bad + "h", "h" + bad):
            with pytest.raises(InvalidArgumentError):
                RequestHead("GET", host)

    def test_header_name(self, bad: str) -> None:
        for name in (bad, bad + "x", "x" + bad + "x", "x" + bad):
            with pytest.raises(InvalidArgumentError):
                RequestHead("GET", "h", {name: "v"})
            with pytest.raises(InvalidArgumentError):
                RequestHead("GET", "h").render(b"/", None, {name: "v"})

    def test_header_value(self, bad: str) -> None:
        for value in (bad, bad + "S3CRET", "S3CRET" + bad + "x", "S3CRET" + bad):
            for attempt in (
                lambda value=value: RequestHead("GET", "h", {"X": value}),
                lambda value=value: RequestHead("GET", "h").render(b"/", None, [("X", value)]),
            ):
                with pytest.raises(InvalidArgumentError) as caught:
                    attempt()
                assert "S3CRET" not in str(caught.value)
                assert "X" in str(caught.value)

    def test_target(self, bad: str) -> None:
        head = RequestHead("GET", "h")
        for target in ("/" + bad, "/a" + bad + "b", bad + "/a"):
            with pytest.raises(InvalidArgumentError):
                head.render(target.encode())


@pytest.mark.parametrize(
    "target", [b"", b"a", b"*", b"http://h/", b"/a b", b"/\xe9", b"/a#b", b"?x"]
)
def test_targets_that_cannot_be(target: bytes) -> None:
    with pytest.raises(InvalidArgumentError):
        RequestHead("GET", "h").render(target)


@pytest.mark.parametrize("method", ["", " ", "G ET", "GET ", "G:T", "CONNECT", "Connect", "\xe9"])
def test_methods_that_cannot_be(method: str) -> None:
    with pytest.raises(InvalidArgumentError):
        RequestHead(method, "h")


@pytest.mark.parametrize("host", ["", "a b", "a/b", "a?b", "a#b", "u@h", "h\xe9", "a\\b", '"'])
def test_hosts_that_cannot_be(host: str) -> None:
    with pytest.raises(InvalidArgumentError):
        RequestHead("GET", host)


@pytest.mark.parametrize("host", ["localhost", "h:1", "[::1]:80", "a-b.example", "%2Frun%2Fx.sock"])
def test_hosts_that_can(host: str) -> None:
    assert f"\r\nHost: {host}\r\n".encode() in RequestHead("GET", host).render(b"/")


@pytest.mark.parametrize("name", sorted(OURS))
def test_headers_that_are_not_the_callers(name: str) -> None:
    for spelling in (name, name.title(), name.upper()):
        with pytest.raises(InvalidArgumentError, match="not the caller's"):
            RequestHead("GET", "h", {spelling: "x"})
        with pytest.raises(InvalidArgumentError, match="not the caller's"):
            RequestHead("GET", "h").render(b"/", None, {spelling: "x"})


def test_what_is_not_the_callers_covers_framing() -> None:
    assert {"content-length", "transfer-encoding", "host", "connection", "upgrade"} <= OURS


@pytest.mark.parametrize("name", ["", "a b", "a:", ":", "\xe9", "a\t", "(a)", 5, None, b"x"])
def test_names_that_cannot_be(name: object) -> None:
    with pytest.raises(InvalidArgumentError):
        RequestHead("GET", "h", [(name, "v")])  # type: ignore[list-item]


@pytest.mark.parametrize(
    "value", [" a", "a ", "\ta", "a\t", "\xe9", "\u0131", "\ud800", 5, None, b"x"]
)
def test_values_that_cannot_be(value: object) -> None:
    with pytest.raises(InvalidArgumentError):
        RequestHead("GET", "h", [("X", value)])  # type: ignore[list-item]


@pytest.mark.parametrize("value", ["", "a", "a b", "a\tb", "~!@#$%^&*()", "x" * 5000])
def test_values_that_can(value: str) -> None:
    request, _ = served(RequestHead("GET", "h", {"X": value}).render(b"/"))
    assert dict(request.headers)[b"x"] == value.encode()


def test_a_refused_request_leaves_the_head_usable() -> None:
    head = RequestHead("GET", "h", {"A": "1"})
    good = head.render(b"/")
    with pytest.raises(InvalidArgumentError):
        head.render(b"/", None, [("B", "2"), ("C", "\n")])
    assert head.render(b"/") == good


def test_repr_shows_no_header() -> None:
    head = RequestHead("GET", "h", {"Authorization": "S3CRET"})
    assert repr(head) == "RequestHead('GET', 'h')"


@given(
    st.text(max_size=6),
    st.text(max_size=6),
    st.text(max_size=8),
    st.text(max_size=8),
    st.binary(max_size=8),
    st.binary(max_size=8),
)
def test_any_text_is_one_request_or_an_error(
    method: str, host: str, name: str, value: str, target: bytes, body: bytes
) -> None:
    try:
        data = RequestHead(method, host, {name: value}).render(b"/" + target, body)
    except InvalidArgumentError:
        return
    request, received = served(data)
    assert (request.method, request.target) == (method.encode(), b"/" + target)
    assert received == body
    sent = [(b"host", host.encode()), (name.lower().encode(), value.encode())]
    assert list(request.headers) == [*sent, (b"content-length", b"%d" % len(body))]
