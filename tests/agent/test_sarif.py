"""SARIF: valid whatever was found, by the schema, by Microsoft's validator, by our own check."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import urllib.parse
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ostiary.gateway.errors import OutputWriteError, SarifValidationError
from ostiary.gateway.io import (
    Edit,
    Finding,
    Fix,
    Location,
    RepositoryInput,
    RunRecord,
    SarifOutput,
    Step,
    TokenUsage,
)
from ostiary.gateway.io.fingerprints import line_hashes
from ostiary.gateway.io.sarif_rules import problems
from tests.agent.strategies import findings, json_values, metadata, usages


def found(**changes: Any) -> Finding:
    """One ordinary finding, but for what is given."""
    members: dict[str, Any] = {
        "id": "NET-004",
        "title": "Socket without timeout",
        "description": "Socket opened without timeout.",
        "severity": "high",
        "location": Location("src/net.py", 12, 14),
    }
    return Finding(**(members | changes))


def sarif(*given: Finding, **more: Any) -> Any:
    """The one run of a document with these findings."""
    return SarifOutput("scanner", "1.2.3", list(given), **more).to_dict()["runs"][0]


def result(**changes: Any) -> Any:
    return sarif(found(**changes))["results"][0]


def record(**changes: Any) -> RunRecord:
    moment = datetime(2026, 1, 31, 12, 0, 0, 250_000, tzinfo=UTC)
    members: dict[str, Any] = {
        "agent": "scanner",
        "version": "1.2.3",
        "run_id": "run_8841",
        "org_id": "77",
        "started_at": moment,
        "ended_at": moment,
    }
    return RunRecord(**(members | changes))


# --- validity


@given(st.lists(findings, max_size=4), st.lists(usages, max_size=2), metadata)
def test_every_document_is_valid(
    oasis_errors: Any, given_findings: list[Finding], used: list[TokenUsage], more: dict[str, Any]
) -> None:
    content = SarifOutput("t\udc80ol", "1.2", given_findings, used, properties=more).to_dict()
    assert list(problems(content)) == []
    # As it is read back: JSON is what is validated.
    assert oasis_errors(json.loads(json.dumps(content, allow_nan=False))) == []


def microsoft(tool: str, directory: Path, *files: Path, kind: str = "Sarif") -> list[str]:
    """Return what Microsoft's validator calls an error, by its rules of a kind."""
    said = directory / "said.sarif"
    done = subprocess.run(
        [tool, "validate", *map(str, files), "--output", str(said), "--rule-kind", kind],
        env={**os.environ, "DOTNET_SYSTEM_GLOBALIZATION_INVARIANT": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert said.exists(), done.stdout[-2000:] + done.stderr[-2000:]
    read = json.loads(said.read_text("utf-8-sig"))
    rules = read["runs"][0]["tool"]["driver"]["rules"]
    return [
        f"{one['ruleId']} {one['message']}"
        for one in read["runs"][0]["results"]
        if one.get("level", rules[one["ruleIndex"]].get("defaultConfiguration", {}).get("level"))
        == "error"
    ]


def test_microsoft_finds_nothing_wrong(sarif_multitool: str, tmp_path: Path) -> None:
    """Sixty generated runs and a full one, without an error of any rule."""
    drawn: list[list[Finding]] = []

    @settings(max_examples=60, database=None, derandomize=True)
    @given(st.lists(findings, min_size=1, max_size=4))
    def draw(some: list[Finding]) -> None:
        drawn.append(some)

    draw()
    assert len(drawn) >= 20
    # All runs in one document: to start the program takes longer than to check them.
    many = full(tmp_path)
    content = many.to_dict()
    content["runs"] += [
        run for some in drawn for run in SarifOutput("s", "1", some).to_dict()["runs"]
    ]
    everything = tmp_path / "everything.sarif"
    everything.write_text(json.dumps(content))
    many.write(tmp_path)
    written = tmp_path / "results.sarif"
    assert microsoft(sarif_multitool, tmp_path, everything, written) == []
    # What GitHub's code scanning asks for besides.
    assert microsoft(sarif_multitool, tmp_path, written, kind="Ghas") == []


def test_microsoft_can_find_something_wrong(sarif_multitool: str, tmp_path: Path) -> None:
    content = full(tmp_path).to_dict()
    content["runs"][0]["results"][0]["ruleIndex"] = 7
    wrong = tmp_path / "wrong.sarif"
    wrong.write_text(json.dumps(content))
    assert microsoft(sarif_multitool, tmp_path, wrong) != []


def full(tmp_path: Path) -> SarifOutput:
    """A document with everything that one can have."""
    source = tmp_path / "source"
    (source / "src").mkdir(parents=True, exist_ok=True)
    (source / "src/net.py").write_text("import socket\n" * 20)
    place = Location("src/net.py", 12, 12, 1, 7)
    return SarifOutput(
        "scanner",
        "1.2.3",
        [
            found(
                cwe="CWE-400",
                remediation="Pass a timeout.",
                confidence="high",
                metadata={"seen": datetime(2026, 1, 1, tzinfo=UTC), "tags": "a"},
                snippet="import socket",
                flow=[Step(place, "opened here"), Step(Location("../out.py", 1))],
                related=[Step(place, "also here")],
                fixes=[Fix("pass a timeout", [Edit(place, "import ssl")])],
            ),
            found(severity="critical", cwe="cwe-89"),
        ],
        [TokenUsage("openai:gpt-test-1", 61, 7, 68)],
        information_uri="https://example.com/scanner",
        repository=RepositoryInput(source, "0" * 40, "https://user:pass@forge.example/acme/app"),
        record=record(error="stopped early", exit_code=130, signal="SIGTERM"),
    )


def test_a_full_document_is_valid(oasis_errors: Any, tmp_path: Path) -> None:
    content = full(tmp_path).to_dict()
    assert list(problems(content)) == []
    assert oasis_errors(json.loads(json.dumps(content))) == []


def test_the_check_knows_the_schema(sarif_schema: dict[str, Any]) -> None:
    """The table has every object, with its members and what is required, and no other."""
    from ostiary.gateway.io.sarif_rules import _OBJECTS

    theirs = {"sarifLog": sarif_schema, **sarif_schema["definitions"]}
    del theirs["propertyBag"]
    assert set(_OBJECTS) == set(theirs)
    for kind, row in _OBJECTS.items():
        names = [entry.partition(":")[0] for entry in row.split()]
        members = {name.removesuffix("!") for name in names} | {"properties"}
        assert members == set(theirs[kind]["properties"]), kind
        required = {name.removesuffix("!") for name in names if name.endswith("!")}
        assert required == set(theirs[kind].get("required", [])), kind


# What to put in place of any node of a document.
NODES = json_values | st.sampled_from(
    [
        *(None, True, -2, -1, 0, 1, 2.5, 2**40, "", "x", "a b", "2.1.0", "error"),
        *([], {}, [1, 1], ["x"], {"text": "x"}, {"id": "x"}, [{}], {"x": 1}),
        *("https://example.com/", "%zz", "1-2-3"),
    ]
)


@settings(max_examples=300)
@given(st.data())
def test_what_the_schema_refuses_the_check_refuses(oasis_errors: Any, data: Any) -> None:
    """Change one place of a full document to anything: the check passes nothing that is invalid."""
    content = json.loads(json.dumps(FULL))
    holder, name = data.draw(st.sampled_from(places(content)))
    how = data.draw(st.sampled_from(["replace", "delete", "add"]))
    if how == "delete":
        del holder[name]
    elif how == "add" and isinstance(holder, dict):
        holder[data.draw(st.sampled_from(["more", "index", "guid", "rank", "kind", "level"]))] = (
            data.draw(NODES)
        )
    else:
        holder[name] = data.draw(NODES)
    try:
        text = json.dumps(content, allow_nan=False)
        text.encode()
    except ValueError:
        assume(False)
    if oasis_errors(json.loads(text)):
        assert list(problems(content)) != []


def places(node: Any) -> list[tuple[Any, Any]]:
    """Every place in a document, as a container and a key, but for inside property bags."""
    keys = list(node) if isinstance(node, dict) else range(len(node))
    return [
        place
        for key in keys
        for place in [
            (node, key),
            *(
                places(node[key])
                if isinstance(node[key], (dict, list)) and key != "properties"
                else []
            ),
        ]
    ]


def _full_for_changes() -> Any:
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        return full(Path(directory)).to_dict()


FULL = json.loads(json.dumps(_full_for_changes()))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda run: run["results"][0].update(ruleIndex=9), "beyond the rules"),
        (lambda run: run["results"][0].update(ruleId="OTHER"), "another rule"),
        (lambda run: region(run).update(endLine=1), "ends before the line"),
        (lambda run: region(run).update(startColumn=9), "ends before the column"),
        (lambda run: artifact(run).update(index=0), "beyond the array"),
        (lambda run: run["results"][0].update(fixes=[{"description": {"text": "x"}}]), "no artif"),
    ],
    ids=["index", "rule", "lines", "columns", "artifact", "fix"],
)
def test_what_no_schema_can_say(change: Any, said: str) -> None:
    content = json.loads(json.dumps(FULL))
    assert list(problems(content)) == []
    change(content["runs"][0])
    (problem,) = problems(content)
    assert said in problem


