"""The same POST twice has one effect: answers are kept by Idempotency-Key and given again.

An ASGI application around a domain's. Only answers that say yes are kept; whatever was
refused may be tried again. Neighbour: `server` puts it in front of the paths.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable, Collection
from typing import Final, final

import msgspec
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..clock import Clock
from ..documents import Documents, Store
from .front import read_body
from .refusals import HttpRefusal

__all__ = ["Idempotency"]

_HEADER: Final = b"idempotency-key"
_KEY: Final = re.compile(rb"[\x21-\x7e]{1,255}")
_ANSWER_BYTES: Final = 1024 * 1024
_PRUNE: Final = 100
_IN_MEMORY: Final = 10_000


class _Answer(msgspec.Struct):
    """One answer that was given. `at` is Unix seconds."""

    identity: str
    fingerprint: str
    at: float
    status: int
    headers: list[tuple[str, str]]
    body: bytes


class _Running:
    """A request that is being worked on; others of its key wait for `ended`."""

    def __init__(self, fingerprint: str) -> None:
        self.fingerprint = fingerprint
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()


@final
class Idempotency:
    """Keeps answers for `ttl` seconds; in the store, but for those to bodies with secrets.

    Such bodies come to what is below the paths `secret`. `caller` tells the callers of a server
    with several keys apart: a key of one means nothing to another.
    """

    def __init__(
        self,
        app: ASGIApp,
        store: Store,
        clock: Clock,
        ttl: float,
        *,
        secret: Collection[str] = (),
        caller: Callable[[Scope], str] | None = None,
    ) -> None:
        self._app = app
        self._secret = tuple(secret)
        self._caller = caller
        self._answers = Documents(store, "idempotency", _Answer)
        self._in_memory: dict[str, _Answer] = {}
        self._running: dict[str, _Running] = {}
        self._working: set[asyncio.Task[None]] = set()
        self._clock = clock
        self._ttl = ttl
        self._since_pruned = 0
        self._prune()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        key = b""
        if scope["method"] == "POST":
            key = next((value for name, value in scope["headers"] if name == _HEADER), b"")
        if not key:
            await self._app(scope, receive, send)
            return
        if not _KEY.fullmatch(key):
            raise HttpRefusal(
                422,
                "VALIDATION_FAILED",
                "an Idempotency-Key has 1 to 255 printable ASCII characters",
                details={"field": "Idempotency-Key", "fields": ["Idempotency-Key"]},
            )
        body = bytes(await read_body(Request(scope, receive)))
        path: str = scope["path"]
        target = path.encode() + b"?" + scope.get("query_string", b"")
        if self._caller is not None:
            target = self._caller(scope).encode() + b"\0" + target
        identity = hashlib.sha256(target + b"\0" + key).hexdigest()
        fingerprint = hashlib.sha256(body).hexdigest()
        answer = await self._known(identity, fingerprint)
        if answer is None:
            recorder = _Recorder(send)
            # Here and not in the task, which begins after others have looked.
            running = self._running[identity] = _Running(fingerprint)
            work = asyncio.ensure_future(
                self._first(scope, body, identity, running, recorder, keep=self._written(path))
            )
            self._working.add(work)
            work.add_done_callback(self._worked)
            # A client that loses patience comes back with the same key: it is to find the
            # answer then, and not half of the work undone.
            await asyncio.shield(work)
            await recorder.release()
            return
        headers = [(name.encode(), value.encode()) for name, value in answer.headers]
        headers.append((b"idempotent-replayed", b"true"))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    async def _known(self, identity: str, fingerprint: str) -> _Answer | None:
        """Return the answer that was given, waiting for one that is on its way."""
        while True:
            running = self._running.get(identity)
            known = running or self._find(identity)
            if known is None:
                return None
            if known.fingerprint != fingerprint:
                raise HttpRefusal(
                    409,
                    "IDEMPOTENCY_CONFLICT",
                    "this Idempotency-Key came with another body before; use a new key",
                )
            if isinstance(known, _Answer):
                return known
            # Whoever waits here tries itself when the first one is refused or gives up.
            await asyncio.shield(known.ended)

    def _find(self, identity: str) -> _Answer | None:
        found = self._in_memory.get(identity) or self._answers.get(identity)
        if found is None or self._clock.wall() - found.at > self._ttl:
            return None
        return found

    async def _first(
        self,
        scope: Scope,
        body: bytes,
        identity: str,
        running: _Running,
        recorder: _Recorder,
        *,
        keep: bool,
    ) -> None:
        try:
            await self._app(scope, _again(body), recorder.send)
            if recorder.complete and 200 <= recorder.status < 300:
                self._record(
                    _Answer(
                        identity,
                        running.fingerprint,
                        self._clock.wall(),
                        recorder.status,
                        recorder.headers,
                        bytes(recorder.body),
                    ),
                    keep=keep,
                )
        finally:
            del self._running[identity]
            running.ended.set_result(None)

    def _worked(self, work: asyncio.Task[None]) -> None:
        self._working.discard(work)
        if not work.cancelled():
            work.exception()  # nobody may be left to be told

    async def stop(self) -> None:
        """End what is worked on for nobody."""
        for work in self._working:
            work.cancel()
        await asyncio.gather(*self._working, return_exceptions=True)

    def _record(self, answer: _Answer, *, keep: bool) -> None:
        if not keep:
            self._in_memory.pop(answer.identity, None)
            self._in_memory[answer.identity] = answer
            if len(self._in_memory) > _IN_MEMORY:
                del self._in_memory[next(iter(self._in_memory))]
            return
        # An expired one of the same key may be there: the new one is to be the youngest.
        self._answers.delete(answer.identity)
        self._answers.add(answer.identity, answer)
        self._since_pruned += 1
        if self._since_pruned >= _PRUNE:
            self._prune()

    def _written(self, path: str) -> bool:
        # A fingerprint on file would let somebody try out what the body's secret may be.
        return not any(path == one or path.startswith(one + "/") for one in self._secret)

    def _prune(self) -> None:
        """Remove what is too old, from the oldest on."""
        self._since_pruned = 0
        late = self._clock.wall() - self._ttl
        while True:
            oldest = self._answers.page(0, _PRUNE, newest_first=False)
            for answer in oldest:
                if answer.at >= late:
                    return
                self._answers.delete(answer.identity)
            if len(oldest) < _PRUNE:
                return


@final
class _Recorder:
    """Holds an answer back until it is on record; a stream or a long one goes out as it comes."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._held: list[Message] = []
        self._passing = False
        self.status = 0
        self.headers: list[tuple[str, str]] = []
        self.body = bytearray()
        self.complete = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = [
                (name.decode("latin-1"), value.decode("latin-1"))
                for name, value in message["headers"]
                if name in {b"content-type", b"content-length", b"location"}
            ]
        else:
            self.body += message.get("body", b"")
            self.complete = not message.get("more_body", False) and not self._passing
        self._held.append(message)
        if message.get("more_body", False) or len(self.body) > _ANSWER_BYTES:
            self.complete = False
            self._passing = True
        if self._passing:
            await self.release()

    async def release(self) -> None:
        """Send what is held."""
        held, self._held = self._held, []
        for message in held:
            await self._send(message)


def _again(body: bytes) -> Receive:
    """Return what gives a body that has been read once more."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        return messages.pop() if messages else {"type": "http.disconnect"}

    return receive
