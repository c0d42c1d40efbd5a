"""From a tree to a program: what the blocks declare, and what about them makes no sense.

It runs nothing and keeps nothing. Blocks of an unknown kind are kept, with a warning, so that
sources of a newer language still compile. Neighbours: `parser`, `program`; docs/dsl.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Final, final

from . import tree
from .declarations import Declarations, TooManyErrors
from .diagnostics import Diagnostic, did_you_mean, shown
from .durations import seconds
from .functions import CALLABLE
from .parser import KINDS, parse
from .program import (
    Action,
    Compiled,
    Program,
    Trigger,
    WithBlock,
)
from .values import is_list, plain, words

__all__ = ["AGENT_ID", "BUILT_IN", "compile_source"]

BUILT_IN: Final = ("validate_signature", "parse_payload", "trigger_workflow")
"""The actions that are always there."""

AGENT_ID: Final = re.compile(r"[^\W][\w.:-]{0,127}")
_RESERVED: Final = {"deploy", "deployments"}
_SANDBOXES: Final = (
    "docker", "e2b", "firecracker", "gvisor", "native", "none", "tier0", "tier1", "tier2", "tier3",
    "tier4", "strict",
)  # fmt: skip
_AGENT_KINDS: Final = (
    "action", "function", "policy", "trigger", "with", "metadata", "schedule", "channel", "memory",
    "webhook",
)  # fmt: skip


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
    except TooManyErrors:
        program = None
    found.sort(key=lambda each: (each.line, each.column))
    if any(each.severity == "error" for each in found):
        program = None
    return Compiled(program, tuple(found))


@final
class _Compiler(Declarations):
    """One compilation; what it finds goes to `found`."""

    def __init__(
        self,
        source: str,
        agent_name: str | None,
        actions: Collection[str],
        found: list[Diagnostic],
    ) -> None:
        super().__init__(source, found)
        self._agent_name = agent_name or ""
        self._any_agent = agent_name is None
        self._registered = actions
        self._agents: list[tree.Definition] = []

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
