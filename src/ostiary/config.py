"""Settings and addresses: explicit argument, then environment, then default.

Everything here is frozen. Nothing is read at import; the environment is read when a client
is made. Neighbours: each domain's settings are built from these in its own room.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, TypeVar

import msgspec

from .errors import InvalidArgumentError

__all__ = [
    "DEFAULT_LIMITS",
    "Address",
    "AddressLike",
    "BaseUrl",
    "Limits",
    "TcpAddress",
    "UnixAddress",
    "is_this_machine",
    "parse_address",
    "parse_base_url",
    "setting",
    "timeout_seconds",
]

T = TypeVar("T")

# The defaults of DESIGN's table. A domain whose guide promises another figure says so in
# its own settings.
TIMEOUT: Final = 30.0  # the whole call, retries included
IDLE_TIMEOUT: Final = 120.0  # longest gap between stream events; comments do not feed it
MAX_RETRIES: Final = 3
MAX_CONNECTIONS: Final = 100  # per pool
MAX_IDLE: Final = 20  # idle connections kept per pool
IDLE_EXPIRY: Final = 30.0  # how long one is kept

# sun_path holds 108 bytes on Linux and 104 on macOS, the closing NUL included.
_MAX_UNIX_PATH: Final = 103 if os.uname().sysname == "Darwin" else 107

# What a host may be, so that `str(address)` reads back: a v6 literal with its zone, or any
# printable name without the marks that separate the parts of an address.
_V6: Final = re.compile(r"[0-9A-Fa-f.]*:[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*(%[\w.~-]+)?")
_NOT_IN_HOST: Final = re.compile(r"[\s:/@\[\]\\?#]")

# Of a URL: host and port, its path, and the segments that mean another path (RFC 3986, 3.3
# and 5.2.4).
_URL_HOST: Final = re.compile(r"(?:[A-Za-z0-9._-]+|\[[^\[\]]*:[^\[\]]*\])(?::[0-9]*)?")
_URL_PATH: Final = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/]|%[0-9A-Fa-f]{2})*")
_CLIMBS: Final = re.compile(r"/(?:\.|%2[Ee]){1,2}(?:/|$)")
_URL_PORTS: Final[Mapping[str, int]] = MappingProxyType({"http": 80, "https": 443})


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Every size a peer can choose, in bytes unless the name says otherwise."""

    head: int = 64 * 1024
    header_count: int = 256
    body: int = 64 * 1024 * 1024
    decompressed_body: int = 64 * 1024 * 1024
    sse_line: int = 1024 * 1024
    sse_event: int = 8 * 1024 * 1024
    frame_sent: int = 4 * 1024 * 1024
    frame_accepted: int = 16 * 1024 * 1024

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value: object = getattr(self, name)
            if type(value) is not int or not 0 < value <= 0xFFFFFFFF:
                raise InvalidArgumentError(
                    f"limit {name}={value!r} is not a whole number between 1 and 2**32-1"
                )


DEFAULT_LIMITS: Final = Limits()


class UnixAddress(msgspec.Struct, frozen=True):
    """A Unix-domain stream socket, `~` already expanded."""

    path: str

    def __str__(self) -> str:
        return f"unix://{self.path}"


class TcpAddress(msgspec.Struct, frozen=True):
    """A TCP endpoint; `tls` asks for TLS with verification always on.

    `name` is what its certificate must prove where that is not `host`.
    """

    host: str
    port: int
    tls: bool = False
    name: str | None = None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'tls' if self.tls else 'tcp'}://{host}:{self.port}"


Address = UnixAddress | TcpAddress
AddressLike = str | os.PathLike[str] | Sequence[object] | Mapping[str, object] | Address


def parse_address(value: AddressLike, *, default_port: int | None = None) -> Address:
    """Turn any accepted spelling into an `Address`.

    Accepted: `unix:///path`, a path that begins with `/`, `.` or `~`, `host`, `host:port`,
    `[v6]:port`, `tcp://...`, `tls://...`, `(host, port)` and `{"host": ..., "port": ...}`.
    A host without a port takes `default_port`. A relative path is taken from the current
    directory now, so that a later chdir cannot move it.

    Raises `InvalidArgumentError` for anything else: no spelling is guessed at.
    """
    if isinstance(value, (UnixAddress, TcpAddress)):
        return value
    if isinstance(value, os.PathLike):
        path = os.fspath(value)
        if not isinstance(path, str):
            raise InvalidArgumentError("the socket path is of bytes; give it as text")
        return _unix(path)
    if isinstance(value, str):
        return _parse_text(value, default_port)
    if isinstance(value, Mapping):
        if unknown := set(value) - {"host", "port"}:
            raise InvalidArgumentError(
                f"address has unknown keys {sorted(map(str, unknown))}; give host and port"
            )
        return _tcp(value.get("host"), value.get("port"), default_port, tls=False)
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        if len(value) != 2:
            raise InvalidArgumentError(f"address {value!r} is not a (host, port) pair")
        return _tcp(value[0], value[1], default_port, tls=False)
    raise InvalidArgumentError(
        f"cannot read an address from {type(value).__name__}; give a socket path, "
        "'host:port', (host, port) or {'host': ..., 'port': ...}"
    )


