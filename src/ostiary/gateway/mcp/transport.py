"""The MCP library's HTTP, sent by our own pool: sockets, limits, deadlines and both tokens.

The library speaks through httpx2, and httpx2 through what it is given here. What the gateway
refuses is kept as our error; the library gets a JSON-RPC error that names it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, final

import httpx2
import msgspec

from ..._decoders import decoder_of
from ...errors import OstiaryError, adopt
from ...http._async import AsyncPool, AsyncResponseStream
from ...http._replies import MAX_BODY, refusal
from ...secret import Secret
from ..auth.credentials import GatewayCredentials
from ..client import GatewayAccess
from ..errors import FAMILY
from ..refusals import refusal as gateway_refusal

__all__ = ["KEPT", "PoolTransport"]

KEPT: Final = "ostiary"
"""The member of a JSON-RPC error's data that names a kept error."""

_ERROR_CODE: Final = -32000
_MOST_KEPT: Final = 64

# The pool writes its own; the rest is what the protocol asks for.
_NOT_PASSED: Final = frozenset(
    {"accept-encoding", "connection", "content-length", "host", "user-agent"}
)


class _Frame(msgspec.Struct):
    """What tells requests from notifications, and our errors from a server's own."""

    jsonrpc: str | None = None
    id: Any = None


_frame: Final = decoder_of(_Frame).decode


@final
class PoolTransport(httpx2.AsyncBaseTransport):
    """Sends each request with the access object's tokens of that moment.

    A 401 makes the tokens be fetched anew, once per request. Until `opened` is set errors are
    raised, which ends the session that is being opened; later they are kept, each under a
    number, for the call that they belong to.
    """

    def __init__(self, pool: AsyncPool, access: GatewayAccess) -> None:
        self._pool = pool
        self._access = access
        self._kept: dict[str, OstiaryError] = {}
        self._count = 0
        self.opened = False
        self.session_lost = False

    def take(self, number: object) -> OstiaryError | None:
        """Return the error kept under a number, once."""
        return self._kept.pop(number, None) if isinstance(number, str) else None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request of the library's."""
        body = await request.aread()
        headers: dict[str, str | Secret] = {
            name: value for name, value in request.headers.items() if name not in _NOT_PASSED
        }
        failure: OstiaryError
        try:
            return await self._sent(request, headers, body)
        except OstiaryError as error:
            # Without its frames, whose locals hold what was sent.
            failure = adopt(error, FAMILY).with_traceback(None)
        if not self.opened:
            del request, body, headers
            try:
                raise failure
            finally:
                del failure
        return self._named(failure, body)

    async def _sent(
        self, request: httpx2.Request, headers: Mapping[str, str | Secret], body: bytes
    ) -> httpx2.Response:
        path = request.url.raw_path
        again = True
        while True:
            proof = await self._access.get_credentials_async()
            reply = await self._pool.stream(
                request.method,
                path,
                body=body or None,
                headers={**headers, **proof.hidden_headers()},
                # The caller's own limit ends the wait: a tool may work before it says a word.
                timeout=None,
                idle_timeout=None,
                check=False,
            )
            if not (reply.status == 401 and again):
                break
            again = False
            await reply.close()
            self._refused(proof)
        return await self._read(request, reply)

    def _refused(self, proof: GatewayCredentials) -> None:
        self._access.invalidate(proof)

    async def _read(self, request: httpx2.Request, reply: AsyncResponseStream) -> httpx2.Response:
        kind = (reply.headers.get("content-type") or "").partition(";")[0].strip().lower()
        headers = [(name, value) for name, value in reply.headers.items() if _told(name)]
        if reply.status < 400 and kind == "text/event-stream":
            return httpx2.Response(reply.status, headers=headers, stream=_Body(reply))
        try:
            content = await reply.read(None if reply.status < 400 else MAX_BODY)
        finally:
            await reply.close()
        if reply.status == 404 and "mcp-session-id" in request.headers:
            self.session_lost = True
        if reply.status >= 400 and not _is_rpc(content):
            raise refusal(
                reply.status,
                reply.headers,
                content,
                f"{request.method} {request.url.path}",
                self._pool.settings.base,
                gateway_refusal,
            )
        return httpx2.Response(reply.status, headers=headers, content=content)

    def _named(self, failure: OstiaryError, body: bytes) -> httpx2.Response:
        """Keep an error, and answer with its number; a notification has nobody to ask for it."""
        asked = _read_frame(body)
        number = f"{id(self):x}-{self._count}"
        self._count += 1
        if asked.id is not None:
            self._kept[number] = failure
            if len(self._kept) > _MOST_KEPT:
                del self._kept[next(iter(self._kept))]
        error = {"code": _ERROR_CODE, "message": "refused", "data": {KEPT: number}}
        return httpx2.Response(500, json={"jsonrpc": "2.0", "id": None, "error": error})


@final
class _Body(httpx2.AsyncByteStream):
    """A response's body as it comes; its connection is closed with it."""

    def __init__(self, reply: AsyncResponseStream) -> None:
        self._reply = reply

    async def __aiter__(self) -> AsyncIterator[bytes]:
        problem = None
        try:
            async for piece in self._reply:
                yield bytes(piece)
        except OstiaryError as error:
            problem = type(error).__name__
        if problem is not None:
            raise httpx2.ReadError(problem)

    async def aclose(self) -> None:
        await self._reply.close()


def _told(name: str) -> bool:
    # The body was decoded, and has another length now.
    return name.lower() not in {"content-encoding", "content-length", "transfer-encoding"}


def _read_frame(body: bytes) -> _Frame:
    try:
        return _frame(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _Frame()


def _is_rpc(body: bytes) -> bool:
    return _read_frame(body).jsonrpc is not None
