"""API keys by reference: an embedded vault grants them, a server on a real socket counts them."""

from __future__ import annotations

import asyncio
import math
import os
import pickle
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from typing import Any

import pytest
from typer.testing import CliRunner

from ostiary import AsyncOstiary, Ostiary
from ostiary._api_key import Reference, hidden, key_problem
from ostiary.cli.app import tree
from ostiary.client import AsyncVaultKeys, VaultKeys
from ostiary.client._keys import _async as _keys_async
from ostiary.client._keys import _sync as _keys_sync
from ostiary.devserver.inprocess import RunningVault, running
from ostiary.errors import (
    AuthenticationError,
    ClientStateError,
    ConnectError,
    InvalidArgumentError,
    OstiaryError,
    PermissionDeniedError,
)
from ostiary.gateway import AsyncGatewayClient, DirectProviderClient, GatewayClient
from ostiary.governance import AsyncGovernanceClient, GovernanceClient
from ostiary.http import AsyncPool, Pool
from ostiary.runtime import AsyncRuntimeClient, RuntimeClient
from ostiary.secret import Secret
from ostiary.vault import AsyncVaultClient, VaultClient, _leases
from ostiary.workflow import AsyncWorkflowClient, TelemetryPipeline, WorkflowClient
from tests.colours import Driven, colour_of, loop_of
from tests.frames import recorded
from tests.http.peer import Exchange, HttpPeer
from tests.transport.peer import Connection, Peer

KEY = "first-key-of-the-service"
NEXT = "second-key-of-the-service"
REFERENCE = "vault:services/api"
WRONG = ["dict", "bytes", "list"]


@pytest.fixture(scope="module")
def vault() -> Iterator[RunningVault]:
    with running(tcp=False) as one:
        one.admin.audit(limit=1)  # its files are opened before anybody counts descriptors
        yield one


class World:
    """A vault with a key, a service that takes some keys, and clients of one colour of both."""

    def __init__(self, vault: RunningVault, peer: HttpPeer, runner: Any, name: str) -> None:
        self.vault = vault
        self.peer = peer
        self.runner = runner
        self.name = name
        self.key_path = vault.add_agent(name)
        self.ttl: int | None = 300
        self.fine = {KEY, NEXT}
        self.refused: Callable[[], object] = lambda: None
        self.put(KEY)
        self._made: list[Callable[[], object]] = []
        self._keys: list[Any] = []

    def put(self, value: str | bytes, path: str = "services/api") -> None:
        self.vault.put(path, value, overwrite=True)

    def vault_client(self, **more: Any) -> Any:
        kind: Any = VaultClient if self.runner is None else AsyncVaultClient
        more.setdefault("socket_path", self.vault.socket_path)
        client = kind(self.name, key_path=self.key_path, **more).open()
        self._made.append(lambda: self.wait(client.close()))
        return client

    def keys(self, vault: Any = None) -> Any:
        kind: Any = VaultKeys if self.runner is None else AsyncVaultKeys
        made = kind(vault or self.vault_client(), ttl=self.ttl)
        self._keys.append(made)
        return made

    def pool(self, keys: Any, reference: str = REFERENCE, **more: Any) -> Any:
        kind: Any = Pool if self.runner is None else AsyncPool
        credentials = keys.header(reference, "Authorization", "Bearer ")
        more.setdefault("timeout", 20)
        pool = kind(self.peer.url(), credentials=credentials, max_retries=0, **more)
        self._made.append(lambda: self.wait(pool.close()))
        return pool

    def client(self, sync: Any, asynchronous: Any, **more: Any) -> Any:
        client = (sync if self.runner is None else asynchronous)(**more)
        self._made.append(Driven(client, self.runner).close)
        return client

    def wait(self, outcome: Any) -> Any:
        return Driven(None, self.runner).wait(outcome)

    def get(self, pool: Any) -> int:
        return int(self.wait(pool.request("GET", "/x")).status)

    def many(self, pool: Any, count: int) -> list[int]:
        """Make calls at once: of threads, or of tasks."""
        if self.runner is None:
            with ThreadPoolExecutor(count) as threads:
                return list(threads.map(lambda _: self.get(pool), range(count)))

        async def main() -> list[int]:
            calls = [pool.request("GET", "/x") for _ in range(count)]
            return [one.status for one in await asyncio.gather(*calls)]

        return self.runner.run(main())  # type: ignore[no-any-return]

    def shown(self) -> list[str | None]:
        """The keys that the service was shown, in order."""
        found = [each.header("authorization") for each in self.peer.asked]
        return [each and each.removeprefix("Bearer ") for each in found]

    def retrieved(self) -> int:
        """How often this agent was granted something so far."""
        entries = self.vault.admin.audit(agent=self.name, limit=1000)
        return sum(entry.action == "retrieve" and entry.allowed for entry in entries)

    def leases(self) -> list[str]:
        """The paths that this agent has a lease on."""
        return [one.path for one in self.vault.admin.lease_list() if one.agent_name == self.name]

    def serve(self, exchange: Exchange) -> None:
        while True:
            asked = exchange.request()
            key = (asked.header("authorization") or asked.header("x-api-key") or "").split()[-1:]
            if key and key[0] in self.fine:
                exchange.json({})
            else:
                self.refused()
                exchange.json({"error": "unauthorized"}, 401)

    def close(self) -> None:
        for keys in self._keys:
            self.wait(keys.close() if self.runner is None else keys.aclose())
        for close in reversed(self._made):
            close()


