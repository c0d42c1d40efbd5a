"""nginx as the forwarder of a pod: a Unix socket on this side, the gateway's TCP on the other.

Bytes and headers pass unchanged, streams as they are made.
"""

from __future__ import annotations

import grp
import json
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("cryptography", reason="the extra dev is not installed")

from ostiary.devserver import GatewayOptions, RunningGateway, running
from ostiary.gateway import GatewayClient, RateLimitError, access_from_environment
from ostiary.http import Pool
from tests.devserver.gateway import CHAT, asking, proof, refusal, stream
from tests.devserver.test_gateway_compatibility import exchange, original
from tests.devserver.web import Web
from tests.peers.proxies import Proxy, answers, binary, wait_for

FORWARDER = """
{user}
worker_processes 1;
daemon off;
pid {here}/nginx.pid;
error_log {here}/error.log warn;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {here}/client;
    proxy_temp_path {here}/proxy;
    fastcgi_temp_path {here}/fastcgi;
    uwsgi_temp_path {here}/uwsgi;
    scgi_temp_path {here}/scgi;
    client_max_body_size 0;
    upstream gateway {{ server 127.0.0.1:{port}; keepalive 8; }}
    server {{
        listen unix:{here}/llm.sock;
        location / {{
            proxy_pass http://gateway;
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header Connection "";
            # Tokens of a stream are not gathered here, and requests are not stored.
            proxy_buffering off;
            proxy_request_buffering off;
            # What comes without a length goes on so, which the original client needs.
            {unchunked}
        }}
    }}
}}
"""


class Forwarder(Proxy):
    """nginx between a socket of its own and the gateway's port."""

    name = "nginx"

    def __init__(self, gateway: RunningGateway, *, unchunked: bool) -> None:
        program = binary("nginx")
        # A short path: a socket's has 107 bytes at most.
        self.here = Path(tempfile.mkdtemp(prefix="fw", dir="/tmp"))
        user = ""
        if os.geteuid() == 0:
            account = pwd.getpwuid(0)
            user = f"user {account.pw_name} {grp.getgrgid(account.pw_gid).gr_name};"
        assert gateway.url is not None
        configuration = self.here / "nginx.conf"
        configuration.write_text(
            FORWARDER.format(
                here=self.here,
                user=user,
                port=gateway.url.rpartition(":")[2],
                unchunked="chunked_transfer_encoding off;" if unchunked else "",
            )
        )
        self.socket_path = self.here / "llm.sock"
        log = self.here / "out"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [program, "-p", str(self.here), "-e", str(self.here / "error.log"),
                 "-c", str(configuration)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )  # fmt: skip
        super().__init__(process, {})
        wait_for(process, lambda: answers(str(self.socket_path)), log)

    def stop(self) -> None:
        super().stop()
        shutil.rmtree(self.here, ignore_errors=True)


@pytest.fixture(scope="module")
def gateway() -> Iterator[RunningGateway]:
    with running(tcp=False, demo=True, gateway=GatewayOptions(port=0)) as server:
        yield server.gateway


def forwarder(gateway: RunningGateway, *, unchunked: bool) -> Iterator[Forwarder]:
    try:
        one = Forwarder(gateway, unchunked=unchunked)
    except FileNotFoundError as reason:
        pytest.skip(str(reason))
    yield one
    one.stop()


@pytest.fixture(scope="module")
def nginx(gateway: RunningGateway) -> Iterator[Forwarder]:
    yield from forwarder(gateway, unchunked=False)


@pytest.fixture(scope="module")
def plain_nginx(gateway: RunningGateway) -> Iterator[Forwarder]:
    yield from forwarder(gateway, unchunked=True)


def test_both_proofs_arrive_unchanged(gateway: RunningGateway, nginx: Forwarder) -> None:
    with Web(nginx.socket_path) as web:
        for _ in range(3):
            reply = web.post(CHAT, asking("through the pod"), headers=proof(gateway))
            assert reply.document["choices"][0]["message"]["content"] == "through the pod"
            assert reply["x-request-id"] == gateway.calls()[-1].request_id
        bent = proof(gateway) | {"Txn-Token": "a.b.c"}
        assert refusal(web.post(CHAT, asking(), headers=bent)) == (401, "txn_token_invalid")
        reply = web.post(CHAT, asking("/fail 429 2"), headers=proof(gateway))
        assert (reply.status, reply["retry-after"]) == (429, "2")


def test_a_stream_passes_as_it_is_made(gateway: RunningGateway, nginx: Forwarder) -> None:
    """The first word is here while the gateway still waits to say the second."""
    with Web(nginx.socket_path) as web:
        web.send(
            "POST", CHAT, asking("/pace 3600\nnever whole") | {"stream": True},
            headers=proof(gateway),
        )  # fmt: skip
        assert web.head()[0] == 200
    with Web(nginx.socket_path) as web:
        found = stream(web, asking("one two three"), proof(gateway))
        assert found[-1] == "[DONE]"


def test_our_pool_through_it(gateway: RunningGateway, nginx: Forwarder) -> None:
    with Pool(f"unix://{nginx.socket_path}") as pool:
        headers = proof(gateway)
        for _ in range(3):
            events = pool.events(
                "POST",
                CHAT,
                json=asking("/words 500") | {"stream": True},
                headers=headers,
                terminator=b"[DONE]",
            )
            with events:
                pieces = [json.loads(one.data)["choices"][0]["delta"] for one in events]
            assert len("".join(p.get("content") or "" for p in pieces).split()) == 500
        assert pool.open_connections == 1


def test_our_client_through_it(gateway: RunningGateway, nginx: Forwarder) -> None:
    environment = gateway.environment | {"LLM_GATEWAY_SOCKET": str(nginx.socket_path)}
    with GatewayClient(access_from_environment(environment)) as client:
        assert client.health()
        assert client.chat("through the pod").text == "through the pod"
        with client.stream_chat("one two three") as stream:
            assert "".join(chunk.text or "" for chunk in stream) == "one two three"
        assert len(client.embed(["alpha", "beta"]).vectors) == 2
        gateway.revoke()
        assert client.chat("with new tokens").text == "with new tokens"
        with pytest.raises(RateLimitError):
            client.chat("/fail 429 1", timeout=5)


def test_the_original_client_through_it(gateway: RunningGateway, plain_nginx: Forwarder) -> None:
    """nginx adds no User-Agent and, told not to, no chunks: the profile holds on this side."""
    path = plain_nginx.socket_path
    _, headers, body = exchange(path, original(gateway, asking(), Connection="close"))
    assert int(headers["content-length"]) == len(body)
    _, headers, body = exchange(path, original(gateway, asking("one two") | {"stream": True}))
    assert not {"transfer-encoding", "content-length"} & set(headers)
    assert body.endswith(b"data: [DONE]\n\n")
