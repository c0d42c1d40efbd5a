"""One client for the services between an agent and the world.

`Ostiary` and `AsyncOstiary` hold all domains; each is a package of its own as well. This module
loads none of them before it is asked to, so that `import ostiary` costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import OstiaryError
from .secret import Secret

if TYPE_CHECKING:
    from .client import AsyncOstiary, Ostiary, OstiaryConfig, trace

__all__ = [
    "AsyncOstiary",
    "Ostiary",
    "OstiaryConfig",
    "OstiaryError",
    "Secret",
    "__version__",
    "trace",
]

# Written here and read by the build: asking the installed metadata costs more than all the rest.
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    if name not in {"AsyncOstiary", "Ostiary", "OstiaryConfig", "trace"}:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import client

    found: object = getattr(client, name)
    globals()[name] = found
    return found
