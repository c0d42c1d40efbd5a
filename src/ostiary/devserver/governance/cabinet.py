"""The secrets of the governance API, sealed in the vault below `governance/`.

It reaches no other credential of the vault, whatever a key looks like. Neighbour: `commands`
of the vault holds, seals and records.
"""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final, final

from ..administration import Administration
from ..audit import Event
from ..faults import Refusal
from ..http.refusals import HttpRefusal
from ..vault import PATH_LIMIT, Vault

__all__ = ["Cabinet"]

_log = logging.getLogger(__name__)

_PREFIX: Final = "governance/"
_STATUS: Final = {
    "VAULT_LOCKED": 503,
    "CREDENTIAL_NOT_FOUND": 404,
    "INVALID_REQUEST": 422,
    "ACCESS_DENIED": 403,
}


@final
class Cabinet:
    """Keep, read and remove secrets by key; what is done is committed when it returns."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    def get(self, key: str) -> dict[str, Any]:
        """Return the value and what was stored with it."""
        path = _path(key)
        vault = self._vault
        with self._committed():
            if not vault.options.raw_retrieval:
                raise HttpRefusal(
                    403, "ACCESS_DENIED", "this vault's secrets can be used and not read"
                )
            vault.require_open()
            credential = vault.credentials.get(path)
            if credential is None:
                raise _unknown()
            raw = vault.open_secret(credential)
            vault.record(
                Event("credential.retrieve", "retrieve", resource=path, reason="by governance")
            )
            about = credential.about.metadata
        try:
            value = raw.decode("utf-8")
        except UnicodeDecodeError:
            value = None
        if value is None:
            raise HttpRefusal(409, "NOT_TEXT", "the secret is not text; read it from the vault")
        return {
            "value": value,
            "credential_ref": key,
            "provider": about.get("provider", "custom"),
            "allowed_tools": about.get("allowed_tools", ["*"]),
        }

    def set(self, key: str, value: str, *, provider: str, allowed_tools: list[str]) -> None:
        """Store a secret, in place of one with that key."""
        path = _path(key)
        if not value:
            raise HttpRefusal(
                422,
                "INVALID_INPUT",
                "the secret is empty; delete it instead",
                details={"field": "secret"},
            )
        with self._committed():
            Administration(self._vault).put(
                path,
                value.encode("utf-8"),
                type="secret",
                tags=["governance"],
                metadata={"provider": provider, "allowed_tools": allowed_tools},
            )

    def delete(self, key: str) -> None:
        """Remove a secret."""
        path = _path(key)
        with self._committed():
            if path not in self._vault.credentials:
                self._vault.require_open()
                raise _unknown()
            Administration(self._vault).remove(path)

    @contextmanager
    def _committed(self) -> Generator[None]:
        """Commit what was done, and put the vault's refusals into this API's words."""
        refused: Refusal | None = None
        vault = self._vault
        if vault.failed:
            raise _unwritable()
        try:
            yield
        except Refusal as error:
            refused = error
        # A refusal is on record too.
        try:
            vault.flush()
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing was recorded
            _log.critical("the vault cannot write its record: %s", error)
        if vault.failed:
            raise _unwritable()
        if refused is not None:
            raise HttpRefusal(
                _STATUS.get(refused.code, 500),
                refused.code if refused.code in _STATUS else "INTERNAL_ERROR",
                f"{refused.message}; {refused.suggestion}",
            )


def _path(key: str) -> str:
    if (
        not key.isprintable()
        or key != key.strip()
        or len(key) > PATH_LIMIT - len(_PREFIX)
        or not {".", ".."}.isdisjoint(key.split("/"))
    ):
        raise HttpRefusal(
            422,
            "INVALID_INPUT",
            f"a key has 1 to {PATH_LIMIT - len(_PREFIX)} printable characters, and no part of "
            "it between slashes is '.' or '..'",
            details={"field": "credential_ref"},
        )
    if not key:
        raise _unknown()
    return _PREFIX + key


def _unknown() -> HttpRefusal:
    # The key is the caller's own text: it is not repeated.
    return HttpRefusal(404, "NOT_FOUND", "there is no secret with this key")


def _unwritable() -> HttpRefusal:
    return HttpRefusal(
        503, "STORAGE_FAILED", "the vault could not write its record; restart the server"
    )
