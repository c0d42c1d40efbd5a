"""The command line as its users have it: a process, a home of its own, a terminal or none."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest

OSTIARY = [sys.executable, "-m", "ostiary"]
# Generous: it bounds a hang, no test depends on how long anything takes.
PATIENCE = 60.0


@dataclass
class Done:
    """A command that ended."""

    code: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        return self.out.decode()

    @property
    def document(self) -> Any:
        return json.loads(self.out)


class Ostiary(Protocol):
    def __call__(
        self, *arguments: str | Path, stdin: bytes = b"", env: dict[str, str] | None = None
    ) -> Done: ...


@dataclass
class Dev:
    """A running `ostiary dev`."""

    process: subprocess.Popen[bytes]
    home: Path
    ready: dict[str, Any]

    @property
    def socket(self) -> Path:
        return Path(self.ready["socket"])

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Send a signal and return the exit code and what was said on stderr."""
        self.process.send_signal(number)
        _, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, err.decode()


def environment(home: Path) -> dict[str, str]:
    """Return an environment in which nothing of the caller's own vault shows."""
    ours = ("OSTIARY_", "SANCTUM_", "SYMBIONT_")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
    for name in ("COLUMNS", "FORCE_COLOR", "TTY_COMPATIBLE", "GITHUB_ACTIONS"):
        kept.pop(name, None)
    return kept | {"HOME": str(home), "TERM": "xterm"}


def _short_directory() -> Path:
    # Not below pytest's own: a socket's path has about 100 bytes, and macOS uses up half.
    return Path(tempfile.mkdtemp(prefix="oc-", dir="/tmp")).resolve()


@pytest.fixture
def user_home() -> Generator[Path, None, None]:
    """A home directory; the vault of the user is in `.sanctum` below it."""
    path = _short_directory()
    yield path
    shutil.rmtree(path)


@pytest.fixture
def ostiary(user_home: Path) -> Ostiary:
    """Run a command without a terminal and wait for its end."""
    return _runner(user_home)


def _runner(user_home: Path) -> Ostiary:
    def run(*arguments: str | Path, stdin: bytes = b"", env: dict[str, str] | None = None) -> Done:
        done = subprocess.run(
            [*OSTIARY, *map(str, arguments)],
            input=stdin,
            capture_output=True,
            env=environment(user_home) | (env or {}),
            timeout=PATIENCE,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr.decode())

    return run


@contextmanager
def _dev(
    user_home: Path, *arguments: str, stdin: bytes = b"", env: dict[str, str] | None = None
) -> Generator[Dev, None, None]:
    process = subprocess.Popen(
        [*OSTIARY, "dev", "--json", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(user_home) | (env or {}),
    )
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(stdin)
        process.stdin.close()
        process.stdin = None  # communicate() would flush it
        line = process.stdout.readline()
        if not line:
            _, err = process.communicate(timeout=PATIENCE)
            pytest.fail(f"`ostiary dev` did not start: {err.decode()}")
        ready = json.loads(line)
        yield Dev(process, Path(ready["home"]), ready)
    finally:
        if process.poll() is None:
            process.terminate()
            process.communicate(timeout=PATIENCE)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


StartDev = Callable[..., Dev]


@pytest.fixture
def start_dev(user_home: Path) -> Generator[StartDev, None, None]:
    """Start `ostiary dev --json` with more arguments; stopped at the end of the test."""
    with ExitStack() as stack:
        yield lambda *arguments, **more: stack.enter_context(_dev(user_home, *arguments, **more))


@dataclass
class Served:
    """A running vault and the command line that finds it by default."""

    dev: Dev
    run: Ostiary
    user_home: Path

    @property
    def home(self) -> Path:
        return self.dev.home


@pytest.fixture(scope="module")
def served() -> Generator[Served, None, None]:
    """One vault for a module's tests, on the default home of a user of its own."""
    user_home = _short_directory()
    try:
        with _dev(user_home, "--no-tcp") as dev:
            yield Served(dev, _runner(user_home), user_home)
    finally:
        shutil.rmtree(user_home)


class Terminal(Protocol):
    def __call__(
        self,
        user_home: Path,
        *arguments: str | Path,
        answers: Sequence[tuple[str, str | signal.Signals]] = (),
        columns: int = 80,
    ) -> tuple[int, str]: ...


@pytest.fixture
def terminal() -> Terminal:
    """Run a command on a terminal of its own; answer what it asks; return code and screen."""
    return _on_terminal


def _on_terminal(
    user_home: Path,
    *arguments: str | Path,
    answers: Sequence[tuple[str, str | signal.Signals]] = (),
    columns: int = 80,
) -> tuple[int, str]:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*OSTIARY, *map(str, arguments)],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment(user_home) | {"COLUMNS": str(columns), "NO_COLOR": "1"},
        start_new_session=True,
    )
    os.close(theirs)
    screen = b""
    pending = list(answers)
    seen = 0
    until = time.monotonic() + PATIENCE
    try:
        while time.monotonic() < until:
            if not select.select([ours], [], [], 0.5)[0]:
                continue
            try:
                chunk = os.read(ours, 65536)
            except OSError:  # EIO: the last writer has closed the other end
                break
            if not chunk:
                break
            screen += chunk
            if pending and (at := screen.find(pending[0][0].encode(), seen)) >= 0:
                question, reply = pending.pop(0)
                seen = at + len(question)
                if isinstance(reply, signal.Signals):
                    process.send_signal(reply)
                    continue
                # getpass shows its prompt a moment after it has turned the echo off.
                if question.endswith("[y/N]: ") or not _echoes(ours):
                    os.write(ours, reply.encode())
                else:
                    pytest.fail(f"{question!r} shows what is typed")
        else:
            process.kill()
            pytest.fail(f"the command did not end; its screen: {screen.decode()}")
        # Colour and weight are not text; every other sequence stays, to be found by a test.
        text = re.sub("\x1b\\[[0-9;]*m", "", screen.decode().replace("\r\n", "\n"))
        return process.wait(PATIENCE), text
    finally:
        os.close(ours)
        process.wait(PATIENCE)


def _echoes(descriptor: int) -> bool:
    return bool(termios.tcgetattr(descriptor)[3] & termios.ECHO)
