"""`ostiary env`, and what `ostiary dev` says and does about its gateway."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("cryptography", reason="the extra dev is not installed")

from ostiary.cli.dev_gateway import gateway_options
from ostiary.devserver import running
from ostiary.errors import InvalidArgumentError
from tests.devserver.gateway import CHAT, EMBED, MODERN, asking, refusal
from tests.devserver.web import Web

NAMES = {
    "RUN_ID", "ORG_ID", "SPIFFE_JWT_PATH", "TRAT_FILE", "AUTH_SIDECAR_SOCKET",
    "LLM_GATEWAY_SOCKET", "WORK_DIR", "OUTPUT_PATH",
}  # fmt: skip


def of(environment: dict[str, str], provider: str = "ostiary") -> dict[str, str]:
    """The headers an agent makes of its environment."""
    return MODERN | {
        "Authorization": "Bearer " + Path(environment["SPIFFE_JWT_PATH"]).read_text().strip(),
        "Txn-Token": Path(environment["TRAT_FILE"]).read_text().strip(),
        "X-Provider": provider,
    }


def ask(environment: dict[str, str], model: str = "echo", provider: str = "ostiary") -> Any:
    with Web(environment["LLM_GATEWAY_SOCKET"]) as web:
        return web.post(CHAT, asking(model=model), headers=of(environment, provider))


def test_a_shell_takes_it(start_dev: Any, ostiary: Any, user_home: Path) -> None:
    dev = start_dev("--no-tcp", "--demo")
    found = ostiary("env")
    assert found.code == 0
    assert found.err == ""
    shell = subprocess.run(
        ["sh", "-euc", f"{found.text}\nenv"],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": os.environ["PATH"], "SAGE_SANCTUM_ALLOW_DIRECT": "1", "GATEWAY_SOCKET": "x"},
    )
    environment = dict(line.split("=", 1) for line in shell.stdout.splitlines() if "=" in line)
    assert set(environment) >= NAMES
    assert not {"SAGE_SANCTUM_ALLOW_DIRECT", "GATEWAY_SOCKET"} & set(environment)
    assert environment["SANCTUM_VAULT_PATH"] == str(dev.home)
    assert environment["OSTIARY_GOVERNANCE_URL"] == f"unix://{dev.home / 'governance.sock'}"
    assert environment["OSTIARY_RUNTIME_URL"] == f"unix://{dev.home / 'runtime.sock'}"
    assert ask(environment).document["choices"][0]["message"]["content"] == "Hello"
    assert ask(environment, "gpt-4o", "openai").status == 200
    assert "eyJ" not in found.text
    for name in ("SPIFFE_JWT_PATH", "TRAT_FILE", "AUTH_SIDECAR_SOCKET", "LLM_GATEWAY_SOCKET"):
        assert stat.S_IMODE(Path(environment[name]).stat().st_mode) == 0o600


def test_as_one_document(start_dev: Any, ostiary: Any, user_home: Path) -> None:
    dev = start_dev("--no-tcp", "--no-governance", "--no-runtime", "--no-workflow")
    found = ostiary("env", "--json", "--work-dir", "w", "--output", "/o o")
    assert set(found.document) == NAMES | {"SANCTUM_VAULT_PATH"}
    assert found.document["WORK_DIR"] == str(Path.cwd() / "w")
    assert found.document["OUTPUT_PATH"] == "/o o"
    assert "OUTPUT_PATH='/o o'" in ostiary("env", "--output", "/o o").text
    announced = dev.ready["gateway"]
    assert announced["environment"].items() <= (found.document | announced["environment"]).items()
    assert announced["socket"] == found.document["LLM_GATEWAY_SOCKET"]
    assert announced["url"] is None
    # Nothing is allowed but the built-in provider without --demo.
    assert refusal(ask(found.document, "gpt-4o", "openai")) == (403, "provider_not_allowed")


def test_nobody_there(ostiary: Any, start_dev: Any) -> None:
    alone = ostiary("env")
    assert alone.code == 3
    assert alone.out == b""
    assert "ostiary dev" in alone.err
    assert "--socket" not in alone.err  # which this command does not take
    start_dev("--no-tcp", "--no-gateway")
    assert ostiary("env").code == 3


@pytest.fixture
def impostor() -> Iterator[Path]:
    """A home whose sidecar socket is some other server's."""
    home = Path(tempfile.mkdtemp(prefix="oc-", dir="/tmp"))
    with running(home / "other", demo=True, tcp=False) as server:
        os.symlink(server.governance_socket, home / "sidecar.sock")
        yield home
    shutil.rmtree(home)


def test_what_is_no_sidecar_is_not_evaluated(ostiary: Any, impostor: Path) -> None:
    found = ostiary("env", "--home", impostor)
    assert found.code != 0
    assert found.out == b""


