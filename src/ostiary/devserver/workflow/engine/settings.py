"""What a workflow's context asks of the engine, beside being data for tools.

concurrency         tasks at a time, 1 if absent
approval_wait_ms    how long a task waits for a person before it fails
deadline_ms         how long the whole run may take
gates               by task id, or "*" for every task: the gate that judges its result
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any, Final, cast

import msgspec

from ....errors import InvalidArgumentError
from ....workflow.models import GateConfig, accept
from ...http.refusals import HttpRefusal

__all__ = ["MOST_AT_ONCE", "Settings", "read_settings", "refused"]

MOST_AT_ONCE: Final = 256


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The same, checked. Times are seconds."""

    concurrency: int = 1
    approval_wait: float = 0.0
    deadline: float | None = None
    gates: Mapping[str, GateConfig] = {}


def read_settings(context: Mapping[str, Any], tasks: Container[str]) -> Settings:
    """Return what a context asks for; refuses what cannot be meant, by its path."""
    problems: list[tuple[str, str]] = []
    concurrency = context.get("concurrency")
    if concurrency is None:
        concurrency = 1
    elif type(concurrency) is not int or not 1 <= concurrency <= MOST_AT_ONCE:
        problems.append(("context.concurrency", f"is a number from 1 to {MOST_AT_ONCE}"))
    wait = _milliseconds(context, "approval_wait_ms", problems)
    deadline = _milliseconds(context, "deadline_ms", problems)
    if deadline == 0:
        problems.append(("context.deadline_ms", "is more than 0"))
    gates = _gates(context.get("gates"), tasks, problems)
    if problems:
        raise refused(problems)
    return Settings(
        concurrency=concurrency, approval_wait=wait or 0.0, deadline=deadline, gates=gates
    )


def _milliseconds(
    context: Mapping[str, Any], name: str, problems: list[tuple[str, str]]
) -> float | None:
    value = context.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 2**53:
        problems.append((f"context.{name}", "is a number of milliseconds"))
        return None
    return value / 1000


def _gates(
    given: Any, tasks: Container[str], problems: list[tuple[str, str]]
) -> dict[str, GateConfig]:
    gates: dict[str, GateConfig] = {}
    if given is None:
        return gates
    if not isinstance(given, Mapping):
        problems.append(("context.gates", "maps ids of tasks, or *, to gates"))
        return gates
    for name, raw in cast("Mapping[str, Any]", given).items():
        path = f"context.gates.{name}"
        if name != "*" and name not in tasks:
            problems.append((path, "is no task of this workflow"))
            continue
        try:
            gates[name] = accept(GateConfig, raw, name=path)
        except InvalidArgumentError as error:
            found = error.problems or (("", str(error)),)
            problems.extend((f"{path}.{at}".rstrip("."), what) for at, what in found)
            continue
        strategy = gates[name].recovery_strategy
        if strategy is not None and gates[name].recovery is None:
            # A gate that cannot be passed as it says must not look as if it could.
            problems.append((f"{path}.recovery_strategy", "is none of the four strategies"))
    return gates


def refused(problems: list[tuple[str, str]]) -> HttpRefusal:
    """Return the refusal that names every problem."""
    return HttpRefusal(
        422,
        "VALIDATION_ERROR",
        "; ".join(f"{path} {what}" for path, what in problems[:20]),
        details={"errors": [{"path": path, "message": what} for path, what in problems]},
    )
