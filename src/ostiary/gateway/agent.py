"""What an agent is: `SageSanctumAgent` to subclass, `AgentResult` to return.

Neighbours: `context`, which gives it models and places; `runner`, which runs it.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, get_args, get_origin

from .context import AgentContext
from .io.inputs import AgentInput, RepositoryInput
from .io.outputs import AgentOutput

if TYPE_CHECKING:
    from .runner import AgentRunner

__all__ = ["AgentResult", "AgentRunner", "SageSanctumAgent"]

InputT = TypeVar("InputT", bound=AgentInput)


@dataclass
class AgentResult:
    """What came of a run (docs/agents.md).

    `exit_code` is what the process ends with, 0 to 255. `error` and `metadata` are written to
    `run.json` beside the output. The runner sets `duration_seconds`.
    """

    output: AgentOutput | None = None
    exit_code: int = 0
    error: str = ""
    duration_seconds: float = 0.0
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])


class SageSanctumAgent(ABC, Generic[InputT]):
    """An agent: give it a name, a version and `run`.

    What `run` is given is the input the class is parametrised with, a repository when it is
    not. An agent that talks to models by other means than the gateway, or to none, sets
    `requires_gateway = False`.
    """

    requires_gateway: ClassVar[bool] = True
    input_type: ClassVar[type[AgentInput]] = RepositoryInput

    # Not made in __init__: a subclass may have one of its own that does not call this one's.
    _shutdown: asyncio.Event | None = None
    _checkpoint: AgentResult | None = None

    def __init_subclass__(cls, **given: Any) -> None:
        super().__init_subclass__(**given)
        if "input_type" in cls.__dict__:
            return
        for base in getattr(cls, "__orig_bases__", ()):
            if isinstance(get_origin(base), type) and issubclass(
                get_origin(base), SageSanctumAgent
            ):
                (argument,) = get_args(base)[:1] or (None,)
                if isinstance(argument, type) and issubclass(argument, AgentInput):
                    cls.input_type = argument

    def __init__(self, context: AgentContext) -> None:
        self.context = context

    @property
    @abstractmethod
    def name(self) -> str:
        """What the agent is called; also the SARIF tool's name."""

    @property
    @abstractmethod
    def version(self) -> str:
        """The agent's version."""

    @abstractmethod
    async def run(self, input: InputT) -> AgentResult:
        """Do the work.

        An error that is a `SageSanctumError` ends the process with its exit code, any other
        with 1. When a shutdown is requested the agent has the grace period to return; then it
        is cancelled.
        """

    @property
    def shutdown_requested(self) -> bool:
        """Whether the process was told to stop; a loop over files looks here."""
        return self._shutdown is not None and self._shutdown.is_set()

    async def wait_for_shutdown(self) -> None:
        """Return when a shutdown is requested; outside a runner that is never."""
        if self._shutdown is None:
            self._shutdown = asyncio.Event()
        await self._shutdown.wait()

    def checkpoint(self, result: AgentResult) -> None:
        """Remember what is to be written if the run ends before `run` returns.

        Each call replaces the last. The result may go on growing: what it holds when the run
        is cancelled, fails or is forced to end is written.
        """
        self._checkpoint = result


def __getattr__(name: str) -> Any:
    # The guide has the runner here; it stands on what stands on this module.
    if name == "AgentRunner":
        from .runner import AgentRunner

        return AgentRunner
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
