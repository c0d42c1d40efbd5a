"""Findings as a SARIF 2.1.0 document.

Puts right what a document cannot hold (a line before the first, a backslash in a path), and
leaves out what it cannot say. Neighbours: `sarif_rules` checks the result, `outputs` writes it.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, Final, cast
from urllib.parse import quote

import msgspec

from ..errors import ValidationError
from .findings import Edit, Finding, Fix, Location, Step, TokenUsage
from .fingerprints import finding_hash, line_hashes
from .inputs import RepositoryInput
from .record import RunRecord

__all__ = ["document"]

Json = dict[str, Any]

SCHEMA: Final = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
ROOT: Final = "%SRCROOT%"

# SARIF's level, and GitHub's number between 0 and 10, of each severity; others are medium.
_LEVELS: Final[Mapping[str, tuple[str, str]]] = {
    "critical": ("error", "9.0"),
    "high": ("error", "7.0"),
    "medium": ("warning", "4.0"),
    "low": ("note", "1.0"),
    "note": ("note", "0.0"),
}
_SYNONYMS: Final[Mapping[str, str]] = {
    "info": "note",
    "informational": "note",
    "none": "note",
    "moderate": "medium",
}
_CONFIDENCES: Final = ("low", "medium", "high")

_CWE: Final = re.compile(r"(?:cwe)?[\s_:-]*0*(\d{1,6})(?!\d)", re.IGNORECASE)
_CWE_ORGANISATION: Final = "MITRE"
_CWE_HOME: Final = "https://cwe.mitre.org/"
_SEMANTIC: Final = re.compile(
    r"(?:0|[1-9]\d*)(?:\.(?:0|[1-9]\d*)){2}(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?"
)
_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:\S+")
_SCP: Final = re.compile(r"(?:[\w.-]+@)?([\w.-]+):(?!//)(.+)")
_LARGEST: Final = 2**31 - 1
_HASHED_BYTES: Final = 1024 * 1024


def document(
    tool: str,
    version: str,
    findings: Sequence[Finding],
    usage: Sequence[TokenUsage] = (),
    *,
    information_uri: str = "",
    repository: RepositoryInput | None = None,
    record: RunRecord | None = None,
    properties: Mapping[str, Any] | None = None,
) -> Json:
    """Return the document for one run of a tool (docs/agents.md).

    With `repository` each finding gets GitHub's fingerprint, from the file it is in. With
    `record` the document tells when the run began, how it ended and on which revision.
    """
    rules = _rules(findings)
    weaknesses = sorted({found for one in findings if (found := _cwe(one.cwe))}, key=int)
    places = {number: place for place, number in enumerate(weaknesses)}
    at = {name: number for number, name in enumerate(rules)}
    source = repository if repository is not None else _input_of(record)
    fingerprints = _Fingerprints(source)
    run: Json = {
        "tool": {"driver": _driver(tool, version, information_uri, list(rules.values()))},
        "originalUriBaseIds": {ROOT: {"description": {"text": "The root of the repository."}}},
        "columnKind": "unicodeCodePoints",
        "results": [_result(one, at[_rule_id(one)], places, fingerprints) for one in findings],
    }
    if weaknesses:
        run["tool"]["driver"]["supportedTaxonomies"] = [{"name": "CWE", "index": 0}]
        run["taxonomies"] = [_taxonomy(weaknesses)]
    if revision := _revision(source):
        run["versionControlProvenance"] = [revision]
    if record is not None:
        run["invocations"] = [_invocation(record)]
        run["automationDetails"] = {"id": _text(f"{tool}/{record.run_id}")}
    bag: Json = dict(properties or {})
    if usage:
        bag["tokenUsage"] = [_usage(one) for one in usage]
    if bag:
        run["properties"] = _bag(bag)
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


# --- the tool and its rules


def _driver(tool: str, version: str, information_uri: str, rules: list[Json]) -> Json:
    driver: Json = {"name": _text(tool) or "agent"}
    if version:
        driver["version"] = _text(version)
        if _SEMANTIC.fullmatch(version):
            driver["semanticVersion"] = version
    if uri := _absolute(information_uri):
        driver["informationUri"] = uri
    driver["rules"] = rules
    return driver


def _rules(findings: Sequence[Finding]) -> dict[str, Json]:
    """Return the rules in the order they were first seen, by id.

    The words are those of the first finding; the severity is the highest of all of them.
    """
    groups: dict[str, list[Finding]] = {}
    for one in findings:
        groups.setdefault(_rule_id(one), []).append(one)
    return {name: _rule(name, group) for name, group in groups.items()}


def _rule(name: str, group: Sequence[Finding]) -> Json:
    first = group[0]
    rule: Json = {"id": name}
    title = _text(first.title)
    if title and title != name:
        rule["name"] = title
    if title:
        rule["shortDescription"] = {"text": title}
    if text := _text(first.description):
        rule["fullDescription"] = {"text": text}
    worst = max(group, key=lambda one: float(_security_severity(one)))
    rule["defaultConfiguration"] = {"level": _level(worst)}
    cwe = next((found for one in group if (found := _cwe(one.cwe))), None)
    if helps := next((one.remediation for one in group if one.remediation), ""):
        rule["help"] = {"text": _text(helps)}
    uri = next((found for one in group if (found := _absolute(one.help_uri))), None)
    if uri is None and cwe is not None:
        uri = _cwe_page(cwe)
    if uri is not None:
        rule["helpUri"] = uri
    if cwe is not None:
        rule["relationships"] = [
            {
                "target": {"id": f"CWE-{cwe}", "toolComponent": {"name": "CWE", "index": 0}},
                "kinds": ["superset"],
            }
        ]
    bag: Json = {"security-severity": _security_severity(worst)}
    known = [_CONFIDENCES.index(c) for one in group if (c := _confidence(one)) in _CONFIDENCES]
    if known:
        bag["precision"] = _CONFIDENCES[min(known)]
    if cwe is not None:
        bag["tags"] = [f"CWE-{cwe}", "security"]
    rule["properties"] = bag
    return rule


def _taxonomy(numbers: Sequence[str]) -> Json:
    return {
        "name": "CWE",
        "organization": _CWE_ORGANISATION,
        "shortDescription": {"text": "The MITRE Common Weakness Enumeration"},
        "informationUri": _CWE_HOME,
        "isComprehensive": False,
        "taxa": [{"id": f"CWE-{one}", "helpUri": _cwe_page(one)} for one in numbers],
    }


def _cwe_page(number: str) -> str:
    return f"{_CWE_HOME}data/definitions/{number}.html"


def _cwe(given: str) -> str | None:
    """Return the number of a weakness however it is written; None when there is none in it."""
    match = _CWE.match(_text(given).strip())
    return match[1] if match and int(match[1]) else None


# --- results


def _result(
    one: Finding, rule: int, weaknesses: Mapping[str, int], fingerprints: _Fingerprints
) -> Json:
    result: Json = {
        "ruleId": _rule_id(one),
        "ruleIndex": rule,
        "level": _level(one),
        "message": {"text": _text(one.description) or _text(one.title) or _rule_id(one)},
    }
    if location := _location(one.location, snippet=one.snippet):
        result["locations"] = [location]
    result["partialFingerprints"] = fingerprints.of(one)
    if cwe := _cwe(one.cwe):
        result["taxa"] = [
            {
                "id": f"CWE-{cwe}",
                "index": weaknesses[cwe],
                "toolComponent": {"name": "CWE", "index": 0},
            }
        ]
    steps = [step for each in one.flow if (step := _step(each))]
    if steps:
        result["codeFlows"] = [{"threadFlows": [{"locations": [{"location": s} for s in steps]}]}]
    if related := _distinct(step for each in one.related if (step := _step(each))):
        result["relatedLocations"] = related
    if fixes := _distinct(fix for each in one.fixes if (fix := _fix(each))):
        result["fixes"] = fixes
    bag: Json = {"security-severity": _security_severity(one)}
    if confidence := _confidence(one):
        bag["confidence"] = confidence
    if one.remediation:
        bag["remediation"] = one.remediation
    if one.cwe and not cwe:
        bag["cwe"] = one.cwe
    if one.metadata:
        bag["metadata"] = one.metadata
    result["properties"] = _bag(bag)
    return result


def _rule_id(one: Finding) -> str:
    return _text(one.id) or "unnamed"


def _severity(one: Finding) -> str:
    word = one.severity.strip().lower()
    return _SYNONYMS.get(word, word)


def _level(one: Finding) -> str:
    return _LEVELS.get(_severity(one), _LEVELS["medium"])[0]


def _security_severity(one: Finding) -> str:
    return _LEVELS.get(_severity(one), _LEVELS["medium"])[1]


def _confidence(one: Finding) -> str:
    return _text(one.confidence).strip().lower()


# --- places


def _location(place: Location, *, snippet: str = "", message: str = "") -> Json | None:
    """Return a location; of a file outside the repository only what can be said of it."""
    if not place.file:
        return {"message": {"text": _text(message)}} if message else None
    artifact = _artifact(place.file)
    if artifact is None:
        outside = f"{_text(place.file)}, which lies outside the repository"
        return {"message": {"text": f"{_text(message)} ({outside})" if message else outside}}
    region = _region(place)
    if snippet:
        region["snippet"] = {"text": _text(snippet)}
    found: Json = {"physicalLocation": {"artifactLocation": artifact, "region": region}}
    if message:
        found["message"] = {"text": _text(message)}
    return found


def _step(step: Step) -> Json | None:
    return _location(step.location, message=step.message)


def _artifact(file: str) -> Json | None:
    """Return where a file is, relative to the root; None when it is not below it."""
    # Tools print the other system's separators more often than a name here holds one.
    path = file.replace("\\", "/")
    if path.startswith("/") or re.match(r"[A-Za-z]:/", path):
        return None
    kept: list[str] = []
    for name in PurePosixPath(path).parts:
        if name == "..":
            if not kept:
                return None
            kept.pop()
        else:
            kept.append(name)
    if not kept:
        return None
    try:
        raw = os.fsencode("/".join(kept))
    except UnicodeEncodeError:
        raw = "/".join(kept).encode("utf-8", "replace")
    # A colon, too: before the first slash it would end a scheme.
    return {"uri": quote(raw, safe="/-._~!$&'()*+,;=@"), "uriBaseId": ROOT}


def _region(place: Location) -> Json:
    """Return a region that ends behind its beginning, with what is out of range left out."""
    begin = _position(place.start_line)
    region: Json = {"startLine": begin or 1}
    end = _position(place.end_line) if begin else 0
    if end >= (begin or 1):
        region["endLine"] = end
    first, last = _position(place.start_column), _position(place.end_column)
    if not begin:
        return region
    if first:
        region["startColumn"] = first
    if last and (region.get("endLine", begin) > begin or last >= (first or 1)):
        region["endColumn"] = last
    return region


def _position(value: int) -> int:
    return value if 0 < value <= _LARGEST else 0


def _fix(fix: Fix) -> Json | None:
    """Return a fix a program can apply; None when an edit does not say where."""
    changes: dict[str, Json] = {}
    for edit in fix.edits:
        artifact = _artifact(edit.location.file)
        if artifact is None or not _position(edit.location.start_line):
            return None
        change = changes.setdefault(
            artifact["uri"], {"artifactLocation": artifact, "replacements": []}
        )
        change["replacements"].append(_replacement(edit))
    if not changes:
        return None
    found: Json = {"artifactChanges": list(changes.values())}
    if text := _text(fix.description):
        found["description"] = {"text": text}
    return found


def _replacement(edit: Edit) -> Json:
    replacement: Json = {"deletedRegion": _region(edit.location)}
    if edit.text:
        replacement["insertedContent"] = {"text": _text(edit.text)}
    return replacement


# --- fingerprints


class _Fingerprints:
    """Tells findings apart: by GitHub's hash of their line, and by what they say."""

    def __init__(self, repository: RepositoryInput | None) -> None:
        self._repository = repository
        self._lines: dict[str, dict[int, str]] = {}
        self._seen: Counter[str] = Counter()

    def of(self, one: Finding) -> dict[str, str]:
        # Without lines, which move: where two findings say the same, their order counts.
        digest = finding_hash([_rule_id(one), one.location.file, one.title, one.description])
        self._seen[digest] += 1
        found = {"findingHash/v1": f"{digest}:{self._seen[digest]}"}
        if line := self._line(one.location):
            found["primaryLocationLineHash"] = line
        return found

    def _line(self, place: Location) -> str | None:
        if self._repository is None or not _position(place.start_line):
            return None
        if place.file not in self._lines:
            self._lines[place.file] = self._hashes(place.file)
        return self._lines[place.file].get(place.start_line)

    def _hashes(self, file: str) -> dict[int, str]:
        assert self._repository is not None
        try:
            text = self._repository.read_text(file, max_bytes=_HASHED_BYTES)
        except ValidationError:
            return {}  # it is gone, or too large: the other hash has to do
        return line_hashes(text)