_numbers = iter(range(1_000_000))


@pytest.fixture(params=["sync", "asyncio"])
def world(
    request: pytest.FixtureRequest, vault: RunningVault, no_leaked_descriptors: None
) -> Iterator[World]:
    with ExitStack() as stack:
        runner = stack.enter_context(loop_of(colour_of(request)))
        worlds: list[World] = []
        peer = stack.enter_context(HttpPeer(lambda exchange: worlds[0].serve(exchange)))
        worlds.append(World(vault, peer, runner, f"agent-{next(_numbers)}"))
        stack.callback(worlds[0].close)
        yield worlds[0]


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let so many seconds pass on the clock that leases are measured by."""
    real, ahead = _leases._read_clock, [0.0]
    monkeypatch.setattr(_leases, "_read_clock", lambda: real() + ahead[0])

    def pass_by(seconds: float) -> None:
        ahead[0] += seconds

    return pass_by


# --- what a reference is


def test_a_reference_is_read_from_text_alone() -> None:
    assert hidden("vault:a/b") == Reference("a/b")
    assert hidden("vault:a/b#c#d") == Reference("a/b", "c#d")
    assert str(Reference("a/b", "c")) == "vault:a/b#c"
    assert pickle.loads(pickle.dumps(Reference("a/b"))) == Reference("a/b")
    literal = hidden(Secret("vault:a/b"))
    assert isinstance(literal, Secret)
    assert literal.reveal() == "vault:a/b"


@pytest.mark.parametrize("text", ["vault:", "vault: a", "vault:a\nb", "vault:#a", "vault:a#"])
def test_a_reference_that_says_nothing_is_refused(text: str) -> None:
    found = hidden(text)
    assert isinstance(found, Reference)
    assert key_problem(found)
    for kind in (RuntimeClient, WorkflowClient, GovernanceClient):
        with pytest.raises(InvalidArgumentError, match="refers to"):
            kind(base_url="http://localhost", api_key=text)
    with pytest.raises(InvalidArgumentError, match="vault:path"):
        VaultKeys(VaultClient("nobody")).header(text, "Authorization")


# --- one lease for all, when it is needed


def test_nothing_is_fetched_before_the_first_call(world: World) -> None:
    asked: list[str] = []

    def vault() -> Any:
        asked.append("vault")
        return world.vault_client()

    pool = world.pool(world.keys(vault))
    assert asked == []
    assert world.get(pool) == 200
    assert asked == ["vault"]
    assert world.shown() == [KEY]


def test_clients_share_one_lease_per_path(world: World) -> None:
    keys = world.keys()
    world.put("another", "services/other")
    world.fine.add("another")
    pools = [world.pool(keys), world.pool(keys), world.pool(keys, "vault:services/other")]
    for _ in range(3):
        assert [world.get(pool) for pool in pools] == [200] * 3
    assert world.retrieved() == 2
    assert sorted(world.leases()) == ["services/api", "services/other"]


def test_calls_at_once_fetch_it_once(world: World) -> None:
    pool = world.pool(world.keys())
    assert world.many(pool, 16) == [200] * 16
    assert world.retrieved() == 1


def test_closing_gives_the_lease_back(world: World) -> None:
    keys = world.keys()
    pool = world.pool(keys)
    world.get(pool)
    assert world.leases() == ["services/api"]
    world.wait(keys.close() if world.runner is None else keys.aclose())
    assert world.leases() == []
    with pytest.raises(ClientStateError, match="given back already"):
        world.get(pool)


def test_closing_while_a_key_is_fetched_gives_that_lease_back_too(world: World) -> None:
    client = world.vault_client()
    asked = client.lease

    def lease(*of: Any, **more: Any) -> Any:
        found = asked(*of, **more)
        acquire = found.acquire

        def granted() -> Any:
            result = acquire()
            keys.close()
            return result

        async def granted_async() -> Any:
            result = await acquire()
            await keys.aclose()
            return result

        found.acquire = granted if world.runner is None else granted_async
        return found

    client.lease = lease
    keys = world.keys(client)
    with pytest.raises(ClientStateError, match="given back already"):
        world.get(world.pool(keys))
    assert world.leases() == []


# --- leases end


def test_a_lease_is_renewed_before_it_ends(world: World, later: Callable[[float], None]) -> None:
    pool = world.pool(world.keys())
    world.get(pool)
    later(150)
    world.get(pool)
    assert world.retrieved() == 1
    world.put(NEXT)
    later(100)  # a fifth of it is left at the latest when it is renewed, a third at the earliest
    world.get(pool)
    assert world.retrieved() == 2
    assert world.shown() == [KEY, KEY, NEXT]
    assert world.leases() == ["services/api"]  # the old one was given back


def test_a_lease_that_ended_is_fetched_anew(world: World, later: Callable[[float], None]) -> None:
    pool = world.pool(world.keys())
    world.get(pool)
    world.put(NEXT)
    later(301)
    assert world.many(pool, 8) == [200] * 8
    assert world.retrieved() == 2
    assert world.shown() == [KEY] + [NEXT] * 8


def test_a_short_lease_by_the_real_clock(world: World) -> None:
    world.ttl = 1
    pool = world.pool(world.keys())
    world.get(pool)
    world.put(NEXT)
    until = time.monotonic() + 30
    while world.shown()[-1] == KEY:
        assert time.monotonic() < until
        assert world.get(pool) == 200
        time.sleep(0.02)
    assert world.retrieved() == 2


def test_the_old_key_serves_while_the_vault_is_away(
    world: World, later: Callable[[float], None]
) -> None:
    away: list[Any] = []

    def vault() -> Any:
        return away[0] if away else client

    client = world.vault_client()
    pool = world.pool(world.keys(vault))
    world.get(pool)
    away.append(world.vault_client(socket_path="/nowhere/vault.sock", max_retries=0))
    for left in (50, 40, 30, 20, 10):  # it is asked for again and again, and still serves
        later(300 - left - (0 if left == 50 else 300 - left - 10))
        assert world.get(pool) == 200
    later(60)
    with pytest.raises(ConnectError, match="vault:services/api refers to cannot be had: .*vault"):
        world.get(pool)
    assert set(world.shown()) == {KEY}
    away.clear()
    assert world.get(pool) == 200


def test_who_needs_no_renewal_waits_for_none(
    world: World, later: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one call renews, and the vault takes its time, the others go on with the old key."""
    for module in (_keys_async, _keys_sync):
        monkeypatch.setattr(module, "_PATIENCE", 3600)
    vaults = [world.vault_client()]
    pool = world.pool(world.keys(lambda: vaults[-1]), timeout=None)
    world.get(pool)
    later(290)

    def take_long(link: Connection) -> None:
        link.read_request()
        asked.set()
        link.stall()

    asked = threading.Event()
    with ExitStack() as stack, Peer(take_long) as slow:
        vaults.append(world.vault_client(socket_path=slow.where, max_retries=0))
        if world.runner is None:
            threads = ThreadPoolExecutor(2)
            stack.callback(threads.shutdown)
            renewing = threads.submit(world.get, pool)
            assert asked.wait(30)
            assert threads.submit(world.get, pool).result(30) == 200
            assert not renewing.done()
            slow.stop()
            assert renewing.result(30) == 200
        else:
            world.runner.run(_while_it_is_renewed(pool, asked, slow))
    assert world.shown() == [KEY] * 3
    assert world.retrieved() == 1


