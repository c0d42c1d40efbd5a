"""One trace id on every call: of a block, of an object; OpenTelemetry's and one's own go first."""

from __future__ import annotations

import asyncio
import contextvars
import pickle
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import ostiary
from ostiary import telemetry
from ostiary.client import Ostiary, Trace
from ostiary.devserver.inprocess import RunningVault
from ostiary.errors import InvalidArgumentError
from ostiary.http import Pool
from tests.client.conftest import Client
from tests.http.peer import Asked, HttpPeer, echo

ID = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{ID}-b7ad6b7169203331-00"

Make = Callable[..., Client]


@pytest.fixture
def peer() -> Iterator[HttpPeer]:
    with HttpPeer(echo) as one:
        yield one


def carried(asked: Asked) -> tuple[str | None, str | None]:
    """Return the trace id and the request id of a request."""
    parent = asked.header("traceparent")
    if parent is not None:
        assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-0[0-3]", parent)
        parent = parent.split("-")[1]
    return parent, asked.header("x-request-id")


@pytest.mark.parametrize("given", [ID, ID.upper(), "0af76519-16cd-43dd-8448-eb211c80319c"])
def test_an_id_in_its_forms(given: str) -> None:
    found = Trace(given)
    assert found.trace_id == ID
    assert re.fullmatch(f"00-{ID}-[0-9a-f]{{16}}-01", found.traceparent)
    assert Trace(given).traceparent != found.traceparent  # a caller of its own each time
    arrived = pickle.loads(pickle.dumps(found))
    assert (arrived.trace_id, arrived.traceparent) == (ID, found.traceparent)
    assert repr(found) == f"Trace('{ID}')"


def test_a_traceparent_is_gone_on_with_and_a_new_one_is_made() -> None:
    assert Trace(PARENT).headers == {"traceparent": PARENT, "X-Request-ID": ID}
    assert re.fullmatch("[0-9a-f]{32}", Trace().trace_id)
    assert Trace().trace_id != Trace().trace_id


@pytest.mark.parametrize("given", ["", "run-42", "0" * 32, ID[1:], f"ff-{PARENT[3:]}", 7, b"x"])
def test_what_is_no_id_is_refused(given: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="32 hex digits"):
        Trace(given)


def test_a_block_and_what_is_started_in_it(peer: HttpPeer) -> None:
    with Pool(peer.url()) as pool:
        pool.request("GET", "/before")
        with ostiary.trace(ID) as found:
            assert found.trace_id == ID
            pool.request("GET", "/inside")
            copied = contextvars.copy_context()
            thread = threading.Thread(target=copied.run, args=(pool.request, "GET", "/thread"))
            thread.start()
            thread.join()
            with ostiary.trace() as inner:
                pool.request("GET", "/inner")
            pool.request("GET", "/inside-again")
        pool.request("GET", "/behind")
    assert [carried(one) for one in peer.asked] == [
        (None, None),
        (ID, ID),
        (ID, ID),
        (inner.trace_id, inner.trace_id),
        (ID, ID),
        (None, None),
    ]


def test_tasks_carry_the_trace_of_where_they_were_started(peer: HttpPeer) -> None:
    from ostiary.http import AsyncPool

    async def main() -> None:
        async with AsyncPool(peer.url()) as pool:

            async def work(name: str) -> None:
                with ostiary.trace(name * 32):
                    await asyncio.gather(*(pool.request("GET", f"/{name}") for _ in range(5)))

            await asyncio.gather(*(work(name) for name in "abc"))

    asyncio.run(main())
    found = sorted((one.target, *carried(one)) for one in peer.asked)
    assert found == [(f"/{n}", n * 32, n * 32) for n in "abc" for _ in range(5)]


def test_a_requests_own_headers_go_first(peer: HttpPeer) -> None:
    with Pool(peer.url()) as pool, ostiary.trace(ID):
        pool.request("GET", "/", headers={"X-Request-ID": "mine"})
        pool.request("GET", "/", headers={"Traceparent": PARENT.replace(ID, "c" * 32)})
    assert carried(peer.asked[0]) == (ID, "mine")
    assert carried(peer.asked[1]) == ("c" * 32, None)


def test_an_objects_id_is_on_every_call_of_every_domain(
    make: Make, everything: dict[str, Any], plane: RunningVault, peer: HttpPeer
) -> None:
    elsewhere = {name: {"base_url": peer.url()} for name in ("runtime", "workflow", "governance")}
    client = make(**(everything | elsewhere), trace_id=ID)
    assert client.raw.trace_id == ID
    for path in ("runtime", "workflow", "governance"):
        client.wait(getattr(client.raw, path).pool.request("GET", f"/{path}"))
    client.call("gateway.chat", "well?")
    assert [carried(one) for one in peer.asked] == [(ID, ID)] * 3
    assert plane.gateway.calls()[-1].request_id == ID

    # A block is nearer than the object.
    def inside() -> Any:
        with ostiary.trace("d" * 32):
            return client.raw.runtime.pool.request("GET", "/"), client.raw.gateway.chat("well?")

    async def inside_async() -> Any:
        with ostiary.trace("d" * 32):
            await client.raw.runtime.pool.request("GET", "/")
            await client.raw.gateway.chat("well?")

    client.wait(inside() if type(client.raw) is Ostiary else inside_async())
    assert carried(peer.asked[-1]) == ("d" * 32, "d" * 32)
    assert plane.gateway.calls()[-1].request_id == "d" * 32
    # The object's own again; and the vault, whose frames have no place for it, goes on as ever.
    client.wait(client.raw.runtime.pool.request("GET", "/"))
    assert carried(peer.asked[-1]) == (ID, ID)
    assert client.call("vault.list")


def test_an_error_names_the_trace(everything: dict[str, Any], bare: Any) -> None:
    with Ostiary(**everything, trace_id=ID) as client:
        with pytest.raises(ostiary.OstiaryError) as caught:
            client.workflow.get_workflow_status("unknown")
        assert getattr(caught.value, "request_id", None) == ID


def test_a_configuration_can_ask_for_an_id(bare: Any) -> None:
    config = ostiary.OstiaryConfig(trace=True)
    with Ostiary.from_config(config) as one, Ostiary.from_config(config) as other:
        assert one.trace_id != other.trace_id
    with Ostiary.from_config(ostiary.OstiaryConfig(trace=ID)) as one:
        assert one.trace_id == ID
    with Ostiary.from_config(ostiary.OstiaryConfig(trace=False)) as one:
        assert one.trace_id is None
    below = ostiary.OstiaryConfig(trace=ID, profile="ci")
    with Ostiary.from_config(ostiary.OstiaryConfig(below=below)) as one:
        assert one.trace_id == ID
    with pytest.raises(InvalidArgumentError, match="32 hex digits"):
        Ostiary(trace_id="run-42")


def test_opentelemetrys_span_goes_first(peer: HttpPeer) -> None:
    pytest.importorskip("opentelemetry.sdk", reason="the extra otel is not installed")
    from opentelemetry.sdk.trace import TracerProvider

    provider = TracerProvider()
    try:
        with Pool(peer.url()) as pool, ostiary.trace(ID):
            telemetry.enable(tracer_provider=provider)
            pool.request("GET", "/no-span")
            with provider.get_tracer("t").start_as_current_span("s") as span:
                pool.request("GET", "/span")
                theirs = format(span.get_span_context().trace_id, "032x")
            telemetry.disable()
            pool.request("GET", "/off")
    finally:
        telemetry.disable()
        provider.shutdown()
    assert [carried(one)[0] for one in peer.asked] == [ID, theirs, ID]
