"""The runs of an agent: their tokens in files, written anew before they run out.

A file is replaced whole, so that a reader sees the old token or the new one. Neighbours:
`trust` issues, `sidecar` hands out what is current.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final, final

from ..clock import Clock
from ..faults import DevserverError
from ..home import create_private
from .trust import Grant, TrustDomain

__all__ = ["Run", "Runs"]

_log = logging.getLogger(__name__)

# Looked at again at least this often: timers stand still while a laptop sleeps, expiry does not.
_LOOK_EVERY: Final = 30.0
# At half their life: a client that reads its file when a token runs out finds a fresh one.
_SHARE: Final = 0.5
_AGAIN_AFTER: Final = 1.0


@final
class Run:
    """One run: what it was granted, and its current tokens, in memory and on file."""

    def __init__(self, grant: Grant, directory: Path) -> None:
        self.grant = grant
        self.directory = directory
        self.svid_file = directory / "svid.jwt"
        self.trat_file = directory / "trat.jwt"
        self.work_dir = directory / "work"
        self.output_dir = directory / "output"
        self.svid = ""
        self.trat = ""
        self.svid_due = 0.0
        self.trat_due = 0.0

    def __repr__(self) -> str:
        return f"<Run {self.grant.run_id}>"


@final
class Runs:
    """Every run of one gateway; on the gateway's event loop."""

    def __init__(self, trust: TrustDomain, directory: Path, clock: Clock, *, rotate: bool) -> None:
        self._trust = trust
        self._directory = directory
        self._clock = clock
        self._rotate = rotate
        self._known: dict[str, Run] = {}
        self._timer: asyncio.TimerHandle | None = None

    def open(self, grant: Grant, *, directory: Path | None = None) -> Run:
        """Make a run known and write its first tokens; one of the same name is replaced."""
        subject = self._trust.admit(grant)
        run = Run(grant, directory or self._directory / grant.run_id)
        # One by one: the parents that mkdir makes by itself are as open as the umask allows.
        for each in (self._directory, run.directory, run.work_dir, run.output_dir):
            each.mkdir(mode=0o700, exist_ok=True)
        self._known[subject] = run
        self.renew(run)
        self._schedule()
        return run

    def renew(self, run: Run) -> None:
        """Issue both tokens and write them."""
        self._renew_svid(run)
        self._renew_trat(run)

    def renew_all(self) -> None:
        for run in self._known.values():
            self.renew(run)
        self._schedule()

    def current_trat(self, run: Run) -> str:
        """Return the run's transaction token, a new one if half of its life is over."""
        if self._rotate and self._clock.wall() >= run.trat_due:
            self._try(self._renew_trat, run)
        return run.trat

    def close(self) -> None:
        """Write no more; the files stay."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # A token that cannot be written is handed out by the sidecar all the same, and tried again.

    def _renew_svid(self, run: Run) -> None:
        run.svid, _ = self._trust.issue_svid(run.grant)
        _replace(run.svid_file, run.svid)
        run.svid_due = self._clock.wall() + run.grant.svid_ttl * _SHARE

    def _renew_trat(self, run: Run) -> None:
        run.trat, _ = self._trust.issue_trat(run.grant)
        _replace(run.trat_file, run.trat)
        run.trat_due = self._clock.wall() + run.grant.trat_ttl * _SHARE

    def _try(self, renew: Callable[[Run], None], run: Run) -> bool:
        try:
            renew(run)
        except DevserverError as error:
            _log.critical("%s", error)
            return False
        return True

    def _schedule(self, *, soonest: float = 0.05) -> None:
        if not self._rotate:
            return
        self.close()
        due = min(min(run.svid_due, run.trat_due) for run in self._known.values())
        delay = min(max(due - self._clock.wall(), soonest), _LOOK_EVERY)
        self._timer = asyncio.get_running_loop().call_later(delay, self._look)

    def _look(self) -> None:
        now = self._clock.wall()
        well = True
        for run in self._known.values():
            if now >= run.svid_due:
                well &= self._try(self._renew_svid, run)
            if now >= run.trat_due:
                well &= self._try(self._renew_trat, run)
        self._schedule(soonest=0.05 if well else _AGAIN_AFTER)


def _replace(path: Path, token: str) -> None:
    """Put a new 0600 file in the place of `path`, in one step."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    problem: str | None
    try:
        create_private(fresh, token.encode("ascii") + b"\n")
        os.replace(fresh, path)
        return
    except OSError as error:
        problem = error.strerror
    finally:
        fresh.unlink(missing_ok=True)
    raise DevserverError(f"cannot write {path}: {problem}; see to the directory and the disk")
