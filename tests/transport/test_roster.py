"""The decisions of a pool, compared with a plain model, and their cost in the worst case."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from ostiary._pool import Roster, Ticket


class Model:
    """What a roster promises, without regard to speed."""

    def __init__(self, limit: int, max_idle: int, expiry: float) -> None:
        self.limit, self.max_idle, self.expiry = limit, max_idle, expiry
        self.held = 0
        self.idle: list[tuple[int, float]] = []
        self.queue: list[Ticket] = []

    def take(self) -> int | None:
        return self.idle.pop()[0] if self.idle else None

    def keep(self, connection: int, now: float) -> int | None:
        self.idle.append((connection, now))
        return self.idle.pop(0)[0] if len(self.idle) > self.max_idle else None

    def overdue(self, now: float) -> int | None:
        if self.idle and self.idle[0][1] + self.expiry <= now:
            return self.idle.pop(0)[0]
        return None

    def next_overdue(self) -> float:
        return self.idle[0][1] + self.expiry if self.idle else math.inf

    def admit(self) -> bool:
        if self.held < self.limit:
            self.held += 1
            return True
        return False


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["take", "keep", "overdue", "admit", "vacate", "enqueue", "withdraw", "serve"]
        ),
        st.integers(0, 100),
    ),
    max_size=200,
)


@given(STEPS, st.integers(1, 5), st.integers(0, 5), st.sampled_from([0.5, 3.0, math.inf]))
def test_every_decision_is_the_models(
    steps: list[tuple[str, int]], limit: int, max_idle: int, expiry: float
) -> None:
    roster: Roster[int] = Roster(limit, max_idle, expiry)
    model = Model(limit, max_idle, expiry)
    tickets: list[Ticket] = []
    now = 0.0
    for step, number in steps:
        now += number / 50
        match step:
            case "take":
                assert roster.take() == model.take()
            case "keep":
                assert roster.keep(number, now) == model.keep(number, now)
            case "overdue":
                assert roster.overdue(now) == model.overdue(now)
            case "admit":
                assert roster.admit() == model.admit()
            case "vacate":
                if model.held:
                    roster.vacate()
                    model.held -= 1
            case "enqueue":
                tickets.append(Ticket())
                roster.enqueue(tickets[-1])
                model.queue.append(tickets[-1])
            case "withdraw":
                if tickets:
                    ticket = tickets[number % len(tickets)]
                    assert roster.withdraw(ticket) == (ticket in model.queue)
                    if ticket in model.queue:
                        model.queue.remove(ticket)
            case "serve":
                assert roster.serve() is (model.queue.pop(0) if model.queue else None)
        assert roster.held == model.held
        assert roster.idle == len(model.idle)
        assert roster.waiting == len(model.queue)
        assert roster.tickets() == model.queue
        assert roster.next_overdue() == model.next_overdue()


def test_those_who_gave_up_do_not_pile_up() -> None:
    roster: Roster[int] = Roster(1, 1, math.inf)
    stays = Ticket()
    roster.enqueue(stays)
    for _ in range(100_000):
        ticket = Ticket()
        roster.enqueue(ticket)
        assert roster.withdraw(ticket)
        assert not roster.withdraw(ticket)
    assert roster.waiting == 1
    assert roster.serve() is stays
    assert roster.serve() is None


def test_one_ticket_may_queue_again() -> None:
    roster: Roster[int] = Roster(1, 1, math.inf)
    ticket = Ticket()
    for _ in range(3):
        roster.enqueue(ticket)
        assert roster.serve() is ticket
        assert not roster.withdraw(ticket)
