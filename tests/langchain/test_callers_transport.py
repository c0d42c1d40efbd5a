"""An `http_client` that the caller brings: the seam through which the guide's classes are tried.

What stands in for the gateway here is the caller's own object by design; what our transport
does is tried on sockets elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

pytest.importorskip("langchain_core", reason="the extra langchain is not installed")


from ostiary.gateway import GatewayCredentials, GatewayError, ModelRef, RateLimitError
from ostiary.gateway.llm.gateway_chat import GatewayChatModel
from ostiary.gateway.llm.gateway_embeddings import GatewayEmbeddings

MODEL = ModelRef("openai", "gpt-4o")


class Response(NamedTuple):
    status: int
    headers: dict[str, str]
    data: str


class Proofs:
    """An access object of the guide's shape."""

    is_gateway_mode = True

    def __init__(self) -> None:
        self.asked = 0

    def get_credentials(self) -> GatewayCredentials:
        self.asked += 1
        return GatewayCredentials("test-svid", "test-trat")

    def get_endpoint(self, provider: str) -> str:
        return "unix:///run/llm.sock"


class Transport:
    """Answers with what it was given, and keeps what it was asked."""

    def __init__(self, *answers: Any, lines: Any = ()) -> None:
        self.answers = list(answers)
        self.lines = lines
        self.calls: list[dict[str, Any]] = []
        self.closed = 0

    def request(self, *, method: str, path: str, headers: Any, body: Any) -> Any:
        self.calls.append({"method": method, "path": path, "headers": headers, "body": body})
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def request_stream(self, *, method: str, path: str, headers: Any, body: Any) -> Iterator[bytes]:
        self.calls.append({"method": method, "path": path, "headers": headers, "body": body})
        if isinstance(self.lines, Exception):
            raise self.lines
        try:
            yield from self.lines
        finally:
            self.closed += 1


def ok(value: Any) -> Response:
    return Response(200, {"content-type": "application/json"}, json.dumps(value))


HELLO = ok({"choices": [{"message": {"content": "Hello"}}], "model": "gpt-4o"})


def chat(transport: Transport, **settings: Any) -> GatewayChatModel:
    return GatewayChatModel(MODEL, gateway_client=Proofs(), http_client=transport, **settings)


async def test_a_call_goes_through_it_in_both_colours() -> None:
    transport = Transport(HELLO)
    model = chat(transport, temperature=0.7)
    assert model.invoke("Hi").content == "Hello"
    assert (await model.ainvoke("Hi")).content == "Hello"
    first, second = transport.calls
    assert first == second
    assert (first["method"], first["path"]) == ("POST", "/v1/chat/completions")
    assert first["headers"] == {
        "Authorization": "Bearer test-svid",
        "Txn-Token": "test-trat",
        "X-Provider": "openai",
    }
    assert first["body"] == {
        "model": "gpt-4o",
        "messages": [{"role": "user", "content": "Hi"}],
        "temperature": 0.7,
    }
    assert model.gateway_client.asked == 2  # proofs are fetched for every call


@pytest.mark.parametrize(
    ("answer", "kind", "match"),
    [
        (Response(429, {}, "slow down"), RateLimitError, "429"),
        (Response(401, {}, "{}"), GatewayError, "401"),
        (Response(200, {}, "not json"), GatewayError, "Invalid JSON"),
        (ok({"choices": []}), GatewayError, "no choices"),
        (RuntimeError("with a secret"), GatewayError, "Gateway request failed"),
    ],
    ids=["limited", "refused", "no-json", "no-choices", "raises"],
)
def test_what_goes_wrong_is_a_gateway_error(answer: Any, kind: Any, match: str) -> None:
    with pytest.raises(kind, match=match) as caught:
        chat(Transport(answer)).invoke("Hi")
    assert "secret" not in str(caught.value)


def piece(text: str) -> bytes:
    return b"data: " + json.dumps({"choices": [{"delta": {"content": text}}]}).encode() + b"\n"


async def test_a_stream_goes_through_it_in_both_colours() -> None:
    spaceless = piece("lo").replace(b"data: ", b"data:")
    lines = [b": hello\n", b"\n", b"event: x\n", piece("Hel"), spaceless, b"data: [DONE]\n"]
    transport = Transport(lines=lines)
    model = chat(transport)
    assert [chunk.text for chunk in model._stream([])] == ["Hel", "lo"]
    assert "".join([str(chunk.content) async for chunk in model.astream("Hi")]) == "Hello"
    assert transport.calls[0]["body"]["stream"] is True
    assert transport.closed == 2


@pytest.mark.parametrize(
    ("lines", "match"),
    [
        ([piece("Hel")], "end mark"),
        ([b"data: {bad\n", b"data: [DONE]\n"], "JSON"),
        (RuntimeError("with a secret"), "Gateway stream failed"),
    ],
    ids=["cut", "no-json", "raises"],
)
def test_a_stream_that_fails_is_a_gateway_error(lines: Any, match: str) -> None:
    with pytest.raises(GatewayError, match=match) as caught:
        list(chat(Transport(lines=lines)).stream("Hi"))
    assert "secret" not in str(caught.value)


def vectors(*found: list[float]) -> Response:
    return ok({"data": [{"index": n, "embedding": one} for n, one in enumerate(found)]})


async def test_embeddings_go_through_it_in_both_colours() -> None:
    transport = Transport(vectors([0.1, 0.2]))
    found = GatewayEmbeddings("embed-small", Proofs(), transport, "openai")
    assert found.embed_query("a") == [0.1, 0.2]
    assert await found.aembed_query("a") == [0.1, 0.2]
    assert found.embed_documents([]) == []
    assert transport.calls[0]["path"] == "/v1/embeddings"
    assert transport.calls[0]["body"] == {"model": "embed-small", "input": ["a"]}
    assert len(transport.calls) == 2


@pytest.mark.parametrize(
    ("answer", "match"),
    [
        (vectors([1.0]), "Expected 3 embeddings, got 1"),
        (ok({"data": []}), "no embeddings"),
        (Response(401, {}, ""), "401"),
        (OSError("with a secret"), "Embeddings request failed"),
    ],
    ids=["too-few", "none", "refused", "raises"],
)
def test_vectors_that_go_wrong_are_a_gateway_error(answer: Any, match: str) -> None:
    found = GatewayEmbeddings("embed-small", Proofs(), Transport(answer), "openai")
    with pytest.raises(GatewayError, match=match) as caught:
        found.embed_documents(["a", "b", "c"])
    assert "secret" not in str(caught.value)
