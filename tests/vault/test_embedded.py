"""Both clients against the embedded vault: the whole of what they promise, on real parts."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ostiary.devserver import running
from ostiary.vault import (
    AccessDenied,
    AsyncVaultClient,
    CredentialNotFound,
    KeyFileError,
    VaultClient,
    VaultConnectError,
    VaultError,
    VaultLocked,
)

from .conftest import Both

Make = Callable[..., Both]
Run = Callable[..., Any]


@pytest.fixture
def vault() -> Iterator[Any]:
    with running() as server:
        server.put("openai/api_key", "sk-test")
        server.put("hook/key", "k1")
        server.put("blob", b"\xff\x00\x01")
        yield server


def of(vault: Any, name: str = "bot", **kwargs: Any) -> dict[str, Any]:
    key = vault.home / "keys" / f"{name}.key"
    if not key.exists():
        vault.add_agent(name)
    return {"agent": name, "socket_path": vault.socket_path, "key_path": key} | kwargs


def test_retrieve_in_every_form_and_leases_counted_by_the_vault(
    client: Make, vault: Any, run: Run
) -> None:
    async def main() -> None:
        async with client(**of(vault)) as one:
            assert await one.retrieve("openai/api_key") == "sk-test"
            assert await one.retrieve_bytes("blob") == b"\xff\x00\x01"
            raw = await one.retrieve_raw("hook/key", ttl=30)
            assert bytes.fromhex(raw["value"]) == b"k1"
            assert raw["ttl"] == 30
            assert len(await one.lease_status()) == 3
            await one.release_lease(raw["lease_id"])
            await one.release_lease(raw["lease_id"])  # twice is no error
            assert sorted(i.path or "" for i in await one.lease_status()) == [
                "blob",
                "openai/api_key",
            ]
            many = await one.retrieve_many(["hook/key", "openai/api_key"])
            assert many == {"hook/key": "k1", "openai/api_key": "sk-test"}
        assert vault.admin.lease_list() == []

    run(main())


def test_the_five_operations_are_typed(client: Make, vault: Any, run: Run) -> None:
    async def main() -> None:
        async with client(**of(vault)) as one:
            assert (await one.sign("hook/key", "ping")).signature == (
                "PaMP2/QSSDnZQW7RGt8aj2dghy2saZjbp8x5HE8QuZU="
            )
            header = await one.http_header("openai/api_key")
            assert header.reveal() == ("Authorization", "Bearer sk-test")
            assert "sk-test" not in repr(header)
            custom = await one.http_header("hook/key", header_type="custom", header_name="X-Hook")
            assert custom.reveal() == ("X-Hook", "k1")
            sealed = await one.encrypt("hook/key", "hello")
            assert (await one.decrypt("hook/key", sealed)).reveal() == "hello"
            assert (await one.decrypt("hook/key", sealed.ciphertext)).reveal() == "hello"
            with pytest.raises(VaultError) as caught:
                await one.decrypt("openai/api_key", sealed)
            assert caught.value.code == "CRYPTO_ERROR"
            with pytest.raises(AccessDenied) as blocked:
                await one.http_request("openai/api_key", "http://127.0.0.1:1/")
            assert blocked.value.code == "SSRF_BLOCKED"
            assert "sk-test" not in f"{blocked.value!r} {blocked.value.context}"

    run(main())


def test_refusals_say_what_to_do_next(client: Make, vault: Any, run: Run) -> None:
    vault.add_agent("nobody", allow=())

    async def main() -> None:
        async with client(**of(vault, "nobody")) as one:
            with pytest.raises(AccessDenied) as denied:
                await one.retrieve("openai/api_key")
            assert denied.value.suggestion
        async with client(**of(vault)) as one:
            with pytest.raises(CredentialNotFound) as missing:
                await one.retrieve("no/such")
            assert missing.value.suggestion
            vault.admin.lock()
            with pytest.raises(VaultLocked) as locked:
                await one.retrieve("openai/api_key")
            assert locked.value.suggestion

    run(main())


def test_tcp_and_an_encrypted_key(client: Make, vault: Any, run: Run) -> None:
    key = vault.add_agent("sealed", passphrase="correct horse")
    host, port = vault.tcp

    async def main() -> None:
        async with client(
            agent="sealed", host=host, port=port, key_path=key, passphrase="correct horse"
        ) as one:
            assert await one.retrieve("hook/key") == "k1"
        with pytest.raises(KeyFileError):
            await client(
                agent="sealed", host=host, port=port, key_path=key, passphrase="wrong"
            ).connect()
        with pytest.raises(KeyFileError, match="passphrase"):
            await client(agent="sealed", host=host, port=port, key_path=key).connect()

    run(main())


def test_the_servers_uid_is_checked_when_asked_for(client: Make, vault: Any, run: Run) -> None:
    async def main() -> None:
        async with client(**of(vault, expected_uid=os.getuid())) as one:
            assert await one.retrieve("hook/key") == "k1"
        with pytest.raises(VaultConnectError, match="was expected; nothing was sent"):
            await client(**of(vault, expected_uid=os.getuid() + 1), max_retries=0).connect()

    run(main())


def test_the_vault_ends_the_leases_of_a_connection_that_died(vault: Any) -> None:
    client = VaultClient("bot", **{k: v for k, v in of(vault).items() if k != "agent"}).connect()
    client.retrieve("hook/key")
    assert len(vault.admin.lease_list()) == 1
    for channel in client._transport._pool.channels():  # type: ignore[union-attr]
        channel.abandon()  # what a crash does: the descriptor closes, nothing is said
    for _ in range(200):
        if not vault.admin.lease_list():
            break
    assert vault.admin.lease_list() == []
    client.close()


def test_a_session_that_the_vault_ended_is_renewed_unseen(client: Make, run: Run) -> None:
    with running(session_ttl=0.2) as vault:
        vault.put("hook/key", "k1")

        async def main() -> None:
            async with client(**of(vault)) as one:
                for _ in range(4):
                    assert await one.retrieve("hook/key") == "k1"
                    await asyncio.sleep(0.25)

        run(main())
        assert vault.admin.audit_verify().valid


def test_200_agents_at_once_each_with_its_own_key(vault: Any, run: Run) -> None:
    for i in range(200):
        vault.add_agent(f"agent-{i}")

    async def work(i: int) -> None:
        settings = of(vault, f"agent-{i}")
        async with AsyncVaultClient(settings.pop("agent"), **settings) as client:
            async with client.lease("openai/api_key") as lease:
                assert lease.value.reveal() == "sk-test"
            assert (await client.http_header("hook/key")).name == "Authorization"

    async def main() -> None:
        await asyncio.gather(*map(work, range(200)))

    run(main())
    assert vault.admin.lease_list() == []
    assert vault.admin.audit_verify().valid
