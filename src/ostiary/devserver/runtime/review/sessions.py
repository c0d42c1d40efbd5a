"""Review sessions: where each stands, what may happen to it next, and what has happened.

    submitted > pending_analysis > analyzing > pending_review > under_review > approved > signed
                                                                             > rejected

One thread; analyses run on the runtime's workers. Neighbours: `analysis` looks at the tool,
`keys` signs it, `endpoints` are the paths.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, final

import msgspec

from ostiary.runtime.signatures import canonical_tool

from ...documents import Documents
from ...http.reading import invalid
from ...http.refusals import HttpRefusal
from ..context import Context
from .analysis import Analysis, Finding, analyse
from .keys import SigningKeys
from .tools import normal_tool

__all__ = ["PRIORITIES", "STATUSES", "Review", "Sessions"]

_log = logging.getLogger(__name__)

STATUSES: Final = (
    *("submitted", "pending_analysis", "analyzing", "pending_review", "under_review"),
    *("approved", "rejected", "signed"),
)
PRIORITIES: Final = ("urgent", "high", "normal", "low")

_UNANALYSED: Final = frozenset({"submitted", "pending_analysis", "analyzing"})
_WAITING: Final = frozenset({"pending_review", "under_review"})
_VERDICTS: Final = {"approve": "approved", "reject": "rejected"}
_REVIEWER: Final = 256
_PATIENCE: Final = 10.0
# How many go to a worker at once: on a busy loop the way there and back takes longer than they.
_TOGETHER: Final = 32


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What a human decided."""

    decision: str
    reviewer_id: str
    decided_at: str
    comments: str | None = None


class Signature(msgspec.Struct, frozen=True, kw_only=True):
    """What a tool was signed with."""

    signature: str
    signed_at: str
    signer_id: str
    signature_algorithm: str


class Review(msgspec.Struct, frozen=True, kw_only=True):
    """One session as it is at a moment; what has not happened yet is None."""

    review_id: str
    tool: dict[str, Any]
    submitted_by: str
    submitted_at: str
    priority: str = "normal"
    status: str = "submitted"
    analysis_id: str | None = None
    analysed_at: str | None = None
    analysis: Analysis | None = None
    reviewer_id: str | None = None
    review_started_at: str | None = None
    verdict: Verdict | None = None
    signature: Signature | None = None

    def view(self) -> dict[str, Any]:
        """Return the session as the API has it."""
        found = self.analysis.findings if self.analysis is not None else []
        return {
            "review_id": self.review_id,
            "tool": self.tool,
            "status": self.status,
            "state": {
                "type": self.status,
                "analysis_id": self.analysis_id if self.analysis is not None else None,
                "analysis_completed_at": self.analysed_at,
                "critical_findings": [one for one in found if one.severity == "critical"],
                "human_reviewer_id": self.reviewer_id,
                "review_started_at": self.review_started_at,
            },
            "submitted_by": self.submitted_by,
            "submitted_at": self.submitted_at,
            # A human decides, and nobody knows when.
            "estimated_completion": None,
            "priority": self.priority,
        }


