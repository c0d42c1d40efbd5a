"""Two runs, the base and the head of a change: which of our cases became slower, and how surely.

Two runs of one session shared their rounds (`--base`): the ratio is taken within each round, and
its interval is that of the median of few pairs, which takes no distribution for granted. Two runs
of two sessions met different machines, if only in what else these did. What floors and peers moved
between them is taken out of every ratio, and no change smaller than what moved these is called one.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from .case import Case
from .panels import MORE_IS_BETTER
from .record import Run
from .tables import number

Change = Literal["slower", "faster", "same", "unclear", "new", "gone"]
_CHANGES: tuple[Change, ...] = get_args(Change)
LEAST = 0.05
"""The smallest change that is worth a word, as a share."""
SURE = 0.95


@dataclass(frozen=True, slots=True)
class Compared:
    """One case of ours in both runs. The ratio is of cost, head to base: above 1 is worse."""

    case: Case
    change: Change
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    base: float | None = None
    head: float | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Every case of ours, and what is taken for noise."""

    cases: tuple[Compared, ...]
    paired: bool
    least: float
    """A ratio within 1 and this share of it is no change."""
    machine: float
    """How many times slower the head's machine was; 1 when they shared their rounds."""

    @property
    def slower(self) -> list[Compared]:
        return [one for one in self.cases if one.change == "slower"]


def _values(run: Run, name: str) -> list[float]:
    result = run.results.get(name)
    if result is None or result.unavailable:
        return []
    # What is nothing, such as the memory of one more client, has no ratio.
    return [sample.value for sample in result.samples if sample.value > 0]


def of_pairs(ratios: Sequence[float]) -> tuple[float, float]:
    """Return the interval of the median of a few ratios, by their order alone.

    With fewer than six it is the widest there is, and not quite as sure.
    """
    ordered, count = sorted(ratios), len(ratios)
    left, tail = 0, 0.5**count
    while 2 * (tail + math.comb(count, left + 1) * 0.5**count) <= 1 - SURE:
        left += 1
        tail += math.comb(count, left) * 0.5**count
    return ordered[left], ordered[count - 1 - left]


def of_groups(base: Sequence[float], head: Sequence[float]) -> tuple[float, float, float]:
    """Return (ratio, low, high) of two groups that share nothing, after Mann and Whitney."""
    ratios = sorted(b / a for a in base for b in head)
    m, n = len(base), len(head)
    reach = statistics.NormalDist().inv_cdf(0.5 + SURE / 2) * math.sqrt(m * n * (m + n + 1) / 12)
    left = max(0, math.floor(m * n / 2 - reach))
    return statistics.median(ratios), ratios[left], ratios[-1 - left]


def _controls(base: Run, head: Run) -> tuple[float, float]:
    """Return how much slower the head's machine was, and how far the controls are apart in that."""
    moved = [
        statistics.median(after) / statistics.median(before)
        for name, result in base.results.items()
        if result.case.role != "ours"
        and result.case.unit in {"us", "ns", "ms"}
        and (before := _values(base, name))
        and (after := _values(head, name))
    ]
    if not moved:
        return 1.0, 0.0
    slower = statistics.median(moved)
    away = sorted(abs(math.log(one / slower)) for one in moved)
    # Nine in ten of what did not change moved less than this.
    return slower, math.expm1(away[min(len(away) - 1, math.ceil(len(away) * 0.9))])


def compare(base: Run, head: Run) -> Comparison:
    """Hold every case of ours in the head against the same in the base."""
    paired = bool(base.session) and base.session == head.session
    machine, apart = (1.0, 0.0) if paired else _controls(base, head)
    least = max(LEAST, apart)
    cases = {**base.results, **head.results}
    found = tuple(
        _compared(
            result.case, _values(base, name), _values(head, name), machine, least, paired=paired
        )
        for name, result in cases.items()
        if result.case.role == "ours"
        and (result.samples or (name in base.results and base.results[name].samples))
    )
    return Comparison(found, paired, least, machine)


def _compared(
    case: Case,
    base: Sequence[float],
    head: Sequence[float],
    machine: float,
    least: float,
    *,
    paired: bool,
) -> Compared:
    shown = [statistics.median(one) if one else None for one in (base, head)]
    if not base or not head:
        return Compared(case, "gone" if base else "new", base=shown[0], head=shown[1])
    # Of a rate the cost is what it takes for one.
    before, after = (head, base) if case.unit in MORE_IS_BETTER else (base, head)
    if paired and len(base) == len(head):
        ratios = [b / a for a, b in zip(before, after, strict=True)]
        ratio, (low, high) = statistics.median(ratios), of_pairs(ratios)
    else:
        # Connections and bytes are no fewer on a quicker machine.
        slower = machine if case.unit in {"us", "ns", "ms", "/s"} else 1.0
        ratio, low, high = (one / slower for one in of_groups(before, after))
    change: Change = "unclear"
    if low > 1 + least:
        change = "slower"
    elif high < 1 / (1 + least):
        change = "faster"
    elif 1 / (1 + least) <= ratio <= 1 + least:
        change = "same"
    return Compared(case, change, ratio, low, high, *shown)


def markdown(base: Run, head: Run, found: Comparison) -> str:
    """Return the comparison as Markdown: what changed, then everything."""
    counts = {change: sum(one.change == change for one in found.cases) for change in _CHANGES}
    told = ", ".join(f"{count} {change}" for change, count in counts.items() if count)
    before, after = (run.commit or run.made.isoformat(timespec="minutes") for run in (base, head))
    lines = [f"## Performance: {told or 'nothing to compare'}", ""]
    lines += [f"`{before}` to `{after}`, {head.rounds} rounds, {head.machine.processor}."]
    if found.paired:
        lines += ["Both ran in the same rounds; a ratio is the median of those of each round."]
    else:
        lines += [
            "They ran apart: by floors and peers the machine was "
            f"{found.machine:.2f} times slower, which is taken out."
        ]
    lines += [
        f"Slower is what is so by more than {found.least:.0%} at the better end of its interval of "
        f"{SURE:.0%}. Ratios are of cost, head to base.",
        "",
    ]
    changed = [one for one in found.cases if one.change in {"slower", "faster"}]
    changed.sort(key=lambda one: -(one.ratio or 0))
    if changed:
        lines += [*_rows(changed), ""]
    rest = [one for one in found.cases if one not in changed]
    if rest:
        lines += [
            f"<details><summary>{'The others' if changed else 'All'}</summary>",
            "",
            *_rows(rest),
            "",
            "</details>",
        ]
    return "\n".join(lines) + "\n"


def _rows(cases: Sequence[Compared]) -> list[str]:
    lines = ["| Case | | Base | Head | Ratio | Interval | |", "|---|---|---:|---:|---:|---:|---|"]
    for one in cases:
        case = one.case
        figures = [
            f"{number(v)} {case.unit}" if v is not None else "-" for v in (one.base, one.head)
        ]
        ratio, interval = "-", "-"
        if one.ratio is not None and one.low is not None and one.high is not None:
            ratio, interval = f"{one.ratio:.3f}", f"{one.low:.3f} to {one.high:.3f}"
        said = f"**{one.change}**" if one.change in {"slower", "faster"} else one.change
        lines.append(f"| {' | '.join((case.name, case.label, *figures, ratio, interval, said))} |")
    return lines
