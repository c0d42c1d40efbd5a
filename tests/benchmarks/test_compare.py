"""Two runs side by side: what is called slower, and what is not."""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import compare, record, rounds
from benchmarks.__main__ import main
from benchmarks.catalogue import chosen, named
from benchmarks.record import Run
from benchmarks.rounds import Result
from benchmarks.sample import Sample
from tests.benchmarks.runs import made

CALL = "P5.call"
FLOOR = [5.0, 5.1, 5.2, 5.0, 5.1, 5.2, 5.1]


def run(figures: Mapping[str, Sequence[float]], session: str = "s") -> Run:
    results = {n: Result(named(n), [Sample(v) for v in vs]) for n, vs in figures.items()}
    return dataclasses.replace(made(), results=results, session=session, rounds=7)


def the_one(base: Run, head: Run, name: str = CALL) -> compare.Compared:
    (one,) = [one for one in compare.compare(base, head).cases if one.case.name == name]
    return one


@pytest.mark.parametrize("count", range(1, 40))
def test_the_interval_of_pairs_is_as_sure_as_it_says(count: int) -> None:
    low, high = compare.of_pairs(range(count))
    left = int(low)
    assert (low, high) == (left, count - 1 - left)
    # The chance that the median lies outside, whatever the distribution.
    outside = 2 * sum(math.comb(count, k) for k in range(left + 1)) / 2**count
    assert outside <= 1 - compare.SURE or left == 0
    closer = outside + 2 * math.comb(count, left + 1) / 2**count
    assert closer > 1 - compare.SURE


def test_the_interval_of_two_groups_is_that_of_the_tables() -> None:
    # Seven and seven: U is significant (two sides, 5 %) up to 8, so the ninth lowest ratio is it.
    base, head = [2.0**k for k in range(7)], [3.0**k for k in range(7)]
    ratios = sorted(b / a for a in base for b in head)
    _, low, high = compare.of_groups(base, head)
    assert (low, high) in [(ratios[k], ratios[-1 - k]) for k in (8, 9)]


costs = st.lists(st.floats(0.1, 1e6), min_size=7, max_size=7)


@given(costs, st.floats(0.01, 100))
def test_a_run_beside_itself_is_the_same_however_it_moves(values: list[float], by: float) -> None:
    one = the_one(run({CALL: values}), run({CALL: values}))
    assert (one.change, one.ratio) == ("same", 1)
    # And all by one factor is that factor.
    one = the_one(run({CALL: values}), run({CALL: [by * value for value in values]}))
    assert one.ratio == pytest.approx(by)
    assert one.change == ("slower" if by > 1.0501 else "faster" if by < 0.952 else one.change)


def test_noise_is_not_called_a_change() -> None:
    rng = random.Random(5)
    found: list[str] = []
    for _ in range(500):
        # The machine takes its time by rounds, and each sample moves by a tenth besides.
        rounds_ = [rng.choice([1, 1, 1.5, 3]) for _ in range(7)]
        base, head = ([m * rng.lognormvariate(0, 0.1) for m in rounds_] for _ in range(2))
        found.append(the_one(run({CALL: base}), run({CALL: head})).change)
    assert found.count("slower") + found.count("faster") < 15


def test_a_change_is_found_on_a_machine_that_is_ten_times_slower_in_some_rounds() -> None:
    rng = random.Random(5)
    machine = [1, 10, 1, 1, 10, 10, 1]
    base = [m * rng.lognormvariate(0, 0.03) for m in machine]
    head = [m * 1.3 * rng.lognormvariate(0, 0.03) for m in machine]
    assert the_one(run({CALL: base}), run({CALL: head})).change == "slower"
    assert the_one(run({CALL: head}), run({CALL: base})).change == "faster"
    # Of two sessions nothing is known of the rounds.
    apart = the_one(run({CALL: base}, "s"), run({CALL: head}, "t"))
    assert apart.change == "unclear"


def test_of_two_sessions_the_machine_is_taken_out() -> None:
    base = run({CALL: [8.0] * 7, "P5.c-floor": FLOOR, "P5.sanctum-ai": [20.0] * 7}, "s")
    slow = {"P5.c-floor": [2 * v for v in FLOOR], "P5.sanctum-ai": [40.0] * 7}
    same = compare.compare(base, run({CALL: [16.0] * 7, **slow}, "t"))
    assert not same.paired
    assert same.machine == pytest.approx(2)
    assert [one.change for one in same.cases] == ["same"]
    assert the_one(base, run({CALL: [24.0] * 7, **slow}, "t")).change == "slower"


