"""The leak guard: no name of a governance engine's inner types in public modules.

    python -m ostiary.governance.contract_guard [PATH ...]

Without a path it reads this package and, below the current directory, the places where such
names would leak: a client package, API routers and adapters. Public answers are plain dicts and
the models of this package; whatever names an inner type has let it out. Reads sources, imports
nothing of them.
"""

from __future__ import annotations

import ast
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

__all__ = ["INTERNAL", "Finding", "main", "python_files", "scan"]

INTERNAL: Final = frozenset(
    {
        "ArbitrationResult",
        "CommandTrace",
        "DSGKDecision",
        "DecisionType",
        "DriftVector",
        "SystemMode",
    }
)
"""Names of types that stay inside the engine."""

# Below the current directory, whichever of them exist.
_PLACES: Final = (
    "src/ostiary/governance",
    "src/hestiaos",
    "api/routers/v1_run.py",
    "api/routers/v1_trace.py",
    "api/routers/v1_health.py",
    "api/adapters",
)
_WORD: Final = re.compile(r"[^\W\d]\w*")


class Finding(NamedTuple):
    """One name that leaks, or a file that cannot be read."""

    path: Path
    line: int
    problem: str


def scan(path: Path) -> list[Finding]:
    """Return what one file leaks; source that is not Python is a finding too."""
    try:
        tree = ast.parse(path.read_bytes(), filename=str(path))
    except (SyntaxError, ValueError, RecursionError) as error:
        line = getattr(error, "lineno", None) or 1
        return [Finding(path, line, f"cannot be parsed ({type(error).__name__})")]
    except OSError as error:
        return [Finding(path, 1, f"cannot be read ({error.strerror})")]
    found = {
        Finding(path, line, f"names the internal type {name}")
        for name, line in _names(tree)
        if name in INTERNAL
    }
    return sorted(found)


def _names(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield every identifier of a module with its line, those in quoted annotations too."""
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 1)
        if isinstance(node, ast.Name):
            yield node.id, line
        elif isinstance(node, ast.Attribute):
            yield node.attr, line
        elif isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name, line
        elif isinstance(node, ast.alias):
            yield from ((word, line) for word in node.name.split("."))
            if node.asname:
                yield node.asname, line
        elif isinstance(node, ast.ImportFrom):
            yield from ((word, line) for word in (node.module or "").split("."))
        elif isinstance(node, (ast.arg, ast.keyword)) and node.arg:
            yield node.arg, line
        for annotation in _annotations(node):
            for inner in ast.walk(annotation):
                if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
                    yield from ((word, inner.lineno) for word in _WORD.findall(inner.value))


def _annotations(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.returns:
        yield node.returns
    elif isinstance(node, (ast.arg, ast.AnnAssign)) and node.annotation:
        yield node.annotation


def python_files(places: Iterable[Path]) -> list[Path]:
    """Return the Python files that `places` are or hold, each once."""
    found: dict[Path, Path] = {}
    for place in places:
        files = sorted(place.rglob("*.py")) if place.is_dir() else [place]
        for file in files:
            if file.suffix == ".py" and file.is_file():
                found.setdefault(file.resolve(), file)
    return list(found.values())


def main(arguments: Sequence[str] | None = None) -> int:
    """Scan, print a count and every finding, and return 0 when there is none, else 1.

    Where there is no file there is no leak. A path that does not exist is wrong usage: 2.
    """
    given = [Path(one) for one in (sys.argv[1:] if arguments is None else arguments)]
    for path in given:
        if not path.exists():
            sys.stderr.write(f"contract guard: {path} is not there; give files or directories\n")
            return 2
    places = given or [Path(__file__).parent, *(Path.cwd() / one for one in _PLACES)]
    files = python_files(places)
    findings = [finding for file in files for finding in scan(file)]
    noun = "file" if len(files) == 1 else "files"
    sys.stdout.write(f"contract guard: {len(files)} {noun} read, {len(findings)} findings\n")
    for finding in findings:
        shown = os.path.relpath(finding.path)
        sys.stdout.write(f"  {shown}:{finding.line}: {finding.problem}\n")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
