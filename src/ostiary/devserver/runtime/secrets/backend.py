"""What every place for secrets can do, and how it says that it cannot.

Neighbours: the four backends; `endpoints` has one of them at a time.
"""

from __future__ import annotations

import re
from typing import Final, Protocol

import msgspec

from ....secret import Secret
from ...http.reading import invalid
from ...http.refusals import HttpRefusal

__all__ = [
    "VALUE_LIMIT",
    "Backend",
    "Stored",
    "Unusable",
    "broken",
    "check_agent",
    "check_name",
    "refused",
    "too_slow",
    "unavailable",
]

_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")
# GET secrets/config is a path of its own.
_RESERVED: Final = frozenset({"config"})
VALUE_LIMIT: Final = 256 * 1024
"""Bytes of one value: what a version of KV holds, and more than any key needs."""


class Stored(msgspec.Struct, frozen=True):
    """When a secret was stored, in Unix seconds; `updated_at` is None for a new one."""

    created_at: float
    updated_at: float | None


class Backend(Protocol):
    """One place. Every method may raise an `HttpRefusal`, which holds no secret."""

    kind: str
    """The word for it in a configuration."""

    async def check(self) -> None:
        """Find out whether secrets can be written, read and removed; leave nothing behind."""
        ...

    async def put(
        self, agent_id: str, name: str, value: Secret, description: str | None
    ) -> Stored: ...

    async def get(self, agent_id: str, name: str) -> Secret | None: ...

    async def names(self, agent_id: str) -> list[str]:
        """Return an agent's names, sorted."""
        ...

    async def delete(self, agent_id: str, name: str) -> bool:
        """Remove a secret; False when there is none."""
        ...

    @property
    def count(self) -> int:
        """How many secrets it holds, as far as it knows without asking anybody."""
        ...

    def about(self) -> dict[str, object]:
        """Describe how it is set up, without any secret."""
        ...

    async def close(self) -> None: ...


def check_agent(agent_id: str) -> str:
    """Return the id, or refuse it."""
    if agent_id in _RESERVED:
        raise invalid("agent_id", f"no agent can be called {agent_id!r}; that path has a meaning")
    return _check("agent_id", agent_id)


def check_name(name: str) -> str:
    """Return the name, or refuse it."""
    return _check("secret_name", name)


def _check(field: str, text: str) -> str:
    # The text is not repeated: somebody may have put the value there.
    if not _NAME.fullmatch(text) or text in {".", ".."}:
        raise invalid(field, f"{field} has 1 to 128 letters, digits, dots, dashes and underscores")
    return text


def unavailable(message: str) -> HttpRefusal:
    """Return a 503: the place cannot be reached, or is closed for now."""
    return HttpRefusal(503, "SECRET_BACKEND_UNAVAILABLE", message)


def too_slow(message: str) -> HttpRefusal:
    """Return a 504: the place did not answer in time."""
    return HttpRefusal(504, "SECRET_BACKEND_TIMEOUT", message)


def broken(message: str) -> HttpRefusal:
    """Return a 502: the place answered, and not as it should."""
    return HttpRefusal(502, "SECRET_BACKEND_FAILED", message)


class Unusable(HttpRefusal):
    """422: a configuration that cannot be used; `code` says why, since clients keep no more."""


def refused(code: str, message: str, *, field: str | None = None) -> Unusable:
    """Return the refusal of a configuration; `field` is the member to change."""
    details = {"field": field, "fields": [field]} if field else None
    return Unusable(422, code, message, details=details)
