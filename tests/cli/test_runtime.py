"""`ostiary runtime`: what is printed, what is asked, and with which code it ends.

Most commands run in this process, against one embedded runtime; what needs a terminal, a
signal or a stream of its own runs as its users have it.
"""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from ostiary.cli import main
from ostiary.devserver import RuntimeOptions, running
from ostiary.runtime import RuntimeClient
from tests.http.peer import HttpPeer, answer, script

from .conftest import OSTIARY, PATIENCE, Done, environment

Run = Callable[..., Done]

TOOL = {
    "name": "adder",
    "description": "Adds numbers",
    "schema": {"type": "object", "properties": {"a": {"type": "number"}}, "required": ["a"]},
    "provider": {"name": "acme"},
}


@pytest.fixture(scope="module")
def server() -> Generator[Any, None, None]:
    with running(demo=True, runtime=RuntimeOptions(port=None)) as one:
        yield one


@pytest.fixture(scope="module")
def client(server: Any) -> Generator[RuntimeClient, None, None]:
    with RuntimeClient(None, server.runtime_unix_url) as one:
        yield one


@pytest.fixture(scope="module")
def guarded() -> Generator[Any, None, None]:
    """A runtime that asks for its token."""
    with running(tcp=False, runtime=RuntimeOptions(port=None)) as one:
        assert one.runtime_unix_url, "it is started by being asked for"
        yield one


