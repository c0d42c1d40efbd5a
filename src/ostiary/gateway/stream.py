"""What a stream of pieces adds up to, and the errors one may tell. No I/O here.

Neighbours: `dialects`, which read the pieces; `_async.py`, which has the stream itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec

from .._route import FailedReply
from .._wire.headers import Headers
from .errors import GatewayAPIError, GatewayConnectionLostError
from .models import ChatChunk, ChatReply, ToolCall, ToolCallDelta, Usage, sorted_calls
from .refusals import refusal

__all__ = ["Gathered", "cut_short", "said_no"]


class _Growing:
    """A tool call whose fragments still come."""

    __slots__ = ("id", "name", "pieces")

    def __init__(self) -> None:
        self.id = ""
        self.name = ""
        self.pieces: list[str] = []


class Gathered:
    """Gathers the pieces of one stream into the reply that `chat` would have returned."""

    __slots__ = (
        "_at",
        "_calls",
        "_finish_reason",
        "_id",
        "_logprobs",
        "_model",
        "_reasoning",
        "_refusal",
        "_texts",
        "usage",
    )

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._calls: list[_Growing] = []
        self._at: dict[int, _Growing] = {}
        self._refusal: list[str] = []
        self._reasoning: list[str] = []
        self._logprobs: dict[str, Any] | None = None
        self._finish_reason: str | None = None
        self._model = ""
        self._id = ""
        self.usage: Usage | None = None
        """What the stream said last that it used."""

    def add(self, chunk: ChatChunk) -> None:
        """Take the next piece."""
        if chunk.text:
            self._texts.append(chunk.text)
        if chunk.tool_calls:
            for delta in chunk.tool_calls:
                self._grow(delta)
        if chunk.finish_reason is not None:
            self._finish_reason = chunk.finish_reason
        if chunk.usage is not None:
            self.usage = chunk.usage
        if not self._model:
            self._model = chunk.model
        if not self._id:
            self._id = chunk.id
        if chunk.reasoning:
            self._reasoning.append(chunk.reasoning)
        if chunk.refusal:
            self._refusal.append(chunk.refusal)
        if chunk.logprobs is not None:
            self._logprobs = _longer(self._logprobs, chunk.logprobs)

    def _grow(self, delta: ToolCallDelta) -> None:
        call = self._at.get(delta.index)
        # Servers that give every call the same index tell them apart by their ids.
        if call is None or (delta.id and call.id and delta.id != call.id):
            call = self._at[delta.index] = _Growing()
            self._calls.append(call)
        if delta.id:
            call.id = delta.id
        # Some repeat the name in every fragment, and none sends it in pieces.
        if delta.name:
            call.name = delta.name
        if delta.arguments:
            call.pieces.append(delta.arguments)

    @property
    def model(self) -> str:
        """The model that answers, as the stream has it."""
        return self._model

    def reply(self) -> ChatReply[Any]:
        """Return what has come so far as a reply."""
        good, bad = sorted_calls(
            [ToolCall(call.id, call.name, "".join(call.pieces)) for call in self._calls]
        )
        return ChatReply(
            text="".join(self._texts),
            tool_calls=good,
            invalid_tool_calls=bad,
            finish_reason=self._finish_reason,
            usage=self.usage,
            model=self._model,
            id=self._id,
            refusal="".join(self._refusal) or None,
            reasoning="".join(self._reasoning) or None,
            logprobs=self._logprobs,
        )


def _longer(one: dict[str, Any] | None, other: dict[str, Any]) -> dict[str, Any]:
    """Join two pieces of logprobs, each an object of lists."""
    both: dict[str, Any] = dict(one or {})
    for name, value in other.items():
        before = both.get(name)
        if isinstance(before, list) and isinstance(value, list):
            both[name] = [*cast("list[object]", before), *cast("list[object]", value)]
        elif value is not None or name not in both:
            both[name] = value
    return both


def cut_short() -> GatewayConnectionLostError:
    """Make the error for a stream without its end."""
    return GatewayConnectionLostError(
        "the stream ended without its end mark; what came may not be all", sent=True
    )


# What the words of an error inside a 200 would have been as a status, by how they begin.
_STATUS_OF: Final[tuple[tuple[str, int], ...]] = (
    ("rate_limit", 429),
    ("too_many_requests", 429),
    ("insufficient_quota", 429),
    ("resource_exhausted", 429),
    ("quota", 429),
    ("overloaded", 503),
    ("unavailable", 503),
    ("service_unavailable", 503),
    ("upstream_timeout", 504),
    ("timeout", 504),
    ("deadline_exceeded", 504),
    ("upstream", 502),
    ("svid_", 401),
    ("txn_token_", 401),
    ("authentication", 401),
    ("invalid_api_key", 401),
    ("unauthenticated", 401),
    ("unauthorized", 401),
    ("permission", 403),
    ("forbidden", 403),
    ("model_not_allowed", 403),
    ("provider_not_allowed", 403),
    ("scope_not_authorized", 403),
    ("not_found", 404),
    ("model_not_found", 404),
    ("invalid", 400),
    ("bad_request", 400),
    ("context_length_exceeded", 400),
)


def said_no(error: object) -> GatewayAPIError:
    """Return the exception for the `error` object of a body or an event that came with a 200.

    Its status is the one that the peer's word for it would have had; 500 for words that are
    not known.
    """
    words = [error]
    if isinstance(error, Mapping):
        members = cast("Mapping[str, object]", error)
        words = [members.get(name) for name in ("code", "type", "status")]
    status = 500
    for word in words:
        if isinstance(word, int) and 400 <= word < 600:
            status = word
            break
        if isinstance(word, str):
            lowered = word.lower()
            found = next((s for begins, s in _STATUS_OF if lowered.startswith(begins)), None)
            if found is not None:
                status = found
                break
    return refusal(
        FailedReply(
            status=status,
            headers=Headers(()),
            body=msgspec.json.encode({"error": error})[:_MAX_BODY],
            retry_after=None,
            request_id=None,
            endpoint="the answer, begun with status 200,",
        )
    )


_MAX_BODY: Final = 64 * 1024
