"""Which mode a process is in, where the gateway or a provider is, and what is sent as proof."""

from __future__ import annotations

import asyncio
import os
import pickle
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ostiary.gateway as gateway
from ostiary.gateway import settings
from ostiary.gateway.auth.credentials import GatewayCredentials
from ostiary.gateway.auth.spiffe import JWTSource
from ostiary.gateway.auth.trat import TransactionToken, TransactionTokenClient
from ostiary.gateway.client import (
    DirectProviderClient,
    GatewayAccess,
    SpiffeGatewayClient,
    access_from_environment,
)
from ostiary.gateway.endpoints import safe_endpoint
from ostiary.gateway.errors import (
    ConfigurationError,
    ForbiddenError,
    SageSanctumError,
    SpiffeAuthError,
    TraTAcquisitionError,
    TraTExpiredError,
)
from ostiary.gateway.settings import GatewaySettings, direct_allowed
from ostiary.secret import Secret
from tests.conftest import Run
from tests.frames import OURS
from tests.gateway import tokens
from tests.gateway.hiding import assert_hides
from tests.gateway.tokens import svid, trat, write

KEY = "sk-test-0123456789abcdef"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the caller's own gateway, run or keys shows."""
    for name in list(os.environ):
        if name in AGENT or name.startswith(("OSTIARY_", "SAGE_", "OPENAI_", "ANTHROPIC_")):
            monkeypatch.delenv(name)


AGENT = {
    "RUN_ID",
    "ORG_ID",
    "WORK_DIR",
    "OUTPUT_PATH",
    "SPIFFE_JWT_PATH",
    "SPIFFE_ENDPOINT_SOCKET",
    "TRAT_FILE",
    "AUTH_SIDECAR_SOCKET",
    "LLM_GATEWAY_SOCKET",
    "GATEWAY_SOCKET",
    "GOOGLE_API_KEY",
    "GOOGLE_BASE_URL",
}


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """The environment of an agent in gateway mode."""
    return {
        "RUN_ID": "run_8841",
        "ORG_ID": "77",
        "SPIFFE_JWT_PATH": str(write(tmp_path / "svid", svid())),
        "TRAT_FILE": str(write(tmp_path / "trat", trat())),
        "LLM_GATEWAY_SOCKET": str(tmp_path / "llm.sock"),
    }


def made(files: dict[str, str], **options: Any) -> SpiffeGatewayClient:
    return SpiffeGatewayClient(
        JWTSource(files["SPIFFE_JWT_PATH"]),
        TransactionTokenClient(files["TRAT_FILE"]),
        **({"gateway_socket": files["LLM_GATEWAY_SOCKET"]} | options),
    )


# --- gateway mode


def test_both_tokens_are_the_files(files: dict[str, str], run: Run) -> None:
    access = made(files)
    svid_, trat_ = (Path(files[x]).read_text() for x in ("SPIFFE_JWT_PATH", "TRAT_FILE"))
    for found in (access.get_credentials(), run(access.get_credentials_async())):
        assert (found.spiffe_jwt, found.trat) == (svid_, trat_)
    for token in (access.get_trat(), run(access.get_trat_async())):
        assert token.raw == trat_
    assert access.is_gateway_mode is True
    assert isinstance(access, GatewayAccess)


def test_every_request_has_the_tokens_of_its_moment(files: dict[str, str]) -> None:
    access = made(files)
    first = access.request_headers("openai")
    assert set(first) == {"Authorization", "Txn-Token", "X-Provider"}
    assert first["X-Provider"] == "openai"
    assert isinstance(first["Authorization"], Secret)
    assert isinstance(first["Txn-Token"], Secret)
    later = svid(jti="later")
    write(Path(files["SPIFFE_JWT_PATH"]), later)
    second = asyncio.run(access.request_headers_async("anthropic"))
    assert isinstance(second["Authorization"], Secret)
    assert second["Authorization"].reveal() == f"Bearer {later}"
    assert later not in repr(second)
    assert second["X-Provider"] == "anthropic"


@pytest.mark.parametrize("provider", ["openai", "anthropic", "google", "nobody-knows-it"])
def test_the_gateway_is_one_place_for_all_providers(files: dict[str, str], provider: str) -> None:
    assert made(files).get_endpoint(provider) == f"unix://{files['LLM_GATEWAY_SOCKET']}"


