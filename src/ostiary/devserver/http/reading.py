"""Bodies and queries as callers of an HTTP domain write them: null is absent, sizes are limited.

Neighbour: `front` reads the bytes.
"""

from __future__ import annotations

from typing import Any, Final, Generic, TypeVar, cast, final

import msgspec
from msgspec.inspect import StructType, type_info
from starlette.requests import Request

from ..._decoders import convert, decoder_of
from .front import read_body
from .refusals import HttpRefusal

__all__ = ["Body", "Page", "flag", "invalid", "number"]

T = TypeVar("T")

_PAGE_LIMIT: Final = 100


@final
class Body(Generic[T]):
    """Reads a request's body as `type`; made once for each kind of body.

    A member that is null counts as left out, where it has a default and may not be null.
    `limit` are bytes. An `empty` body is taken for `{}`.
    """

    def __init__(self, type: type[T], *, limit: int | None = None, empty: bool = False) -> None:
        self._type = type
        self._limit = limit
        self._empty = empty
        self._info: Any = None
        self._read = decoder_of(type).decode

    async def read(self, request: Request) -> T:
        """Return the body; 422 names the member that does not fit, 413 is for too much."""
        if self._empty and _announces_nothing(request):
            return self._decode(b"{}")
        raw = bytes(await read_body(request))
        if self._limit is not None and len(raw) > self._limit:
            raise HttpRefusal(
                413,
                "PAYLOAD_TOO_LARGE",
                f"the body is longer than {self._limit} bytes; send less",
                details={"limit_bytes": self._limit},
            )
        return self._decode(raw)

    def _decode_as_it_is(self, raw: bytes) -> T:
        try:
            return self._read(raw)
        except msgspec.ValidationError:
            if b"null" not in raw:
                raise
        if self._info is None:
            self._info = type_info(self._type)
        return convert(without_nulls(msgspec.json.decode(raw), self._info), self._type)

    def _decode(self, raw: bytes) -> T:
        problem: str
        try:
            return self._decode_as_it_is(raw)
        except msgspec.ValidationError as error:
            problem = str(error)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise HttpRefusal(422, "INVALID_INPUT", "the body is not JSON") from None
        except RecursionError:
            raise HttpRefusal(422, "INVALID_INPUT", "the body is nested too deeply") from None
        what, _, where = problem.partition(" - at `$")
        field = where.rstrip("`").lstrip(".")
        if "required field `" in what:
            missing = what.rpartition("required field `")[2].rstrip("`")
            field = f"{field}.{missing}" if field else missing
        raise HttpRefusal(
            422,
            "VALIDATION_FAILED",
            f"{what}: {field}" if field else what,
            details={"field": field, "fields": [field]} if field else None,
        )


def without_nulls(value: Any, info: Any) -> Any:
    """Return a decoded document without the nulls of members that have a default.

    Only members of known structures: what a caller keeps in a free object stays as it is.
    """
    if isinstance(info, StructType) and isinstance(value, dict):
        known = {field.encode_name: field for field in info.fields}
        return {
            name: without_nulls(inner, known[name].type) if name in known else inner
            for name, inner in cast("dict[str, Any]", value).items()
            if inner is not None or name not in known or known[name].required
        }
    item = getattr(info, "item_type", None)
    if item is not None and isinstance(value, list):
        return [without_nulls(one, item) for one in cast("list[object]", value)]
    for choice in getattr(info, "types", ()):
        if isinstance(choice, StructType):
            return without_nulls(value, choice)
    return value


def _announces_nothing(request: Request) -> bool:
    length = request.headers.get("content-length")
    if length is not None:
        return not length.strip("0")
    return "transfer-encoding" not in request.headers


def invalid(field: str, message: str) -> HttpRefusal:
    """Return a 422 that names a member."""
    return HttpRefusal(
        422, "VALIDATION_FAILED", message, details={"field": field, "fields": [field]}
    )


def number(request: Request, name: str, default: int, *, least: int, most: int) -> int:
    """Return a whole number from the query."""
    text = request.query_params.get(name)
    if text is None or not text:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 9 or not least <= int(text) <= most:
        raise invalid(name, f"{name} is a whole number from {least} to {most}")
    return int(text)


def flag(request: Request, name: str) -> bool:
    """Return whether the query asks for something: `true` or `1`."""
    return request.query_params.get(name, "").lower() in {"true", "1", "yes"}


@final
class Page:
    """The `page` and `limit` of a request, and the answer's `pagination`."""

    def __init__(self, request: Request, *, limit: int = 20) -> None:
        self.page = number(request, "page", 1, least=1, most=1_000_000)
        self.limit = number(request, "limit", limit, least=1, most=_PAGE_LIMIT)
        self.offset = (self.page - 1) * self.limit

    def pagination(self, total: int) -> dict[str, object]:
        return {
            "page": self.page,
            "limit": self.limit,
            "total": total,
            "has_next": self.offset + self.limit < total,
        }

    def cut(self, found: list[T]) -> list[T]:
        return found[self.offset : self.offset + self.limit]
