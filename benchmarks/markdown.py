"""A run for documents: tables in Markdown, plots as files, both put where a page has its markers.

    <!-- figures: P1 P3 P5 -->  ...  <!-- /figures -->    a row for each of these works
    <!-- targets: P1 P3 P5 -->  ...  <!-- /targets -->    a row for each of their targets
    <!-- plots: P1 P3 P5 -->    ...  <!-- /plots -->      a picture for each panel of them

Without names all works are meant. What stands between the markers is replaced.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from . import plots, record
from .catalogue import GROUPS
from .panels import Panel, figure, limit, outcome, panels, spelled, unversioned
from .record import Run
from .rounds import ROOT
from .tables import BUSY, how, lowest_floor, number

ASSETS = Path("docs/assets/performance")
PAGES = (Path("README.md"), Path("docs/performance.md"))
_BLOCK = re.compile(r"(<!-- (figures|targets|plots):?([^>]*?) ?-->\n).*?(<!-- /\2 -->)", re.DOTALL)


class BadMarker(Exception):
    """A page's marker names what is no work."""


def whole(run: Run) -> str:
    """Return table.md: where the figures are from, every work, every target."""
    parts = [made(run), figures(run, run.works)]
    if run.verdicts:
        parts.append(targets(run, run.works))
    return "\n".join(parts)


def made(run: Run) -> str:
    """Say in one line what the figures come from."""
    machine = run.machine
    busy = f", load {machine.load:g}" if machine.load > BUSY else ""
    kind = (
        "One smoke run, whose figures mean nothing"
        if run.smoke
        else f"Medians of {run.rounds} rounds"
    )
    return (
        f"{kind} on {run.made:%Y-%m-%d}: ostiary {machine.versions.get('ostiary', '')}, "
        f"{machine.python}, {machine.processor}, {machine.cores} cores{busy}.\n"
    )


def figures(run: Run, works: Iterable[str]) -> str:
    """Return a row for each panel of these works: ours, the floor, how much dearer others are."""
    rows: list[Sequence[str]] = []
    for work in works:
        for panel in panels(run, work):
            if panel.ours is None:
                continue
            floor = lowest_floor(run.results, panel.ours)
            names = {row.case.name for row in panel.rows}
            rows.append(
                (
                    _named(run, panel),
                    f"**{spelled(number(panel.ours.value), panel.unit)}**",
                    "" if floor is None else number(floor.value),
                    _others(panel),
                    outcome([v for v in run.verdicts if v.target.case in names]),
                )
            )
    head = ("Work", "ostiary", "Floor", "Others: how many times dearer", "Targets")
    return _table(head, rows if any(row[4] for row in rows) else [row[:4] for row in rows])


def _named(run: Run, panel: Panel) -> str:
    """Name a panel: its work, and what sets it apart from the panel before it."""
    text = run.works[panel.work]
    if panel == panels(run, panel.work)[0]:
        return f"{panel.work}: {text}{f' ({panel.title})' if panel.title else ''}"
    apart = panel.title or (panel.name(panel.ours) if panel.ours else "")
    return f"{panel.work}: {apart}"


def _others(panel: Panel) -> str:
    """Name the others and how many times dearer each is, the cheapest first."""
    dearer = [
        (panel.name(row).removesuffix(", TCP"), times)
        for row in panel.rows
        if row.case.role == "peer" and not row.case.options.get("traced")
        for times in [panel.dearer(row)]
        if times is not None
    ]
    # Without versions, unless two of them stand side by side.
    plain = [unversioned(name) for name, _ in dearer]
    return " · ".join(
        f"{name if plain.count(unversioned(name)) > 1 else unversioned(name)} {number(times)}×"
        for name, times in sorted(dearer, key=lambda one: one[1])
    )


def targets(run: Run, works: Iterable[str]) -> str:
    """Return a row for each target of these works."""
    rows = [
        (v.target.name, f"`{how(v)}`", figure(v), limit(v), v.outcome)
        for work in works
        for v in run.verdicts
        if v.target.group == work
    ]
    return _table(("Target", "Judged by", "Figure", "Bound", "Outcome"), rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    right = {"ostiary", "Floor", "Figure", "Bound"}
    head = head[: len(rows[0])] if rows else head
    line = ["---:" if cell in right else "---" for cell in head]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (head, line, *rows))


def pictures(run: Run) -> dict[str, str]:
    """Return each panel as a file: its name, its text."""
    return {
        _file(panel, index): plots.svg(panel, f"{work} · {run.works[work]}")
        for work in run.works
        for index, panel in enumerate(panels(run, work))
    }


def _file(panel: Panel, index: int) -> str:
    return f"{panel.work}{f'-{index + 1}' if index else ''}.svg"


def _plots(run: Run, works: Iterable[str], page: Path) -> str:
    """Return the pictures of these works as a page at `page` shows them, one for each theme."""
    folder = os.path.relpath(ASSETS, page.parent)
    shown: list[str] = []
    for work in works:
        for index, panel in enumerate(panels(run, work)):
            about = f"{work}: {run.works[work]}{f', {panel.title}' if panel.title else ''}"
            file = f"{folder}/{_file(panel, index)}"
            shown.append(
                "\n".join(f"![{about}]({file}#gh-{theme}-mode-only)" for theme in ("light", "dark"))
            )
    return "\n\n".join(shown) + "\n"


def filled(text: str, run: Run, page: Path) -> str:
    """Return a page's text with what its markers ask for."""

    def block(found: re.Match[str]) -> str:
        opening, kind, names, closing = found.groups()
        asked = names.split() or list(run.works)
        if unknown := [work for work in asked if work not in GROUPS]:
            raise BadMarker(f"{page} asks for {', '.join(unknown)}: there is no such work")
        works = [work for work in asked if work in run.works and panels(run, work)]
        if kind == "figures":
            put = f"{figures(run, works)}\n{made(run)}"
        else:
            put = targets(run, works) if kind == "targets" else _plots(run, works, page)
        if missing := [work for work in asked if work not in works]:
            put += f"\nNot in this run: {', '.join(missing)}.\n"
        return f"{opening}\n{put}\n{closing}"

    return _BLOCK.sub(block, text)


def publish(run: Run, root: Path = ROOT) -> list[Path]:
    """Write the run, its pictures and the marked parts of the pages; return what changed."""
    pages = {
        root / page: filled((root / page).read_text(encoding="utf-8"), run, page) for page in PAGES
    }
    folder = root / ASSETS
    folder.mkdir(parents=True, exist_ok=True)
    drawn = {folder / name: text for name, text in pictures(run).items()}
    for old in set(folder.glob("*.svg")) - drawn.keys():
        old.unlink()
    changed: list[Path] = []
    for path, text in {**drawn, **pages}.items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            changed.append(path)
    record.write(run, folder / "run.json")
    return changed
