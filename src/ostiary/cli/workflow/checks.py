"""The workflow part of `ostiary doctor`: where its server is, its key, its answer, its parts.

Only looks. Asks the server that the environment names, else the one of the home directory.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ...config import parse_base_url
from ...errors import AuthenticationError, InvalidArgumentError, OstiaryError
from ..clients import client_of
from ..finding import Finding, exposed, fail, missing, ok, own_socket, warn
from ..screen import counted

if TYPE_CHECKING:
    from ..._api_key import Reference
    from ...secret import Secret

__all__ = ["checks"]

_URL: Final = "OSTIARY_WORKFLOW_URL"
_SECONDS: Final = 2.0
# What the embedded engine's tools use beside the core.
_PARTS: Final = (("jsonschema", "validate_schema"), ("jmespath", "transform_data"))


def checks(home: Path, socket_path: Path) -> Iterator[Finding]:
    """Look at the settings first, then ask the server."""
    from ...workflow.settings import WorkflowSettings, read_key_file

    named = os.environ.get(_URL)
    socket, token = home / "workflow.sock", home / "workflow.token"
    try:
        key = WorkflowSettings.resolve(None, None).api_key
        if named is None and socket.exists():
            url = f"unix://{socket}"
            if key is None and token.exists():
                key = read_key_file(token)
        else:
            url = named or ""
        address = parse_base_url(url).address if url else None
    except InvalidArgumentError as error:
        yield fail("workflow", error.message, "correct it, then run `ostiary doctor` again")
        return
    if address is None:
        yield ok("workflow", f"no server here; `ostiary dev` starts one, ${_URL} names another")
        return
    if named is None:
        yield own_socket("workflow", socket)
        yield _parts()
    elif clear := exposed("workflow", url, key):
        yield clear
    yield _answer(url, key)


def _parts() -> Finding:
    """Look at what the embedded engine needs besides, for it runs on this machine."""
    if found := missing("its tools", _PARTS):
        return found
    return ok("its tools", "schemas and expressions can be used")


def _answer(url: str, key: Secret | Reference | None) -> Finding:
    from ...workflow import WorkflowClient

    name = "its answer"
    try:
        with client_of(WorkflowClient, None, url, key, timeout=_SECONDS, max_retries=0) as client:
            health = client.health()
            waiting = len(client.list_approvals("pending", limit=100).approvals)
    except AuthenticationError:
        return fail(
            name,
            "does not accept the API key" if key else "asks for an API key, and none is set",
            "set OSTIARY_WORKFLOW_API_KEY_FILE to the file that holds it",
        )
    except OstiaryError as error:
        return fail(name, error.message, "start it with `ostiary dev`, or correct the URL")
    if health.status.lower() not in {"healthy", "ok"}:
        return warn(name, f"says {health.status}", "look at its log")
    version = f"{health.status}, version {health.version or 'unknown'}"
    if waiting:
        return warn(
            name,
            f"{version}; {counted(waiting, 'approval')} awaited",
            "`ostiary workflow approvals` shows what waits",
        )
    return ok(name, version)
