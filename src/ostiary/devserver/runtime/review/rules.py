"""The rules of the analysis, a row each: what is looked for, how bad it is, how sure that is.

A rule names places; it never repeats a value, which may be a secret. Patterns are applied to
text of a limited length and none repeats a repetition. Neighbours: `reading` supplies what
is looked at, `signs` the patterns and words.
"""

from __future__ import annotations

import ipaddress
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, Literal, cast
from urllib.parse import urlsplit

import msgspec

from . import signs
from .reading import TEXT, Parameter, Reading

__all__ = ["RULES", "Rule"]

Category = Literal[
    "schema_injection", "privilege_escalation", "data_exposure", "malicious_code", "resource_abuse"
]
Severity = Literal["low", "medium", "high", "critical"]

_LONG: Final = 4_000
_NODES: Final = 300
_DEPTH: Final = 12


class Rule(msgspec.Struct, frozen=True):
    """One row; `finds` yields the places where it applies."""

    id: str
    category: Category
    severity: Severity
    confidence: float
    title: str
    why: str
    advice: str
    finds: Callable[[Reading], Iterable[str]]


# -- what is looked for -------------------------------------------------------------------


def _says(*patterns: signs.Pattern) -> Callable[[Reading], Iterator[str]]:
    """Places where any text, whatever its kind, matches."""

    def find(reading: Reading) -> Iterator[str]:
        for one in reading.said:
            text = one.plain
            if any(pattern.search(text) for pattern in patterns):
                yield one.where

    return find


def _asks(
    *wanted: str, but: Sequence[str] = (), unless_chosen: bool = True
) -> Callable[[Reading], Iterator[str]]:
    """Parameters that are texts and are named so; `a b` are words next to one another."""

    def find(reading: Reading) -> Iterator[str]:
        for one in reading.parameters:
            if (unless_chosen and one.chosen) or not one.is_text:
                continue
            if signs.named(one.words, wanted) and not signs.named(one.words, but):
                yield one.where

    return find


def _named_only(*wanted: str) -> Callable[[Reading], Iterator[str]]:
    """Parameters that have this name and no other word in it."""
    names = frozenset(tuple(one.split()) for one in wanted)

    def find(reading: Reading) -> Iterator[str]:
        for one in reading.parameters:
            if one.words in names and one.is_text and not one.chosen:
                yield one.where

    return find


def _hidden(reading: Reading) -> Iterator[str]:
    for one in reading.said:
        if any(signs.is_hidden(letter) for letter in one.text):
            yield one.where


def _lookalike(reading: Reading) -> Iterator[str]:
    for one in reading.said:
        if one.kind == "name" and signs.mixes_scripts(unicodedata.normalize("NFKC", one.text)):
            yield one.where


def _raw(pattern: signs.Pattern) -> Callable[[Reading], Iterator[str]]:
    """Places whose text matches as it is written: keys and codings mind their case."""

    def find(reading: Reading) -> Iterator[str]:
        for one in reading.said:
            if pattern.search(one.text[:TEXT]):
                yield one.where

    return find


def _crafted(reading: Reading) -> Iterator[str]:
    for one in reading.values:
        if one.where.startswith("schema") and signs.CRAFTED.search(one.plain):
            yield one.where


def _long(reading: Reading) -> Iterator[str]:
    return (one.where for one in reading.prose if len(one.text) > _LONG)


def _remote(reading: Reading) -> Iterator[str]:
    for where, target in reading.references:
        # An `$id` that is a plain URL only names the schema; a reference fetches.
        if not target.startswith("#") and not where.endswith(".$id"):
            yield where


def _open_objects(reading: Reading) -> Iterator[str]:
    for where, node in reading.objects:
        closed = (node.get("additionalProperties", True), node.get("unevaluatedProperties", True))
        if all(one is True or one == {} for one in closed):
            yield where


def _untyped(reading: Reading) -> Iterator[str]:
    return (one.where for one in reading.parameters if not one.described)


def _undeclared(reading: Reading) -> Iterator[str]:
    for where, node in reading.objects:
        wanted, known = node.get("required"), node.get("properties", {})
        if isinstance(wanted, list) and isinstance(known, dict):
            names = cast("list[object]", wanted)
            if any(isinstance(name, str) and name not in known for name in names):
                yield where


def _rights(reading: Reading) -> Iterator[str]:
    for one in reading.parameters:
        if signs.named(one.words, signs.RIGHTS) or (
            not one.chosen and one.is_text and signs.named(one.words, signs.ROLES)
        ):
            yield one.where


def _switch(one: Parameter) -> bool:
    if "boolean" not in one.types and one.described:
        return False
    if signs.named(one.words, signs.SWITCHES):
        return True
    return one.schema.get("default") is False and signs.named(one.words, signs.CHECKS)


