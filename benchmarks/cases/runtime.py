"""R1 to R8: ours and the originals as clients of an agent runtime, on one server, with one key.

The originals run in environments of their own, which have none of ours. The newer one can no
longer list reviews or search. `CALLS` says what is asked, `SYNC` and `ASYNC` by whom.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from time import perf_counter
from typing import Any, NamedTuple
from urllib.request import urlopen

from ..sample import Sample, Stopwatch, Unavailable, Work
from . import loops, native, startup
from .clients import base_url
from .exchange import DEADLINE, HEADERS, KEY, peer

API = "/api/v1"
AGENT = "agent-late-orders"
AUTHOR = "back-office@example.com"
SESSIONS = 100
FOUND = 10


def wanted() -> dict[str, Any]:
    """Return what is searched for, made anew for each call."""
    return {
        "query": "Who is told of late orders, and by when?",
        "agent_id": AGENT,
        "source_types": ["document"],
        "limit": FOUND,
        "similarity_threshold": 0.1,
    }


class Call(NamedTuple):
    """One of the calls: how it stands on the wire, and how in Python."""

    method: str
    path: str
    make: Callable[[Any], Any]
    """Asks a client; one for asyncio gives a coroutine."""
    right: Callable[[Any], bool]
    """Whether what a client gave is what the reply says."""
    body: Callable[[], dict[str, Any] | None] = lambda: None

    def request(self) -> str:
        """Return the whole request as text, for the floors."""
        body = self.body()
        content = "" if body is None else json.dumps(body, separators=(",", ":"))
        headers = {**HEADERS, "Authorization": f"Bearer {KEY}"}
        if content:
            headers["Content-Length"] = str(len(content))
        else:
            del headers["Content-Type"]
        lines = [f"{self.method} {self.path} HTTP/1.1", "Host: localhost"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join((*lines, "", content))


CALLS = {
    "status": Call(
        "GET",
        f"{API}/agents/{AGENT}/status",
        lambda client: client.get_agent_status(AGENT),
        lambda found: found.agent_id == AGENT and found.state == "idle",
    ),
    "sessions": Call(
        "GET",
        f"{API}/tool-review/sessions?page=1&limit={SESSIONS}",
        lambda client: client.list_review_sessions(limit=SESSIONS),
        lambda found: (
            len(found.sessions) == SESSIONS
            and all(one.tool.provider.name == "Back office" for one in found.sessions)
        ),
    ),
    "search": Call(
        "POST",
        f"{API}/knowledge/search",
        lambda client: client.search_knowledge(wanted()),
        lambda found: len(found.results) == FOUND and "late" in found.results[0].item.content,
        wanted,
    ),
}


def call_of(work: Work) -> Call:
    return CALLS[work.options["call"]]


# --- who asks ---------------------------------------------------------------------------------


def _where(work: Work) -> str:
    """Return the base URL: that of the Unix socket, or of the port."""
    tcp = f"http://127.0.0.1:{work.port}"
    return (tcp if work.options.get("tcp") else base_url(work.socket)) + API


@contextmanager
def ours(work: Work) -> Iterator[Any]:
    try:
        from ostiary.runtime import RuntimeClient
    except ImportError as error:
        raise Unavailable(str(error)) from None
    with RuntimeClient(KEY, _where(work), timeout=DEADLINE) as client:
        yield client


def async_ours(work: Work) -> AbstractAsyncContextManager[Any]:
    try:
        from ostiary.runtime import AsyncRuntimeClient
    except ImportError as error:
        raise Unavailable(str(error)) from None
    connections = int(work.options.get("tasks", 1))
    return AsyncRuntimeClient(KEY, _where(work), timeout=DEADLINE, max_connections=connections)


def _environment(work: Work) -> dict[str, str]:
    """Return what all three find in their environment; the newer original asks for a secret."""
    return {
        "SYMBIONT_BASE_URL": f"http://127.0.0.1:{work.port}{API}",
        "SYMBIONT_API_KEY": KEY,
        "SYMBIONT_AUTH_JWT_SECRET_KEY": "of no use, and yet required: 8f1d0b6a4c2e97531f0a",
    }


@contextmanager
def original(work: Work) -> Iterator[Any]:
    """Either original. They speak TCP alone, and have no way to be closed."""
    os.environ.update(_environment(work))
    yield peer("symbiont").Client()


SYNC = {"ours": ours, "original": original}


def _able(work: Work, client: Any) -> Callable[[], Any]:
    """Return the call, made once to see that its result is right."""
    call = call_of(work)
    try:
        call.make(client)
    except AttributeError:
        raise Unavailable("it has no such call") from None
    assert call.right(call.make(client))
    return lambda: call.make(client)


# --- what is timed ----------------------------------------------------------------------------


def c_floor(work: Work) -> Sample:
    """The same bytes sent and received from C."""
    poll = ["poll"] if work.options.get("poll") else []
    request = call_of(work).request()
    return native.run(work, "roundtrip", work.socket, work.count, request, *poll)


def c_fanout(work: Work) -> Sample:
    """The same from C: an epoll loop, one request under way on each connection."""
    request = call_of(work).request()
    return native.run(work, "fanout", work.socket, work.count, work.options["tasks"], request)


def calls(work: Work) -> Sample:
    """One call after the other."""
    with SYNC[work.options["client"]](work) as client:
        call = _able(work, client)
        for _ in range(work.warm_up):
            call()
        watch = Stopwatch()
        watch.start()
        for _ in range(work.count):
            call()
        return watch.sample(work.count)


def async_calls(work: Work) -> Sample:
    """Our asyncio client: so many tasks, or one call after the other."""
    return loops.run(work, _async_calls)


async def _async_calls(work: Work) -> Sample:
    call = call_of(work)
    async with async_ours(work) as client:
        assert call.right(await call.make(client))

        async def task(count: int) -> None:
            for _ in range(count):
                await call.make(client)

        return await loops.timed(int(work.options.get("tasks", 1)), work, task)


def threaded(work: Work) -> Sample:
    """A blocking client under asyncio: each call in one of the loop's threads."""
    return loops.run(work, _threaded)


