"""An answer that is a text and no JSON.

Neighbour: `ostiary.devserver.http.front` has the JSON.
"""

from __future__ import annotations

from typing import final

from starlette.types import Receive, Scope, Send

__all__ = ["Text"]


@final
class Text:
    """A text of the media type `kind`; an ASGI application."""

    def __init__(self, text: str, *, kind: bytes) -> None:
        self._body = text.encode()
        self._kind = kind

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [
            (b"content-type", self._kind),
            (b"content-length", str(len(self._body)).encode()),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": self._body})
