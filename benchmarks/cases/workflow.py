"""W1 to W6: ours, and httpx with pydantic, as clients of a workflow server.

`CALLS` says what is asked. The same lines make the arguments for both, of either's models.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from datetime import UTC, datetime
from time import perf_counter
from types import SimpleNamespace
from typing import Any, NamedTuple

from ..sample import Sample, Stopwatch, Unavailable, Work
from . import loops, native
from .clients import base_url
from .exchange import DEADLINE, HEADERS, KEY, peer, written

API = "/api/v1"
WORKFLOW = "late-orders"
AGENT = "agent-late-orders"
BATCH = 500
"""As many reports as our pipeline puts into one batch."""
STEPS: dict[str, tuple[str, ...]] = {
    "load_orders": (),
    "load_customers": (),
    "join": ("load_orders", "load_customers"),
    "find_late": ("join",),
    "rank": ("find_late",),
    "summarize": ("find_late",),
    "draft": ("rank", "summarize"),
    "file": ("draft",),
}
"""The tasks of the workflow, and what each waits for."""


# --- what is asked ------------------------------------------------------------------------------


def spec(models: Any) -> Any:
    """Return the workflow that is run: eight tasks, made anew for each call."""
    return models.WorkflowSpec(
        id=WORKFLOW,
        name="Late orders",
        goal="Say which orders are late, and by how much.",
        tasks=[
            models.TaskSpec(
                id=name,
                name=name.replace("_", " "),
                type=models.TaskType.ACTION,
                tool_name=name,
                inputs={"day": "2031-05-06", "region": "north", "limit": 100},
                retry=models.RetryConfig(max_attempts=3, backoff_ms=200),
                timeout_ms=30_000,
                risk_tier=models.RiskTier.LOW,
            )
            for name in STEPS
        ],
        dependencies={name: list(before) for name, before in STEPS.items() if before},
        safety_policy=models.SafetyPolicy(name="permissive", rules=[]),
    )


def asked(models: Any) -> Any:
    """Return an action that is judged."""
    return models.PolicyContext(
        principal=models.Principal(
            id=AGENT,
            type=models.PrincipalType.AGENT,
            permissions=[
                models.Permission(action=action, resource=resource)
                for action, resource in (
                    ("read", "orders"),
                    ("read", "customers"),
                    ("write", "reports"),
                )
            ],
        ),
        action=models.Action(
            id="file-report-2031-05-06",
            name="File the report of late orders",
            risk_tier=models.PolicyRiskTier.MEDIUM,
            required_permissions=[
                models.Permission(action="read", resource="orders"),
                models.Permission(action="write", resource="reports"),
            ],
            metadata={"orders": 31, "customers": 12, "region": "north"},
        ),
        current_state=models.GoalGuardState.IDLE,
        audit_log=[],
        tool_name="file",
    )


def event(models: Any) -> Any:
    """Return what is reported: a tool that was called."""
    return models.TelemetryEvent(
        type=models.TelemetryEventType.TOOL_CALL,
        timestamp=datetime.now(UTC).isoformat(),
        workflow_id=WORKFLOW,
        task_id="find_late",
        task_type="action",
        correlation_id="3b9d1f64-5f0a-4c0e-8a57-2f6f5d0c9b11",
        data={"tool": "find_late", "rows": 31, "duration_ms": 12.75, "cached": False},
        tags={"region": "north", "stage": "production"},
    )


class Call(NamedTuple):
    """One of the calls: how it stands on the wire, and how in Python."""

    path: str
    make: Callable[[Any, Any], Any]
    """Asks a client with a side's models; one for asyncio gives a coroutine."""
    right: Callable[[Any], bool]
    """Whether what a client gave is what the reply says."""
    body: Callable[[Any, Any], Any]
    """The body, by our models and the function that says how they are sent."""

    def content(self) -> bytes:
        """Return the body as our client sends it."""
        import msgspec

        from ostiary.workflow.models import wire

        return msgspec.json.encode(self.body(ours_models(), wire))

    def request(self) -> str:
        """Return the whole request as text, for the floors."""
        headers = {**HEADERS, "Authorization": f"Bearer {KEY}"}
        return written(API + self.path, self.content(), headers)


