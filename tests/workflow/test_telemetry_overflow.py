"""Memory that is full, and the file: what is dropped, what waits, and that it is told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ostiary.workflow import (
    ClientStateError,
    TelemetryError,
    TelemetryPipeline,
)
from ostiary.workflow.telemetry import worker
from ostiary.workflow.telemetry.items import Item
from ostiary.workflow.telemetry.spool import Spool
from tests.http.peer import Exchange

from .collector import (
    Collector,
    away,
    balanced,
    hangs,
    takes,
    tell,
    until,
)

Start = Callable[..., TelemetryPipeline]


# --- memory is full


@pytest.fixture
def full(collector: Collector) -> None:
    """A server that takes a batch and never answers: memory fills behind it."""
    collector.how = hangs


def fill(pipeline: TelemetryPipeline, collector: Collector) -> None:
    """Have one batch of 2 under way, and 4 in memory."""
    tell(pipeline, range(2))
    until(lambda: len(collector.batches) == 1)
    tell(pipeline, range(2, 6))
    assert pipeline.counters.queued == 6


LITTLE: dict[str, Any] = {"max_batch": 2, "max_queue": 4}


@pytest.mark.usefixtures("full")
def test_the_oldest_are_dropped(start: Start, collector: Collector) -> None:
    pipeline = start(overflow="drop_oldest", **LITTLE)
    fill(pipeline, collector)
    tell(pipeline, range(6, 9))
    counters = pipeline.counters
    assert (counters.reported, counters.dropped, counters.queued) == (9, 3, 6)
    assert balanced(counters)


@pytest.mark.usefixtures("full")
def test_the_newest_are_dropped(start: Start, collector: Collector) -> None:
    pipeline = start(overflow="drop_newest", **LITTLE)
    fill(pipeline, collector)
    tell(pipeline, range(6, 9))
    assert pipeline.counters.dropped == 3
    assert balanced(pipeline.counters)


@pytest.mark.usefixtures("full")
def test_the_caller_is_told(start: Start, collector: Collector) -> None:
    pipeline = start(overflow="raise", **LITTLE)
    fill(pipeline, collector)
    with pytest.raises(TelemetryError, match="4 reports wait"):
        tell(pipeline, [6])
    assert (pipeline.counters.reported, pipeline.counters.dropped) == (7, 1)
    assert balanced(pipeline.counters)


@pytest.mark.usefixtures("full")
def test_the_caller_waits_for_so_long(start: Start, collector: Collector) -> None:
    pipeline = start(overflow="block", block_timeout=0.02, **LITTLE)
    fill(pipeline, collector)
    with pytest.raises(TelemetryError):
        tell(pipeline, [6])
    assert balanced(pipeline.counters)


def test_the_caller_waits_for_room(start: Start, collector: Collector) -> None:
    collector.how = away
    pipeline = start(overflow="block", block_timeout=30, **LITTLE)
    thread = threading.Thread(target=tell, args=(pipeline, range(50)))
    thread.start()
    until(lambda: len(collector.batches) > 2)
    assert thread.is_alive()
    collector.how = takes
    thread.join(30)
    assert pipeline.flush(30)
    assert collector.numbers() == list(range(50))
    assert pipeline.counters.dropped == 0


@pytest.mark.usefixtures("full")
def test_close_ends_the_wait_for_room(start: Start, collector: Collector) -> None:
    pipeline = start(overflow="block", block_timeout=None, **LITTLE)
    fill(pipeline, collector)
    ended: list[type[BaseException]] = []

    def blocked() -> None:
        try:
            tell(pipeline, [6])
        except ClientStateError as error:
            ended.append(type(error))

    thread = threading.Thread(target=blocked)
    thread.start()
    time.sleep(0.02)
    pipeline.close(0.05)
    thread.join(30)
    assert ended == [ClientStateError]


@pytest.mark.usefixtures("full")
def test_the_file_takes_what_memory_cannot(
    start: Start, collector: Collector, tmp_path: Path
) -> None:
    pipeline = start(overflow="spool", spool=tmp_path / "s.db", **LITTLE)
    fill(pipeline, collector)
    tell(pipeline, range(6, 30))
    counters = pipeline.counters
    assert counters.dropped == 0
    assert counters.queued <= 6
    assert counters.spooled + counters.queued == 30
    assert balanced(counters)


def test_what_was_under_way_goes_before_what_was_put_on_file_meanwhile(
    start: Start, collector: Collector, tmp_path: Path
) -> None:
    answer = threading.Event()

    def late(collector: Collector, exchange: Exchange, body: Any) -> None:
        answer.wait(30)
        exchange.answer(503)

    collector.how = late
    pipeline = start(overflow="spool", spool=tmp_path / "s.db", **LITTLE)
    fill(pipeline, collector)
    tell(pipeline, range(6, 20))
    collector.how = takes
    answer.set()
    assert pipeline.flush(30)
    assert collector.numbers() == list(range(20))


@pytest.mark.usefixtures("full")
def test_what_was_under_way_at_the_end_goes_before_what_was_put_on_file(
    start: Start, collector: Collector, tmp_path: Path
) -> None:
    first = start(overflow="spool", spool=tmp_path / "s.db", **LITTLE)
    fill(first, collector)
    tell(first, range(6, 20))
    assert first.close(0.01).spooled == 20
    collector.how = takes
    assert start(spool=tmp_path / "s.db", max_batch=2).flush(30)
    assert collector.numbers() == list(range(20))


def test_what_is_being_put_on_file_goes_before_what_overflows_meanwhile(
    start: Start, collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writing, write = threading.Event(), threading.Event()
    add = Spool.add

    def slow(spool: Spool, items: list[Item], *, first: bool = False) -> int:
        if threading.current_thread().name == "ostiary-telemetry" and not first:
            writing.set()
            write.wait(30)
        return add(spool, items, first=first)

    monkeypatch.setattr(Spool, "add", slow)
    collector.how = away
    pipeline = start(overflow="spool", spool=tmp_path / "s.db", **LITTLE)
    tell(pipeline, range(2))
    until(lambda: pipeline.counters.spooled == 2)
    tell(pipeline, range(2, 4))
    assert writing.wait(30)
    others = threading.Thread(target=tell, args=(pipeline, range(4, 20)))
    others.start()
    others.join(0.05)  # memory is full long before
    assert pipeline.counters.queued == 6
    write.set()
    others.join()
    collector.how = takes
    assert pipeline.flush(30)
    assert collector.numbers() == list(range(20))


def test_memory_is_bounded_by_bytes_too(start: Start, collector: Collector) -> None:
    collector.how = away
    pipeline = start(overflow="drop_oldest", max_bytes=100_000, max_batch=1000)
    for number in range(50):
        pipeline.event("custom", {"number": number, "text": "x" * 10_000})
    counters = pipeline.counters
    assert counters.queued_bytes <= 100_000
    assert counters.dropped >= 40
    collector.how = takes
    assert pipeline.flush(30)
    assert collector.numbers()[-1] == 49


def test_a_full_file_leaves_the_rest_to_the_policy(
    start: Start, collector: Collector, tmp_path: Path
) -> None:
    collector.how = away
    pipeline = start(
        spool=tmp_path / "s.db", max_spool=10, overflow="drop_newest", max_batch=2, max_queue=6
    )
    for number in range(100):
        tell(pipeline, [number])
        if number % 10 == 0:
            pipeline.flush(0.01)
    pipeline.flush(0.1)
    counters = pipeline.counters
    assert counters.spooled == counters.waiting == 10
    assert counters.dropped == 90 - counters.queued
    assert balanced(counters)


# --- the file


def test_a_file_that_cannot_be_used(start: Start, tmp_path: Path) -> None:
    with pytest.raises(TelemetryError, match="cannot be used"):
        start(spool=tmp_path / "nowhere" / "s.db")
    broken = tmp_path / "broken.db"
    broken.write_bytes(b"this is no database" * 100)
    with pytest.raises(TelemetryError, match=r"broken\.db"):
        start(spool=broken)


def test_nobody_else_reads_the_file(start: Start, collector: Collector, tmp_path: Path) -> None:
    collector.how = away
    pipeline = start(spool=tmp_path / "s.db")
    tell(pipeline, range(3))
    pipeline.flush(0.05)
    for path in tmp_path.iterdir():
        assert path.stat().st_mode & 0o077 == 0, path


def test_a_disk_that_fails_keeps_them_in_memory(
    start: Start, collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collector.how = away
    pipeline = start(spool=tmp_path / "s.db", max_batch=5)

    def broken(*_: Any, **__: Any) -> int:
        raise TelemetryError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(worker.Spool, "add", broken)
        tell(pipeline, range(20))
        pipeline.flush(0.05)
        assert pipeline.counters.queued == 20
    collector.how = takes
    assert pipeline.flush(30)
    assert collector.numbers() == list(range(20))


def test_a_disk_that_fails_while_the_server_is_away(
    start: Start, collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collector.how = away
    pipeline = start(spool=tmp_path / "s.db", max_batch=5)
    tell(pipeline, range(5))
    until(lambda: pipeline.counters.spooled == 5)
    failures: list[int] = []

    def broken(*_: Any, **__: Any) -> int:
        failures.append(1)
        raise TelemetryError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(worker.Spool, "add", broken)
        for begin in (5, 10, 15):
            before = len(failures)
            tell(pipeline, range(begin, begin + 5))
            until(lambda before=before: len(failures) > before)  # type: ignore[misc]
        assert pipeline.counters.queued == 15
    collector.how = takes
    assert pipeline.flush(30)
    assert collector.numbers() == list(range(20))
    assert balanced(pipeline.counters)


def test_a_disk_that_fails_is_not_asked_all_the_time(
    start: Start, collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_FIRST_PAUSE", 60.0)
    monkeypatch.setattr(worker, "_LAST_PAUSE", 60.0)
    collector.how = away
    pipeline = start(spool=tmp_path / "s.db", max_batch=5)
    tell(pipeline, range(5))
    until(lambda: pipeline.counters.spooled == 5)
    asked: list[int] = []

    def broken(*_: Any, **__: Any) -> int:
        asked.append(1)
        raise TelemetryError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(worker.Spool, "add", broken)
        tell(pipeline, range(5, 30))
        until(lambda: bool(asked))
        time.sleep(0.1)
        assert len(asked) <= 2
    collector.how = takes
    assert pipeline.flush(30)
    assert collector.numbers() == list(range(30))


def test_a_disk_that_fails_when_memory_is_full(
    start: Start, collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collector.how = hangs
    pipeline = start(overflow="spool", spool=tmp_path / "s.db", **LITTLE)
    fill(pipeline, collector)

    def broken(*_: Any, **__: Any) -> int:
        raise TelemetryError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(worker.Spool, "add", broken)
        tell(pipeline, [6, 7])
        counters = pipeline.counters
        assert (counters.queued, counters.dropped) == (6, 2), "what waits is not given up for it"
        assert counters.problem == "the disk is full"
    assert balanced(counters)


def test_one_at_a_time_reads_the_file(tmp_path: Path) -> None:
    first, second = (Spool(tmp_path / "s.db", None) for _ in range(2))
    assert first.claim()
    assert first.claim(), "twice is once"
    assert not second.claim()
    first.release()
    assert second.claim()
    assert not first.claim()
    second.close()
    assert first.claim()
    first.close()


def test_a_file_gives_out_what_it_took(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "s.db", 7)
    items = [Item("events", b"%d" % number) for number in range(9)]
    assert spool.add(items[3:6]) == 3
    assert spool.add(items[:3], first=True) == 3
    assert spool.add(items[6:]) == 1, "it is full"
    assert spool.count() == 7
    found, places = spool.head(4, 1000)
    assert found == items[:4]
    spool.remove(places[0], places[1])
    found, _ = spool.head(100, 3)
    assert found == items[2:5], "so many bytes"
    assert spool.head(100, 0)[0] == items[2:3], "one at least"
    spool.close()
    assert spool.count() == 5, "it opens again"
    spool.close()
