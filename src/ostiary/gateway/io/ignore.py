"""What .gitignore files leave out, by git's own rules.

Reads no file: `RepositoryInput` hands in the lines. Matching takes time in proportion to the
pattern and the path, whatever a hostile repository writes into its patterns.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

__all__ = ["Ignore"]

# Nobody writes longer ones, and a file of them must not be a way to use up memory.
_LONGEST_PATTERN: Final = 4096
_MOST_PATTERNS: Final = 10_000

_POSIX: Final = {
    "alnum": "A-Za-z0-9",
    "alpha": "A-Za-z",
    "blank": " \\t",
    "cntrl": "\\x00-\\x1f\\x7f",
    "digit": "0-9",
    "graph": "\\x21-\\x7e",
    "lower": "a-z",
    "print": "\\x20-\\x7e",
    "punct": "\\x21-\\x2f\\x3a-\\x40\\x5b-\\x60\\x7b-\\x7e",
    "space": " \\t\\n\\r\\f\\v",
    "upper": "A-Z",
    "xdigit": "0-9A-Fa-f",
}


class _Rule(NamedTuple):
    """One line: its path segments, None for `**`."""

    segments: tuple[re.Pattern[str] | None, ...]
    anchored: bool
    directories_only: bool
    negated: bool


class Ignore:
    """The patterns of one .gitignore file, and of those in the directories above it.

    `base` is the directory the file lies in, as path segments from the root.
    """

    def __init__(
        self, lines: Iterable[str], base: Sequence[str] = (), above: Ignore | None = None
    ) -> None:
        self._base = len(base)
        self._above = above
        self._rules = tuple(_rules(lines))

    def __call__(self, path: Sequence[str], *, directory: bool) -> bool:
        """Return whether a path, as segments from the root, is ignored.

        Directories above it are not looked at: whoever walks does not enter ignored ones.
        """
        octets = [_octets(name) for name in path]
        # The nearest file has the last word; only where it is silent do those above count.
        # A loop: directories may be nested deeper than calls.
        here: Ignore | None = self
        while here is not None:
            if (found := here._decision(octets[here._base :], directory)) is not None:
                return found
            here = here._above
        return False

    def _decision(self, path: Sequence[str], directory: bool) -> bool | None:
        for rule in reversed(self._rules):
            if rule.directories_only and not directory:
                continue
            if _matches(rule.segments, path if rule.anchored else path[-1:]):
                return not rule.negated
        return None


def _rules(lines: Iterable[str]) -> Iterator[_Rule]:
    for number, given in enumerate(lines):
        if number >= _MOST_PATTERNS:
            return
        line = _trimmed(_octets(given.rstrip("\r\n")))
        if not line or line.startswith("#") or len(line) > _LONGEST_PATTERN:
            continue
        negated = line.startswith("!")
        if negated:
            line = line[1:]
        directories_only = line.endswith("/")
        if directories_only:
            line = line[:-1]
        # A slash anywhere but at the end ties a pattern to the file's own directory.
        anchored = "/" in line
        names = _split(line.removeprefix("/"))
        if not line or line == "/" or names is None:
            continue
        # More than two asterisks are two.
        names = ["**" if len(name) > 1 and not name.strip("*") else name for name in names]
        if not anchored and names == ["**"]:
            names = ["*"]
        segments: list[re.Pattern[str] | None] = []
        for name in names:
            if name == "**" and anchored:
                if not segments or segments[-1] is not None:
                    segments.append(None)
                continue
            compiled = _segment(name)
            if compiled is None:
                break
            segments.append(compiled)
        else:
            if segments and segments[-1] is None:
                # `a/**` is what is in a, and not a itself.
                segments.append(_ANYTHING)
            yield _Rule(tuple(segments), anchored, directories_only, negated)


def _octets(text: str) -> str:
    """Return text with a character for each byte, which is what git compares."""
    return os.fsencode(text).decode("latin-1")


def _split(pattern: str) -> list[str] | None:
    """Split at the slashes that separate; None when the pattern can match nothing."""
    names = [""]
    at = 0
    while at < len(pattern):
        end = at + 1
        if pattern[at] == "[":
            # A slash between brackets separates nothing, and matches nothing either.
            found = _bracket(pattern, end)
            if found is None:
                return None
            end = found[1]
        elif pattern[at] == "\\" and pattern[end : end + 1] != "/":
            end += 1
        elif pattern[at] == "\\":
            at = end
            end += 1
        if pattern[at:end] == "/":
            names.append("")
        else:
            names[-1] += pattern[at:end]
        at = end
    return names


def _trimmed(line: str) -> str:
    """Drop blanks at the end, but for one that a backslash keeps."""
    end = len(line)
    while end and line[end - 1] == " ":
        slashes = end - 1 - len(line[: end - 1].rstrip("\\"))
        if slashes % 2:
            break
        end -= 1
    return line[:end]


_ANYTHING: Final = re.compile(r"[^/]+")


def _segment(text: str) -> re.Pattern[str] | None:
    """Translate one path segment; None when git would never match it."""
    pieces: list[str] = [""]  # what stands between the stars
    at = 0
    while at < len(text):
        letter = text[at]
        at += 1
        if letter == "*":
            if len(pieces) == 1 or pieces[-1]:
                pieces.append("")
        elif letter == "?":
            pieces[-1] += "[^/]"
        elif letter == "\\":
            if at == len(text):
                return None
            pieces[-1] += re.escape(text[at])
            at += 1
        elif letter == "[":
            found = _bracket(text, at)
            if found is None:
                return None
            piece, at = found
            pieces[-1] += piece
        else:
            pieces[-1] += re.escape(letter)
    first, *rest = pieces
    if not rest:
        return re.compile(first, re.DOTALL)
    # Atomic: between stars the first place that fits is as good as any later one, so nothing
    # is ever tried twice.
    *middle, last = rest
    inner = "".join(f"(?>.*?{piece})" for piece in middle)
    return re.compile(f"{first}{inner}.*{last}", re.DOTALL)


def _bracket(text: str, at: int) -> tuple[str, int] | None:
    """Translate `[...]` from behind its opening; None when it has no end."""
    negated = at < len(text) and text[at] in "!^"
    if negated:
        at += 1
    members = ""
    first = True
    while True:
        if at >= len(text):
            return None
        letter = text[at]
        if letter == "]" and not first:
            break
        first = False
        if letter == "[" and text[at + 1 : at + 2] == ":":
            end = text.find("]", at + 2)
            if end < 0:
                return None
            if text[end - 1] == ":" and end - 1 > at + 1:
                name = text[at + 2 : end - 1]
                if name not in _POSIX:
                    return None
                members += _POSIX[name]
                at = end + 1
                continue
            members += re.escape("[")
            at += 1
            continue
        low, at = _letter(text, at)
        if low is None:
            return None
        if text[at : at + 1] == "-" and text[at + 1 : at + 2] not in {"", "]"}:
            high, at = _letter(text, at + 1)
            if high is None:
                return None
            if low <= high:
                members += f"{re.escape(low)}-{re.escape(high)}"
        else:
            members += re.escape(low)
    if not members:
        # Only ranges that hold nothing.
        return ("[^/]" if negated else r"(?!)"), at + 1
    return f"(?!/)[{'^' if negated else ''}{members}]", at + 1


def _letter(text: str, at: int) -> tuple[str | None, int]:
    if text[at] == "\\":
        at += 1
        if at >= len(text):
            return None, at
    return text[at], at + 1


def _matches(segments: Sequence[re.Pattern[str] | None], path: Sequence[str]) -> bool:
    """Match path segments against a pattern's, `**` standing for any number of them.

    The star's place that was tried last is the only one ever gone back to.
    """
    at = position = 0
    star = -1  # where in the path the last `**` began to stand for something
    back = 0
    while at < len(path):
        if position < len(segments):
            segment = segments[position]
            if segment is None:
                position += 1
                star, back = at, position
                continue
            if segment.fullmatch(path[at]):
                at += 1
                position += 1
                continue
        if star < 0:
            return False
        star += 1
        at, position = star, back
    return all(segment is None for segment in segments[position:])
