"""The client against a vault that says what the test wants, in both colours."""

from __future__ import annotations

import asyncio
import copy
import inspect
import logging
import pickle
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from ostiary import OstiaryError
from ostiary.errors import (
    APIError,
    ClientStateError,
    ConnectError,
    DeadlineError,
    InvalidArgumentError,
    ProtocolError,
    RateLimitError,
)
from ostiary.secret import Secret
from ostiary.vault import (
    AccessDenied,
    AsyncSanctumClient,
    AsyncVaultClient,
    AuthError,
    Credential,
    CredentialNotFound,
    KeyFileError,
    LeaseExpired,
    RateLimited,
    SanctumClient,
    SessionExpired,
    VaultAPIError,
    VaultArgumentError,
    VaultClient,
    VaultConnectError,
    VaultConnectionLostError,
    VaultDeadlineError,
    VaultError,
    VaultLocked,
    VaultProtocolError,
    VaultStateError,
)
from tests.frames import OURS, recorded

from .conftest import Both
from .scripted import Handler, HangUp, Refuse, ScriptedVault, Silence

Make = Callable[..., Both]
Script = Callable[[Handler], ScriptedVault]
Run = Callable[..., Any]


def grant(method: str, params: dict[str, Any], number: int) -> Any:
    if method == "retrieve":
        return {
            "lease_id": f"L-{params['path']}",
            "value": params["path"].encode().hex(),
            "ttl": 60,
        }
    return {}


def test_the_guides_names_are_the_native_classes() -> None:
    assert SanctumClient is VaultClient
    assert AsyncSanctumClient is AsyncVaultClient


def test_the_handshake_signs_the_challenge_and_later_calls_carry_the_session(
    client: Make, scripted: Script, run: Run
) -> None:
    vault = scripted(grant)

    async def main() -> None:
        async with client(vault) as one:
            assert await one.retrieve("a/b", ttl=7) == "a/b"
            await one.release_lease("L-a/b")

    run(main())
    assert [name for _, name, _ in vault.seen] == [
        "authenticate",
        "challenge_response",
        "retrieve",
        "release_lease",
    ]
    assert vault.calls("authenticate") == [{"agent_name": "demo"}]
    assert vault.calls("retrieve") == [{"session_id": "s-1", "path": "a/b", "ttl": 7}]
    # Released already: close() has nothing left to give back.
    assert vault.calls("release_lease") == [{"lease_id": "L-a/b"}]


def test_a_ttl_of_zero_is_sent_and_none_is_not(client: Make, scripted: Script, run: Run) -> None:
    vault = scripted(grant)

    async def main() -> None:
        async with client(vault) as one:
            await one.retrieve("a", ttl=0)
            await one.retrieve("a")

    run(main())
    assert [params.get("ttl", "absent") for params in vault.calls("retrieve")] == [0, "absent"]


def test_close_gives_back_every_lease_in_order_and_may_be_called_twice(
    client: Make, scripted: Script, run: Run
) -> None:
    vault = scripted(grant)

    async def main() -> None:
        one = client(vault)
        await one.connect()
        for name in ("a", "b", "c"):
            await one.retrieve(name)
        await one.retrieve_raw("d")
        await one.close()
        await one.close()

    run(main())
    assert [p["lease_id"] for p in vault.calls("release_lease")] == ["L-a", "L-b", "L-c", "L-d"]


