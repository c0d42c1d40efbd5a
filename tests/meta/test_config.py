"""Addresses have one meaning each; settings come from the first place that has them."""

from __future__ import annotations

import copy
import math
import os
import pickle
import sys
import traceback
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from ostiary.config import (
    Address,
    Limits,
    TcpAddress,
    UnixAddress,
    parse_address,
    parse_base_url,
    setting,
    timeout_seconds,
)
from ostiary.errors import InvalidArgumentError

HOME = str(Path.home())

GOOD: list[tuple[Any, Address]] = [
    ("unix:///run/x.sock", UnixAddress("/run/x.sock")),
    ("/run/x.sock", UnixAddress("/run/x.sock")),
    ("/run//y/../x.sock", UnixAddress("/run/x.sock")),
    (Path("/run/x.sock"), UnixAddress("/run/x.sock")),
    ("~/x.sock", UnixAddress(f"{HOME}/x.sock")),
    ("unix://~/x.sock", UnixAddress(f"{HOME}/x.sock")),
    ("./x.sock", UnixAddress(f"{os.getcwd()}/x.sock")),
    ("unix://x.sock", UnixAddress(f"{os.getcwd()}/x.sock")),
    (Path("x.sock"), UnixAddress(f"{os.getcwd()}/x.sock")),
    (".hidden", UnixAddress(f"{os.getcwd()}/.hidden")),
    ("/run/a b:c@d.sock", UnixAddress("/run/a b:c@d.sock")),
    ("/run/x://y", UnixAddress("/run/x:/y")),
    ("vault:7700", TcpAddress("vault", 7700)),
    ("vault", TcpAddress("vault", 7600)),
    ("tcp://vault:7700", TcpAddress("vault", 7700)),
    ("tcp://vault", TcpAddress("vault", 7600)),
    ("tls://vault:7700", TcpAddress("vault", 7700, tls=True)),
    ("tls://vault", TcpAddress("vault", 7600, tls=True)),
    ("127.0.0.1:1", TcpAddress("127.0.0.1", 1)),
    ("127.0.0.1:65535", TcpAddress("127.0.0.1", 65535)),
    ("[::1]:7700", TcpAddress("::1", 7700)),
    ("[::1]", TcpAddress("::1", 7600)),
    ("::1", TcpAddress("::1", 7600)),
    ("fe80::1%eth0", TcpAddress("fe80::1%eth0", 7600)),
    ("tls://[2001:db8::1]:443", TcpAddress("2001:db8::1", 443, tls=True)),
    (("vault", 7700), TcpAddress("vault", 7700)),
    (["vault", 7700], TcpAddress("vault", 7700)),
    (("vault", "7700"), TcpAddress("vault", 7700)),
    (("::1", 7700), TcpAddress("::1", 7700)),
    (("vault", None), TcpAddress("vault", 7600)),
    ({"host": "vault", "port": 7700}, TcpAddress("vault", 7700)),
    ({"host": "vault"}, TcpAddress("vault", 7600)),
    (UnixAddress("/x"), UnixAddress("/x")),
    (TcpAddress("x", 1, tls=True), TcpAddress("x", 1, tls=True)),
]

BAD: list[Any] = [
    *("", " ", "unix://", "tcp://", "tls://", "tcp://:80", ":80", "vault:0"),
    *("vault:65536", "vault:-1", "vault:+1", "vault:1.5", "vault:http", "vault:80 ", " vault:80"),
    *("vault:\u0661", "vault:" + "9" * 5000, "va ult:80", "vault\n:80", "vault\x00:80"),
    *("http://vault", "https://vault:80", "TCP://vault:80", "://x", "ftp://x", "tcp:/vault"),
    *("user@vault:80", "tcp://user:password@vault:80", "vault/path:80", "vault:80/path"),
    *("[::1", "[::1]80", "[]:80", "[]", "a]b:80", "[x:80", "[a]b]:80", "tcp://[x"),
    *("/a\x00b", "unix:///a\x00b", "/" + "a" * 200, "unix:///" + "\u00e9" * 60, "/\ud800"),
    *("~no-such-user-here/x.sock", "unix://~no-such-user-here/x.sock"),
    *(None, 5, 1.5, b"/run/x.sock", bytearray(b"x"), object(), {"a"}, True),
    *((), ("vault",), ("vault", 1, 2), ["vault", 0], ("vault", 65536), ("vault", True)),
    *((None, 80), ("", 80), (b"vault", 80), (80, "vault"), ("vault", 80.0), ("vault", b"80")),
    *(("a/b", 80), ("a@b", 80), ("[::1]", 80), ("[x", 80), ("a:b]c", 80), ("x y", 80)),
    *(("vault:80", 80), ("tcp://vault", 80), ("vault\n", 80), ("vault", "9" * 5000)),
    *({}, {"port": 80}, {"host": "x", "port": 80, "tls": True}, {"host": "x", 5: 6}),
    *({"host": None, "port": 80}, {"host": "x", "port": "x"}, {"socket_path": "/x"}),
]


