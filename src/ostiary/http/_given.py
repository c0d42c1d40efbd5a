"""What a caller gives for one request, checked and made ready to be sent."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import msgspec

from .._retry import new_idempotency_key
from .._route import encode_json
from .._wire.target import Target
from ..errors import InvalidArgumentError
from ..secret import Secret
from ._heads import HeaderLines

if TYPE_CHECKING:
    from .._wire.target import Query

__all__ = [
    "body",
    "check_credentials",
    "check_hook",
    "keyed",
    "lines",
    "shown",
    "target",
    "verb",
]

KEY_HEADER: Final = "Idempotency-Key"
_KEY_NAME: Final = KEY_HEADER.lower()

_ROOT: Final = Target("/")
# The segments that mean another path, plain and percent-encoded: RFC 3986, 5.2.4.
_CLIMBS: Final = re.compile(rb"/(?:\.|%2[Ee]){1,2}(?:[/?]|$)")
_LONGEST_SHOWN: Final = 200


def verb(method: object) -> str:
    """Return a method in capitals; that it is one is checked where the head is made."""
    if isinstance(method, str):
        return method.upper()
    raise InvalidArgumentError(f"a method is text, not {type(method).__name__}")


def target(prefix: str, path: str | bytes, query: Query | None) -> bytes:
    """Return the request target; what it holds is checked once more where it is sent."""
    problem = None
    text = b""
    if isinstance(path, bytes):
        text = path
    elif isinstance(path, str) and path.isascii():
        text = path.encode("ascii")
    elif isinstance(path, str):
        problem = "a path is ASCII: percent-encode whatever else it holds"
    if problem is None and not text.startswith(b"/"):
        # An absolute URL among them: credentials stay with the origin they were given for.
        problem = "a path is text that begins with '/'; the base URL says where it is sent"
    elif _CLIMBS.search(text.partition(b"?")[0]):
        problem = "a path has no segment '.' or '..'"
    del path  # a traceback records the locals of the frames that raise
    if problem is not None:
        del text, query
        raise InvalidArgumentError(problem)
    if query:
        added = _ROOT.build(query=query)[1:]
        text += b"&" + added[1:] if added and b"?" in text else added
    return prefix.encode("ascii") + text if prefix else text


def shown(path: str | bytes) -> str:
    """Return a path as messages and hooks may have it: without its query."""
    text = path if isinstance(path, str) else path.decode("ascii", "replace")
    return text.partition("?")[0][:_LONGEST_SHOWN]


def body(json: object, given: bytes | None) -> bytes | None:
    """Return the body to send, or None for none."""
    if json is msgspec.UNSET and (given is None or type(given) is bytes):
        return given
    problem = None
    if json is not msgspec.UNSET:
        if given is None:
            try:
                return encode_json(json, "the request's body")
            finally:
                del json
        problem = "give json or body, not both"
    elif isinstance(given, (bytes, bytearray, memoryview)):
        return bytes(given)
    else:
        problem = f"a body is bytes, not {type(given).__name__}; give json=... or encode it"
    del json, given  # a traceback records the locals of the frames that raise
    raise InvalidArgumentError(problem)


def lines(
    headers: Mapping[str, str | Secret] | None,
    idempotency_key: str | bool | None,
    last_event_id: str | None = None,
) -> HeaderLines | None:
    """Return the headers of one request, or None when it has none of its own."""
    found = HeaderLines()
    try:
        if headers is not None:
            found.add(headers)
        if idempotency_key is True:
            found.one(KEY_HEADER, new_idempotency_key())
        elif idempotency_key is not None and idempotency_key is not False:
            if not isinstance(idempotency_key, str) or not idempotency_key:
                raise InvalidArgumentError("idempotency_key is text that is not empty, or True")
            found.one(KEY_HEADER, idempotency_key)
        if last_event_id:
            found.one("Last-Event-ID", last_event_id)
    finally:
        del headers, idempotency_key  # a traceback records the locals of the frames that raise
    return found or None


def keyed(found: HeaderLines | None) -> bool:
    """Whether the peer can tell a repeat from a second request."""
    return found is not None and _KEY_NAME in found


def _check_callable(name: str, function: object) -> None:
    """Refuse what cannot be called."""
    if function is not None and not callable(function):
        del function  # a key, perhaps
        raise InvalidArgumentError(f"{name} is a function")


def check_hook(name: str, function: object) -> None:
    """Refuse what cannot be called, and what would only make a coroutine when it is."""
    _check_callable(name, function)
    if _is_awaited(function):
        raise InvalidArgumentError(f"{name} is a plain function; it is called and not awaited")


def check_credentials(credentials: object, like: object) -> None:
    """Refuse what shows nobody's name, and a held key of another colour than the method `like`."""
    renewed = getattr(credentials, "renewed", None)
    if renewed is None:
        _check_callable("credentials", credentials)
    elif _is_awaited(renewed) != _is_awaited(like):
        raise InvalidArgumentError(
            "the keys are of the other colour; blocking clients take VaultKeys, those of asyncio "
            "AsyncVaultKeys"
        )


def _is_awaited(function: object) -> bool:
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    return code is not None and bool(code.co_flags & 0x80)  # CO_COROUTINE
