"""Identity against the embedded gateway: real tokens, rotated, revoked, refused."""

from __future__ import annotations

import asyncio
import logging
import pickle
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ostiary.gateway import AsyncGatewayClient, GatewayClient
from ostiary.gateway.auth.spiffe import JWTSource, read_svid
from ostiary.gateway.auth.trat import TransactionToken, TransactionTokenClient
from ostiary.gateway.client import SpiffeGatewayClient, access_from_environment
from ostiary.gateway.errors import (
    AuthError,
    ForbiddenError,
    GatewayAuthError,
    GatewayError,
    GatewayForbiddenError,
    GatewaySpiffeError,
    GatewayTraTError,
    SageSanctumError,
    SpiffeAuthError,
    TraTAcquisitionError,
)
from ostiary.gateway.http import GatewayHttpClient
from ostiary.secret import Secret
from tests.frames import OURS
from tests.gateway import tokens
from tests.gateway.tokens import write

pytest.importorskip("starlette", reason="the extra dev is not installed")

from ostiary.devserver import HttpFault

MODEL = "ostiary:echo"
CHAT = "/v1/chat/completions"
ASK = {"model": "echo", "messages": [{"role": "user", "content": "hello"}]}


@pytest.fixture
def gateway(ostiary_gateway: Any) -> Iterator[Any]:
    return ostiary_gateway


def access(gateway: Any, **changed: str | None) -> SpiffeGatewayClient:
    """Access by the gateway's environment, with some of it changed or left out."""
    environ = {k: v for k, v in (gateway.environment | changed).items() if v is not None}
    found = access_from_environment(environ)
    assert isinstance(found, SpiffeGatewayClient)
    return found


def test_the_gateways_tokens_are_ours(gateway: Any) -> None:
    """What the embedded trust domain issues is what the specifications describe."""
    one = access(gateway)
    svid = read_svid(Secret(one.get_credentials().spiffe_jwt))
    trat = one.get_trat()
    assert svid.spiffe_id == trat.req_wl
    assert svid.expires_at > time.time()
    assert trat.tctx.run_id == gateway.environment["RUN_ID"]
    assert trat.tctx.org_id == gateway.environment["ORG_ID"]
    assert trat.tctx.allowed_models.has_any()
    assert trat.aud == svid.trust_domain


def test_the_file_and_the_sidecar_give_the_same_run(gateway: Any) -> None:
    by_file = access(gateway, AUTH_SIDECAR_SOCKET=None)
    by_sidecar = access(gateway, TRAT_FILE=None)
    assert by_file.get_trat().tctx == by_sidecar.get_trat().tctx
    for one in (by_file, by_sidecar):
        with GatewayClient(one) as client:
            assert client.chat("hello", model=MODEL).text == "hello"
            assert client.health()


def test_a_bad_file_is_no_trouble_while_there_is_a_sidecar(gateway: Any, tmp_path: Path) -> None:
    bad = write(tmp_path / "trat", "half")
    with GatewayClient(access(gateway, TRAT_FILE=str(bad))) as client:
        assert client.chat("hello", model=MODEL).text == "hello"


