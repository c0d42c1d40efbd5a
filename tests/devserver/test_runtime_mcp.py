"""MCP servers of the runtime: added, connected, called, killed, removed."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("mcp", reason="the extra mcp is not installed")

from ostiary.devserver import RunningVault, running
from ostiary.devserver.options import RuntimeOptions
from ostiary.secret import Secret
from tests.devserver.api import Api
from tests.mcp.minimal import SERVER

TOOLS_SERVER = str(Path(__file__).parents[1] / "mcp" / "tools_server.py")
COMMAND = [sys.executable, TOOLS_SERVER]
NODE = Path(sys.prefix) / "node" / "node_modules" / ".bin"


@pytest.fixture(scope="module")
def vault() -> Iterator[RunningVault]:
    with running(tcp=False, runtime=RuntimeOptions(port=None)) as server:
        yield server


@pytest.fixture(scope="module")
def api(vault: RunningVault) -> Api:
    return Api(vault)


@pytest.fixture
def apart() -> Iterator[Api]:
    """A runtime of its own, for what others would see."""
    with running(tcp=False, runtime=RuntimeOptions(port=None)) as one:
        yield Api(one)


@pytest.fixture(scope="module")
def shared(api: Api) -> Iterator[str]:
    yield from added(api, "tools", COMMAND)


@pytest.fixture
def server(api: Api, shared: str) -> str:
    """The name of a server of Python that is connected, and to which nothing has happened."""
    if info(api, shared)["last_error"] is not None:
        api.post(f"mcp/servers/{shared}/disconnect")
        assert api.post(f"mcp/servers/{shared}/connect")[0] == 200
    return shared


def added(api: Api, name: str, command: list[str], **config: Any) -> Iterator[str]:
    config = {"name": name, "command": command, **config}
    assert api.post("mcp/servers", config) == (201, {"status": "added", "name": name})
    status, connected = api.post(f"mcp/servers/{name}/connect")
    assert (status, connected.get("status")) == (200, "connected"), connected
    yield name
    api.delete(f"mcp/servers/{name}")


def call(api: Api, server: str, tool: str, **more: Any) -> tuple[int, Any]:
    return api.post(f"mcp/servers/{server}/tools/call", {"name": tool, **more})


def info(api: Api, name: str) -> Any:
    status, found = api.get(f"mcp/servers/{name}")
    assert status == 200
    return found


def wait_for(api: Api, name: str, status: str, *, running: bool = False) -> Any:
    """Return the server's information once it has that status, and a process if it must."""
    for _ in range(1000):
        found = info(api, name)
        if found["status"] == status and (found["pid"] or not running):
            return found
        time.sleep(0.01)
    raise AssertionError(f"{name} never was {status}: {found}")


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


# --- from added to removed


def test_a_server_is_added_connected_listed_and_removed(api: Api) -> None:
    config = {"name": "one", "command": COMMAND, "env": {}, "cwd": None, "timeout_seconds": 30}
    assert api.post("mcp/servers", config)[0] == 201
    nothing = {
        "server_name": "one",
        "status": "disconnected",
        "pid": None,
        "connected_at": None,
        "last_error": None,
        "tools_count": 0,
        "resources_count": 0,
    }
    assert info(api, "one") == nothing
    assert nothing in api.get("mcp/servers")[1]
    assert api.get("mcp/tools?server=one")[1]["code"] == "MCP_NOT_CONNECTED"

    assert api.post("mcp/servers/one/connect") == (
        200,
        {"server_name": "one", "status": "connected", "tools_count": 12, "resources_count": 0},
    )
    connected = info(api, "one")
    assert connected["status"] == "connected"
    assert is_alive(connected["pid"])
    assert connected["connected_at"].endswith("Z")
    # Once more is no second process.
    assert api.post("mcp/servers/one/connect")[0] == 200
    assert info(api, "one")["pid"] == connected["pid"]

    tools = api.get("mcp/tools?server=one")[1]
    assert len(tools) == 12
    echo = next(tool for tool in tools if tool["name"] == "echo")
    assert echo["description"] == "Say it again."
    assert echo["server_name"] == "one"
    assert echo["schema"]["required"] == ["text"]
    assert not echo["verified"]
    assert len(bytes.fromhex(echo["verification_hash"])) == 32
    assert echo in api.get("mcp/tools")[1]
    # This server knows no resources at all; the method is optional.
    assert api.get("mcp/resources?server=one") == (200, [])

    assert api.post("mcp/servers/one/disconnect")[1]["status"] == "disconnected"
    assert not is_alive(connected["pid"])
    assert info(api, "one") == nothing
    assert api.post("mcp/servers/one/disconnect")[0] == 200
    assert api.delete("mcp/servers/one") == (200, {"name": "one", "status": "removed"})
    assert api.get("mcp/servers/one")[1]["code"] == "MCP_SERVER_NOT_FOUND"


