"""One input on its way: what goes to a worker, and what comes back.

Neighbours: `work`, which is done to it; `report`, which is what callers see of it.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ..errors import ClientStateError

if TYPE_CHECKING:
    from ..gateway.io.findings import TokenUsage

__all__ = ["Current", "Item", "Outcome", "current", "here"]


@dataclass(slots=True)
class Item:
    """An input, by its place among all of them and by its id.

    `lost` counts the workers that died with it, `sealed` is itself as it travels.
    """

    index: int
    id: str
    key: str
    input: Any
    lost: int = 0
    sealed: bytes = b""


@dataclass(slots=True)
class Outcome:
    """What became of an item in a worker."""

    index: int
    value: Any
    error: Exception | None
    attempts: int
    seconds: float
    usage: tuple[TokenUsage, ...] = ()


@dataclass(frozen=True, slots=True)
class Current:
    """The input that is being worked on: its place, its id, and its idempotency key.

    `key` is the same in each attempt and on each executor; `attempt` counts from 1.
    """

    index: int
    id: str
    key: str
    attempt: int

    def key_for(self, step: str) -> str:
        """Return a key for one of several calls of the work, as stable as `key`."""
        return f"{self.key}-{step}"


here: Final[ContextVar[Current]] = ContextVar("ostiary.fleet.current")


def current() -> Current:
    """Return which input this task or thread works on.

    Raises `ClientStateError` outside a fleet's work.
    """
    found = here.get(None)
    if found is None:
        raise ClientStateError(
            "current() is for work that a fleet runs, and for what it calls in the same task or "
            "thread; a thread of its own needs contextvars.copy_context()"
        )
    return found