# --- the run


def _input_of(record: RunRecord | None) -> RepositoryInput | None:
    given = None if record is None else record.input
    return given if isinstance(given, RepositoryInput) else None


def _revision(repository: RepositoryInput | None) -> Json | None:
    """Return which repository and revision it was; None when its URL is not known."""
    if repository is None or not (uri := _repository_uri(repository.url)):
        return None
    found: Json = {"repositoryUri": uri, "mappedTo": {"uriBaseId": ROOT}}
    ref = _text(repository.ref)
    if re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", ref):
        found["revisionId"] = ref
    elif ref.startswith("refs/tags/"):
        found["revisionTag"] = ref.removeprefix("refs/tags/")
    elif ref:
        found["branch"] = ref.removeprefix("refs/heads/")
    return found


def _repository_uri(url: str) -> str | None:
    """Return a repository's URL without the user and password it may hold."""
    url = _text(url).strip()
    if "://" not in url and (match := _SCP.fullmatch(url)):
        url = f"ssh://{match[1]}/{match[2].lstrip('/')}"
    url = re.sub(r"^([A-Za-z][A-Za-z0-9+.-]*://)[^/?#]*@", r"\1", url)
    return _absolute(url)


def _invocation(record: RunRecord) -> Json:
    found: Json = {
        "executionSuccessful": record.exit_code == 0 and not record.error,
        "startTimeUtc": _time(record.started_at.timestamp()),
        "endTimeUtc": _time(record.ended_at.timestamp()),
        "exitCode": record.exit_code,
    }
    if record.signal:
        found["exitSignalName"] = record.signal
    if record.error:
        found["toolExecutionNotifications"] = [
            {"level": "error", "message": {"text": _text(record.error)}}
        ]
    return found


