"""The C beside the benchmarks: it compiles without a warning and does what it says."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import compiled, record
from benchmarks.cases.framed import REQUEST
from benchmarks.compiled import NoCompiler

needs_cc = pytest.mark.skipif(compiled.compiler() is None, reason="no C compiler here")


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return compiled.tools(tmp_path_factory.mktemp("programs"))


@pytest.fixture(params=["sleeping", "spinning"])
def server(request: pytest.FixtureRequest, tools: dict[str, str], tmp_path: Path) -> Iterator[str]:
    path = str(tmp_path / "s")
    command = [tools["framed"], path, *(["spin"] if request.param == "spinning" else [])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield path
        # Its life hangs on its standard input.
        process.stdin.close()
        assert process.wait(10) == 0


def connected(path: str) -> socket.socket:
    line = socket.socket(socket.AF_UNIX)
    line.settimeout(30)
    line.connect(path)
    return line


def frame(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + body


def exactly(line: socket.socket, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = line.recv(size - len(parts))
        assert part, "the server closed the connection"
        parts += part
    return bytes(parts)


def reply(line: socket.socket) -> dict[str, object]:
    found = json.loads(exactly(line, int.from_bytes(exactly(line, 4), "big")))
    assert isinstance(found, dict)
    return found


@needs_cc
@pytest.mark.parametrize("name", sorted(compiled.SOURCES))
def test_it_compiles_without_a_warning(name: str, tmp_path: Path) -> None:
    compiled.compile_one(compiled.SOURCES[name], tmp_path / name, "-Werror", "-Wpedantic")


@needs_cc
def test_a_source_that_does_not_compile_says_so(tmp_path: Path) -> None:
    source = tmp_path / "broken.c"
    source.write_text("int main(void) { return nothing; }\n")
    with pytest.raises(NoCompiler, match=r"broken\.c"):
        compiled.compile_one(source, tmp_path / "broken")


def test_a_missing_compiler_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", "/nowhere/cc")
    with pytest.raises(NoCompiler, match="install one"):
        compiled.tools(tmp_path / "programs")


@needs_cc
def test_nothing_is_compiled_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = compiled.tools(tmp_path)

    def refuse(*_: object) -> None:
        pytest.fail("compiled again")

    monkeypatch.setattr(compiled, "compile_one", refuse)
    assert compiled.tools(tmp_path) == first


@needs_cc
@pytest.mark.parametrize(
    ("method", "member"),
    [
        ("authenticate", "challenge"),
        ("challenge_response", "authenticated"),
        ("retrieve", "lease_id"),
        ("list", "credentials"),
        ("use", "header"),
    ],
)
def test_the_server_answers_with_the_id_it_was_asked(server: str, method: str, member: str) -> None:
    with connected(server) as line:
        for number in (1, 98765432109876):
            asked = {"id": number, "method": method, "params": {"session_id": "s"}}
            line.sendall(frame(json.dumps(asked, separators=(",", ":")).encode()))
            answer = reply(line)
            assert answer["id"] == number
            result = answer["result"]
            assert isinstance(result, dict)
            assert member in result


@needs_cc
def test_the_server_refuses_what_it_does_not_know(server: str) -> None:
    with connected(server) as line:
        line.sendall(frame(b'{"id":5,"method":"lists","params":{}}'))
        answer = reply(line)
        assert answer["id"] == 5
        assert "error" in answer
        line.sendall(frame(b'{"id":6,"method":"release_lease","params":{"lease_id":"L-1"}}'))
        assert reply(line) == {"id": 6, "result": {}}


@needs_cc
def test_the_server_takes_a_request_cut_anywhere(server: str) -> None:
    whole = frame(b'{"id":1,"method":"release_lease","params":{}}')
    with connected(server) as line:
        for cut in range(1, len(whole)):
            line.sendall(whole[:cut])
            line.sendall(whole[cut:])
            assert reply(line) == {"id": 1, "result": {}}


@needs_cc
def test_every_lease_has_a_number_of_its_own(server: str) -> None:
    with connected(server) as line:
        leases: set[object] = set()
        for _ in range(300):
            line.sendall(frame(REQUEST.encode()))
            result = reply(line)["result"]
            assert isinstance(result, dict)
            leases.add(result["lease_id"])
        assert len(leases) == 300


@needs_cc
def test_a_client_that_reads_late_gets_every_reply_in_order(server: str) -> None:
    # 20,000 lists are about 10 MB of replies: far more than the socket and the server hold.
    count = 20_000
    with connected(server) as line:

        def send() -> None:
            for number in range(count):
                line.sendall(frame(b'{"id":%d,"method":"list","params":{}}' % number))

        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        # Nobody reads until the sender is stuck behind a server that is stuck behind us.
        sender.join(0.5)
        assert [reply(line)["id"] for _ in range(count)] == list(range(count))
        sender.join()


@needs_cc
def test_a_frame_beyond_its_buffer_ends_the_connection(server: str) -> None:
    with connected(server) as line:
        line.sendall(b"\xff\xff\xff\xff")
        assert line.recv(1) == b""
    with connected(server) as line:
        line.sendall(frame(REQUEST.encode()))
        assert reply(line)["id"] == 12345


@needs_cc
@pytest.mark.parametrize("words", [["1"], ["64"], ["1", "poll"]])
def test_the_floor_prints_its_times(server: str, tools: dict[str, str], words: list[str]) -> None:
    depth, *rest = words
    done = subprocess.run(
        [tools["pingpong"], server, "640", depth, REQUEST, *rest],
        capture_output=True,
        check=True,
        text=True,
        timeout=60,
    )
    found = json.loads(done.stdout)
    assert found["cpu"] > 0
    assert found["wall"] > 0


@needs_cc
@pytest.mark.parametrize("words", [[], ["nowhere"], ["s", "0", "1", "{}"], ["s", "9", "10", "{}"]])
def test_the_floor_refuses_a_wrong_command(tools: dict[str, str], words: list[str]) -> None:
    done = subprocess.run(
        [tools["pingpong"], *words], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert done.stderr


@needs_cc
def test_the_floor_says_when_nobody_listens(tools: dict[str, str], tmp_path: Path) -> None:
    done = subprocess.run(
        [tools["pingpong"], str(tmp_path / "none"), "1", "1", "{}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "none" in done.stderr


@needs_cc
def test_the_walk_counts_its_frames(tools: dict[str, str]) -> None:
    done = subprocess.run(
        [tools["frames"], "100", "1000", "10"],
        capture_output=True,
        check=True,
        text=True,
        timeout=60,
    )
    assert json.loads(done.stdout)["cpu"] > 0


@needs_cc
def test_a_short_run_from_end_to_end(root: Path, tmp_path: Path) -> None:
    names = ["P1.fetch", "P3.c-floor", "P5.c-floor", "P5.call", "P6.stdlib", "P7.100B.framer"]
    words = ["--smoke", "--only", ",".join(names)]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *words, "--report", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        cwd=root,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    assert "nothing is judged" in done.stdout
    run = record.read(tmp_path / "run.json")
    assert set(run.results) == set(names)
    for name, result in run.results.items():
        assert result.unavailable == "", name
        assert len(result.samples) == 1, name
    assert run.smoke
    assert run.verdicts == []
    assert list(run.works) == ["P1", "P3", "P5", "P6", "P7"]
    assert "A smoke run" in (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "Channel.call" in done.stdout
