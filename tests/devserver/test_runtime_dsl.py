"""The agents' language: what is accepted, what is said about what is not, and that it ends.

The page about the language has an example of each construct; all of them compile.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ostiary.devserver.runtime.dsl import Compiled, Program, compile_source
from ostiary.devserver.runtime.dsl.diagnostics import MOST_ERRORS
from ostiary.devserver.runtime.dsl.layout import DEEPEST
from ostiary.devserver.runtime.dsl.parser import LONGEST_SOURCE

pytest.importorskip("lark", reason="the language needs lark, of the extra dev")

PAGE = Path(__file__).resolve().parents[2] / "docs" / "dsl.md"
_EXAMPLE = re.compile(
    r'^```text title="(?P<name>\w+)\.symbi"(?: warns="(?P<warns>\w+)")?\n(?P<source>.*?)^```$',
    re.MULTILINE | re.DOTALL,
)


class Example(NamedTuple):
    name: str
    warns: str | None
    source: str


EXAMPLES = [Example(*match.groups()) for match in _EXAMPLE.finditer(PAGE.read_text("utf-8"))]
GUIDE = next(example.source for example in EXAMPLES if example.name == "webhook_handler")


def compiled(source: str, name: str | None = "a") -> Program:
    done = compile_source(source, name)
    assert done.errors == []
    assert done.program is not None
    return done.program


def problem(source: str, name: str = "a") -> str:
    """Return the first error of a source that has one."""
    done = compile_source(source, name)
    assert not done.success
    assert done.program is None
    return done.errors[0]


# -- the page -----------------------------------------------------------------


@pytest.mark.parametrize("example", EXAMPLES, ids=[example.name for example in EXAMPLES])
def test_each_example_of_the_page_compiles(example: Example) -> None:
    done = compile_source(example.source, example.name)
    assert done.errors == []
    if example.warns is None:
        assert done.warnings == []
    else:
        (warning,) = done.warnings
        assert f"'{example.warns}'" in warning
    assert done.program is not None
    assert done.program.agent_id == example.name


def test_the_page_has_every_kind_of_block() -> None:
    kinds = set(
        re.findall(
            r"^\s*(\w+) \w*(?:\([^)]*\))?[^{\n]*\{", "\n".join(e.source for e in EXAMPLES), re.M
        )
    )
    assert {
        "action", "agent", "channel", "enum", "function", "memory", "policy", "schedule", "struct",
        "trigger", "webhook", "with",
    } <= kinds  # fmt: skip


# -- what is declared ---------------------------------------------------------


def test_the_guides_example() -> None:
    program = compiled(GUIDE, "webhook_handler")
    assert program.properties["name"] == "Webhook Handler"
    (trigger,) = program.triggers
    assert (trigger.name, trigger.events) == ("github_webhook", {"push": "main"})
    assert list(program.actions) == ["process_webhook"]
    assert len(program.actions["process_webhook"].body.statements) == 3


def test_an_agent_of_the_other_dialect() -> None:
    program = compiled(
        """
        agent a(order: Order, strict: Boolean = false, m: Map<String, Array<Int>>?) -> Result<T> {
            capabilities = ["read", "check"]
            with memory = "ephemeral", timeout = 5.minutes, sandbox = "docker" { return order; }
            with timeout = 2h { return 1 }
        }
        """
    )
    assert [(each.name, each.type) for each in program.parameters] == [
        ("order", "Order"),
        ("strict", "Boolean"),
        ("m", "Map<String, Array<Int>>?"),
    ]
    assert program.returns == "Result<T>"
    assert program.capabilities == ("read", "check")
    assert [each.timeout for each in program.with_blocks] == [300.0, 7200.0]
    assert program.with_blocks[0].attributes["sandbox"] == "docker"


def test_the_blocks_around_an_agent() -> None:
    program = compiled(
        """
        metadata { version = "1.0", author: "Me" tags = ["x"] }
        schedule s { cron: "0 7 * * 1-5", agent: "a" }
        channel c {
            platform: "slack"
            policy p { deny: invoke("x") }
            data_classification { pii: redact }
        }
        memory m { store markdown
                   retention 7d
                   search { vector_weight 0.7 } }
        webhook w { path "/hooks/x"
                    provider github
                    secret "secret://vault/hook"
                    filter { json_path "$.action"
                             equals "opened" } }
        type T = { a: Map<String, Int>, b: Optional<T> }
        agent a { name: "A" }
        """
    )
    assert program.metadata == {"version": "1.0", "author": "Me", "tags": ["x"]}
    (schedule,) = program.schedules
    assert (schedule.cron, schedule.timezone, schedule.agent) == ("0 7 * * 1-5", "UTC", "a")
    (channel,) = program.channels
    assert channel.platform == "slack"
    assert channel.policies[0].rules[0].effect == "deny"
    assert channel.data_classification == {"pii": "redact"}
    (memory,) = program.memories
    assert (memory.store, memory.retention, memory.search) == (
        "markdown",
        7 * 86400.0,
        {"vector_weight": 0.7},
    )
    (webhook,) = program.webhooks
    assert (webhook.provider, webhook.secret) == ("github", "hook")
    assert webhook.filter is not None
    assert (webhook.filter.json_path, webhook.filter.equals) == ("$.action", "opened")
    assert program.types["T"].startswith("{ a: Map<String, Int>")


@pytest.mark.parametrize(
    "policy",
    [
        'allow: ["read"] if user.role == "nurse"',
        "deny: store(data) if data.level == 2 && !user.cleared || false",
        'require: [user.level >= 2, trail = true, name: "x"]',
        'require: approval("chief") for operations on sensitive_data',
        "audit: all_operations with digital_signature",
        "require: {\n input: true\n}",
        "conditions: { kept: 7.years, region: \"EU\" }",
        "allow: read(x) if (\n a == b ||\n c < 30.days_ago\n )",
        "allow: invoke(agent) if agent.id in spec.allowed",
    ],
)  # fmt: skip
def test_rules_of_policies(policy: str) -> None:
    program = compiled(f"policy p {{ {policy} }}\nagent a {{ }}")
    (found,) = program.policies
    assert found.rules or found.conditions


@pytest.mark.parametrize(
    "statement",
    [
        'let x: Map<String, Int> = {"a": 1}; let y = [1, 2,];',
        "x = a.b[0].c(1, n: 2)?.d",
        "if a { } else if b { } else { }",
        "if a {\n}\nelse {\n}",
        "for x in a.b { continue }",
        "while !done { break; }",
        'match x { "a" => { f() }, "b" -> y = 1, _ => return z }',
        "try { f() } catch (E e) { g(e.message) } catch { }",
        "return Report { id: f(), list: [] }",
        "x.y = Report {\n a: 1\n b: 2,\n}",
        "list.filter(x => x.a).map(y => y + 1)",
        "emit done { count: 3 }",
        "require capability FileSystem.Read",
        "PrivateData::new(value, epsilon=1.0)",
        "with timeout = 3s { f() }",
        'let m = {"one", "two"}',
        "a = b\n    || c\n    && d",
        "value = first +\n    second",
        "if (a == 1) { return -x * !y }",
        "type = policy; agent: 1; in_use = type",
    ],
)
def test_statements(statement: str) -> None:
    program = compiled(f"agent a {{ action x {{ {statement} }} }}")
    assert program.actions["x"].body.statements


def test_pairs_may_share_a_line() -> None:
    program = compiled(
        'metadata { version: "1" author: "me" }\n'
        "agent a { policy p { allow: f(x) if y deny: g } m: {a: 1 b: 2} n = 3 }"
    )
    assert program.metadata == {"version": "1", "author": "me"}
    assert [rule.effect for rule in program.policies[0].rules] == ["allow", "deny"]
    assert program.properties == {"m": {"a": 1, "b": 2}, "n": 3}


def test_no_word_is_reserved() -> None:
    program = compiled(
        'agent agent { type: "t", policy: "p", if: "i", match: 1, with: true, channel memory '
        '{ platform: "slack" } }',
        "agent",
    )
    assert program.properties == {"type": "t", "policy": "p", "if": "i", "match": 1, "with": True}
    assert program.channels[0].name == "memory"


def test_texts_and_numbers() -> None:
    program = compiled(
        r"""
        agent a {
            plain: "a\"b\\c\n\t\u00e9"
            path: "C:\dir\new"
            over: "one
two"
            raw: \"\"\"as "it" is \n\"\"\"
            bytes: b"x"
            number: -1.5, large: 1e3, size: 512MB, dotted: A.b, nothing: null
        }
        """.replace('\\"\\"\\"', '"""')
    )
    assert program.properties == {
        "plain": 'a"b\\c\n\té',
        "path": "C:\\dir\new",  # \n is a newline, as anywhere
        "over": "one\ntwo",
        "raw": 'as "it" is \\n',
        "bytes": "x",
        "number": -1.5,
        "large": 1000.0,
        "size": "512MB",
        "dotted": "A.b",
        "nothing": None,
    }


