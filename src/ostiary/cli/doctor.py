"""`ostiary doctor`: everything that has to be right, one line each.

Looks and mends nothing. What belongs to a domain is asked of the domain.
"""

from __future__ import annotations

import importlib
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
import typer
from rich.text import Text

from ..errors import OstiaryError
from .finding import Finding, fail, ok, warn
from .screen import EXIT_FAILED, Screen, plain
from .session import Home, Json, Socket, home_directory, reporting, socket_path

__all__ = ["doctor"]

# No such moment can be now: a machine without a battery for its clock starts in the past.
_BUILT: Final = 1767225600.0  # 2026-01-01
_WIDTH: Final = 14  # of the longest name of a check
_STYLES: Final = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def doctor(home: Home = None, socket: Socket = None, json: Json = False) -> None:
    """Check the installation and the vault, and say what to do about what is wrong.

    Exits 1 when a check fails; a warning alone does not.
    """
    from .domains import DOMAINS

    with reporting(json) as screen:
        directory, address = home_directory(home), socket_path(home, socket)
        findings: list[tuple[str, Finding]] = []
        groups: list[tuple[str, Iterator[Finding]]] = [("installation", _installation())]
        groups += [(d.name, iter(d.checks(directory, address))) for d in DOMAINS]
        for title, group in groups:
            if not json:
                screen.out.print(Text(title, "bold"))
            for finding in _guarded(title, group):
                findings.append((title, finding))
                if not json:
                    _print(screen, finding)
        failed = sum(finding.status == "fail" for _, finding in findings)
        warned = sum(finding.status == "warn" for _, finding in findings)
        if json:
            # Domains look at the same things, so that a check is one of a group.
            screen.document(
                {
                    "ok": not failed,
                    "findings": [
                        {"group": title, **msgspec.structs.asdict(finding)}
                        for title, finding in findings
                    ],
                }
            )
        else:
            screen.out.print(_summary(failed, warned))
    if failed:
        raise typer.Exit(EXIT_FAILED)


def _guarded(title: str, group: Iterator[Finding]) -> Iterator[Finding]:
    try:
        yield from group
    except OstiaryError as error:
        yield fail(title, error.message, "mend this first, then run `ostiary doctor` again")


def _print(screen: Screen, finding: Finding) -> None:
    line = Text("  ")
    line.append(f"{finding.status:<5}", _STYLES[finding.status])
    line.append(f"{finding.check:<{_WIDTH}} {plain(finding.found)}")
    screen.out.print(line, soft_wrap=not screen.out.is_terminal)
    if finding.next is not None:
        screen.out.print(
            Text(f"       {'':<{_WIDTH}} next: ").append(plain(finding.next), "bold"),
            soft_wrap=not screen.out.is_terminal,
        )


def _summary(failed: int, warned: int) -> Text:
    if failed:
        return Text(f"{failed} to mend", "bold red") + Text(f", {warned} to look at", "default")
    if warned:
        return Text(f"nothing is broken; {warned} to look at", "yellow")
    return Text("all is well", "green")


def _installation() -> Iterator[Finding]:
    version, kind = platform.python_version(), platform.python_implementation()
    if kind == "CPython":
        yield ok("Python", version)
    else:
        yield warn("Python", f"{kind} {version}", "use CPython, for which the core is compiled")
    yield _extensions()
    yield _libraries()
    if time.time() < _BUILT:
        yield warn(
            "clock",
            f"says {time.strftime('%Y-%m-%d')}, which is before this was built",
            "set the clock: leases, sessions and certificates depend on it",
        )
    else:
        yield ok("clock", time.strftime("%Y-%m-%d %H:%M:%S %Z"))


def _extensions() -> Finding:
    # Every extension has its types in a stub beside it, in a checkout and in a wheel.
    top = Path(__file__).resolve().parents[1]
    stubs = sorted([*top.glob("*.pyi"), *top.glob("*/*.pyi")])
    names = [".".join(("ostiary", *one.relative_to(top).with_suffix("").parts)) for one in stubs]
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError:
            return fail(
                "compiled core",
                f"{name} is missing",
                "install a wheel, or run `make build` in a checkout",
            )
    return ok("compiled core", f"{len(names)} extensions load")


def _libraries() -> Finding:
    found: list[str] = []
    for name in ("msgspec", "nacl", "h11"):
        try:
            module = importlib.import_module(name)
        except ImportError:
            return fail("libraries", f"{name} is missing", "run `pip install ostiary` again")
        found.append(f"{name} {getattr(module, '__version__', '')}".rstrip())
    return ok("libraries", ", ".join(found))
