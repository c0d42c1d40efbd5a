"""Names of a package that are loaded by those who ask for them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

__all__ = ["later"]


def later(package: str, places: Mapping[str, tuple[str, str]]) -> Callable[[str], Any]:
    """Return a package's `__getattr__`: each name is in a module, relative to the package.

    `__version__` is ostiary's.
    """

    def load(name: str) -> Any:
        if name in places:
            module, attribute = places[name]
            found = getattr(import_module(f".{module}", package), attribute)
        elif name == "__version__":
            found = import_module("ostiary").__version__
        else:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        setattr(sys.modules[package], name, found)
        return found

    return load
