"""Targets and waivers: reads gates.toml and judges figures by it. Measures nothing.

A target that is missed fails the gate unless a waiver accepts the figure; a target that was
not measured fails it too.
"""

from __future__ import annotations

import datetime
import re
import statistics
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from .catalogue import named

Outcome = Literal["met", "waived", "missed", "not measured"]
Figures = Mapping[str, Sequence[float]]
"""For each case its figure in every round."""


class BadGates(Exception):
    """gates.toml, or a waiver in it, is not what it has to be."""


@dataclass(frozen=True, slots=True)
class Target:
    """One bound on one case: as a ratio to another case, or as an absolute figure."""

    name: str
    case: str
    bound: float
    at_least: bool = False
    against: str | None = None
    yardstick: str | None = None
    yardstick_was: float = 0.0
    unit: str = "x"

    @property
    def group(self) -> str:
        return self.case.partition(".")[0]

    @property
    def cases(self) -> tuple[str, ...]:
        """Every case it takes to judge it."""
        return tuple(n for n in (self.case, self.against, self.yardstick) if n is not None)

    def holds(self, figure: float, bound: float | None = None) -> bool:
        bound = self.bound if bound is None else bound
        return figure >= bound if self.at_least else figure <= bound


@dataclass(frozen=True, slots=True)
class Waiver:
    """A missed target that is accepted for now, up to `figure`."""

    name: str
    figure: float
    reason: str
    date: datetime.date


@dataclass(frozen=True, slots=True)
class Gates:
    targets: tuple[Target, ...]
    waivers: Mapping[str, Waiver]


@dataclass(frozen=True, slots=True)
class Verdict:
    """How one target fared. `judged` is the figure held against the bound.

    For an absolute figure with a yardstick, `raw` is what was measured here and `slower` how
    many times slower than where the target was set this machine was in the same rounds.
    """

    target: Target
    outcome: Outcome
    judged: float | None = None
    raw: float | None = None
    slower: float | None = None
    waiver: Waiver | None = None

    @property
    def failed(self) -> bool:
        return self.outcome in {"missed", "not measured"}


def _number(table: Mapping[str, Any], key: str, where: str) -> float:
    value = table[key]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
        raise BadGates(f"{where}: {key} is {value!r} and has to be a number above 0")
    return float(value)


def _known(table: Mapping[str, Any], where: str, needed: set[str], allowed: set[str]) -> None:
    if missing := needed - table.keys():
        raise BadGates(f"{where} lacks {', '.join(sorted(missing))}")
    if unknown := table.keys() - needed - allowed:
        raise BadGates(f"{where} has {', '.join(sorted(unknown))}, which means nothing here")


def _target(name: str, table: Mapping[str, Any]) -> Target:
    where = f"target {name}"
    bounds = {"at_most", "at_least", "against", "yardstick", "yardstick_was"}
    _known(table, where, {"case"}, bounds)
    if ("at_most" in table) == ("at_least" in table):
        raise BadGates(f"{where} needs either at_most or at_least")
    if ("yardstick" in table) != ("yardstick_was" in table):
        raise BadGates(f"{where}: yardstick and yardstick_was go together")
    if "yardstick" in table and "against" in table:
        raise BadGates(f"{where}: a ratio needs no yardstick")
    at_least = "at_least" in table
    target = Target(
        name,
        table["case"],
        _number(table, "at_least" if at_least else "at_most", where),
        at_least,
        table.get("against"),
        table.get("yardstick"),
        _number(table, "yardstick_was", where) if "yardstick_was" in table else 0.0,
    )
    first, *_ = [named(case) for case in target.cases]
    return target if target.against else replace(target, unit=first.unit)


def _waiver(name: str, table: Mapping[str, Any]) -> Waiver:
    where = f"waiver {name}"
    _known(table, where, {"figure", "reason", "date"}, set())
    reason, date = table["reason"], table["date"]
    if not isinstance(reason, str) or not reason.strip():
        raise BadGates(f"{where} has to say its reason")
    if not isinstance(date, datetime.date) or isinstance(date, datetime.datetime):
        raise BadGates(f"{where}: date is {date!r} and has to be a TOML date, such as 2031-05-06")
    return Waiver(name, _number(table, "figure", where), reason, date)


def parse(text: str) -> Gates:
    """Read the text of gates.toml."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadGates(f"gates.toml is not TOML: {error}") from None
    _known(data, "gates.toml", {"target"}, {"waiver"})
    targets = tuple(_target(name, table) for name, table in data["target"].items())
    waivers = {name: _waiver(name, table) for name, table in data.get("waiver", {}).items()}
    names = {target.name: target for target in targets}
    for waiver in waivers.values():
        target = names.get(waiver.name)
        if target is None:
            raise BadGates(f"waiver {waiver.name} waives nothing: there is no such target")
        if target.holds(waiver.figure):
            raise BadGates(
                f"waiver {waiver.name} accepts {waiver.figure:g}, which meets the target "
                f"of {target.bound:g}: drop it"
            )
    return Gates(targets, waivers)


def read(path: Path) -> Gates:
    """Read gates.toml."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise BadGates(f"cannot read {path}: {error.strerror}") from None
    return parse(text)


def unnamed(waivers: Iterable[Waiver], changelog: str) -> list[Waiver]:
    """Return the waivers whose name does not stand in the changelog as a word of its own."""
    return [
        waiver
        for waiver in waivers
        if not re.search(rf"(?<![\w.]){re.escape(waiver.name)}(?![\w]|\.\w)", changelog)
    ]


def _per_round(figures: Figures, over: str, under: str) -> float | None:
    """Return the median over the rounds of one case's figure divided by another's."""
    pairs = zip(figures.get(over, ()), figures.get(under, ()), strict=False)
    ratios = [a / b for a, b in pairs if b > 0]
    return statistics.median(ratios) if ratios else None


def judge(target: Target, figures: Figures, waiver: Waiver | None) -> Verdict:
    """Judge one target by the figures of one run."""
    raw = slower = None
    if target.against is not None:
        judged = _per_round(figures, target.case, target.against)
    else:
        values = figures.get(target.case, ())
        judged = raw = statistics.median(values) if values else None
        if target.yardstick is not None and raw is not None:
            marks = figures.get(target.yardstick, ())
            if not marks:
                return Verdict(target, "not measured", raw=raw, waiver=waiver)
            slower = statistics.median(marks) / target.yardstick_was
            # A machine that is faster than the target's gets no stricter bound than the
            # target's own words: the raw figure then stands as it is.
            judged = raw / max(slower, 1.0)
    if judged is None:
        return Verdict(target, "not measured", waiver=waiver)
    outcome: Outcome = "missed"
    if target.holds(judged):
        outcome = "met"
    elif waiver is not None and target.holds(judged, waiver.figure):
        outcome = "waived"
    return Verdict(target, outcome, judged, raw, slower, waiver)


def judge_all(gates: Gates, targets: Iterable[Target], figures: Figures) -> list[Verdict]:
    """Judge these targets, each with its waiver."""
    return [judge(target, figures, gates.waivers.get(target.name)) for target in targets]
