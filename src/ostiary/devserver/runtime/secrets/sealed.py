"""Secrets in the vault itself, below `runtime/`: sealed by its keyring, on its record.

What is configured before anything else is. Neighbours: the vault seals, commits and audits;
`settings` are kept here as well, whichever backend they are of.
"""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final, final

from ....secret import Secret
from ...administration import Administration
from ...audit import Event
from ...faults import Refusal
from ...http.refusals import HttpRefusal
from ...vault import Vault
from .backend import Stored

__all__ = ["Sealed", "committed", "read_sealed", "write_sealed"]

_log = logging.getLogger(__name__)

_PREFIX: Final = "runtime/secrets/"
_STATUS: Final = {"VAULT_LOCKED": 503, "CREDENTIAL_NOT_FOUND": 404, "INVALID_REQUEST": 422}


@final
class Sealed:
    """The vault as a place for the agents' secrets."""

    kind = "sealed"

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    async def check(self) -> None:
        with committed(self._vault):
            pass

    async def put(self, agent_id: str, name: str, value: Secret, description: str | None) -> Stored:
        path = f"{_PREFIX}{agent_id}/{name}"
        old = self._vault.credentials.get(path)
        if description is None and old is not None:
            description = old.about.description
        with committed(self._vault):
            Administration(self._vault).put(
                path,
                value.reveal_bytes(),
                type="secret",
                description=description,
                tags=["runtime"],
            )
        about = self._vault.credentials[path].about
        return Stored(about.created_at, None if old is None else about.updated_at)

    async def get(self, agent_id: str, name: str) -> Secret | None:
        vault = self._vault
        path = f"{_PREFIX}{agent_id}/{name}"
        with committed(vault):
            credential = vault.credentials.get(path)
            if credential is None:
                return None
            return Secret(vault.open_secret(credential))

    async def names(self, agent_id: str) -> list[str]:
        prefix = f"{_PREFIX}{agent_id}/"
        return sorted(
            path.removeprefix(prefix) for path in self._vault.credentials if path.startswith(prefix)
        )

    async def delete(self, agent_id: str, name: str) -> bool:
        path = f"{_PREFIX}{agent_id}/{name}"
        with committed(self._vault):
            if path not in self._vault.credentials:
                return False
            Administration(self._vault).remove(path)
        return True

    @property
    def count(self) -> int:
        return sum(path.startswith(_PREFIX) for path in self._vault.credentials)

    def about(self) -> dict[str, object]:
        return {}

    async def close(self) -> None:
        pass


@contextmanager
def committed(vault: Vault, event: Event | None = None) -> Generator[None]:
    """Need an open vault, commit what the block does, and put its refusals into HTTP's words.

    `event` is recorded once the block has ended well.
    """
    refusal: Refusal | None = None
    if vault.failed:
        raise _unwritable()
    try:
        vault.require_open()
        yield
        if event is not None:
            vault.record(event)
    except Refusal as error:
        refusal = error
    finally:
        try:
            vault.flush()
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing was recorded
            _log.critical("the vault cannot write its record: %s", type(error).__name__)
    if vault.failed:
        raise _unwritable()
    if refusal is not None:
        raise HttpRefusal(
            _STATUS.get(refusal.code, 500),
            refusal.code if refusal.code in _STATUS else "INTERNAL_ERROR",
            f"{refusal.message}; {refusal.suggestion}",
        )


def read_sealed(vault: Vault, name: str) -> bytes | None:
    """Return what `write_sealed` kept under a name, or None."""
    with committed(vault):
        credential = vault.credentials.get(f"runtime/{name}")
        return None if credential is None else vault.open_secret(credential)


def write_sealed(vault: Vault, name: str, value: bytes, event: Event) -> None:
    """Keep a few bytes of the runtime's own in the vault, apart from the agents' secrets."""
    with committed(vault, event):
        Administration(vault).put(f"runtime/{name}", value, type="secret", tags=["runtime"])


def _unwritable() -> HttpRefusal:
    return HttpRefusal(
        503, "STORAGE_FAILED", "the vault could not write its record; restart the server"
    )
