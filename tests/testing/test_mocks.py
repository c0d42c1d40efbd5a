"""The guide's testing kit: its names, its defaults, and that it works."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ostiary.errors import InvalidArgumentError
from ostiary.gateway import (
    AgentContext,
    AllowedModels,
    GatewayAccess,
    ModelCategory,
    ModelSelector,
    StaticModelSelector,
    TransactionToken,
)
from ostiary.gateway.errors import ConfigurationError, ModelNotAvailableError, TraTExpiredError
from ostiary.secret import Secret
from ostiary.testing.mocks import MockGatewayClient, MockTratClient

try:
    import langchain_core  # noqa: F401
except ModuleNotFoundError:
    HAS_LANGCHAIN = False
else:
    HAS_LANGCHAIN = True

langchain = pytest.mark.skipif(
    not HAS_LANGCHAIN, reason="langchain-core is not installed: the models stand on it"
)


# --- access and tokens


def test_the_gateway_has_the_guides_defaults() -> None:
    gateway = MockGatewayClient()
    assert isinstance(gateway, GatewayAccess)
    assert gateway.is_gateway_mode is False
    found = gateway.get_credentials()
    assert (found.spiffe_jwt, found.trat) == ("mock-spiffe-jwt", "mock-trat-jwt")
    assert gateway.get_endpoint("openai") == "http://localhost:8080/v1"
    assert gateway.get_endpoint("anthropic") == "http://localhost:8080/anthropic"
    assert gateway.get_endpoint("google") == "http://localhost:8080/google"
    assert gateway.get_endpoint("nobody") == gateway.get_endpoint("openai")
    assert gateway.get_trat() is None


def test_the_gateway_is_what_it_is_told_to_be(sample_trat: TransactionToken) -> None:
    gateway = MockGatewayClient(True, {"openai": "unix:///tmp/gateway.sock"}, sample_trat)
    assert gateway.is_gateway_mode
    assert gateway.get_endpoint("anthropic") == "unix:///tmp/gateway.sock"
    assert gateway.get_trat() is sample_trat
    gateway.invalidate(gateway.get_credentials())
    assert gateway.invalidated == 1
    assert asyncio.run(gateway.get_trat_async()) is sample_trat


def test_its_tokens_do_not_show() -> None:
    assert "mock-trat-jwt" not in repr(MockGatewayClient().get_credentials())
    assert "mock-trat-jwt" not in repr(MockTratClient().get_token())


def test_the_token_has_the_guides_claims(sample_trat: TransactionToken) -> None:
    assert sample_trat.raw == "mock-trat-jwt"
    assert sample_trat.txn == "run_test123"
    assert sample_trat.tctx.run_id == "run_test123"
    assert sample_trat.tctx.org_id == "12345"
    assert sample_trat.tctx.allowed_models.to_dict() == {
        "triage": ["openai:gpt-4o-mini"],
        "analysis": ["openai:gpt-4o", "anthropic:claude-3-5-sonnet-latest"],
        "reasoning": ["openai:o1"],
        "embeddings": ["openai:text-embedding-3-small"],
    }
    assert sample_trat.exp - sample_trat.iat == pytest.approx(300)
    assert not sample_trat.is_expired
    selector = ModelSelector.from_trat(sample_trat)
    assert str(selector.select(ModelCategory.REASONING)) == "openai:o1"


def test_a_source_gives_one_token() -> None:
    source = MockTratClient()
    assert source.get_token() is source.get_token()
    source.invalidate()
    assert source.get_token().txn == "run_test123"
    assert asyncio.run(source.get_token_async()) is source.get_token()


def test_a_source_outlives_its_token(monkeypatch: pytest.MonkeyPatch) -> None:
    source = MockTratClient()
    first = source.get_token()
    later = time.time() + 301
    monkeypatch.setattr(time, "time", lambda: later)
    assert first.is_expired
    assert not source.get_token().is_expired
    assert source.get_token().txn == first.txn


def test_a_token_that_is_given_stays_as_it_is() -> None:
    expired = TransactionToken(txn="t", token=Secret("x"))
    with pytest.raises(TraTExpiredError):
        MockTratClient(expired).get_token().check_not_expired()


def test_a_source_allows_what_it_is_told_to() -> None:
    models = AllowedModels(triage=("openai:tiny",))
    assert MockTratClient(allowed_models=models).get_token().tctx.allowed_models == models


# --- models


@langchain
def test_the_model_answers_in_order() -> None:
    from langchain_core.messages import HumanMessage

    from ostiary.testing.mocks import MockLLM

    llm = MockLLM(responses=["first", "second"])
    assert [llm.invoke("x").content for _ in range(3)] == ["first", "second", "Mock response"]
    assert len(llm.calls) == 3
    assert llm.calls[0] == [HumanMessage(content="x")]
    assert MockLLM().calls == []
    llm.responses = ["third"]
    assert [llm.invoke("x").content for _ in range(2)] == ["third", "Mock response"]
    llm.responses.append("fourth")
    assert llm.invoke("x").content == "fourth"


@langchain
def test_the_model_counts_words() -> None:
    from ostiary.testing.mocks import MockLLM

    usage = MockLLM(["one two three"]).invoke("ask me").usage_metadata
    assert usage == {"input_tokens": 2, "output_tokens": 3, "total_tokens": 5}


@langchain
def test_the_model_streams_and_awaits() -> None:
    from ostiary.testing.mocks import MockLLM

    llm = MockLLM(["one two\n three"] * 3)
    chunks = [chunk.content for chunk in llm.stream("x")]
    assert chunks[:3] == ["one ", "two\n ", "three"]
    assert "".join(str(chunk) for chunk in chunks) == "one two\n three"

    async def main() -> tuple[Any, str]:
        whole = await llm.ainvoke("x")
        pieces = [str(chunk.content) async for chunk in llm.astream("x")]
        return whole.content, "".join(pieces)

    assert asyncio.run(main()) == ("one two\n three", "one two\n three")
    assert len(llm.calls) == 3


@langchain
def test_the_model_calls_tools_as_it_is_told() -> None:
    from langchain_core.messages import AIMessage

    from ostiary.testing.mocks import MockLLM

    def search(query: str) -> str:
        """Look for something."""
        return query

    asked = AIMessage(
        content="", tool_calls=[{"name": "search", "args": {"query": "x"}, "id": "call_1"}]
    )
    llm = MockLLM([asked, asked])
    bound = llm.bind_tools([search], tool_choice="any")
    assert bound.invoke("find x").tool_calls[0]["args"] == {"query": "x"}
    assert llm.options[0]["tool_choice"] == "any"
    assert llm.options[0]["tools"][0]["function"]["name"] == "search"
    whole: Any = None
    for chunk in llm.stream("find x"):
        whole = chunk if whole is None else whole + chunk
    assert whole.tool_calls[0]["name"] == "search"


@langchain
def test_the_model_gives_structured_output() -> None:
    from pydantic import BaseModel

    from ostiary.testing.mocks import MockLLM

    class Verdict(BaseModel):
        risk: str
        lines: list[int]

    text = '{"risk": "high", "lines": [1, 2]}'
    llm = MockLLM([text, text, text, "no JSON"])
    assert llm.with_structured_output(Verdict).invoke("x") == Verdict(risk="high", lines=[1, 2])
    schema = {"title": "Verdict", "type": "object", "properties": {}}
    assert llm.with_structured_output(schema).invoke("x") == {"risk": "high", "lines": [1, 2]}
    both = llm.with_structured_output(Verdict, include_raw=True)
    assert both.invoke("x")["parsed"].risk == "high"
    failed = both.invoke("x")
    assert failed["parsed"] is None
    assert isinstance(failed["parsing_error"], Exception)


@langchain
def test_the_model_fails_when_it_is_told_to() -> None:
    from ostiary.gateway.errors import RateLimitError
    from ostiary.testing.mocks import MockLLM

    llm = MockLLM([RateLimitError("slow down"), "fine"])
    with pytest.raises(RateLimitError):
        llm.invoke("x")
    assert llm.invoke("x").content == "fine"
    assert len(llm.calls) == 2


@langchain
@pytest.mark.parametrize("dimension", [1, 8, 9, 1536])
def test_vectors_have_length_one_and_no_pattern(dimension: int) -> None:
    from ostiary.testing.mocks import MockEmbeddings

    embeddings = MockEmbeddings(dimension)
    (vector,) = embeddings.embed_documents(["alpha"])
    assert len(vector) == dimension
    assert sum(value * value for value in vector) == pytest.approx(1)
    assert len(set(vector)) == dimension  # beyond the eighth, too
    if dimension > 1:
        assert vector != embeddings.embed_query("beta")


@langchain
def test_vectors_are_the_same_however_they_are_asked_for() -> None:
    from ostiary.testing.mocks import MockEmbeddings

    embeddings = MockEmbeddings()
    first, second = embeddings.embed_documents(["alpha", "be\udcffta"])
    assert embeddings.embed_query("alpha") == first

    async def main() -> list[list[float]]:
        return [*await embeddings.aembed_documents(["alpha"]), await embeddings.aembed_query("x")]

    assert asyncio.run(main())[0] == first
    assert embeddings.calls == [["alpha", "be\udcffta"], ["alpha"], ["alpha"], ["x"]]
    assert first != second


@langchain
@pytest.mark.parametrize("dimension", [0, -1, True, "8"])
def test_a_dimension_is_a_number(dimension: Any) -> None:
    from ostiary.testing.mocks import MockEmbeddings

    with pytest.raises(InvalidArgumentError):
        MockEmbeddings(dimension)


@langchain
def test_vectors_are_the_same_in_every_process() -> None:
    program = (
        "from ostiary.testing.mocks import MockEmbeddings\n"
        "print(MockEmbeddings(12).embed_query('alpha'))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1


# --- the context


@langchain
def test_the_context_gives_working_models(mock_context: Any) -> None:
    assert isinstance(mock_context, AgentContext)
    assert (mock_context.run_id, mock_context.org_id) == ("test-run-123", "test-org")
    mock_context.llm.responses = ["it is fine"]
    model = mock_context.create_llm_client(ModelCategory.TRIAGE, temperature=0.5)
    assert model.invoke("how is it?").content == "it is fine"
    assert mock_context.llm.calls[0][0].content == "how is it?"
    vectors = mock_context.create_embeddings_client().embed_documents(["a", "b"])
    assert len(vectors) == 2
    assert mock_context.embeddings.calls == [["a", "b"]]
    assert mock_context.check_gateway_health() is False


@langchain
def test_the_contexts_selector_decides_as_ever(
    tmp_path: Path, sample_trat: TransactionToken
) -> None:
    from ostiary.testing.mocks import MockContext

    none = AllowedModels(analysis=("openai:gpt-4o",))
    selector = ModelSelector.from_trat(MockTratClient(allowed_models=none).get_token())
    context = MockContext(
        "r", "o", tmp_path, tmp_path, gateway_client=MockGatewayClient(), model_selector=selector
    )
    context.create_llm_client("analysis")
    with pytest.raises(ModelNotAvailableError):
        context.create_llm_client("reasoning")
    with pytest.raises(ModelNotAvailableError):
        context.create_embeddings_client()
    context.create_embeddings_client("text-embedding-3-small")
    bare = MockContext("r", "o", tmp_path, tmp_path)
    with pytest.raises(ConfigurationError):
        bare.create_llm_client()


@langchain
def test_an_agent_is_tested_without_a_gateway(mock_context: Any, tmp_path: Path) -> None:
    from ostiary.gateway import (
        AgentResult,
        Finding,
        Location,
        RepositoryInput,
        SageSanctumAgent,
        SarifOutput,
    )

    class Reviewer(SageSanctumAgent):
        @property
        def name(self) -> str:
            return "reviewer"

        @property
        def version(self) -> str:
            return "1.0.0"

        async def run(self, agent_input: Any) -> AgentResult:
            model = self.context.create_llm_client(ModelCategory.ANALYSIS)
            said = await model.ainvoke("what is wrong?")
            finding = Finding(
                id="R1",
                title="said",
                description=str(said.content),
                severity="low",
                location=Location(file="a.py", start_line=1),
            )
            return AgentResult(
                output=SarifOutput(tool_name=self.name, tool_version="1", findings=[finding])
            )

    mock_context.llm.responses = ["nothing"]
    result = asyncio.run(Reviewer(mock_context).run(RepositoryInput(path=tmp_path)))
    assert mock_context.write_output(result.output) == ["results.sarif"]
    assert "nothing" in (mock_context.output_dir / "results.sarif").read_text()


# --- how it is shipped


def test_the_fixtures_come_with_the_plugin(
    mock_gateway: MockGatewayClient, sample_trat: TransactionToken, mock_context: Any
) -> None:
    assert mock_gateway.is_gateway_mode is False
    assert mock_context.gateway_client is mock_gateway
    assert isinstance(mock_context.model_selector, StaticModelSelector)
    assert sample_trat.txn


def test_the_fixtures_may_be_imported_as_the_guides_users_do(tmp_path: Path) -> None:
    (tmp_path / "test_agent.py").write_text(
        "from ostiary.testing.fixtures import mock_context, mock_gateway, sample_trat\n"
        "def test_it(mock_context, sample_trat):\n"
        "    assert mock_context.org_id == 'test-org'\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_a_project_of_its_own_has_them(tmp_path: Path) -> None:
    """In a bare directory, by the installed entry point alone."""
    (tmp_path / "test_agent.py").write_text(
        "def test_it(mock_gateway, sample_trat, mock_context):\n"
        "    assert mock_context.run_id == 'test-run-123'\n"
        "    assert mock_context.work_dir.parent.exists()\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_without_the_extra_the_models_say_what_to_install() -> None:
    program = (
        "import sys, importlib.util as u\n"
        "find = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'langchain_core' else find(name, *a)\n"
        "from ostiary.testing.mocks import MockTratClient\n"
        "try:\n    from ostiary.testing.mocks import MockLLM\n"
        "except Exception as error:\n    print(type(error).__name__, error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("ConfigurationError")
    assert "pip install 'ostiary[langchain]'" in done.stdout


def test_nothing_is_imported_before_it_is_asked_for() -> None:
    program = (
        "import sys, ostiary.testing.plugin\n"
        "print(any(m.startswith('ostiary.gateway') for m in sys.modules))\n"
        "import ostiary.testing.mocks as mocks\n"
        "mocks.MockGatewayClient(); mocks.MockTratClient()\n"
        "print(any(m.startswith(('langchain', 'pydantic', 'asyncio')) for m in sys.modules))\n"
        "try:\n    mocks.Nothing\nexcept AttributeError as error:\n    print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    first, second, third = done.stdout.splitlines()
    assert first == "False"
    assert second == "False"
    assert "Nothing" in third
