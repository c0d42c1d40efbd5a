"""What a SARIF 2.1.0 document may hold: the OASIS schema as a table, and the check against it.

The table says what the schema says. `problems` also finds what no schema can express: indexes
beyond their arrays, regions that end before they begin. Neighbour: `report`, which builds
documents; every one passes through here before it is written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final, cast

__all__ = ["problems"]

# Each object: its members. `!` is required; `set(x)` has no two equal items, the 1 of
# `list1(x)` says at least one; every object may also hold `properties`, a bag of anything.
_OBJECTS: Final[Mapping[str, str]] = {
    "sarifLog": "$schema:uri version!:2.1.0 runs!:runs inlineExternalProperties:"
    "set(externalProperties)",
    "address": "absoluteAddress:int>=-1 relativeAddress:int length:int kind:str name:str "
    "fullyQualifiedName:str offsetFromParent:int index:int>=-1 parentIndex:int>=-1",
    "artifact": "description:message location:artifactLocation parentIndex:int>=-1 offset:int>=0 "
    "length:int>=-1 roles:set(analysisTarget|attachment|responseFile|resultFile|standardStream"
    "|tracedFile|unmodified|modified|added|deleted|renamed|uncontrolled|driver|extension"
    "|translation|taxonomy|policy|referencedOnCommandLine|memoryContents|directory"
    "|userSpecifiedConfiguration|toolSpecifiedConfiguration|debugOutputFile) mimeType:mime "
    "contents:artifactContent encoding:str sourceLanguage:str hashes:map(str) "
    "lastModifiedTimeUtc:time",
    "artifactChange": "artifactLocation!:artifactLocation replacements!:list1(replacement)",
    "artifactContent": "text:str binary:str rendered:multiformatMessageString",
    "artifactLocation": "uri:reference uriBaseId:str index:int>=-1 description:message",
    "attachment": "description:message artifactLocation!:artifactLocation regions:set(region) "
    "rectangles:set(rectangle)",
    "codeFlow": "message:message threadFlows!:list1(threadFlow)",
    "configurationOverride": "configuration!:reportingConfiguration "
    "descriptor!:reportingDescriptorReference",
    "conversion": "tool!:tool invocation:invocation analysisToolLogFiles:set(artifactLocation)",
    "edge": "id!:str label:message sourceNodeId!:str targetNodeId!:str",
    "edgeTraversal": "edgeId!:str message:message finalState:map(multiformatMessageString) "
    "stepOverEdgeCount:int>=0",
    "exception": "kind:str message:str stack:stack innerExceptions:list(exception)",
    "externalProperties": "schema:uri version:2.1.0 guid:guid runGuid:guid conversion:conversion "
    "graphs:set(graph) externalizedProperties:bag artifacts:set(artifact) "
    "invocations:list(invocation) logicalLocations:set(logicalLocation) "
    "threadFlowLocations:set(threadFlowLocation) results:list(result) "
    "taxonomies:set(toolComponent) driver:toolComponent extensions:set(toolComponent) "
    "policies:set(toolComponent) translations:set(toolComponent) addresses:list(address) "
    "webRequests:set(webRequest) webResponses:set(webResponse)",
    "externalPropertyFileReference": "location:artifactLocation guid:guid itemCount:int>=-1",
    "externalPropertyFileReferences": " ".join(
        [
            f"{one}:externalPropertyFileReference"
            for one in ("conversion", "externalizedProperties", "driver")
        ]
        + [
            f"{many}:set(externalPropertyFileReference)"
            for many in (
                *("graphs", "artifacts", "invocations", "logicalLocations", "results"),
                *("threadFlowLocations", "taxonomies", "addresses", "extensions", "policies"),
                *("translations", "webRequests", "webResponses"),
            )
        ]
    ),
    "fix": "description:message artifactChanges!:set1(artifactChange)",
    "graph": "description:message nodes:set(node) edges:set(edge)",
    "graphTraversal": "runGraphIndex:int>=-1 resultGraphIndex:int>=-1 description:message "
    "initialState:map(multiformatMessageString) immutableState:map(multiformatMessageString) "
    "edgeTraversals:list(edgeTraversal)",
    "invocation": "commandLine:str arguments:list(str) responseFiles:set(artifactLocation) "
    "startTimeUtc:time endTimeUtc:time exitCode:int "
    "ruleConfigurationOverrides:set(configurationOverride) "
    "notificationConfigurationOverrides:set(configurationOverride) "
    "toolExecutionNotifications:list(notification) "
    "toolConfigurationNotifications:list(notification) exitCodeDescription:str "
    "exitSignalName:str exitSignalNumber:int processStartFailureMessage:str "
    "executionSuccessful!:bool machine:str account:str processId:int "
    "executableLocation:artifactLocation workingDirectory:artifactLocation "
    "environmentVariables:map(str) stdin:artifactLocation stdout:artifactLocation "
    "stderr:artifactLocation stdoutStderr:artifactLocation",
    "location": "id:int>=-1 physicalLocation:physicalLocation "
    "logicalLocations:set(logicalLocation) message:message annotations:set(region) "
    "relationships:set(locationRelationship)",
    "locationRelationship": "target!:int>=0 kinds:set(str) description:message",
    "logicalLocation": "name:str index:int>=-1 fullyQualifiedName:str decoratedName:str "
    "parentIndex:int>=-1 kind:str",
    "message": "text:str markdown:str id:str arguments:list(str)",
    "multiformatMessageString": "text!:str markdown:str",
    "node": "id!:str label:message location:location children:set(node)",
    "notification": "locations:set(location) message!:message level:none|note|warning|error "
    "threadId:int timeUtc:time exception:exception descriptor:reportingDescriptorReference "
    "associatedRule:reportingDescriptorReference",
    "physicalLocation": "address:address artifactLocation:artifactLocation region:region "
    "contextRegion:region",
    "rectangle": "top:num left:num bottom:num right:num message:message",
    "region": "startLine:int>=1 startColumn:int>=1 endLine:int>=1 endColumn:int>=1 "
    "charOffset:int>=-1 charLength:int>=0 byteOffset:int>=-1 byteLength:int>=0 "
    "snippet:artifactContent message:message sourceLanguage:str",
    "replacement": "deletedRegion!:region insertedContent:artifactContent",
    "reportingConfiguration": "enabled:bool level:none|note|warning|error rank:rank parameters:bag",
    "reportingDescriptor": "id!:str deprecatedIds:set(str) guid:guid deprecatedGuids:set(guid) "
    "name:str deprecatedNames:set(str) shortDescription:multiformatMessageString "
    "fullDescription:multiformatMessageString messageStrings:map(multiformatMessageString) "
    "defaultConfiguration:reportingConfiguration helpUri:uri help:multiformatMessageString "
    "relationships:set(reportingDescriptorRelationship)",
    "reportingDescriptorReference": "id:str index:int>=-1 guid:guid "
    "toolComponent:toolComponentReference",
    "reportingDescriptorRelationship": "target!:reportingDescriptorReference kinds:set(str) "
    "description:message",
    "result": "ruleId:str ruleIndex:int>=-1 rule:reportingDescriptorReference "
    "kind:notApplicable|pass|fail|review|open|informational level:none|note|warning|error "
    "message!:message analysisTarget:artifactLocation locations:list(location) guid:guid "
    "correlationGuid:guid occurrenceCount:int>=1 partialFingerprints:map(str) "
    "fingerprints:map(str) stacks:set(stack) codeFlows:list(codeFlow) graphs:set(graph) "
    "graphTraversals:set(graphTraversal) relatedLocations:set(location) "
    "suppressions:set(suppression) baselineState:new|unchanged|updated|absent rank:rank "
    "attachments:set(attachment) hostedViewerUri:uri workItemUris:set(uri) "
    "provenance:resultProvenance fixes:set(fix) taxa:set(reportingDescriptorReference) "
    "webRequest:webRequest webResponse:webResponse",
    "resultProvenance": "firstDetectionTimeUtc:time lastDetectionTimeUtc:time "
    "firstDetectionRunGuid:guid lastDetectionRunGuid:guid invocationIndex:int>=-1 "
    "conversionSources:set(physicalLocation)",
    "run": "tool!:tool invocations:list(invocation) conversion:conversion language:language "
    "versionControlProvenance:set(versionControlDetails) "
    "originalUriBaseIds:map(artifactLocation) artifacts:set(artifact) "
    "logicalLocations:set(logicalLocation) graphs:set(graph) results:list(result) "
    "automationDetails:runAutomationDetails runAggregates:set(runAutomationDetails) "
    "baselineGuid:guid redactionTokens:set(str) defaultEncoding:str defaultSourceLanguage:str "
    "newlineSequences:set1(str) columnKind:utf16CodeUnits|unicodeCodePoints "
    "externalPropertyFileReferences:externalPropertyFileReferences "
    "threadFlowLocations:set(threadFlowLocation) taxonomies:set(toolComponent) "
    "addresses:list(address) translations:set(toolComponent) policies:set(toolComponent) "
    "webRequests:set(webRequest) webResponses:set(webResponse) "
    "specialLocations:specialLocations",
    "runAutomationDetails": "description:message id:str guid:guid correlationGuid:guid",
    "specialLocations": "displayBase:artifactLocation",
    "stack": "message:message frames!:list(stackFrame)",
    "stackFrame": "location:location module:str threadId:int parameters:list(str)",
    "suppression": "guid:guid kind!:inSource|external status:accepted|underReview|rejected "
    "justification:str location:location",
    "threadFlow": "id:str message:message initialState:map(multiformatMessageString) "
    "immutableState:map(multiformatMessageString) locations!:list1(threadFlowLocation)",
    "threadFlowLocation": "index:int>=-1 location:location stack:stack kinds:set(str) "
    "taxa:set(reportingDescriptorReference) module:str state:map(multiformatMessageString) "
    "nestingLevel:int>=0 executionOrder:int>=-1 executionTimeUtc:time "
    "importance:important|essential|unimportant webRequest:webRequest webResponse:webResponse",
    "tool": "driver!:toolComponent extensions:set(toolComponent)",
    "toolComponent": "guid:guid name!:str organization:str product:str productSuite:str "
    "shortDescription:multiformatMessageString fullDescription:multiformatMessageString "
    "fullName:str version:str semanticVersion:str dottedQuadFileVersion:quad releaseDateUtc:str "
    "downloadUri:uri informationUri:uri globalMessageStrings:map(multiformatMessageString) "
    "notifications:set(reportingDescriptor) rules:set(reportingDescriptor) "
    "taxa:set(reportingDescriptor) locations:list(artifactLocation) language:language "
    "contents:set(localizedData|nonLocalizedData) isComprehensive:bool "
    "localizedDataSemanticVersion:str minimumRequiredLocalizedDataSemanticVersion:str "
    "associatedComponent:toolComponentReference translationMetadata:translationMetadata "
    "supportedTaxonomies:set(toolComponentReference)",
    "toolComponentReference": "name:str index:int>=-1 guid:guid",
    "translationMetadata": "name!:str fullName:str shortDescription:multiformatMessageString "
    "fullDescription:multiformatMessageString downloadUri:uri informationUri:uri",
    "versionControlDetails": "repositoryUri!:uri revisionId:str branch:str revisionTag:str "
    "asOfTimeUtc:time mappedTo:artifactLocation",
    "webRequest": "index:int>=-1 protocol:str version:str target:str method:str headers:map(str) "
    "parameters:map(str) body:artifactContent",
    "webResponse": "index:int>=-1 protocol:str version:str statusCode:int reasonPhrase:str "
    "headers:map(str) body:artifactContent noResponseReceived:bool",
}

_ONE_OF_THESE: Final[Mapping[str, tuple[str, ...]]] = {
    "externalPropertyFileReference": ("location", "guid"),
    "message": ("text", "id"),
    "physicalLocation": ("address", "artifactLocation"),
    "region": ("startLine", "charOffset", "byteOffset"),
    "reportingDescriptorReference": ("index", "guid", "id"),
    "graphTraversal": ("runGraphIndex", "resultGraphIndex"),
}
_EXACTLY_ONE: Final = {"graphTraversal"}

# RFC 3986: what may stand in a reference, percent signs only before two hex digits.
_REFERENCE: Final = re.compile(r"(?:[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=]|%[0-9A-Fa-f]{2})*")
_PATTERNS: Final[Mapping[str, tuple[re.Pattern[str], str]]] = {
    "uri": (re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:" + _REFERENCE.pattern), "an absolute URI"),
    "reference": (
        # A colon in the first segment of a relative path would be a scheme's.
        re.compile(rf"(?:[A-Za-z][A-Za-z0-9+.\-]*:|(?![^/?#]*:)){_REFERENCE.pattern}"),
        "a URI reference, percent-encoded",
    ),
    "guid": (
        re.compile(
            r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[1-5][0-9a-fA-F]{3}-[89abAB][0-9a-fA-F]{3}"
            r"-[0-9a-fA-F]{12}"
        ),
        "a GUID",
    ),
    "time": (
        re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)"),
        "a date and time such as 2026-01-31T12:00:00Z",
    ),
    "language": (re.compile(r"[a-zA-Z]{2}(?:-[a-zA-Z]{2})?"), "a language such as en-US"),
    "mime": (re.compile(r".*?[^/]/.+", re.DOTALL), "a MIME type"),
    "quad": (re.compile(r".*?[0-9](?:\.[0-9]+){3}.*", re.DOTALL), "four numbers with dots"),
}

# .NET consumers, GitHub's among them, read every integer as 32 bits.
_LARGEST: Final = 2**31 - 1

Check = Callable[[object, str], Iterator[str]]


def problems(document: object) -> Iterator[str]:
    """Yield what keeps `document` from being SARIF 2.1.0, each with its place; nothing when it is.

    A place is a JSON pointer. No problem quotes a value: documents may hold source code.
    """
    found = False
    for problem in _check("sarifLog")(document, ""):
        found = True
        yield problem
    if not found:
        runs: list[Any] = cast("dict[str, Any]", document)["runs"] or []
        for number, run in enumerate(runs):
            yield from _inconsistent(run, f"/runs/{number}")


@cache
def _check(kind: str) -> Check:
    """Return the check for one kind of value."""
    if kind in _OBJECTS:
        return _object(kind)
    if match := re.fullmatch(r"(set|list)(1?)\((.+)\)", kind):
        return _array(match[3], unique=match[1] == "set", least=1 if match[2] else 0)
    if match := re.fullmatch(r"map\((.+)\)", kind):
        return _map(match[1])
    if match := re.fullmatch(r"int(?:>=(-?\d+))?", kind):
        return _integer(-_LARGEST - 1 if match[1] is None else int(match[1]))
    if kind in _PATTERNS:
        return _pattern(*_PATTERNS[kind])
    if kind == "runs":
        return _runs
    if kind == "bag":
        return _bag
    if kind in _SIMPLE:
        return _simple(*_SIMPLE[kind])
    return _words(kind.split("|"))


def _object(kind: str) -> Check:
    members: dict[str, str] = {"properties": "bag"}
    required: list[str] = []
    for entry in _OBJECTS[kind].split():
        name, _, of = entry.partition(":")
        if name.endswith("!"):
            name = name[:-1]
            required.append(name)
        members[name] = of
    some = _ONE_OF_THESE.get(kind, ())

    def check(value: object, at: str) -> Iterator[str]:
        if not isinstance(value, dict):
            yield f"{at or '/'}: is not an object"
            return
        given = cast("dict[object, object]", value)
        for name in required:
            if name not in given:
                yield f"{at or '/'}: has no {name}"
        there = sum(name in given for name in some)
        if some and (there == 0 or (kind in _EXACTLY_ONE and there > 1)):
            yield f"{at or '/'}: has to hold {' or '.join(some)}"
        for key, member in given.items():
            of = members.get(key) if isinstance(key, str) else None
            if of is None:
                yield f"{at or '/'}: has a member that {kind} does not have"
            else:
                yield from _check(of)(member, f"{at}/{key}")

    return check


def _array(of: str, *, unique: bool, least: int) -> Check:
    def check(value: object, at: str) -> Iterator[str]:
        if not isinstance(value, list):
            yield f"{at}: is not an array"
            return
        items = cast("list[object]", value)
        if len(items) < least:
            yield f"{at}: is empty"
        if unique and len({_canonical(item) for item in items}) < len(items):
            yield f"{at}: has two equal items"
        for number, item in enumerate(items):
            yield from _check(of)(item, f"{at}/{number}")

    return check


def _map(of: str) -> Check:
    def check(value: object, at: str) -> Iterator[str]:
        if not isinstance(value, dict):
            yield f"{at}: is not an object"
            return
        for name, item in cast("dict[object, object]", value).items():
            if not isinstance(name, str):
                yield f"{at}: has a name that is not text"
            else:
                yield from _check(of)(item, f"{at}/{_escaped(name)}")

    return check


def _integer(least: int) -> Check:
    def check(value: object, at: str) -> Iterator[str]:
        if isinstance(value, bool) or not isinstance(value, int):
            yield f"{at}: is not a whole number"
        elif not least <= value <= _LARGEST:
            yield f"{at}: is not between {least} and {_LARGEST}"

    return check


def _pattern(pattern: re.Pattern[str], what: str) -> Check:
    def check(value: object, at: str) -> Iterator[str]:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            yield f"{at}: is not {what}"

    return check


def _words(words: Sequence[str]) -> Check:
    def check(value: object, at: str) -> Iterator[str]:
        if value not in words:
            yield f"{at}: is not one of {', '.join(words)}"

    return check


def _runs(value: object, at: str) -> Iterator[str]:
    if value is not None:
        yield from _check("list(run)")(value, at)


def _bag(value: object, at: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{at}: is not an object"
        return
    bag = cast("dict[object, object]", value)
    if "tags" in bag:
        yield from _check("set(str)")(bag["tags"], f"{at}/tags")
    yield from _plain(bag, at)


def _plain(value: object, at: str) -> Iterator[str]:
    """Find what JSON has no form for, below a value of any shape."""
    waiting: list[tuple[object, str]] = [(value, at)]
    while waiting:
        one, place = waiting.pop()
        if isinstance(one, dict):
            for name, member in cast("dict[object, object]", one).items():
                if isinstance(name, str):
                    waiting.append((member, f"{place}/{_escaped(name)}"))
                else:
                    yield f"{place}: has a name that is not text"
        elif isinstance(one, (list, tuple)):
            items = cast("Sequence[object]", one)
            waiting += [(item, f"{place}/{number}") for number, item in enumerate(items)]
        elif isinstance(one, float):
            if one != one or one in (float("inf"), float("-inf")):
                yield f"{place}: is not a number that JSON has"
        elif one is not None and not isinstance(one, (str, int)):
            yield f"{place}: is a {type(one).__name__}, which JSON has not"


def _simple(accepts: Callable[[object], bool], what: str) -> Check:
    def check(value: object, at: str) -> Iterator[str]:
        if not accepts(value):
            yield f"{at}: is not {what}"

    return check


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == value


_SIMPLE: Final[Mapping[str, tuple[Callable[[object], bool], str]]] = {
    "str": (lambda value: isinstance(value, str), "text"),
    "bool": (lambda value: isinstance(value, bool), "true or false"),
    "num": (_is_number, "a number"),
    "rank": (
        lambda value: _is_number(value) and -1.0 <= cast("float", value) <= 100.0,
        "a number between -1 and 100",
    ),
}


def _canonical(value: object) -> object:
    """Return something hashable that is equal for equal JSON."""
    if isinstance(value, dict):
        members = cast("dict[str, object]", value).items()
        return frozenset((name, _canonical(member)) for name, member in members)
    if isinstance(value, list):
        return tuple(_canonical(item) for item in cast("list[object]", value))
    # True == 1 in Python and not in JSON; what JSON has not is reported by the item's own check.
    return (isinstance(value, bool), value if isinstance(value, (str, int, float)) else repr(value))


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


# --- what the schema cannot say


def _inconsistent(run: Mapping[str, Any], at: str) -> Iterator[str]:
    rules = run["tool"]["driver"].get("rules", [])
    lengths = {
        "artifactLocation": len(run.get("artifacts", [])),
        "logicalLocation": len(run.get("logicalLocations", [])),
    }
    external = run.get("externalPropertyFileReferences")
    for number, result in enumerate(run.get("results", [])):
        place = f"{at}/results/{number}"
        index = result.get("ruleIndex", -1)
        if index >= 0 and "rule" not in result and external is None:
            if index >= len(rules):
                yield f"{place}/ruleIndex: is beyond the rules of the tool"
            elif not _same_rule(result.get("ruleId"), rules[index]["id"]):
                yield f"{place}/ruleIndex: leads to another rule than ruleId"
        yield from _below(result, place, lengths if external is None else {})


def _same_rule(named: str | None, rule: str) -> bool:
    # `CA1711/1` is the first variant of rule `CA1711` (SARIF, 3.27.5).
    return named is None or named == rule or named.startswith(f"{rule}/")


def _below(value: object, at: str, lengths: Mapping[str, int]) -> Iterator[str]:
    if isinstance(value, list):
        for number, item in enumerate(cast("list[object]", value)):
            yield from _below(item, f"{at}/{number}", lengths)
    elif isinstance(value, dict):
        one = cast("dict[str, Any]", value)
        for name, member in one.items():
            if name == "properties":
                continue
            place = f"{at}/{name}"
            if name in {"region", "contextRegion", "deletedRegion"}:
                yield from _backwards(member, place)
            index = member.get("index", -1) if name in lengths else -1
            if index >= 0 and index >= lengths[name]:
                yield f"{place}/index: is beyond the array it leads into"
            yield from _below(member, place, lengths)


def _backwards(region: Mapping[str, Any], at: str) -> Iterator[str]:
    begin = region.get("startLine")
    if begin is None:
        return
    end = region.get("endLine", begin)
    first, last = region.get("startColumn", 1), region.get("endColumn")
    if end < begin:
        yield f"{at}: ends before the line it begins on"
    elif end == begin and last is not None and last < first:
        yield f"{at}: ends before the column it begins at"
