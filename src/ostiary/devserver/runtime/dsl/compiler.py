"""From a tree to a program: what the blocks declare, and what about them makes no sense.

It runs nothing and keeps nothing. Blocks of an unknown kind are kept, with a warning, so that
sources of a newer language still compile. Neighbours: `parser`, `program`; docs/dsl.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Final, final

from . import tree
from .diagnostics import MOST_ERRORS, Diagnostic, did_you_mean, shown
from .functions import CALLABLE
from .parser import KINDS, UNITS, parse
from .program import (
    Action,
    Channel,
    Compiled,
    Filter,
    Function,
    Memory,
    Parameter,
    Policy,
    Program,
    Rule,
    Schedule,
    Section,
    Trigger,
    Webhook,
    WithBlock,
)
from .values import is_list, is_map, plain, words

__all__ = ["AGENT_ID", "BUILT_IN", "DEFAULT_SECRET", "compile_source", "seconds"]

BUILT_IN: Final = ("validate_signature", "parse_payload", "trigger_workflow")
"""The actions that are always there."""

DEFAULT_SECRET: Final = "webhook_secret"
"""The name under which an agent's webhook secret is looked for where none is named."""

AGENT_ID: Final = re.compile(r"[^\W][\w.:-]{0,127}")
_RESERVED: Final = {"deploy", "deployments"}
_EFFECTS: Final = ("allow", "deny", "require", "audit")
_SANDBOXES: Final = (
    "docker", "e2b", "firecracker", "gvisor", "native", "none", "tier0", "tier1", "tier2", "tier3",
    "tier4", "strict",
)  # fmt: skip
_PROVIDERS: Final = ("github", "stripe", "slack", "custom")
_SCHEDULE: Final = ("cron", "at", "timezone", "agent", "policy", "one_shot", "deliver")
_AGENT_KINDS: Final = (
    "action", "function", "policy", "trigger", "with", "metadata", "schedule", "channel", "memory",
    "webhook",
)  # fmt: skip
_CRON_FIELD: Final = re.compile(r"[0-9A-Za-z*/,?#-]+")
_DAY: Final = 86400.0


def compile_source(text: str, agent_name: str | None, *, actions: Collection[str] = ()) -> Compiled:
    """Compile one agent out of a source; whatever the text, this returns.

    `agent_name` says which of the source's agents, and is the id of the program; None is the
    only one, by its own name. `actions` are
    the names of registered actions: a call of anything else is a warning. The program is None
    where there is an error, and where the source declares no agent.
    """
    # Offsets of the tree are into this text, and newlines are newlines.
    statements, found = parse(text)
    compiler = _Compiler(text, agent_name, actions, found)
    try:
        program = compiler.compile(statements)
    except _TooManyError:
        program = None
    found.sort(key=lambda each: (each.line, each.column))
    if any(each.severity == "error" for each in found):
        program = None
    return Compiled(program, tuple(found))


class _TooManyError(Exception):
    pass