def test_comments_stand_anywhere() -> None:
    program = compiled(
        '// one\n# two\n/* three\n three */ agent a { # four\n name: "x # no // comment" // five\n}'
    )
    assert program.properties == {"name": "x # no // comment"}


def test_newlines_of_other_systems() -> None:
    program = compiled('agent a {\r\n  name: "x"\r\n  other: 1\r\n}\r\n')
    assert program.properties == {"name": "x", "other": 1}
    assert problem("agent a {\r\n  b: \r\n}").startswith("line 3, column 1:")


# -- which agent --------------------------------------------------------------


def test_the_agent_that_is_asked_for() -> None:
    both = 'agent a { name: "A" }\nagent b { name: "B" }'
    assert compiled(both, "b").properties == {"name": "B"}
    assert "there are a, b" in problem(both, "c")
    assert "several agents" in compile_source(both, None).errors[0]
    assert compiled("agent a { }", None).agent_id == "a"


def test_the_only_agent_may_be_called_otherwise() -> None:
    done = compile_source("agent a { }", "b")
    assert done.program is not None
    assert done.program.agent_id == "b"
    assert "'a' here and 'b' in the request" in done.warnings[0]


def test_a_source_without_an_agent_is_fine_and_makes_none() -> None:
    done = compile_source("policy p { deny: x }", "a")
    assert (done.success, done.program) == (True, None)
    assert compile_source("", "a").success


