"""How a domain is, as `check` found it."""

from __future__ import annotations

import msgspec

from ..errors import OstiaryError

__all__ = ["Health"]


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """What a domain answered within `seconds`: its own word, or the `error` that came instead."""

    domain: str
    seconds: float
    said: str = ""
    error: OstiaryError | None = None

    @property
    def ok(self) -> bool:
        """Whether the domain answered."""
        return self.error is None
