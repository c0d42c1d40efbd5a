"""A run's file, and everything that is shown of it."""

from __future__ import annotations

import dataclasses
import datetime
import html.parser
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from benchmarks import markdown, page, panels, plots, record, tables
from benchmarks.__main__ import main
from benchmarks.catalogue import GROUPS, named
from benchmarks.machine import commit, machine
from benchmarks.record import BadRecord, Run
from benchmarks.rounds import Result
from tests.benchmarks.runs import FIGURES, MACHINE, made


def test_a_run_comes_back_from_its_file_as_it_was(tmp_path: Path) -> None:
    run = made()
    record.write(run, tmp_path / "run.json")
    assert record.read(tmp_path / "run.json") == run


def test_a_whole_smoke_run_of_this_machine_comes_back(tmp_path: Path) -> None:
    # Every case there is, with what this machine is found to be.
    results = {name: Result(named(name)) for name in ("P5.call", "G1.typed", "R1.old", "W6.plain")}
    now = datetime.datetime.now(datetime.UTC)
    run = Run(machine(), now, 1, smoke=True, works=dict(GROUPS), results=results)
    record.write(run, tmp_path / "run.json")
    assert record.read(tmp_path / "run.json") == run


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"machine": 1}', "\xff"], ids=repr)
def test_what_is_no_run_is_refused_with_its_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "run.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(BadRecord, match=re.escape(str(path))):
        record.read(path)
    assert main(["--from", str(path)]) == 2


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BadRecord, match="No such file"):
        record.read(tmp_path / "none.json")


def test_the_versions_of_peers_are_those_installed() -> None:
    import httptools

    # Pinned in the bench group, and installed by the tests' own.
    assert machine().peers["httptools"] == httptools.__version__


def test_a_tree_that_is_no_checkout_has_no_commit(tmp_path: Path) -> None:
    assert commit(tmp_path) == ""


