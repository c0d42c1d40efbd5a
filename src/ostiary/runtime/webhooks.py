"""Did the platform whose secret we share send this request, and just now?

Each style signs as its platform documents it: GitHub the body, Stripe `time.body`, Slack
`v0:time:body`. A signature says nothing about who may ask for what. Nothing here answers.
"""

from __future__ import annotations

import re
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal, cast

from ..errors import InvalidArgumentError as SharedInvalidArgumentError
from ..secret import Secret
from .enums import WebhookProviderType
from .errors import InvalidArgumentError, WebhookVerificationError

__all__ = ["WebhookVerifier"]

Style = Literal["github", "stripe", "slack", "generic"]
SecretLike = str | bytes | Secret
HeadersLike = Mapping[str, str] | Mapping[str, bytes] | Iterable[tuple[str | bytes, str | bytes]]

_HEX: Final = re.compile(r"[0-9A-Fa-f]{64}")
_TIME: Final = re.compile(r"[0-9]{1,12}")
# The header of the signature, of the time if that has one of its own, what a signature begins
# with.
_STYLES: Final[Mapping[str, tuple[str, str | None, str]]] = {
    "github": ("X-Hub-Signature-256", None, "sha256="),
    "stripe": ("Stripe-Signature", None, ""),
    "slack": ("X-Slack-Signature", "X-Slack-Request-Timestamp", "v0="),
    "generic": ("X-Signature", None, ""),
}
# Of one header: more than any platform sends, and few enough to compute.
_MOST_SIGNATURES: Final = 16


