"""P6: 64 asyncio tasks that call without pause, and what one call costs the client.

Ours share one connection, matched by id. The peer is a plain JSON-RPC client on asyncio
streams, which nobody multiplexes: each of its tasks has a connection to itself.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from time import monotonic

from ..sample import Sample, Unavailable, Work
from . import loops
from .framed import DEADLINE, PATH, SESSION, TTL, Retrieve, Retrieved, write_key

TASKS = 64


def calls(work: Work) -> Sample:
    """64 tasks on one `AsyncChannel`."""
    return loops.run(work, _calls)


async def _calls(work: Work) -> Sample:
    try:
        from ostiary._io.aio import connect
        from ostiary._wire.rpc import Method
        from ostiary.config import Limits, UnixAddress
    except ImportError as error:
        raise Unavailable(str(error)) from None

    method = Method("retrieve", Retrieved)
    line = await connect(UnixAddress(work.socket), deadline=monotonic() + DEADLINE, limits=Limits())

    async def task(count: int) -> None:
        for _ in range(count):
            await line.call(method, Retrieve(SESSION, PATH, TTL), monotonic() + DEADLINE)

    sample = await loops.timed(TASKS, work, task)
    reply = await line.call(method, Retrieve(SESSION, PATH, TTL), monotonic() + DEADLINE)
    assert isinstance(reply, Retrieved)
    assert reply.path == PATH
    line.close()
    return sample


def public(work: Work) -> Sample:
    """64 tasks on one `AsyncVaultClient`, through `use`."""
    return loops.run(work, _public)


async def _public(work: Work) -> Sample:
    try:
        from ostiary.vault import AsyncVaultClient
    except ImportError as error:
        raise Unavailable(str(error)) from None

    with tempfile.TemporaryDirectory() as home:
        async with AsyncVaultClient(
            "my-agent", socket_path=work.socket, key_path=write_key(home)
        ) as client:

            async def task(count: int) -> None:
                for _ in range(count):
                    await client.use(PATH, "http_header")

            return await loops.timed(TASKS, work, task)


def streams(work: Work) -> Sample:
    """64 tasks, each with asyncio streams and json of its own."""
    return loops.run(work, _streams)


async def _streams(work: Work) -> Sample:
    lines = [await asyncio.open_unix_connection(work.socket) for _ in range(TASKS)]
    free = list(lines)

    async def task(count: int) -> None:
        line = free.pop()
        reader, writer = line
        for number in range(count):
            params = {"session_id": SESSION, "path": PATH, "ttl": TTL}
            request = {"id": number, "method": "retrieve", "params": params}
            body = json.dumps(request, separators=(",", ":")).encode()
            writer.write(len(body).to_bytes(4, "big") + body)
            size = int.from_bytes(await reader.readexactly(4), "big")
            reply = json.loads(await reader.readexactly(size))
            assert reply["id"] == number, reply
        free.append(line)

    sample = await loops.timed(TASKS, work, task)
    for _, writer in lines:
        writer.close()
    return sample