@final
class _Compiler:
    """One compilation; what it finds goes to `found`."""

    def __init__(
        self,
        source: str,
        agent_name: str | None,
        actions: Collection[str],
        found: list[Diagnostic],
    ) -> None:
        self._source = source
        self._agent_name = agent_name or ""
        self._any_agent = agent_name is None
        self._registered = actions
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
        self._agents: list[tree.Definition] = []

    # -- what is found ------------------------------------------------------

    def _note(self, severity: str, node: tree.Node, message: str, hint: str | None = None) -> None:
        if len(self._found) >= MOST_ERRORS:
            raise _TooManyError
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

    # -- the top of the source ----------------------------------------------

    def compile(self, statements: list[tree.Statement]) -> Program | None:
        for statement in statements:
            if isinstance(statement, tree.Definition):
                self._top(statement)
            elif isinstance(statement, tree.TypeDefinition):
                self._type(statement)
            elif isinstance(statement, tree.Phrase) and statement.word == "import":
                self._warn(
                    statement,
                    "an import brings nothing here",
                    "actions are registered with the server, functions written in the source",
                )
            else:
                self._error(
                    statement,
                    "only blocks stand at the top of a source",
                    f"such as {', '.join(KINDS[:-1])} or {KINDS[-1]}",
                )
        chosen = self._choose()
        self._check_agent_name()
        return None if chosen is None else self._agent(chosen)

    def _check_agent_name(self) -> None:
        name = self._agent_name
        problem = None
        if self._any_agent and not name:
            return
        if not AGENT_ID.fullmatch(name):
            problem = "is no agent's id: letters, digits and '_', '.', ':', '-', at most 128"
        elif name in _RESERVED:
            problem = "stands for a path here; name the agent otherwise"
        if problem is not None:
            self._found.append(
                Diagnostic(line=1, column=1, message=f"agent_name {shown(name)} {problem}")
            )

    def _top(self, block: tree.Definition) -> None:
        readers: dict[str, Callable[[tree.Definition], None]] = {
            "agent": self._agents.append,
            "function": self._top_function,
            "policy": lambda each: self._policies.append(self._policy(each)),
            **self._shared(),
        }
        reader = readers.get(block.kind)
        if reader is not None:
            reader(block)
        else:
            self._unknown(block, KINDS)

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

    def _choose(self) -> tree.Definition | None:
        """Return the agent that is asked for."""
        seen: dict[str, tree.Definition] = {}
        for block in self._agents:
            name = self._one_name(block)
            if name in seen:
                line = seen[name].at.line
                self._error(block, f"the agent {shown(name)} is declared in line {line} already")
            seen.setdefault(name, block)
        if self._agent_name in seen:
            return seen[self._agent_name]
        if len(seen) == 1:
            name, block = next(iter(seen.items()))
            if self._any_agent:
                self._agent_name = name
                return block
            self._warn(
                block,
                f"the agent is called {shown(name)} here and {shown(self._agent_name)} in the "
                "request; the latter counts",
            )
            return block
        if seen:
            where = self._agents[0]
            names = ", ".join(sorted(seen)[:8])
            message = f"there is no agent {shown(self._agent_name)} here"
            if self._any_agent:
                message = "there are several agents here, and none is asked for"
            self._error(where, message, f"there are {names}")
        return None

    # -- the agent ----------------------------------------------------------

    def _agent(self, block: tree.Definition) -> Program:
        properties: dict[str, object] = {}
        triggers: list[Trigger] = []
        actions: dict[str, Action] = {}
        with_blocks: list[WithBlock] = []
        shared = self._shared()
        for each in block.body.statements:
            if isinstance(each, tree.Pair):
                self._property(properties, each)
            elif isinstance(each, tree.Phrase) and len(each.operands) == 1:
                properties[each.word] = plain(each.operands[0], self._source)
            elif isinstance(each, tree.With):
                with_blocks.append(self._with(each))
            elif isinstance(each, tree.TypeDefinition):
                self._type(each)
            elif not isinstance(each, tree.Definition):
                self._error(
                    each,
                    "a statement stands here outside of a function, an action or a with-block",
                    "put it into 'action name { ... }' or 'with { ... }'",
                )
            elif each.kind == "trigger":
                triggers.append(self._trigger(each, block))
            elif each.kind == "action":
                name = self._one_name(each)
                if name in actions:
                    self._error(each, f"the action {shown(name)} is declared twice")
                actions[name] = Action(name, each.body)
            elif each.kind == "function":
                self._top_function(each)
            elif each.kind == "policy":
                self._policies.append(self._policy(each))
            elif each.kind in shared:
                shared[each.kind](each)
            elif each.kind == "capabilities":
                self._error(each, "capabilities are a list", "write 'capabilities: [read, write]'")
            else:
                self._unknown(each, _AGENT_KINDS)
        for trigger in triggers:
            if trigger.action is not None and trigger.action not in actions:
                self._error(
                    block,
                    f"the trigger {shown(trigger.name)} names no action of this agent: "
                    f"{shown(trigger.action)}",
                    did_you_mean(trigger.action, actions),
                )
        if triggers and not actions:
            self._warn(block, "this agent has a trigger and no action for it to set off")
        self._check_calls(actions, with_blocks)
        return Program(
            agent_id=self._agent_name,
            source=self._source,
            properties=properties,
            metadata=self._metadata,
            capabilities=self._capabilities(block, properties),
            parameters=self._parameters(block),
            returns=self._type_text(block.returns),
            policies=tuple(self._policies),
            functions=self._functions,
            types=self._types,
            triggers=tuple(triggers),
            actions=actions,
            with_blocks=tuple(with_blocks),
            schedules=tuple(self._schedules),
            channels=tuple(self._channels),
            memories=tuple(self._memories),
            webhooks=tuple(self._webhooks),
            sections=tuple(self._sections),
        )

    def _capabilities(
        self, block: tree.Definition, properties: dict[str, object]
    ) -> tuple[str, ...]:
        given = properties.get("capabilities", [])
        if not is_list(given) or not all(isinstance(each, str) for each in given):
            self._error(block, "capabilities are a list of names", "such as [read, write]")
            return ()
        return tuple(str(each) for each in given)

    def _trigger(self, block: tree.Definition, agent: tree.Definition) -> Trigger:
        name = self._one_name(block)
        properties = self._properties(block.body.statements)
        events = {
            key.removeprefix("on_"): value
            for key, value in properties.items()
            if key.startswith("on_")
        }
        action = properties.get("action")
        if action is not None and not isinstance(action, str):
            self._error(block, "'action' of a trigger is the name of an action")
            action = None
        return Trigger(name, events, action, properties)

    def _with(self, block: tree.With) -> WithBlock:
        attributes: dict[str, object] = {}
        for each in block.attributes:
            if each.key in attributes:
                self._error(each, f"{shown(each.key or '')} is given twice")
            attributes[each.key or ""] = plain(each.value, self._source)
        sandbox = attributes.get("sandbox")
        if isinstance(sandbox, str) and sandbox.lower() not in _SANDBOXES:
            self._warn(
                block,
                f"the sandbox {shown(sandbox)} is not known",
                did_you_mean(sandbox.lower(), _SANDBOXES) or f"known are {', '.join(_SANDBOXES)}",
            )
        timeout = None
        if "timeout" in attributes:
            timeout = seconds(attributes["timeout"])
            if timeout is None or timeout <= 0:
                self._error(block, "timeout is a duration", "such as 30s or 5.minutes")
        return WithBlock(attributes, timeout, block.body)

    # -- the other blocks ---------------------------------------------------

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

    # -- calls --------------------------------------------------------------

    def _check_calls(self, actions: dict[str, Action], with_blocks: list[WithBlock]) -> None:
        known = {*BUILT_IN, *CALLABLE, *self._functions, *self._registered}
        blocks = [action.body for action in actions.values()]
        blocks += [each.body for each in with_blocks]
        blocks += [each.body for each in self._functions.values()]
        told: set[str] = set()
        for block in blocks:
            for name, node in words(block):
                # What stands before a dot is a value more often than not.
                if "." in name or name in known or name in told:
                    continue
                told.add(name)
                self._warn(
                    node,
                    f"there is no action {shown(name)}: calling it fails",
                    did_you_mean(name, known) or "register it with the server",
                )


def seconds(value: object) -> float | None:
    """Return a duration in seconds, or None: `30s`, `30.seconds`, `"60"` and 60."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value)
    if not isinstance(value, str):
        return None
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\.?([A-Za-z]*)", value.strip())
    if match is None:
        return None
    unit = _LONG_UNITS.get(match[2], match[2])
    factor = UNITS.get(unit) if unit in _DURATIONS else None
    return None if factor is None else float(match[1]) * factor


_DURATIONS: Final = {"ns", "us", "ms", "s", "m", "h", "d", "w", "y"}
_LONG_UNITS: Final = {
    "": "s", "second": "s", "seconds": "s", "minute": "m", "minutes": "m", "hour": "h",
    "hours": "h", "day": "d", "days": "d", "week": "w", "weeks": "w", "year": "y", "years": "y",
    "milliseconds": "ms",
}  # fmt: skip
