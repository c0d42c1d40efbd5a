"""Where the client finds its server and key, what it repeats, what it shows, what it shares."""

from __future__ import annotations

import asyncio
import copy
import os
import pickle
import ssl
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary import Secret
from ostiary.config import Limits
from ostiary.governance import (
    AsyncClient,
    AsyncGovernanceClient,
    Client,
    GovernanceClient,
    HestiaArgumentError,
    HestiaConnectError,
    HestiaError,
    HestiaRateLimitError,
    HestiaStateError,
    HestiaUnavailableError,
    RunResponse,
)
from tests.frames import recorded
from tests.http.peer import HttpPeer, answer

from .conftest import RUN, event, streams

Connect = Callable[..., Any]
KEY = "k-s3cret-key-77"


# --- settings


def test_the_guide_s_names() -> None:
    assert Client is GovernanceClient
    assert AsyncClient is AsyncGovernanceClient
    assert repr(Client("http://h:1/")) == "GovernanceClient(base_url='http://h:1')"


def test_defaults_and_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Client().base_url == "http://localhost:8000"
    monkeypatch.setenv("OSTIARY_GOVERNANCE_URL", "http://gate:9/x/")
    assert Client().base_url == AsyncClient().base_url == "http://gate:9/x"
    assert Client("http://other").base_url == "http://other"


def sent_key(peer: HttpPeer, *arguments: Any, **options: Any) -> str | None:
    with Client(peer.url(), *arguments, **options) as client:
        client.run("x")
    return peer.asked[-1].header("authorization")


def test_where_the_key_comes_from(
    peers: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    peer = peers(RUN)
    file = tmp_path / "key"
    file.write_text("from-file\n")
    file.chmod(0o600)
    assert sent_key(peer) is None
    monkeypatch.setenv("OSTIARY_GOVERNANCE_API_KEY_FILE", str(file))
    assert sent_key(peer) == "Bearer from-file"
    monkeypatch.setenv("OSTIARY_GOVERNANCE_API_KEY", "from-variable")
    assert sent_key(peer) == "Bearer from-variable"
    assert sent_key(peer, "given") == "Bearer given"
    assert sent_key(peer, api_key=Secret("hidden")) == "Bearer hidden"
    assert sent_key(peer, "") is None, "an empty one stands for none"


@pytest.mark.parametrize(
    ("content", "mode", "says_"),
    [
        (b"key", 0o644, "chmod 600"),
        (b"", 0o600, "is empty"),
        (b"two\nlines", 0o600, "not one line"),
        (b"with blank", 0o600, "not one line"),
        (b"\xff\xfe", 0o600, "printable ASCII"),
        (b"x" * 20_000, 0o600, "longer"),
        (None, 0, "cannot be read: No such file"),
    ],
)
def test_key_files_that_cannot_be_meant(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None, mode: int, says_: str
) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)
        file.chmod(mode)
    monkeypatch.setenv("OSTIARY_GOVERNANCE_API_KEY_FILE", str(file))
    with pytest.raises(HestiaArgumentError, match=says_) as caught:
        Client()
    assert "two" not in recorded(caught.value)


def test_a_key_file_that_is_no_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for path in (tmp_path, "/dev/zero", "\0", "~\ud800"):
        with pytest.raises(HestiaArgumentError):
            from ostiary.governance.settings import read_key_file

            read_key_file(path)


@pytest.mark.parametrize(
    "wrong",
    [
        {"base_url": "localhost:8000"},
        {"base_url": "ftp://h"},
        {"base_url": "http://user:pw@h"},
        {"base_url": "http://h/?q=1"},
        {"base_url": 8000},
        {"api_key": b"bytes"},
        {"api_key": "new\nline"},
        {"api_key": " "},
        {"timeout": 0},
        {"timeout": "soon"},
        {"retries": -1},
        {"retries": 1.5},
        {"max_connections": 0},
        {"limits": 5},
        {"parser": "lax"},
        {"idle_timeout": -1},
        {"on_retry": 5},
    ],
    ids=str,
)
def test_settings_that_cannot_be_meant(wrong: dict[str, Any]) -> None:
    for kind in (Client, AsyncClient):
        with pytest.raises(HestiaArgumentError) as caught:
            kind(**wrong)
        assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("call", "arguments"),
    [
        ("run", (5,)),
        ("run", ("x", 5)),
        ("run", ("x", None, None, None, 0)),
        ("run", ("x", None, None, None, 1.5)),
        ("run", ("x", None, None, None, True)),
        ("run", ("\ud800",)),
        ("chat.run", (None,)),
        ("chat.run", ("x", 1)),
        ("agents.run", ("a", 5)),
        ("agents.run", ("a", "t", [1])),
        ("agents.run", ("a", "t", {"x": object()})),
        ("secrets.get", ("",)),
        ("secrets.get", ("..",)),
        ("secrets.get", (5,)),
        ("secrets.delete", (".",)),
        ("secrets.set", ("", "v")),
        ("secrets.set", ("..", "v")),
        ("secrets.set", ("k", 5)),
        ("secrets.set", ("k", "v", None)),
        ("governance.explain", (None,)),
        ("governance.explain", ("WRITE", [1])),
        ("governance.trace", ("",)),
        ("governance.trace", ("\ud800",)),
    ],
)
def test_arguments_that_cannot_be_meant_send_nothing(
    connect: Connect, peers: Any, call: str, arguments: tuple[Any, ...]
) -> None:
    peer = peers(RUN)
    with pytest.raises(HestiaArgumentError):
        connect(peer).call(call, *arguments)
    assert peer.asked == []


