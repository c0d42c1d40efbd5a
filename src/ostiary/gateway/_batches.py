"""Many texts in requests of a size that providers take, and their vectors in order again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, cast

from .errors import GatewayArgumentError, GatewayProtocolError
from .models import Embeddings, Usage

__all__ = ["MOST_TEXTS", "checked", "count_option", "cut", "fits", "joined", "spread"]

MOST_TEXTS: Final = 2048  # of one request, as OpenAI has it
# A request may have 300,000 tokens; in no language has a text fewer than 2 bytes for each.
_MOST_BYTES: Final = 600_000


def checked(texts: object) -> list[str]:
    """Return texts as a list; one text is a list of one."""
    if isinstance(texts, str):
        return [texts]
    if isinstance(texts, (bytes, bytearray)) or not isinstance(texts, Sequence):
        raise GatewayArgumentError(f"texts are a list of text, not {type(texts).__name__}")
    found = list(cast("Sequence[object]", texts))
    for at, text in enumerate(found):
        if not isinstance(text, str):
            raise GatewayArgumentError(f"text {at} is no text but {type(text).__name__}")
    return cast("list[str]", found)


def count_option(name: str, value: object, most: int) -> int:
    """Return a number of things; `GatewayArgumentError` unless it is from 1 to `most`."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= most:
        raise GatewayArgumentError(f"{name} is a whole number from 1 to {most}")
    return value


def cut(texts: list[str], batch_size: int) -> list[list[str]]:
    """Cut texts into batches, in order: neither too many of them nor too many bytes."""
    if len(texts) <= batch_size and sum(map(_size, texts)) <= _MOST_BYTES:
        return [texts]
    batches: list[list[str]] = []
    batch: list[str] = []
    held = 0
    for text in texts:
        size = _size(text)
        if batch and (len(batch) == batch_size or held + size > _MOST_BYTES):
            batches.append(batch)
            batch, held = [], 0
        batch.append(text)
        held += size
    batches.append(batch)
    return batches


def _size(text: str) -> int:
    # Three bytes for a letter that is not ASCII: near enough, and without encoding it.
    return len(text) if text.isascii() else 3 * len(text)


def fits(found: Embeddings, batch: list[str]) -> Embeddings:
    """Return what came for a batch; `GatewayProtocolError` unless it is a vector for each."""
    if len(found.vectors) != len(batch):
        raise GatewayProtocolError(
            f"the reply has {len(found.vectors)} embeddings for {len(batch)} texts", sent=True
        )
    return found


def joined(found: list[Embeddings]) -> Embeddings:
    """Return the vectors of all batches as one; they must be of one length."""
    if len(found) == 1:
        one = found[0]
        vectors = one.vectors
    else:
        vectors = [vector for each in found for vector in each.vectors]
    widths = {len(vector) for vector in vectors}
    if len(widths) > 1 or 0 in widths:
        raise GatewayProtocolError(
            f"the embeddings have {len(widths)} different lengths"
            if len(widths) > 1
            else "the embeddings are empty",
            sent=True,
        )
    usage = sum((each.usage for each in found), Usage())
    return Embeddings(vectors, usage, found[0].model)


def spread(found: Embeddings, places: Sequence[int]) -> Embeddings:
    """Return vectors by place: text n has the vector of number `places[n]`."""
    vectors = found.vectors
    return Embeddings([list(vectors[at]) for at in places], found.usage, found.model)
