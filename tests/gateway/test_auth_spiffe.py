"""The JWT-SVID in a file: read when it changes, refused when nobody could accept it."""

from __future__ import annotations

import contextlib
import os
import pickle
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.gateway.auth import token_file
from ostiary.gateway.auth.jwt import ReadFailure
from ostiary.gateway.auth.spiffe import JWTSource, SvidSource, read_svid
from ostiary.gateway.errors import SpiffeAuthError
from ostiary.secret import Secret
from tests.gateway import tokens
from tests.gateway.clock import Clock
from tests.gateway.hiding import assert_hides
from tests.gateway.tokens import SVID_HEADER, jwt, svid, write


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "svid.jwt"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Every file that is read, in order."""
    seen: list[Path] = []
    original = token_file.TokenFile.read

    def read(self: token_file.TokenFile) -> Secret:
        seen.append(self.path)
        return original(self)

    monkeypatch.setattr(token_file.TokenFile, "read", read)
    return seen


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_a_file_is_a_source(path: Path) -> None:
    token = svid()
    source = JWTSource(str(write(path, f"  {token}\n\n")))
    assert isinstance(source, SvidSource)
    assert source.path == path
    assert source.is_expired()  # nothing is held yet
    assert source.get_token() == token
    assert not source.is_expired()
    found = source.get_svid()
    assert found.spiffe_id == tokens.ID
    assert found.trust_domain == "sanctum.example"
    assert found.audience == ("llm-gateway",)
    assert token not in repr(source) + str(source) + repr(found)


def test_an_unchanged_file_is_read_once(path: Path, reads: list[Path], clock: Clock) -> None:
    """Also when the end is near."""
    source = JWTSource(write(path, svid(1800)))
    for _ in range(5):
        source.get_token()
    clock.ahead = 1750
    assert source.is_expired()
    for _ in range(5):
        source.get_token()
    assert len(reads) == 1


@pytest.mark.parametrize("how", ["replaced", "in place", "by a link"])
def test_a_renewed_file_is_read(path: Path, how: str) -> None:
    one, two = svid(), svid(jti="2")
    if how == "by a link":  # as a mounted secret is renewed
        for name, token in (("a", one), ("b", two)):
            write(path.with_name(name), token)
        path.symlink_to("a")
    else:
        write(path, one)
    source = JWTSource(path)
    assert source.get_token() == one
    if how == "replaced":
        write(path, two)
    elif how == "in place":
        path.write_text(two)
    else:
        path.with_name("new").symlink_to("b")
        path.with_name("new").replace(path)
    assert source.get_token() == two


def test_a_file_that_was_written_just_now_is_not_trusted_to_show_the_next_change(
    path: Path,
) -> None:
    """Two writes within a tick of the file system's clock may look the same."""
    one, two = svid(jti="1"), svid(jti="2")
    moment = time.time_ns()
    path.write_text(one)
    os.utime(path, ns=(moment, moment))
    source = JWTSource(path)
    assert source.get_token() == one
    path.write_text(two)
    os.utime(path, ns=(moment, moment))
    assert source.get_token() == two


@pytest.mark.parametrize("bad", [b"", b"half.a", "expired", None])
def test_what_is_held_serves_on(path: Path, bad: Any, clock: Clock) -> None:
    """A rotation that goes wrong fails no call while the SVID there is lasts."""
    token = svid(1800)
    source = JWTSource(write(path, token))
    assert source.get_token() == token
    if bad is None:
        path.unlink()
    else:
        write(path, svid(-5) if bad == "expired" else bad)
    for _ in range(3):
        assert source.get_token() == token
    clock.ahead = 1801
    with pytest.raises(SpiffeAuthError, match=str(path)):
        source.get_token()
    clock.ahead = 0
    later = svid(1800, jti="later")
    write(path, later)
    assert source.get_token() == later


def test_a_file_that_is_written_again_with_the_same_token(path: Path) -> None:
    token = svid()
    source = JWTSource(write(path, token, age=0))
    held = source.get_secret()
    write(path, f"{token}\n", age=0)
    assert source.get_secret() is held


def test_invalidate_reads_again(path: Path, reads: list[Path]) -> None:
    source = JWTSource(write(path, svid()))
    source.get_token()
    source.invalidate()
    assert source.is_expired()
    source.get_token()
    assert len(reads) == 2


@pytest.mark.parametrize(
    ("ttl", "buffer"), [(1800, 300), (3600, 300), (300, 60), (60, 12), (1500, 300)]
)
def test_the_buffer_is_a_share_of_a_short_life(
    path: Path, clock: Clock, ttl: float, buffer: float
) -> None:
    """An SVID of five minutes is not at its end from the beginning."""
    source = JWTSource(write(path, svid(ttl)))
    source.get_token()
    assert not source.is_expired()
    clock.ahead = ttl - buffer - 2
    assert not source.is_expired()
    clock.ahead = ttl - buffer + 2
    assert source.is_expired()
    assert source.get_token()
    clock.ahead = ttl + 1
    with pytest.raises(SpiffeAuthError, match="past its time"):
        source.get_token()


