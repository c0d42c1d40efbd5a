"""P1, P2 and P13: one small HTTP exchange after the other on one Unix socket, without a loop.

All clients talk to the same server and get the same bytes. P13 makes them beside a thread that
computes without pause.
"""

from __future__ import annotations

import asyncio
import threading
from time import perf_counter

from ..sample import Sample, Stopwatch, Unavailable, Work
from . import native
from .clients import SYNC, Call, base_url
from .exchange import INPUT, KEY, REPLY, REQUEST, RUN_REQUEST, peer


def c_floor(work: Work) -> Sample:
    """The same send and receive from C."""
    poll = ["poll"] if work.options.get("poll") else []
    request = RUN_REQUEST if work.options.get("run") else REQUEST
    return native.run(work, "roundtrip", work.socket, work.count, request, *poll)


def _timed(work: Work, call: Call) -> Sample:
    for _ in range(work.warm_up):
        call()
    watch = Stopwatch()
    watch.start()
    for _ in range(work.count):
        call()
    return watch.sample(work.count)


def calls(work: Work) -> Sample:
    """P1: the exchange with one of the clients."""
    with SYNC[work.options["client"]](work) as call:
        sample = _timed(work, call)
        assert bytes(memoryview(call())).startswith(REPLY)
    return sample


# --- P2 ---------------------------------------------------------------------------------------


def public(work: Work) -> Sample:
    """P2: `GovernanceClient.run`, text in, a `RunResponse` out."""
    try:
        from ostiary.governance import GovernanceClient
    except ImportError as error:
        raise Unavailable(str(error)) from None

    tcp = work.options.get("tcp")
    base = f"http://127.0.0.1:{work.port}" if tcp else base_url(work.socket)
    with GovernanceClient(base, api_key=KEY) as client:
        sample = _timed(work, lambda: client.run(INPUT))
        assert client.run(INPUT).budget == 0.85
    return sample


def hestiaos(work: Work) -> Sample:
    """The original's blocking call. It speaks TCP alone.

    Every second one fails with "Event loop is closed": its connection belongs to the loop
    of the call before. A failed one counts as a call here, which flatters it.
    """
    client = peer("hestiaos").Client(f"http://127.0.0.1:{work.port}", api_key=KEY)
    answered = 0

    def call() -> None:
        nonlocal answered
        try:
            answered += client.run(INPUT).budget == 0.85
        except RuntimeError as error:
            if "loop is closed" not in str(error):
                raise

    sample = _timed(work, call)
    assert answered >= work.count // 2
    return sample


def hestiaos_async(work: Work) -> Sample:
    """The original's asyncio call, one after the other in one loop."""
    module = peer("hestiaos")

    async def main() -> Sample:
        async with module.AsyncClient(f"http://127.0.0.1:{work.port}", api_key=KEY) as client:
            for _ in range(work.warm_up):
                await client.run_async(INPUT)
            watch = Stopwatch()
            watch.start()
            for _ in range(work.count):
                answer = await client.run_async(INPUT)
            sample = watch.sample(work.count)
            assert answer.budget == 0.85
            return sample

    return asyncio.run(main())


# --- P13 --------------------------------------------------------------------------------------


def _rate(call: Call, seconds: float) -> float:
    """Return calls per second."""
    made, begun = 0, perf_counter()
    until = begun + seconds
    while (now := perf_counter()) < until:
        call()
        made += 1
    return made / (now - begun)


def share(work: Work) -> Sample:
    """P13: the rate beside a busy thread, in percent of the rate without; `count` is in ms.

    The neighbour ends by itself, whoever is starved: it may hold the lock, and the core, so that
    nobody else can tell it to. Under a real-time policy it would never be preempted at all.
    """
    seconds = work.count / 1000
    over = threading.Event()

    def compute() -> None:
        total, until = 0, perf_counter() + 10 * seconds
        while not over.is_set() and perf_counter() < until:
            for number in range(1000):
                total += number * number

    with SYNC[work.options["client"]](work) as call:
        _rate(call, seconds / 10)
        idle = _rate(call, seconds)
        neighbour = threading.Thread(target=compute, daemon=True)
        neighbour.start()
        beside = _rate(call, seconds)
        if not neighbour.is_alive():
            raise RuntimeError("the neighbour had ended first: this machine is too busy for P13")
        over.set()
        neighbour.join()
    return Sample(beside / idle * 100, 1e6 / beside)
