"""One client for the services between an agent and the world.

Each domain is a package of its own, imported when it is used: `ostiary.vault` today. This
module imports none of them, so that `import ostiary` costs next to nothing.
"""

from __future__ import annotations

from .errors import OstiaryError
from .secret import Secret

__all__ = ["OstiaryError", "Secret", "__version__"]

__version__: str


def __getattr__(name: str) -> str:
    # importlib.metadata costs more than the rest of this import, and few ask.
    if name == "__version__":
        from importlib.metadata import version

        return version("ostiary")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
