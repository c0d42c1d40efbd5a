"""TLS without I/O: ciphertext in, plaintext out, for both colours of channel.

Verification and host names are always on in the context made here, and TLS is at least 1.2.
Another policy is a caller's own explicit `ssl.SSLContext`. `ssl` is imported at the first
TLS address.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..config import Address, TcpAddress
from ..errors import ConnectError, ConnectionLostError, InvalidArgumentError

if TYPE_CHECKING:
    import ssl

_default: ssl.SSLContext | None = None


def default_context() -> ssl.SSLContext:
    """Return the one verifying client context of this process; making one costs 25 ms."""
    global _default
    if _default is None:
        import ssl

        _default = ssl.create_default_context()
        _default.minimum_version = ssl.TLSVersion.TLSv1_2
    return _default


def engine_for(address: Address, context: ssl.SSLContext | None) -> TlsEngine | None:
    """Return the engine that this address asks for, or None where it is plain."""
    if not isinstance(address, TcpAddress):
        if context is not None:
            raise InvalidArgumentError(f"ssl_context needs a TCP address, and {address} is not one")
        return None
    name = address.name or address.host
    if context is None:
        return TlsEngine(default_context(), name) if address.tls else None
    return TlsEngine(context, name)


class TlsEngine:
    """One TLS connection as three byte transformations.

    What it wants sent is whatever `encrypt` and `handshake` return; the channel owns the
    socket.
    """

    __slots__ = ("_in", "_object", "_out", "_ssl", "closed")

    def __init__(self, context: ssl.SSLContext, host: str) -> None:
        import ssl

        self._ssl = ssl
        self._in = ssl.MemoryBIO()
        self._out = ssl.MemoryBIO()
        self.closed = False
        try:
            # server_hostname is also what SNI and the name check use; an IP literal works too.
            self._object = context.wrap_bio(self._in, self._out, server_hostname=host)
            return
        except (ssl.SSLError, ValueError) as error:
            problem = error.reason if isinstance(error, ssl.SSLError) else "not a valid host name"
        raise InvalidArgumentError(f"TLS to {host!r} cannot be set up: {problem}")

    def handshake(self, data: bytes) -> tuple[bytes, bool]:
        """Take what the peer sent; return what to send, and whether it is done."""
        if data:
            self._in.write(data)
        problem = None
        done = False
        try:
            self._object.do_handshake()
            done = True
        except self._ssl.SSLWantReadError:
            pass
        except self._ssl.SSLCertVerificationError as error:
            problem = f"the server's certificate was refused: {error.verify_message}"
        except self._ssl.SSLError as error:
            problem = f"the TLS handshake failed: {error.reason or error}"
        if problem is not None:
            raise ConnectError(problem)
        return self._out.read(), done

    def encrypt(self, data: bytes | bytearray | memoryview) -> bytes:
        """Return the records that carry `data`."""
        view = memoryview(data)
        while view:
            view = view[self._object.write(view) :]
        return self._out.read()

    def decrypt(self, data: bytes) -> bytes:
        """Take what the peer sent; return the plaintext it completes, maybe none.

        `closed` is True after the peer's closing record.
        """
        if data:
            self._in.write(data)
        parts: list[bytes] = []
        problem = None
        try:
            while part := self._object.read(256 * 1024):
                parts.append(part)
            self.closed = True
        except self._ssl.SSLWantReadError:
            pass
        except self._ssl.SSLZeroReturnError:
            self.closed = True
        except self._ssl.SSLError as error:
            problem = f"the TLS connection broke: {error.reason or error}"
        if problem is not None:
            raise ConnectionLostError(problem, sent=True)
        return b"".join(parts)

    def reply(self) -> bytes:
        """Return records that the engine itself wants sent: key updates, alerts."""
        return self._out.read()

    def farewell(self) -> bytes:
        """Return the closing record; the peer's answer to it is not awaited."""
        try:
            self._object.unwrap()
        except self._ssl.SSLError:
            pass
        return self._out.read()