@pytest.mark.parametrize(
    ("environ", "endpoint"),
    [
        ({"LLM_GATEWAY_SOCKET": "/run/llm.sock"}, "unix:///run/llm.sock"),
        ({"GATEWAY_SOCKET": "/run/old.sock"}, "unix:///run/old.sock"),
        (
            {"LLM_GATEWAY_SOCKET": "/run/llm.sock", "GATEWAY_SOCKET": "/run/old.sock"},
            "unix:///run/llm.sock",
        ),
        ({"OPENAI_BASE_URL": "unix:///run/b.sock"}, "unix:///run/b.sock"),
        (
            {"OPENAI_BASE_URL": "https://x.example", "GOOGLE_BASE_URL": "unix:///run/b.sock"},
            "unix:///run/b.sock",
        ),
    ],
)
def test_the_socket_may_come_from_the_environment(
    files: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    environ: dict[str, str],
    endpoint: str,
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert made(files, gateway_socket=None).get_endpoint("openai") == endpoint


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"OPENAI_BASE_URL": "http://gateway:8080/v1"},
        {"OPENAI_BASE_URL": "https://gateway.example/v1"},
        {"LLM_GATEWAY_SOCKET": " "},
        {"OPENAI_BASE_URL": "unix:///a.sock", "ANTHROPIC_BASE_URL": "unix:///b.sock"},
    ],
)
def test_there_is_no_silent_tcp(
    files: dict[str, str], monkeypatch: pytest.MonkeyPatch, environ: dict[str, str]
) -> None:
    """Without a socket the original sends both tokens to port 8080 in plain text."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match="LLM_GATEWAY_SOCKET") as caught:
        made(files, gateway_socket=None)
    assert caught.value.exit_code == 43


@pytest.mark.parametrize(
    ("given", "endpoint"),
    [
        (Path("/run/x.sock"), "unix:///run/x.sock"),
        ("unix:///run/x.sock", "unix:///run/x.sock"),
        ("http+unix://%2Frun%2Fx.sock", "unix:///run/x.sock"),
        ("/run/../run/x.sock", "unix:///run/x.sock"),
        ("/run/a?b.sock", "http+unix://%2Frun%2Fa%3Fb.sock"),
        ("x.sock", f"unix://{Path.cwd()}/x.sock"),
        ("~/x.sock", f"unix://{Path.home()}/x.sock"),
    ],
)
def test_spellings_of_a_socket(files: dict[str, str], given: Any, endpoint: str) -> None:
    assert made(files, gateway_socket=given).get_endpoint("openai") == endpoint


@pytest.mark.parametrize("wrong", ["a\x00b", "/" + "x" * 200, "unix://"], ids=range(3))
def test_what_is_no_socket(files: dict[str, str], wrong: str) -> None:
    with pytest.raises(ConfigurationError, match="socket"):
        made(files, gateway_socket=wrong)


def test_tcp_is_for_those_who_name_it(files: dict[str, str]) -> None:
    url = "https://gateway.example/llm/"
    access = made(files, gateway_socket=None, gateway_url=url)
    assert access.get_endpoint("openai") == "https://gateway.example/llm"
    with pytest.raises(ConfigurationError, match="not both"):
        made(files, gateway_url=url)
    for unsafe in ("http://gateway.example", "http://10.0.0.1:8080", "http://localhost.example"):
        with pytest.raises(ConfigurationError, match="plain http"):
            made(files, gateway_socket=None, gateway_url=unsafe)
    local = made(files, gateway_socket=None, gateway_url="http://127.0.0.1:8080")
    assert local.get_endpoint("openai") == "http://127.0.0.1:8080"


@pytest.mark.parametrize(
    ("file", "content", "kind"),
    [
        ("SPIFFE_JWT_PATH", "", SpiffeAuthError),
        ("SPIFFE_JWT_PATH", svid(-1), SpiffeAuthError),
        ("TRAT_FILE", "x", TraTAcquisitionError),
        ("TRAT_FILE", trat(-1), TraTExpiredError),
    ],
    ids=["svid", "old svid", "trat", "old trat"],
)
def test_a_token_that_cannot_be_had_is_an_error(
    files: dict[str, str], file: str, content: str, kind: type[SageSanctumError], run: Run
) -> None:
    """`get_trat` of the original turns every failure into None, and all is allowed."""
    write(Path(files[file]), content)
    access = made(files)
    with pytest.raises(kind):
        access.get_credentials()
    with pytest.raises(kind):
        run(access.get_credentials_async())
    with pytest.raises(kind):
        access.request_headers("openai")
    if file == "TRAT_FILE":
        with pytest.raises(kind):
            access.get_trat()
        with pytest.raises(kind):
            run(access.get_trat_async())


@pytest.mark.parametrize("name", ["RUN_ID", "ORG_ID"])
def test_the_token_of_another_run_is_not_used(files: dict[str, str], name: str, run: Run) -> None:
    """Two runs' files mixed up: found here, and not by what the other run may do."""
    mixed = access_from_environment(files | {name: "other"})
    for call in (mixed.get_trat, mixed.get_credentials):
        with pytest.raises(ForbiddenError, match=f"{name.lower()} '.*' and this process 'other'"):
            call()
    for start in (mixed.get_trat_async, mixed.get_credentials_async):
        with pytest.raises(ForbiddenError) as caught:
            run(start())
    assert caught.value.exit_code == 20
    with pytest.raises(ForbiddenError):
        pickle.loads(pickle.dumps(mixed)).get_trat()
    # A token that names no run is not one of another.
    write(Path(files["TRAT_FILE"]), trat(tctx={}))
    assert mixed.get_trat().tctx.run_id == ""
    del files[name]
    assert access_from_environment(files).get_trat()


