"""`ostiary dev` as a process: what it announces, how it stops, what it refuses."""

from __future__ import annotations

import json
import signal
import socket
import stat
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from ostiary.vault import VaultClient


def test_it_says_on_one_line_that_it_is_ready(start_dev: Any, user_home: Path) -> None:
    dev = start_dev(
        "--port", "0", "--governance-port", "0", "--runtime-port", "0", "--workflow-port", "0"
    )
    assert dev.ready["ready"] is True
    assert dev.ready["pid"] == dev.process.pid
    assert dev.ready["home"] == str(user_home / ".sanctum")
    assert dev.ready["socket"] == str(user_home / ".sanctum" / "vault.sock")
    (address,) = dev.ready["tcp"]
    host, port = address.rsplit(":", 1)
    assert host == "127.0.0.1"
    with socket.create_connection((host, int(port)), timeout=10):
        pass
    assert stat.S_IMODE(dev.socket.stat().st_mode) == 0o600
    assert stat.S_IMODE(dev.home.stat().st_mode) == 0o700


def call(address: Any, request: str) -> tuple[int, bytes]:
    """Send a request over TCP or a Unix socket, read until the server closes."""
    kind = socket.AF_UNIX if isinstance(address, Path) else socket.AF_INET
    with socket.socket(kind) as one:
        one.settimeout(60)
        one.connect(str(address) if isinstance(address, Path) else address)
        one.sendall(f"{request}\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        data = b""
        while piece := one.recv(65536):
            data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


def test_it_says_where_governance_is(start_dev: Any) -> None:
    dev = start_dev(
        "--port", "0", "--governance-port", "0", "--runtime-port", "0", "--workflow-port", "0"
    )
    found = dev.ready["governance"]
    socket_path = dev.home / "governance.sock"
    assert found["socket"] == str(socket_path)
    assert found["unix_url"] == "http+unix://" + quote(str(socket_path), safe="")
    token_file = dev.home / "governance.token"
    assert found["token_file"] == str(token_file)
    for path in (socket_path, token_file, dev.home / "governance.db"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    host, port = found["url"].removeprefix("http://").split(":")
    assert host == "127.0.0.1"
    token = token_file.read_text().strip()
    for address in ((host, int(port)), socket_path):
        assert call(address, "GET /api/v1/health HTTP/1.1")[0] == 401
        known = f"GET /api/v1/health HTTP/1.1\r\nAuthorization: Bearer {token}"
        status, body = call(address, known)
        assert (status, json.loads(body)["status"]) == (200, "ok")
    assert dev.stop() == (0, "")
    assert not socket_path.exists()
    # The next one has the same token.
    start_dev("--no-tcp")
    assert token_file.read_text().strip() == token


def test_the_demo_asks_no_token(start_dev: Any) -> None:
    for _ in range(2):
        dev = start_dev("--no-tcp", "--demo", "--meaning", "sdk")
        assert dev.ready["governance"]["url"] is None
        assert dev.ready["governance"]["token_file"] is None
        address = Path(dev.ready["governance"]["socket"])
        assert call(address, "GET /api/v1/trace/abc-123-def HTTP/1.1")[0] == 200
        config = json.loads(call(address, "GET /api/system/config HTTP/1.1")[1])
        assert config["meaning"] == "sdk"
        dev.stop()


def test_two_demonstrations_share_a_machine(start_dev: Any, user_home: Path) -> None:
    """The guide's port is taken only where nobody says which."""
    alone = ("--demo", "--no-governance", "--no-gateway", "--no-runtime", "--no-workflow")
    (one,) = start_dev(*alone, "--port", "0").ready["tcp"]
    elsewhere = str(user_home / "elsewhere")
    two, three = start_dev(*alone, "--port", "0", "--port", "0", "--home", elsewhere).ready["tcp"]
    assert len({one, two, three} - {"127.0.0.1:8200"}) == 3


def test_the_vault_alone(start_dev: Any) -> None:
    dev = start_dev("--no-tcp", "--no-governance")
    assert dev.ready["governance"] is None
    assert {path.name for path in dev.home.iterdir()}.isdisjoint(
        {"governance.sock", "governance.token", "governance.db"}
    )


def test_it_says_where_the_runtime_is(start_dev: Any) -> None:
    ours = "a-token-of-our-own-making"
    dev = start_dev(
        *(
            "--port",
            "0",
            "--no-governance",
            "--no-gateway",
            "--runtime-port",
            "0",
            "--workflow-port",
            "0",
        ),
        env={"SYMBIONT_API_TOKEN": ours},
    )
    found = dev.ready["runtime"]
    socket_path = dev.home / "runtime.sock"
    assert found["socket"] == str(socket_path)
    assert found["unix_url"] == "http+unix://" + quote(str(socket_path), safe="") + "/api/v1"
    assert found["token_file"] == str(dev.home / "runtime.token")
    host, port = found["url"].removeprefix("http://").removesuffix("/api/v1").split(":")
    kept = (dev.home / "runtime.token").read_text().strip()
    for address in ((host, int(port)), socket_path):
        assert call(address, "GET /api/v1/health HTTP/1.1")[0] == 200
        assert call(address, "GET /api/v1/agents HTTP/1.1")[0] == 401
        for token in (ours, kept):
            known = f"GET /api/v1/agents HTTP/1.1\r\nAuthorization: Bearer {token}"
            assert call(address, known) == (200, b"[]")
    for path in (socket_path, dev.home / "runtime.token", dev.home / "runtime.db"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert dev.stop() == (0, "")
    assert not socket_path.exists()


def test_without_a_runtime(start_dev: Any) -> None:
    dev = start_dev("--no-tcp", "--no-runtime", "--no-workflow")
    assert dev.ready["runtime"] is None
    assert not (dev.home / "runtime.db").exists()


def test_a_runtime_that_cannot_start_is_a_sentence(ostiary: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for arguments, token, word in (
            (["--port", "0", "--no-workflow", "--runtime-port", port], "", "--runtime-port"),
            (["--no-tcp"], "too-short", "SYMBIONT_API_TOKEN"),
            (["--no-tcp", "--map", "nonsense"], "", "NAME="),
            (["--no-tcp", "--knowledge-model", "nonsense"], "", "knowledge_model"),
        ):
            refused = ostiary(
                *("dev", "--no-governance", "--no-gateway", *arguments),
                env={"SYMBIONT_API_TOKEN": token},
            )
            assert refused.code in {1, 2}
            assert word in refused.err
            assert "Traceback" not in refused.err
            assert "too-short" not in refused.err


def test_a_listed_page_may_call(start_dev: Any, ostiary: Any) -> None:
    dev = start_dev("--no-tcp", "--demo", "--allow-origin", "http://localhost:3000")
    address = Path(dev.ready["governance"]["socket"])
    for origin, status in (("http://localhost:3000", 200), ("http://localhost:3001", 403)):
        request = f"GET /api/v1/health HTTP/1.1\r\nOrigin: {origin}"
        assert call(address, request)[0] == status
    refused = ostiary("dev", "--no-tcp", "--allow-origin", "*")
    assert refused.code != 0
    assert "origin" in refused.err
    assert "Traceback" not in refused.err


def test_a_taken_governance_port_is_a_sentence(ostiary: Any, user_home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        refused = ostiary(
            "dev", "--port", "0", "--governance-port", port, "--no-runtime", "--no-workflow"
        )
    assert refused.code == 1
    assert "--governance-port" in refused.err
    assert "Traceback" not in refused.err
    assert not (user_home / ".sanctum" / "vault.sock").exists()


def test_a_stream_in_hand_does_not_hold_up_the_end(start_dev: Any) -> None:
    dev = start_dev("--no-tcp", "--demo", "--pace", "3600")
    body = b'{"input":"x"}'
    with socket.socket(socket.AF_UNIX) as one:
        one.settimeout(60)
        one.connect(dev.ready["governance"]["socket"])
        one.sendall(
            b"POST /api/v1/run/stream HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        data = b""
        while b'"start"' not in data:
            data += one.recv(65536)
        dev.process.send_signal(signal.SIGTERM)
        while piece := one.recv(65536):
            data += piece
    assert b'"SERVER_STOPPING"' in data
    assert data.endswith(b"0\r\n\r\n")
    _, err = dev.process.communicate(timeout=60)
    assert (dev.process.returncode, err) == (0, b"")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_cleanly(start_dev: Any, number: signal.Signals) -> None:
    dev = start_dev("--no-tcp")
    code, err = dev.stop(number)
    assert (code, err) == (0, "")
    assert not dev.socket.exists()


def test_the_same_home_holds_the_same_secrets_after_a_restart(start_dev: Any, ostiary: Any) -> None:
    dev = start_dev("--no-tcp")
    ostiary("vault", "put", "kept/x", stdin=b"still here")
    dev.stop()
    start_dev("--no-tcp")
    assert ostiary("vault", "get", "kept/x").out == b"still here"
    assert ostiary("vault", "audit", "--verify").code == 0


def test_a_killed_one_leaves_a_socket_that_the_next_replaces(start_dev: Any, ostiary: Any) -> None:
    dev = start_dev("--no-tcp")
    ostiary("vault", "put", "kept/x", stdin=b"still here")
    dev.stop(signal.SIGKILL)
    assert dev.socket.exists()
    assert ostiary("vault", "ls").code == 3
    doctor = ostiary("doctor", "--json")
    assert doctor.code == 1
    assert "it replaces a socket left behind" in doctor.text
    start_dev("--no-tcp")
    assert ostiary("vault", "get", "kept/x").out == b"still here"


def test_demo_twice_on_one_home_keeps_the_key(start_dev: Any, ostiary: Any) -> None:
    dev = start_dev("--no-tcp", "--demo")
    key = dev.home / "keys" / "my-agent.key"
    first = key.read_bytes()
    ostiary("vault", "put", "openai/api_key", stdin=b"my own")
    dev.stop()
    dev = start_dev("--no-tcp", "--demo")
    assert key.read_bytes() == first
    # What was changed since is not put back either.
    assert ostiary("vault", "get", "openai/api_key").out == b"my own"
    with VaultClient("my-agent", socket_path=dev.socket, key_path=key) as client:
        assert client.retrieve("openai/api_key") == "my own"


def test_it_refuses_to_start_beside_a_live_one(start_dev: Any, ostiary: Any) -> None:
    dev = start_dev("--no-tcp")
    ostiary("vault", "put", "kept/x", stdin=b"still here")
    second = ostiary("dev", "--no-tcp")
    assert second.code == 1
    assert "already running" in second.err
    assert "--home" in second.err
    assert "Traceback" not in second.err
    document = ostiary("dev", "--no-tcp", "--json")
    assert document.code == 1
    assert "already running" in document.document["error"]["message"]
    # The first one has noticed nothing.
    assert dev.process.poll() is None
    assert ostiary("vault", "get", "kept/x").out == b"still here"


def test_a_port_in_use_is_a_sentence(ostiary: Any, user_home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        refused = ostiary("dev", "--port", str(taken.getsockname()[1]))
    assert refused.code == 1
    assert "cannot listen on 127.0.0.1" in refused.err
    assert "Traceback" not in refused.err
    assert not (user_home / ".sanctum" / "vault.sock").exists()


def test_home_moves_every_file(start_dev: Any, user_home: Path) -> None:
    elsewhere = user_home / "elsewhere"
    dev = start_dev("--no-tcp", "--demo", "--home", str(elsewhere))
    assert dev.home == elsewhere
    assert (elsewhere / "keys" / "my-agent.key").exists()
    assert [path.name for path in user_home.iterdir()] == ["elsewhere"]


def test_a_home_others_can_enter_is_refused(ostiary: Any, user_home: Path) -> None:
    shared = user_home / "shared"
    shared.mkdir()
    (shared / "somebody's file").touch()
    shared.chmod(0o755)
    refused = ostiary("dev", "--no-tcp", "--home", shared)
    assert refused.code == 1
    assert "chmod 700" in refused.err
    assert stat.S_IMODE(shared.stat().st_mode) == 0o755


def test_one_way_of_sealing_at_a_time(ostiary: Any, user_home: Path) -> None:
    refused = ostiary("dev", "--passphrase-stdin", "--master-key", stdin=b"x\n")
    assert refused.code == 2
    empty = ostiary("dev", "--no-tcp", "--passphrase-stdin", stdin=b"\n")
    assert empty.code == 1
    assert "no passphrase" in empty.err
    assert not (user_home / ".sanctum").exists()


def test_no_raw_refuses_retrieve_and_serves_use(start_dev: Any) -> None:
    dev = start_dev("--no-tcp", "--demo", "--no-raw")
    key = dev.home / "keys" / "my-agent.key"
    with VaultClient("my-agent", socket_path=dev.socket, key_path=key) as client:
        assert client.sign("hook/key", "ping").signature
        with pytest.raises(Exception, match="retriev"):
            client.retrieve("hook/key")


@pytest.mark.parametrize("columns", [80, 120])
def test_the_screen_shows_a_banner_and_every_endpoint(
    terminal: Any, user_home: Path, columns: int
) -> None:
    code, screen = terminal(
        user_home,
        *(
            "dev",
            "--port",
            "0",
            "--governance-port",
            "0",
            "--runtime-port",
            "0",
            "--no-workflow",
            "--no-raw",
        ),
        answers=[("Ctrl-C stops it.", signal.SIGINT)],
        columns=columns,
    )
    assert code == 0, screen
    assert "DEVELOPMENT" in screen
    assert str(user_home / ".sanctum" / "vault.sock") in screen
    assert "127.0.0.1:" in screen
    assert str(user_home / ".sanctum" / "governance.sock") in screen
    assert "http://127.0.0.1:" in screen
    assert str(user_home / ".sanctum" / "governance.token") in screen
    assert screen.rstrip().endswith("stopped")
    assert max(len(line) for line in screen.splitlines()) <= columns


def test_a_new_passphrase_is_asked_twice_and_an_old_one_once(
    terminal: Any, user_home: Path
) -> None:
    code, screen = terminal(
        user_home,
        *("dev", "--no-tcp", "--passphrase"),
        answers=[
            ("Passphrase of the vault: ", "open sesame\n"),
            ("again: ", "open sesame\n"),
            ("Ctrl-C stops it.", signal.SIGTERM),
        ],
    )
    assert code == 0, screen
    assert "sesame" not in screen
    code, screen = terminal(
        user_home,
        *("dev", "--no-tcp", "--passphrase"),
        answers=[
            ("Passphrase of the vault: ", "open sesame\n"),
            ("Ctrl-C stops it.", signal.SIGTERM),
        ],
    )
    assert code == 0, screen
    assert "again" not in screen


def test_the_seal_is_chosen_once(start_dev: Any, ostiary: Any, user_home: Path) -> None:
    start_dev("--no-tcp").stop()
    refused = ostiary("dev", "--no-tcp", "--passphrase-stdin", stdin=b"open sesame\n")
    assert refused.code == 1
    assert "sealed by its master.key" in refused.err
    other = str(user_home / "other")
    start_dev("--no-tcp", "--home", other, "--passphrase-stdin", stdin=b"open sesame\n").stop()
    refused = ostiary("dev", "--no-tcp", "--home", other, "--master-key")
    assert refused.code == 1
    assert "sealed by a passphrase" in refused.err
    wrong = ostiary(
        "dev", "--no-tcp", "--home", other, "--passphrase-stdin", stdin=b"open barley\n"
    )
    assert wrong.code == 1
    assert "passphrase is not this vault's" in wrong.err
    assert "barley" not in wrong.err


def test_a_variable_unlocks_a_vault_that_is_sealed_by_passphrase(
    start_dev: Any, user_home: Path
) -> None:
    other = str(user_home / "other")
    unattended = {"SANCTUM_PASSPHRASE": "open sesame"}
    start_dev("--no-tcp", "--home", other, "--passphrase-stdin", stdin=b"open sesame\n").stop()
    assert start_dev("--no-tcp", "--home", other, env=unattended).ready["locked"] is False
    # It makes no seal and is no reason to refuse one made by a file.
    dev = start_dev("--no-tcp", env=unattended)
    assert dev.ready["locked"] is False
    assert (dev.home / "master.key").exists()
