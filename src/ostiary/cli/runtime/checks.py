"""The runtime part of `ostiary doctor`: where its server is, its key, its answer, its helpers.

Only looks. Asks the server that the environment names, else the one of the home directory.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ...errors import AuthenticationError, InvalidArgumentError, OstiaryError
from ..clients import client_of
from ..finding import Finding, exposed, fail, missing, ok, own_socket, warn

if TYPE_CHECKING:
    from ...runtime.settings import RuntimeSettings

__all__ = ["checks"]

_URL: Final = "OSTIARY_RUNTIME_URL"
_PATIENCE: Final[dict[str, Any]] = {"timeout": 2.0, "max_retries": 0}
# What the embedded runtime uses beside the core, and for what.
_PARTS: Final = (
    ("apsw", "knowledge"),
    ("sqlite_vec", "knowledge"),
    ("lark", "the agents' language"),
    ("mcp", "MCP servers"),
    ("keyring", "the OS keychain"),
)


def checks(home: Path, socket_path: Path) -> Iterator[Finding]:
    """Look at the settings first, then ask the server."""
    from ...runtime.settings import RuntimeSettings, read_key_file

    socket, token = home / "runtime.sock", home / "runtime.token"
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always", RuntimeWarning)
            settings = RuntimeSettings.resolve(**_PATIENCE)
            ours = settings.url_source == "default" and socket.exists()
            if ours:
                key = settings.api_key
                if key is None and token.exists():
                    key = read_key_file(token)
                settings = RuntimeSettings.resolve(key, f"unix://{socket}", **_PATIENCE)
    except InvalidArgumentError as error:
        yield fail("runtime", error.message, "correct it, then run `ostiary doctor` again")
        return
    for warning in told:
        said, _, advice = str(warning.message).partition("; ")
        yield warn("runtime", said, advice)
    if settings.url_source == "default":
        yield ok("runtime", f"no server here; `ostiary dev` starts one, ${_URL} names another")
        return
    if settings.url_source == "file":
        yield ok("runtime", f"{settings.base_url}, as the .env says that lies here or above")
    if clear := exposed("runtime", settings.base_url, settings.api_key):
        yield clear
    if ours:
        yield own_socket("runtime", socket)
        yield _parts()
    yield _answer(settings)


def _parts() -> Finding:
    """Look at what the embedded runtime needs besides, for it runs on this machine."""
    if found := missing("its parts", _PARTS):
        return found
    if shutil.which("npx") is None:
        return warn(
            "its parts",
            "npx is not installed, so MCP servers that come from npm do not start",
            "install Node.js, or use servers that are programs of their own",
        )
    return ok("its parts", "knowledge, language, MCP and keychain can be used")


def _answer(settings: RuntimeSettings) -> Finding:
    from ...runtime import RuntimeClient

    name = "its answer"
    try:
        with client_of(
            RuntimeClient, None, settings.api_key, settings.base_url, **_PATIENCE
        ) as client:
            health = client.health_check()
            count = len(client.list_agents())
    except AuthenticationError:
        return fail(
            name,
            "does not accept the API key"
            if settings.api_key
            else "asks for an API key, and none is set",
            "set OSTIARY_RUNTIME_API_KEY_FILE to the file that holds it",
        )
    except OstiaryError as error:
        return fail(name, error.message, "start it with `ostiary dev`, or correct the URL")
    agents = f"{count} agent{'' if count == 1 else 's'}"
    if health.status.lower() in {"healthy", "ok"}:
        return ok(name, f"{health.status}, version {health.version}, {agents}")
    return warn(name, f"says {health.status}", "look at its log")
