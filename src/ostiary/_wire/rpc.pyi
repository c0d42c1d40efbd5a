from collections.abc import Callable
from typing import Any, Generic, TypeVar, final, overload

from ..errors import ProtocolError

T = TypeVar("T")

@final
class Method(Generic[T]):
    """One RPC method as data: its name, the type of its result, and what may be done with it."""

    name: str
    repeatable: bool
    session: bool
    grants: bool
    @overload
    def __init__(
        self,
        name: str,
        result: type[T],
        *,
        repeatable: bool = False,
        session: bool = False,
        grants: bool = False,
        fail: Callable[[object], Exception] = ...,
    ) -> None:
        """Build the request head and the reply decoder once.

        `repeatable`: sending it twice does what sending it once does. `session`: its params
        have a `session_id`, filled in by the channel that sends them. `grants`: its result
        is something to hand back, so a result nobody waits for is offered to
        `AsyncChannel.on_orphan`. `fail` turns the decoded `error` member into the exception
        to raise.
        """

    @overload
    def __init__(
        self: Method[Any],
        name: str,
        result: object,
        *,
        repeatable: bool = False,
        session: bool = False,
        grants: bool = False,
        fail: Callable[[object], Exception] = ...,
    ) -> None: ...

class UnexpectedShape(ProtocolError):
    """One reply has the wrong shape; the frames around it are still in step."""

def refused(body: object) -> Exception:
    """Turn an `error` member into an `APIError`; for peers that have no errors of their own."""

def add_request(method: Method[T], id: int, params: object, limit: int) -> bytes:
    """Return one framed request: the length, then the JSON envelope."""

def settle_reply(method: Method[T], data: bytes) -> tuple[int, T]:
    """Decode one reply payload; return its id and result.

    Raises what the method's `fail` makes of an error reply, and `ProtocolError` for
    anything that is not a reply.
    """
