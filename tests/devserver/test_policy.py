"""Policies: which calls they allow, for how long, and under which conditions."""

from __future__ import annotations

from typing import Any

import pytest

from ostiary.devserver import RunningVault
from ostiary.devserver.faults import Refusal
from ostiary.devserver.policy import Book, Conditions, Policy, TimeWindow, Use
from ostiary.vault import VaultError
from tests.devserver.conftest import Connect, key_of
from tests.devserver.wire import Hands, Refused

NOON = 1_900_000_000.0 - 46 * 60 - 40 - 5 * 3600  # 12:00 UTC on a Sunday
HOUR = 3600.0


def policy(name: str = "p", **fields: Any) -> Policy:
    conditions = fields.pop("conditions", {})
    return Policy(
        name=name,
        principal=fields.pop("principal", "agent:*"),
        resources=fields.pop("resources", ["*"]),
        actions=fields.pop("actions", ["retrieve", "list", "use"]),
        conditions=Conditions(**conditions),
        **fields,
    )


def code(book: Book, agent: str, resource: str, action: str, **more: Any) -> str | None:
    refusal = book.decide(agent, resource, action, 0.0, NOON, **more).refusal
    return None if refusal is None else refusal.code


@pytest.mark.parametrize(
    ("fields", "agent", "resource", "action", "allowed"),
    [
        ({}, "a", "x/y", "retrieve", True),
        ({"principal": "agent:ci-*"}, "ci-7", "x/y", "retrieve", True),
        ({"principal": "agent:ci-*"}, "dev", "x/y", "retrieve", False),
        ({"principal": "ci-?"}, "ci-7", "x/y", "retrieve", True),
        ({"principal": "agent:ci"}, "ci-7", "x/y", "retrieve", False),
        ({"principal": "agent:CI"}, "ci", "x/y", "retrieve", False),
        ({"resources": ["openai/*"]}, "a", "openai/key", "retrieve", True),
        ({"resources": ["openai/*"]}, "a", "openai/team/key", "retrieve", True),
        ({"resources": ["openai/*"]}, "a", "xopenai/key", "retrieve", False),
        ({"resources": ["openai/*"]}, "a", "OPENAI/key", "retrieve", False),
        ({"resources": ["*/name"]}, "a", "any/name", "retrieve", True),
        ({"resources": ["a/b", "c/d"]}, "a", "c/d", "retrieve", True),
        ({"resources": ["a/b"]}, "a", "a/b\n", "retrieve", False),
        ({"resources": ["a.b"]}, "a", "aXb", "retrieve", False),
        ({"actions": ["use"]}, "a", "x/y", "retrieve", False),
        ({"actions": ["use"]}, "a", "x/y", "use", True),
        ({"enabled": False}, "a", "x/y", "retrieve", False),
    ],
)
def test_matching(
    fields: dict[str, Any], agent: str, resource: str, action: str, allowed: bool
) -> None:
    book = Book([policy(**fields)])
    assert (code(book, agent, resource, action) is None) is allowed
    assert code(book, agent, resource, action) in {None, "ACCESS_DENIED"}


def test_no_policy_denies() -> None:
    assert code(Book([]), "a", "x", "retrieve") == "ACCESS_DENIED"


def test_any_match_allows_and_the_smallest_ttl_wins() -> None:
    book = Book(
        [
            policy("wide", max_ttl=900),
            policy("narrow", resources=["db/*"], max_ttl=60),
            policy("off", max_ttl=5, enabled=False),
        ]
    )
    decision = book.decide("a", "db/x", "retrieve", 0.0, NOON)
    assert (decision.policy, decision.ttl) == ("narrow", 60)
    assert book.decide("a", "web/x", "retrieve", 0.0, NOON).ttl == 900
    book.remove("narrow")
    assert book.decide("a", "db/x", "retrieve", 0.0, NOON).ttl == 900


