"""What the blocks declare that may stand at the top of a source and within an agent.

Neighbour: `compiler` puts an agent together out of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Final

from . import tree
from .diagnostics import MOST_ERRORS, Diagnostic, did_you_mean, shown
from .durations import seconds
from .program import (
    Channel,
    Filter,
    Function,
    Memory,
    Parameter,
    Policy,
    Rule,
    Schedule,
    Section,
    Webhook,
)
from .values import is_map, plain

__all__ = ["DEFAULT_SECRET", "Declarations", "TooManyErrors"]

DEFAULT_SECRET: Final = "webhook_secret"
"""The name under which an agent's webhook secret is looked for where none is named."""

_EFFECTS: Final = ("allow", "deny", "require", "audit")
_PROVIDERS: Final = ("github", "stripe", "slack", "custom")
_SCHEDULE: Final = ("cron", "at", "timezone", "agent", "policy", "one_shot", "deliver")
_CRON_FIELD: Final = re.compile(r"[0-9A-Za-z*/,?#-]+")
_DAY: Final = 86400.0


class TooManyErrors(Exception):
    """Nobody reads on after so many."""


class Declarations:
    """Reads blocks, and notes in `found` what is wrong with them."""

    def __init__(self, source: str, found: list[Diagnostic]) -> None:
        self._source = source
        self._found = found
        self._metadata: dict[str, object] = {}
        self._policies: list[Policy] = []
        self._functions: dict[str, Function] = {}
        self._types: dict[str, str] = {}
        self._schedules: list[Schedule] = []
        self._channels: list[Channel] = []
        self._memories: list[Memory] = []
        self._webhooks: list[Webhook] = []
        self._sections: list[Section] = []

    # -- what is found ------------------------------------------------------

    def _note(self, severity: str, node: tree.Node, message: str, hint: str | None = None) -> None:
        if len(self._found) >= MOST_ERRORS:
            raise TooManyErrors
        self._found.append(
            Diagnostic(
                severity="error" if severity == "error" else "warning",
                line=node.at.line,
                column=node.at.column,
                message=message,
                hint=hint,
            )
        )

    def _error(self, node: tree.Node, message: str, hint: str | None = None) -> None:
        self._note("error", node, message, hint)

    def _warn(self, node: tree.Node, message: str, hint: str | None = None) -> None:
        self._note("warning", node, message, hint)

    def _unknown(self, block: tree.Definition, known: Collection[str]) -> None:
        if block.kind in {"else", "catch"}:
            self._error(block, f"'{block.kind}' follows the block it belongs to")
            return
        self._warn(
            block,
            f"a block of the kind '{block.kind}' means nothing here; it is kept as it is",
            did_you_mean(block.kind, known),
        )
        self._sections.append(
            Section(block.kind, tuple(block.names), self._properties(block.body.statements))
        )

    def _one_name(self, block: tree.Definition) -> str:
        if len(block.names) != 1:
            self._error(
                block,
                f"a block of the kind '{block.kind}' has one name",
                f"write '{block.kind} some_name {{ ... }}'",
            )
            return block.names[0] if block.names else ""
        return block.names[0]

    # -- blocks -------------------------------------------------------------

    def _shared(self) -> dict[str, Callable[[tree.Definition], None]]:
        """Return what reads the blocks that may stand at the top and within an agent."""
        return {
            "channel": self._channel,
            "enum": self._type_block,
            "memory": self._memory,
            "metadata": self._metadata_block,
            "schedule": self._schedule,
            "struct": self._type_block,
            "webhook": self._webhook,
        }

    def _metadata_block(self, block: tree.Definition) -> None:
        self._metadata.update(self._properties(block.body.statements))

    def _top_function(self, block: tree.Definition) -> None:
        name = self._one_name(block)
        if name in self._functions:
            self._error(block, f"the function {shown(name)} is declared twice")
        self._functions[name] = Function(
            name, self._parameters(block), self._type_text(block.returns), block.body
        )

    def _parameters(self, block: tree.Definition) -> tuple[Parameter, ...]:
        seen: set[str] = set()
        for each in block.parameters:
            if each.name in seen:
                self._error(each, f"the parameter {shown(each.name)} is given twice")
            seen.add(each.name)
        return tuple(
            Parameter(each.name, self._type_text(each.type), each.default)
            for each in block.parameters
        )

    def _type_text(self, ref: tree.TypeRef | None) -> str | None:
        return None if ref is None else self._source[ref.at.start : ref.at.end]

    def _type(self, definition: tree.TypeDefinition) -> None:
        if definition.name in self._types:
            self._error(definition, f"the type {shown(definition.name)} is declared twice")
        spec = definition.spec
        self._types[definition.name] = self._source[spec.at.start : spec.at.end]

    def _type_block(self, block: tree.Definition) -> None:
        name = self._one_name(block)
        self._types[name] = self._source[block.body.at.start : block.body.at.end]

    def _policy(self, block: tree.Definition) -> Policy:
        name = self._one_name(block)
        rules: list[Rule] = []
        conditions: dict[str, object] = {}
        for each in block.body.statements:
            if isinstance(each, tree.Pair) and each.key in _EFFECTS:
                rules.append(self._rule(each))
            elif isinstance(each, tree.Pair) and each.key == "conditions":
                found = plain(each.value, self._source)
                if is_map(found):
                    conditions.update(found)
                else:
                    self._error(each, "conditions are a map", "write 'conditions: { ... }'")
            elif isinstance(each, tree.Definition) and each.kind == "conditions":
                conditions.update(self._properties(each.body.statements))
            else:
                key = each.key if isinstance(each, tree.Pair) else ""
                self._error(
                    each,
                    "a policy has rules: allow, deny, require, audit, and conditions",
                    did_you_mean(key, _EFFECTS) or "write 'allow: read(data)'",
                )
        if not rules and not conditions:
            self._warn(block, f"the policy {shown(name)} says nothing")
        return Policy(name, tuple(rules), conditions)

    def _rule(self, pair: tree.Pair) -> Rule:
        value = pair.value
        conditions = [tail.value for tail in value.tails if tail.word == "if"]
        if len(conditions) > 1:
            self._error(pair, "a rule has one 'if'", "join the conditions with '&&'")
        subject = value.expression
        subjects: tuple[tree.Expression, ...] = (subject,)
        if isinstance(subject, tree.ListValue):
            subjects = tuple(item.value for item in subject.items)
        return Rule(
            effect=pair.key,
            text=self._source[value.at.start : value.at.end],
            line=pair.at.line,
            subjects=subjects,
            condition=conditions[0] if conditions else None,
        )

    def _schedule(self, block: tree.Definition) -> None:
        name = self._one_name(block)
        given = self._properties(block.body.statements)
        for key in given:
            if key not in _SCHEDULE:
                self._warn(
                    block,
                    f"a schedule knows no {shown(key)}",
                    did_you_mean(key, _SCHEDULE) or f"it knows {', '.join(_SCHEDULE)}",
                )
        cron = self._text(block, given, "cron")
        at = self._text(block, given, "at")
        if (cron is None) == (at is None):
            self._error(
                block,
                f"the schedule {shown(name)} has to have either 'cron' or 'at'",
                'such as cron: "0 7 * * 1-5"',
            )
        if cron is not None:
            fields = cron.split()
            if not 5 <= len(fields) <= 7 or not all(_CRON_FIELD.fullmatch(f) for f in fields):
                self._error(
                    block,
                    f"{shown(cron)} is no cron expression",
                    "it has five fields, or six with seconds before them",
                )
        self._schedules.append(
            Schedule(
                name=name,
                cron=cron,
                at=at,
                timezone=self._text(block, given, "timezone") or "UTC",
                agent=self._text(block, given, "agent"),
                policy=self._text(block, given, "policy"),
                one_shot=given.get("one_shot") is True,
                deliver=self._text(block, given, "deliver"),
            )
        )

    def _channel(self, block: tree.Definition) -> None:
        name = self._one_name(block)
        policies: list[Policy] = []
        rest: list[tree.Statement] = []
        for each in block.body.statements:
            if isinstance(each, tree.Definition) and each.kind == "policy":
                policies.append(self._policy(each))
            else:
                rest.append(each)
        properties = self._properties(rest)
        platform = self._text(block, properties, "platform")
        if platform is None:
            self._error(
                block, f"the channel {shown(name)} has no platform", 'such as platform: "slack"'
            )
        classified = properties.pop("data_classification", {})
        self._channels.append(
            Channel(
                name=name,
                platform=platform or "",
                properties=properties,
                policies=tuple(policies),
                data_classification=classified if is_map(classified) else {},
            )
        )

    def _memory(self, block: tree.Definition) -> None:
        name = self._one_name(block)
        given = self._properties(block.body.statements)
        retention = 90 * _DAY
        if "retention" in given:
            found = seconds(given["retention"])
            if found is None or found <= 0:
                self._error(block, "retention is a duration", "such as 90d")
            else:
                retention = found
        search = given.get("search")
        self._memories.append(
            Memory(
                name=name,
                store=self._text(block, given, "store") or "markdown",
                path=self._text(block, given, "path") or "data/agents",
                retention=retention,
                search=search if is_map(search) else {},
            )
        )

    def _webhook(self, block: tree.Definition) -> None:
        name = self._one_name(block)
        given = self._properties(block.body.statements)
        path = self._text(block, given, "path")
        if path is None or not path.startswith("/"):
            self._error(
                block, f"the webhook {shown(name)} has to have a path", 'path: "/hooks/..."'
            )
        provider = (self._text(block, given, "provider") or "custom").lower()
        if provider not in _PROVIDERS:
            self._error(
                block,
                f"the provider {shown(provider)} is not known",
                did_you_mean(provider, _PROVIDERS) or f"known are {', '.join(_PROVIDERS)}",
            )
        secret = self._text(block, given, "secret")
        if secret is not None:
            if secret.startswith("secret://"):
                secret = secret.rpartition("/")[2]
            else:
                # A source is kept and shown; what stands in it is no secret any more.
                self._warn(
                    block,
                    f"the secret of the webhook {shown(name)} stands in the source and is not used",
                    f"store it as {DEFAULT_SECRET}, or under a name and write secret://NAME",
                )
                secret = DEFAULT_SECRET
        self._webhooks.append(
            Webhook(
                name=name,
                path=path or "/",
                provider=provider,
                secret=secret or None,
                agent=self._text(block, given, "agent"),
                filter=self._filter(block, given.get("filter")),
            )
        )

    def _filter(self, block: tree.Definition, given: object) -> Filter | None:
        if given is None:
            return None
        if not is_map(given) or not isinstance(given.get("json_path"), str):
            self._error(block, "a filter has to have a json_path", '"$.action" for instance')
            return None
        contains = given.get("contains")
        if ("equals" in given) == (contains is not None):
            self._error(block, "a filter has either 'equals' or 'contains'")
        return Filter(
            json_path=given["json_path"],
            equals=given.get("equals"),
            contains=contains if isinstance(contains, str) else None,
        )

    # -- properties ---------------------------------------------------------

    def _text(self, block: tree.Definition, given: dict[str, object], key: str) -> str | None:
        found = given.get(key)
        if found is None or isinstance(found, str):
            return found
        self._error(block, f"'{key}' of this {block.kind} is a text")
        return None

    def _property(self, into: dict[str, object], pair: tree.Pair) -> None:
        if pair.key in into:
            self._warn(pair, f"{shown(pair.key)} is given twice; the later one counts")
        into[pair.key] = plain(pair.value, self._source)

    def _properties(self, statements: list[tree.Statement]) -> dict[str, object]:
        """Return the pairs, phrases and inner blocks of a block as plain data."""
        into: dict[str, object] = {}
        for each in statements:
            if isinstance(each, tree.Pair):
                self._property(into, each)
            elif isinstance(each, tree.Phrase):
                found = [plain(operand, self._source) for operand in each.operands]
                into[each.word] = found[0] if len(found) == 1 else found
            elif isinstance(each, tree.Definition):
                into[" ".join([each.kind, *each.names])] = self._properties(each.body.statements)
            elif isinstance(each, tree.Evaluate):
                into[self._source[each.at.start : each.at.end]] = True
        return into
