"""The guide's two examples against `ostiary dev --demo`, with the import line changed.

The names, the default places and the calls are the guide's; everything else is ours.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.ports import lent

PATIENCE = 60
OPENAI_KEY = "sk-demo-not-a-real-key-openai"

Start = Callable[..., Path]
VAULT_ALONE = ("--no-governance", "--no-runtime", "--no-workflow")


def environment(home: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("OSTIARY_", "SANCTUM_"))}
    return kept | {"HOME": str(home)}


@pytest.fixture
def user_home() -> Generator[Path, None, None]:
    # Short: the path of a socket below it has about 100 bytes.
    path = Path(tempfile.mkdtemp(prefix="og-", dir="/tmp")).resolve()
    yield path
    shutil.rmtree(path)


@contextmanager
def _dev(user_home: Path, *arguments: str) -> Generator[Path, None, None]:
    process = subprocess.Popen(
        [sys.executable, "-m", "ostiary", "dev", "--demo", "--json", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env=environment(user_home),
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, "`ostiary dev --demo` did not start"
        yield Path(json.loads(line)["socket"])
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE)


@pytest.fixture
def dev(user_home: Path) -> Generator[Start, None, None]:
    """Start `ostiary dev --demo` with more arguments; returns its socket."""
    with ExitStack() as stack:
        yield lambda *arguments: stack.enter_context(_dev(user_home, *arguments))


def guide(user_home: Path, program: str) -> object:
    """Run an example as its reader would, in a process of its own; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        env=environment(user_home),
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


QUICK_START = """
import json
from ostiary.vault import SanctumClient

with SanctumClient("my-agent") as client:
    api_key = client.retrieve("openai/api_key")
    creds = client.list()
    result = client.use("openai/api_key", "http_header")

print(json.dumps([api_key, [c["path"] for c in creds], result]))
"""


def test_quick_start(dev: Start, user_home: Path) -> None:
    dev("--no-tcp")
    api_key, paths, result = guide(user_home, QUICK_START)  # type: ignore[misc]
    assert api_key == OPENAI_KEY
    assert "openai/api_key" in paths
    assert result["header_name"] == "Authorization"
    assert result["header_value"] == f"Bearer {OPENAI_KEY}"


CONNECTING = """
import json
from ostiary.vault import SanctumClient

client = SanctumClient("my-agent"{where})
client.connect()
try:
    print(json.dumps(client.retrieve("openai/api_key")))
finally:
    client.close()
"""


def test_connecting_to_the_default_socket(dev: Start, user_home: Path) -> None:
    dev("--no-tcp")
    assert guide(user_home, CONNECTING.format(where="")) == OPENAI_KEY


def test_connecting_to_a_socket_elsewhere(dev: Start, user_home: Path) -> None:
    # The key stays in ~/.sanctum/keys, where the guide has it; only the socket is elsewhere.
    elsewhere = user_home / "elsewhere"
    path = dev("--no-tcp", "--home", str(elsewhere))
    keys = user_home / ".sanctum" / "keys"
    keys.mkdir(parents=True, mode=0o700)
    shutil.copy(elsewhere / "keys" / "my-agent.key", keys)
    where = f", socket_path={str(path)!r}"
    assert guide(user_home, CONNECTING.format(where=where)) == OPENAI_KEY


def test_connecting_over_tcp(user_home: Path) -> None:
    # Where one of the two that it takes is not to be had, any other stands for the guide's.
    with (
        lent(7600, 8200) as free,
        _dev(user_home, *VAULT_ALONE, *(() if free else ("--port", "0"))) as path,
    ):
        ports = _tcp_ports(path)
        assert not free or ports == [7600, 8200]
        where = f', host="127.0.0.1", port={ports[-1]}'
        assert guide(user_home, CONNECTING.format(where=where)) == OPENAI_KEY


@pytest.mark.parametrize("target", ["{socket!r}", '("127.0.0.1", {port})', None])
def test_every_target_that_connect_takes(dev: Start, user_home: Path, target: str | None) -> None:
    process_socket = dev("--port", "0", *VAULT_ALONE)
    text = target or '{{"host": "127.0.0.1", "port": {port}}}'
    (port,) = _tcp_ports(process_socket)
    program = CONNECTING.format(where="").replace(
        "client.connect()", f"client.connect({text.format(socket=str(process_socket), port=port)})"
    )
    assert guide(user_home, program) == OPENAI_KEY


def _tcp_ports(path: Path) -> list[int]:
    from ostiary.devserver.admin import AdminClient

    with AdminClient(path) as admin:
        addresses = admin.status().addresses
    return [int(one.rpartition(":")[2]) for one in addresses if one.startswith("tcp://")]
