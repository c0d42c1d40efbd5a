"""Iteration over pages: all items, each once, and an end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary._calls.pages._sync import Pages
from ostiary.runtime.errors import ServerError
from ostiary.runtime.models import PaginationInfo
from tests.http.peer import Exchange, Script

from .conftest import Client, refuses, review, says, shown

Connect = Callable[..., Client]


def listing(items: list[dict[str, Any]], member: str) -> Script:
    """Serve `items` in pages, as the guide's server does."""

    def serve(exchange: Exchange) -> None:
        while True:
            query = parse_qs(urlsplit(exchange.request().target).query)
            page, limit = int(query["page"][0]), int(query["limit"][0])
            found = items[(page - 1) * limit : page * limit]
            told = {"page": page, "limit": limit, "total": len(items)}
            told["has_next"] = page * limit < len(items)
            exchange.json({member: found, "pagination": told})

    return serve


@pytest.mark.parametrize(("total", "pages"), [(0, 1), (1, 1), (3, 1), (4, 2), (7, 3)])
def test_all_reviews_come(connect: Connect, peers: Any, total: int, pages: int) -> None:
    items = [review("submitted", f"rv-{at}") for at in range(total)]
    peer = peers(serve=listing(items, "sessions"))
    client = connect(peer)
    found = list(client.read("iter_review_sessions", "submitted", "dev@acme.test", 3))
    assert [one.review_id for one in found] == [one["review_id"] for one in items]
    assert [shown(one) for one in peer.asked] == [
        f"GET /tool-review/sessions?page={page}&limit=3&status=submitted&author=dev%40acme.test"
        for page in range(1, pages + 1)
    ]


@pytest.mark.parametrize(
    ("name", "member", "item", "path"),
    [
        ("iter_review_queue", "sessions", review("pending_review"), "/tool-review/queue"),
        (
            "iter_knowledge",
            "items",
            {
                "id": "k-1",
                "content": "c",
                "metadata": {
                    "source": "a",
                    "source_type": "code",
                    "timestamp": "2031-02-03T04:05:06Z",
                },
            },
            "/knowledge",
        ),
        (
            "iter_workflow_executions",
            "executions",
            {"execution_id": "e", "status": "completed", "started_at": "2031-02-03T04:05:06Z"},
            "/workflows/executions",
        ),
    ],
    ids=["queue", "knowledge", "executions"],
)
def test_other_listings(
    connect: Connect, peers: Any, name: str, member: str, item: dict[str, Any], path: str
) -> None:
    peer = peers(serve=listing([item], member))
    assert len(list(connect(peer).read(name))) == 1
    assert shown(peer.asked[0]) == f"GET {path}?page=1&limit=100"


def test_nothing_is_asked_before_the_first_item_and_nothing_after_the_last(
    connect: Connect, peers: Any
) -> None:
    peer = peers(serve=listing([review("signed", f"rv-{at}") for at in range(6)], "sessions"))
    reading = connect(peer).read("iter_review_sessions", limit=2)
    assert peer.asked == []
    assert next(reading).review_id == "rv-0"
    assert next(reading).review_id == "rv-1"
    assert len(peer.asked) == 1
    assert len(list(reading)) == 4
    assert list(reading) == []
    assert len(peer.asked) == 3


def test_a_failure_comes_through_and_the_page_can_be_asked_for_again(
    connect: Connect, peers: Any
) -> None:
    page = {
        "sessions": [review("signed")],
        "pagination": {"page": 1, "limit": 1, "total": 1, "has_next": False},
    }
    peer = peers(refuses(500), says(page))
    reading = connect(peer).read("iter_review_sessions")
    with pytest.raises(ServerError):
        next(reading)
    assert [one.review_id for one in reading] == ["rv-1"]


class Page:
    def __init__(self, items: list[str], has_next: bool) -> None:
        self.items = items
        self.pagination = PaginationInfo(page=1, limit=1, total=1, has_next=has_next)


def read(pages: dict[int, Page], otherwise: Page) -> tuple[list[str], int]:
    asked: list[int] = []

    def turn(number: int) -> Page:
        asked.append(number)
        return pages.get(number, otherwise)

    found: Pages[str] = Pages(turn, lambda page: page.items, str)
    return list(found), len(asked)


def test_a_server_that_always_has_more_does_not_hold_the_caller() -> None:
    same = Page(["a", "b"], True)
    assert read({}, same) == (["a", "b"], 2)
    assert read({1: same}, Page([], True)) == (["a", "b"], 2)


def test_what_moved_to_the_next_page_comes_once() -> None:
    pages = {1: Page(["e", "d"], True), 2: Page(["d", "c"], True)}
    assert read(pages, Page(["b", "a"], False))[0] == ["e", "d", "c", "b", "a"]


@given(st.lists(st.integers(), unique=True), st.integers(1, 7))
def test_any_listing_in_any_pages(numbers: list[int], size: int) -> None:
    items = [str(number) for number in numbers]
    cut = [items[at : at + size] for at in range(0, len(items), size)] or [[]]
    pages = {at: Page(part, at < len(cut)) for at, part in enumerate(cut, 1)}
    assert read(pages, Page(["beyond"], False)) == (items, len(cut))
