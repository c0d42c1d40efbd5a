"""The guide, line by line: its files, its conventions, and what it says not to do.

docs/migrate/sage-sanctum.md has the same lines in a table, each with its place here and its test.
"""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path
from typing import Any

import pytest

import ostiary
import ostiary.gateway as gateway
from ostiary.devserver import RunningVault, running
from ostiary.gateway import errors

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def server() -> Any:
    with running(demo=True, tcp=False) as one:
        yield one


# --- key files


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("agent", ["SageSanctumAgent", "AgentRunner", "AgentResult"]),
        ("context", ["AgentContext"]),
        ("http", ["GatewayHttpClient", "HttpResponse"]),
        ("client", ["SpiffeGatewayClient", "DirectProviderClient"]),
        ("auth.credentials", ["GatewayCredentials"]),
        ("auth.trat", ["TransactionToken", "TransactionTokenClient", "AllowedModels"]),
        ("auth.spiffe", ["JWTSource"]),
        ("llm.model_ref", ["ModelRef", "ModelCategory"]),
        ("llm.model_selector", ["ModelSelector", "StaticModelSelector"]),
        ("errors", ["SageSanctumError"]),
        ("io.inputs", ["AgentInput", "RepositoryInput"]),
        (
            "io.outputs",
            ["AgentOutput", "Finding", "Location", "SarifOutput", "TokenUsage"],
        ),
        ("logging", ["configure_logging", "get_logger"]),
        ("mcp", ["MCPGatewayClient"]),
    ],
)
def test_the_files_of_the_guide_are_modules_here(module: str, names: list[str]) -> None:
    found = importlib.import_module(f"ostiary.gateway.{module}")
    for name in names:
        assert getattr(found, name).__module__.startswith("ostiary.gateway")


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("ostiary.gateway.llm.gateway_chat", ["GatewayChatModel", "create_llm_for_gateway"]),
        (
            "ostiary.gateway.llm.gateway_embeddings",
            ["GatewayEmbeddings", "create_embeddings_for_gateway"],
        ),
        ("ostiary.testing.mocks", ["MockGatewayClient", "MockLLM", "MockTratClient"]),
    ],
)
def test_those_that_need_langchain(module: str, names: list[str]) -> None:
    pytest.importorskip("langchain_core", reason="langchain-core is not installed")
    found = importlib.import_module(module)
    for name in names:
        assert getattr(found, name)


def test_the_names_at_the_top() -> None:
    guide = [
        *("AgentContext", "AgentInput", "AgentOutput", "AgentResult", "AgentRunner"),
        *("ExternalToolError", "Finding", "Location", "ModelCategory", "ModelRef"),
        *("OutputParseError", "RepositoryInput", "SageSanctumAgent", "SageSanctumError"),
        *("SarifOutput", "SubprocessError", "SubprocessTimeoutError", "TokenUsage"),
        *("configure_logging", "get_logger"),
    ]
    assert set(guide) <= set(gateway.__all__)
    assert set(guide) <= set(dir(gateway))
    for name in guide:
        assert getattr(gateway, name)


# --- conventions


def test_every_error_has_its_exit_code() -> None:
    """10 to 69 by the guide, and 70 to 79 for the tools an agent runs; families in tens."""
    family = {
        "AuthError": 10,
        "ForbiddenError": 20,
        "GatewayError": 30,
        "ValidationError": 40,
        "OutputError": 50,
        "ModelError": 60,
        "ExternalToolError": 70,
    }
    found = [one for one in vars(errors).values() if isinstance(one, type)]
    ours = [one for one in found if issubclass(one, errors.SageSanctumError)]
    assert len(ours) > 30
    for one in ours:
        assert one is errors.SageSanctumError or 10 <= one.exit_code <= 79, one
    for name, first in family.items():
        root = getattr(errors, name)
        assert root.exit_code == first
        for one in ours:
            if issubclass(one, root) and not issubclass(one, errors.GatewayError):
                assert first <= one.exit_code < first + 10, one


