"""The compatibility profile of docs/protocol.md: what the original client can read.

Each test speaks as that client does, by hand: one socket, no User-Agent, its Host.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("cryptography", reason="the extra dev is not installed")

from ostiary.devserver import GatewayOptions, HttpFault, RunningGateway, running
from tests.devserver.gateway import CHAT, asking, events, proof
from tests.devserver.web import Web


@pytest.fixture(scope="module")
def gateway() -> Iterator[RunningGateway]:
    with running(tcp=False, demo=True) as server:
        yield server.gateway


def exchange(path: Path, request: bytes) -> tuple[str, dict[str, str], bytes]:
    """Send what the client sends, and read until the server closes."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(30)
        sock.connect(str(path))
        sock.sendall(request)
        data = b""
        while piece := sock.recv(65536):
            data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    return status, dict(line.lower().split(": ", 1) for line in lines), body


def original(gateway: RunningGateway, document: Any, **headers: str) -> bytes:
    """A request as the original client frames it."""
    body = json.dumps(document)
    lines = [f"POST {CHAT} HTTP/1.1", "Host: gateway.local"]
    lines += [f"{name}: {value}" for name, value in gateway.headers().items()]
    lines += ["X-Provider: ostiary", *(f"{name}: {value}" for name, value in headers.items())]
    lines += ["Content-Type: application/json", f"Content-Length: {len(body)}", "", body]
    return "\r\n".join(lines).encode()


def test_c1_an_answer_has_its_length_and_no_chunks(gateway: RunningGateway) -> None:
    status, headers, body = exchange(gateway.socket_path, original(gateway, asking()))
    assert status == "HTTP/1.1 200 OK"
    assert int(headers["content-length"]) == len(body)
    assert "transfer-encoding" not in headers
    assert "content-encoding" not in headers
    assert json.loads(body)["choices"][0]["message"]["content"] == "Hello"


def test_c2_a_stream_is_neither_chunked_nor_measured(gateway: RunningGateway) -> None:
    """And it ends with its connection, which `exchange` waits for."""
    request = original(gateway, asking("one two three") | {"stream": True})
    status, headers, body = exchange(gateway.socket_path, request)
    assert status == "HTTP/1.1 200 OK"
    assert headers["content-type"] == "text/event-stream"
    assert not {"transfer-encoding", "content-length"} & set(headers)
    assert headers["connection"] == "close"
    assert body.endswith(b"data: [DONE]\n\n")
    # C4: one space, one document a line.
    lines = [line for line in body.decode().split("\n") if line]
    assert all(line.startswith("data: ") and line[6] in "{[" for line in lines)
    chunks = [json.loads(line[6:]) for line in lines[:-1]]
    text = "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks)
    assert text == "one two three"


@pytest.mark.parametrize("prompt", ["/fail 429 1", "/fail 503", "/call", "/pace x"])
def test_c3_a_refused_stream_closes_at_once(gateway: RunningGateway, prompt: str) -> None:
    status, headers, body = exchange(
        gateway.socket_path, original(gateway, asking(prompt) | {"stream": True})
    )
    assert status.split()[1] in {"429", "503", "400"}
    assert int(headers["content-length"]) == len(body)
    assert json.loads(body)["error"]["code"]


def test_c3_holds_for_what_never_reaches_the_gateway(gateway: RunningGateway) -> None:
    gateway.faults.add(HttpFault(status=500))
    status, _, _ = exchange(gateway.socket_path, original(gateway, asking() | {"stream": True}))
    assert "500" in status
    nowhere = original(gateway, asking()).replace(CHAT.encode(), b"/nowhere/at/all/here")
    assert "404" in exchange(gateway.socket_path, nowhere)[0]


