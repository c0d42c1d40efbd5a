"""The openai SDK over a Unix socket, as a client of the embedded gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("cryptography", reason="the extra dev is not installed")
from ostiary.devserver import HttpFault, RunningGateway, running

openai = pytest.importorskip("openai", reason="the interop group is not installed")
httpx2 = pytest.importorskip("httpx2", reason="the interop group is not installed")
pydantic = pytest.importorskip("pydantic", reason="the interop group is not installed")

GREP: Any = {
    "type": "function",
    "function": {
        "name": "grep",
        "parameters": {
            "type": "object",
            "properties": {"pattern": {"type": "string"}},
            "required": ["pattern"],
        },
    },
}
BASE = "http://localhost/v1"


@pytest.fixture(scope="module")
def gateway() -> Iterator[RunningGateway]:
    with running(tcp=False, demo=True) as server:
        yield server.gateway


def settings(gateway: RunningGateway, provider: str = "ostiary") -> dict[str, Any]:
    """The SDK's key is the SVID; the rest of the proof goes beside it."""
    return {
        "base_url": BASE,
        "api_key": gateway.default.svid.reveal(),
        "default_headers": {
            "Txn-Token": gateway.default.trat.reveal(),
            "X-Provider": provider,
        },
    }


@pytest.fixture
def client(gateway: RunningGateway) -> Iterator[Any]:
    transport = httpx2.HTTPTransport(uds=str(gateway.socket_path))
    with openai.OpenAI(**settings(gateway), http_client=httpx2.Client(transport=transport)) as one:
        yield one


def ask(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


def test_chat(client: Any) -> None:
    reply = client.chat.completions.create(
        model="echo",
        messages=[{"role": "system", "content": "Be brief."}, *ask("Hello there")],
        temperature=0.5,
        max_completion_tokens=50,
        seed=7,
    )
    assert reply.choices[0].message.content == "Hello there"
    assert reply.choices[0].finish_reason == "stop"
    assert reply.model == "echo"
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + 2
    assert reply.usage.completion_tokens_details.reasoning_tokens == 0
    assert reply.id.startswith("chatcmpl-")


def test_stream(client: Any) -> None:
    with client.chat.completions.create(
        model="echo",
        messages=ask("one two three"),
        stream=True,
        stream_options={"include_usage": True},
    ) as stream:
        chunks = list(stream)
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == "one two three"
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == 3
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"


def test_tools(client: Any) -> None:
    reply = client.chat.completions.create(
        model="echo", messages=ask("Use grep for 'socket'."), tools=[GREP]
    )
    (call,) = reply.choices[0].message.tool_calls
    assert reply.choices[0].message.content is None
    assert reply.choices[0].finish_reason == "tool_calls"
    assert (call.function.name, call.function.arguments) == ("grep", '{"pattern":"socket"}')
    result = {"role": "tool", "tool_call_id": call.id, "content": "net.py:12"}
    again = client.chat.completions.create(
        model="echo",
        messages=[*ask("Use grep."), reply.choices[0].message, result],
        tools=[GREP],
    )
    assert again.choices[0].message.content == "The tool says: net.py:12"


def test_streamed_tools(client: Any) -> None:
    """The SDK's own accumulator puts the fragments together."""
    with client.chat.completions.stream(
        model="echo", messages=ask("Use grep for 'socket'."), tools=[GREP]
    ) as stream:
        for _ in stream:
            pass
        reply = stream.get_final_completion()
    (call,) = reply.choices[0].message.tool_calls
    assert call.function.arguments == '{"pattern":"socket"}'


def test_structured_output(client: Any) -> None:
    class Step(pydantic.BaseModel):  # type: ignore[name-defined, misc]
        title: str
        minutes: int

    class Plan(pydantic.BaseModel):  # type: ignore[name-defined, misc]
        goal: str
        steps: list[Step]

    reply = client.chat.completions.parse(
        model="echo", messages=ask("Plan 'lunch': 'cook' for 30 minutes"), response_format=Plan
    )
    plan = reply.choices[0].message.parsed
    assert plan.goal == "lunch"
    assert plan.steps == [Step(title="cook", minutes=30)]


def test_embeddings(client: Any) -> None:
    """The SDK asks for base64 unasked, and decodes it."""
    reply = client.embeddings.create(model="hash", input=["alpha", "beta"], dimensions=8)
    assert [one.index for one in reply.data] == [0, 1]
    assert [len(one.embedding) for one in reply.data] == [8, 8]
    plain = client.embeddings.create(
        model="hash", input="alpha", dimensions=8, encoding_format="float"
    )
    assert reply.data[0].embedding == pytest.approx(plain.data[0].embedding, abs=1e-6)


def test_models(client: Any) -> None:
    assert {one.id for one in client.models.list()} >= {"echo", "hash"}


def test_errors(client: Any, gateway: RunningGateway) -> None:
    once = client.with_options(max_retries=0)
    for prompt, error in (
        ("/fail 400", openai.BadRequestError),
        ("/fail 401", openai.AuthenticationError),
        ("/fail 403", openai.PermissionDeniedError),
        ("/fail 429 1", openai.RateLimitError),
        ("/fail 500", openai.InternalServerError),
    ):
        with pytest.raises(error) as refused:
            once.chat.completions.create(model="echo", messages=ask(prompt))
        assert refused.value.code
        assert refused.value.request_id == gateway.calls()[-1].request_id
    with pytest.raises(openai.PermissionDeniedError) as refused:
        once.chat.completions.create(model="gpt-huge", messages=ask("hello"))
    assert refused.value.code == "model_not_allowed"
    assert refused.value.param == "model"
    with pytest.raises(openai.APIError):
        list(once.chat.completions.create(model="echo", messages=ask("/error 2"), stream=True))


def test_it_retries_as_it_is_told(client: Any, gateway: RunningGateway) -> None:
    gateway.faults.add(HttpFault(path="/v1/*", status=429, times=1, headers={"Retry-After": "1"}))
    reply = client.chat.completions.create(model="echo", messages=ask("patience"))
    assert reply.choices[0].message.content == "patience"


def test_other_providers_are_played(gateway: RunningGateway) -> None:
    transport = httpx2.HTTPTransport(uds=str(gateway.socket_path))
    for provider, model in (("openai", "gpt-4o"), ("anthropic", "claude-sonnet-4-5")):
        with openai.OpenAI(
            **settings(gateway, provider), http_client=httpx2.Client(transport=transport)
        ) as client:
            reply = client.chat.completions.create(model=model, messages=ask("Hello"))
            assert (reply.model, reply.choices[0].message.content) == (model, "Hello")
        transport = httpx2.HTTPTransport(uds=str(gateway.socket_path))


def test_async(gateway: RunningGateway) -> None:
    async def main() -> list[str]:
        transport = httpx2.AsyncHTTPTransport(uds=str(gateway.socket_path))
        async with openai.AsyncOpenAI(
            **settings(gateway), http_client=httpx2.AsyncClient(transport=transport)
        ) as client:

            async def one(number: int) -> str:
                stream = await client.chat.completions.create(
                    model="echo", messages=ask(f"number {number}"), stream=True
                )
                async with stream:
                    return "".join([c.choices[0].delta.content or "" async for c in stream])

            return await asyncio.gather(*map(one, range(20)))

    assert asyncio.run(main()) == [f"number {number}" for number in range(20)]
