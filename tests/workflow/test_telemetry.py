"""The pipeline: what is reported arrives once and in order, whatever the server does."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import pickle
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ostiary.workflow import (
    AsyncWorkflowClient,
    ClientStateError,
    InvalidArgumentError,
    Metric,
    Span,
    TelemetryCounters,
    TelemetryEvent,
    TelemetryPipeline,
    WorkflowClient,
)
from ostiary.workflow.telemetry import worker
from tests.http.peer import Exchange

from .collector import (
    Collector,
    answers,
    away,
    balanced,
    collecting,
    gone,
    takes,
    takes_and_is_lost,
    tell,
    until,
)
from .conftest import EVENT, METRIC, NOW, SPAN

Start = Callable[..., TelemetryPipeline]


# --- sending


def test_reports_go_in_batches_and_in_order(start: Start, collector: Collector) -> None:
    pipeline = start(max_batch=40)
    tell(pipeline, range(100))
    assert pipeline.flush(30)
    assert collector.numbers() == list(range(100))
    assert [len(batch["events"]) for batch in collector.batches] == [40, 40, 20]
    counters = pipeline.counters
    assert (counters.reported, counters.sent, counters.queued) == (100, 100, 0)
    assert counters.problem is None


def test_a_batch_that_is_not_full_goes_after_a_while(start: Start, collector: Collector) -> None:
    pipeline = start(flush_interval=0.01)
    pipeline.metric("m", 1.5, tags={"a": "b"})
    collector.wait_for(1)
    (found,) = collector.kept.values()
    assert (found["name"], found["value"], found["tags"]) == ("m", 1.5, {"a": "b"})
    assert found["timestamp"].endswith("Z")


def test_a_full_batch_does_not_wait(start: Start, collector: Collector) -> None:
    tell(start(max_batch=5), range(5))
    collector.wait_for(5)


def test_it_takes_what_the_client_takes(start: Start, collector: Collector) -> None:
    pipeline = start()
    pipeline.report_event(EVENT)
    pipeline.report_event(TelemetryEvent.from_dict(EVENT | {"id": "ev-2"}))
    pipeline.report_metric(Metric.from_dict(METRIC))
    pipeline.report_metric({"name": "n", "value": 1, "timestamp": NOW})
    pipeline.report_span(Span.from_dict(SPAN))
    assert pipeline.flush(30)
    (batch,) = collector.batches
    assert batch["events"] == [EVENT, EVENT | {"id": "ev-2"}]
    assert batch["metrics"][0] == METRIC
    assert len(batch["metrics"][1]["id"]) == 32
    assert batch["spans"] == [SPAN]


def test_what_is_reported_cannot_change_any_more(start: Start, collector: Collector) -> None:
    data = {"number": 1}
    pipeline = start()
    pipeline.event("custom", data)
    data["number"] = 2
    assert pipeline.flush(30)
    assert collector.numbers() == [1]


def test_a_large_batch_is_cut_by_its_bytes(start: Start, collector: Collector) -> None:
    pipeline = start(max_batch=100)
    for _ in range(9):
        pipeline.event("custom", {"number": 0, "text": "x" * 200_000})
    assert pipeline.flush(30)
    assert [len(batch["events"]) for batch in collector.batches] == [2, 2, 2, 2, 1]


@pytest.mark.parametrize(
    ("call", "arguments"),
    [
        ("event", ("custom", {"x": float("nan")})),
        ("event", ("custom", {"x": object()})),
        ("event", ("custom", {"x": "y" * 300_000})),
        ("event", ("",)),
        ("metric", ("m", float("inf"))),
        ("metric", ("", 1.0)),
        ("report_span", ({"id": "s"},)),
        ("span", ("",)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_sent_is_refused_at_once(start: Start, call: str, arguments: Any) -> None:
    pipeline = start()
    with pytest.raises((InvalidArgumentError, ValueError)):
        getattr(pipeline, call)(*arguments)
    assert pipeline.counters.reported == 0


@pytest.mark.parametrize(
    "options",
    [
        {"max_batch": 0},
        {"max_batch": 1001},
        {"max_queue": 0},
        {"flush_interval": -1},
        {"overflow": "explode"},
        {"overflow": "spool"},
        {"max_spool": 0},
        {"block_timeout": "5"},
    ],
    ids=str,
)
def test_settings_that_cannot_be_meant(start: Start, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError):
        start(**options)


def test_many_threads(start: Start, collector: Collector) -> None:
    pipeline = start(max_batch=50, max_queue=100)
    threads = [
        threading.Thread(target=tell, args=(pipeline, range(at * 1000, at * 1000 + 200)))
        for at in range(8)
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert pipeline.flush(30)
    numbers = collector.numbers()
    assert sorted(numbers) == [at * 1000 + n for at in range(8) for n in range(200)]
    for at in range(8):
        mine = [number for number in numbers if number // 1000 == at]
        assert mine == sorted(mine), "each thread's in its own order"
    assert balanced(pipeline.counters)


# --- the server is away


@pytest.mark.parametrize("how", [away, gone, answers(401), answers(404), answers(500)])
def test_without_a_file_they_wait_in_memory(start: Start, collector: Collector, how: Any) -> None:
    collector.how = how
    pipeline = start(max_batch=10)
    tell(pipeline, range(25))
    assert not pipeline.flush(0.05)
    counters = pipeline.counters
    assert (counters.sent, counters.queued) == (0, 25)
    assert counters.problem
    collector.how = takes
    assert pipeline.flush(30)
    assert collector.numbers() == list(range(25))
    assert pipeline.counters.sent == 25


def test_with_a_file_they_wait_there(start: Start, collector: Collector, tmp_path: Path) -> None:
    collector.how = away
    pipeline = start(max_batch=10, max_queue=1000, spool=tmp_path / "s.db")
    tell(pipeline, range(100))
    assert not pipeline.flush(0.05)
    until(lambda: pipeline.counters.queued == 0)
    counters = pipeline.counters
    assert (counters.reported, counters.spooled, counters.sent) == (100, 100, 0)
    assert counters.waiting == 100
    collector.how = takes
    tell(pipeline, range(100, 120))
    assert pipeline.flush(30)
    assert collector.numbers() == list(range(120))
    counters = pipeline.counters
    assert counters.replayed == counters.spooled
    assert counters.sent + counters.spooled == 120
    tell(pipeline, [120])
    assert pipeline.flush(30)
    assert pipeline.counters.sent == counters.sent + 1, "past the file again"


def test_a_later_process_sends_what_was_left(
    start: Start, collector: Collector, tmp_path: Path
) -> None:
    collector.how = away
    first = start(spool=tmp_path / "s.db")
    tell(first, range(7))
    counters = first.close(0.2)
    assert (counters.spooled, counters.dropped, counters.queued) == (7, 0, 0)
    collector.how = takes
    second = start(spool=tmp_path / "s.db")
    collector.wait_for(7)
    assert second.flush(30)
    assert collector.numbers() == list(range(7))
    assert (second.counters.reported, second.counters.replayed) == (0, 7)


def test_an_answer_that_is_lost_repeats_the_ids(
    start: Start, collector: Collector, tmp_path: Path
) -> None:
    for spool in (None, tmp_path / "s.db"):
        collector.how = takes_and_is_lost
        pipeline = start(max_batch=10, spool=spool)
        before, repeated = len(collector.kept), collector.repeated
        tell(pipeline, range(10))
        collector.wait_for(before + 10)
        collector.how = takes
        assert pipeline.flush(30)
        assert len(collector.kept) == before + 10
        assert collector.repeated >= repeated + 10
        assert pipeline.counters.duplicates >= 10


def test_a_crash_between_answer_and_file_repeats_the_ids(
    start: Start, collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collector.how = away
    tell(first := start(spool=tmp_path / "s.db"), range(5))
    first.close(0.2)
    collector.how = takes
    with monkeypatch.context() as patch:
        patch.setattr(worker.Spool, "remove", lambda *_: (_ for _ in ()).throw(KeyError("crash")))
        second = start(spool=tmp_path / "s.db")
        collector.wait_for(5)
        second.close(0.2)
    third = start(spool=tmp_path / "s.db")
    assert third.flush(30)
    assert collector.numbers() == list(range(5))
    assert third.counters.duplicates == 5


def test_two_share_a_file_and_one_reads(start: Start, collector: Collector, tmp_path: Path) -> None:
    collector.how = away
    both = [start(spool=tmp_path / "s.db", max_batch=10) for _ in range(2)]
    for at, pipeline in enumerate(both):
        tell(pipeline, range(at * 100, at * 100 + 50))
        pipeline.flush(0.05)
    collector.how = takes
    for pipeline in both:
        assert pipeline.flush(30)
    assert sorted(collector.numbers()) == [*range(50), *range(100, 150)]
    assert collector.repeated == 0
    assert sum(one.counters.replayed for one in both) == sum(one.counters.spooled for one in both)


def test_a_server_that_wants_to_be_left_alone_is(
    start: Start, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(collector: Collector, exchange: Exchange, body: Any) -> None:
        exchange.answer(429, b"", [("Retry-After", "1")])

    monkeypatch.setattr(worker, "_LAST_PAUSE", 60.0)
    collector.how = busy
    pipeline = start(max_batch=1)
    tell(pipeline, [1])
    until(lambda: bool(collector.batches))
    time.sleep(0.1)
    assert len(collector.batches) == 1
    collector.how = takes
    assert pipeline.flush(30), "a flush does not wait so long"


# --- the server does not want it


@pytest.mark.parametrize("status", [400, 413, 422])
def test_one_bad_report_does_not_hold_up_the_others(
    start: Start, collector: Collector, status: int
) -> None:
    def picky(collector: Collector, exchange: Exchange, body: Any) -> None:
        if any(one["data"]["number"] == 13 for one in body["events"]):
            exchange.json({"error": "no 13"}, status)
        else:
            takes(collector, exchange, body)

    collector.how = picky
    pipeline = start()
    tell(pipeline, range(32))
    assert pipeline.flush(30)
    assert collector.numbers() == [number for number in range(32) if number != 13]
    counters = pipeline.counters
    assert (counters.sent, counters.rejected) == (32, 1)
    assert "no 13" in (counters.problem or "")


def test_what_a_reply_refuses_is_counted(start: Start, collector: Collector) -> None:
    def picky(collector: Collector, exchange: Exchange, body: Any) -> None:
        told = [{"path": "events/1/timestamp", "message": "is no time"}]
        exchange.json({"accepted": 1, "duplicates": 0, "rejected": 2, "errors": told})

    collector.how = picky
    pipeline = start()
    tell(pipeline, range(3))
    assert pipeline.flush(30)
    counters = pipeline.counters
    assert (counters.sent, counters.rejected) == (3, 2)


# --- its end


def test_close_sends_what_there_is(start: Start, collector: Collector) -> None:
    pipeline = start()
    tell(pipeline, range(30))
    counters = pipeline.close()
    assert (counters.sent, counters.queued) == (30, 0)
    with pytest.raises(ClientStateError):
        tell(pipeline, [1])
    with pytest.raises(ClientStateError):
        pipeline.__enter__()
    assert pipeline.close().sent == 30, "twice is once"
    assert "closed" in repr(pipeline)


def test_what_is_lost_at_the_end_is_told(
    start: Start, collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    collector.how = away
    pipeline = start()
    tell(pipeline, range(3))
    with caplog.at_level(logging.WARNING):
        counters = pipeline.close(1)
    assert (counters.dropped, counters.queued) == (3, 0)
    assert "3 telemetry reports are lost" in caplog.text
    assert "spool" in caplog.text


def test_close_does_not_wait_for_a_server_that_hangs(
    start: Start, collector: Collector, tmp_path: Path
) -> None:
    answer, answered = threading.Event(), threading.Event()

    def late(collector: Collector, exchange: Exchange, body: Any) -> None:
        answer.wait(30)
        takes(collector, exchange, body)
        answered.set()

    collector.how = late
    pipeline = start(spool=tmp_path / "s.db", max_batch=2)
    tell(pipeline, range(6))
    until(lambda: bool(collector.batches))
    counters = pipeline.close(0.05)
    assert counters.spooled == 6
    assert balanced(counters)
    answer.set()
    assert answered.wait(30)
    until(lambda: not any(one.name == "ostiary-telemetry" for one in threading.enumerate()))
    assert pipeline.counters == counters, "an answer that comes too late changes nothing"


def test_a_pipeline_stays_in_its_process(start: Start) -> None:
    with pytest.raises(ClientStateError):
        pickle.dumps(start())


def test_in_an_event_loop(collector: Collector) -> None:
    async def main() -> TelemetryCounters:
        client = AsyncWorkflowClient(collector.url)
        async with TelemetryPipeline(client, flush_interval=60) as pipeline:
            tell(pipeline, range(5))
            assert await pipeline.aflush(30)
            assert len(collector.kept) == 5
            collector.how = away
            tell(pipeline, [5])
            assert not await pipeline.aflush(0.02)
            collector.how = takes
        await client.aclose()
        return pipeline.counters

    assert asyncio.run(main()).sent == 6


# --- whatever happens


@pytest.mark.usefixtures("soon")
@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.sampled_from(["report", "report", "report", "away", "lost", "back", "flush", "reopen"]),
        max_size=25,
    ),
    st.integers(1, 7),
)
def test_nothing_is_lost_and_nothing_counts_twice(steps: list[str], max_batch: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as directory, collecting() as collector:
        total = 0
        client = WorkflowClient(collector.url, max_retries=0)

        def opened() -> TelemetryPipeline:
            return TelemetryPipeline(
                client,
                spool=os.path.join(directory, "s.db"),
                max_batch=max_batch,
                flush_interval=0.001,
                max_queue=9,
                overflow="spool",
            )

        pipeline = opened()
        for step in steps:
            if step == "report":
                tell(pipeline, range(total, total + 6))
                total += 6
            elif step == "away":
                collector.how = away
            elif step == "lost":
                collector.how = takes_and_is_lost
            elif step == "back":
                collector.how = takes
            elif step == "flush":
                pipeline.flush(0.005)
            else:
                assert balanced(pipeline.close(0.05))
                pipeline = opened()
            assert balanced(pipeline.counters)
        collector.how = takes
        assert pipeline.flush(30)
        counters = pipeline.close()
        assert collector.numbers() == list(range(total))
        assert (counters.dropped, counters.waiting, counters.queued) == (0, 0, 0)


def test_two_outages_of_the_embedded_server(tmp_path: Path) -> None:
    from .telemetry_outages import outages

    outcome = outages(3000, tmp_path, own_process=False)
    counters = outcome.report.counters
    assert counters.sent + counters.spooled == counters.reported == 3000
    assert counters.replayed == counters.spooled > 0
    assert (outcome.stored, outcome.distinct, outcome.lost) == (3000, 3000, 0)
    assert outcome.in_order
    assert outcome.report.most_queued <= 10_000


def test_what_a_batch_is_on_the_wire(start: Start, collector: Collector) -> None:
    pipeline = start()
    pipeline.metric("m", 1.0, timestamp="2031-04-02T01:00:00Z")
    assert pipeline.flush(30)
    (batch,) = collector.batches
    (metric,) = batch["metrics"]
    assert json.loads(json.dumps(metric)) == {
        "name": "m",
        "value": 1.0,
        "timestamp": "2031-04-02T01:00:00Z",
        "id": metric["id"],
    }
