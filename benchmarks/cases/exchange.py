"""The one small exchange that every HTTP client here makes: a JSON object for a JSON object."""

from __future__ import annotations

import importlib
from typing import Any

from ..sample import Unavailable

DEADLINE = 30.0
PATH = "/v1/call"
URL = f"http://localhost{PATH}"
BODY = (
    b'{"id":12345,"method":"tools/call","params":{"name":"search",'
    b'"arguments":{"q":"orders that are late","limit":10}}}'
)
HEADERS = {
    "Accept": "application/json",
    "Content-Type": "application/json",
    "User-Agent": "bench",
}
REPLY = b'{"id":12345,"status":"ok"'
"""How the server's reply begins."""

INPUT = "Which orders are late, and by how much?"
KEY = "hk-8f1d0b6a4c2e97531f0a"


def written(path: str, body: bytes, headers: dict[str, str] | None = None) -> str:
    """Return a whole POST as text, for the floors."""
    lines = [f"POST {path} HTTP/1.1", "Host: localhost"]
    lines += [f"{name}: {value}" for name, value in (headers or HEADERS).items()]
    lines += [f"Content-Length: {len(body)}", "", body.decode()]
    return "\r\n".join(lines)


REQUEST = written(PATH, BODY)
RUN_REQUEST = written(
    "/api/v1/run",
    b'{"input":"Which orders are late, and by how much?","context":{"session_id":null,'
    b'"agent_id":null,"mode_hint":null},"options":{"timeout_ms":30000,"stream":false}}',
    {**HEADERS, "Authorization": f"Bearer {KEY}"},
)


def peer(name: str) -> Any:
    """Import a peer, or say that it is not installed. Untyped: not all of them ship types."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise Unavailable(f"{name} cannot be imported: {error}") from None


def wrong(who: str, status: object) -> RuntimeError:
    return RuntimeError(f"{who} got status {status}, not 200")
