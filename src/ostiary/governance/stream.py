"""The events of a governed stream: what they are, how they are read, in which order they come.

Reading follows the event-stream standard and takes besides what the guide's own reader takes:
one JSON object per `data:` line, whether or not an empty line stands between two of them.
`[DONE]` ends a stream, an `event:` line names an event that does not name itself. No I/O here:
the streams themselves are in `_async.py`.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Coroutine, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, TypeGuard, cast, overload

import msgspec

from .._decoders import decoder_of
from .._wire.sse import Event
from .errors import HestiaAPIError, HestiaConnectionLostError, HestiaProtocolError, error_event
from .models import RunResponse, read

__all__ = [
    "END",
    "Collected",
    "Grammar",
    "Payload",
    "StreamEvent",
    "StreamEventType",
    "collect_stream",
    "cut_short",
    "is_delta_event",
    "is_done_event",
    "is_error_event",
    "is_final_event",
    "is_start_event",
    "is_token_event",
    "is_tool_call_event",
    "read_payload",
    "unfold",
]

StreamEventType = Literal["start", "token", "delta", "tool_call", "final", "error", "done"]

if TYPE_CHECKING:
    _Type = StreamEventType
else:
    # Types that a later server invents pass through; `strict` refuses them.
    _Type = str


class StreamEvent(msgspec.Struct, frozen=True, gc=False):
    """One event of a stream; immutable.

    `type` is one of the seven words of `StreamEventType`, `data` what it carries (text in
    `data["text"]` of a token), `trace_id` the same in all events of a stream, `timestamp`
    ISO-8601.
    """

    type: _Type
    data: dict[str, Any] = {}
    trace_id: str = ""
    timestamp: str = ""

    @classmethod
    def from_raw(cls, raw: Mapping[str, Any]) -> StreamEvent:
        """Make an event of the JSON object of one `data:` line.

        Absent or null members take their defaults. `HestiaProtocolError` without a `type`.
        """
        return _event(raw, "")


def is_start_event(event: StreamEvent) -> TypeGuard[StreamEvent]:
    """Whether the stream begins with this event."""
    return event.type == "start"


def is_token_event(event: StreamEvent) -> TypeGuard[StreamEvent]:
    """Whether this is a token of the output."""
    return event.type == "token"


def is_delta_event(event: StreamEvent) -> TypeGuard[StreamEvent]:
    """Whether this is a change to the output."""
    return event.type == "delta"


def is_tool_call_event(event: StreamEvent) -> TypeGuard[StreamEvent]:
    """Whether this is a call of a tool."""
    return event.type == "tool_call"


def is_final_event(event: StreamEvent) -> TypeGuard[StreamEvent]:
    """Whether this is the result."""
    return event.type == "final"


def is_error_event(event: StreamEvent) -> TypeGuard[StreamEvent]:
    """Whether this says why there is no result."""
    return event.type == "error"


def is_done_event(event: StreamEvent) -> TypeGuard[StreamEvent]:
    """Whether this is the last event."""
    return event.type == "done"


# --- reading


END: Final = object()
"""What `unfold` returns for `[DONE]`."""

_DONE: Final = b"[DONE]"

Payload = StreamEvent | bytes
"""The data of an event: read, or as it came when it takes more than one look (`unfold`)."""

_decode: Final = decoder_of(StreamEvent).decode
_decode_any: Final = msgspec.json.Decoder().decode
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def read_payload(data: bytes) -> Payload:
    """Read what nearly every event is: one object that names its type."""
    try:
        return _decode(data)
    except _UNREADABLE:
        return data


def unfold(event: Event[Payload]) -> list[StreamEvent | object]:
    """Return what one event of the standard holds: any number of ours, then perhaps one more.

    That one is `END`, or the `HestiaProtocolError` to raise for what is no event. The `event:`
    line names those that do not name themselves.
    """
    if isinstance(event.data, StreamEvent):
        return [event.data]
    data, name = event.data.strip(), event.event
    if not data:
        return []
    if b"\n" not in data:
        return [_one(data, name)]
    try:
        return [_event(_decode_any(data), name)]
    except (*_UNREADABLE, HestiaProtocolError):
        pass
    # Objects on lines of their own, with no empty line between them, are an event each.
    found: list[StreamEvent | object] = []
    for line in filter(None, map(bytes.strip, data.split(b"\n"))):
        found.append(_one(line, name))
        if not isinstance(found[-1], StreamEvent):
            break
    return found


def _one(line: bytes, name: str) -> StreamEvent | object:
    if line == _DONE:
        return END
    try:
        return _event(_decode_any(line), name)
    except HestiaProtocolError as error:
        return error.with_traceback(None)
    except _UNREADABLE as error:
        problem = type(error).__name__
    return HestiaProtocolError(
        f"the data of a stream's event is not JSON ({problem}); the stream is closed", sent=True
    )


def cut_short() -> HestiaConnectionLostError:
    """Make the error for a stream without its last event."""
    return HestiaConnectionLostError(
        "the stream ended without its `done` event; what came may not be all", sent=True
    )


def _event(raw: object, name: str) -> StreamEvent:
    if not isinstance(raw, Mapping):
        raise _wrong("is not an object")
    members = cast("Mapping[str, Any]", raw)
    kind = members.get("type")
    if kind is None and name and name != "message":
        kind = name
    if not isinstance(kind, str):
        raise _wrong("has no `type`")
    data = members.get("data")
    if data is None:
        data = {}
    elif not isinstance(data, dict):
        raise _wrong("has `data` that is not an object")
    return StreamEvent(
        cast("StreamEventType", kind),
        cast("dict[str, Any]", data),
        _text(members.get("trace_id")),
        _text(members.get("timestamp")),
    )


def _text(value: object) -> str:
    # A server that counts its traces, or its seconds, is still understood.
    return value if isinstance(value, str) else "" if value is None else str(value)


def _wrong(what: str) -> HestiaProtocolError:
    return HestiaProtocolError(f"an event of the stream {what}", sent=True)


# --- order


_BODY: Final = frozenset({"token", "delta", "tool_call"})
_ENDING: Final = frozenset({"final", "error"})


class Grammar:
    """Holds a stream to its grammar: `start (token | delta | tool_call)* (final | error) done`.

    Every event has the trace id of the first.
    """

    __slots__ = ("_state", "_trace_id")

    def __init__(self) -> None:
        self._state = "nothing"
        self._trace_id = ""

    def check(self, event: StreamEvent | object) -> None:
        """Take the next event, or `END`; `HestiaProtocolError` when it may not stand there."""
        if not isinstance(event, StreamEvent):
            self._end()
            return
        kind, state = event.type, self._state
        if state == "nothing":
            allowed = kind == "start"
            self._trace_id = event.trace_id
        elif state == "body":
            allowed = kind in _BODY or kind in _ENDING
        else:
            allowed = state == "ending" and kind == "done"
        if not allowed:
            raise HestiaProtocolError(
                f"the event {kind[:40]!r} may not follow {_SPOKEN[state]} (strict); the stream "
                "is closed",
                sent=True,
            )
        if event.trace_id != self._trace_id:
            raise HestiaProtocolError(
                "an event has another trace_id than the first (strict); the stream is closed",
                sent=True,
            )
        if kind == "done":
            self._state = "done"
        elif kind in _ENDING:
            self._state = "ending"
        else:
            self._state = "body"

    def _end(self) -> None:
        if self._state != "done":
            raise HestiaProtocolError(
                f"the stream may not end behind {_SPOKEN[self._state]} (strict)", sent=True
            )


_SPOKEN: Final = {
    "nothing": "the beginning",
    "body": "`start` or the output",
    "ending": "`final` or `error`",
    "done": "`done`",
}


# --- the whole


class Collected:
    """Gathers the events of one stream into what `run` would have returned."""

    def __init__(self) -> None:
        self._tokens: list[str] = []
        self._deltas: list[str] = []
        self._final: dict[str, Any] | None = None
        self._error: dict[str, Any] | None = None
        self._trace_id = ""

    def add(self, event: StreamEvent) -> None:
        """Take the next event."""
        kind, data = event.type, event.data
        self._trace_id = event.trace_id or self._trace_id
        if kind == "token" or kind == "delta":
            text = data.get("text")
            if isinstance(text, str):
                (self._tokens if kind == "token" else self._deltas).append(text)
        elif kind == "final":
            self._final = data
        elif kind == "error":
            self._error = data

    def result(self) -> RunResponse:
        """Return the result; raise what the stream's `error` event says."""
        if self._error is not None:
            raise self._refusal(self._error)
        if self._final is None:
            raise HestiaProtocolError("the stream ended without a result", sent=True)
        members = {"trace_id": self._trace_id, **self._final}
        if members.get("output") is None and (text := self._text()):
            members["output"] = text
        return read(members, RunResponse, "the stream's `final` event")

    def _refusal(self, data: dict[str, Any]) -> HestiaAPIError:
        return error_event(data, self._trace_id)

    def _text(self) -> str:
        # A server that sends both says the same twice.
        return "".join(self._tokens or self._deltas)


@overload
def collect_stream(events: AsyncIterable[StreamEvent]) -> Coroutine[Any, Any, RunResponse]: ...
@overload
def collect_stream(events: Iterable[StreamEvent]) -> RunResponse: ...
def collect_stream(
    events: Iterable[StreamEvent] | AsyncIterable[StreamEvent],
) -> RunResponse | Coroutine[Any, Any, RunResponse]:
    """Read a stream to its end and return its result, as `run` would have; await it for an
    async stream.

    What `final` leaves out of the text is joined from the tokens. Raises the error of an
    `error` event: `GovernanceBlock`, `InvalidInput`, `NotFound`, `HestiaGatewayTimeoutError`
    or `HestiaAPIError`, by its code.
    """
    if isinstance(events, AsyncIterable):
        return _collect_async(events)
    gathered = Collected()
    for event in events:
        gathered.add(event)
    return gathered.result()


async def _collect_async(events: AsyncIterable[StreamEvent]) -> RunResponse:
    gathered = Collected()
    async for event in events:
        gathered.add(event)
    return gathered.result()
