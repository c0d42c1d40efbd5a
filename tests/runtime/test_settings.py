"""Where settings come from, which goes first, and what is refused."""

from __future__ import annotations

import os
import pickle
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ostiary._api_key import hidden
from ostiary.runtime import Client
from ostiary.runtime import _dotenv as dotenv
from ostiary.runtime.errors import ConfigurationError, SymbiontError
from ostiary.runtime.settings import DEFAULT_URL, RuntimeSettings, read_key_file
from ostiary.secret import Secret
from tests.frames import recorded

KEY = "sk-NEVER-SHOWN"
LOCAL = "http://127.0.0.1:9/api/v1"


def resolved(key: str | None = None, url: str | None = None, **more: Any) -> RuntimeSettings:
    return RuntimeSettings.resolve(hidden(key), url, **more)


def key_of(settings: RuntimeSettings) -> str | None:
    return None if settings.api_key is None else settings.api_key.reveal()


def dotenv_at(directory: Path, **values: str) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    text = "".join(f"{name}={value}\n" for name, value in values.items())
    (directory / ".env").write_text(text, "utf-8")


def test_the_defaults_of_the_guide() -> None:
    settings = resolved()
    assert settings.base_url == DEFAULT_URL == "http://localhost:8080/api/v1"
    assert settings.api_key is None
    assert (settings.timeout, settings.max_retries) == (30.0, 3)
    assert (settings.url_source, settings.key_source) == ("default", "default")
    with Client() as client:
        assert client.base_url == DEFAULT_URL


def test_the_variables_of_the_guide_are_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYMBIONT_API_KEY", KEY)
    monkeypatch.setenv("SYMBIONT_BASE_URL", LOCAL + "/")
    monkeypatch.setenv("SYMBIONT_TIMEOUT", "2.5")
    monkeypatch.setenv("SYMBIONT_MAX_RETRIES", "0")
    settings = resolved()
    assert key_of(settings) == KEY
    assert settings.base_url == LOCAL
    assert (settings.timeout, settings.max_retries) == (2.5, 0)
    assert (settings.url_source, settings.key_source) == ("environment", "environment")
    assert settings.pool_arguments()["timeout"] == 2.5
    assert settings.pool_arguments()["max_retries"] == 0
    assert settings.pool_arguments()["max_idle"] == settings.max_connections


def test_an_argument_goes_before_the_environment_before_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    dotenv_at(
        tmp_path,
        SYMBIONT_API_KEY="of-the-file",
        SYMBIONT_BASE_URL="http://127.0.0.1:1/api/v1",
        SYMBIONT_TIMEOUT="1",
        SYMBIONT_MAX_RETRIES="1",
    )
    settings = resolved()
    assert (key_of(settings), settings.base_url) == ("of-the-file", "http://127.0.0.1:1/api/v1")
    assert (settings.timeout, settings.max_retries) == (1.0, 1)
    assert (settings.url_source, settings.key_source) == ("file", "file")
    for name, value in (
        ("SYMBIONT_API_KEY", "of-the-environment"),
        ("SYMBIONT_BASE_URL", "http://127.0.0.1:2/api/v1"),
        ("SYMBIONT_TIMEOUT", "2"),
        ("SYMBIONT_MAX_RETRIES", "2"),
    ):
        monkeypatch.setenv(name, value)
    settings = resolved()
    assert key_of(settings) == "of-the-environment"
    assert settings.base_url == "http://127.0.0.1:2/api/v1"
    assert (settings.timeout, settings.max_retries) == (2.0, 2)
    settings = resolved("given", "http://127.0.0.1:3/x", timeout=None, max_retries=3)
    assert (key_of(settings), settings.base_url) == ("given", "http://127.0.0.1:3/x")
    assert (settings.timeout, settings.max_retries) == (None, 3)
    assert (settings.url_source, settings.key_source) == ("argument", "argument")


def test_empty_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("API_KEY", "BASE_URL", "TIMEOUT", "MAX_RETRIES"):
        monkeypatch.setenv(f"SYMBIONT_{name}", "")
    monkeypatch.setenv("SYMBIONT_API_TOKEN", "second")
    settings = resolved("", "")
    assert (key_of(settings), settings.base_url) == ("second", DEFAULT_URL)


