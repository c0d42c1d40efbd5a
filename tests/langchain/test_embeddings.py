"""`GatewayEmbeddings` on the wire."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("langchain_core", reason="the extra langchain is not installed")

from langchain_core.exceptions import ModelPermissionDeniedError, ModelRateLimitError

from ostiary.gateway import (
    ConfigurationError,
    DirectProviderClient,
    GatewayError,
    ModelNotAuthorizedError,
    ModelRef,
    RateLimitError,
)
from ostiary.gateway.http import GatewayHttpClient
from ostiary.gateway.llm.clients import Clients
from ostiary.gateway.llm.gateway_embeddings import (
    GatewayEmbeddings,
    create_embeddings_for_gateway,
)
from tests.langchain.peers import access_to, body_of, refuses

if TYPE_CHECKING:
    from tests.http.peer import Exchange, HttpPeer

SMALL = "openai:text-embedding-3-small"


def vectors(*, backwards: bool = False, base64: bool = False) -> Callable[[Exchange], object]:
    """Answer each text with its length and its first number."""

    def answer(exchange: Exchange) -> None:
        body = json.loads(exchange.asked.body)
        data = [
            {"index": n, "embedding": [float(len(text)), float(n)]}
            for n, text in enumerate(body["input"])
        ]
        if backwards:
            data.reverse()
        if base64:
            for one in data:
                one["embedding"] = _packed(one["embedding"])
        usage = {"prompt_tokens": len(data), "total_tokens": len(data)}
        exchange.json({"model": body["model"], "data": data, "usage": usage})

    return answer


def _packed(vector: Any) -> str:
    import base64
    import struct

    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


@pytest.fixture
def embed(
    peers: Callable[..., HttpPeer], shared_gateway: Any
) -> Iterator[Callable[..., tuple[GatewayEmbeddings, HttpPeer]]]:
    made: list[GatewayEmbeddings] = []

    def make(*steps: Any, model: Any = SMALL, **options: Any) -> tuple[GatewayEmbeddings, HttpPeer]:
        peer = peers(*steps)
        made.append(GatewayEmbeddings(model, access_to(peer, shared_gateway), **options))
        return made[-1], peer

    yield make
    for one in made:
        one.close()


def test_a_request_has_texts_and_proofs(embed: Any) -> None:
    found, peer = embed(vectors())
    assert found.embed_documents(["alpha", "be"]) == [[5.0, 0.0], [2.0, 1.0]]
    asked = peer.asked[0]
    assert (asked.method, asked.target) == ("POST", "/v1/embeddings")
    assert asked.header("x-provider") == "openai"
    assert str(asked.header("authorization")).startswith("Bearer ey")
    assert str(asked.header("txn-token")).startswith("ey")
    assert body_of(peer) == {"model": "text-embedding-3-small", "input": ["alpha", "be"]}
    assert found.embed_query("gamma") == [5.0, 0.0]


def test_nothing_is_sent_for_nothing(embed: Any) -> None:
    found, peer = embed(vectors())
    assert found.embed_documents([]) == []
    assert asyncio.run(found.aembed_documents([])) == []
    assert peer.asked == []


@pytest.mark.parametrize(("count", "requests"), [(150, 1), (512, 1), (513, 2), (1100, 3)])
async def test_many_texts_go_in_batches(embed: Any, count: int, requests: int) -> None:
    """One request held all texts. 150 of them are one request as before."""
    found, peer = embed(vectors(backwards=True))
    texts = ["x" * (n % 17 + 1) for n in range(count)]
    expected = [float(len(text)) for text in texts]
    assert [vector[0] for vector in found.embed_documents(texts)] == expected
    assert len(peer.asked) == requests
    assert [vector[0] for vector in await found.aembed_documents(texts)] == expected
    await found.aclose()


def test_options_are_sent(embed: Any) -> None:
    found, peer = embed(
        vectors(base64=True),
        dimensions=2,
        encoding_format="base64",
        user="u-1",
        extra_body={"truncate": "END"},
        batch_size=1,
        concurrency=1,
    )
    assert found.embed_documents(["a", "bb"]) == [[1.0, 0.0], [2.0, 0.0]]
    sent = body_of(peer)
    assert sent["dimensions"] == 2
    assert (sent["encoding_format"], sent["user"], sent["truncate"]) == ("base64", "u-1", "END")
    assert len(peer.asked) == 2


BAD: dict[str, Any] = {
    "too-few": {"data": [{"index": 0, "embedding": [1.0]}]},
    "none": {"data": []},
    "twice": {"data": [{"index": 0, "embedding": [1.0]}, {"index": 0, "embedding": [2.0]}]},
    "no-vector": {"data": [{"index": 0}, {"index": 1}]},
    "text": {"data": [{"index": 0, "embedding": "?"}, {"index": 1, "embedding": "?"}]},
    "list": [],
}


@pytest.mark.parametrize("case", BAD)
async def test_vectors_that_are_not_one_for_each_are_refused(embed: Any, case: str) -> None:
    """A missing member was a KeyError, a repeated index was taken."""
    found, _ = embed(lambda exchange: exchange.json(BAD[case]), max_retries=0)
    with pytest.raises(GatewayError):
        found.embed_documents(["a", "b"])
    with pytest.raises(GatewayError):
        await found.aembed_documents(["a", "b"])
    await found.aclose()


async def test_errors_are_ours_and_langchains(embed: Any) -> None:
    found, _ = embed(refuses(429, "rate_limited", ("Retry-After", "3")), max_retries=0)
    with pytest.raises(RateLimitError) as caught:
        found.embed_query("tell nobody")
    assert isinstance(caught.value, ModelRateLimitError)
    assert caught.value.retry_after == 3.0
    assert "nobody" not in str(caught.value)
    with pytest.raises(ModelRateLimitError):
        await found.aembed_query("tell nobody")
    await found.aclose()


def test_a_model_this_run_may_not_use_is_not_asked(embed: Any) -> None:
    # Allowed for chat, and so not for vectors.
    found, peer = embed(vectors(), model="openai:gpt-4o")
    with pytest.raises(ModelNotAuthorizedError) as caught:
        found.embed_query("x")
    assert isinstance(caught.value, ModelPermissionDeniedError)
    assert peer.asked == []


@pytest.mark.parametrize(
    ("model", "provider", "expected"),
    [
        ("openai:text-embedding-3-small", None, "openai:text-embedding-3-small"),
        ("text-embedding-3-small", None, "openai:text-embedding-3-small"),
        ("gemini-embedding", None, "google:gemini-embedding"),
        ("text-embedding-3-small", "Azure", "azure:text-embedding-3-small"),
        (ModelRef("ostiary", "hash"), None, "ostiary:hash"),
        (ModelRef("ostiary", "hash"), "ostiary", "ostiary:hash"),
    ],
    ids=["ref", "bare", "detected", "provider", "object", "object-and-provider"],
)
def test_a_model_may_be_named_in_each_way(
    embed: Any, model: Any, provider: Any, expected: str
) -> None:
    found, _ = embed(vectors(), model=model, provider=provider)
    assert found.model == expected
    assert expected in repr(found)
    assert (found._provider, found._model) == tuple(expected.split(":", 1))


@pytest.mark.usefixtures("gateway_mode")
async def test_the_built_in_model_is_the_same_in_both_colours() -> None:
    async with GatewayEmbeddings("ostiary:hash", dimensions=16) as found:
        ours, again = found.embed_query("a door"), await found.aembed_query("a door")
        assert ours == again
        assert len(ours) == 16
        assert math.isclose(math.hypot(*ours), 1.0, abs_tol=1e-3)


def test_direct_mode_has_a_key(peers: Callable[..., HttpPeer]) -> None:
    peer = peers(vectors(), kind="tcp")
    with GatewayEmbeddings(SMALL, api_key="sk-1", base_url=peer.url("/v1")) as found:
        assert found.embed_query("alpha") == [5.0, 0.0]
        assert "sk-1" not in repr(found)
    assert peer.asked[0].target == "/v1/embeddings"
    assert peer.asked[0].header("authorization") == "Bearer sk-1"
    assert peer.asked[0].header("txn-token") is None


def test_a_key_and_a_gateway_contradict_each_other(embed: Any) -> None:
    with pytest.raises(ConfigurationError, match="direct mode"):
        embed(vectors(), api_key="sk-1")


def test_the_factory_of_the_guide(peers: Callable[..., HttpPeer], shared_gateway: Any) -> None:
    peer = peers(vectors())
    access = access_to(peer, shared_gateway)
    with create_embeddings_for_gateway("text-embedding-3-small", access, "openai") as found:
        assert isinstance(found._http_client, GatewayHttpClient)
        assert found._http_client.is_unix_socket
        assert found.embed_query("alpha") == [5.0, 0.0]
    direct = DirectProviderClient(allow=True, api_keys={"openai": "sk-1"})
    with create_embeddings_for_gateway("text-embedding-3-small", direct) as found:
        assert found._http_client is None


async def test_connections_and_totals_are_shared(
    peers: Callable[..., HttpPeer], shared_gateway: Any
) -> None:
    peer = peers(vectors())
    async with Clients(access_to(peer, shared_gateway)) as clients:
        for _ in range(3):
            await GatewayEmbeddings(SMALL, clients=clients, timeout=60).aembed_query("alpha")
        GatewayEmbeddings(SMALL, clients=clients).embed_query("alpha")
        assert clients.usage[SMALL].prompt_tokens == 4
        assert len({asked.connection for asked in peer.asked}) == 2  # one for each colour
