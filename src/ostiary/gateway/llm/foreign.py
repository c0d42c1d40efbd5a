"""Chats and embeddings through an `http_client` that a caller brings, of the guide's shape.

It has `request(method=, path=, headers=, body=)`, which returns an object with `status`,
`headers` and `data`, and for streams `request_stream`, which yields lines of bytes. What it
raises that is not ours becomes a `GatewayError`. Neighbour: `clients`, which needs none.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import Any, Final, TypeVar

from ..._route import FailedReply
from ..._wire.headers import Headers
from ...errors import OstiaryError
from ..dialects.openai import parse_chunk, parse_embeddings, parse_reply
from ..errors import (
    GatewayConnectionLostError,
    GatewayError,
    GatewayProtocolError,
)
from ..http import GatewayHttpClient
from ..models import ChatChunk, ChatReply, Embeddings
from ..refusals import refusal
from .model_ref import ModelRef

__all__ = ["ForeignHttp", "is_foreign"]

T = TypeVar("T")

_CHAT: Final = "/v1/chat/completions"
_EMBEDDINGS: Final = "/v1/embeddings"
_DONE: Final = b"[DONE]"


def is_foreign(http_client: object) -> bool:
    """Whether calls must go through this object; our own is but the place of a gateway."""
    return http_client is not None and type(http_client) is not GatewayHttpClient


class ForeignHttp:
    """Requests with both tokens, read as any other; nothing is retried here."""

    def __init__(self, access: Any, http_client: Any) -> None:
        self._access = access
        self._http = http_client

    def chat(self, body: Mapping[str, Any], model: ModelRef) -> ChatReply[Any]:
        """Send a chat and return its reply."""
        return self._call("Gateway request", _CHAT, body, model, parse_reply)

    def embed(self, texts: list[str], model: ModelRef, body: Mapping[str, Any]) -> Embeddings:
        """Send texts in one request and return their vectors, in order."""
        found = self._call(
            "Embeddings request", _EMBEDDINGS, {**body, "input": texts}, model, parse_embeddings
        )
        if not found.vectors:
            raise GatewayError("the gateway returned no embeddings")
        if len(found.vectors) != len(texts):
            raise GatewayError(f"Expected {len(texts)} embeddings, got {len(found.vectors)}")
        return found

    def stream(self, body: Mapping[str, Any], model: ModelRef) -> Generator[ChatChunk, None, None]:
        """Send a chat and yield the pieces of its reply."""
        sent = {**body, "model": model.model, "stream": True}
        problem = ""
        try:
            for line in self._http.request_stream(
                method="POST", path=_CHAT, headers=self._headers(model), body=sent
            ):
                name, _, data = bytes(line).strip().partition(b":")
                if name != b"data":
                    continue
                if data.strip() == _DONE:
                    return
                if (chunk := parse_chunk(data.strip())) is not None:
                    yield chunk
        except OstiaryError:
            raise
        except Exception as error:  # noqa: BLE001  (whatever a caller's object raises)
            problem = type(error).__name__
        if problem:
            raise GatewayError(f"Gateway stream failed: the http_client raised {problem}")
        raise GatewayConnectionLostError(
            "the stream ended without its end mark; what came may not be all", sent=True
        )

    def _call(
        self,
        what: str,
        path: str,
        body: Mapping[str, Any],
        model: ModelRef,
        read: Callable[[str], T],
    ) -> T:
        headers = self._headers(model)
        try:
            response = self._http.request(
                method="POST", path=path, headers=headers, body={**body, "model": model.model}
            )
        except OstiaryError:
            raise
        except Exception as error:  # noqa: BLE001  (whatever a caller's object raises)
            problem = type(error).__name__
        else:
            if response.status != 200:
                raise _refused(response, path)
            try:
                return read(response.data)
            except GatewayProtocolError as error:
                raise GatewayProtocolError(f"Invalid JSON: {error.message}", sent=True) from None
        finally:
            del headers  # a traceback records the locals of the frame that raises
        raise GatewayError(f"{what} failed: the http_client raised {problem}")

    def _headers(self, model: ModelRef) -> dict[str, str]:
        return {**self._access.get_credentials().auth_headers(), "X-Provider": model.provider}


def _refused(response: Any, path: str) -> GatewayError:
    headers = Headers([(str(k), str(v)) for k, v in dict(response.headers or {}).items()])
    data = response.data or ""
    return refusal(
        FailedReply(
            status=int(response.status),
            headers=headers,
            body=data if isinstance(data, bytes) else str(data).encode(),
            retry_after=None,
            request_id=headers.get("x-request-id"),
            endpoint=path,
        )
    )
