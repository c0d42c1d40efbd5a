"""P8, P9 and P10: event streams, to text, to Structs, and through a socket.

P8 and P9 feed bytes in chunks of 4 KiB; figures are per event, in nanoseconds. P10 reads
streams of the C server, a token an event; figures are per token, in microseconds.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from time import monotonic
from typing import Any

import msgspec

from ..sample import Sample, Stopwatch, Unavailable, Work
from . import loops, native
from .clients import base_url, urllib3_pool
from .exchange import BODY, DEADLINE, HEADERS, peer, written, wrong

CHUNK = 4096
EVENTS = 1000
"""How many events a stream has."""
STREAM = f"/v1/tokens/{EVENTS}"
LAST = " who"
"""The last token of such a stream."""

DATA = (
    b'{"id":"chatcmpl-9xQ2vTn4LrB7dKc1PzWm8sYhEoAf","object":"chat.completion.chunk",'
    b'"created":1931234567,"model":"a-model-of-this-year-2031-05-06",'
    b'"system_fingerprint":"fp_0a1b2c3d4e","choices":[{"index":0,"delta":{"role":"assistant",'
    b'"content":" of the doorkeeper"},"logprobs":null,"finish_reason":null}]}'
)


class Delta(msgspec.Struct, gc=False):
    content: str | None = None


class Choice(msgspec.Struct, gc=False):
    index: int
    delta: Delta
    finish_reason: str | None = None


class Chunk(msgspec.Struct, gc=False):
    id: str
    created: int
    model: str
    choices: list[Choice]


DECODE = msgspec.json.Decoder(Chunk).decode


# --- P8 and P9: in process ---------------------------------------------------------------------


def _whole() -> bytes:
    return b"data: %s\n\n" % DATA * EVENTS


def c_floor(work: Work) -> Sample:
    """A walk over the lines in C."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events"
        path.write_bytes(_whole())
        return native.run(work, "lines", path, EVENTS, max(1, work.count // EVENTS))


def _read(work: Work, read: Callable[[list[bytes]], list[Any]]) -> Sample:
    """Time a reader that keeps what it found until the end of the stream."""
    whole = _whole()
    chunks = [whole[at : at + CHUNK] for at in range(0, len(whole), CHUNK)]
    passes = max(1, work.count // EVENTS)
    for _ in range(passes // 10 + 1):
        assert len(read(chunks)) == EVENTS
    watch = Stopwatch()
    watch.start()
    for _ in range(passes):
        read(chunks)
    return watch.sample(passes * EVENTS, "ns")


def decoder(work: Work) -> Sample:
    """`EventDecoder.feed`, to text or to Structs."""
    try:
        from ostiary._wire.sse import EventDecoder
    except ImportError as error:
        raise Unavailable(str(error)) from None

    typed = bool(work.options.get("typed"))

    def read(chunks: list[bytes]) -> list[Any]:
        made: EventDecoder[Any]
        made = EventDecoder(decode=DECODE, terminator=b"[DONE]") if typed else EventDecoder()
        events: list[Any] = []
        for chunk in chunks:
            made.feed(chunk, events)
        return events

    (event,) = read([b"data: %s\n\n" % DATA])
    assert event.data == (DECODE(DATA) if typed else DATA.decode())
    return _read(work, read)


def msgspec_alone(work: Work) -> Sample:
    """The decoding of each event's data, with the stream already taken apart."""
    return _read(work, lambda chunks: [DECODE(DATA) for _ in range(EVENTS)])


def _httpx_events(chunks: Iterable[bytes]) -> Iterable[Any]:
    httpx, httpx_sse = peer("httpx"), peer("httpx_sse")
    head = {"content-type": "text/event-stream"}
    events = httpx_sse.EventSource(httpx.Response(200, headers=head, content=iter(chunks)))
    return events.iter_sse()  # type: ignore[no-any-return]


def _httpx2_events(chunks: Iterable[bytes]) -> Iterable[Any]:
    httpx2 = peer("httpx2")
    head = {"content-type": "text/event-stream"}
    asked = httpx2.Request("POST", "http://localhost")
    response = httpx2.Response(200, headers=head, content=iter(chunks), request=asked)
    return httpx2.EventSource(response)  # type: ignore[no-any-return]


def _sseclient_events(chunks: Iterable[bytes]) -> Iterable[Any]:
    return peer("sseclient").SSEClient(iter(chunks)).events()  # type: ignore[no-any-return]


def _openai_events(chunks: Iterable[bytes]) -> Iterable[Any]:
    return peer("openai._streaming").SSEDecoder().iter_bytes(iter(chunks))  # type: ignore[no-any-return]


SPLIT: dict[str, Callable[[Iterable[bytes]], Iterable[Any]]] = {
    "httpx-sse": _httpx_events,
    "httpx2": _httpx2_events,
    "sseclient-py": _sseclient_events,
    "openai": _openai_events,
}


def split(work: Work) -> Sample:
    """A peer, by its public way in where it has one; `typed` has msgspec decode its text."""
    name = str(work.options["client"])
    events = SPLIT[name]
    if work.options.get("typed"):
        return _read(work, lambda chunks: [DECODE(event.data) for event in events(chunks)])
    return _read(work, lambda chunks: [event.data for event in events(chunks)])


def openai_typed(work: Work) -> Sample:
    """The stream of the OpenAI client over a response that has its body, to its own models."""
    openai, httpx2 = peer("openai"), peer("httpx2")
    streaming, chat = peer("openai._streaming"), peer("openai.types.chat")
    client = openai.OpenAI(api_key="none", base_url="http://localhost")
    head = {"content-type": "text/event-stream"}
    request = httpx2.Request("POST", "http://localhost")

    def read(chunks: list[bytes]) -> list[Any]:
        response = httpx2.Response(200, headers=head, content=iter(chunks), request=request)
        model = chat.ChatCompletionChunk
        return list(streaming.Stream(cast_to=model, response=response, client=client))

    return _read(work, read)


# --- P10: through a socket ---------------------------------------------------------------------


def drained(work: Work) -> Sample:
    """The same streams, received in C and not looked at."""
    poll = ["poll"] if work.options.get("poll") else []
    request = written(STREAM, BODY)
    streams = max(1, work.count // EVENTS)
    found = native.run(work, "roundtrip", work.socket, streams, request, *poll)
    wall = found.wall or 0.0
    return Sample(found.value / EVENTS, wall / EVENTS)


def _streamed(work: Work, read: Callable[[], tuple[int, str]]) -> Sample:
    """Time a reader of whole streams; it returns how many tokens there were, and the last.

    Every one of them looks at each token's text, as whoever prints it would.
    """
    streams = max(1, work.count // EVENTS)
    for _ in range(streams // 10 + 1):
        assert read() == (EVENTS, LAST)
    watch = Stopwatch()
    watch.start()
    for _ in range(streams):
        read()
    return watch.sample(streams * EVENTS)


def leaf(work: Work) -> Sample:
    """`HttpPool.open(...).events(...)`, a Struct for each token."""
    try:
        from ostiary._io.blocking_http import HttpPool
        from ostiary._wire.request import RequestHead
        from ostiary._wire.sse import EventDecoder
        from ostiary.config import Limits, UnixAddress
    except ImportError as error:
        raise Unavailable(str(error)) from None

    pool = HttpPool(
        UnixAddress(work.socket), limits=Limits(), max_connections=1, max_idle=1, idle_expiry=60
    )
    head = RequestHead("POST", "localhost", HEADERS)
    target = STREAM.encode()

    def read() -> tuple[int, str]:
        count, until = 0, monotonic() + DEADLINE
        decoder: EventDecoder[Chunk] = EventDecoder(decode=DECODE, terminator=b"[DONE]")
        with pool.open(head, target, BODY, None, until).events(decoder, DEADLINE, until) as events:
            for event in events:
                token = event.data.choices[0].delta.content
                count += 1
        return count, str(token)

    sample = _streamed(work, read)
    # All over one connection: a stream read to its end gives it back.
    assert pool.open_connections == 1
    pool.close()
    return sample


def pool(work: Work) -> Sample:
    """`Pool.events`, a Struct for each token."""
    try:
        from ostiary.http import Pool
    except ImportError as error:
        raise Unavailable(str(error)) from None

    with Pool(base_url(work.socket), headers=HEADERS, timeout=DEADLINE) as made:

        def read() -> tuple[int, str]:
            count = 0
            with made.events("POST", STREAM, body=BODY, type=Chunk, terminator=b"[DONE]") as events:
                for event in events:
                    token = event.data.choices[0].delta.content
                    count += 1
            return count, str(token)

        return _streamed(work, read)


def _httpx(work: Work, name: str, source: Callable[[Any], Iterable[Any]]) -> Sample:
    module = peer(name)
    transport = module.HTTPTransport(uds=work.socket)
    with module.Client(transport=transport, headers=HEADERS, timeout=DEADLINE) as client:

        def read() -> tuple[int, str]:
            count = 0
            with client.stream("POST", f"http://localhost{STREAM}", content=BODY) as response:
                if response.status_code != 200:
                    raise wrong(name, response.status_code)
                for event in source(response):
                    if event.data == "[DONE]":
                        continue
                    token = DECODE(event.data).choices[0].delta.content
                    count += 1
            return count, str(token)

        return _streamed(work, read)


def httpx_sse(work: Work) -> Sample:
    """httpx and httpx-sse, the text decoded by msgspec."""
    events = peer("httpx_sse")
    return _httpx(work, "httpx", lambda response: events.EventSource(response).iter_sse())


def httpx2(work: Work) -> Sample:
    """httpx2 and its own event source, the text decoded by msgspec."""
    return _httpx(work, "httpx2", peer("httpx2").EventSource)


def sseclient(work: Work) -> Sample:
    """urllib3 and sseclient-py, the text decoded by msgspec."""
    made, module = urllib3_pool(work.socket, 1), peer("sseclient")

    def read() -> tuple[int, str]:
        count = 0
        response = made.urlopen("POST", STREAM, body=BODY, preload_content=False)
        for event in module.SSEClient(response.stream(65536)).events():
            if event.data == "[DONE]":
                continue
            token = DECODE(event.data).choices[0].delta.content
            count += 1
        response.release_conn()
        return count, str(token)

    return _streamed(work, read)


def openai(work: Work) -> Sample:
    """The OpenAI client over a Unix socket, to its own models."""
    module, httpx2 = peer("openai"), peer("httpx2")
    transport = httpx2.HTTPTransport(uds=work.socket)
    with module.OpenAI(
        api_key="none",
        base_url=f"http://localhost{STREAM}",
        http_client=httpx2.Client(transport=transport, timeout=DEADLINE),
    ) as client:
        messages = [{"role": "user", "content": "Which orders are late?"}]

        def read() -> tuple[int, str]:
            count = 0
            for chunk in client.chat.completions.create(
                model="a-model", messages=messages, stream=True
            ):
                token = chunk.choices[0].delta.content
                count += 1
            return count, str(token)

        return _streamed(work, read)


async def _streamed_async(work: Work, read: Callable[[], Any]) -> Sample:
    streams = max(1, work.count // EVENTS)
    for _ in range(streams // 10 + 1):
        assert await read() == (EVENTS, LAST)
    watch = Stopwatch()
    watch.start()
    for _ in range(streams):
        await read()
    return watch.sample(streams * EVENTS)


def async_leaf(work: Work) -> Sample:
    """`AsyncHttpPool.open(...)` and its events, a Struct for each token."""
    return loops.run(work, _async_leaf)


async def _async_leaf(work: Work) -> Sample:
    try:
        from ostiary._io.aio_http import AsyncHttpPool
        from ostiary._wire.request import RequestHead
        from ostiary._wire.sse import EventDecoder
        from ostiary.config import Limits, UnixAddress
    except ImportError as error:
        raise Unavailable(str(error)) from None

    pool = AsyncHttpPool(
        UnixAddress(work.socket), limits=Limits(), max_connections=1, max_idle=1, idle_expiry=60
    )
    head = RequestHead("POST", "localhost", HEADERS)
    target = STREAM.encode()

    async def read() -> tuple[int, str]:
        count, until = 0, monotonic() + DEADLINE
        decoder: EventDecoder[Chunk] = EventDecoder(decode=DECODE, terminator=b"[DONE]")
        stream = await pool.open(head, target, BODY, None, until)
        async with stream.events(decoder, DEADLINE, until) as events:
            async for event in events:
                token = event.data.choices[0].delta.content
                count += 1
        return count, str(token)

    sample = await _streamed_async(work, read)
    assert pool.open_connections == 1
    pool.close()
    return sample


def async_pool(work: Work) -> Sample:
    """`AsyncPool.events`, a Struct for each token."""
    return loops.run(work, _async_pool)


async def _async_pool(work: Work) -> Sample:
    try:
        from ostiary.http import AsyncPool
    except ImportError as error:
        raise Unavailable(str(error)) from None

    async with AsyncPool(base_url(work.socket), headers=HEADERS, timeout=DEADLINE) as made:

        async def read() -> tuple[int, str]:
            count = 0
            async with await made.events(
                "POST", STREAM, body=BODY, type=Chunk, terminator=b"[DONE]"
            ) as events:
                async for event in events:
                    token = event.data.choices[0].delta.content
                    count += 1
            return count, str(token)

        return await _streamed_async(work, read)


def aiohttp(work: Work) -> Sample:
    """aiohttp, its lines taken by hand and decoded by `json`: the quickest peer."""
    return loops.run(work, _aiohttp)


async def _aiohttp(work: Work) -> Sample:
    module = peer("aiohttp")
    connector = module.UnixConnector(path=work.socket)
    async with module.ClientSession(connector=connector, headers=HEADERS) as session:

        async def read() -> tuple[int, str]:
            count = 0
            async with session.post(f"http://localhost{STREAM}", data=BODY) as response:
                if response.status != 200:
                    raise wrong("aiohttp", response.status)
                async for line in response.content:
                    if line.startswith(b"data: {"):
                        token = json.loads(line[6:])["choices"][0]["delta"]["content"]
                        count += 1
            return count, token

        return await _streamed_async(work, read)
