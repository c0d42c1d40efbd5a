"""`ostiary version`: what is installed, on what."""

from __future__ import annotations

import platform

from .screen import Screen
from .session import Json

__all__ = ["version"]


def version(json: Json = False) -> None:
    """Show the versions of ostiary and Python, and the platform."""
    from .. import __version__

    if json:
        Screen(json=True).document(
            {
                "ostiary": __version__,
                "python": platform.python_version(),
                "platform": platform.platform(),
            }
        )
    else:
        print(f"ostiary {__version__}")
        print(f"Python {platform.python_version()} on {platform.platform()}")