def _switches(reading: Reading) -> Iterator[str]:
    return (one.where for one in reading.parameters if _switch(one))


def _queries(reading: Reading) -> Iterator[str]:
    yield from _asks(*signs.QUERIES)(reading)
    for one in reading.parameters:
        told = str(one.schema.get("description", ""))[:2_000].casefold()
        if one.is_text and not one.chosen and "query" in one.words and "sql" in told.split():
            yield one.where


def _addresses(reading: Reading) -> Iterator[str]:
    yield from _asks(*signs.ADDRESSES)(reading)
    for one in reading.parameters:
        if one.schema.get("format") in {"uri", "iri", "hostname"} and not one.chosen:
            yield one.where


_secrets: Final = _asks(*signs.SECRETS, but=signs.NO_SECRETS, unless_chosen=False)
_paths: Final = _asks(*signs.PATHS, but=signs.NO_PATHS)
_private_context: Final = _says(signs.PRIVATE_CONTEXT)


def _carries_off(reading: Reading) -> Iterator[str]:
    """A way out beside something to take along."""
    out = [*_addresses(reading), *_asks(*signs.RECIPIENTS)(reading)]
    taken = [*_paths(reading), *_secrets(reading), *_private_context(reading)]
    if out and taken:
        yield from (*out[:1], *taken[:1])


def _key_address(reading: Reading) -> Iterator[str]:
    url = reading.provider.get("public_key_url")
    if not isinstance(url, str) or not url:
        return
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        bad = parts.scheme != "https" or not host or "@" in parts.netloc or host == "localhost"
        bad = bad or not ipaddress.ip_address(host).is_global
    except ValueError:
        # Not an address but a name, unless the URL itself could not be read.
        bad = not signs.HTTPS_NAME.match(url)
    if bad:
        yield "provider.public_key_url"


def _no_key(reading: Reading) -> Iterator[str]:
    if not reading.provider.get("public_key_url"):
        yield "provider"


def _unbounded_lists(reading: Reading) -> Iterator[str]:
    return (where for where, node in reading.lists if "maxItems" not in node)


def _unbounded_texts(reading: Reading) -> Iterator[str]:
    for one in reading.parameters:
        bounded = {"const", "enum", "format", "maxLength", "pattern"}
        if "string" in one.types and bounded.isdisjoint(one.schema):
            yield one.where


def _unbounded_amounts(reading: Reading) -> Iterator[str]:
    for one in reading.parameters:
        if (
            not one.types.isdisjoint({"integer", "number"})
            and {"const", "enum", "maximum", "exclusiveMaximum"}.isdisjoint(one.schema)
            and signs.named(one.words, signs.AMOUNTS)
        ):
            yield one.where


def _costly_patterns(reading: Reading) -> Iterator[str]:
    return (where for where, pattern in reading.patterns if signs.repeats_repetition(pattern))


def _large(reading: Reading) -> Iterator[str]:
    if not reading.cut and (reading.nodes > _NODES or reading.depth > _DEPTH):
        yield "schema"


def _too_large(reading: Reading) -> Iterator[str]:
    if reading.cut:
        yield from (one.where for one in reading.said if len(one.text) > TEXT)
        yield "schema"


# -- the table ----------------------------------------------------------------------------

