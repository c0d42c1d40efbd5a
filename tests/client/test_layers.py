"""Who says what of a domain: argument, environment, `.env`, profile; and where a key may go."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ostiary.client import ConfigError, Ostiary, OstiaryConfig
from ostiary.client._layers import arguments_of, settings_of
from ostiary.client.sections import DOMAINS
from ostiary.gateway import DirectProviderClient
from ostiary.gateway import errors as gateway_errors
from ostiary.gateway.llm.model_ref import ModelCategory

Write = Callable[..., Path]


def sources(domain: str, config: OstiaryConfig) -> dict[str, str]:
    said = settings_of(config, domain)
    assert said is not None
    return {name: one.source for name, one in said.items()}


def test_the_nearest_that_speaks_is_heard(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    write(
        """
        [default]
        timeout = 5
        max_retries = 1
        max_connections = 9
        [default.runtime]
        base_url = "http://localhost:1/api/v1"
        timeout = 4
        """
    )
    config = OstiaryConfig.load(runtime={"max_connections": 3})
    assert sources("runtime", config) == {
        "base_url": "[default.runtime]",
        "timeout": "[default.runtime]",
        "max_retries": "[default]",
        "max_connections": "argument",
    }
    monkeypatch.setenv("SYMBIONT_TIMEOUT", "3")
    assert sources("runtime", config)["timeout"] == "$SYMBIONT_TIMEOUT"
    with Ostiary.from_config(config) as client:
        settings = client.runtime.pool.settings
        assert (settings.timeout, settings.max_retries, settings.max_connections) == (3.0, 1, 3)
        assert client.runtime.base_url == "http://localhost:1/api/v1"
    # What is given for all domains goes before a profile's own word, and before a variable.
    with Ostiary(timeout=2) as client:
        assert client.runtime.pool.settings.timeout == 2.0
    with Ostiary(timeout=None) as client:
        assert client.runtime.pool.settings.timeout == float("inf")


def test_each_domain_takes_what_is_given_for_all(everything: dict[str, Any], bare: Path) -> None:
    shared: dict[str, Any] = {"timeout": 7, "max_retries": 0, "max_connections": 2}
    with Ostiary(**everything, **shared) as client:
        for pool in (client.runtime.pool, client.workflow.pool, client.governance.pool):
            assert (pool.settings.timeout, pool.settings.max_retries) == (7.0, 0)
            assert pool.settings.max_connections == 2
        vault, gateway = client.vault._settings, client.gateway._behaviour
        for found in (vault, gateway):
            assert (found.timeout, found.max_retries, found.max_connections) == (7.0, 0, 2)
    with Ostiary(**everything, timeout=None) as client:
        assert client.vault._settings.timeout == float("inf")


def test_a_domain_of_which_nothing_is_said_says_what_to_set(bare: Path) -> None:
    with Ostiary(profile=None) as client:
        assert client.check() == {}
        for domain in DOMAINS:
            with pytest.raises(ConfigError, match=f"{domain} is not configured; give") as caught:
                getattr(client, domain)
            assert f"[default.{domain}]" in str(caught.value)
            assert "config.toml" in str(caught.value)
            assert "OSTIARY_" in str(caught.value) or domain == "gateway"


@pytest.mark.parametrize("text", ["", "[profile.ci.workflow]", "[default.workflow]"])
def test_what_is_missing_is_missed_in_the_file_that_was_read(
    bare: Path, write: Write, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    elsewhere = bare / "elsewhere.toml"
    elsewhere.write_text(text)
    for named in ({"config_file": elsewhere}, {}):
        if not named:
            monkeypatch.setenv("OSTIARY_CONFIG", str(elsewhere))
        with Ostiary(**named) as client:  # type: ignore[arg-type]
            monkeypatch.setenv("OSTIARY_CONFIG", str(bare / "another.toml"))
            with pytest.raises(ConfigError) as caught:
                _ = client.runtime
        assert f"into [default.runtime] of {elsewhere}" in str(caught.value)


def test_an_empty_section_asks_for_the_defaults(bare: Path, write: Write) -> None:
    with Ostiary(governance={}) as client:
        assert client.governance.base_url == "http://localhost:8000"
    write("[default.workflow]")
    with Ostiary() as client:
        assert client.workflow.base_url == "http://localhost:3000"


def test_the_environment_alone_is_enough(
    bare: Path, monkeypatch: pytest.MonkeyPatch, plane: Any
) -> None:
    monkeypatch.setenv("SANCTUM_VAULT_PATH", str(plane.home))
    monkeypatch.setenv("OSTIARY_VAULT_AGENT", "bot")
    monkeypatch.setenv("OSTIARY_RUNTIME_URL", plane.runtime_unix_url)
    monkeypatch.setenv("OSTIARY_WORKFLOW_URL", plane.workflow_unix_url)
    monkeypatch.setenv("OSTIARY_GOVERNANCE_URL", plane.governance_unix_url)
    for name, value in plane.gateway.environment.items():
        monkeypatch.setenv(name, value)
    with Ostiary() as client:
        answers = client.check()
    assert list(answers) == list(DOMAINS)
    assert all(one.ok for one in answers.values()), answers


# --- where a key may go


PROFILE = """
[default.governance]
base_url = "http://localhost:1"
api_key = "key-of-the-profile"
"""


@pytest.mark.parametrize("where", ["argument", "environment"])
def test_a_profiles_key_goes_to_the_profiles_address_alone(
    write: Write, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    write(PROFILE)
    with Ostiary() as client:
        key = client.governance._settings.api_key
        assert key is not None
    arguments: dict[str, Any] = {}
    if where == "argument":
        arguments["governance"] = {"base_url": "http://localhost:2"}
    else:
        monkeypatch.setenv("OSTIARY_GOVERNANCE_URL", "http://localhost:2")
    with Ostiary(**arguments) as client:
        with pytest.warns(RuntimeWarning, match="api_key of .default.governance. is not used"):
            governance = client.governance
        assert governance._settings.api_key is None
        assert governance.base_url == "http://localhost:2"
    # The same address, said again, is the same server; and a key of one's own goes anywhere.
    with (
        Ostiary(governance={"base_url": "http://localhost:1"}) as client,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("error")
        if where == "argument":
            assert client.governance._settings.api_key is not None
    with Ostiary(governance={"base_url": "http://localhost:2", "api_key": "own"}) as client:
        key = client.governance._settings.api_key
        assert key is not None
        assert key.reveal() == "own"  # type: ignore[union-attr]


def test_the_environments_key_goes_before_a_profiles(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(PROFILE)
    monkeypatch.setenv("OSTIARY_GOVERNANCE_API_KEY", "key-of-the-environment")
    with Ostiary() as client:
        assert client.governance.base_url == "http://localhost:1"
        key: Any = client.governance._settings.api_key
        assert key.reveal() == "key-of-the-environment"


def test_a_vaults_address_is_of_one_layer(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    write(
        """
        [default.vault]
        agent_name = "bot"
        socket_path = "/run/profile.sock"
        key_path = "/run/profile.key"
        """
    )
    with Ostiary() as client:
        assert str(client.vault._settings.address) == "unix:///run/profile.sock"
        assert client.vault._settings.key_path == "/run/profile.key"
    with Ostiary(vault={"host": "localhost"}) as client:
        with pytest.warns(RuntimeWarning, match="key_path of"):
            settings = client.vault._settings
        assert str(settings.address) == "tcp://localhost:7600"
        assert settings.key_path is None
    monkeypatch.setenv("OSTIARY_VAULT_ADDRESS", "localhost:1234")
    with Ostiary() as client:
        with pytest.warns(RuntimeWarning, match=r"is from \$OSTIARY_VAULT_ADDRESS"):
            settings = client.vault._settings
        assert str(settings.address) == "tcp://localhost:1234"
        assert settings.agent_name == "bot"


def test_a_dotenv_goes_before_the_profile_with_a_key_of_its_own(
    write: Write, bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write('[default.runtime]\nbase_url = "http://localhost:1/api/v1"\napi_key = "profile-key"')
    env = bare / ".env"
    env.write_text("SYMBIONT_BASE_URL=http://localhost:2/api/v1\nSYMBIONT_TIMEOUT=8\n")
    with Ostiary() as client, warnings.catch_warnings():
        warnings.simplefilter("error")
        # Whose file it is nobody knows: an address without a key of its own is not believed.
        assert client.runtime.base_url == "http://localhost:1/api/v1"
        assert client.runtime.api_key is not None
        assert client.runtime.pool.settings.timeout == 8.0
    env.write_text("SYMBIONT_BASE_URL=http://localhost:2/api/v1\nSYMBIONT_API_KEY=file-key\n")
    with Ostiary() as client:
        assert client.runtime.base_url == "http://localhost:2/api/v1"
        assert client.runtime.api_key is not None
        assert client.runtime.api_key.reveal() == "file-key"
    assert sources("runtime", OstiaryConfig.load())["api_key"] == ".env"
    monkeypatch.setenv("OSTIARY_RUNTIME_API_KEY", "own-key")
    with Ostiary() as client:
        assert client.runtime.base_url == "http://localhost:1/api/v1"
        assert client.runtime.api_key is not None
        assert client.runtime.api_key.reveal() == "own-key"


# --- the gateway, which has an identity for an address


def test_a_gateways_identity_is_of_one_layer(
    write: Write, monkeypatch: pytest.MonkeyPatch, everything: dict[str, Any]
) -> None:
    of_a_run = everything["gateway"]
    lines = "\n".join(f'{name} = "{value}"' for name, value in of_a_run.items())
    write(f"[default.gateway]\n{lines}\ntimeout = 11")
    with Ostiary() as client:
        assert client.gateway.chat("well?").text == "well?"
        assert client.gateway._behaviour.timeout == 11.0
    # A token of the environment is no part of the profile's identity.
    monkeypatch.setenv("TRAT_FILE", "/elsewhere")
    monkeypatch.setenv("OSTIARY_GATEWAY_TIMEOUT_SECONDS", "12")
    with Ostiary() as client, pytest.raises(gateway_errors.ConfigurationError, match="JWT-SVID"):
        client.gateway  # noqa: B018
    monkeypatch.delenv("TRAT_FILE")
    with Ostiary() as client:
        assert client.gateway._behaviour.timeout == 12.0
    # Nor is what a machine says to all of its programs.
    some = "\n".join(f'{name} = "{of_a_run[name]}"' for name in ("trat_file", "gateway"))
    write(f"[default.gateway]\n{some}")
    monkeypatch.setenv("SPIFFE_ENDPOINT_SOCKET", "/run/spire.sock")
    monkeypatch.setenv("OSTIARY_GATEWAY_AUDIENCE", "gateway")
    with Ostiary() as client, pytest.raises(gateway_errors.ConfigurationError, match="JWT-SVID"):
        client.gateway  # noqa: B018
    # What code gives is filled up by the environment, as for every other client.
    monkeypatch.setenv("SPIFFE_JWT_PATH", of_a_run["spiffe_jwt_path"])
    monkeypatch.setenv("TRAT_FILE", of_a_run["trat_file"])
    monkeypatch.setenv("LLM_GATEWAY_SOCKET", "/elsewhere.sock")
    with Ostiary(gateway={"gateway": of_a_run["gateway"]}) as client:
        assert client.gateway.chat("well?").text == "well?"


def test_direct_mode_by_a_profile(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    write(
        """
        [default.gateway]
        direct = true
        model = "openai:some"
        api_keys = { openai = "key-of-openai" }
        base_urls = { openai = "http://localhost:9" }
        """
    )
    monkeypatch.setenv("SAGE_SANCTUM_ALLOW_DIRECT", "0")  # says nothing for it
    with Ostiary() as client:
        access = client.gateway.access
        assert isinstance(access, DirectProviderClient)
        assert access.get_endpoint("openai") == "http://localhost:9"
        assert access.get_api_key("openai") == "key-of-openai"
        models: Any = client.gateway._behaviour.models
        assert str(models.select(ModelCategory.ANALYSIS)) == "openai:some"
        answers = client.check()
        assert answers["gateway"].said.startswith("direct mode")
    with (
        Ostiary(gateway={"api_keys": {"openai": "k"}}) as client,
        pytest.raises(ConfigError, match="set direct"),
    ):
        client.gateway  # noqa: B018


def test_arguments_are_what_the_constructors_take(bare: Path) -> None:
    config = OstiaryConfig(governance={"max_retries": 1, "strict": True, "base_url": None})  # type: ignore[arg-type]
    said = settings_of(config, "governance")
    assert said is not None
    assert arguments_of("governance", said) == {"retries": 1, "strict": True}


FORKED = """
import os, signal, sys, threading, time
from importlib.abc import MetaPathFinder
from ostiary import Ostiary

begun = threading.Event()

class Slow(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "ostiary.runtime.errors":
            begun.set()
            time.sleep(0.3)  # for a fork that waits for nobody

sys.meta_path.insert(0, Slow())
client = Ostiary(runtime={"base_url": "http://localhost:1/api/v1"})
thread = threading.Thread(target=lambda: client.runtime)
thread.start()
begun.wait()
child = os.fork()
if child == 0:
    signal.alarm(30)
    os._exit(client.runtime is None)
thread.join()
print(os.waitpid(child, 0)[1])
"""


def test_a_child_is_not_forked_from_a_domain_half_loaded() -> None:
    """It would wait for ever for a thread that it does not have."""
    done = subprocess.run(
        [sys.executable, "-c", FORKED], capture_output=True, text=True, timeout=100, check=True
    )
    assert done.stdout.strip() == "0"