def test_closing_on_a_dead_vault_reports_and_does_not_raise(
    client: Make, scripted: Script, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    def handler(method: str, params: dict[str, Any], number: int) -> Any:
        if method == "release_lease":
            raise HangUp
        return grant(method, params, number)

    vault = scripted(handler)

    async def main() -> None:
        one = client(vault)
        await one.connect()
        await one.retrieve("a")
        with caplog.at_level(logging.WARNING, logger="ostiary"):
            await one.close()
        with pytest.raises(VaultStateError):
            await one.retrieve("a")

    run(main())
    assert "1 leases of agent demo were not given back" in caplog.text


def test_a_client_can_be_connected_again_after_close(
    client: Make, scripted: Script, run: Run
) -> None:
    vault = scripted(grant)

    async def main() -> None:
        one = client(vault)
        for _ in range(3):
            await one.connect()
            assert await one.retrieve("a") == "a"
            await one.close()

    run(main())
    assert vault.logins == 3


def test_before_connect_and_after_close_the_error_says_what_to_do(
    client: Make, scripted: Script, run: Run
) -> None:
    async def main() -> None:
        one = client(scripted(grant))
        with pytest.raises(VaultError, match=r"call connect\(\) first") as caught:
            await one.retrieve("a")
        assert caught.value.code == "INTERNAL_ERROR"
        assert isinstance(caught.value, ClientStateError)

    run(main())


def test_connect_takes_every_form_of_target(client: Make, scripted: Script, run: Run) -> None:
    vault = scripted(grant)

    async def main() -> None:
        for target in (str(vault.path), vault.path, f"unix://{vault.path}"):
            one = client(None, key_path=vault.key_path)
            connected = await one.connect(target)
            assert connected is one.client
            assert await one.retrieve("a") == "a"
            await one.close()
        one = client(None, key_path=vault.key_path)
        for target in (("127.0.0.1", 1), {"host": "127.0.0.1", "port": 1}, ["127.0.0.1", 1]):
            with pytest.raises(VaultConnectError, match="nothing listens there"):
                await one.connect(target)
        for target in (5, ("a", 1, 2), {"host": "h", "prot": 1}, ("h", "x"), ""):
            with pytest.raises(VaultArgumentError):
                await one.connect(target)

    run(main())


def test_a_missing_socket_is_a_connect_error_that_leaves_nothing_open(
    client: Make, scripted: Script, run: Run, no_leaked_descriptors: None
) -> None:
    vault = scripted(grant)

    async def main() -> None:
        one = client(vault, socket_path=vault.directory / "none.sock", max_retries=0)
        with pytest.raises(VaultConnectError, match="no such socket; start the server") as caught:
            await one.connect()
        assert caught.value.sent is False
        assert isinstance(caught.value, (ConnectError, ConnectionError))

    run(main())
    vault.close()


def test_a_missing_key_is_found_before_a_socket_is_opened(
    client: Make, scripted: Script, run: Run
) -> None:
    vault = scripted(grant)

    async def main() -> None:
        with pytest.raises(KeyFileError):
            await client(vault, key_path=vault.directory / "none.key").connect()

    run(main())
    assert vault.connections == 0


def test_the_wrong_key_is_an_auth_error(client: Make, scripted: Script, run: Run) -> None:
    vault, other = scripted(grant), scripted(grant)

    async def main() -> None:
        with pytest.raises(AuthError) as caught:
            await client(vault, key_path=other.key_path).connect()
        assert caught.value.code == "AUTH_FAILED"

    run(main())


@pytest.mark.parametrize("challenge", ["", "00" * 15, "00" * 1025, "zz" * 32, "0" * 33])
def test_nothing_but_a_challenge_of_fair_length_is_signed(
    client: Make, scripted: Script, run: Run, challenge: str
) -> None:
    vault = scripted(grant)
    vault.challenge = challenge

    async def main() -> None:
        with pytest.raises(VaultProtocolError, match="nothing was signed"):
            await client(vault).connect()

    run(main())
    assert vault.calls("challenge_response") == []


def test_a_vault_that_does_not_confirm_is_an_auth_error(
    client: Make, scripted: Script, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault = scripted(grant)
    real = vault._answer

    def unsure(method: str, params: dict[str, Any], number: int) -> Any:
        return {} if method == "challenge_response" else real(method, params, number)

    monkeypatch.setattr(vault, "_answer", unsure)

    async def main() -> None:
        with pytest.raises(AuthError, match="did not confirm"):
            await client(vault).connect()

    run(main())


CODES = [
    ("AUTH_FAILED", AuthError),
    ("ACCESS_DENIED", AccessDenied),
    ("CREDENTIAL_NOT_FOUND", CredentialNotFound),
    ("VAULT_LOCKED", VaultLocked),
    ("LEASE_EXPIRED", LeaseExpired),
    ("SESSION_EXPIRED", SessionExpired),
    ("NOT_FOUND", CredentialNotFound),
    ("POLICY_DENIED", AccessDenied),
    ("SSRF_BLOCKED", AccessDenied),
    ("SOMETHING_NEW", VaultAPIError),
]


@pytest.mark.parametrize(("code", "cls"), CODES)
def test_a_refusal_is_the_class_of_its_code_with_every_field(
    client: Make, scripted: Script, run: Run, code: str, cls: type[VaultError]
) -> None:
    def handler(method: str, params: dict[str, Any], number: int) -> Any:
        raise Refuse(
            {
                "code": code,
                "message": "no",
                "detail": "d",
                "suggestion": "s",
                "docs_url": "u",
                "context": {"path": "p"},
            }
        )

    async def main() -> None:
        async with client(scripted(handler)) as one:
            with pytest.raises(cls) as caught:
                await one.retrieve("p")
        error = caught.value
        assert (type(error), error.code, str(error)) == (cls, code, "no")
        assert (error.detail, error.suggestion, error.docs_url) == ("d", "s", "u")
        assert error.context == {"path": "p"}
        assert isinstance(error, APIError)
        assert pickle.loads(pickle.dumps(error)).context == {"path": "p"}

    run(main())


def test_a_legacy_string_error_keeps_its_text(client: Make, scripted: Script, run: Run) -> None:
    def handler(method: str, params: dict[str, Any], number: int) -> Any:
        raise Refuse("old style text")

    async def main() -> None:
        async with client(scripted(handler)) as one:
            with pytest.raises(VaultError, match="old style text") as caught:
                await one.use("p", "sign")
            assert caught.value.code == "UNKNOWN"

    run(main())


BAD_RESULTS: list[Any] = [
    None,
    [],
    "text",
    7,
    {},
    {"value": "6869"},
    {"lease_id": "L"},
    {"lease_id": 5, "value": "6869"},
    {"lease_id": "L", "value": "6869", "ttl": "soon"},
    {"lease_id": "L", "value": "not hex"},
    {"lease_id": "L", "value": None},
    {"lease_id": "L", "value": {"a": 1}},
    {"lease_id": "L", "value": "6869", "encoding": "rot13"},
]


@pytest.mark.parametrize("result", BAD_RESULTS)
def test_a_result_of_the_wrong_shape_is_a_protocol_error_and_the_client_goes_on(
    client: Make, scripted: Script, run: Run, result: Any
) -> None:
    answers = [result]

    def handler(method: str, params: dict[str, Any], number: int) -> Any:
        if method == "retrieve" and answers:
            return answers.pop()
        return grant(method, params, number)

    vault = scripted(handler)

    async def main() -> None:
        async with client(vault) as one:
            with pytest.raises(VaultProtocolError) as caught:
                await one.retrieve("a")
            assert isinstance(caught.value, ProtocolError)
            assert caught.value.sent
            assert await one.retrieve("b") == "b"

    run(main())
    assert vault.connections == 1


def test_a_binary_secret_is_not_mangled_into_text(client: Make, scripted: Script, run: Run) -> None:
    secret = b"\xff\x00\x80key"

    def handler(method: str, params: dict[str, Any], number: int) -> Any:
        if method == "retrieve":
            return {"lease_id": "L", "value": secret.hex()}
        return {}

    async def main() -> None:
        async with client(scripted(handler)) as one:
            with pytest.raises(VaultArgumentError, match="retrieve_bytes") as caught:
                await one.retrieve("a")
            assert await one.retrieve_bytes("a") == secret
            assert (await one.retrieve_raw("a"))["value"] == secret.hex()
        seen = "".join(traceback.format_exception(caught.value))
        assert "key'" not in seen
        assert secret.hex() not in seen
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None

    run(main())


def test_retrieve_raw_fills_in_whichever_lifetime_is_missing(
    client: Make, scripted: Script, run: Run
) -> None:
    given: list[dict[str, Any]] = [
        {"ttl": 300},
        {"expires_at": "2999-01-01T00:00:00Z"},
        {"ttl": 300, "expires_at": 4102444800.5},
        {},
    ]

    def handler(method: str, params: dict[str, Any], number: int) -> Any:
        if method == "retrieve":
            return {"lease_id": "L", "value": "6869", "extra": [1]} | given[int(params["path"])]
        return {}

    async def main() -> None:
        async with client(scripted(handler)) as one:
            first, second, third, fourth = [await one.retrieve_raw(str(i)) for i in range(4)]
        assert first["ttl"] == 300
        assert first["expires_at"].startswith("20")
        assert second["ttl"] > 1e9
        assert third["expires_at"] == 4102444800.5
        assert "ttl" not in fourth
        assert "expires_at" not in fourth
        assert first["extra"] == [1]

    run(main())


def test_listing_reads_both_forms_and_entries_are_mappings_with_attributes(
    client: Make, scripted: Script, run: Run
) -> None:
    entry = {"path": "a/b", "type": "token", "tags": ["x"], "new": 1}
    forms: list[Any] = [[entry], {"credentials": [entry]}, {"credentials": None}, {}]

    def handler(method: str, params: dict[str, Any], number: int) -> Any:
        return forms[len(vault.calls("list")) - 1]

    vault = scripted(handler)

    async def main() -> None:
        async with client(vault) as one:
            for _ in range(2):
                (found,) = await one.list()
                assert isinstance(found, Credential)
                assert found.path == found["path"] == "a/b"
                assert dict(found) == {"path": "a/b", "type": "token", "tags": ["x"]}
            assert await one.list() == []
            assert await one.list() == []

    run(main())


def test_retrieve_many_is_pipelined_and_keeps_paths_apart(
    client: Make, scripted: Script, run: Run
) -> None:
    vault = scripted(grant)
    paths = [f"k/{i}" for i in range(700)]

    async def main() -> None:
        async with client(vault) as one:
            assert await one.retrieve_many([*paths, "k/0"]) == {p: p for p in paths}

    run(main())
    assert len(vault.calls("retrieve")) == 700
    assert len(vault.calls("release_lease")) == 700
    assert vault.connections == 1


@pytest.mark.parametrize("timeout", [float("nan"), "soon", 10**400], ids=repr)
def test_a_timeout_that_is_none_is_refused_and_waits_for_nothing(
    client: Make, scripted: Script, run: Run, timeout: Any
) -> None:
    vault = scripted(grant)

    async def main() -> None:
        async with client(vault) as one:
            for call in (
                lambda: one.retrieve("a", timeout=timeout),
                lambda: one.retrieve_many(["a"], timeout=timeout),
                lambda: one.list(timeout=timeout),
            ):
                with pytest.raises(VaultArgumentError, match="positive number of seconds"):
                    await call()

    run(main())
    assert vault.calls("retrieve") == []


def test_retrieve_many_has_one_deadline_however_many_there_are(
    client: Make, scripted: Script, run: Run
) -> None:
    vault = scripted(grant)
    allowed: list[float] = []

    async def main() -> None:
        async with client(vault) as one:
            transport = one.client._transport
            call_many = transport.call_many

            def noting(method: Any, params: Any, timeout: float) -> Any:
                allowed.append(timeout)
                return call_many(method, params, timeout)

            transport.call_many = noting
            await one.retrieve_many([f"k/{n}" for n in range(1_100)], timeout=25)

    run(main())
    assert len(allowed) == 3
    assert 25 >= allowed[0] > allowed[1] > allowed[2]


def test_retrieve_many_gives_back_what_it_got_when_one_is_refused(
    client: Make, scripted: Script, run: Run
) -> None:
    def handler(method: str, params: dict[str, Any], number: int) -> Any:
        if params.get("path") == "no":
            raise Refuse({"code": "ACCESS_DENIED", "message": "no"})
        return grant(method, params, number)

    vault = scripted(handler)

    async def main() -> None:
        async with client(vault) as one:
            with pytest.raises(AccessDenied):
                await one.retrieve_many(["a", "no", "b"])
            assert [p["lease_id"] for p in vault.calls("release_lease")] == ["L-a", "L-b"]

    run(main())


def test_a_lease_is_given_back_on_the_way_out_and_its_value_wiped(
    client: Make, scripted: Script, run: Run
) -> None:
    vault = scripted(grant)

    async def main() -> None:
        async with client(vault) as one:
            lease = one.lease("a", ttl=60)
            with pytest.raises(VaultArgumentError, match="enter it first"):
                _ = lease.value
            if isinstance(one.client, VaultClient):
                with lease as held:
                    value = held.value
                    check(held)
            else:
                async with lease as held:
                    value = held.value
                    check(held)
            assert vault.calls("release_lease") == [{"lease_id": "L-a"}]
            with pytest.raises(InvalidArgumentError, match="wiped"):
                value.reveal()
            assert lease.expired
            assert lease.remaining == 0

    def check(held: Any) -> None:
        assert held.value.reveal() == "a"
        assert held.lease_id == "L-a"
        assert 0 < held.remaining <= 60
        assert not held.expired
        assert held.expires_at is not None
        assert "a" not in repr(held.value)

    run(main())
    assert len(vault.calls("release_lease")) == 1


def test_the_blocks_own_error_wins_over_a_failed_release(
    client: Make, scripted: Script, run: Run
) -> None:
    def handler(method: str, params: dict[str, Any], number: int) -> Any:
        if method == "release_lease":
            raise Refuse({"code": "INTERNAL_ERROR", "message": "no"})
        return grant(method, params, number)

    async def main() -> None:
        async with client(scripted(handler)) as one:
            with pytest.raises(KeyError):
                await hold(one)

    async def hold(one: Both) -> None:
        if isinstance(one.client, VaultClient):
            with one.client.lease("a"):
                raise KeyError("mine")
        async with one.client.lease("a"):
            raise KeyError("mine")

    run(main())


def test_an_expired_session_is_renewed_once_on_the_same_connection(
    client: Make, scripted: Script, run: Run
) -> None:
    refusals = ["SESSION_EXPIRED"]

    def handler(method: str, params: dict[str, Any], number: int) -> Any:
        if method == "use" and refusals:
            raise Refuse({"code": refusals.pop(), "message": "again"})
        return {"status": 200, "headers": {}, "body": ""}

    vault = scripted(handler)

    async def main() -> None:
        async with client(vault) as one:
            # Not repeatable, and repeated all the same: the vault refused it before running it.
            response = await one.http_request("a", "https://example.test/")
            assert response.status == 200

    run(main())
    assert (vault.connections, vault.logins) == (1, 2)
    assert len(vault.calls("use")) == 2


def test_a_session_that_keeps_expiring_is_an_error(
    client: Make, scripted: Script, run: Run
) -> None:
    def handler(method: str, params: dict[str, Any], number: int) -> Any:
        raise Refuse({"code": "SESSION_EXPIRED", "message": "again"})

    vault = scripted(handler)

    async def main() -> None:
        async with client(vault) as one:
            with pytest.raises(SessionExpired):
                await one.list()

    run(main())
    assert vault.logins == 2


def test_many_calls_that_find_the_session_expired_log_in_once(scripted: Script, run: Run) -> None:
    def handler(method: str, params: dict[str, Any], number: int) -> Any:
        if vault.logins < 2:
            raise Refuse({"code": "SESSION_EXPIRED", "message": "again"})
        return grant(method, params, number)

    vault = scripted(handler)

    async def main() -> None:
        async with AsyncVaultClient("demo", socket_path=vault.path, key_path=vault.key_path) as one:
            values = await asyncio.gather(*(one.retrieve(f"k{i}") for i in range(50)))
            assert values == [f"k{i}" for i in range(50)]

    run(main())
    assert vault.logins == 2


def test_a_rate_limited_call_waits_as_told_and_is_repeated(
    client: Make, scripted: Script, run: Run
) -> None:
    def handler(method: str, params: dict[str, Any], number: int) -> Any:
        if len(vault.calls("use")) < 3:
            raise Refuse(
                {"code": "RATE_LIMITED", "message": "slow", "context": {"retry_after": 0.01}}
            )
        return {"signature": "aGk="}

    vault = scripted(handler)

    async def main() -> None:
        async with client(vault) as one:
            assert (await one.sign("a", "x")).raw == b"hi"
        async with client(vault, max_retries=0) as one:
            vault.seen.clear()
            with pytest.raises(RateLimited) as caught:
                await one.sign("a", "x")
            assert caught.value.retry_after == 0.01
            assert isinstance(caught.value, RateLimitError)

    run(main())


def test_a_call_that_may_not_be_repeated_is_not_after_the_connection_broke(
    client: Make, scripted: Script, run: Run
) -> None:
    def handler(method: str, params: dict[str, Any], number: int) -> Any:
        raise HangUp

    vault = scripted(handler)

    async def main() -> None:
        async with client(vault) as one:
            with pytest.raises(VaultConnectionLostError) as caught:
                await one.http_request("a", "https://example.test/")
            assert caught.value.sent is True
            assert len(vault.calls("use")) == 1
            with pytest.raises(VaultConnectionLostError):
                await one.sign("a", "x")
            assert len(vault.calls("use")) == 1 + 3  # the default: two retries

    run(main())


def test_a_vault_that_restarts_is_reconnected_to_and_logged_in_again(
    client: Make, scripted: Script, run: Run
) -> None:
    vault = scripted(grant)

    async def main() -> None:
        async with client(vault) as one:
            for i in range(3):
                assert await one.retrieve(f"k{i}") == f"k{i}"
                vault.drop()
                await asyncio.sleep(0.15)

    run(main())
    assert vault.logins == 3


def test_a_silent_vault_is_a_deadline_error_and_the_next_call_is_right(
    client: Make, scripted: Script, run: Run
) -> None:
    def handler(method: str, params: dict[str, Any], number: int) -> Any:
        if params.get("path") == "slow":
            raise Silence
        return grant(method, params, number)

    vault = scripted(handler)

    async def main() -> None:
        async with client(vault) as one:
            with pytest.raises(VaultDeadlineError) as caught:
                await one.retrieve("slow", timeout=0.1)
            assert caught.value.sent
            assert isinstance(caught.value, (DeadlineError, TimeoutError))
            assert await one.retrieve("b") == "b"

    run(main())


def test_a_late_grant_nobody_waits_for_is_given_back(scripted: Script, run: Run) -> None:
    """Cancelled between the vault's grant and its arrival: the lease must not linger."""
    import threading

    gate = threading.Event()

    def handler(method: str, params: dict[str, Any], number: int) -> Any:
        if params.get("path") == "late":
            gate.wait(10)
        return grant(method, params, number)

    vault = scripted(handler)

    async def main() -> None:
        async with AsyncVaultClient("demo", socket_path=vault.path, key_path=vault.key_path) as one:
            task = asyncio.create_task(one.retrieve("late"))
            while not vault.calls("retrieve"):
                await asyncio.sleep(0.005)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            gate.set()
            while not vault.calls("release_lease"):
                await asyncio.sleep(0.005)
            assert await one.retrieve("next") == "next"

    run(main())
    assert vault.calls("release_lease")[0] == {"lease_id": "L-late"}


def test_the_dotted_dialect_names_and_wraps_differently(
    client: Make, scripted: Script, run: Run
) -> None:
    def handler(method: str, params: dict[str, Any], number: int) -> Any:
        if method == "credential.retrieve":
            return {"path": params["path"], "value": "plain", "lease_id": "L", "ttl": params["ttl"]}
        if method == "credential.list":
            return [{"path": "a"}]
        if method == "credential.use":
            if params["operation"] == "fail":
                return {"success": False}
            return {"success": True, "output": {"seen": params["params"]}}
        return {"released": True}

    vault = scripted(handler)

    async def main() -> None:
        async with client(vault, dialect="dotted") as one:
            assert await one.retrieve("a") == "plain"
            assert [entry.path for entry in await one.list()] == ["a"]
            assert await one.use("a", "sign", {"data": "x"}) == {"seen": {"data": "x"}}
            assert await one.use("a", "http_header") == {"seen": {}}
            with pytest.raises(VaultError, match="did not succeed"):
                await one.use("a", "fail")

    run(main())
    assert vault.calls("auth.challenge") == [{"agent": "demo"}]
    assert set(vault.calls("auth.verify")[0]) == {"agent", "signature"}
    assert vault.calls("credential.retrieve") == [{"path": "a", "ttl": 300}]
    assert vault.calls("lease.release") == [{"lease_id": "L"}]


@pytest.mark.parametrize(
    "kwargs",
    [
        {"agent_name": ""},
        {"agent_name": 5},
        {"port": 5},
        {"host": "h", "socket_path": "/s"},
        {"host": "h", "port": 0},
        {"host": "h", "port": 65536},
        {"host": "h", "port": True},
        {"host": ""},
        {"socket_path": ""},
        {"socket_path": "/" + "x" * 200},
        {"timeout": 0},
        {"timeout": -1},
        {"timeout": float("nan")},
        {"timeout": "soon"},
        {"max_retries": -1},
        {"max_connections": 0},
        {"dialect": "note"},
    ],
)
def test_a_configuration_that_cannot_be_meant_is_refused_at_once(kwargs: dict[str, Any]) -> None:
    kwargs = {"agent_name": "a"} | kwargs
    for cls in (VaultClient, AsyncVaultClient):
        with pytest.raises(VaultArgumentError):
            cls(**kwargs)


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("retrieve", ("",)),
        ("retrieve", (None,)),
        ("retrieve", ("a",)),
        ("lease", ("",)),
        ("release_lease", ("",)),
        ("release_lease", (7,)),
        ("use", ("a", "")),
        ("use", ("a", "sign", {"data": object()})),
        ("use", ("a", "sign", {"data": "\ud800"})),
        ("retrieve_many", (["a", ""],)),
    ],
)
def test_a_bad_argument_is_refused_before_anything_is_sent(
    client: Make, scripted: Script, run: Run, method: str, arguments: tuple[Any, ...]
) -> None:
    vault = scripted(grant)
    kwargs = {"ttl": -1} if arguments == ("a",) else {}

    async def awaited(found: Any) -> Any:
        return await found if inspect.isawaitable(found) else found

    async def main() -> None:
        async with client(vault) as one:
            before = len(vault.seen)
            call = getattr(one, method)
            with pytest.raises(VaultArgumentError):
                call(*arguments, **kwargs) if method == "lease" else await call(
                    *arguments, **kwargs
                )
            assert len(vault.seen) == before
            assert await one.retrieve("a") == "a"

    run(main())


