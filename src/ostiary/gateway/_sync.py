# Generated from _async.py by tools/unasync.py. Edit that file, not this one.

"""The gateway client: chat, streams and vectors, through a gateway or straight from a provider.

Typed and without LangChain. Who asks, and where, is for the access object to say; how a
provider writes, for `dialects`. Neighbours: `_bodies` for what is sent, `stream` for what the
pieces of a stream add up to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeVar, final, overload

from msgspec import UNSET

from .. import telemetry
from .._io.bounded import map_bounded
from .._io.sockets import deadline_after
from .._settings import hidden_headers
from .._wire.sse import EventDecoder
from ..config import Limits, timeout_seconds
from ..errors import InvalidArgumentError, OstiaryError, adopt
from ..http._heads import HeaderLines
from ..http._sync import Pool
from . import _batches as batches
from . import _bodies as bodies
from . import providers
from ._lines import (
    Begun,
    answering,
    closed,
    dialect_of,
    left,
    may_stand_in,
    said_of,
    said_of_reply,
    structured_by,
)
from ._permits import CHAT, EMBEDDINGS, Permits
from ._routes import HEALTH
from ._streams._sync import ChatStream
from .client import DirectProviderClient, GatewayAccess
from .errors import (
    FAMILY,
    GatewayArgumentError,
    GatewayError,
    GatewayProtocolError,
    StructuredOutputError,
)
from .models import ChatReply, Embeddings, Message
from .options import (
    IDLE_TIMEOUT,
    MAX_CONNECTIONS,
    Behaviour,
    ChatOptions,
    StreamOptions,
)
from .usage import UsageTotals

if TYPE_CHECKING:
    import ssl
    from typing import Unpack

    from .._api_key import KeySource
    from ..http._colours import Credentials
    from ..http.connections import Connections
    from ..http.hooks import RequestInfo, ResponseInfo, RetryInfo
    from ..http.settings import Parser
    from ..secret import Secret
    from ._bodies import Asked
    from .auth.trat import TransactionToken
    from .dialects import Call
    from .llm.model_ref import ModelRef
    from .llm.model_selector import ModelSelector
    from .options import Model, Timeout
    from .structured import How

__all__ = ["GatewayClient"]

T = TypeVar("T")

Messages = str | Sequence[Message | Mapping[str, Any]]


@final
class Proof:
    """The headers that show who is asking one provider: made anew when the credentials are."""

    __slots__ = ("_access", "_provider", "_shown")

    def __init__(self, access: GatewayAccess, provider: str) -> None:
        self._access = access
        self._provider = provider
        self._shown: tuple[object, HeaderLines] = (None, HeaderLines())

    def headers(self) -> HeaderLines:
        """Return them; the same object for as long as they are the same."""
        found = self._access.get_credentials()
        before, lines = self._shown
        if before is not found:
            lines = HeaderLines(lasting=True)
            lines.add({**found.hidden_headers(), "X-Provider": self._provider})
            self._shown = found, lines
        return lines


@final
class Line:
    """The way to one provider: its pool, and how it is spoken to."""

    __slots__ = ("dialect", "how", "pool")

    def __init__(
        self, access: GatewayAccess, provider: str, behaviour: Behaviour, *, retries: bool
    ) -> None:
        """Make the pool; nothing is opened."""
        self.dialect = dialect_of(provider, access.is_gateway_mode)
        self.how: How = structured_by(provider)
        lines = HeaderLines()
        lines.add(self.dialect.headers)
        if isinstance(behaviour.headers, HeaderLines):
            lines.take(behaviour.headers)
        self.pool = _pool_of(
            access.get_endpoint(provider),
            headers=lines,
            credentials=_credentials(access, provider, behaviour.keys),
            **behaviour.pool_arguments(retries=retries),
        )


def _credentials(access: GatewayAccess, provider: str, keys: KeySource | None) -> Credentials:
    """Return what shows who is asking a provider."""
    if keys is not None and isinstance(access, DirectProviderClient):
        reference = access.reference(provider)
        if reference is not None:
            known = providers.provider(provider)
            fetched: Credentials = keys.header(reference, known.key_header, known.key_prefix)
            return fetched
    # An access object that has headers of its own is asked for them each time.
    if type(access).request_headers is not GatewayAccess.request_headers:
        return partial(access.request_headers, provider)
    return Proof(access, provider).headers


class GatewayClient:
    """Models for an agent (docs/gateway.md). Use it as a context manager, or call `close`.

    Nothing is opened before the first call. In gateway mode every call carries both tokens,
    and is refused here already when the Transaction Token allows neither model nor provider.
    After a 401 both are renewed and the call is made once more. Every error is a
    `SageSanctumError`; those of a call that failed are `GatewayError`s.
    """

    def __init__(
        self,
        access: GatewayAccess | None = None,
        *,
        models: ModelSelector | None = None,
        timeout: Timeout = UNSET,
        idle_timeout: float | None = IDLE_TIMEOUT,
        total_timeout: float | None = None,
        max_retries: int | None = None,
        max_connections: int = MAX_CONNECTIONS,
        token_budget: int | None = None,
        limits: Limits | None = None,
        parser: Parser | None = None,
        ssl_context: ssl.SSLContext | None = None,
        expected_uid: int | None = None,
        on_request: Callable[[RequestInfo], object] | None = None,
        on_response: Callable[[ResponseInfo], object] | None = None,
        on_retry: Callable[[RetryInfo], object] | None = None,
        headers: Mapping[str, str | Secret] | None = None,
        keys: KeySource | None = None,
        connections: Connections | None = None,
        adaptive: bool = False,
    ) -> None:
        """Describe a client; nothing is opened and no token is read.

        `access` says where to and as whom. Left out, the environment decides, on `timeout`
        and `max_retries` too unless they are given (docs/identity.md, The environment); they
        are 120 seconds and 3 otherwise. `models` chooses where a call names no model; left
        out, the Transaction Token does.

        `timeout` bounds a whole call, and a stream up to its head; `idle_timeout` the gap
        between the events of a stream, `total_timeout` all of it. `max_connections` are to
        each provider.

        `token_budget` is how many tokens this client may use in all: a call behind that
        raises `TokenBudgetError`. `keys` fetches the API keys of direct mode that are
        references (docs/credentials.md). The rest is as for `ostiary.http.Pool`.
        """
        # Hidden first: a traceback records the locals of every frame that raises.
        lines = hidden_headers(headers)
        del headers
        self._configure(
            Behaviour(
                access=access,
                models=models,
                timeout=timeout,
                idle_timeout=idle_timeout,
                total_timeout=total_timeout,
                max_retries=max_retries,
                max_connections=max_connections,
                token_budget=token_budget,
                limits=limits,
                parser=parser,
                ssl_context=ssl_context,
                expected_uid=expected_uid,
                on_request=on_request,
                on_response=on_response,
                on_retry=on_retry,
                headers=lines,
                keys=keys,
                connections=connections,
                adaptive=adaptive,
            )
        )

    def _configure(self, behaviour: Behaviour) -> None:
        behaviour.check()
        self._portable = behaviour.portable()
        self._behaviour = behaviour = behaviour.resolved()
        assert behaviour.access is not None
        self._access = behaviour.access
        self._gateway = self._access.is_gateway_mode
        self._permits = Permits(None, behaviour.models)
        assert behaviour.timeout is not UNSET
        self._timeout = behaviour.timeout
        self._lines: dict[tuple[str, bool], Line] = {}
        self._usage = UsageTotals(behaviour.token_budget)
        self._renewals = 0
        self._closed = False

    @property
    def access(self) -> GatewayAccess:
        """Where this client's calls go, and as whom."""
        return self._access

    @property
    def usage(self) -> UsageTotals:
        """What this client has used so far."""
        return self._usage

    def __repr__(self) -> str:
        if not hasattr(self, "_closed"):  # its constructor refused
            return f"<{type(self).__name__}, not configured>"
        mode = "gateway" if self._gateway else "direct"
        return f"<{type(self).__name__}, {mode} mode, {'closed' if self._closed else 'open'}>"

    # A client travels as its settings, without TLS context, hooks and totals; its access object
    # goes without its tokens. One of the environment takes that of where it arrives.
    def __reduce__(self) -> tuple[Callable[..., GatewayClient], tuple[object, ...]]:
        return _restore, (type(self), self._portable)

    def close(self) -> None:
        """Close every connection; calls and streams under way end with an error. Final."""
        self._closed = True
        while self._lines:
            _, line = self._lines.popitem()
            line.pool.close()

    def __enter__(self) -> Self:
        if self._closed:
            raise closed()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # --- chat

    @overload
    def chat(
        self,
        messages: Messages,
        *,
        response_format: type[T],
        **options: Unpack[ChatOptions],
    ) -> ChatReply[T]: ...
    @overload
    def chat(
        self,
        messages: Messages,
        *,
        response_format: Mapping[str, Any] | None = None,
        **options: Unpack[ChatOptions],
    ) -> ChatReply[Any]: ...
    def chat(
        self,
        messages: Messages,
        *,
        response_format: Any = None,
        **options: Unpack[ChatOptions],
    ) -> ChatReply[Any]:
        """Return a model's answer; see `ChatOptions` for the keyword arguments.

        `messages` is what somebody says, or the conversation so far: `Message`s, or OpenAI's
        own objects, which are sent as they are. `response_format` is the type the answer is to
        be of, and `parsed` in the reply then is: a Struct, dataclass, TypedDict, pydantic
        model or what is built of them. A JSON Schema gives a dict; an object with OpenAI's
        `type` in it is sent as it is.

        The call is sent again on 429, and when it cannot have run; with `idempotency_key` also
        when it may have.

        Raises `ModelNotAuthorizedError` before anything is sent for a model this run may not
        use, `RateLimitError` on 429, `GatewayUnavailableError` when gateway or provider cannot
        serve, and `StructuredOutputError` for an answer of another shape.
        """
        return self._chat(bodies.chat_asked(messages, response_format, options))

    def chat_raw(
        self,
        body: Mapping[str, Any],
        model: Model | None = None,
        *,
        timeout: Timeout = UNSET,
        idempotency_key: str | bool | None = None,
    ) -> ChatReply[Any]:
        """Send a chat's body, complete but for its model, and return the answer.

        For whoever has a body as OpenAI writes it; nothing in it is checked. Raises as `chat`.
        """
        return self._chat(bodies.raw_asked(body, model, timeout, idempotency_key))

    def _chat(self, asked: Asked) -> ChatReply[Any]:
        until = self._until(asked.timeout)
        refs = self._models(asked.model, CHAT, until, every=asked.fallback)
        for ref in refs[:-1]:
            try:
                return self._ask(ref, asked, until, retries=False)
            except GatewayError as error:
                if not may_stand_in(error):
                    raise
        return self._ask(refs[-1], asked, until, retries=True)

    def _ask(self, ref: ModelRef, asked: Asked, until: float, *, retries: bool) -> ChatReply[Any]:
        line = self._line(ref.provider, retries)
        structured, body, repairs = asked.structured, asked.body, asked.repairs
        if structured is not None:
            body = structured.apply(body, line.how)
        while True:
            call = line.dialect.chat({"model": ref.model, **body}, stream=False)
            reply: ChatReply[Any]
            if telemetry.enabled():
                with telemetry.operation("chat", **said_of(ref, call.body)) as told:
                    reply = self._send(line, call, until, asked.next_key())
                    told.reply(**said_of_reply(reply))
            else:
                reply = self._send(line, call, until, asked.next_key())
            self._usage.add(ref, reply.usage)
            if structured is None:
                return reply
            try:
                return structured.read(reply)
            except StructuredOutputError as error:
                if not repairs or error.reason != "unreadable":
                    raise
                problem = error.message
            repairs -= 1
            body = structured.repaired(body, reply, problem)

    # --- streams

    def stream_chat(
        self,
        messages: Messages,
        *,
        response_format: Any = None,
        **options: Unpack[StreamOptions],
    ) -> ChatStream:
        """Return a model's answer as it comes; see `StreamOptions` for the keyword arguments.

        The request is sent when the first piece is asked for, or by `open`. Leaving the loop
        early closes the connection at once; so do `close` and the end of a `with` block around
        it. Behind the last piece, `reply` is what `chat` would have returned.

        Iterating raises as `chat` does; `GatewayConnectionLostError` when the stream ends
        without its end mark, `GatewayDeadlineError` when it takes too long, and the error that
        the stream itself tells of.
        """
        return ChatStream(self, bodies.chat_asked(messages, response_format, options))

    def stream_raw(
        self,
        body: Mapping[str, Any],
        model: Model | None = None,
        *,
        timeout: Timeout = UNSET,
        idle_timeout: Timeout = UNSET,
        total_timeout: Timeout = UNSET,
        idempotency_key: str | bool | None = None,
    ) -> ChatStream:
        """Do what `chat_raw` does and return the answer as it comes; raises as `stream_chat`."""
        asked = bodies.raw_asked(body, model, timeout, idempotency_key)
        asked.idle_timeout = idle_timeout
        asked.total_timeout = total_timeout
        return ChatStream(self, asked)

    def begin_stream(self, asked: Asked) -> Begun:
        """Send a stream's request and return what reads it; for `ChatStream` alone."""
        until = self._until(asked.timeout)
        refs = self._models(asked.model, CHAT, until, every=asked.fallback)
        for ref in refs[:-1]:
            try:
                return self._begin(ref, asked, until, retries=False)
            except GatewayError as error:
                if not may_stand_in(error):
                    raise
        return self._begin(refs[-1], asked, until, retries=True)

    def _begin(self, ref: ModelRef, asked: Asked, until: float, *, retries: bool) -> Begun:
        line = self._line(ref.provider, retries)
        body = asked.body
        if asked.structured is not None:
            body = asked.structured.apply(body, line.how)
        call = line.dialect.chat({"model": ref.model, **body}, stream=True)
        reader = line.dialect.reader()
        limits = line.pool.settings.limits
        key, seen, again = asked.next_key(), self._renewals, self._gateway
        told = telemetry.operation("chat", **said_of(ref, call.body, stream=True))
        with told.current():
            try:
                while True:
                    decoder = EventDecoder(limits.sse_line, limits.sse_event, decode=reader.decode)
                    try:
                        source = line.pool.call_events(
                            call.route,
                            *call.ids,
                            query=call.query,
                            body=call.body,
                            decoder=decoder,
                            timeout=left(until),
                            idle_timeout=asked.idle_timeout,
                            total_timeout=asked.total_timeout,
                            idempotency_key=key,
                        )
                    except GatewayError as error:
                        if not again or error.status != 401:
                            raise
                    else:
                        break
                    again = False
                    self._renew(seen)
                if (problem := answering(source.headers)) is not None:
                    source.close()
                    raise GatewayProtocolError(problem, sent=True)
            except BaseException as error:
                told.end(error)
                raise
        return Begun(ref, reader, decoder, source, told)

    # --- vectors

    def embed(
        self,
        texts: str | Sequence[str],
        *,
        model: Model | None = None,
        dimensions: int | None = None,
        encoding_format: str | None = None,
        user: str | None = None,
        batch_size: int = 512,
        concurrency: int = 4,
        deduplicate: bool = False,
        extra: Mapping[str, Any] | None = None,
        timeout: Timeout = UNSET,
        idempotency_key: str | bool | None = None,
    ) -> Embeddings:
        """Return a vector for each text, in their order; for none, nothing is sent.

        Texts are sent in batches of at most `batch_size` and of a size that providers take,
        `concurrency` of them at a time. `dimensions` is how long the vectors are to be, for
        models that can choose. `encoding_format="base64"` has them sent in a quarter of the
        bytes. `deduplicate` sends a text that comes several times once. `timeout` bounds all
        of it; the first failure ends it.

        Raises `GatewayProtocolError` when there is not one vector for each text, and as
        `chat` does.
        """
        given = batches.checked(texts)
        batches.count_option("batch_size", batch_size, batches.MOST_TEXTS)
        batches.count_option("concurrency", concurrency, 1024)
        body = bodies.embed_body(dimensions, encoding_format, user, extra)
        if not given:
            return Embeddings([])
        until = self._until(timeout)
        ref = (self._models(model, EMBEDDINGS, until, every=False))[0]
        line = self._line(ref.provider, True)
        keys = bodies.Keys(idempotency_key)
        unique = list(dict.fromkeys(given)) if deduplicate else given
        size = min(batch_size, line.dialect.most_texts)

        def one(batch: list[str]) -> Embeddings:
            call = line.dialect.embed({"model": ref.model, "input": batch, **body})
            return batches.fits(self._send(line, call, until, keys.next_key()), batch)

        with telemetry.operation("embeddings", **said_of(ref, body)) as told:
            found = batches.joined(map_bounded(one, batches.cut(unique, size), concurrency))
            told.reply(model=found.model or None, input_tokens=found.usage.prompt_tokens)
        self._usage.add(ref, found.usage)
        if len(unique) == len(given):
            return found
        places = {text: at for at, text in enumerate(unique)}
        return batches.spread(found, [places[text] for text in given])

    # --- health

    def health(self, *, timeout: float = 5.0) -> bool:
        """Whether the gateway says that it can serve: asked once, without credentials.

        False in direct mode, which has no gateway.
        """
        if self._closed:
            raise closed()
        if not self._gateway:
            return False
        arguments = self._behaviour.pool_arguments(retries=False)
        # It does not stand in the line whose reason it may be asked for.
        arguments |= {"timeout": timeout, "max_connections": 1, "adaptive": False}
        pool = _pool_of(self._access.get_endpoint("health"), **arguments)
        try:
            pool.call(HEALTH)
        except GatewayError:
            return False
        finally:
            pool.close()
        return True

    # --- beneath

    def _models(
        self, wanted: Model | None, categories: Any, until: float, *, every: bool
    ) -> list[ModelRef]:
        self._usage.check()
        trat: TransactionToken | None = None
        if self._gateway:
            found = self._access.get_trat()
            try:
                trat = found
            except OstiaryError as error:
                raise adopt(error, FAMILY) from error.__cause__
        permits = self._permits
        if permits.trat is not trat:
            permits = self._permits = Permits(trat, self._behaviour.models)
        return permits.models(wanted, categories, every=every)

    def _line(self, provider: str, retries: bool) -> Line:
        line = self._lines.get((provider, retries))
        if line is not None:
            return line
        if self._closed:
            raise closed()
        line = Line(self._access, provider, self._behaviour, retries=retries)
        # Of two threads that come here together, one line is kept; neither pool is open yet.
        return self._lines.setdefault((provider, retries), line)

    def _send(self, line: Line, call: Call, until: float, key: str | None) -> Any:
        seen = self._renewals
        try:
            return line.pool.call(
                call.route,
                *call.ids,
                query=call.query,
                body=call.body,
                timeout=left(until),
                idempotency_key=key,
            )
        except GatewayError as error:
            if not self._gateway or error.status != 401:
                raise
        self._renew(seen)
        return line.pool.call(
            call.route,
            *call.ids,
            query=call.query,
            body=call.body,
            timeout=left(until),
            idempotency_key=key,
        )

    def _renew(self, seen: int) -> None:
        # Of the calls that were refused together, the first has the tokens renewed.
        if self._renewals == seen:
            self._renewals += 1
            self._access.invalidate()

    def _until(self, timeout: Timeout) -> float:
        try:
            return deadline_after(self._timeout if timeout is UNSET else timeout_seconds(timeout))
        except OstiaryError as error:
            raise adopt(error, FAMILY) from None


def _pool_of(endpoint: str, **arguments: Any) -> Pool:
    try:
        return Pool(endpoint, family=FAMILY, **arguments)
    except InvalidArgumentError as error:
        problem = error.message
    raise GatewayArgumentError(problem)


def _restore(cls: type[GatewayClient], behaviour: Behaviour) -> GatewayClient:
    client = cls.__new__(cls)
    client._configure(behaviour)  # pyright: ignore[reportPrivateUsage]
    return client
