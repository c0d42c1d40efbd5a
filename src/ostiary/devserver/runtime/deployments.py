"""Compiling agents, deploying them, and the endpoints where deployed agents answer.

One deployment of an agent runs in each environment; it keeps the source it was made from, so
that compiling an agent anew changes nothing until it is deployed. Neighbour: `programs` runs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from time import perf_counter
from typing import Any, Final, final
from urllib.parse import quote

import msgspec
from starlette.requests import Request
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from ..documents import Documents
from ..http.front import Json, read_body
from ..http.reading import Body, invalid
from ..http.refusals import HttpRefusal
from ..http.routing import API, route
from .agents import is_external
from .context import Context
from .dsl import ActionResult, Compiled, Diagnostic, Program
from .dsl.values import is_list
from .executions import Executions
from .programs import Programs
from .records import AgentRecord

__all__ = ["Deployment", "Deployments"]

_ENVIRONMENT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_TASKS: Final = 10
_MOST_TASKS: Final = 1000
_LONGEST: Final = 3600.0
_KEPT: Final = 100  # deployments of one agent that run no more
_ENDED: Final[Mapping[str, tuple[int, str]]] = {
    "denied": (403, "AGENT_DENIED"),
    "failed": (500, "AGENT_FAILED"),
}


class _Compile(msgspec.Struct):
    dsl_content: str
    agent_name: str
    validate_only: bool = False


class _Deploy(msgspec.Struct):
    agent_id: str
    environment: str = "development"
    config_overrides: dict[str, Any] = {}


class Deployment(msgspec.Struct, kw_only=True):
    """One deployment; `status` is deploying, running, stopped or failed.

    `replaces` is the one that ran before it in its environment, for a rollback.
    """

    deployment_id: str
    agent_id: str
    environment: str
    status: str
    deployed_at: str
    source: str | None = None
    config: dict[str, Any] = {}
    replaces: str | None = None
    stopped_at: str | None = None
    error: str | None = None
    requests: int = 0


class _Settings(msgspec.Struct):
    """What of `config_overrides` this server acts on."""

    max_concurrent_tasks: int = _TASKS
    timeout_seconds: float | None = None
    workflow: str | None = None


_COMPILE: Final = Body(_Compile)
_DEPLOY: Final = Body(_Deploy)


@final
class Deployments:
    """Programs and where they run."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._agents = context.agents
        self._programs = Programs(context)
        self._kept = Documents(context.store, "deployment", Deployment)
        self._running: dict[tuple[str, str], Deployment] = {}
        self._in_hand: dict[str, int] = {}
        for deployment in self._kept.all():
            if deployment.status == "running":
                self._running[(deployment.environment, deployment.agent_id)] = deployment
            elif deployment.status == "deploying":
                self._end(deployment, "failed", "the runtime stopped before it ran")

    def routes(self) -> list[BaseRoute]:
        return [
            route("POST", "/dsl/compile", self._compile),
            route("POST", "/agents/deploy", self._deploy),
            route("GET", "/agents/deployments", self._list),
            route("GET", "/agents/deployments/{deployment_id}", self._one),
            route("POST", "/agents/deployments/{deployment_id}/stop", self._stop),
            route("POST", "/agents/deployments/{deployment_id}/rollback", self._rollback),
            route("POST", "/webhook/{environment}/{agent_id}", self._answer, prefix=""),
        ]

    def gauges(self) -> dict[str, int | float]:
        return {"deployments_running": len(self._running)}

    async def start(self) -> None:
        self._context.group(Executions).use(self._program)

    async def stop(self, grace: float) -> None:
        for deployment in self._running.values():
            self._kept.put(deployment.deployment_id, deployment)

    def load_demo(self) -> None:
        """Nothing: the guide compiles and deploys its own agent."""

    # -- for the other groups -----------------------------------------------

    async def run(
        self,
        agent_id: str,
        kind: str,
        payload: Any,
        headers: Mapping[str, str],
        *,
        body: bytes | None = None,
        authenticated: bool = False,
    ) -> ActionResult:
        """Have an agent answer a request, as a task of its own; 404 if there is no such agent.

        `payload` is the request's content, or None for what `body` says. An agent without a
        program is answered for by the built-in model. `authenticated` says that the sender has
        shown a credential.
        """
        record = self._agents.require(agent_id)
        program = await self._programs.of(record)
        if program is None:
            return await self._plainly(record, kind, payload, body, headers)
        _, result = await self._task(
            record, program, kind, payload, headers, _Settings(), body, authenticated
        )
        return result

    async def compile_workflow(self, source: str) -> str:
        """Create the one agent that a source declares, and return its id; 422 if it is bad."""
        compiled = await self._programs.compile(source, None)
        if compiled.program is None:
            problems = compiled.errors or ["the source declares no agent"]
            raise HttpRefusal(
                422,
                "DSL_INVALID",
                f"the source does not compile: {problems[0]}",
                details={"errors": problems},
            )
        self._keep(compiled.program, source)
        return compiled.program.agent_id

    async def _program(
        self, record: AgentRecord, given: Any, headers: Mapping[str, str]
    ) -> dict[str, Any] | None:
        """Run an agent's program inside a task that is counted already."""
        program = await self._programs.of(record)
        if program is None:
            return None
        result = await self._programs.run(
            program, given, headers, authenticated=not self._programs.keyless
        )
        if result.status in _ENDED:
            raise _refusal(result, None)
        return _output(result)

    # -- compiling ----------------------------------------------------------

    async def _compile(self, request: Request) -> ASGIApp:
        body = await _COMPILE.read(request)
        compiled = await self._programs.compile(body.dsl_content, body.agent_name)
        agent_id = None
        if compiled.success and not body.validate_only:
            if compiled.program is None:
                compiled = Compiled(
                    None,
                    (
                        *compiled.diagnostics,
                        Diagnostic(
                            line=1,
                            column=1,
                            message="the source declares no agent",
                            hint=f"write 'agent {body.agent_name} {{ ... }}'",
                        ),
                    ),
                )
            else:
                agent_id = self._keep(compiled.program, body.dsl_content).id
        return Json(
            {
                "success": compiled.success,
                "agent_id": agent_id,
                "errors": compiled.errors,
                "warnings": compiled.warnings,
                "compiled_at": self._context.now(),
                "diagnostics": compiled.diagnostics,
            }
        )

    def _keep(self, program: Program, source: str) -> AgentRecord:
        """Create the agent of a program, or give an agent that is there the program."""
        agent_id = program.agent_id
        definition: dict[str, Any] = {"dsl": source}
        for name in ("description", "system_prompt", "model"):
            text = program.text(name)
            if text is not None:
                definition[name] = text
        for name in ("temperature", "top_p"):
            number = program.properties.get(name)
            if isinstance(number, int | float) and not isinstance(number, bool):
                definition[name] = float(number)
        tokens = program.properties.get("max_tokens")
        if isinstance(tokens, int) and not isinstance(tokens, bool):
            definition["max_tokens"] = tokens
        tools = program.properties.get("tools")
        if is_list(tools):
            definition["tools"] = [str(each) for each in tools]
        definition["capabilities"] = list(program.capabilities)
        said = program.properties.get("name")
        called = said if isinstance(said, str) and said else agent_id
        known = self._agents.get(agent_id)
        if known is None:
            return self._agents.create(agent_id, called, metadata=program.metadata, **definition)
        metadata = {**known.metadata, **program.metadata}
        return self._agents.update(agent_id, name=called, metadata=metadata, **definition)

    # -- deploying ----------------------------------------------------------

    async def _deploy(self, request: Request) -> ASGIApp:
        body = await _DEPLOY.read(request)
        record = self._agents.require(body.agent_id)
        if is_external(record):
            raise HttpRefusal(
                409, "AGENT_EXTERNAL", "the agent runs elsewhere, and cannot be deployed here"
            )
        if not _ENVIRONMENT.fullmatch(body.environment):
            raise invalid(
                "environment", "environment is letters, digits and '.', '_', '-', at most 64"
            )
        _settings(body.config_overrides)
        deployment = Deployment(
            deployment_id=self._context.new_id("deployment"),
            agent_id=record.id,
            environment=body.environment,
            status="deploying",
            deployed_at=self._context.now(),
            source=record.dsl,
            config=body.config_overrides,
        )
        self._kept.put(deployment.deployment_id, deployment, owner=record.id)
        await self._launch(deployment)
        self._prune(record.id)
        return Json(self._view(deployment), status=201)

    async def _launch(self, deployment: Deployment) -> None:
        """Bring a deployment to running, in place of the one that runs; or to failed."""
        if deployment.source is not None:
            compiled = await self._programs.compile(deployment.source, deployment.agent_id)
            if compiled.errors:
                self._end(deployment, "failed", compiled.errors[0])
                return
        place = (deployment.environment, deployment.agent_id)
        before = self._running.get(place)
        with self._context.store.transaction():
            if before is not None and before is not deployment:
                if deployment.replaces is None:
                    deployment.replaces = before.deployment_id
                self._end(before, "stopped", None)
            deployment.status = "running"
            deployment.stopped_at = deployment.error = None
            self._running[place] = deployment
            self._kept.put(deployment.deployment_id, deployment)
        self._tell(deployment)

    def _end(self, deployment: Deployment, status: str, error: str | None) -> None:
        deployment.status, deployment.error = status, error
        deployment.stopped_at = self._context.now()
        place = (deployment.environment, deployment.agent_id)
        if self._running.get(place) is deployment:
            del self._running[place]
        self._kept.put(deployment.deployment_id, deployment)
        self._tell(deployment)

    def _tell(self, deployment: Deployment) -> None:
        self._context.events.publish(
            f"deployment.{deployment.status}",
            deployment.agent_id,
            deployment_id=deployment.deployment_id,
            environment=deployment.environment,
        )

    def _prune(self, agent_id: str) -> None:
        over = [each for each in self._kept.owned(agent_id) if each.status != "running"][_KEPT:]
        for each in over:
            self._kept.delete(each.deployment_id)

    async def _list(self, request: Request) -> ASGIApp:
        agent_id = request.query_params.get("agent_id")
        if agent_id:
            found = self._kept.owned(agent_id)
        else:
            found = self._kept.all()[::-1]
        return Json([self._view(each) for each in found])

    async def _one(self, request: Request) -> ASGIApp:
        return Json(self._view(self._found(request)))

    async def _stop(self, request: Request) -> ASGIApp:
        """Stop a deployment; tasks in hand end as they would, and stopping twice is stopping."""
        deployment = self._found(request)
        if deployment.status in {"running", "deploying"}:
            self._end(deployment, "stopped", None)
        return Json({"deployment_id": deployment.deployment_id, "status": deployment.status})

    async def _rollback(self, request: Request) -> ASGIApp:
        deployment = self._found(request)
        before = None if deployment.replaces is None else self._kept.get(deployment.replaces)
        if before is None:
            raise HttpRefusal(
                409, "NOTHING_TO_ROLL_BACK", "no deployment ran before this one; deploy another"
            )
        self._agents.require(before.agent_id)
        runs = self._running.get((before.environment, before.agent_id))
        if runs is not None and runs.deployment_id != deployment.deployment_id:
            raise HttpRefusal(
                409,
                "DEPLOYMENT_NOT_RUNNING",
                "another deployment runs in its place; roll that one back",
            )
        before.deployed_at = self._context.now()
        # Going back is no step forward: what ran before `before` stays what it replaced.
        kept, before.replaces = before.replaces, before.replaces or deployment.deployment_id
        await self._launch(before)
        before.replaces = kept
        self._kept.put(before.deployment_id, before)
        return Json(self._view(before))

    def _found(self, request: Request) -> Deployment:
        wanted = request.path_params["deployment_id"]
        for each in self._running.values():
            if each.deployment_id == wanted:
                return each
        found = self._kept.get(wanted)
        if found is None:
            raise HttpRefusal(404, "DEPLOYMENT_NOT_FOUND", "there is no deployment of this id")
        return found

    def _view(self, deployment: Deployment) -> dict[str, Any]:
        shown: dict[str, Any] = {
            "deployment_id": deployment.deployment_id,
            "agent_id": deployment.agent_id,
            "status": deployment.status,
            "deployed_at": deployment.deployed_at,
            "endpoint_url": None,
            "environment": deployment.environment,
            "requests": deployment.requests,
        }
        if deployment.status == "running":
            shown["endpoint_url"] = (
                self._context.base_url.removesuffix(API)
                + f"/webhook/{deployment.environment}/{quote(deployment.agent_id, safe='')}"
            )
        for name in ("replaces", "stopped_at", "error"):
            value = getattr(deployment, name)
            if value is not None:
                shown[name] = value
        return shown

    # -- answering ----------------------------------------------------------

    async def _answer(self, request: Request) -> ASGIApp:
        """Let a request in to the deployment that runs at a path."""
        environment, agent_id = request.path_params["environment"], request.path_params["agent_id"]
        deployment = self._running.get((environment, agent_id))
        record = self._agents.get(agent_id)
        if deployment is not None and record is None:
            self._end(deployment, "stopped", "the agent was deleted")
        if deployment is None or record is None:
            raise HttpRefusal(
                404, "DEPLOYMENT_NOT_RUNNING", "nothing is deployed here; deploy the agent first"
            )
        body = bytes(await read_body(request))
        settings = _settings(deployment.config)
        in_hand = self._in_hand.get(deployment.deployment_id, 0)
        if in_hand >= settings.max_concurrent_tasks:
            raise HttpRefusal(
                429,
                "DEPLOYMENT_BUSY",
                f"{in_hand} tasks are in hand, as many as this deployment takes; try again",
                headers=((b"retry-after", b"1"),),
            )
        self._in_hand[deployment.deployment_id] = in_hand + 1
        try:
            deployment.requests += 1
            return await self._serve(deployment, record, settings, request, body)
        finally:
            self._kept.put(deployment.deployment_id, deployment)
            self._in_hand[deployment.deployment_id] -= 1
            if not self._in_hand[deployment.deployment_id]:
                del self._in_hand[deployment.deployment_id]

    async def _serve(
        self,
        deployment: Deployment,
        record: AgentRecord,
        settings: _Settings,
        request: Request,
        body: bytes,
    ) -> ASGIApp:
        began = perf_counter()
        headers = _forwarded(request)
        program = None
        if deployment.source is not None:
            compiled = await self._programs.compile(deployment.source, deployment.agent_id)
            program = compiled.program
        shown: dict[str, Any] = {
            "agent_id": record.id,
            "deployment_id": deployment.deployment_id,
        }
        if program is None or not program.runnable:
            result = await self._plainly(record, "webhook", None, body, headers)
        else:
            # The front has asked for the key already, unless this server asks nobody.
            execution_id, result = await self._task(
                record,
                program,
                "webhook",
                None,
                headers,
                settings,
                body,
                not self._programs.keyless,
            )
            shown["execution_id"] = execution_id
            if result.status in _ENDED:
                raise _refusal(result, execution_id)
        shown |= {
            "status": result.status,
            "trigger": result.trigger,
            "action": result.action,
            "output": result.output,
            "response": result.text,
            "steps": result.steps,
            "latency_ms": round((perf_counter() - began) * 1000, 3),
            "timestamp": self._context.now(),
        }
        return Json(shown)

    async def _task(
        self,
        record: AgentRecord,
        program: Program,
        kind: str,
        payload: Any,
        headers: Mapping[str, str],
        settings: _Settings,
        body: bytes | None,
        authenticated: bool,
    ) -> tuple[str, ActionResult]:
        """Run a program as one task of its agent; the task fails when the run does."""
        if record.stopped:
            raise HttpRefusal(409, "AGENT_STOPPED", "the agent is stopped; start it first")
        execution_id = self._context.new_id()
        await self._context.group(Executions).approve(record, kind, execution_id)
        result = None
        try:
            async with self._agents.task(record.id, kind, execution_id=execution_id) as execution:
                result = await self._programs.run(
                    program,
                    payload,
                    headers,
                    body=body,
                    authenticated=authenticated,
                    timeout=settings.timeout_seconds,
                    workflow=settings.workflow,
                )
                execution.result = _output(result)
                if result.status in _ENDED:
                    raise _refusal(result, execution_id)
        except HttpRefusal:
            # The task is on record as failed; callers are told in their own way.
            if result is None:
                raise
        assert result is not None
        return execution_id, result

    async def _plainly(
        self,
        record: AgentRecord,
        kind: str,
        payload: Any,
        body: bytes | None,
        headers: Mapping[str, str],
    ) -> ActionResult:
        given = payload
        if given is None and body:
            try:
                given = msgspec.json.decode(body)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                given = body.decode(errors="replace")
        executions = self._context.group(Executions)
        execution = await executions.perform(record.id, given, kind, headers=headers)
        output: dict[str, Any] = execution.result or {}
        said = output.get("response")
        text = said if isinstance(said, str) else msgspec.json.encode(output).decode()
        return ActionResult(status="completed", output=output, text=text)


