"""Host names that are to be dialled elsewhere, as `--map NAME=ADDRESS` has them.

The name keeps its place in Host and in the certificate; nothing but the address changes.
Neighbour: what dials asks `find`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, final

import msgspec

from ..config import TcpAddress, parse_address
from ..errors import InvalidArgumentError

__all__ = ["Map", "Maps", "parse_map"]

_NAME: Final = re.compile(r"[a-z0-9_](?:[a-z0-9._-]{0,251}[a-z0-9_])?")
# Stands for "the port that the URL has": no server listens there.
_SAME_PORT: Final = 1


class Map(msgspec.Struct, frozen=True):
    """One name and where it is dialled; a `port` of None is the URL's.

    `authority` is a certificate in PEM to be trusted for this name beside the system's.
    """

    name: str
    host: str
    port: int | None = None
    authority: str | None = None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.name}={host}" + ("" if self.port is None else f":{self.port}")


def parse_map(text: str) -> Map:
    """Read `NAME=HOST`, `NAME=HOST:PORT` or `NAME=[V6]:PORT`.

    Raises `InvalidArgumentError` for anything else.
    """
    name, mark, where = text.partition("=")
    name = name.strip().lower().removesuffix(".")
    where = where.strip()
    if not mark or not _NAME.fullmatch(name):
        raise InvalidArgumentError(
            f"{text!r} is no NAME=ADDRESS; write vault.example.com=127.0.0.1:8200"
        )
    has_port = "]:" in where or where.count(":") == 1  # more colons are a bare v6 literal's
    problem = None
    try:
        address = parse_address(where, default_port=_SAME_PORT)
    except InvalidArgumentError as error:
        problem = str(error)
    else:
        if isinstance(address, TcpAddress) and "://" not in where:
            return Map(name, address.host, address.port if has_port else None)
        problem = "an address here is a host, or host:port"
    raise InvalidArgumentError(f"{name} cannot be mapped: {problem}")


@final
class Maps:
    """The names that are mapped; of two maps of one name the first counts."""

    def __init__(self, given: Iterable[str] = ()) -> None:
        self._maps: dict[str, Map] = {}
        for text in given:
            self.add(parse_map(text))

    def add(self, one: Map) -> bool:
        """Add a map, unless its name has one; return whether it was added."""
        return self._maps.setdefault(one.name, one) is one

    def find(self, name: str) -> Map | None:
        """Return where a name is dialled, or None when it is not mapped."""
        return self._maps.get(name.lower().removesuffix("."))

    def discard(self, one: Map) -> None:
        """Forget a map that was added."""
        if self._maps.get(one.name) is one:
            del self._maps[one.name]
