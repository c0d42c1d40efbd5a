"""What results add up to: times to 2 %, in memory that does not grow with them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.fleet import FleetReport
from ostiary.fleet.item import Item, Outcome


def report_of(times: list[float]) -> FleetReport:
    report = FleetReport("run")
    for index, seconds in enumerate(times):
        item = Item(index, str(index), "k", None)
        report.add(item, Outcome(index, None, None, 1, seconds))
    return report


@given(st.lists(st.floats(1e-5, 1e5), min_size=1, max_size=200), st.floats(0.01, 1.0))
def test_a_quantile_is_one_of_the_times_to_two_percent(times: list[float], share: float) -> None:
    found = report_of(times).quantile(share)
    ordered = sorted(times)
    # What half of three took at most is the second's time.
    at = next(n for n in range(1, len(times) + 1) if n >= share * len(times) - 1e-9)
    near = ordered[at - 1]
    assert found == pytest.approx(near, rel=0.02)


def test_times_take_no_more_memory_for_more_inputs() -> None:
    report = report_of([1e-6 * 1.001**n for n in range(20_000)])
    assert len(report._times) < 1300


def test_the_first_failures_are_kept() -> None:
    report = FleetReport("run")
    for index in range(50):
        item = Item(index, str(index), "k", None)
        report.add(item, Outcome(index, None, ValueError(index), 1, 0.0))
    assert [one.index for one in report.failures] == list(range(20))
    assert report.summary()["errors"] == {"ValueError": 50}
    assert report.p50 < 1e-5
