"""The judgement of actions, row by row, and the questions to people that come of it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from ostiary.devserver.clock import Clock
from ostiary.devserver.http.refusals import HttpRefusal
from ostiary.devserver.workflow.policy.approvals import ApprovalRecord, Approvals, Subject
from ostiary.devserver.workflow.policy.guard import Guard, check
from ostiary.devserver.workflow.policy.permissions import missing_permissions
from ostiary.workflow.models import Action, GuardDecision, Permission, Principal, reader

read_action = reader(Action)


class Kept:
    """Documents in memory, which are written and read as those on file are."""

    def __init__(self) -> None:
        self.rows: dict[str, bytes] = {}

    def get(self, key: str) -> ApprovalRecord | None:
        raw = self.rows.get(key)
        return None if raw is None else msgspec.json.decode(raw, type=ApprovalRecord)

    def put(self, key: str, value: ApprovalRecord) -> None:
        self.rows[key] = msgspec.json.encode(value)

    def all(self) -> list[ApprovalRecord]:
        return [msgspec.json.decode(raw, type=ApprovalRecord) for raw in self.rows.values()]


class Time:
    now = 1_900_000_000.0

    def clock(self) -> Clock:
        return Clock(steady=lambda: self.now, wall=lambda: self.now)


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def approvals(time: Time) -> Approvals:
    return Approvals(Kept(), time.clock())


@pytest.fixture
def guard(approvals: Approvals) -> Guard:
    return Guard(approvals)


def permission(text: str, **more: Any) -> Permission:
    action, _, resource = text.partition(" ")
    return Permission(action=action, resource=resource, **more)


def principal(*granted: Permission, name: str = "bot") -> Principal:
    return Principal(id=name, type="agent", permissions=list(granted))


def action(tier: str = "low", *required: Permission, **more: Any) -> Action:
    raw = {"id": "do", "name": "Do it", "risk_tier": tier, "required_permissions": [], **more}
    made = read_action(msgspec.json.encode(raw))
    made.required_permissions = list(required)
    return made


def mcp(**more: Any) -> dict[str, Any]:
    return {"metadata": {"mcpActionName": "write", "mcpServerName": "files", **more}}


# Each row of the table: what is asked, then allowed, a person needed, a token given.
ROWS: dict[str, tuple[Action, str | None, bool, bool, bool]] = {
    "tool not in the allow-list": (action("low", allowed_tools=["a"]), "b", False, False, False),
    "tool in the allow-list": (action("low", allowed_tools=["a"]), "a", True, False, False),
    "empty allow-list": (action("low", allowed_tools=[]), "b", True, False, False),
    "no tool named": (action("low", allowed_tools=["a"]), None, True, False, False),
    "missing permission": (action("low", permission("x y")), None, False, False, False),
    "low": (action("low"), None, True, False, False),
    "medium": (action("medium"), None, True, False, False),
    "high": (action("high"), None, False, True, True),
    "critical": (action("critical"), None, False, True, True),
    "upper case is the same": (action("HIGH"), None, False, True, True),
    "unknown": (action("severe"), None, False, True, False),
    "mcp low": (action("low", **mcp()), None, True, False, False),
    "mcp medium": (action("medium", **mcp()), None, True, False, False),
    "mcp medium with a gate": (
        action("medium", **mcp(requiresCRVValidation=True)),
        None,
        True,
        False,
        False,
    ),
    # The original gives no token here, so that nobody can ever approve.
    "mcp high": (action("high", **mcp()), None, False, True, True),
    "mcp critical": (action("critical", **mcp()), None, False, True, True),
    # The original lets these pass.
    "mcp unknown": (action("severe", **mcp()), None, False, True, False),
}


@pytest.mark.parametrize("row", ROWS)
def test_every_row_of_the_table(guard: Guard, row: str) -> None:
    asked, tool, allowed, human, token = ROWS[row]
    decision = guard.decide(principal(), asked, tool_name=tool)
    assert decision.allowed is allowed
    assert decision.requires_human_approval is human
    assert (decision.approval_token is not None) is token
    assert decision.metadata is not None
    state = "approved" if allowed else "pending_human" if token else "rejected"
    assert decision.metadata["state"] == state
    assert decision.metadata.get("mcpServerName") == ("files" if "mcp" in row else None)


def test_reasons_say_what_is_wrong(guard: Guard) -> None:
    held = principal(permission("read db", intent="read", data_zone="public"))
    for required, said in (
        (permission("purge db"), "purge on db: it was never granted"),
        (permission("read db", intent="write"), "with the intent read, not write"),
        (permission("read db", data_zone="internal"), "up to the zone public, below internal"),
    ):
        assert said in guard.decide(held, action("low", required)).reason
    listed = action("low", allowed_tools=["a", "b"])
    assert (
        "'c' is not among those allowed: a, b" in guard.decide(held, listed, tool_name="c").reason
    )


@pytest.mark.parametrize(
    ("wanted", "grant", "covered"),
    [
        (permission("a r"), permission("a r"), True),
        (permission("a r"), permission("a s"), False),
        (permission("a r"), permission("b r"), False),
        (permission("a r"), permission("* *"), False),
        (permission("a r", intent="read"), permission("a r"), True),
        (permission("a r"), permission("a r", intent="read"), True),
        (permission("a r", intent="read"), permission("a r", intent="write"), False),
        (permission("a r", data_zone="public"), permission("a r", data_zone="restricted"), True),
        (permission("a r", data_zone="restricted"), permission("a r", data_zone="public"), False),
        (permission("a r", data_zone="internal"), permission("a r", data_zone="internal"), True),
        (permission("a r", data_zone="internal"), permission("a r"), True),
        (permission("a r"), permission("a r", conditions={"env": "lab"}), False),
        (
            permission("a r", conditions={"env": "lab"}),
            permission("a r", conditions={"env": "lab"}),
            True,
        ),
        (
            permission("a r", conditions={"env": "live"}),
            permission("a r", conditions={"env": "lab"}),
            False,
        ),
    ],
    ids=str,
)
def test_what_a_grant_covers(wanted: Permission, grant: Permission, covered: bool) -> None:
    assert (missing_permissions([wanted], [grant]) == []) is covered
    # Any one of several grants will do.
    assert (missing_permissions([wanted], [permission("z z"), grant]) == []) is covered


def test_a_zone_nobody_knows_is_above_all_as_a_demand_and_below_all_as_a_grant() -> None:
    read = reader(Permission)
    odd = read(b'{"action":"a","resource":"r","data_zone":"orbital"}')
    assert missing_permissions([odd], [permission("a r", data_zone="restricted")])
    assert missing_permissions([permission("a r", data_zone="public")], [odd])


def test_conditions_are_compared_with_what_is_known_of_the_action() -> None:
    held = principal(permission("a r", conditions={"env": "lab"}))
    assert check(held, action("low", permission("a r"), metadata={"env": "lab"})) == []
    assert check(held, action("low", permission("a r"), metadata={"env": "live"}))
    assert check(held, action("critical", permission("a r"), metadata={"env": "lab"})) == []


# -- people ---------------------------------------------------------------------------------


def ask(guard: Guard, tier: str = "critical", **more: Any) -> GuardDecision:
    return guard.decide(principal(name="bot"), action(tier), **more)


def test_what_was_approved_may_be_done_once(guard: Guard, approvals: Approvals) -> None:
    token = ask(guard).approval_token
    assert token is not None
    assert not ask(guard, approval_token=token).allowed, "nobody has answered yet"
    approvals.decide(token, approve=True, approver="ann", comment="go on")
    assert ask(guard, approval_token=token).allowed
    again = ask(guard, approval_token=token)
    assert not again.allowed
    assert "it was used before" in again.reason
    assert approvals.get(token).status == "used"
    assert approvals.get(token).comment == "go on"


def test_a_second_question_leaves_the_first_as_it_is(guard: Guard, approvals: Approvals) -> None:
    first = ask(guard, task_id="first")
    ask(guard, task_id="second")
    ask(guard, "low")
    assert first.approval_token is not None
    approvals.decide(first.approval_token, approve=True, approver="ann")
    assert ask(guard, task_id="first", approval_token=first.approval_token).allowed


def test_asking_the_same_again_is_one_question(guard: Guard) -> None:
    assert ask(guard).approval_token == ask(guard).approval_token
    assert ask(guard, task_id="t").approval_token != ask(guard).approval_token


@pytest.mark.parametrize(
    "other",
    [
        {"task_id": "another"},
        {"workflow_id": "another"},
        {"principal": principal(name="eve")},
        {"action": action("critical", name="Do more")},
        {"action": action("high")},
    ],
    ids=["task", "workflow", "principal", "action", "tier"],
)
def test_an_approval_is_for_just_what_was_asked(
    guard: Guard, approvals: Approvals, other: dict[str, Any]
) -> None:
    asked: dict[str, Any] = {
        "principal": principal(name="bot"),
        "action": action("critical"),
        "workflow_id": "w",
        "task_id": "t",
    }
    token = guard.decide(**asked).approval_token
    assert token is not None
    approvals.decide(token, approve=True, approver="ann")
    decision = guard.decide(**{**asked, **other}, approval_token=token)
    assert not decision.allowed
    assert "for another principal, action or task" in decision.reason
    assert guard.decide(**asked, approval_token=token).allowed, "it is still good for its own"


@pytest.mark.parametrize("approver", ["bot", "asker", ""])
def test_nobody_answers_himself(guard: Guard, approvals: Approvals, approver: str) -> None:
    token = ask(guard, requester="asker").approval_token
    assert token is not None
    with pytest.raises(HttpRefusal, match="may not answer") as caught:
        approvals.decide(token, approve=True, approver=approver)
    assert (caught.value.status, caught.value.code) == (403, "SELF_APPROVAL")
    assert approvals.get(token).status == "pending"


def test_an_answer_is_given_once(guard: Guard, approvals: Approvals) -> None:
    token = ask(guard).approval_token
    assert token is not None
    approvals.decide(token, approve=False, approver="ann", comment="no")
    approvals.decide(token, approve=False, approver="ann", comment="no")
    for approver in ("ann", "bob"):
        with pytest.raises(HttpRefusal, match="denied already") as caught:
            approvals.decide(token, approve=True, approver=approver)
        assert caught.value.status == 409
    denied = ask(guard, approval_token=token)
    assert not denied.allowed
    assert "it was denied" in denied.reason
    assert denied.approval_token != token, "another question can be asked"


def test_questions_and_answers_expire(guard: Guard, approvals: Approvals, time: Time) -> None:
    first = ask(guard).approval_token
    assert first is not None
    time.now += 3600
    assert approvals.get(first).status == "expired"
    with pytest.raises(HttpRefusal, match="expired already"):
        approvals.decide(first, approve=True, approver="ann")
    second = ask(guard).approval_token
    assert second is not None
    assert second != first
    approvals.decide(second, approve=True, approver="ann")
    time.now += 3599
    assert approvals.get(second).status == "approved"
    time.now += 1
    assert "it has expired" in ask(guard, approval_token=second).reason


def test_tokens_nobody_gave_are_refused(guard: Guard, approvals: Approvals) -> None:
    assert "there is no such approval" in ask(guard, approval_token="approval-made-up").reason
    with pytest.raises(HttpRefusal) as caught:
        approvals.get("approval-made-up")
    assert caught.value.status == 404


def test_low_and_medium_risk_need_nobody(approvals: Approvals) -> None:
    subject = Subject(principal=principal(), action=action("medium"))
    record = approvals.request(subject, reason="to be sure", requester="bot")
    assert record.status == "not_required"
    assert "fingerprint" not in record.shown()


def test_questions_outlive_a_restart(time: Time) -> None:
    kept = Kept()
    token = ask(Guard(Approvals(kept, time.clock()))).approval_token
    assert token is not None
    later = Approvals(kept, time.clock())
    assert ask(Guard(later)).approval_token == token
    later.decide(token, approve=True, approver="ann")
    assert ask(Guard(Approvals(kept, time.clock())), approval_token=token).allowed


def test_every_judgement_is_told(approvals: Approvals) -> None:
    told: list[tuple[str, bool]] = []
    guard = Guard(approvals, lambda who, what, found: told.append((who.id, found.allowed)))
    ask(guard, "low")
    ask(guard, "high")
    assert told == [("bot", True), ("bot", False)]
