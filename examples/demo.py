"""200 agents against an embedded vault, then one table: `make demo`.

The vault runs in a process of its own, on a private Unix socket below a temporary home that
is removed at the end, Ctrl-C included. Every agent has a key of its own and logs in with it.
Exits 0 only when no call failed, every lease granted was given back, by this side's count
and by the vault's, and the audit log verifies.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from ostiary import OstiaryError, Secret
from ostiary.devserver.admin import AdminClient
from ostiary.vault import AsyncLease, AsyncVaultClient, keys

CREDENTIALS = {
    "demo/openai": "sk-demo-0123456789",
    "demo/github": "ghp-demo-0123456789",
    "demo/webhook": "whsec-demo-0123456789",
}
READY_SECONDS = 30.0
STOP_SECONDS = 10.0


class Ready(msgspec.Struct):
    """The line that `ostiary dev --json` prints when it listens."""

    socket: str


class DemoError(Exception):
    """The demonstration cannot go on."""


@dataclass
class Meter:
    """What the agents did, counted on their side."""

    took: list[float] = field(default_factory=list[float])
    errors: Counter[str] = field(default_factory=Counter[str])
    granted: int = 0
    released: int = 0

    async def call(self, work: Coroutine[Any, Any, object]) -> None:
        """Run one call; its time counts when it succeeds, its error when it does not."""
        began = time.perf_counter()
        try:
            await work
        except OstiaryError as error:
            self.errors[f"{type(error).__name__}: {error.message}"] += 1
        else:
            self.took.append(time.perf_counter() - began)

    @contextlib.asynccontextmanager
    async def leased(self, client: AsyncVaultClient, path: str) -> AsyncGenerator[AsyncLease, None]:
        """Hold a lease; granting and giving back are a call each."""
        began = time.perf_counter()
        async with client.lease(path) as lease:
            self.took.append(time.perf_counter() - began)
            self.granted += 1
            yield lease
            began = time.perf_counter()
        self.took.append(time.perf_counter() - began)
        self.released += 1

    def percentile(self, share: float) -> float:
        ordered = sorted(self.took)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


async def agent(name: str, socket: Path, key: Path, meter: Meter, until: float) -> None:
    """Log in with the agent's own key; lease, use and give back until the time is up."""
    try:
        async with AsyncVaultClient(name, socket_path=socket, key_path=key) as client:
            while True:
                await work(client, meter)
                if time.monotonic() >= until:
                    return
    except OstiaryError as error:
        meter.errors[f"{type(error).__name__}: {error.message}"] += 1


async def work(client: AsyncVaultClient, meter: Meter) -> None:
    """One round: three leases, a signature and a header made inside the vault, giving back."""
    async with contextlib.AsyncExitStack() as held:
        for path in CREDENTIALS:
            await held.enter_async_context(meter.leased(client, path))
        await meter.call(client.sign("demo/webhook", "the payload"))
        await meter.call(client.http_header("demo/openai"))


async def run_agents(
    socket: Path, key_files: dict[str, Path], seconds: float, meter: Meter, show: Show
) -> float:
    """Run every agent at once; return the seconds it took."""
    began = time.monotonic()
    until = began + seconds
    ticker = asyncio.create_task(tick(began, meter, show))
    try:
        async with asyncio.TaskGroup() as group:
            for name, key in key_files.items():
                group.create_task(agent(name, socket, key, meter, until))
    finally:
        ticker.cancel()
    return time.monotonic() - began


async def tick(began: float, meter: Meter, show: Show) -> None:
    while True:
        await asyncio.sleep(0.2)
        show(time.monotonic() - began, meter)


Show = Callable[[float, Meter], None]


@contextlib.contextmanager
def progress(console: Console, seconds: float) -> Generator[Show, None, None]:
    """Yield a function that shows how far the agents are: a bar, or a line each second."""
    if not console.is_terminal:
        printed = 0

        def line(elapsed: float, meter: Meter) -> None:
            nonlocal printed
            if elapsed >= printed + 1:
                printed = int(elapsed)
                console.print(
                    f"  {printed} s: {len(meter.took):,} calls, {meter.errors.total()} errors"
                )

        yield line
        return
    with Progress(
        TextColumn("  agents at work"),
        BarColumn(),
        TextColumn("{task.fields[calls]:,} calls"),
        TimeRemainingColumn(),
        console=console,
        auto_refresh=False,
        transient=True,
    ) as bar:
        task = bar.add_task("", total=seconds, calls=0)

        def draw(elapsed: float, meter: Meter) -> None:
            bar.update(task, completed=min(elapsed, seconds), calls=len(meter.took), refresh=True)

        yield draw


