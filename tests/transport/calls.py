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


# What a peer may answer call 1 with that is no answer to it.
NO_ANSWERS: list[tuple[str, list[bytes]]] = [
    ("wrong id", [b'{"id":2,"result":1}']),
    ("id of the past", [b'{"id":0,"result":1}']),
    ("string id", [b'{"id":"1","result":1}']),
    ("null id", [b'{"id":null,"result":1}']),
    ("no id", [b'{"result":1}']),
    ("negative id", [b'{"id":-1,"result":1}']),
    ("float id", [b'{"id":1.0,"result":1}']),
    ("true id", [b'{"id":true,"result":1}']),
    ("huge id", [b'{"id":18446744073709551617,"result":1}']),
    ("id of 400 digits", [b'{"id":' + b"1" * 400 + b',"result":1}']),
    ("two ids", [b'{"id":1,"result":1,"id":2}']),
    ("second id huge", [b'{"id":1,"result":1,"id":18446744073709551617}']),
    ("second id of 30 digits", [b'{"id":1,"result":1,"id":' + b"9" * 30 + b"}"]),
    ("second id a string", [b'{"id":1,"result":1,"id":"1"}']),
    ("empty frame", [b""]),
    ("spaces", [b"   "]),
    ("no JSON", [b"<html>"]),
    ("a list", [b'[{"id":1,"result":1}]']),
    ("a number", [b"1"]),
    ("cut JSON", [b'{"id":1,"result":']),
    ("trailing JSON", [b'{"id":1,"result":1}{}']),
    ("invalid UTF-8", [b'{"id":1,"result":"\xff\xfe"}']),
    ("NaN", [b'{"id":1,"result":NaN}']),
    ("deep", [b'{"id":1,"result":' + b"[" * 100_000 + b"]" * 100_000 + b"}"]),
    ("deep before the id", [b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b',"id":1}']),
    ("endless number", [b'{"id":1,"result":' + b"9" * 5000 + b"x}"]),
]
