"""The LiteLLM proxy, a real server of the OpenAI wire, as the upstream of the embedded gateway.

Its models answer by themselves, from its own `mock_response` setting; everything else about it
is as it would be in production: keys, errors, streams.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("cryptography", reason="the extra dev is not installed")

from ostiary.devserver import ForwardOptions, GatewayOptions, RunningVault, running
from ostiary.errors import OstiaryError
from ostiary.gateway import GatewayClient, GatewayUnavailableError, access_from_environment
from ostiary.http import Pool
from tests.devserver.gateway import CHAT, EMBED, asking, proof, refusal, stream
from tests.devserver.web import Web
from tests.interop.environment import peers_python

# It bounds a hang; to start the proxy takes a quarter of a minute.
pytestmark = pytest.mark.timeout(240)

CONFIG = """
model_list:
  - model_name: gpt-test
    litellm_params: {model: openai/gpt-test, api_key: none, mock_response: "from the upstream"}
  - model_name: gpt-busy
    litellm_params: {model: openai/gpt-busy, api_key: none, mock_response: "litellm.RateLimitError"}
  - model_name: gpt-down
    litellm_params:
      {model: openai/gpt-down, api_key: none, mock_response: "litellm.InternalServerError"}
  - model_name: gpt-tool
    litellm_params:
      model: openai/gpt-tool
      api_key: none
      mock_response: ""
      mock_tool_calls:
        - {id: call_1, type: function, function: {name: grep, arguments: '{"pattern": "x"}'}}
  - model_name: embed-test
    litellm_params: {model: openai/embed-test, api_key: none, mock_response: [0.6, 0.8]}
general_settings:
  master_key: os.environ/LITELLM_MASTER_KEY
router_settings:
  num_retries: 0
  disable_cooldowns: true
