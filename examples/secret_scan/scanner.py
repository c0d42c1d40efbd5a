"""Find hard-coded credentials in a repository, by the detect-secrets library.

Files are read through `RepositoryInput`, which no link leads out of. A value that was found
stays in a `Secret`; what is handed on is the line with every value in it masked.
"""

from __future__ import annotations

import re
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class
from detect_secrets.core.potential_secret import PotentialSecret
from detect_secrets.core.scan import scan_file
from detect_secrets.plugins.base import BasePlugin, RegexBasedDetector
from detect_secrets.plugins.keyword import DENYLIST, KeywordDetector
from detect_secrets.settings import default_settings

from ostiary import Secret
from ostiary.gateway import RepositoryInput
from ostiary.gateway.errors import InputValidationError
from ostiary.gateway.logging import redact

__all__ = ["Hit", "scan"]

MASK = "<masked>"
LONGEST_FILE = 1024 * 1024
LONGEST_LINE = 300
# Without one of these in a line the library's detector of assignments sees nothing in it, and
# those of random text none without something long in quotes.
KEYWORDS = re.compile("|".join(DENYLIST), re.IGNORECASE)
QUOTED = re.compile(r"""["'][A-Za-z0-9+/=_\\-]{5,}["']""")

_turn = threading.Lock()


@dataclass(frozen=True)
class Hit:
    """One value that looks like a credential. Lines and columns count from 1."""

    path: Path
    line: int
    start_column: int
    end_column: int
    kind: str
    value: Secret
    masked: str
    """Its line, with every value that was found in the file masked."""


def scan(
    repository: RepositoryInput,
    paths: Sequence[Path],
    work_dir: Path,
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[Hit]:
    """Yield what is found, file by file; `stopped` is asked before each.

    The library configures itself for the whole process: one scan at a time, others wait.
    """
    with _turn, default_settings(), tempfile.TemporaryDirectory(dir=work_dir) as staging:
        kinds: Iterable[type[BasePlugin]] = get_mapping_from_secret_type_to_class().values()
        detectors = [kind() for kind in kinds]
        for path in paths:
            if stopped():
                return
            try:
                text = repository.read_text(path, max_bytes=LONGEST_FILE)
            except InputValidationError:
                continue  # it is gone, or has grown too large
            if _suspicious(path, text, detectors):
                yield from _confirmed(path, text, Path(staging))


def _suspicious(path: Path, text: str, detectors: Sequence[BasePlugin]) -> bool:
    """Say whether any detector sees anything, before the library takes a closer look.

    Nearly every file ends here, and a pattern is quicker through a whole file than line by
    line: a line's end is no less to it than a text's. So this may see too much, never too little.
    """
    if path.suffix in {".ini", ".cfg", ".conf", ".yaml", ".yml"}:
        return True  # these the library reads in ways of their own
    for detector in detectors:
        match detector:
            case RegexBasedDetector():
                # The library leaves open whether they are of text; all of them are.
                patterns = cast("Iterable[re.Pattern[str]]", cast("Any", detector).denylist)
                if any(pattern.search(text) for pattern in patterns):
                    return True
            case KeywordDetector():
                if any(_seen_by(detector, path, line) for line in _lines_with(KEYWORDS, text)):
                    return True
            case _:
                if any(_seen_by(detector, path, line) for line in _lines_with(QUOTED, text)):
                    return True
    return False


def _lines_with(pattern: re.Pattern[str], text: str) -> set[str]:
    """Return the lines in which a pattern matches, each once."""
    found: set[str] = set()
    at = 0
    while (match := pattern.search(text, at)) is not None:
        at = text.find("\n", match.end())
        begin = text.rfind("\n", 0, match.start()) + 1
        found.add(text[begin : at if at >= 0 else len(text)])
        if at < 0:
            break
    return found


def _seen_by(detector: BasePlugin, path: Path, line: str) -> bool:
    return bool(detector.analyze_line(filename=str(path), line=line, line_number=1))


def _confirmed(path: Path, text: str, staging: Path) -> Iterator[Hit]:
    """Have the library look at a copy, with all of its filters."""
    copy = staging / "file" / path
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_text(text, "utf-8", newline="")
    try:
        # Sorted, because detectors answer in sets; one value counts once per line.
        found = sorted(scan_file(str(copy)), key=lambda one: (one.line_number, one.type))
    finally:
        copy.unlink()
    lines = text.splitlines()
    values = {one.secret_value for one in found if one.secret_value}
    seen: set[tuple[int, str]] = set()
    for one in found:
        hit = _hit(path, lines, one, values)
        if hit is not None and (one.line_number, one.secret_value or "") not in seen:
            seen.add((one.line_number, one.secret_value or ""))
            yield hit


def _hit(path: Path, lines: Sequence[str], one: PotentialSecret, values: set[str]) -> Hit | None:
    value = one.secret_value
    if not value or not 1 <= one.line_number <= len(lines):
        return None
    line = lines[one.line_number - 1]
    begin = line.find(value)
    return Hit(
        path=path,
        line=one.line_number,
        # Some detectors report what a line means and not what stands in it.
        start_column=begin + 1,
        end_column=begin + 1 + len(value) if begin >= 0 else 0,
        kind=one.type,
        value=Secret(value),
        masked=_masked(line, values),
    )


def _masked(line: str, values: set[str]) -> str:
    # The longest first: one value may be the beginning of another.
    for value in sorted(values, key=len, reverse=True):
        line = line.replace(value, MASK)
    if MASK not in line:
        # It is in there in a form of its own, such as escaped: better nothing than that.
        line = MASK
    return redact(line.strip())[:LONGEST_LINE]
