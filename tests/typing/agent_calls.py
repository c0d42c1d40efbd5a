"""What a checker infers for agents. Checked, never run: see test_inference.py."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, assert_type

from ostiary.gateway import (
    AgentContext,
    AgentInput,
    AgentOutput,
    AgentResult,
    AgentRunner,
    AsyncGatewayClient,
    Finding,
    Location,
    RepositoryInput,
    SageSanctumAgent,
    SarifOutput,
    TokenUsage,
)


class Words(AgentInput):
    """An input of somebody's own."""

    @property
    def io_type(self) -> str:
        return "words"

    def validate(self) -> None: ...

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Words:
        return cls()


class Reader(SageSanctumAgent[Words]):
    """An agent that takes it."""

    @property
    def name(self) -> str:
        return "reader"

    @property
    def version(self) -> str:
        return "1"

    async def run(self, input: Words) -> AgentResult:
        assert_type(self.context, AgentContext)
        assert_type(self.shutdown_requested, bool)
        self.checkpoint(AgentResult())
        await self.wait_for_shutdown()
        return AgentResult(exit_code=1)


def contexts() -> None:
    context = assert_type(AgentContext.from_environment(), AgentContext)
    assert_type(AgentContext.for_local_development(Path(), "out", "gpt-4o"), AgentContext)
    assert_type(AgentContext.for_external_llm({}), AgentContext)
    assert_type(context.load_input(), RepositoryInput)
    assert_type(context.load_input(Words), Words)
    assert_type(context.create_client(), AsyncGatewayClient)
    assert_type(context.check_gateway_health(), bool)
    assert_type(context.usage(), list[TokenUsage])
    assert_type(context.write_output(SarifOutput("t", "1")), list[str])


async def waiting() -> None:
    assert_type(await AgentContext.from_environment_async(), AgentContext)


def running(context: AgentContext) -> None:
    assert_type(AgentRunner(Reader).run(), int)
    runner = AgentRunner(Reader, context=context, input=Words(), grace_period=1.5)
    runner.shutdown("asked")
    AgentRunner(Words)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def reports(repository: RepositoryInput) -> None:
    place = Location("a.py", 1)
    output = SarifOutput("t", "1", [Finding("a", "b", "c", "high", place)], repository=repository)
    assert_type(output.to_dict(), dict[str, Any])
    assert_type(output.findings, list[Finding])
    held: AgentOutput = output
    assert_type(held.write("out"), list[str])
    assert_type(repository.list_files({".py"}), list[Path])
    assert_type(repository.read_text("a.py"), str)
    assert_type(repository.read_bytes(Path("a.py")), bytes)
    place.file = "b.py"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
