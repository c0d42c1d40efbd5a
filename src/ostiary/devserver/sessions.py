"""Who is on the other end: challenges, signatures, sessions, and the patience for wrong ones.

A challenge is 32 random bytes, answered once and soon. Unknown agents get one too, and the
same refusal after the same work. Neighbour: `vault` keeps one `Handshake` a connection.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from secrets import token_bytes, token_urlsafe
from typing import final

import msgspec
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from .faults import rate_limited

__all__ = ["Bucket", "Failures", "Handshake", "Registry", "Session"]

CHALLENGE_BYTES = 32
_PENDING = 8  # challenges one connection may have open
_REMEMBERED = 4096  # agent names whose failures are counted


class Session(msgspec.Struct):
    """An authenticated agent on one connection; ends with either."""

    id: str
    agent: str
    deadline: float
    note: bool = False  # opened in the note dialect, whose `use` wraps its result


class _Challenge(msgspec.Struct, frozen=True):
    session_id: str
    agent: str
    nonce: bytes
    deadline: float


@final
class Registry:
    """The agents' public keys, ready to verify with."""

    def __init__(self) -> None:
        self._keys: dict[str, VerifyKey] = {}
        # Nobody has its private half: it gives an unknown agent's signature the same work.
        self._nobody = SigningKey.generate().verify_key

    def put(self, name: str, public_key: bytes) -> None:
        self._keys[name] = VerifyKey(public_key)

    def remove(self, name: str) -> None:
        self._keys.pop(name, None)

    def verify(self, agent: str, nonce: bytes, signature: bytes) -> bool:
        known = self._keys.get(agent)
        try:
            (known or self._nobody).verify(nonce, signature)
        except (BadSignatureError, ValueError):
            return False
        return known is not None


@final
class Handshake:
    """The open challenges of one connection."""

    def __init__(self) -> None:
        self._open: list[_Challenge] = []

    def challenge(self, agent: str, deadline: float) -> tuple[str, bytes]:
        """Return a session id to be and the bytes to sign."""
        made = _Challenge("s-" + token_urlsafe(18), agent, token_bytes(CHALLENGE_BYTES), deadline)
        self._open.append(made)
        del self._open[:-_PENDING]
        return made.session_id, made.nonce

    def take(
        self, steady: float, *, session_id: str | None = None, agent: str | None = None
    ) -> _Challenge | None:
        """Use up the newest challenge of that session or agent; None when late or unknown."""
        for at in range(len(self._open) - 1, -1, -1):
            found = self._open[at]
            if found.session_id == session_id if session_id is not None else found.agent == agent:
                del self._open[at]
                return found if steady < found.deadline else None
        return None


@final
class Failures:
    """Failed authentications by agent name, known or not, within the last minute."""

    def __init__(self, per_minute: int) -> None:
        self._limit = per_minute
        self._recent: OrderedDict[str, list[float]] = OrderedDict()

    def check(self, agent: str, steady: float) -> None:
        """Raise the RATE_LIMITED refusal when that name has failed too often."""
        times = self._recent.get(agent)
        if times is None:
            return
        while times and steady - times[0] >= 60.0:
            del times[0]
        if not times:
            del self._recent[agent]
        elif len(times) >= self._limit:
            raise rate_limited("failed authentications", times[0] + 60.0 - steady)

    def add(self, agent: str, steady: float) -> None:
        times = self._recent.setdefault(agent, [])
        times.append(steady)
        self._recent.move_to_end(agent)
        if len(self._recent) > _REMEMBERED:
            self._recent.popitem(last=False)

    def clear(self, agent: str) -> None:
        self._recent.pop(agent, None)


@final
class Bucket:
    """A token bucket: so many calls a second, with a burst of two seconds' worth."""

    __slots__ = ("_at", "_rate", "_tokens")

    def __init__(self, rate: float, steady: float) -> None:
        self._rate = rate
        self._tokens = max(1.0, 2 * rate)
        self._at = steady

    def take(self, steady: float) -> None:
        """Use one token or raise the RATE_LIMITED refusal."""
        full = max(1.0, 2 * self._rate)
        self._tokens = min(full, self._tokens + (steady - self._at) * self._rate)
        self._at = steady
        if self._tokens < 1.0:
            wait = (1.0 - self._tokens) / self._rate if self._rate > 0 else math.inf
            raise rate_limited("calls", min(wait, 3600.0))
        self._tokens -= 1.0
