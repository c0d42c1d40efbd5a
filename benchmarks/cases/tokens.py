"""G3 and G4: streams of tokens through the gateway's socket, one alone and a thousand at once.

The server sends a token when the one before was read, as a model does that takes longer to
think than its reader to read: every token is a read of its own, for each client alike. In G4
no stream has its first token before all of them are open. Figures are per token.
"""

from __future__ import annotations

import asyncio
import resource
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from ..sample import Sample, Stopwatch, Work
from . import loops, native
from .gateway import ASYNC, LAST, SYNC, model_of, request

ALONE = 200
"""How many tokens a stream has that is read alone."""
EACH = 38
"""And one of many."""
FIRST = 2
"""And one that only opens its connection."""


# --- G3 ---------------------------------------------------------------------------------------


def c_floor(work: Work) -> Sample:
    """The same bytes received from C and not looked at."""
    poll = ["poll"] if work.options.get("poll") else []
    asked = request(model_of(work), ALONE)
    found = native.run(work, "roundtrip", work.socket, max(1, work.count // ALONE), asked, *poll)
    return _each(found, ALONE)


def alone(work: Work) -> Sample:
    """One stream after the other, with one of the clients."""
    streams = max(1, work.count // ALONE)
    with SYNC[work.options["client"]](work) as client:
        for _ in range(streams // 10 + 1):
            assert client.read(ALONE) == (ALONE, LAST)
        watch = Stopwatch()
        watch.start()
        for _ in range(streams):
            client.read(ALONE)
        return watch.sample(streams * ALONE)


# --- G4 ---------------------------------------------------------------------------------------


def _at_once(work: Work) -> tuple[Work, int, int]:
    """Return the work with its model's name whole, how many streams are open, and how often."""
    streams = min(int(work.options["streams"]), max(2, work.count // EACH))
    # A client that cannot hold them all open would wait for ever.
    together = f"-{streams}" if work.options.get("together", True) else ""
    options = {**work.options, "streams": streams, "model": f"{model_of(work)}{together}"}
    _allow_descriptors()
    return replace(work, options=options), streams, max(1, work.count // (streams * EACH))


def _allow_descriptors() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def c_many(work: Work) -> Sample:
    """The same from C: an epoll loop."""
    work, streams, passes = _at_once(work)
    asked, first = request(model_of(work), EACH), request("quick", EACH)
    found = native.run(work, "fanout", work.socket, passes * streams, streams, asked, first)
    return _each(found, EACH)


def many(work: Work) -> Sample:
    """A task for each stream, with one of the asyncio clients."""
    return loops.run(work, _many)


async def _many(work: Work) -> Sample:
    work, streams, passes = _at_once(work)
    async with ASYNC[work.options["client"]](work) as client:

        async def together(tokens: int) -> None:
            found = await asyncio.gather(*(client.read(tokens) for _ in range(streams)))
            assert found == [(tokens, LAST)] * streams

        await together(FIRST)
        watch = Stopwatch()
        watch.start()
        for _ in range(passes):
            await together(EACH)
        return watch.sample(passes * streams * EACH)


def threads(work: Work) -> Sample:
    """A thread for each stream, with one of the blocking clients."""
    work, streams, passes = _at_once(work)
    with SYNC[work.options["client"]](work) as client, ThreadPoolExecutor(streams) as pool:

        def together(tokens: int) -> None:
            found = list(pool.map(client.read, [tokens] * streams))
            assert found == [(tokens, LAST)] * streams

        together(FIRST)
        watch = Stopwatch()
        watch.start()
        for _ in range(passes):
            together(EACH)
        return watch.sample(passes * streams * EACH)


def _each(found: Sample, tokens: int) -> Sample:
    return Sample(found.value / tokens, (found.wall or 0.0) / tokens)