def test_the_same_once_more_is_accepted_and_another_is_not(api: Api, server: str) -> None:
    same = {"name": server, "command": COMMAND}
    assert api.post("mcp/servers", same) == (200, {"status": "added", "name": server})
    other = {"name": server, "command": [*COMMAND, "--never-start"]}
    status, refused = api.post("mcp/servers", other)
    assert (status, refused["code"]) == (409, "MCP_SERVER_EXISTS")


@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("mcp/servers/none", "GET"),
        ("mcp/servers/none", "DELETE"),
        ("mcp/servers/none/connect", "POST"),
        ("mcp/servers/none/disconnect", "POST"),
        ("mcp/servers/none/tools/call", "POST"),
        ("mcp/servers/none/resources/read?uri=a:b", "GET"),
        ("mcp/tools?server=none", "GET"),
        ("mcp/resources?server=none", "GET"),
    ],
)
def test_what_is_not_there_is_told(api: Api, path: str, method: str) -> None:
    status, refused = api.ask(method, path)
    assert (status, refused["code"]) == (404, "MCP_SERVER_NOT_FOUND")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": "a/b"}, "name"),
        ({"name": ""}, "name"),
        ({"command": []}, "command"),
        ({"command": [""]}, "command"),
        ({"command": "npx"}, "command"),
        ({"command": ["a", "b\0c"]}, "command"),
        ({"env": {"A=B": "1"}}, "env"),
        ({"env": {"A": "\0"}}, "env"),
        ({"cwd": "relative"}, "cwd"),
        ({"timeout_seconds": 0}, "timeout_seconds"),
    ],
    ids=str,
)
def test_what_is_no_server_is_refused(api: Api, change: dict[str, Any], field: str) -> None:
    status, refused = api.post("mcp/servers", {"name": "x", "command": ["true"], **change})
    assert status == 422
    assert refused["details"]["field"].startswith(field)


# --- calls


def test_a_tool_is_called(api: Api, server: str) -> None:
    said = call(api, server, "echo", arguments={"text": "hello"})
    assert said == (200, {"content": [{"type": "text", "text": "hello"}], "is_error": False})
    added = call(api, server, "add", arguments={"a": 2, "b": 3})[1]
    assert added["structured_content"] == {"sum": 5}
    assert call(api, server, "fail")[1]["is_error"] is True
    assert call(api, server, "none")[1]["code"] == "MCP_TOOL_NOT_FOUND"
    status, refused = call(api, server, "break_schema")
    assert (status, refused["code"]) == (502, "MCP_SERVER_FAILED")


def test_a_call_for_an_agent_is_a_task_of_its(api: Api, server: str) -> None:
    api.post("agents", {"id": "caller", "name": "Caller"})
    call(api, server, "echo", arguments={"text": "x"}, agent_id="caller")
    call(api, server, "none", agent_id="caller")
    metrics = api.get("agents/caller/metrics")[1]
    assert (metrics["tasks_completed"], metrics["tasks_failed"]) == (1, 1)
    assert call(api, server, "echo", agent_id="nobody")[1]["code"] == "AGENT_NOT_FOUND"


def test_a_tool_that_hangs_is_given_up(api: Api, server: str) -> None:
    status, refused = call(api, server, "hang", timeout_seconds=0.2)
    assert (status, refused["code"]) == (504, "MCP_SERVER_TIMEOUT")
    # The server itself goes on.
    assert call(api, server, "echo", arguments={"text": "x"})[0] == 200
    assert call(api, server, "echo", timeout_seconds=0)[0] == 422


def test_calls_and_starts_are_on_the_vaults_record(vault: RunningVault, api: Api) -> None:
    for _ in added(api, "recorded", COMMAND):
        call(api, "recorded", "echo", arguments={"text": "not for the record"})
    kinds = [one.event_type for one in vault.admin.audit(limit=20)]
    assert kinds[-4:] == [f"runtime.mcp.{word}" for word in ("add", "connect", "call", "remove")]
    assert "not for the record" not in str(vault.admin.audit(limit=20))


