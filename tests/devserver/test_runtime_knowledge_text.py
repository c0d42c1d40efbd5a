"""What the store is made of, without a server: words, vectors and pieces of texts."""

from __future__ import annotations

import itertools
import math
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.devserver.runtime.knowledge.chunking import chunks, shorten
from ostiary.devserver.runtime.knowledge.hashing import DIMENSIONS, vector
from ostiary.devserver.runtime.knowledge.words import cut, stem, tokens, weight

ROOT = Path(__file__).resolve().parent.parent.parent
QUESTION = "How do I configure the system?"
DOCUMENT = "This is important documentation about the system..."


def similarity(one: str, other: str) -> float:
    return sum(map(float.__mul__, vector(one), vector(other)))


# -- words ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("How do I do THIS?", ["how", "do", "i", "do", "this"]),
        ("maxRetries, max_retries; HTTP2", ["max", "retries", "max", "retries", "http2"]),
        ("It’s the café's naïve façade", ["it's", "the", "cafe's", "naive", "facade"]),
        ("ＦＵＬＬ width", ["full", "width"]),
        ("東京都 x", ["東京", "京都", "x"]),
        ("... !?", []),
    ],
    ids=range(6),
)
def test_words(text: str, words: list[str]) -> None:
    assert list(cut(text)) == words


@pytest.mark.parametrize(
    "family",
    [
        ["configure", "configures", "configured", "configuring", "configuration"],
        ["document", "documents", "documented", "documentation"],
        ["agency", "agencies"],
        ["deploy", "deploys", "deployed", "deployment", "deployments"],
        ["run", "runs", "running"],
        ["authenticate", "authentication", "authenticating"],
    ],
    ids=lambda family: family[0],
)
def test_a_family_has_one_stem(family: list[str]) -> None:
    assert len({stem(word) for word in family}) == 1


def test_strangers_keep_their_stems() -> None:
    words = ["class", "system", "agent", "key", "use", "bus", "data", "schema", "x9", "café"]
    assert len({stem(word) for word in words}) == len(words)


@given(st.text(max_size=60), st.text(max_size=60))
def test_tokens_of_parts_are_never_fewer(one: str, other: str) -> None:
    assert tokens(one + other) <= tokens(one) + tokens(other)
    assert tokens(one) <= len(one)


def test_tokens() -> None:
    assert tokens("Two words.") == 3
    assert tokens("documentation") == 2
    assert tokens("東京都") == 3
    assert tokens("") == 0


# -- the embedding --------------------------------------------------------------------------


@given(st.text(max_size=200))
def test_every_text_has_a_unit_vector(text: str) -> None:
    found = vector(text)
    assert len(found) == DIMENSIONS
    assert math.isclose(math.hypot(*found), 1.0)
    assert found[0] == pytest.approx(math.sqrt(0.5))


def test_another_process_makes_the_same_vector() -> None:
    code = (
        "from ostiary.devserver.runtime.knowledge.hashing import vector\n"
        f"print(vector({DOCUMENT!r}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == repr(vector(DOCUMENT))


def test_the_guides_question_finds_its_document() -> None:
    assert similarity(QUESTION, DOCUMENT) == pytest.approx(0.726, abs=0.001)
    assert similarity("How do I set up authentication?", DOCUMENT) == pytest.approx(
        0.524, abs=0.001
    )
    assert similarity(QUESTION, "The system crashed yesterday") == pytest.approx(0.634, abs=0.001)


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("How do I reset my password?", "To reset a password open the settings page"),
        ("rotate api keys", "API key rotation happens weekly"),
        ("database connection pool size", "The pool keeps ten database connections"),
        ("Where is the system configured?", "System configuration lives in config.yaml"),
    ],
    ids=range(4),
)
def test_related_texts_reach_the_usual_threshold(query: str, text: str) -> None:
    assert similarity(query, text) >= 0.7


def test_order_and_case_do_not_matter_and_words_do() -> None:
    assert similarity("the red house", "HOUSE, red: the") == pytest.approx(1.0)
    assert similarity("red house", "red houses") > similarity("red house", "red horses") > 0.7
    assert similarity("red house", "red barn") > similarity("red house", "blue barn")


@pytest.mark.parametrize("text", ["...", "?!", " ", ""], ids=range(4))
def test_a_text_without_words_is_near_nothing(text: str) -> None:
    assert similarity(text, DOCUMENT) < 0.6


def test_texts_that_share_no_content_word_stay_below() -> None:
    """Sentences of the documentation, each with each."""
    found: list[str] = []
    for page in sorted((ROOT / "docs").glob("*.md")):
        prose = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.S)
        found += [one.strip() for one in re.split(r"(?<=[.!?])\s+", prose)]
    sentences = random.Random(1).sample([one for one in found if 20 < len(one) < 200], 160)
    vectors = [vector(one) for one in sentences]
    content = [{stem(word) for word in cut(one) if weight(word) == 1.0} for one in sentences]
    strangers = [
        sum(map(float.__mul__, vectors[one], vectors[other]))
        for one, other in itertools.combinations(range(len(sentences)), 2)
        if content[one].isdisjoint(content[other])
    ]
    assert len(strangers) > 5_000
    assert max(strangers) < 0.7
    strangers.sort()
    assert 0.4 < strangers[len(strangers) // 100] < strangers[-len(strangers) // 100] < 0.6


# -- pieces ---------------------------------------------------------------------------------

TEXTS = st.text(
    st.sampled_from("ab .!?\n\n東。")
    | st.characters(exclude_categories=("Cs",), max_codepoint=0x3FF),
    max_size=300,
)


@given(TEXTS, st.integers(1, 40), st.integers(0, 20))
def test_pieces_hold_everything_and_are_small(text: str, size: int, overlap: int) -> None:
    found = chunks(text, size, min(overlap, size // 2))
    covered = [False] * len(text)
    for one in found:
        piece = text[one.start : one.stop]
        assert piece == piece.strip() != ""
        assert tokens(piece) == one.size <= size
        covered[one.start : one.stop] = [True] * len(piece)
    assert all(done or letter.isspace() for done, letter in zip(covered, text, strict=True))
    starts = [one.start for one in found]
    assert starts == sorted(set(starts))
    stops = [one.stop for one in found]
    assert stops == sorted(set(stops))


def test_pieces_are_whole_sentences() -> None:
    text = "One two three. Four five six! Seven eight nine? Ten eleven twelve."
    found = [text[one.start : one.stop] for one in chunks(text, 8)]
    assert found == ["One two three. Four five six!", "Seven eight nine? Ten eleven twelve."]


def test_pieces_share_sentences() -> None:
    text = "One two three. Four five six! Seven eight nine? Ten eleven twelve."
    found = [text[one.start : one.stop] for one in chunks(text, 8, 4)]
    assert found == [
        "One two three. Four five six!",
        "Four five six! Seven eight nine?",
        "Seven eight nine? Ten eleven twelve.",
    ]


def test_what_has_no_sentences_is_cut_all_the_same() -> None:
    assert [one.size for one in chunks("x" * 1_000, 40)] == [40, 40, 40, 5]
    assert len(chunks("word " * 100, 40)) == 3
    assert all(one.size <= 40 for one in chunks("京" * 1_000, 40))
    assert chunks(" \n ", 40) == []


def test_shortening() -> None:
    assert shorten("One two. Three four.", 3) == "One two."
    assert shorten("One two three", 2) == "One two"
    assert shorten("One two", 2) == "One two"
