"""The record of every call: in the vault's audit log, and the latest in memory.

Who called, for which run, what became of it and what it cost; never what was said.
Neighbour: `endpoints` makes the records.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Final, final

import msgspec

from ..audit import Event
from ..http.refusals import HttpRefusal
from ..vault import Vault

__all__ = ["CallRecord", "Calls", "Totals"]

_log = logging.getLogger(__name__)

_KEPT: Final = 10_000


class CallRecord(msgspec.Struct, kw_only=True):
    """One call. `code` is empty when it succeeded; times are Unix seconds.

    `subject`, `run_id` and `org_id` are empty until the caller has proved them.
    """

    kind: str
    method: str
    path: str
    request_id: str = ""
    began: float = 0.0
    status: int = 200
    code: str = ""
    subject: str = ""
    run_id: str = ""
    org_id: str = ""
    txn: str = ""
    provider: str = ""
    model: str = ""
    stream: bool = False
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Totals(msgspec.Struct, kw_only=True):
    """What one run has used with calls of one kind; those refused are not among `calls`."""

    calls: int = 0
    refused: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def add(self, call: CallRecord) -> None:
        """Count one call."""
        if call.status >= 400:
            self.refused += 1
        else:
            self.calls += 1
        self.prompt_tokens += call.prompt_tokens
        self.completion_tokens += call.completion_tokens


@final
class Calls:
    """One gateway's record; on the vault's event loop."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._latest: deque[CallRecord] = deque(maxlen=_KEPT)
        self._totals: dict[str, dict[str, Totals]] = {}
        self._committed: asyncio.Future[bool] | None = None

    def latest(self) -> list[CallRecord]:
        """Return copies of the last calls, oldest first."""
        return [msgspec.structs.replace(call) for call in self._latest]

    def usage(self, run_id: str) -> dict[str, Totals]:
        """Return what a run has used since the gateway started, by kind of call."""
        return self._totals.get(run_id, {})

    def add(self, call: CallRecord) -> None:
        """Put a finished call on record; it is on file once `commit` returns."""
        self._latest.append(call)
        if call.run_id:  # proved, and so one of the runs that were issued
            kinds = self._totals.setdefault(call.run_id, {})
            kinds.setdefault(call.kind, Totals()).add(call)
        resource = f"{call.provider}:{call.model}" if call.model else call.path
        self._vault.record(
            Event(
                f"gateway.{call.kind}",
                call.kind,
                agent=call.subject,
                resource=resource,
                policy=call.txn,
                allowed=call.status < 400,
                reason=call.code,
                metadata={
                    "status": call.status,
                    "run_id": call.run_id,
                    "org_id": call.org_id,
                    "request_id": call.request_id,
                    "stream": call.stream,
                    "prompt_tokens": call.prompt_tokens,
                    "completion_tokens": call.completion_tokens,
                },
            )
        )
        if self._committed is None:
            loop = asyncio.get_running_loop()
            self._committed = loop.create_future()
            loop.call_soon(self._flush)

    def check(self) -> None:
        """Raise the 503 of a vault that can record nothing: no call is worked on without."""
        if self._vault.failed or self._vault.keyring is None:
            raise HttpRefusal(
                503,
                "record_failed",
                "calls cannot be recorded; unlock the vault, or restart the server if it is open",
            )

    async def commit(self) -> None:
        """Return once everything added so far is on file; all of one turn share a transaction."""
        waiting = self._committed
        # Shielded: others wait for the same transaction.
        if waiting is not None and not await asyncio.shield(waiting):
            raise HttpRefusal(
                503, "record_failed", "the call could not be recorded; see to the server's disk"
            )

    def _flush(self) -> None:
        committed, self._committed = self._committed, None
        try:
            self._vault.flush()
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing was recorded
            _log.critical("the gateway cannot write its record: %s", error)
        if committed is not None and not committed.done():
            committed.set_result(not self._vault.failed)