# --- ids in paths


@given(st.text(min_size=1).filter(lambda s: s not in {".", ".."}))
def test_no_id_leaves_its_segment(key: str) -> None:
    from ostiary.governance import _routes as routes

    for route, before in (
        (routes.SECRET_GET, "/api/secrets/"),
        (routes.TRACE_V1, "/api/v1/trace/"),
    ):
        try:
            target = route.target.build(key).decode("ascii")
        except ValueError:
            assert not key.isprintable() or any("\ud800" <= c <= "\udfff" for c in key)
            continue
        assert target.startswith(before)
        segment = target.removeprefix(before)
        assert not set(segment) & set("/?# %\\") - {"%"}
        assert unquote(segment) == key


@pytest.mark.parametrize("key", ["../x", "a/b", "a?b=1", "a#b", "a b", "ä", "%2F", "..;/x", "a\\b"])
def test_an_id_is_one_segment_on_the_wire(connect: Connect, peers: Any, key: str) -> None:
    peer = peers({"value": "v"})
    assert connect(peer).call("secrets.get", key) == "v"
    target = peer.asked[0].target
    assert target.count("/") == 3
    assert unquote(target.removeprefix("/api/secrets/")) == key


# --- Unix sockets, TCP, limits


@pytest.mark.parametrize("kind", ["unix", "tcp", "tcp6"])
def test_every_kind_of_address(connect: Connect, peers: Any, kind: str) -> None:
    try:
        peer = peers(RUN, kind=kind)
    except OSError:
        pytest.skip(f"no {kind} here")
    assert connect(peer).run("x").trace_id == RUN["trace_id"]


def test_over_tls(connect: Connect, peers: Any) -> None:
    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    peer = peers(RUN, kind="tls", server_context=server)
    assert connect(peer, ssl_context=trusting).run("x").trace_id == RUN["trace_id"]
    with pytest.raises(HestiaConnectError, match="certificate"):
        connect(peer, retries=0).run("x")


@pytest.mark.parametrize("form", ["unix://{}", "http+unix://{}"])
def test_short_forms_of_a_unix_url(connect: Connect, peers: Any, form: str) -> None:
    peer = peers(RUN)
    assert connect(form.format(peer.where)).run("x").decision == "ALLOW"
    assert peer.asked[0].header("host") == "localhost"


# --- what is repeated


BUSY = answer(503, b"{}")
SLOW_DOWN = answer(429, b"{}", [("Retry-After", "0")])


@pytest.mark.parametrize(
    ("call", "arguments", "fault", "requests"),
    [
        ("system.config", (), BUSY, 4),
        ("secrets.delete", ("k",), BUSY, 4),
        ("secrets.get", ("k",), SLOW_DOWN, 4),
        ("run", ("x",), BUSY, 1),
        ("run", ("x",), SLOW_DOWN, 4),
        ("chat.run", ("x",), BUSY, 1),
        ("secrets.set", ("k", "v"), BUSY, 1),
        ("governance.explain", ("WRITE",), BUSY, 1),
    ],
)
def test_how_often_a_call_is_sent(
    connect: Connect, peers: Any, call: str, arguments: Any, fault: bytes, requests: int
) -> None:
    peer = peers(fault)
    with pytest.raises((HestiaUnavailableError, HestiaRateLimitError)):
        connect(peer).call(call, *arguments)
    assert len(peer.asked) == requests


def test_retries_is_a_setting(connect: Connect, peers: Any) -> None:
    peer = peers(BUSY)
    with pytest.raises(HestiaUnavailableError):
        connect(peer, None, 30.0, 1).call("system.config")
    assert len(peer.asked) == 2


@pytest.mark.parametrize("key", [True, "mine"])
@pytest.mark.parametrize(
    ("call", "arguments"), [("run", ("x",)), ("chat.run", ("x",)), ("agents.run", ("a", "t"))]
)
def test_with_an_idempotency_key_a_run_is_repeated(
    connect: Connect, peers: Any, call: str, arguments: Any, key: str | bool
) -> None:
    peer = peers(BUSY, {"trace_id": "t", "agent_id": "a"})
    connect(peer).call(call, *arguments, idempotency_key=key)
    first, second = (asked.header("idempotency-key") for asked in peer.asked)
    assert first == second
    assert first == key or key is True