async def _while_it_is_renewed(pool: Any, asked: threading.Event, slow: Peer) -> None:
    renewing = asyncio.create_task(pool.request("GET", "/x"))
    while not asked.is_set():
        await asyncio.sleep(0.001)
    async with asyncio.timeout(30):
        assert (await pool.request("GET", "/x")).status == 200
    assert not renewing.done()
    slow.stop()
    assert (await renewing).status == 200


def test_a_vault_that_hangs_leaves_time_for_the_call(
    world: World, later: Callable[[float], None]
) -> None:
    vaults = [world.vault_client()]
    pool = world.pool(world.keys(lambda: vaults[-1]), timeout=4)
    world.get(pool)
    later(290)
    with Peer(lambda link: link.stall()) as hung:
        vaults.append(world.vault_client(socket_path=hung.where, max_retries=0))
        assert world.get(pool) == 200
        world.wait(vaults[-1].close())


def test_who_comes_behind_a_renewal_takes_what_it_brought(world: World) -> None:
    """Between looking and asking another may have renewed it: nobody asks again for that."""
    keys = world.keys()
    keys.header(REFERENCE, "Authorization")
    held = keys._paths["services/api"]
    first = world.wait(held._fetch(None, math.inf))
    assert world.wait(held._fetch(None, math.inf)) is first
    assert world.retrieved() == 1


