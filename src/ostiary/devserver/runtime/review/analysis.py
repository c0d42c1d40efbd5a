"""What the analysis of a tool finds, and the one number made of it.

Deterministic: the same tool has the same findings and score, whoever asks and whenever. The
rules stand in docs/runtime-review.md. Neighbours: `rules` finds, `sessions` files.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from .reading import read
from .rules import RULES, Rule

__all__ = ["WEIGHTS", "Analysis", "Finding", "analyse", "risk_score"]

WEIGHTS: Final[Mapping[str, int]] = {"low": 6, "medium": 18, "high": 40, "critical": 70}
_ORDER: Final = ("critical", "high", "medium", "low")
_SHOWN: Final = 5
_PLACE: Final = 80


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing a reviewer should see; `confidence` is 0 to 1."""

    finding_id: str
    severity: str
    category: str
    title: str
    description: str
    confidence: float
    recommendation: str | None = None


class Analysis(msgspec.Struct, frozen=True, kw_only=True):
    """The findings, the gravest first; `risk_score` is 0 to 100."""

    risk_score: int
    findings: list[Finding]
    recommendations: list[str]


def analyse(tool: Mapping[str, Any], analysis_id: str) -> Analysis:
    """Apply every rule to a tool in its normal form."""
    reading = read(tool)
    findings: list[Finding] = []
    for rule in RULES:
        places = list(dict.fromkeys(rule.finds(reading)))
        if places:
            findings.append(_finding(rule, places, analysis_id))
    findings.sort(key=lambda one: (_ORDER.index(one.severity), -one.confidence))
    advice = [one.recommendation for one in findings if one.recommendation]
    return Analysis(
        risk_score=risk_score(findings),
        findings=findings,
        recommendations=list(dict.fromkeys(advice)),
    )


def risk_score(findings: Sequence[Finding]) -> int:
    """Return the score: each finding takes its share of what is left to 100."""
    left = math.prod(1 - WEIGHTS[one.severity] * one.confidence / 100 for one in findings)
    return math.floor(100 * (1 - left) + 0.5)


def _finding(rule: Rule, places: list[str], analysis_id: str) -> Finding:
    shown = ", ".join(_shown(place) for place in places[:_SHOWN])
    more = len(places) - _SHOWN
    if more > 0:
        shown += f" and {more} more"
    return Finding(
        finding_id=f"{rule.id}.{analysis_id}",
        severity=rule.severity,
        category=rule.category,
        title=rule.title,
        description=f"{rule.why} Seen in {shown}.",
        confidence=rule.confidence,
        recommendation=rule.advice,
    )


def _shown(place: str) -> str:
    """A place holds names that the tool chose: they are shown, not obeyed."""
    text = "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in place)
    return text if len(text) <= _PLACE else text[: _PLACE - 1] + "…"
