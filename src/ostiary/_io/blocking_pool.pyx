"""The connections of one blocking client, and the threads that wait for one.

`_pool` decides which is used next and who is served; here is what a thread waits on. It never
talks to a peer. Twin of `aio_pool` for framed channels; `blocking_http` uses it too.

Law: the pool holds idle connections only. One in use belongs to its caller, and when that
caller is interrupted between two steps and never gives it back, its end frees the slot.
"""

cimport cython
from libc.math cimport INFINITY

from .._pool cimport Roster, Ticket
from .sockets cimport fork_count, now
from .stream cimport Stream

import threading
from weakref import ref

from ..errors import ClientStateError, DeadlineError
from .sockets import forget_after_fork


cdef class _Waiter(Ticket):
    pass


@cython.final
cdef class ChannelPool:
    def __init__(
        self, opener, Py_ssize_t limit, *, max_idle=None, double expiry=INFINITY, patience=None
    ):
        self._opener = opener
        self._patience = INFINITY if patience is None else patience
        self._roster = Roster(limit, limit if max_idle is None else max_idle, expiry)
        self._references = set()
        self._forget = self._gone
        forget_after_fork(self)

    # The roster and the set below change only between two releases of the GIL, so they need
    # no lock; only waiting does.

    @property
    def counts(self):
        """Connections open, of those idle; threads waiting."""
        return len(self._references), self._roster.idle, self._roster.waiting

    def ready(self):
        cdef Stream channel
        while True:
            channel = <Stream>self._roster.take()
            if channel is None or not (channel.stale() or self._is_old(channel)):
                return channel
            self._drop(channel)

    def open(self, double deadline, /):
        # Another thread may have given one back since `ready` found none.
        channel = None if self._closed else self.ready()
        return self._wait(deadline) if channel is None else channel

    def release(self, Stream channel, /):
        self.give(channel)

    cdef Stream take(self, double deadline):
        """Return a connection that no byte lies on, whatever it takes."""
        cdef Stream channel = self.idle()
        return self._wait(deadline) if channel is None else channel

    cdef Stream idle(self):
        cdef Stream channel
        while True:
            channel = <Stream>self._roster.take()
            if channel is None or not (channel.is_stale(0) or self._is_old(channel)):
                return channel
            self._drop(channel)

    cdef bint _is_old(self, Stream channel) noexcept:
        # There is no sweeper here: in a client that rested, all have grown old unseen.
        return now() - channel._used_at >= self._roster.expiry

    cdef Stream _wait(self, double deadline):
        cdef:
            Stream channel
            _Waiter waiter
            double left
        if self._closed:
            raise ClientStateError("the client is closed; connect it again, or make another")
        if not self._roster.admit():
            waiter = _Waiter()
            waiter.lock = threading.Lock()
            waiter.lock.acquire()
            self._roster.enqueue(waiter)
            left = min(deadline - now(), self._patience)
            try:
                waiter.lock.acquire(timeout=-1 if left > threading.TIMEOUT_MAX else max(left, 0.0))
            except BaseException:       # KeyboardInterrupt: what it was handed goes on
                if not self._roster.withdraw(waiter):
                    if waiter.channel is not None:
                        self.give(waiter.channel)
                    elif waiter.served:
                        self._vacate()
                raise
            if not waiter.served:
                # Unless it is served in this very moment: then it is taken.
                if self._roster.withdraw(waiter):
                    raise DeadlineError(
                        f"the call's time ran out while all {self._roster.limit} connections were "
                        "busy; raise max_connections, or the timeout"
                    )
            if self._closed:
                raise ClientStateError("the client was closed while this call waited")
            if waiter.channel is not None:
                return waiter.channel
        try:
            channel = self._opener(deadline)
        except BaseException:
            self._vacate()
            raise
        if self._closed:
            channel.close()
            self._roster.vacate()
            raise ClientStateError("the client was closed while this call connected")
        self._references.add(ref(channel, self._forget))
        return channel

    cdef int give(self, Stream channel) except -1:
        cdef Stream extra
        if channel._fd < 0 or self._closed or channel._born != fork_count:
            self._drop(channel)
        elif not self._wake(channel):
            extra = <Stream>self._roster.keep(channel, channel._used_at)
            if extra is None:
                extra = <Stream>self._roster.overdue(channel._used_at)
            while extra is not None:
                self._drop(extra)
                extra = <Stream>self._roster.overdue(channel._used_at)
        return 0

    cdef int _drop(self, Stream channel) except -1:
        reference = ref(channel, self._forget)
        if reference in self._references:
            self._references.discard(reference)
            channel.close()
            self._vacate()
        return 0

    def _gone(self, reference):
        """A connection ended without having been given back."""
        if reference in self._references:
            self._references.discard(reference)
            self._vacate()

    cdef int _vacate(self) except -1:
        """Free a slot: whoever waits longest may open one in it."""
        self._roster.vacate()
        self._wake(None)
        return 0

    cdef bint _wake(self, Stream channel) except -1:
        """Hand a connection, or leave to open one, to whoever waits longest; 0 if nobody does."""
        cdef _Waiter waiter = <_Waiter>self._roster.serve()
        if waiter is None:
            return 0
        waiter.channel = channel
        waiter.served = True
        if channel is None:
            self._roster.admit()
        waiter.lock.release()
        return 1

    def channels(self):
        return [channel for one in list(self._references) if (channel := one()) is not None]

    def close(self):
        cdef _Waiter waiter
        self._closed = True
        while self._roster.take() is not None:
            pass
        while True:
            waiter = <_Waiter>self._roster.serve()
            if waiter is None:
                break
            waiter.lock.release()
        for channel in self.channels():
            self._drop(channel)

    def abandon(self):
        for channel in self.channels():
            (<Stream>channel).abandon()
        self._references = set()
        self._roster = Roster(self._roster.limit, self._roster.max_idle, self._roster.expiry)