def _parse_text(text: str, default_port: int | None) -> Address:
    if text.startswith(("/", ".", "~")):
        return _unix(text)
    scheme, mark, rest = text.partition("://")
    if mark:
        if scheme == "unix":
            return _unix(rest)
        if scheme not in {"tcp", "tls"}:
            raise InvalidArgumentError(
                f"address scheme {scheme!r} is not known here; use unix://, tcp:// or tls://"
            )
        return _parse_host(rest, default_port, tls=scheme == "tls")
    return _parse_host(text, default_port, tls=False)


def _parse_host(text: str, default_port: int | None, *, tls: bool) -> TcpAddress:
    if "@" in text:
        # Not repeated: what stands before the mark may be a password.
        raise InvalidArgumentError("an address holds no user and no password; give host:port")
    if text.startswith("["):
        host, closed, after = text[1:].partition("]")
        if not closed or (after and not after.startswith(":")):
            raise InvalidArgumentError(f"address {text!r} is not [v6-address]:port")
        port = after[1:]
    elif text.count(":") > 1:  # a bare v6 literal: its colons are not a port's
        host, port = text, ""
    else:
        host, _, port = text.partition(":")
    if "/" in port:
        raise InvalidArgumentError(f"address {text!r} is not host:port")
    return _tcp(host, port or None, default_port, tls=tls)


def _tcp(host: object, port: object, default_port: int | None, *, tls: bool) -> TcpAddress:
    if (
        not isinstance(host, str)
        or not host.isprintable()
        or not (_V6.fullmatch(host) if ":" in host else host and not _NOT_IN_HOST.search(host))
    ):
        raise InvalidArgumentError(f"address host {host!r} is not a host name or IP address")
    if port is None:
        port = default_port
    # Six digits at most: int() refuses thousands of them with an error of its own.
    if isinstance(port, str) and len(port) < 7 and port.isascii() and port.isdigit():
        port = int(port)
    if isinstance(port, bool) or not isinstance(port, int) or not 0 < port < 65536:
        raise InvalidArgumentError(f"address port {port!r} is not between 1 and 65535")
    return TcpAddress(host, port, tls)


def _unix(path: str) -> UnixAddress:
    if not path or "\0" in path:
        raise InvalidArgumentError("the socket path is empty or holds a NUL")
    try:
        expanded = os.path.expanduser(path)
    except ValueError:  # a surrogate in the name of a user
        expanded = "~"
    if expanded.startswith("~"):
        # expanduser leaves it when it knows no home; abspath would then invent a path.
        raise InvalidArgumentError(f"the socket path {path!r} names a home that does not exist")
    try:
        absolute = os.path.abspath(expanded)
        size = len(os.fsencode(absolute))
    except (OSError, ValueError):
        raise InvalidArgumentError(
            f"the socket path {path!r} cannot be made absolute, or is no path of this system"
        ) from None
    if size > _MAX_UNIX_PATH:
        raise InvalidArgumentError(
            f"the socket path has {size} bytes and the system allows {_MAX_UNIX_PATH}; "
            f"use a shorter directory: {absolute}"
        )
    return UnixAddress(absolute)


class BaseUrl(msgspec.Struct, frozen=True):
    """Where an HTTP service is: the socket, the name asked for there, and what paths begin with.

    `host` is the value of the Host header, `prefix` is empty or begins with `/` and ends
    without one.
    """

    address: Address
    host: str
    prefix: str = ""

    @property
    def tls(self) -> bool:
        """Whether the connection is encrypted."""
        return isinstance(self.address, TcpAddress) and self.address.tls

    @property
    def in_clear(self) -> bool:
        """Whether what is sent there can be read on the way to another machine."""
        address = self.address
        return isinstance(address, TcpAddress) and not (
            address.tls or is_this_machine(address.host)
        )

    @property
    def origin(self) -> str:
        """The URL without the prefix; a socket path is percent-encoded."""
        address = self.address
        if not isinstance(address, TcpAddress):
            return "http+unix://" + _percent_encoded(address.path)
        scheme = "https" if address.tls else "http"
        host = f"[{address.host}]" if ":" in address.host else address.host
        port = "" if address.port == _URL_PORTS[scheme] else f":{address.port}"
        return f"{scheme}://{host}{port}"

    def __str__(self) -> str:
        return self.origin + self.prefix


