"""A value that hides itself.

`Secret` keeps bytes out of reprs, logs, format strings, pickles and copies. It does not
defend against code that calls `reveal`: what that returns is an ordinary string, which
Python can neither hide nor wipe.
"""

from __future__ import annotations

import re
from typing import Any, NoReturn, SupportsIndex, final

from .errors import InvalidArgumentError, SecretExposureError

__all__ = ["Secret"]

_MASK = "**********"
_SURROGATE = re.compile("[\ud800-\udfff]")


@final
class Secret:
    """Bytes that show themselves only to `reveal` and `reveal_bytes`.

    Equality is constant-time in the content. `wipe` overwrites the buffer this object
    owns; it also runs when the object is collected. A wiped secret refuses to be revealed.
    """

    __slots__ = ("__weakref__", "_buffer", "_wiped")

    def __init__(self, value: str | bytes | bytearray | memoryview | Secret) -> None:
        # First, so that __del__ has something to wipe when the conversion below refuses.
        self._buffer = bytearray()
        self._wiped = False
        if isinstance(value, Secret):
            self._buffer = bytearray(value._open())
        elif isinstance(value, str):
            # Tested first: UnicodeEncodeError carries the whole text.
            if value.isascii() or not _SURROGATE.search(value):
                self._buffer = bytearray(value, "utf-8")
                return
            del value  # nor may it stand in the locals that a traceback records
            raise InvalidArgumentError(
                "the secret holds lone surrogates, which no UTF-8 can; give its bytes"
            )
        elif isinstance(value, (bytes, bytearray, memoryview)):
            self._buffer = bytearray(value)
        else:
            # bytearray(5) would be five zeros.
            raise InvalidArgumentError(f"a secret is text or bytes, not {type(value).__name__}")

    def reveal(self) -> str:
        """Return the content as text.

        Raises `InvalidArgumentError` when it is not UTF-8: use `reveal_bytes` then.
        """
        try:
            return self._open().decode("utf-8")
        except UnicodeDecodeError:
            pass
        # Raised outside the handler: UnicodeDecodeError carries the bytes it failed on.
        raise InvalidArgumentError("the secret is not UTF-8 text; use reveal_bytes()")

    def reveal_bytes(self) -> bytes:
        """Return the content as bytes."""
        return bytes(self._open())

    def wipe(self) -> None:
        """Overwrite the buffer with zeros; the best that can be done from Python."""
        # Same length, so the slice is overwritten in place and not moved.
        self._buffer[:] = bytes(len(self._buffer))
        self._buffer = bytearray()
        self._wiped = True

    def _open(self) -> bytearray:
        if self._wiped:
            raise InvalidArgumentError("the secret was wiped; fetch it again")
        return self._buffer

    def __eq__(self, other: object) -> bool:
        import hmac  # costs 4 ms, which a process that compares no secrets need not pay

        if isinstance(other, Secret):
            return hmac.compare_digest(self._open(), other._open())
        if isinstance(other, str):
            return hmac.compare_digest(self._open(), other.encode("utf-8", "surrogatepass"))
        if isinstance(other, (bytes, bytearray)):
            return hmac.compare_digest(self._open(), other)
        return NotImplemented

    # A hash would have to be of the content, and dict lookups leak it by timing.
    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        return bool(self._open())

    def __repr__(self) -> str:
        return f"Secret('{_MASK}')"

    def __str__(self) -> str:
        return _MASK

    def __format__(self, spec: str) -> str:
        return format(_MASK, spec)

    def __del__(self) -> None:
        self.wipe()

    def __copy__(self) -> NoReturn:
        raise SecretExposureError("a Secret is not copied; share the object or reveal() it")

    def __deepcopy__(self, memo: dict[int, Any]) -> NoReturn:
        self.__copy__()

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise SecretExposureError(
            "a Secret is not pickled; send a reference and fetch it on the other side"
        )
