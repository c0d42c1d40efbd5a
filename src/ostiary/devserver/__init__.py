"""The embedded vault: a real one, for development and tests, in one process.

`serve` is the program behind `ostiary dev`; `running` is the same vault for the length of a
`with` block. It listens on a Unix socket and on loopback, nowhere else.
"""

from __future__ import annotations

from .faults import DevserverError
from .inprocess import RunningVault, running
from .options import Options, default_home
from .program import serve
from .server import VaultServer

__all__ = [
    "DevserverError",
    "Options",
    "RunningVault",
    "VaultServer",
    "default_home",
    "running",
    "serve",
]
