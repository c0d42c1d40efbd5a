"""Whether the runtime is there: health, the probes, and `status`.

Neighbour: `server` leaves these paths open to callers without a token, but for `status`.
"""

from __future__ import annotations

from typing import Final, final

from starlette.requests import Request
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from ..http.front import Json
from ..http.routing import API, route
from .context import Context

__all__ = ["OPEN_PATHS", "Health"]

OPEN_PATHS: Final = frozenset(
    f"{API}/{path}".encode() for path in ("health", "health/live", "health/ready")
)


@final
class Health:
    """The probes."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._began = context.clock.steady()

    @property
    def uptime(self) -> int:
        """Whole seconds since the runtime started."""
        return int(self._context.clock.steady() - self._began)

    def routes(self) -> list[BaseRoute]:
        return [
            route("GET", "/health", self._health),
            route("GET", "/health/live", self._probe),
            route("GET", "/health/ready", self._probe),
        ]

    def gauges(self) -> dict[str, int | float]:
        return {"uptime_seconds": self.uptime}

    async def start(self) -> None:
        pass

    async def stop(self, grace: float) -> None:
        pass

    def load_demo(self) -> None:
        pass

    async def _health(self, request: Request) -> ASGIApp:
        return Json(
            {
                "status": "healthy",
                "uptime_seconds": self.uptime,
                "timestamp": self._context.now(),
                "version": version(),
            }
        )

    async def _probe(self, request: Request) -> ASGIApp:
        # Nothing listens before every group has started.
        return Json({"status": "ok"})


def version() -> str:
    """Return the version of the package."""
    from ostiary import __version__

    return __version__