def _settings(overrides: dict[str, Any]) -> _Settings:
    """Read the settings that this server acts on; others are the agent's own affair."""
    tasks = overrides.get("max_concurrent_tasks", _TASKS)
    if not isinstance(tasks, int) or isinstance(tasks, bool) or not 1 <= tasks <= _MOST_TASKS:
        raise invalid(
            "config_overrides.max_concurrent_tasks",
            f"max_concurrent_tasks is a whole number from 1 to {_MOST_TASKS}",
        )
    timeout = overrides.get("timeout_seconds")
    if timeout is not None and (
        not isinstance(timeout, int | float)
        or isinstance(timeout, bool)
        or not 0 < timeout <= _LONGEST
    ):
        raise invalid(
            "config_overrides.timeout_seconds",
            f"timeout_seconds is more than 0 and at most {_LONGEST:g}",
        )
    workflow = overrides.get("workflow")
    if workflow is not None and not isinstance(workflow, str):
        raise invalid("config_overrides.workflow", "workflow is the name of a workflow")
    return _Settings(tasks, timeout, workflow)


def _output(result: ActionResult) -> dict[str, Any]:
    """Return what stays on record of a run."""
    return {
        "status": result.status,
        "trigger": result.trigger,
        "action": result.action,
        "output": result.output,
        "response": result.text,
        "steps": msgspec.to_builtins(result.steps),
    }


def _refusal(result: ActionResult, execution_id: str | None) -> HttpRefusal:
    status, code = _ENDED[result.status]
    details: dict[str, object] = {"trigger": result.trigger, "action": result.action}
    if execution_id is not None:
        details["execution_id"] = execution_id
    return HttpRefusal(status, code, result.error or "the agent failed", details=details)


_NOT_FORWARDED: Final = frozenset({"authorization", "cookie", "proxy-authorization", "x-api-key"})


def _forwarded(request: Request) -> dict[str, str]:
    """Return a request's headers without the caller's credentials."""
    return {name: value for name, value in request.headers.items() if name not in _NOT_FORWARDED}