def test_what_ostiary_env_sets_goes_first_for_address_and_key(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SYMBIONT_API_KEY", "of-another-server")
    monkeypatch.setenv("SYMBIONT_BASE_URL", "https://elsewhere.test/api/v1")
    monkeypatch.setenv("OSTIARY_RUNTIME_URL", "unix:///tmp/runtime.sock")
    (tmp_path / "token").write_text("of-the-token-file\n", "utf-8")
    (tmp_path / "token").chmod(0o600)
    monkeypatch.setenv("OSTIARY_RUNTIME_API_KEY_FILE", str(tmp_path / "token"))
    settings = resolved()
    assert settings.base_url == "http+unix://%2Ftmp%2Fruntime.sock/api/v1"
    assert key_of(settings) == "of-the-token-file"
    monkeypatch.setenv("OSTIARY_RUNTIME_API_KEY", "in-the-variable")
    assert key_of(resolved()) == "in-the-variable"


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("http://localhost:8080", "http://localhost:8080/api/v1"),
        ("http://localhost:8080/", "http://localhost:8080/api/v1"),
        ("http://localhost:8080/api/v1///", "http://localhost:8080/api/v1"),
        ("https://runtime.test/prefix", "https://runtime.test/prefix"),
        ("unix:///tmp/a.sock", "http+unix://%2Ftmp%2Fa.sock/api/v1"),
        ("http+unix://%2Ftmp%2Fa.sock/api/v2", "http+unix://%2Ftmp%2Fa.sock/api/v2"),
    ],
)
def test_an_address(given: str, found: str) -> None:
    assert resolved(None, given).base_url == found


@pytest.mark.parametrize("url", ["localhost:8080", "ftp://x", "http://u:p@h", "http://h/?q", "x"])
def test_what_is_no_address_is_refused_by_name(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match=r"^base_url: ") as caught:
        resolved(None, url)
    assert caught.value.config_key == "base_url"
    monkeypatch.setenv("SYMBIONT_BASE_URL", url)
    with pytest.raises(SymbiontError, match="SYMBIONT_BASE_URL: "):
        Client()
    with pytest.raises(ConfigurationError, match="base_url is text, not int"):
        Client(base_url=5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value", "meant"),
    [
        ("SYMBIONT_TIMEOUT", "soon", "a positive number of seconds"),
        ("SYMBIONT_TIMEOUT", "0", "a positive number of seconds"),
        ("SYMBIONT_TIMEOUT", "-1", "a positive number of seconds"),
        ("SYMBIONT_TIMEOUT", "nan", "a positive number of seconds"),
        ("SYMBIONT_MAX_RETRIES", "three", "a whole number from 0 to 100"),
        ("SYMBIONT_MAX_RETRIES", "-1", "a whole number from 0 to 100"),
        ("SYMBIONT_MAX_RETRIES", "1.5", "a whole number from 0 to 100"),
        ("SYMBIONT_MAX_RETRIES", "101", "a whole number from 0 to 100"),
    ],
)
def test_a_number_that_is_none_is_refused_by_name(
    name: str, value: str, meant: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    dotenv_at(tmp_path, **{name: value})
    with pytest.raises(ConfigurationError, match=rf"{name} in .*\.env is {meant}"):
        Client()
    (tmp_path / ".env").unlink()
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=f"environment variable {name} is {meant}") as one:
        Client()
    assert one.value.config_key == name
    assert resolved(timeout=5, max_retries=1).timeout == 5.0


@pytest.mark.parametrize("given", [0, -1, "x", True, [1], float("nan")], ids=repr)
def test_arguments_are_checked_too(given: Any) -> None:
    with pytest.raises(ConfigurationError, match="timeout is a positive number of seconds"):
        resolved(timeout=given)
    if given != 0:
        with pytest.raises(ConfigurationError, match="max_retries is a whole number"):
            resolved(max_retries=given)
    assert resolved(timeout=float("inf")).timeout is None


# Keys.


def test_a_key_is_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = resolved(KEY)
    with Client(KEY, LOCAL) as client:
        shown = f"{settings!r} {settings.pool_arguments()!r} {client!r} {vars(client)!r}"
    assert KEY not in shown
    assert dict(settings.pool_arguments()["headers"]) == {"Authorization": f"Bearer {KEY}"}
    assert KEY.encode() not in pickle.dumps(settings.portable())
    assert settings.portable().arrived().api_key is None
    monkeypatch.setenv("SYMBIONT_API_KEY", "of-the-other-process")
    assert key_of(settings.portable().arrived()) == "of-the-other-process"


@pytest.mark.parametrize("key", [f"{KEY}\n", f"{KEY} x", f"\r\n{KEY}", f"{KEY}é", "\ud800" + KEY])
def test_a_key_that_is_no_header_is_refused_and_not_shown(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigurationError, match="api_key is not one line") as caught:
        Client(key)
    assert KEY not in recorded(caught.value)
    assert caught.value.config_key == "api_key"
    with pytest.raises(ConfigurationError, match="api_key is a str or a Secret, not bytes"):
        Client(KEY.encode())  # type: ignore[arg-type]
    if "\ud800" not in key and key.strip() != KEY:
        monkeypatch.setenv("SYMBIONT_API_KEY", key)
        with pytest.raises(ConfigurationError, match="variable SYMBIONT_API_KEY is not"):
            Client()


