"""Fail unless a tag, the package and CHANGELOG.md agree on what is released.

    tools/tag.py v0.1.0

Before a wheel is built for a tag: it is `v` and three numbers, `ostiary.__version__` is those
numbers, and CHANGELOG.md has a section for them with a date.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def version(root: Path) -> str:
    """Return `__version__` without importing the package, whose core may not be built."""
    tree = ast.parse((root / "src" / "ostiary" / "__init__.py").read_text("utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__version__":
            return str(ast.literal_eval(node.value))
    raise LookupError("src/ostiary/__init__.py has no __version__")


def complaints(tag: str, root: Path = ROOT) -> list[str]:
    """Return what keeps the tag from being a release; nothing when it may be one."""
    if not re.fullmatch(r"v(0|[1-9]\d*)(\.(0|[1-9]\d*)){2}", tag):
        return [f"{tag!r} is not a release: a tag is v and three numbers, as in v1.2.3"]
    found: list[str] = []
    named, packaged = tag.removeprefix("v"), version(root)
    if named != packaged:
        found.append(f"the tag says {named}, ostiary.__version__ says {packaged}")
    changelog = (root / "CHANGELOG.md").read_text("utf-8")
    section = re.search(rf"^## \[?{re.escape(named)}\]? - (.+)$", changelog, re.M)
    if section is None:
        found.append(f"CHANGELOG.md has no section for {named}")
    elif not re.fullmatch(r"\d{4}-\d{2}-\d{2}", section[1]):
        found.append(f"CHANGELOG.md dates {named} {section[1]!r}; a release has a day")
    return found


def main(words: Sequence[str]) -> int:
    if len(words) != 1:
        print("tag: name one tag, as in v1.2.3", file=sys.stderr)
        return 2
    found = complaints(words[0])
    for complaint in found:
        print(f"tag: {complaint}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