def test_rotation_fails_no_call(gateway: Any) -> None:
    """While five rotations pass, every call of four threads is answered."""
    problems: list[BaseException] = []
    done = [0] * 4
    over = threading.Event()

    def work(number: int, client: GatewayClient) -> None:
        try:
            while not over.is_set():
                assert client.chat(f"{number}", model=MODEL).text == f"{number}"
                done[number] += 1
        except BaseException as error:  # noqa: BLE001 - any of them fails the test
            problems.append(error)

    with GatewayClient(access(gateway)) as client:
        threads = [threading.Thread(target=work, args=(n, client)) for n in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(5):
            gateway.rotate()
            seen = list(done)
            while min(map(int.__sub__, done, seen)) < 2 and not problems:
                time.sleep(0.001)
        over.set()
        for thread in threads:
            thread.join()
    assert problems == []
    assert {call.status for call in gateway.calls()} == {200}


def test_a_revoked_token_is_replaced_and_the_call_made_once_more(gateway: Any) -> None:
    """The token that is held is good by its own words, and the gateway says no."""
    with GatewayClient(access(gateway, TRAT_FILE=None)) as client:
        client.chat("before", model=MODEL)
        gateway.revoke()
        assert client.chat("after", model=MODEL).text == "after"
    assert [call.status for call in gateway.calls()] == [200, 401, 200]


def test_a_storm_of_refusals_renews_once(gateway: Any) -> None:
    """A hundred calls are refused together; the sidecar is asked for one new token."""
    one = access(gateway, TRAT_FILE=None)
    renewals: list[int] = []
    original = TransactionTokenClient._take

    def take(self: TransactionTokenClient, response: Any) -> TransactionToken:
        renewals.append(1)
        return original(self, response)

    async def main() -> list[str | None]:
        async with AsyncGatewayClient(one, max_connections=20) as client:
            await client.chat("before", model=MODEL)
            gateway.revoke()
            asked = [client.chat(f"{n}", model=MODEL) for n in range(100)]
            return [reply.text for reply in await asyncio.gather(*asked)]

    TransactionTokenClient._take = take  # type: ignore[method-assign]
    try:
        assert asyncio.run(main()) == [f"{n}" for n in range(100)]
    finally:
        TransactionTokenClient._take = original  # type: ignore[method-assign]
    assert len(renewals) == 2
    assert {call.status for call in gateway.calls()} == {200, 401}


def test_a_gateway_that_always_refuses_is_believed(gateway: Any) -> None:
    gateway.faults.add(HttpFault(path="/v1/*", status=401, times=1000))
    with GatewayClient(access(gateway)) as client, pytest.raises(GatewayAuthError) as caught:
        client.chat("hello", model=MODEL)
    assert isinstance(caught.value, AuthError)
    assert isinstance(caught.value, GatewayError)
    assert 10 <= caught.value.exit_code <= 13


def sent(gateway: Any, headers: dict[str, Any]) -> SageSanctumError:
    """Send a chat with these headers by the bare client and return what a stream raises."""
    headers = {"X-Provider": "ostiary", **headers}
    with (
        GatewayHttpClient(gateway.socket_path) as client,
        pytest.raises(SageSanctumError) as caught,
    ):
        list(client.request_stream("POST", CHAT, headers, ASK))
    return caught.value


def test_what_the_gateway_refuses_has_its_class(gateway: Any) -> None:
    """Forged, swapped and missing tokens: refused here, and each by its own error."""
    good = gateway.headers()
    other = gateway.issue("run_other", "77").headers()
    forged = good["Txn-Token"].rpartition(".")[0] + "." + tokens.b64(b"0" * 64)
    cases: list[tuple[dict[str, Any], type[SageSanctumError], int]] = [
        ({"Txn-Token": good["Txn-Token"]}, GatewaySpiffeError, 11),
        (good | {"Authorization": "Bearer a.b"}, GatewaySpiffeError, 11),
        (good | {"Authorization": f"Bearer {tokens.svid()}"}, GatewaySpiffeError, 11),
        (good | {"Authorization": f"Bearer {good['Txn-Token']}"}, GatewaySpiffeError, 11),
        ({"Authorization": good["Authorization"]}, GatewayTraTError, 12),
        (good | {"Txn-Token": tokens.trat()}, GatewayTraTError, 12),
        (good | {"Txn-Token": forged}, GatewayTraTError, 12),
        (good | {"Txn-Token": other["Txn-Token"]}, GatewayForbiddenError, 20),
    ]
    for headers, kind, code in cases:
        error = sent(gateway, headers)
        assert type(error) is kind
        assert error.exit_code == code
        for token in (*good.values(), *headers.values()):
            assert token.removeprefix("Bearer ") not in str(error)
    assert issubclass(GatewaySpiffeError, SpiffeAuthError)
    assert issubclass(GatewayTraTError, TraTAcquisitionError)
    assert issubclass(GatewayForbiddenError, ForbiddenError)


def test_a_model_that_the_gateway_does_not_allow(gateway: Any) -> None:
    error = sent(gateway, gateway.headers() | {"X-Provider": "nobody"})
    assert error.exit_code == 21
    assert isinstance(error, ForbiddenError)


def test_no_token_is_ever_logged(
    gateway: Any, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither when all is well nor when it is not; nor does an error or a client carry one."""
    caplog.set_level(logging.DEBUG)
    one = access(gateway)
    secrets = [*gateway.headers().values()]
    shown = [repr(one), repr(one.get_credentials()), repr(one.get_trat())]
    with GatewayClient(one) as client:
        client.chat("hello", model=MODEL)
        gateway.rotate()
        secrets += gateway.headers().values()
        list(client.stream_chat("hello", model=MODEL))
        gateway.faults.add(HttpFault(path="/v1/*", status=401, times=2))
        with pytest.raises(GatewayAuthError) as caught:
            client.chat("hello", model=MODEL)
        shown += [repr(client), repr(caught.value), repr(caught.value.__dict__)]
        shown.append(pickle.dumps(client).decode("latin-1"))
        found = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
        shown += [repr(frame.locals) for frame in found.stack if frame.filename.startswith(OURS)]
    shown += [record.getMessage() for record in caplog.records]
    shown += capfd.readouterr()
    for secret in secrets:
        token = secret.removeprefix("Bearer ")
        for part in (token, token.rpartition(".")[2], token[:24] + token[24:48]):
            assert all(part not in text for text in shown)


def test_an_svid_source_and_a_token_client_of_ones_own(gateway: Any) -> None:
    one = SpiffeGatewayClient(
        JWTSource(gateway.svid_file, trust_domain=access(gateway).get_trat().aud),  # type: ignore[arg-type]
        TransactionTokenClient(gateway.trat_file, gateway.sidecar_path),
        gateway.socket_path,
    )
    with GatewayClient(one) as client:
        assert client.chat("hello", model=MODEL).text == "hello"
