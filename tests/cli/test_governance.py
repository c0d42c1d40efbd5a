"""`ostiary governance`: what the guide's program prints, and with which code it ends."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from ostiary import __version__
from ostiary.devserver import running
from tests.http.peer import HttpPeer, answer, script

from .conftest import Done

Governance = Callable[..., Done]
BLOCKED = "delete all production data"
MARK = "\N{CROSS MARK}"
RUN = {
    "result": "four chairs",
    "output": None,
    "mode": "ALLOW",
    "budget": 0.8,
    "trace_id": "t-1",
    "latency_ms": 12.5,
    "brand_new": True,
}


@pytest.fixture(scope="module")
def server() -> Generator[Any, None, None]:
    with running(demo=True) as one:
        yield one


@pytest.fixture
def governance(ostiary: Any, server: Any) -> Governance:
    """Run `ostiary governance ...` where the environment names the server."""
    env = {"OSTIARY_GOVERNANCE_URL": server.governance_unix_url}

    def run(*arguments: str, stdin: bytes = b"", env: dict[str, str] = env) -> Done:
        done = ostiary("governance", *arguments, stdin=stdin, env=env)
        assert isinstance(done, Done)
        return done

    return run


@pytest.fixture
def asked(ostiary: Any) -> Generator[Callable[..., tuple[Done, HttpPeer]], None, None]:
    """Run a command against a server that answers with `reply`."""
    peers: list[HttpPeer] = []

    def run(reply: bytes | dict[str, Any], *arguments: str, **more: Any) -> tuple[Done, HttpPeer]:
        body = reply if isinstance(reply, bytes) else answer(200, json.dumps(reply))
        peer = HttpPeer(script(body))
        peers.append(peer)
        env = {"OSTIARY_GOVERNANCE_URL": peer.url()} | more.pop("env", {})
        return ostiary("governance", *arguments, env=env, **more), peer

    yield run
    for peer in peers:
        with peer:
            pass


def names(done: Done) -> list[str]:
    return [line.partition(":")[0] for line in done.text.splitlines()]


# --- the three commands of the guide


def test_run_prints_a_line_each_in_this_order(asked: Any) -> None:
    done, _ = asked(RUN, "run", "count the chairs")
    assert (done.code, done.err) == (0, "")
    assert done.text == (
        "result: four chairs\ntrace_id: t-1\noutput: None\nmode: ALLOW\nbudget: 0.8\n"
        "latency_ms: 12.5\n"
    )


def test_run_as_json_in_ascii_with_an_indent_of_two(asked: Any) -> None:
    done, _ = asked(RUN | {"result": "größe"}, "run", "x", "--json")
    assert done.code == 0
    expected = {
        name: (RUN | {"result": "größe"})[name]
        for name in ("result", "trace_id", "output", "mode", "budget", "latency_ms")
    }
    assert done.text == json.dumps(expected, indent=2) + "\n"
    assert done.text.isascii()


def test_trace_prints_what_the_server_says_as_it_says_it(asked: Any) -> None:
    trace = {"z": 1, "a": {"b": [True, None]}, "decision": "ALLOW"}
    done, peer = asked(trace, "trace", "abc-123-def")
    assert done.text == "z: 1\na: {'b': [True, None]}\ndecision: ALLOW\n"
    assert peer.asked[0].target == "/api/governance/trace/abc-123-def"
    done, _ = asked(trace, "trace", "abc-123-def", "-j")
    assert done.text == json.dumps(trace, indent=2) + "\n"


def test_health_prints_three_lines(governance: Governance) -> None:
    done = governance("health")
    assert (done.code, names(done)) == (0, ["status", "version", "uptime_seconds"])


@pytest.mark.parametrize(
    "arguments",
    [
        ("-u", "URL", "-k", "k-1", "-j", "run", "x"),
        ("run", "x", "--base-url", "URL", "--api-key", "k-1", "--json"),
        ("--json", "run", "-u", "URL", "x", "-k", "k-1"),
        # What stands behind the command wins.
        ("-u", "http://localhost:1", "-k", "old", "run", "x", "-u", "URL", "-k", "k-1", "-j"),
    ],
    ids=" ".join,
)
def test_options_on_either_side(ostiary: Any, arguments: tuple[str, ...]) -> None:
    with HttpPeer(script(answer(200, json.dumps(RUN)))) as peer:
        placed = [peer.url() if one == "URL" else one for one in arguments]
        done = ostiary("governance", *placed)
        assert done.code == 0, done.err
        assert done.err == ""
        assert done.document["trace_id"] == "t-1"
        assert peer.asked[0].header("authorization") == "Bearer k-1"


def test_an_empty_text_is_accepted(governance: Governance) -> None:
    assert governance("run", "").code == 0


# --- what fails


def test_a_block(governance: Governance) -> None:
    done = governance("run", BLOCKED)
    assert (done.code, done.text) == (1, "")
    assert re.fullmatch(rf"{MARK} \[GOVERNANCE_BLOCK\] .+\n", done.err)
    as_json = governance("run", BLOCKED, "--json")
    assert (as_json.code, as_json.err) == (1, done.err)
    error = as_json.document["error"]
    assert (error["type"], error["code"], error["status"]) == (
        "GovernanceBlock",
        "GOVERNANCE_BLOCK",
        403,
    )
    assert error["message"] in done.err
    assert re.fullmatch(r"[0-9a-f-]{36}", error["trace_id"])
    assert error["trace_id"] not in done.err


def test_a_trace_that_is_not_there(governance: Governance) -> None:
    done = governance("trace", "none-such")
    assert (done.code, done.text) == (1, "")
    assert done.err == f"{MARK} Trace 'none-such' not found\n"
    assert governance("trace", "none-such", "--json").document["error"]["code"] == "NOT_FOUND"


FAILURES = [
    (answer(403, b"{}"), 4),
    (answer(404, b"{}"), 5),
    (answer(422, b'{"message": "no such\\u001b[31m thing\\n"}'), 6),
    (answer(401, b"{}"), 7),
    (answer(504, b"{}"), 8),
    (answer(429, b"{}", [("Retry-After", "9999")]), 9),
    (answer(500, b"{}"), 10),
    (answer(200, b"nonsense"), 10),
    (answer(400, b"{}"), 1),
]


@pytest.mark.parametrize(("reply", "code"), FAILURES, ids=lambda one: str(one)[:20])
def test_a_failure_is_one_line_and_its_code_is_told_on_request(
    asked: Any, reply: bytes, code: int
) -> None:
    done, _ = asked(reply, "run", "x", "--exit-codes", "--json")
    assert done.code == code
    assert done.err.startswith(f"{MARK} [")
    assert done.err.count("\n") == 1
    assert "\x1b" not in done.err
    assert "Traceback" not in done.err
    assert done.document["error"]["message"]


@pytest.mark.parametrize(("flags", "code"), [((), 1), (("--exit-codes",), 3)])
def test_nobody_listens(ostiary: Any, user_home: Path, flags: tuple[str, ...], code: int) -> None:
    done = ostiary("governance", *flags, "-u", f"unix://{user_home}/none.sock", "health")
    assert done.code == code
    assert done.err.startswith(f"{MARK} [CONNECT_FAILED] ")
    assert done.err.endswith(" or say which one with --base-url or OSTIARY_GOVERNANCE_URL\n")
    assert done.text == ""


def test_the_time_is_over(ostiary: Any) -> None:
    with HttpPeer(lambda exchange: exchange.link.stall()) as peer:
        done = ostiary(
            *("governance", "-u", peer.url(), "--exit-codes", "health", "--timeout", "0.2")
        )
    assert done.code == 8
    assert "[TIMEOUT]" in done.err


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("run",),
        ("nonsense",),
        ("run", "x", "--nonsense"),
        ("trace",),
        ("secrets",),
        ("agents", "run", "a", "t", "--config", "[1]"),
        ("explain", "WRITE", "{"),
    ],
    ids=lambda a: " ".join(a) or "nothing",
)
def test_wrong_usage(ostiary: Any, arguments: tuple[str, ...]) -> None:
    done = ostiary("governance", *arguments)
    assert done.code == 2
    if arguments in ((), ("secrets",)):
        assert "Usage: ostiary governance" in done.text, "help, on stdout"
    else:
        assert "Usage: ostiary governance" in done.err


def test_settings_that_cannot_be_meant(ostiary: Any) -> None:
    done = ostiary("governance", "-u", "localhost:8000", "health")
    assert done.code == 1
    assert "http://localhost:8000" in done.err


# --- the API key


def test_where_the_key_comes_from(asked: Any, user_home: Path) -> None:
    file = user_home / "key"
    file.write_text("from-file\n")
    file.chmod(0o600)

    def sent(*arguments: str, stdin: bytes = b"", **env: str) -> str | None:
        done, peer = asked(RUN, *arguments, "run", "x", stdin=stdin, env=env)
        assert (done.code, done.err) == (0, "")
        return peer.asked[0].header("authorization")  # type: ignore[no-any-return]

    assert sent() is None
    assert sent("--api-key-file", str(file)) == "Bearer from-file"
    assert sent("--api-key-file", "-", stdin=b"from-stdin\n") == "Bearer from-stdin"
    assert sent("-k", "given", OSTIARY_GOVERNANCE_API_KEY="variable") == "Bearer given"
    assert sent("-k", "given", "--api-key-file", str(file)) == "Bearer from-file"
    assert sent(OSTIARY_GOVERNANCE_API_KEY_FILE=str(file)) == "Bearer from-file"


def test_a_key_that_cannot_be_used_is_not_shown(asked: Any, user_home: Path) -> None:
    file = user_home / "key"
    file.write_text("s3cret\nkey\n")
    file.chmod(0o600)
    for arguments in (("--api-key-file", str(file)), ("-k", "s3cret key")):
        done, peer = asked(RUN, *arguments, "run", "x", "--json")
        assert done.code == 1
        assert "s3cret" not in done.err + done.text
        assert peer.asked == []


def test_a_key_is_asked_for(ostiary: Any) -> None:
    with running(tcp=False) as guarded:
        url = guarded.governance_unix_url
        done = ostiary("governance", "-u", url, "health")
        assert done.code == 1
        assert "--api-key-file" in done.err
        token = guarded.home / "governance.token"
        assert ostiary("governance", "-u", url, "--api-key-file", token, "health").code == 0


# --- the rest of the client


def test_stream(governance: Governance) -> None:
    done = governance("stream", "create a report")
    assert done.code == 0
    lines = done.text.splitlines()
    assert lines[0] == "[start] {}"
    assert lines[1] == "[token] {'text': 'processed:'}"
    assert lines[-1] == "[done] {}"
    text = governance("stream", "create a report", "--text", "--strict")
    assert (text.code, text.text) == (0, "processed: create a report\n")
    events = [json.loads(line) for line in governance("stream", "hi", "-j").text.splitlines()]
    assert [one["type"] for one in events] == ["start", "token", "token", "final", "done"]
    assert len({one["trace_id"] for one in events}) == 1
    assert set(events[0]) == {"type", "data", "trace_id", "timestamp"}


def test_a_stream_that_is_blocked_at_once_or_later(governance: Governance, asked: Any) -> None:
    assert governance("stream", BLOCKED, "--exit-codes").code == 4
    late = "".join(
        f"data: {json.dumps({'type': kind, 'data': data})}\n\n"
        for kind, data in (
            ("start", {}),
            ("token", {"text": "a\x1b[31m"}),
            ("error", {"code": "GOVERNANCE_BLOCK", "message": "rule R-1"}),
            ("done", {}),
        )
    )
    done, _ = asked(answer(200, late), "stream", "x", "--exit-codes", "--text")
    assert (done.code, done.err) == (4, f"{MARK} [GOVERNANCE_BLOCK] rule R-1\n")
    assert done.text == "a\x1b[31m\n", "a pipe gets what came"
    done, _ = asked(answer(200, late.rpartition("data: ")[0]), "stream", "x")
    assert done.code == 1
    assert "[CONNECTION_LOST]" in done.err


def test_what_streams_to_a_terminal_does_not_drive_it(
    terminal: Any, user_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = {"type": "token", "data": {"text": "a\x1b]0;x\x07b\n"}}
    body = f'data: {json.dumps(token)}\n\ndata: {{"type": "done"}}\n\n'
    with HttpPeer(script(answer(200, body))) as peer:
        code, screen = terminal(user_home, "governance", "-u", peer.url(), "stream", "x", "--text")
    assert code == 0
    assert screen == "a\\x1b]0;x\\x07b\n\n"


def test_chat_and_agents(governance: Governance) -> None:
    chat = governance("chat", "hi", "--session", "s-1")
    assert chat.text.splitlines()[:2] == ["result: processed: hi", "session_id: s-1"]
    agents = governance("agents", "run", "a-1", "sort", "--config", '{"depth": 2}', "--json")
    assert agents.document["agent_id"] == "a-1"
    assert agents.document["status"] == "COMPLETED"


def test_secrets_come_in_by_stdin_or_file(governance: Governance, user_home: Path) -> None:
    stored = governance("secrets", "set", "mail/pass", stdin=b"p4\n")
    assert (stored.code, stored.text, stored.err) == (0, "", "stored mail/pass\n")
    assert governance("secrets", "get", "mail/pass").out == b"p4"
    file = user_home / "secret"
    file.write_bytes(b"two\nlines\n")
    assert governance("secrets", "set", "mail/pass", "--file", str(file), "-j").document["stored"]
    shown = governance("secrets", "--json", "get", "mail/pass").document
    assert shown == {"key": "mail/pass", "value": "two\nlines\n"}
    assert governance("secrets", "delete", "mail/pass").code == 0
    gone = governance("secrets", "get", "mail/pass", "--exit-codes")
    assert gone.code == 5
    assert "[NOT_FOUND]" in gone.err


def test_a_secret_is_asked_for_hidden(terminal: Any, server: Any, user_home: Path) -> None:
    url = server.governance_unix_url
    code, screen = terminal(
        *(user_home, "governance", "-u", url, "secrets", "set", "k"),
        answers=[("Secret for k: ", "hush\n"), ("Secret for k again: ", "hush\n")],
    )
    assert code == 0, screen
    assert "hush" not in screen
    code, screen = terminal(user_home, "governance", "-u", url, "secrets", "get", "k")
    assert (code, screen) == (0, "hush\n")


def test_reasons_and_figures(governance: Governance) -> None:
    reasons = governance("explain", "WRITE", '{"path": "/tmp/test"}')
    assert "decision: ALLOW" in reasons.text.splitlines()
    assert "cpu_percent" in names(governance("metrics"))
    assert names(governance("status"))[:2] == ["drift", "stability"]
    assert "rules" in governance("config", "--json").document


# --- how it looks


def test_version_and_help(ostiary: Any) -> None:
    assert ostiary("governance", "--version").text == f"ostiary {__version__}\n"
    for words in ((), ("run",), ("secrets", "set")):
        done = ostiary("governance", *words, "--help")
        assert done.code == 0
        for option in ("--base-url", "--api-key-file", "--json", "--exit-codes"):
            assert option in done.text


@pytest.mark.parametrize("columns", [80, 120])
def test_the_screens_fit_the_terminal(terminal: Any, user_home: Path, columns: int) -> None:
    for words in (("--help",), ("stream", "--help")):
        code, screen = terminal(user_home, "governance", *words, columns=columns)
        assert code == 0
        assert max(len(line) for line in screen.splitlines()) <= columns


def test_no_program_of_the_guide_is_installed() -> None:
    from importlib.metadata import distribution

    scripts = [one.name for one in distribution("ostiary").entry_points]
    assert "ostiary" in scripts
    assert "hestiaos" not in scripts


# --- doctor


def findings(done: Done) -> dict[str, Any]:
    found = done.document["findings"]
    return {one["check"]: one for one in found if one["group"] == "governance"}


def test_doctor_where_there_is_no_server(ostiary: Any) -> None:
    found = findings(ostiary("doctor", "--json"))["governance"]
    assert found["status"] == "ok"
    assert "`ostiary dev`" in found["found"]


def test_doctor_asks_the_server_that_is_named(ostiary: Any, server: Any, user_home: Path) -> None:
    named = {"OSTIARY_GOVERNANCE_URL": server.governance_unix_url}
    assert findings(ostiary("doctor", "--json", env=named))["its answer"]["status"] == "ok"
    gone = {"OSTIARY_GOVERNANCE_URL": f"unix://{user_home}/none.sock"}
    assert findings(ostiary("doctor", "--json", env=gone))["its answer"]["status"] == "fail"
    wrong = {"OSTIARY_GOVERNANCE_URL": "localhost"}
    assert findings(ostiary("doctor", "--json", env=wrong))["governance"]["status"] == "fail"
    plain = {
        "OSTIARY_GOVERNANCE_URL": "http://192.0.2.1:9",
        "OSTIARY_GOVERNANCE_API_KEY": "k",
    }
    clear = findings(ostiary("doctor", "--json", env=plain))["governance"]
    assert clear["status"] == "warn"
    assert "in clear" in clear["found"]


def test_doctor_asks_the_server_of_the_home(ostiary: Any, start_dev: Any) -> None:
    dev = start_dev("--no-tcp")
    found = findings(ostiary("doctor", "--json"))
    assert found["its answer"]["status"] == "ok", found
    (dev.home / "governance.token").write_text("another\n")
    found = findings(ostiary("doctor", "--json"))
    assert found["its answer"]["status"] == "fail"
    assert "OSTIARY_GOVERNANCE_API_KEY_FILE" in found["its answer"]["next"]
