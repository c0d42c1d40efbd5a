"""Programs at work: what their statements do, what sets them off, and that every run ends."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ostiary.devserver.runtime.dsl import (
    ActionCall,
    ActionResult,
    Host,
    compile_source,
    run_trigger,
)
from ostiary.secret import Secret

pytest.importorskip("lark", reason="the language needs lark, of the extra dev")

KEY = b"between us"


class Surroundings:
    """What a program may ask of a server, without one."""

    def __init__(self) -> None:
        self.actions: Mapping[str, Callable[..., Any]] = {}
        self.keyless = False
        self.secrets: dict[str, Secret] = {}
        self.topics: list[str] = []
        self.workflows: list[tuple[str | None, dict[str, Any]]] = []

    def now(self) -> str:
        return "2026-01-02T03:04:05Z"

    def new_id(self) -> str:
        return "id-1"

    def publish(self, agent_id: str, topic: str) -> None:
        self.topics.append(topic)

    async def secret(self, agent_id: str, name: str) -> Secret | None:
        return self.secrets.get(f"{agent_id}/{name}")

    async def workflow(
        self, name: str | None, parameters: dict[str, Any], agent_id: str
    ) -> dict[str, Any]:
        self.workflows.append((name, parameters))
        return {"status": "completed", "workflow_id": name}

    async def in_thread(self, call: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(None, call)


@pytest.fixture
def host() -> Surroundings:
    return Surroundings()


def run(
    source: str,
    payload: Any = None,
    *,
    host: Host | None = None,
    headers: Mapping[str, str] | None = None,
    trigger: str | None = None,
    **more: Any,
) -> ActionResult:
    done = compile_source(source, None)
    assert done.errors == []
    assert done.program is not None
    return asyncio.run(
        run_trigger(
            done.program, trigger, payload, headers or {}, host=host or Surroundings(), **more
        )
    )


def result(body: str, payload: Any = None, **more: Any) -> Any:
    """Run one action and return what it returned."""
    done = run(f"agent a {{ action x {{ {body} }} }}", payload, **more)
    assert done.status == "completed", done.error
    return done.output["result"]


def why(body: str, payload: Any = None, **more: Any) -> str:
    """Run one action that fails, and return why."""
    done = run(f"agent a {{ action x {{ {body} }} }}", payload, **more)
    assert done.status != "completed"
    assert done.error is not None
    return done.error


# -- values and statements ----------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("1 + 2 * 3 - 4 / 2", 5.0),
        ("(1 + 2) * 3 % 5", 4),
        ("-2 * -3", 6),
        ("1 < 2 && 2 <= 2 || false", True),
        ("!true || !0", True),
        ('"a" + 1 + "b"', "a1b"),
        ("[1] + [2, 3]", [1, 2, 3]),
        ('{a: 1, "b c": [2]}', {"a": 1, "b c": [2]}),
        ("1 == 1.0", True),
        ("1 == true", False),
        ('"b" in "abc"', True),
        ("2 in [1, 2]", True),
        ('"a" in {a: 1}', True),
        ("payload.a.b[1].c", 7),
        ('payload["a"].b.length', 2),
        ("payload.missing.deeper", None),
        ("payload.a.b[-1].c", 7),
        ("Thing { x: 1 }.x", 1),
        ("30s + 2m", 150.0),
        ("5.minutes", 300.0),
        ('"Abc".lower().upper().trim().starts_with("AB")', True),
        ('"a,b".split(",").join("-")', "a-b"),
        ('"abc".ends_with("c") && "abc".contains("b")', True),
        ("[3, 1].first() + [3, 1].last()", 4),
        ("[1, 2, 3].filter(x => x > 1).map(x => x * 10)", [20, 30]),
        ("[1, 2].any(x => x == 2) && [1, 2].all(x => x > 0)", True),
        ("{a: 1, b: 2}.keys()", ["a", "b"]),
        ('{a: 1}.get("b", 5) + {a: 1}.values().first()', 6),
        ("len([1, 2]) + len({}) + \"abc\".length", 5),
        ('parse_json("{\\"a\\": [1]}").a[0]', 1),
        ('json_encode({a: "x"})', '{"a":"x"}'),
        ('to_number("2.5") + round(2.567, 1) + abs(-1)', 6.1),
        ("Ok(5)?", 5),
        ("now()", "2026-01-02T03:04:05Z"),
        ("generate_id()", "id-1"),
        ("agent.id + config.kind", "aspecial"),
    ],
)  # fmt: skip
def test_expressions(expression: str, value: object) -> None:
    done = run(
        f"agent a {{ kind: special; action x {{ return {expression} }} }}",
        {"a": {"b": [0, {"c": 7}]}},
    )
    assert done.status == "completed", done.error
    assert done.output.get("result", done.output) == value


def test_statements() -> None:
    body = """
        let sum = 0;
        names = [];
        for item in payload.items {
            if item.skip { continue }
            if item.n > 5 { break }
            sum += item.n;
            names.append(item.name)
        }
        found = {"sum": sum}
        found.names = names
        found["names"][0] = "first"
        n = 3
        while n > 0 { n -= 1 }
        found.n = n
        match found.sum {
            1 => { found.matched = "one" },
            3 -> found.matched = "three",
            _ => found.matched = "other"
        }
        if found.sum == 4 { return } else if found.sum == 3 { found.branch = 2 } else { return }
        return {whole: found}
    """
    items = [
        {"n": 1, "name": "a"},
        {"n": 9, "skip": True},
        {"n": 2, "name": "b"},
        {"n": 6},
        {"n": 7},
    ]
    done = run(f"agent a {{ action x {{ {body} }} }}", {"items": items})
    assert done.error is None
    assert done.output["whole"] == {
        "sum": 3,
        "names": ["first", "b"],
        "n": 0,
        "matched": "three",
        "branch": 2,
    }


def test_functions_have_names_of_their_own() -> None:
    source = """
    function twice(n: Int, by: Int = 2) -> Int { x = n * by; return x }
    agent a { action go { x = 1; y = twice(4); z = twice(4, by: 3); return [x, y, z] } }
    """
    assert run(source).output == {"result": [1, 8, 12]}


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        ("f(1, 2, 3)", "f takes 2 arguments, not 3"),
        ("f(1, c: 2)", "f has no parameter 'c'"),
        ("f(b: 2)", "f is missing 'a'"),
        ("leave()", "'break' and 'continue' stand in loops"),
    ],
)
def test_functions_are_called_as_they_are_declared(call: str, reason: str) -> None:
    source = "function f(a: Int, b: Int = 1) { return a }\nfunction leave() { break }\n"
    done = run(f"{source}agent a {{ action x {{ while true {{ {call} }} }} }}")
    assert done.status == "failed"
    assert reason in (done.error or "")


def test_a_function_returns_early_with_an_error() -> None:
    source = """
    function check(n: Int) -> Result<Int> { if n < 0 { return Error("negative") } return Ok(n) }
    function sum(a: Int, b: Int) -> Result<Int> { return Ok(check(a)? + check(b)?) }
    agent a { action go { return [sum(1, 2), sum(1, -2)] } }
    """
    assert run(source).output["result"] == [
        {"ok": True, "value": 3},
        {"ok": False, "error": "negative"},
    ]


def test_what_fails_can_be_caught() -> None:
    assert result('try { x = 1 / 0 } catch (E e) { return e.message } return "no"') == (
        "division by zero"
    )
    assert result("try { return 1 } catch { return 2 }") == 1
    assert result("try { x = 1 } catch { x = 2 } return x") == 1


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("return missing", "there is no 'missing' here"),
        ("return missing()", "there is no action 'missing'"),
        ('return 1 + {}', "'+' is not for a number and a map"),
        ('return "a" < 1', "a text and a number have no order"),
        ("return -\"a\"", "'-' goes before a number, not a text"),
        ("return 1 / 0", "division by zero"),
        ("return 9e300 * 9e300", "this number is too large"),
        ("x = 4000000000; return x * x * x", "this number is too large"),
        ("return [1][4]", "the list has no item 4"),
        ('return "a".b', "a text has no 'b'"),
        ('return "a".b()', "a text has no method 'b'"),
        ("for x in 3 { }", "a loop goes over a list, not a number"),
        ("1 = 2", "nothing can be assigned to this"),
        ('x = "a"; x.y = 1', "a text has no place to assign to"),
        ("break", "'break' and 'continue' stand in loops"),
        ('parse_json("{")', "parse_json: this text is no JSON"),
        ("round([1])", "round: a number was expected, not a list"),
        ("round(1, 2, 3)", "round: other arguments were expected"),
        ('"a".split("")', "cannot be split by an empty one"),
        ("now(1)", "now was not given the arguments it takes"),
        ("f(x => 1)", "only methods of lists take a function"),
        ("[1].map(3)", "map takes one function"),
        ("require capability fly", "the agent lacks the capability 'fly'"),
        ("check policy none", "there is no policy 'none'"),
        ("other thing", "'other' cannot be run"),
        ("sub { }", "this cannot be run here"),
        ("return f() with x", "only 'if' may follow a value"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_told_with_its_place(body: str, reason: str) -> None:
    said = why(body)
    assert reason in said
    assert said.startswith("line 1, column ")


# -- bounds -------------------------------------------------------------------

WITHOUT_END = {
    "steps": "n = 1; while true { n += 1 }",
    "texts": 's = "0123456789"; while true { s = s + s }',
    "lists": "l = [1]; while true { l = l + l }",
    "appending": "l = []; while true { l.append(l.length) }",
    "itself": "m = {}; m.m = m; return m",
    "deep": "m = {}; n = 0; while n < 500 { m = {m: m}; n += 1 } return m",
    "wide": 's = "0123456789"; n = 0; while n < 16 { s = s + s; n += 1 } '
    "return [s, s, s, s, s, s, s, s, s, s, s, s, s, s, s, s]",
    "encoding": "m = {}; m.m = m; return json_encode(m)",
    "equal": "m = {}; m.m = m; n = {}; n.m = n; return m == n",
    "logs": 'while true { log.info("x") }',
    "publishing": 'while true { publish("t", 1) }',
}


@pytest.mark.parametrize("name", sorted(WITHOUT_END))
def test_every_run_ends(name: str) -> None:
    assert why(WITHOUT_END[name])


def test_a_program_cannot_catch_that_it_is_to_end() -> None:
    assert "100,000 steps" in why("while true { try { while true { } } catch { } }")


def test_calls_are_not_nested_for_ever() -> None:
    done = run("function f(n: Int) { return f(n) }\nagent a { action x { f(1) } }")
    assert "nested too deeply" in (done.error or "")


def test_a_run_has_its_time(host: Surroundings) -> None:
    async def wait() -> None:
        await asyncio.sleep(60)

    host.actions = {"wait": wait}
    done = run("agent a { action x { wait() } }", host=host, timeout=0.01)
    assert (done.status, done.error) == ("failed", "the agent took longer than 0.01 seconds")
    inner = "agent a { with timeout = 10ms { wait() } }"
    assert "longer than 0.01 seconds" in (run(inner, host=host).error or "")
    block = "with timeout = 10ms { wait() }"
    assert "this took longer than 0.01 seconds" in why(block, host=host)
    assert result(f"try {{ {block} }} catch {{ return 2 }}", host=host) == 2
    assert result("with timeout = 1m { x = 1 } return x") == 1


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                "x = payload",
                "x.y = x",
                "x[0] = 1",
                "l = [x, 1]",
                "l.append(l)",
                "x = l + l",
                "return x",
                "x + 1",
                "m = {a: x}",
                "m == x",
                "for i in l { x = i }",
                "if x { y() }",
                "try { x() } catch e { x = e }",
                "x = json_encode(m)",
                "l.map(x => x)",
                "publish(x, m)",
                "emit e { a: m }",
                "x = x.b.c",
                "match x { 1 => { x = 2 }, _ -> x = m }",
                "while x { break }",
                "x = -x",
                "x?",
            ]
        ),
        max_size=12,
    ),
    st.sampled_from([None, 0, "t", [1], {"b": {"c": True}}]),
)
def test_any_program_runs_to_a_result(statements: list[str], payload: object) -> None:
    done = run(f"agent a {{ action x {{ {'; '.join(statements)} }} }}", payload)
    assert done.status in {"completed", "failed"}
    msgspec.json.encode(done)


# -- actions ------------------------------------------------------------------


def test_registered_functions_are_actions(host: Surroundings) -> None:
    seen: list[ActionCall] = []

    def look(what: str, *, twice: bool = False, call: ActionCall) -> dict[str, object]:
        seen.append(call)
        return {"what": what, "twice": twice}

    async def later(n: int) -> tuple[int, ...]:
        return (n, n)

    host.actions = {"look": look, "later": later, "math.double": lambda n: 2 * n}
    source = """
    agent a { action x {
        first = look("here", twice: true)
        look("there")
        return {first: first, pair: later(3), double: math.double(4)}
    } }
    """
    done = run(source, {"k": 1}, host=host, headers={"X-Event-Type": "made"})
    assert done.output == {
        "first": {"what": "here", "twice": True},
        "pair": [3, 3],
        "double": 8,
    }
    assert [(step.action, step.status) for step in done.steps] == [
        ("look", "completed"),
        ("look", "completed"),
        ("later", "completed"),
        ("math.double", "completed"),
    ]
    assert (seen[0].agent_id, seen[0].event, seen[0].payload) == ("a", "made", {"k": 1})
    assert seen[1].results == {"look": {"what": "here", "twice": True}}


def test_a_failing_function_says_its_kind_and_not_its_message(
    host: Surroundings, caplog: pytest.LogCaptureFixture
) -> None:
    def leak() -> None:
        raise ValueError("hunter2")

    host.actions = {"leak": leak, "odd": object}
    done = run("agent a { action x { leak() } }", host=host)
    assert done.error == "line 1, column 22: leak failed with ValueError"
    assert done.steps[0].error == "leak failed with ValueError"
    assert "hunter2" not in str(done) + caplog.text
    assert run("agent a { action x { odd() } }", host=host).error is not None


def test_results_of_actions_are_the_output_where_nothing_is_returned(host: Surroundings) -> None:
    done = run("agent a { action x { parse_payload() } }", {"ref": "refs/heads/x"}, host=host)
    assert done.output["parse_payload"]["branch"] == "x"


def test_what_is_published(host: Surroundings) -> None:
    done = run(
        'agent a { action x { publish("t", {n: 1}); emit done { n: 2 }; log.warn("careful") } }',
        host=host,
    )
    assert done.output["published"] == [
        {"topic": "t", "message": {"n": 1}},
        {"topic": "done", "message": {"n": 2}},
    ]
    assert host.topics == ["t", "done"]
    assert [(step.action, step.result) for step in done.steps] == [("log.warn", "careful")]


@pytest.mark.parametrize(
    ("call", "name", "parameters"),
    [
        ('trigger_workflow("w", {n: 1})', "w", {"n": 1}),
        ('trigger_workflow(name: "w")', "w", {"event": None, "payload": {"p": 1}}),
        ("trigger_workflow()", "ours", {"event": None, "payload": {"p": 1}}),
    ],
)
def test_workflows(host: Surroundings, call: str, name: str, parameters: dict[str, object]) -> None:
    done = run(f"agent a {{ workflow: ours; action x {{ {call} }} }}", {"p": 1}, host=host)
    assert done.status == "completed"
    assert host.workflows == [(name, parameters)]


def test_what_a_payload_is_about() -> None:
    push = {
        "ref": "refs/heads/main",
        "repository": {"full_name": "a/b", "private": True},
        "commits": [{}, {}],
    }
    done = run("agent a { action x { parse_payload() } }", push, headers={"X-GitHub-Event": "push"})
    assert done.output["parse_payload"] == {
        "event": "push",
        "kind": "map",
        "fields": ["commits", "ref", "repository"],
        "ref": "refs/heads/main",
        "branch": "main",
        "repository": "a/b",
        "commits": 2,
    }


@pytest.mark.parametrize(
    ("body", "kind", "payload"),
    [
        (b'{"a": 1}', "application/json; charset=utf-8", {"a": 1}),
        (b"a=1&b=x+y&a=2", "application/x-www-form-urlencoded", {"a": "2", "b": "x y"}),
        (b"payload=%7B%22a%22%3A1%7D", "application/x-www-form-urlencoded", {"a": 1}),
        ("é".encode(), "text/plain", "é"),
        (b"", "application/json", None),
    ],
)
def test_bodies(body: bytes, kind: str, payload: object) -> None:
    done = run(
        "agent a { action x { return {p: payload} } }", body=body, headers={"Content-Type": kind}
    )
    assert done.output == {"p": payload}


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 100_000])
def test_bodies_that_cannot_be_read(body: bytes) -> None:
    for kind in ("application/json", "application/x-www-form-urlencoded;"):
        done = run("agent a { action x { } }", body=body, headers={"Content-Type": kind})
        assert done.status == (
            "failed" if kind == "application/json" or body == b"\xff" else done.status
        )


# -- what is set off ----------------------------------------------------------

TRIGGERS = """
agent a {
    trigger pushed { on_push: [main, "release/*"]; on_tag: any; action: build }
    trigger opened { on_pull_request: opened }
    action opened { return "looked" }
    action build { return "built" }
}
"""


@pytest.mark.parametrize(
    ("payload", "headers", "outcome"),
    [
        ({"ref": "refs/heads/main"}, {"X-GitHub-Event": "push"}, "built"),
        ({"ref": "refs/heads/release/1"}, {"x-github-event": "push"}, "built"),
        ({"ref": "refs/heads/other"}, {"X-GitHub-Event": "push"}, None),
        ({}, {"X-GitHub-Event": "push"}, "built"),
        ({"ref": "refs/tags/v1"}, {"X-Event-Type": "tag"}, "built"),
        ({"event": "pull_request", "action": "opened"}, {}, "looked"),
        ({"event": "pull.request", "action": "closed"}, {}, None),
        ({"type": "unknown"}, {}, None),
        ({"no": "event"}, {}, "built"),
        ([1], {}, "built"),
    ],
)
def test_triggers(payload: object, headers: dict[str, str], outcome: str | None) -> None:
    done = run(TRIGGERS, payload, headers=headers)
    if outcome is None:
        assert (done.status, done.steps) == ("skipped", [])
        assert "no trigger waits for" in done.text
    else:
        assert (done.status, done.text) == ("completed", outcome)


def test_a_trigger_may_be_named() -> None:
    assert run(TRIGGERS, trigger="opened").text == "looked"
    assert "no trigger 'x'" in (run(TRIGGERS, trigger="x").error or "")


def test_parameters_get_the_payloads_members() -> None:
    source = "agent a(order: O, n: Int = 3) { with memory = m { return [order.id, n] } }"
    assert run(source, {"order": {"id": 7}}).output == {"result": [7, 3]}
    one = "agent a(body: JSON) { with memory = m { return body.type } }"
    assert run(one, {"type": "x"}).text == "x"
    assert run(one, {"body": {"type": "y"}}).text == "y"


def test_functions_run_where_there_is_nothing_else() -> None:
    source = (
        "function other() { return 0 }\nagent a { function execute(input: S) { return input } }"
    )
    assert run(source, "text").text == "text"
    assert run("agent a { function only(n: I) { return n + 1 } }", {"n": 1}).output == {"result": 2}
    assert "nothing to run" in (run("agent a { }").error or "")


# -- policies -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "payload", "allowed"),
    [
        ("deny: act(x)", 1, False),
        ("deny: act if payload == 1", 1, False),
        ("deny: act if payload == 1", 2, True),
        ("deny: act if unknown.thing", 2, False),
        ("allow: act if payload == 1", 1, True),
        ("allow: act if payload == 1", 2, False),
        ("allow: act if unknown.thing", 2, False),
        ("allow: act; deny: act if payload == 1", 1, False),
        ("allow: other", 1, True),
        ('deny: act("x")', 1, True),
        ('deny: act("arg")', 1, False),
        ('deny: ["other", "act"] if true', 1, False),
        ("require: act; audit: everything", 1, True),
        ('deny: act(text) if text == "arg"', 1, False),
        ("allow: act(text) if text.length == 3", 1, True),
        ('deny: act("other", more)', 1, True),
    ],
)
def test_policies(host: Surroundings, policy: str, payload: int, *, allowed: bool) -> None:
    host.actions = {"act": lambda text: text}
    for source in (
        f'agent a {{ policy p {{ {policy} }} action x {{ act("arg") }} }}'.replace(
            "} action", "}\naction"
        ),
        f'policy p {{ {policy} }}\nagent a {{ action x {{ act("arg") }} }}',
    ):
        done = run(source, payload, host=host)
        assert done.status == ("completed" if allowed else "denied")
        if not allowed:
            assert (done.code, done.steps) == ("DENIED", [])


def test_a_program_cannot_catch_that_it_is_denied(host: Surroundings) -> None:
    host.actions = {"act": lambda: None}
    source = "policy p { deny: act }\nagent a { action x { try { act() } catch { } return 1 } }"
    assert run(source, host=host).status == "denied"


# -- signatures ---------------------------------------------------------------

SIGNED = "agent a { action x { return validate_signature() } }"
BODY = b'{"action": "opened"}'


def github(body: bytes, key: bytes = KEY) -> dict[str, str]:
    return {"X-Hub-Signature-256": "sha256=" + hmac.new(key, body, hashlib.sha256).hexdigest()}


def test_a_signature_is_checked_with_the_agents_secret(host: Surroundings) -> None:
    host.secrets["a/webhook_secret"] = Secret(KEY)
    good = run(SIGNED, host=host, body=BODY, headers=github(BODY))
    assert good.output == {"verified": True, "by": "github"}
    for body, headers in (
        (BODY + b" ", github(BODY)),
        (BODY, github(BODY, b"another")),
        (BODY, {}),
    ):
        # A key of the server is no signature.
        bad = run(SIGNED, host=host, body=body, headers=headers, authenticated=True)
        assert (bad.status, bad.steps[0].status) == ("denied", "denied")
        assert "between us" not in str(bad)


def test_without_a_secret_somebody_known_is_needed(host: Surroundings) -> None:
    assert run(SIGNED, host=host, body=BODY, authenticated=True).output["by"] == "token"
    denied = run(SIGNED, host=host, body=BODY, headers=github(BODY))
    assert denied.status == "denied"
    assert "no secret 'webhook_secret'" in (denied.error or "")
    host.keyless = True
    assert run(SIGNED, host=host, body=BODY).output["verified"] is False


WEBHOOK = """
webhook w {
    path "/x"
    provider github
    secret "secret://pulls"
    filter {
        json_path "$.pulls[0].action"
        equals "opened"
    }
}
agent a { action x { return payload } }
"""


def test_a_webhook_with_a_secret_checks_before_anything_runs(host: Surroundings) -> None:
    opened, closed = (b'{"pulls": [{"action": "%s"}]}' % word for word in (b"opened", b"closed"))
    # Even a caller with the server's key has to sign.
    assert run(WEBHOOK, host=host, body=opened, authenticated=True).status == "denied"
    host.secrets["a/pulls"] = Secret(KEY)
    assert run(WEBHOOK, host=host, body=opened, authenticated=True).status == "denied"
    assert run(WEBHOOK, host=host, body=opened, headers=github(opened)).status == "completed"
    skipped = run(WEBHOOK, host=host, body=closed, headers=github(closed))
    assert (skipped.status, "filter" in skipped.text) == ("skipped", True)


def test_a_trigger_may_name_its_secret(host: Surroundings) -> None:
    source = (
        'agent a { trigger github_push { secret: "secret://other" }\n'
        "action x { return validate_signature() } }"
    )
    assert run(source, host=host, body=BODY, authenticated=True).status == "denied"
    host.secrets["a/other"] = Secret(KEY)
    assert run(source, host=host, body=BODY, headers=github(BODY)).output["by"] == "github"
