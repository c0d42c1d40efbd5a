"""Vectors: one for each text, in their order, in requests that providers take."""

from __future__ import annotations

import base64
import json
import random
import struct
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.gateway import Embeddings, GatewayError, ModelNotAuthorizedError, Usage
from ostiary.gateway._batches import cut, joined, spread
from ostiary.gateway.dialects.openai import parse_embeddings
from ostiary.gateway.errors import (
    GatewayArgumentError,
    GatewayDeadlineError,
    GatewayProtocolError,
    GatewayServerError,
)
from tests.http.peer import Exchange, stall

from .clients import Connect, Peers, bodies, fails

pytestmark = pytest.mark.usefixtures("at_once")


def vector(text: str) -> list[float]:
    """Return what stands for a text: its length, and its number if it has one."""
    digits = "".join(each for each in text if each.isdigit())
    return [float(len(text)), float(digits or -1)]


def embeds(*, shuffled: bool = False, form: str = "float") -> Any:
    """Answer requests for vectors, as often as they come."""

    def serve(exchange: Exchange) -> None:
        while True:
            body = json.loads(exchange.request().body)
            data = [
                {"object": "embedding", "index": at, "embedding": coded(vector(text), form)}
                for at, text in enumerate(body["input"])
            ]
            if shuffled:
                random.Random(7).shuffle(data)
            usage = {"prompt_tokens": len(data), "total_tokens": len(data)}
            exchange.json({"object": "list", "model": "embed-1", "data": data, "usage": usage})

    return serve


def coded(values: list[float], form: str) -> Any:
    if form == "float":
        return values
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()


def test_one_request(connect: Connect, peers: Peers) -> None:
    peer = peers(serve=embeds())
    client = connect(peer)
    found = client.embed(["alpha", "beta7"])
    assert found.vectors == [[5.0, -1.0], [5.0, 7.0]]
    assert (found.model, found.usage) == ("embed-1", Usage(2, 0, 2))
    (asked,) = peer.asked
    assert (asked.method, asked.target) == ("POST", "/v1/embeddings")
    assert asked.header("x-provider") == "openai"
    assert bodies(peer) == [{"model": "embed-test-small", "input": ["alpha", "beta7"]}]
    assert client.usage.by_model == {"openai:embed-test-small": Usage(2, 0, 2)}
    assert "vectors of 2" in repr(found)


def test_one_text(connect: Connect, peers: Peers) -> None:
    assert connect(peers(serve=embeds())).embed("alpha").vectors == [[5.0, -1.0]]


def test_no_text_is_no_request(connect: Connect, peers: Peers) -> None:
    peer = peers(serve=embeds())
    assert connect(peer).embed([]).vectors == []
    assert peer.asked == []


def test_options(connect: Connect, peers: Peers) -> None:
    peer = peers(serve=embeds(form="base64"))
    found = connect(peer).embed(
        ["a1"], dimensions=2, encoding_format="base64", user="u", extra={"truncate": "END"}
    )
    assert found.vectors == [[2.0, 1.0]]
    assert bodies(peer) == [
        {
            "model": "embed-test-small",
            "input": ["a1"],
            "dimensions": 2,
            "encoding_format": "base64",
            "user": "u",
            "truncate": "END",
        }
    ]


@pytest.mark.parametrize("concurrency", [1, 3, 64])
@pytest.mark.parametrize("shuffled", [False, True], ids=["in order", "shuffled"])
def test_many_texts_keep_their_order(
    connect: Connect, peers: Peers, concurrency: int, shuffled: bool
) -> None:
    """Whatever order batches and vectors come in."""
    peer = peers(serve=embeds(shuffled=shuffled))
    texts = [f"text {n}" for n in range(157)]
    client = connect(peer)
    found = client.embed(texts, batch_size=10, concurrency=concurrency)
    assert found.vectors == [vector(text) for text in texts]
    assert len(peer.asked) == 16
    assert found.usage.prompt_tokens == 157
    assert client.usage.prompt_tokens == 157
    assert all(len(body["input"]) <= 10 for body in bodies(peer))
    assert len({asked.connection for asked in peer.asked}) <= concurrency


def test_as_many_at_a_time_as_asked_for(connect: Connect, peers: Peers) -> None:
    here: set[int] = set()
    most = 0
    lock = threading.Lock()
    met = threading.Barrier(3, timeout=10)

    def serve(exchange: Exchange) -> None:
        nonlocal most
        while True:
            body = json.loads(exchange.request().body)
            with lock:
                here.add(exchange.link.number)
                most = max(most, len(here))
            met.wait()
            with lock:
                here.discard(exchange.link.number)
            data = [{"index": 0, "embedding": vector(body["input"][0])}]
            exchange.json({"data": data, "usage": {}})

    found = connect(peers(serve=serve)).embed(
        [f"t{n}" for n in range(9)], batch_size=1, concurrency=3
    )
    assert [each[1] for each in found.vectors] == list(range(9))
    assert most == 3


def test_a_text_that_comes_twice_is_sent_once(connect: Connect, peers: Peers) -> None:
    peer = peers(serve=embeds())
    texts = ["a1", "b2", "a1", "c3", "b2"]
    found = connect(peer).embed(texts, deduplicate=True)
    assert found.vectors == [vector(text) for text in texts]
    assert bodies(peer)[0]["input"] == ["a1", "b2", "c3"]
    found.vectors[0].append(1.0)
    assert found.vectors[2] == vector("a1"), "each text has a vector of its own"
    assert len(connect(peer).embed(texts).vectors) == 5
    assert bodies(peer)[1]["input"] == texts


