"""The provider that is always there: the built-in model, on the wire of OpenAI.

Neighbours: `echo` thinks, `completions` words it, `vectors` makes embeddings.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator
from typing import Any, Final, final

import msgspec

from ..clock import Clock
from ..http.front import Cut
from ..http.refusals import HttpRefusal
from . import completions, echo, vectors
from .calls import CallRecord
from .wire import ChatBody, EmbeddingsBody, decode, invalid

__all__ = ["BuiltIn"]

_INPUTS: Final = 2048
_INPUT_TOKENS: Final = 8192
_DIMENSIONS: Final = 4096

_encode = msgspec.json.Encoder().encode


@final
class BuiltIn:
    """Plays one provider. `any_model` answers to every name, for a stand-in."""

    def __init__(self, clock: Clock, *, pace: float, any_model: bool) -> None:
        self._clock = clock
        self._pace = pace
        self._any_model = any_model

    async def chat(self, found: dict[str, Any], call: CallRecord, *, original: bool) -> bytes:
        """Return the whole answer."""
        body, said = self._think(found, call)
        return _encode(
            completions.completion(
                said, id=_id(), model=body.model, created=self._now(), original=original
            )
        )

    async def stream(
        self, found: dict[str, Any], call: CallRecord, *, original: bool
    ) -> AsyncGenerator[bytes]:
        """Return the chunks; what can be refused is refused before the first."""
        body, said = self._think(found, call)
        return self._chunks(body, said)

    async def embed(self, found: dict[str, Any], call: CallRecord) -> bytes:
        """Return the vectors of the inputs, in their order."""
        body = decode(found, EmbeddingsBody)
        self._known(body.model)
        dimensions = vectors.DIMENSIONS if body.dimensions is None else body.dimensions
        if not 1 <= dimensions <= _DIMENSIONS:
            raise invalid("dimensions", f"dimensions is not between 1 and {_DIMENSIONS}")
        inputs = _inputs(body.input)
        counted = 0
        data: list[dict[str, Any]] = []
        for index, text in enumerate(inputs):
            size = len(echo.tokens(text)) if isinstance(text, str) else len(text)
            if size > _INPUT_TOKENS:
                raise invalid("input", f"text {index} has more than {_INPUT_TOKENS} tokens; cut it")
            counted += size
            vector = vectors.vector(text, dimensions)
            wanted = body.encoding_format == "base64"
            data.append(
                {
                    "object": "embedding",
                    "index": index,
                    "embedding": vectors.as_base64(vector) if wanted else vector,
                }
            )
            if index % 64 == 63:
                await asyncio.sleep(0)  # others have calls too
        call.prompt_tokens = counted
        return _encode(
            {
                "object": "list",
                "model": body.model,
                "data": data,
                "usage": {"prompt_tokens": counted, "total_tokens": counted},
            }
        )

    async def close(self) -> None:
        """There is nothing to close."""

    def check(self, found: dict[str, Any], kind: str) -> None:
        """Raise the 400 of a body that is not valid."""
        decode(found, ChatBody if kind == "chat" else EmbeddingsBody)

    def _think(self, found: dict[str, Any], call: CallRecord) -> tuple[ChatBody, echo.Answer]:
        body = decode(found, ChatBody)
        self._known(body.model)
        said = echo.answer(body, self._pace)
        if said.fail is not None:
            raise _failure(said.fail, said.retry_after)
        call.prompt_tokens = said.prompt_tokens
        call.completion_tokens = said.completion_tokens
        return body, said

    async def _chunks(self, body: ChatBody, said: echo.Answer) -> AsyncGenerator[bytes]:
        with_usage = bool(body.stream_options and body.stream_options.include_usage)
        pieces = completions.chunks(
            said, id=_id(), model=body.model, created=self._now(), with_usage=with_usage
        )
        for number, piece in enumerate(pieces):
            if number == said.error_after:
                raise HttpRefusal(502, "upstream_error", "an error that the prompt asked for")
            if number == said.cut_after:
                raise Cut
            if said.pace:
                await asyncio.sleep(said.pace)
            yield _encode(piece)

    def _known(self, model: str) -> None:
        if not self._any_model and model not in echo.MODELS:
            raise HttpRefusal(
                404,
                "model_not_found",
                f"the built-in provider has the models {', '.join(echo.MODELS)}; use one of them",
                details={"param": "model"},
            )

    def _now(self) -> int:
        return int(self._clock.wall())


def _id() -> str:
    return f"chatcmpl-{uuid.uuid4().hex}"


def _inputs(given: str | list[str | int | list[int]]) -> list[str | list[int]]:
    """Return the inputs one by one: a list of numbers alone is one text in tokens."""
    found: list[str | list[int]]
    if isinstance(given, str):
        found = [given]
    elif given and all(isinstance(one, int) for one in given):
        found = [[one for one in given if isinstance(one, int)]]
    else:
        found = [one for one in given if not isinstance(one, int)]
        if len(found) != len(given):
            raise invalid("input", "input mixes numbers with texts; send lists of one kind")
    if not found or not all(found):
        raise invalid("input", "input has nothing in it, or an empty text")
    if len(found) > _INPUTS:
        raise invalid("input", f"input has more than {_INPUTS} texts; send them in several calls")
    return found


def _failure(status: int, retry_after: int | None) -> HttpRefusal:
    """Return the refusal that the prompt asked for."""
    codes = {400: "invalid_request", 401: "svid_invalid", 403: "model_not_allowed"}
    codes |= {413: "too_large", 429: "rate_limited", 503: "unavailable", 504: "timeout"}
    headers: tuple[tuple[bytes, bytes], ...] = ()
    if retry_after is not None:
        headers = ((b"retry-after", str(retry_after).encode()),)
    return HttpRefusal(
        status,
        codes.get(status, "upstream_error" if status >= 500 else "invalid_request"),
        "a refusal that the prompt asked for",
        headers=headers,
    )
