"""A provider played by a server that speaks the OpenAI wire, anywhere: requests go on to it.

The caller's tokens stay here; the provider's key, which the caller never sees, goes in their
place. Nothing is sent twice: whether a call may be repeated is for the caller to decide.
Neighbour: `endpoints` has admitted what comes here.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any, Final, final

import msgspec

from ..._decoders import decoder_of
from ...errors import (
    APIError,
    ConnectError,
    DeadlineError,
    GatewayTimeoutError,
    OstiaryError,
    RateLimitError,
    UnavailableError,
)
from ...http import AsyncPool
from ...secret import Secret
from ..audit import Event
from ..faults import Refusal
from ..http.refusals import HttpRefusal
from ..options import ForwardOptions
from ..vault import Vault
from .calls import CallRecord
from .instances import is_list, is_object
from .wire import invalid

if TYPE_CHECKING:
    from ..._io.aio_http import AsyncEventStream

__all__ = ["Upstream"]

_PATHS: Final = {"chat": "/chat/completions", "embed": "/embeddings"}
_LONGEST_MESSAGE: Final = 500
_LONGEST_WAIT: Final = 3600
# The caller's mistakes, which the upstream describes best.
_CALLERS: Final = frozenset({400, 404, 409, 413, 422})


class _Usage(msgspec.Struct):
    prompt_tokens: float | None = None
    completion_tokens: float | None = None


class _Metered(msgspec.Struct):
    usage: _Usage | None = None


class _Said(msgspec.Struct):
    message: str | None = None
    param: str | None = None


class _Refused(msgspec.Struct):
    error: _Said


_METERED: Final = decoder_of(_Metered)
_REFUSED: Final = decoder_of(_Refused)
_DOCUMENT: Final = decoder_of(dict[str, Any])


@final
class Upstream:
    """Forwards one provider's requests."""

    def __init__(self, options: ForwardOptions, vault: Vault) -> None:
        self._options = options
        self._vault = vault
        self._pool = AsyncPool(
            options.base_url,
            credentials=self._credentials,
            timeout=options.timeout,
            max_retries=0,
        )

    def _credentials(self) -> dict[str, Secret]:
        key = self._options.key
        if key is None and self._options.credential is not None:
            key = self._from_vault(self._options.credential)
        return {} if key is None else {"Authorization": Secret(f"Bearer {key.reveal()}")}

    def _from_vault(self, path: str) -> Secret | None:
        vault = self._vault
        credential = vault.credentials.get(path)
        if credential is None:
            return None
        try:
            secret = Secret(vault.open_secret(credential).strip())
        except Refusal as refusal:
            problem = f"the provider's key cannot be read: {refusal.message}"
        else:
            vault.record(
                Event("credential.use", "use", resource=path, reason="forwarded by the gateway")
            )
            return secret
        raise HttpRefusal(503, "provider_unavailable", problem)

    # -- the provider -------------------------------------------------------

    def check(self, found: dict[str, Any], kind: str) -> None:
        """Raise the 400 of what no server would take; the rest is for the upstream to judge."""
        if kind == "chat" and not (isinstance(found.get("messages"), list) and found["messages"]):
            raise invalid("messages", "messages is missing or empty; send at least one")
        if kind == "embed" and not isinstance(found.get("input"), str | list):
            raise invalid("input", "input is neither a text nor a list of texts")

    async def chat(self, found: dict[str, Any], call: CallRecord, *, original: bool) -> bytes:
        """Forward a chat and return the answer."""
        body = await self._asked("chat", found, call)
        return _readable_by_the_original(body) if original else body

    async def embed(self, found: dict[str, Any], call: CallRecord) -> bytes:
        """Forward texts and return their vectors."""
        return await self._asked("embed", found, call)

    async def stream(
        self, found: dict[str, Any], call: CallRecord, *, original: bool
    ) -> AsyncGenerator[bytes]:
        """Forward a chat and return its chunks as they come."""
        failure: OstiaryError
        try:
            events = await self._pool.events(
                "POST", _PATHS["chat"], json=found, terminator=b"[DONE]"
            )
        except OstiaryError as error:
            failure = error
        else:
            return self._chunks(events, call)
        raise _refusal(failure)

    async def close(self) -> None:
        await self._pool.close()

    async def _asked(self, kind: str, found: dict[str, Any], call: CallRecord) -> bytes:
        failure: OstiaryError
        try:
            response = await self._pool.request("POST", _PATHS[kind], json=found)
        except OstiaryError as error:
            failure = error
        else:
            body = response.read()
            if not _metered(body, call):
                raise HttpRefusal(502, "upstream_error", "the upstream's answer is not JSON")
            return body
        raise _refusal(failure)

    async def _chunks(
        self, events: AsyncEventStream[str], call: CallRecord
    ) -> AsyncGenerator[bytes]:
        failure: OstiaryError | None = None
        async with events:
            try:
                async for event in events:
                    data = event.data.encode()
                    if b'"usage"' in data:
                        _metered(data, call)
                    if b"\n" in data:  # one document on several lines: our events have one
                        data = msgspec.json.format(data, indent=-1)
                    yield data
            except OstiaryError as error:
                failure = error
            except msgspec.DecodeError:
                failure = OstiaryError("not JSON")
        if failure is not None:
            raise _refusal(failure)