# --- 401


def test_a_key_that_is_refused_is_fetched_anew_once(world: World) -> None:
    told: list[tuple[int, int | None]] = []
    pool = world.pool(
        world.keys(),
        on_response=lambda it: told.append((it.attempt, it.status)),
    )
    world.get(pool)
    world.put(NEXT)
    world.fine = {NEXT}
    # It was refused before it ran: what may not be repeated is sent again all the same.
    assert world.wait(pool.request("POST", "/x", json={"a": 1})).status == 200
    assert world.shown() == [KEY, KEY, NEXT]
    assert told == [(1, 200), (1, 401), (2, 200)]
    assert [asked.body for asked in world.peer.asked[1:]] == [b'{"a":1}'] * 2
    assert world.leases() == ["services/api"]


def test_many_that_are_refused_together_fetch_it_once(world: World) -> None:
    pool = world.pool(world.keys())
    world.get(pool)
    world.put(NEXT)
    world.fine = {NEXT}
    assert world.many(pool, 8) == [200] * 8
    assert world.retrieved() == 2


def test_a_refusal_for_which_the_vault_has_no_other_key(world: World) -> None:
    pool = world.pool(world.keys())
    world.fine = set()
    for _ in range(3):
        with pytest.raises(AuthenticationError) as caught:
            world.get(pool)
        assert caught.value.attempts == 1
    # Asked once whether there is another, and then left in peace for a while.
    assert world.retrieved() == 2
    assert world.shown() == [KEY] * 3
    assert KEY not in recorded(caught.value)


