"""What must not stand in a tracked file: paths of one machine, package registries, secrets.

A path that works here and nowhere else is a bug; where packages come from is the installer's
configuration.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

# Joined here, so that this file does not find itself.
MACHINE_PATHS = re.compile(
    "|".join(
        rf"(?<![\w.~$}}]){top}/(?!\.\.\.)[\w.-]+"
        for top in ("/" + "root", "/" + "work", "/" + "opt/pypi")
    )
    # Invented users may have homes.
    + rf"|(?<![\w.~$}}])/(?:{'home'}|{'Users'})/(?!\.\.\.|some(?:body|one)\b|user\b|me\b)[\w.-]+"
)
REGISTRIES = re.compile(
    "|".join(
        re.escape(left + right)
        for left, right in (
            ("pypi", ".org"),
            ("pythonhosted", ".org"),
            ("npmjs", ".org"),
            ("npmjs", ".com"),
            ("crates", ".io"),
            ("proxy.golang", ".org"),
            ("index", "-url"),
        )
    )
)
# With its content: the line alone may stand in a test of what is refused.
PRIVATE_KEYS = re.compile("-----BEGIN " + r"(?:[A-Z]+ )*PRIVATE KEY-----\s+[A-Za-z0-9+/=\s]{40}")


def tracked(root: Path) -> list[Path]:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), "ls-files", "-z"], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        pytest.skip("git is not installed")
    if done.returncode:
        pytest.skip("not a git checkout")
    files = [root / name for name in done.stdout.split("\0") if name]
    assert files
    return [path for path in files if path.is_file()]


def hits(root: Path, pattern: re.Pattern[str]) -> list[str]:
    found: list[str] = []
    for path in tracked(root):
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(root)}: {match[0]}" for match in pattern.finditer(text)]
    return found


def test_no_path_of_one_machine(root: Path) -> None:
    assert hits(root, MACHINE_PATHS) == []
    # Wherever this checkout stands, unless the place is too short to mean anything.
    if len(root.parts) > 2:
        assert hits(root, re.compile(re.escape(str(root)) + r"\b")) == []


def test_no_registry(root: Path) -> None:
    assert hits(root, REGISTRIES) == []


def test_no_private_key(root: Path) -> None:
    assert hits(root, PRIVATE_KEYS) == []


def test_no_build_product_is_tracked(root: Path) -> None:
    products = {".so", ".o", ".pyc", ".whl", ".egg-info"}
    assert [path.name for path in tracked(root) if path.suffix in products] == []
    assert [
        path.name for path in tracked(root) if path.suffix == ".c" and "src" in path.parts
    ] == []


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (MACHINE_PATHS, 'x = "/' + 'work/main/src"'),
        (MACHINE_PATHS, "see /" + "home/alice/notes"),
        (REGISTRIES, "https://" + "pypi" + ".org/project/x"),
        (PRIVATE_KEYS, "-----BEGIN " + "OPENSSH PRIVATE KEY-----\n" + "b3Bl" * 16),
    ],
)
def test_the_patterns_find(pattern: re.Pattern[str], text: str) -> None:
    assert pattern.search(text)


@pytest.mark.parametrize(
    "text", ["~/work/x", "$HOME/work/x", "network/root/x", "./home/x", "/home/somebody/x"]
)
def test_the_patterns_let_be(text: str) -> None:
    assert not MACHINE_PATHS.search(text)
