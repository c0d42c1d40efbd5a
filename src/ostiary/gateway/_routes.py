"""The wire contract of a gateway, and of servers that speak as OpenAI does, a line each.

Neighbours: `_bodies.py` for what is sent, `dialects` for what comes back and for providers
that write otherwise. A gateway has the same routes for all providers: `X-Provider` tells
which. A provider's own base URL has the version in it.
"""

from __future__ import annotations

from typing import Any, Final

from .._route import Route
from .dialects.openai import OpenAI, read_chunk, read_embeddings, read_reply
from .models import ChatReply, Embeddings
from .refusals import refusal

__all__ = ["DIRECT", "GATEWAY", "HEALTH"]


def _chat(template: str) -> Route[ChatReply[Any]]:
    return Route("POST", template, ChatReply, decode=read_reply, fail=refusal)


def _chunks(template: str) -> Route[Any]:
    return Route("POST", template, Any, decode=read_chunk, fail=refusal)


def _vectors(template: str) -> Route[Embeddings]:
    return Route("POST", template, Embeddings, decode=read_embeddings, fail=refusal)


# fmt: off
CHAT              = _chat("/v1/chat/completions")
CHAT_STREAM       = _chunks("/v1/chat/completions")
EMBEDDINGS        = _vectors("/v1/embeddings")
HEALTH            = Route("GET", "/health", None, fail=refusal)

DIRECT_CHAT       = _chat("/chat/completions")
DIRECT_STREAM     = _chunks("/chat/completions")
DIRECT_EMBEDDINGS = _vectors("/embeddings")
# fmt: on

GATEWAY: Final = OpenAI(CHAT, CHAT_STREAM, EMBEDDINGS)
DIRECT: Final = OpenAI(DIRECT_CHAT, DIRECT_STREAM, DIRECT_EMBEDDINGS)
