"""What an import brings along, counted in modules: seconds depend on the machine.

Each case runs in an interpreter of its own.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ["asyncio", "h11", "nacl", "rich", "ssl", "typer", "cffi", "http.client", "sqlite3"]


def modules_after(statement: str) -> set[str]:
    """Return the modules `statement` adds to a bare interpreter."""
    program = (
        "import sys\nbefore = set(sys.modules)\n"
        f"{statement}\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "statement", ["import ostiary", "import ostiary.http", "import ostiary.vault"]
)
def test_nothing_heavy_is_imported(statement: str) -> None:
    added = modules_after(statement)
    assert "ostiary" in added
    assert added.isdisjoint(HEAVY), sorted(added & set(HEAVY))


def test_the_package_alone_brings_two_rooms() -> None:
    ours = {name for name in modules_after("import ostiary") if name.startswith("ostiary")}
    assert ours == {"ostiary", "ostiary.errors", "ostiary.secret"}


def test_a_domain_brings_no_other_room_of_its_floor() -> None:
    rooms = {
        name.split(".")[1] for name in modules_after("import ostiary.vault") if "ostiary." in name
    }
    assert "vault" in rooms
    assert rooms.isdisjoint(
        {"gateway", "runtime", "workflow", "governance", "devserver", "testing", "cli", "client"}
    )


def test_every_module_imports_on_its_own() -> None:
    """A circle of imports works or not by who begins: let each public module begin once."""
    for name in [
        "config",
        "errors",
        "http",
        "http.hooks",
        "http.settings",
        "secret",
        "vault",
        "vault.errors",
        "vault.keys",
        "vault.models",
    ]:
        assert f"ostiary.{name}" in modules_after(f"import ostiary.{name}")
