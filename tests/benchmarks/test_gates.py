"""The gate, on made-up figures: what fails it, what a waiver does, what is refused."""

from __future__ import annotations

import dataclasses
import datetime
import importlib
import re
import sys
import tomllib
from pathlib import Path

import pytest

from benchmarks import gates, rounds, tables
from benchmarks.__main__ import main
from benchmarks.catalogue import CASES, GROUPS, UnknownCase, chosen
from benchmarks.gates import BadGates

RATIO = """
[target."P5.floor"]
case = "P5.call"
against = "P5.c-floor"
at_most = 2.1
"""
PEER = """
[target."P5.peer"]
case = "P5.sanctum-ai"
against = "P5.call"
at_least = 2.2
"""
ABSOLUTE = """
[target."P6.stdlib"]
case = "P6.stdlib"
at_most = 2.5
yardstick = "P5.c-floor"
yardstick_was = 4.0
"""
WAIVER = """
[waiver."P5.floor"]
figure = 3.0
reason = "the poll loop came late"
date = 2031-05-06
"""


def outcome(text: str, figures: gates.Figures) -> list[str]:
    found = gates.parse(text)
    return [verdict.outcome for verdict in gates.judge_all(found, found.targets, figures)]


def only(text: str, figures: gates.Figures) -> gates.Verdict:
    found = gates.parse(text)
    (verdict,) = gates.judge_all(found, found.targets, figures)
    return verdict


@pytest.mark.parametrize(
    ("ours", "floor", "expected"),
    [(2.0, 1.0, "met"), (2.1, 1.0, "met"), (2.2, 1.0, "missed"), (21.0, 10.0, "met")],
)
def test_a_ratio_above_its_bound_is_missed(ours: float, floor: float, expected: str) -> None:
    assert outcome(RATIO, {"P5.call": [ours], "P5.c-floor": [floor]}) == [expected]


@pytest.mark.parametrize(("peer", "expected"), [(2.2, "met"), (2.1, "missed")])
def test_a_ratio_below_its_bound_is_missed(peer: float, expected: str) -> None:
    assert outcome(PEER, {"P5.sanctum-ai": [peer], "P5.call": [1.0]}) == [expected]


def test_a_ratio_is_taken_round_by_round() -> None:
    # The machine was ten times slower in two rounds of five; both felt it.
    figures = {"P5.call": [2.0, 20.0, 2.0, 20.0, 2.0], "P5.c-floor": [1.0, 10.0, 1.0, 10.0, 1.0]}
    assert only(RATIO, figures).judged == pytest.approx(2.0)


def test_a_missed_target_with_a_waiver_passes() -> None:
    verdict = only(RATIO + WAIVER, {"P5.call": [2.9], "P5.c-floor": [1.0]})
    assert verdict.outcome == "waived"
    assert not verdict.failed


def test_a_waiver_accepts_its_figure_and_no_worse() -> None:
    verdict = only(RATIO + WAIVER, {"P5.call": [3.1], "P5.c-floor": [1.0]})
    assert verdict.outcome == "missed"
    assert verdict.failed


def test_a_waiver_of_another_target_does_not_help() -> None:
    text = RATIO + PEER + WAIVER.replace("P5.floor", "P5.peer").replace("3.0", "1.5")
    figures = {"P5.call": [2.5], "P5.c-floor": [1.0], "P5.sanctum-ai": [5.0]}
    assert outcome(text, figures) == ["missed", "waived"]


def test_a_target_that_was_met_is_met_whatever_is_waived() -> None:
    assert outcome(RATIO + WAIVER, {"P5.call": [1.0], "P5.c-floor": [1.0]}) == ["met"]


@pytest.mark.parametrize(
    "figures",
    [{}, {"P5.call": [1.0]}, {"P5.call": [], "P5.c-floor": [1.0]}, {"P5.c-floor": [1.0]}],
)
def test_a_target_that_was_not_measured_fails(figures: gates.Figures) -> None:
    verdict = only(RATIO, figures)
    assert verdict.outcome == "not measured"
    assert verdict.failed


def test_a_slower_machine_is_corrected_for() -> None:
    verdict = only(ABSOLUTE, {"P6.stdlib": [4.0], "P5.c-floor": [8.0]})
    assert verdict.outcome == "met"
    assert (verdict.raw, verdict.slower, verdict.judged) == (4.0, 2.0, 2.0)


def test_a_faster_machine_is_not() -> None:
    assert only(ABSOLUTE, {"P6.stdlib": [2.4], "P5.c-floor": [2.0]}).judged == 2.4
    assert outcome(ABSOLUTE, {"P6.stdlib": [2.6], "P5.c-floor": [2.0]}) == ["missed"]


