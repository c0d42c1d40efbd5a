"""Every example in the README and on the site runs.

A page is one test: its Python blocks run in order in one namespace, its console blocks as
commands, against an embedded control plane in the home directory the page believes in. Ports
are replaced, so that one which runs on this machine is left alone.

    ```python           executed; an example that is a test is run by pytest
    ```console          lines that begin with `$ ` are executed; other lines are what is seen
    ```text, ```toml    shown only
    ```python notest    shown only; a reader cannot run it either, and the page says why
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LANGUAGES = {"python", "console", "text", "toml", "json", "yaml", ""}
# Commands about the repository or the machine, which tests of their own run.
NOT_OURS = ("make ", "pip install ", "git clone ", "cd ")
LONGEST_START = 30.0
CLOSED = {
    *("GatewayClient", "GovernanceClient", "Ostiary", "Pool", "RuntimeClient", "VaultClient"),
    *("TelemetryPipeline", "WorkflowClient"),
}


class Block(NamedTuple):
    page: str
    line: int
    language: str
    notest: bool
    text: str


_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<info>[^\n`]*)\n(?P<body>.*?)^(?P=indent)```[ ]*$", re.M | re.S
)


def blocks(page: Path) -> Iterator[Block]:
    source = page.read_text("utf-8")
    for match in _FENCE.finditer(source):
        language, _, rest = match["info"].strip().partition(" ")
        indent = match["indent"]
        text = "".join(
            line.removeprefix(indent) for line in match["body"].splitlines(keepends=True)
        )
        line = source.count("\n", 0, match.start()) + 1
        name = page.relative_to(ROOT).as_posix()
        yield Block(name, line, language, "notest" in rest.split(), text)


ALL = {page.relative_to(ROOT).as_posix(): list(blocks(page)) for page in PAGES}
RUNNABLE = [
    name
    for name, found in ALL.items()
    if any(block.language in {"python", "console"} and not block.notest for block in found)
]


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home directory whose path is short enough to hold a socket on macOS."""
    directory = Path(tempfile.mkdtemp(prefix="ost", dir="/tmp")).resolve()
    monkeypatch.setenv("HOME", str(directory))
    for name in list(os.environ):
        if name.startswith(("OSTIARY_", "SANCTUM_", "SAGE_", "SPIFFE_", "SYMBIONT_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(directory)
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


class Ports(NamedTuple):
    vault: int
    governance: int
    runtime: int
    workflow: int


def port_of(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None, url
    return port


def with_ports(text: str, ports: Ports) -> str:
    text = re.sub(r"\b(?:7600|8200)\b", str(ports.vault), text)
    text = re.sub(r"(?<=[:=])8000\b", str(ports.governance), text)
    text = re.sub(r"(?<=[:=])8080\b", str(ports.runtime), text)
    return re.sub(r"(?<=localhost:)3000\b", str(ports.workflow), text)


def run_python(block: Block, namespace: dict[str, Any], home: Path, ports: Ports) -> None:
    if re.search(r"^(?:async )?def test_", block.text, re.M):
        run_pytest(block, home)
        return
    # Padded, so that a traceback names the line of the page.
    padded = "\n" * block.line + with_ports(block.text, ports)
    code = compile(padded, str(ROOT / block.page), "exec", dont_inherit=True)
    exec(code, namespace)


def run_pytest(block: Block, home: Path) -> None:
    """Run an example that is a test as one, with the plugin that installing registered."""
    file = home / f"test_line_{block.line}.py"
    file.write_text(block.text, "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(file)],
        cwd=home,
        env=environment(home),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, f"{block.page}:{block.line}\n{done.stdout}{done.stderr}"


def commands(block: Block) -> Iterator[str]:
    """Yield the commands of a console block, continuation lines joined."""
    lines = iter(block.text.splitlines())
    for line in lines:
        if not line.startswith("$ "):
            continue
        command = line[2:]
        while command.endswith("\\"):
            command = command[:-1] + next(lines)
        yield command


def environment(home: Path) -> dict[str, str]:
    scripts = Path(sys.executable).parent
    return {
        **os.environ,
        "HOME": str(home),
        "PATH": f"{scripts}{os.pathsep}{os.environ.get('PATH', '')}",
        "NO_COLOR": "1",
    }


def run_command(block: Block, command: str, home: Path, ports: Ports) -> None:
    if command.startswith(NOT_OURS):
        return
    if command.split()[:2] == ["ostiary", "dev"]:
        run_server(block, command)
        return
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", with_ports(command, ports)],
        env=environment(home),
        cwd=home,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, (
        f"{block.page}:{block.line}: `{command}` exited {done.returncode}\n"
        f"{done.stdout}{done.stderr}"
    )


def run_server(block: Block, command: str) -> None:
    """Start `ostiary dev ...` in a home of its own, wait until it listens, stop it."""
    directory = Path(tempfile.mkdtemp(prefix="ost", dir="/tmp")).resolve()
    try:
        arguments = shlex.split(command, comments=True)
        if "--no-tcp" not in arguments:
            arguments.append("--no-tcp")  # 7600 and 8200 may be taken on this machine
        log = directory / "log"
        with log.open("wb") as output:
            server = subprocess.Popen(
                arguments,
                env=environment(directory),
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            deadline = time.monotonic() + LONGEST_START
            while not list(directory.rglob("vault.sock")):
                said = f"{block.page}:{block.line}: `{command}` did not start\n{log.read_text()}"
                assert server.poll() is None, said
                assert time.monotonic() < deadline, said
                time.sleep(0.02)
        finally:
            server.send_signal(signal.SIGTERM)
            status = server.wait(30)
        assert status == 0, f"{command} exited {status}\n{log.read_text()}"
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.mark.timeout(400)  # a page starts dozens of processes
@pytest.mark.parametrize("page", RUNNABLE)
def test_page(page: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ostiary.devserver import GovernanceOptions, RuntimeOptions, WorkflowOptions, running
    from ostiary.gateway import providers

    # A page may add to the table; the tests behind it are to find it as it is.
    monkeypatch.setattr(providers, "_table", providers._table)
    namespace: dict[str, Any] = {"__name__": "__page__"}
    options: dict[str, Any] = {
        "governance": GovernanceOptions(port=0),
        "runtime": RuntimeOptions(port=0),
        "workflow": WorkflowOptions(port=0),
    }
    with running(home=home / ".sanctum", demo=True, **options) as server:
        assert server.tcp is not None
        # Where a client looks that is told nothing: as after `ostiary env`.
        monkeypatch.setenv("OSTIARY_VAULT_AGENT", "my-agent")
        monkeypatch.setenv("OSTIARY_GOVERNANCE_URL", server.governance_url)
        monkeypatch.setenv("OSTIARY_RUNTIME_URL", server.runtime_url)
        monkeypatch.setenv("OSTIARY_WORKFLOW_URL", server.workflow_url)
        for name, value in server.gateway.environment.items():
            monkeypatch.setenv(name, value)
        urls = (server.governance_url, server.runtime_url, server.workflow_url)
        ports = Ports(server.tcp[1], *map(port_of, urls))
        for block in ALL[page]:
            if block.notest:
                continue
            if block.language == "python":
                run_python(block, namespace, home, ports)
            elif block.language == "console":
                for command in commands(block):
                    run_command(block, command, home, ports)
        for value in namespace.values():
            # A page shows its clients without always closing them.
            if type(value).__name__ in CLOSED:
                value.close()


def test_there_is_something_to_run() -> None:
    python = [b for found in ALL.values() for b in found if b.language == "python" and not b.notest]
    assert len(python) >= 60
    pages = {"README.md", "docs/index.md", "docs/vault.md", "docs/governance.md", "docs/http.md"}
    pages |= {"docs/runtime.md", "docs/workflow.md"}
    assert pages <= set(RUNNABLE)
    commands_run = {
        command.split()[1]
        for found in ALL.values()
        for block in found
        if block.language == "console"
        for command in commands(block)
        if command.startswith("ostiary ")
    }
    assert {"dev", "doctor", "governance", "runtime", "vault", "workflow"} <= commands_run


def test_every_page_is_in_the_site() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text("utf-8").partition("\nnav:")[2]
    navigation = navigation.partition("\nextra_css:")[0]
    listed = re.findall(r"^ *- .*: (\S+\.md)$", navigation, re.M)
    assert sorted(listed) == sorted(
        page.relative_to(ROOT / "docs").as_posix() for page in PAGES if page.name != "README.md"
    )


def test_every_fence_is_read_and_its_language_known() -> None:
    for page in PAGES:
        name = page.relative_to(ROOT).as_posix()
        fences = len(re.findall(r"^ *```", page.read_text("utf-8"), re.M))
        assert fences == 2 * len(ALL[name]), f"{name}: a fence is not closed"
        assert {block.language for block in ALL[name]} <= LANGUAGES, name


def test_notest_is_rare() -> None:
    skipped = [f"{b.page}:{b.line}" for found in ALL.values() for b in found if b.notest]
    assert len(skipped) <= 3, skipped


def test_links_between_pages_lead_somewhere() -> None:
    broken: list[str] = []
    for page in {*PAGES, *ROOT.glob("*.md")}:
        text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.S)
        broken += [
            f"{page.relative_to(ROOT)}: {target}"
            for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text)
            if "://" not in target and not (page.parent / target).exists()
        ]
    assert broken == []
