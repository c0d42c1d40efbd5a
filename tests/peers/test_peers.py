"""The pool against servers of other makers, over every transport, in every colour.

A server is left out of a test where it cannot do what is asked: nginx before 1.29 passes no
interim responses on, and uvicorn speaks HTTP/1.1 alone.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from ostiary.errors import (
    APIError,
    BadGatewayError,
    DeadlineError,
    NotFoundError,
    RateLimitError,
    SizeLimitError,
    UnavailableError,
)
from tests.peers.application import digest, noise, prose
from tests.peers.conftest import PROXIES, UVICORN, Servers
from tests.peers.driver import Session

Reach = Callable[..., Session]
EVERY = [*UVICORN, *PROXIES]
CODINGS = ["gzip", "deflate", "br", "zstd"]

every_server = pytest.mark.parametrize("server", EVERY)


def connection(response: Any) -> str:
    return str(response.headers["x-connection"])


@every_server
def test_one_connection_serves_call_after_call(reach: Reach, server: str) -> None:
    with reach(server) as session:
        seen = set()
        for n, size in enumerate([0, 1, 999, 5000, 70_000, 0, 300_000, 2]):
            response = session.request("GET", f"/bytes?size={size}&seed={n}")
            assert response.status == 200
            assert response.read() == noise(size, n)
            assert response.headers["content-length"] == str(size)
            seen.add(connection(response))
        assert len(seen) == 1


@every_server
def test_chunked(reach: Reach, server: str) -> None:
    with reach(server) as session:
        seen = set()
        for size, step in [(0, 1), (1, 1), (3000, 7), (200_000, 9000), (5, 5)]:
            response = session.request("GET", f"/pieces?size={size}&step={step}")
            assert response.headers["transfer-encoding"] == "chunked"
            assert response.read() == noise(size)
            seen.add(connection(response))
        assert len(seen) == 1


@every_server
def test_content_codings_of_the_application(reach: Reach, server: str) -> None:
    with reach(server, compression=True) as session:
        for coding in CODINGS:
            for framing in ("", "&pieces=1"):  # a length, and chunks
                path = f"/coded?coding={coding}&size=40000{framing}"
                response = session.request("GET", path)
                assert response.headers["content-encoding"] == coding
                assert response.read() == prose(40_000)
                with session.stream("GET", path) as stream:
                    assert stream.body() == prose(40_000)


@pytest.mark.parametrize(
    ("server", "coding"), [("nginx", "br"), ("nginx", "gzip"), ("haproxy", "gzip")]
)
def test_content_codings_of_the_proxy(reach: Reach, server: str, coding: str) -> None:
    with reach(server, compression=False) as session:
        asked = {"Accept-Encoding": coding}
        response = session.request("GET", "/text?size=30000", headers=asked)
        if coding == "br" and "content-encoding" not in response.headers:
            pytest.skip("this nginx has no brotli (Debian: libnginx-mod-http-brotli-filter)")
        assert response.headers["content-encoding"] == coding
        assert response.read() == prose(30_000)
        response = session.request("GET", "/text?size=30000")
        assert "content-encoding" not in response.headers
        assert response.read() == prose(30_000)


def test_files_of_nginx(reach: Reach) -> None:
    """Its own work, not an upstream's: validators, ranges, empty files."""
    whole = b"a file of nginx\n" * 1000
    with reach("nginx", compression=False) as session:
        response = session.request("GET", "/files/plain.txt")
        assert response.read() == whole
        again = session.request(
            "GET", "/files/plain.txt", headers={"If-None-Match": response.headers["etag"]}
        )
        assert (again.status, again.read()) == (304, b"")
        part = session.request("GET", "/files/plain.txt", headers={"Range": "bytes=2-5"})
        assert (part.status, part.read()) == (206, whole[2:6])
        assert session.request("GET", "/files/empty.txt").read() == b""
        assert session.request("HEAD", "/files/plain.txt").read() == b""
        assert connection(session.request("GET", "/files/empty.txt")) == connection(response)


