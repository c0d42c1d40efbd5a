"""`ostiary fleet run`: inputs from a file, results into another as they come.

Neighbours: `inputs` reads, `ostiary.fleet.rows` writes, `ostiary.fleet` does the work.
"""

from __future__ import annotations

import importlib
import inspect
import sys
import sysconfig
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, Final, cast

import typer

from ..screen import EXIT_FAILED, Screen
from ..session import Json, reporting
from ..target import find
from .inputs import Inputs

if TYPE_CHECKING:
    from ...fleet import Fleet, FleetReport
    from ...fleet.rows import Rows

__all__ = ["run"]

_WORK: Final = "The work"
_SHOWN_FAILURES: Final = 5


def run(
    target: Annotated[
        str,
        typer.Argument(
            metavar="MODULE:NAME",
            help="An agent class or a function: package.module:Name, or path/to/file.py:Name.",
            show_default=False,
        ),
    ],
    inputs: Annotated[
        Path,
        typer.Option(
            "--inputs",
            metavar="FILE",
            help="A line of JSON for each input; - is stdin. The member `id`, else the number of "
            "the line, tells them apart.",
            show_default=False,
        ),
    ],
    on: Annotated[
        str,
        typer.Option(
            "--on",
            metavar="WHERE",
            help="local, processes, dask://HOST:PORT, ray (this machine) or ray://HOST:PORT.",
        ),
    ] = "local",
    concurrency: Annotated[
        int,
        typer.Option(
            "--concurrency", metavar="N", min=1, help="Inputs at once.", rich_help_panel=_WORK
        ),
    ] = 64,
    retries: Annotated[
        int,
        typer.Option(
            "--retries",
            metavar="N",
            min=0,
            help="How often an input is tried again, under the same idempotency key.",
            rich_help_panel=_WORK,
        ),
    ] = 2,
    timeout: Annotated[
        float | None,
        typer.Option(
            "--timeout",
            metavar="SECONDS",
            min=0.001,
            help="For one attempt at one input. Default: none.",
            show_default=False,
            rich_help_panel=_WORK,
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            metavar="N",
            min=1,
            help="Processes that share the work. Default: as many as there are.",
            show_default=False,
            rich_help_panel=_WORK,
        ),
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(
            "--profile",
            metavar="NAME",
            help="The profile of config.toml that clients are made from. Default: "
            "$OSTIARY_PROFILE, else default, as the workers see it.",
            show_default=False,
            rich_help_panel=_WORK,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="Where results go, a line of JSON each, as they come.",
            show_default=False,
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on: skip inputs whose result, good or bad, is in --out."),
    ] = False,
    sarif: Annotated[
        Path | None,
        typer.Option(
            "--sarif",
            metavar="FILE",
            help="Where all findings go, as one SARIF document.",
            show_default=False,
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Run an agent or a function over many inputs; a worker that dies loses none of them.

    Exit codes: 0 all went well; 1 an input failed, or nobody does the work; 2 wrong usage.
    """
    if resume and out is None:
        raise typer.BadParameter("--resume goes on with the results in --out; give that too")
    module, work = find(target, "MODULE:NAME", "agent or function", _is_work)
    with ExitStack() as stack, reporting(json) as screen:
        # Here, because --help and completion need none of it.
        from ...client import OstiaryConfig
        from ...fleet import Fleet
        from ...fleet.rows import Rows

        rows = None
        if out is not None:
            rows = stack.enter_context(Rows(out, target, resume=resume))
        _carry(module, on)
        source = Inputs(inputs, frozenset() if rows is None else rows.done)
        fleet = Fleet(
            cast("Any", work),
            client=None if profile is None else OstiaryConfig.load(profile),
            executor=on,
            concurrency=concurrency,
            retries=retries,
            timeout=timeout,
            workers=workers,
            identify=lambda given: source.id,
            run_id=None if rows is None else rows.run_id,
            progress=screen.err.is_terminal,
        )
        try:
            report = _run(fleet, source, rows)
        except KeyboardInterrupt:
            if out is not None:
                screen.note(f"interrupted; --resume goes on behind the results in {out}")
            raise
        if sarif is not None:
            report.write_sarif(sarif)
        _show(screen, report, 0 if rows is None else len(rows.done), out, sarif)
    if not report.ok:
        raise typer.Exit(EXIT_FAILED)


def _run(fleet: Fleet, source: Inputs, rows: Rows | None) -> FleetReport:
    with fleet.stream(source) as stream:
        stream.report.total = source.count()
        if rows is not None:
            rows.begin(fleet.run_id)
            rows.recall(stream.report)
        for result in stream:
            if rows is not None:
                rows.add(result)
    return stream.report


def _show(
    screen: Screen, report: FleetReport, skipped: int, out: Path | None, sarif: Path | None
) -> None:
    if screen.json:
        screen.document({**report.summary(), "skipped": skipped})
    else:
        rate = report.done / report.seconds if report.seconds else 0.0
        screen.facts(
            {
                "inputs": f"{report.done:,}",
                "skipped": f"{skipped:,}" if skipped else None,
                "failed": f"{report.failed:,}",
                "tried again": f"{report.retried:,}",
                "time": f"{report.seconds:.1f} s, {rate:,.0f} a second",
                "p50, p99": f"{report.p50 * 1000:,.1f} ms, {report.p99 * 1000:,.1f} ms",
                "findings": f"{report.findings:,}" if report.findings else None,
                "results": out,
                "SARIF": sarif,
            }
        )
    from ...fleet.errors import told

    for failure in report.failures[:_SHOWN_FAILURES]:
        assert failure.error is not None
        screen.note(f"input {failure.id} failed: {told(failure.error)}")
    if report.failed > _SHOWN_FAILURES:
        screen.note(f"and {report.failed - _SHOWN_FAILURES:,} more")


def _is_work(found: object) -> bool:
    from ...gateway import SageSanctumAgent

    if isinstance(found, type):
        return issubclass(found, SageSanctumAgent) and found is not SageSanctumAgent
    return inspect.isfunction(found)


def _carry(module: ModuleType, on: str) -> None:
    """Have code that is not installed travel to a cluster, which need not have it."""
    pickler = {"dask": "cloudpickle", "ray": "ray.cloudpickle"}.get(on.partition("://")[0])
    installed = sysconfig.get_path("purelib")
    if pickler is None or (module.__file__ or "").startswith(installed):
        return
    try:
        found = importlib.import_module(pickler)
    except ImportError:
        return  # the fleet says what is missing
    found.register_pickle_by_value(sys.modules[module.__name__.partition(".")[0]])
