"""One way to drive a gateway client of either colour, and what scripted servers say to it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from ostiary.gateway.client import GatewayAccess
from tests.colours import Driven, Reading
from tests.http.peer import Exchange, HttpPeer, Step, script


class Client(Driven):
    """A gateway client of any colour."""

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.raw, name)
        if name in {"stream_chat", "stream_raw"}:
            return lambda *a, **k: Stream(self, found(*a, **k))
        if not callable(found):
            return found
        return lambda *a, **k: self.wait(found(*a, **k))


class Stream(Reading):
    """A stream of chunks."""

    def open(self) -> Any:
        return self._driven.wait(self.raw.open())

    @property
    def reply(self) -> Any:
        return self.raw.reply


Connect = Callable[..., Client]
Peers = Callable[..., HttpPeer]
Access = Callable[..., GatewayAccess]


# --- what a server says


def reply(content: Any = "Only net.py:12.", **message: Any) -> dict[str, Any]:
    """Return a whole chat reply; `message` are more members of the message."""
    finish = message.pop("finish_reason", "stop")
    usage = message.pop("usage", {"prompt_tokens": 61, "completion_tokens": 7, "total_tokens": 68})
    return {
        "id": "chatcmpl-0a1",
        "object": "chat.completion",
        "created": 1790000000,
        "model": "gpt-test-1-2026-05",
        "choices": [
            {
                "index": 0,
                "finish_reason": finish,
                "message": {"role": "assistant", "content": content, **message},
            }
        ],
        "usage": usage,
    }


def call(name: str, arguments: Any, id: str = "call_7") -> dict[str, Any]:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def chunk(content: Any = None, *, finish_reason: Any = None, **delta: Any) -> str:
    """Return one event of a stream."""
    if content is not None:
        delta["content"] = content
    body = {
        "id": "c9",
        "object": "chat.completion.chunk",
        "model": "gpt-test-1",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}],
    }
    return f"data: {json.dumps(body, ensure_ascii=False)}\n\n"


USAGE = (
    'data: {"id":"c9","object":"chat.completion.chunk","choices":[],'
    '"usage":{"prompt_tokens":61,"completion_tokens":15,"total_tokens":76}}\n\n'
)
DONE = "data: [DONE]\n\n"


def says(value: Any, status: int = 200, *headers: tuple[str, str]) -> Callable[[Exchange], object]:
    """Answer with JSON."""
    return lambda exchange: exchange.json(value, status, *headers)


def fails(
    status: int, code: str = "nope", *headers: tuple[str, str]
) -> Callable[[Exchange], object]:
    """Answer with an error body."""
    error = {"message": "PROSE of the peer", "type": "error", "code": code, "param": None}
    return says({"error": error}, status, *headers)


def streams(*pieces: bytes | str, ends: bool = True) -> Callable[[Exchange], object]:
    """Answer with an event stream of these chunks; without `ends` it stays open."""

    def answer(exchange: Exchange) -> None:
        exchange.start_events()
        if ends:
            exchange.last_chunks(*pieces)
        else:
            for piece in pieces:
                exchange.chunk(piece)
            exchange.link.stall()

    return answer


def bodies(peer: HttpPeer) -> list[Any]:
    """Return the JSON of every request that came."""
    return [json.loads(asked.body) for asked in peer.asked if asked.body]


def step(given: Any) -> Step:
    return given if isinstance(given, bytes) or callable(given) else says(given)


def scripted(*steps: Any) -> Any:
    return script(*[step(one) for one in steps])
