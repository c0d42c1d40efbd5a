"""The command line. Exit status: 0 when all is well, 1 when a gate fails or the head of a change
became slower, 2 when the run could not be made.
"""

from __future__ import annotations

import argparse
import datetime
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path

from . import compare, gates, markdown, page, record, rounds, tables
from .case import Case
from .cases import startup
from .catalogue import CASES, GROUPS, UnknownCase, chosen
from .compiled import NoCompiler, tools
from .machine import commit, machine
from .record import Run
from .rounds import ROOT

_USAGE = """python -m benchmarks [--gate] [--only P5,P6] [--report FOLDER] ...
       python -m benchmarks --base CHECKOUT [--only P5,P6] [--report FOLDER]
       python -m benchmarks compare BASE.json HEAD.json
       python -m benchmarks publish RUN.json"""
_SHORT = "P1,P2,P3,P5,P6,P7,P8,P9,P10,P11,P12.start,P12.construct,G1,G3,R1,R3,W1,W3,W5"
"""What a change is compared by: each path of the code once or twice."""


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        usage=_USAGE,
        description="Figures beside their floors and their peers, in one run.",
    )
    parser.add_argument("--only", metavar="P5,P6", help="these works, or these cases, alone")
    parser.add_argument("--list", action="store_true", help="name the cases and stop")
    parser.add_argument("--rounds", type=int, default=7, help="rounds, at least 5 (7)")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the run there")
    parser.add_argument(
        "--report",
        metavar="FOLDER",
        type=Path,
        help="write index.html, table.md and run.json there",
    )
    parser.add_argument(
        "--gates",
        metavar="FILE",
        type=Path,
        default=Path(__file__).with_name("gates.toml"),
        help="judge by these targets (benchmarks/gates.toml)",
    )
    parser.add_argument("--importtime", action="store_true", help="show what the import spends")
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--from", metavar="FILE", type=Path, dest="earlier", help="measure nothing: show this run"
    )
    source.add_argument(
        "--base",
        metavar="CHECKOUT",
        type=Path,
        help="hold our cases against the built library of another checkout, round by round",
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--gate", action="store_true", help="exit 1 when a target is missed")
    how.add_argument(
        "--release",
        action="store_true",
        help="--gate, and refuse a waiver that CHANGELOG.md does not name",
    )
    how.add_argument("--smoke", action="store_true", help="run all of it briefly, judge nothing")
    found = parser.parse_args(words)
    if found.json is not None and not found.json.parent.is_dir():
        parser.error(f"--json: there is no folder {found.json.parent}")
    if found.rounds < 5:
        parser.error("--rounds has to be at least 5: fewer make no median")
    if found.base is not None:
        if found.gate or found.release:
            parser.error("--base judges no targets: it only runs our cases")
        if not list((found.base / "src" / "ostiary").glob("_pool.*.so")):
            parser.error(
                f"--base: {found.base} holds no library that was built: `make build` there"
            )
    return found


def _release(found: Sequence[gates.Waiver]) -> bool:
    """Whether every waiver is named in CHANGELOG.md; says which are not."""
    try:
        changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    except OSError:
        changelog = ""
    missing = gates.unnamed(found, changelog)
    for waiver in missing:
        print(f"release refused: CHANGELOG.md does not name waiver {waiver.name}")
    return not missing


def main(words: Sequence[str] | None = None) -> int:
    words = sys.argv[1:] if words is None else words
    try:
        if words[:1] == ["compare"]:
            return _compare(words[1:])
        if words[:1] == ["publish"]:
            return _publish(words[1:])
        return _run(_arguments(words))
    except (
        UnknownCase,
        gates.BadGates,
        markdown.BadMarker,
        record.BadRecord,
        NoCompiler,
        rounds.CaseFailed,
    ) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nbenchmarks: interrupted", file=sys.stderr)
        return 130


def _compare(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks compare",
        description="Say in Markdown which of our cases changed; exit 1 when one became slower.",
    )
    parser.add_argument("base", metavar="BASE.json", type=Path)
    parser.add_argument("head", metavar="HEAD.json", type=Path)
    found = parser.parse_args(words)
    return _compared(record.read(found.base), record.read(found.head))


def _compared(base: Run, head: Run, report: Path | None = None) -> int:
    found = compare.compare(base, head)
    text = compare.markdown(base, head, found)
    print(text, end="")
    if report is not None:
        report.mkdir(parents=True, exist_ok=True)
        record.write(base, report / "base.json")
        record.write(head, report / "head.json")
        (report / "compare.md").write_text(text, encoding="utf-8")
    return 1 if found.slower else 0


def _publish(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks publish",
        description="Write a run's plots, and its tables where README.md and docs/ have markers.",
    )
    parser.add_argument("run", metavar="RUN.json", type=Path)
    run = record.read(parser.parse_args(words).run)
    if run.smoke:
        raise record.BadRecord("a smoke run is not published: its figures mean nothing")
    for path in markdown.publish(run):
        print(path.relative_to(ROOT))
    return 0


def _run(options: argparse.Namespace) -> int:
    if options.list:
        rows = [(case.name, case.role, case.label) for case in _chosen(options.only or "")]
        print("\n".join(tables.columns(rows, set())))
        return 0
    if options.base is not None:
        return _beside(options)
    run = _measured(options) if options.earlier is None else record.read(options.earlier)
    if run is None:
        return 1
    if options.earlier is not None:
        if options.release and not _release(run.waivers):
            return 1
        print(tables.heading(run.machine), end="\n\n")
    print(tables.table(run))
    if run.smoke:
        print("\nA smoke run: everything ran; the figures mean nothing and nothing is judged.")
    else:
        print(f"\n{tables.verdicts(run.verdicts)}")
    if run.waivers:
        print(f"\n{tables.waivers(run.waivers)}")
    if options.importtime:
        print("\nimport ostiary.vault, by CPython's account (-X importtime, which slows it)")
        print(startup.import_times("import ostiary.vault", 25))
    if options.json is not None:
        record.write(run, options.json)
    if options.report is not None:
        _report(run, options.report)
    if not (options.gate or options.release):
        return 0
    failed = [verdict.target.name for verdict in run.verdicts if verdict.failed]
    print(f"\ngate: FAILED: {', '.join(failed)}" if failed else "\ngate: passed")
    return 1 if failed else 0


def _report(run: Run, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    record.write(run, folder / "run.json")
    (folder / "table.md").write_text(markdown.whole(run), encoding="utf-8")
    (folder / "index.html").write_text(page.html(run), encoding="utf-8")
    print(f"\nreport: {folder / 'index.html'}")


def _chosen(only: str) -> list[Case]:
    return chosen([word.strip() for word in (only or ",".join(GROUPS)).split(",")])


def _measured(options: argparse.Namespace) -> Run | None:
    """Measure and judge; None when a release is refused before anything is measured."""
    cases = _chosen(options.only)
    found = gates.read(options.gates)
    if options.release and not _release(list(found.waivers.values())):
        return None
    # A target is judged when its case was asked for; whatever else it takes runs as well.
    asked = {case.name for case in cases}
    targets = [t for t in found.targets if t.case in asked and not options.smoke]
    asked |= {name for target in targets for name in target.cases}
    (run,) = _rounds(options, [case for case in CASES if case.name in asked], (rounds.SOURCE,))
    figures = {name: [s.value for s in r.samples] for name, r in run.results.items()}
    run.verdicts.extend(gates.judge_all(found, targets, figures))
    run.waivers.extend(found.waivers.values())
    return run


def _beside(options: argparse.Namespace) -> int:
    """Run our cases with this library and with that of the base, in the same rounds."""
    cases = [case for case in _chosen(options.only or _SHORT) if case.role == "ours"]
    base = Path(options.base).resolve()
    head, before = _rounds(options, cases, (rounds.SOURCE, base / "src"))
    return _compared(before, head, options.report)


def _rounds(
    options: argparse.Namespace, cases: Sequence[Case], libraries: Sequence[Path]
) -> list[Run]:
    """Run the cases; return a run for each library."""
    smoke, here = bool(options.smoke), machine()
    made, session = datetime.datetime.now(datetime.UTC), secrets.token_hex(8)
    commits = [commit(library.parent) for library in libraries]
    print(tables.heading(here), end="\n\n", flush=True)
    count = 1 if smoke else int(options.rounds)
    results = rounds.run(
        cases,
        tools(),
        rounds=count,
        smoke=smoke,
        progress=tables.Progress(),
        libraries=libraries,
    )
    works = {name: text for name, text in GROUPS.items() if any(c.group == name for c in cases)}
    return [
        Run(here, made, count, smoke, works, found, commit=mark, session=session)
        for found, mark in zip(results, commits, strict=True)
    ]


if __name__ == "__main__":
    sys.exit(main())
