"""An agent class as a fleet's work: many inputs, one process, one context's connections.

The agent has the life of `AgentRunner` without what belongs to a process: no signals, no exit
code, nothing written. What it found comes back as a value. Neighbour: `ostiary.gateway.agent`.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections import ChainMap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from ..errors import InvalidArgumentError
from ..gateway.agent import AgentResult, SageSanctumAgent
from ..gateway.context import AgentContext
from ..gateway.io.inputs import AgentInput
from ..gateway.settings import Environment
from .errors import AgentFailedError, WorkEndedError
from .item import Item

if TYPE_CHECKING:
    from ..gateway.io.findings import TokenUsage

__all__ = ["Agents"]


class Agents:
    """Runs an agent class; the environment is the context's, as for `ostiary agent run`."""

    def __init__(self, kind: type[SageSanctumAgent[Any]], run_id: str) -> None:
        self._kind = kind
        self._run_id = run_id
        self._context: AgentContext | None = None
        self._making = asyncio.Lock()
        self._scratch: tempfile.TemporaryDirectory[str] | None = None

    async def run(self, item: Item) -> tuple[AgentResult, Exception | None, Sequence[TokenUsage]]:
        """Run one agent; return its result, what it says went wrong, and what it used."""
        given = self._input(item.input)
        given.validate()
        context = (await self._shared()).part(str(item.index))
        context.work_dir.mkdir(parents=True, exist_ok=True)
        try:
            result: object = await self._kind(context).run(given)
        finally:
            await context.aclose()
            if self._scratch is not None:
                shutil.rmtree(context.work_dir, ignore_errors=True)
        if not isinstance(result, AgentResult):
            raise WorkEndedError(
                f"run() of {self._kind.__name__} returned {type(result).__name__}; it has to "
                "return an AgentResult"
            )
        if result.output is not None and getattr(result.output, "repository", given) is None:
            result.output.repository = given  # type: ignore[attr-defined]
        problem = None
        if result.error:
            problem = AgentFailedError(result.error, exit_code=result.exit_code or 1)
        return result, problem, context.usage()

    def _input(self, given: object) -> AgentInput:
        if isinstance(given, AgentInput):
            return given
        make = cast("type[Any]", self._kind.input_type)
        if isinstance(given, (str, os.PathLike)):
            return make(given)  # type: ignore[no-any-return]
        if isinstance(given, Mapping):
            named = cast("Mapping[str, Any]", given)
            try:
                # An id tells inputs apart, and may be no part of what the agent is given.
                return make(**{n: v for n, v in named.items() if n != "id"})  # type: ignore[no-any-return]
            except TypeError as error:
                problem = str(error)
        else:
            problem = f"it is of the type {type(given).__name__}"
        raise InvalidArgumentError(
            f"this input is not what {self._kind.__name__} works on: {problem}; give a "
            f"{make.__name__}, its arguments by name, or its first one"
        )

    async def _shared(self) -> AgentContext:
        async with self._making:
            if self._context is None:
                self._context = await self._made()
            return self._context

    async def _made(self) -> AgentContext:
        given = {
            "RUN_ID": self._run_id,
            "ORG_ID": "local",
            "OUTPUT_PATH": os.path.abspath("output"),
        }
        if not os.environ.get("WORK_DIR"):
            self._scratch = tempfile.TemporaryDirectory(prefix="ostiary-work-")
            given["WORK_DIR"] = self._scratch.name
        environ = Environment(ChainMap(cast("dict[str, str]", os.environ), given))
        if self._kind.requires_gateway:
            return await AgentContext.from_environment_async(environ)
        return AgentContext.for_external_llm(environ)

    async def aclose(self) -> None:
        """Close the context."""
        context, self._context = self._context, None
        if context is not None:
            await context.aclose()
        if self._scratch is not None:
            self._scratch.cleanup()
            self._scratch = None
