"""One HTTP request to a public host, in the calling thread.

The name is resolved once, every address is checked, and the checked address is the one
dialled; TLS is verified against the name. No redirects, no proxies, no cookies; bounded in
time and size. Nothing raised here repeats a header or a body: one of them holds the secret.
Neighbour: `operations` adds the credential.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import ssl
import threading
import time
from collections.abc import Sequence
from typing import Final, NoReturn, final
from urllib.parse import urlsplit

import h11
import msgspec

from .faults import Refusal, invalid, ssrf, upstream

__all__ = ["Answer", "Calls", "Limits", "Target", "fetch", "is_public", "parse_target"]

_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}")
_TARGET = re.compile(r"[\x21-\x7e]*")
_IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_EMBEDDING: Final = tuple(
    ipaddress.ip_network(text)
    for text in ("::/96", "64:ff9b:1::/48", "2001::/32", "2002::/16", "fec0::/10")
)


class Target(msgspec.Struct, frozen=True):
    """A URL taken apart and found well-formed."""

    tls: bool
    host: str
    port: int
    path: bytes
    host_header: bytes


@final
class Calls:
    """The sockets now in use, so that a stopping vault need not wait for distant hosts."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._over = False

    def begin(self, sock: socket.socket) -> None:
        with self._lock:
            if self._over:
                raise OSError("the vault is stopping")
            self._sockets.add(sock)

    def end(self, sock: socket.socket) -> None:
        with self._lock:
            self._sockets.discard(sock)
        sock.close()

    def abort(self) -> None:
        """Have every request fail now, and every later one."""
        with self._lock:
            self._over = True
            for sock in self._sockets:
                try:
                    # Not the TLS socket's own: it would also change what a reader holds.
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)
                except OSError:
                    pass  # not connected yet, or no longer


class Limits(msgspec.Struct, frozen=True):
    """What one request may cost."""

    seconds: float
    body: int
    allow: frozenset[str]
    tls: ssl.SSLContext | None = None
    calls: Calls = msgspec.field(default_factory=Calls)


class Answer(msgspec.Struct, frozen=True):
    """What the host answered, redirects included."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


def parse_target(url: str) -> Target:
    """Check a URL; raises `Refusal` for one that must not or cannot be fetched."""
    if len(url) > 8192 or not _TARGET.fullmatch(url):
        raise invalid("url is not a URL in ASCII; percent-encode other characters")
    try:
        parts = urlsplit(url)
        port = parts.port
        host = parts.hostname or ""
    except ValueError:
        raise invalid("url cannot be read") from None
    scheme = parts.scheme.lower()
    if scheme not in {"http", "https"}:
        if scheme == "file":
            raise ssrf("file:")
        raise invalid("url does not begin with https:// or http://")
    if parts.username is not None or parts.password is not None:
        raise invalid("url holds a user name; the credential is added by the vault")
    if port == 0:
        raise invalid("port 0 cannot be dialled")
    if ":" in host:
        try:
            host = str(ipaddress.IPv6Address(host))
        except ValueError:
            raise invalid("the url's host is not an IPv6 address") from None
        shown = f"[{host}]"
    elif _HOST.fullmatch(host):
        shown = host
    else:
        raise invalid("the url's host is not a host name or address")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    tls = scheme == "https"
    standard = 443 if tls else 80
    header = shown if port in {None, standard} else f"{shown}:{port}"
    return Target(tls, host, port or standard, path.encode(), header.encode())


def is_public(address: _IPAddress) -> bool:
    """Return whether an address belongs to the open internet."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address in _NAT64:
            return is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        if address.scope_id is not None:
            return False
        # Forms that carry another address inside, and the retired site-local range.
        if any(address in network for network in _EMBEDDING):
            return False
    return (
        address.is_global
        and not address.is_multicast
        and not address.is_reserved
        and not address.is_unspecified
    )


def fetch(
    target: Target,
    method: str,
    headers: Sequence[tuple[bytes, bytes]],
    body: bytes,
    limits: Limits,
) -> Answer:
    """Send one request and read the whole answer."""
    deadline = time.monotonic() + limits.seconds
    try:
        outgoing = h11.Request(method=method.encode(), target=target.path, headers=list(headers))
    except (h11.LocalProtocolError, ValueError):
        outgoing = None
    if outgoing is None:
        # Outside the handler: h11 repeats the header it dislikes.
        raise invalid("the method or a header cannot be sent as HTTP")
    sock = _dial(target, limits, deadline)
    try:
        return _converse(sock, outgoing, body, limits.body, deadline)
    finally:
        limits.calls.end(sock)


def _allowed(target: Target, allow: frozenset[str]) -> bool:
    return target.host in allow or f"{target.host}:{target.port}" in allow


