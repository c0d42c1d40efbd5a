"""The configuration: what a file may say, what is refused, what shows and what travels."""

from __future__ import annotations

import inspect
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from ostiary._api_key import Reference, Unusable
from ostiary.client import (
    ConfigError,
    GatewaySection,
    Ostiary,
    OstiaryConfig,
    RuntimeSection,
    WorkflowSection,
)
from ostiary.client.sections import IN_CODE, SECTIONS
from ostiary.config import Limits
from ostiary.errors import InvalidArgumentError
from ostiary.gateway import GatewayClient
from ostiary.gateway.settings import GatewaySettings
from ostiary.governance import GovernanceClient
from ostiary.runtime import RuntimeClient
from ostiary.secret import Secret
from ostiary.vault import VaultClient
from ostiary.workflow import WorkflowClient
from tests.gateway.hiding import assert_hides

KEY = "literal-key-of-the-profile"

Write = Callable[..., Path]


def test_each_section_has_the_arguments_of_its_clients_constructor() -> None:
    constructors: dict[str, Any] = {
        "vault": VaultClient,
        "gateway": GatewayClient,
        "runtime": RuntimeClient,
        "workflow": WorkflowClient,
        "governance": GovernanceClient,
    }
    for domain, client in constructors.items():
        known = set(inspect.signature(client).parameters) - {"headers", "keys", "connections"}
        section = set(SECTIONS[domain].__struct_fields__)
        if domain == "governance":
            known = known - {"retries"} | {"max_retries"}
        if domain == "gateway":
            of_the_run = set(GatewaySettings.__struct_fields__) | {"api_keys", "base_urls"}
            assert section - known <= of_the_run
            section &= known
        assert section == known, domain


def test_a_profile_is_read_whole(write: Write) -> None:
    path = write(
        """
        [default]
        timeout = 20

        [default.governance]
        base_url = "http://localhost:8000"
        strict = true

        [profile.ci]
        max_retries = 0
        adaptive = true
        limits = { body = 4096 }

        [profile.ci.vault]
        agent_name = "bot"
        socket_path = "/run/vault.sock"

        [profile.ci.runtime]
        base_url = "https://runtime.example/api/v1"
        api_key = "vault:services/runtime#token"
        timeout = inf

        [profile.ci.gateway]
        direct = true
        api_keys = { openai = "vault:openai/key" }
        """
    )
    below = OstiaryConfig.load("ci").below
    assert below is not None
    assert (below.profile, below.file) == ("ci", str(path))
    assert below.max_retries == 0
    assert below.adaptive is True
    assert below.limits == Limits(body=4096)
    assert below.timeout is UNSET  # nothing of another profile
    assert below.governance is None
    assert below.runtime == RuntimeSection(
        base_url="https://runtime.example/api/v1",
        api_key=Reference("services/runtime", "token"),
        timeout=float("inf"),
    )
    assert below.gateway is not None
    assert below.gateway.api_keys == {"openai": Reference("openai/key")}
    default = OstiaryConfig.load().below
    assert default is not None
    assert default.timeout == 20
    assert default.governance is not None
    assert default.governance.strict is True


