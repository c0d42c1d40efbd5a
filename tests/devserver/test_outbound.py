"""`http_request`: what reaches a real host, what never leaves, and what may come back."""

from __future__ import annotations

import ipaddress
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import trustme

from ostiary.devserver import RunningVault, outbound, running
from ostiary.devserver.faults import Refusal
from tests.devserver.wire import Refused, Wire

SECRET = "upstream-s3cret"
Answer = Callable[[bytes], bytes]


class Host:
    """A real HTTP host that answers with given bytes and remembers what it was sent."""

    def __init__(self, answer: Answer, context: ssl.SSLContext | None, drip: float) -> None:
        self.answer = answer
        self.requests: list[bytes] = []
        self._context = context
        self._drip = drip
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                raw, _ = self._listener.accept()
            except OSError:
                return
            with raw:
                raw.settimeout(10)
                try:
                    self._serve(raw)
                except OSError:
                    pass

    def _serve(self, raw: socket.socket) -> None:
        sock = raw if self._context is None else self._context.wrap_socket(raw, server_side=True)
        request = b""
        while b"\r\n\r\n" not in request:
            request += sock.recv(65536) or b"\r\n\r\n"
        head, _, body = request.partition(b"\r\n\r\n")
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                while len(body) < int(line.split(b":")[1]):
                    body += sock.recv(65536)
        self.requests.append(head + b"\r\n\r\n" + body)
        answer = self.answer(request)
        if self._drip:
            for at in range(len(answer)):
                sock.sendall(answer[at : at + 1])
                time.sleep(self._drip)
        else:
            sock.sendall(answer)
        if sock is not raw:
            sock.close()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


def plain(body: bytes = b"fine", head: str = "HTTP/1.1 200 OK") -> Answer:
    return lambda _: f"{head}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


@contextmanager
def hosted(
    answer: Answer, *, tls: ssl.SSLContext | None = None, drip: float = 0.0, **settings: Any
) -> Iterator[tuple[Host, Wire, RunningVault]]:
    with ExitStack() as stack:
        host = Host(answer, tls, drip)
        stack.callback(host.close)
        allow = frozenset({f"127.0.0.1:{host.port}", f"localhost:{host.port}"})
        settings.setdefault("http_allow", allow)
        vault = stack.enter_context(running(tcp=False, **settings))
        vault.put("up/key", SECRET)
        key = vault.add_agent("demo")
        one = Wire(vault.socket_path)
        stack.callback(one.close)
        yield host, one.login("demo", key), vault


def request(one: Wire, host: Host, **params: Any) -> Any:
    params.setdefault("url", f"http://127.0.0.1:{host.port}/v1/things?a=b")
    return one.use("up/key", "http_request", **params)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


# -- what is sent -----------------------------------------------------------------


def test_the_credential_is_added() -> None:
    with hosted(plain()) as (host, one, _):
        found = request(one, host)
        assert found["status"] == 200
        assert found["body"] == "fine"
        assert "body_encoding" not in found
        head = host.requests[0].decode()
        assert head.startswith("GET /v1/things?a=b HTTP/1.1\r\n")
        assert f"\r\nHost: 127.0.0.1:{host.port}\r\n" in head
        assert f"\r\nAuthorization: Bearer {SECRET}\r\n" in head


@pytest.mark.parametrize(
    ("params", "line"),
    [
        ({"header_type": "api_key"}, f"X-API-Key: {SECRET}"),
        ({"header_type": "basic"}, "Authorization: Basic dXBzdHJlYW0tczNjcmV0"),
        ({"header_type": "custom", "header_name": "X-Mine"}, f"X-Mine: {SECRET}"),
    ],
)
def test_header_types(params: dict[str, Any], line: str) -> None:
    with hosted(plain()) as (host, one, _):
        request(one, host, **params)
        assert f"\r\n{line}\r\n" in host.requests[0].decode()