def _metered(body: bytes, call: CallRecord) -> bool:
    """Note what a call cost; False for what is no JSON object. Odd usage costs nothing."""
    try:
        found = _METERED.decode(body)
    except msgspec.ValidationError:
        return body.lstrip()[:1] == b"{"
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    if found.usage is not None:
        call.prompt_tokens = _whole(found.usage.prompt_tokens)
        call.completion_tokens = _whole(found.usage.completion_tokens)
    return True


def _whole(number: object) -> int:
    good = isinstance(number, int | float) and math.isfinite(number) and number > 0
    return int(number) if good and isinstance(number, int | float) else 0


def _readable_by_the_original(body: bytes) -> bytes:
    """Put texts where null is usual, and whole numbers into the usage (C5, C7)."""
    found = _DOCUMENT.decode(body)
    for choice in _objects(found.get("choices")):
        for message in _objects([choice.get("message")]):
            if message.get("content") is None:
                message["content"] = ""
            if message.get("tool_calls") is None:
                message.pop("tool_calls", None)
            for tool in _objects(message.get("tool_calls")):
                for function in _objects([tool.get("function")]):
                    if not _is_json_object(function.get("arguments")):
                        function["arguments"] = "{}"
    for usage in _objects([found.get("usage")]):
        for name in ("prompt_tokens", "completion_tokens", "total_tokens"):
            usage[name] = _whole(usage.get(name))
    return msgspec.json.encode(found)


def _objects(value: object) -> list[dict[str, Any]]:
    """Return the objects of a list; nothing of what is none."""
    return [one for one in value if is_object(one)] if is_list(value) else []


def _is_json_object(text: object) -> bool:
    try:
        return isinstance(text, str) and isinstance(msgspec.json.decode(text), dict)
    except (msgspec.DecodeError, RecursionError):
        return False


def _refusal(error: OstiaryError) -> HttpRefusal:
    """Return what a caller is told of an upstream's failure; its key is not the caller's affair."""
    if isinstance(error, RateLimitError):
        after = math.ceil(min(max(error.retry_after or 1, 1), _LONGEST_WAIT))
        return HttpRefusal(
            429,
            "rate_limited",
            f"the provider allows no more calls for now; wait {after} s",
            headers=((b"retry-after", str(after).encode()),),
        )
    if isinstance(error, APIError) and error.status in _CALLERS:
        said = _said(error.body)
        text = said.message or "the provider refused the request"
        return HttpRefusal(error.status, "invalid_request", text, details={"param": said.param})
    if isinstance(error, ConnectError | UnavailableError):
        return HttpRefusal(
            503, "upstream_unavailable", "the provider cannot be reached; try again later"
        )
    if isinstance(error, DeadlineError | GatewayTimeoutError):
        return HttpRefusal(504, "upstream_timeout", "the provider did not answer in time")
    if isinstance(error, APIError) and error.status in {401, 403}:
        return HttpRefusal(
            502, "upstream_error", "the provider does not accept the gateway's key; correct it"
        )
    return HttpRefusal(502, "upstream_error", "the provider failed to answer; try again later")


def _said(body: bytes) -> _Said:
    try:
        said = _REFUSED.decode(body).error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _Said()
    text = said.message or ""
    if not text or len(text) > _LONGEST_MESSAGE or not text.replace("\n", " ").isprintable():
        return _Said(param=said.param)
    return said