def region(run: Any) -> Any:
    return run["results"][0]["codeFlows"][0]["threadFlows"][0]["locations"][0]["location"][
        "physicalLocation"
    ]["region"]


def artifact(run: Any) -> Any:
    return run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]


# --- what stands where


def test_the_shape_of_a_document() -> None:
    content = SarifOutput("scanner", "1.2.3", [found()]).to_dict()
    assert content["version"] == "2.1.0"
    assert content["$schema"].endswith("sarif-schema-2.1.0.json")
    (run,) = content["runs"]
    driver = run["tool"]["driver"]
    assert (driver["name"], driver["version"], driver["semanticVersion"]) == (
        ("scanner", "1.2.3", "1.2.3")
    )
    assert "invocations" not in run
    one = run["results"][0]
    assert one["ruleId"] == "NET-004"
    assert one["ruleIndex"] == 0
    assert one["message"]["text"] == "Socket opened without timeout."
    assert one["locations"][0]["physicalLocation"] == {
        "artifactLocation": {"uri": "src/net.py", "uriBaseId": "%SRCROOT%"},
        "region": {"startLine": 12, "endLine": 14},
    }


@pytest.mark.parametrize(
    ("severity", "level", "number"),
    [
        ("critical", "error", "9.0"),
        ("high", "error", "7.0"),
        ("medium", "warning", "4.0"),
        ("low", "note", "1.0"),
        ("note", "note", "0.0"),
        ("High", "error", "7.0"),
        (" LOW ", "note", "1.0"),
        ("info", "note", "0.0"),
        ("strange", "warning", "4.0"),
        ("", "warning", "4.0"),
    ],
)
def test_severity(severity: str, level: str, number: str) -> None:
    run = sarif(found(severity=severity))
    assert run["results"][0]["level"] == level
    assert run["results"][0]["properties"]["security-severity"] == number
    assert run["tool"]["driver"]["rules"][0]["properties"]["security-severity"] == number


