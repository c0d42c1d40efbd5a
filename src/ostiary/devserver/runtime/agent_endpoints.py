"""The paths of agents: create, look at, change, remove.

Neighbours: `agents` does it, `executions` has them work.
"""

from __future__ import annotations

import re
from typing import Any, Final, final

import msgspec
from starlette.requests import Request
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from ..._decoders import convert
from ..http.front import Json
from ..http.reading import Body, flag, invalid
from ..http.routing import route
from .agents import Agents
from .context import Context
from .text import Text

__all__ = ["AgentEndpoints"]


class _Agent(msgspec.Struct, kw_only=True):
    """Both forms: the guide's nine members, and the newer server's name and source."""

    id: str | None = None
    name: str = ""
    description: str = ""
    system_prompt: str = ""
    tools: list[str] = []
    model: str = ""
    temperature: float = 0.7
    top_p: float = 1.0
    max_tokens: int = 1024
    dsl: str | None = None
    execution_mode: str | dict[str, Any] = "Ephemeral"
    capabilities: list[str] = []
    metadata: dict[str, Any] = {}


_AGENT: Final = Body(_Agent)
_CHANGES: Final = Body(dict[str, Any])
_MARKUP: Final = re.compile(r"[\\`*_{}\[\]<>()#+!|~&-]")
_MEMBERS: Final = frozenset(_Agent.__struct_fields__) - {"id"}


@final
class AgentEndpoints:
    """The agents over HTTP."""

    def __init__(self, context: Context) -> None:
        self._agents: Agents = context.agents

    def routes(self) -> list[BaseRoute]:
        return [
            route("GET", "/agents", self._list),
            route("POST", "/agents", self._create),
            route("GET", "/agents/{id}", self._status),
            route("PUT", "/agents/{id}", self._update),
            route("DELETE", "/agents/{id}", self._delete),
            route("GET", "/agents/{id}/status", self._status),
            route("GET", "/agents/{id}/metrics", self._metrics),
            route("GET", "/agents.md", self._page, prefix=""),
            route("GET", "/.well-known/agents.md", self._page, prefix=""),
        ]

    def gauges(self) -> dict[str, int | float]:
        agents = self._agents
        states = [agents.state(record) for record in agents.all()]
        return {
            "total_agents": len(states),
            "active_agents": sum(state in {"active", "busy"} for state in states),
            "idle_agents": states.count("idle"),
            "failed_agents": states.count("error"),
        }

    async def start(self) -> None:
        pass

    async def stop(self, grace: float) -> None:
        pass

    def load_demo(self) -> None:
        if self._agents.get("agent-123") is None:
            self._agents.create(
                "agent-123",
                "Sample agent",
                description="The guide's agent",
                system_prompt="You are a helpful assistant.",
                tools=["web_search", "calculator"],
                model="gpt-4",
            )

    async def _list(self, request: Request) -> ASGIApp:
        agents = self._agents.all()
        if not flag(request, "detail"):
            return Json([record.id for record in agents])
        return Json(
            [
                {"id": record.id, "name": record.name, "state": self._agents.state(record)}
                for record in agents
            ]
        )

    async def _page(self, request: Request) -> ASGIApp:
        """Say in Markdown who there is, for an agent that reads."""
        lines = ["# Agents", ""]
        for record in self._agents.all():
            about = f": {record.description}" if record.description else ""
            lines.append(f"- `{_in_code(record.id)}` {_in_line(record.name + about)}")
        return Text("\n".join([*lines, ""]), kind=b"text/markdown; charset=utf-8")

    async def _create(self, request: Request) -> ASGIApp:
        body = await _AGENT.read(request)
        if not body.name:
            raise invalid("name", "an agent has a name; give one")
        check_definition(body)
        definition = msgspec.structs.asdict(body)
        del definition["id"], definition["name"]
        record = self._agents.create(body.id, body.name, **definition)
        return Json({"id": record.id, "status": "created"}, status=201)

    async def _status(self, request: Request) -> ASGIApp:
        agents = self._agents
        return Json(agents.status(agents.require(request.path_params["id"])))

    async def _metrics(self, request: Request) -> ASGIApp:
        agents = self._agents
        return Json(agents.metrics(agents.require(request.path_params["id"])))

    async def _update(self, request: Request) -> ASGIApp:
        record = self._agents.require(request.path_params["id"])
        given = await _CHANGES.read(request)
        changes = {name: value for name, value in given.items() if value is not None}
        if not _MEMBERS.intersection(changes):
            raise invalid("", "nothing is to be changed; give at least one of the agent's members")
        if "id" in changes and changes["id"] != record.id:
            raise invalid("id", "an agent's id stays; create another agent")
        try:
            checked = convert(changes, _Agent)
        except msgspec.ValidationError as error:
            problem = str(error)
        else:
            check_definition(checked)
            self._agents.update(
                record.id,
                **{name: getattr(checked, name) for name in _MEMBERS.intersection(changes)},
            )
            return Json({"id": record.id, "status": "updated"})
        what, _, where = problem.partition(" - at `$")
        raise invalid(where.rstrip("`").lstrip("."), what)

    async def _delete(self, request: Request) -> ASGIApp:
        agent_id: str = request.path_params["id"]
        self._agents.delete(agent_id)
        return Json({"id": agent_id, "status": "deleted"})


def _in_line(text: str) -> str:
    """Return words of a caller as words: no markup, no second line."""
    return _MARKUP.sub(r"\\\g<0>", " ".join(text.split()))


def _in_code(text: str) -> str:
    return text.replace("`", "'")


def check_definition(agent: _Agent) -> None:
    """Refuse figures that no model takes."""
    if not 0 <= agent.temperature <= 2:
        raise invalid("temperature", "temperature is a number from 0 to 2")
    if not 0 <= agent.top_p <= 1:
        raise invalid("top_p", "top_p is a number from 0 to 1")
    if agent.max_tokens < 1:
        raise invalid("max_tokens", "max_tokens is at least 1")