@pytest.mark.parametrize("name", ["", "deploy", "a/b", "-a", "a" * 129, "a\nb"])
def test_names_that_no_agent_can_have(name: str) -> None:
    done = compile_source("agent a { }", name)
    assert any("agent_name" in error for error in done.errors)


# -- what is wrong ------------------------------------------------------------

WRONG = [
    ("agent a {", "line 1, column 9: this '{' is never closed (add the missing '}')"),
    ("agent a }", "line 1, column 9: this '}' closes nothing"),
    ("agent a { b: [1, 2 }", "line 1, column 20: '}' stands where '[' of line 1 is still open"),
    ("agent a { b: 'x' }", "line 1, column 14: \"'\" cannot stand here (strings stand between"),
    ('agent a {\n b: "x\n c: "y"\n}', "line 3, column 7: this string is never closed (the string"),
    ("agent a { /* ", "line 1, column 11: this comment is never closed (close it with '*/')"),
    ("agent a {\n b:\n}", "line 3, column 1: unexpected '}'; expected a value"),
    ("agent a { b: [x y] }", "line 1, column 17: unexpected 'y'; expected ',' or ']'"),
    ("agent a { x: 3q }", "line 1, column 14: 'q' is no unit (units are s, ms"),
    ("agent a { action x { if a = 3 { } } }", "expected '{' (values are compared with '==')"),
    ("agent a { action x { a & b } }", "'&' cannot stand here (did you mean '&&'?)"),
    ("agent a { action x { for b c { } } }", "unexpected 'c'; expected 'in'"),
    ("agent my-agent { }", "(a name holds letters, digits and '_')"),
    ("agent a {\n policy p {\n deny: x\n\nagent b {\n}", "(line 5 begins 'agent': a '}' may"),
    ("name: 1\nagent a { }", "line 1, column 1: only blocks stand at the top of a source"),
    ("agent a { if x { } }", "line 1, column 11: a statement stands here outside of a function"),
    ("agent a { }\nagent a { }", "line 2, column 1: the agent 'a' is declared in line 1 already"),
    ("agent { }", "a block of the kind 'agent' has one name"),
    ("agent a { capabilities: read }", "capabilities are a list of names"),
    ("agent a { policy p { allows: x } }", "a policy has rules: allow, deny, require, audit"),
    ("agent a { policy p { allows: x } }", "did you mean 'allow'?"),
    ("agent a { action x { } action x { } }", "declared twice"),
    ("agent a { trigger t { action: greeet }; action greet { } }", "(did you mean 'greet'?)"),
    ("agent a(x: Int, x: Int) { }", "the parameter 'x' is given twice"),
    ("agent a { with timeout = soon { } }", "timeout is a duration (such as 30s or 5.minutes)"),
    ("schedule s { agent: \"a\" }", "has to have either 'cron' or 'at'"),
    ('schedule s { cron: "0 7 * * *"; at: "x" }', "has to have either 'cron' or 'at'"),
    ('schedule s { cron: "often" }', "'often' is no cron expression"),
    ("channel c { workspace: \"x\" }", "the channel 'c' has no platform"),
    ("memory m { retention: soon }", "retention is a duration"),
    ("webhook w { provider github }", "the webhook 'w' has to have a path"),
    ('webhook w { path "/x"; provider gitub }', "(did you mean 'github'?)"),
    ('webhook w { path "/x"; filter { equals "x" } }', "a filter has to have a json_path"),
    ("agent a { b: 99999999999999999999 }", "this number is too large (at most 18 digits)"),
    ("agent a { b: 1e999 }", "this number is too large"),
    ("else { }", "'else' follows the block it belongs to"),
]  # fmt: skip


@pytest.mark.parametrize(("source", "expected"), WRONG, ids=range(len(WRONG)))
def test_what_is_wrong_is_told_with_its_place(source: str, expected: str) -> None:
    found = problem(source)
    assert expected in found
    assert re.match(r"line \d+, column \d+: ", found)