def test_settings_come_from_the_argument_then_the_environment_then_the_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    for name in ("OSTIARY_VAULT_ADDRESS", "SANCTUM_VAULT_PATH", "OSTIARY_VAULT_TIMEOUT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/somebody")
    assert "unix:///home/somebody/.sanctum/vault.sock" in repr(VaultClient("a"))
    monkeypatch.setenv("SANCTUM_VAULT_PATH", "/srv/vault")
    assert "unix:///srv/vault/vault.sock" in repr(VaultClient("a"))
    monkeypatch.setenv("OSTIARY_VAULT_ADDRESS", "vault.test")
    assert "tcp://vault.test:7600" in repr(VaultClient("a"))
    assert "unix:///x.sock" in repr(VaultClient("a", socket_path="/x.sock"))
    assert "tcp://h:7600" in repr(VaultClient("a", host="h"))
    monkeypatch.setenv("OSTIARY_VAULT_TIMEOUT", "soon")
    with pytest.raises(VaultArgumentError, match="OSTIARY_VAULT_TIMEOUT"):
        VaultClient("a")
    assert VaultClient("a", timeout=5)


LEAKY: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("retrieve", ("a",), {"lease_id": "L", "value": "53455352c3"}),
    ("retrieve", ("a",), {"lease_id": "L", "value": "SESRet!"}),
    ("retrieve_bytes", ("a",), {"lease_id": "L", "value": "SESRet!"}),
    ("retrieve_raw", ("a",), {"value": "SESRet!"}),
    ("retrieve_many", (["a", "b"],), {"lease_id": "L", "value": "SESRet!"}),
    ("http_header", ("a",), {"header_name": "bad name", "header_value": "SESRet!"}),
    ("http_header", ("a",), {"header_name": "X", "header_value": "SESRet!\n"}),
    ("http_header", ("a",), {"header": "SESRet!"}),
    ("decrypt", ("a", "b"), {"plaintext": ["SESRet!"]}),
]


