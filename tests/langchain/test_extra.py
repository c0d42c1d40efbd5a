"""What happens where LangChain is not: nothing, until somebody asks for its classes."""

from __future__ import annotations

import subprocess
import sys

import pytest

WITHOUT = "import sys; sys.modules['langchain_core'] = None; "


def run(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "name",
    ["llm.GatewayChatModel", "llm.gateway_chat", "llm.gateway_embeddings", "llm.structured"],
)
def test_the_error_says_what_to_install(name: str) -> None:
    module, _, last = name.rpartition(".")
    program = f"""
from ostiary.gateway.errors import ConfigurationError
try:
    from ostiary.gateway.{module} import {last}
except ConfigurationError as error:
    print(error)
"""
    assert "pip install 'ostiary[langchain]'" in run(WITHOUT + program)


def test_models_have_names_without_it() -> None:
    program = """
from ostiary.gateway import GatewayClient, ModelRef
from ostiary.gateway.llm.model_selector import StaticModelSelector
print(ModelRef.parse("claude-x"))
"""
    assert run(WITHOUT + program) == "anthropic:claude-x\n"


def test_nothing_of_it_is_loaded_before_somebody_asks() -> None:
    program = """
import sys
import ostiary.gateway, ostiary.gateway.llm
from ostiary.gateway import AgentContext, GatewayClient, ModelSelector
heavy = {name.partition(".")[0] for name in sys.modules}
print(sorted(heavy & {"langchain_core", "pydantic", "litellm", "numpy", "asyncio", "ssl"}))
"""
    assert run(program) == "[]\n"
