"""Work for fleets of other processes, which find it here by its name."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

from ostiary.errors import ConnectionLostError, InvalidArgumentError
from ostiary.fleet import current
from ostiary.gateway import (
    AgentInput,
    AgentResult,
    Finding,
    Location,
    RepositoryInput,
    SageSanctumAgent,
    SarifOutput,
)


def double(given: int) -> int:
    return 2 * given


async def double_async(given: int) -> int:
    await asyncio.sleep(0)
    return 2 * given


def where(given: Any) -> tuple[Any, int, str]:
    at = current()
    return given, os.getpid(), at.key


def fail(given: int) -> int:
    if given % 3 == 0:
        raise ValueError(f"{given} is a multiple of three")
    return given


class Unreadable(Exception):
    """Pickles, and cannot be made again of what was pickled."""

    def __init__(self, *, reason: str) -> None:
        super().__init__("it")
        self.reason = reason


def raise_unreadable(given: int) -> None:
    raise Unreadable(reason="none")


def return_lock(given: int) -> Any:
    return threading.Lock()


def stop(given: int) -> None:
    raise StopIteration


def leave(given: int) -> None:
    raise SystemExit(3)


def interrupt(given: int) -> None:
    raise KeyboardInterrupt


async def interrupt_async(given: int) -> None:
    raise KeyboardInterrupt


class Stop(BaseException):
    """What tests and other frameworks end themselves with."""


def end(given: int) -> None:
    raise Stop("enough")


async def end_async(given: int) -> None:
    raise Stop("enough")


class Unspeakable(Exception):
    """Cannot be pickled, and cannot say what it is."""

    def __reduce__(self) -> Any:
        raise TypeError("no")

    def __str__(self) -> str:
        raise ValueError("no words")


def raise_unspeakable(given: int) -> None:
    raise Unspeakable


def hold(given: int) -> None:
    time.sleep(600)


def fall(given: int) -> int:
    """Kill the process for 5, and for what has a file of its own until that is there."""
    if given == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.001)
    return given


class FallOnce:
    """Kills its process at the first of its inputs that is `at`, and never again."""

    def __init__(self, at: int, mark: Path) -> None:
        self.at = at
        self.mark = mark

    def __call__(self, given: int) -> tuple[int, str, int]:
        here = current()
        if given == self.at and not self.mark.exists():
            self.mark.write_text(here.key)
            os.kill(os.getpid(), signal.SIGKILL)
        return given, here.key, here.attempt


class Flaky:
    """Fails each input's first attempts, as a peer that comes and goes."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.keys: dict[int, set[str]] = {}

    async def __call__(self, given: int) -> int:
        at = current()
        self.keys.setdefault(given, set()).add(at.key)
        if at.attempt <= self.times:
            raise ConnectionLostError("the peer went away")
        return at.attempt


async def status(given: int, client: Any) -> tuple[str, int, int]:
    found = await client.runtime.get_status()
    assert found is not None
    return type(client).__name__, id(client), os.getpid()


def status_sync(given: int, client: Any) -> tuple[str, int, int]:
    assert client.runtime.get_status() is not None
    return type(client).__name__, id(client), os.getpid()


class Words(AgentInput):
    """An input of another kind than a repository."""

    def __init__(self, text: str = "", times: int = 1) -> None:
        self.text = text * times

    @property
    def io_type(self) -> str:
        return "words"

    def validate(self) -> None:
        if not self.text:
            raise InvalidArgumentError("there are no words")


class Todo(SageSanctumAgent[RepositoryInput]):
    """Finds what was left for later."""

    requires_gateway = False

    @property
    def name(self) -> str:
        return "todo"

    @property
    def version(self) -> str:
        return "1.0.0"

    async def run(self, input: RepositoryInput) -> AgentResult:
        assert self.context.work_dir.is_dir()
        output = SarifOutput(self.name, self.version)
        for path in input.list_files({".py"}):
            for number, line in enumerate(input.read_text(path).splitlines(), 1):
                if "TODO" in line:
                    place = Location(str(path), number)
                    output.findings.append(Finding("todo", "Later", "For later.", "note", place))
        error = "too much" if len(output.findings) > 5 else ""
        return AgentResult(output, error=error, exit_code=7 if error else 0)


class Count(SageSanctumAgent[Words]):
    """Counts letters."""

    requires_gateway = False

    @property
    def name(self) -> str:
        return "count"

    @property
    def version(self) -> str:
        return "1"

    async def run(self, input: Words) -> AgentResult:
        return AgentResult(metadata={"letters": len(input.text)})


class Ask(Count):
    """Asks a model."""

    requires_gateway = True

    async def run(self, input: Words) -> AgentResult:
        reply = await self.context.create_client().chat(input.text)
        return AgentResult(metadata={"said": reply.text})
