"""The embedded workflow server as its clients see it: a status and a document for a request."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from ostiary.devserver import RunningVault
from ostiary.secret import Secret
from tests.devserver.web import Reply, Web


class WorkflowApi:
    """Requests below /api/v1, by the server's socket, with a key if there is one."""

    def __init__(self, vault: RunningVault, token: Secret | None = None) -> None:
        self.socket = vault.workflow_socket
        token = token or vault.workflow_token
        self.headers = {} if token is None else {"Authorization": f"Bearer {token.reveal()}"}

    def call(self, method: str, path: str, document: Any = None, **headers: str) -> Reply:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        with Web(self.socket, headers=self.headers | named) as web:
            return web.call(method, f"/api/v1/{path}", document)

    def get(self, path: str, **headers: str) -> tuple[int, Any]:
        reply = self.call("GET", path, **headers)
        return reply.status, reply.document

    def post(self, path: str, document: Any = None, **headers: str) -> tuple[int, Any]:
        reply = self.call("POST", path, document, **headers)
        return reply.status, reply.document

    def delete(self, path: str) -> int:
        return self.call("DELETE", path).status

    def execute(self, workflow: dict[str, Any], **more: Any) -> tuple[int, Any]:
        return self.post("workflows/execute", {"workflow": workflow, **more})


def task(name: str, tool: str | None = None, **more: Any) -> dict[str, Any]:
    """Return a task; without a tool it has the tool of its own name."""
    return {"id": name, "name": name, "type": "action", "tool_name": tool or name, **more}


def workflow(name: str, *tasks: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return a workflow whose tasks wait for one another in their order."""
    ids = [one["id"] for one in tasks]
    chain = {later: [earlier] for earlier, later in pairwise(ids)}
    return {"id": name, "name": name, "tasks": list(tasks), "dependencies": chain, **more}
