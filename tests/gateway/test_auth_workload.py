"""JWT-SVIDs from the SPIFFE Workload API: a real gRPC server on a Unix socket gives them."""

from __future__ import annotations

import asyncio
import pickle
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ostiary.gateway.auth.spiffe import SvidSource, WorkloadJWTSource
from ostiary.gateway.auth.trat import TransactionTokenClient
from ostiary.gateway.client import SpiffeGatewayClient, access_from_environment
from ostiary.gateway.errors import ConfigurationError, SpiffeAuthError
from tests.conftest import Run
from tests.gateway.clock import Clock
from tests.gateway.hiding import assert_hides
from tests.gateway.tokens import ID, svid, trat, write

grpc = pytest.importorskip("grpc", reason="the extra spiffe is not installed")
pytest.importorskip("spiffe", reason="the extra spiffe is not installed")

OTHER = "spiffe://sanctum.example/other"


class WorkloadApi:
    """The part of an agent that gives JWT-SVIDs; each step answers one request, the last all."""

    def __init__(self, directory: Path) -> None:
        from spiffe._proto import workload_pb2, workload_pb2_grpc

        self.steps: list[Any] = [lambda request: svid()]
        self.asked: list[Any] = []
        self.metadata: list[dict[str, Any]] = []
        self.socket = f"unix:{directory}/api.sock"
        self._taking = threading.Lock()
        api = self

        class Servicer(workload_pb2_grpc.SpiffeWorkloadAPIServicer):  # type: ignore[misc]
            def FetchJWTSVID(self, request: Any, context: Any) -> Any:
                with api._taking:
                    api.asked.append(request)
                    api.metadata.append(dict(context.invocation_metadata()))
                    step = api.steps.pop(0) if len(api.steps) > 1 else api.steps[0]
                found = step(request) if callable(step) else step
                if isinstance(found, grpc.StatusCode):
                    context.abort(found, "SECRET-PROSE")
                tokens = [found] if isinstance(found, str) else found
                return workload_pb2.JWTSVIDResponse(
                    svids=[workload_pb2.JWTSVID(spiffe_id=ID, svid=each) for each in tokens]
                )

        self._pool = ThreadPoolExecutor(8)
        self._server = grpc.server(self._pool)
        workload_pb2_grpc.add_SpiffeWorkloadAPIServicer_to_server(Servicer(), self._server)
        self._server.add_insecure_port(self.socket)
        self._server.start()

    def stop(self) -> None:
        self._server.stop(0).wait()
        self._pool.shutdown()


@pytest.fixture
def api() -> Iterator[WorkloadApi]:
    with tempfile.TemporaryDirectory(prefix="api") as directory:
        server = WorkloadApi(Path(directory))
        yield server
        server.stop()


@pytest.fixture(params=["sync", "async"])
def get(request: pytest.FixtureRequest) -> Callable[[WorkloadJWTSource], str]:
    """Get a token in either colour."""
    if request.param == "sync":
        return WorkloadJWTSource.get_token
    return lambda source: asyncio.run(source.get_token_async())


Get = Callable[[WorkloadJWTSource], str]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_an_svid_is_fetched_once(api: WorkloadApi, get: Get) -> None:
    token = svid()
    api.steps = [token]
    source = WorkloadJWTSource("llm-gateway", socket=api.socket)
    assert isinstance(source, SvidSource)
    assert source.is_expired()
    assert [get(source) for _ in range(3)] == [token] * 3
    assert not source.is_expired()
    assert source.get_svid().spiffe_id == ID
    (asked,) = api.asked
    assert list(asked.audience) == ["llm-gateway"]
    assert asked.spiffe_id == ""
    assert api.metadata[0]["workload.spiffe.io"] == "true"
    assert token not in repr(source)


def test_one_of_several_identities(api: WorkloadApi) -> None:
    WorkloadJWTSource("llm-gateway", socket=api.socket, spiffe_id=OTHER).get_token()
    assert api.asked[0].spiffe_id == OTHER
    with pytest.raises(SpiffeAuthError, match="cannot be asked"):
        WorkloadJWTSource("llm-gateway", socket=api.socket, spiffe_id="agent").get_token()


def test_it_is_renewed_before_its_end(api: WorkloadApi, get: Get, clock: Clock) -> None:
    one, two = svid(1800), svid(3600, jti="2")
    api.steps = [one, two]
    source = WorkloadJWTSource("llm-gateway", socket=api.socket)
    assert get(source) == one
    clock.ahead = 1450
    assert get(source) == one
    clock.ahead = 1550
    assert source.is_expired()
    assert get(source) == two
    assert len(api.asked) == 2


def test_a_renewal_that_fails_is_not_the_callers_trouble(
    api: WorkloadApi, get: Get, clock: Clock
) -> None:
    one = svid(600)
    api.steps = [one, grpc.StatusCode.UNAVAILABLE]
    source = WorkloadJWTSource("llm-gateway", socket=api.socket)
    get(source)
    clock.ahead = 590
    assert get(source) == one
    assert get(source) == one
    assert len(api.asked) == 2  # and it is not asked by every call
    clock.ahead = 601
    with pytest.raises(SpiffeAuthError):
        get(source)


