"""What an agent works with: the modes, the models it is allowed, what is missing."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ostiary.devserver import RunningVault, running
from ostiary.gateway import (
    AgentContext,
    AsyncGatewayClient,
    ConfigurationError,
    DirectProviderClient,
    Finding,
    GatewayAccess,
    GatewayUnavailableError,
    InputValidationError,
    Location,
    ModelCategory,
    ModelNotAvailableError,
    ModelSelector,
    RepositoryInput,
    SarifOutput,
    StaticModelSelector,
    TraTAcquisitionError,
)
from tests.conftest import Run

Environ = dict[str, str]


@pytest.fixture(scope="module")
def server() -> Any:
    with running(demo=True, tcp=False) as one:
        yield one


@pytest.fixture
def gateway(server: RunningVault) -> Environ:
    """The environment of an agent behind the embedded gateway, and nothing else."""
    return dict(server.gateway.environment)


# --- the factories


def test_gateway_mode(gateway: Environ) -> None:
    context = AgentContext.from_environment(gateway)
    assert context.run_id == gateway["RUN_ID"]
    assert context.org_id == gateway["ORG_ID"]
    assert context.work_dir == Path(gateway["WORK_DIR"])
    assert context.output_dir == Path(gateway["OUTPUT_PATH"])
    assert isinstance(context.gateway_client, GatewayAccess)
    assert context.gateway_client.is_gateway_mode
    assert isinstance(context.model_selector, ModelSelector)
    assert not isinstance(context.model_selector, StaticModelSelector)
    assert context.check_gateway_health() is True


def test_the_async_factory_gives_the_same(gateway: Environ, run: Run) -> None:
    async def main() -> None:
        context = await AgentContext.from_environment_async(gateway)
        assert context.model_selector is not None
        assert str(context.model_selector.select(ModelCategory.TRIAGE)) == "ostiary:echo"
        await context.aclose()

    run(main())


@pytest.mark.parametrize(
    ("without", "named"),
    [
        ("RUN_ID", "RUN_ID"),
        ("ORG_ID", "ORG_ID"),
        ("SPIFFE_JWT_PATH", "SPIFFE_JWT_PATH"),
        ("LLM_GATEWAY_SOCKET", "LLM_GATEWAY_SOCKET"),
    ],
)
def test_what_is_missing_is_named(gateway: Environ, without: str, named: str) -> None:
    del gateway[without]
    with pytest.raises(ConfigurationError, match=named) as caught:
        AgentContext.from_environment(gateway)
    assert caught.value.exit_code == 43


@pytest.mark.parametrize("word", ["0", "false", "no", "yes", "on"])
def test_only_a_clear_yes_is_direct_mode(gateway: Environ, word: str) -> None:
    """No word but 1 and true leads past the gateway."""
    try:
        context = AgentContext.from_environment(gateway | {"SAGE_SANCTUM_ALLOW_DIRECT": word})
    except ConfigurationError:
        return
    assert context.gateway_client is not None
    assert context.gateway_client.is_gateway_mode


def test_direct_and_gateway_at_once_is_refused(gateway: Environ) -> None:
    with pytest.raises(ConfigurationError, match="SAGE_SANCTUM_ALLOW_DIRECT"):
        AgentContext.from_environment(gateway | {"SAGE_SANCTUM_ALLOW_DIRECT": "1"})


@pytest.mark.parametrize(
    ("more", "model"),
    [
        ({}, "openai:gpt-4o"),
        ({"OPENAI_MODEL": "gpt-4o-mini"}, "openai:gpt-4o-mini"),
        ({"OPENAI_MODEL": "x", "SAGE_MODEL": "anthropic:claude"}, "anthropic:claude"),
    ],
    ids=["default", "openai", "sage"],
)
def test_direct_mode(more: Environ, model: str) -> None:
    environ = {"RUN_ID": "r", "ORG_ID": "o", "SAGE_SANCTUM_ALLOW_DIRECT": "1", **more}
    context = AgentContext.from_environment(environ)
    assert isinstance(context.gateway_client, DirectProviderClient)
    assert isinstance(context.model_selector, StaticModelSelector)
    assert str(context.model_selector.select(ModelCategory.REASONING)) == model
    assert (context.work_dir, context.output_dir) == (Path("/work"), Path("/output"))
    assert context.check_gateway_health() is False


def test_local_development_leaves_the_process_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SAGE_SANCTUM_ALLOW_DIRECT", raising=False)
    monkeypatch.setenv("RUN_ID", "of somebody else")
    before = dict(os.environ)
    context = AgentContext.for_local_development(model="claude-sonnet-4-5")
    assert dict(os.environ) == before
    assert (context.run_id, context.org_id) == ("local", "local")
    assert (context.work_dir, context.output_dir) == (Path(), Path("output"))
    assert isinstance(context.gateway_client, DirectProviderClient)
    assert context.model_selector is not None
    assert str(context.model_selector.select(ModelCategory.TRIAGE)) == "anthropic:claude-sonnet-4-5"
    assert context.check_gateway_health() is False


def test_an_external_context_has_no_models() -> None:
    context = AgentContext.for_external_llm({"RUN_ID": "r", "ORG_ID": "o", "WORK_DIR": "/w"})
    assert context.gateway_client is None
    assert context.model_selector is None
    assert context.work_dir == Path("/w")
    assert context.check_gateway_health() is False
    assert context.usage() == []
    for name in ("create_llm_client", "create_embeddings_client", "create_client"):
        with pytest.raises(ConfigurationError, match=rf"{name}\(\)"):
            getattr(context, name)()
    with pytest.raises(ConfigurationError, match="ORG_ID"):
        AgentContext.for_external_llm({"RUN_ID": "r"})


# --- fail closed


def test_a_token_that_cannot_be_had_is_no_other_model(gateway: Environ, tmp_path: Path) -> None:
    """Not `gpt-4o`, nor SAGE_MODEL: an error, and nothing is sent."""
    del gateway["AUTH_SIDECAR_SOCKET"]
    gateway |= {"TRAT_FILE": str(tmp_path / "missing"), "SAGE_MODEL": "gpt-4o"}
    with pytest.raises(TraTAcquisitionError) as caught:
        AgentContext.from_environment(gateway)
    assert caught.value.exit_code == 12


def test_an_empty_allow_list_allows_nothing(server: RunningVault) -> None:
    issued = server.gateway.issue(run_id="run_none", org_id="1", allowed_models={})
    context = AgentContext.from_environment({**issued.environment, "SAGE_MODEL": "gpt-4o"})
    for category in ModelCategory:
        assert context.model_selector is not None
        with pytest.raises(ModelNotAvailableError):
            context.model_selector.select(category)


def test_the_selector_follows_the_token(server: RunningVault) -> None:
    """A renewed token that allows another model is what counts from then on."""
    pytest.importorskip("langchain_core", reason="langchain-core is not installed")

    def issue(model: str) -> Environ:
        run = server.gateway.issue(
            run_id="run_follow", org_id="1", allowed_models={"triage": [model]}
        )
        return dict(run.environment)

    context = AgentContext.from_environment(issue("ostiary:echo"))
    assert str(context.create_llm_client("triage").model_ref) == "ostiary:echo"
    issue("ostiary:echo-mini")  # into the same file
    assert context.gateway_client is not None
    context.gateway_client.invalidate()
    assert str(context.create_llm_client("triage").model_ref) == "ostiary:echo-mini"


# --- models


def test_every_sort_of_client(gateway: Environ, run: Run) -> None:
    """The typed one and LangChain's, over one access, with one account of what they took."""
    pytest.importorskip("langchain_core", reason="langchain-core is not installed")

    async def main() -> None:
        context = await AgentContext.from_environment_async(gateway)
        client = context.create_client()
        assert isinstance(client, AsyncGatewayClient)
        assert context.create_client() is client
        reply = await client.chat("one two three", model=ModelCategory.TRIAGE)
        assert reply.text == "one two three"
        first = sum(one.total_tokens for one in context.usage())
        assert first == reply.usage.total_tokens > 0

        model = context.create_llm_client(ModelCategory.ANALYSIS, max_tokens=50)
        assert model.max_tokens == 50
        answer = await model.ainvoke("four five")
        assert answer.content == "four five"
        assert sum(one.total_tokens for one in context.usage()) > first

        once = context.create_llm_client(ModelCategory.ANALYSIS, max_retries=0)
        with pytest.raises(GatewayUnavailableError):
            await once.ainvoke("/fail 503")

        embeddings = context.create_embeddings_client()
        vectors = await embeddings.aembed_documents(["a", "b"])
        assert len(vectors) == 2
        named = context.create_embeddings_client("hash", "ostiary")
        assert await named.aembed_query("a")

        before = context.usage()
        await context.aclose()
        assert context.usage() == before, "what was used stays known"

    run(main())