def test_a_tool_that_was_reviewed_and_signed_is_marked(apart: Api) -> None:
    api, server = apart, next(added(apart, "tools", COMMAND))

    def tools() -> dict[str, Any]:
        return {tool["name"]: tool for tool in api.get(f"mcp/tools?server={server}")[1]}

    offered = tools()
    for name, change in (("echo", {}), ("count", {"description": "Another one."})):
        tool = {part: offered[name][part] for part in ("name", "description", "schema")}
        tool = {**tool, "description": tool["description"] or "", "provider": {"name": "us"}}
        body = {"tool": {**tool, **change}, "submitted_by": "dev@example.com"}
        review_id = api.post("tool-review/sessions", body)[1]["review_id"]
        while api.get(f"tool-review/sessions/{review_id}")[1]["status"] != "pending_review":
            time.sleep(0.005)
        path = f"tool-review/sessions/{review_id}/decisions"
        assert api.post(path, {"decision": "approve", "reviewer_id": "us"})[0] == 200
        assert not tools()[name]["verified"]
        key = api.get("tool-review/keys")[1][0]["key_id"]
        signing = {"review_id": review_id, "signing_key_id": key}
        assert api.post("tool-review/sign", signing)[0] == 200
    # The other one has changed since somebody looked at it.
    assert [tool["name"] for tool in tools().values() if tool["verified"]] == ["echo"]


# --- crashes


def test_a_killed_server_is_back_with_the_next_call(api: Api, server: str) -> None:
    before = info(api, server)
    os.kill(before["pid"], signal.SIGKILL)
    # Whether the death has been noticed yet or not, a listing does not fail for it.
    assert len(api.get(f"mcp/tools?server={server}")[1]) == 12
    after = wait_for(api, server, "connected")
    assert after["pid"] not in {None, before["pid"]}
    assert "SIGKILL" in after["last_error"]


def test_a_killed_server_has_the_status_error_until_it_is_called(api: Api, server: str) -> None:
    os.kill(info(api, server)["pid"], signal.SIGKILL)
    dead = wait_for(api, server, "error")
    assert dead["pid"] is None
    assert "SIGKILL" in dead["last_error"]
    assert api.get("metrics")[0] in {200, 404}
    assert call(api, server, "echo", arguments={"text": "back"})[0] == 200
    # Only a new connection makes the past forgotten.
    assert "SIGKILL" in info(api, server)["last_error"]
    assert api.post(f"mcp/servers/{server}/disconnect")[0] == 200
    assert api.post(f"mcp/servers/{server}/connect")[0] == 200
    assert info(api, server)["last_error"] is None


DIES = """
def call(name):
    with open("calls", "a") as file:
        file.write(f"{name} ")
    print("this server gives up", file=sys.stderr, flush=True)
    os._exit(3)

serve(call)
"""


def test_a_tool_that_kills_its_server_is_not_called_twice(api: Api, tmp_path: Path) -> None:
    command = [sys.executable, "-c", SERVER + DIES]
    for name in added(api, "dying", command, cwd=str(tmp_path)):
        status, refused = call(api, name, "t")
        assert (status, refused["code"]) == (502, "MCP_SERVER_FAILED")
        assert "status 3" in refused["error"]
        dead = wait_for(api, name, "error")
        assert "status 3; its last words: this server gives up" in dead["last_error"]
        assert (tmp_path / "calls").read_text() == "t "
        # The next call is made again, of another process.
        assert call(api, name, "t")[0] == 502
        assert (tmp_path / "calls").read_text() == "t t "


ENDS = "raise SystemExit('this server refuses to start')"
WAITS = "import sys; sys.stdin.read()"


@pytest.mark.parametrize(
    ("command", "timeout", "status", "said"),
    [
        ([sys.executable, "-c", ENDS], 30, 502, "status 1; its last words: this server refuses"),
        (["/nonexistent/program"], 30, 502, "No such file"),
        ([sys.executable, "-c", WAITS], 1, 504, "1 seconds"),
    ],
    ids=["ends", "missing", "mute"],
)
def test_a_server_that_does_not_start_says_why(
    api: Api, command: list[str], timeout: int, status: int, said: str
) -> None:
    config = {"name": f"bad-{status}-{timeout}", "command": command, "timeout_seconds": timeout}
    path = f"mcp/servers/{config['name']}"
    assert api.post("mcp/servers", config)[0] == 201
    try:
        found, refused = api.post(f"{path}/connect")
        assert found == status
        assert said in refused["error"]
        failed = info(api, str(config["name"]))
        assert failed["status"] == "error"
        assert said in failed["last_error"]
        assert failed["pid"] is None
        # A second attempt is made at once, not put off.
        assert api.post(f"{path}/connect")[0] == status
    finally:
        assert api.delete(path)[0] == 200


