"""Tools: how functions become some, where they are found, and those that come along."""

from __future__ import annotations

import http.server
import json
import os
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ostiary.devserver.faults import DevserverError
from ostiary.devserver.workflow.tools import (
    Registry,
    ToolCall,
    ToolError,
    registry,
    shipped,
    tool,
)
from ostiary.devserver.workflow.tools.call import is_coroutine_function, made
from ostiary.workflow.enums import RiskTier
from ostiary.workflow.models import TaskSpec
from tests.devserver.workflow_stage import Stage, chain, task, workflow

TASK = TaskSpec(id="a", name="a", type="action")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    found = tmp_path / "files"
    found.mkdir()
    (tmp_path / "outside.json").write_text('"secret"')
    return found


def call(name: str, files: Path | None, inputs: dict[str, Any] | None = None, **upstream: Any):
    tools = Registry(shipped(frozenset({"127.0.0.1", "[::1]", "nowhere.invalid"})))
    found = tools.find(name)
    assert found is not None
    return found.run(
        ToolCall(
            inputs=inputs or {},
            context={},
            upstream=upstream,
            task=TASK,
            workflow_id="w",
            idempotency_key="k",
            attempt=1,
            cancelled=threading.Event(),
            sandbox=files,
        )
    )


# -- the guide's chain ------------------------------------------------------------


def test_the_guide_s_four_tasks_do_their_work_on_files(run, tmp_path: Path) -> None:
    async def main() -> None:
        stage = Stage(tmp_path)
        for one in shipped():
            stage.tools.add(one)
        rows = [{"name": "Ada", "balance": 5}, {"name": "Bo", "balance": -3}]
        (stage.sandbox / "input.json").write_text(json.dumps({"rows": rows}))
        (stage.sandbox / "schema.json").write_text(
            json.dumps({"type": "object", "required": ["rows"]})
        )
        (stage.sandbox / "transform.jmespath").write_text("rows[?balance > `0`].name\n")
        spec = workflow(
            task("read", "read_file", risk_tier="LOW"),
            task("check", "validate_schema", risk_tier="LOW"),
            task("turn", "transform_data", risk_tier="MEDIUM"),
            task("save", "write_file", risk_tier="MEDIUM"),
            after=chain("read", "check", "turn", "save"),
        )
        async with stage.open():
            result = await stage.execute(spec)
            assert result["status"] == "success", result
            assert json.loads((stage.sandbox / "output.json").read_text()) == ["Ada"]
            about = result["task_results"]["save"]["result"]
            assert about["path"] == "output.json"
            assert about["bytes"] == (stage.sandbox / "output.json").stat().st_size
            # A second time, and in play.
            assert (await stage.execute(spec, rerun=True))["status"] == "success"
            (stage.sandbox / "output.json").unlink()
            played = workflow(
                task("save", "write_file", inputs={"content": 1}, sandbox_config={"enabled": True}),
                id="played",
            )
            result = await stage.execute(played)
            assert result["task_results"]["save"]["result"]["simulated"] is True
            assert not (stage.sandbox / "output.json").exists()

    run(main())


# -- files -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "inputs", "read"),
    [
        ("x.json", b'{"a": [1]}', {}, {"a": [1]}),
        ("x.txt", "Grüße".encode(), {}, "Grüße"),
        ("x.json", b"[1]", {"format": "text"}, "[1]"),
        ("x.bin", b"\x00\xff", {"format": "base64"}, "AP8="),
    ],
)
def test_a_file_is_read_in_its_form(files: Path, name, content, inputs, read) -> None:
    (files / name).write_bytes(content)
    assert call("read_file", files, {"path": name, **inputs}) == read


@pytest.mark.parametrize(
    ("content", "inputs", "told"),
    [
        (b"{", {"path": "x.json"}, "is no JSON"),
        (b"[" * 100_000, {"path": "x.json"}, "is no JSON"),
        (b"\xff", {"path": "x.json", "format": "text"}, "no text in UTF-8"),
        (b"", {"path": "x.json", "format": "xml"}, "format is json"),
        (b"", {"path": "y.json"}, "no such file"),
        (b"x" * (4 * 1024 * 1024 + 1), {"path": "x.json"}, "larger than"),
    ],
)
def test_a_file_that_cannot_be_read_is_told(files: Path, content, inputs, told: str) -> None:
    (files / "x.json").write_bytes(content)
    with pytest.raises(ToolError, match=told) as caught:
        call("read_file", files, inputs)
    assert str(files) not in str(caught.value)


WAYS_OUT = [
    "../outside.json", "/etc/passwd", "a/../../outside.json", "..", ".", "", "a//b", "a/./b",
    "..\\outside.json", "x\0y", "link.json", "linked/outside.json", "/", "a" * 2000, 7, None,
    ["input.json"], "/".join("a" * 40), "pipe", "directory",
]  # fmt: skip


