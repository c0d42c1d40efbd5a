"""P12: what importing the vault and making one client adds to a bare interpreter.

Every figure comes from fresh interpreters started with `-I`: no environment, no user site.
The first one of a run is thrown away, so that the byte code of all modules is on disk.
"""

from __future__ import annotations

import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from ..sample import Sample, Unavailable, Work

MB = 1_000_000

_RESIDENT = """
def resident():
    try:
        with open("/proc/self/statm") as file:
            import os
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except FileNotFoundError:
        # macOS has only the peak, and counts it in bytes.
        import resource
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
"""


def _program(code: str) -> list[str]:
    """Return the command line of one interpreter that finds our package like any other."""
    spec = importlib.util.find_spec("ostiary")
    if spec is None or spec.submodule_search_locations is None:
        raise Unavailable("ostiary is not installed and not on the path")
    source = str(Path(spec.submodule_search_locations[0]).parent)
    return [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {source!r})\n{code}"]


def _needs(work: Work) -> None:
    module = str(work.options.get("module", ""))
    if module and importlib.util.find_spec(module) is None:
        raise Unavailable(f"{module} is not installed")


def _spent(command: list[str]) -> tuple[float, float]:
    """Run to the end; return CPU and wall time in milliseconds."""
    begun = time.perf_counter()
    # wait4 gives this child's own usage; RUSAGE_CHILDREN would add up all of them.
    child = os.posix_spawn(command[0], command, os.environ)
    _, status, usage = os.wait4(child, 0)
    wall = time.perf_counter() - begun
    if status:
        raise RuntimeError(f"exit {os.waitstatus_to_exitcode(status)}: {command[-1]}")
    return (usage.ru_utime + usage.ru_stime) * 1e3, wall * 1e3


def _median(samples: list[tuple[float, float]]) -> tuple[float, float]:
    return statistics.median(cpu for cpu, _ in samples), statistics.median(w for _, w in samples)


def bare(work: Work) -> Sample:
    """An interpreter that does nothing."""
    command = _program("pass")
    _spent(command)
    cpu, wall = _median([_spent(command) for _ in range(work.count)])
    return Sample(cpu, wall)


def over_bare(work: Work) -> Sample:
    """What the code adds to an interpreter that does nothing, the two taking turns."""
    _needs(work)
    nothing, something = _program("pass"), _program(str(work.options["code"]))
    _spent(nothing)
    _spent(something)
    without: list[tuple[float, float]] = []
    with_it: list[tuple[float, float]] = []
    for _ in range(work.count):
        without.append(_spent(nothing))
        with_it.append(_spent(something))
    (cpu, wall), (less_cpu, less_wall) = _median(with_it), _median(without)
    return Sample(cpu - less_cpu, wall - less_wall)


def _said(code: str) -> Any:
    done = subprocess.run(_program(code), capture_output=True, check=True, text=True)
    # The last line: some log to stdout.
    return json.loads(done.stdout.splitlines()[-1])


def _told(code: str) -> float:
    return float(_said(code))


def _pair(code: str) -> tuple[float, float]:
    first, second = _said(code)
    return float(first), float(second)


def construct(work: Work) -> Sample:
    """The first client of a process, in microseconds."""
    _needs(work)
    code = f"""{work.options["code"]}
from time import perf_counter_ns, process_time_ns
wall, cpu = perf_counter_ns(), process_time_ns()
client = {work.options["make"]}
cpu, wall = process_time_ns() - cpu, perf_counter_ns() - wall
print([cpu / 1000, wall / 1000])
"""
    return Sample(*_median([_pair(code) for _ in range(work.count)]))


def construct_more(work: Work) -> Sample:
    """Every later client of a process, in microseconds of CPU."""
    _needs(work)
    code = f"""{work.options["code"]}
from time import process_time_ns
def make(count):
    for _ in range(count):
        {work.options["make"]}
make(200)
begun = process_time_ns()
make(2000)
print((process_time_ns() - begun) / 2000 / 1000)
"""
    return Sample(_told(code))


def resident(work: Work) -> Sample:
    """Resident memory of the whole process, in units of 10**6 bytes."""
    _needs(work)
    code = f"{_RESIDENT}\n{work.options['code']}\nprint(resident())"
    return Sample(statistics.median(_told(code) for _ in range(work.count)) / MB)


def import_times(code: str, rows: int) -> str:
    """Return the costliest modules of a fresh import, by CPython's own account."""
    command = _program(code)
    command[1:1] = ["-X", "importtime"]
    # Once for the byte code, once to read.
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, check=True, text=True)
    found: list[tuple[int, int, str]] = []
    for line in done.stderr.splitlines():
        parts = line.removeprefix("import time:").split("|")
        if len(parts) == 3 and parts[0].strip().isdigit():
            found.append((int(parts[0]), int(parts[1]), parts[2].strip()))
    found.sort(reverse=True)
    lines = [f"  {'self us':>8}  {'with its own':>12}  module"]
    lines += [f"  {own:>8}  {total:>12}  {name}" for own, total, name in found[:rows]]
    return "\n".join(lines)