def test_one_fetch_for_many(api: WorkloadApi, run: Run) -> None:
    go, come = threading.Event(), threading.Event()
    token = svid()

    def slow(request: Any) -> str:
        come.set()
        assert go.wait(30)
        return token

    api.steps = [slow]
    source = WorkloadJWTSource("llm-gateway", socket=api.socket)
    found: list[str] = []

    async def main() -> None:
        threads = [
            threading.Thread(target=lambda: found.append(source.get_token())) for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        tasks = [asyncio.create_task(source.get_token_async()) for _ in range(20)]
        while len(getattr(source._flights._flight, "waiters", ())) < 22:
            await asyncio.sleep(0.001)  # the loop goes on while gRPC blocks
        go.set()
        found.extend(await asyncio.gather(*tasks))
        for thread in threads:
            thread.join()

    run(main())
    assert found == [token] * 23
    assert len(api.asked) == 1


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (grpc.StatusCode.PERMISSION_DENIED, "no identity of this workload"),
        (grpc.StatusCode.INVALID_ARGUMENT, "refused the request"),
        (grpc.StatusCode.UNAVAILABLE, "cannot be reached"),
        (grpc.StatusCode.INTERNAL, "no JWT-SVID"),
        ([], "no JWT-SVID"),
        ("no token", "no JWT-SVID"),
        (svid(-10), ""),
        (svid(aud=["other"]), ""),
    ],
    ids=["denied", "argument", "down", "internal", "none", "garbage", "expired", "audience"],
)
def test_an_api_that_gives_none(api: WorkloadApi, get: Get, step: Any, said: str) -> None:
    api.steps = [step]
    with pytest.raises(SpiffeAuthError, match=said or "Workload API") as caught:
        get(WorkloadJWTSource("llm-gateway", socket=api.socket))
    assert caught.value.exit_code == 11
    assert api.socket in str(caught.value)
    assert caught.value.__cause__ is None
    assert_hides(caught.value, "SECRET-PROSE", *([step] if isinstance(step, str) else []))


def test_an_api_that_hangs(api: WorkloadApi, get: Get) -> None:
    over = threading.Event()
    api.steps = [lambda request: over.wait(30) and svid()]
    try:
        with pytest.raises(SpiffeAuthError, match="in time"):
            get(WorkloadJWTSource("llm-gateway", socket=api.socket, timeout=0.2))
    finally:
        over.set()


def test_an_api_that_is_not_there(tmp_path: Path, get: Get) -> None:
    with pytest.raises(SpiffeAuthError, match="cannot be asked"):
        get(WorkloadJWTSource("llm-gateway", socket=f"unix:{tmp_path}/no.sock"))


def test_invalidate_fetches_another(api: WorkloadApi, get: Get) -> None:
    one, two = svid(), svid(jti="2")
    api.steps = [one, two]
    source = WorkloadJWTSource("llm-gateway", socket=api.socket)
    assert get(source) == one
    source.invalidate()
    assert get(source) == two


def test_the_socket_may_come_from_the_environment(
    api: WorkloadApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SPIFFE_ENDPOINT_SOCKET", raising=False)
    with pytest.raises(ConfigurationError, match="SPIFFE_ENDPOINT_SOCKET"):
        WorkloadJWTSource("llm-gateway")
    monkeypatch.setenv("SPIFFE_ENDPOINT_SOCKET", api.socket)
    assert WorkloadJWTSource("llm-gateway").endpoint == api.socket
    bare = api.socket.removeprefix("unix:")
    assert WorkloadJWTSource("llm-gateway", socket=bare).endpoint == api.socket
    assert WorkloadJWTSource("llm-gateway", socket=bare).get_token()
    with pytest.raises(ConfigurationError, match="audience"):
        WorkloadJWTSource("")


def test_it_travels_as_its_place(api: WorkloadApi) -> None:
    token = svid()
    api.steps = [token]
    source = WorkloadJWTSource("llm-gateway", socket=api.socket, timeout=3)
    source.get_token()
    data = pickle.dumps(source)
    assert token.encode() not in data
    again = pickle.loads(data)
    assert (again.endpoint, again.is_expired()) == (api.socket, True)
    assert again.get_token() == token


def test_an_agent_takes_it_from_its_environment(api: WorkloadApi, tmp_path: Path, run: Run) -> None:
    """Rotated in the middle of a run, with no call that fails."""
    one, two = svid(), svid(jti="2")
    api.steps = [one, two]
    environ = {
        "SPIFFE_ENDPOINT_SOCKET": api.socket,
        "TRAT_FILE": str(write(tmp_path / "trat", trat())),
        "LLM_GATEWAY_SOCKET": str(tmp_path / "llm.sock"),
    }
    with pytest.raises(ConfigurationError, match="OSTIARY_GATEWAY_AUDIENCE"):
        access_from_environment(environ)
    access = access_from_environment(environ | {"OSTIARY_GATEWAY_AUDIENCE": "llm-gateway"})
    assert isinstance(access, SpiffeGatewayClient)
    first = run(access.get_credentials_async())
    assert first.spiffe_jwt == one
    assert access.get_credentials() is first
    access.invalidate(first)
    second = access.get_credentials()
    assert second.spiffe_jwt == two
    access.invalidate(first)  # a late refusal of the first
    assert access.get_credentials() == second
    assert len(api.asked) == 2


def test_without_the_extra_it_says_what_to_install(tmp_path: Path) -> None:
    program = (
        "import sys\nsys.modules['spiffe'] = None\n"
        "from ostiary.gateway import ConfigurationError, WorkloadJWTSource\n"
        "try:\n    WorkloadJWTSource('llm-gateway', socket='unix:/x')\n"
        "except ConfigurationError as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "pip install 'ostiary[spiffe]'" in done.stdout
    assert TransactionTokenClient(tmp_path / "x")  # which needs no extra