def test_the_first_failure_ends_it(connect: Connect, peers: Peers) -> None:
    peer = peers(fails(500))
    with pytest.raises(GatewayServerError):
        connect(peer).embed([f"t{n}" for n in range(100)], batch_size=1, concurrency=2)
    assert len(peer.asked) <= 4


def test_one_deadline_for_all_of_it(connect: Connect, peers: Peers) -> None:
    peer = peers(stall)
    with pytest.raises(GatewayDeadlineError):
        connect(peer).embed(["a", "b"], batch_size=1, concurrency=1, timeout=0.3)


def test_keys_of_many_requests(connect: Connect, peers: Peers) -> None:
    peer = peers(serve=embeds())
    connect(peer).embed(["a", "b", "c"], batch_size=1, concurrency=1, idempotency_key="k")
    keys = [asked.header("idempotency-key") for asked in peer.asked]
    assert keys == ["k", "k-2", "k-3"]


def test_which_model(connect: Connect, peers: Peers) -> None:
    peer = peers(serve=embeds())
    with pytest.raises(ModelNotAuthorizedError):
        connect(peer).embed("x", model="openai:gpt-test-1")
    assert peer.asked == []


@pytest.mark.parametrize(
    ("texts", "options"),
    [
        (None, {}),
        (b"x", {}),
        ([1], {}),
        (["x"], {"batch_size": 0}),
        (["x"], {"batch_size": 2049}),
        (["x"], {"concurrency": 0}),
        (["x"], {"concurrency": True}),
        (["x"], {"dimensions": 0}),
        (["x"], {"encoding_format": "int8"}),
        (["x"], {"user": 5}),
        (["x"], {"extra": {"input": "y"}}),
        (["x"], {"idempotency_key": ""}),
        (["x"], {"timeout": -1}),
    ],
    ids=str,
)
def test_what_cannot_be_meant(
    connect: Connect, peers: Peers, texts: Any, options: dict[str, Any]
) -> None:
    peer = peers(serve=embeds())
    with pytest.raises(GatewayArgumentError):
        connect(peer).embed(texts, **options)
    assert peer.asked == []


@pytest.mark.parametrize(
    ("indexes", "said"),
    [
        ([0], "1 embeddings for 2 texts"),
        ([0, 1, 2], "3 embeddings for 2 texts"),
        ([0, 0], "once each"),
        ([1, 2], "once each"),
        ([-1, 0], "once each"),
    ],
)
def test_one_vector_for_each_text(
    connect: Connect, peers: Peers, indexes: list[int], said: str
) -> None:
    """Never a vector that is another text's."""
    data = [{"index": at, "embedding": [0.5]} for at in indexes]
    with pytest.raises(GatewayProtocolError, match=said):
        connect(peers({"data": data})).embed(["a", "b"])


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"data": [{"index": 0}]},
        {"data": [{"embedding": [1.0]}]},
        {"data": [{"index": 0, "embedding": ["x"]}]},
        {"data": [{"index": 0, "embedding": "!!"}]},
        {"data": [{"index": 0, "embedding": "AAA="}]},
        {"data": [{"index": 0, "embedding": ""}]},
        {"data": [{"index": 0, "embedding": []}]},
    ],
    ids=range(8),
)
def test_what_is_no_vector(connect: Connect, peers: Peers, body: Any) -> None:
    with pytest.raises(GatewayProtocolError):
        connect(peers(body)).embed(["a"])


def test_vectors_of_two_lengths(connect: Connect, peers: Peers) -> None:
    data = [{"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": [1.0, 2.0]}]
    with pytest.raises(GatewayProtocolError, match="lengths"):
        connect(peers({"data": data})).embed(["a", "b"])


# --- cutting and joining


@given(st.lists(st.text(max_size=50), min_size=1, max_size=60), st.integers(1, 20))
def test_batches_are_the_texts_in_order(texts: list[str], size: int) -> None:
    batches = cut(texts, size)
    assert [text for batch in batches for text in batch] == texts
    assert all(0 < len(batch) <= size for batch in batches)


def test_batches_have_a_size_that_providers_take() -> None:
    texts = ["x" * 250_000, "y" * 250_000, "ü" * 150_000, "z", "w" * 2_000_000, "v"]
    batches = cut(texts, 512)
    assert [[text[0] for text in batch] for batch in batches] == [
        ["x", "y"],
        ["ü", "z"],
        ["w"],
        ["v"],
    ]


@given(st.lists(st.integers(1, 5), min_size=1, max_size=8), st.data())
def test_joined_and_spread(sizes: list[int], data: st.DataObject) -> None:
    numbers = iter(range(1000))
    parts = [
        Embeddings([[float(next(numbers))] for _ in range(size)], Usage(size, 0, size), "m")
        for size in sizes
    ]
    found = joined(parts)
    assert found.vectors == [[float(n)] for n in range(sum(sizes))]
    assert found.usage.total_tokens == sum(sizes)
    places = data.draw(st.lists(st.integers(0, sum(sizes) - 1), max_size=10))
    assert spread(found, places).vectors == [[float(n)] for n in places]


@given(
    st.lists(
        st.lists(
            st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=3, max_size=3
        ),
        min_size=1,
        max_size=6,
    ),
    st.randoms(use_true_random=False),
)
def test_both_forms_say_the_same(vectors: list[list[float]], order: random.Random) -> None:
    found = []
    for form in ("float", "base64"):
        data = [{"index": at, "embedding": coded(each, form)} for at, each in enumerate(vectors)]
        order.shuffle(data)
        found.append(parse_embeddings(json.dumps({"data": data})).vectors)
    assert found[0] == found[1] == vectors


def test_an_error_in_place_of_vectors() -> None:
    with pytest.raises(GatewayError):
        parse_embeddings('{"error": {"code": "rate_limited"}}')
