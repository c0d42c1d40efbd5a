"""Requests and replies as typed envelopes; the id of every reply is checked here.

No I/O and no table of pending calls: the channels in `_io` own those.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memcmp, memcpy

from .framer cimport HEADER, write_u32
from .outbox cimport Outbox
from .slab cimport Slab, payload

from typing import Any, Generic, TypeVar

import msgspec

from .._decoders import decoder_of
from ..errors import APIError, InvalidArgumentError, ProtocolError

cdef enum:
    ID_DIGITS = 20

_T = TypeVar("_T")
cdef object UNSET = msgspec.UNSET
cdef object DecodeError = msgspec.DecodeError
cdef object ValidationError = msgspec.ValidationError
cdef object encode = msgspec.json.Encoder().encode
cdef object decode_any = msgspec.json.Decoder().decode


class Reply(msgspec.Struct, Generic[_T], gc=False):
    """The reply envelope. `jsonrpc` and anything else a peer adds is passed over."""

    id: int
    result: _T | msgspec.UnsetType = msgspec.UNSET
    error: Any = None


def refused(body):
    """Turn an error member into an `APIError`; for peers that have no errors of their own."""
    if isinstance(body, dict):
        code = body.get("code")
        return APIError(
            str(body.get("message") or "the peer refused"), code=None if code is None else str(code)
        )
    return APIError(str(body))


cdef bytes _encoded(Method method, object params):
    cdef str problem = None
    try:
        return <bytes>encode(params)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        # A UnicodeEncodeError's text shows what it failed on, so only its name is told.
        problem = type(error).__name__ if isinstance(error, UnicodeError) else str(error)
    raise InvalidArgumentError(
        f"the params of {method.name} cannot be sent as JSON: {problem}; nothing was sent"
    )


@cython.final
cdef class Method:
    def __init__(
        self,
        str name not None,
        result,
        *,
        bint repeatable=False,
        bint session=False,
        bint grants=False,
        fail=refused,
    ):
        self.name = name
        self.repeatable = repeatable
        self.session = session
        self.grants = grants
        self._head = b',"method":' + encode(name) + b',"params":'
        self._decode = decoder_of(Reply[result]).decode
        self._decode_result = decoder_of(result).decode
        self._fail = fail

    def __class_getitem__(cls, item):
        return cls

    def __repr__(self):
        return f"Method({self.name!r})"

    cdef Py_ssize_t write(
        self, Outbox box, int64_t id, object params, Py_ssize_t limit
    ) except -1:
        """Append one request behind its length; return how many bytes that took.

        Nothing is appended when the frame would be longer than `limit`.
        """
        cdef:
            bytes body = _encoded(self, params)
            Py_ssize_t body_size = PyBytes_GET_SIZE(body)
            Py_ssize_t head_size = PyBytes_GET_SIZE(self._head)
            Py_ssize_t size
            char digits[ID_DIGITS]
            int at = ID_DIGITS
            char *out
        while True:
            at -= 1
            digits[at] = <char>(48 + id % 10)
            id = id // 10
            if id == 0:
                break
        size = 6 + (ID_DIGITS - at) + head_size + body_size + 1
        if size > limit:
            raise InvalidArgumentError(
                f"the {self.name} request has {size} bytes and the limit is {limit}; "
                "send less, or raise Limits.frame_sent if the peer accepts more"
            )
        box.reserve(HEADER + size)
        out = box.data + box.end
        write_u32(out, <uint32_t>size)
        out += HEADER
        memcpy(out, b'{"id":', 6)
        out += 6
        memcpy(out, digits + at, ID_DIGITS - at)
        out += ID_DIGITS - at
        memcpy(out, PyBytes_AS_STRING(self._head), head_size)
        out += head_size
        memcpy(out, PyBytes_AS_STRING(body), body_size)
        out[body_size] = b'}'
        box.end += HEADER + size
        return HEADER + size

    cdef object settle(self, Slab slab, Place *place):
        """Decode a located reply; return the result or raise what it says.

        In the common form the result is decoded alone, where it lies. Anything else in the
        envelope, before or behind it, makes that fail, and then the envelope is read whole.
        """
        if place.result:
            try:
                return self._decode_result(
                    payload(slab, place.at + place.result, place.size - place.result - 1)
                )
            except (DecodeError, UnicodeDecodeError, RecursionError):
                pass
        return self.settle_envelope(payload(slab, place.at, place.size), place.id)

    cdef object settle_envelope(self, object envelope, int64_t id):
        """Decode a whole envelope whose id was read as `id`.

        UnexpectedShape concerns this reply alone. Any other ProtocolError means that the
        stream cannot be trusted any more, and the caller closes it.
        """
        cdef str problem = None
        cdef bint readable = False
        try:
            reply = self._decode(envelope)
        except ValidationError as error:
            # Well-formed JSON of another shape. msgspec names the place and the types.
            problem = _shape(str(error))
            readable = True
        except (DecodeError, UnicodeDecodeError, RecursionError) as error:
            problem = type(error).__name__
        # Raised outside the handlers: their exceptions may hold the bytes they failed on.
        if problem is not None:
            if readable and _slow_id(envelope) == id:
                raise UnexpectedShape(
                    f"the reply to {self.name} is not what the protocol promises: {problem}",
                    sent=True,
                )
            raise ProtocolError(
                f"the reply to {self.name} cannot be read ({problem}); the connection is closed",
                sent=True,
            )
        if reply.id != id:      # as objects: a second id may be of any size
            raise ProtocolError("a reply carries two ids; the connection is closed", sent=True)
        if reply.error is not None:
            raise self._fail(reply.error)
        if reply.result is UNSET:
            raise UnexpectedShape(
                f"the reply to {self.name} has neither result nor error", sent=True
            )
        return reply.result


def _shape(str text not None):
    """Keep of msgspec's text only what names types and places, never what was received."""
    if text.startswith(("Expected `", "Object missing required field ")):
        return text
    _, mark, place = text.rpartition(" - at ")
    return f"unexpected value at {place}" if mark else "unexpected value"


