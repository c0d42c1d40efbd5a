"""What a checker infers for routes and pools. Checked by `make check`, never run."""

from __future__ import annotations

from typing import Any, assert_type

import msgspec

from ostiary._route import Route
from ostiary.http import (
    AsyncEventStream,
    AsyncPool,
    AsyncResponseStream,
    Event,
    EventStream,
    Pool,
    Response,
    ResponseStream,
)


class Job(msgspec.Struct):
    id: str


GET = Route("GET", "/jobs/{id}", Job)
FIND = Route("GET", "/jobs/{id}", Job, missing=True)
LIST = Route("GET", "/jobs", list[Job])
ANY = Route("GET", "/jobs", dict[str, Any])
DROP = Route("DELETE", "/jobs/{id}", None)


def routes() -> None:
    assert_type(GET, Route[Job])
    assert_type(FIND, Route[Job | None])
    assert_type(LIST, Route[list[Job]])
    assert_type(ANY, Route[dict[str, Any]])
    assert_type(DROP, Route[None])


def sync() -> None:
    with Pool("http://h", headers={"A": "b"}) as pool:
        assert_type(pool, Pool)
        assert_type(pool.request("GET", "/"), Response)
        assert_type(pool.request("GET", "/").json(Job), Job)
        assert_type(pool.stream("GET", "/"), ResponseStream)
        assert_type(pool.events("GET", "/"), EventStream[str])
        assert_type(pool.events("GET", "/", type=Job), EventStream[Job])
        assert_type(pool.call(GET, "x"), Job)
        assert_type(pool.call(FIND, "x"), Job | None)
        assert_type(pool.call(LIST), list[Job])
        assert_type(pool.call_events(GET, 7), EventStream[Job])
        with pool.events("GET", "/", type=Job) as events:
            for event in events:
                assert_type(event, Event[Job])
                assert_type(event.data.id, str)


async def asynchronous() -> None:
    async with AsyncPool("http://h") as pool:
        assert_type(await pool.request("GET", "/"), Response)
        assert_type(await pool.stream("GET", "/"), AsyncResponseStream)
        assert_type(await pool.events("GET", "/", type=Job), AsyncEventStream[Job])
        assert_type(await pool.call(GET, "x"), Job)
        assert_type(await pool.call(FIND, "x"), Job | None)
        assert_type(await (await pool.stream("GET", "/")).read(), bytes)
        async with await pool.call_events(GET, "x") as events:
            async for event in events:
                assert_type(event.data, Job)
