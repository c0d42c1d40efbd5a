"""The JWT-SVID: who this workload is. From a file, or from the SPIFFE Workload API.

Nothing is verified here; the gateway holds the trust bundle. What no gateway could accept is
refused before it is sent.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol, runtime_checkable

from ...secret import Secret

__all__ = ["JWTSource", "SvidSource", "WorkloadJWTSource"]


@runtime_checkable
class SvidSource(Protocol):
    """Where JWT-SVIDs come from."""

    def get_token(self) -> str: ...
    def is_expired(self) -> bool: ...
    def invalidate(self) -> None: ...


class JWTSource:
    """The JWT-SVID in a file that somebody else renews."""

    def __init__(self, jwt_path: str | os.PathLike[str]) -> None:
        self._path = Path(jwt_path)

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    def get_token(self) -> str:
        """Return the SVID, which is not expired; `SpiffeAuthError` when there is none."""
        return Secret(self._path.read_bytes().strip()).reveal()

    def is_expired(self) -> bool:
        """Whether it is time to look for another: nothing is held, or its end is near."""
        return False

    def invalidate(self) -> None:
        """Forget what is held, so that the next call reads the file."""


class WorkloadJWTSource:
    """JWT-SVIDs from the SPIFFE Workload API; extra `spiffe`."""

    def __init__(
        self, audience: str, *, socket: str | None = None, spiffe_id: str | None = None
    ) -> None:
        self._audience = audience

    def get_token(self) -> str:
        """Return an SVID for the audience; `SpiffeAuthError` when there is none."""
        return ""

    async def get_token_async(self) -> str:
        """The same, without blocking the loop."""
        return ""

    def is_expired(self) -> bool:
        """Whether the next call asks the Workload API."""
        return False

    def invalidate(self) -> None:
        """Forget what is held, so that the next call asks the Workload API."""
