"""A run made of figures, as if they had been measured."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence

from benchmarks import gates
from benchmarks.catalogue import GROUPS, named
from benchmarks.machine import Machine
from benchmarks.record import Run
from benchmarks.rounds import Result
from benchmarks.sample import Sample

MACHINE = Machine(
    python="CPython 3.11.7",
    system="Linux x86_64",
    kernel="6.1",
    processor="One & <Two>",
    cores=2,
    server_core=0,
    client_core=1,
    load=0.2,
    versions={"ostiary": "0.1.0"},
    peers={"httpx": "0.28.1"},
)
TARGETS = """
[target."P5.floor"]
case = "P5.call"
against = "P5.c-floor"
at_most = 2.1
[target."P5.peer"]
case = "P5.sanctum-ai"
against = "P5.call"
at_least = 2.2
[target."P6.stdlib"]
case = "P6.stdlib"
at_most = 2.5
yardstick = "P6.streams"
yardstick_was = 20.5
[target."P13.share"]
case = "P13.fetch"
at_least = 50
[target."W6.peer"]
case = "W6.pipeline"
against = "W6.plain"
at_least = 8
[target."W6.rate"]
case = "W6.pipeline"
at_least = 100
[waiver."P13.share"]
figure = 40
reason = "the lock is <shared>"
date = 2026-01-02
"""
FIGURES = {
    "P5.c-floor": [5.0, 5.2, 5.1],
    "P5.sanctum-ai": [20.0, 21.0, 20.5],
    "P5.call": [8.0, 8.4, 8.2],
    "P6.streams": [41.0, 41.0, 41.0],
    "P6.stdlib": [4.0, 4.0, 4.0],
    "P13.socket": [0.5, 0.0, 0.4],
    "P13.fetch": [46.0, 47.0, 46.5],
    "W6.plain": [900.0, 910.0, 905.0],
    "W6.pipeline": [5_000.0, 5_100.0, 5_050.0],
}


def made(figures: Mapping[str, Sequence[float]] = FIGURES, targets: str = TARGETS) -> Run:
    """A run that measured these figures."""
    results = {
        name: Result(named(name), [Sample(value, value * 1.5) for value in values])
        for name, values in figures.items()
    }
    results["P5.use"] = Result(named("P5.use"), [], "it is <not> there\nfor a reason")
    found = gates.parse(targets)
    return Run(
        MACHINE,
        datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC),
        3,
        smoke=False,
        works={work: text for work, text in GROUPS.items() if work in {"P5", "P6", "P13", "W6"}},
        results=results,
        commit="abc",
        session="s",
        verdicts=gates.judge_all(found, found.targets, figures),
        waivers=list(found.waivers.values()),
    )
