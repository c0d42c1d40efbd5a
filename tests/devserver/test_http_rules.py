"""Who is let in: hosts, origins, tokens, kinds and sizes of bodies, paths that climb."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from ostiary.devserver import Options, RunningVault, running
from ostiary.errors import InvalidArgumentError
from tests.devserver.web import Reply, Web

ERROR_FIELDS = {"error", "code", "message", "trace_id", "details"}
STATUS = "/api/system/status"
RUN = "/api/v1/run"
HELLO = {"input": "hello"}


@pytest.fixture(scope="module")
def server() -> Iterator[RunningVault]:
    """A server that asks for its token, with a small limit on bodies."""
    with running(request_limit=4096, allow_origins=frozenset({"http://localhost:3000"})) as one:
        yield one


def address(server: RunningVault, network: str) -> Any:
    if network == "unix":
        return server.governance_socket
    host, port = server.governance_url.removeprefix("http://").split(":")
    return host, int(port)


@pytest.fixture(params=["unix", "tcp"])
def web(request: pytest.FixtureRequest, server: RunningVault) -> Iterator[Web]:
    """A connection that has the token."""
    with connected(server, request.param) as one:
        yield one


def connected(server: RunningVault, network: str = "tcp") -> Web:
    return Web(address(server, network), headers={"Authorization": f"Bearer {token(server)}"})


def token(server: RunningVault) -> str:
    found = server.governance_token
    assert found is not None
    return found.reveal()


def refused(reply: Reply, status: int, code: str) -> Any:
    assert reply.status == status, reply
    body = reply.document
    assert set(body) == ERROR_FIELDS
    assert body["code"] == code
    assert body["message"]
    return body


# -- Host -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:8000", "127.0.0.1", "127.0.0.1:1", "[::1]", "[::1]:65535"],
)
def test_loopback_names_are_served(web: Web, host: str) -> None:
    assert web.get(STATUS, headers={"Host": host}).status == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "evil.example#localhost",
        "localhost@evil.example",
        "localhost:8000@evil.example",
        "127.0.0.2.nip.io",
        "0.0.0.0",
        "localhost:",
        "localhost:123456",
        "localhost localhost",
        "[::1",
        "::1",
        "2130706433",
        "",
    ],
)
def test_rebound_names_are_refused(web: Web, host: str) -> None:
    """A page whose name was made to mean 127.0.0.1 still sends its own name."""
    body = refused(web.get(STATUS, headers={"Host": host}), 421, "HOST_REFUSED")
    assert "evil" not in json.dumps(body)
    # The connection goes on, for who corrects it.
    assert web.get(STATUS).status == 200


def test_the_socket_may_be_named_on_the_socket_alone(server: RunningVault) -> None:
    path = quote(str(server.governance_socket), safe="")
    for host in (path, path.lower(), "governance.sock"):
        with connected(server, "unix") as web:
            assert web.get(STATUS, headers={"Host": host}).status == 200
        with connected(server, "tcp") as web:
            refused(web.get(STATUS, headers={"Host": host}), 421, "HOST_REFUSED")


def test_a_request_without_a_host(server: RunningVault) -> None:
    with connected(server) as web:
        web.sock.sendall(b"GET /api/system/status HTTP/1.0\r\n\r\n")
        refused(web.read(), 421, "HOST_REFUSED")
    with connected(server) as web:
        web.sock.sendall(b"GET /api/system/status HTTP/1.1\r\n\r\n")
        refused(web.read(), 400, "BAD_REQUEST")
        assert web.at_end()


def test_a_whole_url_as_target_is_refused(web: Web) -> None:
    """Its host would speak against the Host header."""
    refused(web.get("http://evil.example/api/system/status"), 400, "BAD_REQUEST")


# -- Origin -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "http://evil.example",
        "http://localhost:8000",
        "http://localhost:3001",
        "http://localhost:3000.evil.example",
        "http://LOCALHOST:3000",
        "",
    ],
)
def test_pages_are_refused(web: Web, origin: str) -> None:
    for reply in (
        web.get(STATUS, headers={"Origin": origin}),
        web.post(RUN, HELLO, headers={"Origin": origin}),
        web.call("DELETE", "/api/secrets/x", headers={"Origin": origin}),
        web.call(
            "OPTIONS",
            RUN,
            headers={"Origin": origin, "Access-Control-Request-Method": "POST"},
        ),
    ):
        refused(reply, 403, "ORIGIN_REFUSED")
        assert "access-control-allow-origin" not in reply


@pytest.mark.parametrize("site", ["cross-site", "same-site", "Cross-Site"])
def test_what_a_page_elsewhere_loads_without_an_origin_is_refused(web: Web, site: str) -> None:
    refused(web.get(STATUS, headers={"Sec-Fetch-Site": site}), 403, "ORIGIN_REFUSED")
    assert web.get(STATUS, headers={"Sec-Fetch-Site": "none"}).status == 200


def test_a_listed_page_is_served(web: Web) -> None:
    page = {"Origin": "http://localhost:3000"}
    preflight = web.call("OPTIONS", RUN, headers={**page, "Access-Control-Request-Method": "POST"})
    assert preflight.status == 204
    assert preflight["access-control-allow-origin"] == "http://localhost:3000"
    assert "POST" in preflight["access-control-allow-methods"]
    assert "Authorization" in preflight["access-control-allow-headers"]
    assert preflight["vary"] == "Origin"
    reply = web.post(RUN, HELLO, headers=page)
    assert reply.status == 200
    assert reply["access-control-allow-origin"] == "http://localhost:3000"
    # It may also read why it was refused.
    wrong = web.post(RUN, HELLO, headers={**page, "Authorization": "Bearer x"})
    refused(wrong, 401, "UNAUTHORIZED")
    assert wrong["access-control-allow-origin"] == "http://localhost:3000"


def test_no_answer_is_for_a_cache_or_a_guess(web: Web) -> None:
    for reply in (web.get(STATUS), web.get("/none"), web.post(RUN, HELLO)):
        assert reply["cache-control"] == "no-store"
        assert reply["x-content-type-options"] == "nosniff"
        assert "server" not in reply
        assert "access-control-allow-origin" not in reply


# -- token ------------------------------------------------------------------------


@pytest.mark.parametrize("given", [None, "", "Bearer", "Bearer ", "Bearer wrong", "Basic x", "{}"])
def test_a_wrong_token(server: RunningVault, given: str | None) -> None:
    right = token(server)
    headers = {"Authorization": None if given is None else given.replace("{}", right)}
    with connected(server) as web:
        for reply in (
            web.get(STATUS, headers=headers),
            web.get("/api/v1/health", headers=headers),
            web.get("/nothing/here", headers=headers),
            web.post(RUN, HELLO, headers=headers),
            web.post(RUN + "/stream", HELLO, headers=headers),
        ):
            body = refused(reply, 401, "UNAUTHORIZED")
            assert right not in json.dumps(body)
            assert reply["www-authenticate"] == "Bearer"
        assert web.get(STATUS).status == 200


def test_part_of_the_token_is_not_enough(server: RunningVault) -> None:
    right = token(server)
    with connected(server) as web:
        for wrong in (right[:-1], right + "x", right.swapcase(), right[1:]):
            reply = web.get(STATUS, headers={"Authorization": f"Bearer {wrong}"})
            refused(reply, 401, "UNAUTHORIZED")
        for form in ("bearer {}", "BEARER   {}", "Bearer {} "):
            assert web.get(STATUS, headers={"Authorization": form.format(right)}).status == 200


def test_two_of_a_kind_are_refused(server: RunningVault) -> None:
    right = token(server)
    with connected(server) as web:
        for line in (f"Authorization: Bearer {right}", "Origin: http://localhost:3000"):
            web.sock.sendall(
                f"GET {STATUS} HTTP/1.1\r\nHost: localhost\r\n{line}\r\n{line}\r\n\r\n".encode()
            )
            refused(web.read(), 400, "BAD_REQUEST")


def test_the_demo_takes_any_token_or_none() -> None:
    with running(demo=True) as server:
        assert server.governance_token is None
        with Web(server.governance_socket) as web:
            for given in (None, "Bearer anything", "Basic eDp5"):
                assert web.get(STATUS, headers={"Authorization": given}).status == 200
            # The rules that keep pages out are the same.
            refused(web.get(STATUS, headers={"Host": "evil.example"}), 421, "HOST_REFUSED")
            refused(web.get(STATUS, headers={"Origin": "http://x.example"}), 403, "ORIGIN_REFUSED")
            refused(web.post(RUN, body=b"{}"), 415, "UNSUPPORTED_MEDIA_TYPE")


# -- bodies -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind",
    [
        None,
        "",
        "text/plain",
        "text/plain; application/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonp",
        "text/json",
    ],
)
def test_bodies_that_a_form_can_send_are_refused(web: Web, kind: str | None) -> None:
    reply = web.post(RUN, HELLO, headers={"Content-Type": kind})
    refused(reply, 415, "UNSUPPORTED_MEDIA_TYPE")
    assert web.get(STATUS).status == 200


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON ; charset=utf-8"])
def test_json_is_taken(web: Web, kind: str) -> None:
    assert web.post(RUN, HELLO, headers={"Content-Type": kind}).status == 200


def test_a_chunked_body_says_what_it_is_too(web: Web) -> None:
    chunked = {"Transfer-Encoding": "chunked", "Content-Length": None}
    body = b'e\r\n{"input":"hey"\r\n1\r\n}\r\n0\r\n\r\n'
    reply = web.post(RUN, body=body, headers={**chunked, "Content-Type": "application/json"})
    assert reply.document["result"] == "processed: hey"
    refused(web.post(RUN, body=body, headers=chunked), 415, "UNSUPPORTED_MEDIA_TYPE")
    assert web.get(STATUS).status == 200


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "identity, gzip"])
def test_a_coded_body_is_refused(web: Web, coding: str) -> None:
    reply = web.post(RUN, HELLO, headers={"Content-Encoding": coding})
    refused(reply, 415, "UNSUPPORTED_MEDIA_TYPE")


def test_a_body_at_the_limit_and_above(web: Web) -> None:
    def body(size: int) -> bytes:
        return b'{"input":"' + b"x" * (size - 12) + b'"}'

    json_type = {"Content-Type": "application/json"}
    assert web.post(RUN, body=body(4096), headers=json_type).status == 200
    details = refused(web.post(RUN, body=body(4097), headers=json_type), 413, "PAYLOAD_TOO_LARGE")
    assert details["details"] == {"limit_bytes": 4096}
    # All of it was sent and thrown away: the connection is still good.
    assert web.get(STATUS).status == 200


@pytest.mark.parametrize("size", ["4097", "99999999999999999999"])
def test_an_announced_body_is_refused_before_it_is_sent(server: RunningVault, size: str) -> None:
    with connected(server) as web:
        web.send("POST", RUN, headers={"Content-Type": "application/json", "Content-Length": size})
        refused(web.read(), 413, "PAYLOAD_TOO_LARGE")


def test_a_chunked_body_has_the_same_limit(server: RunningVault) -> None:
    with connected(server) as web:
        headers = {"Transfer-Encoding": "chunked", "Content-Type": "application/json"}
        web.send("POST", RUN, headers=headers)
        for _ in range(5):
            web.sock.sendall(b"400\r\n" + b"x" * 1024 + b"\r\n")
        refused(web.read(), 413, "PAYLOAD_TOO_LARGE")
        web.sock.sendall(b"0\r\n\r\n")
        assert web.get(STATUS).status == 200


def test_a_client_that_asks_first_is_told(server: RunningVault) -> None:
    ask = {"Expect": "100-continue", "Content-Type": "application/json"}
    with connected(server) as web:
        web.send("POST", RUN, headers={**ask, "Content-Length": "17"})
        assert web.head()[0] == 100
        web.sock.sendall(b'{"input":"hello"}')
        assert web.read().status == 200
    with connected(server) as web:
        web.send("POST", RUN, headers={**ask, "Content-Length": "4097"})
        reply = web.read()
        refused(reply, 413, "PAYLOAD_TOO_LARGE")
        # Whether the body comes now is not known, so nothing can come after it.
        assert reply["connection"] == "close"
        assert web.at_end()


@pytest.mark.parametrize(
    "lines",
    [
        "Content-Length: 1\r\nContent-Length: 2",
        "Content-Length: -1",
        "Content-Length: +1",
        "Content-Length: 1, 1, 2",
        "Content-Length: x",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Bad Header: x",
        " folded: x",
        "X: a\x00b",
    ],
)
def test_heads_that_are_not_http(server: RunningVault, lines: str) -> None:
    with connected(server) as web:
        web.sock.sendall(f"POST {RUN} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n\r\n".encode())
        reply = web.read()
        assert reply.status == (421 if "folded" in lines else 400), reply
        assert set(reply.document) == ERROR_FIELDS


@pytest.mark.parametrize("at_once", [True, False])
def test_a_head_that_is_too_long(server: RunningVault, at_once: bool) -> None:
    with connected(server) as web:
        head = f"GET {STATUS} HTTP/1.1\r\nHost: localhost\r\nX: {'y' * 70_000}\r\n\r\n".encode()
        for cut in range(0, len(head), 80_000 if at_once else 10_000):
            try:
                web.sock.sendall(head[cut : cut + (80_000 if at_once else 10_000)])
            except ConnectionError:
                break
            time.sleep(0 if at_once else 0.01)  # in pieces, as far as one can arrange it
        reply = web.read()
        assert reply.status in {400, 431}
        assert set(reply.document) == ERROR_FIELDS


def test_length_and_chunked_together(server: RunningVault) -> None:
    """Two lengths are how one request hides in another."""
    hidden = b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with connected(server) as web:
        web.sock.sendall(
            (
                f"POST {RUN} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token(server)}"
                "\r\nContent-Type: application/json\r\nContent-Length: 5\r\n"
                "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            ).encode()
            + hidden
        )
        refused(web.read(), 400, "BAD_REQUEST")
        assert web.at_end()


# -- paths ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/api/secrets/../system/status",
        "/api/secrets/%2e%2e/system/status",
        "/api/secrets/.%2E/system/status",
        "/api/secrets/..%2fsystem%2fstatus",
        "/api/secrets/./x",
        "/api/secrets/a/../../vault.db",
        "/../../etc/passwd",
        "/api/v1/trace/..",
        "/api/governance/trace/%2e",
        "/api/secrets/..",
    ],
)
def test_paths_that_climb_name_nothing(web: Web, path: str) -> None:
    refused(web.get(path), 404, "NOT_FOUND")


@pytest.mark.parametrize("path", ["/api/secrets/%ff", "/api/secrets/%00", "/api/secrets/a%C3"])
def test_paths_that_are_no_text(web: Web, path: str) -> None:
    refused(web.get(path), 400, "BAD_REQUEST")


@pytest.mark.parametrize("path", ["/", "/api", "/api/v1/run/", "/API/V1/RUN", "/api/v2/run", "//"])
def test_unknown_paths(web: Web, path: str) -> None:
    refused(web.get(path), 404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", RUN, {"POST"}),
        ("PUT", "/api/secrets/x", {"GET", "HEAD", "DELETE"}),
        ("POST", STATUS, {"GET", "HEAD"}),
        ("DELETE", "/api/secrets", {"POST"}),
        ("TRACE", STATUS, {"GET", "HEAD"}),
        ("OPTIONS", STATUS, {"GET", "HEAD"}),
    ],
)
def test_wrong_verbs(web: Web, method: str, path: str, allowed: set[str]) -> None:
    reply = web.call(method, path)
    refused(reply, 405, "METHOD_NOT_ALLOWED")
    assert set(reply["allow"].split(", ")) == allowed


def test_head_answers_like_get_without_the_body(web: Web) -> None:
    reply = web.call("HEAD", STATUS)
    assert reply.status == 200
    assert int(reply["content-length"]) > 0
    assert web.get(STATUS).status == 200


def test_requests_have_ids(web: Web) -> None:
    first, second = web.get(STATUS)["x-request-id"], web.get("/none")["x-request-id"]
    assert first != second
    assert web.get(STATUS, headers={"X-Request-ID": "mine-1"})["x-request-id"] == "mine-1"
    odd = web.get(STATUS, headers={"X-Request-ID": "a b\tc"})["x-request-id"]
    assert odd != "a b\tc"
    assert len(web.get(STATUS, headers={"X-Request-ID": "x" * 500})["x-request-id"]) == 32


# -- options ----------------------------------------------------------------------


@pytest.mark.parametrize("origin", ["*", "localhost:3000", "http://", "http://a/b", "null", ""])
def test_origins_that_are_none(origin: str) -> None:
    with pytest.raises(InvalidArgumentError, match="origin"):
        Options(allow_origins=frozenset({origin}))


def test_a_fault_of_ours_says_nothing_of_the_request(
    web: Web, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from ostiary.devserver.governance.cabinet import Cabinet

    def broken(self: Cabinet, key: str, value: str, **about: object) -> None:
        raise RuntimeError(f"could not store {value}")

    monkeypatch.setattr(Cabinet, "set", broken)
    reply = web.post("/api/secrets", {"credential_ref": "k", "secret": "hush-hush"})
    body = refused(reply, 500, "INTERNAL_ERROR")
    assert "hush" not in json.dumps(body)
    assert "RuntimeError" in caplog.text
    assert "hush" not in caplog.text
    assert web.get(STATUS).status == 200
