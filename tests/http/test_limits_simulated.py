"""What a limit makes of a server's answers, in simulated time."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ostiary._limit import OVERLOADED, AdaptiveLimit
from tests.http.simulated import ROUTE, Simulation, always, exponential

STATUSES = st.sampled_from([200, 200, 200, 204, 304, 404, 429, 500, 503, None])
ANSWERS = st.tuples(
    st.integers(0, 3),  # how many rounds ago it was sent
    st.sampled_from(["GET /", "POST /", "GET /{id}"]),
    st.floats(0, 1e6) | st.just(0.0),
    STATUSES,
)


def answer(limit: AdaptiveLimit, times: int, seconds: float, status: int | None = 200) -> None:
    """Answer requests of the present round, as many under way as may be."""
    for _ in range(times):
        round_ = limit.sent(limit.now)
        limit.answered(round_, ROUTE, seconds, status)


def grown(most: int) -> AdaptiveLimit:
    """Return one that has grown to `most`, at a second an answer."""
    limit = AdaptiveLimit(most)
    while limit.now < most:
        answer(limit, 1, 1.0)
    return limit


@given(st.integers(1, 300), st.lists(ANSWERS, max_size=150))
def test_whatever_a_server_does_the_limit_stays_within_its_bounds(
    most: int, answers: list[tuple[int, str, float, int | None]]
) -> None:
    limit = AdaptiveLimit(most)
    for age, route, seconds, status in answers:
        round_ = limit.sent(limit.now)
        limit.answered(round_ - age, route, seconds, status)
        assert 1 <= limit.now <= most


# Seconds have no scale of their own: a millisecond and an hour are learned alike.
seconds = st.floats(1e-3, 3600)


@settings(max_examples=6)
@given(st.integers(1, 60), seconds)
def test_it_settles_near_the_capacity_of_the_server(workers: int, each: float) -> None:
    simulation = Simulation(200, work=always(each), workers=workers)
    simulation.run(6000)
    assert 0.5 * workers <= simulation.settled <= 2 * workers + 4
    assert simulation.rate >= 0.9 * workers / each


@settings(max_examples=6)
@given(st.integers(4, 60), seconds, st.integers(0, 1 << 32))
def test_it_does_so_where_no_two_requests_take_the_same(
    workers: int, each: float, seed: int
) -> None:
    simulation = Simulation(200, work=exponential(each, seed), workers=workers)
    simulation.run(10_000)
    assert 0.4 * workers <= simulation.settled <= 2.5 * workers + 4
    assert simulation.rate >= 0.6 * workers / each


@settings(max_examples=6)
@given(st.integers(1, 200), seconds)
def test_what_a_server_bears_is_not_limited(most: int, each: float) -> None:
    simulation = Simulation(most, work=always(each), workers=1000)
    simulation.run(3000)
    assert max(simulation.limits) == most
    # Now and then it holds back for a moment, to see what an answer takes.
    assert simulation.settled >= 0.9 * (most - 1)


@settings(max_examples=6)
@given(st.integers(8, 40), seconds)
def test_it_follows_a_server_that_slows_down_and_recovers(workers: int, each: float) -> None:
    simulation = Simulation(200, work=always(each), workers=workers)
    simulation.run(6000)
    simulation.workers = workers // 4
    simulation.run(6000)
    assert simulation.settled <= 1.25 * workers
    assert simulation.rate >= 0.9 * simulation.workers / each
    simulation.workers = workers
    simulation.run(6000)
    assert simulation.settled >= workers
    assert simulation.rate >= 0.9 * workers / each


def test_work_that_takes_longer_is_no_overload() -> None:
    simulation = Simulation(200, work=always(1.0), workers=30)
    simulation.run(6000)
    simulation.work = always(5.0)
    simulation.run(8000)
    # Fewer at once did not make it faster, which two steps down show.
    assert simulation.lowest >= 8
    assert simulation.settled >= 30
    assert simulation.rate >= 0.9 * 30 / 5.0


def test_routes_are_compared_with_themselves_alone() -> None:
    chance = random.Random(7)
    kinds = [("GET /health", 0.001), ("GET /agents", 0.05), ("POST /chat", 3.0)]
    simulation = Simulation(100, work=lambda: chance.choice(kinds), workers=1000)
    simulation.run(10_000)
    assert simulation.settled >= 90
    # Now all of it is slow work: the mean is three times what it was, the server is well.
    simulation.work = lambda: kinds[2]
    simulation.run(10_000)
    assert simulation.settled >= 90
    # Ten workers for all of them: the slow work fills these.
    simulation.work = lambda: chance.choice(kinds)
    simulation.workers = 10
    simulation.run(10_000)
    assert simulation.settled <= 40


@settings(max_examples=6)
@given(st.integers(4, 60), seconds)
def test_it_learns_from_refusals(workers: int, each: float) -> None:
    simulation = Simulation(200, work=always(each), workers=workers, backlog=0)
    simulation.run(6000)
    # Without a limit 1000 clients would be refused nearly always.
    assert simulation.refused <= 0.15 * len(simulation.took)
    assert simulation.rate >= 0.6 * workers / each
    simulation.backlog = None
    simulation.workers = 1000
    simulation.run(8000)
    assert simulation.settled >= 100


@pytest.mark.parametrize("status", sorted(OVERLOADED))
def test_a_burst_of_refusals_is_one_cut(status: int) -> None:
    limit = grown(100)
    rounds = [limit.sent(number) for number in range(1, 101)]
    for round_ in rounds:
        limit.answered(round_, ROUTE, 0.001, status)
    assert limit.now == 70
    limit.answered(limit.sent(1), ROUTE, 0.001, status)
    assert limit.now == 49


@pytest.mark.parametrize("status", [400, 401, 404, 500, 502])
def test_a_refusal_for_another_reason_says_nothing_about_capacity(status: int) -> None:
    limit = grown(20)
    answer(limit, 200, 0.001, status)
    assert limit.now == 20
    # Above all not that answers usually come as quickly as that.
    for _ in range(200):
        answer(limit, 1, 1.0)
        assert limit.now == 20


def test_a_limit_that_is_not_reached_does_not_grow() -> None:
    limit = AdaptiveLimit(100)
    before = limit.now
    for _ in range(1000):
        limit.answered(limit.sent(before - 1), ROUTE, 1.0, 200)
    assert limit.now == before


def test_a_server_that_hangs_is_left_with_one_at_a_time_until_it_answers() -> None:
    limit = grown(64)
    answer(limit, 400, 30.0, None)
    assert limit.now == 1
    answer(limit, 400, 30.0, None)
    assert limit.now == 1
    answer(limit, 2000, 1.0)
    assert limit.now >= 50


def test_who_gives_up_sooner_than_usual_blames_nobody() -> None:
    limit = grown(64)
    answer(limit, 1000, 0.5, None)
    assert limit.now == 64
    fresh = AdaptiveLimit(64)
    answer(fresh, 1000, 30.0, None)  # what is usual here nobody knows yet
    assert fresh.now == 8


def test_how_late_an_answer_would_have_been_is_not_taken_from_when_it_was_given_up() -> None:
    limit = grown(64)
    answer(limit, 400, 1.1, None)
    assert limit.now <= 8


def test_one_slow_answer_is_not_held_against_a_server() -> None:
    limit = grown(20)
    for _ in range(50):
        answer(limit, 39, 1.0)
        answer(limit, 1, 60.0)
        assert limit.now >= 10


def test_answers_that_take_no_time_are_answers() -> None:
    limit = AdaptiveLimit(20)
    answer(limit, 100, 0.0)
    answer(limit, 100, 1.0)
    assert limit.now < 20


def test_paths_without_end_are_not_remembered() -> None:
    limit = AdaptiveLimit(4)
    for number in range(10_000):
        limit.answered(limit.sent(1), f"GET /items/{number}", 1.0, 200)
    known = limit._routes
    assert len(known) <= 257
