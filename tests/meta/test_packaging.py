"""What an sdist and a wheel hold, and that every .pyx is on the extension list.

An sdist without its .pyx builds a wheel that installs, passes every checker and has no core.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

import pytest

BUILT_FROM = ["LICENSE", "MANIFEST.in", "README.md", "CHANGELOG.md", "pyproject.toml", "setup.py"]
SOURCES = {".pyx", ".pxd", ".pyi"}


def extension_list(root: Path) -> list[str]:
    tree = ast.parse((root / "setup.py").read_text("utf-8"))
    (modules,) = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "MODULES"
    ]
    return list(modules)


def test_the_extension_list_is_what_is_on_disk(root: Path) -> None:
    source = root / "src"
    on_disk = sorted(
        ".".join(path.relative_to(source).with_suffix("").parts) for path in source.rglob("*.pyx")
    )
    assert extension_list(root) == on_disk
    assert on_disk


def test_every_extension_has_its_stub(root: Path) -> None:
    without = [
        name
        for name in extension_list(root)
        if not (root / "src" / f"{name.replace('.', '/')}.pyi").exists()
    ]
    assert without == []


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[set[str], set[str]]:
    """Return the files of an sdist and of a wheel before its extensions are linked.

    Built from a copy that holds, beside the sources, what must not be packed.
    """
    for needed in ("build", "setuptools", "Cython"):
        if importlib.util.find_spec(needed) is None:
            pytest.skip(f"{needed} is not installed (group `test`)")
    root = Path(__file__).resolve().parents[2]
    copy = tmp_path_factory.mktemp("packaging")
    for name in BUILT_FROM:
        shutil.copy(root / name, copy)
    shutil.copytree(
        root / "src",
        copy / "src",
        ignore=shutil.ignore_patterns("*.so", "*.egg-info", "__pycache__"),
    )
    (copy / "src" / "ostiary" / "_wire" / "framer.c").write_text("generated", "utf-8")
    (copy / "src" / "ostiary" / "stray.so").write_text("binary", "utf-8")
    for command in (
        ["-m", "build", "--sdist", "--no-isolation", "--outdir", "out", "."],
        ["setup.py", "-q", "build_py", "--build-lib", "lib"],
    ):
        done = subprocess.run(
            [sys.executable, *command],
            cwd=copy,
            # The suite turns warnings into errors; the build backend's are its own affair.
            env={name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    (archive,) = (copy / "out").glob("ostiary-*.tar.gz")
    with tarfile.open(archive) as tar:
        sdist = {name.partition("/")[2] for name in tar.getnames()}
    lib = copy / "lib"
    wheel = {path.relative_to(lib).as_posix() for path in lib.rglob("*") if path.is_file()}
    return sdist, wheel


def test_the_sdist_holds_every_source(root: Path, built: tuple[set[str], set[str]]) -> None:
    sdist, _ = built
    wanted = {
        path.relative_to(root).as_posix()
        for path in (root / "src" / "ostiary").rglob("*")
        if path.suffix in SOURCES | {".py"} or path.name == "py.typed"
    }
    assert wanted - sdist == set()
    assert {"pyproject.toml", "setup.py", "LICENSE", "README.md", "CHANGELOG.md"} <= sdist


def test_the_wheel_holds_what_runs_and_what_types(
    root: Path, built: tuple[set[str], set[str]]
) -> None:
    _, wheel = built
    source = root / "src"
    wanted = {
        path.relative_to(source).as_posix()
        for path in (source / "ostiary").rglob("*")
        if path.suffix in {".py", ".pyi"} or path.name == "py.typed"
    }
    assert wanted == wheel


@pytest.mark.parametrize("which", [0, 1], ids=["sdist", "wheel"])
def test_nothing_generated_is_packed(built: tuple[set[str], set[str]], which: int) -> None:
    assert [name for name in built[which] if name.endswith((".c", ".so", ".html", ".pyc"))] == []


def test_the_core_has_three_dependencies(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    names = [requirement.partition(">")[0] for requirement in project["dependencies"]]
    assert sorted(names) == ["h11", "msgspec", "pynacl"]
