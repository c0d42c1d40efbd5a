"""Words: as text, as members, and those that nobody has told us of."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import msgspec
import pytest

from ostiary.runtime import enums
from ostiary.runtime.enums import AgentState, FindingSeverity, OpenEnum, ReviewStatus

ENUMS: list[type[OpenEnum]] = [getattr(enums, name) for name in enums.__all__ if name != "OpenEnum"]
WORDS: dict[str, str] = {
    "AgentState": "idle active busy error stopped",
    "SecretBackendType": "vault encrypted_file os_keychain",
    "VaultAuthMethod": "token kubernetes aws_iam approle",
    "McpConnectionStatus": "connected disconnected connecting error",
    "KnowledgeSourceType": "document code api_reference conversation",
    "ReviewStatus": "submitted pending_analysis analyzing pending_review under_review approved "
    "rejected signed",
    "FindingSeverity": "low medium high critical",
    "FindingCategory": "schema_injection privilege_escalation data_exposure malicious_code "
    "resource_abuse",
    "RouteMatchType": "path_prefix header_equals json_field_equals",
    "HttpMethod": "GET POST PUT DELETE PATCH HEAD OPTIONS",
    "EndpointStatus": "active inactive maintenance error",
    "MessageStatus": "pending delivered failed expired",
    "MessageType": "direct publish subscribe broadcast request response",
    "WebhookInvocationStatus": "execution_started completed",
}
STATES = {
    "Created": "idle",
    "Initializing": "busy",
    "Ready": "idle",
    "Running": "active",
    "Suspended": "stopped",
    "Waiting": "idle",
    "Completed": "idle",
    "Failed": "error",
    "Terminating": "busy",
    "Terminated": "stopped",
    "Unreachable": "error",
}


@pytest.mark.parametrize("name", WORDS)
def test_the_words_of_the_protocol_are_there(name: str) -> None:
    kind: type[OpenEnum] = getattr(enums, name)
    assert set(WORDS[name].split()) <= {member.value for member in kind}
    for word in WORDS[name].split():
        assert getattr(kind, word.upper()) is kind(word)


@pytest.mark.parametrize("kind", ENUMS, ids=lambda one: one.__name__)
def test_a_word_is_text(kind: Any) -> None:
    for member in kind:
        word = member.value
        assert str(member) == f"{member}" == f"{member:s}" == format(member) == word
        assert f"{member:>20}" == f"{word:>20}"
        assert member == word
        assert hash(member) == hash(word)
        assert {word: 1}[member] == 1
        assert member.upper() == word.upper()
        assert f"{word}!" == member + "!"
        assert msgspec.json.decode(msgspec.json.encode(member), type=kind) is member
        assert pickle.loads(pickle.dumps(member)) is member
        assert member.raw == word
        assert member.is_known


@pytest.mark.parametrize("kind", ENUMS, ids=lambda one: one.__name__)
def test_an_unknown_word_survives(kind: Any) -> None:
    new = msgspec.json.decode(b'"never_heard_of"', type=kind)
    assert isinstance(new, kind)
    assert new == new.value == new.raw == f"{new}" == "never_heard_of"
    assert not new.is_known
    assert new not in list(kind)
    assert "never_heard_of" in repr(new)
    assert new == kind("never_heard_of")
    assert hash(new) == hash("never_heard_of")
    assert pickle.loads(pickle.dumps(new)) == copy.deepcopy(new) == new
    assert msgspec.json.encode(new) == b'"never_heard_of"'


def test_unknown_words_are_not_collected() -> None:
    before = len(ReviewStatus._value2member_map_)
    for number in range(50):
        ReviewStatus(f"made-up-{number}")
    assert len(ReviewStatus._value2member_map_) == before
    assert len(list(ReviewStatus)) == before


@pytest.mark.parametrize("word", STATES)
def test_the_states_of_the_runtime_server(word: str) -> None:
    state = msgspec.json.decode(f'"{word}"'.encode(), type=AgentState)
    member = AgentState(STATES[word])
    assert state == member == STATES[word]
    assert f"{state}" == STATES[word]
    assert hash(state) == hash(member)
    assert state.raw == word
    assert state.name == member.name
    assert state.is_known
    assert pickle.loads(pickle.dumps(state)).raw == word
    match state:
        case AgentState.IDLE | AgentState.ACTIVE | AgentState.BUSY:
            assert STATES[word] in {"idle", "active", "busy"}
        case _:
            assert STATES[word] in {"error", "stopped"}


@pytest.mark.parametrize(
    ("kind", "word", "meant"),
    [
        (AgentState, "IDLE", "idle"),
        (AgentState, "running", "active"),
        (ReviewStatus, "PendingReview", "pending_review"),
        (ReviewStatus, "pending-review", "pending_review"),
        (enums.ScheduleStatus, "DeadLetter", "dead_letter"),
        (enums.ScheduleRunStatus, "TimedOut", "timed_out"),
        (enums.HeldActionKind, "ToolCall", "tool_call"),
        (enums.EventType, "run_started", "RunStarted"),
        (enums.ExecutionMode, "CronScheduled", "CronScheduled"),
        (enums.HttpMethod, "get", "GET"),
    ],
)
def test_another_spelling_is_the_same_word(kind: Any, word: str, meant: str) -> None:
    assert kind(word) == meant
    assert kind(word).raw == word


@pytest.mark.parametrize("value", ["", 5, None, b"idle", ["idle"]], ids=repr)
def test_what_is_no_word_is_refused(value: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        AgentState(value)


def test_what_a_review_waits_for() -> None:
    assert [one.value for one in ReviewStatus if one.is_final] == ["approved", "rejected", "signed"]
    assert ReviewStatus("Approved").is_final
    assert not ReviewStatus("quarantined").is_final


def test_severities_print_as_the_guide_prints_them() -> None:
    assert f"- {FindingSeverity.HIGH.upper()}: {FindingSeverity.HIGH}" == "- HIGH: high"
