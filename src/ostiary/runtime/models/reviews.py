"""Tool review: what is submitted, what analysis finds, decisions, signatures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, ClassVar

from msgspec import field

from ..enums import FindingCategory, FindingSeverity, ReviewStatus
from .agents import PaginationInfo
from .model import Model, Request

__all__ = [
    "AnalysisResults",
    "HumanReviewDecision",
    "ReviewSession",
    "ReviewSessionCreate",
    "ReviewSessionList",
    "ReviewSessionResponse",
    "ReviewSessionState",
    "ReviewStatistics",
    "SecurityFinding",
    "SignedTool",
    "SigningKey",
    "SigningRequest",
    "SigningResponse",
    "Tool",
    "ToolProvider",
    "ToolSchema",
]

_PRIORITIES = ("low", "normal", "high", "urgent")
_DECISIONS = ("approve", "reject")


class ToolProvider(Model):
    """Who made a tool."""

    name: str
    public_key_url: str | None = None


class ToolSchema(Model):
    """What a tool's arguments look like, as JSON Schema.

    `additional_properties` is the keyword `additionalProperties`, `dialect` is `$schema`,
    `definitions` is `$defs`. Other keywords are given as, and read into, `extra`.
    """

    type: str = "object"
    properties: dict[str, Any] = {}
    required: list[str] = []
    # Known by name since nearly every generated schema has some of them.
    additional_properties: bool | dict[str, Any] | None = field(
        default=None, name="additionalProperties"
    )
    title: str | None = None
    description: str | None = None
    dialect: str | None = field(default=None, name="$schema")
    definitions: dict[str, Any] | None = field(default=None, name="$defs")


class Tool(Model):
    """An MCP tool. `schema` and `tool_schema` are two names of one field."""

    name: str
    description: str
    schema: ToolSchema
    provider: ToolProvider

    _aliases: ClassVar[Mapping[str, str]] = {"tool_schema": "schema"}
    _filled: ClassVar[tuple[str, ...]] = ("name",)

    @property
    def tool_schema(self) -> ToolSchema:
        """The same as `schema`."""
        return self.schema

    @tool_schema.setter
    def tool_schema(self, value: ToolSchema) -> None:
        self.schema = value


class SecurityFinding(Model):
    """A weakness that analysis saw. `confidence` is from 0 to 1."""

    finding_id: str
    severity: FindingSeverity
    category: FindingCategory
    title: str
    description: str
    confidence: float
    recommendation: str | None = None

    _bounds: ClassVar[Mapping[str, tuple[float, float]]] = {"confidence": (0, 1)}


class AnalysisResults(Model):
    """What analysis found. `risk_score` is from 0 to 100."""

    analysis_id: str
    risk_score: int
    findings: list[SecurityFinding]
    recommendations: list[str] = []
    completed_at: datetime

    _bounds: ClassVar[Mapping[str, tuple[float, float]]] = {"risk_score": (0, 100)}

    @classmethod
    def _adapt(cls, raw: dict[str, Any]) -> dict[str, Any]:
        score = raw.get("risk_score")
        if type(score) is float:
            # Some servers give a part of 1.
            raw["risk_score"] = round(score * 100 if 0 <= score <= 1 else score)
        return raw


class ReviewSessionState(Model):
    """What is known of a review so far. `type` is the word of its status."""

    type: str
    analysis_id: str | None = None
    analysis_completed_at: datetime | None = None
    critical_findings: list[SecurityFinding] = []
    human_reviewer_id: str | None = None
    review_started_at: datetime | None = None


class ReviewSession(Model):
    """A tool's review."""

    review_id: str
    tool: Tool
    status: ReviewStatus
    state: ReviewSessionState
    submitted_by: str
    submitted_at: datetime
    estimated_completion: datetime | None = None
    priority: str = "normal"


class ReviewSessionCreate(Request):
    """A tool to be reviewed. `priority` is `low`, `normal`, `high` or `urgent`."""

    tool: Tool
    submitted_by: str
    priority: str = "normal"

    _filled: ClassVar[tuple[str, ...]] = ("submitted_by",)

    def _rules(self) -> Iterator[tuple[str, str]]:
        if self.priority not in _PRIORITIES:
            yield "priority", f"is one of {', '.join(_PRIORITIES)}"


class ReviewSessionResponse(Model):
    """A review that has begun."""

    review_id: str
    status: ReviewStatus
    submitted_at: datetime
    estimated_completion: datetime | None = None


class ReviewSessionList(Model):
    """A page of reviews, the newest first."""

    sessions: list[ReviewSession]
    pagination: PaginationInfo


class ReviewStatistics(Model):
    """How many reviews there are, and how many in each status."""

    total: int
    by_status: dict[str, int] = {}


class HumanReviewDecision(Request):
    """What a person decided. `decision` is `approve` or `reject`."""

    decision: str
    comments: str | None = None
    reviewer_id: str

    _filled: ClassVar[tuple[str, ...]] = ("reviewer_id",)

    def _rules(self) -> Iterator[tuple[str, str]]:
        if self.decision not in _DECISIONS:
            yield "decision", f"is one of {', '.join(_DECISIONS)}"


class SigningRequest(Request):
    """An approved tool to be signed with one of the server's keys."""

    review_id: str
    signing_key_id: str

    _filled: ClassVar[tuple[str, ...]] = ("review_id", "signing_key_id")


class SigningResponse(Model):
    """A signature, in base64. `ostiary.runtime.verify_tool` checks it with the tool."""

    signature: str
    signed_at: datetime
    signer_id: str
    signature_algorithm: str


class SignedTool(Model):
    """A tool with its signature, in base64; `ostiary.runtime.verify_tool` checks it."""

    tool: Tool
    signature: str
    signed_at: datetime
    signer_id: str
    signature_algorithm: str
    review_id: str


class SigningKey(Model):
    """The public half of a key that tools are signed with."""

    key_id: str
    algorithm: str
    public_key: str
    created_at: datetime | None = None
