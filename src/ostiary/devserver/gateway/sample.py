"""Which models there are to begin with: the built-in one, and with `--demo` those of guides.

Neighbours: `server` puts them into the default run's token, the command line adds to them.
"""

from __future__ import annotations

from typing import Final

from ..options import CATEGORIES

__all__ = ["BUILT_IN", "STAND_INS", "models"]

BUILT_IN: Final = "ostiary"
# Whom the built-in model plays for `--demo`.
STAND_INS: Final = ("openai", "anthropic", "google")
_CHAT: Final[tuple[str, ...]] = (f"{BUILT_IN}:echo", f"{BUILT_IN}:echo-mini")
_EMBEDDINGS: Final[tuple[str, ...]] = (f"{BUILT_IN}:echo", f"{BUILT_IN}:hash")
_DEMO_CHAT: Final = (
    "openai:gpt-4o",
    "openai:gpt-4o-mini",
    "anthropic:claude-sonnet-4-5",
    "google:gemini-2.5-flash",
)
_DEMO_EMBEDDINGS: Final = ("openai:text-embedding-3-small",)


def models(*, demo: bool) -> dict[str, tuple[str, ...]]:
    """Return the models of each category, the one that is used unasked first."""
    chat, embeddings = _CHAT, _EMBEDDINGS
    if demo:
        chat, embeddings = chat + _DEMO_CHAT, embeddings + _DEMO_EMBEDDINGS
    return {**dict.fromkeys(CATEGORIES, chat), "embeddings": embeddings}
