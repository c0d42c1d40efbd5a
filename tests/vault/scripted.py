"""A vault whose every answer a test writes: real sockets, real frames, real signatures.

The embedded vault is the peer of most tests. This one says what no good vault would.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from ostiary.vault import keys

CHALLENGE = bytes(range(32))


class Refuse(Exception):
    """Raised by a handler to answer with an error member."""

    def __init__(self, error: object) -> None:
        self.error = error


class HangUp(Exception):
    """Raised by a handler to close the connection instead of answering."""


class Silence(Exception):
    """Raised by a handler to leave a request unanswered."""


Handler = Callable[[str, dict[str, Any], int], Any]
"""(method, params, number of the connection) -> result."""


class ScriptedVault:
    """Serves the flat and dotted handshakes; everything else is the handler's."""

    def __init__(self, directory: Path, handler: Handler) -> None:
        self.directory = directory
        self.handler = handler
        self.path = directory / "s.sock"
        self.key_path = directory / "agent.key"
        self.key = keys.generate()
        keys.save(self.key, self.key_path)
        self.seen: list[tuple[int, str, dict[str, Any]]] = []
        self.challenge: Any = CHALLENGE.hex()
        self.logins = 0
        self.on_end: Callable[[int], None] = lambda number: None
        self.connections = 0
        self._open: list[socket.socket] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(os.fspath(self.path))
        self._listener.listen(64)
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def calls(self, method: str) -> list[dict[str, Any]]:
        """Return the params of every request for `method`, in order."""
        return [params for _, name, params in self.seen if name == method]

    def close(self) -> None:
        """Stop listening and drop every connection."""
        self._listener.close()
        self.drop()

    def drop(self) -> None:
        """Drop every connection, as a crash would; go on listening."""
        for one in self._open:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(sock)
            threading.Thread(target=self._serve, args=(sock, self.connections), daemon=True).start()

    def _serve(self, sock: socket.socket, number: int) -> None:
        try:
            self._answer_all(sock, number)
        finally:
            self.on_end(number)

    def _answer_all(self, sock: socket.socket, number: int) -> None:
        with sock:
            while True:
                try:
                    head = _exactly(sock, 4)
                    request = json.loads(_exactly(sock, struct.unpack(">I", head)[0]))
                except (OSError, EOFError):
                    return
                method, params = request["method"], request["params"]
                self.seen.append((number, method, params))
                try:
                    reply = {"id": request["id"], "result": self._answer(method, params, number)}
                except Refuse as refusal:
                    reply = {"id": request["id"], "error": refusal.error}
                except Silence:
                    continue
                except HangUp:
                    return
                body = json.dumps(reply).encode()
                try:
                    sock.sendall(struct.pack(">I", len(body)) + body)
                except OSError:
                    return

    def _answer(self, method: str, params: dict[str, Any], number: int) -> Any:
        if method in {"authenticate", "auth.challenge"}:
            return {"session_id": f"s-{number}", "challenge": self.challenge}
        if method in {"challenge_response", "auth.verify"}:
            try:
                VerifyKey(self.key.public_key).verify(
                    bytes.fromhex(self.challenge), bytes.fromhex(params["signature"])
                )
            except BadSignatureError:
                raise Refuse({"code": "AUTH_FAILED", "message": "no"}) from None
            self.logins += 1
            return {"authenticated": True}
        return self.handler(method, params, number)


def _exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = sock.recv(size - len(data))
        if not part:
            raise EOFError
        data += part
    return data
