"""Whether what a principal was granted covers what an action takes.

Action and resource are compared as they are: no wildcard. An intent or a zone that one side
leaves out is no obstacle; a zone nobody knows is above every zone as a demand, and below every
zone as a grant. What a grant makes a condition must hold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from ....workflow.enums import DataZone
from ....workflow.models import Permission

__all__ = ["Missing", "missing_permissions"]

_RANK: Final = {zone: rank for rank, zone in enumerate(DataZone)}

# (the permission that is missing, why the nearest grant does not do)
Missing = tuple[Permission, str]


def missing_permissions(
    required: Sequence[Permission],
    granted: Sequence[Permission],
    facts: Mapping[str, Any] | None = None,
) -> list[Missing]:
    """Return each required permission that no grant covers, and why.

    `facts` are what the conditions of grants are compared with, by name.
    """
    found: list[Missing] = []
    for wanted in required:
        reasons = [_problem(wanted, grant, facts or {}) for grant in granted]
        if None in reasons:
            continue
        near = [reason for reason in reasons if reason]
        found.append((wanted, near[0] if near else "it was never granted"))
    return found


def _problem(wanted: Permission, grant: Permission, facts: Mapping[str, Any]) -> str | None:
    """Return why a grant does not cover a permission: None if it does, "" for another thing."""
    if (grant.action, grant.resource) != (wanted.action, wanted.resource):
        return ""
    if wanted.intent is not None and grant.intent is not None and wanted.intent != grant.intent:
        return f"it was granted with the intent {grant.intent}, not {wanted.intent}"
    if wanted.data_zone is not None and grant.data_zone is not None:
        needed = _RANK.get(wanted.data_zone, len(_RANK))
        if _RANK.get(grant.data_zone, -1) < needed:
            return f"it was granted up to the zone {grant.data_zone}, below {wanted.data_zone}"
    known = {**facts, **(wanted.conditions or {})}
    for name, value in (grant.conditions or {}).items():
        if name not in known or known[name] != value:
            return f"it was granted on the condition {name!r}, which does not hold"
    return None