@pytest.mark.parametrize("path", WAYS_OUT, ids=[str(n) for n in range(len(WAYS_OUT))])
def test_no_path_leads_out(files: Path, path: Any) -> None:
    (files / "link.json").symlink_to(files.parent / "outside.json")
    (files / "linked").symlink_to(files.parent)
    (files / "directory").mkdir()
    os.mkfifo(files / "pipe")
    before = sorted(str(one) for one in files.parent.rglob("*"))
    with pytest.raises(ToolError):
        call("read_file", files, {"path": path})
    with pytest.raises(ToolError):
        call("write_file", files, {"path": path, "content": "mine"})
    assert (files.parent / "outside.json").read_text() == '"secret"'
    # But for directories on the way, which are inside.
    after = sorted(str(one) for one in files.parent.rglob("*"))
    assert [one for one in after if one not in before and not Path(one).is_dir()] == []
    assert (files / "link.json").is_symlink()


def test_a_file_is_written_whole_below_new_directories(files: Path) -> None:
    about = call("write_file", files, {"path": "a/b/c.txt"}, before="text")
    assert (files / "a/b/c.txt").read_text() == "text"
    assert about["bytes"] == 4
    assert (files / "a/b/c.txt").stat().st_mode & 0o077 == 0
    call("write_file", files, {"path": "a/b/c.txt", "content": {"n": 1}})
    assert json.loads((files / "a/b/c.txt").read_text()) == {"n": 1}
    assert [one.name for one in (files / "a/b").iterdir()] == ["c.txt"]
    with pytest.raises(ToolError, match="at most"):
        call("write_file", files, {"content": "x" * (4 * 1024 * 1024 + 1)})
    with pytest.raises(ToolError, match="wait for a task"):
        call("write_file", files)
    call("write_file", files, one=1, two=2)
    assert json.loads((files / "output.json").read_text()) == {"one": 1, "two": 2}


def test_without_a_sandbox_there_are_no_files() -> None:
    with pytest.raises(ToolError, match="no sandbox"):
        call("read_file", None)


# -- data --------------------------------------------------------------------------

SCHEMA = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}


def test_data_that_keeps_its_schema_goes_on(files: Path) -> None:
    assert call("validate_schema", files, {"schema": SCHEMA}, read={"n": 1}) == {"n": 1}
    assert call("validate_schema", files, {"schema": SCHEMA, "data": {"n": 2}}) == {"n": 2}
    (files / "mine.json").write_text(json.dumps(SCHEMA))
    assert call("validate_schema", files, {"schema_path": "mine.json"}, read={"n": 3}) == {"n": 3}


@pytest.mark.parametrize(
    ("schema", "data", "told", "code"),
    [
        (SCHEMA, {}, "'n' is a required property", "MISSING_DATA"),
        (SCHEMA, {"n": "x"}, r"\$\.n 'x' is not of type", "CONFLICT"),
        ({"type": "nonsense"}, 1, "the schema is none", "TOOL_ERROR"),
        ({"$ref": "https://example.com/schema.json"}, 1, "cannot be used", "TOOL_ERROR"),
        ({"$ref": "file:///etc/passwd"}, 1, "cannot be used", "TOOL_ERROR"),
        ({"$ref": "#"}, 1, "nested too deeply", "TOOL_ERROR"),
        ([], 1, "a schema is an object", "TOOL_ERROR"),
    ],
    ids=["missing", "type", "no-schema", "remote", "file", "endless", "list"],
)
def test_data_that_does_not_is_told(files: Path, schema, data, told: str, code: str) -> None:
    with pytest.raises(ToolError, match=told) as caught:
        call("validate_schema", files, {"schema": schema, "data": data})
    assert caught.value.code == code
    assert not caught.value.retry


def test_data_is_transformed(files: Path) -> None:
    rows = [{"n": 1}, {"n": 2}]
    assert call("transform_data", files, {"expression": "[].n | max(@)"}, read=rows) == 2
    assert call("transform_data", files, {"expression": "two", "data": {"two": 2}}) == 2
    for wrong in ("[", "nope(@)", "max(@)", 7, "(" * 5000, "x" * 10_001):
        with pytest.raises(ToolError):
            call("transform_data", files, {"expression": wrong}, read="text")
    with pytest.raises(ToolError, match=r"transform\.jmespath: no such file"):
        call("transform_data", files, read=1)


# -- hosts -------------------------------------------------------------------------


