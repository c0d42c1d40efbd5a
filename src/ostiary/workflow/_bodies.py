"""What is sent: bodies and queries, checked so that nothing leaves that cannot be meant.

Absent optional values are left out, never sent as null. Neighbour: `_routes.py`, for where.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final, TypeVar, cast
from uuid import uuid4

import msgspec

from .. import errors as shared
from .._calls.given import Checks, given, members, still
from .._model import instants
from .._route import encode_json
from ..errors import adopt
from .errors import FAMILY, InvalidArgumentError
from .graph import Graph
from .models import Model, WorkflowSpec, accept, wire

__all__ = [
    "batch",
    "given",
    "mapping",
    "members",
    "moment",
    "optional_text",
    "page",
    "report",
    "sealed",
    "still",
    "tags",
    "text",
    "whole",
    "workflow",
]

M = TypeVar("M", bound=Model)

_MOST_PER_PAGE: Final = 1000
_MOST_PER_BATCH: Final = 1000

_checks: Final = Checks(InvalidArgumentError)
text, optional_text, whole = _checks.text, _checks.optional_text, _checks.whole


def sealed(what: str, value: object) -> msgspec.Raw:
    """Return a body as JSON; what JSON has no word for is refused, NaN and infinities too."""
    try:
        encoded = encode_json(value, what)
    except shared.InvalidArgumentError as error:
        raise adopt(error, FAMILY) from None
    # They are encoded as null, which is rare in what is sent otherwise.
    if b"null" in encoded and (place := _not_finite(value)) is not None:
        raise InvalidArgumentError(
            f"{what}{place} is no finite number, and JSON has no other; nothing was sent"
        )
    return msgspec.Raw(encoded)


def _not_finite(value: object) -> str | None:
    """Return where a NaN or an infinity is; looks without recursion at what callers made."""
    left: list[tuple[str, object]] = [("", value)]
    while left:
        place, one = left.pop()
        if isinstance(one, float):
            if not math.isfinite(one):
                return place
        elif isinstance(one, Mapping):
            items = cast("Mapping[object, object]", one).items()
            left.extend((f"{place}.{name}", inner) for name, inner in items)
        elif isinstance(one, (list, tuple, set, frozenset)):
            listed = cast("Iterable[object]", one)
            left.extend((f"{place}[{at}]", inner) for at, inner in enumerate(listed))
    return None


def workflow(value: WorkflowSpec | Mapping[str, Any], *, check: bool) -> dict[str, Any]:
    """Return a workflow as it is sent: what tasks say they depend on is in `dependencies`."""
    made = accept(WorkflowSpec, value, name="workflow")
    if check:
        Graph(made)
    sent: dict[str, Any] = wire(made)
    if any(task.depends_on for task in made.tasks):
        merged = {name: list(ids) for name, ids in made.dependencies.items()}
        for task in made.tasks:
            before = merged.setdefault(task.id, [])
            before.extend(one for one in task.depends_on or () if one not in before)
        sent["dependencies"] = merged
    for task in sent["tasks"]:
        task.pop("depends_on", None)
    return sent


def report(model: type[M], name: str, value: M | Mapping[str, Any]) -> Any:
    """Return an event, metric or span as it is sent: with an id, by which it counts once."""
    sent = given(model, name, value)
    if sent.get("id") is None:
        sent["id"] = uuid4().hex
    return sent


def batch(name: str, model: type[M], values: Iterable[M | Mapping[str, Any]] | None) -> list[Any]:
    """Return the reports of a batch that are of one kind."""
    if values is None:
        return []
    if isinstance(values, (str, bytes, Mapping)):
        raise InvalidArgumentError(f"{name} is a list of {model.__name__}; nothing was sent")
    found = [report(model, f"{name}[{at}]", one) for at, one in enumerate(values)]
    if len(found) > _MOST_PER_BATCH:
        raise InvalidArgumentError(
            f"{name} are {len(found)}, and a batch has at most {_MOST_PER_BATCH}; send several, "
            "or use a TelemetryPipeline"
        )
    return found


def moment(name: str, value: object) -> str | None:
    """Return a time as ISO 8601 text: text as it is given, a datetime with its offset."""
    if value is None:
        return None
    if instants.understood(value) is not None and not isinstance(value, (int, float)):
        return instants.sent(value).isoformat() if isinstance(value, datetime) else str(value)
    raise InvalidArgumentError(f"{name} is a datetime, or a time as ISO 8601 text")


def tags(value: object) -> str | None:
    """Return the tags that are looked for, as one query parameter; None for none."""
    if not value:
        return None
    if isinstance(value, Mapping):
        items = cast("Mapping[object, object]", value).items()
        if all(isinstance(part, str) for pair in items for part in pair):
            return msgspec.json.encode(dict(items)).decode()
    raise InvalidArgumentError("tags is a mapping of text to text; nothing was sent")


def page(limit: int | None, cursor: str | None, **filters: object) -> dict[str, Any]:
    """Return the query of one page; what is None or empty is left out."""
    query: dict[str, Any] = {}
    for name, value in filters.items():
        if value is not None and value != "":
            query[name] = value if isinstance(value, int) else text(name, value)
    if limit is not None:
        query["limit"] = whole("limit", limit, 1, _MOST_PER_PAGE)
    if cursor is not None:
        query["cursor"] = cursor
    return query


def mapping(name: str, value: object) -> dict[str, Any] | None:
    """Return a mapping of names to JSON values, or None."""
    if value is None:
        return None
    if isinstance(value, Mapping):
        return dict(cast("Mapping[str, Any]", value))
    raise InvalidArgumentError(
        f"{name} is a mapping of names to values, not {type(value).__name__}; nothing was sent"
    )
