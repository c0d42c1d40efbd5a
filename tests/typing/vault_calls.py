"""What a checker infers for the vault clients. Checked, never run: see test_inference.py."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, assert_type

import ostiary
from ostiary import Secret
from ostiary.config import Limits
from ostiary.errors import APIError, NotFoundError, OstiaryError, TransportError
from ostiary.vault import (
    AsyncLease,
    AsyncSanctumClient,
    AsyncVaultClient,
    Ciphertext,
    Credential,
    CredentialNotFound,
    HttpHeader,
    HttpResponse,
    Lease,
    LeaseInfo,
    Plaintext,
    SanctumClient,
    Signature,
    VaultClient,
    VaultConnectError,
    VaultDeadlineError,
    VaultError,
    keys,
)


def construct(context: ssl.SSLContext) -> None:
    VaultClient("a")
    VaultClient("a", socket_path="/run/v.sock", key_path=Path("a.key"), passphrase=Secret("x"))
    VaultClient("a", host="::1", port=7600, ssl_context=context, dialect="dotted")
    VaultClient("a", timeout=1.5, max_retries=0, limits=Limits(frame_accepted=1024))
    AsyncVaultClient("a", expected_uid=0, max_connections=1, passphrase="x")
    assert_type(SanctumClient("a"), VaultClient)
    assert_type(AsyncSanctumClient("a"), AsyncVaultClient)


def sync() -> None:
    with VaultClient("a") as client:
        assert_type(client, VaultClient)
        assert_type(client.connect(("localhost", 1)), VaultClient)
        assert_type(client.connect({"host": "localhost", "port": 1}), VaultClient)
        assert_type(client.retrieve("p", ttl=1, timeout=2.5), str)
        assert_type(client.retrieve_bytes("p"), bytes)
        assert_type(client.retrieve_raw("p"), dict[str, Any])
        assert_type(client.retrieve_many(["p", "q"]), dict[str, str])
        assert_type(client.list(), list[Credential])
        assert_type(client.lease_status(), list[LeaseInfo])
        assert_type(client.use("p", "sign", {"data": "x"}), dict[str, Any])
        assert_type(client.use_credential("p", "sign"), dict[str, Any])
        assert_type(client.http_request("p", "https://x.example/"), HttpResponse)
        assert_type(client.http_header("p", header_type="bearer"), HttpHeader)
        assert_type(client.sign("p", "data"), Signature)
        assert_type(client.encrypt("p", "data"), Ciphertext)
        assert_type(client.decrypt("p", Ciphertext("x")), Plaintext)
        with client.lease("p", ttl=3) as lease:
            assert_type(lease, Lease)
            assert_type(lease.value, Secret)
            assert_type(lease.value.reveal(), str)
            assert_type(lease.value.reveal_bytes(), bytes)
            assert_type(lease.expires_at, datetime | None)
        assert_type(client.agent_name, str)


async def coroutines() -> None:
    async with AsyncVaultClient("a") as client:
        assert_type(client, AsyncVaultClient)
        assert_type(await client.connect(), AsyncVaultClient)
        assert_type(await client.retrieve("p"), str)
        assert_type(await client.retrieve_bytes("p"), bytes)
        assert_type(await client.retrieve_raw("p"), dict[str, Any])
        assert_type(await client.retrieve_many(["p"]), dict[str, str])
        assert_type(await client.list(), list[Credential])
        assert_type(await client.http_header("p"), HttpHeader)
        assert_type(await client.sign("p", "d"), Signature)
        assert_type(
            await asyncio.gather(client.retrieve("p"), client.list()),
            tuple[str, list[Credential]],
        )
        async with client.lease("p") as lease:
            assert_type(lease, AsyncLease)
            assert_type(lease.value, Secret)


def models(
    entry: Credential,
    header: HttpHeader,
    response: HttpResponse,
    signature: Signature,
    info: LeaseInfo,
) -> None:
    assert_type(entry.path, str)
    assert_type(entry["path"], Any)
    assert_type(header.name, str)
    assert_type(header.value, Secret)
    assert_type(header.reveal(), tuple[str, str])
    assert_type(response.status, int)
    assert_type(response.headers, dict[str, str])
    assert_type(response.body, bytes)
    assert_type(response.text, str)
    assert_type(signature.raw, bytes)
    assert_type(info.expires, datetime | None)


def errors() -> None:
    try:
        VaultClient("a").retrieve("p")
    except CredentialNotFound as error:
        assert_type(error.code, str)
        assert_type(error.context, dict[str, object])
        assert_type(error.retry_after, float | None)
        also: NotFoundError = error
        assert_type(also.message, str)
    except VaultDeadlineError as error:
        assert_type(error.sent, bool)
        builtin: TimeoutError = error
        print(builtin)
    except VaultConnectError as error:
        lost: ConnectionError = error
        shared: TransportError = error
        print(lost, shared)
    except VaultError as error:
        assert_type(error.suggestion, str | None)
        root: OstiaryError = error
        print(root)
    except APIError as error:
        assert_type(error.code, str | None)


def key_tools(path: Path) -> None:
    key = keys.generate()
    assert_type(key, keys.AgentKey)
    keys.save(key, path, passphrase="x")
    assert_type(keys.load(path, passphrase=Secret("x")), keys.AgentKey)
    assert_type(key.public_key, bytes)
    assert_type(key.sign(b"x"), bytes)


def package() -> None:
    assert_type(ostiary.__version__, str)
    assert_type(Secret("x").reveal(), str)


def mapping(value: Mapping[str, object]) -> None:
    VaultClient("a").connect(value)