def test_hourly_limit_slides() -> None:
    book = Book([policy(conditions={"max_retrievals_per_hour": 2})])

    def ask(at: float, agent: str = "a") -> Refusal | None:
        return book.decide(agent, "x", "retrieve", at, NOON).refusal

    assert ask(0.0) is None
    assert ask(1000.0) is None
    refused = ask(1500.0)
    assert refused is not None
    assert refused.code == "RATE_LIMITED"
    assert refused.context == {"retry_after": HOUR - 1500.0}
    assert ask(1500.0, "b") is None, "another agent has its own count"
    assert book.decide("a", "x", "use", 1500.0, NOON).refusal is None, "so has another action"
    assert ask(HOUR - 0.5) is not None
    assert ask(HOUR) is None
    assert ask(HOUR + 1) is not None
    # Refused calls are not counted, so waiting helps.
    assert ask(HOUR + 1000.0) is None


def test_uses_have_their_own_hourly_limit() -> None:
    book = Book([policy(conditions={"max_uses_per_hour": 1})])
    assert code(book, "a", "x", "use") is None
    assert code(book, "a", "x", "use") == "RATE_LIMITED"
    assert code(book, "a", "x", "retrieve") is None


def test_a_limit_of_none_at_all() -> None:
    book = Book([policy(conditions={"max_uses_per_hour": 0})])
    assert code(book, "a", "x", "use") == "ACCESS_DENIED"


def test_an_unlimited_policy_stands_in() -> None:
    book = Book([policy("one", conditions={"max_retrievals_per_hour": 1}), policy("two")])
    for _ in range(3):
        assert code(book, "a", "x", "retrieve") is None


@pytest.mark.parametrize(
    ("window", "hour", "holds"),
    [
        ("09:00-17:00", 12, True),
        ("09:00-17:00", 8.99, False),
        ("09:00-17:00", 9, True),
        ("09:00-17:00", 17, False),
        ("22:00-06:00", 23, True),
        ("22:00-06:00", 5, True),
        ("22:00-06:00", 12, False),
        (TimeWindow(days=["sun"]), 12, True),
        (TimeWindow(days=["mon", "Tuesday"]), 12, False),
        # Sunday night's window reaches into Monday, Saturday's into Sunday.
        (TimeWindow(start="22:00", end="06:00", days=["sat"]), 5, True),
        (TimeWindow(start="22:00", end="06:00", days=["sun"]), 5, False),
        (TimeWindow(start="09:00", end="17:00", timezone="Asia/Tokyo"), 1, True),
        (TimeWindow(start="09:00", end="17:00", timezone="Asia/Tokyo"), 12, False),
    ],
)
def test_time_window(window: Any, hour: float, holds: bool) -> None:
    book = Book([policy(conditions={"time_window": window})])
    at = NOON + (hour - 12) * HOUR
    assert (book.decide("a", "x", "retrieve", 0.0, at).refusal is None) is holds


@pytest.mark.parametrize(
    ("conditions", "use", "allowed"),
    [
        ({"allowed_operations": ["sign"]}, Use("sign", algorithm="ed25519"), True),
        ({"allowed_operations": ["sign"]}, Use("encrypt"), False),
        ({"allowed_operations": []}, Use("encrypt"), False),
        ({"allowed_sign_algorithms": ["ed25519"]}, Use("sign", algorithm="ed25519"), True),
        ({"allowed_sign_algorithms": ["ed25519"]}, Use("sign", algorithm="hmac-sha256"), False),
        ({"allowed_domains": ["api.x.test"]}, Use("http_request", domain="api.x.test"), True),
        ({"allowed_domains": ["api.x.test"]}, Use("http_request", domain="API.X.TEST"), True),
        ({"allowed_domains": ["*.x.test"]}, Use("http_request", domain="api.x.test"), True),
        ({"allowed_domains": ["*.x.test"]}, Use("http_request", domain="x.test"), False),
        ({"allowed_domains": ["*.x.test"]}, Use("http_request", domain="evil.test"), False),
        ({"allowed_domains": ["x.test"]}, Use("http_request", domain="x.test.evil"), False),
        ({"allowed_domains": []}, Use("http_request", domain="x.test"), False),
        # A header handed out goes anywhere, so domains alone do not allow it.
        ({"allowed_domains": ["x.test"]}, Use("http_header"), False),
        (
            {"allowed_domains": ["x.test"], "allowed_operations": ["http_header"]},
            Use("http_header"),
            True,
        ),
        ({"allowed_domains": ["x.test"]}, Use("sign", algorithm="hmac-sha256"), True),
    ],
)
def test_use_conditions(conditions: dict[str, Any], use: Use, allowed: bool) -> None:
    book = Book([policy(conditions=conditions)])
    decision = book.decide("a", "x", "use", 0.0, NOON, use=use)
    assert (decision.refusal is None) is allowed
    if decision.refusal is not None:
        assert decision.refusal.code == "ACCESS_DENIED"
        assert decision.refusal.detail