def test_a_rule_is_as_severe_as_its_worst_finding() -> None:
    run = sarif(found(severity="low"), found(severity="critical"), found(id="B", severity="note"))
    rules = run["tool"]["driver"]["rules"]
    assert [(r["id"], r["properties"]["security-severity"]) for r in rules] == [
        ("NET-004", "9.0"),
        ("B", "0.0"),
    ]
    assert [r["level"] for r in run["results"]] == ["note", "error", "note"]
    assert [r["ruleIndex"] for r in run["results"]] == [0, 0, 1]


@pytest.mark.parametrize("cwe", ["CWE-89", "cwe-89", "89", "CWE 089", "Cwe_89", "CWE-89: SQL"])
def test_a_weakness_however_it_is_written(cwe: str) -> None:
    run = sarif(found(cwe=cwe))
    rule = run["tool"]["driver"]["rules"][0]
    assert rule["properties"]["tags"] == ["CWE-89", "security"]
    assert rule["helpUri"] == "https://cwe.mitre.org/data/definitions/89.html"
    assert rule["relationships"][0]["target"]["id"] == "CWE-89"
    assert run["results"][0]["taxa"][0]["id"] == "CWE-89"
    (taxonomy,) = run["taxonomies"]
    assert [taxon["id"] for taxon in taxonomy["taxa"]] == ["CWE-89"]


