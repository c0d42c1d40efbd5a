"""Telemetry that is kept: each item once, in order, found by every filter, a page at a time."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from ostiary.devserver import RunningVault, WorkflowOptions, running
from ostiary.devserver.clock import Clock
from ostiary.devserver.http.refusals import HttpRefusal
from ostiary.devserver.workflow.summary import summary
from ostiary.devserver.workflow.telemetry import Telemetry
from ostiary.errors import OstiaryError
from ostiary.workflow.enums import TelemetryEventType
from ostiary.workflow.models import Metric, Span, TelemetryEvent
from tests.devserver.web import Web
from tests.devserver.workflow_api import WorkflowApi, task, workflow

AT = "2031-04-02T01:00:00Z"


@pytest.fixture(scope="module")
def server() -> Iterator[RunningVault]:
    with running(demo=True, tcp=False) as one:
        yield one


@pytest.fixture
def api(server: RunningVault) -> WorkflowApi:
    return WorkflowApi(server)


def event(**more: Any) -> dict[str, Any]:
    return {"type": "step_end", "timestamp": AT, "data": {}, **more}


def metric(name: str, value: float = 1.0, at: str = AT, **more: Any) -> dict[str, Any]:
    return {"name": name, "value": value, "timestamp": at, **more}


def span(trace: str, name: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "trace_id": trace, "name": name, "start_time": AT, **more}


def test_each_item_is_taken_once_by_its_id(api: WorkflowApi) -> None:
    for path, item in (
        ("events", event(id="e-1", workflow_id="once")),
        ("metrics", metric("once", id="m-1")),
        ("spans", span("once", "s-1")),
    ):
        assert api.post(f"observability/{path}", item) == (202, {"accepted": 1, "duplicates": 0})
        assert api.post(f"observability/{path}", item) == (202, {"accepted": 0, "duplicates": 1})
    assert len(api.get("observability/events?workflow_id=once")[1]["events"]) == 1
    assert len(api.get("observability/metrics?name=once")[1]) == 1
    assert len(api.get("observability/traces/once")[1]) == 1
    # What has no id is new each time.
    for _ in range(2):
        assert api.post("observability/metrics", metric("twice"))[1]["accepted"] == 1
    assert len(api.get("observability/metrics?name=twice")[1]) == 2


def test_a_span_is_told_of_again_when_it_has_ended(api: WorkflowApi) -> None:
    begun = span("grows", "a")
    assert api.post("observability/spans", begun)[1]["accepted"] == 1
    ended = {**begun, "end_time": "2031-04-02T01:00:01Z", "duration": 1000.0}
    assert api.post("observability/spans", ended)[1]["accepted"] == 1
    assert api.post("observability/spans", ended)[1]["duplicates"] == 1
    assert api.get("observability/traces/grows") == (200, [ended])


def test_the_guides_nulls_and_camel_case_are_read(api: WorkflowApi) -> None:
    sent = {
        "type": "custom",
        "timestamp": "2031-04-02T01:00:00",
        "data": {"kept": None},
        "workflowId": "camel",
        "taskId": None,
        "correlation_id": None,
        "tags": None,
    }
    assert api.post("observability/events", sent)[0] == 202
    (found,) = api.get("observability/events?workflow_id=camel")[1]["events"]
    assert found == {
        "type": "custom",
        "timestamp": "2031-04-02T01:00:00Z",
        "data": {"kept": None},
        "workflow_id": "camel",
    }


@pytest.mark.parametrize(
    ("path", "item", "wrong"),
    [
        ("events", event(timestamp="not a time"), "timestamp"),
        ("events", {"type": "custom", "timestamp": AT}, "data"),
        ("metrics", metric("x") | {"value": None}, "value"),
        ("metrics", metric(""), "name"),
        ("spans", span("t", "s", duration=-1), "duration"),
        ("spans", span("t", "s", logs=[{"timestamp": AT, "level": "info"}]), "logs[0].message"),
    ],
    ids=["time", "data", "value", "name", "duration", "log"],
)
def test_what_is_no_item_is_refused_by_its_path(
    api: WorkflowApi, path: str, item: dict[str, Any], wrong: str
) -> None:
    status, found = api.post(f"observability/{path}", item)
    assert (status, found["code"]) == (422, "VALIDATION_ERROR")
    assert wrong in [one["path"] for one in found["errors"]]


def test_a_kind_of_event_that_is_not_known_stays_what_it_is(api: WorkflowApi) -> None:
    assert api.post("observability/events", event(type="llm_prompt", workflow_id="llm"))[0] == 202
    (found,) = api.get("observability/events?type=llm_prompt")[1]["events"]
    assert found["type"] == "llm_prompt"


def test_a_batch_keeps_the_good_and_names_the_bad(api: WorkflowApi) -> None:
    batch = {
        "events": [event(id="b-1", workflow_id="batch"), event(timestamp="never"), 7],
        "metrics": [metric("batch", id="b-1"), metric("batch", id="b-1")],
        "spans": [span("batch", "b"), None],
    }
    status, found = api.post("observability/batch", batch)
    assert status == 200
    assert (found["accepted"], found["duplicates"], found["rejected"]) == (3, 1, 3)
    assert [one["path"] for one in found["errors"]] == ["events/1/timestamp", "events/2", "spans/1"]
    status, found = api.post("observability/batch", batch)
    assert (found["accepted"], found["duplicates"], found["rejected"]) == (0, 4, 3)
    assert api.post("observability/batch", {}) == (
        200,
        {"accepted": 0, "duplicates": 0, "rejected": 0},
    )
    assert api.post("observability/batch", {"events": {}})[0] == 422


def test_a_batch_has_a_most(api: WorkflowApi) -> None:
    full = {"metrics": [metric("many", n) for n in range(1_000)]}
    assert api.post("observability/batch", full)[1]["accepted"] == 1_000
    full["metrics"].append(metric("many"))
    status, found = api.post("observability/batch", full)
    assert (status, found["code"], found["details"]) == (413, "BATCH_TOO_LARGE", {"limit": 1000})


def test_metrics_are_found_by_every_filter_at_once(api: WorkflowApi) -> None:
    for hour, env in ((3, "lab"), (1, "lab"), (2, "field")):
        # The second is at 01:00 in another spelling.
        at = "2030-01-01T02:00:00+01:00" if hour == 1 else f"2030-01-01T0{hour}:00:00Z"
        tags = {"env": env, "odd\"'[key": "é"}
        api.post("observability/metrics", metric("filters", hour, at, tags=tags))
    api.post("observability/metrics", metric("other", 9, "2030-01-01T01:00:00Z"))

    def found(**query: str) -> list[float]:
        text = "&".join(f"{name}={quote(value)}" for name, value in query.items())
        status, metrics = api.get(f"observability/metrics?{text}")
        assert status == 200
        return [one["value"] for one in metrics]

    assert found(name="filters") == [1, 2, 3]
    assert found(name="filters", tags='{"env":"lab"}') == [1, 3]
    assert found(name="filters", tags=json.dumps({"env": "lab", "odd\"'[key": "é"})) == [1, 3]
    assert found(name="filters", tags='{"env":"lab","none":"x"}') == []
    # Both ends are taken in, compared as instants, naive ones as UTC.
    assert found(name="filters", start_time="2030-01-01T01:00:00") == [1, 2, 3]
    assert found(name="filters", start_time="2030-01-01T01:00:00.001Z") == [2, 3]
    assert found(name="filters", end_time="2030-01-01T03:00:00+01:00") == [1, 2]
    assert found(start_time="2030-01-01", end_time="2030-01-01T01:00:00Z") == [1, 9]
    assert found(name="filter") == []


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("tags=%7B", "tags"),
        ("tags=%5B%5D", "tags"),
        ("tags=%7B%22a%22%3A1%7D", "tags"),
        ("start_time=yesterday", "start_time"),
        ("end_time=x", "end_time"),
        ("limit=0", "limit"),
        ("limit=-1", "limit"),
        ("cursor=abc", "cursor"),
        ("cursor=WzFd", "cursor"),
    ],
)
def test_a_query_that_cannot_be_read_is_a_400(api: WorkflowApi, query: str, name: str) -> None:
    for path in ("metrics", "events"):
        status, found = api.get(f"observability/{path}?{query}")
        assert (status, found["code"]) == (400, "BAD_QUERY")
        assert [one["path"] for one in found["errors"]] == [name]


@pytest.mark.parametrize("kind", ["events", "metrics"])
def test_pages_have_everything_once_and_in_order(api: WorkflowApi, kind: str) -> None:
    items = [
        # Three at each moment, so that pages end between equal times.
        (event(workflow_id="pages", data={"n": n}) if kind == "events" else metric("pages", n))
        | {"timestamp": f"2030-02-02T00:00:{59 - n // 3:02}.25Z"}
        for n in range(50)
    ]
    api.post("observability/batch", {kind: items})
    filtered = "workflow_id=pages" if kind == "events" else "name=pages"
    found: list[dict[str, Any]] = []
    cursor = ""
    pages = 0
    while True:
        path = f"observability/{kind}?{filtered}&limit=7&cursor={quote(cursor)}"
        status, page = api.get(path)
        assert status == 200
        found += page[kind]
        pages += 1
        if "next_cursor" not in page:
            break
        cursor = page["next_cursor"]
    assert pages == 8
    assert [one["timestamp"] for one in found] == sorted(one["timestamp"] for one in items)
    assert len({json.dumps(one) for one in found}) == 50


def test_a_trace_has_parents_first_where_all_began_at_once(api: WorkflowApi) -> None:
    spans = [
        span("trace 1/ä", "leaf", parent_id="branch"),
        span("trace 1/ä", "branch", parent_id="root"),
        span("trace 1/ä", "early", start_time="2031-04-02T00:00:00Z", parent_id="leaf"),
        span("trace 1/ä", "root"),
        span("trace 1/ä", "lost", parent_id="nobody"),
    ]
    api.post("observability/batch", {"spans": spans})
    status, found = api.get(f"observability/traces/{quote('trace 1/ä', safe='')}")
    assert status == 200
    assert [one["id"] for one in found] == ["early", "root", "branch", "leaf", "lost"]
    assert api.get("observability/traces/nobody-s") == (200, [])


def test_spans_that_are_one_anothers_parents_are_all_told(api: WorkflowApi) -> None:
    spans = [span("ring", "a", parent_id="b"), span("ring", "b", parent_id="a")]
    api.post("observability/batch", {"spans": spans})
    assert {one["id"] for one in api.get("observability/traces/ring")[1]} == {"a", "b"}


def test_a_run_leaves_a_trace_and_figures(server: RunningVault, api: WorkflowApi) -> None:
    flow = workflow(
        "traced", task("read_file"), task("fails", "read_file", inputs={"path": "none"})
    )
    status, result = api.execute(flow, correlation_id="of-a-run")
    assert (status, result["status"]) == (200, "partial")
    root, *attempts = api.get("observability/traces/of-a-run")[1]
    assert root["name"] == "traced"
    assert {one["name"] for one in attempts} == {"read_file", "fails"}
    assert all(one["parent_id"] == root["id"] for one in attempts)
    events = api.get("observability/events?correlation_id=of-a-run")[1]["events"]
    kinds = [one["type"] for one in events if one["task_id"] == "read_file"]
    assert [kinds.count(kind) for kind in ("step_start", "step_end", "tool_call")] == [1, 1, 1]
    checks = api.get("observability/events?type=policy_check&workflow_id=traced")[1]["events"]
    assert [one["data"]["allowed"] for one in checks][:1] == [True]
    with Web(server.workflow_socket) as web:
        reply = web.get("/metrics")
    assert reply["content-type"].startswith("text/plain; version=0.0.4")
    assert b'aureus_events_total{event_type="step_end"}' in reply.body
    # Ids would make a series of each.
    assert b"traced" not in reply.body


def test_the_figures_of_the_summary(api: WorkflowApi) -> None:
    def at(minute: int) -> str:
        return f"2019-05-05T00:{minute:02}:00Z"

    def end(minute: int, success: bool, **more: Any) -> dict[str, Any]:
        data = {"success": success, "duration": 100 * minute}
        who = {"workflow_id": "w", "task_id": "t", "task_type": "action"}
        return event(timestamp=at(minute), data=data, **who) | more

    with running(demo=True, tcp=False) as fresh:
        api = WorkflowApi(fresh)
        assert api.get("observability/summary") == (
            200,
            {
                "success_rate": {},
                "mttr_ms": None,
                "human_escalation_rate": None,
                "cost_per_success_ms": None,
                "total_events": 0,
                "time_range": {"start": None, "end": None},
            },
        )
        events = [
            end(1, success=False),
            end(2, success=False),
            end(4, success=True),
            end(5, success=True),
            end(6, success=True, task_type="decision"),
            event(type="policy_check", data={"requiresHumanApproval": True}, timestamp=at(7)),
            event(type="policy_check", data={"requiresHumanApproval": False}, timestamp=at(8)),
        ]
        api.post("observability/batch", {"events": events})
        found = api.get("observability/summary")[1]
        assert found == {
            "success_rate": {"action": 0.5, "decision": 1.0},
            # Down at minute 1, up at minute 4.
            "mttr_ms": 180_000.0,
            "human_escalation_rate": 0.5,
            "cost_per_success_ms": 500.0,
            "total_events": 7,
            "time_range": {"start": "2019-05-05T00:01:00.000Z", "end": "2019-05-05T00:08:00.000Z"},
        }
        assert api.get("observability/summary?time_range_ms=1000")[1]["total_events"] == 0
        assert api.get("observability/summary?time_range_ms=x")[0] == 400


def test_a_run_that_is_mended_counts_as_repaired() -> None:
    tries: list[int] = []

    def heals(call: Any) -> str:
        tries.append(call.attempt)
        if len(tries) == 1:
            raise OSError("away")
        time.sleep(0.02)
        return "back"

    options = WorkflowOptions(port=None, tools={"heals": heals})
    with running(tcp=False, workflow=options) as fresh:
        api = WorkflowApi(fresh)
        flow = workflow("mended", task("heals"))
        assert [api.execute(flow)[1]["status"] for _ in range(2)] == ["failed", "success"]
        # The figures look for just what the engine tells.
        found = api.get("observability/summary")[1]
        assert found["success_rate"] == {"action": 0.5}
        assert found["mttr_ms"] >= 20
        assert found["human_escalation_rate"] == 0.0


def test_prometheus_gets_counters_and_gauges_of_few_series(
    server: RunningVault, api: WorkflowApi
) -> None:
    api.post("observability/events", event(type="of_my_own", workflow_id="w-4711"))
    api.post("observability/spans", span("trace-4711", "s", duration=3.0))
    with Web(server.workflow_socket) as web:
        text = web.get("/metrics").body.decode()
    lines = text.splitlines()
    assert {line.split()[3] for line in lines if line.startswith("# TYPE")} == {"counter", "gauge"}
    labels = set(re.findall(r'(\w+)="', text))
    assert labels == {"kind", "event_type"}
    # A type that a client made up is no series of its own.
    assert "of_my_own" not in text
    assert "4711" not in text


# -- the store itself -------------------------------------------------------


class Hands:
    """A wall clock moved by hand."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    @property
    def clock(self) -> Clock:
        return Clock(wall=lambda: self.now)


