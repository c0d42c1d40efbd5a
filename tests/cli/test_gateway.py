"""`ostiary gateway`: models and tools from the shell, as the environment's identity."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from ostiary.devserver import GatewayOptions, running
from tests.http.peer import HttpPeer, script
from tests.langchain.peers import delta, streams

from .conftest import Done

TOOLS = Path(__file__).parents[1] / "mcp" / "tools_server.py"
HAS_MCP = importlib.util.find_spec("mcp") is not None
needs_mcp = pytest.mark.skipif(not HAS_MCP, reason="the extra mcp is not installed")

Gateway = Callable[..., Done]


@pytest.fixture(scope="module")
def server() -> Generator[Any, None, None]:
    mcp = {"tools": (sys.executable, str(TOOLS))} if HAS_MCP else {}
    options = GatewayOptions(mcp=mcp, allowed_tools={"tools": ("echo", "add", "fail")})
    with running(demo=True, tcp=False, gateway=options) as one:
        yield one.gateway


@pytest.fixture
def gateway(ostiary: Any, server: Any) -> Gateway:
    """Run `ostiary gateway ...` where the environment names the gateway; `also` changes it."""

    def run(*arguments: str, stdin: bytes = b"", also: dict[str, str] | None = None) -> Done:
        env = {**server.environment, **(also or {})}
        done = ostiary("gateway", *arguments, stdin=stdin, env=env)
        assert isinstance(done, Done)
        return done

    return run


def test_chat_prints_the_answer_and_nothing_else(gateway: Gateway) -> None:
    done = gateway("chat", "hello there")
    assert (done.code, done.text, done.err) == (0, "hello there\n", "")


@pytest.mark.parametrize("how", [(), ("--no-stream",)], ids=["streamed", "whole"])
def test_chat_reads_stdin(gateway: Gateway, how: tuple[str, ...]) -> None:
    done = gateway("chat", *how, "--system", "be brief", stdin="grüß dich\n".encode())
    assert done.code == 0
    assert done.text.strip() == "grüß dich"


def test_chat_as_json_has_all_there_is_to_know(gateway: Gateway) -> None:
    done = gateway("chat", "--json", '/call grep {"pattern": "x"}', "-m", "reasoning")
    found = done.document
    assert found["finish_reason"] == "tool_calls"
    (call,) = found["tool_calls"]
    assert call["name"] == "grep"
    assert json.loads(call["arguments"]) == {"pattern": "x"}
    assert found["usage"]["total_tokens"] > 0
    assert found["model"] == "echo"


def test_chat_says_what_the_text_does_not(gateway: Gateway) -> None:
    done = gateway("chat", '/call grep {"pattern": "x"}', "--usage")
    assert done.text == ""
    assert "the model asks for 1 tool call: grep" in done.err
    assert "tokens in" in done.err
    cut = gateway("chat", "one two three four", "--max-tokens", "1")
    assert "the answer was cut off" in cut.err
    refused = gateway("chat", "--no-stream", "/refuse not that")
    assert "the model refused: not that" in refused.err


def test_chat_chooses_the_model(gateway: Gateway) -> None:
    done = gateway("chat", "--json", "-m", "ostiary:echo-mini", "hi")
    assert done.document["model"] == "echo-mini"


def test_a_model_that_is_not_allowed(gateway: Gateway) -> None:
    done = gateway("chat", "-m", "openai:gpt-huge", "hi")
    assert done.code == 1
    assert done.out == b""
    assert "openai:gpt-huge is not allowed" in done.err
    assert "next: `ostiary gateway token` shows what this run may use" in done.err
    assert gateway("chat", "-m", "openai:gpt-huge", "hi", "--exit-codes").code == 21


def test_an_answer_that_breaks_off_keeps_its_line(gateway: Gateway) -> None:
    done = gateway("chat", "/cut 2\nhello there you")
    assert done.code == 3
    assert done.text.endswith("\n")
    assert done.err.startswith("error: ")


def test_an_empty_prompt_is_no_request(gateway: Gateway) -> None:
    done = gateway("chat", stdin=b" \n")
    assert done.code == 1
    assert "the prompt is empty" in done.err


def test_stdin_that_is_no_text(gateway: Gateway) -> None:
    done = gateway("chat", stdin=b"\xff\xfe")
    assert done.code == 1
    assert "not UTF-8" in done.err


def test_embed_shows_what_vectors_begin_with(gateway: Gateway) -> None:
    done = gateway("embed", "alpha", "beta", "--dimensions", "16")
    header, first, second = done.text.splitlines()
    assert header.split() == ["text", "dimensions", "begins", "with"]
    assert first.split()[:2] == ["alpha", "16"]
    assert second.split()[:2] == ["beta", "16"]


def test_embed_as_json_has_the_vectors_in_order(gateway: Gateway) -> None:
    both = gateway("embed", "--json", stdin=b"alpha\n\nbeta\n").document
    one = gateway("embed", "--json", "beta").document
    assert len(both["vectors"]) == 2
    assert both["vectors"][1] == one["vectors"][0]
    assert both["usage"]["prompt_tokens"] > 0


def test_nothing_to_embed(gateway: Gateway) -> None:
    done = gateway("embed", stdin=b"\n")
    assert done.code == 1
    assert "nothing to embed" in done.err


def test_health(gateway: Gateway, server: Any) -> None:
    done = gateway("health")
    assert done.code == 0
    assert done.text.startswith(f"unix://{server.socket_path} serves (")
    found = gateway("health", "--json").document
    assert found["healthy"] is True
    assert found["endpoint"] == f"unix://{server.socket_path}"


def test_health_of_nobody(gateway: Gateway) -> None:
    elsewhere = {"LLM_GATEWAY_SOCKET": "/tmp/no-gateway-here.sock"}
    done = gateway("health", also=elsewhere)
    assert done.code == 3
    assert done.out == b""
    assert "does not serve" in done.err
    assert gateway("health", "--json", also=elsewhere).document["healthy"] is False


def test_a_gateway_that_is_not_there(gateway: Gateway) -> None:
    done = gateway("chat", "hi", also={"LLM_GATEWAY_SOCKET": "/tmp/no-gateway-here.sock"})
    assert done.code == 3
    assert "next: start a gateway with `ostiary dev`" in done.err


def test_an_environment_that_names_nothing(ostiary: Any) -> None:
    done = ostiary("gateway", "chat", "hi", env={"SPIFFE_JWT_PATH": ""})
    assert done.code == 1
    assert 'eval "$(ostiary env)"' in done.err
    again = ostiary("gateway", "chat", "hi", "--exit-codes", env={"SPIFFE_JWT_PATH": ""})
    assert again.code == 43


def tokens(server: Any) -> list[str]:
    found: list[str] = []
    for path in (server.svid_file, server.trat_file):
        found += path.read_text().strip().split(".")[1:]
    return found


@pytest.mark.parametrize("how", [(), ("--json",), ("svid",), ("trat", "--json")])
def test_token_shows_claims_and_never_the_token(
    gateway: Gateway, server: Any, how: tuple[str, ...]
) -> None:
    done = gateway("token", *how)
    assert done.code == 0
    for part in tokens(server):
        assert part not in done.text + done.err
    if "--json" not in how:
        assert "spiffe://" in done.text


def test_token_as_json(gateway: Gateway, server: Any) -> None:
    found = gateway("token", "--json").document
    assert found["svid"]["sub"] == found["trat"]["req_wl"]
    assert found["trat"]["tctx"]["run_id"] == server.environment["RUN_ID"]
    assert "ostiary:echo" in found["trat"]["tctx"]["allowed_models"]["analysis"]
    assert found["trat"]["exp"] > found["trat"]["iat"]


def test_token_raw_is_the_token_alone(gateway: Gateway, server: Any) -> None:
    assert gateway("token", "--raw").text == server.trat_file.read_text().strip() + "\n"
    assert gateway("token", "svid", "--raw").text == server.svid_file.read_text().strip() + "\n"


def test_a_token_that_is_not_there(gateway: Gateway) -> None:
    done = gateway("token", "--exit-codes", also={"SPIFFE_JWT_PATH": "/tmp/no-svid-here"})
    assert done.code == 11
    assert "next: " in done.err


DIRECT = {
    "SAGE_SANCTUM_ALLOW_DIRECT": "1",
    "OPENAI_API_KEY": "sk-invented",
    "SPIFFE_JWT_PATH": "",
    "TRAT_FILE": "",
    "AUTH_SIDECAR_SOCKET": "",
    "LLM_GATEWAY_SOCKET": "",
}


def test_direct_mode_takes_a_key_that_lies_in_the_vault(served: Any) -> None:
    served.run("vault", "put", "openai/key", stdin=b"sk-of-the-vault")
    served.run("vault", "agent", "add", "talker", "--allow", "openai/*")
    reply = streams(delta(content="Well."), delta(finish="stop"))
    with HttpPeer(script(reply)) as peer:
        env = DIRECT | {
            "OPENAI_API_KEY": "vault:openai/key",
            "OPENAI_BASE_URL": peer.url("/v1"),
            "OSTIARY_VAULT_AGENT": "talker",
        }
        done = served.run("gateway", "chat", "-m", "openai:gpt-4o", "hi", env=env)
        assert (done.code, done.text, done.err) == (0, "Well.\n", "")
        assert peer.asked[0].header("authorization") == "Bearer sk-of-the-vault"
        env["OPENAI_API_KEY"] = "vault:openai/nothing"
        none = served.run("gateway", "chat", "-m", "openai:gpt-4o", "hi", env=env)
        assert none.code == 1
        assert "vault:openai/nothing refers to cannot be had" in none.err
        del env["OSTIARY_VAULT_AGENT"]
        nobody = served.run("gateway", "chat", "-m", "openai:gpt-4o", "hi", env=env)
        assert nobody.code == 1
        assert "OSTIARY_VAULT_AGENT" in nobody.err
    assert len(peer.asked) == 1
    assert served.run("vault", "lease", "ls", "--json").document == {"leases": []}


def test_direct_mode_has_no_gateway_and_no_tokens(ostiary: Any) -> None:
    env = DIRECT
    shown = ostiary("gateway", "token", env=env)
    assert shown.code == 0
    assert shown.text.count("none, as in direct mode") == 2
    for command in (("health",), ("token", "--raw")):
        done = ostiary("gateway", *command, "--exit-codes", env=env)
        assert done.code == 43
        assert "direct" in done.err


@needs_mcp
def test_tools_are_listed_as_the_token_allows(gateway: Gateway) -> None:
    assert gateway("tools").text.splitlines()[1].split(maxsplit=1) == ["tools", "echo, add, fail"]
    listed = gateway("tools", "tools").text.splitlines()
    assert [line.split()[0] for line in listed[1:]] == ["echo", "add", "fail"]
    assert gateway("tools", "--json").document == {"tools": ["echo", "add", "fail"]}
    names = [tool["name"] for tool in gateway("tools", "tools", "--json").document]
    assert names == ["echo", "add", "fail"]


@needs_mcp
def test_a_tool_is_called(gateway: Gateway) -> None:
    assert gateway("call", "tools", "echo", '{"text": "hello"}').text == "hello\n"
    found = gateway("call", "tools", "add", "-", "--json", stdin=b'{"a": 1, "b": 2}').document
    assert found["structured"] == {"sum": 3}


@needs_mcp
def test_a_tool_that_fails_or_may_not_be_called(gateway: Gateway) -> None:
    failed = gateway("call", "tools", "fail")
    assert failed.code == 1
    assert failed.text == "it did not work\n"
    refused = gateway("call", "tools", "hang", "--exit-codes")
    assert refused.code == 22
    assert "nothing was sent" in refused.err
    assert gateway("call", "tools", "echo", "[]").code == 1


def test_help_imports_nothing_heavy(ostiary: Any) -> None:
    done = ostiary("gateway", "chat", "--help")
    assert done.code == 0
    assert "PROVIDER:MODEL" in done.text


def test_doctor_looks_at_the_gateway(ostiary: Any, server: Any) -> None:
    done = ostiary("doctor", "--json", env=server.environment)
    checks = {one["check"]: one for one in done.document["findings"]}
    assert checks["tokens"]["status"] == "ok"
    assert "serves" in checks["its answer"]["found"]
    nowhere = {**server.environment, "LLM_GATEWAY_SOCKET": "/tmp/no-gateway-here.sock"}
    found = ostiary("doctor", "--json", env=nowhere).document["findings"]
    assert any(one["status"] == "fail" and "does not serve" in one["found"] for one in found)
