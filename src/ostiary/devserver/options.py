"""How one embedded vault is set up; frozen, nothing is read from the environment but `home`.

Neighbour: `server` acts on it, the command line fills it in.
"""

from __future__ import annotations

import os
import re
import ssl
from pathlib import Path
from typing import Final, Literal

import msgspec

from ..errors import InvalidArgumentError
from ..secret import Secret
from .clock import Clock

__all__ = ["GovernanceOptions", "Options", "default_home"]

PORT: Final = 7600
DEMO_PORT: Final = 8200
FRAME_LIMIT: Final = 4 * 1024 * 1024  # both ways: the originals refuse more
GOVERNANCE_PORT: Final = 8000
_ORIGIN: Final = re.compile(r"[a-z][a-z0-9+.-]*://[\w.-]+(?::[0-9]{1,5})?", re.ASCII)
VALUE_LIMIT: Final = 1024 * 1024  # a secret goes out in hex, inside one frame


def default_home() -> Path:
    """Return SANCTUM_VAULT_PATH, or `~/.sanctum`: where the original clients look."""
    return Path(os.environ.get("SANCTUM_VAULT_PATH") or "~/.sanctum").expanduser().absolute()


class GovernanceOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of the governance service. Times are seconds.

    `port` is a TCP port on the vault's `host`, 0 any free one, None none at all. `meaning`
    says what `result` and `mode` of a run hold: in the guide's meaning ("seed") the text and
    the decision, in that of the published client ("sdk") the decision and the system's mode.
    """

    port: int | None = GOVERNANCE_PORT
    meaning: Literal["seed", "sdk"] = "seed"
    heartbeat: float = 10.0
    """Longest silence of a stream before a comment is sent."""
    pace: float = 0.0
    """Time that each word of an answer takes."""
    throttled_every: float = 0.25
    """How far apart the throttled commands of one agent begin."""

    def __post_init__(self) -> None:
        _check_port(self.port)
        if self.meaning not in {"seed", "sdk"}:
            raise InvalidArgumentError(f"meaning {self.meaning!r} is neither 'seed' nor 'sdk'")
        if not 0 < self.heartbeat <= 15:
            raise InvalidArgumentError("heartbeat is more than 0 and at most 15 seconds")
        for seconds in (self.pace, self.throttled_every):
            if not 0 <= seconds < float("inf"):
                raise InvalidArgumentError(
                    "pace and throttled_every are numbers of seconds, 0 for none"
                )


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of one embedded vault. Times are seconds.

    `ports` are TCP ports on `host`, which must be a loopback address; 0 picks a free one,
    None means 7600, and also 8200 when `demo` is set. Without `passphrase` the vault is
    sealed under a generated `master.key` file.
    """

    home: Path | None = None
    host: str = "127.0.0.1"
    ports: tuple[int, ...] | None = None
    demo: bool = False
    passphrase: Secret | None = None
    raw_retrieval: bool = True
    legacy_errors: bool = False
    """Send errors as bare strings, as the oldest daemons did; for testing clients."""
    leases_outlive_connection: bool = False
    session_ttl: float = 3600.0
    challenge_ttl: float = 30.0
    handshake_timeout: float = 30.0
    """How long a connection may stay open without authenticating."""
    max_connections: int = 1024
    calls_per_second: float | None = None
    """Allowed to each agent, with a burst of two seconds' worth; None is no limit."""
    auth_failures_per_minute: int = 30
    """Allowed for each agent name before `authenticate` answers RATE_LIMITED."""
    max_leases: int = 100_000
    """Alive at once for each agent."""
    http_timeout: float = 30.0
    http_body_limit: int = 1024 * 1024
    http_allow: frozenset[str] = frozenset()
    """`host` or `host:port`, as written in the URL, exempt from the private-address guard."""
    http_tls: ssl.SSLContext | None = None
    """Trust for `http_request`; None is the system's."""
    stop_grace: float = 5.0
    """How long a stopping server waits for operations in hand."""
    governance: GovernanceOptions | None = None
    """Serve governance as well; None does not. Needs the extra `dev`."""
    allow_origins: frozenset[str] = frozenset()
    """Web pages that may call the HTTP services, as browsers name them: http://localhost:3000."""
    request_limit: int = 1024 * 1024
    """Bytes of one HTTP request's body."""
    clock: Clock = msgspec.field(default_factory=Clock)

    def __post_init__(self) -> None:
        if self.host not in {"127.0.0.1", "::1"}:
            raise InvalidArgumentError(
                f"the embedded vault listens on loopback only, and {self.host!r} is not "
                "127.0.0.1 or ::1"
            )
        for port in self.ports or ():
            _check_port(port)
        for origin in self.allow_origins:
            if not _ORIGIN.fullmatch(origin):
                raise InvalidArgumentError(
                    f"{origin!r} is no origin; write scheme, host and port as a browser sends "
                    "them: http://localhost:3000"
                )
        if self.request_limit < 1:
            raise InvalidArgumentError("request_limit is at least 1 byte")

    @property
    def listen_ports(self) -> tuple[int, ...]:
        """The ports to bind, defaults filled in."""
        if self.ports is not None:
            return self.ports
        return (PORT, DEMO_PORT) if self.demo else (PORT,)


def _check_port(port: int | None) -> None:
    if port is not None and not 0 <= port <= 65535:
        raise InvalidArgumentError(f"port {port} is not between 0 and 65535")