def kept(telemetry: Telemetry, *items: TelemetryEvent | Metric | Span) -> tuple[int, int]:
    async def add() -> tuple[int, int]:
        found = await telemetry.add(items)
        return found.accepted, found.duplicates

    return asyncio.run(add())


def numbers(telemetry: Telemetry) -> list[float]:
    found = telemetry.find("metrics", {}, limit=100_000)
    return [json.loads(bytes(item))["value"] for _, _, item in found]


def test_what_is_answered_for_is_on_file(tmp_path: Path) -> None:
    telemetry = Telemetry(tmp_path / "t.db", Clock(), limit=10, ttl=60)
    assert kept(telemetry, Metric(name="m", value=1, timestamp=AT, id="a")) == (1, 0)
    # Another connection sees it before the first has been closed.
    other = Telemetry(tmp_path / "t.db", Clock(), limit=10, ttl=60)
    assert numbers(other) == [1]
    assert kept(other, Metric(name="m", value=1, timestamp=AT, id="a")) == (0, 1)
    other.close()
    telemetry.close()
    telemetry.close()


def test_the_newest_are_kept_and_the_old_forgotten(tmp_path: Path) -> None:
    hands = Hands()
    telemetry = Telemetry(tmp_path / "t.db", hands.clock, limit=1_500, ttl=100)
    for _ in range(3):
        items = [Metric(name="m", value=n, timestamp=AT) for n in range(1_000)]
        kept(telemetry, *items)
    assert len(numbers(telemetry)) == 1_500
    hands.now += 101
    kept(telemetry, *[Metric(name="m", value=-1, timestamp=AT) for _ in range(1_000)])
    assert numbers(telemetry) == [-1] * 1_000
    telemetry.close()


