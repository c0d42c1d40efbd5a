"""What a run is made on and with: the machine, the library and its peers."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path

from .rounds import ROOT, cores

_OURS = ("ostiary", "msgspec", "h11", "uvloop")
_PEERS = {
    "bench": "",
    "peers": "litellm",
    "peers-symbiont": "symbiont",
    "peers-symbiont-new": "symbiont-new",
}
"""Dependency groups, and the environment within ours that each of them lives in."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Where the figures come from."""

    python: str
    system: str
    kernel: str
    processor: str
    cores: int
    server_core: int | None
    client_core: int | None
    load: float
    """The load average as the run began."""
    versions: dict[str, str]
    peers: dict[str, str]
    """The versions of the peers that are installed; those of one name by a comma."""


def machine() -> Machine:
    """Look at where this process runs."""
    where = cores()
    return Machine(
        python=f"{platform.python_implementation()} {platform.python_version()}",
        system=f"{platform.system()} {platform.machine()}",
        kernel=platform.release().partition("-")[0],
        processor=_processor(),
        cores=os.cpu_count() or 1,
        server_core=where.server,
        client_core=where.client,
        load=round(os.getloadavg()[0], 2),
        versions=_installed(_OURS, ""),
        peers=_peers(),
    )


def commit(tree: Path) -> str:
    """Return the commit a tree stands on, with a + when it has changes; empty if it is none."""
    command = [
        "git",
        "-C",
        str(tree),
        "describe",
        "--always",
        "--abbrev=12",
        "--exclude=*",
        "--dirty=+",
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip()


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"


def _installed(names: tuple[str, ...], environment: str) -> dict[str, str]:
    """Return the versions of those that are installed, in ours or in an environment within it."""
    if not environment:
        found = importlib.metadata.distributions()
    else:
        library = ROOT / ".venv" / environment / "lib"
        found = importlib.metadata.distributions(
            path=[str(path) for path in library.glob("python*/site-packages")]
        )
    versions = {one.name.lower().replace("_", "-"): one.version for one in found}
    return {name: versions[name] for name in names if name in versions}


def _peers() -> dict[str, str]:
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))[
        "dependency-groups"
    ]
    peers: dict[str, str] = {}
    for group, environment in _PEERS.items():
        # Only what is pinned is a peer.
        pins = [one for one in groups[group] if isinstance(one, str) and "==" in one]
        names = tuple(re.split(r"[\[=]", pin)[0] for pin in pins)
        for name, version in _installed(names, environment).items():
            known = peers.get(name)
            peers[name] = version if known in {None, version} else f"{known}, {version}"
    return dict(sorted(peers.items()))