def test_no_call_is_sent_more_than_once_more_for_that(world: World) -> None:
    """The vault has another key each time, and the service takes none of them."""
    world.fine = set()
    world.refused = lambda: world.put(f"key-{len(world.peer.asked)}")
    with pytest.raises(AuthenticationError) as caught:
        world.get(world.pool(world.keys()))
    assert world.shown() == [KEY, "key-1"]
    assert caught.value.attempts == 2


def test_a_stream_that_is_refused_begins_again(world: World) -> None:
    pool = world.pool(world.keys())
    world.get(pool)
    world.put(NEXT)
    world.fine = {NEXT}
    stream = world.wait(pool.stream("GET", "/x"))
    assert stream.status == 200
    world.wait(stream.close())
    assert world.shown() == [KEY, KEY, NEXT]


def test_without_a_check_the_last_answer_is_returned(world: World) -> None:
    pool = world.pool(world.keys())
    world.fine = set()
    assert world.wait(pool.request("GET", "/x", check=False)).status == 401
    world.put(NEXT)
    world.fine = {NEXT}
    other = world.pool(world.keys())
    assert world.wait(other.request("GET", "/x", check=False)).status == 200


# --- what is in the vault, and whether it may be had


def test_a_field_of_an_object(world: World) -> None:
    world.put(f'{{"user": "u", "token": " {KEY}\\n", "n": 1}}')
    keys = world.keys()
    assert world.get(world.pool(keys, REFERENCE + "#token")) == 200
    for reference in (REFERENCE + "#n", REFERENCE + "#none"):
        with pytest.raises(InvalidArgumentError, match="no JSON object whose member") as caught:
            world.get(world.pool(keys, reference))
        assert KEY not in recorded(caught.value)
    with pytest.raises(InvalidArgumentError, match="is not one line of printable") as caught:
        world.get(world.pool(keys))
    assert KEY not in recorded(caught.value)
    assert world.retrieved() == 1


@pytest.mark.parametrize(
    "value",
    [b"\xff" + KEY.encode(), f"{KEY}\n{KEY}".encode(), b"[1]"],
    ids=["binary", "two-lines", "list"],
)
def test_what_is_no_key_is_not_sent_and_not_shown(world: World, value: bytes) -> None:
    world.put(value)
    keys = world.keys()
    with pytest.raises(InvalidArgumentError, match="cannot be had") as caught:
        world.get(world.pool(keys, REFERENCE + ("#a" if value == b"[1]" else "")))
    assert KEY not in recorded(caught.value)
    assert world.peer.asked == []


def test_what_the_agent_may_not_have(world: World) -> None:
    world.key_path = world.vault.add_agent(world.name + "-poor", allow=())
    world.name += "-poor"
    with pytest.raises(PermissionDeniedError, match="vault:services/api refers to cannot be had"):
        world.get(world.pool(world.keys()))
    assert world.peer.asked == []


# --- the domains


def test_every_domain_takes_a_reference(world: World) -> None:
    keys = world.keys()
    common = {"base_url": world.peer.url(), "api_key": REFERENCE, "keys": keys}
    clients = [
        world.client(RuntimeClient, AsyncRuntimeClient, **common),
        world.client(WorkflowClient, AsyncWorkflowClient, **common),
        world.client(GovernanceClient, AsyncGovernanceClient, **common),
    ]
    for client in clients:
        world.get(client.pool)
    access = DirectProviderClient(
        allow=True,
        api_keys={"openai": REFERENCE, "anthropic": REFERENCE},
        base_urls={
            "openai": world.peer.url("/openai"),
            "anthropic": world.peer.url("/anthropic"),
        },
    )
    client = world.client(GatewayClient, AsyncGatewayClient, access=access, keys=keys)
    for model in ("openai:gpt-4o", "anthropic:claude-sonnet-4"):
        with suppress(OstiaryError):  # the service says nothing that a model would
            world.wait(client.chat("hello", model=model, max_tokens=5))
    assert [asked.header("authorization") for asked in world.peer.asked] == [
        *[f"Bearer {KEY}"] * 4,
        None,
    ]
    assert world.peer.asked[-1].header("x-api-key") == KEY
    assert world.retrieved() == 1