def test_embeddings_are_those_the_run_is_allowed(server: RunningVault) -> None:
    pytest.importorskip("langchain_core", reason="langchain-core is not installed")
    issued = server.gateway.issue(
        run_id="run_e", org_id="1", allowed_models={"triage": ["ostiary:echo"]}
    )
    context = AgentContext.from_environment(issued.environment)
    with pytest.raises(ModelNotAvailableError):
        context.create_embeddings_client()
    with pytest.raises(ModelNotAvailableError):
        context.create_llm_client(ModelCategory.REASONING)


def test_a_context_made_by_hand(tmp_path: Path) -> None:
    context = AgentContext("r", "o", str(tmp_path), str(tmp_path))  # type: ignore[arg-type]
    assert context == AgentContext("r", "o", tmp_path, tmp_path)
    assert {one.name for one in dataclasses.fields(context) if one.init} == {
        *("run_id", "org_id", "work_dir", "output_dir"),
        *("gateway_client", "model_selector", "logger"),
    }
    with_client = AgentContext(
        "r", "o", tmp_path, tmp_path, gateway_client=DirectProviderClient(allow=True)
    )
    with pytest.raises(ConfigurationError, match="model_selector"):
        with_client.create_llm_client(ModelCategory.TRIAGE)


def test_nothing_secret_is_shown(gateway: Environ) -> None:
    context = AgentContext.from_environment(gateway)
    shown = repr(context) + str(vars(context))
    for name in ("SPIFFE_JWT_PATH", "TRAT_FILE"):
        token = Path(gateway[name]).read_text().strip()
        assert token not in shown
        assert token.split(".")[2] not in shown
    assert context.gateway_client is not None
    context.gateway_client.get_credentials()
    assert Path(gateway["TRAT_FILE"]).read_text().strip() not in repr(context)


