"""Compare the public API with that of the last release, and fail when a promise is broken.

    python -m tools.api [--since REF]

Read statically by griffe, from the sources and the stubs of the compiled modules: names, parameters
and bases, not types. What is public, and what may break when, stands in docs/releases.md: a patch
breaks nothing; below 1.0 a minor version may, from 1.0 on a major one, and what breaks is listed
here either way. Before the first release there is nothing to compare with.
"""

from __future__ import annotations

import argparse
import logging
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import griffe

from . import tag

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "ostiary"


def git(root: Path, *words: str) -> str:
    """Return what a command of git prints; nothing when it fails."""
    done = subprocess.run(
        ["git", "-C", str(root), *words], capture_output=True, text=True, check=False
    )
    return done.stdout.strip()


def last_release(root: Path) -> str | None:
    """Return the newest `v*.*.*` tag among the ancestors of HEAD; None when there is none."""
    return git(root, "describe", "--tags", "--abbrev=0", "--match", "v*.*.*") or None


def numbers(text: str) -> tuple[int, int, int]:
    major, minor, patch = text.removeprefix("v").split(".")
    return int(major), int(minor), int(patch)


def may_break(old: str, new: str) -> bool:
    """Say whether a version may break what an older one promised."""
    before, after = numbers(old), numbers(new)
    return after[0] > before[0] or (before[0] == 0 and after[:2] > before[:2])


def public(package: griffe.Object | griffe.Alias, shown: Iterable[str]) -> set[str]:
    """Return the paths of what is public, and of what that inherits from; of a class with a dot.

    `shown` are the names in the reference. Beside them it is what the package and the modules
    next below it offer, but for `cli`, whose commands are what is public.
    """
    found: set[str] = set()
    near = [one for name, one in package.modules.items() if one.is_public and name != "cli"]
    waiting = [package, *near]
    for name in shown:
        try:
            waiting.append(package[name.removeprefix(f"{PACKAGE}.")])
        except KeyError:
            pass  # gone, or new
    while waiting:
        one = waiting.pop()
        if one.path in found:
            continue
        found.add(one.path)
        if isinstance(one, griffe.Alias):
            try:
                waiting.append(one.final_target)
            except griffe.AliasResolutionError:
                pass  # a name of another package
        elif one.is_module:
            waiting += [each for each in one.members.values() if _offered(each)]
        elif isinstance(one, griffe.Class):
            found.add(f"{one.path}.")
            waiting += one.resolved_bases
    return found


def _offered(member: griffe.Object | griffe.Alias) -> bool:
    return member.is_public and (member.is_alias or not member.is_module)


def breakages(ref: str, root: Path) -> list[str]:
    """Return a line for each break of the API since a commit, sorted."""
    old = griffe.load_git(PACKAGE, ref=ref, repo=root, search_paths=["src"])
    new = griffe.load(PACKAGE, search_paths=[root / "src"])
    lines = git(root, "grep", "-h", "^::: ", ref, "--", "docs/reference").splitlines()
    shown = [line.split()[1] for line in lines]
    # What has changed is shown as it is now, what is gone as it was.
    known = public(old, shown) | public(new, shown)
    inside = tuple(path for path in known if path.endswith("."))
    return sorted(
        re.sub(r"\x1b\[\d*m", "", breakage.explain(griffe.ExplanationStyle.ONE_LINE))
        for breakage in griffe.find_breaking_changes(old, new)
        if breakage.obj.path in known or breakage.obj.path.startswith(inside)
    )


def main(words: Sequence[str] | None = None, root: Path = ROOT) -> int:
    parser = argparse.ArgumentParser(prog="tools/api.py", description="Compare the public API.")
    parser.add_argument("--since", metavar="REF", help="in place of the last release")
    options = parser.parse_args(words)
    # It reports what it cannot resolve: names of packages that it does not load.
    logging.getLogger("griffe").setLevel(logging.CRITICAL)
    since = options.since or last_release(root)
    if since is None:
        print("api: nothing is released yet, so nothing is promised")
        return 0
    found = breakages(since, root)
    for line in found:
        print(line)
    print(f"api: {len(found)} breaking since {since}")
    if not found:
        return 0
    if since.startswith("v") and may_break(since, tag.version(root)):
        print(f"api: {tag.version(root)} may break them; name each in CHANGELOG.md")
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