def test_hooks_are_told_and_know_no_secret(connect: Connect, peers: Any) -> None:
    told: list[Any] = []
    client = connect(
        peers(BUSY, {"value": "v"}),
        KEY,
        on_request=told.append,
        on_response=told.append,
        on_retry=told.append,
    )
    client.call("secrets.get", "mail/pass")
    assert [type(one).__name__ for one in told] == [
        *("RequestInfo", "ResponseInfo", "RetryInfo"),
        *("RequestInfo", "ResponseInfo"),
    ]
    assert told[0].path == "/api/secrets/{key}"
    assert KEY not in str(told)
    assert "mail" not in str(told)


# --- trace and health


def test_trace_is_none_for_404_alone(connect: Connect, peers: Any) -> None:
    peer = peers(answer(404))
    assert connect(peer).call("governance.trace", "t-1") is None
    assert connect(peer).call("governance.get_trace", "t-1") is None
    assert [asked.target for asked in peer.asked[:2]] == [
        "/api/governance/trace/t-1",
        "/api/v1/trace/t-1",
    ]
    for fault in (answer(500), answer(401), answer(403), answer(200, b"nonsense")):
        with pytest.raises(HestiaError):
            connect(peers(fault), retries=0).call("governance.trace", "t-1")


def test_an_empty_trace_is_a_trace(connect: Connect, peers: Any) -> None:
    peer = peers({})
    assert connect(peer).call("governance.trace", "t-1") == {}
    assert len(peer.asked) == 1


def test_a_trace_without_its_id_has_the_one_asked_for(connect: Connect, peers: Any) -> None:
    client = connect(peers({"decision": "ALLOW"}))
    assert client.call("governance.get_trace", "t-7").trace_id == "t-7"


def test_health_falls_back_for_404_alone(connect: Connect, peers: Any) -> None:
    peer = peers(answer(500))
    with pytest.raises(HestiaError):
        connect(peer, retries=0).call("system.status")
    assert len(peer.asked) == 1
    with pytest.raises(HestiaError):
        connect(peers(answer(404)), retries=0).call("system.status")


