"""Move what was found into the vault: offered one by one, and only by its owner.

The source is not changed; the report proposes the edit.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from ostiary import OstiaryError
from ostiary.devserver.admin import AdminClient
from ostiary.vault import VaultError

from .scanner import Hit

__all__ = ["Offer", "vault_path"]

VARIABLE = "SECRET_SCAN_VAULT"
TYPES = (("private key", "ssh_key"), ("password", "password"), ("token", "token"))

Ask = Callable[[str], str]


class Offer:
    """Stores hits in the vault at `socket`, those that `ask` says yes to."""

    def __init__(self, socket: Path, repository: str, ask: Ask | None) -> None:
        self._admin = AdminClient(socket)
        self._repository = repository
        self._ask = ask
        self._seen: Counter[str] = Counter()

    @classmethod
    def from_environment(cls, repository: str) -> Offer | None:
        """Return what SECRET_SCAN_VAULT asks for: `yes` stores all, `ask` asks, else nothing.

        Left out it asks on a terminal. The vault is that of SANCTUM_VAULT_PATH or ~/.sanctum.
        """
        terminal = sys.stdin.isatty() and sys.stderr.isatty()
        chosen = os.environ.get(VARIABLE, "ask" if terminal else "no").lower()
        home = Path(os.environ.get("SANCTUM_VAULT_PATH") or "~/.sanctum").expanduser()
        socket = home / "vault.sock"
        if chosen not in {"yes", "ask"} or (chosen == "ask" and not socket.exists()):
            return None
        return cls(socket, repository, None if chosen == "yes" else input_on_terminal)

    def store(self, hit: Hit) -> str | None:
        """Store one hit; return its path in the vault, None when that was declined.

        Raises `VaultError` when the vault cannot be reached or refuses.
        """
        path = vault_path(self._repository, hit)
        # Two values in lines that are otherwise the same: the order tells them apart.
        self._seen[path] += 1
        if self._seen[path] > 1:
            path = f"{path}-{self._seen[path]}"
        if self._ask is not None:
            answer = self._ask(f"Store {hit.path}:{hit.line} ({hit.kind}) as {path}? [y/N] ")
            if answer.strip().lower() not in {"y", "yes"}:
                return None
        try:
            self._admin.put(
                path,
                hit.value,
                type=next((one for word, one in TYPES if word in hit.kind.lower()), "api_key"),
                description=f"{hit.kind} found at {hit.path}:{hit.line}",
                tags=["secret-scan"],
                overwrite=False,
            )
        except VaultError as error:
            # From a run before this one, if it is the same value.
            if error.code != "ALREADY_EXISTS" or self._admin.get(path).value != hit.value:
                raise
        return path

    def close(self) -> None:
        """Close the connection."""
        self._admin.close()


def vault_path(repository: str, hit: Hit) -> str:
    """Return where a hit goes: the same place each time, and another for another file."""
    name = re.sub(r"[^a-z0-9]+", "-", f"{hit.path.stem}-{hit.kind}".lower()).strip("-")
    place = f"{hit.path}\0{hit.kind}\0{hit.masked}"
    digest = hashlib.sha256(place.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    project = re.sub(r"[^a-z0-9]+", "-", repository.lower()).strip("-") or "repository"
    return f"secret-scan/{project}/{name}-{digest}"


def input_on_terminal(question: str) -> str:
    """Ask on stderr: stdout is the program's."""
    sys.stderr.write(question)
    sys.stderr.flush()
    try:
        return sys.stdin.readline()
    except (OSError, ValueError) as error:
        raise OstiaryError(f"no answer can be read: {type(error).__name__}") from None