def test_where_the_file_and_the_profile_are_looked_for(
    write: Write, bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert OstiaryConfig.load().below is None  # none is needed
    write('[default.workflow]\nbase_url = "http://of-home"')
    other = bare / "elsewhere" / "ostiary"
    other.mkdir(parents=True)
    (other / "config.toml").write_text('[default.workflow]\nbase_url = "http://of-xdg"')
    third = bare / "named.toml"
    third.write_text(
        '[default.workflow]\nbase_url = "http://of-variable"\n'
        '[profile.night.workflow]\nbase_url = "http://of-night"'
    )

    def found(**more: Any) -> Any:
        below = OstiaryConfig.load(**more).below
        assert below is not None
        assert below.workflow is not None
        return below.workflow.base_url

    assert found() == "http://of-home"
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative/is/ignored")
    assert found() == "http://of-home"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(other.parent))
    assert found() == "http://of-xdg"
    monkeypatch.setenv("OSTIARY_CONFIG", "~/named.toml")
    assert found() == "http://of-variable"
    monkeypatch.setenv("OSTIARY_PROFILE", "night")
    assert found() == "http://of-night"
    assert found(profile="default") == "http://of-variable"
    monkeypatch.delenv("OSTIARY_PROFILE")
    assert found(config_file=other / "config.toml") == "http://of-xdg"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[default", "is not TOML"),
        ("[defautl]", r"unknown table \[defautl\]; did you mean 'default'\?"),
        ("default = 1", r"\[default\] is a table, not int"),
        ("profile = 1", r"write profiles as tables"),
        ("[profile.default]", r"write \[default\] in place"),
        ("[default.runtim]", r"\[default\]: unknown key 'runtim'; did you mean 'runtime'\?"),
        ("[default]\nruntime = 7", r"\[default.runtime\] is a table, not int"),
        (
            '[default.runtime]\nbase_ulr = "x"',
            r"\[default.runtime\]: unknown key 'base_ulr'; did you mean 'base_url'\?",
        ),
        ("[default.runtime]\nbase_url = 7", r"\[default.runtime\]: .*`str.*\$\.base_url"),
        ("[default]\ntimeout = 'soon'", r"\[default\]: .*`float.*\$\.timeout"),
        ("[default]\nlimits = {bdy = 1}", r"\[default.limits\]: unknown key 'bdy'.*'body'"),
        ("[default]\nlimits = {body = 0}", r"\[default\]: limit body=0"),
        ("[default.vault]\nssl_context = 1", "unknown key 'ssl_context'"),
        ("[default.gateway]\naccess = 1", "unknown key 'access'"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(write: Write, text: str, said: str) -> None:
    path = write(text)
    with pytest.raises(ConfigError, match=said) as caught:
        OstiaryConfig.load()
    assert str(path) in str(caught.value)
    assert pickle.loads(pickle.dumps(caught.value)).args == caught.value.args


def test_a_file_or_profile_that_was_named_has_to_be_there(write: Write, bare: Path) -> None:
    with pytest.raises(ConfigError, match="is not there"):
        OstiaryConfig.load(config_file=bare / "none.toml")
    with pytest.raises(ConfigError, match="is not there"):
        OstiaryConfig.load("ci")
    with pytest.raises(ConfigError, match="is not a regular file"):
        OstiaryConfig.load(config_file="/dev/null")
    path = write("[profile.ci]\n[profile.night]")
    with pytest.raises(ConfigError, match="has no profile 'nigt'; did you mean 'night'"):
        OstiaryConfig.load("nigt")
    with pytest.raises(ConfigError, match="has no profile 'x'; it has ci, night"):
        OstiaryConfig.load("x")
    assert OstiaryConfig.load().below == OstiaryConfig(file=str(path))
    write("")
    with pytest.raises(ConfigError, match="it has none at all"):
        OstiaryConfig.load("ci")
    path = write("#")
    path.write_bytes(b"#" * (1024 * 1024 + 1))
    with pytest.raises(ConfigError, match="is longer than"):
        OstiaryConfig.load()
    path.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="is not UTF-8"):
        OstiaryConfig.load()


@pytest.mark.parametrize(
    "table",
    [
        f'[default.runtime]\napi_key = "{KEY}"',
        f'[profile.other.vault]\npassphrase = "{KEY}"',
        '[default.vault]\npassphrase = "vault:is/no/reference"',
        f'[profile.other.gateway]\napi_keys = {{ openai = "{KEY}" }}',
    ],
)
def test_a_literal_key_that_others_can_read_is_refused(write: Write, table: str) -> None:
    path = write(table, 0o640)
    with pytest.raises(ConfigError, match=re.escape(f"chmod 600 {path}")) as caught:
        OstiaryConfig.load()
    assert_hides(caught.value, KEY)
    path.chmod(0o600)
    OstiaryConfig.load()
    write(table.replace(KEY, "vault:a/b") if "passphrase" not in table else "", 0o644)
    OstiaryConfig.load()  # a reference is no secret


@pytest.mark.parametrize(
    "text",
    [
        f'[default.runtime]\napi_key = "{KEY}"\nunknown = 1',
        f'[default.runtime]\napi_key = "{KEY}"\ntimeout = "x"',
        f'[default.runtime]\napi_key = "{KEY}"\n[default]\nnope = 1',
        f'[default.runtime]\napi_key = ["{KEY}"]',
        f'[default.runtime]\napi_key = "{KEY}"\n[[',
    ],
)
def test_no_error_of_a_file_shows_its_keys(write: Write, text: str) -> None:
    write(text)
    with pytest.raises(ConfigError) as caught:
        Ostiary()
    assert_hides(caught.value, KEY)


def test_no_repr_shows_a_key(write: Write) -> None:
    write(f'[default.runtime]\nbase_url = "http://x"\napi_key = "{KEY}"')
    client = Ostiary(
        workflow={"base_url": "http://y", "api_key": KEY},
        governance={"api_key": KEY.encode()},
        vault={"agent_name": "bot", "passphrase": KEY},
        gateway={"direct": True, "api_keys": {"openai": KEY, "groq": "vault:groq/key"}},
    )
    for shown in (repr(client), repr(client.config), str(client.config.workflow)):
        assert KEY not in shown
    assert isinstance(client.config.governance, msgspec.Struct)
    assert isinstance(client.config.governance.api_key, Unusable)
    assert "groq/key" in repr(client.config)
    client.close()


def test_an_argument_that_does_not_exist_is_named_and_its_key_hidden() -> None:
    with pytest.raises(InvalidArgumentError, match=r"did you mean 'base_url'") as caught:
        Ostiary(runtime={"base_ulr": "http://x", "api_key": KEY})
    assert_hides(caught.value, KEY)
    with pytest.raises(InvalidArgumentError, match="not str") as caught:
        Ostiary(runtime=KEY)  # type: ignore[arg-type]
    assert_hides(caught.value, KEY)
    with pytest.raises(InvalidArgumentError, match="not WorkflowSection"):
        Ostiary(runtime=WorkflowSection())  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="not dict"):
        Ostiary.from_config({})  # type: ignore[arg-type]


