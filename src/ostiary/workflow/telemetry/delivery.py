"""One batch to the server: taken, refused in part, or kept because the server is away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, final

from .. import _routes as routes
from .._sync import WorkflowClient
from ..errors import (
    AureusError,
    BadRequestError,
    HTTPStatusError,
    PayloadTooLargeError,
    UnprocessableError,
)
from ..models import TelemetryAccepted
from ..settings import WorkflowSettings
from .items import Item, body_of

__all__ = ["Delivery", "Receipt"]

# What the server will not take however often it is asked.
_REFUSED: Final = (BadRequestError, PayloadTooLargeError, UnprocessableError)

_MOST_TOLD: Final = 20


@final
class Receipt:
    """What became of a batch: the first `taken` of its reports are settled.

    Of them the server knew `known` already, and `refused` some for good.
    `away` is what keeps the others from being, None when there are none; `retry_after` how
    long the server wants to be left alone, in seconds.
    """

    __slots__ = ("away", "known", "refused", "retry_after", "taken")

    def __init__(self) -> None:
        self.taken = 0
        self.known = 0
        self.refused: list[str] = []
        self.away: str | None = None
        self.retry_after: float | None = None


@final
class Delivery:
    """A client of its own, for one thread at a time; made when the first batch is sent."""

    def __init__(self, settings: WorkflowSettings) -> None:
        self._settings = settings
        self._client: WorkflowClient | None = None

    def send(self, items: Sequence[Item], timeout: float | None) -> Receipt:
        """Send a batch; what the server cannot take whole is sent in halves."""
        receipt = Receipt()
        left: list[Sequence[Item]] = [items]
        while left:
            part = left.pop()
            try:
                reply = self._sent(part, timeout)
            except _REFUSED as error:
                if len(part) > 1:
                    half = len(part) // 2
                    left += [part[half:], part[:half]]
                    continue
                receipt.refused.append(f"{part[0].kind}: {error.message}")
            except AureusError as error:
                receipt.away = error.message
                if isinstance(error, HTTPStatusError):
                    receipt.retry_after = error.retry_after
                return receipt
            else:
                receipt.known += reply.duplicates
                receipt.refused += _refusals(reply)
            receipt.taken += len(part)
        return receipt

    def _sent(self, items: Sequence[Item], timeout: float | None) -> TelemetryAccepted:
        client = self._client
        if client is None:
            client = self._client = WorkflowClient.made_from(self._settings)
        usual = self._settings.timeout
        patience = usual if timeout is None else timeout if usual is None else min(usual, timeout)
        return client.pool.call(routes.BATCH_REPORT, body=body_of(items), timeout=patience)

    def close(self) -> None:
        """Close the connection; a batch after this opens another."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def forked(self) -> None:
        """Begin anew in a child: what the parent's connection carries is the parent's."""
        self._client = None


def _refusals(reply: TelemetryAccepted) -> list[str]:
    """Return a text for each that was refused; one may have several things wrong with it."""
    told = [_told(one) for one in reply.errors[: min(reply.rejected, _MOST_TOLD)]]
    return told + ["refused without a reason"] * (reply.rejected - len(told))


def _told(problem: dict[str, Any]) -> str:
    return f"{problem.get('path', 'a report')}: {problem.get('message', 'refused')}"