@contextlib.contextmanager
def vault(home: Path) -> Generator[Path, None, None]:
    """Run `ostiary dev` on `home` in a child process; yield its socket."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("OSTIARY_", "SANCTUM_"))
    }
    log = home.parent / "vault.log"
    with log.open("wb") as stderr:
        child = subprocess.Popen(
            [sys.executable, "-m", "ostiary", "dev", "--home", home, "--no-tcp", "--json"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=environment,
            # Ctrl-C is for this process, which then stops the vault in good order.
            start_new_session=True,
        )
    try:
        assert child.stdout is not None
        line = child.stdout.readline()
        if not line:
            child.wait(STOP_SECONDS)
            raise DemoError(f"the vault did not start:\n{log.read_text(errors='replace')}")
        yield Path(msgspec.json.decode(line, type=Ready).socket)
    finally:
        child.terminate()
        try:
            child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        if child.stdout is not None:
            child.stdout.close()


def prepare(admin: AdminClient, directory: Path, count: int) -> dict[str, Path]:
    """Store the credentials and register the agents, each with a key file of its own."""
    for path, value in CREDENTIALS.items():
        admin.put(path, Secret(value))
    key_files: dict[str, Path] = {}
    for number in range(count):
        name = f"agent-{number:03d}"
        key = keys.generate()
        key_files[name] = keys.save(key, directory / f"{name}.key")
        admin.agent_add(name, key.public_key_hex, allow=["demo/*"])
    return key_files


def report(console: Console, admin: AdminClient, meter: Meter, agents: int, elapsed: float) -> bool:
    """Print the table; return whether everything is as it must be."""
    # Asked before the vault stops: its own count, and its own check of its own log.
    status, verdict = admin.status(), admin.audit_verify()
    errors = meter.errors.total()
    calls = len(meter.took)
    # What it ended itself, by expiry or because a connection went, was not given back.
    ended = sum(len(admin.audit(action=one, limit=1000)) for one in ("expire", "end", "revoke"))
    returned = status.leases_granted - status.leases - ended
    even = meter.granted == meter.released == status.leases_granted == returned

    table = Table(
        show_header=False, title=f"{agents} agents, each with its own key, for {elapsed:.1f} s"
    )
    table.add_column()
    table.add_column(justify="right")
    table.add_row("calls", f"{calls:,}")
    table.add_row("errors", f"{errors}", style="" if not errors else "bold red")
    table.add_row("calls/s", f"{calls / elapsed:,.0f}")
    table.add_row("p50", f"{meter.percentile(0.5) * 1000:.2f} ms")
    table.add_row("p99", f"{meter.percentile(0.99) * 1000:.2f} ms")
    sign = "=" if even else "≠"
    table.add_row(
        f"leases granted {sign} released",
        f"{meter.granted:,} {sign} {meter.released:,}",
        style="" if even else "bold red",
    )
    table.add_row("the vault counts", f"{status.leases_granted:,} {sign} {returned:,}")
    table.add_row(
        "audit chain",
        f"verified, {verdict.entries:,} entries" if verdict.valid else "BROKEN",
        style="" if verdict.valid else "bold red",
    )
    console.print(table)
    for text, count in meter.errors.most_common(5):
        console.print(f"{count} x {text}", style="red")
    return not errors and even and verdict.valid and calls > 0


def loop_factory() -> tuple[str, Callable[[], asyncio.AbstractEventLoop]]:
    try:
        import uvloop
    except ImportError:
        return "asyncio", asyncio.new_event_loop
    return "uvloop", uvloop.new_event_loop


def demo(agents: int, seconds: float) -> int:
    console = Console(highlight=False)
    loop_name, factory = loop_factory()
    top = Path(tempfile.mkdtemp(prefix="ostiary-demo-"))
    try:
        console.print("starting an embedded vault in a process of its own")
        with vault(top / "home") as socket, contextlib.closing(AdminClient(socket)) as admin:
            console.print(f"making {agents} key pairs and registering their agents")
            key_files = prepare(admin, top / "keys", agents)
            console.print(f"every agent logs in, leases, uses and gives back ({loop_name})")
            meter = Meter()
            with progress(console, seconds) as show, asyncio.Runner(loop_factory=factory) as one:
                elapsed = one.run(run_agents(socket, key_files, seconds, meter, show))
            return 0 if report(console, admin, meter, agents, elapsed) else 1
    except (DemoError, OstiaryError) as error:
        console.print(str(error), style="red", markup=False)
        return 1
    finally:
        shutil.rmtree(top, ignore_errors=True)


def allow_descriptors(count: int) -> None:
    """Raise the soft limit of open files; macOS begins with 256, and the child inherits it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < count:
        wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def interrupt(number: int, frame: FrameType | None) -> None:
    signal.raise_signal(signal.SIGINT)


def main() -> int:
    parser = argparse.ArgumentParser(description="Many agents against an embedded vault.")
    parser.add_argument("--agents", type=int, default=200, help="how many, up to 1000 (200)")
    parser.add_argument("--seconds", type=float, default=5.0, help="for how long (5)")
    arguments = parser.parse_args()
    if not 1 <= arguments.agents <= 1000 or not arguments.seconds > 0:
        parser.error("--agents is 1 to 1000 and --seconds is more than 0")
    allow_descriptors(2 * arguments.agents + 100)
    # Both ways of being told to stop run the same clean-up.
    signal.signal(signal.SIGTERM, interrupt)
    try:
        return demo(arguments.agents, arguments.seconds)
    except KeyboardInterrupt:
        print("stopped; nothing is left behind", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
