"""Gateways that say exactly what a test wants to hear, and show what they were asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ostiary.gateway import JWTSource, SpiffeGatewayClient, TransactionTokenClient
from tests.http.peer import Exchange, HttpPeer

if TYPE_CHECKING:
    from ostiary.devserver import RunningGateway

Answer = Callable[[Exchange], object]


def access_to(peer: HttpPeer, gateway: RunningGateway) -> SpiffeGatewayClient:
    """Return access to `peer` with the tokens of a real run."""
    return SpiffeGatewayClient(
        JWTSource(gateway.svid_file), TransactionTokenClient(gateway.trat_file), peer.where
    )


def body_of(peer: HttpPeer, which: int = -1) -> dict[str, Any]:
    """Return the JSON body of a request."""
    found: dict[str, Any] = json.loads(peer.asked[which].body)
    return found


def says(text: str | None = "Well.", **message: Any) -> Answer:
    """Answer a chat with this message; `finish_reason` and `usage` are taken out of it."""
    reply: dict[str, Any] = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "gpt-4o-2026-01",
        "system_fingerprint": "fp_1",
        "choices": [
            {
                "index": 0,
                "finish_reason": message.pop("finish_reason", "stop"),
                "message": {"role": "assistant", "content": text},
            }
        ],
        "usage": message.pop(
            "usage", {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
        ),
    }
    reply["choices"][0]["message"] |= message
    return lambda exchange: exchange.json(reply)


def refuses(status: int, code: str, *headers: tuple[str, str]) -> Answer:
    """Answer with an error as OpenAI writes it."""
    error = {"message": "the prompt 'tell nobody' is refused", "type": "x", "code": code}
    return lambda exchange: exchange.json({"error": error}, status, *headers)


def streams(*chunks: dict[str, Any] | str, ends: bool = True) -> Answer:
    """Answer with a stream of these deltas, or of what is text already."""

    def answer(exchange: Exchange) -> None:
        exchange.start_events()
        for chunk in chunks:
            exchange.chunk(f"data: {chunk if isinstance(chunk, str) else json.dumps(chunk)}\n\n")
        if ends:
            exchange.chunk("data: [DONE]\n\n")
        exchange.end_chunks()

    return answer


def delta(**members: Any) -> dict[str, Any]:
    """Return a chunk whose delta has these members; `finish` ends it."""
    finish = members.pop("finish", None)
    choice = {"index": 0, "delta": members, "finish_reason": finish}
    return {"id": "c1", "model": "gpt-4o-2026-01", "choices": [choice]}


def call(index: int, name: str | None, arguments: str, call_id: str | None = None) -> Any:
    """Return a fragment of a tool call."""
    function = {"arguments": arguments} | ({} if name is None else {"name": name})
    found: dict[str, Any] = {"index": index, "function": function}
    return found if call_id is None else found | {"id": call_id, "type": "function"}


USAGE = {
    "id": "c1",
    "model": "gpt-4o-2026-01",
    "choices": [],
    "usage": {"prompt_tokens": 7, "completion_tokens": 4, "total_tokens": 11},
}
"""The chunk that tells a stream's usage."""
