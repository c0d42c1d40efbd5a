"""The rules: each finds what it says, nothing else, and spelling does not matter."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ostiary.devserver.governance.commands import pieces
from ostiary.devserver.governance.rules import (
    ALLOW,
    BLOCK,
    RULES,
    THROTTLE,
    Judgement,
    judge,
    judge_command,
)


@pytest.mark.parametrize(
    ("text", "decision", "policy"),
    [
        ("create a report", ALLOW, "R-0"),
        ("Hello!", ALLOW, "R-0"),
        ("analyze data", ALLOW, "R-0"),
        ("", ALLOW, "R-0"),
        ("delete all production data", BLOCK, "R-1"),
        ("please, DROP the prod-database now", BLOCK, "R-1"),
        ("ｄｅｌｅｔｅ ａｌｌ ｐｒｏｄｕｃｔｉｏｎ ｄａｔａ", BLOCK, "R-1"),
        ("wiping\nthe live site", BLOCK, "R-1"),
        ("show me the passwords", BLOCK, "R-2"),
        ("post the api key to the channel", BLOCK, "R-2"),
        ("bypass the audit log", BLOCK, "R-3"),
        ("turn off governance for a minute", BLOCK, "R-3"),
        ("email every customer", THROTTLE, "R-5"),
        ("send a message to everyone", THROTTLE, "R-5"),
        ("delete my draft", THROTTLE, "R-6"),
        ("x" * 20_001, THROTTLE, "R-8"),
        ("x" * 20_000, ALLOW, "R-0"),
        # Words, not parts of words.
        ("a raindrop in production", ALLOW, "R-0"),
        ("product ideas, alphabetical", ALLOW, "R-0"),
        ("how do I store a password?", ALLOW, "R-0"),
        ("describe our policies", ALLOW, "R-0"),
        ("read all emails", ALLOW, "R-0"),
    ],
)
def test_texts(text: str, decision: str, policy: str) -> None:
    found = judge(text)
    assert (found.decision, found.policy) == (decision, policy)


@pytest.mark.parametrize(
    ("kind", "arguments", "decision", "policy"),
    [
        ("WRITE", {"path": "/tmp/test"}, ALLOW, "R-0"),
        ("WRITE", {}, ALLOW, "R-0"),
        ("READ", {"path": "/etc/hosts"}, ALLOW, "R-0"),
        ("write", {"path": "/etc/hosts"}, BLOCK, "R-4"),
        (" Write ", {"path": "/ETC"}, BLOCK, "R-4"),
        ("WRITE", {"files": [{"path": "/usr/lib/x"}]}, BLOCK, "R-4"),
        ("WRITE", {"path": "/tmp/../boot"}, BLOCK, "R-4"),
        ("MOVE", {"to": "/"}, BLOCK, "R-4"),
        ("WRITE", {"path": "/etcetera/x"}, ALLOW, "R-0"),
        ("WRITE", {"path": "etc/x"}, ALLOW, "R-0"),
        ("SHELL", {"command": "ls"}, THROTTLE, "R-7"),
        ("DEPLOY", {"to": "production"}, THROTTLE, "R-7"),
        ("DELETE", {"row": "1"}, THROTTLE, "R-6"),
        ("DELETE", {"in": ["production"]}, BLOCK, "R-1"),
        ("ANY", {"a": {"b": {"c": ["bypass governance"]}}}, BLOCK, "R-3"),
        # A name is not a text of the command's.
        ("ANY", {"delete all production data": 1}, ALLOW, "R-0"),
    ],
)
def test_commands(kind: str, arguments: dict[str, object], decision: str, policy: str) -> None:
    found = judge_command(kind, arguments)
    assert (found.decision, found.policy) == (decision, policy)


def test_the_most_severe_decides_and_all_are_named() -> None:
    found = judge("delete all production data and email every password to me, bypass the audit")
    assert found.policy == "R-1"
    assert [v["rule"] for v in found.violations] == ["R-1", "R-3", "R-5", "R-6"]
    assert all(set(v) == {"rule", "decision", "reason"} for v in found.violations)
    assert found.reason == found.violations[0]["reason"]
    assert found.risk_score > judge("delete all production data").risk_score


@given(st.text())
def test_every_text_is_judged(text: str) -> None:
    check(judge(text))


VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@settings(max_examples=50)
@given(st.text(), st.dictionaries(st.text(), VALUES))
def test_every_command_is_judged(kind: str, arguments: dict[str, object]) -> None:
    check(judge_command(kind, arguments))


def check(found: Judgement) -> None:
    assert found.decision in {ALLOW, THROTTLE, BLOCK}
    assert 0.0 <= found.risk_score <= 1.0
    assert (found.decision == ALLOW) == (found.violations == [])
    assert found.policy in {"R-0", *(rule.id for rule in RULES)}


def test_a_deep_command_is_judged_as_far_as_it_goes() -> None:
    deep: object = "bypass governance"
    for _ in range(500):
        deep = [deep]
    assert judge_command("ANY", {"x": deep}).decision == ALLOW
    assert judge_command("ANY", {"x": ["y", {"z": "bypass governance"}]}).decision == BLOCK


@given(st.text())
def test_the_pieces_of_an_answer_are_the_answer(text: str) -> None:
    found = pieces(text)
    assert "".join(found) == f"processed: {text}"
    assert all(found)


def test_a_long_answer_has_bounded_pieces() -> None:
    found = pieces("word " * 100_000)
    assert "".join(found) == "processed: " + "word " * 100_000
    assert 128 <= len(found) <= 256


def test_the_documentation_lists_the_rules(root: Path) -> None:
    page = (root / "docs" / "dev.md").read_text("utf-8")
    for rule in RULES:
        (row,) = [line for line in page.splitlines() if line.startswith(f"| {rule.id} |")]
        assert rule.decision in row
        assert rule.reason in row
