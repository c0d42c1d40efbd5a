"""Forwarding, against an upstream whose every byte is chosen: what is sent, what comes back."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

pytest.importorskip("cryptography", reason="the extra dev is not installed")

from ostiary.devserver import ForwardOptions, GatewayOptions, RunningVault, running
from ostiary.secret import Secret
from tests.devserver.gateway import CHAT, EMBED, asking, events, proof, refusal
from tests.devserver.test_gateway_compatibility import exchange, original
from tests.devserver.web import Web

KEY = "sk-of-the-upstream-000"
DONE = b"data: [DONE]\n\n"


class Upstream(ThreadingHTTPServer):
    """Answers each request with what was put into `answer`, and keeps it."""

    daemon_threads = True

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, str], Any]] = []
        self.answer: tuple[int, dict[str, str], bytes] = (200, {}, b"{}")
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def says(self, document: Any, status: int = 200, **headers: str) -> None:
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.answer = (status, {"Content-Type": "application/json"} | headers, body)

    def streams(self, *documents: Any, end: bytes = DONE) -> None:
        body = b"".join(b"data: " + json.dumps(one).encode() + b"\n\n" for one in documents)
        self.answer = (200, {"Content-Type": "text/event-stream"}, body + end)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Upstream

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.seen.append((self.path, headers, json.loads(body)))
        status, given, answer = self.server.answer
        self.send_response_only(status)
        for name, value in given.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def server(upstream: Upstream) -> Iterator[RunningVault]:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nowhere = closed.getsockname()[1]
    options = GatewayOptions(
        forward={
            "acme": ForwardOptions(base_url=upstream.url, credential="acme/api_key"),
            "plain": ForwardOptions(base_url=upstream.url, credential="plain/api_key"),
            "keyed": ForwardOptions(base_url=upstream.url, key=Secret("sk-given")),
            "gone": ForwardOptions(base_url=f"http://127.0.0.1:{nowhere}"),
        },
        allowed_models={
            "analysis": ("acme:m", "plain:m", "keyed:m", "gone:m"),
            "embeddings": ("acme:e",),
        },
    )
    with running(tcp=False, gateway=options) as one:
        one.put("acme/api_key", f"{KEY}\n")
        yield one
        one.gateway.calls()


@pytest.fixture
def web(server: RunningVault) -> Iterator[Web]:
    with Web(server.gateway.socket_path) as one:
        yield one


def completion(**message: Any) -> dict[str, Any]:
    return {
        "id": "u1",
        "object": "chat.completion",
        "model": "m-2026",
        "choices": [{"index": 0, "message": {"role": "assistant"} | message}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
    }


def test_what_is_sent_on(server: RunningVault, upstream: Upstream, web: Web) -> None:
    upstream.says(completion(content="hi"))
    body = asking("hello", model="m", top_k=7, metadata={"a": [1, None]})
    headers = proof(server.gateway, "acme") | {"Cookie": "a=b", "X-Api-Key": "mine"}
    reply = web.post(CHAT, body, headers=headers)
    assert reply.document == completion(content="hi")
    path, sent, document = upstream.seen[-1]
    assert path == "/v1/chat/completions"
    assert document == body
    assert sent["authorization"] == f"Bearer {KEY}"
    # Nothing of the caller's own proof or headers goes along.
    assert not {"txn-token", "x-provider", "cookie", "x-api-key"} & set(sent)
    assert server.gateway.default.trat.reveal() not in str(sent)
    call = server.gateway.calls()[-1]
    assert (call.prompt_tokens, call.completion_tokens) == (5, 2)


def test_where_its_key_comes_from(server: RunningVault, upstream: Upstream, web: Web) -> None:
    upstream.says(completion(content="hi"))
    for provider, sent in (("keyed", "Bearer sk-given"), ("plain", None)):
        assert (
            web.post(CHAT, asking(model="m"), headers=proof(server.gateway, provider)).status == 200
        )
        assert upstream.seen[-1][1].get("authorization") == sent
    # From the next call on, as the vault says.
    server.put("plain/api_key", "sk-later")
    assert web.post(CHAT, asking(model="m"), headers=proof(server.gateway, "plain")).status == 200
    assert upstream.seen[-1][1]["authorization"] == "Bearer sk-later"
    server.admin.lock()
    try:
        reply = web.post(CHAT, asking(model="m"), headers=proof(server.gateway, "acme"))
        assert refusal(reply) == (503, "provider_unavailable")
    finally:
        server.admin.unlock()


def test_a_stream_goes_through(server: RunningVault, upstream: Upstream, web: Web) -> None:
    parts = [{"choices": [{"delta": {"content": c}}]} for c in ("a", "ü", "c")]
    last = {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 3}}
    upstream.streams(*parts, last)
    web.send("POST", CHAT, asking(model="m", stream=True), headers=proof(server.gateway, "acme"))
    assert web.head()[0] == 200
    assert list(events(web)) == [*parts, last, "[DONE]"]
    assert server.gateway.calls()[-1].completion_tokens == 3


@pytest.mark.parametrize("end", [b"", b"data: half", b": nothing\n\n"])
def test_a_stream_that_breaks_off_is_told(
    server: RunningVault, upstream: Upstream, web: Web, end: bytes
) -> None:
    upstream.streams({"choices": []}, end=end)
    web.send("POST", CHAT, asking(model="m", stream=True), headers=proof(server.gateway, "acme"))
    assert web.head()[0] == 200
    *_, last = events(web)
    assert last["error"]["code"] == "upstream_error"
    assert server.gateway.calls()[-1].status == 502


@pytest.mark.parametrize(
    ("status", "headers", "body", "told"),
    [
        (400, {}, {"error": {"message": "no such size", "param": "size"}},
         (400, "invalid_request", "no such size", "size")),
        (404, {}, {"error": {"message": "no such model"}},
         (404, "invalid_request", "no such model", None)),
        (422, {}, b"<html>", (422, "invalid_request", "the provider refused the request", None)),
        (400, {}, {"error": {"message": "x" * 5000}},
         (400, "invalid_request", "the provider refused the request", None)),
        (400, {}, {"error": {"message": "\x1b[31m"}},
         (400, "invalid_request", "the provider refused the request", None)),
        (401, {}, {"error": {"message": f"wrong key {KEY}"}}, (502, "upstream_error", None, None)),
        (403, {}, {}, (502, "upstream_error", None, None)),
        (429, {"Retry-After": "12.5"}, {}, (429, "rate_limited", None, None)),
        (429, {}, {}, (429, "rate_limited", None, None)),
        (500, {}, {}, (502, "upstream_error", None, None)),
        (503, {}, {}, (503, "upstream_unavailable", None, None)),
        (504, {}, {}, (504, "upstream_timeout", None, None)),
        (302, {"Location": "http://elsewhere.invalid/"}, {}, (502, "upstream_error", None, None)),
        (200, {}, b"not JSON", (502, "upstream_error", None, None)),
        (200, {}, b"[]", (502, "upstream_error", None, None)),
    ],
)  # fmt: skip
def test_what_it_refuses(
    server: RunningVault,
    upstream: Upstream,
    web: Web,
    status: int,
    headers: dict[str, str],
    body: Any,
    told: tuple[int, str, str | None, str | None],
) -> None:
    upstream.says(body, status, **headers)
    before = len(upstream.seen)
    reply = web.post(CHAT, asking(model="m"), headers=proof(server.gateway, "acme"))
    assert refusal(reply) == told[:2]
    error = reply.document["error"]
    if told[2] is not None:
        assert error["message"] == told[2]
    assert error["param"] == told[3]
    assert KEY not in reply.body.decode()
    assert len(upstream.seen) == before + 1  # whether to repeat is the caller's choice
    if status == 429:
        assert reply["retry-after"] == ("13" if headers else "1")


def test_nobody_is_there(server: RunningVault, web: Web) -> None:
    for more in ({}, {"stream": True}):
        reply = web.post(CHAT, asking(model="m", **more), headers=proof(server.gateway, "gone"))
        assert refusal(reply) == (503, "upstream_unavailable")


def test_what_no_server_would_take(server: RunningVault, upstream: Upstream, web: Web) -> None:
    before = len(upstream.seen)
    for path, body in (
        (CHAT, {"model": "m"}),
        (CHAT, {"model": "m", "messages": []}),
        (EMBED, {"model": "e", "input": 7}),
    ):
        reply = web.post(path, body, headers=proof(server.gateway, "acme"))
        assert refusal(reply) == (400, "invalid_request")
    assert len(upstream.seen) == before


@pytest.mark.parametrize(
    ("message", "usage", "read"),
    [
        ({"content": None}, None, {"content": ""}),
        ({"content": None, "tool_calls": None}, None, {"content": ""}),
        ({"content": None, "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": ""}}]},
         None,
         {"content": "",
          "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{}"}}]}),
        ({"content": "x", "tool_calls": [{"function": {"name": "f", "arguments": "{half"}}]}, None,
         {"content": "x", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}),
        ({"content": "x"}, {"prompt_tokens": 1.5, "completion_tokens": None, "total_tokens": -3},
         {"content": "x"}),
    ],
    ids=range(5),
)  # fmt: skip
def test_the_original_client_can_read_it(
    server: RunningVault, upstream: Upstream, message: Any, usage: Any, read: Any
) -> None:
    document = completion(**message)
    if usage is not None:
        document["usage"] = usage
    upstream.says(document)
    gateway = server.gateway
    request = original(gateway, asking(model="m")).replace(
        b"X-Provider: ostiary", b"X-Provider: acme"
    )
    _, headers, body = exchange(gateway.socket_path, request)
    found = json.loads(body)
    assert int(headers["content-length"]) == len(body)
    assert found["choices"][0]["message"] == {"role": "assistant"} | read
    if usage is not None:
        assert found["usage"] == {"prompt_tokens": 1, "completion_tokens": 0, "total_tokens": 0}
