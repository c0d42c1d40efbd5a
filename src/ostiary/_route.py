"""One HTTP endpoint as data: verb, path template, type of its reply, what may be done with it.

A domain's wire contract is one screen of `Route(...)` lines. Nothing here sends: `http` does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, cast, final, overload

import msgspec

from ._decoders import decoder_of
from ._wire.target import Target
from .errors import InvalidArgumentError, OstiaryError, ProtocolError

if TYPE_CHECKING:
    from ._wire.headers import Headers

__all__ = ["REPEATABLE", "FailedReply", "Route", "encode_json", "unreadable"]

T = TypeVar("T")
U = TypeVar("U")

REPEATABLE: Final = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS"})
"""The methods that do the same done twice (RFC 9110, 9.2.2) and that we send as such."""


class FailedReply(msgspec.Struct, frozen=True, eq=False):
    """A whole reply that says no, as a route's `fail` gets it.

    `body` is at most the first 64 KiB. `retry_after` is in seconds, None when the peer named
    no time. `endpoint` is the verb and the path template, for messages.
    """

    status: int
    headers: Headers
    body: bytes
    retry_after: float | None
    request_id: str | None
    endpoint: str

    def __repr__(self) -> str:
        # What a peer says may repeat what it was sent.
        return f"<FailedReply {self.status} to {self.endpoint}, {len(self.body)} bytes>"


Fail = Callable[[FailedReply], OstiaryError]


@final
class Route(Generic[T]):
    """One endpoint. Make each once, at module level: the decoder is built here.

    `reply` is the type of a 2xx body, or of each event's data for a stream; None says that
    the body is ignored. `idempotent` says whether sending it twice does what sending it once
    does; None goes by the method. `fail` turns a reply that says no into the exception to
    raise. With `missing`, 404 is no failure and gives None. `decode` replaces the decoder
    that `reply` would get; it takes a bytes-like object.
    """

    __slots__ = (
        "decode",
        "fail",
        "idempotent",
        "method",
        "missing",
        "repeatable",
        "reply",
        "target",
        "template",
    )

    method: str
    template: str
    reply: object
    idempotent: bool | None
    repeatable: bool
    fail: Fail | None
    missing: bool
    target: Target
    decode: Callable[[Any], T] | None

    @overload
    def __init__(
        self: Route[None],
        method: str,
        template: str,
        reply: None,
        *,
        idempotent: bool | None = None,
        fail: Fail | None = None,
        missing: bool = False,
        decode: None = None,
    ) -> None: ...
    @overload
    def __init__(
        self: Route[U | None],
        method: str,
        template: str,
        reply: type[U],
        *,
        missing: bool,
        idempotent: bool | None = None,
        fail: Fail | None = None,
        decode: Callable[[Any], U] | None = None,
    ) -> None: ...
    @overload
    def __init__(
        self,
        method: str,
        template: str,
        reply: type[T],
        *,
        idempotent: bool | None = None,
        fail: Fail | None = None,
        decode: Callable[[Any], T] | None = None,
    ) -> None: ...
    @overload
    def __init__(
        self: Route[Any],
        method: str,
        template: str,
        reply: object,
        *,
        idempotent: bool | None = None,
        fail: Fail | None = None,
        missing: bool = False,
        decode: Callable[[Any], Any] | None = None,
    ) -> None: ...
    def __init__(
        self,
        method: str,
        template: str,
        reply: object,
        *,
        idempotent: bool | None = None,
        fail: Fail | None = None,
        missing: bool = False,
        decode: Callable[[Any], Any] | None = None,
    ) -> None:
        if decode is None and reply is not None:
            decode = decoder_of(cast("type[Any]", reply)).decode
        for name, value in (
            ("method", method),
            ("template", template),
            ("reply", reply),
            ("idempotent", idempotent),
            ("repeatable", method in REPEATABLE if idempotent is None else idempotent),
            ("fail", fail),
            ("missing", missing),
            ("target", Target(template)),
            ("decode", decode),
        ):
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Route is not changed; make another one (attribute {name!r})")

    def __delattr__(self, name: str) -> None:
        self.__setattr__(name, None)

    def __repr__(self) -> str:
        return f"Route({self.method!r}, {self.template!r})"


_encode: Final = msgspec.json.Encoder().encode


def encode_json(value: object, what: str) -> bytes:
    """Return `value` as JSON; `what` names it in the `InvalidArgumentError` otherwise raised."""
    try:
        return _encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        # A UnicodeEncodeError's text shows what it failed on, so only its name is told.
        problem = type(error).__name__ if isinstance(error, UnicodeError) else str(error)
    del value  # nor may it stand in the locals that a traceback records
    raise InvalidArgumentError(f"{what} cannot be sent as JSON: {problem}; nothing was sent")


def unreadable(what: str, problem: Exception, *, empty: bool = False) -> ProtocolError:
    """Make the error for a reply that cannot be decoded; it repeats nothing that was received.

    Raise it outside the handler that caught `problem`, which may hold the bytes it failed on.
    `empty` says that there was nothing to decode.
    """
    if empty:
        return ProtocolError(f"{what} has no body, and the protocol promises one", sent=True)
    if isinstance(problem, msgspec.ValidationError):
        # Well-formed JSON of another shape. msgspec names the place and the types.
        return ProtocolError(
            f"{what} is not what the protocol promises: {_shape(str(problem))}", sent=True
        )
    return ProtocolError(f"{what} is not JSON ({type(problem).__name__})", sent=True)


def _shape(text: str) -> str:
    if text.startswith(("Expected `", "Object missing required field ")):
        return text
    _, mark, place = text.rpartition(" - at ")
    return f"unexpected value at {place}" if mark else "unexpected value"
