"""The tables of a run as plain text. Decides nothing; `page` and `markdown` show the same."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from .gates import Verdict, Waiver
from .machine import Machine
from .record import Run
from .rounds import Result

BUSY = 1.0
"""The load average above which a machine had something else to do."""


def placed(found: Machine) -> str:
    """Say where server and client run."""
    if found.server_core is None:
        return "server and client share their cores: figures of calls are not comparable"
    return f"server on core {found.server_core}, client on core {found.client_core}"


def heading(found: Machine) -> str:
    """Say on what and with what the run was made."""
    lines = [
        f"{found.python}, {found.system} {found.kernel}, {found.processor}, {found.cores} cores",
        ", ".join(f"{name} {version}" for name, version in found.versions.items()),
        f"{placed(found)}; load {found.load}",
    ]
    if found.load > BUSY:
        lines.append("the machine is busy: figures will move, ratios less")
    return "\n".join(lines)


def number(value: float) -> str:
    """Three digits that count, and no exponent."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def columns(rows: Sequence[Sequence[str]], right: set[int]) -> list[str]:
    """Lay rows out in columns; those in `right` are flush right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines: list[str] = []
    for row in rows:
        cells = [
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  " + "  ".join(cells).rstrip())
    return lines


def lowest_floor(results: Mapping[str, Result], result: Result) -> Result | None:
    """Return the lowest floor of the sub-group that a case belongs to, if it is a time per call.

    What is added to bare Python, shares and memory are no multiples of anything.
    """
    prefix = result.case.name.rpartition(".")[0]
    if result.case.unit not in {"us", "ns"}:
        return None
    floors = [
        other
        for other in results.values()
        if other.case.role == "floor"
        and other.samples
        and other.case.unit == result.case.unit
        and other.case.name.rpartition(".")[0] == prefix
    ]
    return min(floors, key=lambda other: other.value, default=None)


def table(run: Run) -> str:
    """Every case that ran, by group: the figure, how far it moved, the wall time, the ratio."""
    lines: list[str] = []
    results = run.results
    for group, text in run.works.items():
        mine = [r for r in results.values() if r.case.group == group]
        if not mine:
            continue
        lines += ["", f"{group}  {text}"]
        rows = [("", "who", "CPU", "+-", "wall", "x floor")]
        for result in mine:
            case = result.case
            mark = "*" if case.role == "ours" else ""
            if not result.samples:
                rows.append(
                    (mark, case.label, "-", "", "", result.unavailable.splitlines()[0][:60])
                )
                continue
            floor = lowest_floor(results, result)
            ratio = "" if floor is None else number(result.value / floor.value)
            wall = "" if result.wall is None else number(result.wall)
            figure = f"{number(result.value)} {case.unit}"
            rows.append((mark, case.label, figure, f"{result.spread:.0%}", wall, ratio))
        lines += columns(rows, {2, 3, 4, 5})
    return "\n".join(lines).lstrip("\n")


def bound(verdict: Verdict) -> str:
    target = verdict.target
    return f"{'>=' if target.at_least else '<='} {target.bound:g} {target.unit}"


def how(verdict: Verdict) -> str:
    target = verdict.target
    if target.against is not None:
        return f"{target.case} / {target.against}"
    if verdict.raw is None or verdict.slower is None:
        return target.case
    shown = f"{target.case}, raw {number(verdict.raw)}"
    if verdict.slower > 1:
        return f"{shown}, machine {number(verdict.slower)}x slower"
    return f"{shown}, machine no slower ({number(verdict.slower)}x)"


def verdicts(found: Sequence[Verdict]) -> str:
    """Every target with the figure held against it."""
    rows = [("target", "figure", "bound", "outcome", "judged by")]
    for verdict in found:
        figure = "-" if verdict.judged is None else number(verdict.judged)
        unit = "" if verdict.judged is None else f" {verdict.target.unit}"
        outcome = verdict.outcome.upper() if verdict.failed else verdict.outcome
        rows.append((verdict.target.name, figure + unit, bound(verdict), outcome, how(verdict)))
    return "\n".join(["Targets", *columns(rows, {1})])


def waivers(found: Sequence[Waiver]) -> str:
    """Every waiver, whether it was needed in this run or not."""
    rows = [("waiver", "accepts", "since", "reason")]
    rows += [(w.name, f"{w.figure:g}", w.date.isoformat(), w.reason) for w in found]
    return "\n".join(["Waivers", *columns(rows, {1})])


class Progress:
    """One line on a terminal, rewritten; elsewhere a line whenever another tenth is done."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._tenth = -1

    def __call__(self, done: int, total: int, what: str) -> None:
        if self._terminal:
            width = 24
            full = width * done // max(total, 1)
            bar = "#" * full + "." * (width - full)
            line = f"[{bar}] {done}/{total}  {what}" if what else ""
            sys.stderr.write(f"\r\033[K{line}")
            sys.stderr.flush()
        elif done * 10 // max(total, 1) != self._tenth:
            self._tenth = done * 10 // max(total, 1)
            print(f"{done}/{total}  {what or 'done'}", file=sys.stderr, flush=True)
