"""Agents at work: what is asked of one is answered, in the background or at once.

An agent with a compiled program runs that, another one is answered for by the built-in model.
Neighbours: `agents` keeps the record, `approvals` may hold a task back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, final

import msgspec
from starlette.requests import Request
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from ..gateway import echo
from ..gateway.wire import ChatBody, Message
from ..http.front import Json
from ..http.reading import Body
from ..http.refusals import HttpRefusal
from ..http.routing import route
from .agents import is_external
from .approvals import Approvals
from .context import Context
from .records import AgentRecord, Execution

__all__ = ["Executions", "Program"]

Program = Callable[[AgentRecord, Any, Mapping[str, str]], Awaitable["dict[str, Any] | None"]]

_encode = msgspec.json.Encoder(order="deterministic").encode


class _Execute(msgspec.Struct):
    input: Any = None
    require_approval: bool = False


_EXECUTE: Final = Body(_Execute, empty=True)


@final
class Executions:
    """Has agents work; other groups come here as well."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._agents = context.agents
        self._approvals: Approvals = context.group(Approvals)
        self._programs: list[Program] = []
        self._background: dict[str, asyncio.Task[None]] = {}

    def use(self, program: Program) -> None:
        """Ask `program` before the built-in model.

        It gets the agent, the input and the headers that came with it, and returns the
        output, or None when the agent is none of its own.
        """
        self._programs.append(program)

    # -- for the other groups -----------------------------------------------

    def complete(self, agent: AgentRecord | str, given: Any) -> dict[str, Any]:
        """Return what the built-in model says for an agent: `response`, `model`, `usage`."""
        return _said(self._agents.require(agent) if isinstance(agent, str) else agent, given)

    async def perform(
        self,
        agent_id: str,
        given: Any,
        kind: str,
        *,
        headers: Mapping[str, str] | None = None,
        execution_id: str | None = None,
        held: bool = False,
    ) -> Execution:
        """Have an agent work and return when it is done, within `workflow_timeout`.

        What goes wrong is raised, and on record. 409 for an agent that cannot work here, 504
        when the time is over. A `held` task, and each of an agent whose metadata has
        `"approval": "required"`, waits for somebody's approval first.
        """
        record = self._able(agent_id)
        execution_id = execution_id or self._context.new_id()
        await self.approve(record, kind, execution_id, held=held)
        try:
            async with self._agents.task(agent_id, kind, execution_id=execution_id) as execution:
                async with asyncio.timeout(self._context.runtime.workflow_timeout):
                    execution.result = await self.output(record, given, headers or {})
            return execution
        except TimeoutError:
            pass
        raise HttpRefusal(504, "TASK_TIMED_OUT", "the task took longer than the runtime allows")

    async def approve(
        self, record: AgentRecord, kind: str, execution_id: str, *, held: bool = False
    ) -> None:
        """Wait for the approval that a task needs, if it needs one; 403 when it is denied."""
        if not held and record.metadata.get("approval") != "required":
            return
        await self._approvals.hold(
            record.id,
            "Other",
            f"Run {kind} {execution_id}",
            reason="the agent's tasks need an approval",
            snapshot={"execution_id": execution_id},
        )

    def begin(self, agent_id: str, given: Any, kind: str, *, held: bool = False) -> Execution:
        """Have an agent work in the background; return what is on record of it now."""
        self._able(agent_id)
        execution = self._agents.queue(agent_id, kind)
        work = self._later(execution, given, held=held)
        task = asyncio.get_running_loop().create_task(work)
        self._background[execution.execution_id] = task
        task.add_done_callback(lambda _: self._background.pop(execution.execution_id, None))
        return execution

    async def _later(self, execution: Execution, given: Any, *, held: bool) -> None:
        execution_id, agent_id = execution.execution_id, execution.agent_id
        try:
            await self.perform(
                agent_id, given, execution.kind, execution_id=execution_id, held=held
            )
        except asyncio.CancelledError:
            self._agents.end_queued(execution_id, "cancelled", "cancelled before it began")
        except HttpRefusal as refusal:
            self._agents.end_queued(execution_id, "failed", refusal.message)
        except Exception as error:  # noqa: BLE001 - it is on record, and nobody waits for it
            self._agents.end_queued(execution_id, "failed", type(error).__name__)

    def _able(self, agent_id: str) -> AgentRecord:
        record = self._agents.require(agent_id)
        if record.stopped:
            raise HttpRefusal(409, "AGENT_STOPPED", "the agent is stopped; start it first")
        if is_external(record):
            raise HttpRefusal(
                409,
                "AGENT_EXTERNAL",
                "the agent runs elsewhere; send it a message, and it tells of its work by events",
            )
        return record

    async def output(
        self, record: AgentRecord, given: Any, headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """Return what an agent says or does; nothing is counted and no time is limited."""
        for program in self._programs:
            output = await program(record, given, headers or {})
            if output is not None:
                return output
        return self.complete(record, given)

    # -- the paths ----------------------------------------------------------

    def routes(self) -> list[BaseRoute]:
        return [
            route("POST", "/agents/{id}/execute", self._execute),
            route("GET", "/agents/{id}/history", self._history),
            route("GET", "/agents/{id}/executions/{execution_id}", self._one),
            route("POST", "/agents/{id}/executions/{execution_id}/cancel", self._cancel),
        ]

    def gauges(self) -> dict[str, int | float]:
        return {"executions_in_hand": len(self._background)}

    async def start(self) -> None:
        pass

    async def stop(self, grace: float) -> None:
        tasks = list(self._background.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=grace)

    def load_demo(self) -> None:
        pass

    async def _execute(self, request: Request) -> ASGIApp:
        body = await _EXECUTE.read(request)
        execution = self.begin(
            request.path_params["id"], body.input, "execute", held=body.require_approval
        )
        return Json(
            {"execution_id": execution.execution_id, "status": "execution_started"}, status=202
        )

    async def _history(self, request: Request) -> ASGIApp:
        agent_id: str = request.path_params["id"]
        self._agents.require(agent_id)
        return Json({"history": [one.view() for one in self._agents.history(agent_id)]})

    async def _one(self, request: Request) -> ASGIApp:
        return Json(self._found(request).view())

    async def _cancel(self, request: Request) -> ASGIApp:
        execution = self._found(request)
        task = self._background.get(execution.execution_id)
        if task is None:
            raise HttpRefusal(409, "EXECUTION_ENDED", "the execution has ended")
        task.cancel()
        await asyncio.wait([task])
        return Json(self._found(request).view())

    def _found(self, request: Request) -> Execution:
        execution = self._agents.execution(request.path_params["execution_id"])
        if execution is None or execution.agent_id != request.path_params["id"]:
            raise HttpRefusal(404, "EXECUTION_NOT_FOUND", "the agent has no execution of this id")
        return execution


def _said(record: AgentRecord, given: Any) -> dict[str, Any]:
    """Return what the built-in model says for an agent."""
    messages: list[Message] = []
    if record.system_prompt:
        messages.append(Message(role="system", content=record.system_prompt))
    text = _prompt(given)
    messages.append(Message(role="user", content=text or record.description or record.name))
    said = echo.answer(
        ChatBody(
            model=record.model or echo.MODELS[0],
            messages=messages,
            temperature=record.temperature,
            top_p=record.top_p,
            max_tokens=record.max_tokens,
        )
    )
    if said.fail is not None:
        raise HttpRefusal(502, "MODEL_FAILED", f"the model answered {said.fail}")
    return {
        "response": said.content,
        "model": record.model or echo.MODELS[0],
        "finish_reason": said.finish,
        "usage": {
            "prompt_tokens": said.prompt_tokens,
            "completion_tokens": said.completion_tokens,
            "total_tokens": said.prompt_tokens + said.completion_tokens,
        },
    }


def _prompt(given: Any) -> str:
    """Return the words in an input: a text, or a member that holds one; else the JSON."""
    if given is None:
        return ""
    if isinstance(given, dict):
        for name in ("prompt", "message", "input", "text"):
            value: Any = given.get(name)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
            if isinstance(value, str):
                return value
    return given if isinstance(given, str) else _encode(given).decode()
