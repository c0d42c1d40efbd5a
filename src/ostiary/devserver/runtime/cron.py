"""Times written as cron writes them, and the next of them in a time zone.

Five fields (minute, hour, day, month, weekday), six with seconds before them, or seven with
years behind. Decisions only: no clock. Neighbour: `schedules`.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Final, final

from ...errors import InvalidArgumentError

__all__ = ["Cron"]

_MONTHS: Final = tuple("jan feb mar apr may jun jul aug sep oct nov dec".split(" "))  # noqa: SIM905
_DAYS: Final = tuple("sun mon tue wed thu fri sat".split(" "))  # noqa: SIM905
_NICKNAMES: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_PART: Final = re.compile(
    r"(?:(?P<any>[*?])|(?P<first>\w+)(?:-(?P<last>\w+))?)(?:/(?P<step>[0-9]{1,4}))?", re.ASCII
)
# The longest way to a date that does come: from one 29 February over 2100 to the next.
_YEARS: Final = 8
_AROUND: Final = timedelta(hours=3)  # no clock is moved by more


@final
class Cron:
    """One expression. A day that is restricted by date and by weekday fits when either does.

    Raises `InvalidArgumentError`, which names the field that cannot be read.
    """

    def __init__(self, expression: str) -> None:
        self.expression = expression
        text = _NICKNAMES.get(expression.strip().lower(), expression)
        fields = text.lower().split()
        if len(fields) not in {5, 6, 7}:
            raise InvalidArgumentError(
                f"{expression!r} is no cron expression; it has five fields (minute, hour, day, "
                "month, weekday), or six with seconds first"
            )
        if len(fields) == 5:
            fields.insert(0, "0")
        self._seconds = _field("second", fields[0], 0, 59)
        self._minutes = _field("minute", fields[1], 0, 59)
        self._hours = _field("hour", fields[2], 0, 23)
        self._days = frozenset(_field("day", fields[3], 1, 31))
        self._months = frozenset(_field("month", fields[4], 1, 12, _MONTHS))
        weekdays = _field("weekday", fields[5], 0, 7, _DAYS)
        self._weekdays = frozenset(day % 7 for day in weekdays)
        self._years: frozenset[int] | None = None
        if len(fields) == 7 and fields[6] not in {"*", "?"}:
            self._years = frozenset(_field("year", fields[6], 1970, 2199))
        self._any_day = fields[3][0] in "*?"
        self._any_weekday = fields[5][0] in "*?"
        # Such a time is meant once a day; others go by the time that passes.
        self._fixed = fields[2][0] not in "*?"

    def after(self, moment: datetime, zone: tzinfo) -> datetime | None:
        """Return the first time after an aware `moment`, in UTC; None when there is none.

        When clocks are put back, fixed hours come once, at the first of the two; when they are
        put forward, a time that is left out comes at the moment of the change. Expressions for
        every hour go by the time that passes.
        """
        here = moment.astimezone(zone)
        changing = (moment - _AROUND).astimezone(zone).utcoffset() != (moment + _AROUND).astimezone(
            zone
        ).utcoffset()
        start = here.replace(tzinfo=None, microsecond=0)
        until = start + _AROUND
        if changing:
            start -= _AROUND
        best: datetime | None = None
        for naive in self._local(start):
            for found in self._moments(naive, zone):
                if found > moment and (best is None or found < best):
                    best = found
            # Close to a change, a later time on the wall may be the earlier one.
            if best is not None and (not changing or naive > until):
                break
        return best

    def _local(self, start: datetime) -> Iterator[datetime]:
        """Yield the fitting times on the wall, from `start` on."""
        day = start.date()
        last = min(day.year + _YEARS, 9998)
        while day.year <= last:
            if day.month not in self._months:
                day = _next_month(day)
                continue
            if self._fits(day):
                yield from self._times(day, start)
            day += timedelta(days=1)

    def _fits(self, day: date) -> bool:
        if self._years is not None and day.year not in self._years:
            return False
        by_date = day.day in self._days
        by_weekday = day.isoweekday() % 7 in self._weekdays
        if self._any_day or self._any_weekday:
            return by_date and by_weekday
        return by_date or by_weekday

    def _times(self, day: date, start: datetime) -> Iterator[datetime]:
        first = start.time() if day == start.date() else time.min
        for hour in self._hours[bisect_left(self._hours, first.hour) :]:
            for minute in self._minutes:
                if (hour, minute) < (first.hour, first.minute):
                    continue
                for second in self._seconds:
                    at = time(hour, minute, second)
                    if at >= first:
                        yield datetime.combine(day, at)

    def _moments(self, naive: datetime, zone: tzinfo) -> Iterator[datetime]:
        early = naive.replace(tzinfo=zone, fold=0)
        late = naive.replace(tzinfo=zone, fold=1)
        before, behind = early.utcoffset(), late.utcoffset()
        assert before is not None
        assert behind is not None
        if before == behind:
            yield early.astimezone(UTC)
        elif before > behind:  # put back: this time comes twice
            yield early.astimezone(UTC)
            if not self._fixed:
                yield late.astimezone(UTC)
        elif self._fixed:  # put forward: this time does not come
            yield _change(early.astimezone(UTC), zone)


def _change(around: datetime, zone: tzinfo) -> datetime:
    """Return the moment, to the second, at which the offset changes near another."""
    first, last = around - _AROUND, around + _AROUND
    old = first.astimezone(zone).utcoffset()
    while last - first > timedelta(seconds=1):
        middle = first + (last - first) // 2
        if middle.astimezone(zone).utcoffset() == old:
            first = middle
        else:
            last = middle
    # Between two neighbours of a whole second lies one whole second.
    return last.replace(microsecond=0)


def _next_month(day: date) -> date:
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1)


def _field(what: str, text: str, least: int, most: int, names: tuple[str, ...] = ()) -> list[int]:
    """Return the numbers that a field allows, in order."""
    found: set[int] = set()
    for part in text.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise _wrong(what, text)
        step = int(match["step"] or 1)
        if match["any"]:
            first, last = least, most
            if what == "weekday":
                last = 6  # 7 is another name of 0
        else:
            first = _number(what, text, match["first"], names)
            last = first
            if match["last"] is not None:
                last = _number(what, text, match["last"], names)
            elif match["step"] is not None:
                last = most
        if step < 1 or not least <= first <= most or not least <= last <= most or first > last:
            raise _wrong(what, text)
        found.update(range(first, last + 1, step))
    return sorted(found)


def _number(what: str, field: str, text: str, names: tuple[str, ...]) -> int:
    if text[:3] in names:
        return names.index(text[:3]) + (1 if what == "month" else 0)
    if not text.isdigit() or len(text) > 4:
        raise _wrong(what, field)
    return int(text)


def _wrong(what: str, text: str) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"the {what} of the cron expression, {text!r}, cannot be read; use *, numbers, ranges such "
        "as 1-5, lists such as 1,15 and steps such as */10"
    )