def test_the_version_has_one_source() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" in project["project"]["dynamic"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "ostiary.__version__"}
    declared = ostiary.__version__
    assert gateway.__version__ == declared
    assert gateway.__version__ == importlib.metadata.version("ostiary")
    sources = "\n".join(path.read_text() for path in (ROOT / "src/ostiary/gateway").rglob("*.py"))
    assert not re.search(rf"__version__\s*=\s*['\"]{re.escape(declared)}", sources)


def test_models_are_chosen_by_category_from_the_token(server: RunningVault) -> None:
    models = {
        "triage": ["ostiary:echo-mini", "ostiary:echo"],
        "analysis": ["ostiary:echo"],
        "reasoning": ["openai:gpt-4o"],
        "embeddings": ["ostiary:hash"],
    }
    issued = server.gateway.issue(
        run_id="run_guide",
        org_id="1",
        allowed_models=models,
        allowed_providers=["ostiary", "openai"],
    )
    context = gateway.AgentContext.from_environment(issued.environment)
    assert context.model_selector is not None
    for category in gateway.ModelCategory:
        assert str(context.model_selector.select(category)) == models[category.value][0]


# --- what not to do


def test_credentials_are_not_logged(server: RunningVault, tmp_path: Path, repository: Path) -> None:
    """A whole run at DEBUG, with a refusal in it: no token, nor a part of one, anywhere."""
    environ = dict(server.gateway.environment)
    environ |= {"OUTPUT_PATH": str(tmp_path / "out"), "REPO_PATH": str(repository)}
    program = tmp_path / "talkative.py"
    program.write_text(
        textwrap.dedent(
            """
            from ostiary.gateway import *

            class Talkative(SageSanctumAgent):
                name = "talkative"
                version = "1"

                async def run(self, input):
                    log = get_logger("talkative")
                    access = self.context.gateway_client
                    credentials = access.get_credentials()
                    log.info("mine", credentials=credentials, trat=access.get_trat())
                    log.debug(f"sent {credentials.spiffe_jwt}", **credentials.auth_headers())
                    print(credentials, access, self.context, access.get_trat())
                    client = self.context.create_client()
                    await client.chat("hello", model=ModelCategory.TRIAGE)
                    try:
                        await client.chat("/fail 401", model=ModelCategory.TRIAGE)
                    except GatewayError as error:
                        log.warning("refused", error=error, exc_info=True)
                    raise ValueError(credentials.trat)
            """
        )
    )
    done = subprocess.run(
        [
            *(sys.executable, "-m", "ostiary", "agent", "run", f"{program}:Talkative"),
            *("--verbose", "--log-format=json"),
        ],
        env={**os.environ, **environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1, done.stderr
    said = done.stdout + done.stderr + (tmp_path / "out/run.json").read_text()
    assert "refused" in said
    for name in ("SPIFFE_JWT_PATH", "TRAT_FILE"):
        token = Path(environ[name]).read_text().strip()
        for part in token.split("."):
            assert part not in said, name


def test_a_provider_is_added_in_one_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """The prefix table is an alias of the one table, and detection reads nothing else."""
    from ostiary.gateway import providers
    from ostiary.gateway.llm.model_ref import ModelRef

    added = providers.Provider(
        name="acme", prefixes=("acme-",), dialect="openai", base_url="https://llm.acme.example/v1"
    )
    # What is registered here goes with the test.
    monkeypatch.setattr(providers, "_table", providers._table)
    before = dict(ModelRef._PROVIDER_PREFIXES)
    providers.register(added)
    assert ModelRef._detect_provider("acme-large") == "acme"
    assert str(ModelRef.parse("acme-large")) == "acme:acme-large"
    assert dict(ModelRef._PROVIDER_PREFIXES) != before


def test_no_socket_but_a_unix_one_is_needed(
    server: RunningVault, tmp_path: Path, repository: Path
) -> None:
    """With every other family forbidden by the kernel an agent runs as ever."""
    if sys.platform != "linux" or platform.machine() not in {"x86_64", "aarch64"}:
        pytest.skip("seccomp filters are Linux's, and written here for two architectures")
    program = tmp_path / "confined.py"
    program.write_text(CONFINED)
    environ = {"OUTPUT_PATH": str(tmp_path / "out"), "REPO_PATH": str(repository)}
    done = subprocess.run(
        [sys.executable, str(program)],
        env={**os.environ, **server.gateway.environment, **environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if "no filter" in done.stderr:
        pytest.skip("this kernel takes no filter from us")
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "out/run.json").read_text())
    assert record["metadata"] == {"inet": "PermissionError", "said": "hello", "streamed": "a b c"}


CONFINED = '''
import ctypes, errno, os, platform, socket, struct, sys

from ostiary.gateway import *

def jump(code, yes, no, value):
    return struct.pack("HBBI", code, yes, no, value)

def confine():
    """As a pod's profile does: no socket but of the family AF_UNIX."""
    number, arch = {"x86_64": (41, 0xC000003E), "aarch64": (198, 0xC00000B7)}[platform.machine()]
    code = b"".join([
        jump(0x20, 0, 0, 4), jump(0x15, 0, 4, arch),
        jump(0x20, 0, 0, 0), jump(0x15, 0, 2, number),
        jump(0x20, 0, 0, 16), jump(0x15, 0, 1, socket.AF_UNIX),
        jump(0x06, 0, 0, 0x7FFF0000),
        jump(0x06, 0, 0, 0x00050000 | errno.EPERM),
    ])
    buffer = ctypes.create_string_buffer(code, len(code))
    filters = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(buffer))
    held = ctypes.create_string_buffer(filters, len(filters))
    libc = ctypes.CDLL(None, use_errno=True)
    prctl = lambda *values: libc.prctl(*map(ctypes.c_ulong, values))
    if prctl(38, 1, 0, 0, 0) or prctl(22, 2, ctypes.addressof(held), 0, 0):
        sys.exit("no filter")

class Confined(SageSanctumAgent):
    name = "confined"
    version = "1"

    async def run(self, input):
        try:
            socket.socket(socket.AF_INET).close()
            inet = "allowed"
        except OSError as error:
            inet = type(error).__name__
        client = self.context.create_client()
        reply = await client.chat("hello", model=ModelCategory.TRIAGE)
        stream = client.stream_chat("a b c", model="ostiary:echo")
        parts = [chunk.text or "" async for chunk in stream]
        assert self.context.check_gateway_health()
        return AgentResult(metadata={"inet": inet, "said": reply.text, "streamed": "".join(parts)})

confine()
sys.exit(AgentRunner(Confined).run())
'''


def test_the_mcp_client_is_no_public_name() -> None:
    assert "MCPGatewayClient" not in gateway.__all__
    assert "MCPGatewayClient" not in dir(gateway)
    with pytest.raises(AttributeError):
        gateway.MCPGatewayClient  # type: ignore[attr-defined]  # noqa: B018


# --- the table in the documentation


def test_the_table_names_tests_and_places_that_exist() -> None:
    page = (ROOT / "docs/migrate/sage-sanctum.md").read_text("utf-8")
    table = page.partition("## Names")[2].partition("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ") and "`" in line]
    assert len(rows) >= 20
    for row in rows:
        tests = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", row)
        assert tests, row
        for file, name in tests:
            tree = ast.parse((ROOT / file).read_text("utf-8"))
            names = {
                node.name
                for node in ast.walk(tree)
                if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
            }
            assert not name or name in names, f"{file}::{name}"
        for module in re.findall(r"`(ostiary(?:\.\w+)+)`", row):
            head, _, tail = module.rpartition(".")
            assert importlib.util.find_spec(module) or hasattr(
                importlib.import_module(head), tail
            ), module
