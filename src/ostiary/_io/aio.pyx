"""The asyncio leaf: one framed channel carries many calls, matched by id. Twin of `blocking`.

Law: a reply settles the call whose id it carries or nothing; a reply to no call closes the
channel; a call that was cancelled or timed out leaves its id behind until the late reply
has been thrown away.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.errno cimport EAGAIN, EINTR, errno
from libc.math cimport INFINITY
from libc.stdint cimport int64_t
from libc.string cimport memcpy

from .._wire.framer cimport HEADER, read_u32
from .._wire.outbox cimport Outbox
from .._wire.rpc cimport Method, Place, locate
from .._wire.slab cimport Slab, borrow, give_back, unpinned
from .sockets cimport fork_count, hear_out, lost, now, say_farewell, sys_recv, sys_send

from collections.abc import Coroutine
from types import CoroutineType

from .._wire.framer import too_long
from .._wire.rpc import UnexpectedShape
from ..errors import (
    ClientStateError,
    ConnectionLostError,
    DeadlineError,
    OstiaryError,
    ProtocolError,
    TransportError,
)
from .aio_connect import establish
from .sockets import seconds_left

Done = None     # for annotations; see the .pyi

cdef enum:
    READ_BYTES = 16 * 1024
    # Bounds on what piles up when the peer stops reading or answering.
    MAX_PENDING = 65536
    MAX_QUEUED = 64 * 1024 * 1024

# Deadlines are checked together, at most this often.
cdef double SWEEP_EVERY = 0.005

cdef object get_running_loop = None


cdef object _asyncio():
    """Import asyncio with the first asynchronous client: it costs 30 ms."""
    global get_running_loop
    import asyncio

    get_running_loop = asyncio.get_running_loop
    return asyncio


def AsyncLock():
    return _asyncio().Lock()


async def async_sleep(seconds):
    await _asyncio().sleep(seconds)


def _seen(future):
    """Look at a result that nobody waits for, so that asyncio need not report it."""
    if not future.cancelled():
        future.exception()


@cython.final
@cython.freelist(256)
cdef class _Pending:
    pass


@cython.final
cdef class AsyncChannel:
    def __init__(self):
        raise TypeError("use connect()")

    @property
    def closed(self):
        return self._fd < 0

    @property
    def pending(self):
        return len(self._pending)

    def call(self, Method method not None, params, double deadline, /):
        cdef:
            int64_t id
            Py_ssize_t size
            _Pending pending
        if self._fd < 0 or self._born != fork_count:
            raise ConnectionLostError("the connection is closed; open another")
        if len(self._pending) >= MAX_PENDING:
            raise self._overloaded()
        if self._out.held() + self._records.held() > MAX_QUEUED:
            raise self._overloaded()
        if method.session:
            params.session_id = self.session
        id = self._last_id + 1
        size = method.write(self._out, id, params, self._max_sent)
        self._last_id = id
        pending = _Pending.__new__(_Pending)
        pending.future = future = self._create_future()
        pending.method = method
        pending.deadline = deadline
        pending.position = self._queued
        self._pending[id] = pending
        self._queued += size
        if not self._flush_scheduled:
            self._flush_scheduled = True
            self._loop.call_soon(self._flush_call)
        if deadline < self._next_sweep:
            self._arm(deadline)
        return future

    def _overloaded(self):
        """Return the error for a call that would pile up behind others without end."""
        cdef _Pending oldest
        waiting = len(self._pending)
        for oldest in self._pending.values():
            if oldest.future.done():
                # Nobody even waits for that reply any more, and it has not come. A new
                # connection is the only way on.
                self._fail(ConnectionLostError("the peer leaves calls unanswered"))
                return ConnectionLostError(
                    f"the peer leaves {waiting} calls unanswered; the connection is closed"
                )
            break
        return TransportError(
            f"the peer is not keeping up: {waiting} calls wait for replies; send less at a time"
        )

    async def obtain(self, Method method not None, params, double deadline, /):
        future = self.call(method, params, deadline)
        try:
            return await future
        except BaseException:
            # Cancelled in the very turn in which the reply came: the result reaches nobody.
            self._hand_back(future)
            raise

    async def call_many(self, Method method not None, params, double deadline, /):
        futures = []
        results = []
        queued = self._out.held()
        try:
            for one in params:
                futures.append(self.call(method, one, deadline))
        except BaseException:
            # All or nothing: what was queued for the first ones is taken back unsent. There
            # is nothing to take back when the channel closed over it.
            if self._fd >= 0:
                self._last_id -= len(futures)
                for position in range(len(futures)):
                    del self._pending[self._last_id + 1 + position]
                self._queued -= self._out.held() - queued
                self._out.end = self._out.start + queued
            for future in futures:
                if future.done():
                    _seen(future)
            raise
        try:
            for future in futures:
                try:
                    results.append(await future)
                except UnexpectedShape as error:
                    results.append(error)
                except TransportError:
                    raise
                except OstiaryError as error:
                    results.append(error)
        except BaseException:
            for future in futures:
                if future.done():
                    if method.grants:
                        self._hand_back(future)
                    elif not future.cancelled():
                        future.exception()      # seen: asyncio need not report it
                else:
                    future.cancel()
            raise
        return results

    def post(self, Method method not None, params, double deadline, /):
        self.call(method, params, deadline).add_done_callback(_seen)

    def disown(self, Method method not None, results, /):
        if method.grants and self.on_orphan is not None and self._fd >= 0:
            for one in results:
                if not isinstance(one, OstiaryError):
                    self._loop.call_soon(self.on_orphan, self, one)

    def _hand_back(self, future):
        """Offer the result of a settled future to `on_orphan`, in a turn of its own."""
        if future.done() and not future.cancelled() and future.exception() is None:
            if self.on_orphan is not None and self._fd >= 0:
                self._loop.call_soon(self.on_orphan, self, future.result())

    def send_only(self, Method method not None, params, /):
        """Needs no running loop, which at the end of a process there is none of.

        The replies are to no call, so the channel is good for nothing afterwards.
        """
        if self._fd < 0 or self._born != fork_count:
            return
        for one in params:
            if method.session:
                one.session_id = self.session
            self._queued += method.write(self._out, self._last_id + 1, one, self._max_sent)
            self._last_id += 1
        self._send_out()
        hear_out(self._sock, self._fd)

    def _flush(self):
        self._flush_scheduled = False
        if self._fd < 0:
            return
        try:
            self._send_out()
        except OstiaryError as error:
            self._fail(error)

    cdef int _send_out(self) except -1:
        cdef:
            bytes records
            Outbox box = self._out
        if self._tls is not None:
            if box.end > box.start:
                records = self._tls.encrypt(
                    PyBytes_FromStringAndSize(box.data + box.start, box.end - box.start)
                )
                self._flushed += box.end - box.start
                box.clear()
                self._records.append(records)
            self._write(self._records)
        else:
            self._write(box)
        return 0

    cdef int _write(self, Outbox box) except -1:
        """Send what the kernel takes; have the loop call again for the rest."""
        cdef ssize_t count
        while box.start < box.end:
            count = sys_send(self._fd, box.data + box.start, box.end - box.start)
            if count >= 0:
                box.start += count
                if box is self._out:
                    self._flushed += count
            elif errno == EAGAIN:
                if not self._writer_added and not self._loop.is_closed():
                    self._writer_added = True
                    self._loop.add_writer(self._fd, self._flush_call)
                return 0
            elif errno != EINTR:
                raise lost("sending a request", errno, True)
        box.clear()
        if self._writer_added:
            self._writer_added = False
            self._loop.remove_writer(self._fd)
        return 0

    def _readable(self):
        cdef:
            Slab slab = self._slab
            ssize_t count
            char raw[READ_BYTES]
            bytes plain, records
        if self._fd < 0:
            return
        if slab is None:
            slab = self._slab = borrow()
        elif slab.pins:
            slab = self._slab = unpinned(slab)
        try:
            if self._tls is None:
                if slab.cap == slab.end:
                    slab.reserve(READ_BYTES)
                count = sys_recv(self._fd, slab.data + slab.end, slab.cap - slab.end)
            else:
                count = sys_recv(self._fd, raw, READ_BYTES)
            if count < 0:
                if errno == EAGAIN or errno == EINTR:
                    return
                raise lost("waiting for a reply", errno, True)
            if count == 0:
                raise lost("waiting for a reply", 0, True)
            if self._tls is None:
                slab.grew(count)
            else:
                plain = self._tls.decrypt(PyBytes_FromStringAndSize(raw, count))
                records = self._tls.reply()
                if records:
                    self._records.append(records)
                    self._write(self._records)
                slab.reserve(PyBytes_GET_SIZE(plain))
                memcpy(slab.data + slab.end, PyBytes_AS_STRING(plain), PyBytes_GET_SIZE(plain))
                slab.grew(PyBytes_GET_SIZE(plain))
            self._take_frames()
            if self._tls is not None and self._tls.closed:
                raise lost("waiting for a reply", 0, True)
        except OstiaryError as error:
            self._fail(error)
        except BaseException:
            # Not a peer's doing. Still nobody may be left to wait for a reply that was read.
            self._fail(ProtocolError("a reply could not be handled; the connection is closed"))
            raise

    cdef int _take_frames(self) except -1:
        """Deliver every whole frame; keep the slab only while part of one is left."""
        cdef:
            Slab slab = self._slab
            Py_ssize_t have, size, at
            Place place
        while self._fd >= 0:
            have = slab.end - slab.start
            if have < HEADER:
                break
            size = read_u32(slab.data + slab.start)
            if size > self._max_accepted:
                raise too_long(size, self._max_accepted)
            if have - HEADER < size:
                break
            at = slab.start + HEADER
            slab.start = at + size
            locate(slab, at, size, &place)
            self._deliver(slab, &place)
        if self._slab is slab and slab.start == slab.end:
            self._slab = None
            give_back(slab)
        return 0

    cdef int _deliver(self, Slab slab, Place *place) except -1:
        cdef:
            int64_t id = place.id
            _Pending pending
            object future
        found = self._pending.pop(id, None)
        if found is None:
            raise ProtocolError(
                f"a reply for call {id} arrived and no such call waits; the connection is closed",
                sent=True,
            )
        pending = <_Pending>found
        future = pending.future
        if future.done():
            # Cancelled or timed out. Nobody takes the result, but a grant has to go back.
            if pending.method.grants and self.on_orphan is not None:
                try:
                    result = pending.method.settle(slab, place)
                except OstiaryError:
                    return 0
                self._loop.call_soon(self.on_orphan, self, result)
            return 0
        try:
            result = pending.method.settle(slab, place)
        except UnexpectedShape as error:
            future.set_exception(error)
        except OstiaryError as error:
            if isinstance(error, TransportError):
                self._pending[id] = pending     # to fail with all the others
                raise
            future.set_exception(error)
        except BaseException:
            self._pending[id] = pending
            raise
        else:
            future.set_result(result)
        return 0

    cdef int _arm(self, double deadline) except -1:
        cdef double at = now()
        if self._timer is not None:
            self._timer.cancel()
        self._next_sweep = max(deadline, at + SWEEP_EVERY)
        self._timer = self._loop.call_later(self._next_sweep - at, self._sweep_call)
        return 0

    def _sweep(self):
        """Time out every call whose deadline has passed; their late replies are thrown away."""
        cdef:
            double at = now()
            double soonest = INFINITY
            _Pending pending
        self._timer = None
        self._next_sweep = INFINITY
        for pending in self._pending.values():
            if pending.future.done():
                continue
            if pending.deadline <= at:
                pending.future.set_exception(
                    DeadlineError(
                        "the call's time ran out while it waited for the reply",
                        sent=pending.position < self._flushed,
                    )
                )
            elif pending.deadline < soonest:
                soonest = pending.deadline
        if soonest < INFINITY:
            self._arm(soonest)

    cdef int _fail(self, error) except -1:
        """Close, and end every waiting call with an error of its own."""
        cdef:
            _Pending pending
            dict waiting = self._pending
        if self._fd < 0:
            return 0
        if not self._loop.is_closed():
            self._loop.remove_reader(self._fd)
            if self._writer_added:
                self._loop.remove_writer(self._fd)
        say_farewell(self._tls, self._sock)
        self._fd = -1
        self._sock.close()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._slab is not None:
            give_back(self._slab)
            self._slab = None
        self._pending = {}
        self.on_orphan = None
        if self._loop.is_closed():
            return 0
        for pending in waiting.values():
            if not pending.future.done():
                pending.future.set_exception(
                    type(error)(error.message, sent=pending.position < self._flushed)
                )
        return 0

    def usable(self):
        """Whether a call may be made on it now; ClientStateError from a second running loop."""
        if self._fd < 0 or self._born != fork_count:
            return False
        if get_running_loop() is self._loop:
            return True
        if self._loop.is_running():
            raise another_loop()
        # That loop has ended, and nobody will ever read this connection again.
        self._fail(ConnectionLostError("its event loop has ended"))
        return False

    def close(self):
        if self._born == fork_count and self._fd >= 0:
            # Releases queued in this turn of the loop have not left yet.
            try:
                self._send_out()
            except OstiaryError:
                pass
            self._fail(ConnectionLostError("the connection was closed by this client"))

    def abandon(self):
        # Neither the loop nor its selector may be touched: the parent shares the latter.
        if self._fd >= 0:
            self._fd = -1
            self._sock.close()
            self._pending = {}


cdef object another_loop():
    return ClientStateError(
        "this client is connected on another running event loop; make one client per loop"
    )


async def connect(address, *, double deadline, limits, ssl_context=None, expected_uid=None):
    cdef AsyncChannel channel = AsyncChannel.__new__(AsyncChannel)
    _asyncio()
    loop = get_running_loop()
    channel._fd = -1
    sock, tls = await establish(address, deadline, ssl_context, expected_uid)
    channel._loop = loop
    channel._create_future = loop.create_future
    channel._sock = sock
    channel._tls = tls
    channel._born = fork_count
    channel._out = Outbox()
    channel._records = Outbox()
    channel._pending = {}
    channel._max_sent = limits.frame_sent
    channel._max_accepted = limits.frame_accepted
    channel._next_sweep = INFINITY
    channel._flush_call = channel._flush
    channel._sweep_call = channel._sweep
    channel.session = ""
    channel._fd = sock.fileno()
    loop.add_reader(channel._fd, channel._readable)
    return channel


class holding:
    def __init__(self, lock, deadline):
        self._lock = lock
        self._deadline = deadline

    async def __aenter__(self):
        left = seconds_left(self._deadline)
        try:
            async with _asyncio().timeout(None if left == INFINITY else left):
                await self._lock.acquire()
            return
        except TimeoutError:
            pass
        raise DeadlineError("the call's time ran out while another call logged in")

    async def __aexit__(self, *exc_info):
        self._lock.release()


async def run_slow(function, *arguments):
    return await _asyncio().to_thread(function, *arguments)


cdef class _Begun:
    """The rest of a coroutine that was begun and waits for `first`."""

    cdef:
        object coroutine
        object first

    def __await__(self):
        waits = self.first
        while True:
            try:
                came = yield waits
            except GeneratorExit:
                self.coroutine.close()
                raise
            except BaseException as error:
                try:
                    waits = self.coroutine.throw(error)
                except StopIteration as done:
                    return done.value
            else:
                try:
                    waits = self.coroutine.send(came)
                except StopIteration as done:
                    return done.value


async def within(awaitable, double deadline):
    cdef _Begun begun
    if type(awaitable) is CoroutineType or isinstance(awaitable, Coroutine):
        # Most coroutines have their answer at hand. Only one that waits gets a timer, which
        # costs more than all else that is done for an attempt.
        try:
            first = awaitable.send(None)
        except StopIteration as done:
            return done.value
        begun = _Begun.__new__(_Begun)
        begun.coroutine = awaitable
        begun.first = first
        awaitable = begun
    left = max(deadline - now(), 0.0)
    try:
        async with _asyncio().timeout(None if left == INFINITY else left) as limit:
            return await awaitable
    except TimeoutError:
        if not limit.expired():
            raise
    raise DeadlineError("the call's time ran out before anything was sent")