def _addresses(target: Target, allow: frozenset[str]) -> list[tuple[int, str]]:
    allowed = _allowed(target, allow)
    name = target.host.rstrip(".").lower()
    if not allowed and (name == "localhost" or name.endswith(".localhost")):
        raise ssrf(target.host)  # by name too: not every resolver knows all its spellings
    try:
        found = socket.getaddrinfo(
            target.host, target.port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
        )
    except (OSError, UnicodeError):
        raise upstream("the host's name cannot be resolved", sent=False) from None
    addresses: list[tuple[int, str]] = []
    for family, _, _, _, where in found:
        text = str(where[0])
        address = ipaddress.ip_address(text)
        # One private address among public ones is a trick, not a spare.
        if not allowed and not is_public(address):
            raise ssrf(target.host)
        addresses.append((family, text))
    return addresses


def _dial(target: Target, limits: Limits, deadline: float) -> socket.socket:
    sock: socket.socket | None = None
    for family, address in _addresses(target, limits.allow)[:4]:
        candidate = socket.socket(family, socket.SOCK_STREAM)
        try:
            limits.calls.begin(candidate)
            candidate.settimeout(_left(deadline, sent=False))
            candidate.connect((address, target.port))
        except OSError:
            limits.calls.end(candidate)
            continue
        except BaseException:
            limits.calls.end(candidate)
            raise
        sock = candidate
        break
    if sock is None:
        raise upstream("the host cannot be reached", sent=False)
    return _secure(sock, target, limits, deadline) if target.tls else sock


def _secure(sock: socket.socket, target: Target, limits: Limits, deadline: float) -> socket.socket:
    """Agree on TLS; the socket that comes back has taken over the given one."""
    context = limits.tls or ssl.create_default_context()
    try:
        sock.settimeout(_left(deadline, sent=False))
        wrapped = context.wrap_socket(
            sock, server_hostname=target.host, do_handshake_on_connect=False
        )
        limits.calls.end(sock)  # detached by now: closing it closes nothing
        limits.calls.begin(wrapped)
    except (OSError, ValueError):
        limits.calls.end(sock)
        raise upstream("the host cannot be reached by TLS", sent=False) from None
    except BaseException:
        limits.calls.end(sock)
        raise
    try:
        wrapped.do_handshake()
        return wrapped
    except (OSError, ValueError):
        pass
    except BaseException:
        limits.calls.end(wrapped)
        raise
    limits.calls.end(wrapped)
    raise upstream("the host did not prove its name by TLS", sent=False)


def _converse(
    sock: socket.socket, request: h11.Request, body: bytes, limit: int, deadline: float
) -> Answer:
    wire = h11.Connection(h11.CLIENT, max_incomplete_event_size=64 * 1024)
    head = wire.send(request) or b""
    if body:
        head += wire.send(h11.Data(data=body)) or b""
    head += wire.send(h11.EndOfMessage()) or b""
    try:
        sock.settimeout(_left(deadline, sent=False))
        sock.sendall(head)
        return _receive(sock, wire, limit, deadline)
    except OSError:
        pass
    except h11.RemoteProtocolError:
        raise upstream("the host's answer is not HTTP", sent=True) from None
    raise upstream("the connection to the host broke or timed out", sent=True)


def _receive(sock: socket.socket, wire: h11.Connection, limit: int, deadline: float) -> Answer:
    status = 0
    headers: list[tuple[str, str]] = []
    parts: list[bytes] = []
    size = 0
    informational = 0
    while True:
        event = wire.next_event()
        if event is h11.NEED_DATA:
            # Per read, so that a dripping host cannot extend the whole.
            sock.settimeout(_left(deadline, sent=True))
            wire.receive_data(sock.recv(64 * 1024))
        elif isinstance(event, h11.InformationalResponse):
            informational += 1
            if informational > 8 or event.status_code == 101:
                _not_http()
        elif isinstance(event, h11.Response):
            status = event.status_code
            headers = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in event.headers]
        elif isinstance(event, h11.Data):
            size += len(event.data)
            if size > limit:
                raise Refusal(
                    "RESPONSE_TOO_LARGE",
                    f"the host's answer is longer than {limit} bytes",
                    "ask the host for less; the request was carried out",
                    context={"sent": True},
                )
            parts.append(bytes(event.data))
        elif isinstance(event, h11.EndOfMessage):
            return Answer(status, headers, b"".join(parts))
        else:
            _not_http()


def _not_http() -> NoReturn:
    raise upstream("the host's answer is not HTTP", sent=True)


def _left(deadline: float, *, sent: bool) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise upstream("the host took too long", sent=sent)
    return left
