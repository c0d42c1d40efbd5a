"""A client that knows nothing but bytes, so that the server is tested against the protocol."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nacl.signing import SigningKey

from ostiary.devserver.clock import Clock


class Refused(Exception):
    """An error answer."""

    def __init__(self, body: Any) -> None:
        super().__init__(body)
        self.body = body
        self.code: str = body.get("code", "") if isinstance(body, dict) else ""

    def __getitem__(self, name: str) -> Any:
        return self.body[name]


class Wire:
    """One connection; requests and answers as they are written in the protocol."""

    def __init__(self, address: str | Path | tuple[str, int]) -> None:
        if isinstance(address, tuple):
            self.sock = socket.create_connection(address)
        else:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.connect(str(address))
        self.sock.settimeout(30)
        self.session = ""
        self._id = 0

    def close(self) -> None:
        self.sock.close()

    def send_raw(self, payload: bytes) -> None:
        self.sock.sendall(struct.pack(">I", len(payload)) + payload)

    def send(self, method: str, params: Any = None, /, **more: Any) -> int:
        self._id += 1
        request = {"id": self._id, "method": method, **more}
        if params is not None:
            request["params"] = params
        self.send_raw(json.dumps(request, separators=(",", ":")).encode())
        return self._id

    def receive(self) -> Any:
        (size,) = struct.unpack(">I", self.exactly(4))
        return json.loads(self.exactly(size))

    def exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = self.sock.recv(size - len(data))
            if not piece:
                raise EOFError(data)
            data += piece
        return data

    def at_end(self) -> bool:
        try:
            return self.sock.recv(1) == b""
        except ConnectionResetError:
            return True

    def call(self, method: str, params: Any = None, /, **named: Any) -> Any:
        """Send one request; return its result or raise `Refused`."""
        id = self.send(method, {**(params or {}), **named})
        answer = self.receive()
        assert answer["id"] == id
        assert ("result" in answer) != ("error" in answer)
        if "error" in answer:
            raise Refused(answer["error"])
        return answer["result"]

    def login(self, agent: str, key: Path | SigningKey) -> Wire:
        """Authenticate in the flat dialect."""
        signer = key if isinstance(key, SigningKey) else read_key(key)
        step = self.call("authenticate", agent_name=agent)
        self.session = step["session_id"]
        signature = signer.sign(bytes.fromhex(step["challenge"])).signature.hex()
        done = self.call("challenge_response", session_id=self.session, signature=signature)
        assert done["authenticated"] is True
        return self

    def retrieve(self, path: str, **more: Any) -> Any:
        return self.call("retrieve", session_id=self.session, path=path, **more)

    def use(self, path: str, operation: str, **params: Any) -> Any:
        more = {"params": params} if params else {}
        return self.call("use", session_id=self.session, path=path, operation=operation, **more)

    def list(self) -> Any:
        return self.call("list", session_id=self.session)["credentials"]

    def release(self, lease_id: str) -> Any:
        return self.call("release_lease", lease_id=lease_id)


def read_key(path: Path) -> SigningKey:
    return SigningKey(bytes.fromhex(path.read_text()))


@contextmanager
def wire(address: str | Path | tuple[str, int]) -> Iterator[Wire]:
    one = Wire(address)
    try:
        yield one
    finally:
        one.close()


class Hands:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.steady = 5_000.0
        self.wall = 1_900_000_000.0  # a Friday in 2030, 17:46:40 UTC

    def clock(self) -> Clock:
        return Clock(steady=lambda: self.steady, wall=lambda: self.wall)

    def forward(self, seconds: float) -> None:
        self.steady += seconds
        self.wall += seconds
