"""The vector store by itself, against brute force and against files that are not its own."""

from __future__ import annotations

import asyncio
import math
import os
import random
import sqlite3
import stat
import struct
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ostiary.devserver import DevserverError
from ostiary.devserver.runtime.knowledge.filters import Filter
from ostiary.devserver.runtime.knowledge.library import Library
from ostiary.devserver.runtime.knowledge.vectors import Item, Passage, Vectors, missing

pytestmark = pytest.mark.skipif(
    bool(missing()), reason=f"needs {' and '.join(missing())}: pip install 'ostiary[dev]'"
)

EMBEDDING = "test"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Vectors]:
    one = Vectors(tmp_path / "knowledge.db")
    yield one
    one.close()


def item(item_id: str, content: str = "text", **metadata: Any) -> Item:
    known = {
        "source": "a.md",
        "source_type": "document",
        "timestamp": "2026-03-01T10:00:00.000000Z",
        "agent_id": None,
    }
    return Item(id=item_id, content=content, metadata={**known, **metadata})


def put(store: Vectors, *items: tuple[Item, Sequence[float]]) -> None:
    store.put([(one, [Passage(0, len(one.content), vector)]) for one, vector in items], EMBEDDING)


def ids(store: Vectors, vector: Sequence[float], only: Filter | None = None) -> list[str]:
    hits, _ = store.search(vector, only or Filter(), threshold=-1.0, limit=100)
    return [hit.item.id for hit in hits]


def test_ten_thousand_items_are_found_as_brute_force_finds_them(store: Vectors) -> None:
    count, size = 10_000, 64
    chance = random.Random(7)
    vectors = [[chance.gauss(0, 1) for _ in range(size)] for _ in range(count)]
    # Some are the same, so that ids have to decide.
    for number in range(0, count, 500):
        vectors[number + 1] = vectors[number]
    names = [f"i-{chance.getrandbits(64):016x}" for _ in range(count)]
    kinds = ["document", "code", "api_reference", "conversation"]
    items = [
        item(name, source_type=kinds[number % 4], agent_id=[None, "a", "b"][number % 3])
        for number, name in enumerate(names)
    ]
    put(store, *zip(items, vectors, strict=True))
    assert store.count == count

    # Compared as 32-bit floats of length one, as they are kept.
    def kept(vector: Sequence[float]) -> list[float]:
        length = math.hypot(*vector)
        packed = struct.pack(f"<{size}f", *(value / length for value in vector))
        return list(struct.unpack(f"<{size}f", packed))

    lying = [kept(vector) for vector in vectors]
    queries = [vectors[500], [chance.gauss(0, 1) for _ in range(size)]]
    for query in queries:
        asked = kept(query)
        similarities = [sum(map(float.__mul__, asked, one)) for one in lying]
        for restricted in (False, True):
            only = Filter()
            if restricted:
                only.agent("a")
                only.kinds(["code", "document"])
            fitting = [
                number
                for number, one in enumerate(items)
                if not restricted
                or (
                    one.metadata["agent_id"] in {None, "a"}
                    and one.metadata["source_type"] in {"code", "document"}
                )
            ]
            for threshold in (-1.0, 0.2, 0.35):
                expected = sorted(
                    (n for n in fitting if similarities[n] >= threshold),
                    key=lambda n: (-round(similarities[n], 6), names[n]),
                )
                hits, total = store.search(query, only, threshold=threshold, limit=25)
                assert total == len(expected)
                assert len(hits) == min(25, len(expected))
                for hit, number in zip(hits, expected, strict=False):
                    assert hit.similarity == pytest.approx(similarities[number], abs=2e-6)
                # A rounding of the last digit may exchange neighbours; nothing else may.
                assert {hit.item.id for hit in hits[:20]} <= {names[n] for n in expected[:25]}
    first, second = (
        hit.item.id for hit in store.search(queries[0], Filter(), threshold=0.9, limit=5)[0]
    )
    assert (first, second) == tuple(sorted([names[500], names[501]]))


def test_an_item_is_found_by_its_best_passage(store: Vectors) -> None:
    passages = [Passage(0, 3, [1.0, 0.0]), Passage(4, 7, [0.0, 1.0])]
    store.put([(item("one", "abc def"), passages)], EMBEDDING)
    put(store, (item("two"), [1.0, 1.0]))
    hits, total = store.search([0.1, 1.0], Filter(), threshold=-1.0, limit=5)
    assert total == 2
    assert [(hit.item.id, hit.start, hit.stop) for hit in hits] == [("one", 4, 7), ("two", 0, 4)]


def test_replacing_and_removing_leave_nothing_behind(store: Vectors) -> None:
    put(store, (item("one", "old"), [1.0, 0.0]), (item("two"), [0.0, 1.0]))
    put(store, (item("one", "new"), [0.0, 1.0]))
    assert store.count == 2
    found = store.get("one")
    assert found is not None
    assert found.content == "new"
    hits, _ = store.search([1.0, 0.0], Filter(), threshold=0.5, limit=5)
    assert hits == []
    assert store.remove("one") is True
    assert store.remove("one") is False
    assert store.get("one") is None
    assert ids(store, [0.0, 1.0]) == ["two"]


