"""What may be done: a few rules over words, enough to develop and test against.

They are written to be foreseeable, not to withstand somebody who means to get past them.
docs/dev.md lists them. Decisions only; no state, no I/O.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, cast

import msgspec

__all__ = ["ALLOW", "BLOCK", "RULES", "THROTTLE", "Judgement", "Rule", "judge", "judge_command"]

ALLOW: Final = "ALLOW"
THROTTLE: Final = "THROTTLE"
BLOCK: Final = "BLOCK"
_SEVERITY: Final = {ALLOW: 0, THROTTLE: 1, BLOCK: 2}

_BASE_RISK: Final = 0.05
_LONG: Final = 20_000  # characters
_DEPTH: Final = 16


class Rule(msgspec.Struct, frozen=True):
    """One rule: what it decides, how risky what it finds is, and why, in words."""

    id: str
    decision: str
    risk: float
    reason: str


PRODUCTION: Final = Rule("R-1", BLOCK, 0.95, "it destroys something in production")
SECRETS: Final = Rule("R-2", BLOCK, 0.9, "it gives secrets away")
OVERSIGHT: Final = Rule("R-3", BLOCK, 0.9, "it gets around governance")
SYSTEM_PATH: Final = Rule("R-4", BLOCK, 0.85, "it writes where the operating system lives")
BULK: Final = Rule("R-5", THROTTLE, 0.5, "it reaches everybody at once")
IRREVERSIBLE: Final = Rule("R-6", THROTTLE, 0.4, "it cannot be undone")
OUTSIDE: Final = Rule("R-7", THROTTLE, 0.4, "it acts outside this system")
LENGTH: Final = Rule("R-8", THROTTLE, 0.3, f"it is longer than {_LONG} characters")

RULES: Final = (PRODUCTION, SECRETS, OVERSIGHT, SYSTEM_PATH, BULK, IRREVERSIBLE, OUTSIDE, LENGTH)


def _words(*stems: str) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(stems)})\b")


_DESTROY = _words(
    "delet(?:e|es|ed|ing)",
    "drop(?:s|ped|ping)?",
    "destroy(?:s|ed|ing)?",
    "eras(?:e|es|ed|ing)",
    "wip(?:e|es|ed|ing)",
    "truncat(?:e|es|ed|ing)",
    "purg(?:e|es|ed|ing)",
)
_PRODUCTION = _words("production", "prod", "live")
_REVEAL = _words(
    "print", "show", "dump", "reveal", "leak", "exfiltrate", "send", "post", "publish", "upload"
)
_SECRET = _words(
    "passwords?", "secrets?", "credentials?", "private keys?", "api[ _-]?keys?", "access tokens?"
)
_EVADE = _words("disable", "bypass", "ignore", "circumvent", "evade", "turn off", "switch off")
_OVERSEER = _words("governance", "polic(?:y|ies)", "guard ?rails?", "audit(?: log)?", "oversight")
_EVERYBODY = _words("all", "every", "everyone", "everybody", "each", "entire", "bulk", "mass")
_REACH = _words(
    "e-?mail", "mail", "message", "notify", "send", "call", "export", "scrape", "crawl", "invite"
)

_WRITES: Final = frozenset({"WRITE", "CREATE", "APPEND", "MOVE", "COPY", "DELETE", "CHMOD"})
_ACTS_OUTSIDE: Final = frozenset({"EXEC", "EXECUTE", "SHELL", "NETWORK", "DEPLOY", "PAYMENT"})
_SYSTEM: Final = re.compile(
    r"/(?:bin|boot|dev|etc|lib\w*|proc|root|sbin|sys|usr|var|system|library)(?:/|$)"
)


class Judgement(msgspec.Struct, frozen=True):
    """A decision and everything that led to it; `policy` is the rule that decided."""

    decision: str
    reason: str
    policy: str
    risk_score: float
    violations: list[dict[str, str]]


def judge(text: str) -> Judgement:
    """Judge a command, a message or a task by its words."""
    return _judged(_in_text(text))


def judge_command(kind: str, arguments: Mapping[str, Any]) -> Judgement:
    """Judge a command by its type and arguments, as `explain` is asked to."""
    kind = kind.strip().upper()
    values = list(_texts(arguments, _DEPTH))
    found = {rule.id: rule for rule in _in_text(" ".join([kind, *values]))}
    if kind in _WRITES and any(_is_system_path(value) for value in values):
        found[SYSTEM_PATH.id] = SYSTEM_PATH
    if kind in _ACTS_OUTSIDE:
        found[OUTSIDE.id] = OUTSIDE
    return _judged(found.values())


def _in_text(text: str) -> Iterator[Rule]:
    if len(text) > _LONG:
        yield LENGTH
    # Two spellings of one word are one word.
    text = unicodedata.normalize("NFKC", text).casefold()
    destroys = _DESTROY.search(text) is not None
    if destroys and _PRODUCTION.search(text):
        yield PRODUCTION
    if _SECRET.search(text) and _REVEAL.search(text):
        yield SECRETS
    if _EVADE.search(text) and _OVERSEER.search(text):
        yield OVERSIGHT
    if _EVERYBODY.search(text) and _REACH.search(text):
        yield BULK
    if destroys:
        yield IRREVERSIBLE


def _judged(found: Iterable[Rule]) -> Judgement:
    rules = sorted(found, key=lambda rule: (-_SEVERITY[rule.decision], rule.id))
    if not rules:
        return Judgement(ALLOW, "no rule objects", "R-0", _BASE_RISK, [])
    # Independent risks: what remains when each is survived.
    safe = 1 - _BASE_RISK
    for rule in rules:
        safe *= 1 - rule.risk
    return Judgement(
        rules[0].decision,
        rules[0].reason,
        rules[0].id,
        round(1 - safe, 4),
        [{"rule": r.id, "decision": r.decision, "reason": r.reason} for r in rules],
    )


def _texts(value: object, depth: int) -> Iterator[str]:
    """Yield every text in a JSON value, names left out."""
    inside: Iterable[object] = ()
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        inside = cast("dict[str, object]", value).values()
    elif isinstance(value, list):
        inside = cast("list[object]", value)
    if depth:
        for one in inside:
            yield from _texts(one, depth - 1)


def _is_system_path(text: str) -> bool:
    text = text.strip().casefold()
    return text.startswith("/") and (
        ".." in text.split("/") or _SYSTEM.match(text) is not None or text == "/"
    )