"""
MODELS = tuple(f"openai:gpt-{name}" for name in ("test", "busy", "down", "tool", "unknown"))
KEY = "sk-" + secrets.token_hex(24)


class Proxy:
    """The running proxy."""

    def __init__(self, here: Path) -> None:
        (here / "config.yaml").write_text(CONFIG)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        python = Path(peers_python())
        self.log = here / "log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    str(python.with_name("litellm")),
                    *("--config", str(here / "config.yaml")),
                    *("--host", "127.0.0.1", "--port", str(self.port)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=here,
                env=os.environ
                | {"LITELLM_MASTER_KEY": KEY, "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
            )

    def wait(self) -> None:
        with Pool(self.url, timeout=5, max_retries=0) as pool:
            for _ in range(1200):
                assert self._process.poll() is None, self.log.read_text()[-2000:]
                try:
                    pool.request("GET", "/health/liveliness")
                    return
                except OstiaryError:
                    time.sleep(0.1)
        pytest.fail(self.log.read_text()[-2000:])

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    one = Proxy(tmp_path_factory.mktemp("litellm"))
    try:
        one.wait()
        yield one
    finally:
        one.stop()


@pytest.fixture(scope="module")
def server(proxy: Proxy) -> Iterator[RunningVault]:
    options = GatewayOptions(
        forward={
            "openai": ForwardOptions(base_url=f"{proxy.url}/v1", credential="openai/api_key"),
            "wrong": ForwardOptions(base_url=f"{proxy.url}/v1", credential="wrong/api_key"),
        },
        allowed_models={
            "analysis": (*MODELS, "wrong:gpt-test"),
            "embeddings": ("openai:embed-test",),
        },
    )
    with running(tcp=False, gateway=options) as one:
        one.put("openai/api_key", KEY)
        one.put("wrong/api_key", "sk-not-the-key-of-this-proxy")
        yield one


@pytest.fixture
def web(server: RunningVault) -> Iterator[Web]:
    with Web(server.gateway.socket_path) as one:
        yield one


def test_an_answer_of_the_upstream(server: RunningVault, web: Web) -> None:
    gateway = server.gateway
    reply = web.post(CHAT, asking(model="gpt-test"), headers=proof(gateway, "openai"))
    assert reply.status == 200
    document = reply.document
    assert document["choices"][0]["message"]["content"] == "from the upstream"
    last = gateway.calls()[-1]
    assert (last.provider, last.model, last.status) == ("openai", "gpt-test", 200)
    assert last.prompt_tokens == document["usage"]["prompt_tokens"] > 0
    assert last.completion_tokens == document["usage"]["completion_tokens"] > 0


def test_the_key_is_the_vaults_and_its_use_is_on_record(server: RunningVault, web: Web) -> None:
    headers = proof(server.gateway, "openai")
    assert web.post(CHAT, asking(model="gpt-test"), headers=headers).status == 200
    uses = [
        entry
        for entry in server.admin.audit(limit=20)
        if (entry.event_type, entry.resource) == ("credential.use", "openai/api_key")
    ]
    assert uses
    assert server.admin.audit_verify().valid


def test_a_stream_of_the_upstream(server: RunningVault, web: Web) -> None:
    headers = proof(server.gateway, "openai")
    document = asking(model="gpt-test", stream_options={"include_usage": True})
    found = stream(web, document, headers)
    assert found[-1] == "[DONE]"
    pieces = [
        one["choices"][0]["delta"].get("content") or "" for one in found[:-1] if one["choices"]
    ]
    assert "".join(pieces) == "from the upstream"
    assert len([piece for piece in pieces if piece]) > 1
    # The connection is as good as new.
    assert web.post(CHAT, asking(model="gpt-test"), headers=headers).status == 200
    assert server.gateway.calls()[-2].completion_tokens > 0


def test_tools_of_the_upstream(server: RunningVault, web: Web) -> None:
    reply = web.post(CHAT, asking(model="gpt-tool"), headers=proof(server.gateway, "openai"))
    (call,) = reply.document["choices"][0]["message"]["tool_calls"]
    assert call["function"]["name"] == "grep"
    assert json.loads(call["function"]["arguments"]) == {"pattern": "x"}


def test_vectors_of_the_upstream(server: RunningVault, web: Web) -> None:
    document = {"model": "embed-test", "input": ["alpha"]}
    reply = web.post(EMBED, document, headers=proof(server.gateway, "openai"))
    assert reply.document["data"][0]["embedding"] == [0.6, 0.8]


@pytest.mark.parametrize(
    ("provider", "model", "status", "code"),
    [
        ("openai", "gpt-busy", 429, "rate_limited"),
        ("openai", "gpt-down", 502, "upstream_error"),
        ("openai", "gpt-unknown", 400, "invalid_request"),
        # Without a database LiteLLM calls a key that it does not know a bad request.
        ("wrong", "gpt-test", 400, "invalid_request"),
    ],
)
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
def test_what_the_upstream_refuses(
    server: RunningVault,
    web: Web,
    provider: str,
    model: str,
    status: int,
    code: str,
    streamed: bool,
) -> None:
    headers = proof(server.gateway, provider)
    reply = web.post(CHAT, asking(model=model, stream=streamed), headers=headers)
    assert refusal(reply) == (status, code)
    assert KEY not in reply.body.decode()
    assert "sk-" not in reply.body.decode()
    if status == 429:
        assert int(reply["retry-after"]) >= 1


def test_our_client_through_both(server: RunningVault) -> None:
    """The whole way of a call: client, gateway, LiteLLM, and back."""
    with GatewayClient(access_from_environment(server.gateway.environment)) as client:
        reply = client.chat("hello", model="openai:gpt-test")
        assert reply.text == "from the upstream"
        with client.stream_chat("hello", model="openai:gpt-test") as stream:
            assert "".join(chunk.text or "" for chunk in stream) == "from the upstream"
        (call,) = client.chat("hello", model="openai:gpt-tool").tool_calls
        assert call.json() == {"pattern": "x"}
        assert client.embed(["alpha"], model="openai:embed-test").vectors == [[0.6, 0.8]]
        with pytest.raises(GatewayUnavailableError):
            client.chat("hello", model="openai:gpt-down", timeout=20)


def test_the_callers_tokens_do_not_leave_the_gateway(
    server: RunningVault, proxy: Proxy, web: Web
) -> None:
    headers: dict[str, Any] = proof(server.gateway, "openai")
    assert web.post(CHAT, asking(model="gpt-test"), headers=headers).status == 200
    log = proxy.log.read_text()
    assert headers["Txn-Token"] not in log
    assert headers["Authorization"].split()[1] not in log
