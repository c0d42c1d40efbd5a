"""Sans-IO wire code: bytes in; frames, replies and events out. No socket and no clock here.

There is one build. A checkout without it fails here, with the command that mends it.
"""

from __future__ import annotations

try:
    # The two that every domain so far needs; the others are imported where they are used.
    from . import framer, rpc
except ModuleNotFoundError as error:
    # Only "was never built" is ours to explain; a build that is broken speaks for itself.
    if error.name not in {f"{__name__}.{room}" for room in ("framer", "outbox", "rpc", "slab")}:
        raise
    raise ImportError(
        "the compiled core of ostiary is missing; run `make build` in a checkout, "
        "or `pip install --force-reinstall ostiary`"
    ) from error

__all__ = ["framer", "rpc"]
