"""P5: one framed JSON-RPC call at a time on one Unix socket, all clients to the same server.

Each asks for the same credential and gets the same bytes back.
"""

from __future__ import annotations

import importlib
import os
import tempfile
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import msgspec

from ..sample import Sample, Stopwatch, Unavailable, Work
from . import native

if TYPE_CHECKING:
    from ostiary.vault import VaultClient

SESSION = "s-9f2c7d18a4e3"
PATH = "openai/api_key"
TTL = 300
REQUEST = (
    f'{{"id":12345,"method":"retrieve","params":'
    f'{{"session_id":"{SESSION}","path":"{PATH}","ttl":{TTL}}}}}'
)
DEADLINE = 30.0


class Retrieve(msgspec.Struct, gc=False):
    session_id: str
    path: str
    ttl: int | None = None


class Retrieved(msgspec.Struct, gc=False):
    value: str
    lease_id: str
    path: str | None = None
    ttl: int | None = None
    expires_at: str | None = None


def c_floor(work: Work) -> Sample:
    """The same send and receive from C; `depth` requests leave in one piece."""
    poll = ["poll"] if work.options.get("poll") else []
    depth = work.options.get("depth", 1)
    return native.run(work, "pingpong", work.socket, work.count, depth, REQUEST, *poll)


def call(work: Work) -> Sample:
    """`Channel.call`: a Struct in, a Struct out, with a deadline on each call."""
    try:
        from ostiary._io.blocking import connect
        from ostiary._wire.rpc import Method
        from ostiary.config import Limits, UnixAddress
    except ImportError as error:
        raise Unavailable(str(error)) from None

    method = Method("retrieve", Retrieved)
    line = connect(UnixAddress(work.socket), deadline=monotonic() + DEADLINE, limits=Limits())
    for _ in range(work.warm_up):
        line.call(method, Retrieve(SESSION, PATH, TTL), monotonic() + DEADLINE)
    watch = Stopwatch()
    watch.start()
    for _ in range(work.count):
        line.call(method, Retrieve(SESSION, PATH, TTL), monotonic() + DEADLINE)
    sample = watch.sample(work.count)
    reply = line.call(method, Retrieve(SESSION, PATH, TTL), monotonic() + DEADLINE)
    assert isinstance(reply, Retrieved)
    assert reply.path == PATH
    line.close()
    return sample


def _client(work: Work, home: str) -> VaultClient:
    try:
        from ostiary.vault import VaultClient
    except ImportError as error:
        raise Unavailable(str(error)) from None
    return VaultClient("my-agent", socket_path=work.socket, key_path=write_key(home))


def write_key(home: str) -> str:
    """Write an agent's key; the server checks no signature, the clients must make one."""
    path = Path(home) / "my-agent.key"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(bytes(range(32)).hex())
    return str(path)


def retrieve_raw(work: Work) -> Sample:
    """The public call that leases a credential and returns all the vault said."""
    with tempfile.TemporaryDirectory() as home, _client(work, home) as client:
        for _ in range(work.warm_up):
            client.retrieve_raw(PATH, ttl=TTL)
        watch = Stopwatch()
        watch.start()
        for _ in range(work.count):
            client.retrieve_raw(PATH, ttl=TTL)
        return watch.sample(work.count)


def use(work: Work) -> Sample:
    """The public call that has the vault do something with a credential."""
    with tempfile.TemporaryDirectory() as home, _client(work, home) as client:
        for _ in range(work.warm_up):
            client.use(PATH, "http_header")
        watch = Stopwatch()
        watch.start()
        for _ in range(work.count):
            client.use(PATH, "http_header")
        return watch.sample(work.count)


def sanctum(work: Work) -> Sample:
    """The published client, through the public call that returns what the vault said."""
    try:
        # It ships no types.
        make: Any = importlib.import_module("sanctum_ai").SanctumClient
    except ImportError as error:
        raise Unavailable(str(error)) from None

    with tempfile.TemporaryDirectory() as home:
        client = make("my-agent", socket_path=work.socket, key_path=write_key(home))
        client.connect()
        for _ in range(work.warm_up):
            client.retrieve_raw(PATH, ttl=TTL)
        watch = Stopwatch()
        watch.start()
        for _ in range(work.count):
            client.retrieve_raw(PATH, ttl=TTL)
        # Not closed: it would release one lease per call, a round trip each.
        return watch.sample(work.count)