def test_c3_a_stream_that_fails_or_breaks_off_closes(gateway: RunningGateway) -> None:
    for prompt, last in (("/error 2\nhello", '"upstream_error"'), ("/cut 2\nhello", "delta")):
        body = exchange(gateway.socket_path, original(gateway, asking(prompt) | {"stream": True}))[
            2
        ].decode()
        assert "[DONE]" not in body
        assert last in body.strip().split("\n")[-1]


def test_c5_no_null_and_no_empty_arguments(gateway: RunningGateway) -> None:
    for prompt, arguments in (
        ("/call grep", "{}"),
        ('/call grep {"pattern": "x"}', '{"pattern": "x"}'),
        ("/badcall grep", "{}"),
    ):
        _, _, body = exchange(gateway.socket_path, original(gateway, asking(prompt)))
        message = json.loads(body)["choices"][0]["message"]
        assert message["content"] == ""
        assert message["tool_calls"][0]["function"]["arguments"] == arguments
    for prompt in ("/null", "/refuse No."):
        _, _, body = exchange(gateway.socket_path, original(gateway, asking(prompt)))
        assert json.loads(body)["choices"][0]["message"]["content"] == ""
    # Everyone else is told what OpenAI's servers say.
    with Web(gateway.socket_path) as web:
        message = web.post(CHAT, asking("/call grep"), headers=proof(gateway)).document
        assert message["choices"][0]["message"]["content"] is None


def test_c6_one_status_and_no_interim_answers(gateway: RunningGateway) -> None:
    request = original(gateway, asking(), **{"Accept-Encoding": "gzip, br"})
    status, headers, _ = exchange(gateway.socket_path, request)
    assert status == "HTTP/1.1 200 OK"
    assert "content-encoding" not in headers


def test_c7_numbers_are_whole(gateway: RunningGateway) -> None:
    _, _, body = exchange(gateway.socket_path, original(gateway, asking()))
    usage = json.loads(body)["usage"]
    assert all(
        isinstance(usage[f"{name}_tokens"], int) for name in ("prompt", "completion", "total")
    )
    _, headers, _ = exchange(gateway.socket_path, original(gateway, asking("/fail 429 3")))
    assert headers["retry-after"] == "3"


def test_c8_the_sidecar_gives_bare_text(gateway: RunningGateway) -> None:
    request = b"GET /trat HTTP/1.1\r\nHost: gateway.local\r\n\r\n"
    status, headers, body = exchange(gateway.sidecar_path, request)
    assert status == "HTTP/1.1 200 OK"
    assert int(headers["content-length"]) == len(body)
    assert body.decode() == gateway.trat_file.read_text().strip()
    # A client that leaves at once harms nobody.
    for _ in range(3):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(gateway.sidecar_path))
            sock.sendall(request)
    assert exchange(gateway.sidecar_path, request)[2] == body


def test_others_keep_their_connection(gateway: RunningGateway) -> None:
    with Web(gateway.socket_path) as web:
        headers = proof(gateway)
        for _ in range(2):
            web.send("POST", CHAT, asking("a b") | {"stream": True}, headers=headers)
            status, found = web.head()
            assert (status, dict(found)["transfer-encoding"]) == (200, "chunked")
            assert list(events(web))[-1] == "[DONE]"
            assert web.post(CHAT, asking(), headers=headers).status == 200
            assert web.post(CHAT, asking("/fail 429"), headers=headers).status == 429


@pytest.mark.parametrize(("setting", "closes"), [("always", True), ("never", False)])
def test_the_profile_can_be_chosen(setting: Any, closes: bool) -> None:
    options = GatewayOptions(compatibility=setting)
    with running(tcp=False, gateway=options) as server:
        gateway = server.gateway
        for extra in ({}, {"User-Agent": None}):
            with Web(gateway.socket_path) as web:
                headers = {**proof(gateway), **extra}
                assert web.post(CHAT, asking(), headers=headers).status == 200
                if closes:
                    assert web.at_end()
                else:
                    assert web.post(CHAT, asking(), headers=headers).status == 200
