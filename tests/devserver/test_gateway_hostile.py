"""The gateway against requests that nobody would mean: it refuses them, and goes on."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("cryptography", reason="the extra dev is not installed")

from ostiary.devserver import ForwardOptions, GatewayOptions, RunningGateway, running
from tests.devserver.gateway import CHAT, EMBED, asking, proof, refusal
from tests.devserver.test_gateway_server import until
from tests.devserver.web import Web


@pytest.fixture(scope="module")
def gateway() -> Iterator[RunningGateway]:
    with running(tcp=False, demo=True) as server:
        yield server.gateway


@pytest.fixture(scope="module")
def headers(gateway: RunningGateway) -> dict[str, str]:
    return proof(gateway)


_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=10,
)
_keywords = st.sampled_from(
    ["type", "properties", "items", "anyOf", "oneOf", "allOf", "$ref", "$defs", "enum", "const",
     "required", "minItems", "maxItems", "minLength", "maxLength", "minimum", "multipleOf",
     "prefixItems", "additionalProperties", "format", "default", "minProperties"]
)  # fmt: skip
_values = st.sampled_from(
    ["object", "array", "string", "integer", "number", "null", "#", "#/$defs/a", "#/x/y", "other"]
)
_schema = st.recursive(
    _values | st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False),
    lambda inner: st.dictionaries(_keywords, inner, max_size=5) | st.lists(inner, max_size=3),
    max_leaves=14,
)
_member = st.sampled_from(
    ["messages", "tools", "tool_choice", "response_format", "stop", "max_tokens", "temperature",
     "stream_options", "n", "reasoning_effort", "top_p"]
)  # fmt: skip
MINE = settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def answered(gateway: RunningGateway, path: str, body: Any, headers: dict[str, str]) -> int:
    with Web(gateway.socket_path) as web:
        reply = web.post(path, body, headers=headers)
        if reply.status != 200:
            refusal(reply)
        return reply.status


@MINE
@given(more=st.dictionaries(_member, _json, min_size=1, max_size=3))
def test_any_member_of_a_chat(
    gateway: RunningGateway, headers: dict[str, str], more: dict[str, Any]
) -> None:
    assert answered(gateway, CHAT, asking("x") | more, headers) in {200, 400}


@MINE
@given(wanted=st.dictionaries(_keywords, _schema, max_size=5), text=st.text(max_size=40))
def test_any_schema(
    gateway: RunningGateway, headers: dict[str, str], wanted: Any, text: str
) -> None:
    """Answers that are an instance of what is no schema are fine; an error of ours is not."""
    tool = {"type": "function", "function": {"name": "f", "parameters": wanted}}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": wanted}}
    for more in ({"tools": [tool], "tool_choice": "required"}, {"response_format": form}):
        assert answered(gateway, CHAT, asking(text, **more), headers) in {200, 400}


@MINE
@given(given=_json)
def test_any_input_of_embeddings(
    gateway: RunningGateway, headers: dict[str, str], given: Any
) -> None:
    body = {"model": "hash", "input": given}
    assert answered(gateway, EMBED, body, headers) in {200, 400}


@MINE
@given(
    name=st.sampled_from(["Authorization", "Txn-Token", "X-Provider"]),
    value=st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=80),
)
def test_any_header(
    gateway: RunningGateway, headers: dict[str, str], name: str, value: str
) -> None:
    assert answered(gateway, CHAT, asking(), headers | {name: value}) in {401, 403}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b'{"model": "echo"',
        b'{"model": "echo", "messages": [{"role": "user", "content": "\xff"}]}',
        b'{"model": "echo", "messages": [{"role": "user", "content": "\\ud800"}]}',
        b'{"model": ["echo"]}',
        b'{"model": ""}',
        b'{"model": "echo", "messages": ' + b"[" * 20_000 + b"]" * 20_000 + b"}",
        b'{"model": "echo", "temperature": 1e999, "messages": []}',
        b'{"model": "echo", "max_tokens": ' + b"9" * 400 + b', "messages": []}',
    ],
    ids=range(10),
)
def test_bodies_that_are_none(
    gateway: RunningGateway, headers: dict[str, str], body: bytes
) -> None:
    with Web(gateway.socket_path) as web:
        sent = headers | {"Content-Type": "application/json"}
        assert refusal(web.post(CHAT, body=body, headers=sent)) == (400, "invalid_request")
        assert web.post(CHAT, asking(), headers=headers).status == 200


def test_deep_and_long_schemas_end(gateway: RunningGateway, headers: dict[str, str]) -> None:
    deep: Any = {"type": "string"}
    for _ in range(400):
        deep = {"type": "object", "properties": {"a": deep}, "required": ["a"]}
    huge = {"type": "array", "items": {"type": "string"}, "minItems": 10**12}
    wide = {"type": "array", "items": huge, "minItems": 10**12}
    for wanted in (deep, huge, {"type": "string", "minLength": 10**12}):
        form = {"type": "json_schema", "json_schema": {"name": "x", "schema": wanted}}
        assert answered(gateway, CHAT, asking(response_format=form), headers) in {200, 400}
    nested: Any = wide
    for _ in range(6):
        nested = {"type": "array", "items": nested, "minItems": 1000}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": nested}}
    assert answered(gateway, CHAT, asking(response_format=form), headers) == 400


def test_a_client_that_leaves_takes_its_upstream_along() -> None:
    """What nobody waits for any more is not paid for any longer."""
    gone = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            one, _ = listening.accept()
            with one:
                one.settimeout(60)
                one.recv(65536)
                one.sendall(
                    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                    b"Transfer-Encoding: chunked\r\n\r\n"
                    b'12\r\ndata: {"choices":[]}'[:-2]
                    + b"\r\n"
                )
                one.sendall(b"6\r\n[]}\n\n \r\n")
                if one.recv(65536) == b"":
                    gone.set()

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        options = GatewayOptions(
            forward={"acme": ForwardOptions(base_url=url)},
            allowed_models={"analysis": ("acme:m",)},
        )
        with running(tcp=False, gateway=options) as server:
            gateway = server.gateway
            with Web(gateway.socket_path) as web:
                body = asking(model="m", stream=True)
                web.send("POST", CHAT, body, headers=proof(gateway, "acme"))
                assert web.head()[0] == 200
            assert gone.wait(60)
            (call,) = until(gateway.calls)
            assert (call.status, call.code) == (499, "cancelled")
        thread.join()


def test_a_client_that_does_not_wait_for_its_answer() -> None:
    """Of a call that is not a stream, too."""
    asked = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            one, _ = listening.accept()
            with one:
                one.settimeout(60)
                one.recv(65536)
                asked.set()
                while one.recv(65536):
                    pass

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        options = GatewayOptions(
            forward={"acme": ForwardOptions(base_url=url)},
            allowed_models={"analysis": ("acme:m",)},
        )
        with running(tcp=False, gateway=options) as server:
            gateway = server.gateway
            with Web(gateway.socket_path) as web:
                web.send("POST", CHAT, asking(model="m"), headers=proof(gateway, "acme"))
                assert asked.wait(60)
            (call,) = until(gateway.calls)
            assert (call.status, call.code, call.stream) == (499, "cancelled", False)
            thread.join()


def test_a_client_that_leaves_stops_a_stream_that_never_waits(
    gateway: RunningGateway, headers: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """The model has all its words at hand, and still says no more of them than are heard."""
    before = len(gateway.calls())
    with Web(gateway.socket_path) as web:
        body = asking("/words 100000") | {"stream": True}
        web.send("POST", CHAT, body, headers=headers)
        assert web.head()[0] == 200
        next(web.chunks())
    call = until(lambda: gateway.calls()[before:])[0]
    assert (call.status, call.code) == (499, "cancelled")
    assert caplog.text.count("socket.send() raised") == 0


def test_many_at_once(gateway: RunningGateway, headers: dict[str, str]) -> None:
    """Each gets the answer to its own question."""
    wrong: list[Any] = []

    def ask(number: int) -> None:
        with Web(gateway.socket_path) as web:
            for round in range(10):
                text = f"number {number} round {round}"
                found = web.post(CHAT, asking(text), headers=headers).document
                if found["choices"][0]["message"]["content"] != text:
                    wrong.append((text, found))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert json.dumps(wrong) == "[]"