@pytest.mark.parametrize("ending", ["disconnect", "remove"])
def test_a_start_may_be_broken_off(api: Api, ending: str) -> None:
    name = f"slow-{ending}"
    config = {"name": name, "command": [sys.executable, "-c", WAITS], "timeout_seconds": 60}
    api.post("mcp/servers", config)
    answers: list[tuple[int, Any]] = []
    connecting = threading.Thread(
        target=lambda: answers.append(api.post(f"mcp/servers/{name}/connect"))
    )
    connecting.start()
    pid = wait_for(api, name, "connecting", running=True)["pid"]
    if ending == "disconnect":
        assert api.post(f"mcp/servers/{name}/disconnect")[0] == 200
        assert info(api, name)["status"] == "disconnected"
    assert api.delete(f"mcp/servers/{name}")[0] == 200
    connecting.join()
    ((status, refused),) = answers
    assert (status, refused["code"]) == (503, "MCP_SERVER_UNAVAILABLE")
    assert not is_alive(pid)


def test_one_dead_server_does_not_hide_the_others(api: Api, server: str, tmp_path: Path) -> None:
    program = tmp_path / "once.py"
    program.write_text(Path(TOOLS_SERVER).read_text("utf-8"), "utf-8")
    for name in added(api, "once", [sys.executable, str(program)]):
        program.unlink()
        os.kill(info(api, name)["pid"], signal.SIGKILL)
        wait_for(api, name, "error")
        tools = api.get("mcp/tools")[1]
        assert {tool["server_name"] for tool in tools} == {server}
        assert info(api, name)["status"] == "error"


# --- what a server sees, and what is kept of it


