"""Ask until something has happened, or until the time for it is over."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

from ..._io import aio
from ...errors import APIError, DeadlineError, InvalidArgumentError, OstiaryError, adopt
from ..colours import AsyncPoll
from .pace import Pace

if TYPE_CHECKING:
    from ...http._async import AsyncPool

__all__ = ["wait_until"]

T = TypeVar("T")


async def wait_until(
    pool: AsyncPool,
    poll: AsyncPoll[T],
    is_over: Callable[[T], bool],
    told: Callable[[T | None], str],
    *,
    timeout: float | None,
    poll_interval: float,
    on_update: Callable[[T], object] | None,
    failure: Callable[..., OstiaryError],
    family: Mapping[type[OstiaryError], type[OstiaryError]],
) -> T:
    """Return the first of `poll`'s results that `is_over`.

    It asks at once, and for the last time at the deadline. What may pass within the deadline
    is waited out: 429, 502, 503, 504, a lost connection, a slow answer. `on_update` is called
    with each result that differs from the one before. `told` says in a message what was
    waited for, and where it stood last; `failure` is raised with it, and with the result as
    `last`. Times that cannot be meant are refused in the domain's `family`.
    """
    try:
        pace = Pace(timeout, poll_interval, pool.settings.timeout, time.monotonic())
    except InvalidArgumentError as error:
        raise adopt(error, family) from None
    seen: T | None = None
    while True:
        trouble = ""
        asked: float | None = None
        try:
            found = await poll(pace.patience(time.monotonic()))
        except OstiaryError as error:
            if not (error.retryable or isinstance(error, DeadlineError)):
                raise
            trouble = f"; the last question failed: {type(error).__name__}"
            asked = error.retry_after if isinstance(error, APIError) else None
        else:
            if found != seen:
                seen = found
                pace.changed()
                if on_update is not None:
                    on_update(found)
            if is_over(found):
                return found
        gap = pace.gap(time.monotonic(), asked)
        if gap is None:
            break
        await aio.async_sleep(gap)
    raise failure(f"{told(seen)} after {timeout:g} seconds{trouble}", last=seen)
