"""The cases of the agent runtime, R1 to R8: three calls, their connections, whole processes."""

from __future__ import annotations

from typing import Any

from .case import Case, Role

_OLD, _NEW = "symbiont-sdk 0.3.0", "symbiont-sdk 1.16.0"
_ORIGINALS = (("old", _OLD), ("new", _NEW))
_ENVIRONMENTS = {"old": "symbiont", "new": "symbiont-new"}
_METHODS = {
    "status": "get_agent_status",
    "sessions": "list_review_sessions",
    "search": "search_knowledge",
}
_FLOOR = "C floor: send, recv"
_POLL = "C floor: send, polling recv"


def _row(
    name: str,
    label: str,
    role: Role,
    function: str,
    count: int,
    smoke: int = 32,
    unit: str = "us",
    server: str = "httpd",
    **options: Any,
) -> Case:
    """Return a case; the originals, whose names end with `old` or `new`, are elsewhere."""
    environment = _ENVIRONMENTS.get(name.rpartition(".")[2], "")
    smoke = min(count, smoke)
    return Case(
        name,
        label,
        role,
        f"runtime:{function}",
        count,
        smoke,
        unit,
        server,
        environment,
        options=options,
    )


def _called(group: str, call: str, ours: int, theirs: int) -> list[Case]:
    """One call after the other: R1, R3 and R4."""
    method = _METHODS[call]
    sync, asynchronous = f"RuntimeClient.{method}", f"AsyncRuntimeClient.{method}"

    def row(key: str, label: str, role: Role, function: str, count: int, **options: Any) -> Case:
        return _row(f"{group}.{key}", label, role, function, count, call=call, **options)

    return [
        row("c-floor", _FLOOR, "floor", "c_floor", 2 * ours),
        row("c-poll", _POLL, "floor", "c_floor", 2 * ours, poll=True),
        *(
            row(key, f"{label}, TCP", "peer", "calls", theirs, client="original")
            for key, label in _ORIGINALS
        ),
        row("typed", sync, "ours", "calls", ours, client="ours"),
        row("typed-tcp", f"{sync}, TCP", "ours", "calls", ours, client="ours", tcp=True),
        row("async", f"{asynchronous}, one at a time", "ours", "async_calls", ours),
        row(
            "async-tcp",
            f"{asynchronous}, one at a time, TCP",
            "ours",
            "async_calls",
            ours,
            tcp=True,
        ),
    ]


def _together() -> list[Case]:
    """R2. The originals have no async of their own."""

    def row(key: str, label: str, role: Role, function: str, count: int, **options: Any) -> Case:
        options |= {"call": "status", "tasks": 64}
        return _row(f"R2.{key}", label, role, function, count, **options)

    method = "AsyncRuntimeClient.get_agent_status"
    return [
        row("c-floor", "C floor: epoll", "floor", "c_fanout", 64_000),
        *(
            row(key, f"{label}, TCP, in threads", "peer", "threaded", 640, client="original")
            for key, label in _ORIGINALS
        ),
        row("typed", method, "ours", "async_calls", 19_200),
        row("typed-tcp", f"{method}, TCP", "ours", "async_calls", 19_200, tcp=True),
        row("typed-uvloop", f"{method}, uvloop", "ours", "async_calls", 19_200, loop="uvloop"),
    ]


def _served() -> list[Case]:
    """R5 and R6: what the embedded runtime sees of a client."""

    def row(call: str, key: str, label: str, role: Role, count: int, **options: Any) -> Case:
        return _row(
            f"R5.{call}.{key}",
            f"{_METHODS[call]}: {label}",
            role,
            "rate",
            count,
            unit="/s",
            server="embedded",
            call=call,
            **options,
        )

    ours = "RuntimeClient"
    found: list[Case] = []
    for call, count in (("status", 400), ("sessions", 40), ("search", 100)):
        for key, label in _ORIGINALS:
            if call == "status" or key == "old":
                found.append(row(call, key, label, "peer", count, client="original"))
        found.append(row(call, "typed-tcp", f"{ours}, TCP", "ours", count, client="ours", tcp=True))
        if call == "status":
            found.append(row(call, "typed", ours, "ours", count, client="ours"))

    def opened(key: str, label: str, role: Role, function: str, **options: Any) -> Case:
        return _row(f"R6.{key}", label, role, function, 640, 64, "", call="status", **options)

    found += [
        opened(key, label, "peer", "connections", client="original") for key, label in _ORIGINALS
    ]
    found += [
        opened("typed", "RuntimeClient", "ours", "connections", client="ours", tcp=True),
        opened(
            "async", "AsyncRuntimeClient, 64 tasks", "ours", "async_connections", tasks=64, tcp=True
        ),
    ]
    return found


_ORIGINAL = """
import symbiont
answer = symbiont.Client().get_agent_status("agent-late-orders")
"""
_SYNC = """
from ostiary.runtime import RuntimeClient
answer = RuntimeClient().get_agent_status("agent-late-orders")
"""
_ASYNC = """
import asyncio
from ostiary.runtime import AsyncRuntimeClient
async def main():
    async with AsyncRuntimeClient() as client:
        return await client.get_agent_status("agent-late-orders")
answer = asyncio.run(main())
"""


def _processes() -> list[Case]:
    """R7 and R8."""
    found = [
        _row(
            f"R7.import.{key}",
            f"import: {label}",
            "peer",
            "over_bare",
            3,
            1,
            "ms",
            module="symbiont",
            code="import symbiont",
        )
        for key, label in _ORIGINALS
    ]
    code = "import ostiary.runtime"
    found.append(
        _row(
            "R7.import.ours", "import: ostiary.runtime", "ours", "over_bare", 5, 1, "ms", code=code
        )
    )
    also = [_row("R8.bare", "bare Python", "floor", "resident", 3, 1, "MB", code="pass")]
    rows: tuple[tuple[str, str, Role, str, str], ...] = (
        *((key, label, "peer", "symbiont", _ORIGINAL) for key, label in _ORIGINALS),
        ("typed", "RuntimeClient", "ours", "", _SYNC),
        ("async", "AsyncRuntimeClient", "ours", "", _ASYNC),
    )
    for key, label, role, module, asks in rows:
        code = f"{asks}assert answer.agent_id == 'agent-late-orders', answer\n"
        options = {"module": module, "code": code}
        text = f"a process to its first answer: {label}"
        found.append(_row(f"R7.{key}", text, role, "over_bare", 3, 1, "ms", **options))
        also.append(_row(f"R8.{key}", label, role, "resident", 3, 1, "MB", **options))
    return found + also


CASES = (
    *_called("R1", "status", 20_000, 600),
    *_together(),
    *_called("R3", "sessions", 1_000, 100),
    *_called("R4", "search", 10_000, 400),
    *_served(),
    *_processes(),
)