# --- what travels


def test_a_configuration_travels_without_secrets(write: Write) -> None:
    config = OstiaryConfig(
        runtime=RuntimeSection(base_url="http://x", api_key=KEY, on_request=print),
        workflow=WorkflowSection(base_url="http://y", api_key="vault:a/b"),
        gateway=GatewaySection(direct=True, api_keys={"openai": KEY}),
        timeout=None,
    )
    data = pickle.dumps(config)
    assert KEY.encode() not in data
    arrived = pickle.loads(data)
    assert arrived.runtime == RuntimeSection(base_url="http://x")
    assert arrived.workflow == config.workflow
    assert arrived.gateway == GatewaySection(direct=True)
    assert arrived.timeout is None
    assert pickle.loads(pickle.dumps(arrived)) == arrived


def test_a_profiles_key_is_read_again_where_the_same_profile_is(write: Write) -> None:
    text = f'[profile.ci.runtime]\nbase_url = "http://x"\napi_key = "{KEY}"'
    path = write(text)
    config = OstiaryConfig.load("ci")
    data = pickle.dumps(config)
    assert KEY.encode() not in data
    assert pickle.loads(data) == config
    found = pickle.loads(data).below.runtime.api_key
    assert isinstance(found, Secret)
    assert found.reveal() == KEY
    # Another server's profile by the same name, and none at all.
    write(text.replace("http://x", "http://z"))
    assert pickle.loads(data).below.runtime == RuntimeSection(base_url="http://x")
    path.unlink()
    assert pickle.loads(data).below.runtime == RuntimeSection(base_url="http://x")


_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "timeout": st.floats(0.001, 1e6),
    "max_retries": st.integers(0, 9),
    "max_connections": st.integers(1, 99),
    "base_url": st.sampled_from(["http://a", "unix:///b"]),
    "api_key": st.sampled_from(["vault:a/b", "vault:c#d"]),
    "adaptive": st.booleans(),
    "validate": st.booleans(),
    "idle_timeout": st.floats(0.001, 1e6),
}


@given(st.fixed_dictionaries({}, optional=_VALUES))
def test_a_section_reads_the_same_from_code_file_and_pickle(values: dict[str, Any]) -> None:
    from ostiary._decoders import convert

    section = WorkflowSection(**values)
    assert convert(values, WorkflowSection) == section
    assert pickle.loads(pickle.dumps(section)) == section
    assert section.portable() == section
    assert section.given().keys() == values.keys()
    assert not section.secrets()


def test_what_only_code_can_give_is_in_no_file_section() -> None:
    for kind in SECTIONS.values():
        assert {name for name in kind.__struct_fields__ if name in IN_CODE} >= {"ssl_context"}
