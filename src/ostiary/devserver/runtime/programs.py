"""The programs of agents: compiled from their sources when needed, run with what is here.

Neighbours: `dsl` is the language, `deployments` the paths.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final, final

from ...secret import Secret
from ..http.refusals import HttpRefusal
from .context import Context
from .dsl import ActionResult, Compiled, Host, Program, compile_source, run_trigger
from .records import AgentRecord
from .secrets.endpoints import Secrets
from .workflows import Workflows

__all__ = ["Programs"]

_KEPT: Final = 256  # compiled programs


@final
class Programs:
    """Compiles, keeps what is compiled, and runs it."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._compiled: OrderedDict[bytes, Compiled] = OrderedDict()

    @property
    def keyless(self) -> bool:
        """Whether this server asks nobody for a key."""
        return self._context.options.demo and self._context.runtime.token is None

    async def compile(self, source: str, agent_name: str | None) -> Compiled:
        """Compile a source, on a thread: a long one takes a while."""
        key = hashlib.blake2b(f"{agent_name}\0{source}".encode(errors="replace")).digest()
        found = self._compiled.get(key)
        if found is not None:
            self._compiled.move_to_end(key)
            return found
        loop = asyncio.get_running_loop()
        tools = frozenset(self._context.runtime.tools)
        found = await loop.run_in_executor(
            self._context.workers, lambda: compile_source(source, agent_name, actions=tools)
        )
        self._compiled[key] = found
        if len(self._compiled) > _KEPT:
            self._compiled.popitem(last=False)
        return found

    async def of(self, record: AgentRecord) -> Program | None:
        """Return an agent's program; None where there is none, or none that has what to run."""
        if record.dsl is None:
            return None
        program = (await self.compile(record.dsl, record.id)).program
        return program if program is not None and program.runnable else None

    async def run(
        self,
        program: Program,
        payload: Any,
        headers: Mapping[str, str],
        *,
        body: bytes | None = None,
        authenticated: bool,
        timeout: float | None = None,
        workflow: str | None = None,
    ) -> ActionResult:
        """Run what a request sets off; `workflow` is the one meant where none is named."""
        return await run_trigger(
            program,
            None,
            payload,
            headers,
            host=_Host(self._context, workflow),
            body=body,
            authenticated=authenticated,
            timeout=self._context.runtime.workflow_timeout if timeout is None else timeout,
        )


@final
class _Host(Host):
    """The runtime, as a program sees it."""

    def __init__(self, context: Context, workflow: str | None) -> None:
        self._context = context
        self._workflow = workflow

    @property
    def actions(self) -> Mapping[str, Callable[..., Any]]:
        return self._context.runtime.tools

    @property
    def keyless(self) -> bool:
        return self._context.options.demo and self._context.runtime.token is None

    def now(self) -> str:
        return self._context.now()

    def new_id(self) -> str:
        return self._context.new_id()

    def publish(self, agent_id: str, topic: str) -> None:
        self._context.events.publish("agent.published", agent_id, topic=topic[:200])

    async def secret(self, agent_id: str, name: str) -> Secret | None:
        return await self._context.group(Secrets).reveal(agent_id, name)

    async def workflow(
        self, name: str | None, parameters: dict[str, Any], agent_id: str
    ) -> dict[str, Any]:
        wanted = name or self._workflow
        workflows = self._context.group(Workflows)
        try:
            run = await workflows.run(wanted or agent_id, parameters, agent_id)
        except HttpRefusal as refusal:
            if wanted is not None or refusal.code != "WORKFLOW_NOT_FOUND":
                raise
            # Nobody said which: whoever listens to events may act on it.
            self._context.events.publish("workflow.requested", agent_id)
            return {"status": "requested", "workflow_id": None}
        if run.status != "completed":
            raise HttpRefusal(
                502, "WORKFLOW_FAILED", f"the workflow {run.workflow_id} {run.status}: {run.error}"
            )
        return {
            "status": run.status,
            "workflow_id": run.workflow_id,
            "execution_id": run.execution_id,
            "result": run.result,
        }

    async def in_thread(self, call: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._context.workers, call)
