"""An event stream cut anywhere: lines to fields, fields to events."""


cdef struct Hold:
    char *data
    Py_ssize_t have     # bytes in it
    Py_ssize_t cap      # bytes allocated, never more than the limit it was filled under


cdef class Event:
    cdef:
        readonly str event
        readonly object data
        readonly str id
        readonly object retry


cdef class EventDecoder:
    cdef:
        Hold _line              # the start of a line whose end has not come yet
        Hold _data              # data lines whose blank line has not come yet, LF between them
        bint _has_data          # there is a data line, though it may be empty
        bint _begun             # the first line is past, and with it the place for a BOM
        bint _after_cr          # the last byte was a CR: an LF that comes now belongs to it
        bint _usable            # no feed failed, and none is running
        str _event              # of the event being read; None: no name came
        str _id                 # becomes `last_event_id` at the next blank line
        str _name               # the last event name, reused while it repeats
        object _event_retry     # of the event being read
        object _decode
        bytes _terminator
        tuple _failure          # class and message of the error that ended it
        readonly Py_ssize_t max_line
        readonly Py_ssize_t max_event
        readonly str last_event_id
        readonly object retry
        readonly Py_ssize_t comments
        readonly bint done

    # What `feed` does, for callers that have the bytes in a buffer of their own. Nothing
    # keeps a reference to `data`.
    cdef int take(self, const char *data, Py_ssize_t size, list into) except -1

    cdef int _read(self, const char *at, Py_ssize_t size, list into) except -1
    cdef const char *_past(self, const char *end, const char *stop) noexcept
    cdef int _field(self, const char *line, Py_ssize_t size) except -1
    cdef str _named(self, const char *name, Py_ssize_t size)
    cdef int _room(self, Py_ssize_t count) except -1
    cdef int _append(self, const char *value, Py_ssize_t size) except -1
    cdef int _blank(self, list into) except -1
    cdef int _dispatch(self, const char *data, Py_ssize_t size, list into) except -1
    cdef object _decoded(self, const char *data, Py_ssize_t size)
    cdef object _failed(self, type kind, str message)