def test_an_absolute_target_without_its_yardstick_fails() -> None:
    verdict = only(ABSOLUTE, {"P6.stdlib": [0.1]})
    assert verdict.failed
    assert verdict.raw == 0.1


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "lacks target"),
        ("nonsense", "not TOML"),
        ("[target.x]\ncase = 'P5.call'", "either at_most or at_least"),
        ("[target.x]\ncase = 'P5.call'\nat_most = 1\nat_least = 1", "either at_most or at_least"),
        ("[target.x]\ncase = 'P5.call'\nat_most = -1", "above 0"),
        ("[target.x]\ncase = 'P5.call'\nat_most = true", "above 0"),
        ("[target.x]\ncase = 'P5.call'\nat_most = 1\nwho = 'me'", "who"),
        ("[target.x]\nat_most = 1", "lacks case"),
        ("[target.x]\ncase = 'P5.call'\nat_most = 1\nyardstick = 'P5.call'", "go together"),
        (RATIO + "yardstick = 'P5.call'\nyardstick_was = 1", "needs no yardstick"),
        (RATIO + WAIVER.replace("P5.floor", "P5.flour"), "waives nothing"),
        (RATIO + WAIVER.replace("3.0", "2.0"), "drop it"),
        (RATIO + WAIVER.replace("the poll loop came late", " "), "reason"),
        (RATIO + WAIVER.replace("2031-05-06", "'soon'"), "TOML date"),
        (RATIO + WAIVER.replace("reason", "excuse"), "lacks reason"),
    ],
)
def test_gates_that_say_nothing_clear_are_refused(text: str, complaint: str) -> None:
    with pytest.raises(BadGates, match=complaint):
        gates.parse(text)


@pytest.mark.parametrize("key", ["case", "against"])
def test_a_target_on_an_unknown_case_is_an_error(key: str) -> None:
    bad = {"case": '"P5.call"', "against": '"P5.c-floor"'}[key]
    with pytest.raises(UnknownCase, match="P5.typo"):
        gates.parse(RATIO.replace(bad, '"P5.typo"'))


@pytest.mark.parametrize("word", ["P99", "p5", "P5.typo", ""])
def test_an_unknown_name_is_an_error(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UnknownCase):
        chosen([word])
    assert main(["--only", f"P5,{word}", "--list"]) == 2
    assert "there is no work or case" in capsys.readouterr().err


def test_names_and_groups_choose_cases(capsys: pytest.CaptureFixture[str]) -> None:
    assert [case.name for case in chosen(["P12.rss", "P5.call"])] == ["P5.call", "P12.rss"]
    assert {case.group for case in chosen(["P6"])} == {"P6"}
    assert chosen(GROUPS) == list(CASES)
    assert main(["--only", "P6.stdlib", "--list"]) == 0
    assert "AsyncChannel.call" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changelog", "named"),
    [
        ("", False),
        ("- P5.floor is waived: the poll loop came late", True),
        ("- `P5.floor`.", True),
        ("- P5.floors", False),
        ("- P5.floor.x", False),
        ("- XP5.floor", False),
        ("- P5floor", False),
    ],
)
def test_a_waiver_is_named_by_its_full_name(changelog: str, named: bool) -> None:
    found = gates.unnamed(gates.parse(RATIO + WAIVER).waivers.values(), changelog)
    assert [waiver.name for waiver in found] == ([] if named else ["P5.floor"])


