"""Workflows: named handlers that run with a time limit and leave a record.

A handler is a function, which runs on a thread, or a coroutine function. Beside a workflow
server each run is a workflow of its own, and goes on after a restart. Neighbours: `samples` is
the one that is always there; the options bring others.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, Final, final

import msgspec
from starlette.requests import Request
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from ..documents import Documents
from ..http.front import Json
from ..http.reading import Body, Page, invalid
from ..http.refusals import HttpRefusal
from ..http.routing import route
from . import samples
from .context import Context
from .executions import Executions

if TYPE_CHECKING:
    from ..workflow.handlers import Handlers, Outcome

__all__ = ["WorkflowRun", "Workflows"]

_KEPT: Final = 10_000
_RESULT_BYTES: Final = 4 * 1024 * 1024

_encode = msgspec.json.Encoder().encode


class WorkflowRun(msgspec.Struct, kw_only=True):
    """One execution; `status` is running, completed, failed, timed_out or cancelled."""

    execution_id: str
    workflow_id: str
    agent_id: str | None
    status: str
    started_at: str
    completed_at: str | None = None
    result: Any = None
    error: str | None = None


class _Execute(msgspec.Struct):
    workflow_id: str
    parameters: dict[str, Any]
    agent_id: str | None = None


_EXECUTE: Final = Body(_Execute)


@final
class Workflows:
    """The handlers by name, and what became of each run."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._runs = Documents(context.store, "workflow", WorkflowRun)
        self._handlers: dict[str, Callable[..., Any]] = {
            samples.DATA_ANALYSIS: partial(samples.analyse, context.directory / "files"),
            **context.runtime.workflows,
        }
        self._in_hand = 0
        self._engine: Handlers | None = None
        self._waiting: set[asyncio.Task[None]] = set()
        self._interrupted: list[WorkflowRun] = []
        for run in self._runs.all():
            if run.status == "running":
                self._interrupted.append(run)
                run.status = "failed"
                run.error = "the runtime stopped before this workflow ended"
                self._runs.put(run.execution_id, run)

    def add(self, name: str, handler: Callable[..., Any]) -> None:
        """Make a handler known, in place of one of that name."""
        self._handlers[name] = handler
        if self._engine is not None:
            self._engine.add(name, partial(self._call, handler))

    def share(self, engine: Handlers) -> None:
        """Have a workflow server run the handlers from now on; before it resumes what it has."""
        self._engine = engine
        for name, handler in self._handlers.items():
            engine.add(name, partial(self._call, handler))

    def resume(self) -> None:
        """Wait for the runs that the workflow server goes on with after a restart."""
        if self._engine is None:
            return
        interrupted, self._interrupted = self._interrupted, []
        for run in interrupted:
            task = asyncio.ensure_future(self._resumed(self._engine, run))
            self._waiting.add(task)
            task.add_done_callback(self._waiting.discard)

    async def _resumed(self, engine: Handlers, run: WorkflowRun) -> None:
        if not engine.knows(run.workflow_id, run.execution_id):
            return  # it was cut off before it had begun
        run.status, run.error = "running", None
        self._runs.put(run.execution_id, run)
        try:
            outcome = await engine.outcome(run.workflow_id, run.execution_id)
        except HttpRefusal:
            return  # it stops again; the next start sees to it
        self._settle(run, outcome)
        run.completed_at = self._context.now()
        self._runs.put(run.execution_id, run)

    async def run(
        self, workflow_id: str, parameters: Mapping[str, Any], agent_id: str | None = None
    ) -> WorkflowRun:
        """Run a workflow to its end; what goes wrong in it is the run's `error`.

        404 for a workflow, or an agent, that is not there.
        """
        handler = self._handlers.get(workflow_id)
        if handler is None:
            raise HttpRefusal(
                404,
                "WORKFLOW_NOT_FOUND",
                "there is no workflow of this name; the details have the names",
                details={"workflows": sorted(self._handlers)},
            )
        if agent_id is not None:
            self._context.agents.require(agent_id)
        return await self._record(handler, workflow_id, parameters, agent_id)

    async def _record(
        self,
        handler: Callable[..., Any],
        workflow_id: str,
        parameters: Mapping[str, Any],
        agent_id: str | None,
    ) -> WorkflowRun:
        run = WorkflowRun(
            execution_id=self._context.new_id(),
            workflow_id=workflow_id,
            agent_id=agent_id,
            status="running",
            started_at=self._context.now(),
        )
        self._runs.put(run.execution_id, run)
        self._context.events.publish(
            "workflow.started", agent_id, execution_id=run.execution_id, workflow_id=workflow_id
        )
        self._in_hand += 1
        try:
            await self._act(handler, run, dict(parameters))
        finally:
            self._in_hand -= 1
            if run.status != "running":
                run.completed_at = self._context.now()
            self._runs.put(run.execution_id, run)
            self._runs.keep(_KEPT)
            self._context.events.publish(
                f"workflow.{run.status}",
                agent_id,
                execution_id=run.execution_id,
                workflow_id=workflow_id,
            )
        return run

    async def _act(
        self, handler: Callable[..., Any], run: WorkflowRun, parameters: dict[str, Any]
    ) -> None:
        try:
            async with AsyncExitStack() as stack:
                if run.agent_id is not None:
                    record = self._context.agents.require(run.agent_id)
                    approvals = self._context.group(Executions)
                    await approvals.approve(record, "workflow", run.execution_id)
                    await stack.enter_async_context(
                        self._context.agents.task(
                            run.agent_id, "workflow", execution_id=run.execution_id
                        )
                    )
                if self._engine is not None and handler is self._handlers.get(run.workflow_id):
                    outcome = await self._engine.run(
                        run.workflow_id,
                        run.execution_id,
                        parameters,
                        run.agent_id,
                        timeout=self._context.runtime.workflow_timeout,
                    )
                    self._settle(run, outcome)
                    return
                async with asyncio.timeout(self._context.runtime.workflow_timeout):
                    run.result = await self._call(handler, parameters, run.agent_id)
        except TimeoutError:
            run.status, run.error = "timed_out", self._late()
        except asyncio.CancelledError:
            run.status, run.error = "cancelled", "its caller went away"
            raise
        except HttpRefusal as refusal:
            if refusal.code == "STOPPING":
                return  # still running, for the next start to go on with
            run.status, run.error = "failed", refusal.message
        except Exception as error:  # noqa: BLE001 - a handler may raise what it likes
            # The kind and not the words: they may quote what the handler was given.
            run.status, run.error = "failed", f"the handler raised {type(error).__name__}"
        else:
            run.status = "completed"

    def _late(self) -> str:
        return (
            f"it took longer than {self._context.runtime.workflow_timeout:g} seconds; give "
            "RuntimeOptions a longer workflow_timeout"
        )

    def _settle(self, run: WorkflowRun, outcome: Outcome) -> None:
        """Write into a run what the workflow server says of it."""
        if outcome.state == "completed":
            run.status, run.result, run.error = "completed", outcome.result, None
        elif outcome.state == "timeout":
            run.status, run.error = "timed_out", self._late()
        else:
            cancelled = outcome.state in {"cancelled", "skipped"}
            run.status = "cancelled" if cancelled else "failed"
            run.error = outcome.error

    async def _call(
        self, handler: Callable[..., Any], parameters: dict[str, Any], agent_id: str | None
    ) -> Any:
        call = partial(handler, parameters)
        if _takes_agent(handler):
            call = partial(call, agent_id=agent_id)
        if inspect.iscoroutinefunction(inspect.unwrap(_innermost(handler))):
            result = await call()
        else:
            loop = asyncio.get_running_loop()
            result = await loop.run_in_executor(self._context.workers, call)
            if inspect.isawaitable(result):
                result = await result
        try:
            body = _encode(result)
        except (TypeError, ValueError, msgspec.MsgspecError):
            body = None
        if body is None:
            raise HttpRefusal(500, "WORKFLOW_FAILED", "the handler returned what is no JSON")
        if len(body) > _RESULT_BYTES:
            raise HttpRefusal(500, "WORKFLOW_FAILED", "the handler returned more than 4 MiB")
        # As it is shown from now on, whatever the handler goes on to do with its object.
        return msgspec.json.decode(body)

    # -- the paths ----------------------------------------------------------

    def routes(self) -> list[BaseRoute]:
        return [
            route("GET", "/workflows", self._names),
            route("POST", "/workflows", self._execute),
            route("POST", "/workflows/execute", self._execute),
            route("GET", "/workflows/executions", self._list),
            route("GET", "/workflows/executions/{id}", self._one),
        ]

    def gauges(self) -> dict[str, int | float]:
        return {"workflows_in_hand": self._in_hand, "workflows_total": self._runs.count()}

    async def start(self) -> None:
        pass

    async def stop(self, grace: float) -> None:
        for task in self._waiting:
            task.cancel()

    def load_demo(self) -> None:
        samples.write(self._context.directory / "files")

    async def _names(self, request: Request) -> ASGIApp:
        return Json({"workflows": sorted(self._handlers)})

    async def _execute(self, request: Request) -> ASGIApp:
        body = await _EXECUTE.read(request)
        if not body.workflow_id:
            raise invalid("workflow_id", "workflow_id is empty; name a workflow")
        if is_source(body.workflow_id) and body.workflow_id not in self._handlers:
            return Json(await self._compiled(body))
        return Json(_shown(await self.run(body.workflow_id, body.parameters, body.agent_id)))

    async def _compiled(self, body: _Execute) -> dict[str, Any]:
        """Run a source in the agent language, which newer servers take in place of a name."""
        from .deployments import Deployments  # it comes later, and asks for this group

        agent_id = await self._context.group(Deployments).compile_workflow(body.workflow_id)
        programs = self._context.group(Executions)
        handler = partial(programs.output, self._context.agents.require(agent_id))
        run = await self._record(handler, "workflow", body.parameters, agent_id)
        return {**_shown(run), "workflow_id": body.workflow_id, "parameters": body.parameters}

    async def _list(self, request: Request) -> ASGIApp:
        page = Page(request)
        wanted = request.query_params
        found = [
            run
            for run in reversed(self._runs.all())
            if wanted.get("workflow_id") in {None, "", run.workflow_id}
            and wanted.get("status") in {None, "", run.status}
            and wanted.get("agent_id") in {None, "", run.agent_id}
        ]
        return Json(
            {
                "executions": [_shown(run) for run in page.cut(found)],
                "pagination": page.pagination(len(found)),
            }
        )

    async def _one(self, request: Request) -> ASGIApp:
        run = self._runs.get(request.path_params["id"])
        if run is None:
            raise HttpRefusal(
                404, "EXECUTION_NOT_FOUND", "there is no execution of this id; list them"
            )
        return Json(_shown(run))


def _shown(run: WorkflowRun) -> dict[str, Any]:
    shown = {
        name: value for name, value in msgspec.structs.asdict(run).items() if value is not None
    }
    # Results are objects in the guide's model; what is none stands in one.
    if run.result is not None and not isinstance(run.result, dict):
        shown["result"] = {"value": run.result}
    shown["execution_started"] = True
    return shown


def is_source(text: str) -> bool:
    """Return whether a workflow's id is a source in the agent language."""
    return "{" in text or "\n" in text


def _innermost(handler: Callable[..., Any]) -> Callable[..., Any]:
    while isinstance(handler, partial):
        handler = handler.func
    return handler


def _takes_agent(handler: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(handler).parameters.values()
    except (TypeError, ValueError):
        return False
    return any(
        one.kind is one.VAR_KEYWORD
        or (one.name == "agent_id" and one.kind in {one.KEYWORD_ONLY, one.POSITIONAL_OR_KEYWORD})
        for one in parameters
    )
