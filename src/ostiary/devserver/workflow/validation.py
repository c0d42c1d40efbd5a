"""Gates over HTTP: changes judged, validators registered, listed and removed.

Neighbours: `crv.gate` judges, `crv.registry` keeps what each caller registers.
"""

from __future__ import annotations

from typing import Any, cast, final

from starlette.requests import Request
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from ...workflow.models import Commit, GateConfig, wire
from ..http.front import Json
from ..http.refusals import HttpRefusal
from .context import Context, guarded
from .keys import caller_of
from .reading import member, model, read_object, refused, text

__all__ = ["Validation"]


@final
class Validation:
    """The paths below `crv`."""

    def __init__(self, context: Context) -> None:
        self._gate = context.gate
        self._registry = context.registry

    def routes(self) -> list[BaseRoute]:
        return [
            guarded("POST", "/crv/validate", self._validate, "execute", "read"),
            guarded("POST", "/crv/validators", self._register, "execute"),
            guarded("GET", "/crv/validators", self._list, "read", "execute"),
            guarded("GET", "/crv/validators/{id:path}", self._one, "read", "execute"),
            guarded("DELETE", "/crv/validators/{id:path}", self._remove, "execute"),
        ]

    async def _validate(self, request: Request) -> ASGIApp:
        body = await read_object(request)
        raw: Any = body.get("commit")
        if isinstance(raw, dict) and "data" not in raw:
            raise refused([("commit.data", "is required; null is a value")])
        commit = model(Commit, cast("object", raw), "commit")
        config = model(GateConfig, member(body, "gate_config", "gateConfig"), "gate_config")
        result = self._gate.validate(commit, config, owner=caller_of(request).name)
        return Json(wire(result))

    async def _register(self, request: Request) -> ASGIApp:
        body = await read_object(request)
        name = text(body, "validator_id", "validatorId", required=True)
        config = body.get("config")
        if not isinstance(config, dict):
            raise refused([("config", "is an object")])
        assert name is not None
        registered = self._registry.register(
            name, cast("dict[str, Any]", config), caller_of(request).name
        )
        return Json(registered)

    async def _list(self, request: Request) -> ASGIApp:
        return Json(self._registry.listed(caller_of(request).name))

    async def _one(self, request: Request) -> ASGIApp:
        found = self._find(request)
        if found is None:
            raise HttpRefusal(
                404, "VALIDATOR_NOT_FOUND", "there is no validator of this name; list them"
            )
        return Json(found)

    async def _remove(self, request: Request) -> ASGIApp:
        found = self._find(request)
        if found is not None and found["built_in"]:
            raise HttpRefusal(
                409, "VALIDATOR_BUILT_IN", "this validator comes with the server and stays"
            )
        self._registry.remove(request.path_params["id"], caller_of(request).name)
        return Json(None, status=204)

    def _find(self, request: Request) -> dict[str, Any] | None:
        name = request.path_params["id"]
        listed = self._registry.listed(caller_of(request).name)
        return next((one for one in listed if one["validator_id"] == name), None)