def test_the_key_stands_first_and_is_no_configuration(tmp_path: Path) -> None:
    with Client(KEY, LOCAL) as client:
        assert client.api_key is not None
        assert (client.api_key.reveal(), client.base_url) == (KEY, LOCAL)
    for other in ({"api_key": KEY}, tmp_path / "config.yaml", resolved(KEY)):
        with pytest.raises(ConfigurationError, match="api_key is a str or a Secret") as caught:
            Client(other)  # type: ignore[arg-type]
        assert KEY not in str(caught.value)


def test_a_key_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(f"{KEY}\n", "utf-8")
    with pytest.raises(ConfigurationError, match="can be read by others; run: chmod 600"):
        read_key_file(file)
    file.chmod(0o600)
    assert read_key_file(file) == Secret(KEY)
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        read_key_file(tmp_path / "nothing")
    with pytest.raises(ConfigurationError, match="is not a regular file"):
        os.mkfifo(tmp_path / "pipe")
        read_key_file(tmp_path / "pipe")


def test_a_key_in_clear_is_warned_of() -> None:
    with pytest.warns(RuntimeWarning, match=r"sent to http://runtime\.test:8080 unencrypted"):
        Client(KEY, "http://runtime.test:8080")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for url in (
            "https://runtime.test",
            "http://localhost",
            "http://127.1.2.3",
            "http://[::1]",
            "unix:///tmp/x",
        ):
            Client(KEY, url)
        Client(None, "http://runtime.test")


# The file.


def test_it_is_looked_for_upwards_when_a_client_is_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    dotenv_at(tmp_path, SYMBIONT_API_KEY="above")
    inner = tmp_path / "project" / "src"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    assert key_of(resolved()) == "above"
    dotenv_at(tmp_path / "project", SYMBIONT_API_KEY="nearer")
    assert key_of(resolved()) == "nearer"
    assert "SYMBIONT_API_KEY" not in os.environ
    # The nearest file counts, even if it says nothing of us.
    dotenv_at(inner, OTHER="x")
    assert resolved().api_key is None