class CountingSource:
    """An SVID source of somebody else: only what the protocol asks for."""

    def __init__(self) -> None:
        self.number = 0
        self.forgotten = 0

    def get_token(self) -> str:
        return f"svid-{self.number}"

    def is_expired(self) -> bool:
        return False

    def invalidate(self) -> None:
        self.forgotten += 1
        self.number += 1


def test_a_late_refusal_costs_nothing(files: dict[str, str]) -> None:
    """Of a hundred calls that were refused with the same tokens, the first renews."""
    source = CountingSource()
    access = SpiffeGatewayClient(
        source, TransactionTokenClient(files["TRAT_FILE"]), files["LLM_GATEWAY_SOCKET"]
    )
    sent = access.get_credentials()
    for _ in range(100):
        access.invalidate(sent)
        assert access.get_credentials().spiffe_jwt == "svid-1"
    assert source.forgotten == 1
    access.invalidate()
    assert source.forgotten == 2
    assert access.get_credentials().spiffe_jwt == "svid-2"


def test_an_async_source_is_awaited(files: dict[str, str], run: Run) -> None:
    class Source(CountingSource):
        async def get_token_async(self) -> str:
            await asyncio.sleep(0)
            return "awaited"

    access = SpiffeGatewayClient(
        Source(), TransactionTokenClient(files["TRAT_FILE"]), files["LLM_GATEWAY_SOCKET"]
    )
    assert run(access.get_credentials_async()).spiffe_jwt == "awaited"
    assert access.get_credentials().spiffe_jwt == "svid-0"


def test_a_source_that_gives_no_token_is_refused(files: dict[str, str]) -> None:
    class Source(CountingSource):
        def get_token(self) -> str:
            return f"{svid()}\r\nX-Evil: 1"

    access = SpiffeGatewayClient(
        Source(), TransactionTokenClient(files["TRAT_FILE"]), files["LLM_GATEWAY_SOCKET"]
    )
    with pytest.raises(SpiffeAuthError) as caught:
        access.get_credentials()
    assert_hides(caught.value, "X-Evil")


def test_access_travels_without_tokens(files: dict[str, str]) -> None:
    access = made(files)
    held = access.get_credentials()
    data = pickle.dumps(access)
    assert held.trat.encode() not in data
    assert held.spiffe_jwt.encode() not in data
    again = pickle.loads(data)
    assert again.get_endpoint("openai") == access.get_endpoint("openai")
    assert again.get_credentials() == held
    assert held.trat not in repr(access)
    assert held.spiffe_jwt not in repr(access)


# --- direct mode


@pytest.mark.parametrize("text", ["1", "true", "TRUE", " 1 "])
def test_direct_mode_is_switched_on(text: str) -> None:
    assert direct_allowed({"SAGE_SANCTUM_ALLOW_DIRECT": text})


@pytest.mark.parametrize("text", [None, "", "0", "false", "False", " "])
def test_direct_mode_is_off(text: str | None) -> None:
    """`0` and `false` switch it on in the original."""
    environ = {} if text is None else {"SAGE_SANCTUM_ALLOW_DIRECT": text}
    assert not direct_allowed(environ)


