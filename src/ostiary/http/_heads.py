"""The heads of a pool's requests, built once, and the headers that one request adds.

Values are revealed while they are written and at no other time, so that none stands in the
locals of a frame that raises.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import Final

from .._wire.coding import accepted
from .._wire.request import RequestHead
from ..errors import InvalidArgumentError
from ..secret import Secret

__all__ = ["ANYTHING", "EVENTS", "JSON", "HeaderLines", "Heads", "traced"]

# What a request asks for in `Accept`.
ANYTHING: Final = "*/*"
JSON: Final = "application/json"
EVENTS: Final = "text/event-stream"

# Kept apart from a pool's other headers even when they are given as plain text: what they
# hold is worth as much as a key.
_CREDENTIALS: Final = frozenset(
    {
        "api-key",
        "authorization",
        "cookie",
        "proxy-authorization",
        "txn-token",
        "x-api-key",
        "x-auth-token",
        "x-goog-api-key",
        "x-vault-token",
    }
)
_OURS: Final = frozenset({"accept", "accept-encoding", "content-type", "user-agent"})
_MOST_HEADS: Final = 256


class HeaderLines:
    """Headers by name, whatever its case: the last value given for one is sent.

    Those that are `lasting` are the same object for many requests, and not changed meanwhile:
    a head is made with them in it.
    """

    __slots__ = ("_lines", "lasting")

    def __init__(self, *, lasting: bool = False) -> None:
        self._lines: dict[str, tuple[str, str | Secret]] = {}
        self.lasting = lasting

    def add(self, headers: Mapping[str, str | Secret]) -> None:
        """Take `headers`; raises `InvalidArgumentError` for what is no header."""
        problem = None
        if not _is_mapping(headers):
            problem = f"headers are a mapping of names to values, not {type(headers).__name__}"
        else:
            for name in headers:
                if not _is_text(name):
                    problem = "a header's name is text"
                    break
                hidden = _hidden(name, headers[name])
                if hidden is None:
                    problem = f"the value of header {name} is no str and no Secret, or no text"
                    break
                self._lines[name.lower()] = name, hidden
        if problem is not None:
            del headers  # a traceback records the locals of the frame that raises
            raise InvalidArgumentError(problem)

    def take(self, others: HeaderLines) -> None:
        """Take lines that were checked before."""
        self._lines.update(others._lines)

    def one(self, name: str, value: str) -> None:
        """Take one header that is not there yet."""
        if name.lower() in self._lines:
            raise InvalidArgumentError(f"the header {name} is given twice; leave one out")
        self._lines[name.lower()] = name, value

    def __contains__(self, name: str) -> bool:
        return name in self._lines

    def __bool__(self) -> bool:
        return bool(self._lines)

    def names(self) -> frozenset[str]:
        """Return the names, in lower case."""
        return frozenset(self._lines)

    def copied(self) -> HeaderLines:
        """Return the same headers, to add more to."""
        same = HeaderLines()
        same._lines.update(self._lines)
        return same

    def public(self) -> dict[str, str]:
        """Return those that are no secrets."""
        return {name: value for name, value in self._lines.values() if isinstance(value, str)}

    def __iter__(self) -> Iterator[tuple[str, str]]:
        for name, value in self._lines.values():
            yield name, value if isinstance(value, str) else value.reveal()

    def without(self, names: frozenset[str]) -> Iterator[tuple[str, str]]:
        """Yield the pairs whose name, in lower case, is not among `names`."""
        for name, (shown, value) in self._lines.items():
            if name not in names:
                yield shown, value if isinstance(value, str) else value.reveal()

    def __repr__(self) -> str:
        return f"<headers {', '.join(sorted(self._lines))}>"


def traced(lines: HeaderLines | None, trace: Mapping[str, str]) -> HeaderLines | None:
    """Return `lines` with the headers of a trace, unless the request has a `traceparent`."""
    if not trace or (lines is not None and "traceparent" in lines):
        return lines
    found = HeaderLines()
    found.add(trace)
    if lines is not None:
        found.take(lines)
    return found


# Callers may run no type checker, and a checker has no word for that.
def _is_mapping(given: object) -> bool:
    return isinstance(given, Mapping)


def _is_text(given: object) -> bool:
    return isinstance(given, str)


def _hidden(name: str, value: object) -> str | Secret | None:
    """Return a header's value as it is kept, or None for what cannot be one."""
    if isinstance(value, str) and name.lower() in _CREDENTIALS:
        try:
            return Secret(value)
        except InvalidArgumentError:
            return None
    return value if isinstance(value, (str, Secret)) else None


class Heads:
    """The request heads of one pool, each made when it is first asked for."""

    __slots__ = ("_compression", "_given", "_host", "_made", "_names", "_user_agent", "_whole")

    def __init__(
        self,
        host: str,
        given: HeaderLines,
        *,
        user_agent: str | Callable[[], str] | None,
        compression: bool,
    ) -> None:
        self._host = host
        self._given = given
        self._user_agent = user_agent
        self._compression = compression
        self._made: dict[tuple[str, str, bool, frozenset[str]], RequestHead] = {}
        self._whole: dict[tuple[str, str, bool], tuple[HeaderLines, RequestHead]] = {}
        self._names = _OURS | given.names() if given else _OURS
        # Refused here and not by the first request, which is far from the mistake. The
        # default user agent is not looked up yet: that costs more than all the rest.
        RequestHead("GET", host, given)
        if isinstance(user_agent, str):
            RequestHead("GET", host, {"User-Agent": user_agent})

    def head(
        self, method: str, accept: str, json: bool, over: HeaderLines | None = None
    ) -> RequestHead:
        """Return the head for a method; `over` are headers that this one leaves to a request.

        `json` says that the body is JSON.
        """
        names: frozenset[str] = frozenset()
        if over is not None:
            names = over.names() & self._names
        key = method, accept, json, names
        found = self._made.get(key)
        if found is None:
            found = RequestHead(method, self._host, self._pairs(accept, json, names))
            if len(self._made) >= _MOST_HEADS:
                self._made.clear()
            self._made[key] = found
        return found

    def whole(self, method: str, accept: str, json: bool, lasting: HeaderLines) -> RequestHead:
        """Return the head for a method with `lasting` in it, made once for as long as it lasts."""
        key = method, accept, json
        found = self._whole.get(key)
        if found is not None and found[0] is lasting:
            return found[1]
        left_out = lasting.names() & self._names
        pairs = chain(self._pairs(accept, json, left_out), lasting)
        head = RequestHead(method, self._host, pairs)
        if len(self._whole) >= _MOST_HEADS:
            self._whole.clear()
        self._whole[key] = lasting, head
        return head

    def _pairs(
        self, accept: str, json: bool, left_out: frozenset[str]
    ) -> Iterator[tuple[str, str]]:
        taken = left_out | self._given.names()
        if "user-agent" not in taken:
            yield "User-Agent", self._agent()
        if "accept" not in taken:
            yield "Accept", accept
        # Not for events, which a server would hold back to fill a block.
        if "accept-encoding" not in taken and self._compression and accept != EVENTS:
            yield "Accept-Encoding", accepted()
        if "content-type" not in taken and json:
            yield "Content-Type", JSON
        yield from self._given.without(left_out)

    def _agent(self) -> str:
        if callable(self._user_agent):
            return self._user_agent()
        if self._user_agent is not None:
            return self._user_agent
        import ostiary

        return f"ostiary/{ostiary.__version__}"