def test_a_server_sees_its_variables_and_not_ours(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_SECRET_OF_OURS", "1")
    for name in added(api, "env", COMMAND, env={"GIVEN": "value"}):
        seen = call(api, name, "variables")[1]["content"][0]["text"].split()
        assert {"GIVEN", "PATH", "npm_config_yes"} <= set(seen)
        assert "A_SECRET_OF_OURS" not in seen


def test_the_value_of_a_variable_is_shown_nowhere(vault: RunningVault, api: Api) -> None:
    secret = "hunter2-hunter2"
    command = [sys.executable, "-c", "import os; raise SystemExit(os.environ['TOKEN'])"]
    config = {"name": "leaky", "command": command, "env": {"TOKEN": secret}}
    api.post("mcp/servers", config)
    refused = api.post("mcp/servers/leaky/connect")[1]
    assert "[redacted]" in refused["error"]
    assert secret not in str([refused, info(api, "leaky"), api.get("mcp/servers")])
    for file in vault.home.rglob("*"):
        if file.is_file() and not file.name.endswith(".key"):
            assert secret.encode() not in file.read_bytes(), file
    # It is kept all the same: the identical configuration is recognised.
    assert api.post("mcp/servers", config)[0] == 200
    assert api.post("mcp/servers", {**config, "env": {"TOKEN": "other"}})[0] == 409


def test_servers_outlive_the_runtime_and_their_processes_do_not(tmp_path: Path) -> None:
    options = {"tcp": False, "runtime": RuntimeOptions(port=None)}
    with running(tmp_path, **options) as vault:
        api = Api(vault)
        api.post("mcp/servers", {"name": "kept", "command": COMMAND, "env": {"A": "b"}})
        api.post("mcp/servers/kept/connect")
        pid = info(api, "kept")["pid"]
        assert is_alive(pid)
    assert not is_alive(pid)
    with running(tmp_path, **options) as vault:
        api = Api(vault)
        assert info(api, "kept")["status"] == "disconnected"
        assert api.post("mcp/servers/kept/connect")[0] == 200


def test_without_the_extra_it_says_what_to_install(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "ostiary.devserver.runtime.mcp.endpoints.importlib.util",
        SimpleNamespace(find_spec=lambda name: None),
    )
    api.post("mcp/servers", {"name": "bare", "command": COMMAND})
    status, refused = api.post("mcp/servers/bare/connect")
    assert (status, refused["code"]) == (501, "MCP_NOT_INSTALLED")
    assert "pip install 'ostiary[mcp]'" in refused["error"]
    assert api.delete("mcp/servers/bare")[0] == 200


def test_while_the_vault_is_locked_no_variable_can_be_kept_or_read(tmp_path: Path) -> None:
    options: dict[str, Any] = {"tcp": False, "runtime": RuntimeOptions(port=None)}
    with running(tmp_path, passphrase=Secret("a long passphrase"), **options) as vault:
        api = Api(vault)
        config = {"name": "kept", "command": COMMAND, "env": {"A": "b"}}
        assert api.post("mcp/servers", config)[0] == 201
        vault.admin.lock()
        for answer in (
            api.post("mcp/servers/kept/connect"),
            api.post("mcp/servers", {**config, "name": "new"}),
        ):
            assert (answer[0], answer[1]["code"]) == (503, "VAULT_LOCKED")
        # Without any, the vault has nothing to do with it.
        assert api.post("mcp/servers", {"name": "bare", "command": COMMAND})[0] == 201


# --- without a key


def test_without_a_key_only_listed_commands_start(tmp_path: Path) -> None:
    allowed = RuntimeOptions(port=None, mcp_allow=(tuple(COMMAND),))
    with running(tmp_path, tcp=False, demo=True, runtime=allowed) as vault:
        api = Api(vault)
        guides = ["npx", "@modelcontextprotocol/server-filesystem", "/tmp"]
        guides_env = {"NODE_ENV": "production"}
        good = {"name": "guide", "command": guides, "env": guides_env, "timeout_seconds": 30}
        assert api.post("mcp/servers", good)[0] == 201
        assert api.post("mcp/servers", {"name": "ours", "command": COMMAND})[0] == 201
        for number, change in enumerate(
            (
                {"command": ["sh", "-c", "id"]},
                {"command": [*guides[:2], "/"]},
                {"command": [*COMMAND, "--never-start"]},
                {"env": {"NODE_OPTIONS": "--require /tmp/x.js"}},
                {"env": {"PATH": "/tmp"}},
                {"cwd": "/tmp"},
            )
        ):
            status, refused = api.post("mcp/servers", {**good, "name": f"n{number}", **change})
            assert (status, refused["code"]) == (403, "MCP_COMMAND_REFUSED")


def test_what_was_added_with_a_key_does_not_start_without(tmp_path: Path) -> None:
    with running(tmp_path, tcp=False, runtime=RuntimeOptions(port=None)) as vault:
        Api(vault).post("mcp/servers", {"name": "any", "command": COMMAND})
    with running(tmp_path, tcp=False, demo=True, runtime=RuntimeOptions(port=None)) as vault:
        status, refused = Api(vault).post("mcp/servers/any/connect")
        assert (status, refused["code"]) == (403, "MCP_COMMAND_REFUSED")


# --- servers of others, from npm


def command_of(name: str, *arguments: str) -> list[str]:
    """Return a server's command as `make test` installed it."""
    program = NODE / name
    if shutil.which("node") is None or not program.exists():
        pytest.skip(f"{name} is not installed: `make test` installs it where there is npm")
    return [str(program), *arguments]


@pytest.mark.timeout(120)
def test_the_filesystem_server_of_npm(api: Api, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("written by the test", "utf-8")
    command = command_of("mcp-server-filesystem", str(tmp_path))
    for name in added(api, "files", command, env={"NODE_ENV": "production"}):
        assert {"read_text_file", "list_directory"} <= {
            tool["name"] for tool in api.get(f"mcp/tools?server={name}")[1]
        }
        assert api.get(f"mcp/resources?server={name}") == (200, [])
        note = {"path": str(tmp_path / "note.txt")}
        said = call(api, name, "read_text_file", arguments=note)[1]
        assert said["content"][0]["text"] == "written by the test"
        outside = call(api, name, "read_text_file", arguments={"path": "/etc/hostname"})[1]
        assert outside["is_error"] is True

        os.kill(info(api, name)["pid"], signal.SIGKILL)
        wait_for(api, name, "error")
        again = call(api, name, "read_text_file", arguments=note)[1]
        assert again["content"][0]["text"] == "written by the test"
        assert info(api, name)["status"] == "connected"


@pytest.mark.timeout(120)
def test_the_reference_server_of_npm(api: Api) -> None:
    for name in added(api, "everything", command_of("mcp-server-everything")):
        shown = info(api, name)
        assert shown["tools_count"] > 5
        assert shown["resources_count"] > 0
        resource = api.get(f"mcp/resources?server={name}")[1][0]
        assert resource["server_name"] == name
        read = api.get(f"mcp/servers/{name}/resources/read?uri={resource['uri']}")[1]
        assert read["contents"][0]["uri"] == resource["uri"]
        assert read["contents"][0].get("text") or read["contents"][0].get("blob")
        status, refused = api.get(f"mcp/servers/{name}/resources/read?uri=demo://nothing/here")
        assert (status, refused["code"]) == (422, "MCP_REFUSED")
        image = call(api, name, "get-tiny-image")[1]["content"]
        assert any(block["type"] == "image" and block["mimeType"] for block in image)
