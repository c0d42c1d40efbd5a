"""A panel as an SVG: a row per case on one logarithmic axis, every sample a dot.

The pale bar of a row is where its target lets it be. A picture that stands alone brings its
colours; within a page it takes the page's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from html import escape
from pathlib import Path

from .panels import UNITS, Panel
from .rounds import Result
from .tables import number

WIDTH = 800
_LABELS, _AXIS_END = 340, 652
_FIGURE, _TIMES = 724, 790
_ROW, _HEAD, _FOOT = 24, 30, 26
COLOURS = (Path(__file__).with_name("colours.css")).read_text(encoding="utf-8")
STYLE = (Path(__file__).with_name("plots.css")).read_text(encoding="utf-8")


def svg(panel: Panel, heading: str = "") -> str:
    """Draw one panel; with a heading it is a whole file, without it a part of a page."""
    shown = [sample.value for row in panel.rows for sample in row.samples]
    shown += [panel.limits.get(row.case.name, 0) for row in panel.rows]
    place, ticks = _scale([value for value in shown if value > 0])
    top = _HEAD + (26 if heading else 0)
    height = top + _ROW * len(panel.rows) + _FOOT
    bottom = height - _FOOT
    parts: list[str] = []
    if heading:
        parts.append(_text("heading", 0, 16, heading))
    title = " · ".join(word for word in (panel.title, UNITS[panel.unit]) if word)
    parts.append(_text("title", 0, top - 10, title))
    if panel.ours is not None:
        parts.append(_text("column end", _TIMES, top - 10, "× ours"))
    for value, labelled in ticks:
        x = place(value)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}"/>')
        if labelled:
            parts.append(_text("tick", x, bottom + 16, _short(value)))
    for index, row in enumerate(panel.rows):
        parts.append(_row(panel, row, top + _ROW * index + _ROW / 2, place))
    about = escape(f"{heading or panel.work}: {title}")
    body = "".join(parts)
    size = f'viewBox="0 0 {WIDTH} {height:.0f}"'
    if not heading:
        return f'<svg class="plot" {size} role="img" aria-label="{about}">{body}</svg>'
    # By its fragment a page asks for one of the two: file.svg#gh-dark-mode-only.
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} width="{WIDTH}" height="{height:.0f}" '
        f'role="img" aria-label="{about}"><style>{COLOURS}{STYLE}</style>'
        f'<g id="gh-light-mode-only"/><g id="gh-dark-mode-only"/>{body}</svg>\n'
    )


def _row(panel: Panel, row: Result, y: float, place: Callable[[float], float]) -> str:
    """Draw one case: where it may be, every sample, the median, the figures."""
    case = row.case
    values = [sample.value for sample in row.samples]
    said = f"{case.label}: {number(row.value)} {case.unit}, {min(values):.4g} to {max(values):.4g}"
    parts = [f"<title>{escape(said)}</title>"]
    stands = panel.ours is row
    if stands:
        parts.append(
            f'<rect class="mine" x="-6" y="{y - _ROW / 2}" '
            f'width="{WIDTH + 6}" height="{_ROW}" rx="4"/>'
        )
    limit = panel.limits.get(case.name)
    if limit is not None and limit > 0:
        x, edge = place(limit), _AXIS_END if panel.more else _LABELS
        low, high = sorted((x, edge))
        parts.append(
            f'<rect class="band" x="{low:.1f}" y="{y - 7}" width="{high - low:.1f}" height="14"/>'
            f'<line class="limit" x1="{x:.1f}" x2="{x:.1f}" y1="{y - 9}" y2="{y + 9}"/>'
        )
    low, high = place(min(values)), place(max(values))
    stem = place(row.value)
    parts.append(f'<line class="stem" x1="{_LABELS}" x2="{stem:.1f}" y1="{y}" y2="{y}"/>')
    parts.append(f'<line class="range" x1="{low:.1f}" x2="{high:.1f}" y1="{y}" y2="{y}"/>')
    parts += [f'<circle class="sample" cx="{place(v):.1f}" cy="{y}" r="2.2"/>' for v in values]
    parts.append(f'<circle class="median" cx="{stem:.1f}" cy="{y}" r="5"/>')
    name = panel.name(row)
    # No font is known here: a name that is too long in the widest is fitted into its column.
    long = len(name) > (40 if case.role == "ours" else 46)
    squeezed = f' textLength="{_LABELS - 12}" lengthAdjust="spacingAndGlyphs"' if long else ""
    parts.append(f'<text class="label" x="0" y="{y + 4}"{squeezed}>{escape(name)}</text>')
    parts.append(_text("figure end", _FIGURE, y + 4, f"{number(row.value)}"))
    times = panel.dearer(row)
    if times is not None and not stands:
        parts.append(_text("times end", _TIMES, y + 4, number(times)))
    missed = limit is not None and (row.value < limit if panel.more else row.value > limit)
    return f'<g class="{case.role}{" missed" if missed else ""}">{"".join(parts)}</g>'


def _text(kind: str, x: float, y: float, said: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:g}">{escape(said)}</text>'


def _scale(values: list[float]) -> tuple[Callable[[float], float], list[tuple[float, bool]]]:
    """Return where a value stands across, and the ticks: (value, whether it is labelled)."""
    low, high = (min(values), max(values)) if values else (1.0, 10.0)
    # Half a decade at the least: what hardly differs must not look far apart.
    first, last = math.log10(low) - 0.08, math.log10(high) + 0.08
    if last - first < 0.5:
        middle = (first + last) / 2
        first, last = middle - 0.25, middle + 0.25
    across = (_AXIS_END - _LABELS) / (last - first)

    def place(value: float) -> float:
        # What is nothing, or less by an error of measurement, stands at the edge.
        return _LABELS + (max(math.log10(value), first) - first) * across if value > 0 else _LABELS

    decades = last - first
    labelled = (1, 2, 5) if decades < 2.2 else (1,)
    ticks = [
        (step * 10.0**power, step in labelled)
        for power in range(math.floor(first), math.ceil(last) + 1)
        for step in ((1, 2, 5) if decades < 4 else (1,))
        if first <= math.log10(step) + power <= last
    ]
    return place, ticks


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 1 else f"{value:.2g}"
