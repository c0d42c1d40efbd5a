"""HTTP connections and sockets: modes, crowds, stragglers, clients that leave, a clean end."""

from __future__ import annotations

import os
import select
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ostiary.devserver import DevserverError, GovernanceOptions, HttpFault, RunningVault, running
from ostiary.errors import InvalidArgumentError
from tests.devserver.web import Web

RUN = "/api/v1/run"
STREAM = "/api/v1/run/stream"
HELLO = {"input": "hello"}


@pytest.fixture
def server() -> Iterator[RunningVault]:
    with running(demo=True, tcp=False) as one:
        yield one


@pytest.fixture
def web(server: RunningVault) -> Iterator[Web]:
    with Web(server.governance_socket) as one:
        yield one


def until(true: Callable[[], Any]) -> Any:
    """Ask until the answer is yes; the server works beside us."""
    for _ in range(1000):
        if found := true():
            return found
        time.sleep(0.01)
    return pytest.fail("it did not happen")


def trace(server: RunningVault, trace_id: str) -> Any:
    with Web(server.governance_socket) as web:
        return web.get(f"/api/governance/trace/{trace_id}").document


# -- sockets and files ------------------------------------------------------------


def test_everything_is_for_its_owner_alone(tmp_path: Path) -> None:
    os.chmod(tmp_path, 0o755)
    home = tmp_path / "home"
    old = os.umask(0)
    try:
        with running(home) as server:
            assert server.governance_url.startswith("http://127.0.0.1:")
            assert server.governance_socket == home / "governance.sock"
            modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in home.iterdir()}
            assert stat.S_IMODE(home.stat().st_mode) == 0o700
            assert modes.pop("keys") == 0o700
            assert {"governance.sock", "governance.token", "governance.db"} <= set(modes)
            assert set(modes.values()) == {0o600}
    finally:
        os.umask(old)
    assert not (home / "governance.sock").exists()


def test_the_token_is_kept(tmp_path: Path) -> None:
    home = tmp_path / "home"
    path = home / "governance.token"
    with running(home) as server:
        first = server.governance_token
        assert first is not None
        assert path.read_text().strip() == first.reveal()
        assert len(first.reveal()) >= 32
    with running(home) as server:
        assert server.governance_token == first
    path.write_text("a token of my own\n")
    with running(home) as server:
        token = server.governance_token
        assert token is not None
        assert token.reveal() == "a token of my own"
        with Web(server.governance_socket) as web:
            mine = {"Authorization": "Bearer a token of my own"}
            assert web.get("/api/v1/health", headers=mine).status == 200
    with running(home) as server, running() as other:
        assert other.governance_token != server.governance_token


@pytest.mark.parametrize(
    "content", ["", "short", "ünprintable-and-long-enough", "x" * 20 + "\x07y"]
)
def test_a_token_file_that_holds_none(tmp_path: Path, content: str) -> None:
    home = tmp_path / "home"
    with running(home) as server:
        assert server.governance_token
    (home / "governance.token").write_text(content)
    with running(home) as server:
        with pytest.raises(DevserverError, match="does not hold a token"):
            _ = server.governance_token
        # The vault goes on without it.
        assert server.admin.status().locked is False
    assert (home / "governance.token").read_text() == content


