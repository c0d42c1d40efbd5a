"""The one table of providers: what is in it, what may be added, what is detected."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from ostiary.gateway import providers
from ostiary.gateway.errors import ConfigurationError
from ostiary.gateway.providers import PREFIXES, Provider, detect, known, provider, register


@pytest.fixture(autouse=True)
def own_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test adds ends with it."""
    monkeypatch.setattr(providers, "_table", dict(providers._table))


@pytest.mark.parametrize(
    ("name", "dialect", "base_url", "url_env", "key_env"),
    [
        ("openai", "openai", "https://api.openai.com/v1", "OPENAI_BASE_URL", "OPENAI_API_KEY"),
        (
            "anthropic",
            "anthropic",
            "https://api.anthropic.com",
            "ANTHROPIC_BASE_URL",
            "ANTHROPIC_API_KEY",
        ),
        (
            "google",
            "google",
            "https://generativelanguage.googleapis.com",
            "GOOGLE_BASE_URL",
            "GOOGLE_API_KEY",
        ),
        ("ostiary", "openai", "", "", ""),
    ],
)
def test_the_table(name: str, dialect: str, base_url: str, url_env: str, key_env: str) -> None:
    found = provider(f" {name.upper()} ")
    assert found is known(name)
    assert (found.name, found.dialect, found.base_url) == (name, dialect, base_url)
    assert (found.base_url_env, found.key_env) == (url_env, key_env)
    assert found in providers.providers()


def test_a_provider_that_is_not_known_is_nobodys() -> None:
    """Not the default's, whose key it would get."""
    assert known("mistral") is None
    with pytest.raises(ConfigurationError, match=r"'mistral' is not known.*register") as caught:
        provider("mistral")
    assert caught.value.exit_code == 43


@pytest.mark.parametrize(
    ("model", "name"),
    [("claude", "anthropic"), ("GEMINI-1", "google"), ("x/claude", "openai"), ("", "openai")],
)
def test_detection(model: str, name: str) -> None:
    assert detect(model) == name


def test_the_longest_prefix_wins_whatever_the_order() -> None:
    register(Provider(name="bedrock", prefixes=("claude-on-aws",)))
    register(Provider(name="short", prefixes=("gem",)))
    assert detect("claude-on-aws-1") == "bedrock"
    assert detect("claude-3") == "anthropic"
    assert detect("gemini-2") == "google"
    assert detect("gemma") == "short"


def test_what_is_added_twice() -> None:
    mine = Provider(name="mistral", prefixes=("mistral",))
    assert register(mine) is mine
    register(mine)
    with pytest.raises(ConfigurationError, match="replace=True"):
        register(Provider(name="mistral"))
    register(Provider(name="mistral"), replace=True)
    assert provider("mistral").prefixes == ()
    assert "mistral" not in PREFIXES


def test_a_prefix_has_one_provider() -> None:
    with pytest.raises(ConfigurationError, match="'claude' are those of provider anthropic"):
        register(Provider(name="other", prefixes=("claude",)))


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "Upper"},
        {"name": ""},
        {"name": "a b"},
        {"name": "a\r\nb"},
        {"name": "x", "prefixes": ("",)},
        {"name": "x", "prefixes": ("Upper",)},
    ],
)
def test_what_is_no_provider(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        Provider(**wrong)


def test_the_view_is_the_table() -> None:
    assert dict(PREFIXES) == {
        each.name: each.prefixes for each in providers.providers() if each.prefixes
    }
    assert "openai" not in PREFIXES
    assert repr(PREFIXES) == repr(dict(PREFIXES))


def test_no_other_module_has_a_table_of_its_own(root: Path) -> None:
    """The endpoints, keys and prefixes stand in one file, so that a provider is added once."""
    words = re.compile(
        r"api\.openai\.com|api\.anthropic\.com|generativelanguage|[A-Z]+_API_KEY\b|\"gemini/"
    )
    gateway = root / "src" / "ostiary" / "gateway"
    found = {
        path.relative_to(gateway).as_posix()
        for path in gateway.rglob("*.py")
        if words.search(path.read_text("utf-8"))
    }
    assert found <= {"providers.py", "client.py"}
    # There, in a docstring.
    assert not words.search(
        re.sub(r'"""[\s\S]*?"""', "", (gateway / "client.py").read_text("utf-8"))
    )
