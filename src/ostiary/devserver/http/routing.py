"""From a path to an endpoint: fixed words before parameters, and an honest 405.

Neighbours: every group lists its `route`s; `server` puts them together here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Final, final

from starlette.requests import Request
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from .refusals import HttpRefusal

__all__ = ["API", "Endpoint", "Paths", "route"]

API: Final = "/api/v1"

Endpoint = Callable[[Request], Awaitable[ASGIApp]]


def route(methods: str, path: str, endpoint: Endpoint, *, prefix: str = API) -> BaseRoute:
    """Return a route below the API's prefix: `route("GET, PUT", "/agents/{id}", self.agent)`."""
    return Route(prefix + path, endpoint, methods=methods.split(", "))


@final
class Paths:
    """An ASGI application that hands each request to the most specific path that fits.

    A fixed word is more specific than a parameter, the first difference decides: `agents/deploy`
    is never an agent's id, whatever the method.
    """

    def __init__(self, routes: Iterable[BaseRoute]) -> None:
        found: dict[str, list[Route]] = {}
        for one in routes:
            if not isinstance(one, Route):
                raise TypeError(f"{one!r} is no Route")
            found.setdefault(one.path, []).append(one)
        self._fixed: dict[str, list[Route]] = {}
        self._open: list[list[Route]] = []
        for path in sorted(found, key=_specific):
            if "{" in path:
                self._open.append(found[path])
            else:
                self._fixed[path] = found[path]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        method: str = scope["method"]
        candidates = self._fixed.get(path)
        if candidates is None:
            for routes in self._open:
                match = routes[0].path_regex.match(path)
                if match is not None:
                    candidates = routes
                    break
            else:
                raise HttpRefusal(404, "NOT_FOUND", "there is nothing at this path")
        for one in candidates:
            if method in (one.methods or ()):
                match = one.path_regex.match(path)
                assert match is not None
                scope["path_params"] = {
                    name: one.param_convertors[name].convert(value)
                    for name, value in match.groupdict().items()
                }
                await one.app(scope, receive, send)
                return
        allowed = ", ".join(sorted({m for one in candidates for m in one.methods or ()}))
        raise HttpRefusal(
            405,
            "METHOD_NOT_ALLOWED",
            f"this path answers to {allowed}",
            headers=((b"allow", allowed.encode()),),
        )


def _specific(path: str) -> list[tuple[int, str]]:
    rank: list[tuple[int, str]] = []
    for segment in path.split("/"):
        kind = 0
        if "{" in segment:
            kind = 2 if ":path}" in segment else 1
        rank.append((kind, "" if kind else segment))
    return rank