class UnexpectedShape(ProtocolError):
    """One reply has the wrong shape; the frames around it are still in step."""


cdef int locate(Slab slab, Py_ssize_t at, Py_ssize_t size, Place *place) except -1:
    """Find the id of a reply, and its result when the envelope has the common form."""
    place.at = at
    place.size = size
    place.result = 0
    place.id = _scan(slab.data + at, size, &place.result)
    if place.id < 0:
        place.id = _slow_id(payload(slab, at, size))
    return 0


cdef int64_t _scan(const char *data, Py_ssize_t size, Py_ssize_t *result) noexcept:
    """Read the id of an envelope that begins with it; -1 when it does not.

    Every server seen puts `id` first, or right after `jsonrpc`. Finding it here tells which
    call a reply is for before the reply is decoded as that call's type. When `result` is
    next and a brace ends the envelope, all between is offered as the result: whether it is
    one value and nothing else, its decoder will say.
    """
    cdef:
        Py_ssize_t at = 1
        int64_t id = 0
        Py_ssize_t first
    if size < 8 or data[0] != b'{':
        return -1
    if size > 24 and memcmp(data + 1, b'"jsonrpc":', 10) == 0:
        at = 11
        if data[at] == b' ':
            at += 1
        if memcmp(data + at, b'"2.0",', 6) != 0:
            return -1
        at += 6
        if data[at] == b' ':
            at += 1
    if size - at < 7 or memcmp(data + at, b'"id":', 5) != 0:
        return -1
    at += 5
    if data[at] == b' ':
        at += 1
    first = at
    while at < size and 48 <= data[at] <= 57:
        id = id * 10 + (data[at] - 48)
        at += 1
        if at - first > 18:
            return -1
    if at == first or at >= size or (data[at] != b',' and data[at] != b'}'):
        return -1
    if data[first] == b'0' and at - first > 1:
        return -1
    if data[at] == b',' and size - at > 12 and data[size - 1] == b'}':
        at += 1
        if data[at] == b' ':
            at += 1
        if memcmp(data + at, b'"result":', 9) == 0:
            result[0] = at + 9
    return id


cdef int64_t _slow_id(object data) except -1:
    """Read the id wherever it stands."""
    cdef str problem = None
    try:
        reply = decode_any(data)
    except (DecodeError, UnicodeDecodeError, RecursionError) as error:
        problem = type(error).__name__
    if problem is not None:
        raise ProtocolError(
            f"a reply is not JSON ({problem}); the connection is closed", sent=True
        )
    id = reply.get("id") if type(reply) is dict else None
    if type(id) is not int or not 0 <= id < 1 << 62:
        raise ProtocolError("a reply has no id of ours; the connection is closed", sent=True)
    return id


def add_request(Method method not None, id, params, limit):
    """Return one framed request; what the channels do, for tests and benchmarks."""
    cdef Outbox box = Outbox()
    method.write(box, id, params, limit)
    return box.data[:box.end]


def settle_reply(Method method not None, data):
    """Decode one reply payload as `method`'s; return (id, result) or raise."""
    cdef:
        bytes owned = bytes(data)
        Py_ssize_t size = PyBytes_GET_SIZE(owned)
        Slab slab = Slab.__new__(Slab)
        Place place
    slab.reserve(size)
    memcpy(slab.data, PyBytes_AS_STRING(owned), size)
    slab.grew(size)
    locate(slab, 0, size, &place)
    return place.id, method.settle(slab, &place)