def test_body_headers_and_method() -> None:
    with hosted(plain()) as (host, one, _):
        request(
            one,
            host,
            method="post",
            headers={"Content-Type": "text/plain", "authorization": "Bearer mine"},
            body="grüße",
        )
        sent = host.requests[0].decode()
        assert sent.startswith("POST ")
        assert "\r\nContent-Type: text/plain\r\n" in sent
        assert "\r\nContent-Length: 7\r\n" in sent
        assert sent.endswith("\r\n\r\ngrüße")
        assert "mine" not in sent, "the agent's own header does not stand beside the vault's"


@pytest.mark.parametrize(
    "params",
    [
        {"headers": {"Host": "other.test"}},
        {"headers": {"Transfer-Encoding": "chunked"}},
        {"headers": {"Content-Length": "5"}},
        {"headers": {"X-A": "b\r\nX-C: d"}},
        {"headers": {"X A": "b"}},
        {"headers": {"": "b"}},
        {"method": "CONNECT"},
        {"method": "GET / HTTP/1.1\r\nX: y\r\n\r\nGET"},
        {"url": "https://user:pw@host.test/"},
        {"url": "https://host.test/a b"},
        {"url": "https://host.test/\r\nX: y"},
        {"url": "https://host.test:0/"},
        {"url": "https://host.test:99999/"},
        {"url": "ftp://host.test/"},
        {"url": "https:///nowhere"},
        {"url": "https://[::zz]/"},
        {"url": "https://ho%73t.test/"},
        {"url": "//host.test/"},
        {"url": ""},
    ],
)
def test_malformed_requests(params: dict[str, Any]) -> None:
    with hosted(plain()) as (host, one, _), pytest.raises(Refused) as caught:
        request(one, host, **params)
    assert caught.value.code == "INVALID_REQUEST"
    assert host.requests == []


# -- what comes back --------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(status: int) -> None:
    def answer(_: bytes) -> bytes:
        to = f"http://127.0.0.1:{host.port}/elsewhere"
        return f"HTTP/1.1 {status} Go\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n".encode()

    with hosted(answer) as (host, one, _):
        found = request(one, host)
        assert found["status"] == status
        assert found["headers"]["location"].endswith("/elsewhere")
        assert len(host.requests) == 1


def test_binary_bodies() -> None:
    with hosted(plain(b"\xff\xfe")) as (host, one, _):
        found = request(one, host)
        assert (found["body"], found["body_encoding"]) == ("//4=", "base64")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfine\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\nfine",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine",
    ],
)
def test_other_framings(answer: bytes) -> None:
    with hosted(lambda _: answer) as (host, one, _):
        assert request(one, host)["body"] == "fine"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"hello\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 20,
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000,
    ],
)
def test_answers_that_are_no_http(answer: bytes) -> None:
    with hosted(lambda _: answer) as (host, one, _), pytest.raises(Refused) as caught:
        request(one, host)
    assert caught.value.code == "UPSTREAM_FAILED"
    assert caught.value["context"] == {"sent": True}


def test_size_limit() -> None:
    with hosted(plain(b"x" * 2000), http_body_limit=1999) as (host, one, _):
        with pytest.raises(Refused) as caught:
            request(one, host)
        assert caught.value.code == "RESPONSE_TOO_LARGE"
        assert one.list()


def test_a_dripping_host_cannot_extend_the_time() -> None:
    with hosted(plain(b"x" * 500), drip=0.02, http_timeout=0.3) as (host, one, _):
        with pytest.raises(Refused) as caught:
            request(one, host)
        assert caught.value.code == "UPSTREAM_FAILED"


def test_other_connections_go_on_meanwhile() -> None:
    gate = threading.Event()

    def answer(_: bytes) -> bytes:
        gate.wait(20)
        return plain()(b"")

    with hosted(answer) as (host, one, vault):
        one.send(
            "use",
            {
                "path": "up/key",
                "operation": "http_request",
                "params": {"url": f"http://127.0.0.1:{host.port}/"},
            },
        )
        # Asked behind it on the same connection: answered behind it.
        behind = one.send("list", {})
        for _ in range(20):
            assert vault.admin.status().credentials == 1
        gate.set()
        assert one.receive()["result"]["status"] == 200
        assert one.receive()["id"] == behind


