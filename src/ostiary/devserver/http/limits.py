"""How often a domain may be asked; off unless it is set.

An ASGI application around a domain's. Neighbour: `server`.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import final

from starlette.types import ASGIApp, Receive, Scope, Send

from ..clock import Clock
from .refusals import HttpRefusal

__all__ = ["RateLimit"]


@final
class RateLimit:
    """`per_minute` requests a minute, with a minute's worth at once; `exempt` paths are free."""

    def __init__(
        self, app: ASGIApp, per_minute: int, clock: Clock, *, exempt: Collection[str]
    ) -> None:
        self._app = app
        self._most = float(per_minute)
        self._per_second = per_minute / 60
        self._clock = clock
        self._exempt = frozenset(exempt)
        self._left = self._most
        self._at = clock.steady()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] not in self._exempt:
            self._take()
        await self._app(scope, receive, send)

    def _take(self) -> None:
        now = self._clock.steady()
        self._left = min(self._most, self._left + (now - self._at) * self._per_second)
        self._at = now
        if self._left >= 1:
            self._left -= 1
            return
        wait = max(1, math.ceil((1 - self._left) / self._per_second))
        raise HttpRefusal(
            429,
            "RATE_LIMITED",
            f"more than {self._most:g} requests in a minute; try again in {wait} s",
            details={"retry_after_seconds": wait},
            headers=((b"retry-after", str(wait).encode()),),
        )
