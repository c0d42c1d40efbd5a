"""The heads of HTTP/1.1 requests, in which nothing of a caller can end a line.

Refuses what is the connection's own to say, framing above all. Neighbours: `target` makes
the targets, `http1` reads the answers.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.stdint cimport uint8_t
from libc.string cimport memcpy

from .headers cimport TOKEN
from .outbox cimport Outbox

from ..errors import InvalidArgumentError, SecretExposureError

cdef enum:
    LENGTH_DIGITS = 20

# They belong to the connection or to its framing, which this room alone decides.
OURS = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
cdef frozenset _ours = OURS
# With these an empty body is a body: RFC 9110, section 8.6.
cdef frozenset _with_body = frozenset({"POST", "PUT", "PATCH"})

# Byte -> whether it may stand in a host and port.
cdef uint8_t HOST[256]
cdef int _byte
for _byte in range(256):
    HOST[_byte] = 0
for _byte in (
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
    b"-._~!$&'()*+,;=:%[]"
):
    HOST[_byte] = 1


def method_token(str method not None):
    """Return a request method as bytes, or say what is wrong with it."""
    cdef bytes name = method.encode("ascii", "replace")
    cdef Py_ssize_t at
    for at in range(PyBytes_GET_SIZE(name)):
        if TOKEN[<uint8_t>PyBytes_AS_STRING(name)[at]] == 0:
            break
    else:
        if name and name.upper() != b"CONNECT":
            return name
    raise InvalidArgumentError(
        f"{method!r} cannot be a request's method: it is empty, not a token, or opens a tunnel"
    )


@cython.final
cdef class RequestHead:
    def __init__(self, str method not None, str host not None, headers=()):
        cdef Outbox box = Outbox()
        self.verb = method_token(method)
        self.method = method
        self.host = host
        if not host or not _all(host, HOST):
            raise InvalidArgumentError(f"{host!r} cannot be a request's host")
        self._says_length = method in _with_body
        self._before = self.verb + b" "
        box.append(b" HTTP/1.1\r\nHost: " + host.encode() + b"\r\n")
        _append_headers(box, headers)
        self._after = box.data[:box.end]

    cdef int write(self, Outbox box, bytes target, Py_ssize_t body_size, object extra) except -1:
        """Append a head; a negative size means no body. Nothing is appended on an error.

        `extra` are headers of this request alone, or None.
        """
        cdef:
            const char *text = PyBytes_AS_STRING(target)
            Py_ssize_t size = PyBytes_GET_SIZE(target)
            Py_ssize_t before = PyBytes_GET_SIZE(self._before)
            Py_ssize_t after = PyBytes_GET_SIZE(self._after)
            Py_ssize_t start = box.end - box.start
            Py_ssize_t index
            char *out
        if size == 0 or text[0] != b'/':
            raise InvalidArgumentError("a request's target begins with '/'")
        for index in range(size):
            if not 0x21 <= <uint8_t>text[index] <= 0x7E or text[index] == b'#':
                raise InvalidArgumentError(
                    "a request's target holds a character that has to be percent-encoded"
                )
        box.reserve(before + size + after)
        out = box.data + box.end
        memcpy(out, PyBytes_AS_STRING(self._before), before)
        memcpy(out + before, text, size)
        memcpy(out + before + size, PyBytes_AS_STRING(self._after), after)
        box.end += before + size + after
        if extra is not None:
            try:
                _append_headers(box, extra)
            except BaseException:
                box.end = box.start + start
                raise
        _append_end(box, 0 if body_size < 0 and self._says_length else body_size)
        return 0

    def render(self, bytes target not None, body=None, extra=None):
        cdef Outbox box = Outbox()
        self.write(box, target, -1 if body is None else len(body), extra)
        if body:
            box.append(bytes(body))
        return box.data[:box.end]

    def __reduce__(self):
        raise SecretExposureError("a request head may hold credentials and is not pickled")

    def __repr__(self):
        # Its headers may hold credentials.
        return f"RequestHead({self.method!r}, {self.host!r})"


cdef int _append_end(Outbox box, Py_ssize_t length) except -1:
    """Append Content-Length, unless it is negative, and the empty line."""
    cdef:
        char digits[LENGTH_DIGITS]
        int at = LENGTH_DIGITS
        char *out
    box.reserve(16 + LENGTH_DIGITS + 4)
    out = box.data + box.end
    if length >= 0:
        while True:
            at -= 1
            digits[at] = <char>(48 + length % 10)
            length //= 10
            if length == 0:
                break
        memcpy(out, b"Content-Length: ", 16)
        memcpy(out + 16, digits + at, LENGTH_DIGITS - at)
        memcpy(out + 16 + LENGTH_DIGITS - at, b"\r\n", 2)
        out += 18 + LENGTH_DIGITS - at
    memcpy(out, b"\r\n", 2)
    box.end = out + 2 - box.data
    return 0


cdef bint _all(str text, const uint8_t *allowed) except -1:
    cdef:
        Py_ssize_t size, index
        const char *data
    if not text.isascii():
        return False
    data = PyUnicode_AsUTF8AndSize(text, &size)
    for index in range(size):
        if not allowed[<uint8_t>data[index]]:
            return False
    return True


cdef int _append_headers(Outbox box, object headers) except -1:
    cdef:
        Py_ssize_t name_size, value_size, index
        const char *name_text
        const char *value_text
        char *out
        bint clean
    for name, value in headers.items() if hasattr(headers, "items") else headers:
        if not isinstance(name, str) or not name or not _all(name, TOKEN):
            # Not repeated: with the pair the wrong way round this is the value.
            raise InvalidArgumentError("a header's name is not a token")
        if (<str>name).lower() in _ours:
            raise InvalidArgumentError(
                f"the header {name} is not the caller's to give: it belongs to the connection"
            )
        clean = isinstance(value, str) and (<str>value).isascii()
        if clean:
            value_text = PyUnicode_AsUTF8AndSize(value, &value_size)
            for index in range(value_size):
                if not (0x20 <= value_text[index] <= 0x7E or value_text[index] == b'\t'):
                    clean = False
                    break
            if value_size and (_blank(value_text[0]) or _blank(value_text[value_size - 1])):
                clean = False
        if not clean:
            raise InvalidArgumentError(
                f"the value of header {name} has to be a str of printable ASCII with no "
                "space at its ends and no line end"
            )
        name_text = PyUnicode_AsUTF8AndSize(name, &name_size)
        box.reserve(name_size + value_size + 4)
        out = box.data + box.end
        memcpy(out, name_text, name_size)
        memcpy(out + name_size, b": ", 2)
        memcpy(out + name_size + 2, value_text, value_size)
        memcpy(out + name_size + 2 + value_size, b"\r\n", 2)
        box.end += name_size + value_size + 4
    return 0


cdef inline bint _blank(char byte) noexcept nogil:
    return byte == b' ' or byte == b'\t'
