"""The floors and the servers, compiled from the C beside this file into build/benchmarks.

A program is named by a hash of its source and of how it was compiled, so a change of either
compiles it anew and nothing else does.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
FLAGS = ("-std=c11", "-O2", "-Wall", "-Wextra")
SOURCES = {
    "framed": HERE / "servers" / "framed.c",
    "frames": HERE / "floors" / "frames.c",
    "lines": HERE / "floors" / "lines.c",
    "pingpong": HERE / "floors" / "pingpong.c",
    "roundtrip": HERE / "floors" / "roundtrip.c",
}
if sys.platform == "linux":
    # These two stand on epoll.
    SOURCES["fanout"] = HERE / "floors" / "fanout.c"
    SOURCES["httpd"] = HERE / "servers" / "httpd.c"


class NoCompiler(Exception):
    """There is no C compiler, or it refused the source."""


def compiler() -> str | None:
    """Return the path of the C compiler: $CC, or cc."""
    return shutil.which(os.environ.get("CC") or "cc")


def compile_one(source: Path, target: Path, *flags: str) -> None:
    """Compile one file; `NoCompiler` carries what the compiler said."""
    cc = compiler()
    if cc is None:
        raise NoCompiler(
            "no C compiler: the floors and the servers of the benchmarks are C; "
            "install one (cc, gcc or clang), or set CC"
        )
    done = subprocess.run(
        [cc, *FLAGS, *flags, "-o", target, source], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise NoCompiler(f"{cc} refused {source.name}:\n{done.stderr}")


def tools(folder: Path | None = None) -> dict[str, str]:
    """Return the path of every program by its name, compiling those that are missing."""
    folder = folder or HERE.parent / "build" / "benchmarks"
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, str] = {}
    for name, source in SOURCES.items():
        recipe = " ".join((compiler() or "", *FLAGS)).encode()
        mark = hashlib.sha256(recipe + b"\0" + source.read_bytes()).hexdigest()[:12]
        target = folder / f"{name}-{mark}"
        if not target.exists():
            # Under another name first: two runs may compile at once.
            fresh = folder / f"{name}-{mark}.{os.getpid()}"
            compile_one(source, fresh)
            fresh.replace(target)
        found[name] = str(target)
    return found
