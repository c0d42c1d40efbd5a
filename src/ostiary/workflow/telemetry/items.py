"""What waits to be sent: JSON that was made when it was reported, so that it cannot change."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import count
from typing import Final, Literal, NamedTuple, final

import msgspec

from .. import _bodies as bodies
from ..errors import InvalidArgumentError
from ..models import Metric, Span, TelemetryEvent, wire

__all__ = ["KINDS", "LARGEST", "Ids", "Item", "Kind", "body_of", "now", "packed", "size_of"]

Kind = Literal["events", "metrics", "spans"]
KINDS: Final[tuple[Kind, ...]] = ("events", "metrics", "spans")

LARGEST: Final = 256 * 1024
"""The most bytes that one of them may have."""

_NAMES: Final = {"events": "the event", "metrics": "the metric", "spans": "the span"}


class Item(NamedTuple):
    """One report: its kind, and its JSON."""

    kind: Kind
    data: bytes


@final
class Ids:
    """Ids that no other process makes; a counter behind chance is cheaper than chance alone."""

    __slots__ = ("_count", "_prefix")

    def __init__(self) -> None:
        self._prefix = os.urandom(12).hex()
        self._count = count(1)

    def next(self) -> str:
        """Return an id of 32 hexadecimal digits."""
        return f"{self._prefix}{next(self._count):08x}"


def packed(kind: Kind, value: TelemetryEvent | Metric | Span, ids: Ids) -> Item:
    """Return a report as it is sent, with an id; `InvalidArgumentError` when it cannot be."""
    sent = wire(value)
    if sent.get("id") is None:
        sent["id"] = ids.next()
    data = bytes(bodies.sealed(_NAMES[kind], sent))
    if len(data) > LARGEST:
        raise InvalidArgumentError(
            f"{_NAMES[kind]} has {len(data)} bytes as JSON, and {LARGEST} is the most; "
            "report less of it"
        )
    return Item(kind, data)


def size_of(items: Iterable[Item]) -> int:
    """Return how many bytes they have."""
    return sum(len(one.data) for one in items)


def body_of(items: Iterable[Item]) -> msgspec.Raw:
    """Return the body of a batch: each kind in the order it was reported in."""
    parts: dict[str, list[bytes]] = {}
    for one in items:
        parts.setdefault(one.kind, []).append(one.data)
    members = (b'"%s":[%s]' % (name.encode(), b",".join(all_)) for name, all_ in parts.items())
    return msgspec.Raw(b"{%s}" % b",".join(members))


def now() -> str:
    """Return the time in UTC as the guide's server writes it, to the microsecond."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
