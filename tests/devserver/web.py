"""An HTTP client that knows nothing but bytes, so that the server is tested against the wire."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self


class Reply:
    """One answer, read whole."""

    def __init__(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def __getitem__(self, name: str) -> str:
        (found,) = [value for key, value in self.headers if key == name]
        return found

    def __contains__(self, name: str) -> bool:
        return any(key == name for key, _ in self.headers)

    @property
    def document(self) -> Any:
        assert self["content-type"] == "application/json"
        return json.loads(self.body)

    def __repr__(self) -> str:
        return f"Reply({self.status}, {self.headers}, {self.body[:500]!r})"


class Web:
    """One connection; what is sent is what is written here."""

    def __init__(
        self, address: str | Path | tuple[str, int], *, headers: dict[str, str] | None = None
    ) -> None:
        if isinstance(address, tuple):
            self.sock = socket.create_connection(address)
        else:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.connect(str(address))
        self.sock.settimeout(30)
        self.headers = {"Host": "localhost"} | (headers or {})
        self._buffer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.sock.close()

    def send(
        self,
        method: str,
        target: str,
        document: Any = None,
        *,
        body: bytes | None = None,
        headers: dict[str, str | None] | None = None,
    ) -> None:
        """Send a request; a header that is None is left out."""
        merged: dict[str, str | None] = dict(self.headers)
        if document is not None:
            body = json.dumps(document).encode()
            merged["Content-Type"] = "application/json"
        if body is not None:
            merged["Content-Length"] = str(len(body))
        merged.update(headers or {})
        lines = [f"{method} {target} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in merged.items() if value is not None]
        self.sock.sendall("\r\n".join([*lines, "", ""]).encode() + (body or b""))

    def call(self, method: str, target: str, document: Any = None, **more: Any) -> Reply:
        """Send a request and read its answer whole."""
        self.send(method, target, document, **more)
        return self.read(head_only=method == "HEAD")

    def get(self, target: str, **more: Any) -> Reply:
        return self.call("GET", target, **more)

    def post(self, target: str, document: Any = None, **more: Any) -> Reply:
        return self.call("POST", target, document, **more)

    # -- reading --------------------------------------------------------------

    def head(self) -> tuple[int, list[tuple[str, str]]]:
        """Read a status line and headers."""
        lines = self._until(b"\r\n\r\n").decode().split("\r\n")
        version, status, _ = lines[0].split(" ", 2)
        assert version == "HTTP/1.1"
        pairs = [line.split(": ", 1) for line in lines[1:-2]]
        return int(status), [(name.lower(), value) for name, value in pairs]

    def read(self, *, head_only: bool = False) -> Reply:
        status, headers = self.head()
        found = dict(headers)
        if head_only or status == 204:
            body = b""
        elif "content-length" in found:
            body = self._exactly(int(found["content-length"]))
        else:
            assert found["transfer-encoding"] == "chunked"
            body = b"".join(self.chunks())
        return Reply(status, headers, body)

    def chunks(self) -> Iterator[bytes]:
        """Yield each chunk as the server sent it; raises EOFError at a cut."""
        while True:
            size = int(self._until(b"\r\n"), 16)
            piece = self._exactly(size)
            assert self._exactly(2) == b"\r\n"
            if not size:
                return
            yield piece

    def events(self) -> Iterator[Any]:
        """Yield the JSON of each event, one a chunk; comments come as their text."""
        for chunk in self.chunks():
            text = chunk.decode()
            assert text.endswith("\n\n")
            if text.startswith(":"):
                assert "data:" not in text
                yield text.strip()
                continue
            line, rest = text.split("\n", 1)
            assert rest == "\n"
            assert line.startswith("data: ")
            yield json.loads(line.removeprefix("data: "))

    def at_end(self) -> bool:
        if self._buffer:
            return False
        try:
            return self.sock.recv(1) == b""
        except ConnectionError:
            return True

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._buffer:
            self._more()
        found, _, self._buffer = self._buffer.partition(mark)
        return found + mark

    def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._more()
        found, self._buffer = self._buffer[:size], self._buffer[size:]
        return found

    def _more(self) -> None:
        piece = self.sock.recv(65536)
        if not piece:
            raise EOFError(self._buffer)
        self._buffer += piece
