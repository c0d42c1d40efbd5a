"""Every case, in the order of the table. A case's name is the number of its work and its own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from . import gateway, runtime, workflow
from .case import Case, Role

GROUPS = {
    "P1": "HTTP over a Unix socket, sync, one small exchange at a time",
    "P2": "the same as a public call: text in, a typed answer out",
    "P3": "HTTP over a Unix socket, asyncio, 64 tasks on 64 connections",
    "P4": "HTTP over a Unix socket, asyncio, 256 tasks on 32 connections",
    "P5": "framed JSON-RPC over a Unix socket, sync, one call at a time",
    "P6": "framed JSON-RPC over a Unix socket, asyncio, 64 tasks",
    "P7": "splitting frames out of a buffer",
    "P8": "event streams to text, in chunks of 4 KiB",
    "P9": "event streams to Structs, in chunks of 4 KiB",
    "P10": "event streams over a Unix socket, a typed event per token",
    "P11": "reading one small response from bytes",
    "P12": "importing the vault and making one client",
    "P13": "sync exchanges beside a thread that computes: % of the rate without it",
    "P14": "memory of an idle client and of an idle connection, in KB of 1,000 bytes",
    "G1": "a chat through the gateway, sync, one call at a time",
    "G2": "a chat through the gateway, asyncio, 64 tasks",
    "G3": "a stream of tokens through the gateway, sync, per token",
    "G4": "1,000 streams of tokens at once through the gateway, per token",
    "G5": "an agent's process, to its first answer, over bare Python",
    "G6": "memory of an agent's process behind its first answer",
    "R1": "an agent's status from the runtime, sync, one call at a time",
    "R2": "an agent's status from the runtime, asyncio, 64 tasks",
    "R3": "a page of 100 reviews from the runtime, one call at a time",
    "R4": "a search in the runtime's knowledge, one call at a time",
    "R5": "calls per second of the embedded runtime, one call at a time",
    "R6": "connections opened by 640 calls",
    "R7": "a process with a runtime client, over bare Python",
    "R8": "memory of such a process behind its first answer",
    "W1": "a workflow of eight tasks, one call at a time",
    "W2": "an action judged by policy, one call at a time",
    "W3": "an event reported, one call at a time",
    "W4": "an action judged by policy, asyncio, 64 tasks",
    "W5": "events reported many at a time, per event",
    "W6": "events per second, to the embedded workflow server",
}


class UnknownCase(Exception):
    """A name that stands in no table here."""


def _calls(name: str, label: str, role: Role, function: str, count: int, **options: Any) -> Case:
    return Case(name, label, role, function, count, 640, server="framed", options=options)


def _http(
    name: str,
    label: str,
    role: Role,
    function: str,
    count: int,
    smoke: int = 640,
    unit: str = "us",
    **options: Any,
) -> Case:
    smoke = min(count, smoke)
    return Case(name, label, role, function, count, smoke, unit, server="httpd", options=options)


def _exchanges(group: str, connections: int, tasks: int) -> list[Case]:
    """Return the cases of one work for asyncio clients."""

    def row(
        key: str,
        label: str,
        role: Role,
        client: str,
        count: int,
        *,
        smoke: int = 640,
        loop: str = "asyncio",
    ) -> Case:
        return _http(
            f"{group}.{key}",
            label,
            role,
            "http_async:calls" if client else "http_async:c_floor",
            count,
            smoke,
            client=client,
            loop=loop,
            connections=connections,
            tasks=tasks,
        )

    return [
        row("c-floor", "C floor: epoll", "floor", "", 200_000),
        row("wreq", "wreq 0.13.0", "peer", "wreq", 12_800),
        row("aiohttp", "aiohttp 3.14.5", "peer", "aiohttp", 6_400),
        row("aiohttp-uvloop", "aiohttp 3.14.5, uvloop", "peer", "aiohttp", 6_400, loop="uvloop"),
        row("httpx2", "httpx2 2.16.2", "peer", "httpx2", 1_280, smoke=64),
        row("httpx", "httpx 0.28.1", "peer", "httpx", 256, smoke=64),
        row("stdlib", "AsyncHttpPool.fetch", "ours", "leaf", 64_000),
        row("uvloop", "AsyncHttpPool.fetch, uvloop", "ours", "leaf", 64_000, loop="uvloop"),
        row("pool", "AsyncPool.request", "ours", "pool", 32_000),
        row("pool-uvloop", "AsyncPool.request, uvloop", "ours", "pool", 32_000, loop="uvloop"),
    ]


def _flat(key: str, label: str, role: Role, client: str, count: int) -> Case:
    text = f"dearest / cheapest, 1 to 1,024 waiting: {label}"
    options = {"client": client, "connections": 32}
    return _http(f"P4.flat.{key}", text, role, "http_async:flat", count, 2_112, "x", **options)


def _share(key: str, label: str, role: Role, client: str) -> Case:
    return _http(f"P13.{key}", label, role, "http:share", 700, 200, "%", client=client)


def _idle(kind: str, label: str, role: Role, client: str, count: int, function: str) -> list[Case]:
    """Return a case; for ours, and the peer that the target was set beside, its cross-check."""

    def row(key: str, text: str, *, traced: bool) -> Case:
        return _http(
            f"P14.{kind}.{client}{key}",
            f"{label}{text}",
            role,
            f"memory:{function}",
            count,
            200,
            "KB",
            client=client,
            traced=traced,
        )

    cases = [row("", "", traced=False)]
    if role == "ours" or client == "httpx":
        cases.append(row("-traced", ", by tracemalloc", traced=True))
    return cases


_VAULT = "import ostiary.vault"
_MAKE = 'ostiary.vault.VaultClient("my-agent")'


def _starts(
    name: str, label: str, role: Role, function: str, unit: str, count: int = 5, **options: Any
) -> Case:
    return Case(name, label, role, f"startup:{function}", count, 1, unit=unit, options=options)


def _splits(size: int, text: str) -> list[Case]:
    count = min(2_000_000, (2 << 30) // size)
    cases: list[Case] = []
    for key, label, role, function, options in (
        ("c-floor", "C walk, no copies", "floor", "c_floor", {}),
        ("slices", "Python slices", "peer", "python", {}),
        ("framer", "Framer.feed, one buffer", "ours", "framer", {}),
        ("reads", "Framer.feed, 64 KiB at a time", "ours", "framer", {"reads": True}),
    ):
        cases.append(
            Case(
                f"P7.{text.replace(' ', '')}.{key}",
                f"{text}: {label}",
                role,  # type: ignore[arg-type]
                f"split:{function}",
                count // 4 if role == "peer" else count,
                count // 200,
                unit="ns",
                options={"size": size, **options},
            )
        )
    return cases


def _events(group: str, *, typed: bool) -> list[Case]:
    with_it = " + msgspec" if typed else ""
    rows: list[tuple[str, str, Role, str, int, dict[str, Any]]] = [
        ("c-floor", "C walk over the lines", "floor", "c_floor", 4_000_000, {}),
        ("httpx-sse", f"httpx-sse 0.4.3{with_it}", "peer", "split", 50_000, {}),
        ("sseclient-py", f"sseclient-py 1.9.0{with_it}", "peer", "split", 50_000, {}),
        ("httpx2", f"httpx2 2.16.2{with_it}", "peer", "split", 50_000, {}),
        ("openai", f"openai 3.52.0, its decoder{with_it}", "peer", "split", 50_000, {}),
    ]
    if typed:
        rows.insert(1, ("msgspec", "msgspec alone", "floor", "msgspec_alone", 400_000, {}))
        rows.append(("openai-sdk", "openai 3.52.0, its models", "peer", "openai_typed", 5_000, {}))
    rows.append(("decoder", "EventDecoder.feed", "ours", "decoder", 1_000_000, {}))
    return [
        Case(
            f"{group}.{key}",
            label,
            role,
            f"events:{function}",
            count,
            2_000,
            "ns",
            options={"client": key, "typed": typed, **options},
        )
        for key, label, role, function, count, options in rows
    ]


CASES: tuple[Case, ...] = (
    _http("P1.c-floor", "C floor: send, recv", "floor", "http:c_floor", 40_000),
    _http("P1.c-poll", "C floor: send, polling recv", "floor", "http:c_floor", 40_000, poll=True),
    _http("P1.pycurl", "pycurl 7.49.0", "peer", "http:calls", 20_000, client="pycurl"),
    _http("P1.wreq", "wreq 0.13.0", "peer", "http:calls", 10_000, client="wreq"),
    _http("P1.urllib3", "urllib3 2.8.0", "peer", "http:calls", 4_000, client="urllib3"),
    _http("P1.httpx2", "httpx2 2.16.2", "peer", "http:calls", 2_000, client="httpx2"),
    _http("P1.httpx", "httpx 0.28.1", "peer", "http:calls", 2_000, client="httpx"),
    _http("P1.fetch", "HttpPool.fetch", "ours", "http:calls", 40_000, client="leaf"),
    _http("P1.pool", "Pool.request", "ours", "http:calls", 20_000, client="pool"),
    _http("P2.c-floor", "C floor: send, recv", "floor", "http:c_floor", 40_000, run=True),
    _http(
        "P2.c-poll",
        "C floor: send, polling recv",
        "floor",
        "http:c_floor",
        40_000,
        run=True,
        poll=True,
    ),
    _http("P2.hestiaos", "hestiaos 1.0.1, TCP", "peer", "http:hestiaos", 600),
    _http(
        "P2.hestiaos-async",
        "hestiaos 1.0.1, TCP, in one loop",
        "peer",
        "http:hestiaos_async",
        1_200,
    ),
    _http("P2.run", "GovernanceClient.run", "ours", "http:public", 20_000),
    _http("P2.run-tcp", "GovernanceClient.run, TCP", "ours", "http:public", 20_000, tcp=True),
    *_exchanges("P3", 64, 64),
    *_exchanges("P4", 32, 256),
    _flat("aiohttp", "aiohttp 3.14.5", "peer", "aiohttp", 2_112),
    _flat("fetch", "AsyncHttpPool.fetch", "ours", "leaf", 16_896),
    _flat("pool", "AsyncPool.request", "ours", "pool", 16_896),
    _calls("P5.c-floor", "C floor: send, recv", "floor", "framed:c_floor", 40_000),
    _calls(
        "P5.c-poll", "C floor: send, polling recv", "floor", "framed:c_floor", 40_000, poll=True
    ),
    _calls("P5.sanctum-ai", "sanctum-ai 0.4.0", "peer", "framed:sanctum", 12_000),
    _calls("P5.call", "Channel.call", "ours", "framed:call", 40_000),
    _calls("P5.retrieve_raw", "VaultClient.retrieve_raw", "ours", "framed:retrieve_raw", 20_000),
    _calls("P5.use", "VaultClient.use", "ours", "framed:use", 20_000),
    _calls("P6.c-floor", "C floor: 64 per send", "floor", "framed:c_floor", 640_000, depth=64),
    _calls("P6.streams", "asyncio streams + json", "peer", "multiplexed:streams", 12_800),
    _calls(
        "P6.streams-uvloop",
        "asyncio streams + json, uvloop",
        "peer",
        "multiplexed:streams",
        12_800,
        loop="uvloop",
    ),
    _calls("P6.stdlib", "AsyncChannel.call", "ours", "multiplexed:calls", 128_000),
    _calls(
        "P6.uvloop",
        "AsyncChannel.call, uvloop",
        "ours",
        "multiplexed:calls",
        128_000,
        loop="uvloop",
    ),
    _calls("P6.use", "AsyncVaultClient.use", "ours", "multiplexed:public", 64_000),
    _calls(
        "P6.use-uvloop",
        "AsyncVaultClient.use, uvloop",
        "ours",
        "multiplexed:public",
        64_000,
        loop="uvloop",
    ),
    *_splits(100, "100 B"),
    *_splits(1024, "1 KiB"),
    *_splits(65536, "64 KiB"),
    *_events("P8", typed=False),
    *_events("P9", typed=True),
    _http("P10.c-floor", "C floor: recv", "floor", "events:drained", 400_000, 4_000),
    _http(
        "P10.c-poll", "C floor: polling recv", "floor", "events:drained", 400_000, 4_000, poll=True
    ),
    _http("P10.aiohttp", "aiohttp 3.14.5 + json", "peer", "events:aiohttp", 40_000, 2_000),
    _http(
        "P10.sseclient-py",
        "urllib3 + sseclient-py 1.9.0 + msgspec",
        "peer",
        "events:sseclient",
        20_000,
        2_000,
    ),
    _http(
        "P10.httpx-sse",
        "httpx + httpx-sse 0.4.3 + msgspec",
        "peer",
        "events:httpx_sse",
        20_000,
        2_000,
    ),
    _http("P10.httpx2", "httpx2 2.16.2 + msgspec", "peer", "events:httpx2", 20_000, 2_000),
    _http("P10.openai", "openai 3.52.0", "peer", "events:openai", 5_000, 1_000),
    _http("P10.sync", "HttpPool.open, events", "ours", "events:leaf", 400_000, 4_000),
    _http("P10.pool", "Pool.events", "ours", "events:pool", 200_000, 4_000),
    _http("P10.asyncio", "AsyncHttpPool.open, events", "ours", "events:async_leaf", 400_000, 4_000),
    _http(
        "P10.uvloop",
        "AsyncHttpPool.open, events, uvloop",
        "ours",
        "events:async_leaf",
        400_000,
        4_000,
        loop="uvloop",
    ),
    _http("P10.async-pool", "AsyncPool.events", "ours", "events:async_pool", 200_000, 4_000),
    Case(
        "P11.c-floor",
        "C walk over the lines",
        "floor",
        "responses:c_floor",
        2_000_000,
        20_000,
        "ns",
    ),
    *(
        Case(
            f"P11.{key}",
            label,
            "peer",
            "responses:peers",
            count,
            2_000,
            "ns",
            options={"client": key},
        )
        for key, label, count in (
            ("httptools", "httptools 0.9.0", 100_000),
            ("aiohttp", "aiohttp 3.14.5, its C parser", 50_000),
            ("h11", "h11", 5_000),
        )
    ),
    Case("P11.parser", "ResponseParser", "ours", "responses:ours", 400_000, 2_000, "ns"),
    Case(
        "P11.by-h11",
        "ResponseParser by way of h11",
        "ours",
        "responses:ours",
        5_000,
        1_000,
        "ns",
        options={"h11": True},
    ),
    _starts("P12.bare", "bare Python", "floor", "bare", "ms"),
    _starts(
        "P12.msgspec",
        "msgspec over bare",
        "floor",
        "over_bare",
        "ms",
        code="import msgspec",
        module="msgspec",
    ),
    _starts(
        "P12.sanctum-ai",
        "sanctum-ai and a client over bare",
        "peer",
        "over_bare",
        "ms",
        code='import sanctum_ai; sanctum_ai.SanctumClient("my-agent")',
        module="sanctum_ai",
    ),
    _starts(
        "P12.httpx",
        "httpx and a client over bare",
        "peer",
        "over_bare",
        "ms",
        code="import httpx; httpx.Client()",
        module="httpx",
    ),
    _starts(
        "P12.import", "import ostiary over bare", "ours", "over_bare", "ms", code="import ostiary"
    ),
    _starts(
        "P12.start",
        "ostiary.vault and a client over bare",
        "ours",
        "over_bare",
        "ms",
        code=f"{_VAULT}; {_MAKE}",
    ),
    _starts(
        "P12.construct", "the first client", "ours", "construct", "us", code=_VAULT, make=_MAKE
    ),
    _starts(
        "P12.more", "every later client", "ours", "construct_more", "us", code=_VAULT, make=_MAKE
    ),
    _starts("P12.rss-bare", "resident, bare Python", "floor", "resident", "MB", code="pass"),
    _starts(
        "P12.rss-sanctum-ai",
        "resident, sanctum-ai and a client",
        "peer",
        "resident",
        "MB",
        code='import sanctum_ai; c = sanctum_ai.SanctumClient("my-agent")',
        module="sanctum_ai",
    ),
    _starts(
        "P12.rss",
        "resident, ostiary.vault and a client",
        "ours",
        "resident",
        "MB",
        code=f"{_VAULT}; c = {_MAKE}",
    ),
    _share("lock", "a computation that never waits", "floor", "lock"),
    _share("socket", "a blocking socket, nothing parsed", "peer", "socket"),
    _share("pycurl", "pycurl 7.49.0", "peer", "pycurl"),
    _share("wreq", "wreq 0.13.0", "peer", "wreq"),
    _share("urllib3", "urllib3 2.8.0", "peer", "urllib3"),
    _share("httpx", "httpx 0.28.1", "peer", "httpx"),
    _share("fetch", "HttpPool.fetch", "ours", "leaf"),
    _share("pool", "Pool.request", "ours", "pool"),
    *_idle("client", "client: httpx 0.28.1", "peer", "httpx", 20, "clients"),
    *_idle("client", "client: httpx2 2.16.2", "peer", "httpx2", 20, "clients"),
    *_idle("client", "client: hestiaos 1.0.1", "peer", "hestiaos", 10, "clients"),
    *_idle("client", "client: urllib3 2.8.0", "peer", "urllib3", 1_000, "clients"),
    *_idle("client", "client: wreq 0.13.0", "peer", "wreq", 20, "clients"),
    *_idle("client", "client: pycurl 7.49.0", "peer", "pycurl", 1_000, "clients"),
    *_idle("client", "client: HttpPool", "ours", "leaf", 10_000, "clients"),
    *_idle("client", "client: Pool", "ours", "pool", 10_000, "clients"),
    *_idle("client", "client: GovernanceClient", "ours", "governance", 10_000, "clients"),
    *_idle("connection", "connection: httpx 0.28.1", "peer", "httpx", 80, "connections"),
    *_idle("connection", "connection: httpx2 2.16.2", "peer", "httpx2", 80, "connections"),
    *_idle("connection", "connection: urllib3 2.8.0", "peer", "urllib3", 80, "connections"),
    *_idle("connection", "connection: HttpPool", "ours", "leaf", 200, "connections"),
    *_idle("async", "asyncio connection: httpx 0.28.1", "peer", "httpx", 80, "async_connections"),
    *_idle(
        "async", "asyncio connection: aiohttp 3.14.5", "peer", "aiohttp", 200, "async_connections"
    ),
    *_idle("async", "asyncio connection: AsyncHttpPool", "ours", "leaf", 200, "async_connections"),
    *gateway.CASES,
    *runtime.CASES,
    *workflow.CASES,
)

BY_NAME = {case.name: case for case in CASES}


def named(name: str) -> Case:
    """Return the case of that name."""
    if name not in BY_NAME:
        raise UnknownCase(f"there is no case {name!r}; --list shows all of them")
    return BY_NAME[name]


def chosen(words: Iterable[str]) -> list[Case]:
    """Return the cases meant by groups and case names, in the order of the table."""
    names: set[str] = set()
    for word in words:
        if word in GROUPS:
            names |= {case.name for case in CASES if case.group == word}
        elif word in BY_NAME:
            names.add(word)
        else:
            raise UnknownCase(
                f"there is no work or case {word!r}; the works are {', '.join(GROUPS)}, "
                "and --list shows the cases"
            )
    return [case for case in CASES if case.name in names]