def test_an_svid_without_iat_counts_from_when_it_was_read(path: Path, clock: Clock) -> None:
    source = JWTSource(write(path, svid(100, iat=...)))
    source.get_token()
    clock.ahead = 70
    assert not source.is_expired()
    clock.ahead = 90
    assert source.is_expired()


def claims(**changed: Any) -> dict[str, Any]:
    # Far ahead: these are made when the tests are collected, and used whenever.
    base = {"sub": tokens.ID, "aud": "llm-gateway", "exp": time.time() + 1e6}
    return {k: v for k, v in (base | changed).items() if v is not ...}


REFUSED = {
    "two parts": "a.b",
    "five parts": "a.b.c.d.e",
    "not base64": "!!!.???.sig",
    "bad base64": "a.b.c",
    "padded": jwt(SVID_HEADER, claims()).replace(".", "=.", 1),
    "inner newline": jwt(SVID_HEADER, claims()).replace(".", ".\n", 1),
    "header injection": f"{jwt(SVID_HEADER, claims())}\r\nX-Evil: 1",
    "not UTF-8": b"\xff\xfe\xfd",
    "NUL": b"a.b\x00.c",
    "unsigned": jwt(SVID_HEADER, claims(), ""),
    "alg none": jwt({"alg": "none"}, claims()),
    "alg None": jwt({"alg": "NonE"}, claims()),
    "alg HS256": jwt({"alg": "HS256"}, claims()),
    "alg EdDSA": jwt({"alg": "EdDSA"}, claims()),
    "alg ES256K": jwt({"alg": "ES256K"}, claims()),
    "no alg": jwt({"typ": "JWT"}, claims()),
    "alg 5": jwt({"alg": 5}, claims()),
    "header list": jwt([], claims()),
    "header text": jwt("bm90IGpzb24", claims()),
    "other type": jwt(SVID_HEADER | {"typ": "txntoken+jwt"}, claims()),
    "payload list": jwt(SVID_HEADER, []),
    "payload null": jwt(SVID_HEADER, None),
    "payload number": jwt(SVID_HEADER, 5),
    "payload not JSON": jwt(SVID_HEADER, "bm90IGpzb24"),
    "payload not UTF-8": jwt(SVID_HEADER, "eyJzdWIiOiL_In0"),
    "deep payload": jwt(SVID_HEADER, tokens.b64(b"[" * 30_000)),
    "no exp": jwt(SVID_HEADER, claims(exp=...)),
    "exp text": jwt(SVID_HEADER, claims(exp="soon")),
    "exp numeric text": jwt(SVID_HEADER, claims(exp="1790000000")),
    "exp null": jwt(SVID_HEADER, claims(exp=None)),
    "exp true": jwt(SVID_HEADER, claims(exp=True)),
    "exp NaN": jwt(SVID_HEADER, tokens.b64(b'{"sub":"spiffe://a","aud":"x","exp":NaN}')),
    "exp huge": jwt(SVID_HEADER, tokens.b64(b'{"sub":"spiffe://a","aud":"x","exp":1e999}')),
    "no aud": jwt(SVID_HEADER, claims(aud=...)),
    "empty aud": jwt(SVID_HEADER, claims(aud=[])),
    "blank aud": jwt(SVID_HEADER, claims(aud="")),
    "aud of numbers": jwt(SVID_HEADER, claims(aud=[5])),
    "no sub": jwt(SVID_HEADER, claims(sub=...)),
    "sub text": jwt(SVID_HEADER, claims(sub="agent")),
    "sub https": jwt(SVID_HEADER, claims(sub="https://sanctum.example/x")),
    "sub upper": jwt(SVID_HEADER, claims(sub="spiffe://Sanctum.example/x")),
    "sub climbs": jwt(SVID_HEADER, claims(sub="spiffe://sanctum.example/a/../b")),
    "sub dot": jwt(SVID_HEADER, claims(sub="spiffe://sanctum.example/.")),
    "sub slash": jwt(SVID_HEADER, claims(sub="spiffe://sanctum.example/")),
    "sub query": jwt(SVID_HEADER, claims(sub="spiffe://sanctum.example/a?b")),
    "sub port": jwt(SVID_HEADER, claims(sub="spiffe://sanctum.example:443/a")),
    "sub empty domain": jwt(SVID_HEADER, claims(sub="spiffe:///a")),
    "sub too long": jwt(SVID_HEADER, claims(sub="spiffe://a/" + "x" * 2048)),
    "sub newline": jwt(SVID_HEADER, claims(sub="spiffe://a/b\n")),
    "not yet": jwt(SVID_HEADER, claims(nbf=time.time() + 1e6)),
    "expired": jwt(SVID_HEADER, claims(exp=time.time() - 1)),
    "exp 0": jwt(SVID_HEADER, claims(exp=0)),
    "exp negative": jwt(SVID_HEADER, claims(exp=-1e18)),
    "empty": "",
    "blank": " \n\t ",
    "too long": "a" * 70_000,
}


