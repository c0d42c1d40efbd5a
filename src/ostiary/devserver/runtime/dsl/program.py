"""What a source declares, once it is compiled: an agent, and what stands around it.

A program is made from its source whenever it is needed; the source is what is kept.
Neighbours: `compiler` makes programs, `running` runs them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .diagnostics import Diagnostic
from .tree import Block, Expression

__all__ = [
    "Action",
    "Channel",
    "Compiled",
    "Filter",
    "Function",
    "Memory",
    "Parameter",
    "Policy",
    "Program",
    "Rule",
    "Schedule",
    "Section",
    "Trigger",
    "Webhook",
    "WithBlock",
]


@dataclass(frozen=True, slots=True)
class Parameter:
    """`type` is None where none is written; `default` is an expression, or None."""

    name: str
    type: str | None
    default: Expression | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of a policy. `subjects` are what it speaks of, `condition` what follows `if`."""

    effect: str
    text: str
    line: int
    subjects: tuple[Expression, ...]
    condition: Expression | None


@dataclass(frozen=True, slots=True)
class Policy:
    name: str
    rules: tuple[Rule, ...]
    conditions: dict[str, object]


@dataclass(frozen=True, slots=True)
class Function:
    name: str
    parameters: tuple[Parameter, ...]
    returns: str | None
    body: Block


@dataclass(frozen=True, slots=True)
class Trigger:
    """What sets an action off. `events` has what stands behind each `on_...`, without `on_`."""

    name: str
    events: dict[str, object]
    action: str | None
    properties: dict[str, object]


@dataclass(frozen=True, slots=True)
class Action:
    name: str
    body: Block


@dataclass(frozen=True, slots=True)
class WithBlock:
    """`timeout` is seconds, or None."""

    attributes: dict[str, object]
    timeout: float | None
    body: Block


@dataclass(frozen=True, slots=True)
class Schedule:
    name: str
    cron: str | None
    at: str | None
    timezone: str
    agent: str | None
    policy: str | None
    one_shot: bool
    deliver: str | None


@dataclass(frozen=True, slots=True)
class Channel:
    name: str
    platform: str
    properties: dict[str, object]
    policies: tuple[Policy, ...]
    data_classification: dict[str, object]


@dataclass(frozen=True, slots=True)
class Memory:
    """`retention` is seconds."""

    name: str
    store: str
    path: str
    retention: float
    search: dict[str, object]


@dataclass(frozen=True, slots=True)
class Filter:
    """A test of one place in a payload; of `equals` and `contains` one is given."""

    json_path: str
    equals: object = None
    contains: str | None = None


@dataclass(frozen=True, slots=True)
class Webhook:
    """`secret` is the name of a stored secret, or None; the source holds no secret itself."""

    name: str
    path: str
    provider: str
    secret: str | None
    agent: str | None
    filter: Filter | None


@dataclass(frozen=True, slots=True)
class Section:
    """A block of a kind that means nothing here; it is kept as it was written."""

    kind: str
    names: tuple[str, ...]
    properties: dict[str, object]


@dataclass(frozen=True, slots=True)
class Program:
    """One agent, ready to run. `source` is the text that the places in it refer to."""

    agent_id: str
    source: str
    properties: dict[str, object]
    metadata: dict[str, object]
    capabilities: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    returns: str | None
    policies: tuple[Policy, ...]
    functions: dict[str, Function]
    types: dict[str, str]
    triggers: tuple[Trigger, ...]
    actions: dict[str, Action]
    with_blocks: tuple[WithBlock, ...]
    schedules: tuple[Schedule, ...]
    channels: tuple[Channel, ...]
    memories: tuple[Memory, ...]
    webhooks: tuple[Webhook, ...]
    sections: tuple[Section, ...]

    @property
    def runnable(self) -> bool:
        """Whether a request has anything to run."""
        return bool(self.actions or self.with_blocks or self.functions)

    def text(self, name: str) -> str | None:
        """Return a property of the agent that is a text, else the metadata's, else None."""
        for found in (self.properties.get(name), self.metadata.get(name)):
            if isinstance(found, str):
                return found
        return None


@dataclass(frozen=True, slots=True)
class Compiled:
    """What became of a source: a program, unless there are errors or it declares no agent."""

    program: Program | None
    diagnostics: tuple[Diagnostic, ...] = field(default=())

    @property
    def success(self) -> bool:
        return not any(each.severity == "error" for each in self.diagnostics)

    @property
    def errors(self) -> list[str]:
        return [str(each) for each in self.diagnostics if each.severity == "error"]

    @property
    def warnings(self) -> list[str]:
        return [str(each) for each in self.diagnostics if each.severity == "warning"]
