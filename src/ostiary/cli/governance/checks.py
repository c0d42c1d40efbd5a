"""The governance part of `ostiary doctor`: where its server is, its key, its answer.

Only looks. Asks the server that the environment names, else the one of the home directory.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ..._api_key import Reference
from ...config import parse_base_url
from ...errors import AuthenticationError, InvalidArgumentError, OstiaryError
from ...secret import Secret
from ..clients import client_of
from ..finding import Finding, exposed, fail, ok, own_socket, warn

__all__ = ["checks"]

_URL: Final = "OSTIARY_GOVERNANCE_URL"
_SECONDS: Final = 2.0


def checks(home: Path, socket_path: Path) -> Iterator[Finding]:
    """Look at the settings first, then ask the server."""
    from ...governance.settings import GovernanceSettings, read_key_file

    named = os.environ.get(_URL)
    socket, token = home / "governance.sock", home / "governance.token"
    try:
        key = GovernanceSettings.resolve(None, None, strict=False).api_key
        if named is None and socket.exists():
            url = f"unix://{socket}"
            if key is None and token.exists():
                key = read_key_file(token)
        else:
            url = named or ""
        address = parse_base_url(url).address if url else None
    except InvalidArgumentError as error:
        yield fail("governance", error.message, "correct it, then run `ostiary doctor` again")
        return
    if address is None:
        yield ok("governance", f"no server here; `ostiary dev` starts one, ${_URL} names another")
        return
    if named is None:
        yield own_socket("governance", socket)
    elif clear := exposed("governance", url, key):
        yield clear
    yield _answer(url, key)


def _answer(url: str, key: Secret | Reference | None) -> Finding:
    from ...governance import GovernanceClient

    name = "its answer"
    try:
        with client_of(GovernanceClient, None, url, key, timeout=_SECONDS, retries=0) as client:
            status = client.system.status()
    except AuthenticationError:
        return fail(
            name,
            "does not accept the API key" if key else "asks for an API key, and none is set",
            "set OSTIARY_GOVERNANCE_API_KEY_FILE to the file that holds it",
        )
    except OstiaryError as error:
        return fail(name, error.message, "start it with `ostiary dev`, or correct the URL")
    if status.status.upper() == "OK":
        return ok(name, f"{status.status}, version {status.version or 'unknown'}")
    return warn(name, f"says {status.status}", "`ostiary governance status` may tell what is wrong")