def test_of_two_sessions_what_moved_the_controls_is_no_change() -> None:
    base = run({CALL: [8.0] * 7, "P5.c-floor": [5.0] * 7, "P5.sanctum-ai": [20.0] * 7}, "s")
    apart = {"P5.c-floor": [5.0] * 7, "P5.sanctum-ai": [30.0] * 7}
    found = compare.compare(base, run({CALL: [12.0] * 7, **apart}, "t"))
    assert found.least == pytest.approx(math.sqrt(1.5) - 1, abs=0.05)
    assert not found.slower


def test_fewer_a_second_is_slower() -> None:
    name = "W6.pipeline"
    base, head = run({name: [1000.0] * 7}), run({name: [800.0] * 7})
    one = the_one(base, head, name)
    assert (one.change, one.base, one.head) == ("slower", 1000, 800)
    assert one.ratio == pytest.approx(1.25)
    assert the_one(head, base, name).change == "faster"


def test_what_is_new_or_gone_is_neither() -> None:
    base, head = run({CALL: [8.0] * 7, "P5.use": [9.0] * 7}), run({CALL: [8.0] * 7})
    assert the_one(base, head, "P5.use").change == "gone"
    assert the_one(head, base, "P5.use").change == "new"
    base.results["P5.use"].unavailable = "it failed in a later round"
    head.results["P5.use"] = Result(named("P5.use"), [Sample(90.0)] * 7)
    assert the_one(base, head, "P5.use").change == "new"
    assert not compare.compare(base, head).slower


def test_peers_and_floors_are_not_compared() -> None:
    base = run({"P5.c-floor": FLOOR, "P5.sanctum-ai": FLOOR, CALL: FLOOR})
    assert [one.case.name for one in compare.compare(base, base).cases] == [CALL]


def test_the_verb_says_it_in_markdown_and_fails_when_slower(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base, head = tmp_path / "base.json", tmp_path / "head.json"
    record.write(run({CALL: [8.0] * 7, "P5.use": [9.0] * 7}), base)
    record.write(run({CALL: [10.0] * 7, "P5.use": [9.0] * 7}), head)
    assert main(["compare", str(base), str(head)]) == 1
    said = capsys.readouterr().out
    assert said.startswith("## Performance: 1 slower, 1 same\n")
    row = "| P5.call | Channel.call | 8.00 us | 10.0 us | 1.250 | 1.250 to 1.250 | **slower** |"
    assert row in said.splitlines()
    assert main(["compare", str(head), str(base)]) == 0
    assert "1 faster, 1 same" in capsys.readouterr().out
    assert main(["compare", str(base), str(tmp_path / "none.json")]) == 2


def test_the_base_is_measured_with_its_own_library_in_the_same_rounds(tmp_path: Path) -> None:
    (case,) = chosen(["P11.parser"])
    case = dataclasses.replace(case, count=50)
    same, older = tmp_path / "same", tmp_path / "older"
    same.symlink_to(rounds.SOURCE)
    (older / "ostiary").mkdir(parents=True)
    (older / "ostiary" / "__init__.py").write_text("raise ImportError('it is the older one')")
    told: list[int] = []
    head, before, first = rounds.run(
        [case],
        {},
        rounds=2,
        smoke=False,
        progress=lambda done, total, what: told.append(done),
        libraries=(rounds.SOURCE, same, older),
    )
    assert len(head[case.name].samples) == len(before[case.name].samples) == 2
    assert first[case.name].samples == []
    assert "it is the older one" in first[case.name].unavailable
    assert told == [*range(6), 6]


def test_a_case_that_fails_with_our_own_library_fails_the_run(tmp_path: Path) -> None:
    (case,) = chosen(["P11.parser"])
    (tmp_path / "ostiary").mkdir()
    (tmp_path / "ostiary" / "__init__.py").write_text("raise RuntimeError('broken')")
    with pytest.raises(rounds.CaseFailed, match="broken"):
        rounds.run(
            [case],
            {},
            rounds=1,
            smoke=True,
            progress=lambda done, total, what: None,
            libraries=(tmp_path,),
        )


@pytest.mark.parametrize("words", [["--gate"], []], ids=["judged", "not built"])
def test_a_base_that_is_not_built_or_is_to_be_judged_is_refused(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--base", str(tmp_path), *words])
    assert ended.value.code == 2
    assert ("judges no targets" if words else "make build") in capsys.readouterr().err
