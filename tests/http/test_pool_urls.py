"""What a base URL may be, and that nothing of a refused one is repeated."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.config import BaseUrl, TcpAddress, UnixAddress, parse_base_url
from ostiary.errors import InvalidArgumentError

GOOD: list[tuple[str, BaseUrl]] = [
    ("http://localhost:8000", BaseUrl(TcpAddress("localhost", 8000), "localhost:8000")),
    ("http://localhost:8000///", BaseUrl(TcpAddress("localhost", 8000), "localhost:8000")),
    ("http://localhost", BaseUrl(TcpAddress("localhost", 80), "localhost")),
    ("http://localhost:", BaseUrl(TcpAddress("localhost", 80), "localhost")),
    ("http://localhost:080", BaseUrl(TcpAddress("localhost", 80), "localhost")),
    ("http://localhost:443", BaseUrl(TcpAddress("localhost", 443), "localhost:443")),
    ("https://localhost", BaseUrl(TcpAddress("localhost", 443, True), "localhost")),
    ("https://localhost:443/", BaseUrl(TcpAddress("localhost", 443, True), "localhost")),
    ("https://localhost:80/", BaseUrl(TcpAddress("localhost", 80, True), "localhost:80")),
    (
        "HTTPS://api.example/v1/",
        BaseUrl(TcpAddress("api.example", 443, True), "api.example", "/v1"),
    ),
    ("http://API.Example", BaseUrl(TcpAddress("API.Example", 80), "api.example")),
    ("http://h/a/b//c/", BaseUrl(TcpAddress("h", 80), "h", "/a/b//c")),
    ("http://h/a%20b/~x", BaseUrl(TcpAddress("h", 80), "h", "/a%20b/~x")),
    ("http://h/...", BaseUrl(TcpAddress("h", 80), "h", "/...")),
    ("http://127.0.0.1:1", BaseUrl(TcpAddress("127.0.0.1", 1), "127.0.0.1:1")),
    ("http://[::1]:8000/x", BaseUrl(TcpAddress("::1", 8000), "[::1]:8000", "/x")),
    ("https://[fe80::1%eth0]", BaseUrl(TcpAddress("fe80::1%eth0", 443, True), "[fe80::1]")),
    ("http://a_b-c.d", BaseUrl(TcpAddress("a_b-c.d", 80), "a_b-c.d")),
    ("http+unix://%2Frun%2Fs.sock", BaseUrl(UnixAddress("/run/s.sock"), "localhost")),
    ("http+unix://%2frun%2Fs.sock/v1/", BaseUrl(UnixAddress("/run/s.sock"), "localhost", "/v1")),
    ("http+unix://%2Frun%2Fa%20b%25", BaseUrl(UnixAddress("/run/a b%"), "localhost")),
    ("http+unix:///run/s.sock", BaseUrl(UnixAddress("/run/s.sock"), "localhost")),
    ("http+unix:///run/s.sock/", BaseUrl(UnixAddress("/run/s.sock"), "localhost")),
    ("http+unix:///run/a%20b", BaseUrl(UnixAddress("/run/a b"), "localhost")),
    ("unix:///run/s.sock", BaseUrl(UnixAddress("/run/s.sock"), "localhost")),
    ("unix:///run/a%20b", BaseUrl(UnixAddress("/run/a%20b"), "localhost")),
]


@pytest.mark.parametrize(("text", "meant"), GOOD, ids=[text for text, _ in GOOD])
def test_what_is_read(text: str, meant: BaseUrl) -> None:
    found = parse_base_url(text)
    assert found == meant
    assert parse_base_url(str(found)) == found
    assert pickle.loads(pickle.dumps(found)) == found
    assert str(found) == found.origin + found.prefix


def test_home_and_relative_sockets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    assert parse_base_url("unix://~/s").address == UnixAddress("/home/someone/s")
    assert parse_base_url("http+unix://~%2Fs/p") == BaseUrl(
        UnixAddress("/home/someone/s"), "localhost", "/p"
    )
    monkeypatch.chdir(tmp_path)
    assert parse_base_url("http+unix://.%2Fs").address == UnixAddress(os.path.join(tmp_path, "s"))


BAD = [
    "",
    "localhost",
    "localhost:8000",
    "/run/s.sock",
    "ftp://h",
    "http:/h",
    "http:h",
    "//h",
    "http://",
    "http:///path",
    "http://:80",
    "http://h:0",
    "http://h:65536",
    "http://h:-1",
    "http://h:1:2",
    "http://h:port",
    "http://::1/",
    "http://[::1",
    "http://::1]",
    "http://[localhost]",
    "http://[::1]x",
    "http://h\n",
    "http://h\r\nX: y",
    "http://h /",
    " http://h",
    "http://h\\@evil",
    "http://h%41",
    "http://höst",
    "http://h/ä",
    "http://h/a b",
    "http://h/a\nb",
    "http://h/%zz",
    "http://h/{id}",
    "http://h/../x",
    "http://h/a/..",
    "http://h/./a",
    "http://h/%2e%2E/a",
    "http://h/a/.%2e",
    "http+unix://",
    "http+unix:///",
    "http+unix://localhost/x",
    "http+unix://run%2Fs.sock",
    "http+unix://%2Frun%2",
    "http+unix://%2Frun%00",
    "http+unix://%2Frun/../x",
    "unix://",
    "unix:///",
    "http+unix://%2F" + "a" * 200,
]


@pytest.mark.parametrize("text", BAD)
def test_what_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgumentError):
        parse_base_url(text)


# Where a key may stand by mistake, it is not shown.
@pytest.mark.parametrize(
    "text",
    [
        "sk-hunter2",
        "http://user:hunter2@h/",
        "http://hunter2@h",
        "http://h/?token=hunter2",
        "http://h#hunter2",
        "http://h:80@hunter2",
        "http://hunter2 x/",
        "http://h/hunter2 x",
        "unix:///run/s?hunter2",
        "http+unix://%2Frun%2Fs/x?hunter2",
        "http+unix://hunter2%zz",
    ],
)
def test_a_refusal_repeats_no_secret(text: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        parse_base_url(text)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("value", [None, 8000, b"http://h", Path("/run/s.sock")])
def test_only_text_is_a_url(value: object) -> None:
    with pytest.raises(InvalidArgumentError, match="text"):
        parse_base_url(value)  # type: ignore[arg-type]


@given(st.text(alphabet=st.sampled_from("http+unixs:/@?#%2F.[]\\ ~ab0\n\0ä"), max_size=30))
def test_whatever_comes_is_read_or_refused(text: str) -> None:
    for one in (text, "http://" + text, "https://h/" + text, "http+unix://" + text):
        try:
            found = parse_base_url(one)
        except InvalidArgumentError:
            continue
        assert parse_base_url(str(found)) == found
        assert found.host.isascii()
        assert found.host.isprintable()
        assert " " not in found.host
        assert not found.prefix.endswith("/")