@pytest.mark.parametrize(("method", "arguments", "result"), LEAKY)
def test_no_frame_of_ours_shows_a_secret_when_it_raises(
    client: Make,
    scripted: Script,
    run: Run,
    method: str,
    arguments: tuple[Any, ...],
    result: dict[str, Any],
) -> None:
    """A crash reporter records the locals of every frame of a traceback."""

    def handler(name: str, params: dict[str, Any], number: int) -> Any:
        return {} if name == "release_lease" else result

    async def main() -> None:
        async with client(scripted(handler)) as one:
            with pytest.raises(VaultError) as caught:
                await getattr(one, method)(*arguments)
        seen = 0
        for frame, _ in traceback.walk_tb(caught.value.__traceback__):
            if frame.f_code.co_filename.startswith(OURS):
                seen += 1
                for value in frame.f_locals.values():
                    assert "SESR" not in repr(value), frame
                    assert "53455352" not in repr(value), frame
        assert seen
        assert "SESR" not in f"{caught.value!r} {caught.value.__dict__}"

    run(main())


@pytest.mark.parametrize("kind", [VaultClient, AsyncVaultClient])
@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("passphrase", ["SESRet"]),
        ("passphrase", b"SESRet"),
        ("passphrase", {"text": "SESRet"}),
        ("key_path", b"SESRet"),
        ("key_path", ["SESRet"]),
    ],
)
def test_a_secret_of_a_wrong_type_is_hidden_all_the_same(kind: Any, name: str, wrong: Any) -> None:
    with pytest.raises(VaultArgumentError) as caught:
        kind("demo", **{name: wrong})
    assert name in str(caught.value)
    assert "SESRet" not in recorded(caught.value)