class WebhookVerifier:
    """Checks the signatures of webhooks; make it once, use it from any thread.

    `secrets` is the secret shared with the platform, or several while one takes over from
    another. `tolerance` is how many seconds old, or ahead, the time of a signature may be.
    `remember` is how many accepted signatures are kept in memory to refuse those that come
    again: a platform's own retry is signed anew by Stripe and Slack, and not by GitHub.

    With the style `generic`, `header_name`, `prefix` and `timestamp_header` say how the sender
    writes it; with a `timestamp_header` what is signed is `time.body`, else the body alone.
    """

    style: Style | None = None
    header_name: str
    timestamp_header: str | None

    def __init__(
        self,
        style: Style | WebhookProviderType,
        secrets: SecretLike | Sequence[SecretLike],
        *,
        tolerance: float = 300.0,
        remember: int = 0,
        header_name: str | None = None,
        prefix: str | None = None,
        timestamp_header: str | None = None,
    ) -> None:
        hidden, problem = _hidden(secrets)
        del secrets  # a traceback records the locals of every frame that raises
        if problem is not None:
            raise InvalidArgumentError(f"a webhook's secret {problem}")
        name = "generic" if style == WebhookProviderType.CUSTOM else str(style)
        if name not in _STYLES:
            raise InvalidArgumentError(f"style is one of {', '.join(_STYLES)}")
        if name != "generic" and not (header_name is prefix is timestamp_header is None):
            raise InvalidArgumentError(f"the headers of style {name} are the platform's own")
        if not tolerance > 0:
            raise InvalidArgumentError("tolerance is a positive number of seconds")
        if isinstance(remember, bool) or not isinstance(remember, int) or remember < 0:
            raise InvalidArgumentError("remember is a number of signatures, 0 for none")
        usual, times, mark = _STYLES[name]
        self.style = cast("Style", name)
        self.header_name = header_name or usual
        self.timestamp_header = timestamp_header or times
        self.prefix = mark if prefix is None else prefix
        self.tolerance = float(tolerance)
        self._secrets = hidden
        self._remember = remember
        self._seen: OrderedDict[bytes, None] = OrderedDict()
        self._lock = threading.Lock()

    @classmethod
    def github(cls, secrets: SecretLike | Sequence[SecretLike]) -> WebhookVerifier:
        """Return one for GitHub."""
        return cls("github", secrets)

    @classmethod
    def stripe(
        cls, secrets: SecretLike | Sequence[SecretLike], *, tolerance: float = 300.0
    ) -> WebhookVerifier:
        """Return one for Stripe."""
        return cls("stripe", secrets, tolerance=tolerance)

    @classmethod
    def slack(
        cls, secrets: SecretLike | Sequence[SecretLike], *, tolerance: float = 300.0
    ) -> WebhookVerifier:
        """Return one for Slack."""
        return cls("slack", secrets, tolerance=tolerance)

    def verify(
        self,
        headers: HeadersLike,
        body: bytes | bytearray | memoryview,
        *,
        now: float | None = None,
    ) -> None:
        """Return if `body` was signed with one of the secrets, and the signature is fresh.

        `headers` are the request's, their case does not matter. `body` is the request's body as
        it came, not decoded and written again. `now` is the time in seconds since 1970; None
        asks the clock. Raises `WebhookVerificationError`.
        """
        if not isinstance(body, (bytes, bytearray, memoryview)):
            raise InvalidArgumentError(
                f"body is the raw bytes of the request, not {type(body).__name__}"
            )
        given = self._header(headers, self.header_name)
        stamp, candidates = self._read(headers, given)
        content = bytes(body)
        if stamp is not None:
            age = (time.time() if now is None else now) - int(stamp)
            if not abs(age) <= self.tolerance:
                raise self._refused(
                    f"was made {abs(age):.0f} seconds {'ago' if age > 0 else 'ahead'}, and "
                    f"{self.tolerance:g} are allowed: an old request, or a clock that is wrong"
                )
        matched = self._matched(self._base(stamp, content), candidates)
        if matched is None:
            raise self._refused(
                "does not hold: another secret, or a body that is not what was signed"
            )
        self._once(matched)

    def _read(self, headers: HeadersLike, given: str) -> tuple[str | None, list[str]]:
        """Return the time that was signed and the signatures, as hexadecimal."""
        stamp: str | None = None
        if self.style == "stripe":
            parts = [part.strip().partition("=") for part in given.split(",")]
            times = [value for name, _, value in parts if name == "t"]
            candidates = [value for name, _, value in parts if name == "v1"]
            if len(times) != 1:
                raise self._refused("names no time, or several")
            stamp = times[0]
        else:
            if not given.startswith(self.prefix):
                raise self._refused(f"does not begin with {self.prefix}")
            candidates = [given[len(self.prefix) :]]
            if self.timestamp_header is not None:
                stamp = self._header(headers, self.timestamp_header)
        if stamp is not None and not _TIME.fullmatch(stamp):
            raise self._refused("has a time that is no number of seconds")
        fit = [one.lower() for one in candidates[:_MOST_SIGNATURES] if _HEX.fullmatch(one)]
        if not fit:
            raise self._refused("holds no HMAC-SHA256 in hexadecimal")
        return stamp, fit

    def _base(self, stamp: str | None, body: bytes) -> bytes:
        if stamp is None:
            return body
        if self.style == "slack":
            return b"v0:" + stamp.encode("ascii") + b":" + body
        return stamp.encode("ascii") + b"." + body

    def _matched(self, base: bytes, candidates: list[str]) -> bytes | None:
        import hmac  # costs 4 ms, which a process without webhooks need not pay

        matched: bytes | None = None
        for secret in self._secrets:
            expected = hmac.digest(secret.reveal_bytes(), base, "sha256")
            for candidate in candidates:
                # No early end: the time tells nobody which secret it was.
                if hmac.compare_digest(expected, bytes.fromhex(candidate)):
                    matched = expected
        return matched

    def _once(self, signature: bytes) -> None:
        if not self._remember:
            return
        with self._lock:
            again = signature in self._seen
            self._seen[signature] = None
            self._seen.move_to_end(signature)
            while len(self._seen) > self._remember:
                self._seen.popitem(last=False)
        if again:
            raise self._refused("was accepted before: the request is a repetition")

    def _header(self, headers: HeadersLike, name: str) -> str:
        wanted = name.lower()
        pairs = cast(
            "Iterable[tuple[str | bytes, str | bytes]]",
            cast("Any", headers).items() if isinstance(headers, Mapping) else headers,
        )
        found: set[str] = set()
        for key, value in pairs:
            if _text(key).lower() == wanted:
                found.add(_text(value).strip())
        if not found:
            raise WebhookVerificationError(
                f"the request has no {name}; it was not signed as {self.style} signs", name
            )
        if len(found) > 1:
            raise WebhookVerificationError(f"the request has several {name}", name)
        (only,) = found
        if not only.isascii():
            raise WebhookVerificationError(f"{name} is not ASCII", name)
        return only

    def _refused(self, problem: str) -> WebhookVerificationError:
        return WebhookVerificationError(
            f"the signature in {self.header_name} {problem}; do not act on the request",
            self.header_name,
        )

    def __repr__(self) -> str:
        return f"<WebhookVerifier {self.style or 'in the making'}>"


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _hidden(secrets: object) -> tuple[tuple[Secret, ...], str | None]:
    """Return the secrets, and what is wrong with them."""
    several = isinstance(secrets, Sequence) and not isinstance(secrets, (str, bytes))
    hidden: list[Secret] = []
    given: list[object] = list(cast("Sequence[object]", secrets)) if several else [secrets]
    for one in given:
        if not isinstance(one, (str, bytes, Secret)):
            return (), f"is text, bytes or a Secret, not {type(one).__name__}"
        if not one:
            # HMAC takes an empty key, and so does whoever forges.
            return (), "is empty"
        try:
            hidden.append(Secret(one))
        except SharedInvalidArgumentError as error:
            return (), error.message
    return tuple(hidden), None if hidden else "is missing"
