"""The vault's part of `ostiary doctor`: its files, its socket, its answers, its audit log.

Only looks; nothing is created, mended or logged in to.
"""

from __future__ import annotations

import binascii
import os
import socket
import stat
import time
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ... import __version__
from ..._io.sockets import peer_uid
from ...config import TcpAddress, parse_address
from ...errors import InvalidArgumentError, OstiaryError
from ...vault.models import read_time
from ..finding import Finding, fail, ok, warn
from ..screen import counted

if TYPE_CHECKING:
    from ...devserver.admin import AdminClient, Status

__all__ = ["checks"]

_PORT: Final = 7600
_CONNECT_SECONDS: Final = 2.0
_SKEW_SECONDS: Final = 5.0
# Bytes in hex of a plain, an expanded and an encrypted key.
_KEY_SIZES: Final = {32: "plain", 64: "expanded", 88: "encrypted"}
_MAX_KEY_FILE: Final = 4096


def checks(home: Path, socket_path: Path) -> Iterator[Finding]:
    """Look at everything a vault needs, files first, then the server."""
    yield from _directories(home)
    yield from _files(home)
    listening = yield from _socket(socket_path)
    if listening:
        yield from _server(socket_path)
    else:
        yield _port_unused()


def _directories(home: Path) -> Iterator[Finding]:
    for name, path in (("home", home), ("keys", home / "keys")):
        try:
            found = path.stat()
        except FileNotFoundError:
            yield warn(name, f"{path} is not there", "`ostiary dev` makes it")
            continue
        except OSError as error:
            yield fail(name, f"{path}: {error.strerror}", "check who may enter the path to it")
            continue
        if not stat.S_ISDIR(found.st_mode):
            yield fail(name, f"{path} is not a directory", "move it away, or give --home")
        else:
            yield _owned(name, path, found, 0o700)


def _owned(name: str, path: Path, found: os.stat_result, mode: int) -> Finding:
    if found.st_uid != os.geteuid():
        return fail(
            name, f"{path} belongs to user {found.st_uid}", "use a directory of your own, by --home"
        )
    loose = stat.S_IMODE(found.st_mode)
    if loose & 0o077:
        return fail(name, f"{path} is open to others ({loose:04o})", f"chmod {mode:o} {path}")
    return ok(name, f"{path} ({loose:04o})")


def _files(home: Path) -> Iterator[Finding]:
    for name in ("vault.db", "master.key"):
        path = home / name
        try:
            found = path.stat()
        except OSError:
            continue  # a vault not made yet, or sealed by a passphrase
        yield _owned(name, path, found, 0o600)
    sound: dict[str, int] = {}
    try:
        files = sorted(p for p in (home / "keys").iterdir() if _named_like_a_key(p))
    except OSError:
        return
    for path in files:
        problem, form = _key_file(path)
        if problem is None:
            sound[form] = sound.get(form, 0) + 1
        else:
            yield problem
    if sound:
        forms = ", ".join(f"{count} {form}" for form, count in sorted(sound.items()))
        yield ok("key files", f"{forms}, readable by you alone")


def _named_like_a_key(path: Path) -> bool:
    return path.name.endswith((".key", ".key.enc"))


def _key_file(path: Path) -> tuple[Finding | None, str]:
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            return fail("key file", f"{path} is not a regular file", "move it away"), ""
        finding = _owned("key file", path, found, 0o600)
        if finding.status != "ok":
            return finding, ""
        with path.open("rb") as file:
            size = _hex_size(file.read(_MAX_KEY_FILE))
    except OSError as error:
        return fail("key file", f"{path}: {error.strerror}", "check the path and its mode"), ""
    form = _KEY_SIZES.get(size)
    if form is None:
        return (
            fail(
                "key file",
                f"{path} does not hold a key in hex",
                "restore it from a copy, or remove the agent and add it again",
            ),
            "",
        )
    if (form == "encrypted") != path.name.endswith(".enc"):
        right = path.name.removesuffix(".enc") + (".enc" if form == "encrypted" else "")
        return (
            warn(
                "key file",
                f"{path} is {form}, which its name does not say",
                f"rename it to {right}, where the client looks for such a key",
            ),
            "",
        )
    return None, form


