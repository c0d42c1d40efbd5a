"""`MODULE:NAME`: code of the user's that a command is to run.

Found in the current directory too, as `python -m` does it, or in a file by its path.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import typer

__all__ = ["find"]


def find(
    target: str, form: str, what: str, fits: Callable[[object], bool]
) -> tuple[ModuleType, object]:
    """Return a module and what it has of that name.

    `form` is how a target is written, `what` is what `fits` looks for, in a word. Raises
    `typer.BadParameter` for what is not there or does not fit.
    """
    module_name, _, name = target.rpartition(":")
    if not module_name or not name.isidentifier():
        raise typer.BadParameter(
            f"{target!r} is not {form}; write package.module:Class or path/to/file.py:Class"
        )
    module = _from_file(Path(module_name)) if module_name.endswith(".py") else _named(module_name)
    found: object = getattr(module, name, None)
    if not fits(found):
        there = sorted(name for name, one in vars(module).items() if fits(one) and _of(one, module))
        raise typer.BadParameter(
            f"{module_name} has no {what} {name}; it has {', '.join(there) or 'none'}"
        )
    return module, found


def _of(found: object, module: ModuleType) -> bool:
    """Say whether something was not only imported there."""
    return str(getattr(found, "__module__", "")).startswith(module.__name__)


def _named(name: str) -> ModuleType:
    # As `python -m` does; last, so that nothing that lies about replaces an installed package.
    here = os.getcwd()
    if here not in sys.path:
        sys.path.append(here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or name
    except (TypeError, ValueError):
        raise typer.BadParameter(f"{name!r} is no module's name") from None
    if name == missing or name.startswith(f"{missing}."):
        raise typer.BadParameter(f"there is no module {name}, seen from {here}")
    raise typer.BadParameter(f"{name} needs {missing}, which is not installed")


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise typer.BadParameter(f"there is no file {path}")
    # Whoever splits an agent into files beside one another finds them.
    beside = str(path.resolve().parent)
    if beside not in sys.path:
        sys.path.append(beside)
    name = path.stem
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look a class's module up
    try:
        spec.loader.exec_module(module)
    except ModuleNotFoundError as error:
        missing = error.name
    else:
        return module
    raise typer.BadParameter(f"{path} needs {missing}, which is not installed")
