"""Waiting until a deadline: for what has its answer at hand, and for what does not."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Generator
from typing import Any

import pytest

from ostiary._io.aio import within
from ostiary.errors import DeadlineError
from tests.conftest import Run

NEVER = math.inf
PAST = 0.0


async def at_hand() -> str:
    return "found"


async def later(turns: int = 1) -> str:
    for _ in range(turns):
        await asyncio.sleep(0)
    return "found"


def test_an_answer_at_hand_is_returned(run: Run) -> None:
    assert run(within(at_hand(), NEVER)) == "found"


def test_an_answer_at_hand_needs_no_time(run: Run) -> None:
    """The caller finds out by itself, with the next thing it waits for."""
    assert run(within(at_hand(), PAST)) == "found"


@pytest.mark.parametrize("turns", [1, 2, 7])
def test_what_waits_goes_on_where_it_stood(run: Run, turns: int) -> None:
    assert run(within(later(turns), NEVER)) == "found"


def test_what_waits_has_until_the_deadline(run: Run) -> None:
    ended = []

    async def stuck() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    with pytest.raises(DeadlineError):
        run(within(stuck(), PAST))
    assert ended == [True]


@pytest.mark.parametrize("when", ["at once", "later"])
def test_what_it_raises_passes_through(run: Run, when: str) -> None:
    async def fails() -> None:
        if when == "later":
            await asyncio.sleep(0)
        raise KeyError("mine")

    with pytest.raises(KeyError):
        run(within(fails(), NEVER))


def test_a_timeout_of_its_own_is_no_deadline(run: Run) -> None:
    async def fails() -> None:
        await asyncio.sleep(0)
        raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="its own"):
        run(within(fails(), NEVER))


def test_cancelled_while_it_waits(run: Run) -> None:
    seen = []

    async def stuck() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            await asyncio.sleep(0)  # what cleans up may wait too
            seen.append("clean")
            raise

    async def main() -> None:
        task = asyncio.ensure_future(within(stuck(), NEVER))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())
    assert seen == ["cancelled", "clean"]


def test_a_future_is_waited_for(run: Run) -> None:
    async def main() -> str:
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(future.set_result, "found")
        return await within(future, NEVER)

    assert run(main()) == "found"


def test_what_has_a_send_of_its_own_is_no_coroutine(run: Run) -> None:
    class Connection:
        """Something that can be awaited, and that sends letters."""

        def __init__(self) -> None:
            self.sent: list[Any] = []

        def send(self, letter: object) -> None:
            self.sent.append(letter)

        def __await__(self) -> Generator[Any, None, str]:
            yield from asyncio.sleep(0).__await__()
            return "found"

    connection = Connection()

    async def main() -> Any:
        return await within(connection, NEVER)

    assert run(main()) == "found"
    assert connection.sent == []