def test_taxonomy_indexes_lead_to_their_taxa() -> None:
    run = sarif(found(cwe="CWE-400"), found(id="b", cwe="79"), found(id="c", cwe="CWE-400"))
    taxa = run["taxonomies"][0]["taxa"]
    assert [taxon["id"] for taxon in taxa] == ["CWE-79", "CWE-400"]
    for one in run["results"]:
        (reference,) = one["taxa"]
        assert taxa[reference["index"]]["id"] == reference["id"]


@pytest.mark.parametrize("cwe", ["", "none", "CWE-", "CWE-0", "CWE-12345678"])
def test_what_is_no_weakness_makes_no_tag(cwe: str) -> None:
    run = sarif(found(cwe=cwe))
    assert "taxonomies" not in run
    assert "tags" not in run["tool"]["driver"]["rules"][0]["properties"]
    assert run["results"][0]["properties"].get("cwe", "") == cwe


@pytest.mark.parametrize(
    ("place", "region"),
    [
        (Location("a"), {"startLine": 1}),
        (Location("a", 3), {"startLine": 3}),
        (Location("a", -3, -2), {"startLine": 1}),
        (Location("a", 9, 4), {"startLine": 9}),
        (Location("a", 0, 4), {"startLine": 1}),
        (Location("a", 2, 2, 5, 3), {"startLine": 2, "endLine": 2, "startColumn": 5}),
        (
            Location("a", 2, 3, 5, 3),
            {"startLine": 2, "endLine": 3, "startColumn": 5, "endColumn": 3},
        ),
        (
            Location("a", 2, 2, 5, 5),
            {"startLine": 2, "endLine": 2, "startColumn": 5, "endColumn": 5},
        ),
        (Location("a", 2, 0, -1, 4), {"startLine": 2, "endColumn": 4}),
        (Location("a", 2**31), {"startLine": 1}),
    ],
    ids=str,
)
def test_regions(place: Location, region: dict[str, int]) -> None:
    assert result(location=place)["locations"][0]["physicalLocation"]["region"] == region


@pytest.mark.parametrize(
    ("file", "uri"),
    [
        ("src/my net.py", "src/my%20net.py"),
        ("src\\win.py", "src/win.py"),
        ("./a//b.py", "a/b.py"),
        ("a/../b.py", "b.py"),
        ("a:b.py", "a%3Ab.py"),
        ("100%.txt", "100%25.txt"),
        ("ünï.py", "%C3%BCn%C3%AF.py"),
        ("q?f#g.py", "q%3Ff%23g.py"),
        (os.fsdecode(b"\xff.py"), "%FF.py"),
        ("..odd/x", "..odd/x"),
    ],
)
def test_paths_become_references(file: str, uri: str) -> None:
    found_at = result(location=Location(file, 1))["locations"][0]["physicalLocation"]
    assert found_at["artifactLocation"]["uri"] == uri


