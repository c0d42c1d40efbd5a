"""Schedules: the times that cron's words mean, and the runs that come of them."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.devserver import RunningVault, RuntimeOptions, running
from ostiary.devserver.runtime.cron import Cron
from ostiary.errors import InvalidArgumentError
from tests.devserver.api import Api
from tests.devserver.wire import Hands

BERLIN = ZoneInfo("Europe/Berlin")
PATIENCE = 20.0


def times(expression: str, start: str, count: int, zone: tzinfo = UTC) -> list[str]:
    """Return the next times after a local one, as they are on the wall there."""
    cron = Cron(expression)
    moment: datetime | None = datetime.fromisoformat(start).replace(tzinfo=zone).astimezone(UTC)
    found: list[str] = []
    for _ in range(count):
        assert moment is not None
        moment = cron.after(moment, zone)
        if moment is not None:
            found.append(moment.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S %z"))
    return found


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        ("*/15 * * * *", "2026-03-01 10:15:00"),
        ("0 */5 * * * *", "2026-03-01 10:10:00"),
        ("30 * * * * *", "2026-03-01 10:07:30"),
        ("10 30 9 * * *", "2026-03-02 09:30:10"),
        ("0 9 * * 1-5", "2026-03-02 09:00:00"),
        ("0 9 * * MON,wed", "2026-03-02 09:00:00"),
        ("0 9 * * 7", "2026-03-08 09:00:00"),
        ("0 12 * * sun", "2026-03-01 12:00:00"),
        ("0 0 31 * *", "2026-03-31 00:00:00"),
        ("0 0 29 feb ?", "2028-02-29 00:00:00"),
        ("0 0 13 * 5", "2026-03-06 00:00:00"),
        ("0 0 1 jan,JULY *", "2026-07-01 00:00:00"),
        ("0 0 0 1 1 ? 2030", "2030-01-01 00:00:00"),
        ("20-40/10 8-18/4 * * *", "2026-03-01 12:20:00"),
        ("5/20 * * * *", "2026-03-01 10:25:00"),
        ("@hourly", "2026-03-01 11:00:00"),
        ("@weekly", "2026-03-08 00:00:00"),
        ("@YEARLY", "2027-01-01 00:00:00"),
    ],
)
def test_the_next_time(expression: str, wanted: str) -> None:
    (found,) = times(expression, "2026-03-01 10:07:00", 1)  # a Sunday
    assert found == f"{wanted} +0000"


@pytest.mark.parametrize(
    ("expression", "field"),
    [
        ("", "five fields"),
        ("* * * *", "five fields"),
        ("* * * * * * * *", "five fields"),
        ("60 * * * *", "minute"),
        ("* 24 * * *", "hour"),
        ("* * 0 * *", "day"),
        ("* * * 13 *", "month"),
        ("* * * foo *", "month"),
        ("* * * * 8", "weekday"),
        ("5-1 * * * *", "minute"),
        ("*/0 * * * *", "minute"),
        ("1,,2 * * * *", "minute"),
        ("-1 * * * *", "minute"),
        ("1.5 * * * *", "minute"),
        ("٣ * * * *", "minute"),
        ("@never", "five fields"),
    ],
)
def test_what_is_no_time(expression: str, field: str) -> None:
    with pytest.raises(InvalidArgumentError, match=field):
        Cron(expression)


def test_a_time_that_never_comes() -> None:
    assert Cron("0 0 30 2 *").after(datetime(2026, 1, 1, tzinfo=UTC), UTC) is None
    assert Cron("0 0 0 1 1 * 1999").after(datetime(2026, 1, 1, tzinfo=UTC), UTC) is None


def test_clocks_put_forward() -> None:
    # At 2:00 of 29 March 2026 it is 3:00 in Berlin.
    assert times("30 2 * * *", "2026-03-28 12:00", 2, BERLIN) == [
        "2026-03-29 03:00:00 +0200",
        "2026-03-30 02:30:00 +0200",
    ]
    assert times("*/30 * * * *", "2026-03-29 01:20", 3, BERLIN) == [
        "2026-03-29 01:30:00 +0100",
        "2026-03-29 03:00:00 +0200",
        "2026-03-29 03:30:00 +0200",
    ]


def test_clocks_put_back() -> None:
    # At 3:00 of 25 October 2026 it is 2:00 in Berlin once more.
    assert times("30 2 * * *", "2026-10-24 12:00", 2, BERLIN) == [
        "2026-10-25 02:30:00 +0200",
        "2026-10-26 02:30:00 +0100",
    ]
    assert times("*/30 * * * *", "2026-10-25 01:45", 5, BERLIN) == [
        "2026-10-25 02:00:00 +0200",
        "2026-10-25 02:30:00 +0200",
        "2026-10-25 02:00:00 +0100",
        "2026-10-25 02:30:00 +0100",
        "2026-10-25 03:00:00 +0100",
    ]


@given(
    moment=st.datetimes(datetime(2000, 1, 1), datetime(2099, 1, 1), timezones=st.just(UTC)),
    minute=st.integers(0, 59),
    hours=st.sets(st.integers(0, 23), min_size=1, max_size=4),
    weekday=st.integers(0, 7),
)
def test_against_counting_minutes(
    moment: datetime, minute: int, hours: set[int], weekday: int
) -> None:
    expression = f"{minute} {','.join(map(str, sorted(hours)))} * * {weekday}"
    found = Cron(expression).after(moment, UTC)
    assert found is not None
    assert found > moment
    assert (found.minute, found.second, found.microsecond) == (minute, 0, 0)
    assert found.hour in hours
    assert found.isoweekday() % 7 == weekday % 7
    step = timedelta(hours=1)
    earlier = found - step
    while earlier > moment:  # every time between that has the minute is one that does not fit
        assert earlier.hour not in hours or earlier.isoweekday() % 7 != weekday % 7
        earlier -= step


@given(
    moment=st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)),
    zone=st.sampled_from(["Europe/Berlin", "America/New_York", "Asia/Tokyo", "Asia/Kolkata"]),
)
def test_every_half_hour_passes_in_any_zone(moment: datetime, zone: str) -> None:
    found = Cron("0,30 * * * *").after(moment, ZoneInfo(zone))
    assert found is not None
    assert timedelta(0) < found - moment <= timedelta(minutes=30)


# -- jobs ---------------------------------------------------------------------


@pytest.fixture
def server(hands: Hands) -> Iterator[RunningVault]:
    with running(demo=True, tcp=False, clock=hands.clock()) as one:
        yield one


@pytest.fixture
def api(server: RunningVault) -> Api:
    return Api(server)


def create(api: Api, **more: Any) -> str:
    body = {"name": "n", "cron_expression": "0 */5 * * * *", "agent_name": "agent-123"} | more
    status, answer = api.post("schedules", body)
    assert (status, answer["status"]) == (201, "created"), answer
    found: str = answer["job_id"]
    return found


def until(look: Callable[[], Any]) -> Any:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(0.005)
    raise AssertionError("it did not come about")


def runs(api: Api, job_id: str) -> Any:
    return api.get(f"schedules/{job_id}/history")[1]["history"]


def test_a_job_in_all_its_shapes(api: Api) -> None:
    job_id = create(api, policy_ids=["p"], timezone="Europe/Berlin")
    (summary,) = api.get("schedules")[1]
    assert summary.keys() >= {
        *("job_id", "name", "cron_expression", "timezone", "status", "enabled", "next_run"),
        "run_count",
    }
    assert (summary["status"], summary["enabled"], summary["run_count"]) == ("Active", True, 0)
    assert summary["next_run"] == "2030-03-17T17:50:00.000Z"
    detail = api.get(f"schedules/{job_id}")[1]
    assert detail.keys() >= {
        *summary.keys(),
        *("one_shot", "last_run", "failure_count", "created_at", "updated_at"),
    }
    assert api.get(f"schedules/{job_id}/next-runs?count=2")[1] == {
        "job_id": job_id,
        "next_runs": ["2030-03-17T17:50:00.000Z", "2030-03-17T17:55:00.000Z"],
    }
    paused = {"job_id": job_id, "action": "pause", "status": "paused"}
    for _ in range(2):
        assert api.post(f"schedules/{job_id}/pause") == (200, paused)
    assert api.get(f"schedules/{job_id}")[1]["next_run"] is None
    resumed = {"job_id": job_id, "action": "resume", "status": "active"}
    assert api.post(f"schedules/{job_id}/resume") == (200, resumed)
    changed = api.put(f"schedules/{job_id}", {"cron_expression": "0 8 * * *", "timezone": None})[1]
    assert (changed["action"], changed["next_run"]) == ("update", "2030-03-18T07:00:00.000Z")
    assert api.delete(f"schedules/{job_id}") == (200, {"job_id": job_id, "deleted": True})
    for method, path in (("GET", ""), ("PUT", ""), ("DELETE", ""), ("POST", "/pause")):
        body = {"one_shot": True} if method == "PUT" else None
        status, answer = api.ask(method, f"schedules/{job_id}{path}", body)
        assert (status, answer["code"]) == (404, "SCHEDULE_NOT_FOUND")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"cron_expression": "every day"}, "cron_expression"),
        ({"cron_expression": "0 0 30 2 *"}, "cron_expression"),
        ({"timezone": "Mars/Olympus"}, "timezone"),
        ({"timezone": "../../etc/passwd"}, "timezone"),
        ({"timezone": ""}, "timezone"),
        ({"name": ""}, "name"),
    ],
    ids=["words", "never", "mars", "path", "empty", "nameless"],
)
def test_refused_jobs(api: Api, change: Any, field: str) -> None:
    body = {"name": "n", "cron_expression": "@daily", "agent_name": "agent-123"} | change
    status, answer = api.post("schedules", body)
    assert (status, answer["details"]["field"]) == (422, field)
    if field != "name":
        job_id = create(api)
        assert api.put(f"schedules/{job_id}", change)[1]["details"]["field"] == field
        assert api.get(f"schedules/{job_id}")[1]["timezone"] == "UTC"


def test_an_agent_there_is_none_of(api: Api) -> None:
    body = {"name": "n", "cron_expression": "@daily", "agent_name": "who"}
    assert api.post("schedules", body)[1]["code"] == "AGENT_NOT_FOUND"
    assert api.put(f"schedules/{create(api)}", {})[0] == 422


def test_a_job_by_hand_is_on_record(api: Api) -> None:
    job_id = create(api)
    triggered = api.post(f"schedules/{job_id}/trigger")[1]
    assert (triggered["action"], triggered["status"]) == ("trigger", "triggered")
    (run,) = until(lambda: [one for one in runs(api, job_id) if one["status"] != "Running"])
    assert run["run_id"] == triggered["run_id"]
    assert run["status"] == "Succeeded"
    assert run.keys() >= {
        *("run_id", "started_at", "completed_at", "status", "error", "execution_time_ms")
    }
    execution = api.get(f"agents/agent-123/executions/{run['execution_id']}")[1]
    assert (execution["kind"], execution["status"]) == ("schedule", "completed")
    health = api.get("health/scheduler")[1]
    assert (health["runs_total"], health["runs_succeeded"], health["runs_failed"]) == (1, 1, 0)
    assert len(health) == 13
    assert health["longest_run_ms"] > 0
    assert api.get(f"schedules/{job_id}")[1]["last_run"] == "2030-03-17T17:46:40.000Z"


def test_the_clock_begins_what_is_due() -> None:
    with running(demo=True, tcp=False) as server:
        api = Api(server)
        job_id = create(api, cron_expression="* * * * * *", one_shot=True)
        until(lambda: [one for one in runs(api, job_id) if one["status"] == "Succeeded"])
        job = api.get(f"schedules/{job_id}")[1]
        assert (job["status"], job["run_count"], job["next_run"]) == ("Completed", 1, None)
        for verb in ("resume", "pause"):
            assert api.post(f"schedules/{job_id}/{verb}")[1]["code"] == "SCHEDULE_COMPLETED"


def test_five_failures_in_a_row_give_a_job_up(api: Api) -> None:
    job_id = create(api)
    api.put("agents/agent-123", {"execution_mode": {"External": {}}})
    for count in range(1, 6):
        api.post(f"schedules/{job_id}/trigger")
        until(lambda count=count: len([r for r in runs(api, job_id) if r["error"]]) == count)
    assert api.get(f"schedules/{job_id}")[1]["status"] == "DeadLetter"
    assert api.get("health/scheduler")[1]["jobs_dead_letter"] == 1
    api.post(f"schedules/{job_id}/resume")
    assert api.get(f"schedules/{job_id}")[1]["status"] == "Active"


def test_a_run_does_not_overlap_with_the_one_before_it() -> None:
    gate = threading.Event()
    runtime = RuntimeOptions(port=None, tools={"wait_here": lambda: gate.wait(PATIENCE)})
    with running(demo=True, tcp=False, runtime=runtime) as server:
        api = Api(server)
        source = "agent slow { action work { wait_here() } }"
        assert api.post("agents", {"id": "slow", "name": "slow", "dsl": source})[0] == 201
        job_id = create(api, cron_expression="* * * * * *", agent_name="slow")
        try:
            skipped = until(lambda: [r for r in runs(api, job_id) if r["status"] == "Skipped"])
            assert "has not ended" in skipped[0]["error"]
            assert api.post(f"schedules/{job_id}/trigger")[1]["code"] == "SCHEDULE_RUNNING"
            assert api.get("agents/slow")[1]["state"] == "active"
            assert api.delete("agents/slow")[1]["code"] == "AGENT_BUSY"
        finally:
            gate.set()
        until(lambda: [one for one in runs(api, job_id) if one["status"] == "Succeeded"])


SLOW = "agent slow { action work { wait_here() } }"


def slow_run(api: Api) -> str:
    """Begin a run of an agent whose tool waits; return the job."""
    assert api.post("agents", {"id": "slow", "name": "slow", "dsl": SLOW})[0] == 201
    job_id = create(api, agent_name="slow")
    assert api.post(f"schedules/{job_id}/trigger")[0] == 200
    return job_id


def test_a_job_that_is_deleted_ends_its_run() -> None:
    gate = threading.Event()
    runtime = RuntimeOptions(port=None, tools={"wait_here": lambda: gate.wait(PATIENCE)})
    with running(demo=True, tcp=False, runtime=runtime) as server:
        api = Api(server)
        try:
            job_id = slow_run(api)
            assert api.get("health/scheduler")[1]["runs_total"] == 0
            assert api.delete(f"schedules/{job_id}")[0] == 200
            until(lambda: api.get("health/scheduler")[1]["runs_failed"] == 1)
            assert api.get(f"schedules/{job_id}/history")[0] == 404
        finally:
            gate.set()


KILLED = """
import os, signal, sys
from ostiary.devserver import RuntimeOptions, running
from tests.devserver.api import Api
from tests.devserver.test_runtime_schedules import slow_run
def die():
    os.kill(os.getpid(), signal.SIGKILL)
runtime = RuntimeOptions(port=None, tools={"wait_here": die})
with running(sys.argv[1], demo=True, tcp=False, runtime=runtime) as server:
    slow_run(Api(server))
    signal.pause()
"""


def test_a_run_that_a_crash_cut_short_is_on_record_as_failed(tmp_path: Path, root: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], cwd=root, check=False)
    assert killed.returncode == -9
    with running(tmp_path, demo=True, tcp=False) as server:
        api = Api(server)
        (job,) = [one for one in api.get("schedules")[1] if one["agent_name"] == "slow"]
        assert (job["status"], job["run_count"]) == ("Active", 1)
        (run,) = runs(api, job["job_id"])
        assert run["status"] == "Failed"
        assert run["error"] == "the runtime stopped before this run ended"