@pytest.mark.parametrize("tls", [False, True])
def test_a_stopping_vault_does_not_wait_for_a_host(tls: bool, authority: trustme.CA) -> None:
    gate = threading.Event()
    context: ssl.SSLContext | None = None
    client = ssl.create_default_context()
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(context)
        authority.configure_trust(client)

    def answer(_: bytes) -> bytes:
        gate.wait(60)
        return b""

    with ExitStack() as stack:
        host = Host(answer, context, 0.0)
        stack.callback(host.close)
        stack.callback(gate.set)
        allow = frozenset({f"localhost:{host.port}"})
        before = set(threading.enumerate())
        with running(http_allow=allow, http_tls=client, stop_grace=0.1) as vault:
            vault.put("up/key", SECRET)
            one = Wire(vault.socket_path).login("demo", vault.add_agent("demo"))
            stack.callback(one.close)
            scheme = "https" if tls else "http"
            params = {"url": f"{scheme}://localhost:{host.port}/"}
            one.send("use", {"path": "up/key", "operation": "http_request", "params": params})
            while not host.requests:
                time.sleep(0.01)
        # The worker that waited is told to stop, and does: a process would end with it.
        for thread in set(threading.enumerate()) - before:
            thread.join(20)
            assert not thread.is_alive()
        assert not gate.is_set()


def test_proxies_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with hosted(plain()) as (host, one, _):
        assert request(one, host)["status"] == 200


# -- TLS --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("issued", "trusted", "fine"),
    [("localhost", True, True), ("other.test", True, False), ("localhost", False, False)],
)
def test_tls_is_verified(authority: trustme.CA, issued: str, trusted: bool, fine: bool) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(issued).configure_cert(server)
    client = ssl.create_default_context()
    if trusted:
        authority.configure_trust(client)
    with hosted(plain(), tls=server, http_tls=client) as (host, one, _):
        url = f"https://localhost:{host.port}/"
        if fine:
            assert request(one, host, url=url)["status"] == 200
            return
        with pytest.raises(Refused) as caught:
            request(one, host, url=url)
        assert caught.value.code == "UPSTREAM_FAILED"
        assert caught.value["context"] == {"sent": False}
        assert host.requests == []


# -- private addresses ------------------------------------------------------------

PRIVATE = [
    "127.0.0.1",
    "127.8.9.10",
    "10.1.2.3",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "0.1.2.3",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "192.0.2.1",
    "198.18.0.1",
    "::",
    "::1",
    "::7f00:1",
    "fc00::1",
    "fd12::1",
    "fe80::1",
    "fec0::1",
    "ff02::1",
    "2001:db8::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "64:ff9b::a00:1",
    "64:ff9b:1::1",
    "2002:7f00:1::",
    "2001:0:7f00:1::",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses(address: str) -> None:
    assert not outbound.is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address",
    ["1.1.1.1", "8.8.8.8", "172.32.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"],
)
def test_public_addresses(address: str) -> None:
    assert outbound.is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST",
        "localhost.",
        "sub.localhost",
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0177.0.0.1",
        "0x7f.0.0.1",
        "0x7f000001",
        "0",
        "10.0.0.8",
        "192.168.0.1",
        "169.254.169.254",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[0:0:0:0:0:ffff:a00:1]",
        "[fe80::1]",
        "[fd00::1]",
    ],
)
def test_no_spelling_of_a_private_host_gets_through(host: str) -> None:
    # A real host listens there, and would be reached if it did.
    with hosted(plain(), http_timeout=2.0, http_allow=frozenset()) as (there, one, _):
        for scheme in ("http", "https"):
            with pytest.raises(Refused) as caught:
                request(one, there, url=f"{scheme}://{host}:{there.port}/")
            assert caught.value.code == "SSRF_BLOCKED"
        assert there.requests == []


