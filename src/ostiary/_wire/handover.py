"""Responses that are out of the common, read by `h11.Connection` from their first byte.

h11 is imported by the first of them. What reaches it has passed the rules of `http1`, which
also decides where the response ends; h11 has to agree.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple, TypeAlias

from .rules import refusal

Pairs: TypeAlias = list[tuple[bytes, bytes]]


class Event(NamedTuple):
    """What h11 made of some bytes: one of the kinds below, and the fields that kind has."""

    kind: int
    status: int = 0
    headers: Pairs | None = None
    data: bytes = b""


INFORMATIONAL: Final = 1
RESPONSE: Final = 2
DATA: Final = 3
END: Final = 4


class HandOver:
    """One exchange, as h11 sees it: the request has been sent, the response is awaited."""

    def __init__(self, method: bytes, max_event: int) -> None:
        import h11

        self._h11: Any = h11
        self._connection: Any = h11.Connection(h11.CLIENT, max_incomplete_event_size=max_event)
        # Only the method decides how a response is framed; the rest need only be legal.
        self._connection.send(h11.Request(method=method, target=b"/", headers=[("Host", "h")]))
        self._connection.send(h11.EndOfMessage())

    @property
    def reusable(self) -> bool:
        """Whether another request may be sent on this connection."""
        connection, done = self._connection, self._h11.DONE
        return (
            connection.our_state is done
            and connection.their_state is done
            # After a body that ended with the connection the states alone look reusable.
            and connection.trailing_data == (b"", False)
        )

    def feed(self, data: bytes) -> list[Event]:
        """Return what `data` completes; b"" says that the stream ended."""
        h11, connection = self._h11, self._connection
        found: list[Event] = []
        try:
            connection.receive_data(data)
            while True:
                event = connection.next_event()
                if isinstance(event, h11.Data):
                    found.append(Event(DATA, data=bytes(event.data)))
                elif isinstance(event, h11.EndOfMessage):
                    found.append(Event(END, headers=list(event.headers)))
                elif isinstance(event, h11.InformationalResponse):
                    found.append(Event(INFORMATIONAL, event.status_code, list(event.headers)))
                elif isinstance(event, h11.Response):
                    found.append(Event(RESPONSE, event.status_code, list(event.headers)))
                else:  # NEED_DATA, PAUSED or ConnectionClosed
                    return found
        except h11.RemoteProtocolError:
            pass  # raised below, outside the handler: this error may quote what was received
        raise refusal("h11")
