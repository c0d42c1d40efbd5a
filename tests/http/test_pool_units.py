"""What of a pool needs no socket: waiting times, redirects, routes, headers of one request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary._retry import new_idempotency_key, retry_after_seconds
from ostiary._route import FailedReply, Route, encode_json, unreadable
from ostiary._wire.headers import Headers
from ostiary.config import parse_base_url
from ostiary.errors import InvalidArgumentError, NotFoundError
from ostiary.http._heads import ANYTHING, EVENTS, JSON, HeaderLines, Heads
from ostiary.http._replies import is_events, origin_named, refusal, retry_after
from ostiary.secret import Secret
from tests.frames import recorded

T = TypeVar("T")

# RFC 9110, 5.6.7: one moment in each of the three forms.
MOMENT = 784_111_777.0
FORMS = [
    "Sun, 06 Nov 1994 08:49:37 GMT",
    "Sunday, 06-Nov-94 08:49:37 GMT",
    "Sun Nov  6 08:49:37 1994",
]


class TestRetryAfter:
    @pytest.mark.parametrize(
        ("value", "seconds"),
        [("0", 0.0), ("120", 120.0), (" 7 ", 7.0), ("1.5", 1.5), ("999999999999", 999999999999.0)],
    )
    def test_seconds(self, value: str, seconds: float) -> None:
        assert retry_after_seconds(value, None, MOMENT) == seconds

    @pytest.mark.parametrize("form", FORMS)
    def test_dates(self, form: str) -> None:
        assert retry_after_seconds(form, None, MOMENT - 30) == 30.0
        assert retry_after_seconds(form, None, MOMENT) == 0.0
        assert retry_after_seconds(form, None, MOMENT + 30) == 0.0

    @pytest.mark.parametrize("form", FORMS)
    @pytest.mark.parametrize("said", FORMS)
    def test_the_peers_own_clock_is_asked_first(self, form: str, said: str) -> None:
        later = form.replace("08:49:37", "08:50:00")
        assert retry_after_seconds(later, said, MOMENT + 5e6) == 23.0
        assert retry_after_seconds(later, "no date", MOMENT) == 23.0

    @pytest.mark.parametrize(("year", "full"), [(77, 1977), (76, 2076), (26, 2026), (0, 2000)])
    def test_years_of_two_digits(self, year: int, full: int) -> None:
        now = 1_780_000_000.0  # in 2026
        found = retry_after_seconds(f"Sunday, 06-Nov-{year:02} 08:49:37 GMT", None, now)
        exact = retry_after_seconds(f"Sun, 06 Nov {full} 08:49:37 GMT", None, now)
        assert found == exact
        assert (found == 0.0) is (full < 2026)

    def test_a_leap_second_is_the_next_minute(self) -> None:
        at = retry_after_seconds("Sat, 31 Dec 2016 23:59:60 GMT", None, 0)
        assert at == retry_after_seconds("Sun, 01 Jan 2017 00:00:00 GMT", None, 0)

    @pytest.mark.parametrize(
        "value",
        [
            *(
                "",
                "-1",
                "+1",
                "1e3",
                "inf",
                "nan",
                "soon",
                "1 2",
                "0x10",
                "1" * 13,
                "1,5",
                "\u0661",
            ),
            *("Sun, 31 Feb 1994 08:49:37 GMT", "Sun, 06 Nov 1994 25:49:37 GMT"),
            *("Sun, 06 Nov 1994 08:49:61 GMT", "Sun, 06 Foo 1994 08:49:37 GMT"),
            *("Sun, 06 Nov 0000 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Nov 1994"),
            *("Sun, 06 Nov 1994 08:49:37 CET", "Sun, 6 Nov 1994 08:49:37 GMT"),
            "Sun, 06 Nov 1994 08:49:37 GMT, 7",
        ],
    )
    def test_what_is_neither(self, value: str) -> None:
        assert retry_after_seconds(value, None, MOMENT) is None

    @given(st.text(max_size=40), st.none() | st.text(max_size=40), st.floats(0, 4e9))
    def test_whatever_comes(self, value: str, date: str | None, now: float) -> None:
        found = retry_after_seconds(value, date, now)
        assert found is None or found >= 0

    @given(st.integers(0, 253_402_300_799), st.integers(0, 4_000_000_000))
    def test_every_date(self, moment: int, now: int) -> None:
        from email.utils import formatdate

        assert retry_after_seconds(formatdate(moment, usegmt=True), None, now) == max(
            0, moment - now
        )

    def test_from_headers(self) -> None:
        assert retry_after(Headers([("retry-after", "3")])) == 3.0
        assert retry_after(Headers([("retry-after", "3"), ("retry-after", "4")])) is None
        assert retry_after(Headers()) is None
        dates = Headers([("retry-after", FORMS[0]), ("date", "Sun, 06 Nov 1994 08:49:30 GMT")])
        assert retry_after(dates) == 7.0


def test_keys_differ() -> None:
    keys = {new_idempotency_key() for _ in range(100)}
    assert len(keys) == 100
    assert {len(key) for key in keys} == {36}


@pytest.mark.parametrize(
    ("locations", "said"),
    [
        (["https://elsewhere.example/hunter2?hunter2#hunter2"], "https://elsewhere.example;"),
        (["HTTP://Elsewhere.Example:8080"], "http://elsewhere.example:8080;"),
        (["https://user:hunter2@elsewhere.example/"], "https://elsewhere.example;"),
        (["https://a@hunter2@elsewhere.example/"], "https://elsewhere.example;"),
        (["//elsewhere.example/hunter2"], "elsewhere.example;"),
        (["https://[2001:db8::1]:1/hunter2"], "https://[2001:db8::1]:1;"),
        (["/hunter2"], "another path of "),
        (["hunter2"], "another path of "),
        (["?hunter2"], "another path of "),
        ([""], "no single place"),
        ([], "no single place"),
        (["https://a.example/", "https://b.example/"], "no single place"),
        (["javascript:hunter2"], "cannot be read"),
        (["mailto:hunter2@x"], "cannot be read"),
        (["https:hunter2"], "cannot be read"),
        (["https:///hunter2"], "cannot be read"),
        (["https://hunter2 x/"], "cannot be read"),
        (["https://x:hunter2/"], "cannot be read"),
        (["https:\\\\hunter2\\"], "cannot be read"),
        (["\\\\hunter2\\"], "cannot be read"),
        (["/\\hunter2"], "cannot be read"),
        (["//hunter2:x"], "cannot be read"),
        (["https://h\xe4\xfchunter2/"], "cannot be read"),
        (["https://" + "hunter2." * 5000], "cannot be read"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_where_a_redirect_leads(locations: list[str], said: str) -> None:
    named = origin_named(locations, parse_base_url("https://api.example/v1"))
    assert said.rstrip(";") in named
    assert "hunter2" not in named


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ('{"code":"a.b-c"}', "a.b-c"),
        ('{"code":42}', "42"),
        ('{"code":true}', None),
        ('{"code":""}', None),
        ('{"code":["x"]}', None),
        ('{"error":"not_found"}', "not_found"),
        ('{"error":"it was not found"}', None),
        ('{"error":{"code":"E1","type":"t"}}', "E1"),
        ('{"error":{"code":null,"type":"t"}}', "t"),
        ('{"error":[1]}', None),
        ('{"code":"' + "x" * 201 + '"}', None),
        ("[]", None),
        ("null", None),
        ("<html>", None),
        ("", None),
        (b"\xff\xfe", None),
        ("[" * 50_000, None),
    ],
    ids=lambda value: str(value)[:40],
)
def test_codes(body: str | bytes, code: str | None) -> None:
    data = body.encode() if isinstance(body, str) else body
    error = refusal(404, Headers(), data, "GET /", parse_base_url("http://h"), None)
    assert isinstance(error, NotFoundError)
    assert error.code == code


@given(st.text(max_size=60))
def test_a_location_never_shows_its_path(text: str) -> None:
    base = parse_base_url("https://api.example/v1")
    for location in (text, "https://h.example/" + text, "//h.example?" + text, "/" + text):
        said = origin_named([location], base)
        assert said.isprintable()
        assert len(said) < 400
        if location.startswith(("https://h.example/", "//h.example?")):
            assert said == "https://h.example"


@pytest.mark.parametrize(
    ("kind", "events"),
    [
        ("text/event-stream", True),
        ("TEXT/Event-Stream; charset=utf-8", True),
        (" text/event-stream ;x", True),
        ("text/event-streams", False),
        ("application/json", False),
        ("", False),
    ],
)
def test_what_says_that_it_is_an_event_stream(kind: str, events: bool) -> None:
    assert is_events(Headers([("content-type", kind)])) is events
    assert is_events(Headers())


class Thing(msgspec.Struct):
    id: str


class TestRoutes:
    def test_what_may_be_repeated(self) -> None:
        for method in ("GET", "HEAD", "PUT", "DELETE", "OPTIONS"):
            assert Route(method, "/", None).repeatable
            assert not Route(method, "/", None, idempotent=False).repeatable
        for method in ("POST", "PATCH", "get"):
            assert not Route(method, "/", None).repeatable
            assert Route(method, "/", None, idempotent=True).repeatable

    def test_it_is_frozen(self) -> None:
        route = Route("GET", "/a/{id}", Thing)
        with pytest.raises(AttributeError):
            route.method = "POST"
        with pytest.raises(AttributeError):
            del route.decode
        with pytest.raises(AttributeError):
            route.other = 1  # type: ignore[attr-defined]
        assert repr(route) == "Route('GET', '/a/{id}')"
        assert route.method == "GET"

    def test_a_bad_template_is_found_when_it_is_written(self) -> None:
        for template in ("a", "/{}", "/a/../b", "/{a}{b}"):
            with pytest.raises(InvalidArgumentError):
                Route("GET", template, None)

    def test_two_like_ones_are_two(self) -> None:
        assert len({Route("GET", "/", None), Route("GET", "/", None)}) == 2

    def test_a_failed_reply_shows_nothing_it_was_sent(self) -> None:
        reply = FailedReply(400, Headers([("a", "hunter2")]), b"hunter2", None, None, "GET /")
        assert "hunter2" not in repr(reply)
        assert "400" in repr(reply)


class Box(msgspec.Struct, Generic[T]):
    value: T


@pytest.mark.parametrize(
    "value", [object(), "\ud800hunter2", {1.5j: 1}, Secret("hunter2"), {1, "a", (2,)}]
)
def test_what_is_no_json(value: Any) -> None:
    if isinstance(value, set):
        assert encode_json(value, "it")
        return
    with pytest.raises(InvalidArgumentError, match="the body of POST /a cannot be sent") as caught:
        encode_json(Box(value), "the body of POST /a")
    assert "hunter2" not in recorded(caught.value)


def test_a_circle_is_no_json() -> None:
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(InvalidArgumentError):
        encode_json(circle, "it")


def test_an_unreadable_reply_shows_none_of_it() -> None:
    for problem in (
        msgspec.ValidationError("Invalid enum value 'hunter2' - at `$.a[...].b`"),
        msgspec.ValidationError("hunter2"),
        msgspec.DecodeError("JSON is malformed: hunter2"),
        UnicodeDecodeError("utf-8", b"hunter2", 0, 1, "hunter2"),
    ):
        assert "hunter2" not in str(unreadable("it", problem))
    assert "`$.a[...].b`" in str(
        unreadable("it", msgspec.ValidationError("Invalid enum value 'x' - at `$.a[...].b`"))
    )


class TestHeaderLines:
    def test_the_last_one_wins_whatever_its_case(self) -> None:
        lines = HeaderLines()
        lines.add({"A": "1", "b": "2"})
        lines.add({"a": "3"})
        assert list(lines) == [("a", "3"), ("b", "2")]
        assert "a" in lines
        assert lines.names() == {"a", "b"}
        both = lines.copied()
        both.add({"B": Secret("4")})
        assert list(both) == [("a", "3"), ("B", "4")]
        assert list(lines) == [("a", "3"), ("b", "2")]

    @pytest.mark.parametrize(
        "name",
        ["Authorization", "COOKIE", "Proxy-Authorization", "X-API-Key", "api-key", "X-Auth-Token"],
    )
    def test_known_keys_are_hidden(self, name: str) -> None:
        lines = HeaderLines()
        lines.add({name: "hunter2", "X-Plain": "shown"})
        assert "hunter2" not in repr(lines)
        assert lines.public() == {"X-Plain": "shown"}
        assert (name, "hunter2") in list(lines)

    def test_two_keys_are_one_too_many(self) -> None:
        lines = HeaderLines()
        lines.add({"Idempotency-Key": "a"})
        with pytest.raises(InvalidArgumentError, match="twice"):
            lines.one("idempotency-key", "b")


class TestHeads:
    @staticmethod
    def heads(**headers: Any) -> Heads:
        lines = HeaderLines()
        lines.add(headers)
        return Heads("h", lines, user_agent="a/1", compression=False)

    def test_each_is_made_once(self) -> None:
        heads = self.heads()
        assert heads.head("GET", JSON, False) is heads.head("GET", JSON, False)
        others = [
            heads.head("GET", JSON, True),
            heads.head("GET", EVENTS, False),
            heads.head("PUT", JSON, False),
        ]
        assert heads.head("GET", JSON, False) not in others

    def test_what_a_request_gives_is_left_out(self) -> None:
        heads = self.heads(A="1", B="2")
        over = HeaderLines()
        over.add({"a": "3", "USER-AGENT": "x", "C": "4"})
        head = heads.head("GET", ANYTHING, False, over)
        assert head.render(b"/") == b"GET / HTTP/1.1\r\nHost: h\r\nAccept: */*\r\nB: 2\r\n\r\n"
        assert heads.head("GET", ANYTHING, False, over) is head
        assert heads.head("GET", ANYTHING, False) is not head

    def test_endless_methods_are_not_all_kept(self) -> None:
        heads = self.heads()
        for n in range(1000):
            heads.head(f"M{n}", ANYTHING, False)
        assert len(heads._made) <= 256


def test_hidden_values_are_not_in_the_locals_of_what_raises() -> None:
    lines = HeaderLines()
    lines.add({"Authorization": "Bearer hunter2", "X-Bad": Secret("hunter2\n")})
    attempts: list[Callable[[], object]] = [
        lambda: Heads("h", lines, user_agent=None, compression=False),
        lambda: HeaderLines().add({"a": b"hunter2"}),
        lambda: HeaderLines().add({"Cookie": "hunter2\ud800"}),
        lambda: HeaderLines().add({"Cookie": "hunter2", "b": 5}),  # type: ignore[dict-item]
        lambda: HeaderLines().add([("a", "hunter2")]),  # type: ignore[arg-type]
    ]
    for attempt in attempts:
        with pytest.raises(InvalidArgumentError) as caught:
            attempt()
        assert "hunter2" not in recorded(caught.value)
