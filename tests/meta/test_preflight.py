"""tools/preflight.sh names what is missing, in one line, with the packages that hold it.

A machine without headers or without a compiler is not at hand, so the interpreter is a script
that passes everything on to the real one except the one question asked about.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def preflight(root: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", str(root / "tools" / "preflight.sh"), *arguments],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
    )


def interpreter(directory: Path, *, failing: str) -> Path:
    """A python whose `-c` fails when the code holds `failing`."""
    path = directory / "python3"
    path.write_text(
        f'#!/bin/sh\ncase "$2" in *{failing}*) exit 1;; esac\nexec {sys.executable} "$@"\n', "utf-8"
    )
    path.chmod(0o755)
    return path


def test_a_whole_machine_passes_and_names_its_interpreter(root: Path) -> None:
    done = preflight(root, sys.executable)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, sys.executable, "")


@pytest.mark.parametrize(
    ("failing", "said", "debian"),
    [
        ("ensurepip", "no venv module", "-venv"),
        ("Python.h", "no C headers (Python.h)", "-dev"),
        ("version_info", "is not a CPython >= 3.11", "apt install python3"),
    ],
)
def test_what_python_lacks_is_named(
    root: Path, tmp_path: Path, failing: str, said: str, debian: str
) -> None:
    done = preflight(root, str(interpreter(tmp_path, failing=failing)))
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert said in done.stderr
    assert debian in done.stderr
    assert "brew install" in done.stderr


def test_a_missing_compiler_is_named(root: Path) -> None:
    done = preflight(root, sys.executable, CC="no-such-compiler -O2")
    assert done.returncode == 2
    assert "no C compiler (no-such-compiler)" in done.stderr
    assert "build-essential" in done.stderr
    assert "xcode-select --install" in done.stderr


def test_an_old_python3_is_passed_over(root: Path, tmp_path: Path) -> None:
    interpreter(tmp_path, failing="version_info")
    # The first name asked for after python3; a newer one later on the PATH does not matter.
    newer = tmp_path / "python3.14"
    newer.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n', "utf-8")
    newer.chmod(0o755)
    done = preflight(root, PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert (done.returncode, done.stdout.strip()) == (0, "python3.14")


def test_no_python_at_all_is_named(root: Path, tmp_path: Path) -> None:
    # `sh` is found by its own path; nothing else is on this PATH.
    done = subprocess.run(
        ["/bin/sh", str(root / "tools" / "preflight.sh")],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "no CPython >= 3.11 found" in done.stderr


def test_make_stops_with_that_line(root: Path, tmp_path: Path) -> None:
    python = interpreter(tmp_path, failing="Python.h")
    done = subprocess.run(
        ["make", "-C", str(root), "build", f"PYTHON={python}", f"VENV={tmp_path / 'venv'}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "no C headers (Python.h)" in done.stderr
    assert not (tmp_path / "venv").exists()