async def _threaded(work: Work) -> Sample:
    with SYNC[work.options["client"]](work) as client:
        call = _able(work, client)

        async def task(count: int) -> None:
            for _ in range(count):
                await asyncio.to_thread(call)

        return await loops.timed(int(work.options["tasks"]), work, task)


def rate(work: Work) -> Sample:
    """Calls per second: the time that the server takes is in it."""
    with SYNC[work.options["client"]](work) as client:
        call = _able(work, client)
        for _ in range(work.warm_up):
            call()
        begun = perf_counter()
        for _ in range(work.count):
            call()
        seconds = perf_counter() - begun
        return Sample(work.count / seconds, seconds / work.count * 1e6)


def _accepted(work: Work) -> int:
    """Return how many connections the server has accepted, this one left out."""
    with urlopen(f"http://127.0.0.1:{work.port}/v1/accepted", timeout=DEADLINE) as reply:
        return int(json.load(reply)["accepted"]) - 1


def connections(work: Work) -> Sample:
    """How many connections the server saw opened by so many calls and no others."""
    with SYNC[work.options["client"]](work) as client:
        for _ in range(work.count):
            call_of(work).make(client)
    return Sample(_accepted(work))


async def _connections(work: Work) -> Sample:
    async with async_ours(work) as client:

        async def task(count: int) -> None:
            for _ in range(count):
                await call_of(work).make(client)

        tasks = int(work.options["tasks"])
        await asyncio.gather(*(task(work.count // tasks) for _ in range(tasks)))
    return Sample(_accepted(work))


def async_connections(work: Work) -> Sample:
    """The same by tasks of our asyncio client."""
    return loops.run(work, _connections)


# --- whole processes --------------------------------------------------------------------------


def over_bare(work: Work) -> Sample:
    """What a process with a client costs over an interpreter that does nothing."""
    os.environ.update(_environment(work))
    return startup.over_bare(work)


def resident(work: Work) -> Sample:
    """What such a process holds."""
    os.environ.update(_environment(work))
    return startup.resident(work)
