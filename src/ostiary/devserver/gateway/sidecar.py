"""The auth sidecar: hands the current transaction token to whoever may open its socket.

Only a Unix socket, 0600, as the token is all that is given out. Ours also tells its run's
environment, for `ostiary env`, and what the run has used. Neighbours: `runs` issues, `calls`
counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

from starlette.requests import Request
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from ..http.connection import Connection
from ..http.front import Json
from .calls import Calls
from .runs import Run, Runs

__all__ = ["Sidecar"]


@final
class Sidecar:
    """The endpoints of one run's sidecar."""

    def __init__(self, runs: Runs, run: Run, calls: Calls, environment: Mapping[str, str]) -> None:
        self._runs = runs
        self._run = run
        self._calls = calls
        self._environment = environment
        self.app: ASGIApp = Router(
            [
                Route("/trat", self.trat, methods=["GET"]),
                Route("/health", self.health, methods=["GET"]),
                Route("/environment", self.environment, methods=["GET"]),
                Route("/usage", self.usage, methods=["GET"]),
            ],
            redirect_slashes=False,
        )

    def prepare(self, scope: Scope) -> None:
        """End each connection with its answer: nobody asks twice on one."""
        connection: Connection = scope["state"]["connection"]
        connection.end_with_answer()

    async def trat(self, request: Request) -> ASGIApp:
        return _Text(self._runs.current_trat(self._run))

    async def health(self, request: Request) -> ASGIApp:
        return Json({"status": "ok"})

    async def environment(self, request: Request) -> ASGIApp:
        return Json(dict(self._environment))

    async def usage(self, request: Request) -> ASGIApp:
        return Json(self._calls.usage(self._run.grant.run_id))


class _Text:
    """An answer that is bare text (C8); an ASGI application."""

    __slots__ = ("_body",)

    def __init__(self, text: str) -> None:
        self._body = text.encode("ascii")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [
            (b"content-type", b"text/plain; charset=us-ascii"),
            (b"content-length", str(len(self._body)).encode()),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": self._body})
