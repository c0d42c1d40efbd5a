"""How often a domain may be asked; off unless it is set.

An ASGI application around a domain's. Neighbour: `server`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Final, final

from starlette.types import ASGIApp, Receive, Scope, Send

from ..clock import Clock
from .refusals import HttpRefusal

__all__ = ["RateLimit"]


_CALLERS: Final = 10_000


@final
class RateLimit:
    """`per_minute` requests a minute, with a minute's worth at once; `exempt` paths are free.

    All callers share it, or each has his own if `caller` tells them apart.
    """

    def __init__(
        self,
        app: ASGIApp,
        per_minute: int,
        clock: Clock,
        *,
        exempt: Collection[str],
        caller: Callable[[Scope], str] | None = None,
    ) -> None:
        self._app = app
        self._most = float(per_minute)
        self._per_second = per_minute / 60
        self._clock = clock
        self._exempt = frozenset(exempt)
        self._caller = caller
        # What each has left, and when that was.
        self._left: dict[str, tuple[float, float]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] not in self._exempt:
            self._take("" if self._caller is None else self._caller(scope))
        await self._app(scope, receive, send)

    def _take(self, who: str) -> None:
        now = self._clock.steady()
        left, at = self._left.pop(who, (self._most, now))
        left = min(self._most, left + (now - at) * self._per_second)
        if len(self._left) >= _CALLERS:
            del self._left[next(iter(self._left))]
        self._left[who] = (left - 1 if left >= 1 else left, now)
        if left >= 1:
            return
        wait = max(1, math.ceil((1 - left) / self._per_second))
        raise HttpRefusal(
            429,
            "RATE_LIMITED",
            f"more than {self._most:g} requests in a minute; try again in {wait} s",
            details={"retry_after_seconds": wait},
            headers=((b"retry-after", str(wait).encode()),),
        )