def test_release_refuses_an_unnamed_waiver(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Under a name that the real changelog cannot hold. It is refused before anything is measured.
    path = tmp_path / "gates.toml"
    text = (RATIO + WAIVER).replace("P5.floor", "P5.never-named")
    path.write_text(text, encoding="utf-8")
    assert main(["--release", "--gates", str(path)]) == 1
    assert "does not name waiver P5.never-named" in capsys.readouterr().out


def test_what_is_waived_is_printed() -> None:
    found = gates.parse(RATIO + WAIVER)
    shown = tables.waivers(list(found.waivers.values()))
    for word in ("P5.floor", "3", "2031-05-06", "the poll loop came late"):
        assert word in shown


def test_verdicts_are_printed_with_raw_and_corrected_figures() -> None:
    found = gates.parse(RATIO + ABSOLUTE)
    figures = {"P6.stdlib": [4.0], "P5.c-floor": [8.0]}
    shown = tables.verdicts(gates.judge_all(found, found.targets, figures))
    assert "NOT MEASURED" in shown
    (line,) = (line for line in shown.splitlines() if "P6.stdlib" in line)
    assert "2.00 us" in line
    assert "raw 4.00" in line
    assert "2.00x slower" in line


def test_the_gates_of_this_repository_are_the_table(root: Path) -> None:
    found = gates.read(root / "benchmarks" / "gates.toml")
    bounds = {target.name: (target.bound, target.at_least) for target in found.targets}
    assert bounds == {
        "P1.floor": (1.6, False),
        "P1.poll": (1.6, False),
        "P1.pycurl": (2.5, True),
        "P1.httpx": (40, True),
        "P2.floor": (2.5, False),
        "P2.poll": (2.5, False),
        "P2.peer": (20, True),
        "P3.stdlib": (7.5, False),
        "P3.uvloop": (5, False),
        "P3.peer": (3, True),
        "P4.stdlib": (10, False),
        "P4.flat": (1.5, False),
        "P5.floor": (2.1, False),
        "P5.poll": (2.1, False),
        "P5.peer": (2.2, True),
        "P6.stdlib": (2.5, False),
        "P6.uvloop": (1.5, False),
        "P7.100B": (110, False),
        "P7.1KiB": (350, False),
        "P7.64KiB": (500, False),
        "P8.text": (250, False),
        "P9.typed": (900, False),
        "P10.sync": (1.8, False),
        "P10.asyncio": (1.8, False),
        "P11.parse": (600, False),
        "P12.start": (60, False),
        "P12.construct": (100, False),
        "P12.rss": (25, False),
        "P13.share": (50, True),
        "P14.client": (2, False),
        "P14.connection": (20, False),
        "P14.async-connection": (20, False),
        "G1.poll": (8, False),
        "G1.peer": (6, True),
        "G1.openai": (25, True),
        "G1.langchain": (3, False),
        "G1.langchain-openai": (4, True),
        "G2.peer": (5, True),
        "G2.openai": (20, True),
        "G2.by-hand": (1.5, True),
        "G2.uvloop": (20, True),
        "G2.langchain-openai": (4, True),
        "G3.poll": (2.5, False),
        "G3.peer": (3, True),
        "G3.openai": (18, True),
        "G3.langchain": (2.5, False),
        "G3.langchain-openai": (4, True),
        "G4.floor": (8, False),
        "G4.peer": (4, True),
        "G4.openai": (15, True),
        "G4.by-hand": (1.5, True),
        "G4.uvloop": (15, True),
        "G4.langchain-openai": (4, True),
        "G5.openai": (4, True),
        "G5.peer": (2.5, True),
        "G5.agent": (10, True),
        "G5.langchain": (1.5, False),
        "G6.typed": (32, False),
        "G6.agent": (45, False),
        "G6.peer": (2, True),
        "G6.langchain": (1.4, False),
        "R1.poll": (2.5, False),
        "R1.peer": (20, True),
        "R1.newest": (20, True),
        "R1.async": (10, True),
        "R2.peer": (20, True),
        "R2.newest": (20, True),
        "R3.peer": (6, True),
        "R3.async": (6, True),
        "R4.peer": (20, True),
        "R4.async": (10, True),
        "R6.sync": (1, False),
        "R6.async": (64, False),
        "W1.peer": (3.5, True),
        "W1.async": (4, True),
        "W2.peer": (6, True),
        "W2.async": (7, True),
        "W3.peer": (8, True),
        "W3.async": (7, True),
        "W4.peer": (15, True),
        "W5.peer": (16, True),
        "W5.single": (1.3, True),
        "W5.by-hand": (2.2, False),
        "W6.peer": (8, True),
        "W6.single": (4, True),
    }
    # A peer that is both yardstick and judged would excuse itself.
    assert all(target.yardstick != target.case for target in found.targets)
    for waiver in found.waivers.values():
        assert waiver.date <= datetime.datetime.now(datetime.UTC).date()


def test_every_case_is_a_function() -> None:
    for case in CASES:
        module, _, name = case.function.partition(":")
        assert callable(getattr(importlib.import_module(f"benchmarks.cases.{module}"), name))
        assert case.server in {"", "framed", "httpd", "embedded", "workflow"}
        assert 0 < case.smoke <= case.count


def test_labels_name_the_versions_that_are_pinned(root: Path) -> None:
    pyproject = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))

    def pinned(group: str) -> set[tuple[str, str]]:
        pins = [one for one in pyproject["dependency-groups"][group] if isinstance(one, str)]
        return {
            (name, version) for name, _, version in (pin.partition("==") for pin in pins) if version
        }

    def named(environment: str) -> set[tuple[str, str]]:
        labels = [case.label for case in CASES if case.environment == environment]
        return set(re.findall(r"([\w-]+) (\d+\.\d+\.\d+)", "\n".join(labels)))

    assert named("") == pinned("bench")
    assert named("litellm") <= pinned("peers")
    assert named("symbiont") == pinned("peers-symbiont")
    assert named("symbiont-new") == pinned("peers-symbiont-new")
    assert {case.environment for case in CASES} == {"", "litellm", "symbiont", "symbiont-new"}


@pytest.mark.parametrize("name", ["G1.sage-sanctum", "R1.old", "R5.status.new"])
def test_an_environment_that_was_not_made_is_the_reason(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (case,) = chosen([name])
    assert rounds.interpreter(dataclasses.replace(case, environment="")) == sys.executable
    monkeypatch.setattr(rounds, "ROOT", tmp_path)
    found = rounds.run_case(case, 1, rounds.Cores(None, None), {})
    assert found == "its environment is not there: make peers"
