"""What tells one thing from another: workflows by their content, effects by what is meant.

The same effect has the same key in each try and after a crash; another workflow, task, tool or
input has another one, and so has an effect that is brought about again after it was undone.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

__all__ = ["canonical", "digest", "effect_key"]

_encode = msgspec.json.Encoder(order="sorted").encode


def canonical(value: Any) -> bytes:
    """Return JSON with sorted keys and no blanks; lists stay in their order."""
    return _encode(value)


def digest(value: Any) -> str:
    """Return the SHA-256 of the canonical JSON, in hex."""
    return hashlib.sha256(_encode(value)).hexdigest()


def effect_key(
    workflow_id: str, epoch: int, task_id: str, step: str, tool: str, generation: int, inputs: str
) -> str:
    """Return the key of one effect; `inputs` is the digest of what the tool is given."""
    return digest([workflow_id, epoch, task_id, step, tool, generation, inputs])
