"""Sans-IO wire code: bytes in, frames and replies out. Nothing here touches a socket or a clock.

There is one build. A checkout without it fails here, with the command that mends it.
"""

from __future__ import annotations

try:
    from . import framer, parser, rpc, target
except ModuleNotFoundError as error:
    # Only "was never built" is ours to explain; a build that is broken speaks for itself.
    if error.name not in {
        f"{__name__}.{name}"
        for name in (
            "framer",
            "headers",
            "http1",
            "outbox",
            "parser",
            "request",
            "rpc",
            "slab",
            "target",
        )
    }:
        raise
    raise ImportError(
        "the compiled core of ostiary is missing; run `make build` in a checkout, "
        "or `pip install --force-reinstall ostiary`"
    ) from error

__all__ = ["framer", "parser", "rpc", "target"]
