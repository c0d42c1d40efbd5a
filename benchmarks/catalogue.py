"""Every case, in the order of the table. A case's name is the number of its work and its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["floor", "peer", "ours"]

GROUPS = {
    "P5": "framed JSON-RPC over a Unix socket, sync, one call at a time",
    "P6": "framed JSON-RPC over a Unix socket, asyncio, 64 tasks",
    "P7": "splitting frames out of a buffer",
    "P12": "importing the vault and making one client",
}


class UnknownCase(Exception):
    """A name that stands in no table here."""


@dataclass(frozen=True, slots=True)
class Case:
    """One row: who does the work, and how much of it makes one sample."""

    name: str
    label: str
    role: Role
    function: str
    count: int
    smoke: int
    unit: str = "us"
    server: bool = False
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def group(self) -> str:
        return self.name.partition(".")[0]


def _calls(name: str, label: str, role: Role, function: str, count: int, **options: Any) -> Case:
    return Case(name, label, role, function, count, 640, server=True, options=options)


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


CASES: tuple[Case, ...] = (
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
