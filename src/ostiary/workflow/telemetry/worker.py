"""The thread that sends, and the order in which it does: what is in hand, on file, in the queue.

`changed` is the one lock of a pipeline, and wakes whoever waits for room, work or an end. The
order is lock, then file; nothing is sent while either is held. Whatever is put on file comes
from behind what is there, or, out of the hand, before it.
"""

from __future__ import annotations

import math
import os
import random
import threading
import time
from typing import Final, final

import msgspec

from ..errors import AureusError, TelemetryError
from ..settings import WorkflowSettings
from .delivery import Delivery, Receipt
from .items import LARGEST, Item, size_of
from .queue import Queue
from .spool import Spool

__all__ = ["Worker"]

# The most bytes of one batch: servers take a mebibyte.
_BATCH_BYTES: Final = 2 * LARGEST
# Seconds between attempts while the server is away: they double, up to the last.
_FIRST_PAUSE: Final = 0.1
_LAST_PAUSE: Final = 15.0


@final
class Worker:
    """Owns the queue, the file and the connection. Counters are read under `changed`."""

    def __init__(
        self,
        settings: WorkflowSettings,
        queue: Queue,
        *,
        max_batch: int,
        flush_interval: float,
        spool: str | os.PathLike[str] | None,
        max_spool: int | None,
    ) -> None:
        # A batch is sent again by this room, which knows what to do meanwhile.
        self._settings = msgspec.structs.replace(settings, max_retries=min(settings.max_retries, 1))
        self._max_batch = max_batch
        self._flush_interval = flush_interval
        self._spool_path = spool
        self._max_spool = max_spool
        self._spool = None if spool is None else Spool(spool, max_spool)
        self._delivery = Delivery(self._settings)
        self.changed = threading.Condition()
        self.queue = queue
        self.in_hand: list[Item] = []  # a batch on its way to the server: older than the file
        self._filing: list[Item] = []  # on its way to the file: older than the queue
        self.sent = self.spooled = self.replayed = self.dropped = 0
        self.rejected = self.duplicates = 0
        self.problem: str | None = None
        self._thread: threading.Thread | None = None
        # How many reports have been put, and which of them `flush` waits for.
        self._put = 0
        self._asked = 0
        self._oldest: float | None = None  # since when the first of the queue waits
        self._pause = _FIRST_PAUSE
        self._not_before = 0.0
        self._stopping = False
        self._deadline: float | None = None
        self._gave_up = self._is_put_away = False
        # Whether there is something on file; what an earlier process left, too.
        self._behind = False
        # Whether it has no more room, or cannot be written; until the next attempt to send.
        self._file_is_full = False
        if self._spool is not None and self._spool.count():
            self._behind = True
            with self.changed:
                self.begin()

    # --- for the callers' threads, under the lock

    def put(self, item: Item) -> None:
        """Take a report."""
        self._put += 1
        if not self.queue:
            self._oldest = time.monotonic()
        self.queue.put(item)
        if self._thread is None:
            self.begin()
        elif len(self.queue) == 1 or len(self.queue) == self._max_batch:
            self.changed.notify_all()

    def begin(self) -> None:
        """Start the thread, if it has not been."""
        if self._thread is not None or self._stopping:
            return
        thread = threading.Thread(target=self._run, name="ostiary-telemetry", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            return  # the process ends: `put_away` sends what there is
        self._thread = thread

    def move_to_spool(self) -> None:
        """Write the queue into the file, as far as that takes it."""
        if self._spool is None:
            return
        self._await_filing()
        left = taken = self.queue.take(len(self.queue), 1 << 62)
        try:
            left = self._keep(self._spool, taken)
        except TelemetryError as error:
            self.problem = error.message
        for one in left:
            self.queue.put(one)
        self._behind = self._behind or len(left) < len(taken)
        self.changed.notify_all()

    def ask(self) -> int:
        """Have everything sent now; return the mark that `passed` takes."""
        self._asked = self._put
        self._not_before = 0.0
        if self._put or self._behind:
            self.begin()
        self.changed.notify_all()
        return self._put

    def passed(self, mark: int) -> bool:
        """Whether everything up to the mark is with the server."""
        return not self._behind and self._put - self.queued >= mark

    @property
    def queued(self) -> int:
        """How many are in memory."""
        return len(self.queue) + len(self._filing) + len(self.in_hand)

    @property
    def queued_bytes(self) -> int:
        """How much memory holds."""
        return self.queue.bytes + size_of(self._filing) + size_of(self.in_hand)

    @property
    def waiting(self) -> int:
        """How many were on file when last looked."""
        return 0 if self._spool is None or not self._behind else self._spool.counted

    def why(self) -> str:
        """Say what keeps the server from taking more, for a message."""
        return f" ({self.problem})" if self.problem else ""

    def stop(self, deadline: float | None) -> threading.Thread | None:
        """Have the thread send what there is and end; return it."""
        self._stopping = True
        self._deadline = deadline
        self._not_before = 0.0
        self.changed.notify_all()
        return self._thread

    # --- the thread

    def _run(self) -> None:
        while True:
            with self.changed:
                while not self._is_due():
                    self.changed.wait(self._until_due())
                if self._stopping and (self._gave_up or not self._has_work()):
                    break
            self._turn()
        if self._is_put_away:  # it took longer than `close` had time for
            self._release()

    def _has_work(self) -> bool:
        return bool(self.queue or self.in_hand or self._behind)

    def _is_due(self) -> bool:
        if self._stopping:
            return True
        if not self._has_work():
            return False
        now = time.monotonic()
        if self._behind:
            # What is new is put on file while the server is away.
            return now >= self._not_before or (self._is_full(now) and not self._file_is_full)
        return now >= self._not_before and (bool(self.in_hand) or self._is_full(now))

    def _is_full(self, now: float) -> bool:
        """Whether the queue has a batch, or something that has waited long enough."""
        if not self.queue:
            return False
        if len(self.queue) >= self._max_batch or self._put - len(self.queue) < self._asked:
            return True
        return self._oldest is not None and now - self._oldest >= self._flush_interval

    def _until_due(self) -> float | None:
        """Return how long nothing is to be done, unless somebody wakes it; None: until then."""
        if not self._has_work():
            return None
        now = time.monotonic()
        times: list[float] = []
        if self._behind or self.in_hand or self.queue:
            times.append(self._not_before)
        if self.queue and self._oldest is not None:
            full = self._oldest + self._flush_interval
            if self._behind and not self._file_is_full:
                times.append(full)
            elif not self._behind and not self.in_hand:
                times = [self._not_before if self._is_full(now) else max(full, self._not_before)]
        return max(min(times) - now, 0.001)

    def _turn(self) -> None:
        """Do one thing: send a batch from memory, or one from the file, or write to it."""
        try:
            batch = self._next_of_memory()
            if batch:
                self._send(batch)
            elif self._behind:
                self._turn_of_file()
        except AureusError as error:
            # The file cannot be used. What is in memory stays there.
            self._file_is_full = True
            self._away(error.message, None)
        except Exception as error:  # noqa: BLE001 - whatever it is, the thread goes on
            # A thread that ends silently would lose everything behind it.
            self._away(f"{type(error).__name__} in the pipeline: {error}", None)

    def _next_of_memory(self) -> list[Item]:
        """Return what memory has to send next; nothing while older reports are on file."""
        with self.changed:
            if not self.in_hand and not self._behind:
                self.in_hand = self.queue.take(self._max_batch, _BATCH_BYTES)
                self._oldest = time.monotonic() if self.queue else None
                self.changed.notify_all()
            return self.in_hand

    def _send(self, batch: list[Item]) -> None:
        receipt = self._delivery.send(batch, self._time_left())
        with self.changed:
            if self.in_hand is not batch:
                return  # put away meanwhile
            self.in_hand = batch[receipt.taken :]
            self.sent += receipt.taken
            self._note(receipt)
            if receipt.away is not None and self._spool is not None:
                # The server is away, and the hand has to be free.
                self.in_hand = self._keep(self._spool, self.in_hand, first=True)
                self._behind = True

    def _turn_of_file(self) -> None:
        spool = self._spool
        if spool is None:
            return
        if time.monotonic() >= self._not_before or self._stopping:
            self._file_is_full = False
            batch: list[Item] = []
            places: list[int] = []
            if spool.claim():
                batch, places = spool.head(self._max_batch, _BATCH_BYTES)
            elif spool.count():
                self._away("another process sends what is on file", None, longest=1.0)
            if batch:
                receipt = self._delivery.send(batch, self._time_left())
                if receipt.taken:
                    # A crash before this line repeats them, under the ids they have.
                    spool.remove(places[0], places[receipt.taken - 1])
                with self.changed:
                    self.replayed += receipt.taken
                    self._note(receipt)
            else:
                with self.changed:
                    if not spool.counted:
                        self._behind = False
                        self.changed.notify_all()
                        spool.release()
                        return
        self._follow(spool)

    def _follow(self, spool: Spool) -> None:
        """Put on file what is new. Nobody who reports has to wait for the disk meanwhile."""
        with self.changed:
            if not self._is_full(time.monotonic()):
                return
            batch = self._filing = self.queue.take(len(self.queue), 1 << 62)
            self._oldest = None
            self.changed.notify_all()
        kept = 0
        try:
            kept = spool.add(batch)
        finally:
            with self.changed:
                self._filing = []
                self.spooled += kept
                self._file_is_full = kept < len(batch)
                if self._file_is_full:
                    self.queue.put_back(batch[kept:])
                    self._oldest = time.monotonic()
                self.changed.notify_all()

    def _await_filing(self) -> None:
        """Let the thread put on file what it has begun with; the lock is held."""
        self.changed.wait_for(lambda: not self._filing)

    def _keep(self, spool: Spool, batch: list[Item], *, first: bool = False) -> list[Item]:
        """Put on file; return what it had no room for. The lock is held."""
        kept = spool.add(batch, first=first)
        self.spooled += kept
        self._file_is_full = kept < len(batch)
        return batch[: len(batch) - kept] if first else batch[kept:]

    def _note(self, receipt: Receipt) -> None:
        """Remember how it went; the lock is held."""
        self.rejected += len(receipt.refused)
        self.duplicates += receipt.known
        if receipt.away is None:
            self.problem = receipt.refused[-1] if receipt.refused else None
            self._pause = _FIRST_PAUSE
            self._not_before = 0.0
        else:
            self._away(receipt.away, receipt.retry_after)
        self.changed.notify_all()

    def _away(self, problem: str, asked: float | None, *, longest: float = _LAST_PAUSE) -> None:
        self.problem = problem
        pause = min(self._pause, longest) * (0.5 + 0.5 * random.random())
        self._pause = min(self._pause * 2.0, _LAST_PAUSE)
        if asked is not None and pause < asked < math.inf:
            pause = min(asked, _LAST_PAUSE)
        self._not_before = time.monotonic() + pause
        # One attempt that fails is enough for a process that wants to end.
        self._gave_up = self._stopping

    def _time_left(self) -> float | None:
        if self._deadline is None:
            return None
        return max(self._deadline - time.monotonic(), 0.05)

    # --- the end

    def put_away(self) -> None:
        """Save what the thread could not send, or did not come to; then close everything."""
        while self._thread is None and self._has_work() and not self._gave_up:
            self._turn()
        with self.changed:
            self._gave_up = True
            self._await_filing()
            older, self.in_hand = self.in_hand, []
            newer = self.queue.take(len(self.queue), 1 << 62)
            if self._spool is not None:
                try:
                    older = self._keep(self._spool, older, first=True)
                    newer = self._keep(self._spool, newer)
                except TelemetryError as error:
                    self.problem = error.message
            left = len(older) + len(newer)
            self.dropped += left
            self.changed.notify_all()
        if left:
            import logging

            logging.getLogger("ostiary.workflow.telemetry").warning(
                "%d telemetry reports are lost: the pipeline was closed and they could not be "
                "sent%s; give it a spool",
                left,
                self.why(),
            )
        self._is_put_away = True
        if self._thread is None or not self._thread.is_alive():
            self._release()

    def _release(self) -> None:
        self._delivery.close()
        if self._spool is not None:
            self._spool.close()

    # --- forks

    def hold(self) -> None:
        """Come to rest before the process is copied."""
        self.changed.acquire()
        if self._spool is not None:
            self._spool.lock.acquire()
            self._spool.rest()

    def let_go(self) -> None:
        """Go on in the parent."""
        if self._spool is not None:
            self._spool.lock.release()
        self.changed.release()

    def anew(self, queue: Queue) -> Worker:
        """Return what takes this one's place in a child: empty, with nothing of the parent's."""
        if self._spool is not None:
            self._spool.forked()
        self._delivery.forked()
        made = Worker.__new__(Worker)
        made.__dict__.update(self.__dict__)
        made.changed = threading.Condition()
        made.queue = queue
        made.in_hand = []
        made._filing = []
        made.sent = made.spooled = made.replayed = made.dropped = 0
        made.rejected = made.duplicates = 0
        made.problem = None
        made._thread = None
        made._put = made._asked = 0
        made._oldest = None
        made._behind = made._file_is_full = False
        return made
