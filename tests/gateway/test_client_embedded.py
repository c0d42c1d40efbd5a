"""The typed client against the embedded gateway: real tokens, real refusals, many at once."""

from __future__ import annotations

import asyncio
import copy
import pickle
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest

from ostiary.devserver import HttpFault
from ostiary.gateway import (
    AsyncGatewayClient,
    ChatChunk,
    ChatReply,
    ConfigurationError,
    Embeddings,
    GatewayAccess,
    GatewayClient,
    Message,
    ModelCategory,
    ModelNotAuthorizedError,
    RateLimitError,
    Tool,
    ToolCall,
    Usage,
    access_from_environment,
)
from ostiary.gateway.errors import (
    GatewayArgumentError,
    GatewayConnectionLostError,
    GatewayDeadlineError,
    GatewayError,
)
from tests.frames import recorded

from .clients import Client, Connect

pytestmark = pytest.mark.usefixtures("at_once")


class City(msgspec.Struct):
    """A city."""

    name: str
    people: int
    twins: list[City] = []


def test_chat_stream_and_vectors(embedded: Client) -> None:
    assert embedded.chat("one two").text == "one two"
    stream = embedded.stream_chat("one two three")
    assert "".join(each.text for each in stream) == "one two three"
    assert stream.reply.finish_reason == "stop"
    assert stream.reply.usage.completion_tokens == 3
    found = embedded.embed([f"text {n}" for n in range(30)], batch_size=7)
    again = embedded.embed("text 29", encoding_format="base64")
    assert found.vectors[29] == pytest.approx(again.vectors[0], rel=1e-6)
    assert embedded.health() is True
    assert embedded.usage.calls == 4


@pytest.mark.parametrize(
    "model", ["ostiary:echo", "openai:gpt-4o", "claude-sonnet-4-5", "gemini-2.5-flash"]
)
def test_shapes_by_every_provider(embedded: Client, model: str) -> None:
    """Held to a schema, or made to call a tool: one spelling for both."""
    found = embedded.chat("Rome has 3 million people", response_format=City, model=model)
    assert isinstance(found.parsed, City)
    assert found.parsed.people == 3
    streamed = embedded.stream_chat("Rome has 3 million", response_format=City, model=model)
    assert isinstance(streamed.collect().parsed, City)


def test_a_tool_is_called_and_answered(embedded: Client) -> None:
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    tool = Tool.of(add)
    asked = Message.user('/call add {"a": 4, "b": 5}')
    found = embedded.chat([asked], tools=[tool])
    (call,) = found.tool_calls
    told = call.result(str(tool.run(call)))
    last = embedded.chat([asked, found.message, told], tools=[tool])
    assert "9" in last.text
    stream = embedded.stream_chat([asked], tools=[tool])
    assert stream.collect().tool_calls[0].json() == {"a": 4, "b": 5}


def test_a_call_that_cannot_be_made_is_answered_too(embedded: Client) -> None:
    asked = Message.user('/badcall add {"a": ')
    found = embedded.chat([asked], tools=[{"name": "add"}])
    (bad,) = found.invalid_tool_calls
    with pytest.raises(GatewayArgumentError):
        found.message.tool_calls[0].json()
    assert embedded.chat([asked, found.message, bad.result()]).text


@pytest.mark.parametrize("word", ["/cut 1", "/error 1"])
def test_streams_that_fail(embedded: Client, word: str) -> None:
    stream = embedded.stream_chat(f"{word}\none two three")
    with pytest.raises(GatewayError) as caught:
        for _ in stream:
            pass
    assert isinstance(caught.value, GatewayConnectionLostError) == word.startswith("/cut")
    assert embedded.chat("still here").text == "still here"


def test_what_the_server_refuses(embedded: Client) -> None:
    with pytest.raises(RateLimitError) as caught:
        embedded.chat("/fail 429 86400")
    assert caught.value.retry_after == 86400
    with pytest.raises(ModelNotAuthorizedError):
        embedded.chat("x", model="openai:gpt-huge")


def test_tokens_that_are_revoked_are_renewed(embedded: Client, gateway: Any) -> None:
    assert embedded.chat("before").text == "before"
    gateway.revoke()
    assert embedded.chat("after").text == "after"
    gateway.revoke()
    assert embedded.stream_chat("streamed").collect().text == "streamed"
    gateway.revoke()
    assert embedded.embed("x").vectors


def test_many_calls_at_once_while_tokens_change(gateway: Any) -> None:
    async def main() -> None:
        access = access_from_environment(gateway.environment)
        async with AsyncGatewayClient(access) as client:
            await client.chat("before")
            gateway.revoke()
            calls = [client.chat(f"call {n}") for n in range(100)]
            found = await asyncio.gather(*calls)
            assert [each.text for each in found] == [f"call {n}" for n in range(100)]
            assert client.usage.calls == 101

    asyncio.run(main())


def test_a_hundred_streams_on_one_thread(gateway: Any) -> None:
    async def main() -> None:
        access = access_from_environment(gateway.environment)
        async with AsyncGatewayClient(access) as client:
            before = threading.active_count()

            async def one(number: int) -> str:
                return "".join([each.text async for each in client.stream_chat(f"a {number} b")])

            found = await asyncio.gather(*(one(n) for n in range(100)))
            assert found == [f"a {n} b" for n in range(100)]
            assert threading.active_count() == before

    asyncio.run(main())


def test_one_client_in_many_threads(gateway: Any) -> None:
    with GatewayClient(access_from_environment(gateway.environment)) as client:

        def one(number: int) -> str:
            if number % 2:
                return client.stream_chat(f"call {number}").collect().text
            return client.chat(f"call {number}").text

        with ThreadPoolExecutor(8) as threads:
            assert list(threads.map(one, range(60))) == [f"call {n}" for n in range(60)]
        assert client.usage.calls == 60