def test_its_address_is_used_only_with_its_own_key(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    dotenv_at(tmp_path, SYMBIONT_BASE_URL="https://hostile.test/api/v1")
    with pytest.warns(RuntimeWarning, match="SYMBIONT_BASE_URL in .* is not used"):
        assert resolved().base_url == DEFAULT_URL
    monkeypatch.setenv("SYMBIONT_API_KEY", KEY)
    with pytest.warns(RuntimeWarning, match="since the API key is not from that file"):
        assert resolved().base_url == DEFAULT_URL
    dotenv_at(tmp_path, SYMBIONT_BASE_URL="https://hostile.test/api/v1", SYMBIONT_API_KEY="its-own")
    with pytest.warns(RuntimeWarning):
        assert resolved("given").base_url == DEFAULT_URL
    with pytest.warns(RuntimeWarning):
        assert (key_of(resolved()), resolved().base_url) == (KEY, DEFAULT_URL)
    monkeypatch.delenv("SYMBIONT_API_KEY")
    settings = resolved()
    assert (key_of(settings), settings.base_url) == ("its-own", "https://hostile.test/api/v1")
    assert key_of(resolved(None, LOCAL)) == "its-own"


def test_it_names_no_file_and_no_server_of_ours(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("private", "utf-8")
    (tmp_path / "secret").chmod(0o600)
    dotenv_at(
        tmp_path,
        OSTIARY_RUNTIME_API_KEY_FILE=str(tmp_path / "secret"),
        OSTIARY_RUNTIME_URL="https://hostile.test",
        OSTIARY_RUNTIME_API_KEY="x",
    )
    settings = resolved()
    assert (settings.api_key, settings.base_url) == (None, DEFAULT_URL)


def test_unknown_lines_do_not_matter(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(
        b"\xef\xbb\xbf# the example that comes with the package\r\n"
        b"SYMBIONT_API_BASE_URL=https://api.test/v1\r\n"
        b"SYMBIONT_AUTH_JWT_SECRET_KEY=x\n"
        b"no assignment at all\n=\n\xff\xfe binary\n"
        b"export SYMBIONT_API_KEY = 'a-key'  # ours\n"
        b"SYMBIONT_VALIDATION_MODE=strict\n"
    )
    assert key_of(resolved()) == "a-key"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("SYMBIONT_API_KEY=plain", "plain"),
        ("SYMBIONT_API_KEY=plain # a comment", "plain"),
        ("SYMBIONT_API_KEY=with#hash", "with#hash"),
        ("SYMBIONT_API_KEY=#hash", "#hash"),
        ("SYMBIONT_API_KEY= #hash", None),
        ("SYMBIONT_API_KEY=a#b #c #d", "a#b"),
        ("SYMBIONT_API_KEY='a'#b", "a"),
        ("SYMBIONT_API_KEY='a'b", "'a'b"),
        ("SYMBIONT_API_KEY=a=b=c", "a=b=c"),
        ("SYMBIONT_API_KEY='single # $HOME \\n'", "single # $HOME \\n"),
        ('SYMBIONT_API_KEY="double \\"q\\" \\\\"', 'double "q" \\'),
        ('SYMBIONT_API_KEY="two\\nlines"', "two\nlines"),
        ('SYMBIONT_API_KEY="over\ntwo"', "over\ntwo"),
        ("  export   SYMBIONT_API_KEY  =  x  ", "x"),
        ("SYMBIONT_API_KEY=first\nSYMBIONT_API_KEY=last", "last"),
        ("SYMBIONT_API_KEY=", None),
        ("SYMBIONT_API_KEY=first\nSYMBIONT_API_KEY=", None),
        ("#SYMBIONT_API_KEY=x", None),
        ("MY_SYMBIONT_API_KEY=x", None),
        ("SYMBIONT_API_KEY=x\r\nOTHER=y\r\n", "x"),
        ("OTHER='a\nSYMBIONT_API_KEY=inside\n'\nSYMBIONT_API_KEY=after", "after"),
    ],
)
def test_how_a_line_is_read(text: str, value: str | None, tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(text.encode())
    found = dotenv.read(tmp_path / ".env", frozenset({"SYMBIONT_API_KEY"}))
    assert (found["SYMBIONT_API_KEY"].reveal() if found else None) == value


@settings(max_examples=50, suppress_health_check=list(HealthCheck))
@given(content=st.binary(max_size=200) | st.text(alphabet="AB=\"'\\#\n \t", max_size=60))
def test_any_file_can_be_read(content: bytes | str, tmp_path_factory: Any) -> None:
    file = tmp_path_factory.getbasetemp() / "any.env"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    for value in dotenv.read(file, frozenset({"A", "B"})).values():
        assert value.reveal_bytes()


@pytest.mark.parametrize(
    "text",
    [
        'A="' * 20_000,  # quotes that never close
        "A=" + " \t" * 30_000 + "#\r",  # blanks, and an end that is none
        "A=" + "x " * 15_000 + " #" * 15_000 + "\r",
        'A="' + "\\" * 60_001,
    ],
    ids=["quotes", "blanks", "hashes", "escapes"],
)
def test_a_file_that_takes_long_to_read_is_read_at_once(tmp_path: Path, text: str) -> None:
    (tmp_path / ".env").write_bytes(text.encode())
    assert dotenv.read(tmp_path / ".env", frozenset({"SYMBIONT_API_KEY"})) == {}


def test_what_is_no_file_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = tmp_path / "inner"
    (inner / ".env").mkdir(parents=True)
    dotenv_at(tmp_path, SYMBIONT_API_KEY="above")
    monkeypatch.chdir(inner)
    assert key_of(resolved()) == "above"
    (inner / ".env").rmdir()
    os.mkfifo(inner / ".env")
    assert key_of(resolved()) == "above"


def test_the_file_of_another_user_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dotenv_at(tmp_path, SYMBIONT_API_KEY="planted")
    owner = (tmp_path / ".env").stat().st_uid
    monkeypatch.setattr(dotenv.os, "geteuid", lambda: owner + 1)
    assert dotenv.find(tmp_path) is None
    # In a container root works on files of the host's user.
    monkeypatch.setattr(dotenv.os, "geteuid", lambda: 0)
    assert dotenv.find(tmp_path) == tmp_path / ".env"


def test_a_working_directory_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    try:
        assert resolved().base_url == DEFAULT_URL
    finally:
        os.chdir(tmp_path)


def test_nothing_is_read_at_import(tmp_path: Path) -> None:
    import subprocess
    import sys

    dotenv_at(tmp_path, SYMBIONT_API_KEY="x", SYMBIONT_TIMEOUT="nonsense")
    program = "import os, ostiary.runtime; assert 'SYMBIONT_API_KEY' not in os.environ"
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True, timeout=60)
