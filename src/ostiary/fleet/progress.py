"""How far a fleet is, drawn on stderr by rich, which the extra `cli` brings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import FleetError

if TYPE_CHECKING:
    from .report import FleetReport

__all__ = ["Bar"]


class Bar:
    """One line: how many are done, have failed and have been retried, and how long it takes.

    Off a terminal it is written once, at the end. Raises `FleetError` where rich is missing.
    """

    def __init__(self, name: str, total: int | None) -> None:
        try:
            from rich import progress
            from rich.console import Console
        except ImportError:
            found = None
        else:
            found = progress.Progress(
                progress.TextColumn("{task.description}", markup=False),
                progress.BarColumn(),
                progress.MofNCompleteColumn(),
                progress.TextColumn("{task.fields[beside]}"),
                progress.TimeElapsedColumn(),
                console=Console(stderr=True),
            )
        if found is None:
            raise FleetError("progress needs rich; run pip install 'ostiary[cli]'")
        self._progress = found
        self._task = found.add_task(name, total=total, beside="")

    def show(self, report: FleetReport) -> None:
        """Draw what the report says now."""
        self._progress.start()
        beside = f"{report.failed:,} failed"
        if report.retried:
            beside += f", {report.retried:,} retried"
        self._progress.update(self._task, completed=report.done, total=report.total, beside=beside)

    def stop(self) -> None:
        """Leave the line as it is."""
        self._progress.stop()
