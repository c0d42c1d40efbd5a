"""What a checker infers for the event decoder. Checked by `make check`, never run."""

from __future__ import annotations

from typing import assert_type

import msgspec

from ostiary._wire.sse import Event, EventDecoder


class Token(msgspec.Struct):
    text: str


def as_text(data: bytes) -> None:
    assert_type(EventDecoder(), EventDecoder[str])
    decoder = EventDecoder(1024, max_event=4096, terminator=b"[DONE]")
    assert_type(decoder.feed(data), list[Event[str]])
    assert_type(decoder.feed(data)[0].data, str)
    assert_type(decoder.retry, int | None)


def as_structs(data: bytes) -> list[Event[Token]]:
    decoder = EventDecoder(decode=msgspec.json.Decoder(Token).decode)
    events: list[Event[Token]] = []
    decoder.feed(data, events)
    assert_type(events[0].data.text, str)
    return decoder.feed(data)


def events() -> None:
    assert_type(Event(), Event[str])
    assert_type(Event("token", Token("a")), Event[Token])