@pytest.mark.parametrize("text", ["yes", "no", "on", "2", "1;", "truee"])
def test_direct_mode_is_not_guessed_at(text: str) -> None:
    with pytest.raises(ConfigurationError, match="SAGE_SANCTUM_ALLOW_DIRECT"):
        direct_allowed({"SAGE_SANCTUM_ALLOW_DIRECT": text})


def test_direct_mode_has_to_be_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="SAGE_SANCTUM_ALLOW_DIRECT=1") as caught:
        DirectProviderClient()
    assert caught.value.exit_code == 43
    with pytest.raises(ConfigurationError):
        DirectProviderClient(allow=False)
    before = dict(os.environ)
    DirectProviderClient(allow=True)
    assert dict(os.environ) == before  # the switch of one does not become everybody's
    monkeypatch.setenv("SAGE_SANCTUM_ALLOW_DIRECT", "1")
    access = DirectProviderClient()
    assert access.is_gateway_mode is False
    assert access.get_trat() is None
    assert asyncio.run(access.get_trat_async()) is None
    assert access.get_credentials().auth_headers() == {}
    access.invalidate()


@pytest.mark.parametrize(
    "name", ["SPIFFE_JWT_PATH", "LLM_GATEWAY_SOCKET", "GATEWAY_SOCKET", "OSTIARY_GATEWAY_URL"]
)
def test_direct_mode_beside_a_gateway_is_a_contradiction(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The original goes direct and says nothing."""
    monkeypatch.setenv("SAGE_SANCTUM_ALLOW_DIRECT", "1")
    monkeypatch.setenv(name, "/somewhere")
    with pytest.raises(ConfigurationError, match=name):
        DirectProviderClient()
    with pytest.raises(ConfigurationError, match=name):
        access_from_environment()
    DirectProviderClient(allow=True)  # whoever says so himself is believed


@pytest.mark.parametrize(
    ("provider", "endpoint"),
    [
        ("openai", "https://api.openai.com/v1"),
        ("anthropic", "https://api.anthropic.com"),
        ("google", "https://generativelanguage.googleapis.com"),
    ],
)
def test_providers_have_endpoints(
    monkeypatch: pytest.MonkeyPatch, provider: str, endpoint: str
) -> None:
    access = DirectProviderClient(allow=True)
    assert access.get_endpoint(provider) == endpoint
    # Also one that begins like the provider's own, which the original passes over.
    for url in ("https://api.elsewhere.example/v2", "http://localhost:4000", "unix:///run/x.sock"):
        monkeypatch.setenv(f"{provider.upper()}_BASE_URL", url)
        assert access.get_endpoint(provider) == url
    given = DirectProviderClient(allow=True, base_urls={provider.upper(): "https://mine.example/"})
    assert given.get_endpoint(provider) == "https://mine.example"


@pytest.mark.parametrize(
    ("provider", "header", "value"),
    [
        ("openai", "Authorization", f"Bearer {KEY}"),
        ("anthropic", "x-api-key", KEY),
        ("google", "x-goog-api-key", KEY),
    ],
)
def test_a_key_goes_to_its_own_provider(
    monkeypatch: pytest.MonkeyPatch, provider: str, header: str, value: str
) -> None:
    monkeypatch.setenv(f"{provider.upper()}_API_KEY", f" {KEY}\n")
    access = DirectProviderClient(allow=True)
    assert access.get_api_key(provider) == KEY
    for found in (
        access.request_headers(provider),
        asyncio.run(access.request_headers_async(provider)),
    ):
        ((name, secret),) = found.items()
        assert isinstance(secret, Secret)
        assert (name, secret.reveal()) == (header, value)
    for other in {"openai", "anthropic", "google"} - {provider}:
        with pytest.raises(ConfigurationError, match=f"{other.upper()}_API_KEY"):
            access.get_api_key(other)


@pytest.mark.parametrize("call", ["get_endpoint", "get_api_key", "request_headers"])
def test_an_unknown_provider_gets_nobodys_key(monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """The original sends it the one of OpenAI."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with pytest.raises(ConfigurationError, match="'mistral' is not known"):
        getattr(DirectProviderClient(allow=True), call)("mistral")


def test_what_only_a_gateway_has() -> None:
    with pytest.raises(ConfigurationError, match="through a gateway alone"):
        DirectProviderClient(allow=True).get_endpoint("ostiary")
    access = DirectProviderClient(
        allow=True, base_urls={"ostiary": "http://[::1]:9"}, api_keys={"ostiary": Secret("k")}
    )
    assert access.get_endpoint("ostiary") == "http://[::1]:9"
    assert access.get_api_key("ostiary") == "k"


@pytest.mark.parametrize(
    "url",
    [
        "http://api.openai.com/v1",
        "http://10.1.2.3:4000",
        "http://localhost.example",
        "http://127.0.0.1.example",
        "ftp://x.example",
        "api.openai.com",
        "https://user:hidden-pass@x.example",
        "https://x.example/?key=hidden-pass",
        "https://x.example/../admin",
        "https://x\r\nEvil: 1",
    ],
)
def test_a_key_is_sent_to_no_unsafe_place(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Plain text is for this machine alone."""
    with pytest.raises(ConfigurationError) as caught:
        DirectProviderClient(allow=True, base_urls={"openai": url})
    assert_hides(caught.value, "hidden-pass")
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    access = DirectProviderClient(allow=True)
    with pytest.raises(ConfigurationError, match="OPENAI_BASE_URL") as caught:
        access.get_endpoint("openai")
    assert_hides(caught.value, "hidden-pass")


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:8000",
        "http://LOCALHOST",
        "http://127.0.0.1",
        "http://127.9.9.9:1",
        "http://[::1]:5/v1",
        "https://x.example:8443/a/b",
        "unix:///run/x.sock",
        "http+unix://%2Frun%2Fx.sock/v1",
    ],
)
def test_safe_places(url: str) -> None:
    assert safe_endpoint("it", url) == url


@pytest.mark.parametrize(
    "wrong", ["", "a b", "a\r\nX: 1", "caf\u00e9", "x" * 20_000, 5, None], ids=range(7)
)
def test_what_is_no_key(monkeypatch: pytest.MonkeyPatch, wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="the API key of openai") as caught:
        DirectProviderClient(allow=True, api_keys={"openai": wrong})
    if isinstance(wrong, str):
        assert_hides(caught.value, wrong)
        if wrong:
            monkeypatch.setenv("OPENAI_API_KEY", wrong)
            with pytest.raises(ConfigurationError, match="OPENAI_API_KEY") as caught:
                DirectProviderClient(allow=True).get_api_key("openai")
            assert_hides(caught.value, wrong)


def test_keys_stay_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    access = DirectProviderClient(
        allow=True, api_keys={"openai": KEY}, base_urls={"openai": "https://mine.example"}
    )
    assert KEY not in repr(access)
    data = pickle.dumps(access)
    assert KEY.encode() not in data
    again = pickle.loads(data)
    assert again.get_endpoint("openai") == "https://mine.example"
    with pytest.raises(ConfigurationError):
        again.get_api_key("openai")
    monkeypatch.setenv("OPENAI_API_KEY", "another")
    assert again.get_api_key("openai") == "another"


# --- the environment


def test_an_agents_environment(files: dict[str, str]) -> None:
    access = access_from_environment(files)
    assert isinstance(access, SpiffeGatewayClient)
    assert isinstance(access.jwt_source, JWTSource)
    assert str(access.jwt_source.path) == files["SPIFFE_JWT_PATH"]
    assert str(access.trat_client.trat_file) == files["TRAT_FILE"]
    assert access.get_endpoint("google") == f"unix://{files['LLM_GATEWAY_SOCKET']}"
    assert access.get_trat().tctx.run_id == "run_8841"


def test_no_token_is_read_to_choose(files: dict[str, str]) -> None:
    """Starting does not wait for a sidecar, nor fail for want of a token."""
    for name in ("SPIFFE_JWT_PATH", "TRAT_FILE"):
        Path(files[name]).unlink()
    access_from_environment(files | {"AUTH_SIDECAR_SOCKET": "/nowhere.sock"})


@pytest.mark.parametrize(
    ("left_out", "names"),
    [
        (["SPIFFE_JWT_PATH"], "SPIFFE_JWT_PATH"),
        (["TRAT_FILE"], "TRAT_FILE.*AUTH_SIDECAR_SOCKET"),
        (["LLM_GATEWAY_SOCKET"], "LLM_GATEWAY_SOCKET"),
        (["SPIFFE_JWT_PATH", "TRAT_FILE", "LLM_GATEWAY_SOCKET"], "SAGE_SANCTUM_ALLOW_DIRECT=1"),
    ],
)
@pytest.mark.parametrize("how", ["left out", "empty", "blank"])
def test_what_is_missing_is_named(
    files: dict[str, str], left_out: list[str], names: str, how: str
) -> None:
    """Fail closed: neither direct mode nor TCP is tried instead."""
    for name in left_out:
        if how == "left out":
            del files[name]
        else:
            files[name] = "" if how == "empty" else "  "
    files["OPENAI_API_KEY"] = KEY
    with pytest.raises(ConfigurationError, match=names) as caught:
        access_from_environment(files)
    assert caught.value.exit_code == 43
    assert_hides(caught.value, KEY)


def test_a_sidecar_is_enough(files: dict[str, str]) -> None:
    del files["TRAT_FILE"]
    access = access_from_environment(files | {"AUTH_SIDECAR_SOCKET": "/run/sage/auth.sock"})
    assert isinstance(access, SpiffeGatewayClient)
    assert access.trat_client.sidecar_socket == "/run/sage/auth.sock"
    assert access.trat_client.trat_file is None


def test_a_url_for_those_who_name_it(files: dict[str, str]) -> None:
    url = {"OSTIARY_GATEWAY_URL": "https://gateway.example"}
    with pytest.raises(ConfigurationError, match="unset one of them"):
        access_from_environment(files | url)
    del files["LLM_GATEWAY_SOCKET"]
    assert access_from_environment(files | url).get_endpoint("x") == "https://gateway.example"
    with pytest.raises(ConfigurationError, match="plain http"):
        access_from_environment(files | {"OSTIARY_GATEWAY_URL": "http://gateway:8080"})


def test_direct_by_the_environment() -> None:
    environ = {"SAGE_SANCTUM_ALLOW_DIRECT": "1", "OPENAI_API_KEY": KEY}
    access = access_from_environment(environ)
    assert isinstance(access, DirectProviderClient)
    assert access.get_api_key("openai") == KEY  # of what was given, not of the process
    assert KEY not in repr(vars(access))


def test_the_processes_own_environment(
    files: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in files.items():
        monkeypatch.setenv(name, value)
    access = access_from_environment()
    assert isinstance(access, SpiffeGatewayClient)
    assert access.get_credentials().trat == Path(files["TRAT_FILE"]).read_text()


def test_settings_say_what_the_environment_says(files: dict[str, str]) -> None:
    found = GatewaySettings.from_environment(files)
    assert (found.run_id, found.org_id) == ("run_8841", "77")
    assert (found.work_dir, found.output_dir) == ("/work", "/output")
    assert (found.timeout, found.max_retries, found.log_format) == (120, 3, None)
    assert (found.model, found.direct) == (None, False)
    found.check()
    found.check_run()
    more = GatewaySettings.from_environment(
        files
        | {
            "WORK_DIR": "/w",
            "OUTPUT_PATH": "/o",
            "SAGE_MODEL": "anthropic:claude-x",
            "OPENAI_MODEL": "gpt-x",
            "OSTIARY_GATEWAY_TIMEOUT_SECONDS": "2.5",
            "SAGE_SANCTUM_TIMEOUT_SECONDS": "7",
            "SAGE_SANCTUM_MAX_RETRIES": "0",
            "OSTIARY_LOG_FORMAT": "json",
        }
    )
    assert (more.work_dir, more.output_dir, more.model) == ("/w", "/o", "anthropic:claude-x")
    assert (more.timeout, more.max_retries, more.log_format) == (2.5, 0, "json")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OSTIARY_GATEWAY_TIMEOUT_SECONDS", "soon"),
        ("OSTIARY_GATEWAY_TIMEOUT_SECONDS", "-1"),
        ("SAGE_SANCTUM_TIMEOUT_SECONDS", "nan"),
        ("OSTIARY_GATEWAY_MAX_RETRIES", "-1"),
        ("SAGE_SANCTUM_MAX_RETRIES", "many"),
        ("OSTIARY_LOG_FORMAT", "xml"),
    ],
)
def test_settings_that_do_not_fit(files: dict[str, str], name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        GatewaySettings.from_environment(files | {name: value})


@pytest.mark.parametrize("name", ["RUN_ID", "ORG_ID"])
def test_a_run_has_names(files: dict[str, str], name: str) -> None:
    for value in ("", " "):
        found = GatewaySettings.from_environment(files | {name: value})
        with pytest.raises(ConfigurationError, match=name):
            found.check_run()


def test_the_model_of_direct_mode() -> None:
    def chosen(**environ: str) -> str:
        return str(settings.default_selector(environ).select(gateway.ModelCategory.TRIAGE))

    assert chosen() == "openai:gpt-4o"
    assert chosen(OPENAI_MODEL="gpt-x") == "openai:gpt-x"
    assert chosen(OPENAI_MODEL="gpt-x", SAGE_MODEL="claude-y") == "anthropic:claude-y"


def test_no_frame_of_ours_holds_the_environment(files: dict[str, str]) -> None:
    """A traceback records the locals of every frame that raises."""
    environ = files | {"OPENAI_API_KEY": KEY}
    cases: list[tuple[Callable[[dict[str, str]], object], dict[str, str]]] = [
        (access_from_environment, {"TRAT_FILE": ""}),
        (access_from_environment, {"SAGE_SANCTUM_ALLOW_DIRECT": "maybe"}),
        (access_from_environment, {"SAGE_SANCTUM_ALLOW_DIRECT": "1"}),
        (access_from_environment, {"OSTIARY_LOG_FORMAT": "xml"}),
        (GatewaySettings.from_environment, {"OSTIARY_GATEWAY_MAX_RETRIES": "x"}),
        (lambda x: GatewaySettings.from_environment(x).access(x), {"LLM_GATEWAY_SOCKET": ""}),
        (
            lambda x: DirectProviderClient(allow=True, environ=x).get_api_key("google"),
            {"GOOGLE_API_KEY": "a b"},
        ),
    ]
    for call, more in cases:
        with pytest.raises(SageSanctumError) as caught:
            call(environ | more)
        found = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
        for frame in found.stack:
            if frame.filename.startswith(OURS):
                assert KEY not in repr(frame.locals)


def test_an_environment_shows_nothing() -> None:
    environ = settings.Environment({"OPENAI_API_KEY": KEY})
    assert (dict(environ), len(environ)) == ({"OPENAI_API_KEY": KEY}, 1)
    assert repr(environ) == "<environment>"


# --- the package


def test_every_name_is_there() -> None:
    for name in gateway.__all__:
        assert getattr(gateway, name) is not None
        assert name in dir(gateway)
    with pytest.raises(AttributeError, match="MCPGatewayClient"):
        _ = gateway.MCPGatewayClient  # type: ignore[attr-defined]
    assert "MCPGatewayClient" not in dir(gateway)


def test_the_package_loads_nothing_heavy() -> None:
    """The original takes 2.4 s and goes to the network; an agent starts once a run."""
    heavy = (
        "asyncio ssl h11 nacl cryptography langchain_core pydantic structlog opentelemetry mcp "
        "typer starlette spiffe grpc logging http.client ostiary.http"
    )
    program = (
        "import sys\nimport ostiary.gateway\n"
        "print(*sorted(name for name in sys.modules if name.startswith('ostiary')))\n"
        "from ostiary.gateway import access_from_environment, settings, GatewayCredentials\n"
        "from ostiary.gateway import ModelSelector, RateLimitError, TransactionTokenClient\n"
        f"print(*sorted(set({heavy!r}.split()) & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    first, second = done.stdout.splitlines()
    assert set(first.split()) == {
        "ostiary",
        "ostiary._later",
        "ostiary.errors",
        "ostiary.gateway",
        "ostiary.secret",
    }
    assert second == ""


def test_credentials_of_an_access_object_of_ones_own(run: Run) -> None:
    class Mine(GatewayAccess):
        def get_credentials(self) -> GatewayCredentials:
            return GatewayCredentials("a", "b")

        def get_endpoint(self, provider: str) -> str:
            return "unix:///x"

        @property
        def is_gateway_mode(self) -> bool:
            return True

    mine = Mine()
    assert run(mine.get_credentials_async()) == GatewayCredentials("a", "b")
    assert set(run(mine.request_headers_async("p"))) == {
        "Authorization",
        "Txn-Token",
        "X-Provider",
    }
    assert mine.get_trat() is None
    mine.invalidate()
    with pytest.raises(TypeError):
        GatewayAccess()  # type: ignore[abstract]
    assert TransactionToken.from_jwt(tokens.trat()).tctx.org_id == "77"