def is_this_machine(host: str) -> bool:
    """Whether a host name or address can be none but this machine's.

    Names below `.localhost` are left to resolvers, some of which ask others about them.
    """
    if host.lower().removesuffix(".") == "localhost":
        return True
    from ipaddress import ip_address

    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def parse_base_url(value: str) -> BaseUrl:
    """Read the URL of an HTTP service.

    Accepted: `http://host[:port][/prefix]`, `https://...`, and for Unix sockets
    `http+unix://<percent-encoded path>[/prefix]`, `http+unix:///path` and `unix:///path`,
    of which the last two have no prefix. Slashes at the end go.

    Raises `InvalidArgumentError` for anything else: a user, a query, a fragment, a prefix
    that climbs, a name that is not ASCII.
    """
    if not isinstance(value, str):
        raise InvalidArgumentError(f"a base URL is text, not {type(value).__name__}")
    scheme, mark, rest = value.partition("://")
    scheme = scheme.lower()
    if not mark or scheme not in {"http", "https", "http+unix", "unix"}:
        # Not repeated: it may be a key that was given in the wrong place.
        raise InvalidArgumentError(
            "a base URL begins with http://, https://, http+unix:// or unix://; write "
            "http://localhost:8000, or unix:///path/to/socket"
        )
    if "?" in rest or "#" in rest:
        raise InvalidArgumentError("a base URL has no query and no fragment; leave them out")
    if scheme == "unix":
        return BaseUrl(_unix(rest.rstrip("/")), "localhost")
    if scheme == "http+unix" and rest.startswith("/"):
        return BaseUrl(_unix(_percent_decoded(rest.rstrip("/"))), "localhost")
    authority, slash, path = rest.partition("/")
    prefix = (slash + path).rstrip("/")
    if scheme == "http+unix":
        place = _percent_decoded(authority)
        if not place.startswith(("/", "~", ".")):
            raise InvalidArgumentError(
                "http+unix:// is followed by the socket's path, percent-encoded: "
                "http+unix://%2Frun%2Fservice.sock/prefix"
            )
        address: Address = _unix(place)
        host = "localhost"
    else:
        # None of these is repeated: what stands before an @ may be a password.
        if "@" in authority:
            raise InvalidArgumentError(
                "a base URL holds no user and no password; give credentials to the client itself"
            )
        if not _URL_HOST.fullmatch(authority):
            raise InvalidArgumentError(
                "a base URL's host is an ASCII name (xn--... for any other), an IPv4 address or "
                "an IPv6 address in brackets, and then at most :port"
            )
        address = _parse_host(authority, _URL_PORTS[scheme], tls=scheme == "https")
        # A zone says which interface of ours leads there; no server knows it.
        name = address.host.partition("%")[0].lower()
        host = f"[{name}]" if ":" in name else name
        if address.port != _URL_PORTS[scheme]:
            host += f":{address.port}"
    if not _URL_PATH.fullmatch(prefix) or _CLIMBS.search(prefix):
        raise InvalidArgumentError(
            "a base URL's path is percent-encoded and has no segment '.' or '..'"
        )
    return BaseUrl(address, host, prefix)


def _percent_decoded(text: str) -> str:
    if re.search(r"%(?![0-9A-Fa-f]{2})", text):
        raise InvalidArgumentError("a socket path in http+unix:// has a % that encodes nothing")
    return re.sub(
        r"(?:%[0-9A-Fa-f]{2})+",
        lambda found: os.fsdecode(bytes.fromhex(found[0].replace("%", ""))),
        text,
    )


def _percent_encoded(path: str) -> str:
    return "".join(
        chr(byte) if (chr(byte).isalnum() and byte < 128) or byte in b"-._~" else f"%{byte:02X}"
        for byte in os.fsencode(path)
    )


def setting(
    explicit: T | None,
    names: Sequence[str],
    default: T,
    *,
    read: Callable[[str], T],
    environ: Mapping[str, str] | None = None,
) -> T:
    """Return the explicit value, else the first variable set and not empty, else the default.

    `read` turns the variable's text into a value. What it raises as `ValueError` becomes an
    `InvalidArgumentError` that names the variable and not its content, which may be secret.
    """
    if explicit is not None:
        return explicit
    source = os.environ if environ is None else environ
    for name in names:
        if source.get(name):
            try:
                # Not by way of a local: a traceback records those.
                return read(source[name])
            except ValueError:
                pass  # raised below, outside the handler: this error may quote the content
            del source, environ  # nor the whole environment in a recorded frame
            raise InvalidArgumentError(
                f"environment variable {name} has a value that does not fit; correct or unset it"
            )
    return default


def timeout_seconds(value: float | str | None) -> float:
    """Read a timeout: positive seconds; None and `inf` mean no limit."""
    if value is None:
        return math.inf
    try:
        seconds = float(value)
    except (TypeError, ValueError, OverflowError):
        seconds = math.nan
    if not seconds > 0:
        raise InvalidArgumentError(f"timeout {value!r} is not a positive number of seconds")
    return seconds