@pytest.mark.parametrize(
    "body",
    [b"", b'{"A": 1}', b'{"X; rm -rf ~": "y"}'],
    ids=range(3),
)
def test_an_answer_that_would_be_executed(ostiary: Any, body: bytes) -> None:
    """A name is put into a shell as it is, so that it is looked at first."""
    home = Path(tempfile.mkdtemp(prefix="oc-", dir="/tmp"))
    try:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(home / "sidecar.sock"))
            listening.listen()
            process = subprocess.Popen(
                [*_ostiary(), "env", "--home", str(home)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            one, _ = listening.accept()
            with one:
                one.recv(65536)
                head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
                one.sendall(head + body)
            out, err = process.communicate(timeout=60)
        assert process.returncode == 1
        assert out == b""
        assert b"no sidecar" in err
    finally:
        shutil.rmtree(home)


def _ostiary() -> list[str]:
    from tests.cli.conftest import OSTIARY

    return OSTIARY


def test_settings_of_the_gateway(start_dev: Any, ostiary: Any) -> None:
    dev = start_dev(
        *("--no-tcp", "--quota", "2", "--allow-model", "acme:large-1"),
        *("--allow-model", "embeddings=acme:vectors", "--forward", "acme=http://127.0.0.1:9/v1"),
    )
    environment = dev.ready["gateway"]["environment"]
    # It is forwarded to where nobody listens, and counted.
    assert refusal(ask(environment, "large-1", "acme")) == (503, "upstream_unavailable")
    with Web(environment["LLM_GATEWAY_SOCKET"]) as web:
        body = {"model": "vectors", "input": "x"}
        reply = web.post(EMBED, body, headers=of(environment, "acme"))
        assert refusal(reply) == (503, "upstream_unavailable")
    reply = ask(environment, "large-1", "acme")
    assert refusal(reply) == (429, "rate_limited")
    assert 1 <= int(reply["retry-after"]) <= 60
    log = json.loads(ostiary("vault", "audit", "--json", "--last", "3").out)
    assert "gateway.chat" in json.dumps(log)


def test_a_port_for_a_forwarder(start_dev: Any) -> None:
    dev = start_dev(
        "--port",
        "0",
        "--governance-port",
        "0",
        "--runtime-port",
        "0",
        "--workflow-port",
        "0",
        "--gateway-port",
        "0",
    )
    host, port = dev.ready["gateway"]["url"].removeprefix("http://").split(":")
    with Web((host, int(port))) as web:
        environment = dev.ready["gateway"]["environment"]
        assert web.post(CHAT, asking(), headers=of(environment)).status == 200


SETTINGS: dict[str, Any] = {
    "port": None, "demo": False, "pace": 0.0, "quota": None,
    "forward": (), "allow_model": (), "mcp": (), "allow_tool": (),
}  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"allow_model": ["gpt-4o"]}, "--allow-model"),
        ({"allow_model": ["poetry=a:b"]}, "category"),
        ({"forward": ["acme"]}, "--forward"),
        ({"forward": ["a b=http://localhost:1"]}, "provider"),
        ({"mcp": ["files"]}, "--mcp"),
        ({"mcp": ["files='cat"]}, "quote"),
        ({"allow_tool": ["files"]}, "--allow-tool"),
    ],
)
def test_settings_that_make_no_sense(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidArgumentError, match=said):
        gateway_options(**SETTINGS | wrong)


def test_settings_are_read() -> None:
    options = gateway_options(
        **SETTINGS
        | {
            "mcp": ["files=npx -y 'a server' --root=."],
            "allow_tool": ["files:read", "files:list", "net:get"],
            "allow_model": ["Acme:m:1", "embeddings=acme:e"],
            "forward": ["Acme=http://localhost:1/v1"],
        }
    )
    assert options.mcp == {"files": ("npx", "-y", "a server", "--root=.")}
    assert options.allowed_tools == {"files": ("read", "list"), "net": ("get",)}
    assert options.allowed_models is not None
    assert options.allowed_models["triage"] == ("ostiary:echo", "ostiary:echo-mini", "acme:m:1")
    assert options.allowed_models["embeddings"][-1] == "acme:e"
    assert options.forward["acme"].credential == "acme/api_key"


def test_a_setting_that_cannot_be_is_a_sentence(ostiary: Any) -> None:
    refused = ostiary("dev", "--no-tcp", "--forward", "acme=nowhere")
    assert refused.code == 1
    assert "http://localhost" in refused.err
    assert "Traceback" not in refused.err


def test_the_banner_names_it(terminal: Any, start_dev: Any, ostiary: Any, user_home: Path) -> None:
    done = subprocess.Popen(
        [*_ostiary(), "dev", "--no-tcp", "--demo", "--home", str(user_home / "v")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert done.stdout is not None
    said = ""
    while "Ctrl-C" not in said:
        said += done.stdout.readline().decode()
    done.terminate()
    done.communicate(timeout=60)
    assert "gateway.sock" in said
    assert "sidecar.sock" in said
    assert f'eval "$(ostiary env --home {user_home / "v"})"' in said