_CONTEXT = {"tenant": "north", "day": "2031-05-06", "requested_by": "back-office@example.com"}
_CORRELATION = "3b9d1f64-5f0a-4c0e-8a57-2f6f5d0c9b11"

CALLS = {
    "execute": Call(
        "/workflows/execute",
        lambda client, models: client.execute_workflow(spec(models), dict(_CONTEXT), _CORRELATION),
        lambda found: (
            found.status == "success"
            and list(found.task_results) == list(STEPS)
            and all(one.status == "success" for one in found.task_results.values())
        ),
        lambda models, wire: {
            "workflow": wire(spec(models)),
            "context": _CONTEXT,
            "correlation_id": _CORRELATION,
        },
    ),
    "evaluate": Call(
        "/policy/evaluate",
        lambda client, models: client.evaluate_policy(asked(models)),
        lambda found: found.allowed and not found.requires_human_approval,
        lambda models, wire: wire(asked(models)),
    ),
    "event": Call(
        "/observability/events",
        lambda client, models: client.report_event(event(models)),
        lambda found: found is None,
        lambda models, wire: {**wire(event(models)), "id": "6f1c2c9e7c2a4f0e9f4a0d4b8b1f2a77"},
    ),
    "batch": Call(
        "/observability/batch",
        lambda client, models: client.report_batch([event(models) for _ in range(BATCH)]),
        lambda found: found.accepted == BATCH and not found.duplicates,
        lambda models, wire: {
            "events": [{**wire(event(models)), "id": f"{number:032x}"} for number in range(BATCH)]
        },
    ),
}


# --- who asks -----------------------------------------------------------------------------------


def ours_models() -> Any:
    try:
        from ostiary import workflow
    except ImportError as error:
        raise Unavailable(str(error)) from None
    # Looked up once: names there are loaded when they are first asked for.
    return SimpleNamespace(**{name: getattr(workflow, name) for name in _MODELS})


_MODELS = (
    "Action",
    "GoalGuardState",
    "Permission",
    "PolicyContext",
    "PolicyRiskTier",
    "Principal",
    "PrincipalType",
    "RetryConfig",
    "RiskTier",
    "SafetyPolicy",
    "TaskSpec",
    "TaskType",
    "TelemetryEvent",
    "TelemetryEventType",
    "WorkflowSpec",
)


def _plain() -> Any:
    """Return the peer's module; its client and its models."""
    peer("httpx")
    peer("pydantic")
    from . import plain

    return plain


def _tcp(work: Work) -> str:
    return f"http://127.0.0.1:{work.port}"


def _where(work: Work) -> str:
    return _tcp(work) if work.options.get("tcp") else base_url(work.socket)


@contextmanager
def ours(work: Work) -> Iterator[tuple[Any, Any]]:
    models = ours_models()
    from ostiary.workflow import WorkflowClient

    with WorkflowClient(_where(work), KEY, DEADLINE) as client:
        yield client, models


@contextmanager
def plain_client(work: Work) -> Iterator[tuple[Any, Any]]:
    plain = _plain()
    with plain.Client(_tcp(work), KEY, DEADLINE) as client:
        yield client, plain


SYNC = {"ours": ours, "plain": plain_client}


def _async_client(work: Work) -> tuple[AbstractAsyncContextManager[Any], Any]:
    connections = int(work.options.get("tasks", 1))
    if work.options["client"] == "plain":
        plain = _plain()
        return plain.AsyncClient(_tcp(work), KEY, DEADLINE, connections), plain
    models = ours_models()
    from ostiary.workflow import AsyncWorkflowClient

    return AsyncWorkflowClient(_where(work), KEY, DEADLINE, max_connections=connections), models


