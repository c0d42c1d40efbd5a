"""One HTTP input at work: its socket, who may call, which agent answers, and what it counts.

A request is judged in this order: by the rules of every server here (Host, Origin, content
type, size), then who calls, then where and how many at once; only then is its body read.
Neighbours: `authorization`, `routing` of this package, `endpoints`.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, final

import msgspec
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from ...clock import Clock, iso
from ...faults import DevserverError
from ...http.admission import Admission
from ...http.front import Front, Json, read_body
from ...http.refusals import HttpRefusal
from ...http.server import HttpServer
from ...http.staged import HttpFaults
from ...sockets import bind_tcp
from .authorization import Authorization
from .configuration import InputConfig
from .selection import selected

__all__ = ["Answer", "Asked", "Counts", "Listener", "Outcome"]

# An agent's program may check a webhook's signature itself; these prove a body, not a caller.
_SIGNATURES: Final = (
    "x-hub-signature-256",
    "stripe-signature",
    "x-slack-signature",
    "x-slack-request-timestamp",
    "x-signature",
)
# What the newer server allows where pages may call and none is named.
_PAGES: Final = ("http://localhost:3000", "http://localhost:3001")


class Asked(msgspec.Struct, kw_only=True):
    """A request as an agent gets it; `headers` are those that are forwarded."""

    agent_id: str
    payload: Any
    headers: dict[str, str]
    body: bytes
    authenticated: bool


class Outcome(msgspec.Struct, kw_only=True):
    """What became of it: completed, skipped, denied or failed, and why."""

    status: str
    output: dict[str, Any]
    text: str
    code: str | None = None
    error: str | None = None


class Answer(msgspec.Struct, kw_only=True):
    """A response before it is written; `document` None is plain text."""

    status: int
    agent_id: str
    text: str
    document: dict[str, Any] | None
    code: str = ""


Run = Callable[[Asked], Awaitable[Outcome]]
Note = Callable[[str, int, str], None]

_decode: Final = msgspec.json.Decoder().decode


@final
class Listener:
    """Serves one configuration on one port; `start` and `stop` once, `replace` in between.

    `run` has an agent work; `note` is told agent, status and code of every request.
    """

    def __init__(
        self,
        config: InputConfig,
        authorization: Authorization,
        run: Run,
        note: Note,
        *,
        origins: frozenset[str],
        max_connections: int,
        counts: Counts,
        clock: Clock,
    ) -> None:
        self._run = run
        self._note = note
        self._origins = origins
        self._clock = clock
        self.port: int | None = None
        self.counts = counts
        self._since = 0.0
        self._in_hand = 0
        self.replace(config, authorization)
        self._server = HttpServer(
            self._serve, max_connections=max_connections, error=self._error_body
        )

    def replace(self, config: InputConfig, authorization: Authorization) -> None:
        """Serve another configuration from the next request on; the port stays."""
        self.config = config
        self._authorization = authorization
        origins: frozenset[str] = frozenset()
        if config.cors_enabled:
            origins = frozenset(config.cors_origins) or self._origins or frozenset(_PAGES)
        self._front = Front(
            self._answer,
            Admission(token=None, origins=origins, body_limit=config.max_body_bytes),
            HttpFaults(),
            self.counts,
            error=self._error_body,
        )

    async def start(self) -> None:
        """Bind and listen; 409 when the port is taken."""
        config = self.config
        problem = ""
        try:
            sock = bind_tcp(config.bind_address, config.port, option="config.port")
        except DevserverError as error:
            problem = str(error)
        else:
            self.port = sock.getsockname()[1]
            self._since = self._clock.steady()
            await self._server.start([sock])
            return
        raise HttpRefusal(409, "HTTP_INPUT_PORT_IN_USE", problem, details={"field": "config.port"})

    async def stop(self, grace: float) -> None:
        """Stop listening and end what is in hand."""
        await self._server.stop(grace)

    @property
    def url(self) -> str:
        """Where it answers."""
        host = self.config.bind_address
        shown = f"[{host}]" if ":" in host else host
        return f"http://{shown}:{self.port}{self.config.path}"

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._server.state.connections)

    @property
    def in_hand(self) -> int:
        """How many requests agents are working on."""
        return self._in_hand

    @property
    def uptime(self) -> int:
        """Whole seconds since it began to listen."""
        return max(0, int(self._clock.steady() - self._since))

    # -- requests -----------------------------------------------------------

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._front(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        config = self.config
        refusal: HttpRefusal
        try:
            authorization = self._authorization
            proved = authorization.check(request.headers)
            self._check_place(config, request)
            with self._slot(config):
                body = bytes(await read_body(request))
                if not proved:
                    authorization.check_body(request.headers, body)
                answer = await self.handle(
                    body,
                    path=scope["path"],
                    headers=request.headers,
                    authenticated=not authorization.open,
                )
        except HttpRefusal as found:
            refusal = found
        else:
            if answer.document is None:
                await _text(answer, send)
            else:
                await Json(answer.document, status=answer.status)(scope, receive, send)
            return
        self.counts.reject(refusal)
        if config.audit_enabled:
            self._note("", refusal.status, refusal.code)
        raise refusal

    def _check_place(self, config: InputConfig, request: Request) -> None:
        path: str = request.scope["path"]
        below = config.path.rstrip("/") + "/"
        if path != config.path and not path.startswith(below):
            raise HttpRefusal(404, "NOT_FOUND", f"this input answers at {config.path} and below")
        if request.method != "POST":
            raise HttpRefusal(
                405,
                "METHOD_NOT_ALLOWED",
                "this input answers to POST",
                headers=((b"allow", b"POST"),),
            )

    def _slot(self, config: InputConfig) -> _Slot:
        if self._in_hand >= config.concurrency:
            raise HttpRefusal(
                429,
                "TOO_MANY_REQUESTS",
                f"{config.concurrency} requests are in hand, which is this input's limit; try "
                "again in a moment",
                headers=((b"retry-after", b"1"),),
            )
        return _Slot(self)

    def enter(self) -> None:
        self._in_hand += 1

    def leave(self) -> None:
        self._in_hand -= 1

    async def trigger(
        self, payload: dict[str, Any], headers: Mapping[str, str], path: str
    ) -> tuple[Answer, float]:
        """Handle a request that did not come over the socket; also returns its milliseconds.

        Its caller has shown the runtime's key; the limits are the same.
        """
        body = msgspec.json.encode(payload)
        config = self.config
        if len(body) > config.max_body_bytes:
            raise HttpRefusal(
                413,
                "PAYLOAD_TOO_LARGE",
                f"the payload is longer than {config.max_body_bytes} bytes; send less",
                details={"limit_bytes": config.max_body_bytes},
            )
        with self._slot(config):
            self.counts.began()
            began = time.perf_counter()
            try:
                lowered = {name.lower(): value for name, value in headers.items()}
                answer = await self.handle(body, path=path, headers=lowered, authenticated=True)
            finally:
                seconds = time.perf_counter() - began
                self.counts.ended(seconds)
        return answer, round(seconds * 1000, 3)

    async def handle(
        self, body: bytes, *, path: str, headers: Mapping[str, str], authenticated: bool
    ) -> Answer:
        """Choose the agent, have it work, and return what to answer."""
        config = self.config
        self.counts.bytes_received += len(body)
        payload = _payload(body)
        agent_id = selected(config, path, headers, payload)
        forwarded = {
            name: headers[name]
            for name in (*(one.lower() for one in config.forward_headers), *_SIGNATURES)
            if name in headers
        }
        began = time.perf_counter()
        asked = Asked(
            agent_id=agent_id,
            payload=payload,
            headers=forwarded,
            body=body,
            authenticated=authenticated,
        )
        try:
            outcome = await self._run(asked)
        except HttpRefusal as refusal:
            answer = self._failure(agent_id, payload, refusal.code, refusal.message)
        except TimeoutError:
            answer = self._failure(
                agent_id, payload, "AGENT_TIMEOUT", "the agent did not end in time"
            )
        except Exception as error:  # noqa: BLE001 - an agent's code may raise what it likes
            # Its kind alone: the message may quote what it failed on.
            problem = f"the agent failed with {type(error).__name__}"
            answer = self._failure(agent_id, payload, "AGENT_FAILED", problem)
        else:
            answer = self._told(agent_id, payload, outcome, time.perf_counter() - began)
        self.counts.answered(answer)
        if config.audit_enabled:
            self._note(agent_id, answer.status, answer.code)
        return answer

    def _told(self, agent_id: str, payload: Any, outcome: Outcome, seconds: float) -> Answer:
        control = self.config.response_control
        if outcome.status == "denied":
            why = outcome.error or "a policy of the agent denies it"
            return self._failure(agent_id, payload, outcome.code or "DENIED", why, 403)
        if outcome.status not in {"completed", "skipped"}:
            why = outcome.error or "the agent failed"
            return self._failure(agent_id, payload, outcome.code or "AGENT_FAILED", why)
        document: dict[str, Any] | None = None
        if control.agent_output_to_json:
            document = {
                "status": outcome.status,
                "agent_id": agent_id,
                "response": outcome.text,
                "output": outcome.output,
                "latency_ms": round(seconds * 1000, 3),
                "timestamp": iso(self._clock.wall()),
            }
        return Answer(
            status=control.default_status,
            agent_id=agent_id,
            text=outcome.text,
            document=document,
        )

    def _failure(
        self, agent_id: str, payload: Any, code: str, message: str, status: int | None = None
    ) -> Answer:
        control = self.config.response_control
        document = self._error(message, code)
        if control.echo_input_on_error:
            document["input"] = payload
        return Answer(
            status=control.error_status if status is None else status,
            agent_id=agent_id,
            text=message,
            document=document,
            code=code,
        )

    def _error(self, message: str, code: str) -> dict[str, Any]:
        return {"error": message, "code": code, "timestamp": iso(self._clock.wall())}

    def _error_body(self, refusal: HttpRefusal) -> bytes:
        return msgspec.json.encode(self._error(refusal.message, refusal.code))


@final
class _Slot:
    """One of the requests that may be in hand at once."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    def __enter__(self) -> None:
        self._listener.enter()

    def __exit__(self, *exc_info: object) -> None:
        self._listener.leave()


