"""What is kept: through crashes and restarts, sealed, and for one server at a time."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import IO

import pytest

from ostiary.devserver import DevserverError, Options, running
from ostiary.errors import InvalidArgumentError, OstiaryError
from ostiary.secret import Secret
from ostiary.vault import CredentialNotFound, VaultError, VaultLocked, keys
from tests.devserver.wire import Refused, wire

PROGRAM = """
import sys
from pathlib import Path
from ostiary.devserver import Options, serve
options = Options(home=Path(sys.argv[1]), ports=(), demo=True)
sys.exit(serve(options, on_ready=lambda server: print("ready", flush=True)))
"""


@pytest.fixture
def spawn(tmp_path: Path) -> Callable[[Path], subprocess.Popen[bytes]]:
    def start(home: Path) -> subprocess.Popen[bytes]:
        server = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(home)], stdout=subprocess.PIPE
        )
        output: IO[bytes] | None = server.stdout
        assert output is not None
        assert output.readline() == b"ready\n"
        output.close()
        return server

    return start


# -- the process ------------------------------------------------------------------


def test_killed_and_started_again(
    tmp_path: Path, spawn: Callable[[Path], subprocess.Popen[bytes]]
) -> None:
    home = tmp_path / "home"
    server = spawn(home)
    from ostiary.devserver.admin import AdminClient

    with AdminClient(home / "vault.sock") as admin:
        admin.put("kept/one", "precious", tags=["a"])
        admin.agent_add("late", keys.generate().public_key_hex)
        count = len(admin.audit(limit=1000))
    with wire(home / "vault.sock") as one:
        one.login("my-agent", home / "keys/my-agent.key").retrieve("kept/one")
        server.kill()
        server.wait()
    assert (home / "vault.sock").exists(), "nobody was left to remove it"
    with running(home) as vault:
        assert vault.admin.get("kept/one").value == b"precious"
        assert vault.admin.get("kept/one").entry.tags == ["a"]
        assert {agent.name for agent in vault.admin.agent_list()} == {"late", "my-agent"}
        # Three more: the login, the retrieval, the start.
        verdict = vault.admin.audit_verify()
        assert verdict.valid
        assert verdict.entries >= count + 3
        assert vault.admin.lease_list() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_cleanly(
    tmp_path: Path, spawn: Callable[[Path], subprocess.Popen[bytes]], number: signal.Signals
) -> None:
    home = tmp_path / "home"
    server = spawn(home)
    with wire(home / "vault.sock") as one:
        one.login("my-agent", home / "keys/my-agent.key").retrieve("hook/key")
        sent = [one.send("list", {}) for _ in range(20)]
        server.send_signal(number)
        answered = []
        try:
            answered += [one.receive()["id"] for _ in sent]
        except EOFError:
            pass
        assert answered == sent[: len(answered)]
        assert server.wait(20) == 0
    assert sorted(os.listdir(home)) == ["daemon.lock", "keys", "master.key", "vault.db"]
    with running(home) as vault:
        ended = vault.admin.audit(action="end")
        assert [entry.resource for entry in ended] == ["hook/key"]
        assert vault.admin.audit(action="stop")


def test_a_second_server_is_refused(
    tmp_path: Path, spawn: Callable[[Path], subprocess.Popen[bytes]]
) -> None:
    home = tmp_path / "home"
    server = spawn(home)
    try:
        before = os.stat(home / "vault.sock").st_ino
        second = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(home)], capture_output=True, text=True, check=False
        )
        assert second.returncode != 0
        assert "already running" in second.stderr
        assert os.stat(home / "vault.sock").st_ino == before
        with wire(home / "vault.sock") as one:
            one.login("my-agent", home / "keys/my-agent.key")
    finally:
        server.terminate()
        server.wait()


def test_a_second_server_in_one_process_is_refused(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with running(home) as vault:
        with pytest.raises(DevserverError, match="already running"), running(home):
            pass
        assert vault.admin.status().credentials == 0
    with running(home):
        pass


# -- the socket -------------------------------------------------------------------


def bound(path: Path) -> socket.socket:
    one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    one.bind(str(path))
    return one


def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(0o700)
    bound(home / "vault.sock").close()
    with running(home) as vault:
        assert vault.admin.status().credentials == 0
    assert not (home / "vault.sock").exists()


def test_a_live_socket_is_left_alone(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(0o700)
    with closing(bound(home / "vault.sock")) as other:
        other.listen()
        with pytest.raises(DevserverError, match="already listens"), running(home):
            pass
        assert stat.S_ISSOCK(os.stat(home / "vault.sock").st_mode)
        with closing(socket.socket(socket.AF_UNIX)) as probe:
            probe.connect(str(home / "vault.sock"))


def test_a_file_in_the_sockets_place_is_left_alone(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(0o700)
    (home / "vault.sock").write_text("mine")
    with pytest.raises(DevserverError, match="not a socket"), running(home):
        pass
    assert (home / "vault.sock").read_text() == "mine"


def test_a_path_too_long_for_a_socket(tmp_path: Path) -> None:
    with (
        pytest.raises(InvalidArgumentError, match="shorter directory"),
        running(tmp_path / ("x" * 120)),
    ):
        pass


def test_a_taken_port(no_leaked_descriptors: None, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        home = tmp_path / "home"
        for ports in ((port,), (0, port), (0, 0, port)):
            with (
                pytest.raises(DevserverError, match=f"127.0.0.1:{port}"),
                running(home, ports=ports),
            ):
                pass
    assert not (home / "vault.sock").exists()
    with running(home):
        pass


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.1", "localhost", ""])
def test_loopback_only(host: str) -> None:
    with pytest.raises(InvalidArgumentError, match="loopback"):
        Options(host=host)


# -- the directory ----------------------------------------------------------------


def test_a_directory_open_to_others(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(0o755)
    with running(home):
        # Empty: plainly meant for this, and made private.
        assert stat.S_IMODE(os.stat(home).st_mode) == 0o700
    other = tmp_path / "other"
    other.mkdir(0o755)
    (other / "somebody's.txt").write_text("x")
    with pytest.raises(DevserverError, match="chmod 700"), running(other):
        pass
    assert stat.S_IMODE(os.stat(other).st_mode) == 0o755
    assert os.listdir(other) == ["somebody's.txt"]


def test_modes_do_not_depend_on_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with running(tmp_path / "home") as vault:
            vault.put("a/b", "x")
            for path in vault.home.rglob("*"):
                assert stat.S_IMODE(os.lstat(path).st_mode) & 0o077 == 0, path
    finally:
        os.umask(before)


@pytest.mark.parametrize("name", ["vault.db", "master.key"])
def test_files_others_can_read(tmp_path: Path, name: str) -> None:
    home = tmp_path / "home"
    with running(home):
        pass
    os.chmod(home / name, 0o640)
    with pytest.raises(DevserverError, match="chmod 600"), running(home):
        pass


def test_not_a_database(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with running(home):
        pass
    (home / "vault.db").write_bytes(b"not a database at all" * 100)
    with pytest.raises(OstiaryError, match="vault.db"), running(home):
        pass


def test_a_temporary_home_is_removed() -> None:
    with running() as vault:
        home = vault.home
        assert home.is_dir()
    assert not home.exists()


def test_no_descriptor_is_left(no_leaked_descriptors: None, tmp_path: Path) -> None:
    with running(tmp_path / "home", demo=True) as vault:
        vault.admin.status()
        with wire(vault.socket_path) as one:
            one.login("my-agent", vault.home / "keys/my-agent.key")
    with running(tmp_path / "home"), pytest.raises(DevserverError), running(tmp_path / "home"):
        pass


# -- sealing ----------------------------------------------------------------------

SECRET = "correct-horse-battery-staple"


def files(home: Path) -> bytes:
    return b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())


def test_secrets_are_not_in_the_files(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with running(home) as vault:
        vault.put("a/secret", SECRET)
        assert vault.admin.get("a/secret").value == SECRET
        during = files(home)
    for content in (during, files(home)):
        assert b"a/secret" in content
        assert SECRET.encode() not in content
        assert SECRET.encode().hex().encode() not in content


def test_a_ciphertext_opens_at_its_own_path_alone(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with running(home) as vault:
        vault.put("high/secret", SECRET)
        vault.put("low/other", "x")
    with closing(sqlite3.connect(home / "vault.db")) as database, database:
        database.execute(
            "UPDATE credentials SET sealed=(SELECT sealed FROM credentials WHERE "
            "path='high/secret') WHERE path='low/other'"
        )
    with running(home) as vault:
        with pytest.raises(VaultError) as caught:
            vault.admin.get("low/other")
        assert caught.value.code == "CRYPTO_ERROR"
        assert vault.admin.get("high/secret").value == SECRET


def test_removed_ciphertexts_are_overwritten(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with running(home) as vault:
        vault.put("a/secret", SECRET)
        with closing(sqlite3.connect(home / "vault.db")) as database:
            (sealed,) = database.execute("SELECT sealed FROM credentials").fetchone()
        vault.admin.remove("a/secret")
    assert sealed not in files(home)


def test_a_passphrase(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with running(home, passphrase=Secret("open sesame")) as vault:
        vault.put("a/b", "x")
        assert not (home / "master.key").exists()
        key = vault.add_agent("demo")
    assert b"open sesame" not in files(home)
    with running(home) as vault:
        assert vault.admin.status().locked
        with pytest.raises(VaultLocked):
            vault.admin.get("a/b")
        with pytest.raises(VaultLocked):
            vault.admin.audit_verify()
        with wire(vault.socket_path) as one, pytest.raises(Refused) as refused:
            one.login("demo", key)
        assert refused.value.code == "VAULT_LOCKED"
        for wrong in ("open sesam", "", None):
            with pytest.raises(VaultError) as caught:
                vault.admin.unlock(wrong)
            assert caught.value.code == "AUTH_FAILED"
            assert vault.admin.status().locked
        vault.admin.unlock(Secret("open sesame"))
        assert vault.admin.get("a/b").value == "x"
        assert vault.admin.audit_verify().valid
        with wire(vault.socket_path) as one:
            assert one.login("demo", key).retrieve("a/b")["value"] == "78"
    with (
        pytest.raises(DevserverError, match="passphrase"),
        running(home, passphrase=Secret("wrong")),
    ):
        pass


def test_another_master_key(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with running(home) as vault:
        vault.put("a/b", "x")
    right = (home / "master.key").read_bytes()
    for wrong in (b"00" * 32, b"short", b"\xff" * 64):
        (home / "master.key").write_bytes(wrong)
        with pytest.raises(DevserverError, match=r"master\.key"), running(home):
            pass
    (home / "master.key").unlink()
    with pytest.raises(DevserverError, match=r"master\.key"), running(home):
        pass
    assert not (home / "master.key").exists(), "a new one would open nothing"
    (home / "master.key").touch(0o600)
    (home / "master.key").write_bytes(right)
    with running(home) as vault:
        assert vault.admin.get("a/b").value == "x"


# -- the demonstration ------------------------------------------------------------


def test_demo_again_and_again(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with running(home, demo=True) as vault:
        vault.put("openai/api_key", "changed by hand")
    key = (home / "keys/my-agent.key").read_bytes()
    with running(home, demo=True) as vault:
        assert (home / "keys/my-agent.key").read_bytes() == key
        assert vault.admin.get("openai/api_key").value == "changed by hand"
        with wire(vault.socket_path) as one:
            one.login("my-agent", home / "keys/my-agent.key").retrieve("github/token")


def test_demo_keeps_a_key_that_exists(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "keys").mkdir(0o700, parents=True)
    os.chmod(home, 0o700)
    mine = keys.generate()
    keys.save(mine, home / "keys/my-agent.key")
    with running(home, demo=True) as vault, wire(vault.socket_path) as one:
        assert keys.load(home / "keys/my-agent.key").public_key == mine.public_key
        one.login("my-agent", home / "keys/my-agent.key").retrieve("github/token")
    # A key replaced by hand is the one that counts.
    (home / "keys/my-agent.key").unlink()
    keys.save(keys.generate(), home / "keys/my-agent.key")
    with running(home, demo=True) as vault, wire(vault.socket_path) as one:
        one.login("my-agent", home / "keys/my-agent.key").retrieve("github/token")


def test_without_demo_there_is_nothing() -> None:
    with running() as vault:
        assert vault.admin.list() == []
        assert vault.admin.agent_list() == []
        with pytest.raises(CredentialNotFound):
            vault.admin.get("openai/api_key")


def test_counts_survive(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with running(home, demo=True) as vault, wire(vault.socket_path) as one:
        one.login("my-agent", home / "keys/my-agent.key")
        for _ in range(3):
            one.use("hook/key", "sign", data="x")
        (entry,) = vault.admin.list(prefix="hook/")
        assert (entry.access_count, entry.last_accessed_by) == (3, "my-agent")
    with running(home) as vault:
        (entry,) = vault.admin.list(prefix="hook/")
        assert (entry.access_count, entry.last_accessed_by) == (3, "my-agent")
