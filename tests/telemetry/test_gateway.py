"""What a tracer is told of calls through the embedded gateway, and what it is not."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("opentelemetry.sdk", reason="opentelemetry-sdk is not installed")

from ostiary.devserver import HttpFault, running
from ostiary.gateway import AsyncGatewayClient, GatewayClient, access_from_environment
from ostiary.gateway.errors import GatewayError, ModelNotAuthorizedError

from .conftest import Recorded

PRIVATE = "a private prompt"
COLOURS = ["sync", "async"]


@pytest.fixture(scope="module")
def gateway() -> Iterator[Any]:
    with running(demo=True, tcp=False) as server:
        yield server.gateway


class Client:
    """A client of either colour, called as the sync one; a stream is read to its end."""

    def __init__(self, gateway: Any, colour: str) -> None:
        self._access = access_from_environment(gateway.environment)
        self._colour = colour

    def do(self, name: str, *arguments: Any, **options: Any) -> Any:
        if self._colour == "sync":
            with GatewayClient(self._access) as client:
                return getattr(client, name)(*arguments, **options)

        async def main() -> Any:
            async with AsyncGatewayClient(self._access) as client:
                return await getattr(client, name)(*arguments, **options)

        return asyncio.run(main())

    def stream(self, prompt: str, *, at_most: int = 1000) -> str:
        def enough(texts: list[str]) -> bool:
            return len(texts) >= at_most

        texts: list[str] = []
        if self._colour == "sync":
            with GatewayClient(self._access) as client, client.stream_chat(prompt) as stream:
                for chunk in stream:
                    texts.append(chunk.text or "")
                    if enough(texts):
                        break
            return "".join(texts)

        async def main() -> None:
            async with (
                AsyncGatewayClient(self._access) as client,
                client.stream_chat(prompt) as stream,
            ):
                async for chunk in stream:
                    texts.append(chunk.text or "")
                    if enough(texts):
                        break

        asyncio.run(main())
        return "".join(texts)


@pytest.fixture(params=COLOURS)
def client(request: pytest.FixtureRequest, gateway: Any) -> Client:
    return Client(gateway, request.param)


def test_a_chat(client: Client, recorded: Recorded) -> None:
    reply = client.do("chat", PRIVATE, model="ostiary:echo", max_tokens=50, seed=3)
    (span,) = recorded.spans
    assert span.name == "chat echo"
    found = dict(span.attributes)
    assert found["gen_ai.operation.name"] == "chat"
    assert found["gen_ai.provider.name"] == "ostiary"
    assert found["gen_ai.request.model"] == "echo"
    assert found["gen_ai.request.max_tokens"] == 50
    assert found["gen_ai.request.seed"] == 3
    assert found["gen_ai.response.id"] == reply.id
    assert found["gen_ai.response.finish_reasons"] == ("stop",)
    assert found["gen_ai.usage.input_tokens"] == reply.usage.prompt_tokens
    assert found["gen_ai.usage.output_tokens"] == reply.usage.completion_tokens
    tokens = recorded.points("gen_ai.client.token.usage")
    assert {labels["gen_ai.token.type"]: total for labels, total, _ in tokens} == {
        "input": reply.usage.prompt_tokens,
        "output": reply.usage.completion_tokens,
    }


def test_no_content_and_no_token_is_told(client: Client, recorded: Recorded, gateway: Any) -> None:
    client.do("chat", PRIVATE)
    assert PRIVATE in client.stream(PRIVATE)
    client.do("embed", [PRIVATE])
    with pytest.raises(GatewayError):
        client.do("chat", f"{PRIVATE}\n/fail 400")
    told = recorded.everything()
    assert len(recorded.spans) == 4
    assert PRIVATE not in told
    assert "private" not in told
    for path in (gateway.svid_file, gateway.trat_file):
        for part in path.read_text().strip().split("."):
            assert part not in told


def test_a_stream_is_one_span_to_its_end(client: Client, recorded: Recorded) -> None:
    client.stream("one two three")
    (span,) = recorded.spans
    found = dict(span.attributes)
    assert found["gen_ai.request.stream"] is True
    assert found["gen_ai.response.finish_reasons"] == ("stop",)
    assert found["gen_ai.usage.output_tokens"] == 3
    assert found["gen_ai.response.time_to_first_chunk"] > 0
    assert "error.type" not in found
    name = "gen_ai.client.operation.time_to_first_chunk"
    assert [count for _, _, count in recorded.points(name)] == [1]


def test_a_stream_that_is_left_early_ends_its_span(client: Client, recorded: Recorded) -> None:
    client.stream("one two three four five", at_most=2)
    (span,) = recorded.spans
    assert "error.type" not in span.attributes


@pytest.mark.parametrize("word", ["/cut 2", "/error 2", "/fail 400"])
def test_a_stream_that_fails_says_how(client: Client, recorded: Recorded, word: str) -> None:
    with pytest.raises(GatewayError) as caught:
        client.stream(f"{word}\none two three four")
    (span,) = recorded.spans
    assert span.attributes["error.type"] == type(caught.value).__name__
    assert span.status.status_code.name == "ERROR"


def test_a_refusal_has_status_and_request_id(client: Client, recorded: Recorded) -> None:
    with pytest.raises(GatewayError) as caught:
        client.do("chat", "/fail 400")
    (span,) = recorded.spans
    assert span.attributes["http.response.status_code"] == 400
    assert span.attributes["ostiary.request_id"] == caught.value.request_id
    ((labels, _, _),) = recorded.points("gen_ai.client.operation.duration")
    assert labels["error.type"] == type(caught.value).__name__


def test_what_is_not_sent_is_no_call(client: Client, recorded: Recorded) -> None:
    with pytest.raises(ModelNotAuthorizedError):
        client.do("chat", "x", model="openai:gpt-huge")
    assert recorded.points("gen_ai.client.token.usage") == []


def test_embeddings(client: Client, recorded: Recorded) -> None:
    found = client.do("embed", ["alpha", "beta"], dimensions=16)
    (span,) = recorded.spans
    assert span.attributes["gen_ai.operation.name"] == "embeddings"
    assert span.attributes["gen_ai.usage.input_tokens"] == found.usage.prompt_tokens
    tokens = recorded.points("gen_ai.client.token.usage")
    assert [labels["gen_ai.token.type"] for labels, _, _ in tokens] == ["input"]


def test_the_call_is_the_parent_of_what_the_gateway_does(
    client: Client, recorded: Recorded, gateway: Any
) -> None:
    """The header names the call's own span, and the call's parent is the caller's."""
    from tests.http.peer import Exchange, HttpPeer

    def answer(exchange: Exchange) -> None:
        exchange.request()
        exchange.json({"error": {"message": "no", "type": "x", "code": "x", "param": None}}, 400)

    with HttpPeer(answer) as peer:
        elsewhere = dict(gateway.environment, LLM_GATEWAY_SOCKET=peer.where)
        client._access = access_from_environment(elsewhere)
        with recorded.tracer.start_as_current_span("mine") as mine, pytest.raises(GatewayError):
            client.do("chat", "x", model="ostiary:echo")
        (asked,) = peer.asked
    call, outer = recorded.spans
    assert outer.name == "mine"
    assert call.parent.span_id == mine.get_span_context().span_id
    assert f"{call.context.span_id:016x}" in (asked.header("traceparent") or "")


def test_a_retry_is_within_the_call(
    client: Client, recorded: Recorded, gateway: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ostiary import _retry

    monkeypatch.setattr(_retry.random, "random", lambda: 0.0)
    gateway.faults.add(HttpFault(path="/v1/*", status=401, times=1))
    client.do("chat", "x", model="ostiary:echo")
    (span,) = recorded.spans
    assert "error.type" not in span.attributes


def test_a_langchain_model_is_told_like_any_other(recorded: Recorded, gateway: Any) -> None:
    pytest.importorskip("langchain_core", reason="langchain-core is not installed")
    from ostiary.gateway import ModelRef
    from ostiary.gateway.llm.gateway_chat import GatewayChatModel

    access = access_from_environment(gateway.environment)
    model = GatewayChatModel(ModelRef.parse("ostiary:echo"), gateway_client=access)
    model.invoke(PRIVATE)
    assert list(model.stream(PRIVATE))
    assert [span.name for span in recorded.spans] == ["chat echo", "chat echo"]
    assert PRIVATE not in recorded.everything()
    model.close()