@final
class Counts:
    """What one input has done; `began` and `ended` are called by the front."""

    def __init__(self) -> None:
        self.requests = 0
        self.seconds = 0.0
        self.bytes_received = 0
        self.succeeded = 0
        self.failed = 0
        self.rejected: Counter[str] = Counter()
        self.by_agent: Counter[str] = Counter()
        self.by_status: Counter[str] = Counter()

    def began(self) -> None:
        self.requests += 1

    def ended(self, seconds: float) -> None:
        self.seconds += seconds

    def answered(self, answer: Answer) -> None:
        """Count what an agent was asked for."""
        self.by_agent[answer.agent_id] += 1
        self.by_status[str(answer.status)] += 1
        if answer.code:
            self.failed += 1
        else:
            self.succeeded += 1

    def reject(self, refusal: HttpRefusal) -> None:
        """Count what no agent heard of."""
        self.by_status[str(refusal.status)] += 1
        self.rejected[refusal.code.lower()] += 1

    def shown(self) -> dict[str, Any]:
        """Return the figures as they are shown."""
        average = 1000 * self.seconds / self.requests if self.requests else 0.0
        # Those that were refused by their head alone are counted by the front only.
        rejected = self.requests - self.succeeded - self.failed
        return {
            "requests_total": self.requests,
            "requests_succeeded": self.succeeded,
            "requests_failed": self.failed,
            "requests_rejected": max(0, rejected),
            "rejected": dict(self.rejected),
            "bytes_received": self.bytes_received,
            "average_response_time_ms": round(average, 3),
            "by_agent": dict(self.by_agent),
            "by_status": dict(self.by_status),
        }


def _payload(body: bytes) -> Any:
    if not body.strip():
        return {}
    problem = "the body is not JSON"
    try:
        return _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    except RecursionError:
        problem = "the body is nested too deeply"
    raise HttpRefusal(400, "BAD_REQUEST", problem)


async def _text(answer: Answer, send: Send) -> None:
    body = answer.text.encode("utf-8", "replace")
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
