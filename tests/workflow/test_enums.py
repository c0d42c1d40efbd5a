"""Words: as text, as members, in any casing, and those that nobody has told us of."""

from __future__ import annotations

import pickle
from typing import Any

import msgspec
import pytest

from ostiary.workflow import enums

ENUMS: list[Any] = [getattr(enums, name) for name in enums.__all__]
WORDS: dict[str, str] = {
    "RiskTier": "LOW MEDIUM HIGH CRITICAL",
    "PolicyRiskTier": "low medium high critical",
    "Intent": "read write delete execute admin",
    "DataZone": "public internal confidential restricted",
    "TaskType": "action decision parallel",
    "SandboxType": "mock simulation container vm process",
    "GoalGuardState": "idle evaluating approved rejected pending_human",
    "FailureTaxonomy": "MISSING_DATA CONFLICT OUT_OF_SCOPE LOW_CONFIDENCE POLICY_VIOLATION "
    "TOOL_ERROR NON_DETERMINISM",
    "TelemetryEventType": "step_start step_end tool_call crv_result policy_check snapshot_commit "
    "rollback custom",
    "LogLevel": "debug info warn error",
    "CrvStatus": "passed blocked warning",
    "PrincipalType": "agent human service",
    "ResultStatus": "success failed partial skipped",
    "WorkflowState": "pending running completed failed paused",
    "TaskState": "pending running completed failed retrying timeout",
}


@pytest.mark.parametrize("name", WORDS)
def test_the_words_of_the_protocol_are_there(name: str) -> None:
    kind: Any = getattr(enums, name)
    assert set(WORDS[name].split()) <= {member.value for member in kind}
    for word in WORDS[name].split():
        assert getattr(kind, word.upper()) is kind(word)


@pytest.mark.parametrize("kind", ENUMS, ids=lambda one: one.__name__)
def test_a_word_is_text_in_any_casing(kind: Any) -> None:
    for member in kind:
        word = member.value
        assert f"{member}" == str(member) == member == word
        assert msgspec.json.decode(msgspec.json.encode(member), type=kind) is member
        assert pickle.loads(pickle.dumps(member)) is member
        for other in (word.upper(), word.lower(), word.replace("_", "-")):
            assert kind(other) == member
            assert kind(other).is_known


@pytest.mark.parametrize("kind", ENUMS, ids=lambda one: one.__name__)
def test_an_unknown_word_survives(kind: Any) -> None:
    new = msgspec.json.decode(b'"never_heard_of"', type=kind)
    assert new == new.raw == f"{new}" == "never_heard_of"
    assert not new.is_known
    assert new not in list(kind)
    assert msgspec.json.encode(new) == b'"never_heard_of"'
    assert pickle.loads(pickle.dumps(new)) == new


def test_the_package_offers_every_word() -> None:
    import ostiary.workflow

    for kind in ENUMS:
        assert getattr(ostiary.workflow, kind.__name__) is kind
        assert kind.__doc__
