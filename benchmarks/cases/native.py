"""The floors in C, run like any other case."""

from __future__ import annotations

import json
import subprocess

from ..sample import Sample, Work


def run(work: Work, tool: str, *words: object) -> Sample:
    """Run one of the compiled programs; it prints its own times."""
    done = subprocess.run(
        [work.tools[tool], *map(str, words)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{tool} ended with {done.returncode}: {done.stderr.strip()}")
    found = json.loads(done.stdout)
    return Sample(found["cpu"], found["wall"])
