"""Whether the server is there, and whether it can do its work; figures for Prometheus.

Neighbour: `server` leaves the probes open to callers without a key.
"""

from __future__ import annotations

import sqlite3
from typing import Any, Final, final

from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from ..http.front import Json
from ..http.routing import API, route
from .context import Context, guarded
from .summary import exposition

__all__ = ["OPEN_PATHS", "Health"]

OPEN_PATHS: Final = (b"/health", b"/ready", f"{API}/health".encode(), f"{API}/ready".encode())


@final
class Health:
    """The probes, and `metrics`."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def routes(self) -> list[BaseRoute]:
        return [
            *(route("GET", "/health", self._health, prefix=prefix) for prefix in ("", API)),
            *(route("GET", "/ready", self._ready, prefix=prefix) for prefix in ("", API)),
            guarded("GET", "/metrics", self._metrics, "read", prefix=""),
        ]

    async def _health(self, request: Request) -> ASGIApp:
        return Json(self._shown("ok"))

    async def _ready(self, request: Request) -> ASGIApp:
        try:
            self._context.store.db.execute("SELECT 1 FROM documents LIMIT 1").fetchone()
            self._context.telemetry.check()
            self._context.engine.listed(limit=1)
        except sqlite3.Error:
            return Json(self._shown("unavailable"), status=503)
        return Json(self._shown("ready"))

    async def _metrics(self, request: Request) -> ASGIApp:
        gauges = {"workflows_in_hand": float(self._context.engine.in_hand)}
        return PlainTextResponse(
            exposition(self._context.telemetry.counts, gauges),
            media_type="text/plain; version=0.0.4",
        )

    def _shown(self, status: str) -> dict[str, Any]:
        from ostiary import __version__

        return {"status": status, "timestamp": self._context.now(), "version": __version__}
