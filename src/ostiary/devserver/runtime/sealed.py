"""What is secret in the runtime's own documents: sealed under the vault's key before it is kept.

Neighbours: `mcp` and `http_input` keep a caller's variables and header values this way.
"""

from __future__ import annotations

from nacl.exceptions import CryptoError

from ..faults import Refusal
from ..http.refusals import HttpRefusal
from .context import Context

__all__ = ["seal", "unseal"]


def seal(context: Context, path: str, value: bytes) -> bytes:
    """Seal a value, bound to its path; refuses with 503 while the vault is locked."""
    refused: Refusal
    try:
        return context.vault.require_open().seal(path, value)
    except Refusal as found:
        refused = found
    raise _locked(refused)


def unseal(context: Context, path: str, sealed: bytes) -> bytes:
    """Return what was sealed; 500 when it was altered, or moved from another path."""
    refused: Refusal | None = None
    try:
        return context.vault.require_open().open(path, sealed)
    except Refusal as found:
        refused = found
    except CryptoError:
        pass
    if refused is not None:
        raise _locked(refused)
    raise HttpRefusal(
        500,
        "DOCUMENT_DAMAGED",
        "what was kept of this was altered on the disk; remove it, and add it again",
    )


def _locked(refusal: Refusal) -> HttpRefusal:
    return HttpRefusal(503, "VAULT_LOCKED", f"{refusal.message}; {refusal.suggestion}")
