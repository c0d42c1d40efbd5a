"""The one way into every HTTP domain: admission, errors as JSON, limits, an end to lost work.

An ASGI application around a domain's own. It never buffers or compresses an answer.
Neighbours: `admission` decides, `connection` says when the client is gone.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
import traceback
import uuid
from collections.abc import Callable
from typing import Final, Protocol, TypeVar, final
from urllib.parse import unquote_to_bytes

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .admission import Admission
from .connection import Connection
from .refusals import HttpRefusal, error_body
from .staged import HttpFault, HttpFaults

__all__ = ["Cut", "Front", "Json", "Meter", "read_body", "read_json"]

T = TypeVar("T")

_log = logging.getLogger(__name__)

_BODY_SECONDS: Final = 30.0
_REQUEST_ID: Final = re.compile(rb"[\w.:-]{1,128}")
_PREFLIGHT: Final = [
    (b"access-control-allow-methods", b"GET, POST, PUT, PATCH, DELETE"),
    (
        b"access-control-allow-headers",
        b"Authorization, Content-Type, Idempotency-Key, Last-Event-ID, X-Request-ID",
    ),
    (b"access-control-max-age", b"600"),
]


class Meter(Protocol):
    """Told of every request, to count it."""

    def began(self) -> None: ...

    def ended(self, seconds: float) -> None: ...


@final
class Front:
    """Admit requests, hand them to `app`, and answer whatever goes wrong.

    `error` writes a refusal as the domain's error body. `prepare` is called with the scope of
    every request before anything else.
    """

    def __init__(
        self,
        app: ASGIApp,
        admission: Admission,
        faults: HttpFaults,
        meter: Meter,
        *,
        error: Callable[[HttpRefusal], bytes] = error_body,
        prepare: Callable[[Scope], None] | None = None,
    ) -> None:
        self._app = app
        self._admission = admission
        self._faults = faults
        self._meter = meter
        self._error = error
        self._prepare = prepare

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        connection: Connection = scope["state"]["connection"]
        connection.request = asyncio.current_task()
        answer = _Answer(send, scope)
        scope["state"]["request_id"] = answer.request_id
        if self._prepare is not None:
            self._prepare(scope)
        began = time.perf_counter()
        self._meter.began()
        try:
            await self._answer(scope, receive, answer, connection)
        except asyncio.CancelledError:
            # Nobody is left to be told; the task ends here either way.
            if not connection.lost:
                connection.abort()
        finally:
            connection.request = None
            self._meter.ended(time.perf_counter() - began)

    async def _answer(
        self, scope: Scope, receive: Receive, answer: _Answer, connection: Connection
    ) -> None:
        refusal: HttpRefusal
        try:
            await self._admitted(scope, receive, answer, connection)
            return
        except Cut:
            connection.cut()
            return
        except HttpRefusal as found:
            refusal = found
        except HTTPException as found:
            refusal = _routing(found)
        except Exception as error:  # noqa: BLE001 - a fault of ours must not end the server
            refusal = _fault(error)
        if answer.started:
            connection.cut()  # what was begun cannot be taken back
            return
        headers = [(b"content-type", b"application/json"), *refusal.headers]
        if any(name == b"expect" for name, _ in scope["headers"]):
            # Whether the body will still come is the client's choice: do not wait for it.
            headers.append((b"connection", b"close"))
        refusal.request_id = answer.request_id
        body = self._error(refusal)
        await answer.whole(refusal.status, headers, body)

    async def _admitted(
        self, scope: Scope, receive: Receive, answer: _Answer, connection: Connection
    ) -> None:
        method: str = scope["method"]
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        raw: bytes = scope["raw_path"]
        origin = self._admission.allowed_origin(headers)
        if origin is not None:
            answer.headers += [(b"access-control-allow-origin", origin), (b"vary", b"Origin")]
        self._admission.check(method, raw, headers, local=connection.local)
        if origin is not None and method == "OPTIONS":
            await answer.whole(204, _PREFLIGHT, b"")
            return
        path = scope["path"] = decoded_path(raw)
        scope["app"] = self  # so that a route that is missing is raised, not answered in text
        fault = self._faults.take(method, path)
        if fault is not None:
            if fault.delay:
                await asyncio.sleep(fault.delay)
            if fault.drop:
                raise Cut
            answer.stage(fault)
            if fault.status is not None:
                await self._act(fault, answer)
                return
        await self._app(scope, self._bounded(receive), answer.send)

    async def _act(self, fault: HttpFault, answer: _Answer) -> None:
        status = fault.status or 500
        body = fault.body
        if body is None:
            staged = HttpRefusal(status, fault.code, "a fault that was staged for a test")
            staged.request_id = answer.request_id
            body = self._error(staged)
        headers = {"content-type": "application/json"}
        headers.update({name.lower(): value for name, value in fault.headers.items()})
        await answer.whole(
            status, [(name.encode(), value.encode()) for name, value in headers.items()], body
        )

    def _bounded(self, receive: Receive) -> Receive:
        """Count what comes in: a chunked body announces nothing."""
        total = 0
        limit = self._admission.body_limit
        if limit is None:
            return receive

        async def bounded() -> Message:
            nonlocal total
            message = await receive()
            total += len(message.get("body", b""))
            if total > limit:
                raise self._admission.too_large()
            return message

        return bounded


def decoded_path(raw: bytes) -> str:
    """Return the path as text; an encoded slash and a plain one are the same here.

    Segments that climb are refused wherever they stand, in either spelling.
    """
    try:
        path = (unquote_to_bytes(raw) if b"%" in raw else raw).decode("utf-8")
    except UnicodeDecodeError:
        path = "\0"
    if "\0" in path:
        raise HttpRefusal(400, "BAD_REQUEST", "the path is not UTF-8, percent-encoded; correct it")
    if "/." in path and not {".", ".."}.isdisjoint(path.split("/")):
        raise HttpRefusal(404, "NOT_FOUND", "a path with '.' or '..' in it names nothing here")
    return path


@final
class _Answer:
    """The way out: knows whether an answer has begun, and acts out a staged cut."""

    def __init__(self, send: Send, scope: Scope) -> None:
        self._send = send
        self.started = False
        given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
        if not _REQUEST_ID.fullmatch(given):
            given = uuid.uuid4().hex.encode()
        self.request_id = given.decode("ascii")
        self.headers: list[tuple[bytes, bytes]] = [(b"x-request-id", given)]
        self._bytes_left: int | None = None
        self._events_left: int | None = None

    def stage(self, fault: HttpFault) -> None:
        self._bytes_left = fault.cut_after
        self._events_left = fault.cut_after_events

    async def whole(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        if status != 204:
            headers = [*headers, (b"content-length", str(len(body)).encode())]
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            message["headers"] = [*message["headers"], *self.headers]
        elif self._bytes_left is not None or self._events_left is not None:
            await self._send_until_cut(message)
            return
        await self._send(message)

    async def _send_until_cut(self, message: Message) -> None:
        body: bytes = message.get("body", b"")
        keep = len(body)
        over = False
        if self._bytes_left is not None:
            over = keep >= self._bytes_left
            keep = min(keep, self._bytes_left)
            self._bytes_left -= keep
        if self._events_left is not None:
            if self._events_left == 0:
                keep, over = 0, True
            elif body.startswith((b"data:", b"id:", b"event:")):
                self._events_left -= 1
                over = over or self._events_left == 0
        if not over:
            await self._send(message)
            return
        if keep:
            # Without the end that a chunked body has: it is to look cut off.
            await self._send({**message, "body": body[:keep], "more_body": True})
        raise Cut


class Cut(Exception):
    """The connection ends here, in the middle of whatever it was sending."""


def _routing(error: HTTPException) -> HttpRefusal:
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        return HttpRefusal(
            405,
            "METHOD_NOT_ALLOWED",
            f"this path answers to {allowed}",
            headers=((b"allow", allowed.encode()),),
        )
    return HttpRefusal(error.status_code, "NOT_FOUND", "there is nothing at this path")


def _fault(error: Exception) -> HttpRefusal:
    # The place and the kind, never the message: it may quote what it failed on.
    where = "".join(traceback.format_tb(error.__traceback__)[-3:])
    _log.error("an internal %s while answering a request:\n%s", type(error).__name__, where)
    return HttpRefusal(
        500,
        "INTERNAL_ERROR",
        "the server failed to answer; repeat the request, and report what it logged if it "
        "fails again",
    )


class Json:
    """An answer that is one JSON document; an ASGI application."""

    __slots__ = ("_body", "_status")

    def __init__(self, document: object, *, status: int = 200) -> None:
        self._body = b"" if status == 204 else msgspec.json.encode(document)
        self._status = status

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers: list[tuple[bytes, bytes]] = []
        if self._status != 204:
            headers = [
                (b"content-type", b"application/json"),
                (b"content-length", str(len(self._body)).encode()),
            ]
        await send({"type": "http.response.start", "status": self._status, "headers": headers})
        await send({"type": "http.response.body", "body": self._body})


async def read_body(request: Request) -> bytearray:
    """Read the body whole."""
    body = bytearray()
    more = True
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            while more:
                message = await request.receive()
                if message["type"] == "http.disconnect":
                    raise asyncio.CancelledError
                body += message.get("body", b"")
                more = message.get("more_body", False)
    except TimeoutError:
        raise HttpRefusal(
            408, "TIMEOUT", f"the body did not come within {_BODY_SECONDS:g} seconds"
        ) from None
    return body


async def read_json(request: Request, decoder: msgspec.json.Decoder[T]) -> T:
    """Read the body whole and decode it; 422 says which member does not fit."""
    body = await read_body(request)
    problem: str
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        problem = str(error)  # names the member and the types, never a value
    except (msgspec.DecodeError, UnicodeDecodeError):
        problem = "the body is not JSON"
    except RecursionError:
        problem = "the body is nested too deeply"
    what, _, where = problem.partition(" - at `$")
    field = where.rstrip("`").lstrip(".")
    if not field and "required field" in what:
        field = what.rpartition("field `")[2].rstrip("`")
    raise HttpRefusal(422, "INVALID_INPUT", problem, details={"field": field} if field else None)
