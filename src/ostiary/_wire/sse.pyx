"""Events out of a text/event-stream that may be cut anywhere, by the WHATWG grammar.

Law: a byte is looked at a fixed number of times, whatever the chunks. No I/O, no clock, no
reconnecting. Memory is bounded by the two limits. Neighbour: `rpc`, whose words for a value of
the wrong shape are used here too.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport int64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memchr, memcmp, memcpy

import msgspec

from ..errors import ClientStateError, InvalidArgumentError, ProtocolError, SizeLimitError
from .rpc import _shape

cdef extern from "Python.h":
    int PyObject_IS_GC(object)
    void PyObject_GC_UnTrack(PyObject *)
    const char *PyUnicode_AsUTF8AndSize(object, Py_ssize_t *) except NULL

cdef enum:
    LF = 10
    CR = 13
    SPACE = 32
    ZERO = 48
    COLON = 58
    HOLD_FROM = 512
    HOLD_KEPT = 64 * 1024

# Whole numbers up to here survive a float, and so any timer's arithmetic.
cdef int64_t RETRY_MOST = (1 << 53) - 1
cdef str MESSAGE = "message"
cdef object DecodeError = msgspec.DecodeError
cdef object ValidationError = msgspec.ValidationError


@cython.final
@cython.freelist(64)
cdef class Event:
    def __init__(self, str event not None="message", data="", str id not None="", retry=None):
        self.event = event
        self.data = data
        self.id = id
        self.retry = retry

    def __class_getitem__(cls, item):
        return cls

    def __repr__(self):
        return (
            f"Event(event={self.event!r}, data={self.data!r}, id={self.id!r}, "
            f"retry={self.retry!r})"
        )

    def __eq__(self, other):
        cdef Event that
        if type(other) is not Event:
            return NotImplemented
        that = <Event>other
        return (
            self.event == that.event
            and self.data == that.data
            and self.id == that.id
            and self.retry == that.retry
        )

    def __hash__(self):
        return hash((self.event, self.data, self.id, self.retry))

    def __reduce__(self):
        return Event, (self.event, self.data, self.id, self.retry)


cdef int add(Hold *hold, const char *data, Py_ssize_t count, Py_ssize_t limit) except -1:
    """Append to a hold. The caller has compared the sum with the limit."""
    cdef:
        Py_ssize_t need = hold.have + count
        Py_ssize_t cap
        char *held
    if need > hold.cap or hold.data is NULL:
        cap = max(need, min(max(hold.cap * 2, HOLD_FROM), limit))
        held = <char *>realloc(hold.data, cap)
        if held is NULL:
            raise MemoryError
        hold.data = held
        hold.cap = cap
    memcpy(hold.data + hold.have, data, count)
    hold.have = need
    return 0


cdef inline void clear(Hold *hold) noexcept:
    hold.have = 0
    if hold.cap > HOLD_KEPT:
        free(hold.data)
        hold.data = NULL
        hold.cap = 0


cdef inline const char *find(const char *at, const char *stop, int byte) noexcept:
    """Return where the byte comes next; `stop` when it does not."""
    cdef const char *found = <const char *>memchr(at, byte, stop - at)
    return stop if found is NULL else found


cdef inline str text(const char *data, Py_ssize_t size):
    # No sequence crosses a line's end, so decoding in parts gives what decoding the whole
    # stream would.
    return <str>PyUnicode_DecodeUTF8(data, size, b"replace")


cdef object milliseconds(const char *digits, Py_ssize_t size):
    """Read a reconnection time; None unless there are digits and nothing else."""
    cdef:
        int64_t total = 0
        Py_ssize_t at
    for at in range(size):
        if not ZERO <= digits[at] <= ZERO + 9:
            return None
        if total <= RETRY_MOST:
            total = total * 10 + (digits[at] - ZERO)
    return min(total, RETRY_MOST) if size else None


@cython.final
cdef class EventDecoder:
    def __cinit__(self):
        self._id = self.last_event_id = ""
        self._usable = True

    def __init__(
        self,
        Py_ssize_t max_line=1024 * 1024,
        Py_ssize_t max_event=8 * 1024 * 1024,
        *,
        decode=None,
        bytes terminator=None,
    ):
        if not 0 < max_line <= 0xFFFFFFFF or not 0 < max_event <= 0xFFFFFFFF:
            raise InvalidArgumentError("max_line and max_event must be between 1 and 2**32-1")
        if decode is not None and not callable(decode):
            raise InvalidArgumentError("decode must be callable with bytes, as Decoder.decode is")
        self.max_line = max_line
        self.max_event = max_event
        self._decode = decode
        self._terminator = terminator

    def __class_getitem__(cls, item):
        return cls

    def __dealloc__(self):
        free(self._line.data)
        free(self._data.data)

    @property
    def pending(self):
        return self._line.have + self._data.have

    def feed(self, data, list into=None):
        cdef Py_buffer buffer
        if into is None:
            into = []
        PyObject_GetBuffer(data, &buffer, PyBUF_SIMPLE)
        try:
            self.take(<const char *>buffer.buf, buffer.len, into)
        finally:
            PyBuffer_Release(&buffer)
        return into

    cdef int take(self, const char *data, Py_ssize_t size, list into) except -1:
        if not self._usable:
            if self._failure is not None:
                raise self._failed(self._failure[0], self._failure[1])
            raise ClientStateError(
                "this event stream cannot go on: a feed failed or is still running; open a new one"
            )
        # Whatever raises below, `decode` included, leaves it so; and `decode` cannot feed us.
        self._usable = False
        if size and not self.done:
            self._read(data, size, into)
        self._usable = True
        return 0

    cdef int _read(self, const char *at, Py_ssize_t size, list into) except -1:
        cdef:
            const char *stop = at + size
            const char *lf
            const char *cr
            const char *end
            const char *line
            Py_ssize_t count
        if self._after_cr:
            self._after_cr = False
            if at[0] == LF:
                at += 1
        # Where the next LF and the next CR are is remembered across lines: looking anew for
        # the one that is far away, at each line that the other ends, would be quadratic.
        lf = find(at, stop, LF)
        cr = find(at, stop, CR)
        while at < stop:
            if lf < at:
                lf = find(at, stop, LF)
            if cr < at:
                cr = find(at, stop, CR)
            end = lf if lf < cr else cr
            count = end - at
            if count > self.max_line - self._line.have:
                raise self._failed(
                    SizeLimitError,
                    f"a line of the event stream is longer than {self.max_line} bytes; "
                    "raise Limits.sse_line if the peer is trusted",
                )
            if end == stop:
                add(&self._line, at, count, self.max_line)
                break
            if self._line.have:
                add(&self._line, at, count, self.max_line)
                line = self._line.data
                count = self._line.have
            else:
                line = at
            at = self._past(end, stop)
            if not self._begun:
                # Taken off the whole line, so it does not matter where it was cut.
                self._begun = True
                if count >= 3 and memcmp(line, b"\xef\xbb\xbf", 3) == 0:
                    line += 3
                    count -= 3
            if count == 0:
                self._blank(into)
            elif (
                count >= 4
                and memcmp(line, b"data", 4) == 0
                and (count == 4 or line[4] == COLON)
            ):
                line += 5
                count = max(count - 5, 0)
                if count and line[0] == SPACE:
                    line += 1
                    count -= 1
                if self._has_data or at == stop or (at[0] != LF and at[0] != CR):
                    self._append(line, count)
                else:
                    # The usual event, one data line and the blank line behind it, is read
                    # where it lies.
                    at = self._past(at, stop)
                    self._room(count)
                    self._dispatch(line, count, into)
            else:
                self._field(line, count)
            if self._line.have:
                clear(&self._line)
            if self.done:
                break
        return 0

    cdef inline const char *_past(self, const char *end, const char *stop) noexcept:
        """Return what follows the line end at `end`."""
        if end[0] == CR:
            if end + 1 == stop:
                self._after_cr = True
            elif end[1] == LF:
                return end + 2
        return end + 1

    cdef int _field(self, const char *line, Py_ssize_t size) except -1:
        """Take a line that is neither blank nor data."""
        cdef:
            const char *colon = <const char *>memchr(line, COLON, size)
            const char *value
            Py_ssize_t name = size if colon is NULL else colon - line
            Py_ssize_t count = 0 if colon is NULL else size - name - 1
        if name == 0:
            self.comments += 1
            return 0
        # Only read when `count` says that something is there.
        value = line + name + 1
        if count and value[0] == SPACE:
            value += 1
            count -= 1
        if name == 5 and memcmp(line, b"event", 5) == 0:
            self._event = self._named(value, count) if count else None
        elif name == 2 and memcmp(line, b"id", 2) == 0:
            if count == 0:
                self._id = ""
            elif memchr(value, 0, count) is NULL:
                self._id = text(value, count)
        elif name == 5 and memcmp(line, b"retry", 5) == 0:
            retry = milliseconds(value, count)
            if retry is not None:
                self.retry = self._event_retry = retry
        return 0

    cdef str _named(self, const char *name, Py_ssize_t size):
        """Return an event name as text: the same object for as long as it repeats."""
        cdef:
            const char *last
            Py_ssize_t last_size
        if self._name is not None:
            last = PyUnicode_AsUTF8AndSize(self._name, &last_size)
            if last_size == size and memcmp(last, name, size) == 0:
                return self._name
        self._name = text(name, size)
        return self._name

    cdef int _room(self, Py_ssize_t count) except -1:
        """Refuse an event whose data would be longer than allowed with that many bytes more."""
        if count > self.max_event - self._data.have:
            raise self._failed(
                SizeLimitError,
                f"the data of an event is longer than {self.max_event} bytes; "
                "raise Limits.sse_event if the peer is trusted",
            )
        return 0

    cdef int _append(self, const char *value, Py_ssize_t size) except -1:
        if self._has_data:
            self._room(size + 1)
            add(&self._data, b"\n", 1, self.max_event)
        else:
            self._room(size)
            self._has_data = True
        add(&self._data, value, size, self.max_event)
        return 0

    cdef int _blank(self, list into) except -1:
        if self._has_data:
            self._dispatch(self._data.data, self._data.have, into)
            self._has_data = False
            clear(&self._data)
        else:
            self.last_event_id = self._id
            self._event = None
            self._event_retry = None
        return 0

    cdef int _dispatch(self, const char *data, Py_ssize_t size, list into) except -1:
        cdef Event event
        self.last_event_id = self._id
        if (
            self._terminator is not None
            and size == PyBytes_GET_SIZE(self._terminator)
            and memcmp(data, PyBytes_AS_STRING(self._terminator), size) == 0
        ):
            self.done = True
            return 0
        event = Event.__new__(Event)
        event.event = MESSAGE if self._event is None else self._event
        event.id = self._id
        event.retry = self._event_retry
        self._event = None
        self._event_retry = None
        if self._decode is None:
            event.data = text(data, size)
        else:
            event.data = self._decoded(data, size)
        # Only its data can put an event into a cycle. Tracking those that have plain data
        # would make each collection walk every event that is kept.
        if not PyObject_IS_GC(event.data):
            PyObject_GC_UnTrack(<PyObject *>event)
        into.append(event)
        return 0

    cdef object _decoded(self, const char *data, Py_ssize_t size):
        # Always a copy. What a decoder keeps of it (a msgspec.Raw does) outlives the caller's
        # buffer, and up to some KiB a view costs more than the copy does.
        cdef:
            bytes payload = PyBytes_FromStringAndSize(data, size)
            str problem = None
        try:
            return self._decode(payload)
        except ValidationError as error:
            problem = _shape(str(error))
        except (DecodeError, UnicodeDecodeError, RecursionError) as error:
            problem = type(error).__name__
        # Raised outside the handlers: their exceptions may hold the bytes they failed on.
        raise self._failed(
            ProtocolError,
            f"the data of an event cannot be read ({problem}); the stream is closed",
        )

    cdef object _failed(self, type kind, str message):
        """Make the error that ends this stream, and keep what it takes to repeat it."""
        self._failure = (kind, message)
        return kind(message, sent=True)