@pytest.mark.parametrize("kind", [VaultClient, AsyncVaultClient])
def test_a_passphrase_that_is_wrong_otherwise_is_our_error(kind: Any) -> None:
    wiped = Secret("SESRet")
    wiped.wipe()
    with pytest.raises(VaultArgumentError, match="wiped"):
        kind("demo", passphrase=wiped)
    # A key may have been sealed with any text; whether this one opens it is found out then.
    assert "SESRet" not in repr(vars(kind("demo", passphrase="SESRet\udc80")))


def test_a_client_pickles_as_its_settings_without_secrets_and_connects_again(
    client: Make, scripted: Script, run: Run
) -> None:
    vault = scripted(grant)

    async def main() -> None:
        async with client(vault, passphrase="opensesame") as one:
            await one.retrieve("a")
            data = pickle.dumps(one.client)
            assert b"opensesame" not in data
            again = Both(pickle.loads(data))
            assert again.agent_name == "demo"
            assert await again.retrieve("b") == "b"
            await again.close()
            shut = copy.copy(client(vault).client)
            with pytest.raises(VaultStateError):
                await Both(shut).retrieve("a")

    run(main())
    # Each gave back its own lease and not the other's.
    assert [p["lease_id"] for p in vault.calls("release_lease")] == ["L-b", "L-a"]


