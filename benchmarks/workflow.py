"""The cases of workflows, W1 to W6: three calls, events many at a time, a server's whole rate."""

from __future__ import annotations

from typing import Any

from .case import Case, Role

_PEER = "httpx 0.28.1 + pydantic 2.14.3"
_METHODS = {
    "execute": "execute_workflow",
    "evaluate": "evaluate_policy",
    "event": "report_event",
}


def _row(
    name: str,
    label: str,
    role: Role,
    function: str,
    count: int,
    smoke: int = 64,
    unit: str = "us",
    server: str = "httpd",
    **options: Any,
) -> Case:
    smoke = min(count, smoke)
    return Case(
        name, label, role, f"workflow:{function}", count, smoke, unit, server, options=options
    )


def _called(group: str, call: str, ours: int, theirs: int) -> list[Case]:
    """One call after the other: W1, W2 and W3."""
    method = _METHODS[call]
    sync, asynchronous = f"WorkflowClient.{method}", f"AsyncWorkflowClient.{method}"

    def row(key: str, label: str, role: Role, function: str, count: int, **options: Any) -> Case:
        return _row(f"{group}.{key}", label, role, function, count, call=call, **options)

    def mine(key: str, label: str, function: str, **options: Any) -> Case:
        return row(key, label, "ours", function, ours, client="ours", **options)

    return [
        row("c-floor", "C floor: send, recv", "floor", "c_floor", 2 * ours),
        row("c-poll", "C floor: send, polling recv", "floor", "c_floor", 2 * ours, poll=True),
        row("plain", f"{_PEER}, TCP", "peer", "calls", theirs, client="plain"),
        row(
            "plain-async",
            f"{_PEER}, AsyncClient, TCP",
            "peer",
            "async_calls",
            theirs,
            client="plain",
        ),
        mine("typed", sync, "calls"),
        mine("typed-tcp", f"{sync}, TCP", "calls", tcp=True),
        mine("async", asynchronous, "async_calls"),
        mine("async-tcp", f"{asynchronous}, TCP", "async_calls", tcp=True),
    ]


def _together() -> list[Case]:
    """W4."""

    def row(key: str, label: str, role: Role, function: str, count: int, **options: Any) -> Case:
        options |= {"call": "evaluate", "tasks": 64}
        return _row(f"W4.{key}", label, role, function, count, **options)

    def mine(key: str, label: str, **options: Any) -> Case:
        text = f"AsyncWorkflowClient.evaluate_policy{label}"
        return row(key, text, "ours", "async_calls", 6_400, client="ours", **options)

    return [
        row("c-floor", "C floor: epoll", "floor", "c_fanout", 32_000),
        row("plain", f"{_PEER}, TCP", "peer", "async_calls", 640, client="plain"),
        row(
            "plain-uvloop",
            f"{_PEER}, TCP, uvloop",
            "peer",
            "async_calls",
            640,
            client="plain",
            loop="uvloop",
        ),
        mine("typed", ""),
        mine("typed-tcp", ", TCP", tcp=True),
        mine("typed-uvloop", ", uvloop", loop="uvloop"),
    ]


def _many() -> list[Case]:
    """W5 and W6: one by one, in batches of the caller's own, by our pipeline."""
    found: list[Case] = []
    rows: tuple[tuple[str, str, Role, str, int, int, dict[str, Any]], ...] = (
        ("plain", f"{_PEER}, one by one", "peer", "calls", 300, 100, {"client": "plain"}),
        (
            "plain-batches",
            f"{_PEER}, batches by hand",
            "peer",
            "batches",
            10_000,
            1_500,
            {"client": "plain"},
        ),
        ("typed", "WorkflowClient.report_event", "ours", "calls", 4_000, 500, {}),
        ("batches", "WorkflowClient.report_batch", "ours", "batches", 10_000, 3_000, {}),
        ("pipeline", "TelemetryPipeline", "ours", "pipelined", 20_000, 5_000, {}),
    )
    rates = {"calls": "rate", "batches": "batched_rate", "pipelined": "pipelined_rate"}
    for key, label, role, function, count, fewer, more in rows:
        options = {"call": "event", "client": "ours", "tcp": True, **more}
        found.append(_row(f"W5.{key}", f"{label}, TCP", role, function, count, 500, **options))
        found.append(
            _row(
                f"W6.{key}",
                f"{label}, TCP",
                role,
                rates[function],
                fewer,
                500 if function == "batches" else 32,
                "/s",
                "workflow",
                **options,
            )
        )
    return sorted(found, key=lambda case: case.group)


CASES = (
    *_called("W1", "execute", 2_000, 250),
    *_called("W2", "evaluate", 5_000, 300),
    *_called("W3", "event", 5_000, 300),
    *_together(),
    *_many(),
)