def test_file_urls() -> None:
    with hosted(plain()) as (_, one, _vault), pytest.raises(Refused) as caught:
        one.use("up/key", "http_request", url="file:///etc/passwd")
    assert caught.value.code == "SSRF_BLOCKED"


def resolving(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Have names resolve to each of `answers` in turn; return the names asked for."""
    asked: list[str] = []
    left = list(answers)

    def fake(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        asked.append(host)
        return [
            (
                socket.AF_INET6 if ":" in address else socket.AF_INET,
                socket.SOCK_STREAM,
                6,
                "",
                (address, port),
            )
            for address in left.pop(0)
        ]

    monkeypatch.setattr(socket, "getaddrinfo", fake)
    return asked


LIMITS = outbound.Limits(2.0, 1000, frozenset())


@pytest.mark.parametrize(
    "addresses",
    [["127.0.0.1"], ["10.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["::ffff:10.0.0.1"], ["::1"]],
)
def test_names_that_resolve_to_private_addresses(
    monkeypatch: pytest.MonkeyPatch, addresses: list[str]
) -> None:
    dialled: list[Any] = []
    monkeypatch.setattr(socket.socket, "connect", lambda _, where: dialled.append(where))
    resolving(monkeypatch, addresses)
    target = outbound.parse_target("http://innocent.test/")
    with pytest.raises(Refusal) as caught:
        outbound.fetch(target, "GET", [(b"Host", b"innocent.test")], b"", LIMITS)
    assert caught.value.code == "SSRF_BLOCKED"
    assert dialled == []


def test_the_checked_address_is_the_one_dialled(monkeypatch: pytest.MonkeyPatch) -> None:
    # Public at the first look and private at the second: there must be no second look.
    asked = resolving(monkeypatch, ["93.184.216.34"], ["127.0.0.1"])
    dialled: list[Any] = []

    def connect(_: socket.socket, where: Any) -> None:
        dialled.append(where)
        raise OSError("not in a test")

    monkeypatch.setattr(socket.socket, "connect", connect)
    target = outbound.parse_target("http://innocent.test/")
    with pytest.raises(Refusal) as caught:
        outbound.fetch(target, "GET", [(b"Host", b"innocent.test")], b"", LIMITS)
    assert caught.value.code == "UPSTREAM_FAILED"
    assert asked == ["innocent.test"]
    assert dialled == [("93.184.216.34", 80)]


def test_the_allow_list_is_exact() -> None:
    with hosted(plain()) as (host, one, _):
        with pytest.raises(Refused) as caught:
            one.use("up/key", "http_request", url=f"http://127.0.0.2:{host.port}/")
        assert caught.value.code == "SSRF_BLOCKED"
        with pytest.raises(Refused) as caught:
            one.use("up/key", "http_request", url=f"http://127.0.0.1:{host.port - 1}/")
        assert caught.value.code == "SSRF_BLOCKED"


def test_domains_of_a_policy() -> None:
    with hosted(plain()) as (host, one, vault):
        vault.admin.policy_remove("agent-demo")
        vault.admin.policy_add(
            "up",
            principal="agent:demo",
            resources=["up/*"],
            actions=["use"],
            conditions={"allowed_domains": ["localhost"]},
        )
        assert request(one, host, url=f"http://localhost:{host.port}/")["status"] == 200
        with pytest.raises(Refused) as caught:
            request(one, host)
        assert caught.value.code == "ACCESS_DENIED"
        assert len(host.requests) == 1
        entries = vault.admin.audit(resource="up/key", action="use")
        assert [entry.metadata.get("domain") for entry in entries] == ["localhost", None]
        assert SECRET not in json.dumps([str(entry) for entry in entries])