def test_a_disk_that_says_no_is_a_503_and_nothing_is_half_kept(tmp_path: Path) -> None:
    telemetry = Telemetry(tmp_path / "t.db", Clock(), limit=10, ttl=60)
    telemetry._db.execute("PRAGMA query_only=ON")  # pyright: ignore[reportPrivateUsage]
    with pytest.raises(HttpRefusal) as refused:
        kept(telemetry, Metric(name="m", value=1, timestamp=AT, id="a"))
    assert (refused.value.status, refused.value.code) == (503, "STORE_UNAVAILABLE")
    telemetry._db.execute("PRAGMA query_only=OFF")  # pyright: ignore[reportPrivateUsage]
    assert kept(telemetry, Metric(name="m", value=1, timestamp=AT, id="a")) == (1, 0)
    telemetry.close()


def test_one_who_goes_away_does_not_take_the_others_items_along(tmp_path: Path) -> None:
    telemetry = Telemetry(tmp_path / "t.db", Clock(), limit=10, ttl=60)

    async def both() -> None:
        gone = asyncio.ensure_future(telemetry.add([Metric(name="m", value=1, timestamp=AT)]))
        stays = asyncio.ensure_future(telemetry.add([Metric(name="m", value=2, timestamp=AT)]))
        await asyncio.sleep(0)
        gone.cancel()
        assert (await stays).accepted == 1
        with pytest.raises(asyncio.CancelledError):
            await gone

    asyncio.run(both())
    assert numbers(telemetry) == [1, 2]
    telemetry.close()


