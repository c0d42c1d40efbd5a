"""Tools of one's own, four at a time, and a step that waits for a person; starts its own server."""

from __future__ import annotations

import asyncio
from typing import Any

from ostiary.devserver import running
from ostiary.devserver.options import WorkflowOptions
from ostiary.workflow import (
    AsyncWorkflowClient,
    RiskTier,
    SafetyPolicy,
    TaskSpec,
    TaskType,
    WorkflowSpec,
)

CITIES = {"Bergen": 290_000, "Porto": 248_000, "Graz": 303_000, "Turku": 204_000}


async def look_up(call: Any) -> int:
    """A tool is a function of its call; async or not."""
    await asyncio.sleep(0.01)
    return CITIES[call.inputs["city"]]


def add_up(call: Any) -> int:
    """What the tasks before this one returned is in `upstream`, by their ids."""
    return sum(call.upstream.values())


def publish(call: Any) -> str:
    return f"{sum(call.upstream.values()):,} people"


def task(name: str, tool: str, *before: str, **more: Any) -> TaskSpec:
    return TaskSpec(
        id=name,
        name=name,
        type=TaskType.ACTION,
        tool_name=tool,
        depends_on=list(before),
        **more,
    )


CENSUS = WorkflowSpec(
    id="census",
    name="Census",
    tasks=[
        *(task(city, "look_up", inputs={"city": city}) for city in CITIES),
        task("sum", "add_up", *CITIES),
        task("publish", "publish", "sum", risk_tier=RiskTier.HIGH),
    ],
    # The server's own would ask for permissions as well.
    safety_policy=SafetyPolicy(name="permissive", rules=[]),
)


async def answer(url: str, key: Any) -> None:
    """Be the person: somebody else than who asks, with another key."""
    async with AsyncWorkflowClient(url, key) as client:
        while True:
            page = await client.list_approvals("pending", "census")
            for one in page.approvals:
                await client.approve(one.token, "the figures are right")
                return
            await asyncio.sleep(0.02)


async def main(url: str, key: Any, approver: Any) -> None:
    print(f"in layers: {CENSUS.layers()}")
    async with AsyncWorkflowClient(url, key) as client:
        person = asyncio.create_task(answer(url, approver))
        run = await client.submit_workflow(CENSUS, {"concurrency": 4, "approval_wait_ms": 30_000})
        async for event in run.events():
            if event.type in {"TASK_COMPLETED", "WORKFLOW_COMPLETED"}:
                print(f"{event.type} {event.task_id or ''}".rstrip())
        await person
        result = await run.result()
        print(f"{result.status}: {result.task_results['publish'].result}")


if __name__ == "__main__":
    tools = {"look_up": look_up, "add_up": add_up, "publish": publish}
    with running(tcp=False, workflow=WorkflowOptions(port=None, tools=tools)) as server:
        url, key = server.workflow_unix_url, server.workflow_token
        asyncio.run(main(url, key, server.workflow_approver_token))
