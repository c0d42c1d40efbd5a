"""Fixtures every room shares: the event loops, the hypothesis profiles, the leak check."""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import os
import signal
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytest
from hypothesis import HealthCheck, settings

T = TypeVar("T")

# No deadline: tests must not depend on how fast the machine is.
settings.register_profile("default", deadline=None, max_examples=100)
# Where a change is judged the examples are the same each time: it fails for what it did.
settings.register_profile(
    "ci",
    deadline=None,
    max_examples=200,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("quick", deadline=None, max_examples=20)
settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "default")
)

ROOT = Path(__file__).resolve().parent.parent

# What a shell starts in the background ignores Ctrl-C, and so would every process of a test.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module", autouse=True)
def quick_collections() -> None:
    """Have what is loaded by now looked through by no collection: many tests make several.

    For good: unfreezing would have the next module's first collection go through all of it.
    """
    gc.collect()
    gc.freeze()


class Run(Protocol):
    """Run a coroutine to its end on a fresh event loop."""

    def __call__(self, main: Coroutine[Any, Any, T], /, *, debug: bool | None = None) -> T: ...


def _loop_factory(kind: str) -> Callable[[], asyncio.AbstractEventLoop]:
    if kind == "asyncio":
        return asyncio.new_event_loop
    if importlib.util.find_spec("uvloop") is None:
        pytest.skip("uvloop is not installed")
    import uvloop

    return uvloop.new_event_loop


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Call it with a coroutine; the test runs once on each event loop."""
    factory = _loop_factory(request.param)

    def runner(main: Coroutine[Any, Any, T], /, *, debug: bool | None = None) -> T:
        with asyncio.Runner(loop_factory=factory, debug=debug) as one:
            return one.run(main)

    return runner


@pytest.fixture
def root() -> Path:
    """The top of the repository."""
    return ROOT


def _descriptors() -> dict[int, str]:
    """Map each open descriptor of this process to what it is."""
    found: dict[int, str] = {}
    # /dev/fd exists on Linux and macOS; the descriptor of the listing itself is gone again.
    for name in os.listdir("/dev/fd"):
        number = int(name)
        try:
            mode = os.fstat(number).st_mode
        except OSError:
            continue
        try:
            found[number] = os.readlink(f"/proc/self/fd/{number}")
        except OSError:
            found[number] = f"mode {mode:o}"
    return found


@pytest.fixture
def no_leaked_descriptors() -> Iterator[None]:
    """Fail a test that ends with more open descriptors than it began with."""
    gc.collect()
    before = _descriptors()
    yield
    leaked: dict[int, str] = {}
    # A server thread may still be closing its end: ask again for a while, then insist.
    for _ in range(50):
        gc.collect()
        after = _descriptors()
        leaked = {n: what for n, what in after.items() if before.get(n) != what}
        if len(after) <= len(before):
            return
        time.sleep(0.02)
    pytest.fail(f"descriptors left open: {leaked}")