def test_a_file_of_a_newer_version_and_one_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    telemetry = Telemetry(path, Clock(), limit=10, ttl=60)
    telemetry._db.execute("PRAGMA user_version=99")  # pyright: ignore[reportPrivateUsage]
    telemetry.close()
    with pytest.raises(OstiaryError, match="newer version"):
        Telemetry(path, Clock(), limit=10, ttl=60)
    path.write_bytes(b"no database at all, and long enough to be looked at" * 100)
    with pytest.raises(OstiaryError, match="move it away"):
        Telemetry(path, Clock(), limit=10, ttl=60)
    path.chmod(0o644)
    with pytest.raises(OstiaryError, match="chmod"):
        Telemetry(path, Clock(), limit=10, ttl=60)


def test_names_times_workflows_and_traces_are_found_by_index(tmp_path: Path) -> None:
    telemetry = Telemetry(tmp_path / "t.db", Clock(), limit=10, ttl=60)
    db = telemetry._db  # pyright: ignore[reportPrivateUsage]
    asked: list[str] = []
    db.set_trace_callback(asked.append)
    telemetry.find("metrics", {"name": "m"}, since=1.0, until=2.0, limit=5)
    telemetry.find("metrics", {}, since=1.0, limit=5)
    telemetry.find("metrics", {"name": "m"}, after=(1.0, 1), limit=5)
    telemetry.find("events", {"workflow_id": "w"}, limit=5)
    telemetry.trace("t")
    db.set_trace_callback(None)
    assert len(asked) == 5
    for one in asked:
        plan = [row[-1] for row in db.execute(f"EXPLAIN QUERY PLAN {one}")]
        # Found by an index, and in its order already.
        assert all(step.startswith("SEARCH") for step in plan), (one, plan)
    telemetry.close()


def test_figures_of_odd_events(tmp_path: Path) -> None:
    telemetry = Telemetry(tmp_path / "t.db", Clock(), limit=10, ttl=60)
    odd = {"success": "yes", "duration": True}
    kept(
        telemetry,
        TelemetryEvent(
            type=TelemetryEventType.STEP_END, timestamp="0001-01-01T00:00:00+14:00", data=odd
        ),
    )
    found = summary(telemetry, None)
    assert found["success_rate"] == {"unknown": 0.0}
    assert found["cost_per_success_ms"] is None
    telemetry.close()


def test_telemetry_outlives_the_server(tmp_path: Path) -> None:
    options = WorkflowOptions(port=None)
    with running(tmp_path, tcp=False, workflow=options) as server:
        WorkflowApi(server).post("observability/metrics", metric("stays", id="m"))
    with running(tmp_path, tcp=False, workflow=options) as server:
        api = WorkflowApi(server)
        assert api.post("observability/metrics", metric("stays", id="m"))[1]["duplicates"] == 1
        assert len(api.get("observability/metrics?name=stays")[1]) == 1
