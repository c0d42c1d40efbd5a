"""What the gateway asks of a provider, whoever plays it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, Protocol

from .calls import CallRecord

__all__ = ["Provider"]


class Provider(Protocol):
    """Answers admitted requests; a refusal is an `HttpRefusal`.

    `found` is the request's JSON document, whose `model` the run may use; what the answer
    cost goes into `call`. `original` asks for what the original client can read.
    """

    def check(self, found: dict[str, Any], kind: str) -> None:
        """Raise the 400 of a document that is no request of this kind."""

    async def chat(self, found: dict[str, Any], call: CallRecord, *, original: bool) -> bytes:
        """Return a completion as JSON."""
        ...

    async def stream(
        self, found: dict[str, Any], call: CallRecord, *, original: bool
    ) -> AsyncGenerator[bytes]:
        """Return the chunks of a completion, each as JSON on one line, without an end mark."""
        ...

    async def embed(self, found: dict[str, Any], call: CallRecord) -> bytes:
        """Return embeddings as JSON."""
        ...

    async def close(self) -> None:
        """End what is open."""