class Host(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        code = int(self.path[1:]) if self.path[1:].isdigit() else 200
        body = json.dumps({"path": self.path, "x": self.headers.get("X-Mine")}).encode()
        self.send_response(code)
        kind = "text/plain" if self.path == "/text" else "application/json"
        self.send_header("Content-Type", kind)
        if code == 302:
            self.send_header("Location", "http://169.254.169.254/")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def host() -> Iterator[str]:
    server = http.server.HTTPServer(("127.0.0.1", 0), Host)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_allowed_host_is_asked(files: Path, host: str) -> None:
    answer = call("http_get", files, {"url": f"{host}/rows", "headers": {"X-Mine": "1"}})
    assert answer["status"] == 200
    assert answer["body"] == {"path": "/rows", "x": "1"}
    assert isinstance(call("http_get", files, {"url": f"{host}/text"})["body"], str)


@pytest.mark.parametrize(("code", "again"), [(404, False), (503, True), (429, True), (302, False)])
def test_what_a_host_refuses_is_an_error(files: Path, host: str, code: int, again: bool) -> None:
    with pytest.raises(ToolError, match=f"answered {code}") as caught:
        call("http_get", files, {"url": f"{host}/{code}"})
    assert caught.value.retry is again


def test_a_name_that_leads_inside_is_not_enough(
    files: Path, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = int(host.rpartition(":")[2])
    inside = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: inside)
    with pytest.raises(ToolError, match="not a public address") as caught:
        call("http_get", files, {"url": f"http://nowhere.invalid:{port}/"})
    assert not caught.value.retry


@pytest.mark.parametrize(
    ("inputs", "told"),
    [
        ({"url": "http://169.254.169.254/latest"}, "no host that this server may reach"),
        ({"url": "http://localhost/"}, "no host that this server may reach"),
        ({"url": "http://127.0.0.1.example.com/"}, "no host that this server may reach"),
        ({"url": "http://user@127.0.0.1/"}, "user name"),
        ({"url": "file:///etc/passwd"}, None),
        ({"url": 7}, "inputs.url"),
        ({}, "inputs.url"),
        ({"url": "http://nowhere.invalid/"}, "cannot be resolved"),
        ({"url": "http://127.0.0.1/", "headers": {"Host": "x"}}, "not yours to set"),
        ({"url": "http://127.0.0.1/", "headers": {"a": "b\r\nc: d"}}, "cannot be sent"),
        ({"url": "http://127.0.0.1/", "headers": []}, None),
        ({"url": "http://127.0.0.1/", "headers": [1]}, "headers maps"),
    ],
    ids=[str(n) for n in range(12)],
)
def test_no_other_host_is(files: Path, inputs: dict[str, Any], told: str | None) -> None:
    with pytest.raises(ToolError, match=told):
        call("http_get", files, inputs)


# -- how functions become tools ----------------------------------------------------


def test_a_function_is_marked_and_stays_itself() -> None:
    @tool
    def plain(call: ToolCall) -> int:
        """Do it.

        In some way.
        """
        return 1

    @tool("charge", risk="HIGH", simulate=lambda _: "played")
    async def other(call: ToolCall) -> int:
        return 2

    tools = Registry()
    tools.add(plain)
    tools.add(other)
    tools.add(lambda _: 3, "third")
    tools.add(plain, "again")
    assert tools.names() == ["again", "charge", "plain", "third"]
    assert tools.find("plain").description == "Do it."
    assert tools.find("charge").risk == RiskTier.HIGH
    assert plain(None) == 1
    assert not is_coroutine_function(plain)
    assert is_coroutine_function(other)
    for wrong in ("", "x" * 129, "a\nb"):
        with pytest.raises(ValueError, match="name"):
            made(wrong, plain)
    with pytest.raises(ValueError, match="risk"):
        tool("x", risk="GRAVE")(lambda _: 1)


def test_tools_are_found_in_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "wf_e_marked.py").write_text(
        "from ostiary.devserver.workflow.tools import tool\n"
        "@tool('marked', risk='MEDIUM')\ndef f(call): return 1\n"
        "def not_one(call): return 2\n"
    )
    (tmp_path / "wf_e_mapped.py").write_text(
        "from wf_e_marked import f\nTOOLS = {'mapped': lambda call: 3}\n"
    )
    (tmp_path / "wf_e_empty.py").write_text("x = 1\n")
    (tmp_path / "wf_e_broken.py").write_text("import nothing_of_that_name\n")
    (tmp_path / "wf_e_wrong.py").write_text("TOOLS = {'a': 1}\n")
    tools = Registry()
    tools.load(["wf_e_mapped"], directory=tmp_path)
    assert tools.names() == ["mapped"]
    tools.load(["wf_e_marked"], directory=tmp_path)
    assert tools.names() == ["mapped", "marked"]
    assert tools.find("marked").risk == "MEDIUM"
    for name, told in (
        ("wf_e_empty", "has no tools"),
        ("wf_e_broken", "nothing_of_that_name"),
        ("wf_e_wrong", "maps names to functions"),
        ("wf_e_absent", "cannot be imported"),
    ):
        with pytest.raises(DevserverError, match=told):
            tools.load([name], directory=tmp_path)


def test_tools_are_found_in_installed_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    class Point:
        def __init__(self, name: str, found: Any) -> None:
            self.name, self.found = name, found

        def load(self) -> Any:
            if isinstance(self.found, Exception):
                raise self.found
            return self.found

    @tool("marked")
    def marked(call: ToolCall) -> int:
        return 1

    points = [Point("plain", lambda call: 2), Point("x", marked), Point("y", {"many": marked})]
    monkeypatch.setattr(registry, "entry_points", lambda group: points if group else [])
    tools = Registry()
    tools.load()
    assert tools.names() == ["many", "marked", "plain"]
    points.append(Point("bad", ImportError("no such thing")))
    with pytest.raises(DevserverError, match="'bad' of an installed package"):
        tools.load()