def shown(value: object) -> str:
    # a name that holds an address would differ from one process to the next
    return "object" if type(value) is object else ascii(value)[:40]


class TestAddresses:
    @pytest.mark.parametrize(("value", "address"), GOOD, ids=shown)
    def test_spellings(self, value: Any, address: Address) -> None:
        parsed = parse_address(value, default_port=7600)
        assert parsed == address
        assert type(parsed) is type(address)

    @pytest.mark.parametrize("value", BAD, ids=shown)
    def test_anything_else_is_refused(self, value: Any) -> None:
        with pytest.raises(InvalidArgumentError) as caught:
            parse_address(value, default_port=7600)
        assert len(str(caught.value)) > 20

    @pytest.mark.parametrize("value", ["vault", "tcp://vault", "::1", ("vault", None)])
    def test_a_host_needs_a_port_from_somewhere(self, value: Any) -> None:
        with pytest.raises(InvalidArgumentError, match="port"):
            parse_address(value)

    def test_a_path_object_may_not_be_of_bytes(self) -> None:
        class Odd:
            def __fspath__(self) -> bytes:
                return b"/x"

        with pytest.raises(InvalidArgumentError):
            parse_address(Odd())  # type: ignore[arg-type]

    def test_what_a_password_might_be_in_is_not_repeated(self) -> None:
        with pytest.raises(InvalidArgumentError) as caught:
            parse_address("tcp://user:hunter2@vault:80")
        assert "hunter2" not in str(caught.value)

    def test_a_relative_path_does_not_move_with_the_directory(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        address = parse_address("./x.sock")
        monkeypatch.chdir("/")
        assert address == UnixAddress(os.path.realpath(tmp_path) + "/x.sock")

    def test_a_directory_that_is_gone(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        gone = tmp_path / "gone"
        gone.mkdir()
        monkeypatch.chdir(gone)
        gone.rmdir()
        with pytest.raises(InvalidArgumentError):
            parse_address("./x.sock")

    def test_the_longest_path_the_system_takes(self) -> None:
        longest = 103 if sys.platform == "darwin" else 107
        assert parse_address("/" + "a" * (longest - 1)) == UnixAddress("/" + "a" * (longest - 1))
        with pytest.raises(InvalidArgumentError, match=str(longest)):
            parse_address("/" + "a" * longest)

    def test_they_are_frozen_and_survive_a_trip(self) -> None:
        for address in (UnixAddress("/x"), TcpAddress("x", 1)):
            with pytest.raises(AttributeError):
                address.port = 2  # type: ignore[union-attr, misc]
            assert pickle.loads(pickle.dumps(address)) == address
            assert copy.deepcopy(address) == address
            assert hash(address) == hash(copy.copy(address))


PIECES = st.lists(
    st.sampled_from(
        [
            *("unix", "tcp", "tls", "http", ":", "//", "://", "/", "~", ".", "..", "[", "]", "@"),
            *("::1", "127.0.0.1", "vault", "80", "0", "65536", "%", " ", "\x00", "\n", "\u00e9"),
            *("\ud800", "a" * 60, "9" * 5000),
        ]
    ),
    max_size=8,
).map("".join)
TEXT = PIECES | st.text(st.characters())
ANYTHING = (
    TEXT
    | st.tuples(TEXT, st.integers() | st.none() | TEXT)
    | st.lists(st.none() | TEXT | st.integers(), max_size=3)
    | st.fixed_dictionaries({"host": TEXT | st.none()}, optional={"port": st.integers() | TEXT})
    | st.dictionaries(TEXT, TEXT, max_size=3)
    | st.none()
    | st.integers()
    | st.floats()
    | st.binary()
    | TEXT.map(Path)
)


@given(ANYTHING, st.none() | st.integers(1, 65535))
@example(("[x", 80), None)
@example(("a/b", 80), None)
@example("vault:" + "9" * 5000, None)
@example("/\ud800", None)
@example("~\ud800", None)
def test_parsing_ends_in_an_address_or_in_our_error(value: Any, port: int | None) -> None:
    try:
        address = parse_address(value, default_port=port)
    except InvalidArgumentError:
        return
    assert isinstance(address, (UnixAddress, TcpAddress))
    assert parse_address(address) is address
    assert parse_address(str(address)) == address
    if isinstance(address, UnixAddress):
        assert os.path.isabs(address.path)
        assert "\x00" not in address.path
    else:
        assert 0 < address.port < 65536
        assert address.host


@given(
    st.from_regex(r"[a-z0-9-]{1,20}(\.[a-z0-9-]{1,20}){0,3}", fullmatch=True)
    | st.ip_addresses().map(str),
    st.integers(1, 65535),
    st.booleans(),
)
def test_every_host_and_port_survives_its_own_text(host: str, port: int, tls: bool) -> None:
    address = TcpAddress(host, port, tls)
    assert parse_address(str(address)) == address
    assert parse_address((host, port)) == TcpAddress(host, port)


@given(st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=20))
def test_every_path_survives_its_own_text(name: str) -> None:
    assume(len(name.encode()) < 90)
    address = parse_address("/run/" + name)
    assert isinstance(address, UnixAddress)
    assert parse_address(str(address)) == address
    assert parse_address(address.path) == address


class TestSetting:
    def read(self, *values: object, **environ: str) -> object:
        explicit = values[0] if values else None
        return setting(explicit, ["FIRST", "SECOND"], "default", read=str, environ=environ)

    def test_the_first_place_that_has_it_wins(self) -> None:
        assert self.read("given", FIRST="a", SECOND="b") == "given"
        assert self.read(FIRST="a", SECOND="b") == "a"
        assert self.read(SECOND="b") == "b"
        assert self.read() == "default"
        assert self.read(OTHER="x") == "default"

    def test_an_empty_variable_counts_as_unset(self) -> None:
        assert self.read(FIRST="", SECOND="b") == "b"
        assert self.read(FIRST="", SECOND="") == "default"

    def test_a_false_argument_is_still_given(self) -> None:
        assert setting(0, ["FIRST"], 5, read=int, environ={"FIRST": "7"}) == 0
        assert setting("", ["FIRST"], "d", read=str, environ={"FIRST": "7"}) == ""

    def test_the_text_is_read(self) -> None:
        assert setting(None, ["FIRST"], 5, read=int, environ={"FIRST": "7"}) == 7

    def test_the_environment_is_read_at_the_call(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("OSTIARY_OF_A_TEST", raising=False)
        assert setting(None, ["OSTIARY_OF_A_TEST"], 5, read=int) == 5
        monkeypatch.setenv("OSTIARY_OF_A_TEST", "7")
        assert setting(None, ["OSTIARY_OF_A_TEST"], 5, read=int) == 7

    def test_an_unreadable_first_does_not_fall_through_to_the_second(self) -> None:
        with pytest.raises(InvalidArgumentError, match="FIRST"):
            setting(None, ["FIRST", "SECOND"], 5, read=int, environ={"FIRST": "x", "SECOND": "7"})

    @pytest.mark.parametrize("read", [int, timeout_seconds, parse_address, bytes.fromhex])
    def test_the_content_is_nowhere_in_the_error(self, read: Any) -> None:
        content = "hunter2 is-no:number/\x00"
        with pytest.raises(InvalidArgumentError, match="FIRST") as caught:
            setting(None, ["FIRST"], None, read=read, environ={"FIRST": content})
        seen: list[BaseException | None] = [caught.value]
        while seen:
            error = seen.pop()
            if error is None:
                continue
            assert "hunter2" not in f"{error!r} {error!s} {error.args!r} {error.__dict__!r}"
            for frame, _ in traceback.walk_tb(error.__traceback__):
                if frame.f_globals.get("__name__", "").startswith("ostiary."):
                    # the environment itself stays in sight, and nothing copied out of it
                    known = {k: v for k, v in frame.f_locals.items() if not isinstance(v, dict)}
                    assert "hunter2" not in repr(known)
            seen += [error.__cause__, error.__context__]

    def test_the_environment_is_not_in_the_frames_either(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OSTIARY_OF_A_TEST", "hunter2")
        with pytest.raises(InvalidArgumentError) as caught:
            setting(None, ["OSTIARY_OF_A_TEST"], 5, read=int)
        for frame, _ in traceback.walk_tb(caught.tb):
            if frame.f_globals.get("__name__", "").startswith("ostiary."):
                assert "hunter2" not in repr(frame.f_locals)

    def test_what_is_no_value_error_passes_through(self) -> None:
        def read(text: str) -> int:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            setting(None, ["FIRST"], 5, read=read, environ={"FIRST": "x"})


class TestTimeouts:
    @pytest.mark.parametrize(
        ("value", "seconds"),
        [(None, math.inf), (5, 5.0), (0.25, 0.25), ("1.5", 1.5), ("inf", math.inf), (1e-9, 1e-9)],
    )
    def test_good(self, value: Any, seconds: float) -> None:
        read = timeout_seconds(value)
        assert read == seconds
        assert type(read) is float

    @pytest.mark.parametrize(
        "value", [0, -1, "0", "-inf", "nan", math.nan, "", "soon", [], b"\xff", 10**400]
    )
    def test_bad(self, value: Any) -> None:
        with pytest.raises(InvalidArgumentError, match="timeout"):
            timeout_seconds(value)

    @given(st.floats() | st.integers() | st.text(st.characters()) | st.none() | st.booleans())
    def test_always_positive_or_our_error(self, value: Any) -> None:
        try:
            assert timeout_seconds(value) > 0
        except InvalidArgumentError:
            pass


class TestLimits:
    def test_the_defaults(self) -> None:
        limits = Limits()
        assert limits.frame_sent == 4 * 1024 * 1024
        assert limits.frame_accepted == 16 * 1024 * 1024
        assert (limits.head, limits.header_count) == (64 * 1024, 256)
        assert limits.body == limits.decompressed_body == 64 * 1024 * 1024
        assert (limits.sse_line, limits.sse_event) == (1024 * 1024, 8 * 1024 * 1024)

    @pytest.mark.parametrize("name", Limits.__struct_fields__)
    @pytest.mark.parametrize("value", [0, -1, 2**32, "5", 1.5, None, True])
    def test_every_limit_is_checked(self, name: str, value: Any) -> None:
        with pytest.raises(InvalidArgumentError, match=name):
            Limits(**{name: value})

    @pytest.mark.parametrize("name", Limits.__struct_fields__)
    @pytest.mark.parametrize("value", [1, 2**32 - 1])
    def test_the_whole_range_is_allowed(self, name: str, value: int) -> None:
        assert getattr(Limits(**{name: value}), name) == value

    def test_they_are_frozen(self) -> None:
        with pytest.raises(AttributeError):
            Limits().body = 5  # type: ignore[misc]
        assert msgspec.structs.replace(Limits(), body=5).body == 5
        with pytest.raises(InvalidArgumentError):
            msgspec.structs.replace(Limits(), body=0)


@pytest.mark.parametrize(
    ("url", "in_clear"),
    [
        ("http://localhost", False),
        ("http://LocalHost.:8000/x", False),
        ("http://127.1.2.3", False),
        ("http://[::1]:8000", False),
        ("http://[::1%25lo]", False),
        ("http+unix://%2Frun%2Fx.sock", False),
        ("https://api.example", False),
        ("http://api.example", True),
        ("http://10.0.0.1", True),
        ("http://localhost.example", True),
        ("http://notlocalhost", True),
        # RFC 6761, 6.3: what resolves it should stay here, and not every resolver does.
        ("http://api.localhost", True),
    ],
)
def test_in_clear_is_what_others_can_read(url: str, in_clear: bool) -> None:
    assert parse_base_url(url).in_clear is in_clear
