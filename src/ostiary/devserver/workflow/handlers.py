"""The runtime's named workflows as workflows of one task, so that a crash does not lose them.

Neighbour: `ostiary.devserver.runtime.workflows` keeps their names and the record of each run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, final

import msgspec

from ...workflow.enums import TaskType
from ...workflow.models import Principal, TaskSpec, WorkflowSpec, accept
from ..http.refusals import HttpRefusal
from .engine.engine import Engine
from .tools import Registry, ToolCall, ToolError

__all__ = ["Handlers", "Outcome"]

_TASK: Final = "run"


class Outcome(msgspec.Struct, frozen=True):
    """How a run ended; `state` is the one of its task."""

    state: str
    result: Any = None
    error: str | None = None


@final
class Handlers:
    """Handlers by name, each a tool named `runtime:NAME`."""

    def __init__(self, engine: Engine, tools: Registry) -> None:
        self._engine = engine
        self._tools = tools
        self._principal = accept(Principal, {"id": "runtime", "type": "service", "permissions": []})

    def add(
        self, name: str, handler: Callable[[dict[str, Any], str | None], Awaitable[Any]]
    ) -> None:
        """Make a handler known: it gets parameters and an agent's id, if there is one."""

        async def run(call: ToolCall) -> Any:
            problem: str
            try:
                return await handler(dict(call.inputs), call.context.get("agent_id"))
            except HttpRefusal as refusal:
                problem = refusal.message
            except Exception as error:  # noqa: BLE001 - a handler may raise what it likes
                # The kind and not the words: they may quote what the handler was given.
                problem = f"the handler raised {type(error).__name__}"
            raise ToolError(problem, retry=False)

        self._tools.add(run, _tool(name))

    async def run(
        self,
        name: str,
        execution_id: str,
        parameters: Mapping[str, Any],
        agent_id: str | None,
        *,
        timeout: float,
    ) -> Outcome:
        """Run a handler to its end; `timeout` is seconds. A caller who goes away ends it."""
        workflow_id = _id(name, execution_id)
        spec = WorkflowSpec(
            id=workflow_id,
            name=name,
            tasks=[
                TaskSpec(
                    id=_TASK,
                    name=name,
                    type=TaskType.ACTION,
                    tool_name=_tool(name),
                    inputs=dict(parameters),
                    timeout_ms=max(1, round(timeout * 1000)),
                )
            ],
        )
        try:
            await self._engine.execute(
                spec,
                principal=self._principal,
                context=None if agent_id is None else {"agent_id": agent_id},
                correlation_id=execution_id,
            )
        except asyncio.CancelledError:
            await self._break_off(workflow_id)
            raise
        return await self._ended(workflow_id)

    def knows(self, name: str, execution_id: str) -> bool:
        """Return whether a run has begun."""
        try:
            self._engine.status(_id(name, execution_id))
        except HttpRefusal:
            return False
        return True

    async def outcome(self, name: str, execution_id: str) -> Outcome:
        """Wait for a run that has begun."""
        return await self._ended(_id(name, execution_id))

    async def _ended(self, workflow_id: str) -> Outcome:
        result = await self._engine.result(workflow_id)
        task = result["task_results"][_TASK]
        (progress,) = self._engine.status(workflow_id)["tasks"]
        return Outcome(
            state=str(progress["status"]),
            result=task.get("result"),
            error=task.get("error") or result.get("error"),
        )

    async def _break_off(self, workflow_id: str) -> None:
        try:
            await asyncio.shield(self._engine.cancel(workflow_id))
        except HttpRefusal:
            pass  # it had ended, or never begun


def _id(name: str, execution_id: str) -> str:
    return f"runtime/{name}/{execution_id}"


def _tool(name: str) -> str:
    return f"runtime:{name}"
