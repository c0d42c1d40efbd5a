"""Knowledge over HTTP: items, search, whole texts, context, and vectors from the gateway."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from ostiary.devserver import GatewayOptions, RunningVault, RuntimeOptions, running
from ostiary.devserver.runtime.knowledge import endpoints
from ostiary.devserver.runtime.knowledge.vectors import missing
from ostiary.devserver.runtime.knowledge.words import tokens
from ostiary.errors import InvalidArgumentError
from tests.devserver.web import Reply, Web

pytestmark = pytest.mark.skipif(
    bool(missing()), reason=f"needs {' and '.join(missing())}: pip install 'ostiary[dev]'"
)

API = "/api/v1"
CONTENT = "This is important documentation about the system..."


@pytest.fixture(scope="module")
def server() -> Iterator[RunningVault]:
    with running(demo=True, tcp=False) as one:
        yield one


@pytest.fixture
def web(server: RunningVault) -> Iterator[Web]:
    """A connection to a server that knows nothing yet."""
    with Web(server.runtime_socket) as one:
        yield one
        while items := document(one.get(f"{API}/knowledge?limit=100"))["items"]:
            for item in items:
                document(delete(one, f"{API}/knowledge/{quote(item['id'], safe='')}"))


def delete(web: Web, path: str) -> Reply:
    return web.call("DELETE", path)


def document(reply: Reply, status: int = 200) -> Any:
    assert reply.status == status, reply
    return reply.document


def refused(reply: Reply, status: int, code: str) -> Any:
    found = document(reply, status)
    assert found["code"] == code
    return found["details"]


def add(web: Web, item_id: str, content: str = CONTENT, **more: Any) -> None:
    embedding = more.pop("embedding", None)
    metadata = {
        "source": "documentation.md",
        "source_type": "document",
        "chunk_index": None,
        "timestamp": "2026-03-01T10:00:00Z",
        "agent_id": None,
        **more,
    }
    body = {"id": item_id, "content": content, "embedding": embedding, "metadata": metadata}
    assert document(web.post(f"{API}/knowledge", body)) == {"id": item_id, "status": "stored"}


def search(web: Web, query: str, **more: Any) -> list[str]:
    found = document(web.post(f"{API}/knowledge/search", {"query": query, **more}))
    assert set(found) == {"results", "query", "total_results"}
    assert found["query"] == query
    scores = [one["similarity_score"] for one in found["results"]]
    assert scores == sorted(scores, reverse=True)
    return [one["item"]["id"] for one in found["results"]]


def nested(levels: int) -> Any:
    return [nested(levels - 1)] if levels else []


# -- items ----------------------------------------------------------------------------------


def test_the_guides_example(web: Web) -> None:
    add(web, "doc-001", agent_id="agent-123")
    add(web, "doc-001", agent_id="agent-123")
    found = document(
        web.post(
            f"{API}/knowledge/search",
            {
                "query": "How do I configure the system?",
                "agent_id": "agent-123",
                "source_types": ["document"],
                "limit": 5,
                "similarity_threshold": 0.7,
            },
        )
    )
    (result,) = found["results"]
    assert result["similarity_score"] == pytest.approx(0.726, abs=0.001)
    assert found["total_results"] == 1
    assert result["item"] == {
        "id": "doc-001",
        "content": CONTENT,
        "embedding": None,
        "metadata": {
            "source": "documentation.md",
            "source_type": "document",
            "chunk_index": None,
            "timestamp": "2026-03-01T10:00:00.000000Z",
            "agent_id": "agent-123",
        },
    }
    context = document(
        web.post(
            f"{API}/rag/context",
            {
                "query": "How do I set up authentication?",
                "agent_id": "agent-123",
                "max_context_items": 3,
                "include_conversation_history": True,
            },
        )
    )
    assert set(context) == {"context_items", "sources", "query", "relevance_scores"}
    assert context["context_items"] == [CONTENT]
    assert context["sources"] == ["documentation.md"]
    assert context["relevance_scores"] == [pytest.approx(0.524, abs=0.001)]
    assert document(web.get(f"{API}/metrics"))["vector_db_items"] == 1


def test_items_are_replaced_listed_and_removed(web: Web) -> None:
    add(web, "docs/a b.md#0", "first", team="blue")
    add(web, "docs/a b.md#0", "second", team="red", unknown={"kept": [1, None]})
    add(web, "b", source="b.md", source_type="code", agent_id="x")
    path = f"{API}/knowledge/{quote('docs/a b.md#0', safe='')}"
    found = document(web.get(path))
    assert (found["content"], found["metadata"]["team"]) == ("second", "red")
    assert found["metadata"]["unknown"] == {"kept": [1, None]}

    listed = document(web.get(f"{API}/knowledge?page=1&limit=1"))
    assert [one["id"] for one in listed["items"]] == ["b"]
    assert listed["pagination"] == {"page": 1, "limit": 1, "total": 2, "has_next": True}
    for query, ids in (
        ("source=b.md", ["b"]),
        ("source_type=document", ["docs/a b.md#0"]),
        ("source_type=document&source_type=code", ["b", "docs/a b.md#0"]),
        ("agent_id=x", ["b", "docs/a b.md#0"]),
        ("agent_id=y", ["docs/a b.md#0"]),
    ):
        listed = document(web.get(f"{API}/knowledge?{query}"))
        assert [one["id"] for one in listed["items"]] == ids, query

    assert document(delete(web, path)) == {"id": "docs/a b.md#0", "status": "deleted"}
    refused(delete(web, path), 404, "KNOWLEDGE_NOT_FOUND")
    refused(web.get(path), 404, "KNOWLEDGE_NOT_FOUND")


def test_a_vector_of_ones_own(web: Web) -> None:
    vector = [1.0] + [0.0] * 383
    add(web, "mine", embedding=vector)
    assert document(web.get(f"{API}/knowledge/mine?embedding=true"))["embedding"] == vector
    assert document(web.get(f"{API}/knowledge?source=documentation.md"))["items"][0][
        "embedding"
    ] is (None)
    body = {
        "id": "short",
        "content": "x",
        "embedding": [1.0, 2.0],
        "metadata": {"source": "a", "source_type": "code"},
    }
    details = refused(web.post(f"{API}/knowledge", body), 422, "EMBEDDING_DIMENSIONS")
    assert details["dimensions"] == 384
    for bad in ([], [0.0] * 384):
        body["embedding"] = bad
        refused(web.post(f"{API}/knowledge", body), 422, "VALIDATION_FAILED")


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("id", {"id": ""}),
        ("id", {"id": "search"}),
        ("id", {"id": "ingest"}),
        ("id", {"id": "a/../b"}),
        ("id", {"id": "a//b"}),
        ("id", {"id": "a\nb"}),
        ("id", {"id": "x" * 513}),
        ("metadata", {"metadata": {"source": "a", "source_type": "code", "x": nested(33)}}),
        ("content", {"content": "  "}),
        ("content", {"content": None}),
        ("metadata.source", {"metadata": {"source_type": "code"}}),
        ("metadata.source_type", {"metadata": {"source": "a"}}),
        ("source_type", {"metadata": {"source": "a", "source_type": "song"}}),
        (
            "metadata.timestamp",
            {"metadata": {"source": "a", "source_type": "code", "timestamp": "yesterday"}},
        ),
        (
            "metadata.chunk_index",
            {"metadata": {"source": "a", "source_type": "code", "chunk_index": "1"}},
        ),
        (
            "metadata.agent_id",
            {"metadata": {"source": "a", "source_type": "code", "agent_id": 5}},
        ),
    ],
    ids=range(16),
)
def test_an_item_is_checked(web: Web, field: str, change: dict[str, Any]) -> None:
    body = {
        "id": "a",
        "content": "x",
        "metadata": {"source": "a", "source_type": "code"},
        **change,
    }
    assert refused(web.post(f"{API}/knowledge", body), 422, "VALIDATION_FAILED")["field"] == field


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("2026-03-01T10:00:00", "2026-03-01T10:00:00.000000Z"),
        ("2026-03-01T10:00:00.1234567+02:00", "2026-03-01T08:00:00.123456Z"),
        ("2026-03-01", "2026-03-01T00:00:00.000000Z"),
        (1772359200, "2026-03-01T10:00:00.000000Z"),
    ],
    ids=range(4),
)
def test_moments_are_kept_in_utc(web: Web, given: Any, kept: str) -> None:
    add(web, "a", timestamp=given)
    assert document(web.get(f"{API}/knowledge/a"))["metadata"]["timestamp"] == kept


# -- search ---------------------------------------------------------------------------------


def test_search_keeps_to_its_filters(web: Web) -> None:
    add(web, "own", agent_id="a", team="blue", stars=3)
    add(web, "others", agent_id="b")
    add(web, "nobodys", source_type="code", team="red", stars=5)
    query = "system documentation"
    assert set(search(web, query)) == {"own", "others", "nobodys"}
    assert set(search(web, query, agent_id="a")) == {"own", "nobodys"}
    assert search(web, query, agent_id="a", source_types=["code"]) == ["nobodys"]
    assert search(web, query, source_types=["conversation"]) == []
    assert search(web, query, filters={"team": "blue"}) == ["own"]
    assert search(web, query, filters={"stars": {"from": 4}}) == ["nobodys"]
    assert set(search(web, query, filters={"team": ["blue", "red"]})) == {"own", "nobodys"}
    # Equally similar ones come by id, and are counted beyond the limit.
    found = document(web.post(f"{API}/knowledge/search", {"query": query, "limit": 2}))
    assert [one["item"]["id"] for one in found["results"]] == ["nobodys", "others"]
    assert found["total_results"] == 3


def test_unrelated_texts_are_not_found(web: Web) -> None:
    add(web, "weather", "The weather in Paris is sunny this week.")
    add(web, "bread", "Bake the bread for forty minutes.")
    assert search(web, "How do I configure the system?") == []
    assert set(search(web, "How do I configure the system?", similarity_threshold=0)) == {
        *("weather", "bread"),
    }


def test_the_middle_of_a_long_item_is_found(web: Web) -> None:
    filler = " ".join(f"Paragraph {number} is about fishing boats." for number in range(60))
    add(web, "long", f"{filler}\n\nTo rotate a signing key call the key endpoint.\n\n{filler}")
    asked = {"query": "rotate signing key", "max_tokens": 120}
    found = document(web.post(f"{API}/rag/context", asked))
    assert "rotate a signing key" in found["context_items"][0]
    assert found["total_tokens"] == tokens(found["context_items"][0]) <= 120


@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("query", {}),
        ("query", {"query": ""}),
        ("limit", {"query": "x", "limit": 0}),
        ("limit", {"query": "x", "limit": 1001}),
        ("similarity_threshold", {"query": "x", "similarity_threshold": 1.1}),
        ("source_type", {"query": "x", "source_types": ["song"]}),
        ("filters", {"query": "x", "filters": {"a'b": 1}}),
        ("filters.a", {"query": "x", "filters": {"a": []}}),
        ("filters.a", {"query": "x", "filters": {"a": {"above": 1}}}),
        ("filters.a", {"query": "x", "filters": {"a": [[1]]}}),
        ("filters.timestamp", {"query": "x", "filters": {"timestamp": {"from": "soon"}}}),
    ],
    ids=range(11),
)
def test_a_search_is_checked(web: Web, field: str, body: dict[str, Any]) -> None:
    reply = web.post(f"{API}/knowledge/search", body)
    assert refused(reply, 422, "VALIDATION_FAILED")["field"] == field


# -- whole texts ----------------------------------------------------------------------------


def test_a_text_becomes_items_and_is_replaced(web: Web) -> None:
    sentences = [f"Sentence {number} speaks of topic{number}." for number in range(40)]
    body = {
        "content": " ".join(sentences),
        "source": "docs/guide.md",
        "source_type": "document",
        "agent_id": "a",
        "chunk_size": 50,
        "chunk_overlap": 10,
        "metadata": {"team": "blue"},
    }
    found = document(web.post(f"{API}/knowledge/ingest", body), 201)
    assert set(found) == {"source", "item_ids", "chunks"}
    assert found["chunks"] == len(found["item_ids"]) > 5
    assert found["item_ids"][:2] == ["docs/guide.md#0", "docs/guide.md#1"]
    items = [
        document(web.get(f"{API}/knowledge/{quote(one, safe='')}")) for one in found["item_ids"]
    ]
    assert [one["metadata"]["chunk_index"] for one in items] == list(range(found["chunks"]))
    assert {one["metadata"]["team"] for one in items} == {"blue"}
    assert all(tokens(one["content"]) <= 50 for one in items)
    for sentence in sentences:
        assert any(sentence in one["content"] for one in items)
    # The end of one is the beginning of the next.
    assert items[0]["content"].endswith(items[1]["content"].partition(".")[0] + ".")

    add(web, "docs/guide.md#note", source="docs/guide.md")
    add(web, "docs/guide.md#99", source="another.md")
    body["content"] = "One sentence alone is left."
    found = document(web.post(f"{API}/knowledge/ingest", body), 201)
    assert found["item_ids"] == ["docs/guide.md#0"]
    ids = [one["id"] for one in document(web.get(f"{API}/knowledge?limit=100"))["items"]]
    assert ids == ["docs/guide.md#0", "docs/guide.md#99", "docs/guide.md#note"]

    gone = document(delete(web, f"{API}/knowledge?source=docs/guide.md"))
    assert gone == {"source": "docs/guide.md", "deleted": 2}
    refused(delete(web, f"{API}/knowledge"), 422, "VALIDATION_FAILED")


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("content", {"content": " "}),
        ("chunk_size", {"chunk_size": 15}),
        ("chunk_size", {"chunk_size": 2001}),
        ("chunk_overlap", {"chunk_size": 100, "chunk_overlap": 51}),
        ("id", {"id_prefix": "../x"}),
        ("source_type", {"source_type": "song"}),
        ("metadata.source", {"source": " "}),
    ],
    ids=range(7),
)
def test_a_text_is_checked(web: Web, field: str, change: dict[str, Any]) -> None:
    reply = web.post(f"{API}/knowledge/ingest", {"content": "x", "source": "a", **change})
    assert refused(reply, 422, "VALIDATION_FAILED")["field"] == field


# -- context --------------------------------------------------------------------------------


def context(web: Web, **asked: Any) -> Any:
    found = document(web.post(f"{API}/rag/context", {"query": "key rotation", **asked}))
    sizes = {len(found[name]) for name in ("context_items", "sources", "relevance_scores")}
    assert len(sizes) == 1
    assert found["relevance_scores"] == sorted(found["relevance_scores"], reverse=True)
    return found


def test_context_keeps_to_its_budget(web: Web) -> None:
    add(web, "1", "Key rotation.", source="one.md")
    add(web, "2", "Key rotation.", source="copy.md")
    add(web, "3", "Key rotation happens every week on Monday in the morning.", source="two.md")
    add(web, "4", "Rotate keys.", source="three.md")
    whole = context(web)
    assert sorted(whole["sources"]) in (
        ["copy.md", "three.md", "two.md"],
        ["one.md", "three.md", "two.md"],
    )
    # What does not fit makes room for what does.
    small = context(web, max_tokens=8)
    assert small["context_items"] == ["Key rotation.", "Rotate keys."]
    assert small["total_tokens"] == 6
    cut = context(web, max_tokens=2)
    assert cut["context_items"] == ["Key"]
    assert cut["total_tokens"] <= 2
    assert context(web, max_context_items=1)["context_items"] == ["Key rotation."]


def test_context_without_the_conversation(web: Web) -> None:
    add(web, "said", "We spoke of key rotation.", source_type="conversation", source="chat")
    add(web, "written", "Key rotation is weekly.", source="page")
    assert set(context(web)["sources"]) == {"chat", "page"}
    assert context(web, include_conversation_history=False)["sources"] == ["page"]
    assert context(web, source_types=["conversation"])["sources"] == ["chat"]
    assert context(web, filters={"source": "page"})["sources"] == ["page"]


def test_context_of_nothing_is_empty(web: Web) -> None:
    assert context(web) == {
        "context_items": [],
        "sources": [],
        "query": "key rotation",
        "relevance_scores": [],
    }


# -- surroundings ---------------------------------------------------------------------------


def test_a_model_behind_the_gateway_makes_the_vectors(tmp_path: Path) -> None:
    home = tmp_path / "home"
    asked = {"query": "Key rotation is weekly.", "similarity_threshold": 0.99}
    with running(home=home, tcp=False, demo=True) as server, Web(server.runtime_socket) as web:
        add(web, "first", "Key rotation is weekly.")
    with running(
        home=home,
        tcp=False,
        demo=True,
        gateway=GatewayOptions(),
        runtime=RuntimeOptions(port=None, knowledge_model="ostiary:hash"),
    ) as server:
        gateway = server.gateway
        with Web(server.runtime_socket) as web:
            add(web, "second", "Bread is baked daily.")
            # The first item's vector was made anew, by the model.
            assert search(web, **asked) == ["first"]
        models = [(call.model, call.status) for call in gateway.calls()]
        assert len(models) == 3
        assert {status for _, status in models} == {200}
    with running(home=home, tcp=False, demo=True) as server, Web(server.runtime_socket) as web:
        assert search(web, **asked) == ["first"]
        assert document(web.get(f"{API}/knowledge"))["pagination"]["total"] == 2


def test_a_gateway_that_is_not_there_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SPIFFE_JWT_PATH", "SPIFFE_ENDPOINT_SOCKET", "LLM_GATEWAY_SOCKET"):
        monkeypatch.delenv(name, raising=False)
    with (
        running(
            home=tmp_path / "home",
            tcp=False,
            demo=True,
            runtime=RuntimeOptions(port=None, knowledge_model="ostiary:hash"),
        ) as server,
        Web(server.runtime_socket) as web,
    ):
        refused(web.post(f"{API}/knowledge/search", {"query": "x"}), 502, "EMBEDDING_FAILED")
        # Nothing was kept without a vector.
        body = {"id": "a", "content": "x", "metadata": {"source": "a", "source_type": "code"}}
        refused(web.post(f"{API}/knowledge", body), 502, "EMBEDDING_FAILED")
        assert document(web.get(f"{API}/knowledge"))["items"] == []


def test_a_model_is_named_with_its_provider() -> None:
    for name in ("small", ":", "openai:", ":small"):
        with pytest.raises(InvalidArgumentError, match="knowledge_model"):
            RuntimeOptions(knowledge_model=name)


def test_without_its_packages_knowledge_alone_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "missing", lambda: ["apsw"])
    with running(tcp=False, demo=True) as server, Web(server.runtime_socket) as web:
        reply = web.post(f"{API}/knowledge/search", {"query": "x"})
        refused(reply, 503, "KNOWLEDGE_UNAVAILABLE")
        assert "ostiary[dev]" in reply.document["error"]
        assert document(web.get(f"{API}/metrics"))["vector_db_items"] == 0