@every_server
def test_bodies_that_are_not_there(reach: Reach, server: str) -> None:
    """HEAD, 204 and 304 leave the connection where the next response begins."""
    with reach(server) as session:
        seen = set()
        for _ in range(2):
            head = session.request("HEAD", "/bytes?size=5000")
            assert (head.status, head.read()) == (200, b"")
            assert head.headers["content-length"] == "5000"
            for status in (204, 304):
                response = session.request("GET", f"/status?code={status}")
                assert (response.status, response.read()) == (status, b"")
                seen.add(connection(response))
            response = session.request("GET", "/bytes?size=5")
            assert response.read() == noise(5)
            seen |= {connection(response), connection(head)}
        assert len(seen) == 1


@every_server
def test_head_of_a_chunked_answer(reach: Reach, server: str) -> None:
    with reach(server) as session:
        for _ in range(2):
            assert session.request("HEAD", "/pieces?size=5000").read() == b""
            assert session.request("GET", "/bytes?size=9").read() == noise(9)


@every_server
def test_large_bodies_both_ways(reach: Reach, server: str) -> None:
    with reach(server) as session:
        for size in (0, 1, 8192, 70_000, 3_000_000):
            sent = noise(size, 3)
            said = json.loads(session.request("POST", "/digest", body=sent).read())
            assert said == {"size": size, "digest": digest(sent), "method": "POST"}
        response = session.request("GET", "/bytes?size=3000000&seed=4")
        assert digest(response.read()) == digest(noise(3_000_000, 4))
        with session.stream("GET", "/pieces?size=3000000&seed=5&step=60000") as stream:
            assert digest(stream.body()) == digest(noise(3_000_000, 5))


@pytest.mark.parametrize("server", [*UVICORN, "haproxy"])
def test_an_answer_that_begins_before_the_request_has_ended(reach: Reach, server: str) -> None:
    """The server sends back what it reads: who only writes at first is stuck with it.

    nginx 1.22 itself is stuck then, whoever the client is.
    """
    sent = noise(2_000_000, 6)
    with reach(server) as session:
        for _ in range(2):
            response = session.request("POST", "/mirror", body=sent)
            assert response.read() == sent
        assert session.request("GET", "/bytes?size=9").read() == noise(9)


@every_server
def test_other_methods(reach: Reach, server: str) -> None:
    with reach(server) as session:
        for method in ("PUT", "PATCH", "DELETE", "OPTIONS"):
            said = json.loads(session.request(method, "/digest", body=b"abc").read())
            assert (said["size"], said["method"]) == (3, method)


@every_server
def test_what_a_server_is_told(reach: Reach, server: str) -> None:
    with reach(server, user_agent="tour/1", headers={"X-One": "1"}) as session:
        response = session.request("GET", "/headers", headers={"X-Two": 'a "b" c'})
        said = json.loads(response.read())
        assert said["user-agent"] == "tour/1"
        assert said["x-one"] == "1"
        assert said["x-two"] == 'a "b" c'
        assert said["host"].partition(":")[0] in ("localhost", "127.0.0.1")
        assert "transfer-encoding" not in said
        said = json.loads(session.request("POST", "/headers", json={"a": 1}).read())
        assert said["content-type"] == "application/json"
        assert said["content-length"] == "7"


# --- connections --------------------------------------------------------------------------------


@every_server
def test_many_at_once_on_few_connections(reach: Reach, server: str) -> None:
    with reach(server, max_connections=4) as session:
        calls = [("GET", f"/bytes?size={n * 37}&seed={n}", {}) for n in range(40)]
        seen = set()
        for n, response in enumerate(session.together(calls)):
            assert not isinstance(response, BaseException), response
            assert response.read() == noise(n * 37, n)
            seen.add(connection(response))
        assert len(seen) <= 4


