"""The leak guard: clean on this package, and able to find what leaks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ostiary.governance.contract_guard import INTERNAL, main, python_files, scan

PACKAGE = Path(sys.modules["ostiary.governance.contract_guard"].__file__ or "").parent


def guard(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ostiary.governance.contract_guard", *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


def test_no_internal_name_in_the_public_modules() -> None:
    files = python_files([PACKAGE])
    assert {"__init__.py", "_sync.py", "models.py", "contract_guard.py"} <= {f.name for f in files}
    assert [str(finding) for file in files for finding in scan(file)] == []


def test_nor_in_what_the_package_shows() -> None:
    import ostiary.governance

    assert not INTERNAL & set(dir(ostiary.governance))


def test_as_a_program(tmp_path: Path) -> None:
    done = guard(cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("0 findings\n")
    (tmp_path / "src" / "hestiaos").mkdir(parents=True)
    (tmp_path / "src" / "hestiaos" / "client.py").write_text("x: DSGKDecision\n")
    (tmp_path / "api" / "routers").mkdir(parents=True)
    (tmp_path / "api" / "routers" / "v1_run.py").write_text("import core.SystemMode\n")
    (tmp_path / "api" / "routers" / "chat.py").write_text("import core.SystemMode\n")
    done = guard(cwd=tmp_path)
    assert done.returncode == 1
    assert "2 findings" in done.stdout
    assert "src/hestiaos/client.py:1: names the internal type DSGKDecision" in done.stdout
    assert "v1_run.py:1" in done.stdout
    assert "chat.py" not in done.stdout, "no public place"


@pytest.mark.parametrize(
    "source",
    [
        "SystemMode",
        "core.SystemMode",
        "import SystemMode",
        "from core import SystemMode",
        "from core import x as SystemMode",
        "from SystemMode import x",
        "class SystemMode: pass",
        "class A(SystemMode): pass",
        "def SystemMode(): pass",
        "async def SystemMode(): pass",
        "def f(SystemMode): pass",
        "def f(x: 'list[SystemMode]'): pass",
        "def f() -> 'SystemMode | None': pass",
        "x: 'SystemMode' = 1",
        "f(SystemMode=1)",
        "not python at all",
        "x = '\0'",
    ],
)
def test_what_is_found(tmp_path: Path, source: str) -> None:
    file = tmp_path / "a.py"
    file.write_text(source)
    (finding,) = scan(file)
    assert finding.path == file
    assert finding.line == 1


@pytest.mark.parametrize(
    "source", ["x = 'SystemMode'", "# SystemMode", "MySystemMode", '"""SystemMode"""', ""]
)
def test_what_is_let_be(tmp_path: Path, source: str) -> None:
    file = tmp_path / "a.py"
    file.write_text(source)
    assert scan(file) == []


def test_arguments(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 0, "no file is no leak"
    assert "0 files read, 0 findings" in capsys.readouterr().out
    file = tmp_path / "a.py"
    file.write_text("DriftVector\nDecisionType\n")
    assert main([str(file), str(tmp_path)]) == 1
    assert "1 file read, 2 findings" in capsys.readouterr().out
    assert main([str(tmp_path / "none")]) == 2
    assert "is not there" in capsys.readouterr().err


@pytest.mark.parametrize("name", sorted(INTERNAL))
def test_every_name_is_looked_for(tmp_path: Path, name: str) -> None:
    file = tmp_path / "a.py"
    file.write_text(f"value = engine.{name}")
    assert [finding.problem for finding in scan(file)] == [f"names the internal type {name}"]
