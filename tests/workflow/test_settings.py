"""Where settings come from, which goes first, and what is refused."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest

from ostiary._api_key import hidden
from ostiary.secret import Secret
from ostiary.workflow import InvalidArgumentError, WorkflowClient, WorkflowSettings
from ostiary.workflow.settings import DEFAULT_URL, read_key_file
from tests.frames import recorded

KEY = "sk-NEVER-SHOWN"


def resolved(key: Any = None, url: str | None = None, **more: Any) -> WorkflowSettings:
    return WorkflowSettings.resolve(url, hidden(key), **more)


def key_of(settings: WorkflowSettings) -> str | None:
    return None if settings.api_key is None else settings.api_key.reveal()


def test_the_defaults_of_the_guide() -> None:
    settings = resolved()
    assert settings.base_url == DEFAULT_URL == "http://localhost:3000"
    assert settings.api_key is None
    assert settings.timeout == 30.0
    assert settings.validate


def test_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(f"{KEY}\n")
    path.chmod(0o600)
    monkeypatch.setenv("OSTIARY_WORKFLOW_URL", "http://h:1")
    monkeypatch.setenv("OSTIARY_WORKFLOW_API_KEY_FILE", str(path))
    settings = resolved()
    assert (settings.base_url, key_of(settings)) == ("http://h:1", KEY)
    monkeypatch.setenv("OSTIARY_WORKFLOW_API_KEY", "k-2")
    assert key_of(resolved()) == "k-2"
    settings = resolved("k-1", "http://h:2")
    assert (settings.base_url, key_of(settings)) == ("http://h:2", "k-1")
    assert key_of(resolved("")) is None, "an empty one stands for none"


@pytest.mark.parametrize("key", ["a b", "a\nb", "ü", "x" * 20_000, "\x00", "\ud800"])
def test_keys_that_fit_in_no_header(key: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        resolved(key)
    assert key not in str(caught.value)


def test_a_key_of_another_kind() -> None:
    with pytest.raises(InvalidArgumentError, match="not bytes"):
        WorkflowClient("http://h", KEY.encode())  # type: ignore[arg-type]


def test_a_file_that_others_can_read(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(KEY)
    path.chmod(0o644)
    with pytest.raises(InvalidArgumentError, match="chmod 600"):
        read_key_file(path)
    path.chmod(0o600)
    assert read_key_file(path).reveal() == KEY
    os.remove(path)
    with pytest.raises(InvalidArgumentError, match="cannot be read"):
        read_key_file(path)


def test_a_key_is_never_shown() -> None:
    settings = resolved(KEY)
    assert KEY not in repr(settings)
    assert KEY not in repr(settings.pool_arguments())
    assert KEY.encode() not in pickle.dumps(settings.portable())
    with pytest.raises(InvalidArgumentError) as caught:
        WorkflowClient("http://h", KEY + "\n")
    assert KEY not in recorded(caught.value)


def test_a_secret_is_taken_as_it_is() -> None:
    assert key_of(resolved(Secret(KEY))) == KEY


@pytest.mark.parametrize(
    "options", [{"timeout": -1}, {"max_retries": -1}, {"max_connections": 0}, {"base_url": "h:1"}]
)
def test_what_cannot_be_meant(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError):
        WorkflowClient(**options)
