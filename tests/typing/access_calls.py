"""What a checker infers for tokens, access and models by name. Never run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import assert_type

from ostiary.gateway import (
    DirectProviderClient,
    GatewayAccess,
    GatewayCredentials,
    JWTSource,
    ModelCategory,
    ModelRef,
    ModelSelector,
    SpiffeGatewayClient,
    StaticModelSelector,
    TransactionToken,
    TransactionTokenClient,
    WorkloadJWTSource,
    access_from_environment,
)
from ostiary.gateway.auth.spiffe import Svid, SvidSource
from ostiary.gateway.errors import GatewayError, SageSanctumError
from ostiary.gateway.http import GatewayHttpClient, HttpResponse
from ostiary.gateway.providers import Provider, provider
from ostiary.secret import Secret


def tokens(client: TransactionTokenClient) -> None:
    assert_type(client.get_token(), TransactionToken)
    assert_type(client.trat_file, Path | None)
    token = TransactionToken.from_jwt("a.b.c")
    assert_type(token, TransactionToken)
    assert_type(token.raw, str)
    assert_type(token.token, Secret)
    assert_type(token.is_expired, bool)
    assert_type(token.tctx.allowed_models.to_dict(), dict[str, list[str]])
    assert_type(token.tctx.allowed_tools["x"], tuple[str, ...])
    assert_type(token.rctx.pr_number, int | None)


def sources() -> None:
    source = JWTSource("/svid")
    assert_type(source.get_token(), str)
    assert_type(source.get_svid(), Svid)
    assert_type(source.path, Path)
    both: list[SvidSource] = [source, WorkloadJWTSource("aud")]
    SpiffeGatewayClient(both[0], TransactionTokenClient("/trat"), Path("/run/llm.sock"))


def access() -> None:
    found = access_from_environment()
    assert_type(found, GatewayAccess)
    assert_type(found.is_gateway_mode, bool)
    assert_type(found.get_credentials(), GatewayCredentials)
    assert_type(found.get_credentials().auth_headers(), dict[str, str])
    assert_type(found.get_trat(), TransactionToken | None)
    assert_type(found.request_headers("openai"), dict[str, str | Secret])
    direct = DirectProviderClient(allow=True, api_keys={"openai": Secret("k"), "google": "k"})
    assert_type(direct.get_api_key("openai"), str)


async def asynchronous(found: SpiffeGatewayClient, client: TransactionTokenClient) -> None:
    assert_type(await client.get_token_async(), TransactionToken)
    assert_type(await found.get_credentials_async(), GatewayCredentials)
    assert_type(await found.get_trat_async(), TransactionToken)
    assert_type(found.get_trat(), TransactionToken)


def models(token: TransactionToken) -> None:
    ref = ModelRef.parse("openai:gpt-4o")
    assert_type(ref, ModelRef)
    assert_type(ref.for_litellm, str)
    selector = ModelSelector.from_trat(token)
    assert_type(selector, ModelSelector)
    assert_type(selector.select(ModelCategory.TRIAGE), ModelRef)
    assert_type(StaticModelSelector(ref).select_all(ModelCategory.TRIAGE), list[ModelRef])
    assert_type(provider("openai"), Provider)


def bare(client: GatewayHttpClient) -> None:
    assert_type(client.request("GET", "/"), HttpResponse)
    assert_type(client.request_stream("GET", "/"), Iterator[bytes])
    assert_type(client.health_check(), bool)
    assert_type(GatewayHttpClient.from_endpoint("unix:///x"), GatewayHttpClient)


def errors(error: SageSanctumError) -> None:
    assert_type(error.exit_code, int)
    if isinstance(error, GatewayError):
        assert_type(error.status, int | None)
        assert_type(error.attempts, int)