class Reader(html.parser.HTMLParser):
    """Whether a page is balanced, and what it would fetch."""

    EMPTY = frozenset({"meta", "br", "line", "rect", "circle"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.EMPTY:
            self.open.append(tag)
        for name, value in attrs:
            if name == "src" or tag in {"link", "script", "img", "iframe"}:
                self.fetched.append(f"{tag} {name}={value}")
            if name == "id" and value:
                self.ids.append(value)
            if name == "href" and value:
                self.links.append(value)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    return reader


def test_the_page_needs_nothing_but_itself() -> None:
    shown = read(page.html(made()))
    assert shown.fetched == []
    assert "url(" not in page.html(made())
    assert "@import" not in page.html(made())
    assert len(set(shown.ids)) == len(shown.ids)
    assert {link.removeprefix("#") for link in shown.links} <= set(shown.ids)


def test_the_page_shows_every_target_case_and_waiver() -> None:
    said = " ".join(read(page.html(made())).text)
    for name in ("P5.floor", "P5.peer", "P6.stdlib", "P13.share", "W6.peer", "W6.rate"):
        assert name in said
    for word in ("8.20 µs", "sanctum-ai 0.4.0", "it is <not> there", "the lock is <shared>"):
        assert word in said
    for word in ("One & <Two>, 2 cores", "kernel 6.1", "httpx 0.28.1", "2026", "waived", "missed"):
        assert word in said


def test_a_page_is_not_its_figures_alone() -> None:
    """What makes a run doubtful stands at its head."""
    run = made()
    busy = dataclasses.replace(run, machine=dataclasses.replace(MACHINE, load=3.0))
    assert "The machine was busy" not in page.html(run)
    assert "The machine was busy" in page.html(busy)
    smoke = dataclasses.replace(run, smoke=True, verdicts=[])
    assert "A smoke run" in page.html(smoke)
    assert 'id="targets"' not in page.html(smoke)


def test_each_limit_is_where_its_target_would_just_be_met() -> None:
    run = made()
    limits = {
        name: p.limits[name]
        for work in run.works
        for p in panels.panels(run, work)
        for name in p.limits
    }
    # The stricter of 2.1 floors (10.71) and of a peer divided by 2.2 (9.3).
    assert limits["P5.call"] == pytest.approx(20.5 / 2.2, rel=0.01)
    # Twice as slow a machine may take twice as long.
    assert limits["P6.stdlib"] == pytest.approx(5.0)
    # Of a rate the bound is from below.
    assert limits["P13.fetch"] == pytest.approx(50)
    assert limits["W6.pipeline"] == pytest.approx(8 * 905, rel=0.01)


def test_a_limit_agrees_with_the_verdict() -> None:
    run = made()
    for verdict in run.verdicts:
        room = panels.headroom(verdict)
        assert room is not None
        assert (room >= 1) == (verdict.outcome == "met")


def test_the_best_stands_first_and_dearer_is_of_cost() -> None:
    run = made()
    (calls,) = panels.panels(run, "P5")
    assert [row.case.name for row in calls.rows] == ["P5.c-floor", "P5.call", "P5.sanctum-ai"]
    (rates,) = panels.panels(run, "W6")
    assert [row.case.name for row in rates.rows] == ["W6.pipeline", "W6.plain"]
    assert rates.ours is rates.rows[0]
    assert rates.dearer(rates.rows[1]) == pytest.approx(5050 / 905)


@pytest.mark.parametrize("work", ["P5", "P6", "P13", "W6"])
def test_a_plot_has_every_row_in_its_place(work: str) -> None:
    (panel,) = panels.panels(made(), work)
    root = ET.fromstring(plots.svg(panel, "a <work> & more"))
    space = "{http://www.w3.org/2000/svg}"
    medians = [one for one in root.iter(f"{space}circle") if one.get("class") == "median"]
    assert len(medians) == len(panel.rows)
    places = [float(one.get("cx", "")) for one in medians]
    assert places == sorted(places, reverse=panel.more)
    samples = [one for one in root.iter(f"{space}circle") if one.get("class") == "sample"]
    assert len(samples) == sum(len(row.samples) for row in panel.rows)
    assert all(0 <= place <= plots.WIDTH for place in places)
    said = [one.text for one in root.iter(f"{space}text")]
    assert "a <work> & more" in said
    for row in panel.rows:
        assert tables.number(row.value) in said


def test_a_missed_target_is_marked_in_the_plot() -> None:
    run = made(FIGURES | {"P5.call": [12.0, 12.0, 12.0]})
    (panel,) = panels.panels(run, "P5")
    assert 'class="ours missed"' in plots.svg(panel)
    (panel,) = panels.panels(made(), "P5")
    assert "missed" not in plots.svg(panel)


def test_the_tables_of_a_document() -> None:
    run = made()
    ours, others = "**8.20 µs** | 5.10", "a blocking socket, nothing parsed 116×"
    assert markdown.figures(run, ["P5", "P13", "W6"]).splitlines() == [
        "| Work | ostiary | Floor | Others: how many times dearer | Targets |",
        "| --- | ---: | ---: | --- | --- |",
        f"| P5: {GROUPS['P5']} | {ours} | sanctum-ai 2.50× | met |",
        f"| P13: {GROUPS['P13']} | **46.5 %** |  | {others} | waived |",
        f"| W6: {GROUPS['W6']} | **5,050 per second** |  "
        "| httpx + pydantic, one by one 5.58× | missed |",
    ]
    row = "| P5.peer | `P5.sanctum-ai / P5.call` | 2.50 x | ≥ 2.2 x | met |"
    assert row in markdown.targets(run, ["P5"]).splitlines()


PAGE = """# Figures

<!-- figures: P5 -->
old
<!-- /figures -->

<!-- plots: P5 W6 -->
<!-- /plots -->

<!-- targets -->
<!-- /targets -->
end
"""


def test_markers_are_filled_and_filled_again_the_same() -> None:
    run = made()
    once = markdown.filled(PAGE, run, Path("docs/performance.md"))
    assert "old" not in once
    assert "P13" not in once.partition("<!-- /plots -->")[0]
    assert "(assets/performance/P5.svg#gh-dark-mode-only)" in once
    assert "| P13.share |" in once
    assert once.startswith("# Figures\n")
    assert once.endswith("<!-- /targets -->\nend\n")
    assert markdown.filled(once, run, Path("docs/performance.md")) == once
    assert "(docs/assets/performance/P5.svg" in markdown.filled(PAGE, run, Path("README.md"))


def test_a_marker_that_asks_for_what_was_not_measured_says_so() -> None:
    for kind in ("figures", "targets", "plots"):
        page = f"<!-- {kind}: P5 P1 -->\n<!-- /{kind} -->"
        filled = markdown.filled(page, made(), Path("README.md"))
        assert "\nNot in this run: P1.\n" in filled
        assert "P5." in filled or "| P5: " in filled


def test_a_marker_that_asks_for_what_does_not_exist_is_an_error() -> None:
    with pytest.raises(markdown.BadMarker, match="P99"):
        markdown.filled("<!-- figures: P5 P99 -->\n<!-- /figures -->", made(), Path("README.md"))


def test_publishing_writes_pages_pictures_and_the_run(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    for name in markdown.PAGES:
        (tmp_path / name).write_text(PAGE, encoding="utf-8")
    folder = tmp_path / markdown.ASSETS
    folder.mkdir(parents=True)
    (folder / "Z9.svg").write_text("of a work that is gone", encoding="utf-8")
    changed = markdown.publish(made(), tmp_path)
    names = {path.relative_to(tmp_path).as_posix() for path in changed}
    assert {"README.md", "docs/performance.md", "docs/assets/performance/P5.svg"} <= names
    assert not (folder / "Z9.svg").exists()
    assert markdown.publish(record.read(folder / "run.json"), tmp_path) == []


def test_a_smoke_run_is_not_published(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record.write(dataclasses.replace(made(), smoke=True), tmp_path / "run.json")
    assert main(["publish", str(tmp_path / "run.json")]) == 2
    assert "a smoke run is not published" in capsys.readouterr().err


def test_the_pages_of_this_repository_are_of_the_run_beside_them(root: Path) -> None:
    kept = markdown.ASSETS / "run.json"
    run = record.read(root / kept)
    assert not run.smoke
    for name in markdown.PAGES:
        text = (root / name).read_text(encoding="utf-8")
        assert markdown.filled(text, run, name) == text, f"make figures FROM={kept}"
    drawn = {
        path.name: path.read_text(encoding="utf-8")
        for path in (root / markdown.ASSETS).glob("*.svg")
    }
    assert drawn == markdown.pictures(run)


def test_an_earlier_run_makes_the_report_and_is_judged_as_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record.write(made(), tmp_path / "run.json")
    folder = tmp_path / "report"
    assert main(["--from", str(tmp_path / "run.json"), "--report", str(folder), "--gate"]) == 1
    assert "gate: FAILED: W6.peer" in capsys.readouterr().out
    assert {path.name for path in folder.iterdir()} == {"index.html", "table.md", "run.json"}
    assert record.read(folder / "run.json") == made()
    met = made(FIGURES | {"W6.pipeline": [9_000.0, 9_000.0, 9_000.0]})
    record.write(met, tmp_path / "run.json")
    assert main(["--from", str(tmp_path / "run.json"), "--gate"]) == 0
    assert "gate: passed" in capsys.readouterr().out
