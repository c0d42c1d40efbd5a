"""Spans: measured, nested, told to OpenTelemetry and taken from it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ostiary.workflow import (
    ClientStateError,
    InvalidArgumentError,
    TelemetryPipeline,
    WorkflowClient,
    current_span,
    traced,
)
from ostiary.workflow.telemetry import spans

from .collector import Collector

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"


@pytest.fixture
def pipeline(collector: Collector) -> Iterator[TelemetryPipeline]:
    with TelemetryPipeline(WorkflowClient(collector.url), flush_interval=60) as made:
        yield made


@pytest.fixture(autouse=True)
def no_default() -> Iterator[None]:
    yield
    spans.default_pipeline(None)


def told(pipeline: TelemetryPipeline, collector: Collector) -> dict[str, dict[str, Any]]:
    """Return the spans by name."""
    assert pipeline.flush(30)
    return {one["name"]: one for one in collector.kept.values() if "trace_id" in one}


# --- blocks


def test_a_block_is_measured(pipeline: TelemetryPipeline, collector: Collector) -> None:
    with pipeline.span("load", tags={"file": "a"}) as span:
        span.tag("rows", 41)
        span.log("slow disk", "warn", {"ms": 9})
    found = told(pipeline, collector)["load"]
    assert found["tags"] == {"file": "a", "rows": "41"}
    assert found["duration"] >= 0
    assert found["start_time"] <= found["end_time"]
    (line,) = found["logs"]
    assert (line["message"], line["level"], line["context"]) == ("slow disk", "warn", {"ms": 9})
    assert "parent_id" not in found
    assert span.traceparent == f"00-{found['trace_id']}-{found['id']}-01"


def test_blocks_stand_within_one_another(pipeline: TelemetryPipeline, collector: Collector) -> None:
    assert current_span() is None
    with pipeline.span("outer") as outer:
        assert current_span() is outer
        with pipeline.span("inner"):
            pipeline.event("custom", {"x": 1})
        pipeline.event("custom", {"x": 2}, correlation_id="mine")
    assert current_span() is None
    found = told(pipeline, collector)
    assert found["inner"]["parent_id"] == found["outer"]["id"]
    assert found["inner"]["trace_id"] == found["outer"]["trace_id"]
    events = [one for one in collector.kept.values() if one.get("type") == "custom"]
    assert [one["correlation_id"] for one in events] == [outer.trace_id, "mine"]


def test_a_failure_is_named_and_its_message_is_not(
    pipeline: TelemetryPipeline, collector: Collector
) -> None:
    with pytest.raises(KeyError), pipeline.span("bad"):
        raise KeyError("a secret")
    assert told(pipeline, collector)["bad"]["tags"] == {"error": "KeyError"}
    assert "a secret" not in str(collector.batches)
    assert current_span() is None


def test_a_span_measures_one_block(pipeline: TelemetryPipeline) -> None:
    span = pipeline.span("once")
    assert "not begun" in repr(span)
    with span:
        pass
    with pytest.raises(ClientStateError), span:
        pass


@pytest.mark.parametrize(
    ("header", "joined"),
    [
        (f"00-{TRACE}-{PARENT}-01", True),
        (f"42-{TRACE}-{PARENT}-00-more", True),
        (f"ff-{TRACE}-{PARENT}-01", False),
        (f"00-{TRACE.upper()}-{PARENT}-01", False),
        ("nonsense", False),
    ],
)
def test_a_caller_s_trace_is_joined(
    pipeline: TelemetryPipeline, collector: Collector, header: str, joined: bool
) -> None:
    with pipeline.span("served", traceparent=header):
        pass
    found = told(pipeline, collector)["served"]
    assert (found["trace_id"] == TRACE) is joined
    assert found.get("parent_id") == (PARENT if joined else None)


def test_ids_of_one_s_own(pipeline: TelemetryPipeline, collector: Collector) -> None:
    with pipeline.span("s", trace_id="trace-001", parent_id="span-000") as span:
        pass
    found = told(pipeline, collector)["s"]
    assert (found["trace_id"], found["parent_id"]) == ("trace-001", "span-000")
    assert span.traceparent is None, "such ids have no place in the header"


def test_tasks_and_threads_have_their_own(
    pipeline: TelemetryPipeline, collector: Collector
) -> None:
    async def work(name: str) -> None:
        async with pipeline.span(name):
            await asyncio.sleep(0)
            with pipeline.span(f"{name}-inner"):
                await asyncio.sleep(0)

    async def main() -> None:
        async with pipeline.span("all"):
            await asyncio.gather(*(work(f"t{at}") for at in range(3)))

    asyncio.run(main())
    with pipeline.span("main"):
        seen: list[Any] = []
        thread = threading.Thread(target=lambda: seen.append(current_span()))
        thread.start()
        thread.join()
    assert seen == [None]
    found = told(pipeline, collector)
    for at in range(3):
        assert found[f"t{at}"]["parent_id"] == found["all"]["id"]
        assert found[f"t{at}-inner"]["parent_id"] == found[f"t{at}"]["id"]


# --- functions


def test_functions_are_measured(pipeline: TelemetryPipeline, collector: Collector) -> None:
    @traced(pipeline=pipeline)
    def add(a: int, b: int) -> int:
        """Add."""
        return a + b

    @traced("renamed", tags={"kind": "slow"}, pipeline=pipeline)
    async def wait(value: int) -> int:
        await asyncio.sleep(0)
        return add(value, 1)

    assert add(1, 2) == 3
    assert add.__doc__ == "Add."
    assert asyncio.run(wait(5)) == 6
    found = told(pipeline, collector)
    assert found["renamed"]["tags"] == {"kind": "slow"}
    name = "test_functions_are_measured.add"
    assert found[name]["parent_id"] == found["renamed"]["id"]


def test_where_a_function_reports(pipeline: TelemetryPipeline, collector: Collector) -> None:
    @traced
    def work() -> int:
        return 7

    assert work() == 7, "without a pipeline it just runs"
    with pipeline.span("around"):
        work()
    assert len(told(pipeline, collector)) == 2
    pipeline.make_default()
    work()
    assert pipeline.flush(30)
    assert pipeline.counters.reported == 3


def test_generators_are_refused() -> None:
    def numbers() -> Iterator[int]:
        yield 1

    async def more() -> Any:
        yield 1

    for one in (numbers, more):
        with pytest.raises(InvalidArgumentError, match="generator"):
            traced(one)


def test_a_failing_function(pipeline: TelemetryPipeline, collector: Collector) -> None:
    @traced("bad", pipeline=pipeline)
    async def bad() -> None:
        raise LookupError("no")

    with pytest.raises(LookupError):
        asyncio.run(bad())
    assert told(pipeline, collector)["bad"]["tags"] == {"error": "LookupError"}


# --- OpenTelemetry


@pytest.fixture
def tracing() -> tuple[Any, Any]:
    """Return a provider, and what keeps the spans it ends."""
    sdk = pytest.importorskip("opentelemetry.sdk.trace", reason="opentelemetry-sdk is missing")
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    provider = sdk.TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider, exporter


def test_our_spans_are_theirs_too(
    pipeline: TelemetryPipeline, collector: Collector, tracing: Any
) -> None:
    from opentelemetry import trace

    from ostiary.workflow.telemetry import mirror_to_opentelemetry

    provider, exporter = tracing
    mirror_to_opentelemetry(pipeline, provider)
    with pipeline.span("outer", tags={"a": "b"}) as outer:
        current = trace.get_current_span().get_span_context()
        assert f"{current.span_id:016x}" == outer.id
        with pytest.raises(KeyError), pipeline.span("inner") as inner:
            inner.log("careful", "warn")
            pipeline.event("tool_call", {"tool": "x", "args": {"a": [1]}})
            raise KeyError("secret")
    ours = told(pipeline, collector)
    theirs = {one.name: one for one in exporter.get_finished_spans()}
    for name in ("outer", "inner"):
        context = theirs[name].context
        assert f"{context.span_id:016x}" == ours[name]["id"]
        assert f"{context.trace_id:032x}" == ours[name]["trace_id"]
    assert theirs["inner"].parent.span_id == theirs["outer"].context.span_id
    assert ours["inner"]["parent_id"] == ours["outer"]["id"]
    assert theirs["outer"].attributes["a"] == "b"
    assert theirs["inner"].status.description == "KeyError"
    assert [one.name for one in theirs["inner"].events] == ["tool_call", "careful"]
    assert theirs["inner"].events[0].attributes["args"] == '{"a": [1]}'
    assert not trace.get_current_span().get_span_context().is_valid


def test_a_caller_s_trace_reaches_opentelemetry(
    pipeline: TelemetryPipeline, collector: Collector, tracing: Any
) -> None:
    from ostiary.workflow.telemetry import mirror_to_opentelemetry

    provider, exporter = tracing
    mirror_to_opentelemetry(pipeline, provider)
    with pipeline.span("served", traceparent=f"00-{TRACE}-{PARENT}-01"):
        pass
    with pipeline.span("other", trace_id="trace-001"):
        pass
    served = told(pipeline, collector)["served"]
    assert (served["trace_id"], served["parent_id"]) == (TRACE, PARENT)
    (theirs,) = (one for one in exporter.get_finished_spans() if one.name == "served")
    assert f"{theirs.context.trace_id:032x}" == TRACE
    assert f"{theirs.parent.span_id:016x}" == PARENT


def test_their_spans_are_reported(
    pipeline: TelemetryPipeline, collector: Collector, tracing: Any
) -> None:
    from opentelemetry.trace import Status, StatusCode

    from ostiary.workflow.telemetry import from_opentelemetry, mirror_to_opentelemetry

    provider, _ = tracing
    provider.add_span_processor(from_opentelemetry(pipeline))
    mirror_to_opentelemetry(pipeline, provider)
    tracer = provider.get_tracer("other library")
    with (
        pipeline.span("ours"),
        tracer.start_as_current_span("theirs", attributes={"n": 3, "list": [1, 2]}) as span,
    ):
        span.add_event("retry", {"attempt": 2})
        span.set_status(Status(StatusCode.ERROR, "timed out"))
    provider.force_flush()
    found = told(pipeline, collector)
    assert pipeline.counters.reported == 2, "ours does not come back"
    theirs = found["theirs"]
    assert theirs["parent_id"] == found["ours"]["id"]
    assert theirs["tags"] == {"n": "3", "list": "[1, 2]", "error": "timed out"}
    assert theirs["logs"][0]["message"] == "retry"
    assert theirs["duration"] >= 0


def test_opentelemetry_comes_when_it_is_asked_for() -> None:
    import subprocess
    import sys

    program = (
        "import sys, ostiary.workflow.telemetry as t\n"
        "assert not any(n.startswith('opentelemetry') for n in sys.modules)\n"
        "sys.modules['opentelemetry'] = None\n"
        "from ostiary.errors import ClientStateError\n"
        "try: t.from_opentelemetry\n"
        "except ClientStateError as e: assert 'ostiary[otel]' in str(e); print('said')\n"
        "try: t.nonsense\n"
        "except AttributeError: print('so')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.split() == ["said", "so"], done.stderr


Traced = Callable[..., Any]
