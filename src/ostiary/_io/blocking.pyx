"""The blocking leaf: framed channels without an event loop. Twin of `aio`, same names.

Law: a channel whose call did not end with its own whole reply is closed, never used again.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t

from .._wire.framer cimport HEADER, read_u32
from .._wire.rpc cimport Method, Place, locate
from .._wire.slab cimport Slab, borrow, unpinned
from .sockets cimport hear_out, now, wait
from .stream cimport Stream

import threading
import time

from .._wire.framer import too_long
from .._wire.rpc import UnexpectedShape
from ..errors import DeadlineError, OstiaryError, ProtocolError, TransportError

Lock = threading.Lock
sleep = time.sleep
Done = None     # for annotations; see the .pyi


def run_slow(function, *arguments):
    return function(*arguments)


cdef class holding:
    # A class, and compiled: a signal handler that raises runs between two steps of Python,
    # and between acquiring a lock and the `try` that releases it there are some.
    cdef object _lock
    cdef double _deadline

    def __init__(self, lock, double deadline):
        self._lock = lock
        self._deadline = deadline

    def __enter__(self):
        cdef double left = self._deadline - now()
        if not self._lock.acquire(timeout=-1 if left > threading.TIMEOUT_MAX else max(left, 0.0)):
            raise DeadlineError("the call's time ran out while another call logged in")

    def __exit__(self, *exc_info):
        self._lock.release()


@cython.final
cdef class Channel(Stream):
    def __init__(self):
        raise TypeError("use connect()")

    def call(self, Method method not None, params, double deadline, /):
        cdef:
            int64_t id
            Place place
            bint whole = False
        self.enter()
        try:
            if method.session:
                params.session_id = self.session
            id = self._last_id + 1
            method.write(self._out, id, params, self._max_sent)
            self._last_id = id
            try:
                self.send(self._out.data, self._out.end, deadline)
                self._receive_frame(&place, deadline)
                if place.id != id:
                    raise ProtocolError(
                        f"a reply for call {place.id} arrived while call {id} waited; "
                        "the connection is closed",
                        sent=True,
                    )
                result = method.settle(self._slab, &place)
                whole = True
                return result
            except UnexpectedShape:
                whole = True
                raise
            except TransportError as error:
                error.sent = error.sent or self._sent
                raise
            except OstiaryError:
                whole = True    # the peer refused, in a whole reply
                raise
            finally:
                if not whole:
                    self._doomed = True
        finally:
            self.leave()

    obtain = call

    def call_many(self, Method method not None, params, double deadline, /):
        cdef:
            dict waiting = {}
            list results = [None] * len(params)
            Place place
            Py_ssize_t index, count, sent = 0, size
            const char *out
            bytes records
            bint whole = False
        self.enter()
        try:
            for index, one in enumerate(params):
                if method.session:
                    one.session_id = self.session
                method.write(self._out, self._last_id + 1, one, self._max_sent)
                self._last_id += 1
                waiting[self._last_id] = index
            out = self._out.data
            size = self._out.end
            if self._tls is not None:
                records = self._tls.encrypt(PyBytes_FromStringAndSize(out, size))
                out = PyBytes_AS_STRING(records)
                size = PyBytes_GET_SIZE(records)
            try:
                # Sending and receiving take turns: a peer that answers before it has read
                # everything would otherwise wait for us while we wait for it.
                while waiting:
                    while sent < size:
                        count = self.send_now(out + sent, size - sent)
                        sent += count
                        if count == 0:
                            break
                    if not self._frame(&place):
                        if self.receive_now(self._slab, deadline) == 0:
                            wait(self._fd, sent < size, True, deadline)
                        continue
                    found = waiting.pop(place.id, None)
                    if found is None:
                        raise ProtocolError(
                            f"a reply for call {place.id} arrived and no such call waits; "
                            "the connection is closed",
                            sent=True,
                        )
                    try:
                        results[found] = method.settle(self._slab, &place)
                    except UnexpectedShape as error:
                        results[found] = error
                    except TransportError:
                        raise
                    except OstiaryError as error:
                        results[found] = error
                whole = True
                return results
            except TransportError as error:
                error.sent = error.sent or self._sent
                raise
            finally:
                if not whole:
                    self._doomed = True
        finally:
            self.leave()

    def disown(self, Method method not None, results, /):
        if method.grants:
            self.close()    # and with it ends what hangs on the connection

    def send_only(self, Method method not None, params, /):
        self.enter()
        try:
            self._doomed = True
            for one in params:
                if method.session:
                    one.session_id = self.session
                method.write(self._out, self._last_id + 1, one, self._max_sent)
                self._last_id += 1
            self.send(self._out.data, self._out.end, now() + 0.2)
            hear_out(self._sock, self._fd)
        finally:
            self.leave()

    cdef int _receive_frame(self, Place *place, double deadline) except -1:
        """Wait for the next whole frame and locate the reply in it."""
        while not self._frame(place):
            self.receive(self._slab, deadline)
        return 0

    cdef bint _frame(self, Place *place) except -1:
        """Take a whole frame out of the slab; False when there is none, and room to receive."""
        cdef:
            Slab slab = self._slab
            Py_ssize_t have, size, at
        if slab is None:
            self._slab = borrow()
            return False
        have = slab.end - slab.start
        if have >= HEADER:
            size = read_u32(slab.data + slab.start)
            if size > self._max_accepted:
                raise too_long(size, self._max_accepted)
            if have - HEADER >= size:
                at = slab.start + HEADER
                slab.start = at + size
                locate(slab, at, size, place)
                return True
        if slab.pins:
            self._slab = unpinned(slab)
        return False


def connect(address, *, deadline, limits, ssl_context=None, expected_uid=None):
    cdef Channel channel = Channel.__new__(Channel)
    channel.establish(address, deadline, ssl_context, expected_uid)
    channel._max_sent = limits.frame_sent
    channel._max_accepted = limits.frame_accepted
    channel.session = ""
    return channel
