"""Clients that need a process of their own: to measure its memory, fork it or end it.

    python -m tests.hazards.client WHAT BASE_URL COLOUR

prints one line of JSON. The server is the parent's.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ostiary.config import Limits
from ostiary.errors import ConnectError, OstiaryError, SizeLimitError
from tests.hazards.scripted import answer
from tests.peers.driver import Session

MIB = 1 << 20
Said = dict[str, Any]


def peak() -> float:
    """Return the most memory this process has had resident, in MiB."""
    status = Path("/proc/self/status")
    if status.exists():
        # Not ru_maxrss, which a process inherits from whoever started it.
        line = next(one for one in status.read_text().splitlines() if one.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    unit = MIB if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def measured(session: Session, work: Callable[[], Any]) -> Said:
    """Run `work` behind a first request; say how it ended and what it cost."""
    session.request("GET", "/warm")
    before = peak()
    outcome, rule, size = "done", None, 0
    begun = time.monotonic()
    try:
        size = work()
    except OstiaryError as error:
        outcome, rule = type(error).__name__, getattr(error, "rule", None)
    seconds = time.monotonic() - begun
    after = peak()
    good = session.request("GET", "/after").read() == answer("/after")
    return {
        "outcome": outcome,
        "rule": rule,
        "size": size,
        "peak_mib": round(after, 1),
        "grown_mib": round(after - before, 1),
        "seconds": round(seconds, 2),
        "good_after": good,
    }


def bomb(url: str, colour: str) -> Said:
    """A whole body under the default limits."""
    with Session(colour, url, max_retries=0) as session:
        return measured(session, lambda: len(session.request("GET", "/bomb").body))


def bomb_streamed(url: str, colour: str) -> Said:
    """The same read piece by piece by somebody who allows any size."""
    limits = Limits(decompressed_body=0xFFFFFFFF)

    def read() -> int:
        with session.stream("GET", "/bomb") as stream:
            return sum(len(piece) for piece in stream)

    with Session(colour, url, max_retries=0, limits=limits) as session:
        return measured(session, read)


def line(url: str, colour: str) -> Said:
    """An event stream whose first line has no end."""
    with Session(colour, url, max_retries=0) as session:
        return measured(session, lambda: len(list(session.events("GET", "/line"))))


def announced(url: str, colour: str) -> Said:
    """A body that is announced and does not come: nothing is set aside for it."""
    with Session(colour, url, max_retries=0) as session:
        return measured(session, lambda: session.request("GET", "/announced", timeout=0.3))


def flood(url: str, colour: str) -> Said:
    """An endless head, then an endless trailer, then endless chunks."""
    with Session(colour, url, max_retries=0) as session:

        def work() -> int:
            for path in ("/head", "/headers", "/trailer", "/chunk-line", "/hints"):
                with contextlib.suppress(SizeLimitError):
                    session.request("GET", path)
            session.request("GET", "/chunks")
            return 0

        return measured(session, work)


def fork(url: str, colour: str) -> Said:
    """Use one pool in a parent and four children at once, each for 50 requests."""
    session = Session(colour, url, max_retries=0, max_connections=10, timeout=30)
    calls = [("GET", f"/warm/{n}", {}) for n in range(10)]
    assert all(not isinstance(one, BaseException) for one in session.together(calls))
    warm = session.pool.idle_connections

    def fifty(name: str) -> Said:
        wrong = errors = 0
        kinds: set[str] = set()
        for n in range(50):
            target = f"/{name}/{n}?size=3000"
            try:
                wrong += session.request("GET", target).read() != answer(target)
            except Exception as error:  # noqa: BLE001 - counted
                errors += 1
                kinds.add(repr(error))
        return {"wrong": wrong, "errors": errors, "kinds": sorted(kinds)}

    pipes: list[int] = []
    for child in range(4):
        reading, writing = os.pipe()
        if os.fork() == 0:
            status = 1
            try:
                if colour != "sync":
                    # A child cannot go on with its parent's loop.
                    session.runner = asyncio.Runner()
                os.write(writing, json.dumps(fifty(f"child{child}")).encode())
                session.close()
                status = 0
            finally:
                os._exit(status)
        os.close(writing)
        pipes.append(reading)
    found = [fifty("parent")]
    for one in pipes:
        with os.fdopen(one) as stream:
            found.append(
                json.loads(stream.read() or '{"wrong": 0, "errors": 50, "kinds": ["died"]}')
            )
    codes = [os.waitpid(-1, 0)[1] for _ in pipes]
    found.append(fifty("parent-after"))
    session.close()
    return {
        "requests": 50 * len(found),
        "wrong": sum(one["wrong"] for one in found),
        "errors": sum(one["errors"] for one in found),
        "kinds": sorted({kind for one in found for kind in one["kinds"]}),
        "exits": codes,
        "warm": warm,
    }


def emfile(url: str, colour: str) -> Said:
    """Run out of descriptors, and have some again."""
    with Session(colour, url, max_retries=0) as session:
        assert session.request("GET", "/before").read() == answer("/before")
        other = Session(colour, url, max_retries=0)
        limit = 256
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        taken: list[int] = []
        try:
            while True:
                taken.append(os.dup(0))
        except OSError as error:
            if error.errno != errno.EMFILE:
                raise
        outcomes = []
        for n in range(20):
            try:
                other.request("GET", f"/none/{n}")
                outcomes.append("answered")
            except ConnectError as error:
                outcomes.append("ConnectError" if not error.sent else "sent")
        # An open connection needs no new descriptor.
        kept = session.request("GET", "/kept").read() == answer("/kept")
        for fd in taken:
            os.close(fd)
        before = len(os.listdir("/dev/fd"))
        good = all(
            other.request("GET", f"/again/{n}").read() == answer(f"/again/{n}") for n in range(20)
        )
        after = len(os.listdir("/dev/fd"))
        other.close()
        return {
            "outcomes": sorted(set(outcomes)),
            "kept": kept,
            "good": good,
            "more": after - before,
        }


def sigpipe(url: str, colour: str) -> Said:
    """Send to a peer that has gone, where SIGPIPE kills."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    kinds: set[str] = set()
    with Session(colour, url, max_retries=0) as session:
        for n in range(100):
            try:
                session.request("POST", f"/gone/{n}", body=b"x" * 300_000)
                kinds.add("answered")
            except OstiaryError as error:
                kinds.add(type(error).__name__)
    return {"kinds": sorted(kinds)}


def leave(url: str, colour: str) -> Said:
    """End the interpreter with a pool, a stream and an event stream open."""
    session = Session(colour, url)
    session.request("GET", "/warm")
    stream = session.stream("GET", "/endless")
    stream.next()
    events = session.events("GET", "/events")
    events.next()
    globals()["kept"] = (session, stream, events)
    if colour == "sync":
        # A thread that is in the middle of a call must not keep the interpreter.
        threading.Thread(target=lambda: session.request("GET", "/stall"), daemon=True).start()
        while session.pool.open_connections < 4:
            time.sleep(0.001)
    return {"open": session.pool.open_connections}


def leave_loop(url: str, colour: str) -> Said:
    """End with a loop that was closed over a pool that is still open."""
    session = Session(colour, url)
    session.request("GET", "/warm")
    stream = session.stream("GET", "/endless")
    stream.next()
    assert session.runner is not None
    session.runner.close()
    globals()["kept"] = (session, stream)
    return {"open": session.pool.open_connections}


def main(what: str, url: str, colour: str) -> None:
    print(json.dumps(globals()[what.replace("-", "_")](url, colour)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
