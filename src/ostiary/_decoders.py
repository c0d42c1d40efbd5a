"""Decoders by type: every one of the library is made here, one at a time.

msgspec keeps what it learns of a class on the class, and puts it there before it is complete, so
that classes may name one another. A second thread that meets the class in that moment reads a
table half filled and the process dies. So nobody lets it learn a type but this module, under one
lock; a type that is learned is read by any number of threads.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, TypeVar, cast

import msgspec

__all__ = ["convert", "decode_as", "decoder_of", "learn", "without_nulls"]

T = TypeVar("T")

_learning: Final = threading.RLock()  # a type may be told by code that makes a decoder itself

# A child made meanwhile would have the table half filled, and nobody to fill it.
os.register_at_fork(
    before=_learning.acquire,
    after_in_parent=_learning.release,
    after_in_child=_learning.release,
)


def learn(kind: Any) -> msgspec.json.Decoder[Any]:
    """Have msgspec know a type, so that any thread may use it; return a decoder of it.

    Raises `TypeError` for what msgspec cannot read.
    """
    with _learning:
        return msgspec.json.Decoder(kind)


_learned: Final[Callable[[Any], msgspec.json.Decoder[Any]]] = lru_cache(maxsize=256)(learn)


def decoder_of(kind: type[T]) -> msgspec.json.Decoder[T]:
    """Return the decoder of JSON for a type, made once while the type is in use."""
    try:
        return _learned(kind)
    except TypeError:
        return learn(kind)  # no hash: an Annotated with a dict in it; or this says what is wrong


def decode_as(raw: bytes | str, kind: type[T]) -> T:
    """Read one document of JSON, as `msgspec.json.decode` does."""
    return decoder_of(kind).decode(raw)


def convert(value: object, kind: type[T], *, strict: bool = True) -> T:
    """Return decoded JSON as a type, as `msgspec.convert` does."""
    decoder_of(kind)
    return msgspec.convert(value, kind, strict=strict)


def without_nulls(value: Any) -> Any:
    """Leave out members that are null: where a type has no null, one means an absent member."""
    if isinstance(value, dict):
        members = cast("dict[str, Any]", value)
        return {k: without_nulls(v) for k, v in members.items() if v is not None}
    if isinstance(value, list):
        return [without_nulls(v) for v in cast("list[object]", value)]
    return value
