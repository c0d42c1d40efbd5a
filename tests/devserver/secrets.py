"""What the tests of the secrets share: one running runtime, and one way to ask it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ostiary.devserver import RunningVault, RuntimeOptions, running
from tests.devserver.web import Reply, Web

VALUE = "s3cret-of-the-test"


class Asking:
    """A runtime and a connection to it."""

    def __init__(self, vault: RunningVault, web: Web) -> None:
        self.vault = vault
        self.web = web

    def __call__(self, method: str, path: str, document: Any = None, status: int = 200) -> Any:
        reply = self.reply(method, path, document)
        assert reply.status == status, reply
        return reply.document

    def reply(self, method: str, path: str, document: Any = None) -> Reply:
        return self.web.call(method, f"/api/v1{path}", document)

    def store(self, name: str, value: str = VALUE, agent: str = "agent-1", **more: Any) -> Reply:
        body = {"agent_id": agent, "secret_name": name, "secret_value": value, **more}
        return self.reply("POST", "/secrets", body)

    def configure(self, document: Any, status: int = 200) -> Any:
        return self("POST", "/secrets/config", document, status)

    def refused(self, document: Any) -> Any:
        """Configure what is refused, and see that nothing of it is repeated or kept."""
        before = self("GET", "/secrets/config")
        answer = self.configure(document, 422)
        text = json.dumps(answer)
        for secret in secrets_of(document):
            assert secret not in text
        assert self("GET", "/secrets/config") == before
        return answer


def secrets_of(document: Any) -> list[str]:
    config = {**document, **(document.get("vault_config") or {})}
    names = ("token", "secret_id", "encryption_key")
    return [config[name] for name in names if isinstance(config.get(name), str) and config[name]]


@contextmanager
def asking(home: Path | None = None, **settings: Any) -> Iterator[Asking]:
    runtime = settings.pop("runtime", None) or RuntimeOptions(port=None)
    with running(home, tcp=False, demo=False, runtime=runtime, **settings) as vault:
        token = vault.runtime_token
        headers = {} if token is None else {"Authorization": f"Bearer {token.reveal()}"}
        with Web(vault.runtime_socket, headers=headers) as web:
            yield Asking(vault, web)


def everything_below(path: Path) -> bytes:
    """Return all that lies on disk, for what must not."""
    return b"\n".join(one.read_bytes() for one in sorted(path.rglob("*")) if one.is_file())
