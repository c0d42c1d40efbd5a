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