def test_a_connection_the_server_has_closed_is_not_used(servers: Servers, reach: Reach) -> None:
    """Every server that is here at once: they wait together for the end of its patience."""
    sessions = {server: reach(f"{server}.brief") for server in servers.usable(EVERY)}
    first = {
        server: connection(session.request("GET", "/bytes?size=10"))
        for server, session in sessions.items()
    }
    end = time.monotonic() + 20
    pause = 0.3
    while sessions:
        time.sleep(pause)  # longer than they wait, on a machine with time to spare
        for server, session in list(sessions.items()):
            response = session.request("GET", "/bytes?size=11")
            assert response.read() == noise(11)
            if connection(response) != first[server]:
                del sessions[server]
        assert time.monotonic() < end, f"{list(sessions)} keep their connections"
        pause *= 2


@pytest.mark.parametrize("server", UVICORN)
def test_connection_close_is_obeyed(reach: Reach, server: str) -> None:
    with reach(server) as session:
        seen = []
        for _ in range(3):
            response = session.request("GET", "/last")
            assert response.read() == b"last"
            seen.append(connection(response))
        assert len(set(seen)) == 3


def test_nginx_ends_a_connection_after_some_requests(reach: Reach) -> None:
    with reach("nginx", compression=False) as session:
        seen = [connection(session.request("GET", "/few")) for _ in range(12)]
        assert 3 < len(set(seen)) < 12


# --- HTTP/1.0, ends of connections, interim responses -------------------------------------------


@pytest.mark.parametrize("server", ["http.server", "haproxy"])
@pytest.mark.parametrize("name", ["rest", "length", "kept", "modern-rest"])
def test_old_ways_to_end_a_body(reach: Reach, server: str, name: str) -> None:
    with reach(server) as session:
        seen = []
        for size in (0, 1, 80_000):
            response = session.request("GET", f"/odd/{name}?size={size}")
            assert response.read() == noise(size)
            seen.append(connection(response))
            with session.stream("GET", f"/odd/{name}?size={size}") as stream:
                assert stream.body() == noise(size)
        if name != "kept":
            assert len(set(seen)) == 3


def test_nginx_ends_a_body_with_the_connection(reach: Reach) -> None:
    with reach("nginx") as session:
        for size in (1, 80_000):
            response = session.request("GET", f"/delimited/pieces?size={size}")
            assert response.headers["connection"] == "close"
            assert "transfer-encoding" not in response.headers
            assert "content-length" not in response.headers
            assert response.read() == noise(size)


@pytest.mark.parametrize("name", ["rest", "length", "kept", "modern-rest"])
def test_nginx_modernizes_its_upstream(reach: Reach, name: str) -> None:
    with reach("nginx") as session:
        seen = set()
        for _ in range(2):
            response = session.request("GET", f"/odd/{name}?size=5000")
            assert response.read() == noise(5000)
            seen.add(connection(response))
        assert len(seen) == 1


@pytest.mark.parametrize("server", ["http.server", "haproxy"])
def test_early_hints(reach: Reach, server: str) -> None:
    with reach(server) as session:
        seen = set()
        for count in (1, 2, 9):
            response = session.request("GET", f"/odd/hints?size=50&count={count}")
            assert response.read() == noise(50)
            assert [one.status for one in response.informational] == [103] * count
            assert response.informational[0].headers["link"] == "</0>; rel=preload"
            assert "link" not in response.headers
            seen.add(connection(response))
        assert len(seen) == 1
        with session.stream("GET", "/odd/hints?size=50") as stream:
            assert stream.body() == noise(50)


@pytest.mark.parametrize("server", ["http.server", "haproxy"])
def test_trailers(reach: Reach, server: str) -> None:
    with reach(server) as session:
        seen = set()
        for size in (0, 7, 9000):
            response = session.request("GET", f"/odd/trailers?size={size}")
            assert response.read() == noise(size)
            assert response.trailers["x-sum"] == digest(noise(size))
            assert "x-sum" not in response.headers
            seen.add(connection(response))
        assert len(seen) == 1


# --- refusals ------------------------------------------------------------------------------------


