"""Bodies and queries of the workflow protocol: models checked whole, every problem named.

Neighbours: `http.front` reads the bytes, `ostiary.workflow.models` says what fits.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final, TypeVar, cast

import msgspec
from starlette.requests import Request

from ..._decoders import decode_as
from ..._model import instants
from ...errors import InvalidArgumentError
from ...workflow.models import Model, accept
from ..http.front import read_body
from ..http.refusals import HttpRefusal

__all__ = [
    "bad_query",
    "check",
    "cursor",
    "instant",
    "known",
    "limit",
    "member",
    "model",
    "next_cursor",
    "read_object",
    "refused",
    "seconds",
    "tags",
    "text",
    "zulu",
]

M = TypeVar("M", bound=Model)

_MOST_TOLD: Final = 100
_LONGEST: Final = 10_000
_FIRST: Final = datetime.min.replace(tzinfo=UTC).timestamp()
_LAST: Final = datetime.max.replace(tzinfo=UTC, microsecond=999_000).timestamp()


async def read_object(request: Request, *, empty: bool = False) -> dict[str, Any]:
    """Return the body, a JSON object; no body at all is an empty one if `empty`."""
    body = await read_body(request)
    if empty and not body:
        return {}
    problem = "the body is not JSON; correct it"
    try:
        found: Any = msgspec.json.decode(bytes(body))
    except RecursionError:
        problem = "the body is nested too deeply; send less"
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    else:
        if isinstance(found, dict):
            return cast("dict[str, Any]", found)
        raise refused([("", "is a JSON object")])
    raise HttpRefusal(400, "MALFORMED_JSON", problem)


def model(kind: type[M], value: object, path: str = "") -> M:
    """Return a value as a model; refuses it by the path of everything that is wrong."""
    problems = check(kind, value, path)
    if isinstance(problems, kind):
        return problems
    raise refused(cast("list[tuple[str, str]]", problems))


def check(kind: type[M], value: object, path: str = "") -> M | list[tuple[str, str]]:
    """Return a value as a model, or what is wrong with it."""
    if value is None:
        return [(path, "is required")]
    try:
        return accept(kind, value, name=path)
    except InvalidArgumentError as error:
        found = error.problems or (("", str(error)),)
    except RecursionError:
        found = (("", "is nested too deeply"),)
    return [(".".join(part for part in (path, at) if part), what) for at, what in found]


def refused(problems: Iterable[tuple[str, str]]) -> HttpRefusal:
    """Return the refusal that names what is wrong, each by its path."""
    listed = list(problems)[:_MOST_TOLD]
    return HttpRefusal(
        422,
        "VALIDATION_ERROR",
        "; ".join(f"{path} {what}".strip() for path, what in listed[:20]),
        details={"errors": [{"path": path, "message": what} for path, what in listed]},
    )


def member(body: dict[str, Any], snake: str, camel: str | None = None) -> Any:
    """Return a member of a body, in either spelling; None where it is left out."""
    found = body.get(snake)
    return body.get(camel) if found is None and camel is not None else found


def text(
    body: dict[str, Any], snake: str, camel: str | None = None, *, required: bool = False
) -> str | None:
    """Return a member that is text; None where it may be left out and is."""
    found = member(body, snake, camel)
    if found is None and not required:
        return None
    if not isinstance(found, str) or not found or len(found) > _LONGEST:
        raise refused([(snake, f"is text of 1 to {_LONGEST} characters")])
    return found


# -- queries ----------------------------------------------------------------


def bad_query(name: str, problem: str) -> HttpRefusal:
    """Return the refusal of a part of the query."""
    return HttpRefusal(
        400,
        "BAD_QUERY",
        f"{name} {problem}",
        details={"errors": [{"path": name, "message": problem}]},
    )


def known(request: Request, name: str) -> str | None:
    """Return a part of the query; empty is absent."""
    return request.query_params.get(name) or None


def limit(request: Request, default: int, most: int) -> int:
    """Return how much is asked for."""
    given = known(request, "limit")
    if given is None:
        return default
    if not (given.isascii() and given.isdigit() and len(given) < 9 and int(given) >= 1):
        raise bad_query("limit", f"is a whole number from 1 to {most}")
    return min(int(given), most)


def instant(request: Request, name: str) -> float | None:
    """Return a time of the query as Unix seconds; without an offset it is UTC."""
    given = known(request, name)
    if given is None:
        return None
    # What is not escaped in a query loses its plus sign.
    found = seconds(given) if (moment := seconds(given.replace(" ", "+"))) is None else moment
    if found is None:
        raise bad_query(name, "is a time as ISO 8601 text, such as 2026-03-01T10:00:00Z")
    return found


def seconds(given: str) -> float | None:
    """Return a time as Unix seconds; None where it is none."""
    found = instants.understood(given)
    if found is None:
        return None
    if found.tzinfo is None:
        found = found.replace(tzinfo=UTC)
    # An offset may lead out of the days that there are.
    return min(max(found.timestamp(), _FIRST), _LAST)


def zulu(given: str) -> str:
    """Return a time as it is given out: in UTC, with a Z."""
    if given.endswith("Z") and "T" in given:
        return given
    found = instants.understood(given)
    if found is None:
        return given
    try:
        moment = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except OverflowError:  # the first and the last day that there are
        return given
    return datetime.isoformat(moment).removesuffix("+00:00") + "Z"


def tags(request: Request) -> dict[str, str]:
    """Return the tags of a query: one JSON object of text."""
    given = known(request, "tags")
    if given is None:
        return {}
    try:
        return decode_as(given.encode(), dict[str, str])
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        pass
    raise bad_query("tags", 'is a JSON object of text, such as {"env":"lab"}')


def cursor(request: Request, size: int) -> list[float] | None:
    """Return the numbers that a cursor of `next_cursor` stands for; None for the first page."""
    given = known(request, "cursor")
    if given is None:
        return None
    try:
        found = decode_as(base64.urlsafe_b64decode(given.encode("ascii")), list[float])
    except (ValueError, msgspec.DecodeError, RecursionError):
        found = []
    if len(found) != size:
        raise bad_query("cursor", "is none of this server's; leave it out to begin anew")
    return found


def next_cursor(*numbers: float) -> str:
    """Return a cursor that continues behind an item."""
    return base64.urlsafe_b64encode(msgspec.json.encode(numbers)).decode("ascii")