# --- input and output


def test_input_and_output(repository: Path, tmp_path: Path) -> None:
    environ = {"RUN_ID": "r", "ORG_ID": "o", "OUTPUT_PATH": str(tmp_path / "out")}
    context = AgentContext.for_external_llm(environ | {"REPO_PATH": str(repository)})
    assert context.load_input() == RepositoryInput(repository)
    one = Finding("a", "b", "c", "low", Location("README.md", 1))
    assert context.write_output(SarifOutput("t", "1", [one])) == ["results.sarif"]
    assert (tmp_path / "out/results.sarif").exists()
    with pytest.raises(InputValidationError, match="REPO_PATH"):
        AgentContext.for_external_llm(environ).load_input()


# --- what an import costs


def loaded_by(statement: str) -> set[str]:
    """Return what a statement loads that was not there, as coverage's own modules are."""
    program = (
        f"import sys; before = {{*sys.modules}}; {statement}; print(*{{*sys.modules}} - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_an_agent_loads_no_framework() -> None:
    """Neither LangChain nor pydantic, until a model of theirs is made."""
    heavy = ["langchain_core", "litellm", "pydantic", "h11", "nacl", "typer", "httpx"]
    names = "AgentContext, AgentRunner, SarifOutput, RepositoryInput"
    assert loaded_by(f"from ostiary.gateway import {names}").isdisjoint(heavy)
    alone = loaded_by("import ostiary.gateway")
    assert {"asyncio", "structlog", "dataclasses"}.isdisjoint(alone)
