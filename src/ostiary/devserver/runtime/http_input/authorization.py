"""Who may call an HTTP input: by its header's value, a token by its key, or a signed body.

An input that has none of these asks for the runtime's own key, so that none is open by
omission. Needs cryptography for tokens. Neighbour: `listener` asks, first before it reads a
body.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, final

from ....runtime.errors import WebhookVerificationError
from ....runtime.webhooks import WebhookVerifier
from ...http.refusals import HttpRefusal
from ..context import Context
from .configuration import InputConfig, WebhookVerify

if TYPE_CHECKING:
    from ...jose import EdwardsKey, VerifyingKey

__all__ = ["Authorization"]

_PEM_BYTES: Final = 64 * 1024
_LEEWAY: Final = 5.0
_SCHEME: Final = "bearer "


@final
class Authorization:
    """The credentials of one input. Making it reads the key file; refuses with 422.

    `open` says that nobody is asked for anything.
    """

    def __init__(self, config: InputConfig, context: Context) -> None:
        self._clock = context.clock
        verify = config.webhook_verify
        self._signed = None if verify is None else _verifier(verify)
        self._key = _key(config.jwt_public_key_path, context)
        expected: list[str] = []
        if config.auth_header is not None:
            expected.append(config.auth_header)
            if not config.auth_header.lower().startswith(_SCHEME):
                expected.append("Bearer " + config.auth_header)
        elif self._key is None and self._signed is None and context.token is not None:
            expected.append("Bearer " + context.token.reveal())
        # Digests are compared, so that neither length nor content shows in the time taken.
        self._expected = [_digest(one) for one in expected]
        self.open = not expected and self._key is None and self._signed is None

    def check(self, headers: Mapping[str, str]) -> bool:
        """Raise the 401 of a request with these headers; True when nothing is left to prove.

        False when it says that its body is signed: `check_body` decides then.
        """
        given = headers.get("authorization")
        if self.open:
            return True
        if given is not None:
            shown = _digest(given.strip())
            fits = [hmac.compare_digest(shown, one) for one in self._expected]
            if any(fits):
                return True
            if given.lower().startswith(_SCHEME) and self._believes(given[len(_SCHEME) :].strip()):
                return True
        if self._signed is not None and self._signed.header_name.lower() in headers:
            return False
        raise _unauthorized(
            "the Authorization header is missing"
            if given is None
            else "the Authorization header is not one that this input accepts"
        )

    def check_body(self, headers: Mapping[str, str], body: bytes) -> None:
        """Raise the 401 of a body whose signature does not hold."""
        assert self._signed is not None
        try:
            self._signed.verify(headers, body)
        except WebhookVerificationError as error:
            problem = str(error)
        else:
            return
        raise _unauthorized(problem)

    def _believes(self, text: str) -> bool:
        if self._key is None:
            return False
        from ...jose import BadToken, read

        try:
            token = read(text)
            self._key.check(token)
        except BadToken:
            return False
        now = self._clock.wall()
        expiry = _number(token.claims.get("exp"))
        begins = _number(token.claims.get("nbf", 0))
        if expiry is None or begins is None:  # a token that never ends is none
            return False
        return begins - _LEEWAY <= now < expiry + _LEEWAY


def _verifier(verify: WebhookVerify) -> WebhookVerifier:
    provider = verify.provider
    return WebhookVerifier("generic" if provider == "custom" else provider, verify.secret)


def _unauthorized(message: str) -> HttpRefusal:
    return HttpRefusal(401, "UNAUTHORIZED", message, headers=((b"www-authenticate", b"Bearer"),))


def _digest(text: str) -> bytes:
    scheme, blank, rest = text.partition(" ")
    # The scheme's letters may be of either case, the credentials' may not.
    text = f"{scheme.lower()} {rest.strip()}" if blank else text
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < 1e12 else None


def _key(path: str | None, context: Context) -> VerifyingKey | EdwardsKey | None:
    if path is None:
        return None
    from ...jose import public_key

    file = Path(path)
    if not file.is_absolute():
        file = context.home / file
    if context.token is None and not _is_below(file, context.home):
        # Whoever needs no key may not have any file of this user's opened.
        raise _unusable("without a key it lies below the home of this control plane")
    raw = b""
    try:
        handle = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        with os.fdopen(handle, "rb") as opened:
            if stat.S_ISREG(os.fstat(handle).st_mode):
                raw = opened.read(_PEM_BYTES)
    except OSError as error:
        problem = error.strerror or "it cannot be read"
    except ValueError:
        problem = "it is no path"
    else:
        try:
            return public_key(raw)
        except ValueError as error:
            problem = str(error)
    raise _unusable(problem)


def _is_below(file: Path, home: Path) -> bool:
    try:
        return file.resolve().is_relative_to(home.resolve())
    except (OSError, ValueError):
        return False


def _unusable(why: str) -> HttpRefusal:
    field = "config.jwt_public_key_path"
    return HttpRefusal(
        422,
        "VALIDATION_FAILED",
        f"jwt_public_key_path names no key that can be used: {why}",
        details={"field": field, "fields": [field]},
    )
