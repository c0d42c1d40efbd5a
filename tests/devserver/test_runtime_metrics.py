"""Figures: flat and nested in one object, as Prometheus reads them, and each of them true."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from ostiary.devserver import RunningVault, running
from tests.devserver.api import Api
from tests.devserver.web import Web
from tests.devserver.wire import Hands

FLAT = {
    "uptime_seconds": int,
    "memory_usage_bytes": int,
    "memory_usage_percent": float,
    "cpu_usage_percent": float,
    "disk_usage_bytes": int,
    "disk_usage_percent": float,
    "active_agents": int,
    "total_agents": int,
    "secrets_count": int,
    "mcp_connections": int,
    "vector_db_items": int,
}
SAMPLE = re.compile(
    r"(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)"
    r'(?:\{(?P<labels>[a-z]+="(?:[^"\\\n]|\\["\\n])*"(?:,[a-z]+="(?:[^"\\\n]|\\["\\n])*")*)\})?'
    r" (?P<value>-?[0-9.e+-]+)"
)


@pytest.fixture
def server(hands: Hands) -> Iterator[RunningVault]:
    with running(demo=True, tcp=False, clock=hands.clock()) as one:
        yield one


@pytest.fixture
def api(server: RunningVault) -> Api:
    return Api(server)


def scrape(server: RunningVault, path: str = "/metrics") -> tuple[dict[str, Any], str]:
    with Web(server.runtime_socket) as web:
        reply = web.get(path)
    assert reply["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    text = reply.body.decode()
    found: dict[str, Any] = {}
    kinds: dict[str, str] = {}
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in kinds, "a family comes once"
            kinds[name] = kind
            continue
        if line.startswith("# HELP "):
            continue
        sample = SAMPLE.fullmatch(line)
        assert sample, line
        family = sample["name"].removesuffix("_sum").removesuffix("_count")
        assert family in kinds or sample["name"] in kinds, line
        key = sample["name"] + (f"{{{sample['labels']}}}" if sample["labels"] else "")
        assert key not in found
        found[key] = float(sample["value"])
    return found, text


def test_flat_and_nested_in_one_object(api: Api, hands: Hands) -> None:
    hands.forward(91)
    found = api.get("metrics")[1]
    for name, kind in FLAT.items():
        assert type(found[name]) is kind, name
    assert found["uptime_seconds"] == 91
    assert (found["total_agents"], found["active_agents"]) == (1, 0)
    assert found["agents"] == {"total": 1, "running": 0, "idle": 1, "error": 0}
    assert found["system"] == {
        "uptime_seconds": 91,
        "memory_usage": found["memory_usage_bytes"],
        "cpu_usage": found["cpu_usage_percent"],
    }
    assert found["memory_usage_bytes"] > 10_000_000
    assert 0 < found["memory_usage_percent"] < 100
    assert found["disk_usage_bytes"] > 10_000
    assert 0 < found["disk_usage_percent"] <= 100


def test_they_count_what_is_there(api: Api) -> None:
    before = api.get("metrics")[1]
    secret = {"agent_id": "agent-123", "secret_name": "n", "secret_value": "v"}
    assert api.post("secrets", secret)[0] in {200, 201}
    item = {
        "id": "k-1",
        "content": "words about a thing",
        "metadata": {
            "source": "a.md",
            "source_type": "document",
            "timestamp": "2026-03-01T10:00:00Z",
        },
    }
    assert api.post("knowledge", item)[0] in {200, 201}
    body = {"name": "s", "cron_expression": "@daily", "agent_name": "agent-123"}
    api.post("schedules", body)
    api.post("agents", {"name": "n"})
    after = api.get("metrics")[1]
    for name in ("secrets_count", "vector_db_items", "schedules", "total_agents"):
        assert after[name] == before[name] + 1, name
    assert after["requests_total"] == before["requests_total"] + 5
    assert after["requests_in_hand"] == 1
    status = api.get("status")[1]
    assert status.keys() == {
        *("version", "healthy", "agent_count", "schedule_count", "channel_count")
    }
    assert (status["agent_count"], status["schedule_count"], status["healthy"]) == (2, 1, True)


def test_prometheus_reads_them(server: RunningVault, api: Api) -> None:
    name = 'a "quoted" \\ name'
    api.post("agents", {"id": name, "name": "n"})
    body = {"workflow_id": "data-analysis-workflow", "parameters": {}, "agent_id": name}
    assert api.post("workflows", body)[1]["status"] == "failed"
    found, text = scrape(server)
    again, _ = scrape(server, "/api/v1/metrics/prometheus")
    assert found.keys() == again.keys()
    prefix = "ostiary_runtime_"
    label = name.replace("\\", "\\\\").replace('"', '\\"')
    tasks = prefix + "agent_tasks_total"
    assert found[f'{tasks}{{agent="{label}",outcome="failed"}}'] == 1
    assert found[f'{tasks}{{agent="agent-123",outcome="failed"}}'] == 0
    assert found[f'{prefix}agents{{state="error"}}'] == 1
    assert found[f"{prefix}total_agents"] == 2
    assert found[f"{prefix}request_duration_seconds_count"] == 2
    assert again[f"{prefix}request_duration_seconds_count"] == 3
    assert found[f"{prefix}request_duration_seconds_sum"] > 0
    assert "# TYPE ostiary_runtime_requests_total counter" in text
    assert "# TYPE ostiary_runtime_secrets_count gauge" in text


def test_no_secret_is_a_figure(server: RunningVault, api: Api) -> None:
    secret = {"agent_id": "agent-123", "secret_name": "the-name", "secret_value": "hunter2"}
    api.post("secrets", secret)
    _, text = scrape(server)
    assert "hunter2" not in text
    assert "the-name" not in text