@final
class Sessions:
    """Every review; what changed is on file before it is answered."""

    def __init__(self, context: Context, keys: SigningKeys) -> None:
        self._context = context
        self._keys = keys
        self._documents = Documents(context.store, "review.session", Review)
        self._reviews = dict(self._documents.items())
        self._analyses = {
            one.analysis_id: one.review_id for one in self._reviews.values() if one.analysis_id
        }
        self._order = 0
        self._queue: list[tuple[int, int, str]] = []
        self._ready = asyncio.Event()
        self._analyst: asyncio.Task[None] | None = None
        self._expected: dict[str, asyncio.Event] = {}

    # -- analysis -------------------------------------------------------------

    def start(self) -> None:
        """Begin to analyse; what an earlier process left undone comes first."""
        for review in self._reviews.values():
            if review.status in _UNANALYSED:
                self._enqueue(review)
        self._analyst = asyncio.get_running_loop().create_task(self._analyse_all())

    async def stop(self) -> None:
        """Stop analysing; what is undone stays on file."""
        if self._analyst is not None:
            self._analyst.cancel()
            await asyncio.gather(self._analyst, return_exceptions=True)
            self._analyst = None

    def _enqueue(self, review: Review) -> None:
        self._order += 1
        self._expected[review.review_id] = asyncio.Event()
        rank = PRIORITIES.index(review.priority)
        heapq.heappush(self._queue, (rank, self._order, review.review_id))
        self._ready.set()

    async def _analyse_all(self) -> None:
        while True:
            await self._ready.wait()
            self._ready.clear()
            while self._queue:
                count = min(len(self._queue), _TOGETHER)
                ids = [heapq.heappop(self._queue)[2] for _ in range(count)]
                await self._analyse([self._reviews[review_id] for review_id in ids])

    async def _analyse(self, some: Sequence[Review]) -> None:
        begun: list[Review] = []
        for review in some:
            with _noted():
                analysis_id = review.analysis_id or self._context.new_id("an")
                pending = self._change(review, "pending_analysis", analysis_id=analysis_id)
                begun.append(self._change(pending, "analyzing"))
        found = await asyncio.get_running_loop().run_in_executor(
            self._context.workers, lambda: [_looked_at(review) for review in begun]
        )
        for review, analysis in zip(begun, found, strict=True):
            with _noted():
                self._analysed(review, analysis)

    def _analysed(self, review: Review, analysis: Analysis) -> None:
        self._change(review, "pending_review", analysis=analysis, analysed_at=self._context.now())
        self._expected.pop(review.review_id).set()

    async def analysed(self, review_id: str) -> None:
        """Wait for an analysis that is under way, a while; for callers who ask at once."""
        expected = self._expected.get(review_id)
        if expected is not None:
            try:
                async with asyncio.timeout(_PATIENCE):
                    await expected.wait()
            except TimeoutError:
                pass  # the session's status says how far it is

    # -- what callers do ------------------------------------------------------

    def submit(
        self,
        tool: dict[str, Any],
        submitted_by: str,
        priority: str = "normal",
        *,
        review_id: str | None = None,
    ) -> Review:
        """Take a tool in; it is analysed as soon as its turn comes."""
        if not submitted_by.strip() or len(submitted_by) > _REVIEWER:
            raise invalid("submitted_by", f"submitted_by has 1 to {_REVIEWER} characters")
        if priority not in PRIORITIES:
            raise invalid("priority", f"the priorities are {', '.join(PRIORITIES)}")
        review = Review(
            review_id=review_id or self._context.new_id(),
            tool=normal_tool(tool),
            submitted_by=submitted_by,
            submitted_at=self._context.now(),
            priority=priority,
        )
        self._documents.put(review.review_id, review)
        self._reviews[review.review_id] = review
        self._enqueue(review)
        return review

    def require(self, review_id: str) -> Review:
        """Return a session; 404 when there is none."""
        review = self._reviews.get(review_id)
        if review is None:
            raise HttpRefusal(
                404, "REVIEW_NOT_FOUND", "there is no review with this id; list the reviews"
            )
        return review

    def require_analysis(self, analysis_id: str) -> Review:
        """Return the session of a finished analysis; 404 when there is none."""
        review = self._reviews.get(self._analyses.get(analysis_id, ""))
        if review is None or review.analysis is None:
            raise HttpRefusal(
                404,
                "ANALYSIS_NOT_FOUND",
                "there is no finished analysis with this id; a session names its own once it has "
                "one",
            )
        return review

    def claim(self, review_id: str, reviewer_id: str) -> Review:
        """Note who looks at a tool; 409 when somebody else does."""
        review = self.require(review_id)
        _check_reviewer(reviewer_id)
        if review.status == "under_review" and review.reviewer_id == reviewer_id:
            return review
        if review.status != "pending_review":
            raise self._not_now(review, "claimed", "pending_review")
        return self._change(
            review,
            "under_review",
            reviewer_id=reviewer_id,
            review_started_at=self._context.now(),
        )

    def decide(
        self, review_id: str, decision: str, reviewer_id: str, comments: str | None
    ) -> Review:
        """Approve or reject; the same decision by the same reviewer may be repeated."""
        review = self.require(review_id)
        status = _VERDICTS.get(decision)
        if status is None:
            raise invalid("decision", "the decisions are approve and reject")
        _check_reviewer(reviewer_id)
        done = review.verdict
        if done is not None:
            if (done.decision, done.reviewer_id) == (decision, reviewer_id):
                return review
            raise HttpRefusal(
                409,
                "REVIEW_DECIDED",
                "this review was decided already; submit the tool again for another decision",
                details={"status": review.status, "decision": done.decision},
            )
        if review.status not in _WAITING:
            raise self._not_now(review, "decided", "pending_review")
        now = self._context.now()
        verdict = Verdict(
            decision=decision, reviewer_id=reviewer_id, decided_at=now, comments=comments
        )
        return self._change(
            review,
            # Who decides at once has looked at it too.
            *(("under_review",) if review.status == "pending_review" else ()),
            status,
            verdict=verdict,
            reviewer_id=reviewer_id,
            review_started_at=review.review_started_at or now,
        )

    def sign(self, review_id: str, key_id: str) -> Signature:
        """Sign an approved tool; to sign it again with the same key changes nothing."""
        review = self.require(review_id)
        done = review.signature
        if done is not None and done.signer_id == key_id:
            return done
        self._keys.require(key_id)
        if done is not None:
            raise HttpRefusal(
                409,
                "TOOL_SIGNED",
                "this tool was signed with another key; submit it again for another signature",
                details={"signer_id": done.signer_id},
            )
        if review.status != "approved":
            raise self._not_now(review, "signed", "approved")
        signature, algorithm = self._keys.sign(
            key_id, canonical_tool(review.tool), why=f"review {review_id}"
        )
        made = Signature(
            signature=signature,
            signed_at=self._context.now(),
            signer_id=key_id,
            signature_algorithm=algorithm,
        )
        self._change(review, "signed", signature=made)
        return made

    # -- looking --------------------------------------------------------------

    def signed(self, review_id: str) -> dict[str, Any]:
        """Return a tool with its signature; 404 while it has none."""
        review = self.require(review_id)
        if review.signature is None:
            raise HttpRefusal(
                404,
                "TOOL_NOT_SIGNED",
                f"this review's tool is not signed; its status is {review.status}",
                details={"status": review.status},
            )
        return {
            "tool": review.tool,
            **msgspec.structs.asdict(review.signature),
            "review_id": review_id,
        }

    def newest(self, status: str | None = None, author: str | None = None) -> list[Review]:
        """Return the sessions that fit, the newest first."""
        if status is not None and status not in STATUSES:
            raise invalid("status", f"the statuses are {', '.join(STATUSES)}")
        return [
            one
            for one in reversed(self._reviews.values())
            if (status is None or one.status == status)
            and (author is None or one.submitted_by == author)
        ]

    def queue(self) -> list[Review]:
        """Return what waits for a decision, the most urgent and then the oldest first."""
        waiting = [one for one in self._reviews.values() if one.status in _WAITING]
        return sorted(waiting, key=lambda one: PRIORITIES.index(one.priority))

    def counts(self) -> dict[str, int]:
        """Return how many sessions have each status."""
        found = dict.fromkeys(STATUSES, 0)
        for one in self._reviews.values():
            found[one.status] += 1
        return found

    def __contains__(self, review_id: str) -> bool:
        return review_id in self._reviews

    def __iter__(self) -> Iterator[Review]:
        return iter(self._reviews.values())

    # -- changes --------------------------------------------------------------

    def analyse_now(self, review: Review) -> None:
        """Analyse without waiting for a turn: for samples."""
        self._queue = [one for one in self._queue if one[2] != review.review_id]
        heapq.heapify(self._queue)
        analysis_id = self._context.new_id("an")
        review = self._change(review, "analyzing", analysis_id=analysis_id)
        self._analysed(review, analyse(review.tool, analysis_id))

    def _change(self, review: Review, *statuses: str, **members: Any) -> Review:
        """Write a session that has gone through these statuses; on file before it is true here."""
        changed = msgspec.structs.replace(review, status=statuses[-1], **members)
        self._documents.put(review.review_id, changed)
        self._reviews[review.review_id] = changed
        if changed.analysis_id is not None:
            self._analyses[changed.analysis_id] = review.review_id
        for status in statuses:
            self._context.events.publish(f"review.{status}", review_id=review.review_id)
        return changed

    @staticmethod
    def _not_now(review: Review, what: str, needed: str) -> HttpRefusal:
        return HttpRefusal(
            409,
            "REVIEW_STATE",
            f"a review is {what} when its status is {needed}, and this one's is {review.status}",
            details={"status": review.status},
        )


def _check_reviewer(reviewer_id: str) -> None:
    if not reviewer_id.strip() or len(reviewer_id) > _REVIEWER:
        raise invalid("reviewer_id", f"reviewer_id has 1 to {_REVIEWER} characters")


@contextmanager
def _noted() -> Generator[None]:
    try:
        yield
    except Exception as error:  # noqa: BLE001 - those beside it have a right to theirs
        _log.error("an analysis could not be filed: %s", type(error).__name__)


def _looked_at(review: Review) -> Analysis:
    analysis_id = review.analysis_id or ""
    try:
        return analyse(review.tool, analysis_id)
    except Exception as error:  # noqa: BLE001 - one tool must not end the reviews of others
        _log.error("a tool could not be analysed: %s", type(error).__name__)
        return _unread(analysis_id)


def _unread(analysis_id: str) -> Analysis:
    advice = "Read the tool as if nothing had been checked, or have it changed."
    finding = Finding(
        finding_id=f"not-analysed.{analysis_id}",
        severity="critical",
        category="resource_abuse",
        title="The analysis failed on this tool",
        description="Nothing is known about the tool.",
        confidence=1.0,
        recommendation=advice,
    )
    return Analysis(risk_score=100, findings=[finding], recommendations=[advice])