def test_one_item_that_cannot_be_written_takes_the_others_back(store: Vectors) -> None:
    bad = Item(id="bad", content="x", metadata={})
    with pytest.raises(KeyError):
        put(store, (item("good"), [1.0]), (bad, [1.0]))
    assert store.count == 0
    assert store.get("good") is None


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({}, "abcd"),
        ({"source": "a.md"}, "abd"),
        ({"source": ["b.md", "c.md"]}, "c"),
        ({"team": "blue"}, "a"),
        ({"team": None}, "cd"),
        ({"stars": {"from": 2}}, "bc"),
        ({"stars": {"from": 2, "to": 5}}, "b"),
        ({"draft": True}, "d"),
        ({"timestamp": {"from": "2026-02-01T01:00:00+01:00"}}, "bcd"),
        ({"timestamp": {"to": "2026-02-01"}}, "a"),
        ({"timestamp": "2026-03-01T12:00:00+02:00"}, "d"),
        ({"agent_id": "x", "team": "red"}, "b"),
        ({"unknown": 1}, ""),
        ({"source": "' OR 1 --"}, ""),
    ],
    ids=range(14),
)
def test_filters(store: Vectors, filters: dict[str, Any], found: str) -> None:
    put(
        store,
        (item("a", team="blue", stars=1, timestamp="2026-01-01T00:00:00.000000Z"), [1.0]),
        (
            item("b", team="red", stars=2, agent_id="x", timestamp="2026-02-01T00:00:00.000000Z"),
            [1.0],
        ),
        (item("c", source="b.md", stars=9, timestamp="2026-02-03T00:00:00.000000Z"), [1.0]),
        (item("d", draft=True), [1.0]),
    )
    only = Filter()
    only.metadata(filters)
    assert ids(store, [1.0], only) == list(found)
    assert [one.id for one in store.page(only, 0, 10)[0]] == list(found)


def test_long_and_short_vectors_are_compared_by_direction(store: Vectors) -> None:
    put(store, (item("long"), [1e300, 1e300]), (item("short"), [1e-300, -1e-300]))
    assert ids(store, [1e200, 1e200]) == ["long", "short"]
    hits, _ = store.search([1.0, 1.0], Filter(), threshold=1.0, limit=5)
    assert [(hit.item.id, hit.similarity) for hit in hits] == [("long", 1.0)]


# -- the file -------------------------------------------------------------------------------


def test_the_file_is_private_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "knowledge.db"
    store = Vectors(path)
    put(store, (item("one"), [1.0, 2.0]))
    assert {stat.S_IMODE(os.stat(one).st_mode) for one in tmp_path.iterdir()} == {0o600}
    store.close()
    store.close()
    again = Vectors(path)
    assert again.count == 1
    assert again.dimensions(EMBEDDING) == 2
    assert again.dimensions("another") is None
    again.close()


def test_what_is_not_its_own_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "text.db"
    text.write_bytes(b"not a database at all, but long enough to be looked at as one" * 9)
    text.chmod(0o600)
    with pytest.raises(DevserverError, match=r"move it away"):
        Vectors(text)
    loose = tmp_path / "loose.db"
    loose.touch(0o644)
    loose.chmod(0o644)
    with pytest.raises(DevserverError, match=r"chmod 600"):
        Vectors(loose)
    newer = tmp_path / "newer.db"
    with closing(sqlite3.connect(newer)) as db:
        db.execute("PRAGMA user_version=99")
    newer.chmod(0o600)
    with pytest.raises(DevserverError, match=r"newer version"):
        Vectors(newer)


def test_extensions_cannot_be_loaded_by_a_statement(store: Vectors) -> None:
    import apsw

    with pytest.raises(apsw.SQLError, match="not authorized"):
        store._db.execute("SELECT load_extension('/nowhere/x')")


# -- another embedding ----------------------------------------------------------------------


class Counting:
    """An embedding of two numbers: how often two letters stand in a text."""

    local = True

    def __init__(self, letters: str) -> None:
        self.name = f"counting-{letters}"
        self._letters = letters
        self.texts = 0

    async def ask(self, texts: Sequence[str]) -> list[list[float]]:
        raise AssertionError

    def compute(self, texts: Sequence[str]) -> list[list[float]]:
        self.texts += len(texts)
        return [[0.1 + text.count(letter) for letter in self._letters] for text in texts]

    async def close(self) -> None:
        pass


def test_vectors_of_another_embedding_are_made_anew_once(tmp_path: Path) -> None:
    path = tmp_path / "knowledge.db"

    async def first() -> None:
        library = Library(Vectors(path), Counting("ab"))
        await library.add(
            [item(f"i{number}", "aab" if number % 2 else "bbc") for number in range(600)]
        )
        await library.close()

    async def second() -> None:
        embedding = Counting("bcd")
        library = Library(Vectors(path), embedding)
        hits, total = await library.search("c", Filter(), threshold=0.4, limit=1_000)
        assert total == 300
        assert {hit.item.content for hit in hits} == {"bbc"}
        assert embedding.texts == 601
        await library.search("c", Filter(), threshold=0.4, limit=1)
        assert embedding.texts == 602
        await library.close()

    asyncio.run(first())
    asyncio.run(second())


def test_much_asked_at_once_is_answered_each_for_itself(tmp_path: Path) -> None:
    async def main() -> None:
        library = Library(Vectors(tmp_path / "knowledge.db"), Counting("ab"))
        await asyncio.gather(
            *(library.add([item(f"i{number:02}", "a" * (number + 1))]) for number in range(30))
        )
        assert library.count == 30
        answers = await asyncio.gather(
            *(
                library.search(f"{'a' * number}", Filter(), threshold=-1, limit=5)
                for number in range(30)
            ),
            *(library.remove(f"i{number:02}") for number in range(15)),
        )
        assert all(total >= 15 for _, total in answers[:30])
        assert library.count == 15
        await library.close()

    asyncio.run(main())
