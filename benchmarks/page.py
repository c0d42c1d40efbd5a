"""The report of a run as one HTML file that needs nothing else: no script, no font, no network."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import get_args

from . import plots
from .gates import Outcome, Verdict, Waiver
from .panels import figure, headroom, limit, outcome, panels, spelled
from .record import Run
from .rounds import Result
from .tables import BUSY, how, lowest_floor, number, placed

STYLE = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
_SAYS = """The figure is the client's CPU time per operation, in a process of its own for each
sample, in an order shuffled each round; it is the median over the rounds. A floor is a program in
C, or whatever cannot be saved, that does the same work and nothing more. The small dots are the
samples; the pale bar is where the strictest target lets a row be."""


def html(run: Run) -> str:
    """Return the whole page."""
    works = [work for work in run.works if panels(run, work)]
    body = [
        _head(run),
        _targets(run) if run.verdicts else "",
        _waivers(run.waivers),
        f'<h2 id="works">The works</h2><p class="prose">{_SAYS}</p>{_legend()}',
        *(_work(run, work) for work in works),
        _made(run),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>ostiary: figures of {run.made:%Y-%m-%d}</title>"
        f"<style>{plots.COLOURS}{plots.STYLE}{STYLE}</style></head><body><main>"
        f"{''.join(body)}</main></body></html>\n"
    )


def _head(run: Run) -> str:
    """The title, what to beware of, the counts."""
    machine = run.machine
    version = f"{machine.versions.get('ostiary', '')} {f'({run.commit})' if run.commit else ''}"
    lines = [
        "<header><h1>ostiary, measured</h1>",
        f'<p class="soft">{run.made:%d %B %Y, %H:%M} UTC · ostiary {escape(version)} · '
        f"{escape(machine.python)} · {escape(machine.processor)}, {machine.cores} cores</p>",
    ]
    if run.smoke:
        lines.append(
            '<p class="beware">A smoke run: everything ran, briefly and once. '
            "The figures mean nothing, and nothing was judged.</p>"
        )
    elif machine.load > BUSY:
        lines.append(
            f'<p class="beware">The machine was busy (load {machine.load:g} as the run began): '
            "figures move, ratios less.</p>"
        )
    tiles: list[tuple[str, str, str]] = [
        (str(sum(v.outcome == kind for v in run.verdicts)), kind, _class(kind))
        for kind in OUTCOMES
        if run.verdicts and (kind == "met" or any(v.outcome == kind for v in run.verdicts))
    ]
    measured = [r for r in run.results.values() if r.samples]
    tiles += [
        (str(len(measured)), "cases", ""),
        (str(run.rounds), "rounds", ""),
        (f"{statistics.median(r.spread for r in measured):.1%}" if measured else "-", "spread", ""),
    ]
    shown = "".join(f'<div class="{c}"><b>{n}</b><span>{what}</span></div>' for n, what, c in tiles)
    return "".join([*lines, f'<div class="tiles">{shown}</div>', _contents(run), "</header>"])


def _contents(run: Run) -> str:
    links = [
        f'<a class="{_class(_outcome(run, work))}" href="#{work}" title="{escape(text)}">{work}</a>'
        for work, text in run.works.items()
        if panels(run, work)
    ]
    return f'<nav aria-label="works">{"".join(links)}</nav>'


def _targets(run: Run) -> str:
    """Every target beside its figure, and how far from its bound it is."""
    rows: list[str] = []
    for work, text in run.works.items():
        mine = [verdict for verdict in run.verdicts if verdict.target.group == work]
        if mine:
            heading = f'<a href="#{work}">{work}</a> {escape(text)}'
            rows.append(f'<tr class="work"><th colspan="6" scope="rowgroup">{heading}</th></tr>')
            rows += [_target(verdict) for verdict in mine]
    head = _row("th", ["Target", "Figure", "Bound", "Headroom", "Outcome", "Judged by"], {1, 2})
    return (
        '<h2 id="targets">Targets</h2><p class="prose">The bar ends where the figure is: '
        "past the mark the target is met, and twice as far means twice as good as it asks. "
        "Bars end at four times.</p>"
        f'<div class="wide"><table class="targets"><thead>{head}</thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _target(verdict: Verdict) -> str:
    cells = [
        escape(verdict.target.name),
        figure(verdict),
        limit(verdict),
        _bar(verdict),
        f'<span class="mark {_class(verdict.outcome)}">{verdict.outcome}</span>',
        f'<span class="soft">{escape(how(verdict))}</span>',
    ]
    return _row("td", cells, {1, 2})


def _bar(verdict: Verdict) -> str:
    """Draw how far from its bound a target is; the mark is the bound, the end four times that."""
    room = headroom(verdict)
    if room is None:
        return ""
    mark, width = 40, 160
    at = min(mark * room, width)
    said = f"{room:.2f} times what is asked"
    return (
        f'<svg class="bar {verdict.outcome}" viewBox="0 0 {width + 40} 14" role="img" '
        f'aria-label="{said}"><title>{said}</title>'
        f'<rect x="0" y="4" width="{at:.1f}" height="6" rx="2"/>'
        f'<line x1="{mark}" x2="{mark}" y1="0" y2="14"/>'
        f'<text class="times" x="{max(at, mark) + 5:.1f}" y="11">{number(room)}</text></svg>'
    )


def _waivers(found: Sequence[Waiver]) -> str:
    if not found:
        return ""
    rows = [
        _row(
            "td",
            [
                w.name,
                f"{w.figure:g}",
                f'<span class="date">{w.date.isoformat()}</span>',
                escape(w.reason),
            ],
            {1},
        )
        for w in found
    ]
    head = _row("th", ["Waiver", "Accepts", "Since", "Reason"], {1})
    return (
        '<h2 id="waivers">Waivers</h2><p class="prose">Targets that are missed and accepted for '
        "now, up to a figure and no further.</p>"
        f'<div class="wide"><table><thead>{head}</thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _legend() -> str:
    kinds = (("ours", "ostiary"), ("peer", "others"), ("floor", "floors"))
    dots = "".join(
        f'<span><svg class="key" viewBox="0 0 14 14"><g class="{role}">'
        f'<circle class="median" cx="7" cy="7" r="5"/></g></svg>{said}</span>'
        for role, said in kinds
    )
    return f'<p class="legend">{dots}</p>'


def _work(run: Run, work: str) -> str:
    """One work: its panels, and behind them every figure."""
    mine = [result for result in run.results.values() if result.case.group == work]
    judged = _outcome(run, work)
    mark = f'<span class="mark {_class(judged)}">{judged}</span>' if judged else ""
    drawn = "".join(f'<div class="wide">{plots.svg(panel)}</div>' for panel in panels(run, work))
    head = _row(
        "th", ["Who", "Figure", "Spread", "Lowest", "Highest", "Wall", "× floor"], set(range(1, 7))
    )
    rows = "".join(_figures(run, result) for result in mine)
    return (
        f'<section id="{work}"><h3><span>{work}</span>{escape(run.works[work])}{mark}</h3>{drawn}'
        f'<details><summary>Every figure</summary><div class="wide"><table><thead>{head}</thead>'
        f"<tbody>{rows}</tbody></table></div></details></section>"
    )


def _figures(run: Run, result: Result) -> str:
    case = result.case
    if not result.samples:
        reason = escape(result.unavailable.splitlines()[0] if result.unavailable else "did not run")
        return f'<tr><td>{escape(case.label)}</td><td class="soft" colspan="6">{reason}</td></tr>'
    values = [sample.value for sample in result.samples]
    floor = lowest_floor(run.results, result)
    cells = [
        escape(case.label),
        spelled(number(result.value), case.unit),
        f"{result.spread:.1%}",
        number(min(values)),
        number(max(values)),
        "" if result.wall is None else number(result.wall),
        "" if floor is None else number(result.value / floor.value),
    ]
    return _row("td", cells, set(range(1, 7)), case.role)


def _made(run: Run) -> str:
    """The machine and the versions."""
    machine = run.machine
    facts = {
        "Processor": f"{machine.processor}, {machine.cores} cores",
        "System": f"{machine.system}, kernel {machine.kernel}",
        "Python": machine.python,
        "Placed": placed(machine),
        "Load": f"{machine.load:g} as the run began",
        "Library": ", ".join(f"{name} {version}" for name, version in machine.versions.items()),
        "Peers": ", ".join(f"{name} {version}" for name, version in machine.peers.items()),
    }
    rows = "".join(f"<dt>{name}</dt><dd>{escape(fact)}</dd>" for name, fact in facts.items())
    return f'<h2 id="made">Made on and with</h2><dl>{rows}</dl>'


def _outcome(run: Run, work: str) -> str:
    return outcome([verdict for verdict in run.verdicts if verdict.target.group == work])


def _class(judged: str) -> str:
    return judged.replace(" ", "-")


def _row(tag: str, cells: Iterable[str], right: set[int], kind: str = "") -> str:
    shown = "".join(
        f"<{tag}{' class=right' if index in right else ''}>{cell}</{tag}>"
        for index, cell in enumerate(cells)
    )
    return f"<tr{f' class={kind}' if kind else ''}>{shown}</tr>"
