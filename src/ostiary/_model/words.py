"""Words of a protocol, as enums that a newer server may add to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final, Self

__all__ = ["OpenEnum"]

_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


class OpenEnum(StrEnum):
    """A set of words that a newer server may add to.

    A word that is none of them, however cased, becomes a value of its own: text like the
    rest, with `is_known` false. `raw` is the word as the server wrote it.
    """

    _raw: str | None

    @property
    def raw(self) -> str:
        """The word as it was received."""
        return self.__dict__.get("_raw") or str(self.value)

    @property
    def is_known(self) -> bool:
        """Whether this version has the word in its list."""
        return self._name_ in type(self).__members__

    def __reduce_ex__(self, protocol: object) -> tuple[type[Self], tuple[str]]:
        # By the word that was received, which says more than the value.
        return type(self), (self.raw,)

    @classmethod
    def _missing_(cls, value: object) -> OpenEnum | None:
        if not isinstance(value, str) or not value:
            return None
        word = str.__str__(value)
        meant = cls._meaning(word)
        if meant is not None:
            return cls._another(str(meant.value), meant.name, word)
        # Kept nowhere: a peer that makes words up must not fill our memory.
        return cls._another(word, word, word)

    @classmethod
    def _meaning(cls, word: str) -> OpenEnum | None:
        """Return the member that a word of another spelling stands for, or None."""
        known: Mapping[str, Any] = cls.__members__
        return known.get(_HUMP.sub("_", word).replace("-", "_").upper())

    @classmethod
    def _another(cls, value: str, name: str, raw: str) -> OpenEnum:
        made = str.__new__(cls, value)
        made._name_ = name
        made._value_ = value
        made._raw = raw
        return made
