"""The channels of one blocking client: which is used next, and who waits. Twin of `aio_pool`.

Idle channels are taken last in, first out, so that the ones not needed go stale together;
waiting threads are served first come, first served. It never talks to a peer.

Law: the pool holds idle channels only. One in use belongs to its caller, and when that
caller is interrupted between two steps and never gives it back, its end frees the slot.
"""

cimport cython

from .blocking cimport Channel
from .sockets cimport fork_count, now

import threading
from collections import deque
from weakref import ref

from ..errors import ClientStateError, DeadlineError
from .sockets import forget_after_fork


cdef class _Waiter:
    pass


@cython.final
cdef class ChannelPool:
    def __init__(self, opener, Py_ssize_t limit):
        self._opener = opener
        self._limit = limit
        self._idle = []
        self._references = set()
        self._forget = self._gone
        self._waiters = deque()
        forget_after_fork(self)

    # The counters and lists below change only between two releases of the GIL, so they need
    # no lock; only waiting does.

    def ready(self):
        cdef Channel channel
        while self._idle:
            channel = <Channel>self._idle.pop()
            if not channel.stale():
                return channel
            self._drop(channel)
        return None

    def open(self, double deadline, /):
        cdef:
            Channel channel
            _Waiter waiter
        if self._closed:
            raise ClientStateError("the client is closed; call connect() again")
        # Another thread may have given one back since `ready` found none.
        channel = self.ready()
        if channel is not None:
            return channel
        if len(self._references) + self._opening < self._limit:
            self._opening += 1
        else:
            waiter = _Waiter()
            waiter.lock = threading.Lock()
            waiter.lock.acquire()
            self._waiters.append(waiter)
            left = deadline - now()
            try:
                waiter.lock.acquire(timeout=-1 if left > threading.TIMEOUT_MAX else max(left, 0.0))
            except BaseException:       # KeyboardInterrupt: what it was handed goes on
                if not self._withdraw(waiter):
                    if waiter.channel is not None:
                        self.release(waiter.channel)
                    else:
                        self._opening -= 1
                        self._wake(None)
                raise
            if not waiter.served:
                # Unless it is served in this very moment: then it is taken.
                if self._withdraw(waiter):
                    raise DeadlineError(
                        f"the call's time ran out while all {self._limit} connections were busy; "
                        "raise max_connections, or the timeout"
                    )
            if self._closed:
                raise ClientStateError("the client was closed while this call waited")
            if waiter.channel is not None:
                return waiter.channel
        try:
            channel = self._opener(deadline)
        except BaseException:
            self._opening -= 1
            self._wake(None)
            raise
        self._opening -= 1
        if self._closed:
            channel.close()
            raise ClientStateError("the client was closed while this call connected")
        self._references.add(ref(channel, self._forget))
        return channel

    def release(self, Channel channel, /):
        if channel._fd < 0 or self._closed or channel._born != fork_count:
            self._drop(channel)
        elif not self._wake(channel):
            self._idle.append(channel)

    cdef int _drop(self, Channel channel) except -1:
        reference = ref(channel, self._forget)
        if reference in self._references:
            self._references.discard(reference)
            channel.close()
            self._wake(None)
        return 0

    def _gone(self, reference):
        """A channel ended without having been given back."""
        if reference in self._references:
            self._references.discard(reference)
            self._wake(None)

    cdef bint _withdraw(self, _Waiter waiter) except -1:
        """Leave the queue; False when there is nothing to leave, having been served."""
        try:
            self._waiters.remove(waiter)
        except ValueError:
            return False
        return True

    cdef int _wake(self, Channel channel) except -1:
        """Hand a channel, or leave to open one, to whoever waits longest; 0 if nobody does."""
        cdef _Waiter waiter
        if not self._waiters:
            return 0
        waiter = <_Waiter>self._waiters.popleft()
        waiter.channel = channel
        waiter.served = True
        if channel is None:
            self._opening += 1
        waiter.lock.release()
        return 1

    def channels(self):
        return [channel for one in list(self._references) if (channel := one()) is not None]

    def close(self):
        self._closed = True
        self._idle.clear()
        while self._waiters:
            (<_Waiter>self._waiters.popleft()).lock.release()
        for channel in self.channels():
            self._drop(channel)

    def abandon(self):
        for channel in self.channels():
            (<Channel>channel).abandon()
        self._references = set()
        self._idle = []
        self._waiters = deque()
        self._opening = 0