@pytest.mark.parametrize("file", ["../x.py", "a/../../x.py", "/etc/passwd", "C:\\x.py"])
def test_what_lies_outside_gets_no_reference(file: str) -> None:
    (location,) = result(location=Location(file, 1))["locations"]
    assert list(location) == ["message"]
    assert file in location["message"]["text"]


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\\/\0"), min_size=1))
def test_a_reference_reads_back(name: str) -> None:
    assume(name not in {".", ".."})
    one = result(location=Location(f"src/{name}", 1))
    uri = one["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert urllib.parse.unquote(uri) == f"src/{name}"


def test_nothing_that_was_given_is_dropped() -> None:
    run = sarif(
        found(confidence="High", metadata={"k": [1, {"x": None}]}, remediation="Do this."),
        token_usage=[TokenUsage("openai:x", 1, 2, 3)],
    )
    bag = run["results"][0]["properties"]
    assert bag["confidence"] == "high"
    assert bag["metadata"] == {"k": [1, {"x": None}]}
    assert bag["remediation"] == "Do this."
    rule = run["tool"]["driver"]["rules"][0]
    assert rule["help"] == {"text": "Do this."}
    assert rule["properties"]["precision"] == "high"
    assert run["properties"]["tokenUsage"] == [
        {"model": "openai:x", "promptTokens": 1, "completionTokens": 2, "totalTokens": 3}
    ]


def test_prose_is_no_fix() -> None:
    assert "fixes" not in result(remediation="Pass a timeout.")


def test_a_fix_has_its_edits() -> None:
    place = Location("src/net.py", 12, 12, 1, 7)
    (fix,) = result(fixes=[Fix("use ssl", [Edit(place, "ssl")])])["fixes"]
    assert fix["description"]["text"] == "use ssl"
    (change,) = fix["artifactChanges"]
    assert change["artifactLocation"]["uri"] == "src/net.py"
    assert change["replacements"] == [
        {
            "deletedRegion": {"startLine": 12, "endLine": 12, "startColumn": 1, "endColumn": 7},
            "insertedContent": {"text": "ssl"},
        }
    ]


@pytest.mark.parametrize(
    "fix",
    [
        Fix("nothing", []),
        Fix("x", [Edit(Location("a"), "y")]),
        Fix("x", [Edit(Location("../a", 1), "")]),
    ],
    ids=["no edits", "no line", "outside"],
)
def test_a_fix_nobody_could_apply_is_left_out(fix: Fix) -> None:
    assert "fixes" not in result(fixes=[fix])


def test_no_code_is_shown_unless_it_is_given(repository: Path) -> None:
    place = Location("src/app.py", 1)
    run = sarif(found(location=place), repository=RepositoryInput(repository))
    assert "snippet" not in json.dumps(run)
    assert "import os" not in json.dumps(run)


def test_the_run_is_told() -> None:
    run = sarif(found(), record=record(exit_code=31, error="the quota is used up"))
    (invocation,) = run["invocations"]
    assert invocation == {
        "executionSuccessful": False,
        "startTimeUtc": "2026-01-31T12:00:00.250Z",
        "endTimeUtc": "2026-01-31T12:00:00.250Z",
        "exitCode": 31,
        "toolExecutionNotifications": [
            {"level": "error", "message": {"text": "the quota is used up"}}
        ],
    }
    assert run["automationDetails"]["id"] == "scanner/run_8841"


@pytest.mark.parametrize(
    ("url", "uri"),
    [
        ("https://forge.example/acme/app", "https://forge.example/acme/app"),
        ("https://user:secret@forge.example/a", "https://forge.example/a"),
        ("https://token@forge.example/a", "https://forge.example/a"),
        ("git@forge.example:acme/app.git", "ssh://forge.example/acme/app.git"),
        ("ssh://git@forge.example/a", "ssh://forge.example/a"),
        ("", None),
        ("no url", None),
    ],
)
def test_the_revision_holds_no_password(tmp_path: Path, url: str, uri: str | None) -> None:
    run = sarif(repository=RepositoryInput(tmp_path, "refs/heads/main", url))
    revision = run.get("versionControlProvenance", [{}])[0]
    assert revision.get("repositoryUri") == uri
    assert "secret" not in json.dumps(run)
    assert "token@" not in json.dumps(run)
    if uri:
        assert revision["branch"] == "main"


@pytest.mark.parametrize("text", ["a" * 300_000, "1" * 300_000, "1." + "1" * 300_000])
def test_a_long_text_is_checked_at_once(text: str) -> None:
    run = {"tool": {"driver": {"name": "x", "dottedQuadFileVersion": text}}}
    run["artifacts"] = [{"mimeType": text}]  # type: ignore[assignment]
    assert len(list(problems({"version": "2.1.0", "runs": [run]}))) == 2


# --- fingerprints


@pytest.mark.parametrize(
    ("text", "hashes"),
    [
        ("", "c129715d7a2bc9a3:1"),
        (
            " a\nb\n  \t\tc\n d",
            "271789c17abda88f:1 54703d4cd895b18:1 180aee12dab6264:1 a23a3dc5e078b07b:1",
        ),
        (
            " hello; \t\nworld!!!\n\n\n  \t\tGreetings\n End\n",
            "e9496ae3ebfced30:1 fb7c023a8b9ccb3f:1 ce8ba1a563dcdaca:1 e20e36e16fcb0cc8:1 "
            "b3edc88f2938467e:1 c8e28b0b4002a3a0:1 c129715d7a2bc9a3:1",
        ),
    ],
)
def test_line_hashes_are_those_of_github(text: str, hashes: str) -> None:
    for spelt in (text, text.replace("\n", "\r\n"), text.replace("\n", "\r")):
        assert list(line_hashes(spelt).values()) == hashes.split()


@given(st.text(st.sampled_from("ab \t\n\r\U0001f600"), max_size=300))
def test_line_hashes_roll(text: str) -> None:
    """As the algorithm is written down: a window that moves one character at a time."""
    assert line_hashes(text) == rolled(text)


def rolled(text: str) -> dict[int, str]:
    window, owners = [0] * 100, [-1] * 100
    state = {"hash": 0, "at": 0, "line": 0}
    counts: dict[str, int] = {}
    hashes: dict[int, str] = {}
    leaving = pow(37, 100, 1 << 64)

    def put_out() -> None:
        digest = f"{state['hash']:x}"
        counts[digest] = counts.get(digest, 0) + 1
        hashes[owners[state["at"]]] = f"{digest}:{counts[digest]}"
        owners[state["at"]] = -1

    def update(code: int) -> None:
        begin, window[state["at"]] = window[state["at"]], code
        state["hash"] = (37 * state["hash"] + code - leaving * begin) % (1 << 64)
        state["at"] = (state["at"] + 1) % 100

    raw = text.encode("utf-16-le")
    codes = [int.from_bytes(raw[at : at + 2], "little") for at in range(0, len(raw), 2)]
    line_start, carriage = True, False
    for code in [*codes, 0xFFFF]:
        if code in (32, 9) or (carriage and code == 10):
            carriage = False
            continue
        carriage = code == 13
        code = 10 if code == 13 else code
        if owners[state["at"]] != -1:
            put_out()
        if line_start:
            line_start = False
            state["line"] += 1
            owners[state["at"]] = state["line"]
        line_start = line_start or code == 10
        update(code)
    for _ in range(100):
        if owners[state["at"]] != -1:
            put_out()
        update(0)
    return hashes


def test_microsoft_computes_the_same_hashes(sarif_multitool: str, tmp_path: Path) -> None:
    """Theirs, from the files, beside ours: of code, odd blanks, equal lines, other letters."""
    program = Path(json.__file__).read_bytes()
    odd = "a\tb\r\n \u00e9\U0001f600 x\n\n\n}\n}\n}\nend of it".encode()
    (tmp_path / "a.py").write_bytes(program[:20_000] + odd * 3)
    count = len((tmp_path / "a.py").read_text("utf-8").splitlines())
    given = [found(location=Location("a.py", line)) for line in range(1, count + 1)]
    run = sarif(*given, repository=RepositoryInput(tmp_path))
    ours = [one.pop("partialFingerprints")["primaryLocationLineHash"] for one in run["results"]]
    del run["originalUriBaseIds"]
    for one in run["results"]:
        place = one["locations"][0]["physicalLocation"]
        place["artifactLocation"] = {"uri": (tmp_path / "a.py").as_uri()}
    (tmp_path / "bare.sarif").write_text(json.dumps({"version": "2.1.0", "runs": [run]}))
    subprocess.run(
        [
            *(sarif_multitool, "rewrite", str(tmp_path / "bare.sarif")),
            *("--output", str(tmp_path / "theirs.sarif")),
            *("--insert", "RollingHashPartialFingerprints"),
        ],
        env={**os.environ, "DOTNET_SYSTEM_GLOBALIZATION_INVARIANT": "1"},
        capture_output=True,
        check=True,
        timeout=100,
    )
    read = json.loads((tmp_path / "theirs.sarif").read_text("utf-8-sig"))
    theirs = [
        one["partialFingerprints"]["primaryLocationLineHash"] for one in read["runs"][0]["results"]
    ]
    assert ours == theirs
    assert len(set(ours)) > 100


def test_fingerprints_survive_moved_lines(repository: Path) -> None:
    def prints(line: int) -> Any:
        one = found(location=Location("src/app.py", line))
        run = sarif(one, repository=RepositoryInput(repository))
        return run["results"][0]["partialFingerprints"]

    before = prints(3)
    assert set(before) == {"findingHash/v1", "primaryLocationLineHash"}
    source = repository / "src/app.py"
    source.write_text("# a line more\n" + source.read_text())
    assert prints(4) == before
    assert prints(3) != before


def test_equal_findings_have_distinct_fingerprints() -> None:
    run = sarif(found(), found(), found(description="other"))
    digests = [one["partialFingerprints"]["findingHash/v1"] for one in run["results"]]
    assert len(set(digests)) == 3
    assert [digest.partition(":")[2] for digest in digests] == ["1", "2", "1"]


def test_a_file_that_is_gone_still_has_one_fingerprint(tmp_path: Path) -> None:
    run = sarif(found(location=Location("gone.py", 1)), repository=RepositoryInput(tmp_path))
    assert list(run["results"][0]["partialFingerprints"]) == ["findingHash/v1"]


# --- writing


def test_write_and_read_back(tmp_path: Path) -> None:
    output = SarifOutput("scanner", "1", [found()])
    assert output.io_type == "sarif"
    # A path as text, and a directory that is not there yet.
    assert output.write(str(tmp_path / "new" / "er")) == ["results.sarif"]
    assert json.loads((tmp_path / "new/er/results.sarif").read_text()) == output.to_dict()
    assert [p.name for p in (tmp_path / "new/er").iterdir()] == ["results.sarif"]


def test_an_output_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputWriteError, match="OUTPUT_PATH") as caught:
        SarifOutput("scanner", "1").write(tmp_path / "file" / "output")
    assert caught.value.exit_code == 51
    pickle.loads(pickle.dumps(caught.value))


