"""The command line: `python -m benchmarks [--gate] [--smoke] [--only P5,P6] [--json FILE]`.

Exit status: 0 when all is well, 1 when a gate fails, 2 when the run could not be made.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from . import gates, report, rounds
from .cases import startup
from .catalogue import CASES, GROUPS, UnknownCase, chosen
from .compiled import NoCompiler, tools

ROOT = Path(__file__).resolve().parent.parent


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Figures beside their floors and their peers, in one run.",
    )
    parser.add_argument("--only", metavar="P5,P6", help="these works, or these cases, alone")
    parser.add_argument("--list", action="store_true", help="name the cases and stop")
    parser.add_argument("--rounds", type=int, default=7, help="rounds, at least 5 (7)")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write every sample there")
    parser.add_argument(
        "--gates",
        metavar="FILE",
        type=Path,
        default=Path(__file__).with_name("gates.toml"),
        help="judge by these targets (benchmarks/gates.toml)",
    )
    parser.add_argument("--importtime", action="store_true", help="show what the import spends")
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
    return found


def _release(found: gates.Gates) -> bool:
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
    options = _arguments(words)
    try:
        return _run(options)
    except (UnknownCase, gates.BadGates, NoCompiler, rounds.CaseFailed) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nbenchmarks: interrupted", file=sys.stderr)
        return 130


def _run(options: argparse.Namespace) -> int:
    words = [word.strip() for word in (options.only or ",".join(GROUPS)).split(",")]
    cases = chosen(words)
    if options.list:
        rows = [(case.name, case.role, case.label) for case in cases]
        print("\n".join(report.columns(rows, set())))
        return 0
    found = gates.read(options.gates)
    if options.release and not _release(found):
        return 1
    # A target is judged when its case was asked for; whatever else it takes runs as well.
    asked = {case.name for case in cases}
    smoke = bool(options.smoke)
    targets = [target for target in found.targets if target.case in asked and not smoke]
    asked |= {name for target in targets for name in target.cases}
    cases = [case for case in CASES if case.name in asked]

    machine = report.machine()
    print(report.heading(machine), end="\n\n", flush=True)
    results = rounds.run(
        cases,
        tools(),
        rounds=1 if smoke else options.rounds,
        smoke=smoke,
        progress=report.Progress(),
    )
    print(report.table(results))
    judged: list[gates.Verdict] = []
    if smoke:
        print("\nA smoke run: everything ran; the figures mean nothing and nothing is judged.")
    else:
        figures = {name: [s.value for s in r.samples] for name, r in results.items()}
        judged = gates.judge_all(found, targets, figures)
        print(f"\n{report.verdicts(judged)}")
    if found.waivers:
        print(f"\n{report.waivers(list(found.waivers.values()))}")
    if options.importtime:
        print("\nimport ostiary.vault, by CPython's account (-X importtime, which slows it)")
        print(startup.import_times("import ostiary.vault", 25))
    if options.json is not None:
        kept = {"rounds": options.rounds, "smoke": smoke, "only": options.only}
        data = report.as_json(machine, results, judged, kept)
        options.json.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    failed = [verdict for verdict in judged if verdict.failed]
    if failed and (options.gate or options.release):
        print(f"\ngate: FAILED: {', '.join(verdict.target.name for verdict in failed)}")
        return 1
    if options.gate or options.release:
        print("\ngate: passed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
