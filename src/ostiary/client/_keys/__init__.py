"""API keys that settings only refer to, fetched from the vault; both colours."""

from __future__ import annotations

from ._async import AsyncVaultKeys
from ._sync import VaultKeys

__all__ = ["AsyncVaultKeys", "VaultKeys"]
