"""The tools of one server, by name: those that come along, entry points, and modules.

An entry point of the group `ostiary.tools`, or a module that is named on the command line, has
functions that `@tool` marked, or a mapping `TOOLS` of names to functions. A later one of the
same name replaces an earlier one. Neighbour: `call` says what a tool is.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Final, cast, final

from ...faults import DevserverError
from .call import MARK, Function, Tool, made

__all__ = ["GROUP", "Registry"]

GROUP: Final = "ostiary.tools"


@final
class Registry:
    """Tools by name."""

    def __init__(self, tools: Iterable[Tool] = ()) -> None:
        self._tools: dict[str, Tool] = {one.name: one for one in tools}

    def find(self, name: str) -> Tool | None:
        """Return a tool, or None."""
        return self._tools.get(name)

    def names(self) -> list[str]:
        """Return the names of all tools, sorted."""
        return sorted(self._tools)

    def __iter__(self) -> Iterator[Tool]:
        return iter(self._tools.values())

    def add(self, given: Tool | Function, name: str | None = None) -> None:
        """Make a tool, or a function, known; in place of one of that name."""
        found = given if isinstance(given, Tool) else getattr(given, MARK, None)
        if not isinstance(found, Tool):
            function = cast("Function", given)
            found = made(name or function.__name__, function)
        elif name is not None and name != found.name:
            found = made(name, found.run, risk=found.risk, simulate=found.simulate)
        self._tools[found.name] = found

    def load(self, modules: Iterable[str] = (), *, directory: Path | None = None) -> None:
        """Add the tools of installed packages, then those of modules by their names.

        `directory` is looked in first for a module. Raises `DevserverError` for a module that
        cannot be imported or has no tools.
        """
        for point in entry_points(group=GROUP):
            try:
                found = point.load()
            except Exception as error:  # noqa: BLE001 - a package may fail as it likes
                problem = f"{type(error).__name__}: {error}"
            else:
                self._take(found, f"the entry point {point.name!r}", point.name)
                continue
            raise DevserverError(
                f"the tool {point.name!r} of an installed package cannot be imported: {problem}"
            )
        for name in modules:
            self._take(_imported(name, directory), f"the module {name!r}", None)

    def _take(self, found: Any, what: str, name: str | None) -> None:
        before = len(self._tools)
        named: Any = getattr(found, "TOOLS", None) if isinstance(found, ModuleType) else found
        added = False
        if isinstance(named, Mapping):
            for each, function in cast("Mapping[object, Any]", named).items():
                if not isinstance(each, str) or not callable(function):
                    raise DevserverError(f"TOOLS of {what} maps names to functions")
                self.add(cast("Function", function), each)
                added = True
        elif named is not None and (callable(named) or isinstance(named, Tool)):
            self.add(named, None if hasattr(named, MARK) else name)
            added = True
        if isinstance(found, ModuleType):
            for marked in vars(found).values():
                # What a module imports from elsewhere is marked there.
                if isinstance(getattr(marked, MARK, None), Tool) and _home(marked, found):
                    self.add(cast("Function", marked))
                    added = True
        if not added and len(self._tools) == before:
            raise DevserverError(
                f"{what} has no tools; mark its functions with "
                "`ostiary.devserver.workflow.tools.tool`, or give it a mapping TOOLS"
            )


def _home(marked: Callable[..., Any], module: ModuleType) -> bool:
    return getattr(marked, "__module__", module.__name__) == module.__name__


def _imported(name: str, directory: Path | None) -> ModuleType:
    if directory is not None and str(directory) not in sys.path:
        sys.path.insert(0, str(directory))
    try:
        return importlib.import_module(name)
    except Exception as error:  # noqa: BLE001 - a module may fail as it likes
        problem = f"{type(error).__name__}: {error}"
    raise DevserverError(f"the module of tools {name!r} cannot be imported: {problem}")
