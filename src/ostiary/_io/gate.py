"""Who may send now: one gate per endpoint, for every pool of this process that wants a limit.

Threads and tasks of any event loop wait in one line and are let through in its order. What the
limit is, `_limit` decides; here are the lock, the clock and the forks.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final, final

from .._limit import AdaptiveLimit
from ..errors import ClientStateError, DeadlineError
from .sockets import forget_after_fork

if TYPE_CHECKING:
    import asyncio

    from ..config import Address

__all__ = ["Turn", "Way", "way_to"]


@final
class Turn:
    """One request's turn. It ends with `answered`, or when nobody refers to it any more.

    So a thread that was interrupted between two steps, or a task whose loop stopped, cannot
    keep its place for ever.
    """

    __slots__ = ("_gate", "deadline", "dismissed", "ring", "round", "route", "way")

    def __init__(self, gate: _Gate, way: Way, route: str, deadline: float) -> None:
        self._gate = gate
        self.way = way
        self.route = route
        self.deadline = deadline
        self.round: int | None = None  # from when it may be sent until it is answered
        self.dismissed = False
        self.ring: Callable[[], object] | None = None

    def answered(self, seconds: float, status: int | None) -> None:
        """Say how the request went; `status` is None when no answer came."""
        self._gate.end(self, (seconds, status))

    def __del__(self) -> None:
        if self.round is not None:
            self._gate.end(self)


@final
class _Gate:
    """The requests under way to one endpoint, and the line of those that wait."""

    __slots__ = ("__weakref__", "_first_round", "_line", "_lock", "_under_way", "limit")

    def __init__(self, most: int) -> None:
        self.limit = AdaptiveLimit(most)
        self.abandon()
        forget_after_fork(self)

    def abandon(self) -> None:
        """Forget, in a forked child, what is under way in the parent; what was learned stays."""
        # Reentrant, for the collector may end a turn on a thread that holds it. Nothing below
        # trusts what it saw before it took or counted something.
        self._lock = threading.RLock()
        self._line: deque[Turn] = deque()
        self._under_way = 0
        self._first_round = self.limit.forget_sent()

    @property
    def waiting(self) -> int:
        return len(self._line)

    def allow(self, most: int) -> None:
        """Let the limit grow up to `most`, or to what another pool asked for if that is more."""
        with self._lock:
            self.limit.most = max(self.limit.most, most)

    def pass_now(self, turn: Turn, *, anyway: bool = False) -> bool:
        """Whether a request may be sent without waiting; if so, it is under way."""
        with self._lock:
            if not anyway and (self._line or self._under_way >= self.limit.now):
                return False
            self._pass(turn)
            return True

    def join(self, turn: Turn) -> None:
        """Have a turn wait; its `ring` is called when that is over."""
        with self._lock:
            self._line.append(turn)
        self._serve()

    def withdraw(self, turn: Turn) -> bool:
        """Take a turn out of the line; False when it is not there (any more)."""
        with self._lock:
            try:
                self._line.remove(turn)
            except ValueError:
                return False
            return True

    def leave(self, turn: Turn) -> None:
        """Be done with a turn that nobody will use, wherever it stands."""
        self.withdraw(turn)
        self.end(turn)

    def dismiss(self, way: Way) -> None:
        """Send away everybody who waits on a way that is closed."""
        for turn in list(self._line):
            if turn.way is way and self.withdraw(turn):
                turn.dismissed = True
                _ring(turn)

    def end(self, turn: Turn, answer: tuple[float, int | None] | None = None) -> None:
        """Count a request no longer, and learn from its answer."""
        with self._lock:
            round_, turn.round = turn.round, None
            # Older ones are the parent's: the child's copies of its tasks end here too.
            if round_ is None or round_ < self._first_round:
                return
            self._under_way = max(0, self._under_way - 1)
            if answer is not None:
                self.limit.answered(round_, turn.route, *answer)
        self._serve()

    def _pass(self, turn: Turn) -> None:
        # In this order: an interrupt between the two must not leave a place taken for ever.
        turn.round = self.limit.sent(self._under_way + 1)
        self._under_way += 1

    def _serve(self) -> None:
        """Let through whoever may be, in order.

        Not whoever waited for so long that no answer would come in time: a server that works
        for those who have given up has no time for the others.
        """
        while self._line:
            with self._lock:
                if not self._line or self._under_way >= self.limit.now:
                    return
                turn = self._line.popleft()
                left = turn.deadline - time.monotonic()
                if self.limit.worth_sending(turn.route, left):
                    self._pass(turn)
            if not _ring(turn):
                self.end(turn)


@final
class Way:
    """One pool's way to its endpoint; its requests wait together with those of the others."""

    __slots__ = ("_address", "_closed", "_gate", "_patience")

    def __init__(self, gate: _Gate, address: Address, patience: float) -> None:
        """`patience` is the longest wait in seconds."""
        self._gate = gate
        self._address = address
        self._patience = patience
        self._closed = False

    @property
    def limit(self) -> int:
        """How many requests may be under way now, those of other pools included."""
        return self._gate.limit.now

    @property
    def waiting(self) -> int:
        """How many requests wait, those of other pools included."""
        return self._gate.waiting

    def enter(self, route: str, deadline: float) -> Turn:
        """Wait on this thread until a request may be sent.

        `DeadlineError` when that takes too long, `ClientStateError` when the pool is closed.
        """
        turn = Turn(self._gate, self, route, deadline)
        if self._gate.pass_now(turn):
            return turn
        if _on_event_loop():
            # The tasks that it would wait for cannot go on while it waits on their thread.
            self._gate.pass_now(turn, anyway=True)
            return turn
        bell = threading.Lock()
        bell.acquire()
        left = min(deadline - time.monotonic(), self._patience)
        try:
            self._join(turn, bell.release)
            bell.acquire(timeout=min(max(left, 0.0), threading.TIMEOUT_MAX))
        except BaseException:
            self._gate.leave(turn)
            raise
        self._check(turn)
        return turn

    async def enter_async(self, route: str, deadline: float) -> Turn:
        """Do what `enter` does, without holding up the event loop."""
        turn = Turn(self._gate, self, route, deadline)
        if self._gate.pass_now(turn):
            return turn
        import asyncio

        from .aio import within

        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        until = min(deadline, time.monotonic() + self._patience)
        try:
            self._join(turn, partial(_wake, future, threading.get_ident()))
            await within(future, until)
        except DeadlineError:
            pass
        except BaseException:
            self._gate.leave(turn)
            raise
        self._check(turn)
        return turn

    def close(self) -> None:
        """Send away whoever waits."""
        self._closed = True
        self._gate.dismiss(self)

    def _join(self, turn: Turn, ring: Callable[[], object]) -> None:
        turn.ring = ring
        self._gate.join(turn)
        if self._closed:  # perhaps just after everybody was sent away
            self._gate.dismiss(self)

    def _check(self, turn: Turn) -> None:
        self._gate.withdraw(turn)
        if turn.dismissed:
            raise ClientStateError("the client was closed while this call waited")
        if turn.round is None:
            raise DeadlineError(
                f"the call waited for its turn until its time was up: {self._address} is sent at "
                f"most {self.limit} requests at once, as adaptive limits found; send less, or "
                "allow the call more time"
            )


# One per endpoint for the life of the process: what was learned outlives a client.
_gates: Final[dict[Address, _Gate]] = {}


def way_to(address: Address, most: int, patience: float) -> Way:
    """Return a way to `address` for a pool that has at most `most` connections."""
    # setdefault decides between two threads by itself: no lock that a fork could leave held.
    gate = _gates.get(address) or _gates.setdefault(address, _Gate(most))
    gate.allow(most)
    return Way(gate, address, patience)


def _on_event_loop() -> bool:
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _ring(turn: Turn) -> bool:
    """Tell whoever waits for a turn; False when his event loop was closed."""
    ring, turn.ring = turn.ring, None
    try:
        if ring is not None:
            ring()
    except RuntimeError:
        return False
    return True


def _wake(future: asyncio.Future[None], thread: int) -> None:
    if threading.get_ident() == thread:
        _settle(future)
    else:
        future.get_loop().call_soon_threadsafe(_settle, future)


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
