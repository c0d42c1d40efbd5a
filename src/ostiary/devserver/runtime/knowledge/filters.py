"""What a search is limited to, as SQL over the table of items; values are always bound.

Neighbours: `endpoints` reads it from requests, `vectors` runs it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, cast, final

from ...http.reading import invalid

__all__ = ["SOURCE_TYPES", "Filter", "timestamp"]

SOURCE_TYPES: Final = ("document", "code", "api_reference", "conversation")
_NAME: Final = re.compile(r"[A-Za-z_][\w.-]{0,63}", re.ASCII)
_COLUMNS: Final = frozenset({"agent_id", "source", "source_type", "timestamp"})
_MOST: Final = 32
_VALUES: Final = 256


@final
class Filter:
    """Conditions that all hold; without any, everything fits."""

    def __init__(self) -> None:
        self._terms: list[str] = []
        self.values: list[object] = []

    @property
    def sql(self) -> str:
        return " AND ".join(self._terms) or "1"

    def __bool__(self) -> bool:
        return bool(self._terms)

    def agent(self, agent_id: str | None) -> None:
        """Keep what an agent owns and what nobody does; None keeps everybody's."""
        if agent_id is not None:
            self._add("(agent_id IS NULL OR agent_id = ?)", agent_id)

    def kinds(self, source_types: Sequence[str]) -> None:
        """Keep items of some source types; an empty list keeps all."""
        for one in source_types:
            check_kind(one)
        if source_types:
            self._any("source_type", source_types)

    def without(self, source_type: str) -> None:
        """Leave items of a source type out."""
        self._add("source_type <> ?", source_type)

    def same(self, column: str, value: str | None) -> None:
        """Keep items with this value in a column; None keeps all."""
        if value is not None:
            assert column in _COLUMNS
            self._add(f"{column} = ?", value)

    def prefix(self, start: str) -> None:
        """Keep items whose id begins like this and goes on with a number."""
        self._add("substr(id, 1, ?) = ?", len(start))
        self.values.append(start)
        self._add("NOT substr(id, ?) GLOB '*[^0-9]*'", len(start) + 1)

    def metadata(self, wanted: Mapping[str, Any]) -> None:
        """Keep items whose metadata has a value, one of a list, or one in `{"from", "to"}`."""
        if len(wanted) > _MOST:
            raise invalid("filters", f"at most {_MOST} filters are taken")
        for name, value in wanted.items():
            field = f"filters.{name}"
            if not _NAME.fullmatch(name):
                raise invalid(
                    "filters",
                    "a filter is named like a member of the metadata: letters, digits, dots, "
                    "dashes and underscores",
                )
            column = name if name in _COLUMNS else f"json_extract(metadata, '$.\"{name}\"')"
            if isinstance(value, dict):
                self._range(column, field, cast("dict[str, object]", value))
            elif isinstance(value, list):
                values = cast("list[object]", value)
                if not values or len(values) > _VALUES:
                    raise invalid(field, f"a list has 1 to {_VALUES} values")
                self._any(column, [_bound(name, field, one) for one in values])
            elif value is None:
                self._terms.append(f"{column} IS NULL")
            else:
                self._add(f"{column} = ?", _bound(name, field, value))

    def _range(self, column: str, field: str, given: Mapping[str, object]) -> None:
        if not given or not given.keys() <= {"from", "to"}:
            raise invalid(field, 'a range is {"from": ..., "to": ...}, or one of the two')
        for end, sign in (("from", ">="), ("to", "<")):
            if given.get(end) is not None:
                self._add(f"{column} {sign} ?", _bound(column, field, given[end]))

    def _any(self, column: str, values: Sequence[object]) -> None:
        self._terms.append(f"{column} IN ({', '.join('?' * len(values))})")
        self.values.extend(values)

    def _add(self, term: str, value: object) -> None:
        self._terms.append(term)
        self.values.append(value)


def check_kind(source_type: str) -> None:
    if source_type not in SOURCE_TYPES:
        raise invalid("source_type", f"the source types are {', '.join(SOURCE_TYPES)}")


def timestamp(given: object, field: str) -> str:
    """Return a moment as it is kept: UTC, `Z`, microseconds. Text without an offset is UTC."""
    moment: datetime | None = None
    try:
        if isinstance(given, str):
            moment = datetime.fromisoformat(given)
        elif isinstance(given, int | float) and not isinstance(given, bool):
            moment = datetime.fromtimestamp(given, UTC)
    except (ValueError, OverflowError, OSError):
        pass
    if moment is not None:
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        try:
            return moment.astimezone(UTC).isoformat(timespec="microseconds")[:-6] + "Z"
        except OverflowError:
            pass
    raise invalid(field, "a timestamp is a date and time as in 2026-03-01T10:00:00Z")


def _bound(name: str, field: str, value: object) -> object:
    if name == "timestamp":
        return timestamp(value, field)
    if isinstance(value, str | int | float):
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise invalid(field, "the number does not fit into 64 bits")
        return value
    raise invalid(field, "a filter compares with text, a number, true or false")
