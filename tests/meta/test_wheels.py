"""Which wheels a release builds: the identifiers cibuildwheel prints, against a list.

cibuildwheel ignores a file it is not told about, so the workflow is read too.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

PYTHONS = ["cp311", "cp312", "cp313", "cp314", "cp315"]
EXPECTED = {
    "linux": {
        f"{python}-{system}_{machine}"
        for python in PYTHONS
        for system in ("manylinux", "musllinux")
        for machine in ("x86_64", "aarch64")
    },
    "macos": {
        f"{python}-macosx_{machine}" for python in PYTHONS for machine in ("x86_64", "arm64")
    },
}


def printed(root: Path, platform: str, *arguments: str) -> set[str]:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "cibuildwheel", "--print-build-identifiers"),
            *("--platform", platform, *arguments),
        ],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.skipif(
    importlib.util.find_spec("cibuildwheel") is None,
    reason="cibuildwheel is not installed (group `test`)",
)
@pytest.mark.parametrize("platform", ["linux", "macos"])
def test_the_identifiers_are_the_expected_ones(root: Path, platform: str) -> None:
    assert printed(root, platform, "--config-file", "cibuildwheel.toml") == EXPECTED[platform]


def test_every_key_stands_where_cibuildwheel_looks(root: Path) -> None:
    settings = tomllib.loads((root / "cibuildwheel.toml").read_text("utf-8"))
    assert list(settings) == ["tool"]
    assert list(settings["tool"]) == ["cibuildwheel"]
    assert settings["tool"]["cibuildwheel"]["test-command"]


def test_what_a_wheel_is_tested_with_exists(root: Path) -> None:
    settings = tomllib.loads((root / "cibuildwheel.toml").read_text("utf-8"))["tool"][
        "cibuildwheel"
    ]
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))
    assert [path for path in settings["test-sources"] if not (root / path).exists()] == []
    assert set(settings["test-groups"]) <= set(project["dependency-groups"])
    assert set(settings["test-extras"]) <= set(project["project"]["optional-dependencies"])


def test_the_sources_beside_a_wheel_hold_what_its_tests_import(root: Path) -> None:
    settings = tomllib.loads((root / "cibuildwheel.toml").read_text("utf-8"))["tool"][
        "cibuildwheel"
    ]
    sources = [root / path for path in settings["test-sources"] if path.startswith("tests/")]
    files = [
        file for path in sources for file in ([path] if path.is_file() else path.rglob("*.py"))
    ]
    wanted = {
        "/".join(name.split(".")[1:])
        for file in files
        for name in re.findall(r"^from (tests\.[\w.]+) import", file.read_text("utf-8"), re.M)
    }
    beside = [path.relative_to(root / "tests").with_suffix("").parts for path in sources]
    assert [
        name for name in sorted(wanted) if not any(_starts(name, parts) for parts in beside)
    ] == []


def _starts(name: str, parts: tuple[str, ...]) -> bool:
    return tuple(name.split("/"))[: len(parts)] == parts


def test_the_workflow_names_the_file_and_the_version(root: Path) -> None:
    workflow = (root / ".github" / "workflows" / "wheels.yml").read_text("utf-8")
    groups = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["dependency-groups"]
    (pinned,) = [
        entry.partition("==")[2]
        for entry in groups["test"]
        if isinstance(entry, str) and entry.startswith("cibuildwheel==")
    ]
    assert re.findall(r"cibuildwheel==([\d.]+)", workflow) == [pinned]
    assert "--config-file cibuildwheel.toml" in workflow
