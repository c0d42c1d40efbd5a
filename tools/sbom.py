"""Write what a wheel brings along, and what built it, as two CycloneDX documents in dist/.

    python -m tools.sbom

The wheel of this Python that `make wheel` left in dist/ is installed into an empty environment,
without extras; the build's requirements into another. What is listed is what the installer chose
today: a wheel states ranges.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from . import tag, wheels


def environment(folder: Path, *install: str | Path) -> Path:
    """Make an environment with what is named; return its Python."""
    python = wheels.venv(sys.executable, folder)
    wheels.pip(python, "install", *install)
    return python


def group(name: str) -> tuple[str, str]:
    return "--group", f"{wheels.ROOT / 'pyproject.toml'}:{name}"


def document(name: str, writer: Path, python: Path) -> None:
    """Write what is in an environment."""
    wheels.run(
        # What it warns of is completed below.
        *(writer, "-W", "ignore", "-m", "cyclonedx_py", "environment", python),
        *("--pyproject", wheels.ROOT / "pyproject.toml", "--mc-type", "library"),
        *("--output-reproducible", "--of", "JSON", "-o", wheels.DIST / name),
    )
    # A reader of pyproject.toml sees no version, which the build finds out, and in a build's
    # requirements nothing that ostiary depends on.
    path = wheels.DIST / name
    written = json.loads(path.read_text("utf-8"))
    ours = written["metadata"]["component"]
    ours["version"] = tag.version(wheels.ROOT)
    graph = {each["ref"]: each for each in written["dependencies"]}
    root = graph.pop(ours["bom-ref"])
    root.setdefault("dependsOn", sorted(graph))
    path.write_text(json.dumps(written, indent=2) + "\n", "utf-8")
    print(f"dist/{name}")


def main() -> int:
    ours = f"-cp{sys.version_info.major}{sys.version_info.minor}-"
    found = [path for path in wheels.DIST.glob("*.whl") if ours in path.name]
    try:
        if len(found) != 1:
            raise wheels.Refused(f"dist/ holds {len(found)} wheels for this Python; make wheel")
        with tempfile.TemporaryDirectory(prefix="ostiary-sbom-") as scratch:
            folder = Path(scratch)
            writer = environment(folder / "writer", *group("sbom"))
            document("ostiary.cdx.json", writer, environment(folder / "runtime", found[0]))
            document(
                "ostiary-build.cdx.json", writer, environment(folder / "build", *group("build"))
            )
    except wheels.Refused as reason:
        print(f"sbom: {reason}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