def test_a_lost_connection_is_paid_for_once(embedded: Client, gateway: Any) -> None:
    before = len(gateway.calls())
    gateway.faults.add(HttpFault(path="/v1/chat/completions", status=503, times=1))
    with pytest.raises(GatewayError):
        embedded.chat("x")
    gateway.faults.add(HttpFault(path="/v1/chat/completions", status=503, times=1))
    assert embedded.chat("x", idempotency_key=True).text == "x"
    assert len(gateway.calls()) > before


def test_a_token_that_does_not_come_has_the_time_of_the_call() -> None:
    class Stuck(GatewayAccess):
        """A sidecar that never answers."""

        is_gateway_mode = True

        def get_credentials(self) -> Any:
            raise NotImplementedError

        def get_endpoint(self, provider: str) -> str:
            return "unix:///nowhere"

        async def get_trat_async(self) -> Any:
            await asyncio.Event().wait()

    async def main() -> None:
        async with AsyncGatewayClient(Stuck(), timeout=0.2) as client:
            with pytest.raises(GatewayDeadlineError):
                await client.chat("x")
            with pytest.raises(GatewayDeadlineError):
                await client.stream_chat("x")
            with pytest.raises(GatewayDeadlineError):
                await client.embed("x")

    asyncio.run(main())


# --- the client itself


def test_the_environment_is_enough(
    colour: str, connect: Connect, gateway: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SAGE_SANCTUM_ALLOW_DIRECT", raising=False)
    for name, value in gateway.environment.items():
        monkeypatch.setenv(name, value)
    client = connect(None)
    assert client.chat("x").text == "x"
    assert client.chat("x", model=ModelCategory.TRIAGE).text == "x"
    monkeypatch.setenv("OSTIARY_GATEWAY_TIMEOUT_SECONDS", "nonsense")
    with pytest.raises(ConfigurationError):
        connect(None)


def test_nothing_is_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SPIFFE_JWT_PATH", "LLM_GATEWAY_SOCKET", "SAGE_SANCTUM_ALLOW_DIRECT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigurationError):
        GatewayClient()


def test_direct_mode_has_a_model_for_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SPIFFE_JWT_PATH", "LLM_GATEWAY_SOCKET", "GATEWAY_SOCKET", "OPENAI_MODEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SAGE_SANCTUM_ALLOW_DIRECT", "1")
    monkeypatch.setenv("SAGE_MODEL", "claude-test")
    with GatewayClient() as client:
        assert "direct" in repr(client)


@pytest.mark.parametrize("kind", [GatewayClient, AsyncGatewayClient], ids=["sync", "async"])
def test_a_client_travels_without_its_tokens(kind: Any, gateway: Any) -> None:
    client = kind(access_from_environment(gateway.environment), max_connections=3, timeout=7)
    if kind is GatewayClient:
        client.chat("x")
    sent = pickle.dumps(client)
    for token in (gateway.svid_file.read_bytes(), gateway.trat_file.read_bytes()):
        assert token.strip() not in sent
    arrived = pickle.loads(sent)
    assert arrived.usage.calls == 0
    if kind is GatewayClient:
        assert arrived.chat("x").text == "x"
        arrived.close()
        client.close()


@pytest.mark.parametrize(
    "options",
    [
        {"timeout": 0},
        {"max_retries": -1},
        {"max_connections": 0},
        {"idle_timeout": "x"},
        {"parser": "lenient"},
        {"limits": 5},
        {"models": "openai:gpt-4o"},
        {"token_budget": 0},
        {"on_retry": 5},
        {"expected_uid": -1},
    ],
    ids=lambda options: next(iter(options)),
)
def test_settings_that_cannot_be_meant(colour: str, gateway: Any, options: Any) -> None:
    kind: Any = GatewayClient if colour == "sync" else AsyncGatewayClient
    with pytest.raises(GatewayArgumentError):
        kind(access_from_environment(gateway.environment), **options)


def test_tls_for_a_socket_cannot_be_meant(connect: Connect, gateway: Any) -> None:
    client = connect(
        access_from_environment(gateway.environment), ssl_context=ssl.create_default_context()
    )
    with pytest.raises(GatewayArgumentError):
        client.chat("x")
    with pytest.raises(GatewayArgumentError):
        client.health()


def test_what_comes_back_travels() -> None:
    values = (
        ChatReply("x", (ToolCall("i", "n"),), usage=Usage(1, 2, 3)),
        ChatChunk("x"),
        Message.user("x", {"type": "text", "text": "y"}),
        Embeddings([[1.0]], Usage(1), "m"),
    )
    for value in values:
        assert pickle.loads(pickle.dumps(value)) == copy.deepcopy(value) == value


@pytest.mark.parametrize("word", ["/fail 400", "/fail 401", "/cut 1"])
def test_no_token_in_any_frame(embedded: Client, gateway: Any, word: str) -> None:
    """What a traceback records of our frames is no token."""
    with pytest.raises(GatewayError) as caught:
        embedded.stream_chat(f"{word}\none two").collect()
    shown = recorded(caught.value)
    for file in (gateway.svid_file, gateway.trat_file):
        assert file.read_text().strip() not in shown
    assert "one two" not in str(caught.value)


def test_connections_outlive_a_burst_of_calls(gateway: Any) -> None:
    """Each burst goes on the connections of the one before."""

    async def main() -> None:
        async with AsyncGatewayClient(
            access_from_environment(gateway.environment), max_connections=40
        ) as client:
            for _ in range(3):
                await asyncio.gather(*(client.chat(f"/echo {n}") for n in range(120)))
            (line,) = client._lines.values()
            assert line.pool.open_connections == line.pool.idle_connections == 40

    asyncio.run(main())