def test_no_error_but_ours_leaves_a_public_call(client: Make, scripted: Script, run: Run) -> None:
    answers: list[Any] = [
        None,
        [],
        5,
        "x",
        {"a": [1]},
        True,
        1e300,
        {"credentials": 7},
        {"output": 5},
    ]

    def handler(method: str, params: dict[str, Any], number: int) -> Any:
        return answers[len(vault.seen) % len(answers)]

    vault = scripted(handler)
    raised: list[OstiaryError] = []
    calls: list[tuple[str, tuple[Any, ...]]] = [
        ("retrieve", ("a",)),
        ("retrieve_raw", ("a",)),
        ("retrieve_bytes", ("a",)),
        ("retrieve_many", (["a", "b"],)),
        ("list", ()),
        ("lease_status", ()),
        ("release_lease", ("L",)),
        ("use", ("a", "sign")),
        ("sign", ("a", "x")),
        ("encrypt", ("a", "x")),
        ("decrypt", ("a", "x")),
        ("http_header", ("a",)),
        ("http_request", ("a", "https://example.test/")),
    ]

    async def main() -> None:
        for dialect in ("flat", "dotted"):
            async with client(vault, dialect=dialect) as one:
                for name, arguments in calls:
                    for _ in range(len(answers)):
                        try:
                            await getattr(one, name)(*arguments)
                        except OstiaryError as error:
                            raised.append(error)

    run(main())
    assert raised
    assert all(isinstance(error, VaultError) for error in raised)
