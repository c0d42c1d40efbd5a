"""Print what the experiments count, in one table, beside what other clients did.

    python -m tests.hazards.figures [--only PART]

Exits 1 when one of them is not as it must be.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from typing import NamedTuple

from tests.hazards import experiments
from tests.peers.driver import COLOURS


class Row(NamedTuple):
    name: str
    colour: str
    figure: str
    good: bool
    seconds: float = 0.0


def storms() -> Iterator[Row]:
    for colour in ("asyncio", "uvloop"):
        said = experiments.cancel_storm(colour)
        figure = (
            f"{said.get('cancelled', 0)} cancelled, {said.get('good', 0)} good, "
            f"{said.get('wrong', 0)} wrong; then {said['good_after']} of 1,000 good "
            f"in {said['seconds_after']} s"
        )
        fine = said["good_after"] == 1000 and not said.get("wrong") and said["open"] <= 10
        yield Row("cancel storm, 2,400 on 10 connections", colour, figure, fine)
    said = experiments.timeout_storm()
    figure = (
        f"{said.get('DeadlineError', 0)} timed out, {said.get('good', 0)} good, "
        f"{said.get('wrong', 0)} wrong; then {said['good_after']} of 1,000 good"
    )
    fine = said["good_after"] == 1000 and not said.get("wrong") and said["open"] <= 10
    yield Row("timeout storm, 20 threads", "sync", figure, fine)


def forks() -> Iterator[Row]:
    for colour in COLOURS:
        said = experiments.fork(colour)
        figure = f"{said['wrong']} wrong and {said['errors']} errors of {said['requests']}"
        fine = said["wrong"] == said["errors"] == 0
        yield Row("fork, parent and 4 children x 50", colour, figure, fine)


def memory() -> Iterator[Row]:
    for what, size, most, name in (
        ("bomb", 400, 160, "400 MB gzip bomb"),
        ("bomb-streamed", 400, 64, "400 MB gzip, streamed whole"),
        ("line", 300, 48, "unterminated 300 MB SSE line"),
        ("announced", 1, 16, "60 MB announced, none sent"),
    ):
        for colour in COLOURS:
            said = experiments.amplified(what, colour, size)
            figure = (
                f"peak RSS {said['peak_mib']} MiB (+{said['grown_mib']}), {said['outcome']} "
                f"after {said['seconds']} s"
            )
            fine = said["peak_mib"] < most + 48 and said["good_after"]
            yield Row(name, colour, figure, fine)


def drips() -> Iterator[Row]:
    for colour in COLOURS:
        took = experiments.drip(colour)
        figure = ", ".join(f"{what} {took[what]:.3f}" for what in experiments.DRIPS) + " s"
        fine = all(1.0 <= took[what] < 1.5 for what in experiments.DRIPS)
        yield Row("dripping server, 1 s", colour, figure, fine)


def churns() -> Iterator[Row]:
    for colour in COLOURS:
        said = experiments.churn(colour)
        figure = (
            f"{said['connections']} opened, {said['leaked']} descriptors left, {said['seconds']} s"
        )
        fine = said["connections"] == 10_000 and said["leaked"] == 0
        yield Row("10,000 connections", colour, figure, fine)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--only", help="storms, forks, memory, drips or churns")
    chosen = options.parse_args()
    bad = 0
    for part in (storms, forks, memory, drips, churns):
        if chosen.only in (None, part.__name__):
            begun = time.monotonic()
            for row in part():
                mark = " " if row.good else "!"
                print(f"{mark} {row.name:38} {row.colour:8} {row.figure}", flush=True)
                bad += not row.good
            print(f"  {'':38} {'':8} ({time.monotonic() - begun:.1f} s)", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
