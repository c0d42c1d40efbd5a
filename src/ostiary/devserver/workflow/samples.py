"""The files and the validator that the guide's examples take for granted.

Neighbour: `server` has them written with `--demo`; what is there already stays.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from ..home import create_private

__all__ = ["BALANCE_POSITIVE", "write"]

BALANCE_POSITIVE: Final[dict[str, Any]] = {
    "type": "statistical_bounds",
    "parameters": {"field": "balance", "min": 0},
}

_INPUT: Final = b"""\
{
  "batch": "batch-001",
  "currency": "USD",
  "records": [
    {"id": 1, "customer": "Ada", "amount": 120.5, "status": "paid"},
    {"id": 2, "customer": "Grace", "amount": 75.25, "status": "open"},
    {"id": 3, "customer": "Edsger", "amount": 310.0, "status": "paid"},
    {"id": 4, "customer": "Barbara", "amount": 42.0, "status": "paid"}
  ]
}
"""
_SCHEMA: Final = b"""\
{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "required": ["batch", "currency", "records"],
  "properties": {
    "batch": {"type": "string", "minLength": 1},
    "currency": {"type": "string", "pattern": "^[A-Z]{3}$"},
    "records": {
      "type": "array",
      "items": {
        "type": "object",
        "required": ["id", "customer", "amount", "status"],
        "properties": {
          "id": {"type": "integer"},
          "customer": {"type": "string"},
          "amount": {"type": "number", "minimum": 0},
          "status": {"enum": ["paid", "open"]}
        }
      }
    }
  }
}
"""
_TRANSFORM: Final = b"""\
{
  batch: batch,
  currency: currency,
  count: length(records),
  paid: sum(records[?status == 'paid'].amount),
  open: records[?status == 'open'].customer
}
"""


def write(files: Path) -> None:
    """Write the sample files that are missing."""
    for name, content in (
        ("input.json", _INPUT),
        ("schema.json", _SCHEMA),
        ("transform.jmespath", _TRANSFORM),
    ):
        create_private(files / name, content)
