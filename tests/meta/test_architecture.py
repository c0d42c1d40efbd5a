"""ARCHITECTURE.md names every room and every compiled module, and none that is not there."""

from __future__ import annotations

import re
from pathlib import Path

PRIVATE_TO_PYTHON = {"__init__", "__main__", "__pycache__"}


def rooms(root: Path) -> set[str]:
    found: set[str] = set()
    for path in (root / "src" / "ostiary").iterdir():
        name = path.stem if path.suffix == ".py" else path.name
        if (path.suffix == ".py" or path.is_dir()) and name not in PRIVATE_TO_PYTHON:
            found.add(name)
    return found


def named(root: Path) -> set[str]:
    """Return what the first column of the table of rooms names."""
    table = (root / "ARCHITECTURE.md").read_text("utf-8").partition("## Rooms")[2]
    table = table.partition("## The life")[0]
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("|")]
    return {
        name.removesuffix("/").removesuffix(".py")
        for cell in cells
        for name in re.findall(r"`([^`]+)`", cell)
    }


def test_every_room_is_named(root: Path) -> None:
    assert rooms(root) - named(root) == set()


def test_every_compiled_module_is_named(root: Path) -> None:
    compiled = {path.stem for path in (root / "src").rglob("*.pyx")}
    assert compiled
    assert compiled - named(root) == set()


def test_nothing_is_named_that_is_not_there(root: Path) -> None:
    modules = {path.stem for path in (root / "src").rglob("*") if path.suffix in {".py", ".pyx"}}
    assert named(root) - modules - rooms(root) == set()


# Words that name no thing: a module of such a name holds whatever nobody found a place for.
EMPTY = {"base", "common", "helpers", "impl", "manager", "misc", "service", "util", "utils"}
# Some 600 lines are the rule; what is much longer has a reason.
MUCH_LONGER = {
    "src/ostiary/_io/aio_http.pyx": "final classes that call one another's C methods, which are "
    "bound directly within one module alone",
}


def modules(root: Path) -> list[Path]:
    found = [
        path
        for place in ("src", "tools", "examples", "benchmarks")
        for path in (root / place).rglob("*.py*")
        if path.suffix in {".py", ".pyx"}
    ]
    assert len(found) > 500
    return found


def test_modules_are_named_for_what_is_in_them(root: Path) -> None:
    assert [path.name for path in modules(root) if path.stem.strip("_") in EMPTY] == []


def test_modules_open_with_what_they_are(root: Path) -> None:
    opening = re.compile(r'(?:#.*\n|\n)*r?"""\S')
    silent = [
        str(path.relative_to(root))
        for path in modules(root)
        if opening.match(path.read_text("utf-8")) is None
    ]
    assert silent == []


def test_no_module_is_much_too_long_without_a_reason(root: Path) -> None:
    long = {
        str(path.relative_to(root))
        for path in modules(root)
        if len(path.read_text("utf-8").splitlines()) > 720
    }
    assert long == MUCH_LONGER.keys()