class Piped(io.TextIOWrapper):
    """A stdin that is no terminal."""


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes], tmp_path: Path
) -> Run:
    """Run `ostiary ...` in this process."""
    for name in [n for n in os.environ if n.startswith(("OSTIARY_", "SANCTUM_", "SYMBIONT_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path, stdin: bytes = b"", env: dict[str, str] | None = None) -> Done:
        with monkeypatch.context() as here:
            for name, value in (env or {}).items():
                here.setenv(name, value)
            here.setattr(sys, "argv", ["ostiary", *map(str, arguments)])
            here.setattr(sys, "stdin", Piped(io.BytesIO(stdin)))
            code = main()
        out, err = capsysbinary.readouterr()
        return Done(code, out, err.decode())

    return run


@pytest.fixture
def runtime(command: Run, server: Any) -> Run:
    """Run `ostiary runtime ...` where the environment names the server."""
    env = {"OSTIARY_RUNTIME_URL": server.runtime_unix_url}

    def run(*arguments: str | Path, stdin: bytes = b"", **more: str) -> Done:
        return command("runtime", *arguments, stdin=stdin, env=env | more)

    return run


def good(done: Done) -> Done:
    assert done.code == 0, done.err + done.text
    return done


def facts(done: Done) -> dict[str, str]:
    """Return what a card says."""
    pairs = (re.split(r"\s{2,}", line, maxsplit=1) for line in good(done).text.splitlines())
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}


def rows(done: Done) -> list[list[str]]:
    """Return the rows of a table, its head first."""
    return [re.split(r"\s{2,}", line.strip()) for line in good(done).text.splitlines()]


# --- agents and workflows


def test_agents_from_creation_to_the_end(runtime: Run) -> None:
    made = good(runtime("agents", "create", "cli-1", "--description", "Helps", "--tool", "calc"))
    assert (made.text, made.err) == ("", "created cli-1\n")
    table = rows(runtime("agents", "ls"))
    assert table[0] == ["agent", "name", "state"]
    assert ["cli-1", "cli-1", "idle"] in table
    shown = facts(runtime("agents", "show", "cli-1"))
    assert (shown["agent"], shown["state"]) == ("cli-1", "idle")
    ran = good(runtime("agents", "run", "cli-1", "Which lines?"))
    assert ran.text.splitlines()[-1] == "Which lines?"
    assert "completed" in ran.text
    started = good(runtime("agents", "run", "cli-1", "--no-wait", "--json")).document
    history = rows(runtime("agents", "history", "cli-1"))
    assert history[0] == ["execution", "status", "when", "result"]
    assert started["execution_id"] in {row[0] for row in history}
    assert good(runtime("agents", "rm", "cli-1", "--json")).document["id"] == "cli-1"
    assert "cli-1" not in runtime("agents", "ls").text


def test_an_agent_from_json_and_what_options_say_wins(
    runtime: Run, client: RuntimeClient, tmp_path: Path
) -> None:
    file = tmp_path / "agent.json"
    file.write_text(json.dumps({"model": "m-1", "max_tokens": 7, "description": "old"}))
    good(runtime("agents", "create", "cli-2", "--from", f"@{file}", "--description", "new"))
    again = {"max_tokens": 7, "model": "m-1", "description": "new"}
    given = json.dumps(again).encode()
    good(runtime("agents", "create", "cli-2", "--from", "-", stdin=given))
    assert "cli-2" in client.list_agents()
    refused = runtime("agents", "create", "cli-2", "--from", "[1]")
    assert refused.code == 1
    assert "--from is no JSON object" in refused.err
    client.delete_agent("cli-2")


def test_workflows(runtime: Run) -> None:
    parameters = '{"input_data": "path/to/data.csv", "analysis_type": "statistical"}'
    ran = good(runtime("workflows", "run", "data-analysis-workflow", parameters))
    assert re.match(r"execution +\S+\nstatus +completed\n", ran.text)
    assert json.loads(ran.text[ran.text.index("{") :])["rows"] > 0
    document = runtime("workflows", "run", "data-analysis-workflow", parameters, "--json").document
    execution = document["execution_id"]
    assert execution in {row[0] for row in rows(runtime("workflows", "ls"))}
    shown = good(runtime("workflows", "show", execution, "--json")).document
    assert shown["result"] == document["result"]
    unknown = runtime("workflows", "run", "none-such")
    assert unknown.code == 1
    assert "data-analysis-workflow" in unknown.err, "the names there are"


def test_deployments(runtime: Run, tmp_path: Path) -> None:
    source = tmp_path / "greeter.symbi"
    source.write_text(
        'agent greeter {\n    name: "Greeter"\n    action main { parse_payload() }\n}\n'
    )
    assert good(runtime("dsl", "compile", source)).err.endswith("made greeter\n")
    deployed = facts(runtime("agents", "deploy", "greeter", "--environment", "test"))
    assert deployed["status"] == "running"
    listed = rows(runtime("agents", "deployments", "--agent", "greeter"))
    assert listed[1][:3] == [deployed["deployment"], "greeter", "running"]
    good(runtime("agents", "stop", deployed["deployment"]))
    assert facts(runtime("agents", "deployment", deployed["deployment"]))["status"] == "stopped"


def test_a_source_that_is_wrong(runtime: Run, tmp_path: Path) -> None:
    source = tmp_path / "wrong.symbi"
    source.write_text("agent x {\n  !\n}\n")
    done = runtime("dsl", "check", source)
    assert done.code == 1
    assert re.match(rf"{re.escape(str(source))}: error: line 3", done.err)
    assert done.err.endswith("nothing was made\n")
    piped = runtime("dsl", "check", "-", "--json", stdin=source.read_bytes())
    assert piped.code == 1
    assert piped.document["success"] is False
    assert piped.document["errors"]
    fine = runtime("dsl", "check", "-", stdin=b'agent y { name: "Y" }')
    assert (fine.code, fine.err) == (0, "stdin is fine\n")


# --- reviews


def submitted(runtime: Run, directory: Path, *more: str) -> str:
    file = directory / "tool.json"
    file.write_text(json.dumps(TOOL))
    done = good(runtime("reviews", "submit", file, "--by", "dev@example.com", "--json", *more))
    review: str = done.document["review_id"]
    return review


def test_a_tool_from_submission_to_signature(runtime: Run, client: Any, tmp_path: Path) -> None:
    review = submitted(runtime, tmp_path, "--priority", "high")
    client_side = facts(runtime("reviews", "show", review))
    assert client_side["tool"] == "adder, by acme"
    assert client_side["priority"] == "high"
    queue = rows(runtime("reviews", "queue"))
    assert queue[0][:3] == ["review", "tool", "status"]
    assert review in {row[0] for row in queue}
    unsigned = runtime("reviews", "sign", review, "--key", "key-456")
    assert unsigned.code == 1
    good(runtime("reviews", "approve", review, "--by", "me@example.com", "-m", "fine"))
    signed = facts(runtime("reviews", "sign", review, "--key", "key-456"))
    assert signed["by key"] == "key-456"
    shown = facts(runtime("reviews", "signed", review))
    assert shown["verified"].startswith("not looked at")
    shown = facts(runtime("reviews", "signed", review, "--verify"))
    assert "which the server itself named" in shown["verified"]
    key = next(one for one in client.list_signing_keys() if one.key_id == "key-456")
    file = tmp_path / "key.pem"
    file.write_text(key.public_key)
    shown = facts(runtime("reviews", "signed", review, "--public-key", file))
    assert shown["verified"] == "fits the tool and the key"
    assert runtime("reviews", "signed", review, "--verify", "--json").document["verified"] is True


def test_a_signature_that_does_not_fit(runtime: Run, client: Any, tmp_path: Path) -> None:
    from nacl.signing import SigningKey

    review = submitted(runtime, tmp_path)
    client.submit_human_review_decision(review, {"decision": "approve", "reviewer_id": "me"})
    client.sign_approved_tool({"review_id": review, "signing_key_id": "key-456"})
    file = tmp_path / "another.key"
    import base64

    file.write_text(base64.b64encode(bytes(SigningKey.generate().verify_key)).decode())
    done = runtime("reviews", "signed", review, "--public-key", file)
    assert done.code == 1
    assert done.text == ""


def test_rejecting_and_listing(runtime: Run, tmp_path: Path) -> None:
    review = submitted(runtime, tmp_path)
    good(runtime("reviews", "reject", review, "--by", "me@example.com"))
    table = rows(runtime("reviews", "ls", "--status", "rejected", "--author", "dev@example.com"))
    assert [row[0] for row in table[1:]] == [review]
    assert runtime("reviews", "ls", "--author", "nobody").text == "no review matches\n"
    document = runtime("reviews", "ls", "--limit", "1", "--json").document
    assert len(document["sessions"]) == 1
    assert "of" in runtime("reviews", "ls", "--limit", "1").text.splitlines()[-1]


def test_several_tools_and_one_that_is_refused(runtime: Run, tmp_path: Path) -> None:
    file = tmp_path / "tools.json"
    file.write_text(json.dumps([TOOL, TOOL | {"name": "second"}]))
    table = rows(runtime("reviews", "submit", file, "--by", "dev"))
    assert [row[0] for row in table] == ["tool", "adder", "second"]
    file.write_text(json.dumps([TOOL, {"name": "x"}]))
    refused = runtime("reviews", "submit", file, "--by", "dev")
    assert refused.code == 1
    first, second = refused.text.splitlines()[1:]
    assert "submitted" in first or "pending" in first
    assert re.match(r"x +- +refused +.*tool.description is required", second)
    file.write_text("3")
    assert "holds no tool" in runtime("reviews", "submit", file, "--by", "dev").err


# --- secrets


def test_secrets_come_in_by_stdin_or_file_and_out_by_get(runtime: Run, tmp_path: Path) -> None:
    stored = good(runtime("secrets", "set", "agent-123", "mail", stdin=b"p4\n"))
    assert (stored.text, stored.err) == ("", "stored mail\n")
    got = good(runtime("secrets", "get", "agent-123", "mail"))
    assert (got.out, got.err) == (b"p4", "")
    file = tmp_path / "secret"
    file.write_bytes(b"two\nlines\n")
    replaced = good(runtime("secrets", "set", "agent-123", "mail", "--file", file))
    assert replaced.err == "replaced mail\n"
    assert "two" not in replaced.text
    document = good(runtime("secrets", "get", "agent-123", "mail", "--json")).document
    assert document["value"] == "two\nlines\n"
    assert rows(runtime("secrets", "ls", "agent-123")) == [["secret"], ["mail"]]
    good(runtime("secrets", "rm", "agent-123", "mail"))
    gone = runtime("secrets", "get", "agent-123", "mail")
    assert gone.code == 1
    assert "`ostiary runtime secrets ls AGENT`" in gone.err


def test_a_terminal_shows_a_secret_only_when_told(
    terminal: Any, server: Any, client: Any, tmp_path: Path
) -> None:
    url = server.runtime_unix_url
    code, screen = terminal(
        *(tmp_path, "runtime", "-u", url, "secrets", "set", "agent-123", "k"),
        answers=[
            ("Secret k of agent-123: ", "hush\n"),
            ("Secret k of agent-123 again: ", "hush\n"),
        ],
    )
    assert code == 0, screen
    assert "hush" not in screen
    asked = ("runtime", "-u", url, "secrets", "get", "agent-123", "k")
    code, screen = terminal(tmp_path, *asked)
    assert code == 0
    assert "hush" not in screen
    assert "--reveal" in screen
    assert "hush" not in terminal(tmp_path, *asked, "--json")[1]
    assert terminal(tmp_path, *asked, "--reveal") == (0, "hush\n")
    client.delete_secret("agent-123", "k")


def test_where_secrets_are_kept(runtime: Run, server: Any, tmp_path: Path) -> None:
    assert facts(runtime("secrets", "backend"))["backend_type"] == "sealed"
    key = tmp_path / "key"
    key.write_text("correct horse battery staple\n")
    used = runtime("secrets", "use", "encrypted_file", "--path", "cli.enc", "--key-file", key)
    assert good(used).err == "secrets are kept by encrypted_file now\n"
    backend = runtime("secrets", "backend")
    assert facts(backend)["backend_type"] == "encrypted_file"
    assert "battery" not in backend.text
    good(runtime("secrets", "use", "sealed"))
    for missing, named in (
        (("vault",), "--url"),
        (("vault", "--url", "https://v.test"), "--token-file"),
        (("vault", "--url", "https://v.test", "--role-id", "r"), "--secret-id-file"),
    ):
        refused = runtime("secrets", "use", *missing)
        assert refused.code == 1
        assert named in refused.err
    assert facts(runtime("secrets", "backend"))["backend_type"] == "sealed"


# --- MCP, knowledge, schedules, inputs

SERVER = """
from mcp.server.mcpserver import MCPServer
server = MCPServer("texts")

@server.tool()
def count_words(text: str) -> int:
    "Count the words of a text."
    return len(text.split())

@server.resource("texts://one")
def one() -> str:
    "The one text."
    return "one two three"

server.run()
"""


def test_mcp_servers(command: Run, guarded: Any) -> None:
    pytest.importorskip("mcp")
    env = {
        "OSTIARY_RUNTIME_URL": guarded.runtime_unix_url,
        "OSTIARY_RUNTIME_API_KEY_FILE": str(guarded.home / "runtime.token"),
    }

    def mcp(*arguments: str) -> Done:
        return command("runtime", "mcp", *arguments, env=env)

    assert "mcp add NAME" in mcp("ls").err
    added = mcp("add", "texts", "--env", "A=1", "--", sys.executable, "-c", SERVER)
    assert good(added).err.startswith("added texts; ")
    assert facts(mcp("connect", "texts"))["status"] == "connected"
    assert rows(mcp("tools"))[1][:3] == ["texts", "count_words", "text"]
    called = mcp("call", "texts", "count_words", '{"text": "one two"}')
    assert good(called).text.strip() == "2"
    assert rows(mcp("resources", "texts"))[1][:2] == ["texts", "texts://one"]
    assert good(mcp("read", "texts", "texts://one")).text == "one two three\n"
    good(mcp("disconnect", "texts"))
    assert facts(mcp("show", "texts"))["status"] == "disconnected"
    good(mcp("rm", "texts"))
    assert mcp("show", "texts").code == 1
    assert "--env X is no NAME=VALUE" in mcp("add", "b", "--env", "X", "--", "true").err


def test_knowledge(runtime: Run, tmp_path: Path) -> None:
    file = tmp_path / "sockets.md"
    file.write_text("The service listens on a socket in the home directory.\n")
    added = good(runtime("knowledge", "add", file, "--source", "sockets.md"))
    assert added.err == "added sockets.md: 1 piece\n"
    found = rows(runtime("knowledge", "search", "socket in the home directory"))
    assert found[0] == ["score", "item", "source", "content"]
    item = found[1][1]
    assert found[1][2] == "sockets.md"
    assert good(runtime("knowledge", "show", item)).text == file.read_text()
    context = runtime("knowledge", "context", "socket in the home directory", "--json").document
    assert "sockets.md" in context["sources"]
    assert item in {row[0] for row in rows(runtime("knowledge", "ls"))}
    good(runtime("knowledge", "rm", item))
    piped = runtime("knowledge", "add", "-", "--json", stdin=b"One more sentence.")
    (made,) = good(piped).document
    assert made["source"] == "stdin"
    for one in made["item_ids"]:
        good(runtime("knowledge", "rm", one))
    assert runtime("knowledge", "show", item).code == 1
    assert "nothing is near enough" in good(runtime("knowledge", "search", "xyzzy")).err


def test_schedules(runtime: Run) -> None:
    made = facts(runtime("schedules", "create", "nightly", "0 3 * * *", "--agent", "agent-123"))
    job = made["schedule"]
    listed = next(row for row in rows(runtime("schedules", "ls")) if row[0] == job)
    assert listed[1:3] == ["nightly", "0 3 * * *"]
    assert len(rows(runtime("schedules", "next", job, "--count", "3"))) == 4
    assert good(runtime("schedules", "pause", job)).err.startswith(job)
    good(runtime("schedules", "resume", job))
    good(runtime("schedules", "trigger", job))
    assert good(runtime("schedules", "history", job, "--json")).code == 0
    assert facts(runtime("schedules", "show", job))["when"] == "0 3 * * * (UTC)"
    good(runtime("schedules", "rm", job))
    assert runtime("schedules", "show", job).code == 1


def test_inputs(runtime: Run) -> None:
    made = facts(runtime("inputs", "create", "agent-123", "--port", "0"))
    listener = made["input"]
    assert made["status"] == "stopped"
    good(runtime("inputs", "start", listener))
    answered = good(runtime("inputs", "trigger", listener, '{"prompt": "hello"}'))
    assert "hello" in answered.text
    assert listener in {row[0] for row in rows(runtime("inputs", "ls"))}
    good(runtime("inputs", "stop", listener))
    good(runtime("inputs", "rm", listener))
    assert runtime("inputs", "show", listener).code == 1


# --- figures and watching


def test_health_and_metrics(runtime: Run) -> None:
    health = facts(runtime("health"))
    assert health["status"] == "healthy"
    assert runtime("health", "--json").document["status"] == "healthy"
    metrics = facts(runtime("metrics"))
    assert re.fullmatch(r"\d+ active of \d+", metrics["agents"])
    assert facts(runtime("metrics", "agent-123"))["agent"] == "agent-123"
    text = good(runtime("metrics", "--prometheus")).text
    assert text.startswith("# HELP ")
    assert runtime("metrics", "agent-123", "--prometheus").code == 2


def watching(server: Any, home: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*OSTIARY, "runtime", *arguments, "--watch", "--interval", "0.05"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(home) | {"OSTIARY_RUNTIME_URL": server.runtime_unix_url},
    )


def test_watching_a_review_ends_when_it_is_decided(
    runtime: Run, server: Any, client: Any, tmp_path: Path
) -> None:
    review = submitted(runtime, tmp_path)
    process = watching(server, tmp_path, "reviews", "show", review, "--json")
    assert process.stdout is not None
    first = json.loads(process.stdout.readline())
    assert first["session"]["review_id"] == review
    client.submit_human_review_decision(review, {"decision": "reject", "reviewer_id": "me"})
    rest, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, err) == (0, "")
    assert json.loads(rest.splitlines()[-1])["session"]["status"] == "rejected"


def test_watching_a_list_is_ended_by_an_interrupt(
    runtime: Run, server: Any, tmp_path: Path
) -> None:
    process = watching(server, tmp_path, "reviews", "queue")
    assert process.stdout is not None
    said = process.stdout.readline()
    review = submitted(runtime, tmp_path)
    while review not in said:
        said = process.stdout.readline()
        assert said, "it ended"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert "Traceback" not in err


def test_watching_on_a_terminal_draws_one_picture(
    terminal: Any, server: Any, tmp_path: Path
) -> None:
    code, screen = terminal(
        *(tmp_path, "runtime", "-u", server.runtime_unix_url, "metrics", "--watch"),
        answers=[("disk", signal.SIGINT)],
    )
    assert code == 130
    assert "MCP connections" in screen
    assert "Traceback" not in screen


def test_events_as_they_happen(runtime: Run, client: Any, tmp_path: Path) -> None:
    review = submitted(runtime, tmp_path)
    done = good(runtime("events", "--after", "0", "--count", "2", "--json"))
    found = [json.loads(line) for line in done.text.splitlines()]
    assert [isinstance(one["type"], str) for one in found] == [True, True]
    lines = good(runtime("events", "--after", "0", "--type", "review.approved", "--count", "1"))
    assert "review.approved" in lines.text
    assert review


def test_what_waits_to_be_allowed(runtime: Run, client: Any) -> None:
    held = client.pool.request(
        "POST",
        "/agents/agent-123/execute",
        json={"input": {"prompt": "x"}, "require_approval": True},
    )
    assert held.status == 202
    listed = rows(runtime("approvals", "ls"))
    action = listed[1][0]
    assert listed[1][1] == "agent-123"
    assert good(runtime("approvals", "deny", action, "-m", "no")).err == f"denied {action}\n"
    assert "nothing waits" in runtime("approvals", "ls").err
    assert action in runtime("approvals", "ls", "--all").text
    assert runtime("approvals", "approve", action).code == 1


# --- options, errors, how it looks


@pytest.mark.parametrize(
    "arguments",
    [
        ("-u", "URL", "-j", "health"),
        ("health", "--base-url", "URL", "--json"),
        ("--json", "-u", "http://localhost:1", "health", "-u", "URL"),
    ],
    ids=" ".join,
)
def test_options_on_either_side(command: Run, server: Any, arguments: tuple[str, ...]) -> None:
    placed = [server.runtime_unix_url if one == "URL" else one for one in arguments]
    assert good(command("runtime", *placed)).document["status"] == "healthy"


def test_where_the_key_comes_from(command: Run, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("from-file\n")
    file.chmod(0o600)
    health = {"status": "healthy", "uptime_seconds": 1, "timestamp": "2026-03-01T10:00:00Z"}
    reply = answer(200, json.dumps(health | {"version": "1"}))
    with HttpPeer(script(*[reply] * 3)) as peer:
        url = ("-u", f"{peer.url()}/api/v1")
        good(command("runtime", *url, "--api-key-file", file, "health"))
        good(command("runtime", *url, "health", "--api-key-file", "-", stdin=b"from-stdin\n"))
        good(command("runtime", *url, "health", env={"SYMBIONT_API_KEY": "from-env"}))
        sent = [one.header("authorization") for one in peer.asked]
    assert sent == ["Bearer from-file", "Bearer from-stdin", "Bearer from-env"]
    assert command("runtime", "--api-key-file", "-", "health").err.startswith("error: no API key")


def test_a_key_is_asked_for(command: Run, guarded: Any) -> None:
    url = ("-u", guarded.runtime_unix_url)
    done = command("runtime", *url, "agents", "ls", "--json")
    assert done.code == 1
    assert "--api-key-file" in done.err
    assert done.document["error"]["type"] == "AuthenticationError"
    token = guarded.home / "runtime.token"
    good(command("runtime", *url, "--api-key-file", token, "agents", "ls"))


def test_nobody_listens(command: Run, tmp_path: Path) -> None:
    done = command("runtime", "-u", f"unix://{tmp_path}/none.sock", "health", "--json")
    assert done.code == 3
    assert "`ostiary dev`" in done.err
    assert done.document["error"]["type"] == "ConnectError"


def test_an_unknown_thing_leads_to_the_list(runtime: Run) -> None:
    for words, listed in (
        (("agents", "show", "nobody"), "agents ls"),
        (("reviews", "show", "none"), "reviews ls"),
        (("knowledge", "show", "none"), "knowledge ls"),
    ):
        done = runtime(*words)
        assert done.code == 1
        assert f"next: `ostiary runtime {listed}` shows what there is" in done.err


def test_a_warning_is_one_line(command: Run, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("SYMBIONT_BASE_URL=http://192.0.2.1/api/v1\n")
    done = command("runtime", "-u", f"unix://{tmp_path}/none.sock", "health")
    assert done.err.startswith("error: ")
    done = command("runtime", "health", "--timeout", "0.5", env={"SYMBIONT_API_KEY": "k"})
    assert done.err.startswith("warning: SYMBIONT_BASE_URL in ")
    assert "RuntimeWarning" not in done.err


def test_what_a_server_says_does_not_drive_the_terminal(
    terminal: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = [{"id": "a\x1b]0;x\x07", "name": "n\x1b[31m", "state": "idle"}]
    with HttpPeer(script(answer(200, json.dumps(listed)))) as peer:
        code, screen = terminal(tmp_path, "runtime", "-u", peer.url(), "agents", "ls")
    assert code == 0
    assert "\x1b" not in screen
    assert "a\\x1b]0;x\\x07" in screen


def test_a_narrow_terminal_gets_fewer_columns_and_whole_ids(
    terminal: Any, server: Any, client: Any, tmp_path: Path
) -> None:
    review = client.submit_tool_for_review({"tool": TOOL, "submitted_by": "developer@example.com"})
    asked = ("runtime", "-u", server.runtime_unix_url, "reviews", "ls", "--limit", "1")
    code, narrow = terminal(tmp_path, *asked, columns=80)
    assert code == 0
    assert review.review_id in narrow
    assert max(len(line) for line in narrow.splitlines()) <= 80
    assert "developer@example.com" not in narrow
    assert "developer@example.com" in terminal(tmp_path, *asked, columns=140)[1]


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("nonsense",),
        ("agents",),
        ("agents", "show"),
        ("reviews", "approve", "r-1"),
        ("mcp", "add", "x"),
        ("knowledge", "search"),
        ("health", "--timeout", "0"),
    ],
    ids=lambda a: " ".join(a) or "nothing",
)
def test_wrong_usage(command: Run, arguments: tuple[str, ...]) -> None:
    done = command("runtime", *arguments)
    assert done.code == 2
    assert "Usage: ostiary runtime" in done.text + done.err


def test_every_command_has_the_shared_options_and_says_what_it_does(command: Run) -> None:
    import typer

    from ostiary.cli.runtime import commands

    def walk(group: Any, words: tuple[str, ...]) -> Generator[tuple[tuple[str, ...], Any]]:
        for name, one in sorted(group.commands.items()):
            if hasattr(one, "commands"):
                yield from walk(one, (*words, name))
            else:
                yield (*words, name), one

    found = dict(walk(typer.main.get_command(commands), ()))
    assert len(found) > 50
    for words, one in found.items():
        assert one.help, words
        options = {name for parameter in one.params for name in parameter.opts}
        assert {"--base-url", "--api-key-file", "--json", "--timeout"} <= options, words
        assert "--api-key" not in options, "it would be in everybody's process list"


# --- doctor


def findings(done: Done) -> list[dict[str, Any]]:
    return [one for one in done.document["findings"] if one["group"] == "runtime"]


def test_doctor_where_there_is_no_server(command: Run) -> None:
    (found,) = findings(command("doctor", "--json"))[:1]
    assert found["status"] == "ok"
    assert "`ostiary dev`" in found["found"]


def test_doctor_asks_the_server_that_is_named(command: Run, server: Any, tmp_path: Path) -> None:
    def of(url: str, **more: str) -> dict[str, dict[str, Any]]:
        done = command("doctor", "--json", env={"OSTIARY_RUNTIME_URL": url} | more)
        return {one["check"]: one for one in findings(done)}

    assert of(server.runtime_unix_url)["its answer"]["status"] == "ok"
    assert of(f"unix://{tmp_path}/none.sock")["its answer"]["status"] == "fail"
    assert of("localhost")["runtime"]["status"] == "fail"
    clear = of("http://192.0.2.1:9", SYMBIONT_API_KEY="k")["runtime"]
    assert clear["status"] == "warn"
    assert "in clear" in clear["found"]


def test_doctor_asks_the_server_of_the_home(command: Run, guarded: Any) -> None:
    found = {
        one["check"]: one for one in findings(command("doctor", "--json", "--home", guarded.home))
    }
    assert found["its answer"]["status"] == "ok", found
    assert "runtime.sock (0600)" in found["runtime"]["found"]
    assert found["its parts"]["status"] in {"ok", "warn"}
    token = guarded.home / "runtime.token"
    right = token.read_text()
    token.write_text("another\n")
    try:
        done = command("doctor", "--json", "--home", guarded.home)
    finally:
        token.write_text(right)
    found = {one["check"]: one for one in findings(done)}
    assert found["its answer"]["status"] == "fail"
    assert "OSTIARY_RUNTIME_API_KEY_FILE" in found["its answer"]["next"]


def test_env_names_the_runtime_of_the_home(command: Run, server: Any) -> None:
    assert server.runtime_unix_url
    assert server.gateway.environment
    found = good(command("env", "--json", "--home", server.home)).document
    assert found["OSTIARY_RUNTIME_URL"] == f"unix://{server.home}/runtime.sock"