@pytest.mark.parametrize(
    "fields",
    [
        {"resources": []},
        {"actions": []},
        {"actions": ["fly"]},
        {"principal": ""},
        {"max_ttl": 0},
        {"conditions": {"max_uses_per_hour": -1}},
        {"conditions": {"time_window": "nine to five"}},
        {"conditions": {"time_window": "9-17"}},
        {"conditions": {"time_window": TimeWindow(days=["someday"])}},
        {"conditions": {"time_window": TimeWindow(timezone="Mars/Olympus")}},
    ],
)
def test_policies_that_make_no_sense(fields: dict[str, Any]) -> None:
    with pytest.raises(Refusal) as caught:
        Book.prepare(policy(**fields))
    assert caught.value.code == "INVALID_REQUEST"


# -- over a socket --------------------------------------------------------------


def test_denied_and_not_found(connect: Connect) -> None:
    one = connect("guest")
    assert one.retrieve("guest/one")["ttl"] == 300
    with pytest.raises(Refused) as caught:
        one.retrieve("guest/none")
    assert caught.value.code == "CREDENTIAL_NOT_FOUND"
    # Whether it exists is not for those who may not have it.
    for path in ("maps/token", "maps/nothing"):
        for call in (one.retrieve, lambda p: one.use(p, "http_header")):
            with pytest.raises(Refused) as caught:
                call(path)
            assert caught.value.code == "ACCESS_DENIED"
            assert caught.value["context"]["path"] == path
    assert [entry["path"] for entry in one.list()] == ["guest/one"]


def test_policies_change_at_once(vault: RunningVault, connect: Connect) -> None:
    one = connect("guest")
    with pytest.raises(Refused):
        one.retrieve("maps/token")
    vault.admin.policy_add(
        "maps", principal="agent:g*", resources=["maps/*"], actions=["retrieve"], max_ttl=30
    )
    assert one.retrieve("maps/token", ttl=500)["ttl"] == 30
    vault.admin.policy_remove("maps")
    with pytest.raises(Refused):
        one.retrieve("maps/token")


def test_hourly_limit_over_the_wire(vault: RunningVault, connect: Connect, hands: Hands) -> None:
    vault.admin.policy_add(
        "maps",
        principal="agent:guest",
        resources=["maps/*"],
        actions=["retrieve"],
        conditions={"max_retrievals_per_hour": 1},
    )
    one = connect("guest")
    one.retrieve("maps/token")
    hands.forward(600)
    with pytest.raises(Refused) as caught:
        one.retrieve("maps/token")
    assert caught.value.code == "RATE_LIMITED"
    assert caught.value["context"] == {"retry_after": 3000.0}
    hands.forward(3000)
    one.login("guest", key_of(vault, "guest"))  # its session has ended in the meantime
    assert one.retrieve("maps/token")


def test_a_mistyped_condition_is_refused(vault: RunningVault) -> None:
    with pytest.raises(VaultError) as caught:
        vault.admin.policy_add(
            "p",
            principal="*",
            resources=["*"],
            actions=["use"],
            conditions={"max_use_per_hour": 1},
        )
    assert caught.value.code == "INVALID_REQUEST"


def test_simulate_counts_nothing(vault: RunningVault, connect: Connect) -> None:
    vault.admin.policy_add(
        "once",
        principal="agent:guest",
        resources=["maps/*"],
        actions=["retrieve"],
        max_ttl=45,
        conditions={"max_retrievals_per_hour": 1},
    )
    for _ in range(3):
        verdict = vault.admin.policy_simulate("guest", "maps/token", "retrieve")
        assert (verdict.allowed, verdict.policy_name, verdict.lease_ttl) == (True, "once", 45)
    connect("guest").retrieve("maps/token")
    verdict = vault.admin.policy_simulate("guest", "maps/token", "retrieve")
    assert not verdict.allowed
    assert verdict.reason