# --- what is timed ------------------------------------------------------------------------------


def call_of(work: Work) -> Call:
    return CALLS[work.options["call"]]


def c_floor(work: Work) -> Sample:
    """The same bytes sent and received from C."""
    poll = ["poll"] if work.options.get("poll") else []
    request = call_of(work).request()
    return native.run(work, "roundtrip", work.socket, work.count, request, *poll)


def c_fanout(work: Work) -> Sample:
    """The same from C: an epoll loop, one request under way on each connection."""
    request = call_of(work).request()
    return native.run(work, "fanout", work.socket, work.count, work.options["tasks"], request)


def calls(work: Work) -> Sample:
    """One call after the other."""
    call = call_of(work)
    with SYNC[work.options["client"]](work) as (client, models):
        assert call.right(call.make(client, models))
        for _ in range(work.warm_up):
            call.make(client, models)
        watch = Stopwatch()
        watch.start()
        for _ in range(work.count):
            call.make(client, models)
        return watch.sample(work.count)


def async_calls(work: Work) -> Sample:
    """A client for asyncio: so many tasks, or one call after the other."""
    return loops.run(work, _async_calls)


async def _async_calls(work: Work) -> Sample:
    call = call_of(work)
    made, models = _async_client(work)
    async with made as client:
        assert call.right(await call.make(client, models))

        async def task(count: int) -> None:
            for _ in range(count):
                await call.make(client, models)

        return await loops.timed(int(work.options.get("tasks", 1)), work, task)


def batches(work: Work) -> Sample:
    """Events in batches that the caller collects; per event."""
    call = CALLS["batch"]
    with SYNC[work.options["client"]](work) as (client, models):
        assert call.right(call.make(client, models))
        watch = Stopwatch()
        watch.start()
        for _ in range(-(-work.count // BATCH)):
            call.make(client, models)
        return watch.sample(-(-work.count // BATCH) * BATCH)


def _reported(pipeline: Any, models: Any, count: int) -> None:
    report = pipeline.report_event
    for _ in range(count):
        report(event(models))
    assert pipeline.flush(DEADLINE), pipeline.counters.problem


def pipelined(work: Work) -> Sample:
    """Events through our pipeline, its thread and the last flush included; per event."""
    from ostiary.workflow import TelemetryPipeline

    with ours(work) as (client, models), TelemetryPipeline(client, max_batch=BATCH) as pipeline:
        _reported(pipeline, models, work.warm_up)
        watch = Stopwatch()
        watch.start()
        _reported(pipeline, models, work.count)
        found = watch.sample(work.count)
        counters = pipeline.counters
        assert counters.sent == counters.reported == work.warm_up + work.count
        return found


# The server's own time is in these.


def rate(work: Work) -> Sample:
    """Events per second, one call after the other."""
    call = call_of(work)
    with SYNC[work.options["client"]](work) as (client, models):
        for _ in range(work.warm_up):
            call.make(client, models)
        begun = perf_counter()
        for _ in range(work.count):
            call.make(client, models)
        return _per_second(work.count, begun)


def batched_rate(work: Work) -> Sample:
    """Events per second, in batches that the caller collects."""
    with SYNC[work.options["client"]](work) as (client, models):
        begun = perf_counter()
        for _ in range(-(-work.count // BATCH)):
            CALLS["batch"].make(client, models)
        return _per_second(-(-work.count // BATCH) * BATCH, begun)


def pipelined_rate(work: Work) -> Sample:
    """Events per second through our pipeline, until the server has the last."""
    from ostiary.workflow import TelemetryPipeline

    with ours(work) as (client, models), TelemetryPipeline(client, max_batch=BATCH) as pipeline:
        _reported(pipeline, models, work.warm_up)
        begun = perf_counter()
        _reported(pipeline, models, work.count)
        return _per_second(work.count, begun)


def _per_second(count: int, begun: float) -> Sample:
    seconds = perf_counter() - begun
    return Sample(count / seconds, seconds / count * 1e6)