def test_a_token_others_can_read_is_refused(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with running(home) as server:
        assert server.governance_token
    (home / "governance.token").chmod(0o644)
    with (
        running(home) as server,
        pytest.raises(DevserverError, match=r"chmod 600 .*governance\.token"),
    ):
        _ = server.governance_url


def test_a_live_socket_is_not_taken(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with running(home):
        pass
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(home / "governance.sock"))
        other.listen()
        with running(home) as server, pytest.raises(DevserverError, match="already listens"):
            _ = server.governance_url
        assert (home / "governance.sock").exists()


def test_a_dead_socket_is_replaced_and_another_file_is_not(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with running(home):
        pass
    path = home / "governance.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with running(home, demo=True) as server, Web(server.governance_socket) as web:
        assert web.get("/api/v1/health").status == 200
    path.write_text("mine")
    with running(home) as server, pytest.raises(DevserverError, match="not a socket"):
        _ = server.governance_unix_url
    assert path.read_text() == "mine"


def test_a_taken_port_leaves_nothing_open(tmp_path: Path, no_leaked_descriptors: None) -> None:
    home = tmp_path / "home"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        options = GovernanceOptions(port=taken.getsockname()[1])
        with (
            pytest.raises(DevserverError, match="--governance-port"),
            running(home, governance=options),
        ):
            pass
    assert not (home / "governance.sock").exists()
    assert not (home / "vault.sock").exists()
    with running(home, governance=GovernanceOptions(port=0)) as server:
        assert server.governance_url


def test_without_tcp_there_is_no_url(server: RunningVault) -> None:
    with pytest.raises(DevserverError, match="governance_unix_url"):
        _ = server.governance_url
    assert server.governance_unix_url.startswith("http+unix://%2F")


def test_nothing_of_http_is_imported_for_the_vault_alone() -> None:
    program = (
        "import sys\n"
        "from ostiary.devserver import running\n"
        "with running() as server:\n"
        "    assert not {'uvicorn', 'starlette'} & set(sys.modules)\n"
        "    server.governance_url\n"
        "    assert {'uvicorn', 'starlette'} <= set(sys.modules)\n"
        "    assert not {'httptools', 'uvloop', 'websockets'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_without_the_extra_the_vault_runs_and_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "uvicorn" else find(name)
    )
    with running() as server, pytest.raises(DevserverError, match=r"pip install 'ostiary\[dev\]'"):
        _ = server.governance_url


# -- connections ------------------------------------------------------------------


def test_many_requests_on_one_connection(web: Web) -> None:
    for number in range(50):
        reply = web.post(RUN, {"input": str(number)})
        assert reply.document["result"] == f"processed: {number}"


def test_requests_sent_ahead_are_answered_in_order(web: Web) -> None:
    for number in range(20):
        web.send("POST", RUN, {"input": str(number)})
    web.send("POST", STREAM, {"input": "then"})
    web.send("GET", "/api/v1/health")
    for number in range(20):
        assert web.read().document["result"] == f"processed: {number}"
    assert web.head()[0] == 200
    assert [event["type"] for event in web.events()][-1] == "done"
    assert web.read().document["status"] == "ok"


def test_a_request_in_single_bytes(web: Web) -> None:
    body = b'{"input":"slow"}'
    head = f"POST {RUN} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    for byte in f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body:
        web.sock.sendall(bytes([byte]))
    assert web.read().document["result"] == "processed: slow"


def test_a_client_that_asks_to_close(web: Web) -> None:
    reply = web.post(RUN, HELLO, headers={"Connection": "close"})
    assert reply.status == 200
    assert web.at_end()


def test_small_writes_are_not_held_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """With Nagle's algorithm a body that follows its head takes 40 ms."""
    seen: list[int] = []
    with running(demo=True) as server:
        host, port = server.governance_url.removeprefix("http://").split(":")
        from ostiary.devserver.http.connection import Connection

        made = Connection.connection_made

        def watching(self: Connection, transport: Any) -> None:
            sock = transport.get_extra_info("socket")
            seen.append(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            made(self, transport)

        monkeypatch.setattr(Connection, "connection_made", watching)
        with Web((host, int(port))) as web:
            assert web.get("/api/v1/health").status == 200
    assert seen == [1]


def test_upgrades_are_not_taken(web: Web, capfd: pytest.CaptureFixture[str]) -> None:
    reply = web.get("/api/v1/health", headers={"Connection": "Upgrade", "Upgrade": "websocket"})
    assert reply.status == 200
    web.sock.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")  # a TLS hello
    assert web.read().status == 400
    # What a peer does wrong is told to the peer alone.
    assert capfd.readouterr() == ("", "")


def test_connections_are_bounded() -> None:
    with (
        running(demo=True, tcp=False, max_connections=3) as server,
        ExitStack() as stack,
    ):
        crowd = [stack.enter_context(Web(server.governance_socket)) for _ in range(3)]
        for one in crowd:
            assert one.get("/api/v1/health").status == 200
        with Web(server.governance_socket) as late:
            reply = late.read()
            assert reply.status == 503
            assert reply.document["code"] == "UNAVAILABLE"
            assert late.at_end()
        assert crowd[0].get("/api/v1/health").status == 200
        crowd[0].close()

        def admitted() -> bool:
            with Web(server.governance_socket) as web:
                web.send("GET", "/api/v1/health")
                return web.read().status == 200

        until(admitted)


def test_an_unwanted_body_ends_somewhere(server: RunningVault) -> None:
    """Who goes on sending what was refused is cut off; nothing of it is kept."""
    with Web(server.governance_socket) as web:
        web.send(
            "POST", RUN, headers={"Content-Type": "text/plain", "Content-Length": str(1 << 40)}
        )
        assert web.read().status == 415
        sent = 0
        with pytest.raises(ConnectionError):
            while sent < 64 << 20:
                sent += web.sock.send(b"x" * 65536)
        assert sent < 16 << 20


def test_a_silent_connection_is_closed(
    server: RunningVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    _ = server.governance_socket
    from ostiary.devserver.http import connection

    monkeypatch.setattr(connection, "_HEAD_SECONDS", 0.05)
    with Web(server.governance_socket) as silent:
        assert silent.at_end()
    with Web(server.governance_socket) as slow:
        slow.sock.sendall(b"GET /api/v1/health HT")
        assert slow.at_end()
    with Web(server.governance_socket) as known:
        assert known.get("/api/v1/health").status == 200
        known.sock.sendall(b"GET /api/v1/health HT")
        assert known.at_end()
    with Web(server.governance_socket) as drip, pytest.raises(ConnectionError):
        for _ in range(3000):  # each byte would begin the wait anew, were it counted from there
            drip.sock.sendall(b"G")
            time.sleep(0.01)


def test_a_body_that_does_not_come(server: RunningVault, monkeypatch: pytest.MonkeyPatch) -> None:
    _ = server.governance_socket
    from ostiary.devserver.http import front

    monkeypatch.setattr(front, "_BODY_SECONDS", 0.05)
    with Web(server.governance_socket) as web:
        web.send("POST", RUN, headers={"Content-Type": "application/json", "Content-Length": "9"})
        reply = web.read()
        assert (reply.status, reply.document["code"]) == (408, "TIMEOUT")


def test_a_client_that_leaves_ends_its_work() -> None:
    """With a pace of a minute a word, only leaving can end it."""
    with running(
        demo=True, tcp=False, governance=GovernanceOptions(port=None, pace=60.0)
    ) as server:
        with Web(server.governance_socket) as web:
            web.send("POST", STREAM, HELLO)
            assert web.head()[0] == 200
            trace_id = next(web.events())["trace_id"]
            assert trace(server, trace_id)["outcome"] == "running"
        ended = until(lambda: (t := trace(server, trace_id))["outcome"] != "running" and t)
        assert ended["outcome"] == "cancelled"
        # The same for a client that waits for one answer.
        before = counts(server)
        with Web(server.governance_socket) as web:
            web.send("POST", RUN, HELLO)
            until(lambda: counts(server) > before)
        until(lambda: stability(server) == 0.0)


def counts(server: RunningVault) -> int:
    with Web(server.governance_socket) as web:
        return sum(web.get("/api/governance/status").document["decisions"].values())


def stability(server: RunningVault) -> float:
    with Web(server.governance_socket) as web:
        found: float = web.get("/api/governance/status").document["stability"]
        return found


def test_a_client_that_does_not_read_holds_up_itself_alone() -> None:
    """What is kept for a reader that stalls is bounded, and others are served meanwhile."""
    with running(demo=True, tcp=False) as server, Web(server.governance_socket) as stalled:
        # Nearly a megabyte in 200 events, and nobody reads.
        stalled.send("POST", STREAM, {"input": ("w" * 4000 + " ") * 200})
        assert stalled.head()[0] == 200
        trace_id = next(stalled.events())["trace_id"]
        with Web(server.governance_socket) as web:
            for _ in range(20):
                assert web.post(RUN, HELLO).status == 200
        assert trace(server, trace_id)["outcome"] == "running"
        for chunk in stalled.chunks():
            last = chunk
        assert b'"done"' in last
        assert trace(server, trace_id)["outcome"] == "completed"


def test_concurrent_streams(server: RunningVault) -> None:
    with ExitStack() as stack:
        crowd = [stack.enter_context(Web(server.governance_socket)) for _ in range(100)]
        for number, web in enumerate(crowd):
            web.send("POST", STREAM, {"input": f"number {number}"})
        ids: set[str] = set()
        for number, web in enumerate(crowd):
            assert web.head()[0] == 200
            events = list(web.events())
            assert events[-2]["data"]["output"] == f"processed: number {number}"
            ids |= {event["trace_id"] for event in events}
        assert len(ids) == 100


PIECES = [
    b"GET ",
    b"POST ",
    b"/api/v1/run",
    b"/api/system/status",
    b" HTTP/1.1",
    b" HTTP/1.0",
    b"\r\n",
    b"\r\n\r\n",
    b"\n",
    b"Host: localhost",
    b"Content-Length: 5",
    b"Content-Length: 18446744073709551616",
    b"Transfer-Encoding: chunked",
    b"Content-Type: application/json",
    b"Expect: 100-continue",
    b"Connection: close",
    b'{"input":"x"}',
    b"5\r\nhello\r\n",
    b"0\r\n\r\n",
    b"ffffffffffffffffff\r\n",
    b"\x00",
    b"\xff\xfe",
]


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(PIECES) | st.binary(max_size=20), max_size=30))
def test_nonsense_is_refused_and_forgotten(
    server: RunningVault, caplog: pytest.LogCaptureFixture, pieces: list[bytes]
) -> None:
    with Web(server.governance_socket) as web:
        try:
            for piece in pieces:
                web.sock.sendall(piece)
            web.sock.shutdown(socket.SHUT_WR)
            while web.sock.recv(65536):
                pass
        except ConnectionError:
            pass
    assert caplog.records == []
    with Web(server.governance_socket) as web:
        assert web.get("/api/v1/health").status == 200


def test_the_first_to_ask_starts_it_and_the_others_wait() -> None:
    with running(demo=True) as server:
        found: list[str] = []
        threads = [
            threading.Thread(target=lambda: found.append(server.governance_url)) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 8
        assert len(set(found)) == 1


def test_the_other_loopback() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no ::1")
    with running(demo=True, host="::1") as server:
        url = server.governance_url
        assert url.startswith("http://[::1]:")
        with Web(("::1", int(url.rpartition(":")[2]))) as web:
            assert web.get("/api/v1/health", headers={"Host": "[::1]"}).status == 200


# -- the end ----------------------------------------------------------------------


def test_stopping_answers_what_is_in_hand(tmp_path: Path, no_leaked_descriptors: None) -> None:
    answers: list[Any] = []
    with ExitStack() as stack:
        manager = running(
            tmp_path / "home", demo=True, governance=GovernanceOptions(port=0, pace=0.2)
        )
        server = manager.__enter__()
        idle = stack.enter_context(Web(server.governance_socket))
        assert idle.get("/api/v1/health").status == 200
        plain = stack.enter_context(Web(server.governance_socket))
        stream = stack.enter_context(Web(server.governance_socket))
        plain.send("POST", RUN, HELLO)
        stream.send("POST", STREAM, {"input": "a long one " * 20})
        assert stream.head()[0] == 200
        events = stream.events()
        answers += [next(events), next(events)]
        stopping = threading.Thread(target=manager.__exit__, args=(None, None, None))
        stopping.start()
        answers += events
        assert plain.read().document["result"] == "processed: hello"
        assert idle.at_end()
        assert plain.at_end()
        assert stream.at_end()
        stopping.join()
    kinds = [answer["type"] for answer in answers]
    assert kinds[0] == "start"
    assert kinds[-2:] == ["error", "done"]
    assert answers[-2]["data"]["code"] == "SERVER_STOPPING"
    with running(tmp_path / "home", demo=True, tcp=False) as server:
        assert trace(server, answers[0]["trace_id"])["outcome"] == "cancelled"


def test_a_reader_that_stalls_does_not_hold_up_the_end() -> None:
    with ExitStack() as stack:
        with running(demo=True, tcp=False, stop_grace=0.05) as server:
            stalled = stack.enter_context(Web(server.governance_socket))
            stalled.send("POST", STREAM, {"input": ("w" * 4000 + " ") * 200})
            assert stalled.head()[0] == 200
            governance = server._server.governance
            assert governance is not None
            until(lambda: any(one.congested for one in governance.http._server._connections()))
        with pytest.raises((EOFError, ConnectionError)):
            list(stalled.chunks())


def test_nothing_is_left_open(tmp_path: Path, no_leaked_descriptors: None) -> None:
    for _ in range(3):
        with running(tmp_path / "home", demo=True) as server:
            host, port = server.governance_url.removeprefix("http://").split(":")
            with Web((host, int(port))) as web:
                assert web.post(RUN, HELLO).status == 200
            left = Web(server.governance_socket)
            left.send("POST", STREAM, HELLO)
        left.close()


# -- staged faults ----------------------------------------------------------------


def test_a_staged_status(server: RunningVault, web: Web) -> None:
    faults = server.governance_faults
    faults.add(HttpFault(path=RUN, status=503, headers={"Retry-After": "2"}, times=2))
    for _ in range(2):
        reply = web.post(RUN, HELLO)
        assert reply.status == 503
        assert reply["retry-after"] == "2"
        assert reply.document["code"] == "STAGED_FAULT"
    assert web.post(RUN, HELLO).status == 200
    faults.add(HttpFault(method="GET", times=None, status=200, body=b'{"odd": true}'))
    for _ in range(3):
        assert web.get("/api/system/config").document == {"odd": True}
    assert web.post(RUN, HELLO).document["result"] == "processed: hello"
    faults.clear()
    assert "rules" in web.get("/api/system/config").document


def test_a_staged_delay_ends_with_the_client(server: RunningVault, web: Web) -> None:
    server.governance_faults.add(HttpFault(delay=3600.0, path="*/health"))
    web.send("GET", "/api/v1/health")
    assert select.select([web.sock], [], [], 0.05)[0] == []
    web.close()
    server.governance_faults.add(HttpFault(delay=0.01))
    with Web(server.governance_socket) as other:
        assert other.get("/api/v1/health").status == 200


@pytest.mark.parametrize(("events", "kinds"), [(0, []), (1, ["start"]), (2, ["start", "token"])])
def test_a_staged_cut_between_events(
    server: RunningVault, web: Web, events: int, kinds: list[str]
) -> None:
    server.governance_faults.add(HttpFault(path=STREAM, cut_after_events=events))
    web.send("POST", STREAM, HELLO)
    assert web.head()[0] == 200
    seen: list[str] = []
    with pytest.raises(EOFError):
        seen.extend(event["type"] for event in web.events())
    assert seen == kinds


def test_a_staged_cut_in_the_middle(server: RunningVault, web: Web) -> None:
    server.governance_faults.add(HttpFault(path=STREAM, cut_after=30))
    web.send("POST", STREAM, HELLO)
    assert web.head()[0] == 200
    seen: list[bytes] = []
    with pytest.raises(EOFError):
        seen.extend(web.chunks())
    assert b"".join(seen) == b'data: {"type":"start","data":{'
    with Web(server.governance_socket) as other:
        server.governance_faults.add(HttpFault(path=RUN, cut_after=5))
        other.send("POST", RUN, HELLO)
        status, headers = other.head()
        assert (status, int(dict(headers)["content-length"]) > 5) == (200, True)
        with pytest.raises(EOFError):
            other._exactly(6)


def test_a_staged_drop(server: RunningVault, web: Web) -> None:
    server.governance_faults.add(HttpFault(drop=True))
    web.send("GET", "/api/v1/health")
    assert web.at_end()
    with Web(server.governance_socket) as other:
        assert other.get("/api/v1/health").status == 200


@pytest.mark.parametrize("fault", [{"cut_after": 5}, {"drop": True}])
def test_a_staged_end_is_nothing_to_report(
    server: RunningVault, web: Web, fault: Any, caplog: pytest.LogCaptureFixture
) -> None:
    server.governance_faults.add(HttpFault(**fault))
    web.send("POST", RUN, HELLO)
    with pytest.raises((EOFError, ConnectionError)):
        web.read()
    with Web(server.governance_socket) as other:
        assert other.get("/api/v1/health").status == 200
    assert caplog.messages == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"delay": -1.0},
        {"times": 0},
        {"status": 99},
        {"status": 600},
        {"body": b"x"},
        {"cut_after": -1},
        {"cut_after_events": -1},
    ],
)
def test_faults_that_are_none(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError):
        HttpFault(**wrong)