def _usage(one: TokenUsage) -> Json:
    return {
        "model": one.model,
        "promptTokens": one.prompt_tokens,
        "completionTokens": one.completion_tokens,
        "totalTokens": one.total_tokens,
    }


def _time(seconds: float) -> str:
    from datetime import UTC, datetime

    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


# --- values


def _text(value: object) -> str:
    """Return text that UTF-8 can hold."""
    text = value if isinstance(value, str) else str(value)
    return text.encode("utf-8", "replace").decode() if not text.isascii() else text


def _absolute(uri: str) -> str | None:
    uri = _text(uri).strip()
    if not _URI.fullmatch(uri):
        return None
    return quote(uri, safe="%/:?#[]@!$&'()*+,;=-._~") if "%" not in uri else _requoted(uri)


def _requoted(uri: str) -> str:
    # A percent sign that encodes nothing is itself encoded.
    once = re.sub(r"%(?![0-9A-Fa-f]{2})", "%25", uri)
    return quote(once, safe="%/:?#[]@!$&'()*+,;=-._~")


def _distinct(items: Iterable[Json]) -> list[Json]:
    found: list[Json] = []
    for item in items:
        if item not in found:
            found.append(item)
    return found


def _bag(given: Mapping[str, Any]) -> Json:
    """Return a property bag; JSON's own kinds stay, what else there is the check reports."""
    found: Json = {}
    for name, value in given.items():
        found[_text(name)] = _jsonable(value)
    tags = found.get("tags", [])
    # In a bag that name is SARIF's, and holds different words.
    if not _is_words(tags):
        found["tags (given)"] = found.pop("tags")
    return found


def _is_words(value: object) -> bool:
    if not isinstance(value, list):
        return False
    words = cast("list[object]", value)
    return all(isinstance(one, str) for one in words) and len(set(map(str, words))) == len(words)


def _jsonable(value: Any) -> Any:
    """Return a value as JSON holds it: dates and enums as text, NaN as null.

    What JSON has no form for stays as it is; the check then says where it stands.
    """
    try:
        return msgspec.json.decode(msgspec.json.encode(value))
    except (TypeError, ValueError, OverflowError, RecursionError):
        pass
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Mapping):
        members = cast("Mapping[object, Any]", value).items()
        return {
            _text(name) if isinstance(name, str) else name: _jsonable(member)
            for name, member in members
        }
    if isinstance(value, (list, tuple)):
        return [_jsonable(item) for item in cast("Sequence[Any]", value)]
    return value
