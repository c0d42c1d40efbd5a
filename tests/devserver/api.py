"""The embedded runtime's API as its clients see it: a status and a document for each request."""

from __future__ import annotations

from typing import Any

from ostiary.devserver import RunningVault
from tests.devserver.web import Web


class Api:
    """Requests below /api/v1, by the runtime's socket, with its key if it asks for one."""

    def __init__(self, vault: RunningVault) -> None:
        self._socket = vault.runtime_socket
        token = vault.runtime_token
        self._headers = {} if token is None else {"Authorization": f"Bearer {token.reveal()}"}

    def ask(self, method: str, path: str, document: Any = None) -> tuple[int, Any]:
        with Web(self._socket, headers=self._headers) as web:
            reply = web.call(method, f"/api/v1/{path}", document)
            return reply.status, reply.document

    def get(self, path: str) -> tuple[int, Any]:
        return self.ask("GET", path)

    def post(self, path: str, document: Any = None) -> tuple[int, Any]:
        return self.ask("POST", path, document)

    def put(self, path: str, document: Any) -> tuple[int, Any]:
        return self.ask("PUT", path, document)

    def delete(self, path: str) -> tuple[int, Any]:
        return self.ask("DELETE", path)
