"""The review of tools: submit, follow, decide, sign."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from msgspec import UNSET

from ..._calls.colours import Key, Timeout
from ..._calls.pages._async import AsyncPages
from ..._calls.waiting._async import wait_until
from ..._calls.waiting.pace import POLL_INTERVAL, WAIT
from ..._io.bounded import async_map_bounded
from .. import _bodies as bodies
from .. import _routes as routes
from ..enums import ReviewStatus
from ..errors import (
    FAMILY,
    AuthenticationError,
    ClientStateError,
    FeatureNotAvailableError,
    ReviewTimeoutError,
    SymbiontError,
)
from ..models import (
    AnalysisResults,
    HumanReviewDecision,
    ReviewSession,
    ReviewSessionCreate,
    ReviewSessionList,
    ReviewSessionResponse,
    ReviewStatistics,
    SignedTool,
    SigningKey,
    SigningRequest,
    SigningResponse,
)
from .batch import Progress, SubmissionOutcome

if TYPE_CHECKING:
    from ...http._async import AsyncPool

__all__ = ["AsyncReviewCalls"]

# What goes wrong for one tool in a batch goes wrong for all of them.
_FOR_ALL = (AuthenticationError, ClientStateError, FeatureNotAvailableError)


class AsyncReviewCalls:
    """The methods of a client about the review of tools."""

    _pool: AsyncPool

    async def submit_tool_for_review(
        self,
        review_request: ReviewSessionCreate | Mapping[str, Any],
        *,
        timeout: Timeout = UNSET,
        idempotency_key: Key = None,
    ) -> ReviewSessionResponse:
        """Submit a tool and return the session that was opened for it."""
        return await self._pool.call(
            routes.REVIEW_SUBMIT,
            body=bodies.given(ReviewSessionCreate, "review_request", review_request),
            timeout=timeout,
            idempotency_key=idempotency_key,
        )

    async def submit_tools_for_review(
        self,
        requests: Iterable[ReviewSessionCreate | Mapping[str, Any]],
        concurrency: int = 8,
        on_progress: Callable[[int, int, SubmissionOutcome], object] | None = None,
        *,
        timeout: Timeout = UNSET,
        idempotency_keys: bool = False,
    ) -> list[SubmissionOutcome]:
        """Submit many tools, a few at a time, and return what came of each, in their order.

        What the server says against one tool stands in that tool's outcome; what concerns all
        of them (a refused key, no tool review at all) is raised. `on_progress` is called after
        each with how many are done, how many there are, and the outcome. `timeout` is for
        each; `idempotency_keys` gives each a key of its own.
        """
        wanted = bodies.requests_of("requests", requests)
        width = bodies.whole("concurrency", concurrency, 1, 1000)
        progress = Progress(on_progress, len(wanted))

        async def submit(at: int) -> SubmissionOutcome:
            try:
                response = await self.submit_tool_for_review(
                    wanted[at], timeout=timeout, idempotency_key=idempotency_keys or None
                )
            except _FOR_ALL:
                raise
            except SymbiontError as error:
                outcome = SubmissionOutcome(at, None, error.with_traceback(None))
            else:
                outcome = SubmissionOutcome(at, response)
            progress.note(outcome)
            return outcome

        return await async_map_bounded(submit, range(len(wanted)), width)

    async def get_review_session(
        self, review_id: str, *, timeout: Timeout = UNSET
    ) -> ReviewSession:
        """Return a review: its tool, where it stands, what was found."""
        return await self._pool.call(routes.REVIEW_GET, review_id, timeout=timeout)

    async def list_review_sessions(
        self,
        page: int = 1,
        limit: int = 20,
        status: ReviewStatus | str | None = None,
        author: str | None = None,
        *,
        timeout: Timeout = UNSET,
    ) -> ReviewSessionList:
        """Return a page of reviews, newest first; pages count from 1.

        `author` is who submitted them. Servers hold at most 100 to a page.
        """
        return await self._pool.call(
            routes.REVIEWS_LIST,
            query=bodies.page_query(page, limit, status=status, author=author),
            timeout=timeout,
        )

    def iter_review_sessions(
        self,
        status: ReviewStatus | str | None = None,
        author: str | None = None,
        limit: int = 100,
    ) -> AsyncPages[ReviewSession]:
        """Iterate over all reviews, newest first, `limit` of them a page."""
        return AsyncPages(
            lambda page: self.list_review_sessions(page, limit, status, author),
            lambda page: page.sessions,
            lambda session: session.review_id,
        )

    async def review_queue(
        self, page: int = 1, limit: int = 20, *, timeout: Timeout = UNSET
    ) -> ReviewSessionList:
        """Return a page of the reviews that wait for somebody's decision, oldest first."""
        return await self._pool.call(
            routes.REVIEW_QUEUE, query=bodies.page_query(page, limit), timeout=timeout
        )

    def iter_review_queue(self, limit: int = 100) -> AsyncPages[ReviewSession]:
        """Iterate over the reviews that wait for a decision, oldest first."""
        return AsyncPages(
            lambda page: self.review_queue(page, limit),
            lambda page: page.sessions,
            lambda session: session.review_id,
        )

    async def get_review_statistics(self, *, timeout: Timeout = UNSET) -> ReviewStatistics:
        """Return how many reviews there are, in all and by status."""
        return await self._pool.call(routes.REVIEW_STATISTICS, timeout=timeout)

    async def get_analysis_results(
        self, analysis_id: str, *, timeout: Timeout = UNSET
    ) -> AnalysisResults:
        """Return what the analysis of a tool found; a review's state names the analysis."""
        return await self._pool.call(routes.REVIEW_ANALYSIS, analysis_id, timeout=timeout)

    async def wait_for_review_completion(
        self,
        review_id: str,
        timeout: float | None = WAIT,
        *,
        poll_interval: float = POLL_INTERVAL,
        on_update: Callable[[ReviewSession], object] | None = None,
    ) -> ReviewSession:
        """Wait until a review is approved, rejected or signed, and return it.

        It asks at once, then with growing gaps of at most `poll_interval` seconds, and for the
        last time when `timeout` seconds are over; None is no limit. `on_update` is called with
        the review whenever it has changed. 429, 502, 503, 504 and lost connections are waited
        out. `ReviewTimeoutError`, a TimeoutError, when it was not decided in time.
        """
        return await wait_until(
            self._pool,
            lambda patience: self.get_review_session(review_id, timeout=patience),
            lambda session: session.status in bodies.REVIEW_IS_OVER,
            lambda session: bodies.still("review", review_id, session),
            timeout=timeout,
            poll_interval=poll_interval,
            on_update=on_update,
            failure=ReviewTimeoutError,
            family=FAMILY,
        )

    async def claim_review(
        self,
        review_id: str,
        reviewer_id: str,
        *,
        timeout: Timeout = UNSET,
        idempotency_key: Key = None,
    ) -> ReviewSession:
        """Say that somebody looks at a review now, and return it."""
        return await self._pool.call(
            routes.REVIEW_CLAIM,
            review_id,
            body={"reviewer_id": bodies.text("reviewer_id", reviewer_id)},
            timeout=timeout,
            idempotency_key=idempotency_key,
        )

    async def submit_human_review_decision(
        self,
        review_id: str,
        decision: HumanReviewDecision | Mapping[str, Any],
        *,
        timeout: Timeout = UNSET,
        idempotency_key: Key = None,
    ) -> dict[str, Any]:
        """Approve or reject a tool; `ConflictError` when the review does not stand at that."""
        return await self._pool.call(
            routes.REVIEW_DECIDE,
            review_id,
            body=bodies.given(HumanReviewDecision, "decision", decision),
            timeout=timeout,
            idempotency_key=idempotency_key,
        )

    async def sign_approved_tool(
        self,
        signing_request: SigningRequest | Mapping[str, Any],
        *,
        timeout: Timeout = UNSET,
        idempotency_key: Key = None,
    ) -> SigningResponse:
        """Have an approved tool signed by one of the server's keys."""
        return await self._pool.call(
            routes.REVIEW_SIGN,
            body=bodies.given(SigningRequest, "signing_request", signing_request),
            timeout=timeout,
            idempotency_key=idempotency_key,
        )

    async def get_signed_tool(self, review_id: str, *, timeout: Timeout = UNSET) -> SignedTool:
        """Return a signed tool; `ostiary.runtime.verify_tool` checks its signature here."""
        return await self._pool.call(routes.REVIEW_SIGNED, review_id, timeout=timeout)

    async def list_signing_keys(self, *, timeout: Timeout = UNSET) -> list[SigningKey]:
        """Return the public halves of the keys that the server signs with."""
        return await self._pool.call(routes.SIGNING_KEYS, timeout=timeout)

    async def create_signing_key(
        self,
        key_id: str | None = None,
        algorithm: str | None = None,
        *,
        timeout: Timeout = UNSET,
        idempotency_key: Key = None,
    ) -> SigningKey:
        """Have the server make a key to sign with: `Ed25519` or `ECDSA_P256`."""
        return await self._pool.call(
            routes.SIGNING_KEY_CREATE,
            body=bodies.members(
                key_id=bodies.optional_text("key_id", key_id),
                algorithm=bodies.optional_text("algorithm", algorithm),
            ),
            timeout=timeout,
            idempotency_key=idempotency_key,
        )
