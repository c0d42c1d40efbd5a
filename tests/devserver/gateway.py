"""What the tests of the embedded gateway share: requests with a run's proof, as bytes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from ostiary.devserver import RunningGateway, RunningRun
from tests.devserver.web import Reply, Web

CHAT = "/v1/chat/completions"
EMBED = "/v1/embeddings"
# What every client but the original one sends.
MODERN = {"User-Agent": "test/1"}


def proof(run: RunningGateway | RunningRun, provider: str | None = "ostiary") -> dict[str, str]:
    headers = MODERN | run.headers()
    if provider is not None:
        headers["X-Provider"] = provider
    return headers


def asking(text: Any = "Hello", **more: Any) -> dict[str, Any]:
    """A chat body with one user message."""
    return {"model": "echo", "messages": [{"role": "user", "content": text}]} | more


def refusal(reply: Reply) -> tuple[int, str]:
    """Return status and code of an error, whose shape is looked at."""
    document = reply.document
    assert set(document) == {"error"}
    error = document["error"]
    assert set(error) == {"message", "type", "code", "param"}
    assert error["message"]
    assert error["code"] == error["code"].lower()
    return reply.status, error["code"]


def events(web: Web) -> Iterator[Any]:
    """Yield the JSON of a chunked stream's events, and `[DONE]` as text; comments are left out."""
    text = ""
    for chunk in web.chunks():
        text += chunk.decode()
        *whole, text = text.split("\n\n")
        for event in whole:
            if event.startswith(":"):
                continue
            assert event.startswith("data: ")
            data = event.removeprefix("data: ")
            yield data if data == "[DONE]" else json.loads(data)
    assert text == ""


def stream(web: Web, document: dict[str, Any], headers: dict[str, Any]) -> list[Any]:
    """Ask for a stream and return its events."""
    web.send("POST", CHAT, document | {"stream": True}, headers=headers)
    status, found = web.head()
    assert status == 200
    assert dict(found)["content-type"] == "text/event-stream"
    return list(events(web))