def test_a_reference_in_the_environment(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RUNTIME", "WORKFLOW", "GOVERNANCE"):
        monkeypatch.setenv(f"OSTIARY_{name}_URL", world.peer.url())
        monkeypatch.setenv(f"OSTIARY_{name}_API_KEY", REFERENCE)
    monkeypatch.setenv("SAGE_SANCTUM_ALLOW_DIRECT", "1")
    monkeypatch.setenv("OPENAI_API_KEY", REFERENCE)
    monkeypatch.setenv("OPENAI_BASE_URL", world.peer.url())
    keys = world.keys()
    for pair in (
        (RuntimeClient, AsyncRuntimeClient),
        (WorkflowClient, AsyncWorkflowClient),
        (GovernanceClient, AsyncGovernanceClient),
    ):
        assert world.get(world.client(*pair, keys=keys).pool) == 200
    with suppress(OstiaryError):
        world.wait(world.client(GatewayClient, AsyncGatewayClient, keys=keys).chat("hello"))
    assert world.shown() == [KEY] * 4


@pytest.mark.parametrize("kind", [RuntimeClient, WorkflowClient, AsyncGovernanceClient])
def test_a_client_alone_says_who_knows_the_vault(kind: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"vault:a/b.* use ostiary\.Ostiary, or give"):
        kind(base_url="http://localhost", api_key="vault:a/b")


def test_a_gateway_client_alone_says_so_too() -> None:
    access = DirectProviderClient(allow=True, api_keys={"openai": "vault:a/b"})
    found = pytest.raises(InvalidArgumentError, match=r"vault:a/b.* use ostiary\.Ostiary")
    with GatewayClient(access) as client, found:
        client.chat("hello", model="openai:gpt-4o")
    again = pickle.loads(pickle.dumps(access))
    assert again.reference("openai") == Reference("a/b")


def test_an_env_file_may_not_refer_to_the_vault(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text(
        "SYMBIONT_API_KEY=vault:prod/key\nSYMBIONT_BASE_URL=https://evil.test\n"
    )
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidArgumentError, match="which a file of a working directory may not"):
        RuntimeClient()


# --- what one client does beside another


def test_a_telemetry_pipeline_sends_the_key_of_its_client(world: World) -> None:
    def answer(exchange: Exchange) -> None:
        while True:
            asked = exchange.request()
            fine = asked.header("authorization") == f"Bearer {KEY}"
            exchange.json({"accepted": 1, "rejected": 0, "duplicates": 0}, 200 if fine else 401)

    with HttpPeer(answer) as collector:
        client = world.client(
            WorkflowClient,
            AsyncWorkflowClient,
            base_url=collector.url(),
            api_key=REFERENCE,
            keys=world.keys(),
        )
        with TelemetryPipeline(client, flush_interval=0.01) as pipeline:
            pipeline.metric("doors", 1.0)
            assert pipeline.flush(20)
    assert [asked.header("authorization") for asked in collector.asked] == [f"Bearer {KEY}"]


def test_the_names_that_block_on_an_async_client(vault: RunningVault) -> None:
    with ExitStack() as stack:
        runner = stack.enter_context(loop_of("asyncio"))
        worlds: list[World] = []
        peer = stack.enter_context(HttpPeer(lambda exchange: worlds[0].serve(exchange)))
        world = World(vault, peer, runner, f"agent-{next(_numbers)}")
        worlds.append(world)
        stack.callback(world.close)
        keys = world.keys()
        client = world.client(
            GovernanceClient,
            AsyncGovernanceClient,
            base_url=peer.url(),
            api_key=REFERENCE,
            keys=keys,
        )
        with suppress(OstiaryError):  # the service says nothing that governance would
            client.system.status()
        assert world.shown() == [KEY]
        assert world.leases() == ["services/api"]
        world.wait(keys.aclose())
        assert world.leases() == []


def test_one_client_for_all_of_it(world: World) -> None:
    url = world.peer.url()
    said = {"base_url": url, "api_key": REFERENCE}
    client = world.client(
        Ostiary,
        AsyncOstiary,
        vault={
            "agent_name": world.name,
            "key_path": world.key_path,
            "socket_path": world.vault.socket_path,
        },
        runtime=said,
        workflow=said,
        governance=said,
    )
    for domain in (client.runtime, client.workflow, client.governance):
        assert world.get(domain.pool) == 200
    assert world.shown() == [KEY] * 3
    assert world.retrieved() == 1
    assert len(world.peer.links) == 1
    Driven(client, world.runner).close()
    assert world.leases() == []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = pickle.loads(pickle.dumps(client))
    world._made.append(Driven(again, world.runner).close)
    assert world.get(again.workflow.pool) == 200
    assert KEY.encode() not in pickle.dumps(client)


def test_a_command_takes_a_reference(vault: RunningVault, monkeypatch: pytest.MonkeyPatch) -> None:
    vault.add_agent("commands")
    token = vault.workflow_token
    assert token is not None
    vault.put("services/workflow", token.reveal(), overwrite=True)
    monkeypatch.setenv("SANCTUM_VAULT_PATH", str(vault.home))
    monkeypatch.setenv("OSTIARY_VAULT_AGENT", "commands")
    monkeypatch.setenv("OSTIARY_WORKFLOW_URL", vault.workflow_unix_url)
    monkeypatch.setenv("OSTIARY_WORKFLOW_API_KEY", "vault:services/workflow")
    done = CliRunner().invoke(tree("workflow"), ["workflow", "ls", "--json"])
    assert done.exit_code == 0, done.output
    monkeypatch.setenv("OSTIARY_WORKFLOW_API_KEY", "vault:services/nothing")
    done = CliRunner().invoke(tree("workflow"), ["workflow", "ls", "--json"])
    assert done.exit_code != 0
    assert "vault:services/nothing refers to cannot be had" in done.output
    assert vault.admin.lease_list() == []


@pytest.mark.parametrize(
    ("kind", "keys"),
    [(WorkflowClient, AsyncVaultKeys), (AsyncWorkflowClient, VaultKeys)],
    ids=["blocking", "async"],
)
def test_keys_of_the_other_colour_are_refused(kind: Any, keys: Any) -> None:
    said = {"base_url": "http://localhost", "api_key": REFERENCE}
    with pytest.raises(InvalidArgumentError, match="the other colour"):
        kind(**said, keys=keys(VaultClient("nobody")))
    with pytest.raises(InvalidArgumentError, match="keys is a VaultKeys"):
        kind(**said, keys=KEY)


# --- forks, pickles, traces of it


def test_a_forked_child_has_a_lease_of_its_own(world: World) -> None:
    keys = world.keys()
    pool = world.pool(keys)
    world.get(pool)
    assert world.leases() == ["services/api"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads and forks, on 3.12
        child = os.fork()
    if child == 0:
        code = 1
        try:
            if world.runner is None:
                code = 0 if world.get(pool) == 200 else 2
            else:
                with asyncio.Runner() as runner:
                    answer = runner.run(_got(pool))
                    code = 0 if answer == 200 else 2
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert world.retrieved() == 2
    assert world.get(pool) == 200  # the parent's own still serves
    assert world.retrieved() == 2


async def _got(pool: Any) -> int:
    return int((await pool.request("GET", "/x")).status)


def test_a_client_travels_with_its_reference(world: World) -> None:
    keys = world.keys()
    client = world.client(
        WorkflowClient,
        AsyncWorkflowClient,
        base_url=world.peer.url(),
        api_key=REFERENCE,
        keys=keys,
    )
    world.get(client.pool)
    assert KEY.encode() not in pickle.dumps(client.settings.portable())
    assert client.settings.portable().arrived().api_key == Reference("services/api")
    with pytest.raises(InvalidArgumentError, match="a client alone knows no vault"):
        pickle.loads(pickle.dumps(client))


def test_nothing_shows_the_key(world: World) -> None:
    keys = world.keys()
    pool = world.pool(keys)
    world.get(pool)
    header = keys.header(REFERENCE, "Authorization", "Bearer ")
    held = keys._paths["services/api"]
    for one in (keys, pool, header, held, held._grant):
        assert KEY not in repr(one)
        slots = [name for kind in type(one).__mro__ for name in getattr(kind, "__slots__", ())]
        members = [getattr(one, name, None) for name in slots] + [getattr(one, "__dict__", {})]
        assert KEY not in repr(members)
    assert KEY.encode() not in pickle.dumps(pool)
    world.fine = set()
    with pytest.raises(AuthenticationError) as caught:
        world.get(pool)
    assert KEY not in recorded(caught.value)


# --- the two that were mended beside it


@pytest.mark.parametrize(
    "kind",
    [
        RuntimeClient,
        AsyncRuntimeClient,
        WorkflowClient,
        AsyncWorkflowClient,
        GovernanceClient,
        AsyncGovernanceClient,
    ],
)
@pytest.mark.parametrize(
    "wrong", [{"key": KEY}, KEY.encode(), [KEY]], ids=["dict", "bytes", "list"]
)
def test_a_key_of_a_wrong_type_stands_in_no_frame(kind: Any, wrong: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="api_key is a str or a Secret, not") as caught:
        kind(base_url="http://localhost", api_key=wrong)
    assert KEY not in recorded(caught.value)
    with pytest.raises(InvalidArgumentError, match="header") as caught:
        kind(base_url="http://localhost", api_key="", headers={"Authorization": wrong})
    assert KEY not in recorded(caught.value)


@pytest.mark.parametrize("kind", [GatewayClient, AsyncGatewayClient, Pool, AsyncPool])
@pytest.mark.parametrize(
    "wrong", [{"key": KEY}, KEY.encode(), [KEY]], ids=["dict", "bytes", "list"]
)
def test_nor_do_headers_of_a_wrong_type(kind: Any, wrong: Any) -> None:
    base = {"base_url": "http://localhost"} if kind in {Pool, AsyncPool} else {}
    with pytest.raises(InvalidArgumentError) as caught:
        kind(**base, headers={"Authorization": wrong})
    assert KEY not in recorded(caught.value)


@pytest.mark.parametrize("wrong", [{"openai": [KEY]}, {"openai": KEY.encode()}, [KEY], KEY])
def test_nor_do_keys_of_providers(wrong: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="API key of") as caught:
        DirectProviderClient(allow=True, api_keys=wrong)
    assert KEY not in recorded(caught.value)


@pytest.mark.parametrize("kind", [RuntimeClient, AsyncWorkflowClient, GovernanceClient])
@pytest.mark.parametrize("key", [KEY, REFERENCE], ids=["key", "reference"])
def test_a_key_in_clear_is_warned_of_where_it_is_given(kind: Any, key: str) -> None:
    of_colour: Any = AsyncVaultKeys if kind is AsyncWorkflowClient else VaultKeys
    keys = of_colour(VaultClient("nobody"))
    with pytest.warns(RuntimeWarning, match="unencrypted") as caught:
        kind(base_url="http://elsewhere.test:1", api_key=key, keys=keys)
    assert [each.filename for each in caught] == [__file__]
    assert KEY not in str(caught[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for url in ("http://127.0.0.1:1", "https://elsewhere.test", "unix:///tmp/x"):
            kind(base_url=url, api_key=key, keys=keys)
        kind(base_url="http://elsewhere.test:1", api_key="")