# --- what a client shows of itself


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_nothing_shows_the_key(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    client = kind("https://h:1", KEY, strict=True, timeout=5, retries=1, limits=Limits(head=9999))
    data = pickle.dumps(client)
    assert KEY.encode() not in data
    for other in (pickle.loads(data), copy.copy(client), copy.deepcopy(client)):
        assert type(other) is kind
        assert other.base_url == client.base_url
        assert other._settings == client._settings.portable()
        assert other.pool.settings == client.pool.settings
        for one in (client, other):
            shown = repr(one) + str(one) + repr(vars(one)) + repr(one.pool) + repr(one._settings)
            assert KEY not in shown
    # Where it arrives, it takes the key that is set there.
    monkeypatch.setenv("OSTIARY_GOVERNANCE_API_KEY", "another")
    assert pickle.loads(data)._settings.api_key == "another"
    without = pickle.dumps(kind("http://h:1", ""))
    assert pickle.loads(without)._settings.api_key is None


def test_a_client_that_arrived_works(peers: Any) -> None:
    peer = peers(RUN)
    with Client(peer.url(), KEY) as client:
        client.run("x")
        with pickle.loads(pickle.dumps(client)) as other:
            assert other.run("x").decision == "ALLOW"
    assert peer.asked[1].header("authorization") is None


# --- the other colour's names


def everything(client: Any, *, awaitable: bool) -> list[Any]:
    suffix = "_async" if awaitable else ""
    calls = [
        (client.chat, "run", ("m",)),
        (client.agents, "run", ("a", "t")),
        (client.system, "status", ()),
        (client.system, "config", ()),
        (client.system, "metrics", ()),
        (client.system, "health", ()),
        (client.secrets, "get", ("k",)),
        (client.secrets, "set", ("k", "v")),
        (client.secrets, "delete", ("k",)),
        (client.governance, "explain", ("WRITE",)),
        (client.governance, "status", ()),
        (client.governance, "trace", ("t",)),
        (client.governance, "get_trace", ("t",)),
    ]
    return [getattr(space, name + suffix)(*arguments) for space, name, arguments in calls]


ANYTHING = {"trace_id": "t", "agent_id": "a", "status": "OK", "value": "v"}


def test_blocking_names_on_the_async_client(peers: Any) -> None:
    peer = peers(ANYTHING)

    async def main() -> None:
        async with AsyncClient(peer.url(), KEY) as client:
            threads = threading.active_count()
            found = everything(client, awaitable=False)
            assert found[6] == client.secrets("k") == "v"
            assert client.run("x") == RunResponse(trace_id="t")
            assert client.chat("m") == client.chat.send("m") == found[0]
            assert client.agents("a", "t") == found[1]
            assert await client.run_async("x") == client.run("x")
            # The server's own thread for the one connection of the blocking twin, and no other.
            assert threading.active_count() <= threads + 2
            assert len({asked.connection for asked in peer.asked}) == 2

    asyncio.run(main())
    assert {asked.header("authorization") for asked in peer.asked} == {f"Bearer {KEY}"}


def test_awaitable_names_on_the_blocking_client(peers: Any) -> None:
    peer = peers(ANYTHING)
    with Client(peer.url(), KEY) as client:

        async def main() -> list[Any]:
            return [await one for one in everything(client, awaitable=True)]

        # On one loop after another, which a connection could not outlive.
        first, second = asyncio.run(main()), asyncio.run(main())
        assert first == second == everything(client, awaitable=False)
        assert client.secrets("k") == "v"
        assert client.chat("m") == client.chat.send("m") == first[0]
        assert client.agents("a", "t") == first[1]
    assert {asked.header("authorization") for asked in peer.asked} == {f"Bearer {KEY}"}


def test_a_closed_client_is_closed_in_both_colours(peers: Any) -> None:
    peer = peers(ANYTHING)

    async def main() -> None:
        client = AsyncClient(peer.url())
        client.chat.run("m")
        await client.close()
        with pytest.raises(HestiaStateError):
            client.chat.run("m")
        other = Client(peer.url())
        other.close()
        with pytest.raises(HestiaStateError):
            await other.chat.run_async("m")

    asyncio.run(main())
    assert len(peer.asked) == 1


def test_the_blocking_client_works_inside_a_running_loop_without_a_thread(peers: Any) -> None:
    peer = peers(RUN, streams(event("start"), event("final"), event("done")), RUN, kind="tcp")

    async def main() -> None:
        with Client(peer.url()) as client:
            client.run("x")
            before = threading.active_count()
            assert [one.type for one in client.run_stream("x")] == ["start", "final", "done"]
            assert client.run("x").decision == "ALLOW"
            assert threading.active_count() == before

    asyncio.run(main())
    assert len({asked.connection for asked in peer.asked}) == 1, "all on one connection"


def test_no_loop_beside_a_blocking_client(peers: Any) -> None:
    peer = peers(RUN)
    program = (
        "import sys\n"
        "from ostiary.governance import Client\n"
        f"with Client({peer.url()!r}) as client:\n"
        "    client.run('x'); client.run('x')\n"
        "import threading\n"
        "assert threading.active_count() == 1\n"
        "assert 'asyncio' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


# --- one client, many threads; many tasks; a fork


def test_one_client_for_many_threads(peers: Any) -> None:
    peer = peers(serve=numbered)
    results: dict[int, list[str]] = {}
    with Client(peer.url(), max_connections=4) as client:

        def work(number: int) -> None:
            results[number] = [client.run(f"{number}/{i}").result for i in range(20)]

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
    for number in range(8):
        assert results[number] == [f"{number}/{i}" for i in range(20)]
    assert len({asked.connection for asked in peer.asked}) <= 4


def test_one_client_for_many_tasks(run: Any, peers: Any) -> None:
    peer = peers(serve=numbered)

    async def main() -> list[str]:
        async with AsyncClient(peer.url(), max_connections=4) as client:
            runs = await asyncio.gather(*(client.run_async(str(i)) for i in range(200)))
            return [one.result for one in runs]

    assert run(main()) == [str(i) for i in range(200)]
    assert len({asked.connection for asked in peer.asked}) <= 4


def numbered(exchange: Any) -> None:
    import json

    while True:
        asked = exchange.request()
        exchange.json({"trace_id": "t", "result": json.loads(asked.body)["input"]})


def test_a_forked_child_connects_anew(peers: Any) -> None:
    peer = peers(RUN)
    with Client(peer.url()) as client:
        client.run("x")
        with warnings.catch_warnings():
            # The server's threads, of which the child uses none.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if not child:  # pragma: no cover
            try:
                client.run("x")
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
        client.run("x")
    assert [asked.connection for asked in peer.asked] == [0, 1, 0]


def test_closing_is_no_end_of_the_world(connect: Connect, peers: Any) -> None:
    client = connect(peers(RUN))
    client.close()  # nothing was opened


def test_a_client_of_the_guide_is_never_closed(no_leaked_descriptors: None, peers: Any) -> None:
    peer = peers(RUN)
    client = Client(peer.url())
    client.run("x")
    assert client.pool.open_connections == 1
    del client  # the descriptors are counted behind the test
