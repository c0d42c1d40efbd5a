"""Targets: urllib is the oracle for what is encoded, and no id leaves its segment."""

from __future__ import annotations

import enum
import math
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary._wire.target import Target
from ostiary.errors import InvalidArgumentError

# Without lone surrogates, which have no UTF-8.
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
ID = TEXT.filter(lambda text: text not in {"", ".", ".."})
SCALAR = st.one_of(
    TEXT, st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False)
)


def shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@given(ID, ID)
def test_ids_are_quoted_whole(one: str, two: str) -> None:
    target = Target("/v1/agents/{one}/traces/{two}:cancel").build(one, two)
    assert target.decode() == (
        f"/v1/agents/{quote(one, safe='')}/traces/{quote(two, safe='')}:cancel"
    )
    parts = target.decode().removesuffix(":cancel").split("/")
    assert len(parts) == 6
    assert [unquote(parts[3]), unquote(parts[5])] == [one, two]


@given(st.dictionaries(TEXT, st.one_of(st.none(), SCALAR, st.lists(st.none() | SCALAR))))
def test_queries_are_what_urlencode_makes(query: dict[str, Any]) -> None:
    pairs = [
        (name, shown(one))
        for name, value in query.items()
        for one in (value if isinstance(value, list) else [value])
        if one is not None
    ]
    expected = "/x" + ("?" if pairs else "") + urlencode(pairs, quote_via=quote, safe="")
    target = Target("/x").build(query=query).decode()
    assert target == expected
    assert parse_qsl(target.partition("?")[2], keep_blank_values=True) == pairs


@pytest.mark.parametrize("value", ["", ".", ".."])
@pytest.mark.parametrize("template", ["/a/{x}", "/a/{x}/b", "/a{x}", "/{x}:go"])
def test_ids_that_mean_another_path_are_refused(template: str, value: str) -> None:
    with pytest.raises(InvalidArgumentError, match="x"):
        Target(template).build(value)


@pytest.mark.parametrize("value", ["...", ".a", "a..", "%2e%2e", "..%2f", "../x", "/", "\\..", " "])
def test_ids_that_only_look_like_it_stay_in_their_segment(value: str) -> None:
    target = Target("/a/{x}/b").build(value).decode()
    assert target.count("/") == 3
    assert unquote(target.split("/")[2]) == value


@pytest.mark.parametrize("value", ["a\r\nX: y", "a b", "a?b", "a#b", "a\0", "\u2028", "é", "😀"])
def test_nothing_ends_a_line_or_the_path(value: str) -> None:
    target = Target("/a/{x}").build(value, query={value: value})
    assert all(0x21 <= byte <= 0x7E for byte in target)
    assert target.count(b"?") == 1
    assert b"#" not in target


class Colour(enum.StrEnum):
    RED = "red/blue"


class Number(enum.IntEnum):
    ONE = 1


def test_kinds_of_ids() -> None:
    target = Target("/{x}")
    assert target.build(7) == b"/7"
    assert target.build(-7) == b"/-7"
    assert target.build(Colour.RED) == b"/red%2Fblue"
    assert target.build(Number.ONE) == b"/1"
    for bad in (None, True, 1.5, b"x", ["x"], object()):
        with pytest.raises(InvalidArgumentError, match="x has to be"):
            target.build(bad)  # type: ignore[arg-type]


def test_kinds_in_queries() -> None:
    target = Target("/")
    query: dict[str, Any] = {"a": Colour.RED, "b": Number.ONE, "c": (1, "x", None), "d": 1e100}
    assert target.build(query=query) == b"/?a=red%2Fblue&b=1&c=1&c=x&d=1e%2B100"
    assert target.build(query={"a": "", "b": [], "c": None}) == b"/?a="
    assert target.build(query={}) == b"/"
    for bad in (math.nan, math.inf, b"x", object(), {"x": 1}, [[1]], [b"x"]):
        with pytest.raises(InvalidArgumentError, match="query"):
            target.build(query={"a": bad})  # type: ignore[dict-item]
    with pytest.raises(InvalidArgumentError, match="names"):
        target.build(query={1: "a"})  # type: ignore[dict-item]


def test_lone_surrogates_are_refused_and_not_shown() -> None:
    target = Target("/{x}")
    for value, query in (("S3CRET\ud800", "x"), ("x", "S3CRET\udfff")):
        with pytest.raises(InvalidArgumentError) as caught:
            target.build(value, query={"q": query})
        assert "S3CRET" not in str(caught.value)
        assert caught.value.__context__ is None


def test_long_text() -> None:
    assert Target("/{x}").build("é" * 10_000) == b"/" + b"%C3%A9" * 10_000
    many = {f"n{number}": "v w" * 40 for number in range(100)}
    built = Target("/a/{x}").build("y" * 600, query=many).decode()
    assert built == "/a/" + "y" * 600 + "?" + urlencode(many, quote_via=quote, safe="")


@pytest.mark.parametrize("values", [(), ("a", "b", "c")])
def test_the_number_of_values(values: tuple[str, ...]) -> None:
    with pytest.raises(InvalidArgumentError, match="takes 2"):
        Target("/{a}/{b}").build(*values)


@pytest.mark.parametrize(
    "template",
    ["", "a", "x/{a}", "/a b", "/a?b", "/a#b", "/é", "/a/../b", "/./a", "/a/..", "/{a", "/a}",
     "/{}", "/{a}{b}", "/{a}/{a}", "/{1}", "/{a b}", "/%zz", "/a\n"],
)  # fmt: skip
def test_templates_that_cannot_be(template: str) -> None:
    with pytest.raises(InvalidArgumentError, match="template"):
        Target(template)


def test_what_a_template_says() -> None:
    target = Target("/a%20b/{one}-{two}/~c")
    assert target.fields == ("one", "two")
    assert target.template == "/a%20b/{one}-{two}/~c"
    assert repr(target) == "Target('/a%20b/{one}-{two}/~c')"
    assert target.build("x", "y") == b"/a%20b/x-y/~c"
