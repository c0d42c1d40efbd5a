"""How providers write chat, streams and vectors: one dialect for each way of writing.

A dialect turns a body as OpenAI has it into a `Call`, and what comes back into the models of
`ostiary.gateway.models`. It sends nothing and knows no credentials. `openai` is what every
gateway speaks; the others are for direct mode, and are loaded when they are asked for.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Final, NamedTuple

from ..._route import Route
from ..._wire.sse import Event
from ...errors import OstiaryError
from ..models import ChatChunk

__all__ = ["END", "Call", "Dialect", "Reader", "Step"]


class Call(NamedTuple):
    """One request, as a pool takes it: a route, its body, the ids of its path, its query."""

    route: Route[Any]
    body: Mapping[str, Any]
    ids: tuple[str, ...] = ()
    query: Mapping[str, str] | None = None


class End:
    """What a reader gives where the stream's own end mark stands."""

    __slots__ = ()


END: Final = End()

Step = ChatChunk | OstiaryError | End
"""One thing a stream says: a piece, an error to raise, or that it is over."""


class Reader(ABC):
    """Reads the events of one stream.

    `decode` gets each event's data and returns a `ChatChunk` when one look is enough; whatever
    else it returns comes to `take`, with the event's name. Neither raises.
    """

    __slots__ = ("ended",)

    def __init__(self) -> None:
        self.ended = False
        """Whether what came may be all: the response may end here."""

    @abstractmethod
    def decode(self, data: bytes) -> object:
        """Read the data of an event."""

    @abstractmethod
    def take(self, event: Event[Any]) -> list[Step]:
        """Return what an event says that took more than one look."""


class Dialect(ABC):
    """One way of writing requests and replies."""

    headers: ClassVar[Mapping[str, str]] = {}
    """What each request has beside credentials."""

    most_texts: ClassVar[int] = 2048
    """How many texts one request for vectors may have."""

    @abstractmethod
    def chat(self, body: Mapping[str, Any], *, stream: bool) -> Call:
        """Return the request for a chat; `GatewayArgumentError` for what cannot be said so."""

    @abstractmethod
    def embed(self, body: Mapping[str, Any]) -> Call:
        """Return the request for vectors."""

    @abstractmethod
    def reader(self) -> Reader:
        """Return what reads one stream."""