def test_what_stood_there_stays_when_writing_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "results.sarif").write_text("before")

    def full_disk(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OutputWriteError, match="No space left"):
        SarifOutput("scanner", "1", [found()]).write(tmp_path)
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("results.sarif", "before")]


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("untouched")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/results.sarif").symlink_to(outside)
    SarifOutput("scanner", "1").write(tmp_path / "out")
    assert outside.read_text() == "untouched"
    assert not (tmp_path / "out/results.sarif").is_symlink()


@pytest.mark.parametrize(
    "value",
    [object(), {1: object()}, {"x": {2: object()}}, [lambda: 0]],
    ids=["object", "key", "deep", "function"],
)
def test_metadata_that_json_has_not_is_refused_with_its_place(tmp_path: Path, value: Any) -> None:
    with pytest.raises(SarifValidationError, match="/properties/metadata/odd") as caught:
        SarifOutput("scanner", "1", [found(metadata={"odd": value})]).write(tmp_path)
    assert caught.value.exit_code == 52
    assert list(tmp_path.iterdir()) == []


def test_metadata_that_is_too_deep_is_refused(tmp_path: Path) -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(SarifValidationError):
        SarifOutput("scanner", "1", [found(metadata={"deep": deep})]).write(tmp_path)


def test_a_document_of_a_subclass_is_checked_too(tmp_path: Path) -> None:
    class Own(SarifOutput):
        def to_dict(self) -> dict[str, Any]:
            content = super().to_dict()
            content["runs"][0]["results"][0]["fixes"] = [{"description": {"text": "do it"}}]
            return content

    output = Own("scanner", "1", [found()])
    with pytest.raises(SarifValidationError, match="/runs/0/results/0/fixes/0: has no artifactCh"):
        output.write(tmp_path)
    with pytest.raises(SarifValidationError):
        output.validate()