RULES: Final[tuple[Rule, ...]] = (
    Rule(
        "overrides-instructions", "schema_injection", "critical", 0.9,
        "Tells the model to set its instructions aside",
        "A description that overrides instructions takes over the agent that reads it.",
        "Reject the tool, or have the text removed and reviewed again.",
        _says(signs.OVERRIDES),
    ),
    Rule(
        "hides-from-user", "schema_injection", "critical", 0.9,
        "Asks the model to keep something from its user",
        "A tool with nothing to hide has no reason to ask for silence.",
        "Reject the tool, or have the text removed and reviewed again.",
        _says(signs.SILENCE),
    ),
    Rule(
        "speaks-to-model", "schema_injection", "high", 0.75,
        "Addresses the model instead of describing the tool",
        "Role marks and commands in a description are read as if the user had given them.",
        "Have the description say what the tool does, and nothing about how a model behaves.",
        _says(signs.ADDRESSES_MODEL),
    ),
    Rule(
        "shadows-tools", "schema_injection", "high", 0.7,
        "Changes how other tools are used",
        "Text that puts this tool before others lets it stand in for tools that were reviewed.",
        "Have every mention of other tools removed.",
        _says(signs.SHADOWS),
    ),
    Rule(
        "hidden-characters", "schema_injection", "high", 0.95,
        "Holds characters that nobody sees",
        "A model reads invisible characters, a reviewer does not.",
        "Have the invisible characters removed; then read the text again.",
        _hidden,
    ),
    Rule(
        "lookalike-letters", "schema_injection", "high", 0.8,
        "A name mixes alphabets",
        "Letters of several alphabets in one word make a name look like another one.",
        "Have the name written in one alphabet.",
        _lookalike,
    ),
    Rule(
        "remote-reference", "schema_injection", "high", 0.9,
        "The schema refers to a document elsewhere",
        "What is fetched later is not what was reviewed, and may change at any time.",
        "Have the referenced schema copied into this one.",
        _remote,
    ),
    Rule(
        "required-undeclared", "schema_injection", "medium", 0.95,
        "Requires parameters that are not described",
        "A model has to invent a value that no reviewer has seen a rule for.",
        "Have every required parameter declared under `properties`.",
        _undeclared,
    ),
    Rule(
        "active-markup", "schema_injection", "medium", 0.7,
        "Holds markup that acts when it is shown",
        "Scripts and images in a description load or run wherever it is displayed.",
        "Have the markup removed.",
        _says(signs.MARKUP),
    ),
    Rule(
        "long-text", "schema_injection", "low", 0.6,
        "Holds a very long text",
        "Instructions hide well in text that nobody reads to its end.",
        "Read the whole text before deciding, or have it shortened.",
        _long,
    ),
    Rule(
        "dangling-reference", "schema_injection", "low", 0.9,
        "A reference leads nowhere",
        "What the missing part would allow cannot be reviewed.",
        "Have the missing definition added.",
        lambda reading: reading.dangling,
    ),
    Rule(
        "open-object", "schema_injection", "low", 0.9,
        "Accepts members that are not described",
        "Whatever the schema does not mention reaches the tool unchecked.",
        "Have `additionalProperties: false` set on every object.",
        _open_objects,
    ),
    Rule(
        "untyped-parameter", "schema_injection", "low", 0.8,
        "A parameter may be anything",
        "Without a type nothing is checked before the tool is called.",
        "Have a type, a list of values or a reference given for every parameter.",
        _untyped,
    ),
    Rule(
        "claims-rights", "privilege_escalation", "high", 0.7,
        "Speaks of working with elevated rights or around a protection",
        "A tool should need no more rights than the agent that calls it.",
        "Ask the author which rights the tool needs, and grant those alone.",
        _says(signs.CLAIMS_RIGHTS),
    ),
    Rule(
        "asks-for-rights", "privilege_escalation", "medium", 0.7,
        "Lets the caller choose rights or roles",
        "A model that can be talked into a role can be talked into any.",
        "Have rights fixed where the tool is installed instead of being a parameter.",
        _rights,
    ),
    Rule(
        "disables-check", "privilege_escalation", "medium", 0.75,
        "Lets the caller switch a check off",
        "A check that a parameter switches off protects from nobody who writes prompts.",
        "Have the switch removed, or fixed where the tool is installed.",
        _switches,
    ),
    Rule(
        "private-files", "data_exposure", "critical", 0.85,
        "Names files that hold keys or accounts",
        "No description needs the places where keys and passwords are kept.",
        "Reject the tool unless its purpose is the management of these very files.",
        _says(signs.PRIVATE_FILES),
    ),
    Rule(
        "secret-in-schema", "data_exposure", "critical", 0.95,
        "Holds what looks like a key or token",
        "Everybody who can list the tool can read it.",
        "Have the key revoked and removed.",
        _raw(signs.KEYS),
    ),
    Rule(
        "private-context", "data_exposure", "high", 0.8,
        "Asks for the conversation, the prompt or the environment",
        "What was said to the agent in confidence would be sent to the tool.",
        "Have the tool ask for the data it needs by name.",
        _private_context,
    ),
    Rule(
        "carries-off", "data_exposure", "high", 0.6,
        "Takes private data and an address to send it to",
        "Files, secrets or context in, and a destination of the caller's choice: together they "
        "carry data off.",
        "Have the destination fixed, or the two halves made separate tools.",
        _carries_off,
    ),
    Rule(
        "asks-for-secret", "data_exposure", "high", 0.75,
        "Takes a secret as a parameter",
        "Parameters pass through the model, its logs and its provider.",
        "Have the secret stored where the tool runs, and lent by name.",
        _secrets,
    ),
    Rule(
        "asks-for-personal-data", "data_exposure", "medium", 0.7,
        "Takes personal or payment data as a parameter",
        "Parameters pass through the model, its logs and its provider.",
        "Ask whether the tool can work with a reference to the data.",
        _asks(*signs.PERSONAL, unless_chosen=False),
    ),
    Rule(
        "any-path", "data_exposure", "medium", 0.65,
        "Takes any path",
        "Without a pattern, `..` and absolute paths lead to every file the tool can read.",
        "Have the path held to a pattern, and to one directory by the tool.",
        _paths,
    ),
    Rule(
        "any-address", "data_exposure", "medium", 0.65,
        "Takes any address",
        "Without a pattern, internal services and strangers' servers are addresses too.",
        "Have hosts listed, or the address held to a pattern.",
        _addresses,
    ),
    Rule(
        "weak-provider-key", "data_exposure", "medium", 0.9,
        "The provider's key cannot be trusted where it lies",
        "A key that is not fetched over https from a public host can be replaced on its way.",
        "Ask the provider for an https address of its key.",
        _key_address,
    ),
    Rule(
        "no-provider-key", "data_exposure", "low", 0.8,
        "The provider names no public key",
        "What the provider signs cannot be told from what others do.",
        "Ask the provider for the address of its public key.",
        _no_key,
    ),
    Rule(
        "destructive-command", "malicious_code", "critical", 0.9,
        "Holds a command that destroys or opens a machine",
        "Such a command has no place in a description or a default.",
        "Reject the tool.",
        _says(signs.DESTRUCTIVE),
    ),
    Rule(
        "crafted-value", "malicious_code", "high", 0.85,
        "A default or example would break out of its place",
        "Values with shell, template or path tricks are sent as they are by models that copy "
        "examples.",
        "Have the value replaced by a plain one.",
        _crafted,
    ),
    Rule(
        "runs-commands", "malicious_code", "high", 0.8,
        "Runs text from the model as a command",
        "Whoever can influence the model's text then runs commands on the tool's machine.",
        "Have commands listed, or the tool confined to a sandbox.",
        _asks(*signs.COMMANDS),
    ),
    Rule(
        "runs-queries", "malicious_code", "high", 0.7,
        "Runs text from the model as a database query",
        "A query that a model writes can read and change whatever the tool's account can.",
        "Have named queries with parameters, or a read-only account.",
        _queries,
    ),
    Rule(
        "says-it-runs-code", "malicious_code", "high", 0.65,
        "Describes the running of arbitrary code",
        "What the text says it runs, a prompt can choose.",
        "Have the tool confined to a sandbox, and say so in its description.",
        _says(signs.RUNS_CODE),
    ),
    Rule(
        "may-run-code", "malicious_code", "medium", 0.5,
        "A parameter may be code",
        "The name leaves open whether the text is run.",
        "Ask the author what is done with the text.",
        _named_only(*signs.CODE),
    ),
    Rule(
        "encoded-text", "malicious_code", "medium", 0.6,
        "Holds a long run of encoded data",
        "What is encoded cannot be reviewed by reading.",
        "Have it decoded for the review, or removed.",
        _raw(signs.ENCODED),
    ),
    Rule(
        "endless-work", "resource_abuse", "high", 0.7,
        "Speaks of work without an end",
        "Loops and self-calls spend the agent's budget and its machine.",
        "Have a limit added and described.",
        _says(signs.ENDLESS),
    ),
    Rule(
        "too-large", "resource_abuse", "high", 0.9,
        "Too large to be analysed whole",
        "Only its beginning was read; the rest may hold anything.",
        "Have the tool divided, or its texts shortened.",
        _too_large,
    ),
    Rule(
        "large-schema", "resource_abuse", "medium", 0.8,
        "The schema is unusually large",
        "Every model call that offers the tool pays for it.",
        "Have the schema shortened, or the tool divided.",
        _large,
    ),
    Rule(
        "costly-pattern", "resource_abuse", "medium", 0.7,
        "A pattern can take exponential time",
        "A repetition of a repetition hangs many validators on a short text.",
        "Have the pattern rewritten without nested repetition.",
        _costly_patterns,
    ),
    Rule(
        "unbounded-amount", "resource_abuse", "medium", 0.6,
        "An amount has no upper limit",
        "The caller decides how much work, time or money is spent.",
        "Have `maximum` set.",
        _unbounded_amounts,
    ),
    Rule(
        "recursive-schema", "resource_abuse", "low", 0.8,
        "The schema contains itself",
        "Values may be nested without an end.",
        "Have the depth limited by the tool.",
        lambda reading: reading.recursive,
    ),
    Rule(
        "unbounded-list", "resource_abuse", "low", 0.7,
        "A list has no upper limit",
        "The caller decides how much is sent at once.",
        "Have `maxItems` set.",
        _unbounded_lists,
    ),
    Rule(
        "unbounded-text", "resource_abuse", "low", 0.5,
        "A text has no upper limit",
        "The caller decides how much is sent at once.",
        "Have `maxLength` set.",
        _unbounded_texts,
    ),
)  # fmt: skip
