"""The HTTP server and its floors: what they answer, that they end, what they refuse."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
from collections.abc import Iterator
from http.client import HTTPResponse
from pathlib import Path

import msgspec
import pytest

from benchmarks import compiled
from benchmarks.cases.events import Chunk
from benchmarks.cases.exchange import BODY, REPLY, REQUEST, RUN_REQUEST, written

pytestmark = pytest.mark.skipif(
    compiled.compiler() is None or "httpd" not in compiled.SOURCES,
    reason="no C compiler here, or no epoll",
)


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return compiled.tools(tmp_path_factory.mktemp("programs"))


@pytest.fixture(params=["sleeping", "spinning"])
def server(
    request: pytest.FixtureRequest, tools: dict[str, str], tmp_path: Path
) -> Iterator[tuple[str, int]]:
    path = str(tmp_path / "s")
    command = [tools["httpd"], path, *(["spin"] if request.param == "spinning" else [])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        ready, _, port = process.stdout.readline().partition(b" ")
        assert ready == b"ready"
        yield path, int(port)
        # Its life hangs on its standard input.
        process.stdin.close()
        assert process.wait(10) == 0


def connected(path: str) -> socket.socket:
    line = socket.socket(socket.AF_UNIX)
    line.settimeout(30)
    line.connect(path)
    return line


def reply(line: socket.socket, method: str = "POST") -> tuple[int, bytes]:
    """Read one response with the standard library's parser, which is nobody's here."""
    response = HTTPResponse(line, method=method)
    response.begin()
    return response.status, response.read()


def asked(line: socket.socket, text: str) -> tuple[int, bytes]:
    line.sendall(text.encode())
    return reply(line, text.partition(" ")[0])


def test_it_answers_on_both_its_addresses(server: tuple[str, int]) -> None:
    path, port = server
    with connected(path) as line, socket.create_connection(("127.0.0.1", port), 30) as other:
        for one in (line, other, line):
            status, body = asked(one, REQUEST)
            assert status == 200
            assert body.startswith(REPLY)
            assert json.loads(body)["status"] == "ok"


def test_a_run_is_what_the_governance_service_says(server: tuple[str, int]) -> None:
    with connected(server[0]) as line:
        status, body = asked(line, RUN_REQUEST)
    assert status == 200
    assert set(json.loads(body)) == {
        "result", "output", "mode", "budget", "trace_id", "latency_ms"
    }  # fmt: skip


@pytest.mark.parametrize("count", [0, 1, 40, 5000])
def test_a_stream_has_as_many_events_as_were_asked_for(server: tuple[str, int], count: int) -> None:
    with connected(server[0]) as line:
        # Twice: the connection is kept, and each stream begins anew.
        for _ in range(2):
            status, body = asked(line, written(f"/v1/tokens/{count}/chat/completions", BODY))
            assert status == 200
            *events, done, rest = body.split(b"\n\n")
            assert (done, rest) == (b"data: [DONE]", b"")
            assert len(events) == count
            for event in events:
                chunk = msgspec.json.decode(event.removeprefix(b"data: "), type=Chunk)
                assert chunk.choices[0].delta.content
        assert asked(line, REQUEST)[0] == 200


def chat(model: str, **more: object) -> str:
    body = {"model": model, "messages": [{"role": "user", "content": "?"}], **more}
    # With blanks and without: both are sent.
    separators = (", ", ": ") if len(model) % 2 else (",", ":")
    return written("/v1/chat/completions", json.dumps(body, separators=separators).encode())


def told(body: bytes) -> list[str]:
    """Return the tokens of a whole stream."""
    *events, done, rest = body.split(b"\n\n")
    assert (done, rest) == (b"data: [DONE]", b"")
    chunks = [msgspec.json.decode(x.removeprefix(b"data: "), type=Chunk) for x in events]
    choices = [chunk.choices[0] for chunk in chunks]
    assert [choice.finish_reason for choice in choices] == [None] * (len(choices) - 1) + ["stop"]
    assert choices.pop().delta.content is None
    return [choice.delta.content or "" for choice in choices]


def test_a_model_answers_as_a_whole(server: tuple[str, int]) -> None:
    with connected(server[0]) as line:
        for more in ({}, {"stream": False, "max_tokens": 3}):
            status, body = asked(line, chat("quick", **more))
            assert status == 200
            answer = json.loads(body)
            assert answer["choices"][0]["message"]["content"]
            usage = answer["usage"]
            assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


@pytest.mark.parametrize("model", ["quick", "steady", "steady-1"])
@pytest.mark.parametrize("count", [0, 1, 40])
@pytest.mark.parametrize("limit", ["max_tokens", "max_completion_tokens"])
def test_a_model_says_as_many_tokens_as_it_may(
    server: tuple[str, int], model: str, count: int, limit: str
) -> None:
    with connected(server[0]) as line:
        for _ in range(2):
            status, body = asked(line, chat(model, **{limit: count}, stream=True))
            assert status == 200
            assert len(found := told(body)) == count
            assert found[:2] == [" a", " late"][:count]
        assert len(told(asked(line, chat(model, stream=True))[1])) == 16
        assert asked(line, REQUEST)[0] == 200


@pytest.mark.parametrize("model", ["bare-quick", "bare-steady"])
def test_without_chunks_a_stream_ends_with_its_connection(
    server: tuple[str, int], model: str
) -> None:
    with connected(server[0]) as line:
        line.sendall(chat(model, max_tokens=40, stream=True).encode())
        whole = b"".join(iter(lambda: line.recv(65536), b""))
    head, _, body = whole.partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head.lower()
    assert len(told(body)) == 40


def test_a_steady_model_waits_until_it_was_heard(server: tuple[str, int]) -> None:
    with connected(server[0]) as line, connected(server[0]) as other:
        line.sendall(chat("steady", max_tokens=3, stream=True).encode())
        # Who has asked later is served meanwhile; so the server has looked at this one as well.
        for _ in range(3):
            assert asked(other, REQUEST)[0] == 200
        # Nothing of the tokens before the head was read, and one at a time behind it.
        pieces = [line.recv(65536)]
        while b"[DONE]" not in pieces[-1]:
            pieces.append(line.recv(65536))
    assert [piece.count(b'content"') for piece in pieces[:4]] == [0, 1, 1, 1]


def test_streams_begin_when_all_are_there(server: tuple[str, int]) -> None:
    text = chat("steady-3", max_tokens=5, stream=True).encode()
    lines = [connected(server[0]) for _ in range(3)]
    try:
        for _ in range(2):  # and the next ones wait anew
            for line in lines[:2]:
                line.sendall(text)
            heads = [line.recv(65536) for line in lines[:2]]
            assert all(head.endswith(b"\r\n\r\n") for head in heads)
            with connected(server[0]) as other:
                assert asked(other, REQUEST)[0] == 200
            lines[0].setblocking(False)
            with pytest.raises(BlockingIOError):
                lines[0].recv(1)
            lines[0].settimeout(30)
            lines[2].sendall(text)
            for line in lines:
                found = b""
                while not found.endswith(b"0\r\n\r\n"):
                    found += line.recv(65536)
                assert found.count(b'content"') == 5
    finally:
        for line in lines:
            line.close()


def test_what_is_held_is_answered_together(server: tuple[str, int]) -> None:
    lines = [connected(server[0]) for _ in range(5)]
    text = written("/v1/together/4", BODY).encode()
    try:
        # One that gives up does not count.
        lines[4].sendall(text)
        lines.pop().close()
        for _ in range(2):  # by the end of the second, the server has looked at everyone
            asked(lines[0], REQUEST)
        for line in lines[:3]:
            line.sendall(text)
        lines[0].setblocking(False)
        with pytest.raises(BlockingIOError):
            lines[0].recv(1)
        lines[0].settimeout(30)
        lines[3].sendall(text)
        assert [reply(line)[0] for line in lines] == [200] * 4
    finally:
        for line in lines:
            line.close()


def test_a_request_may_be_cut_anywhere(server: tuple[str, int]) -> None:
    whole = REQUEST.encode()
    with connected(server[0]) as line:
        for cut in range(1, len(whole)):
            line.sendall(whole[:cut])
            line.sendall(whole[cut:])
            assert reply(line)[0] == 200


def test_requests_may_come_in_one_piece(server: tuple[str, int]) -> None:
    stream = written("/v1/tokens/3", BODY)
    with connected(server[0]) as line:
        line.sendall((REQUEST + stream + REQUEST + RUN_REQUEST).encode())
        # One file for all: each response's reader may have read ahead.
        with line.makefile("rb") as file:
            found = []
            for _ in range(4):
                head = b"".join(iter(file.readline, b"\r\n")).lower()
                if b"chunked" in head:
                    while (size := int(file.readline(), 16)) or file.readline() != b"\r\n":
                        file.read(size + 2)
                    found.append(0)
                else:
                    length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
                    found.append(len(file.read(length)))
    assert found[1] == 0
    assert found[0] == found[2] > 100
    assert found[3] > 100


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("POST /v1/other HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 404),
        ("HEAD /v1/call HTTP/1.1\r\nHost: x\r\n\r\n", 200),
        ("GET /v1/call HTTP/1.1\r\n\r\n", 200),
        ("POST /v1/call HTTP/1.1\r\nHost: x\r\nConnection: Close\r\n\r\n", 200),
        ("POST /v1/call HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411),
        ("POST /v1/call HTTP/1.1\r\nContent-Length: 9999999\r\n\r\n", 413),
        ("POST /v1/call HTTP/1.1\r\nX: ".ljust(64 * 1024, "x"), 413),
    ],
)
def test_what_it_cannot_do_it_says(server: tuple[str, int], text: str, status: int) -> None:
    with connected(server[0]) as line:
        found, body = asked(line, text)
        assert found == status
        assert bool(body) != text.startswith("HEAD")
        if status in {411, 413} or "Close" in text:
            assert line.recv(1) == b""
        else:
            assert asked(line, REQUEST)[0] == 200


def test_a_client_that_reads_late_gets_every_reply(server: tuple[str, int]) -> None:
    # 40,000 replies are about 20 MB: far more than the socket and the server hold.
    count = 40_000
    with connected(server[0]) as line:
        sender = threading.Thread(target=lambda: line.sendall(REQUEST.encode() * count))
        sender.start()
        # Nobody reads until the sender is stuck behind a server that is stuck behind us.
        sender.join(0.5)
        assert sender.is_alive()
        with line.makefile("rb") as file:
            size = len(file.peek(65536).partition(b"\r\n\r\n")[0]) + 4
            size += int(file.peek(1).split(b"Content-Length: ")[1].split(b"\r\n")[0])
            first = file.read(size)
            assert all(file.read(size) == first for _ in range(count - 1))
        sender.join()


@pytest.mark.parametrize(
    ("tool", "words"),
    [
        ("roundtrip", ["640", REQUEST]),
        ("roundtrip", ["640", REQUEST, "poll"]),
        ("roundtrip", ["3", written("/v1/tokens/2000", BODY)]),
        ("fanout", ["640", "1", REQUEST]),
        ("fanout", ["640", "64", REQUEST]),
        ("fanout", ["3", "64", REQUEST]),
        ("roundtrip", ["3", chat("steady", max_tokens=40, stream=True)]),
        (
            "fanout",
            [
                "5",
                "64",
                chat("steady-64", max_tokens=40, stream=True),
                chat("quick", max_tokens=40, stream=True),
            ],
        ),
    ],
)
def test_the_floors_print_their_times(
    server: tuple[str, int], tools: dict[str, str], tool: str, words: list[str]
) -> None:
    done = subprocess.run(
        [tools[tool], server[0], *words], capture_output=True, check=True, text=True, timeout=60
    )
    found = json.loads(done.stdout)
    assert found["cpu"] > 0
    assert found["wall"] > 0


def test_the_walk_over_lines_counts_them(tools: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b"one\ntwo\n\n" * 1000)
    done = subprocess.run(
        [tools["lines"], path, "1000", "10"],
        capture_output=True,
        check=True,
        text=True,
        timeout=60,
    )
    assert json.loads(done.stdout)["cpu"] > 0


@pytest.mark.parametrize(
    ("tool", "words", "status"),
    [
        ("httpd", [], 2),
        ("httpd", ["/nowhere/s"], 1),
        ("roundtrip", ["s", "1"], 2),
        ("roundtrip", ["s", "0", "GET"], 2),
        ("roundtrip", ["/nowhere/s", "1", "GET"], 1),
        ("fanout", ["s", "1", "9999", "GET"], 2),
        ("fanout", ["/nowhere/s", "1", "1", "GET"], 1),
        ("lines", [], 2),
        ("lines", ["/nowhere/s", "1", "1"], 1),
    ],
)
def test_a_wrong_command_is_refused(
    tools: dict[str, str], tool: str, words: list[str], status: int
) -> None:
    done = subprocess.run(
        [tools[tool], *words], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == status
    assert done.stderr