def _hex_size(text: bytes) -> int:
    # Only the size leaves here: the bytes are a private key.
    try:
        return len(binascii.unhexlify(text.strip()))
    except ValueError:
        return -1


def _socket(path: Path) -> Generator[Finding, None, bool]:
    """Yield what the socket is like; return whether somebody listens on it."""
    try:
        parse_address(path)
    except InvalidArgumentError as error:
        yield fail("socket", error.message, "give a shorter --home")
        return False
    try:
        found = path.lstat()
    except OSError:
        yield fail("socket", f"{path} is not there", "start the vault with `ostiary dev`")
        return False
    if not stat.S_ISSOCK(found.st_mode):
        yield fail("socket", f"{path} is not a socket", "move it away and start `ostiary dev`")
        return False
    yield _owned("socket", path, found, 0o600)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_CONNECT_SECONDS)
        try:
            probe.connect(str(path))
        except OSError as error:
            yield fail(
                "server",
                f"nobody answers on {path}: {error.strerror or error}",
                "start the vault with `ostiary dev`; it replaces a socket left behind",
            )
            return False
        uid = peer_uid(probe)
    if uid == os.geteuid():
        yield ok("server's user", f"runs as you (uid {uid})")
    else:
        yield fail(
            "server's user",
            f"runs as user {uid}, not as you ({os.geteuid()})",
            "do not give it secrets; find out who started it, or run this as its owner",
        )
    return True


def _server(path: Path) -> Iterator[Finding]:
    from ...devserver.admin import AdminClient

    try:
        with closing(AdminClient(path)) as admin:
            status = admin.status()
            yield from _status(status)
            yield from _addresses(status)
            yield _audit(admin)
    except OstiaryError as error:
        advice = getattr(error, "suggestion", None)
        yield fail(
            "server",
            error.message,
            advice if isinstance(advice, str) else "stop it and start `ostiary dev` again",
        )


def _status(status: Status) -> Iterator[Finding]:
    if status.version == __version__:
        yield ok("server", f"ostiary {status.version}, answering")
    else:
        yield warn(
            "server",
            f"is ostiary {status.version}, and this is {__version__}",
            "restart it to have both the same",
        )
    started = read_time(status.started_at)
    ahead = 0.0 if started is None else started.timestamp() - time.time()
    if ahead > _SKEW_SECONDS:
        yield warn(
            "server's clock",
            f"says it started {ahead:.0f} s from now",
            "set the clock, then restart the vault: leases and the audit log carry its times",
        )
    if status.locked:
        yield warn("vault", "is locked", "`ostiary vault unlock`")
    else:
        yield ok(
            "vault",
            f"open, {counted(status.credentials, 'credential')}, {counted(status.agents, 'agent')}",
        )


def _addresses(status: Status) -> Iterator[Finding]:
    tcp = [a for a in map(parse_address, status.addresses) if isinstance(a, TcpAddress)]
    if not tcp:
        yield ok("TCP", "not asked for; the Unix socket is the only way in")
    for address in tcp:
        if _answers(address.host, address.port):
            yield ok("TCP", f"{address.host}:{address.port} answers")
        else:
            yield fail(
                "TCP",
                f"{address.host}:{address.port} does not answer",
                "look for a firewall on the loopback, and restart the vault",
            )


def _port_unused() -> Finding:
    if _answers("127.0.0.1", _PORT):
        return warn(
            "TCP",
            f"something else answers on 127.0.0.1:{_PORT}",
            "find out what it is, or start `ostiary dev` with --port or --no-tcp",
        )
    return ok("TCP", f"127.0.0.1:{_PORT} is free")


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=_CONNECT_SECONDS).close()
    except OSError:
        return False
    return True


def _audit(admin: AdminClient) -> Finding:
    verdict = admin.audit_verify()
    if verdict.valid:
        return ok("audit log", f"whole, {verdict.entries} entries")
    where = "" if verdict.break_at_entry is None else f" at entry {verdict.break_at_entry}"
    return fail(
        "audit log",
        f"broken{where}",
        "keep this home as it is, find out who wrote to it, and restore a copy",
    )
