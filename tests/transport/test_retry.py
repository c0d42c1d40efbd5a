"""Which failures are repeated and after how long, as tables; nothing here sleeps or connects."""

from __future__ import annotations

import math

import pytest

from ostiary import _retry
from ostiary._retry import RetryBudget, RetryPolicy
from ostiary._wire.rpc import UnexpectedShape
from ostiary.errors import (
    APIError,
    BadGatewayError,
    BadRequestError,
    ClientStateError,
    ConflictError,
    ConnectError,
    ConnectionLostError,
    DeadlineError,
    GatewayTimeoutError,
    InvalidArgumentError,
    LockedError,
    OstiaryError,
    ProtocolError,
    RateLimitError,
    ServerError,
    SizeLimitError,
    TransportError,
    UnavailableError,
    error_for_status,
)

POLICY = RetryPolicy()
FOREVER = math.inf


@pytest.fixture
def draw(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the random source gives, over and over: its last item."""
    drawn = [0.5]
    monkeypatch.setattr(_retry.random, "random", lambda: drawn[-1])
    return drawn


def delay(
    error: OstiaryError,
    attempt: int = 0,
    left: float = FOREVER,
    *,
    policy: RetryPolicy = POLICY,
    budget: RetryBudget | None = None,
    repeatable: bool = False,
) -> float | None:
    return policy.delay(error, attempt, left, budget or RetryBudget(), repeatable=repeatable)


def drained(left: int = 0) -> RetryBudget:
    """A budget with so many retries left."""
    budget = RetryBudget()
    while budget.spend():
        pass
    for _ in range(left * int(RetryBudget.COST)):
        budget.earn()
    return budget


# error, tried again if not repeatable, tried again if repeatable
MAY: list[tuple[OstiaryError, bool, bool]] = [
    (ConnectError("x"), True, True),
    (ConnectError("x", sent=True), False, True),
    (ConnectionLostError("x"), True, True),
    (ConnectionLostError("x", sent=True), False, True),
    (RateLimitError("x"), True, True),
    (BadGatewayError("x"), False, True),
    (UnavailableError("x"), False, True),
    (GatewayTimeoutError("x"), False, True),
    (DeadlineError("x"), False, False),
    (DeadlineError("x", sent=True), False, False),
    (ProtocolError("x"), False, False),
    (ProtocolError("x", sent=True), False, False),
    (SizeLimitError("x", sent=True), False, False),
    (UnexpectedShape("x", sent=True), False, False),
    (TransportError("x"), False, False),
    (APIError("x"), False, False),
    (APIError("x", status=429), False, False),
    (BadRequestError("x"), False, False),
    (ConflictError("x"), False, False),
    (LockedError("x"), False, False),
    (ServerError("x"), False, False),
    (ServerError("x", status=503), False, False),
    (InvalidArgumentError("x"), False, False),
    (ClientStateError("x"), False, False),
    (OstiaryError("x"), False, False),
]


@pytest.mark.parametrize(
    ("error", "alone", "repeatable"),
    MAY,
    ids=[f"{type(e).__name__}-{getattr(e, 'sent', getattr(e, 'status', ''))}" for e, *_ in MAY],
)
def test_what_may_be_tried_again(error: OstiaryError, alone: bool, repeatable: bool) -> None:
    assert (delay(error, repeatable=False) is not None) is alone
    assert (delay(error, repeatable=True) is not None) is repeatable


@pytest.mark.parametrize("kind", [DeadlineError, ProtocolError])
def test_a_retryable_mark_does_not_outvote_the_kind(kind: type[TransportError]) -> None:
    error = kind("x")
    error.retryable = True
    assert delay(error, repeatable=True) is None


def test_an_error_may_be_marked_as_final() -> None:
    error = ConnectionLostError("x")
    error.retryable = False
    assert delay(error, repeatable=True) is None


@pytest.mark.parametrize("status", range(400, 600))
def test_every_status(status: int) -> None:
    error = error_for_status(status)("x", status=status)
    assert (delay(error, repeatable=True) is not None) is (status in {429, 502, 503, 504})
    assert (delay(error, repeatable=False) is not None) is (status == 429)


@pytest.mark.parametrize(
    ("attempt", "ceiling"),
    [(0, 0.05), (1, 0.1), (2, 0.2), (3, 0.4), (5, 1.6), (6, 2.0), (29, 2.0), (31, 2.0),
     (1100, 2.0), (5000, 2.0)],
)  # fmt: skip
def test_ceilings_double_and_end(draw: list[float], attempt: int, ceiling: float) -> None:
    policy = RetryPolicy(max_retries=10_000)
    for share in (0.0, 0.25, 0.5, 1.0):
        draw.append(share)
        found = delay(ConnectError("x"), attempt, policy=policy)
        assert found == pytest.approx(ceiling * share, abs=1e-12)


@pytest.mark.parametrize("attempt", range(8))
def test_what_is_drawn_stays_below_the_ceiling(attempt: int) -> None:
    policy = RetryPolicy(max_retries=100)
    ceiling = min(0.05 * 2**attempt, 2.0)
    drawn = [delay(ConnectError("x"), attempt, policy=policy) for _ in range(300)]
    assert all(one is not None and 0 <= one < ceiling for one in drawn)
    assert len(set(drawn)) > 200, "everybody would come back at once"


@pytest.mark.parametrize("most", [0, 1, 3, 7])
def test_attempts_are_counted(most: int) -> None:
    policy = RetryPolicy(max_retries=most)
    budget = RetryBudget()
    given = [
        delay(ConnectError("x"), n, policy=policy, budget=budget) is not None for n in range(most)
    ]
    assert all(given)
    for attempt in (most, most + 1, 5000):
        before = drained(1)
        assert delay(ConnectError("x"), attempt, policy=policy, budget=before) is None
        assert before.spend(), "a retry that was not granted was paid for"


# asked, share drawn, delay; None: the peer's word is no time, and the ceiling counts
ASKED: list[tuple[float, float, float | None]] = [
    (0, 0.0, 0.0),
    (0, 1.0, 0.0),
    (0.0, 0.5, 0.0),
    (0.2, 0.0, 0.2),
    (0.2, 1.0, 0.25),
    (1, 1.0, 1.25),
    (10, 0.0, 10.0),
    (10, 1.0, 10.25),
    (60, 0.0, 60.0),
    (60.0, 1.0, 60.25),
    (-1, 0.5, None),
    (-0.001, 0.5, None),
    (math.nan, 0.5, None),
    (math.inf, 0.5, None),
    (-math.inf, 0.5, None),
]


@pytest.mark.parametrize(("asked", "share", "expected"), ASKED)
@pytest.mark.parametrize("kind", [RateLimitError, UnavailableError])
def test_the_peer_may_name_the_time(
    draw: list[float], kind: type[APIError], asked: float, share: float, expected: float | None
) -> None:
    draw.append(share)
    if expected is None:
        expected = 0.05 * share
    found = delay(kind("x", retry_after=asked), repeatable=True)
    assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("asked", [60.001, 61, 1e9, 1e308])
def test_a_time_too_long_ends_it(asked: float) -> None:
    budget = drained(1)
    assert delay(RateLimitError("x", retry_after=asked), budget=budget) is None
    assert budget.spend(), "a retry that was not granted was paid for"
    patient = RetryPolicy(longest_wait=math.inf)
    found = delay(RateLimitError("x", retry_after=asked), policy=patient)
    assert found is not None
    assert asked <= found <= asked + 0.25


def test_a_named_time_makes_nothing_retryable() -> None:
    assert delay(APIError("x", retry_after=0), repeatable=True) is None
    assert delay(LockedError("x", retry_after=1), repeatable=True) is None
    assert delay(UnavailableError("x", retry_after=1), repeatable=False) is None


@pytest.mark.parametrize(
    ("error", "attempt", "wait"),
    [
        (ConnectError("x"), 0, 0.025),
        (ConnectError("x"), 2, 0.1),
        (RateLimitError("x", retry_after=4), 0, 4.125),
        (RateLimitError("x", retry_after=0), 0, 0.0),
    ],
)
def test_the_deadline_is_never_slept_past(
    draw: list[float], error: OstiaryError, attempt: int, wait: float
) -> None:
    assert delay(error, attempt, wait + 0.001) == pytest.approx(wait)
    for left in (wait, wait / 2, 0.0, -1.0):
        budget = drained(1)
        assert delay(error, attempt, left, budget=budget) is None
        assert budget.spend(), "a retry that was not granted was paid for"


def test_an_empty_budget_ends_it() -> None:
    for error in (ConnectError("x"), RateLimitError("x", retry_after=0)):
        assert delay(error, budget=drained(), repeatable=True) is None
        budget = drained(1)
        assert delay(error, budget=budget, repeatable=True) is not None
        assert delay(error, budget=budget, repeatable=True) is None


def test_refusing_to_repeat_costs_nothing() -> None:
    budget = drained(1)
    for error, alone, _ in MAY:
        if not alone:
            assert delay(error, budget=budget) is None
    assert budget.spend()


class TestBudget:
    def test_so_many_at_once(self) -> None:
        budget = RetryBudget()
        spent = 0
        while budget.spend():
            spent += 1
        assert spent == RetryBudget.CAPACITY / RetryBudget.COST == 50
        assert not budget.spend()

    def test_ten_good_calls_pay_for_one(self) -> None:
        budget = drained()
        for _ in range(9):
            budget.earn()
            assert not budget.spend()
        budget.earn()
        assert budget.spend()
        assert not budget.spend()

    def test_a_failed_spend_takes_nothing(self) -> None:
        budget = drained()
        for _ in range(9):
            budget.earn()
        for _ in range(100):
            assert not budget.spend()
        budget.earn()
        assert budget.spend()

    def test_good_times_are_not_hoarded(self) -> None:
        budget = RetryBudget()
        for _ in range(10_000):
            budget.earn()
        spent = 0
        while budget.spend():
            spent += 1
        assert spent == 50

    def test_each_has_its_own(self) -> None:
        drained()
        assert RetryBudget().spend()

    def test_a_service_that_is_down_is_spared(self) -> None:
        """A thousand calls that all fail are repeated fifty times, not three thousand."""
        budget = RetryBudget()
        repeats = 0
        for _ in range(1000):
            attempt = 0
            while delay(ConnectError("x"), attempt, budget=budget) is not None:
                attempt += 1
                repeats += 1
        assert repeats == 50
