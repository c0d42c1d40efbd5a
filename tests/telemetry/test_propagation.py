"""`traceparent` goes with every HTTP request of every domain, once telemetry is on."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("opentelemetry.sdk", reason="opentelemetry-sdk is not installed")

from ostiary import telemetry
from ostiary.errors import ClientStateError
from ostiary.governance import GovernanceClient
from ostiary.http import AsyncPool, Pool
from tests.http.peer import Exchange, HttpPeer

from .conftest import Recorded


def answering(exchange: Exchange) -> None:
    while True:
        exchange.request()
        exchange.json({"status": "ok"})


def failing_once(exchange: Exchange) -> None:
    exchange.request()
    exchange.json({}, 503)
    answering(exchange)


@pytest.fixture
def peer() -> Iterator[HttpPeer]:
    with HttpPeer(answering) as one:
        yield one


def ask(colour: str, url: str, **options: Any) -> None:
    if colour == "sync":
        with Pool(url) as pool:
            pool.request("GET", "/thing", **options)
        return

    async def main() -> None:
        async with AsyncPool(url) as pool:
            await pool.request("GET", "/thing", **options)

    asyncio.run(main())


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_the_current_span_travels(recorded: Recorded, peer: HttpPeer, colour: str) -> None:
    with recorded.tracer.start_as_current_span("mine") as span:
        context = span.get_span_context()
        ask(colour, peer.url())
    (asked,) = peer.asked
    ids = f"00-{context.trace_id:032x}-{context.span_id:016x}-"
    assert (asked.header("traceparent") or "").startswith(ids)


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_without_a_span_there_is_no_header(recorded: Recorded, peer: HttpPeer, colour: str) -> None:
    ask(colour, peer.url())
    (asked,) = peer.asked
    assert asked.header("traceparent") is None


def test_off_means_off(peer: HttpPeer) -> None:
    record = Recorded()
    with record.tracer.start_as_current_span("mine"):
        ask("sync", peer.url())
    record.close()
    (asked,) = peer.asked
    assert asked.header("traceparent") is None
    assert not telemetry.enabled()


def test_it_can_be_turned_off_again(recorded: Recorded, peer: HttpPeer) -> None:
    assert telemetry.enabled()
    telemetry.disable()
    with recorded.tracer.start_as_current_span("mine"):
        ask("sync", peer.url())
    assert peer.asked[0].header("traceparent") is None


def test_a_header_of_the_caller_stands(recorded: Recorded, peer: HttpPeer) -> None:
    own = f"00-{1:032x}-{2:016x}-00"
    with recorded.tracer.start_as_current_span("mine"):
        ask("sync", peer.url(), headers={"Traceparent": own})
    assert peer.asked[0].header("traceparent") == own


def test_trace_state_goes_along_and_baggage_does_not(recorded: Recorded, peer: HttpPeer) -> None:
    from opentelemetry import baggage, context, trace
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState

    parent = SpanContext(7, 8, True, TraceFlags(1), TraceState([("vendor", "x")]))
    holder = baggage.set_baggage("customer", "private-to-us")
    token = context.attach(trace.set_span_in_context(NonRecordingSpan(parent), holder))
    try:
        ask("sync", peer.url())
    finally:
        context.detach(token)
    (asked,) = peer.asked
    assert asked.header("tracestate") == "vendor=x"
    assert "private-to-us" not in repr(asked.headers)


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_every_attempt_carries_it(recorded: Recorded, colour: str) -> None:
    with HttpPeer(failing_once) as peer, recorded.tracer.start_as_current_span("mine"):
        ask(colour, peer.url())
        first, second = peer.asked
    assert first.header("traceparent") == second.header("traceparent") is not None


def test_credentials_and_trace_go_together(recorded: Recorded, peer: HttpPeer) -> None:
    with (
        Pool(peer.url(), credentials=lambda: {"Authorization": "Bearer x"}) as pool,
        recorded.tracer.start_as_current_span("mine"),
    ):
        pool.request("GET", "/thing")
        pool.request("GET", "/thing", headers={"X-Own": "1"})
    for asked in peer.asked:
        assert asked.header("authorization") == "Bearer x"
        assert asked.header("traceparent") is not None
    assert peer.asked[1].header("x-own") == "1"


def test_a_domain_has_it_from_its_pool(recorded: Recorded, peer: HttpPeer) -> None:
    with (
        GovernanceClient(peer.url(), "key") as client,
        recorded.tracer.start_as_current_span("mine"),
    ):
        client.system.health()
    assert peer.asked[0].header("traceparent") is not None


def modules_after(program: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{program}\nimport sys\nprint(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("what", ["http", "governance", "telemetry"])
def test_nothing_is_imported_before_it_is_on(what: str) -> None:
    loaded = modules_after(f"import ostiary.{what}")
    assert not any(name.startswith("opentelemetry") for name in loaded)
    assert "ostiary.telemetry.otel" not in loaded


def test_without_the_extra_it_says_what_to_install() -> None:
    program = (
        "import sys\nsys.modules['opentelemetry'] = None\n"
        "from ostiary import telemetry\n"
        "try:\n    telemetry.enable()\n"
        "except Exception as error:\n    print(type(error).__name__, error)\n"
        "print(telemetry.enabled())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    said, on = done.stdout.splitlines()
    assert said.startswith(ClientStateError.__name__)
    assert "pip install 'ostiary[otel]'" in said
    assert on == "False"


def _two_threads(work: Callable[[], None]) -> None:
    import threading

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_each_thread_has_its_own_span(recorded: Recorded, peer: HttpPeer) -> None:
    def work() -> None:
        with recorded.tracer.start_as_current_span("mine"):
            ask("sync", peer.url())

    _two_threads(work)
    first, second = peer.asked
    assert first.header("traceparent") != second.header("traceparent")