def test_one_mistake_does_not_hide_the_next() -> None:
    done = compile_source("agent a {\n f(x y)\n}\n\npolicy p {\n deny:\n}\nschedule s { }", "a")
    assert [each.line for each in done.diagnostics] == [2, 7, 8]


def test_errors_are_at_most_fifty() -> None:
    done = compile_source("@ " * 5000, "a")
    assert len(done.diagnostics) == MOST_ERRORS
    assert len(compile_source("x\n" * 5000, "a").diagnostics) == MOST_ERRORS


def test_warnings_do_not_stand_in_the_way() -> None:
    done = compile_source(
        "resource r { cpu: 1 }\nimport x;\nagent a { trigger t { }\n"
        'with sandbox = "dockr" { notify(x) } }\nwebhook w { path "/x"; secret "hush" }',
        "a",
    )
    assert done.success
    assert done.program is not None
    assert done.program.sections[0].properties == {"cpu": 1}
    said = "\n".join(done.warnings)
    for part in (
        "a block of the kind 'resource' means nothing",
        "an import brings nothing",
        "a trigger and no action",
        "did you mean 'docker'?",
        "there is no action 'notify'",
        "stands in the source and is not used",
    ):
        assert part in said
    assert "hush" not in said


def test_a_near_miss_of_a_kind_is_guessed() -> None:
    done = compile_source("agnet a { }", "a")
    assert "did you mean 'agent'?" in done.warnings[0]


def test_registered_actions_are_known() -> None:
    source = "agent a { action x { notify() } }"
    assert compile_source(source, "a", actions={"notify"}).warnings == []
    assert "did you mean 'notify'?" in compile_source(
        "agent a { action x { notfy() } }", "a", actions={"notify"}
    ).warnings[0]  # fmt: skip


# -- that it ends -------------------------------------------------------------


def test_a_source_may_not_be_too_long() -> None:
    assert "262,145 characters" in problem("x" * (LONGEST_SOURCE + 1))


def test_a_source_may_not_be_nested_too_deeply() -> None:
    inner = DEEPEST - 1
    assert compile_source("agent a { x: " + "[" * inner + "]" * inner + " }", "a").success
    inner += 1
    deep = problem("agent a { x: " + "[" * inner + "]" * inner + " }")
    assert f"deeper than {DEEPEST}" in deep


HUGE = {
    "braces": "{" * LONGEST_SOURCE,
    "calls": "a(" * 10_000,
    "comments": "/*" * 10_000,
    "sums": "agent a { action x { y = " + "1 + " * 6_000 + "1 } }",
    "negations": "agent a { action x { y = " + "!" * 12_000 + "1 } }",
    "members": "agent a { action x { y" + ".z" * 30_000 + " } }",
    "branches": "agent a { action x { if y { }" + " else if y { }" * 2_000 + " } }",
    "types": "type T = " + "A<" * 15_000,
    "quotes": '"' * 15_000,
    "escapes": '"\\' * 15_000,
    "lambdas": "agent a { action x { f(" + "a => " * 10_000 + "b) } }",
    "headers": "a " * 15_000,
    "less": "agent a { action x { " + "a < " * 6_000 + "b } }",
}


@pytest.mark.parametrize("name", sorted(HUGE))
def test_what_is_long_neither_recurses_nor_runs_away(name: str) -> None:
    compile_source(HUGE[name], "a")


PIECES = st.sampled_from(
    [
        *re.findall(r'"[^"]*"|\w+|[^\w\s]', "\n".join(example.source for example in EXAMPLES)),
        "\n", " ", "\t", "\r\n", "/*", "*/", '"', "'", "\\", "é", "\0", "\ud800", "{", "}", "(",
        ")",
    ]
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.text(max_size=200), st.lists(PIECES, max_size=60).map(" ".join)), st.text())
def test_any_text_compiles_or_is_told_why_not(source: str, name: str) -> None:
    lines = source.split("\n")
    for each in (compile_source(source, name), compile_source(source, None)):
        assert isinstance(each, Compiled)
        assert each.program is None or each.success
        for found in each.diagnostics:
            assert 1 <= found.line <= len(lines)
            # An end of the text stands behind its last character.
            assert 1 <= found.column <= len(lines[found.line - 1]) + 1
            assert found.message


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_source_with_a_piece_changed_compiles_or_is_told_why_not(data: st.DataObject) -> None:
    source = data.draw(st.sampled_from([example.source for example in EXAMPLES]))
    at = data.draw(st.integers(0, len(source)))
    until = data.draw(st.integers(at, min(len(source), at + 20)))
    changed = source[:at] + data.draw(PIECES) + source[until:]
    done = compile_source(changed, None)
    assert done.success == (not done.errors)