@every_server
def test_refusals_leave_the_connection(reach: Reach, server: str) -> None:
    with reach(server, max_retries=0) as session:
        first = session.request("GET", "/bytes?size=1")
        with pytest.raises(NotFoundError) as caught:
            session.request("GET", "/nowhere")
        assert (caught.value.status, caught.value.code) == (404, "not_found")
        with pytest.raises(APIError) as caught_api:
            session.request("GET", "/status?code=418")
        assert caught_api.value.body == b'{"code":"odd"}'
        with pytest.raises(APIError) as redirect:
            session.request("GET", "/status?code=302")
        assert "http://elsewhere.invalid:81" in str(redirect.value)
        assert "secret" not in str(redirect.value)
        assert "token" not in str(redirect.value)
        assert session.request("GET", "/status?code=503", check=False).status == 503
        assert connection(session.request("GET", "/bytes?size=1")) == connection(first)


def test_refusals_of_the_proxies_themselves(reach: Reach) -> None:
    with reach("haproxy", max_retries=0) as session:
        assert session.request("GET", "/native").read() == b"native"
        with pytest.raises(UnavailableError):
            session.request("GET", "/down")
        with pytest.raises(RateLimitError):
            session.request("GET", "/denied")
        with pytest.raises(APIError, match=r"https://elsewhere\.invalid"):
            session.request("GET", "/moved/x")
        assert session.request("GET", "/native").read() == b"native"
    with reach("nginx", max_retries=0) as session:
        with pytest.raises(BadGatewayError):
            session.request("GET", "/down")
        with pytest.raises(APIError, match="301"):
            session.request("GET", "/moved/bytes")
        assert session.request("GET", "/bytes?size=4").read() == noise(4)


@every_server
def test_a_body_over_the_limit(reach: Reach, server: str) -> None:
    from ostiary.config import Limits

    with reach(server, max_retries=0, limits=Limits(body=50_000)) as session:
        assert len(session.request("GET", "/bytes?size=50000").read()) == 50_000
        for path in ("/bytes?size=50001", "/pieces?size=60000"):
            with pytest.raises(SizeLimitError):
                session.request("GET", path)
        assert session.request("GET", "/pieces?size=50000").read() == noise(50_000)


# --- event streams -------------------------------------------------------------------------------


@every_server
def test_events(reach: Reach, server: str) -> None:
    with reach(server) as session:
        for _ in range(2):
            stream = session.events("GET", "/events?count=40", terminator=b"[DONE]")
            with stream:
                assert stream.status == 200
                assert stream.headers["content-type"] == "text/event-stream"
                events = list(stream)
            assert [event.event for event in events] == ["tick"] * 40
            assert [json.loads(event.data)["n"] for event in events] == list(range(40))
            assert stream.inner.last_event_id == "39"
            assert stream.inner.comments == 13
        assert session.request("GET", "/bytes?size=3").read() == noise(3)


@every_server
def test_events_come_as_they_are_sent(reach: Reach, server: str) -> None:
    """The second is sent a while after the first was read: nothing waits for a full buffer."""
    with reach(server) as session, session.events("GET", "/endless") as stream:
        numbers = [json.loads(stream.next().data)["n"] for _ in range(5)]
        assert numbers == [0, 1, 2, 3, 4]


@every_server
def test_an_early_break_is_noticed_by_the_server(reach: Reach, server: str) -> None:
    with reach(server) as session:
        before = int(session.request("GET", "/gone").read())
        for end in ("close", "break"):
            stream = session.events("GET", "/endless")
            stream.next()
            if end == "close":
                stream.close()
            else:
                del stream
            limit = time.monotonic() + 20
            while int(session.request("GET", "/gone").read()) == before:
                assert time.monotonic() < limit, "the server still sends"
                time.sleep(0.01)
            before += 1


@every_server
def test_a_slow_answer_meets_the_deadline(reach: Reach, server: str) -> None:
    with reach(server, max_retries=0) as session:
        begun = time.monotonic()
        with pytest.raises(DeadlineError) as caught:
            session.request("GET", "/slow?seconds=20", timeout=0.15)
        assert time.monotonic() - begun >= 0.15
        assert caught.value.sent
        assert session.request("GET", "/bytes?size=6").read() == noise(6)
