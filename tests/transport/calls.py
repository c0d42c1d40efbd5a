"""The calls these tests make: typed, and answered with what only that request can have."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec

from ostiary._io import aio, blocking
from ostiary._io.sockets import deadline_after
from ostiary._wire.rpc import Method
from ostiary.config import Limits
from tests.transport.peer import Peer, check, padding

FOREVER = float("inf")


class Ask(msgspec.Struct):
    n: int
    pad: str = ""
    size: int = 0


class Told(msgspec.Struct):
    n: int
    check: int
    pad: str


ECHO: Method[Told] = Method("echo", Told, repeatable=True)
ONCE: Method[Told] = Method("once", Told)
ANY: Method[Any] = Method("any", object)
RAW: Method[msgspec.Raw] = Method("raw", msgspec.Raw)


def is_answer(told: Told, ask: Ask) -> bool:
    return told == Told(ask.n, check(ask.n, ask.pad), padding(ask.n, ask.size))


def soon(seconds: float = 20.0) -> float:
    """A deadline that no healthy test meets."""
    return deadline_after(seconds)


def dial(peer: Peer, **options: Any) -> blocking.Channel:
    options.setdefault("limits", Limits())
    options.setdefault("deadline", soon())
    channel = blocking.connect(peer.address, ssl_context=peer.client_context, **options)
    peer.clients.append(channel)
    return channel


async def adial(peer: Peer, **options: Any) -> aio.AsyncChannel:
    options.setdefault("limits", Limits())
    options.setdefault("deadline", soon())
    channel = await aio.connect(peer.address, ssl_context=peer.client_context, **options)
    peer.clients.append(channel)
    return channel


def good(channel: blocking.Channel, n: int = 7, size: int = 0, pad: str = "") -> None:
    ask = Ask(n, pad, size)
    assert is_answer(channel.call(ECHO, ask, soon()), ask)


async def agood(channel: aio.AsyncChannel, n: int = 7, size: int = 0, pad: str = "") -> None:
    ask = Ask(n, pad, size)
    assert is_answer(await channel.call(ECHO, ask, soon()), ask)


async def until(condition: Any) -> None:
    """Let the loop run until it holds; the suite's own timeout bounds it."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "it never came true"
        await asyncio.sleep(0.001)
