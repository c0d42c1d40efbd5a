"""Rounds: in each, every case runs once in a process of its own, in an order of its own.

Floors, peers and ours share the rounds, so that whatever the machine does meanwhile it does
to all of them. Nothing is judged here; `gates` does that.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from .case import Case
from .sample import Sample, Work

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src"
"""The library that is measured, unless it is held against another."""
RECORDED = Path(__file__).resolve().with_name("recorded")
CASE_SECONDS = 60


class CaseFailed(Exception):
    """A case ended otherwise than with a sample."""


@dataclass(frozen=True, slots=True)
class Cores:
    """Where the server runs and where the client does; None where there is no choice."""

    server: int | None
    client: int | None

    @property
    def apart(self) -> bool:
        return self.server is not None


def cores() -> Cores:
    """Pick two of the cores this process may use, if it may use two."""
    if not hasattr(os, "sched_getaffinity"):
        return Cores(None, None)
    allowed = sorted(os.sched_getaffinity(0))
    return Cores(allowed[0], allowed[1]) if len(allowed) > 1 else Cores(None, None)


@dataclass(slots=True)
class Result:
    """What one case gave: a sample per round, or the reason why it gave none."""

    case: Case
    samples: list[Sample] = field(default_factory=list[Sample])
    unavailable: str = ""

    @property
    def value(self) -> float:
        return statistics.median(sample.value for sample in self.samples)

    @property
    def wall(self) -> float | None:
        walls = [sample.wall for sample in self.samples if sample.wall is not None]
        return statistics.median(walls) if walls else None

    @property
    def spread(self) -> float:
        """Half the distance between the quartiles, as a share of the median."""
        values = [sample.value for sample in self.samples]
        if len(values) < 4 or not self.value:
            return 0.0
        low, _, high = statistics.quantiles(values, n=4, method="inclusive")
        return (high - low) / 2 / self.value


@contextmanager
def _server(command: list[str], socket: str, core: int | None, library: Path) -> Iterator[int]:
    """Yields the loopback port it listens on as well, 0 for none."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=_environment(library),
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        if core is not None:
            os.sched_setaffinity(process.pid, {core})
        ready, _, port = process.stdout.readline().strip().partition(" ")
        if ready != "ready":
            raise CaseFailed(f"the server did not start: {' '.join(command)}")
        yield int(port or 0)
    finally:
        # It ends with its standard input; the rest is for one that does not.
        process.stdin.close()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
        Path(socket).unlink(missing_ok=True)


def _command(server: str, socket: str, tools: Mapping[str, str], *, spin: bool) -> list[str] | None:
    """Return the command line of a case's server; None when there is none for this system."""
    if server in {"embedded", "workflow"}:
        which = [] if server == "embedded" else [server]
        return [sys.executable, "-m", "benchmarks.embedded", socket, *which]
    if server not in tools:
        return None
    # On a core of its own it spins: its wake-up time then stays out of the client's figures.
    command = [tools[server], socket, *(["spin"] if spin else [])]
    return [*command, str(RECORDED)] if server == "httpd" else command


def _environment(library: Path) -> dict[str, str]:
    """Return the environment of a case: ours, with the source tree to import from.

    The cases are always these; the library may be that of another checkout.
    """
    others = ("PYTHON", "OSTIARY_", "SYMBIONT_")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(others)}
    environment["PYTHONPATH"] = os.pathsep.join((str(ROOT), str(library)))
    # As it is imported, LiteLLM would ask a host on the internet for prices.
    environment["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    return environment


def interpreter(case: Case) -> str | None:
    """Return the Python that runs a case; None when its environment was not made."""
    if not case.environment:
        return sys.executable
    found = ROOT / ".venv" / case.environment / "bin" / "python"
    return str(found) if found.exists() else None


def run_case(
    case: Case, count: int, where: Cores, tools: Mapping[str, str], library: Path = SOURCE
) -> Sample | str:
    """Run one case once; a string says why it cannot run here."""
    python = interpreter(case)
    if python is None:
        return "its environment is not there: make peers"
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        work = Work(count, tools=tools, options=case.options)
        if not case.server:
            return _child(case, python, work, where, library)
        socket = str(Path(folder) / "sock")
        command = _command(case.server, socket, tools, spin=where.apart)
        if command is None:
            return f"{case.server} is not for {sys.platform}"
        with _server(command, socket, where.server, library) as port:
            work = Work(count, socket, port, tools, case.options)
            return _child(case, python, work, where, library)


def _child(case: Case, python: str, work: Work, where: Cores, library: Path) -> Sample | str:
    order = {"function": case.function, "core": where.client, "work": asdict(work)}
    # A session of its own: a case that hangs is ended with whatever it started.
    process = subprocess.Popen(
        [python, "-m", "benchmarks.child", json.dumps(order)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=_environment(library),
        start_new_session=True,
    )
    try:
        said, complained = process.communicate(timeout=CASE_SECONDS)
    except BaseException as error:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        if isinstance(error, subprocess.TimeoutExpired):
            raise CaseFailed(f"{case.name} did not end within {CASE_SECONDS} s") from None
        raise
    if process.returncode:
        raise CaseFailed(f"{case.name} failed:\n{complained.rstrip()}")
    found = json.loads(said.splitlines()[-1])
    if "unavailable" in found:
        return str(found["unavailable"])
    return Sample(**found)


@dataclass(frozen=True, slots=True)
class _Turn:
    """A case with one of the libraries, in one of the rounds."""

    round: int
    case: Case
    side: int


def run(
    cases: Sequence[Case],
    tools: Mapping[str, str],
    *,
    rounds: int,
    smoke: bool,
    progress: Callable[[int, int, str], None],
    libraries: Sequence[Path] = (SOURCE,),
    seed: int | None = None,
) -> list[dict[str, Result]]:
    """Run every case once per round with each library; return the results of each library.

    `progress` hears of (done, all, what runs now). With several libraries a case runs with one
    right after the other, in either order. What a library after the first cannot do is left out.
    A smoke run, which measures nothing, has as many cases under way as there are cores.
    """
    where = Cores(None, None) if smoke else cores()
    shuffled = random.Random(seed)
    found = [{case.name: Result(case) for case in cases} for _ in libraries]
    turns = [
        _Turn(number, case, side)
        for number in range(1, rounds + 1)
        for case in shuffled.sample(cases, len(cases))
        for side in shuffled.sample(range(len(libraries)), len(libraries))
    ]
    begun = itertools.count()

    def take(turn: _Turn) -> None:
        case, result = turn.case, found[turn.side][turn.case.name]
        progress(next(begun), len(turns), f"round {turn.round}/{rounds}  {case.name}")
        if result.unavailable:
            return
        try:
            calls = case.smoke if smoke else case.count
            one = run_case(case, calls, where, tools, libraries[turn.side])
        except CaseFailed as error:
            if libraries[turn.side] == libraries[0]:
                raise
            # A case that is newer than that library.
            one = str(error)
        if isinstance(one, str):
            result.unavailable = one
        else:
            result.samples.append(one)

    if smoke:
        with ThreadPoolExecutor(os.cpu_count()) as places:
            for _ in places.map(take, turns):  # ends the others' turns when one fails
                pass
    else:
        for turn in turns:
            take(turn)
    progress(len(turns), len(turns), "")
    return found
