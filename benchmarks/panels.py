"""A run in panels: the cases that stand on one axis, and where their targets let them be.

Everything that is drawn or put in a table beside its peers is arranged here; `plots`, `page` and
`markdown` say how it looks.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from .gates import Verdict
from .record import Run
from .rounds import Result
from .tables import number

MORE_IS_BETTER = frozenset({"%", "/s"})
UNITS = {
    "ns": "ns of client CPU",
    "us": "µs of client CPU",
    "ms": "ms of CPU",
    "KB": "KB resident",
    "MB": "MB resident",
    "%": "%, more is better",
    "/s": "per second, more is better",
    "x": "times",
    "": "connections",
}


@dataclass(frozen=True, slots=True)
class Panel:
    """Cases of one work and one unit, the best first."""

    work: str
    title: str
    """What sets it apart from the other panels of its work; empty when it is the only one."""
    unit: str
    rows: tuple[Result, ...]
    limits: dict[str, float]
    """Where the strictest target of each case of the work lets it be, in the case's unit; in the
    order of the targets."""

    @property
    def more(self) -> bool:
        return self.unit in MORE_IS_BETTER

    @property
    def ours(self) -> Result | None:
        """The one that stands for us: the first that a target judges, or else the best."""
        ours = {row.case.name: row for row in self.rows if row.case.role == "ours"}
        return next((ours[name] for name in (*self.limits, *ours) if name in ours), None)

    def dearer(self, row: Result) -> float | None:
        """Return how many times dearer than ours a row is; below 1 when it is cheaper."""
        if self.ours is None or row.value <= 0 or self.ours.value <= 0:
            return None
        return self.ours.value / row.value if self.more else row.value / self.ours.value

    def name(self, row: Result) -> str:
        """Return a row's label without what the title says already."""
        return row.case.label.removeprefix(f"{self.title}: ")


def headroom(verdict: Verdict) -> float | None:
    """Return how far from its bound a target is: 1 is on it, 2 is twice as good as it asks."""
    if verdict.judged is None or verdict.judged <= 0:
        return None
    bound = verdict.target.bound
    return verdict.judged / bound if verdict.target.at_least else bound / verdict.judged


def _limit(run: Run, verdict: Verdict) -> tuple[str, float] | None:
    """Return the case that a target bounds, and where, by the figures of this run."""
    target, room = verdict.target, headroom(verdict)
    if room is None:
        return None
    more = run.results[target.case].case.unit in MORE_IS_BETTER
    bounded = target.case
    if target.against is not None and target.at_least != more:
        # "a peer costs at least n times ours" bounds ours.
        bounded = target.against
    value = run.results[bounded].value
    return bounded, value / room if more else value * room


def panels(run: Run, work: str) -> list[Panel]:
    """Return the panels of one work, without cases that could not run."""
    limits: dict[str, float] = {}
    for verdict in run.verdicts:
        if verdict.target.group == work and (found := _limit(run, verdict)) is not None:
            name, limit = found
            stricter = max if run.results[name].case.unit in MORE_IS_BETTER else min
            limits[name] = stricter(limit, limits.get(name, limit))
    axes: dict[tuple[str, str], list[Result]] = {}
    for result in run.results.values():
        if result.case.group == work and result.samples:
            axis = (result.case.name.rpartition(".")[0], result.case.unit)
            axes.setdefault(axis, []).append(result)
    return [
        Panel(work, _shared(rows), unit, tuple(_ranked(rows, unit)), limits)
        for (_, unit), rows in axes.items()
    ]


def _ranked(rows: Sequence[Result], unit: str) -> list[Result]:
    return sorted(rows, key=lambda row: row.value, reverse=unit in MORE_IS_BETTER)


def _shared(rows: Sequence[Result]) -> str:
    """Return what all labels begin with, up to a colon."""
    begun = {row.case.label.partition(": ")[0] for row in rows}
    labels = [row.case.label for row in rows]
    return begun.pop() if len(begun) == 1 and all(": " in label for label in labels) else ""


def outcome(verdicts: Sequence[Verdict]) -> str:
    """Return the worst of some outcomes; empty when there is none."""
    order = ("missed", "not measured", "waived", "met")
    return next((one for one in order if any(v.outcome == one for v in verdicts)), "")


def spelled(number: str, unit: str) -> str:
    """Return a figure with its unit as it is written where any letter may be."""
    return f"{number} {unit.replace('us', 'µs').replace('/s', 'per second')}".rstrip()


def figure(verdict: Verdict) -> str:
    """Return what was held against the bound."""
    judged = verdict.judged
    return "-" if judged is None else spelled(number(judged), verdict.target.unit)


def limit(verdict: Verdict) -> str:
    """Return the bound."""
    target = verdict.target
    return spelled(f"{'≥' if target.at_least else '≤'} {target.bound:g}", target.unit)


def unversioned(label: str) -> str:
    """Return a label without its versions."""
    return re.sub(r" \d+\.\d+\.\d+", "", label)