@pytest.mark.parametrize("content", list(REFUSED.values()), ids=list(REFUSED))
def test_what_no_gateway_could_accept(path: Path, content: str | bytes) -> None:
    """Nothing of it leaves, and nothing but our error does."""
    with pytest.raises(SpiffeAuthError) as caught:
        JWTSource(write(path, content)).get_token()
    assert caught.value.exit_code == 11
    assert str(path) in str(caught.value)
    text = content.decode("latin-1") if isinstance(content, bytes) else content
    assert_hides(caught.value, *text.split("."), text)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "content",
    [
        jwt({"alg": "RS512", "typ": "JOSE"}, claims()),
        jwt({"alg": "PS384"}, claims(aud=["a", "b"])),
        jwt(SVID_HEADER, claims(sub="spiffe://td")),
        jwt(SVID_HEADER, claims(nbf=time.time() + 20)),  # clocks are never quite equal
        jwt(SVID_HEADER, claims(iat=time.time() + 20)),
        jwt(SVID_HEADER, claims(exp=int(time.time()) + 10**6, more={"x": [1, None]})),
        jwt(SVID_HEADER, claims(exp=10**18)),
    ],
    ids=range(7),
)
def test_what_a_gateway_may_accept(path: Path, content: str) -> None:
    assert JWTSource(write(path, content)).get_token() == content


def test_audience_and_trust_domain_can_be_asked_for(path: Path) -> None:
    write(path, svid())
    JWTSource(path, audience="llm-gateway", trust_domain="sanctum.example").get_token()
    with pytest.raises(SpiffeAuthError, match="audience other"):
        JWTSource(path, audience="other").get_token()
    with pytest.raises(SpiffeAuthError, match=r"trust domain sanctum\.example and not of evil"):
        JWTSource(path, trust_domain="evil").get_token()


@pytest.mark.parametrize("kind", ["missing", "directory", "fifo", "socket", "unreadable", "NUL"])
def test_what_is_no_file(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "token"
    if kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)  # reading it would wait for a writer
    elif kind == "socket":
        import socket

        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(path))
    elif kind == "unreadable":
        path = tmp_path / "nowhere" / "token"
    elif kind == "NUL":
        path = Path("a\x00b")
    with pytest.raises(SpiffeAuthError, match="the JWT-SVID in"):
        JWTSource(path).get_token()


def test_a_file_that_others_may_open_is_told_of_once(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    token = svid()
    write(path, token).chmod(0o644)
    source = JWTSource(path)
    for _ in range(3):
        assert source.get_token() == token
        source.invalidate()
    (record,) = caplog.records
    assert "chmod 600" in record.getMessage()
    assert token not in record.getMessage()
    caplog.clear()
    path.chmod(0o600)
    assert JWTSource(path).get_token() == token
    assert not caplog.records


@pytest.mark.usefixtures("no_leaked_descriptors")
def test_many_threads_see_every_rotation(path: Path) -> None:
    """Rotated mid-run with no failed call, and nothing but a token is ever seen."""
    rounds = [svid(jti=str(number)) for number in range(20)]
    write(path, rounds[0])
    source = JWTSource(path)
    seen: set[str] = set()
    problems: list[Exception] = []
    over = threading.Event()

    def read() -> None:
        while not over.is_set():
            try:
                seen.add(source.get_token())
            except Exception as error:  # noqa: BLE001 - any of them fails the test
                problems.append(error)
                return

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for token in rounds:
        write(path, token, age=0)
        while token not in seen and not problems:
            time.sleep(0)
    over.set()
    for thread in threads:
        thread.join()
    assert not problems
    assert seen == set(rounds)


def test_it_travels_as_its_path(path: Path) -> None:
    token = svid()
    source = JWTSource(write(path, token), audience="llm-gateway")
    source.get_token()
    data = pickle.dumps(source)
    assert token.encode() not in data
    again = pickle.loads(data)
    assert again.path == path
    assert again.is_expired()
    assert again.get_token() == token


def test_a_forked_child_takes_no_lock_of_its_parents(path: Path) -> None:
    source = JWTSource(write(path, svid()))
    with source._lock:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if not child:
            try:
                source.get_token()
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitpid(child, 0)[1] == 0


@given(st.binary(max_size=300))
def test_any_bytes_are_a_token_or_our_failure(content: bytes) -> None:
    with contextlib.suppress(ReadFailure):
        read_svid(Secret(content))


json_values = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@given(json_values, json_values)
def test_any_claims_are_read_or_refused(header: object, payload: object) -> None:
    for head, body in ((header, claims()), (SVID_HEADER, payload), (header, payload)):
        with contextlib.suppress(ReadFailure):
            read_svid(Secret(jwt(head if not isinstance(head, str) else [head], [body])))
    if isinstance(payload, dict):
        with contextlib.suppress(ReadFailure):
            read_svid(Secret(jwt(SVID_HEADER, claims() | payload)))
